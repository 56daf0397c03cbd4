"""The sets keep their promises: never blind, well conditioned, reproducible, findable."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from npgcheck import problem_sets
from npgcheck.designs import occupancy as occupancy_by_fractions
from npgcheck.designs import rational_design, solve_for_odds
from npgcheck.errors import InvalidArgument, UsageError
from npgcheck.fisher import fisher
from npgcheck.gradient import policy_gradient
from npgcheck.mdp import MDP
from npgcheck.policy import MLPPolicy, SoftmaxPolicy
from npgcheck.problem import Problem
from npgcheck.problem_sets.build import conditioning, refusal
from npgcheck.problem_sets.designed_set import TABLES

FAMILIES = problem_sets.FAMILIES
DISCRETE = ("tabular", "softmax", "mlp")


def occupancy(problem: Problem) -> np.ndarray:
    """d by its series Σ_t (1 − γ) γᵗ ρP_πᵗ: no solve."""
    chain = chain_of(problem)
    total, step = np.zeros(problem.num_states), problem.mdp.initial_distribution
    step = step * (1 - problem.discount)
    for _ in range(1500):  # γ ≤ 0.97: the rest is below 1e-19
        total += step
        step = problem.discount * step @ chain
    return total


def chain_of(problem: Problem) -> np.ndarray:
    if problem.is_gaussian:
        return np.asarray(problem.mdp.transitions)
    probabilities = problem.policy.probabilities(problem.theta, problem.observations)
    return np.einsum("sa,sat->st", probabilities, problem.mdp.transitions)


def width(problem: Problem) -> int:
    return problem.action_size if problem.is_gaussian else problem.num_actions


def judged(family: str) -> list[Problem]:
    return [*problem_sets.designed(family), *problem_sets.drawn(family, 0, 40)]


# --- never the blind instance --------------------------------------------------------------------


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
    problem = problem_sets.designed("softmax")[9]
    assert problem.batch_kind == "ordinary"
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


# --- reproducible --------------------------------------------------------------------------------


def test_members_do_not_depend_on_how_many_are_drawn() -> None:
    for family in FAMILIES:
        few, many = problem_sets.drawn(family, 5, 6), problem_sets.drawn(family, 5, 12)
        assert [p.id for p in few] == [p.id for p in many[:6]]
        assert {p.id for p in many}.isdisjoint(p.id for p in problem_sets.drawn(family, 6, 12))


def test_ids_are_the_same_in_another_process() -> None:
    code = (
        "from npgcheck import problem_sets as ps\n"
        "for f in ps.FAMILIES:\n"
        "    ps.drawn(f, 9, 2)\n"
        "    print(*(p.id for p in (*ps.designed(f)[:3], *ps.catalogue(f)[:3],"
        " *ps.drawn(f, 0, 5), *ps.edge_cases(f)[:3])))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()
    for family, line in zip(FAMILIES, said, strict=True):
        sets = (
            *problem_sets.designed(family)[:3],
            *problem_sets.catalogue(family)[:3],
            *problem_sets.drawn(family, 0, 5),
            *problem_sets.edge_cases(family)[:3],
        )
        assert line.split() == [problem.id for problem in sets]


def test_published_ids_do_not_move() -> None:
    """Reports and test vectors name these; a change of generator must be a decision."""
    assert {f: problem_sets.catalogue(f)[0].id for f in FAMILIES} == PUBLISHED


PUBLISHED = {
    "tabular": "p-4ccaac",
    "softmax": "p-b72eba",
    "gaussian": "p-57edb8",
    "mlp": "p-d0a419",
}


def test_ids_are_unique_and_follow_the_content() -> None:
    ids = [row.id for row in problem_sets.list_problems(groups=problem_sets.GROUPS, count=60)]
    assert len(ids) > 700
    assert len(set(ids)) == len(ids)
    problem = problem_sets.designed("tabular")[0]
    assert problem_sets.finish(replace(problem, id="")).id == problem.id
    theta = problem.theta.copy()
    theta[0] += 1e-6
    for changed in (
        replace(problem, theta=theta),
        replace(problem, batch_seed=problem.batch_seed + 1),
        replace(problem, name="another"),
        replace(problem, mdp=replace(problem.mdp, discount=0.51)),
    ):
        assert problem_sets.finish(changed).id != problem.id
    theta[0] = problem.theta[0] * (1 + 2.0**-52)  # the last bit of a logarithm is not content
    assert problem_sets.finish(replace(problem, theta=theta)).id == problem.id


# --- the catalogue and the edges -----------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_catalogue_starts_small_and_simple(family: str) -> None:
    problems = problem_sets.catalogue(family)
    assert 80 <= len(problems) <= 200
    first = problems[0]
    assert first.num_states == 2
    assert first.discount == 0.5
    if family != "gaussian":
        assert first.num_actions == 3
        assert first.describe().endswith("γ = 1/2, uniform policy")
    plain = [problem for problem in problems if problem.paths is None]
    states = [problem.num_states for problem in plain]
    assert states[:25] == [2] * 25
    assert np.mean(np.diff(states) >= 0) > 0.9
    for problem in problems:
        if not problem.is_gaussian:
            scale = 2 if problem.name == "aliased chain" else 1  # Its published rewards hold a 7/2.
            assert np.array_equal(scale * problem.mdp.rewards, np.rint(scale * problem.mdp.rewards))
            assert set(np.unique(problem.mdp.transitions)) <= {0.0, 0.5, 1.0}
    assert sum(problem.paths is not None for problem in problems) >= (
        0 if family == "gaussian" else 10
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_edge_cases_are_what_they_are_called(family: str) -> None:
    edges = {problem.name: problem for problem in problem_sets.edge_cases(family)}
    assert edges["γ = 0"].discount == 0
    assert edges["γ = 0.999999"].discount == 0.999999
    assert edges["one state"].num_states == 1
    unreachable = edges["an unreachable state"]
    assert occupancy(unreachable)[-1] == 0
    assert occupancy(unreachable)[:-1].min() > 0
    paying = edges["an absorbing state that pays"]
    assert chain_of(paying)[-1, -1] == 1
    for name, problem in edges.items():
        assert problem.describe().startswith(name + ": ")
        assert np.isfinite(problem.batch.advantages).all()
    if family == "gaussian":
        assert np.allclose(edges["σ = 1e-3"].policy.std(edges["σ = 1e-3"].theta), 1e-3)
        return
    assert not paying.mdp.terminal_states.any()
    assert edges["a terminal state"].mdp.terminal_states[-1]
    assert edges["a terminal state"].batch.terminated.any()
    assert edges["one action"].num_actions == 1
    assert not edges["no reward anywhere"].mdp.rewards.any()
    sharp = edges["a nearly deterministic policy"]
    least = sharp.policy.log_probabilities(sharp.theta, sharp.observations).min()
    assert -61 < least < -20
    certain = edges["logits of ±1e3"]
    assert np.abs(certain.policy.logits(certain.theta, certain.observations)).max() == (
        pytest.approx(1e3)
    )


# --- finding and listing -------------------------------------------------------------------------


def test_find_returns_any_listed_problem() -> None:
    for family in FAMILIES:
        for problem in (
            problem_sets.catalogue(family)[7],
            problem_sets.designed(family)[-1],
            problem_sets.edge_cases(family)[2],
            problem_sets.drawn(family, 4, 9)[8],
        ):
            assert problem_sets.find(problem.id, seed=4).fingerprint() == problem.fingerprint()


def test_what_is_not_found_is_explained() -> None:
    known = problem_sets.catalogue("tabular")[0].id
    near = known[:-1] + ("0" if known[-1] != "0" else "1")
    with pytest.raises(UsageError, match="Did you mean 'p-"):
        problem_sets.find(near)
    moved = problem_sets.designed("softmax")[0]
    with pytest.raises(UsageError, match=f"replay {moved.id} instead"):
        problem_sets.find(moved.at(moved.theta + 1).id)
    with pytest.raises(UsageError, match="Did you mean 'softmax'"):
        problem_sets.designed("sofmax")
    with pytest.raises(UsageError, match="Did you mean 'designed'"):
        problem_sets.list_problems(groups=("desinged",))


def test_rows_and_pages_say_what_the_problem_is() -> None:
    rows = problem_sets.list_problems(families=("softmax",), groups=("designed", "drawn"), count=5)
    assert len(rows) == len(problem_sets.designed("softmax")) + 5
    for row in rows:
        problem = problem_sets.find(row.id)
        assert (row.states, row.features) == problem.observations.shape
        assert row.parameters == problem.theta.size
        assert row.episodes == (0 if problem.paths is None else len(problem.episodes))
    shown = problem_sets.show_problem(problem_sets.designed("softmax")[7])
    assert shown["rank of the Fisher matrix"] == 18
    assert shown["batch"].startswith("exact, ")
    assert np.array_equal(shown["mdp.rewards"], problem_sets.designed("softmax")[7].mdp.rewards)


# --- designs -------------------------------------------------------------------------------------


def test_a_rational_design_by_hand() -> None:
    """Two states, one action: 0 → 1 → 1, γ = 1/2, ρ = (1, 0): d = (1/2, 1/2), two rows."""
    zero, one, half = Fraction(0), Fraction(1), Fraction(1, 2)
    moves, start, odds = [[[zero, one]], [[zero, one]]], [one, zero], [[1], [1]]
    assert occupancy_by_fractions(moves, start, odds, half) == [half, half]
    design = rational_design(moves, start, odds, half)
    assert design is not None
    assert sorted(zip(design.states, design.next_states, strict=True)) == [(0, 1), (1, 1)]
    assert rational_design(moves, start, odds, half, limit=1) is None


def test_odds_are_solved_for_or_refused() -> None:
    policy = MLPPolicy(2, 3, (4,))
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(3, 2))
    odds = [[1, 2, 3], [3, 1, 1], [2, 2, 1]]
    theta = solve_for_odds(policy, rng.normal(size=policy.num_parameters), observations, odds)
    wanted = np.array(odds) / np.sum(odds, axis=1, keepdims=True)
    assert np.abs(policy.probabilities(theta, observations) - wanted).max() < 1e-14
    same = np.ones((3, 2))  # three states alike cannot have three different odds
    with pytest.raises(InvalidArgument, match="still wrong by"):
        solve_for_odds(SoftmaxPolicy(2, 3), np.zeros(6), same, odds)
