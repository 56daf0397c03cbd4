"""Divergence and trust region: each statement beside its false variant.

Sources: Kakade (2001); Schulman et al. (2015); Achiam et al. (2017). The constants are tested here,
not trusted; what is derived for every size is in proofs/.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from math_cases import U, worst
from theorem_cases import (
    EXAMPLES,
    Array,
    advantage,
    fixed_setting,
    kl_rows,
    slack,
    softmax,
    table,
    tabular,
)

from npgcheck.exact import evaluate, evaluate_policy
from npgcheck.fisher import fisher, kl
from npgcheck.gradient import policy_gradient, surrogate
from npgcheck.mdp import MDP
from npgcheck.natural import natural_gradient, trust_region_proposal
from npgcheck.policy import GaussianPolicy

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


@EXAMPLES
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_g1_gaussian_third_orders_in_both_coordinates(seed, m):
    """Along (σα, β): −β(α² + ⅔β²), ⅔β³ in (μ, log σ); −β(α² + 5β²/3), −β³/3 in (μ, σ)."""
    rng = np.random.default_rng(seed)
    mu, std = rng.normal(size=m), np.exp(rng.normal(size=m) / 2)
    alpha, beta = rng.uniform(-1, 1, size=(2, m))
    exact = {
        ("log_std", "forward"): -beta * (alpha**2 + 2 * beta**2 / 3),
        ("log_std", "reverse"): 2 * beta**3 / 3,
        ("std", "forward"): -beta * (alpha**2 + 5 * beta**2 / 3),
        ("std", "reverse"): -(beta**3) / 3,
    }
    found = {}
    for sigma, way in exact:
        policy, t = GaussianPolicy(1, m, sigma=sigma), 1e-3
        theta = np.concatenate([mu, np.log(std) if sigma == "log_std" else std])
        step = np.concatenate([std * alpha, beta if sigma == "log_std" else std * beta])
        plus, minus = (
            kl(policy, theta, theta + s * step, np.ones((1, 1)), np.ones(1), way) for s in (t, -t)
        )
        found[sigma, way] = (plus - minus) / (2 * t**3)
    # t² times fifth orders below 10 m, and u/t³ times KL
    for key, value in exact.items():
        assert found[key] == pytest.approx(value.sum(), abs=1e-4)
    if abs((beta**3).sum()) > 1e-2:  # ✗ one coordinate system read as the other
        for way in ("forward", "reverse"):
            assert abs(found["log_std", way] - exact["std", way].sum()) > 1e-3
    # their difference is a sixth of the same tensor in both
    tensor = (6 * alpha**2 * beta + 8 * beta**3).sum() / 6
    for sigma in ("log_std", "std"):
        assert found[sigma, "reverse"] - found[sigma, "forward"] == pytest.approx(tensor, abs=2e-4)


def bounds(mdp: MDP, old: Array, new: Array) -> dict[str, float]:
    """J′ − L and what bounds it, at two tables of probabilities."""
    found, after = evaluate(mdp, old), evaluate(mdp, new)
    gamma, d = mdp.discount, found.state_distribution
    gain = (new * advantage(found)).sum(axis=1)  # E_{π′} A in every state
    variation = 0.5 * np.abs(new - old).sum(axis=1)
    factor = gamma / (1 - gamma) ** 2
    return {
        "difference": after.objective - found.objective - d @ gain / (1 - gamma),
        "cpo": 2 * factor * np.abs(gain).max() * (d @ variation),
        "span": factor * (gain.max() - gain.min()) * (d @ variation),
        "mean kl": 4 * factor * np.abs(advantage(found)).max() * (d @ kl_rows(old, new)),
        "trpo": 4 * factor * np.abs(advantage(found)).max() * variation.max() ** 2,
    }


@EXAMPLES
@given(tabular(), st.integers(0, 10**6), st.sampled_from([0.01, 0.1, 1.0]))
def test_g3_with_the_expected_advantage_and_its_span(setting, seed, size):
    """|J′ − L| <= 2γε′/(1 − γ)² E_d TV, ε′ = max_s |E_{π′} A|; max − min in place of 2ε′."""
    mdp, policy, theta = setting
    other = theta + size * np.random.default_rng(seed).normal(size=theta.size)
    b = bounds(mdp, table(policy, theta), table(policy, other))
    assert abs(b["difference"]) <= b["cpo"] + 4 * slack(mdp)
    assert abs(b["difference"]) <= b["span"] + 4 * slack(mdp)
    assert b["span"] <= b["cpo"] * (1 + 4 * U) + 4 * slack(mdp)


@EXAMPLES
@given(tabular(), st.integers(0, 10**6), st.floats(0.01, 1))
def test_g3_mixtures(setting, seed, share):
    """π′ = (1 − α)π + απ̃: J′ >= L − 2γε/(1 − γ)² α², ε = max_s |E_π̃ A|."""
    mdp, policy, theta = setting
    old = table(policy, theta)
    target = softmax(np.random.default_rng(seed).normal(size=old.shape))
    gain = np.abs((target * advantage(evaluate(mdp, old))).sum(axis=1)).max()
    b = bounds(mdp, old, (1 - share) * old + share * target)
    limit = 2 * mdp.discount / (1 - mdp.discount) ** 2 * gain * share**2
    assert b["difference"] >= -limit - 4 * slack(mdp)


def chain(rewards: list[list[float]], discount: float) -> MDP:
    """State 0: stay, or go on to state 1, which is kept."""
    P = np.zeros((2, 2, 2))
    P[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1]] = 1
    return MDP(P, rewards, discount, [1.0, 0.0])


def test_g3_false_variants():
    # ✗ the mean KL with TRPO's constant: a small γ, the harm is in a state seldom visited
    mdp = chain([[0.5, 0.5], [1.0, 0.0]], 0.01)
    b = bounds(mdp, np.array([[0.8, 0.2], [0.5, 0.5]]), np.array([[0.79, 0.21], [0.3, 0.7]]))
    assert -b["difference"] > 2 * b["mean kl"]
    assert abs(b["difference"]) <= min(b["trpo"], b["cpo"], b["span"])
    # ✗ half of the constant with ε′, nine tenths of that with the span
    mdp = chain([[1.0, 1.0], [1.0, 0.0]], 0.1)
    b = bounds(mdp, np.array([[0.05, 0.95], [0.4, 0.6]]), np.full((2, 1), 1) * [0.35, 0.65])
    assert 0.5 * b["cpo"] < 0.6 * b["cpo"] < abs(b["difference"]) <= b["cpo"]
    assert 0.9 * b["span"] < abs(b["difference"]) <= b["span"]
    # ✗ half of the constant for mixtures
    mdp, share = chain([[0.0, 0.0], [1.0, 0.0]], 0.1), 0.1
    old, target = np.full((2, 1), 1) * [0.99, 0.01], np.full((2, 1), 1) * [0.01, 0.99]
    gain = np.abs((target * advantage(evaluate(mdp, old))).sum(axis=1)).max()
    b = bounds(mdp, old, (1 - share) * old + share * target)
    limit = 2 * 0.1 / 0.9**2 * gain * share**2
    assert 0.5 * limit < -b["difference"] <= limit
