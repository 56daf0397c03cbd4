"""Distributions over actions as functions of a network's outputs z, with exact derivatives in z.

A policy network maps an observation to a row z of K numbers; everything that policy optimisation
needs follows from four functions of z, applied row by row:

    score   ∇_z log π(a)                      (N, K)
    fisher  W u = E_{a~π}[∇_z log π ∇_z log πᵀ] u     (N, K), W is (K, K) and never formed
    kl      KL(π_z ‖ π_z')                    (N,), in nats
    entropy and its gradient in z

Pulled back through the Jacobian J = ∂z/∂θ they give E[φA], F = Σ w Jᵀ W J and KL(θ, θ').

Outputs are packed into one array: logits of one or several categorical actions side by side
(K = Σ A_i), one logit per binary action (K = m), or [mean, log σ] of a Gaussian (K = 2m).

Source: Amari (1998), Natural gradient works efficiently in learning; the closed forms are those
of ``npgcheck prove``.
"""

from __future__ import annotations

import math

import numpy as np

from npgcheck.errors import InvalidArgument
from npgcheck.policy import centred, exp_minus_line, exponential_excess

Array = np.ndarray

_LOG_2PI = math.log(2.0 * math.pi)


class ActionDistribution:
    """The law of one action given one row of outputs; a subclass gives the closed forms.

    Attributes:
        name: what it is called in ``check_step(distribution=…)``.
        size: K, how many outputs a row has.
        dimensions: m, how many independent components an action has.
    """

    name = ""
    size: int
    dimensions: int

    def read_actions(self, actions: Array) -> Array:
        """The actions in the shape and coordinates of this law.

        Raises:
            InvalidArgument: a wrong shape, or values outside the domain; says which row.
        """
        raise NotImplementedError

    def log_prob(self, z: Array, actions: Array) -> Array:
        """(N,): log π(a), in nats."""
        return self.log_prob_parts(z, actions).sum(axis=1)

    def log_prob_parts(self, z: Array, actions: Array) -> Array:
        """(N, m): log π of each component; they add up."""
        raise NotImplementedError

    def score(self, z: Array, actions: Array) -> Array:
        """(N, K): ∇_z log π(a)."""
        raise NotImplementedError

    def score_size(self, z: Array, actions: Array) -> Array:
        """(N, K): the size of what the score is a difference of, which is what rounds."""
        raise NotImplementedError

    def fisher(self, z: Array, u: Array) -> Array:
        """(N, K): W u."""
        raise NotImplementedError

    def fisher_size(self, z: Array) -> Array:
        """(N, K): the diagonal of what W is a difference of, which bounds its rounding."""
        raise NotImplementedError

    def kl(self, z: Array, other: Array) -> Array:
        """(N,): KL(π_z ‖ π_other), in nats."""
        return self.kl_parts(z, other).sum(axis=1)

    def kl_parts(self, z: Array, other: Array) -> Array:
        """(N, m): KL of each component; they add up."""
        raise NotImplementedError

    def entropy_gradient(self, z: Array) -> Array:
        """(N, K): ∇_z of the entropy."""
        raise NotImplementedError

    def lift(self, z: Array) -> float:
        """How much rounding of the outputs moves a log-probability: 1 + the largest |z|-like."""
        raise NotImplementedError

    def action_size(self, z: Array, actions: Array) -> Array:
        """(N,): how much a relative rounding of the actions moves log π, beyond the outputs'."""
        return np.zeros(len(z))

    def saturates(self, z: Array, other: Array, unit: float, tiny: float) -> bool:
        """Whether a probability that is neither 0 nor 1 at z is rounded to that at ``other``.

        Args:
            z, other: (N, K), outputs.
            unit: the round-off.
            tiny: the smallest normal number.
        """
        return False


