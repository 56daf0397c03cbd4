"""Planted mistakes in what the outputs are taken for: temperature, exploration, indices, bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import (
    Mistake,
    _changed,
    _fisher_of,
    _gradient_of,
    _score,
    _times,
)
from npgcheck.step.controls.wrong_products import _chances

Array = np.ndarray


def _hot(s: Step) -> Array:
    return np.eye(s.head.width, dtype=s.theta.dtype)[s.actions]


def _worth(s: Step) -> Array:
    return s.advantages[:, None]


def _mixed(z: Array, epsilon: float) -> Array:
    return (1 - epsilon) * _chances(z) + epsilon / z.shape[1]


def _exploring_score(s: Step, z: Array) -> Array:
    """∇ log[(1 − ε)π(a) + ε/A], by the quotient rule."""
    rows = np.arange(len(z))
    p, q = _chances(z), _mixed(z, 0.15)
    slope = 0.85 * p[rows, s.actions][:, None] * (_hot(s) - p)
    return np.asarray(slope / q[rows, s.actions][:, None])


def _exploring_fisher(s: Step, z: Array, u: Array) -> Array:
    """Σ_b q_b ∇log q_b (∇log q_b · u), action by action."""
    p, q = _chances(z), _mixed(z, 0.15)
    total = np.zeros_like(u)
    for b in range(z.shape[1]):
        slope = 0.85 * p[:, [b]] * (np.eye(z.shape[1], dtype=z.dtype)[b] - p) / q[:, [b]]
        total += q[:, [b]] * slope * (slope * u).sum(axis=1, keepdims=True)
    return total


def _over_actions(weight: Callable[[Array, int], Array]) -> Callable[[Step], Step]:
    """Σ_b k_b φ_b φ_bᵀ u with weights of one's own, action by action."""

    def weigh(s: Step, z: Array, u: Array) -> Array:
        p = _chances(z)
        total = np.zeros_like(u)
        for b in range(z.shape[1]):
            score = np.eye(z.shape[1], dtype=z.dtype)[b] - p
            total += weight(p, b)[:, None] * score * (score * u).sum(axis=1, keepdims=True)
        return total

    return _fisher_of(weigh)


def _clipped(s: Step, z: Array) -> Array:
    """z with log σ clipped so that it matters for some of them."""
    m = s.head.dimensions
    return np.concatenate([z[:, :m], np.minimum(z[:, m:], _bound(s, z))], axis=1)


def _bound(s: Step, z: Array) -> Array:
    spread = z[:, s.head.dimensions :]
    return z.dtype.type(round(float(np.median(spread)) - 0.05, 1))


def _score_below_a_bound(s: Step, z: Array) -> Array:
    m, inside = s.head.dimensions, _clipped(s, z)
    out = s.head.score(inside, s.actions)
    out[:, m:] *= inside[:, m:] == z[:, m:]
    return np.asarray(_worth(s) * out)


def _discounted(s: Step) -> Array:
    """0.95ⁱ for row i, of mean one."""
    weights = np.power(0.95, np.arange(len(s.actions)))
    return (weights / weights.mean()).astype(s.theta.dtype)[:, None]


def _brought_to(length: float) -> Callable[..., Any]:
    def cut(s: Step, right: Any) -> Array:
        g = right()
        return np.asarray(g * g.dtype.type(length / np.linalg.norm(g.astype(np.float64))))

    return cut


def _exchanged(s: Step, right: Any) -> Array:
    """log σ first: a state-dictionary that lists it before the layers."""
    g, m = right(), s.head.dimensions
    return np.concatenate([g[-m:], g[:-m]])


