"""What the explainers share: the measures to try, and the estimate of one common λ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npgcheck.conformance.fitting import Judged, Record
from npgcheck.conformance.round_numbers import roundest

Array = np.ndarray

#: Least squares never returns exactly zero; nobody damps below round-off.
SMALLEST_LAMBDA = 1e-13

_WEIGHTINGS = {
    "mdp": ("discounted", "undiscounted"),
    "batch": ("discounted",),
    "episodes": ("discounted", "undiscounted", "per_trajectory"),
}


def measures(sampled: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the (sampled, weighting) pairs to try, the contract's own first."""
    for source in sampled:
        for weighting in _WEIGHTINGS[source]:
            yield {"sampled": source, "weighting": weighting}


def factors(record: Record, choices: dict[str, Any], name: str) -> tuple[float, ...] | None:
    """Returns the numbers that go under a scale's name on this problem, or None."""
    measure = record.reference.measure(choices["sampled"], choices["weighting"])
    if measure is None:
        return None
    if choices.get("action_dimensions") == "mean" and not record.reference.discrete:
        dimensions = record.reference.problem.action_size
        return tuple(number / dimensions for number in measure.scales[name])
    return measure.scales[name]


def over_dimensions(records: Sequence[Record], choices: dict[str, Any]) -> list[dict[str, Any]]:
    """Divergences of several action dimensions add up; a mean over them is a known mistake."""
    if all(r.reference.discrete for r in records):
        return [choices]
    return [choices, {**choices, "action_dimensions": "mean"}]


def scale_variants(choices: dict[str, Any]) -> list[dict[str, Any]]:
    """Episodes are normalised in two ways under one name: Σw = 1, and (1−γ)Σγᵗ."""
    if choices["sampled"] != "episodes":
        return [choices]
    return [choices, {**choices, "_variant": 1}]


def pick(numbers: tuple[float, ...], choices: dict[str, Any]) -> float:
    """The factor of this variant; where a name has one meaning only, that one."""
    return numbers[min(choices.get("_variant", 0), len(numbers) - 1)]


def with_lambda(choices: dict[str, Any], stage: str, estimate: float) -> list[dict[str, Any]]:
    """Returns the candidate undamped, and damped by the estimate.

    People write round numbers, and rounding in the answers blurs the estimate: the roundest
    number that explains the answers comes first, the estimate in full last.
    """
    if not np.isfinite(estimate) or estimate <= SMALLEST_LAMBDA:
        return [choices]
    return [choices, *({**choices, stage: number} for number in roundest(estimate))]


def held_damping(declared: dict[str, Any], stage: str, places: Sequence[str]) -> dict[str, float]:
    """λ of a matrix or a product, when it was declared in which ``places`` λ enters."""
    place = declared.get("damping_in")
    if place is None:
        return {}
    if place not in places:
        return {stage: 0.0}
    return {stage: float(declared["damping"])} if "damping" in declared else {}


def elementwise(value: Array, exact: Array, budget: float) -> Judged:
    """Compares entry by entry in the largest absolute error."""
    exact = np.asarray(exact, dtype=float)
    error = float(np.max(np.abs(value - exact), initial=0.0))
    if np.isnan(value).any():
        error = float("inf")
    return Judged(error, budget, float(np.max(np.abs(exact), initial=0.0)), exact)


class NothingToEstimate:
    """An explainer whose candidates carry no number: none to estimate, none to pin."""

    def estimate(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        """The candidate as it stands."""
        return [choices]

    def fallback(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        """No costlier variant."""
        return []

    def pinned(self, declared: dict[str, Any]) -> dict[str, Any]:
        """No number that a declaration could fix."""
        return {}
