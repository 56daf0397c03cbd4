"""The Fisher information of a policy and the KL divergence whose curvature it is.

    F = Σ_n w_n E_{a ~ π(·|o_n)} [∇log π ∇log πᵀ]
    KL(θ, θ') = Σ_n w_n KL(π_θ(·|o_n) ‖ π_θ'(·|o_n))        in nats;  KL(θ, θ+ε) = ½ εᵀFε + O(ε³)

F is built as RᵀR from a root R whose rows are weighted scores, so it is symmetric and positive
semidefinite as stored, and products and least squares can use R where F would square its condition.

Source: Amari (1998); Kakade (2001) for the average over states.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument
from npgcheck.policy import (
    DiscretePolicy,
    GaussianBase,
    centred,
    exp_minus_line,
    exponential_excess,
    shapes,
)

Array = np.ndarray
Policy = DiscretePolicy | GaussianBase


def fisher_root(policy: Policy, theta: Array, observations: Any, weights: Array) -> Array:
    """R (M, D) with F = RᵀR.

    Discrete: one row √(w_n π(a|o_n)) ∇log π(a|o_n) per pair. Gaussian: rows √w_n ∇μ_i/σ_i, then
    rows √(2 w_n) ∇log σ_i.

    Args:
        policy: the policy family.
        theta: (D,).
        observations: (N, k).
        weights: (N,), non-negative; their sum scales F.

    Returns:
        (N·A, D), or (2·N·m, D) for a Gaussian policy.
    """
    if isinstance(policy, GaussianBase):
        of_mean, of_log_std = policy.mean_log_std_jacobian(theta, observations)
        log_std = policy.mean_log_std(theta, observations)[1]
        weights = _weights(weights, len(of_mean))
        # F = Σ w Σ_i [∇μ_i ∇μ_iᵀ / σ_i² + 2 ∇log σ_i ∇log σ_iᵀ]
        root = np.sqrt(weights)[:, None, None]
        rows = np.concatenate(
            [root * np.exp(-log_std)[:, :, None] * of_mean, np.sqrt(2) * root * of_log_std]
        )
        return rows.reshape(-1, policy.num_parameters)
    scores = policy.scores(theta, observations)
    weights = _weights(weights, len(scores))
    mass = weights[:, None] * policy.probabilities(theta, observations)
    # F = Σ w π φ φᵀ
    return (np.sqrt(mass)[:, :, None] * scores).reshape(-1, policy.num_parameters)


def fisher(policy: Policy, theta: Array, observations: Any, weights: Array) -> Array:
    """F(θ) (D, D), exact in the actions, weighted over the observations.

    Args:
        policy: the policy family.
        theta: (D,).
        observations: (N, k).
        weights: (N,), non-negative: d(s) for the MDP's own F, 1/N for a batch.

    Returns:
        (D, D), symmetric, positive semidefinite.
    """
    root = fisher_root(policy, theta, observations, weights)
    return root.T @ root


def empirical_fisher(
    policy: Policy, theta: Array, observations: Any, actions: Array, weights: Array
) -> Array:
    """Σ_n w_n φ_n φ_nᵀ with the actions of the data: an estimate of F, not F.

    Args:
        policy: the policy family.
        theta: (D,).
        observations: (N, k).
        actions: (N,) int, or (N, m).
        weights: (N,), non-negative.

    Returns:
        (D, D).
    """
    scores = policy.score(theta, observations, actions)
    root = np.sqrt(_weights(weights, len(scores)))[:, None] * scores
    return root.T @ root


def fisher_vector_product(
    policy: Policy, theta: Array, observations: Any, weights: Array, vector: Array
) -> Array:
    """F v (D,) through the outputs, F = Σ w Jᵀ H J: no (D, D) or (N, A, D) array is formed.

    Args:
        policy: the policy family.
        theta: (D,).
        observations: (N, k).
        weights: (N,), non-negative.
        vector: (D,).

    Returns:
        (D,).
    """
    if isinstance(policy, GaussianBase):
        log_std = policy.mean_log_std(theta, observations)[1]
        mass = _weights(weights, len(log_std))[:, None]
        of_mean, of_log_std = policy.jvp(theta, observations, vector)
        return policy.vjp(
            theta, observations, (mass * of_mean * np.exp(-2 * log_std), 2 * mass * of_log_std)
        )
    probabilities = policy.probabilities(theta, observations)
    mass = _weights(weights, len(probabilities))[:, None] * probabilities
    # H u = π (u − π·u)
    change = centred(probabilities, policy.jvp(theta, observations, vector))
    return policy.vjp(theta, observations, mass * change)


def kl(
    policy: Policy,
    theta: Array,
    other: Array,
    observations: Any,
    weights: Array,
    direction: str = "forward",
) -> float:
    """Σ_n w_n KL(π_θ ‖ π_other) in nats; "reverse" exchanges the two.

    Every term is non-negative and keeps its relative accuracy as the two policies coincide.

    Args:
        policy: the policy family.
        theta: (D,).
        other: (D,).
        observations: (N, k).
        weights: (N,), non-negative.
        direction: "forward" or "reverse".

    Returns:
        The divergence; inf only where it exceeds the largest float.
    """
    if direction == "reverse":
        theta, other = other, theta
    elif direction != "forward":
        raise InvalidArgument(f"direction must be 'forward' or 'reverse', got {direction!r}.")
    if isinstance(policy, GaussianBase):
        rows = _gaussian_kl(policy, theta, other, observations)
    else:
        rows = _discrete_kl(policy, theta, other, observations)
    weights = _weights(weights, len(rows))
    return float(weights @ np.where(weights == 0, 0, rows))


def _discrete_kl(policy: DiscretePolicy, theta: Array, other: Array, obs: Any) -> Array:
    difference = policy.logits_difference(theta, other, obs)
    probabilities = policy.probabilities(theta, obs)
    log_old = policy.log_probabilities(theta, obs)
    log_new = policy.log_probabilities(other, obs)
    change = centred(probabilities, difference)
    # with D = Δz − E_π Δz:  KL = log E_π e^D = log(1 + E_π [e^D − 1 − D])
    excess = exponential_excess(probabilities, log_old, change)
    direct = np.einsum("na,na->n", probabilities, log_old - log_new)
    return np.where(excess < 1e100, np.log1p(np.minimum(excess, 1e100)), direct)


def _gaussian_kl(policy: GaussianBase, theta: Array, other: Array, obs: Any) -> Array:
    of_mean, of_log_std = policy.mean_log_std_difference(theta, other, obs)
    shapes.finite("mean difference", of_mean)
    shapes.finite("log_std difference", of_log_std)
    other_log_std = policy.mean_log_std(other, obs)[1]
    # KL = Σ_i ½ (Δμ/σ')² + ½ (e^{−2Δℓ} − 1 + 2Δℓ)
    spread = -2 * of_log_std
    near = np.abs(spread) < 0.5
    with np.errstate(over="ignore"):
        far = np.expm1(spread) - spread
        moved = np.where(of_mean == 0, 0, np.exp(-other_log_std))
        moved = np.square(of_mean * moved)
    total = 0.5 * (moved + np.where(near, exp_minus_line(np.where(near, spread, 0)), far))
    return total.sum(axis=1)


def _weights(weights: Array, rows: int) -> Array:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (rows,):
        raise InvalidArgument(f"weights must have shape ({rows},), got {weights.shape}.")
    if rows and not weights.min() >= 0:
        raise InvalidArgument(
            f"weights must be non-negative and finite, got {weights.min()} in row"
            f" {int(np.argmin(weights))}."
        )
    return weights
