"""The second opinion on facts: a sentence is found true where it is, false where it is not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from npgcheck import problem_sets
from npgcheck.conformance import fact_judge
from npgcheck.conformance.controls import find
from npgcheck.conformance.fact_judge import verdict
from npgcheck.conformance.fact_truth import Case, readings


def case(yours, exact, family="softmax", label="", kind="exact", gamma=0.5, **more) -> Case:
    problem = SimpleNamespace(
        family=family,
        batch_kind=kind,
        num_actions=2,
        num_states=3,
        theta=np.zeros(4),
        mdp=SimpleNamespace(discount=gamma),
        batch=SimpleNamespace(actions=range(7)),
    )
    yours, exact = (np.asarray(v, dtype=float) for v in (yours, exact))
    return Case(problem, label, (), yours, exact, **more)


U = np.array([1.0, 2.0, 3.0, 4.0])
V = np.array([0.5, -1.0, 2.0, 0.25])
M = np.arange(16.0).reshape(4, 4)


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("the sign is flipped", [case(-U, U), case(-V, V)], [case(-U, U), case(2 * V, V)]),
        ("the matrix is transposed", [case(M.T, M)], [case(2 * M.T, M)]),
        ("the exact answer times 2", [case(2 * U, U)], [case(3 * U, U)]),
        ("the exact answer times √(1/2)", [case(U / np.sqrt(2), U)], [case(U / 2, U)]),
        ("the exact answer times −√2", [case(-np.sqrt(2) * U, U)], [case(np.sqrt(2) * U, U)]),
        ("the exact answer times 1.4427", [case(U / np.log(2), U)], [case(1.45 * U, U)]),
        (
            "the exact answer times (1−γ)",
            [case(0.5 * U, U), case(0.1 * V, V, gamma=0.9)],
            [case(0.5 * U, U), case(0.5 * V, V, gamma=0.9)],
        ),
        (
            "the exact answer times 1/2 · 1/(1−γ)",
            [case(U, U), case(5 * V, V, gamma=0.9)],
            [case(2 * U, U)],
        ),
        (
            "the exact answer times N, the number of rows",
            [case(7 * U, U)],
            [case(6 * U, U)],
        ),
        (
            "the exact answer times a factor that differs between problems",
            [case(2 * U, U), case(3 * V, V)],
            [case(2 * U, U), case(2 * V, V)],
        ),
        (
            "parameters come in the order [action, feature]; the contract's is [feature, action]",
            [case(U[[0, 2, 1, 3]], U)],
            [case(U[[1, 0, 2, 3]], U)],
        ),
        (
            "right on tabular problems, wrong on softmax problems",
            [case(U, U, "tabular"), case(V, U)],
            [case(V, U, "tabular"), case(V, U)],
        ),
        (
            "always right on exact batches",
            [case(U, U), case(V, U, kind="ordinary")],
            [case(V, U), case(V, U, kind="ordinary")],
        ),
        (
            "always wrong on off-centre batches, elsewhere not always",
            [case(V, U, kind="off_centre"), case(U, U)],
            [case(U, U, kind="off_centre"), case(V, U)],
        ),
        ("wrong in 3 of 7 answers", [case(V, U), case(U, U)], [case(U, U)]),
        ("always zero", [case(0 * U, U)], [case(0 * U, U), case(V, U)]),
        (
            "the step does not point uphill, and likewise 3 of 3 times",
            [case(-U, U, metric=np.eye(4))],
            [case(V, U, metric=np.eye(4))],
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_sentence_is_true_or_false(text, true, false):
    assert verdict(text, [true]) is True
    assert verdict(text, [false]) is False
    assert verdict(text, [false, true]) is True, "one reading of what is free is enough"


def test_a_relation_of_right_answers_is_no_fact():
    for text in ("the sign is flipped", "the exact answer times 1", "wrong in 1 of 2 answers"):
        assert verdict(text, [[case(U, U)]]) is False


def test_a_factor_of_two_numbers_says_nothing():
    cases = [case(2.0, 1.0), case(5.0, 1.0)]
    assert (
        verdict("the exact answer times a factor that differs between problems", [cases]) is False
    )


def test_unknown_sentences_are_not_judged():
    assert verdict("the moon is full", [[case(V, U)]]) is None
    assert verdict("the sign is flipped", []) is None


def test_an_unknown_factor_is_false():
    assert verdict("the exact answer times the number of the beast", [[case(2 * U, U)]]) is False


def test_a_null_vector_makes_no_difference_where_a_metric_says_so():
    metric = np.diag([1.0, 1.0, 0.0, 1.0])
    shifted = U + np.array([0.0, 0.0, 9.0, 0.0])
    assert case(shifted, U, metric=metric).right
    assert not case(shifted, U).right


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("dense-pseudo-inverse", "fisher"),
        ("dense-pseudo-inverse", "natural_gradient"),
        ("dense-pseudo-inverse", "update"),
        ("reverse-kl", "kl"),
        ("batch-average", "policy_gradient"),
        ("gaussian-closed-form", "fisher"),
        ("gae-as-a-matrix", "advantage_estimate"),
        ("cg-with-state", "conjugate_gradient"),
    ],
)
def test_right_subjects_are_right_under_some_reading(name, quantity):
    found = readings(find(name), quantity)
    assert any(len(cases) > 4 and all(c.right for c in cases) for cases in found)


@pytest.mark.parametrize(
    ("name", "quantity", "true", "false"),
    [
        ("gradient-doubled", "policy_gradient", "the exact answer times 2", "the sign is flipped"),
        ("descent-sign", "policy_gradient", "the sign is flipped", "the exact answer times 2"),
        (
            "factor-two-in-the-length",
            "trust_region_proposal",
            "the exact answer times √(1/2)",
            "the exact answer times √2",
        ),
        (
            "kl-never-checked",
            "trust_region_step",
            "the accepted step has KL = 0.0079 > max_kl = 0.0078, and likewise 3 of 9 times",
            "the step was cut to 0.001 of x, though twice that would do",
        ),
        (
            "search-starts-too-small",
            "trust_region_step",
            "the step was cut to 0.001 of x, though twice that would do",
            "θ came back unchanged, though a step along x keeps max_kl and gains",
        ),
    ],
)
def test_planted_subjects_are_described_truly(name, quantity, true, false):
    found = readings(find(name), quantity)
    assert verdict(true, found) is True
    assert verdict(false, found) is False


def test_other_problems_are_asked_than_a_run_asks():
    asked = {c.problem.id for cases in readings(find("descent-sign"), "fisher") for c in cases}
    usual = {p.id for p in problem_sets.drawn("softmax", seed=0, count=40)}
    assert len(asked - usual) >= 6


def test_policies_of_their_own_are_not_judged():
    assert readings(find("own-policy-ignores-theta"), "policy_gradient") == []
    control = replace(find("own-policy-ignores-theta"), name="x")
    assert fact_judge.judged(control, ()) == ()
