"""The second opinion on log-probabilities and scores."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.fact_judge.numbers import law, number
from npgcheck.conformance.fact_judge.relations import Cases, Judge, arrays, wrong_of
from npgcheck.conformance.fact_judge.truth import Case

Array = np.ndarray


def _probabilities(cases: Cases, match: re.Match[str]) -> bool:
    """Whether the probabilities of one state, all of whose actions were asked, sum to one."""
    groups: dict[tuple[int, int], dict[int, float]] = {}
    actions: dict[tuple[int, int], int] = {}
    for c in cases:
        key = (c.group, int(c.args[0]))
        groups.setdefault(key, {})[int(c.args[1])] = float(c.yours)
        actions[key] = c.problem.num_actions
    sums = [sum(np.exp(list(g.values()))) for k, g in groups.items() if len(g) == actions[k]]
    if not sums:
        return False
    one = [abs(total - 1.0) <= 1e-7 for total in sums]
    return all(one) if match.group(1) == "sum to one" else not any(one)


def _other_probabilities(cases: Cases, match: re.Match[str]) -> bool:
    """x(s) ⊗ (e_a − q), and what q is."""
    for c in wrong_of(cases):
        p, (state, action) = c.problem, c.args
        x = p.observations[int(state)]
        table = c.yours.reshape(len(x), p.num_actions)
        v = x @ table / float(x @ x)
        if np.abs(table - np.outer(x, v)).max() > 1e-7 * np.abs(table).max():
            return False
        q = np.eye(p.num_actions)[int(action)] - v
        if not _Q[match.group(1)](q, ExactSoftmax().pi(p)[int(state)]):
            return False
    return bool(wrong_of(cases))


_Q: dict[str, Callable[[Array, Array], bool]] = {
    "q = 1/A": lambda q, pi: bool(np.allclose(q, 1 / len(q), atol=1e-7)),
    "q = −π": lambda q, pi: bool(np.allclose(q, -pi, atol=1e-7)),
    "q = 0": lambda q, pi: bool(np.allclose(q, 0.0, atol=1e-7)),
    "another q, which sums to one": lambda q, pi: bool(abs(q.sum() - 1) <= 1e-7),
    "a q that does not sum to one": lambda q, pi: bool(abs(q.sum() - 1) > 1e-7),
}


def _asked_otherwise(cases: Cases, match: re.Match[str]) -> bool:
    """Right answers to another question, from the plain pipelines."""
    change = _CHANGES.get(match.group(1))
    if change is None or not wrong_of(cases):
        return False
    for c in cases:
        problem, state, action = change(c)
        if problem is None:
            return False
        function = c.pipeline.log_prob if np.ndim(c.yours) == 0 else c.pipeline.score
        wanted = np.asarray(function(problem, state, action))
        if np.abs(c.yours - wanted).max() > 1e-6 * max(1.0, float(np.abs(wanted).max())):
            return False
    return True


Changed = tuple[Any, int, Any]


def _at(read: Callable[[Case], Array | None]) -> Callable[[Case], Changed]:
    """The same question at other parameters."""

    def change(c: Case) -> Changed:
        theta = read(c)
        problem = None if theta is None else c.problem.at(theta)
        return problem, int(c.args[0]), c.args[1]

    return change


def _seeing(read: Callable[[Array], Array]) -> Callable[[Case], Changed]:
    """The same question with other observations."""

    def change(c: Case) -> Changed:
        p = c.problem
        if p.family == "tabular":  # its observations cannot be others
            family, observations = "softmax", read(np.array(p.observations))
        else:
            family, observations = p.family, read(np.array(p.observations))
        other = SimpleNamespace(
            observations=observations,
            theta=p.theta,
            family=family,
            policy=p.policy,
            num_states=p.num_states,
            observation_size=p.observation_size,
            **(
                {"action_size": p.action_size}
                if p.family == "gaussian"
                else {"num_actions": p.num_actions}
            ),
        )
        return other, int(c.args[0]), c.args[1]

    return change


def _moved(state: int, action: int) -> Callable[[Case], Changed]:
    """Another state or action."""

    def change(c: Case) -> Changed:
        p = c.problem
        asked = c.args[1] if not action else (int(c.args[1]) + action) % p.num_actions
        return p, (int(c.args[0]) + state) % p.num_states, asked

    return change


def _by_columns(c: Case) -> Array:
    theta = np.empty_like(c.problem.theta)
    at = 0
    for places in arrays(c):
        chunk = c.problem.theta[at : at + places.size]
        theta[places.T.ravel()] = chunk
        at += places.size
    return theta


def _transposes(c: Case) -> Array:
    return np.concatenate([c.problem.theta[places].T.ravel() for places in arrays(c)])


def _sigma(front: bool) -> Callable[[Case], Array | None]:
    def read(c: Case) -> Array | None:
        if c.problem.family != "gaussian":
            return None
        m, theta = c.problem.action_size, c.problem.theta
        parts = (theta[m:], theta[:m]) if front else (theta[-m:], theta[:-m])
        return np.concatenate(parts)

    return read


_CHANGES: dict[str, Callable[[Case], Changed]] = {
    "weights of θ that are read in the other order of rows and columns": _at(_by_columns),
    "weights of θ that are read as their transposes": _at(_transposes),
    "θ with log σ before the weights": _at(_sigma(False)),
    "θ with log σ read from its front": _at(_sigma(True)),
    "θ = 0": _at(lambda c: 0.0 * c.problem.theta),
    "−θ": _at(lambda c: -c.problem.theta),
    "θ cut to integers": _at(lambda c: np.trunc(c.problem.theta)),
    "θ rounded to integers": _at(lambda c: np.rint(c.problem.theta)),
    "θ rounded to 1 decimal": _at(lambda c: np.round(c.problem.theta, 1)),
    "θ rounded to 2 decimals": _at(lambda c: np.round(c.problem.theta, 2)),
    "observations rounded to 1 decimal": _seeing(lambda o: np.round(o, 1)),
    "observations rounded to 2 decimals": _seeing(lambda o: np.round(o, 2)),
    "observations of length one": _seeing(
        lambda o: o / np.maximum(np.sqrt((o**2).sum(axis=1)), 1e-300)[:, None]
    ),
    "observations minus their mean over states": _seeing(lambda o: o - o.mean(axis=0)),
    "the next state": _moved(1, 0),
    "the state before": _moved(-1, 0),
    "the next action": _moved(0, 1),
    "the action before": _moved(0, -1),
}


def _mixture(cases: Cases, match: re.Match[str]) -> bool:
    """a π + b."""
    a, b = number(match.group(1)), number(match.group(2))
    if a is None or b is None or not wrong_of(cases):
        return False
    for c in cases:
        shift = b / c.problem.num_actions if match.group(3) else b
        wanted = a * np.exp(float(c.exact)) + shift
        if abs(np.exp(float(c.yours)) - wanted) > 1e-5:
            return False
    return abs(b) > 1e-5 or _tiny_shift(cases, a, b, bool(match.group(3)))


def _tiny_shift(cases: Cases, a: float, b: float, per_action: bool) -> bool:
    """A shift below what absolute errors show is seen in the smallest probabilities."""
    for c in wrong_of(cases):
        shift = b / c.problem.num_actions if per_action else b
        seen = np.exp(float(c.yours)) - a * np.exp(float(c.exact))
        if abs(seen - shift) > 1e-3 * abs(shift) + 1e-13:
            return False
    return True


def _other_width(cases: Cases, match: re.Match[str]) -> bool:
    """The Gaussian density of σ times a number."""
    factor = law(match.group(1))
    if factor is None or not wrong_of(cases):
        return False
    for c in cases:
        k = c.problem.theta.size - c.problem.action_size
        theta = np.array(c.problem.theta)
        theta[k:] += np.log(factor(c))
        wanted = c.pipeline.log_prob(c.problem.at(theta), int(c.args[0]), c.args[1])
        if abs(float(c.yours) - wanted) > 1e-4 * max(1.0, abs(wanted)):
            return False
    return True


SENTENCES: tuple[tuple[str, Judge], ...] = (
    ("its probabilities (sum to one|do not sum to one)", _probabilities),
    (r"x\(s\) ⊗ \(e_a − q\) with (.+)", _other_probabilities),
    ("right for σ times (.+)", _other_width),
    ("right for (.+)", _asked_otherwise),
    (r"its probabilities are a π \+ b, a = (.+), b = (.+?)( / A)?", _mixture),
)
"""Patterns and their judges."""
