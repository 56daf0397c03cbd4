"""Policies: scores and products against autograd, extreme logits, layouts, samples, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import U, discrete_cases, gaussian_cases, ids, relative, worst

from npgcheck.errors import InvalidArgument, InvalidPolicy
from npgcheck.oracles import (
    traced_gaussian_log_prob,
    traced_log_probabilities,
    traced_logits,
    traced_scores,
)
from npgcheck.policy import GaussianBase, GaussianPolicy, MLPPolicy, SoftmaxPolicy, centred
from npgcheck.policy.discrete import DiscretePolicy

DISCRETE, GAUSSIAN = discrete_cases()[3:9], gaussian_cases()
# logits of a few units, A <= 3 and hidden layers of 3: a few dozen roundings each
FEW = 64 * U


@pytest.mark.parametrize("case", DISCRETE, ids=ids(DISCRETE))
def test_discrete_tables_against_autograd(case):
    from autograd import jacobian

    _, policy, theta, obs, _ = case
    log_pi = traced_log_probabilities(policy, obs)(theta)
    actions = np.arange(len(obs)) % policy.num_actions
    rows = np.arange(len(obs))
    scores = traced_scores(policy, theta, obs)
    assert worst(policy.log_probabilities(theta, obs), log_pi) < FEW
    assert worst(policy.probabilities(theta, obs), np.exp(log_pi)) < FEW
    assert worst(policy.log_prob(theta, obs, actions), log_pi[rows, actions]) < FEW
    assert worst(policy.scores(theta, obs), scores) < FEW
    assert worst(policy.score(theta, obs, actions), scores[rows, actions]) < FEW
    exact = jacobian(traced_logits(policy, obs))(theta)
    assert worst(policy.logits_jacobian(theta, obs), exact) < FEW
    v, c = np.cos(np.arange(theta.size)), np.sin(np.arange(log_pi.size)).reshape(log_pi.shape)
    assert worst(policy.jvp(theta, obs, v), exact @ v) < FEW
    assert worst(policy.vjp(theta, obs, c), np.tensordot(c, exact, 2)) < FEW


@pytest.mark.parametrize("case", DISCRETE, ids=ids(DISCRETE))
def test_the_base_class_gives_the_same_products_as_the_fast_overrides(case):
    _, policy, theta, obs, _ = case
    v, c = np.ones(theta.size), np.arange(len(obs) * policy.num_actions).reshape(len(obs), -1)
    assert worst(DiscretePolicy.jvp(policy, theta, obs, v), policy.jvp(theta, obs, v)) < FEW
    # c reaches 14 and is summed over the rows
    assert worst(DiscretePolicy.vjp(policy, theta, obs, c), policy.vjp(theta, obs, c)) < 40 * FEW
    other = theta + 0.25
    plain = DiscretePolicy.logits_difference(policy, theta, other, obs)
    assert worst(policy.logits_difference(theta, other, obs), plain) < FEW


@pytest.mark.parametrize("case", DISCRETE, ids=ids(DISCRETE))
def test_the_mean_score_is_zero(case):
    _, policy, theta, obs, _ = case
    mean = np.einsum("na,nad->nd", policy.probabilities(theta, obs), policy.scores(theta, obs))
    assert worst(mean, 0) < FEW


@pytest.mark.parametrize("case", DISCRETE, ids=ids(DISCRETE))
def test_log_ratio_keeps_its_digits_near_coincidence(case):
    _, policy, theta, obs, _ = case
    direction = np.cos(np.arange(theta.size))
    step = 1e-9
    # log π(θ + εv) − log π(θ) = ε φ·v + O(ε²); the plain difference keeps seven digits of it
    slope = traced_scores(policy, theta, obs) @ direction
    moved = theta + step * direction
    # the floats θ + εv differ from θ by ε'v with ε' rounded: use what was really added
    real = traced_scores(policy, theta, obs) @ (moved - theta)
    found = policy.log_ratio(theta, moved, obs)
    assert worst(found, real) < 1e-8 * step * np.abs(slope).max()
    large = theta + 3 * direction
    plain = policy.log_probabilities(large, obs) - policy.log_probabilities(theta, obs)
    assert worst(policy.log_ratio(theta, large, obs), plain) < 8 * FEW


@pytest.mark.parametrize("case", GAUSSIAN, ids=ids(GAUSSIAN))
def test_gaussian_against_autograd(case):
    from autograd import jacobian

    _, policy, theta, obs, _ = case
    actions = np.sin(np.arange(len(obs) * policy.action_size)).reshape(len(obs), -1)
    log_density = traced_gaussian_log_prob(policy, obs, actions)
    assert worst(policy.log_prob(theta, obs, actions), log_density(theta)) < 20 * FEW
    # z² reaches a few dozen here
    assert worst(policy.score(theta, obs, actions), jacobian(log_density)(theta)) < 100 * FEW
    v = np.cos(np.arange(theta.size))
    pair = (actions, 1 + actions)
    for fast, slow in (
        (policy.jvp(theta, obs, v), GaussianBase.jvp(policy, theta, obs, v)),
        ((policy.vjp(theta, obs, pair),), (GaussianBase.vjp(policy, theta, obs, pair),)),
    ):
        for f, s in zip(fast, slow, strict=True):
            assert worst(f, s) < 4 * FEW
    other = theta + 0.125
    for f, s in zip(
        policy.mean_log_std_difference(theta, other, obs),
        GaussianBase.mean_log_std_difference(policy, theta, other, obs),
        strict=True,
    ):
        assert worst(f, s) < 4 * FEW


def test_gaussian_coordinates_describe_one_distribution():
    sigma = np.array([0.3, 2.5])
    coordinates = {
        "log_std": np.log(sigma),
        "std": sigma,
        "variance": sigma**2,
        "softplus": np.log(np.expm1(sigma)),
    }
    obs, actions = np.array([[1.0, 2.0]]), np.array([[0.5, -1.0]])
    weights = np.array([0.1, 0.2, -0.3, 0.4])
    densities = []
    for name, s in coordinates.items():
        policy = GaussianPolicy(2, 2, name)
        theta = policy.flatten({"weights": weights.reshape(2, 2), "sigma": s})
        assert worst(policy.std(theta), sigma) < FEW
        densities.append(policy.log_prob(theta, obs, actions)[0])
    # by hand: the mean is (0.1 − 0.6, 0.2 + 0.8)
    z = (actions[0] - [-0.5, 1.0]) / sigma
    by_hand = -0.5 * (z @ z) - np.log(sigma).sum() - np.log(2 * np.pi)
    assert worst(densities, by_hand) < FEW


@pytest.mark.parametrize("size", [1e3, 1e30, 1e300])
def test_deterministic_limits_are_finite_and_right(size):
    policy = SoftmaxPolicy(1, 3)
    theta, obs = np.array([size, 0.0, -size]), np.ones((1, 1))
    assert policy.probabilities(theta, obs).tolist() == [[1, 0, 0]]
    assert policy.log_probabilities(theta, obs).tolist() == [[0, -size, -2 * size]]
    assert policy.score(theta, obs, [2]).tolist() == [[-1, 0, 1]]
    assert policy.score(theta, obs, [0]).tolist() == [[0, 0, 0]]


def test_nearly_deterministic_scores_keep_relative_accuracy():
    policy, obs = SoftmaxPolicy(1, 2), np.ones((1, 1))
    theta = np.array([60.0, 0.0])
    # 1 − π(0) = 1/(1 + e⁶⁰), far below u, and still the whole of the score of action 0
    rest = 1 / (1 + np.exp(60.0))
    assert relative(policy.score(theta, obs, [0])[0], [rest, -rest]) < 8 * U
    assert relative(policy.log_prob(theta, obs, [0]), -rest) < 8 * U


def test_centred_keeps_the_mean_zero_relatively():
    pi = np.array([[1 - 1e-30, 1e-30]])
    values = np.array([[0.3, 0.7]])
    assert relative(centred(pi, values), [[-1e-30 * (0.7 - 0.3), 0.7 - 0.3]]) < 8 * U


def test_overflow_is_an_error_not_a_nan():
    policy = SoftmaxPolicy(2, 2)
    with np.errstate(over="ignore"), pytest.raises(InvalidPolicy, match=r"logits\[0, 0\] is inf"):
        policy.probabilities(np.full(4, 1e308), np.full((1, 2), 10.0))
    with pytest.raises(InvalidPolicy, match="nan"):
        policy.log_prob(np.array([np.nan, 0, 0, 0]), np.ones((1, 2)), [0])
    gaussian = GaussianPolicy(1, 1)
    with pytest.raises(InvalidPolicy, match="mean"):
        gaussian.log_prob(np.array([np.inf, 0.0]), np.ones((1, 1)), [[0.0]])


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
@pytest.mark.parametrize("sigma", ["std", "variance"])
def test_a_sigma_that_is_not_positive_is_refused(sigma, value):
    policy = GaussianPolicy(1, 2, sigma)
    with pytest.raises(InvalidPolicy, match=f"{sigma} of action dimension 1"):
        policy.std(np.array([1.0, 1.0, 0.5, value]))


def test_softplus_far_down_and_far_up():
    policy = GaussianPolicy(1, 3, "softplus")
    theta = np.array([0, 0, 0, -745.0, -40.0, 800.0])
    std = policy.std(theta)
    assert relative(std, [np.exp(-745.0), np.exp(-40.0), 800.0]) < 1e-12
    _, jacobian = policy.mean_log_std_jacobian(theta, np.ones((1, 1)))
    # d log σ/ds → 1 as s → −∞ and 1/s as s → ∞
    assert np.diag(jacobian[0][:, 3:]) == pytest.approx([1, 1, 1 / 800], rel=1e-12)


POLICIES = [SoftmaxPolicy(3, 2), MLPPolicy(3, 2, (4, 5)), GaussianPolicy(3, 2)]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_flatten_and_unflatten_are_inverse_and_ordered(policy):
    theta = np.arange(float(policy.num_parameters))
    arrays = policy.unflatten(theta)
    assert (policy.flatten(arrays) == theta).all()
    assert np.concatenate([a.ravel() for a in arrays.values()]).tolist() == theta.tolist()
    assert {n: a.shape for n, a in arrays.items()} == policy.layout()
    next(iter(arrays.values())).flat[0] = 99  # copies: θ itself is untouched
    assert theta[0] == 0
    with pytest.raises(InvalidPolicy, match="parameters are named"):
        policy.flatten({"w": theta})
    with pytest.raises(InvalidPolicy, match="must have shape"):
        policy.flatten({name: np.zeros(1) for name in arrays})


def test_softmax_and_mlp_order_by_hand():
    assert SoftmaxPolicy(2, 3).logits(np.arange(6.0), np.array([[1.0, 10]])).tolist() == [
        [30, 41, 52]
    ]
    # one hidden unit: W0 = (1, 2), b0 = 3, W1 = (4, 5), b1 = (6, 7)
    found = MLPPolicy(2, 2, (1,)).logits(np.arange(1.0, 8), np.array([[-1.0, -0.5]]))
    h = np.tanh(-1 * 1 - 0.5 * 2 + 3)
    assert found[0] == pytest.approx([4 * h + 6, 5 * h + 7], rel=4 * U)
    assert MLPPolicy(2, 3, ()).num_parameters == 9


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_wrong_shapes_say_what_was_wanted(policy):
    theta, obs = np.full(policy.num_parameters, 0.1), np.ones((4, 3))
    continuous = isinstance(policy, GaussianPolicy)
    good = np.zeros((4, 2)) if continuous else np.zeros(4, int)
    with pytest.raises(InvalidPolicy, match=rf"theta must have shape \({theta.size},\), got"):
        policy.log_prob(theta[1:], obs, good)
    with pytest.raises(InvalidPolicy, match=r"observations must have shape \(N, 3\), got \(4, 2\)"):
        policy.log_prob(theta, obs[:, 1:], good)
    with pytest.raises(InvalidArgument, match="actions"):
        policy.log_prob(theta, obs, good[1:])
    with pytest.raises(InvalidPolicy, match="vector must have shape"):
        policy.jvp(theta, obs, theta[1:])
    if not continuous:
        with pytest.raises(InvalidArgument, match=r"actions\[1\] is 2, outside 0 … 1"):
            policy.log_prob(theta, obs, [0, 2, 0, 0])
        with pytest.raises(InvalidArgument, match="integers"):
            policy.log_prob(theta, obs, np.zeros(4))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2", None])
def test_sizes_are_positive_integers(bad):
    for make in (
        lambda: SoftmaxPolicy(bad, 2),
        lambda: SoftmaxPolicy(2, bad),
        lambda: MLPPolicy(2, 2, (bad,)),
        lambda: GaussianPolicy(2, bad),
    ):
        with pytest.raises(InvalidPolicy, match="integer of at least 1"):
            make()


def test_an_unknown_sigma_names_the_nearest():
    with pytest.raises(InvalidPolicy, match="Did you mean 'variance'"):
        GaussianPolicy(1, 1, "varianc")


def test_tabular_is_recognised_and_needs_no_identity_matrix():
    policy, theta = SoftmaxPolicy(3, 2), np.arange(6.0)
    eye = np.eye(3)
    assert policy.is_tabular(eye)
    assert policy.is_tabular(None)
    assert not policy.is_tabular(eye[[1, 0, 2]])
    assert not policy.is_tabular(2 * eye)
    assert not policy.is_tabular(np.ones((3, 3)))
    assert not policy.is_tabular(eye[:2])
    v, c = np.sin(theta), np.cos(theta).reshape(3, 2)
    for name, argument in (("jvp", v), ("vjp", c)):
        method = getattr(policy, name)
        assert (method(theta, None, argument) == method(theta, eye, argument)).all()
    assert (policy.logits_jacobian(theta, None) == policy.logits_jacobian(theta, eye)).all()


def test_samples_have_the_frequencies_of_the_policy():
    rng = np.random.default_rng(0)
    N = 40_000
    policy = SoftmaxPolicy(1, 4)
    theta = np.array([0.0, np.log(2), np.log(5), -1e3])
    actions = policy.sample(theta, np.ones((N, 1)), rng)
    counts = np.bincount(actions, minlength=4)
    # five standard deviations of a binomial proportion; probability zero is never drawn
    expected = np.array([1, 2, 5]) / 8
    limit = 5 * np.sqrt(expected * (1 - expected) / N)
    assert (np.abs(counts[:3] / N - expected) < limit).all()
    assert counts[3] == 0
    gaussian = GaussianPolicy(1, 2)
    draws = gaussian.sample(np.array([1.0, -2.0, 0.0, np.log(3)]), np.ones((N, 1)), rng)
    assert worst(draws.mean(axis=0), [1, -2]) < 5 * 3 / np.sqrt(N)
    assert draws.std(axis=0) == pytest.approx([1, 3], rel=5 / np.sqrt(2 * N))


class StateDependentSigma(GaussianBase):
    """A policy of one's own: θ = (w, v), μ = w·o, log σ = v·o."""

    action_size, observation_size, num_parameters = 1, 2, 4

    def mean_log_std(self, theta, observations):
        return observations @ theta[:2, None], observations @ theta[2:, None]

    def mean_log_std_jacobian(self, theta, observations):
        padded = np.zeros((2, len(observations), 1, 4))
        padded[0, :, 0, :2] = padded[1, :, 0, 2:] = observations
        return padded[0], padded[1]


def test_an_own_gaussian_policy_derives_everything():
    policy, theta = StateDependentSigma(), np.array([0.3, -0.2, 0.1, 0.4])
    obs, actions = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([[0.7], [-0.4]])

    def log_density(t):
        z = (actions[:, 0] - obs @ t[:2]) / np.exp(obs @ t[2:])
        return -0.5 * z**2 - obs @ t[2:] - 0.5 * np.log(2 * np.pi)

    assert worst(policy.log_prob(theta, obs, actions), log_density(theta)) < FEW
    h = 1e-6
    differences = np.array(
        [(log_density(theta + h * e) - log_density(theta - h * e)) / (2 * h) for e in np.eye(4)]
    ).T
    # truncation h² and round-off u/h, each about 1e-10
    assert worst(policy.score(theta, obs, actions), differences) < 1e-8
