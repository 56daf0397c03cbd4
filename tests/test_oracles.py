"""The second routes themselves: on cases solved by hand, and sharp enough to see 0.05 %."""

from __future__ import annotations

import ast
import inspect
from fractions import Fraction

import numpy as np
import pytest
from math_cases import U, discrete_cases, gaussian_cases, ids, worst

from npgcheck import oracles
from npgcheck.errors import InvalidArgument, InvalidPolicy
from npgcheck.exact import evaluate_policy
from npgcheck.mdp import MDP
from npgcheck.named_mdps import kakade_two_state
from npgcheck.policy import GaussianPolicy, SoftmaxPolicy


def test_oracles_import_only_mdps_and_policies():
    tree = ast.parse(inspect.getsource(oracles))
    ours = {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("npgcheck")
    }
    assert ours == {"npgcheck.errors", "npgcheck.mdp", "npgcheck.policy"}


def test_series_by_hand():
    # a two-cycle: Σ (γP)ᵗ = [1, γ; γ, 1]/(1 − γ²)
    found = oracles.series_resolvent(np.array([[0.0, 1], [1, 0]]), 0.5)
    assert worst(found, np.array([[1, 0.5], [0.5, 1]]) / 0.75) < 4 * U
    near_one = oracles.series_resolvent(np.ones((1, 1)), 0.999999)
    assert near_one[0, 0] == pytest.approx(1e6, rel=1e-9)
    with pytest.raises(InvalidArgument, match="does not end"):
        oracles.series_resolvent(np.ones((1, 1)), 1.0)
    evaluation = oracles.series_evaluation(kakade_two_state(), np.full((2, 2), 0.5))
    assert worst(evaluation["value"], [7.25, 7.75]) < 1e-13
    assert worst(evaluation["state_distribution"], [0.53, 0.47]) < 1e-14


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [(3, 5, Fraction(1, 2)), (Fraction(1, 7), -2, 3), (2, 4, 0), (1, 2, 2), (0, 0, 0)],
)
def test_moebius_derivative_is_exact(a, b, c):
    def f(t):
        return (a + b * t) / (1 + c * t)

    points = [Fraction(f(t)) for t in (Fraction(0), Fraction(1, 2), Fraction(1))]
    assert oracles.moebius_derivative(*points) == b - c * a


def test_enumeration_by_hand():
    # a bandit of horizon one: J = p, ∂J/∂z = p(1 − p)
    bandit = MDP(np.ones((1, 2, 1)), [[0.0, 1.0]], 0.0, [1.0])
    J, gradient = oracles.enumerated_gradient(
        bandit, SoftmaxPolicy(1, 2), np.array([0.0, np.log(3)]), np.ones((1, 1)), 1
    )
    assert pytest.approx(0.75, abs=4 * U) == J
    assert worst(gradient, [-3 / 16, 3 / 16]) < 4 * U


def test_krylov_minimiser_by_hand():
    M, b = np.diag([1.0, 2.0]), np.ones(2)
    # over span{b}: α = bᵀb/bᵀMb
    assert worst(oracles.krylov_minimiser(M, b, 1), [2 / 3, 2 / 3]) < 4 * U
    assert worst(oracles.krylov_minimiser(M, b, 2), [1, 0.5]) < 16 * U
    assert oracles.krylov_minimiser(M, b, 0).tolist() == [0, 0]
    assert worst(oracles.krylov_minimiser(np.eye(2), b, 9), b) < 4 * U


def test_quadrature_reproduces_normal_moments():
    nodes, masses = oracles._gauss_hermite(2)
    moments = {(0, 0): 1, (1, 0): 0, (2, 0): 1, (2, 2): 1, (4, 0): 3, (4, 2): 3, (6, 0): 15}
    for (i, j), expected in moments.items():
        assert abs(masses @ (nodes[:, 0] ** i * nodes[:, 1] ** j) - expected) < 1e-13
    with pytest.raises(InvalidArgument, match="4 action dimensions"):
        oracles._gauss_hermite(5)


def test_an_unknown_policy_is_refused():
    class Other:
        pass

    with pytest.raises(InvalidPolicy, match="no traced form of Other"):
        oracles.traced_logits(Other(), np.ones((1, 1)))


CASES = discrete_cases()[:12] + gaussian_cases()


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_a_derivative_wrong_by_half_a_permille_is_seen(case):
    """The budgets of the comparisons leave no room for a small mistake."""
    from test_fisher import limit as fisher_limit
    from test_gradient import limit as gradient_limit

    mdp, policy, theta, obs, _ = case
    g = oracles.traced_gradient(mdp, policy, theta, obs)
    assert 5e-4 * np.abs(g).max() > 10 * gradient_limit(case, g)
    d = evaluate_policy(mdp, policy, theta, obs).state_distribution
    F = oracles.kl_hessian(policy, theta, obs, d)
    assert 5e-4 * np.abs(F).max() > 1000 * fisher_limit(F)


def test_the_two_kl_routes_agree_with_each_other():
    policy = GaussianPolicy(1, 2, "std")
    theta, other = np.array([0.1, 0.2, 1.0, 2.0]), np.array([0.5, -0.3, 1.5, 1.0])
    found = oracles.traced_kl(policy, theta, np.ones((1, 1)), np.ones(1))(other)
    # by hand: Σ log σ'/σ + (σ² + Δμ²)/(2σ'²) − ½
    by_hand = np.log(1.5) + (1 + 0.16) / 4.5 - 0.5 + np.log(0.5) + (4 + 0.25) / 2 - 0.5
    assert found == pytest.approx(by_hand, rel=64 * U)
