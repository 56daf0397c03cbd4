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
from npgcheck.conformance.fact_judge.truth import Case, readings


def case(
    yours, exact, family="softmax", label="", kind="exact", gamma=0.5, args=(), **more
) -> Case:
    problem = SimpleNamespace(
        family=family,
        batch_kind=kind,
        num_actions=2,
        num_states=3,
        theta=np.zeros(4),
        discount=gamma,
        mdp=SimpleNamespace(discount=gamma),
        batch=SimpleNamespace(actions=range(7)),
    )
    yours, exact = (np.asarray(v, dtype=float) for v in (yours, exact))
    return Case(problem, label, args, yours, exact, **more)


U = np.array([1.0, 2.0, 3.0, 4.0])
V = np.array([0.5, -1.0, 2.0, 0.25])
M = np.arange(16.0).reshape(4, 4)
D4 = np.diag([1.0, 2.0, 3.0, 4.0])


class Kl:
    """A pipeline whose KL is the same everywhere, and whose surrogate grows."""

    def __init__(self, kl: float) -> None:
        self.value = kl

    def kl(self, problem, theta):
        return self.value

    def surrogate(self, problem, theta):
        return float(np.sum(theta))


def sized(yours, exact, size: int) -> Case:
    found = case(yours, exact)
    found.problem.theta = np.zeros(size)
    return found


def gae_case(yours, exact, lam: float) -> Case:
    """A rollout without ends whose rewards are the exact residuals."""
    yours, exact = np.array(yours, dtype=float), np.array(exact, dtype=float)
    zero, no = np.zeros(len(exact)), np.zeros(len(exact), dtype=bool)
    return Case(None, "", (exact, zero, zero, no, no, 0.9, lam), yours, exact)


def steps(yours: float, exact: float, group: int = 0) -> list[Case]:
    """The three steps that are asked of one problem."""
    found = []
    for label in ("a step of size 1/2", "a small step", "the opposite step"):
        found.append(case(yours, exact, label=label, group=group))
    return found


