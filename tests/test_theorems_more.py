"""Function approximation, path and state Fisher matrices, Chentsov, PPO, and two experiments.

Each statement stands beside its false variant. Sources: Sutton et al. (2000); Kakade (2001);
Morimura et al. (2008); Schulman et al. (2017); what is marked derived is in ``proofs/``.
"""

from __future__ import annotations

import itertools

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from math_cases import random_mdp, worst
from scipy.integrate import solve_ivp
from scipy.special import expit

from npgcheck.average_reward import average_reward_gradient, evaluate_average
from npgcheck.exact import evaluate
from npgcheck.fisher import fisher, kl
from npgcheck.gradient import policy_gradient, surrogate
from npgcheck.mdp import MDP
from npgcheck.named_mdps import kakade_two_state
from npgcheck.natural import natural_gradient
from npgcheck.policy import SoftmaxPolicy

SEEDS = range(6)
CLOSE = 1e-9


def shared(seed: int, S: int = 4, A: int = 3, k: int = 2, discount: float = 0.8):
    """An MDP and a softmax policy over k shared features."""
    rng = np.random.default_rng(seed)
    mdp, policy = random_mdp(rng, S, A, discount), SoftmaxPolicy(k, A)
    return mdp, policy, rng.normal(size=k * A), rng.normal(size=(S, k))


def fitted(mdp, policy, theta, seen, target):
    """argmin_w E_{d,π}(target − wᵀ∇log π)², the shortest."""
    pi = policy.probabilities(theta, seen)
    found = evaluate(mdp, pi)
    root = np.sqrt(found.state_distribution[:, None] * pi).reshape(-1, 1)
    scores = policy.scores(theta, seen).reshape(root.size, -1)
    return np.linalg.lstsq(root * scores, root[:, 0] * target.ravel(), rcond=1e-12)[0]


# --- E: function approximation ------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_e1_the_best_fit_of_the_advantage_is_the_natural_gradient(seed):
    mdp, policy, theta, seen = shared(seed)
    found = evaluate(mdp, policy.probabilities(theta, seen))
    w = fitted(mdp, policy, theta, seen, found.advantage)
    x = natural_gradient(mdp, policy, theta, seen)
    assert worst(w / (1 - 0.8), x) < CLOSE
    assert worst(fitted(mdp, policy, theta, seen, found.q_value), w) < CLOSE
    assert worst(w, x) > 1e-3  # ✗ without 1/(1 − γ)
    # ✗ weighted by ρ in place of d
    pi = policy.probabilities(theta, seen)
    root = np.sqrt(mdp.initial_distribution[:, None] * pi).reshape(-1, 1)
    scores = policy.scores(theta, seen).reshape(root.size, -1)
    other = np.linalg.lstsq(root * scores, root[:, 0] * found.advantage.ravel(), rcond=1e-12)[0]
    assert worst(other / (1 - 0.8), x) > 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_e2_average_reward_has_no_factor(seed):
    mdp, policy, theta, seen = shared(seed)
    pi = policy.probabilities(theta, seen)
    found = evaluate_average(mdp, pi)
    root = np.sqrt(found.state_distribution[:, None] * pi).reshape(-1, 1)
    scores = policy.scores(theta, seen).reshape(root.size, -1)
    w = np.linalg.lstsq(root * scores, root[:, 0] * found.advantage.ravel(), rcond=1e-12)[0]
    F = fisher(policy, theta, seen, found.state_distribution)
    g = average_reward_gradient(mdp, policy, theta, seen)
    assert worst(F @ w, g) < CLOSE
    assert worst(F @ w / (1 - 0.8), g) > 1e-4


