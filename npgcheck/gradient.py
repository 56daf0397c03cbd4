"""The policy gradient and the surrogate objective, in closed form.

    ∇J(θ) = 1/(1 − γ) Σ_s d(s) Σ_a π(a|s) ∇log π(a|s) A(s, a)
    L(θ') = J(θ) + 1/(1 − γ) Σ_s d(s) Σ_a π'(a|s) A(s, a)         (d and A those of θ)

Source: Sutton, McAllester, Singh & Mansour (2000), the policy gradient theorem, with d normalised;
Kakade & Langford (2002) and Schulman et al. (2015) for the surrogate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.exact import Evaluation, evaluate_policy
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import DiscretePolicy, GaussianBase

Array = np.ndarray
Policy = DiscretePolicy | GaussianBase


def policy_gradient(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    evaluation: Evaluation | None = None,
) -> Array:
    """∇J(θ).

    Args:
        mdp: the MDP (a QuadraticMDP for a Gaussian policy).
        policy: the policy family.
        theta: (D,).
        observations: (S, k), one row per state.
        evaluation: of the same policy, if it is known already.

    Returns:
        (D,), unit of reward per unit of θ.
    """
    if evaluation is None:
        evaluation = evaluate_policy(mdp, policy, theta, observations)
    factor = evaluation.state_distribution / (1 - mdp.discount)
    if isinstance(policy, GaussianBase):
        assert isinstance(mdp, QuadraticMDP)
        of_mean, of_log_std = reward_slopes(mdp, policy, theta, observations)
        return policy.vjp(
            theta, observations, (factor[:, None] * of_mean, factor[:, None] * of_log_std)
        )
    assert evaluation.advantage is not None
    # ∂J/∂z(s, a) = d(s) π(a|s) A(s, a) / (1 − γ), pulled back through the logits z
    probabilities = policy.probabilities(theta, observations)
    return policy.vjp(theta, observations, factor[:, None] * probabilities * evaluation.advantage)


def reward_slopes(
    mdp: QuadraticMDP, policy: GaussianBase, theta: Array, observations: Any
) -> tuple[Array, Array]:
    """∂E r/∂μ (S, m) and ∂E r/∂ log σ (S, m) of a Gaussian policy's expected reward."""
    mean, log_std = policy.mean_log_std(theta, observations)
    _, b, M = mdp.reward_quadratic
    # E r = c + b·μ + μᵀMμ + Σ_i M_ii σ_i²
    of_mean = b + np.einsum("sij,sj->si", M, mean) + np.einsum("sji,sj->si", M, mean)
    of_log_std = 2 * np.einsum("sii->si", M) * np.exp(2 * log_std)
    return of_mean, of_log_std


def surrogate(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    other_theta: Array,
    evaluation: Evaluation | None = None,
) -> float:
    """L(other_theta), the surrogate built at θ: it equals J(θ) at θ and has the slope ∇J(θ) there.

    Args:
        mdp: the MDP.
        policy: the policy family.
        theta: (D,), where d and A are taken.
        observations: (S, k).
        other_theta: (D,), where π' is taken.
        evaluation: of θ, if it is known already.

    Returns:
        L, unit of reward.
    """
    if evaluation is None:
        evaluation = evaluate_policy(mdp, policy, theta, observations)
    return evaluation.objective + surrogate_gain(
        mdp, policy, theta, observations, other_theta, evaluation
    )


def surrogate_gain(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    other_theta: Array,
    evaluation: Evaluation,
) -> float:
    """L(other_theta) − J(θ) = 1/(1 − γ) Σ_s d(s) Σ_a (π' − π)(a|s) A(s, a)."""
    factor = evaluation.state_distribution / (1 - mdp.discount)
    if isinstance(policy, GaussianBase):
        assert isinstance(mdp, QuadraticMDP)
        rewards = []
        for parameters in (theta, other_theta):
            mean, log_std = policy.mean_log_std(parameters, observations)
            rewards.append(mdp.expected_reward(mean, np.exp(log_std)))
        return float(factor @ (rewards[1] - rewards[0]))
    assert evaluation.advantage is not None
    # π' − π = π (e^Δ − 1), Δ = log π' − log π
    ratio = policy.log_ratio(theta, other_theta, observations)
    old, new = (policy.probabilities(t, observations) for t in (theta, other_theta))
    near = np.abs(ratio) < 0.5
    change = np.where(near, old * np.expm1(np.where(near, ratio, 0)), new - old)
    return float(factor @ np.einsum("sa,sa->s", change, evaluation.advantage))
