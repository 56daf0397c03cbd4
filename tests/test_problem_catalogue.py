"""Ids, the catalogue, the edge cases, finding and listing; the designs behind exact batches."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from series import chain_of, occupancy

from npgcheck import problem_sets
from npgcheck.designs import occupancy as occupancy_by_fractions
from npgcheck.designs import rational_design, solve_for_odds
from npgcheck.errors import InvalidArgument, UsageError
from npgcheck.policy import MLPPolicy, SoftmaxPolicy

FAMILIES = problem_sets.FAMILIES


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
    largest = next(p for p in problem_sets.designed("softmax") if p.num_states == 8)
    shown = problem_sets.show_problem(largest)
    assert shown["rank of the Fisher matrix"] == 18
    assert shown["batch"] == "ordinary, 192 rows"
    assert np.array_equal(shown["mdp.rewards"], largest.mdp.rewards)


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
