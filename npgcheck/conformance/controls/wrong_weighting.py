"""Planted mistakes of state weighting: which states count, how much, and in which of F and g."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import Unsupported

from ._exact import Array, ExactSoftmax
from ._rows import BatchSoftmax, EpisodeSoftmax, row_log_pi
from .registry import wrong

STAGE = "state weighting"


@wrong(
    "start-states-only",
    tells="start-state-weights|weights-differ-between-F-and-g",
    stage=STAGE,
    refutes="policy_gradient",
    spares="fisher value kl",
)
class StartStatesOnly(ExactSoftmax):
    """g averages over the initial distribution ρ instead of the occupancy d."""

    def gradient_weights(self, problem: Any) -> Array:
        return np.asarray(problem.mdp.initial_distribution)


@wrong(
    "weights-differ-between-F-and-g",
    tells="weights-differ-between-F-and-g|uniform-state-weights",
    stage=STAGE,
    refutes="natural_gradient",
    spares="policy_gradient",
    source="mushroom-rl d5f3ae73",
)
class WeightsDiffer(ExactSoftmax):
    """F over uniformly weighted states, g over d."""

    def fisher_weights(self, problem: Any) -> Array:
        return np.full(problem.num_states, 1 / problem.num_states)


@wrong(
    "undiscounted-weighting",
    tells="missing-gamma-t",
    also="weights-differ-between-F-and-g",
    stage=STAGE,
    kind="convention",
    refutes="policy_gradient fisher",
    spares="value advantage",
    source="most deep-RL code",
)
class UndiscountedWeighting(ExactSoftmax):
    """Plain visitation frequencies in F and g, while A keeps γ."""

    def visits(self, problem: Any) -> Array:
        P, S = self.chain(problem), problem.num_states
        m = problem.mdp
        stuck = [
            s
            for s in range(S)
            if np.all(m.transitions[s, :, s] == 1.0) and not np.any(m.rewards[s])
        ]
        live = np.setdiff1d(np.arange(S), stuck)
        if stuck:
            inner = np.eye(len(live)) - P[np.ix_(live, live)]
            if np.linalg.matrix_rank(inner) < len(live):
                raise Unsupported("some state is never left, so visits do not settle")
            n = np.zeros(S)
            n[live] = np.linalg.solve(inner.T, m.initial_distribution[live])
            return np.asarray(n / n.sum())
        values, vectors = np.linalg.eig(P.T)
        unit = np.abs(values - 1) < 1e-8
        if unit.sum() != 1:
            raise Unsupported("the stationary distribution is not unique")
        d = np.real(vectors[:, unit][:, 0])
        return np.asarray(d / d.sum())

    def gradient_weights(self, problem: Any) -> Array:
        return self.visits(problem)

    def fisher_weights(self, problem: Any) -> Array:
        return self.visits(problem)

    def kl_weights(self, problem: Any) -> Array:
        return self.visits(problem)

    def surrogate(self, problem: Any, theta: Array) -> float:
        gain = (self.pi(problem, theta) * self.advantage(problem)).sum(axis=1)
        return float(self.visits(problem) @ gain) / (1 - problem.mdp.discount)


@wrong(
    "occupancy-not-transposed",
    tells="occupancy-not-transposed",
    stage=STAGE,
    refutes="state_distribution policy_gradient fisher",
    spares="value q_value score",
    whole=True,
)
class OccupancyNotTransposed:
    """d solves (I − γP)d = ρ, the equation of V, where d belongs to Pᵀ."""

    def _all(self, problem: Any) -> tuple[Array, Array, Array]:
        X, m = problem.observations, problem.mdp
        z = X @ problem.theta.reshape(X.shape[1], -1)
        pi = np.exp(z - z.max(1, keepdims=True))
        pi /= pi.sum(1, keepdims=True)
        inverse = np.linalg.solve(
            np.eye(len(X)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions), np.eye(len(X))
        )
        d = (1 - m.discount) * inverse @ m.initial_distribution
        return pi, inverse @ (pi * m.rewards).sum(1), d

    def value(self, problem: Any) -> Array:
        return self._all(problem)[1]

    def q_value(self, problem: Any) -> Array:
        m = problem.mdp
        return np.asarray(m.rewards + m.discount * m.transitions @ self.value(problem))

    def state_distribution(self, problem: Any) -> Array:
        return self._all(problem)[2]

    def policy_gradient(self, problem: Any) -> Array:
        pi, V, d = self._all(problem)
        push = d[:, None] * pi * (self.q_value(problem) - V[:, None])
        return (problem.observations.T @ push).ravel() / (1 - problem.mdp.discount)

    def score(self, problem: Any, state: int, action: int) -> Array:
        direction = -self._all(problem)[0][state]
        direction[action] += 1
        return np.kron(problem.observations[state], direction)

    def fisher(self, problem: Any) -> Array:
        pi, _, d = self._all(problem)
        X = problem.observations
        return sum(
            w * np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))
            for w, x, p in zip(d, X, pi, strict=True)
        )


class _PushedOccupancy:
    """d by pushing ρ through the chain, in a loop with one thing wrong."""

    families = frozenset({"tabular", "softmax"})
    horizon, first, power = 4000, 0, 1

    def _pi(self, problem: Any) -> Array:
        z = problem.observations.dot(problem.theta.reshape(-1, problem.num_actions))
        w = np.exp(z - np.amax(z, axis=1)[:, np.newaxis])
        return np.asarray(w / np.sum(w, axis=1)[:, np.newaxis])

    def state_distribution(self, problem: Any) -> Array:
        pi, m = self._pi(problem), problem.mdp
        if m.discount > 0.99:
            raise Unsupported("the loop would be too long")
        d, p = np.zeros(problem.num_states), np.array(m.initial_distribution)
        for t in range(self.horizon):
            if t >= self.first:
                d += (1 - m.discount) * m.discount ** (self.power * t) * p
            p = np.einsum("s,sa,sat->t", p, pi, m.transitions)
            if m.discount**t < 1e-18:
                break
        return d

    def fisher(self, problem: Any) -> Array:
        pi, d = self._pi(problem), self.state_distribution(problem)
        F = np.zeros((problem.theta.size, problem.theta.size))
        for s, x in enumerate(problem.observations):
            for a in range(problem.num_actions):
                e = np.zeros(problem.num_actions)
                e[a] = 1
                phi = np.outer(x, e - pi[s]).reshape(-1)
                F += d[s] * pi[s, a] * np.outer(phi, phi)
        return F


@wrong(
    "horizon-cut-at-twelve",
    tells="horizon-cut-off",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes="state_distribution fisher",
    whole=True,
)
class HorizonCut(_PushedOccupancy):
    """The occupancy stops after twelve steps, whatever γ is."""

    horizon = 12


@wrong(
    "first-step-skipped",
    tells="first-step-skipped|next-state-weights",
    stage=STAGE,
    refutes="state_distribution fisher",
    whole=True,
)
class FirstStepSkipped(_PushedOccupancy):
    """The occupancy starts to count after the first transition."""

    first = 1


@wrong(
    "gamma-squared-occupancy",
    tells="gamma-t-twice",
    stage=STAGE,
    refutes="state_distribution fisher",
    whole=True,
)
class GammaSquared(_PushedOccupancy):
    """γ is applied twice: once in the chain, once in the weights."""

    power = 2


@wrong(
    "every-state-counts-alike",
    tells="uniform-state-weights|weights-differ-between-F-and-g",
    also="start-state-weights starts-assumed-uniform",  # starts that are uniform: 1/S as well
    stage=STAGE,
    refutes="policy_gradient natural_gradient",
)
class EveryStateAlike(ExactSoftmax):
    """g is the plain mean over states."""

    def gradient_weights(self, problem: Any) -> Array:
        return np.full(problem.num_states, 1 / problem.num_states)


@wrong(
    "horizon-factor-twice",
    tells="horizon-factor-twice",
    stage=STAGE,
    refutes="policy_gradient natural_gradient",
    spares="fisher state_distribution",
)
class HorizonFactorTwice(ExactSoftmax):
    """Unnormalised occupancy in g, and 1/(1−γ) in front of it as well."""

    def gradient_scale(self, problem: Any) -> float:
        return float((1 - problem.mdp.discount) ** -2)


@wrong(
    "undiscounted-episode-mean",
    tells="missing-gamma-t",
    stage=STAGE,
    kind="convention",
    refutes="policy_gradient fisher",
    whole=True,
    source="Spinning Up, baselines, sb3",
)
class UndiscountedEpisodes:
    """All steps of all trajectories in one plain mean, without γᵗ."""

    def _rows(self, problem: Any) -> tuple[Array, Array, Array]:
        E = problem.episodes
        return (
            np.concatenate([e.observations for e in E]),
            np.concatenate([e.actions for e in E]),
            np.concatenate([e.advantages for e in E]),
        )

    def policy_gradient(self, problem: Any) -> Array:
        X, a, adv = self._rows(problem)
        c = -np.exp(row_log_pi(problem, X, problem.theta))
        c[np.arange(len(a)), a] += 1
        return np.asarray((X.T @ (c * adv[:, None])).ravel() / len(a))

    def fisher(self, problem: Any) -> Array:
        X, a, _ = self._rows(problem)
        p = np.exp(row_log_pi(problem, X, problem.theta))
        H = np.einsum("na,ab->nab", p, np.eye(p.shape[1])) - np.einsum("na,nb->nab", p, p)
        F = np.einsum("ni,nab,nj->iajb", X, H, X) / len(a)
        return np.asarray(F.reshape(problem.theta.size, -1))


@wrong(
    "per-trajectory-mean",
    tells="per-trajectory-mean",
    stage=STAGE,
    kind="convention",
    refutes="policy_gradient fisher",
)
class PerTrajectoryMean(EpisodeSoftmax):
    """Every trajectory weighs the same: the mean over trajectories of the mean over steps."""

    def step_weights(self, episode: Any) -> Array:
        return np.full(len(episode.rewards), 1 / len(episode.rewards))

    def estimate(self, episode: Any) -> Array:
        return np.asarray(episode.advantages)


@wrong(
    "gamma-t-not-reset",
    tells="gamma-t-not-reset|rows-weighted-as-time",
    stage=STAGE,
    refutes="policy_gradient",
    whole=True,
)
class GammaNotReset:
    """γᵗ keeps counting through the concatenated trajectories."""

    def policy_gradient(self, problem: Any) -> Array:
        total, t = np.zeros(problem.theta.size), 0
        for e in problem.episodes:
            logp = row_log_pi(problem, e.observations, problem.theta)
            for x, a, adv, lp in zip(e.observations, e.actions, e.advantages, logp, strict=True):
                onehot = np.zeros(len(lp))
                onehot[a] = 1
                total += e.discount**t * adv * np.outer(x, onehot - np.exp(lp)).ravel()
                t += 1
        return np.asarray(total / len(problem.episodes))


@wrong(
    "gamma-t-in-F-only",
    tells="weights-differ-between-F-and-g|missing-gamma-t",
    stage=STAGE,
    refutes="natural_gradient",
    whole=True,
)
class GammaInFisherOnly(EpisodeSoftmax):
    """F weighs step t by γᵗ, g does not."""

    def policy_gradient(self, problem: Any) -> Array:
        g, n = np.zeros(problem.theta.size), 0
        for e in problem.episodes:
            p = np.exp(row_log_pi(problem, e.observations, problem.theta))
            p[np.arange(len(p)), e.actions] -= 1
            g -= (e.observations.T @ (p * e.advantages[:, None])).ravel()
            n += len(p)
        return np.asarray(g / n)

    def natural_gradient(self, problem: Any) -> Array:
        F = self.fisher(problem)
        return np.linalg.pinv(F, rcond=1e-11, hermitian=True) @ self.policy_gradient(problem)


@wrong(
    "fisher-state-subsample",
    tells="fisher-state-subsample",
    stage=STAGE,
    kind="approximation",
    outcome="either",
    refutes="fisher_vector_product natural_gradient",
    spares="policy_gradient",
    source="baselines trpo_mpi",
)
class FisherSubsample(BatchSoftmax):
    """Every fifth row for F, all rows for g."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        X = problem.batch.observations[::5]
        pi = np.exp(row_log_pi(problem, X, problem.theta))
        jv = X @ vector.reshape(X.shape[1], -1)
        jv = pi * (jv - (pi * jv).sum(axis=1, keepdims=True))
        return np.asarray((X.T @ jv).ravel() / len(X))


@wrong(
    "rows-weighted-as-time",
    tells="rows-weighted-as-time|gamma-t-not-reset",
    stage=STAGE,
    refutes="policy_gradient",
    spares="fisher kl",
)
class RowsWeightedAsTime(BatchSoftmax):
    """Row i of a shuffled batch is weighed by γⁱ, as if the batch were one trajectory."""

    def policy_gradient(self, problem: Any) -> Array:
        w = problem.mdp.discount ** np.arange(len(problem.batch.actions))
        c = w * self.advantages(problem)
        return np.asarray(c @ self.row_scores(problem) / w.sum())
