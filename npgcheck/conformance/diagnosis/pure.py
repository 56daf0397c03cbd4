"""Diagnosis of functions of their arguments alone: conjugate gradient and advantage estimates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from npgcheck.conformance.atlas.entry import Choice, Number
from npgcheck.conformance.choices import present
from npgcheck.conformance.diagnosis.estimate import bracket, minimise
from npgcheck.conformance.diagnosis.pipeline import Base
from npgcheck.conformance.diagnosis.predict import resolution
from npgcheck.conformance.diagnosis.question import SCREEN
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.search import FRESH, TELLING, Found
from npgcheck.conformance.diagnosis.setup import Setup, relative
from npgcheck.conformance.fitting import Record

PART = {"conjugate_gradient": "cg", "advantage_estimate": "gae"}
#: Recurrences with a wrong rule amplify rounding; their mistakes err by more than a part in ten.
DRIFT = 1e-4
#: Answers, spread over all of them, on which a number is estimated; all of them then judge it.
ESTIMATED_ON = 8


def explain(quantity: str, records: Sequence[Record]) -> list[Found]:
    """The single choices that reproduce every answer."""
    part = PART[quantity]
    kept = [r for r in records if np.isfinite(r.value).all()]
    found = []
    for entry in present():
        if any(part in form.change for form in entry.spelled_out()):
            told = next(_told(entry, part, quantity, kept), None)
            found += [] if told is None else [told]
    return found


def _told(entry: Choice, part: str, quantity: str, records: Sequence[Record]) -> Iterator[Found]:
    """The forms and numbers of one entry that reproduce every answer."""
    fresh = max(0, min(len(records), 1 + SCREEN + FRESH) - 1 - SCREEN)
    for form in entry.spelled_out():
        if part not in form.change:
            continue
        change = form.change[part]
        for value in _values(entry.number, change, quantity, records):
            with_number = change if value is None else partial(_at, change, value)
            telling = _reproduces(with_number, quantity, records)
            if telling is not None and telling >= min(TELLING, len(records)):
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
    few = records[:: max(1, len(records) // ESTIMATED_ON)]

    def worst(value: float) -> float:
        return max(_misfit(partial(_at, change, value), r) for r in few)

    best = min(range(len(number.start)), key=lambda i: worst(number.start[i]))
    low, high = (number.start[min(max(best + s, 0), len(number.start) - 1)] for s in (-1, 1))
    value = minimise(worst, *bracket(worst, low, high))
    limit = max(_limit(quantity, r) for r in few)
    if worst(value) > max(limit, 1e-6):
        return
    for digits in (2, 3, 4, 6, 17):
        rounded = float(f"{value:.{digits}g}")
        if worst(rounded) <= limit:
            yield rounded
            return


def _at(change: Any, value: Any, args: Any, nothing: Any) -> Any:
    return change(args, nothing, value)


def _reproduces(change: Any, quantity: str, records: Sequence[Record]) -> int | None:
    """On how many answers it says what the right formula does not, or None where it is wrong."""
    telling = 0
    for record in records:
        misfit = _misfit(change, record)
        if np.isnan(misfit):
            continue  # a diverging recurrence overflows differently in every style
        size = float(np.abs(record.value).max(initial=0.0))
        if misfit > _limit(quantity, record) and size > 1e-12:
            return None
        telling += size > 0.0
    return telling


def _misfit(change: Any, record: Record) -> float:
    with np.errstate(all="ignore"):
        predicted = change(record.probe.args, None)
    return relative(record.value, predicted) if np.isfinite(predicted).all() else np.nan


def _limit(quantity: str, record: Record) -> float:
    return DRIFT if quantity == "conjugate_gradient" else resolution(record)
