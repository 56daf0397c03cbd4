"""Diagnosis of functions of their arguments alone: conjugate gradient and advantage estimates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npgcheck.conformance.atlas import rollouts
from npgcheck.conformance.atlas.entry import Choice, Number
from npgcheck.conformance.atlas.recurrences import after, run
from npgcheck.conformance.choices import present
from npgcheck.conformance.collect import Collector
from npgcheck.conformance.diagnosis.pipeline import Base
from npgcheck.conformance.diagnosis.predict import resolution
from npgcheck.conformance.diagnosis.question import SCREEN
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.search import FRESH, TELLING, Found
from npgcheck.conformance.diagnosis.setup import Setup, relative
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.round_numbers import first_round
from npgcheck.conformance.valleys import bracket, minimise

PART = {"conjugate_gradient": "cg", "advantage_estimate": "gae"}
#: Recurrences with a wrong rule amplify rounding; their mistakes err by more than a part in ten.
DRIFT = 1e-4
#: A wrong recurrence has diverged where its answer is so many times as large as what it was given.
DIVERGED = 1e9
#: Right sides below this meet the absolute limits that code has.
TINY = 1e-9
#: Conjugate gradient has not lost digits yet after so many iterations.
FEW = 3
#: Units of round-off that its answers differ by from one program to the next.
ROUNDING = 1e3
#: … and what is left where a number was estimated.
ESTIMATED = 1e-8
#: An explanation so many times farther off than another is none.
NEARER = 10.0
#: So many regular systems have to be solved from a start that is drawn at random, each better
#: conditioned than this.
SOLVED = 5
REGULAR = 1e4
#: Answers, spread over all of them, on which a number is estimated; all of them then judge it.
ESTIMATED_ON = 8


def explain(quantity: str, records: Sequence[Record], wrong: Collection[int]) -> list[Found]:
    """The single choices that reproduce every answer; ``wrong`` are the identities of those that
    are refuted, and tell something."""
    part = PART[quantity]
    kept = [r for r in records if np.isfinite(r.value).all()]
    calm = [r for r in kept if _is_calm(quantity, r)]
    found: list[tuple[float, Found]] = []
    for entry in present():
        told = [(_miss(f, part, calm), f) for f in _told(entry, part, quantity, kept, wrong)]
        found += [min(told, key=lambda pair: pair[0])] if told else []
    # What reproduces the answers to rounding is preferred to what comes near.
    rounding = ROUNDING * max((r.roundoff for r in calm), default=0.0)
    closest = max(min((miss for miss, _ in found), default=0.0), rounding)
    near = [(miss, f) for miss, f in found if miss <= NEARER * closest]
    if quantity != "conjugate_gradient":
        return [f for _, f in near]
    return [f for miss, f in near if miss <= (ESTIMATED if _is_estimated(f) else NEARER * rounding)]


def _is_estimated(found: Found) -> bool:
    """Whether its number was refined, and so is known to some digits only."""
    number = found.applied[0].choice.number
    return number is not None and not number.whole


def _is_calm(quantity: str, record: Record) -> bool:
    """Whether an answer is free of drift: after few iterations, of a right side that no absolute
    limit stops."""
    if quantity != "conjugate_gradient":
        return True
    _, b, iterations = record.probe.args
    return bool(iterations <= FEW and float(np.abs(b).max(initial=0.0)) >= TINY)


def _miss(found: Found, part: str, calm: Sequence[Record]) -> float:
    """The largest relative error on the answers without drift, no more than rounding counting as
    none."""
    applied = found.applied[0]
    change = _with_number(applied.choice.change[part], applied.number)
    misses = [m for r in calm if not np.isnan(m := _misfit(change, r))]
    worst = max(misses, default=0.0)
    return worst if worst > ROUNDING * max((r.roundoff for r in calm), default=0.0) else 0.0


def _with_number(change: Any, value: float | None) -> Any:
    return change if value is None else partial(_at, change, value)


def elsewhere(
    collector: Collector, records: Sequence[Record], wrong: Collection[int]
) -> list[Found]:
    """The start of conjugate gradient, where it is not zero: what no iteration at all returns.

    From x₀ the iterates are x₀ plus those of M y = b − M x₀ from zero.
    """
    entry = next((c for c in present() if c.name == "random-start"), None)
    if entry is None:
        return []
    told = 0
    for record in [r for r in records if id(r) in wrong][:ESTIMATED_ON]:
        matrix, b, iterations = record.probe.args
        none = replace(record.probe, args=(matrix, b, 0))
        answer = collector.call(none)
        start = answer.value
        if answer.fault is not None or start is None or not np.any(start):
            return []
        moved = after(run(matrix, b - matrix @ start), iterations, len(b)).x
        if relative(record.value, start + moved) > DRIFT:
            return []
        told += 1
    applied = (Applied(entry),)
    return [Found(applied, Setup(Base()), told)] if told >= min(TELLING, len(wrong)) else []


def drawn_start(
    collector: Collector, records: Sequence[Record], wrong: Collection[int]
) -> list[Found]:
    """A start of conjugate gradient that is another one in every call.

    No answer can be reproduced then. What is looked at instead: without an iteration the answers
    are numbers, others each time, and with enough of them a regular system is solved all the same.
    """
    entry = next((c for c in present() if c.name == "random-start"), None)
    refuted = [r for r in records if id(r) in wrong][:ESTIMATED_ON]
    solved = [r for r in records if _is_solved(r)]
    if entry is None or not refuted or len(solved) < SOLVED:
        return []
    for record in refuted:
        none = replace(record.probe, args=(*record.probe.args[:2], 0))
        starts = [collector.call(none).value for _ in range(2)]
        drawn = [s for s in starts if s is not None and np.isfinite(s).all() and s.all()]
        if len(drawn) < 2 or (drawn[0] == drawn[1]).any():
            return []
    if any(_residual(r) > DRIFT for r in solved):
        return []
    return [Found((Applied(entry),), Setup(Base()), 0)]


def _is_solved(record: Record) -> bool:
    """Whether the iterations that are asked for end at the solution, wherever they start."""
    matrix, b, iterations = record.probe.args
    return iterations >= len(b) and np.linalg.cond(matrix) < REGULAR and _residual(record) < np.inf


def _residual(record: Record) -> float:
    """Relative to the right side; infinite for one that absolute limits may stop."""
    matrix, b, _ = record.probe.args
    size = float(np.linalg.norm(b))
    with np.errstate(over="ignore"):  # of a run that diverged
        left = float(np.linalg.norm(matrix @ record.value - b))
    return left / size if size > TINY else np.inf


def _told(
    entry: Choice, part: str, quantity: str, records: Sequence[Record], wrong: Collection[int]
) -> Iterator[Found]:
    """The forms and numbers of one entry that reproduce every answer."""
    fresh = max(0, min(len(records), 1 + SCREEN + FRESH) - 1 - SCREEN)
    for form in rollouts.forms(entry) if part == "gae" else entry.spelled_out():
        if part not in form.change:
            continue
        change = form.change[part]
        for value in _values(entry.number, change, quantity, records):
            with_number = _with_number(change, value)
            told = _reproduces(with_number, quantity, records, wrong)
            if told is not None and told >= min(TELLING, len(wrong)):
                yield Found((Applied(form, value),), Setup(Base()), fresh)


def _values(
    number: Number | None, change: Any, quantity: str, records: Sequence[Record]
) -> Iterator[float | None]:
    """The numbers that the choice may carry: those of its grid, then an estimate between them."""
    if number is None:
        yield None
        return
    yield from number.start
    if number.whole or len(number.start) < 2:
        return
    calm = [r for r in records if _is_calm(quantity, r)]
    for some in (calm, records) if len(calm) < len(records) else (records,):
        few = some[:: max(1, len(some) // ESTIMATED_ON)]
        yield from _between(number, change, quantity, few)


def _between(number: Number, change: Any, quantity: str, few: Sequence[Record]) -> Iterator[float]:
    """The number between those of the grid that reproduces a few answers best."""
    if not few:
        return

    def worst(value: float) -> float:
        return max(_misfit(partial(_at, change, value), r) for r in few)

    best = min(range(len(number.start)), key=lambda i: worst(number.start[i]))
    low, high = (number.start[min(max(best + s, 0), len(number.start) - 1)] for s in (-1, 1))
    value = minimise(worst, *bracket(worst, low, high))
    limit = max(_limit(quantity, r) for r in few)
    least = worst(value)
    if least > max(limit, 1e-6):
        return
    rounding = ROUNDING * max(r.roundoff for r in few)
    if least <= rounding:
        limit = min(limit, rounding)
    found = first_round(value, lambda n: worst(n) <= limit)
    if found is not None:
        yield found


def _at(change: Any, value: Any, args: Any, nothing: Any) -> Any:
    return change(args, nothing, value)


def _reproduces(
    change: Any, quantity: str, records: Sequence[Record], wrong: Collection[int]
) -> int | None:
    """How many of the refuted answers it reproduces; None where it is at odds with any answer."""
    told = 0
    for record in records:
        misfit = _misfit(change, record)
        if np.isnan(misfit):
            continue
        size = float(np.abs(record.value).max(initial=0.0))
        if misfit > _limit(quantity, record) and size > 1e-12:
            return None
        told += id(record) in wrong and misfit <= _limit(quantity, record)
    return told


def _misfit(change: Any, record: Record) -> float:
    """NaN where choice and answer diverge apart, or absolute limits may act: code gives up in ways
    of its own."""
    with np.errstate(all="ignore"):
        predicted = change(record.probe.args, None)
    size = float(np.abs(record.probe.args[1]).max(initial=0.0))
    misfit = relative(record.value, predicted)
    limit = DIVERGED * size
    answered = float(np.abs(record.value).max(initial=0.0))
    both = answered > limit or 0.0 < size < TINY
    if both and misfit > DRIFT and not np.abs(predicted).max(initial=0.0) <= limit:
        return np.nan
    return misfit


def _limit(quantity: str, record: Record) -> float:
    return DRIFT if quantity == "conjugate_gradient" else resolution(record)