class MultiDiscrete(ActionDistribution):
    """Independent categorical components with A_1, …, A_m values; z is their logits in a row."""

    name = "multi_discrete"

    def __init__(self, sizes: tuple[int, ...]) -> None:
        """Makes the law of m = len(sizes) components.

        Raises:
            InvalidArgument: a component with fewer than two values has nothing to choose.
        """
        if not sizes or min(sizes) < 2:
            raise InvalidArgument(
                f"a categorical policy needs at least two logits per action, got {sizes}."
            )
        self.sizes = tuple(int(n) for n in sizes)
        self.size = sum(self.sizes)
        self.dimensions = len(self.sizes)
        ends = np.cumsum(self.sizes)
        self._slices = [slice(end - n, end) for end, n in zip(ends, self.sizes, strict=True)]

    def blocks(self, z: Array) -> list[Array]:
        """One (N, A_i) array per component."""
        return [z[:, cut] for cut in self._slices]

    def read_actions(self, actions: Array) -> Array:
        """(N, m) int."""
        given = np.asarray(actions)
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or given.shape[1] != self.dimensions:
            raise InvalidArgument(
                f"actions of a {self.name} policy with logits {self.sizes} must have shape "
                f"(N, {self.dimensions}){' or (N,)' if self.dimensions == 1 else ''}, "
                f"got {np.shape(actions)}."
            )
        whole = given.astype(np.int64)
        bad = (whole != given) | (whole < 0) | (whole >= np.asarray(self.sizes))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InvalidArgument(
                f"action {given[row, column]!r} in row {row} is none of "
                f"0 … {self.sizes[column] - 1}; actions count from zero."
            )
        return whole

    def _log_probabilities(self, z: Array) -> list[Array]:
        # log π = z − max z − log Σ e^{z − max z}
        shifted = [block - block.max(axis=1, keepdims=True) for block in self.blocks(z)]
        return [s - np.log(np.exp(s).sum(axis=1, keepdims=True)) for s in shifted]

    def log_prob_parts(self, z: Array, actions: Array) -> Array:
        """(N, m): z_a − log Σ e^z of each component."""
        rows = np.arange(len(z))
        logs = self._log_probabilities(z)
        return np.stack([log[rows, actions[:, i]] for i, log in enumerate(logs)], axis=1)

    def score(self, z: Array, actions: Array) -> Array:
        """(N, K): e_a − π in each block."""
        return self.taken(actions) - self.probabilities(z)

    def score_size(self, z: Array, actions: Array) -> Array:
        """(N, K): e_a + π."""
        return self.taken(actions) + self.probabilities(z)

    def probabilities(self, z: Array) -> Array:
        """(N, K): π in each block."""
        return np.concatenate([np.exp(log) for log in self._log_probabilities(z)], axis=1)

    def saturates(self, z: Array, other: Array, unit: float, tiny: float) -> bool:
        """Whether a probability underflows at ``other`` that does not at z."""
        old, new = self.probabilities(z), self.probabilities(other)
        return bool(np.any((old >= tiny) & (new < tiny)))

    def taken(self, actions: Array) -> Array:
        """(N, K): e_a in each block."""
        rows = np.arange(len(actions))
        ones = [np.zeros((len(actions), n)) for n in self.sizes]
        for i, block in enumerate(ones):
            block[rows, actions[:, i]] = 1.0
        return np.concatenate(ones, axis=1)

    def fisher(self, z: Array, u: Array) -> Array:
        """(N, K): π (u − E_π u) in each block, that is (diag π − ππᵀ) u."""
        parts = []
        for log, block in zip(self._log_probabilities(z), self.blocks(u), strict=True):
            probabilities = np.exp(log)
            parts.append(probabilities * centred(probabilities, block))
        return np.concatenate(parts, axis=1)

    def fisher_size(self, z: Array) -> Array:
        """(N, K): π."""
        return self.probabilities(z)

    def kl_parts(self, z: Array, other: Array) -> Array:
        """(N, m): Σ π (log π − log π'), without cancellation as the two coincide."""
        parts = []
        old, new = self._log_probabilities(z), self._log_probabilities(other)
        for a, b, before, after in zip(old, new, self.blocks(z), self.blocks(other), strict=True):
            probabilities = np.exp(a)
            change = centred(probabilities, after - before)
            # with D = Δz − E_π Δz:  KL = log E_π e^D = log(1 + E_π [e^D − 1 − D])
            excess = exponential_excess(probabilities, a, change)
            direct = (probabilities * (a - b)).sum(axis=1)
            small = excess < 1e100
            parts.append(np.where(small, np.log1p(np.where(small, excess, 0.0)), direct))
        return np.stack(parts, axis=1)

    def entropy_gradient(self, z: Array) -> Array:
        """(N, K): −π (log π − E_π log π) in each block."""
        parts = []
        for log in self._log_probabilities(z):
            probabilities = np.exp(log)
            parts.append(-probabilities * centred(probabilities, log))
        return np.concatenate(parts, axis=1)

    def lift(self, z: Array) -> float:
        """1 + the largest spread of the logits of a row."""
        spread = max(float(np.ptp(block, axis=1).max()) for block in self.blocks(z))
        return 1.0 + max(spread, float(np.abs(z).max()))


