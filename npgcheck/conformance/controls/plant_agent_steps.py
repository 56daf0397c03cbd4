"""Mistakes planted in an agent with a buffer: curvature, divergence, solve, search."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._agent import Agent
from ._exact import Array
from .registry import wrong

STYLE = "agent"
WEIGHTS = "state weighting"
RETURNS = "return and advantage"
SCORE = "score and objective"
FISHER = "Fisher definition"
SOLVER = "solver and damping"
SEARCH = "line search"
G, F, X = "policy_gradient", "fisher", "natural_gradient"
FV = "fisher_vector_product"
TR, TRS = "trust_region_proposal", "trust_region_step"


@wrong(
    "agent-scores-outer-product",
    tells="empirical-fisher",
    stage="estimator",
    kind="approximation",
    refutes=F,
    spares=G,
    source="kfac-pytorch#109",
    style=STYLE,
)
class ScoresOuterProduct(Agent):
    """Scores of the taken actions, outer products, mean."""

    def fisher(self, problem: Any) -> Array:
        buf = self.collect(problem)
        rows = self.dlogits(buf, self.forward(buf.obs, problem.theta))
        phi = np.einsum("ni,na->nia", buf.obs, rows).reshape(len(rows), -1)
        return np.asarray(phi.T @ phi / len(phi))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.fisher(problem) @ vector


@wrong(
    "agent-covariance-of-scores",
    tells="centred-vs-uncentred",
    also="empirical-fisher",
    stage=FISHER,
    kind="convention",
    outcome="either",
    refutes=F,
    spares=G,
    style=STYLE,
)
class CovarianceOfScores(Agent):
    """Scores minus their batch mean, divided by N."""

    def fisher(self, problem: Any) -> Array:
        buf = self.collect(problem)
        rows = self.dlogits(buf, self.forward(buf.obs, problem.theta))
        phi = np.einsum("ni,na->nia", buf.obs, rows).reshape(len(rows), -1)
        phi = phi - phi.mean(axis=0)
        return np.asarray(phi.T @ phi / len(phi))


@wrong(
    "agent-fisher-over-sum",
    tells="batch-size-scale",
    stage="estimator",
    refutes=FV,
    spares=G,
    source="curvlinops#108",
    style=STYLE,
)
class FisherOverSum(Agent):
    """reduction='sum' in the KL that is differentiated."""

    def product(self, obs: Array, theta: Array, vector: Array) -> Array:
        return super().product(obs, theta, vector) * len(obs)


@wrong(
    "agent-fisher-tenth-of-rows",
    tells="fisher-state-subsample",
    stage=WEIGHTS,
    kind="approximation",
    outcome="either",
    refutes=FV,
    spares=G,
    source="baselines",
    style=STYLE,
)
class FisherTenth(Agent):
    """obs[::5] for products."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.product(self.collect(problem).obs[::5], problem.theta, vector)


@wrong(
    "agent-one-policy-for-all",
    tells="one-mean-for-all-states",
    stage=FISHER,
    refutes=FV,
    spares=G,
    style=STYLE,
)
class OnePolicyForAll(Agent):
    """u is centred by one mean over the whole batch, not by each state's own."""

    def product(self, obs: Array, theta: Array, vector: Array) -> Array:
        p = np.exp(self.forward(obs, theta))
        u = obs @ vector.reshape(obs.shape[1], -1)
        return self.backward(obs, p * (u - (p * u).sum() / len(obs))) / len(obs)


@wrong(
    "agent-difference-of-kl-gradients",
    tells="finite-difference-eps",
    stage="estimator",
    kind="approximation",
    outcome="either",
    refutes=FV,
    spares=G,
    source="rllab",
    style=STYLE,
)
class DifferenceOfGradients(Agent):
    """(∇KL(θ + εv) − ∇KL(θ)) / ε with ε = 1e-2."""

    def product(self, obs: Array, theta: Array, vector: Array) -> Array:
        old, new = (np.exp(self.forward(obs, t)) for t in (theta, theta + 1e-2 * vector))
        return self.backward(obs, new - old) / len(obs) / 1e-2


