"""Average reward, finite horizon and entropy: each number by a second route, each theorem with
its false variant shown to fail.

Second routes: powers of the chain, enumeration of all trajectories, autograd through a solve,
central differences. Round-off budgets are a few hundred operations on numbers of size one to ten.
"""

from __future__ import annotations

import itertools

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from math_cases import central_difference, random_mdp, worst

from npgcheck.average_reward import (
    average_reward_gradient,
    evaluate_average,
    evaluate_horizon,
    finite_horizon_gradient,
    recurrent_classes,
)
from npgcheck.entropy import (
    regularised_step,
    soft_evaluation,
    soft_optimal,
    soft_policy_gradient,
    soft_policy_iteration,
)
from npgcheck.errors import InvalidArgument
from npgcheck.exact import evaluate
from npgcheck.gradient import policy_gradient
from npgcheck.mdp import MDP
from npgcheck.named_mdps import kakade_two_state
from npgcheck.oracles import kl_hessian
from npgcheck.policy import SoftmaxPolicy

SEEDS = range(6)
ROUND_OFF = 1e-11


def setting(seed: int, S: int = 3, A: int = 2, discount: float = 0.8):
    rng = np.random.default_rng(seed)
    mdp, policy = random_mdp(rng, S, A, discount), SoftmaxPolicy(S, A)
    return mdp, policy, rng.normal(size=S * A), np.eye(S)


def with_discount(mdp: MDP, discount: float) -> MDP:
    return MDP(mdp.transitions, mdp.rewards, discount, mdp.initial_distribution)


def softmax(theta, S, A):
    weights = anp.exp(theta.reshape(S, A))
    return weights / anp.sum(weights, axis=1, keepdims=True)


# --- average reward -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_stationary_distribution_is_the_limit_of_powers(seed):
    mdp, policy, theta, seen = setting(seed)
    pi = policy.probabilities(theta, seen)
    found = evaluate_average(mdp, pi)
    limit = np.linalg.matrix_power(mdp.policy_transitions(pi), 4096)[0]
    assert worst(found.state_distribution, limit) < ROUND_OFF
    assert found.average == pytest.approx(limit @ (pi * mdp.rewards).sum(axis=1), abs=ROUND_OFF)
    # V(s) = Σ_t (E r_t − η): 4,000 terms of a geometrically mixing chain
    excess, total = (pi * mdp.rewards).sum(axis=1) - found.average, np.zeros(3)
    for _ in range(4000):
        total = total + excess
        excess = mdp.policy_transitions(pi) @ excess
    assert worst(found.value, total) < 1e-9
    assert worst((pi * found.advantage).sum(axis=1), 0) < ROUND_OFF


@pytest.mark.parametrize("seed", SEEDS)
def test_a3_gradient_of_the_average_reward(seed):
    mdp, policy, theta, seen = setting(seed)

    def average(t):
        pi = softmax(t, 3, 2)
        chain = anp.einsum("sa,sat->st", pi, mdp.transitions)
        d = anp.linalg.solve(anp.transpose(anp.eye(3) - chain + anp.ones((3, 3))), anp.ones(3))
        return anp.sum(d[:, None] * pi * mdp.rewards)

    exact = autograd.grad(average)(theta)
    g = average_reward_gradient(mdp, policy, theta, seen)
    assert worst(g, exact) < ROUND_OFF
    # ✗ the rewards alone in place of Q
    pi = policy.probabilities(theta, seen)
    d = evaluate_average(mdp, pi).state_distribution
    myopic = policy.vjp(
        theta, seen, d[:, None] * pi * (mdp.rewards - (pi * mdp.rewards).sum(1)[:, None])
    )
    assert worst(myopic, exact) > 1e-5  # a million times the round-off