class Categorical(MultiDiscrete):
    """One action of A values; z is its logits."""

    name = "categorical"

    def __init__(self, num_actions: int) -> None:
        """Makes the law over actions 0 … A − 1."""
        super().__init__((num_actions,))


class Bernoulli(ActionDistribution):
    """m independent binary actions; z is the logit of a 1 in each."""

    name = "bernoulli"

    def __init__(self, dimensions: int) -> None:
        """Makes the law of m binary actions."""
        self.size = self.dimensions = int(dimensions)

    def read_actions(self, actions: Array) -> Array:
        """(N, m) of zeros and ones."""
        given = np.asarray(actions, dtype=np.float64)
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or given.shape[1] != self.dimensions:
            raise InvalidArgument(
                f"actions of a bernoulli policy with {self.dimensions} logits must have shape "
                f"(N, {self.dimensions}), got {np.shape(actions)}."
            )
        bad = (given != 0) & (given != 1)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InvalidArgument(
                f"action {given[row, column]!r} in row {row} of a bernoulli policy is neither 0 "
                "nor 1."
            )
        return given

    def log_prob_parts(self, z: Array, actions: Array) -> Array:
        """(N, m): a z − log(1 + e^z)."""
        return actions * z - np.logaddexp(0.0, z)

    def score(self, z: Array, actions: Array) -> Array:
        """(N, m): a − p."""
        # 1 − p is computed as the logistic of −z, so that it keeps its digits as p → 1
        return np.where(actions == 1, logistic(-z), -logistic(z))

    def score_size(self, z: Array, actions: Array) -> Array:
        """(N, m): a + p."""
        return actions + logistic(z)

    def fisher(self, z: Array, u: Array) -> Array:
        """(N, m): p (1 − p) u."""
        return logistic(z) * logistic(-z) * u

    def fisher_size(self, z: Array) -> Array:
        """(N, m): min(p, 1 − p), as p − p² rounds at the size of p, and the other way round."""
        return np.minimum(logistic(z), logistic(-z))

    def kl_parts(self, z: Array, other: Array) -> Array:
        """(N, m): p (z − z') − log(1 + e^z) + log(1 + e^z'), without cancellation."""
        rows, columns = z.shape
        pair = [np.stack([np.zeros_like(x), x], axis=-1).reshape(-1, 2) for x in (z, other)]
        return _PAIR.kl_parts(*pair)[:, 0].reshape(rows, columns)

    def entropy_gradient(self, z: Array) -> Array:
        """(N, m): −z p (1 − p)."""
        return -z * logistic(z) * logistic(-z)

    def lift(self, z: Array) -> float:
        """1 + the largest logit."""
        return 1.0 + float(np.abs(z).max())

    def saturates(self, z: Array, other: Array, unit: float, tiny: float) -> bool:
        """Whether a probability rounds to 0 or 1 at ``other`` that does not at z."""
        zero = (logistic(z) >= tiny) & (logistic(other) < tiny)
        one = (logistic(-z) >= unit) & (logistic(-other) < unit)
        return bool(np.any(zero | one))


