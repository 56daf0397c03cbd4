"""The exact natural gradient, dense: its cost beside what cannot be avoided.

Run: OMP_NUM_THREADS=1 python benchmarks/natural_gradient.py [S] [A]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy.linalg import lu_factor
from timing import alternate, line

from npgcheck.exact import evaluate_policy
from npgcheck.named_mdps import garnet
from npgcheck.natural import natural_gradient
from npgcheck.oracles import traced_objective
from npgcheck.policy import SoftmaxPolicy


def main(S: int = 1000, A: int = 10) -> None:
    """Prints the dense comparison, then autograd and finite differences on a smaller MDP."""
    mdp = garnet(S, A, S, 0.99)
    policy, observations = SoftmaxPolicy(S, A), np.eye(S)
    theta = np.random.default_rng(0).normal(size=S * A)
    probabilities = policy.probabilities(theta, observations)
    flat, system = (
        mdp.transitions.reshape(S * A, S),
        np.eye(S) - 0.99 * mdp.policy_transitions(probabilities),
    )

    def floor() -> None:
        lu_factor(system, check_finite=False)
        mdp.policy_transitions(probabilities)  # P is read once for P_π …
        flat @ system[0]  # … and once for Q

    times = alternate(
        {
            "one LU of S×S and two passes over P": floor,
            "natural gradient, tabular closed form": lambda: natural_gradient(
                mdp, policy, theta, observations
            ),
        },
        rounds=15,
    )
    print(f"dense, S = {S}, A = {A}")
    for name, seconds in times.items():
        line(name, seconds, next(iter(times.values())))

    S, A = 100, 4
    small = garnet(S, A, S, 0.99)
    policy, observations = SoftmaxPolicy(S, A), np.eye(S)
    theta = np.random.default_rng(0).normal(size=S * A)

    def objective(t: np.ndarray) -> float:
        return evaluate_policy(small, policy, t, observations).objective

    def differences() -> np.ndarray:
        step = 1e-6 * np.eye(S * A)
        return np.array([(objective(theta + e) - objective(theta - e)) / 2e-6 for e in step])

    from autograd import grad

    traced: Callable[[np.ndarray], np.ndarray] = grad(traced_objective(small, policy, observations))
    times = alternate(
        {
            "natural gradient, closed form": lambda: natural_gradient(
                small, policy, theta, observations
            ),
            "∇J alone, autograd through the solve": lambda: traced(theta),
            "∇J alone, central differences": differences,
        },
        rounds=3,
    )
    print(f"\nthe same quantity by other means, S = {S}, A = {A}, D = {S * A}")
    for name, seconds in times.items():
        line(name, seconds, next(iter(times.values())))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
