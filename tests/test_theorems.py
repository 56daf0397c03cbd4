"""Statements of the theory as properties of MDPs solved exactly, each beside its false variant.

A theorem that holds in a thousand examples proves little if its false variant holds there too:
every test here either shows its variant failing, on a stated instance, or is an identity whose
tolerance is a few round-offs. Rewards are in [0, 1] where a bound needs that.

Sources: Sutton et al. (2000); Kakade (2001); Kakade & Langford (2002); Agarwal, Kakade, Lee &
Mahajan (2021); Schulman et al. (2015).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from math_cases import U, condition, worst
from theorem_cases import (
    EXAMPLES,
    FEW,
    Array,
    advantage,
    bounded_mdps,
    kl_rows,
    one_state,
    slack,
    softmax,
    step_sizes,
    table,
    tabular,
)

from npgcheck.exact import Evaluation, evaluate, evaluate_policy, optimal
from npgcheck.fisher import fisher
from npgcheck.gradient import policy_gradient
from npgcheck.mdp import MDP
from npgcheck.named_mdps import aliased_chain, kakade_two_state
from npgcheck.natural import natural_gradient, natural_policy_iteration
from npgcheck.oracles import kl_hessian, series_evaluation, traced_gradient
from npgcheck.policy import SoftmaxPolicy

# --- A: the policy gradient ---------------------------------------------------------------------


@EXAMPLES
@given(tabular())
def test_a1_policy_gradient_theorem(setting):
    """∂J/∂θ_{sa} = d(s) π(a|s) A(s, a)/(1 − γ), against autograd; ✗ without 1/(1 − γ)."""
    mdp, policy, theta = setting
    found = series_evaluation(mdp, table(policy, theta))
    weighted = found["state_distribution"][:, None] * table(policy, theta) * found["advantage"]
    exact = traced_gradient(mdp, policy, theta, np.eye(mdp.num_states))
    limit = 30 * slack(mdp) * condition(mdp)
    assert worst(weighted.ravel() / (1 - mdp.discount), exact) <= limit
    # the variant misses by γ times the gradient, exactly
    assert abs(worst(weighted.ravel(), exact) - mdp.discount * np.abs(exact).max()) <= limit


@EXAMPLES
@given(tabular(), st.integers(-3, 3))
def test_a1_any_state_baseline_leaves_the_gradient(setting, shift):
    mdp, policy, theta = setting
    found = evaluate(mdp, table(policy, theta))
    baseline = shift * np.arange(1.0, mdp.num_states + 1)[:, None]
    scores = policy.scores(theta, None)
    mass = found.state_distribution[:, None] * table(policy, theta) / (1 - mdp.discount)
    g = np.einsum("sa,sad->d", mass * (found.q_value - baseline), scores)
    limit = 10 * (1 + abs(shift) * mdp.num_states) * slack(mdp) * condition(mdp)
    assert worst(g, policy_gradient(mdp, policy, theta, None)) <= limit


# --- B: the performance difference --------------------------------------------------------------


@EXAMPLES
@given(tabular(), st.integers(0, 10**6))
def test_b1_performance_difference(setting, seed):
    """J′ − J = 1/(1 − γ) E_{d′} E_{π′} A^π = 1/(1 − γ) Σ d Σ (π′ − π) Q^{π′}."""
    mdp, policy, theta = setting
    old, new = table(policy, theta), softmax(np.random.default_rng(seed).normal(size=(
        mdp.num_states, mdp.num_actions)))  # fmt: skip
    before, after = evaluate(mdp, old), evaluate(mdp, new)
    difference = (after.objective - before.objective) * (1 - mdp.discount)
    forward = after.state_distribution @ (new * advantage(before)).sum(axis=1)
    backward = before.state_distribution @ ((new - old) * after.q_value).sum(axis=1)
    assert abs(difference - forward) <= 4 * slack(mdp)
    assert abs(difference - backward) <= 4 * slack(mdp)


def test_b1_needs_the_new_occupancy():
    mdp = kakade_two_state()
    before, after = (evaluate(mdp, p) for p in (np.full((2, 2), 0.5), np.eye(2)))
    difference = after.objective - before.objective
    wrong = before.state_distribution @ (np.eye(2) * advantage(before)).sum(axis=1) * 10
    assert abs(difference - wrong) > 0.1 * abs(difference)


@EXAMPLES
@given(tabular(), st.integers(0, 10**6))
def test_b5_b6_occupancies(setting, seed):
    """‖d′ − d‖₁ <= 2γ/(1 − γ) E_d TV(π, π′), and d >= (1 − γ)ρ."""
    mdp, policy, theta = setting
    old = table(policy, theta)
    new = softmax(np.random.default_rng(seed).normal(size=old.shape))
    before, after = evaluate(mdp, old), evaluate(mdp, new)
    moved = np.abs(after.state_distribution - before.state_distribution).sum()
    variation = before.state_distribution @ (0.5 * np.abs(new - old).sum(axis=1))
    gamma = mdp.discount
    assert moved <= 2 * gamma / (1 - gamma) * variation + slack(mdp)
    assert (before.state_distribution >= (1 - gamma) * mdp.initial_distribution - slack(mdp)).all()


# --- C: natural gradient steps on tabular softmax -----------------------------------------------


@FEW
@given(tabular(max_states=4))
def test_c1_c2_the_pseudo_inverse_in_closed_form(setting):
    """dim null F = S, F⁺∇J = (A − mean_a A)/(1 − γ), ∇JᵀF⁺∇J = E_d Var_π A/(1 − γ)²."""
    mdp, policy, theta = setting
    found = evaluate(mdp, table(policy, theta))
    d = found.state_distribution
    assume(d.min() > 1e-3)
    F = kl_hessian(policy, theta, np.eye(mdp.num_states), d)
    g = traced_gradient(mdp, policy, theta, np.eye(mdp.num_states))
    eigenvalues, vectors = np.linalg.eigh(F)
    # θ within ±3 and d >= 1e-3: the least eigenvalue is above 1e-3·e^{-6}/A, round-off below 1e-15
    assert (eigenvalues < 1e-12).sum() == mdp.num_states
    kept = eigenvalues > 1e-12
    x = vectors[:, kept] @ ((vectors[:, kept].T @ g) / eigenvalues[kept])
    A = advantage(found)
    closed = ((A - A.mean(axis=1, keepdims=True)) / (1 - mdp.discount)).ravel()
    ratio = eigenvalues[-1] / eigenvalues[kept].min() if kept.any() else 1.0
    limit = 100 * ratio * slack(mdp) * condition(mdp)
    assert worst(x, closed) <= limit
    assert worst(natural_gradient(mdp, policy, theta, None), closed) <= slack(mdp)
    variance = d @ (table(policy, theta) * A**2).sum(axis=1) / (1 - mdp.discount) ** 2
    assert abs(g @ x - variance) <= limit * max(1, np.abs(g).sum())


def test_c2_the_textbook_advantage_is_not_the_minimum_norm_solution():
    mdp, policy = kakade_two_state(), SoftmaxPolicy(2, 2)
    theta = np.array([1.0, 0.0, 0.0, 1.0])
    A = natural_gradient(mdp, policy, theta, None, form="advantage")
    x = natural_gradient(mdp, policy, theta, None)
    assert np.linalg.norm(A) > np.linalg.norm(x) * (1 + 1e-3)


@EXAMPLES
@given(tabular(), step_sizes)
def test_c3_the_update_is_multiplicative_weights(setting, step_size):
    """π′ ∝ π exp(ηA/(1 − γ)) on visited states; elsewhere F⁺ leaves the policy alone."""
    mdp, policy, theta = setting
    eta = step_size * (1 - mdp.discount) ** 2
    found = series_evaluation(mdp, table(policy, theta))
    A = np.where(mdp.reachable_states[:, None], found["advantage"], 0)
    expected = softmax(np.log(table(policy, theta)) + eta * A / (1 - mdp.discount))
    (new,) = natural_policy_iteration(mdp, policy, theta, None, 1, eta)
    # the exponent is at most 10 and carries η/(1 − γ) times the round-off of A
    assert worst(table(policy, new), expected) <= 100 * U * condition(mdp) + 100 * U


def mirror_step(mdp: MDP, pi: Array, eta: float) -> tuple[Array, Array, Evaluation]:
    """π′ ∝ π exp(ηA/(1 − γ)), log Z (S,) and the evaluation of π."""
    found = evaluate(mdp, pi)
    weights = pi * np.exp(eta * advantage(found) / (1 - mdp.discount))
    total = weights.sum(axis=1)
    return weights / total[:, None], np.log(total), found


@EXAMPLES
@given(tabular(), step_sizes)
def test_c4_every_state_improves_by_at_least_log_z(setting, step_size):
    """V^{t+1} − V^t >= (1 − γ)/η log Z_t >= 0 in every state (μ a point mass)."""
    mdp, policy, theta = setting
    eta = step_size * (1 - mdp.discount) ** 2
    pi = table(policy, theta)
    for _ in range(4):
        new, log_z, before = mirror_step(mdp, pi, eta)
        after = evaluate(mdp, new)
        assert log_z.min() >= -8 * U
        gain = after.value - before.value - (1 - mdp.discount) / eta * log_z
        # log Z is rounded to a few u and divided by η/(1 − γ)
        assert gain.min() >= -4 * slack(mdp) - 16 * U * (1 - mdp.discount) / eta
        pi = new


def test_c4_without_one_minus_gamma_is_false():
    # state 0 gains and is left at once: it is 1 − γ of the occupancy
    P = np.zeros((2, 2, 2))
    P[:, :, 1] = 1
    mdp = MDP(P, [[0.0, 1.0], [0.0, 0.0]], 0.9, [1.0, 0.0])
    eta = 0.01
    new, log_z, before = mirror_step(mdp, np.full((2, 2), 0.5), eta)
    gain = evaluate(mdp, new).value[0] - before.value[0]
    assert gain >= 0.1 / eta * log_z[0]
    assert gain < 0.5 / eta * log_z[0]


@EXAMPLES
@given(tabular(), step_sizes)
def test_c4_plus_the_improvement_is_the_sum_of_both_divergences(setting, step_size):
    """log Z = KL(π_t ‖ π_{t+1}); J′ − J = 1/η E_{d′}[KL(π′ ‖ π) + KL(π ‖ π′)], exactly."""
    mdp, policy, theta = setting
    eta = step_size * (1 - mdp.discount) ** 2
    pi = table(policy, theta)
    new, log_z, before = mirror_step(mdp, pi, eta)
    after = evaluate(mdp, new)
    forward, backward = kl_rows(pi, new), kl_rows(new, pi)
    assert worst(log_z, forward) <= 64 * U
    jeffreys = after.state_distribution @ (forward + backward) / eta
    difference = after.objective - before.objective
    # the divergences cancel to 64u each before they are divided by η
    limit = 4 * slack(mdp) + 128 * U / eta
    assert abs(difference - jeffreys) <= limit


def test_c4_plus_needs_both_divergences_and_the_new_occupancy():
    mdp, eta = kakade_two_state(), 0.1
    pi = np.array([[0.7, 0.3], [0.4, 0.6]])
    new, _, before = mirror_step(mdp, pi, eta)
    after = evaluate(mdp, new)
    difference = after.objective - before.objective
    both = kl_rows(pi, new) + kl_rows(new, pi)
    exact = after.state_distribution @ both / eta
    assert exact == pytest.approx(difference, rel=1e-12)
    for wrong in (
        after.state_distribution @ kl_rows(pi, new) / eta,
        after.state_distribution @ kl_rows(new, pi) / eta,
        before.state_distribution @ both / eta,
    ):
        assert abs(wrong - difference) > 0.01 * difference


@EXAMPLES
@given(bounded_mdps(), step_sizes, st.integers(1, 40))
def test_c5_rate_one_over_t(mdp, step_size, iterations):
    """From θ = 0, any η: J* − J_T <= log A/(ηT) + 1/((1 − γ)²T)."""
    eta = step_size
    policy = SoftmaxPolicy(mdp.num_states, mdp.num_actions)
    start = np.zeros(policy.num_parameters)
    best = float(mdp.initial_distribution @ optimal(mdp).value)
    path = natural_policy_iteration(mdp, policy, start, None, iterations, eta)
    previous = evaluate(mdp, table(policy, start)).value
    for t, theta in enumerate(path, start=1):
        found = evaluate(mdp, table(policy, theta))
        bound = np.log(mdp.num_actions) / (eta * t) + 1 / ((1 - mdp.discount) ** 2 * t)
        assert best - found.objective <= bound + slack(mdp)
        assert (found.value >= previous - 4 * slack(mdp)).all()
        previous = found.value


def gaps(mdp: MDP, start: Array, step: Callable[[Array], Array], iterations: int) -> Array:
    """J* − J after each iteration of logits += step(A)."""
    logits, found = np.log(start), []
    best = float(mdp.initial_distribution @ optimal(mdp).value)
    for _ in range(iterations):
        logits = logits + step(advantage(evaluate(mdp, softmax(logits))))
        logits -= logits.max(axis=1, keepdims=True)
        found.append(best - evaluate(mdp, softmax(logits)).objective)
    return np.array(found)


def test_c5_false_variants():
    # ✗ the step exp(ηA) without 1/(1 − γ): 2.689 > log 2/1 + 1/(0.01·200) = 1.193
    mdp, half, T, eta = one_state([1.0, 0.0], 0.9), np.full((1, 2), 0.5), 200, 1 / 200
    bound = np.log(2) / (eta * T) + 1 / (0.01 * T)
    assert gaps(mdp, half, lambda A: eta * A, T)[-1] == pytest.approx(2.689, abs=1e-3)
    assert gaps(mdp, half, lambda A: eta * A, T)[-1] > bound == pytest.approx(1.193, abs=1e-3)
    assert gaps(mdp, half, lambda A: eta * A / 0.1, T)[-1] < bound
    # ✗ log A from a skewed start: 0.978 > (log 2 + 1)/10 = 0.169
    skewed = np.array([[1e-6, 1 - 1e-6]])
    found = gaps(one_state([1.0, 0.0], 0.0), skewed, lambda A: A, 10)[-1]
    assert found == pytest.approx(0.978, abs=1e-3)
    assert found > (np.log(2) + 1) / 10
    # with E_{d*} KL(π* ‖ π_0) = log 10⁶ in place of log A it holds
    assert found < (np.log(1e6) + 1) / 10
    # ✗ 1/((1 − γ)T): a corridor whose side exits pay a little at once and the end everything
    steps, pay, gamma = 4, 0.3, 0.95
    P = np.zeros((steps + 1, 2, steps + 1))
    rewards = np.full((steps + 1, 2), pay)
    P[steps, :, steps] = 1
    for s in range(steps):
        P[s, 1, steps] = 1
        P[s, 0, min(s + 1, steps - 1)] = 1
        rewards[s, 0] = float(s == steps - 1)
    corridor = MDP(P, rewards, gamma, np.eye(steps + 1)[0])
    T = np.arange(1, steps + 1)
    found = gaps(corridor, np.full((5, 2), 0.5), lambda A: 10 * A / (1 - gamma), steps)
    assert (found > np.log(2) / (10 * T) + 1 / ((1 - gamma) * T)).any()
    assert (found <= np.log(2) / (10 * T) + 1 / ((1 - gamma) ** 2 * T)).all()


@FEW
@given(tabular(), step_sizes)
def test_c8_vanilla_steps_are_monotone_too(setting, step_size):
    """θ += c A with any c >= 0 improves every state: monotonicity alone does not identify NPG."""
    mdp, policy, theta = setting
    before = evaluate(mdp, table(policy, theta))
    moved = theta + step_size * policy_gradient(mdp, policy, theta, None)
    after = evaluate(mdp, table(policy, moved))
    assert (after.value >= before.value - 4 * slack(mdp)).all()


def test_c8_a_negative_step_is_seen():
    mdp, policy = kakade_two_state(), SoftmaxPolicy(2, 2)
    moved = -0.1 * policy_gradient(mdp, policy, np.zeros(4), None)
    old, new = (evaluate(mdp, table(policy, t)).value for t in (np.zeros(4), moved))
    assert (new < old).all()


# --- H: the missing γᵗ --------------------------------------------------------------------------


def test_h3b_without_discounted_weights_the_aliased_chain_goes_the_wrong_way():
    """dJ_γ/dp = +1/4; with A of γ = 1/2 and undiscounted visits the update is −1/2."""
    mdp, policy, seen, theta = aliased_chain(), SoftmaxPolicy(1, 2), np.ones((4, 1)), np.zeros(2)
    A = advantage(evaluate_policy(mdp, policy, theta, seen))
    visits = np.array([1.0, 1.0, 0.5, 0.0])
    wrong = visits @ (A[:, 1] - A[:, 0])
    right = np.array([1, 0.5, 0.125, 0]) @ (A[:, 1] - A[:, 0])
    assert (right, wrong) == (0.25, -0.5)
    # p = σ(z_R − z_L): ∂J/∂z_R = p(1 − p) dJ/dp
    assert policy_gradient(mdp, policy, theta, seen)[1] == pytest.approx(0.25 * right, rel=4 * U)


@EXAMPLES
@given(tabular())
def test_h3a_the_tabular_direction_ignores_the_weighting(setting):
    """With F and g under any common positive state weighting, F⁺g is the same."""
    mdp, policy, theta = setting
    A = advantage(evaluate(mdp, table(policy, theta)))
    weights = np.arange(1.0, mdp.num_states + 1)
    F = fisher(policy, theta, None, weights)
    g = (weights[:, None] * table(policy, theta) * A).ravel()
    x = np.linalg.pinv(F, rcond=1e-12) @ g
    # θ within ±3: the least eigenvalue is above e^{-6}/A, the largest below S
    limit = 1e5 * slack(mdp)
    assert worst(x, (A - A.mean(axis=1, keepdims=True)).ravel()) <= limit
