"""Mistakes that are in nobody's list: of these only facts may be told, never a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._agent import Agent, Buffer
from ._exact import Array, ExactSoftmax
from ._gaussian import ExactGaussian
from ._loops import Loops
from .plant_cg import Stateful
from .plant_gae import ForwardSums
from .registry import wrong

STYLE = "unlisted"
G, F, X = "policy_gradient", "fisher", "natural_gradient"
TR, TRS = "trust_region_proposal", "trust_region_step"


@wrong("values-rectified", stage="return and advantage", refutes="value q_value", style=STYLE)
class ValuesRectified(Loops):
    """The value head ends in a ReLU: negative values come out as zero."""

    def value(self, problem: Any) -> Array:
        return np.maximum(super().value(problem), 0.0)


@wrong("observations-rounded", stage="score and objective", refutes=f"log_prob {F}", style=STYLE)
class ObservationsRounded(ExactSoftmax):
    """Observations are stored with one decimal to save memory."""

    families = frozenset({"softmax"})

    def action_logits(self, problem: Any, theta: Array) -> Array:
        X = np.round(problem.observations, 1)
        return np.asarray(X @ theta.reshape(X.shape[1], problem.num_actions))


@wrong("every-third-coordinate-frozen", stage="glue", refutes=G, spares=F, style=STYLE)
class EveryThirdFrozen(Agent):
    """A pruning mask is left on the gradient."""

    def policy_gradient(self, problem: Any) -> Array:
        g = super().policy_gradient(problem)
        g[::3] = 0.0
        return g


@wrong(
    "advantages-scaled-per-state",
    stage="return and advantage",
    refutes=G,
    spares=f"advantage {F}",
    style=STYLE,
)
class ScaledPerState(ExactSoftmax):
    """Each state's advantages are divided by their own spread over actions."""

    def critic(self, problem: Any) -> Array:
        adv = self.advantage(problem)
        return np.asarray(adv / (adv.std(axis=1, keepdims=True) + 1e-3))


@wrong(
    "fisher-of-slightly-older-parameters",
    tells="kl-not-at-coincidence",
    stage="Fisher definition",
    refutes=F,
    spares=G,
    style=STYLE,
)
class OlderParameters(Agent):
    """The curvature is refreshed every tenth update: it belongs to other parameters."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        older = problem.theta - 0.05 * np.cos(np.arange(problem.theta.size))
        return self.product(self.collect(problem).obs, older, vector)


@wrong("kl-of-floored-probabilities", stage="KL", refutes="kl", spares=F, style=STYLE)
class FlooredProbabilities(Loops):
    """Probabilities below a twentieth are raised to it, and the rest renormalised."""

    def kl(self, problem: Any, theta: Array) -> float:
        d, total = self.kl_states(problem), 0.0
        for s in range(problem.num_states):
            p, q = (
                np.maximum(self.probabilities(problem, t, s), 0.05) for t in (problem.theta, theta)
            )
            total += d[s] * float((p / p.sum()) @ np.log(p / p.sum() / (q / q.sum())))
        return total


@wrong("kl-to-the-uniform-policy", stage="KL", refutes="kl", spares=F, style=STYLE)
class KlToUniform(ExactSoftmax):
    """KL(π_θ ‖ uniform): the entropy regulariser's divergence."""

    def kl(self, problem: Any, theta: Array) -> float:
        logp = self.log_pi(problem, theta)
        inner = (np.exp(logp) * (logp + np.log(problem.num_actions))).sum(axis=1)
        return float(self.kl_weights(problem) @ inner)


@wrong(
    "sign-of-the-gradient", stage="solver and damping", refutes=X, spares=f"{G} {F}", style=STYLE
)
class SignOfGradient(ExactSoftmax):
    """Adam with no memory: x = g/|g|, coordinate by coordinate."""

    def solve(self, F: Array, g: Array) -> Array:
        return np.where(np.abs(g) > 1e-12, np.sign(g), 0.0)


@wrong(
    "chain-sticks",
    stage="state weighting",
    refutes=f"state_distribution {F}",
    spares="score",
    style=STYLE,
)
class ChainSticks(ExactSoftmax):
    """Frame skip with sticky actions: a tenth of all steps stay where they are."""

    def chain(self, problem: Any) -> Array:
        return 0.9 * super().chain(problem) + 0.1 * np.eye(problem.num_states)


