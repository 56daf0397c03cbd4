"""A step of another policy, another system, or in another order: what is said, what is not."""

from dataclasses import replace

import numpy as np
import pytest
from steps import check, make, names, result

from npgcheck.step import locate, readings
from npgcheck.step.controls import heads
from npgcheck.step.controls.network import Network
from npgcheck.step.controls.trpo import Step


def equals(report, quantity):
    return {n for d in result(report, quantity).diagnosis for n in d.alternatives}


def matrix(step, weigh):
    z = step.outputs(step.theta)
    eye = np.eye(len(step.theta), dtype=step.theta.dtype)
    moved = [step.network.jvp(step.theta, step.observations, e) for e in eye]
    return np.stack([step.pull_back(weigh(z, u)) for u in moved], axis=1)


def outer(step):
    score = step.head.score(step.outputs(step.theta), step.actions)
    return matrix(step, lambda z, u: score * (score * u).sum(axis=1, keepdims=True))


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0.37, 0.0, 1.25, -0.8])
def test_a_number_is_estimated_and_rounded(number):
    family = readings.Family(
        np.linspace(-2.0, 2.0, 21), lambda v: readings.Reading("softmax-temperature", f"{v:g}")
    )
    found = readings.estimated(family, lambda r: abs(float(r.note) - number) + 1e-3)
    assert f"{number:g}" in [r.note for r in found]


def test_a_family_that_never_comes_near_is_not_looked_into():
    tried = []
    family = readings.Family(np.linspace(0.0, 1.0, 5), lambda v: readings.Reading("", f"{v:g}"))
    assert not readings.estimated(family, lambda r: tried.append(r) or 0.5)
    assert len(tried) == 5


def test_an_odd_temperature_is_told_with_its_number():
    step = make(heads.categorical(4))
    z = step.outputs(step.theta) / 0.37
    report = check(step, log_prob=step.head.log_prob(z, step.actions))
    assert names(report, "log_prob") == ["softmax-temperature"]
    assert "0.37" in result(report, "log_prob").reason


def test_a_mixture_of_two_policies_has_no_name():
    step = make(heads.categorical(4))
    z = step.outputs(step.theta)
    both = np.logaddexp(
        step.head.log_prob(z, step.actions), step.head.log_prob(2 * z, step.actions)
    )
    report = check(step, log_prob=both - np.log(2.0))
    assert result(report, "log_prob").status == "fail"
    assert not names(report, "log_prob")


# ---- order ---------------------------------------------------------------------------------------


def test_orders_are_told():
    exact = np.random.default_rng(0).standard_normal(20)
    turned = exact.copy()
    turned[2:14] = exact[2:14].reshape(3, 4).T.ravel()
    assert locate.order_of(turned, exact, 1e-9) == "the 3 × 4 block from 2 on is transposed"
    assert locate.order_of(np.roll(exact, 3), exact, 1e-9) == "the last 3 come first"
    assert locate.order_of(exact[::-1], exact, 1e-9) == "from last to first"
    shuffled = np.random.default_rng(1).permutation(exact)
    assert locate.order_of(shuffled, exact, 1e-9) == ""


def test_an_order_of_no_kind_has_no_name():
    step = make()
    report = check(step, gradient=np.random.default_rng(1).permutation(step.gradient()))
    assert not names(report, "policy_gradient")
    assert "in another order" in result(report, "policy_gradient").reason


# ---- lengths -------------------------------------------------------------------------------------


def test_a_gradient_of_an_odd_length_is_not_called_clipped():
    step = make()
    g = step.gradient()
    report = check(step, gradient=g * (0.012345678 / np.linalg.norm(g)))
    assert not names(report, "policy_gradient")
    report = check(step, gradient=g * (1.0 / np.linalg.norm(g)))
    assert names(report, "policy_gradient") == ["gradient-normalised"]
    report = check(step, gradient=-g * (0.02 / np.linalg.norm(g)))
    assert names(report, "policy_gradient") == ["gradient-clipped", "gradient-of-the-loss"]


def test_weights_that_do_not_sum_to_one_are_told():
    step = make()
    weights = np.random.default_rng(2).uniform(0.5, 2.0, len(step.actions))
    score = step.head.score(step.outputs(step.theta), step.actions)
    gradient = step.pull_back((weights * step.advantages)[:, None] * score)
    report = check(step, "fisher_vector_product", weights=weights, gradient=gradient)
    assert "the mean of the weights" in result(report, "policy_gradient").reason
    assert names(report, "fisher_vector_product") == ["weights-differ-between-F-and-g"]


# ---- matrices ------------------------------------------------------------------------------------


