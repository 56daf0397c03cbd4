"""Conjugate gradient and generalised advantage estimates: functions of their arguments alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.explainers.common import NothingToEstimate, elementwise
from npgcheck.conformance.fitting import Judged, Record

Array = np.ndarray

#: The recurrence loses the orthogonality of its directions, so floating-point iterates stray from
#: the exact ones: by up to 500 budgets for the textbook recurrence on the systems asked here.
#: Mistakes in the recurrence err by 1e-2 of ‖b‖ and more, hence the cap.
DRIFT = 1e4
LARGEST_DRIFT = 1e-3
#: A solver that stops at a tolerance must have reached this relative residual.
STOPPED = 1e-4
#: Entries of the random starts in use, and how far the image of an iterate moves with them: by up
#: to 6.3 sizes of the start's image where this was measured.
START = 1e-4
MOVED = 20.0
#: What is left of a random start after an iteration that has converged to x = 0.
ZERO = 1e-12
#: Right sides this small lie below the absolute tolerances in use.
SMALL = 1e-6


class ConjugateGradient(NothingToEstimate):
    """x_k: minimises the M-norm of the error over K_k(M, b), from x₀ = 0."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        return [
            {},
            {"cg_stopping": "tolerance"},
            {"cg_stopping": "absolute"},
            {"cg_start": "random", "cg_stopping": "absolute"},
        ]

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        matrix, vector, iterations = record.probe.args
        spectrum = np.linalg.eigvalsh(matrix)
        size = _length(vector)
        kept = spectrum[spectrum > 1e-12 * spectrum.max()]
        growth = float(kept.max() / kept.min())
        drift = tolerance.CONSTANT * record.roundoff * growth * DRIFT
        budget = min(drift, LARGEST_DRIFT) * size
        reached = iterates(matrix, vector, iterations)
        exact = reached[-1]
        if choices.get("cg_stopping") == "absolute" and size < SMALL:
            # Below the tolerance any start is accepted: only its image must be as small.
            image = _length(matrix @ record.value)
            return Judged(image, STOPPED, size, exact)
        if choices.get("cg_stopping"):
            near = min(reached[1:] or [exact], key=lambda x: float(abs(record.value - x).max()))
            if _length(matrix @ near - vector) <= STOPPED * size:
                exact = near
        if choices.get("cg_start") == "random":
            spread = START * float(spectrum.max()) * float(np.sqrt(len(vector)))
            budget = max(budget, MOVED * spread)
        # The residual norm: a null component of M (singular systems) is free.
        error = _length(matrix @ (record.value - exact))
        if error > max(LARGEST_DRIFT * size, budget):
            # No drift, and so no round-off of a coarser computation either.
            budget = tolerance.CONSTANT * record.roundoff * size
        if not np.isfinite(record.value).all():
            error = np.inf
        if size == 0.0:
            # b = 0 has the one answer x = 0, whatever the budget of a right side of size 0.
            error = 0.0 if float(np.abs(record.value).max(initial=0.0)) <= ZERO else np.inf
            return Judged(error, 1.0, 0.0, exact)
        return Judged(error, budget, size, exact)


def iterates(matrix: Array, vector: Array, iterations: int) -> list[Array]:
    """x₀ … x_k by orthogonal projection onto the Krylov spaces, not by the recurrence."""
    found = [np.zeros(len(vector))]
    span = np.zeros((len(vector), 0))
    direction = vector.copy()
    start = _length(vector)
    for _ in range(iterations):
        for _ in range(2):
            direction = direction - span @ (span.T @ direction)
        norm = _length(direction)
        if norm <= 1e-11 * start or start == 0.0:
            break
        span = np.column_stack([span, direction / norm])
        reduced = span.T @ matrix @ span
        found.append(span @ np.linalg.solve(reduced, span.T @ vector))
        direction = matrix @ span[:, -1]
        start = max(_length(direction), 1e-300)
    return found


class AdvantageEstimate(NothingToEstimate):
    """Â_t = Σ_l (γλ)^l δ_{t+l} within the episode (Schulman et al. 2016, eq. 16)."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        return [
            {},
            {"advantage": "normalised"},
            *({"episode_ends": value} for value in DROPPED_RULES),
        ]

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        rewards, values, after, terminated, truncated, discount, lam = record.probe.args
        mistake = DROPPED_RULES.get(choices.get("episode_ends", ""), {})
        exact = by_definition(
            rewards, values, after, terminated, truncated, discount, lam, **mistake
        )
        reach = max(np.abs(a).max() for a in (rewards, values, after))
        length = len(rewards)
        if choices.get("advantage") == "normalised":
            spread = float(exact.std())
            if length < 2 or spread < 1e-3:
                return None  # its own rounding decides what the quotient is
            budget = tolerance.CONSTANT * record.roundoff * length * reach / spread**2
            return elementwise(record.value, (exact - exact.mean()) / spread, budget)
        budget = tolerance.CONSTANT * record.roundoff * length * reach
        return elementwise(record.value, exact, budget)


def by_definition(
    rewards: Array,
    values: Array,
    after: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    lam: float,
    *,
    delta_discount: bool = True,
    trace_discount: bool = True,
    after_termination: bool = False,
    after_truncation: bool = True,
    stop: bool = True,
) -> Array:
    """The double sum, lag by lag: no recursion that could share a mistake with the subject.

    Each keyword is one rule, and what it becomes without it is a known mistake. Time is the first
    axis; further axes are independent streams.
    """
    gamma = discount if delta_discount else 1.0
    decay = (discount if trace_discount else 1.0) * lam
    ended = terminated.astype(bool) | truncated.astype(bool)
    cut = np.zeros_like(ended)
    if not after_termination:
        cut |= terminated.astype(bool)
    if not after_truncation:
        cut |= truncated.astype(bool)
    # δ_t = r_t + γ (1 − terminated_t) V(s_{t+1}) − V(s_t)
    delta = rewards + np.where(cut, 0.0, gamma * after) - values
    # Â_t = Σ_l w_{t,l} δ_{t+l},  w_{t,l} = Π_{k<l} γλ (1 − done_{t+k})
    result, weight = delta.copy(), np.ones_like(delta)
    for lag in range(1, len(delta)):
        goes_on = ~ended[lag - 1 : -1] if stop else 1.0
        weight = decay * weight[:-1] * goes_on
        if not weight.any() or _forgotten(decay, lag):
            break
        result[:-lag] += weight * delta[lag:]
    return result


def _forgotten(decay: float, lag: int) -> bool:
    """Whether all that follows is four orders of magnitude below the rounding of one residual."""
    return decay < 1.0 and decay**lag < 1e-20 * (1.0 - decay)


#: Choice of the stage ``episode_ends`` -> the rule that it drops.
DROPPED_RULES: dict[str, dict[str, bool]] = {
    "timeout_as_terminal": {"after_truncation": False},
    "bootstrap_after_termination": {"after_termination": True},
    "leak": {"stop": False},
    "no_discount_in_delta": {"delta_discount": False},
    "no_discount_in_trace": {"trace_discount": False},
}


def _length(vector: Array) -> float:
    """‖v‖₂; infinite without a warning where a diverging answer's square overflows."""
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(vector))
