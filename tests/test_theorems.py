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
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from math_cases import U, condition, random_mdp, worst

from npgcheck import strategies
from npgcheck.exact import Evaluation, evaluate, evaluate_policy, optimal
from npgcheck.fisher import fisher, kl
from npgcheck.gradient import policy_gradient, surrogate
from npgcheck.mdp import MDP
from npgcheck.named_mdps import aliased_chain, kakade_two_state
from npgcheck.natural import natural_gradient, natural_policy_iteration, trust_region_proposal
from npgcheck.oracles import kl_hessian, series_evaluation, traced_gradient
from npgcheck.policy import DiscretePolicy, SoftmaxPolicy

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, database=None)
FEW = settings(EXAMPLES, max_examples=30)

Array = np.ndarray


@st.composite
def bounded_mdps(draw: st.DrawFn, **sizes: int) -> MDP:
    """As `strategies.mdps` up to γ = 0.99, with rewards moved from [−4, 4] into [0, 1]."""
    mdp = draw(strategies.mdps(max_discount=0.99, **sizes))
    return MDP(mdp.transitions, (mdp.rewards + 4) / 8, mdp.discount, mdp.initial_distribution)


@st.composite
def tabular(draw: st.DrawFn, **sizes: int) -> tuple[MDP, SoftmaxPolicy, Array]:
    """An MDP with rewards in [0, 1], its tabular softmax policy and θ within ±3."""
    mdp = draw(bounded_mdps(**sizes))
    policy = SoftmaxPolicy(mdp.num_states, mdp.num_actions)
    return mdp, policy, draw(strategies.parameters(policy, extreme=False))


step_sizes = st.sampled_from([0.01, 0.1, 1.0, 10.0])


def softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def table(policy: SoftmaxPolicy, theta: Array) -> Array:
    return policy.probabilities(theta, None)


def kl_rows(p: Array, q: Array) -> Array:
    return (p * np.log(p / q)).sum(axis=1)


def slack(mdp: MDP) -> float:
    """Round-off of a value in an MDP with rewards in [0, 1]: 30 u κ ‖V‖."""
    return 30 * U * condition(mdp) / (1 - mdp.discount)


def advantage(found: Evaluation) -> Array:
    assert found.advantage is not None
    return found.advantage


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


def one_state(rewards: list[float], discount: float) -> MDP:
    A = len(rewards)
    return MDP(np.ones((1, A, 1)), [rewards], discount, [1.0])


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


# --- F: reparameterisation ----------------------------------------------------------------------


class Reparameterised(DiscretePolicy):
    """A policy in coordinates φ with θ = T(φ): its own logits and Jacobian by the chain rule."""

    def __init__(
        self,
        base: DiscretePolicy,
        to_theta: Callable[[Array], Array],
        slope: Callable[[Array], Array],
    ) -> None:
        self.base, self.to_theta, self.slope = base, to_theta, slope
        self.num_actions, self.observation_size = base.num_actions, base.observation_size
        self.num_parameters = base.num_parameters

    def logits(self, theta, observations):
        return self.base.logits(self.to_theta(theta), observations)

    def logits_jacobian(self, theta, observations):
        through = self.base.logits_jacobian(self.to_theta(theta), observations)
        return through @ self.slope(theta)


@st.composite
def affine_settings(draw: st.DrawFn):
    """An MDP, a softmax policy (tabular or shared features), θ, H and c with θ = Hφ + c."""
    mdp = draw(bounded_mdps(min_states=2, max_states=4, min_actions=2, max_actions=3))
    if draw(st.booleans(), label="tabular"):
        policy, seen = SoftmaxPolicy(mdp.num_states, mdp.num_actions), np.eye(mdp.num_states)
    else:
        policy = SoftmaxPolicy(2, mdp.num_actions)
        seen = draw(strategies.observations(mdp.num_states, 2), label="observations")
    theta = draw(strategies.parameters(policy, extreme=False), label="theta")
    D = policy.num_parameters
    below = draw(st.lists(st.integers(-1, 1), min_size=D * D, max_size=D * D), label="H")
    scales = draw(st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]), min_size=D, max_size=D))
    H = (np.tril(np.array(below).reshape(D, D), -1) + np.eye(D)) @ np.diag(scales)
    assume(np.linalg.cond(H) <= 1e3)
    return mdp, policy, seen, theta, H, draw(_offsets(D), label="c")


