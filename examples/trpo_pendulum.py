"""TRPO on a Gymnasium environment in one file, checked in its own loop.

After Schulman et al. (2015), appendix C, and Schulman et al. (2016) for the advantages. The lines
that name npgcheck are all that the checks take: five, and the report of every tenth update.
"""

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import npgcheck
import npgcheck.torch

DISCOUNT, LAM = 0.98, 0.95
MAX_KL, DAMPING, CG_ITERATIONS = 0.01, 0.1, 10


class Actor(nn.Module):
    def __init__(self, observation_size, action_size, hidden=64):
        super().__init__()
        self.mean = network(observation_size, hidden, action_size)
        self.log_std = nn.Parameter(torch.zeros(action_size))

    def forward(self, observations):
        return Independent(Normal(self.mean(observations), self.log_std.exp()), 1)


def network(inputs, hidden, outputs):
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
        nn.Linear(hidden, outputs),
    )  # fmt: skip


def collect(env, actor, critic, steps):
    """Rows of a rollout; `next_values` belongs to the state that followed, before any reset."""
    rows = {name: [] for name in ("observations", "actions", "rewards", "next_observations")}
    rows |= {"terminated": [], "truncated": []}
    observation, _ = env.reset()
    for _ in range(steps):
        with torch.no_grad():
            action = actor(torch.as_tensor(observation, dtype=torch.float32)).sample().numpy()
        clipped = np.clip(action, env.action_space.low, env.action_space.high)
        following, reward, terminated, truncated, _ = env.step(clipped)
        row = (observation, action, float(reward), following, terminated, truncated)
        for name, value in zip(rows, row, strict=True):
            rows[name].append(value)
        observation = env.reset()[0] if terminated or truncated else following
    rows = {name: torch.as_tensor(np.array(values)) for name, values in rows.items()}
    rows = {n: t.float() if t.is_floating_point() else t for n, t in rows.items()}
    with torch.no_grad():
        rows["values"] = critic(rows["observations"]).squeeze(-1)
        rows["next_values"] = critic(rows.pop("next_observations")).squeeze(-1)
    return rows


def advantage_estimates(rows):
    """Generalised advantage estimates; a time-out cuts the sum, a termination the bootstrap."""
    deltas = rows["rewards"] + DISCOUNT * ~rows["terminated"] * rows["next_values"] - rows["values"]
    goes_on = ~(rows["terminated"] | rows["truncated"])
    advantages, running = torch.zeros_like(deltas), 0.0
    for t in reversed(range(len(deltas))):
        running = deltas[t] + DISCOUNT * LAM * goes_on[t] * running
        advantages[t] = running
    return advantages


def conjugate_gradient(product, b):
    """x with (F + λI) x = b, approximately."""
    x, r, p = torch.zeros_like(b), b.clone(), b.clone()
    for _ in range(CG_ITERATIONS):
        image = product(p)
        alpha = r @ r / (p @ image)
        x, new = x + alpha * p, r - alpha * image
        p = new + (new @ new) / (r @ r) * p
        r = new
    return x


def update(actor, observations, actions, advantages, step):
    """One TRPO update of the actor; `step` notes what is to be judged."""
    parameters = list(actor.parameters())
    with torch.no_grad():
        old = actor(observations)
        old_log_prob = old.log_prob(actions)

    def surrogate():
        return ((actor(observations).log_prob(actions) - old_log_prob).exp() * advantages).mean()

    def kl():
        return kl_divergence(old, actor(observations)).mean()

    def product(vector):
        slopes = torch.autograd.grad(kl(), parameters, create_graph=True)
        along = parameters_to_vector(slopes) @ vector
        return parameters_to_vector(torch.autograd.grad(along, parameters)) + DAMPING * vector

    before = surrogate()
    gradient = parameters_to_vector(torch.autograd.grad(before, parameters))
    direction = conjugate_gradient(product, gradient)
    full = torch.sqrt(2 * MAX_KL / (direction @ product(direction))) * direction
    step.record(gradient=gradient, fisher_vector_product=product, direction=direction, kl=kl)

    theta = parameters_to_vector(parameters).detach()
    for shrink in 0.5 ** np.arange(10):
        vector_to_parameters(theta + shrink * full, parameters)
        if kl() <= MAX_KL and surrogate() > before:
            return
    vector_to_parameters(theta, parameters)


def train(env_id="Pendulum-v1", iterations=100, steps=2000, seed=0, every=10):
    torch.manual_seed(seed)
    env = gymnasium.make(env_id)
    env.reset(seed=seed)
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    actor, critic = Actor(*sizes), network(sizes[0], 64, 1)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    meant = npgcheck.Conventions(damping=DAMPING, cg_iterations=CG_ITERATIONS, step_length="damped")
    monitor = npgcheck.torch.StepMonitor(
        actor, lambda actor, observations: actor(observations),
        every=every, max_kl=MAX_KL, conventions=meant,
    )  # fmt: skip
    for iteration in range(iterations):
        rows = collect(env, actor, critic, steps)
        advantages = advantage_estimates(rows)
        returns = advantages + rows["values"]
        if iteration % every == 0:
            names = ("rewards", "values", "next_values", "terminated", "truncated")
            numbers = (rows[name] for name in names)
            report = npgcheck.check_advantages(
                advantages, *numbers, discount=DISCOUNT, lam=LAM, returns=returns
            )
            assert report.passed, report
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        with monitor.step(rows["observations"], rows["actions"], advantages) as step:
            update(actor, rows["observations"], rows["actions"], advantages, step)
        for _ in range(40):
            optimizer.zero_grad()
            (critic(rows["observations"]).squeeze(-1) - returns).square().mean().backward()
            optimizer.step()
        print(f"iteration {iteration}: {rows['rewards'].mean():.3f} reward per step")
    return monitor


if __name__ == "__main__":
    print(train().last)
