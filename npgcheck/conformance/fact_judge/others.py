"""The second opinion on "this is another quantity": other sums over states, other systems."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.controls._network import ExactNetwork
from npgcheck.conformance.fact_judge.numbers import (
    direction,
    exact_pipeline,
    law,
    limit,
    matrix_of,
)
from npgcheck.conformance.fact_judge.relations import Cases, Judge, holds, wrong_of
from npgcheck.conformance.fact_judge.truth import CLOSE, Case

Array = np.ndarray

# ---- other quantities -----------------------------------------------------------------------


def _of_pipeline(name: str) -> Callable[[Case], Any]:
    return lambda c: getattr(exact_pipeline(c), name)(c.problem)


def _reduced(reduce: Callable[[Array], Array]) -> Callable[[Case], Array]:
    return lambda c: reduce(ExactSoftmax().q_value(c.problem))


def _divergences(c: Case) -> Array:
    """KL of every state, from the densities."""
    plain, p = exact_pipeline(c), c.problem
    if isinstance(plain, ExactNetwork):
        old, new = (plain.forward(p, theta)[1] for theta in (p.theta, c.args[0]))
    elif p.family == "gaussian":
        (W, old), (V, new) = plain.unpack(p, p.theta), plain.unpack(p, c.args[0])
        shift = p.observations @ (W - V)
        inner = new - old + (np.exp(2 * old) + shift**2) / (2 * np.exp(2 * new)) - 0.5
        return np.asarray(inner.sum(axis=1))
    else:
        old, new = plain.log_pi(p, p.theta), plain.log_pi(p, c.args[0])
    return np.asarray((np.exp(old) * (old - new)).sum(axis=1))


def _there(c: Case) -> float:
    pipeline = exact_pipeline(c)
    here = pipeline.objective(c.problem)
    return float(pipeline.objective(c.problem.at(c.args[0])) - here)


_OTHERS: dict[str, Callable[[Case], Any]] = {
    "the start distribution": lambda c: c.problem.mdp.initial_distribution,
    "the distribution after one step": lambda c: (
        c.problem.mdp.initial_distribution @ ExactSoftmax().chain(c.problem)
    ),
    "1/S in every state": lambda c: np.ones(c.problem.num_states) / c.problem.num_states,
    "the exact d²": lambda c: c.exact**2,
    "the mean reward of one step": _of_pipeline("mean_reward"),
    "the largest exact Q of each state": _reduced(lambda q: q.max(axis=1)),
    "the plain mean of the exact Q over actions": _reduced(lambda q: q.mean(axis=1)),
    "the reward of one step": lambda c: c.problem.mdp.rewards,
    "the exact A": _of_pipeline("advantage"),
    "the exact Q": _of_pipeline("q_value"),
    "the exact Q minus its plain mean over actions": _reduced(
        lambda q: q - q.mean(axis=1)[:, None]
    ),
    "the exact Q minus its largest over actions": _reduced(lambda q: q - q.max(axis=1)[:, None]),
    "the exact V of the first state": lambda c: _of_pipeline("value")(c)[0],
    "the plain mean of the exact V": lambda c: np.mean(_of_pipeline("value")(c)),
    "the exact V under d": lambda c: (
        _of_pipeline("state_distribution")(c) @ _of_pipeline("value")(c)
    ),
    "the largest KL of a state": lambda c: _divergences(c).max(),
    "the plain mean of the KL over states": lambda c: _divergences(c).mean(),
    "the plain sum of the KL over states": lambda c: _divergences(c).sum(),
    "the sign of the exact g": lambda c: np.sign(
        np.where(np.abs(direction(c)) > 1e-12, direction(c), 0.0)
    ),
    "the exact J at the other parameters": _there,
    "the exact F g": lambda c: matrix_of(c) @ (direction(c) if c.metric is not None else c.exact),
    "the exact g": direction,
    "the exact x": lambda c: np.linalg.pinv(matrix_of(c), rcond=1e-11, hermitian=True) @ c.exact,
    "the vector v": lambda c: c.args[0],
    "the exact F F v": lambda c: matrix_of(c) @ c.exact,
    "the exact F F": lambda c: c.exact @ c.exact,
    "the exact g gᵀ": lambda c: np.outer(*[c.pipeline.policy_gradient(c.problem)] * 2),
    "the identity": lambda c: np.eye(len(c.exact)),
    "the diagonal of the exact F, zero elsewhere": lambda c: np.diag(np.diag(c.exact)),
}


def _another(cases: Cases, match: re.Match[str]) -> bool:
    """Another quantity, times a law; (1−γ) is free in both where g enters."""
    name, text = match.group(1), match.group(2) or "1"
    read, factor = _OTHERS.get(name), law(text)
    if read is None or factor is None:
        return False
    free = (0, 1, -1, 2, -2) if " g" in name or " x" in name else (0,)

    def scaled(c: Case, power: int) -> Array:
        return np.asarray(factor(c) * (1 - c.problem.mdp.discount) ** power * np.asarray(read(c)))

    return any(holds(cases, partial(scaled, power=power), limit(text)) for power in free)


# ---- other state weights --------------------------------------------------------------------


def _of_states(c: Case) -> Array:
    """What each state contributes to g, F or Fv at weight one, (S, …)."""
    p, pipeline = c.problem, exact_pipeline(c)
    if p.family == "gaussian":
        parts = []
        for x in p.observations:
            top = np.kron(np.outer(x, x), np.diag(pipeline.precision(p)))
            block = np.zeros((p.theta.size, p.theta.size))
            block[: len(top), : len(top)] = top
            block[len(top) :, len(top) :] = np.diag(pipeline.width_block(p))
            parts.append(block)
        stack = np.array(parts)
        if np.ndim(c.exact) == 1 and not c.args:
            raise LookupError("no per-state gradient of a Gaussian pipeline")
    else:
        phi = pipeline.scores(p)
        if isinstance(pipeline, ExactNetwork):
            pi, adv, _ = pipeline.solved(p)
        else:
            pi, adv = pipeline.pi(p), pipeline.advantage(p)
        if np.ndim(c.exact) == 1 and not c.args:
            return np.einsum("sa,sad->sd", pi * adv, phi)
        stack = np.einsum("sa,sad,sae->sde", pi, phi, phi)
    return np.asarray(stack @ c.args[0] if c.args else stack)


_WEIGHTS: dict[str, Callable[[Case], Array]] = {
    "the same for all states": lambda c: np.ones(c.problem.num_states),
    "the start distribution": _OTHERS["the start distribution"],
    "the distribution after one step": _OTHERS["the distribution after one step"],
    "d(s)²": lambda c: _of_pipeline("state_distribution")(c) ** 2,
    "d(s) |V(s)|": lambda c: (
        _of_pipeline("state_distribution")(c) * np.abs(_of_pipeline("value")(c))
    ),
}


def _other_weights(cases: Cases, match: re.Match[str]) -> bool:
    named = match.group(1)
    telling = 0
    for c in wrong_of(cases):
        try:
            parts = _of_states(c)
        except LookupError:
            return False
        columns = parts.reshape(len(parts), -1).T
        if named:
            columns = (columns @ _WEIGHTS[named](c))[:, None]
        weights = np.linalg.lstsq(columns, np.ravel(c.yours), rcond=None)[0]
        if c.distance((columns @ weights).reshape(np.shape(c.yours))) > CLOSE:
            return False
        telling += bool(named) or len(columns) > np.linalg.matrix_rank(columns)
    return telling > 0


SENTENCES: tuple[tuple[str, Judge], ...] = (
    ("this is (.+?)(?: times (.+))?", _another),
    (r"the exact sum over states with other weights than d\(s\)(?:: (.+))?", _other_weights),
)
"""Patterns and their judges."""
