"""Complete small algorithms, each from its own paper or habit, each with one mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._exact import Array
from .registry import wrong

STEP = "step rule"


def _tabular(m: Any, theta: Array) -> tuple[Array, Array]:
    """π and A of a tabular softmax policy."""
    z = np.reshape(theta, m.rewards.shape)
    pi = np.exp(z - z.max(axis=1, keepdims=True))
    pi = pi / pi.sum(axis=1, keepdims=True)
    M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
    V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
    return pi, m.rewards + m.discount * m.transitions @ V - V[:, None]


@wrong(
    "trpo-negates-once-too-often",
    tells="ascent-descent-sign|step-downhill",
    stage="glue",
    refutes="trust_region_proposal",
    whole=True,
)
class NegatesOnce:
    """A whole TRPO on a batch: minimises −L, solves for −g, and then adds the step as it is."""

    families = frozenset({"tabular", "softmax"})

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        b, k, A = problem.batch, problem.observation_size, problem.num_actions
        z = b.observations @ problem.theta.reshape(k, A)
        p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        error = p.copy()
        error[np.arange(len(p)), b.actions] -= 1
        loss_gradient = (b.observations.T @ (error * b.advantages[:, None])).ravel() / len(p)

        def product(v: Array) -> Array:
            u = b.observations @ v.reshape(k, A)
            u = p * (u - (p * u).sum(axis=1, keepdims=True))
            return (b.observations.T @ u).ravel() / len(p)

        x, r = np.zeros_like(loss_gradient), loss_gradient.copy()
        q, rr = r.copy(), r @ r
        for _ in range(3 * len(x)):
            if rr <= 1e-26 * (loss_gradient @ loss_gradient):
                break
            Fq = product(q)
            x, r = x + rr / (q @ Fq) * q, r - rr / (q @ Fq) * Fq
            rr, old = r @ r, rr
            q = r + rr / old * q
        curvature = x @ product(x)
        length = np.sqrt(2 * max_kl / curvature) if curvature > 0 else 0.0
        return np.asarray(problem.theta + length * x)


@wrong(
    "compatible-fit-with-raw-features",
    tells="score-missing-minus-pi",
    stage="solver and damping",
    refutes="natural_gradient",
    whole=True,
)
class RawFeatures:
    """A is fitted by x ⊗ e_a, which are not compatible features unless the policy is tabular."""

    families = frozenset({"softmax"})

    def natural_gradient(self, problem: Any) -> Array:
        m, X, A = problem.mdp, problem.observations, problem.num_actions
        z = X @ problem.theta.reshape(-1, A)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        mu = np.linalg.solve(M.T, m.initial_distribution)
        Q = m.rewards + m.discount * m.transitions @ V
        W = np.zeros((X.shape[1], A))
        for a in range(A):  # one regression per action
            w = np.sqrt(mu * pi[:, a])
            W[:, a] = np.linalg.lstsq(w[:, None] * X, w * (Q[:, a] - V), rcond=1e-10)[0]
        return np.asarray(W.ravel() / (1 - m.discount))


@wrong("states-updated-one-after-another", stage=STEP, refutes="train", whole=True)
class GaussSeidel:
    """Each state is updated with the advantages of a policy whose earlier states have moved."""

    families = frozenset({"tabular"})

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        theta = np.array(problem.theta).reshape(problem.mdp.rewards.shape)
        for _ in range(iterations):
            for s in range(len(theta)):
                _, adv = _tabular(problem.mdp, theta)
                theta[s] += step_size * adv[s] / (1 - problem.mdp.discount)
            yield theta.ravel().copy()


@wrong(
    "multiplicative-weights-base-two",
    tells="log-base-two",
    stage=STEP,
    refutes="update",
    whole=True,
)
class BaseTwo:
    """π ← π · 2^{ηA/(1−γ)}, renormalised."""

    families = frozenset({"tabular"})

    def update(self, problem: Any, step_size: float) -> Array:
        pi, adv = _tabular(problem.mdp, problem.theta)
        weights = pi * np.exp2(step_size * adv / (1 - problem.mdp.discount))
        return np.log(weights / weights.sum(axis=1, keepdims=True)).ravel()


@wrong("linearised-multiplicative-weights", stage=STEP, refutes="update", whole=True)
class Linearised:
    """π ← π (1 + ηA/(1−γ)), cut at 1e-6: right to first order in η only."""

    families = frozenset({"tabular"})

    def update(self, problem: Any, step_size: float) -> Array:
        pi, adv = _tabular(problem.mdp, problem.theta)
        moved = np.maximum(pi * (1 + step_size * adv / (1 - problem.mdp.discount)), 1e-6)
        return np.log(moved / moved.sum(axis=1, keepdims=True)).ravel()


@wrong("greedy-policy-improvement", stage=STEP, refutes="update", whole=True)
class GreedyImprovement:
    """Policy iteration called natural gradient: all weight on the best action at once."""

    families = frozenset({"tabular"})

    def update(self, problem: Any, step_size: float) -> Array:
        _, adv = _tabular(problem.mdp, problem.theta)
        best = adv == adv.max(axis=1, keepdims=True)
        return np.where(best, 10.0 * step_size, -10.0 * step_size).ravel()


@wrong(
    "rollout-of-forty-steps",
    tells="value-sweeps-cut-off|horizon-cut-off",
    stage="return and advantage",
    kind="approximation",
    outcome="either",
    refutes="value objective",
    whole=True,
)
class FortySteps:
    """V as the expected return of a rollout that stops after forty steps without a bootstrap."""

    def value(self, problem: Any) -> Array:
        m = problem.mdp
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        law, total = np.eye(len(pi)), np.zeros(len(pi))
        for t in range(40):
            total += m.discount**t * law @ (pi * m.rewards).sum(axis=1)
            law = np.einsum("us,sa,sat->ut", law, pi, m.transitions)
        return total

    def objective(self, problem: Any) -> float:
        return float(problem.mdp.initial_distribution @ self.value(problem))


@wrong(
    "difference-quotient-score",
    tells="finite-difference-eps",
    stage="score and objective",
    kind="approximation",
    outcome="either",
    refutes="score",
    whole=True,
)
class DifferenceQuotient:
    """One-sided differences of log π with a step of 1e-2."""

    def score(self, problem: Any, state: int, action: int) -> Array:
        x = problem.observations[state]

        def log_pi(theta: Array) -> float:
            z = x @ theta.reshape(len(x), -1)
            return float(z[action] - np.logaddexp.reduce(z))

        base = log_pi(problem.theta)
        steps = 1e-2 * np.eye(problem.theta.size)
        return np.array([(log_pi(problem.theta + h) - base) / 1e-2 for h in steps])


@wrong(
    "deterministic-gradient-for-gaussians",
    tells="log-std-omitted",
    stage="score and objective",
    refutes="policy_gradient",
    whole=True,
)
class DeterministicGradient:
    """The reward's slope at the mean action: what σ does to the reward is forgotten."""

    families = frozenset({"gaussian"})

    def policy_gradient(self, problem: Any) -> Array:
        m, k = problem.mdp, problem.observation_size
        _, b, M = m.reward_quadratic
        mu = problem.observations @ problem.theta[: k * problem.action_size].reshape(k, -1)
        visits = np.linalg.solve(
            np.eye(problem.num_states) - m.discount * m.transitions.T, m.initial_distribution
        )
        slope = b + np.einsum("sij,sj->si", M, mu) + np.einsum("sij,si->sj", M, mu)
        weights = np.einsum("s,sk,sj->kj", visits, problem.observations, slope)
        return np.concatenate([weights.ravel(), np.zeros(problem.action_size)])


