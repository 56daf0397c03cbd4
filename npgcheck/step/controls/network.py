"""A small network with its derivatives by hand, in any dtype: forward, backward, tangent.

It shares no code with the reference, which knows nothing but differences of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

#: Name → (activation, its derivative as a function of the input).
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "silu": (
        lambda x: x / (1 + np.exp(-x)),
        lambda x: (1 + np.exp(-x) + x * np.exp(-x)) / (1 + np.exp(-x)) ** 2,
    ),
    "linear": (lambda x: x, np.ones_like),
}


@dataclass(frozen=True)
class Network:
    """Layers x ↦ activation(x W + b), the last without activation, and extra free numbers.

    Attributes:
        sizes: widths from the input to the output.
        activation: a key of ACTIVATIONS.
        free: how many further parameters are appended to every row of outputs (state-independent
            log σ).
        unused: parameters at the end that nothing depends on (a critic in the same vector).
    """

    sizes: tuple[int, ...]
    activation: str = "tanh"
    free: int = 0
    unused: int = 0

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the weights and biases, in θ's order."""
        made: list[tuple[int, ...]] = []
        for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            made += [(a, b), (b,)]
        return made

    @property
    def num_parameters(self) -> int:
        """D."""
        return sum(int(np.prod(s)) for s in self.shapes) + self.free + self.unused

    def initial(self, rng: np.random.Generator, dtype: str = "float64") -> Array:
        """(D,): weights of variance 1/fan-in, small biases."""
        parts = [
            rng.standard_normal(s) / np.sqrt(s[0]) if len(s) == 2 else 0.1 * rng.standard_normal(s)
            for s in self.shapes
        ]
        parts += [0.3 * rng.standard_normal(self.free) - 0.3, rng.standard_normal(self.unused)]
        return np.concatenate([p.ravel() for p in parts]).astype(dtype)

    def _unpack(self, theta: Array) -> tuple[list[Array], Array]:
        parts, at = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            parts.append(theta[at : at + size].reshape(shape))
            at += size
        return parts, theta[at : at + self.free]

    def outputs(self, theta: Array, observations: Array) -> Array:
        """(N, K)."""
        parts, free = self._unpack(theta)
        act = ACTIVATIONS[self.activation][0]
        h = observations
        for layer in range(len(self.sizes) - 1):
            h = h @ parts[2 * layer] + parts[2 * layer + 1]
            if layer < len(self.sizes) - 2:
                h = act(h)
        return np.concatenate([h, np.tile(free, (len(h), 1))], axis=1) if self.free else h

    def _forward(self, parts: list[Array], observations: Array) -> tuple[list[Array], list[Array]]:
        act = ACTIVATIONS[self.activation][0]
        inputs, before = [observations], []
        for layer in range(len(self.sizes) - 1):
            before.append(inputs[-1] @ parts[2 * layer] + parts[2 * layer + 1])
            inputs.append(act(before[-1]))
        return inputs, before

    def vjp(self, theta: Array, observations: Array, cotangent: Array) -> Array:
        """(D,): Σ_i J_iᵀ c_i for cotangents c (N, K)."""
        parts, _ = self._unpack(theta)
        slope = ACTIVATIONS[self.activation][1]
        inputs, before = self._forward(parts, observations)
        width = self.sizes[-1]
        back, of_free = cotangent[:, :width], cotangent[:, width:].sum(axis=0)
        grads: list[Array] = []
        for layer in range(len(self.sizes) - 2, -1, -1):
            grads = [inputs[layer].T @ back, back.sum(axis=0), *grads]
            if layer:
                back = (back @ parts[2 * layer].T) * slope(before[layer - 1])
        unused = np.zeros(self.unused, theta.dtype)
        return np.concatenate([*(g.ravel() for g in grads), of_free, unused]).astype(theta.dtype)

    def jvp(self, theta: Array, observations: Array, vector: Array) -> Array:
        """(N, K): J v."""
        parts, _ = self._unpack(theta)
        changes, of_free = self._unpack(vector)
        slope = ACTIVATIONS[self.activation][1]
        inputs, before = self._forward(parts, observations)
        tangent = np.zeros_like(observations)
        for layer in range(len(self.sizes) - 1):
            tangent = (
                tangent @ parts[2 * layer]
                + inputs[layer] @ changes[2 * layer]
                + changes[2 * layer + 1]
            )
            if layer < len(self.sizes) - 2:
                tangent = tangent * slope(before[layer])
        if self.free:
            tangent = np.concatenate([tangent, np.tile(of_free, (len(tangent), 1))], axis=1)
        return tangent.astype(theta.dtype)
