"""A network of one's own under test: `families = {"own"}` brings the policy along.

`num_parameters` and `logits` describe the network; the exact answers are then built from that
very function. Everything else is the code to be judged: here a policy gradient over the rows of a
batch, a Gauss–Newton Fisher product F v = mean Jᵀ (diag π − π πᵀ) J v, and a damped natural
gradient. Two heads share a layer, and the second one is gated: nothing linear about it.
"""

import numpy as np
import torch
from torch.func import functional_call, jvp, vjp, vmap

import npgcheck

families = {"own"}
observation_size = 3
num_actions = 4
DAMPING = 0.05
conventions = npgcheck.Conventions(damping=DAMPING)


class Gated(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(observation_size, 3)
        self.head = torch.nn.Linear(3, num_actions, bias=False)
        self.gate = torch.nn.Linear(observation_size, num_actions)

    def forward(self, observations):
        hidden = torch.tanh(self.body(observations))
        return self.head(hidden) * torch.sigmoid(self.gate(observations))


network = Gated().double()
shapes = {name: p.shape for name, p in network.named_parameters()}


def num_parameters(problem):
    return sum(shape.numel() for shape in shapes.values())


def logits(problem, observations, theta):
    pieces = torch.split(tensor(theta), [shape.numel() for shape in shapes.values()])
    named = {n: p.reshape(s) for (n, s), p in zip(shapes.items(), pieces, strict=True)}
    return functional_call(network, named, (tensor(observations),))


def tensor(array):
    if isinstance(array, torch.Tensor):
        return array
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def log_policy(problem, observations, theta):
    return torch.log_softmax(logits(problem, observations, theta), dim=-1)


def log_prob(problem, state, action):
    return log_policy(problem, problem.observations[state], problem.theta)[action]


def score(problem, state, action):
    row = problem.observations[state]
    theta = tensor(problem.theta).requires_grad_()
    return torch.autograd.grad(log_policy(problem, row, theta)[action], theta)[0]


def policy_gradient(problem):
    batch = problem.batch
    theta = tensor(problem.theta).requires_grad_()
    taken = torch.as_tensor(batch.actions)[:, None]
    log_probs = log_policy(problem, batch.observations, theta).gather(1, taken)[:, 0]
    return torch.autograd.grad((log_probs * tensor(batch.advantages)).mean(), theta)[0]


def fisher_vector_product(problem, vector):
    def forward(theta):
        return logits(problem, problem.batch.observations, theta)

    theta = tensor(problem.theta)
    out, pushed = jvp(forward, (theta,), (tensor(vector),))
    pi = torch.softmax(out, dim=-1)
    pushed = pi * (pushed - (pi * pushed).sum(dim=-1, keepdim=True))
    pull_back = vjp(forward, theta)[1]
    return pull_back(pushed / len(out))[0] + DAMPING * tensor(vector)


def kl(problem, theta):
    rows = problem.batch.observations
    old, new = log_policy(problem, rows, problem.theta), log_policy(problem, rows, theta)
    return (old.exp() * (old - new)).sum(dim=-1).mean()


def natural_gradient(problem):
    columns = torch.eye(num_parameters(problem), dtype=torch.float64)
    metric = vmap(lambda column: fisher_vector_product(problem, column))(columns)
    return torch.linalg.solve(metric, policy_gradient(problem))
