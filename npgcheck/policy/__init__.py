"""Policies: differentiable maps from a parameter vector and observations to distributions.

A discrete policy is its logits and their Jacobian, a Gaussian policy its mean and log standard
deviation and theirs; scores, products and samples follow in the base classes, so a policy of
your own needs two methods.
"""

from npgcheck.policy.discrete import (
    DiscretePolicy,
    SoftmaxPolicy,
    centred,
    exp_minus_line,
    exponential_excess,
)
from npgcheck.policy.gaussian import GaussianBase, GaussianPolicy
from npgcheck.policy.mlp import MLPPolicy

__all__ = [
    "DiscretePolicy",
    "GaussianBase",
    "GaussianPolicy",
    "MLPPolicy",
    "SoftmaxPolicy",
    "centred",
    "exp_minus_line",
    "exponential_excess",
]