def _mean_of_products(s: Step, v: Array, second: Callable[[Array], Array]) -> Array:
    """For one linear layer with bias: E[ooᵀ] V E[W], as K-FAC does for a layer."""
    (inputs, outputs), count = s.network.shapes[0], len(s.observations)
    o = np.concatenate([s.observations, np.ones_like(s.observations[:, :1])], axis=1)
    z = s.outputs(s.theta)
    eye = np.eye(outputs, dtype=z.dtype)
    middle = np.stack([s.head.weigh(z, np.broadcast_to(e, z.shape)).mean(axis=0) for e in eye])
    weights, bias = v[: inputs * outputs].reshape(inputs, outputs), v[inputs * outputs :]
    made = second(o) / count @ np.concatenate([weights, bias[None, :]]) @ middle
    return np.concatenate([made[:-1].ravel(), made[-1]])


def _standardised(s: Step) -> Step:
    """The step on observations that a running normaliser changed."""
    o = s.observations
    return replace(s, observations=(o - o.mean(axis=0)) / (o.std(axis=0) + 1e-8), changed={})


def _of_length_one(s: Step) -> Step:
    o = s.observations / np.linalg.norm(s.observations, axis=1, keepdims=True)
    return replace(s, observations=o, changed={})


def _all_but_last(z: Array) -> Array:
    return (np.arange(z.shape[1]) < z.shape[1] - 1).astype(z.dtype)


def _over_scores(score: Callable[[Array, int], Array]) -> Callable[[Step], Step]:
    """Σ_b π_b s_b s_bᵀ u with scores of one's own, action by action."""

    def weigh(s: Step, z: Array, u: Array) -> Array:
        p = _chances(z)
        total = np.zeros_like(u)
        for b in range(z.shape[1]):
            each = score(p, b)
            total += p[:, [b]] * each * (each * u).sum(axis=1, keepdims=True)
        return total

    return _fisher_of(weigh)


def _one_hot(p: Array, b: int) -> Array:
    return np.broadcast_to(np.eye(p.shape[1], dtype=p.dtype)[b], p.shape)


def _below_a_bound(s: Step, z: Array, u: Array) -> Array:
    """W of σ behind its bound, which has no slope there."""
    inside = _clipped(s, z)
    kept = inside == z
    return np.asarray(kept * s.head.weigh(inside, kept * u))


def _divergence(terms: Callable[[Step, Array, Array], Array]) -> Callable[[Step], Step]:
    def kl(s: Step, right: Any, theta: Array) -> float:
        return float(terms(s, s.outputs(s.theta), s.outputs(theta)).mean())

    return _changed("kl", kl)


def _of_mixtures(s: Step, z: Array, new: Array) -> Array:
    p, q = _mixed(z, 0.15), _mixed(new, 0.15)
    return np.asarray((p * np.log(p / q)).sum(axis=1))


def _of_clipped(s: Step, z: Array, new: Array) -> Array:
    bound, m = _bound(s, z), s.head.dimensions
    there = np.concatenate([new[:, :m], np.minimum(new[:, m:], bound)], axis=1)
    return s.head.kl(_clipped(s, z), there)


_C, _G = ("categorical",), ("gaussian",)
_F, _g, _LINEAR = "fisher_vector_product", "policy_gradient", ("multi_discrete",)

