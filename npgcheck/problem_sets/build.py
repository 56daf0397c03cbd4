"""From pieces to a problem with an id, and the conditions that a judged problem must meet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.batches import evaluation_of, terminal_states
from npgcheck.designs import unichain
from npgcheck.fisher import fisher_root
from npgcheck.problem import Problem, arrays_of
from npgcheck.tolerance import MAX_FISHER_CONDITION

Array = np.ndarray

SMALLEST_WEIGHT = 0.01
"""Every state of a judged problem is visited: d(s) is at least this."""

_ID_SCALE = 2.0**24
# Numbers enter an id as multiples of 2⁻²⁴: the dyadic data of the sets exactly, logarithms far
# above the last bit, in which mathematical libraries differ.


def problem_id(problem: Problem) -> str:
    """Six hexadecimal digits, after "p-", of a hash over everything that the problem holds."""
    state = hashlib.blake2b(digest_size=3)
    words = (problem.family, repr(problem.policy), problem.batch_kind, problem.batch_seed)
    state.update(repr((*words, problem.name, round(problem.discount * _ID_SCALE))).encode())
    for part in (problem.mdp, problem.observations, problem.theta):
        for name, array in arrays_of(part):
            state.update(f"{name}{array.shape}".encode())
            state.update(np.rint(array * _ID_SCALE).astype("<i8").tobytes())
    return f"p-{state.hexdigest()}"


def finish(problem: Problem) -> Problem:
    """The same problem with its id."""
    return replace(problem, id=problem_id(problem))


def conditioning(problem: Problem, weights: Array | None = None) -> tuple[float, int]:
    """cond⁺(F) and rank F, from the singular values of R with F = RᵀR.

    Args:
        problem: the problem.
        weights: (S,), the state weights; d by default.

    Returns:
        The ratio of the extreme non-zero eigenvalues and their number. A singular value of R is
        zero below ten times its round-off, max(M, D)·u of the largest. What lies above that but
        far below 1 is a direction neither resolved nor absent: the ratio then exceeds any limit.
    """
    if weights is None:
        weights = np.maximum(evaluation_of(problem).state_distribution, 0.0)
    root = fisher_root(problem.policy, problem.theta, problem.observations, weights)
    values = np.linalg.svd(root, compute_uv=False)
    if not values.size or values[0] == 0:
        return 1.0, 0
    kept = values[values > max(root.shape) * 2.0**-53 * values[0] * 10]
    return float((kept[0] / kept[-1]) ** 2), len(kept)


def refusal(problem: Problem) -> str | None:
    """Why the problem must not be judged as a member of the designed or drawn set, or None.

    A judged problem visits every state with weights that are not uniform, is not degenerate in
    its advantages, and has cond⁺(F) within the budget's domain, also under its batch's states.
    """
    evaluation = evaluation_of(problem)
    weights = evaluation.state_distribution
    alive = ~terminal_states(problem)
    if weights[alive].min() < SMALLEST_WEIGHT:
        return f"a state is rarely visited: d(s) = {weights[alive].min():.1e}"
    if np.ptp(weights[alive]) < 0.02:
        return "the state weights are nearly uniform"
    if not _connected(problem, alive):
        return "the chain does not connect its states"
    if problem.is_gaussian:
        spread = np.abs(problem.mdp.reward_quadratic[1]).max()
        scale = np.abs(problem.mdp.reward_quadratic[0]).max()
    else:
        table = evaluation.advantage
        assert table is not None  # only continuous actions have no table
        spread, scale = np.abs(table).max(), np.abs(problem.mdp.rewards).max()
    if spread < 0.05 * scale:
        return "the advantages nearly vanish"
    counts = np.bincount(problem.batch.states, minlength=problem.num_states)
    for measure in (weights, counts / counts.sum()):
        condition, _ = conditioning(problem, np.maximum(measure, 0.0))
        if condition > MAX_FISHER_CONDITION:
            return f"F is badly conditioned: cond⁺(F) = {condition:.1e}"
    return None


def _connected(problem: Problem, alive: Array) -> bool:
    """Irreducible; or episodic, where the start is what reaches every state."""
    if not alive.all():
        return True
    support = problem.mdp.transitions > 0
    return unichain(support if problem.is_gaussian else support.any(axis=1))


def features_from(rows: Sequence[Sequence[int]]) -> Array:
    """(S, k) float64 observations from small integers."""
    return np.array(rows, dtype=np.float64)


def odds_from(features: Any, weights: Any) -> list[list[int]]:
    """x_sa = Π_j w_ja^{o_sj}: the integer odds of a softmax with W = log w, o in {0, 1}."""
    return [
        [
            int(np.prod([w[a] for o, w in zip(row, weights, strict=True) if o]))
            for a in range(len(weights[0]))
        ]
        for row in np.asarray(features)
    ]
