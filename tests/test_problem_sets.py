"""The sets keep their promises: never blind, well conditioned, reproducible, findable."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from series import chain_of, occupancy

from npgcheck import oracles, problem_sets
from npgcheck.fisher import fisher
from npgcheck.gradient import policy_gradient
from npgcheck.mdp import MDP
from npgcheck.problem import Problem
from npgcheck.problem_sets import search_set
from npgcheck.problem_sets.build import conditioning, refusal
from npgcheck.problem_sets.designed_set import TABLES

FAMILIES = problem_sets.FAMILIES
DISCRETE = ("tabular", "softmax", "mlp")


def width(problem: Problem) -> int:
    return problem.action_size if problem.is_gaussian else problem.num_actions


def judged(family: str) -> list[Problem]:
    return [*problem_sets.designed(family), *problem_sets.drawn(family, 0, 40)]


# --- never the blind instance --------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_few_are_varied(family: str) -> None:
    """A short run takes the first ones: they hold every kind of batch, and episodes."""
    first = problem_sets.designed(family)[:5]
    assert {p.batch_kind for p in first} == {"exact", "ordinary", "duplicated", "off_centre"}
    assert any(p.paths is not None for p in first) or family == "gaussian"


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_different_and_at_least_two(family: str) -> None:
    for problem in judged(family):
        S, A, k = problem.num_states, width(problem), problem.observation_size
        assert S != A
        assert S >= 2
        if family == "tabular":
            assert k == S
            assert A >= 2
        elif family == "mlp":
            assert len({S, k}) == 2 or problem.policy.hidden != (k,)
            assert min(A, k) >= 2
        elif family == "gaussian":
            assert len({S, A, k}) == 3
            assert k >= 2
        else:
            assert len({S, A, k}) == 3
            assert min(A, k) >= 2
    if family == "gaussian":
        sizes = [problem.action_size for problem in judged(family)]
        assert sum(size >= 2 for size in sizes) > len(sizes) / 2
        assert 1 in sizes


@pytest.mark.parametrize("family", FAMILIES)
def test_discounts_and_widths_are_never_one(family: str) -> None:
    for problem in judged(family):
        assert 0.5 <= problem.discount < 0.98
        if family == "gaussian":
            assert np.abs(problem.policy.std(problem.theta) - 1).min() > 0.1
    fixed = {Fraction(line[2]) for line in TABLES[family]}
    wanted = [Fraction(*pair) for pair in ((1, 2), (2, 3), (3, 4), (4, 5), (9, 10), (19, 20))]
    assert fixed == set(wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_state_is_visited_with_weights_of_its_own(family: str) -> None:
    for problem in judged(family):
        d = occupancy(problem)
        if problem.paths is not None:
            d = d[:-1]
        assert d.min() >= 0.01 - 1e-12
        assert np.ptp(d) >= 0.02 - 1e-12
        # Neither the start distribution nor, while the chain runs on, its stationary one.
        assert np.abs(d - problem.mdp.initial_distribution[: len(d)]).max() > 1e-3
        if problem.paths is None:
            assert np.abs(d @ chain_of(problem) - d).max() > 1e-4


@pytest.mark.parametrize("family", DISCRETE)
def test_the_action_moves_the_chain(family: str) -> None:
    for problem in judged(family):
        P = problem.mdp.transitions
        assert (P[:, :1] != P).any(), problem


@pytest.mark.parametrize("family", FAMILIES)
def test_every_chain_is_unichain_or_episodic(family: str) -> None:
    """By the spectrum: the eigenvalue 1 of P_π is simple; an episodic chain ends in one state."""
    for problem in judged(family):
        values = np.linalg.eigvals(chain_of(problem))
        assert (np.abs(values - 1) < 1e-9).sum() == 1, problem
        if problem.paths is None:
            lasting = np.linalg.matrix_power((chain_of(problem) + np.eye(len(values))) / 2, 2000)
            assert lasting.min() > 0  # every state is visited for ever: no absorbing subset
        else:
            assert problem.mdp.terminal_states.sum() == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_some_fisher_matrix_has_rank_above_fifteen(family: str) -> None:
    """A truncated conjugate gradient (10 iterations) is invisible up to rank 10."""
    ranks = []
    for problem in problem_sets.designed(family):
        F = fisher(problem.policy, problem.theta, problem.observations, occupancy(problem))
        ranks.append(int(np.linalg.matrix_rank(F, tol=1e-10 * np.linalg.norm(F, 2))))
    assert max(ranks) > 15
    assert sum(rank > 10 for rank in ranks) >= 4


@pytest.mark.parametrize("family", FAMILIES)
def test_ten_conjugate_gradient_steps_fall_short_somewhere(family: str) -> None:
    """Their residual is far above any error budget: truncation is visible."""
    short = 0
    for problem in problem_sets.designed(family):
        F = fisher(problem.policy, problem.theta, problem.observations, occupancy(problem))
        g = policy_gradient(problem.mdp, problem.policy, problem.theta, problem.observations)
        x, r = np.zeros_like(g), g.copy()
        p = r.copy()
        for _ in range(10):
            if r @ r < 1e-24 * (g @ g):
                break
            step = (r @ r) / (p @ F @ p)
            x, old = x + step * p, r
            r = old - step * (F @ p)
            p = r + (r @ r) / (old @ old) * p
        short += np.linalg.norm(F @ x - g) > 1e-3 * np.linalg.norm(g)
    # A tabular F has few distinct eigenvalues, so fewer problems resist.
    assert short >= (1 if family == "tabular" else 3)


def test_at_least_eight_problems_count_towards_a_pass() -> None:
    for family in ("softmax", "gaussian", "mlp"):
        kept = [
            problem
            for problem in problem_sets.designed(family)
            if problem.discount >= 0.5
            and np.ptp(occupancy(problem)) > 0.02
            and (problem.observations != 0).sum(axis=0).max() > 1
        ]
        assert len(kept) >= 8


def test_a_wrong_state_weighting_turns_the_softmax_direction() -> None:
    """Undiscounted or uniform weights in both F and g, wherever features are shared (k < S)."""
    seen = 0
    for problem in problem_sets.designed("softmax"):
        if problem.observation_size >= problem.num_states:
            continue
        alive = ~problem.mdp.terminal_states
        d = occupancy(problem) * alive
        chain = chain_of(problem) * alive
        visits = np.zeros(len(d))
        step = problem.mdp.initial_distribution.astype(float)
        for _ in range(3000):
            visits += step
            step = step @ chain
        right = natural(problem, d)
        for weights in (visits, alive.astype(float)):
            wrong = natural(problem, weights / weights.sum())
            assert np.linalg.norm(wrong - right) > 0.01 * np.linalg.norm(right), problem
        seen += 1
        assert np.allclose(natural(problem, 3 * d), right, rtol=1e-8)  # the control: a scale
    assert seen >= 25


def natural(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """argmin Σ w π (φ·x − A)², with A by value iteration: nothing of npgcheck's but the scores."""
    policy, theta, obs = problem.policy, problem.theta, problem.observations
    pi = policy.probabilities(theta, obs)
    V = np.zeros(problem.num_states)
    for _ in range(1500):
        Q = problem.mdp.rewards + problem.discount * problem.mdp.transitions @ V
        V = (pi * Q).sum(axis=1)
    root = np.sqrt(weights[:, None] * pi)
    rows = (root[:, :, None] * policy.scores(theta, obs)).reshape(-1, len(theta))
    return np.linalg.lstsq(rows, (root * (Q - V[:, None])).ravel(), rcond=1e-8)[0]


