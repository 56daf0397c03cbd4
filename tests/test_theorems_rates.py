"""Rates of policy optimisation on MDPs solved exactly, each beside its false variant.

Rewards are in [0, 1]. `seeds` are fixed and small: a bound with a proof is not made truer by more
instances, and its false variant fails on a stated one. A run stops where its steps outgrow floats;
nothing is capped, because a capped step breaks the hypothesis of the theorem.

Sources: Agarwal, Kakade, Lee & Mahajan (2021); Xiao (2022); Johnson, Pike-Burke & Rebeschini
(2023); Bhandari & Russo (2021); Cen et al. (2022); Lan (2023); and what is derived in ``proofs/``.
"""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import random_mdp
from scipy.special import log_softmax

from npgcheck.entropy import regularised_step, soft_evaluation, soft_optimal
from npgcheck.exact import evaluate, optimal
from npgcheck.gradient import policy_gradient
from npgcheck.mdp import MDP
from npgcheck.policy import SoftmaxPolicy

SEEDS = range(8)
SLACK = 1e-9  # values up to 1/(1 − γ) = 20, condition 40: round-off 1e-13


def instance(seed: int, S: int = 3, A: int = 3):
    """An MDP, and log-probabilities of a start."""
    rng = np.random.default_rng(seed)
    gamma = float(rng.choice([0.5, 0.8, 0.9, 0.95]))
    mdp = random_mdp(rng, S, A, gamma, density=0.7)
    return mdp, log_softmax(rng.choice([0, 1, 3]) * rng.normal(size=(S, A)), axis=1)


def one_state(rewards, discount: float) -> MDP:
    return MDP(np.ones((1, len(rewards), 1)), [rewards], discount, [1.0])


def solved(mdp: MDP):
    """The optimum, its occupancy from ρ, and D₀(log π) = E_{d*} KL(π* ‖ π)."""
    best = optimal(mdp)
    d = evaluate(mdp, best.probabilities).state_distribution
    return best, d, lambda log_pi: d @ -(best.probabilities * log_pi).sum(axis=1)


def mirror(mdp: MDP, log_pi, eta: float):
    """π′ ∝ π exp(ηQ)."""
    return log_softmax(log_pi + eta * evaluate(mdp, np.exp(log_pi)).q_value, axis=1)


def gap(mdp: MDP, best, log_pi) -> float:
    return mdp.initial_distribution @ best.value - evaluate(mdp, np.exp(log_pi)).objective


# --- B7, A6 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_b7_the_advantage_bounds_the_gap(seed):
    mdp, log_pi = instance(seed)
    found, best = evaluate(mdp, np.exp(log_pi)), optimal(mdp)
    worst_gap = (best.value - found.value).max()
    assert worst_gap <= found.advantage.max() / (1 - mdp.discount) + SLACK


def test_b7_needs_its_factor():
    mdp = one_state([1.0, 0.0], 0.9)
    found = evaluate(mdp, np.array([[0.5, 0.5]]))
    assert optimal(mdp).value[0] - found.value[0] > 2 * found.advantage.max()
    assert optimal(mdp).value[0] - found.value[0] == pytest.approx(found.advantage.max() / 0.1)


@pytest.mark.parametrize("seed", range(4))
def test_a6_smoothness(seed):
    """‖∇²J‖ <= 8/(1 − γ)³; ✗ a thousandth of it, which some instance exceeds."""
    mdp, log_pi = instance(seed, S=2, A=2)
    policy, theta, h = SoftmaxPolicy(2, 2), log_pi.ravel(), 1e-5
    slope = lambda t: policy_gradient(mdp, policy, t, np.eye(2))  # noqa: E731
    hessian = np.array([(slope(theta + h * e) - slope(theta - h * e)) / (2 * h) for e in np.eye(4)])
    assert np.linalg.norm(hessian, 2) <= 8 / (1 - mdp.discount) ** 3


