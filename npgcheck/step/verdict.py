"""One quantity's verdict while it is being made, and the check result that it becomes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npgcheck.conformance.check_ids import OF_STEPS, PROPERTIES, check_id
from npgcheck.conformance.report import CheckResult, Counterexample, Diagnosis, Status
from npgcheck.step import names

Array = np.ndarray

#: An answer that agrees to fewer digits than this, and is within its budget, is not judged.
FEWEST_DIGITS = 1.0


@dataclass
class Verdict:
    """What was found about one quantity.

    Attributes:
        quantity: the contract's name.
        status: pass, deviates, fail or skip.
        compared: how many comparisons were made.
        ratio: the largest error over budget.
        digits: −log₁₀ of the relative error.
        diagnoses: the choices that explain the answer.
        reason: in words, where the numbers do not say it.
        yours, exact: numbers to be shown side by side, when refuted.
        where: what these numbers are.
        off, off_digits: error over budget and digits of these numbers; ``ratio`` and ``digits``
            belong to the explanation.
        numbers: what later judgements need, e.g. the damping that was found.
        explained_by: the lower quantity that explains a failure.
        findings: further checks, each a result of its own.
    """

    quantity: str
    status: Status = "pass"
    compared: int = 0
    ratio: float = 0.0
    digits: float = 17.0
    diagnoses: tuple[Diagnosis, ...] = ()
    reason: str = ""
    yours: Array = field(default_factory=lambda: np.zeros(0))
    exact: Array = field(default_factory=lambda: np.zeros(0))
    where: str = ""
    off: float | None = None
    off_digits: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    explained_by: str | None = None
    findings: list[CheckResult] = field(default_factory=list)

    def explain(self, diagnoses: list[Diagnosis], declared: dict[str, Any]) -> Verdict:
        """Sets the choices and the status that they amount to."""
        self.diagnoses = tuple(diagnoses)
        self.status = names.status(diagnoses, declared)
        bugs = [d for d in diagnoses if d.kind == "bug"]
        if bugs and self.status == "fail" and not self.reason:
            self.reason = bugs[0].note
        return self

    @property
    def is_unexplained(self) -> bool:
        """Whether it is refuted without a name or another quantity to blame."""
        return self.status == "fail" and not self.diagnoses and not self.explained_by

    def results(self) -> list[CheckResult]:
        """The value check, then the findings."""
        if self.status == "pass" and self.ratio > 0.0 and self.digits < FEWEST_DIGITS:
            self.status = "skip"
            self.reason = "the value is as small as its round-off: judge it in float64"
        shown = None
        if self.status == "fail" and self.exact.size:
            shown = Counterexample(
                problem_id="",
                description=self.where,
                yours=[float(x) for x in np.ravel(self.yours)],
                exact=[float(x) for x in np.ravel(self.exact)],
                error_over_budget=float(self.ratio if self.off is None else self.off),
                digits=float(self.digits if self.off is None else self.off_digits),
            )
        value = CheckResult(
            id=check_id(self.quantity, "value"),
            quantity=self.quantity,
            title="against the exact value",
            status=self.status,
            kind="value",
            problems=self.compared,
            worst=float(self.ratio),
            digits=float(self.digits),
            diagnosis=self.diagnoses,
            explained_by=self.explained_by,
            counterexample=shown,
            reason=self.reason,
        )
        return [value, *self.findings]


def contract(quantity: str, title: str, reason: str, traceback: str = "") -> CheckResult:
    """A finding about the call itself: it raised, or gave no finite number of the right shape."""
    return CheckResult(
        id=check_id(quantity, "contract"),
        quantity=quantity,
        title=title,
        status="fail",
        kind="contract",
        problems=1,
        worst=math.inf,
        digits=0.0,
        reason=reason,
        traceback=traceback,
    )


def property_result(number: str, broken: str, compared: int, ratio: float) -> CheckResult:
    """A property that holds (broken == "") or does not."""
    quantity, title = {**PROPERTIES, **OF_STEPS}[number]
    return CheckResult(
        id=number,
        quantity=quantity,
        title=title,
        status="fail" if broken else "pass",
        kind="property",
        problems=compared,
        worst=ratio,
        digits=0.0 if broken else 17.0,
        reason=broken,
    )
