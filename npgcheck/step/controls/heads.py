"""Distributions over actions as users write them: log π, its derivatives in z, KL, and samples.

Written down again, plainly and in any dtype, so that a mistake in ``npgcheck.distributions`` would
show as a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Head:
    """One family of actions.

    Attributes:
        name: as check_step names it.
        width: outputs of the network.
        free: state-independent numbers behind them (log σ).
        split: z (N, K) ↦ what ``policy`` returns.
        sample: (rng, z) ↦ actions.
        log_prob: (z, actions) ↦ (N,).
        score: (z, actions) ↦ (N, K).
        weigh: (z, u) ↦ W u.
        kl: (z, z') ↦ (N,).
        entropy_score: z ↦ (N, K), the gradient of the entropy.
        dimensions: components of an action.
    """

    name: str
    width: int
    free: int
    split: Callable[[Array], Any]
    sample: Callable[[np.random.Generator, Array], Array]
    log_prob: Callable[[Array, Array], Array]
    score: Callable[[Array, Array], Array]
    weigh: Callable[[Array, Array], Array]
    kl: Callable[[Array, Array], Array]
    entropy_score: Callable[[Array], Array]
    dimensions: int = 1


def _log_softmax(z: Array) -> Array:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def categorical(actions: int) -> Head:
    """Logits of one action."""

    def sample(rng: np.random.Generator, z: Array) -> Array:
        return (
            (np.exp(_log_softmax(z)).cumsum(axis=1) < rng.random((len(z), 1)))
            .sum(axis=1)
            .clip(0, actions - 1)
        )

    def log_prob(z: Array, a: Array) -> Array:
        return np.take_along_axis(_log_softmax(z), a[:, None], axis=1)[:, 0]

    def score(z: Array, a: Array) -> Array:
        return np.eye(actions, dtype=z.dtype)[a] - np.exp(_log_softmax(z))

    def weigh(z: Array, u: Array) -> Array:
        p = np.exp(_log_softmax(z))
        return p * u - p * (p * u).sum(axis=1, keepdims=True)

    def kl(z: Array, new: Array) -> Array:
        old = _log_softmax(z)
        return (np.exp(old) * (old - _log_softmax(new))).sum(axis=1)

    def entropy_score(z: Array) -> Array:
        log = _log_softmax(z)
        p = np.exp(log)
        return -p * (log - (p * log).sum(axis=1, keepdims=True))

    return Head("categorical", actions, 0, lambda z: z, sample, log_prob, score, weigh, kl,
                entropy_score)  # fmt: skip


def multi_discrete(sizes: tuple[int, ...]) -> Head:
    """Logits of several actions side by side."""
    parts = [categorical(n) for n in sizes]
    cuts = np.cumsum(sizes)[:-1]

    def each(function: str, *arrays: Array) -> list[Array]:
        blocks = [np.split(z, cuts, axis=1) for z in arrays]
        return [
            getattr(part, function)(*block) for part, *block in zip(parts, *blocks, strict=True)
        ]

    def with_actions(function: str, z: Array, a: Array) -> list[Array]:
        blocks = np.split(z, cuts, axis=1)
        return [getattr(p, function)(b, a[:, i]) for i, (p, b) in enumerate(
            zip(parts, blocks, strict=True))]  # fmt: skip

    return Head(
        "multi_discrete",
        sum(sizes),
        0,
        lambda z: np.split(z, cuts, axis=1),
        lambda rng, z: np.stack(
            [p.sample(rng, b) for p, b in zip(parts, np.split(z, cuts, axis=1), strict=True)], 1
        ),
        lambda z, a: np.sum(with_actions("log_prob", z, a), axis=0),
        lambda z, a: np.concatenate(with_actions("score", z, a), axis=1),
        lambda z, u: np.concatenate(each("weigh", z, u), axis=1),
        lambda z, new: np.sum(each("kl", z, new), axis=0),
        lambda z: np.concatenate(each("entropy_score", z), axis=1),
        len(sizes),
    )


def bernoulli(dimensions: int) -> Head:
    """One logit per binary action."""

    def chance(z: Array) -> Array:
        return 0.5 * (1 + np.tanh(0.5 * z))  # the logistic function, without overflow

    def kl(z: Array, new: Array) -> Array:
        p = chance(z)
        return (p * (z - new) - np.logaddexp(0, z) + np.logaddexp(0, new)).sum(axis=1)

    return Head(
        "bernoulli",
        dimensions,
        0,
        lambda z: z,
        lambda rng, z: (rng.random(z.shape) < chance(z)).astype(z.dtype),
        lambda z, a: (a * z - np.logaddexp(0, z)).sum(axis=1),
        lambda z, a: a - chance(z),
        lambda z, u: chance(z) * (1 - chance(z)) * u,
        kl,
        lambda z: -z * chance(z) * (1 - chance(z)),
        dimensions,
    )


def gaussian(dimensions: int, state_dependent: bool = False) -> Head:
    """Mean and log σ; log σ is a free vector, or a further output of the network."""
    m = dimensions

    def halves(z: Array) -> tuple[Array, Array]:
        return z[:, :m], z[:, m:]

    def log_prob(z: Array, a: Array) -> Array:
        mean, log_std = halves(z)
        std = np.exp(log_std)
        return (-0.5 * ((a - mean) / std) ** 2 - log_std - 0.5 * np.log(2 * np.pi)).sum(axis=1)

    def score(z: Array, a: Array) -> Array:
        mean, log_std = halves(z)
        var = np.exp(2 * log_std)
        return np.concatenate([(a - mean) / var, (a - mean) ** 2 / var - 1], axis=1)

    def weigh(z: Array, u: Array) -> Array:
        return np.concatenate([u[:, :m] / np.exp(2 * halves(z)[1]), 2 * u[:, m:]], axis=1)

    def kl(z: Array, new: Array) -> Array:
        (mean, log_std), (other, other_log) = halves(z), halves(new)
        ratio = np.exp(2 * (log_std - other_log))
        moved = ((mean - other) / np.exp(other_log)) ** 2
        return (other_log - log_std + 0.5 * (ratio + moved - 1)).sum(axis=1)

    return Head(
        "gaussian",
        2 * m if state_dependent else m,
        0 if state_dependent else m,
        halves,
        lambda rng, z: halves(z)[0] + np.exp(halves(z)[1]) * rng.standard_normal((len(z), m)),
        log_prob,
        score,
        weigh,
        kl,
        lambda z: np.concatenate([np.zeros_like(z[:, :m]), np.ones_like(z[:, m:])], axis=1),
        m,
    )
