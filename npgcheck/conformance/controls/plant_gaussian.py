"""Mistakes planted in Gaussian policies: quadrature over actions, and rows of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._quadrature import GaussQuadrature
from .registry import right, wrong
from .right_gaussian import GaussianBatch

STYLE = "quadrature"
ROWS = "gaussian batch"
SCORE = "score and objective"
FISHER = "Fisher definition"
PARAMETERS = "parametrisation"
G, F = "policy_gradient", "fisher"

right("gauss-quadrature", style=STYLE, problems=10)(GaussQuadrature)


@wrong(
    "quadrature-std-for-variance",
    tells="std-variance-confusion",
    stage=SCORE,
    refutes="log_prob score",
    source="hill-a#1058",
    style=STYLE,
)
class StdForVariance(GaussQuadrature):
    """The squared error is divided by σ, in the density and in the score."""

    def density(self, problem: Any, theta: Array, s: int, action: Array) -> float:
        mean, std = self.moments(problem, theta, s)
        each = -0.5 * (action - mean) ** 2 / std - np.log(std) - 0.5 * np.log(2 * np.pi)
        return float(each.sum())

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        mean, std = self.moments(problem, problem.theta, s)
        e = action - mean
        return np.concatenate(
            [np.outer(problem.observations[s], e / std).ravel(), 0.5 * e * e / std - 1]
        )


@wrong(
    "quadrature-mean-over-dimensions",
    tells="logprob-not-summed-over-dims",
    stage=SCORE,
    refutes=f"log_prob score {G} {F}",
    source="tianshou#40",
    style=STYLE,
)
class MeanOverDimensions(GaussQuadrature):
    """.mean(-1) of the dimensions' log-densities."""

    def density(self, problem: Any, theta: Array, s: int, action: Array) -> float:
        return super().density(problem, theta, s, action) / problem.action_size

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        return super().phi(problem, s, action) / problem.action_size


@wrong(
    "quadrature-without-normaliser",
    tells="density-constant-missing",
    stage=SCORE,
    refutes="log_prob",
    spares=F,
    style=STYLE,
)
class WithoutNormaliser(GaussQuadrature):
    """−½ log 2π is left out."""

    def density(self, problem: Any, theta: Array, s: int, action: Array) -> float:
        constant = 0.5 * problem.action_size * float(np.log(2 * np.pi))
        return super().density(problem, theta, s, action) + constant


@wrong(
    "quadrature-square-without-one",
    tells="log-std-score-missing-minus-one",
    stage=SCORE,
    refutes=f"score {F}",
    style=STYLE,
)
class SquareWithoutOne(GaussQuadrature):
    """z² for the derivative in log σ."""

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        phi = super().phi(problem, s, action)
        return np.concatenate([phi[: -problem.action_size], phi[-problem.action_size :] + 1])


@wrong(
    "quadrature-mean-score-without-variance",
    tells="mean-score-missing-variance",
    stage=SCORE,
    refutes=f"score {G}",
    style=STYLE,
)
class WithoutVariance(GaussQuadrature):
    """x (a − μ): the 1/σ² is missing."""

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        mean, std = self.moments(problem, problem.theta, s)
        e = action - mean
        rows = np.outer(problem.observations[s], e)
        return np.concatenate([rows.ravel(), (e / std) ** 2 - 1])


@wrong(
    "quadrature-sigma-not-a-parameter",
    tells="log-std-omitted",
    stage=SCORE,
    refutes=f"score {G}",
    source="baselines#262",
    style=STYLE,
)
class SigmaNotAParameter(GaussQuadrature):
    """Derivatives in log σ are left at zero: the optimiser was only given the mean's weights."""

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        phi = np.array(super().phi(problem, s, action))
        phi[-problem.action_size :] = 0.0
        return phi


@wrong(
    "quadrature-score-of-sigma",
    tells="score-in-another-sigma-coordinate|sigma-coordinate",
    stage=PARAMETERS,
    outcome="either",
    refutes=f"score {G}",
    style=STYLE,
)
class ScoreOfSigma(GaussQuadrature):
    """(z² − 1)/σ, the derivative in σ, where θ holds log σ."""

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        phi = np.array(super().phi(problem, s, action))
        _, std = self.moments(problem, problem.theta, s)
        phi[-problem.action_size :] /= std
        return phi