def test_a6_the_largest_curvature_of_a_two_armed_bandit():
    # with r = (1, 0) and ρ = one state, J(t) = σ(t) along (1, 0): |J″| <= 1/(6√3), and along
    # (1, −1), where the logits part at double speed, 4/(6√3) in a vector of length √2: 1/(3√3)
    mdp, policy, h = one_state([1.0, 0.0], 0.0), SoftmaxPolicy(1, 2), 1e-4
    along = np.array([1.0, -1.0]) / np.sqrt(2)
    slope = lambda t: policy_gradient(mdp, policy, t * along, np.eye(1)) @ along  # noqa: E731
    curvature = [(slope(t + h) - slope(t - h)) / (2 * h) for t in np.linspace(-3, 3, 1201)]
    assert max(np.abs(curvature)) == pytest.approx(1 / (3 * np.sqrt(3)), rel=1e-4)


# --- D: policy mirror descent -------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_d1a_constant_steps(seed, eta):
    mdp, log_pi = instance(seed)
    best, _, divergence = solved(mdp)
    D0, g = divergence(log_pi), mdp.discount
    for k in range(15):
        bound = (D0 / (eta * (1 - g)) + 1 / (1 - g) ** 2) / (k + 1)
        assert gap(mdp, best, log_pi) <= bound + SLACK
        log_pi = mirror(mdp, log_pi, eta)


def test_d1a_false_without_the_divergence_of_the_start():
    mdp = one_state([1.0, 0.0], 0.0)
    log_pi = np.log([[1e-6, 1 - 1e-6]])
    best, _, divergence = solved(mdp)
    D0 = divergence(log_pi)
    for _ in range(9):
        log_pi = mirror(mdp, log_pi, 1.0)
    assert gap(mdp, best, log_pi) > (np.log(2) + 1) / 10  # ✗ log A for D₀
    assert gap(mdp, best, log_pi) <= (D0 + 1) / 10


@pytest.mark.parametrize("seed", SEEDS)
def test_d1b_geometric_steps(seed):
    mdp, log_pi = instance(seed)
    best, d, divergence = solved(mdp)
    g = mdp.discount
    theta = (d / mdp.initial_distribution).max() / (1 - g)
    start, D0, eta = gap(mdp, best, log_pi), divergence(log_pi), 0.1
    for k in range(12):
        bound = (1 - 1 / theta) ** k * (start + D0 / (0.1 * (1 - g) * (theta - 1)))
        assert gap(mdp, best, log_pi) <= bound + SLACK
        if eta > 1e6:
            break
        log_pi, eta = mirror(mdp, log_pi, eta), eta * theta / (theta - 1)


def test_d1b_false_without_one_minus_gamma():
    # ϑ = 10, D₀ = 1000 and η₀ = 10: after 23 steps the policy has hardly moved
    mdp, log_pi, eta = one_state([1.0, 0.0], 0.9), np.array([[-1000.0, 0.0]]), 10.0
    best, _, divergence = solved(mdp)
    D0, start = divergence(log_pi), gap(mdp, best, log_pi)
    for _ in range(23):
        log_pi, eta = mirror(mdp, log_pi, eta), eta * 10 / 9
    found = gap(mdp, best, log_pi)
    assert found > 4 * 0.9**23 * (start + D0 / (10 * 9))  # ✗ without 1 − γ beside ϑ − 1
    assert found <= 0.9**23 * (start + D0 / (10 * 0.1 * 9))


@pytest.mark.parametrize("seed", SEEDS)
def test_d2_adaptive_steps(seed):
    """η_k >= KL to the greedy set over c_k: ‖gap‖∞ <= γᵏ(‖gap₀‖∞ + Σ γ^{-i} c_{i−1})."""
    mdp, log_pi = instance(seed)
    best, g = optimal(mdp), mdp.discount
    start, paid = np.abs(best.value - evaluate(mdp, np.exp(log_pi)).value).max(), 0.0
    for k in range(10):
        found = evaluate(mdp, np.exp(log_pi))
        assert np.abs(best.value - found.value).max() <= g**k * (start + paid) + SLACK
        greedy = found.q_value >= found.q_value.max(axis=1, keepdims=True) - 1e-12
        c = 0.1 * g ** (2 * (k + 1))
        eta = (-np.log((np.exp(log_pi) * greedy).sum(axis=1))).max() / c
        if not 0 < eta < 1e6:
            break
        paid += c / g ** (k + 1)
        log_pi = mirror(mdp, log_pi, eta)


def test_d2_false_for_steps_that_are_too_short():
    mdp, log_pi = one_state([1.0, 0.0], 0.5), np.log([[0.01, 0.99]])
    best = optimal(mdp)
    start = gap(mdp, best, log_pi)
    for _ in range(4):
        log_pi = mirror(mdp, log_pi, 0.1)  # ✗ a constant step, with c = 0
    assert gap(mdp, best, log_pi) > 0.5**4 * start


