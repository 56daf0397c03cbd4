"""Planted mistakes of the solve: damping, truncation, cut-offs, preconditioners."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from .registry import wrong

STAGE = "solver and damping"
X = "natural_gradient"
LOWER = "fisher policy_gradient fisher_vector_product"


def _conjugate_gradient(
    F: Array, g: Array, iterations: int, epsilon: float = 0.0, stop: float = 0.0
) -> Array:
    """Textbook conjugate gradient with the two usual knobs."""
    x, r = np.zeros_like(g), g.copy()
    p, rr = r.copy(), float(r @ r)
    for _ in range(iterations):
        if rr <= max(stop, 1e-28 * float(g @ g)):
            break
        z = F @ p
        alpha = rr / (float(p @ z) + epsilon)
        x = x + alpha * p
        r = r - alpha * z
        rr, old = float(r @ r), rr
        p = r + rr / old * p
    return x


@wrong(
    "damping-0.1",
    tells="damping",
    stage=STAGE,
    kind="convention",
    refutes=X,
    spares=LOWER,
    source="Spinning Up, sb3, tianshou",
)
class Damping(ExactSoftmax):
    """λ = 0.1 in the solve, not declared."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.1 * np.eye(len(g)), g)


@wrong("damping-1e-3", tells="damping", stage=STAGE, kind="convention", refutes=X, spares=LOWER)
class SmallDamping(ExactSoftmax):
    """λ = 1e-3 in the solve, not declared."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 1e-3 * np.eye(len(g)), g)


@wrong(
    "damping-1e-5",
    tells="damping",
    stage=STAGE,
    kind="convention",
    refutes=X,
    spares=LOWER,
    source="rllab",
)
class TinyDamping(ExactSoftmax):
    """λ = 1e-5 in the solve, not declared."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 1e-5 * np.eye(len(g)), g)


@wrong(
    "damped-product",
    tells="damping",
    also="damped-length",  # where steps are measured by the same product
    stage=STAGE,
    kind="convention",
    refutes="fisher_vector_product natural_gradient",
    spares="fisher policy_gradient",
)
class DampedProduct(ExactSoftmax):
    """λ = 0.1 inside the product, which the solve inherits."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return super().fisher_vector_product(problem, vector) + 0.1 * vector

    def natural_gradient(self, problem: Any) -> Array:
        F = self.fisher(problem) + 0.1 * np.eye(problem.theta.size)
        return np.linalg.solve(F, self.policy_gradient(problem))


@wrong("declared-damping-not-kept", tells="damping", stage=STAGE, refutes=X, spares=LOWER)
class DeclaredDampingNotKept(ExactSoftmax):
    """Declares λ = 0.1 and solves with 0.01."""

    @property
    def conventions(self) -> Any:
        from npgcheck.conventions import Conventions

        return Conventions(damping=0.1)

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.01 * np.eye(len(g)), g)


@wrong(
    "two-dampings",
    tells="two-dampings|damping",
    stage=STAGE,
    refutes="trust_region_proposal",
    spares=f"{LOWER} natural_gradient",
)
class TwoDampings(ExactSoftmax):
    """λ = 0.1 for the direction that is reported, 0.01 for the one that is taken."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.1 * np.eye(len(g)), g)

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        F, g = self.fisher(problem), self.policy_gradient(problem)
        x = np.linalg.solve(F + 0.01 * np.eye(len(g)), g)
        return np.asarray(problem.theta + self.step_scale(problem, x, max_kl) * x)


