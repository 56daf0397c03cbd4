"""Right subjects with networks: the shipped MLP family and policies that the subject brings."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ._exact import Array
from ._network import ExactNetwork
from .registry import right

right("mlp-backprop-by-hand")(ExactNetwork)


@right("mlp-autograd")
class MlpAutograd:
    """The MLP family through autograd: Jacobian of the logits, then Gauss–Newton algebra."""

    families = frozenset({"mlp"})

    def _logits(self, problem: Any, theta: Any) -> Any:
        import autograd.numpy as anp

        h, at, sizes = problem.observations, 0, problem.policy.sizes
        for level, (n, m) in enumerate(itertools.pairwise(sizes)):
            W = anp.reshape(theta[at : at + n * m], (n, m))
            b = theta[at + n * m : at + n * m + m]
            at += n * m + m
            h = anp.dot(h, W) + b
            if level < len(sizes) - 2:
                h = anp.tanh(h)
        return h

    def _parts(self, problem: Any) -> tuple[Array, Array, Array, Array]:
        from autograd import jacobian

        theta, m = np.array(problem.theta), problem.mdp
        J = jacobian(lambda t: self._logits(problem, t))(theta)
        z = self._logits(problem, theta)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        M = np.eye(len(pi)) - m.discount * (pi[:, :, None] * m.transitions).sum(1)
        V = np.linalg.solve(M, (pi * m.rewards).sum(1))
        d = np.linalg.solve(M.T, m.initial_distribution) * (1 - m.discount)
        Q = m.rewards + m.discount * m.transitions @ V
        return J, pi, Q, d

    def policy_gradient(self, problem: Any) -> Array:
        J, pi, Q, d = self._parts(problem)
        c = d[:, None] * pi * (Q - (pi * Q).sum(1, keepdims=True))
        return np.tensordot(c, J, axes=2) / (1 - problem.mdp.discount)

    def fisher(self, problem: Any) -> Array:
        J, pi, _, d = self._parts(problem)
        centred = J - np.einsum("sa,sad->sd", pi, J)[:, None, :]
        rows = (np.sqrt(d[:, None] * pi)[:, :, None] * centred).reshape(-1, J.shape[2])
        return np.asarray(rows.T @ rows)

    def natural_gradient(self, problem: Any) -> Array:
        values, vectors = np.linalg.eigh(self.fisher(problem))
        keep = values > 1e-9 * values[-1]
        coordinates = vectors[:, keep].T @ self.policy_gradient(problem)
        return np.asarray(vectors[:, keep] @ (coordinates / values[keep]))


@right("mlp-torch", needs="torch")
class MlpTorch:
    """The MLP family as a torch functional network with a Hessian-vector product of the KL."""

    families = frozenset({"mlp"})

    def _log_pi(self, problem: Any, theta: Any) -> Any:
        import torch

        h, at, sizes = torch.as_tensor(np.array(problem.observations)), 0, problem.policy.sizes
        for level in range(len(sizes) - 1):
            n, m = sizes[level], sizes[level + 1]
            W, b = theta[at : at + n * m].view(n, m), theta[at + n * m : at + (n + 1) * m]
            h, at = h @ W + b, at + (n + 1) * m
            h = torch.tanh(h) if level < len(sizes) - 2 else h
        return torch.log_softmax(h, dim=1)

    def _tensor(self, values: Any, grad: bool = False) -> Any:
        import torch

        return torch.tensor(np.array(values), dtype=torch.float64, requires_grad=grad)

    def _occupancy(self, problem: Any, log_pi: Any) -> tuple[Any, Any]:
        import torch

        m, P = problem.mdp, self._tensor(problem.mdp.transitions)
        system = torch.eye(problem.num_states) - m.discount * (log_pi.exp()[:, :, None] * P).sum(1)
        V = torch.linalg.solve(system, (log_pi.exp() * self._tensor(m.rewards)).sum(1))
        return V, torch.linalg.solve(system.T, self._tensor(m.initial_distribution))

    def policy_gradient(self, problem: Any) -> Any:
        import torch

        theta = self._tensor(problem.theta, grad=True)
        V, _ = self._occupancy(problem, self._log_pi(problem, theta).double())
        return torch.autograd.grad(V @ self._tensor(problem.mdp.initial_distribution), theta)[0]

    def _kl(self, problem: Any, theta: Any) -> Any:
        old = self._log_pi(problem, self._tensor(problem.theta)).detach()
        _, mu = self._occupancy(problem, old)
        inner = (old.exp() * (old - self._log_pi(problem, theta))).sum(1)
        return (mu @ inner) * (1 - problem.mdp.discount)

    def kl(self, problem: Any, theta: Array) -> float:
        return float(self._kl(problem, self._tensor(theta)))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        import torch

        theta = self._tensor(problem.theta, grad=True)
        (first,) = torch.autograd.grad(self._kl(problem, theta), theta, create_graph=True)
        return torch.autograd.grad((first * self._tensor(vector)).sum(), theta)[0]


@right("own-numpy-network")
class OwnNumpyNetwork:
    """A policy of the subject's own: one hidden layer with softsign units, derivatives by hand."""

    families = frozenset({"own"})
    width = 3

    def num_parameters(self, problem: Any) -> int:
        return self.width * (problem.observation_size + 1 + problem.num_actions)

    def _split(self, problem: Any, theta: Array) -> tuple[Array, Array, Array]:
        k, w = problem.observation_size, self.width
        return theta[: k * w].reshape(k, w), theta[k * w : k * w + w], theta[k * w + w :]

    def logits(self, problem: Any, observations: Array, theta: Array) -> Array:
        W, b, out = self._split(problem, np.asarray(theta))
        u = observations @ W + b
        return np.asarray((u / np.sqrt(1 + u * u)) @ out.reshape(self.width, -1))

    def _jacobian(self, problem: Any) -> Array:
        W, b, out = self._split(problem, problem.theta)
        X, U = problem.observations, out.reshape(self.width, -1)
        u = X @ W + b
        h, slope = u / np.sqrt(1 + u * u), (1 + u * u) ** -1.5
        A = U.shape[1]
        of_b = np.einsum("sw,wa->saw", slope, U)
        of_W = np.einsum("sk,saw->sakw", X, of_b).reshape(len(X), A, -1)
        of_U = np.einsum("sw,ab->sawb", h, np.eye(A)).reshape(len(X), A, -1)
        return np.concatenate([of_W, of_b, of_U], axis=2)

    def _parts(self, problem: Any) -> tuple[Array, Array, Array, Array]:
        m, z = problem.mdp, self.logits(problem, problem.observations, problem.theta)
        pi = np.exp(z - z.max(1, keepdims=True))
        pi /= pi.sum(1, keepdims=True)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(1))
        d = (1 - m.discount) * np.linalg.solve(M.T, m.initial_distribution)
        J = self._jacobian(problem)
        phi = J - np.einsum("sa,sad->sd", pi, J)[:, None]
        return phi, pi, m.rewards + m.discount * m.transitions @ V - V[:, None], d

    def score(self, problem: Any, state: int, action: int) -> Array:
        return np.asarray(self._parts(problem)[0][state, action])

    def policy_gradient(self, problem: Any) -> Array:
        phi, pi, adv, d = self._parts(problem)
        return np.einsum("s,sa,sa,sad->d", d, pi, adv, phi) / (1 - problem.mdp.discount)

    def fisher(self, problem: Any) -> Array:
        phi, pi, _, d = self._parts(problem)
        return np.einsum("s,sa,sad,sae->de", d, pi, phi, phi)


