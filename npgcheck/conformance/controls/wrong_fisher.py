"""Planted mistakes of what the Fisher matrix is, and of how it is estimated."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array, ExactSoftmax
from ._rows import BatchSoftmax, row_log_pi
from .registry import wrong

DEFINITION = "Fisher definition"
ESTIMATOR = "estimator"
PRODUCTS = "fisher fisher_vector_product"


@wrong(
    "empirical-fisher",
    tells="empirical-fisher",
    stage=ESTIMATOR,
    kind="approximation",
    refutes="fisher",
    spares="policy_gradient kl",
    source="kfac-pytorch#109",
)
class EmpiricalFisher(BatchSoftmax):
    """Mean of φφᵀ over the batch's own actions."""

    def fisher(self, problem: Any) -> Array:
        phi = self.row_scores(problem)
        return np.asarray(phi.T @ phi / len(phi))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        phi = self.row_scores(problem)
        return np.asarray(phi.T @ (phi @ vector) / len(phi))


@wrong(
    "loss-gradient-outer-product",
    tells="loss-gradient-outer-product",
    stage=DEFINITION,
    refutes="fisher",
    whole=True,
)
class LossGradientOuterProduct:
    """F from per-row gradients of the loss: E[A² φφᵀ]."""

    def _loss_gradients(self, problem: Any) -> Array:
        b = problem.batch
        pi = np.exp(row_log_pi(problem, b.observations, problem.theta))
        rows = []
        for x, p, a, adv in zip(b.observations, pi, b.actions, b.advantages, strict=True):
            e = np.zeros(len(p))
            e[a] = 1
            rows.append(adv * np.kron(x, e - p))
        return np.array(rows)

    def policy_gradient(self, problem: Any) -> Array:
        return np.asarray(self._loss_gradients(problem).mean(axis=0))

    def fisher(self, problem: Any) -> Array:
        G = self._loss_gradients(problem)
        return np.asarray(G.T @ G / len(G))


@wrong(
    "advantage-squared-in-F",
    tells="loss-gradient-outer-product",
    stage=DEFINITION,
    refutes=PRODUCTS,
    spares="policy_gradient",
)
class AdvantageSquared(ExactSoftmax):
    """The exact version of the same: Σ dπ A² φφᵀ."""

    def fisher_scores(self, problem: Any) -> Array:
        return self.scores(problem) * self.advantage(problem)[:, :, None]


