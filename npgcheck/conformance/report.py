"""What a run found, as frozen dataclasses; rendering lives in the ``render_*`` modules.

A :class:`Report` holds one :class:`CheckResult` per check. Readers think in quantities, so
:func:`summarise` folds the results of one quantity into a :class:`QuantitySummary`, and the exit
code, the counts and every rendering are computed from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from npgcheck.conformance.contract import in_order

Status = Literal["pass", "deviates", "fail", "skip", "not_covered"]
CheckKind = Literal["value", "property", "contract", "consistency", "edge"]
ChoiceKind = Literal["free", "convention", "approximation", "bug"]

SCHEMA_VERSION = 1
"""Version of the JSON report; a field is only ever added under a new version."""


@dataclass(frozen=True)
class Diagnosis:
    """One named choice that explains what was seen.

    Attributes:
        stage: where in the pipeline the choice is made, e.g. ``"score"``.
        choice: the choice's name, which ``npgcheck explain`` knows.
        kind: ``free``, ``convention``, ``approximation`` or ``bug``.
        value: the estimated value where the choice has one (damping λ), else None.
        note: one line saying what the choice does, for the report.
        alternatives: names that explain everything equally well; two joined by " + " are a pair.
        reproduces: answers that it reproduced without having been chosen on them.
    """

    stage: str
    choice: str
    kind: ChoiceKind
    value: float | None = None
    note: str = ""
    alternatives: tuple[str, ...] = ()
    reproduces: int | None = None


@dataclass(frozen=True)
class Counterexample:
    """The smallest problem on which an answer was refuted.

    Attributes:
        problem_id: an id that ``--problem`` replays.
        description: the problem in words.
        yours: the subject's answer, flattened in C order.
        exact: the reference answer, in the same layout.
        error_over_budget: error divided by the error budget; above 1 refutes.
        digits: −log₁₀ of the relative error.
        problem: the problem itself, exact float64 values, as plain data.
        note: what is wrong there in words, where the numbers side by side do not show it.
    """

    problem_id: str
    description: str
    yours: list[float]
    exact: list[float]
    error_over_budget: float
    digits: float
    problem: dict[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class CheckResult:
    """The verdict of one check.

    Attributes:
        id: stable id, e.g. ``NPG-F-003``.
        quantity: the contract function it judges.
        title: what it compares, in a few words.
        status: ``pass``, ``deviates``, ``fail``, ``skip`` or ``not_covered``.
        kind: ``value`` (against the reference), ``property``, ``contract`` (raised, hung, NaN …),
            ``consistency`` (between quantities) or ``edge`` (limits of the domain).
        problems: how many problems were judged.
        worst: the largest error over budget.
        digits: −log₁₀ of the largest relative error.
        diagnosis: the named choices that explain it, fewest first.
        explained_by: the lower quantity whose mistake explains this one.
        counterexample: the smallest disagreement.
        reason: why it was skipped, not covered or refuted, in one line.
        refuted_after: the problem, counted from one, that refuted it.
        traceback: the subject's own traceback, where it raised.
    """

    id: str
    quantity: str
    title: str
    status: Status
    kind: CheckKind
    problems: int
    worst: float
    digits: float
    diagnosis: tuple[Diagnosis, ...] = ()
    explained_by: str | None = None
    counterexample: Counterexample | None = None
    reason: str = ""
    refuted_after: int | None = None
    traceback: str = ""


@dataclass(frozen=True)
class Control:
    """One planted mistake, injected into the subject's own answers (``--controls``).

    Attributes:
        name: the mistake.
        quantity: the function whose answers were altered.
        caught: whether a check refuted it.
        caught_by: the id of that check.
        after: the problem, counted from one, that refuted it.
    """

    name: str
    quantity: str
    caught: bool
    caught_by: str = ""
    after: int | None = None


@dataclass(frozen=True)
class Report:
    """What a run found.

    Attributes:
        passed: no refutation, no stale known failure, no surviving control.
        target: what was judged, as the user wrote it.
        results: one entry per check.
        conventions: what was declared or inferred, name → value.
        counts: how many quantities have each status, and ``mistakes``, ``problems``, ``redrawn``.
        not_visible: what the given functions cannot show.
        seed: the seed of the drawn problems.
        version: of npgcheck.
        seconds: wall-clock time of the run.
        families: policy families judged.
        checks: the dated check set.
        detection_floor: the smallest damping that would have been seen.
        declare: the line that declares what deviates, or "".
        known_failures: declared failures that did fail, id → why.
        stale: declared failures that no longer fail.
        controls: planted mistakes and whether they were caught.
        notes: remarks about the subject, e.g. a misspelt function name.
        command: the command that repeats this run.
        door: ``"verify"`` or ``"check_step"``: what was asked, problems or directions of one batch.
    """

    passed: bool
    target: str
    results: tuple[CheckResult, ...]
    conventions: Mapping[str, Any]
    counts: Mapping[str, int]
    not_visible: tuple[str, ...]
    seed: int
    version: str
    seconds: float
    families: tuple[str, ...]
    checks: str
    detection_floor: float
    declare: str = ""
    known_failures: Mapping[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    door: Literal["verify", "check_step"] = "verify"

    @property
    def quantities(self) -> tuple[QuantitySummary, ...]:
        """One summary per quantity, in the contract's order."""
        return summarise(self.results)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data that follows ``report.schema.json``."""
        return to_json(self)

    def __str__(self) -> str:
        from npgcheck.conformance.render_text import to_text

        return to_text(self)


@dataclass(frozen=True)
class QuantitySummary:
    """What one quantity's checks say together.

    Attributes:
        quantity: the contract function.
        status: its worst status; see :func:`summarise`.
        value: the check against the reference, if it has one.
        findings: its other checks that failed or deviate.
        others: its remaining checks.
        problems: how many problems judged its value.
        digits: the worst number of agreeing digits.
        explained_by: the lower quantity that explains its failures, if every one is explained.
        checks: how many of its checks ran.
    """

    quantity: str
    status: Status
    value: CheckResult | None
    findings: tuple[CheckResult, ...]
    others: tuple[CheckResult, ...]
    problems: int
    digits: float
    explained_by: str | None
    checks: int

    @property
    def results(self) -> tuple[CheckResult, ...]:
        """All its results, the value first."""
        first = () if self.value is None else (self.value,)
        return (*first, *self.findings, *self.others)


_WORST_FIRST: tuple[Status, ...] = ("fail", "deviates", "pass", "skip", "not_covered")


def summarise(results: Iterable[CheckResult]) -> tuple[QuantitySummary, ...]:
    """Folds results into one summary per quantity.

    A quantity fails when any of its checks fails, deviates when any deviates, and otherwise has
    its value check's status: properties alone never turn an unjudged value into a pass.
    """
    groups: dict[str, list[CheckResult]] = {}
    for result in results:
        groups.setdefault(result.quantity, []).append(result)
    order = in_order(groups)
    return tuple(
        _summary(name, groups[name]) for name in (*order, *(n for n in groups if n not in order))
    )


def _summary(quantity: str, results: list[CheckResult]) -> QuantitySummary:
    value = next((r for r in results if r.kind == "value"), None)
    rest = [r for r in results if r is not value]
    findings = tuple(r for r in rest if r.status in ("fail", "deviates"))
    statuses = {r.status for r in results}
    if value is not None and not statuses & {"fail", "deviates"}:
        status = value.status
    else:
        status = next(s for s in _WORST_FIRST if s in statuses)
    failing = [r for r in results if r.status == "fail"]
    explained = {r.explained_by for r in failing}
    digits = min((r.digits for r in results if r.status != "skip" and r.problems), default=0.0)
    return QuantitySummary(
        quantity=quantity,
        status=status,
        value=value,
        findings=findings,
        others=tuple(r for r in rest if r not in findings),
        problems=max((r.problems for r in ([value] if value else results)), default=0),
        digits=value.digits if value is not None else digits,
        explained_by=next(iter(explained)) if len(explained) == 1 else None,
        checks=sum(r.status in ("pass", "deviates", "fail") for r in results),
    )


def _blamed(summary: QuantitySummary) -> frozenset[str]:
    """The mistakes that a failing quantity is named after; none where something else fails too."""
    failing = [r for r in summary.results if r.status == "fail"]
    blamed = [frozenset(d.choice for d in r.diagnosis if d.kind == "bug") for r in failing]
    return blamed[0] if len(set(blamed)) == 1 else frozenset()


def count(results: Iterable[CheckResult], **more: int) -> dict[str, int]:
    """Counts quantities by status; ``mistakes`` are failing quantities that nothing explains, those
    of one name together."""
    summaries = summarise(results)
    failing = [q for q in summaries if q.status == "fail" and q.explained_by is None]
    names = [_blamed(q) for q in failing]
    mistakes = len(set(filter(None, names))) + names.count(frozenset())
    by_status = {str(s): sum(q.status == s for q in summaries) for s in _WORST_FIRST}
    return {**by_status, "mistakes": mistakes, **more}


def exit_code(report: Report, strict: bool = False) -> int:
    """0 when nothing is wrong, 1 for a refutation, 2 when nothing was judged.

    A refutation is a failing check that is not a known failure, a known failure that no longer
    fails, or a control that survived; under ``strict`` also a deviation that was not declared.
    """
    if not any(q.status in ("pass", "deviates", "fail") for q in summarise(report.results)):
        return 2
    statuses = [(r.id, r.status) for r in report.results]
    refuted = any(s == "fail" and i not in report.known_failures for i, s in statuses)
    survived = any(not control.caught for control in report.controls)
    undeclared = strict and any(
        status == "deviates" and i not in report.known_failures for i, status in statuses
    )
    return int(refuted or survived or undeclared or bool(report.stale))


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain data that follows ``report.schema.json``."""
    from npgcheck.conformance.render_json import to_json as render

    return render(report)
