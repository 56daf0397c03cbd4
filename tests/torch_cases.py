"""Policies in torch of every kind that npgcheck.torch reads, with a right TRPO step for each.

The products here are written as a user writes them: through the module itself, with torch's own
log_prob and kl_divergence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import distributions as td
from torch import nn
from torch.nn.utils import parameters_to_vector

import npgcheck.torch


def mlp(inputs: int, outputs: int, hidden: int = 8, act: type = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), act(), nn.Linear(hidden, outputs))


class Discrete(nn.Module):
    def __init__(self, outputs: int = 4, wrap: Any = None) -> None:
        super().__init__()
        self.net = mlp(3, outputs)
        self.wrap = wrap or (lambda z: td.Categorical(logits=z))

    def forward(self, observations: Any) -> Any:
        return self.wrap(self.net(observations))


class Gaussian(nn.Module):
    """Mean from a network, one log σ per dimension; `wrap` makes the distribution."""

    def __init__(self, size: int = 2, wrap: Any = None, per_state: bool = False) -> None:
        super().__init__()
        self.net = mlp(3, size * (2 if per_state else 1))
        self.log_std = None if per_state else nn.Parameter(torch.linspace(-0.7, -0.2, size))
        self.wrap = wrap or (lambda mean, std: td.Independent(td.Normal(mean, std), 1))

    def forward(self, observations: Any) -> Any:
        mean = self.net(observations)
        if self.log_std is None:
            mean, log_std = mean.chunk(2, dim=-1)
            return self.wrap(mean, (0.3 * log_std).exp())
        return self.wrap(mean, self.log_std.exp().expand_as(mean))


def tanh(mean: Any, std: Any, *after: Any) -> Any:
    base = td.Independent(td.Normal(mean, std), 1)
    return td.TransformedDistribution(base, [td.TanhTransform(cache_size=1), *after])


#: name → (what makes the module, the name that check_step uses)
POLICIES: dict[str, tuple[Any, str]] = {
    "categorical": (Discrete, "categorical"),
    "categorical by probabilities": (
        lambda: Discrete(wrap=lambda z: td.Categorical(probs=torch.softmax(z, -1))),
        "categorical",
    ),
    "one-hot": (lambda: Discrete(wrap=lambda z: td.OneHotCategorical(logits=z)), "categorical"),
    "bernoulli": (
        lambda: Discrete(3, lambda z: td.Independent(td.Bernoulli(logits=z), 1)),
        "bernoulli",
    ),
    "bernoulli, not summed": (lambda: Discrete(3, lambda z: td.Bernoulli(logits=z)), "bernoulli"),
    "multi-discrete, a list": (
        lambda: Discrete(5, lambda z: [td.Categorical(logits=p) for p in z.split([2, 3], -1)]),
        "multi_discrete",
    ),
    "multi-discrete, a batch": (
        lambda: Discrete(
            6, lambda z: td.Independent(td.Categorical(logits=z.reshape(-1, 2, 3)), 1)
        ),
        "multi_discrete",
    ),
    "gaussian": (Gaussian, "gaussian"),
    "gaussian, not summed": (lambda: Gaussian(wrap=td.Normal), "gaussian"),
    "gaussian, σ of the state": (lambda: Gaussian(per_state=True), "gaussian"),
    "gaussian, one dimension": (
        lambda: Gaussian(1, lambda mean, std: td.Normal(mean[:, 0], std[:, 0])),
        "gaussian",
    ),
    "diagonal multivariate": (
        lambda: Gaussian(
            wrap=lambda mean, std: td.MultivariateNormal(mean, scale_tril=torch.diag_embed(std))
        ),
        "gaussian",
    ),
    "gaussian, rescaled": (
        lambda: Gaussian(
            wrap=lambda mean, std: td.TransformedDistribution(
                td.Independent(td.Normal(mean, std), 1), td.AffineTransform(0.5, -2.0, event_dim=1)
            )
        ),
        "gaussian",
    ),
    "squashed": (lambda: Gaussian(wrap=tanh), "tanh_gaussian"),
    "squashed and rescaled": (
        lambda: Gaussian(
            wrap=lambda mean, std: tanh(
                mean, std, td.AffineTransform(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 0.5]))
            )
        ),
        "tanh_gaussian",
    ),
}


@dataclass
class Case:
    """A module, rows under it, and a right step with λ = 0.1 and ten iterations."""

    module: Any
    observations: Any
    actions: Any
    advantages: Any
    damping: float = 0.1
    max_kl: float = 0.01

    def law(self, module: Any = None, observations: Any = None) -> Any:
        return (module or self.module)(self.observations if observations is None else observations)

    @property
    def parameters(self) -> list[Any]:
        return list(self.module.parameters())

    def log_prob(self) -> Any:
        law = self.law()
        if isinstance(law, list):
            parts = zip(law, self.actions.unbind(1), strict=True)
            return sum(part.log_prob(action) for part, action in parts)
        value = law.log_prob(self.actions)
        return value.sum(-1) if value.ndim > 1 else value

    def gradient(self) -> Any:
        slopes = torch.autograd.grad((self.log_prob() * self.advantages).mean(), self.parameters)
        return parameters_to_vector(slopes)

    def snapshot(self) -> Any:
        """The distribution as it is, without a graph."""
        with torch.no_grad():
            return self.law()

    def kl(self, old: Any) -> Any:
        new = self.law()
        if isinstance(new, list):
            return sum(td.kl_divergence(a, b).mean() for a, b in zip(old, new, strict=True))
        if isinstance(new, td.TransformedDistribution):
            old, new = old.base_dist, new.base_dist
        value = td.kl_divergence(old, new)
        return (value.sum(-1) if value.ndim > 1 else value).mean()

    def product(self, vector: Any) -> Any:
        slopes = torch.autograd.grad(self.kl(self.snapshot()), self.parameters, create_graph=True)
        along = parameters_to_vector(slopes) @ vector
        curved = torch.autograd.grad(along, self.parameters)
        return parameters_to_vector(curved) + self.damping * vector

    def direction(self, iterations: int = 10) -> Any:
        b = self.gradient()
        x, r, p = torch.zeros_like(b), b.clone(), b.clone()
        for _ in range(iterations):
            image = self.product(p)
            alpha = r @ r / (p @ image)
            x, new = x + alpha * p, r - alpha * image
            p, r = new + (new @ new) / (r @ r) * p, new
        return x

    def answers(self) -> dict[str, Any]:
        """Everything that check_step judges."""
        old, x = self.snapshot(), self.direction()
        length = torch.sqrt(2 * self.max_kl / (x @ self.product(x)))
        return {
            "log_prob": self.log_prob().detach(),
            "gradient": self.gradient(),
            "fisher_vector_product": self.product,
            "kl": lambda: self.kl(old),
            "direction": x,
            "new_theta": parameters_to_vector(self.parameters).detach() + length * x,
            "max_kl": self.max_kl,
        }


def case(name: str = "gaussian", dtype: Any = torch.float64, rows: int = 60, seed: int = 0) -> Case:
    """The named policy with rows sampled from it; the generators outside are left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = POLICIES[name][0]().to(dtype)
        observations = torch.randn(rows, 3, dtype=dtype)
        with torch.no_grad():
            law = module(observations)
            parts = [part.sample() for part in law] if isinstance(law, list) else [law.sample()]
        actions = torch.stack(parts, dim=1) if len(parts) > 1 else parts[0]
        return Case(module, observations, actions, torch.randn(rows, dtype=dtype))


def forward(module, observations):
    return module(observations)


def check(c: Case, *, distribution=forward, module=None, **answers):
    return npgcheck.torch.check_step(
        module or c.module, distribution, c.observations, c.actions, c.advantages, **answers
    )


def statuses(report):
    return {q.quantity: q.status for q in report.quantities if q.status != "not_covered"}


def finding(report, number):
    return next((r for r in report.results if r.id == number), None)
