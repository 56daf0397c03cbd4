"""Gaussian policies with independent dimensions: a ~ N(μ(θ, o), diag σ(θ, o)²).

Everything follows from μ, ℓ = log σ and their Jacobians, with z = (a − μ)/σ:

    log π(a|s) = −½ Σ_i [z_i² + 2 ℓ_i + log 2π]
    ∇ log π    = Σ_i [(z_i / σ_i) ∇μ_i + (z_i² − 1) ∇ℓ_i]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import InvalidPolicy, nearest
from npgcheck.policy import shapes

Array = np.ndarray

_LOG_2PI = float(np.log(2 * np.pi))


class GaussianBase:
    """A Gaussian policy; a subclass gives `mean_log_std` and `mean_log_std_jacobian`.

    Attributes:
        family: "gaussian" or "own".
        num_parameters: D.
        action_size: m, the number of action dimensions.
        observation_size: k.
    """

    family = "own"
    num_parameters: int
    action_size: int
    observation_size: int

    def mean_log_std(self, theta: Array, observations: Array) -> tuple[Array, Array]:
        """μ (N, m) and log σ (N, m)."""
        raise NotImplementedError

    def mean_log_std_jacobian(self, theta: Array, observations: Array) -> tuple[Array, Array]:
        """∂μ/∂θ (N, m, D) and ∂ log σ/∂θ (N, m, D)."""
        raise NotImplementedError

    def jvp(self, theta: Array, observations: Array, vector: Array) -> tuple[Array, Array]:
        """Derivatives of μ (N, m) and log σ (N, m) along v (D,)."""
        vector = shapes.parameters(vector, self.num_parameters, "vector")
        of_mean, of_log_std = self.mean_log_std_jacobian(theta, observations)
        return of_mean @ vector, of_log_std @ vector

    def vjp(self, theta: Array, observations: Array, cotangent: tuple[Array, Array]) -> Array:
        """(D,): Σ c_μ ∂μ/∂θ + Σ c_ℓ ∂ log σ/∂θ, for the pair c = (c_μ, c_ℓ), each (N, m)."""
        of_mean, of_log_std = self.mean_log_std_jacobian(theta, observations)
        return np.tensordot(cotangent[0], of_mean, axes=2) + np.tensordot(
            cotangent[1], of_log_std, axes=2
        )

    def mean_log_std_difference(
        self, theta: Array, other: Array, observations: Array
    ) -> tuple[Array, Array]:
        """μ(other) − μ(theta) and log σ(other) − log σ(theta), each (N, m)."""
        mean, log_std = self.mean_log_std(theta, observations)
        other_mean, other_log_std = self.mean_log_std(other, observations)
        return other_mean - mean, other_log_std - log_std

    def _distribution(self, theta: Array, observations: Array) -> tuple[Array, Array]:
        mean, log_std = self.mean_log_std(theta, observations)
        return shapes.finite("mean", mean), shapes.finite("log_std", log_std)

    def log_prob(self, theta: Array, observations: Array, actions: Array) -> Array:
        """(N,): log density of actions (N, m), in nats; the dimensions are summed."""
        mean, log_std = self._distribution(theta, observations)
        actions = shapes.action_vectors(actions, len(mean), self.action_size)
        z = (actions - mean) * np.exp(-log_std)
        return -0.5 * (z**2 + 2 * log_std + _LOG_2PI).sum(axis=1)

    def score(self, theta: Array, observations: Array, actions: Array) -> Array:
        """(N, D): ∇ log π(actions[n] | observations[n])."""
        mean, log_std = self._distribution(theta, observations)
        actions = shapes.action_vectors(actions, len(mean), self.action_size)
        of_mean, of_log_std = self.mean_log_std_jacobian(theta, observations)
        z = (actions - mean) * np.exp(-log_std)
        return np.einsum("nm,nmd->nd", z * np.exp(-log_std), of_mean) + np.einsum(
            "nm,nmd->nd", z**2 - 1, of_log_std
        )

    def sample(self, theta: Array, observations: Array, rng: np.random.Generator) -> Array:
        """(N, m): one action per row."""
        mean, log_std = self._distribution(theta, observations)
        return mean + np.exp(log_std) * rng.standard_normal(mean.shape)

    def layout(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameter arrays, in the order in which θ holds them."""
        return {"theta": (self.num_parameters,)}

    def flatten(self, arrays: dict[str, Any]) -> Array:
        """(D,): θ from the named arrays of `layout`."""
        return shapes.flatten(arrays, self.layout())

    def unflatten(self, theta: Array) -> dict[str, Array]:
        """The named arrays of `layout` from θ (D,)."""
        return shapes.unflatten(shapes.parameters(theta, self.num_parameters), self.layout())


