"""From a cover to the report: names, their equals, the conventions beside them, and statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from npgcheck.conformance.choices import BY_NAME
from npgcheck.conformance.diagnosis.asked import Asked
from npgcheck.conformance.diagnosis.cover import Cover, covers
from npgcheck.conformance.diagnosis.given import OWN, root_of
from npgcheck.conformance.diagnosis.search import Found
from npgcheck.conformance.diagnosis.setup import VARYING, Setup
from npgcheck.conformance.fitting import same_number
from npgcheck.conformance.naming import diagnose
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run

#: Where −g is all that is known, it may be the gradient of what is minimised.
_SIGN = frozenset({"ascent-descent-sign"})


def write(state: Run, asked: Sequence[Asked], cover: Cover) -> None:
    """Puts the names into the results of the quantities that they explain."""
    for one in asked:
        fits = [f for f in one.found if f.names <= cover.names]
        if not fits:
            continue
        found = min(fits, key=lambda f: len(f.applied))
        others = tuple(sorted({" + ".join(sorted(s)) for s in _equals(one, found, cover)}))
        if one.quantity == "policy_gradient" and _SIGN in {
            found.names,
            *_equals(one, found, cover),
        }:
            others = (*others, "gradient-of-the-loss")
        diagnosis = _diagnosis(found, others)
        if one.quantity == "update" and _rescaled(asked, found):
            entry = BY_NAME["scales-differ-between-quantities"]
            scales = Diagnosis(entry.stage, entry.name, entry.kind, None, entry.said())
            diagnosis = (*diagnosis, scales)
        own = [a for a in found.applied if a.choice.name == OWN]
        kept = not _broken(state, one.quantity, found.setup)
        if own and not found.names and kept and (root := root_of(state, own[0])):
            _follows(state, one.quantity, root, diagnosis)
            continue
        if not diagnosis:
            continue
        _put(state, one.quantity, found, diagnosis)


def _follows(state: Run, quantity: str, lower: str, beside: tuple[Diagnosis, ...]) -> None:
    """It follows from the subject's own answers below, whose mistake is told there."""
    state.results[quantity] = [
        replace(r, diagnosis=beside, explained_by=lower)
        if r.kind == "value" and r.status == "fail"
        else r
        for r in state.results[quantity]
    ]


def _equals(one: Asked, found: Found, cover: Cover) -> set[frozenset[str]]:
    """The other explanations of the whole, as far as they act on this quantity."""
    acting = [
        min((f.names for f in one.found if f.names <= names), key=len)
        for names in cover.equals
        if covers(names, [one])
    ]
    return {names for names in acting if names and names != found.names}


def _put(state: Run, quantity: str, found: Found, diagnosis: tuple[Diagnosis, ...]) -> None:
    broken = _broken(state, quantity, found.setup)
    described = state.described.get(quantity, {})
    compared = {**described, **_beside(quantity, found.setup, described)}
    facts = compared == described  # those that were found under other scales say something else
    if described:
        state.compared[quantity] = compared
    state.results[quantity] = [
        _named(r, diagnosis, broken, facts) if r.kind == "value" else r
        for r in state.results[quantity]
    ]


def _rescaled(asked: Sequence[Asked], update: Found) -> bool:
    """Whether the update follows from another normalisation than the subject's own x."""
    own = [f for one in asked if one.quantity == "natural_gradient" for f in one.found]
    x = [f for f in own if f.names == update.names]
    return bool(x) and not any(
        f.setup.variant == update.setup.variant or OWN in {a.choice.name for a in f.applied}
        for f in x
    )


def _diagnosis(found: Found, others: tuple[str, ...]) -> tuple[Diagnosis, ...]:
    order = list(BY_NAME)
    named = [
        Diagnosis(
            a.choice.stage,
            a.choice.name,
            a.choice.kind,
            a.number,
            a.choice.said(a.number),
            alternatives=others if index == 0 else (),
            reproduces=found.fresh,
        )
        for index, a in enumerate(
            sorted(
                (a for a in found.applied if a.choice.name != OWN),
                key=lambda a: order.index(a.choice.name),
            )
        )
    ]
    return (*named, *(replace(d, reproduces=found.fresh) for d in _taken_as_given(found)))


def _taken_as_given(found: Found) -> list[Diagnosis]:
    """The conventions and approximations beside the choices that were found."""
    setup = found.setup
    choices = {
        "weighting": setup.base.weighting,
        "fisher": setup.base.fisher,
        "advantage": setup.base.critic,
        "damping": setup.damping,
        "cg_iterations": max(0, setup.iterations),
        "cg_stopping": "tolerance" if setup.iterations == VARYING else "",
        "step_length": setup.length,
    }
    choices = {stage: value for stage, value in choices.items() if value != ""}
    return [d for d in diagnose(choices) if d.kind != "free" and d.choice not in found.names]


def _beside(quantity: str, setup: Setup, known: Mapping[str, Any]) -> dict[str, Any]:
    """The measure and the normalisations of a setup, as far as the quantity knows them."""
    names = [name.partition("#")[0] for name in setup.variant]
    of_g = quantity in ("policy_gradient", "surrogate")
    found: dict[str, Any] = {"sampled": setup.base.sampled, "weighting": setup.base.weighting}
    if names and not of_g:
        found |= {"fisher_scale": names[0], "occupancy": names[0]}
    if quantity == "kl":
        found["kl_direction"] = names[-1]
    elif of_g or len(names) > 1:
        found["gradient_factor"] = "1/(1-gamma)" if names[-1] == "unnormalised" else "1"
    return {stage: value for stage, value in found.items() if stage in known}


def _broken(state: Run, quantity: str, setup: Setup) -> str:
    """The declared conventions that the answers do not follow, in words."""
    follows: dict[str, Any] = {"weighting": setup.base.weighting}
    if quantity in SOLVES:
        follows |= {"damping": setup.damping, "cg_iterations": setup.iterations}
    if quantity in ("trust_region_proposal", "trust_region_step"):
        follows["step_length"] = setup.length
    found = []
    for name, value in follows.items():
        declared = state.declared.get(name)
        if declared is None or (name == "weighting" and setup.base.sampled == "batch"):
            continue
        same = declared == value if isinstance(value, str) else same_number(declared, value)
        if not same:
            found.append(f"declares {name}={declared!r} but its answers follow {value!r}")
    return "; ".join(found)


def _named(
    result: CheckResult, diagnosis: tuple[Diagnosis, ...], broken: str, kept: bool
) -> CheckResult:
    free = all(d.kind == "free" for d in diagnosis)  # then it says where it is not equal
    notes = (f"{d.note}: {BY_NAME[d.choice].shows}" if free else d.note for d in diagnosis)
    said = "; ".join(notes)
    facts = result.reason if kept and result.reason.startswith(_KEPT) else ""
    bugs = bool(broken) or any(d.kind == "bug" for d in diagnosis)
    return replace(
        result,
        diagnosis=diagnosis,
        reason="; ".join(filter(None, (broken, said, facts))),
        status="fail" if bugs else "deviates",
        refuted_after=result.refuted_after if bugs else None,
    )


#: Facts that say more than a name and stay beside it.
_KEPT = ("θ comes back",)
