"""Planted mistakes of glue: sign, order, dtype, state kept between calls, faults of all kinds."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._rows import BatchSoftmax
from .registry import wrong

STAGE = "glue"


def _policy(problem: Any) -> Array:
    z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
    return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))


def _occupancy(problem: Any, pi: Array) -> Array:
    m = problem.mdp
    M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->ts", pi, m.transitions)
    return np.asarray((1 - m.discount) * np.linalg.solve(M, m.initial_distribution))


@wrong(
    "descent-sign",
    tells="ascent-descent-sign|negative-score|advantage-negated|gradient-of-the-loss",
    stage=STAGE,
    refutes="policy_gradient natural_gradient update",
    spares="fisher value",
)
class DescentSign(ExactSoftmax):
    """The gradient of the loss −J, added where it should be subtracted."""

    def policy_gradient(self, problem: Any) -> Array:
        return -super().policy_gradient(problem)


@wrong(
    "sign-of-x-only",
    tells="ascent-descent-sign",
    stage=STAGE,
    refutes="natural_gradient",
    spares="policy_gradient fisher",
)
class SignOfX(ExactSoftmax):
    """g points uphill, x downhill."""

    def solve(self, F: Array, g: Array) -> Array:
        return -super().solve(F, g)


@wrong(
    "sum-in-g-mean-in-F",
    tells="sum-in-g-mean-in-F",
    stage=STAGE,
    refutes="policy_gradient",
    spares="fisher kl",
)
class SumInGradient(BatchSoftmax):
    """g sums over the rows, F averages."""

    def policy_gradient(self, problem: Any) -> Array:
        return super().policy_gradient(problem) * len(problem.batch.actions)


@wrong(
    "theta-in-column-order",
    tells="theta-read-action-major",
    stage="parametrisation",
    refutes="log_prob score fisher",
    whole=True,
)
class ColumnOrder:
    """θ is read as (A, k) and transposed; answers are written back as (k, A)."""

    def _pi(self, problem: Any) -> Array:
        W = problem.theta.reshape(problem.num_actions, problem.observation_size).T
        z = problem.observations @ W
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        return float(np.log(np.maximum(self._pi(problem)[state, action], 1e-300)))

    def score(self, problem: Any, state: int, action: int) -> Array:
        p = self._pi(problem)[state]
        return np.kron(problem.observations[state], np.eye(len(p))[action] - p)

    def fisher(self, problem: Any) -> Array:
        pi = self._pi(problem)
        d = _occupancy(problem, pi)
        return np.asarray(
            sum(
                w * np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))
                for w, x, p in zip(d, problem.observations, pi, strict=True)
            )
        )


@wrong(
    "answers-in-column-order",
    tells="order-or-transpose",
    stage="parametrisation",
    refutes="policy_gradient",
    whole=True,
)
class AnswersInColumnOrder:
    """The policy is right, the gradient is flattened as (A, k)."""

    def policy_gradient(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        G = problem.observations.T @ (_occupancy(problem, pi)[:, None] * pi * adv)
        return np.asarray(G.T.ravel() / (1 - m.discount))


@wrong(
    "single-precision-inside",
    tells="limited-accuracy",
    stage=STAGE,
    kind="approximation",
    refutes="policy_gradient fisher",
    whole=True,
)
class SinglePrecisionInside:
    """float32 throughout, cast to float64 at the end."""

    def _all(self, problem: Any) -> tuple[Array, Array, Array, Array]:
        f, m = np.float32, problem.mdp
        X = problem.observations.astype(f)
        z = X @ problem.theta.astype(f).reshape(X.shape[1], -1)
        pi = np.exp(z - z.max(axis=1, keepdims=True))
        pi = pi / pi.sum(axis=1, keepdims=True)
        M = np.eye(len(X), dtype=f) - f(m.discount) * np.einsum(
            "sa,sat->st", pi, m.transitions.astype(f)
        )
        V = np.linalg.solve(M, (pi * m.rewards.astype(f)).sum(axis=1))
        mu = np.linalg.solve(M.T, m.initial_distribution.astype(f))
        A = m.rewards.astype(f) + f(m.discount) * m.transitions.astype(f) @ V - V[:, None]
        return X, pi, mu, A

    def policy_gradient(self, problem: Any) -> Array:
        X, pi, mu, A = self._all(problem)
        return np.asarray((X.T @ (mu[:, None] * pi * A)).ravel().astype(np.float64))

    def fisher(self, problem: Any) -> Array:
        X, pi, mu, _ = self._all(problem)
        H = pi[:, :, None] * (np.eye(pi.shape[1], dtype=np.float32) - pi[:, None, :])
        F = np.einsum("s,si,sab,sj->iajb", mu / mu.sum(), X, H, X)
        return np.asarray(F.reshape(problem.theta.size, -1).astype(np.float64))


@wrong("theta-updated-in-place", stage=STAGE, refutes="update", spares="natural_gradient")
class ThetaUpdatedInPlace(ExactSoftmax):
    """update writes into problem.theta and returns it."""

    def update(self, problem: Any, step_size: float) -> Array:
        x = self.natural_gradient(problem)
        problem.theta += step_size * x
        return np.asarray(problem.theta)


@wrong("rewards-normalised-in-place", stage=STAGE, refutes="value", whole=True)
class RewardsNormalisedInPlace:
    """Rewards are centred inside the problem, so the next question sees others."""

    def value(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        m.rewards[...] -= m.rewards.mean()
        return V


@wrong(
    "answers-differ-from-call-to-call",
    stage="estimator",
    refutes="fisher_vector_product",
    whole=True,
)
class AnswersDiffer:
    """F·v from fifty freshly sampled state-action pairs, without a seed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(20)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        pi = _policy(problem)
        d = np.clip(_occupancy(problem, pi), 0, None)
        states = self.rng.choice(len(pi), size=50, p=d / d.sum())
        total = np.zeros(problem.theta.size)
        for s in states:
            e = -pi[s]
            e[self.rng.choice(len(e), p=pi[s] / pi[s].sum())] += 1
            phi = np.kron(problem.observations[s], e)
            total += (phi @ vector) * phi
        return total / len(states)


