"""Products whose answer is laid out in another order than the vector that they were given."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from .registry import wrong

PARAMETERS, STYLE = "parametrisation", "rows of a batch"
PRODUCT = "fisher_vector_product"


@wrong(
    "rows-product-comes-back-by-action",
    tells="order-or-transpose",
    stage=PARAMETERS,
    refutes=PRODUCT,
    style=STYLE,
)
class ByAction:
    """A layer keeps (A, k) weights: v is turned for it, F v is not turned back."""

    families = frozenset({"tabular", "softmax"})

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        X, A = problem.batch.observations, problem.num_actions
        weights, V = problem.theta.reshape(-1, A).T, vector.reshape(-1, A).T
        z = X @ weights.T
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        moved = X @ V.T
        moved = pi * (moved - (pi * moved).sum(axis=1, keepdims=True))
        return np.asarray(moved.T @ X / len(X)).ravel()


def _blocks(problem: Any, vector: Array) -> tuple[Array, Array]:
    """F v of a policy of normals: the blocks of W (k, m) and of log σ (m,)."""
    X, m = problem.batch.observations, problem.action_size
    precision = np.exp(-2.0 * problem.theta[-m:])
    weights = X.T @ (X @ vector[:-m].reshape(-1, m)) * precision / len(X)
    return weights, 2.0 * vector[-m:]


@wrong(
    "rows-product-of-normals-log-std-first",
    tells="log-std-first",
    stage=PARAMETERS,
    refutes=PRODUCT,
    style=STYLE,
)
class LogStdFirst:
    """A module lists log_std before its layers."""

    families = frozenset({"gaussian"})

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        weights, log_std = _blocks(problem, vector)
        return np.concatenate([log_std, weights.ravel()])


@wrong(
    "rows-product-of-normals-transposed",
    tells="mean-weights-transposed",
    stage=PARAMETERS,
    refutes=PRODUCT,
    style=STYLE,
)
class Turned:
    """The block of W comes back as (m, k)."""

    families = frozenset({"gaussian"})

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        weights, log_std = _blocks(problem, vector)
        return np.concatenate([weights.T.ravel(), log_std])