TRIED = [
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
    ("always zero", [case(0 * U, U)], [case(0 * U, U), case(V, U)]),
    (
        "the step does not point uphill, and likewise 3 of 3 times",
        [case(-U, U, metric=np.eye(4))],
        [case(V, U, metric=np.eye(4))],
    ),
    ("wrong in 1 of 2 answers", [case(V, U), case(U, U)], [case(V, U), case(V, U)]),
    (
        "right in all 2 answers on tabular problems, wrong in all 1 others",
        [case(U, U, "tabular"), case(V, V, "tabular"), case(V, U)],
        [case(U, U, "tabular"), case(V, U, "tabular"), case(V, U)],
    ),
    (
        "wrong in the one answer with γ = 0.9, right in 1 of the 2 others",
        [case(V, U, gamma=0.9), case(U, U), case(V, U)],
        [case(V, U, gamma=0.9), case(U, U), case(U, U)],
    ),
    (
        "right in all 1 answers on off-centre batches, wrong in all 1 others",
        [case(U, U, kind="off_centre", rows="batch"), case(V, U, rows="batch")],
        [case(U, U, kind="off_centre", rows="batch"), case(U, U, rows="batch")],
    ),
    (
        "right in all 1 answers at a small step, wrong in all 1 others",
        [case(U, U, label="a small step"), case(V, U)],
        [case(V, U, label="a small step"), case(V, U)],
    ),
    (
        "wrong in all 3 rows with λ = 0, right in all 2 others",
        [gae_case([1, 1, 1], [0, 0, 0], lam=0.0), gae_case([2, 2], [2, 2], lam=0.5)],
        [gae_case([1, 1, 0], [0, 0, 0], lam=0.0), gae_case([2, 2], [2, 2], lam=0.5)],
    ),
    (
        "the relative error grows with D",
        [sized(U * (1 + 0.1 * n), U, n) for n in range(1, 7)],
        [sized(U * (1 + 0.1 / n), U, n) for n in range(1, 7)],
    ),
    ("never larger than the exact one", [case(1.0, 2.0)], [case(3.0, 2.0)]),
    (
        "no number is smaller than the exact one",
        [case(U + 1, U)],
        [case(U - np.array([0, 0, 0, 1]), U)],
    ),
    (
        "at most 1° away from the exact direction",
        [case(U + np.array([0.01, 0, 0, 0]), U)],
        [case(U + np.array([1.0, 0, 0, 0]), U)],
    ),
    ("at least 90° away from the exact direction", [case([1.0, 0], [0, 1.0])], [case(V, U)]),
    ("off by at most 0.03 of the largest entry", [case(U + 0.1, U)], [case(U + 0.4, U)]),
    ("off by at least 2 of the largest entry", [case(3 * U, U)], [case(1.5 * U, U)]),
    (
        "against the exact direction in 1 of 2 wrong answers",
        [case(-2 * U, U), case(V, V + 1)],
        [case(2 * U, U), case(V, V + 1)],
    ),
    (
        "of the other sign in 1 of 2 wrong answers",
        [case(-1.0, 2.0), case(1.0, 2.0)],
        [case(3.0, 2.0), case(1.0, 2.0)],
    ),
    (
        "its trace is 0.5 to 2 times the exact one",
        [case(M / 2, M), case(2 * M, M)],
        [case(M / 2, M), case(4 * M, M)],
    ),
    (
        "vᵀFv < 0 for some v in 1 of 2 wrong answers",
        [case(M - 9 * np.eye(len(M)), M), case(2 * M @ M.T, M)],
        [case(2 * M @ M.T, M), case(3 * M @ M.T, M)],
    ),
    (
        "the step grows with the power 1 of max_kl, not 0.5",
        [case(U, V, args=(1.0,)), case(4 * U, V, args=(4.0,))],
        [case(U, V, args=(1.0,)), case(2 * U, V, args=(4.0,))],
    ),
    (
        "on small steps 1 to 3 times the exact value",
        [*steps(1.5, 1.0, group=0), *steps(3.0, 1.0, group=1)],
        [*steps(0.5, 1.0, group=0), *steps(3.0, 1.0, group=1)],
    ),
    (
        "on small steps at least 5 times too large",
        steps(6.0, 1.0),
        steps(4.0, 1.0),
    ),
    ("each number is right or zero", [case(U * [1, 0, 1, 1], U)], [case(U * [1, 2, 1, 1], U)]),
    ("the matrix has rank one", [case(np.outer(U, U), M)], [case(M @ M, M)]),
    (
        "the rank is always smaller than that of the exact matrix",
        [case(np.outer(U, U), np.eye(4))],
        [case(2 * np.eye(4), np.eye(4))],
    ),
    (
        "the rank is always larger than that of the exact matrix",
        [case(np.eye(4), np.outer(U, U))],
        [case(2 * np.eye(4), np.eye(4))],
    ),
    (
        "points along the exact F g",
        [case(3 * (D4 @ D4 @ U), U, metric=D4)],
        [case(3 * (D4 @ U), U, metric=D4)],
    ),
    ("its length is 2", [case([2.0, 0], [1.0, 0])], [case([3.0, 0], [1.0, 0])]),
    (
        "each number is at most 2, else right: cut off",
        [case(np.minimum(U, 2), U)],
        [case(np.minimum(U, 3), U)],
    ),
    (
        "the accepted step has KL = 1 > max_kl = 0.5, and likewise 1 of 1 times",
        [case(U, U, args=(0.5,), pipeline=Kl(1.0))],
        [case(U, U, args=(0.5,), pipeline=Kl(0.1))],
    ),
    (
        "the accepted step changes the surrogate by -0.03, and likewise 1 of 1 times",
        [case(-U, U, args=(0.5,), pipeline=Kl(0.1))],
        [case(U, U, args=(0.5,), pipeline=Kl(0.1))],
    ),
    (
        "the step was cut to 0.1 of x, though twice that would do",
        [case(U, U, args=(0.5,), pipeline=Kl(0.1))],
        [case(U, U, args=(0.5,), pipeline=Kl(1.0))],
    ),
    (
        "θ came back unchanged, though a step along x keeps max_kl and gains",
        [case(0 * U, U)],
        [case(V, U)],
    ),
    (
        "as if of other residuals δ: the sign is flipped",
        [gae_case([-1.0], [1.0], lam=0.0)],
        [gae_case([-2.0], [1.0], lam=0.0)],
    ),
]
"""Sentences, answers of which they are true, and answers of which they are false."""


@pytest.mark.parametrize(
    ("text", "true", "false"),
    TRIED,
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
    assert any(len(cases) > 4 and all(c.right for c in cases) for cases in found.values())


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
    found = list(readings(find(name), quantity).values())
    assert verdict(true, found) is True
    assert verdict(false, found) is False


def test_other_problems_are_asked_than_a_run_asks():
    found = readings(find("descent-sign"), "fisher")
    asked = {c.problem.id for cases in found.values() for c in cases}
    usual = {p.id for p in problem_sets.drawn("softmax", seed=0, count=40)}
    assert len(asked - usual) >= 6


def test_policies_of_their_own_are_not_judged():
    assert readings(find("own-policy-ignores-theta"), "policy_gradient") == {}
    control = replace(find("own-policy-ignores-theta"), name="x")
    assert fact_judge.judged(control, ()) == ()


def test_a_line_through_two_discounts_is_no_law():
    def answers(*discounts):
        found = []
        for gamma in discounts:
            after = np.linspace(-1.0, 1.0, 5) + gamma
            zero, no = np.zeros(5), np.zeros(5, dtype=bool)
            args = (zero, zero, after, no, no, gamma, 0.0)
            found.append(Case(None, "", args, (2.0 * gamma - 0.5) * after, gamma * after))
        return found

    text = "with λ = 0 inside an episode it is 2 γ V′ − 0.5 V′, not r − V + γ V′"
    assert verdict(text, [answers(0.5, 0.9, 0.99)]) is True
    assert verdict(text, [answers(0.5, 0.9)]) is False
