"""Mistakes planted in loops over states, actions and time: weights, critics, scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._loops import Loops
from .registry import right, wrong

STYLE = "loops"
WEIGHTS = "state weighting"
RETURNS = "return and advantage"
SCORE = "score and objective"
G = "policy_gradient"
F = "fisher"

right("loops-over-everything", style=STYLE, problems=12)(Loops)


@wrong(
    "loop-over-states-forgets-d",
    tells="uniform-state-weights",
    also="start-state-weights starts-assumed-uniform",  # starts that are uniform: 1/S as well
    stage=WEIGHTS,
    refutes=f"{G} {F} kl",
    spares="value",
    style=STYLE,
)
class ForgetsD(Loops):
    """for s in range(S), with 1/S in place of d(s), in g, F and KL alike."""

    def _same(self, problem: Any) -> Array:
        return np.full(problem.num_states, 1 / problem.num_states)

    gradient_states = fisher_states = kl_states = _same


@wrong(
    "loop-weights-by-starts",
    tells="start-state-weights",
    stage=WEIGHTS,
    refutes=f"{G} {F}",
    spares="value kl",
    style=STYLE,
)
class WeightsByStarts(Loops):
    """g and F over the initial distribution."""

    def _starts(self, problem: Any) -> Array:
        return np.asarray(problem.mdp.initial_distribution)

    gradient_states = fisher_states = _starts


@wrong(
    "loop-fisher-over-table",
    tells="weights-differ-between-F-and-g|uniform-state-weights",
    stage=WEIGHTS,
    refutes=F,
    spares=G,
    source="mushroom-rl d5f3ae73",
    style=STYLE,
)
class FisherOverTable(Loops):
    """F averages over the table of states, g over the visited ones."""

    def fisher_states(self, problem: Any) -> Array:
        return np.full(problem.num_states, 1 / problem.num_states)


@wrong(
    "loop-gamma-squared",
    tells="gamma-t-twice",
    stage=WEIGHTS,
    refutes=f"state_distribution {G} {F}",
    style=STYLE,
)
class GammaSquared(Loops):
    """The loop over time multiplies by γ, and γᵗ is applied on top."""

    def state_distribution(self, problem: Any) -> Array:
        P, gamma = self.kernel(problem), problem.mdp.discount
        now, d = np.array(problem.mdp.initial_distribution), np.zeros(problem.num_states)
        for t in range(self.horizon(problem)):
            d += (1 - gamma) * gamma**t * now
            now = gamma * now @ P
        return d


@wrong(
    "loop-starts-after-the-first-step",
    tells="next-state-weights|first-step-skipped",
    stage=WEIGHTS,
    refutes=f"state_distribution {G} {F}",
    style=STYLE,
)
class AfterFirstStep(Loops):
    """The state is advanced before it is counted: d of the next states."""

    def state_distribution(self, problem: Any) -> Array:
        return super().state_distribution(problem) @ self.kernel(problem)


@wrong(
    "loop-rows-for-columns",
    tells="occupancy-not-transposed|transitions-transposed",
    stage=WEIGHTS,
    refutes=f"state_distribution {G} {F}",
    style=STYLE,
)
class RowsForColumns(Loops):
    """now = P @ now pushes a value function, not a distribution."""

    def state_distribution(self, problem: Any) -> Array:
        P, gamma = self.kernel(problem), problem.mdp.discount
        now, d = np.array(problem.mdp.initial_distribution), np.zeros(problem.num_states)
        for t in range(self.horizon(problem)):
            d += (1 - gamma) * gamma**t * now
            now = P @ now
        return d


@wrong(
    "loop-horizon-of-ten",
    tells="horizon-cut-off",
    stage=WEIGHTS,
    kind="approximation",
    outcome="either",
    refutes=f"state_distribution {G} {F}",
    spares="value",
    style=STYLE,
)
class HorizonOfTen(Loops):
    """The occupancy sums over ten steps."""

    def state_distribution(self, problem: Any) -> Array:
        P, gamma = self.kernel(problem), problem.mdp.discount
        now, d = np.array(problem.mdp.initial_distribution), np.zeros(problem.num_states)
        for t in range(10):
            d += (1 - gamma) * gamma**t * now
            now = now @ P
        return d


@wrong(
    "loop-starts-uniform",
    tells="starts-assumed-uniform",
    also="objective-over-uniform-states",
    stage=WEIGHTS,
    refutes="state_distribution objective",
    spares="value",
    style=STYLE,
)
class StartsUniform(Loops):
    """A simulator that resets to a random state."""

    def state_distribution(self, problem: Any) -> Array:
        P, gamma, S = self.kernel(problem), problem.mdp.discount, problem.num_states
        now, d = np.full(S, 1 / S), np.zeros(S)
        for t in range(self.horizon(problem)):
            d += (1 - gamma) * gamma**t * now
            now = now @ P
        return d

    def objective(self, problem: Any) -> float:
        return float(np.mean(self.value(problem)))


@wrong(
    "loop-bootstrap-undiscounted",
    tells="bootstrap-without-gamma",
    stage=RETURNS,
    refutes="q_value advantage",
    spares=f"value {F}",
    style=STYLE,
)
class BootstrapUndiscounted(Loops):
    """Q[s, a] = r + P V."""

    def q_value(self, problem: Any) -> Array:
        return np.asarray(self.reward(problem) + problem.mdp.transitions @ self.value(problem))


@wrong(
    "loop-kernel-flipped",
    tells="transitions-transposed",
    stage=RETURNS,
    refutes="value",
    spares=f"score {F}",
    style=STYLE,
)
class KernelFlipped(Loops):
    """V is backed up over P[s', s]."""

    def value(self, problem: Any) -> Array:
        S, P, r = problem.num_states, self.kernel(problem), self.reward(problem)
        mean = np.array([self.probabilities(problem, problem.theta, s) @ r[s] for s in range(S)])
        V = np.linalg.solve(np.eye(S) - problem.mdp.discount * P.T, mean)
        return np.asarray(V)


@wrong(
    "loop-best-action-backup",
    tells="optimal-value",
    stage=RETURNS,
    refutes="value q_value",
    spares=f"score {F}",
    style=STYLE,
)
class BestActionBackup(Loops):
    """max over actions in the backup: value iteration."""

    def value(self, problem: Any) -> Array:
        m, V = problem.mdp, np.zeros(problem.num_states)
        for _ in range(self.horizon(problem)):
            V = np.array([max(q) for q in m.rewards + m.discount * m.transitions @ V])
        return V


@wrong(
    "loop-five-sweeps",
    tells="value-sweeps-cut-off",
    stage=RETURNS,
    kind="approximation",
    outcome="either",
    refutes="value objective",
    spares=f"score {F}",
    style=STYLE,
)
class FiveSweeps(Loops):
    """for _ in range(5)."""

    def value(self, problem: Any) -> Array:
        S, P, r = problem.num_states, self.kernel(problem), self.reward(problem)
        V = np.zeros(S)
        for _ in range(5):
            V = np.array(
                [
                    self.probabilities(problem, problem.theta, s) @ r[s]
                    + problem.mdp.discount * P[s] @ V
                    for s in range(S)
                ]
            )
        return V


@wrong(
    "loop-discount-constant",
    tells="wrong-discount",
    stage=RETURNS,
    refutes="value q_value objective",
    spares=f"score {F}",
    style=STYLE,
)
class DiscountConstant(Loops):
    """GAMMA = 0.95 at the top of the file, used by the critic."""

    def discount(self, problem: Any) -> float:
        return 0.95

    def horizon(self, problem: Any) -> int:
        return max(super().horizon(problem), 900)


@wrong(
    "loop-reward-clip",
    tells="clipped-rewards",
    stage=RETURNS,
    kind="convention",
    outcome="either",
    refutes="value q_value",
    spares=f"score {F}",
    style=STYLE,
)
class RewardClip(Loops):
    """np.clip(r, -1, 1)."""

    def reward(self, problem: Any) -> Array:
        return np.clip(problem.mdp.rewards, -1, 1)


@wrong(
    "loop-reward-sign",
    tells="reward-signs",
    stage=RETURNS,
    kind="convention",
    outcome="either",
    refutes="value q_value",
    spares=f"score {F}",
    style=STYLE,
)
class RewardSign(Loops):
    """np.sign(r), as Atari wrappers do."""

    def reward(self, problem: Any) -> Array:
        return np.sign(problem.mdp.rewards)


@wrong(
    "loop-reward-later-discounted",
    tells="reward-discounted-once-more",
    stage=RETURNS,
    refutes="q_value value",
    spares=f"score {F}",
    style=STYLE,
)
class RewardLater(Loops):
    """r arrives with the next state, so it is discounted as well: γ(r + V(s′))."""

    def reward(self, problem: Any) -> Array:
        return np.asarray(problem.mdp.discount * problem.mdp.rewards)


@wrong(
    "loop-reward-for-critic",
    tells="reward-as-critic",
    stage=RETURNS,
    refutes=G,
    spares=f"{F} advantage",
    style=STYLE,
)
class RewardForCritic(Loops):
    """The immediate reward weighs the score: a bandit's gradient."""

    def critic(self, problem: Any) -> Array:
        return np.asarray(problem.mdp.rewards)


@wrong(
    "loop-only-successes",
    tells="positive-advantages-only",
    stage=RETURNS,
    refutes=G,
    spares=f"{F} advantage",
    style=STYLE,
)
class OnlySuccesses(Loops):
    """if advantage <= 0: continue."""

    def critic(self, problem: Any) -> Array:
        adv = self.advantage(problem)
        return np.where(adv > 0, adv, 0.0)


@wrong(
    "loop-onehot-feature",
    tells="score-missing-minus-pi",
    stage=SCORE,
    refutes=f"score {F}",
    spares="value advantage",
    style=STYLE,
)
class OnehotFeature(Loops):
    """φ = x(s) ⊗ e_a: the expected feature is not taken off."""

    def phi(self, problem: Any, s: int, a: int) -> Array:
        return np.kron(problem.observations[s], np.eye(problem.num_actions)[a])


@wrong("loop-plus-pi", tells="score-plus-pi", stage=SCORE, refutes=f"score {F}", style=STYLE)
class PlusPi(Loops):
    """e_a + π where e_a − π belongs."""

    def phi(self, problem: Any, s: int, a: int) -> Array:
        p = self.probabilities(problem, problem.theta, s)
        return np.kron(problem.observations[s], np.eye(len(p))[a] + p)


@wrong(
    "loop-uniform-mean",
    tells="score-minus-uniform-mean",
    stage=SCORE,
    refutes=f"score {F}",
    style=STYLE,
)
class UniformMean(Loops):
    """The mean feature over actions is taken off as if π were uniform."""

    def phi(self, problem: Any, s: int, a: int) -> Array:
        A = problem.num_actions
        return np.kron(problem.observations[s], np.eye(A)[a] - 1 / A)


@wrong(
    "loop-neighbours-policy",
    tells="policy-of-another-state",
    stage=SCORE,
    refutes="log_prob score",
    spares="",
    style=STYLE,
)
class NeighboursPolicy(Loops):
    """An index too many: π of the previous state."""

    def preferences(self, problem: Any, theta: Array, s: int) -> Array:
        return super().preferences(problem, theta, s - 1)

    def phi(self, problem: Any, s: int, a: int) -> Array:
        p = self.probabilities(problem, problem.theta, s)
        return np.kron(problem.observations[s], np.eye(len(p))[a] - p)


@wrong(
    "loop-without-pi-weights",
    tells="action-weights-missing",
    stage=SCORE,
    refutes=G,
    spares=f"score {F}",
    style=STYLE,
)
class WithoutPiWeights(Loops):
    """A sum over actions without π(a|s)."""

    def policy_gradient(self, problem: Any) -> Array:
        d, adv = self.state_distribution(problem), self.advantage(problem)
        g = np.zeros(problem.theta.size)
        for s, w in enumerate(d):
            for a in range(problem.num_actions):
                g += w * adv[s, a] * self.phi(problem, s, a)
        return g / (1 - problem.mdp.discount)


@wrong("loop-log2", tells="log-base-two", stage=SCORE, refutes="log_prob kl", spares=F, style=STYLE)
class Log2(Loops):
    """Logarithms to base two in the score's density and in the KL."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(self.logs(problem, problem.theta, state)[action] / np.log(2))

    def kl(self, problem: Any, theta: Array) -> float:
        return super().kl(problem, theta) / float(np.log(2))


@wrong(
    "loop-probability-returned",
    tells="probability-for-log-prob",
    stage=SCORE,
    refutes="log_prob",
    spares=F,
    style=STYLE,
)
class ProbabilityReturned(Loops):
    """log_prob returns π(a|s)."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(self.probabilities(problem, problem.theta, state)[action])


@wrong(
    "loop-random-tenth",
    tells="exploration-mixed-in",
    stage=SCORE,
    refutes="log_prob value",
    style=STYLE,
)
class RandomTenth(Loops):
    """An ε-greedy tenth is mixed into every probability, the scores are those of π."""

    def probabilities(self, problem: Any, theta: Array, s: int) -> Array:
        return 0.9 * super().probabilities(problem, theta, s) + 0.1 / problem.num_actions

    def phi(self, problem: Any, s: int, a: int) -> Array:
        p = Loops.probabilities(self, problem, problem.theta, s)
        return np.kron(problem.observations[s], np.eye(len(p))[a] - p)

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(np.log(self.probabilities(problem, problem.theta, state)[action]))
