"""∇J and the surrogate: autograd through the solve, Möbius points, trajectories, differences."""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import (
    U,
    central_difference,
    condition,
    discrete_cases,
    gaussian_cases,
    ids,
    relative,
    worst,
)

from npgcheck.certified import certify, floats
from npgcheck.exact import evaluate_policy
from npgcheck.gradient import policy_gradient, surrogate, surrogate_gain
from npgcheck.mdp import MDP
from npgcheck.named_mdps import aliased_chain, gridworld, kakade_two_state
from npgcheck.oracles import (
    enumerated_gradient,
    moebius_gradient,
    summed_surrogate,
    traced_gradient,
)
from npgcheck.policy import SoftmaxPolicy

DISCRETE, GAUSSIAN = discrete_cases(), gaussian_cases()
ALL = DISCRETE + GAUSSIAN


def limit(case, gradient):
    """κ u ‖Q‖ max‖φ‖/(1 − γ) with ‖Q‖ <= 1/(1 − γ), and the like for Gaussian rewards."""
    kappa = condition(case.mdp)
    return 300 * U * kappa * max(kappa, np.abs(gradient).max())


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_against_autograd_through_the_solve(case):
    exact = traced_gradient(case.mdp, case.policy, case.theta, case.observations)
    found = policy_gradient(*case[:4])
    assert found.shape == (case.policy.num_parameters,)
    assert worst(found, exact) <= limit(case, exact)


@pytest.mark.parametrize("case", DISCRETE[3:6], ids=ids(DISCRETE[3:6]))
def test_against_three_values_of_a_moebius_function(case):
    exact = moebius_gradient(*case[:4])
    # differences of values: κ more than the solve itself
    assert worst(policy_gradient(*case[:4]), exact) <= limit(case, exact) * condition(case.mdp)


BALLS = [DISCRETE[i] for i in (0, 3, 4, 9, 10, 12)] + GAUSSIAN


@pytest.mark.parametrize("case", BALLS, ids=ids(BALLS))
def test_against_certified_balls(case):
    exact = floats(certify(*case[:4]).policy_gradient)
    assert worst(policy_gradient(*case[:4]), exact) <= limit(case, exact)


@pytest.mark.parametrize("case", ALL[::4], ids=ids(ALL[::4]))
def test_against_central_differences(case):
    mdp, policy, theta, obs, _ = case
    numeric = central_difference(lambda t: evaluate_policy(mdp, policy, t, obs).objective, theta)
    found = policy_gradient(mdp, policy, theta, obs)
    # step 1e-5: truncation h² |J‴| with |J‴| of order (1 − γ)⁻⁴ at worst, round-off u κ|J|/h
    scale = max(1.0, np.abs(found).max())
    assert worst(found, numeric) < 1e-6 * scale * condition(mdp)


def test_against_every_trajectory_of_the_aliased_chain():
    mdp, obs = aliased_chain(), np.ones((4, 1))
    policy, theta = SoftmaxPolicy(1, 2), np.array([0.2, -0.4])
    J, gradient = enumerated_gradient(mdp, policy, theta, obs, horizon=10)
    # every trajectory ends within three steps: the enumeration is the whole expectation
    assert worst(evaluate_policy(mdp, policy, theta, obs).objective, J) < 20 * U
    assert worst(policy_gradient(mdp, policy, theta, obs), gradient) < 40 * U


def test_the_aliased_chain_by_hand():
    # dJ/dp = +1/4, and dp/dz_R = p(1 − p) = 1/4 at p = ½
    found = policy_gradient(aliased_chain(), SoftmaxPolicy(1, 2), np.zeros(2), np.ones((4, 1)))
    assert worst(found, [-1 / 16, 1 / 16]) < 4 * U


def test_kakade_by_hand():
    # d π A/(1 − γ) = (0.53, 0.47) · ½ · (±0.275, ±1.225) · 10
    found = policy_gradient(kakade_two_state(), SoftmaxPolicy(2, 2), np.zeros(4), np.eye(2))
    exact = [0.53 * 0.275 * 5, -0.53 * 0.275 * 5, 0.47 * 1.225 * 5, -0.47 * 1.225 * 5]
    assert worst(found, exact) < 30 * U * 19 * 10


def test_a_start_at_trajectories_with_slips():
    mdp = gridworld(2, 2, 0.5)
    policy, theta = SoftmaxPolicy(4, 4), np.linspace(-1, 1, 16)
    J, gradient = enumerated_gradient(mdp, policy, theta, np.eye(4), horizon=5)
    # what happens after five steps is worth at most γ⁵ max V <= 2⁻⁵, and its score sum is bounded
    assert abs(evaluate_policy(mdp, policy, theta, np.eye(4)).objective - J) < 2.0**-5
    assert worst(policy_gradient(mdp, policy, theta, np.eye(4)), gradient) < 6 * 2.0**-5


@pytest.mark.parametrize("case", DISCRETE[1::3], ids=ids(DISCRETE[1::3]))
def test_surrogate_against_the_sum(case):
    mdp, policy, theta, obs, _ = case
    other = theta + 0.3 * np.cos(np.arange(theta.size))
    exact = summed_surrogate(mdp, policy, theta, obs, other)
    assert abs(surrogate(mdp, policy, theta, obs, other) - exact) <= limit(case, exact)
    assert surrogate(mdp, policy, theta, obs, theta) == pytest.approx(
        evaluate_policy(mdp, policy, theta, obs).objective, rel=4 * U
    )


@pytest.mark.parametrize("case", GAUSSIAN, ids=ids(GAUSSIAN))
def test_the_gaussian_surrogate_is_the_objective(case):
    # the action does not drive the chain, so d does not depend on θ and L(θ') = J(θ')
    mdp, policy, theta, obs, _ = case
    other = theta + 0.2
    exact = evaluate_policy(mdp, policy, other, obs).objective
    scale = max(1, abs(exact)) * condition(mdp) ** 2
    assert abs(surrogate(mdp, policy, theta, obs, other) - exact) <= 300 * U * scale


def test_the_surrogate_gain_keeps_its_digits_for_small_steps():
    mdp, policy, theta, obs, _ = DISCRETE[10]
    g = policy_gradient(mdp, policy, theta, obs)
    moved = theta + 1e-14 * g / np.abs(g).max()
    gain = surrogate_gain(mdp, policy, theta, obs, moved, evaluate_policy(mdp, policy, theta, obs))
    # first order: g·(moved − θ), to the digits of g itself; π′ − π would keep two of them
    assert relative(gain, g @ (moved - theta)) < 1e-9


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_deterministic_policies_have_a_finite_vanishing_gradient(size):
    mdp, obs = kakade_two_state(), np.eye(2)
    theta = np.array([size, 0.0, size, 0.0])
    assert policy_gradient(mdp, SoftmaxPolicy(2, 2), theta, obs).tolist() == [0, 0, 0, 0]


def test_one_action_and_no_discount():
    P = np.full((3, 1, 3), 1 / 3)
    mdp = MDP(P, [[1.0], [2.0], [4.0]], 0.9, [1, 0, 0])
    assert policy_gradient(mdp, SoftmaxPolicy(3, 1), np.zeros(3), np.eye(3)).tolist() == [0, 0, 0]
    bandit = MDP(np.ones((1, 2, 1)), [[0.0, 1.0]], 0.0, [1.0])
    # p(1 − p)(r_1 − r_0) at p = ½
    assert policy_gradient(bandit, SoftmaxPolicy(1, 2), np.zeros(2), np.eye(1)).tolist() == [
        -0.25,
        0.25,
    ]