def test_e3_greedy_in_the_limit_and_kakades_aside():
    # one state, φ = (3, 1), (0, −1), (−1, −2), r = (0, 4, 1), uniform π
    phi, r = np.array([[3.0, 1], [0, -1], [-1, -2]]), np.array([0.0, 4, 1])
    scores = phi - phi.mean(axis=0)
    A = r - r.mean()
    w = np.linalg.solve(scores.T @ scores / 3, scores.T @ A / 3)
    f = scores @ w
    assert f == pytest.approx([-5 / 3, 7 / 3, -2 / 3], abs=1e-12)
    natural, vanilla = phi @ w, phi @ (scores.T @ A / 3)
    assert natural.argmax() == f.argmax() == 1  # far along it, the greedy action of the fit
    assert vanilla.argmax() == 2  # ✗ "the vanilla limit selects a better action" than average
    assert f[2] < 0


@pytest.mark.parametrize("seed", SEEDS)
def test_e4_a_natural_step_moves_the_policy_by_the_fit(seed):
    """π′ = π(1 + αf) + O(α²), with f the compatible fit; the printed statement drops α."""
    mdp, policy, theta, seen = shared(seed)
    pi, x = policy.probabilities(theta, seen), natural_gradient(mdp, policy, theta, seen)
    f = policy.scores(theta, seen) @ x
    error = [
        worst(policy.probabilities(theta + a * x, seen), pi * (1 + a * f)) for a in (1e-3, 1e-4)
    ]
    assert error[1] == pytest.approx(error[0] / 100, rel=0.1)
    assert worst(policy.probabilities(theta + 1e-3 * x, seen), pi * (1 + f)) > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_e5_a_compatible_critic_gives_the_exact_gradient(seed):
    mdp, policy, theta, seen = shared(seed)
    pi = policy.probabilities(theta, seen)
    found = evaluate(mdp, pi)
    scores = policy.scores(theta, seen)
    mass = found.state_distribution[:, None] * pi / (1 - 0.8)
    w = fitted(mdp, policy, theta, seen, found.advantage)
    g = np.einsum("sa,sad->d", mass * (scores @ w), scores)
    assert worst(g, policy_gradient(mdp, policy, theta, seen)) < CLOSE
    half = np.einsum("sa,sad->d", mass * (scores @ (w * np.array([1, 0] * 3))), scores)
    assert worst(half, policy_gradient(mdp, policy, theta, seen)) > 1e-4  # ✗ any critic


def test_e7_log_linear_natural_steps_are_not_monotone():
    """Tabular steps improve every state whatever η; with shared features J itself may fall."""
    fell = []
    for seed in range(30):
        mdp, policy, theta, seen = shared(seed, k=1, discount=0.9)
        for tabular in (False, True):
            if tabular:
                policy, seen = SoftmaxPolicy(4, 3), np.eye(4)
                theta = np.random.default_rng(seed).normal(size=12)
            x = natural_gradient(mdp, policy, theta, seen)
            J = [
                evaluate(mdp, policy.probabilities(theta + a * x, seen)).objective
                for a in (0.0, 3.0)
            ]
            fell.append(J[1] < J[0] - 1e-6)
    assert any(fell[::2])
    assert not any(fell[1::2])


# --- H: path and state Fisher matrices ----------------------------------------------------------


def path_fisher(mdp, policy, theta, seen, T: int):
    """E of the outer product of the whole path's score, by enumerating paths."""
    pi, scores = policy.probabilities(theta, seen), policy.scores(theta, seen)
    S, A = pi.shape
    F = np.zeros((theta.size, theta.size))
    for path in itertools.product(*([range(S), range(A)] * T)):
        states, actions = path[::2], path[1::2]
        chance = mdp.initial_distribution[states[0]]
        for h, (s, a) in enumerate(zip(states, actions, strict=True)):
            chance = chance * pi[s, a]
            if h + 1 < T:
                chance = chance * mdp.transitions[s, a, states[h + 1]]
        score = sum(scores[s, a] for s, a in zip(states, actions, strict=True))
        F += chance * np.outer(score, score)
    return F


