"""The linear system of x under a set of choices, and its solutions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npgcheck.conformance.atlas.recurrences import run
from npgcheck.conformance.diagnosis.pipeline import View
from npgcheck.conformance.diagnosis.setup import Setup, factor, named

Array = np.ndarray

#: Beyond this a candidate is given up before anything costly is computed.
FAR_OFF = 1e-2


#: x is fixed up to null(F); eigenvalues below this part of the largest belong to it.
NULL = 1e-11
#: What differs from its transpose by no more than this part is symmetric up to rounding.
SYMMETRIC = 1e-9


@dataclass(frozen=True)
class Solve:
    """The linear system of x: what a choice of the solver may look at.

    Attributes:
        matrix: c_F F + λI.
        bare: c_F F.
        right: c_g g.
        damping: λ.
    """

    matrix: Array
    bare: Array
    right: Array
    damping: float


def system(v: View, setup: Setup) -> Solve | None:
    """(c_F F + λI) x = c_g g under the choices."""
    scale, lift = factor(v, *named(setup.variant, 0)), factor(v, *named(setup.variant, 1))
    g = v["g"]
    if scale is None or lift is None or g is None:
        return None
    bare = scale * v["F"]
    matrix = v.through("matrix", bare)
    if setup.damping:
        matrix = matrix + setup.damping * np.eye(len(matrix))
    return Solve(matrix, bare, lift * g, setup.damping)


def solution(v: View, solve: Solve, setup: Setup) -> Array:
    """x by the minimum-norm solve, by k steps of conjugate gradient, or as a choice has it."""
    for a in v.applied:
        if "direction" in a.choice.change:
            return np.asarray(a.on("direction", v, solve))
    if setup.iterations:
        return conjugate_gradient(solve.matrix, solve.right, setup.iterations)
    return pseudo_solve(solve.matrix, solve.right)


def pseudo_solve(matrix: Array, right: Array) -> Array:
    """The minimum-norm least-squares solution; most matrices are symmetric."""
    if float(np.abs(matrix - matrix.T).max()) > SYMMETRIC * float(np.abs(matrix).max()):
        return np.asarray(np.linalg.lstsq(matrix, right, rcond=NULL)[0])
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    kept = np.abs(values) > NULL * max(float(np.abs(values).max(initial=0.0)), 1e-300)
    inverse = np.zeros_like(values)
    inverse[kept] = 1.0 / values[kept]
    return vectors @ (inverse * (vectors.T @ right))


def conjugate_gradient(matrix: Array, right: Array, iterations: int) -> Array:
    """The textbook recurrence from zero, stopped early only where the residual vanishes."""
    return list(iterates(matrix, right, iterations))[-1]


def iterates(matrix: Array, right: Array, iterations: int | None = None) -> Iterator[Array]:
    """x₀ = 0, x₁, … of conjugate gradient, at most as many as there are unknowns."""
    yield np.zeros(len(right))
    most = len(right) if iterations is None else iterations
    yield from (state.x for _, state in zip(range(most), run(matrix, right), strict=False))


def visible(v: View, x: Array) -> Array:
    """The part of x in range(F) of the right F under this base: the rest moves no policy."""
    pipeline = v.pipeline
    if pipeline.range is None:
        values, vectors = np.linalg.eigh(pipeline.get("F", ()))
        kept = vectors[:, values > NULL * max(float(values.max(initial=0.0)), 1e-300)]
        pipeline.range = kept @ kept.T
    return pipeline.range @ x


def is_direct(v: View, setup: Setup) -> bool:
    """Whether x comes from a formula of its own, not from the linear system."""
    return bool(setup.iterations) or any("direction" in a.choice.change for a in v.applied)


def aside_of(solve: Solve, x: Array) -> float:
    """How far Mᵀ(Mx) is from a multiple of Mᵀg, relative to its size."""
    image, right = solve.matrix.T @ (solve.matrix @ x), solve.matrix.T @ solve.right
    square, size = float(right @ right), float(np.linalg.norm(image))
    if square == 0.0 or size == 0.0:
        return 1.0
    return float(np.linalg.norm(image - float(right @ image) / square * right)) / size
