"""Does x solve a system with a part of F: its diagonal, a triangle, blocks, Kronecker products?

Asked of a direction that solves nothing else. M x + λx = g is compared entry by entry, each
equation beside its own terms, with a λ that people write.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import fit, kronecker, names, variants
from npgcheck.step.dense import Dense
from npgcheck.step.probes import Probes
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: With fewer parameters the equations are too few.
SMALLEST = 4
#: The right system is to be further off than the part by this factor: a solve that is rounded, or
#: stopped, is near both.
TELLING = 100.0
#: A matrix is told from a multiple of the identity, and from nothing beside F, by this part of its
#: largest entry: of those every multiple of g solves some system.
UNEVEN, NOTHING = 0.01, 1e-3
#: λ of blocks, each of which would explain itself with a λ of its own.
DAMPINGS = (0.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 0.5, 5e-2, 5e-3, 1.0)


@dataclass(frozen=True)
class Part:
    """What x solves.

    Attributes:
        said: its names.
        damping: λ.
        ratio: the largest error of an equation over what it may be off.
        digits: −log₁₀ of that error, relative to its terms.
    """

    said: list[Diagnosis]
    damping: float
    ratio: float
    digits: float


@dataclass(frozen=True)
class _System:
    """The equations that x is tried on.

    Attributes:
        whole: F and g.
        x: (D,).
        close: what an equation may be off, relative to its terms.
    """

    whole: Dense
    x: Array
    close: float

    def sizes(self, number: float) -> Array:
        """(D,): √F_ii Σ_j √F_jj |x_j| + λ|x_i| + |g_i|, which bounds |F_ij x_j|."""
        scale = np.sqrt(np.maximum(np.diag(self.whole.fisher), 0.0))
        x, g = np.abs(self.x), np.abs(self.whole.gradient)
        return scale * float(scale @ x) + number * x + g

    def off(self, matrix: Array, number: float) -> float:
        """The largest of |M x + λx − g|, each relative to its terms."""
        off = np.abs(matrix @ self.x + number * self.x - self.whole.gradient)
        sizes = self.sizes(number)
        parts = np.divide(off, sizes, out=np.where(off > 0, np.inf, 0.0), where=sizes > 0)
        return float(parts.max())

    def estimated(self, matrix: Array) -> float:
        """λ by least squares."""
        return float((self.whole.gradient - matrix @ self.x) @ self.x / (self.x @ self.x))

    def solved(self, said: list[Diagnosis], off: float, number: float) -> Part:
        """The part, with its λ."""
        digits = min(17.0, -math.log10(off)) if off > 0 else 17.0
        return Part([*said, *names.damped(number)], number, off / self.close, digits)


def explain(probes: Probes, x: Array, dtype: str, damping: float) -> Part | None:
    """What x solves, or None.

    Args:
        probes: the batch.
        x: (D,).
        dtype: of x.
        damping: λ that the user's product carries.
    """
    if len(x) < SMALLEST or (whole := Dense.of(probes)) is None:
        return None
    system = _System(whole, x, whole.tolerance + CONSTANT * unit_roundoff(dtype))
    if _is_multiple(x, whole.gradient, system.close):
        return None
    right = system.off(whole.fisher, system.estimated(whole.fisher))
    for said, matrix in _parts(whole):
        for number in [0.0, *(n for n in roundest(system.estimated(matrix)) if n > 0)]:
            off = system.off(matrix, number)
            if off <= min(system.close, right / TELLING) and fit.is_round(number):
                return system.solved(said, off, number)
    if right <= TELLING * system.close:
        return None
    for number in dict.fromkeys((damping, *DAMPINGS)):
        if (cut := _cut(system, number)) is not None:
            return system.solved([names.named("block-fisher")], system.off(cut, number), number)
    return None


def _is_multiple(x: Array, g: Array, close: float) -> bool:
    """Whether x is a multiple of g, as one step of any solver gives."""
    size = float(g @ g)
    if not size:
        return True
    apart = x - float(x @ g) / size * g
    return bool(np.linalg.norm(apart) <= math.sqrt(close) * np.linalg.norm(x))


def _parts(whole: Dense) -> Iterator[tuple[list[Diagnosis], Array]]:
    """Matrices with a name, the mildest first, without those that tell nothing."""
    largest = float(np.abs(whole.fisher).max())
    for said, matrix in _all_parts(whole):
        even = float(np.trace(matrix)) / len(matrix) * np.eye(len(matrix))
        size = float(np.abs(matrix).max())
        if size > NOTHING * largest and np.abs(matrix - even).max() > UNEVEN * size:
            yield said, matrix


def _all_parts(whole: Dense) -> Iterator[tuple[list[Diagnosis], Array]]:
    fishers = {v.choices: v for v in variants.fishers(whole.probes.rows) if not v.note}
    for choices in ((), ("empirical-fisher",)):
        matrix = whole.matrix(fishers[choices])
        more = names.combined(choices)
        yield [names.named("diagonal-fisher"), *more], np.diag(np.diag(matrix))
        triangle = names.named("upper-triangle-only")
        yield [triangle, *more], np.triu(matrix)
        yield [triangle, *more], np.tril(matrix)
    for product in kronecker.products(whole):
        yield product.said, product.matrix


def _cut(system: _System, number: float) -> Array | None:
    """F cut to the blocks that x solves by themselves, or None: of neighbouring parameters, or of
    those that are so many places apart."""
    size = len(system.x)
    matrix = system.whole.fisher + number * np.eye(size)
    allowed = system.close * system.sizes(number)
    for stride in (1, *(s for s in range(2, size // 2 + 1) if size % s == 0)):
        order = np.arange(size).reshape(-1, stride).T.ravel()
        blocks = _blocks(
            matrix[np.ix_(order, order)],
            system.x[order],
            system.whole.gradient[order],
            allowed[order],
        )
        if blocks and max(blocks) > 1:
            label = np.empty(size, int)
            label[order] = np.repeat(np.arange(len(blocks)), blocks)
            return np.where(label[:, None] == label[None, :], system.whole.fisher, 0.0)
    return None


def _blocks(matrix: Array, x: Array, g: Array, allowed: Array) -> list[int]:
    """The sizes of the blocks, or nothing."""
    found, start, size = [], 0, len(x)
    while start < size:
        # left[i, e]: what equation i is off by when the block ends after e
        part = matrix[start:, start:] * x[start:]
        left = np.abs(np.cumsum(part, axis=1) - g[start:, None])
        fits = left <= allowed[start:, None]
        inside = np.tri(len(left), dtype=bool).T
        ends = np.flatnonzero((fits | ~inside).all(axis=0))
        if not len(ends):
            return []
        found.append(int(ends[0]) + 1)
        start += int(ends[0]) + 1
    return found if len(found) > 1 else []
