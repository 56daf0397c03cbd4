"""Choices that show where one step is judged on rows whose states and advantages are given."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from npgcheck.conformance.atlas import estimates, score
from npgcheck.conformance.atlas.entry import Choice, Number

_G = ("policy_gradient",)


def _over_std(ddof: int, added: float = 0.0) -> Any:
    def change(v: Any, critic: Any) -> Any:
        if critic is None or v.base.critic in ("centred", "normalised"):
            return None  # with the mean subtracted it has another name
        return critic / (np.std(critic, ddof=ddof) + added)

    return change


def _absolute(v: Any, critic: Any) -> Any:
    return None if critic is None else np.abs(critic)


def _ones(v: Any, critic: Any) -> Any:
    return None if critic is None else np.ones_like(critic)


def _in_coordinate(slope: Any) -> Any:
    """Derivatives with d log σ/dη where those of log σ belong, in the last entries."""

    def change(v: Any, value: Any) -> Any:
        if value is None or v.problem.family != "gaussian":
            return value
        m = v.problem.action_size
        scale = np.ones(len(v.reference.theta))
        scale[-m:] = slope(np.exp(v.reference.theta[-m:]))
        return value * scale

    return change


def _beside_f(slope: Any) -> Any:
    """The scores, as an answer of their own, beside an F in the coordinate of θ."""
    return {"scores": _in_coordinate(slope), "f_scores": _in_coordinate(lambda s: 1.0 / slope(s))}


#: Page of the atlas → the entries that stand on it.
ENTRIES: Mapping[str, tuple[Choice, ...]] = MappingProxyType({
    "returns": (
        Choice("advantage", "scaled", "scaled-advantages", "convention",
               "A / std A over the batch, without subtracting the mean",
               "rescales g and x; exact proposals do not change",
               "subtract the mean as well, divide by nothing, or pass the advantages that enter "
               "the gradient",
               note="advantages divided by their standard deviation", visible=_G,
               change={"row_critic": _over_std(0)},
               forms=tuple({"row_critic": _over_std(ddof, added)} for ddof, added in (
                   (1, 0.0), (0, 1e-8), (1, 1e-8), (0, 1e-6), (1, 1e-6)))),
        Choice("advantage", "absolute", "absolute-advantages", "bug", "|A| in place of A",
               "every action is made more likely", "keep the sign of the advantages",
               note="the absolute values of the advantages enter", visible=_G,
               change={"critic": _absolute, "row_critic": _absolute}),
        Choice("advantage", "missing", "advantages-missing", "bug",
               "g = Σ ω_i φ_i: the advantages do not enter",
               "g is the mean score, zero in expectation",
               "multiply each row's log π by its advantage before averaging",
               note="the advantages do not enter", visible=_G,
               change={"critic": _ones, "row_critic": _ones}),
    ),
    "estimates": (
        Choice("gae_lam", "", "gae-other-lambda", "bug",
               "Â_t = Σ (γλ′)^l δ_{t+l} with another λ′ than the λ that was said",
               "λ′ is estimated from the recursion Â_t = δ_t + γλ′ Â_{t+1}",
               "pass the same λ to the estimator and to the check", weak=True,
               note="computed with λ = {}", visible=("advantage_estimate",),
               change={"gae": lambda args, _, c: estimates.sums(
                   *estimates.with_other(args, lam=c))},
               number=Number("λ′", (0.0, 0.5, 0.8, 0.9, 0.92, 0.95, 0.97, 0.99))),
        Choice("gae_discount", "", "gae-other-discount", "bug",
               "δ_t = r + γ′V(s′) − V(s) with another γ′ than the γ that was said",
               "γ′ is estimated from the same recursion, together with λ",
               "pass the same γ to the estimator, the critic and the check", weak=True,
               note="computed with γ = {}", visible=("advantage_estimate",),
               change={"gae": lambda args, _, c: estimates.sums(
                   *estimates.with_other(args, discount=c))},
               forms=({"gae": lambda args, _, c: estimates.in_residuals(args, c)},
                      {"gae": lambda args, _, c: estimates.in_trace(args, c)}),
               number=Number("γ′", (0.0, 0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999))),
    ),
    "score": (
        Choice("entropy", "", "entropy-bonus", "convention", "g + β ∇ Σ ω H(π(·|s_i))",
               "g is that of the surrogate with an entropy bonus",
               "declare Conventions(entropy=β)", note="an entropy bonus, coefficient {}",
               visible=_G),
        Choice("entropy", "negative", "entropy-bonus-with-the-wrong-sign", "bug",
               "g − β ∇ Σ ω H(π(·|s_i))",
               "the policy is driven to determinism, and exploration ends early",
               "add the bonus to what is maximised, subtract it from what is minimised",
               note="the entropy bonus has the wrong sign: −{} ∇H", visible=_G,
               change={"g": lambda v, g, c: score.entropy_bonus(v, g, -c)},
               forms=({"g": lambda v, g, c: score.entropy_bonus(
                   v, g, -c * (1.0 - v.reference.discount))},),
               reads=("g_weights", "pi", "log_pi", "scores", "std_jacobian"),
               number=Number("β", (1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0))),
        Choice("density", "other_sigma", "score-in-another-sigma-coordinate", "bug",
               "∂log π/∂σ, or ∂log π/∂log σ², where θ holds log σ",
               "the rows of log σ are off by σ, or by two",
               "differentiate with respect to what θ holds: ∂log π/∂log σ = z² − 1",
               note="the score of σ is taken in another coordinate than θ's",
               visible=("score", *_G),
               change=_beside_f(lambda s: 1.0 / s),
               forms=(_beside_f(lambda s: 0.5 + 0.0 * s), _beside_f(lambda s: 0.5 / s**2),
                      {"g": _in_coordinate(lambda s: 1.0 / s)},
                      {"g": _in_coordinate(lambda s: 0.5 + 0.0 * s)},
                      {"g": _in_coordinate(lambda s: 0.5 / s**2)}),
               families=("gaussian",)),
    ),
    "glue": (
        Choice("objective", "loss", "gradient-of-the-loss", "convention",
               "−g: the gradient of the loss, which is minimised",
               "g and x change their sign together",
               "pass −gradient, or declare Conventions(gradient_of='loss')",
               note="the gradient of the loss: −g", visible=_G),
    ),
})  # fmt: skip
