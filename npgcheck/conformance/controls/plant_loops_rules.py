"""Mistakes planted in loops: updates, step lengths, line searches, the order of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._loops import Loops
from .registry import wrong

STYLE = "loops"
STEP = "step rule"
SEARCH = "line search"
GLUE = "glue"
G, F, X = "policy_gradient", "fisher", "natural_gradient"
LOWER = f"{G} {F} {X}"
TR, TRS = "trust_region_proposal", "trust_region_step"


@wrong(
    "loop-no-root", tells="missing-square-root", stage=STEP, refutes=TR, spares=LOWER, style=STYLE
)
class NoRoot(Loops):
    """2δ/xᵀFx."""

    def step_length(self, F: Array, g: Array, x: Array, max_kl: float) -> float:
        return super().step_length(F, g, x, max_kl) ** 2


@wrong(
    "loop-root-upside-down",
    tells="length-upside-down",
    stage=STEP,
    refutes=TR,
    spares=LOWER,
    style=STYLE,
)
class RootUpsideDown(Loops):
    """√(xᵀFx/2δ), the Lagrange multiplier, where its inverse belongs."""

    def step_length(self, F: Array, g: Array, x: Array, max_kl: float) -> float:
        length = super().step_length(F, g, x, max_kl)
        return 1 / length if length > 0 else 0.0


@wrong(
    "loop-euclidean", tells="euclidean-length", stage=STEP, refutes=TR, spares=LOWER, style=STYLE
)
class Euclidean(Loops):
    """√(2δ/xᵀx)."""

    def step_length(self, F: Array, g: Array, x: Array, max_kl: float) -> float:
        return super().step_length(np.eye(len(x)), g, x, max_kl)


@wrong("loop-half-length", tells="factor-two", stage=STEP, refutes=TR, spares=LOWER, style=STYLE)
class HalfLength(Loops):
    """√(δ/xᵀFx)."""

    def step_length(self, F: Array, g: Array, x: Array, max_kl: float) -> float:
        return super().step_length(F, g, x, max_kl) / float(np.sqrt(2))


@wrong("loop-rate", tells="const-lr-called-kl", stage=STEP, refutes=TR, spares=LOWER, style=STYLE)
class Rate(Loops):
    """return max_kl."""

    def step_length(self, F: Array, g: Array, x: Array, max_kl: float) -> float:
        return max_kl


@wrong(
    "loop-minus",
    tells="step-downhill|ascent-descent-sign",
    stage=STEP,
    refutes=TR,
    spares=LOWER,
    style=STYLE,
)
class Minus(Loops):
    """θ − αx, a minimiser's sign."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        return np.asarray(2 * problem.theta - super().trust_region_proposal(problem, max_kl))


@wrong(
    "loop-damped-length",
    tells="damped-length",
    also="damping",
    stage=STEP,
    kind="convention",
    refutes=TR,
    spares=f"{G} {F}",
    style=STYLE,
)
class DampedLength(Loops):
    """x and its length with F + 0.05 I."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.05 * np.eye(len(g)), g)

    def step_length(self, F: Array, g: Array, x: Array, max_kl: float) -> float:
        return super().step_length(F + 0.05 * np.eye(len(g)), g, x, max_kl)


@wrong(
    "loop-update-delta",
    tells="update-returns-the-step",
    stage=STEP,
    refutes="update",
    spares=LOWER,
    style=STYLE,
)
class UpdateDelta(Loops):
    """return step_size * x."""

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(step_size * self.natural_gradient(problem))


@wrong(
    "loop-update-unit-step",
    tells="step-size-fixed|step-size-ignored",
    stage=STEP,
    refutes="update",
    spares=LOWER,
    style=STYLE,
)
class UpdateUnitStep(Loops):
    """θ + 0.1 x, a learning rate from the configuration."""

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + 0.1 * self.natural_gradient(problem))


@wrong(
    "loop-update-squared-step",
    tells="step-size-squared",
    stage=STEP,
    refutes="update",
    spares=LOWER,
    style=STYLE,
)
class UpdateSquaredStep(Loops):
    """The step size is applied by the solver and by the update."""

    def update(self, problem: Any, step_size: float) -> Array:
        x = step_size * self.natural_gradient(problem)
        return np.asarray(problem.theta + step_size * x)


@wrong(
    "loop-update-divided",
    tells="step-size-divided",
    stage=STEP,
    refutes="update",
    spares=LOWER,
    style=STYLE,
)
class UpdateDivided(Loops):
    """x / η: η was taken for a penalty."""

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + self.natural_gradient(problem) / step_size)


@wrong(
    "loop-update-halved",
    tells="update-factor-two",
    stage=STEP,
    refutes="update",
    spares=LOWER,
    style=STYLE,
)
class UpdateHalved(Loops):
    """θ + ½ηx."""

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + 0.5 * step_size * self.natural_gradient(problem))


@wrong(
    "loop-update-decay",
    tells="update-decays-theta",
    stage=STEP,
    refutes="update",
    spares=LOWER,
    style=STYLE,
)
class UpdateDecay(Loops):
    """0.99 θ + ηx: weight decay in the optimiser."""

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(0.99 * problem.theta + step_size * self.natural_gradient(problem))


@wrong(
    "loop-search-without-kl",
    tells="kl-not-checked",
    stage=SEARCH,
    kind="convention",
    outcome="either",
    refutes=TRS,
    spares=f"{G} {F} {TR}",
    style=STYLE,
)
class SearchWithoutKl(Loops):
    """Only the improvement is looked at."""

    def accept(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return self.surrogate(problem, theta) > self.surrogate(problem, problem.theta)


@wrong(
    "loop-search-without-gain",
    tells="surrogate-not-checked",
    stage=SEARCH,
    refutes=TRS,
    spares=f"{G} {F} {TR}",
    style=STYLE,
)
class SearchWithoutGain(Loops):
    """while kl > max_kl: step /= 2"""

    def accept(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return self.kl(problem, theta) <= max_kl


@wrong(
    "loop-search-with-slack",
    tells="kl-slack-1.5",
    stage=SEARCH,
    kind="convention",
    outcome="either",
    refutes=TRS,
    spares=f"{G} {F} {TR}",
    source="baselines",
    style=STYLE,
)
class SearchWithSlack(Loops):
    """if kl > 1.5 * max_kl: continue."""

    def accept(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return super().accept(problem, theta, 1.5 * max_kl)


@wrong(
    "loop-search-forgotten",
    tells="line-search-overwritten",
    stage=SEARCH,
    outcome="either",
    refutes=TRS,
    spares=f"{G} {F} {TR}",
    source="modular_rl 46a6f9a",
    style=STYLE,
)
class SearchForgotten(Loops):
    """theta = search(…) and then theta = theta_old + full_step."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        theta = super().trust_region_step(problem, max_kl)
        theta = self.trust_region_proposal(problem, max_kl)
        return theta


