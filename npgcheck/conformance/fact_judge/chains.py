"""The second opinion on values and occupancies of another chain, discount or reward."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.fact_judge.numbers import law
from npgcheck.conformance.fact_judge.relations import Cases, Judge, follows, wrong_of
from npgcheck.conformance.fact_judge.truth import Case

Array = np.ndarray


def _chain(c: Case) -> Array:
    if c.problem.family == "gaussian":
        return np.asarray(c.problem.mdp.transitions)
    return ExactSoftmax().chain(c.problem)


def _equation(c: Case, chain: Array | None = None) -> tuple[Array, Array]:
    """What is left after the first term of the chain's equation, and what γ multiplies."""
    p, plain = c.problem, ExactSoftmax()
    if np.ndim(c.exact) == 2:
        return c.yours - p.mdp.rewards, p.mdp.transitions @ (plain.pi(p) * c.yours).sum(axis=1)
    chain = _chain(c) if chain is None else chain
    if abs(float(c.exact.sum()) - 1.0) < 1e-9 and float(c.exact.min()) > -1e-9:
        start = p.mdp.initial_distribution
        return c.yours - start, chain.T @ c.yours - start
    return c.yours - plain.mean_reward(p), chain @ c.yours


def _same(left: Array, right: Array) -> bool:
    size = max(float(np.abs(left).max()), float(np.abs(right).max()))
    return bool(np.abs(left - right).max() <= 1e-5 * size + 1e-13)


def _multiples(cases: Cases, text: str, parts: Callable[[Case], tuple[Array, Array]]) -> bool:
    """left = c along, with a c that follows a law."""
    found = []
    for case in wrong_of(cases):
        left, along = parts(case)
        c = float(np.vdot(along, left)) / float(np.vdot(along, along))
        if not _same(left, c * along):
            return False
        found.append((case, c))
    return bool(found) and follows(found, text)


def _discount(cases: Cases, match: re.Match[str]) -> bool:
    return _multiples(cases, match.group(1), _equation)


def _one_step(cases: Cases, match: re.Match[str]) -> bool:
    def parts(c: Case) -> tuple[Array, Array]:
        mdp = c.problem.mdp
        return c.yours - mdp.rewards, mdp.transitions @ ExactSoftmax().value(c.problem)

    return _multiples(cases, match.group(1), parts)


def _stays(cases: Cases, match: re.Match[str]) -> bool:
    def parts(c: Case) -> tuple[Array, Array]:
        left, along = _equation(c)
        gamma = c.problem.mdp.discount
        still = _equation(c, np.eye(c.problem.num_states))[1]
        return left - gamma * along, gamma * (still - along)

    return _multiples(cases, match.group(1), parts)


def _other(chain: Callable[[Case], Array]) -> Judge:
    def judge(cases: Cases, match: re.Match[str]) -> bool:
        found = wrong_of(cases)
        for c in found:
            left, along = _equation(c, chain(c))
            if not _same(left, c.problem.mdp.discount * along):
                return False
        return bool(found)

    return judge


def rewards(cases: Cases) -> list[Case]:
    """Rewards that the answers stand for, beside the exact ones."""
    found = []
    for c in cases:
        exact: Any = c.problem.mdp.rewards
        if np.ndim(c.exact) == 1:
            exact = ExactSoftmax().mean_reward(c.problem)
        left, along = _equation(c)
        implied = left - c.problem.mdp.discount * along + exact
        found.append(replace(c, yours=implied, exact=np.asarray(exact)))
    return found


SENTENCES: tuple[tuple[str, Judge], ...] = (
    ("right for the discount (.+)", _discount),
    (r"r \+ c P V with the exact V, c = (.+)", _one_step),
    ("right for a chain that stays where it is with probability (.+)", _stays),
    ("right for the transposed chain", _other(lambda c: _chain(c).T)),
    (
        "right for the chain of the uniform policy",
        _other(lambda c: c.problem.mdp.transitions.mean(axis=1)),
    ),
)
"""Patterns and their judges."""

__all__ = ["SENTENCES", "law", "rewards"]
