"""Slow second routes to every quantity, sharing no formula with the modules that they check.

What the fast code derives by hand is here differentiated by autograd, summed as a series,
enumerated over trajectories, integrated by quadrature, or read off three values of a Möbius
function. Policies are rewritten for tracing; only their sizes and layout are shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, InvalidPolicy
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy

Array = np.ndarray
Traced = Callable[[Any], Any]


# --- policies, rewritten so that autograd can trace them -------------------------------------


def traced_logits(policy: Any, observations: Array) -> Traced:
    """θ ↦ logits (N, A), traceable."""
    import autograd.numpy as anp

    obs = np.asarray(observations, dtype=float)
    if isinstance(policy, SoftmaxPolicy):
        shape = (policy.observation_size, policy.num_actions)
        return lambda theta: anp.einsum("nk,ka->na", obs, anp.reshape(theta, shape))
    if isinstance(policy, MLPPolicy):
        shapes = list(policy.layout().values())

        def network(theta: Any) -> Any:
            arrays, start = [], 0
            for shape in shapes:
                stop = start + int(np.prod(shape))
                arrays.append(anp.reshape(theta[start:stop], shape))
                start = stop
            hidden: Any = obs
            for level in range(0, len(arrays) - 2, 2):
                hidden = anp.tanh(anp.dot(hidden, arrays[level]) + arrays[level + 1])
            return anp.dot(hidden, arrays[-2]) + arrays[-1]

        return network
    raise InvalidPolicy(f"no traced form of {type(policy).__name__} is known.")


def traced_log_probabilities(policy: Any, observations: Array) -> Traced:
    """θ ↦ log π (N, A), by the textbook formula z − log Σ eᶻ; logits of moderate size only."""
    import autograd.numpy as anp

    logits = traced_logits(policy, observations)

    def table(theta: Any) -> Any:
        z = logits(theta)
        return z - anp.log(anp.sum(anp.exp(z), axis=1, keepdims=True))

    return table


def traced_moments(policy: GaussianPolicy, observations: Array) -> Traced:
    """θ ↦ (μ (N, m), σ (m,)) of a linear Gaussian policy in its own coordinate of σ."""
    import autograd.numpy as anp

    obs = np.asarray(observations, dtype=float)
    k, m = policy.observation_size, policy.action_size
    to_std = {
        "log_std": anp.exp,
        "std": lambda s: s,
        "variance": anp.sqrt,
        "softplus": lambda s: anp.log(1 + anp.exp(s)),
    }[policy.sigma]
    return lambda theta: (anp.dot(obs, anp.reshape(theta[: k * m], (k, m))), to_std(theta[k * m :]))


# --- values and occupancies -------------------------------------------------------------------


def series_resolvent(chain: Array, discount: float) -> Array:
    """Σ_t (γP)ᵗ (S, S), by doubling: S_{2n} = S_n + (γP)ⁿ S_n; no linear system is solved."""
    power = discount * np.asarray(chain, dtype=float)
    total = np.eye(len(power))
    # ‖(γP)ⁿ‖_∞ = γⁿ: when it vanishes the sum is complete; 64 doublings reach n = 2⁶⁴
    for _ in range(64):
        total = total + power @ total
        power = power @ power
        if not power.any() or np.abs(power).sum(axis=1).max() < 1e-30:
            return total
    raise InvalidArgument(f"the series for γ = {discount} does not end.")


def series_evaluation(mdp: MDP, probabilities: Array) -> dict[str, Any]:
    """V, Q, A, d and J from the series, with sums written as loops over states."""
    S, A = mdp.rewards.shape
    P = np.stack([_row(mdp, s, a) for s in range(S) for a in range(A)]).reshape(S, A, S)
    chain = np.array([sum(probabilities[s, a] * P[s, a] for a in range(A)) for s in range(S)])
    reward = np.array([sum(probabilities[s] * mdp.rewards[s]) for s in range(S)])
    resolvent = series_resolvent(chain, mdp.discount)
    value = resolvent @ reward
    q_value = np.array(
        [[mdp.rewards[s, a] + mdp.discount * sum(P[s, a] * value) for a in range(A)]
         for s in range(S)]
    )  # fmt: skip
    return {
        "value": value,
        "q_value": q_value,
        "advantage": q_value - value[:, None],
        "state_distribution": (1 - mdp.discount) * (mdp.initial_distribution @ resolvent),
        "objective": float(mdp.initial_distribution @ value),
    }


def _row(mdp: MDP, state: int, action: int) -> Array:
    if mdp.is_sparse:
        return mdp.transitions[[state * mdp.num_actions + action]].toarray()[0]
    return mdp.transitions[state, action]


# --- objective and gradient -------------------------------------------------------------------


def traced_objective(mdp: MDP | QuadraticMDP, policy: Any, observations: Array) -> Traced:
    """θ ↦ J(θ) through the linear solve."""
    import autograd.numpy as anp

    size, discount = mdp.num_states, mdp.discount
    if isinstance(mdp, QuadraticMDP):
        moments = traced_moments(policy, observations)
        nodes, masses = _gauss_hermite(mdp.action_size)

        def gaussian(theta: Any) -> Any:
            mean, std = moments(theta)
            reward = _expected_reward(mdp, mean, std, nodes, masses)
            value = anp.linalg.solve(np.eye(size) - discount * mdp.transitions, reward)
            return anp.dot(mdp.initial_distribution, value)

        return gaussian
    table = traced_log_probabilities(policy, observations)
    P = np.stack([_row(mdp, s, a) for s in range(size) for a in range(mdp.num_actions)])
    P = P.reshape(size, mdp.num_actions, size)

    def discrete(theta: Any) -> Any:
        pi = anp.exp(table(theta))
        chain = anp.einsum("sa,sat->st", pi, P)
        reward = anp.sum(pi * mdp.rewards, axis=1)
        value = anp.linalg.solve(np.eye(size) - discount * chain, reward)
        return anp.dot(mdp.initial_distribution, value)

    return discrete


def traced_gradient(
    mdp: MDP | QuadraticMDP, policy: Any, theta: Array, observations: Array
) -> Array:
    """∇J (D,) by reverse-mode differentiation of J through the solve."""
    from autograd import grad

    return np.asarray(grad(traced_objective(mdp, policy, observations))(np.asarray(theta, float)))


def enumerated_gradient(
    mdp: MDP, policy: Any, theta: Array, observations: Array, horizon: int
) -> tuple[float, Array]:
    """J and ∇J of the first `horizon` steps, from every trajectory that has positive probability.

    J = Σ_τ Pr(τ) R(τ) and ∇J = Σ_τ Pr(τ) R(τ) Σ_t ∇log π(a_t|s_t), R = Σ_t γᵗ r_t. Truncation
    leaves out at most γ^horizon max|V|; nothing once every trajectory is absorbed with reward 0.
    """
    table = np.exp(np.asarray(traced_log_probabilities(policy, observations)(np.asarray(theta))))
    scores = traced_scores(policy, theta, observations)
    terminal = mdp.terminal_states
    objective, gradient = 0.0, np.zeros(policy.num_parameters)
    stack: list[tuple[int, int, float, float, Array]] = [
        (0, s, float(p), 0.0, np.zeros(policy.num_parameters))
        for s, p in enumerate(mdp.initial_distribution)
        if p > 0
    ]
    while stack:
        time, s, chance, gained, score = stack.pop()
        if time == horizon or terminal[s]:
            objective += chance * gained
            gradient += chance * gained * score
            continue
        for a in range(mdp.num_actions):
            total = gained + mdp.discount**time * mdp.rewards[s, a]
            row = _row(mdp, s, a)
            for target in np.flatnonzero(row):
                chance_there = chance * table[s, a] * row[target]
                if chance_there > 0:
                    stack.append((time + 1, int(target), chance_there, total, score + scores[s, a]))
    return objective, gradient


def moebius_derivative(start: Any, middle: Any, end: Any) -> Any:
    """f′(0) of f(t) = (a + bt)/(1 + ct) from f(0), f(½) and f(1), exactly; for any field.

    J is such a function of the policy of a single state, because that changes one row of the
    system: no step is small and nothing is truncated.
    """
    if middle == start:  # a Möbius function that takes a value twice is constant
        return start - start
    slope_middle, slope_end = (middle - start) * 2, end - start
    # (f_i − a)/t_i = b − c f_i  at t = ½ and t = 1, then f′(0) = b − c a
    if end == middle:
        return start - start
    c = (slope_middle - slope_end) / (end - middle)
    return slope_middle + c * (middle - start)


def moebius_gradient(mdp: MDP, policy: Any, theta: Array, observations: Array) -> Array:
    """∇J (D,) from values of J alone: π(·|s) is moved towards each action in each state.

    f(t) = J((1−t) π + t e_a in state s) has f′(0) = d(s) A(s, a)/(1 − γ) = ∂J/∂z_{sa} / π(a|s).
    """
    from autograd import jacobian

    theta = np.asarray(theta, float)
    table = np.exp(np.asarray(traced_log_probabilities(policy, observations)(theta)))
    of_logits = np.zeros(table.shape)
    start = series_evaluation(mdp, table)["objective"]
    for s in range(mdp.num_states):
        for a in range(mdp.num_actions):
            points = []
            for t in (0.5, 1.0):
                moved = table.copy()
                moved[s] = (1 - t) * table[s]
                moved[s, a] += t
                points.append(series_evaluation(mdp, moved)["objective"])
            of_logits[s, a] = table[s, a] * moebius_derivative(start, *points)
    through = np.asarray(jacobian(traced_logits(policy, observations))(theta))
    return np.tensordot(of_logits, through, axes=2)


def summed_surrogate(
    mdp: MDP, policy: Any, theta: Array, observations: Array, other_theta: Array
) -> float:
    """J + 1/(1 − γ) Σ_s d Σ_a π (π'/π) A, with everything from the series."""
    table = traced_log_probabilities(policy, observations)
    old, new = (np.exp(np.asarray(table(np.asarray(t, float)))) for t in (theta, other_theta))
    found = series_evaluation(mdp, old)
    total = 0.0
    for s in range(mdp.num_states):
        for a in range(mdp.num_actions):
            ratio = new[s, a] / old[s, a]
            total += found["state_distribution"][s] * old[s, a] * ratio * found["advantage"][s, a]
    return found["objective"] + total / (1 - mdp.discount)


# --- score, Fisher, KL --------------------------------------------------------------------------


def traced_scores(policy: Any, theta: Array, observations: Array) -> Array:
    """∇log π (N, A, D) by reverse-mode differentiation of the table of log-probabilities."""
    from autograd import jacobian

    table = traced_log_probabilities(policy, observations)
    return np.asarray(jacobian(table)(np.asarray(theta, float)))


def traced_gaussian_log_prob(policy: GaussianPolicy, observations: Array, actions: Array) -> Traced:
    """θ ↦ log density (N,), as the logarithm of the product of one-dimensional densities."""
    import autograd.numpy as anp

    moments = traced_moments(policy, observations)

    def log_density(theta: Any) -> Any:
        mean, std = moments(theta)
        density = anp.exp(-((actions - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))
        return anp.sum(anp.log(density), axis=1)

    return log_density


def traced_kl(policy: Any, theta: Array, observations: Array, weights: Array) -> Traced:
    """θ' ↦ Σ w KL(π_θ ‖ π_θ'), by the definition Σ p log(p/q), or by quadrature for Gaussians."""
    import autograd.numpy as anp

    theta, weights = np.asarray(theta, float), np.asarray(weights, float)
    if isinstance(policy, GaussianPolicy):
        moments = traced_moments(policy, observations)
        mean, std = moments(theta)
        nodes, masses = _gauss_hermite(policy.action_size)

        def gaussian(other: Any) -> Any:
            other_mean, other_std = moments(other)
            total = 0.0
            for node, mass in zip(nodes, masses, strict=True):
                # log p(x) − log q(x) at x = μ + σ·node: a polynomial of degree 2 in the node
                z = (mean + std * node - other_mean) / other_std
                ratio = anp.sum(
                    0.5 * z**2 - 0.5 * node**2 + anp.log(other_std) - anp.log(std), axis=1
                )
                total = total + mass * anp.dot(weights, ratio)
            return total

        return gaussian
    table = traced_log_probabilities(policy, observations)
    log_old = np.asarray(table(theta))
    old = np.exp(log_old)
    return lambda other: anp.dot(weights, anp.sum(old * (log_old - table(other)), axis=1))


def kl_hessian(policy: Any, theta: Array, observations: Array, weights: Array) -> Array:
    """F (D, D) as the second derivative of KL(θ ‖ θ') at θ' = θ, by autograd."""
    from autograd import hessian

    divergence = traced_kl(policy, theta, observations, weights)
    return np.asarray(hessian(divergence)(np.asarray(theta, float)))


def krylov_minimiser(matrix: Array, b: Array, iterations: int) -> Array:
    """argmin ½ xᵀMx − bᵀx over span{b, Mb, …, M^{k−1}b}: what k steps of CG from 0 must give."""
    basis = np.zeros((len(b), 0))
    vector = np.asarray(b, float)
    for _ in range(iterations):
        for _ in range(2):  # orthogonalised twice: once is not enough in floating point
            vector = vector - basis @ (basis.T @ vector)
        norm = np.linalg.norm(vector)
        if norm <= 1e-13 * np.linalg.norm(b):
            break
        basis = np.column_stack([basis, vector / norm])
        vector = matrix @ basis[:, -1]
    small = basis.T @ matrix @ basis
    return basis @ np.linalg.lstsq(small, basis.T @ b, rcond=None)[0]


def summed_advantage_estimate(
    rewards: Array, values: Array, next_values: Array, terminated: Array, truncated: Array,
    discount: float, lam: float,
) -> Array:  # fmt: skip
    """Â_t = Σ_l (γλ)^l δ_{t+l} as a double loop, up to and including the first end."""
    estimate = np.zeros(len(rewards))
    for t in range(len(rewards)):
        for later in range(t, len(rewards)):
            bootstrap = 0.0 if terminated[later] else discount * next_values[later]
            error = rewards[later] + bootstrap - values[later]
            estimate[t] += (discount * lam) ** (later - t) * error
            if terminated[later] or truncated[later]:
                break
    return estimate


# --- quadrature ---------------------------------------------------------------------------------


def _gauss_hermite(dimensions: int, points: int = 4) -> tuple[Array, Array]:
    """Nodes (n, m) and weights (n,) for E under N(0, I): exact up to degree 2·points − 1 each."""
    if dimensions > 4:
        raise InvalidArgument(f"quadrature is limited to 4 action dimensions, got {dimensions}.")
    node, mass = np.polynomial.hermite_e.hermegauss(points)
    mass = mass / np.sqrt(2 * np.pi)
    grids = np.meshgrid(*[node] * dimensions, indexing="ij")
    masses = np.meshgrid(*[mass] * dimensions, indexing="ij")
    nodes = np.stack([grid.ravel() for grid in grids], axis=1)
    return nodes, np.prod([m.ravel() for m in masses], axis=0)


def _expected_reward(mdp: QuadraticMDP, mean: Any, std: Any, nodes: Array, masses: Array) -> Any:
    import autograd.numpy as anp

    c, b, M = mdp.reward_quadratic
    total = 0.0
    for node, mass in zip(nodes, masses, strict=True):
        action = mean + std * node
        total = total + mass * (
            c
            + anp.sum(b * action, axis=1)
            + anp.sum(action * anp.einsum("sij,sj->si", M, action), axis=1)
        )
    return total


def quadrature_fisher(
    policy: GaussianPolicy, theta: Array, observations: Array, weights: Array
) -> Array:
    """F (D, D) of a Gaussian policy: score outer products by quadrature, scores by autograd."""
    from autograd import jacobian

    theta = np.asarray(theta, float)
    mean, std = traced_moments(policy, observations)(theta)
    nodes, masses = _gauss_hermite(policy.action_size)
    total = np.zeros((policy.num_parameters,) * 2)
    for node, mass in zip(nodes, masses, strict=True):
        actions = mean + std * node
        scores = np.asarray(
            jacobian(traced_gaussian_log_prob(policy, observations, actions))(theta)
        )
        total += mass * np.einsum("n,ni,nj->ij", np.asarray(weights, float), scores, scores)
    return total
