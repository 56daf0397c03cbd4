"""What made x, where it is no iterate of plain conjugate gradient: another solver, or a mistake?

Mistakes in the recurrence are run on the user's own product and compared number by number. What
right solvers have in common is then asked of x, from the strictest on:

* conjugate gradient from zero, however much orthogonality it loses, stays in the Krylov spaces of F
  and g. On 470 runs in single and double precision (D from 100 to 900, λ from 0 to 0.1, up to 100
  iterations) it left K₆₄ by at most 4e-4 and 2e-5 of its length; the solution for a right side that
  is wrong by one per cent leaves it by more than one per cent.
* x minimises the energy norm over some space that holds x, so gᵀx = xᵀ(F + λI)x: also for
  preconditioned iterates, which kept it within 2e-3 in double and 1e-2 in single precision on the
  same systems; solutions for a right side that is wrong by ten per cent are off by 0.01 and more.
* MINRES and GMRES minimise the residual instead: (F + λI)x is orthogonal to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.atlas.recurrences import run
from npgcheck.step.iterates import LARGEST_DRIFT, SINGLE
from npgcheck.step.krylov import Krylov

Array = np.ndarray

#: x lies in the Krylov spaces when it leaves them by less than this share of its length, or this
#: many round-offs where that is more; at most by the last number.
INSIDE, ROUND_OFFS, AT_MOST = 1e-3, 2.0**16, 0.1
#: gᵀx = xᵀ(F + λI)x holds for iterates that lost orthogonality as closely as for plain runs, times
#: this; at least to the second number, at most to the third. Where plain runs lose more than that
#: themselves, other ones may lose twice as much, up to the last number.
ROOM, SELF_CONSISTENT, LEAST_CONSISTENT = 8.0, 1e-2, 0.05
AS_PLAIN, MOST_LOST = 2.0, 0.2
#: … and for preconditioned ones, or those that start nearby, as closely as this times the square
#: root of what plain runs lose (measured: up to 0.08, with random preconditioners 0.26); at least
#: to the second number, at most to the third.
OTHERS, OTHERS_LEAST, OTHERS_MOST = 0.25, 2e-3, 2e-2
#: The same for a minimal residual, within the Krylov spaces, in double and in single precision (10
#: iterations of MINRES in scipy: 0.015). Such iterates fall short: xᵀ(F + λI)x ≤ gᵀx.
RESIDUAL_DOUBLE, RESIDUAL_SINGLE = 1e-3, 0.03
#: An iterate of MINRES is told from other vectors up to this distance, relative, and not beyond:
#: rounding in single precision on a singular F would allow per cents.
CLOSEST = 1e-3
#: x is as long as a quotient by round-off when its curvature makes it this share of 1/u; it lies in
#: a span to so many round-offs, and two numbers agree to the last number.
HUGE, SPANNED, EXACTLY = 1e-3, 1e3, 1e-8
#: Wrong recurrences are run for so many iterations.
LONGEST = 128
#: A λ that is a number of two digits up to this part was written by someone.
ROUND = 1e-5
#: A residual below this share of g is an approximate solution, whatever made it.
APPROXIMATE = 0.01
#: A solution that leaves the Krylov spaces by more than this share of its length started elsewhere.
LEAVES = 1e-6
#: … and one above this many times g is none: iterates need not make the residual smaller.
LARGEST = 10.0
#: A wrong recurrence is told when x is this near to its run, relative to its length, and nearer to
#: it than the run is to what a right one gives by the second number.
AS_RUN, TELLING = 1e-4, 0.01


@dataclass(frozen=True)
class Mistaken:
    """A mistake in conjugate gradient that reproduces x.

    Attributes:
        name: of the registered choice, or "".
        note: what is done, where it has no name.
        iterations: k.
    """

    name: str
    note: str
    iterations: int


def mistaken(x: Array, krylov: Krylov, extra: float = 0.0) -> Mistaken | None:
    """The mistake in conjugate gradient that gives x.

    The recurrences run in the coordinates of the Krylov basis, with T in place of F: they never
    leave it, and no product is asked for.

    Args:
        x: (D,).
        krylov: the user's product and gradient.
        extra: λ beyond what the product carries.
    """
    size, last = krylov.grown, len(krylov.basis)
    if size < 2:
        return None
    inside = krylov.coordinates(x, last)
    outside = float(np.linalg.norm(x - krylov.combine(inside)))
    x, coordinates = inside[:size], inside / krylov.norm
    outside = float(np.hypot(outside, np.linalg.norm(inside[size:])))
    matrix = krylov.projected(size) + extra * np.eye(size)
    right = krylov.norm * np.eye(size)[0]
    iterates = [krylov.coordinates(krylov.iterate(k, extra), size) for k in range(1, size + 1)]

    def is_told(made: Array) -> bool:
        off = float(np.hypot(outside, np.linalg.norm(x - made)))
        apart = min(float(np.linalg.norm(made - y)) for y in iterates)
        return off <= AS_RUN * float(np.linalg.norm(x)) and off <= TELLING * apart

    for name, note, recurrence in RECURRENCES:
        for k, made in enumerate(_finite(recurrence(matrix, right), LONGEST), start=1):
            if is_told(made):
                return Mistaken(name, note, k)
    spectrum, vectors = np.linalg.eigh(matrix)
    if _divides_by_nothing(coordinates, outside / krylov.norm, krylov.unit, matrix[0, 0]):
        return Mistaken("cg-stale-curvature", "", 0)
    if spectrum[0] > 0 and is_told(vectors @ (vectors.T @ right / np.sqrt(spectrum))):
        return Mistaken("square-root-of-F", "", 0)
    return None


def _divides_by_nothing(x: Array, outside: float, unit: float, curvature: float) -> bool:
    """Whether x is as long as 1/u, and in the span of g and Mg.

    With z = Mp of the first direction, pᵀz of the second one is zero, and α = rᵀr/pᵀz is what
    rounding leaves: its digits are accidents, its size and the span are not.
    """
    beyond = float(np.hypot(outside, np.linalg.norm(x[2:])))
    length = float(np.linalg.norm(x))
    huge = length * curvature > HUGE / unit and abs(x[1]) > INSIDE * length
    return huge and beyond <= SPANNED * unit * length


def forgetful(factor: float, curvature: float, unit: float) -> int | None:
    """k where x = factor · g is what k iterations with r ← r − αp give, with gᵀMg = curvature gᵀg.

    Every vector of that recurrence is a multiple of g.
    """
    runs = _changed(forgets_matrix=True)(np.array([[curvature]]), np.ones(1))
    accuracy = max(EXACTLY, SPANNED * unit)
    for k, made in enumerate(_finite(runs, LONGEST), start=1):
        if k > 1 and abs(made[0] - factor) <= accuracy * abs(factor):
            return k
    return None


def minimal_residual(x: Array, krylov: Krylov) -> int | None:
    """k where x is the k-th iterate of MINRES or GMRES: it minimises ‖(F + λI)x − g‖."""
    size = float(np.linalg.norm(x))
    for k in range(2, krylov.grown + 1):
        made = krylov.minimal_residual(k)
        allowed = min(max(krylov.rounding(k, 0.0), 1e-9), CLOSEST)
        if float(np.linalg.norm(x - made)) <= allowed * size:
            return k
    return None


def inside(x: Array, krylov: Krylov) -> bool:
    """Whether x lies in the largest Krylov space there is."""
    return _outside(x, krylov) <= min(AT_MOST, max(INSIDE, ROUND_OFFS * krylov.unit))


def _outside(x: Array, krylov: Krylov) -> float:
    """By how much x leaves the largest Krylov space there is, relative to its length."""
    rest = x - krylov.combine(krylov.coordinates(x, krylov.grown))
    return float(np.linalg.norm(rest) / np.linalg.norm(x))


def undetermined(x: Array, krylov: Krylov, damped: bool) -> float | None:
    """How far two right runs lie apart, where that is so far that x cannot be told from them.

    On ill-conditioned systems iterates differ wildly between right programs, in single precision
    soon, in double later. What still holds for each of them: x lies in the Krylov spaces, and
    gᵀx = xᵀ(F + λI)x, with the λ of the product, or some λ ≥ 0 where the product is not `damped`;
    None where x breaks it, or where right programs agree.
    """
    runs = range(1, krylov.grown + 1)
    apart = max((min(krylov.wobble(k, 0.0), 1.0) for k in runs), default=0.0)
    if apart <= LARGEST_DRIFT or not inside(x, krylov):
        return None
    lost = _lost(krylov)
    allowed = min(LEAST_CONSISTENT, max(SELF_CONSISTENT, ROOM * lost))
    allowed = max(allowed, min(MOST_LOST, AS_PLAIN * lost))
    gap = _gap(x, krylov)
    return None if gap > allowed or (damped and gap < -allowed) else apart


def approximates(x: Array, krylov: Krylov, held: float | None = 0.0) -> str:
    """What a solver other than plain conjugate gradient may have done, or "".

    ``held`` is by how much the solve may be damped beyond the product: as it is declared, or None
    where the product is not damped and nothing is declared, so that it may be by any λ.
    """
    sign = -1.0 if float(x @ krylov.right) < 0 else 1.0
    left = krylov.left_over(sign * x, 0.0)
    if left <= APPROXIMATE:
        text = f"it solves the system up to a residual of {100 * left:.2g} %"
        outside = _outside(x, krylov)
        if krylov.unit < SINGLE and outside > LEAVES:
            text += (
                f", and leaves the Krylov spaces of g by {100 * outside:.2g} % of its length, as "
                "from a start that is not zero (random-start, say), or with a preconditioner"
            )
        return text
    allowed = min(OTHERS_MOST, max(OTHERS_LEAST, OTHERS * _lost(krylov) ** 0.5))
    if left <= LARGEST and abs(_gap(x, krylov)) <= allowed:
        return "gᵀx = xᵀ(F + λI)x, as for a preconditioned iterate"
    if (more := _damped_by(sign * x, krylov, held)) is not None:
        return f"gᵀx = xᵀ(F + λI)x for λ = {more:g} more, as for a preconditioned iterate"
    if inside(x, krylov) and _gap(x, krylov) < 0:
        image = krylov.product(x)
        slope = sign * float(image @ krylov.right)
        if orthogonal(slope, float(image @ image), krylov.unit):
            return "(F + λI)x is orthogonal to its residual, as for MINRES"
    return ""


def orthogonal(slope: float, square: float, unit: float) -> bool:
    """Whether Mx ⟂ g − Mx, from gᵀMx and ‖Mx‖²."""
    return abs(slope - square) <= (RESIDUAL_DOUBLE if unit < SINGLE else RESIDUAL_SINGLE) * square


def _damped_by(x: Array, krylov: Krylov, held: float | None) -> float | None:
    """The damping that the solver added, where gᵀx = xᵀ(F + λI)x gives the declared number, or,
    with nothing declared, one as people write it: any x that is too short has some λ, few have a
    round one."""
    square = float(x @ x)
    more = (float(x @ krylov.right) - krylov.energy(x, 0.0) ** 2) / square if square else 0.0
    if more <= 0.0 or krylov.left_over(x, more) > LARGEST:
        return None
    if held is not None:
        return held if abs(more - held) <= 1e-3 * held else None
    written = float(f"{more:.2g}")
    return written if abs(more - written) <= max(ROUND, 1e3 * krylov.unit) * more else None


def describe(x: Array, krylov: Krylov) -> str:
    """By how much x fails what every solver gives, for a message."""
    sign = -1.0 if float(x @ krylov.right) < 0 else 1.0
    where = "in" if inside(x, krylov) else "outside of"
    return (
        f"its residual is {100 * krylov.left_over(sign * x, 0.0):.3g} % of g, xᵀ(F + λI)x differs "
        f"from gᵀx by {100 * abs(_gap(x, krylov)):.3g} %, and it lies {where} the Krylov spaces"
    )


def _lost(krylov: Krylov) -> float:
    """How far plain runs of conjugate gradient are from gᵀx = xᵀ(F + λI)x, at most."""
    runs = [
        krylov.plain(k, 0.0, wobble=other)
        for k in range(1, krylov.grown + 1)
        for other in (False, True)
    ]
    matrix, lost = krylov.projected(krylov.grown), 0.0
    for x in runs:
        # they lie in the space, so no further product is needed
        y = krylov.coordinates(x, krylov.grown)
        gained = krylov.norm * y[0] if len(y) else 0.0
        if gained > 0:
            lost = max(lost, abs(float(y @ matrix @ y) - gained) / gained)
    return lost


def _gap(x: Array, krylov: Krylov) -> float:
    """(xᵀ(F + λI)x − |gᵀx|) / |gᵀx|; 0 where x is zero."""
    gained = abs(float(x @ krylov.right))
    form = krylov.energy(x, 0.0) ** 2
    return (form - gained) / gained if gained else (np.inf if form else 0.0)


def _finite(runs: Iterator[Array], count: int) -> Iterator[Array]:
    with np.errstate(all="ignore"):
        for _, x in zip(range(count), runs, strict=False):
            if not np.isfinite(x).all():
                return
            yield x


# ---- wrong recurrences, in the coordinates of the Krylov basis -----------------------------------


def _residuals(matrix: Array, right: Array) -> Iterator[Array]:
    return (right - matrix @ state.x for state in run(matrix, right))


def _first_curvature(matrix: Array, right: Array) -> Iterator[Array]:
    """α with pᵀMp of the first direction, while r ← r − αMp is right."""
    first = float(right @ matrix @ right)
    return (state.x for state in run(matrix, right, step=lambda square, _: square / first))


def _changed(**rules: Any) -> Callable[[Array, Array], Iterator[Array]]:
    return lambda matrix, right: (state.x for state in run(matrix, right, **rules))


#: Registered mistakes (or "" and what is done), with their iterates from the first on.
RECURRENCES: tuple[tuple[str, str, Callable[[Array, Array], Iterator[Array]]], ...] = (
    ("cg-is-steepest-descent", "", _changed(beta=lambda new, old: 0.0)),
    ("cg-beta-inverted", "", _changed(beta=lambda new, old: old / new)),
    ("cg-residual-minus-direction", "", _changed(beta=lambda new, old: -new / old)),
    ("cg-beta-is-one", "", _changed(beta=lambda new, old: 1.0)),
    ("cg-step-is-one", "", _changed(step=lambda square, curvature: 1.0)),
    ("cg-residual-forgets-the-matrix", "", _changed(forgets_matrix=True)),
    ("cg-step-is-one", "", _changed(unit_step=True)),
    ("cg-stale-curvature", "", _changed(stale_curvature=True)),
    ("cg-stale-curvature", "", _changed(stale_curvature=True, squares=True)),
    ("cg-stale-curvature", "", _changed(stale_curvature=True, guarded=True)),
    ("cg-stale-curvature", "", _first_curvature),
    ("cg-returns-the-residual", "", _residuals),
    ("cg-returns-the-residual", "", lambda m, b: (state.p for state in run(m, b))),
    ("", "p ← r + βp takes the residual from before the step", _changed(old_residual=True)),
    ("", "rᵀr of the first residual is used throughout", _changed(first_square=True)),
)
