"""One run of the verifier: ask, explain, reconcile, judge, report.

The main flow is :func:`run`. Asking is in ``collect``, fitting choices to answers in ``fitting``
and ``explainers``, the one vector of conventions in ``reconcile``, statuses in ``verdicts``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import npgcheck
from npgcheck.conformance import check_ids, edges, limits, naming, properties, verdicts
from npgcheck.conformance.collect import Collector, explainer_of, fitted_records
from npgcheck.conformance.contract import QUANTITIES, in_order
from npgcheck.conformance.counterexample import smallest
from npgcheck.conformance.diagnosis.explain import name_mistakes
from npgcheck.conformance.fitting import Explanations, explain
from npgcheck.conformance.guard import Caller
from npgcheck.conformance.layers import explain_by_lower
from npgcheck.conformance.own import PolicyIgnoresTheta
from npgcheck.conformance.problems import asked_for, problems_for
from npgcheck.conformance.reconcile import EXEMPT, SHARED, contradicts, reconcile
from npgcheck.conformance.report import CheckResult, Control, Report, count, exit_code
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.subject import Subject
from npgcheck.errors import UsageError, nearest

DEFAULT_EXAMPLES = 120


def run(
    subject: Subject,
    caller: Caller,
    *,
    examples: int = DEFAULT_EXAMPLES,
    seed: int = 0,
    only: Sequence[str] = (),
    families: Sequence[str] | None = None,
    checks: str = check_ids.LATEST,
    controls: bool = False,
    problem_id: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judges a subject and returns the report.

    Args:
        subject: what is judged.
        caller: how its functions are called.
        examples: problems in all, over all families; the designed ones come first.
        seed: of the drawn problems.
        only: quantities to judge; all that are defined when empty.
        families: policy families; the subject's own when None.
        checks: a dated check set.
        controls: also inject planted mistakes into the subject's answers.
        problem_id: judge on this problem alone.
        progress: called with one line before each call.

    Raises:
        UsageError: an unknown quantity, family, check set or problem.
    """
    started = time.perf_counter()
    if examples < 1:
        raise UsageError(f"--examples {examples}: at least one problem is needed.")
    wanted = _wanted(subject, only)
    allowed = check_ids.check_set(checks)
    chosen = tuple(families) if families is not None else tuple(sorted(subject.families))
    try:
        problems = problems_for(subject, caller, chosen, examples, seed, problem_id)
    except PolicyIgnoresTheta as finding:
        return _ignores_theta(subject, chosen, checks, seed, str(finding), started)
    collector = Collector(caller, progress)
    state = Run(
        subject=subject,
        collector=collector,
        problems=problems,
        families=chosen,
        seed=seed,
        declared=subject.conventions.declared() if subject.conventions else {},
        allowed=allowed,
        single=problem_id is not None,
    )

    for quantity in wanted:  # ask
        collector.ask(quantity, asked_for(quantity, problems, chosen, seed, problem_id))
        state.records[quantity] = fitted_records(quantity, collector, collector.found[quantity])
    for quantity in wanted:  # explain
        state.explanations[quantity] = _explain(state, quantity)
    state.vector, state.chosen = reconcile({q: e.fitting for q, e in state.explanations.items()})
    for quantity in wanted:
        _second_look(state, quantity)
    for quantity in wanted:  # judge
        state.results[quantity] = verdicts.judge(state, quantity)
        state.results[quantity] += properties.check(state, quantity)
        state.results[quantity] += edges.check(state, quantity)
    name_mistakes(state)
    properties.excuse(state)
    explain_by_lower(state)
    for quantity in wanted:
        state.results[quantity] = [
            smallest(state, r) if r.status == "fail" else r for r in state.results[quantity]
        ]
    planted: tuple[Control, ...] = ()
    if controls:
        from npgcheck.conformance.field_controls import inject

        planted = inject(state)
    return _report(state, wanted, checks, planted, time.perf_counter() - started)


