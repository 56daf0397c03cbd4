"""The door's refusals: what faulty functions, batches and policies are told."""

import numpy as np
import pytest
from steps import check, make, result

import npgcheck
from npgcheck.step.controls import heads


def boom(*_):
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("gradient", np.full(67, np.nan), "returned nan in 67 of 67 entries"),
        ("gradient", np.zeros(3), r"shape \(3,\); \(67,\) is needed"),
        ("gradient", "g", "gradient"),
        ("gradient", boom, "RuntimeError: out of memory"),
        ("fisher_vector_product", boom, "RuntimeError: out of memory"),
        ("fisher_vector_product", lambda v: v[:-1], "is needed"),
        ("kl", lambda t: np.inf, "returned inf"),
        ("kl", lambda t: None, "None"),
        ("log_prob", np.zeros(4), "is needed"),
    ],
)
def test_faults_are_findings(part, value, said):
    import re

    report = check(make(), **{part: value})
    found = [r for r in report.results if r.kind == "contract"]
    assert len(found) == 1
    assert re.search(said, found[0].reason)
    assert not report.passed


def test_a_traceback_shows_the_users_frames_alone():
    report = check(make(), fisher_vector_product=boom)
    trace = next(r.traceback for r in report.results if r.kind == "contract")
    assert "in boom" in trace
    assert "npgcheck/step" not in trace.replace("\\", "/")


def test_unsupported_is_a_skip():
    def product(v):
        raise npgcheck.Unsupported("only on graphics cards")

    report = check(make(), "gradient", fisher_vector_product=product)
    assert report.passed
    assert result(report, "fisher_vector_product").reason == "only on graphics cards"


def test_a_random_policy_is_a_finding():
    step = make()
    rng = np.random.default_rng(0)

    def dropout(theta, observations):
        mask = rng.random(observations.shape) < 0.9
        return step.policy(theta, observations * mask)

    report = check(step, "gradient", policy=dropout)
    assert not report.passed
    reason = next(r.reason for r in report.results if r.status == "fail")
    assert "is dropout, or sampling, switched on?" in reason


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"advantages": np.zeros(3)}, npgcheck.InvalidArgument, "advantages has shape"),
        ({"actions": np.full(50, 7)}, npgcheck.InvalidArgument, "is no known distribution"),
        ({"theta": np.zeros((2, 2))}, npgcheck.InvalidArgument, "must be a vector"),
        ({"theta": np.full(67, np.nan)}, npgcheck.InvalidArgument, "theta holds nan at index 0"),
        ({"max_kl": -1}, npgcheck.InvalidArgument, "max_kl must be a positive number"),
        ({"weights": -np.ones(50)}, npgcheck.InvalidArgument, "non-negative"),
        ({"distribution": "gausian"}, npgcheck.UsageError, "Did you mean 'gaussian'"),
        ({"distribution": "gaussian"}, npgcheck.InvalidArgument, r"pair \(mean, log_std\)"),
        ({"policy": lambda t, o: o[:, :3] * np.nan}, npgcheck.InvalidArgument, "returned nan"),
        ({"policy": boom}, npgcheck.UsageError, "raised RuntimeError"),
        ({"policy": 3}, npgcheck.UsageError, "must be a function"),
        ({"gradient": None}, npgcheck.UsageError, "nothing to judge"),
        ({"direction": np.zeros(4)}, npgcheck.InvalidArgument, "direction has shape"),
    ],
)
def test_wrong_requests_are_refused(change, error, said):
    with pytest.raises(error, match=said):
        check(make(), "gradient", **change)


def test_nothing_returned_is_one_question():
    with pytest.raises(npgcheck.InvalidArgument) as caught:
        check(make(), "gradient", policy=lambda theta, observations: None)
    assert str(caught.value).endswith("is a return statement missing?")


def test_binary_actions_may_be_truth_values():
    step = make(heads.bernoulli(3))
    assert check(step, "gradient", "log_prob", actions=step.actions.astype(bool)).passed
    one = make(heads.categorical(2))
    assert check(one, "gradient", actions=one.actions.astype(bool)).passed


def masked(step, mask, low=-np.inf):
    """A policy whose logits are −inf where an action is not allowed, and its exact parts."""

    def outputs(theta):
        return np.where(mask, step.outputs(theta), low)

    def probabilities(theta):
        e = np.exp(outputs(theta) - outputs(theta).max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    p = probabilities(step.theta)
    score = np.eye(p.shape[1])[step.actions] - p

    def product(v):
        u = step.network.jvp(step.theta, step.observations, v)
        return step.pull_back(p * (u - (p * u).sum(axis=1, keepdims=True))) + 0.1 * v

    def kl(theta):
        new = probabilities(theta)
        return float((p * np.log(np.where(mask, p / np.where(mask, new, 1), 1))).sum() / len(p))

    return {
        "policy": lambda theta, observations: outputs(theta),
        "gradient": step.pull_back(step.advantages[:, None] * score),
        "log_prob": np.log(p[np.arange(len(p)), step.actions]),
        "fisher_vector_product": product,
        "kl": kl,
    }


@pytest.mark.parametrize(
    "low", [-np.inf, -1e4, -1e8, np.finfo(float).min, np.finfo(np.float32).min]
)
def test_masked_actions_have_no_probability(low):
    step = make(heads.categorical(4))
    mask = np.random.default_rng(1).random((50, 4)) < 0.7
    mask[np.arange(50), step.actions] = True
    given = masked(step, mask, low)
    report = check(step, distribution="categorical", **given)
    assert report.passed, report
    assert {q.status for q in report.quantities} <= {"pass", "deviates", "not_covered"}
    plain = make(heads.categorical(4))
    wrong = check(step, **{**given, "gradient": plain.gradient()})  # the mask was forgotten
    assert not wrong.passed
    assert "masked" in report.notes[0]


def test_a_masked_action_that_was_taken_is_refused():
    step = make(heads.categorical(4))
    mask = np.ones((50, 4), bool)
    mask[7, step.actions[7]] = False
    with pytest.raises(npgcheck.InvalidArgument, match=r"row 7 .* −inf"):
        check(
            step,
            "gradient",
            policy=lambda theta, observations: np.where(mask, step.outputs(theta), -np.inf),
        )


def test_one_hot_actions_are_asked_about():
    step = make(heads.categorical(3))
    hot = np.eye(3)[step.actions]
    with pytest.raises(npgcheck.InvalidArgument, match="one-hot"):
        check(step, "gradient", actions=hot)


def test_outputs_that_fit_two_distributions_are_asked_about():
    step = make(heads.gaussian(2))
    whole = np.round(step.actions).clip(0, 1)
    with pytest.raises(npgcheck.InvalidArgument, match="gaussian or multi_discrete"):
        check(step, "gradient", actions=whole)