#: The coordinates of σ that θ may hold.
SIGMA_COORDINATES = ("log_std", "std", "variance", "softplus")


class GaussianPolicy(GaussianBase):
    """Linear mean μ = o · W, one σ per action dimension: θ = [W.ravel(), s], W (k, m), s (m,).

    `sigma` says what s is: "log_std" (s = log σ), "std" (s = σ > 0), "variance" (s = σ² > 0) or
    "softplus" (σ = log(1 + eˢ)).
    """

    family = "gaussian"

    def __init__(self, observation_size: int, action_size: int, sigma: str = "log_std") -> None:
        """Makes the policy with k = `observation_size` and m = `action_size`."""
        self.observation_size = shapes.positive("observation_size", observation_size)
        self.action_size = shapes.positive("action_size", action_size)
        if sigma not in SIGMA_COORDINATES:
            raise InvalidPolicy(
                f"sigma must be one of {', '.join(SIGMA_COORDINATES)}, got {sigma!r}."
                + nearest(str(sigma), SIGMA_COORDINATES)
            )
        self.sigma = sigma
        self.num_parameters = (self.observation_size + 1) * self.action_size

    def __repr__(self) -> str:
        return f"GaussianPolicy({self.observation_size}, {self.action_size}, sigma={self.sigma!r})"

    def layout(self) -> dict[str, tuple[int, ...]]:
        """ "weights" (k, m), then "sigma" (m,) in the coordinate that `self.sigma` names."""
        return {
            "weights": (self.observation_size, self.action_size),
            "sigma": (self.action_size,),
        }

    def _split(self, theta: Array, name: str = "theta") -> tuple[Array, Array]:
        theta = shapes.parameters(theta, self.num_parameters, name)
        size = self.observation_size * self.action_size
        return theta[:size].reshape(self.observation_size, self.action_size), theta[size:]

    def _sigma(self, theta: Array, name: str = "theta") -> Array:
        s = self._split(theta, name)[1]
        if self.sigma in ("std", "variance") and not (s > 0).all():
            index = int(np.argmin(s > 0))
            raise InvalidPolicy(
                f"{name}: the {self.sigma} of action dimension {index} is {s[index]};"
                " it must be positive."
            )
        return s

    def _log_std(self, theta: Array, name: str = "theta") -> Array:
        s = self._sigma(theta, name)
        if self.sigma == "log_std":
            return s
        if self.sigma == "std":
            return np.log(s)
        if self.sigma == "variance":
            return 0.5 * np.log(s)
        return _log_softplus(s)

    def mean(self, theta: Array, observations: Array) -> Array:
        """(N, m): o · W."""
        obs = shapes.observations(observations, self.observation_size)
        return obs @ self._split(theta)[0]

    def std(self, theta: Array) -> Array:
        """(m,): σ, the same in every state."""
        s = self._sigma(theta)
        if self.sigma == "log_std":
            return np.exp(s)
        if self.sigma == "std":
            return s.copy()
        if self.sigma == "variance":
            return np.sqrt(s)
        return np.exp(_log_softplus(s))

    def mean_log_std(self, theta: Array, observations: Array) -> tuple[Array, Array]:
        """μ (N, m) and log σ (N, m)."""
        mean = self.mean(theta, observations)
        return mean, np.tile(self._log_std(theta), (len(mean), 1))

    def _log_std_slope(self, theta: Array) -> Array:
        """(m,): d log σ / d s."""
        s = self._sigma(theta)
        if self.sigma == "log_std":
            return np.ones_like(s)
        if self.sigma == "std":
            return 1 / s
        if self.sigma == "variance":
            return 0.5 / s
        # d log log(1 + eˢ) / ds = logistic(s) / σ
        return np.exp(-np.logaddexp(0, -s) - _log_softplus(s))

    def mean_log_std_jacobian(self, theta: Array, observations: Array) -> tuple[Array, Array]:
        """∂μ/∂θ (N, m, D) and ∂ log σ/∂θ (N, m, D)."""
        obs = shapes.observations(observations, self.observation_size)
        count, m, k = len(obs), self.action_size, self.observation_size
        index = np.arange(m)
        weights = np.zeros((count, m, k, m))
        weights[:, index, :, index] = obs
        of_mean = np.zeros((count, m, self.num_parameters))
        of_mean[:, :, : k * m] = weights.reshape(count, m, k * m)
        of_log_std = np.zeros((count, m, self.num_parameters))
        of_log_std[:, index, k * m + index] = self._log_std_slope(theta)
        return of_mean, of_log_std

    def jvp(self, theta: Array, observations: Array, vector: Array) -> tuple[Array, Array]:
        """Derivatives of μ (N, m) and log σ (N, m) along v (D,)."""
        obs = shapes.observations(observations, self.observation_size)
        weights, s = self._split(vector, "vector")
        return obs @ weights, np.tile(self._log_std_slope(theta) * s, (len(obs), 1))

    def vjp(self, theta: Array, observations: Array, cotangent: tuple[Array, Array]) -> Array:
        """(D,): the pair (c_μ, c_ℓ) pulled back."""
        obs = shapes.observations(observations, self.observation_size)
        slope = self._log_std_slope(theta)
        return np.concatenate([(obs.T @ cotangent[0]).ravel(), slope * cotangent[1].sum(axis=0)])

    def mean_log_std_difference(
        self, theta: Array, other: Array, observations: Array
    ) -> tuple[Array, Array]:
        """The two differences, with no digit lost as the parameters coincide."""
        obs = shapes.observations(observations, self.observation_size)
        weights, s = self._split(theta)[0], self._sigma(theta)
        other_weights, t = self._split(other, "other")[0], self._sigma(other, "other")
        if self.sigma == "log_std":
            change = t - s
        elif self.sigma == "softplus":
            small = np.abs(t - s) <= 1
            # σ' − σ = log(1 + logistic(s) (e^{t−s} − 1)) as long as nothing overflows
            rise = np.log1p(np.exp(-np.logaddexp(0, -s)) * np.expm1(np.where(small, t - s, 0)))
            change = np.where(
                small, np.log1p(rise * np.exp(-_log_softplus(s))),
                _log_softplus(t) - _log_softplus(s),
            )  # fmt: skip
        else:
            small = np.abs(t - s) <= 0.5 * s
            change = np.where(small, np.log1p(np.where(small, t - s, 0) / s), np.log(t) - np.log(s))
            if self.sigma == "variance":
                change = 0.5 * change
        return obs @ (other_weights - weights), np.tile(change, (len(obs), 1))


def _log_softplus(s: Array) -> Array:
    """log log(1 + eˢ): log softplus(s), finite for every finite s."""
    # softplus(s) → eˢ as s → −∞, where eˢ itself underflows
    low = s < -700
    return np.where(low, s, np.log(np.logaddexp(0, np.where(low, 0, s))))
