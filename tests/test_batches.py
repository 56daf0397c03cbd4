"""Exact batches are exact in rational arithmetic; the other kinds are what they are called."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from rational_model import Rational, histogram, mean_score, rational

from npgcheck import problem_sets
from npgcheck.batches import COPIES, KINDS
from npgcheck.designs import gaussian_nodes
from npgcheck.problem import Problem

DISCRETE = ("tabular", "softmax", "mlp")


def everything(family: str) -> list[Problem]:
    """Designed, catalogue and some drawn problems of a family."""
    return [
        *problem_sets.designed(family),
        *problem_sets.catalogue(family),
        *problem_sets.drawn(family, 0, 40),
    ]


def of_kind(family: str, kind: str) -> list[Problem]:
    found = [problem for problem in everything(family) if problem.batch_kind == kind]
    assert len(found) >= 5, (family, kind)
    return found


def discrete_rows(problem: Problem) -> list[tuple[int, ...]]:
    batch = problem.batch
    return list(
        zip(batch.states.tolist(), batch.actions.tolist(), batch.next_states.tolist(), strict=True)
    )


# --- exact ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", DISCRETE)
def test_an_exact_batch_is_the_mdps_own_measure(family: str) -> None:
    for problem in of_kind(family, "exact"):
        assert problem.batch.exact
        assert histogram(discrete_rows(problem)) == rational(problem).rows(), problem


@pytest.mark.parametrize("family", DISCRETE)
def test_the_comparison_sees_every_wrong_measure(family: str) -> None:
    """Controls: another γ, another policy, the start distribution, one row less."""
    for problem in of_kind(family, "exact")[:12]:
        model, seen = rational(problem), histogram(discrete_rows(problem))
        other_gamma = replace(model, gamma=model.gamma / 2)
        assert other_gamma.rows() != seen
        other_policy = replace(model, pi=[row[::-1] for row in model.pi])
        if other_policy.pi != model.pi:
            assert other_policy.rows() != seen
        assert model.occupancy() != model.rho
        assert histogram(discrete_rows(problem)[1:]) != seen


def test_exact_gaussian_rows_are_chain_times_nodes() -> None:
    for problem in of_kind("gaussian", "exact"):
        batch, model = problem.batch, rational(problem)
        mean, log_std = problem.policy.mean_log_std(problem.theta, batch.observations)
        z = (batch.actions - mean) / np.exp(log_std)
        # mean + σz and its undoing cost a few roundings of |mean|/σ ≤ 20.
        assert np.abs(z - np.rint(z)).max() < 1e-13
        nodes = [tuple(row) for row in np.rint(z).astype(int).tolist()]
        chain = {(s, t): p for (s, _, t), p in model.rows().items()}
        moves = list(zip(batch.states.tolist(), batch.next_states.tolist(), strict=True))
        points = histogram(nodes)
        joint = histogram([(s, t, *node) for (s, t), node in zip(moves, nodes, strict=True)])
        # The measure is the product: no action says anything about the state or the next one.
        assert joint == {
            (*move, *node): chain[move] * points[node] for move, node in product(chain, points)
        }
        assert histogram(moves) == chain
        halved = replace(model, gamma=model.gamma / 2)
        assert {(s, t): p for (s, _, t), p in halved.rows().items()} != chain


def normal_moment(exponents: tuple[int, ...]) -> int:
    """E Π z_i^{e_i} for independent standard normal z: (e − 1)!! for even e, else 0."""
    moment = 1
    for e in exponents:
        moment *= 0 if e % 2 else int(np.prod(np.arange(1, e, 2)))
    return moment


def node_moment(nodes: np.ndarray, exponents: tuple[int, ...]) -> Fraction:
    total = sum(int(np.prod(row**e)) for row, e in ((r, np.array(exponents)) for r in nodes))
    return Fraction(total, len(nodes))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_gaussian_nodes_match_every_moment_to_degree_five(size: int) -> None:
    nodes = gaussian_nodes(size)
    assert len(nodes) == {1: 12, 2: 36, 3: 72, 4: 72}[size]
    wrong_at_six = 0
    for exponents in product(range(7), repeat=size):
        if sum(exponents) <= 5:
            assert node_moment(nodes, exponents) == normal_moment(exponents), exponents
        elif sum(exponents) == 6:
            wrong_at_six += node_moment(nodes, exponents) != normal_moment(exponents)
    # Degree six is where finitely many nodes must fail: the comparison can tell.
    assert wrong_at_six > 0
    spoiled = nodes.copy()
    spoiled[-1] += 1
    assert any(
        node_moment(spoiled, e) != normal_moment(e)
        for e in product(range(3), repeat=size)
        if sum(e) <= 2
    )


@pytest.mark.parametrize("family", [*DISCRETE, "gaussian"])
def test_exact_and_off_centre_mean_scores(family: str) -> None:
    """E φ = 0 exactly on exact batches, and far from it on off-centre ones."""
    for problem in of_kind(family, "exact"):
        assert mean_score(problem) < 1e-13, problem
    for problem in of_kind(family, "off_centre"):
        # An ordinary batch of N rows would show about 1/√N, at most 0.2.
        assert mean_score(problem) > 0.1, problem
        if family == "gaussian":
            mean, log_std = problem.policy.mean_log_std(problem.theta, problem.batch.observations)
            z = (problem.batch.actions - mean) / np.exp(log_std)
            assert (z.mean(axis=0) > 0.4).all()  # displaced, not only spread
    drawn = [mean_score(problem) for problem in of_kind(family, "ordinary")]
    assert np.median(drawn) > 1e-3


# --- columns -------------------------------------------------------------------------------------


def rational_columns(problem: Problem, model: Rational) -> dict[str, list[float]]:
    batch, V, A = problem.batch, model.value(), model.advantage()
    ends = [all(row[s] == 1 for row in model.P[s]) and not any(model.R[s]) for s in range(len(V))]
    return {
        "values": [float(V[s]) for s in batch.states],
        "advantages": [float(A[s][a]) for s, a in zip(batch.states, batch.actions, strict=True)],
        "rewards": [float(model.R[s][a]) for s, a in zip(batch.states, batch.actions, strict=True)],
        "next_values": [0.0 if ends[t] else float(V[t]) for t in batch.next_states],
        "terminated": [float(ends[t]) for t in batch.next_states],
        "log_probs": [
            float(np.log(float(model.pi[s][a])))
            for s, a in zip(batch.states, batch.actions, strict=True)
        ],
    }


def column_errors(problem: Problem, model: Rational) -> dict[str, float]:
    scale = max(1.0, *(abs(float(v)) for v in model.value()))
    return {
        name: float(np.abs(np.asarray(getattr(problem.batch, name), dtype=float) - column).max())
        / scale
        for name, column in rational_columns(problem, model).items()
    }


@pytest.mark.parametrize("family", DISCRETE)
def test_columns_are_exact_values(family: str) -> None:
    problems = [p for p in everything(family) if p.design is not None or p.paths is not None]
    assert any(p.paths for p in problems)
    for problem in problems:
        errors = column_errors(problem, rational(problem))
        # κ(I − γP) ≤ 40 at γ = 19/20, times a few tens of roundings.
        assert max(errors.values()) < 1e-12, (problem, errors)


def test_columns_of_another_mdp_are_noticed() -> None:
    problem = of_kind("softmax", "exact")[3]
    model = rational(problem)
    model.R[0][0] += Fraction(1, 1000)
    errors = column_errors(problem, model)
    assert errors["values"] > 1e-5
    assert errors["advantages"] > 1e-5
    assert errors["log_probs"] < 1e-12


def test_gaussian_columns_by_averaging_the_rows_themselves() -> None:
    """On exact rows V and A follow from plain means: E[r|s], then the chain, then r − E[r|s]."""
    for problem in of_kind("gaussian", "exact"):
        batch, model = problem.batch, rational(problem)
        mean_reward = [float(batch.rewards[batch.states == s].mean()) for s in range(len(model.P))]
        model.R = [[Fraction(r)] for r in mean_reward]
        V = np.array([float(v) for v in model.value()])
        scale = max(1.0, float(np.abs(batch.rewards).max()), float(np.abs(V).max()))
        A = batch.rewards - np.array(mean_reward)[batch.states]
        assert np.abs(batch.values - V[batch.states]).max() < 1e-12 * scale
        assert np.abs(batch.next_values - V[batch.next_states]).max() < 1e-12 * scale
        assert np.abs(batch.advantages - A).max() < 1e-12 * scale
        z = (batch.actions - problem.policy.mean(problem.theta, batch.observations)) / (
            problem.policy.std(problem.theta)
        )
        density = -0.5 * (z**2).sum(axis=1) - np.log(problem.policy.std(problem.theta)).sum()
        density -= 0.5 * problem.action_size * np.log(2 * np.pi)
        assert np.abs(batch.log_probs - density).max() < 1e-12


# --- drawn rows ----------------------------------------------------------------------------------


def excess(problem: Problem, weights: np.ndarray) -> tuple[float, int]:
    """χ² of the state frequencies against weights, and its degrees of freedom."""
    counts = np.bincount(problem.batch.states, minlength=problem.num_states)
    expected = weights * counts.sum()
    used = expected > 0
    return float(((counts - expected)[used] ** 2 / expected[used]).sum()), int(used.sum()) - 1


def test_ordinary_states_follow_the_occupancy_or_are_uniform() -> None:
    """Pooled χ² per degree of freedom is near 1 for the right weights and far above for others."""
    right, wrong, freedom = 0.0, 0.0, 0
    for problem in problem_sets.drawn("softmax", 3, 160):
        if problem.batch_kind != "ordinary" or problem.paths is not None:
            continue
        probabilities = problem.policy.probabilities(problem.theta, problem.observations)
        chain = np.einsum("sa,sat->st", probabilities, problem.mdp.transitions)
        occupancy = np.zeros(problem.num_states)
        step = problem.mdp.initial_distribution * (1 - problem.discount)
        for _ in range(2000):  # Σ_t (1 − γ) γᵗ ρ Pᵗ: γ ≤ 0.97 leaves 1e-26
            occupancy += step
            step = problem.discount * step @ chain
        uniform = np.full(problem.num_states, 1 / problem.num_states)
        is_uniform = problem.batch_seed % 2 == 1
        value, degrees = excess(problem, uniform if is_uniform else occupancy)
        right += value
        wrong += excess(problem, occupancy if is_uniform else uniform)[0]
        freedom += degrees
    # The standard deviation of χ²/f is √(2/f), here about 0.1.
    assert freedom > 120
    assert abs(right / freedom - 1) < 0.4
    assert wrong / freedom > 3


@pytest.mark.parametrize("family", DISCRETE)
def test_drawn_actions_and_next_states_are_possible(family: str) -> None:
    for problem in everything(family):
        batch = problem.batch
        assert (problem.mdp.transitions[batch.states, batch.actions, batch.next_states] > 0).all()
        ends = problem.mdp.terminal_states
        assert not ends[batch.states].any()
        assert np.array_equal(batch.terminated, ends[batch.next_states])
        assert not batch.truncated.any()


@pytest.mark.parametrize("family", [*DISCRETE, "gaussian"])
def test_duplicated_rows_come_in_equal_numbers(family: str) -> None:
    for problem in of_kind(family, "duplicated"):
        batch = problem.batch
        actions = batch.actions.reshape(len(batch), -1)
        rows = np.column_stack([batch.states, actions, batch.next_states])
        counts = np.unique(rows, axis=0, return_counts=True)[1]
        assert (counts % COPIES == 0).all()
        single = np.unique(rows[1:], axis=0, return_counts=True)[1]
        assert (single % COPIES != 0).any()  # the control: one row less is noticed


@pytest.mark.parametrize("family", [*DISCRETE, "gaussian"])
def test_every_family_has_every_kind(family: str) -> None:
    judged = [*problem_sets.designed(family), *problem_sets.drawn(family, 0, 40)]
    for kind in KINDS:
        assert sum(problem.batch_kind == kind for problem in judged) >= 5, kind
        assert sum(p.batch_kind == kind for p in problem_sets.designed(family)) >= 2, kind


def test_a_batch_is_stable_under_rounding_of_theta() -> None:
    for problem in problem_sets.drawn("softmax", 0, 8):
        near = problem.at(problem.theta * (1 + 2.0**-52))
        if problem.batch_kind == "exact":
            assert near.batch_kind == "ordinary"
            assert not near.batch.exact
        else:
            assert np.array_equal(near.batch.states, problem.batch.states)
            assert np.array_equal(near.batch.actions, problem.batch.actions)


def test_columns_are_read_only() -> None:
    batch = problem_sets.designed("tabular")[0].batch
    with pytest.raises(ValueError, match="read-only"):
        batch.rewards[0] = 1.0
