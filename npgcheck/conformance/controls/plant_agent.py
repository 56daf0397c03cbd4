"""Mistakes planted in an agent with a buffer: critics, losses, products, solves, searches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._agent import Agent, Buffer
from ._exact import Array
from .registry import right, wrong

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

right("agent-with-a-buffer", style=STYLE)(Agent)


@wrong(
    "agent-row-index-as-time",
    tells="rows-weighted-as-time|gamma-t-not-reset",
    stage=WEIGHTS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class RowIndexAsTime(Agent):
    """γⁱ for row i of a shuffled buffer."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray(buf.adv * buf.gamma ** np.arange(len(buf.adv)))


@wrong(
    "agent-normalises",
    tells="normalised-advantages",
    also="limited-accuracy limited-range",
    stage=RETURNS,
    kind="convention",
    outcome="either",
    refutes=G,
    spares=F,
    style=STYLE,
)
class Normalises(Agent):
    """(A − mean) / std, numpy's std."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray((buf.adv - buf.adv.mean()) / buf.adv.std())


@wrong(
    "agent-normalises-ddof",
    tells="normalised-advantages-sample-std",
    also="limited-accuracy limited-range",
    stage=RETURNS,
    kind="convention",
    outcome="either",
    refutes=G,
    spares=F,
    source="tianshou#1298",
    style=STYLE,
)
class NormalisesDdof(Agent):
    """(A − mean) / std, torch's std."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray((buf.adv - buf.adv.mean()) / buf.adv.std(ddof=1))


@wrong(
    "agent-residual-undiscounted",
    tells="residual-without-gamma",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class ResidualUndiscounted(Agent):
    """r + V(s′) − V(s)."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray(buf.rews + buf.next_val * ~buf.term - buf.val)


@wrong(
    "agent-residual-swapped",
    tells="td-error-swapped",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class ResidualSwapped(Agent):
    """r + γV(s) − V(s′)."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray(buf.rews + buf.gamma * buf.val - buf.next_val)


@wrong(
    "agent-value-as-critic",
    tells="value-as-critic",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class ValueAsCritic(Agent):
    """The value head's output weighs the score."""

    def critic(self, buf: Buffer) -> Array:
        return buf.val


@wrong(
    "agent-reward-as-critic",
    tells="reward-as-critic",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class RewardAsCritic(Agent):
    """buffer.rewards in place of buffer.returns."""

    def critic(self, buf: Buffer) -> Array:
        return buf.rews


@wrong(
    "agent-baseline-plus",
    tells="baseline-added",
    also="unbiased-estimator",
    outcome="either",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class BaselinePlus(Agent):
    """Q + V: on sampled rows a baseline of the wrong sign."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray(buf.adv + 2 * buf.val)


@wrong(
    "agent-clamps-advantages",
    tells="positive-advantages-only",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class ClampsAdvantages(Agent):
    """clamp(A, min=0)."""

    def critic(self, buf: Buffer) -> Array:
        return np.maximum(buf.adv, 0.0)


@wrong(
    "agent-advantage-of-costs",
    tells="ascent-descent-sign|negative-score|advantage-negated|gradient-of-the-loss",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class AdvantageOfCosts(Agent):
    """V − Q."""

    def critic(self, buf: Buffer) -> Array:
        return -buf.adv


@wrong(
    "agent-onehot-only",
    tells="score-missing-minus-pi",
    also="unbiased-estimator",
    outcome="either",
    stage=SCORE,
    refutes=G,
    spares=F,
    style=STYLE,
)
class OnehotOnly(Agent):
    """Backward through the picked logit, not through log-softmax."""

    def dlogits(self, buf: Buffer, logp: Array) -> Array:
        return np.eye(logp.shape[1])[buf.acts]


@wrong(
    "agent-output-gradient-as-logits",
    tells="softmax-jacobian-skipped",
    stage=SCORE,
    refutes=G,
    spares=F,
    style=STYLE,
)
class OutputGradientAsLogits(Agent):
    """∂ log π/∂π = 1/π is handed to the logits: the softmax layer has no backward."""

    def dlogits(self, buf: Buffer, logp: Array) -> Array:
        return np.eye(logp.shape[1])[buf.acts] / np.exp(logp)


@wrong(
    "agent-cross-entropy-sign",
    tells="ascent-descent-sign|negative-score|advantage-negated|gradient-of-the-loss",
    stage=SCORE,
    refutes=G,
    spares=F,
    style=STYLE,
)
class CrossEntropySign(Agent):
    """π − e_a: the derivative of the cross-entropy."""

    def dlogits(self, buf: Buffer, logp: Array) -> Array:
        return -super().dlogits(buf, logp)


@wrong(
    "agent-ratio-old-over-new",
    tells="ratio-upside-down",
    stage=SCORE,
    refutes="surrogate",
    spares=F,
    style=STYLE,
)
class RatioOldOverNew(Agent):
    """exp(old − new)."""

    def ratio(self, new: Array, old: Array) -> Array:
        return np.exp(old - new)


@wrong(
    "agent-ppo-clip",
    tells="clipped-surrogate",
    stage=SCORE,
    refutes="surrogate",
    spares=F,
    style=STYLE,
)
class PpoClip(Agent):
    """min(rA, clip(r, 0.8, 1.2)A)."""

    def surrogate(self, problem: Any, theta: Array) -> float:
        buf = self.collect(problem)
        new = self.forward(buf.obs, theta)[np.arange(len(buf.acts)), buf.acts]
        r = np.exp(new - buf.logp)
        return float(np.minimum(r * buf.adv, np.clip(r, 0.8, 1.2) * buf.adv).mean())


@wrong(
    "agent-log-surrogate",
    tells="surrogate-of-log-probabilities",
    stage=SCORE,
    refutes="surrogate",
    spares=F,
    style=STYLE,
)
class LogSurrogate(Agent):
    """mean(log π · A): A2C's loss in TRPO's line search."""

    def ratio(self, new: Array, old: Array) -> Array:
        return new


@wrong(
    "agent-scales-advantages",
    tells="scaled-advantages",
    also="limited-accuracy limited-range",
    stage=RETURNS,
    kind="convention",
    outcome="either",
    refutes=G,
    spares=F,
    style=STYLE,
)
class ScalesAdvantages(Agent):
    """A / std, and the mean stays."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray(buf.adv / buf.adv.std())


@wrong(
    "agent-absolute-advantages",
    tells="absolute-advantages",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class AbsoluteAdvantages(Agent):
    """abs(A), from a priority that was reused as a weight."""

    def critic(self, buf: Buffer) -> Array:
        return np.abs(buf.adv)


@wrong(
    "agent-imitates-itself",
    tells="advantages-missing",
    stage=RETURNS,
    refutes=G,
    spares=F,
    style=STYLE,
)
class ImitatesItself(Agent):
    """logp.mean(): the advantages never enter the loss."""

    def critic(self, buf: Buffer) -> Array:
        return np.ones(len(buf.adv))
