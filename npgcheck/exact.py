"""The value of a policy, solved exactly (to round-off) by one linear factorisation.

With P_π and r_π the transitions and rewards under π, ρ the initial distribution:

    V = (I − γ P_π)⁻¹ r_π                 value (S,)
    Q = R + γ P V,   A = Q − V            action value, advantage (S, A)
    d = (1 − γ) (I − γ P_πᵀ)⁻¹ ρ          discounted occupancy (S,), sums to one
    J = ρ·V = d·r_π / (1 − γ)             objective

Source: Sutton, McAllester, Singh & Mansour (2000), start-state formulation; here d is normalised,
their d is d/(1 − γ).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, InvalidPolicy
from npgcheck.linear import METHODS, DiscountedSystem
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import DiscretePolicy, GaussianBase, centred

Array = np.ndarray

_U = float(np.finfo(float).eps) / 2


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a fixed policy earns in an MDP.

    Attributes:
        value: (S,), V(s), discounted return from s, unit of reward, not multiplied by 1 − γ.
        q_value: (S, A), Q(s, a), same unit; None where actions are continuous.
        advantage: (S, A), A = Q − V, same unit, mean zero under π; None where continuous.
        state_distribution: (S,), d(s), discounted occupancy, normalised, sums to one.
        objective: J = ρ·V, unit of reward.
    """

    value: Array
    q_value: Array | None
    advantage: Array | None
    state_distribution: Array
    objective: float


@dataclass(frozen=True, eq=False)
class Optimum:
    """An optimal deterministic policy.

    Attributes:
        value: (S,), V*(s).
        q_value: (S, A), Q*(s, a).
        probabilities: (S, A), 1 at one greedy action per state.
        iterations: policy iterations that were needed.
    """

    value: Array
    q_value: Array
    probabilities: Array
    iterations: int