def test_a3_the_discounted_gradient_tends_to_it_at_first_order():
    mdp, policy, theta, seen = setting(1)
    exact = average_reward_gradient(mdp, policy, theta, seen)
    error = [
        worst((1 - g) * policy_gradient(with_discount(mdp, g), policy, theta, seen), exact)
        for g in (0.99, 0.999)
    ]
    # O(1 − γ): a tenth, up to the second order 1e-2
    assert error[1] == pytest.approx(error[0] / 10, rel=0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_b2_performance_difference_of_average_rewards(seed):
    mdp, policy, theta, seen = setting(seed)
    old, new = (policy.probabilities(t, seen) for t in (theta, -theta))
    before, after = evaluate_average(mdp, old), evaluate_average(mdp, new)
    advantage = (new * before.advantage).sum(axis=1)
    assert after.state_distribution @ advantage == pytest.approx(
        after.average - before.average, abs=ROUND_OFF
    )
    wrong = before.state_distribution @ advantage
    assert abs(wrong - (after.average - before.average)) > 1e-4  # ✗ the old distribution


@pytest.mark.parametrize("seed", SEEDS)
def test_c9_natural_gradient_of_the_average_reward(seed):
    """F⁺∇η = A − mean A, no 1/(1 − γ); its steps gain both divergences, and improve."""
    mdp, policy, theta, seen = setting(seed)
    log_pi = policy.log_probabilities(theta, seen)
    pi = np.exp(log_pi)
    found, eta = evaluate_average(mdp, pi), 0.3
    F = kl_hessian(policy, theta, seen, found.state_distribution)
    x = found.advantage - found.advantage.mean(axis=1, keepdims=True)
    assert worst(F @ x.ravel(), average_reward_gradient(mdp, policy, theta, seen)) < ROUND_OFF
    log_new = policy.log_probabilities(theta + eta * x.ravel(), seen)
    after = evaluate_average(mdp, np.exp(log_new))
    both = ((np.exp(log_new) - pi) * (log_new - log_pi)).sum(axis=1)
    gain = after.average - found.average
    assert gain == pytest.approx(after.state_distribution @ both / eta, abs=ROUND_OFF)
    assert gain > 0
    assert abs(found.state_distribution @ both / eta - gain) > 1e-6  # ✗ the old distribution


def test_the_average_reward_needs_one_recurrent_class():
    P = np.zeros((3, 1, 3))
    P[0, 0], P[1, 0, 1], P[2, 0, 2] = [0, 0.5, 0.5], 1, 1
    mdp = MDP(P, np.ones((3, 1)), 0.9, [1, 0, 0])
    assert recurrent_classes(P[:, 0]) == 2
    with pytest.raises(InvalidArgument, match="2 recurrent classes"):
        evaluate_average(mdp, np.ones((3, 1)))
    P[2, 0] = [0, 1, 0]  # a transient state and one absorbing: one class
    one = evaluate_average(MDP(P, [[5.0], [1.0], [7.0]], 0.9, [1, 0, 0]), np.ones((3, 1)))
    assert one.average == pytest.approx(1.0, abs=1e-14)


def test_the_average_reward_of_kakades_two_states():
    # each state keeps its reward under "stay": uniform moves visit both equally
    mdp = kakade_two_state()
    found = evaluate_average(mdp, np.full((2, 2), 0.5))
    assert found.average == pytest.approx(np.mean(mdp.rewards), abs=1e-14)


# --- finite horizon -----------------------------------------------------------------------------


def trajectories(mdp: MDP, pi: np.ndarray, horizon: int):
    """(probability, return, visited pairs) of every trajectory."""
    S, A = mdp.rewards.shape
    steps = [range(S), *([range(A), range(S)] * horizon)][:-1]
    for path in itertools.product(*steps):
        states, actions = path[::2], path[1::2]
        chance = mdp.initial_distribution[states[0]]
        for h, a in enumerate(actions):
            chance = chance * pi[states[h], a]
            if h + 1 < horizon:
                chance = chance * mdp.transitions[states[h], a, states[h + 1]]
        pairs = list(zip(states, actions, strict=True))
        yield chance, sum(mdp.rewards[p] for p in pairs), pairs


@pytest.mark.parametrize("seed", range(3))
def test_a2_finite_horizon_gradient_by_enumeration(seed):
    """∇J = E[return · Σ ∇log π] over all trajectories; ✗ one step's score only."""
    mdp, policy, theta, seen = setting(seed, S=2)
    pi, horizon = policy.probabilities(theta, seen), 3
    scores = policy.scores(theta, seen)
    objective, g, first = 0.0, np.zeros(4), np.zeros(4)
    for chance, earned, pairs in trajectories(mdp, pi, horizon):
        objective += chance * earned
        g += chance * earned * sum(scores[p] for p in pairs)
        first += chance * earned * scores[pairs[0]]
    found = evaluate_horizon(mdp, pi, horizon)
    assert found.objective == pytest.approx(objective, abs=ROUND_OFF)
    ours = finite_horizon_gradient(mdp, policy, theta, seen, horizon)
    assert worst(ours, g) < ROUND_OFF
    assert worst(ours, first) > 1e-3
    assert worst(found.state_distribution.sum(axis=1), 1) < ROUND_OFF


@pytest.mark.parametrize("seed", range(3))
def test_b3_performance_difference_over_a_horizon(seed):
    mdp, policy, theta, seen = setting(seed)
    old, new = (policy.probabilities(t, seen) for t in (theta, -theta))
    before, after = (evaluate_horizon(mdp, p, 5) for p in (old, new))
    advantage = before.q_value - before.value[:-1, :, None]
    gain = after.objective - before.objective
    sums = [np.einsum("hs,sa,hsa->", e.state_distribution, new, advantage) for e in (after, before)]
    assert sums[0] == pytest.approx(gain, abs=ROUND_OFF)
    assert abs(sums[1] - gain) > 1e-4  # ✗ the old distributions


def test_a_horizon_is_at_least_one():
    mdp, policy, theta, seen = setting(0)
    with pytest.raises(InvalidArgument, match="at least 1"):
        evaluate_horizon(mdp, policy.probabilities(theta, seen), 0)


# --- entropy ------------------------------------------------------------------------------------

TAU = 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_values_satisfy_their_bellman_equation_and_sum_as_a_series(seed):
    mdp, policy, theta, seen = setting(seed)
    log_pi = policy.log_probabilities(theta, seen)
    pi = np.exp(log_pi)
    found = soft_evaluation(mdp, log_pi, TAU)
    total, reach = np.zeros(3), np.eye(3)
    for _ in range(200):  # 0.8^200 = 4e-20
        total = total + reach @ (pi * (mdp.rewards - TAU * log_pi)).sum(axis=1)
        reach = 0.8 * reach @ mdp.policy_transitions(pi)
    assert worst(found.value, total) < ROUND_OFF
    assert worst(found.q_value, mdp.rewards + 0.8 * mdp.expected_next(total)) < ROUND_OFF
    assert worst(found.state_distribution, evaluate(mdp, pi).state_distribution) < ROUND_OFF


@pytest.mark.parametrize("seed", SEEDS)
def test_a4_soft_policy_gradient(seed):
    mdp, policy, theta, seen = setting(seed)

    def objective(t):
        pi = softmax(t, 3, 2)
        chain = anp.einsum("sa,sat->st", pi, mdp.transitions)
        reward = anp.sum(pi * (mdp.rewards - TAU * anp.log(pi)), axis=1)
        return anp.dot(mdp.initial_distribution, anp.linalg.solve(anp.eye(3) - 0.8 * chain, reward))

    exact = autograd.grad(objective)(theta)
    assert worst(soft_policy_gradient(mdp, policy, theta, seen, TAU), exact) < ROUND_OFF
    log_pi = policy.log_probabilities(theta, seen)
    found = soft_evaluation(mdp, log_pi, TAU)
    mass = found.state_distribution[:, None] * np.exp(log_pi) / (1 - 0.8)
    hard = found.q_value - (np.exp(log_pi) * found.q_value).sum(axis=1, keepdims=True)
    assert worst((mass * hard).ravel(), exact) > 1e-3  # ✗ without the present state's entropy
    assert worst((mass * found.advantage).ravel(), exact) < ROUND_OFF


def kl(log_p, log_q):
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_b4_and_d4_plus_soft_differences(seed):
    mdp, policy, theta, seen = setting(seed)
    old = policy.log_probabilities(theta, seen)
    before, gamma = soft_evaluation(mdp, old, TAU), 0.8
    other = policy.log_probabilities(theta[::-1] / 2, seen)
    after = soft_evaluation(mdp, other, TAU)
    inner = (np.exp(other) * before.advantage).sum(axis=1) - TAU * kl(other, old)
    gain = after.objective - before.objective
    assert after.state_distribution @ inner / (1 - gamma) == pytest.approx(gain, abs=ROUND_OFF)
    wrong = (np.exp(other) * before.advantage).sum(axis=1) - TAU * kl(old, other)
    assert abs(after.state_distribution @ wrong / (1 - gamma) - gain) > 1e-4
    eta = 0.5 * (1 - gamma) / TAU
    new = regularised_step(mdp, old, TAU, eta)
    after = soft_evaluation(mdp, new, TAU)
    inner = (1 / eta - TAU / (1 - gamma)) * kl(new, old) + kl(old, new) / eta
    gain = after.objective - before.objective
    assert after.state_distribution @ inner == pytest.approx(gain, abs=ROUND_OFF)
    wrong = (kl(new, old) + kl(old, new)) / eta
    assert abs(after.state_distribution @ wrong - gain) > 1e-4


@pytest.mark.parametrize("seed", SEEDS)
def test_b4_prime_soft_suboptimality_and_k1_the_hessian_at_the_optimum(seed):
    mdp, policy, theta, seen = setting(seed)
    best, log_best = soft_optimal(mdp, TAU)
    log_pi = policy.log_probabilities(theta, seen)
    found, gamma = soft_evaluation(mdp, log_pi, TAU), 0.8
    gap = mdp.initial_distribution @ best - found.objective
    mean = found.state_distribution @ kl(log_pi, log_best)
    assert TAU / (1 - gamma) * mean == pytest.approx(gap, abs=ROUND_OFF)
    assert abs(TAU * mean - gap) > 1e-3  # ✗ without 1/(1 − γ)
    at = log_best.ravel()
    slope = lambda t: soft_policy_gradient(mdp, policy, t, seen, TAU)  # noqa: E731
    assert worst(slope(at), 0) < 1e-9
    # differences of a gradient: truncation h² ≈ 1e-10 times third derivatives of size ten
    hessian = central_difference(slope, at)
    d = soft_evaluation(mdp, log_best, TAU).state_distribution
    F = kl_hessian(policy, at, seen, d)
    assert worst(-hessian, TAU / (1 - gamma) * F) < 1e-7
    elsewhere = central_difference(slope, theta)
    F = kl_hessian(policy, theta, seen, found.state_distribution)
    assert worst(-elsewhere, TAU / (1 - gamma) * F) > 1e-2  # ✗ anywhere else


@pytest.mark.parametrize("gamma", [0.3, 0.9])
@pytest.mark.parametrize("seed", SEEDS)
def test_d5_soft_policy_iteration_contracts_and_is_quadratic(seed, gamma):
    mdp, policy, theta, seen = setting(seed, discount=gamma)
    best, _ = soft_optimal(mdp, TAU)
    log_pi = policy.log_probabilities(4 * theta, seen)
    path = [log_pi, *soft_policy_iteration(mdp, log_pi, TAU, 4)]
    error = [np.abs(best - soft_evaluation(mdp, p, TAU).value).max() for p in path]
    slack = 1e-12
    quadratic = gamma**2 / (8 * TAU * (1 - gamma))
    for e, after in itertools.pairwise(error):
        assert after <= gamma * e + slack
        assert after <= quadratic * e**2 + slack


def soft_errors(seed: int) -> tuple[float, float, list[float]]:
    """γ, τ and ‖V* − V_t‖∞ for t = 0 … 3 of a small random instance."""
    rng = np.random.default_rng(seed)
    S, gamma = int(rng.integers(2, 4)), float(rng.choice([0.3, 0.6, 0.9, 0.95]))
    tau = float(rng.choice([0.02, 0.1, 0.5, 1]))
    mdp = random_mdp(rng, S, 2, gamma, density=0.6)
    log_pi = np.log(softmax(rng.normal(size=S * 2) * rng.choice([0.5, 2, 5]), S, 2))
    best, _ = soft_optimal(mdp, tau)
    path = [log_pi, *soft_policy_iteration(mdp, log_pi, tau, 3)]
    return gamma, tau, [np.abs(best - soft_evaluation(mdp, p, tau).value).max() for p in path]


def test_d5_false_variants():
    # the constant: this instance reaches 0.76 of the quadratic bound, so 1/(1 − γ) is needed
    gamma, tau, e = soft_errors(112)
    assert e[2] > gamma**2 / (8 * tau) * e[1] ** 2
    assert e[2] <= gamma**2 / (8 * tau * (1 - gamma)) * e[1] ** 2
    # the factor: this one reaches 0.86 γ, so no contraction by γ/2
    gamma, _, e = soft_errors(174)
    assert gamma * e[0] / 2 < e[1] <= gamma * e[0]


def test_what_entropy_refuses():
    mdp, policy, theta, seen = setting(0)
    log_pi = policy.log_probabilities(theta, seen)
    with pytest.raises(InvalidArgument, match="temperature must be positive"):
        soft_evaluation(mdp, log_pi, 0.0)
    with pytest.raises(InvalidArgument, match="step_size must lie in"):
        regularised_step(mdp, log_pi, TAU, 1.0)
    with pytest.raises(InvalidArgument, match="must be finite"):
        soft_evaluation(mdp, log_pi - np.inf, TAU)
    with pytest.raises(InvalidArgument, match="at least 0"):
        soft_policy_iteration(mdp, log_pi, TAU, -1)
    with pytest.raises(InvalidArgument, match="did not settle"):
        soft_optimal(mdp, TAU, max_iterations=0)
