"""One TRPO step on one batch, part by part, as users write it: everything check_step can be given.

Source: Schulman et al. (2015), Trust region policy optimization, section 6 and appendix C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npgcheck.step.controls.heads import Head
from npgcheck.step.controls.network import Network

Array = np.ndarray


@dataclass
class Step:
    """A batch, a policy and the parts of one step, each to be replaced by a mistake.

    Attributes:
        head: the family of actions.
        network: θ ↦ outputs.
        theta, observations, actions, advantages: the batch.
        damping: λ, in the product.
        iterations: of conjugate gradient.
        max_kl: δ.
        shrink: the factor of the line search.
        length: what stands under the root: ``"damped"`` xᵀ(F + λI)x, ``"undamped"`` xᵀFx, or
            ``"gain"`` gᵀx.
        changed: part → what replaces it: ``fisher``, ``gradient``, … (see ``wrong``).
    """

    head: Head
    network: Network
    theta: Array
    observations: Array
    actions: Array
    advantages: Array
    damping: float = 0.1
    iterations: int = 10
    max_kl: float = 0.01
    shrink: float = 0.5
    length: str = "damped"
    changed: dict[str, Callable[..., Any]] = field(default_factory=dict)

    @staticmethod
    def draw(
        head: Head,
        network: Network,
        rows: int,
        rng: np.random.Generator,
        dtype: str = "float64",
        **more: Any,
    ) -> Step:
        """A step on random observations, with actions drawn from the policy."""
        theta = network.initial(rng, dtype)
        observations = rng.standard_normal((rows, network.sizes[0])).astype(dtype)
        actions = head.sample(rng, network.outputs(theta, observations).astype(np.float64))
        if actions.dtype.kind == "f":
            actions = actions.astype(dtype)
        advantages = (0.3 + rng.standard_normal(rows)).astype(dtype)
        return Step(head, network, theta, observations, actions, advantages, **more)

    def outputs(self, theta: Array) -> Array:
        """z (N, K)."""
        return self.network.outputs(theta, self.observations)

    def policy(self, theta: Array, observations: Array) -> Any:
        """What check_step asks for."""
        return self.head.split(self.network.outputs(theta, observations))

    def log_prob(self) -> Array:
        """(N,)."""
        return self._or(
            "log_prob", lambda: self.head.log_prob(self.outputs(self.theta), self.actions)
        )

    def pull_back(self, cotangent: Array) -> Array:
        """(D,): mean over the rows of Jᵀ c."""
        return self.network.vjp(self.theta, self.observations, cotangent / len(cotangent))

    def gradient(self) -> Array:
        """(D,)."""

        def right() -> Array:
            score = self.head.score(self.outputs(self.theta), self.actions)
            return self.pull_back(self.advantages[:, None] * score)

        return self._or("gradient", right)

    def fisher(self, vector: Array) -> Array:
        """(D,): F v, without damping."""

        def right(vector: Array) -> Array:
            z = self.outputs(self.theta)
            moved = self.network.jvp(self.theta, self.observations, vector)
            return self.pull_back(self.head.weigh(z, moved))

        return self._or("fisher", right, vector)

    def product(self, vector: Array) -> Array:
        """(D,): (F + λI) v."""
        vector = np.asarray(vector, self.theta.dtype)
        return self.fisher(vector) + self.theta.dtype.type(self.damping) * vector

    def kl(self, theta: Array) -> float:
        """Mean KL(old ‖ new), in nats."""

        def right(theta: Array) -> float:
            return float(self.head.kl(self.outputs(self.theta), self.outputs(theta)).mean())

        return self._or("kl", right, np.asarray(theta, self.theta.dtype))

    def solve(self, gradient: Array) -> Array:
        """(D,): conjugate gradient from zero."""

        def right(gradient: Array) -> Array:
            x, r = np.zeros_like(gradient), gradient.copy()
            p, rr = r.copy(), r @ r
            for _ in range(self.iterations):
                z = self.product(p)
                alpha = rr / (p @ z)
                x, r = x + alpha * p, r - alpha * z
                new = r @ r
                if new < 1e-28 * (gradient @ gradient):
                    break
                p, rr = r + new / rr * p, new
            return x

        return self._or("solve", right, gradient)

    def gain(self, theta: Array) -> float:
        """L(θ') − L(θ)."""
        old = self.head.log_prob(self.outputs(self.theta), self.actions)
        new = self.head.log_prob(self.outputs(theta), self.actions)
        return float((np.expm1(new - old) * self.advantages).mean())

    def move(self, direction: Array) -> Array:
        """(D,): θ' after the line search."""

        def right(direction: Array) -> Array:
            image = self.product(direction)
            if self.length == "undamped":
                image = image - self.theta.dtype.type(self.damping) * direction
            curvature = direction @ image
            if self.length == "gain":
                curvature = direction @ self.gradient()
            if not curvature > 0:
                return self.theta.copy()
            full = np.sqrt(2 * self.max_kl / curvature) * direction
            for k in range(40):
                after = self.theta + (self.shrink**k * full).astype(self.theta.dtype)
                if self.kl(after) <= self.max_kl and self.gain(after) > 0:
                    return after
            return self.theta.copy()

        return self._or("move", right, direction)

    def _or(self, part: str, right: Callable[..., Any], *arguments: Any) -> Any:
        if part in self.changed:
            return self.changed[part](self, right, *arguments)
        return right(*arguments)

    def arguments(self) -> dict[str, Any]:
        """Everything that check_step takes, by name."""
        gradient = self.gradient()
        direction = self.solve(gradient)
        return {
            "policy": self.policy,
            "theta": self.theta,
            "observations": self.observations,
            "actions": self.actions,
            "advantages": self.advantages,
            "log_prob": self.log_prob(),
            "gradient": gradient,
            "fisher_vector_product": self.product,
            "kl": self.kl,
            "direction": direction,
            "new_theta": self.move(direction),
            "max_kl": self.max_kl,
        }
