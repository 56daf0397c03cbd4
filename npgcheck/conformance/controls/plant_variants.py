"""Known mistakes spelled out in another way: stopped at a tolerance, step by step, of length h."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._gaussian import ExactGaussian
from ._quadrature import GaussQuadrature
from .plant_gae import ForwardSums
from .registry import wrong

STYLE = "other spellings"
STAGE = "return and advantage"
APPROXIMATE: Any = {"kind": "approximation", "outcome": "deviates", "style": STYLE}
TOLERANCE = "value-sweeps-stopped-at-a-tolerance"


class _Sweeps(ExactSoftmax):
    """Iterative policy evaluation, as in textbooks."""

    theta_small = 1e-3

    def value(self, problem: Any) -> Array:
        chain, rewards = self.chain(problem), self.mean_reward(problem)
        old = np.zeros(problem.num_states)
        for _ in range(10_000):
            new = rewards + problem.mdp.discount * chain @ old
            if max(abs(new - old)) < self.theta_small:
                return self.last(old, new)
            old = new
        return old

    def last(self, old: Array, new: Array) -> Array:
        return new


@wrong("sweeps-until-1e-3", tells=TOLERANCE, stage=STAGE, refutes="value",
       **APPROXIMATE)  # fmt: skip
class SweepsUntil(_Sweeps):
    """The newest V is returned."""


@wrong("sweeps-until-5e-5-the-older", tells=TOLERANCE, stage=STAGE, refutes="value",
       **APPROXIMATE)  # fmt: skip
class SweepsUntilTheOlder(_Sweeps):
    """The loop is left before the newest V is kept."""

    theta_small = 5e-5

    def last(self, old: Array, new: Array) -> Array:
        return old


@wrong("sweeps-in-place-until-1e-2", tells=TOLERANCE, stage=STAGE, refutes="value",
       **APPROXIMATE)  # fmt: skip
class SweepsInPlace(ExactSoftmax):
    """Every state reads what the sweep has already changed."""

    def value(self, problem: Any) -> Array:
        chain, rewards = self.chain(problem), self.mean_reward(problem)
        v = [0.0] * problem.num_states
        for _ in range(10_000):
            change = 0.0
            for s, before in enumerate(v):
                v[s] = rewards[s] + problem.mdp.discount * float(chain[s] @ v)
                change = max(change, abs(v[s] - before))
            if change < 1e-2:
                break
        return np.array(v)


@wrong("objective-over-all-visits", tells="objective-over-the-occupancy",
       stage="score and objective", refutes="objective", style=STYLE)  # fmt: skip
class ObjectiveOverAllVisits(ExactSoftmax):
    """Σ_s Σ_t γᵗ Pr(s_t = s) V(s): the visits are not normalised."""

    def objective(self, problem: Any) -> float:
        visits = self.state_distribution(problem) / (1 - problem.mdp.discount)
        return float(visits @ self.value(problem))


@wrong("gae-plus-the-next-value", tells="gae-returns-added", stage=STAGE,
       refutes="advantage_estimate", style=STYLE)  # fmt: skip
class GaePlusTheNextValue(ForwardSums):
    """A target made with V(s′)."""

    def advantage_estimate(self, *args: Any) -> Array:
        return super().advantage_estimate(*args) + args[2]


@wrong("gae-last-row-forgotten", tells="last-step-left-at-zero", stage=STAGE,
       refutes="advantage_estimate", style=STYLE)  # fmt: skip
class GaeLastRowForgotten(ForwardSums):
    """An array of zeros that is filled up to the last row, which the others do see."""

    def advantage_estimate(self, *args: Any) -> Array:
        found = super().advantage_estimate(*args)
        found[-1] = 0.0
        return found


@wrong("gae-last-of-every-episode", tells="last-step-left-at-zero", stage=STAGE,
       refutes="advantage_estimate", style=STYLE)  # fmt: skip
class GaeLastOfEveryEpisode(ForwardSums):
    """Episodes one by one, each of them without its last residual."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        found = super().residual(r, v, after, terminated, truncated, gamma)
        last = terminated | truncated
        return np.where(np.append(last[:-1], True), 0.0, found)


@wrong("kl-root-of-every-state", tells="kl-square-root", stage="KL", refutes="kl",
       style=STYLE)  # fmt: skip
class KlRootOfEveryState(ExactSoftmax):
    """Σ_s d(s) √KL(s)."""

    def kl(self, problem: Any, theta: Array) -> float:
        p, q = self.pi(problem), self.pi(problem, theta)
        each = (p * (np.log(p) - np.log(q))).sum(axis=1)
        return float(self.kl_weights(problem) @ np.sqrt(each.clip(0)))


@wrong("value-head-beside-mu", tells="joint-actor-critic-fisher", stage="Fisher definition",
       refutes="fisher", **APPROXIMATE)  # fmt: skip
class ValueHeadBesideMu(ExactGaussian):
    """A critic that reads the mean of μ adds its Gauss–Newton matrix."""

    def fisher(self, problem: Any) -> Array:
        F, m = super().fisher(problem), problem.action_size
        for x, d in zip(problem.observations, self.state_distribution(problem), strict=True):
            slope = np.append(np.repeat(x, m) / m, np.zeros(m))
            F = F + d * np.outer(slope, slope)
        return F


@wrong("gradient-times-itself", tells="outer-product-of-the-mean-gradient",
       stage="Fisher definition", refutes="fisher", style=STYLE)  # fmt: skip
class GradientTimesItself(GaussQuadrature):
    """∇J ∇Jᵀ, horizon and all."""

    def fisher(self, problem: Any) -> Array:
        g = self.policy_gradient(problem)
        return g[:, None] * g[None, :]


@wrong("product-by-a-step-of-length-h", tells="finite-difference-eps", also="limited-accuracy",
       stage="Fisher definition", refutes="fisher_vector_product", **APPROXIMATE)  # fmt: skip
class ProductByAStepOfLengthH(ExactGaussian):
    """(∇KL(θ + hv/‖v‖) − ∇KL(θ))‖v‖/h with h = 1e-3."""

    def slope(self, problem: Any, theta: Array) -> Array:
        (W, s), (U, t) = (self.unpack(problem, x) for x in (problem.theta, theta))
        X, d = problem.observations, self.state_distribution(problem)
        gap, variance = X @ (U - W), np.exp(2 * t)
        means = X.T @ (d[:, None] * gap / variance)
        widths = 1 - (np.exp(2 * s) + d @ gap**2) / variance
        return np.concatenate([means.ravel(), widths])

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        length = np.linalg.norm(vector)
        if not length:
            return 0.0 * vector
        step = 1e-3 / length
        after = self.slope(problem, problem.theta + step * vector)
        return (after - self.slope(problem, problem.theta)) / step
