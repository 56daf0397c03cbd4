"""Mistakes planted into a user's own answers are caught, or reported as survivors."""

from __future__ import annotations

import numpy as np
import pytest
from judging import ExactSoftmax, subject, verify

from npgcheck.conformance import field_controls
from npgcheck.conformance.controls._rows import BatchSoftmax

ASKED = ("value", "policy_gradient", "fisher", "kl", "surrogate", "natural_gradient", "update")
STEPS = ("trust_region_proposal", "trust_region_step", "train")


@pytest.fixture(scope="module")
def right():
    return verify(subject(), *ASKED, *STEPS, controls=True)


def test_every_planted_mistake_is_caught(right):
    assert right.controls
    assert [c for c in right.controls if not c.caught] == []
    assert right.passed


def test_every_quantity_and_mistake_is_planted(right):
    names = {name for name, _ in field_controls._MISTAKES}
    planted = {(c.quantity, c.name) for c in right.controls}
    assert planted == {
        (q, n) for q in (*ASKED, *STEPS) for n in names if (q, n) not in field_controls._SPARED
    }


def test_what_caught_it_is_said(right):
    for control in right.controls:
        assert control.caught_by.startswith("NPG-")
        assert control.after is None or control.after >= 1


def test_a_survivor_makes_the_run_fail():
    """A surrogate judged at θ itself and nowhere else could not have failed."""
    from dataclasses import replace

    from npgcheck.conformance.report import Control, exit_code

    report = verify(subject(), "value", controls=True)
    assert report.passed
    assert exit_code(report) == 0
    survived = replace(report, controls=(Control("halved", "value", False),))
    assert exit_code(survived) == 1


def test_nothing_is_planted_into_what_is_wrong_already():
    wrong = subject(value=lambda self, p: 2 * ExactSoftmax.value(self, p))
    report = verify(wrong, "value", "kl", controls=True)
    assert {c.quantity for c in report.controls} == {"kl"}


def test_answers_from_rows_are_controlled_too():
    report = verify(BatchSoftmax(), "policy_gradient", "fisher", "kl", controls=True)
    assert {c.quantity for c in report.controls} == {"policy_gradient", "fisher", "kl"}
    assert all(c.caught for c in report.controls)


def test_a_damped_solve_is_not_mistaken_for_its_altered_answers():
    def solve(self, F, g):
        return np.linalg.solve(F + 0.1 * np.eye(len(g)), g)

    report = verify(subject(solve=solve), "natural_gradient", controls=True)
    assert report.controls
    assert all(c.caught for c in report.controls)


def test_no_controls_unless_they_are_asked_for():
    assert verify(subject(), "value").controls == ()
