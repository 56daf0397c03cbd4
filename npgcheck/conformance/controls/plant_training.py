"""Mistakes of the solve and of the step that a training run shows, in a program of its own.

The policy's score is never formed: g and products with F are sums over states of what one state
does to its row of logits, and training is a generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._exact import Array
from .registry import right, wrong

STYLE = "states as blocks"
SOLVER, STEP = "solver and damping", "step rule"
X = "natural_gradient"
LOWER = "policy_gradient fisher_vector_product"


@right("blocks-of-states", style=STYLE)
class Blocks:
    """g = vec Xᵀ(d ∘ π ∘ A)/(1−γ), Fv by the Jacobian of each row; training yields θ."""

    families = frozenset({"tabular", "softmax"})

    def rows(self, problem: Any) -> tuple[Array, Array, Array]:
        z = problem.observations @ problem.theta.reshape(-1, problem.num_actions)
        odds = np.exp(z - z.max(axis=1, keepdims=True))
        pi = odds / odds.sum(axis=1, keepdims=True)
        m = problem.mdp
        system = np.eye(problem.num_states) - m.discount * (pi[:, :, None] * m.transitions).sum(1)
        v = np.linalg.solve(system, (pi * m.rewards).sum(axis=1))
        d = (1.0 - m.discount) * np.linalg.solve(system.T, m.initial_distribution)
        return pi, d, m.rewards + m.discount * (m.transitions @ v) - v[:, None]

    def policy_gradient(self, problem: Any) -> Array:
        pi, d, advantage = self.rows(problem)
        block = d[:, None] * pi * advantage / (1.0 - problem.mdp.discount)
        return np.asarray(problem.observations.T @ block).ravel()

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        pi, d, _ = self.rows(problem)
        row = problem.observations @ np.reshape(vector, (-1, problem.num_actions))
        row = d[:, None] * pi * (row - (pi * row).sum(axis=1, keepdims=True))
        return np.asarray(problem.observations.T @ row).ravel()

    def matrix(self, problem: Any) -> Array:
        unit = np.eye(problem.theta.size)
        return np.array([self.fisher_vector_product(problem, e) for e in unit])

    def solve(self, problem: Any, g: Array) -> Array:
        return np.linalg.pinv(self.matrix(problem), rcond=1e-11, hermitian=True) @ g

    def natural_gradient(self, problem: Any) -> Array:
        return self.solve(problem, self.policy_gradient(problem))

    def moved(self, theta: Array, x: Array, step: float) -> Array:
        return theta + step * x

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        while iterations > 0:
            theta = self.moved(problem.theta, self.natural_gradient(problem), step_size)
            yield theta
            problem, iterations = problem.at(theta), iterations - 1


@wrong(
    "blocks-mixed-with-identity",
    tells="shrinkage",
    stage=SOLVER,
    kind="convention",
    outcome="either",
    refutes=f"{X} train",
    spares=LOWER,
    style=STYLE,
)
class Mixed(Blocks):
    """F ← F + 0.05 (I − F), as a covariance is shrunk."""

    def solve(self, problem: Any, g: Array) -> Array:
        F = self.matrix(problem)
        return np.linalg.solve(F + 0.05 * (np.eye(len(g)) - F), g)

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        return self.moved(problem.theta, x, (2 * max_kl / (x @ self.matrix(problem) @ x)) ** 0.5)


@wrong(
    "blocks-damped-by-the-trace",
    tells="relative-damping",
    stage=SOLVER,
    kind="convention",
    outcome="either",
    refutes=f"{X} train",
    spares=LOWER,
    style=STYLE,
)
class Trace(Blocks):
    """λ is 3 % of the trace."""

    def solve(self, problem: Any, g: Array) -> Array:
        F = self.matrix(problem)
        np.fill_diagonal(F, F.diagonal() + 0.03 * F.trace())
        return np.linalg.solve(F, g)


@wrong(
    "blocks-diagonal-lifted",
    tells="marquardt-damping",
    stage=SOLVER,
    kind="convention",
    outcome="either",
    refutes=f"{X} train",
    spares=LOWER,
    style=STYLE,
)
class Lifted(Blocks):
    """F.diagonal() times 1.2."""

    def solve(self, problem: Any, g: Array) -> Array:
        F = self.matrix(problem)
        F[np.diag_indices_from(F)] *= 1.2
        return np.linalg.solve(F, g)


@wrong("blocks-solve", tells="no-damping", stage=SOLVER, refutes=X, spares=LOWER, style=STYLE)
class Plain(Blocks):
    """np.linalg.solve(F, g), although F is singular by gauge."""

    def solve(self, problem: Any, g: Array) -> Array:
        return np.linalg.solve(self.matrix(problem), g)


class Iterative(Blocks):
    """Conjugate gradient on products, with its rules as methods."""

    most = 10

    def stops(self, square: float, first: float) -> bool:
        return square <= 1e-20 * first

    def length(self, square: float, curvature: float) -> float:
        return square / curvature

    def conjugate_gradient(self, matvec: Any, b: Array, iterations: int) -> Array:
        x, r, p = 0.0 * b, np.array(b), np.array(b)
        square = first = float(r @ r)
        while iterations > 0 and square > 0.0 and not self.stops(square, first):
            q = matvec(p)
            a = self.length(square, float(p @ q))
            x, r, iterations = x + a * p, r - a * q, iterations - 1
            before, square = square, float(r @ r)
            p = r + square / before * p
        return x

    def solve(self, problem: Any, g: Array) -> Array:
        def product(v: Array) -> Array:
            return self.fisher_vector_product(problem, v)

        return self.conjugate_gradient(product, g, self.most)


@wrong(
    "blocks-ten-iterations",
    tells="truncated-cg",
    also="cg-stopped-at-a-tolerance",
    stage=SOLVER,
    kind="approximation",
    refutes=X,
    spares=f"{LOWER} conjugate_gradient",
    style=STYLE,
)
class Ten(Iterative):
    """At most ten iterations, or until ‖r‖ ≤ 1e-10 ‖g‖."""


@wrong(
    "blocks-absolute-residual",
    tells="absolute-tolerance",
    also="cg-stopped-at-a-tolerance limited-accuracy",
    stage=SOLVER,
    kind="approximation",
    outcome="either",
    refutes=X,
    spares=LOWER,
    style=STYLE,
)
class Absolute(Iterative):
    """Stops at ‖r‖ < 1e-4, after a hundred iterations at most."""

    most = 100

    def stops(self, square: float, first: float) -> bool:
        return bool(np.sqrt(square) < 1e-4)


@wrong(
    "blocks-denominator",
    tells="CG-denominator-eps",
    stage=SOLVER,
    kind="approximation",
    outcome="either",
    refutes="conjugate_gradient",
    spares=LOWER,
    style=STYLE,
)
class Denominator(Iterative):
    """pᵀFp + 4e-5 under the fraction."""

    def length(self, square: float, curvature: float) -> float:
        return square / (curvature + 4e-5)


@wrong(
    "blocks-step-forgotten",
    tells="step-size-ignored",
    stage=STEP,
    refutes="train",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class Forgotten(Blocks):
    """theta += x."""

    def moved(self, theta: Array, x: Array, step: float) -> Array:
        return theta + x


@wrong(
    "blocks-step-written-in",
    tells="step-size-fixed",
    stage=STEP,
    refutes="train",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class WrittenIn(Blocks):
    """A learning rate of 0.01 as a constant."""

    rate = 0.01

    def moved(self, theta: Array, x: Array, step: float) -> Array:
        return theta + self.rate * x


@wrong(
    "blocks-step-of-a-quarter",
    tells="step-size-fixed",
    stage=STEP,
    refutes="train",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class Quarter(WrittenIn):
    """One of the step sizes that are asked for, as a constant."""

    rate = 0.25


@wrong(
    "blocks-step-squared",
    tells="step-size-squared",
    stage=STEP,
    refutes="train",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class SquaredStep(Blocks):
    """x was multiplied by the step already."""

    def moved(self, theta: Array, x: Array, step: float) -> Array:
        x = x * step
        return theta + step * x


@wrong(
    "blocks-step-divides",
    tells="step-size-divided",
    stage=STEP,
    refutes="train",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class Divides(Blocks):
    """x / step."""

    def moved(self, theta: Array, x: Array, step: float) -> Array:
        return theta + x / step


@wrong(
    "blocks-step-halved",
    tells="update-factor-two",
    stage=STEP,
    refutes="train",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class Halved(Blocks):
    """½ step x, as if a square had been differentiated."""

    def moved(self, theta: Array, x: Array, step: float) -> Array:
        return theta + 0.5 * step * x


@wrong(
    "blocks-weight-decay",
    tells="update-decays-theta",
    stage=STEP,
    refutes="train",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class Decay(Blocks):
    """θ loses 2 % of itself per unit of the step."""

    def moved(self, theta: Array, x: Array, step: float) -> Array:
        return theta + step * (x - 0.02 * theta)


class Searching(Blocks):
    """A step of a length of its own, halved until KL and the surrogate allow it."""

    def full(self, x: Array, curvature: float, max_kl: float) -> Array:
        return np.sqrt(2.0 * max_kl / curvature) * x

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        curvature = float(x @ self.fisher_vector_product(problem, x))
        if curvature <= 0.0:
            return np.asarray(problem.theta)
        before, d, advantage = self.rows(problem)
        step = self.full(x, curvature, max_kl)
        for _ in range(30):
            after = self.rows(problem.at(problem.theta + step))[0]
            divergence = float(d @ (before * np.log(before / after)).sum(axis=1))
            if divergence <= max_kl and float(d @ (after * advantage).sum(axis=1)) > 0.0:
                return np.asarray(problem.theta + step)
            step = 0.5 * step
        return np.asarray(problem.theta)


@wrong(
    "blocks-search-from-a-shorter-step",
    tells="factor-two",
    stage=STEP,
    refutes="trust_region_step",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class Shorter(Searching):
    """√(δ / xᵀFx): the 2 of ½ΔᵀFΔ is lost, and no proposal is there to show it."""

    def full(self, x: Array, curvature: float, max_kl: float) -> Array:
        return np.sqrt(max_kl / curvature) * x


@wrong(
    "blocks-search-without-a-root",
    tells="missing-square-root",
    stage=STEP,
    refutes="trust_region_step",
    spares=f"{LOWER} {X}",
    style=STYLE,
)
class Rootless(Searching):
    """2δ / xᵀFx."""

    def full(self, x: Array, curvature: float, max_kl: float) -> Array:
        return 2.0 * max_kl / curvature * x


@wrong(
    "blocks-iterate-takes-p",
    tells="cg-step-is-one",
    stage=SOLVER,
    refutes="conjugate_gradient",
    style=STYLE,
)
class TakesP:
    """x ← x + p, while the residual loses αMp as it should."""

    families = frozenset({"tabular", "softmax"})

    def conjugate_gradient(self, matvec: Any, b: Array, iterations: int) -> Array:
        x, r, p = 0.0 * b, np.array(b), np.array(b)
        for _ in range(iterations):
            square = float(r @ r)
            if square <= 1e-24 * float(b @ b):
                break
            image = matvec(p)
            x = x + p
            r = r - square / float(p @ image) * image
            p = r + float(r @ r) / square * p
        return x


@wrong(
    "blocks-image-of-the-first-direction",
    tells="cg-stale-curvature",
    stage=SOLVER,
    refutes="conjugate_gradient",
    style=STYLE,
)
class FirstImage:
    """M p is computed before the loop, which ends where pᵀMp is not positive."""

    families = frozenset({"tabular", "softmax"})

    def conjugate_gradient(self, matvec: Any, b: Array, iterations: int) -> Array:
        x, r, p = 0.0 * b, np.array(b), np.array(b)
        image, square = matvec(p), float(b @ b)
        while iterations > 0 and square > 0.0 and float(p @ image) > 0.0:
            a = square / float(p @ image)
            x, r, iterations = x + a * p, r - a * image, iterations - 1
            before, square = square, float(r @ r)
            p = r + square / before * p
        return x
