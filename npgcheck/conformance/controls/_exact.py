"""A plain, exact softmax pipeline with one method per choice: the base of the switches.

Written from the definitions with explicit score tensors and dense solves. It is itself one of
the right subjects; a switch is a subclass that overrides one method.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray


class ExactSoftmax:
    """Softmax policies over features, every quantity by dense linear algebra on the MDP."""

    families = frozenset({"tabular", "softmax"})

    # --- the policy -------------------------------------------------------------------------
    def action_logits(self, problem: Any, theta: Array) -> Array:
        X = problem.observations
        return np.asarray(X @ theta.reshape(X.shape[1], problem.num_actions))

    def log_pi(self, problem: Any, theta: Array) -> Array:
        z = self.action_logits(problem, theta)
        z = z - z.max(axis=1, keepdims=True)
        return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))

    def pi(self, problem: Any, theta: Array | None = None) -> Array:
        return np.exp(self.log_pi(problem, problem.theta if theta is None else theta))

    def scores(self, problem: Any) -> Array:
        """φ[s, a, :] = ∇θ log π(a|s) = x(s) ⊗ (e_a − π(·|s))."""
        X, pi = problem.observations, self.pi(problem)
        S, A = pi.shape
        centred = np.eye(A)[None, :, :] - pi[:, None, :]
        phi = X[:, None, :, None] * centred[:, :, None, :]
        return np.asarray(phi.reshape(S, A, X.shape[1] * A))

    # --- the chain --------------------------------------------------------------------------
    def chain(self, problem: Any) -> Array:
        return np.einsum("sa,sat->st", self.pi(problem), problem.mdp.transitions)

    def mean_reward(self, problem: Any) -> Array:
        return np.asarray((self.pi(problem) * problem.mdp.rewards).sum(axis=1))

    def value(self, problem: Any) -> Array:
        S = problem.num_states
        return np.linalg.solve(
            np.eye(S) - problem.mdp.discount * self.chain(problem), self.mean_reward(problem)
        )

    def q_value(self, problem: Any) -> Array:
        m = problem.mdp
        return np.asarray(m.rewards + m.discount * (m.transitions @ self.value(problem)))

    def advantage(self, problem: Any) -> Array:
        return self.q_value(problem) - self.value(problem)[:, None]

    def state_distribution(self, problem: Any) -> Array:
        m = problem.mdp
        system = np.eye(problem.num_states) - m.discount * self.chain(problem).T
        return (1 - m.discount) * np.linalg.solve(system, m.initial_distribution)

    def objective(self, problem: Any) -> float:
        return float(problem.mdp.initial_distribution @ self.value(problem))

    # --- what differs between implementations -------------------------------------------------
    def gradient_weights(self, problem: Any) -> Array:
        return self.state_distribution(problem)

    def fisher_weights(self, problem: Any) -> Array:
        return self.state_distribution(problem)

    def kl_weights(self, problem: Any) -> Array:
        return self.state_distribution(problem)

    def critic(self, problem: Any) -> Array:
        return self.advantage(problem)

    def gradient_scores(self, problem: Any) -> Array:
        return self.scores(problem)

    def fisher_scores(self, problem: Any) -> Array:
        return self.scores(problem)

    def gradient_scale(self, problem: Any) -> float:
        return float(1 / (1 - problem.mdp.discount))

    # --- gradient, Fisher matrix, KL ----------------------------------------------------------
    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(self.log_pi(problem, problem.theta)[state, action])

    def score(self, problem: Any, state: int, action: int) -> Array:
        return np.asarray(self.scores(problem)[state, action])

    def policy_gradient(self, problem: Any) -> Array:
        joint = self.gradient_weights(problem)[:, None] * self.pi(problem) * self.critic(problem)
        return self.gradient_scale(problem) * np.einsum(
            "sa,sad->d", joint, self.gradient_scores(problem)
        )

    def surrogate(self, problem: Any, theta: Array) -> float:
        gain = (self.pi(problem, theta) * self.advantage(problem)).sum(axis=1)
        lift = self.state_distribution(problem) @ gain
        return float(self.objective(problem) + lift / (1 - problem.mdp.discount))

    def fisher(self, problem: Any) -> Array:
        phi = self.fisher_scores(problem)
        joint = self.fisher_weights(problem)[:, None] * self.pi(problem)
        return np.einsum("sa,sad,sae->de", joint, phi, phi)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        phi = self.fisher_scores(problem)
        joint = self.fisher_weights(problem)[:, None] * self.pi(problem)
        return np.einsum("sa,sad->d", joint * (phi @ vector), phi)

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self.log_pi(problem, problem.theta), self.log_pi(problem, theta)
        return float(self.kl_weights(problem) @ (np.exp(old) * (old - new)).sum(axis=1))

    # --- solve and step -----------------------------------------------------------------------
    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.pinv(F, rcond=1e-11, hermitian=True) @ g

    def natural_gradient(self, problem: Any) -> Array:
        return self.solve(self.fisher(problem), self.policy_gradient(problem))

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + step_size * self.natural_gradient(problem))

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        """√(2δ / xᵀFx): the length at which the quadratic model of the KL equals δ."""
        curvature = float(x @ self.fisher_vector_product(problem, x))
        return float(np.sqrt(2 * max_kl / curvature)) if curvature > 0 else 0.0

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        return np.asarray(problem.theta + self.step_scale(problem, x, max_kl) * x)

    def accepts(self, problem: Any, theta: Array, max_kl: float) -> bool:
        better = self.surrogate(problem, theta) >= self.surrogate(problem, problem.theta)
        return better and self.kl(problem, theta) <= max_kl

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        for k in range(30):
            candidate = problem.theta + 0.5**k * full
            if self.accepts(problem, candidate, max_kl):
                return np.asarray(candidate)
        return np.array(problem.theta)

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        for _ in range(iterations):
            theta = self.update(problem, step_size)
            yield theta
            problem = problem.at(theta)
