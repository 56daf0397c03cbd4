"""One choice for all solves: what x is named after explains the steps along it as well.

The direction alone cannot tell (1 − λ)F + λI from F + λ/(1 − λ) I, and a tolerance that does not
follow the gradient shows where rewards are scaled. What was explained more simply by itself is
explained again with the choice that the other answers need.
"""

from __future__ import annotations

from dataclasses import replace

from npgcheck.conformance.choices import BY_NAME, present
from npgcheck.conformance.contract import in_order
from npgcheck.conformance.diagnosis.asked import Asked, pose
from npgcheck.conformance.diagnosis.cover import Cover
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.search import Search
from npgcheck.conformance.diagnosis.writing import write
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.run_state import Run

#: Scaling the rewards scales x, unless an absolute tolerance stops the solve.
SCALES = "NPG-NG-002"
#: Stages of what stands for F or for its inverse.
_STAGES = ("damping", "direction")


def explain_together(state: Run, search: Search) -> None:
    """Explains solves that deviate by themselves with the choice that others are named after."""
    _absolute(state, search)
    told = _told(state)
    for quantity in ("update", "train", "trust_region_proposal"):
        if told and _is_damped(state, quantity):
            _explain(state, search, quantity, told)


def _told(state: Run) -> list[Applied]:
    """The conventions about F and its inverse that x is named after."""
    for quantity in ("natural_gradient", "update"):
        for r in state.results.get(quantity, ()):
            for d in r.diagnosis if r.kind == "value" and r.status == "deviates" else ():
                entry = BY_NAME[d.choice]
                if entry.stage in _STAGES and entry.change and d.value is not None:
                    return [Applied(form, d.value) for form in entry.spelled_out()]
    return []


def _is_damped(state: Run, quantity: str) -> bool:
    """Whether the quantity deviates by a plain λ."""
    return any(
        r.kind == "value"
        and r.status == "deviates"
        and any(d.choice == "damping" for d in r.diagnosis)
        for r in state.results.get(quantity, ())
    )


def _explain(state: Run, search: Search, quantity: str, told: list[Applied]) -> None:
    posed = pose(state, quantity)
    if posed is None:
        return
    undamped = replace(posed, setups=tuple(s for s in posed.likely if not s.damping))
    fits = (search.under((applied,), undamped) for applied in told)
    found = next((f for f in fits if f is not None), None)
    if found is not None:
        write(state, [Asked(quantity, posed, [found])], Cover(found.names, ()))


def _absolute(state: Run, search: Search) -> None:
    """Conjugate gradient that stopped at a tolerance, which was no relative one."""
    violated = any(
        r.id == SCALES and r.status == "fail" for r in state.results.get("natural_gradient", ())
    )
    entry = BY_NAME["absolute-tolerance"]
    if not violated or entry not in present():
        return
    solves = [q for q in in_order(state.results) if q in SOLVES]
    for quantity in solves:
        fit = state.fit(quantity)
        if fit is None or fit.choices.get("cg_stopping") != "tolerance":
            continue
        posed = pose(state, quantity)
        if posed is not None:
            found = search.singles(posed, only=(entry.name,))
            if found:
                write(state, [Asked(quantity, posed, found[:1])], Cover(found[0].names, ()))
