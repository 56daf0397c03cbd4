"""Parts of F: its diagonal, one of its triangles, or blocks, seen in the user's own products alone.

F e_j is column j of the matrix that a product belongs to. The reference is asked along directions
that it knows, and along a few within a block.
"""

from __future__ import annotations

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import fit, names, variants
from npgcheck.step.calls import Function
from npgcheck.step.probes import Probes
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: How many entries of a diagonal are compared before it is called that of F.
DIAGONAL = 5
#: Matrices with more columns are not asked for.
LARGEST = 512
#: An entry counts as zero below this, relative to the largest.
ZERO = 1e-12
#: How many blocks are compared with those of F; each costs a dozen evaluations of the network.
BLOCKS = 3


def part_of(
    function: Function, probes: Probes, asked: list[str], exact: Array, shifted: Array
) -> list[Diagnosis]:
    """What a linear product that is not F is a part of F by.

    Args:
        function: the user's product.
        probes: the directions.
        asked: the names of the directions whose products `exact` holds, in its order.
        exact: wᵀFv for every product and direction.
        shifted: wᵀv for them.
    """
    if _is_diagonal(function, probes):
        return [names.named("diagonal-fisher")]
    size = len(probes.vectors[0])
    if size > LARGEST:
        return []
    matrix = np.stack([function.vector(e) for e in np.eye(size)], axis=1)
    zero = np.abs(matrix) <= ZERO * np.abs(matrix).max(initial=0.0)
    below, above = np.tril(~zero, -1).any(), np.triu(~zero, 1).any()
    u = CONSTANT * max(probes.unit, unit_roundoff(function.dtype)) * probes.growth
    if below != above:
        whole = matrix + matrix.T - np.diag(np.diag(matrix))
        y = np.concatenate([probes.products(whole @ probes.directions[name]) for name in asked])
        lengths = np.outer([np.linalg.norm(probes.directions[n]) for n in asked], probes.norms())
        budgets = u * np.linalg.norm(whole) * lengths.ravel()
        more = _fits(y, exact, budgets, shifted)
        return [] if more is None else [names.named("upper-triangle-only"), *more]
    return _blocks(probes, matrix, ~zero, u) if below else []


def _blocks(probes: Probes, matrix: Array, filled: Array, u: float) -> list[Diagnosis]:
    """F cut to blocks, if the entries that are not zero fall into several."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(filled, directed=False)
    if count < 2 or np.bincount(label).max() < 2:
        return []
    true = next(iter(variants.fishers(probes.rows)))
    y, exact, shifted = [], [], []
    for block in np.argsort(-np.bincount(label))[:BLOCKS]:
        v = np.where(label == block, probes.vectors[0], 0.0)
        form = probes.rows.form(true.curvature, v, v, true.weights)
        y.append(float(v @ matrix @ v))
        exact.append((form.value, form.error + u * form.size))
        shifted.append(float(v @ v))
    value, off = np.array(exact).T
    more = _fits(np.array(y), value, off, np.array(shifted))
    return [] if more is None else [names.named("block-fisher"), *more]


def _fits(y: Array, exact: Array, budgets: Array, shifted: Array) -> list[Diagnosis] | None:
    """The damping under which y is exact + λ shifted: none, or a rounded number."""
    _, shift = fit.estimate(y, exact, budgets, shifted, free_factor=False)
    for number in [0.0, *(n for n in roundest(shift) if n > 0)]:
        if fit.compare(y, exact, budgets, 1.0, number, shifted).holds:
            return [names.named("damping", number)] if number else []
    return None


def _is_diagonal(function: Function, probes: Probes) -> bool:
    """Whether the answer is the diagonal of F, damped or not: F e_j is F_jj e_j, for a few j."""
    size = len(probes.vectors[0])
    true = next(iter(variants.fishers(probes.rows)))
    shifts = []
    for j in np.linspace(0, size - 1, DIAGONAL).astype(int):
        unit = np.zeros(size)
        unit[j] = 1.0
        column = function.vector(unit)
        if np.count_nonzero(np.abs(column) > 1e-12 * abs(column[j])) > 1:
            return False
        entry = probes.rows.form(true.curvature, unit, unit, true.weights)
        shifts.append((float(column[j]) - entry.value, entry.size + abs(float(column[j]))))
    spread = max(s for s, _ in shifts) - min(s for s, _ in shifts)
    return size > DIAGONAL and spread <= 1e-5 * max(scale for _, scale in shifts)
