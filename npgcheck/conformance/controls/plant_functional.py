"""Mistakes planted in pure functions of (θ, rows): losses, autograd, conjugate gradient."""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad

from ._exact import Array
from ._functional import Function, FunctionalBatch
from .registry import right, wrong

STYLE = "functional"
G = "policy_gradient"
F = "fisher"
FV = "fisher fisher_vector_product"
X = "natural_gradient"
TR = "trust_region_proposal"

right("functional-batch", style=STYLE)(FunctionalBatch)


@wrong(
    "functional-loss-outer-product",
    tells="loss-gradient-outer-product",
    stage="Fisher definition",
    refutes=F,
    spares=G,
    style=STYLE,
)
class LossOuterProduct(FunctionalBatch):
    """F as the mean outer product of per-example gradients of the loss itself, A and all."""

    def fisher(self, problem: Any) -> Array:
        b = problem.batch
        out = np.zeros((problem.theta.size,) * 2)
        for x, a, w in zip(b.observations, b.actions, self.targets(problem), strict=True):
            one = grad(lambda t, x=x, a=a, w=w: w * self.table(problem, t, x[None, :])[0, a])
            g = np.asarray(one(np.array(problem.theta)))
            out += np.outer(g, g) / len(b.actions)
        return out

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.fisher(problem) @ vector


@wrong(
    "functional-empirical-fisher",
    tells="empirical-fisher",
    stage="estimator",
    kind="approximation",
    refutes=F,
    spares=G,
    style=STYLE,
)
class SampledLabels(FunctionalBatch):
    """Per-example gradients of log π at the actions that were taken: labels from the data."""

    def fisher(self, problem: Any) -> Array:
        b = problem.batch
        rows = [
            grad(lambda t, x=x, a=a: self.table(problem, t, x[None, :])[0, a])(
                np.array(problem.theta)
            )
            for x, a in zip(b.observations, b.actions, strict=True)
        ]
        return np.einsum("nd,ne->de", rows, rows) / len(rows)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.fisher(problem) @ vector


@wrong(
    "functional-nothing-stopped",
    tells="both-sides-live",
    stage="KL",
    refutes="fisher_vector_product",
    spares=G,
    style=STYLE,
)
class NothingStopped(FunctionalBatch):
    """No stop_gradient on the old policy: KL(π_θ, π_θ) and its Hessian vanish."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        inputs = self.inputs(problem)

        def loss(theta: Any) -> Any:
            old, new = self.table(problem, theta, inputs), self.table(problem, theta, inputs)
            return anp.mean(anp.sum(anp.exp(old) * (old - new), axis=1))

        slope = grad(loss)
        return np.asarray(grad(lambda t: anp.dot(slope(t), vector))(np.array(problem.theta)))


@wrong(
    "functional-sum-over-rows",
    tells="sum-in-g-mean-in-F",
    stage="glue",
    refutes=G,
    spares=F,
    style=STYLE,
)
class SumOverRows(FunctionalBatch):
    """The policy loss is a sum over rows, the divergence a mean."""

    def policy_loss(self, problem: Any) -> Function:
        mean = super().policy_loss(problem)
        return lambda theta: len(problem.batch.actions) * mean(theta)


@wrong(
    "functional-vmapped-fisher-summed",
    tells="batch-size-scale",
    stage="estimator",
    refutes=FV,
    spares=G,
    style=STYLE,
)
class FisherSummed(FunctionalBatch):
    """vmap over rows and a sum: F grows with the batch."""

    def divergence(self, problem: Any, inputs: Array) -> Function:
        mean = super().divergence(problem, inputs)
        return lambda theta: len(inputs) * mean(theta)

    def kl(self, problem: Any, theta: Array) -> float:
        return super().kl(problem, theta) / len(problem.batch.actions)


@wrong(
    "functional-mean-over-outputs",
    tells="output-dim-scale",
    stage="Fisher definition",
    refutes=FV,
    spares=G,
    style=STYLE,
)
class MeanOverOutputs(FunctionalBatch):
    """The curvature of a mean over all N·A outputs, where rows are averaged and outputs summed."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return super().fisher_vector_product(problem, vector) / problem.num_actions


@wrong(
    "functional-every-fifth-row",
    tells="fisher-state-subsample",
    stage="state weighting",
    kind="approximation",
    outcome="either",
    refutes=FV,
    spares=G,
    style=STYLE,
)
class EveryFifthRow(FunctionalBatch):
    """Inputs strided by five for the curvature, to save time."""

    def fisher_inputs(self, problem: Any) -> Array:
        return self.inputs(problem)[::5]


@wrong(
    "functional-loss-not-negated",
    tells="ascent-descent-sign|negative-score|advantage-negated|gradient-of-the-loss",
    stage="glue",
    refutes=f"{G} {X} update",
    spares=F,
    style=STYLE,
)
class LossNotNegated(FunctionalBatch):
    """The gradient of a loss to be minimised is handed on as if it were to be followed."""

    def policy_loss(self, problem: Any) -> Function:
        gain = super().policy_loss(problem)
        return lambda theta: -gain(theta)


@wrong(
    "functional-probabilities-as-loss",
    tells="gradient-of-pi-not-log-pi|action-weights-squared",
    stage="score and objective",
    refutes=G,
    spares=F,
    style=STYLE,
)
class ProbabilitiesAsLoss(FunctionalBatch):
    """A π(a|s) in the loss where A log π(a|s) belongs."""

    def policy_loss(self, problem: Any) -> Function:
        b, rows = problem.batch, np.arange(len(problem.batch.actions))
        weights, inputs = self.targets(problem), self.inputs(problem)
        return lambda t: anp.mean(
            weights * anp.exp(self.table(problem, t, inputs)[rows, b.actions])
        )


