"""Each number that the sb3-contrib adapter hands over, against closed forms.

The expected values are in ``closed_forms.py`` and use nothing of npgcheck's mathematics, so that a
line of the library's verdict is confirmed by a second route. Tolerances are float32 round-off
(u = 6e-8) times the hundred or so additions behind a number, unless a comment says otherwise.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sb3_contrib", reason="needs the sb3 extra")
from closed_forms import (
    DAMPING,
    Categorical,
    Gaussian,
    Network,
    damped,
    elsewhere,
    gradient,
    metric,
    surrogate,
)

from npgcheck import Unsupported
from npgcheck.adapters import sb3_contrib as adapter

pytestmark = pytest.mark.sb3

CLOSE = {"rtol": 2e-5, "atol": 2e-6}


CASES = {
    "tabular": Categorical(tabular=True),
    "softmax": Categorical(),
    "softmax-steep": Categorical(scale=5.0),
    "mlp": Network(),
    "gaussian-1": Gaussian(1, seed=3),
    "gaussian-2": Gaussian(2, seed=3),
    "gaussian-5": Gaussian(5),
}


@pytest.fixture(autouse=True)
def _random_starts_begin_anew(monkeypatch):
    """The library's solver starts at random: no test may depend on those that ran before it."""
    monkeypatch.setattr(adapter, "_seeds", itertools.count())
    adapter._build.cache_clear()


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_log_prob_and_score(case):
    problem = case.problem
    for state, action in zip(case.states[:5], case.actions[:5], strict=True):
        x = problem.observations[state]
        expected = case.log_prob(problem.theta, x, action)
        np.testing.assert_allclose(adapter.log_prob(problem, state, action), expected, **CLOSE)
        expected = case.score(problem.theta, x, action)
        np.testing.assert_allclose(adapter.score(problem, state, action), expected, **CLOSE)


def test_policy_gradient_is_the_batch_mean_without_the_factor_of_the_horizon(case):
    np.testing.assert_allclose(adapter.policy_gradient(case.problem), gradient(case), **CLOSE)


def test_the_product_carries_the_damping(case):
    vector = np.random.default_rng(1).normal(size=case.problem.theta.size)
    product = adapter.fisher_vector_product(case.problem, vector)
    # Entries of F come out near ‖F‖ with a round-off of their own, whatever their sum is.
    atol = 2e-6 * max(1.0, np.linalg.norm(metric(case), 2))
    np.testing.assert_allclose(product, damped(case) @ vector, rtol=2e-5, atol=atol)
    assert np.abs(product - metric(case) @ vector).max() > 0.01


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_a_gaussian_divergence_is_averaged_over_the_action_dimensions(dimensions):
    """KL and F of m independent dimensions are sums; both come out m times too small.

    kl_divergence() returns (rows, m) for a diagonal Gaussian (distributions.py line 737) and
    train() takes ``.mean()`` over everything (trpo.py lines 284 and 336). Right only for m = 1.
    """
    case = Gaussian(dimensions)
    theta, new = case.problem.theta, elsewhere(case)
    ratio = case.kl(new, theta) / adapter.kl(case.problem, new)
    assert ratio == pytest.approx(dimensions, rel=1e-4)
    columns = np.eye(theta.size)
    product = np.array([adapter.fisher_vector_product(case.problem, v) for v in columns])
    undamped = product - DAMPING * columns
    np.testing.assert_allclose(dimensions * undamped, case.fisher(theta), rtol=1e-4, atol=1e-5)