# --- conditions and their refusals ---------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_member_meets_the_conditions(family: str) -> None:
    for problem in [*judged(family), *problem_sets.catalogue(family)]:
        assert refusal(problem) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_conditioning_against_eigenvalues(family: str) -> None:
    for problem in problem_sets.designed(family):
        condition, rank = conditioning(problem)
        F = fisher(problem.policy, problem.theta, problem.observations, occupancy(problem))
        values = np.linalg.eigvalsh(F)[::-1]
        assert values[0] / values[rank - 1] == pytest.approx(condition, rel=1e-6)
        # What is beyond the rank is round-off, twelve decades below: no direction is in doubt.
        assert np.abs(values[rank:]).max(initial=0.0) < 1e-12 * values[0]
        assert condition <= 1e4


def spoiled(kind: str) -> Problem:
    problem = next(p for p in problem_sets.designed("softmax") if p.batch_kind == "ordinary")
    mdp, S = problem.mdp, problem.num_states
    if kind == "rarely visited":
        P = 0.999 * mdp.transitions
        P[..., 0] = 0.0
        P[..., 0] = 1 - P.sum(axis=2)
        P[..., 1:-1] += P[..., -1:] * 0.999 / (S - 2)
        P[..., -1] *= 0.001
        return replace(problem, mdp=MDP(P, mdp.rewards, 0.9, [0.5, 0.3, 0.2] + [0] * (S - 3)))
    if kind == "uniform":
        P = np.full_like(mdp.transitions, 1 / S)
        return replace(problem, mdp=MDP(P, mdp.rewards, 0.9, np.full(S, 1 / S)))
    if kind == "connect":
        P = np.zeros_like(mdp.transitions)
        P[np.arange(S), :, np.arange(S)] = 1.0
        return replace(problem, mdp=MDP(P, mdp.rewards, 0.9, np.array([0.4, 0.3, 0.2, 0.1])))
    if kind == "vanish":
        rewards = np.repeat(np.arange(1.0, S + 1)[:, None], problem.num_actions, axis=1)
        P = np.repeat(mdp.transitions[:, :1], problem.num_actions, axis=1)
        return replace(problem, mdp=MDP(P, rewards, 0.9, mdp.initial_distribution))
    observations = problem.observations.copy()
    observations[:, 1] = observations[:, 0] * (1 + 1e-4 * np.arange(S))
    return replace(problem, observations=observations)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("rarely visited", "rarely visited"),
        ("uniform", "nearly uniform"),
        ("connect", "does not connect"),
        ("vanish", "nearly vanish"),
        ("conditioned", "badly conditioned"),
    ],
)
def test_what_must_not_be_judged_is_refused(kind: str, said: str) -> None:
    assert said in (refusal(spoiled(kind)) or "")


