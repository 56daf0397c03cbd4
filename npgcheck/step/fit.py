"""Fitting one factor and one shift to many exact sums, within the error budget of each.

Answers are compared through linear functionals: y_j = vⱼᵀ(answer) against c·b_j + s·d_j, where b
is the exact value, d what a shift adds (vⱼᵀv for a damped product), c and s unknown. Each
comparison has a budget of its own; a fit holds when every one is within it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Fitted:
    """The outcome of one fit.

    Attributes:
        factor: c.
        shift: s.
        ratio: the largest error over budget.
        worst: the index of that comparison.
        digits: −log₁₀ of the largest error, relative to the largest exact value.
    """

    factor: float
    shift: float
    ratio: float
    worst: int
    digits: float

    @property
    def holds(self) -> bool:
        """Whether every comparison is within its budget."""
        return self.ratio <= 1.0


def compare(y: Array, exact: Array, budgets: Array, factor: float = 1.0, shift: float = 0.0,
            shifted: Array | None = None) -> Fitted:  # fmt: skip
    """Scores y against factor · exact + shift · shifted.

    Args:
        y: (J,) functionals of the answer.
        exact: (J,) the same functionals of the exact value.
        budgets: (J,) what each may be off.
        factor, shift: the two numbers.
        shifted: (J,) what a unit of shift adds; zeros if None.
    """
    added = np.zeros_like(exact) if shifted is None else shifted
    predicted = factor * exact + shift * added
    error = np.abs(y - predicted)
    # what is c times as large rounds at c times the size
    budgets = budgets * max(1.0, abs(factor))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(error == 0.0, 0.0, error / budgets)
    ratios = np.where(np.isnan(ratios), np.inf, ratios)
    worst = int(np.argmax(ratios))
    size = float(max(np.max(np.abs(predicted), initial=0.0), np.max(np.abs(y), initial=0.0)))
    largest = float(np.max(error))
    relative = largest / size if size else (0.0 if largest == 0 else 1.0)
    digits = 17.0 if relative == 0 else min(17.0, max(0.0, -math.log10(relative)))
    return Fitted(factor, shift, float(ratios[worst]), worst, digits)


def estimate(
    y: Array, exact: Array, budgets: Array, shifted: Array | None, free_factor: bool
) -> tuple[float, float]:
    """Least squares for c and s, each comparison weighed by its budget; c = 1 if it is not free."""
    floor = np.finfo(float).eps * float(np.max(np.abs(y), initial=0.0)) + 1e-150
    w = 1.0 / np.maximum(budgets, floor)
    columns = [] if shifted is None else [shifted]
    target = y
    if free_factor:
        columns.insert(0, exact)
    else:
        target = y - exact
    if not columns:
        return 1.0, 0.0
    matrix = np.stack(columns, axis=1) * w[:, None]
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0.0] = 1.0
    solution = np.linalg.lstsq(matrix / scale, target * w, rcond=None)[0] / scale
    factor = float(solution[0]) if free_factor else 1.0
    shift = float(solution[-1]) if shifted is not None else 0.0
    return factor, shift


def floor(budgets: Array, shifted: Array) -> float:
    """The smallest shift that would have shown."""
    with np.errstate(divide="ignore"):
        return float(np.min(budgets / np.abs(shifted)))


def is_round(number: float) -> bool:
    """Whether the number has at most three digits, as numbers that people write do."""
    return number == float(f"{number:.3g}")


def in_words(factor: float, rows: int, accuracy: float = 1e-6) -> str:
    """A factor that has a meaning of its own on this many rows, else as people write it."""
    known = {1.0 / math.log(2.0): "1/ln 2: bits, not nats", 1.0 / math.log(10.0): "1/ln 10: log₁₀"}
    if rows > 1:
        # told from one, and from each other, by a fraction of 1/N
        known |= {rows / (rows - 1.0): "N/(N − 1)", 1.0 - 1.0 / rows: "(N − 1)/N"}
        known |= {1.0 / (rows - 1.0): "1/(N − 1)", rows - 1.0: "N − 1"}
    for number, text in known.items():
        if abs(factor - number) <= min(accuracy, 0.01 / rows) * abs(number):
            return text
    return as_people_write(factor, accuracy)


def as_people_write(factor: float, accuracy: float = 1e-6) -> str:
    """2, 1/2, −3/4 or √2 where the factor is that within `accuracy`; else six digits."""
    sign, size = ("−" if factor < 0 else ""), abs(factor)
    simple = Fraction(size).limit_denominator(12)
    if simple and abs(size - float(simple)) <= accuracy * size:
        return f"{sign}{simple}"
    square = Fraction(size * size).limit_denominator(12)
    if square and abs(size * size - float(square)) <= accuracy * size * size:
        text = f"√{square}" if square.denominator == 1 else f"√({square})"
        return f"{sign}{text}"
    return f"{factor:.6g}"
