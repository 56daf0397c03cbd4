"""Episodes without noise: whole trajectories of equal weight whose law is exact.

In an episodic MDP with rational transitions and a policy of integer odds, absorption within a
few steps leaves finitely many trajectories; a trajectory of probability j/N appears j times in
the list, so that any mean over the list is the expectation itself. Discounting is *not* in the
list: a row at time t counts γᵗ.

A time limit H cuts what is not absorbed after H steps. The list is then the exact law of the cut
process: its last rows carry ``truncated`` and ``next_values = V(s_H)``, which a right estimate
bootstraps from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from npgcheck.batches import arrivals, transition_rows

if TYPE_CHECKING:
    from npgcheck.problem import Problem

Array = np.ndarray

MAX_EPISODES = 400
"""An exact list of episodes is kept to about this many."""


@dataclass(frozen=True)
class Path:
    """One trajectory of the exact law.

    Attributes:
        states: s_0 … s_T.
        actions: a_0 … a_{T−1}.
        count: how many of the equal-weight episodes are this one.
        truncated: whether the time limit cut it before a terminal state.
    """

    states: tuple[int, ...]
    actions: tuple[int, ...]
    count: int
    truncated: bool = False


@dataclass(frozen=True, eq=False)
class Episode:
    """One trajectory of T steps.

    Attributes:
        states: (T,) int64, s_0 … s_{T−1}.
        observations: (T, k).
        actions: (T,) int64.
        rewards: (T,), r(s_t, a_t).
        advantages: (T,), A^π(s_t, a_t), exact.
        values: (T,), V^π(s_t), exact.
        next_states: (T,) int64, s_1 … s_T.
        next_values: (T,), V^π(s_{t+1}), 0 where terminated; at a truncation V^π(s_T).
        terminated: (T,) bool, True only on a last row that entered a terminal state.
        truncated: (T,) bool, True only on a last row that the time limit cut.
        log_probs: (T,), log π(a_t|s_t), nats.
        discount: γ.
        exact: True: the list of episodes has the exact law.
        kind: "exact".
    """

    states: Array
    observations: Array
    actions: Array
    rewards: Array
    advantages: Array
    values: Array
    next_states: Array
    next_values: Array
    terminated: Array
    truncated: Array
    log_probs: Array
    discount: float
    exact: bool = True
    kind: str = "exact"

    def __len__(self) -> int:
        return len(self.states)


def exact_paths(
    transitions: Sequence[Sequence[Sequence[Fraction]]],
    initial: Sequence[Fraction],
    odds: Sequence[Sequence[int]],
    terminal: Sequence[bool],
    horizon: int,
    *,
    time_limit: bool = False,
    limit: int = MAX_EPISODES,
) -> tuple[Path, ...] | None:
    """The whole law of trajectories as counts over a common denominator.

    Args:
        transitions: `P[s][a][s']`.
        initial: ρ[s], zero at terminal states.
        odds: `x[s][a]`, π(a|s) = x_sa / Σ_a x_sa.
        terminal: which states end an episode.
        horizon: the longest episode.
        time_limit: cut what is not absorbed by ``horizon``; without it such a path is refused.
        limit: the largest number of episodes.

    Returns:
        Paths in lexicographic order, or None where the law needs more than ``limit`` episodes,
        or a path without a time limit is longer than ``horizon``.
    """
    found: list[tuple[tuple[int, ...], tuple[int, ...], Fraction]] = []
    stack: list[tuple[tuple[int, ...], tuple[int, ...], Fraction]] = [
        ((s,), (), p) for s, p in reversed(list(enumerate(initial))) if p
    ]
    while stack:
        states, actions, weight = stack.pop()
        here = states[-1]
        if terminal[here] or len(actions) == horizon:
            if not terminal[here] and not time_limit:
                return None
            found.append((states, actions, weight))
            if len(found) > limit:
                return None
            continue
        total = sum(odds[here])
        stack += [
            ((*states, t), (*actions, a), weight * Fraction(x, total) * p)
            for a, x in reversed(list(enumerate(odds[here])))
            for t, p in reversed(list(enumerate(transitions[here][a])))
            if x and p
        ]
    size = lcm(*(weight.denominator for _, _, weight in found))
    if size > limit:
        return None
    return tuple(
        Path(states, actions, int(weight * size), not terminal[states[-1]])
        for states, actions, weight in found
    )


def build_episodes(problem: Problem) -> tuple[Episode, ...]:
    """Every path as often as its count says, as separate read-only episodes."""
    paths = problem.paths
    if paths is None:
        raise AssertionError("a problem with exact episodes carries their paths")
    lengths = [len(path.actions) for path in paths]
    states = np.concatenate([np.array(path.states[:-1]) for path in paths])
    actions = np.concatenate([np.array(path.actions) for path in paths])
    next_states = np.concatenate([np.array(path.states[1:]) for path in paths])
    columns = transition_rows(problem, states, actions) | arrivals(problem, next_states)
    stops = np.cumsum(lengths)
    columns["truncated"] = np.zeros(len(states), dtype=bool)
    columns["truncated"][stops - 1] = [path.truncated for path in paths]
    gamma = float(problem.mdp.discount)
    episodes = []
    for path, length, stop in zip(paths, lengths, stops, strict=True):
        for _ in range(path.count):
            fields: dict[str, Any] = {
                name: column[stop - length : stop].copy() for name, column in columns.items()
            }
            for field in fields.values():
                field.flags.writeable = False
            episodes.append(Episode(**fields, discount=gamma))
    return tuple(episodes)