def evaluate(mdp: MDP, probabilities: Array, method: str = "auto") -> Evaluation:
    """Evaluates the policy π(a|s) = probabilities[s, a].

    Args:
        mdp: the MDP, dense or sparse.
        probabilities: (S, A), rows sum to one.
        method: "auto", or one of "dense" (LAPACK), "direct" (sparse LU), "iterative" (GMRES with
            a verified residual); see `npgcheck.linear`.

    Returns:
        The evaluation; one factorisation serves V and d.

    Raises:
        InvalidArgument: probabilities of the wrong shape, or rows that are not distributions.
        NotConverged: an iterative solve missed its residual.
    """
    probabilities = checked_probabilities(probabilities, mdp.rewards.shape)
    if method not in METHODS:
        raise InvalidArgument(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    discount = mdp.discount
    system = DiscountedSystem(mdp, probabilities, method)
    # r_π(s) = Σ_a π(a|s) R(s, a)
    rewards = np.einsum("sa,sa->s", probabilities, mdp.rewards)
    value = system.value(rewards)
    # d = (1 − γ)(I − γ P_πᵀ)⁻¹ ρ
    occupancy = (1 - discount) * system.occupancy(mdp.initial_distribution)
    # A does not see a constant added to V, (I − γP_π)1 = (1 − γ)1, and V grows like 1/(1 − γ):
    # with the constant taken out, one step of refinement recovers the digits that it has hidden
    level = 0.5 * (value.min() + value.max())
    relative = system.refined(value - level, rewards - (1 - discount) * level)
    relative_q = mdp.rewards + discount * mdp.expected_next(relative)
    value = relative + level
    return Evaluation(
        value=value,
        q_value=relative_q + discount * level,
        advantage=centred(probabilities, relative_q),
        state_distribution=occupancy,
        objective=float(mdp.initial_distribution @ value),
    )


def evaluate_quadratic(
    mdp: QuadraticMDP, mean: Array, std: Array, method: str = "auto"
) -> Evaluation:
    """Evaluates a Gaussian policy a ~ N(mean(s), diag std(s)²).

    Args:
        mdp: the chain with quadratic reward.
        mean: (S, m).
        std: (S, m), or (m,) when it is the same in every state; positive.
        method: as in `evaluate`.

    Returns:
        The evaluation, without `q_value` and `advantage` (see `action_advantage`).
    """
    mean, std = _moments(mdp, mean, std)
    system = DiscountedSystem(mdp, None, method)
    value = system.value(mdp.expected_reward(mean, std))
    return Evaluation(
        value=value,
        q_value=None,
        advantage=None,
        state_distribution=(1 - mdp.discount) * system.occupancy(mdp.initial_distribution),
        objective=float(mdp.initial_distribution @ value),
    )


def action_advantage(
    mdp: QuadraticMDP, mean: Array, std: Array, states: Array, actions: Array
) -> Array:
    """A(s, a) = r(s, a) − E_π r(s, ·): the chain does not hear the action.

    Args:
        mdp: the chain with quadratic reward.
        mean: (S, m).
        std: (S, m) or (m,).
        states: (N,) int.
        actions: (N, m).

    Returns:
        (N,).
    """
    mean, std = _moments(mdp, mean, std)
    return mdp.reward(states, actions) - mdp.expected_reward(mean, std)[np.asarray(states)]


def evaluate_policy(
    mdp: MDP | QuadraticMDP, policy: DiscretePolicy | GaussianBase, theta: Array, observations: Any
) -> Evaluation:
    """Evaluates π_θ, whichever family it belongs to; `observations` (S, k) has a row per state."""
    if isinstance(policy, GaussianBase):
        if not isinstance(mdp, QuadraticMDP):
            raise InvalidPolicy("a Gaussian policy needs a QuadraticMDP.")
        mean, log_std = policy.mean_log_std(theta, observations)
        return evaluate_quadratic(mdp, mean, np.exp(log_std))
    if not isinstance(mdp, MDP):
        raise InvalidPolicy("a discrete policy needs an MDP with finitely many actions.")
    return evaluate(mdp, policy.probabilities(theta, observations))


def optimal(mdp: MDP, max_iterations: int = 1000) -> Optimum:
    """Policy iteration from the policy that is greedy for the rewards.

    An action is exchanged only where that gains more than the round-off of Q, so the loop cannot
    cycle between ties.

    Raises:
        InvalidArgument: the policy still changed after `max_iterations`.
    """
    rows = np.arange(mdp.num_states)
    choice = mdp.rewards.argmax(axis=1)
    for iteration in range(1, max_iterations + 1):
        probabilities = np.zeros(mdp.rewards.shape)
        probabilities[rows, choice] = 1
        found = evaluate(mdp, probabilities)
        assert found.advantage is not None
        assert found.q_value is not None
        # A = γ(P − P_π)(V − level) + …: a sum of S rounded products, solved to κ·u beforehand
        scale = np.abs(mdp.rewards).max() + np.ptp(found.value)
        margin = 64 * _U * max(scale / (1 - mdp.discount), scale)
        best = found.advantage.argmax(axis=1)
        gain = found.advantage[rows, best] - found.advantage[rows, choice]
        better = gain > margin
        if not better.any():
            return Optimum(found.value, found.q_value, probabilities, iteration)
        choice = np.where(better, best, choice)
    raise InvalidArgument(f"policy iteration did not settle in {max_iterations} iterations.")


def checked_probabilities(probabilities: Array, shape: tuple[int, ...]) -> Array:
    """The policy (S, A) in float64; raises `InvalidArgument` where a row is no distribution."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != shape:
        raise InvalidArgument(
            f"probabilities must have shape (S, A) = {shape}, got {probabilities.shape}."
        )
    # exp, a sum of A terms and a division: a few u per entry, A·u for the sum
    limit = (4 * shape[1] + 8) * _U
    error = np.abs(probabilities.sum(axis=1) - 1)
    if not (error.max() <= limit and probabilities.min() >= 0):
        bad = ~((error <= limit) & (probabilities >= 0).all(axis=1))
        row = int(np.argmax(bad))
        raise InvalidArgument(
            f"probabilities[{row}] is {probabilities[row]}: not a distribution (smallest entry"
            f" {probabilities[row].min():.3g}, sum − 1 = {probabilities[row].sum() - 1:+.3g},"
            f" allowed {limit:.3g}). Nothing was renormalised."
        )
    return probabilities


def _moments(mdp: QuadraticMDP, mean: Array, std: Array) -> tuple[Array, Array]:
    shape = (mdp.num_states, mdp.action_size)
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if std.shape == shape[1:]:
        std = np.broadcast_to(std, shape)
    if mean.shape != shape or std.shape != shape:
        raise InvalidArgument(
            f"mean and std must have shape (S, m) = {shape}, got {mean.shape} and {std.shape}."
        )
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise InvalidArgument("mean and std must be finite, and std positive.")
    return mean, std