@right("own-torch-network", needs="torch")
class OwnTorchNetwork:
    """A policy of the subject's own: a torch module called functionally, double backward."""

    families = frozenset({"own"})

    def _module(self, problem: Any) -> Any:
        import torch

        k, A = problem.observation_size, problem.num_actions
        return torch.nn.Sequential(
            torch.nn.Linear(k, 4), torch.nn.Tanh(), torch.nn.Linear(4, A)
        ).double()

    def num_parameters(self, problem: Any) -> int:
        return sum(p.numel() for p in self._module(problem).parameters())

    def _run(self, problem: Any, observations: Any, theta: Any) -> Any:
        import torch

        module, at, named = self._module(problem), 0, {}
        for name, p in module.named_parameters():
            named[name] = theta[at : at + p.numel()].view_as(p)
            at += p.numel()
        X = torch.as_tensor(np.array(observations))
        return torch.func.functional_call(module, named, (X,))

    def logits(self, problem: Any, observations: Array, theta: Array) -> Any:
        import torch

        return self._run(problem, observations, torch.as_tensor(np.array(theta))).detach()

    def _occupancy(self, problem: Any, pi: Any) -> Any:
        import torch

        m = problem.mdp
        P = torch.as_tensor(np.array(m.transitions))
        system = torch.eye(len(pi), dtype=torch.float64) - m.discount * (pi[..., None] * P).sum(1)
        V = torch.linalg.solve(system, (pi * torch.as_tensor(np.array(m.rewards))).sum(1))
        d = torch.linalg.solve(system.T, torch.as_tensor(np.array(m.initial_distribution)))
        return V, d * (1 - m.discount)

    def policy_gradient(self, problem: Any) -> Any:
        import torch

        theta = torch.tensor(np.array(problem.theta), requires_grad=True)
        pi = torch.softmax(self._run(problem, problem.observations, theta), dim=-1)
        V, _ = self._occupancy(problem, pi)
        rho = torch.as_tensor(np.array(problem.mdp.initial_distribution))
        return torch.autograd.grad(V @ rho, theta)[0]

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        import torch

        theta = torch.tensor(np.array(problem.theta), requires_grad=True)
        log_pi = torch.log_softmax(self._run(problem, problem.observations, theta), dim=-1)
        old = log_pi.detach()
        _, d = self._occupancy(problem, old.exp())
        mean = d @ (old.exp() * (old - log_pi)).sum(-1)
        (first,) = torch.autograd.grad(mean, theta, create_graph=True)
        return torch.autograd.grad(first @ torch.as_tensor(np.array(vector)), theta)[0]
