"""d and P_π by plain sums: a second route without a solve."""

from __future__ import annotations

import numpy as np

from npgcheck.problem import Problem


def occupancy(problem: Problem) -> np.ndarray:
    """d by its series Σ_t (1 − γ) γᵗ ρP_πᵗ: no solve."""
    chain = chain_of(problem)
    total, step = np.zeros(problem.num_states), problem.mdp.initial_distribution
    step = step * (1 - problem.discount)
    for _ in range(1500):  # γ ≤ 0.97: the rest is below 1e-19
        total += step
        step = problem.discount * step @ chain
    return total


def chain_of(problem: Problem) -> np.ndarray:
    if problem.is_gaussian:
        return np.asarray(problem.mdp.transitions)
    probabilities = problem.policy.probabilities(problem.theta, problem.observations)
    return np.einsum("sa,sat->st", probabilities, problem.mdp.transitions)
