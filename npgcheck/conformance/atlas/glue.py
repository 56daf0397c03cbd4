"""Glue: precision, scales and the limits of the domain."""

from __future__ import annotations

from typing import Any

from npgcheck.conformance.atlas import counts, sources
from npgcheck.conformance.atlas.entry import Choice, Seen

G = ("policy_gradient", "natural_gradient", "update")


def _times(f: Any) -> Any:
    return {"g": lambda v, g: f(v) * g}


def _rescaled(power: float) -> Any:
    """Lengths from a g (or F) and an x whose scales differ by (1−γ)."""

    def length(v: Any, value: Any) -> Any:
        return value[0] * (1.0 - v.reference.discount) ** power, *value[1:]

    return {"length": length}


ENTRIES = (
    Choice("gradient_factor", "1/(1-gamma)", "full-gradient", "free",
           "g = ∇J = 1/(1−γ) E_d[φA]", "the derivative of J", "nothing to mend", default=True),
    Choice("gradient_factor", "1", "gradient-without-horizon", "free", "g = (1−γ)∇J = E_d[φA]",
           "the mean over rows", "nothing to mend: the direction is the same", visible=G,
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"}),
    Choice("solver_rtol", "", "limited-accuracy", "approximation",
           "right up to a relative error of solver_rtol",
           "looks like single precision inside, or an iteration stopped at a tolerance",
           "compute in float64 and converge, return float32, or declare "
           "Conventions(solver_rtol=…)",
           note="right, but not to round-off: as in single precision, or after an iteration "
           "stopped at a tolerance",
           seen=(Seen("float32 is the default of most deep-learning code: noise ~1e-7 · cond F",
                      "read"),), visible=("value", *G)),
    Choice("range", "limited", "limited-range", "approximation",
           "NaN, infinity or a clamped number at the limits of the domain",
           "the logarithm of an underflowed (or clamped) softmax, or 0/0 where the gradient "
           "vanishes",
           "use log-softmax; return zero for a zero gradient", seen=(sources.STD_EPS,),
           visible=("log_prob", "score", "natural_gradient")),
    Choice("gradient_scale", "rows", "sum-in-g-mean-in-F", "bug",
           "g is a sum over the rows or episodes, F a mean (or g is divided by N twice)",
           "x grows with the number of rows", "average both over the rows",
           note="g is summed over the rows, F averaged", visible=G,
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"},
           change=_times(counts.rows),
           forms=(_times(lambda v: 1.0 / counts.rows(v)), _times(counts.episodes)),
           notes=("g is divided by the number of rows twice",
                  "g is summed over the episodes, F averaged")),
    Choice("gradient_scale", "horizon", "horizon-factor-twice", "bug",
           "g/(1−γ)² (or (1−γ)g twice over)", "g and x are 1/(1−γ) times too large or too small",
           "∇J has one factor 1/(1−γ); a normalised d and an undiscounted sum have none",
           note="the factor 1/(1−γ) enters twice", visible=G,
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL",
                   "γ = 0": "the factor is one"},
           change=_times(lambda v: 1.0 / (1.0 - v.reference.discount)),
           forms=(_times(lambda v: 1.0 - v.reference.discount),)),
    Choice("gradient_scale", "gamma", "gradient-factor-gamma", "bug", "γ g: t counted from 1",
           "g and x are γ times too small", "the first step has weight γ⁰ = 1",
           note="the gradient is γ times too small: time is counted from 1", visible=G,
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"},
           change=_times(lambda v: v.reference.discount)),
    Choice("gradient_scale", "two", "gradient-factor-two", "bug", "2g or g/2",
           "g and x are twice or half as large", "g = 1/(1−γ) E_d[φA], without a factor",
           note="2g in place of g", visible=G,
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"},
           change=_times(lambda v: 2.0), forms=(_times(lambda v: 0.5),),
           notes=("½g in place of g",)),
    Choice("gradient_scale", "states", "gradient-scaled-by-states", "bug", "g/S or S g",
           "g depends on the number of states", "Σ_s d(s) is a mean already",
           note="the gradient is scaled by the number of states", visible=G,
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"},
           change=_times(lambda v: 1.0 / v.problem.num_states),
           forms=(_times(lambda v: float(v.problem.num_states)),)),
    Choice("gradient_scale", "differ", "scales-differ-between-quantities", "bug",
           "F or g normalised in one function, not in another",
           "each is right by itself; together x is not F⁻¹g of the subject's own F and g",
           "use one normalisation throughout",
           note="two quantities are normalised differently",
           visible=("fisher", "fisher_vector_product", *G, "trust_region_proposal"),
           hidden={"a single quantity": "nothing to compare with"},
           change=_rescaled(0.5), forms=(_rescaled(-0.5),)),
    Choice("gradient_scale", "zero", "gradient-zero", "bug", "g = 0: the graph is cut",
           "every gradient is zero", "differentiate through log π; do not detach it",
           note="the gradient is always zero: the graph is cut somewhere", visible=G,
           change={"g": lambda v, g: 0.0 * g}),
)  # fmt: skip
