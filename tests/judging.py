"""What the tests of the judging share: small subjects with one method replaced, and their verdicts.

The base is the plain softmax pipeline of the planted controls, which borrows nothing from the
mathematics that the verifier compares with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

import npgcheck
from npgcheck import problem_sets
from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.fitting import Explanations, Record, explain
from npgcheck.conformance.guard import Answer
from npgcheck.conformance.probes import probes
from npgcheck.conformance.reference import Reference
from npgcheck.conformance.report import CheckResult, Report


def subject(base: type = ExactSoftmax, **members: Any) -> object:
    """The base with methods (or attributes) replaced."""
    return type("Subject", (base,), members)()


def only(**functions: Callable[..., Any]) -> dict[str, Any]:
    """A subject that defines these functions and nothing else."""
    return dict(functions)


def verify(target: Any, *quantities: str, examples: int = 24, **options: Any) -> Report:
    """A short run on problems with shared features."""
    options.setdefault("families", ("softmax",))
    return npgcheck.verify(target, only=quantities, examples=examples, **options)


def result(report: Report, check: str) -> CheckResult:
    """The result of one check."""
    return next(r for r in report.results if r.id == check)


def statuses(report: Report, kind: str = "value") -> dict[str, str]:
    """Quantity → status of its value (a consistency failure stands in its place)."""
    found = {}
    for r in report.results:
        if r.status == "not_covered":
            continue
        if r.kind == kind or (kind == "value" and r.kind == "consistency" and r.status == "fail"):
            found[r.quantity] = r.status
    return found


def named(report: Report, quantity: str) -> dict[str, float | None]:
    """The choices, other than free ones, that explain a quantity: name → number."""
    return {
        d.choice: d.value
        for r in report.results
        if r.quantity == quantity
        for d in r.diagnosis
        if d.kind != "free"
    }


@lru_cache
def references(family: str, count: int = 12, kind: str = "") -> tuple[Reference, ...]:
    """References of the first designed problems of a family, of one kind of batch if stated."""
    chosen = [p for p in problem_sets.designed(family) if kind in ("", p.batch_kind)]
    return tuple(Reference(p) for p in chosen[:count])


def records(
    quantity: str,
    answer: Callable[..., Any],
    family: str = "softmax",
    count: int = 12,
    dtype: str = "float64",
) -> list[Record]:
    """The records of ``answer(reference, *args)`` on designed problems, without any subject."""
    found = []
    for position, reference in enumerate(references(family, count)):
        for probe in probes(quantity, reference.problem, position):
            value = np.asarray(answer(reference, *probe.args), dtype=dtype)
            found.append(Record(probe, Answer(value.astype(float), dtype), reference))
    return found


def explained(
    quantity: str,
    answer: Callable[..., Any],
    family: str = "softmax",
    sampled: tuple[str, ...] = ("mdp",),
    declared: dict[str, Any] | None = None,
    **more: Any,
) -> Explanations:
    """What the explainer of a quantity makes of these answers."""
    asked = records(quantity, answer, family, **more)
    return explain(explainer_of(quantity), asked, sampled, declared or {})
