"""ε in the denominators of conjugate gradient: estimated from x, where it made x."""

from __future__ import annotations

from functools import partial

import numpy as np

from npgcheck.conformance.atlas.recurrences import after, run
from npgcheck.conformance.round_numbers import roundest
from npgcheck.conformance.valleys import in_valley
from npgcheck.step.iterates import spanned
from npgcheck.step.krylov import Krylov

Array = np.ndarray

#: ε is looked for in these units of gᵀFg, at so many numbers.
LEAST, MOST, GRID = 1e-11, 1e4, 31
#: x is the run with ε to this, relative to its length, and differs from the one without it by more
#: than this many times as much.
CONFIRMED, TELLING = 1e-6, 10.0


def find(x: Array, krylov: Krylov) -> tuple[int, float] | None:
    """(k, ε) when x is the k-th iterate of a run with ε added to its denominators.

    The runs are made in the coordinates of the Krylov basis, with T in place of F. ε is estimated:
    on a grid first, then between its neighbours, and has to be a number of two digits at most.
    """
    last = spanned(x, krylov)
    size = float(np.linalg.norm(x))
    for k in (last, last - 1) if last is not None else ():
        if not 2 <= k <= krylov.grown:  # a multiple of g is a first iterate, for some ε
            continue
        matrix, right = krylov.projected(k), krylov.norm * np.eye(k)[0]
        near = float(right @ matrix @ right)
        if near <= 0.0:
            return None
        effect = float(np.linalg.norm(x - krylov.iterate(k, 0.0))) / size
        for both in (False, True):
            off = partial(_off, krylov.coordinates(x, k), matrix, right, both)
            grid = [float(e) for e in near * np.geomspace(LEAST, MOST, GRID)]
            best = int(np.nanargmin([off(e) for e in grid]))
            for epsilon in roundest(in_valley(off, grid, best))[:2]:
                if (left := off(epsilon)) <= CONFIRMED and effect > TELLING * left:
                    return k, epsilon
    return None


def _off(wanted: Array, matrix: Array, right: Array, both: bool, epsilon: float) -> float:
    """How far the run with ε ends from x, in α alone or in β as well."""

    def quotient(a: float, b: float) -> float:
        return a / (b + epsilon)

    with np.errstate(all="ignore"):
        if both:
            states = run(matrix, right, step=quotient, beta=quotient)
        else:
            states = run(matrix, right, step=quotient)
        made = after(states, len(right), len(right)).x
        return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))
