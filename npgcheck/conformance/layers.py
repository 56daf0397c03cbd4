"""Layered verdicts: a failure that a lower mistake fully explains says so.

Each quantity was judged against the reference. Here a refuted one is recomputed from the
subject's *own* lower answers; where that reproduces it on every problem tried, its mistake is
theirs.
"""

from __future__ import annotations

from dataclasses import replace

from npgcheck.conformance.contract import in_order
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.own_answers import OwnAnswers
from npgcheck.conformance.recompute import RECOMPUTE
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.verdicts import expected, rescore

#: A lower mistake must reproduce the answer on this many problems.
TRIED = 3


def explain_by_lower(state: Run) -> None:
    """Fills ``explained_by`` in the results of quantities that follow from lower mistakes."""
    for quantity in in_order(state.results):
        if quantity not in RECOMPUTE or not failing(state, quantity):
            continue
        if all(r.explained_by for r in state.results[quantity] if r.status == "fail"):
            continue
        lower = _same_named_mistake(state, quantity) or common_lower(state, quantity)
        if lower is not None:
            state.results[quantity] = [
                replace(r, explained_by=lower) if r.status == "fail" else r
                for r in state.results[quantity]
            ]


def _same_named_mistake(state: Run, quantity: str) -> str | None:
    """The quantity in which a mistake of this name is made: F is the Hessian of KL, so a mistake
    in the divergence is the divergence's; all others belong to the lowest layer that has them."""
    order = in_order(state.results)
    for name in bugs(state, quantity):
        roots = [q for q in order if name in bugs(state, q)]
        root = "kl" if name.startswith("kl-") and "kl" in roots else roots[0]
        if root != quantity:
            return root
    return None


def bugs(state: Run, quantity: str) -> set[str]:
    """The mistakes that a wrong quantity is named after."""
    return {
        d.choice
        for r in state.results[quantity]
        if r.status == "fail"
        for d in r.diagnosis
        if d.kind == "bug"
    }


def common_lower(state: Run, quantity: str) -> str | None:
    """The lowest failing quantity whose answers reproduce this one on every problem tried."""
    if quantity not in RECOMPUTE:
        return None
    shared: set[tuple[str, ...]] | None = None
    for record in refuted_records(state, quantity):
        problem = record.reference.problem
        own = OwnAnswers(state.collector, problem, damping_of(state))
        found = {
            used
            for used in RECOMPUTE[quantity](own, record)
            if used and quantity not in used and any(failing(state, name) for name in used)
        }
        shared = found if shared is None else shared & found
        if not shared:
            return None
    if not shared:
        return None
    fewest = min(shared, key=lambda used: (len(used), used))
    return in_order(name for name in fewest if failing(state, name))[-1]


def refuted_records(state: Run, quantity: str, large: int = 0) -> list[Record]:
    """The refuted answers of a few problems, small ones first, and of so many large ones."""
    records = state.judgeable(quantity)
    fit = rescore(quantity, records, expected(state, quantity, records))
    refuted = [
        r
        for r, j in zip(records, fit.judged, strict=True)
        if j is not None and j.ratio > 1.0 and r.probe.label != "θ itself"
    ]
    refuted.sort(key=lambda r: len(r.reference.problem.theta))
    chosen: dict[int, Record] = {}
    for record in refuted:
        chosen.setdefault(record.probe.position, record)
    found = list(chosen.values())
    return found[:TRIED] + found[max(TRIED, len(found) - large) :]


def damping_of(state: Run) -> float:
    """λ as the subject uses it, wherever it was found."""
    found = [state.vector.get("damping", 0.0)]
    for explanations in state.explanations.values():
        found += [f.choices.get("damping", 0.0) for f in explanations.fitting[:1]]
    return float(max(found))


def failing(state: Run, quantity: str) -> bool:
    return any(
        r.status == "fail" and r.kind in ("value", "consistency")
        for r in state.results.get(quantity, [])
    )