def _ignores_theta(
    subject: Subject,
    families: tuple[str, ...],
    checks: str,
    seed: int,
    reason: str,
    started: float,
) -> Report:
    """The report on a policy without parameters: every derivative of it is zero, none is judged."""
    quantity = in_order(subject.functions)[0]
    result = CheckResult(
        id=check_ids.check_id(quantity, "contract"),
        quantity=quantity,
        title="the policy does not depend on θ",
        status="fail",
        kind="contract",
        problems=1,
        worst=math.inf,
        digits=0.0,
        reason=reason,
        refuted_after=1,
    )
    return Report(
        passed=False,
        target=subject.name,
        results=(result,),
        conventions={},
        counts=count([result], problems=1),
        not_visible=("everything: no derivative of the policy differs from zero",),
        seed=seed,
        version=npgcheck.__version__,
        seconds=time.perf_counter() - started,
        families=families,
        checks=checks,
        detection_floor=0.0,
        notes=tuple(subject.notes),
    )


def _wanted(subject: Subject, only: Sequence[str]) -> tuple[str, ...]:
    for name in only:
        if name not in QUANTITIES:
            raise UsageError(
                f"no quantity {name!r}.{nearest(name, QUANTITIES)} Known: {', '.join(QUANTITIES)}."
            )
        if name not in subject.functions:
            raise UsageError(
                f"{subject.name} does not define {name}, which --only asks for. It defines: "
                f"{', '.join(in_order(subject.functions))}."
            )
    return in_order(only or subject.functions)


def _explain(state: Run, quantity: str) -> Explanations:
    records = state.judgeable(quantity)
    sampled = state.sampled(quantity)
    found = explain(explainer_of(quantity), records, sampled, state.declared)
    if not _differs_when_asked_twice(state, quantity):
        found.fitting = [f for f in found.fitting if f.choices.get("cg_start") != "random"]
    if state.declared and not _exact(found, state.declared):
        free = explain(explainer_of(quantity), records, sampled, {})
        # What fits exactly without the declaration and only roughly with it breaks it.
        if not found.fitting or _exact(free, {}):
            state.undeclared[quantity] = free.fitting
            found.nearest = found.nearest or free.nearest
            found.fitting = []
    return found


def _differs_when_asked_twice(state: Run, quantity: str) -> bool:
    """Whether two calls with the same arguments gave different answers: a random start must."""
    return any(
        again.value is not None and not np.array_equal(again.value, record.value)
        for record, again in state.collector.found[quantity].repeats
    )


def _exact(found: Explanations, declared: dict[str, Any]) -> bool:
    """Whether some explanation fits to round-off, or to the accuracy that was declared."""
    return any("solver_rtol" not in f.choices or "solver_rtol" in declared for f in found.fitting)


def _second_look(state: Run, quantity: str) -> None:
    """Tries a quantity again under the conventions that the others share.

    The simplest explanation of its answers alone may not be theirs although theirs explains it as
    well: where A is a combination of the scores, x is the same for every Fisher matrix.
    """
    found = state.explanations[quantity]
    if state.fit(quantity) is not None or not found.fitting:
        return
    shared = {
        stage: state.vector[stage]
        for stage in (*SHARED, "step_length")
        if state.vector.get(stage) and stage not in EXEMPT.get(quantity, ())
    }
    again = explain(
        explainer_of(quantity),
        state.judgeable(quantity),
        state.sampled(quantity),
        {**state.declared, **shared},
    )
    fits = [f for f in again.fitting if not contradicts(state.vector, quantity, f.choices)]
    if fits:
        state.chosen[quantity] = fits[0]


def _report(
    state: Run, wanted: Sequence[str], checks: str, planted: tuple[Control, ...], seconds: float
) -> Report:
    results: list[CheckResult] = [r for q in wanted for r in state.results[q]]
    results = [r for r in results if r.id in state.allowed]
    for quantity in QUANTITIES:
        if quantity not in state.subject.functions:
            results.append(verdicts.not_covered(quantity))
    known = dict(state.subject.known_failures)
    ran = {r.id: r.status for r in results}
    stale = tuple(i for i in known if ran.get(i) == "pass")
    report = Report(
        passed=True,
        target=state.subject.name,
        results=tuple(results),
        conventions=naming.conventions_found(state),
        counts=count(results, problems=len(state.problems)),
        not_visible=limits.not_visible(state),
        seed=state.seed,
        version=npgcheck.__version__,
        seconds=seconds,
        families=state.families,
        checks=checks,
        detection_floor=limits.detection_floor(state),
        declare=naming.declare_line(results, state),
        known_failures={i: why for i, why in known.items() if ran.get(i) in ("fail", "deviates")},
        stale=stale,
        controls=planted,
        notes=tuple(state.subject.notes),
        command=limits.command(state),
    )
    return replace(report, passed=exit_code(report) == 0)
