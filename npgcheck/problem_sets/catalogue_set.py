"""The catalogue: small problems with simple numbers, smallest first.

A disagreement is shown to a person on the first problem of the catalogue that exhibits it, so
the order is the order of reading: few states, then γ = 1/2 and the uniform policy, then fractions
with larger denominators and policies with odds of small integers. Rewards are small
integers, transitions deterministic or fair coins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from npgcheck.designs import (
    Design,
    RationalModel,
    Table,
    rational_design,
    solve_for_odds,
    with_nodes,
)
from npgcheck.episodes import exact_paths
from npgcheck.errors import InvalidArgument
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.named_mdps import aliased_chain
from npgcheck.problem import Problem
from npgcheck.problem_sets.build import features_from, finish, odds_from, refusal
from npgcheck.problem_sets.generate import Sizes, episodic_problem, policy_of
from npgcheck.streams import Stream

DISCOUNTS = tuple(Fraction(p, q) for p, q in ((1, 2), (2, 3), (3, 4), (4, 5), (9, 10)))

POLICIES = 5
"""Policy 0 is uniform; 1 and 2 have odds up to 2, 3 and 4 odds up to 3."""

SIZES: dict[str, tuple[Sizes, ...]] = {
    "tabular": tuple(Sizes(s, a, s) for s, a in ((2, 3), (3, 2), (3, 4), (4, 3))),
    "softmax": tuple(Sizes(*n) for n in ((2, 3, 3), (3, 4, 2), (4, 3, 2), (4, 2, 3), (3, 2, 4))),
    "mlp": tuple(Sizes(*n) for n in ((2, 3, 2, 2), (3, 2, 2, 3), (4, 3, 2, 4))),
    "gaussian": tuple(Sizes(*n) for n in ((2, 1, 2), (2, 2, 3), (3, 2, 2), (4, 2, 3))),
}
"""S, A (or m), k and hidden units."""

FEATURES: dict[tuple[int, int], tuple[tuple[int, ...], ...]] = {
    (2, 2): ((1, 0), (1, 1)),
    (2, 3): ((1, 0, 1), (0, 1, 1)),
    (3, 2): ((1, 0), (1, 1), (0, 1)),
    (3, 4): ((1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1)),
    (4, 2): ((1, 0), (0, 1), (1, 1), (1, 0)),
    (4, 3): ((1, 0, 0), (0, 1, 0), (0, 1, 1), (1, 0, 0)),
}
"""What each state shows, by (S, k); with k < S states share features, the last two show alike."""

EPISODIC: dict[str, tuple[tuple[Sizes, int], ...]] = {
    "tabular": ((Sizes(4, 3, 4), 0), (Sizes(5, 2, 5), 0), (Sizes(5, 2, 5), 3)),
    "softmax": ((Sizes(4, 3, 2), 0), (Sizes(5, 2, 3), 0), (Sizes(5, 2, 3), 3)),
    "mlp": ((Sizes(4, 3, 2, 5), 0), (Sizes(5, 2, 3, 5), 3)),
}

KINDS = ("exact", "ordinary", "exact", "duplicated", "exact", "off_centre")


@lru_cache(maxsize=8)
def catalogue(family: str) -> tuple[Problem, ...]:
    """The catalogue of a family, smallest first."""
    return tuple(finish(problem) for problem in _members(family))


def _members(family: str) -> Iterator[Problem]:
    index = 0
    for sizes in SIZES[family]:
        grid = [(g, p) for g in range(len(DISCOUNTS)) for p in range(POLICIES)]
        # Along diagonals: γ = 1/2 and uniform first, one step more of either at a time.
        for g, p in sorted(grid, key=lambda cell: (sum(cell), cell[0])):
            yield _member(family, sizes, g, p, KINDS[index % len(KINDS)])
            index += 1
    if family == "softmax":
        yield from _aliased_chains()
    for sizes, limit in EPISODIC.get(family, ()):
        for g, discount in enumerate(DISCOUNTS):
            yield _episodic(family, sizes, discount, limit, g)


def _member(family: str, sizes: Sizes, g: int, p: int, kind: str) -> Problem:
    for attempt in range(400):
        stream = Stream("catalogue", family, repr(sizes), g, p, attempt)
        make = _gaussian if family == "gaussian" else _discrete
        problem = make(stream, family, sizes, DISCOUNTS[g], p, kind)
        if problem is not None and refusal(problem) is None:
            return problem
    raise InvalidArgument(f"the catalogue of {family} has no problem {sizes}, γ number {g}, {p}")


def _aliased_chains() -> Iterator[Problem]:
    """The named MDP on which a missing γᵗ reverses the update; its first two states look alike."""
    observations = features_from(((1, 0), (1, 0), (0, 1), (0, 0)))
    for weights in (((1, 1), (1, 1)), ((1, 2), (1, 1)), ((3, 1), (1, 2))):
        mdp = aliased_chain()
        table = [[[Fraction(p) for p in row] for row in rows] for rows in mdp.transitions.tolist()]
        odds = odds_from(observations, weights)
        initial = [Fraction(int(s == 0)) for s in range(4)]
        paths = exact_paths(table, initial, odds, mdp.terminal_states.tolist(), 3)
        theta = np.log(np.array(weights, dtype=float)).ravel()
        yield Problem(mdp, policy_of("softmax", Sizes(4, 2, 2)), observations, theta, "softmax",
                      name="aliased chain", paths=paths)  # fmt: skip


def _episodic(family: str, sizes: Sizes, discount: Fraction, limit: int, g: int) -> Problem:
    for attempt in range(2000):
        stream = Stream("catalogue episodes", family, repr(sizes), limit, g, attempt)
        problem = episodic_problem(stream, family, sizes, discount, time_limit=limit, seed=2 * g)
        if problem is None or refusal(problem) is not None:
            continue
        # Few enough to print.
        if problem.paths is not None and sum(path.count for path in problem.paths) <= 144:
            return problem
    raise InvalidArgument(f"the catalogue of {family} has no episodes for {sizes}, γ = {discount}")


def _simple_transitions(stream: Stream, states: int, actions: int) -> Table:
    """Every move certain or a fair coin between two states."""
    table: Table = []
    for _ in range(states):
        rows = []
        for _ in range(actions):
            first, second = stream.integers(0, states - 1, 2)
            if stream.integer(0, 2):
                second = first
            row = [Fraction(0)] * states
            row[first] += Fraction(1, 2)
            row[second] += Fraction(1, 2)
            rows.append(row)
        table.append(rows)
    return table


def _start(stream: Stream, states: int) -> list[Fraction]:
    """Always in the first state, or in any with equal chance."""
    if stream.integer(0, 1):
        return [Fraction(1, states)] * states
    return [Fraction(int(s == 0)) for s in range(states)]


def _with_kind(problem: Problem, kind: str, design: Design | None, seed: int) -> Problem:
    """The wanted kind of batch; an ordinary one where the exact one would be too long."""
    if kind == "exact" and design is None:
        kind = "ordinary"
    return replace(
        problem, batch_kind=kind, batch_seed=seed, design=design if kind == "exact" else None
    )


def _discrete(
    stream: Stream, family: str, sizes: Sizes, discount: Fraction, p: int, kind: str
) -> Problem | None:
    states, actions, features = sizes.states, sizes.actions, sizes.features
    table = _simple_transitions(stream, states, actions)
    if all(row == rows[0] for rows in table for row in rows):
        return None
    initial = _start(stream, states)
    rewards = np.array(stream.integers(0, 3, states * actions), dtype=float)
    policy: Any = policy_of(family, sizes)
    observations = (
        np.eye(states) if family == "tabular" else features_from(FEATURES[states, features])
    )
    largest = (p + 1) // 2 + 1 if p else 1
    weights = [stream.integers(1, largest, actions) for _ in range(features)]
    if p and any(len(set(row)) == 1 for row in weights):
        return None
    odds = odds_from(observations, weights)
    if family == "mlp":
        start = np.rint(4.0 * 0.8 * stream.bell(policy.num_parameters)) / 4.0
        try:
            theta = solve_for_odds(policy, start, observations, odds)
        except InvalidArgument:
            return None
    else:
        theta = np.log(np.array(weights, dtype=float)).ravel()
    model = RationalModel(table, initial, discount)
    transitions, begin, gamma = model.arrays()
    mdp = MDP(transitions, rewards.reshape(states, actions), gamma, begin)
    problem = Problem(mdp, policy, observations, theta, family)
    design = rational_design(table, initial, odds, discount)
    return _with_kind(problem, kind, design, stream.integer(0, 99))


def _gaussian(
    stream: Stream, family: str, sizes: Sizes, discount: Fraction, p: int, kind: str
) -> Problem | None:
    states, size, features = sizes.states, sizes.actions, sizes.features
    table = _simple_transitions(stream, states, 1)
    initial = _start(stream, states)
    constant = np.array(stream.integers(0, 3, states), dtype=float)
    linear = np.array(stream.integers(-2, 2, states * size), dtype=float).reshape(states, size)
    quadratic = np.zeros((states, size, size))
    quadratic[:] = np.eye(size) * -0.5
    policy = policy_of(family, sizes)
    # Policy 0 has mean zero and σ = 1/2; then weights of a half and σ of 1/2 or 2.
    largest = 0 if p == 0 else (p + 1) // 2
    weights = np.array(stream.integers(-largest, largest, features * size)) / 2.0
    if p and not weights.any():
        return None
    signs = [-1 if p == 0 else stream.choice((-1, 1)) for _ in range(size)]
    theta = np.concatenate([weights, np.log(2.0) * np.array(signs)])
    model = RationalModel(table, initial, discount)
    design = rational_design(table, initial, [[1]] * states, discount, {1: 25, 2: 12}[size])
    transitions, begin, gamma = model.arrays()
    mdp = QuadraticMDP(transitions[:, 0], (constant, linear, quadratic), gamma, begin)
    problem = Problem(mdp, policy, features_from(FEATURES[states, features]), theta, family)
    if design is not None:
        design = with_nodes(replace(model, design=design), size).design
    return _with_kind(problem, kind, design, stream.integer(0, 99))