@wrong("buffer-not-cleared", stage=STAGE, refutes="policy_gradient", whole=True)
class BufferNotCleared:
    """Gradients accumulate in a buffer that nobody zeroes."""

    def __init__(self) -> None:
        self.buffers: dict[int, Array] = {}

    def policy_gradient(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        g = problem.observations.T @ (_occupancy(problem, pi)[:, None] * pi * adv)
        buffer = self.buffers.setdefault(g.size, np.zeros(g.size))
        buffer += g.ravel() / (1 - m.discount)
        return buffer


@wrong("last-state-forgotten", stage=STAGE, refutes="policy_gradient fisher", whole=True)
class LastStateForgotten:
    """for s in range(S − 1)."""

    def policy_gradient(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        d, g = _occupancy(problem, pi), np.zeros(problem.theta.size)
        for s in range(problem.num_states - 1):
            Q = m.rewards[s] + m.discount * m.transitions[s] @ V
            g += np.kron(problem.observations[s], d[s] * pi[s] * (Q - V[s]))
        return np.asarray(g / (1 - m.discount))

    def fisher(self, problem: Any) -> Array:
        pi = _policy(problem)
        d = _occupancy(problem, pi)
        F = np.zeros((problem.theta.size,) * 2)
        for s in range(problem.num_states - 1):
            x = problem.observations[s]
            F += d[s] * np.kron(np.outer(x, x), np.diag(pi[s]) - np.outer(pi[s], pi[s]))
        return F


@wrong("sizes-hard-coded", stage=STAGE, refutes="advantage", whole=True)
class SizesHardCoded:
    """Written for as many actions as states: anything else raises."""

    def advantage(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        n = problem.num_states
        table = np.zeros((n, n))
        M = np.eye(n) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        for s in range(n):
            for a in range(n):
                table[s, a] = m.rewards[s, a] + m.discount * m.transitions[s, a] @ V - V[s]
        return table


@wrong("errors-become-zeros", stage=STAGE, refutes="natural_gradient", whole=True)
class ErrorsBecomeZeros:
    """try: solve; except: return zeros: the singular case is swept under the carpet."""

    def natural_gradient(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        d, X = _occupancy(problem, pi), problem.observations
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        g = (X.T @ (d[:, None] * pi * adv)).ravel() / (1 - m.discount)
        blocks = (
            w * np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))
            for w, x, p in zip(d, X, pi, strict=True)
        )
        try:
            L = np.linalg.cholesky(sum(blocks))
        except np.linalg.LinAlgError:
            return np.zeros(problem.theta.size)
        return np.linalg.solve(L.T, np.linalg.solve(L, g))


@wrong(
    "not-a-number-where-never-visited",
    tells="limited-range",
    stage=STAGE,
    outcome="either",
    refutes="natural_gradient",
    whole=True,
)
class DividesByOccupancy:
    """A block-wise tabular solve that divides by d(s), and d(s) = 0 gives 0/0."""

    families = frozenset({"tabular"})

    def natural_gradient(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        d = _occupancy(problem, pi)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
        adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
        g = d[:, None] * pi * adv / (1 - m.discount)
        with np.errstate(all="ignore"):
            return np.asarray((g / (d[:, None] * pi)).ravel())


@wrong(
    "division-by-gamma",
    tells="limited-range",
    stage=STAGE,
    outcome="either",
    refutes="q_value",
    whole=True,
)
class DivisionByGamma:
    """Q recovered from V by a division by γ, which a bandit does not survive."""

    def q_value(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        M = (
            np.eye(len(pi)) / np.float64(m.discount)
            if m.discount
            else np.full((len(pi),) * 2, np.nan)
        )
        M = M - np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1)) / m.discount if m.discount else M[0]
        return np.asarray(m.rewards + m.discount * m.transitions @ V)


@wrong("table-for-a-vector", stage=STAGE, refutes="policy_gradient", whole=True)
class TableForVector:
    """Right numbers as an (k, A) table where (D,) is asked."""

    def policy_gradient(self, problem: Any) -> Array:
        return ExactSoftmax().policy_gradient(problem).reshape(problem.observation_size, -1)


@wrong("returns-nothing", stage=STAGE, refutes="fisher", whole=True)
class ReturnsNothing:
    """The return statement is missing."""

    def fisher(self, problem: Any) -> None:
        pi = _policy(problem)
        _ = np.einsum("s,sa,sb->ab", _occupancy(problem, pi), pi, pi)


@wrong("complex-answers", stage=STAGE, refutes="natural_gradient", whole=True)
class ComplexAnswers:
    """np.linalg.eig on a symmetric matrix, with the imaginary parts handed on."""

    def natural_gradient(self, problem: Any) -> Array:
        exact = ExactSoftmax()
        values, vectors = np.linalg.eig(exact.fisher(problem))
        keep = np.abs(values) > 1e-10 * np.abs(values).max()
        inverse = np.where(keep, 1 / np.where(keep, values, 1), 0).astype(complex)
        g = exact.policy_gradient(problem)
        return np.asarray((vectors * inverse) @ np.linalg.solve(vectors, g.astype(complex)))


@wrong("integer-theta", stage=STAGE, refutes="log_prob", whole=True)
class IntegerTheta:
    """θ passes through an integer array."""

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        W = problem.theta.astype(int).reshape(problem.observation_size, -1)
        z = problem.observations[state] @ W
        return float(z[action] - np.logaddexp.reduce(z))


@wrong("states-shifted-by-one", stage=STAGE, refutes="value", whole=True)
class StatesShifted:
    """A state counter from one: V is rolled by one entry."""

    def value(self, problem: Any) -> Array:
        m, pi = problem.mdp, _policy(problem)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
        return np.roll(np.linalg.solve(M, (pi * m.rewards).sum(axis=1)), 1)


@wrong("hangs", stage=STAGE, refutes="natural_gradient", whole=True, isolate=True)
class Hangs:
    """A line search that never ends."""

    def natural_gradient(self, problem: Any) -> Array:
        while True:
            time.sleep(0.05)


@wrong("kills-its-process", stage=STAGE, refutes="fisher", whole=True, isolate=True)
class KillsProcess:
    """Native code that takes the interpreter down with it."""

    def fisher(self, problem: Any) -> Array:
        os._exit(139)


@wrong(
    "theta-left-perturbed",
    also="limited-accuracy",
    stage=STAGE,
    refutes="fisher_vector_product",
    whole=True,
)
class ThetaLeftPerturbed:
    """A difference quotient of ∇KL that moves θ in place and forgets to move it back."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        before, d = _policy(problem), _occupancy(problem, _policy(problem))
        problem.theta[:] = problem.theta + 1e-6 * vector
        moved = (_policy(problem) - before) / 1e-6
        return np.asarray((problem.observations.T @ (d[:, None] * moved)).ravel())


@wrong("product-scales-its-argument", stage=STAGE, refutes="fisher_vector_product", whole=True)
class ScalesItsArgument:
    """The vector is centred in place, which the caller's conjugate gradient will not expect."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        pi = _policy(problem)
        table = vector.reshape(problem.observation_size, -1)
        table -= table.mean(axis=1, keepdims=True)  # leaves F·v as it is
        jv = problem.observations @ table
        jv = pi * (jv - (pi * jv).sum(axis=1, keepdims=True))
        return np.asarray(
            (problem.observations.T @ (_occupancy(problem, pi)[:, None] * jv)).ravel()
        )
