"""Mistakes in a solver that is handed over beside the natural gradient that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from .registry import right, wrong

STYLE = "generator of iterates"
STAGE = "solver and damping"
CG = "conjugate_gradient"
SOLVES = f"natural_gradient update trust_region_proposal {CG}"
Product = Callable[[Array], Array]


@right("own-solver", asks=f"{SOLVES} fisher policy_gradient", style=STYLE, also="limited-range",
       may_deviate="natural_gradient update trust_region_proposal")  # fmt: skip
class OwnSolver(ExactSoftmax):
    """The iterates of conjugate gradient one after the other, of which a solve takes the last."""

    rounds = 60
    #: The square of the part of ‖b‖ at which it stops.
    enough = 1e-25

    def first(self, b: Array) -> Array:
        return np.zeros(b.size)

    def mix(self, fresh: float, stale: float) -> float:
        return fresh / stale

    def quotient(self, square: float, curvature: float) -> float:
        return square / curvature

    def iterates(self, matvec: Product, b: Array) -> Iterator[tuple[Array, Array]]:
        here = self.first(b)
        misfit = b - matvec(here) if np.any(here) else b.copy()
        towards, start = misfit.copy(), misfit @ misfit
        yield here, misfit
        while misfit @ misfit > self.enough * start:
            image = matvec(towards)
            length = self.quotient(float(misfit @ misfit), float(towards @ image))
            here, old = here + length * towards, misfit @ misfit
            misfit = misfit - length * image
            towards = misfit + self.mix(misfit @ misfit, old) * towards
            yield here, misfit

    def take(self, here: Array, misfit: Array) -> Array:
        return here

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        *_, last = islice(self.iterates(matvec, b), iterations + 1)
        return np.array(self.take(*last))

    def natural_gradient(self, problem: Any) -> Array:
        return self.conjugate_gradient(
            lambda v: self.fisher_vector_product(problem, v),
            self.policy_gradient(problem),
            self.rounds,
        )


@wrong("own-solver-sums-residuals", tells="cg-beta-is-one", stage=STAGE, refutes=SOLVES,
       spares="fisher policy_gradient", style=STYLE)  # fmt: skip
class SumsResiduals(OwnSolver):
    """β = 1, in twelve iterations."""

    rounds = 12

    def mix(self, fresh: float, stale: float) -> float:
        return 1.0


@wrong("own-solver-forgets-beta", tells="cg-is-steepest-descent", stage=STAGE, refutes=SOLVES,
       spares="fisher policy_gradient", style=STYLE)  # fmt: skip
class ForgetsBeta(OwnSolver):
    """β = 0, in eight iterations."""

    rounds = 8

    def mix(self, fresh: float, stale: float) -> float:
        return 0.0


@wrong("own-solver-hands-back-what-is-left", tells="cg-returns-the-residual", stage=STAGE,
       refutes=SOLVES, spares="fisher policy_gradient", style=STYLE)  # fmt: skip
class HandsBackWhatIsLeft(OwnSolver):
    """The misfit is returned in place of the solution; small problems have none."""

    rounds = 7

    def take(self, here: Array, misfit: Array) -> Array:
        return misfit


@wrong("own-solver-minus", tells="cg-negated", stage=STAGE, refutes=SOLVES,
       spares="fisher policy_gradient", style=STYLE)  # fmt: skip
class Minus(OwnSolver):
    """The solution of Mx = −b, in ten iterations."""

    rounds = 10

    def take(self, here: Array, misfit: Array) -> Array:
        return -here


@wrong("own-solver-images-kept", tells="cg-stale-curvature", stage=STAGE, refutes=SOLVES,
       spares="fisher policy_gradient", style=STYLE)  # fmt: skip
class ImagesKept(OwnSolver):
    """M p of the first direction in every one of nine iterations: the answers diverge."""

    rounds = 9

    def iterates(self, matvec: Product, b: Array) -> Iterator[tuple[Array, Array]]:
        kept = matvec(b)
        yield from super().iterates(lambda v: kept, b)


@wrong("own-solver-one-image", tells="cg-stale-curvature", stage=STAGE, refutes=CG, style=STYLE)
class OneImage(OwnSolver):
    """M p and pᵀMp of the first direction, both found before the loop."""

    def iterates(self, matvec: Product, b: Array) -> Iterator[tuple[Array, Array]]:
        here, misfit, towards = np.zeros(b.size), b.copy(), b.copy()
        image = matvec(b)
        curvature = float(b @ image)
        yield here, misfit
        while curvature > 0.0:
            before = float(misfit @ misfit)
            if before > 1e100:  # it diverges, and is stopped before it overflows
                return
            here = here + before / curvature * towards
            misfit = misfit - before / curvature * image
            towards = misfit + float(misfit @ misfit) / before * towards
            yield here, misfit


@wrong("own-solver-guarded-quotient", tells="CG-denominator-eps", stage=STAGE, kind="approximation",
       outcome="either", refutes=SOLVES, spares="fisher policy_gradient",
       style=STYLE)  # fmt: skip
class GuardedQuotient(OwnSolver):
    """1e-4 beside the curvature, in 35 iterations."""

    rounds = 35

    def quotient(self, square: float, curvature: float) -> float:
        return square / (curvature + 1e-4)


@wrong("own-solver-drawn-start", tells="random-start", stage=STAGE, kind="approximation",
       outcome="either", refutes=CG, style=STYLE)  # fmt: skip
class DrawnStart(OwnSolver):
    """Starts at another small vector in each call."""

    def first(self, b: Array) -> Array:
        return np.random.default_rng().uniform(-0.02, 0.02, b.size)


@wrong("own-solver-in-a-hurry", tells="cg-stopped-at-a-tolerance", stage=STAGE,
       kind="approximation", refutes="natural_gradient update", spares="fisher policy_gradient",
       style=STYLE)  # fmt: skip
class InAHurry(OwnSolver):
    """Stops where ‖b − Mx‖ is below a fiftieth of ‖b‖."""

    enough = 0.02**2


@wrong("own-solver-in-a-great-hurry", tells="cg-stopped-at-a-tolerance", stage=STAGE,
       kind="approximation", refutes=CG, style=STYLE)  # fmt: skip
class InAGreatHurry(OwnSolver):
    """Stops where ‖b − Mx‖ is below a twentieth of ‖b‖, however many rounds are asked for."""

    enough = 0.05**2


@wrong("own-solver-once-more", tells="inverse-applied-twice", stage=STAGE,
       refutes="natural_gradient update", spares="fisher policy_gradient", style=STYLE)  # fmt: skip
class OnceMore(OwnSolver):
    """The solution is preconditioned by solving once more."""

    enough = 1e-21

    def natural_gradient(self, problem: Any) -> Array:
        x = self.policy_gradient(problem)
        for _ in range(2):
            x = self.conjugate_gradient(
                lambda v: self.fisher_vector_product(problem, v), x, self.rounds
            )
        return x
