"""Step rule and line search: from x to θ′."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources
from npgcheck.conformance.atlas.entry import Choice, Number, Seen

LENGTH = ("trust_region_proposal", "trust_region_step")
SEARCH = ("trust_region_step",)


def _length(f: Any) -> Any:
    """A change of the factor of x: f(usual, x, solve, δ)."""
    return {"length": lambda v, value: (f(*value), *value[1:])}


def _update(f: Any) -> Any:
    """A change of θ′: f(θ′, θ, step, x)."""
    return {"update": lambda v, value: (f(*value), *value[1:])}


def _norm(x: Any) -> Any:
    return max(float(np.linalg.norm(x)), 1e-300)


def _curve(x: Any, s: Any) -> Any:
    return max(float(x @ (s.bare @ x)), 1e-300)


ENTRIES = (
    Choice("step_length", "undamped", "undamped-length", "free", "√(2δ / xᵀFx)",
           "the quadratic model of KL equals max_kl", "nothing to mend", default=True),
    Choice("step_length", "damped", "damped-length", "convention",
           "√(2δ / xᵀ(F+λI)x), equal to √(2δ / gᵀx) for an exact solve",
           "the step is shorter than max_kl allows",
           "use xᵀFx, or declare Conventions(step_length='damped')",
           note="step length from the damped xᵀ(F+λI)x", visible=LENGTH,
           hidden={"λ = 0": "both are √(2δ/gᵀx)"}),
    Choice("length", "factor_two", "factor-two", "bug",
           "√(δ/xᵀFx), √(4δ/xᵀFx), 2√(2δ/xᵀFx) or ½√(2δ/xᵀFx) in place of √(2δ/xᵀFx)",
           "every step is 1/√2 (or √2) of the right one: the KL reached is half of max_kl",
           "KL ≈ ½ ΔᵀFΔ = δ gives the 2 under the root",
           note="the 2 under the root of the step length is missing",
           seen=(sources.FACTOR_TWO,), visible=LENGTH,
           change=_length(lambda u, x, s, d: u / np.sqrt(2.0)),
           forms=(_length(lambda u, x, s, d: u * np.sqrt(2.0)),
                  _length(lambda u, x, s, d: 2.0 * u), _length(lambda u, x, s, d: 0.5 * u)),
           notes=("the step length is √(4δ/xᵀFx), with a factor of two too much under the root",
                  "the step length is twice √(2δ/xᵀFx)", "the step length is half of √(2δ/xᵀFx)")),
    Choice("length", "no_root", "missing-square-root", "bug", "2δ/xᵀFx in place of its root",
           "right only where xᵀFx = 2δ", "take the root", note="the square root is missing",
           visible=LENGTH, change=_length(lambda u, x, s, d: u**2),
           forms=(_length(lambda u, x, s, d: d / _curve(x, s)),)),
    Choice("length", "euclidean", "euclidean-length", "bug", "√(2δ)/‖x‖ (or √(2δ)/‖g‖)",
           "lengths in θ, not in the policy: every step is equally long",
           "measure the length by F: xᵀFx", note="the length is measured in θ, not by F",
           visible=LENGTH, change=_length(lambda u, x, s, d: np.sqrt(2.0 * d) / _norm(x)),
           forms=(_length(lambda u, x, s, d: np.sqrt(2.0 * d) / _norm(s.right)),
                  _length(lambda u, x, s, d: d / _norm(x)),
                  _length(lambda u, x, s, d: np.sqrt(d) / _norm(x)))),
    Choice("length", "rate", "const-lr-called-kl", "bug", "θ + δ x: max_kl used as a learning rate",
           "the KL of the step depends on the size of g", "scale x to KL: √(2δ/xᵀFx) x",
           note="max_kl is used as a learning rate", seen=(sources.LEARNING_RATE,), visible=LENGTH,
           change=_length(lambda u, x, s, d: d),
           forms=(_length(lambda u, x, s, d: np.sqrt(2.0 * d)),
                  _length(lambda u, x, s, d: np.sqrt(d)), _length(lambda u, x, s, d: 2.0 * d))),
    Choice("length", "inverted", "length-upside-down", "bug", "√(xᵀFx/(2δ))",
           "steps grow as max_kl shrinks", "√(2δ/xᵀFx)", note="the step length is upside down",
           visible=LENGTH, change=_length(lambda u, x, s, d: 1.0 / u if u else 0.0)),
    Choice("length", "negated", "step-downhill", "bug", "θ − √(2δ/xᵀFx) x",
           "the right length, away from the gain", "θ + …: the surrogate is to be increased",
           note="the step goes downhill", visible=LENGTH,
           change=_length(lambda u, x, s, d: -u)),
    Choice("update", "sign", "ascent-descent-sign", "bug", "θ − ηx (or x = −F⁻¹g, or −g)",
           "the step goes downhill: a loss is minimised whose sign was not flipped",
           "ascend J: θ + ηx with x = F⁻¹∇J", note="the sign is flipped: downhill",
           visible=("policy_gradient", "natural_gradient", "update", "trust_region_proposal"),
           hidden={"two flips": "a flipped g and a flipped step cancel"},
           change=_update(lambda p, t, s, x: t - s * x),
           forms=({"g": lambda v, g: -g}, {"direction": lambda v, s: -_plain(s)})),
    Choice("update", "step", "update-returns-the-step", "bug", "ηx in place of θ + ηx",
           "right at θ = 0", "add θ", note="the step is returned, not θ plus the step",
           visible=("update",), change=_update(lambda p, t, s, x: s * x),
           forms=(_update(lambda p, t, s, x: x),)),
    Choice("update", "ignored", "step-size-ignored", "bug", "θ + x, whatever step_size is",
           "right for step_size 1", "multiply x by step_size", note="step_size is ignored",
           visible=("update", "train"), change=_update(lambda p, t, s, x: t + x)),
    Choice("update", "fixed", "step-size-fixed", "bug", "θ + cx with a constant c",
           "right for the step_size that is c", "multiply x by step_size",
           note="a constant {} stands for step_size", visible=("update", "train"),
           change={"update": lambda v, p, c: (p[1] + c * p[3], *p[1:])},
           number=Number("c", (1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5, 2.0, 10.0), not_values=(1.0,))),
    Choice("update", "squared", "step-size-squared", "bug", "θ + η²x", "right for step_size 1",
           "multiply x by step_size once", note="step_size enters twice",
           visible=("update", "train"), change=_update(lambda p, t, s, x: t + s * s * x)),
    Choice("update", "two", "update-factor-two", "bug", "θ + 2ηx or θ + ½ηx",
           "steps are twice or half as long", "θ + ηx",
           note="the step is twice as long, 2ηx", visible=("update", "train"),
           change=_update(lambda p, t, s, x: t + 2.0 * s * x),
           forms=(_update(lambda p, t, s, x: t + 0.5 * s * x),),
           notes=("the step is half as long, ½ηx",)),
    Choice("update", "divided", "step-size-divided", "bug", "θ + x/η", "right for step_size 1",
           "multiply x by step_size", note="x is divided by step_size",
           visible=("update", "train"), change=_update(lambda p, t, s, x: t + x / s)),
    Choice("update", "decay", "update-decays-theta", "bug", "(1 − ηc)θ + ηx",
           "the step pulls θ to zero", "leave weight decay out of the update",
           note="θ decays by {} in every step (per unit of step_size, or as a whole)",
           visible=("update", "train"),
           change={"update": lambda v, p, c: (p[0] - p[2] * c * p[1], *p[1:])},
           forms=({"update": lambda v, p, c: (p[0] - c * p[1], *p[1:])},),
           number=Number("c", (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 0.9), not_values=(1.0,))),
    # ---- line search: judged by rules, not by a formula ------------------------------------------
    Choice("line_search", "kl_and_improvement", "kl-and-improvement", "free",
           "accept θ′ when KL ≤ δ and the surrogate improves", "what the contract asks",
           "nothing to mend", default=True),
    Choice("line_search", "improvement", "kl-not-checked", "convention",
           "accept θ′ when the surrogate improves, whatever KL is",
           "accepted steps exceed max_kl where the quadratic model underestimates KL",
           "check KL ≤ max_kl too, or declare Conventions(line_search='improvement')",
           note="the line search accepts steps beyond max_kl: KL is not checked", visible=SEARCH,
           hidden={"steps whose KL the model overestimates": "the full step is accepted anyway"}),
    Choice("line_search", "kl_slack", "kl-slack-1.5", "convention",
           "accept θ′ when KL ≤ 1.5 δ and the surrogate improves",
           "accepted steps have KL up to 1.5 max_kl",
           "check KL ≤ max_kl, or declare Conventions(line_search='kl_slack')",
           note="the line search accepts KL up to 1.5 max_kl", seen=(sources.SLACK,),
           visible=SEARCH, hidden={"steps whose KL the model overestimates": "KL ≤ max_kl"}),
    Choice("line_search", "overwritten", "line-search-overwritten", "bug",
           "the accepted point is overwritten by the full step",
           "the search has no effect: steps exceed max_kl, or lose",
           "keep what the search accepted",
           note="the full step is taken, whatever the search found",
           seen=(sources.OVERWRITTEN,), visible=SEARCH,
           hidden={"full steps that are acceptable": "the search accepts them",
                   "kl-not-checked": "no answer tells the two apart where the full step gains"}),
    Choice("line_search", "surrogate_ignored", "surrogate-not-checked", "bug",
           "accept θ′ when KL ≤ δ, whatever the surrogate does",
           "steps that lose are accepted: where a rare action pays badly, neither g nor F sees "
           "much of it, and its odds grow along x",
           "require a gain too",
           note="the line search accepts steps that lower the surrogate", visible=SEARCH,
           hidden={"tabular policies": "along x each state's policy is ∝ π exp(t A), under which "
                   "E[A] rises with t"}),
    Choice("line_search", "negative_curvature", "negative-curvature-policy", "convention",
           "|xᵀFx|, or no step, where xᵀFx < 0",
           "not with an exact F, which is never negative",
           "nothing to mend", seen=(Seen("", "textbook"),),
           told=False, hidden={"exact F": "xᵀFx ≥ 0"}),
)  # fmt: skip


def _plain(s: Any) -> Any:
    values, vectors = np.linalg.eigh(s.matrix)
    kept = np.abs(values) > 1e-11 * max(float(np.abs(values).max(initial=0.0)), 1e-300)
    inverse = np.zeros_like(values)
    inverse[kept] = 1.0 / values[kept]
    return vectors @ (inverse * (vectors.T @ s.right))
