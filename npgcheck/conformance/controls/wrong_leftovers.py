"""Planted left-overs of training code: regularisers, clips, constants and randomness left on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from .registry import wrong

GRADIENT = "policy_gradient natural_gradient"
RETURNS = "return and advantage"
SCORE = "score and objective"


@wrong(
    "entropy-bonus-left-in",
    tells="entropy-bonus-left-in|entropy-bonus",
    stage=SCORE,
    refutes=GRADIENT,
    spares="fisher value",
)
class EntropyBonus(ExactSoftmax):
    """g carries the gradient of 0.01 times the policy's entropy."""

    def policy_gradient(self, problem: Any) -> Array:
        logp = self.log_pi(problem, problem.theta)
        weights = self.state_distribution(problem)[:, None] * np.exp(logp)
        bonus = np.einsum("sa,sad->d", -weights * logp, self.scores(problem))
        return super().policy_gradient(problem) + 0.01 * bonus


@wrong(
    "entropy-bonus-subtracted",
    tells="entropy-bonus-with-the-wrong-sign",
    stage=SCORE,
    refutes=GRADIENT,
    spares="fisher value",
)
class EntropyBonusSubtracted(ExactSoftmax):
    """The loss has −J + βH where −J − βH was meant: g loses 0.02 times the entropy's gradient."""

    def policy_gradient(self, problem: Any) -> Array:
        logp = self.log_pi(problem, problem.theta)
        weights = self.state_distribution(problem)[:, None] * np.exp(logp)
        entropy = np.einsum("sa,sad->d", -weights * logp, self.scores(problem))
        return super().policy_gradient(problem) - 0.02 * entropy


@wrong(
    "weight-decay-left-in",
    tells="weight-decay-left-in",
    stage=SCORE,
    refutes=GRADIENT,
    spares="fisher value",
)
class WeightDecay(ExactSoftmax):
    """g − 1e-4 θ: invisible at θ = 0."""

    def policy_gradient(self, problem: Any) -> Array:
        return super().policy_gradient(problem) - 1e-4 * problem.theta


@wrong(
    "gradient-clipped",
    tells="gradient-clipped",
    stage=SCORE,
    refutes="policy_gradient",
    spares="fisher value",
)
class GradientClipped(ExactSoftmax):
    """The norm of g is clipped to one half."""

    def policy_gradient(self, problem: Any) -> Array:
        g = super().policy_gradient(problem)
        return np.asarray(g * min(1.0, 0.5 / (np.linalg.norm(g) + 1e-300)))


@wrong(
    "gradient-doubled",
    tells="gradient-factor-two",
    stage=SCORE,
    refutes=GRADIENT,
    spares="fisher value",
    whole=True,
)
class GradientDoubled:
    """The loss is summed over two heads: twice the gradient, which γ = ½ would explain."""

    families = frozenset({"tabular", "softmax"})

    def _chain(self, problem: Any) -> tuple[Array, Array, Array]:
        m = problem.mdp
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        N = np.linalg.inv(np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions))
        V = N @ (pi * m.rewards).sum(axis=1)
        return pi, V, m.initial_distribution @ N

    def value(self, problem: Any) -> Array:
        return self._chain(problem)[1]

    def fisher(self, problem: Any) -> Array:
        pi, _, mu = self._chain(problem)
        d, X = mu / mu.sum(), problem.observations
        blocks = np.einsum("sa,ab->sab", pi, np.eye(pi.shape[1])) - pi[:, :, None] * pi[:, None, :]
        F = np.einsum("s,si,sj,sab->iajb", d, X, X, blocks)
        return np.asarray(F.reshape(problem.theta.size, -1))

    def policy_gradient(self, problem: Any) -> Array:
        m, (pi, V, mu) = problem.mdp, self._chain(problem)
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        return 2 * (problem.observations.T @ (mu[:, None] * pi * adv)).ravel()

    def natural_gradient(self, problem: Any) -> Array:
        g = self.policy_gradient(problem)
        return np.linalg.lstsq(self.fisher(problem), g, rcond=1e-11)[0]


@wrong(
    "positive-advantages-only",
    tells="positive-advantages-only",
    stage=RETURNS,
    refutes=GRADIENT,
    spares="advantage fisher",
)
class PositiveAdvantages(ExactSoftmax):
    """max(A, 0) as the critic: learn from successes only."""

    def critic(self, problem: Any) -> Array:
        return np.maximum(self.advantage(problem), 0.0)


