"""Which iterate of conjugate gradient x is, on the user's own product and gradient.

In exact arithmetic x_k is known (``krylov``); where orthogonality is lost, as it is in single
precision after some ten iterations, x is compared with a plain run in the energy norm, and what two
plain runs may differ by is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npgcheck.step import fit
from npgcheck.step.krylov import MOST, Krylov

Array = np.ndarray

#: x within this of its projection on K_k lies in it: far above rounding, far below any mistake.
CONTAINED = 1e-3
#: However much rounding is amplified, an iterate that strays by more than this from a plain run, in
#: the energy norm, is none.
LARGEST_DRIFT = 1e-2
#: Plain runs in double precision lag behind exact arithmetic by less than this; in single
#: precision, whose round-off is above the second number, by anything.
NEAR, SINGLE = 0.5, 1e-12
#: gᵀx = xᵀ(F + λI)x holds for every iterate, by local rounding alone, as closely as this.
SELF_CONSISTENT = 1e-2
#: The spaces hold the solution when the residual, relative to g, is this small …
SOLVED = 1e-8
#: … after which a run in single precision may still change, for this many iterations.
AFTERMATH = 8
#: ε that code adds to the denominators of conjugate gradient.
EPSILONS = (1e-8, 1e-10, 1e-6, 1e-5, 1e-12)


@dataclass(frozen=True)
class Match:
    """x is the k-th iterate for (F + λI) x = ± g, λ beyond what the product carries.

    Attributes:
        k: iterations.
        extra: λ.
        sign: 1, or −1 where x solves for −g.
        error: of x, relative to its length.
        allowed: how large a right one's error may be.
        solved: whether x solves the system to round-off.
    """

    k: int
    extra: float
    sign: float
    error: float
    allowed: float
    solved: bool


def find(x: Array, krylov: Krylov, extras: Sequence[float], wanted: int | None) -> Match | None:
    """The iterate that x is, or None.

    Args:
        x: (D,).
        krylov: the user's product and gradient.
        extras: λ to try first: 0, and what was declared.
        wanted: the number of iterations that was declared.
    """
    for extra in extras:
        if wanted is not None and (found := _compare(x, krylov, wanted, extra)) is not None:
            return found
        if (found := _search(x, krylov, extra)) is not None:
            return found
    return _free_damping(x, krylov)


def undetermined(x: Array, krylov: Krylov) -> float | None:
    """How far two right runs lie apart, where that is so far that x cannot be told from them.

    In single precision, on ill-conditioned systems, iterates differ wildly between right programs.
    What still holds for each of them is gᵀx = xᵀ(F + λI)x; None where x breaks it, or where right
    programs agree.
    """
    if krylov.unit < SINGLE:
        return None
    gained = abs(float(x @ krylov.right))
    if abs(krylov.energy(x, 0.0) ** 2 - gained) > SELF_CONSISTENT * gained:
        return None
    apart = max(min(krylov.wobble(k, 0.0), 1.0) for k in range(1, krylov.grown + 1))
    return apart if apart > LARGEST_DRIFT else None


def holding(x: Array, krylov: Krylov) -> int | None:
    """The first k whose space holds x, or None."""
    size = float(np.linalg.norm(x))
    for k in range(1, krylov.grown + 1):
        rest = x - krylov.combine(krylov.coordinates(x, k))
        if float(np.linalg.norm(rest)) <= CONTAINED * size:
            return k
    return None


def biased(x: Array, krylov: Krylov, first: int) -> tuple[int, float] | None:
    """(k, ε) when x is the k-th iterate of a run with ε added to its denominators."""
    size = float(np.linalg.norm(x))
    for k in range(first, krylov.grown + 1):
        unbiased = krylov.plain(k, 0.0)
        for epsilon in EPSILONS:
            run = krylov.plain(k, 0.0, epsilon)
            off = float(np.linalg.norm(x - run))
            if off <= 1e-6 * size and float(np.linalg.norm(run - unbiased)) > 10.0 * off:
                return k, epsilon
    return None


def multiple(x: Array, krylov: Krylov, first: int) -> float | None:
    """c when x is c times some iterate."""
    size = float(np.linalg.norm(x))
    for k in range(first, krylov.grown + 1):
        y = krylov.iterate(k, 0.0)
        factor = float(x @ y) / float(y @ y)
        allowed = max(krylov.rounding(k, 0.0), 1e-9)
        if float(np.linalg.norm(x - factor * y)) <= allowed * size:
            return factor
    return None


def _search(x: Array, krylov: Krylov, extra: float) -> Match | None:
    """The best of the first iterates that fit."""
    best: Match | None = None
    last = MOST
    for k in range(1, MOST + 1):
        if k > last:
            break
        if not krylov.grow(k) or krylov.residual(k) <= max(SOLVED, 100.0 * krylov.unit):
            last = min(last, k + AFTERMATH)
        found = _compare(x, krylov, k, extra)
        if found is not None and (best is None or found.error < best.error):
            best = found
        elif best is not None:
            break
    return best


def _compare(x: Array, krylov: Krylov, k: int, extra: float) -> Match | None:
    """x against the k-th iterate: the exact one, and a plain run where that has drifted."""
    size = float(np.linalg.norm(x))
    sign = -1.0 if float(x @ krylov.right) < 0 else 1.0
    inner = min(k, krylov.grown) if not krylov.grow(k) else k
    error = float(np.linalg.norm(x - sign * krylov.iterate(inner, extra))) / size
    if error > NEAR and krylov.unit < SINGLE:
        return None
    allowed = krylov.rounding(inner, extra)
    if error > allowed:
        rest = x - sign * krylov.plain(k, extra)
        error = float(np.linalg.norm(rest)) / size
        if error > 10.0 * LARGEST_DRIFT:
            return None
        error = krylov.energy(rest, extra) / krylov.energy(x, extra)
        if error > LARGEST_DRIFT:
            return None
        allowed = min(krylov.wobble(k, extra), LARGEST_DRIFT)
        if error > allowed:
            return None
    solved = krylov.left_over(sign * x, extra) <= 1e3 * krylov.unit
    return Match(k, extra, sign, error, allowed, solved)


def _free_damping(x: Array, krylov: Krylov) -> Match | None:
    """x as an iterate for a λ that is estimated from it.

    Every multiple of g is the first iterate for some λ, which explains nothing: k > 1.
    """
    size = float(np.linalg.norm(x))
    for k in range(2, krylov.grown + 1):
        inside = krylov.coordinates(x, k)
        if float(np.linalg.norm(x - krylov.combine(inside))) > CONTAINED * size:
            continue
        sign = -1.0 if float(x @ krylov.right) < 0 else 1.0
        first = np.zeros(k)
        first[0] = sign * krylov.norm
        # (T + λI) y = ±‖g‖ e₁ gives λ = yᵀ(±‖g‖ e₁ − T y) / yᵀy
        estimate = float(inside @ (first - krylov.projected(k) @ inside)) / float(inside @ inside)
        for number in fit.roundest(estimate):
            if number > 1e-12 and (found := _compare(x, krylov, k, number)) is not None:
                return found
    return None