@wrong(
    "sigma-gradient-without-chain-rule",
    tells="sigma-coordinate|score-in-another-sigma-coordinate",
    stage="parametrisation",
    kind="convention",
    refutes="policy_gradient",
    whole=True,
)
class WithoutChainRule:
    """∂J/∂σ is returned where θ holds log σ: the factor σ is missing."""

    families = frozenset({"gaussian"})

    def policy_gradient(self, problem: Any) -> Array:
        m, k, a = problem.mdp, problem.observation_size, problem.action_size
        _, b, M = m.reward_quadratic
        W, sigma = problem.theta[: k * a].reshape(k, a), np.exp(problem.theta[k * a :])
        visits = np.linalg.solve(
            (np.eye(problem.num_states) - m.discount * m.transitions).T, m.initial_distribution
        )
        total = np.zeros((k, a))
        widths = np.zeros(a)
        for s, w in enumerate(visits):
            x = problem.observations[s]
            total += w * np.outer(x, b[s] + (M[s] + M[s].T) @ (x @ W))
            widths += w * 2 * np.diag(M[s]) * sigma
        return np.concatenate([total.ravel(), widths])


@wrong(
    "features-centred-in-the-batch", stage="estimator", refutes="fisher_vector_product", whole=True
)
class FeaturesCentred:
    """A running normaliser is left on: features are centred over the batch inside the product."""

    families = frozenset({"softmax"})

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        raw = problem.batch.observations
        z = raw @ problem.theta.reshape(raw.shape[1], -1)
        p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        X = raw - raw.mean(axis=0)
        u = X @ vector.reshape(X.shape[1], -1)
        u = p * (u - (p * u).sum(axis=1, keepdims=True))
        return np.asarray((X.T @ u).ravel() / len(X))
