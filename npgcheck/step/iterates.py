"""Which iterate of conjugate gradient x is, on the user's own product and gradient.

In exact arithmetic x_k is known (``krylov``); where orthogonality is lost, as it is in single
precision after some ten iterations, x is compared with a plain run in the energy norm, and what two
plain runs may differ by is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from npgcheck.conformance.round_numbers import roundest
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
#: The spaces hold the solution when the residual, relative to g, is this small …
SOLVED = 1e-8
#: … after which a run in single precision may still change, for this many iterations.
AFTERMATH = 8
#: A run that loses orthogonality falls behind exact arithmetic, by fewer steps than this.
LAG = 3
#: x lies in K_k to round-off when its distance from it is this many round-offs of its length.
INSIDE = 1e3
#: … and the next space holds it better when it is nearer to that by this factor.
CLEARLY = 2.0
#: c is a factor of an iterate when the iterate is known to this share of c − 1.
KNOWN = 0.1
#: λ is read off an iterate only where right programs agree to this.
DETERMINED = 1e-4
#: A solve that is less damped than the product is so by this share of it, or by more.
FEWER = 0.05
#: … and where it is no round number, x solves the system when it leaves no more than this of g.
SOLVED_BY_ESTIMATE = 1e-10


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


def find(
    x: Array, krylov: Krylov, extras: Sequence[float], wanted: int | None, damping: float = 0.0
) -> Match | None:
    """The iterate that x is, or None.

    Args:
        x: (D,).
        krylov: the user's product and gradient.
        extras: λ to try first: 0, and what was declared.
        wanted: the number of iterations that was declared.
        damping: λ of the product, which the solve may leave out.
    """
    for extra in extras:
        if wanted is not None:
            found = _compare(x, krylov, wanted, extra) or _lagging(x, krylov, wanted, extra)
            if found is not None:
                return found
        if (found := _search(x, krylov, extra)) is not None:
            return found
        if (found := _lagging(x, krylov, spanned(x, krylov), extra)) is not None:
            return found
    return _free_damping(x, krylov, damping)


def holding(x: Array, krylov: Krylov) -> int | None:
    """The first k whose space holds x, or None."""
    size = float(np.linalg.norm(x))
    for k in range(1, krylov.grown + 1):
        rest = x - krylov.combine(krylov.coordinates(x, k))
        if float(np.linalg.norm(rest)) <= CONTAINED * size:
            return k
    return None


def multiple(x: Array, krylov: Krylov, first: int) -> float | None:
    """c when x is c times some iterate."""
    size = float(np.linalg.norm(x))
    for k in range(first, krylov.grown + 1):
        for y in (krylov.iterate(k, 0.0), krylov.plain(k, 0.0)):
            if not y.any():  # the iteration met a direction without curvature at once
                continue
            factor = float(x @ y) / float(y @ y)
            allowed = max(krylov.rounding(k, 0.0), 1e-9)
            # a factor is known no better than the iterate that it multiplies
            known = allowed <= KNOWN * abs(factor - 1.0)
            if known and float(np.linalg.norm(x - factor * y)) <= allowed * size:
                return factor
    return None


def misapplied(x: Array, krylov: Krylov) -> str | None:
    """The name of another use of the product: multiplied by it, or solved with it twice."""
    image = krylov.product(krylov.right)
    if _close(x, image):
        return "multiplied-not-solved"
    if _close(krylov.product(krylov.product(x)), krylov.right):
        return "inverse-applied-twice"
    return None


def _close(a: Array, b: Array) -> bool:
    return float(np.linalg.norm(a - b)) <= 1e-4 * float(np.linalg.norm(b))


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


def _lagging(x: Array, krylov: Krylov, k: int | None, extra: float) -> Match | None:
    """x as the k-th iterate of a run that lost orthogonality, and so fell behind.

    Such a run behaves like exact arithmetic on a system with clusters in place of eigenvalues
    (Greenbaum 1989): its k-th iterate lies between exact iterates before the k-th, on the polygon
    through them. On 100 right steps of a network in training the distance from the polygon was at
    most 0.003 of x, while two runs that round differently lay up to 0.02 apart. Whether the last
    step was taken cannot always be told then: the spaces hardly grow any more.
    """
    if k is None or k < 2 or not krylov.grow(k):
        return None
    size = float(np.linalg.norm(x))
    exact = krylov.iterate(k, extra)
    drift = float(np.linalg.norm(krylov.plain(k, extra) - exact))
    if drift <= krylov.rounding(k, extra) * size:
        return None  # nothing was lost
    here = _outside(x, krylov, k)
    if k > 2 and _outside(x, krylov, k - 2) <= CLEARLY * here:
        return None  # an iterate from well before the k-th
    if krylov.grow(k + 1) and here > CLEARLY * _outside(x, krylov, k + 1):
        return None  # a later one
    sign = -1.0 if float(x @ krylov.right) < 0 else 1.0
    ends = [sign * krylov.iterate(j, extra) for j in range(max(1, k - LAG), k)] + [sign * exact]
    off = min(_from_segment(x, a, b) for a, b in pairwise(ends)) / size
    if off > LARGEST_DRIFT:
        return None
    return Match(k, extra, sign, off, LARGEST_DRIFT, False)


def spanned(x: Array, krylov: Krylov) -> int | None:
    """The first k whose space holds x to round-off: how often the product was called for it."""
    off = [_outside(x, krylov, k) for k in range(1, krylov.grown + 1)]
    grain = INSIDE * krylov.unit * float(np.linalg.norm(x))
    for k, (here, following) in enumerate(pairwise([*off, np.inf]), start=1):
        if here <= grain:
            return k + int(here > CLEARLY * following)
    return None


def _outside(x: Array, krylov: Krylov, k: int) -> float:
    return float(np.linalg.norm(x - krylov.combine(krylov.coordinates(x, k))))


def _from_segment(x: Array, a: Array, b: Array) -> float:
    """The distance of x from the segment between a and b."""
    along = b - a
    square = float(along @ along)
    t = min(1.0, max(0.0, float((x - a) @ along) / square)) if square else 0.0
    return float(np.linalg.norm(x - a - t * along))


def _less(estimate: float, damping: float) -> list[float]:
    """What is added to the damping of the product where the solve has clearly less: a number of two
    digits in all."""
    if not -damping - 1e-12 <= estimate <= -FEWER * damping:
        return []
    return [number - damping for number in roundest(max(damping + estimate, 0.0))[:2]]


def _free_damping(x: Array, krylov: Krylov, damping: float) -> Match | None:
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
        if estimate < 0.0:
            numbers = _less(estimate, damping) if krylov.unit < SINGLE else []
        else:
            numbers = [n for n in roundest(estimate) if n > 1e-12]
        for number in numbers:
            found = _compare(x, krylov, k, number)
            # where rounding allows much, some λ always fits
            if found is not None and found.allowed <= DETERMINED:
                if number == estimate and krylov.unit < SINGLE:
                    # λ is known no better than x is
                    left = krylov.left_over(sign * x, number)
                    return replace(found, solved=left <= SOLVED_BY_ESTIMATE)
                return found
    return None
