"""Right subjects that look wrong: conventions in unusual but honest combinations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._agent import Agent, Buffer
from ._exact import Array, ExactSoftmax
from ._functional import FunctionalBatch
from ._loops import Loops
from .registry import right

STYLE = "suspicious"


@right("huge-baseline", style=STYLE)
class HugeBaseline(ExactSoftmax):
    """Q − 1000 as the critic: with the right score every baseline cancels."""

    def critic(self, problem: Any) -> Array:
        return self.q_value(problem) - 1000.0


@right("greedy-baseline-in-g", style=STYLE)
class GreedyBaseline(ExactSoftmax):
    """Q − max_a Q as the critic: never positive, and a baseline all the same."""

    def critic(self, problem: Any) -> Array:
        Q = self.q_value(problem)
        return Q - Q.max(axis=1, keepdims=True)


@right("last-logit-fixed-in-x", asks="fisher policy_gradient natural_gradient update", style=STYLE)
class LastLogitFixed(ExactSoftmax):
    """x solved with the last action's columns removed and set to zero: another gauge."""

    def natural_gradient(self, problem: Any) -> Array:
        A = problem.num_actions
        free = np.array([i for i in range(problem.theta.size) if i % A != A - 1])
        F, g = self.fisher(problem), self.policy_gradient(problem)
        x = np.zeros(problem.theta.size)
        x[free] = np.linalg.lstsq(F[np.ix_(free, free)], g[free], rcond=1e-11)[0]
        return x


@right("length-from-g-and-x", asks="natural_gradient trust_region_proposal", style=STYLE)
class LengthFromGx(ExactSoftmax):
    """√(2δ/gᵀx): the same length wherever the solve is exact, and g has its own scale."""

    def step_scale(self, problem: Any, x: Array, max_kl: float) -> float:
        gx = float((1 - problem.mdp.discount) * self.policy_gradient(problem) @ x)
        y = x * (1 - problem.mdp.discount)
        return float(np.sqrt(2 * max_kl / gx)) if gx > 0 and y.any() else 0.0

    def natural_gradient(self, problem: Any) -> Array:
        return super().natural_gradient(problem)

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = (1 - problem.mdp.discount) * self.natural_gradient(problem)
        gx = (1 - problem.mdp.discount) * float(self.policy_gradient(problem) @ x)
        length = np.sqrt(2 * max_kl / gx) if gx > 0 else 0.0
        return np.asarray(problem.theta + length * x)


@right("observed-information", asks="fisher fisher_vector_product kl", style=STYLE)
class ObservedInformation(ExactSoftmax):
    """F as −E[∇² log π], from the Hessian of the log-partition function."""

    def fisher(self, problem: Any) -> Array:
        X, pi, d = problem.observations, self.pi(problem), self.state_distribution(problem)
        out = np.zeros((problem.theta.size,) * 2)
        for s, x in enumerate(X):
            out += d[s] * np.kron(np.outer(x, x), np.diag(pi[s]) - np.outer(pi[s], pi[s]))
        return out


@right("unnormalised-d-beside-normalised-F", asks="state_distribution fisher kl", style=STYLE)
class MixedOccupancy(ExactSoftmax):
    """state_distribution counts visits, F and KL are expectations."""

    def state_distribution(self, problem: Any) -> Array:
        return super().state_distribution(problem) / (1 - problem.mdp.discount)

    def fisher_weights(self, problem: Any) -> Array:
        d = self.state_distribution(problem)
        return d / d.sum()

    kl_weights = fisher_weights


@right("reverse-kl-and-mean-gradient", style=STYLE)
class ReverseAndMean(ExactSoftmax):
    """g = (1−γ)∇J, x to match, and KL the other way round."""

    def gradient_scale(self, problem: Any) -> float:
        return 1.0

    def kl(self, problem: Any, theta: Array) -> float:
        old, new = self.log_pi(problem, problem.theta), self.log_pi(problem, theta)
        return float(self.kl_weights(problem) @ (np.exp(new) * (new - old)).sum(axis=1))


@right("agent-with-centred-critic", asks="policy_gradient fisher natural_gradient", style=STYLE)
class CentredCritic(Agent):
    """Batch means taken off one-step residuals."""

    def critic(self, buf: Buffer) -> Array:
        return np.asarray(buf.adv - buf.adv.mean())


@right("every-row-twice", style=STYLE)
class EveryRowTwice(FunctionalBatch):
    """The buffer is concatenated with itself before anything is averaged."""

    def fisher_inputs(self, problem: Any) -> Array:
        rows = self.inputs(problem)
        return np.concatenate([rows, rows])


@right(
    "declared-damped-product-and-length",
    asks="fisher fisher_vector_product policy_gradient natural_gradient trust_region_proposal",
    style=STYLE,
)
class DeclaredEverything(ExactSoftmax):
    """λ = 0.03 in the product, the solve and the length, all declared."""

    @property
    def conventions(self) -> Any:
        from npgcheck.conventions import Conventions

        return Conventions(damping=0.03, damping_in="product", step_length="damped")

    def fisher_vector_product(self, problem: Any, vector: Array) -> Array:
        return super().fisher_vector_product(problem, vector) + 0.03 * vector

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.solve(F + 0.03 * np.eye(len(g)), g)


@right("strict-and-slow-search", asks="trust_region_proposal trust_region_step", style=STYLE)
class StrictSlowSearch(Loops):
    """A hundred candidates, each nine tenths of the last, all inequalities strict."""

    def trust_region_step(self, problem: Any, max_kl: float) -> Array:
        whole = self.trust_region_proposal(problem, max_kl) - problem.theta
        base = self.surrogate(problem, problem.theta)
        for k in range(100):
            theta = problem.theta + 0.9**k * whole
            if self.kl(problem, theta) < max_kl and self.surrogate(problem, theta) > base:
                return np.asarray(theta)
        return np.array(problem.theta)


@right("gauge-by-the-maximum", asks="update", style=STYLE)
class GaugeByMaximum(ExactSoftmax):
    """Tabular logits shifted so that the largest is zero after each update."""

    families = frozenset({"tabular"})

    def update(self, problem: Any, step_size: float) -> Array:
        z = super().update(problem, step_size).reshape(-1, problem.num_actions)
        return np.asarray((z - z.max(axis=1, keepdims=True)).ravel())
