"""Small seeded MDPs and policies for the tests of the mathematics, and their error budgets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy

U = 2.0**-53
DISCOUNTS = (0.0, 0.3, 0.5, 0.9, 0.99)


class Case(NamedTuple):
    mdp: Any
    policy: Any
    theta: np.ndarray
    observations: np.ndarray
    label: str


def random_mdp(rng: np.random.Generator, S: int, A: int, discount: float, density=1.0) -> MDP:
    """Dense or sparse-patterned transitions, rewards in [0, 1], a non-uniform start."""
    P = rng.random((S, A, S)) * (rng.random((S, A, S)) < density)
    P[..., 0] += P.sum(axis=2) == 0
    P /= P.sum(axis=2, keepdims=True)
    start = rng.random(S) + 0.1
    return MDP(P, rng.random((S, A)), discount, start / start.sum())


def random_quadratic(rng: np.random.Generator, S: int, m: int, discount: float) -> QuadraticMDP:
    P = rng.random((S, S)) + 0.05
    P /= P.sum(axis=1, keepdims=True)
    start = rng.random(S) + 0.1
    parts = (rng.normal(size=S), rng.normal(size=(S, m)), rng.normal(size=(S, m, m)))
    return QuadraticMDP(P, parts, discount, start / start.sum())


def discrete_cases(seed: int = 0) -> list[Case]:
    """Tabular, shared-feature and network policies; S, A and k are all different."""
    rng = np.random.default_rng(seed)
    cases = []
    for number, discount in enumerate(DISCOUNTS):
        S, A, k = (5, 3, 2) if number % 2 else (4, 3, 2)
        mdp = random_mdp(rng, S, A, discount, density=(1.0, 0.5)[number % 2])
        shared = rng.normal(size=(S, k))
        for policy, obs in (
            (SoftmaxPolicy(S, A), np.eye(S)),
            (SoftmaxPolicy(k, A), shared),
            (MLPPolicy(k, A, (3, 2)), shared),
        ):
            theta = rng.normal(size=policy.num_parameters)
            cases.append(Case(mdp, policy, theta, obs, f"{policy} γ={discount}"))
    return cases


def gaussian_cases(seed: int = 1) -> list[Case]:
    rng = np.random.default_rng(seed)
    cases = []
    for number, sigma in enumerate(("log_std", "std", "variance", "softplus")):
        S, k, m = 5, 3, (2, 1, 2, 3)[number]
        discount = (0.5, 0.9, 0.0, 0.99)[number]
        policy = GaussianPolicy(k, m, sigma)
        theta = rng.normal(size=policy.num_parameters)
        theta[-m:] = 0.4 + rng.random(m)
        mdp = random_quadratic(rng, S, m, discount)
        cases.append(Case(mdp, policy, theta, rng.normal(size=(S, k)), f"{policy} γ={discount}"))
    return cases


def condition(mdp: Any) -> float:
    """κ_∞(I − γP) <= (1 + γ)/(1 − γ) for every policy."""
    return (1 + mdp.discount) / (1 - mdp.discount)


def ids(cases: list[Case]) -> list[str]:
    return [case.label for case in cases]


def worst(found: Any, exact: Any) -> float:
    """max |found − exact|, where a NaN counts as infinite."""
    error = np.abs(np.asarray(found, float) - np.asarray(exact, float))
    return float(np.max(np.where(np.isnan(error), np.inf, error), initial=0.0))


def relative(found: Any, exact: Any) -> float:
    """max |found − exact| / |exact|; 0/0 counts as 0, NaN and anything else over 0 as infinite."""
    found, exact = np.asarray(found, float), np.asarray(exact, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(found == exact, 0.0, np.abs(found - exact) / np.abs(exact))
    return float(np.max(np.where(np.isnan(ratio), np.inf, ratio), initial=0.0))


def central_difference(function: Any, theta: np.ndarray, step: float = 1e-5) -> np.ndarray:
    eye = np.eye(len(theta))
    return np.array(
        [(function(theta + step * e) - function(theta - step * e)) / (2 * step) for e in eye]
    )
