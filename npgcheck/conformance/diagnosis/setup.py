"""The conventions that a prediction takes as given, and the distance of two answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from npgcheck.conformance.diagnosis.pipeline import Base, View

Array = np.ndarray

#: Absolute rounding of sums that cancel, such as KL at θ itself; all problems have scales near one.
FLOOR = 1e-13


#: Conjugate gradient that stops at a tolerance: after another number of iterations each time.
VARYING = -1


@dataclass(frozen=True)
class Setup:
    """The conventions that a prediction takes as given.

    Attributes:
        base: what is averaged over, and how.
        variant: names of the normalisations, such as ("normalised", "unnormalised").
        damping: λ in the subject's own normalisation.
        iterations: conjugate-gradient iterations, 0 for a converged solve, or :data:`VARYING`.
        length: undamped or damped.
    """

    base: Base = field(default_factory=Base)
    variant: tuple[str, ...] = ()
    damping: float = 0.0
    iterations: int = 0
    length: str = "undamped"


def relative(answer: Array, predicted: Array | float) -> float:
    """‖answer − predicted‖∞ over the larger of their norms."""
    answer = np.asarray(answer, dtype=float)
    predicted = np.asarray(predicted, dtype=float)
    if answer.shape != predicted.shape or not np.isfinite(predicted).all():
        return np.inf
    size = max(float(np.abs(predicted).max(initial=0.0)), float(np.abs(answer).max(initial=0.0)))
    gap = float(np.abs(answer - predicted).max(initial=0.0))
    return 0.0 if gap <= FLOOR else gap / size if size > 0 else np.inf


def factor(view: View, name: str, index: int = 0) -> float | None:
    """The number under the name of a normalisation, or None where it has no such number."""
    base = view.base
    measure = view.reference.measure(base.sampled, base.weighting)
    numbers = measure.scales[name] if measure is not None else ()
    return numbers[index] if index < len(numbers) else None


def named(variant: tuple[str, ...], position: int) -> tuple[str, int]:
    name, _, index = variant[position].partition("#")
    return name, int(index or 0)