@wrong(
    "marquardt-damping",
    tells="marquardt-damping",
    stage=STAGE,
    kind="convention",
    outcome="either",
    refutes=X,
    spares=LOWER,
)
class MarquardtDamping(ExactSoftmax):
    """F + 0.1·diag(F): damping that scales with the diagonal."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.lstsq(F + 0.1 * np.diag(np.diag(F)), g, rcond=1e-12)[0]


@wrong(
    "three-cg-iterations",
    tells="truncated-cg",
    stage=STAGE,
    kind="approximation",
    refutes=X,
    spares=LOWER,
)
class ThreeIterations(ExactSoftmax):
    """Conjugate gradient stopped after three iterations."""

    def solve(self, F: Array, g: Array) -> Array:
        return _conjugate_gradient(F, g, 3)


@wrong(
    "ten-cg-iterations",
    tells="truncated-cg",
    stage=STAGE,
    kind="approximation",
    refutes=X,
    spares=LOWER,
    source="the default of nearly every TRPO",
)
class TenIterations(ExactSoftmax):
    """Conjugate gradient stopped after ten iterations: seen where the rank of F is above ten."""

    def solve(self, F: Array, g: Array) -> Array:
        return _conjugate_gradient(F, g, 10)


@wrong(
    "ten-cg-iterations-damped",
    tells="truncated-cg + damping",
    stage=STAGE,
    kind="approximation",
    refutes=X,
    spares=LOWER,
    source="Spinning Up",
)
class TenIterationsDamped(ExactSoftmax):
    """Ten iterations on F + 0.1 I."""

    def solve(self, F: Array, g: Array) -> Array:
        return _conjugate_gradient(F + 0.1 * np.eye(len(g)), g, 10)


@wrong(
    "cg-denominator-epsilon",
    tells="CG-denominator-eps",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=X,
    spares=LOWER,
)
class DenominatorEpsilon(ExactSoftmax):
    """α = rᵀr/(pᵀFp + 1e-4): biased where the gradient is small."""

    def solve(self, F: Array, g: Array) -> Array:
        return _conjugate_gradient(F, g, 40, epsilon=1e-4)


@wrong(
    "cg-absolute-tolerance",
    tells="absolute-tolerance|cg-stopped-at-a-tolerance",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=X,
    spares=LOWER,
)
class AbsoluteTolerance(ExactSoftmax):
    """Stops at ‖r‖² < 1e-2, whatever the size of g: x is zero near a stationary point."""

    def solve(self, F: Array, g: Array) -> Array:
        return _conjugate_gradient(F, g, 60, stop=1e-2)


@wrong(
    "cg-runs-past-convergence",
    also="limited-accuracy limited-range",
    stage=STAGE,
    outcome="either",
    refutes=X,
    spares=LOWER,
)
class RunsPastConvergence(ExactSoftmax):
    """Forty iterations without a stopping test: on a singular F rounding noise takes over."""

    def solve(self, F: Array, g: Array) -> Array:
        x, r = np.zeros_like(g), g.copy()
        p = r.copy()
        for _ in range(40):
            z = F @ p
            alpha = (r @ r) / (p @ z)
            x = x + alpha * p
            fresh = r - alpha * z
            p = fresh + (fresh @ fresh) / (r @ r) * p
            r = fresh
        return x


@wrong("undamped-solve-of-singular-F", tells="no-damping", stage=STAGE, refutes=X, spares=LOWER)
class SingularSolve(ExactSoftmax):
    """np.linalg.solve on a singular matrix: an error, or digits of noise along null(F)."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F, g)


