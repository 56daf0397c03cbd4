"""Planted mistakes of returns, Q and advantages on the MDP, on batches and on trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import Unsupported

from ._exact import Array, ExactSoftmax
from ._rows import BatchSoftmax, EpisodeSoftmax, row_log_pi
from .registry import wrong

STAGE = "return and advantage"


@wrong(
    "gamma-missing-in-bootstrap",
    tells="bootstrap-without-gamma",
    stage=STAGE,
    refutes="q_value advantage policy_gradient",
    spares="value state_distribution fisher",
)
class GammaMissingInBootstrap(ExactSoftmax):
    """Q = r + P V: the successor's value is not discounted."""

    def q_value(self, problem: Any) -> Array:
        return np.asarray(problem.mdp.rewards + problem.mdp.transitions @ self.value(problem))


@wrong(
    "greedy-baseline-advantage",
    tells="greedy-baseline",
    stage=STAGE,
    refutes="advantage",
    spares="policy_gradient natural_gradient q_value",
)
class GreedyBaseline(ExactSoftmax):
    """A = Q − max_a Q: as a critic a baseline like any other, as an advantage wrong."""

    def advantage(self, problem: Any) -> Array:
        Q = self.q_value(problem)
        return np.asarray(Q - Q.max(axis=1, keepdims=True))

    def surrogate(self, problem: Any, theta: Array) -> float:
        raise Unsupported("not the point of this control")

    def accepts(self, problem: Any, theta: Array, max_kl: float) -> bool:
        return self.kl(problem, theta) <= max_kl


@wrong(
    "optimal-value-for-policy-value",
    tells="optimal-value",
    stage=STAGE,
    refutes="value q_value policy_gradient",
    spares="state_distribution",
    whole=True,
)
class OptimalValue:
    """Value iteration with max over actions where the policy's own mean belongs."""

    def _pi(self, problem: Any) -> Array:
        X = problem.observations
        z = X @ problem.theta.reshape(X.shape[1], -1)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def q_value(self, problem: Any) -> Array:
        m = problem.mdp
        if m.discount > 0.99:
            raise Unsupported("value iteration would be too long")
        Q = np.zeros(m.rewards.shape)
        while True:
            new = m.rewards + m.discount * m.transitions @ Q.max(axis=1)
            if np.abs(new - Q).max() <= 1e-13 * (1 + np.abs(new).max()):
                return np.asarray(new)
            Q = new

    def value(self, problem: Any) -> Array:
        return np.asarray(self.q_value(problem).max(axis=1))

    def state_distribution(self, problem: Any) -> Array:
        m = problem.mdp
        P = np.einsum("sa,sat->st", self._pi(problem), m.transitions)
        d = np.linalg.solve((np.eye(len(P)) - m.discount * P).T, m.initial_distribution)
        return np.asarray(d / d.sum())

    def policy_gradient(self, problem: Any) -> Array:
        pi, Q = self._pi(problem), self.q_value(problem)
        A = Q - (pi * Q).sum(axis=1, keepdims=True)
        push = self.state_distribution(problem)[:, None] * pi * A / (1 - problem.mdp.discount)
        return np.asarray((problem.observations.T @ push).ravel())


@wrong(
    "ten-sweeps-of-evaluation",
    tells="value-sweeps-cut-off",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes="value objective",
    spares="state_distribution fisher",
)
class TenSweeps(ExactSoftmax):
    """V after ten Bellman sweeps from zero."""

    def value(self, problem: Any) -> Array:
        P, r, V = self.chain(problem), self.mean_reward(problem), np.zeros(problem.num_states)
        for _ in range(10):
            V = r + problem.mdp.discount * (P @ V)
        return np.asarray(V)


@wrong(
    "uniform-actions-in-the-chain",
    tells="uniform-actions-in-the-chain",
    stage=STAGE,
    refutes="value state_distribution policy_gradient",
    spares="score log_prob",
)
class UniformChain(ExactSoftmax):
    """P averaged over actions without weighing them by π."""

    def chain(self, problem: Any) -> Array:
        return np.asarray(problem.mdp.transitions.mean(axis=1))


@wrong(
    "reward-table-read-in-column-order",
    tells="reward-table-in-column-order",
    stage=STAGE,
    refutes="value q_value",
    whole=True,
)
class RewardOrder:
    """The (S, A) rewards pass through a flat column-major buffer on the way in."""

    def _solve(self, problem: Any) -> tuple[Array, Array]:
        m, S, A = problem.mdp, problem.num_states, problem.num_actions
        r = m.rewards.flatten(order="F").reshape(S, A)
        z = problem.observations @ problem.theta.reshape(-1, A)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        # one flat system over state-action pairs: Q = r + γ P Π Q
        flat = m.transitions.reshape(S * A, S)
        Pi = np.zeros((S, S * A))
        for s in range(S):
            Pi[s, s * A : (s + 1) * A] = pi[s]
        Q = np.linalg.solve(np.eye(S * A) - m.discount * flat @ Pi, r.ravel())
        return Pi @ Q, Q.reshape(S, A)

    def value(self, problem: Any) -> Array:
        return self._solve(problem)[0]

    def q_value(self, problem: Any) -> Array:
        return self._solve(problem)[1]


