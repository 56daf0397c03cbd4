"""Products of two small matrices in the place of F: E[o oᵀ] ⊗ E[W], layer by layer.

Where θ holds the weights and biases of a layer h = W a + b, ∂z/∂W_ij = a_j ∂z/∂b_i: the activations
a are found in the Jacobian of the outputs itself, and nothing has to be known of the network.

Source: Martens & Grosse, Optimizing neural networks with Kronecker-factored approximate curvature
(2015), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.step import dense, names
from npgcheck.step.dense import Dense
from npgcheck.step.probes import Probes

Array = np.ndarray

#: How many directions are looked at before all of J is made.
SOME = 5
#: Weights and biases of a layer as they stand in θ: the bias before or after, W by rows of the
#: outputs (torch) or of the inputs (jax).
_LAYOUTS = ((False, True), (False, False), (True, False), (True, True))


@dataclass(frozen=True)
class Product:
    """A matrix of Kronecker products.

    Attributes:
        choices: the names of what it is.
        note: in words, or "".
        matrix: (D, D).
    """

    choices: tuple[str, ...]
    note: str
    matrix: Array

    @property
    def said(self) -> list[Diagnosis]:
        """Its names as diagnoses."""
        return names.combined(self.choices, self.note)


def products(whole: Dense) -> Iterator[Product]:
    """Every such matrix that these rows have."""
    yield from _of_features(whole)
    yield from _of_layers(whole)


def is_linear(probes: Probes) -> bool:
    """Whether every parameter enters one output alone, as far as a few of them show."""
    size = len(probes.vectors[0])
    some = dense.columns(probes, np.eye(size)[:: max(1, size // SOME)])
    return _one_output_each(some, probes.rows.law.name == "categorical") is not None


def _of_features(whole: Dense) -> Iterator[Product]:
    """E[ooᵀ] ⊗ E[W], or with E[o]E[o]ᵀ, where the outputs are linear in θ, one for each entry."""
    rows = whole.probes.rows
    linear = _one_output_each(whole.jacobian, rows.law.name == "categorical")
    if linear is None:
        return
    owner, features = linear
    law, z, w = rows.law, rows.z, rows.weights
    mean = np.stack([w @ law.fisher(z, np.broadcast_to(e, z.shape)) for e in np.eye(z.shape[1])])
    of_outputs = mean[np.ix_(owner, owner)]
    average = w @ features
    second = (features * w[:, None]).T @ features
    yield Product(("kronecker-fisher",), "", second * of_outputs)
    first = np.outer(average, average)
    yield Product(("outer-product-of-the-mean-feature",), "", first * of_outputs)


def _one_output_each(jacobian: Array, shifts: bool) -> tuple[Array, Array] | None:
    """(D,), the output that each parameter enters, and (N, D), the features that it is a factor of.

    Args:
        jacobian: (N, K, D).
        shifts: whether outputs that move together change nothing: then they are differences.
    """
    outputs = jacobian.shape[1]
    close = dense.CLOSE * float(np.abs(jacobian).max(initial=0.0))
    apart, seen = [], []
    for k in range(outputs):
        others = np.delete(jacobian, k, axis=1)
        common = others[:, :1] if shifts else np.zeros_like(jacobian[:, :1])
        apart.append(np.abs(others - common).max(axis=(0, 1), initial=0.0))
        seen.append(jacobian[:, k] - common[:, 0])
    owner = np.argmin(apart, axis=0)
    if np.min(apart, axis=0).max() > close:
        return None
    return owner, np.take_along_axis(np.stack(seen), owner[None, None, :], axis=0)[0]


@dataclass(frozen=True)
class _Layer:
    """The weights and biases of one layer.

    Attributes:
        places: (o, n + 1), where they stand in θ, the bias last.
        inputs: (N, n + 1), its activations, and a one.
        back: (N, K, o), ∂z/∂(W a + b).
    """

    places: Array
    inputs: Array
    back: Array


def _of_layers(whole: Dense) -> Iterator[Product]:
    """E[a aᵀ] ⊗ E[Bᵀ W B] for every layer, W or the outer product of the scores.

    Where the bias stands cannot be seen: an input that is divided by another one is an input too.
    """
    for layout in _LAYOUTS:
        layers = _layers(whole, layout)
        if layers:
            yield from _of_some(whole, layers)


def _of_some(whole: Dense, layers: list[_Layer]) -> Iterator[Product]:
    rows, size = whole.probes.rows, whole.jacobian.shape[2]
    inside = np.zeros(size, bool)
    for layer in layers:
        inside[layer.places.ravel()] = True
    rest = np.where(inside[:, None] | inside[None, :], 0.0, whole.fisher)
    for empirical in (False, True):
        for apart in (False, True):
            found = rest.copy()
            for layer in layers:
                _put(found, layer, rows.weights, _of_outputs(whole, layer, empirical), apart)
            more = ("empirical-fisher",) if empirical else ()
            note = "Kronecker factors for each layer"
            note += ", one for W and one for b" if apart else ""
            yield Product(("kronecker-fisher", *more), note, found)


def _of_outputs(whole: Dense, layer: _Layer, empirical: bool) -> Array:
    """(o, o): E[Bᵀ W B], or that of the scores at the actions taken."""
    rows = whole.probes.rows
    if empirical:
        score = np.einsum("nk,nko->no", rows.score, layer.back)
        return np.asarray(np.einsum("n,ni,nj->ij", rows.weights, score, score))
    weighed = np.stack([rows.law.fisher(rows.z, b) for b in np.moveaxis(layer.back, 2, 0)], axis=2)
    return np.asarray(np.einsum("n,nki,nkj->ij", rows.weights, layer.back, weighed))


def _put(matrix: Array, layer: _Layer, weights: Array, of_outputs: Array, apart: bool) -> None:
    """Writes the block of one layer; ``apart`` has none between W and b."""
    second = np.einsum("n,ni,nj->ij", weights, layer.inputs, layer.inputs)
    if apart:
        second[-1, :-1] = second[:-1, -1] = 0.0
    places = layer.places.ravel()
    matrix[np.ix_(places, places)] = np.kron(of_outputs, second)


def _layers(whole: Dense, layout: tuple[bool, bool]) -> list[_Layer]:
    """The layers that θ consists of, all of them laid out alike, beside parameters that move every
    row alike (log σ); none where anything else is in it."""
    found: list[_Layer] = []
    place, size = 0, whole.jacobian.shape[2]
    moved = np.abs(whole.jacobian - whole.jacobian[:1]).max(axis=(0, 1))
    same = moved <= whole.tolerance * np.abs(whole.jacobian).max(initial=0.0)
    while place < size:
        layer = _layer_at(whole, place, layout)
        if layer is not None:
            found.append(layer)
            place += layer.places.size
        elif same[place]:
            place += 1
        else:
            return []
    return found


def _layer_at(whole: Dense, start: int, layout: tuple[bool, bool]) -> _Layer | None:
    """The largest layer that begins here."""
    for count in range(whole.jacobian.shape[2] - start, 2, -1):
        for outputs in range(1, count // 2 + 1):
            if count % outputs:
                continue
            places = start + _places(outputs, count // outputs - 1, *layout)
            corner = places[:: max(1, outputs - 1), [0, -1]]  # two outputs, one input
            if _read(whole, corner) is None:
                continue
            layer = _read(whole, places)
            if layer is not None and _is_layer(layer):
                return layer
    return None


def _is_layer(layer: _Layer) -> bool:
    """Whether its inputs differ between rows; one number has a factor a_j for each of anything,
    unless it is the output itself."""
    if layer.back.shape[1] == layer.back.shape[2] == 1 and np.ptp(layer.back) > dense.CLOSE:
        return False
    return bool(np.ptp(layer.inputs[:, :-1], axis=0).any())


def _places(outputs: int, inputs: int, bias_first: bool, by_outputs: bool) -> Array:
    """(o, n + 1): where W_ij and b_i stand, counted from the beginning of the layer."""
    weights = np.arange(outputs * inputs) + (outputs if bias_first else 0)
    table = weights.reshape(outputs, inputs) if by_outputs else weights.reshape(inputs, outputs).T
    bias = np.arange(outputs) + (0 if bias_first else outputs * inputs)
    return np.concatenate([table, bias[:, None]], axis=1)


def _read(whole: Dense, places: Array) -> _Layer | None:
    """The layer, if ∂z/∂W_ij = a_j ∂z/∂b_i with one a for all i."""
    jacobian, close = whole.jacobian, whole.tolerance
    back = jacobian[:, :, places[:, -1]]
    size = np.einsum("nko,nko->n", back, back)
    largest = float(np.abs(back).max(initial=0.0))
    inputs = np.ones((len(back), places.shape[1]))
    for j in range(places.shape[1] - 1):
        column = jacobian[:, :, places[:, j]]
        along = np.einsum("nko,nko->n", back, column)
        inputs[:, j] = np.divide(along, size, out=np.zeros_like(size), where=size > 0)
        off = np.abs(column - inputs[:, j][:, None, None] * back).max()
        if off > close * max(largest, float(np.abs(column).max())):
            return None
    return _Layer(places, inputs, back)
