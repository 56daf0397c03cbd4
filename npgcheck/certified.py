"""The same quantities as exact rationals or Arb balls: references with certified digits.

`certify_rational` starts from a rational policy and returns exact fractions; `certify` starts
from float64 parameters, taken as the exact numbers that they are, and returns balls that contain
the true answer. MDP entries are the float64 numbers stored, exactly; with `intended=True` the
simplest fraction that rounds to each of them (1/3 for 0.333…).

The definitions of `npgcheck.exact` to `npgcheck.natural` are written again over a field. F⁺∇J
comes from a bordered system where the parametrisation's own null space is all there is, and
otherwise from the minimum-norm exact fit of the advantage on the states that are reachable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, InvalidPolicy, NpgcheckError
from npgcheck.fields import Balls, Number, Rationals, Table, Vector, dot, floats
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy

Array = np.ndarray

__all__ = [
    "Certified",
    "CertifiedEvaluation",
    "certified_kl",
    "certify",
    "certify_evaluation",
    "certify_rational",
    "floats",
]


@dataclass(frozen=True, eq=False)
class CertifiedEvaluation:
    """V, Q, A, d and J over a field; the fields mean what they mean in `npgcheck.exact`."""

    value: Vector
    q_value: Table | None
    advantage: Table | None
    state_distribution: Vector
    objective: Number


@dataclass(frozen=True, eq=False)
class Certified:
    """Every quantity of one policy, each entry an exact fraction or a ball that holds the truth.

    Attributes:
        evaluation: V, Q, A, d (normalised) and J.
        policy_gradient: (D,), ∇J.
        fisher: (D, D), weighted by d.
        natural_gradient: (D,), the minimum-norm F⁺∇J.
    """

    evaluation: CertifiedEvaluation
    policy_gradient: Vector
    fisher: Table
    natural_gradient: Vector


# --- evaluation over a field --------------------------------------------------------------------


def _chain_solutions(
    field: Any, chain: Table, reward: Vector, start: Vector, discount: Number
) -> tuple[Vector, Vector, Number]:
    """V = (I − γP)⁻¹ r, d = (1 − γ)(I − γPᵀ)⁻¹ ρ, J = ρ·V."""
    S, one = len(chain), field.number(1)
    matrix = [[(one if s == t else 0) - discount * chain[s][t] for t in range(S)] for s in range(S)]
    matrix = [[field.number(x) for x in row] for row in matrix]
    value = field.solve(matrix, reward)
    transposed = [[matrix[t][s] for t in range(S)] for s in range(S)]
    occupancy = [(one - discount) * x for x in field.solve(transposed, start)]
    return value, occupancy, dot(start, value)


def _evaluate(field: Any, mdp: MDP, pi: Table) -> CertifiedEvaluation:
    S, A = mdp.rewards.shape
    dense = mdp.transitions.toarray() if mdp.is_sparse else mdp.transitions
    P = [[[field.number(x) for x in row] for row in rows] for rows in dense.reshape(S, A, S)]
    R = [[field.number(x) for x in row] for row in mdp.rewards]
    discount = field.number(mdp.discount)
    start = [field.number(x) for x in mdp.initial_distribution]
    chain = [[dot(pi[s], [P[s][a][t] for a in range(A)]) for t in range(S)] for s in range(S)]
    reward = [dot(pi[s], R[s]) for s in range(S)]
    value, occupancy, objective = _chain_solutions(field, chain, reward, start, discount)
    q = [[R[s][a] + discount * dot(P[s][a], value) for a in range(A)] for s in range(S)]
    # where Σ_a π is one only to round-off (float64 input), A keeps its mean zero under π
    mean = [dot(pi[s], q[s]) for s in range(S)]
    advantage = [[x - mean[s] for x in q[s]] for s in range(S)]
    return CertifiedEvaluation(value, q, advantage, occupancy, objective)


def certify_evaluation(mdp: MDP, probabilities: Any, intended: bool = False) -> CertifiedEvaluation:
    """Exact V, Q, A, d, J of the policy `probabilities` (S, A): floats, ints or Fractions."""
    field = Rationals(intended)
    pi = [[field.number(x) for x in row] for row in probabilities]
    if (len(pi), len(pi[0])) != mdp.rewards.shape:
        raise InvalidArgument(f"probabilities must have shape {mdp.rewards.shape}.")
    return _evaluate(field, mdp, pi)


def certify_rational(mdp: MDP, odds: Any, intended: bool = True) -> Certified:
    """Every quantity of the tabular softmax policy with θ = log odds, as exact fractions.

    Args:
        mdp: the MDP.
        odds: (S, A) positive integers or Fractions: π(a|s) = odds / Σ odds.
        intended: read 0.333… in the MDP as 1/3.

    Returns:
        The exact quantities, D = S·A.
    """
    field = Rationals(intended)
    S, A = mdp.rewards.shape
    weights = [[field.number(x) for x in row] for row in odds]
    if len(weights) != S or any(len(row) != A for row in weights):
        raise InvalidArgument(f"odds must have shape {(S, A)}.")
    if any(x <= 0 for row in weights for x in row):
        raise InvalidArgument("odds must be positive.")
    pi = [[x / sum(row[1:], row[0]) for x in row] for row in weights]
    zero, one = field.number(0), field.number(1)
    jacobian = [
        [[one if (t, b) == (s, a) else zero for t in range(S) for b in range(A)] for a in range(A)]
        for s in range(S)
    ]
    return _discrete(field, mdp, pi, jacobian, _gauge(field, S, A))


# --- quantities of a discrete policy ------------------------------------------------------------


def _gauge(field: Any, features: int, actions: int) -> Table:
    """Null vectors that every softmax layer has: one weight row moved alike for all actions."""
    return [
        [field.number(int(j == i)) for j in range(features) for _ in range(actions)]
        for i in range(features)
    ]


def _discrete(field: Any, mdp: MDP, pi: Table, jacobian: list[Table], gauge: Table) -> Certified:
    found = _evaluate(field, mdp, pi)
    assert found.advantage is not None
    S, A = mdp.rewards.shape
    D = len(jacobian[0][0])
    d, scale = found.state_distribution, field.number(1) - field.number(mdp.discount)
    gradient, F = [field.number(0)] * D, [[field.number(0)] * D for _ in range(D)]
    for s in range(S):
        mean = [dot(pi[s], [jacobian[s][a][i] for a in range(A)]) for i in range(D)]
        for a in range(A):
            score = [jacobian[s][a][i] - mean[i] for i in range(D)]
            mass = d[s] * pi[s][a]
            for i in range(D):
                gradient[i] = gradient[i] + mass * found.advantage[s][a] * score[i] / scale
                weighted = mass * score[i]
                F[i] = [F[i][j] + weighted * score[j] for j in range(D)]
    try:
        x = _bordered(field, F, gradient, gauge)
    except ZeroDivisionError:
        x = _exact_fit(field, mdp, jacobian, found.advantage, scale)
    return Certified(found, gradient, F, x)


def _bordered(field: Any, F: Table, gradient: Vector, gauge: Table) -> Vector:
    """F⁺g where `gauge` spans null F: (F + NNᵀ) x = g has Nᵀx = 0, so it is the one."""
    D = len(F)
    bordered = [
        [F[i][j] + sum((n[i] * n[j] for n in gauge), field.number(0)) for j in range(D)]
        for i in range(D)
    ]
    return field.solve(bordered, gradient)


def _exact_fit(field: Any, mdp: MDP, jacobian: list[Table], A: Table, scale: Number) -> Vector:
    """The least x with (J_a − J_0)·x = (A_a − A_0)/(1 − γ) on reachable states: x = Bᵀ(BBᵀ)⁻¹w.

    It solves F x = ∇J because it fits the advantage exactly, and it is orthogonal to null F
    because a vector that B sends to zero is one that F sends to zero.
    """
    rows, fitted = [], []
    for s in np.flatnonzero(reachable(mdp)):
        first = jacobian[s][0]
        for a in range(1, mdp.num_actions):
            rows.append([x - y for x, y in zip(jacobian[s][a], first, strict=True)])
            fitted.append((A[s][a] - A[s][0]) / scale)
    if not rows:
        return [field.number(0)] * len(jacobian[0][0])
    try:
        coefficients = field.solve([[dot(x, y) for y in rows] for x in rows], fitted)
    except ZeroDivisionError as error:
        raise NpgcheckError(
            "F is singular beyond the gauge of the softmax and the scores do not fit every"
            " advantage: no certified natural gradient."
        ) from error
    return [dot(coefficients, [row[i] for row in rows]) for i in range(len(rows[0]))]


def reachable(mdp: MDP) -> Array:
    """(S,) bool: states that some policy of full support visits, by search in the graph of P."""
    size = mdp.num_states
    dense = mdp.transitions.toarray() if mdp.is_sparse else mdp.transitions
    edges = (dense.reshape(size, mdp.num_actions, size) > 0).any(axis=1)
    seen = mdp.initial_distribution > 0
    if mdp.discount == 0:
        return seen
    while True:
        further = seen | edges[seen].any(axis=0)
        if (further == seen).all():
            return seen
        seen = further


# --- float64 parameters, by balls ---------------------------------------------------------------


def certify(
    mdp: MDP | QuadraticMDP,
    policy: SoftmaxPolicy | MLPPolicy | GaussianPolicy,
    theta: Array,
    observations: Any,
    precision: int = 256,
) -> Certified:
    """Every quantity at float64 θ, as balls of about `precision` bits.

    Args:
        mdp: the MDP; its float64 entries are taken as exact.
        policy: one of the three families that npgcheck ships.
        theta: (D,).
        observations: (S, k), one row per state.
        precision: working precision in bits.

    Returns:
        Balls; `floats` turns them into float64.

    Raises:
        NpgcheckError: F is singular beyond the gauge of the softmax, so that no ball holds F⁺∇J.
    """
    from flint import ctx

    with ctx.workprec(precision):
        field = Balls(intended=False)
        numbers = [field.number(x) for x in np.asarray(theta, dtype=float)]
        obs = [[field.number(x) for x in row] for row in np.asarray(observations, dtype=float)]
        if isinstance(policy, GaussianPolicy):
            assert isinstance(mdp, QuadraticMDP)
            return _gaussian(field, mdp, policy, numbers, obs)
        if not isinstance(policy, SoftmaxPolicy | MLPPolicy):
            raise InvalidPolicy(f"no certified form of {type(policy).__name__} is known.")
        assert isinstance(mdp, MDP)
        logits, jacobian = _ball_logits(field, policy, numbers, obs)
        pi = [_softmax(row) for row in logits]
        A, D = policy.num_actions, policy.num_parameters
        tail = policy.hidden[-1] + 1 if isinstance(policy, MLPPolicy) and policy.hidden else None
        features = tail or (policy.observation_size + int(isinstance(policy, MLPPolicy)))
        zeros = [field.number(0)] * (D - features * A)
        gauge = [zeros + row for row in _gauge(field, features, A)]
        return _discrete(field, mdp, pi, jacobian, gauge)


def _softmax(logits: Vector) -> Vector:
    weights = [x.exp() for x in logits]
    total = sum(weights[1:], weights[0])
    return [w / total for w in weights]


def _ball_logits(
    field: Any, policy: SoftmaxPolicy | MLPPolicy, theta: Vector, obs: Table
) -> tuple[Table, list[Table]]:
    """Logits (N, A) and their Jacobian (N, A, D) by forward accumulation."""
    A, D = policy.num_actions, policy.num_parameters
    zero, one = field.number(0), field.number(1)
    sizes = policy.sizes if isinstance(policy, MLPPolicy) else (policy.observation_size, A)
    bias = isinstance(policy, MLPPolicy)
    outputs, tangents = [], []
    for row in obs:
        h, dh, start = list(row), [[zero] * D for _ in row], 0
        for level in range(len(sizes) - 1):
            n, m = sizes[level], sizes[level + 1]
            z, dz = [], []
            for j in range(m):
                slots = [start + i * m + j for i in range(n)]
                total = dot(h, [theta[slot] for slot in slots])
                slope = [dot([dh[i][p] for i in range(n)], [theta[q] for q in slots])
                         for p in range(D)]  # fmt: skip
                for i, slot in enumerate(slots):
                    slope[slot] = slope[slot] + h[i]
                if bias:
                    total = total + theta[start + n * m + j]
                    slope[start + n * m + j] = slope[start + n * m + j] + one
                z.append(total)
                dz.append(slope)
            start += n * m + (m if bias else 0)
            if level + 2 < len(sizes):
                h = [x.tanh() for x in z]
                dh = [[(one - y * y) * p for p in slope] for y, slope in zip(h, dz, strict=True)]
            else:
                h, dh = z, dz
        outputs.append(h)
        tangents.append(dh)
    return outputs, tangents


def _gaussian_moments(
    field: Any, policy: GaussianPolicy, theta: Vector, obs: Table
) -> tuple[Table, Vector, Vector]:
    """μ (N, m), σ (m,) and dσ/ds (m,) in the policy's coordinate s."""
    k, m = policy.observation_size, policy.action_size
    mean = [[dot(row, [theta[j * m + i] for j in range(k)]) for i in range(m)] for row in obs]
    std, slope = [], []
    for s in theta[k * m :]:
        if policy.sigma == "log_std":
            std.append(s.exp())
            slope.append(s.exp())
        elif policy.sigma == "std":
            std.append(s)
            slope.append(field.number(1))
        elif policy.sigma == "variance":
            std.append(s.sqrt())
            slope.append(1 / (2 * s.sqrt()))
        else:
            std.append((1 + s.exp()).log())
            slope.append(s.exp() / (1 + s.exp()))
    return mean, std, slope


