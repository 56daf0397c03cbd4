"""Score and objective: log π and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import density, differences, reading
from npgcheck.conformance.atlas.density import SCORED
from npgcheck.conformance.atlas.entry import Choice, Number, Seen


def _mean(v: Any, weights: Any) -> Any:
    return np.einsum("sa,sad->sd", weights, v["jacobian"])[:, None, :]


def _uniform_mean(v: Any, _: Any) -> Any:
    return v["jacobian"] - v["jacobian"].mean(axis=1, keepdims=True)


def _identity_fisher(v: Any, _: Any) -> Any:
    j = v["jacobian"]
    return np.einsum("s,sad,sae->de", v["f_weights"], j, j)


def _identity_gradient(v: Any, _: Any) -> Any:
    return np.einsum("s,sa,sad->d", v["g_weights"], v["q_value"], v["jacobian"])


def _identity_gradient_advantage(v: Any, _: Any) -> Any:
    return np.einsum("s,sa,sad->d", v["g_weights"], v["advantage"], v["jacobian"])


def _identity_weighted(v: Any, _: Any) -> Any:
    joint = v["g_weights"][:, None] * v["pi"] * v["q_value"]
    return np.einsum("sa,sad->d", joint, v["jacobian"])


def entropy_bonus(v: Any, g: Any, c: Any) -> Any:
    """g + β ∇H, with ∇H(s) = −Σ_a π (log π) φ, or Σ_i ∇ log σ_i."""
    if not v.discrete:
        return g + c * np.einsum("s,smd->d", v["g_weights"], v["std_jacobian"])
    terms = np.einsum("s,sa,sad->d", v["g_weights"], v["pi"] * v["log_pi"], v["scores"])
    return g - c * terms


def _clip(v: Any, g: Any, c: Any) -> Any:
    size = float(np.linalg.norm(g))
    return g * min(1.0, c / size) if size > 0 else g


def _clip_full(v: Any, g: Any, c: Any) -> Any:
    return _clip(v, g, c * (1.0 - v.reference.discount))


def _clip_each_full(v: Any, g: Any, c: Any) -> Any:
    """The entries of ∇J, where g is (1−γ)∇J."""
    limit = c * (1.0 - v.reference.discount)
    return np.clip(g, -limit, limit)


def _torch_clip(v: Any, g: Any, c: Any) -> Any:
    """torch's rule, which divides by ‖g‖ + 1e-6; here for ∇J, the next for (1−γ)∇J."""
    unit = 1.0 - v.reference.discount
    return g * min(1.0, c / (float(np.linalg.norm(g)) / unit + 1e-6))


def _torch_clip_mean(v: Any, g: Any, c: Any) -> Any:
    return g * min(1.0, c / (float(np.linalg.norm(g)) + 1e-6))


def _over_norm(added: float, full: bool) -> Any:
    """g/(‖g‖ + ε), of ∇J (full) or of (1−γ)∇J."""

    def change(v: Any, g: Any) -> Any:
        unit = 1.0 - v.reference.discount if full else 1.0
        return g / unit / (float(np.linalg.norm(g)) / unit + added)

    return change


def _without_last_weight(v: Any, w: Any) -> Any:
    return np.concatenate([w[:, :-1], np.zeros((len(w), 1))], axis=1)


def _without_last_block(v: Any, f: Any) -> Any:
    """The parameters of the last action are never written to."""
    if v.problem.family not in ("tabular", "softmax"):
        return np.full_like(f, np.nan)
    k, a = v.problem.observation_size, v.problem.num_actions
    kept = np.broadcast_to(np.arange(a) < a - 1, (k, a)).ravel()
    return np.where(kept, f, 0.0)


def _clipped(s: Any, c: Any) -> Any:
    return np.clip(s[1], 1.0 - c, 1.0 + c)


def _of_ratio(s: Any, gain: Any) -> Any:
    """Σ w (gain − A), beside (L, π′/π, A, w) as they are."""
    return (float(np.sum(s[3] * (gain - s[2]))), *s[1:])


SQUARED_RATIOS = {
    "policy_gradient": "the ratio is one at θ, and so is its derivative's factor",
}


