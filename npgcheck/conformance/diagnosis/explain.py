"""One explanation for all refuted quantities at once: the fewest choices, the mildest first.

Every refuted quantity is asked which sets of at most two choices reproduce it; the smallest union
that covers all of them is the diagnosis. Sets that cover as well form a class, reported as one. A
choice that would have altered a quantity that is right speaks against itself.
"""

from __future__ import annotations

from dataclasses import replace

from npgcheck.conformance.choices import BY_NAME
from npgcheck.conformance.contract import in_order
from npgcheck.conformance.diagnosis.asked import ask
from npgcheck.conformance.diagnosis.cover import cover, follows, repeats
from npgcheck.conformance.diagnosis.search import Search
from npgcheck.conformance.diagnosis.writing import write
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run


def name_mistakes(state: Run) -> None:
    """Fills in the diagnosis of refuted quantities that no convention explained."""
    _name_singular_solves(state)
    _pass_accuracy_on(state)
    refuted = [q for q in in_order(state.results) if _unexplained(state, q)]
    if not refuted:
        return
    search = Search()
    asked = [ask(state, search, q) for q in refuted]
    chosen = cover(state, search, asked)
    if chosen is None:  # several mistakes: each quantity for itself, told names first
        told: frozenset[str] = frozenset()
        for one in asked:
            if follows(asked, one) and (one.quantity in SOLVES or repeats(state, asked, one)):
                continue  # it may follow from the mistake that has no name
            alone = cover(state, search, [one], told)
            if alone is not None:
                told |= alone.names
                write(state, [one], alone)
        return
    write(state, asked, chosen)


def _name_singular_solves(state: Run) -> None:
    """A plain solve with a singular matrix says so itself."""
    entry = BY_NAME["no-damping"]
    named = Diagnosis(entry.stage, entry.name, entry.kind, None, entry.said())
    for quantity in _solves(state):
        state.results[quantity] = [
            replace(r, diagnosis=(named,))
            if r.kind == "contract" and r.status == "fail" and "Singular matrix" in r.reason
            else r
            for r in state.results[quantity]
        ]


def _solves(state: Run) -> list[str]:
    """The solves that were judged."""
    return [q for q in SOLVES if q in state.results]


def _pass_accuracy_on(state: Run) -> None:
    """A solve is no more accurate than its own F and g: then no tolerance of its own is seen."""
    below = ("policy_gradient", "fisher", "fisher_vector_product")
    coarse = [d for q in below for r in state.results.get(q, ()) for d in r.diagnosis]
    if not any(d.choice == "limited-accuracy" for d in coarse):
        return
    entry = BY_NAME["limited-accuracy"]

    def renamed(d: Diagnosis) -> Diagnosis:
        if d.choice != "cg-stopped-at-a-tolerance":
            return d
        return Diagnosis(entry.stage, entry.name, entry.kind, d.value, entry.said())

    for quantity in _solves(state):
        state.results[quantity] = [
            replace(
                r,
                diagnosis=tuple(renamed(d) for d in r.diagnosis),
                reason=r.reason.replace(BY_NAME["cg-stopped-at-a-tolerance"].said(), entry.said()),
            )
            for r in state.results[quantity]
        ]


def _unexplained(state: Run, quantity: str) -> bool:
    """Whether the value was refuted and no choice named, nor a declaration broken, or the name
    explains by saying little."""
    return not state.undeclared.get(quantity) and any(
        r.kind == "value" and (_nameless(r) or any(BY_NAME[d.choice].weak for d in r.diagnosis))
        for r in state.results[quantity]
    )


def _nameless(result: CheckResult) -> bool:
    return result.status == "fail" and not result.diagnosis
