"""Planted mistakes of the step: its length, its sign, the line search, the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._rows import BatchSoftmax
from .registry import wrong

STEP = "step rule"
SEARCH = "line search"
PROPOSAL = "trust_region_proposal"
ACCEPTED = "trust_region_step"
LOWER = "natural_gradient fisher policy_gradient"


@wrong(
    "factor-two-in-the-length",
    tells="factor-two",
    stage=STEP,
    refutes=PROPOSAL,
    spares=LOWER,
    source="mips 41f43c2",
)
class FactorTwo(ExactSoftmax):
    """√(δ/xᵀFx): half the allowed divergence."""

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        return super().step_scale(problem, x, max_kl) / np.sqrt(2)


@wrong("no-square-root", tells="missing-square-root", stage=STEP, refutes=PROPOSAL, spares=LOWER)
class NoSquareRoot(ExactSoftmax):
    """2δ/xᵀFx without the root."""

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        return super().step_scale(problem, x, max_kl) ** 2


@wrong("euclidean-length", tells="euclidean-length", stage=STEP, refutes=PROPOSAL, spares=LOWER)
class EuclideanLength(ExactSoftmax):
    """√(2δ)/‖x‖: the metric is forgotten in the length."""

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        return float(np.sqrt(2 * max_kl) / (np.linalg.norm(x) + 1e-300))


@wrong(
    "max-kl-as-learning-rate",
    tells="const-lr-called-kl",
    stage=STEP,
    refutes=PROPOSAL,
    spares=LOWER,
    source="tianshou npg, read off public code",
)
class MaxKlAsRate(ExactSoftmax):
    """θ + δ·x: a constant rate that is called max_kl."""

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        return max_kl


@wrong(
    "trust-region-on-the-gradient",
    tells="preconditioner-not-applied|truncated-cg",
    stage=STEP,
    refutes=PROPOSAL,
    spares=LOWER,
)
class GradientProposal(ExactSoftmax):
    """The right length along the wrong direction, g."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        g = self.policy_gradient(problem)
        return np.asarray(problem.theta + self.step_scale(problem, g, max_kl) * g)


@wrong(
    "step-downhill",
    tells="step-downhill|ascent-descent-sign",
    stage=STEP,
    refutes=f"{PROPOSAL} {ACCEPTED}",
    spares=LOWER,
)
class Downhill(ExactSoftmax):
    """θ − αx, and a line search that only looks at the KL."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        return np.asarray(problem.theta - self.step_scale(problem, x, max_kl) * x)

    def accepts(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return self.kl(problem, theta) <= max_kl


@wrong(
    "damped-length",
    also="damping",
    tells="damped-length",
    stage=STEP,
    kind="convention",
    refutes=PROPOSAL,
    spares="fisher policy_gradient",
    source="Spinning Up",
)
class DampedLength(ExactSoftmax):
    """x and its length both with F + 0.1 I."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.1 * np.eye(len(g)), g)

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        curvature = float(x @ self.fisher_vector_product(problem, x) + 0.1 * x @ x)
        return float(np.sqrt(2 * max_kl / curvature)) if curvature > 0 else 0.0


@wrong(
    "length-from-unscaled-gradient",
    tells="scales-differ-between-quantities",
    also="damped-length",  # √(2δ/gᵀx) is the damped one where x is damped
    stage=STEP,
    refutes=PROPOSAL,
    spares="fisher",
)
class UnscaledGradientInLength(ExactSoftmax):
    """√(2δ/gᵀx) with g = ∇J and x from (1−γ)∇J: the two scales do not belong together."""

    def natural_gradient(self, problem: Any) -> Array:
        return (1 - problem.mdp.discount) * super().natural_gradient(problem)

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        gx = float(self.policy_gradient(problem) @ x)
        return float(np.sqrt(2 * max_kl / gx)) if gx > 0 else 0.0


@wrong(
    "update-returns-the-step",
    tells="update-returns-the-step",
    stage=STEP,
    refutes="update",
    spares=LOWER,
)
class ReturnsStep(ExactSoftmax):
    """update returns Δ where θ + Δ is asked."""

    def update(self, problem: Any, step_size: float) -> Array:
        return super().update(problem, step_size) - problem.theta


