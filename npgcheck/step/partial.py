"""Does x solve a system with a part of F: its diagonal, a triangle, blocks, Kronecker products?

Asked of a direction that solves nothing else. M x + λx = g is compared entry by entry: D equations
in at most one unknown, so that an accident explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import kronecker, names, variants
from npgcheck.step.dense import Dense
from npgcheck.step.probes import Probes
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: With fewer parameters the equations are too few.
SMALLEST = 4
#: The right system is to be further off than the part by this factor: a solve that is rounded, or
#: stopped, is near both.
TELLING = 100.0
#: λ of blocks, each of which would explain itself with a λ of its own.
DAMPINGS = (0.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 0.5, 5e-2, 5e-3, 1.0)


def explain(probes: Probes, x: Array, dtype: str, damping: float) -> list[Diagnosis]:
    """The names of what x solves, or nothing.

    Args:
        probes: the batch.
        x: (D,).
        dtype: of x.
        damping: λ that the user's product carries.
    """
    if len(x) < SMALLEST or (whole := Dense.of(probes)) is None:
        return []
    g, close = whole.gradient, whole.tolerance + CONSTANT * unit_roundoff(dtype)
    if not np.any(g):
        return []

    def off(matrix: Array, number: float) -> float:
        """The largest error of an equation, relative to its terms."""
        made = matrix @ x + number * x
        size = np.abs(matrix).max() * np.abs(x).max() + np.abs(g).max()
        return float(np.abs(made - g).max() / size)

    def estimated(matrix: Array) -> float:
        return float((g - matrix @ x) @ x / (x @ x))

    right = off(whole.fisher, estimated(whole.fisher))
    for said, matrix in _parts(whole):
        for number in [0.0, *(n for n in roundest(estimated(matrix)) if n > 0)]:
            if off(matrix, number) <= min(close, right / TELLING):
                return [*said, *([names.named("damping", number)] if number else [])]
    if right <= TELLING * close:
        return []
    for number in dict.fromkeys((damping, *DAMPINGS)):
        if _falls_apart(whole.fisher + number * np.eye(len(x)), x, g, close):
            return [
                names.named("block-fisher"),
                *([names.named("damping", number)] if number else []),
            ]
    return []


def _parts(whole: Dense) -> Iterator[tuple[list[Diagnosis], Array]]:
    """Matrices with a name, the mildest first."""
    fishers = {v.choices: v for v in variants.fishers(whole.probes.rows) if not v.note}
    for choices in ((), ("empirical-fisher",)):
        matrix = whole.matrix(fishers[choices])
        more = [names.named(n) for n in choices]
        yield [names.named("diagonal-fisher"), *more], np.diag(np.diag(matrix))
        triangle = names.named("upper-triangle-only")
        yield [triangle, *more], np.triu(matrix)
        yield [triangle, *more], np.tril(matrix)
    for product in kronecker.products(whole):
        first, *others = product.choices
        yield [names.named(first, note=product.note), *map(names.named, others)], product.matrix


def _falls_apart(matrix: Array, x: Array, g: Array, close: float) -> bool:
    """Whether x solves the blocks of a matrix by themselves: of neighbouring parameters, or of
    those that are so many places apart."""
    size = len(x)
    for stride in (1, *(s for s in range(2, size // 2 + 1) if size % s == 0)):
        order = np.arange(size).reshape(-1, stride).T.ravel()
        blocks = _blocks(matrix[np.ix_(order, order)], x[order], g[order], close)
        if blocks and max(blocks) > 1:
            return True
    return False


def _blocks(matrix: Array, x: Array, g: Array, close: float) -> list[int]:
    """The sizes of the blocks, or nothing."""
    found, start, size = [], 0, len(x)
    allowed = close * float(np.abs(matrix).max() * np.abs(x).max() + np.abs(g).max())
    while start < size:
        # left[i, e]: what is left of equation i when the block ends after e
        part = matrix[start:, start:] * x[start:]
        left = np.abs(np.cumsum(part, axis=1) - g[start:, None])
        worst = np.maximum.accumulate(np.where(np.tri(len(left), dtype=bool).T, left, 0.0), axis=0)
        ends = np.flatnonzero(np.diag(worst) <= allowed)
        if not len(ends):
            return []
        found.append(int(ends[0]) + 1)
        start += int(ends[0]) + 1
    return found if len(found) > 1 else []
