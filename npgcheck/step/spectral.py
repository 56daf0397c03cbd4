"""Which function of the user's own matrix makes x, where no solver does: x = h(F) g.

Code that forms F solves directly, and its mistakes show in the eigenbasis of F: λ that is
subtracted, or added after inverting, eigenvalues that are cut off, a ridge on the normal equations.
Each h has one number. It is estimated from all eigenvalues at once, rounded as people write
numbers, and confirmed on the whole of x, far more closely than any accident would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest, written
from npgcheck.step import dense, names
from npgcheck.step.iterates import SINGLE
from npgcheck.step.krylov import Krylov

Array = np.ndarray

#: A matrix is symmetric to so many round-offs.
SYMMETRIC = 1e3
#: x is confirmed to this, relative to its length, or to `ROUNDED` round-offs times the conditioning
#: where that is more; at most to the other two numbers, in double and in single precision.
CONFIRMED, ROUNDED, MOST_DOUBLE, MOST_SINGLE = 1e-6, 64.0, 1e-5, 1e-3
#: … and x is nearer to it than it is to the solution by this factor.
TELLING = 0.01
#: One number is told from accidents by at least so many eigenvalues that g meets, by this share of
#: its length; eigenvalues within the last number of each other are one.
DISTINCT, MET, SAME = 3, 1e-6, 1e-6
#: What a cut-off drops holds at least this share of g: conjugate gradient that has not yet got to a
#: smaller share looks alike.
DROPPED = 1e-4
#: Where eigenvalues count as zero, relative to the largest, in double and in single precision.
ZEROS_DOUBLE = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6)
ZEROS_SINGLE = (1e-6, 1e-5, 1e-4, 1e-3)
#: A product whose smallest eigenvalue is below this, relative to the largest, is not damped.
SINGULAR = 1e-6
#: x solves a system when it leaves no more than this of g.
SOLVED = 1e-9
#: A diagonal that differs by less than this is a multiple of the identity.
UNEVEN = 0.01


@dataclass(frozen=True)
class Found:
    """A function of F that gives x.

    Attributes:
        diagnoses: its name, and that of the damping in it.
        off: how far it is from x, relative to the length of x.
    """

    diagnoses: list[Diagnosis]
    off: float


@dataclass(frozen=True)
class _Basis:
    """F in its eigenbasis, with the coefficients of g and x.

    Attributes:
        values: (D,), ascending.
        right, x: (D,).
        unit: round-off of the product.
    """

    values: Array
    right: Array
    x: Array
    unit: float

    @property
    def top(self) -> float:
        """The largest eigenvalue."""
        return float(self.values[-1])

    @property
    def is_singular(self) -> bool:
        """Whether F shows that nothing is added to its diagonal."""
        return float(self.values[0]) <= SINGULAR * self.top

    @property
    def tolerance(self) -> float:
        """The largest error, relative to x, with which x may be confirmed."""
        return MOST_DOUBLE if self.unit < SINGLE else MOST_SINGLE

    def zeros(self) -> list[Array]:
        """Which eigenvalues count as more than zero, for every threshold that differs."""
        shares = ZEROS_DOUBLE if self.unit < SINGLE else ZEROS_SINGLE
        kept = [self.values > share * self.top for share in shares]
        counts = [int(k.sum()) for k in kept]
        return [k for n, k in enumerate(kept) if k.any() and counts[n] not in counts[:n]]

    def off(self, h: Array) -> float:
        """‖x − h g‖/‖x‖."""
        return float(np.linalg.norm(self.x - h * self.right) / np.linalg.norm(self.x))

    def damped(self) -> float:
        """How far x is from the nearest solution of a damped system, of either sign of λ."""
        number = _least_squares(self.values * self.x - self.right, self.x)
        off = self.off(1.0 / (self.values - number))
        return off if np.isfinite(off) else np.inf

    def confirms(self, h: Array, kept: Array | None = None, is_damped: bool = False) -> bool:
        """Whether x is h g, and not nearly the solution; nor, unless h `is_damped` itself, nearly
        that of a damped system."""
        off = self.off(h)
        rounded = ROUNDED * self.unit * self.top * float(np.abs(h).max())
        if not off <= min(max(CONFIRMED, rounded), self.tolerance):
            return False
        if not is_damped and off > TELLING * self.damped():
            return False
        solutions = self.zeros() if kept is None else [kept]
        return off <= TELLING * min(self.off(_inverse(self.values, k)) for k in solutions)

    def met(self) -> int:
        """How many different eigenvalues g meets."""
        seen = self.values[np.abs(self.right) > MET * np.linalg.norm(self.right)]
        return int(np.count_nonzero(np.diff(seen) > SAME * self.top)) + 1 if len(seen) else 0


def explain(x: Array, krylov: Krylov, damping: float, is_known: bool = True) -> list[Diagnosis]:
    """The names of what gives x as a function of the user's matrix, or nothing.

    Args:
        x: (D,).
        krylov: the user's product and gradient.
        damping: λ that the product carries.
        is_known: whether that is so; a product that is wrong may be damped by any λ.
    """
    matrix = matrix_of(krylov)
    if matrix is None:
        return []
    spectrum, vectors = np.linalg.eigh(matrix)
    found: list[Found] = []
    for shift in dict.fromkeys((damping, 0.0)):
        basis = _Basis(spectrum - shift, vectors.T @ krylov.right, vectors.T @ x, krylov.unit)
        if basis.top <= 0 or basis.met() < DISTINCT:
            continue
        with np.errstate(all="ignore"):  # what overflows is not confirmed
            found += [*_functions(basis), *_cut_off(basis)]
        if shift != damping or not (is_known or basis.is_singular):
            # less damping than the product's is no λ that is subtracted
            found = [f for f in found if f.diagnoses[0].choice != "damping-subtracted"]
        found += _marquardt(matrix - shift * np.eye(len(x)), krylov.right, x, krylov.unit)
        if found:
            break
    if not found:
        return []
    found.sort(key=lambda f: names.cost(d.choice for d in f.diagnoses))
    return names.together(found[0].diagnoses, (f.diagnoses for f in found[1:]))


def matrix_of(krylov: Krylov) -> Array | None:
    """The user's matrix (D, D), or None where it is too large, or not symmetric."""
    size = len(krylov.right)
    if size > dense.LARGEST:
        return None
    matrix = np.stack([krylov.product(e) for e in np.eye(size)], axis=1)
    whole = 0.5 * (matrix + matrix.T)
    off = float(np.linalg.norm(matrix - whole))
    return whole if off <= SYMMETRIC * krylov.unit * float(np.linalg.norm(whole)) else None


