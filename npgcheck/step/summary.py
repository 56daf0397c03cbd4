"""From verdicts to the report: the same dataclasses that ``npgcheck.verify`` returns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import npgcheck
from npgcheck.conformance.check_ids import LATEST, check_id
from npgcheck.conformance.report import CheckResult, Report, count, exit_code
from npgcheck.step import names
from npgcheck.step.run import Run
from npgcheck.step.verdict import Verdict

#: Argument of check_step → the contract's name of what it answers.
ARGUMENTS = {
    "log_prob": "log_prob",
    "gradient": "policy_gradient",
    "fisher_vector_product": "fisher_vector_product",
    "kl": "kl",
    "direction": "natural_gradient",
    "new_theta": "trust_region_step",
}


def summarise(run: Run, given: dict[str, Any], seed: int, started: float) -> Report:
    """The report of one run."""
    results: list[CheckResult] = []
    for verdict in run.verdicts:
        results += verdict.results()
    results += _not_covered(given)
    rows = run.rows
    title = (
        f"check_step · {rows.law.name.replace('_', ' ')}, {_size(rows.law)} · "
        f"{len(rows.weights):,} rows · D = {len(run.policy.theta):,} · {run.policy.dtype}"
    )
    floors = [v.numbers["floor"] for v in run.verdicts if v.numbers.get("floor")]
    return _report(
        title,
        results,
        seed,
        started,
        conventions=_conventions(run.verdicts, run.declared),
        not_visible=_not_visible(given, run),
        detection_floor=min(floors, default=0.0),
        declare=_declare(run.verdicts, run.declared),
        notes=tuple(_notes(run)),
    )


def refused(finding: str, given: dict[str, Any], seed: int, started: float) -> Report:
    """The report on a policy that is random, or does not depend on θ."""
    results = []
    for argument, quantity in ARGUMENTS.items():
        if given[argument] is not None:
            results.append(
                CheckResult(
                    id=check_id(quantity, "twice"),
                    quantity=quantity,
                    title="the policy cannot be differentiated",
                    status="fail",
                    kind="property",
                    problems=1,
                    worst=math.inf,
                    digits=0.0,
                    reason=finding,
                )
            )
            break
    results += _not_covered(given)
    everything = ("everything else: this policy has no derivatives to compare with",)
    return _report("check_step", results, seed, started, not_visible=everything)


def _report(
    target: str, results: Iterable[CheckResult], seed: int, started: float, **more: Any
) -> Report:
    found = tuple(results)
    values: dict[str, Any] = {"conventions": {}, "not_visible": (), "detection_floor": 0.0, **more}
    report = Report(
        passed=True,
        target=target,
        results=found,
        counts=count(found),
        seed=seed,
        version=npgcheck.__version__,
        seconds=time.perf_counter() - started,
        families=(),
        checks=LATEST,
        door="check_step",
        **values,
    )
    return replace(report, passed=exit_code(report) == 0)


def _not_covered(given: dict[str, Any]) -> list[CheckResult]:
    return [
        CheckResult(
            id=check_id(quantity, "value"),
            quantity=quantity,
            title="against the exact value",
            status="not_covered",
            kind="value",
            problems=0,
            worst=0.0,
            digits=0.0,
            reason=f"{argument} was not given",
        )
        for argument, quantity in ARGUMENTS.items()
        if given[argument] is None
    ]


def _size(law: Any) -> str:
    if law.name in ("categorical", "multi_discrete"):
        return " × ".join(str(n) for n in law.sizes) + " actions"
    return f"{law.dimensions} dimension{'' if law.dimensions == 1 else 's'}"


def _conventions(verdicts: list[Verdict], declared: dict[str, Any]) -> dict[str, Any]:
    """What was inferred, and what was declared."""
    found: dict[str, Any] = {}
    for verdict in verdicts:
        for diagnosis in verdict.diagnoses:
            field = names.keyword(diagnosis)
            if field and diagnosis.kind != "bug":
                found[field] = names.declaration(diagnosis)
    return {**found, **declared}


def _declare(verdicts: list[Verdict], declared: dict[str, Any]) -> str:
    """The line that declares what deviates."""
    wanted: dict[str, Any] = {}
    for verdict in verdicts:
        if verdict.status != "deviates":
            continue
        for diagnosis in verdict.diagnoses:
            field = names.keyword(diagnosis)
            if field and diagnosis.kind in ("convention", "approximation"):
                wanted[field] = names.declaration(diagnosis)
    if not wanted:
        return ""
    inside = ", ".join(f"{k}={v!r}" for k, v in {**declared, **wanted}.items())
    return f"conventions = npgcheck.Conventions({inside})"


def _not_visible(given: dict[str, Any], run: Run) -> tuple[str, ...]:
    hidden = ["how states were weighted and advantages estimated"]
    if given["direction"] is not None and given["fisher_vector_product"] is None:
        hidden.append("truncation of conjugate gradient, without fisher_vector_product")
    if given["new_theta"] is not None and run.max_kl is None:
        hidden.append("the length of the step, without max_kl")
    return tuple(hidden)


def _notes(run: Run) -> Iterable[str]:
    kinks = max((run.rows.along(v).kinks for v in run.probes.vectors), default=0)
    if kinks:
        which = f"{kinks} rows, which are" if kinks > 1 else "one row, which is"
        yield f"the outputs have a kink at θ itself in {which} judged loosely"
    masked = int(run.policy.masked.any(axis=1).sum())
    if masked:
        yield (
            f"actions are masked (a logit of −inf, or far below all others) in {masked} rows, "
            "and count as never taken there"
        )
    if run.policy.coarse:
        yield (
            f"policy answers {-math.log10(run.policy.coarse):.1f} digits: some of it is computed "
            "in less than single precision (autocast?), and everything is judged as loosely"
        )
    elif run.policy.computed_in != "float64":
        yield (
            f"the policy computes in {run.policy.computed_in} only, and so does the reference; "
            "one that accepts a float64 theta is judged more sharply"
        )
    for verdict in run.verdicts:
        yield from verdict.numbers.get("notes", ())
