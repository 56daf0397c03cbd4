"""Finite Markov decision processes: what is given, validated once and never repaired.

    P[s, a, s'] = Pr(s' | s, a),   R[s, a] = E[reward | s, a],   0 <= γ < 1,   ρ(s) = Pr(s_0 = s)

Both classes copy what they are given, store float64 and make it read-only. A row that does not
sum to one is an error that names the row and the excess: nothing is renormalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, InvalidMDP

Array = np.ndarray


def _float_array(name: str, value: Any) -> tuple[Array, float]:
    """Returns a private C-ordered float64 copy and the unit round-off of the dtype given."""
    try:
        given = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidMDP(f"{name} is not an array of numbers: {error}.") from error
    if given.dtype.kind not in "fiub":
        raise InvalidMDP(f"{name} must hold real numbers, got dtype {given.dtype}.")
    kept = np.array(given, dtype=np.float64, order="C")
    return kept, _unit_roundoff(given.dtype)


def _unit_roundoff(dtype: Any) -> float:
    dtype = np.dtype(dtype)
    return float(np.finfo(dtype).eps) / 2 if dtype.kind == "f" else float(np.finfo(float).eps) / 2


def _check_finite(name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidMDP(f"{name}[{_join(index)}] is {array[index]}; every entry must be finite.")


def _join(index: tuple[int, ...]) -> str:
    return ", ".join(str(i) for i in index)


def _row_name(name: str, row: int, num_actions: int | None) -> str:
    if num_actions is None:
        return name
    if num_actions == 0:
        return f"{name}[{row}]"
    return f"{name}[{row // num_actions}, {row % num_actions}]"


def _check_rows(
    name: str, smallest: Array, sums: Array, size: int, unit: float, num_actions: int | None
) -> None:
    """Every row is a probability distribution: no negative entry, sum within 4·S·u of one."""
    if smallest.min() < 0:
        row = int(np.argmin(smallest))
        raise InvalidMDP(
            f"{_row_name(name, row, num_actions)} has a negative probability, {smallest[row]:.17g}."
            " Nothing was clipped."
        )
    # Summing S rounded terms, each p(1 + e) with |e| <= u, in any order: |error| <= S·u to first
    # order; the rows were rounded to the dtype (u each) and perhaps normalised (S·u more).
    limit = 4 * size * unit
    excess = np.abs(sums - 1)
    if not excess.max() <= limit:
        row = int(np.argmax(excess))
        raise InvalidMDP(
            f"{_row_name(name, row, num_actions)} sums to {sums[row]:.17g}, off by"
            f" {sums[row] - 1:+.3g} where {limit:.3g} (4·S·u) is allowed."
            " Nothing was renormalised: divide each row by its sum, or mend its source."
        )


def _check_discount(discount: Any) -> float:
    try:
        value = float(discount)
    except (TypeError, ValueError) as error:
        raise InvalidMDP(f"discount must be a number in [0, 1), got {discount!r}.") from error
    if not 0 <= value < 1:
        raise InvalidMDP(
            f"discount must lie in [0, 1), got {value!r}."
            + (" The discounted setting needs γ < 1." if value == 1 else "")
        )
    return value


def _check_initial(value: Any, num_states: int) -> Array:
    initial, unit = _float_array("initial_distribution", value)
    if initial.shape != (num_states,):
        raise InvalidMDP(
            f"initial_distribution must have shape ({num_states},), got {initial.shape}."
        )
    _check_finite("initial_distribution", initial)
    _check_rows(
        "initial_distribution", initial.min(keepdims=True), initial.sum(keepdims=True),
        num_states, unit, None,
    )  # fmt: skip
    return initial


def _freeze(owner: object, **fields: Any) -> None:
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        object.__setattr__(owner, name, value)


@dataclass(frozen=True, eq=False)
class MDP:
    """A finite discounted MDP.

    Attributes:
        transitions: (S, A, S) float64, P[s, a, s'], rows sum to one; or a scipy.sparse CSR array
            of shape (S·A, S) whose row s·A + a is P[s, a, :].
        rewards: (S, A) float64, expected reward of action a in state s, any unit.
        discount: γ in [0, 1).
        initial_distribution: (S,) float64, ρ, sums to one.
        name: what reports call it.
    """

    transitions: Any
    rewards: Array
    discount: float
    initial_distribution: Array
    name: str = ""

    def __post_init__(self) -> None:
        """Copies, validates and freezes; raises `InvalidMDP` and repairs nothing."""
        rewards, _ = _float_array("rewards", self.rewards)
        if rewards.ndim != 2 or 0 in rewards.shape:
            raise InvalidMDP(f"rewards must have shape (S, A) with S, A >= 1, got {rewards.shape}.")
        _check_finite("rewards", rewards)
        size, actions = rewards.shape
        if hasattr(self.transitions, "tocsr"):
            transitions = _sparse_transitions(self.transitions, size, actions)
        else:
            transitions = _dense_transitions(self.transitions, size, actions)
        _freeze(
            self,
            transitions=transitions,
            rewards=rewards,
            discount=_check_discount(self.discount),
            initial_distribution=_check_initial(self.initial_distribution, size),
        )

    @property
    def num_states(self) -> int:
        """S."""
        return self.rewards.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.rewards.shape[1]

    @property
    def is_sparse(self) -> bool:
        """Whether `transitions` is a scipy.sparse array of shape (S·A, S)."""
        return not isinstance(self.transitions, np.ndarray)

    @cached_property
    def terminal_states(self) -> Array:
        """(S,) bool: every action leads back with probability 1 and pays nothing."""
        size, actions = self.rewards.shape
        if self.is_sparse:
            rows = np.arange(size * actions)
            stay = np.asarray(self.transitions[rows, rows // actions]).reshape(size, actions)
        else:
            stay = np.einsum("sas->sa", self.transitions)
        return np.all((stay == 1) & (self.rewards == 0), axis=1)

    @cached_property
    def reachable_states(self) -> Array:
        """(S,) bool: states of positive occupancy under every policy of full support.

        With γ = 0 these are the states in which an episode may start. The graph is searched, so a
        state is found however small its probability.
        """
        seen = self.initial_distribution > 0
        frontier = np.flatnonzero(seen) if self.discount > 0 else np.zeros(0, dtype=int)
        while frontier.size:
            reached = np.zeros_like(seen)
            if self.is_sparse:
                pairs = frontier[:, None] * self.num_actions + np.arange(self.num_actions)
                block = self.transitions[pairs.ravel()]
                reached[block.indices[block.data > 0]] = True
            else:
                reached = (self.transitions[frontier] > 0).any(axis=(0, 1))
            frontier = np.flatnonzero(reached & ~seen)
            seen = seen | reached
        return seen

    def policy_transitions(self, probabilities: Array) -> Any:
        """P_π[s, s'] = Σ_a π(a|s) P[s, a, s'].

        Args:
            probabilities: (S, A), rows sum to one.

        Returns:
            (S, S): an ndarray, or a CSR array where the MDP is sparse.
        """
        probabilities = self._policy_shape(probabilities)
        if not self.is_sparse:
            # P_π(s, ·) = Σ_a π(a|s) P(s, a, ·): one pass over P
            return np.matmul(probabilities[:, None, :], self.transitions)[:, 0, :]
        from scipy.sparse import csr_array

        size, actions = self.rewards.shape
        pairs = np.arange(size * actions + 1)
        selector = csr_array(
            (probabilities.ravel(), pairs[:-1], pairs[::actions]), shape=(size, size * actions)
        )
        return selector @ self.transitions

    def expected_next(self, values: Array) -> Array:
        """Σ_s' P[s, a, s'] v(s'): the expectation of a function of the next state.

        Args:
            values: (S,).

        Returns:
            (S, A).
        """
        values = np.asarray(values, dtype=np.float64)
        size, actions = self.rewards.shape
        if values.shape != (size,):
            raise InvalidArgument(f"values must have shape ({size},), got {values.shape}.")
        if self.is_sparse:
            return (self.transitions @ values).reshape(size, actions)
        return (self.transitions.reshape(size * actions, size) @ values).reshape(size, actions)

    def _policy_shape(self, probabilities: Array) -> Array:
        probabilities = np.asarray(probabilities, dtype=np.float64)
        if probabilities.shape != self.rewards.shape:
            raise InvalidArgument(
                f"probabilities must have shape (S, A) = {self.rewards.shape},"
                f" got {probabilities.shape}."
            )
        return probabilities


def _dense_transitions(value: Any, size: int, actions: int) -> Array:
    transitions, unit = _float_array("transitions", value)
    if transitions.shape != (size, actions, size):
        raise InvalidMDP(
            f"transitions must have shape (S, A, S) = {(size, actions, size)} to go with rewards"
            f" of shape {(size, actions)}, got {transitions.shape}."
        )
    _check_finite("transitions", transitions)
    rows = transitions.reshape(size * actions, size)
    _check_rows("transitions", rows.min(axis=1), rows.sum(axis=1), size, unit, actions)
    return transitions


def _sparse_transitions(value: Any, size: int, actions: int) -> Any:
    from scipy.sparse import csr_array

    if value.shape != (size * actions, size):
        raise InvalidMDP(
            f"sparse transitions must have shape (S·A, S) = {(size * actions, size)} to go with"
            f" rewards of shape {(size, actions)}, got {value.shape}."
        )
    if value.dtype.kind not in "fiub":
        raise InvalidMDP(f"transitions must hold real numbers, got dtype {value.dtype}.")
    unit = _unit_roundoff(value.dtype)
    kept = csr_array(value, dtype=np.float64, copy=True)
    kept.sum_duplicates()
    bad = np.flatnonzero(~np.isfinite(kept.data))
    if bad.size:
        row = int(np.searchsorted(kept.indptr, bad[0], side="right")) - 1
        raise InvalidMDP(
            f"transitions[{row // actions}, {row % actions}, {int(kept.indices[bad[0]])}] is"
            f" {kept.data[bad[0]]}; every entry must be finite."
        )
    smallest = np.zeros(size * actions)
    np.minimum.at(smallest, np.repeat(np.arange(size * actions), np.diff(kept.indptr)), kept.data)
    sums = np.asarray(kept.sum(axis=1)).ravel()
    _check_rows("transitions", smallest, sums, size, unit, actions)
    for part in (kept.data, kept.indices, kept.indptr):
        part.setflags(write=False)
    return kept


@dataclass(frozen=True, eq=False)
class QuadraticMDP:
    """A Markov chain whose reward is a quadratic function of a real action vector.

    r(s, a) = c(s) + b(s)·a + aᵀ M(s) a. The action earns, the chain moves by itself: every
    expectation over a Gaussian action is then a polynomial in its mean and variance.

    Attributes:
        transitions: (S, S) float64, P[s, s'], rows sum to one.
        reward_quadratic: (c (S,), b (S, m), M (S, m, m)), float64, unit of reward.
        discount: γ in [0, 1).
        initial_distribution: (S,) float64, ρ, sums to one.
        name: what reports call it.
    """

    transitions: Array
    reward_quadratic: tuple[Array, Array, Array]
    discount: float
    initial_distribution: Array
    name: str = ""

    def __post_init__(self) -> None:
        """Copies, validates and freezes; raises `InvalidMDP` and repairs nothing."""
        transitions, unit = _float_array("transitions", self.transitions)
        if transitions.ndim != 2 or transitions.shape[0] != transitions.shape[1]:
            raise InvalidMDP(f"transitions must have shape (S, S), got {transitions.shape}.")
        size = transitions.shape[0]
        if size == 0:
            raise InvalidMDP("transitions must have at least one state.")
        _check_finite("transitions", transitions)
        _check_rows("transitions", transitions.min(axis=1), transitions.sum(axis=1), size, unit, 0)
        try:
            c, b, M = self.reward_quadratic
        except (TypeError, ValueError) as error:
            raise InvalidMDP("reward_quadratic must be three arrays (c, b, M).") from error
        constant, _ = _float_array("reward_quadratic[0]", c)
        linear, _ = _float_array("reward_quadratic[1]", b)
        quadratic, _ = _float_array("reward_quadratic[2]", M)
        m = linear.shape[1] if linear.ndim == 2 else 0
        wanted = ((size,), (size, max(m, 1)), (size, max(m, 1), max(m, 1)))
        for k, part in enumerate((constant, linear, quadratic)):
            if part.shape != wanted[k]:
                raise InvalidMDP(
                    f"reward_quadratic[{k}] must have shape"
                    f" {('(S,)', '(S, m)', '(S, m, m)')[k]} with S = {size}, m >= 1,"
                    f" got {part.shape}."
                )
            _check_finite(f"reward_quadratic[{k}]", part)
            part.setflags(write=False)
        _freeze(
            self,
            transitions=transitions,
            reward_quadratic=(constant, linear, quadratic),
            discount=_check_discount(self.discount),
            initial_distribution=_check_initial(self.initial_distribution, size),
        )

    @property
    def num_states(self) -> int:
        """S."""
        return self.transitions.shape[0]

    @property
    def action_size(self) -> int:
        """m, the number of action dimensions."""
        return self.reward_quadratic[1].shape[1]

    def reward(self, states: Array, actions: Array) -> Array:
        """r(s, a) = c(s) + b(s)·a + aᵀ M(s) a.

        Args:
            states: (N,) int.
            actions: (N, m).

        Returns:
            (N,).
        """
        states, actions = np.asarray(states), np.asarray(actions, dtype=np.float64)
        if states.ndim != 1 or actions.shape != (states.size, self.action_size):
            raise InvalidArgument(
                f"states must have shape (N,) and actions (N, {self.action_size}),"
                f" got {states.shape} and {actions.shape}."
            )
        c, b, M = (part[states] for part in self.reward_quadratic)
        return (
            c + np.einsum("ni,ni->n", b, actions) + np.einsum("ni,nij,nj->n", actions, M, actions)
        )

    def expected_reward(self, mean: Array, std: Array) -> Array:
        """E[r(s, a)] for a ~ N(mean(s), diag std(s)²).

        Args:
            mean: (S, m).
            std: (S, m), positive.

        Returns:
            (S,).
        """
        c, b, M = self.reward_quadratic
        # E r = c + b·μ + μᵀMμ + Σ_i M_ii σ_i²
        return (
            c
            + np.einsum("si,si->s", b, mean)
            + np.einsum("si,sij,sj->s", mean, M, mean)
            + np.einsum("sii,si->s", M, std**2)
        )
