"""An agent with a buffer, a backward pass by hand and matrix-free products: the base of one style.

The way of deep-RL code: rows go into a buffer, losses are means over it, logits are differentiated
by hand, the solve is conjugate gradient on products, a line search looks at the surrogate and the
KL. Right as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._exact import Array
from ._functional import solve_spd


@dataclass
class Buffer:
    """What a rollout leaves: rows of equal weight."""

    obs: Array
    acts: Array
    rews: Array
    adv: Array
    val: Array
    next_val: Array
    term: Array
    logp: Array
    gamma: float


class Agent:
    """TRPO on a buffer, softmax policy with linear logits."""

    families = frozenset({"tabular", "softmax"})

    def collect(self, problem: Any) -> Buffer:
        b = problem.batch
        return Buffer(
            np.array(b.observations),
            np.array(b.actions),
            np.array(b.rewards),
            np.array(b.advantages),
            np.array(b.values),
            np.array(b.next_values),
            np.array(b.terminated),
            np.array(b.log_probs),
            float(problem.mdp.discount),
        )

    # --- forward and backward --------------------------------------------------------------------
    def forward(self, obs: Array, theta: Array) -> Array:
        """log π, (N, A)."""
        z = obs @ theta.reshape(obs.shape[1], -1)
        return np.asarray(z - np.logaddexp.reduce(z, axis=1, keepdims=True))

    def backward(self, obs: Array, dlogits: Array) -> Array:
        return np.asarray((obs.T @ dlogits).ravel())

    def dlogits(self, buf: Buffer, logp: Array) -> Array:
        """∂ log π(a|s) / ∂ logits, (N, A)."""
        out = -np.exp(logp)
        out[np.arange(len(buf.acts)), buf.acts] += 1.0
        return out

    def critic(self, buf: Buffer) -> Array:
        return buf.adv

    # --- answers ---------------------------------------------------------------------------------
    def policy_gradient(self, problem: Any) -> Array:
        buf = self.collect(problem)
        rows = self.dlogits(buf, self.forward(buf.obs, problem.theta))
        return self.backward(buf.obs, self.critic(buf)[:, None] * rows) / len(buf.acts)

    def product(self, obs: Array, theta: Array, vector: Array) -> Array:
        p = np.exp(self.forward(obs, theta))
        u = obs @ vector.reshape(obs.shape[1], -1)
        u = p * (u - (p * u).sum(axis=1, keepdims=True))
        return self.backward(obs, u) / len(obs)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.product(self.collect(problem).obs, problem.theta, vector)

    def fisher(self, problem: Any) -> Array:
        eye = np.eye(problem.theta.size)
        return np.stack([self.fisher_vector_product(problem, e) for e in eye], axis=1)

    def divergence(self, obs: Array, old: Array, new: Array) -> float:
        return float((np.exp(old) * (old - new)).sum(axis=1).mean())

    def kl(self, problem: Any, theta: Array) -> float:
        obs = self.collect(problem).obs
        return self.divergence(obs, self.forward(obs, problem.theta), self.forward(obs, theta))

    def ratio(self, new: Array, old: Array) -> Array:
        return np.exp(new - old)

    def surrogate(self, problem: Any, theta: Array) -> float:
        buf = self.collect(problem)
        new = self.forward(buf.obs, theta)[np.arange(len(buf.acts)), buf.acts]
        return float((self.ratio(new, buf.logp) * self.critic(buf)).mean())

    def solve(self, problem: Any, g: Array) -> Array:
        return solve_spd(lambda v: self.fisher_vector_product(problem, v), g)

    def natural_gradient(self, problem: Any) -> Array:
        return self.solve(problem, self.policy_gradient(problem))

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + step_size * self.natural_gradient(problem))

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        shs = 0.5 * float(x @ self.fisher_vector_product(problem, x))
        return np.asarray(problem.theta + (x * np.sqrt(max_kl / shs) if shs > 0 else 0.0))

    def accept(self, problem: Any, theta: Array, max_kl: float) -> bool:
        better = self.surrogate(problem, theta) > self.surrogate(problem, problem.theta)
        return better and self.kl(problem, theta) <= max_kl

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        for fraction in 0.5 ** np.arange(25):
            theta = problem.theta + fraction * full
            if self.accept(problem, theta, max_kl):
                return np.asarray(theta)
        return np.array(problem.theta)
