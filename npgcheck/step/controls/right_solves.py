"""Right solvers other than plain conjugate gradient from zero, as steps may use them.

Sources: Saad (2003), Iterative methods for sparse linear systems, 9.2 (preconditioned conjugate
gradient); Paige & Saunders (1975), Solution of sparse indefinite systems (MINRES); Saad & Schultz
(1986), GMRES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg as linalg

from npgcheck.step.controls.trpo import Step

Array = np.ndarray
Solver = Callable[[Step, Any, Array], Array]


def _operator(s: Step, g: Array) -> Any:
    return linalg.LinearOperator((len(g), len(g)), matvec=s.product, dtype=g.dtype)


def _jacobi(s: Step, right: Any, g: Array) -> Array:
    """Preconditioned by the diagonal of the matrix."""
    diagonal = np.array([s.product(e) @ e for e in np.eye(len(g), dtype=g.dtype)])
    x, r = np.zeros_like(g), g.copy()
    z = r / diagonal
    p, rz = z.copy(), r @ z
    for _ in range(s.iterations):
        image = s.product(p)
        alpha = rz / (p @ image)
        x, r = x + alpha * p, r - alpha * image
        z = r / diagonal
        new = r @ z
        if new <= 1e-14 * (g @ g):
            break
        p, rz = z + new / rz * p, new
    return x


def _minres(s: Step, right: Any, g: Array) -> Array:
    return linalg.minres(_operator(s, g), g, rtol=1e-12, maxiter=s.iterations)[0].astype(g.dtype)


def _gmres(s: Step, right: Any, g: Array) -> Array:
    x = linalg.gmres(_operator(s, g), g, rtol=1e-12, restart=s.iterations, maxiter=1)[0]
    return x.astype(g.dtype)


def _scipy(s: Step, right: Any, g: Array) -> Array:
    return linalg.cg(_operator(s, g), g, rtol=1e-5)[0].astype(g.dtype)


def _warm(s: Step, right: Any, g: Array) -> Array:
    """Goes on from a solution that is off by a per cent, until the residual is small."""
    near = right(g)
    size = 0.01 * np.linalg.norm(near) / np.sqrt(len(g))
    start = near + (size * np.random.default_rng(7).standard_normal(len(g))).astype(g.dtype)
    return linalg.cg(_operator(s, g), g, x0=start, rtol=1e-3)[0].astype(g.dtype)


SOLVERS: dict[str, Solver] = {
    "jacobi": _jacobi,
    "minres": _minres,
    "gmres": _gmres,
    "scipy": _scipy,
    "warm": _warm,
}
