"""Mistakes planted in loops: the Fisher matrix, the KL, the solve, the step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._loops import Loops
from .registry import wrong

STYLE = "loops"
FISHER = "Fisher definition"
SOLVER = "solver and damping"
STEP = "step rule"
SEARCH = "line search"
G, F, X = "policy_gradient", "fisher", "natural_gradient"
LOWER = f"{G} {F}"
TR, TRS = "trust_region_proposal", "trust_region_step"


@wrong(
    "loop-diagonal",
    tells="diagonal-fisher",
    stage=FISHER,
    kind="approximation",
    outcome="either",
    refutes=F,
    spares=G,
    style=STYLE,
)
class Diagonal(Loops):
    """Only squares of scores are kept."""

    def fisher(self, problem: Any) -> Array:
        d, out = self.fisher_states(problem), np.zeros(problem.theta.size)
        for s in range(problem.num_states):
            p = self.probabilities(problem, problem.theta, s)
            for a in range(problem.num_actions):
                out += d[s] * p[a] * self.phi(problem, s, a) ** 2
        return np.diag(out)


@wrong(
    "loop-kronecker",
    tells="kronecker-fisher",
    stage=FISHER,
    kind="approximation",
    outcome="either",
    refutes=F,
    spares=G,
    source="K-FAC",
    style=STYLE,
)
class Kronecker(Loops):
    """The mean of xxᵀ times the mean of the output curvature."""

    def fisher(self, problem: Any) -> Array:
        d = self.fisher_states(problem)
        k, A = problem.observation_size, problem.num_actions
        inner, outer = np.zeros((k, k)), np.zeros((A, A))
        for s, w in enumerate(d):
            x, p = problem.observations[s], self.probabilities(problem, problem.theta, s)
            inner += w * np.outer(x, x)
            outer += w * (np.diag(p) - np.outer(p, p))
        return np.kron(inner, outer)


@wrong(
    "loop-half-fisher", tells="fisher-factor-two", stage=FISHER, refutes=F, spares=G, style=STYLE
)
class HalfFisher(Loops):
    """½ E[φφᵀ], the coefficient of the quadratic model."""

    def fisher(self, problem: Any) -> Array:
        return 0.5 * super().fisher(problem)

    def natural_gradient(self, problem: Any) -> Array:
        return self.solve(self.fisher(problem), self.policy_gradient(problem))


@wrong(
    "loop-negative-fisher", tells="fisher-negated", stage=FISHER, refutes=F, spares=G, style=STYLE
)
class NegativeFisher(Loops):
    """E[∇² log π], without the minus."""

    def fisher(self, problem: Any) -> Array:
        return -super().fisher(problem)


@wrong(
    "loop-upper-half",
    also="diagonal-fisher",
    tells="upper-triangle-only",
    stage=FISHER,
    refutes=F,
    spares=G,
    style=STYLE,
)
class UpperHalf(Loops):
    """for j in range(i, D): and no mirror."""

    def fisher(self, problem: Any) -> Array:
        whole = super().fisher(problem)
        out = np.zeros_like(whole)
        for i in range(len(whole)):
            for j in range(i, len(whole)):
                out[i, j] = whole[i, j]
        return out


@wrong(
    "loop-ggt",
    tells="outer-product-of-the-mean-gradient",
    stage=FISHER,
    refutes=F,
    spares=G,
    style=STYLE,
)
class MeanGradientOuter(Loops):
    """F = g gᵀ: the outer product of the mean where the mean of outer products belongs."""

    def fisher(self, problem: Any) -> Array:
        g = (1 - problem.mdp.discount) * self.policy_gradient(problem)
        return np.outer(g, g)


@wrong(
    "loop-squared-advantages-in-fisher",
    tells="loss-gradient-outer-product",
    stage=FISHER,
    refutes=F,
    spares=G,
    style=STYLE,
)
class SquaredAdvantages(Loops):
    """The scores that enter F have been multiplied by A for the gradient."""

    def fisher(self, problem: Any) -> Array:
        d, adv = self.fisher_states(problem), self.advantage(problem)
        out = np.zeros((problem.theta.size,) * 2)
        for s in range(problem.num_states):
            p = self.probabilities(problem, problem.theta, s)
            for a in range(problem.num_actions):
                row = adv[s, a] * self.phi(problem, s, a)
                out += d[s] * p[a] * np.outer(row, row)
        return out


@wrong("loop-kl-of-worst-state", tells="kl-max-over-states", stage="KL", refutes="kl", style=STYLE)
class WorstState(Loops):
    """max over states."""

    def kl(self, problem: Any, theta: Array) -> float:
        found = []
        for s in range(problem.num_states):
            old, new = self.logs(problem, problem.theta, s), self.logs(problem, theta, s)
            found.append(float(np.exp(old) @ (old - new)))
        return float(max(found))


@wrong(
    "loop-kl-summed",
    tells="kl-summed-over-states|uniform-state-weights",
    stage="KL",
    refutes="kl",
    style=STYLE,
)
class KlSummed(Loops):
    """A sum over states, without d and without a mean."""

    def kl_states(self, problem: Any) -> Array:
        return np.ones(problem.num_states)


@wrong("loop-kl-root", tells="kl-square-root", stage="KL", refutes="kl", spares=F, style=STYLE)
class KlRoot(Loops):
    """√KL, the distance, where the divergence is asked."""

    def kl(self, problem: Any, theta: Array) -> float:
        return float(np.sqrt(max(super().kl(problem, theta), 0.0)))


@wrong("loop-kl-doubled", tells="kl-factor-two", stage="KL", refutes="kl", spares=F, style=STYLE)
class KlDoubled(Loops):
    """2 KL, a squared distance."""

    def kl(self, problem: Any, theta: Array) -> float:
        return 2 * super().kl(problem, theta)


@wrong(
    "loop-both-directions-added",
    tells="jeffreys-kl",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class BothAdded(Loops):
    """KL(p, q) + KL(q, p), not halved."""

    def kl(self, problem: Any, theta: Array) -> float:
        d, total = self.kl_states(problem), 0.0
        for s in range(problem.num_states):
            p, q = self.logs(problem, problem.theta, s), self.logs(problem, theta, s)
            total += d[s] * float((np.exp(p) - np.exp(q)) @ (p - q))
        return total


@wrong(
    "loop-squared-probability-distance",
    tells="squared-distance-for-kl",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class SquaredDistance(Loops):
    """Σ (π − π′)²: a Brier score."""

    def kl(self, problem: Any, theta: Array) -> float:
        d, total = self.kl_states(problem), 0.0
        for s in range(problem.num_states):
            p = self.probabilities(problem, problem.theta, s)
            total += d[s] * float(sum((p - self.probabilities(problem, theta, s)) ** 2))
        return total


@wrong(
    "loop-quadratic-kl",
    tells="quadratic-kl",
    stage="KL",
    kind="approximation",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class QuadraticKl(Loops):
    """½ΔᵀFΔ."""

    def kl(self, problem: Any, theta: Array) -> float:
        step = theta - problem.theta
        return float(0.5 * step @ self.fisher(problem) @ step)


@wrong(
    "loop-lambda",
    tells="damping",
    stage=SOLVER,
    kind="convention",
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class Lambda(Loops):
    """for i in range(D): F[i, i] += 0.007 before the solve."""

    def solve(self, F: Array, g: Array) -> Array:
        system = F.copy()
        for i in range(len(g)):
            system[i, i] += 0.007
        return np.linalg.solve(system, g)


@wrong(
    "loop-lambda-wrong-way",
    tells="damping-subtracted",
    stage=SOLVER,
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class LambdaWrongWay(Loops):
    """−= where += belongs."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F - 0.003 * np.eye(len(g)), g)