def test_the_logged_divergence_of_an_ordinary_run_is_averaged_too():
    """No adapter here: TRPO as its users run it, its own network, defaults, four action dimensions.

    The divergence that the library logs for its step is compared with the sum over dimensions,
    from the means and standard deviations before and after.
    """
    import gymnasium
    import torch
    from sb3_contrib import TRPO

    class Reach(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = 20
            self.place = self.np_random.uniform(-1, 1, size=3).astype(np.float32)
            return self.place, {}

        def step(self, action):
            self.left -= 1
            reward = -float(((action[:3] - self.place) ** 2).sum() + action[3] ** 2)
            self.place = self.np_random.uniform(-1, 1, size=3).astype(np.float32)
            return self.place, reward, False, self.left == 0, {}

    def means_and_stds():
        rows = torch.as_tensor(model.rollout_buffer.observations.reshape(-1, 3))
        with torch.no_grad():
            normal = model.policy.get_distribution(rows).distribution
        return normal.mean.double().numpy(), normal.stddev.double().numpy()

    model = TRPO("MlpPolicy", Reach(), n_steps=256, batch_size=64, seed=0, device="cpu")
    train, seen = model.train, []

    def train_watched():
        seen.append(means_and_stds())
        train()
        seen.append(means_and_stds())

    model.train = train_watched
    model.learn(256)
    (old_mean, old_std), (mean, std) = seen
    terms = np.log(old_std / std) + (std**2 + (mean - old_mean) ** 2) / (2 * old_std**2) - 0.5
    logged = model.logger.name_to_value["train/kl_divergence_loss"]
    assert 0 < logged < model.target_kl
    assert terms.sum(axis=1).mean() == pytest.approx(4 * logged, rel=1e-3)


def test_kl_is_of_the_new_policy_from_the_old_one(case):
    """train() takes KL(π_new ‖ π_old); the paper's constraint is KL(π_old ‖ π_new)."""
    new = elsewhere(case)
    measured = case.averaged * adapter.kl(case.problem, new)
    assert measured == pytest.approx(case.kl(new, case.problem.theta), rel=1e-4)
    assert measured != pytest.approx(case.kl(case.problem.theta, new), rel=1e-2)


def test_surrogate_is_the_mean_weighted_advantage(case):
    new = elsewhere(case)
    assert adapter.surrogate(case.problem, new) == pytest.approx(surrogate(case, new), rel=1e-4)


def test_natural_gradient_solves_the_damped_system(case):
    """The solver stops at ‖residual‖ < 1e-5, and the least eigenvalue is at least the damping."""
    exact = np.linalg.solve(damped(case), gradient(case))
    measured = adapter.natural_gradient(case.problem)
    np.testing.assert_allclose(measured, exact, rtol=0, atol=1e-5 / DAMPING + 1e-5)


def test_proposal_has_the_length_of_the_damped_quadratic_model(case):
    """Displacement √(2δ / xᵀ(F + λI)x) x, with the damped matrix in the length as well."""
    max_kl = 0.02
    x = np.linalg.solve(damped(case), gradient(case))
    length = np.sqrt(2 * max_kl / (x @ damped(case) @ x))
    measured = adapter.trust_region_proposal(case.problem, max_kl) - case.problem.theta
    np.testing.assert_allclose(measured, length * x, atol=1e-4)
    undamped = np.sqrt(2 * max_kl / (x @ metric(case) @ x))
    assert undamped > 1.02 * length


@pytest.mark.parametrize("max_kl", [0.01, 0.1, 1.0, 10.0])
def test_step_is_the_first_shrunk_proposal_inside_the_region_that_improves(case, max_kl):
    """0.8^j for the first j < 10 with KL(new ‖ old) < δ and a larger surrogate; otherwise θ."""
    theta = case.problem.theta
    x = np.linalg.solve(damped(case), gradient(case))
    full = np.sqrt(2 * max_kl / (x @ damped(case) @ x)) * x
    expected = theta
    for j in range(10):
        candidate = theta + 0.8**j * full
        inside = case.kl(candidate, theta) / case.averaged < max_kl
        if inside and surrogate(case, candidate) > surrogate(case, theta):
            expected = candidate
            break
    measured = adapter.trust_region_step(case.problem, max_kl)
    np.testing.assert_allclose(measured, expected, atol=2e-4 * max(1.0, np.abs(full).max()))


def test_the_line_search_was_made_to_work():
    """The test above says nothing about 0.8, or about giving up, unless both occurred in it."""
    counts = []
    for case in CASES.values():
        for max_kl in (0.1, 1.0, 10.0):
            proposal = adapter.trust_region_proposal(case.problem, max_kl) - case.problem.theta
            step = adapter.trust_region_step(case.problem, max_kl) - case.problem.theta
            ratio = np.linalg.norm(step) / np.linalg.norm(proposal)
            counts.append(round(np.log(ratio) / np.log(0.8)) if ratio > 1e-3 else 10)
    assert {0, 1, 2, 3, 5, 8, 10} <= set(counts)  # 10: ten refusals, θ unchanged


def test_conjugate_gradient_starts_at_random_and_stops_at_an_absolute_residual():
    matrix = np.diag([1.0, 2.0, 3.0, 4.0, 5.0])
    b = np.array([1.0, -2.0, 0.5, 3.0, 1.0])
    solved = adapter.conjugate_gradient(lambda v: matrix @ v, b, 5)
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, b), atol=2e-5)

    # Two iterations from a start of size 1e-4 are two iterations from zero to about that size.
    two = [adapter.conjugate_gradient(lambda v: matrix @ v, b, 2) for _ in range(2)]
    spread = np.abs(two[0] - two[1]).max()
    assert 1e-6 < spread < 1e-3

    # A right-hand side below 1e-5 is answered by the random start itself.
    small = adapter.conjugate_gradient(lambda v: 1e-3 * matrix @ v, 1e-6 * b, 5)
    assert np.abs(small).max() < 1e-3
    assert np.linalg.norm(small - np.linalg.solve(1e-3 * matrix, 1e-6 * b)) > 1e-3


def test_the_direction_of_a_small_gradient_is_not_found():
    """Residuals below 1e-5 end the solve: x of a thousandth of a gradient is no thousandth of x."""
    case = Categorical()
    exact = np.linalg.solve(damped(case), gradient(case))

    def error(factor):
        batch = SimpleNamespace(**vars(case.problem.batch))
        batch.advantages = factor * batch.advantages
        scaled = SimpleNamespace(**{**vars(case.problem), "batch": batch})
        x = adapter.natural_gradient(scaled) / factor
        return np.linalg.norm(x - exact) / np.linalg.norm(exact)

    assert error(1.0) < 1e-4
    assert error(1e-3) > 1e-3
    assert error(1e-5) > 0.1


