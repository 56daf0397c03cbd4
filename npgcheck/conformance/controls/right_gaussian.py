"""Right Gaussian subjects: closed form, batch rows, torch.distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._gaussian import ExactGaussian
from .registry import right

right("gaussian-closed-form")(ExactGaussian)


@right("gaussian-batch")
class GaussianBatch:
    """Rows of a batch: g from sampled actions, F and KL from their closed forms per row."""

    families = frozenset({"gaussian"})

    def _z(self, problem: Any) -> tuple[Array, Array, Array]:
        b, k, m = problem.batch, problem.observation_size, problem.action_size
        W, log_std = problem.theta[: k * m].reshape(k, m), problem.theta[k * m :]
        sigma = np.exp(log_std)
        return b.observations, (b.actions - b.observations @ W) / sigma, sigma

    def policy_gradient(self, problem: Any) -> Array:
        X, z, sigma = self._z(problem)
        adv = problem.batch.advantages[:, None]
        weights = X.T @ (adv * z / sigma) / len(X)
        return np.concatenate([weights.ravel(), np.mean(adv * (z * z - 1), axis=0)])

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        X, _, sigma = self._z(problem)
        km = X.shape[1] * len(sigma)
        jv = X @ vector[:km].reshape(X.shape[1], -1) / sigma**2
        return np.concatenate([(X.T @ jv).ravel() / len(X), 2 * vector[km:]])

    def natural_gradient(self, problem: Any) -> Array:
        X, _, sigma = self._z(problem)
        g = self.policy_gradient(problem)
        km = X.shape[1] * len(sigma)
        gram = X.T @ X / len(X)
        weights = np.linalg.pinv(gram, rcond=1e-11) @ g[:km].reshape(X.shape[1], -1) * sigma**2
        return np.concatenate([weights.ravel(), g[km:] / 2])

    def kl(self, problem: Any, theta: Array) -> float:
        X, _, sigma = self._z(problem)
        km = X.shape[1] * len(sigma)
        V, new = theta[:km].reshape(X.shape[1], -1), np.exp(theta[km:])
        shift = (X @ (problem.theta[:km].reshape(X.shape[1], -1) - V)) / new
        ratio = (sigma / new) ** 2
        return float(0.5 * (shift**2 + ratio - 1 - np.log(ratio)).sum(axis=1).mean())


@right("gaussian-torch-distributions", needs="torch")
class GaussianTorch:
    """torch.distributions.Normal with Independent dimensions, kl_divergence, double backprop."""

    families = frozenset({"gaussian"})

    def _law(self, problem: Any, theta: Any) -> Any:
        import torch
        from torch.distributions import Independent, Normal

        X = torch.as_tensor(np.array(problem.observations))
        km = X.shape[1] * problem.action_size
        mean = X @ theta[:km].view(X.shape[1], -1)
        return Independent(Normal(mean, theta[km:].exp().expand_as(mean)), 1)

    def _weights(self, problem: Any) -> Any:
        import torch

        m = problem.mdp
        M = np.eye(problem.num_states) - m.discount * m.transitions
        d = np.linalg.solve(M.T, m.initial_distribution)
        return torch.as_tensor(d / d.sum())

    def _leaf(self, values: Any, grad: bool = True) -> Any:
        import torch

        return torch.tensor(np.array(values), requires_grad=grad)

    def kl(self, problem: Any, theta: Array) -> float:
        from torch.distributions import kl_divergence

        old = self._law(problem, self._leaf(problem.theta, False))
        new = self._law(problem, self._leaf(theta, False))
        return float(self._weights(problem) @ kl_divergence(old, new))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        import torch
        from torch.distributions import kl_divergence

        theta, old = self._leaf(problem.theta), self._law(problem, self._leaf(problem.theta, False))
        mean = self._weights(problem) @ kl_divergence(old, self._law(problem, theta))
        (first,) = torch.autograd.grad(mean, theta, create_graph=True)
        return torch.autograd.grad(first @ torch.as_tensor(np.array(vector)), theta)[0]

    def log_prob(self, problem: Any, state: int, action: Array) -> Any:
        import torch

        law = self._law(problem, self._leaf(problem.theta, False))
        row = torch.as_tensor(np.array(action)).expand(problem.num_states, -1)
        return law.log_prob(row)[state]

    def score(self, problem: Any, state: int, action: Array) -> Any:
        import torch

        theta = self._leaf(problem.theta)
        row = torch.as_tensor(np.array(action)).expand(problem.num_states, -1)
        return torch.autograd.grad(self._law(problem, theta).log_prob(row)[state], theta)[0]
