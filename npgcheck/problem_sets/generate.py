"""Random problems of one family from a stream: exact, ordinary and episodic ones.

Numbers stay simple on purpose: transitions are ratios of small integers, parameters logarithms of
small integers or multiples of 2⁻¹⁰, rewards small integers or multiples of 2⁻⁸.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from npgcheck.designs import (
    Counts,
    RationalModel,
    Table,
    chain_contingency,
    contingency,
    solve_for_odds,
    with_nodes,
)
from npgcheck.episodes import Path, exact_paths
from npgcheck.errors import InvalidArgument
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy
from npgcheck.problem import Problem
from npgcheck.problem_sets.build import odds_from
from npgcheck.streams import Stream

Array = np.ndarray


@dataclass(frozen=True)
class Sizes:
    """S states, A actions (or m action dimensions), k features, h hidden units (MLP)."""

    states: int
    actions: int
    features: int
    hidden: int = 0


def dyadic(values: Any, bits: int = 10) -> Array:
    """The nearest multiples of 2^−bits."""
    return np.rint(np.asarray(values) * 2.0**bits) / 2.0**bits


# --- policies -----------------------------------------------------------------------------------


def policy_of(family: str, sizes: Sizes) -> Any:
    """The policy object of a family."""
    if family == "gaussian":
        return GaussianPolicy(sizes.features, sizes.actions)
    if family == "mlp":
        return MLPPolicy(sizes.features, sizes.actions, (sizes.hidden,))
    return SoftmaxPolicy(sizes.features, sizes.actions)


def real_features(stream: Stream, states: int, features: int) -> Array:
    """(S, k) multiples of 2⁻⁶ within ±2, no two states alike."""
    return dyadic(0.6 * stream.bell(states * features).reshape(states, features), 6)


def binary_features(stream: Stream, states: int, features: int) -> Array:
    """(S, k) of zeros and ones, one or two ones per row, every feature used, states may alias."""
    rows = np.zeros((states, features))
    order = [j % features for j in range(states)]
    for s, j in zip(stream.permutation(states), order, strict=True):
        rows[s, j] = 1.0
        if stream.integer(0, 2) == 0:
            rows[s, (j + 1) % features] = 1.0
    for unused in np.flatnonzero(rows.sum(axis=0) == 0):
        rows[stream.integer(0, states - 1), unused] = 1.0
    return rows


def odds_policy(
    stream: Stream, family: str, sizes: Sizes, terminal: int | None = None, largest: int = 3
) -> tuple[Any, Array, Array, Counts] | None:
    """A policy with integer odds: (policy, observations, θ, odds), or None where none was found.

    Args:
        stream: where the choices come from.
        family: "tabular", "softmax" or "mlp".
        sizes: of the problem.
        terminal: a state that shows nothing (zero features; uniform odds where it has its own).
        largest: the largest integer weight.
    """
    states, actions, features = sizes.states, sizes.actions, sizes.features
    policy = policy_of(family, sizes)
    if family == "softmax":
        observations = binary_features(stream, states, features)
        if terminal is not None:
            observations[terminal] = 0.0
            if (observations.sum(axis=0) == 0).any():
                return None
        weights = [stream.integers(1, largest, actions) for _ in range(features)]
        theta = np.log(np.array(weights, dtype=float)).ravel()
        return policy, observations, theta, odds_from(observations, weights)
    odds = [stream.integers(1, largest, actions) for _ in range(states)]
    if terminal is not None:
        odds[terminal] = [1] * actions
    if family == "tabular":
        return policy, np.eye(states), np.log(np.array(odds, dtype=float)).ravel(), odds
    observations = real_features(stream, states, features)
    if terminal is not None:
        observations[terminal] = 0.0
    start = dyadic(0.8 * stream.bell(policy.num_parameters))
    try:
        return policy, observations, solve_for_odds(policy, start, observations, odds), odds
    except InvalidArgument:
        return None


# --- exact batches ------------------------------------------------------------------------------


def exact_problem(
    stream: Stream, family: str, sizes: Sizes, discount: Fraction, *, seed: int = 0
) -> Problem | None:
    """A problem whose batch is d π P exactly, or None where the stream met none."""
    if family == "gaussian":
        return _exact_gaussian(stream, sizes, discount, seed)
    chosen = odds_policy(stream, family, sizes)
    if chosen is None:
        return None
    policy, observations, theta, odds = chosen
    model = contingency(stream, odds, discount)
    if model is None:
        return None
    rewards = np.array(stream.integers(-4, 5, len(odds) * sizes.actions), dtype=float)
    transitions, initial, gamma = model.arrays()
    mdp = MDP(transitions, rewards.reshape(len(odds), -1), gamma, initial)
    return Problem(
        mdp, policy, observations, theta, family,
        batch_kind="exact", batch_seed=seed, design=model.design,
    )  # fmt: skip


def _quadratic_reward(stream: Stream, states: int, size: int) -> tuple[Array, Array, Array]:
    """(c, b, M): M symmetric with a negative diagonal, so that the best mean is inside."""
    constant = dyadic(2.0 * stream.bell(states), 6)
    linear = dyadic(1.5 * stream.bell(states * size), 6).reshape(states, size)
    cross = dyadic(0.3 * stream.bell(states * size * size), 6).reshape(states, size, size)
    quadratic = cross + cross.transpose(0, 2, 1)
    for i in range(size):
        quadratic[:, i, i] = -dyadic(0.3 + 0.9 * stream.uniform(states), 6)
    return constant, linear, quadratic


def _log_std(stream: Stream, size: int) -> Array:
    """(m,) log σ in ±[0.15, 0.9]: σ is never 1 and never the same twice in a row by design."""
    size_of = 0.15 + 0.75 * stream.uniform(size)
    return dyadic(np.where(stream.uniform(size) < 0.5, -size_of, size_of))


def _gaussian_policy(stream: Stream, sizes: Sizes, scale: float) -> tuple[Any, Array, Array]:
    policy = policy_of("gaussian", sizes)
    observations = real_features(stream, sizes.states, sizes.features)
    weights = dyadic(scale * stream.bell(sizes.features * sizes.actions))
    return policy, observations, np.concatenate([weights, _log_std(stream, sizes.actions)])


def _exact_gaussian(stream: Stream, sizes: Sizes, discount: Fraction, seed: int) -> Problem | None:
    # 12, 36 or 72 nodes per chain row: at most 25, 12 or 6 chain rows keep N below 440.
    limit = {1: 25, 2: 12}.get(sizes.actions, 6)
    try:
        chain = chain_contingency(stream, sizes.states, discount, limit)
    except InvalidArgument:
        return None
    model: RationalModel = with_nodes(chain, sizes.actions)
    transitions, initial, gamma = model.arrays()
    reward = _quadratic_reward(stream, sizes.states, sizes.actions)
    policy, observations, theta = _gaussian_policy(stream, sizes, 0.6)
    mdp = QuadraticMDP(transitions[:, 0], reward, gamma, initial)
    return Problem(
        mdp, policy, observations, theta, "gaussian",
        batch_kind="exact", batch_seed=seed, design=model.design,
    )  # fmt: skip


# --- ordinary -----------------------------------------------------------------------------------

TRANSITIONS = ("dense", "sparse", "nearly deterministic")


def transition_counts(stream: Stream, states: int, actions: int, kind: str) -> Array:
    """(S, A, S) non-negative integers; a ring through all states keeps the chain irreducible."""
    counts = np.zeros((states, actions, states), dtype=np.int64)
    if kind == "dense":
        counts[:] = np.array(stream.integers(1, 9, counts.size)).reshape(counts.shape)
    else:
        pairs = states * actions
        main = np.array(stream.integers(0, states - 1, pairs)).reshape(states, actions)
        other = np.array(stream.integers(0, states - 1, pairs)).reshape(states, actions)
        share = 9 if kind == "nearly deterministic" else stream.integer(1, 3)
        s, a = np.meshgrid(np.arange(states), np.arange(actions), indexing="ij")
        np.add.at(counts, (s, a, main), share)
        np.add.at(counts, (s, a, other), 1)
        ring = stream.permutation(states)
        counts[ring, np.array(stream.integers(0, actions - 1, states)), np.roll(ring, -1)] += 2
    return counts


def ordinary_problem(
    stream: Stream,
    family: str,
    sizes: Sizes,
    discount: float,
    *,
    kind: str = "ordinary",
    transitions: str = "dense",
    scale: float = 1.0,
    reward_scale: float = 1.0,
    seed: int = 0,
) -> Problem:
    """A problem with drawn rows: any rational transitions, θ of the given scale."""
    states, actions = sizes.states, sizes.actions
    chain_actions = 1 if family == "gaussian" else actions
    counts = transition_counts(stream, states, chain_actions, transitions)
    table = counts / counts.sum(axis=2, keepdims=True)
    starts = np.array(stream.integers(0, 5, states))
    starts[stream.integer(0, states - 1)] += 3
    initial = starts / starts.sum()
    if family == "gaussian":
        reward = tuple(part * reward_scale for part in _quadratic_reward(stream, states, actions))
        mdp: Any = QuadraticMDP(table[:, 0], reward, discount, initial)  # type: ignore[arg-type]
        policy, observations, theta = _gaussian_policy(stream, sizes, 0.6 * scale)
    else:
        rewards = dyadic(2.0 * stream.bell(states * actions), 8).reshape(states, actions)
        mdp = MDP(table, rewards * reward_scale, discount, initial)
        policy = policy_of(family, sizes)
        observations = (
            np.eye(states) if family == "tabular" else real_features(stream, states, sizes.features)
        )
        theta = dyadic(scale * stream.bell(policy.num_parameters))
    return Problem(mdp, policy, observations, theta, family, batch_kind=kind, batch_seed=seed)


def trap_problem(
    stream: Stream,
    sizes: Sizes,
    discount: float,
    *,
    kind: str = "ordinary",
    pays: float = -1.0,
    seed: int = 0,
) -> Problem:
    """An ordinary softmax problem whose longest step goes wrong, although g and F are exact.

    In the last state the first action is rare, and its features are large. While it is rare,
    neither g nor F sees much of it; along x its odds grow by a large factor. Where it pays badly
    (``pays`` = −1), the step keeps KL within bounds and loses; where it pays well (1), the step
    gains and its KL is several times the allowed one.
    """
    plain = ordinary_problem(stream, "softmax", sizes, discount, kind=kind, scale=0.7, seed=seed)
    observations = plain.observations.copy()
    angle = 2.0 * np.pi * stream.uniform(1)[0]
    circle = np.cos(angle + 0.5 * np.pi * np.arange(sizes.features))
    observations[-1] = dyadic(stream.integer(3, 6) * circle, 6)
    wanted = np.zeros(sizes.actions)
    wanted[0] = -float(stream.integer(2, 5))
    weights = plain.theta.reshape(sizes.features, sizes.actions)
    logits = observations[-1] @ weights
    missing = wanted - (logits - logits.mean())
    weights = weights + np.outer(observations[-1], missing) / (observations[-1] @ observations[-1])
    rewards = plain.mdp.rewards.copy()
    rewards[-1, 0] += pays * 10.0 * 2.0 ** stream.integer(0, 2)
    mdp = MDP(plain.mdp.transitions, rewards, discount, plain.mdp.initial_distribution)
    return replace(plain, mdp=mdp, observations=observations, theta=dyadic(weights.ravel()))


# --- episodic -----------------------------------------------------------------------------------


def episodic_problem(
    stream: Stream,
    family: str,
    sizes: Sizes,
    discount: Fraction,
    *,
    time_limit: int = 0,
    seed: int = 0,
) -> Problem | None:
    """A problem with exact episodes of unequal lengths; its last state is terminal.

    Without a time limit every action leads to a later state or ends, so that an episode is at
    most S − 1 steps long; with one, transitions may lead back and some episodes are cut.
    """
    states, actions, end = sizes.states, sizes.actions, sizes.states - 1
    chosen = odds_policy(stream, family, sizes, terminal=end, largest=2)
    if chosen is None:
        return None
    policy, observations, theta, odds = chosen
    table = _episodic_transitions(stream, states, actions, back=time_limit > 0)
    initial = [Fraction(0)] * states
    if stream.integer(0, 1) and states > 3:
        initial[0] = initial[1] = Fraction(1, 2)
    else:
        initial[0] = Fraction(1)
    terminal = [s == end for s in range(states)]
    paths = exact_paths(
        table, initial, odds, terminal, time_limit or states, time_limit=time_limit > 0
    )
    if paths is None or not _instructive(paths, bool(time_limit)):
        return None
    rewards = np.array(stream.integers(-3, 5, states * actions), dtype=float)
    rewards = rewards.reshape(states, actions)
    rewards[end] = 0.0
    model = RationalModel(table, initial, discount)
    transitions, start, gamma = model.arrays()
    mdp = MDP(transitions, rewards, gamma, start)
    if mdp.terminal_states.sum() != 1:
        return None
    return Problem(mdp, policy, observations, theta, family, batch_seed=seed, paths=paths)


def _episodic_transitions(stream: Stream, states: int, actions: int, *, back: bool) -> Table:
    """Deterministic moves and fair coins; forward only unless ``back``."""
    end = states - 1
    table: Table = []
    for s in range(states):
        rows = []
        for a in range(actions):
            row = [Fraction(0)] * states
            if s == end:
                row[end] = Fraction(1)
            else:
                # The first action moves one state on, so that every state can be reached.
                low = 0 if back else s + 1
                first = s + 1 if a == 0 else stream.integer(low, end)
                second = stream.integer(low, end) if stream.integer(0, 2) == 0 else first
                row[first] += Fraction(1, 2)
                row[second] += Fraction(1, 2)
            rows.append(row)
        table.append(rows)
    return table


def _instructive(paths: tuple[Path, ...], time_limit: bool) -> bool:
    """Unequal lengths, at least three steps somewhere, and both kinds of ending under a limit."""
    lengths = {len(path.actions) for path in paths}
    endings = {path.truncated for path in paths}
    return len(lengths) > 1 and max(lengths) >= 3 and len(endings) == (2 if time_limit else 1)