class Gaussian(ActionDistribution):
    """Independent normal components; z = [μ, log σ]."""

    name = "gaussian"

    def __init__(self, dimensions: int) -> None:
        """Makes the law of m components."""
        self.dimensions = int(dimensions)
        self.size = 2 * self.dimensions

    def split(self, z: Array) -> tuple[Array, Array]:
        """μ (N, m) and log σ (N, m)."""
        return z[:, : self.dimensions], z[:, self.dimensions :]

    def read_actions(self, actions: Array) -> Array:
        """(N, m) of finite numbers."""
        given = np.asarray(actions, dtype=np.float64)
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or given.shape[1] != self.dimensions:
            raise InvalidArgument(
                f"actions of a {self.name} policy with a mean of {self.dimensions} dimensions must "
                f"have shape (N, {self.dimensions}), got {np.shape(actions)}."
            )
        return given

    def _standardised(self, z: Array, actions: Array) -> tuple[Array, Array]:
        """(a − μ)/σ and 1/σ."""
        mean, log_std = self.split(z)
        return (actions - mean) * np.exp(-log_std), np.exp(-log_std)

    def log_prob_parts(self, z: Array, actions: Array) -> Array:
        """(N, m): −½ [((a − μ)/σ)² + 2 log σ + log 2π]."""
        standard, _ = self._standardised(z, actions)
        return -0.5 * (standard**2 + 2.0 * self.split(z)[1] + _LOG_2PI)

    def score(self, z: Array, actions: Array) -> Array:
        """(N, 2m): (a − μ)/σ² and ((a − μ)/σ)² − 1."""
        standard, precision = self._standardised(z, actions)
        return np.concatenate([standard * precision, standard**2 - 1.0], axis=1)

    def score_size(self, z: Array, actions: Array) -> Array:
        """(N, 2m): (|a| + |μ|)/σ² and |a − μ|(|a| + |μ|)/σ² + 1."""
        standard, precision = self._standardised(z, actions)
        whole = (np.abs(actions) + np.abs(self.split(z)[0])) * precision
        return np.concatenate([whole * precision, np.abs(standard) * whole + 1.0], axis=1)

    def fisher(self, z: Array, u: Array) -> Array:
        """(N, 2m): u_μ/σ² and 2 u_ℓ."""
        return self.fisher_size(z) * u

    def fisher_size(self, z: Array) -> Array:
        """(N, 2m): 1/σ² and 2."""
        precision = np.exp(-2.0 * self.split(z)[1])
        return np.concatenate([precision, np.full_like(precision, 2.0)], axis=1)

    def kl_parts(self, z: Array, other: Array) -> Array:
        """(N, m): ½ [(Δμ/σ')² + e^{−2Δℓ} − 1 + 2Δℓ]."""
        change = other - z
        moved, spread = self.split(change)
        spread = -2.0 * spread
        near = np.abs(spread) < 0.5
        with np.errstate(over="ignore"):
            far = np.expm1(spread) - spread
            shift = np.square(moved * np.exp(-self.split(other)[1]))
        return 0.5 * (shift + np.where(near, exp_minus_line(np.where(near, spread, 0.0)), far))

    def entropy_gradient(self, z: Array) -> Array:
        """(N, 2m): 0 and 1, as the entropy is Σ log σ + const."""
        zero = np.zeros_like(self.split(z)[0])
        return np.concatenate([zero, zero + 1.0], axis=1)

    def lift(self, z: Array) -> float:
        """1 + 2 max|log σ|: the relative rounding of 1/σ²."""
        return 1.0 + 2.0 * float(np.abs(self.split(z)[1]).max())


class TanhGaussian(Gaussian):
    """Squashed actions a = tanh(x), x normal; z = [μ, log σ] of x.

    The factor Π (1 − a²) of the density is free of z, so score, Fisher matrix and KL are those of
    x = artanh(a); log π is not.
    """

    name = "tanh_gaussian"

    def read_actions(self, actions: Array) -> Array:
        """(N, m): x = artanh(a).

        Raises:
            InvalidArgument: an action at or beyond ±1, where x is lost.
        """
        given = super().read_actions(actions)
        bad = ~(np.abs(given) < 1.0)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InvalidArgument(
                f"action {given[row, column]!r} in row {row} is not inside (−1, 1), so what tanh "
                "was applied to is lost; keep the actions before tanh and judge them with "
                "distribution='gaussian'."
            )
        return np.arctanh(given)

    def log_prob_parts(self, z: Array, actions: Array) -> Array:
        """(N, m): the normal log-density at x minus log(1 − tanh² x)."""
        # log(1 − tanh² x) = 2 (log 2 − x − log(1 + e^{−2x}))
        squash = 2.0 * (math.log(2.0) - actions - np.logaddexp(0.0, -2.0 * actions))
        return super().log_prob_parts(z, actions) - squash

    def action_size(self, z: Array, actions: Array) -> Array:
        """(N,): dx/da = cosh² x, times the slopes of the normal density and of the squashing."""
        standard, precision = self._standardised(z, actions)
        slope = np.abs(standard) * precision + 2.0
        return np.asarray((slope * np.cosh(actions) ** 2).sum(axis=1))

    def score_size(self, z: Array, actions: Array) -> Array:
        """(N, 2m): as for a Gaussian, where x = artanh(a) rounds at the size of cosh² x."""
        standard, precision = self._standardised(z, actions)
        moved = np.cosh(actions) ** 2 * precision
        more = np.concatenate([moved * precision, 2.0 * np.abs(standard) * moved], axis=1)
        return super().score_size(z, actions) + more

    def entropy_gradient(self, z: Array) -> Array:
        """Has no closed form; an entropy bonus of a squashed policy is not recognised."""
        raise InvalidArgument("the entropy of a tanh_gaussian has no closed form.")


def logistic(z: Array) -> Array:
    """1/(1 + e^{−z}), relatively accurate on both sides."""
    # e^{min(z, 0)} / (1 + e^{−|z|}), which neither overflows nor loses the small tail
    return np.exp(np.minimum(z, 0.0)) / (1.0 + np.exp(-np.abs(z)))


_PAIR = Categorical(2)
