"""Right subjects that see no MDP: batch averages and trajectories with GAE."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from ._rows import BatchSoftmax, EpisodeSoftmax, row_log_pi
from .registry import WITH_EPISODES, right

right("batch-average")(BatchSoftmax)
right("trajectories-gae-0.95", problems=WITH_EPISODES)(EpisodeSoftmax)


@right("trajectories-gae-0", problems=WITH_EPISODES)
class TemporalDifference(EpisodeSoftmax):
    """One-step temporal-difference errors of the exact critic: GAE with λ = 0."""

    lam = 0.0


@right("trajectories-gae-1", problems=WITH_EPISODES)
class MonteCarlo(EpisodeSoftmax):
    """Discounted returns minus the exact critic: GAE with λ = 1."""

    lam = 1.0


@right("trajectories-gae-0.5", problems=WITH_EPISODES)
class HalfLambda(EpisodeSoftmax):
    """Trajectories with λ = 0.5."""

    lam = 0.5


@right("gae-as-a-matrix")
class GaeAsAMatrix:
    """GAE as a triangular solve, (I − N) A = δ with N the masked decay on the superdiagonal."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        end = np.logical_or(terminated, truncated)
        delta = rewards + discount * np.where(terminated, 0.0, next_values) - values
        decay = np.where(end, 0.0, discount * lam)[:-1]
        system = np.eye(len(rewards)) - np.diag(decay, k=1)
        return np.linalg.solve(system, delta)


@right("batch-gram-solve")
class BatchGramSolve:
    """x by weighted least squares on row blocks √π φ, never forming F; g by a flattened matmul."""

    families = frozenset({"tabular", "softmax"})

    def _blocks(self, problem: Any) -> tuple[Array, Array]:
        b, A = problem.batch, problem.num_actions
        z = b.observations @ problem.theta.reshape(-1, A)
        p = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
        eye = np.eye(A)
        rows = []
        for x, q in zip(b.observations, p, strict=True):
            for a in range(A):
                rows.append(np.sqrt(q[a] / len(p)) * np.kron(x, eye[a] - q))
        return np.array(rows), p

    def policy_gradient(self, problem: Any) -> Array:
        b, (_, p) = problem.batch, self._blocks(problem)
        cotangent = -p * b.advantages[:, None]
        np.add.at(cotangent, (np.arange(len(p)), b.actions), b.advantages)
        return np.asarray((b.observations.T @ cotangent).ravel() / len(p))

    def natural_gradient(self, problem: Any) -> Array:
        rows, _ = self._blocks(problem)
        _, s, Vt = np.linalg.svd(rows, full_matrices=False)
        keep = s > 1e-6 * s[0]
        coefficients = (Vt[keep] @ self.policy_gradient(problem)) / s[keep] ** 2
        return np.asarray(Vt[keep].T @ coefficients)

    def fisher(self, problem: Any) -> Array:
        rows, _ = self._blocks(problem)
        return np.asarray(rows.T @ rows)


@right("reinforce-with-the-whole-return", problems=WITH_EPISODES)
class Reinforce:
    """E[R Σ_t φ_t] with the discounted return of the whole trajectory and no γᵗ on the score."""

    families = frozenset({"tabular", "softmax"})

    def policy_gradient(self, problem: Any) -> Array:
        g, episodes = np.zeros(problem.theta.size), problem.episodes
        for e in episodes:
            power = e.discount ** np.arange(len(e.rewards))
            cut = 0.0 if e.terminated[-1] else e.discount * power[-1] * e.next_values[-1]
            pi = np.exp(row_log_pi(problem, e.observations, problem.theta))
            pi[np.arange(len(pi)), e.actions] -= 1.0
            g -= (power @ e.rewards + cut) * (e.observations.T @ pi).ravel()
        return g / len(episodes)


@right("batch-td-residual")
class BatchTdResidual(BatchSoftmax):
    """r + γV(s′) − V(s) as the critic, row by row."""

    def advantages(self, problem: Any) -> Array:
        b = problem.batch
        future = np.where(b.terminated, 0.0, b.next_values)
        return np.asarray(b.rewards + problem.mdp.discount * future - b.values)


@right(
    "batch-mean-baseline",
    may_deviate="policy_gradient natural_gradient trust_region_proposal surrogate",
)
class BatchMeanBaseline(BatchSoftmax):
    """Advantages centred over the batch: a constant baseline, so unbiased."""

    def advantages(self, problem: Any) -> Array:
        a = problem.batch.advantages
        return np.asarray(a - a.mean())


@right("declared-empirical-fisher")
class DeclaredEmpiricalFisher(BatchSoftmax):
    """φφᵀ over the batch's own actions, and says so."""

    @property
    def conventions(self) -> Any:
        from npgcheck.conventions import Conventions

        return Conventions(fisher="empirical", sampled="batch")

    def fisher(self, problem: Any) -> Array:
        phi = self.row_scores(problem)
        return np.asarray(phi.T @ phi / len(phi))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        phi = self.row_scores(problem)
        return np.asarray(phi.T @ (phi @ vector) / len(phi))
