"""The natural gradient: certified, by other solvers, in every singular and degenerate case."""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import U, condition, discrete_cases, gaussian_cases, ids, random_mdp, worst
from scipy.sparse import csr_array

from npgcheck.certified import certify, certify_rational, floats
from npgcheck.errors import InvalidArgument
from npgcheck.exact import evaluate_policy
from npgcheck.fisher import kl
from npgcheck.gradient import surrogate
from npgcheck.mdp import MDP
from npgcheck.named_mdps import garnet, kakade_two_state
from npgcheck.natural import (
    conjugate_gradient,
    natural_gradient,
    natural_gradient_coset,
    natural_policy_iteration,
    step_length,
    trust_region_proposal,
    trust_region_step,
    update,
)
from npgcheck.oracles import kl_hessian, krylov_minimiser, traced_gradient
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy

DISCRETE, GAUSSIAN = discrete_cases(), gaussian_cases()
ALL = DISCRETE + GAUSSIAN


def oracle(case):
    """F and ∇J by autograd alone."""
    mdp, policy, theta, obs, _ = case
    d = evaluate_policy(mdp, policy, theta, obs).state_distribution
    return kl_hessian(policy, theta, obs, d), traced_gradient(mdp, policy, theta, obs)


def spread(F):
    """λ_max and cond⁺(F), eigenvalues below 1e-11 λ_max taken as zero (they are 1e-16 or real)."""
    eigenvalues = np.linalg.eigvalsh(F)
    kept = eigenvalues[eigenvalues > 1e-11 * eigenvalues[-1]]
    return eigenvalues[-1], kept[-1] / kept[0]


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_it_solves_the_normal_equation_and_has_minimum_norm(case):
    F, g = oracle(case)
    x = natural_gradient(*case[:4])
    top, ratio = spread(F)
    kappa = condition(case.mdp)
    # ‖Fx − g‖ <= 30 u [κ‖F‖‖x‖ + κ‖Q‖√‖F‖/(1 − γ) + ‖g‖], and F here is the Hessian by autograd
    value = np.abs(evaluate_policy(*case[:4]).value).max()
    budget = 100 * U * kappa * (top * np.linalg.norm(x) + value * np.sqrt(top) * kappa + 1)
    assert np.linalg.norm(F @ x - g) <= budget
    vectors = np.linalg.eigh(F)[1]
    null = vectors[:, np.linalg.eigvalsh(F) <= 1e-11 * top]
    assert np.linalg.norm(null.T @ x) <= 100 * U * ratio * kappa * np.linalg.norm(x)


BALLS = [case for case in ALL if case.policy.num_parameters < 18]


@pytest.mark.parametrize("case", BALLS, ids=ids(BALLS))
def test_against_certified_balls(case):
    F, _ = oracle(case)
    exact = floats(certify(*case[:4]).natural_gradient)
    found = natural_gradient(*case[:4])
    # the root has the square root of F's condition, the critic that of I − γP
    _, ratio = spread(F)
    scale = np.abs(exact).max() + condition(case.mdp)
    assert worst(found, exact) <= 100 * U * np.sqrt(ratio) * condition(case.mdp) * scale


def test_kakade_against_exact_rationals():
    x = natural_gradient(kakade_two_state(), SoftmaxPolicy(2, 2), np.zeros(4), np.eye(2))
    exact = certify_rational(kakade_two_state(), [[1, 1], [1, 1]])
    assert [str(q) for q in exact.natural_gradient] == ["11/4", "-11/4", "49/4", "-49/4"]
    assert worst(x, floats(exact.natural_gradient)) < 30 * U * 19 * 12.25


@pytest.mark.parametrize("damping", [1e-8, 1e-3, 0.1, 10.0])
@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_damped_against_a_plain_solve(case, damping):
    F, g = oracle(case)
    exact = np.linalg.solve(F + damping * np.eye(len(g)), g)
    x = natural_gradient(*case[:4], damping=damping)
    # the oracle's own g and F are right to κ²u or so, and 1/λ amplifies what is not in range F
    limit = 1000 * U * condition(case.mdp) ** 2 * max(1, np.abs(g).max()) / damping
    assert worst(x, exact) <= max(limit, 1e-12 * np.abs(exact).max())


