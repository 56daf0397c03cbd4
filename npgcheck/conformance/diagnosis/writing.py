"""From a cover to the report: names, their equals, the conventions beside them, and statuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from npgcheck.conformance.choices import BY_NAME
from npgcheck.conformance.diagnosis.asked import Asked
from npgcheck.conformance.diagnosis.cover import Cover, covers
from npgcheck.conformance.diagnosis.given import OWN
from npgcheck.conformance.diagnosis.search import SOLVES, Found
from npgcheck.conformance.diagnosis.setup import Setup
from npgcheck.conformance.fitting import same_number
from npgcheck.conformance.naming import diagnose
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run


def write(state: Run, asked: Sequence[Asked], cover: Cover) -> None:
    """Puts the names into the results of the quantities that they explain."""
    for one in asked:
        fits = [f for f in one.found if f.names <= cover.names]
        if not fits:
            continue
        found = min(fits, key=lambda f: len(f.applied))
        others = tuple(sorted(" + ".join(sorted(s)) for s in cover.equals if covers(s, [one])))
        diagnosis = _diagnosis(found, others)
        if not diagnosis:
            continue  # it follows from the subject's own answers below: that is said elsewhere
        state.results[one.quantity] = [
            _named(r, diagnosis, _broken(state, one.quantity, found.setup))
            if r.kind == "value"
            else _implied(r, diagnosis)
            for r in state.results[one.quantity]
        ]


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
        "cg_iterations": setup.iterations,
        "step_length": setup.length,
    }
    return [d for d in diagnose(choices) if d.kind != "free" and d.choice not in found.names]


def _implied(result: CheckResult, diagnosis: tuple[Diagnosis, ...]) -> CheckResult:
    """A property that a named convention or approximation does not have is no second finding: the
    choice reproduces the very answers that violate it."""
    mild = all(d.kind != "bug" for d in diagnosis)
    if not (mild and result.status == "fail" and result.id in _BROKEN_BY_CHOICE):
        return result
    said = " and ".join(d.choice for d in diagnosis)
    return replace(result, status="skip", reason=f"{said} does not have this property")


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


def _named(result: CheckResult, diagnosis: tuple[Diagnosis, ...], broken: str) -> CheckResult:
    said = "; ".join(d.note for d in diagnosis)
    facts = result.reason if result.reason.startswith(_KEPT) else ""
    bugs = bool(broken) or any(d.kind == "bug" for d in diagnosis)
    return replace(
        result,
        diagnosis=diagnosis,
        reason="; ".join(filter(None, (broken, said, facts))),
        status="fail" if bugs else "deviates",
        refuted_after=result.refuted_after if bugs else None,
    )


#: Invariances, which only the exact natural gradient, gradient and divergence have.
_BROKEN_BY_CHOICE = frozenset({"NPG-NG-002", "NPG-NG-003", "NPG-PG-002", "NPG-KL-002"})
#: Facts that say more than a name and stay beside it.
_KEPT = ("the exact answer times", "the sign is", "always zero", "θ comes back")