ENTRIES = (
    Choice("score", "centred", "centred-score", "free",
           "∇log π(a|s) = J_a − Σ_b π_b J_b, J the Jacobian of the logits", "E_π[φ] = 0",
           "nothing to mend", default=True),
    Choice("score", "uncentred", "score-missing-minus-pi", "bug",
           "φ = J_a in place of J_a − Σ_b π_b J_b (for linear features: φ(s,a) = o ⊗ e_a)",
           "E[φ] ≠ 0 and F = diag(dπ); g is unchanged with the exact advantage as critic, because "
           "Σ_a π A = 0, and wrong with Q or any other baseline",
           "subtract the mean over actions: ∇log π(a|s) = φ(s,a) − E_π φ(s,·)",
           note="score: the −π term is missing", visible=SCORED,
           hidden={"policy_gradient with the exact A": "Σ_a π(a|s) A(s, a) = 0"},
           change={"scores": lambda v, f: v["jacobian"]}, reads=("jacobian",),
           families=("discrete",)),
    Choice("score", "plus_pi", "score-plus-pi", "bug", "φ = J_a + Σ_b π_b J_b",
           "E[φ] = 2 Σ π J ≠ 0", "subtract the mean over actions: J_a − Σ_b π_b J_b",
           note="score: π is added where it should be subtracted", visible=SCORED,
           hidden={"policy_gradient with the exact A": "Σ_a π(a|s) A(s, a) = 0"},
           change={"scores": lambda v, f: v["jacobian"] + _mean(v, v["pi"])},
           reads=("jacobian", "pi"), families=("discrete",)),
    Choice("score", "uniform_mean", "score-minus-uniform-mean", "bug",
           "φ = J_a − 1/A Σ_b J_b", "right for the uniform policy only",
           "weigh the mean over actions by π", note="score: the plain mean over actions is "
           "subtracted, not the policy's", visible=SCORED,
           hidden={"uniform policy": "π(a|s) = 1/A",
                   "policy_gradient with the exact A": "Σ_a π(a|s) A(s, a) = 0"},
           change={"scores": _uniform_mean}, reads=("jacobian",), families=("discrete",)),
    Choice("score", "of_pi", "gradient-of-pi-not-log-pi", "bug", "φ = ∇π(a|s), without 1/π(a|s)",
           "every score is π(a|s) times too small", "differentiate log π, or divide by π",
           note="the gradient of π is taken, not of log π", visible=SCORED,
           change={"scores": lambda v, f: v["pi"][:, :, None] * f}, reads=("pi",),
           families=("discrete",)),
    Choice("score", "negated", "negative-score", "bug", "φ = −∇log π",
           "score and g change their sign; F does not", "φ = +∇log π(a|s)",
           note="the sign of the score is flipped", visible=("score", "policy_gradient"),
           hidden={"fisher": "φφᵀ does not see the sign"},
           change={"scores": lambda v, f: -f}),
    Choice("score", "jacobian_skipped", "softmax-jacobian-skipped", "bug",
           "diag(π) − ππᵀ replaced by I between probabilities and logits",
           "F = Σ_s d(s) JᵀJ and g = Σ_s d(s) Σ_a Q J_a: the chain rule stops at the softmax",
           "multiply by the Jacobian of the softmax, diag(π) − ππᵀ",
           note="the Jacobian of the softmax, diag(π) − ππᵀ, is skipped",
           seen=(Seen("public code", "read"),),
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"F": _identity_fisher, "g": _identity_gradient},
           forms=({"F": _identity_fisher}, {"g": _identity_gradient},
                  {"g": _identity_gradient_advantage},
                  {"F": _identity_fisher, "g": _identity_gradient_advantage},
                  {"g": _identity_weighted},
                  {"scores": lambda v, f: v["jacobian"] / v["pi"][:, :, None]}),
           reads=("jacobian", "q_value", "advantage", "pi", "g_weights", "f_weights"),
           families=("discrete",)),
    Choice("expectation", "pi_missing", "action-weights-missing", "bug",
           "Σ_a φ A (or φφᵀ) in place of Σ_a π(a|s) φ A",
           "rare actions count as much as likely ones; for the uniform policy a factor A",
           "weigh each action by π(a|s)", note="π(a|s) is missing in the sum over actions",
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"action_weights": lambda v, w: np.ones_like(w)},
           forms=({"f_action_weights": lambda v, w: np.ones_like(w)},
                  {"g_action_weights": lambda v, w: np.ones_like(w)},
                  {"action_weights": lambda v, w: np.full_like(w, 1.0 / w.shape[1])},
                  {"f_action_weights": lambda v, w: np.full_like(w, 1.0 / w.shape[1])},
                  {"g_action_weights": lambda v, w: np.full_like(w, 1.0 / w.shape[1])}),
           families=("discrete",)),
    Choice("expectation", "pi_twice", "action-weights-squared", "bug",
           "Σ_a π(a|s)² φ A (or φφᵀ)", "likely actions count too much",
           "weigh each action by π(a|s) once: a sampled action carries π already",
           note="π(a|s) enters the sum over actions twice",
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"action_weights": lambda v, w: w**2},
           forms=({"f_action_weights": lambda v, w: w**2},
                  {"g_action_weights": lambda v, w: w**2}),
           families=("discrete",)),
    Choice("expectation", "last_forgotten", "last-action-forgotten", "bug",
           "Σ_{a<A−1} in place of Σ_a: the loop over actions stops one short",
           "the last action is never counted", "sum over every action",
           note="the sum over actions leaves out the last one",
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"action_weights": _without_last_weight},
           forms=({"action_weights": _without_last_weight, "g_scores": _without_last_block,
                   "f_scores": _without_last_block},
                  {"f_action_weights": _without_last_weight},
                  {"g_action_weights": _without_last_weight}),
           families=("discrete",)),
    *differences.ENTRIES,
    *reading.ENTRIES,
    Choice("gradient", "entropy", "entropy-bonus-left-in", "bug", "g + β Σ_s d(s) ∇H(π(·|s))",
           "g turns towards the uniform policy, whose gradient is right",
           "judge the gradient of J without the bonus", note="an entropy bonus of {} is left in",
           visible=("policy_gradient", "natural_gradient"),
           change={"g": entropy_bonus},
           forms=({"g": lambda v, g, c: entropy_bonus(v, g, c * (1.0 - v.reference.discount))},),
           reads=("g_weights", "pi", "log_pi", "scores", "std_jacobian"),
           number=Number("β", (1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0))),
    Choice("gradient", "decay", "weight-decay-left-in", "bug", "g − cθ",
           "g is right at θ = 0", "judge the gradient of J without the penalty",
           note="a weight decay of {} is left in", visible=("policy_gradient", "natural_gradient"),
           change={"g": lambda v, g, c: g - c * (1.0 - v.reference.discount) * v.reference.theta},
           forms=({"g": lambda v, g, c: g - c * v.reference.theta},),
           number=Number("c", (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1.0))),
    Choice("gradient", "clipped", "gradient-clipped", "bug",
           "g · min(1, c/‖g‖), or each entry of g clipped to ±c",
           "the direction is right; large gradients are too short",
           "return the gradient itself; clip in the optimiser if at all",
           note="gradients longer than {} are cut to that length",
           visible=("policy_gradient", "natural_gradient"),
           change={"g": _clip},
           forms=({"g": _clip_full}, {"g": _torch_clip}, {"g": _torch_clip_mean},
                  {"g": lambda v, g, c: np.clip(g, -c, c)}, {"g": _clip_each_full}),
           notes=(*(("gradients longer than {} are cut to that length",) * 3),
                  *(("each entry of the gradient is clipped to ±{}",) * 2)),
           number=Number("c", (1e-3, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0))),
    Choice("gradient", "unit", "gradient-normalised", "bug", "g/‖g‖",
           "every gradient has length one", "return the gradient itself",
           note="the gradient is scaled to length one", visible=("policy_gradient",),
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"},
           change={"g": lambda v, g: g / max(float(np.linalg.norm(g)), 1e-300)},
           forms=tuple({"g": _over_norm(e, full)} for e in (1e-8, 1e-6) for full in (False, True))),
    *density.ENTRIES,
    # ---- surrogate ------------------------------------------------------------------------------
    Choice("surrogate", "inverted", "ratio-upside-down", "bug", "Σ w π/π′ A in place of π′/π A",
           "the surrogate falls where it should rise", "π′/π: the new policy above",
           note="the importance ratio is upside down", visible=("surrogate",),
           change={"surrogate": lambda v, s: (float(np.sum(s[3] * (1.0 / s[1] - 1.0) * s[2])),
                                              *s[1:])}),
    Choice("surrogate", "log", "surrogate-of-log-probabilities", "bug",
           "Σ w log(π′/π) A in place of (π′/π) A", "the same gradient at θ, other values away "
           "from it", "use the ratio π′/π", note="log-probabilities stand where the ratio belongs",
           visible=("surrogate",), hidden={"policy_gradient": "the gradients agree at θ"},
           change={"surrogate": lambda v, s: (float(np.sum(s[3] * np.log(s[1]) * s[2])), *s[1:])}),
    Choice("surrogate", "clipped", "clipped-surrogate", "bug",
           "min(r A, clip(r, 1 − ε, 1 + ε) A), r = π′/π, or without the minimum",
           "equal near θ; the objective of PPO, not the surrogate of TRPO",
           "leave the ratio unclipped", note="ratios clipped to 1 ± {}", visible=("surrogate",),
           hidden=SQUARED_RATIOS,
           change={"surrogate": lambda v, s, c: _of_ratio(
               s, np.minimum(s[1] * s[2], _clipped(s, c) * s[2]))},
           forms=({"surrogate": lambda v, s, c: _of_ratio(s, _clipped(s, c) * s[2])},),
           number=Number("ε", (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5))),
)  # fmt: skip
