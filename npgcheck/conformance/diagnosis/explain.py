"""One explanation for all refuted quantities at once: the fewest choices, the mildest first.

Every refuted quantity is asked which sets of at most two choices reproduce it; the smallest union
that covers all of them is the diagnosis. Sets that cover as well form a class, reported as one. A
choice that would have altered a quantity that is right speaks against itself.
"""

from __future__ import annotations

from npgcheck.conformance.choices import BY_NAME
from npgcheck.conformance.contract import in_order
from npgcheck.conformance.diagnosis.asked import ask_all
from npgcheck.conformance.diagnosis.cover import cover, follows, repeats
from npgcheck.conformance.diagnosis.own_solver import (
    explain_by_solver,
    follow_solver,
    is_random,
)
from npgcheck.conformance.diagnosis.search import Search
from npgcheck.conformance.diagnosis.singular import name_singular_solves
from npgcheck.conformance.diagnosis.small import name_small_errors
from npgcheck.conformance.diagnosis.stopped import name_early_stops
from npgcheck.conformance.diagnosis.telling import name_telling_facts
from npgcheck.conformance.diagnosis.together import explain_together
from npgcheck.conformance.diagnosis.writing import write
from npgcheck.conformance.naming import is_nameless
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.run_state import Run


def name_mistakes(state: Run) -> None:
    """Fills in the diagnosis of refuted quantities that no convention explained."""
    explained = explain_by_solver(state)
    name_singular_solves(state, explained)
    search = Search()
    explained |= name_early_stops(state, search)
    _name_refuted(state, search, explained)
    follow_solver(state, explained)
    name_small_errors(state, search)
    explain_together(state, search)
    name_telling_facts(state)


def _name_refuted(state: Run, search: Search, explained: set[str]) -> None:
    refuted = [q for q in in_order(state.results) if q not in explained and _unexplained(state, q)]
    refuted = [q for q in refuted if q not in SOLVES or not is_random(state, q)]
    if not refuted:
        return
    asked = ask_all(state, search, refuted)
    chosen = cover(state, search, asked)
    if chosen is None:  # several mistakes: each quantity for itself, told names first
        told: frozenset[str] = frozenset()
        for one in asked:
            waits = follows(asked, one) and not one.is_implied
            if waits and (one.quantity in SOLVES or repeats(state, asked, one)):
                continue  # it may follow from the mistake that has no name
            alone = cover(state, search, [one], told)
            if alone is not None:
                told |= alone.names
                write(state, [one], alone)
        return
    write(state, asked, chosen)


def _unexplained(state: Run, quantity: str) -> bool:
    """Whether the value was refuted and no choice named, nor a declaration broken, or the name
    explains by saying little."""
    return not state.undeclared.get(quantity) and any(
        r.kind == "value" and (is_nameless(r) or any(BY_NAME[d.choice].weak for d in r.diagnosis))
        for r in state.results[quantity]
    )