@wrong(
    "quadrature-sigma-at-least-half",
    tells="log-std-clamped",
    stage=PARAMETERS,
    refutes="log_prob score",
    outcome="either",
    style=STYLE,
)
class SigmaAtLeastHalf(GaussQuadrature):
    """max(log σ, log ½) wherever θ is read."""

    def parameters(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        W, log_std = super().parameters(problem, theta)
        return W, np.maximum(log_std, np.log(0.5))


@wrong(
    "quadrature-weights-transposed",
    tells="mean-weights-transposed",
    stage=PARAMETERS,
    refutes="log_prob score",
    style=STYLE,
)
class WeightsTransposed(GaussQuadrature):
    """nn.Linear holds (m, k)."""

    def parameters(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        k, m = problem.observation_size, problem.action_size
        return np.reshape(theta[: k * m], (m, k)).T, np.asarray(theta[k * m :])


@wrong(
    "quadrature-log-std-in-front",
    tells="log-std-first|log-std-read-first",
    stage=PARAMETERS,
    refutes="log_prob",
    style=STYLE,
)
class LogStdInFront(GaussQuadrature):
    """The parameter list starts with log σ."""

    def parameters(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        k, m = problem.observation_size, problem.action_size
        return np.reshape(theta[m:], (k, m)), np.asarray(theta[:m])


@wrong(
    "quadrature-kl-of-means",
    tells="gaussian-kl-of-means-only",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlOfMeans(GaussQuadrature):
    """½ ‖Δμ/σ‖²: what σ does is left out."""

    def kl(self, problem: Any, theta: Array) -> float:
        total = 0.0
        for s, d in enumerate(self.states(problem)):
            (old, _), (new, std) = (self.moments(problem, t, s) for t in (problem.theta, theta))
            total += d * 0.5 * float(np.sum(((old - new) / std) ** 2))
        return total


class _ClosedKl(GaussQuadrature):
    """The closed form of the KL, term by term."""

    def terms(self, old: Array, new: Array, shift: Array) -> Array:
        return np.asarray(np.log(new / old) + (old**2 + shift**2) / (2 * new**2) - 0.5)

    def kl(self, problem: Any, theta: Array) -> float:
        total = 0.0
        for s, d in enumerate(self.states(problem)):
            (a, old), (b, new) = (self.moments(problem, t, s) for t in (problem.theta, theta))
            total += d * float(self.terms(old, new, a - b).sum())
        return total


@wrong(
    "quadrature-kl-std-unsquared",
    tells="gaussian-kl-std-for-variance",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlStdUnsquared(_ClosedKl):
    """σ stands where σ² belongs."""

    def terms(self, old: Array, new: Array, shift: Array) -> Array:
        return np.asarray(np.log(new / old) + (old + shift**2) / (2 * new) - 0.5)


@wrong(
    "quadrature-kl-without-log",
    tells="gaussian-kl-log-term-missing",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlWithoutLog(_ClosedKl):
    """log σ′/σ is left out."""

    def terms(self, old: Array, new: Array, shift: Array) -> Array:
        return super().terms(old, new, shift) - np.log(new / old)


@wrong(
    "quadrature-kl-without-half",
    tells="gaussian-kl-without-minus-half",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlWithoutHalf(_ClosedKl):
    """The −½ is left out."""

    def terms(self, old: Array, new: Array, shift: Array) -> Array:
        return super().terms(old, new, shift) + 0.5


@wrong(
    "quadrature-kl-old-variance",
    tells="gaussian-kl-with-old-variance",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlOldVariance(_ClosedKl):
    """The shift is measured by the old σ."""

    def terms(self, old: Array, new: Array, shift: Array) -> Array:
        wrong_part = shift**2 / (2 * old**2) - shift**2 / (2 * new**2)
        return super().terms(old, new, shift) + wrong_part


@wrong(
    "quadrature-kl-mean-of-dimensions",
    tells="kl-mean-over-action-dimensions",
    stage="KL",
    refutes="kl",
    spares=F,
    source="sb3-contrib 087951d",
    style=STYLE,
)
class KlMeanOfDimensions(_ClosedKl):
    """.mean() over dimensions."""

    def terms(self, old: Array, new: Array, shift: Array) -> Array:
        return super().terms(old, new, shift) / len(old)


class _Blocks(GaussQuadrature):
    """F from its two blocks."""

    def mean_block(self, std: Array) -> Array:
        return np.asarray(std**-2.0)

    def width_block(self, std: Array) -> Array:
        return np.full(len(std), 2.0)

    def fisher(self, problem: Any) -> Array:
        _, log_std = self.parameters(problem, problem.theta)
        std, X, d = np.exp(log_std), problem.observations, self.states(problem)
        top = np.einsum("s,si,sj,ab->iajb", d, X, X, np.diag(self.mean_block(std)))
        n = X.shape[1] * len(std)
        out = np.zeros((n + len(std),) * 2)
        out[:n, :n] = top.reshape(n, n)
        out[n:, n:] = np.diag(self.width_block(std))
        return out


@wrong(
    "blocks-unit-variance",
    tells="unit-variance-fisher",
    stage=FISHER,
    kind="convention",
    outcome="either",
    refutes=F,
    spares=G,
    source="nngeometry's regression",
    style="blocks",
)
class BlocksUnitVariance(_Blocks):
    """xxᵀ ⊗ I: the metric of least squares."""

    def mean_block(self, std: Array) -> Array:
        return np.ones(len(std))


@wrong(
    "blocks-variance-coordinate",
    tells="F-in-another-sigma-coordinate|sigma-coordinate",
    stage=PARAMETERS,
    outcome="either",
    refutes=F,
    spares=G,
    style="blocks",
)
class BlocksVarianceCoordinate(_Blocks):
    """1/(2σ⁴), the block of σ², beside parameters log σ."""

    def width_block(self, std: Array) -> Array:
        return np.asarray(0.5 * std**-4.0)


@wrong(
    "blocks-log-std-one",
    tells="log-std-block-one",
    stage=PARAMETERS,
    refutes=F,
    spares=G,
    style="blocks",
)
class BlocksLogStdOne(_Blocks):
    """1 for log σ."""

    def width_block(self, std: Array) -> Array:
        return np.ones(len(std))


@wrong(
    "blocks-log-std-left-out",
    tells="log-std-omitted-from-F",
    stage=PARAMETERS,
    refutes=F,
    spares=G,
    source="baselines#262",
    style="blocks",
)
class BlocksLogStdLeftOut(_Blocks):
    """The metric of the mean alone, zero for log σ."""

    def width_block(self, std: Array) -> Array:
        return np.zeros(len(std))


@wrong(
    "gaussian-rows-reparametrised",
    tells="sampled-action-not-detached",
    stage=SCORE,
    refutes=G,
    spares="fisher_vector_product",
    source="alf#34",
    style=ROWS,
)
class RowsReparametrised(GaussianBatch):
    """a = μ + σε is written out inside log π: z = ε is a constant, only −log σ is left."""

    def policy_gradient(self, problem: Any) -> Array:
        adv, m = problem.batch.advantages, problem.action_size
        rest = np.zeros(problem.theta.size - m)
        return np.concatenate([rest, np.full(m, -float(adv.mean()))])


@wrong(
    "gaussian-rows-clipped",
    tells="clipped-action-in-logprob",
    stage=SCORE,
    refutes=G,
    spares="fisher_vector_product",
    source="tianshou#312",
    style=ROWS,
)
class RowsClipped(GaussianBatch):
    """The environment's action, clipped to [−1, 1], is stored in the buffer."""

    def _z(self, problem: Any) -> tuple[Array, Array, Array]:
        X, _, sigma = super()._z(problem)
        W = problem.theta[: X.shape[1] * len(sigma)].reshape(X.shape[1], -1)
        return X, (np.clip(problem.batch.actions, -1.0, 1.0) - X @ W) / sigma, sigma


@wrong(
    "gaussian-rows-damped",
    tells="damping",
    stage="solver and damping",
    kind="convention",
    refutes="natural_gradient",
    spares=f"{G} fisher_vector_product",
    style=ROWS,
)
class RowsDamped(GaussianBatch):
    """λ = 0.1 in a solve by columns of the product."""

    def natural_gradient(self, problem: Any) -> Array:
        eye = np.eye(problem.theta.size)
        F = np.stack([self.fisher_vector_product(problem, e) for e in eye], axis=1)
        return np.linalg.solve(F + 0.1 * eye, self.policy_gradient(problem))
