"""Finite differences: of log π for the score, of ∇KL for a product with F."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources
from npgcheck.conformance.atlas.entry import Choice, Number


def _log_pi(v: Any, step: Any) -> Any:
    """log π(θ + step) as (S, A)."""
    return v.reference.policy.log_probabilities(v.theta + step, v.problem.observations)


def _quotients(v: Any, f: Any, c: Any, central: Any) -> Any:
    if not v.discrete:
        return np.full_like(f, np.nan)  # what actions these are is not known here
    here, units = _log_pi(v, 0.0), np.eye(f.shape[2])
    back = (lambda e: _log_pi(v, -c * e)) if central else (lambda e: here)
    width = 2.0 * c if central else c
    return np.stack([(_log_pi(v, c * e) - back(e)) / width for e in units], axis=2)


def _kl_slope(v: Any, step: Any) -> Any:
    """∇KL(π_θ ‖ π_θ′) at θ′ = θ + step: Σ_s w(s) Σ_a (π′ − π) J_a; of Gaussians, with ℓ = log σ,
    Σ_s w(s) Σ_i (μ′ − μ)/σ′² ∇μ′ + (1 − (σ² + (μ′ − μ)²)/σ′²) ∇ℓ′."""
    policy, observations = v.reference.policy, v.problem.observations
    if v.discrete:
        new = np.exp(_log_pi(v, step))
        jacobian = policy.logits_jacobian(v.theta + step, observations)
        return np.einsum("s,sa,sad->d", v["f_weights"], new - v["pi"], jacobian)
    mean, log_std = policy.mean_log_std(v.theta + step, observations)
    of_mean, of_log_std = policy.mean_log_std_jacobian(v.theta + step, observations)
    moved, variance = mean - v["mean"], np.exp(2.0 * log_std)
    along = np.einsum("sm,smd->sd", moved / variance, of_mean)
    across = 1.0 - (v["std"] ** 2 + moved**2) / variance
    return v["f_weights"] @ (along + np.einsum("sm,smd->sd", across, of_log_std))


def _one_sided(v: Any, f: Any, c: Any) -> Any:
    return _quotients(v, f, c, central=False)


def _central(v: Any, f: Any, c: Any) -> Any:
    return _quotients(v, f, c, central=True)


def _one_sided_product(v: Any, value: Any, c: Any) -> Any:
    return (_kl_slope(v, c * value[1]) / c, *value[1:])


def _central_product(v: Any, value: Any, c: Any) -> Any:
    along = c * value[1]
    return ((_kl_slope(v, along) - _kl_slope(v, -along)) / (2.0 * c), *value[1:])


def _of_length(product: Any) -> Any:
    """The step is h long, whatever v is: h/‖v‖ in the place of h."""

    def change(v: Any, value: Any, c: Any) -> Any:
        length = float(np.linalg.norm(value[1]))
        return product(v, value, c / length) if length else value

    return change


ENTRIES = (
    Choice("score", "difference", "finite-difference-eps", "approximation",
           "(log π(θ + he_i) − log π(θ))/h for ∇log π, (∇KL(θ + εv) − ∇KL(θ))/ε for Fv",
           "an error of order h, or h² for central differences, and of u/h in finite precision",
           "differentiate exactly, or use central differences in float64 with a small h",
           note="finite differences with a step of {}", seen=(sources.FINITE_DIFFERENCE,),
           visible=("score", "fisher_vector_product"),
           change={"scores": _one_sided, "product": _one_sided_product},
           forms=({"scores": _central, "product": _central_product},
                  {"product": _one_sided_product}, {"product": _central_product},
                  {"product": _of_length(_one_sided_product)},
                  {"product": _of_length(_central_product)}),
           reads=("jacobian", "mean", "std"),
           number=Number("h", (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0))),
)  # fmt: skip
