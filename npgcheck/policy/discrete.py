"""Softmax policies over finitely many actions: π(a|s) = exp z_a / Σ_b exp z_b, z = logits(θ, o).

Everything follows from the logits z and their Jacobian J = ∂z/∂θ:

    ∇ log π(a|s) = J_a − Σ_b π(b|s) J_b        (the score; its mean under π is zero)

Source: Sutton, McAllester, Singh & Mansour (2000); Kakade (2001).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.policy import shapes

Array = np.ndarray


def centred(probabilities: Array, values: Array) -> Array:
    """values − Σ_b π(b) values_b along axis 1, relatively accurate up to deterministic policies.

    The most likely action's value is subtracted first: where π is nearly deterministic the mean is
    that value plus a tiny remainder, and the difference of the two would keep no digit of it.

    Args:
        probabilities: (N, A), rows sum to one.
        values: (N, A) or (N, A, D).

    Returns:
        The same shape as `values`.
    """
    rows = np.arange(len(probabilities))
    mode = probabilities.argmax(axis=1)
    shifted = values - values[rows, mode][:, None]
    if values.ndim == 2:
        mean = np.einsum("na,na->n", probabilities, shifted)
    else:
        mean = np.matmul(probabilities[:, None, :], shifted)[:, 0, :]
    return shifted - mean[:, None]


def exponential_excess(probabilities: Array, log_probabilities: Array, change: Array) -> Array:
    """E_π [e^D − 1 − D] (N,), a sum of non-negative terms, to relative accuracy; inf if it is huge.

    Args:
        probabilities: (N, A), π.
        log_probabilities: (N, A), log π.
        change: (N, A), D.
    """
    with np.errstate(over="ignore"):
        # p e^D − p(1 + D), with the product taken in the exponent where p may underflow
        far = np.exp(log_probabilities + change) - probabilities * (1 + change)
    near = np.abs(change) < 0.5
    terms = np.where(near, probabilities * exp_minus_line(np.where(near, change, 0)), far)
    return terms.sum(axis=1)


def exp_minus_line(x: Array) -> Array:
    """e^x − 1 − x for |x| <= ½ by its Taylor series: x²/2 (1 + x/3 (1 + x/4 (…)))."""
    total = np.ones_like(x)
    # relative to x²/2, what is left out is below 2 |x|^15 / 17! < 2e-19
    for k in range(16, 2, -1):
        total = 1 + x / k * total
    return 0.5 * x * x * total


class DiscretePolicy:
    """A policy over actions 0 … A − 1; a subclass gives `logits` and `logits_jacobian`.

    Attributes:
        family: "softmax", "mlp" or "own".
        num_parameters: D.
        num_actions: A.
        observation_size: k.
    """

    family = "own"
    num_parameters: int
    num_actions: int
    observation_size: int

    def logits(self, theta: Array, observations: Array) -> Array:
        """(N, A): unnormalised log-probabilities."""
        raise NotImplementedError

    def logits_jacobian(self, theta: Array, observations: Array) -> Array:
        """(N, A, D): ∂ logits / ∂θ."""
        raise NotImplementedError

    def jvp(self, theta: Array, observations: Array, vector: Array) -> Array:
        """(N, A): J v, the derivative of the logits along v (D,)."""
        vector = shapes.parameters(vector, self.num_parameters, "vector")
        return self.logits_jacobian(theta, observations) @ vector

    def vjp(self, theta: Array, observations: Array, cotangent: Array) -> Array:
        """(D,): Σ_{n,a} c_{na} ∂ logits_{na} / ∂θ, for c (N, A)."""
        jacobian = self.logits_jacobian(theta, observations)
        return np.tensordot(np.asarray(cotangent, dtype=np.float64), jacobian, axes=2)

    def logits_difference(self, theta: Array, other: Array, observations: Array) -> Array:
        """(N, A): logits(other) − logits(theta), with as many digits as the family allows."""
        return self.logits(other, observations) - self.logits(theta, observations)

    def log_probabilities(self, theta: Array, observations: Array) -> Array:
        """(N, A): log π(a|s), finite for any finite logits."""
        logits = shapes.finite("logits", self.logits(theta, observations))
        rows, mode = np.arange(len(logits)), logits.argmax(axis=1)
        shifted = logits - logits[rows, mode][:, None]
        others = np.exp(shifted)
        others[rows, mode] = 0
        # log π_a = z_a − z_max − log(1 + Σ_{b ≠ max} exp(z_b − z_max))
        return shifted - np.log1p(others.sum(axis=1))[:, None]

    def probabilities(self, theta: Array, observations: Array) -> Array:
        """(N, A): π(a|s); rows sum to one within round-off."""
        logits = shapes.finite("logits", self.logits(theta, observations))
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def log_ratio(self, theta: Array, other: Array, observations: Array) -> Array:
        """(N, A): log π_other − log π_theta, keeping relative accuracy as the two coincide."""
        probabilities = self.probabilities(theta, observations)
        log_old = self.log_probabilities(theta, observations)
        change = centred(probabilities, self.logits_difference(theta, other, observations))
        # log π' − log π = D − log E_π e^D,  D = Δz − E_π Δz
        excess = exponential_excess(probabilities, log_old, change)
        near = excess < 1
        stable = change - np.log1p(np.where(near, excess, 0))[:, None]
        direct = self.log_probabilities(other, observations) - log_old
        return np.where(near[:, None], stable, direct)

    def log_prob(self, theta: Array, observations: Array, actions: Array) -> Array:
        """(N,): log π(actions[n] | observations[n])."""
        table = self.log_probabilities(theta, observations)
        actions = shapes.action_indices(actions, len(table), self.num_actions)
        return table[np.arange(len(table)), actions]

    def scores(self, theta: Array, observations: Array) -> Array:
        """(N, A, D): ∇ log π(a|s) for every action."""
        # φ_a = J_a − Σ_b π_b J_b
        return centred(
            self.probabilities(theta, observations), self.logits_jacobian(theta, observations)
        )

    def score(self, theta: Array, observations: Array, actions: Array) -> Array:
        """(N, D): ∇ log π(actions[n] | observations[n])."""
        table = self.scores(theta, observations)
        actions = shapes.action_indices(actions, len(table), self.num_actions)
        return table[np.arange(len(table)), actions]

    def sample(self, theta: Array, observations: Array, rng: np.random.Generator) -> Array:
        """(N,) int: one action per row, by inversion of the distribution function."""
        probabilities = self.probabilities(theta, observations)
        cumulative = np.cumsum(probabilities, axis=1)
        draws = rng.random(len(probabilities)) * cumulative[:, -1]
        # the smallest a with u < F(a): an action of probability zero is never drawn
        return np.asarray((draws[:, None] >= cumulative).sum(axis=1))

    def layout(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameter arrays, in the order in which θ holds them."""
        return {"theta": (self.num_parameters,)}

    def flatten(self, arrays: dict[str, Any]) -> Array:
        """(D,): θ from the named arrays of `layout`."""
        return shapes.flatten(arrays, self.layout())

    def unflatten(self, theta: Array) -> dict[str, Array]:
        """The named arrays of `layout` from θ (D,)."""
        return shapes.unflatten(shapes.parameters(theta, self.num_parameters), self.layout())


