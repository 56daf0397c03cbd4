"""Planted mistakes in the product: early means, parts of F, factors, forgotten lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake, _changed, _differences, _fisher_of, _times

Array = np.ndarray


def _chances(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _centred(s: Step, z: Array, u: Array) -> Array:
    """Covariance of the rows' scores: (φᵀv − its mean) φ."""
    score = s.head.score(z, s.actions)
    along = (score * u).sum(axis=1, keepdims=True)
    return np.asarray((along - along.mean()) * score)


def _sample_covariance(s: Step, z: Array, u: Array) -> Array:
    return np.asarray(_centred(s, z, u) * z.dtype.type(len(z) / (len(z) - 1)))


def _one_mean(s: Step, z: Array, u: Array) -> Array:
    p = _chances(z)
    return np.asarray(p * (u - (p * u).sum(axis=1).mean()))


def _mean_feature(s: Step, z: Array, u: Array) -> Array:
    m = s.head.dimensions
    scaled = u[:, :m] / np.exp(z[:, m:])
    mean = np.broadcast_to(scaled.mean(axis=0), scaled.shape) / np.exp(z[:, m:])
    return np.concatenate([mean, 2 * u[:, m:]], axis=1)


def _of_the_mean_gradient(s: Step, right: Any, v: Array) -> Array:
    score = s.head.score(s.outputs(s.theta), s.actions)
    g = s.pull_back(s.advantages[:, None] * score)
    return np.asarray(g * (g @ v))


def _less_gradient(s: Step, right: Any, v: Array) -> Array:
    return np.asarray(right(v) - _of_the_mean_gradient(s, right, v))


def _with_value(s: Step, z: Array, u: Array) -> Array:
    value = u.mean(axis=1, keepdims=True)  # of a value head that is the mean of the logits
    return np.asarray(s.head.weigh(z, u) + value / z.shape[1])


def _cut(keep: Callable[[Step, int], Array]) -> Callable[[Step], Step]:
    """F v with the entries of F that are not kept set to zero; the matrix is made once."""

    def apply(step: Step) -> Step:
        made = [step.fisher(e) for e in np.eye(len(step.theta), dtype=step.theta.dtype)]
        matrix = np.stack(made, axis=1) * keep(step, len(step.theta))
        return _changed("fisher", lambda s, right, v: matrix @ v)(step)

    return apply


def _first_weights_apart(s: Step, size: int) -> Array:
    rows, columns = s.network.shapes[0]
    first = np.arange(size) < rows * columns
    return np.asarray(first[:, None] == first[None, :])


_C = ("categorical",)
_G = ("gaussian",)
_F = "fisher_vector_product"

PRODUCTS: tuple[Mistake, ...] = (
    Mistake("one mean over all rows in F", _F, "one-mean-for-all-states", _fisher_of(_one_mean),
            _C),
    Mistake("covariance of the scores", _F, "centred-vs-uncentred", _fisher_of(_centred), (),
            "deviates"),
    Mistake("covariance of the scores, N − 1", _F, "centred-vs-uncentred",
            _fisher_of(_sample_covariance), (), "deviates"),
    Mistake("F − g gᵀ", _F, "centred-vs-uncentred", _changed("fisher", _less_gradient), (),
            "deviates"),
    Mistake("g gᵀ for F", _F, "outer-product-of-the-mean-gradient",
            _changed("fisher", _of_the_mean_gradient)),
    Mistake("E[J]ᵀE[J]/σ² for μ", _F, "outer-product-of-the-mean-feature",
            _fisher_of(_mean_feature), _G),
    Mistake("a value head in F", _F, "joint-actor-critic-fisher", _fisher_of(_with_value), _C,
            "deviates"),
    Mistake("upper triangle of F", _F, "upper-triangle-only",
            _cut(lambda s, size: np.triu(np.ones((size, size), dtype=s.theta.dtype)))),
    Mistake("lower triangle of F", _F, "upper-triangle-only",
            _cut(lambda s, size: np.tril(np.ones((size, size), dtype=s.theta.dtype)))),
    Mistake("first weights and the rest apart in F", _F, "block-fisher",
            _cut(_first_weights_apart), (), "deviates"),
    Mistake("F v/‖v‖", _F, "product-forgets-the-length",
            _changed("fisher", lambda s, right, v: right(v / max(np.linalg.norm(v), 1e-12)))),
    Mistake("F/N", _F, "batch-size-scale", _times("fisher", lambda s: 1 / len(s.actions))),
    Mistake("¼ F", _F, "metric-constant", _times("fisher", lambda s: 0.25), (), "deviates"),
    Mistake("F over the outputs", _F, "output-dim-scale",
            _times("fisher", lambda s: 1 / s.head.dimensions), ("bernoulli", *_G)),
    Mistake("F times the outputs", _F, "output-dim-scale",
            _times("fisher", lambda s: s.head.dimensions), ("bernoulli", *_G)),
    Mistake("2 F by finite differences (double)", _F, "fisher-factor-two",
            _changed("fisher", lambda s, right, v: 2 * _differences(s, v))),
)  # fmt: skip
