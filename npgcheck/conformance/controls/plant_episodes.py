"""Mistakes planted in estimators over whole trajectories, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._gaussian import ExactGaussian
from ._rows import row_log_pi
from .registry import right, wrong

STYLE = "episodes"
WEIGHTS = "state weighting"
RETURNS = "return and advantage"
G, F = "policy_gradient", "fisher"


@right("episodes-step-by-step", style=STYLE, problems=36)
class StepByStep:
    """γᵗ on every step of every trajectory, exact advantages, F from the same weights."""

    families = frozenset({"tabular", "softmax"})

    def weight(self, episode: Any, t: int) -> float:
        return float(episode.discount**t)

    def fisher_weight(self, episode: Any, t: int) -> float:
        return self.weight(episode, t)

    def gains(self, episode: Any) -> Array:
        return np.asarray(episode.advantages)

    def direction(self, x: Array, p: Array, a: int) -> Array:
        push = -p
        push[a] += 1.0
        return np.kron(x, push)

    def policy_gradient(self, problem: Any) -> Array:
        g, mass = np.zeros(problem.theta.size), 0.0
        for episode in problem.episodes:
            p = np.exp(row_log_pi(problem, episode.observations, problem.theta))
            gains = self.gains(episode)
            for t in range(len(episode.rewards)):
                w = self.weight(episode, t)
                g += (
                    w * gains[t] * self.direction(episode.observations[t], p[t], episode.actions[t])
                )
                mass += w
        return self.finish(g, mass, len(problem.episodes))

    def finish(self, total: Array, mass: float, episodes: int) -> Array:
        return np.asarray(total / mass)

    def fisher(self, problem: Any) -> Array:
        out, mass = np.zeros((problem.theta.size,) * 2), 0.0
        for episode in problem.episodes:
            p = np.exp(row_log_pi(problem, episode.observations, problem.theta))
            for t in range(len(episode.rewards)):
                w = self.fisher_weight(episode, t)
                for a in range(p.shape[1]):
                    phi = self.direction(episode.observations[t], np.array(p[t]), a)
                    out += w * p[t, a] * np.outer(phi, phi)
                mass += w
        return self.finish_fisher(out, mass, len(problem.episodes))

    def finish_fisher(self, total: Array, mass: float, episodes: int) -> Array:
        return np.asarray(total / mass)


@wrong(
    "episodes-plain-mean",
    tells="missing-gamma-t",
    stage=WEIGHTS,
    kind="convention",
    refutes=f"{G} {F}",
    source="Spinning Up, baselines, sb3",
    style=STYLE,
)
class PlainMean(StepByStep):
    """Every step weighs the same."""

    def weight(self, episode: Any, t: int) -> float:
        return 1.0


@wrong(
    "episodes-mean-of-means",
    tells="per-trajectory-mean",
    stage=WEIGHTS,
    kind="convention",
    refutes=f"{G} {F}",
    style=STYLE,
)
class MeanOfMeans(StepByStep):
    """Each trajectory is averaged first, then the trajectories."""

    def weight(self, episode: Any, t: int) -> float:
        return 1.0 / len(episode.rewards)


@wrong(
    "episodes-gamma-in-g-only",
    tells="weights-differ-between-F-and-g|missing-gamma-t",
    stage=WEIGHTS,
    outcome="either",
    refutes=F,
    style=STYLE,
)
class GammaInGOnly(StepByStep):
    """γᵗ in g, a plain mean in F."""

    def fisher_weight(self, episode: Any, t: int) -> float:
        return 1.0


@wrong(
    "episodes-gamma-twice", tells="gamma-t-twice", stage=WEIGHTS, refutes=f"{G} {F}", style=STYLE
)
class GammaTwice(StepByStep):
    """γ²ᵗ."""

    def weight(self, episode: Any, t: int) -> float:
        return float(episode.discount ** (2 * t))


@wrong(
    "episodes-later-steps-only",
    tells="first-step-skipped|next-state-weights",
    stage=WEIGHTS,
    refutes=f"{G} {F}",
    style=STYLE,
)
class LaterStepsOnly(StepByStep):
    """The first row of each trajectory was dropped with the reset."""

    def weight(self, episode: Any, t: int) -> float:
        return float(episode.discount**t) if t else 0.0


class _Returns(StepByStep):
    """Sums of rewards in place of exact advantages."""

    def tail(self, episode: Any, t: int) -> float:
        """V(s_T) of a trajectory that a time limit cut."""
        return 0.0 if episode.terminated[-1] else float(episode.next_values[-1])

    def gains(self, episode: Any) -> Array:
        gamma, total, out = episode.discount, self.tail(episode, 0), []
        for r in episode.rewards[::-1]:
            total = r + gamma * total
            out.append(total)
        return np.array(out[::-1])


@wrong(
    "episodes-undiscounted-sums",
    tells="undiscounted-reward-to-go",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class UndiscountedSums(_Returns):
    """Rewards to go without γ."""

    def gains(self, episode: Any) -> Array:
        return np.cumsum(episode.rewards[::-1])[::-1] + self.tail(episode, 0)


@wrong(
    "episodes-discounted-from-zero",
    tells="discounted-from-the-start|whole-return|gamma-t-twice",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class DiscountedFromZero(_Returns):
    """Σ_{k≥t} γᵏ r_k, discounted from the start, and γᵗ on the score as well."""

    def gains(self, episode: Any) -> Array:
        gamma = episode.discount ** np.arange(len(episode.rewards))
        rest = episode.discount ** len(episode.rewards) * self.tail(episode, 0)
        return np.cumsum((gamma * episode.rewards)[::-1])[::-1] + rest


@wrong(
    "episodes-reward-after",
    tells="reward-of-the-next-step",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class RewardAfter(_Returns):
    """The return of step t begins with the reward of step t + 1."""

    def gains(self, episode: Any) -> Array:
        return np.append(super().gains(episode)[1:], self.tail(episode, 0))


@wrong(
    "episodes-trajectory-fisher",
    tells="trajectory-fisher|missing-gamma-t",
    stage="Fisher definition",
    kind="convention",
    outcome="either",
    refutes=F,
    spares=G,
    style=STYLE,
)
class TrajectoryFisher(StepByStep):
    """The Fisher matrix of whole trajectories: summed over steps, averaged over trajectories."""

    def weight(self, episode: Any, t: int) -> float:
        return 1.0

    def finish_fisher(self, total: Array, mass: float, episodes: int) -> Array:
        return total / episodes


@wrong(
    "metric-of-quantum-physics",
    tells="metric-constant",
    stage="Fisher definition",
    kind="convention",
    outcome="either",
    refutes="fisher fisher_vector_product",
    spares=G,
    style="constants",
)
class QuantumMetric(ExactSoftmax):
    """¼F, the Fubini–Study metric, where F is asked."""

    def fisher(self, problem: Any) -> Array:
        return 0.25 * super().fisher(problem)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return 0.25 * super().fisher_vector_product(problem, vector)


@wrong(
    "objective-under-the-occupancy",
    tells="objective-over-the-occupancy",
    stage="score and objective",
    refutes="objective",
    spares="value",
    style="constants",
)
class ObjectiveUnderOccupancy(ExactSoftmax):
    """Σ d(s) V(s)."""

    def objective(self, problem: Any) -> float:
        return float(self.state_distribution(problem) @ self.value(problem))


@wrong(
    "hessian-of-kl-away-from-theta",
    tells="kl-not-at-coincidence",
    stage="KL",
    refutes="fisher_vector_product",
    spares=G,
    style="constants",
)
class AwayFromTheta(ExactSoftmax):
    """The Hessian of the KL between the last policy and the next, taken at the next."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        d, X = self.kl_weights(problem), problem.observations
        moved = problem.theta + 0.1 * np.ones_like(problem.theta)
        moved = moved + 0.1 * np.arange(problem.theta.size)
        pi = self.pi(problem, moved)
        u = X @ vector.reshape(X.shape[1], -1)
        u = d[:, None] * pi * (u - (pi * u).sum(axis=1, keepdims=True))
        return np.asarray((X.T @ u).ravel())


