"""Mistakes that show little: sums that end late, a small ε, half of a matrix, a clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._quadrature import GaussQuadrature
from .plant_episodes import StepByStep
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
       stage="return and advantage", refutes="policy_gradient",
       **(APPROXIMATE | {"outcome": "either"}))  # fmt: skip
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


@wrong("lower-half-of-F", tells="upper-triangle-only", stage="Fisher definition",
       refutes="natural_gradient", style=STYLE)  # fmt: skip
class LowerHalfOfF(ExactSoftmax):
    """The solver gets a matrix of which only the lower half was filled; F itself is not shown."""

    def solve(self, F: Array, g: Array) -> Array:
        half = [[F[i, j] if j <= i else 0.0 for j in range(len(g))] for i in range(len(g))]
        return np.linalg.lstsq(np.array(half), g, rcond=1e-10)[0]


@wrong("clock-of-the-whole-recording", tells="gamma-t-not-reset", also="reward-to-go",
       stage="state weighting", refutes="policy_gradient", style=STYLE)  # fmt: skip
class ClockOfTheWholeRecording(StepByStep):
    """γᵗ counts the steps of all trajectories, and returns multiply the scores."""

    def gains(self, episode: Any) -> Array:
        follows = float(episode.next_values[-1]) if episode.truncated[-1] else 0.0
        found: list[float] = []
        for reward in reversed(episode.rewards):
            follows = float(reward) + episode.discount * follows
            found.insert(0, follows)
        return np.array(found)

    def policy_gradient(self, problem: Any) -> Array:
        self.clock = 0
        return super().policy_gradient(problem)

    def weight(self, episode: Any, t: int) -> float:
        self.clock += 1
        return float(episode.discount ** (self.clock - 1))

    def finish(self, total: Array, mass: float, episodes: int) -> Array:
        return np.asarray(total / episodes)
