"""Numbers for certified answers: exact rationals and Arb balls behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from npgcheck.errors import NpgcheckError

Array = np.ndarray
Number = Any  # an fmpq or an arb
Vector = list[Number]
Table = list[list[Number]]


def floats(numbers: Any, bits: int = 60) -> Any:
    """The nearest float64 of certified numbers (nested lists too).

    Raises:
        NpgcheckError: a ball is wider than 2^−bits of its centre, and not zero to 2^−200.
    """
    if isinstance(numbers, list | tuple):
        return np.array([floats(number, bits) for number in numbers])
    if hasattr(numbers, "mid"):
        wide = numbers.rel_accuracy_bits() < bits and float(numbers.abs_upper()) > 2.0**-200
        if wide or not numbers.is_finite():
            raise NpgcheckError(f"{numbers} holds fewer than {bits} bits: raise the precision.")
        return np.float64(float(numbers.mid()))
    return np.float64(int(numbers.p) / int(numbers.q))


class Rationals:
    """Exact fractions (FLINT fmpq)."""

    def __init__(self, intended: bool) -> None:
        self.intended = intended

    def number(self, x: Any) -> Number:
        from flint import fmpq

        if isinstance(x, fmpq):
            return x
        if isinstance(x, int | np.integer):
            return fmpq(int(x))
        if isinstance(x, Fraction):
            return fmpq(x.numerator, x.denominator)
        exact = Fraction(float(x))
        if self.intended:
            exact = simplest_fraction(float(x))
        return fmpq(exact.numerator, exact.denominator)

    def solve(self, matrix: Table, right: Vector) -> Vector:
        from flint import fmpq_mat

        return _column(fmpq_mat(matrix).solve(fmpq_mat([[x] for x in right])))


class Balls(Rationals):
    """Real balls that contain the truth (Arb), at the precision of the FLINT context."""

    def number(self, x: Any) -> Number:
        from flint import arb

        return x if isinstance(x, arb) else arb(super().number(x))

    def solve(self, matrix: Table, right: Vector) -> Vector:
        from flint import arb_mat

        return _column(arb_mat(matrix).solve(arb_mat([[x] for x in right])))


def _column(matrix: Any) -> Vector:
    return [matrix[i, 0] for i in range(matrix.nrows())]


def simplest_fraction(x: float) -> Fraction:
    """The fraction of smallest denominator that rounds to the float64 x."""
    limit = 1
    while limit < 2**54:
        candidate = Fraction(x).limit_denominator(limit)
        if candidate.numerator / candidate.denominator == x:
            # a denominator in (limit/2, limit] was needed: look for the least one
            low, high = limit // 2, candidate.denominator
            while high - low > 1:
                middle = (low + high) // 2
                guess = Fraction(x).limit_denominator(middle)
                if guess.numerator / guess.denominator == x:
                    high, candidate = guess.denominator, guess
                else:
                    low = middle
            return candidate
        limit *= 2
    return Fraction(x)


def dot(x: Sequence[Number], y: Sequence[Number]) -> Number:
    """Σ x_i y_i of two sequences of numbers."""
    total = x[0] * y[0]
    for a, b in zip(x[1:], y[1:], strict=True):
        total = total + a * b
    return total
