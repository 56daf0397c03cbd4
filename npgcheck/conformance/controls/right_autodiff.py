"""Right subjects by automatic differentiation: HIPS autograd and torch, first and second order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from .registry import right


@right("autograd-double-backprop")
class AutogradDoubleBackprop:
    """J, KL and their derivatives by autograd: F·v = ∇(∇KL · v) at coincidence."""

    def _log_pi(self, problem: Any, theta: Any) -> Any:
        import autograd.numpy as anp
        from autograd.scipy.special import logsumexp

        z = anp.dot(problem.observations, theta.reshape((problem.observation_size, -1)))
        return z - logsumexp(z, axis=1, keepdims=True)

    def _value(self, problem: Any, theta: Any) -> Any:
        import autograd.numpy as anp

        m, pi = problem.mdp, anp.exp(self._log_pi(problem, theta))
        P = anp.einsum("sa,sat->st", pi, m.transitions)
        return anp.linalg.solve(anp.eye(len(P)) - m.discount * P, anp.sum(pi * m.rewards, axis=1))

    def objective(self, problem: Any) -> float:
        return float(problem.mdp.initial_distribution @ self._value(problem, problem.theta))

    def policy_gradient(self, problem: Any) -> Array:
        import autograd.numpy as anp
        from autograd import grad

        rho = problem.mdp.initial_distribution
        return np.asarray(
            grad(lambda t: anp.dot(rho, self._value(problem, t)))(np.array(problem.theta))
        )

    def state_distribution(self, problem: Any) -> Array:
        m, pi = problem.mdp, np.exp(self._log_pi(problem, problem.theta))
        M = np.eye(problem.num_states) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        return (1 - m.discount) * np.linalg.solve(M.T, m.initial_distribution)

    def _kl(self, problem: Any, theta: Any) -> Any:
        import autograd.numpy as anp

        old = self._log_pi(problem, problem.theta)
        inner = anp.sum(np.exp(old) * (old - self._log_pi(problem, theta)), axis=1)
        return anp.dot(self.state_distribution(problem), inner)

    def kl(self, problem: Any, theta: Array) -> float:
        return float(self._kl(problem, theta))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        import autograd.numpy as anp
        from autograd import grad

        first = grad(lambda t: self._kl(problem, t))
        return np.asarray(grad(lambda t: anp.dot(first(t), vector))(np.array(problem.theta)))

    def fisher(self, problem: Any) -> Array:
        from autograd import hessian

        return np.asarray(hessian(lambda t: self._kl(problem, t))(np.array(problem.theta)))

    def natural_gradient(self, problem: Any) -> Array:
        return np.linalg.lstsq(self.fisher(problem), self.policy_gradient(problem), rcond=1e-11)[0]

    def score(self, problem: Any, state: int, action: int) -> Array:
        from autograd import grad

        return np.asarray(
            grad(lambda t: self._log_pi(problem, t)[state, action])(np.array(problem.theta))
        )


@right("gauss-newton-product")
class GaussNewtonProduct:
    """F·v = Jᵀ(H(J v)) by one forward and one backward pass through the logits."""

    def _forward(self, problem: Any) -> tuple[Array, Array]:
        X = problem.observations
        z = np.matmul(X, problem.theta.reshape(X.shape[1], problem.num_actions))
        p = np.exp(z - np.max(z, axis=1)[:, None])
        p /= np.sum(p, axis=1)[:, None]
        m = problem.mdp
        P = np.matmul(p[:, None, :], m.transitions)[:, 0, :]
        M = np.identity(len(p)) - m.discount * P
        occupancy = np.linalg.solve(M.T, m.initial_distribution)
        return p, occupancy * (1.0 - m.discount)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        p, d = self._forward(problem)
        X = problem.observations
        jv = np.matmul(X, np.reshape(vector, (X.shape[1], -1)))  # J v, per state
        hjv = p * jv - p * np.sum(p * jv, axis=1)[:, None]  # (diag p − ppᵀ) J v
        return np.ravel(np.matmul(X.T, d[:, None] * hjv))  # Jᵀ

    def fisher(self, problem: Any) -> Array:
        D = problem.theta.size
        columns = [self.fisher_vector_product(problem, e) for e in np.identity(D)]
        return np.stack(columns, axis=1)


@right("torch-double-backprop", needs="torch")
class TorchDoubleBackprop:
    """The usual TRPO code: detached old policy, KL, create_graph, Hessian-vector product."""

    def _log_pi(self, problem: Any, theta: Any) -> Any:
        import torch

        X = torch.as_tensor(np.array(problem.observations))
        return torch.log_softmax(X @ theta.view(X.shape[1], -1), dim=-1)

    def _leaf(self, problem: Any) -> Any:
        import torch

        return torch.tensor(np.array(problem.theta), requires_grad=True)

    def _solve(self, problem: Any, log_pi: Any) -> tuple[Any, Any]:
        import torch

        m, pi = problem.mdp, log_pi.exp()
        P = torch.einsum("sa,sat->st", pi, torch.as_tensor(np.array(m.transitions)))
        M = torch.eye(len(P), dtype=torch.float64) - m.discount * P
        V = torch.linalg.solve(M, (pi * torch.as_tensor(np.array(m.rewards))).sum(-1))
        rho = torch.as_tensor(np.array(m.initial_distribution))
        d = (1 - m.discount) * torch.linalg.solve(M.T, rho)
        return V, d

    def objective(self, problem: Any) -> Any:
        import torch

        theta = self._leaf(problem)
        V, _ = self._solve(problem, self._log_pi(problem, theta))
        return V @ torch.as_tensor(np.array(problem.mdp.initial_distribution))

    def policy_gradient(self, problem: Any) -> Any:
        import torch

        theta = self._leaf(problem)
        V, _ = self._solve(problem, self._log_pi(problem, theta))
        J = V @ torch.as_tensor(np.array(problem.mdp.initial_distribution))
        return torch.autograd.grad(J, theta)[0]

    def _kl(self, problem: Any, theta: Any) -> Any:
        old = self._log_pi(problem, self._leaf(problem)).detach()
        _, d = self._solve(problem, old)
        return d @ (old.exp() * (old - self._log_pi(problem, theta))).sum(-1)

    def kl(self, problem: Any, theta: Array) -> Any:
        import torch

        return self._kl(problem, torch.as_tensor(np.array(theta)))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        import torch

        theta = self._leaf(problem)
        (first,) = torch.autograd.grad(self._kl(problem, theta), theta, create_graph=True)
        dot = first @ torch.as_tensor(np.array(vector))
        return torch.autograd.grad(dot, theta)[0]

    def natural_gradient(self, problem: Any) -> Any:
        import torch

        g = self.policy_gradient(problem)
        # the same number for every action moves nothing: taking it out keeps CG off null(F)
        b = g.view(problem.observation_size, -1)
        b = (b - b.mean(1, keepdim=True)).flatten()
        x, r = torch.zeros_like(b), b.clone()
        p, rr = r.clone(), r @ r
        for _ in range(3 * len(b)):
            if rr <= 1e-26 * (b @ b):
                break
            z = self.fisher_vector_product(problem, p.numpy())
            if p @ z <= 0:
                break
            alpha = rr / (p @ z)
            x = x + alpha * p
            r = r - alpha * z
            p = r + (r @ r) / rr * p
            rr = r @ r
        return x
