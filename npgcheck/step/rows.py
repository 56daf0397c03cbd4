"""The batch as its own measure: exact sums over its rows, in output space.

With J v from `differences`, for any directions v and w and row weights ω (summing to 1):

    vᵀg  = Σ_i ω_i A_i ∇_z log π(a_i)ᵀ (J v)_i
    wᵀFv = Σ_i ω_i (J w)_iᵀ W_i (J v)_i

so nothing of size D × D, or N × D, is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from npgcheck.distributions import ActionDistribution
from npgcheck.step.differences import Differences, Directional

Array = np.ndarray
#: (z, u) ↦ W u, and (N, K) bounds on the diagonal of W: one way of making a Fisher matrix.
Curvature = tuple[Callable[[Array], Array], Array]

#: How many standard deviations of independent rounding errors are allowed for.
SPREAD = 5.0


@dataclass(frozen=True)
class Sum:
    """One exact sum over the rows.

    Attributes:
        value: the sum.
        size: Σ |terms|: what a right implementation's rounding is relative to.
        error: how far the reference itself may be off, from the derivatives.
    """

    value: float
    size: float
    error: float


@dataclass(eq=False)
class Rows:
    """The rows of one batch under one policy.

    Attributes:
        law: the distribution over actions.
        z: (N, K), the outputs at θ.
        actions: as the law reads them.
        advantages: (N,).
        weights: (N,), summing to 1.
        differences: of the outputs at θ.
        outputs: θ' ↦ z(θ') (N, K).
        masked: (N, K), logits that stand for −inf, or None.
    """

    law: ActionDistribution
    z: Array
    actions: Array
    advantages: Array
    weights: Array
    differences: Differences
    outputs: Callable[[Array], Array]
    masked: Array | None = None

    def __post_init__(self) -> None:
        seen = self.z
        if self.masked is not None and self.masked.any():
            # what stands for −inf is no number of the user's, and rounds nothing
            seen = np.where(
                self.masked,
                self.z.max(axis=1, keepdims=True, where=~self.masked, initial=-np.inf),
                self.z,
            )
        self.lift = self.law.lift(seen)
        self.score = self.law.score(self.z, self.actions)
        self.score_size = self.law.score_size(self.z, self.actions)
        self._at: dict[bytes, Array] = {}

    def along(self, vector: Array) -> Directional:
        """J v."""
        return self.differences.along(vector)

    def slope(self, cotangent: Array, size: Array, vector: Array) -> Sum:
        """Σ_i c_i · (J v)_i for row cotangents c (N, K), already weighted.

        Args:
            cotangent: (N, K).
            size: (N, K), what the cotangent rounds relative to.
            vector: (D,), v.
        """
        jv = self.along(vector)
        terms = np.abs(jv.value)
        return Sum(
            float(np.sum(cotangent * jv.value)),
            float(np.sum(size * terms)),
            float(np.sum(np.abs(cotangent) * jv.bias))
            + SPREAD * float(np.sqrt(np.sum((cotangent * jv.noise) ** 2))),
        )

    def form(self, curvature: Curvature, left: Array, right: Array, weights: Array) -> Sum:
        """Σ_i ω_i (J w)_iᵀ W_i (J v)_i.

        Args:
            curvature: u ↦ W u, and a bound (N, K) on the diagonal of W.
            left: (D,), w.
            right: (D,), v.
            weights: (N,), ω.
        """
        apply, bound = curvature
        a, b = self.along(left), self.along(right)
        column = weights[:, None]
        applied = apply(b.value)
        root = np.sqrt(bound)
        # |wᵀ W v| ≤ ‖W^½ w‖ ‖W^½ v‖ row by row, where the bound takes the place of W
        size_a = np.sqrt(np.sum((root * a.value) ** 2, axis=1))
        size_b = np.sqrt(np.sum((root * b.value) ** 2, axis=1))
        whole = np.sqrt(np.sum(bound, axis=1))
        # J v rounds at the size of its intermediate terms: what a random direction as long moves
        typical = whole * self.differences.typical[:, 0] / self.differences.size
        size_a = size_a + typical * float(np.linalg.norm(left))
        size_b = size_b + typical * float(np.linalg.norm(right))
        bias = size_a * b.bias[:, 0] + size_b * a.bias[:, 0]
        noise = np.hypot(size_a * b.noise[:, 0], size_b * a.noise[:, 0])
        return Sum(
            float(np.sum(column * a.value * applied)),
            float(weights @ (size_a * size_b)),
            float(weights @ (whole * bias))
            + SPREAD * float(np.linalg.norm(weights * whole * noise)),
        )

    def outputs_at(self, theta: Array) -> Array:
        """z(θ'), evaluated once per θ'."""
        key = theta.tobytes()
        if key not in self._at:
            self._at[key] = self.outputs(theta)
        return self._at[key]

    def kl(self, theta: Array) -> float:
        """Σ ω_i KL(π_θ ‖ π_θ'), in nats."""
        return float(self.weights @ self.law.kl(self.z, self.outputs_at(theta)))

    def gain(self, theta: Array) -> float:
        """L(θ') − L(θ) = Σ ω_i A_i (π_θ'(a_i)/π_θ(a_i) − 1): the surrogate's improvement."""
        new = self.law.log_prob(self.outputs_at(theta), self.actions)
        with np.errstate(over="ignore"):
            return float(
                self.weights
                @ (self.advantages * np.expm1(new - self.law.log_prob(self.z, self.actions)))
            )
