"""Right subjects that step, search, declare and answer in their own ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from .registry import right

STEPS = "trust_region_proposal trust_region_step"


@right("line-search-with-expected-improvement", asks=STEPS)
class ExpectedImprovement(ExactSoftmax):
    """Backtracking by 0.7 that asks for a tenth of the improvement that g promises."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        promised = float(self.policy_gradient(problem) @ full)
        start = self.surrogate(problem, problem.theta)
        for k in range(25):
            fraction = 0.7**k
            theta = problem.theta + fraction * full
            gained = self.surrogate(problem, theta) - start
            if self.kl(problem, theta) < max_kl and gained > 0.1 * fraction * promised:
                return np.asarray(theta)
        return np.array(problem.theta)


@right("strict-line-search-of-ten", asks=STEPS)
class TenCandidates(ExactSoftmax):
    """Ten candidates, strict inequalities, θ itself when none will do."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        theta_new = self.trust_region_proposal(problem, max_kl)
        old = self.surrogate(problem, problem.theta)
        for fraction in 0.8 ** np.arange(10):
            theta = (1 - fraction) * problem.theta + fraction * theta_new
            if self.surrogate(problem, theta) > old and self.kl(problem, theta) < max_kl:
                return np.asarray(theta)
        return problem.theta.copy()


@right(
    "declared-truncated-cg",
    asks="fisher policy_gradient natural_gradient update trust_region_proposal",
)
class DeclaredTruncation(ExactSoftmax):
    """Six iterations on F + 0.1 I with the damped length, all of it declared."""

    @property
    def conventions(self) -> Any:
        from npgcheck.conventions import Conventions

        return Conventions(damping=0.1, damping_in="solve", cg_iterations=6, step_length="damped")

    def solve(self, F: Array, g: Array) -> Array:
        M, x, r = F + 0.1 * np.eye(len(g)), np.zeros_like(g), g.copy()
        p, rr = r.copy(), float(r @ r)
        for _ in range(6):
            if rr <= 1e-30 * float(g @ g):
                break
            z = M @ p
            alpha = rr / float(p @ z)
            x, r = x + alpha * p, r - alpha * z
            rr, old = float(r @ r), rr
            p = r + rr / old * p
        return x

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        curvature = float(x @ self.fisher_vector_product(problem, x) + 0.1 * x @ x)
        return float(np.sqrt(2 * max_kl / curvature)) if curvature > 0 else 0.0


@right("odd-containers")
class OddContainers:
    """Right answers as long doubles, Fortran order, negative strides, tuples and generators."""

    families = frozenset({"tabular", "softmax"})

    def value(self, problem: Any) -> tuple[float, ...]:
        return tuple(float(v) for v in ExactSoftmax().value(problem))

    def policy_gradient(self, problem: Any) -> Array:
        return ExactSoftmax().policy_gradient(problem).astype(np.longdouble)

    def fisher(self, problem: Any) -> Array:
        return np.asfortranarray(ExactSoftmax().fisher(problem))

    def natural_gradient(self, problem: Any) -> Array:
        return np.ascontiguousarray(ExactSoftmax().natural_gradient(problem)[::-1])[::-1]

    def objective(self, problem: Any) -> Array:
        return np.array([ExactSoftmax().objective(problem)])

    def train(self, problem: Any, iterations: int, step_size: float) -> Any:
        steps = ExactSoftmax().train(problem, iterations, step_size)
        return ([float(v) for v in theta] for theta in steps)
