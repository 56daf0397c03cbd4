"""Planted mistakes of the score, the log-probability and the objectives built on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._rows import BatchSoftmax, row_log_pi
from .registry import wrong

STAGE = "score and objective"


@wrong(
    "score-missing-minus-pi",
    tells="score-missing-minus-pi",
    stage=STAGE,
    refutes="score fisher fisher_vector_product",
    spares="policy_gradient value log_prob",
)
class MissingMinusPi(ExactSoftmax):
    """φ = x ⊗ e_a without −π: with an exact A the gradient does not show it."""

    def scores(self, problem: Any) -> Array:
        X, A = problem.observations, problem.num_actions
        return np.stack([[np.kron(x, e) for e in np.eye(A)] for x in X])


@wrong(
    "score-missing-minus-pi-with-q",
    tells="score-missing-minus-pi",
    stage=STAGE,
    refutes="score policy_gradient",
    spares="q_value",
    whole=True,
)
class MissingMinusPiWithQ:
    """φ = x ⊗ e_a with Q as the critic: E[φ] ≠ 0, so the baseline shows up in g."""

    def q_value(self, problem: Any) -> Array:
        m, S, A = problem.mdp, problem.num_states, problem.num_actions
        pi = self._pi(problem)
        M = np.zeros((S * A, S * A))
        for s in range(S):
            for a in range(A):
                M[s * A + a] = (m.transitions[s, a][:, None] * pi).ravel()
        Q = np.linalg.solve(np.eye(S * A) - m.discount * M, m.rewards.ravel())
        return np.asarray(Q.reshape(S, A))

    def _pi(self, problem: Any) -> Array:
        z = problem.observations @ problem.theta.reshape(-1, problem.num_actions)
        p = np.exp(z - z.max(axis=1)[:, None])
        return np.asarray(p / p.sum(axis=1)[:, None])

    def score(self, problem: Any, state: int, action: int) -> Array:
        phi = np.zeros((problem.observation_size, problem.num_actions))
        phi[:, action] = problem.observations[state]
        return phi.ravel()

    def policy_gradient(self, problem: Any) -> Array:
        m, pi, Q = problem.mdp, self._pi(problem), self.q_value(problem)
        P = np.einsum("sa,sat->st", pi, m.transitions)
        mu = np.linalg.solve(np.eye(len(P)) - m.discount * P.T, m.initial_distribution)
        return np.asarray(
            sum(
                mu[s] * pi[s, a] * Q[s, a] * self.score(problem, s, a)
                for s in range(len(P))
                for a in range(problem.num_actions)
            )
        )


@wrong(
    "softmax-jacobian-skipped",
    tells="softmax-jacobian-skipped",
    stage=STAGE,
    refutes="policy_gradient fisher",
    whole=True,
    source="read off public code",
)
class SoftmaxJacobianSkipped:
    """Backpropagation hands ∂/∂π to the logits unchanged: I where diag(π) − ππᵀ belongs."""

    families = frozenset({"tabular", "softmax"})

    def _forward(self, problem: Any) -> tuple[Array, Array, Array]:
        m = problem.mdp
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        pi = np.exp(z - z.max(axis=1, keepdims=True))
        pi = pi / pi.sum(axis=1, keepdims=True)
        P = (pi[:, None, :] @ m.transitions)[:, 0]
        V = np.linalg.solve(np.eye(len(P)) - m.discount * P, (pi * m.rewards).sum(axis=1))
        mu = np.linalg.solve((np.eye(len(P)) - m.discount * P).T, m.initial_distribution)
        return pi, m.rewards + m.discount * m.transitions @ V, mu

    def policy_gradient(self, problem: Any) -> Array:
        _, Q, mu = self._forward(problem)
        grad_pi = mu[:, None] * Q
        return np.asarray((problem.observations.T @ grad_pi).ravel())

    def fisher(self, problem: Any) -> Array:
        _, _, mu = self._forward(problem)
        X = problem.observations
        return np.kron(X.T @ np.diag(mu / mu.sum()) @ X, np.eye(problem.num_actions))


@wrong(
    "negative-score",
    tells="negative-score|ascent-descent-sign|gradient-of-the-loss",
    stage=STAGE,
    refutes="score policy_gradient natural_gradient",
    spares="fisher log_prob kl",
)
class NegativeScore(ExactSoftmax):
    """φ = ∇(−log π), the gradient of the loss: F cannot show it, g points downhill."""

    def scores(self, problem: Any) -> Array:
        return -super().scores(problem)


@wrong(
    "gradient-of-pi-not-log-pi",
    tells="gradient-of-pi-not-log-pi|action-weights-squared",
    stage=STAGE,
    refutes="score policy_gradient",
    whole=True,
)
class GradientOfPi:
    """∇π weighed by π once more, where ∇log π belongs."""

    def _pi(self, problem: Any) -> Array:
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        return np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])

    def score(self, problem: Any, state: int, action: int) -> Array:
        p = self._pi(problem)[state]
        return np.kron(problem.observations[state], p[action] * (np.eye(len(p))[action] - p))

    def policy_gradient(self, problem: Any) -> Array:
        m, pi = problem.mdp, self._pi(problem)
        P = np.tensordot(pi, m.transitions, axes=([1], [1])).diagonal(axis1=0, axis2=1).T
        V = np.linalg.solve(np.eye(len(P)) - m.discount * P, np.einsum("sa,sa->s", pi, m.rewards))
        mu = np.linalg.solve(np.eye(len(P)) - m.discount * P.T, m.initial_distribution)
        Q = m.rewards + m.discount * np.einsum("sat,t->sa", m.transitions, V)
        g = np.zeros(problem.theta.size)
        for s in range(len(P)):
            for a in range(pi.shape[1]):
                g += mu[s] * pi[s, a] * (Q[s, a] - V[s]) * self.score(problem, s, a)
        return g


@wrong(
    "logit-for-log-prob",
    tells="logit-for-log-prob",
    stage=STAGE,
    refutes="log_prob",
    spares="score",
    whole=True,
)
class LogitForLogProb:
    """log_prob returns the logit: the log-partition function is missing."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        W = problem.theta.reshape(problem.observation_size, problem.num_actions)
        return float(problem.observations[state] @ W[:, action])

    def score(self, problem: Any, state: int, action: int) -> Array:
        x = problem.observations[state]
        z = x @ problem.theta.reshape(len(x), -1)
        p = np.exp(z - z.max())
        e = -p / p.sum()
        e[action] += 1.0
        return np.multiply.outer(x, e).ravel()