@pytest.mark.parametrize("alpha", [0.2, 0.7])
@pytest.mark.parametrize("seed", SEEDS)
def test_d3_frank_wolfe(seed, alpha):
    mdp, log_pi = instance(seed)
    best, pi = optimal(mdp), np.exp(log_pi)
    start = np.abs(best.value - evaluate(mdp, pi).value).max()
    for k in range(10):
        found = evaluate(mdp, pi)
        left = np.abs(best.value - found.value).max()
        assert left <= (1 - alpha * (1 - mdp.discount)) ** k * start + SLACK
        greedy = np.eye(mdp.num_actions)[found.q_value.argmax(axis=1)]
        pi = (1 - alpha) * pi + alpha * greedy


def test_d3_false_without_one_minus_gamma():
    # a corridor: what pays is three moves away, and each step tells one state more of it
    P = np.zeros((4, 2, 4))
    for s in range(4):
        P[s, 0, s], P[s, 1, min(s + 1, 3)] = 1, 1
    rewards = np.zeros((4, 2))
    rewards[3] = 1
    mdp = MDP(P, rewards, 0.95, [1, 0, 0, 0])
    best, pi, alpha = optimal(mdp), np.tile([1.0, 0.0], (4, 1)), 0.5
    start = np.abs(best.value - evaluate(mdp, pi).value).max()
    for _ in range(2):
        greedy = np.eye(2)[evaluate(mdp, pi).q_value.argmax(axis=1)]
        pi = (1 - alpha) * pi + alpha * greedy
    left = np.abs(best.value - evaluate(mdp, pi).value).max()
    assert 2 * (1 - alpha) ** 2 * start < left <= (1 - alpha * 0.05) ** 2 * start


@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_d4_regularised_natural_steps(seed, share):
    """Linear at 1 − ητ in Q*, log π* and V*; η = share · (1 − γ)/τ."""
    mdp, log_pi = instance(seed)
    tau, g = 0.3, mdp.discount
    eta = share * (1 - g) / tau
    value, log_best = soft_optimal(mdp, tau)
    q_best = mdp.rewards + g * mdp.expected_next(value)
    found = soft_evaluation(mdp, log_pi, tau)
    C = np.abs(q_best - found.q_value).max()
    C += 2 * tau * (1 - eta * tau / (1 - g)) * np.abs(log_best - log_pi).max()
    for t in range(12):
        log_pi = regularised_step(mdp, log_pi, tau, eta)
        found, factor = soft_evaluation(mdp, log_pi, tau), (1 - eta * tau) ** t
        assert np.abs(q_best - found.q_value).max() <= C * g * factor + SLACK
        assert np.abs(log_best - log_pi).max() <= 2 * C / tau * factor + SLACK
        assert np.abs(value - found.value).max() <= 3 * C * factor + SLACK


def test_d4_false_variants_and_the_local_rate():
    mdp, tau = one_state([1.0, 0.0], 0.9), 1.0
    eta = 0.05  # ητ = 0.05, but ητ/(1 − γ) = ½: the policy moves faster than the bound says
    value, log_best = soft_optimal(mdp, tau)
    log_pi, errors = np.log([[0.001, 0.999]]), []
    for _ in range(30):
        errors.append(np.abs(log_pi - log_best).max())
        log_pi = regularised_step(mdp, log_pi, tau, eta)
    ratio = errors[20] / errors[19]
    assert ratio == pytest.approx(1 - eta * tau / 0.1, abs=1e-4)
    # ✗ one-step contraction of Q alone by 1 − ητ: some instance's error of Q grows at first
    grown = []
    for seed in range(60):
        mdp, log_pi = instance(seed)
        tau, g = 0.05, mdp.discount
        eta = 0.1 * (1 - g) / tau
        value, _ = soft_optimal(mdp, tau)
        q = mdp.rewards + g * mdp.expected_next(value)
        before = np.abs(q - soft_evaluation(mdp, log_pi, tau).q_value).max()
        log_pi = regularised_step(mdp, log_pi, tau, eta)
        after = np.abs(q - soft_evaluation(mdp, log_pi, tau).q_value).max()
        grown.append(after > (1 - eta * tau / (1 - g)) * before)
    assert any(grown)


