"""Planted mistakes of the conjugate gradient method, each one a whole function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._exact import Array
from .registry import wrong

STAGE = "solver and damping"
CG = "conjugate_gradient"
Product = Callable[[Array], Array]


@wrong(
    "cg-is-steepest-descent", tells="cg-is-steepest-descent", stage=STAGE, refutes=CG, whole=True
)
class SteepestDescent:
    """β is missing: every direction is the residual."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r = np.zeros_like(b), b.copy()
        for _ in range(iterations):
            Ar = matvec(r)
            curvature = r @ Ar
            if curvature <= 0:
                break
            step = (r @ r) / curvature
            x += step * r
            r -= step * Ar
        return x


@wrong(
    "cg-residual-minus-direction",
    tells="cg-residual-minus-direction|cg-residual-forgets-the-matrix",
    stage=STAGE,
    refutes=CG,
    whole=True,
)
class ResidualMinusDirection:
    """r ← r − αp where r − αAp belongs."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x = np.zeros_like(b)
        r, p = b.copy(), b.copy()
        rs = r.dot(r)
        for _ in range(iterations):
            if rs < 1e-300:
                return x
            alpha = rs / p.dot(matvec(p))
            x = x + alpha * p
            r = r - alpha * p
            rs_new = r.dot(r)
            p = r + rs_new / rs * p
            rs = rs_new
        return x


@wrong("cg-beta-inverted", tells="cg-beta-inverted", stage=STAGE, refutes=CG, whole=True)
class BetaInverted:
    """β = old/new."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r = np.zeros(b.shape), np.array(b)
        p, k = np.array(b), 0
        while k < iterations and np.linalg.norm(r) > 1e-12 * np.linalg.norm(b):
            Ap = matvec(p)
            alpha = np.inner(r, r) / np.inner(p, Ap)
            x, r_new = x + alpha * p, r - alpha * Ap
            beta = np.inner(r, r) / max(np.inner(r_new, r_new), 1e-300)
            p, r, k = r_new + min(beta, 1e12) * p, r_new, k + 1
        return x


@wrong(
    "cg-epsilon-in-both-quotients",
    tells="CG-denominator-eps",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=CG,
    whole=True,
    source="read off public code",
)
class EpsilonInBothQuotients:
    """1e-5 added to both denominators against division by zero."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r, p = np.zeros_like(b), b.copy(), b.copy()
        rdotr = r @ r
        for _ in range(iterations):
            z = matvec(p)
            v = rdotr / (p @ z + 1e-5)
            x += v * p
            r -= v * z
            newrdotr = r @ r
            p = r + newrdotr / (rdotr + 1e-5) * p
            rdotr = newrdotr
        return x


@wrong(
    "cg-absolute-stop",
    tells="absolute-tolerance|cg-stopped-at-a-tolerance",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes=CG,
    whole=True,
)
class AbsoluteStop:
    """Stops once rᵀr < 1e-2, before the iterations that were asked for."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        p, r, x = b.copy(), b.copy(), np.zeros_like(b)
        rdotr = float(r.dot(r))
        for _ in range(iterations):
            if rdotr < 1e-2:
                break
            z = matvec(p)
            v = rdotr / float(p.dot(z))
            x += v * p
            r -= v * z
            newrdotr = float(r.dot(r))
            p = r + newrdotr / rdotr * p
            rdotr = newrdotr
        return x


@wrong(
    "cg-one-iteration-short",
    tells="cg-one-iteration-short",
    stage=STAGE,
    refutes=CG,
    outcome="either",
    whole=True,
)
class OneIterationShort:
    """range(1, iterations): one iteration fewer than asked."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r = np.zeros_like(b), b.copy()
        p, rr = r, r @ r
        for _ in range(1, iterations):
            if rr == 0:
                break
            q = matvec(p)
            a = rr / (p @ q)
            x, r = x + a * p, r - a * q
            rr, last = r @ r, rr
            p = r + (rr / last) * p
        return x


@wrong(
    "cg-returns-the-residual", tells="cg-returns-the-residual", stage=STAGE, refutes=CG, whole=True
)
class ReturnsResidual:
    """The last line returns r."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r, d = np.zeros_like(b), b.copy(), b.copy()
        for _ in range(iterations):
            norm = r @ r
            if norm < 1e-30:
                break
            Ad = matvec(d)
            x += norm / (d @ Ad) * d
            r = r - norm / (d @ Ad) * Ad
            d = r + (r @ r) / norm * d
        return r


@wrong("cg-warm-start-wrong-residual", stage=STAGE, refutes=CG, whole=True)
class WarmStart:
    """Starts at x = b with the residual of x = 0."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r, p = b.copy(), b.copy(), b.copy()
        for _ in range(iterations):
            gamma = r @ r
            if gamma < 1e-28 * (b @ b):
                break
            Ap = matvec(p)
            alpha = gamma / (p @ Ap)
            x += alpha * p
            r -= alpha * Ap
            p = r + (r @ r) / gamma * p
        return x


@wrong("cg-breaks-before-the-update", stage=STAGE, refutes=CG, whole=True)
class BreaksBeforeUpdate:
    """The convergence test sits between the new residual and the new x: the last step is lost."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r, p = np.zeros_like(b), b.copy(), b.copy()
        rr = r @ r
        for k in range(iterations):
            Ap = matvec(p)
            alpha = rr / (p @ Ap) if rr > 0 else 0.0
            r = r - alpha * Ap
            new = r @ r
            if np.sqrt(new) < 1e-8 * np.linalg.norm(b) or k == iterations - 1:
                break
            x = x + alpha * p
            p = r + new / rr * p
            rr = new
        return x


@wrong("cg-stale-curvature", tells="cg-stale-curvature", stage=STAGE, refutes=CG, whole=True)
class StaleCurvature:
    """A p is computed once, before the loop."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r, p = np.zeros_like(b), b.copy(), b.copy()
        Ap = matvec(p)
        for _ in range(iterations):
            curvature = p @ Ap
            if abs(curvature) < 1e-30 or r @ r > 1e12 * (b @ b):
                break
            alpha = (r @ p) / curvature
            x = x + alpha * p
            fresh = r - alpha * Ap
            p = fresh + (fresh @ fresh) / (r @ r) * p
            r = fresh
        return x


@wrong("cg-eats-its-right-hand-side", stage="glue", refutes=CG, outcome="either", whole=True)
class EatsRightHandSide:
    """r = b without a copy: the caller's g is overwritten by the residual."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r = np.zeros_like(b), b
        p, rr = r.copy(), r @ r
        for _ in range(iterations):
            if rr == 0:
                break
            z = matvec(p)
            alpha = rr / (p @ z)
            x += alpha * p
            r -= alpha * z
            rr, old = r @ r, rr
            p = r + rr / old * p
        return x


@wrong(
    "cg-zero-over-zero",
    tells="limited-range",
    stage=STAGE,
    outcome="either",
    refutes=CG,
    whole=True,
)
class ZeroOverZero:
    """No stopping test at all: b = 0 divides zero by zero."""

    def conjugate_gradient(self, matvec: Product, b: Array, iterations: int) -> Array:
        x, r, p = np.zeros_like(b), b.copy(), b.copy()
        with np.errstate(all="ignore"):
            for _ in range(iterations):
                z = matvec(p)
                alpha = (r @ r) / (p @ z)
                x, fresh = x + alpha * p, r - alpha * z
                p = fresh + (fresh @ fresh) / (r @ r) * p
                r = fresh
        return x
