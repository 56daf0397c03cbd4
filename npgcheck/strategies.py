"""Hypothesis strategies over MDPs, policies and parameters.

Each strategy states its domain and what it shrinks to; a companion test shows that the hard
corners are reached (an absorbing state, an unreachable state, a nearly deterministic policy,
γ = 0 and γ near 1). Numbers are ratios of small integers where nothing else is needed, so that a
failing example can be read.

    @given(strategies.problems())
    def test_something(setting):
        problem = Problem(*setting)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import DiscretePolicy, GaussianBase, GaussianPolicy, MLPPolicy, SoftmaxPolicy

Array = np.ndarray

MAX_DISCOUNT = 0.999999
"""The largest γ drawn: V is then up to a million rewards, and I − γP_π has lost six digits."""

FAMILIES = ("tabular", "softmax", "mlp", "gaussian")


class Setting(NamedTuple):
    """An MDP, a policy and parameters; ``Problem(*setting)`` is the problem.

    Attributes:
        mdp: an ``MDP``, or a ``QuadraticMDP`` where the policy is Gaussian.
        policy: the policy object.
        observations: (S, k).
        theta: (D,).
        family: "tabular", "softmax", "mlp" or "gaussian".
    """

    mdp: Any
    policy: Any
    observations: Array
    theta: Array
    family: str


def discounts(largest: float = MAX_DISCOUNT) -> st.SearchStrategy[float]:
    """γ in [0, largest]: simple values, the ends, and anything between. Shrinks to 0."""
    simple = [value for value in (0.0, 0.5, 0.9, 0.99) if value < largest]
    anything = st.floats(0.0, largest, allow_subnormal=False)
    return st.one_of(st.sampled_from([*simple, largest]), anything)


def _distributions(rows: int, size: int, home: Sequence[int]) -> st.SearchStrategy[Array]:
    """(rows, size) ratios of integers 0 … 4; a row of zeros is certain at its ``home``."""

    def normalise(counts: list[list[int]]) -> Array:
        table = np.array(counts, dtype=np.float64).reshape(rows, size)
        empty = np.flatnonzero(table.sum(axis=1) == 0)
        table[empty, np.asarray(home)[empty]] = 1.0
        return table / table.sum(axis=1, keepdims=True)

    row = st.lists(st.integers(0, 4), min_size=size, max_size=size)
    return st.lists(row, min_size=rows, max_size=rows).map(normalise)


def _numbers(shape: tuple[int, ...], largest: int) -> st.SearchStrategy[Array]:
    """Quarters within ±largest. Shrinks to zero."""
    size = int(np.prod(shape))
    quarters = st.integers(-4 * largest, 4 * largest)
    return st.lists(quarters, min_size=size, max_size=size).map(
        lambda values: np.array(values, dtype=np.float64).reshape(shape) / 4.0
    )


@st.composite
def mdps(
    draw: st.DrawFn,
    min_states: int = 1,
    max_states: int = 5,
    min_actions: int = 1,
    max_actions: int = 4,
    max_discount: float = MAX_DISCOUNT,
) -> MDP:
    """Finite MDPs.

    Domain: sizes within the bounds, transition rows in ratios of integers 0 … 4 (certain moves,
    self-loops and unreachable states included), half of the time a terminal state, rewards
    quarters within ±4, any γ of :func:`discounts`, any start in ratios of integers.

    Shrinks to: the fewest states and actions, every action staying where it is, no reward, γ = 0,
    starting in state 0.
    """
    size = draw(st.integers(min_states, max_states), label="states")
    actions = draw(st.integers(min_actions, max_actions), label="actions")
    home = [s for s in range(size) for _ in range(actions)]
    transitions = draw(_distributions(size * actions, size, home), label="transitions")
    rewards = draw(_numbers((size, actions), 4), label="rewards")
    initial = draw(_distributions(1, size, [0]), label="initial distribution")
    discount = draw(discounts(max_discount), label="discount")
    # By chance alone a terminal state is rare: every action stays and pays nothing.
    end = draw(st.none() | st.integers(0, size - 1), label="terminal state")
    table = transitions.reshape(size, actions, size)
    if end is not None:
        table[end], rewards[end] = np.eye(size)[end], 0.0
    return MDP(table, rewards, discount, initial[0])


@st.composite
def quadratic_mdps(
    draw: st.DrawFn,
    min_states: int = 1,
    max_states: int = 5,
    max_action_size: int = 3,
    max_discount: float = MAX_DISCOUNT,
) -> QuadraticMDP:
    """Chains with a quadratic reward.

    Domain: as :func:`mdps`; c, b and the symmetric M are quarters within ±4, ±2 and ±2.

    Shrinks to: the fewest states, one action dimension, staying in place, no reward, γ = 0.
    """
    size = draw(st.integers(min_states, max_states), label="states")
    width = draw(st.integers(1, max_action_size), label="action dimensions")
    transitions = draw(_distributions(size, size, list(range(size))), label="transitions")
    initial = draw(_distributions(1, size, [0]), label="initial distribution")
    constant = draw(_numbers((size,), 4), label="constant reward")
    linear = draw(_numbers((size, width), 2), label="linear reward")
    half = draw(_numbers((size, width, width), 1), label="quadratic reward")
    discount = draw(discounts(max_discount), label="discount")
    reward = (constant, linear, half + half.transpose(0, 2, 1))
    return QuadraticMDP(transitions, reward, discount, initial[0])


def observations(num_states: int, observation_size: int) -> st.SearchStrategy[Array]:
    """(S, k) quarters within ±2; states may look alike or show nothing. Shrinks to zeros."""
    return _numbers((num_states, observation_size), 2)


def policies(
    family: str, num_states: int, num_actions: int, max_features: int = 4
) -> st.SearchStrategy[Any]:
    """Policy objects of a family for S states and A actions (or m action dimensions).

    Domain: tabular has k = S; the others 1 … ``max_features`` features; an MLP one or two hidden
    layers of 1 … 4 units.

    Shrinks to: one feature, one hidden unit.
    """
    features = st.integers(1, max_features)
    if family == "tabular":
        return st.just(SoftmaxPolicy(num_states, num_actions))
    if family == "softmax":
        return features.map(lambda k: SoftmaxPolicy(k, num_actions))
    if family == "gaussian":
        return features.map(lambda k: GaussianPolicy(k, num_actions))
    if family == "mlp":
        hidden = st.lists(st.integers(1, 4), min_size=1, max_size=2)
        return st.builds(lambda k, h: MLPPolicy(k, num_actions, tuple(h)), features, hidden)
    raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")


def parameters(
    policy: DiscretePolicy | GaussianBase, extreme: bool = True
) -> st.SearchStrategy[Array]:
    """θ (D,) for a policy.

    Domain: quarters within ±3; with ``extreme``, any entry may also be ±30 (probabilities of
    1e-13) or ±1000 (deterministic to every digit). A Gaussian policy's log σ are quarters within
    ±3, so that σ stays within [0.05, 20].

    Shrinks to: zeros, the uniform policy (or mean zero and σ = 1).
    """
    ordinary = st.integers(-12, 12).map(lambda value: value / 4.0)
    entry = ordinary
    if extreme:
        entry = st.one_of(ordinary, st.sampled_from([30.0, -30.0, 1000.0, -1000.0]))
    size = policy.num_parameters
    tail = policy.action_size if isinstance(policy, GaussianBase) else 0
    return st.tuples(
        st.lists(entry, min_size=size - tail, max_size=size - tail),
        st.lists(ordinary, min_size=tail, max_size=tail),
    ).map(lambda parts: np.array([*parts[0], *parts[1]], dtype=np.float64))


@st.composite
def problems(
    draw: st.DrawFn,
    families: Sequence[str] = FAMILIES,
    min_states: int = 1,
    max_states: int = 5,
    max_discount: float = MAX_DISCOUNT,
    extreme: bool = True,
) -> Setting:
    """MDP, policy, observations and θ that fit together.

    Domain: the product of :func:`mdps` (or :func:`quadratic_mdps`), :func:`policies`,
    :func:`observations` and :func:`parameters`; the corners of each occur together.

    Shrinks to: the first of ``families``, then as its parts do.
    """
    family = draw(st.sampled_from(list(families)), label="family")
    mdp: Any
    if family == "gaussian":
        mdp = draw(quadratic_mdps(min_states, max_states, max_discount=max_discount))
        width = mdp.action_size
    else:
        mdp = draw(mdps(min_states, max_states, max_discount=max_discount))
        width = mdp.num_actions
    policy = draw(policies(family, mdp.num_states, width), label="policy")
    if family == "tabular":
        seen = np.eye(mdp.num_states)
    else:
        seen = draw(observations(mdp.num_states, policy.observation_size), label="observations")
    theta = draw(parameters(policy, extreme), label="theta")
    return Setting(mdp, policy, seen, theta, family)
