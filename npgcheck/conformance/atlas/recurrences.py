"""Conjugate gradient, right and with one rule changed: what solvers of the registry have done.

One loop serves the entries of the registry, the diagnosis and `check_step`; a mistake is one of its
rules replaced (Hestenes & Stiefel 1952 for the right ones).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

Array = np.ndarray
Rule = Callable[[float, float], float]

#: The iteration has converged where rᵀr has fallen by this; further steps divide rounding errors.
CONVERGED = 1e-26


class State(NamedTuple):
    """After an iteration: the iterate, its residual by the recurrence, and the next direction."""

    x: Array
    r: Array
    p: Array


def run(
    matrix: Array,
    right: Array,
    *,
    beta: Rule = lambda new, old: new / old,
    step: Rule = lambda square, curvature: square / curvature,
    forgets_matrix: bool = False,
    stale_curvature: bool = False,
    old_residual: bool = False,
    first_square: bool = False,
    unit_step: bool = False,
    guarded: bool = False,
    first_curvature: bool = False,
    squares: bool = False,
) -> Iterator[State]:
    """The states from the first iteration on, until it has converged.

    Args:
        matrix: (D, D), M.
        right: (D,), b.
        beta: β of the new and the old rᵀr.
        step: α of rᵀr and pᵀMp.
        forgets_matrix: r ← r − αp in place of r − αMp.
        stale_curvature: Mp of the first direction throughout.
        old_residual: p ← r + βp takes the residual from before the step.
        first_square: rᵀr of the first residual throughout.
        unit_step: x ← x + p in place of x + αp, while r ← r − αMp is right.
        guarded: with a stale Mp, α is rᵀr/pᵀMp, and the iteration ends where that is no more
            positive; else it is rᵀp/pᵀMp.
        first_curvature: with a stale Mp, α is rᵀr/pᵀMp with pᵀMp of the first direction, too.
        squares: with a stale Mp, α is rᵀr/pᵀMp, whatever its sign.
    """
    x, r, p = np.zeros(len(right)), np.array(right, dtype=float), np.array(right, dtype=float)
    image = matrix @ p
    square = first = float(r @ r)
    while square > CONVERGED * first:
        if not stale_curvature:
            image = matrix @ p
        curvature = float((right if first_curvature else p) @ image)
        if curvature == 0.0:  # a direction of null(M): no step is defined
            yield State(np.full(len(right), np.nan), r, p)
            return
        if guarded and curvature <= 0.0:
            return
        other = stale_curvature and not (guarded or first_curvature or squares)
        numerator = first if first_square else float(r @ p) if other else square
        length, before = step(numerator, curvature), r
        x, r = x + (p if unit_step else length * p), r - length * (p if forgets_matrix else image)
        old, square = square, float(r @ r)
        p = (before if old_residual else r) + beta(square, first if first_square else old) * p
        yield State(x, r, p)


def after(states: Iterator[State], iterations: float, size: int) -> State:
    """The state after so many iterations, or the last one before; zeros after none."""
    reached = deque(islice(states, int(iterations)), maxlen=1)
    return reached[0] if reached else State(*(np.zeros(size),) * 3)
