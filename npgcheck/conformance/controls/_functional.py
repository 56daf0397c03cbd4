"""Pure functions of (θ, rows) and their derivatives by autograd: the base of one style of plants.

The way of jax code: nothing is stored, losses are functions, gradients and products are made from
them, the solve is conjugate gradient on the product. Right as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad

from ._exact import Array

Function = Callable[[Any], Any]


def log_policy(theta: Any, inputs: Array, actions: int) -> Any:
    """(N, A) log-probabilities of a softmax policy."""
    z = anp.dot(inputs, anp.reshape(theta, (inputs.shape[1], actions)))
    top = anp.max(z, axis=1, keepdims=True)
    return z - top - anp.log(anp.sum(anp.exp(z - top), axis=1, keepdims=True))


def solve_spd(product: Callable[[Array], Array], b: Array, rounds: int = 4) -> Array:
    """Conjugate gradient to round-off on a semidefinite product.

    Residuals are orthogonalised against all earlier ones, and the rest is solved for again.
    """
    x = np.zeros_like(b)
    for _ in range(rounds):
        r = b - product(x)
        p, rho, seen = r.copy(), float(r @ r), [r / (np.linalg.norm(r) + 1e-300)]
        for _ in range(len(b)):
            if rho <= 1e-28 * float(b @ b):
                break
            q = product(p)
            step = rho / float(p @ q)
            x = x + step * p
            r = r - step * q
            for each in (*seen, *seen):
                r = r - (each @ r) * each
            rho, before = float(r @ r), rho
            seen.append(r / (np.sqrt(rho) + 1e-300))
            p = r + rho / before * p
    return x


class FunctionalBatch:
    """Losses over the rows of a batch as pure functions, differentiated by autograd."""

    families = frozenset({"tabular", "softmax"})

    # --- ingredients ---------------------------------------------------------------------------
    def inputs(self, problem: Any) -> Array:
        return np.asarray(problem.batch.observations)

    def fisher_inputs(self, problem: Any) -> Array:
        return self.inputs(problem)

    def targets(self, problem: Any) -> Array:
        """What the score is multiplied with, row by row."""
        return np.asarray(problem.batch.advantages)

    def table(self, problem: Any, theta: Any, inputs: Array) -> Any:
        return log_policy(theta, inputs, problem.num_actions)

    # --- losses --------------------------------------------------------------------------------
    def policy_loss(self, problem: Any) -> Function:
        """θ ↦ mean A log π(a|s): its gradient is the policy gradient."""
        b, rows = problem.batch, np.arange(len(problem.batch.actions))
        weights = self.targets(problem)
        return lambda theta: anp.mean(
            weights * self.table(problem, theta, self.inputs(problem))[rows, b.actions]
        )

    def divergence(self, problem: Any, inputs: Array) -> Function:
        """θ ↦ mean KL(π ‖ π_θ) with the old policy held fixed."""
        old = np.asarray(self.table(problem, np.array(problem.theta), inputs))
        return lambda theta: anp.mean(
            anp.sum(np.exp(old) * (old - self.table(problem, theta, inputs)), axis=1)
        )

    # --- answers -------------------------------------------------------------------------------
    def policy_gradient(self, problem: Any) -> Array:
        return np.asarray(grad(self.policy_loss(problem))(np.array(problem.theta)))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        slope = grad(self.divergence(problem, self.fisher_inputs(problem)))
        return np.asarray(
            grad(lambda theta: anp.dot(slope(theta), np.array(vector)))(np.array(problem.theta))
        )

    def fisher(self, problem: Any) -> Array:
        eye = np.eye(problem.theta.size)
        return np.stack([self.fisher_vector_product(problem, e) for e in eye])

    def kl(self, problem: Any, theta: Array) -> float:
        return float(self.divergence(problem, self.inputs(problem))(np.array(theta)))

    def surrogate(self, problem: Any, theta: Array) -> float:
        b = problem.batch
        new = np.asarray(self.table(problem, np.array(theta), self.inputs(problem)))
        ratio = np.exp(new[np.arange(len(b.actions)), b.actions] - b.log_probs)
        return float(np.mean(ratio * self.targets(problem)))

    def solve(self, F: Array, g: Array) -> Array:
        return solve_spd(lambda v: F @ v, g)

    def natural_gradient(self, problem: Any) -> Array:
        return self.solve(self.fisher(problem), self.policy_gradient(problem))

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + step_size * self.natural_gradient(problem))

    def length(self, problem: Any, x: Array, max_kl: float) -> float:
        quadratic = float(x @ self.fisher(problem) @ x)
        return float(np.sqrt(2 * max_kl / quadratic)) if quadratic > 0 else 0.0

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        return np.asarray(problem.theta + self.length(problem, x, max_kl) * x)