@wrong(
    "log-base-two",
    tells="log-base-two",
    stage=STAGE,
    refutes="log_prob kl",
    spares="score",
    whole=True,
)
class LogBaseTwo:
    """Logarithms to base two: bits where nats are asked."""

    def _log2(self, problem: Any, theta: Array) -> Array:
        z = problem.observations @ theta.reshape(problem.observation_size, -1)
        return np.asarray((z - np.logaddexp.reduce(z, axis=1, keepdims=True)) / math.log(2))

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(self._log2(problem, problem.theta)[state, action])

    def kl(self, problem: Any, theta: Array) -> float:
        m = problem.mdp
        old, new = self._log2(problem, problem.theta), self._log2(problem, theta)
        p = 2.0**old
        M = np.eye(len(p)) - m.discount * np.einsum("sa,sat->ts", p, m.transitions)
        d = np.linalg.solve(M, m.initial_distribution) * (1 - m.discount)
        return float(d @ (p * (old - new)).sum(axis=1))

    def score(self, problem: Any, state: int, action: int) -> Array:
        p = 2.0 ** self._log2(problem, problem.theta)[state]
        return np.kron(problem.observations[state], np.eye(len(p))[action] - p)


@wrong(
    "temperature-two",
    tells="softmax-temperature",
    stage=STAGE,
    refutes="log_prob score",
    whole=True,
)
class TemperatureTwo:
    """A softmax temperature of two left over from exploration, in plain Python."""

    def _weights(self, problem: Any, state: int) -> list[float]:
        A, theta = problem.num_actions, problem.theta.tolist()
        x = problem.observations[state].tolist()
        z = [sum(x[i] * theta[i * A + a] for i in range(len(x))) / 2.0 for a in range(A)]
        top = max(z)
        e = [math.exp(v - top) for v in z]
        return [v / sum(e) for v in e]

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        p = self._weights(problem, state)[action]
        return math.log(p) if p > 0 else -1e308

    def score(self, problem: Any, state: int, action: int) -> list[float]:
        p, x = self._weights(problem, state), problem.observations[state].tolist()
        return [v * ((a == action) - p[a]) for v in x for a in range(len(p))]


@wrong(
    "epsilon-inside-the-log",
    tells="epsilon-inside-kl",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes="log_prob",
    spares="score fisher",
)
class EpsilonInsideLog(ExactSoftmax):
    """log(π + 1e-6), to be safe."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(np.log(self.pi(problem)[state, action] + 1e-6))


@wrong(
    "exp-without-shift",
    tells="limited-range",
    stage=STAGE,
    outcome="either",
    refutes="log_prob score",
    whole=True,
)
class ExpWithoutShift:
    """exp(z)/Σexp(z) with no maximum taken out: overflows at logits of a thousand."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        z = problem.observations[state] @ problem.theta.reshape(problem.observation_size, -1)
        with np.errstate(all="ignore"):
            return float(np.log(np.exp(z) / np.exp(z).sum())[action])

    def score(self, problem: Any, state: int, action: int) -> Array:
        x = problem.observations[state]
        z = x @ problem.theta.reshape(len(x), -1)
        with np.errstate(all="ignore"):
            return np.kron(x, np.eye(len(z))[action] - np.exp(z) / np.exp(z).sum())