def test_weights_within_a_block_are_not_a_cut_between_blocks():
    """The Fisher matrix of a Gaussian policy has no block between μ and a free log σ to cut."""
    network = Network((6, 16, 16, 3), "tanh", 3)
    step = Step.draw(heads.gaussian(3), network, 120, np.random.default_rng(1), "float32")
    weights = np.power(0.95, np.arange(120))
    weights = (weights / weights.mean()).astype(np.float32)[:, None]
    step.changed["fisher"] = lambda s, right, v: s.pull_back(
        weights * s.head.weigh(s.outputs(s.theta), s.network.jvp(s.theta, s.observations, v))
    )
    report = check(step, "fisher_vector_product")
    assert result(report, "fisher_vector_product").status == "fail"
    assert "block-fisher" not in names(report, "fisher_vector_product")


def test_an_empirical_diagonal_is_told():
    step = make()
    diagonal = np.diag(outer(step))
    report = check(step, fisher_vector_product=lambda v: diagonal * v)
    assert names(report, "fisher_vector_product") == ["diagonal-fisher", "empirical-fisher"]


def test_factors_are_told_behind_normalised_logits():
    step = make(heads.categorical(3), sizes=(4,))

    def policy(theta, observations):
        z = step.policy(theta, observations)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    p = np.exp(policy(step.theta, step.observations))
    o = np.concatenate([step.observations, np.ones((len(p), 1))], axis=1)
    middle = np.diag(p.mean(axis=0)) - p.T @ p / len(p)

    def product(v):
        return (o.T @ o / len(o) @ v.reshape(-1, 3) @ middle).ravel()

    report = check(step, policy=policy, fisher_vector_product=product)
    assert names(report, "fisher_vector_product") == ["kronecker-fisher"]


# ---- systems -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "solve"),
    [
        ("empirical-fisher", lambda s, F, g: np.linalg.solve(outer(s) + 0.1 * np.eye(len(g)), g)),
        ("fisher-factor-two", lambda s, F, g: np.linalg.solve(2 * F + 0.1 * np.eye(len(g)), g)),
        ("batch-size-scale", lambda s, F, g: np.linalg.lstsq(50 * F, g, rcond=1e-10)[0]),
    ],
)
def test_a_direction_alone_shows_the_system_that_it_solves(name, solve):
    step = make()
    F = matrix(step, step.head.weigh)
    report = check(step, direction=solve(step, F, step.gradient()))
    assert name in {*names(report, "natural_gradient"), *equals(report, "natural_gradient")}


def test_a_direction_of_no_known_system_has_no_name():
    step = make()
    F = matrix(step, step.head.weigh)
    x = np.linalg.solve(F @ F @ F + 0.1 * np.eye(len(F)), step.gradient())
    report = check(step, "gradient", "fisher_vector_product", direction=x)
    assert result(report, "natural_gradient").status == "fail"
    assert not names(report, "natural_gradient")


def test_an_iterate_alone_is_left_open():
    """Truncated, it solves no system at all: without the product that is no mistake."""
    step = make()
    report = check(step, "direction")
    assert result(report, "natural_gradient").status in ("skip", "deviates")


# ---- observations --------------------------------------------------------------------------------


def standardised(step):
    o = step.observations
    return replace(step, observations=(o - o.mean(axis=0)) / o.std(axis=0), changed={})


def test_standardised_observations_are_told_of_each_part():
    step = make()
    there = standardised(step)
    report = check(
        step,
        gradient=there.gradient(),
        fisher_vector_product=there.fisher,
        log_prob=there.log_prob(),
    )
    for quantity in ("policy_gradient", "fisher_vector_product", "log_prob"):
        assert names(report, quantity) == ["features-normalised"]


def test_what_is_nearly_right_is_not_called_normalised():
    """Observations that are almost standardised, beside a gradient that is wrong by 1e-5."""
    step = standardised(make())
    step.observations = step.observations * (1.0 + 1e-5) + 1e-5
    noise = np.random.default_rng(0).standard_normal(len(step.theta))
    report = check(step, gradient=step.gradient() * (1.0 + 1e-5 * noise))
    assert result(report, "policy_gradient").status == "fail"
    assert not names(report, "policy_gradient")


@pytest.mark.parametrize("kind", ["a list", "an array"])
def test_a_policy_that_takes_its_own_observations_alone_is_not_asked_for_others(kind):
    step = make()
    rows = [list(row) for row in step.observations] if kind == "a list" else step.observations

    def policy(theta, observations):
        assert type(observations) is type(rows)
        if not np.array_equal(observations, rows):
            raise KeyError("no such state")
        return step.policy(theta, step.observations)

    report = check(step, policy=policy, observations=rows, gradient=standardised(step).gradient())
    assert result(report, "policy_gradient").status == "fail"
