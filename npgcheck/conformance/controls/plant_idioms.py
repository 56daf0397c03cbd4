"""Listed mistakes in common forms: clamps, returns that bootstrap, Q as critic, one clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._loops import Loops
from ._quadrature import GaussQuadrature
from .plant_episodes import StepByStep
from .registry import wrong

WEIGHTS = "state weighting"
RETURNS = "return and advantage"
SCORE = "score and objective"
PARAMETERS = "parametrisation"
G, F = "policy_gradient", "fisher"


@wrong(
    "quadrature-log-sigma-in-a-box",
    tells="log-std-clamped",
    stage=SCORE,
    refutes="log_prob score",
    style="quadrature",
)
class InABox(GaussQuadrature):
    """log σ is clipped to ±½ where θ is read."""

    def parameters(self, problem: Any, theta: Array) -> tuple[Array, Array]:
        W, log_std = super().parameters(problem, theta)
        return W, np.clip(log_std, -0.5, 0.5)


@wrong(
    "quadrature-sigma-with-a-floor",
    tells="log-std-clamped",
    stage=SCORE,
    refutes=f"log_prob {G}",
    style="quadrature",
)
class WithAFloor(GaussQuadrature):
    """σ is at least 0.6, and the floor is differentiated: no slope below it."""

    def moments(self, problem: Any, theta: Array, s: int) -> tuple[Array, Array]:
        mean, std = super().moments(problem, theta, s)
        return mean, np.array([max(0.6, each) for each in std])

    def phi(self, problem: Any, s: int, action: Array) -> Array:
        phi, m = super().phi(problem, s, action), problem.action_size
        for i in range(m):
            if np.exp(problem.theta[len(phi) - m + i]) < 0.6:
                phi[len(phi) - m + i] = 0.0
        return phi


@wrong(
    "quadrature-gradient-per-sigma",
    tells="score-in-another-sigma-coordinate",
    also="std-variance-confusion",  # √σ for σ makes the same of a quadratic reward
    stage=PARAMETERS,
    refutes=f"{G} natural_gradient",
    spares=F,
    style="quadrature",
)
class PerSigma(GaussQuadrature):
    """The gradient is one in σ; F stays in log σ."""

    def policy_gradient(self, problem: Any) -> Array:
        g, m = super().policy_gradient(problem), problem.action_size
        g[-m:] = [
            slope / np.exp(log) for slope, log in zip(g[-m:], problem.theta[-m:], strict=True)
        ]
        return g


@wrong(
    "quadrature-wider-is-better",
    tells="entropy-bonus-left-in",
    stage=SCORE,
    refutes=G,
    spares=F,
    style="quadrature",
)
class WiderIsBetter(GaussQuadrature):
    """The entropy Σ log σ is in the objective, times 0.05."""

    def policy_gradient(self, problem: Any) -> Array:
        bonus = np.zeros(problem.theta.size)
        bonus[-problem.action_size :] = 0.05
        return super().policy_gradient(problem) + bonus


@wrong(
    "quadrature-actions-ride-on-the-mean",
    tells="sampled-action-not-detached",
    stage=SCORE,
    refutes=f"{G} natural_gradient",
    spares=F,
    style="quadrature",
)
class RideOnTheMean(GaussQuadrature):
    """In the gradient alone the action moves with μ, so that its rows are zero."""

    def policy_gradient(self, problem: Any) -> Array:
        g = super().policy_gradient(problem)
        return np.where(np.arange(g.size) < g.size - problem.action_size, 0.0, g)


@wrong(
    "quadrature-in-bits",
    tells="log-base-two",
    stage=SCORE,
    refutes="log_prob kl",
    spares=f"score {F}",
    style="quadrature",
)
class InBits(GaussQuadrature):
    """The density's logarithm is taken to base two."""

    def density(self, problem: Any, theta: Array, s: int, action: Array) -> float:
        return float(np.log2(np.exp(super().density(problem, theta, s, action))))


@wrong(
    "loop-q-for-every-action",
    tells="action-weights-missing",
    stage=SCORE,
    refutes=G,
    spares=F,
    style="loops",
)
class QForEveryAction(Loops):
    """Σ_a Q φ: the probability of the action is left out, and Q is the critic."""

    def policy_gradient(self, problem: Any) -> Array:
        d, Q = self.state_distribution(problem), self.q_value(problem)
        g = np.zeros(problem.theta.size)
        for s, row in enumerate(Q):
            for a, value in enumerate(row):
                g += d[s] * value * self.phi(problem, s, a)
        return g / (1 - problem.mdp.discount)


@wrong(
    "loop-nine-tenths-throughout",
    tells="wrong-discount",
    stage=RETURNS,
    refutes=f"value state_distribution {G}",
    style="loops",
)
class NineTenthsThroughout(Loops):
    """γ = 0.9 in values and visits, and in the factor of the gradient."""

    def discount(self, problem: Any) -> float:
        return 0.9

    def horizon(self, problem: Any) -> int:
        return 400

    def state_distribution(self, problem: Any) -> Array:
        P, now, d = self.kernel(problem), problem.mdp.initial_distribution, 0.0
        for t in range(self.horizon(problem)):
            d, now = d + 0.1 * 0.9**t * now, now @ P
        return np.asarray(d)

    def policy_gradient(self, problem: Any) -> Array:
        return super().policy_gradient(problem) * (1 - problem.mdp.discount) / 0.1


