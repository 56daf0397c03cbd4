"""Gaussian policies from their log-density and its score by quadrature: the base of one style.

Three nodes in every dimension integrate polynomials up to degree five exactly: F, g, V and KL of a
quadratic reward need degree four. Right as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ._exact import Array

NODES = ((-np.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (np.sqrt(3.0), 1 / 6))


class GaussQuadrature:
    """E[f] = Σ w f(μ + σz) over three nodes in every dimension."""

    families = frozenset({"gaussian"})

    # --- the policy ----------------------------------------------------------------------------
    def parameters(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        k, m = problem.observation_size, problem.action_size
        return np.reshape(theta[: k * m], (k, m)), np.asarray(theta[k * m :])

    def moments(self, problem: Any, theta: Array, s: int) -> tuple[Array, Array]:
        W, log_std = self.parameters(problem, theta)
        return np.asarray(problem.observations[s] @ W), np.exp(log_std)

    def density(self, problem: Any, theta: Array, s: int, action: Array) -> float:
        mean, std = self.moments(problem, theta, s)
        z = (action - mean) / std
        return float(np.sum(-0.5 * z * z - np.log(std) - 0.5 * np.log(2 * np.pi)))

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        mean, std = self.moments(problem, problem.theta, s)
        z = (action - mean) / std
        return np.concatenate([np.outer(problem.observations[s], z / std).ravel(), z * z - 1])

    def log_prob(self, problem: Any, state: int, action: Array) -> float:
        return self.density(problem, problem.theta, state, action)

    def score(self, problem: Any, state: int, action: Array) -> Array:
        return self.phi(problem, state, action)

    def nodes(self, problem: Any, s: int) -> Iterator[tuple[float, Array]]:
        mean, std = self.moments(problem, problem.theta, s)
        for each in product(NODES, repeat=problem.action_size):
            yield float(np.prod([w for _, w in each])), mean + std * np.array([z for z, _ in each])

    # --- the chain -----------------------------------------------------------------------------
    def states(self, problem: Any) -> Array:
        m = problem.mdp
        system = np.eye(problem.num_states) - m.discount * m.transitions.T
        return (1 - m.discount) * np.linalg.solve(system, m.initial_distribution)

    def reward(self, problem: Any, s: int, action: Array) -> float:
        c, b, M = problem.mdp.reward_quadratic
        return float(c[s] + b[s] @ action + action @ M[s] @ action)

    # --- answers -------------------------------------------------------------------------------
    def policy_gradient(self, problem: Any) -> Array:
        g = np.zeros(problem.theta.size)
        for s, d in enumerate(self.states(problem)):
            for w, action in self.nodes(problem, s):
                g += d * w * self.reward(problem, s, action) * self.phi(problem, s, action)
        return g / (1 - problem.mdp.discount)

    def fisher(self, problem: Any) -> Array:
        F = np.zeros((problem.theta.size,) * 2)
        for s, d in enumerate(self.states(problem)):
            for w, action in self.nodes(problem, s):
                phi = self.phi(problem, s, action)
                F += d * w * np.outer(phi, phi)
        return F

    def kl(self, problem: Any, theta: Array) -> float:
        total = 0.0
        for s, d in enumerate(self.states(problem)):
            for w, action in self.nodes(problem, s):
                gap = self.density(problem, problem.theta, s, action)
                gap -= self.density(problem, theta, s, action)
                total += d * w * gap
        return float(total)

    def natural_gradient(self, problem: Any) -> Array:
        F, g = self.fisher(problem), self.policy_gradient(problem)
        return np.linalg.lstsq(F, g, rcond=1e-11)[0]

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        curvature = float(x @ self.fisher(problem) @ x)
        return np.asarray(problem.theta + np.sqrt(2 * max_kl / curvature) * x)
