"""Planted mistakes of the KL divergence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._rows import BatchSoftmax, row_log_pi
from .registry import wrong

STAGE = "KL"


class _PerState:
    """KL per state in one hand, left to a subclass to combine."""

    families = frozenset({"tabular", "softmax"})

    def _log_pi(self, problem: Any, theta: Array) -> Array:
        z = problem.observations @ theta.reshape(problem.observation_size, -1)
        return np.asarray(z - np.logaddexp.reduce(z, axis=1)[:, np.newaxis])

    def _occupancy(self, problem: Any, log_pi: Array) -> Array:
        m = problem.mdp
        P = np.einsum("sa,sat->st", np.exp(log_pi), m.transitions)
        d = np.linalg.solve(np.eye(len(P)) - m.discount * P.T, m.initial_distribution)
        return np.asarray(d / d.sum())

    def _inner(self, old: Array, new: Array) -> Array:
        return np.asarray((np.exp(old) * (old - new)).sum(axis=1))


@wrong("kl-halved", tells="kl-factor-two", stage=STAGE, refutes="kl", spares="fisher")
class HalvedKL(ExactSoftmax):
    """½ KL, as if the ½ of the quadratic model were part of it."""

    def kl(self, problem: Any, theta: Array) -> float:
        return 0.5 * super().kl(problem, theta)


@wrong("kl-mean-over-states", tells="uniform-state-weights", stage=STAGE, refutes="kl", whole=True)
class MeanOverStates(_PerState):
    """The plain mean over states, not the occupancy's."""

    def kl(self, problem: Any, theta: Array) -> float:
        inner = self._inner(self._log_pi(problem, problem.theta), self._log_pi(problem, theta))
        return float(inner.mean())


@wrong(
    "kl-max-over-states",
    tells="kl-max-over-states",
    stage=STAGE,
    refutes="kl",
    outcome="either",
    whole=True,
)
class MaxOverStates(_PerState):
    """The largest KL over states: the bound of the theory, not the constraint of the practice."""

    def kl(self, problem: Any, theta: Array) -> float:
        inner = self._inner(self._log_pi(problem, problem.theta), self._log_pi(problem, theta))
        return float(inner.max())


@wrong(
    "kl-under-the-new-occupancy",
    tells="kl-under-the-new-occupancy",
    stage=STAGE,
    refutes="kl",
    whole=True,
)
class NewOccupancy(_PerState):
    """States weighed by the new policy's occupancy."""

    def kl(self, problem: Any, theta: Array) -> float:
        new = self._log_pi(problem, theta)
        inner = self._inner(self._log_pi(problem, problem.theta), new)
        return float(self._occupancy(problem, new) @ inner)


@wrong("jeffreys-for-kl", tells="jeffreys-kl", stage=STAGE, refutes="kl", whole=True)
class Jeffreys(_PerState):
    """The mean of both directions."""

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self._log_pi(problem, problem.theta), self._log_pi(problem, theta)
        both = 0.5 * (self._inner(old, new) + self._inner(new, old))
        return float(self._occupancy(problem, old) @ both)


@wrong(
    "total-variation-for-kl", tells="total-variation-for-kl", stage=STAGE, refutes="kl", whole=True
)
class TotalVariation(_PerState):
    """Twice the squared total variation, which Pinsker puts below the KL."""

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self._log_pi(problem, problem.theta), self._log_pi(problem, theta)
        tv = 0.5 * np.abs(np.exp(old) - np.exp(new)).sum(axis=1)
        return float(self._occupancy(problem, old) @ (2 * tv**2))


@wrong("cross-entropy-for-kl", tells="cross-entropy-for-kl", stage=STAGE, refutes="kl", whole=True)
class CrossEntropy(_PerState):
    """−Σ π_old log π_new: the entropy is missing, so KL(θ, θ) ≠ 0; its gradient is right."""

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self._log_pi(problem, problem.theta), self._log_pi(problem, theta)
        return float(-self._occupancy(problem, old) @ (np.exp(old) * new).sum(axis=1))


