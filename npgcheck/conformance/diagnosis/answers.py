"""What every quantity of the contract answers on a problem under a set of choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.conformance.diagnosis.kl import divergence_at
from npgcheck.conformance.diagnosis.pipeline import View, gaussian_scores
from npgcheck.conformance.diagnosis.predict import surrogate_gain
from npgcheck.conformance.diagnosis.setup import Setup, factor
from npgcheck.conformance.diagnosis.solve import solution, system

Array = np.ndarray

#: Arguments of the calls that are shown and compared.
STEP_SIZE = 0.25
MAX_KL = 0.05
NATURAL = Setup(variant=("normalised", "unnormalised"))


def elsewhere(problem: Any) -> Array:
    """A second θ, for KL and the surrogate: a fixed, simple step away."""
    size = len(problem.theta)
    return np.asarray(problem.theta) + 0.5 * np.cos(1.0 + np.arange(size))


def _coordinates(v: View) -> Array:
    return v.through("coordinates", np.eye(len(v.reference.theta)))


def _log_prob(v: View, setup: Setup) -> Array:
    if v.discrete:
        return v["log_answer"][0]
    z = (v["mean"][0] + 1.5 - v["mean"][0]) / v["std"][0]
    terms = -0.5 * (z**2 + 2.0 * np.log(v["std"][0]) + np.log(2.0 * np.pi))
    return np.atleast_1d(np.sum(v.through("log_density", (terms, z, v["std"][0]))[0]))


def _score(v: View, setup: Setup) -> Array:
    if v.discrete:
        return v["scores"][0] @ _coordinates(v).T
    z = 1.5 / v["std"][0]
    phi = v.through("scores", gaussian_scores(v, z[None], np.array([0])))
    return phi @ _coordinates(v).T


def _gradient(v: View, setup: Setup) -> Array:
    scale = factor(v, "unnormalised")
    return _coordinates(v) @ ((scale or np.nan) * v["g"])


def _fisher(v: View, setup: Setup) -> Array:
    t = _coordinates(v)
    return t @ v["F"] @ t.T + setup.damping * np.eye(len(t))


def _product(v: View, setup: Setup) -> Array:
    vector = np.arange(1.0, len(v.reference.theta) + 1.0)
    t = _coordinates(v)
    found = t @ v["F"] @ (t.T @ vector) + setup.damping * vector
    return v.through("product", (found, vector))[0]


def _direction(v: View, setup: Setup) -> Array:
    solve = system(v, Setup(setup.base, NATURAL.variant, setup.damping, setup.iterations))
    if solve is None:
        return np.full(len(v.reference.theta), np.nan)
    x = solution(v, solve, setup)
    t = _coordinates(v)
    return np.linalg.solve(t.T, x) if np.abs(t - np.eye(len(t))).any() else x


def _update(v: View, setup: Setup) -> Array:
    x, theta = _direction(v, setup), v.reference.theta
    return v.through("update", (theta + STEP_SIZE * x, theta, STEP_SIZE, x))[0]


def _proposal(v: View, setup: Setup) -> Array:
    solve = system(v, Setup(setup.base, NATURAL.variant, setup.damping, setup.iterations))
    if solve is None:
        return np.full(len(v.reference.theta), np.nan)
    x = solution(v, solve, setup)
    metric = solve.matrix if setup.length == "damped" else solve.bare
    curve = float(x @ (metric @ x))
    usual = float(np.sqrt(2.0 * MAX_KL / curve)) if curve > 0 else np.nan
    return v.reference.theta + v.through("length", (usual, x, solve, MAX_KL))[0] * x


def _kl(v: View, setup: Setup) -> Array:
    direction = setup.variant[-1] if setup.variant else "forward"
    return np.atleast_1d(divergence_at(v, elsewhere(v.problem), 1.0, direction))


def _surrogate(v: View, setup: Setup) -> Array:
    gain = surrogate_gain(v, elsewhere(v.problem))
    return np.atleast_1d(np.nan if gain is None else gain)


def _part(name: str) -> Callable[[View, Setup], Array]:
    return lambda v, setup: np.atleast_1d(np.asarray(v[name], dtype=float))


ANSWERS: dict[str, Callable[[View, Setup], Array]] = {
    "log_prob": _log_prob,
    "score": _score,
    "value": _part("value"),
    "q_value": _part("q_value"),
    "advantage": _part("advantage"),
    "state_distribution": _part("state_distribution"),
    "objective": _part("objective"),
    "policy_gradient": _gradient,
    "surrogate": _surrogate,
    "fisher": _fisher,
    "fisher_vector_product": _product,
    "kl": _kl,
    "natural_gradient": _direction,
    "update": _update,
    "trust_region_proposal": _proposal,
}
"""Quantity → what it answers; x is the minimum-norm solution where it is not unique."""
