"""Integer designs: MDPs whose discounted occupancy has a small denominator.

With γ = p/q, choose integer counts n_s (which become N d(s)), and integers z_s that sum to zero
with

    k_s = n_s − p z_s ≥ 0,        m_s = n_s + (q − p) z_s ≥ 0.

Pair the N (state, action) rows with any permutation of the N next states (m_s times s) and let
P(s'|s, a) be the fraction of rows (s, a) that are followed by s'. Then m = N dᵀP_π, and with
ρ = k/N the balance

    d = (1 − γ) ρ + γ dᵀP_π

holds exactly; its solution is unique, so the list of rows **is** the measure d π P. The policy
has integer odds, π(a|s) = x_sa / X_s with X_s = Σ_a x_sa, and every n_s is a multiple of X_s.

For Gaussian actions integer nodes replace the odds: a list of integer points whose moments up to
degree five are those of N(0, I), so that E φφᵀ (degree four) is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgcheck.errors import InvalidArgument
from npgcheck.streams import Stream

Counts = list[list[int]]
Table = list[list[list[Fraction]]]

MAX_ROWS = 300
"""An exact batch is kept to about this many rows: it should read like an ordinary one."""


@dataclass(frozen=True, eq=False)
class Design:
    """Rows of equal weight whose histogram is the MDP's own d π P.

    Attributes:
        states: (N,) int64.
        choices: (N,) int64 actions, or (N, m) int64 nodes: actions in units of σ around the mean.
        next_states: (N,) int64.
    """

    states: NDArray[np.int64]
    choices: NDArray[np.int64]
    next_states: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("states", "choices", "next_states"):
            array = np.array(getattr(self, name), dtype=np.int64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        return Design, (self.states, self.choices, self.next_states)

    def __len__(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class RationalModel:
    """An MDP (or a chain, A = 1) in exact rationals with its exact rows.

    Attributes:
        transitions: P[s][a][s'].
        initial: ρ[s].
        discount: γ.
        design: the exact rows, or None where N would exceed the limit.
    """

    transitions: Table
    initial: list[Fraction]
    discount: Fraction
    design: Design | None = None

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """(S, A, S) transitions, (S,) initial distribution and γ, correctly rounded."""
        return (
            np.array([[[float(p) for p in row] for row in rows] for rows in self.transitions]),
            np.array([float(p) for p in self.initial]),
            float(self.discount),
        )


def occupancy(
    transitions: Table, initial: Sequence[Fraction], odds: Counts, discount: Fraction
) -> list[Fraction]:
    """d with (I − γP_πᵀ) d = (1 − γ) ρ, by Gauss–Jordan elimination over the rationals."""
    size = len(initial)
    rows = []
    for target in range(size):
        row = []
        for source in range(size):
            total = sum(odds[source])
            flow = sum(
                (x * p[target] for x, p in zip(odds[source], transitions[source], strict=True)),
                Fraction(0),
            )
            row.append(Fraction(int(source == target)) - discount * flow / total)
        rows.append([*row, (1 - discount) * initial[target]])
    for column in range(size):
        # I − γP_πᵀ is strictly diagonally dominant by columns: no pivot is zero.
        pivot = rows[column][column]
        rows[column] = [value / pivot for value in rows[column]]
        for other in range(size):
            factor = rows[other][column]
            if other != column and factor:
                rows[other] = [
                    a - factor * b for a, b in zip(rows[other], rows[column], strict=True)
                ]
    return [row[size] for row in rows]


def rational_design(
    transitions: Table,
    initial: Sequence[Fraction],
    odds: Counts,
    discount: Fraction,
    limit: int = MAX_ROWS,
) -> Design | None:
    """The shortest exact list of rows of a given rational MDP, or None beyond ``limit`` rows."""
    weights = occupancy(transitions, initial, odds, discount)
    cells: dict[tuple[int, int, int], Fraction] = {}
    for s, weight in enumerate(weights):
        for a, x in enumerate(odds[s]):
            for t, p in enumerate(transitions[s][a]):
                if weight * x * p:
                    cells[s, a, t] = weight * Fraction(x, sum(odds[s])) * p
    size = lcm(*(value.denominator for value in cells.values()))
    if size > limit:
        return None
    rows = [cell for cell, value in cells.items() for _ in range(int(value * size))]
    states, actions, following = zip(*rows, strict=True)
    return Design(np.array(states), np.array(actions), np.array(following))


def unichain(support: Any) -> bool:
    """Whether every state reaches every other under a policy that tries every action."""
    reach = np.eye(len(support), dtype=bool) | support
    for _ in range(max(1, (len(support) - 1).bit_length())):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return bool(reach.all())


def contingency(
    stream: Stream, odds: Counts, discount: Fraction, limit: int = MAX_ROWS
) -> RationalModel | None:
    """A random irreducible MDP with action-dependent transitions and its exact rows.

    Args:
        stream: where the choices come from.
        odds: x[s][a], positive integers; π(a|s) = x_sa / Σ_a x_sa.
        discount: γ = p/q.
        limit: the largest number of rows.

    Returns:
        None where 40 attempts met no irreducible, action-dependent MDP within the limit.
    """
    p, q = discount.numerator, discount.denominator
    size, actions = len(odds), len(odds[0])
    totals = [sum(row) for row in odds]
    for _ in range(40):
        z = _zero_sum(stream, size)
        least = [max(p * v, -(q - p) * v, 1) for v in z]
        multiples = [
            -(-need // total) + extra
            for need, total, extra in zip(least, totals, stream.integers(0, 2, size), strict=True)
        ]
        n = [m * total for m, total in zip(multiples, totals, strict=True)]
        if sum(n) > limit or len(set(n)) == 1:
            continue
        pairs = [
            (s, a)
            for s in range(size)
            for a in range(actions)
            for _ in range(multiples[s] * odds[s][a])
        ]
        pool = [s for s in range(size) for _ in range(n[s] + (q - p) * z[s])]
        following = [pool[i] for i in stream.permutation(len(pool))]
        counts = np.zeros((size, actions, size), dtype=np.int64)
        for (s, a), t in zip(pairs, following, strict=True):
            counts[s, a, t] += 1
        row_sums = counts.sum(axis=2, keepdims=True)
        depends = (counts * row_sums[:, :1] != counts[:, :1] * row_sums).any()
        if not depends or not unichain((counts > 0).any(axis=1)):
            continue
        transitions = [
            [[Fraction(int(c), int(row.sum())) for c in row] for row in rows] for rows in counts
        ]
        initial = [Fraction(n[s] - p * z[s], sum(n)) for s in range(size)]
        states, chosen = zip(*pairs, strict=True)
        design = Design(np.array(states), np.array(chosen), np.array(following))
        return RationalModel(transitions, initial, discount, design)
    return None


def _zero_sum(stream: Stream, size: int) -> list[int]:
    """Random integers z ≠ 0 with Σ z = 0 and small entries."""
    while True:
        z = [0] * size
        for _ in range(stream.integer(1, max(1, size - 1))):
            i, j = stream.permutation(size)[:2]
            z[i] += 1
            z[j] -= 1
        if any(z) and max(z) <= 2:
            return z


def gaussian_nodes(action_size: int) -> NDArray[np.int64]:
    """(n, m) integer points whose moments up to degree five are those of N(0, I_m).

    12 points for m = 1, 36 for m = 2, 72 for m = 3 and 4. Odd moments vanish because every set
    is closed under sign changes; the even ones ask Σz² = n, Σz⁴ = 3n and Σz_i²z_j² = n.
    """
    if action_size not in _NODES:
        raise InvalidArgument(
            f"exact Gaussian batches exist for 1 to {max(_NODES)} action dimensions, "
            f"not for {action_size}"
        )
    origin, orbits = _NODES[action_size]
    points = [(0,) * action_size] * origin
    for representative, times in orbits:
        orbit = {
            tuple(sign * value for sign, value in zip(signs, order, strict=True))
            for order in permutations(representative)
            for signs in product((1, -1), repeat=action_size)
        }
        points += sorted(orbit) * times
    return np.array(points, dtype=np.int64)


_NODES: dict[int, tuple[int, list[tuple[tuple[int, ...], int]]]] = {
    1: (6, [((1,), 2), ((2,), 1)]),
    2: (12, [((1, 0), 2), ((2, 0), 1), ((1, 1), 1), ((2, 1), 1)]),
    3: (12, [((1, 0, 0), 4), ((2, 0, 0), 2), ((2, 1, 1), 1)]),
    4: (0, [((1, 1, 0, 0), 2), ((2, 2, 0, 0), 1)]),
}


def with_nodes(model: RationalModel, action_size: int) -> RationalModel:
    """The exact rows of a chain (A = 1), each combined with every Gaussian node."""
    if model.design is None:
        return model
    nodes = gaussian_nodes(action_size)
    design = Design(
        np.repeat(model.design.states, len(nodes)),
        np.tile(nodes, (len(model.design), 1)),
        np.repeat(model.design.next_states, len(nodes)),
    )
    return RationalModel(model.transitions, model.initial, model.discount, design)


def chain_contingency(stream: Stream, size: int, discount: Fraction, limit: int) -> RationalModel:
    """A random irreducible Markov chain with its exact rows (one action).

    Raises:
        InvalidArgument: no design within ``limit`` rows exists for these sizes.
    """
    p, q = discount.numerator, discount.denominator
    for _ in range(400):
        z = _zero_sum(stream, size)
        extra = stream.integers(0, 2, size)
        n = [max(p * v, -(q - p) * v, 1) + e for v, e in zip(z, extra, strict=True)]
        if sum(n) > limit or len(set(n)) == 1:
            continue
        pool = [s for s in range(size) for _ in range(n[s] + (q - p) * z[s])]
        states = [s for s in range(size) for _ in range(n[s])]
        following = [pool[i] for i in stream.permutation(len(pool))]
        counts = np.zeros((size, size), dtype=np.int64)
        for s, t in zip(states, following, strict=True):
            counts[s, t] += 1
        if not unichain(counts > 0):
            continue
        transitions = [[[Fraction(int(c), n[s]) for c in counts[s]]] for s in range(size)]
        initial = [Fraction(n[s] - p * z[s], sum(n)) for s in range(size)]
        design = Design(
            np.array(states), np.zeros(len(states), dtype=np.int64), np.array(following)
        )
        return RationalModel(transitions, initial, discount, design)
    raise InvalidArgument(f"no exact chain with S = {size}, γ = {discount} within {limit} rows")


def solve_for_odds(
    policy: Any, theta: NDArray[np.float64], observations: NDArray[np.float64], odds: Counts
) -> NDArray[np.float64]:
    """θ near ``theta`` at which the policy has the given odds, by Gauss–Newton.

    Each step is the least change of θ that corrects the linearised log-odds, so the iteration
    converges quadratically wherever the log-odds have full rank in θ.

    Raises:
        InvalidArgument: the odds were not reached to 1e-14 in 60 steps; the policy cannot
            represent them, or started too far away.
    """
    wanted = np.log(np.array(odds, dtype=np.float64))
    wanted = wanted[:, 1:] - wanted[:, :1]
    error = np.inf
    for _ in range(60):
        logits = policy.logits(theta, observations)
        residual = (wanted - (logits[:, 1:] - logits[:, :1])).ravel()
        previous, error = error, float(np.abs(residual).max())
        # 1e-14 is a hundred units of round-off of log-odds of size one.
        if error < 1e-15 or (error < 1e-14 and error >= previous):
            return theta
        jacobian = policy.logits_jacobian(theta, observations)
        rows = (jacobian[:, 1:] - jacobian[:, :1]).reshape(residual.size, -1)
        step = np.linalg.lstsq(rows, residual, rcond=1e-12)[0]
        theta = theta + step * min(1.0, 1.0 / (1e-300 + float(np.abs(step).max())))
    raise InvalidArgument(
        f"the odds were not reached: the log-odds are still wrong by {error:.1e} after 60 steps"
    )
