"""Settings without a discount: average reward, and a finite horizon.

Average reward, with P_π and r_π the transitions and rewards under π, whose chain has one recurrent
class:

    d = d P_π, Σ d = 1         stationary distribution (S,)
    η = d·r_π                  average reward, per step
    V = r_π − η + P_π V        differential values (S,), here with d·V = 0
    Q = R − η + P V,  A = Q − V
    ∇η = Σ_s d(s) Σ_a ∇π(a|s) Q(s, a)                                       (no prefactor)

Finite horizon, H steps from ρ with undiscounted return:

    V_H = 0,  Q_h = R + P V_{h+1},  V_h = Σ_a π Q_h,  d_0 = ρ,  d_{h+1} = d_h P_π
    ∇J = Σ_h Σ_s d_h(s) Σ_a ∇π(a|s) Q_h(s, a)

The MDP's own discount is ignored by both.

Source: Puterman (1994) for the average reward; Kakade (2001), equation 1, and Sutton,
McAllester, Singh & Mansour (2000) for its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument
from npgcheck.exact import checked_probabilities
from npgcheck.mdp import MDP
from npgcheck.policy import DiscretePolicy

Array = np.ndarray

_U = float(np.finfo(float).eps) / 2


@dataclass(frozen=True, eq=False)
class AverageEvaluation:
    """What a fixed policy earns per step in the long run.

    Attributes:
        average: η, unit of reward per step.
        value: (S,), differential values, unit of reward, d·V = 0.
        q_value: (S, A), differential action values.
        advantage: (S, A), Q − V, mean zero under π.
        state_distribution: (S,), the stationary distribution, sums to one.
    """

    average: float
    value: Array
    q_value: Array
    advantage: Array
    state_distribution: Array


def evaluate_average(mdp: MDP, probabilities: Array) -> AverageEvaluation:
    """Evaluates π(a|s) = probabilities[s, a] by its average reward; dense linear algebra.

    Args:
        mdp: the MDP; its discount and start are ignored.
        probabilities: (S, A), rows sum to one.

    Raises:
        InvalidArgument: the chain has two recurrent classes, so no single stationary distribution.
    """
    pi = checked_probabilities(probabilities, mdp.rewards.shape)
    chain = _dense(mdp.policy_transitions(pi))
    S = mdp.num_states
    classes = recurrent_classes(chain)
    if classes != 1:
        raise InvalidArgument(
            f"the chain of this policy has {classes} recurrent classes; its average reward then"
            " depends on the start. Use a policy under which one class absorbs everything."
        )
    rewards = np.einsum("sa,sa->s", pi, mdp.rewards)
    # d(I − P_π + 11ᵀ/S) = 1ᵀ/S: one solve, no eigenvectors; invertible for one recurrent class
    system = np.eye(S) - chain + 1 / S
    occupancy = np.linalg.solve(system.T, np.full(S, 1 / S))
    average = float(occupancy @ rewards)
    value = np.linalg.solve(system, rewards - average)
    value = value - occupancy @ value
    q_value = mdp.rewards - average + mdp.expected_next(value)
    advantage = q_value - np.einsum("sa,sa->s", pi, q_value)[:, None]
    return AverageEvaluation(average, value, q_value, advantage, occupancy)


def average_reward_gradient(
    mdp: MDP, policy: DiscretePolicy, theta: Array, observations: Any
) -> Array:
    """∇η(θ) (D,) = Σ_s d(s) Σ_a ∇π(a|s) A(s, a), unit of reward per step and unit of θ."""
    pi = policy.probabilities(theta, observations)
    found = evaluate_average(mdp, pi)
    return policy.vjp(theta, observations, found.state_distribution[:, None] * pi * found.advantage)


@dataclass(frozen=True, eq=False)
class HorizonEvaluation:
    """What a fixed policy earns in H steps.

    Attributes:
        objective: J = ρ·V_0, unit of reward.
        value: (H + 1, S), V_h, the return from stage h on; the last row is zero.
        q_value: (H, S, A).
        state_distribution: (H, S), d_h, each row sums to one.
    """

    objective: float
    value: Array
    q_value: Array
    state_distribution: Array


def evaluate_horizon(mdp: MDP, probabilities: Array, horizon: int) -> HorizonEvaluation:
    """Evaluates π over `horizon` >= 1 steps, undiscounted, by backward and forward recursion."""
    if int(horizon) < 1:
        raise InvalidArgument(f"horizon must be at least 1, got {horizon!r}.")
    pi = checked_probabilities(probabilities, mdp.rewards.shape)
    chain = mdp.policy_transitions(pi)
    S, A = mdp.rewards.shape
    value, q_value = np.zeros((horizon + 1, S)), np.empty((horizon, S, A))
    for h in reversed(range(horizon)):
        q_value[h] = mdp.rewards + mdp.expected_next(value[h + 1])
        value[h] = np.einsum("sa,sa->s", pi, q_value[h])
    visited = np.empty((horizon, S))
    visited[0] = mdp.initial_distribution
    for h in range(1, horizon):
        visited[h] = chain.T @ visited[h - 1]
    return HorizonEvaluation(float(visited[0] @ value[0]), value, q_value, visited)


def finite_horizon_gradient(
    mdp: MDP, policy: DiscretePolicy, theta: Array, observations: Any, horizon: int
) -> Array:
    """∇J(θ) (D,) over `horizon` steps, unit of reward per unit of θ."""
    pi = policy.probabilities(theta, observations)
    found = evaluate_horizon(mdp, pi, horizon)
    advantage = found.q_value - found.value[:-1, :, None]
    weighted = np.einsum("hs,hsa->sa", found.state_distribution, advantage)
    return policy.vjp(theta, observations, pi * weighted)


def recurrent_classes(chain: Array) -> int:
    """How many sets of states a chain (S, S) cannot leave, each connected."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(csr_array(chain > 0), connection="strong")
    s, t = np.nonzero(chain > 0)
    leaving = set(label[s[label[s] != label[t]]])
    return int(count - len(leaving))


def _dense(matrix: Any) -> Array:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.todense())