def _offsets(size: int) -> st.SearchStrategy[Array]:
    return st.lists(st.integers(-4, 4), min_size=size, max_size=size).map(
        lambda c: np.array(c, dtype=float) / 2
    )


def moved_policies(setting, advance) -> tuple[Array, Array]:
    """Policies after two steps in θ and in φ from the same point, on the states that are visited.

    Elsewhere F says nothing: the minimum-norm representative moves the policy of a state that is
    never visited as the coordinates happen to have it.
    """
    mdp, policy, seen, theta, H, c = setting
    other = Reparameterised(policy, lambda phi: H @ phi + c, lambda phi: H)
    phi = np.linalg.solve(H, theta - c)
    for _ in range(2):
        theta, phi = advance(mdp, policy, theta, seen), advance(mdp, other, phi, seen)
    visited = mdp.reachable_states
    return policy.probabilities(theta, seen)[visited], other.probabilities(phi, seen)[visited]


def natural_step(mdp, policy, theta, seen):
    eta = (1 - mdp.discount) ** 2
    return theta + eta * natural_gradient(mdp, policy, theta, seen)


def well_conditioned(setting) -> None:
    """F's rank must be clear to both coordinate systems: cond⁺(F)·cond(H)² far below 1/u."""
    mdp, policy, seen, theta, *_ = setting
    d = evaluate_policy(mdp, policy, theta, seen).state_distribution
    # γ = 1e-160 visits a state in principle; no decomposition of F sees it
    assume(d[mdp.reachable_states].min() > 1e-6)
    spectrum = np.linalg.eigvalsh(fisher(policy, theta, seen, d))
    kept = spectrum[spectrum > 1e-12 * max(spectrum[-1], 1e-30)]
    assume(spectrum[-1] > 1e-8 and kept[-1] / kept[0] < 1e5)


@EXAMPLES
@given(affine_settings())
def test_f2_natural_steps_do_not_depend_on_affine_coordinates(setting):
    """Finite steps agree exactly, F singular or not (F6); cond(H) <= 10³."""
    well_conditioned(setting)
    mdp = setting[0]
    in_theta, in_phi = moved_policies(setting, natural_step)
    # root and target carry κ u; the condition of the root and of H (√10⁵·10³) amplifies it
    assert worst(in_theta, in_phi) <= 1e-14 * condition(mdp) * np.sqrt(1e5) * 1e3


@FEW
@given(affine_settings())
def test_f2_trust_region_proposals_do_not_depend_on_affine_coordinates(setting):
    well_conditioned(setting)
    mdp, policy, seen, theta, *_ = setting
    # a vanishing advantage has no direction, and whether it vanishes is a matter of round-off
    assume(np.abs(advantage(evaluate_policy(mdp, policy, theta, seen))).max() > 1e-3)
    assume(np.linalg.norm(policy_gradient(mdp, policy, theta, seen)) > 1e-3)

    def advance(mdp, policy, theta, seen):
        return trust_region_proposal(mdp, policy, theta, seen, 1e-3)

    in_theta, in_phi = moved_policies(setting, advance)
    assert worst(in_theta, in_phi) <= 1e-8 * condition(mdp)


def test_f6_unvisited_states_do_depend_on_the_coordinates():
    # state 1 is never visited and has the second feature to itself; φ mixes the two features
    P = np.zeros((2, 2, 2))
    P[[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1]] = 1
    mdp = MDP(P, [[0.0, 1.0], [0.0, 0.0]], 0.5, [1.0, 0.0])
    policy, seen, theta = SoftmaxPolicy(2, 2), np.eye(2), np.zeros(4)
    H = np.kron([[1.0, 0.0], [1.0, 1.0]], np.eye(2))
    other = Reparameterised(policy, lambda phi: H @ phi, lambda phi: H)
    new = policy.probabilities(natural_step(mdp, policy, theta, seen), seen)
    new_other = other.probabilities(natural_step(mdp, other, theta, seen), seen)
    assert worst(new[0], new_other[0]) < 8 * U
    assert new[1].tolist() == [0.5, 0.5]
    assert worst(new_other[1], 0.5) > 0.01


def fixed_setting(seed: int):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 4, 3, 0.9)
    policy, seen = SoftmaxPolicy(2, 3), rng.normal(size=(4, 2))
    H = rng.normal(size=(6, 6)) + 2 * np.eye(6)
    return mdp, policy, seen, rng.normal(size=6), H, rng.normal(size=6)


