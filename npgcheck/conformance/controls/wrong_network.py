"""Planted mistakes of networks: backpropagation, layer order, block structure, own policies."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ._exact import Array
from ._network import ExactNetwork
from .registry import wrong
from .right_networks import OwnNumpyNetwork

SCORE = "score and objective"
PARAMETERS = "parametrisation"


@wrong("tanh-slope-without-square", stage=SCORE, refutes="score policy_gradient", spares="log_prob")
class SlopeWithoutSquare(ExactNetwork):
    """tanh′ as 1 − h."""

    def slope(self, h: Array) -> Array:
        return 1.0 - h


@wrong(
    "bias-gradient-missing",
    stage=SCORE,
    refutes="score policy_gradient fisher",
    spares="log_prob kl",
)
class BiasGradientMissing(ExactNetwork):
    """Gradients of the hidden biases are never filled in."""

    def backward(self, problem: Any, cotangent: Array) -> Array:
        g, at = super().backward(problem, cotangent), 0
        sizes = problem.policy.sizes
        for fan_in, fan_out in itertools.pairwise(sizes):
            at += fan_in * fan_out
            g[at : at + fan_out] = 0.0
            at += fan_out
        return g


@wrong(
    "layers-flattened-bias-first",
    stage=PARAMETERS,
    refutes="score policy_gradient",
    spares="log_prob",
)
class BiasFirst(ExactNetwork):
    """The gradient is flattened as b₀, W₀, b₁, W₁, …, the parameters as W₀, b₀, …"""

    def backward(self, problem: Any, cotangent: Array) -> Array:
        g, at, parts = super().backward(problem, cotangent), 0, []
        sizes = problem.policy.sizes
        for n, m in itertools.pairwise(sizes):
            parts += [g[at + n * m : at + n * m + m], g[at : at + n * m]]
            at += n * m + m
        return np.concatenate(parts)


@wrong(
    "weight-matrices-in-torch-order",
    stage=PARAMETERS,
    refutes="log_prob score",
    whole=True,
)
class TorchOrder:
    """Every weight is read as (out, in), torch's layout, from parameters laid out (in, out)."""

    families = frozenset({"mlp"})

    def _forward(self, problem: Any, x: Array, theta: Any, np_: Any) -> Any:
        at, sizes = 0, problem.policy.sizes
        for i, (n, m) in enumerate(itertools.pairwise(sizes)):
            W = np_.reshape(theta[at : at + n * m], (m, n))
            x = np_.dot(W, x) + theta[at + n * m : at + n * m + m]
            at += n * m + m
            if i < len(sizes) - 2:
                x = np_.tanh(x)
        return x - np_.max(x) - np_.log(np_.sum(np_.exp(x - np_.max(x))))

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(self._forward(problem, problem.observations[state], problem.theta, np)[action])

    def score(self, problem: Any, state: int, action: int) -> Array:
        import autograd.numpy as anp
        from autograd import grad

        x = problem.observations[state]
        return np.asarray(
            grad(lambda t: self._forward(problem, x, t, anp)[action])(np.array(problem.theta))
        )


@wrong("relu-for-tanh", stage=SCORE, refutes="log_prob", whole=True)
class ReluForTanh:
    """The old policy is rebuilt with another activation."""

    families = frozenset({"mlp"})

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        h, sizes, at = problem.observations[state], problem.policy.sizes, 0
        for i in range(len(sizes) - 1):
            n, m = sizes[i], sizes[i + 1]
            h = h @ problem.theta[at : at + n * m].reshape(n, m) + problem.theta[at + n * m :][:m]
            at += (n + 1) * m
            if i < len(sizes) - 2:
                h = np.maximum(h, 0)
        return float(h[action] - np.logaddexp.reduce(h))


@wrong(
    "one-fisher-block-per-layer",
    tells="block-fisher",
    stage="Fisher definition",
    kind="approximation",
    outcome="either",
    refutes="fisher",
    spares="policy_gradient score kl",
    source="K-FAC",
)
class BlockPerLayer(ExactNetwork):
    """F without its blocks between layers."""

    def fisher(self, problem: Any) -> Array:
        F, at = super().fisher(problem), 0
        mask = np.zeros_like(F)
        sizes = problem.policy.sizes
        for n, m in itertools.pairwise(sizes):
            block = slice(at, at + (n + 1) * m)
            mask[block, block] = 1.0
            at += (n + 1) * m
        return np.asarray(F * mask)


@wrong("trunk-frozen", stage=SCORE, refutes="policy_gradient score", spares="log_prob kl")
class TrunkFrozen(ExactNetwork):
    """Backpropagation stops before the last layer (a detach too many)."""

    def backward(self, problem: Any, cotangent: Array) -> Array:
        g = super().backward(problem, cotangent)
        sizes = problem.policy.sizes
        g[: len(g) - (sizes[-2] + 1) * sizes[-1]] = 0.0
        return g


@wrong("hessian-of-the-network-in-F", stage="Fisher definition", refutes="fisher", whole=True)
class NetworkHessian:
    """−E[∇² log π] over the batch's own actions, with the advantage's sign."""

    families = frozenset({"mlp"})

    def fisher(self, problem: Any) -> Array:
        import autograd.numpy as anp
        from autograd import hessian

        b, sizes = problem.batch, problem.policy.sizes
        hot = np.eye(sizes[-1])[b.actions]

        def loss(theta: Any) -> Any:
            h, at = b.observations, 0
            for i, (n, m) in enumerate(itertools.pairwise(sizes)):
                h = anp.dot(h, theta[at : at + n * m].reshape((n, m)))
                h = h + theta[at + n * m : at + n * m + m]
                at += n * m + m
                h = anp.tanh(h) if i < len(sizes) - 2 else h
            top = anp.max(h, axis=1, keepdims=True)
            log_pi = h - top - anp.log(anp.sum(anp.exp(h - top), axis=1, keepdims=True))
            return -anp.mean(anp.sum(log_pi * hot, axis=1) * np.sign(b.advantages))

        return np.asarray(hessian(loss)(np.array(problem.theta)))


@wrong("own-policy-ignores-theta", stage="glue", refutes="policy_gradient", whole=True)
class OwnIgnoresTheta:
    """A policy of its own that never reads θ, so that every derivative is zero."""

    families = frozenset({"own"})

    def num_parameters(self, problem: Any) -> int:
        return 4

    def logits(self, problem: Any, observations: Array, theta: Array) -> Array:
        return np.asarray(observations @ np.ones((observations.shape[1], problem.num_actions)))

    def policy_gradient(self, problem: Any) -> Array:
        return np.zeros(4)

    def fisher(self, problem: Any) -> Array:
        return np.zeros((4, 4))


@wrong("own-network-slope-of-another-unit", stage=SCORE, refutes="score policy_gradient fisher")
class OwnWrongSlope(OwnNumpyNetwork):
    """The hand-written Jacobian of an own network uses tanh's slope for a softsign unit."""

    def _jacobian(self, problem: Any) -> Array:
        J = np.array(super()._jacobian(problem))
        W, b, _ = self._split(problem, problem.theta)
        u = problem.observations @ W + b
        k, w = problem.observation_size, self.width
        factor = (1 - np.tanh(u) ** 2) / (1 + u * u) ** -1.5
        J[:, :, k * w : k * w + w] *= factor[:, None, :]
        J[:, :, : k * w] *= np.tile(factor, (1, k))[:, None, :]
        return J
