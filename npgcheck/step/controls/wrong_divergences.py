"""Planted mistakes in the divergence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake, _changed, _times

Array = np.ndarray


def _rows(f: Callable[[Step, Array, Array], Array]) -> Callable[[Step], Step]:
    """The mean over the rows of f(step, z, z')."""

    def kl(s: Step, right: Any, theta: Array) -> float:
        return float(f(s, s.outputs(s.theta), s.outputs(theta)).mean())

    return _changed("kl", kl)


def _chances(s: Step, z: Array) -> Array:
    """Probabilities of every action, or of 1 and of 0 for each binary one."""
    if s.head.name == "bernoulli":
        one = 1 / (1 + np.exp(-z))
        return np.concatenate([one, 1 - one], axis=1)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _of_chances(f: Callable[[Array, Array], Array]) -> Callable[[Step], Step]:
    return _rows(lambda s, z, new: f(_chances(s, z), _chances(s, new)).sum(axis=1))


def _of_moments(f: Callable[[Array, Array, Array, Array], Array]) -> Callable[[Step], Step]:
    """f(μ, log σ, μ', log σ'), summed over the dimensions."""

    def terms(s: Step, z: Array, new: Array) -> Array:
        m = s.head.dimensions
        return f(z[:, :m], z[:, m:], new[:, :m], new[:, m:]).sum(axis=1)

    return _rows(terms)


def _quadratic(s: Step, right: Any, theta: Array) -> float:
    moved = theta - s.theta
    return float(moved @ s.fisher(moved)) / 2


def _damped_quadratic(s: Step, right: Any, theta: Array) -> float:
    moved = theta - s.theta
    return float(moved @ s.product(moved)) / 2


def _after(f: Callable[[float], float]) -> Callable[[Step], Step]:
    return _changed("kl", lambda s, right, theta: f(right(theta)))


_D = ("categorical", "bernoulli")
_C = ("categorical",)
_G = ("gaussian",)

DIVERGENCES: tuple[Mistake, ...] = (
    Mistake("cross-entropy for KL", "kl", "cross-entropy-for-kl",
            _of_chances(lambda p, q: -p * np.log(q)), _D),
    Mistake("Gaussian cross-entropy for KL", "kl", "cross-entropy-for-kl",
            _of_moments(lambda m, r, n, t: t + 0.5 * np.log(2 * np.pi)
                        + 0.5 * (np.exp(2 * r) + (m - n) ** 2) * np.exp(-2 * t)), _G),
    Mistake("the largest KL of a row", "kl", "kl-max-over-states",
            _changed("kl", lambda s, right, t: float(
                s.head.kl(s.outputs(s.theta), s.outputs(t)).max()))),
    Mistake("Σ π |log π/π′|", "kl", "kl-absolute-log-ratio",
            _of_chances(lambda p, q: p * np.abs(np.log(p) - np.log(q))), _D),
    Mistake("½ Σ |π − π′|", "kl", "total-variation-for-kl",
            _of_chances(lambda p, q: np.abs(p - q) / 2), _D),
    Mistake("Σ |π − π′|", "kl", "total-variation-for-kl", _of_chances(lambda p, q: np.abs(p - q)),
            _D),
    Mistake("½ Σ (π − π′)²", "kl", "squared-distance-for-kl",
            _of_chances(lambda p, q: (p - q) ** 2 / 2), _D),
    Mistake("Σ (π − π′)²", "kl", "squared-distance-for-kl", _of_chances(lambda p, q: (p - q) ** 2),
            _D),
    Mistake("√KL", "kl", "kl-square-root", _after(lambda k: max(k, 0) ** 0.5)),
    Mistake("√(2 KL)", "kl", "kl-square-root", _after(lambda k: (2 * max(k, 0)) ** 0.5)),
    Mistake("½ KL", "kl", "kl-factor-two", _times("kl", lambda s: 0.5)),
    Mistake("2 KL", "kl", "kl-factor-two", _times("kl", lambda s: 2.0)),
    Mistake("mean over the actions in KL", "kl", "kl-mean-over-actions",
            _rows(lambda s, z, new: (_chances(s, z) * (
                np.log(_chances(s, z)) - np.log(_chances(s, new)))).mean(axis=1)), _C),
    Mistake("KL both ways, added", "kl", "jeffreys-kl",
            _rows(lambda s, z, new: s.head.kl(z, new) + s.head.kl(new, z))),
    Mistake("KL both ways, averaged", "kl", "jeffreys-kl",
            _rows(lambda s, z, new: (s.head.kl(z, new) + s.head.kl(new, z)) / 2)),
    Mistake("½ ΔᵀFΔ for KL", "kl", "quadratic-kl", _changed("kl", _quadratic), (), "deviates"),
    Mistake("½ Δᵀ(F + λI)Δ for KL", "kl", "quadratic-kl", _changed("kl", _damped_quadratic), (),
            "deviates"),
    Mistake("log(π + 1e-8) in KL (double)", "kl", "epsilon-inside-kl",
            _of_chances(lambda p, q: p * (np.log(p + 1e-8) - np.log(q + 1e-8))), _D, "deviates"),
    Mistake("π/(π′ + 1e-3) in KL", "kl", "epsilon-inside-kl",
            _of_chances(lambda p, q: p * np.log(p / (q + p.dtype.type(1e-3)))), _D, "deviates"),
    Mistake("(μ − μ′)²/2σ² in KL", "kl", "gaussian-kl-with-old-variance",
            _of_moments(lambda m, r, n, t: t - r + 0.5 * (
                np.exp(2 * (r - t)) + (m - n) ** 2 * np.exp(-2 * r) - 1)), _G),
    Mistake("KL of Gaussians without −½", "kl", "gaussian-kl-without-minus-half",
            _rows(lambda s, z, new: s.head.kl(z, new) + s.head.dimensions / 2), _G),
    Mistake("KL of the means alone", "kl", "gaussian-kl-of-means-only",
            _of_moments(lambda m, r, n, t: 0.5 * ((m - n) * np.exp(-t)) ** 2), _G),
    Mistake("σ for σ² in KL", "kl", "gaussian-kl-std-for-variance",
            _of_moments(lambda m, r, n, t: t - r - 0.5
                        + (np.exp(r) + (m - n) ** 2) / (2 * np.exp(t))), _G),
    Mistake("log σ′/σ forgotten in KL", "kl", "gaussian-kl-log-term-missing",
            _of_moments(lambda m, r, n, t: 0.5 * (
                np.exp(2 * (r - t)) + ((m - n) * np.exp(-t)) ** 2 - 1)), _G),
)  # fmt: skip
