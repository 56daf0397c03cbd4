"""The natural policy gradient of a finite MDP, solved exactly, in numpy.

After Kakade (2001), "A Natural Policy Gradient", for F and F⁻¹∇J; after Schulman et al. (2015),
"Trust Region Policy Optimization", for the surrogate and the step, and (2016) for the advantage
estimates. The policy is a softmax of linear logits; one-hot observations make it tabular.
"""

import numpy as np


def log_policy(problem, theta):
    logits = problem.observations @ theta.reshape(problem.observation_size, problem.num_actions)
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def policy(problem, theta):
    return np.exp(log_policy(problem, theta))


def scores(problem):
    """∇log π(a|s) for every state and action, as (S, A, D)."""
    pi = policy(problem, problem.theta)
    centred = np.eye(problem.num_actions)[None] - pi[:, None, :]
    return np.einsum("sk,sab->sakb", problem.observations, centred).reshape(*pi.shape, -1)


def log_prob(problem, state, action):
    return log_policy(problem, problem.theta)[state, action]


def score(problem, state, action):
    return scores(problem)[state, action]


# The MDP under the policy.


def transitions(problem):
    return np.einsum("sa,sat->st", policy(problem, problem.theta), problem.mdp.transitions)


def value(problem):
    reward = (policy(problem, problem.theta) * problem.mdp.rewards).sum(axis=1)
    return np.linalg.solve(
        np.eye(problem.num_states) - problem.mdp.discount * transitions(problem), reward
    )


def q_value(problem):
    return problem.mdp.rewards + problem.mdp.discount * problem.mdp.transitions @ value(problem)


def advantage(problem):
    return q_value(problem) - value(problem)[:, None]


def state_distribution(problem):
    gamma = problem.mdp.discount
    flow = np.eye(problem.num_states) - gamma * transitions(problem).T
    return np.linalg.solve(flow, (1 - gamma) * problem.mdp.initial_distribution)


def objective(problem):
    return problem.mdp.initial_distribution @ value(problem)


# The gradient and the metric.


def weights(problem):
    return state_distribution(problem)[:, None] * policy(problem, problem.theta)


def policy_gradient(problem):
    visits = weights(problem) / (1 - problem.mdp.discount)
    return np.einsum("sa,sad->d", visits * advantage(problem), scores(problem))


def surrogate(problem, theta):
    gain = state_distribution(problem) @ (policy(problem, theta) * advantage(problem)).sum(axis=1)
    return objective(problem) + gain / (1 - problem.mdp.discount)


def fisher(problem):
    phi = scores(problem)
    return np.einsum("sa,sad,sae->de", weights(problem), phi, phi)


def fisher_vector_product(problem, vector):
    phi = scores(problem)
    return np.einsum("sa,sad->d", weights(problem) * (phi @ vector), phi)


def kl(problem, theta):
    old, new = log_policy(problem, problem.theta), log_policy(problem, theta)
    return state_distribution(problem) @ (np.exp(old) * (old - new)).sum(axis=1)


# The steps.


def natural_gradient(problem):
    return np.linalg.lstsq(fisher(problem), policy_gradient(problem), rcond=1e-12)[0]


def update(problem, step_size):
    return problem.theta + step_size * natural_gradient(problem)


def train(problem, iterations, step_size):
    for _ in range(iterations):
        problem = problem.at(update(problem, step_size))
        yield problem.theta


def trust_region_proposal(problem, max_kl):
    x = natural_gradient(problem)
    curvature = x @ fisher_vector_product(problem, x)
    if curvature <= 0:  # no direction improves
        return problem.theta
    return problem.theta + np.sqrt(2 * max_kl / curvature) * x


def trust_region_step(problem, max_kl):
    step = trust_region_proposal(problem, max_kl) - problem.theta
    for shrink in 0.5 ** np.arange(10):
        theta = problem.theta + shrink * step
        if kl(problem, theta) <= max_kl and surrogate(problem, theta) > objective(problem):
            return theta
    return problem.theta


# Two tools that need no problem.


def conjugate_gradient(matvec, b, iterations):
    x = np.zeros_like(b)
    residual = direction = b
    square = b @ b
    for _ in range(iterations):
        if square <= 1e-28 * (b @ b):
            break
        product = matvec(direction)
        length = square / (direction @ product)
        x = x + length * direction
        residual = residual - length * product
        square, previous = residual @ residual, square
        direction = residual + square / previous * direction
    return x


def advantage_estimate(rewards, values, next_values, terminated, truncated, discount, lam):
    deltas = rewards + discount * next_values * (1 - terminated) - values
    advantages = np.zeros_like(deltas)
    running = 0.0
    for t in reversed(range(len(deltas))):
        if terminated[t] or truncated[t]:
            running = 0.0
        running = deltas[t] + discount * lam * running
        advantages[t] = running
    return advantages