@wrong(
    "shaping-without-the-old-potential",
    stage="return and advantage",
    refutes="value q_value",
    spares=f"score {F}",
    style=STYLE,
)
class ShapingOneSided(ExactSoftmax):
    """r + γΦ(s′), and −Φ(s) is forgotten."""

    def shaped(self, problem: Any) -> Array:
        potential = np.linspace(0.0, 1.0, problem.num_states)
        m = problem.mdp
        return np.asarray(m.rewards + m.discount * m.transitions @ potential)

    def mean_reward(self, problem: Any) -> Array:
        return np.asarray((self.pi(problem) * self.shaped(problem)).sum(axis=1))

    def q_value(self, problem: Any) -> Array:
        m = problem.mdp
        return np.asarray(self.shaped(problem) + m.discount * (m.transitions @ self.value(problem)))


@wrong(
    "price-of-every-step",
    stage="return and advantage",
    refutes="value objective",
    spares=f"advantage {F}",
    style=STYLE,
)
class PriceOfEveryStep(ExactSoftmax):
    """A time penalty of 0.03 for every step is left in the reward."""

    def mean_reward(self, problem: Any) -> Array:
        return super().mean_reward(problem) - 0.03

    def q_value(self, problem: Any) -> Array:
        return super().q_value(problem) - 0.03


@wrong(
    "logits-with-frozen-noise",
    stage="score and objective",
    refutes=f"log_prob score {F}",
    style=STYLE,
)
class FrozenNoise(ExactSoftmax):
    """Gumbel noise of sampling is added to the logits that are scored, seeded and all."""

    def action_logits(self, problem: Any, theta: Array) -> Array:
        z = super().action_logits(problem, theta)
        return z + 0.3 * np.random.default_rng(5).gumbel(size=z.shape)


@wrong("trust-region-per-parameter", stage="step rule", refutes=TR, spares=f"{X} {F}", style=STYLE)
class PerParameter(ExactSoftmax):
    """δ is meant for each of the D parameters: √(2δD/xᵀFx)."""

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        return super().step_scale(problem, x, max_kl * problem.theta.size)


@wrong("coordinates-clipped", stage="step rule", refutes="update", spares=f"{X} {F}", style=STYLE)
class CoordinatesClipped(ExactSoftmax):
    """Each coordinate of the step is clipped to ±0.05."""

    def update(self, problem: Any, step_size: float) -> Array:
        step = np.clip(step_size * self.natural_gradient(problem), -0.05, 0.05)
        return np.asarray(problem.theta + step)


@wrong("implicit-looking-step", stage="step rule", refutes="update", spares=f"{X} {F}", style=STYLE)
class ImplicitLooking(ExactSoftmax):
    """θ + η/(1 + η) x, a proximal formula where the plain one is asked."""

    def update(self, problem: Any, step_size: float) -> Array:
        return super().update(problem, step_size / (1 + step_size))


@wrong(
    "solved-state-by-state", stage="solver and damping", refutes=X, spares=f"{G} {F}", style=STYLE
)
class SolvedStateByState(Loops):
    """The mean over states of F_s⁺ g_s: the inverse of a mean is no mean of inverses."""

    families = frozenset({"softmax"})

    def natural_gradient(self, problem: Any) -> Array:
        d, adv, x = self.state_distribution(problem), self.advantage(problem), 0.0
        for s in range(problem.num_states):
            p = self.probabilities(problem, problem.theta, s)
            phi = np.array([self.phi(problem, s, a) for a in range(problem.num_actions)])
            block = phi.T @ (p[:, None] * phi)
            x = x + d[s] * np.linalg.pinv(block, rcond=1e-11) @ (phi.T @ (p * adv[s]))
        return np.asarray(x / (1 - problem.mdp.discount))


@wrong("fisher-weighted-by-value", stage="Fisher definition", refutes=F, spares=G, style=STYLE)
class WeightedByValue(Loops):
    """Prioritised replay in the curvature: states weigh d(s)|V(s)|."""

    def fisher_states(self, problem: Any) -> Array:
        return self.state_distribution(problem) * (0.1 + np.abs(self.value(problem)))


@wrong(
    "occupancy-sorted",
    stage="state weighting",
    refutes=f"state_distribution {F}",
    spares="value",
    style=STYLE,
)
class OccupancySorted(ExactSoftmax):
    """np.unique returns counts in another order than the states."""

    def state_distribution(self, problem: Any) -> Array:
        return np.sort(super().state_distribution(problem))


