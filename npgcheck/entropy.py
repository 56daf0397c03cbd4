"""Entropy-regularised policies: soft values, their gradient, and the steps that improve them.

With temperature τ > 0 a policy earns R − τ log π:

    V = (I − γ P_π)⁻¹ Σ_a π (R − τ log π)         soft values (S,)
    Q = R + γ P V,   A = Q − τ log π − V           soft action values and advantages (S, A)
    ∇J = 1/(1 − γ) Σ_s d(s) Σ_a ∇π(a|s) A(s, a)

    π' ∝ π^{1 − ητ/(1 − γ)} exp(η Q/(1 − γ))       regularised natural step, 0 < η <= (1 − γ)/τ
    π' ∝ exp(Q/τ)                                  soft policy iteration, the largest such step

Entropy is in nats, τ in units of reward per nat.

Source: Cen, Cheng, Chen, Wei & Chi (2022); Mei, Xiao, Szepesvári & Schuurmans (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument
from npgcheck.exact import checked_probabilities
from npgcheck.linear import DiscountedSystem
from npgcheck.mdp import MDP
from npgcheck.policy import DiscretePolicy

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class SoftEvaluation:
    """What a fixed policy earns with its entropy.

    Attributes:
        value: (S,), soft values, unit of reward.
        q_value: (S, A), Q = R + γPV: the entropy of the present state is not in it.
        advantage: (S, A), Q − τ log π − V, mean zero under π.
        state_distribution: (S,), discounted occupancy, sums to one.
        objective: J = ρ·V.
    """

    value: Array
    q_value: Array
    advantage: Array
    state_distribution: Array
    objective: float


def soft_evaluation(mdp: MDP, log_probabilities: Array, temperature: float) -> SoftEvaluation:
    """Evaluates the policy exp(log_probabilities), (S, A), all finite.

    Raises:
        InvalidArgument: probabilities that vanish or do not sum to one, a temperature not positive.
    """
    _check_temperature(temperature)
    log_pi = np.asarray(log_probabilities, dtype=np.float64)
    if not np.isfinite(log_pi).all():
        raise InvalidArgument("log_probabilities must be finite: every action needs a chance.")
    pi = checked_probabilities(np.exp(log_pi), mdp.rewards.shape)
    system = DiscountedSystem(mdp, pi, "auto")
    rewards = np.einsum("sa,sa->s", pi, mdp.rewards - temperature * log_pi)
    value = system.value(rewards)
    occupancy = (1 - mdp.discount) * system.occupancy(mdp.initial_distribution)
    q_value = mdp.rewards + mdp.discount * mdp.expected_next(value)
    soft = q_value - temperature * log_pi
    advantage = soft - np.einsum("sa,sa->s", pi, soft)[:, None]
    objective = float(mdp.initial_distribution @ value)
    return SoftEvaluation(value, q_value, advantage, occupancy, objective)


def soft_policy_gradient(
    mdp: MDP, policy: DiscretePolicy, theta: Array, observations: Any, temperature: float
) -> Array:
    """∇J(θ) (D,) of the regularised objective, unit of reward per unit of θ."""
    log_pi = policy.log_probabilities(theta, observations)
    found = soft_evaluation(mdp, log_pi, temperature)
    mass = found.state_distribution[:, None] / (1 - mdp.discount) * np.exp(log_pi)
    return policy.vjp(theta, observations, mass * found.advantage)


def regularised_step(
    mdp: MDP, log_probabilities: Array, temperature: float, step_size: float
) -> Array:
    """log π' (S, A) after π' ∝ π^{1 − ητ/(1 − γ)} exp(ηQ/(1 − γ)), 0 < η <= (1 − γ)/τ."""
    _check_temperature(temperature)
    largest = (1 - mdp.discount) / temperature
    if not 0 < step_size <= largest * (1 + 4 * np.finfo(float).eps):
        raise InvalidArgument(
            f"step_size must lie in (0, (1 − γ)/τ] = (0, {largest:.6g}], got {step_size!r}."
        )
    found = soft_evaluation(mdp, log_probabilities, temperature)
    scale = step_size / (1 - mdp.discount)
    return _normalised((1 - scale * temperature) * log_probabilities + scale * found.q_value)


def soft_policy_iteration(
    mdp: MDP, log_probabilities: Array, temperature: float, iterations: int
) -> Array:
    """log π after each of `iterations` steps π' ∝ exp(Q/τ): (T, S, A), the start not included."""
    if int(iterations) < 0:
        raise InvalidArgument(f"iterations must be at least 0, got {iterations!r}.")
    path = np.empty((int(iterations), *mdp.rewards.shape))
    log_pi = np.asarray(log_probabilities, dtype=np.float64)
    for t in range(int(iterations)):
        log_pi = _normalised(soft_evaluation(mdp, log_pi, temperature).q_value / temperature)
        path[t] = log_pi
    return path


def soft_optimal(mdp: MDP, temperature: float, max_iterations: int = 1000) -> tuple[Array, Array]:
    """The soft-optimal values (S,) and log π* (S, A), by soft policy iteration until it stands.

    Raises:
        InvalidArgument: values still moved by more than their round-off after `max_iterations`.
    """
    log_pi = np.full(mdp.rewards.shape, -np.log(mdp.num_actions))
    value = soft_evaluation(mdp, log_pi, temperature).value
    # near the optimum each iteration squares the error; what moves last is round-off, κ·u·|V|
    size = np.abs(mdp.rewards).max() + temperature * np.log(mdp.num_actions)
    limit = 64 * np.finfo(float).eps * max(size, 1e-300) / (1 - mdp.discount) ** 2
    for _ in range(max_iterations):
        log_pi = _normalised(soft_evaluation(mdp, log_pi, temperature).q_value / temperature)
        new = soft_evaluation(mdp, log_pi, temperature).value
        if np.abs(new - value).max() <= limit:
            return new, log_pi
        value = new
    raise InvalidArgument(f"soft policy iteration did not settle in {max_iterations} iterations.")


def _normalised(logits: Array) -> Array:
    from scipy.special import log_softmax

    out: Array = log_softmax(logits, axis=1)
    return out


def _check_temperature(temperature: float) -> None:
    if not (np.isfinite(temperature) and temperature > 0):
        raise InvalidArgument(f"temperature must be positive and finite, got {temperature!r}.")
