"""Controls in the field: mistakes planted into the user's own answers must be caught.

``--controls`` asks whether this run, on these problems and with these functions, could have
failed at all. Each planted mistake alters what the subject answered (never the subject itself),
and the altered answers are judged again; a mistake that still passes is a survivor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.fitting import Fit, Record, explain
from npgcheck.conformance.naming import diagnose
from npgcheck.conformance.report import Control
from npgcheck.conformance.run_state import Run

Array = np.ndarray
#: So many answers are altered; a mistake that these do not show would be a subtle one.
ALTERED = 24

#: (name, what it does to an answer, given θ where the answer is a point in parameter space).
_MISTAKES: tuple[tuple[str, Callable[[Array, Array], Array]], ...] = (
    ("scaled by 1.001", lambda y, base: base + 1.001 * (y - base)),
    ("halved", lambda y, base: base + 0.5 * (y - base)),
    ("sign flipped", lambda y, base: base - (y - base)),
    ("first entry left out", lambda y, base: _without_first(y, base)),
)
_POINTS = ("update", "trust_region_proposal", "trust_region_step", "train")
#: A step may be any accepted fraction of the proposal, so a shorter one is no mistake as such.
_SPARED = {("trust_region_step", "halved")}


def inject(state: Run) -> tuple[Control, ...]:
    """Plants every mistake into every quantity that was found right."""
    found = []
    for quantity, fit in state.chosen.items():
        if fit is None or any(d.kind == "bug" for d in diagnose(fit.choices)):
            continue
        records = state.judgeable(quantity)
        records = [r for r in records if r.probe.label != "θ itself" and np.any(r.value)]
        anchors = [r for r in state.judgeable(quantity) if r.probe.label == "θ itself"]
        if not records:
            continue
        picked = [records[i] for i in np.linspace(0, len(records) - 1, ALTERED).astype(int)]
        for name, alter in _MISTAKES:
            if (quantity, name) not in _SPARED:
                altered = [_altered(r, alter) for r in picked]
                found.append(_control(state, quantity, name, fit, altered, anchors))
    return tuple(found)


def _altered(record: Record, alter: Callable[[Array, Array], Array]) -> Record:
    base = np.zeros_like(record.value)
    if record.probe.quantity in _POINTS:
        base = record.reference.theta
    value = np.asarray(alter(record.value, base))
    return replace(record, answer=replace(record.answer, value=value))


def _without_first(y: Array, base: Array) -> Array:
    """The entry that is largest relative to the base set back to it."""
    changed = np.array(y, dtype=float)
    index = np.unravel_index(int(np.argmax(np.abs(y - base))), changed.shape)
    changed[index] = np.broadcast_to(base, changed.shape)[index]
    return changed


def _control(
    state: Run, quantity: str, name: str, fit: Fit, altered: list[Record], anchors: list[Record]
) -> Control:
    """Whether the altered answers pass as the original ones did."""
    from npgcheck.conformance.check_ids import check_id

    declared = state.declared
    explained = explain(
        explainer_of(quantity), [*altered, *anchors], state.sampled(quantity), declared
    )
    survivors = [f for f in explained.fitting if _serious(f) <= _serious(fit)]
    after = None
    if not survivors:
        explainer = explainer_of(quantity)
        list(explainer.candidates(anchors, ("mdp",)))
        for index, record in enumerate(altered):
            judged = explainer.judge(record, fit.choices)
            if judged is not None and judged.ratio > 1.0:
                after = index + 1
                break
    caught = not survivors
    return Control(name, quantity, caught, check_id(quantity, "value") if caught else "", after)


def _serious(fit: Fit) -> set[Any]:
    """The conventions and approximations of an explanation."""
    return {
        (d.stage, None if d.value is None else round(d.value, 9))
        for d in diagnose(fit.choices)
        if d.kind != "free"
    }
