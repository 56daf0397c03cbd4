"""F, F·v and KL: the Hessian of the KL by autograd, quadrature, enumeration, certified balls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from math_cases import U, discrete_cases, gaussian_cases, ids, relative, worst

from npgcheck.certified import certified_kl, certify, floats
from npgcheck.errors import InvalidArgument, InvalidPolicy
from npgcheck.exact import evaluate_policy
from npgcheck.fisher import empirical_fisher, fisher, fisher_root, fisher_vector_product, kl
from npgcheck.oracles import kl_hessian, quadrature_fisher, traced_kl, traced_scores
from npgcheck.policy import GaussianPolicy, SoftmaxPolicy

DISCRETE, GAUSSIAN = discrete_cases()[3:9], gaussian_cases()
ALL = DISCRETE + GAUSSIAN


def weights_of(case):
    """Non-uniform, not normalised, one of them zero."""
    weights = np.arange(len(case.observations)) / 7
    return weights


def limit(F):
    # scores and probabilities carry a few dozen u, squared scores are as large as F
    return 100 * U * max(1.0, np.abs(F).max())


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_against_the_hessian_of_the_kl(case):
    _, policy, theta, obs, _ = case
    exact = kl_hessian(policy, theta, obs, weights_of(case))
    found = fisher(policy, theta, obs, weights_of(case))
    assert worst(found, exact) <= 4 * limit(exact)
    assert (found == found.T).all()
    assert np.linalg.eigvalsh(found).min() >= -limit(exact)


@pytest.mark.parametrize("case", GAUSSIAN, ids=ids(GAUSSIAN))
def test_gaussian_against_quadrature_of_score_products(case):
    _, policy, theta, obs, _ = case
    exact = quadrature_fisher(policy, theta, obs, weights_of(case))
    # fourth powers of the nodes lose a digit
    assert worst(fisher(policy, theta, obs, weights_of(case)), exact) <= 20 * limit(exact)


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_against_certified_balls(case):
    mdp, policy, theta, obs, _ = case
    d = evaluate_policy(mdp, policy, theta, obs).state_distribution
    if policy.family == "mlp" or policy.num_parameters < 20:
        exact = floats(certify(mdp, policy, theta, obs).fisher)
        assert worst(fisher(policy, theta, obs, d), exact) <= 40 * limit(exact)


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_the_product_is_that_of_the_matrix(case):
    _, policy, theta, obs, _ = case
    F = kl_hessian(policy, theta, obs, weights_of(case))
    for shift in range(3):
        v = np.cos(shift + np.arange(theta.size))
        found = fisher_vector_product(policy, theta, obs, weights_of(case), v)
        assert worst(found, F @ v) <= 10 * limit(F) * np.abs(v).sum()


@pytest.mark.parametrize("case", DISCRETE, ids=ids(DISCRETE))
def test_the_empirical_fisher_of_an_exact_batch_is_the_true_one(case):
    _, policy, theta, obs, _ = case
    N, A = len(obs), policy.num_actions
    states, actions = np.repeat(np.arange(N), A), np.tile(np.arange(A), N)
    # every pair once, weighted by w π: by hand from autograd's scores
    mass = weights_of(case)[states] * policy.probabilities(theta, obs).ravel()
    scores = traced_scores(policy, theta, obs)
    exact = sum(
        m * np.outer(scores[s, a], scores[s, a])
        for m, s, a in zip(mass, states, actions, strict=True)
    )
    assert worst(empirical_fisher(policy, theta, obs[states], actions, mass), exact) <= limit(exact)
    assert worst(fisher(policy, theta, obs, weights_of(case)), exact) <= limit(exact)
    one = empirical_fisher(policy, theta, obs[:1], [1], [2.0])
    assert worst(one, 2 * np.outer(scores[0, 1], scores[0, 1])) <= limit(one)


def test_softmax_by_hand():
    # F = Σ w (diag π − ππᵀ) for one state: π = (1/4, 3/4), w = 2
    F = fisher(SoftmaxPolicy(1, 2), np.array([0.0, np.log(3)]), np.ones((1, 1)), [2.0])
    assert worst(F, np.array([[1, -1], [-1, 1]]) * 2 * 3 / 16) < 4 * U


@pytest.mark.parametrize(
    ("sigma", "s", "expected"),
    [
        ("log_std", np.log(2), 2),
        ("std", 2, 2 / 4),
        ("variance", 4, 1 / 32),
        ("softplus", None, None),
    ],
)
def test_gaussian_sigma_block_by_hand(sigma, s, expected):
    # σ = 2: 2, 2/σ², 1/(2σ⁴), and for σ = log(1 + eˢ) 2(σ′/σ)² with σ′ = 1 − e^{−σ}
    if sigma == "softplus":
        s, expected = np.log(np.expm1(2.0)), 2 * ((1 - np.exp(-2.0)) / 2) ** 2
    F = fisher(GaussianPolicy(1, 1, sigma), np.array([0.5, s]), [[3.0]], [1.0])
    assert relative(F, [[9 / 4, 0], [0, expected]]) < 8 * U


def test_nearly_deterministic_policies_keep_relative_accuracy():
    F = fisher(SoftmaxPolicy(1, 2), np.array([60.0, 0.0]), np.ones((1, 1)), [1.0])
    rest = np.exp(-60.0)
    assert relative(F, np.array([[1, -1], [-1, 1]]) * rest) < 64 * U
    v = np.array([0.3, 0.7])
    product = fisher_vector_product(
        SoftmaxPolicy(1, 2), np.array([60.0, 0.0]), np.ones((1, 1)), [1.0], v
    )
    assert relative(product, np.array([-0.4, 0.4]) * rest) < 64 * U


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_kl_against_the_definition(case, direction):
    _, policy, theta, obs, _ = case
    other = theta + 0.2 * np.cos(np.arange(theta.size))
    pair = (theta, other) if direction == "forward" else (other, theta)
    exact = traced_kl(policy, pair[0], obs, weights_of(case))(pair[1])
    found = kl(policy, theta, other, obs, weights_of(case), direction)
    assert abs(found - exact) <= 200 * U * max(1, exact)
    assert found > 1e-3


@pytest.mark.parametrize("step", [1.0, 1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("case", ALL[1:3] + GAUSSIAN, ids=ids(ALL[1:3] + GAUSSIAN))
def test_kl_is_relatively_accurate_near_coincidence(case, step):
    _, policy, theta, obs, _ = case
    other = theta + 0.3 * step * np.cos(np.arange(theta.size))
    for direction, pair in (("forward", (theta, other)), ("reverse", (other, theta))):
        exact = float(floats(certified_kl(policy, *pair, obs, weights_of(case))))
        found = kl(policy, theta, other, obs, weights_of(case), direction)
        # a chain of a few dozen relative roundings; the textbook sum keeps nothing at 1e-9
        assert relative(found, exact) < 200 * U


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_kl_of_a_policy_with_itself_is_exactly_zero(case):
    _, policy, theta, obs, _ = case
    assert kl(policy, theta, theta.copy(), obs, weights_of(case)) == 0
    # and any small step is strictly positive
    assert kl(policy, theta, theta + 1e-13, obs, weights_of(case)) >= 0


LOGITS = [
    (0.0, 0.0),
    (1e3, 0.0),
    (-1e3, 0.0),
    (40.0, 0.0),
    (300.0, 0.0),
    (0.0, 700.0),
    (720.0, 0.0),
]


@pytest.mark.parametrize(("old", "new"), list(itertools.product(LOGITS, LOGITS)))
def test_kl_at_extreme_logits(old, new):
    policy, obs = SoftmaxPolicy(1, 2), np.ones((1, 1))
    exact = certified_kl(policy, np.array(old), np.array(new), obs, [1.0], precision=4096)
    found = kl(policy, np.array(old), np.array(new), obs, [1.0])
    if old == new:
        assert found == 0
    else:
        # below 1e-300 the answer leaves the floats
        exact = float(floats(exact))
        assert relative(found, exact) < 1e-12 or max(found, exact) < 1e-300


def test_kl_refuses():
    policy, theta, obs = SoftmaxPolicy(1, 2), np.zeros(2), np.ones((3, 1))
    with pytest.raises(InvalidArgument, match="'forward' or 'reverse', got 'both'"):
        kl(policy, theta, theta, obs, np.ones(3), "both")
    with pytest.raises(InvalidArgument, match=r"weights must have shape \(3,\), got \(2,\)"):
        kl(policy, theta, theta, obs, np.ones(2))
    for bad in (-1.0, np.nan):
        with pytest.raises(InvalidArgument, match=r"non-negative.* row 1"):
            fisher(policy, theta, obs, [1, bad, 1])
    with pytest.raises(InvalidPolicy, match="other must have shape"):
        kl(policy, theta, np.zeros(3), obs, np.ones(3))


def test_a_kl_beyond_the_floats_is_infinite_and_weightless_rows_do_not_count():
    policy, theta, far = GaussianPolicy(1, 1), np.zeros(2), np.array([1.0, -1e3])
    assert kl(policy, theta, far, np.ones((1, 1)), [1.0]) == np.inf
    assert kl(policy, theta, far, np.ones((1, 1)), [0.0]) == 0
    assert kl(policy, theta, np.array([0.0, -1e3]), np.ones((1, 1)), [1.0]) == np.inf
    # σ' = e^{1000}: KL = 1000 − ½ + …
    assert kl(policy, theta, np.array([0.0, 1e3]), np.ones((1, 1)), [1.0]) == 999.5


def test_a_batch_and_its_duplicate_have_one_fisher():
    _, policy, theta, obs, _ = ALL[1]
    N = len(obs)
    once = fisher(policy, theta, obs, np.full(N, 1 / N))
    twice = fisher(policy, theta, np.concatenate([obs, obs]), np.full(2 * N, 0.5 / N))
    assert worst(once, twice) <= limit(once)


def test_the_root_squares_to_the_matrix_and_the_product_forms_no_large_array():
    _, policy, theta, obs, _ = ALL[1]
    root = fisher_root(policy, theta, obs, np.ones(len(obs)))
    assert root.shape == (len(obs) * policy.num_actions, policy.num_parameters)
    # D = 40,000: F would take 12.8 GB and the scores as much again
    wide = SoftmaxPolicy(4000, 10)
    features = np.zeros((50, 4000))
    features[:, :50] = np.eye(50)
    v = np.ones(wide.num_parameters)
    v[0] = 2.0
    product = fisher_vector_product(wide, np.zeros_like(v), features, np.full(50, 0.02), v)
    # by hand: one state, uniform over ten actions: w (v/10 − mean/10)
    assert product[:10] == pytest.approx(0.002 * np.array([0.9] + [-0.1] * 9), rel=1e-12)
    assert (product[10:] == 0).all()
