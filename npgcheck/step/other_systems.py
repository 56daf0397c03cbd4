"""Does x solve another system exactly: with another Fisher matrix, another gradient, or scaled?

Asked of a direction that solves (F + λI) x = g neither exactly nor as an iterate on the user's own
product and gradient. The variants are those of the products and of the gradient: vⱼᵀF'x beside
c vⱼᵀg' − λ vⱼᵀx for every direction vⱼ, at no evaluation of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import fit, judge_fisher, names, partial, variants
from npgcheck.step.declared import hold_damping
from npgcheck.step.probes import Probes, values
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: A system explains x only where it agrees to this many digits, and that many more than the right
#: one: truncated or rounded solves of the right system are near it.
TELLING, BETTER = 4.0, 2.0
#: What is not refuted may well be right: so many columns of the Jacobian are worth asking for.
LARGEST_UNDECIDED = 128
#: Factors this near to the estimate are tried.
NEAR = 1e-3


@dataclass(frozen=True)
class _Side:
    """One side of a system: its products with the directions, and what each may be off."""

    said: list[Diagnosis]
    products: Array
    budgets: Array


def retry(
    probes: Probes,
    x: Array,
    dtype: str,
    verdict: Verdict,
    declared: dict[str, Any],
    damping: float = 0.0,
) -> None:
    """Names the system that x solves, in a verdict that has no name for it; ``damping`` is the λ
    that the user's product carries."""
    if not np.any(x) or not (verdict.is_unexplained or verdict.status == "skip"):
        return
    found = _solved(probes, x, dtype)
    if found is not None:
        said, fitted = found
        part = partial.Part(said, -fitted.shift, fitted.ratio, fitted.digits)
    elif verdict.status == "skip" and len(x) > LARGEST_UNDECIDED:
        return
    elif (solved := partial.explain(probes, x, dtype, damping)) is not None:
        part = solved
    else:
        return
    verdict.numbers["damping"] = part.damping
    verdict.reason, verdict.status = "", "pass"
    verdict.ratio, verdict.digits = part.ratio, part.digits
    verdict.explain(part.said, declared)
    hold_damping(verdict, part.damping, damping, declared)


def _solved(probes: Probes, x: Array, dtype: str) -> tuple[list[Diagnosis], fit.Fitted] | None:
    """The cheapest system that x solves, with its equals."""
    matrices, sides = _matrices(probes, x, dtype), _gradients(probes, dtype)
    if np.all(np.abs(sides[0].products) <= sides[0].budgets):
        return None  # g is zero: every system whose matrix vanishes too would have it
    shifted = probes.products(x)
    right = _fits(matrices[0], sides[0], shifted, [(1.0, [])])
    known = max((f.digits for _, f in right), default=0.0)
    scales = _scales(probes)
    pairs = [(matrices[0], side) for side in sides] + [(m, sides[0]) for m in matrices[1:]]
    found = []
    for matrix, side in pairs:
        for said, fitted in _fits(matrix, side, shifted, scales):
            named = [*matrix.said, *side.said, *said]
            telling = fitted.digits >= max(TELLING, known + BETTER)
            if fitted.holds and telling and any(d.choice != "damping" for d in named):
                found.append((names.cost(d.choice for d in named), named, fitted))
    if not found:
        return None
    price, said, fitted = min(found, key=lambda f: f[0])
    equals = [named for other, named, _ in found if other[0] == price[0]]
    if any(d.choice == "log-std-omitted" for d in said):
        # a pseudo-inverse leaves out what F leaves out
        equals.append([names.named("log-std-omitted-from-F")])
    return names.together(said, equals), fitted


def _fits(
    matrix: _Side, side: _Side, shifted: Array, scales: list[tuple[float, list[Diagnosis]]]
) -> list[tuple[list[Diagnosis], fit.Fitted]]:
    """F x + λx = c g for every known c and a λ that people write."""
    y, exact = matrix.products, side.products
    found = []
    free, _ = fit.estimate(y, exact, matrix.budgets + side.budgets, shifted, free_factor=True)
    for c, said in scales:
        if abs(free - c) > NEAR * abs(c) and c != 1.0:
            continue
        budgets = matrix.budgets + abs(c) * side.budgets
        _, shift = fit.estimate(y - c * exact, 0.0 * exact, budgets, shifted, False)
        # F x + λ'x = c g is (F/c + λI) x = g with λ = λ'/c: an odd λ is a factor of all of it
        for number in [0.0, *(n for n in roundest(-shift / c) if n > 0 and fit.is_round(n))]:
            fitted = fit.compare(y, exact, budgets, c, -number * c, shifted)
            more = names.damped(number)
            found.append(([*said, *more], fitted))
    return found


def _same(a: _Side, b: _Side) -> bool:
    return bool(np.all(np.abs(a.products - b.products) <= b.budgets))


def _matrices(probes: Probes, x: Array, dtype: str) -> list[_Side]:
    """F x, under every way of making F."""
    u, found = max(probes.unit, unit_roundoff(dtype)), []
    for variant in variants.fishers(probes.rows):
        sums = probes.forms(variant.curvature, variant.weights, x)
        sums = probes.with_means(sums, variant.means, x)
        largest = probes.curvature(variant.curvature, variant.weights)
        budgets = probes.budgets(sums, 0.0, dtype)
        budgets += CONSTANT * u * probes.norms() * largest * float(np.linalg.norm(x))
        found.append(_Side(names.combined(variant.choices, variant.note), values(sums), budgets))
    return _distinct(found)


def _gradients(probes: Probes, dtype: str) -> list[_Side]:
    """g, under every way of making it."""
    found = []
    for variant in variants.gradients(probes.rows):
        sums = probes.slopes(variant.cotangent, variant.size)
        said = names.combined(variant.choices, variant.note)
        found.append(_Side(said, values(sums), probes.budgets(sums, 0.0, dtype)))
    return _distinct(found)


def _distinct(sides: list[_Side]) -> list[_Side]:
    """Without those that have the right one's numbers, which explain nothing."""
    return [sides[0], *(side for side in sides[1:] if not _same(side, sides[0]))]


def _scales(probes: Probes) -> list[tuple[float, list[Diagnosis]]]:
    """c with a name: F over a number is g times it."""
    count = float(len(probes.rows.weights))
    summed = names.named("sum-in-g-mean-in-F")
    halved = names.named("gradient-factor-two")
    return [
        (1.0, []),
        (-1.0, [names.named("gradient-of-the-loss")]),
        *((1.0 / c, said) for c, said in judge_fisher.factors(probes)),
        *((c, [summed]) for c in (count, 1.0 / count)),
        *((c, [halved]) for c in (2.0, 0.5)),
    ]
