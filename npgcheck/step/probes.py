"""Directions along which a step is looked at, and the sums over the rows that they give.

An answer of D numbers is compared through its products with a few directions: two random ones,
which see every coordinate, and the answers themselves (g, x, Δ, F v), which is where a mistake is
largest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npgcheck.step.rows import Curvature, Rows, Sum
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: Random directions; two would do for finding a mistake, four determine a factor and a shift with
#: something left over that can refute them.
RANDOM = 4
#: What the derivatives' measured error counts for: it is an estimate, not a bound.
TRUST = 4.0


@dataclass(eq=False)
class Probes:
    """The directions in use, and what is known along them.

    Attributes:
        rows: the batch.
        directions: name → (D,).
        unit: round-off of what the subject computes in.
        made: what was computed of the whole batch, by name.
    """

    rows: Rows
    unit: float
    directions: dict[str, Array] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict, repr=False)

    def add(self, name: str, direction: Array) -> None:
        """Adds a direction, unless it is zero or not finite."""
        if np.isfinite(direction).all() and np.any(direction):
            self.directions[name] = direction

    @property
    def vectors(self) -> list[Array]:
        """All directions."""
        return list(self.directions.values())

    @property
    def growth(self) -> float:
        """C lift + √N: rounding of a sum over the rows, in units of u Σ|terms|."""
        return CONSTANT * self.rows.lift + float(np.sqrt(len(self.rows.weights)))

    def norms(self) -> Array:
        """(P,): their lengths."""
        return np.array([float(np.linalg.norm(v)) for v in self.vectors])

    def products(self, answer: Array) -> Array:
        """(P,): vⱼᵀ(answer)."""
        return np.array([float(v @ answer) for v in self.vectors])

    def slopes(self, cotangent: Array, size: Array) -> list[Sum]:
        """vⱼᵀg for the gradient of these cotangents."""
        return [self.rows.slope(cotangent, size, v) for v in self.vectors]

    def forms(self, curvature: Curvature, weights: Array, right: Array) -> list[Sum]:
        """vⱼᵀF·right."""
        return [self.rows.form(curvature, v, right, weights) for v in self.vectors]

    def with_means(
        self, sums: list[Sum], means: tuple[tuple[float, Array], ...], right: Array
    ) -> list[Sum]:
        """The sums, with the terms ± (c · J vⱼ)(c · J right) of rank one added."""
        for factor, cotangent in means:
            size = np.abs(cotangent) * self.rows.lift
            b = self.rows.slope(cotangent, size, right)
            slopes = self.slopes(cotangent, size)
            sums = [
                Sum(
                    s.value + factor * a.value * b.value,
                    s.size + abs(factor) * a.size * b.size,
                    s.error
                    + abs(factor) * (abs(a.value) * b.error + (abs(b.value) + b.error) * a.error),
                )
                for s, a in zip(sums, slopes, strict=True)
            ]
        return sums

    def curvature(self, curvature: Curvature, weights: Array) -> float:
        """‖F‖ as far as the directions show it: the largest vᵀFv/vᵀv."""
        largest = 0.0
        for v in self.vectors:
            found = self.rows.form(curvature, v, v, weights).value
            largest = max(largest, found / float(v @ v))
        return largest

    def budgets(self, sums: list[Sum], answer_norm: float, dtype: str = "float64") -> Array:
        """(P,): u [(C lift + √N) Σ|terms| + C ‖v‖ ‖answer‖], and the error of the reference.

        The first term is the rounding of the terms and of their sum over N rows, in whatever order
        (√N u: Higham & Mary 2019, A new approach to probabilistic rounding error analysis); the
        second that of the entries of the answer; each in the dtype that the subject computes in.
        """
        u = max(self.unit, unit_roundoff(dtype))
        size = np.array([s.size for s in sums])
        error = np.array([s.error for s in sums])
        rounding = self.growth * size + CONSTANT * self.norms() * answer_norm
        return u * rounding + TRUST * error


def values(sums: list[Sum]) -> Array:
    """The values alone."""
    return np.array([s.value for s in sums])


def random_directions(size: int, norm: float, seed: int) -> list[Array]:
    """Directions that see every coordinate, of the given length."""
    rng = np.random.default_rng(seed)
    made = [rng.standard_normal(size) for _ in range(RANDOM)]
    return [v * (norm / np.linalg.norm(v)) for v in made]
