"""Diagnosis of functions of their arguments alone: conjugate gradient and advantage estimates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgcheck.conformance.choices import present
from npgcheck.conformance.diagnosis.pipeline import Applied, Base
from npgcheck.conformance.diagnosis.predict import Setup, relative, resolution
from npgcheck.conformance.diagnosis.search import FRESH, SCREEN, TELLING, Found
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
        if part not in entry.change:
            continue
        for form in entry.spelled_out():
            if (telling := _reproduces(form.change[part], quantity, kept)) is not None:
                fresh = max(0, min(len(kept), 1 + SCREEN + FRESH) - 1 - SCREEN)
                if telling >= min(TELLING, len(kept)):
                    found.append(Found((Applied(form),), Setup(Base()), fresh))
                    break
    return found


def _reproduces(change, quantity: str, records: Sequence[Record]) -> int | None:  # type: ignore[no-untyped-def]
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
