"""A subject as a list of checks with stable ids, run once and asked check by check.

Both doors to pytest stand on this: the ids are known before anything is run, the first check that
is asked for runs them all, and a subject that cannot be loaded is one failing check.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from npgcheck.conformance import check_ids
from npgcheck.conformance.guard import TIME_LIMIT, Caller, LocalCaller
from npgcheck.conformance.report import CheckResult, Report
from npgcheck.conformance.subject import Subject, check_families, check_known_failures, load
from npgcheck.errors import NpgcheckError

LOADS = "subject-loads"
"""The id of the one check of a subject that cannot be loaded."""

Outcome = Literal["pass", "fail", "skip", "known"]


class Suite:
    """The checks of one subject.

    Args:
        target: what :func:`npgcheck.conformance.subject.load` takes.
        checks: a dated check set.
        known_failures: check id → why, on top of what the subject declares.
        strict: undeclared deviations fail.
        isolate: whether to run in a process of its own; by default for everything but objects.
        time_limit: seconds per call.
        **options: of the run: ``examples``, ``seed``, ``only``, ``families``.

    Attributes:
        ids: the checks, as ``quantity-NPG-F-001``; only :data:`LOADS` when it does not load.
        error: why it does not load, or "".
    """

    def __init__(
        self,
        target: Any,
        *,
        checks: str = check_ids.LATEST,
        known_failures: Mapping[str, str] | None = None,
        strict: bool = False,
        isolate: bool | None = None,
        time_limit: float = TIME_LIMIT,
        **options: Any,
    ) -> None:
        self.target = target
        self.strict = strict
        self._time_limit = time_limit
        self._options = {"checks": checks, **options}
        by_name = isinstance(target, (str, Path))
        self._isolate = by_name and os.name == "posix" if isolate is None else isolate
        self._report: Report | None = None
        self._refused = ""
        self.error = ""
        try:
            more = check_known_failures("parametrize", known_failures)
            members = check_ids.check_set(checks)
            check_families(options.get("families") or (), "families")
            self._subject = self._loaded(more)
        except NpgcheckError as error:
            self.error = str(error)
            self.ids: tuple[str, ...] = (LOADS,)
            return
        only = options.get("only") or self._subject.quantities
        self.ids = tuple(
            f"{quantity}-{check}"
            for quantity in self._subject.quantities
            if quantity in only
            for check in sorted(members)
            if check_ids.PREFIX[quantity] == check.split("-")[1]
        )

    def _make_caller(self) -> Caller:
        if self._isolate:
            from npgcheck.conformance.worker import WorkerCaller

            return WorkerCaller(str(self.target), self._time_limit)
        return LocalCaller(load(self.target), self._time_limit)

    def _loaded(self, known_failures: Mapping[str, str]) -> Subject:
        caller = self._make_caller()
        try:
            subject = caller.subject
        finally:
            caller.close()
        return replace(subject, known_failures={**subject.known_failures, **known_failures})

    def report(self) -> Report:
        """The report; the first request runs the checks."""
        if self._report is None:
            from npgcheck.conformance.engine import run

            caller = self._make_caller()
            try:
                report = run(self._subject, caller, **self._options)
            finally:
                caller.close()
            if isinstance(self.target, (str, Path)):
                report = replace(report, target=str(self.target), command="")
            self._report = report
        return self._report

    @property
    def finished(self) -> Report | None:
        """The report if the checks have run."""
        return self._report

    def outcome(self, check: str) -> tuple[Outcome, str]:
        """How one check of :attr:`ids` went, and what to say about it."""
        if self.error:
            return "fail", self.error
        if self._refused:
            return "skip", f"the run did not start: {self._refused}"
        try:
            report = self.report()
        except NpgcheckError as error:
            self._refused = str(error)
            return "fail", self._refused
        identity = "-".join(check.split("-")[-3:])
        result = next((r for r in report.results if r.id == identity), None)
        if identity in report.stale:
            return "fail", f"{identity} is a known failure that no longer fails: take it off."
        if result is None or result.status in ("skip", "not_covered"):
            return "skip", (result.reason if result else "") or "it did not run"
        return self._judged(report, result)

    def _judged(self, report: Report, result: CheckResult) -> tuple[Outcome, str]:
        from npgcheck.conformance.render_junit import failure_text

        if result.status == "fail":
            if (why := report.known_failures.get(result.id)) is not None:
                return "known", why
            return "fail", failure_text(report, result)
        if result.status == "deviates" and self.strict:
            return "fail", failure_text(report, result)
        return "pass", ""
