"""What is asked of the search: one refuted quantity, its answers and the conventions in play."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from npgcheck.conformance.contract import in_order
from npgcheck.conformance.diagnosis import pure
from npgcheck.conformance.diagnosis.given import own_answers
from npgcheck.conformance.diagnosis.plausible import plausible
from npgcheck.conformance.diagnosis.predict import MISFITS
from npgcheck.conformance.diagnosis.question import Question, question
from npgcheck.conformance.diagnosis.search import Found, Search
from npgcheck.conformance.diagnosis.separating import separating_records
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.layers import bugs, failing
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.verdicts import expected, rescore


@dataclass
class Asked:
    """One refuted quantity and the sets that reproduce it."""

    quantity: str
    question: Question | None
    found: list[Found] = field(default_factory=list)
    paired: bool = False

    @property
    def is_implied(self) -> bool:
        """Whether it follows from the subject's own answers below, and needs no name."""
        return bool(self.found) and not any(f.names for f in self.found)


#: Facts about a line search: its rules are conventions of their own, no formula reproduces them.
CUT = "the step was cut"
_RULES = ("the accepted step", CUT, "θ came back")


def ask_all(state: Run, search: Search, quantities: Sequence[str]) -> list[Asked]:
    """The questions that refuted quantities pose.

    One choice that explains all of them explains the first: the others are asked for no more than
    explains those before them, or what was named below, as long as there is such a choice.
    """
    asked: list[Asked] = []
    whole: dict[str, Asked] = {}
    names: set[str] = set()
    for quantity in quantities:
        only = names.union(*(bugs(state, q) for q in _below(state, quantity)))
        asked.append(one := ask(state, search, quantity, only))
        if one.is_implied or not only:
            whole[quantity] = one  # of the others only some choices were tried
        if one.is_implied:
            continue
        names = {n for f in one.found if len(f.names) == 1 for n in f.names}
        if not names:
            break
    else:
        return asked
    return [whole.get(q) or ask(state, search, q) for q in quantities]


def _below(state: Run, quantity: str) -> tuple[str, ...]:
    order = in_order(state.results)
    return order[: order.index(quantity)]


def ask(state: Run, search: Search, quantity: str, only: Collection[str] = ()) -> Asked:
    """The question that a refuted quantity poses, and the single choices that answer it; no
    others are tried than ``only``, where it is not empty."""
    reasons = [r.reason for r in state.results[quantity] if r.kind == "value"]
    if any(reason.startswith(_RULES) for reason in reasons):
        return _ask_length(state, search, quantity, reasons)
    records = state.judgeable(quantity)
    if quantity in pure.PART:
        wrong = _refuted(quantity, records, expected(state, quantity, records))
        found = pure.explain(quantity, records, wrong)
        if not found and quantity == "conjugate_gradient":
            found = pure.elsewhere(state.collector, records, wrong)
            found = found or pure.drawn_start(state.collector, records, wrong)
        return Asked(quantity, None, found)
    posed = pose(state, quantity)
    if posed is None:
        return Asked(quantity, None)
    if only:
        found = plausible(state, search, quantity, search.singles(posed, only=only))
        return Asked(quantity, posed, found or _of_own_answers(state, search, posed))
    if own := _of_own_answers(state, search, posed):
        return Asked(quantity, posed, own)
    found = search.singles(posed) or search.damped(posed)
    return Asked(quantity, posed, plausible(state, search, quantity, found))


def _of_own_answers(state: Run, search: Search, posed: Question) -> list[Found]:
    """What the subject's own wrong answers below make of it, damped or not: then it needs no name
    of its own."""
    below = {q for q in _below(state, posed.quantity) if failing(state, q)}
    for own in own_answers(state, posed.quantity, below) if below else ():
        found = search.under((own,), posed) or search.under_damping((own,), posed)
        if found is not None:
            return [found]
    return []


def _ask_length(state: Run, search: Search, quantity: str, reasons: list[str]) -> Asked:
    """A step that was cut without need, where no proposal is defined: its full length is wrong?"""
    cut = any(reason.startswith(CUT) for reason in reasons)
    posed = pose(state, quantity) if cut and "trust_region_proposal" not in state.results else None
    if posed is None:
        return Asked(quantity, None)
    found = [f for f in search.singles(posed, numbered=False) if _is_length(f)]
    return Asked(quantity, posed if found else None, plausible(state, search, quantity, found))


def _is_length(found: Found) -> bool:
    return all("length" in a.choice.change for a in found.applied)


def _refuted(quantity: str, records: Sequence[Record], base: dict[str, Any]) -> set[int]:
    """The identities of the answers that are wrong under the likeliest conventions."""
    return {id(records[i]) for i in rescore(quantity, records, base).refuted}


def pose(state: Run, quantity: str) -> Question | None:
    """The question about a refuted quantity, or None where no pipeline answers for it."""
    records = state.judgeable(quantity)
    if quantity not in MISFITS or not records:
        return None
    dampings, iterations = _conventions(state)
    base = expected(state, quantity, records)
    wrong = _refuted(quantity, records, base)
    sampled = state.sampled(quantity)
    more = separating_records(state, quantity)
    return question(quantity, records, sampled, base, dampings, iterations, wrong, more)


def _conventions(state: Run) -> tuple[list[float], list[int]]:
    """λ and k that other quantities of the subject follow, or that it declares."""
    dampings: set[float] = set()
    iterations: set[int] = set()
    choices = [f.choices for f in state.chosen.values() if f is not None]
    for found in [*choices, state.declared]:
        for stage in ("damping", "damping_in_fisher"):
            if found.get(stage):
                dampings.add(float(found[stage]))
        if found.get("cg_iterations"):
            iterations.add(int(found["cg_iterations"]))
    return sorted(dampings), sorted(iterations)
