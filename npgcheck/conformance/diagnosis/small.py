"""Small errors with a name: a sum cut off late, a small ε in a logarithm, finite differences.

Answers that are right to a few digits are explained by a limited accuracy, which says little. Where
one of these choices leaves nothing of the error, on every problem, it is that choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from npgcheck.conformance.atlas.entry import Choice
from npgcheck.conformance.contract import in_order
from npgcheck.conformance.diagnosis import estimate
from npgcheck.conformance.diagnosis.asked import Asked, pose
from npgcheck.conformance.diagnosis.cover import Cover
from npgcheck.conformance.diagnosis.question import Question
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.search import TELLING, Found, Search
from npgcheck.conformance.diagnosis.setup import Setup
from npgcheck.conformance.diagnosis.writing import write
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.naming import is_nameless
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.round_numbers import first_round
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.valleys import in_valley
from npgcheck.tolerance import UNIT_ROUNDOFF

ACCURACY = "limited-accuracy"
NAMES = (
    "epsilon-inside-kl",
    "horizon-cut-off",
    "value-sweeps-cut-off",
    "value-sweeps-stopped-at-a-tolerance",
    "finite-difference-eps",
)
#: A choice leaves at most this part of the error, or rounding: so many units of it, times the
#: largest cond F at which a solve is judged.
LEFT = 0.02
UNITS = 3e3
CONDITION = 1e4
#: An answer tells something where its error is so many times larger than rounding.
SHOWS = 100.0
#: A difference over h rounds at so many units of round-off over h.
QUOTIENT = 100.0
#: Larger errors are no small ones; a few answers may have no size of their own.
SMALL = 0.3
NEARLY_ALL = 0.8
#: Rounding is never more than this part of an answer.
MOST = 1e-4
#: So many of the conventions in play are looked at.
SETUPS = 12


@dataclass
class _Errors:
    """The answers under one set of conventions, and their errors without any choice."""

    setup: Setup
    records: list[Record]
    bare: list[float]

    @property
    def worst(self) -> int:
        """The index of the answer with the largest error."""
        return max(range(len(self.bare)), key=self.bare.__getitem__)


def name_small_errors(state: Run, search: Search) -> None:
    """Names what a limited accuracy explained, or nothing, quantity by quantity from below."""
    told: list[Applied] = []
    for quantity in in_order(state.results):
        if not _is_limited(state, quantity) or state.declared.get("solver_rtol"):
            continue
        posed = pose(state, quantity)
        found = None if posed is None else _explain(search, posed, told)
        if posed is not None and found is not None:
            told = [*found.applied, *told]
            write(state, [Asked(quantity, posed, [found])], Cover(found.names, ()))


def _is_limited(state: Run, quantity: str) -> bool:
    """Whether a limited accuracy is all that is said, or no name at all."""
    values = [r for r in state.results[quantity] if r.kind == "value"]
    if len(values) != 1 or values[0].explained_by or state.undeclared.get(quantity):
        return False
    said = {d.choice for d in values[0].diagnosis if d.kind != "free"}
    return said == {ACCURACY} if values[0].status == "deviates" else is_nameless(values[0])


def _explain(search: Search, asked: Question, told: Sequence[Applied]) -> Found | None:
    errors = _errors(search, asked)
    if errors is None:
        return None
    entries = [c for c in search.candidates(asked) if c.name in NAMES]
    for applied in (a for a in told if a.choice in entries):
        if found := _confirm(search, asked, errors, applied):
            return found
    for entry in entries:
        for applied in _numbers(search, asked, errors, entry):
            if found := _confirm(search, asked, errors, applied):
                return found
    return None


def _errors(search: Search, asked: Question) -> _Errors | None:
    """Under the conventions of which the answers are nearest to right."""
    options = []
    for setup in asked.likely[:SETUPS]:
        pairs = [(r, search.misfit(r, (), asked.quantity, setup)) for r in asked.records]
        # A product with a vector of null(F) is rounding, of which every number is a multiple.
        pairs = [(r, m) for r, m in pairs if m < SMALL]
        if len(pairs) > NEARLY_ALL * len(asked.records):
            options.append(_Errors(setup, [r for r, _ in pairs], [m for _, m in pairs]))
    if not options:
        return None
    nearest = min(options, key=lambda e: sorted(e.bare)[len(e.bare) // 2])
    return nearest if sum(_telling(asked, nearest)) >= TELLING else None


def _rounding(quantity: str, record: Record) -> float:
    """The relative error that rounding leaves."""
    times = CONDITION if quantity in SOLVES else 1.0
    if quantity == "kl":  # a sum of terms of the size of one
        times = 1.0 + 1.0 / max(float(np.abs(record.value).max()), 1e-9)
    return min(UNITS * record.roundoff * times, MOST)


def _telling(asked: Question, errors: _Errors) -> list[bool]:
    pairs = zip(errors.records, errors.bare, strict=True)
    return [bare > SHOWS * _rounding(asked.quantity, r) for r, bare in pairs]


def _numbers(search: Search, asked: Question, errors: _Errors, entry: Choice) -> Iterator[Applied]:
    """The number under which the worst answer is nearest to right, and rounder ones."""
    number, record = entry.number, errors.records[errors.worst]
    if number is None:  # pragma: no cover - all of them have one
        return

    def misfit(value: float) -> float:
        applied = (Applied(entry, value),)
        found = search.misfit(record, applied, asked.quantity, errors.setup)
        return found if found == found else float("inf")

    tried = [(misfit(value), value) for value in number.start]
    if number.valley:
        yield Applied(entry, estimate.in_whole_valley(misfit, tried))
        return
    best = min(range(len(tried)), key=lambda i: tried[i][0])
    value = in_valley(misfit, number.start, best)
    limit = max(2.0 * misfit(value), LEFT * errors.bare[errors.worst])
    if (found := first_round(value, lambda n: misfit(n) <= limit)) is not None:
        yield Applied(entry, found)


def _confirm(search: Search, asked: Question, errors: _Errors, applied: Applied) -> Found | None:
    """The choice, where it leaves no answer with an error of its own."""
    quotient = 0.0
    if applied.choice.name == "finite-difference-eps" and applied.number:
        quotient = QUOTIENT * UNIT_ROUNDOFF["float64"] / applied.number
    told = sum(
        told and bare > SHOWS * quotient
        for told, bare in zip(_telling(asked, errors), errors.bare, strict=True)
    )
    for record, bare in zip(errors.records, errors.bare, strict=True):
        left = search.misfit(record, (applied,), asked.quantity, errors.setup)
        if not left <= max(LEFT * bare, _rounding(asked.quantity, record) + quotient):
            return None
    return Found((applied,), errors.setup, told) if told >= TELLING else None