@pytest.mark.parametrize("seed", range(5))
def test_f4_f5_the_vanilla_gradient_and_damping_depend_on_coordinates(seed):
    """Controls that must fail: ∇J, and (F + λI)⁻¹∇J; λHᵀH in place of λI repairs the latter."""
    setting = fixed_setting(seed)
    mdp, policy, seen, theta, H, c = setting
    agreement = worst(*moved_policies(setting, natural_step))

    def vanilla(mdp, policy, theta, seen):
        return theta + 0.1 * policy_gradient(mdp, policy, theta, seen)

    def damped(mdp, policy, theta, seen):
        return theta + 0.01 * natural_gradient(mdp, policy, theta, seen, damping=0.1)

    assert agreement < 1e-11
    assert worst(*moved_policies(setting, vanilla)) > 1e-4
    assert worst(*moved_policies(setting, damped)) > 1e-4
    d = evaluate_policy(mdp, policy, theta, seen).state_distribution
    other = Reparameterised(policy, lambda phi: H @ phi + c, lambda phi: H)
    phi = np.linalg.solve(H, theta - c)
    F, g = fisher(other, phi, seen, d), policy_gradient(mdp, other, phi, seen)
    covariant = np.linalg.solve(F + 0.1 * H.T @ H, g)
    exact = natural_gradient(mdp, policy, theta, seen, damping=0.1)
    assert worst(H @ covariant, exact) < 1e-10 * np.abs(exact).max()


