"""MDPs with a name: examples of the literature, small worlds, random ones, imported ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, InvalidMDP
from npgcheck.mdp import MDP

Array = np.ndarray


def kakade_two_state(discount: float = 0.9) -> MDP:
    """Kakade's two states: stay (action 0) or move (action 1); staying pays 1 in i, 2 in j.

    From (ρ_i, ρ_j) = (4/5, 1/5) the best policy moves from i and stays in j. With γ = 9/10:
    V*(j) = 20, V*(i) = 18, J* = 92/5. Source: Kakade (2001), there with the average reward.
    """
    transitions = np.zeros((2, 2, 2))
    transitions[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 1
    rewards = np.array([[1.0, 0.0], [2.0, 0.0]])
    return MDP(transitions, rewards, discount, np.array([0.8, 0.2]), name="kakade two states")


def aliased_chain(discount: float = 0.5) -> MDP:
    """Three decisions and an end; a policy that cannot tell the states apart shows a missing γᵗ.

    States 0, 1, 2 (c) and 3 (the end); actions L = 0, R = 1. State 0: R pays 1, both lead to 1.
    State 1: L pays 7/2 and ends, R leads to c. State c: both pay 4 and end. Under one shared
    probability p of R, J = p + γ(1 − p)·7/2 + γ²·4p: at γ = 1/2 the slope is +1/4, while without
    the γᵗ in the state weights the update is −1/2 and points the wrong way.

    Pair it with observations `np.ones((4, 1))`.
    """
    transitions = np.zeros((4, 2, 4))
    transitions[0, :, 1] = 1
    transitions[1, 0, 3] = transitions[1, 1, 2] = 1
    transitions[2, :, 3] = transitions[3, :, 3] = 1
    rewards = np.array([[0.0, 1.0], [3.5, 0.0], [4.0, 4.0], [0.0, 0.0]])
    return MDP(transitions, rewards, discount, np.array([1.0, 0, 0, 0]), name="aliased chain")


def gridworld(
    rows: int = 3, columns: int = 4, discount: float = 0.9, slip: float = 0.25, sparse: bool = False
) -> MDP:
    """A grid whose last cell is absorbing; entering it pays 1, everything else 0.

    Actions north, east, south, west; with probability `slip` the move goes to one of the two
    sides instead, half each; a move into the wall stays. The start is the first cell. State
    r · columns + c is row r, column c.
    """
    if rows < 1 or columns < 1 or rows * columns < 2:
        raise InvalidArgument(f"a gridworld needs at least two cells, got {rows} × {columns}.")
    if not 0 <= slip <= 1:
        raise InvalidArgument(f"slip must lie in [0, 1], got {slip!r}.")
    size = rows * columns
    goal = size - 1
    row, column = np.divmod(np.arange(size), columns)
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1))
    landing = np.stack(
        [
            np.clip(row + dr, 0, rows - 1) * columns + np.clip(column + dc, 0, columns - 1)
            for dr, dc in moves
        ],
        axis=1,
    )
    landing[goal] = goal
    state, action = np.repeat(np.arange(size), 4), np.tile(np.arange(4), size)
    pairs, targets, masses = [], [], []
    for turn, chance in ((0, 1 - slip), (1, slip / 2), (3, slip / 2)):
        pairs.append(state * 4 + action)
        targets.append(landing[state, (action + turn) % 4])
        masses.append(np.full(size * 4, chance))
    flat = _table(size * 4, size, pairs, targets, masses, sparse)
    arrival = np.zeros((size, 4))
    for pair, target, mass in zip(pairs, targets, masses, strict=True):
        np.add.at(arrival, (pair // 4, pair % 4), np.where(target == goal, mass, 0.0))
    arrival[goal] = 0
    start = np.zeros(size)
    start[0] = 1
    return MDP(
        flat if sparse else flat.reshape(size, 4, size),
        arrival, discount, start, name=f"gridworld {rows}x{columns}",
    )  # fmt: skip


def garnet(
    num_states: int,
    num_actions: int,
    branching: int,
    discount: float = 0.9,
    seed: int = 0,
    sparse: bool = False,
) -> MDP:
    """A random MDP with `branching` distinct successors per pair (Archibald et al. 1995).

    Successor probabilities are the gaps between uniform cuts of [0, 1]; rewards are uniform on
    [0, 1]; the start is uniform. The same seed gives the same MDP: only uniform doubles of PCG64
    are drawn.
    """
    if not 1 <= branching <= num_states:
        raise InvalidArgument(f"branching must lie in 1 … S = {num_states}, got {branching}.")
    rng = np.random.default_rng(seed)
    pairs = num_states * num_actions
    # b sorted draws from 0 … S − b, spread by 0, 1, …, b − 1, are b distinct states
    spread = (rng.random((pairs, branching)) * (num_states - branching + 1)).astype(np.int64)
    spread.sort(axis=1)
    successors = spread + np.arange(branching)
    cuts = np.sort(rng.random((pairs, branching - 1)), axis=1)
    edges = np.concatenate([np.zeros((pairs, 1)), cuts, np.ones((pairs, 1))], axis=1)
    index = np.repeat(np.arange(pairs), branching)
    flat = _table(
        pairs, num_states, [index], [successors.ravel()], [np.diff(edges).ravel()], sparse
    )
    return MDP(
        flat if sparse else flat.reshape(num_states, num_actions, num_states),
        rng.random((num_states, num_actions)), discount,
        np.full(num_states, 1 / num_states),
        name=f"garnet S={num_states} A={num_actions} b={branching} seed={seed}",
    )  # fmt: skip


def _table(
    rows: int,
    columns: int,
    pairs: list[Array],
    targets: list[Array],
    masses: list[Array],
    sparse: bool,
) -> Any:
    index = (np.concatenate(pairs), np.concatenate(targets))
    mass = np.concatenate(masses)
    if sparse:
        from scipy.sparse import coo_array

        return coo_array((mass, index), shape=(rows, columns)).tocsr()
    table = np.zeros((rows, columns))
    np.add.at(table, index, mass)
    return table


def from_gymnasium_table(
    table: Mapping[int, Mapping[int, list[tuple[float, int, float, bool]]]],
    discount: float,
    initial_distribution: Any = None,
    name: str = "",
) -> MDP:
    """An MDP from a Gymnasium toy-text table, `env.unwrapped.P`.

    `table[s][a]` lists (probability, next state, reward, terminated). A transition marked
    terminated ends the episode: nothing after it counts. It leads to its next state where that is
    absorbing and pays nothing for good (FrozenLake), otherwise to one state added at the end
    (Taxi, CliffWalking, whose tables go on behind the end).

    Args:
        table: the mapping; states and actions numbered from 0.
        discount: γ in [0, 1).
        initial_distribution: over the states of the table, for instance
            `env.unwrapped.initial_state_distrib`; None is uniform.
        name: what reports call it.

    Returns:
        The MDP, with rewards averaged over the next state.

    Raises:
        InvalidMDP: gaps in the numbering, a next state outside the table, bad probabilities.
    """
    size = len(table)
    if size == 0 or set(table) != set(range(size)):
        raise InvalidMDP("the table's states must be numbered 0 … S − 1 without gaps.")
    actions = len(table[0])
    for s in range(size):
        if actions == 0 or set(table[s]) != set(range(actions)):
            raise InvalidMDP(
                f"the table's state {s} must have the actions 0 … {max(actions - 1, 0)},"
                f" got {sorted(table[s])}."
            )
        for a in range(actions):
            for _, target, _, _ in table[s][a]:
                if not 0 <= target < size:
                    raise InvalidMDP(f"table[{s}][{a}] leads to {target}, outside the table.")
    final = [_is_final(table[s], s) for s in range(size)]
    entries = [
        (s, a, float(p), int(target), float(reward), bool(ended))
        for s in range(size)
        for a in range(actions)
        for p, target, reward, ended in table[s][a]
    ]
    extra = any(ended and not final[target] for _, _, _, target, _, ended in entries)
    total = size + extra
    transitions = np.zeros((total, actions, total))
    rewards = np.zeros((total, actions))
    for s, a, p, target, reward, ended in entries:
        transitions[s, a, size if ended and not final[target] else target] += p
        rewards[s, a] += p * reward
    if extra:
        transitions[size, :, size] = 1
    if initial_distribution is None:
        start = np.full(size, 1 / size)
    else:
        start = np.asarray(initial_distribution, dtype=np.float64)
        if start.shape != (size,):
            raise InvalidMDP(f"initial_distribution must have shape ({size},), got {start.shape}.")
    return MDP(transitions, rewards, discount, np.append(start, np.zeros(int(extra))), name=name)


def _is_final(row: Mapping[int, list[tuple[float, int, float, bool]]], state: int) -> bool:
    return all(
        target == state and reward == 0
        for outcomes in row.values()
        for _, target, reward, _ in outcomes
    )


#: The named MDPs by name; each value makes one.
NAMED: dict[str, Callable[[], MDP]] = {
    "kakade": kakade_two_state,
    "aliased": aliased_chain,
    "gridworld": gridworld,
    "garnet": lambda: garnet(6, 3, 2),
}
