"""Mistakes planted in a torch TRPO: reductions, detaching, products, distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._exact import Array
from .registry import right, wrong

STYLE = "torch"
TORCH = "torch"
G, FV, X = "policy_gradient", "fisher_vector_product", "natural_gradient"
TR = "trust_region_proposal"


def _tensor(values: Any, grad: bool = False) -> Any:
    import torch

    return torch.tensor(np.array(values), requires_grad=grad)


@right("torch-trpo", needs=TORCH, style=STYLE)
class TorchTrpo:
    """A batch TRPO in torch: log_softmax, autograd.grad, Hessian-vector products, solve."""

    families = frozenset({"tabular", "softmax"})

    def log_pi(self, problem: Any, theta: Any) -> Any:
        import torch

        obs = _tensor(problem.batch.observations)
        return torch.log_softmax(obs @ theta.view(obs.shape[1], -1), dim=-1)

    def advantages(self, problem: Any) -> Any:
        return _tensor(problem.batch.advantages)

    def reduce(self, values: Any) -> Any:
        return values.mean()

    def loss(self, problem: Any, theta: Any) -> Any:
        acts = _tensor(problem.batch.actions).long()
        logp = self.log_pi(problem, theta).gather(1, acts[:, None]).squeeze(1)
        return self.reduce(logp * self.advantages(problem))

    def old(self, problem: Any, theta: Any) -> Any:
        return self.log_pi(problem, theta).detach()

    def divergence(self, old: Any, new: Any) -> Any:
        return (old.exp() * (old - new)).sum(-1).mean()

    def policy_gradient(self, problem: Any) -> Any:
        import torch

        theta = _tensor(problem.theta, True)
        return torch.autograd.grad(self.loss(problem, theta), theta)[0]

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        import torch

        theta = _tensor(problem.theta, True)
        kl = self.divergence(self.old(problem, theta), self.log_pi(problem, theta))
        (slope,) = torch.autograd.grad(kl, theta, create_graph=True)
        return torch.autograd.grad(slope @ _tensor(vector), theta)[0]

    def kl(self, problem: Any, theta: Array) -> float:
        old = self.log_pi(problem, _tensor(problem.theta))
        return float(self.divergence(old, self.log_pi(problem, _tensor(theta))))

    def solve(self, F: Array, g: Array) -> Array:
        return np.linalg.lstsq(F, g, rcond=1e-11)[0]

    def matrix(self, problem: Any) -> Array:
        eye = np.eye(problem.theta.size)
        return np.stack([np.asarray(self.fisher_vector_product(problem, e)) for e in eye], axis=1)

    def natural_gradient(self, problem: Any) -> Array:
        return self.solve(self.matrix(problem), np.asarray(self.policy_gradient(problem)))

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        x = self.natural_gradient(problem)
        curvature = float(x @ self.matrix(problem) @ x)
        length = np.sqrt(2 * max_kl / curvature) if curvature > 0 else 0.0
        return np.asarray(problem.theta + length * x)


def _planted(name: str, stage: str, **more: Any) -> Any:
    return wrong(name, stage=stage, needs=TORCH, style=STYLE, **more)


@_planted("torch-sum-reduction", "glue", tells="sum-in-g-mean-in-F", refutes=G, spares=FV)
class SumReduction(TorchTrpo):
    """loss.sum().backward(), and a mean in the KL."""

    def reduce(self, values: Any) -> Any:
        return values.sum()


@_planted("torch-kl-div-default", "KL", tells="kl-mean-over-actions", refutes="kl", spares=G)
class KlDivDefault(TorchTrpo):
    """F.kl_div with its default reduction="mean"."""

    def divergence(self, old: Any, new: Any) -> Any:
        import torch

        return torch.nn.functional.kl_div(new, old.exp(), reduction="mean")


@_planted(
    "torch-kl-summed-over-rows",
    "estimator",
    tells="batch-size-scale",
    refutes=FV,
    spares=G,
)
class KlSummedOverRows(TorchTrpo):
    """F.kl_div with reduction="sum" in the product."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        return super().fisher_vector_product(problem, vector) * len(problem.batch.actions)


@_planted("torch-nothing-detached", "KL", tells="both-sides-live", refutes=FV, spares=G)
class NothingDetached(TorchTrpo):
    """The old log-probabilities keep their graph."""

    def old(self, problem: Any, theta: Any) -> Any:
        return self.log_pi(problem, theta)


@_planted(
    "torch-hvp-damping",
    "solver and damping",
    tells="damping",
    kind="convention",
    refutes=f"{FV} {X}",
    spares=G,
    source="Spinning Up",
)
class HvpDamping(TorchTrpo):
    """Hv + 0.1 v."""

    def fisher_vector_product(self, problem: Any, vector: Array) -> Any:
        return super().fisher_vector_product(problem, vector) + 0.1 * _tensor(vector)


@_planted(
    "torch-advantage-std",
    "return and advantage",
    tells="normalised-advantages-sample-std",
    also="limited-accuracy limited-range",
    kind="convention",
    outcome="either",
    refutes=G,
    spares=FV,
    source="tianshou#1298",
)
class AdvantageStd(TorchTrpo):
    """(adv − adv.mean()) / adv.std(), torch's std with N − 1."""

    def advantages(self, problem: Any) -> Any:
        adv = super().advantages(problem)
        return (adv - adv.mean()) / adv.std()


@_planted(
    "torch-single-precision",
    "glue",
    tells="limited-accuracy",
    kind="approximation",
    refutes=f"{G} {FV}",
)
class SinglePrecisionTorch(TorchTrpo):
    """Everything in float32, cast back at the end."""

    def log_pi(self, problem: Any, theta: Any) -> Any:
        return super().log_pi(problem, theta.float().double()).float().double()


@_planted("torch-max-kl-as-rate", "step rule", tells="const-lr-called-kl", refutes=TR, spares=X)
class MaxKlAsRate(TorchTrpo):
    """SGD(lr=max_kl)."""

    def trust_region_proposal(self, problem: Any, max_kl: float) -> Array:
        return np.asarray(problem.theta + max_kl * self.natural_gradient(problem))


@_planted("torch-softmax-twice", "score and objective", refutes=f"{G} {FV} kl")
class SoftmaxTwice(TorchTrpo):
    """The network ends in a softmax, and cross_entropy applies another."""

    def log_pi(self, problem: Any, theta: Any) -> Any:
        import torch

        return torch.log_softmax(super().log_pi(problem, theta).exp(), dim=-1)


@_planted("torch-kl-div-of-probabilities", "KL", refutes="kl", spares=G)
class KlDivOfProbabilities(TorchTrpo):
    """F.kl_div is given probabilities where it expects their logarithms."""

    def divergence(self, old: Any, new: Any) -> Any:
        return (old.exp() * (old - new.exp())).sum(-1).mean()


@_planted(
    "torch-ascends-the-loss",
    "glue",
    tells="ascent-descent-sign|negative-score|advantage-negated|gradient-of-the-loss",
    refutes=f"{G} {X}",
    spares=FV,
)
class AscendsTheLoss(TorchTrpo):
    """The gradient of −(logp · A).mean() is returned as it is."""

    def reduce(self, values: Any) -> Any:
        return -values.mean()
