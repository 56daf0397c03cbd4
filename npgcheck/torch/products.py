"""Right quantities of a module's policy, by automatic differentiation: what one's own may be.

They are written after the papers, through torch's own log_prob and kl_divergence, and share no code
with the reference that :func:`npgcheck.check_step` computes.

Source: Schulman, Levine, Moritz, Jordan & Abbeel, Trust region policy optimization (2015),
appendix C.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from npgcheck.torch.distributions import kl, log_prob
from npgcheck.torch.policy import Policy


def policy_gradient(policy: Policy, observations: Any, actions: Any, advantages: Any) -> Tensor:
    """g = mean_i A_i ∇ log π(a_i|s_i), (D,): the direction of ascent."""
    theta = policy.theta.requires_grad_()
    with torch.enable_grad():
        law = policy.distribution(theta, observations)
        values = log_prob(law, torch.as_tensor(actions).to(theta.device))
        objective = (values * torch.as_tensor(advantages).to(values)).mean()
    return torch.autograd.grad(objective, theta)[0]


def fisher_vector_product(policy: Policy, observations: Any, vector: Tensor) -> Tensor:
    """F v, (D,), as the second derivative of mean_i KL(π_θ ‖ π_θ′) at θ′ = θ along v."""
    theta = policy.theta.requires_grad_()
    with torch.enable_grad():
        with torch.no_grad():
            old = policy.distribution(theta.detach(), observations)
        divergence = kl(old, policy.distribution(theta, observations)).mean()
        slope = torch.autograd.grad(divergence, theta, create_graph=True)[0]
        along = slope @ vector.to(slope).detach()
    return torch.autograd.grad(along, theta)[0]


def mean_kl(policy: Policy, observations: Any, theta: Tensor) -> Tensor:
    """mean_i KL(π_policy.theta ‖ π_theta), in nats."""
    with torch.no_grad():
        old = policy.distribution(policy.theta, observations)
        return kl(old, policy.distribution(theta.to(policy.theta), observations)).mean()


def log_probs(policy: Policy, observations: Any, actions: Any) -> Tensor:
    """log π(a_i|s_i), (N,)."""
    with torch.no_grad():
        law = policy.distribution(policy.theta, observations)
        return log_prob(law, torch.as_tensor(actions).to(policy.theta.device))