READINGS: tuple[Mistake, ...] = (
    Mistake("log π at temperature 1.3", "log_prob", "softmax-temperature",
            _changed("log_prob", lambda s, right: s.head.log_prob(
                s.outputs(s.theta) / s.theta.dtype.type(1.3), s.actions)), _C),
    Mistake("g at temperature 0.8", _g, "softmax-temperature",
            _gradient_of(lambda s, z: _worth(s) * (_hot(s) - _chances(z / z.dtype.type(0.8)))
                         / z.dtype.type(0.8)), _C),
    Mistake("g at temperature 2, without its 1/τ", _g, "softmax-temperature",
            _gradient_of(lambda s, z: _worth(s) * (_hot(s) - _chances(z / 2))), _C),
    Mistake("F at temperature 0.7", _F, "softmax-temperature",
            _fisher_of(lambda s, z, u: s.head.weigh(z / z.dtype.type(0.7), u)
                       / z.dtype.type(0.49)), ("categorical", "bernoulli", "multi_discrete")),
    Mistake("KL at temperature 3", "kl", "softmax-temperature",
            _changed("kl", lambda s, right, t: float(s.head.kl(
                s.outputs(s.theta) / 3, s.outputs(t) / 3).mean())), _C),
    Mistake("log π with exploration", "log_prob", "exploration-mixed-in",
            _changed("log_prob", lambda s, right: np.log(
                (_hot(s) * _mixed(s.outputs(s.theta), 0.15)).sum(axis=1))), _C),
    Mistake("g with exploration", _g, "exploration-mixed-in",
            _gradient_of(lambda s, z: _worth(s) * _exploring_score(s, z)), _C),
    Mistake("F with exploration", _F, "exploration-mixed-in", _fisher_of(_exploring_fisher), _C),
    Mistake("π added to the score", _g, "score-plus-pi",
            _gradient_of(lambda s, z: _worth(s) * (_hot(s) + _chances(z))), _C),
    Mistake("1/A subtracted from the score", _g, "score-minus-uniform-mean",
            _gradient_of(lambda s, z: _worth(s) * (_hot(s) - 1 / z.shape[1]).astype(z.dtype)), _C),
    Mistake("π missing in F", _F, "action-weights-missing",
            _over_actions(lambda p, b: np.ones_like(p[:, b])), _C),
    Mistake("π² in F", _F, "action-weights-squared", _over_actions(lambda p, b: p[:, b] ** 2), _C),
    Mistake("last action left out of F", _F, "last-action-forgotten",
            _over_actions(lambda p, b: p[:, b] * (b < p.shape[1] - 1)), _C),
    Mistake("no parameters for the last logit", _g, "last-action-fixed",
            _gradient_of(lambda s, z: _worth(s) * _score(s, z) * _all_but_last(z)), _C),
    Mistake("actions counted from one", _g, "action-index-off-by-one",
            _gradient_of(lambda s, z: _worth(s) * s.head.score(z, s.actions - 1)), _C),
    Mistake("log π of the next action", "log_prob", "action-index-off-by-one",
            _changed("log_prob", lambda s, right: s.head.log_prob(
                s.outputs(s.theta), (s.actions + 1) % s.head.width)), _C),
    Mistake("π of the next row in g", _g, "policy-of-another-state",
            _gradient_of(lambda s, z: _worth(s) * s.head.score(np.roll(z, -1, 0), s.actions)), _C),
    Mistake("log₂ π", "log_prob", "log-base-two", _times("log_prob", lambda s: 1 / np.log(2))),
    Mistake("KL in bits", "kl", "log-base-two", _times("kl", lambda s: 1 / np.log(2))),
    Mistake("g of log₂ π", _g, "log-base-two", _times("gradient", lambda s: 1 / np.log(2))),
    Mistake("F of KL in bits", _F, "log-base-two", _times("fisher", lambda s: 1 / np.log(2))),
    Mistake("the logit for log π", "log_prob", "logit-for-log-prob",
            _changed("log_prob", lambda s, right: (_hot(s) * s.outputs(s.theta)).sum(axis=1)), _C),
    Mistake("π for log π", "log_prob", "probability-for-log-prob",
            _changed("log_prob", lambda s, right: np.exp(right())),
            ("categorical", "multi_discrete")),
    Mistake("a − μ without 1/σ²", _g, "mean-score-missing-variance",
            _gradient_of(lambda s, z: _worth(s) * np.concatenate(
                [s.actions - z[:, : s.head.dimensions], _score(s, z)[:, s.head.dimensions :]],
                axis=1)), _G),
    Mistake("g with log σ clipped (double)", _g, "log-std-clamped",
            _gradient_of(_score_below_a_bound), _G),
    Mistake("log π with log σ clipped", "log_prob", "log-std-clamped",
            _changed("log_prob", lambda s, right: s.head.log_prob(
                _clipped(s, s.outputs(s.theta)), s.actions)), _G),
    Mistake("0.95ⁱ for row i in g", _g, "rows-weighted-as-time",
            _gradient_of(lambda s, z: _discounted(s) * _worth(s) * _score(s, z))),
    Mistake("0.95ⁱ for row i in F", _F, "rows-weighted-as-time",
            _fisher_of(lambda s, z, u: _discounted(s) * s.head.weigh(z, u))),
    Mistake("g at standardised observations", _g, "features-normalised",
            _changed("gradient", lambda s, right: _standardised(s).gradient())),
    Mistake("F at observations of length one", _F, "features-normalised",
            _changed("fisher", lambda s, right, v: _of_length_one(s).fisher(v))),
    Mistake("log π at standardised observations", "log_prob", "features-normalised",
            _changed("log_prob", lambda s, right: _standardised(s).log_prob())),
    Mistake("KL with exploration", "kl", "exploration-mixed-in", _divergence(_of_mixtures), _C),
    Mistake("F of scores with π added", _F, "score-plus-pi",
            _over_scores(lambda p, b: _one_hot(p, b) + p), _C),
    Mistake("F of scores less 1/A", _F, "score-minus-uniform-mean",
            _over_scores(lambda p, b: (_one_hot(p, b) - 1 / p.shape[1]).astype(p.dtype)), _C),
    Mistake("F without the last logit", _F, "last-action-fixed",
            _fisher_of(lambda s, z, u: s.head.weigh(z, u * _all_but_last(z)) * _all_but_last(z)),
            _C),
    Mistake("π of the row before in F", _F, "policy-of-another-state",
            _fisher_of(lambda s, z, u: s.head.weigh(np.roll(z, 1, 0), u)), _C),
    Mistake("π of the first row in log π", "log_prob", "policy-of-another-state",
            _changed("log_prob", lambda s, right: s.head.log_prob(
                np.repeat(s.outputs(s.theta)[:1], len(s.actions), axis=0), s.actions)), _C),
    Mistake("KL to the next row's old π", "kl", "policy-of-another-state",
            _divergence(lambda s, z, new: s.head.kl(np.roll(z, -1, 0), new)), _C),
    Mistake("F of log₂ π", _F, "log-base-two", _times("fisher", lambda s: np.log(2) ** -2)),
    Mistake("F of a − μ", _F, "mean-score-missing-variance",
            _fisher_of(lambda s, z, u: np.concatenate(
                [u[:, : s.head.dimensions] * np.exp(2 * z[:, s.head.dimensions :]),
                 2 * u[:, s.head.dimensions :]], axis=1)), _G),
    Mistake("F with log σ clipped (double)", _F, "log-std-clamped", _fisher_of(_below_a_bound),
            _G),
    Mistake("KL with log σ clipped (double)", "kl", "log-std-clamped", _divergence(_of_clipped),
            _G),
    Mistake("0.95ⁱ for row i in KL", "kl", "rows-weighted-as-time",
            _divergence(lambda s, z, new: _discounted(s)[:, 0] * s.head.kl(z, new))),
    Mistake("g cut to a length of 0.01", _g, "gradient-clipped",
            _changed("gradient", _brought_to(0.01))),
    Mistake("g/‖g‖", _g, "gradient-normalised", _changed("gradient", _brought_to(1.0))),
    Mistake("log σ first in g", _g, "log-std-first", _changed("gradient", _exchanged), _G),
    Mistake("K-FAC of a linear policy", _F, "kronecker-fisher",
            _changed("fisher", lambda s, right, v: _mean_of_products(s, v, lambda o: o.T @ o)),
            _LINEAR, "deviates"),
    Mistake("E[o]E[o]ᵀ in a linear policy", _F, "outer-product-of-the-mean-feature",
            _changed("fisher", lambda s, right, v: _mean_of_products(
                s, v, lambda o: len(o) * np.outer(o.mean(axis=0), o.mean(axis=0)))), _LINEAR),
)  # fmt: skip
