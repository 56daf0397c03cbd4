"""Iterates of a training run whose policy has settled: rounding decides what comes next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgcheck.conformance.fitting import Record

#: A training run is read off its iterates before the policy has settled, if there are so many.
CLEAR = 10
#: A policy has settled where a state's probabilities leave less than this to all but one action.
SETTLED = 1e-4
#: … or where rounding of θ is more than this part of a step.
ROUNDED = 1e-9


def before_settling(quantity: str, records: Sequence[Record]) -> list[Record]:
    """The answers from which a training run is read; all of them for other quantities."""
    clear = [r for r in records if not is_settled(r)] if quantity == "train" else []
    return clear if len(clear) >= CLEAR else list(records)


def is_settled(record: Record) -> bool:
    """Whether 1 − π cancels, or steps are as small as an ulp."""
    theta = record.reference.theta
    moved = float(np.abs(record.value - theta).max(initial=0.0))
    if record.roundoff * float(np.abs(theta).max(initial=0.0)) > ROUNDED * moved:
        return True
    if not record.reference.discrete:
        return False
    return float(record.reference.probabilities.max()) > 1.0 - SETTLED
