"""Exact episodes have the exact law, bootstrap at time limits, and make γᵗ visible."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from rational_model import Rational, rational

from npgcheck import problem_sets
from npgcheck.episodes import Path, exact_paths
from npgcheck.errors import Unsupported
from npgcheck.fisher import fisher
from npgcheck.gradient import policy_gradient
from npgcheck.problem import Problem

FAMILIES = ("tabular", "softmax", "mlp")


def with_episodes(family: str) -> list[Problem]:
    problems = [
        *problem_sets.designed(family),
        *problem_sets.catalogue(family),
        *problem_sets.drawn(family, 0, 40),
    ]
    found = [problem for problem in problems if problem.paths is not None]
    assert len(found) >= 15
    return found


def is_cut(problem: Problem) -> bool:
    return any(path.truncated for path in problem.paths or ())


def trajectories(problem: Problem) -> Counter[tuple[int, ...]]:
    """How often each (s_0, a_0, s_1, …, s_T) occurs, read off the episodes."""
    return Counter(
        (
            *np.column_stack([episode.states, episode.actions]).ravel().tolist(),
            int(episode.next_states[-1]),
        )
        for episode in problem.episodes
    )


def probability(model: Rational, trajectory: tuple[int, ...]) -> Fraction:
    """ρ(s_0) Π π(a_t|s_t) P(s_{t+1}|s_t, a_t)."""
    states, actions = trajectory[::2], trajectory[1::2]
    weight = model.rho[states[0]]
    for s, a, t in zip(states[:-1], actions, states[1:], strict=True):
        weight *= model.pi[s][a] * model.P[s][a][t]
    return weight


def law_is_exact(model: Rational, seen: Counter[tuple[int, ...]]) -> bool:
    """Distinct trajectories with the right frequencies that sum to one: none can be missing."""
    total = sum(seen.values())
    return all(probability(model, path) == Fraction(n, total) for path, n in seen.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_law_of_the_episodes_is_exact(family: str) -> None:
    for problem in with_episodes(family):
        model, seen = rational(problem), trajectories(problem)
        assert law_is_exact(model, seen), problem
        # Controls: another policy, one episode less, one path left out.
        greedier = [[(row[0] + 1) / 2, *(p / 2 for p in row[1:])] for row in model.pi]
        assert not law_is_exact(replace(model, pi=greedier), seen)
        path = next(iter(seen))
        assert not law_is_exact(model, seen - Counter([path]))
        assert not law_is_exact(model, Counter({p: n for p, n in seen.items() if p != path}))


def discounted_visits(problem: Problem, gamma: Fraction) -> list[Fraction]:
    """(1 − γ) · mean over episodes of Σ_t γᵗ 1[s_t = s]."""
    visits = [Fraction(0)] * problem.num_states
    for path in problem.paths or ():
        for t, s in enumerate(path.states[:-1]):
            visits[s] += path.count * gamma**t
    total = sum(path.count for path in problem.paths or ())
    return [(1 - gamma) * v / total for v in visits]


@pytest.mark.parametrize("family", FAMILIES)
def test_discounted_visits_are_the_occupancy(family: str) -> None:
    """Where no time limit cuts: exactly d at every state but the terminal one, by a solve."""
    tried = 0
    for problem in with_episodes(family):
        model, end = rational(problem), problem.num_states - 1
        visits = discounted_visits(problem, model.gamma)
        agrees = visits[:end] == model.occupancy()[:end]
        assert agrees != is_cut(problem), problem  # the control: a cut process misses its tail
        assert visits[end] == 0
        if agrees:
            tried += 1
            undiscounted = discounted_visits(problem, Fraction(999, 1000))
            assert undiscounted[:end] != model.occupancy()[:end]
    assert tried >= 8


@pytest.mark.parametrize("family", FAMILIES)
def test_flags_and_bootstrap_values(family: str) -> None:
    for problem in with_episodes(family):
        model = rational(problem)
        V = [float(v) for v in model.value()]
        end = problem.num_states - 1
        assert problem.mdp.terminal_states.tolist() == [False] * end + [True]
        for episode in problem.episodes:
            steps = len(episode)
            last_state = int(episode.next_states[-1])
            assert not episode.terminated[:-1].any()
            assert not episode.truncated[:-1].any()
            assert episode.terminated[-1] == (last_state == end)
            assert episode.truncated[-1] == (last_state != end)
            assert np.array_equal(episode.next_states[:-1], episode.states[1:])
            assert np.array_equal(episode.observations, problem.observations[episode.states])
            wanted = [V[s] for s in episode.next_states]
            assert np.abs(episode.next_values - wanted).max() < 1e-12
            assert episode.next_values[-1] == 0 or episode.truncated[-1]
            assert np.abs(episode.values - [V[s] for s in episode.states]).max() < 1e-12
            assert episode.discount == problem.discount
            assert {len(getattr(episode, name)) for name in ("rewards", "log_probs")} == {steps}


@pytest.mark.parametrize("family", FAMILIES)
def test_lengths_differ_and_some_sets_are_cut(family: str) -> None:
    problems = with_episodes(family)
    for problem in problems:
        lengths = {len(episode) for episode in problem.episodes}
        assert len(lengths) > 1
        assert max(lengths) >= 3
        assert len(problem.episodes) <= 400
    cut = [problem for problem in problems if is_cut(problem)]
    assert len(cut) >= 4
    for problem in cut:
        endings = {bool(episode.truncated[-1]) for episode in problem.episodes}
        assert endings == {True, False}
        assert any(e.next_values[-1] != 0 for e in problem.episodes if e.truncated[-1])


def reinforce(problem: Problem, power: float = 1.0, bootstrap: bool = True) -> np.ndarray:
    """Mean over episodes of Σ_t γᵗ φ_t G_t: no advantage, no value inside an episode."""
    gradient = np.zeros_like(problem.theta)
    for episode in problem.episodes:
        tail = episode.next_values[-1] if bootstrap else 0.0
        scores = problem.policy.score(problem.theta, episode.observations, episode.actions)
        for t in range(len(episode) - 1, -1, -1):
            tail = episode.rewards[t] + episode.discount * tail
            gradient += episode.discount ** (power * t) * scores[t] * tail
    return gradient / len(problem.episodes)


def row_sum(problem: Problem) -> np.ndarray:
    """Mean over episodes of Σ_t γᵗ φ_t A(s_t, a_t), with the exact column A."""
    gradient = np.zeros_like(problem.theta)
    for episode in problem.episodes:
        scores = problem.policy.score(problem.theta, episode.observations, episode.actions)
        weights = episode.discount ** np.arange(len(episode)) * episode.advantages
        gradient += weights @ scores
    return gradient / len(problem.episodes)


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_returns_average_to_the_exact_gradient(family: str) -> None:
    missing_discount, missing_bootstrap = 0, 0
    for problem in with_episodes(family):
        scale = max(1.0, float(np.abs(row_sum(problem)).max()))
        assert np.abs(reinforce(problem) - row_sum(problem)).max() < 1e-12 * scale, problem
        if is_cut(problem):
            wrong = reinforce(problem, bootstrap=False)
            missing_bootstrap += bool(np.abs(wrong - row_sum(problem)).max() > 1e-3)
        else:
            exact = policy_gradient(
                problem.mdp, problem.policy, problem.theta, problem.observations
            )
            assert np.abs(reinforce(problem) - exact).max() < 1e-12 * scale, problem
        wrong = reinforce(problem, power=0.0)
        missing_discount += bool(np.abs(wrong - row_sum(problem)).max() > 1e-3)
    assert missing_discount >= 12
    assert missing_bootstrap >= 4


def direction(problem: Problem, power: float) -> np.ndarray:
    """F⁺g with weights γ^{power·t} in both F and g."""
    weights = np.zeros(problem.num_states)
    gradient = np.zeros_like(problem.theta)
    for episode in problem.episodes:
        discount = episode.discount ** (power * np.arange(len(episode)))
        np.add.at(weights, episode.states, discount)
        scores = problem.policy.score(problem.theta, episode.observations, episode.actions)
        gradient += (discount * episode.advantages) @ scores
    F = fisher(problem.policy, problem.theta, problem.observations, weights)
    return np.linalg.lstsq(F, gradient, rcond=1e-10)[0]


def test_a_missing_discount_turns_the_direction_where_features_are_shared() -> None:
    """DESIGN: only aliasing shows it; the tabular direction is the control that hides it."""

    def turned(problem: Problem) -> float:
        right, wrong = direction(problem, 1.0), direction(problem, 0.0)
        return float(np.linalg.norm(wrong - right) / np.linalg.norm(right))

    shared = [p for p in problem_sets.designed("softmax") if p.paths is not None]
    assert sum(turned(problem) > 0.01 for problem in shared) >= 8
    for problem in problem_sets.designed("tabular"):
        if problem.paths is not None:
            assert turned(problem) < 1e-10


def test_the_aliased_chain_shows_the_published_slopes() -> None:
    """dJ/dp = +1/4 at γ = 1/2, and −1/2 where γᵗ is missing (the statement's own numbers)."""
    chains = [p for p in problem_sets.catalogue("softmax") if p.name == "aliased chain"]
    assert len(chains) == 3
    for problem in chains:
        p = problem.policy.probabilities(problem.theta, problem.observations)[0, 1]
        # θ_R of the shared feature moves p by p(1 − p).
        slope = p * (1 - p)
        assert reinforce(problem)[1] == pytest.approx(0.25 * slope, rel=1e-12)
        assert reinforce(problem, power=0.0)[1] == pytest.approx(-0.5 * slope, rel=1e-12)


def test_elsewhere_episodes_are_unsupported_with_a_reason() -> None:
    chain = problem_sets.designed("tabular")[0]
    gaussian = problem_sets.designed("gaussian")[0]
    episodic = next(p for p in problem_sets.designed("softmax") if p.paths is not None)
    for problem, reason in (
        (chain, "do not end within a few steps"),
        (gaussian, "Gaussian"),
        (episodic.at(episodic.theta + 0.5), "designed parameters"),
    ):
        with pytest.raises(Unsupported, match=reason):
            _ = problem.episodes
    assert episodic.at(episodic.theta.copy()).episodes


def test_enumeration_refuses_what_is_too_long_or_too_many() -> None:
    half, one, zero = Fraction(1, 2), Fraction(1), Fraction(0)
    coin = [[[half, half], [zero, one]], [[zero, one], [zero, one]]]
    terminal, odds = [False, True], [[1, 2], [1, 1]]
    assert exact_paths(coin, [one, zero], odds, terminal, 3) is None  # may stay for ever
    cut = exact_paths(coin, [one, zero], odds, terminal, 2, time_limit=True)
    # Stay with 1/3 · 1/2: six equal parts of the first step, thirty-six of the second.
    assert cut == (
        Path((0, 0, 0), (0, 0), 1, True),
        Path((0, 0, 1), (0, 0), 1),
        Path((0, 0, 1), (0, 1), 4),
        Path((0, 1), (0,), 6),
        Path((0, 1), (1,), 24),
    )
    assert exact_paths(coin, [one, zero], odds, terminal, 2, time_limit=True, limit=35) is None


def test_designed_sets_include_episodes_with_shared_features() -> None:
    softmax = [p for p in problem_sets.designed("softmax") if p.paths is not None]
    assert len(softmax) >= 8
    assert all(p.discount >= 0.5 for p in softmax)
    assert sum(p.observation_size < p.num_states - 1 for p in softmax) >= 8
    assert all(not p.observations[-1].any() for p in softmax)  # the terminal state shows nothing
    assert len([p for p in problem_sets.designed("tabular") if p.paths is not None]) >= 4
