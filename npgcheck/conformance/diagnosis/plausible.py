"""Which explanations are at odds with what the subject answers rightly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from npgcheck.conformance.diagnosis.given import OWN
from npgcheck.conformance.diagnosis.predict import MISFITS, variants
from npgcheck.conformance.diagnosis.reach import Applied, ancestors
from npgcheck.conformance.diagnosis.search import Found, Search
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.run_state import Run

#: An answer that is right to a limited accuracy is nearer to the right one than this.
COARSE = 1e-3
#: A density that is wrong shows in all of these, unless one is spelled out apart from the others.
_OF_DENSITY = {
    "fisher": ("log_prob", "score", "policy_gradient"),
    "fisher_vector_product": ("log_prob", "score", "policy_gradient"),
}
_OF_VALUES = frozenset({"discount", "start", "rewards", "transitions", "chain", "value", "q_value"})
_OF_POLICY = frozenset({"logits", "pi", "mean", "std"})
_VALUES = ("value", "q_value", "advantage", "state_distribution")
_STEPS = (*_VALUES, "policy_gradient", "fisher", "fisher_vector_product")
#: What a quantity is made of: a choice that alters one of these, although the subject answers it
#: rightly, is no explanation. A score that is right as a function of its own may be spelled out
#: wrongly inside a gradient, and is not among them.
MADE_OF: Mapping[str, tuple[str, ...]] = {
    "q_value": ("value",),
    "advantage": ("value", "q_value"),
    "objective": ("value",),
    "state_distribution": ("value",),
    "policy_gradient": _VALUES,
    "surrogate": _VALUES,
    "fisher": ("state_distribution",),
    "fisher_vector_product": ("state_distribution",),
    "kl": ("state_distribution",),
    "natural_gradient": _STEPS,
    "update": _STEPS,
    "train": _STEPS,
    "trust_region_proposal": _STEPS,
    "trust_region_step": _STEPS,
}


def right_quantities(state: Run) -> set[str]:
    """Quantities whose answers are right, possibly under conventions."""
    wrong = {r.quantity for rs in state.results.values() for r in rs if r.status == "fail"}
    fitted = {q for q in state.chosen if state.fit(q) is not None and q in MISFITS}
    return fitted - wrong


def plausible(state: Run, search: Search, quantity: str, found: list[Found]) -> list[Found]:
    """Those of the sets that are at odds with nothing that the subject answers rightly."""
    right = right_quantities(state)
    wrong = {q for q in state.results if any(r.status == "fail" for r in state.results[q])}
    below = [q for q in MADE_OF.get(quantity, ()) if q in right]
    proposals = state.results.get("trust_region_proposal")
    proposal = proposals is None or any(r.status == "fail" for r in proposals)
    silent = bool(found) and not any(np.any(r.value) for r in state.judgeable(quantity))

    def stands(applied: Applied, one: Found) -> bool:
        if "length" in applied.choice.change and quantity == "trust_region_step" and not proposal:
            return applied.choice.name == "step-downhill"  # a search that shrinks may hide a length
        if applied.choice.stage == "sigma" and any(
            would_alter(state, search, q, replace(one, applied=(applied,)))
            for q in right.intersection(applied.choice.visible)
        ):
            return False  # another quantity shows which coordinate θ holds
        if silent and not _silences(state, search, quantity, one):
            return False
        if len(one.applied) == 1 and set(applied.choice.visible) <= set(SOLVES):
            return True  # a step may find a direction of its own
        alone = replace(one, applied=(applied,))
        beside = [q for q in _OF_DENSITY.get(quantity, ()) if q in right]
        if quantity in ("policy_gradient", *_OF_DENSITY) and "score" in wrong:
            beside.append("score")  # wrong in another way: that speaks against it as well
        if applied.choice.stage == "density" and any(
            would_alter(state, search, q, alone) for q in beside
        ):
            return False
        twice = len(one.names) > 1 and quantity in SOLVES and "natural_gradient" in right
        asked = [q for q in below if q not in _VALUES or _acts_on_values(applied)]
        asked += ["natural_gradient"] if twice else []
        return not any(would_alter(state, search, q, alone) for q in asked)

    return [
        one for one in found if all(a.choice.name == OWN or stands(a, one) for a in one.applied)
    ]


def _acts_on_values(applied: Applied) -> bool:
    """Whether the choice is one about returns or visits. A policy that is differentiated wrongly
    may still be evaluated rightly, by other code."""
    return any(not ancestors(part).isdisjoint(_OF_VALUES) for part in applied.choice.change) and (
        set(applied.choice.change).isdisjoint(_OF_POLICY)
    )


def _silences(state: Run, search: Search, quantity: str, found: Found) -> bool:
    """Whether the choices leave exact zeros, as the answers are: what merely cancels leaves
    rounding."""
    view = search.pipelines.view(state.judgeable(quantity)[0], found.setup.base, found.applied)
    parts = {"policy_gradient": ("g",), "fisher": ("F",), "fisher_vector_product": ("F",)}
    return view is None or not any(np.any(view[p]) for p in parts.get(quantity, ()))


def would_alter(state: Run, search: Search, quantity: str, found: Found) -> bool:
    """Whether the choices change what this right quantity answers on the first problem."""
    records = state.judgeable(quantity)
    if not records or quantity in ("trust_region_step", "surrogate"):
        return False
    alters_gaussian = all(a.choice.families == ("gaussian",) for a in found.applied)
    record = next((r for r in records if not (alters_gaussian and r.reference.discrete)), None)
    if record is None:
        return False
    # The quantity may be damped as the solve is, or not at all.
    for damping in {0.0, found.setup.damping}:
        for variant in variants(quantity, found.setup.base.sampled):
            setup = replace(found.setup, variant=variant, damping=damping)
            bare = search.misfit(record, (), quantity, setup)
            near = 2.0 * bare if bare < COARSE else 0.0  # right to a limited accuracy
            if not search.misfit(record, found.applied, quantity, setup) > max(1e-6, near):
                return False
    return True