def test_kl_is_infinite_where_a_probability_underflows():
    """torch calls KL(p ‖ q) infinite where q is zero in float32; q = exp(-120) > 0 is such a q.

    The true divergence is about 80 nats. The line search refuses both.
    """
    case = Categorical(tabular=True)
    new = np.zeros_like(case.problem.theta)
    old = new.copy()
    old[0::3] = 120.0
    case.problem.theta = old
    assert case.kl(new, old) == pytest.approx(80.0, rel=0.02)
    assert adapter.kl(case.problem, new) == np.inf


def test_runs_repeat_and_leave_the_global_random_state_alone(case):
    import torch

    np.random.seed(5)
    torch.manual_seed(5)
    adapter.natural_gradient(case.problem)
    after = np.random.random(), float(torch.rand(()))
    np.random.seed(5)
    torch.manual_seed(5)
    assert after == (np.random.random(), float(torch.rand(())))


def gae(rewards, values, next_values, terminated, truncated, discount, lam):
    """Schulman et al. (2016), equation 16, as a sum over the rest of the episode."""
    length = len(rewards)
    delta = rewards + discount * next_values * ~terminated - values
    advantages = np.zeros(length)
    for t in range(length):
        weight = 1.0
        for step in range(t, length):
            advantages[t] += weight * delta[step]
            weight *= discount * lam
            if terminated[step] or truncated[step]:
                break
    return advantages


@pytest.mark.parametrize("end", ["terminated", "truncated", "running"])
def test_advantage_estimate_over_several_episodes(end):
    rng = np.random.default_rng(3)
    length = 12
    rewards, values, next_values = rng.normal(size=(3, length))
    terminated, truncated = np.zeros((2, length), bool)
    terminated[3] = truncated[7] = True
    if end == "terminated":
        terminated[-1] = True
    if end == "truncated":
        truncated[-1] = True
    for t in range(length - 1):
        if not (terminated[t] or truncated[t]):
            next_values[t] = values[t + 1]
    rows = rewards, values, next_values, terminated, truncated, 0.9, 0.7
    np.testing.assert_allclose(adapter.advantage_estimate(*rows), gae(*rows), **CLOSE)


def test_rows_the_library_cannot_hold_are_declined():
    zeros, never = np.zeros(3), np.zeros(3, bool)
    with pytest.raises(Unsupported, match="one value per visited state"):
        adapter.advantage_estimate(zeros, zeros, np.ones(3), never, never, 0.9, 0.9)
    variance = Gaussian(2).problem
    variance.policy = SimpleNamespace(sigma="variance")
    with pytest.raises(Unsupported, match="log_std"):
        adapter.policy_gradient(variance)


@pytest.mark.parametrize(
    ("name", "planted", "test"),
    [
        ("score", 1.001, test_log_prob_and_score),
        (
            "policy_gradient",
            1.001,
            test_policy_gradient_is_the_batch_mean_without_the_factor_of_the_horizon,
        ),
        ("fisher_vector_product", 1.001, test_the_product_carries_the_damping),
        ("kl", 1.001, test_kl_is_of_the_new_policy_from_the_old_one),
        ("surrogate", 1.001, test_surrogate_is_the_mean_weighted_advantage),
        ("natural_gradient", 1.001, test_natural_gradient_solves_the_damped_system),
        (
            "trust_region_proposal",
            1.001,
            test_proposal_has_the_length_of_the_damped_quadratic_model,
        ),
    ],
)
def test_these_comparisons_notice_a_thousandth(monkeypatch, name, planted, test):
    original = getattr(adapter, name)
    monkeypatch.setattr(adapter, name, lambda *args: planted * original(*args))
    with pytest.raises(AssertionError):
        test(CASES["softmax"])


@pytest.mark.parametrize(
    ("setting", "planted", "test", "args"),
    [
        ("cg_damping", 0.101, test_the_product_carries_the_damping, ()),
        ("cg_max_steps", 2, test_natural_gradient_solves_the_damped_system, ()),
        (
            "line_search_shrinking_factor",
            0.79,
            test_step_is_the_first_shrunk_proposal_inside_the_region_that_improves,
            (0.1,),
        ),
        (
            "line_search_max_iter",
            5,
            test_step_is_the_first_shrunk_proposal_inside_the_region_that_improves,
            (1.0,),
        ),
    ],
)
def test_these_comparisons_notice_another_setting(monkeypatch, setting, planted, test, args):
    case = CASES["softmax-steep"]
    monkeypatch.setattr(adapter._learner(case.problem).trpo, setting, planted)
    with pytest.raises(AssertionError):
        test(case, *args)