@wrong(
    "clipped-rewards",
    tells="clipped-rewards",
    stage=STAGE,
    refutes="value q_value objective",
    spares="fisher",
)
class ClippedRewards(ExactSoftmax):
    """Rewards clipped to [−1, 1] on the way in, as in Atari preprocessing."""

    def mean_reward(self, problem: Any) -> Array:
        return np.asarray((self.pi(problem) * np.clip(problem.mdp.rewards, -1, 1)).sum(axis=1))

    def q_value(self, problem: Any) -> Array:
        m = problem.mdp
        return np.asarray(
            np.clip(m.rewards, -1, 1) + m.discount * m.transitions @ self.value(problem)
        )


@wrong(
    "standardised-with-ddof-one",
    also="limited-accuracy",
    tells="normalised-advantages-sample-std",
    stage=STAGE,
    outcome="either",
    refutes="policy_gradient",
    spares="fisher kl",
    source="tianshou#1298",
)
class StandardisedAdvantages(BatchSoftmax):
    """Advantages centred and divided by the sample deviation (N − 1) plus 1e-8."""

    def advantages(self, problem: Any) -> Array:
        a = problem.batch.advantages
        return np.asarray((a - a.mean()) / (a.std(ddof=1) + 1e-8))


@wrong(
    "td-error-swapped", tells="td-error-swapped", stage=STAGE, refutes="policy_gradient", whole=True
)
class SwappedTemporalDifference:
    """δ = r + γV(s) − V(s′): the two values are exchanged."""

    families = frozenset({"tabular", "softmax"})

    def policy_gradient(self, problem: Any) -> Array:
        b, g = problem.batch, np.zeros(problem.theta.size)
        logp = row_log_pi(problem, b.observations, problem.theta)
        for i in range(len(b.actions)):
            delta = b.rewards[i] + problem.mdp.discount * b.values[i] - b.next_values[i]
            e = -np.exp(logp[i])
            e[b.actions[i]] += 1
            g += delta * np.kron(b.observations[i], e)
        return g / len(b.actions)


@wrong("bootstrap-from-the-batch-mean", stage=STAGE, refutes="policy_gradient", whole=True)
class BootstrapFromBatchMean:
    """δ bootstraps from the batch's mean value in place of V(s′)."""

    def policy_gradient(self, problem: Any) -> Array:
        b = problem.batch
        delta = b.rewards + problem.mdp.discount * b.values.mean() - b.values
        c = -np.exp(row_log_pi(problem, b.observations, problem.theta))
        c[np.arange(len(c)), b.actions] += 1.0
        return np.einsum("n,ni,na->ia", delta, b.observations, c).ravel() / len(c)


@wrong(
    "total-return-and-gamma-t",
    tells="discounted-from-the-start|whole-return|gamma-t-twice",
    stage=STAGE,
    refutes="policy_gradient",
    whole=True,
)
class TotalReturnAndGammaT:
    """REINFORCE with the whole return on every step and γᵗ on top of it."""

    def policy_gradient(self, problem: Any) -> Array:
        g = np.zeros(problem.theta.size)
        for e in problem.episodes:
            power = e.discount ** np.arange(len(e.rewards))
            tail = 0.0 if e.terminated[-1] else e.discount * power[-1] * e.next_values[-1]
            total = float(power @ e.rewards) + tail
            c = -np.exp(row_log_pi(problem, e.observations, problem.theta))
            c[np.arange(len(c)), e.actions] += 1
            g += total * (e.observations.T @ (power[:, None] * c)).ravel()
        return g / len(problem.episodes)


@wrong(
    "reward-of-the-next-step",
    tells="reward-of-the-next-step",
    stage=STAGE,
    refutes="policy_gradient",
    spares="fisher",
)
class RewardOfNextStep(EpisodeSoftmax):
    """The return of step t starts with r_{t+1}: the action's own reward is missing."""

    def estimate(self, episode: Any) -> Array:
        G, out = 0.0, np.zeros(len(episode.rewards))
        if not episode.terminated[-1]:
            G = float(episode.next_values[-1])
        for t in reversed(range(len(out))):
            out[t] = episode.discount * G - episode.values[t]
            G = float(episode.rewards[t]) + episode.discount * G
        return out
