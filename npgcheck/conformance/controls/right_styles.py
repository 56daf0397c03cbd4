"""Right subjects in other hands: lists, sweeps, sparse solves, complex steps, float32, in place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from npgcheck.errors import Unsupported

from ._exact import Array, ExactSoftmax
from .registry import right


@right("python-lists")
class PythonLists:
    """Loops over Python floats, no numpy inside, lists for answers."""

    def _policy(self, problem: Any) -> list[list[float]]:
        obs, theta = problem.observations.tolist(), problem.theta.tolist()
        A, rows = problem.num_actions, []
        for x in obs:
            z = [sum(x[i] * theta[i * A + a] for i in range(len(x))) for a in range(A)]
            top = max(z)
            e = [math.exp(v - top) for v in z]
            total = math.fsum(e)
            rows.append([v / total for v in e])
        return rows

    def _gauss(self, M: list[list[float]], b: list[float]) -> list[float]:
        n = len(b)
        T = [[*row, b[i]] for i, row in enumerate(M)]
        for i in range(n):
            pivot = max(range(i, n), key=lambda r: abs(T[r][i]))
            T[i], T[pivot] = T[pivot], T[i]
            for r in range(i + 1, n):
                f = T[r][i] / T[i][i]
                for c in range(i, n + 1):
                    T[r][c] -= f * T[i][c]
        x = [0.0] * n
        for i in reversed(range(n)):
            x[i] = (T[i][n] - math.fsum(T[i][c] * x[c] for c in range(i + 1, n))) / T[i][i]
        return x

    def _system(self, problem: Any, pi: list[list[float]]) -> list[list[float]]:
        P, S = problem.mdp.transitions.tolist(), problem.num_states
        return [
            [
                float(i == j)
                - problem.mdp.discount * math.fsum(pi[i][a] * P[i][a][j] for a in range(len(pi[i])))
                for j in range(S)
            ]
            for i in range(S)
        ]

    def value(self, problem: Any) -> list[float]:
        pi, r = self._policy(problem), problem.mdp.rewards.tolist()
        mean = [math.fsum(p * q for p, q in zip(pi[s], r[s], strict=True)) for s in range(len(pi))]
        return self._gauss(self._system(problem, pi), mean)

    def q_value(self, problem: Any) -> list[list[float]]:
        V, m = self.value(problem), problem.mdp
        P, r = m.transitions.tolist(), m.rewards.tolist()
        return [
            [
                r[s][a] + m.discount * math.fsum(p * v for p, v in zip(P[s][a], V, strict=True))
                for a in range(problem.num_actions)
            ]
            for s in range(problem.num_states)
        ]

    def advantage(self, problem: Any) -> list[list[float]]:
        V = self.value(problem)
        return [[q - V[s] for q in row] for s, row in enumerate(self.q_value(problem))]

    def state_distribution(self, problem: Any) -> list[float]:
        M = self._system(problem, self._policy(problem))
        transposed = [list(column) for column in zip(*M, strict=True)]
        mu = self._gauss(transposed, problem.mdp.initial_distribution.tolist())
        return [(1 - problem.mdp.discount) * v for v in mu]

    def objective(self, problem: Any) -> float:
        rho = problem.mdp.initial_distribution.tolist()
        return math.fsum(p * v for p, v in zip(rho, self.value(problem), strict=True))

    def policy_gradient(self, problem: Any) -> list[float]:
        pi, adv = self._policy(problem), self.advantage(problem)
        d, obs = self.state_distribution(problem), problem.observations.tolist()
        k, A = problem.observation_size, problem.num_actions
        g = [0.0] * (k * A)
        for s in range(problem.num_states):
            for a in range(A):
                w = d[s] * pi[s][a] * adv[s][a] / (1 - problem.mdp.discount)
                for i in range(k):
                    g[i * A + a] += w * obs[s][i]
        return g

    def score(self, problem: Any, state: int, action: int) -> list[float]:
        pi, x = self._policy(problem)[state], problem.observations[state].tolist()
        return [xi * ((a == action) - pi[a]) for xi in x for a in range(problem.num_actions)]

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        x, theta = problem.observations[state].tolist(), problem.theta.tolist()
        A = problem.num_actions
        z = [sum(x[i] * theta[i * A + a] for i in range(len(x))) for a in range(A)]
        top = max(z)
        return z[action] - top - math.log(math.fsum(math.exp(v - top) for v in z))


@right("iterated-to-convergence", asks="value q_value state_distribution policy_gradient")
class IteratedToConvergence(ExactSoftmax):
    """V by repeated backups, d by repeated pushes, until nothing moves any more."""

    def _fixed_point(self, M: Array, b: Array, gamma: float) -> Array:
        if gamma > 0.99:
            raise Unsupported("plain iteration would need thousands of sweeps at this discount")
        x, last = np.zeros_like(b), np.inf
        while True:
            new = b + gamma * (M @ x)
            moved = float(np.max(np.abs(new - x)))
            # Sweeps contract by γ until round-off is all that moves.
            if (moved >= last and moved <= 1e-13 * np.max(np.abs(new))) or moved == 0:
                return new
            x, last = new, moved

    def value(self, problem: Any) -> Array:
        return self._fixed_point(
            self.chain(problem), self.mean_reward(problem), problem.mdp.discount
        )

    def state_distribution(self, problem: Any) -> Array:
        m = problem.mdp
        start = (1 - m.discount) * m.initial_distribution
        return self._fixed_point(self.chain(problem).T, start, m.discount)


@right("sparse-solver")
class SparseSolver:
    """scipy.sparse everywhere: spsolve for V and d, a sparse Jacobian for F and g."""

    def _parts(self, problem: Any) -> tuple[Array, scipy.sparse.csr_matrix, Array]:
        m, k = problem.mdp, problem.observation_size
        z = problem.observations @ problem.theta.reshape(k, -1)
        pi = np.exp(z - z.max(1, keepdims=True))
        pi = pi / pi.sum(1, keepdims=True)
        S, A = pi.shape
        Pi = scipy.sparse.csr_matrix(
            (pi.ravel(), (np.repeat(np.arange(S), A), np.arange(S * A))), shape=(S, S * A)
        )
        flat = scipy.sparse.csr_matrix(m.transitions.reshape(S * A, S))
        system = scipy.sparse.identity(S, format="csc") - m.discount * (Pi @ flat).tocsc()
        return pi, system.tocsc(), Pi

    def value(self, problem: Any) -> Array:
        pi, system, _ = self._parts(problem)
        mean = (pi * problem.mdp.rewards).sum(1)
        return np.atleast_1d(scipy.sparse.linalg.spsolve(system, mean))

    def state_distribution(self, problem: Any) -> Array:
        _, system, _ = self._parts(problem)
        rho = problem.mdp.initial_distribution
        d = scipy.sparse.linalg.spsolve(system.T.tocsc(), rho)
        return np.atleast_1d((1 - problem.mdp.discount) * d)

    def _jacobian(self, problem: Any) -> scipy.sparse.csr_matrix:
        X = scipy.sparse.csr_matrix(problem.observations)
        return scipy.sparse.kron(X, scipy.sparse.identity(problem.num_actions), format="csr")

    def policy_gradient(self, problem: Any) -> Array:
        pi, m, V = self._parts(problem)[0], problem.mdp, self.value(problem)
        Q = m.rewards + m.discount * m.transitions @ V
        cotangent = self.state_distribution(problem)[:, None] * pi * (Q - V[:, None])
        return np.asarray(self._jacobian(problem).T @ cotangent.ravel()) / (1 - m.discount)

    def _weight(self, problem: Any) -> scipy.sparse.csr_matrix:
        pi, d = self._parts(problem)[0], self.state_distribution(problem)
        blocks = [d[s] * (np.diag(p) - np.outer(p, p)) for s, p in enumerate(pi)]
        return scipy.sparse.block_diag(blocks, format="csr")

    def fisher(self, problem: Any) -> Array:
        J = self._jacobian(problem)
        return np.asarray((J.T @ self._weight(problem) @ J).toarray())

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        J = self._jacobian(problem)
        return np.asarray(J.T @ (self._weight(problem) @ (J @ vector)))

    def natural_gradient(self, problem: Any) -> Array:
        return np.linalg.lstsq(self.fisher(problem), self.policy_gradient(problem), rcond=1e-11)[0]


@right("complex-step")
class ComplexStep:
    """Scores and ∇J as Im f(θ + ih)/h, with J itself a complex linear solve."""

    h = 1e-200

    def _log_pi(self, problem: Any, theta: Array) -> Array:
        z = problem.observations @ theta.reshape(problem.observation_size, -1)
        z = z - z.real.max(axis=1, keepdims=True)
        return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))

    def _bumped(self, problem: Any) -> list[Array]:
        D = problem.theta.size
        return [problem.theta + 1j * self.h * row for row in np.eye(D)]

    def score(self, problem: Any, state: int, action: int) -> Array:
        return np.array(
            [self._log_pi(problem, t)[state, action].imag / self.h for t in self._bumped(problem)]
        )

    def _objective(self, problem: Any, theta: Array) -> Any:
        m, pi = problem.mdp, np.exp(self._log_pi(problem, theta))
        P = np.einsum("sa,sat->st", pi, m.transitions)
        V = np.linalg.solve(np.eye(len(P)) - m.discount * P, (pi * m.rewards).sum(1))
        return m.initial_distribution @ V

    def objective(self, problem: Any) -> float:
        return float(self._objective(problem, problem.theta))

    def policy_gradient(self, problem: Any) -> Array:
        return np.array([self._objective(problem, t).imag / self.h for t in self._bumped(problem)])


@right(
    "float32",
    may_deviate="score log_prob policy_gradient fisher natural_gradient kl "
    "fisher_vector_product value advantage q_value state_distribution",
)
class Float32:
    """Single precision from the first line to the last, and float32 answers."""

    def _arrays(self, problem: Any) -> tuple[Array, ...]:
        m = problem.mdp
        f = np.float32
        X, P, r = problem.observations.astype(f), m.transitions.astype(f), m.rewards.astype(f)
        z = X @ problem.theta.astype(f).reshape(X.shape[1], -1)
        e = np.exp(z - z.max(1, keepdims=True))
        pi = e / e.sum(1, keepdims=True, dtype=f)
        gamma = f(m.discount)
        M = np.eye(len(X), dtype=f) - gamma * np.einsum("sa,sat->st", pi, P)
        V = np.linalg.solve(M, (pi * r).sum(1))
        d = (f(1) - gamma) * np.linalg.solve(M.T, m.initial_distribution.astype(f))
        return X, pi, r + gamma * (P @ V), V, d

    def value(self, problem: Any) -> Array:
        return self._arrays(problem)[3]

    def q_value(self, problem: Any) -> Array:
        return self._arrays(problem)[2]

    def state_distribution(self, problem: Any) -> Array:
        return self._arrays(problem)[4]

    def policy_gradient(self, problem: Any) -> Array:
        X, pi, Q, V, d = self._arrays(problem)
        scale = np.float32(1) / np.float32(1 - problem.mdp.discount)
        return np.asarray((X.T @ (d[:, None] * pi * (Q - V[:, None])) * scale).ravel())

    def fisher(self, problem: Any) -> Array:
        X, pi, _, _, d = self._arrays(problem)
        A = pi.shape[1]
        H = np.eye(A, dtype=np.float32) * pi[:, None, :] - pi[:, :, None] * pi[:, None, :]
        F = np.einsum("s,si,sj,sab->iajb", d, X, X, H)
        return np.asarray(F.reshape(X.shape[1] * A, -1))


@right("in-place-with-restore")
class InPlaceWithRestore:
    """Writes into θ and the observations while it works and puts back what it found."""

    def _log_softmax(self, problem: Any) -> Array:
        X = problem.observations
        z = X @ problem.theta.reshape(X.shape[1], -1)
        z -= z.max(1)[:, None]
        z -= np.log(np.exp(z).sum(1))[:, None]
        return np.asarray(z)

    def log_prob(self, problem: Any, state: int, action: int) -> float:
        kept = problem.theta.copy()
        problem.theta -= kept.mean()  # the same logit shift for every action: π is unchanged
        try:
            return float(self._log_softmax(problem)[state, action])
        finally:
            problem.theta[:] = kept

    def kl(self, problem: Any, theta: Array) -> float:
        m, old = problem.mdp, self._log_softmax(problem)
        kept = problem.theta.copy()
        problem.theta[...] = theta
        new = self._log_softmax(problem)
        problem.theta[...] = kept
        P = (np.exp(old)[:, :, None] * m.transitions).sum(1)
        M = np.eye(problem.num_states) - m.discount * P
        mu = np.linalg.solve(M.T, m.initial_distribution)
        return float((mu / mu.sum()) @ (np.exp(old) * (old - new)).sum(1))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        m, X = problem.mdp, problem.observations
        p = np.exp(self._log_softmax(problem))
        P = (p[:, :, None] * m.transitions).sum(1)
        M = np.eye(problem.num_states) - m.discount * P
        mu = np.linalg.solve(M.T, m.initial_distribution)
        u = X @ vector.reshape(X.shape[1], -1)
        u -= (p * u).sum(1)[:, None]
        u *= p * (mu / mu.sum())[:, None]
        return np.asarray((X.T @ u).ravel())