@wrong(
    "loop-gradient-of-loss",
    tells="ascent-descent-sign|negative-score|advantage-negated|gradient-of-the-loss",
    stage=GLUE,
    refutes=f"{G} {X} update",
    spares=F,
    style=STYLE,
)
class GradientOfLoss(Loops):
    """Rewards are taken for costs in the gradient alone."""

    def critic(self, problem: Any) -> Array:
        return -self.advantage(problem)


@wrong(
    "loop-horizon-twice",
    tells="horizon-factor-twice",
    stage=GLUE,
    refutes=f"{G} {X}",
    spares=F,
    style=STYLE,
)
class HorizonTwice(Loops):
    """Visits that sum to 1/(1−γ), divided by 1 − γ again."""

    def gradient_states(self, problem: Any) -> Array:
        return self.state_distribution(problem) / (1 - problem.mdp.discount)


@wrong(
    "loop-extra-gamma",
    tells="gradient-factor-gamma|reward-discounted-once-more",
    stage=GLUE,
    refutes=G,
    spares=F,
    style=STYLE,
)
class ExtraGamma(Loops):
    """The first step is counted at t = 1: γ too often in g."""

    def gradient_states(self, problem: Any) -> Array:
        return self.state_distribution(problem) * problem.mdp.discount


@wrong(
    "loop-mean-and-sum-over-states",
    tells="gradient-scaled-by-states",
    stage=GLUE,
    refutes=G,
    spares=F,
    style=STYLE,
)
class MeanAndSum(Loops):
    """np.mean over states of terms that d has weighed already: 1/S too much."""

    def policy_gradient(self, problem: Any) -> Array:
        return super().policy_gradient(problem) / problem.num_states


@wrong(
    "loop-detached",
    tells="gradient-zero",
    stage=GLUE,
    refutes=G,
    spares=F,
    style=STYLE,
)
class Detached(Loops):
    """The gradient buffer is returned before anything was written into it."""

    def policy_gradient(self, problem: Any) -> Array:
        super().policy_gradient(problem)
        return np.zeros(problem.theta.size)


@wrong(
    "loop-action-major",
    tells="order-or-transpose",
    stage="parametrisation",
    refutes=f"score {G}",
    spares="log_prob value",
    style=STYLE,
)
class ActionMajor(Loops):
    """Derivatives are collected action by action, θ is laid out feature by feature."""

    def phi(self, problem: Any, s: int, a: int) -> Array:
        p = self.probabilities(problem, problem.theta, s)
        return np.kron(np.eye(len(p))[a] - p, problem.observations[s])


@wrong(
    "loop-last-action-pinned",
    tells="last-action-fixed",
    stage="parametrisation",
    refutes=f"score {F}",
    spares="log_prob",
    style=STYLE,
)
class LastActionPinned(Loops):
    """The last action's preference is held at a reference: its derivatives are zero."""

    def phi(self, problem: Any, s: int, a: int) -> Array:
        phi = super().phi(problem, s, a).reshape(-1, problem.num_actions)
        phi[:, -1] = 0.0
        return phi.ravel()


@wrong(
    "loop-clipped-norm",
    tells="gradient-clipped",
    stage="score and objective",
    refutes=G,
    spares=F,
    style=STYLE,
)
class ClippedNorm(Loops):
    """clip_grad_norm(g, 1.0) before it is returned."""

    def policy_gradient(self, problem: Any) -> Array:
        g = super().policy_gradient(problem)
        return np.asarray(g * min(1.0, 1.0 / (float(np.linalg.norm(g)) + 1e-300)))


@wrong(
    "loop-unit-gradient",
    tells="gradient-normalised",
    stage="score and objective",
    refutes=G,
    spares=F,
    style=STYLE,
)
class UnitGradient(Loops):
    """g / ‖g‖."""

    def policy_gradient(self, problem: Any) -> Array:
        g = super().policy_gradient(problem)
        norm = float(np.linalg.norm(g))
        return g / norm if norm > 0 else g
