"""Parts of F in the user's own products: its diagonal, a triangle, blocks, Kronecker products.

F e_j is column j of the matrix that a product belongs to. The reference is asked along directions
that it knows, and along a few within a block.
"""

from __future__ import annotations

import itertools

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import dense, fit, kronecker, names, variants
from npgcheck.step.calls import Function
from npgcheck.step.dense import Dense
from npgcheck.step.probes import Probes
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: How many entries of a diagonal are compared before it is called that of F.
DIAGONAL = 5
#: An entry counts as zero below this, relative to the largest.
ZERO = 1e-12
#: How many blocks are compared with those of F, along how many directions in each; each of them
#: costs a dozen evaluations of the network.
BLOCKS, DIRECTIONS = 3, 3
#: F joins two blocks where a product between them is so many budgets from zero.
VISIBLE = 2.0


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
    if (diagonal := _diagonal(function, probes)) is not None:
        return diagonal
    size = len(probes.vectors[0])
    if size > dense.LARGEST:
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
    if not below:
        return []
    apart = _blocks(probes, matrix, ~zero, u)
    if apart or not (_label(~zero)[0] > 1 or kronecker.is_linear(probes)):
        return apart
    return _of_products(function, probes, matrix)


def _label(filled: Array) -> tuple[int, Array]:
    """How many blocks the entries that are not zero fall into, and which one each row is in."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(filled, directed=False)
    return int(count), label


def _blocks(probes: Probes, matrix: Array, filled: Array, u: float) -> list[Diagnosis]:
    """F cut to blocks, if the entries that are not zero fall into several."""
    count, label = _label(filled)
    if count < 2 or np.bincount(label).max() < 2:
        return []
    true = next(iter(variants.fishers(probes.rows)))
    y, exact, shifted, joined = [], [], [], False
    for block in np.argsort(-np.bincount(label))[:BLOCKS]:
        inside = [np.where(label == block, v, 0.0) for v in probes.vectors[:DIRECTIONS]]
        for v, w in itertools.combinations_with_replacement(inside, 2):
            form = probes.rows.form(true.curvature, v, w, true.weights)
            y.append(float(v @ matrix @ w))
            exact.append((form.value, form.error + u * form.size))
            shifted.append(float(v @ w))
        for v, whole in zip(inside, probes.vectors, strict=False):
            between = probes.rows.form(true.curvature, v, whole - v, true.weights)
            joined |= abs(between.value) > VISIBLE * (between.error + u * between.size)
    if not joined:  # F itself is zero between these blocks: nothing was cut
        return []
    value, off = np.array(exact).T
    more = _fits(np.array(y), value, off, np.array(shifted))
    return [] if more is None else [names.named("block-fisher"), *more]


def _fits(y: Array, exact: Array, budgets: Array, shifted: Array) -> list[Diagnosis] | None:
    """The damping under which y is exact + λ shifted: none, or a rounded number."""
    _, shift = fit.estimate(y, exact, budgets, shifted, free_factor=False)
    for number in [0.0, *(n for n in roundest(shift) if n > 0)]:
        if fit.compare(y, exact, budgets, 1.0, number, shifted).holds:
            return names.damped(number)
    return None


def _diagonal(function: Function, probes: Probes) -> list[Diagnosis] | None:
    """Whether the answer is the diagonal of F, or of the empirical one: for a few j, F e_j is
    F_jj e_j, all of them damped alike."""
    size = len(probes.vectors[0])
    if size <= DIAGONAL:
        return None
    columns = {}
    for j in np.linspace(0, size - 1, DIAGONAL).astype(int):
        unit = np.zeros(size)
        unit[j] = 1.0
        column = function.vector(unit)
        if np.count_nonzero(np.abs(column) > 1e-12 * abs(column[j])) > 1:
            return None
        columns[int(j)] = unit, float(column[j])
    for variant in itertools.islice(variants.fishers(probes.rows), 2):
        shifts = []
        for unit, found in columns.values():
            entry = probes.rows.form(variant.curvature, unit, unit, variant.weights)
            shifts.append((found - entry.value, entry.size + abs(found)))
        spread = max(s for s, _ in shifts) - min(s for s, _ in shifts)
        if spread <= 1e-5 * max(scale for _, scale in shifts):
            return [names.named("diagonal-fisher"), *map(names.named, variant.choices)]
    return None


def _of_products(function: Function, probes: Probes, matrix: Array) -> list[Diagnosis]:
    """Kronecker products, damped or not."""
    whole = Dense.of(probes)
    if whole is None:
        return []
    size = len(matrix)
    close = dense.CLOSE + CONSTANT * unit_roundoff(function.dtype) + whole.tolerance
    for product in kronecker.products(whole):
        shift = float(np.trace(matrix - product.matrix)) / size
        for number in [0.0, *(n for n in roundest(shift) if n > 0)]:
            off = float(np.abs(matrix - product.matrix - number * np.eye(size)).max())
            if off <= close * float(np.abs(product.matrix).max()):
                return [*product.said, *names.damped(number)]
    return []
