"""Planted mistakes inside the solve alone: product and gradient are right, x solves with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake, _changed, _std, _taken

Array = np.ndarray


def _matrix(s: Step, weigh: Callable[[Step, Array, Array], Array]) -> Array:
    """Mean of Jᵀ W J, column by column."""
    z, columns = s.outputs(s.theta), []
    for e in np.eye(len(s.theta), dtype=s.theta.dtype):
        moved = s.network.jvp(s.theta, s.observations, e)
        columns.append(s.pull_back(weigh(s, z, moved).astype(z.dtype)))
    return np.stack(columns, axis=1).astype(np.float64)


def _solved_with(made: Callable[[Step], Array]) -> Callable[[Step], Step]:
    """A direct solve with a matrix of one's own, damped as the product is."""

    def solve(s: Step, right: Any, g: Array) -> Array:
        matrix = made(s) + s.damping * np.eye(len(g))
        return np.asarray(np.linalg.solve(matrix, g.astype(np.float64)).astype(g.dtype))

    return _changed("solve", solve)


def _by(
    weigh: Callable[[Step, Array, Array], Array], factor: Callable[[Step], float] = lambda s: 1.0
) -> Callable[[Step], Step]:
    return _solved_with(lambda s: factor(s) * _matrix(s, weigh))


def _right(s: Step, z: Array, u: Array) -> Array:
    return s.head.weigh(z, u)


def _outer(s: Step, z: Array, u: Array) -> Array:
    score = s.head.score(z, s.actions)
    return np.asarray(score * (score * u).sum(axis=1, keepdims=True))


def _outer_of_the_loss(s: Step, z: Array, u: Array) -> Array:
    return np.asarray(s.advantages[:, None] ** 2 * _outer(s, z, u))


def _one_for_log_std(s: Step, z: Array, u: Array) -> Array:
    m = s.head.dimensions
    return np.concatenate([u[:, :m] / _std(s, z) ** 2, u[:, m:]], axis=1)


def _for_another_gradient(cotangent: Callable[[Step, Array], Array]) -> Callable[[Step], Step]:
    def solve(s: Step, right: Any, g: Array) -> Array:
        other = s.pull_back(cotangent(s, s.outputs(s.theta)).astype(g.dtype))
        matrix = _matrix(s, _right) + s.damping * np.eye(len(g))
        return np.asarray(np.linalg.solve(matrix, other.astype(np.float64)).astype(g.dtype))

    return _changed("solve", solve)


_x = "natural_gradient"

SYSTEMS: tuple[Mistake, ...] = (
    Mistake("x by the empirical F", _x, "empirical-fisher", _by(_outer), (), "deviates"),
    Mistake("x by A² φφᵀ", _x, "loss-gradient-outer-product", _by(_outer_of_the_loss)),
    Mistake("x by 2F", _x, "fisher-factor-two", _by(_right, lambda s: 2.0)),
    Mistake("x by a sum over the rows", _x, "batch-size-scale",
            _by(_right, lambda s: float(len(s.actions)))),
    Mistake("x by 1 for log σ", _x, "log-std-block-one", _by(_one_for_log_std), ("gaussian",)),
    Mistake("x of |A|", _x, "absolute-advantages", _for_another_gradient(
            lambda s, z: np.abs(s.advantages)[:, None] * s.head.score(z, s.actions))),
    Mistake("x of scores without π", _x, "score-missing-minus-pi", _for_another_gradient(
            lambda s, z: s.advantages[:, None] * _taken(s, z)), ("categorical", "bernoulli")),
)  # fmt: skip
