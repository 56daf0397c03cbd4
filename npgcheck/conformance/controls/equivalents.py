"""Mistakes that no answer can show: accusing one of them would be a mistake of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._gaussian import ExactGaussian
from .registry import equivalent
from .wrong_weighting import UndiscountedWeighting


@equivalent(
    "missing-minus-pi-in-g-with-exact-advantage",
    stage="score and objective",
    asks="policy_gradient natural_gradient update",
    reason="Σ_a π A = 0 in every state, so the missing −π multiplies zero",
)
class MissingMinusPiInGradient(ExactSoftmax):
    """Only the gradient's score lacks −π, and the critic is the exact A."""

    def gradient_scores(self, problem: Any) -> Array:
        X, A = problem.observations, problem.num_actions
        return np.stack([[np.kron(x, e) for e in np.eye(A)] for x in X])


@equivalent(
    "tabular-direction-without-gamma-t",
    stage="state weighting",
    reason="F is one block per state, so any weights d > 0 used in F and g alike cancel in x",
)
class TabularDirectionWithoutGamma:
    """x from uniform state weights in both F and g; tabular, natural_gradient only."""

    families = frozenset({"tabular"})

    def natural_gradient(self, problem: Any) -> Array:
        helper = ExactSoftmax()
        d = np.full(problem.num_states, 1 / problem.num_states)
        pi, A, phi = helper.pi(problem), helper.advantage(problem), helper.scores(problem)
        F = np.einsum("s,sa,sad,sae->de", d, pi, phi, phi)
        g = np.einsum("s,sa,sa,sad->d", d, pi, A, phi) / (1 - problem.mdp.discount)
        return np.linalg.pinv(F, rcond=1e-11, hermitian=True) @ g


@equivalent(
    "uncentred-fisher-weights-on-tabular-policy-update",
    stage="score and objective",
    reason="diag(dπ)x = dπA/(1−γ) gives x = A/(1−γ), the textbook representative",
)
class DiagonalTabular:
    """F = diag(dπ), the score without −π, in the tabular update with an exact A."""

    families = frozenset({"tabular"})

    def update(self, problem: Any, step_size: float) -> Array:
        helper = ExactSoftmax()
        x = helper.advantage(problem).ravel() / (1 - problem.mdp.discount)
        return np.asarray(problem.theta + step_size * x)


@equivalent(
    "half-updated-outer-product",
    stage="Fisher definition",
    reason="one centred factor is enough: E[φ(ψ + b)ᵀ] = E[φψᵀ] for every b(s), as E[φ] = 0",
)
class HalfUpdated:
    """An in-place centring that has changed one factor of the outer product but not the other."""

    def fisher(self, problem: Any) -> Array:
        m, A = problem.mdp, problem.num_actions
        z = problem.observations @ problem.theta.reshape(-1, A)
        pi = np.exp(z - z.max(axis=1, keepdims=True))
        pi /= pi.sum(axis=1, keepdims=True)
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->ts", pi, m.transitions)
        d = (1 - m.discount) * np.linalg.solve(M, m.initial_distribution)
        F = np.zeros((problem.theta.size,) * 2)
        for s, x in enumerate(problem.observations):
            for a in range(A):
                left = np.eye(A)[a] - pi[s]
                right = np.eye(A)[a] - pi[s] * (np.arange(A) > 0)
                F += d[s] * pi[s, a] * np.outer(np.kron(x, left), np.kron(x, right))
        return F