@wrong("kl-identically-zero", tells="both-sides-live", stage=STAGE, refutes="kl", whole=True)
class IdenticallyZero(_PerState):
    """Both log-probabilities come from the new parameters."""

    def kl(self, problem: Any, theta: Array) -> float:
        new = self._log_pi(problem, theta)
        return float(self._occupancy(problem, new) @ self._inner(new, new))


@wrong(
    "quadratic-model-for-kl",
    tells="quadratic-kl",
    stage=STAGE,
    kind="approximation",
    refutes="kl",
    spares="fisher fisher_vector_product",
)
class QuadraticModel(ExactSoftmax):
    """½ΔᵀFΔ in place of the divergence."""

    def kl(self, problem: Any, theta: Array) -> float:
        step = theta - problem.theta
        return float(0.5 * step @ self.fisher_vector_product(problem, step))


@wrong(
    "epsilon-inside-kl",
    tells="epsilon-inside-kl",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes="kl",
    spares="fisher",
)
class EpsilonInsideKL(ExactSoftmax):
    """log((π + 1e-3)/(π′ + 1e-3)) under the sum."""

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self.pi(problem), self.pi(problem, theta)
        inner = (old * np.log((old + 1e-3) / (new + 1e-3))).sum(axis=1)
        return float(self.kl_weights(problem) @ inner)


@wrong(
    "kl-from-sampled-log-ratios",
    tells="kl-from-sampled-log-ratios",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes="kl",
    spares="policy_gradient fisher",
)
class SampledLogRatio(BatchSoftmax):
    """mean(log π_old − log π_new) over the batch's own actions: may even be negative."""

    def kl(self, problem: Any, theta: Array) -> float:
        b = problem.batch
        new = row_log_pi(problem, b.observations, theta)[np.arange(len(b.actions)), b.actions]
        return float((b.log_probs - new).mean())


@wrong(
    "kl-from-squared-log-ratios",
    tells="kl-from-squared-log-ratios",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes="kl",
)
class SquaredLogRatio(BatchSoftmax):
    """½ mean (log π_old − log π_new)² over the batch: right to second order in expectation."""

    def kl(self, problem: Any, theta: Array) -> float:
        b = problem.batch
        new = row_log_pi(problem, b.observations, theta)[np.arange(len(b.actions)), b.actions]
        return float(0.5 * ((b.log_probs - new) ** 2).mean())


@wrong(
    "kl-mean-over-actions",
    tells="kl-mean-over-actions",
    stage=STAGE,
    refutes="kl",
    whole=True,
    needs="torch",
    source="torch.nn.functional.kl_div, reduction='mean'; pytorch#57459",
)
class MeanOverActions:
    """torch's kl_div with its default reduction, which divides by the number of actions too."""

    def kl(self, problem: Any, theta: Array) -> Any:
        import torch

        X = torch.as_tensor(np.array(problem.batch.observations))

        def log_pi(t: Array) -> Any:
            return torch.log_softmax(X @ torch.as_tensor(np.array(t)).view(X.shape[1], -1), dim=-1)

        old, new = log_pi(problem.theta), log_pi(theta)
        return (old.exp() * (old - new)).mean()


@wrong(
    "kl-absolute-log-ratio", tells="kl-absolute-log-ratio", stage=STAGE, refutes="kl", whole=True
)
class AbsoluteLogRatio(_PerState):
    """Σ π |log π/π′|: an absolute value too many, made to keep the estimate positive."""

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self._log_pi(problem, problem.theta), self._log_pi(problem, theta)
        inner = (np.exp(old) * np.abs(old - new)).sum(axis=1)
        return float(self._occupancy(problem, old) @ inner)


@wrong("kl-against-the-first-policy", stage="glue", refutes="kl", whole=True)
class FirstPolicy(_PerState):
    """log π_old is kept from the first call of its shape and never refreshed."""

    def __init__(self) -> None:
        self.old: dict[tuple[int, ...], Array] = {}

    def kl(self, problem: Any, theta: Array) -> float:
        now = self._log_pi(problem, problem.theta)
        old = self.old.setdefault(now.shape, now)
        return float(self._occupancy(problem, now) @ self._inner(old, self._log_pi(problem, theta)))