@wrong(
    "objective-of-the-first-state",
    stage="score and objective",
    refutes="objective",
    spares=f"value {F}",
    style=STYLE,
)
class ObjectiveOfFirst(ExactSoftmax):
    """V[0], as if every episode began there."""

    def objective(self, problem: Any) -> float:
        return float(self.value(problem)[0])


@wrong("critic-with-lag", stage="return and advantage", refutes=G, spares=F, style=STYLE)
class CriticWithLag(Agent):
    """Advantages are mixed with those of the neighbouring row by a moving average."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray(0.7 * buf.adv + 0.3 * np.roll(buf.adv, 1))


@wrong(
    "search-takes-the-best-of-few",
    stage="line search",
    refutes=TRS,
    spares=f"{TR} {F}",
    outcome="either",
    style=STYLE,
)
class BestOfFew(ExactSoftmax):
    """Fractions ⅓ and ⅒ only are tried, and the better one is returned."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        full = self.trust_region_proposal(problem, max_kl) - problem.theta
        points = [problem.theta + f * full for f in (1 / 3, 1 / 10)]
        return np.asarray(max(points, key=lambda t: self.surrogate(problem, t)))


@wrong("iterates-averaged", stage="step rule", refutes="train", spares=F, style=STYLE)
class IteratesAveraged(ExactSoftmax):
    """train yields Polyak averages of the iterates."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Any:
        mean = np.zeros_like(problem.theta)
        for count, theta in enumerate(super().train(problem, iterations, step_size), start=1):
            mean = mean + (theta - mean) / count
            yield mean


@wrong("gae-clipped", stage="return and advantage", refutes="advantage_estimate", style=STYLE)
class GaeClipped(ForwardSums):
    """Residuals are clipped to [−½, ½] before they are summed."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return np.clip(super().residual(r, v, after, terminated, truncated, gamma), -0.5, 0.5)


@wrong(
    "gae-half-of-the-next", stage="return and advantage", refutes="advantage_estimate", style=STYLE
)
class GaeHalfNext(ForwardSums):
    """Two value heads, and their mean with the old value: δ uses ½(V(s) + V(s′))."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return super().residual(r, v, 0.5 * (after + v), terminated, truncated, gamma)


@wrong(
    "cg-restarts-too-often", stage="solver and damping", refutes="conjugate_gradient", style=STYLE
)
class RestartsTooOften(Stateful):
    """Every second direction is the residual again."""

    def beta(self, before: float) -> float:
        self.count = 1 - getattr(self, "count", 0)
        return self.rho / before if self.count else 0.0

    def conjugate_gradient(
        self, matvec: Callable[[Array], Array], b: Array, iterations: int
    ) -> Array:
        self.count = 0
        return super().conjugate_gradient(matvec, b, iterations)


@wrong(
    "cg-noise-with-the-residual-of-zero",
    stage="solver and damping",
    refutes="conjugate_gradient",
    style=STYLE,
)
class NoiseWithOldResidual(Stateful):
    """Starts at noise and computes as if it had started at zero."""

    def result(self) -> Array:
        return self.x + 0.1 * np.cos(np.arange(len(self.x)))


@wrong(
    "sigma-shrunk-for-evaluation", stage="parametrisation", refutes="log_prob score", style=STYLE
)
class SigmaShrunk(ExactGaussian):
    """The evaluation policy has nine tenths of the training σ."""

    def unpack(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        W, log_std = super().unpack(problem, theta)
        return W, log_std + np.log(0.9)


@wrong("dimensions-correlated", stage="Fisher definition", refutes=F, spares=f"{G} kl", style=STYLE)
class DimensionsCorrelated(ExactGaussian):
    """A correlation of one half between action dimensions that the policy does not have."""

    def fisher(self, problem: Any) -> Array:
        X, d, m = problem.observations, self.state_distribution(problem), problem.action_size
        scale = np.sqrt(self.precision(problem))
        correlated = np.outer(scale, scale) * (0.5 + 0.5 * np.eye(m))
        F = super().fisher(problem)
        n = X.shape[1] * m
        F[:n, :n] = np.kron(X.T @ (d[:, None] * X), correlated)
        return F
