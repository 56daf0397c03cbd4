"""One TRPO step in PyTorch on a batch of rows: Schulman et al. (2015), section 6 and appendix C.

The Fisher-vector product differentiates the mean KL divergence twice, conjugate gradient solves
(F + λI) x = g, and a backtracking line search guards the step. Softmax and Gaussian policies.
"""

import numpy as np
import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence

import npgcheck

families = {"tabular", "softmax", "gaussian"}

DAMPING = 0.01
CG_ITERATIONS = 10
conventions = npgcheck.Conventions(
    damping=DAMPING, cg_iterations=CG_ITERATIONS, step_length="damped"
)


def tensor(array):
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def parameters(problem, theta=None):
    return tensor(problem.theta if theta is None else theta).clone().requires_grad_()


def policy(problem, theta, observations):
    observations = tensor(observations)
    if problem.family == "gaussian":
        m = problem.action_size
        mean = observations @ theta[:-m].reshape(-1, m)
        return Independent(Normal(mean, theta[-m:].exp().expand_as(mean)), 1)
    return Categorical(logits=observations @ theta.reshape(-1, problem.num_actions))


def surrogate_loss(problem, theta):
    batch = problem.batch
    actions = tensor(batch.actions)
    with torch.no_grad():
        old = policy(problem, parameters(problem), batch.observations).log_prob(actions)
    new = policy(problem, theta, batch.observations).log_prob(actions)
    return ((new - old).exp() * tensor(batch.advantages)).mean()


def mean_kl(problem, theta):
    observations = problem.batch.observations
    old = policy(problem, parameters(problem).detach(), observations)
    return kl_divergence(old, policy(problem, theta, observations)).mean()


def log_prob(problem, state, action):
    row = policy(problem, parameters(problem), problem.observations[state])
    return row.log_prob(tensor(action)).item()


def score(problem, state, action):
    theta = parameters(problem)
    row = policy(problem, theta, problem.observations[state])
    return torch.autograd.grad(row.log_prob(tensor(action)), theta)[0]


def policy_gradient(problem):
    theta = parameters(problem)
    return torch.autograd.grad(surrogate_loss(problem, theta), theta)[0]


def kl(problem, theta):
    return mean_kl(problem, tensor(theta)).item()


def fisher_vector_product(problem, vector):
    theta = parameters(problem)
    slope = torch.autograd.grad(mean_kl(problem, theta), theta, create_graph=True)[0]
    product = torch.autograd.grad(slope @ tensor(vector), theta)[0]
    return product + DAMPING * tensor(vector)


def conjugate_gradient(matvec, b, iterations):
    b = tensor(b)
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    square = residual @ residual
    for _ in range(iterations):
        if square <= 1e-28 * (b @ b):
            break
        product = tensor(matvec(direction.numpy()))
        length = square / (direction @ product)
        x += length * direction
        residual -= length * product
        square, previous = residual @ residual, square
        direction = residual + square / previous * direction
    return x


def natural_gradient(problem):
    gradient = policy_gradient(problem)
    return conjugate_gradient(
        lambda vector: fisher_vector_product(problem, vector), gradient, CG_ITERATIONS
    )


def trust_region_proposal(problem, max_kl):
    x = natural_gradient(problem)
    curvature = x @ fisher_vector_product(problem, x)
    if curvature <= 0:
        return tensor(problem.theta)
    return tensor(problem.theta) + (2 * max_kl / curvature).sqrt() * x


def trust_region_step(problem, max_kl):
    start = tensor(problem.theta)
    step = trust_region_proposal(problem, max_kl) - start
    before = surrogate_loss(problem, start)
    for shrink in 0.5 ** np.arange(10):
        theta = start + shrink * step
        if mean_kl(problem, theta) <= max_kl and surrogate_loss(problem, theta) > before:
            return theta
    return start
