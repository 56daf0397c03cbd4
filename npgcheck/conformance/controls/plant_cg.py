"""Mistakes planted in conjugate gradient, written as a class that keeps its own state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._exact import Array
from .registry import right, wrong

STYLE = "class with state"
STAGE = "solver and damping"
CG = "conjugate_gradient"


@right("cg-with-state", style=STYLE)
class Stateful:
    """Conjugate gradient with its vectors as attributes and its quotients as methods."""

    def alpha(self, curvature: float) -> float:
        return self.rho / curvature

    def beta(self, before: float) -> float:
        return self.rho / before

    def start(self, b: Array) -> Array:
        return np.zeros_like(b)

    def done(self, b: Array) -> bool:
        return self.rho <= 1e-30 * float(b @ b)

    def result(self) -> Array:
        return self.x

    def conjugate_gradient(
        self, matvec: Callable[[Array], Array], b: Array, iterations: int
    ) -> Array:
        self.x = self.start(b)
        self.r = b - matvec(self.x) if self.x.any() else np.array(b)
        self.p = np.array(self.r)
        self.rho = float(self.r @ self.r)
        for _ in range(iterations):
            if self.done(b):
                break
            q = matvec(self.p)
            step = self.alpha(float(self.p @ q))
            self.x = self.x + step * self.p
            self.r = self.r - step * q
            before, self.rho = self.rho, float(self.r @ self.r)
            self.p = self.r + self.beta(before) * self.p
        return self.result()


@wrong("cg-state-beta-upside-down", tells="cg-beta-inverted", stage=STAGE, refutes=CG, style=STYLE)
class BetaUpsideDown(Stateful):
    """before / rho."""

    def beta(self, before: float) -> float:
        return before / self.rho


@wrong("cg-state-beta-one", tells="cg-beta-is-one", stage=STAGE, refutes=CG, style=STYLE)
class BetaOne(Stateful):
    """rho has been overwritten before the quotient is taken: β = 1."""

    def beta(self, before: float) -> float:
        return 1.0


@wrong("cg-state-no-beta", tells="cg-is-steepest-descent", stage=STAGE, refutes=CG, style=STYLE)
class NoBeta(Stateful):
    """Every direction is the residual."""

    def beta(self, before: float) -> float:
        return 0.0


@wrong("cg-state-unit-steps", tells="cg-step-is-one", stage=STAGE, refutes=CG, style=STYLE)
class UnitSteps(Stateful):
    """α = 1."""

    def alpha(self, curvature: float) -> float:
        return 1.0


@wrong(
    "cg-state-epsilon",
    tells="CG-denominator-eps",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=CG,
    style=STYLE,
)
class Epsilon(Stateful):
    """α = ρ / (pᵀq + 1e-3)."""

    def alpha(self, curvature: float) -> float:
        return self.rho / (curvature + 1e-3)


@wrong(
    "cg-state-absolute",
    tells="absolute-tolerance|cg-stopped-at-a-tolerance",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=CG,
    style=STYLE,
)
class Absolute(Stateful):
    """Stops at ‖r‖² < 1e-3, however small b is."""

    def done(self, b: Array) -> bool:
        return self.rho < 1e-3


@wrong(
    "cg-state-random-start",
    tells="random-start",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=CG,
    style=STYLE,
)
class RandomStart(Stateful):
    """Starts at noise: what a truncated answer holds of it is not in the Krylov space."""

    def start(self, b: Array) -> Array:
        return np.random.default_rng(1).standard_normal(len(b))


@wrong("cg-state-returns-r", tells="cg-returns-the-residual", stage=STAGE, refutes=CG, style=STYLE)
class ReturnsR(Stateful):
    """return self.r"""

    def result(self) -> Array:
        return self.r


@wrong("cg-state-negated", tells="cg-negated", stage=STAGE, refutes=CG, style=STYLE)
class Negated(Stateful):
    """Solves M x = −b."""

    def result(self) -> Array:
        return -self.x


@wrong("cg-state-one-short", tells="cg-one-iteration-short", stage=STAGE, refutes=CG, style=STYLE)
class OneShort(Stateful):
    """while k < iterations − 1."""

    def conjugate_gradient(
        self, matvec: Callable[[Array], Array], b: Array, iterations: int
    ) -> Array:
        return super().conjugate_gradient(matvec, b, iterations - 1)


@wrong(
    "cg-state-residual-without-product",
    tells="cg-residual-minus-direction|cg-residual-forgets-the-matrix",
    stage=STAGE,
    refutes=CG,
    style=STYLE,
)
class ResidualWithoutProduct(Stateful):
    """r −= α p where r −= α q belongs."""

    def conjugate_gradient(
        self, matvec: Callable[[Array], Array], b: Array, iterations: int
    ) -> Array:
        x, r = np.zeros_like(b), np.array(b)
        p, rho = np.array(r), float(r @ r)
        for _ in range(iterations):
            if rho <= 1e-30 * float(b @ b):
                break
            step = rho / float(p @ matvec(p))
            x, r = x + step * p, r - step * p
            rho, before = float(r @ r), rho
            p = r + rho / before * p
        return x