def _gaussian(
    field: Any, mdp: QuadraticMDP, policy: GaussianPolicy, theta: Vector, obs: Table
) -> Certified:
    S, m, k, D = mdp.num_states, mdp.action_size, policy.observation_size, policy.num_parameters
    mean, std, slope = _gaussian_moments(field, policy, theta, obs)
    c, b, M = (part.tolist() for part in mdp.reward_quadratic)
    n = field.number
    reward, of_mean = [], []
    for s in range(S):
        total, row = n(c[s]), []
        for i in range(m):
            total = total + n(b[s][i]) * mean[s][i] + n(M[s][i][i]) * std[i] ** 2
            pull = n(b[s][i])
            for j in range(m):
                total = total + mean[s][i] * n(M[s][i][j]) * mean[s][j]
                pull = pull + (n(M[s][i][j]) + n(M[s][j][i])) * mean[s][j]
            row.append(pull)
        reward.append(total)
        of_mean.append(row)
    chain = [[n(x) for x in row] for row in mdp.transitions]
    start = [n(x) for x in mdp.initial_distribution]
    discount = n(mdp.discount)
    value, d, objective = _chain_solutions(field, chain, reward, start, discount)
    gradient, F = [n(0)] * D, [[n(0)] * D for _ in range(D)]
    for i in range(m):
        for j in range(k):
            gradient[j * m + i] = sum(
                (d[s] * obs[s][j] * of_mean[s][i] for s in range(S)), n(0)
            ) / (1 - discount)
            for other in range(k):
                F[j * m + i][other * m + i] = (
                    sum((d[s] * obs[s][j] * obs[s][other] for s in range(S)), n(0)) / std[i] ** 2
                )
        p = k * m + i
        mass = sum(d, n(0))
        # Fisher information of σ is 2/σ²; ∂E r/∂σ = 2 M_ii σ
        F[p][p] = mass * 2 * slope[i] ** 2 / std[i] ** 2
        gradient[p] = sum(
            (d[s] * 2 * n(M[s][i][i]) * std[i] * slope[i] for s in range(S)), n(0)
        ) / (1 - discount)
    found = CertifiedEvaluation(value, None, None, d, objective)
    try:
        x = _bordered(field, F, gradient, [])
    except ZeroDivisionError as error:
        raise NpgcheckError(
            "F is singular (fewer visited states than features, or dependent ones):"
            " no certified natural gradient."
        ) from error
    return Certified(found, gradient, F, x)