@equivalent(
    "tanh-squashing-without-jacobian",
    stage="score and objective",
    reason="the missing log|1 − tanh²| does not depend on θ, so φ, F and KL are unchanged "
    "(rlax#54); log_prob is not defined here",
)
class TanhJacobian:
    """Scores of a squashed Gaussian without the Jacobian of tanh."""

    families = frozenset({"gaussian"})

    def score(self, problem: Any, state: int, action: Array) -> Array:
        import autograd.numpy as anp
        from autograd import grad

        k, m, x = problem.observation_size, problem.action_size, problem.observations[state]
        raw = np.array(action)

        def log_density(theta: Any) -> Any:
            mu = anp.dot(x, theta[: k * m].reshape((k, m)))
            z = (raw - mu) / anp.exp(theta[k * m :])
            return anp.sum(-0.5 * z**2 - theta[k * m :])  # no − log(1 − tanh(raw)²), no constant

        return np.asarray(grad(log_density)(np.array(problem.theta)))

    def kl(self, problem: Any, theta: Array) -> float:
        return ExactGaussian().kl(problem, theta)


@equivalent(
    "random-start-of-the-solver",
    stage="solver and damping",
    asks="natural_gradient update",
    reason="at λ = 0 a start outside range(F) leaves its component along null(F), which moves "
    "no probability",
)
class RandomStart(ExactSoftmax):
    """Conjugate gradient from a fixed random vector in place of zero."""

    def natural_gradient(self, problem: Any) -> Array:
        g = self.policy_gradient(problem)
        x = np.random.default_rng(5).standard_normal(g.size) * (1 + np.abs(g).max())
        floor = 1e-28 * float(g @ g + 0.01 * x @ x)  # F x cannot be had more accurately
        for _ in range(4):
            r = g - self.fisher_vector_product(problem, x)
            p, rr = r.copy(), float(r @ r)
            for _ in range(2 * g.size):
                z = self.fisher_vector_product(problem, p)
                if rr <= floor or p @ z <= 0:
                    break
                alpha = rr / float(p @ z)
                x, r = x + alpha * p, r - alpha * z
                rr, old = float(r @ r), rr
                p = r + rr / old * p
        return np.asarray(x)


@equivalent(
    "same-buffer-returned",
    stage="glue",
    asks="policy_gradient natural_gradient",
    reason="answers are copied on receipt, so an alias that is overwritten later is never read",
)
class SameBuffer(ExactSoftmax):
    """Every gradient of one size is returned in the same array, overwritten by the next call."""

    def __init__(self) -> None:
        self.buffers: dict[int, Array] = {}

    def policy_gradient(self, problem: Any) -> Array:
        buffer = self.buffers.setdefault(problem.theta.size, np.empty(problem.theta.size))
        buffer[:] = super().policy_gradient(problem)
        return buffer


@equivalent(
    "reward-scaled-with-trust-region",
    stage="return and advantage",
    reason="√(2δ/xᵀFx) x does not change when g is multiplied by a positive number",
)
class ScaledRewards:
    """Rewards divided by ten; only the trust-region proposal is defined."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        class Scaled(ExactSoftmax):
            def policy_gradient(self, problem: Any) -> Array:
                return super().policy_gradient(problem) / 10

        return Scaled().trust_region_proposal(problem, max_kl)


@equivalent(
    "undiscounted-tabular-update",
    stage="state weighting",
    reason="as above: a tabular softmax direction does not depend on the state weights",
)
class UndiscountedTabularUpdate:
    """update with visitation frequencies in place of d, tabular."""

    families = frozenset({"tabular"})

    def update(self, problem: Any, step_size: float) -> Array:
        from npgcheck.errors import Unsupported

        inner = UndiscountedWeighting()
        weights = inner.visits(problem)
        if weights.min() < 1e-3:
            raise Unsupported("a state without weight has no block in F")
        return inner.update(problem, step_size)


@equivalent(
    "train-yields-one-buffer",
    stage="glue",
    asks="train",
    reason="each iterate is copied before the next is asked for",
)
class TrainYieldsOneBuffer(ExactSoftmax):
    """train yields the same array every time, changed in place between the yields."""

    def train(self, problem: Any, iterations: int, step_size: float) -> Iterator[Array]:
        theta = np.array(problem.theta)
        for _ in range(iterations):
            theta += step_size * self.natural_gradient(problem.at(theta.copy()))
            yield theta