@wrong(
    "vanilla-update", tells="preconditioner-not-applied", stage=STEP, refutes="update", spares=LOWER
)
class VanillaUpdate(ExactSoftmax):
    """update follows g, natural_gradient is never called."""

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + step_size * self.policy_gradient(problem))


@wrong(
    "update-forgets-the-horizon",
    tells="scales-differ-between-quantities",
    stage=STEP,
    refutes="update",
    spares=LOWER,
)
class UpdateForgetsHorizon(ExactSoftmax):
    """natural_gradient has its 1/(1−γ), update has lost it."""

    def update(self, problem: Any, step_size: float) -> Array:
        shrunk = step_size * (1 - problem.mdp.discount)
        return np.asarray(problem.theta + shrunk * self.natural_gradient(problem))


@wrong(
    "exponentiated-q-without-eta",
    tells="step-size-ignored",
    stage=STEP,
    refutes="update",
    whole=True,
)
class ExponentiatedWithoutEta:
    """Multiplicative weights with exp(Q) for every step size."""

    families = frozenset({"tabular"})

    def update(self, problem: Any, step_size: float) -> Array:
        m = problem.mdp
        z = problem.theta.reshape(m.rewards.shape)
        pi = np.exp(z - z.max(axis=1, keepdims=True))
        pi /= pi.sum(axis=1, keepdims=True)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        Q = m.rewards + m.discount * m.transitions @ V
        return np.asarray((z + Q / (1 - m.discount)).ravel())


@wrong("train-starts-at-theta-zero", stage=STEP, refutes="train", spares="update")
class TrainStartsAtZero(ExactSoftmax):
    """train yields θ₀ … θ_{T−1}: the first is the start, the last is lost."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        yield np.array(problem.theta)
        yield from super().train(problem, iterations - 1, step_size)


@wrong("train-with-a-stale-direction", stage=STEP, refutes="train", spares="update")
class StaleDirection(ExactSoftmax):
    """The natural gradient is computed once and followed for ever."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        x = self.natural_gradient(problem)
        for t in range(1, iterations + 1):
            yield problem.theta + t * step_size * x


@wrong("train-with-decaying-steps", stage=STEP, refutes="train", spares="update")
class DecayingSteps(ExactSoftmax):
    """A step size of η/t hidden in the loop."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        for t in range(1, iterations + 1):
            theta = self.update(problem, step_size / t)
            yield theta
            problem = problem.at(theta)


@wrong("train-with-momentum", stage=STEP, refutes="train", spares="update")
class Momentum(ExactSoftmax):
    """Heavy-ball momentum of 0.9 left in the optimiser."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        velocity = np.zeros_like(problem.theta)
        for _ in range(iterations):
            velocity = 0.9 * velocity + self.natural_gradient(problem)
            theta = problem.theta + step_size * velocity
            yield theta
            problem = problem.at(theta)


@wrong("train-stops-early", stage=STEP, refutes="train", spares="update")
class StopsEarly(ExactSoftmax):
    """One iterate fewer than asked."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        yield from super().train(problem, iterations - 1, step_size)


@wrong(
    "kl-never-checked",
    tells="kl-not-checked",
    stage=SEARCH,
    kind="convention",
    outcome="either",
    refutes=ACCEPTED,
    spares=f"{LOWER} {PROPOSAL}",
)
class KlNeverChecked(ExactSoftmax):
    """The line search looks at the surrogate only."""

    def accepts(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return self.surrogate(problem, theta) >= self.surrogate(problem, problem.theta)


@wrong(
    "line-search-overwritten",
    tells="line-search-overwritten",
    stage=SEARCH,
    refutes=ACCEPTED,
    outcome="either",
    spares=f"{LOWER} {PROPOSAL}",
    source="modular_rl 46a6f9a",
)
class SearchOverwritten(ExactSoftmax):
    """The search runs, and then the full step is returned."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        super().trust_region_step(problem, max_kl)
        return self.trust_region_proposal(problem, max_kl)


