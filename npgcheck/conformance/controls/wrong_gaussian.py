"""Planted mistakes of Gaussian policies: σ, log σ, dimensions, order, sampled actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._gaussian import ExactGaussian
from .registry import wrong
from .right_gaussian import GaussianBatch

SCORE = "score and objective"
FISHER = "Fisher definition"
PARAMETERS = "parametrisation"


@wrong(
    "sampled-action-not-detached",
    tells="sampled-action-not-detached",
    stage=SCORE,
    refutes="policy_gradient",
    spares="fisher_vector_product kl",
    source="alf#34",
)
class ActionNotDetached(GaussianBatch):
    """The action moves with μ, so the rows of g that belong to μ vanish."""

    def policy_gradient(self, problem: Any) -> Array:
        g = np.array(super().policy_gradient(problem))
        g[: problem.observation_size * problem.action_size] = 0.0
        return g


@wrong(
    "log-prob-mean-over-dimensions",
    tells="logprob-not-summed-over-dims",
    stage=SCORE,
    refutes="log_prob score",
    whole=True,
    source="tianshou#40",
)
class MeanOverDimensions:
    """Log-densities averaged over action dimensions where they must be summed."""

    families = frozenset({"gaussian"})

    def log_prob(self, problem: Any, state: int, action: Array) -> float:
        k, m = problem.observation_size, problem.action_size
        mu = problem.observations[state] @ problem.theta[: k * m].reshape(k, m)
        log_std = problem.theta[k * m :]
        each = -((action - mu) ** 2) / (2 * np.exp(2 * log_std)) - log_std
        return float(np.mean(each - 0.5 * np.log(2 * np.pi)))

    def score(self, problem: Any, state: int, action: Array) -> Array:
        k, m = problem.observation_size, problem.action_size
        x, log_std = problem.observations[state], problem.theta[k * m :]
        d = (action - x @ problem.theta[: k * m].reshape(k, m)) / np.exp(log_std)
        return np.concatenate([np.outer(x, d / np.exp(log_std)).ravel(), d * d - 1]) / m


@wrong(
    "sigma-for-variance",
    tells="std-variance-confusion",
    stage=SCORE,
    refutes="log_prob score fisher",
    whole=True,
    source="hill-a#1058",
)
class SigmaForVariance:
    """z²/σ where z²/σ² belongs: exp(log σ) is taken for the variance."""

    families = frozenset({"gaussian"})

    def _split(self, problem: Any) -> tuple[Array, Array]:
        km = problem.observation_size * problem.action_size
        W = problem.theta[:km].reshape(problem.observation_size, -1)
        return problem.observations @ W, np.exp(problem.theta[km:])

    def log_prob(self, problem: Any, state: int, action: Array) -> float:
        mu, var = self._split(problem)
        q = (action - mu[state]) ** 2 / var
        return float(-0.5 * np.sum(q + np.log(2 * np.pi * var)))

    def score(self, problem: Any, state: int, action: Array) -> Array:
        mu, var = self._split(problem)
        e = action - mu[state]
        rows = np.outer(problem.observations[state], e / var)
        return np.concatenate([rows.ravel(), 0.5 * (e**2 / var - 1)])

    def fisher(self, problem: Any) -> Array:
        _, var = self._split(problem)
        m, X = problem.mdp, problem.observations
        mu = np.linalg.solve(
            (np.eye(len(X)) - m.discount * m.transitions).T, m.initial_distribution
        )
        G = np.einsum("s,si,sj->ij", mu / mu.sum(), X, X)
        out = np.zeros((problem.theta.size,) * 2)
        n = G.shape[0] * len(var)
        out[:n, :n] = np.kron(G, np.diag(1 / var))
        out[n:, n:] = 0.5 * np.eye(len(var))
        return out


@wrong(
    "exponentiated-twice",
    tells="std-variance-confusion",
    stage=SCORE,
    refutes="log_prob score",
    whole=True,
    source="hill-a#1058",
)
class ExponentiatedTwice:
    """σ = exp(exp(log σ)): the module already returned σ."""

    families = frozenset({"gaussian"})

    def _std(self, problem: Any) -> Array:
        km = problem.observation_size * problem.action_size
        return np.asarray(np.exp(np.exp(problem.theta[km:])))

    def _error(self, problem: Any, state: int, action: Array) -> Array:
        km = problem.observation_size * problem.action_size
        W = problem.theta[:km].reshape(-1, problem.action_size)
        return np.asarray(action - problem.observations[state] @ W)

    def log_prob(self, problem: Any, state: int, action: Array) -> float:
        std, e = self._std(problem), self._error(problem, state, action)
        return float(np.sum(-0.5 * (e / std) ** 2 - np.log(std)) - len(e) * 0.9189385332046727)

    def score(self, problem: Any, state: int, action: Array) -> Array:
        std, e = self._std(problem), self._error(problem, state, action)
        of_mean = np.kron(problem.observations[state], e / std**2)
        return np.concatenate([of_mean, (e / std) ** 2 - 1])


@wrong(
    "clipped-action-in-log-prob",
    tells="clipped-action-in-logprob",
    stage=SCORE,
    refutes="policy_gradient",
    spares="fisher_vector_product",
    source="tianshou#312",
)
class ClippedAction(GaussianBatch):
    """log π of the action clipped to [−1, 1], not of the one that was sampled."""

    def policy_gradient(self, problem: Any) -> Array:
        b, (X, _, sigma) = problem.batch, self._z(problem)
        W = problem.theta[: X.shape[1] * len(sigma)].reshape(X.shape[1], -1)
        z = (np.clip(b.actions, -1, 1) - X @ W) / sigma
        rows = (b.advantages[:, None] * z / sigma).T @ X / len(X)
        return np.concatenate([rows.T.ravel(), (b.advantages[:, None] * (z**2 - 1)).mean(axis=0)])


@wrong(
    "constant-of-the-density-missing",
    tells="density-constant-missing",
    stage=SCORE,
    refutes="log_prob",
    spares="score fisher",
)
class ConstantMissing(ExactGaussian):
    """The −½ log 2π per dimension is dropped: only log_prob itself can show it."""

    def log_prob(self, problem: Any, state: int, action: Array) -> float:
        constant = 0.5 * problem.action_size * np.log(2 * np.pi)
        return super().log_prob(problem, state, action) + float(constant)


@wrong(
    "minus-one-missing-for-log-std",
    tells="log-std-score-missing-minus-one",
    stage=SCORE,
    refutes="score",
    spares="log_prob fisher",
)
class MinusOneMissing(ExactGaussian):
    """∂/∂log σ = z², without the −1 of the normaliser: E[φ] ≠ 0."""

    def score(self, problem: Any, state: int, action: Array) -> Array:
        phi = np.array(super().score(problem, state, action))
        phi[-problem.action_size :] += 1.0
        return phi


@wrong(
    "log-std-omitted-from-F",
    tells="log-std-omitted-from-F",
    stage=PARAMETERS,
    refutes="fisher natural_gradient",
    spares="policy_gradient score kl",
    source="baselines#262",
)
class LogStdOmitted(ExactGaussian):
    """The rows of F that belong to log σ are zero: σ never learns."""

    def width_block(self, problem: Any) -> Array:
        return np.zeros(problem.action_size)


@wrong(
    "log-std-block-one",
    tells="log-std-block-one",
    stage=PARAMETERS,
    refutes="fisher natural_gradient",
    spares="policy_gradient score kl",
)
class LogStdBlockOne(ExactGaussian):
    """1 for log σ, where the Fisher information is 2."""

    def width_block(self, problem: Any) -> Array:
        return np.ones(problem.action_size)


@wrong(
    "fisher-in-sigma-coordinates",
    tells="F-in-another-sigma-coordinate|sigma-coordinate",
    stage=PARAMETERS,
    refutes="fisher natural_gradient",
    spares="policy_gradient score kl",
)
class SigmaCoordinates(ExactGaussian):
    """2/σ², which belongs to the coordinate σ, while θ holds log σ."""

    def width_block(self, problem: Any) -> Array:
        return 2 * self.precision(problem)


@wrong(
    "unit-variance-fisher",
    tells="unit-variance-fisher",
    stage=FISHER,
    kind="convention",
    refutes="fisher natural_gradient",
    spares="policy_gradient score kl",
    source="nngeometry's regression",
)
class UnitVariance(ExactGaussian):
    """Σ = I in the block of the mean."""

    def precision(self, problem: Any) -> Array:
        return np.ones(problem.action_size)


@wrong(
    "log-std-clamped",
    tells="log-std-clamped",
    stage=PARAMETERS,
    refutes="log_prob score",
    spares="value",
    outcome="either",
)
class LogStdClamped(ExactGaussian):
    """log σ clamped to at least −0.4 when it is read, as in many code bases at −20."""

    def unpack(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        W, log_std = super().unpack(problem, theta)
        return W, np.maximum(log_std, -0.4)

    def value(self, problem: Any) -> Array:
        W, log_std = ExactGaussian.unpack(self, problem, problem.theta)
        c, b, M = problem.mdp.reward_quadratic
        mu = problem.observations @ W
        r = c + (b * mu).sum(1) + np.einsum("si,sij,sj->s", mu, M, mu)
        r = r + np.einsum("sjj,j->s", M, np.exp(2 * log_std))
        system = np.eye(problem.num_states) - problem.mdp.discount * problem.mdp.transitions
        return np.linalg.solve(system, r)


@wrong(
    "log-std-read-first",
    tells="log-std-first|log-std-read-first",
    stage=PARAMETERS,
    refutes="log_prob score policy_gradient",
)
class LogStdFirst(ExactGaussian):
    """θ is read as [log σ, W]."""

    def unpack(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        k, m = problem.observation_size, problem.action_size
        return np.reshape(theta[m:], (k, m)), np.asarray(theta[:m])


@wrong(
    "weights-reshaped-the-other-way",
    tells="mean-weights-transposed",
    stage=PARAMETERS,
    refutes="log_prob score",
    whole=True,
)
class WeightsTransposed:
    """W is read as (m, k) and transposed."""

    families = frozenset({"gaussian"})

    def _mean(self, problem: Any, state: int) -> Array:
        k, m = problem.observation_size, problem.action_size
        return np.asarray(problem.theta[: k * m].reshape(m, k) @ problem.observations[state])

    def log_prob(self, problem: Any, state: int, action: Array) -> float:
        total = 0.0
        log_std = problem.theta[-problem.action_size :]
        for a, mu, ell in zip(action, self._mean(problem, state), log_std, strict=True):
            total -= 0.5 * ((a - mu) / np.exp(ell)) ** 2 + ell + 0.5 * np.log(2 * np.pi)
        return float(total)

    def score(self, problem: Any, state: int, action: Array) -> Array:
        std = np.exp(problem.theta[-problem.action_size :])
        z = (action - self._mean(problem, state)) / std
        return np.concatenate([np.outer(z / std, problem.observations[state]).ravel(), z * z - 1])


@wrong(
    "outer-product-of-the-mean-feature",
    tells="outer-product-of-the-mean-feature",
    stage=FISHER,
    refutes="fisher",
    spares="policy_gradient kl",
)
class MeanFeature(ExactGaussian):
    """E[x]E[x]ᵀ where E[xxᵀ] belongs."""

    def fisher(self, problem: Any) -> Array:
        F = super().fisher(problem)
        average = self.state_distribution(problem) @ problem.observations
        n = problem.observation_size * problem.action_size
        F[:n, :n] = np.kron(np.outer(average, average), np.diag(self.precision(problem)))
        return F


@wrong(
    "gaussian-empirical-fisher",
    tells="empirical-fisher",
    stage="estimator",
    kind="approximation",
    refutes="fisher",
    whole=True,
)
class GaussianEmpiricalFisher:
    """φφᵀ over the batch's own actions."""

    families = frozenset({"gaussian"})

    def fisher(self, problem: Any) -> Array:
        b, k, m = problem.batch, problem.observation_size, problem.action_size
        inverse = np.exp(-problem.theta[k * m :])
        z = (b.actions - b.observations @ problem.theta[: k * m].reshape(k, m)) * inverse
        rows = [
            np.concatenate([np.kron(x, e * inverse), e**2 - 1])
            for x, e in zip(b.observations, z, strict=True)
        ]
        return np.mean([np.outer(r, r) for r in rows], axis=0)