@pytest.mark.parametrize(("scale", "expected"), [(1, 1.14), (10, 12.5), (100, 1250)])
def test_f4_one_state_two_arms(scale, expected):
    """logit = scale·φ, ten steps of ½: vanilla runs away with the scale, NPG gives 5 each time."""
    line = Reparameterised(SoftmaxPolicy(1, 2), lambda p: np.array([0.0, scale * p[0]]), lambda p: (
        np.array([[0.0], [float(scale)]])))  # fmt: skip
    line.num_parameters = 1
    mdp, seen = one_state([0.0, 1.0], 0.0), np.ones((1, 1))
    vanilla, natural = np.zeros(1), np.zeros(1)
    for _ in range(10):
        vanilla = vanilla + 0.5 * policy_gradient(mdp, line, vanilla, seen)
        natural = natural + 0.5 * natural_gradient(mdp, line, natural, seen)
    assert scale * vanilla[0] == pytest.approx(expected, rel=5e-3)
    assert scale * natural[0] == pytest.approx(5, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_f3_nonlinear_coordinates_disagree_to_second_order(seed):
    """θ = sinh φ: one step of size α differs by O(α²), a log-log slope of two."""
    mdp, policy, seen, theta, *_ = fixed_setting(seed)
    curved = Reparameterised(policy, np.sinh, lambda phi: np.diag(np.cosh(phi)))
    phi = np.arcsinh(theta)
    steps = 0.01 * np.array([1e-3, 2e-3, 4e-3])
    errors = []
    for alpha in steps:
        new_theta = theta + alpha * natural_gradient(mdp, policy, theta, seen)
        new_phi = phi + alpha * natural_gradient(mdp, curved, phi, seen)
        p, q = policy.probabilities(new_theta, seen), curved.probabilities(new_phi, seen)
        errors.append(worst(p, q))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    # the third order bends the line by a relative α of a percent at most
    assert slope == pytest.approx(2, abs=0.02)


# --- G: divergence and trust region -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_g1_the_two_directions_part_at_third_order(seed):
    """Both are ½εᵀFε to second order; reverse − forward = κ₃/6, κ₃ the third cumulant of ε·φ."""
    mdp, policy, seen, theta, *_ = fixed_setting(seed)
    d = evaluate_policy(mdp, policy, theta, seen).state_distribution
    direction = np.random.default_rng(seed + 10).normal(size=6)
    direction /= np.linalg.norm(direction)
    F = fisher(policy, theta, seen, d)
    slopes = policy.scores(theta, seen) @ direction
    cumulant = d @ (policy.probabilities(theta, seen) * slopes**3).sum(axis=1)
    for eps in (1e-2, 1e-3, 1e-4):
        other = theta + eps * direction
        real = other - theta
        forward = kl(policy, theta, other, seen, d)
        reverse = kl(policy, theta, other, seen, d, direction="reverse")
        square = 0.5 * real @ F @ real
        bound = 4 * eps * square * np.abs(slopes).max() ** 3 / min(square / eps**2, 1)
        assert abs(forward - square) <= bound
        assert abs(reverse - square) <= bound
        # ten per cent for the next order at ε = 1e-2, then a hundredth of it each time
        third = (reverse - forward) / eps**3
        # fourth cumulants over κ₃: a generous constant times ε
        limit = 2 * eps * np.abs(slopes).max() ** 4 + 1e4 * U / eps
        assert abs(third - cumulant / 6) <= limit
        if eps < 1e-2:  # ✗ the other sign, or a third in place of a sixth
            assert abs(third + cumulant / 6) > limit
            assert abs(third - cumulant / 3) > limit


@pytest.mark.parametrize("seed", range(4))
def test_g4_the_divergence_of_a_trust_region_step(seed):
    """KL(old ‖ new) = δ + (√2/3) skew δ^{3/2}, the reverse direction 2√2/3."""
    mdp, policy, seen, theta, *_ = fixed_setting(seed)
    d = evaluate_policy(mdp, policy, theta, seen).state_distribution
    x = natural_gradient(mdp, policy, theta, seen)
    slopes = policy.scores(theta, seen) @ x
    pi = policy.probabilities(theta, seen)
    second, third = (d @ (pi * slopes**k).sum(axis=1) for k in (2, 3))
    skew = third / second**1.5
    for delta in (1e-4, 1e-6, 1e-8):
        new = trust_region_proposal(mdp, policy, theta, seen, delta)
        for name, factor in (("forward", np.sqrt(2) / 3), ("reverse", 2 * np.sqrt(2) / 3)):
            excess = kl(policy, theta, new, seen, d, name) - delta
            # the next order is δ², with a coefficient of the size of the kurtosis
            limit = 40 * np.sqrt(delta) + 1e3 * U / delta**0.5
            assert abs(excess / delta**1.5 - factor * skew) <= limit
        assert abs(skew) > 0.02 or seed


@pytest.mark.parametrize("seed", range(4))
def test_g5_the_surrogate_has_the_slope_of_the_objective(seed):
    mdp, policy, seen, theta, *_ = fixed_setting(seed)
    h = 1e-4
    numeric = np.array(
        [
            (surrogate(mdp, policy, theta, seen, theta + h * e)
             - surrogate(mdp, policy, theta, seen, theta - h * e)) / (2 * h)
            for e in np.eye(6)
        ]
    )  # fmt: skip
    g = policy_gradient(mdp, policy, theta, seen)
    # truncation h²·|L‴|/6 with |L‴| below 100; round-off u|L|/h is 1e-11
    assert worst(g, numeric) < 1e-6
    # ✗ L itself is not J: they part at second order
    far = theta + np.ones(6) * np.array([1, -1, 0.5, 0, 1, -1])
    difference = (
        surrogate(mdp, policy, theta, seen, far) - evaluate_policy(mdp, policy, far, seen).objective
    )
    assert abs(difference) > 1e-4


@EXAMPLES
@given(tabular(), st.integers(0, 10**6), st.sampled_from([0.01, 0.1, 1.0]))
def test_g3_the_trust_region_bound(setting, seed, size):
    """J′ >= L − 4εγ/(1 − γ)² α², ε = max|A|, α = max_s TV(π, π′)."""
    mdp, policy, theta = setting
    other = theta + size * np.random.default_rng(seed).normal(size=theta.size)
    found, after = (evaluate(mdp, table(policy, t)) for t in (theta, other))
    L = surrogate(mdp, policy, theta, None, other)
    alpha = 0.5 * np.abs(table(policy, other) - table(policy, theta)).sum(axis=1).max()
    eps, gamma = np.abs(advantage(found)).max(), mdp.discount
    assert after.objective >= L - 4 * eps * gamma / (1 - gamma) ** 2 * alpha**2 - 4 * slack(mdp)


def test_g3_with_the_square_of_the_divergence_is_false():
    """✗ α read as KL_max: its square is of fourth order, J′ − L of second."""
    broken = 0
    for seed in range(20):
        mdp, policy, seen, theta, *_ = fixed_setting(seed)
        found = evaluate_policy(mdp, policy, theta, seen)
        other = theta + 1e-2 * np.random.default_rng(seed).normal(size=6)
        rows = kl_rows(policy.probabilities(theta, seen), policy.probabilities(other, seen))
        eps = np.abs(advantage(found)).max()
        L = surrogate(mdp, policy, theta, seen, other)
        J = evaluate_policy(mdp, policy, other, seen).objective
        broken += L - 4 * eps * 0.9 / 0.01 * rows.max() ** 2 > J + 1e-12
    assert broken >= 5


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
