"""Estimates are read as people write numbers: the fewest digits that say the same."""

from __future__ import annotations

from collections.abc import Callable

#: Digits to which an estimate is rounded, the fewest first.
DIGITS = (1, 2, 3, 5)


def roundest(number: float) -> list[float]:
    """The number rounded to few digits, the fewest first, and in full."""
    rounded = [float(f"{number:.{digits}g}") for digits in DIGITS]
    return list(dict.fromkeys([*rounded, float(number)]))


def written(number: float, slack: float) -> float | None:
    """The number of three digits that it is within ``slack``, or None."""
    short = float(f"{number:.3g}")
    return short if abs(number - short) <= slack else None


def first_round(number: float, holds: Callable[[float], bool]) -> float | None:
    """The roundest of these numbers for which something holds; None where it holds for none."""
    return next((n for n in roundest(number) if holds(n)), None)