@wrong(
    "gaussian-kl-without-minus-half",
    tells="gaussian-kl-without-minus-half",
    stage="KL",
    refutes="kl",
    spares="fisher",
)
class KlWithoutHalf(ExactGaussian):
    """KL(p, p) = m/2: the −½ per dimension is missing."""

    def kl(self, problem: Any, theta: Array) -> float:
        return super().kl(problem, theta) + 0.5 * problem.action_size


@wrong(
    "gaussian-kl-with-old-variance",
    tells="gaussian-kl-with-old-variance",
    stage="KL",
    refutes="kl",
    whole=True,
)
class KlWithOldVariance:
    """The squared shift is divided by the old variance, not the new one."""

    families = frozenset({"gaussian"})

    def kl(self, problem: Any, theta: Array) -> float:
        m, k, a = problem.mdp, problem.observation_size, problem.action_size
        d = np.linalg.solve(
            np.eye(problem.num_states) - m.discount * m.transitions.T, m.initial_distribution
        )
        total = 0.0
        for s, w in enumerate(d / d.sum()):
            x = problem.observations[s]
            gap = x @ (problem.theta[: k * a] - theta[: k * a]).reshape(k, a)
            old, new = np.exp(problem.theta[k * a :]), np.exp(theta[k * a :])
            for j in range(a):
                total += w * (
                    np.log(new[j] / old[j])
                    + (old[j] / new[j]) ** 2 / 2
                    + gap[j] ** 2 / (2 * old[j] ** 2)
                    - 0.5
                )
        return float(total)