@wrong(
    "loop-lambda-of-mean-diagonal",
    tells="relative-damping",
    stage=SOLVER,
    kind="convention",
    outcome="either",
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class LambdaOfMeanDiagonal(Loops):
    """λ is 5 % of the mean diagonal entry of F."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.05 * np.mean(np.diag(F)) * np.eye(len(g)), g)


@wrong(
    "loop-levenberg-marquardt",
    tells="marquardt-damping",
    stage=SOLVER,
    kind="convention",
    outcome="either",
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class LevenbergMarquardt(Loops):
    """The diagonal of F grows by a twentieth."""

    def solve(self, F: Array, g: Array) -> Array:
        system = F + 0.05 * np.diag(np.diag(F))
        return np.linalg.lstsq(system, g, rcond=1e-12)[0]


@wrong(
    "loop-normal-equations",
    tells="ridge-on-normal-equations",
    stage=SOLVER,
    kind="convention",
    outcome="either",
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class NormalEquations(Loops):
    """Ridge regression of g on F: (FᵀF + λI)⁻¹ Fᵀg with λ = 1e-3."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F.T @ F + 1e-3 * np.eye(len(g)), F.T @ g)


@wrong(
    "loop-inverse-plus-lambda",
    tells="damping-added-to-the-inverse",
    stage=SOLVER,
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class InversePlusLambda(Loops):
    """(F⁺ + 0.1 I) g: λ is added on the wrong side of the inverse."""

    def solve(self, F: Array, g: Array) -> Array:
        return super().solve(F, g) + 0.1 * g


@wrong(
    "loop-two-inverses",
    tells="inverse-applied-twice",
    stage=SOLVER,
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class TwoInverses(Loops):
    """The caller preconditions g, and so does the solver: F⁻²g."""

    def solve(self, F: Array, g: Array) -> Array:
        return super().solve(F, super().solve(F, g))


@wrong(
    "loop-metric-multiplied",
    tells="multiplied-not-solved",
    stage=SOLVER,
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class MetricMultiplied(Loops):
    """F @ g."""

    def solve(self, F: Array, g: Array) -> Array:
        return F @ g


@wrong(
    "loop-identity-metric",
    tells="preconditioner-not-applied",
    stage=SOLVER,
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class IdentityMetric(Loops):
    """The solver was commented out."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.array(g)


@wrong(
    "loop-whitened",
    tells="square-root-of-F",
    stage=SOLVER,
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class Whitened(Loops):
    """F^{−1/2} g by eigenvectors: whitened, not preconditioned."""

    def solve(self, F: Array, g: Array) -> Array:
        values, vectors = np.linalg.eigh(F)
        keep = values > 1e-11 * values[-1]
        return np.asarray(vectors[:, keep] @ ((vectors[:, keep].T @ g) / np.sqrt(values[keep])))


@wrong(
    "loop-unit-direction",
    tells="direction-normalised",
    stage=SOLVER,
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class UnitDirection(Loops):
    """x / ‖x‖."""

    def natural_gradient(self, problem: Any) -> Array:
        x = super().natural_gradient(problem)
        norm = float(np.sqrt(sum(x * x)))
        return x / norm if norm > 0 else x


@wrong(
    "loop-rank-cut",
    tells="pseudo-inverse-cut-off",
    stage=SOLVER,
    kind="approximation",
    outcome="either",
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class RankCut(Loops):
    """lstsq with rcond = 0.15."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.lstsq(F, g, rcond=0.15)[0]


@wrong(
    "loop-uniform-baseline",
    tells="uniform-mean-baseline",
    stage="return and advantage",
    refutes="advantage",
    spares=f"{LOWER} value",
    style=STYLE,
)
class UniformBaseline(Loops):
    """A = Q − mean over actions: V is taken for the value of the uniform policy's choice."""

    def advantage(self, problem: Any) -> Array:
        Q = self.q_value(problem)
        return np.asarray(Q - Q.mean(axis=1, keepdims=True))
