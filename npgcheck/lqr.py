"""Linear-quadratic control with a linear Gaussian policy: costs, gradients, natural steps.

    x' = A x + B u,   u = −K x + σ z,  z ~ N(0, I),   cost Σ_t γᵗ (xᵀQx + uᵀRu)

With the closed loop L = A − BK and the second moments Σ₀ of the start, N of what enters:

    P = Q + KᵀRK + γ LᵀPL                        cost-to-go xᵀPx (n, n)
    N = (1 − γ)Σ₀ + γσ²BBᵀ,  Σ = N + γ LΣLᵀ      visited states, normalised over time (n, n)
    C(K) = (tr PN + σ² tr R)/(1 − γ)              cost
    E = (R + γBᵀPB)K − γBᵀPA
    ∇C = 2EΣ/(1 − γ),   natural gradient 2σ²E/(1 − γ),   dC/dσ = 2σ tr(R + γBᵀPB)/(1 − γ)

Without discount and noise (γ = 1, σ = 0) the factor 1/(1 − γ) is absent, N = Σ₀ and Σ sums over
time. Here costs are minimised: returns are −C elsewhere. The natural gradient is that of the
policy's mean with F = Σ ⊗ I/σ²; the direction E is what Fazel et al. call natural policy gradient.

Source: Fazel, Ge, Kakade & Mesbahi (2018), undiscounted and without noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, InvalidMDP

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class LinearQuadratic:
    """A linear system with quadratic cost.

    Attributes:
        A: (n, n), state to next state.
        B: (n, m), input to next state.
        Q: (n, n), symmetric, cost of the state.
        R: (m, m), symmetric positive definite, cost of the input.
        start: (n, n), Σ₀ = E x₀x₀ᵀ, symmetric positive semidefinite.
        discount: γ in (0, 1]; 1 needs sigma 0.
        sigma: σ >= 0, standard deviation of the policy's input noise.
    """

    A: Array
    B: Array
    Q: Array
    R: Array
    start: Array
    discount: float = 1.0
    sigma: float = 0.0

    def __post_init__(self) -> None:
        """Copies, validates and freezes; raises `InvalidMDP` and repairs nothing."""
        B = np.array(self.B, dtype=np.float64)
        if B.ndim != 2 or 0 in B.shape:
            raise InvalidMDP(f"B must have shape (n, m) with n, m >= 1, got {B.shape}.")
        n, m = B.shape
        for name, size in (("A", n), ("Q", n), ("R", m), ("start", n)):
            matrix = np.array(getattr(self, name), dtype=np.float64)
            if matrix.shape != (size, size):
                raise InvalidMDP(f"{name} must have shape {(size, size)}, got {matrix.shape}.")
            if not np.isfinite(matrix).all():
                raise InvalidMDP(f"{name} must be finite.")
            if name != "A" and not np.array_equal(matrix, matrix.T):
                worst = np.abs(matrix - matrix.T).max()
                raise InvalidMDP(f"{name} must be symmetric; entries differ by {worst:.3g}.")
            matrix.setflags(write=False)
            object.__setattr__(self, name, matrix)
        B.setflags(write=False)
        object.__setattr__(self, "B", B)
        if np.linalg.eigvalsh(self.R).min() <= 0:
            raise InvalidMDP("R must be positive definite: input without cost has no optimum.")
        if not (0 < self.discount <= 1 and self.sigma >= 0):
            raise InvalidMDP(
                f"discount must lie in (0, 1] and sigma be at least 0, got {self.discount!r} and"
                f" {self.sigma!r}."
            )
        if self.discount == 1 and self.sigma > 0:
            raise InvalidMDP("with discount 1 and noise the cost is infinite; use a discount < 1.")

    @property
    def scale(self) -> float:
        """1/(1 − γ), or 1 where there is no discount."""
        return 1.0 if self.discount == 1 else 1 / (1 - self.discount)


@dataclass(frozen=True, eq=False)
class GainEvaluation:
    """What a gain costs.

    Attributes:
        cost: C(K).
        cost_to_go: (n, n), P.
        states: (n, n), Σ, second moments of the visited states.
        slope: (m, n), E = (R + γBᵀPB)K − γBᵀPA.
    """

    cost: float
    cost_to_go: Array
    states: Array
    slope: Array


def evaluate_gain(problem: LinearQuadratic, gain: Any) -> GainEvaluation:
    """Solves both Lyapunov equations of u = −Kx + σz.

    Args:
        problem: the system and its cost.
        gain: (m, n), K.

    Raises:
        InvalidArgument: a gain of the wrong shape, or under which the cost is infinite.
    """
    from scipy.linalg import solve_discrete_lyapunov

    K = np.asarray(gain, dtype=np.float64)
    shape = problem.B.shape[::-1]
    if K.shape != shape or not np.isfinite(K).all():
        raise InvalidArgument(f"gain must be finite with shape (m, n) = {shape}, got {K.shape}.")
    gamma, B, R = problem.discount, problem.B, problem.R
    L = np.sqrt(gamma) * (problem.A - B @ K)
    radius = float(np.abs(np.linalg.eigvals(L)).max())
    if radius >= 1:
        raise InvalidArgument(
            f"the cost of this gain is infinite: √γ(A − BK) has spectral radius {radius:.6g}, and"
            " below 1 is needed."
        )
    P = solve_discrete_lyapunov(L.T, problem.Q + K.T @ R @ K)
    enters = problem.start / problem.scale + gamma * problem.sigma**2 * B @ B.T
    states = solve_discrete_lyapunov(L, enters)
    slope = _curvature(problem, P) @ K - gamma * B.T @ P @ problem.A
    cost = problem.scale * (np.trace(P @ enters) + problem.sigma**2 * np.trace(R))
    return GainEvaluation(float(cost), P, states, slope)


def _curvature(problem: LinearQuadratic, P: Array) -> Array:
    # H = R + γBᵀPB
    out: Array = problem.R + problem.discount * problem.B.T @ P @ problem.B
    return out


def gain_gradient(problem: LinearQuadratic, gain: Any) -> Array:
    """∇C(K) (m, n) = 2EΣ/(1 − γ)."""
    found = evaluate_gain(problem, gain)
    return problem.scale * 2 * found.slope @ found.states


def sigma_gradient(problem: LinearQuadratic, gain: Any) -> float:
    """dC/dσ = 2σ tr(R + γBᵀPB)/(1 − γ)."""
    P = evaluate_gain(problem, gain).cost_to_go
    return float(problem.scale * 2 * problem.sigma * np.trace(_curvature(problem, P)))


def natural_gradient(problem: LinearQuadratic, gain: Any) -> Array:
    """F⁻¹∇C (m, n) = 2σ²E/(1 − γ), F the Fisher matrix of u ~ N(−Kx, σ²I) over visited states.

    Raises:
        InvalidArgument: σ = 0, where the policy has no density.
    """
    if problem.sigma == 0:
        raise InvalidArgument("the natural gradient needs sigma > 0; for σ = 0 see natural_step.")
    return problem.scale * 2 * problem.sigma**2 * evaluate_gain(problem, gain).slope


def natural_step(problem: LinearQuadratic, gain: Any, step_size: float) -> Array:
    """K − αE (m, n): the natural direction with everything but the step size taken out."""
    return np.asarray(gain, dtype=np.float64) - step_size * evaluate_gain(problem, gain).slope


def gauss_newton_step(problem: LinearQuadratic, gain: Any, step_size: float = 1.0) -> Array:
    """K − α H⁻¹E (m, n); α = 1 is policy iteration."""
    found = evaluate_gain(problem, gain)
    H = _curvature(problem, found.cost_to_go)
    return np.asarray(gain, dtype=np.float64) - step_size * np.linalg.solve(H, found.slope)


def optimal_gain(problem: LinearQuadratic) -> Array:
    """K* (m, n) from the Riccati equation; the noise does not change it."""
    from scipy.linalg import solve_discrete_are

    root = np.sqrt(problem.discount)
    P = solve_discrete_are(root * problem.A, root * problem.B, problem.Q, problem.R)
    right = problem.discount * problem.B.T @ P @ problem.A
    out: Array = np.linalg.solve(_curvature(problem, P), right)
    return out
