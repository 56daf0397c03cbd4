"""The natural policy gradient and the steps made from it.

    x = F⁺ ∇J                     minimum norm; all solutions form the coset x + null F
    x = (F + λI)⁻¹ ∇J             damped
    θ' = θ + √(2δ / xᵀFx) x       trust region: the quadratic model of the KL equals δ

With R the root of F (F = RᵀR) and y the advantage weighted likewise, ∇J = Rᵀy/(1 − γ), so that
x = R⁺y/(1 − γ) is a least-squares fit of the advantage by scores. It is solved as such: the
condition number is the square root of that of F. Tabular softmax has a closed form,

    x(s, a) = (A(s, a) − mean_b A(s, b)) / (1 − γ)   where s is reachable, and 0 elsewhere.

Source: Amari (1998); Kakade (2001), compatible function approximation; Agarwal, Kakade, Lee &
Mahajan (2021) for the tabular form, which is theirs up to the state-wise constant; Schulman,
Levine, Abbeel, Jordan & Moritz (2015) for the trust region.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, nearest
from npgcheck.exact import Evaluation, evaluate_policy
from npgcheck.fisher import fisher_root, fisher_vector_product, kl
from npgcheck.gradient import reward_slopes, surrogate_gain
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import DiscretePolicy, GaussianBase, SoftmaxPolicy

Array = np.ndarray
Policy = DiscretePolicy | GaussianBase

FORMS = ("minimum_norm", "advantage")

_U = float(np.finfo(float).eps) / 2


@dataclass(frozen=True, eq=False)
class Coset:
    """Every solution x of F x = ∇J.

    Attributes:
        minimum_norm: (D,), the solution orthogonal to the null space.
        null_space: (D, D − rank), orthonormal columns spanning null(F).
        rank: of F, by the rule of `natural_gradient`.
    """

    minimum_norm: Array
    null_space: Array
    rank: int

    def distance(self, x: Array) -> float:
        """Euclidean distance of x (D,) from the coset."""
        difference = np.asarray(x, dtype=np.float64) - self.minimum_norm
        return float(
            np.linalg.norm(difference - self.null_space @ (self.null_space.T @ difference))
        )


def natural_gradient(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    damping: float = 0.0,
    form: str = "minimum_norm",
    evaluation: Evaluation | None = None,
) -> Array:
    """The natural gradient x (D,).

    Tabular softmax is answered in closed form, damped or not. Otherwise R is decomposed by its
    singular values, those below max(R.shape) · 2u · σ_max count as zero: this is the numerical
    rank, and σ² is the spectrum of F.

    Args:
        mdp: the MDP.
        policy: the policy family.
        theta: (D,).
        observations: (S, k), one row per state.
        damping: λ >= 0, added to the diagonal of F (d normalised).
        form: "minimum_norm", or "advantage" for the textbook representative A/(1 − γ) of a tabular
            softmax, which differs by a constant per state.
        evaluation: of the same policy, if it is known already.

    Returns:
        (D,), unit of reward times unit of θ.

    Raises:
        InvalidArgument: a negative damping, an unknown form, "advantage" where it has no meaning.
    """
    if not (np.isfinite(damping) and damping >= 0):
        raise InvalidArgument(f"damping must be finite and at least 0, got {damping!r}.")
    if form not in FORMS:
        raise InvalidArgument(
            f"form must be one of {', '.join(FORMS)}, got {form!r}." + nearest(form, FORMS)
        )
    if evaluation is None:
        evaluation = evaluate_policy(mdp, policy, theta, observations)
    tabular = isinstance(policy, SoftmaxPolicy) and policy.is_tabular(observations)
    if form == "advantage" and not (tabular and damping == 0):
        raise InvalidArgument("form='advantage' needs a tabular softmax policy and damping 0.")
    if tabular:
        assert isinstance(policy, SoftmaxPolicy)
        return _tabular(mdp, policy, theta, observations, damping, form, evaluation)
    U, sigma, Vt, kept, target = _decomposition(mdp, policy, theta, observations, evaluation)
    # x = V diag(σ / (σ² + λ)) Uᵀ y / (1 − γ); a σ of pure round-off would bring in y/λ times u
    gain = np.zeros_like(sigma)
    gain[kept] = sigma[kept] / (sigma[kept] ** 2 + damping)
    return Vt.T @ (gain * (U.T @ target))


def natural_gradient_coset(
    mdp: MDP | QuadraticMDP, policy: Policy, theta: Array, observations: Any
) -> Coset:
    """All solutions of F x = ∇J; dense, for D up to a few thousand."""
    evaluation = evaluate_policy(mdp, policy, theta, observations)
    root = fisher_root(policy, theta, observations, evaluation.state_distribution)
    _, sigma, Vt = np.linalg.svd(root)
    rank = int(_numerical_rank(sigma, root.shape).sum())
    return Coset(
        minimum_norm=natural_gradient(mdp, policy, theta, observations, evaluation=evaluation),
        null_space=Vt[rank:].T.copy(),
        rank=rank,
    )


def _tabular(
    mdp: Any,
    policy: SoftmaxPolicy,
    theta: Array,
    observations: Any,
    damping: float,
    form: str,
    evaluation: Evaluation,
) -> Array:
    advantage, occupancy = evaluation.advantage, evaluation.state_distribution
    assert advantage is not None
    if damping == 0:
        if form == "minimum_norm":
            # F⁺∇J = (A − mean_a A)/(1 − γ) on visited states
            advantage = advantage - advantage.mean(axis=1, keepdims=True)
        visited = occupancy > 0
        if not visited.all():  # never reached, or too rarely for a float
            visited = mdp.reachable_states
        scale = visited / (1 - mdp.discount)
        return (scale[:, None] * advantage).ravel()
    # block s of F + λI is diag(dπ + λ) − d ππᵀ; by Sherman–Morrison, with w = π/(dπ + λ),
    # x = dw (A − Σ wA / Σ w)/(1 − γ)
    probabilities = policy.probabilities(theta, observations)
    w = probabilities / (occupancy[:, None] * probabilities + damping)
    mean = np.einsum("sa,sa->s", w, advantage) / w.sum(axis=1)
    x = occupancy[:, None] * w * (advantage - mean[:, None])
    return (x / (1 - mdp.discount)).ravel()


def _decomposition(
    mdp: Any, policy: Policy, theta: Array, observations: Any, evaluation: Evaluation
) -> tuple[Array, Array, Array, Array, Array]:
    """R = U diag(σ) Vᵀ, which σ count, and the target y/(1 − γ) with Rᵀy/(1 − γ) = ∇J."""
    occupancy = evaluation.state_distribution
    root = fisher_root(policy, theta, observations, occupancy)
    if isinstance(policy, GaussianBase):
        # rows √d ∇μ/σ and √(2d) ∇log σ meet √d σ ∂r/∂μ and √(d/2) ∂r/∂log σ
        of_mean, of_log_std = reward_slopes(mdp, policy, theta, observations)
        std = np.exp(policy.mean_log_std(theta, observations)[1])
        mass = np.sqrt(occupancy)[:, None]
        target = np.concatenate([mass * std * of_mean, mass * of_log_std / np.sqrt(2)])
    else:
        probabilities = policy.probabilities(theta, observations)
        assert evaluation.advantage is not None
        target = np.sqrt(occupancy[:, None] * probabilities) * evaluation.advantage
    U, sigma, Vt = np.linalg.svd(root, full_matrices=False)
    return U, sigma, Vt, _numerical_rank(sigma, root.shape), target.ravel() / (1 - mdp.discount)


def _numerical_rank(sigma: Array, shape: tuple[int, ...]) -> Array:
    # the backward error of a singular value decomposition is a few u σ_max times the dimension
    return sigma > max(shape) * 2 * _U * sigma.max(initial=0.0)


def conjugate_gradient(
    matvec: Callable[[Array], Array], b: Array, iterations: int, tolerance: float = 0.0
) -> Array:
    """At most `iterations` steps of conjugate gradients on M x = b from x = 0.

    After k steps x minimises the M-norm of the error over the k-th Krylov space. The iteration
    stops early once ‖r‖ <= tolerance ‖b‖, or where the search direction has no curvature left
    beyond round-off (pᵀMp <= 0), which a singular M reaches on its null space.

    Args:
        matvec: v ↦ M v, M symmetric positive semidefinite.
        b: (n,).
        iterations: the most products with M.
        tolerance: relative to ‖b‖.

    Returns:
        (n,).

    Source: Hestenes & Stiefel (1952).
    """
    b = np.asarray(b, dtype=np.float64)
    if b.ndim != 1:
        raise InvalidArgument(f"b must have shape (n,), got {b.shape}.")
    if not tolerance >= 0 or int(iterations) < 0:
        raise InvalidArgument(
            f"iterations and tolerance must be at least 0, got {iterations} and {tolerance}."
        )
    x = np.zeros_like(b)
    residual, direction = b.copy(), b.copy()
    square = float(residual @ residual)
    stop = tolerance**2 * square
    for _ in range(int(iterations)):
        if square <= stop or square == 0:
            break
        product = np.asarray(matvec(direction), dtype=np.float64)
        curvature = float(direction @ product)
        if not curvature > 0:
            break
        length = square / curvature
        x = x + length * direction
        residual = residual - length * product
        square, previous = float(residual @ residual), square
        direction = residual + square / previous * direction
    return x


def step_length(curvature: float, max_kl: float) -> float:
    """√(2δ / xᵀFx): the multiple of x at which ½ (αx)ᵀF(αx) = δ; 0 where xᵀFx is 0."""
    _check_max_kl(max_kl)
    return float(np.sqrt(2 * max_kl / curvature)) if curvature > 0 else 0.0


def update(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    step_size: float,
    damping: float = 0.0,
) -> Array:
    """θ + step_size · x (D,)."""
    return np.asarray(theta, dtype=np.float64) + step_size * natural_gradient(
        mdp, policy, theta, observations, damping
    )


def trust_region_proposal(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    max_kl: float,
    damping: float = 0.0,
) -> Array:
    """θ + √(2δ / xᵀFx) x: the quadratic model of the KL equals max_kl.

    x may be damped, the length is always measured with F itself. At a stationary point, where the
    advantage is no larger than its round-off, θ is returned unchanged: there is no direction.

    Args:
        mdp: the MDP.
        policy: the policy family.
        theta: (D,).
        observations: (S, k).
        max_kl: δ > 0, nats.
        damping: λ >= 0.

    Returns:
        (D,).
    """
    evaluation = evaluate_policy(mdp, policy, theta, observations)
    return np.asarray(theta, dtype=np.float64) + _proposed(
        mdp, policy, theta, observations, max_kl, damping, evaluation
    )


def _proposed(
    mdp: Any,
    policy: Policy,
    theta: Array,
    observations: Any,
    max_kl: float,
    damping: float,
    evaluation: Evaluation,
) -> Array:
    _check_max_kl(max_kl)
    x = natural_gradient(mdp, policy, theta, observations, damping, evaluation=evaluation)
    product = fisher_vector_product(policy, theta, observations, evaluation.state_distribution, x)
    curvature = float(x @ product)
    # √(xᵀFx)(1 − γ) is at most the standard deviation of A, whose own round-off is
    # κ(I − γP)·u·|V| with κ at most 2/(1 − γ)
    noise = 16 * _U * np.abs(evaluation.value).max() / (1 - mdp.discount)
    if not np.sqrt(max(curvature, 0.0)) * (1 - mdp.discount) > noise:
        return np.zeros_like(x)
    return step_length(curvature, max_kl) * x


def trust_region_step(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    max_kl: float,
    damping: float = 0.0,
    backtrack: float = 0.5,
    max_backtracks: int = 10,
) -> Array:
    """The proposal, shortened until KL(θ ‖ θ') <= max_kl and the surrogate rises, or θ unchanged.

    Args:
        mdp: the MDP.
        policy: the policy family.
        theta: (D,).
        observations: (S, k).
        max_kl: δ > 0, nats.
        damping: λ >= 0.
        backtrack: the factor between two trials, in (0, 1).
        max_backtracks: how many shortened trials follow the full one.

    Returns:
        (D,), the accepted point.
    """
    if not 0 < backtrack < 1:
        raise InvalidArgument(f"backtrack must lie in (0, 1), got {backtrack!r}.")
    theta = np.asarray(theta, dtype=np.float64)
    evaluation = evaluate_policy(mdp, policy, theta, observations)
    step = _proposed(mdp, policy, theta, observations, max_kl, damping, evaluation)
    if not step.any():
        return theta.copy()
    for trial in range(max_backtracks + 1):
        candidate = theta + backtrack**trial * step
        distance = kl(policy, theta, candidate, observations, evaluation.state_distribution)
        if distance <= max_kl and (
            surrogate_gain(mdp, policy, theta, observations, candidate, evaluation) > 0
        ):
            return candidate
    return theta.copy()


def natural_policy_iteration(
    mdp: MDP | QuadraticMDP,
    policy: Policy,
    theta: Array,
    observations: Any,
    iterations: int,
    step_size: float,
    damping: float = 0.0,
) -> Array:
    """θ_{t+1} = θ_t + step_size · x(θ_t).

    Returns:
        (T, D): θ_1 … θ_T, the start not included.
    """
    if int(iterations) < 0:
        raise InvalidArgument(f"iterations must be at least 0, got {iterations!r}.")
    theta = np.asarray(theta, dtype=np.float64)
    path = np.empty((int(iterations), theta.size))
    for t in range(int(iterations)):
        theta = update(mdp, policy, theta, observations, step_size, damping)
        path[t] = theta
    return path


def _check_max_kl(max_kl: float) -> None:
    if not (np.isfinite(max_kl) and max_kl > 0):
        raise InvalidArgument(f"max_kl must be positive and finite, got {max_kl!r}.")