@wrong(
    "action-index-off-by-one",
    tells="action-index-off-by-one",
    stage=STAGE,
    refutes="log_prob score",
    spares="fisher kl value",
)
class ActionOffByOne(ExactSoftmax):
    """Actions counted from one: log π and φ of the neighbouring action."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return super().log_prob(problem, state, (action + 1) % problem.num_actions)

    def score(self, problem: Any, state: int, action: int) -> Array:
        return super().score(problem, state, (action + 1) % problem.num_actions)


@wrong(
    "features-normalised",
    tells="features-normalised",
    stage=STAGE,
    refutes="score fisher log_prob",
    whole=True,
)
class FeaturesNormalised:
    """Features scaled to unit length before they are used: a tabular problem cannot show it."""

    def _x(self, problem: Any) -> Array:
        X = problem.observations
        return np.asarray(X / (np.linalg.norm(X, axis=1, keepdims=True) + 1e-12))

    def _pi(self, problem: Any) -> Array:
        z = self._x(problem) @ problem.theta.reshape(problem.observation_size, -1)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(np.log(np.maximum(self._pi(problem)[state, action], 1e-300)))

    def score(self, problem: Any, state: int, action: int) -> Array:
        p = self._pi(problem)[state]
        return np.outer(self._x(problem)[state], np.eye(len(p))[action] - p).ravel()

    def fisher(self, problem: Any) -> Array:
        m, pi, X = problem.mdp, self._pi(problem), self._x(problem)
        P = np.einsum("sa,sat->st", pi, m.transitions)
        d = (1 - m.discount) * np.linalg.solve(
            (np.eye(len(P)) - m.discount * P).T, m.initial_distribution
        )
        H = [np.diag(p) - np.outer(p, p) for p in pi]
        return np.asarray(sum(d[s] * np.kron(np.outer(X[s], X[s]), H[s]) for s in range(len(X))))


@wrong(
    "ratio-upside-down", tells="ratio-upside-down", stage=STAGE, refutes="surrogate", spares="kl"
)
class RatioUpsideDown(ExactSoftmax):
    """The surrogate weighs by π_old/π_new."""

    def surrogate(self, problem: Any, theta: Array) -> float:
        old, new = self.log_pi(problem, problem.theta), self.log_pi(problem, theta)
        gain = (np.exp(old) * np.exp(old - new) * self.advantage(problem)).sum(axis=1)
        lift = self.state_distribution(problem) @ gain
        return float(self.objective(problem) + lift / (1 - problem.mdp.discount))


@wrong("objective-for-surrogate", stage=STAGE, refutes="surrogate", spares="objective")
class ObjectiveForSurrogate(ExactSoftmax):
    """The surrogate over the new policy's own occupancy, which is J itself."""

    def surrogate(self, problem: Any, theta: Array) -> float:
        return self.objective(problem.at(theta))


@wrong(
    "surrogate-of-log-probabilities",
    tells="surrogate-of-log-probabilities",
    stage=STAGE,
    refutes="surrogate",
    whole=True,
)
class SurrogateOfLogs:
    """E[A log π_new]: the same gradient at θ as the surrogate, another function."""

    def surrogate(self, problem: Any, theta: Array) -> float:
        m, X = problem.mdp, problem.observations

        def log_pi(t: Array) -> Array:
            z = X @ t.reshape(X.shape[1], -1)
            return np.asarray(z - np.logaddexp.reduce(z, axis=1)[:, None])

        pi = np.exp(log_pi(problem.theta))
        P = np.einsum("sa,sat->st", pi, m.transitions)
        resolvent = np.linalg.solve(np.eye(len(P)) - m.discount * P, np.eye(len(P)))
        V = resolvent @ (pi * m.rewards).sum(1)
        A = m.rewards + m.discount * m.transitions @ V - V[:, None]
        mu = m.initial_distribution @ resolvent
        return float(
            m.initial_distribution @ V
            + mu @ (pi * A * (log_pi(theta) - log_pi(problem.theta))).sum(1)
        )


@wrong(
    "clipped-surrogate",
    tells="clipped-surrogate",
    stage=STAGE,
    refutes="surrogate",
    spares="policy_gradient kl",
)
class ClippedSurrogate(BatchSoftmax):
    """PPO's clipped ratio where the plain surrogate is asked."""

    def surrogate(self, problem: Any, theta: Array) -> float:
        b = problem.batch
        new = row_log_pi(problem, b.observations, theta)[np.arange(len(b.actions)), b.actions]
        ratio = np.exp(new - b.log_probs)
        clipped = np.clip(ratio, 0.8, 1.2)
        return float(np.minimum(ratio * b.advantages, clipped * b.advantages).mean())


@wrong(
    "objective-over-uniform-states",
    tells="objective-over-uniform-states|starts-assumed-uniform",
    stage=STAGE,
    refutes="objective",
    spares="value",
)
class ObjectiveOverUniformStates(ExactSoftmax):
    """J as the mean of V over states, not over the initial distribution."""

    def objective(self, problem: Any) -> float:
        return float(np.mean(self.value(problem)))