@pytest.mark.parametrize("seed", range(3))
def test_h1_the_path_fisher_matrix(seed):
    mdp, policy, theta, seen = shared(seed, S=2, A=2)
    pi, T = policy.probabilities(theta, seen), 4
    chain, visited, total = mdp.policy_transitions(pi), mdp.initial_distribution, 0
    for _ in range(T):
        total = total + fisher(policy, theta, seen, visited)
        visited = visited @ chain
    exact = path_fisher(mdp, policy, theta, seen, T)
    assert worst(total, exact) < CLOSE
    assert worst(T * fisher(policy, theta, seen, mdp.initial_distribution), exact) > 1e-5
    # F_T/T → F at O(1/T): ten times the length, a tenth of the error
    limit = fisher(policy, theta, seen, evaluate_average(mdp, pi).state_distribution)
    error, visited, total = [], mdp.initial_distribution, 0
    for t in range(1, 4001):
        total = total + fisher(policy, theta, seen, visited)
        visited = visited @ chain
        if t in (400, 4000):
            error.append(worst(total / t, limit))
    assert error[1] == pytest.approx(error[0] / 10, rel=1e-3)
    # discounted: Σ γᵗ E F_s = F/(1 − γ)
    visited, total = mdp.initial_distribution, 0
    for t in range(250):
        total = total + 0.8**t * fisher(policy, theta, seen, visited)
        visited = visited @ chain
    F = fisher(policy, theta, seen, evaluate(mdp, pi).state_distribution)
    assert worst(total, F / (1 - 0.8)) < CLOSE


@pytest.mark.parametrize("seed", range(3))
def test_h2_the_joint_fisher_matrix_adds_that_of_the_states(seed):
    """Morimura et al.: F_SA = F_S + F, with the stationary law's own dependence on θ."""
    mdp, policy, theta, seen = shared(seed)

    def joint(t):
        logits = anp.dot(seen, t.reshape(2, 3))
        pi = anp.exp(logits) / anp.sum(anp.exp(logits), axis=1, keepdims=True)
        chain = anp.einsum("sa,sat->st", pi, mdp.transitions)
        d = anp.linalg.solve(anp.transpose(anp.eye(4) - chain + anp.ones((4, 4))), anp.ones(4))
        return d, d[:, None] * pi

    d, both = joint(theta)
    slope_d = autograd.jacobian(lambda t: joint(t)[0])(theta)
    slope = autograd.jacobian(lambda t: joint(t)[1].ravel())(theta)
    F_states = slope_d.T @ (slope_d / d[:, None])
    F_joint = slope.T @ (slope / both.ravel()[:, None])
    F = fisher(policy, theta, seen, d)
    assert worst(F_joint, F_states + F) < CLOSE
    assert worst(F_joint, F) > 1e-6  # ✗ the states do depend on θ