@wrong(
    "batch-size-scales-F",
    tells="batch-size-scale",
    stage=ESTIMATOR,
    refutes=PRODUCTS,
    spares="policy_gradient kl",
    source="natural-gradients#2",
)
class BatchSizeScale(BatchSoftmax):
    """F sums over the batch, g averages: duplicating the rows doubles F."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return super().fisher_vector_product(problem, vector) * len(problem.batch.actions)


@wrong(
    "output-dimension-scale",
    tells="output-dim-scale",
    stage=DEFINITION,
    refutes=PRODUCTS,
    whole=True,
    source="curvlinops#111",
)
class OutputDimensionScale:
    """The curvature is averaged over the A outputs where they must be summed."""

    def fisher(self, problem: Any) -> Array:
        m, A = problem.mdp, problem.num_actions
        z = problem.observations @ problem.theta.reshape(-1, A)
        z = z - z.max(axis=1, keepdims=True)
        pi = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        P = np.einsum("sa,sat->st", pi, m.transitions)
        d = np.linalg.solve(np.eye(len(P)) - m.discount * P.T, m.initial_distribution)
        d /= d.sum()
        jac = np.array([np.kron(x, np.eye(A)) for x in problem.observations.reshape(len(d), 1, -1)])
        hess = np.array([np.diag(p) - np.outer(p, p) for p in pi])
        return np.einsum("s,sap,sab,sbq->pq", d, jac, hess, jac) / A

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return np.asarray(self.fisher(problem) @ vector)


@wrong(
    "diagonal-fisher",
    tells="diagonal-fisher",
    stage=DEFINITION,
    kind="approximation",
    outcome="either",
    refutes="fisher",
    spares="policy_gradient",
)
class DiagonalFisher(ExactSoftmax):
    """Only the diagonal of F, as in diagonal preconditioners."""

    def fisher(self, problem: Any) -> Array:
        return np.diag(np.diag(super().fisher(problem)))

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return np.asarray(self.fisher(problem) @ vector)


@wrong(
    "kronecker-factored-fisher",
    tells="kronecker-fisher",
    stage=DEFINITION,
    kind="approximation",
    outcome="either",
    refutes="fisher",
    whole=True,
    source="K-FAC",
)
class KroneckerFactored:
    """E[xxᵀ] ⊗ E[diag(π) − ππᵀ] where the expectation of the product belongs."""

    def fisher(self, problem: Any) -> Array:
        m, X = problem.mdp, problem.observations
        z = X @ problem.theta.reshape(X.shape[1], -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
        P = (pi[:, :, None] * m.transitions).sum(axis=1)
        d = (1 - m.discount) * np.linalg.solve(
            np.eye(len(P)) - m.discount * P.T, m.initial_distribution
        )
        inputs = (X.T * d) @ X
        outputs = np.diag(d @ pi) - (pi.T * d) @ pi
        return np.kron(inputs, outputs)


@wrong(
    "centred-by-the-gradient",
    tells="centred-vs-uncentred",
    stage=DEFINITION,
    kind="convention",
    outcome="either",
    refutes="fisher",
    spares="policy_gradient",
)
class CentredByGradient(BatchSoftmax):
    """The sample covariance of the rows' scores, numpy's cov with its N − 1."""

    def fisher(self, problem: Any) -> Array:
        return np.atleast_2d(np.cov(self.row_scores(problem), rowvar=False))


@wrong(
    "probabilities-squared",
    also="gradient-of-pi-not-log-pi action-weights-missing",
    tells="action-weights-squared",
    stage=DEFINITION,
    refutes="fisher",
    whole=True,
)
class ProbabilitiesSquared:
    """π enters F twice: Σ d π² φφᵀ."""

    def fisher(self, problem: Any) -> Array:
        m, D = problem.mdp, problem.theta.size
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        z -= z.max(axis=1, keepdims=True)
        pi = np.exp(z)
        pi /= pi.sum(axis=1, keepdims=True)
        P = np.einsum("sa,sat->st", pi, m.transitions)
        d = np.linalg.solve((np.eye(len(P)) - m.discount * P).T, m.initial_distribution)
        F = np.zeros((D, D))
        for s, x in enumerate(problem.observations):
            phi = np.array([np.kron(x, e - pi[s]) for e in np.eye(len(pi[s]))])
            F += d[s] * phi.T @ np.diag(pi[s] ** 2) @ phi
        return F / d.sum()


@wrong(
    "damping-inside-fisher",
    tells="damped-fisher|damping",
    also="damped-length",  # its steps are measured by the same F + λI
    stage=DEFINITION,
    kind="convention",
    refutes="fisher",
    spares="policy_gradient",
)
class DampingInsideFisher(ExactSoftmax):
    """fisher returns F + 1e-3 I, and everything else follows it."""

    def fisher(self, problem: Any) -> Array:
        return super().fisher(problem) + 1e-3 * np.eye(problem.theta.size)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return super().fisher_vector_product(problem, vector) + 1e-3 * vector

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F, g)


@wrong("hessian-of-the-objective", stage=DEFINITION, refutes="fisher", whole=True)
class HessianOfObjective:
    """The Hessian of −J in place of the Hessian of the KL: Newton's method."""

    def fisher(self, problem: Any) -> Array:
        import autograd.numpy as anp
        from autograd import hessian

        m, X = problem.mdp, problem.observations

        def objective(theta: Any) -> Any:
            z = anp.dot(X, theta.reshape((X.shape[1], -1)))
            e = anp.exp(z - anp.max(z, axis=1, keepdims=True))
            pi = e / anp.sum(e, axis=1, keepdims=True)
            P = anp.einsum("sa,sat->st", pi, m.transitions)
            r = anp.sum(pi * m.rewards, axis=1)
            return anp.dot(
                m.initial_distribution, anp.linalg.solve(anp.eye(len(X)) - m.discount * P, r)
            )

        return -np.asarray(hessian(objective)(np.array(problem.theta)))


@wrong(
    "coarse-finite-difference-product",
    tells="finite-difference-eps",
    stage=ESTIMATOR,
    kind="approximation",
    outcome="either",
    refutes="fisher_vector_product",
    spares="fisher",
    source="rllab",
)
class CoarseFiniteDifference(ExactSoftmax):
    """F·v from a one-sided difference of ∇KL with a step of 1e-3."""

    def kl_gradient(self, problem: Any, theta: Array) -> Array:
        shift = self.pi(problem, theta) - self.pi(problem)
        weighted = self.kl_weights(problem)[:, None] * shift
        return np.asarray((problem.observations.T @ weighted).ravel())

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return self.kl_gradient(problem, problem.theta + 1e-3 * vector) / 1e-3