@wrong(
    "gamma-hard-coded",
    tells="wrong-discount",
    stage=RETURNS,
    refutes="value q_value objective",
    whole=True,
)
class GammaHardCoded:
    """γ = 0.99 from the configuration file, whatever the problem says."""

    gamma = 0.99

    def value(self, problem: Any) -> Array:
        m = problem.mdp
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
        P = np.einsum("sa,sat->st", pi, m.transitions)
        return np.linalg.solve(np.eye(len(P)) - self.gamma * P, (pi * m.rewards).sum(axis=1))

    def q_value(self, problem: Any) -> Array:
        m = problem.mdp
        return np.asarray(m.rewards + self.gamma * m.transitions @ self.value(problem))

    def objective(self, problem: Any) -> float:
        return float(problem.mdp.initial_distribution @ self.value(problem))


@wrong(
    "gamma-in-single-precision",
    tells="limited-accuracy",
    stage=RETURNS,
    kind="approximation",
    outcome="either",
    refutes="value q_value",
    whole=True,
)
class GammaInSinglePrecision(GammaHardCoded):
    """γ went through a float32: right for γ = ½, in the eighth digit for γ = 0.9."""

    def value(self, problem: Any) -> Array:
        self.gamma = float(np.float32(problem.mdp.discount))
        return super().value(problem)


@wrong(
    "starts-assumed-uniform",
    tells="starts-assumed-uniform",
    stage="state weighting",
    refutes="state_distribution objective",
    spares="value",
    whole=True,
)
class UniformStarts:
    """The initial distribution is never read: every state is a start."""

    def _resolvent(self, problem: Any) -> tuple[Array, Array]:
        m = problem.mdp
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
        P = np.einsum("sa,sat->st", pi, m.transitions)
        inverse = np.linalg.solve(np.eye(len(P)) - m.discount * P, np.eye(len(P)))
        return inverse, (pi * m.rewards).sum(axis=1)

    def value(self, problem: Any) -> Array:
        inverse, r = self._resolvent(problem)
        return np.asarray(inverse @ r)

    def state_distribution(self, problem: Any) -> Array:
        return (1 - problem.mdp.discount) * self._resolvent(problem)[0].mean(axis=0)

    def objective(self, problem: Any) -> float:
        return float(self.value(problem).mean())


@wrong(
    "absorbing-states-dropped",
    tells="terminal-states-dropped",
    stage="state weighting",
    refutes="state_distribution fisher",
    spares="value",
)
class AbsorbingDropped(ExactSoftmax):
    """States that end an episode are taken out of d, and the rest is renormalised."""

    def state_distribution(self, problem: Any) -> Array:
        d = np.array(super().state_distribution(problem))
        m = problem.mdp
        for s in range(problem.num_states):
            if np.all(m.transitions[s, :, s] == 1.0) and not np.any(m.rewards[s]):
                d[s] = 0.0
        return np.asarray(d / d.sum()) if d.sum() > 0 else d


@wrong("dropout-left-on", stage="glue", refutes="log_prob score", whole=True)
class DropoutLeftOn:
    """Features are dropped at random when the policy is evaluated."""

    def _masked(self, problem: Any, state: int) -> tuple[Array, Array]:
        x = problem.observations[state]
        x = x * (np.random.random(len(x)) > 0.2) / 0.8
        z = x @ problem.theta.reshape(len(x), -1)
        return x, np.exp(z - np.logaddexp.reduce(z))

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(np.log(self._masked(problem, state)[1][action]))

    def score(self, problem: Any, state: int, action: int) -> Array:
        x, p = self._masked(problem, state)
        return np.kron(x, np.eye(len(p))[action] - p)


