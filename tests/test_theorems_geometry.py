"""Reparameterisation (F), divergence and trust region (G): each beside its false variant.

Sources: Kakade (2001); Schulman et al. (2015); Achiam et al. (2017). The constants are tested here,
not trusted; what is derived for every size is in proofs/.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from math_cases import U, condition, random_mdp, worst
from theorem_cases import (
    EXAMPLES,
    FEW,
    Array,
    advantage,
    bounded_mdps,
    kl_rows,
    one_state,
    slack,
    table,
    tabular,
)

from npgcheck import strategies
from npgcheck.exact import evaluate, evaluate_policy
from npgcheck.fisher import fisher, kl
from npgcheck.gradient import policy_gradient, surrogate
from npgcheck.mdp import MDP
from npgcheck.natural import natural_gradient, trust_region_proposal
from npgcheck.policy import DiscretePolicy, SoftmaxPolicy

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
