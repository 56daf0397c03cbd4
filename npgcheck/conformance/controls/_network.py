"""A tanh network with hand-written forward and backward sweeps: the base of the mlp switches."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ._exact import Array


class ExactNetwork:
    """Softmax over a tanh network, θ = W₀, b₀, W₁, b₁, …; backpropagation by hand."""

    families = frozenset({"mlp"})

    def layers(self, problem: Any, theta: Array) -> list[tuple[Array, Array]]:
        sizes, out, at = problem.policy.sizes, [], 0
        for fan_in, fan_out in itertools.pairwise(sizes):
            W = theta[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
            at += fan_in * fan_out
            out.append((W, theta[at : at + fan_out]))
            at += fan_out
        return out

    def slope(self, h: Array) -> Array:
        """tanh′ in terms of h = tanh(·)."""
        return 1.0 - h * h

    def forward(self, problem: Any, theta: Array) -> tuple[list[Array], Array]:
        layers, h = self.layers(problem, theta), [np.asarray(problem.observations)]
        for W, b in layers[:-1]:
            h.append(np.tanh(h[-1] @ W + b))
        z = h[-1] @ layers[-1][0] + layers[-1][1]
        z = z - z.max(axis=1, keepdims=True)
        return h, z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    def backward(self, problem: Any, cotangent: Array) -> Array:
        """Σ_{s,a} c[s, a] ∇ z_a(s), as one vector in the order of θ."""
        layers = self.layers(problem, problem.theta)
        h, _ = self.forward(problem, problem.theta)
        parts: list[Array] = []
        for i in reversed(range(len(layers))):
            parts = [(h[i].T @ cotangent).ravel(), cotangent.sum(axis=0), *parts]
            if i:
                cotangent = (cotangent @ layers[i][0].T) * self.slope(h[i])
        return np.concatenate(parts)

    def scores(self, problem: Any) -> Array:
        pi = np.exp(self.forward(problem, problem.theta)[1])
        S, A = pi.shape
        phi = np.zeros((S, A, problem.theta.size))
        for s in range(S):
            for a in range(A):
                c = np.zeros((S, A))
                c[s] = -pi[s]
                c[s, a] += 1.0
                phi[s, a] = self.backward(problem, c)
        return phi

    def solved(self, problem: Any) -> tuple[Array, Array, Array]:
        m, pi = problem.mdp, np.exp(self.forward(problem, problem.theta)[1])
        system = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(system, (pi * m.rewards).sum(axis=1))
        d = (1 - m.discount) * np.linalg.solve(system.T, m.initial_distribution)
        return pi, m.rewards + m.discount * m.transitions @ V - V[:, None], d

    def policy_gradient(self, problem: Any) -> Array:
        pi, adv, d = self.solved(problem)
        return self.backward(problem, d[:, None] * pi * adv) / (1 - problem.mdp.discount)

    def fisher(self, problem: Any) -> Array:
        pi, _, d = self.solved(problem)
        phi = self.scores(problem)
        return np.einsum("sa,sad,sae->de", d[:, None] * pi, phi, phi)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        pi, _, d = self.solved(problem)
        along = self.scores(problem) @ vector  # already centred under π
        return self.backward(problem, d[:, None] * pi * along)

    def score(self, problem: Any, state: int, action: int) -> Array:
        return np.asarray(self.scores(problem)[state, action])

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(self.forward(problem, problem.theta)[1][state, action])

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self.forward(problem, problem.theta)[1], self.forward(problem, theta)[1]
        return float(self.solved(problem)[2] @ (np.exp(old) * (old - new)).sum(axis=1))

    def natural_gradient(self, problem: Any) -> Array:
        F, g = self.fisher(problem), self.policy_gradient(problem)
        return np.linalg.pinv(F, rcond=1e-9, hermitian=True) @ g