def test_damping_tends_to_the_minimum_norm_solution():
    for case in (DISCRETE[6], DISCRETE[7], GAUSSIAN[0]):
        x = natural_gradient(*case[:4])
        near = natural_gradient(*case[:4], damping=1e-10)
        # the difference is λ F⁺x to first order
        F, _ = oracle(case)
        top, ratio = spread(F)
        assert worst(x, near) <= 2 * 1e-10 * ratio / top * np.linalg.norm(x)
        assert worst(x, near) > 0


@pytest.mark.parametrize("case", [DISCRETE[i] for i in (3, 4, 5)], ids=ids(DISCRETE[3:6]))
def test_the_coset(case):
    F, g = oracle(case)
    coset = natural_gradient_coset(*case[:4])
    assert coset.rank == np.linalg.matrix_rank(F, tol=1e-11 * np.linalg.norm(F, 2))
    assert coset.null_space.shape == (len(g), len(g) - coset.rank)
    assert worst(F @ coset.null_space, 0) < 1e-14
    assert worst(coset.null_space.T @ coset.null_space, np.eye(len(g) - coset.rank)) < 64 * U
    moved = coset.minimum_norm + coset.null_space @ np.arange(1.0, len(g) - coset.rank + 1)
    assert coset.distance(moved) < 1e-13 * np.linalg.norm(moved)
    outside = np.linalg.eigh(F)[1][:, -1]
    assert coset.distance(moved + outside) == pytest.approx(1, rel=1e-9)


def test_the_closed_form_agrees_with_the_decomposition():
    mdp = random_mdp(np.random.default_rng(2), 4, 3, 0.9)
    theta = np.random.default_rng(3).normal(size=12)
    tabular = SoftmaxPolicy(4, 3)

    class Hidden(SoftmaxPolicy):
        def is_tabular(self, observations):
            return False

    for damping in (0.0, 1e-3, 1.0):
        closed = natural_gradient(mdp, tabular, theta, np.eye(4), damping)
        general = natural_gradient(mdp, Hidden(4, 3), theta, np.eye(4), damping)
        assert worst(closed, general) <= 300 * U * condition(mdp) * np.abs(closed).max()
        assert (natural_gradient(mdp, tabular, theta, None, damping) == closed).all()


def test_the_advantage_form_is_the_same_coset():
    mdp, policy, theta, obs, _ = DISCRETE[6]
    A = evaluate_policy(mdp, policy, theta, obs).advantage / (1 - mdp.discount)
    x = natural_gradient(mdp, policy, theta, obs, form="advantage")
    assert (x == A.ravel()).all()
    difference = (x - natural_gradient(mdp, policy, theta, obs)).reshape(A.shape)
    assert worst(difference, difference[:, :1]) < 64 * U * np.abs(A).max()


def unreachable():
    """State 2 is never visited."""
    P = np.array([[[0.5, 0.5, 0], [0, 1, 0]], [[1, 0, 0], [0.5, 0.5, 0]], [[0, 0, 1], [1, 0, 0]]])
    return MDP(P, [[1.0, 2.0], [0.0, 1.0], [5.0, 0.0]], 0.9, [1.0, 0.0, 0.0])


def test_unvisited_states_are_left_alone():
    policy, theta, mdp = (
        SoftmaxPolicy(3, 2),
        np.array([0.1, 0.5, -0.3, 0.2, 1.0, 0.0]),
        unreachable(),
    )
    exact = certify(mdp, policy, theta, np.eye(3)).natural_gradient
    for damping in (0.0, 0.1):
        x = natural_gradient(mdp, policy, theta, np.eye(3), damping)
        assert (x[4:] == 0).all()
        assert (x[:4] != 0).all()
    assert worst(natural_gradient(mdp, policy, theta, np.eye(3)), floats(exact)) < 1e-12
    assert natural_gradient_coset(mdp, policy, theta, np.eye(3)).rank == 2


