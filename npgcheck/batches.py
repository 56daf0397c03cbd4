"""Batches: rows of equal weight, drawn or designed, with exact values beside them.

A batch is its own measure: whatever its rows are, a subject that works from rows is judged
exactly under their empirical distribution. The kinds differ in what that distribution is:

``exact``
    the histogram of (state, action, next state) is d^π(s) π(a|s) P(s'|s, a), without noise.
``ordinary``
    independent rows, states from d^π (even ``batch_seed``) or uniform (odd), actions from π.
``duplicated``
    fewer independent rows, each one several times: no mean over rows may notice.
``off_centre``
    uniform states, actions that prefer what π avoids: the mean score is far from zero.

Advantages, values and log-probabilities are exact for the row they stand in; only the choice of
rows is random. No row starts in a terminal state, as no rollout records one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from npgcheck.exact import Evaluation, action_advantage, evaluate, evaluate_quadratic
from npgcheck.streams import Stream, inverse_cdf

if TYPE_CHECKING:
    from npgcheck.problem import Problem

Array = np.ndarray

KINDS = ("exact", "ordinary", "duplicated", "off_centre")
"""What a batch can be; the module docstring says what each means."""

COPIES = 3
"""How often a duplicated batch holds each row."""


@dataclass(frozen=True, eq=False)
class Batch:
    """N rows of equal weight.

    Attributes:
        states: (N,) int64.
        observations: (N, k), what the policy sees in these states.
        actions: (N,) int64, or (N, m) float64.
        rewards: (N,), r(s, a).
        advantages: (N,), A^π(s, a), exact.
        values: (N,), V^π(s), exact.
        next_states: (N,) int64.
        next_values: (N,), V^π(s'), and 0 where terminated.
        terminated: (N,) bool, s' is a terminal state.
        truncated: (N,) bool, always False: a batch has no time limit.
        log_probs: (N,), log π(a|s), nats.
        exact: whether the histogram of the rows is d^π π P exactly.
        kind: "exact", "ordinary", "duplicated" or "off_centre".
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
    exact: bool
    kind: str

    def __len__(self) -> int:
        return len(self.states)


def evaluation_of(problem: Problem) -> Evaluation:
    """V, Q, A, d and J of the problem's policy, computed once per problem."""
    return problem.remember("evaluation", _evaluate)


def _evaluate(problem: Problem) -> Evaluation:
    if problem.is_gaussian:
        mean, log_std = problem.policy.mean_log_std(problem.theta, problem.observations)
        return evaluate_quadratic(problem.mdp, mean, np.exp(log_std))
    probabilities = problem.policy.probabilities(problem.theta, problem.observations)
    return evaluate(problem.mdp, probabilities)


def terminal_states(problem: Problem) -> Array:
    """(S,) bool; a Gaussian problem has none."""
    if problem.is_gaussian:
        return np.zeros(problem.num_states, dtype=bool)
    return np.asarray(problem.mdp.terminal_states)


def transition_rows(problem: Problem, states: Array, actions: Array) -> dict[str, Array]:
    """The columns of rows whose next state is drawn: everything but it and what follows."""
    evaluation = evaluation_of(problem)
    mdp, value = problem.mdp, evaluation.value
    observations = problem.observations[states]
    if problem.is_gaussian:
        mean, log_std = problem.policy.mean_log_std(problem.theta, problem.observations)
        rewards = mdp.reward(states, actions)
        advantages = action_advantage(mdp, mean, np.exp(log_std), states, actions)
    else:
        rewards = mdp.rewards[states, actions]
        table = evaluation.advantage
        assert table is not None  # only continuous actions have no table
        advantages = table[states, actions]
    return {
        "states": states,
        "observations": observations,
        "actions": actions,
        "rewards": rewards,
        "advantages": advantages,
        "values": value[states],
        "log_probs": problem.policy.log_prob(problem.theta, observations, actions),
    }


def arrivals(problem: Problem, next_states: Array) -> dict[str, Array]:
    """The columns that the next state decides; V is 0 at a terminal state, not merely tiny."""
    terminated = terminal_states(problem)[next_states]
    value = evaluation_of(problem).value[next_states]
    return {
        "next_states": next_states,
        "next_values": np.where(terminated, 0.0, value),
        "terminated": terminated,
    }


def build_batch(problem: Problem) -> Batch:
    """The batch that ``problem.batch_kind`` and ``problem.batch_seed`` name."""
    stream = Stream("batch", problem.batch_kind, problem.batch_seed)
    if problem.batch_kind == "exact":
        states, actions, next_states = _designed_rows(problem)
        order = stream.permutation(len(states))
    else:
        states, actions, next_states = _drawn_rows(problem, stream)
        order = np.arange(len(states))
        if problem.batch_kind == "duplicated":
            order = np.tile(order, COPIES)[stream.permutation(COPIES * len(states))]
    states, actions, next_states = states[order], actions[order], next_states[order]
    columns = transition_rows(problem, states, actions) | arrivals(problem, next_states)
    return Batch(
        **_read_only(columns),
        **_read_only({"truncated": np.zeros(len(states), dtype=bool)}),
        exact=problem.batch_kind == "exact",
        kind=problem.batch_kind,
    )


def _read_only(columns: dict[str, Array]) -> dict[str, Any]:
    for column in columns.values():
        column.flags.writeable = False
    return columns


def _designed_rows(problem: Problem) -> tuple[Array, Array, Array]:
    design = problem.design
    if design is None:
        raise AssertionError("a problem with an exact batch carries its design")
    if not problem.is_gaussian:
        return design.states, design.choices, design.next_states
    mean, log_std = problem.policy.mean_log_std(problem.theta, problem.observations)
    actions = mean[design.states] + np.exp(log_std)[design.states] * design.choices
    return design.states, actions, design.next_states


def row_count(problem: Problem) -> int:
    """How many rows are drawn: 24 for the smallest problems, at most 240, growing with S·A."""
    cells = problem.num_states * (4 if problem.is_gaussian else problem.num_actions)
    return 24 * min(10, max(1, cells // 4))


def _drawn_rows(problem: Problem, stream: Stream) -> tuple[Array, Array, Array]:
    count = row_count(problem)
    if problem.batch_kind == "duplicated":
        count = max(8, count // COPIES)
    weights = _state_weights(problem)
    uniforms = stream.uniform(2 * count)
    states = inverse_cdf(np.tile(weights, (count, 1)), uniforms[:count])
    actions = (_gaussian_actions if problem.is_gaussian else _discrete_actions)(
        problem, stream, states
    )
    next_states = inverse_cdf(_next_rows(problem, states, actions), uniforms[count:])
    return states, actions, next_states


def _state_weights(problem: Problem) -> Array:
    alive = ~terminal_states(problem)
    if not alive.any():
        alive = ~alive
    uniform = problem.batch_kind == "off_centre" or problem.batch_seed % 2 == 1
    weights = alive.astype(float)
    if not uniform:
        # The round-off of the solve may leave −1e-17 at a state that is never visited.
        weights = weights * np.maximum(evaluation_of(problem).state_distribution, 0.0)
        if not weights.sum() > 0:
            weights = alive.astype(float)
    return weights / weights.sum()


def _discrete_actions(problem: Problem, stream: Stream, states: Array) -> Array:
    probabilities = problem.policy.probabilities(problem.theta, problem.observations)
    if problem.batch_kind == "off_centre":
        # π's order of preference turned round: weight (1 + rank)², rank 0 for π's favourite.
        reversed_rank = np.argsort(np.argsort(-probabilities, axis=1, kind="stable"), axis=1)
        probabilities = (1.0 + reversed_rank) ** 2
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    return inverse_cdf(probabilities[states], stream.uniform(len(states)))


def _gaussian_actions(problem: Problem, stream: Stream, states: Array) -> Array:
    mean, log_std = problem.policy.mean_log_std(problem.theta, problem.observations)
    noise = stream.normal(len(states) * mean.shape[1]).reshape(len(states), -1)
    if problem.batch_kind == "off_centre":
        # Displaced by 0.8σ and spread by 1.3: E z = 0.8 and E z² − 1 = 1.33 instead of zero.
        noise = 0.8 + 1.3 * noise
    return mean[states] + np.exp(log_std)[states] * noise


def _next_rows(problem: Problem, states: Array, actions: Array) -> Array:
    transitions = problem.mdp.transitions
    if problem.is_gaussian:
        return transitions[states]
    if problem.mdp.is_sparse:
        return transitions[states * problem.num_actions + actions].toarray()
    return transitions[states, actions]