@wrong(
    "gaussian-kl-mean-over-dimensions",
    tells="kl-mean-over-action-dimensions",
    stage="KL",
    refutes="kl",
    spares="fisher",
    source="sb3-contrib 087951d, the same family",
)
class KlMeanOverDimensions(ExactGaussian):
    """The KL averaged over action dimensions where it must be summed."""

    def kl(self, problem: Any, theta: Array) -> float:
        return super().kl(problem, theta) / problem.action_size


@wrong(
    "gaussian-damping",
    tells="damping",
    stage="solver and damping",
    kind="convention",
    refutes="natural_gradient",
    spares="fisher policy_gradient",
)
class GaussianDamping(ExactGaussian):
    """λ = 0.01 in the solve, not declared."""

    def natural_gradient(self, problem: Any) -> Array:
        F = self.fisher(problem)
        return np.linalg.solve(F + 0.01 * np.eye(len(F)), self.policy_gradient(problem))


@wrong(
    "gaussian-factor-two",
    tells="factor-two",
    stage="step rule",
    refutes="trust_region_proposal",
    spares="natural_gradient fisher",
)
class GaussianFactorTwo(ExactGaussian):
    """√(δ/xᵀFx) again, for Gaussian policies."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        return super().trust_region_proposal(problem, max_kl / 2)