def test_a_state_reached_too_rarely_for_a_float_still_counts():
    # 1,200 steps to the right, each with probability π = e^{-2}/(1 + e^{-2}): d underflows to zero
    P = np.zeros((1200, 2, 1200))
    P[np.arange(1200), 0, 0] = P[np.arange(1200), 1, np.minimum(np.arange(1200) + 1, 1199)] = 1
    start = np.eye(1200)[0]
    mdp = MDP(P, np.tile([0.0, 1.0], (1200, 1)), 0.5, start)
    theta, policy = np.tile([2.0, 0.0], 1200), SoftmaxPolicy(1200, 2)
    assert evaluate_policy(mdp, policy, theta, None).state_distribution[-1] == 0
    x = natural_gradient(mdp, policy, theta, None).reshape(1200, 2)
    # every state looks alike: the two successors have one value, so A differs by the reward, 1
    assert worst(x, np.tile([-1.0, 1.0], (1200, 1))) < 1e-13


@pytest.mark.parametrize("size", [1e3, -1e3, 1e300])
def test_deterministic_limits(size):
    policy, mdp = SoftmaxPolicy(2, 2), kakade_two_state()
    theta = np.array([size, 0.0, 0.0, size])
    x = natural_gradient(mdp, policy, theta, np.eye(2))
    # the limit of the closed form exists: (A − mean A)/(1 − γ) for the deterministic policy
    A = evaluate_policy(mdp, policy, theta, np.eye(2)).advantage
    assert worst(x, (A - A.mean(axis=1, keepdims=True)).ravel() * 10) < 1e-12
    # damped, the vanishing gradient gives zero
    assert (natural_gradient(mdp, policy, theta, np.eye(2), 1e-3) == 0).all()
    shared = natural_gradient(mdp, SoftmaxPolicy(1, 2), theta[:2], np.ones((2, 1)))
    assert shared.tolist() == [0, 0]


def test_one_state_one_action_no_discount():
    one = MDP(np.ones((1, 1, 1)), [[3.0]], 0.999999, [1.0])
    for policy, size in ((SoftmaxPolicy(1, 1), 1), (MLPPolicy(1, 1, (2,)), 7)):
        theta = np.full(size, 0.5)
        assert (natural_gradient(one, policy, theta, np.ones((1, 1))) == 0).all()
        assert (trust_region_step(one, policy, theta, np.ones((1, 1)), 0.1) == theta).all()
        assert (trust_region_proposal(one, policy, theta, np.ones((1, 1)), 0.1) == theta).all()
    bandit = MDP(np.ones((1, 3, 1)), [[0.0, 1.0, 5.0]], 0.0, [1.0])
    x = natural_gradient(bandit, SoftmaxPolicy(1, 3), np.array([0.3, -1, 2]), np.ones((1, 1)))
    # rewards minus their unweighted mean, whatever the policy
    assert worst(x, [-2, -1, 3]) < 16 * U


def test_gamma_close_to_one():
    mdp = random_mdp(np.random.default_rng(5), 4, 3, 0.999999)
    policy, theta = SoftmaxPolicy(4, 3), np.linspace(-1, 1, 12)
    exact = floats(certify(mdp, policy, theta, np.eye(4)).natural_gradient)
    found = natural_gradient(mdp, policy, theta, np.eye(4))
    assert np.linalg.norm(found - exact) <= 100 * U * condition(mdp) * np.linalg.norm(exact)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_sparse_equals_dense(damping):
    dense, sparse = garnet(40, 3, 4, 0.95), garnet(40, 3, 4, 0.95, sparse=True)
    theta = np.random.default_rng(0).normal(size=120)
    x = natural_gradient(dense, SoftmaxPolicy(40, 3), theta, np.eye(40), damping)
    y = natural_gradient(sparse, SoftmaxPolicy(40, 3), theta, None, damping)
    assert worst(x, y) <= 30 * U * condition(dense) * np.abs(x).max()
    assert sparse.is_sparse
    assert isinstance(sparse.transitions, csr_array)