@pytest.mark.parametrize("seed", SEEDS)
def test_d6_growing_steps_contract_by_gamma(seed):
    """Unregularised with η_k = η₀γ^{−k}, weighted by the stationary ν* of the optimal policy."""
    mdp, log_pi = instance(seed)
    best, g = optimal(mdp), mdp.discount
    chain = mdp.policy_transitions(best.probabilities)
    nu = np.linalg.matrix_power(0.5 * (chain + np.eye(3)), 4096)[0]
    nu = nu / nu.sum()
    away = lambda p: nu @ -(best.probabilities * p).sum(axis=1)  # noqa: E731
    left = lambda p: nu @ (best.value - evaluate(mdp, np.exp(p)).value)  # noqa: E731
    start, D0, eta = left(log_pi), away(log_pi), 1.0
    for k in range(15):
        assert left(log_pi) <= g**k * (start + D0 / g) + SLACK
        log_pi, eta = mirror(mdp, log_pi, eta), eta / g


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_d7_the_slope_of_constant_step_natural_gradient(gamma):
    """log gap falls by ηΔ/(1 − γ) per step, Δ the least advantage gap; vanilla only like 1/t."""
    mdp, eta = one_state([1.0, 0.7, 0.0], gamma), 0.5
    best, log_pi, gaps = optimal(mdp), np.full((1, 3), -np.log(3)), []
    for _ in range(60):
        gaps.append(gap(mdp, best, log_pi))
        log_pi = mirror(mdp, log_pi, eta / (1 - gamma))
    slope = np.log(gaps[55] / gaps[45]) / 10
    assert slope == pytest.approx(-eta * 0.3 / (1 - gamma), rel=0.02)
    assert abs(slope + eta * 0.3) > 0.05 or gamma == 0  # ✗ without 1/(1 − γ)


def test_d9_vanilla_softmax_gradient_is_of_order_one_over_t():
    """t · gap → S(A − 1)/(Aη), whatever γ and the rewards: S = 1, A = 3, η = 1: ⅔."""
    mdp, policy = one_state([1.0, 0.6, 0.2], 0.5), SoftmaxPolicy(1, 3)
    best, theta, eye = optimal(mdp), np.zeros(3), np.eye(1)
    for _ in range(6000):
        theta = theta + policy_gradient(mdp, policy, theta, eye)
    found = 6000 * gap(mdp, best, policy.log_probabilities(theta, eye))
    assert found == pytest.approx(2 / 3, rel=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_domination_and_d8(seed):
    mdp, log_pi = instance(seed)
    best, d, _ = solved(mdp)
    found, S = evaluate(mdp, np.exp(log_pi)), mdp.num_states
    mass, g = found.state_distribution, mdp.discount
    # gap <= ‖d*/d‖∞ max ⟨π̄ − π, ∇⟩, with ∇ = dQ/(1 − γ)
    inner = mass @ (found.q_value.max(axis=1) - found.value) / (1 - g)
    assert gap(mdp, best, log_pi) <= (d / mass).max() * inner + SLACK
    slope = policy_gradient(mdp, SoftmaxPolicy(S, 3), log_pi.ravel(), np.eye(S))
    least = np.exp(log_pi[best.probabilities == 1]).min()
    bound = least / (np.sqrt(S) * (d / mass).max()) * gap(mdp, best, log_pi)
    assert np.linalg.norm(slope) >= bound - SLACK


def test_gradient_domination_needs_the_mismatch():
    # the start never leaves state 0 under π, so the gradient does not see what lies beyond
    P = np.zeros((2, 2, 2))
    P[0, 0, 0], P[0, 1, 1], P[1, :, 1] = 1, 1, 1
    mdp = MDP(P, [[0.1, 0.0], [0.0, 1.0]], 0.9, [1.0, 0.0])
    pi = np.array([[1 - 1e-4, 1e-4], [1 - 1e-4, 1e-4]])
    best, d, _ = solved(mdp)
    found = evaluate(mdp, pi)
    inner = found.state_distribution @ (found.q_value.max(axis=1) - found.value) / 0.1
    assert gap(mdp, best, np.log(pi)) > 2 * inner
    assert gap(mdp, best, np.log(pi)) <= (d / found.state_distribution).max() * inner