@wrong(
    "loop-visits-of-37-steps",
    tells="horizon-cut-off",
    stage=WEIGHTS,
    kind="approximation",
    refutes=f"state_distribution {F}",
    spares="value",
    style="loops",
)
class Visits37(Loops):
    """The loop over time stops after 37 steps."""

    def state_distribution(self, problem: Any) -> Array:
        P, gamma = self.kernel(problem), problem.mdp.discount
        now, d = np.array(problem.mdp.initial_distribution), np.zeros(problem.num_states)
        for t in range(37):
            d, now = d + (1 - gamma) * gamma**t * now, P.T @ now
        return d


@wrong(
    "loop-q-looks-backwards",
    tells="transitions-transposed",
    stage=RETURNS,
    refutes=f"q_value {G}",
    spares="value",
    style="loops",
)
class QLooksBackwards(Loops):
    """Q alone is backed up along P[s′, a, s]."""

    def q_value(self, problem: Any) -> Array:
        V, m = self.value(problem), problem.mdp
        Q = np.array(m.rewards, dtype=float)
        for s, a in np.ndindex(*Q.shape):
            Q[s, a] += m.discount * sum(m.transitions[t, a, s] * V[t] for t in range(len(V)))
        return Q


@wrong(
    "loop-clip-grad-norm",
    tells="gradient-clipped",
    stage=SCORE,
    refutes=G,
    style="loops",
)
class ClipGradNorm(Loops):
    """The coefficient of torch.nn.utils.clip_grad_norm_, with a largest norm of 0.3."""

    def policy_gradient(self, problem: Any) -> Array:
        g = super().policy_gradient(problem)
        return g * min(0.3 / (float(np.sqrt(g @ g)) + 1e-6), 1.0)


def _to_go(rewards: Array, discount: float, tail: float) -> Array:
    """Returns from each step on; the tail stands for what a time limit cut off."""
    found = [tail]
    for reward in rewards[::-1]:
        found.append(reward + discount * found[-1])
    return np.array(found[:0:-1])


def _tail(episode: Any) -> float:
    return 0.0 if episode.terminated[-1] else float(episode.next_values[-1])


@wrong(
    "episodes-one-clock",
    tells="gamma-t-not-reset",
    stage=WEIGHTS,
    refutes=G,
    style="episodes",
)
class OneClock(StepByStep):
    """One counter for all trajectories: γ to its power, over the number of trajectories."""

    def policy_gradient(self, problem: Any) -> Array:
        g, weight = np.zeros(problem.theta.size), 1.0
        for episode in problem.episodes:
            for x, a, gain in zip(
                episode.observations, episode.actions, self.gains(episode), strict=True
            ):
                z = x @ problem.theta.reshape(len(x), -1)
                p = np.exp(z - z.max())
                g += weight * gain * self.direction(x, p / p.sum(), a)
                weight *= episode.discount
        return g / len(problem.episodes)


@wrong(
    "episodes-means-of-returns",
    tells="per-trajectory-mean",
    also="reward-to-go",
    stage=WEIGHTS,
    kind="convention",
    refutes=G,
    style="episodes",
)
class MeansOfReturns(StepByStep):
    """Each trajectory's mean of φ (G − V), then the mean over trajectories."""

    def weight(self, episode: Any, t: int) -> float:
        return 1.0 / len(episode.rewards)

    def gains(self, episode: Any) -> Array:
        return _to_go(episode.rewards, episode.discount, _tail(episode)) - episode.values


@wrong(
    "episodes-rewards-come-late",
    tells="reward-of-the-next-step",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style="episodes",
)
class RewardsComeLate(StepByStep):
    """The residual of step t takes the reward of step t + 1."""

    def gains(self, episode: Any) -> Array:
        late = np.concatenate([episode.rewards[1:], [0.0]])
        return np.asarray(late + episode.discount * episode.next_values - episode.values)


@wrong(
    "episodes-plain-sum-with-a-tail",
    tells="undiscounted-reward-to-go",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style="episodes",
)
class PlainSum(StepByStep):
    """Rewards are summed without γ, and V stands for what a time limit cut off."""

    def gains(self, episode: Any) -> Array:
        return _to_go(episode.rewards, 1.0, _tail(episode))


@wrong(
    "episodes-residuals-of-clipped-rewards",
    tells="clipped-rewards",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style="episodes",
)
class ClippedResiduals(StepByStep):
    """Rewards beyond ±½ are cut off before the residual is formed."""

    def gains(self, episode: Any) -> Array:
        r = np.minimum(np.maximum(episode.rewards, -0.5), 0.5)
        return np.asarray(r + episode.discount * episode.next_values - episode.values)


@wrong(
    "episodes-first-return-for-all",
    tells="whole-return|discounted-from-the-start|gamma-t-twice",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style="episodes",
)
class FirstReturnForAll(StepByStep):
    """Every step is credited with the return of its trajectory, which ends in V at a limit."""

    def gains(self, episode: Any) -> Array:
        whole = _to_go(episode.rewards, episode.discount, _tail(episode))[0]
        return np.array([whole for _ in episode.rewards])


@wrong(
    "episodes-baseline-minus-return",
    tells="advantage-negated|negative-score|ascent-descent-sign",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style="episodes",
)
class BaselineMinusReturn(StepByStep):
    """V − Q where Q − V belongs."""

    def gains(self, episode: Any) -> Array:
        return np.array([-gain for gain in episode.advantages])