@wrong(
    "line-search-on-kl-alone",
    tells="surrogate-not-checked",
    stage=SEARCH,
    refutes=ACCEPTED,
    spares=f"{LOWER} {PROPOSAL}",
)
class SearchOnKl(ExactSoftmax):
    """Backtracking by 0.5 until the KL is small enough; the surrogate is not looked at."""

    def accepts(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return self.kl(problem, theta) <= max_kl


@wrong(
    "kl-slack-1.5",
    tells="kl-slack-1.5",
    stage=SEARCH,
    kind="convention",
    outcome="either",
    refutes=ACCEPTED,
    spares=f"{LOWER} {PROPOSAL}",
    source="baselines",
)
class Slack(ExactSoftmax):
    """Accepts up to one and a half times max_kl."""

    def accepts(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return super().accepts(problem, theta, 1.5 * max_kl)


@wrong("search-accumulates", stage=SEARCH, refutes=ACCEPTED, spares=f"{LOWER} {PROPOSAL}")
class SearchAccumulates(ExactSoftmax):
    """Every rejected candidate becomes the start of the next one."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        theta = np.array(problem.theta)
        for k in range(12):
            theta = theta + 0.7**k * full
            if self.accepts(problem, theta, max_kl):
                break
        return theta


@wrong("search-never-accepts", stage=SEARCH, refutes=ACCEPTED, spares=f"{LOWER} {PROPOSAL}")
class NeverAccepts(ExactSoftmax):
    """The comparison is turned round, so every candidate is refused and θ never moves."""

    def accepts(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return self.kl(problem, theta) > max_kl and not super().accepts(problem, theta, max_kl)

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        for k in range(1, 10):
            candidate = problem.theta + 0.5**k * full
            if self.accepts(problem, candidate, max_kl):
                return np.asarray(candidate)
        return np.array(problem.theta)


@wrong(
    "search-along-the-gradient",
    tells="preconditioner-not-applied|truncated-cg",
    stage=SEARCH,
    refutes=ACCEPTED,
    spares=f"{LOWER} {PROPOSAL}",
)
class SearchAlongGradient(ExactSoftmax):
    """Backtracking starts from the natural step and shrinks along g."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        g = self.policy_gradient(problem)
        full = self.step_scale(problem, g, max_kl) * g
        for k in range(30):
            candidate = problem.theta + 0.5**k * full
            if self.accepts(problem, candidate, max_kl):
                return np.asarray(candidate)
        return np.array(problem.theta)


@wrong(
    "step-length-from-one-row",
    stage=STEP,
    refutes=PROPOSAL,
    spares="natural_gradient policy_gradient fisher",
)
class LengthFromOneRow(BatchSoftmax):
    """xᵀFx is taken on the first row of the batch only."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        row = problem.batch.observations[0]
        z = row @ problem.theta.reshape(len(row), -1)
        p = np.exp(z - np.logaddexp.reduce(z))
        u = row @ x.reshape(len(row), -1)
        curvature = float(p @ (u - p @ u) ** 2)
        return np.asarray(problem.theta + np.sqrt(2 * max_kl / (curvature + 1e-12)) * x)


@wrong(
    "search-starts-too-small",
    stage=SEARCH,
    outcome="either",
    refutes=ACCEPTED,
    spares=f"{LOWER} {PROPOSAL}",
)
class StartsTooSmall(ExactSoftmax):
    """Backtracking begins at a thousandth of the step, so that it never has to back off."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        return np.asarray(problem.theta + 1e-3 * full)


@wrong(
    "search-backs-off-too-late",
    stage=SEARCH,
    refutes=ACCEPTED,
    outcome="either",
    spares=f"{LOWER} {PROPOSAL}",
)
class BacksOffTooLate(ExactSoftmax):
    """Returns the candidate before the first one that is acceptable."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        last = problem.theta + 2.0 * full
        for k in range(30):
            candidate = problem.theta + 0.5**k * full
            if self.accepts(problem, candidate, max_kl):
                break
            last = candidate
        return np.asarray(last)
