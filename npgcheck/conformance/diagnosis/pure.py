"""Diagnosis of functions of their arguments alone: conjugate gradient and advantage estimates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from npgcheck.conformance.atlas.entry import Choice
from npgcheck.conformance.choices import present
from npgcheck.conformance.diagnosis.pipeline import Applied, Base
from npgcheck.conformance.diagnosis.predict import resolution
from npgcheck.conformance.diagnosis.search import FRESH, SCREEN, TELLING, Found
from npgcheck.conformance.diagnosis.setup import Setup, relative
from npgcheck.conformance.fitting import Record

PART = {"conjugate_gradient": "cg", "advantage_estimate": "gae"}
#: Recurrences with a wrong rule amplify rounding; their mistakes err by more than a part in ten.
DRIFT = 1e-4


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
        for value in (None,) if entry.number is None else entry.number.start:
            change = form.change[part]
            with_number = change if value is None else partial(_at, change, value)
            telling = _reproduces(with_number, quantity, records)
            if telling is not None and telling >= min(TELLING, len(records)):
                yield Found((Applied(form, value),), Setup(Base()), fresh)


def _at(change: Any, value: Any, args: Any, nothing: Any) -> Any:
    return change(args, nothing, value)


def _reproduces(change: Any, quantity: str, records: Sequence[Record]) -> int | None:
    """On how many answers it says what the right formula does not, or None where it is wrong."""
    telling = 0
    for record in records:
        with np.errstate(all="ignore"):
            predicted = change(record.probe.args, None)
        if not np.isfinite(predicted).all():
            continue  # a diverging recurrence overflows differently in every style
        limit = DRIFT if quantity == "conjugate_gradient" else resolution(record)
        size = float(np.abs(record.value).max(initial=0.0))
        misfit = relative(record.value, predicted)
        if misfit > limit and size > 1e-12:
            return None
        telling += size > 0.0
    return telling