@wrong(
    "cut-off-too-large",
    tells="pseudo-inverse-cut-off",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=X,
    spares=LOWER,
)
class CutOffTooLarge(ExactSoftmax):
    """A pseudo-inverse that drops every eigenvalue below a fifth of the largest."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.pinv(F, rcond=0.2, hermitian=True) @ g


@wrong(
    "diagonal-preconditioner-only",
    tells="diagonal-fisher",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=X,
    spares=LOWER,
)
class DiagonalOnly(ExactSoftmax):
    """x = g/diag(F)."""

    def solve(self, F: Array, g: Array) -> Array:
        diagonal = np.diag(F)
        return np.asarray(np.where(diagonal > 1e-14, g / np.maximum(diagonal, 1e-14), 0.0))


@wrong(
    "preconditioner-not-applied",
    tells="preconditioner-not-applied",
    stage=STAGE,
    refutes=X,
    spares=LOWER,
    source="EKFAC-pytorch#1",
)
class NotApplied(ExactSoftmax):
    """x = g: the natural gradient is the gradient."""

    def solve(self, F: Array, g: Array) -> Array:
        return g


@wrong("multiplied-not-solved", tells="multiplied-not-solved", stage=STAGE, refutes=X, whole=True)
class Multiplied:
    """x = F g where F⁻¹ g belongs."""

    def natural_gradient(self, problem: Any) -> Array:
        m, A = problem.mdp, problem.num_actions
        z = problem.observations @ problem.theta.reshape(-1, A)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        N = np.linalg.solve(
            np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions),
            np.eye(len(pi)),
        )
        V = N @ (pi * m.rewards).sum(axis=1)
        mu = m.initial_distribution @ N
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        g = problem.observations.T @ (mu[:, None] * pi * adv)
        u = problem.observations @ g
        Fg = mu[:, None] * pi * (u - (pi * u).sum(axis=1, keepdims=True))
        return np.asarray((1 - m.discount) * (problem.observations.T @ Fg).ravel())


@wrong("square-root-of-F", tells="square-root-of-F", stage=STAGE, refutes=X, whole=True)
class SquareRoot:
    """x = F^{−1/2} g, as an Adam-like preconditioner would have it; tabular, by closed form."""

    families = frozenset({"tabular"})

    def natural_gradient(self, problem: Any) -> Array:
        m = problem.mdp
        z = problem.theta.reshape(m.rewards.shape)
        pi = np.exp(z - z.max(axis=1, keepdims=True))
        pi /= pi.sum(axis=1, keepdims=True)
        S = len(pi)
        M = np.eye(S) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        mu = np.linalg.solve(M.T, m.initial_distribution)
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        out = []
        for s in range(S):
            block = (1 - m.discount) * mu[s] * (np.diag(pi[s]) - np.outer(pi[s], pi[s]))
            values, vectors = np.linalg.eigh(block)
            scale = np.where(values > 1e-12, 1 / np.sqrt(np.maximum(values, 1e-12)), 0.0)
            out.append(vectors @ (scale * (vectors.T @ (mu[s] * pi[s] * adv[s]))))
        return np.concatenate(out)


@wrong(
    "direction-normalised",
    tells="direction-normalised",
    stage=STAGE,
    refutes=X,
    spares="fisher policy_gradient",
)
class Normalised(ExactSoftmax):
    """x is returned with unit length."""

    def natural_gradient(self, problem: Any) -> Array:
        x = super().natural_gradient(problem)
        return np.asarray(x / (np.linalg.norm(x) + 1e-12))


@wrong(
    "unweighted-least-squares",
    tells="uniform-state-weights + action-weights-missing",
    stage=STAGE,
    refutes=X,
    whole=True,
)
class UnweightedLeastSquares:
    """Compatible features fitted over all state-action pairs alike, without d or π."""

    families = frozenset({"softmax"})

    def natural_gradient(self, problem: Any) -> Array:
        m, A = problem.mdp, problem.num_actions
        z = problem.observations @ problem.theta.reshape(-1, A)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        rows = [
            np.kron(x, np.eye(A)[a] - p)
            for x, p in zip(problem.observations, pi, strict=True)
            for a in range(A)
        ]
        fit = np.linalg.lstsq(np.array(rows), adv.ravel(), rcond=1e-10)[0]
        return np.asarray(fit / (1 - m.discount))


@wrong(
    "ridge-regression-on-the-critic",
    tells="damping",
    also="weights-differ-between-F-and-g",  # it weighs by d, whatever the others do
    stage=STAGE,
    kind="convention",
    outcome="either",
    refutes=X,
    spares="fisher policy_gradient",
)
class RidgeRegression(ExactSoftmax):
    """The compatible critic by ridge regression over S·A rows: λ hidden in a regulariser."""

    def natural_gradient(self, problem: Any) -> Array:
        joint = self.state_distribution(problem)[:, None] * self.pi(problem)
        root = np.sqrt(joint).ravel()
        psi = root[:, None] * self.scores(problem).reshape(root.size, -1)
        gram = psi.T @ psi + 0.02 * np.eye(psi.shape[1])
        w = np.linalg.solve(gram, psi.T @ (root * self.advantage(problem).ravel()))
        return np.asarray(w / (1 - problem.mdp.discount))


@wrong("damping-subtracted", tells="damping-subtracted", stage=STAGE, refutes=X, spares=LOWER)
class DampingSubtracted(ExactSoftmax):
    """F − 0.01 I: the sign of λ is lost, and the metric is not positive any more."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F - 0.01 * np.eye(len(g)), g)


@wrong(
    "damping-relative-to-trace",
    tells="relative-damping",
    stage=STAGE,
    outcome="either",
    refutes=X,
    spares=LOWER,
)
class DampingRelative(ExactSoftmax):
    """λ = 0.1·tr(F)/D: another constant on every problem."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.1 * np.trace(F) / len(g) * np.eye(len(g)), g)


@wrong("declared-iterations-not-kept", tells="truncated-cg", stage=STAGE, refutes=X, spares=LOWER)
class DeclaredIterationsNotKept(ExactSoftmax):
    """Declares ten iterations of conjugate gradient and runs three."""

    @property
    def conventions(self) -> Any:
        from npgcheck.conventions import Conventions

        return Conventions(cg_iterations=10)

    def solve(self, F: Array, g: Array) -> Array:
        return _conjugate_gradient(F, g, 3)
