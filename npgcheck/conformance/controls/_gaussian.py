"""A plain Gaussian pipeline on the quadratic chain: the base of the Gaussian switches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array


class ExactGaussian:
    """Linear mean, log σ parameters; every quantity in closed form."""

    families = frozenset({"gaussian"})

    def unpack(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        k, m = problem.observation_size, problem.action_size
        return np.reshape(theta[: k * m], (k, m)), np.asarray(theta[k * m :])

    def mean(self, problem: Any) -> Array:
        return np.asarray(problem.observations @ self.unpack(problem, problem.theta)[0])

    def state_distribution(self, problem: Any) -> Array:
        m = problem.mdp
        system = np.eye(problem.num_states) - m.discount * m.transitions.T
        return (1 - m.discount) * np.linalg.solve(system, m.initial_distribution)

    def expected_reward(self, problem: Any, theta: Array) -> Array:
        c, b, M = problem.mdp.reward_quadratic
        W, log_std = self.unpack(problem, theta)
        mu = problem.observations @ W
        spread = np.einsum("sjj,j->s", M, np.exp(2 * log_std))
        return np.asarray(
            c + np.einsum("sj,sj->s", b, mu) + np.einsum("si,sij,sj->s", mu, M, mu) + spread
        )

    def value(self, problem: Any) -> Array:
        m = problem.mdp
        system = np.eye(problem.num_states) - m.discount * m.transitions
        return np.linalg.solve(system, self.expected_reward(problem, problem.theta))

    def objective(self, problem: Any) -> float:
        return float(problem.mdp.initial_distribution @ self.value(problem))

    def surrogate(self, problem: Any, theta: Array) -> float:
        lift = self.expected_reward(problem, theta) - self.expected_reward(problem, problem.theta)
        horizon = 1 / (1 - problem.mdp.discount)
        return float(self.objective(problem) + horizon * (self.state_distribution(problem) @ lift))

    def log_prob(self, problem: Any, state: int, action: Array) -> float:
        _, log_std = self.unpack(problem, problem.theta)
        z = (action - self.mean(problem)[state]) / np.exp(log_std)
        return float(np.sum(-0.5 * z**2 - log_std - 0.5 * np.log(2 * np.pi)))

    def score(self, problem: Any, state: int, action: Array) -> Array:
        _, log_std = self.unpack(problem, problem.theta)
        z = (action - self.mean(problem)[state]) / np.exp(log_std)
        weights = np.outer(problem.observations[state], z / np.exp(log_std))
        return np.concatenate([weights.ravel(), z**2 - 1])

    def policy_gradient(self, problem: Any) -> Array:
        _, b, M = problem.mdp.reward_quadratic
        _, log_std = self.unpack(problem, problem.theta)
        mu, d = self.mean(problem), self.state_distribution(problem)
        slope = b + np.einsum("sij,sj->si", M + np.swapaxes(M, 1, 2), mu)
        weights = problem.observations.T @ (d[:, None] * slope)
        widths = 2 * np.exp(2 * log_std) * np.einsum("s,sjj->j", d, M)
        return np.concatenate([weights.ravel(), widths]) / (1 - problem.mdp.discount)

    def precision(self, problem: Any) -> Array:
        return np.exp(-2 * self.unpack(problem, problem.theta)[1])

    def width_block(self, problem: Any) -> Array:
        """F of log σ: 2 for every dimension."""
        return np.full(problem.action_size, 2.0)

    def fisher(self, problem: Any) -> Array:
        X, d = problem.observations, self.state_distribution(problem)
        top = np.kron(X.T @ (d[:, None] * X), np.diag(self.precision(problem)))
        size = len(top) + problem.action_size
        F = np.zeros((size, size))
        F[: len(top), : len(top)] = top
        F[len(top) :, len(top) :] = np.diag(self.width_block(problem))
        return F

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.fisher(problem) @ vector

    def kl(self, problem: Any, theta: Array) -> float:
        W, old = self.unpack(problem, problem.theta)
        V, new = self.unpack(problem, theta)
        shift = problem.observations @ (W - V)
        inner = new - old + (np.exp(2 * old) + shift**2) / (2 * np.exp(2 * new)) - 0.5
        return float(self.state_distribution(problem) @ inner.sum(axis=1))

    def natural_gradient(self, problem: Any) -> Array:
        F, g = self.fisher(problem), self.policy_gradient(problem)
        return np.linalg.pinv(F, rcond=1e-11, hermitian=True) @ g

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + step_size * self.natural_gradient(problem))

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        curvature = float(x @ self.fisher(problem) @ x)
        return np.asarray(problem.theta + np.sqrt(2 * max_kl / curvature) * x)

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        base = self.surrogate(problem, problem.theta)
        for k in range(40):
            candidate = problem.theta + 0.8**k * full
            if self.kl(problem, candidate) <= max_kl and self.surrogate(problem, candidate) > base:
                return np.asarray(candidate)
        return np.array(problem.theta)