@wrong(
    "agent-kl-sampled",
    tells="kl-from-sampled-log-ratios",
    stage="KL",
    kind="approximation",
    outcome="either",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlSampled(Agent):
    """mean(logp_old − logp_new)."""

    def kl(self, problem: Any, theta: Array) -> float:
        buf = self.collect(problem)
        new = self.forward(buf.obs, theta)[np.arange(len(buf.acts)), buf.acts]
        return float((buf.logp - new).mean())


@wrong(
    "agent-kl-k2",
    tells="kl-from-squared-log-ratios",
    stage="KL",
    kind="approximation",
    outcome="either",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlK2(Agent):
    """mean ½ (log r)²."""

    def kl(self, problem: Any, theta: Array) -> float:
        buf = self.collect(problem)
        new = self.forward(buf.obs, theta)[np.arange(len(buf.acts)), buf.acts]
        return float(0.5 * ((new - buf.logp) ** 2).mean())


@wrong(
    "agent-kl-k3",
    tells="kl-from-exponential-log-ratios",
    stage="KL",
    kind="approximation",
    outcome="either",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class KlK3(Agent):
    """mean (r − 1 − log r)."""

    def kl(self, problem: Any, theta: Array) -> float:
        buf = self.collect(problem)
        new = self.forward(buf.obs, theta)[np.arange(len(buf.acts)), buf.acts]
        return float((np.expm1(new - buf.logp) - (new - buf.logp)).mean())


@wrong(
    "agent-cross-entropy-kl",
    tells="cross-entropy-for-kl",
    stage="KL",
    refutes="kl",
    spares=F,
    style=STYLE,
)
class CrossEntropyKl(Agent):
    """−Σ π_old log π_new."""

    def divergence(self, obs: Array, old: Array, new: Array) -> float:
        return float(-(np.exp(old) * new).sum(axis=1).mean())


@wrong(
    "agent-ten-iterations",
    tells="truncated-cg",
    stage=SOLVER,
    kind="approximation",
    refutes=X,
    spares=f"{G} {F}",
    style=STYLE,
)
class FourIterations(Agent):
    """cg_iters = 4."""

    def solve(self, problem: Any, g: Array) -> Array:
        x, r = np.zeros_like(g), g.copy()
        p, rho = g.copy(), float(g @ g)
        for _ in range(4):
            if rho < 1e-30 * float(g @ g):
                break
            q = self.fisher_vector_product(problem, p)
            a = rho / float(p @ q)
            x, r = x + a * p, r - a * q
            rho, old = float(r @ r), rho
            p = r + rho / old * p
        return x


@wrong(
    "agent-relative-tolerance",
    tells="cg-stopped-at-a-tolerance",
    stage=SOLVER,
    kind="approximation",
    outcome="either",
    refutes=X,
    spares=f"{G} {F}",
    style=STYLE,
)
class RelativeTolerance(Agent):
    """Stops at ‖r‖ < 0.05 ‖g‖."""

    def solve(self, problem: Any, g: Array) -> Array:
        x, r = np.zeros_like(g), g.copy()
        p, rho = g.copy(), float(g @ g)
        while rho > 0.0025 * float(g @ g):
            q = self.fisher_vector_product(problem, p)
            a = rho / float(p @ q)
            x, r = x + a * p, r - a * q
            rho, old = float(r @ r), rho
            p = r + rho / old * p
        return x


@wrong(
    "agent-damped-products",
    tells="damping",
    stage=SOLVER,
    kind="convention",
    refutes=f"{FV} {X}",
    spares=G,
    source="Spinning Up",
    style=STYLE,
)
class DampedProducts(Agent):
    """Hx + 0.02 x."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return super().fisher_vector_product(problem, vector) + 0.02 * vector


@wrong(
    "agent-plain-solve", tells="no-damping", stage=SOLVER, refutes=X, spares=f"{G} {F}", style=STYLE
)
class PlainSolve(Agent):
    """inv of a matrix that is singular by gauge."""

    def solve(self, problem: Any, g: Array) -> Array:
        return np.linalg.inv(self.fisher(problem)) @ g


@wrong(
    "agent-gradient-as-direction",
    tells="preconditioner-not-applied",
    stage=SOLVER,
    refutes=X,
    spares=f"{G} {F}",
    style=STYLE,
)
class GradientAsDirection(Agent):
    """return g"""

    def solve(self, problem: Any, g: Array) -> Array:
        return g


@wrong(
    "agent-learning-rate-max-kl",
    tells="const-lr-called-kl",
    stage="step rule",
    refutes=TR,
    spares=f"{G} {F} {X}",
    source="tianshou npg",
    style=STYLE,
)
class LearningRateMaxKl(Agent):
    """θ + max_kl · x."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        return np.asarray(problem.theta + max_kl * self.natural_gradient(problem))


@wrong(
    "agent-half-forgotten",
    tells="factor-two",
    stage="step rule",
    refutes=TR,
    spares=f"{G} {F} {X}",
    source="mips 41f43c2",
    style=STYLE,
)
class HalfForgotten(Agent):
    """shs without its ½."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        shs = float(x @ self.fisher_vector_product(problem, x))
        return np.asarray(problem.theta + (x * np.sqrt(max_kl / shs) if shs > 0 else 0.0))


@wrong(
    "agent-search-on-slack",
    tells="kl-slack-1.5",
    stage=SEARCH,
    kind="convention",
    outcome="either",
    refutes=TRS,
    spares=f"{G} {F}",
    style=STYLE,
)
class SearchOnSlack(Agent):
    """kl < 1.5 · max_kl."""

    def accept(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return super().accept(problem, theta, 1.5 * max_kl)


@wrong(
    "agent-search-without-gain",
    tells="surrogate-not-checked",
    stage=SEARCH,
    refutes=TRS,
    spares=f"{G} {F}",
    style=STYLE,
)
class SearchWithoutGain(Agent):
    """if kl < max_kl: break"""

    def accept(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return float(self.kl(problem, theta)) < max_kl


@wrong(
    "agent-search-blind",
    tells="line-search-overwritten",
    stage=SEARCH,
    outcome="either",
    refutes=TRS,
    spares=f"{G} {F}",
    style=STYLE,
)
class SearchBlind(Agent):
    """return self.trust_region_proposal(…)"""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        return self.trust_region_proposal(problem, max_kl)


@wrong(
    "agent-single-precision",
    tells="limited-accuracy",
    stage="glue",
    kind="approximation",
    refutes=f"{G} {F}",
    style=STYLE,
)
class SinglePrecision(Agent):
    """Everything goes through float32."""

    def forward(self, obs: Array, theta: Array) -> Array:
        z = obs.astype(np.float32) @ theta.astype(np.float32).reshape(obs.shape[1], -1)
        return np.asarray(z - np.logaddexp.reduce(z, axis=1, keepdims=True))


@wrong(
    "agent-sum-of-losses",
    tells="sum-in-g-mean-in-F",
    stage="glue",
    refutes=G,
    spares=F,
    style=STYLE,
)
class SumOfLosses(Agent):
    """loss.sum().backward()"""

    def policy_gradient(self, problem: Any) -> Array:
        return super().policy_gradient(problem) * len(problem.batch.actions)
