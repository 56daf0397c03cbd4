"""Planted parts of F: its diagonal, a triangle, layers by themselves, Kronecker factors of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.step.controls.network import ACTIVATIONS
from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake, _changed
from npgcheck.step.controls.wrong_products import _chances
from npgcheck.step.controls.wrong_systems import _matrix, _right, _solved_with

Array = np.ndarray


def _ends(s: Step) -> list[tuple[int, int]]:
    """Where the layers begin and end in θ, and what is behind them."""
    found, at = [], 0
    for inputs, outputs in zip(s.network.sizes[:-1], s.network.sizes[1:], strict=True):
        found.append((at, at + (inputs + 1) * outputs))
        at = found[-1][1]
    return [*found, (at, len(s.theta))]


def _of_layers(s: Step, matrix: Array) -> Array:
    made = np.zeros_like(matrix)
    for start, end in _ends(s):
        made[start:end, start:end] = matrix[start:end, start:end]
    return made


def _backward(s: Step, unit: Array) -> list[Array]:
    """∂(unit · z)/∂(pre-activations) of every layer, row by row."""
    parts, _ = s.network._unpack(s.theta)
    before = s.network._forward(parts, s.observations)[1]
    slope = ACTIVATIONS[s.network.activation][1]
    back = np.broadcast_to(unit, before[-1].shape)
    found = [back]
    for layer in range(len(before) - 1, 0, -1):
        back = (back @ parts[2 * layer].T) * slope(before[layer - 1])
        found.insert(0, back)
    return found


def _kfac(s: Step, from_samples: bool = False) -> Array:
    """E[a aᵀ] ⊗ E[Bᵀ W B] for every layer, with a one behind the activations a."""
    z, network = s.outputs(s.theta), s.network
    parts, _ = network._unpack(s.theta)
    inputs = network._forward(parts, s.observations)[0]
    width, count = network.sizes[-1], len(s.observations)
    units = np.eye(width, dtype=z.dtype)
    by_output = [_backward(s, e) for e in units]
    made = _of_layers(s, _matrix(s, _right))
    score = s.head.score(z, s.actions)
    for layer, (start, end) in enumerate(_ends(s)[:-1]):
        a = np.concatenate([inputs[layer], np.ones((count, 1), z.dtype)], axis=1)
        back = np.stack([b[layer] for b in by_output], axis=1)  # (N, K, o)
        if from_samples:
            through = np.einsum("nk,nko->no", score[:, :width], back)
            second = through.T @ through / count
        else:
            second = np.zeros((back.shape[2], back.shape[2]))
            for j in range(back.shape[2]):
                whole = np.zeros_like(z)
                whole[:, :width] = back[:, :, j]
                weighed = s.head.weigh(z, whole)[:, :width]
                second[:, j] = np.einsum("nk,nki->i", weighed, back) / count
        made[start:end, start:end] = np.kron(a.T @ a / count, second)
    return made


def _product_with(part: Callable[[Step], Array]) -> Callable[[Step], Step]:
    def changed(s: Step) -> Step:
        matrix = part(s)

        def product(_: Step, right: Any, v: Array) -> Array:
            return np.asarray((matrix @ v.astype(np.float64)).astype(v.dtype))

        return _changed("fisher", product)(s)

    return changed


def _diagonal(s: Step) -> Array:
    return np.diag(np.diag(_matrix(s, _right)))


def _normalised_first(s: Step, right: Any, v: Array) -> Array:
    """(∇KL(θ + εv/‖v‖) − ∇KL(θ − εv/‖v‖))/2ε; the slope of KL in the logits is π′ − π."""
    unit = 1e-5 * v / np.linalg.norm(v)

    def slope(theta: Array) -> Array:
        moved = _chances(s.outputs(theta)) - _chances(s.outputs(s.theta))
        return s.network.vjp(theta, s.observations, moved / len(moved))

    return np.asarray((slope(s.theta + unit) - slope(s.theta - unit)) / 2e-5)


_x, _F = "natural_gradient", "fisher_vector_product"

PARTS_OF_F: tuple[Mistake, ...] = (
    Mistake("x by diag(F)", _x, "diagonal-fisher", _solved_with(_diagonal), (), "deviates"),
    Mistake("x by a triangle of F", _x, "upper-triangle-only",
            _solved_with(lambda s: np.triu(_matrix(s, _right)))),
    Mistake("x by layers", _x, "block-fisher",
            _solved_with(lambda s: _of_layers(s, _matrix(s, _right))),
            ("categorical", "bernoulli"), "deviates"),
    Mistake("x by K-FAC", _x, "kronecker-fisher", _solved_with(_kfac), (), "deviates"),
    Mistake("F by K-FAC", _F, "kronecker-fisher", _product_with(_kfac), (), "deviates"),
    Mistake("F by K-FAC from samples", _F, "kronecker-fisher",
            _product_with(lambda s: _kfac(s, from_samples=True)), (), "deviates"),
    Mistake("F v/‖v‖ by differences (double)", _F, "product-forgets-the-length",
            _changed("fisher", _normalised_first), ("categorical",)),
)  # fmt: skip
