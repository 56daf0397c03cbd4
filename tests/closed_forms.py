"""Softmax, network and Gaussian policies in closed form, for the test of the sb3-contrib adapter.

Nothing of npgcheck's mathematics is used: the problems are plain namespaces and the formulas are
numpy in float64, so that a number of the library is compared with a second route.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

DAMPING = 0.1  # TRPO's default cg_damping


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


class Categorical:
    """π(a|s) = softmax(x_s W): score, Fisher matrix and KL over the rows of a batch."""

    averaged = 1

    def __init__(self, tabular: bool = False, scale: float = 1.0, seed: int = 0, rows: int = 40):
        rng = np.random.default_rng(seed)
        states, k, actions = (4, 4, 3) if tabular else (5, 3, 4)
        self.x = np.eye(states) if tabular else scale * rng.normal(size=(states, k))
        self.shape = (k, actions)
        self.states = rng.integers(states, size=rows)
        self.actions = rng.integers(actions, size=rows)
        advantages = rng.normal(size=rows)
        theta = rng.normal(size=k * actions)
        self.problem = SimpleNamespace(
            family="tabular" if tabular else "softmax",
            policy=SimpleNamespace(),
            theta=theta,
            observations=self.x,
            observation_size=k,
            num_actions=actions,
            batch=SimpleNamespace(
                observations=self.x[self.states], actions=self.actions, advantages=advantages
            ),
        )

    def probabilities(self, theta, rows):
        return softmax(rows @ theta.reshape(self.shape))

    def log_prob(self, theta, row, action):
        return float(np.log(self.probabilities(theta, row)[action]))

    def score(self, theta, row, action):
        return np.kron(row, np.eye(self.shape[1])[action] - self.probabilities(theta, row))

    def fisher(self, theta):
        rows = self.problem.batch.observations
        total = 0.0
        for row, p in zip(rows, self.probabilities(theta, rows), strict=True):
            total = total + np.kron(np.outer(row, row), np.diag(p) - np.outer(p, p))
        return total / len(rows)

    def kl(self, first, second):
        p, q = (self.probabilities(t, self.problem.batch.observations) for t in (first, second))
        return float((p * np.log(p / q)).sum(axis=1).mean())


class Network(Categorical):
    """The library's default shape of network, two tanh layers and a linear one, all with biases.

    Derivatives of the logits by the complex step: the network is analytic, so Im f(θ + ih e)/h is
    exact to round-off.
    """

    def __init__(self, seed: int = 0):
        super().__init__(seed=seed)
        rng = np.random.default_rng(seed + 1)
        hidden = (4, 2)
        self.sizes = (self.shape[0], *hidden, self.shape[1])
        size = sum((i + 1) * o for i, o in zip(self.sizes[:-1], self.sizes[1:], strict=True))
        self.problem.family = "mlp"
        self.problem.policy = SimpleNamespace(hidden=hidden)
        self.problem.theta = rng.normal(size=size)

    def logits(self, theta, rows):
        out, start = rows, 0
        for level, (i, o) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            if level:
                out = np.tanh(out)
            out = out @ theta[start : start + i * o].reshape(i, o) + theta[start + i * o :][:o]
            start += (i + 1) * o
        return out

    def probabilities(self, theta, rows):
        return softmax(self.logits(theta, rows))

    def jacobian(self, theta, row):
        steps = 1e-30j * np.eye(theta.size)
        return np.array([self.logits(theta + e, row).imag / 1e-30 for e in steps]).T

    def score(self, theta, row, action):
        residual = np.eye(self.shape[1])[action] - self.probabilities(theta, row)
        return self.jacobian(theta, row).T @ residual

    def fisher(self, theta):
        rows, total = self.problem.batch.observations, 0.0
        for row, p in zip(rows, self.probabilities(theta, rows), strict=True):
            j = self.jacobian(theta, row)
            total = total + j.T @ (np.diag(p) - np.outer(p, p)) @ j
        return total / len(rows)


class Gaussian:
    """π(a|s) = N(x_s W, diag exp(2 log σ)), θ = [W, log σ].

    ``averaged``: the divergence of a diagonal Gaussian is a sum over its m dimensions; the
    library's ``.mean()`` runs over rows and dimensions alike, which divides the sum by m.
    """

    def __init__(self, dimensions: int, seed: int = 0, rows: int = 40):
        rng = np.random.default_rng(seed)
        states, k, m = 4, 3, dimensions
        self.averaged = m
        self.x = rng.normal(size=(states, k))
        self.shape = (k, m)
        self.states = rng.integers(states, size=rows)
        self.actions = rng.normal(size=(rows, m))
        theta = np.concatenate([rng.normal(size=k * m), rng.uniform(-0.7, 0.5, size=m)])
        self.problem = SimpleNamespace(
            family="gaussian",
            policy=SimpleNamespace(sigma="log_std"),
            theta=theta,
            observations=self.x,
            observation_size=k,
            action_size=m,
            batch=SimpleNamespace(
                observations=self.x[self.states],
                actions=self.actions,
                advantages=rng.normal(size=rows),
            ),
        )

    def split(self, theta, row):
        m = self.shape[1]
        return row @ theta[:-m].reshape(self.shape), np.exp(theta[-m:])

    def log_prob(self, theta, row, action):
        mean, std = self.split(theta, row)
        z = (action - mean) / std
        return float(-0.5 * z @ z - np.log(std).sum() - 0.5 * len(std) * np.log(2 * np.pi))

    def score(self, theta, row, action):
        mean, std = self.split(theta, row)
        z = (action - mean) / std
        return np.concatenate([np.kron(row, z / std), z**2 - 1])

    def fisher(self, theta):
        k, m = self.shape
        rows, std = self.problem.batch.observations, np.exp(theta[-m:])
        total = np.zeros((k * m + m, k * m + m))
        total[: k * m, : k * m] = np.kron(rows.T @ rows / len(rows), np.diag(std**-2.0))
        total[k * m :, k * m :] = 2 * np.eye(m)
        return total

    def kl(self, first, second):
        """Mean over the rows of Σ_i log(σ₂/σ₁) + (σ₁² + (μ₁ − μ₂)²) / 2σ₂² − 1/2."""
        rows = self.problem.batch.observations
        (mu1, s1), (mu2, s2) = self.split(first, rows), self.split(second, rows)
        terms = np.log(s2 / s1) + (s1**2 + (mu1 - mu2) ** 2) / (2 * s2**2) - 0.5
        return float(terms.sum(axis=1).mean())


def gradient(case):
    batch, theta = case.problem.batch, case.problem.theta
    scores = [
        case.score(theta, x, a) for x, a in zip(batch.observations, batch.actions, strict=True)
    ]
    return np.mean(np.array(scores) * batch.advantages[:, None], axis=0)


def surrogate(case, theta):
    batch, old = case.problem.batch, case.problem.theta
    ratios = [
        np.exp(case.log_prob(theta, x, a) - case.log_prob(old, x, a))
        for x, a in zip(batch.observations, batch.actions, strict=True)
    ]
    return float(np.mean(batch.advantages * ratios))


def elsewhere(case, size=0.3):
    return case.problem.theta + size * np.random.default_rng(7).normal(size=case.problem.theta.size)


def metric(case):
    """The Hessian of the divergence that train() forms: F, divided by m for a Gaussian."""
    return case.fisher(case.problem.theta) / case.averaged


def damped(case):
    return metric(case) + DAMPING * np.eye(case.problem.theta.size)