class SoftmaxPolicy(DiscretePolicy):
    """Linear logits: z = o · W, W = θ.reshape(k, A); identity observations make it tabular.

    Observations may be None where the policy is tabular over every state (k = S): the identity
    matrix without its S² entries.
    """

    family = "softmax"

    def __init__(self, observation_size: int, num_actions: int) -> None:
        """Makes the policy with k = `observation_size` features and A = `num_actions`."""
        self.observation_size = shapes.positive("observation_size", observation_size)
        self.num_actions = shapes.positive("num_actions", num_actions)
        self.num_parameters = self.observation_size * self.num_actions

    def __repr__(self) -> str:
        return f"SoftmaxPolicy({self.observation_size}, {self.num_actions})"

    def logits(self, theta: Array, observations: Array | None) -> Array:
        """(N, A): o · θ.reshape(k, A)."""
        theta = shapes.parameters(theta, self.num_parameters)
        weights = theta.reshape(self.observation_size, self.num_actions)
        if observations is None:
            return weights.copy()
        return shapes.observations(observations, self.observation_size) @ weights

    def logits_jacobian(self, theta: Array, observations: Array | None) -> Array:
        """(N, A, D): ∂z_a / ∂W_{jb} = o_j [a = b]."""
        if observations is None:
            observations = np.eye(self.observation_size)
        obs = shapes.observations(observations, self.observation_size)
        count, actions = len(obs), self.num_actions
        jacobian = np.zeros((count, actions, self.observation_size, actions))
        index = np.arange(actions)
        jacobian[:, index, :, index] = obs
        return jacobian.reshape(count, actions, self.num_parameters)

    def jvp(self, theta: Array, observations: Array | None, vector: Array) -> Array:
        """(N, A): the logits are linear, so J v = logits(v)."""
        return self.logits(shapes.parameters(vector, self.num_parameters, "vector"), observations)

    def vjp(self, theta: Array, observations: Array | None, cotangent: Array) -> Array:
        """(D,): oᵀ c."""
        cotangent = np.asarray(cotangent, dtype=np.float64)
        if observations is None:
            return cotangent.reshape(self.num_parameters).copy()
        obs = shapes.observations(observations, self.observation_size)
        return (obs.T @ cotangent).ravel()

    def logits_difference(self, theta: Array, other: Array, observations: Array | None) -> Array:
        """(N, A): logits of the difference, which loses no digit as the two coincide."""
        theta = shapes.parameters(theta, self.num_parameters)
        other = shapes.parameters(other, self.num_parameters, "other")
        return self.logits(other - theta, observations)

    def layout(self) -> dict[str, tuple[int, ...]]:
        """One array, "weights" (k, A)."""
        return {"weights": (self.observation_size, self.num_actions)}

    def is_tabular(self, observations: Array | None) -> bool:
        """Whether each row of `observations` is one state of its own (the identity matrix)."""
        if observations is None:
            return True
        obs = np.asarray(observations)
        size = self.observation_size
        if obs.shape != (size, size) or np.count_nonzero(obs) != size:
            return False
        return bool((obs.diagonal() == 1).all())
