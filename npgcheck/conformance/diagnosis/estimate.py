"""Numbers that choices carry, by least squares over a few answers: λ, γ′, a temperature, a bound.

An estimate starts from a grid, is refined by Gauss–Newton steps with secant slopes, and is then
read as the roundest number that reproduces the answers as well: people write round numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from npgcheck.conformance.atlas.entry import Choice, Silent
from npgcheck.conformance.diagnosis.pipeline import OUTSIDE
from npgcheck.conformance.diagnosis.predict import MISFITS, Pipelines, resolution
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.setup import Setup
from npgcheck.conformance.diagnosis.solve import system
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.round_numbers import first_round
from npgcheck.conformance.valleys import in_valley

if TYPE_CHECKING:
    from npgcheck.conformance.diagnosis.question import Question

#: Answers that a number is estimated on; the others then judge it.
ESTIMATED_ON = 4
#: Starting points this bad are not refined: the grids are so fine that a number that explains the
#: answers shows beside its nearest neighbour.
FAR = 0.9
#: Misfits that differ by no more than this part are the same.
NOTHING = 1e-9


def numbers(
    pipelines: Pipelines,
    choice: Choice,
    asked: Question,
    setup: Setup,
    beside: tuple[Applied, ...] = (),
    far: float = FAR,
) -> Iterator[Applied]:
    """The choice with the number that fits a few answers best, rounded where that is as good.

    ``beside`` are choices that are taken as given; beyond a misfit of ``far`` nothing is refined.
    """
    number = choice.number
    if number is None:  # pragma: no cover - only numbered choices are asked
        return
    records = asked.records[:ESTIMATED_ON]
    limit = max(resolution(r) for r in records)
    if "matrix" in choice.change:
        yield from _in_matrix(pipelines, choice, asked, setup, beside)
        return

    def worst(value: float) -> float:
        applied = (*beside, Applied(choice, value))
        return _worst(pipelines, applied, records, asked.quantity, setup)

    def first(value: float) -> float:
        applied = (*beside, Applied(choice, value))
        return _worst(pipelines, applied, records[:1], asked.quantity, setup)

    tried = [(first(value), value) for value in number.start]
    if number.valley:
        length = in_whole_valley(first, tried)
        if worst(length) <= limit:
            yield Applied(choice, length)
        return
    if number.whole:
        # Where two numbers explain a few answers, the fresh ones decide between them.
        near = [value for misfit, value in tried if misfit <= limit]
        yield from (Applied(choice, value) for value in near if worst(value) <= limit)
        return
    seen = first
    if sum(misfit <= limit for misfit, _ in tried) > 1:  # the first answer does not show it
        seen, tried = worst, [(worst(value), value) for value in number.start]
    best = min(tried)
    if not best[0] <= far:
        return
    if best[0] <= limit and worst(best[1]) <= limit and best[1] not in number.not_values:
        yield Applied(choice, best[1])
        return
    # Beyond a bound nothing changes: the valley may lie at either end of what is equally good.
    equal = [i for i, (misfit, _) in enumerate(tried) if misfit <= best[0] * (1.0 + NOTHING)]
    values = [in_valley(seen, number.start, i) for i in dict.fromkeys((equal[0], equal[-1]))]
    value = min(values, key=seen)
    if worst(value) > max(limit, 1e-6):
        return
    if any(abs(value - n) <= 1e-9 * max(1.0, abs(n)) for n in number.not_values):
        return
    found = first_round(value, lambda n: n not in number.not_values and worst(n) <= limit)
    if found is not None:
        yield Applied(choice, found)


def _in_matrix(
    pipelines: Pipelines,
    choice: Choice,
    asked: Question,
    setup: Setup,
    beside: tuple[Applied, ...],
) -> Iterator[Applied]:
    """c of M = M₀ + cK by least squares on the first answer, when the second agrees."""
    found: list[float] = []
    for record in asked.records[:2]:
        views = [
            pipelines.view(record, setup.base, (*beside, Applied(choice, c))) for c in (0.0, 1.0)
        ]
        try:
            systems = [None if v is None else system(v, setup) for v in views]
        except OUTSIDE:
            return
        if systems[0] is None or systems[1] is None:
            return
        x, right = _solution_of(record, asked.quantity), systems[0].right
        image, slope = systems[0].matrix @ x, (systems[1].matrix - systems[0].matrix) @ x
        if asked.quantity in ("trust_region_proposal", "trust_region_step"):
            # The length of x is another matter: M x is a multiple of g, whatever that is.
            unit = right / max(float(np.linalg.norm(right)), 1e-300)
            image, slope = image - unit * (unit @ image), slope - unit * (unit @ slope)
            right = 0.0 * right
        square = float(slope @ slope)
        size = float(slope @ (right - image)) / square if square else np.nan
        if not np.isfinite(size) or size <= 1e-12:
            return
        found.append(size)
    if len(found) < 2 or abs(found[0] - found[1]) > 1e-4 * abs(found[0]):
        return
    number, value = choice.number, _rounded(found[0])
    if number is None or value in number.not_values or value > 100.0 * number.start[-1]:
        return
    yield Applied(choice, value)


def _solution_of(record: Record, quantity: str) -> Any:
    """x, or a multiple of it, as the answer has it."""
    if quantity == "natural_gradient":
        return record.value
    moved = record.value - record.reference.theta
    return moved / float(record.probe.args[-1]) if quantity in ("update", "train") else moved


def _rounded(value: float) -> float:
    """The number as people write it, where the least squares say no more than that."""
    return first_round(value, lambda n: abs(n - value) <= 1e-5 * abs(value)) or value


def _worst(
    pipelines: Pipelines,
    applied: tuple[Applied, ...],
    records: Sequence[Record],
    quantity: str,
    setup: Setup,
) -> float:
    found, said = 0.0, False
    for record in records:
        view = pipelines.view(record, setup.base, applied)
        if view is None:
            continue
        with np.errstate(all="ignore"):
            try:
                misfit = MISFITS[quantity][1](view, record, setup)
            except Silent:
                continue
            except OUTSIDE:
                return np.inf
        said = True
        if not np.isnan(misfit):
            found = max(found, float(misfit))
    return found if said else np.inf


def in_whole_valley(misfit: Callable[[float], float], tried: list[tuple[float, float]]) -> float:
    """The whole number where the misfit is least, from the grid: thirds of what is left."""
    index = min(range(len(tried)), key=lambda i: tried[i][0])
    low = int(tried[max(0, index - 1)][1])
    high = int(tried[min(len(tried) - 1, index + 1)][1])
    while high - low > 2:
        third = (high - low) // 3
        near, far = low + third, high - third
        if misfit(near) <= misfit(far):
            high = far
        else:
            low = near
    return float(min(range(low, high + 1), key=misfit))


def damping(
    pipelines: Pipelines, applied: tuple[Applied, ...], asked: Question, setup: Setup
) -> float | None:
    """λ by least squares on the first answer, when the second agrees."""
    found: list[float] = []
    for record in asked.records[:2]:
        view = pipelines.view(record, setup.base, applied)
        if view is None:
            return None
        try:
            size = _damping_of(view, record, asked.quantity, setup)
        except OUTSIDE:
            return None
        if size is None or not np.isfinite(size) or size <= 1e-12:
            return None
        found.append(size)
        if len(found) == 1:
            misfit = _misfit(view, record, asked.quantity, replace(setup, damping=size))
            if not misfit <= max(1e-6, resolution(record)):
                return None
    if len(found) < 2 or abs(found[0] - found[1]) > 1e-4 * found[0]:
        return None
    return _rounded(found[0])


def _misfit(view: Any, record: Record, quantity: str, setup: Setup) -> float:
    with np.errstate(all="ignore"):
        try:
            return float(MISFITS[quantity][1](view, record, setup))
        except OUTSIDE:
            return np.inf


def _damping_of(view: Any, record: Record, quantity: str, setup: Setup) -> float | None:
    solve = system(view, replace(setup, variant=(*setup.variant, "normalised")[:2]))
    if solve is None or not solve.bare.any():
        return None  # with F = 0 every x is damping of something
    if quantity == "fisher":
        return float(np.trace(record.value - solve.bare)) / len(solve.bare)
    if quantity == "fisher_vector_product":
        v = record.probe.args[0]
        return float(v @ (record.value - solve.bare @ v)) / float(v @ v)
    if quantity in ("natural_gradient", "update", "train"):
        x = _solution_of(record, quantity)
        square = float(x @ x)
        return float(x @ (solve.right - solve.matrix @ x)) / square if square else None
    moved = record.value - record.reference.theta
    square = float(solve.right @ solve.right)
    if square == 0.0:
        return None
    aside = moved - solve.right * (float(solve.right @ moved) / square)
    image = solve.matrix @ moved
    image = image - solve.right * (float(solve.right @ image) / square)
    size = float(aside @ aside)
    return -float(aside @ image) / size if size else None
