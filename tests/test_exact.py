"""V, Q, A, d, J: against hand-computed chains, the series, exact rationals; every solver alike."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from math_cases import (
    U,
    condition,
    discrete_cases,
    gaussian_cases,
    ids,
    random_mdp,
    random_quadratic,
    worst,
)
from scipy.sparse import csr_array

from npgcheck.certified import certify_evaluation, floats
from npgcheck.errors import InvalidArgument, InvalidPolicy, NotConverged
from npgcheck.exact import (
    action_advantage,
    evaluate,
    evaluate_policy,
    evaluate_quadratic,
    optimal,
)
from npgcheck.linear import METHODS
from npgcheck.mdp import MDP
from npgcheck.named_mdps import garnet, gridworld, kakade_two_state
from npgcheck.oracles import series_evaluation, traced_objective
from npgcheck.policy import SoftmaxPolicy

FIELDS = ("value", "q_value", "advantage", "state_distribution", "objective")


def tables(seed=0):
    rng = np.random.default_rng(seed)
    for discount, (S, A) in itertools.product((0.0, 0.5, 0.99, 0.999999), ((1, 1), (1, 3), (4, 2))):
        mdp = random_mdp(rng, S, A, discount, density=0.6)
        yield mdp, rng.dirichlet(np.ones(A), size=S)
        one_hot = np.zeros((S, A))
        one_hot[:, 0] = 1
        yield mdp, one_hot


def assert_agrees(found, exact, mdp, constant=30):
    """30 u κ ‖V‖: an LU solve is backward stable with a constant of a few times S <= 6."""
    kappa = condition(mdp)
    value = max(np.abs(exact["value"]).max(), np.abs(mdp.rewards).max())
    for name in FIELDS:
        limit = constant * U * kappa * (1 if name == "state_distribution" else value)
        assert worst(getattr(found, name), exact[name]) <= limit, name


def test_by_hand_two_states():
    # uniform policy in Kakade's MDP, γ = 9/10: V_i = ½ + 9/20 (V_i + V_j), V_j = 1 + the same
    found = evaluate(kakade_two_state(), np.full((2, 2), 0.5))
    assert worst(found.value, [7.25, 7.75]) < 30 * U * 19 * 7.75
    assert worst(found.q_value, [[7.525, 6.975], [8.975, 6.525]]) < 1e-13
    assert worst(found.advantage, [[0.275, -0.275], [1.225, -1.225]]) < 1e-13
    # d = (1 − γ)ρ + γ/2: from (4/5, 1/5)
    assert worst(found.state_distribution, [0.53, 0.47]) < 1e-15
    assert found.objective == pytest.approx(0.8 * 7.25 + 0.2 * 7.75, rel=1e-14)


@pytest.mark.parametrize(("mdp", "pi"), list(tables()))
def test_against_exact_rationals(mdp, pi):
    exact = certify_evaluation(mdp, pi)
    assert_agrees(evaluate(mdp, pi), {name: floats(getattr(exact, name)) for name in FIELDS}, mdp)


@pytest.mark.parametrize(("mdp", "pi"), list(tables(1)))
def test_against_the_series(mdp, pi):
    if mdp.discount < 0.999:
        # the doubling series rounds a little more than a solve: a factor 10 for log₂ 1/(1−γ) steps
        assert_agrees(evaluate(mdp, pi), series_evaluation(mdp, pi), mdp, constant=300)


CASES = discrete_cases()[:9] + gaussian_cases()


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_objective_of_a_policy_against_the_traced_one(case):
    mdp, policy, theta, obs, _ = case
    found = evaluate_policy(mdp, policy, theta, obs)
    exact = float(traced_objective(mdp, policy, obs)(theta))
    # Gaussian rewards reach a few dozen before they are averaged
    assert abs(found.objective - exact) <= 1000 * U * condition(mdp) * max(1, abs(exact))
    assert worst(mdp.initial_distribution @ found.value, found.objective) < 1e-12 * abs(exact)


@pytest.mark.parametrize("case", gaussian_cases(), ids=ids(gaussian_cases()))
def test_the_gaussian_advantage_has_mean_zero_and_the_right_shape(case):
    mdp, policy, theta, obs, _ = case
    mean, std = policy.mean(theta, obs), policy.std(theta)
    # two-point design μ ± σ in one dimension at a time matches mean and variance
    m, S = mdp.action_size, mdp.num_states
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=m)))
    for s in range(S):
        actions = mean[s] + std * signs
        states = np.full(len(signs), s)
        advantage = action_advantage(mdp, mean, std, states, actions)
        scale = np.abs(advantage).max()
        assert abs(advantage.mean()) <= 64 * U * max(scale, 10.0)
        assert scale > 0.01


def test_occupancy_of_unreachable_states_is_exactly_zero():
    rng = np.random.default_rng(3)
    for S, hidden in ((5, [1, 3]), (200, range(7, 90))):
        P = rng.random((S, 2, S))
        visible = np.setdiff1d(np.arange(S), hidden)
        for s in visible:
            P[s][:, list(hidden)] = 0
        P /= P.sum(axis=2, keepdims=True)
        start = np.zeros(S)
        start[visible[0]] = 1
        mdp = MDP(P, rng.random((S, 2)), 0.999, start)
        sparse = MDP(csr_array(P.reshape(-1, S)), mdp.rewards, 0.999, start)
        pi = rng.dirichlet(np.ones(2), size=S)
        for problem, method in ((mdp, "dense"), (sparse, "direct"), (sparse, "iterative")):
            d = evaluate(problem, pi, method).state_distribution
            assert (d[list(hidden)] == 0).all()
            assert (d[visible] > 0).all()
            assert d.sum() == pytest.approx(1, abs=1e-11)


def test_an_absorbing_state_keeps_what_reaches_it():
    # 0 → 1 with probability one, 1 absorbing: d = (1 − γ, γ)
    P = np.zeros((2, 1, 2))
    P[:, :, 1] = 1
    found = evaluate(MDP(P, [[1.0], [0.0]], 0.75, [1.0, 0.0]), np.ones((2, 1)))
    assert found.state_distribution.tolist() == [0.25, 0.75]
    assert found.value.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("discount", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("make", [gridworld, lambda **k: garnet(60, 3, 5, **k)])
def test_all_solvers_agree(make, discount):
    dense, sparse = make(discount=discount), make(discount=discount, sparse=True)
    pi = np.random.default_rng(0).dirichlet(np.ones(dense.num_actions), size=dense.num_states)
    exact = evaluate(dense, pi)
    for mdp in (dense, sparse):
        for method in METHODS:
            found = evaluate(mdp, pi, method)
            for name in FIELDS:
                limit = 30 * U * condition(dense) * max(1, np.abs(exact.value).max())
                assert worst(getattr(found, name), getattr(exact, name)) <= limit, (method, name)


def test_an_iterative_solve_that_misses_its_residual_is_an_error():
    mdp = gridworld(1, 4000, discount=0.999999, sparse=True)
    pi = np.full((4000, 4), 0.25)
    with pytest.raises(NotConverged, match="backward error"):
        evaluate(mdp, pi, "iterative")
    # "auto" falls back on the factorisation: few successors per state, little fill
    found = evaluate(mdp, pi)
    assert found.state_distribution.sum() == pytest.approx(1, abs=1e-9)


def test_iterative_occupancies_are_never_negative():
    # a corridor walked at random: occupancies fall below round-off, where GMRES has no sign
    mdp = gridworld(1, 60, 0.99, sparse=True)
    for seed in range(20):
        pi = np.random.default_rng(seed).dirichlet(np.full(4, 0.2), size=60)
        pi = (pi + 1e-9) / (pi + 1e-9).sum(axis=1, keepdims=True)
        found = evaluate(mdp, pi, "iterative").state_distribution
        exact = evaluate(mdp, pi, "dense").state_distribution
        assert found.min() >= 0
        assert exact.min() > 0
        # the verified backward error is 64u in the 1-norm; the forward error at most κ of it
        assert np.abs(found - exact).sum() <= 64 * U * condition(mdp)


def test_importing_the_mathematics_loads_numpy_alone():
    code = (
        "import sys, npgcheck.natural, npgcheck.gae, npgcheck.named_mdps, npgcheck.oracles,"
        " npgcheck.certified; print([m for m in ('scipy', 'autograd', 'flint', 'sympy')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("pi", "message"),
    [
        ([[0.5, 0.6], [1, 0]], r"probabilities\[0\].*sum − 1 = \+0.1"),
        ([[1, 0], [1.5, -0.5]], r"probabilities\[1\].*smallest entry -0.5"),
        ([[1, 0], [np.nan, 1]], r"probabilities\[1\].*not a distribution"),
        ([[1, 0]], r"shape \(S, A\) = \(2, 2\), got \(1, 2\)"),
    ],
)
def test_probabilities_are_checked_and_never_renormalised(pi, message):
    with pytest.raises(InvalidArgument, match=message):
        evaluate(kakade_two_state(), pi)


def test_other_refusals():
    mdp, quadratic = kakade_two_state(), random_quadratic(np.random.default_rng(0), 2, 1, 0.5)
    with pytest.raises(InvalidArgument, match="method must be one of"):
        evaluate(mdp, np.full((2, 2), 0.5), "fast")
    with pytest.raises(InvalidArgument, match=r"shape \(S, m\)"):
        evaluate_quadratic(quadratic, np.zeros((2, 2)), np.ones(1))
    with pytest.raises(InvalidArgument, match="std positive"):
        evaluate_quadratic(quadratic, np.zeros((2, 1)), np.zeros(1))
    with pytest.raises(InvalidPolicy, match="finitely many actions"):
        evaluate_policy(quadratic, SoftmaxPolicy(2, 2), np.zeros(4), np.eye(2))


@pytest.mark.parametrize("seed", range(4))
def test_optimal_against_every_deterministic_policy(seed):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 4, 3, (0.0, 0.5, 0.9, 0.99)[seed], density=0.6)
    values = [
        evaluate(mdp, np.eye(3)[list(choice)]).value
        for choice in itertools.product(range(3), repeat=4)
    ]
    best = optimal(mdp)
    assert worst(best.value, np.max(values, axis=0)) <= 30 * U * condition(mdp) ** 2
    assert worst(best.q_value.max(axis=1), best.value) <= 60 * U * condition(mdp) ** 2


def test_optimal_settles_on_ties_and_says_when_it_does_not():
    P = np.full((3, 4, 3), 1 / 3)
    assert optimal(MDP(P, np.ones((3, 4)), 0.999999, np.full(3, 1 / 3))).iterations == 1
    with pytest.raises(InvalidArgument, match="did not settle"):
        optimal(kakade_two_state(), max_iterations=1)


def test_advantages_keep_their_digits_as_gamma_tends_to_one():
    # eighths throughout, so that rows sum to one exactly; γ = 0.999999: V is 10⁶, A of order one
    rng = np.random.default_rng(5)
    P = rng.multinomial(8, np.full(5, 0.2), size=(5, 2)) / 8
    mdp = MDP(P, rng.integers(0, 9, size=(5, 2)) / 8, 0.999999, np.eye(5)[0])
    pi = np.tile([0.25, 0.75], (5, 1))
    exact = certify_evaluation(mdp, pi)
    assert np.abs(floats(exact.value)).max() > 1e5
    # Q − V would lose u·|V| = 1e-10; the error of the solve is a constant, which A does not see
    assert worst(evaluate(mdp, pi).advantage, floats(exact.advantage)) < 1e-13