@wrong(
    "log-prob-clipped",
    tells="limited-range",
    stage=SCORE,
    kind="approximation",
    outcome="either",
    refutes="log_prob",
    spares="score",
)
class LogProbClipped(ExactSoftmax):
    """log max(π, 1e-8): only nearly deterministic policies show it."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(np.log(max(self.pi(problem)[state, action], 1e-8)))


@wrong(
    "last-action-forgotten",
    tells="last-action-forgotten",
    stage="glue",
    refutes="fisher policy_gradient",
    whole=True,
)
class LastActionForgotten:
    """for a in range(A − 1), as if the last action had no parameters."""

    def _parts(self, problem: Any) -> tuple[Array, Array, Array, Array]:
        m, X = problem.mdp, problem.observations
        z = X @ problem.theta.reshape(X.shape[1], -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
        M = np.eye(len(X)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        mu = np.linalg.solve(M.T, m.initial_distribution)
        return pi, m.rewards + m.discount * m.transitions @ V - V[:, None], mu, X

    def policy_gradient(self, problem: Any) -> Array:
        pi, adv, mu, X = self._parts(problem)
        g = np.zeros(problem.theta.size)
        for s, x in enumerate(X):
            for a in range(pi.shape[1] - 1):
                g += mu[s] * pi[s, a] * adv[s, a] * np.kron(x, np.eye(pi.shape[1])[a] - pi[s])
        return g

    def fisher(self, problem: Any) -> Array:
        pi, _, mu, X = self._parts(problem)
        F = np.zeros((problem.theta.size,) * 2)
        for s, x in enumerate(X):
            for a in range(pi.shape[1] - 1):
                phi = np.kron(x, np.eye(pi.shape[1])[a] - pi[s])
                F += mu[s] / mu.sum() * pi[s, a] * np.outer(phi, phi)
        return F


@wrong(
    "exploration-mixed-in",
    tells="exploration-mixed-in",
    stage=SCORE,
    refutes="log_prob kl policy_gradient",
    spares="value",
)
class ExplorationMixedIn(ExactSoftmax):
    """Probabilities and log-probabilities of (1 − ε)π + ε/A with ε = 1e-3, scores of π."""

    def mixed(self, problem: Any, theta: Array) -> Array:
        pi = self.pi(problem, theta)
        return np.asarray(0.999 * pi + 0.001 / pi.shape[1])

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(np.log(self.mixed(problem, problem.theta)[state, action]))

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self.mixed(problem, problem.theta), self.mixed(problem, theta)
        return float(self.kl_weights(problem) @ (old * np.log(old / new)).sum(axis=1))

    def policy_gradient(self, problem: Any) -> Array:
        joint = self.state_distribution(problem)[:, None] * self.mixed(problem, problem.theta)
        phi, scale = self.scores(problem), self.gradient_scale(problem)
        return scale * np.einsum("sa,sad->d", joint * self.advantage(problem), phi)


class _Sweeps(ExactSoftmax):
    """V by sweeps that stop at a tolerance."""

    tolerance = 1e-3

    def value(self, problem: Any) -> Array:
        P, r, V = self.chain(problem), self.mean_reward(problem), np.zeros(problem.num_states)
        for _ in range(20_000):
            new = r + problem.mdp.discount * (P @ V)
            if np.abs(new - V).max() < self.tolerance:
                return np.asarray(new)
            V = new
        return V


@wrong(
    "evaluation-stopped-at-1e-3",
    tells="value-sweeps-stopped-at-a-tolerance",
    also="limited-accuracy",
    stage=RETURNS,
    kind="approximation",
    outcome="either",
    refutes="value policy_gradient",
    spares="state_distribution fisher",
)
class StoppedAtThousandth(_Sweeps):
    """Policy evaluation stops once no value moves by more than 1e-3."""


@wrong(
    "evaluation-stopped-at-1e-7",
    tells="value-sweeps-stopped-at-a-tolerance",
    also="limited-accuracy",
    stage=RETURNS,
    kind="approximation",
    outcome="either",
    refutes="value",
    spares="state_distribution fisher",
)
class StoppedAtTenMillionth(_Sweeps):
    """Policy evaluation stops once no value moves by more than 1e-7."""

    tolerance = 1e-7


@wrong(
    "fisher-a-millionth-off",
    tells="limited-accuracy",
    stage="Fisher definition",
    outcome="either",
    refutes="fisher",
    spares="policy_gradient",
)
class MillionthOff(ExactSoftmax):
    """A value head's Gauss–Newton matrix leaks into F with a weight of 1e-6."""

    def fisher(self, problem: Any) -> Array:
        X, A = problem.observations, problem.num_actions
        head = (X.T * self.state_distribution(problem)) @ X
        return super().fisher(problem) + 1e-6 * np.kron(head, np.ones((A, A)))