def test_redraws_are_counted_by_reason() -> None:
    draw = problem_sets.draw("mlp", 0, 80)
    assert draw.redrawn == sum(count for _, count in draw.reasons) > 0
    assert "F is badly conditioned" in dict(draw.reasons)
    assert draw.problems == problem_sets.drawn("mlp", 0, 80)


@pytest.mark.parametrize("index", range(len(search_set.LINES)))
def test_the_longest_step_of_a_search_problem_goes_wrong_as_it_says(index: int) -> None:
    what, problem = search_set.LINES[index][0], problem_sets.searched("softmax")[index]
    policy, theta, obs = problem.policy, problem.theta, problem.observations
    old = np.asarray(oracles.traced_log_probabilities(policy, obs)(theta))
    if what == "rows lose":
        batch = problem.batch
        weights, critic = np.zeros_like(old), np.zeros_like(old)
        np.add.at(weights, (batch.states, batch.actions), 1 / len(batch))
        critic[batch.states, batch.actions] = batch.advantages
        d = np.bincount(batch.states, minlength=len(old)) / len(batch)
    else:
        d = occupancy(problem)
        weights = d[:, None] * np.exp(old)
        critic = oracles.series_evaluation(problem.mdp, np.exp(old))["advantage"]
    step = longest_step(problem, d, weights * critic)
    new = np.asarray(oracles.traced_log_probabilities(policy, obs)(theta + step))
    divergence = d @ (np.exp(old) * (old - new)).sum(axis=1)
    gain = (weights * critic * np.expm1(new - old)).sum()
    if what == "overshoots":
        assert gain > 0
        assert divergence > 2 * 0.0625
    else:
        assert gain < 0
        assert divergence < 0.0625


def longest_step(problem: Problem, d: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """√(2δ/xᵀFx) x with δ = 1/16, F under the states' weights d and g = Σ joint φ."""
    policy, theta, obs = problem.policy, problem.theta, problem.observations
    phi = np.asarray(oracles.traced_scores(policy, theta, obs))
    pi = np.exp(np.asarray(oracles.traced_log_probabilities(policy, obs)(theta)))
    F = np.einsum("sa,sad,sae->de", d[:, None] * pi, phi, phi)
    x = np.linalg.pinv(F, rcond=1e-9, hermitian=True) @ np.einsum("sa,sad->d", joint, phi)
    return np.sqrt(0.125 / (x @ F @ x)) * x


def test_on_designed_problems_the_longest_step_gains() -> None:
    """What the search set is for: elsewhere a search that ignores the surrogate is not seen."""
    losing = 0
    for problem in problem_sets.designed("softmax"):
        policy, theta, obs = problem.policy, problem.theta, problem.observations
        old = np.asarray(oracles.traced_log_probabilities(policy, obs)(theta))
        d, critic = occupancy(problem), oracles.series_evaluation(problem.mdp, np.exp(old))
        weights = d[:, None] * np.exp(old) * critic["advantage"]
        step = longest_step(problem, d, weights)
        new = np.asarray(oracles.traced_log_probabilities(policy, obs)(theta + step))
        losing += (weights * np.expm1(new - old)).sum() <= 0
    assert losing == 0
