"""A natural policy gradient with one mistake in it, the kind that still trains.

`npgcheck verify examples/buggy_npg.py` finds it and calls it by its name.
"""

import numpy as np

DAMPING = 0.1


def log_policy(problem, theta):
    logits = problem.observations @ theta.reshape(problem.observation_size, problem.num_actions)
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def policy(problem, theta):
    return np.exp(log_policy(problem, theta))


def occupancy(problem, pi):
    gamma = problem.mdp.discount
    next_state = np.einsum("sa,sat->st", pi, problem.mdp.transitions)
    start = (1 - gamma) * problem.mdp.initial_distribution
    return np.linalg.solve(np.eye(problem.num_states) - gamma * next_state.T, start)


def critic(problem):
    pi, gamma = policy(problem, problem.theta), problem.mdp.discount
    next_state = np.einsum("sa,sat->st", pi, problem.mdp.transitions)
    reward = (pi * problem.mdp.rewards).sum(axis=1)
    value = np.linalg.solve(np.eye(problem.num_states) - gamma * next_state, reward)
    return problem.mdp.rewards + gamma * problem.mdp.transitions @ value


def policy_gradient(problem):
    pi = policy(problem, problem.theta)
    visits = occupancy(problem, pi)[:, None] * pi / (1 - problem.mdp.discount)
    # logits = observation @ W, so the derivative of the chosen logit is the observation ...
    return (problem.observations.T @ (visits * critic(problem))).ravel()


def fisher(problem):
    pi = policy(problem, problem.theta)
    centred = np.eye(problem.num_actions)[None] - pi[:, None, :]
    phi = np.einsum("sk,sab->sakb", problem.observations, centred).reshape(*pi.shape, -1)
    return np.einsum("s,sa,sad,sae->de", occupancy(problem, pi), pi, phi, phi)


def fisher_vector_product(problem, vector):
    return fisher(problem) @ vector + DAMPING * vector


def kl(problem, theta):
    old, new = log_policy(problem, problem.theta), log_policy(problem, theta)
    return occupancy(problem, np.exp(old)) @ (np.exp(old) * (old - new)).sum(axis=1)


def natural_gradient(problem):
    metric = fisher(problem) + DAMPING * np.eye(problem.theta.size)
    return np.linalg.solve(metric, policy_gradient(problem))