# --- K: Newton and Chentsov ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_k2_the_hessian_of_kl_from_any_target_is_the_fisher_matrix(seed):
    rng = np.random.default_rng(seed)
    phi, theta, target = rng.normal(size=(4, 2)), rng.normal(size=2), rng.dirichlet(np.ones(4))
    log_pi = lambda t: anp.dot(phi, t) - anp.log(anp.sum(anp.exp(anp.dot(phi, t))))  # noqa: E731
    pi = np.exp(log_pi(theta))
    centred = phi - pi @ phi
    F = centred.T @ (pi[:, None] * centred)
    forward = lambda t: -anp.dot(target, log_pi(t))  # noqa: E731
    reverse = lambda t: anp.dot(anp.exp(log_pi(t)), log_pi(t) - np.log(target))  # noqa: E731
    assert worst(autograd.hessian(forward)(theta), F) < CLOSE
    assert worst(autograd.hessian(reverse)(theta), F) > 1e-3  # ✗ the other direction


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_k4_only_the_fisher_metric_survives_splitting(power):
    """Σ u²/p^σ under a split into halves changes by 2^{σ−1}."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4))
    u = rng.normal(size=4)
    form = lambda p, u: (u**2 / p**power).sum()  # noqa: E731
    split = form(np.repeat(p / 2, 2), np.repeat(u / 2, 2)) / form(p, u)
    assert split == pytest.approx(2 ** (power - 1), rel=1e-12)
    if power != 1:
        assert abs(split - 1) > 0.2


@pytest.mark.parametrize("seed", range(20))
def test_k4_the_fisher_metric_shrinks_under_every_markov_map(seed):
    rng = np.random.default_rng(seed)
    M = rng.dirichlet(np.ones(3), size=5).T  # (3, 5), columns sum to one
    p, u = rng.dirichlet(np.ones(5)), rng.normal(size=5)
    before, after = (u**2 / p).sum(), ((M @ u) ** 2 / (M @ p)).sum()
    assert after <= before
    # ✗ any map: one whose columns sum to two doubles it at least for an invertible map
    assert ((2 * u) ** 2 / (2 * p)).sum() > before


# --- P: proximal policy optimisation ------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_p1_clipping_does_not_change_the_gradient_at_the_old_parameters(seed):
    mdp, policy, theta, seen = shared(seed)
    found = evaluate(mdp, policy.probabilities(theta, seen))
    pi = policy.probabilities(theta, seen)
    mass = found.state_distribution[:, None] * pi / (1 - 0.8)

    def clipped(t, width=0.2):
        logits = anp.dot(seen, t.reshape(2, 3))
        new = anp.exp(logits) / anp.sum(anp.exp(logits), axis=1, keepdims=True)
        ratio = new / pi
        cut = anp.clip(ratio, 1 - width, 1 + width)
        return anp.sum(mass * anp.minimum(ratio * found.advantage, cut * found.advantage))

    g = policy_gradient(mdp, policy, theta, seen)
    assert worst(autograd.grad(clipped)(theta + 1e-9), g) < 1e-6
    far = theta + 3 * g / np.linalg.norm(g)
    plain = lambda t: surrogate(mdp, policy, theta, seen, t, found)  # noqa: E731
    h = 1e-5
    slope = [(plain(far + h * e) - plain(far - h * e)) / (2 * h) for e in np.eye(6)]
    assert worst(autograd.grad(clipped)(far), slope) > 1e-2  # ✗ elsewhere they differ


@pytest.mark.parametrize("seed", SEEDS)
def test_p2_the_penalised_linear_surrogate_has_the_natural_step_as_its_maximum(seed):
    """argmax gᵀε − β KL(θ ‖ θ + ε) = F⁺g/β + O(1/β²)."""
    mdp, policy, theta, seen = shared(seed)
    found = evaluate(mdp, policy.probabilities(theta, seen))
    d = found.state_distribution
    x = natural_gradient(mdp, policy, theta, seen, evaluation=found)
    g = policy_gradient(mdp, policy, theta, seen)
    beta, h = 1e5, 1e-6
    at = lambda e: kl(policy, theta, theta + e, seen, d)  # noqa: E731
    slope = [(at(x / beta + h * e) - at(x / beta - h * e)) / (2 * h) for e in np.eye(theta.size)]
    # the remainder is third-order: β |x/β|² ~ 1e-4 of g
    assert worst(beta * np.array(slope), g) < 1e-2 * np.abs(g).max()
    slope = [(at(g / beta + h * e) - at(g / beta - h * e)) / (2 * h) for e in np.eye(theta.size)]
    assert worst(beta * np.array(slope), g) > 0.1 * np.abs(g).max()  # ✗ the vanilla direction


@pytest.mark.parametrize("seed", SEEDS)
def test_p3_equal_steps_in_parameters_are_unequal_in_policies(seed):
    mdp, policy, theta, seen = shared(seed)
    d = evaluate(mdp, policy.probabilities(theta, seen)).state_distribution
    spectrum, directions = np.linalg.eigh(fisher(policy, theta, seen, d))
    steps = [kl(policy, theta, theta + 1e-3 * v, seen, d) for v in directions.T]
    assert max(steps) == pytest.approx(0.5e-6 * spectrum[-1], rel=1e-2)
    assert min(steps) <= 1e-2 * max(steps)  # the null space: no change at all


# --- X: two experiments -------------------------------------------------------------------------

START = np.log([0.8 / 0.2, 0.1 / 0.9])  # p₀ = .8 and q₀ = .1 to stay


def two_states(theta):
    """ρ and η of Kakade's two states: i pays 1, j pays 2, each may stay or leave."""
    p, q = expit(theta)
    rho = np.array([1 - q, 1 - p]) / (2 - p - q)
    return rho, rho @ np.array([p, 2 * q])


