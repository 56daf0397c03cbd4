"""Right subjects on the MDP itself: one exact pipeline, then many ways to solve for x."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg

from ._exact import Array, ExactSoftmax
from .registry import right

right("dense-pseudo-inverse")(ExactSoftmax)


@right("tabular-closed-form")
class TabularClosedForm:
    """Tabular softmax from the closed forms: x = A/(1−γ), F one block diag(π) − ππᵀ a state."""

    families = frozenset({"tabular"})

    def _tables(self, problem: Any) -> tuple[Array, Array, Array, Array, Array]:
        m = problem.mdp
        S, A = m.rewards.shape
        logits = problem.theta.reshape(S, A)
        pi = np.exp(logits - logits.max(1)[:, None])
        pi /= pi.sum(1)[:, None]
        P = np.sum(pi[:, :, None] * m.transitions, axis=1)
        V = np.linalg.solve(np.eye(S) - m.discount * P, np.sum(pi * m.rewards, axis=1))
        Q = m.rewards + m.discount * np.tensordot(m.transitions, V, axes=1)
        mu = np.linalg.solve((np.eye(S) - m.discount * P).T, m.initial_distribution)
        return pi, V, Q, Q - V[:, None], mu

    def value(self, problem: Any) -> Array:
        return self._tables(problem)[1]

    def q_value(self, problem: Any) -> Array:
        return self._tables(problem)[2]

    def advantage(self, problem: Any) -> Array:
        return self._tables(problem)[3]

    def state_distribution(self, problem: Any) -> Array:
        mu = self._tables(problem)[4]
        return mu / mu.sum()

    def policy_gradient(self, problem: Any) -> Array:
        pi, _, _, adv, mu = self._tables(problem)
        return np.asarray((mu[:, None] * pi * adv).ravel())

    def fisher(self, problem: Any) -> Array:
        pi, _, _, _, mu = self._tables(problem)
        d = mu / mu.sum()
        return np.asarray(
            scipy.linalg.block_diag(
                *[d[s] * (np.diag(p) - np.outer(p, p)) for s, p in enumerate(pi)]
            )
        )

    def natural_gradient(self, problem: Any) -> Array:
        return np.asarray(self._tables(problem)[3].ravel() / (1 - problem.mdp.discount))

    def update(self, problem: Any, step_size: float) -> Array:
        return np.asarray(problem.theta + step_size * self.natural_gradient(problem))


@right("multiplicative-weights-log-pi")
class MultiplicativeWeights:
    """π ← π·exp(η A/(1−γ)) renormalised, returning log π as the parameters."""

    families = frozenset({"tabular"})

    def _step(self, m: Any, logp: Array, eta: float) -> Array:
        S, _A = logp.shape
        p = np.exp(logp)
        joint = (p[:, :, None] * m.transitions).sum(1)
        V = np.linalg.solve(np.eye(S) - m.discount * joint, (p * m.rewards).sum(1))
        Q = m.rewards + m.discount * m.transitions @ V
        new = logp + eta * Q / (1 - m.discount)
        new = new - new.max(1, keepdims=True)
        return np.asarray(new - np.log(np.exp(new).sum(1, keepdims=True)))

    def _log_pi(self, problem: Any) -> Array:
        z = np.array(problem.theta).reshape(problem.num_states, problem.num_actions)
        z = z - z.max(1, keepdims=True)
        return np.asarray(z - np.log(np.exp(z).sum(1, keepdims=True)))

    def update(self, problem: Any, step_size: float) -> Array:
        return self._step(problem.mdp, self._log_pi(problem), step_size).ravel()

    def train(self, problem: Any, iterations: int, step_size: float) -> list[Array]:
        out, logp = [], self._log_pi(problem)
        for _ in range(iterations):
            logp = self._step(problem.mdp, logp, step_size)
            out.append(logp.ravel())
        return out


@right("compatible-least-squares", asks="natural_gradient update trust_region_proposal")
class CompatibleLeastSquares(ExactSoftmax):
    """x = w*/(1−γ), w* the weighted least-squares fit of A by the compatible features φ."""

    def natural_gradient(self, problem: Any) -> Array:
        root = np.sqrt(self.state_distribution(problem)[:, None] * self.pi(problem))
        psi = (root[:, :, None] * self.scores(problem)).reshape(root.size, -1)
        fit = scipy.linalg.lstsq(psi, (root * self.advantage(problem)).ravel(), cond=1e-7)[0]
        return np.asarray(fit / (1 - problem.mdp.discount))


@right("eigendecomposition", asks="natural_gradient update trust_region_proposal")
class Eigendecomposition(ExactSoftmax):
    """x = Σ (vᵢ·g/λᵢ) vᵢ over the eigenvalues above 1e-11 of the largest."""

    def solve(self, F: Array, g: Array) -> Array:
        values, vectors = np.linalg.eigh(F)
        keep = values > 1e-11 * values[-1]
        basis = vectors[:, keep]
        return np.asarray(basis @ ((basis.T @ g) / values[keep]))


@right("converged-conjugate-gradient", asks="natural_gradient update conjugate_gradient")
class ConvergedConjugateGradient(ExactSoftmax):
    """Matrix-free conjugate gradient run to a relative residual of 1e-14, with restarts."""

    def natural_gradient(self, problem: Any) -> Array:
        g = self.policy_gradient(problem)
        x = np.zeros_like(g)
        for _ in range(4):  # each restart measures the true residual afresh
            r = g - self.fisher_vector_product(problem, x) if x.any() else g.copy()
            p, rr = r.copy(), float(r @ r)
            for _ in range(2 * g.size):
                if rr <= 1e-28 * float(g @ g):
                    break
                z = self.fisher_vector_product(problem, p)
                alpha = rr / float(p @ z)
                x, r = x + alpha * p, r - alpha * z
                rr, old = float(r @ r), rr
                p = r + rr / old * p
        return x

    def conjugate_gradient(self, matvec: Any, b: Array, iterations: int) -> Array:
        x, r = np.zeros(len(b)), np.array(b, dtype=float)
        p, rr = r.copy(), r @ r
        for _ in range(iterations):
            if rr == 0:
                break
            z = matvec(p)
            alpha = rr / (p @ z)
            x = x + alpha * p
            r = r - alpha * z
            rr, previous = r @ r, rr
            p = r + (rr / previous) * p
        return x


@right("q-as-critic", asks="policy_gradient natural_gradient trust_region_step")
class QCritic(ExactSoftmax):
    """The gradient with Q in place of A: the correct score makes them equal."""

    def critic(self, problem: Any) -> Array:
        return self.q_value(problem)


@right(
    "odd-baseline-as-critic", asks="policy_gradient natural_gradient update trust_region_proposal"
)
class OddBaseline(ExactSoftmax):
    """The gradient with Q(s, a) − b(s) for an arbitrary b: any state baseline cancels."""

    def critic(self, problem: Any) -> Array:
        b = np.cos(3.0 * np.arange(problem.num_states)) * 2.0 + 1.0
        return np.asarray(self.q_value(problem) - b[:, None])


@right("null-space-shift", asks="natural_gradient update trust_region_proposal trust_region_step")
class NullSpaceShift(ExactSoftmax):
    """x plus a vector of null(F), which moves no probability to first order nor to any."""

    def natural_gradient(self, problem: Any) -> Array:
        x = super().natural_gradient(problem)
        k, A = problem.observations.shape[1], problem.num_actions
        gauge = np.repeat(np.sin(1.0 + np.arange(k)), A)  # the same shift for every action
        return np.asarray(x + 0.7 * np.abs(x).max() * gauge)


@right(
    "no-discount-factor",
    asks="policy_gradient fisher natural_gradient update trust_region_proposal trust_region_step",
)
class NoDiscountFactor(ExactSoftmax):
    """The convention without 1/(1−γ), in g and in x alike."""

    def gradient_scale(self, problem: Any) -> float:
        return 1.0


@right(
    "unnormalised-occupancy",
    may_deviate="kl",
    asks="state_distribution policy_gradient surrogate fisher kl natural_gradient "
    "trust_region_proposal",
)
class UnnormalisedOccupancy(ExactSoftmax):
    """Expected discounted visits, which sum to 1/(1−γ), in d, F, g, KL and the step alike."""

    def state_distribution(self, problem: Any) -> Array:
        return super().state_distribution(problem) / (1 - problem.mdp.discount)

    def gradient_scale(self, problem: Any) -> float:
        return 1.0

    def surrogate(self, problem: Any, theta: Array) -> float:
        gain = (self.pi(problem, theta) * self.advantage(problem)).sum(axis=1)
        return float(self.objective(problem) + self.state_distribution(problem) @ gain)


@right("reverse-kl", may_deviate="kl", asks="kl fisher trust_region_proposal")
class ReverseKL(ExactSoftmax):
    """KL(π_new ‖ π_old): a choice of direction, with the same Hessian."""

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self.log_pi(problem, problem.theta), self.log_pi(problem, theta)
        return float(self.kl_weights(problem) @ (np.exp(new) * (new - old)).sum(axis=1))


@right("declared-damping", asks="fisher policy_gradient natural_gradient update")
class DeclaredDamping(ExactSoftmax):
    """A solve with λ = 0.05 which says so."""

    @property
    def conventions(self) -> Any:
        from npgcheck.conventions import Conventions

        return Conventions(damping=0.05)

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.05 * np.eye(len(g)), g)


@right("training-loop", asks="train update")
class TrainingLoop(ExactSoftmax):
    """An iterator that changes one parameter buffer in place and yields copies of it."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        theta = np.array(problem.theta)
        for _ in range(iterations):
            theta += step_size * self.natural_gradient(problem.at(theta.copy()))
            yield theta.copy()