def relative(
    x: Array, krylov: Krylov, damping: float, iterate: float | None = None
) -> tuple[list[Diagnosis], bool]:
    """damping and relative-damping, where λ is no number that anybody would write, but a round
    share of the size of F; and whether x solves the system with it.

    Args:
        x: (D,).
        krylov: the user's product and gradient.
        damping: λ that the product carries.
        iterate: λ of the system of which x is an iterate to many digits, or None.
    """
    matrix = matrix_of(krylov)
    if matrix is None or krylov.unit > SINGLE:
        return [], False
    left = krylov.right - matrix @ x
    extra = _least_squares(left, x)
    number, size = extra + damping, len(matrix)
    solved = float(np.linalg.norm(left - extra * x)) <= SOLVED * krylov.norm
    if not solved:
        number = iterate or 0.0
    if number <= 0 or written(number, CONFIRMED * number) is not None:
        return [], False
    trace = float(np.trace(matrix)) - size * damping
    top = float(np.linalg.eigvalsh(matrix)[-1]) - damping
    fits: list[tuple[float, str]] = []
    for what, unit in {"tr F/D": trace / size, "tr F": trace, "λ_max": top}.items():
        share = number / unit if unit > 0 else 0.0
        short = float(f"{share:.2g}")
        if short > 0 and abs(share - short) <= CONFIRMED * short:
            fits.append((short, what))
    if not fits:
        return [], False
    short, what = min(fits, key=lambda f: f[0] > 1.0)  # where D is round, two of them fit
    note = f"damping {short:g} times {what}: λ = {number:.6g}"
    said = [names.named("damping", number), names.named("relative-damping", short, note)]
    return said, solved


def _inverse(values: Array, kept: Array) -> Array:
    return np.divide(1.0, values, out=np.zeros_like(values), where=kept)


def _functions(basis: _Basis) -> Iterator[Found]:
    """Functions with one number, or none."""
    w, b, y = basis.values, basis.right, basis.x
    made = w * y - b  # what is left of F x − g

    def subtracted(c: float) -> Array:
        return 1.0 / (w - c)

    def ridge(c: float) -> Array:
        return w / (w * w + c)

    def shrunk(c: float) -> Array:
        return 1.0 / ((1.0 - c) * w + c)

    # each is linear in its number: least squares on the equation that x solves
    linear: tuple[tuple[str, Callable[[float], Array], Array, Array], ...] = (
        ("damping-subtracted", subtracted, made, y),
        ("ridge-on-normal-equations", ridge, -w * made, y),
        ("shrinkage", shrunk, made, (w - 1.0) * y),
    )
    for name, h, left, along in linear:
        number = _least_squares(left, along)
        if number > 0 and not (name == "shrinkage" and number >= 1.0):
            yield from _rounded(name, basis, h, number)
    for kept in basis.zeros():
        inverse = _inverse(w, kept)

        def added(c: float, inverse: Array = inverse) -> Array:
            return inverse + c

        number = _least_squares(np.where(kept, made, 0.0), np.where(kept, w * b, 0.0))
        before = _rounded("damping-added-to-the-inverse", basis, added, number, kept)
        found = next(before, None) if number > 0 else None
        if found is not None:
            yield found
            break
    yield from _powers(basis)


