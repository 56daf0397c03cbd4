"""Log-probabilities in forms of their own: shifted logits, counted actions, bounds of an action."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._loops import Loops
from ._quadrature import GaussQuadrature
from .registry import wrong
from .right_gaussian import GaussianBatch

SCORE = "score and objective"


@wrong(
    "loop-logits-below-their-maximum",
    tells="logit-for-log-prob",
    stage=SCORE,
    refutes="log_prob",
    spares="policy_gradient fisher",
    style="loops",
)
class BelowTheMaximum(Loops):
    """The guard against overflow is taken for the normalisation."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        z = [float(each) for each in self.preferences(problem, problem.theta, state)]
        return z[int(action)] - max(z)


@wrong(
    "loop-actions-from-one-to-the-last",
    tells="action-index-off-by-one",
    stage=SCORE,
    refutes="log_prob score",
    spares="policy_gradient fisher",
    style="loops",
)
class FromOne(Loops):
    """The environment counts from one, and an index beyond the last is pulled back."""

    def _moved(self, problem: Any, action: int) -> int:
        return min(int(action) + 1, problem.num_actions - 1)

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return super().log_prob(problem, state, self._moved(problem, action))

    def score(self, problem: Any, state: int, action: int) -> Array:
        return super().score(problem, state, self._moved(problem, action))


@wrong(
    "quadrature-one-constant-for-all-dimensions",
    tells="density-constant-missing",
    stage=SCORE,
    refutes="log_prob",
    spares="score policy_gradient",
    style="quadrature",
)
class OneConstant(GaussQuadrature):
    """½ log 2π is subtracted from the sum, not from every term."""

    def density(self, problem: Any, theta: Array, s: int, action: Array) -> float:
        mean, std = self.moments(problem, theta, s)
        total = sum(
            -0.5 * ((a - m) / t) ** 2 - np.log(t) for a, m, t in zip(action, mean, std, strict=True)
        )
        return float(total) - 0.5 * float(np.log(2 * np.pi))


@wrong(
    "gaussian-rows-actions-in-the-unit-interval",
    tells="clipped-action-in-logprob",
    stage=SCORE,
    refutes="policy_gradient",
    spares="fisher_vector_product kl",
    style="gaussian batch",
)
class InTheUnitInterval(GaussianBatch):
    """Throttle and brake lie in [0, 1]; the buffer keeps what the environment saw."""

    def _z(self, problem: Any) -> tuple[Array, Array, Array]:
        X, z, sigma = super()._z(problem)
        mean = problem.batch.actions - z * sigma
        seen = np.minimum(np.maximum(problem.batch.actions, 0.0), 1.0)
        return X, (seen - mean) / sigma, sigma
