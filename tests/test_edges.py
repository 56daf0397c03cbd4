"""The limits of the domain: refusals are counted, NaN deviates, wrong numbers fail."""

from __future__ import annotations

import numpy as np
import pytest
from judging import ExactSoftmax, named, result, statuses, subject, verify

from npgcheck import problem_sets
from npgcheck.conformance.controls._rows import BatchSoftmax
from npgcheck.errors import Unsupported

BASE = ExactSoftmax


def edge(report, quantity):
    return next(r for r in report.results if r.quantity == quantity and r.kind == "edge")


def at_the_limit(problem):
    """Logits of ±1e3, or γ within 1e-5 of one."""
    logits = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
    return bool(np.abs(logits).max() > 100 or problem.mdp.discount > 0.9999)


def patched(quantity, change):
    """The right answer, changed at the limits alone."""

    def answer(self, problem, *args):
        exact = getattr(BASE, quantity)(self, problem, *args)
        return change(exact) if at_the_limit(problem) else exact

    return subject(**{quantity: answer})


def refuse(exact):
    raise ValueError("too extreme for me")


def unsupported(exact):
    raise Unsupported("no such discount")


def run(target, quantity):
    return verify(target, quantity, examples=10)


@pytest.mark.parametrize("family", ["softmax", "tabular"])
def test_right_code_passes_at_the_limits(family):
    asked = ("log_prob", "value", "policy_gradient", "fisher", "kl", "natural_gradient", "update")
    report = verify(subject(), *asked, examples=10, families=[family])
    for quantity in asked:
        found = edge(report, quantity)
        assert found.status == "pass", (quantity, found.reason)
        assert found.problems >= 4
        assert found.worst <= 1.0


def test_code_on_rows_passes_at_the_limits():
    report = verify(BatchSoftmax(), "policy_gradient", "fisher", "kl", examples=12)
    for quantity in ("policy_gradient", "fisher", "kl"):
        assert edge(report, quantity).status == "pass"


@pytest.mark.parametrize("quantity", ["value", "fisher", "kl"])
def test_a_wrong_number_at_the_limit_fails(quantity):
    report = run(patched(quantity, lambda exact: exact + 1.0), quantity)
    found = edge(report, quantity)
    assert found.status == "fail"
    assert "right elsewhere" in found.reason
    assert statuses(report) == {quantity: "pass"}
    assert not report.passed


@pytest.mark.parametrize("quantity", ["value", "fisher", "kl"])
def test_nan_at_the_limit_deviates_by_name(quantity):
    report = run(patched(quantity, lambda exact: exact * np.nan), quantity)
    assert edge(report, quantity).status == "deviates"
    assert named(report, quantity) == {"limited-range": None}
    assert report.passed


@pytest.mark.parametrize("change", [refuse, unsupported])
def test_a_refusal_is_honest_and_counted(change):
    found = edge(run(patched("value", change), "value"), "value")
    assert found.status == "pass"
    assert found.reason.startswith("refused ")
    assert found.problems < len(problem_sets.edge_cases("softmax"))


def test_refusing_everything_is_no_pass():
    def picky(self, problem):
        if problem.id in {p.id for p in problem_sets.edge_cases("softmax")}:
            raise ValueError("not this one")
        return BASE.value(self, problem)

    found = edge(run(subject(value=picky), "value"), "value")
    assert (found.status, found.problems) == ("skip", 0)


def test_a_direction_made_of_noise_is_only_asked_to_be_finite():
    """One action, no reward: g is zero but for rounding, and so x is anything."""

    def noisy(self, problem):
        x = BASE.natural_gradient(self, problem)
        g = np.abs(BASE.policy_gradient(self, problem)).max()
        return x + 1e3 if g < 1e-12 else x

    found = edge(run(subject(natural_gradient=noisy), "natural_gradient"), "natural_gradient")
    assert found.status == "pass"


def test_edges_are_not_judged_where_the_value_is_refuted():
    wrong = subject(value=lambda self, p: 2 * BASE.value(self, p))
    found = edge(run(wrong, "value"), "value")
    assert found.status == "skip"
    assert found.reason == "not judged where the value is refuted already"


def test_edges_follow_the_conventions_that_were_found():
    """A damped product is damped at the limits as well; an undamped one there is a mistake."""

    def damped(self, problem, vector):
        return BASE.fisher_vector_product(self, problem, vector) + 0.1 * vector

    def forgetful(self, problem, vector):
        extra = 0.0 if at_the_limit(problem) else 0.1
        return BASE.fisher_vector_product(self, problem, vector) + extra * vector

    asked = "fisher_vector_product"
    assert edge(run(subject(fisher_vector_product=damped), asked), asked).status == "pass"
    assert edge(run(subject(fisher_vector_product=forgetful), asked), asked).status == "fail"


def test_single_problems_have_no_edges():
    problem = problem_sets.designed("softmax")[0]
    report = verify(subject(), "value", problem_id=problem.id)
    assert not [r for r in report.results if r.kind == "edge"]
    assert result(report, "NPG-V-001").status == "pass"