def flow(kind: str, damping: float = 0.0):
    """dθ/dt, the gradient of η by the theorem, preconditioned by F + λI."""
    mdp = kakade_two_state()
    policy, eye = SoftmaxPolicy(2, 2), np.eye(2)
    stay = np.array([mdp.rewards[s].argmax() for s in range(2)])

    def direction(_, theta):
        full = np.zeros((2, 2))
        full[[0, 1], stay] = theta
        g = average_reward_gradient(mdp, policy, full.ravel(), eye).reshape(2, 2)
        g = g[[0, 1], stay]  # the logit of leaving is held at 0
        if kind == "vanilla":
            return g
        (p, q), (rho, _) = expit(theta), two_states(theta)
        F = rho * np.array([p * (1 - p), q * (1 - q)])
        return g / (F + damping)

    return direction


@pytest.mark.slow
def test_x1_kakades_two_states():
    """Times at which η = 1.5 and 1.9; vanilla is a million times slower. Flow, rtol 1e-9."""
    assert two_states(START)[1] == pytest.approx(evaluate_average(
        kakade_two_state(), _stay_probabilities(START)).average)  # fmt: skip
    expected = {0.0: (2.1025, 2.2570), 1e-3: (2.2449, 2.4004), 1e-2: (6.0692, 6.2208)}
    for damping, times in expected.items():
        reached, least = _times(flow("natural", damping), 12.0)
        assert reached == pytest.approx(times, abs=2e-3)
        if damping == 0:
            assert least == pytest.approx(0.0583, abs=5e-4)
    reached, least = _times(flow("vanilla"), 4e6)
    assert reached[1] == pytest.approx(2.684e6, rel=1e-2)
    assert least == pytest.approx(1.297e-6, rel=2e-2)


def _stay_probabilities(theta):
    stay = np.array([kakade_two_state().rewards[s].argmax() for s in range(2)])
    pi = np.empty((2, 2))
    for s, chance in enumerate(expit(theta)):
        pi[s] = 1 - chance
        pi[s, stay[s]] = chance
    return pi


def _times(direction, horizon: float):
    events = [lambda t, x, level=level: two_states(x)[1] - level for level in (1.5, 1.9)]
    events[1].terminal = True
    found = solve_ivp(
        direction, (0, horizon), START, method="LSODA", rtol=1e-9, atol=1e-11, events=events
    )
    visits = min(two_states(x)[0][1] for x in found.y.T)
    return [float(t[0]) for t in found.t_events], visits


def test_x3_the_natural_gradient_reaches_the_discounted_optimum_where_vanilla_stalls():
    mdp = MDP(kakade_two_state().transitions, kakade_two_state().rewards, 0.9, [0.8, 0.2])
    policy, eye = SoftmaxPolicy(2, 2), np.eye(2)
    theta = {"natural": np.zeros(4), "vanilla": np.zeros(4)}
    for _ in range(60):
        theta["natural"] = theta["natural"] + 0.05 * natural_gradient(
            mdp, policy, theta["natural"], eye
        )
        theta["vanilla"] = theta["vanilla"] + 0.05 * policy_gradient(
            mdp, policy, theta["vanilla"], eye
        )
    J = {k: evaluate(mdp, policy.probabilities(t, eye)).objective for k, t in theta.items()}
    assert J["natural"] == pytest.approx(18.4, abs=1e-2)  # .8 · 2γ/(1 − γ) + .2 · 2/(1 − γ)
    assert J["vanilla"] < J["natural"] - 0.1