@pytest.mark.parametrize("iterations", [0, 1, 2, 5, 8, 20])
def test_conjugate_gradient_minimises_over_the_krylov_space(iterations):
    rng = np.random.default_rng(iterations)
    root = rng.normal(size=(6, 8))
    M = root.T @ root  # rank 6 of 8
    b = M @ rng.normal(size=8)
    calls = []

    def matvec(v):
        calls.append(v)
        return M @ v

    x = conjugate_gradient(matvec, b, iterations)
    assert len(calls) <= iterations
    best = krylov_minimiser(M, b, min(iterations, 6))
    # conjugacy is lost like cond⁺(M) u; here cond⁺ is a few hundred
    assert np.linalg.norm(M @ (x - best)) <= 1e-9 * np.linalg.norm(b)
    if iterations in (1, 2):
        assert np.linalg.norm(M @ x - b) > 1e-3 * np.linalg.norm(b)


def test_conjugate_gradient_at_its_edges():
    assert conjugate_gradient(lambda v: v * np.nan, np.zeros(3), 5).tolist() == [0, 0, 0]
    assert conjugate_gradient(lambda v: 0 * v, np.ones(3), 5).tolist() == [0, 0, 0]
    one = conjugate_gradient(lambda v: 4 * v, np.ones(3), 5)
    assert one.tolist() == [0.25] * 3
    M = np.diag([1.0, 1.5, 2.0])
    loose = conjugate_gradient(lambda v: M @ v, np.ones(3), 50, tolerance=0.5)
    assert 1e-6 < np.linalg.norm(M @ loose - 1) <= 0.5 * np.sqrt(3)
    tiny = 1e-150 * np.ones(3)
    assert worst(M @ conjugate_gradient(lambda v: M @ v, tiny, 3) / 1e-150, 1) < 1e-12
    for arguments in ((np.ones((2, 2)), 1), (np.ones(2), -1), (np.ones(2), 1, np.nan)):
        with pytest.raises(InvalidArgument):
            conjugate_gradient(lambda v: v, *arguments)


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("case", ALL[3:], ids=ids(ALL[3:]))
def test_the_proposal_has_the_length_it_names(case, damping):
    theta = case.theta
    F, g = oracle(case)
    for max_kl in (1e-4, 1e-2, 1.0):
        step = trust_region_proposal(*case[:4], max_kl, damping) - theta
        assert 0.5 * step @ F @ step == pytest.approx(max_kl, rel=1e-9)
        assert step @ g > 0
        x = natural_gradient(*case[:4], damping=damping)
        assert step @ x == pytest.approx(np.linalg.norm(step) * np.linalg.norm(x), rel=1e-9)


@pytest.mark.parametrize("case", ALL, ids=ids(ALL))
def test_the_step_keeps_the_divergence_and_improves_the_surrogate(case):
    mdp, policy, theta, obs, _ = case
    found = evaluate_policy(mdp, policy, theta, obs)
    for max_kl in (1e-6, 1e-2, 1.0):
        new = trust_region_step(mdp, policy, theta, obs, max_kl)
        d = found.state_distribution
        assert 0 < kl(policy, theta, new, obs, d) <= max_kl
        assert surrogate(mdp, policy, theta, obs, new) > found.objective
        # it is the longest that qualifies: the proposal itself, or twice the step does not
        proposal = trust_region_proposal(mdp, policy, theta, obs, max_kl)
        twice = theta + 2 * (new - theta)
        assert (
            worst(new, proposal) < 1e-12 * np.abs(proposal).max()
            or kl(policy, theta, twice, obs, d) > max_kl
            or surrogate(mdp, policy, theta, obs, twice) <= found.objective
        )
    small = trust_region_step(mdp, policy, theta, obs, 1e-6)
    assert evaluate_policy(mdp, policy, small, obs).objective > found.objective


