"""The error budget: how far a right answer may lie from the exact one, and why.

Every budget is *round-off of the returned dtype × a constant × the conditioning of that
quantity*. A plain relative tolerance accuses right code, because F and g carry an error of
their own: d and V come from a solve with I − γP_π, whose condition number κ amplifies the
rounding of its entries, and the probabilities come from exponentials of logits, whose relative
error is the rounding times the size of the logits.

The constant 30 leaves room. Right implementations in 22 styles, held against Arb balls for
cond⁺(F) up to 10⁴ (10² in single precision), stay below a twentieth of every budget. In double
precision a damping of 1e-5 is refuted by a factor of a million on every problem, and 1e-11 is the
smallest that shows on all of them; answers in single precision show 1e-2 on every problem and
1e-4 on some. The tests hold these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Unit round-off u of the dtypes that a subject may answer in.
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11}
#: bfloat16 has an 8-bit significand; torch tensors of it arrive under this name.
UNIT_ROUNDOFF["bfloat16"] = 2.0**-8

CONSTANT = 30.0

#: Beyond this cond⁺(F) a natural gradient is not judged: the problem is drawn again.
MAX_FISHER_CONDITION = 1e4


def unit_roundoff(dtype_name: str) -> float:
    """Returns u of the dtype; integers, lists and unknown names count as float64."""
    return UNIT_ROUNDOFF.get(dtype_name, UNIT_ROUNDOFF["float64"])


@dataclass(frozen=True)
class Scales:
    """What the conditioning of one problem amounts to.

    Attributes:
        chain: κ, the condition number of I − γP_π in the ∞-norm; 1 where no chain is solved.
        lift: 1 + max|logit| (softmax) or 1 + max|z|-like growth (Gaussian): how much rounding
            of the parameters moves a log-probability.
        value: ‖Q‖∞, or the largest reward magnitude where that is larger.
        fisher: ‖F‖₂ in the normalisation Σ_s d(s) = 1.
        score: largest ‖∇log π‖₂ over states and judged actions.
        observations: largest |observation|.
        derivative: relative error of the Jacobian that the reference itself measured (0 for
            closed forms); it adds to the unit round-off.
    """

    chain: float
    lift: float
    value: float
    fisher: float
    score: float
    observations: float
    derivative: float = 0.0

    def roundoff(self, dtype_name: str) -> float:
        """Returns u plus the reference's own measured error."""
        return unit_roundoff(dtype_name) + self.derivative


def log_prob(s: Scales, u: float, value: float) -> float:
    """|δ log π| ≤ C u (lift + |log π|): rounding of the logits and of the log-sum-exp."""
    return CONSTANT * u * (s.lift + abs(value))


def score(s: Scales, u: float) -> float:
    """|δφ| ≤ C u lift (‖φ‖ + max|observation|)."""
    return CONSTANT * u * s.lift * (s.score + s.observations)


def value(s: Scales, u: float) -> float:
    """|δV| ≤ C u κ lift ‖Q‖∞; Q, A and J are sums of the same size."""
    return CONSTANT * s.chain * s.lift * _critic(s, u)


def state_distribution(s: Scales, u: float) -> float:
    """|δd| ≤ C u κ lift, for d summing to 1."""
    return CONSTANT * u * s.chain * s.lift


def policy_gradient(s: Scales, u: float, norm: float) -> float:
    """‖δg‖ ≤ C u (κ lift ‖Q‖∞ max(‖φ‖, |obs|) + ‖g‖), for g = E_d[φA] = (1−γ)∇J.

    The observations stand beside φ because φ is a difference of them: with one action it is
    zero, and what is left of it is rounding.
    """
    score = max(s.score, s.observations)
    return CONSTANT * (s.chain * s.lift * _critic(s, u) * score + u * norm)


def fisher(s: Scales, u: float) -> float:
    """‖δF‖ ≤ C u κ lift max(‖F‖, ‖φ‖², |obs|²): the largest score bounds the summands of F."""
    return CONSTANT * u * s.chain * s.lift * _curvature(s)


def fisher_vector_product(s: Scales, u: float, vector_norm: float) -> float:
    """‖δ(Fv)‖ ≤ ‖δF‖ ‖v‖."""
    return fisher(s, u) * vector_norm


def kl(s: Scales, u: float, divergence: float, log_ratio: float) -> float:
    """|δKL| ≤ C u (κ lift KL + lift + max|log π/π′|): the sum cancels down from log-probabilities.

    Near coincidence KL is of second order while its summands are of first order, so an absolute
    error of a few u·lift is what a right implementation shows.
    """
    return CONSTANT * u * (s.chain * s.lift * divergence + s.lift + log_ratio)


def surrogate(s: Scales, u: float, ratio: float) -> float:
    """|δ(L(θ′) − L(θ))| ≤ C u κ lift ‖Q‖∞ max(1, π′/π), for L = E_{d,π}[π′/π A]."""
    return CONSTANT * s.chain * s.lift * _critic(s, u) * max(1.0, ratio)


def natural_gradient_residual(
    s: Scales, u: float, solution_norm: float, gradient_norm: float, factor: float = 1.0
) -> float:
    """‖Fx − c g‖ ≤ C u [κ‖F‖‖x‖ + c κ‖Q‖∞√‖F‖ + c ‖g‖] lift, for g = E_d[φA].

    Args:
        s: the scales of the problem.
        u: unit round-off.
        solution_norm: ‖x‖.
        gradient_norm: ‖c g‖.
        factor: c, as between ∇J and (1−γ)∇J: all of g's rounding grows with it.
    """
    # F and g are taken with the same error terms as above: the residual inherits both.
    root = float(np.sqrt(_curvature(s)))
    return (
        CONSTANT
        * s.lift
        * (
            u * s.chain * _curvature(s) * solution_norm
            + factor * s.chain * _critic(s, u) * root
            + u * gradient_norm
        )
    )


def _critic(s: Scales, u: float) -> float:
    """Rounding of values, and of a baseline of size 1 in double precision beside them.

    A critic with a baseline of its own rounds at the size of that baseline, however small the
    rewards are.
    """
    return u * s.value + UNIT_ROUNDOFF["float64"]


def _curvature(s: Scales) -> float:
    """The size of the summands of F."""
    return max(s.fisher, s.score**2, s.observations**2)
