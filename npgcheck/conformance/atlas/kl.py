"""KL divergence: between which policies, of which terms, averaged how."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import counts, sources
from npgcheck.conformance.atlas.entry import Choice, Number, Seen
from npgcheck.conformance.diagnosis.curvature import hessian, visits

KL = ("kl",)
_LOG_2PI = float(np.log(2.0 * np.pi))
SECOND_ORDER = {
    "fisher, products, x": "the second derivative at θ is the same",
}


def _discrete(f: Any) -> Any:
    """A change of the divergence at every state: f(π, log π, log π′) → (S,)."""

    def change(v: Any, value: Any) -> Any:
        parts = value[1]
        return f(parts.weights[0], parts.old, parts.new), parts

    return change


def _gaussian(f: Any) -> Any:
    """f(m₀, σ₀, m₁, σ₁) → (S, m), summed over the dimensions."""

    def change(v: Any, value: Any) -> Any:
        parts = value[1]
        return f(*parts.old, *parts.new).sum(axis=1), parts

    return change


def _both_ways(v: Any, value: Any, weight: Any) -> Any:
    from npgcheck.conformance.diagnosis.kl import divergence

    terms, parts = value
    back = divergence(parts.swapped(), v.discrete)
    return weight * (terms + back), parts


def _quadratic(v: Any, value: Any) -> Any:
    step = value[1] - v.theta
    return 0.5 * float(step @ (v["F"] @ step)), *value[1:]


def _worst(v: Any, value: Any) -> Any:
    terms, parts = value
    visited = v["f_weights"] > 0
    return np.full_like(terms, terms[visited].max()), parts


def _log_ratio(v: Any, other: Any) -> Any:
    rows, policy = v.pipeline.rows, v.reference.policy
    observations = np.asarray(v.problem.observations)[rows.states]
    new = policy.log_prob(other, observations, rows.actions)
    return policy.log_prob(v.reference.theta, observations, rows.actions) - new


def _estimate(f: Any) -> Any:
    def change(v: Any, value: Any) -> Any:
        if v.pipeline.rows is None:
            return value
        return (float(v["row_weights"] @ f(_log_ratio(v, value[1]))), *value[1:])

    return change


def _new_occupancy(v: Any, value: Any) -> Any:
    from npgcheck.conformance.diagnosis.pipeline import log_softmax

    if not v.discrete or v.base.sampled != "mdp":
        return value
    logits = v.reference.policy.logits(value[1], v.problem.observations)
    new = log_softmax(logits)
    d = visits(v, np.exp(new))
    terms = (v["pi"] * (v["log_pi"] - new)).sum(axis=1)
    usual = float(v["f_weights"] @ terms)
    return (value[0] * float(d @ terms) / usual if usual else value[0], *value[1:])


def _cross_entropy(v: Any, value: Any, constant: Any = _LOG_2PI) -> Any:
    """E_π[−log π′]; of Gaussians, log σ₁ + (σ₀² + (μ₀ − μ₁)²)/(2σ₁²) and a constant."""
    parts = value[1]
    if v.discrete:
        return -(parts.weights[0] * parts.new).sum(axis=1), parts
    (m, s), (n, t) = parts.old, parts.new
    terms = np.log(t) + (s**2 + (m - n) ** 2) / (2.0 * t**2) + 0.5 * constant
    return terms.sum(axis=1), parts


def _with_epsilon(f: Any) -> Any:
    """f(π, π′, ε), summed over the actions."""

    def change(v: Any, value: Any, c: Any) -> Any:
        parts = value[1]
        return f(np.exp(parts.old), np.exp(parts.new), c).sum(axis=1), parts

    return change


def _log_plus(v: Any, log_pi: Any, c: Any) -> Any:
    return np.log(np.exp(log_pi) + c)


def _solved(v: Any, F: Any) -> Any:
    return np.linalg.lstsq(F, v["g"], rcond=1e-12)[0]


def _root(f: Any) -> Any:
    return lambda v, value: (f(value[0]), *value[1:])


ENTRIES = (
    Choice("kl_direction", "forward", "forward-kl", "free", "KL(π_problem.theta ‖ π_theta)",
           "the trust region of TRPO", "nothing to mend", default=True),
    Choice("kl_direction", "reverse", "reverse-kl", "free", "KL(π_theta ‖ π_problem.theta)",
           "the same Hessian; differs from third order on, so in the line search",
           "nothing to mend; swap the arguments if the trust region was meant",
           seen=(sources.KL_DIRECTION, sources.KL_SWAPPED, sources.KL_ORDER), visible=KL,
           hidden={**SECOND_ORDER, "Gaussians of fixed σ": "the divergence is symmetric"}),
    Choice("kl_model", "exact", "exact-kl", "free", "KL itself", "all orders", "nothing to mend",
           default=True),
    Choice("kl_model", "quadratic", "quadratic-kl", "approximation", "½ ΔᵀFΔ",
           "right to second order only", "compute the divergence, not its quadratic model",
           note="the quadratic model ½ΔᵀFΔ in place of KL", visible=KL, hidden=SECOND_ORDER,
           change={"kl": _quadratic}, reads=("F",)),
    Choice("action_dimensions", "sum", "sum-over-action-dimensions", "free",
           "KL and log π of independent action dimensions add up",
           "the divergence of the joint distribution", "nothing to mend", default=True),
    Choice("action_dimensions", "mean", "kl-mean-over-action-dimensions", "bug",
           "1/m Σ_i KL_i over m action dimensions, and its Hessian F/m",
           "F, its products and KL are 1/m of the right ones; invisible for m = 1",
           "sum over the action dimensions before averaging over rows",
           note="KL averaged over the action dimensions in place of their sum",
           seen=(Seen("sb3-contrib 2.9.2, TRPO on Gaussian policies: measured by this project's "
                      "adapter; no statement from its authors", "read"), sources.COMPOSITE_KL),
           visible=("fisher", "fisher_vector_product", "kl"),
           hidden={"one action dimension": "a mean over one number is the number"},
           families=("gaussian",)),
    Choice("kl", "jeffreys", "jeffreys-kl", "bug",
           "KL(π‖π′) + KL(π′‖π), or half of it",
           "symmetric; half of it has the same Hessian, the sum twice the Hessian",
           "take one direction: KL(π_problem.theta ‖ π_theta)",
           note="the mean of both directions of KL", visible=KL,
           change={"kl_terms": lambda v, k: _both_ways(v, k, 0.5)},
           forms=({"kl_terms": lambda v, k: _both_ways(v, k, 1.0)},),
           notes=("both directions of KL are added",)),
    Choice("kl", "cross_entropy", "cross-entropy-for-kl", "bug",
           "−Σ_a π log π′, without the entropy of π",
           "not zero at θ; larger by the entropy of π; its Hessian is right",
           "add Σ_a π log π", note="the cross-entropy: the entropy term is missing", visible=KL,
           hidden=SECOND_ORDER,
           change={"kl_terms": _cross_entropy},
           forms=({"kl_terms": lambda v, k: _cross_entropy(v, k, 0.0)},),
           notes=("the cross-entropy, without its constant: the entropy term is missing",)),
    Choice("kl", "worst", "kl-max-over-states", "bug", "max_s KL(s) in place of Σ_s d(s) KL(s)",
           "larger than the mean: the bound of the theory of TRPO, not its practice",
           "average over the states by d", note="the largest KL of any state, not the mean",
           visible=KL, change={"kl_terms": _worst}, reads=("f_weights",)),
    Choice("kl", "absolute", "kl-absolute-log-ratio", "bug", "Σ_a π |log π/π′|",
           "of first order at θ: it has a kink there", "drop the absolute value",
           note="absolute values of the log-ratios are averaged", visible=KL,
           change={"kl_terms": _discrete(lambda p, old, new: (p * abs(old - new)).sum(axis=1))},
           families=("discrete",)),
    Choice("kl", "variation", "total-variation-for-kl", "bug",
           "½ Σ_a |π − π′|, Σ_a |π − π′|, or ½ (Σ_a |π − π′|)²",
           "of first order at θ; bounded by one", "use Σ_a π log π/π′",
           note="the total variation distance ½ Σ |π − π′|, not KL", visible=KL,
           change={"kl_terms": _discrete(
               lambda p, old, new: 0.5 * abs(p - np.exp(new)).sum(axis=1))},
           forms=({"kl_terms": _discrete(lambda p, old, new: abs(p - np.exp(new)).sum(axis=1))},
                  {"kl_terms": _discrete(
                      lambda p, old, new: 0.5 * abs(p - np.exp(new)).sum(axis=1) ** 2)}),
           notes=("the distance Σ |π − π′|, twice the total variation, not KL",
                  "half of the squared distance (Σ |π − π′|)², not KL"),
           families=("discrete",)),
    Choice("kl", "squared_distance", "squared-distance-for-kl", "bug",
           "½ Σ_a (π − π′)² or Σ_a (π − π′)²",
           "of second order, with another Hessian", "use Σ_a π log π/π′",
           note="half of the squared distance Σ (π − π′)², not KL", visible=KL,
           change={"kl_terms": _discrete(
               lambda p, old, new: 0.5 * ((p - np.exp(new)) ** 2).sum(axis=1))},
           forms=({"kl_terms": _discrete(lambda p, old, new: ((p - np.exp(new)) ** 2).sum(1))},),
           notes=("the squared distance Σ (π − π′)², not KL",),
           families=("discrete",)),
    Choice("kl", "half", "kl-factor-two", "bug", "½ KL or 2 KL",
           "the trust region is √2 too wide or too narrow", "KL = Σ_a π log π/π′, without a factor",
           note="½KL in place of KL", visible=KL,
           change={"kl": _root(lambda k: 0.5 * k)},
           forms=({"kl": _root(lambda k: 2.0 * k)},), notes=("2KL in place of KL",)),
    Choice("kl", "mean_over_actions", "kl-mean-over-actions", "bug", "1/A Σ_a π log π/π′",
           "A times too small", "sum over the actions", note="a mean over the actions, not a sum",
           visible=KL, change={"kl_terms": lambda v, k: (k[0] / v.problem.num_actions, *k[1:])},
           families=("discrete",)),
    Choice("kl", "sum_over_states", "kl-summed-over-states", "bug",
           "Σ_s KL(s), or Σ_i KL_i over the rows, without weights",
           "grows with the number of states, or of rows",
           "weigh state s by d(s); average over rows",
           note="KL is summed over the states, not averaged", visible=KL,
           change={"kl": lambda v, k: k, "kl_terms": lambda v, k: (
               np.full_like(k[0], k[0].sum()), *k[1:])},
           forms=({"kl": lambda v, k: (k[0] * counts.rows(v), *k[1:])},),
           notes=("KL is summed over the rows, not averaged",)),
    Choice("kl", "root", "kl-square-root", "bug", "√KL or √(2KL)",
           "a distance, of first order at θ", "compare KL itself with max_kl",
           note="√KL in place of KL", visible=KL,
           change={"kl": _root(lambda k: np.sqrt(max(k, 0.0)))},
           forms=({"kl": _root(lambda k: np.sqrt(2.0 * max(k, 0.0)))},
                  {"kl_terms": lambda v, k: (np.sqrt(np.maximum(k[0], 0.0)), *k[1:])},
                  {"kl_terms": lambda v, k: (np.sqrt(2.0 * np.maximum(k[0], 0.0)), *k[1:])}),
           notes=("√(2KL) in place of KL", "√KL at every state in place of KL",
                  "√(2KL) at every state in place of KL")),
    Choice("kl", "sampled", "kl-from-sampled-log-ratios", "approximation",
           "mean of log π/π′ over the batch's own actions",
           "exact on exact batches; may be negative on ordinary ones",
           "take the expectation over actions", note="KL estimated from the sampled log-ratios",
           visible=KL, hidden={"exact batches": "their actions have the law of π"},
           change={"kl": _estimate(lambda r: r)}, reads=("row_weights",)),
    Choice("kl", "sampled_squares", "kl-from-squared-log-ratios", "approximation",
           "mean of ½(log π/π′)² over the batch's own actions",
           "right to second order in expectation", "take the expectation over actions",
           note="KL estimated from squared log-ratios", visible=KL,
           change={"kl": _estimate(lambda r: 0.5 * r**2)}, reads=("row_weights",)),
    Choice("kl", "sampled_k3", "kl-from-exponential-log-ratios", "approximation",
           "mean of π′/π − 1 − log π′/π over the batch's own actions",
           "never negative; exact on exact batches only", "take the expectation over actions",
           note="KL estimated by r − 1 − log r over the sampled actions", visible=KL,
           change={"kl": _estimate(lambda r: np.expm1(-r) + r)}, reads=("row_weights",)),
    Choice("kl", "new_occupancy", "kl-under-the-new-occupancy", "bug",
           "Σ_s d_{π′}(s) KL(s): states weighted as the new policy visits them",
           "differs from third order on", "weigh by the visits of problem.theta",
           note="states are weighted by the visits of the new policy", visible=KL,
           hidden=SECOND_ORDER, change={"kl": _new_occupancy},
           reads=("transitions", "start", "discount", "log_pi", "pi", "f_weights"),
           families=("discrete",)),
    Choice("kl", "epsilon", "epsilon-inside-kl", "approximation",
           "log(π + ε) in place of log π, of one policy or of both",
           "an error of ε/π: small where probabilities are large, large where they are not",
           "use log-softmax, which needs no ε", note="ε = {} inside the logarithm",
           visible=("log_prob", "kl"),
           change={"log_pi": _log_plus},
           forms=tuple({"kl_terms": _with_epsilon(f)} for f in (
               lambda p, q, c: (p + c) * (np.log(p + c) - np.log(q + c)),
               lambda p, q, c: p * (np.log(p) - np.log(q + c)),
               lambda p, q, c: p * (np.log(p + c) - np.log(q)),
               lambda p, q, c: p * np.log(p / q + c),
           )),
           notes=("ε = {} inside the logarithm, and in the weights",
                  "ε = {} inside the logarithm of the new policy alone",
                  "ε = {} inside the logarithm of the old policy alone",
                  "ε = {} beside the ratio inside the logarithm"),
           number=Number("ε", (1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
           families=("discrete",)),
    Choice("kl", "not_at_coincidence", "kl-not-at-coincidence", "bug",
           "the Hessian of KL(π_θ ‖ π_θ′) by θ′ taken at θ′ ≠ θ",
           "F of other parameters, and a residual that may be indefinite: those of a seed, of a "
           "perturbation, or after a step along g or x",
           "differentiate at the old policy itself: θ′ = θ",
           note="the Hessian of KL is taken at θ + {} times g or x, not at θ",
           seen=(Seen("public code", "read"),), visible=("fisher", "fisher_vector_product"),
           change={"F": lambda v, F, c: hessian(v, v.theta + c * v["g"])},
           forms=({"F": lambda v, F, c: hessian(v, v.theta + c * v["g"] / (1.0 - v["discount"]))},
                  {"F": lambda v, F, c: hessian(v, v.theta + c * _solved(v, F))},
                  {"F": lambda v, F, c: hessian(
                      v, v.theta + c * _solved(v, F) / (1.0 - v["discount"]))}),
           number=Number("c", (1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)),
           reads=("g", "discount")),
    Choice("kl", "old_variance", "gaussian-kl-with-old-variance", "bug",
           "(μ₀ − μ₁)²/(2σ₀²) in place of (μ₀ − μ₁)²/(2σ₁²)",
           "invisible where σ does not change", "divide by the variance of the second policy",
           note="the mean's term is divided by the old variance", visible=KL,
           hidden={"σ unchanged": "σ₀ = σ₁"},
           change={"kl_terms": _gaussian(lambda m, s, n, t: np.log(t / s)
                                         + s**2 / (2 * t**2) + (m - n) ** 2 / (2 * s**2) - 0.5)},
           families=("gaussian",)),
    Choice("kl", "no_half", "gaussian-kl-without-minus-half", "bug",
           "log σ₁/σ₀ + (σ₀² + (μ₀ − μ₁)²)/(2σ₁²), without −½",
           "½ per dimension at θ, where it must be 0", "subtract ½ per dimension",
           note="the −½ per dimension is missing", visible=KL, hidden=SECOND_ORDER,
           change={"kl_terms": _gaussian(
               lambda m, s, n, t: np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2))},
           families=("gaussian",)),
    Choice("kl", "means_only", "gaussian-kl-of-means-only", "bug", "(μ₀ − μ₁)²/(2σ²) alone",
           "zero when only σ changes", "add log σ₁/σ₀ + σ₀²/(2σ₁²) − ½",
           note="only the means enter KL", visible=KL,
           change={"kl_terms": _gaussian(lambda m, s, n, t: (m - n) ** 2 / (2 * t**2))},
           forms=({"kl_terms": _gaussian(lambda m, s, n, t: (m - n) ** 2 / (2 * s**2))},),
           families=("gaussian",)),
    Choice("kl", "std_for_variance", "gaussian-kl-std-for-variance", "bug",
           "(σ₀ + (μ₀ − μ₁)²)/(2σ₁) with standard deviations for variances",
           "invisible only at σ = 1", "square the standard deviations",
           note="standard deviations stand where KL has variances", visible=KL,
           change={"kl_terms": _gaussian(
               lambda m, s, n, t: np.log(t / s) + (s + (m - n) ** 2) / (2 * t) - 0.5)},
           forms=({"kl_terms": _gaussian(lambda m, s, n, t: 0.5 * np.log(t / s)
                                         + (s + (m - n) ** 2) / (2 * t) - 0.5)},),
           families=("gaussian",)),
    Choice("kl", "no_log", "gaussian-kl-log-term-missing", "bug",
           "(σ₀² + (μ₀ − μ₁)²)/(2σ₁²) − ½, without log σ₁/σ₀",
           "of first order in log σ at θ", "add log σ₁/σ₀", note="log σ₁/σ₀ is missing", visible=KL,
           change={"kl_terms": _gaussian(
               lambda m, s, n, t: (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5)},
           forms=({"kl_terms": _gaussian(lambda m, s, n, t: np.log(s / t)
                                         + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5)},),
           families=("gaussian",)),
)  # fmt: skip
