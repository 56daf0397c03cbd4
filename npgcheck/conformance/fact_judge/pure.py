"""The second opinion on conjugate gradient and generalised advantages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from npgcheck.conformance.fact_judge.numbers import number
from npgcheck.conformance.fact_judge.parts import every_wrong
from npgcheck.conformance.fact_judge.relations import Cases, Judge, follows, wrong_of
from npgcheck.conformance.fact_judge.truth import Case, _krylov

Array = np.ndarray


def _iterate(by: int) -> Judge:
    def test(c: Case) -> bool:
        matrix, b, k = c.args
        wanted = _krylov(matrix, b, k + by) if k + by > 0 else np.zeros_like(b)
        error = float(np.linalg.norm(matrix @ (c.yours - wanted)))
        return error <= 1e-5 * float(np.linalg.norm(b))

    return every_wrong(lambda c: not np.any(c.args[1]) or test(c))


def _scaled_system(cases: Cases, match: re.Match[str]) -> bool:
    found = []
    for c in wrong_of(cases):
        matrix, b, _ = c.args
        if not np.any(b):
            continue
        image = matrix @ c.yours
        number_ = float(image @ b) / float(b @ b)
        if np.linalg.norm(image - number_ * b) > 1e-5 * np.linalg.norm(image):
            return False
        found.append((c, number_))
    return bool(found) and follows(found, match.group(1))


def _in_span(c: Case) -> bool | None:
    """Whether the answer is a combination of b … M^(k−1) b; None where that says nothing."""
    matrix, b, k = c.args
    if not np.any(b) or k >= len(b):
        return None
    powers = [b / np.linalg.norm(b)]
    for _ in range(k - 1):
        following = matrix @ powers[-1]
        for q in (*powers, *powers):
            following = following - (q @ following) * q
        if np.linalg.norm(following) <= 1e-10:
            break
        powers.append(following / np.linalg.norm(following))
    left = c.yours - sum((q @ c.yours) * q for q in powers)
    return bool(np.linalg.norm(left) <= 1e-5 * np.linalg.norm(c.yours))


def _span(inside: bool) -> Judge:
    def judge(cases: Cases, match: re.Match[str]) -> bool:
        found = [_in_span(c) for c in wrong_of(cases)]
        told = [f for f in found if f is not None]
        return bool(told) and all(f is inside for f in told)

    return judge


_NAMES = {
    "r": lambda r, v, after, gamma: r,
    "V": lambda r, v, after, gamma: v,
    "γ V′": lambda r, v, after, gamma: gamma * after,
    "V′": lambda r, v, after, gamma: after,
    "γ V": lambda r, v, after, gamma: gamma * v,
    "1": lambda r, v, after, gamma: np.ones_like(r),
}


_WHERE: dict[str, Callable[[Case], Array]] = {
    "with λ = 0 inside an episode": lambda c: (c.args[-1] == 0.0) & ~(c.args[3] | c.args[4]),
    "in rows that terminate": lambda c: np.asarray(c.args[3]),
    "in rows that a time limit cuts": lambda c: np.asarray(c.args[4]),
}
_TERM = re.compile(r"([+−]?) ?(?:([0-9√()/.e-]+) )?(r|γ V′|γ V|V′|V|1)(?= [+−]|$)")


def _residual(cases: Cases, match: re.Match[str]) -> bool:
    """The answer of some rows as a sum of terms."""
    seen, discounts = 0, set()
    names = {name for _, _, name in _TERM.findall(match.group(2))}
    bends = {"γ V′", "V′"} <= names or {"γ V", "V"} <= names
    for c in cases:
        r, v, after, _, _, gamma, _ = c.args
        rows = np.broadcast_to(_WHERE[match.group(1)](c), r.shape)
        if not rows.any():
            continue
        wanted = np.zeros_like(r)
        for sign, size, name in _TERM.findall(match.group(2)):
            factor = number(size) if size else 1.0
            if factor is None:
                return False
            term = _NAMES[name](r, v, after, gamma)
            wanted = wanted + (-1.0 if sign == "−" else 1.0) * factor * term
        seen += int(rows.sum())
        discounts.add(float(gamma))
        if np.abs(c.yours - wanted)[rows].max() > 1e-4:
            return False
    # A factor a γ + b fits whatever it is of two different γ.
    return seen > 0 and (len(discounts) >= 3 or not bends)


_CARRIES: dict[str, Callable[[float, float], float]] = {
    "γ": lambda gamma, lam: gamma,
    "λ": lambda gamma, lam: lam,
    "γ²λ": lambda gamma, lam: gamma * gamma * lam,
    "γλ²": lambda gamma, lam: gamma * lam * lam,
    "−γλ": lambda gamma, lam: -gamma * lam,
}


def _carry(cases: Cases, match: re.Match[str]) -> bool:
    """What each row takes of the next estimate inside an episode."""
    size, _, name = match.group(1).rpartition(" ")
    factor = number(size) if size else 1.0
    if factor is None:
        return False
    constant = None if name in _CARRIES else number(name)
    if name not in _CARRIES and constant is None:
        return False
    seen = 0
    for c in cases:
        r, v, after, terminated, truncated, gamma, lam = c.args
        for t in range(len(r) - 1):
            if terminated[t] or truncated[t]:
                continue
            carry = constant if constant is not None else factor * _CARRIES[name](gamma, lam)
            wanted = r[t] + gamma * after[t] - v[t] + carry * c.yours[t + 1]
            if abs(c.yours[t] - wanted) > 1e-5 * max(1.0, abs(wanted)):
                return False
            seen += 1
    return seen > 0 and bool(wrong_of(cases))


def residuals(cases: Cases) -> list[Case]:
    """Residuals that the answers stand for, beside the exact ones."""
    found = []
    for c in cases:
        r, v, after, terminated, truncated, gamma, lam = c.args
        yours, exact = np.array(c.yours), r - v + gamma * after * ~terminated
        for t in range(len(r) - 1):
            if not (terminated[t] or truncated[t]):
                yours[t] = c.yours[t] - gamma * lam * c.yours[t + 1]
        found.append(replace(c, yours=yours, exact=exact))
    return found


SENTENCES: tuple[tuple[str, Judge], ...] = (
    ("one iteration too few", _iterate(-1)),
    ("one iteration too many", _iterate(1)),
    ("x solves M x = c b, c = (.+)", _scaled_system),
    (r"not a combination of b, M b, …, M\^\(k−1\) b", _span(False)),
    (r"a combination of b, M b, …, M\^\(k−1\) b, with wrong coefficients", _span(True)),
    (rf"({'|'.join(_WHERE)}) it is (.+), not .+", _residual),
    ("each row takes c times the next estimate, c = (.+), not γλ", _carry),
)
"""Patterns and their judges."""
