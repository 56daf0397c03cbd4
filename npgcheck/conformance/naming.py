"""Naming: from the choices that explain an answer to the words and the line that declare them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from npgcheck.conformance.choices import BY_NAME, CHOICES, choice
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run
from npgcheck.conventions import is_value


def diagnose(choices: dict[str, Any]) -> tuple[Diagnosis, ...]:
    """The choices that are not what the contract asks for, as diagnoses."""
    found = []
    for stage, value in choices.items():
        if stage.startswith("_") or (not isinstance(value, str) and not value):
            continue
        entry = choice(stage, value)
        if entry.default:
            continue
        number = None if isinstance(value, str) else float(value)
        found.append(Diagnosis(stage, entry.name, entry.kind, number, note_of(entry.name, number)))
    return tuple(found)


def note_of(name: str, number: float | None) -> str:
    """What a choice does, in a few words."""
    return BY_NAME[name].said(number)


#: Stage -> the field of Conventions that declares its choices.
KEYWORD = {
    "damping": "damping",
    "damping_in_fisher": "damping",
    "cg_iterations": "cg_iterations",
    "cg_stopping": "solver_rtol",
    "solver_rtol": "solver_rtol",
    "weighting": "weighting",
    "fisher": "fisher",
    "advantage": "advantage",
    "step_length": "step_length",
    "line_search": "line_search",
}


def is_declarable(diagnosis: Diagnosis) -> bool:
    """Whether some value of :class:`~npgcheck.Conventions` declares the choice.

    Conventions that only the diagnosis recomputes (F + λ diag F, a diagonal F) have none, although
    they belong to a stage that has; nor has an absolute residual, which is no relative accuracy.
    """
    entry = BY_NAME[diagnosis.choice]
    if diagnosis.stage not in KEYWORD or entry.change or entry.name == "absolute-tolerance":
        return False
    return diagnosis.value is not None or not entry.value or is_value(entry.stage, entry.value)


def is_nameless(result: CheckResult) -> bool:
    """Whether a value was refuted and no choice explains it."""
    return result.kind == "value" and result.status == "fail" and not result.diagnosis


def is_declared(diagnosis: Diagnosis, declared: dict[str, Any]) -> bool:
    """Whether the subject declares the choice."""
    if not is_declarable(diagnosis) and diagnosis.kind != "free":
        return False
    if diagnosis.stage == "damping_in_fisher":
        return declared.get("damping_in") == "fisher"
    return declared.get(KEYWORD.get(diagnosis.stage, diagnosis.stage)) is not None


def declare_line(results: Iterable[CheckResult], state: Run) -> str:
    """The line that declares everything that deviates, together with what is declared already."""
    named: dict[str, Any] = {}
    for result in results:
        if result.status != "deviates":
            continue
        for d in result.diagnosis:
            if d.kind not in ("convention", "approximation") or not is_declarable(d):
                continue
            keyword = KEYWORD[d.stage]
            if d.stage == "damping_in_fisher":
                named["damping_in"] = "fisher"
            if keyword == "cg_iterations" and d.value is not None:
                named[keyword] = int(d.value)
            elif keyword == "solver_rtol":
                # One more digit of slack: the estimate is the worst that was seen, not a bound.
                seen = (d.value or 1e-4) * 10.0
                rounded = float(f"{10.0 ** math.ceil(math.log10(seen)):.0e}")
                named[keyword] = min(1e-3, max(named.get(keyword, 0.0), rounded))
            elif d.value is not None:
                named[keyword] = d.value
            else:
                named[keyword] = next(
                    c for c in _values_of(d.stage) if choice(d.stage, c).name == d.choice
                )
    if not named:
        return ""
    named = {**state.declared, **named}
    inside = ", ".join(f"{k}={v!r}" for k, v in named.items())
    return f"conventions = npgcheck.Conventions({inside})"


def _values_of(stage: str) -> list[str]:
    return [value for s, value in CHOICES if s == stage]


def conventions_found(state: Run) -> dict[str, Any]:
    """What was declared or inferred: name → value."""
    found: dict[str, Any] = {}
    for fit in state.chosen.values():
        if fit is None or any(d.kind == "bug" for d in diagnose(fit.choices)):
            continue
        for stage, value in fit.choices.items():
            if stage.startswith("_") or stage in ("kl_model", "cg_stopping"):
                continue
            if stage == "weighting" and fit.choices.get("sampled") == "batch":
                continue
            known = found.get(stage)
            if known is None or (isinstance(value, float) and value > (known or 0.0)):
                found[stage] = value
            elif stage == "sampled" and value not in str(known).split("+"):
                found[stage] = f"{known}+{value}"
    return {**found, **state.declared}