def _powers(basis: _Basis) -> Iterator[Found]:
    """F^(−1/2) g and F⁻² g, of F or of F + λI."""
    w, b, y = basis.values, basis.right, basis.x
    for name, power in (("square-root-of-F", -0.5), ("inverse-applied-twice", -2.0)):

        def h(c: float, kept: Array, power: float = power) -> Array:
            shifted = np.where(kept, np.maximum(w + c, np.finfo(float).tiny), 1.0)
            return np.where(kept, shifted**power, 0.0)

        plain = next((k for k in basis.zeros() if basis.confirms(h(0.0, k))), None)
        if plain is not None:
            yield Found([names.named(name)], basis.off(h(0.0, plain)))
            continue
        usable = (np.abs(b) > MET * np.linalg.norm(b)) & (b * y > 0)
        if not usable.any():
            continue
        shift = np.divide(y, b, out=np.ones_like(b), where=usable) ** (1.0 / power) - w
        number = float(np.average(shift[usable], weights=y[usable] ** 2))
        whole = np.ones(len(w), bool)
        for c in (n for n in roundest(number) if n > 0):
            if basis.confirms(h(c, whole)):
                yield Found([names.named(name), names.named("damping", c)], basis.off(h(c, whole)))
                break


def _rounded(
    name: str,
    basis: _Basis,
    h: Callable[[float], Array],
    number: float,
    kept: Array | None = None,
) -> Iterator[Found]:
    """The function with the roundest number that gives x."""
    for c in roundest(number):
        made = h(c)
        is_damped = name == "damping-subtracted"
        if c > 0 and np.isfinite(made).all() and basis.confirms(made, kept, is_damped):
            yield Found([names.named(name, c)], basis.off(made))
            return


def _least_squares(left: Array, along: Array) -> float:
    """c in left = c · along."""
    square = float(along @ along)
    return float(along @ left) / square if square else 0.0


def _cut_off(basis: _Basis) -> Iterator[Found]:
    """F⁻¹ g without the smallest eigenvalues."""
    w, b = basis.values, basis.right
    usable = w > len(w) * 10.0 * basis.unit * basis.top
    first = int(np.argmax(usable))  # the smallest that is more than zero
    for last in range(len(w) - 2, first - 1, -1):  # the largest that is dropped
        if w[last + 1] - w[last] <= SAME * w[last + 1]:
            continue
        kept = np.arange(len(w)) > last
        if np.linalg.norm(b[first : last + 1]) < DROPPED * np.linalg.norm(b):
            continue
        if not basis.confirms(_inverse(w, kept), usable):
            continue
        low, high = float(w[last] / basis.top), float(w[last + 1] / basis.top)
        c = _between(low, high)
        note = (
            f"the smallest eigenvalues are dropped: {int(kept.sum())} of {int(usable.sum())} are "
            f"kept, as by any cut-off c · λ_max with c from {low:.3g} to {high:.3g}"
        )
        yield Found([names.named("pseudo-inverse-cut-off", c, note)], basis.off(_inverse(w, kept)))
        return


def _between(low: float, high: float) -> float | None:
    """The roundest number in an interval: a power of ten, one digit, two digits, or none."""
    decades = [10.0**k for k in range(-16, 1)]
    for digits in ((1,), (5, 2), range(1, 10), [d / 10 for d in range(10, 100)]):
        inside = [d * t for t in decades for d in digits if low < d * t < high]
        if inside:
            return float(f"{inside[-1]:.2g}")
    return None


def _marquardt(matrix: Array, right: Array, x: Array, unit: float) -> Iterator[Found]:
    """(F + λ diag F) x = g."""
    diagonal = np.diag(matrix)
    if np.ptp(diagonal) <= UNEVEN * float(np.abs(diagonal).max()):
        return
    left, along = right - matrix @ x, diagonal * x
    number = _least_squares(left, along)
    damped = float(np.linalg.norm(left - _least_squares(left, x) * x))
    grain = ROUNDED * unit * float(np.linalg.norm(matrix)) * float(np.linalg.norm(x))
    for c in roundest(number):
        explained = abs(c) * float(np.linalg.norm(along))
        off = float(np.linalg.norm(left - c * along))
        most = MOST_DOUBLE if unit < SINGLE else MOST_SINGLE
        told = off <= min(max(CONFIRMED * explained, grain), most * explained, TELLING * damped)
        if c > 0 and told:
            yield Found([names.named("marquardt-damping", c)], off / explained)
            return
    # … and λI beside it, both of them numbers that people write
    both = np.stack([along, x], axis=1)
    fitted = np.linalg.lstsq(both, left, rcond=None)[0]
    c, more = (float(f"{f:.2g}") for f in fitted)
    off = float(np.linalg.norm(left - both @ np.array([c, more])))
    explained = abs(c) * float(np.linalg.norm(along))
    if c > 0 and more > 0 and off <= min(CONFIRMED * explained, TELLING * damped):
        said = [names.named("marquardt-damping", c), names.named("damping", more)]
        yield Found(said, off / explained)


def held_to(said: list[Diagnosis], declared: float | None) -> str:
    """Why this breaks a declared damping, or ""."""
    shown = [d.value for d in said if d.choice == "damping" and d.value is not None]
    if not declared or any(abs(number - declared) <= 1e-3 * declared for number in shown):
        return ""
    return f"damping λ = {declared:g} is declared, the solve shows: {said[0].note}"
