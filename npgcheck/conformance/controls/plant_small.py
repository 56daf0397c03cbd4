"""Mistakes that leave most digits right: sums that end late, a small ε inside a logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._quadrature import GaussQuadrature
from .registry import wrong

STYLE = "few digits wrong"
APPROXIMATE: Any = {"kind": "approximation", "outcome": "deviates", "style": STYLE}


class _Walk(ExactSoftmax):
    """d by following the chain for so many steps."""

    steps = 150

    def state_distribution(self, problem: Any) -> Array:
        chain, m = self.chain(problem), problem.mdp
        now, total = np.array(m.initial_distribution), np.zeros(problem.num_states)
        for t in range(self.steps):
            total += m.discount**t * now
            now = now @ chain
        return (1 - m.discount) * total


@wrong("walk-of-150-steps", tells="horizon-cut-off", stage="state weighting",
       refutes="state_distribution", **APPROXIMATE)  # fmt: skip
class WalkOf150Steps(_Walk):
    """The visits of 150 steps."""


@wrong("walk-of-120-steps-in-products", tells="horizon-cut-off", stage="state weighting",
       refutes="fisher_vector_product", **APPROXIMATE)  # fmt: skip
class WalkOf120StepsInProducts(_Walk):
    """The visits of 120 steps, normalised."""

    steps = 120

    def state_distribution(self, problem: Any) -> Array:
        visits = super().state_distribution(problem)
        return visits / sum(visits)


@wrong("sweeps-that-end-early", tells="value-sweeps-cut-off", also="limited-accuracy",
       stage="return and advantage", refutes="policy_gradient", **APPROXIMATE)  # fmt: skip
class SweepsThatEndEarly(ExactSoftmax):
    """Eighteen sweeps of V, seen through the gradient alone."""

    def value(self, problem: Any) -> Array:
        chain, rewards, v = self.chain(problem), self.mean_reward(problem), 0.0
        for _ in range(18):
            v = rewards + problem.mdp.discount * (chain @ v if np.ndim(v) else 0.0)
        return np.asarray(v)


@wrong("kl-with-a-floor-below", tells="epsilon-inside-kl", stage="KL", refutes="kl",
       **APPROXIMATE)  # fmt: skip
class KlWithAFloorBelow(ExactSoftmax):
    """π log π/(π′ + 1e-7)."""

    def kl(self, problem: Any, theta: Array) -> float:
        p, q = self.pi(problem), self.pi(problem, theta)
        return float(self.kl_weights(problem) @ (p * np.log(p / (q + 1e-7))).sum(axis=1))


@wrong("kl-beside-the-ratio", tells="epsilon-inside-kl", stage="KL", refutes="kl",
       **APPROXIMATE)  # fmt: skip
class KlBesideTheRatio(ExactSoftmax):
    """π log(π/π′ + 3e-6)."""

    def kl(self, problem: Any, theta: Array) -> float:
        p, q = self.pi(problem), self.pi(problem, theta)
        return float(self.kl_weights(problem) @ (p * np.log(p / q + 3e-6)).sum(axis=1))


@wrong("kl-of-safe-probabilities", tells="epsilon-inside-kl", stage="KL", refutes="kl",
       **APPROXIMATE)  # fmt: skip
class KlOfSafeProbabilities(ExactSoftmax):
    """1e-8 is added to both policies, whose sums are then no more one."""

    def kl(self, problem: Any, theta: Array) -> float:
        p, q = (self.pi(problem, t) + 1e-8 for t in (problem.theta, theta))
        return float(self.kl_weights(problem) @ (p * np.log(p / q)).sum(axis=1))


@wrong("gaussian-cross-entropy", tells="cross-entropy-for-kl", stage="KL", refutes="kl",
       style="quadrature")  # fmt: skip
class GaussianCrossEntropy(GaussQuadrature):
    """−E log π′, in place of E log π/π′."""

    def kl(self, problem: Any, theta: Array) -> float:
        total = 0.0
        for s, share in enumerate(self.states(problem)):
            for weight, action in self.nodes(problem, s):
                total -= share * weight * self.density(problem, theta, s, action)
        return float(total)
