"""A small tanh network with softmax output; its derivatives are written out, not traced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npgcheck.policy import shapes
from npgcheck.policy.discrete import DiscretePolicy

Array = np.ndarray


class MLPPolicy(DiscretePolicy):
    """h_0 = o, h_{l+1} = tanh(h_l W_l + b_l), logits = h_L W_L + b_L.

    θ holds W_0, b_0, W_1, b_1, …, W_L, b_L in this order, each W_l of shape (inputs, outputs)
    raveled in C order.
    """

    family = "mlp"

    def __init__(
        self, observation_size: int, num_actions: int, hidden: Sequence[int] = (4,)
    ) -> None:
        """Makes the policy with the layer sizes k, *hidden, A."""
        self.observation_size = shapes.positive("observation_size", observation_size)
        self.num_actions = shapes.positive("num_actions", num_actions)
        self.hidden = tuple(shapes.positive("hidden", width) for width in hidden)
        self.sizes = (self.observation_size, *self.hidden, self.num_actions)
        self.num_parameters = sum(
            (inputs + 1) * outputs
            for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:], strict=True)
        )

    def __repr__(self) -> str:
        return f"MLPPolicy({self.observation_size}, {self.num_actions}, hidden={self.hidden})"

    def layout(self) -> dict[str, tuple[int, ...]]:
        """weight_0 (k, h), bias_0 (h,), weight_1, …, in the order of θ."""
        layout: dict[str, tuple[int, ...]] = {}
        for level, pair in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            layout[f"weight_{level}"] = pair
            layout[f"bias_{level}"] = pair[1:]
        return layout

    def _layers(self, theta: Array, name: str = "theta") -> list[tuple[Array, Array]]:
        theta = shapes.parameters(theta, self.num_parameters, name)
        layers, start = [], 0
        for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            middle = start + inputs * outputs
            stop = middle + outputs
            layers.append((theta[start:middle].reshape(inputs, outputs), theta[middle:stop]))
            start = stop
        return layers

    def _forward(
        self, theta: Array, observations: Array
    ) -> tuple[list[tuple[Array, Array]], list[Array], Array]:
        """Layers, the inputs h_0 … h_L of each layer, and the logits."""
        layers = self._layers(theta)
        inputs = [shapes.observations(observations, self.observation_size)]
        for weight, bias in layers[:-1]:
            inputs.append(np.tanh(inputs[-1] @ weight + bias))
        weight, bias = layers[-1]
        return layers, inputs, inputs[-1] @ weight + bias

    def logits(self, theta: Array, observations: Array) -> Array:
        """(N, A): the network's output."""
        return self._forward(theta, observations)[2]

    def logits_jacobian(self, theta: Array, observations: Array) -> Array:
        """(N, A, D): one backward sweep for every action at once."""
        layers, inputs, logits = self._forward(theta, observations)
        count, actions = logits.shape
        upstream = np.broadcast_to(np.eye(actions), (count, actions, actions))
        parts: list[Array] = []
        for level in range(len(layers) - 1, -1, -1):
            # ∂z/∂b_l = u,  ∂z/∂W_l = h_l ⊗ u
            weight_part = np.einsum("ni,naj->naij", inputs[level], upstream)
            parts[:0] = [weight_part.reshape(count, actions, -1), upstream]
            if level:
                # u ← (u W_lᵀ) ⊙ tanh′ = (u W_lᵀ) ⊙ (1 − h_l²)
                upstream = (upstream @ layers[level][0].T) * (1 - inputs[level] ** 2)[:, None, :]
        return np.concatenate(parts, axis=2)

    def jvp(self, theta: Array, observations: Array, vector: Array) -> Array:
        """(N, A): the forward derivative along v."""
        layers, inputs, _ = self._forward(theta, observations)
        moves = self._layers(vector, "vector")
        tangent = np.zeros_like(inputs[0])
        for level, ((weight, _), (move, shift)) in enumerate(zip(layers, moves, strict=True)):
            tangent = tangent @ weight + inputs[level] @ move + shift
            if level + 1 < len(layers):
                tangent = tangent * (1 - inputs[level + 1] ** 2)
        return tangent

    def vjp(self, theta: Array, observations: Array, cotangent: Array) -> Array:
        """(D,): back-propagation of c."""
        layers, inputs, _ = self._forward(theta, observations)
        upstream = np.asarray(cotangent, dtype=np.float64)
        parts: list[Array] = []
        for level in range(len(layers) - 1, -1, -1):
            parts[:0] = [(inputs[level].T @ upstream).ravel(), upstream.sum(axis=0)]
            if level:
                upstream = (upstream @ layers[level][0].T) * (1 - inputs[level] ** 2)
        return np.concatenate(parts)

    def logits_difference(self, theta: Array, other: Array, observations: Array) -> Array:
        """(N, A): the difference carried through the layers, so that no digit cancels.

        tanh(x + e) − tanh(x) = tanh(e) (1 − tanh(x) tanh(x + e)).
        """
        layers, inputs, _ = self._forward(theta, observations)
        others_layers = self._layers(other, "other")
        _, others, _ = self._forward(other, observations)
        change = np.zeros_like(inputs[0])
        for level, (old, new) in enumerate(zip(layers, others_layers, strict=True)):
            change = change @ new[0] + inputs[level] @ (new[0] - old[0]) + (new[1] - old[1])
            if level + 1 < len(layers):
                change = np.tanh(change) * (1 - inputs[level + 1] * others[level + 1])
        return change