def test_a_step_that_nothing_satisfies_leaves_theta_unchanged():
    mdp, policy, theta, obs, _ = DISCRETE[6]
    tight = trust_region_step(mdp, policy, theta, obs, 1.0, backtrack=0.999, max_backtracks=0)
    proposal = trust_region_proposal(mdp, policy, theta, obs, 1.0)
    d = evaluate_policy(mdp, policy, theta, obs).state_distribution
    over = kl(policy, theta, proposal, obs, d) > 1.0
    assert (tight == (theta if over else proposal)).all()
    gaussian = GAUSSIAN[0]
    wide = trust_region_step(*gaussian[:4], max_kl=1e6)  # overflowing trials are shortened
    assert np.isfinite(wide).all()


def test_a_stationary_point_has_no_direction_however_round_off_points():
    P = np.random.default_rng(0).dirichlet(np.ones(4), size=(4, 3))
    flat = MDP(P, np.full((4, 3), 0.1), 0.99, np.full(4, 0.25))
    theta, policy = np.random.default_rng(1).normal(size=12), SoftmaxPolicy(4, 3)
    assert (trust_region_proposal(flat, policy, theta, np.eye(4), 0.01) == theta).all()
    assert (trust_region_step(flat, policy, theta, np.eye(4), 0.01) == theta).all()


def test_update_and_iteration_are_what_they_say():
    mdp, policy, theta, obs, _ = DISCRETE[7]
    path = natural_policy_iteration(mdp, policy, theta, obs, 3, 0.25)
    assert path.shape == (3, policy.num_parameters)
    point = theta
    for row in path:
        point = point + 0.25 * natural_gradient(mdp, policy, point, obs)
        assert (row == point).all()
    assert (update(mdp, policy, theta, obs, 0.25) == path[0]).all()
    assert natural_policy_iteration(mdp, policy, theta, obs, 0, 0.25).shape == (0, theta.size)


def test_step_length():
    assert step_length(2.0, 0.25) == 0.5
    assert step_length(0.0, 0.25) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda *p: natural_gradient(*p, damping=-1.0), "damping must be finite and at least 0"),
        (lambda *p: natural_gradient(*p, damping=np.nan), "damping must be finite"),
        (lambda *p: natural_gradient(*p, form="advantages"), "Did you mean 'advantage'"),
        (lambda *p: natural_gradient(*p, form="advantage"), "needs a tabular softmax"),
        (lambda *p: trust_region_proposal(*p, 0.0), "max_kl must be positive"),
        (lambda *p: trust_region_step(*p, np.inf), "max_kl must be positive"),
        (lambda *p: trust_region_step(*p, 0.1, backtrack=1.0), "backtrack must lie"),
        (lambda *p: natural_policy_iteration(*p, -1, 0.1), "iterations must be at least 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InvalidArgument, match=message):
        call(*DISCRETE[7][:4])


def test_a_gaussian_with_one_bad_coordinate_is_still_right():
    # a feature that is never on makes F singular: its weights stay, the rest is solved
    mdp, _, _, obs, _ = GAUSSIAN[0]
    wide = np.column_stack([obs, np.zeros(len(obs))])
    narrow_policy, wide_policy = GaussianPolicy(3, 2), GaussianPolicy(4, 2)
    narrow = np.linspace(-1, 1, 8)
    theta = np.concatenate([narrow[:6], [7.0, 8.0], narrow[6:]])
    x = natural_gradient(mdp, wide_policy, theta, wide)
    y = natural_gradient(mdp, narrow_policy, narrow, obs)
    assert worst(x[6:8], 0) == 0
    assert worst(np.delete(x, [6, 7]), y) <= 1e-12 * np.abs(y).max()