@wrong(
    "functional-logits-without-softmax",
    tells="score-missing-minus-pi",
    stage="score and objective",
    refutes=G,
    spares=F,
    style=STYLE,
)
class LogitsWithoutSoftmax(FunctionalBatch):
    """The loss picks the logit of the action: no log-partition function, no −π in its gradient."""

    def targets(self, problem: Any) -> Array:
        b = problem.batch
        return np.asarray(b.advantages + b.values)

    def policy_loss(self, problem: Any) -> Function:
        b, X = problem.batch, self.inputs(problem)
        rows, weights = np.arange(len(b.actions)), self.targets(problem)
        return lambda t: anp.mean(
            weights * anp.dot(X, anp.reshape(t, (X.shape[1], -1)))[rows, b.actions]
        )


@wrong(
    "functional-temperature",
    tells="softmax-temperature",
    stage="score and objective",
    refutes=f"{G} {F} kl",
    style=STYLE,
)
class Temperature(FunctionalBatch):
    """Logits divided by an exploration temperature of 1.5 everywhere."""

    def table(self, problem: Any, theta: Any, inputs: Array) -> Any:
        return super().table(problem, theta / 1.5, inputs)


@wrong(
    "functional-entropy-bonus",
    tells="entropy-bonus-left-in|entropy-bonus",
    stage="score and objective",
    refutes=G,
    spares=F,
    style=STYLE,
)
class EntropyBonus(FunctionalBatch):
    """An entropy bonus of 0.02 stays in the loss."""

    def policy_loss(self, problem: Any) -> Function:
        gain, inputs = super().policy_loss(problem), self.inputs(problem)

        def loss(theta: Any) -> Any:
            logp = self.table(problem, theta, inputs)
            return gain(theta) - 0.02 * anp.mean(anp.sum(anp.exp(logp) * logp, axis=1))

        return loss


@wrong(
    "functional-weight-decay",
    tells="weight-decay-left-in",
    stage="score and objective",
    refutes=G,
    spares=F,
    style=STYLE,
)
class WeightDecay(FunctionalBatch):
    """−½·1e-2 ‖θ‖² stays in the loss."""

    def policy_loss(self, problem: Any) -> Function:
        gain = super().policy_loss(problem)
        return lambda theta: gain(theta) - 0.5e-2 * anp.dot(theta, theta)


@wrong(
    "functional-tikhonov",
    tells="damping",
    stage="solver and damping",
    kind="convention",
    refutes=X,
    spares=f"{F} {G}",
    style=STYLE,
)
class Tikhonov(FunctionalBatch):
    """A matvec with v ↦ Fv + 0.03 v inside the solve."""

    def solve(self, F: Array, g: Array) -> Array:
        return super().solve(F + 0.03 * np.eye(len(g)), g)


@wrong(
    "functional-solve-skipped",
    tells="preconditioner-not-applied",
    stage="solver and damping",
    refutes=X,
    spares=f"{F} {G}",
    style=STYLE,
)
class SolveSkipped(FunctionalBatch):
    """The preconditioned gradient is computed and the plain one returned."""

    def solve(self, F: Array, g: Array) -> Array:
        super().solve(F, g)
        return g


@wrong(
    "functional-shrinkage",
    tells="shrinkage",
    stage="solver and damping",
    kind="convention",
    outcome="either",
    refutes=X,
    spares=f"{F} {G}",
    style=STYLE,
)
class Shrinkage(FunctionalBatch):
    """(1 − ε)F + εI with ε = 0.05 in the solve."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(0.95 * F + 0.05 * np.eye(len(g)), g)


@wrong(
    "functional-delta-without-two",
    tells="factor-two",
    stage="step rule",
    refutes=TR,
    spares=f"{F} {G} {X}",
    style=STYLE,
)
class DeltaWithoutTwo(FunctionalBatch):
    """√(δ/xᵀFx), the divergence written without its factor of two."""

    def length(self, problem: Any, x: Array, max_kl: float) -> float:
        return super().length(problem, x, 0.5 * max_kl)


@wrong(
    "functional-delta-as-step",
    tells="const-lr-called-kl",
    stage="step rule",
    refutes=TR,
    spares=f"{F} {G} {X}",
    style=STYLE,
)
class DeltaAsStep(FunctionalBatch):
    """optax.sgd(max_kl): the bound is used as a learning rate."""

    def length(self, problem: Any, x: Array, max_kl: float) -> float:
        return max_kl


@wrong(
    "functional-epsilon-in-the-logs",
    tells="epsilon-inside-kl",
    stage="KL",
    kind="approximation",
    outcome="either",
    refutes="kl",
    spares=G,
    style=STYLE,
)
class EpsilonInLogs(FunctionalBatch):
    """Both logs of the KL take π + 1e-4."""

    def kl(self, problem: Any, theta: Array) -> float:
        X = self.inputs(problem)
        old = np.exp(np.asarray(self.table(problem, np.array(problem.theta), X)))
        new = np.exp(np.asarray(self.table(problem, np.array(theta), X)))
        return float(np.mean(np.sum(old * np.log((old + 1e-4) / (new + 1e-4)), axis=1)))


@wrong(
    "functional-batchmean-over-actions",
    tells="kl-mean-over-actions",
    stage="KL",
    refutes="kl",
    spares=G,
    style=STYLE,
)
class MeanEverywhere(FunctionalBatch):
    """jnp.mean over rows and actions alike."""

    def kl(self, problem: Any, theta: Array) -> float:
        X = self.inputs(problem)
        old = np.asarray(self.table(problem, np.array(problem.theta), X))
        return float(np.mean(np.exp(old) * (old - self.table(problem, np.array(theta), X))))
