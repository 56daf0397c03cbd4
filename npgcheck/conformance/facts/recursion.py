"""Generalised advantages: the residual of a row, and what it takes from the row after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from npgcheck.conformance.facts.laws import number_text
from npgcheck.conformance.facts.relations import entrywise, relation
from npgcheck.conformance.facts.seen import Seen

Array = np.ndarray
#: Equations of a row hold to this accuracy of the largest number in it.
HOLDS = 1e-7
#: Rows that a statement about them needs.
ENOUGH = 12


def recursion(seen: Sequence[Seen]) -> Iterator[str]:
    """What turns all rows right, given one change: the residual, or the carry."""
    if seen[0].quantity != "advantage_estimate":
        return
    yield _carry(seen)
    yield _residuals(seen)


def _parts(s: Seen) -> tuple[Array, Array, Array]:
    """Exact residuals, whether the episode goes on, and the following estimate."""
    rewards, values, after, terminated, truncated, discount, _ = s.args
    delta = rewards + discount * np.where(terminated, 0.0, after) - values
    answer = s.record.value
    return delta, ~(terminated | truncated), np.append(answer[1:], 0.0)


CARRIES: dict[str, Callable[[float, float], float]] = {
    "0": lambda gamma, lam: 0.0,
    "1": lambda gamma, lam: 1.0,
    "γ": lambda gamma, lam: gamma,
    "λ": lambda gamma, lam: lam,
    "γ²λ": lambda gamma, lam: gamma**2 * lam,
    "γλ²": lambda gamma, lam: gamma * lam**2,
    "−γλ": lambda gamma, lam: -gamma * lam,
}


def _carry(seen: Sequence[Seen]) -> str:
    """Â = δ + c Â of the next row inside an episode, with another c than γλ."""
    rows = []
    for s in seen:
        delta, inside, following = _parts(s)
        inside[-1] = False
        rows.append((s.args[-2], s.args[-1], (s.record.value - delta)[inside], following[inside]))
    if sum(len(r) for *_, r, _ in rows) < ENOUGH:
        return ""
    for name, read in CARRIES.items():
        if all(_is(left, read(g, lam) * after) for g, lam, left, after in rows):
            return f"each row takes c times the next estimate, c = {name}, not γλ"
    for name, by in (("λ", 1), ("γ", 0)):
        numbers = []
        for g, lam, left, after in rows:
            along = (g, lam)[by] * after
            square = float(along @ along)
            if square > 1e-20:
                numbers.append(float(along @ left) / square)
        c = float(np.median(numbers)) if numbers else 0.0
        if c and all(_is(left, c * (g, lam)[by] * after) for g, lam, left, after in rows):
            return f"each row takes c times the next estimate, c = {number_text(c)} {name}, not γλ"
    return ""


def _is(left: Array, right: Array) -> bool:
    size = max(1.0, float(np.max(np.abs(left), initial=0.0)))
    return float(np.max(np.abs(left - right), initial=0.0)) <= HOLDS * size


def _residuals(seen: Sequence[Seen]) -> str:
    """Other residuals in the right recursion, and what they are."""
    implied = []
    for s in seen:
        delta, inside, following = _parts(s)
        decay = s.args[-2] * s.args[-1] * inside
        implied.append(replace(s, yours=s.record.value - decay * following, exact=delta))
    wrong = [s for s in implied if s.wrong]
    text = relation(wrong, wrong) or entrywise(implied)
    return f"as if of other residuals δ: {text}" if text and "differs" not in text else ""
