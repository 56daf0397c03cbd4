"""One number at a time: ``npgcheck.judge``."""

from __future__ import annotations

import numpy as np
import pytest
from judging import ExactSoftmax
from test_explainers import conjugate_gradient, direction, fisher, gradient, proposal

import npgcheck
from npgcheck import problem_sets
from npgcheck.conformance.reference import Reference
from npgcheck.errors import UsageError

PROBLEM = problem_sets.designed("softmax")[4]
R = Reference(PROBLEM)
MINE = ExactSoftmax()
ARGUMENTS = {
    "log_prob": (1, 0),
    "score": (1, 0),
    "fisher_vector_product": (np.linspace(-1, 1, len(PROBLEM.theta)),),
    "kl": (PROBLEM.theta + np.linspace(-1, 1, len(PROBLEM.theta)),),
    "update": (0.5,),
    "trust_region_proposal": (0.01,),
    "trust_region_step": (0.01,),
}
JUDGED = [
    "log_prob",
    "score",
    "value",
    "q_value",
    "advantage",
    "state_distribution",
    "objective",
    "policy_gradient",
    "fisher",
    "fisher_vector_product",
    "kl",
    "natural_gradient",
    "update",
    "trust_region_proposal",
    "trust_region_step",
]


def answer(quantity):
    return getattr(MINE, quantity)(PROBLEM, *ARGUMENTS.get(quantity, ()))


@pytest.mark.parametrize("quantity", JUDGED)
def test_right_answers_are_right_and_wrong_ones_wrong(quantity):
    given = np.asarray(answer(quantity))
    args = ARGUMENTS.get(quantity, ())
    right = npgcheck.judge(quantity, PROBLEM, given, *args)
    assert right, str(right)
    assert right.status == "pass"
    assert right.error_over_budget <= 1.0
    assert right.digits > 10
    base = PROBLEM.theta if given.shape == PROBLEM.theta.shape and args else 0.0
    off = npgcheck.judge(quantity, PROBLEM, base - (given - base), *args)
    if quantity == "fisher_vector_product" or quantity == "score":
        off = npgcheck.judge(quantity, PROBLEM, -given, *args)
    assert not off
    assert off.status == "fail"
    assert off.error_over_budget > 1e3


def test_exact_is_what_the_answer_was_compared_with():
    found = npgcheck.judge("policy_gradient", PROBLEM, np.zeros(len(PROBLEM.theta)))
    np.testing.assert_allclose(found.exact, gradient(R), rtol=1e-10)


def test_a_named_choice_deviates_until_it_is_declared():
    x = direction(R, 0.1)
    found = npgcheck.judge("natural_gradient", PROBLEM, x)
    assert found.status == "deviates"
    assert not found
    assert [(d.choice, d.value) for d in found.diagnosis] == [("damping", 0.1)]
    assert npgcheck.judge("natural_gradient", PROBLEM, x, damping=0.1)
    assert npgcheck.judge("natural_gradient", PROBLEM, x, damping=0.2).status == "fail"
    assert npgcheck.judge("natural_gradient", PROBLEM, direction(R), damping=0.1).status == "fail"


def test_truncation_and_length_are_named_on_one_problem():
    short = conjugate_gradient(fisher(R), gradient(R), 2)
    found = npgcheck.judge("natural_gradient", PROBLEM, short)
    assert "truncated-cg" in {d.choice for d in found.diagnosis}
    longer = proposal(R, 0.01, factor=2.6)
    assert npgcheck.judge("trust_region_proposal", PROBLEM, longer, 0.01).status == "fail"


def test_a_known_mistake_is_a_failure_with_a_name():
    found = npgcheck.judge("fisher", PROBLEM, R.fisher("mdp", "discounted", "uncentred"))
    assert found.status == "fail"
    assert "score-missing-minus-pi" in {d.choice for d in found.diagnosis}


def test_limited_accuracy_of_one_number_is_no_excuse():
    """Over many problems it would be a deviation; one number is right or not."""
    rough = gradient(R) * (1 + 1e-8)
    assert npgcheck.judge("policy_gradient", PROBLEM, rough).status == "fail"
    assert npgcheck.judge("policy_gradient", PROBLEM, np.float32(gradient(R)))
    assert npgcheck.judge("policy_gradient", PROBLEM, rough, solver_rtol=1e-6)


def test_pure_functions_need_no_problem():
    M, b = np.diag([1.0, 2.0, 4.0]), np.ones(3)
    given = conjugate_gradient(M, b, 2)
    assert npgcheck.judge("conjugate_gradient", None, given, M, b, 2)
    assert not npgcheck.judge("conjugate_gradient", None, np.linalg.solve(M, b), M, b, 2)
    rewards, values = [1.0, 0.0], [0.5, 0.25]
    delta = [1.0 + 0.9 * 0.25 - 0.5, -0.25]
    estimates = [delta[0] + 0.9 * 0.5 * delta[1], delta[1]]
    rest = (rewards, values, [0.25, 7.0], [False, True], [False, False], 0.9, 0.5)
    assert npgcheck.judge("advantage_estimate", None, estimates, *rest)


def test_the_verdict_reads_as_a_sentence():
    text = str(npgcheck.judge("natural_gradient", PROBLEM, direction(R, 0.1)))
    assert text.startswith("deviates: right under a named choice (damping λ = 0.1), error ")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("gradient", PROBLEM, 0.0), "no quantity 'gradient'"),
        (("kl", PROBLEM, 0.0), r"needs 1 further argument \(theta\); got 0"),
        (("value", PROBLEM, np.zeros(3), 1.0), r"needs 0 further arguments \(none\); got 1"),
        (("value", None, np.zeros(3)), "needs a problem"),
        (("value", PROBLEM, np.zeros(2)), r"returned shape \(2,\)"),
        (("value", PROBLEM, None), "returned None"),
        (("surrogate", PROBLEM, 0.0, PROBLEM.theta), "judge them through npgcheck.verify"),
        (("train", PROBLEM, [], 3, 0.1), "judge them through npgcheck.verify"),
    ],
)
def test_wrong_requests(call, message):
    with pytest.raises(UsageError, match=message):
        npgcheck.judge(*call)


def test_unknown_conventions():
    with pytest.raises(UsageError, match="Did you mean 'damping'"):
        npgcheck.judge("value", PROBLEM, answer("value"), dampin=0.1)
