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


@pytest.mark.slow
def test_an_answer_as_inexact_as_declared_passes_and_a_coarser_one_does_not():
    def rounded(digits):
        return lambda p: direction(p) * (1.0 + 10.0**-digits * np.sin(np.arange(p.theta.size)))

    assert judged("natural_gradient", rounded(7)).status == "pass"
    exacting = npgcheck.Conventions(solver_rtol=1e-9)
    assert judged("natural_gradient", rounded(3), exacting).status == "fail"


def test_x_is_as_accurate_as_what_it_is_made_of():
    """A pseudo-inverse of a rounded F: nothing is iterated, and nothing that stopped is named."""

    def fisher(problem: Any) -> Any:
        return ExactSoftmax().fisher(problem).astype(np.float32).astype(np.float64)

    def solved(problem: Any) -> Any:
        return np.linalg.pinv(fisher(problem), rcond=1e-5, hermitian=True) @ gradient(problem)

    report = npgcheck.verify({"fisher": fisher, "natural_gradient": solved}, examples=60)
    values = {r.quantity: r for r in report.results if r.kind == "value"}
    told = [d.choice for d in values["natural_gradient"].diagnosis if d.kind != "free"]
    assert told == ["limited-accuracy"]


@pytest.mark.parametrize(("families", "hidden"), [({"tabular"}, True), ({"softmax"}, False)])
def test_whether_a_search_was_tempted_is_said(families, hidden):
    """Tabular steps that KL allows always gain; among those with shared features some lose."""
    report = npgcheck.verify(
        ExactSoftmax(), only=["trust_region_step"], families=families, examples=20
    )
    assert any("test of the surrogate" in text for text in report.not_visible) == hidden
