"""The Hessian of Σ_s w(s) KL(π_θ ‖ π_θ′) by θ′, at any θ′; at θ′ = θ it is F."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray


def hessian(view: Any, other: Array, weights_move: bool = False) -> Array:
    """(D, D); for networks without the second derivatives of their outputs.

    Logits z and probabilities π′: ∇²_z KL = diag π′ − π′π′ᵀ, whatever π is. A Gaussian with means
    μ, μ′ and deviations σ, σ′, per dimension, with Δ = μ − μ′ and ℓ′ = log σ′:

        ∂²/∂μ′² = 1/σ′²      ∂²/∂μ′∂ℓ′ = 2Δ/σ′²      ∂²/∂ℓ′² = 2(σ² + Δ²)/σ′²

    Args:
        view: the parts of a problem; see the pipeline.
        other: (D,), θ′.
        weights_move: whether states are weighted as θ′ visits them, too.
    """
    policy, observations = view.reference.policy, view.problem.observations
    if not view.discrete:
        return _gaussian(view, *policy.mean_log_std(other, observations))
    from npgcheck.conformance.diagnosis.pipeline import log_softmax  # which imports the atlas

    pi = np.exp(log_softmax(policy.logits(other, observations)))
    moved = weights_move and view.base.sampled == "mdp"  # rows stay the rows that they are
    weights = visits(view, pi) if moved else view["f_weights"]
    jacobian = policy.logits_jacobian(other, observations)
    centred = jacobian - np.einsum("sa,sad->sd", pi, jacobian)[:, None, :]
    phi = centred.reshape(-1, centred.shape[-1])
    return np.asarray(phi.T @ ((weights[:, None] * pi).reshape(-1, 1) * phi))


def visits(view: Any, pi: Array) -> Array:
    """(S,), d of another policy π (S, A)."""
    chain = np.einsum("sa,sat->st", pi, view["transitions"])
    system = np.eye(len(chain)) - view["discount"] * chain.T
    return (1.0 - view["discount"]) * np.linalg.solve(system, view["start"])


def _gaussian(view: Any, mean: Array, log_std: Array) -> Array:
    w, of_mean, of_std = view["f_weights"], view["mean_jacobian"], view["std_jacobian"]
    precision = np.exp(-2.0 * log_std) * np.ones_like(mean)
    gap, spread = view["mean"] - mean, np.square(view["std"])
    cross = np.einsum("s,sm,smd,sme->de", w, 2.0 * gap * precision, of_mean, of_std)
    both = np.einsum("s,sm,smd,sme->de", w, precision, of_mean, of_mean)
    own = np.einsum("s,sm,smd,sme->de", w, 2.0 * (spread + gap**2) * precision, of_std, of_std)
    return np.asarray(both + own + cross + cross.T)
