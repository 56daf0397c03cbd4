"""A declared accuracy excuses what is inexact, and nothing that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import npgcheck
from npgcheck.conformance.controls._exact import ExactSoftmax

ROUGH = npgcheck.Conventions(solver_rtol=1e-3)


def judged(quantity: str, answer: Any, declared: Any = ROUGH) -> Any:
    report = npgcheck.verify(
        {quantity: answer, "conventions": declared}, only=[quantity], examples=40
    )
    return next(r for r in report.results if r.quantity == quantity and r.kind == "value")


def gradient(problem: Any) -> Any:
    return ExactSoftmax().policy_gradient(problem)


def direction(problem: Any) -> Any:
    return ExactSoftmax().natural_gradient(problem)


@pytest.mark.parametrize(
    ("quantity", "answer"),
    [
        ("policy_gradient", lambda p: 0.0 * gradient(p)),
        ("policy_gradient", lambda p: 0.5 * gradient(p)),
        ("natural_gradient", lambda p: 2.0 * direction(p)),
        ("natural_gradient", lambda p: np.sin(7.0 * np.arange(p.theta.size))),
        ("kl", lambda p, theta: 2.0 * ExactSoftmax().kl(p, theta)),
    ],
    ids=["zero", "half", "twice", "anything", "twice KL"],
)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_a_wrong_answer_fails_whatever_accuracy_is_declared(quantity, answer, rtol):
    assert judged(quantity, answer, npgcheck.Conventions(solver_rtol=rtol)).status == "fail"


def test_a_right_answer_is_judged_as_exactly_as_without_the_declaration():
    declared, bare = judged("policy_gradient", gradient), judged("policy_gradient", gradient, None)
    assert declared.status == bare.status == "pass"
    assert declared.digits == bare.digits > 12


def test_an_answer_as_inexact_as_declared_passes_and_a_coarser_one_does_not():
    def rounded(digits):
        return lambda p: direction(p) * (1.0 + 10.0**-digits * np.sin(np.arange(p.theta.size)))

    assert judged("natural_gradient", rounded(7)).status == "pass"
    exacting = npgcheck.Conventions(solver_rtol=1e-9)
    assert judged("natural_gradient", rounded(3), exacting).status == "fail"
