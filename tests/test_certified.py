"""Certified answers: exact on hand-computed MDPs, containing, refusing when they cannot be sure."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from flint import fmpq
from math_cases import U, discrete_cases, gaussian_cases, ids, worst

from npgcheck.certified import certified_kl, certify, certify_evaluation, certify_rational, floats
from npgcheck.errors import InvalidArgument, InvalidPolicy, NpgcheckError
from npgcheck.exact import evaluate_policy
from npgcheck.fields import simplest_fraction
from npgcheck.mdp import MDP
from npgcheck.named_mdps import aliased_chain, kakade_two_state
from npgcheck.oracles import kl_hessian, moebius_derivative, traced_gradient
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy


def strings(numbers):
    return [strings(n) if isinstance(n, list) else str(n) for n in numbers]


def test_kakade_in_fractions():
    exact = certify_rational(kakade_two_state(), [[1, 1], [1, 1]])
    found = exact.evaluation
    assert strings(found.value) == ["29/4", "31/4"]
    assert strings(found.advantage) == [["11/40", "-11/40"], ["49/40", "-49/40"]]
    assert strings(found.state_distribution) == ["53/100", "47/100"]
    assert str(found.objective) == "147/20"
    assert strings(exact.policy_gradient) == ["583/800", "-583/800", "2303/800", "-2303/800"]
    assert strings(exact.fisher[0]) == ["53/400", "-53/400", "0", "0"]
    assert strings(exact.natural_gradient) == ["11/4", "-11/4", "49/4", "-49/4"]


def test_intended_fractions_are_what_was_meant():
    for p, q in ((1, 3), (2, 7), (0, 1), (1, 1), (355, 113), (-5, 12), (1, 10**6 + 3)):
        assert simplest_fraction(p / q) == Fraction(p, q)
    assert simplest_fraction(0.1) == Fraction(1, 10)
    for x in np.random.default_rng(0).random(40):
        least = simplest_fraction(x)
        assert float(least) == x
        # the closest fraction of a smaller denominator is another float, so every one is
        assert float(Fraction(float(x)).limit_denominator(least.denominator - 1)) != x
    odd = 0.1 + 2.0**-54
    assert float(simplest_fraction(odd)) == odd
    P = np.full((3, 1, 3), 1 / 3)
    mdp = MDP(P, [[1.0], [0.0], [0.0]], 0.1, [1.0, 0, 0])
    pi = np.ones((3, 1))
    # V_1 = 1 + γ·(V̄), V̄ = (1/3)/(1 − γ): 1 + 1/27
    assert str(certify_evaluation(mdp, pi, intended=True).value[0]) == "28/27"
    assert str(certify_evaluation(mdp, pi, intended=False).value[0]) != "28/27"


@pytest.mark.parametrize("odds", [[[1, 2], [3, 1]], [[5, 1], [1, 7]]])
def test_the_rational_gradient_by_three_moebius_points(odds):
    """Exact arithmetic on both sides: equality, not agreement."""
    mdp = kakade_two_state(0.5)
    pi = [[Fraction(x, sum(row)) for x in row] for row in odds]
    exact = certify_rational(mdp, odds)

    def objective(s, a, t):
        moved = [list(row) for row in pi]
        moved[s] = [(1 - t) * p for p in moved[s]]
        moved[s][a] += t
        return certify_evaluation(mdp, moved, intended=True).objective

    for s in range(2):
        for a in range(2):
            points = [objective(s, a, t) for t in (Fraction(0), Fraction(1, 2), Fraction(1))]
            chance = fmpq(pi[s][a].numerator, pi[s][a].denominator)
            assert exact.policy_gradient[2 * s + a] == chance * moebius_derivative(*points)


def test_the_closed_form_of_the_tabular_natural_gradient_is_exact():
    mdp = kakade_two_state(0.5)
    exact = certify_rational(mdp, [[1, 2], [3, 1]])
    for s, row in enumerate(exact.evaluation.advantage):
        mean = sum(row[1:], row[0]) / 2
        for a in range(2):
            assert exact.natural_gradient[2 * s + a] == (row[a] - mean) * 2
    # and F x = ∇J without a remainder
    for i, row in enumerate(exact.fisher):
        product = sum((f * x for f, x in zip(row, exact.natural_gradient, strict=True)), 0 * row[0])
        assert product == exact.policy_gradient[i]


CASES = [discrete_cases()[i] for i in (0, 3, 4, 5, 9, 10)] + gaussian_cases()


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_balls_contain_what_autograd_finds(case):
    mdp, policy, theta, obs, _ = case
    exact = certify(mdp, policy, theta, obs)
    g = traced_gradient(mdp, policy, theta, obs)
    kappa = (1 + mdp.discount) / (1 - mdp.discount)
    assert worst(floats(exact.policy_gradient), g) <= 300 * U * kappa * max(kappa, abs(g).max())
    d = floats(exact.evaluation.state_distribution)
    assert worst(d, evaluate_policy(mdp, policy, theta, obs).state_distribution) < 30 * U * kappa
    F = kl_hessian(policy, theta, obs, d)
    assert worst(floats(exact.fisher), F) <= 400 * U * max(1, np.abs(F).max())


@pytest.mark.parametrize("case", [CASES[2], CASES[6]], ids=ids([CASES[2], CASES[6]]))
def test_more_precision_gives_narrower_balls_around_the_same_number(case):
    coarse, fine = (certify(*case[:4], precision=p) for p in (128, 512))
    for name in ("policy_gradient", "natural_gradient"):
        for wide, narrow in zip(getattr(coarse, name), getattr(fine, name), strict=True):
            assert wide.overlaps(narrow)
            assert narrow.rel_accuracy_bits() > wide.rel_accuracy_bits() + 200


def test_the_natural_gradient_is_orthogonal_to_the_null_space():
    mdp, policy, theta, obs, _ = CASES[2]
    exact = certify(mdp, policy, theta, obs)
    x = floats(exact.natural_gradient).reshape(policy.observation_size, policy.num_actions)
    assert worst(x.sum(axis=1), 0) < 1e-15 * np.abs(x).max()


def test_an_unreachable_state_gets_zeros_exactly():
    P = np.array([[[1.0, 0], [1, 0]], [[0, 1], [1, 0]]])
    mdp = MDP(P, [[0.0, 1.0], [5.0, 0.0]], 0.5, [1.0, 0.0])
    x = certify_rational(mdp, [[1, 3], [1, 1]]).natural_gradient
    # A = r − E r, so A − mean A = ∓½ and 1/(1 − γ) = 2
    assert strings(x) == ["-1", "1", "0", "0"]
    one_action = MDP(np.ones((1, 1, 1)), [[1.0]], 0.5, [1.0])
    assert strings(certify_rational(one_action, [[2]]).natural_gradient) == ["0"]


def test_what_cannot_be_certified_is_refused():
    # four states, two visited, one shared feature twice: neither route applies
    mdp, policy = aliased_chain(), SoftmaxPolicy(2, 2)
    with pytest.raises(NpgcheckError, match="no certified natural gradient"):
        certify(mdp, policy, np.zeros(4), np.ones((4, 2)))
    gaussian = gaussian_cases()[0]
    with pytest.raises(NpgcheckError, match="F is singular"):
        certify(gaussian.mdp, GaussianPolicy(2, 2), np.zeros(6), np.ones((5, 2)))

    class Other(SoftmaxPolicy):
        pass

    assert certify(kakade_two_state(), Other(2, 2), np.zeros(4), np.eye(2))
    with pytest.raises(InvalidPolicy, match="no certified form of object"):
        certify(mdp, object(), np.zeros(4), np.ones((4, 2)))
    with pytest.raises(InvalidArgument, match="odds must be positive"):
        certify_rational(kakade_two_state(), [[1, 0], [1, 1]])
    with pytest.raises(InvalidArgument, match=r"odds must have shape \(2, 2\)"):
        certify_rational(kakade_two_state(), [[1, 1]])
    with pytest.raises(InvalidArgument, match=r"probabilities must have shape \(2, 2\)"):
        certify_evaluation(kakade_two_state(), [[1, 1]])


def test_floats_refuses_a_wide_ball():
    case = CASES[2]
    with pytest.raises(NpgcheckError, match="raise the precision"):
        floats(certify(*case[:4], precision=40).natural_gradient)


def test_a_network_with_more_parameters_than_pairs_is_fitted_exactly():
    mdp, _, _, obs, _ = CASES[2]
    policy = MLPPolicy(obs.shape[1], mdp.num_actions, (4,))
    theta = np.random.default_rng(0).normal(size=policy.num_parameters)
    exact = certify(mdp, policy, theta, obs)
    F, g, x = floats(exact.fisher), floats(exact.policy_gradient), floats(exact.natural_gradient)
    assert worst(F @ x, g) < 1e-14 * np.abs(x).max()


def test_certified_kl_by_hand():
    policy, obs = SoftmaxPolicy(1, 2), np.ones((1, 1))
    # π = (½, ½) against odds 1 : e — log(1 + e) − log 2 − ½
    found = certified_kl(policy, np.zeros(2), np.array([0.0, 1.0]), obs, [1.0])
    assert float(floats(found)) == pytest.approx(np.log1p(np.e) - np.log(2) - 0.5, rel=8 * U)
    tiny = certified_kl(policy, np.zeros(2), np.array([0.0, 1e-100]), obs, [1.0])
    # ε²/8 for two equal arms
    assert float(floats(tiny)) == pytest.approx(1e-200 / 8, rel=1e-15, abs=0)
