"""The definitions written out as loops over states and actions: the base of one style of plants.

No einsum and no linear algebra but one solver: V and d are sums over a long horizon, φ and F are
filled in entry by entry. Right as it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import Unsupported

from ._exact import Array


class Loops:
    """Loops over states, actions and time; one linear solve at the very end."""

    families = frozenset({"tabular", "softmax"})

    # --- the policy ----------------------------------------------------------------------------
    def preferences(self, problem: Any, theta: Array, s: int) -> Array:
        A = problem.num_actions
        return np.array([problem.observations[s] @ theta[a::A] for a in range(A)])

    def logs(self, problem: Any, theta: Array, s: int) -> Array:
        z = self.preferences(problem, theta, s)
        return np.asarray(z - max(z) - np.log(sum(np.exp(z - max(z)))))

    def probabilities(self, problem: Any, theta: Array, s: int) -> Array:
        z = self.preferences(problem, theta, s)
        e = np.exp(z - max(z))
        return np.asarray(e / sum(e))

    def phi(self, problem: Any, s: int, a: int) -> Array:
        p = self.probabilities(problem, problem.theta, s)
        p = -p
        p[a] += 1
        return np.concatenate([value * p for value in problem.observations[s]])

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(self.logs(problem, problem.theta, state)[action])

    def score(self, problem: Any, state: int, action: int) -> Array:
        return self.phi(problem, state, action)

    # --- the chain -----------------------------------------------------------------------------
    def discount(self, problem: Any) -> float:
        return float(problem.mdp.discount)

    def kernel(self, problem: Any) -> Array:
        S, A = problem.num_states, problem.num_actions
        P = np.zeros((S, S))
        for s in range(S):
            p = self.probabilities(problem, problem.theta, s)
            for a in range(A):
                P[s] += p[a] * problem.mdp.transitions[s, a]
        return P

    def horizon(self, problem: Any) -> int:
        if problem.mdp.discount > 0.97:
            raise Unsupported("the loop over time would be too long")
        return 2 if problem.mdp.discount == 0 else int(40 / (1 - problem.mdp.discount)) + 2

    def reward(self, problem: Any) -> Array:
        return np.asarray(problem.mdp.rewards)

    def value(self, problem: Any) -> Array:
        S, P, r = problem.num_states, self.kernel(problem), self.reward(problem)
        mean = np.array([self.probabilities(problem, problem.theta, s) @ r[s] for s in range(S)])
        V, gamma = np.zeros(S), self.discount(problem)
        for _ in range(self.horizon(problem)):
            V = mean + gamma * (P @ V)
        return V

    def q_value(self, problem: Any) -> Array:
        V, m, r = self.value(problem), problem.mdp, self.reward(problem)
        Q = np.zeros_like(r, dtype=float)
        for s in range(Q.shape[0]):
            for a in range(Q.shape[1]):
                Q[s, a] = r[s, a] + self.discount(problem) * (m.transitions[s, a] @ V)
        return Q

    def advantage(self, problem: Any) -> Array:
        return self.q_value(problem) - self.value(problem)[:, None]

    def state_distribution(self, problem: Any) -> Array:
        P, gamma = self.kernel(problem), problem.mdp.discount
        now, d = np.array(problem.mdp.initial_distribution), np.zeros(problem.num_states)
        for t in range(self.horizon(problem)):
            d += (1 - gamma) * gamma**t * now
            now = now @ P
        return d

    def objective(self, problem: Any) -> float:
        return float(sum(problem.mdp.initial_distribution * self.value(problem)))

    # --- gradient, Fisher matrix, KL -------------------------------------------------------------
    def gradient_states(self, problem: Any) -> Array:
        return self.state_distribution(problem)

    def fisher_states(self, problem: Any) -> Array:
        return self.state_distribution(problem)

    def kl_states(self, problem: Any) -> Array:
        return self.state_distribution(problem)

    def critic(self, problem: Any) -> Array:
        return self.advantage(problem)

    def policy_gradient(self, problem: Any) -> Array:
        d, Q = self.gradient_states(problem), self.critic(problem)
        g = np.zeros(problem.theta.size)
        for s in range(problem.num_states):
            p = self.probabilities(problem, problem.theta, s)
            for a in range(problem.num_actions):
                g += d[s] * p[a] * Q[s, a] * self.phi(problem, s, a)
        return g / (1 - problem.mdp.discount)

    def fisher(self, problem: Any) -> Array:
        d = self.fisher_states(problem)
        F = np.zeros((problem.theta.size,) * 2)
        for s in range(problem.num_states):
            p = self.probabilities(problem, problem.theta, s)
            for a in range(problem.num_actions):
                phi = self.phi(problem, s, a)
                F += d[s] * p[a] * np.outer(phi, phi)
        return F

    def kl(self, problem: Any, theta: Array) -> float:
        d, total = self.kl_states(problem), 0.0
        for s in range(problem.num_states):
            old, new = self.logs(problem, problem.theta, s), self.logs(problem, theta, s)
            total += d[s] * float(np.exp(old) @ (old - new))
        return float(total)

    def surrogate(self, problem: Any, theta: Array) -> float:
        d, adv, gain = self.state_distribution(problem), self.advantage(problem), 0.0
        for s in range(problem.num_states):
            gain += d[s] * (self.probabilities(problem, theta, s) @ adv[s])
        return float(self.objective(problem) + gain / (1 - problem.mdp.discount))

    # --- solve and step --------------------------------------------------------------------------
    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.lstsq(F, g, rcond=1e-11)[0]

    def natural_gradient(self, problem: Any) -> Array:
        return self.solve(self.fisher(problem), self.policy_gradient(problem))

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + step_size * self.natural_gradient(problem))

    def step_length(self, F: Array, g: Array, x: Array, max_kl: float) -> float:
        curvature = float(x @ F @ x)
        return float(np.sqrt(2 * max_kl / curvature)) if curvature > 0 else 0.0

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        F, g = self.fisher(problem), self.policy_gradient(problem)
        x = self.solve(F, g)
        return np.asarray(problem.theta + self.step_length(F, g, x, max_kl) * x)

    def accept(self, problem: Any, theta: Array, max_kl: float) -> bool:
        gain = self.surrogate(problem, theta) - self.surrogate(problem, problem.theta)
        return gain > 0 and self.kl(problem, theta) <= max_kl

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        whole = self.trust_region_proposal(problem, max_kl) - problem.theta
        for k in range(20):
            theta = problem.theta + 0.6**k * whole
            if self.accept(problem, theta, max_kl):
                return np.asarray(theta)
        return np.array(problem.theta)
