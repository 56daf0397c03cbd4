"""Plain softmax estimators over the rows of a batch or the steps of episodes: bases of switches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array


def row_log_pi(problem: Any, observations: Array, theta: Array) -> Array:
    """log π(·|row) for softmax over features, (N, A)."""
    z = observations @ np.reshape(theta, (problem.observation_size, problem.num_actions))
    z = z - z.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))


class BatchSoftmax:
    """A deep-RL style update on one batch: means over rows, exact expectation over actions."""

    families = frozenset({"tabular", "softmax"})

    def advantages(self, problem: Any) -> Array:
        return np.asarray(problem.batch.advantages)

    def row_scores(self, problem: Any) -> Array:
        b = problem.batch
        pi = np.exp(row_log_pi(problem, b.observations, problem.theta))
        onehot = np.zeros_like(pi)
        onehot[np.arange(len(pi)), b.actions] = 1.0
        phi = b.observations[:, :, None] * (onehot - pi)[:, None, :]
        return np.asarray(phi.reshape(len(pi), -1))

    def policy_gradient(self, problem: Any) -> Array:
        return np.asarray((self.row_scores(problem) * self.advantages(problem)[:, None]).mean(0))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        X = problem.batch.observations
        pi = np.exp(row_log_pi(problem, X, problem.theta))
        jv = X @ vector.reshape(X.shape[1], -1)
        centred = pi * (jv - (pi * jv).sum(axis=1, keepdims=True))
        return np.asarray((X.T @ centred).ravel() / len(X))

    def fisher(self, problem: Any) -> Array:
        eye = np.eye(problem.theta.size)
        return np.stack([self.fisher_vector_product(problem, e) for e in eye])

    def kl(self, problem: Any, theta: Array) -> float:
        X = problem.batch.observations
        old = row_log_pi(problem, X, problem.theta)
        new = row_log_pi(problem, X, theta)
        return float((np.exp(old) * (old - new)).sum(axis=1).mean())

    def surrogate(self, problem: Any, theta: Array) -> float:
        b = problem.batch
        new = row_log_pi(problem, b.observations, theta)[np.arange(len(b.actions)), b.actions]
        return float((np.exp(new - b.log_probs) * self.advantages(problem)).mean())

    def natural_gradient(self, problem: Any) -> Array:
        F, g = self.fisher(problem), self.policy_gradient(problem)
        return np.linalg.pinv(F, rcond=1e-11, hermitian=True) @ g

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        curvature = float(x @ self.fisher_vector_product(problem, x))
        length = np.sqrt(2 * max_kl / curvature) if curvature > 0 else 0.0
        return np.asarray(problem.theta + length * x)


class EpisodeSoftmax:
    """Trajectory estimators: γᵗ on every step, GAE with the exact critic, per-step Fisher."""

    families = frozenset({"tabular", "softmax"})
    lam = 0.95

    def estimate(self, episode: Any) -> Array:
        """Generalised advantages of one trajectory, backwards in time."""
        out, running = np.zeros(len(episode.rewards)), 0.0
        for t in reversed(range(len(out))):
            alive = 1.0 - float(episode.terminated[t])
            cut = alive * (1.0 - float(episode.truncated[t]))
            delta = episode.rewards[t] + episode.discount * alive * episode.next_values[t]
            running = delta - episode.values[t] + episode.discount * self.lam * cut * running
            out[t] = running
        return out

    def step_weights(self, episode: Any) -> Array:
        return np.asarray(episode.discount ** np.arange(len(episode.rewards)))

    def policy_gradient(self, problem: Any) -> Array:
        total = np.zeros(problem.theta.size)
        episodes = problem.episodes
        for e in episodes:
            pi = np.exp(row_log_pi(problem, e.observations, problem.theta))
            w = self.step_weights(e) * self.estimate(e)
            for t, x in enumerate(e.observations):
                centred = -pi[t]
                centred[e.actions[t]] += 1.0
                total += w[t] * np.outer(x, centred).ravel()
        return total / len(episodes)

    def fisher(self, problem: Any) -> Array:
        total = np.zeros((problem.theta.size, problem.theta.size))
        mass = 0.0
        for e in problem.episodes:
            pi = np.exp(row_log_pi(problem, e.observations, problem.theta))
            for t, w in enumerate(self.step_weights(e)):
                x, p = e.observations[t], pi[t]
                total += w * np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))
                mass += w
        return total / mass
