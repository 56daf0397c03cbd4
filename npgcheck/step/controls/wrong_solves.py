"""Planted mistakes in the solve: wrong recurrences, and right ones on another system."""

from __future__ import annotations

from collections.abc import Callable
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
) -> Callable[[Step], Step]:
    """A few iterations of a conjugate gradient with one line changed."""

    def solve(s: Step, right: Any, g: Array) -> Array:
        x, r = np.zeros_like(g), g.copy()
        p, rr = r.copy(), r @ r
        for _ in range(iterations):
            z = s.product(p)
            alpha = rr / (p @ z)
            before = r
            x, r = x + alpha * p, r - alpha * z
            new = r @ r
            p = (before if old_residual else r) + g.dtype.type(beta(new, rr)) * p
            rr = new
        return r if residual else x

    return _changed("solve", solve)


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
    Mistake("p ← r_old + βp", _X, "", _recurrence(old_residual=True)),
    Mistake("r in place of x (double)", _X, "cg-returns-the-residual", _recurrence(residual=True)),
    Mistake("g and a tenth of noise, solved", _X, "", _noise(0.1)),
    Mistake("g and all of noise, solved", _X, "", _noise(1.0)),
    Mistake("x clipped", _X, "", _changed("solve", _clipped)),
    Mistake("F^(−½) g (double)", _X, "square-root-of-F", _changed("solve", _root)),
)  # fmt: skip