@wrong(
    "hessian-of-kl-after-the-step",
    tells="kl-not-at-coincidence",
    stage="KL",
    refutes="fisher fisher_vector_product",
    spares=G,
    style="constants",
)
class AfterTheStep(ExactSoftmax):
    """The parameters have moved along g before KL is differentiated twice."""

    def fisher(self, problem: Any) -> Array:
        ahead = problem.theta + 0.1 * self.policy_gradient(problem)
        d, X, pi = self.kl_weights(problem), problem.observations, self.pi(problem, ahead)
        blocks = [
            np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p)) for x, p in zip(X, pi, strict=True)
        ]
        return np.asarray(np.tensordot(d, blocks, axes=1))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.fisher(problem) @ vector


@wrong(
    "gaussian-hessian-of-kl-at-a-perturbation",
    tells="kl-not-at-coincidence",
    stage="KL",
    refutes="fisher",
    spares=G,
    style="constants",
)
class PerturbedGaussian(ExactGaussian):
    """KL is differentiated at θ plus a small noise of a fixed seed, by differences of its slope."""

    def slope(self, problem: Any, theta: Array) -> Array:
        (W, old), (V, new) = (self.unpack(problem, t) for t in (problem.theta, theta))
        X, d = problem.observations, self.state_distribution(problem)
        gap, widths = X @ (V - W), np.exp(-2 * new)
        of_mean = X.T @ (d[:, None] * gap * widths)
        of_std = d @ (1.0 - (np.exp(2 * old) + gap**2) * widths)
        return np.concatenate([of_mean.ravel(), of_std])

    def fisher(self, problem: Any) -> Array:
        noise = 0.05 * np.random.default_rng(0).standard_normal(problem.theta.size)
        at, turn = problem.theta + noise, 1e-4
        columns = []
        for e in np.eye(problem.theta.size):
            # five points: the error is of fourth order in the turn
            near = self.slope(problem, at + turn * e) - self.slope(problem, at - turn * e)
            far = self.slope(problem, at + 2 * turn * e) - self.slope(problem, at - 2 * turn * e)
            columns.append((8 * near - far) / (12 * turn))
        return np.stack(columns, axis=1)
