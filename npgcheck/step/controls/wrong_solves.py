"""Planted mistakes in the solve: wrong recurrences, and right ones on another system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake, _changed

Array = np.ndarray


def _recurrence(
    beta: Callable[[Any, Any], Any] = lambda new, old: new / old,
    *,
    residual: bool = False,
    old_residual: bool = False,
    iterations: int = 5,
    unit_step: bool = False,
    forgets_matrix: bool = False,
    epsilon: float = 0.0,
) -> Callable[[Step], Step]:
    """A few iterations of a conjugate gradient with one line changed."""

    def solve(s: Step, right: Any, g: Array) -> Array:
        x, r = np.zeros_like(g), g.copy()
        p, rr = r.copy(), r @ r
        for _ in range(iterations):
            z = s.product(p)
            alpha = rr / (p @ z + g.dtype.type(epsilon))
            before = r
            x, r = x + (p if unit_step else alpha * p), r - alpha * (p if forgets_matrix else z)
            new = r @ r
            p = (before if old_residual else r) + g.dtype.type(beta(new, rr)) * p
            rr = new
        return r if residual else x

    return _changed("solve", solve)


def _once(of: str) -> Callable[[Step], Step]:
    """A few iterations in which Mp, or pᵀMp, is that of the first direction."""

    def solve(s: Step, right: Any, g: Array) -> Array:
        x, r = np.zeros_like(g), g.copy()
        p, rr, first = r.copy(), r @ r, s.product(g)
        for _ in range(5):
            z = first if of == "Mp" else s.product(p)
            alpha = rr / (g @ first if of == "pᵀMp" else p @ z)
            x, r = x + alpha * p, r - alpha * z
            p, rr = r + (r @ r) / rr * p, r @ r
        return x

    return _changed("solve", solve)


def _less_damped(s: Step, right: Any, g: Array) -> Array:
    return replace(s, damping=0.01, iterations=5, changed={}).solve(g)


def _less_damped_matrix(s: Step, right: Any, g: Array) -> Array:
    columns = [s.product(e) for e in np.eye(len(g), dtype=g.dtype)]
    matrix = np.array(columns, dtype=np.float64) - 0.07 * np.eye(len(g))
    return np.linalg.solve(0.5 * (matrix + matrix.T), g).astype(g.dtype)


def _noise(share: float) -> Callable[[Step], Step]:
    """The solution for g plus a vector of this share of its length, such as a stale gradient."""

    def solve(s: Step, right: Any, g: Array) -> Array:
        noise = np.random.default_rng(5).standard_normal(len(g)).astype(g.dtype)
        return right(g + g.dtype.type(share * np.linalg.norm(g) / np.linalg.norm(noise)) * noise)

    return _changed("solve", solve)


def _clipped(s: Step, right: Any, g: Array) -> Array:
    x = right(g)
    most = 2 * np.median(np.abs(x))
    return np.clip(x, -most, most)


def _root(s: Step, right: Any, g: Array) -> Array:
    columns = [s.product(e) for e in np.eye(len(g), dtype=g.dtype)]
    spectrum, vectors = np.linalg.eigh(np.array(columns, dtype=np.float64))
    return (vectors @ ((vectors.T @ g) / np.sqrt(spectrum))).astype(g.dtype)


_X = "natural_gradient"

SOLVES: tuple[Mistake, ...] = (
    Mistake("β left out: steepest descent", _X, "cg-is-steepest-descent",
            _recurrence(lambda new, old: 0.0)),
    Mistake("β upside down", _X, "cg-beta-inverted", _recurrence(lambda new, old: old / new)),
    Mistake("p ← r − βp", _X, "cg-residual-minus-direction",
            _recurrence(lambda new, old: -new / old)),
    Mistake("p ← r + p", _X, "cg-beta-is-one", _recurrence(lambda new, old: 1.0)),
    Mistake("x ← x + p, r ← r − αMp", _X, "cg-step-is-one", _recurrence(unit_step=True)),
    Mistake("r ← r − αp", _X, "cg-residual-forgets-the-matrix",
            _recurrence(forgets_matrix=True)),
    Mistake("Mp of the first direction (double)", _X, "cg-stale-curvature", _once("Mp")),
    Mistake("pᵀMp of the first direction", _X, "cg-stale-curvature", _once("pᵀMp")),
    Mistake("α with ε = 0.001 (double)", _X, "CG-denominator-eps",
            _recurrence(epsilon=1e-3), (), "deviates"),
    Mistake("λ = 0.01 in the solve alone (double)", _X, "two-dampings",
            _changed("solve", _less_damped)),
    Mistake("λ = 0.03 in a direct solve alone", _X, "two-dampings",
            _changed("solve", _less_damped_matrix)),
    Mistake("−x", _X, "cg-negated", _changed("solve", lambda s, right, g: -right(g))),
    Mistake("p ← r_old + βp", _X, "", _recurrence(old_residual=True)),
    Mistake("r in place of x (double)", _X, "cg-returns-the-residual", _recurrence(residual=True)),
    Mistake("g and a tenth of noise, solved", _X, "", _noise(0.1)),
    Mistake("g and all of noise, solved", _X, "", _noise(1.0)),
    Mistake("x clipped", _X, "", _changed("solve", _clipped)),
    Mistake("F^(−½) g (double)", _X, "square-root-of-F", _changed("solve", _root)),
)  # fmt: skip
