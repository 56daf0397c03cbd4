"""What is offered as a declaration can be declared, and names come with formula and mend."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import npgcheck
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.render_text import to_text


def text_of(subject: Any, **options: Any) -> str:
    return to_text(npgcheck.verify(subject, examples=60, **options), width=100)


def diagonal(problem: Any) -> Any:
    return np.diag(np.diag(ExactSoftmax().fisher(problem)))


def relative(problem: Any) -> Any:
    F = ExactSoftmax().fisher(problem)
    damped = F + 0.01 * np.trace(F) / len(F) * np.eye(len(F))
    return np.linalg.solve(damped, ExactSoftmax().policy_gradient(problem))


@pytest.mark.parametrize(
    "subject", [{"fisher": diagonal}, {"natural_gradient": relative}], ids=["diagonal", "relative"]
)
def test_what_has_no_declaration_says_so(subject):
    text = text_of(subject)
    assert "deviates" in text
    assert "not possible: it stays a deviation" in text
    assert "Conventions(" not in text


def test_a_line_that_is_offered_is_accepted():
    def damped(problem: Any) -> Any:
        F = ExactSoftmax().fisher(problem)
        return np.linalg.solve(F + 0.1 * np.eye(len(F)), ExactSoftmax().policy_gradient(problem))

    offered = re.search(r"Conventions\((.*)\)", text_of({"natural_gradient": damped}))
    assert offered is not None
    name, _, value = offered.group(1).partition("=")
    declared = npgcheck.Conventions(**{name: float(value)})
    report = npgcheck.verify({"natural_gradient": damped, "conventions": declared}, examples=60)
    assert {q.status for q in report.quantities} <= {"pass", "not_covered"}


def test_quantities_that_disagree_are_told_with_formula_and_mend():
    subject = {
        "fisher": lambda p: ExactSoftmax().fisher(p) / (1 - p.mdp.discount),
        "fisher_vector_product": lambda p, v: ExactSoftmax().fisher_vector_product(p, v),
        "kl": lambda p, t: ExactSoftmax().kl(p, t),
    }
    text = text_of(subject)
    assert "scales-differ-between-quantities" in text
    assert "use one normalisation throughout" in text
