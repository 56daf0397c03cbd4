"""Linear-quadratic control: second routes by summation and differences, theorems I1 to I6."""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import worst

from npgcheck.errors import InvalidArgument, InvalidMDP
from npgcheck.lqr import (
    LinearQuadratic,
    evaluate_gain,
    gain_gradient,
    gauss_newton_step,
    natural_gradient,
    natural_step,
    optimal_gain,
    sigma_gradient,
)

SEEDS = range(6)
CASES = [(1.0, 0.0), (0.9, 0.0), (0.9, 0.5)]


def problem(seed: int, discount: float = 1.0, sigma: float = 0.0, n: int = 3, m: int = 2):
    """A stable system, so that a small gain costs a finite amount."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    A = 0.7 * A / np.abs(np.linalg.eigvals(A)).max()
    square = lambda k: (lambda M: M @ M.T + 0.1 * np.eye(k))(rng.normal(size=(k, k)))  # noqa: E731
    symmetric = lambda M: (M + M.T) / 2  # noqa: E731
    matrices = [symmetric(square(k)) for k in (n, m, n)]
    found = LinearQuadratic(A, rng.normal(size=(n, m)), *matrices, discount, sigma)
    return found, 0.05 * rng.normal(size=(m, n))


def simulated_cost(p: LinearQuadratic, K, steps: int = 3000) -> float:
    """Σ γᵗ E cost, by carrying the second moments forward: no equation is solved."""
    moments, total, weight = p.start, 0.0, 1.0
    L = p.A - p.B @ K
    for _ in range(steps):
        running = np.trace((p.Q + K.T @ p.R @ K) @ moments) + p.sigma**2 * np.trace(p.R)
        total, weight = total + weight * running, weight * p.discount
        moments = L @ moments @ L.T + p.sigma**2 * p.B @ p.B.T
    return total


def differences(function, at, step: float = 1e-6):
    """Central differences: truncation 1e-12 and round-off 1e-10, times costs of size 100."""
    out = np.zeros_like(at)
    for i in np.ndindex(*at.shape):
        change = np.zeros_like(at)
        change[i] = step
        out[i] = (function(at + change) - function(at - change)) / (2 * step)
    return out


@pytest.mark.parametrize(("discount", "sigma"), CASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_costs_and_gradients_by_a_second_route(seed, discount, sigma):
    p, K = problem(seed, discount, sigma)
    found = evaluate_gain(p, K)
    assert found.cost == pytest.approx(simulated_cost(p, K), rel=1e-10)
    exact = differences(lambda k: simulated_cost(p, k, 400), K)
    g = gain_gradient(p, K)
    size = np.abs(exact).max()
    assert worst(g, exact) < 1e-6 * size  # I1
    assert worst(g / 2, exact) > 0.1 * size  # ✗ without the factor 2
    if sigma:
        up, down = (
            LinearQuadratic(p.A, p.B, p.Q, p.R, p.start, discount, sigma + h) for h in (1e-5, -1e-5)
        )
        slope = (simulated_cost(up, K, 400) - simulated_cost(down, K, 400)) / 2e-5
        assert sigma_gradient(p, K) == pytest.approx(slope, rel=1e-6)  # I6


@pytest.mark.parametrize("seed", SEEDS)
def test_i6_the_natural_gradient_solves_the_fisher_system(seed):
    """F is built from the scores of u ~ N(−Kx, σ²I) as an explicit (mn, mn) matrix."""
    p, K = problem(seed, 0.9, 0.5)
    states = evaluate_gain(p, K).states
    F = np.kron(np.eye(2), states) / p.sigma**2  # E score scoreᵀ, rows of K one after another
    x = np.linalg.solve(F, gain_gradient(p, K).ravel()).reshape(2, 3)
    ours = natural_gradient(p, K)
    assert worst(ours, x) < 1e-9 * np.abs(x).max()
    assert worst(p.sigma * ours, x) > 1e-3 * np.abs(x).max()


@pytest.mark.parametrize(("discount", "sigma"), CASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_i3_the_cost_difference_is_exact(seed, discount, sigma):
    p, K = problem(seed, discount, sigma)
    other = K + 0.05 * np.random.default_rng(seed + 50).normal(size=K.shape)
    before, after = evaluate_gain(p, K), evaluate_gain(p, other)
    step = K - other
    H = p.R + discount * p.B.T @ before.cost_to_go @ p.B
    inner = step.T @ H @ step - 2 * step.T @ before.slope
    gap = after.cost - before.cost
    assert p.scale * np.trace(after.states @ inner) == pytest.approx(gap, rel=1e-9, abs=1e-10)
    assert abs(p.scale * np.trace(before.states @ inner) - gap) > 1e-6 * abs(gap)  # ✗ old states


@pytest.mark.parametrize("seed", SEEDS)
def test_i2_i4_i5_bounds_and_rates(seed):
    p, K = problem(seed)
    best = optimal_gain(p)
    least = evaluate_gain(p, best)
    mu, start = np.linalg.eigvalsh(p.start).min(), evaluate_gain(p, K)
    size = np.linalg.norm(least.states, 2)
    assert worst(least.slope, 0) < 1e-9
    H = p.R + p.B.T @ start.cost_to_go @ p.B
    norm, E, gap = np.linalg.norm(H, 2), start.slope, start.cost - least.cost
    assert mu / norm * np.trace(E.T @ E) <= gap * (1 + 1e-9)
    assert gap <= size * np.trace(E.T @ np.linalg.solve(H, E)) * (1 + 1e-9)
    for alpha in (1.0, 0.5):  # Gauss–Newton: factor 1 − αμ/‖Σ*‖
        after = evaluate_gain(p, gauss_newton_step(p, K, alpha)).cost - least.cost
        assert after <= (1 - alpha * mu / size) * gap + 1e-10
    # natural step: factor 1 − αμσ_min(R)/‖Σ*‖ with α = 1/‖H‖
    after = evaluate_gain(p, natural_step(p, K, 1 / norm)).cost - least.cost
    assert after <= (1 - mu * np.linalg.eigvalsh(p.R).min() / (norm * size)) * gap + 1e-10
    policy_iteration = K
    for _ in range(30):
        policy_iteration = gauss_newton_step(p, policy_iteration)
    assert worst(policy_iteration, best) < 1e-9


def test_i5_the_factor_two_trap():
    one = np.eye(1)
    p = LinearQuadratic(one, one, one, one, one)
    K = path = 1.2
    for expected in (4 / 17, 1.2, 4 / 17):  # ✗ K − 2E/H: a cycle, never an optimum
        found = evaluate_gain(p, [[path]])
        path = path - 2 * found.slope[0, 0] / (1 + found.cost_to_go[0, 0])
        assert path == pytest.approx(expected, abs=1e-12)
    for _ in range(4):
        K = gauss_newton_step(p, [[K]])[0, 0]
    assert pytest.approx((np.sqrt(5) - 1) / 2, abs=1e-6) == K


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": np.eye(3)}, r"A must have shape \(2, 2\)"),
        ({"Q": [[1.0, 1.0], [0.0, 1.0]]}, "Q must be symmetric"),
        ({"R": [[-1.0]]}, "R must be positive definite"),
        ({"discount": 0.0}, "discount must lie in"),
        ({"sigma": 1.0}, "the cost is infinite"),
        ({"start": [[np.nan, 0], [0, 1]]}, "start must be finite"),
        ({"B": np.ones(2)}, "B must have shape"),
    ],
)
def test_bad_systems_are_refused(change, message):
    parts = {"A": np.eye(2), "B": np.ones((2, 1)), "Q": np.eye(2), "R": np.eye(1)}
    with pytest.raises(InvalidMDP, match=message):
        LinearQuadratic(**{**parts, "start": np.eye(2), **change})


def test_bad_gains_are_refused():
    p = LinearQuadratic(np.eye(2), np.ones((2, 1)), np.eye(2), np.eye(1), np.eye(2))
    with pytest.raises(InvalidArgument, match=r"shape \(m, n\) = \(1, 2\)"):
        evaluate_gain(p, np.zeros((2, 1)))
    with pytest.raises(InvalidArgument, match="spectral radius 1"):
        evaluate_gain(p, np.zeros((1, 2)))
    with pytest.raises(InvalidArgument, match="needs sigma > 0"):
        natural_gradient(p, np.zeros((1, 2)))