@wrong(
    "both-sides-live",
    tells="both-sides-live",
    stage="KL",
    refutes="fisher_vector_product",
    whole=True,
    needs="torch",
    source="reported often, seldom real",
)
class BothSidesLive:
    """The old policy is not detached: the KL is zero for every θ, and so is its Hessian."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        import torch

        theta = torch.tensor(np.array(problem.theta), requires_grad=True)
        X = torch.as_tensor(np.array(problem.observations))
        log_pi = torch.log_softmax(X @ theta.view(X.shape[1], -1), dim=-1)
        kl = (log_pi.exp() * (log_pi - log_pi * 1.0)).sum(-1).mean()
        (first,) = torch.autograd.grad(kl, theta, create_graph=True)
        return torch.autograd.grad((first * torch.as_tensor(np.array(vector))).sum(), theta)[0]


@wrong("product-of-the-first-problem", stage="glue", refutes="fisher_vector_product", whole=True)
class StaleCache:
    """F is cached under its size alone, so later problems are answered with an earlier one's."""

    def __init__(self) -> None:
        self.cache: dict[int, Array] = {}

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        D = problem.theta.size
        if D not in self.cache:
            m = problem.mdp
            z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
            pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
            M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->ts", pi, m.transitions)
            d = (1 - m.discount) * np.linalg.solve(M, m.initial_distribution)
            self.cache[D] = np.asarray(
                sum(
                    w * np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))
                    for w, x, p in zip(d, problem.observations, pi, strict=True)
                )
            )
        return np.asarray(self.cache[D] @ vector)


@wrong(
    "product-forgets-the-length",
    tells="product-forgets-the-length",
    stage=ESTIMATOR,
    refutes="fisher_vector_product",
    spares="fisher",
)
class ForgetsLength(ExactSoftmax):
    """The direction is normalised for a stable difference and never scaled back."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return super().fisher_vector_product(problem, vector / (np.linalg.norm(vector) + 1e-300))


@wrong(
    "joint-actor-critic-fisher",
    tells="joint-actor-critic-fisher",
    stage=DEFINITION,
    kind="approximation",
    outcome="either",
    refutes="fisher",
    whole=True,
    source="shared trunks in K-FAC actor-critic codes",
)
class JointActorCritic:
    """F plus the Gauss–Newton matrix of a value head on the same weights."""

    families = frozenset({"softmax"})

    def fisher(self, problem: Any) -> Array:
        m, X = problem.mdp, problem.observations
        z = X @ problem.theta.reshape(X.shape[1], -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        M = np.eye(len(X)) - m.discount * np.einsum("sa,sat->ts", pi, m.transitions)
        d = (1 - m.discount) * np.linalg.solve(M, m.initial_distribution)
        A = pi.shape[1]
        F = np.zeros((z.shape[1] * X.shape[1],) * 2)
        for s, x in enumerate(X):
            block = np.diag(pi[s]) - np.outer(pi[s], pi[s]) + np.ones((A, A)) / A**2
            F += d[s] * np.kron(np.outer(x, x), block)
        return F


@wrong(
    "fisher-halved",
    tells="fisher-factor-two",
    stage=DEFINITION,
    refutes=PRODUCTS,
    outcome="either",
    spares="policy_gradient kl",
)
class FisherHalved(ExactSoftmax):
    """The ½ of ½ΔᵀFΔ is folded into F."""

    def fisher(self, problem: Any) -> Array:
        return 0.5 * super().fisher(problem)

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return 0.5 * super().fisher_vector_product(problem, vector)


@wrong(
    "upper-triangle-only",
    also="diagonal-fisher",
    tells="upper-triangle-only",
    stage=DEFINITION,
    refutes="fisher",
    spares="policy_gradient",
)
class UpperTriangle(ExactSoftmax):
    """The lower triangle is never mirrored."""

    def fisher(self, problem: Any) -> Array:
        return np.triu(super().fisher(problem))


@wrong("fisher-from-seeded-samples", stage=ESTIMATOR, refutes="fisher", whole=True)
class SeededSamples:
    """Two thousand actions drawn with a fixed seed: the same answer each time, and not F."""

    def fisher(self, problem: Any) -> Array:
        rng, m = np.random.default_rng(7), problem.mdp
        z = problem.observations @ problem.theta.reshape(problem.observation_size, -1)
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->ts", pi, m.transitions)
        d = np.clip(np.linalg.solve(M, m.initial_distribution), 0, None)
        s = rng.choice(len(pi), size=2000, p=d / d.sum())
        u = rng.random(2000)
        a = (u[:, None] > np.cumsum(pi, axis=1)[s]).sum(axis=1).clip(0, pi.shape[1] - 1)
        centred = np.eye(pi.shape[1])[a] - pi[s]
        phi = np.einsum("ni,na->nia", problem.observations[s], centred).reshape(2000, -1)
        return np.asarray(phi.T @ phi / 2000)