def certified_kl(
    policy: SoftmaxPolicy | MLPPolicy | GaussianPolicy,
    theta: Array,
    other: Array,
    observations: Any,
    weights: Array,
    precision: int = 2048,
) -> Number:
    """Σ w KL(π_θ ‖ π_other), a ball in nats, by the textbook formula at high precision."""
    from flint import ctx

    with ctx.workprec(precision):
        field = Balls(intended=False)
        obs = [[field.number(x) for x in row] for row in np.asarray(observations, dtype=float)]
        w = [field.number(x) for x in np.asarray(weights, dtype=float)]
        old, new = ([field.number(x) for x in np.asarray(t, dtype=float)] for t in (theta, other))
        total = field.number(0)
        if isinstance(policy, GaussianPolicy):
            mean, std, _ = _gaussian_moments(field, policy, old, obs)
            mean2, std2, _ = _gaussian_moments(field, policy, new, obs)
            for s, weight in enumerate(w):
                for i in range(policy.action_size):
                    square = std[i] ** 2 + (mean[s][i] - mean2[s][i]) ** 2
                    total = total + weight * (
                        (std2[i] / std[i]).log() + square / (2 * std2[i] ** 2) - field.number(0.5)
                    )
            return total
        for s, weight in enumerate(w):
            rows = [_softmax(_ball_logits(field, policy, t, [obs[s]])[0][0]) for t in (old, new)]
            for p, q in zip(*rows, strict=True):
                total = total + weight * p * (p / q).log()
        return total
