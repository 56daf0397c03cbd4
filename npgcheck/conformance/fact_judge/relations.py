"""The second opinion on relations: sentences that turn every exact answer into the subject's."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from npgcheck.conformance.fact_judge.numbers import direction, law, limit, number
from npgcheck.conformance.fact_judge.truth import CLOSE, POINTS, Case

Array = np.ndarray
Cases = Sequence[Case]
Judge = Callable[[Cases, "re.Match[str]"], bool]


def wrong_of(cases: Cases) -> list[Case]:
    """The wrong answers."""
    return [c for c in cases if not c.right]


def holds(cases: Cases, relate: Callable[[Case], Any], closely: float = CLOSE) -> bool:
    """Whether a relation reproduces every wrong answer whose exact one is not zero."""
    found = [c for c in wrong_of(cases) if np.any(c.exact)] or wrong_of(cases)
    pairs = [(c, relate(c)) for c in found]
    return bool(pairs) and all(r is not None and c.distance(r) <= closely for c, r in pairs)


def _relation(relate: Callable[[Case], Any]) -> Judge:
    return lambda cases, match: holds(cases, relate)


def _times(cases: Cases, match: re.Match[str]) -> bool:
    factor = law(match.group(1))
    if factor is None:
        return False
    return holds(cases, lambda c: factor(c) * c.exact, limit(match.group(1)))


def _some_factor(cases: Cases, match: re.Match[str]) -> bool:
    factors = []
    if all(np.size(c.exact) == 1 for c in cases):
        return False  # any two numbers are such multiples: it says nothing
    for yours, exact in (c.pair for c in wrong_of(cases)):
        square = float(np.vdot(exact, exact))
        if square == 0.0:
            continue
        factor = float(np.vdot(exact, yours)) / square
        if np.max(np.abs(yours - factor * exact)) > CLOSE * np.max(np.abs(exact)):
            return False
        factors.append(factor)
    return len(factors) > 1 and float(np.ptp(factors)) > CLOSE * max(map(abs, factors))


def zero(cases: Cases, match: re.Match[str]) -> bool:
    """Whether every wrong answer is zero."""
    return all(not np.any(c.yours) for c in wrong_of(cases)) and bool(wrong_of(cases))


# ---- orders ---------------------------------------------------------------------------------


def _sizes(case: Case) -> list[tuple[int, ...]]:
    """Shapes of the parameter arrays, in the order of the contract."""
    p = case.problem
    if p.family == "gaussian":
        return [(p.observation_size, p.action_size), (p.action_size,)]
    if p.family == "mlp":
        widths = p.policy.sizes
        pairs = pairwise(widths)
        return [shape for inputs, outputs in pairs for shape in ((inputs, outputs), (outputs,))]
    return [(p.theta.size // p.num_actions, p.num_actions)]


def arrays(case: Case) -> list[Array]:
    """Indices of θ, array by array."""
    found, at = [], 0
    for shape in _sizes(case):
        size = int(np.prod(shape))
        found.append(np.arange(at, at + size).reshape(shape))
        at += size
    return found


def _in_order(places: Callable[[Case], Array | None]) -> Judge:
    def relate(c: Case) -> Array | None:
        order = places(c)
        if order is None or len(order) != len(c.exact):
            return None
        return c.exact[np.ix_(*[order] * c.exact.ndim)]

    return _relation(relate)


def _transposed(c: Case) -> Array:
    return np.concatenate([a.T.ravel() for a in arrays(c)])


def _action_major(c: Case) -> Array | None:
    return _transposed(c) if c.problem.family in ("tabular", "softmax") else None


def _bias_first(c: Case) -> Array | None:
    if c.problem.family != "mlp":
        return None
    parts = arrays(c)
    swapped = [p for i in range(0, len(parts), 2) for p in (parts[i + 1], parts[i])]
    return np.concatenate([p.ravel() for p in swapped])


def _sigma_first(c: Case) -> Array | None:
    if c.problem.family != "gaussian":
        return None
    return np.concatenate([p.ravel() for p in reversed(arrays(c))])


def _same_numbers(c: Case) -> Array | None:
    if np.ndim(c.exact) == 0 or c.metric is not None:
        return None
    wanted = np.empty(np.size(c.exact))
    wanted[np.argsort(c.yours, axis=None)] = np.sort(c.exact, axis=None)
    return wanted.reshape(np.shape(c.exact))


# ---- shifts ---------------------------------------------------------------------------------


def _plus(cases: Cases, match: re.Match[str]) -> bool:
    text = match.group(1)
    if text == "a number of each state: another baseline":
        return holds(cases, _baseline)
    if text == "a constant that differs between problems":
        return _constants(cases)
    shift = law(text)
    if shift is None:
        return False
    return all(
        np.max(np.abs(c.yours - c.exact - shift(c))) <= limit(text) * max(1.0, abs(shift(c)))
        for c in wrong_of(cases)
    ) and bool(wrong_of(cases))


def _baseline(c: Case) -> Array | None:
    if np.ndim(c.exact) != 2:
        return None
    return np.asarray(c.exact + np.mean(c.yours - c.exact, axis=1, keepdims=True))


def _constants(cases: Cases) -> bool:
    """One constant for each problem, and more than one number to tell."""
    groups: dict[int, list[Array]] = {}
    for c in wrong_of(cases):
        groups.setdefault(c.group, []).append(np.ravel(c.yours - c.exact))
    shifts = [np.concatenate(g) for g in groups.values()]
    if not any(len(s) > 1 for s in shifts):
        return False
    return all(np.ptp(s) <= CLOSE * np.max(np.abs(s)) for s in shifts)


def _log_baseline(cases: Cases, match: re.Match[str]) -> bool:
    """One shift for all actions of one state."""
    groups: dict[tuple[int, int], list[float]] = {}
    for c in cases:
        groups.setdefault((c.group, int(c.args[0])), []).append(float(c.yours - c.exact))
    several = [g for g in groups.values() if len(g) > 1]
    return bool(several) and all(np.ptp(g) <= CLOSE * max(1.0, max(map(abs, g))) for g in several)


def _odds(cases: Cases, match: re.Match[str]) -> bool:
    """Differences of log-probabilities within one state are the exact ones times a factor."""
    factor = law(match.group(1))
    groups: dict[tuple[int, int], list[Case]] = {}
    for c in cases:
        groups.setdefault((c.group, int(c.args[0])), []).append(c)
    several = [g for g in groups.values() if len(g) > 1]
    if factor is None or not several:
        return False
    for group in several:
        yours, exact = (
            np.array([float(v) for v in vs])
            for vs in ([c.yours for c in group], [c.exact for c in group])
        )
        left, right = yours - yours[0], factor(group[0]) * (exact - exact[0])
        if np.max(np.abs(left - right)) > limit(match.group(1)) * max(1.0, np.max(np.abs(right))):
            return False
    return True


def _vector_plus(cases: Cases, match: re.Match[str]) -> bool:
    read: dict[str, Callable[[Case], Array]] = {
        "θ": lambda c: c.problem.theta,
        "g": direction,
        "1 in every coordinate": lambda c: np.ones(len(c.exact)),
    }
    along = read.get(match.group(1))
    if along is None:
        return False
    free = (0, 1, -1) if match.group(1) == "g" else (0,)

    def scaled(c: Case, power: int) -> Array:
        return np.asarray(along(c) * (1 - c.problem.mdp.discount) ** power)

    return any(
        _multiple_plus(cases, match.group(2), partial(scaled, power=power)) for power in free
    )


def _matrix_plus(cases: Cases, match: re.Match[str]) -> bool:
    return _multiple_plus(cases, match.group(1), lambda c: np.eye(len(c.exact)))


def _product_plus(cases: Cases, match: re.Match[str]) -> bool:
    return _multiple_plus(cases, match.group(1), lambda c: c.args[0])


def _multiple_plus(cases: Cases, text: str, along: Callable[[Case], Array]) -> bool:
    """exact + c · along, c by its law or any number."""
    found = []
    for c in wrong_of(cases):
        base = along(c)
        error, shown = c.yours - c.exact, base
        if c.metric is not None:
            error, shown = c.metric @ error, c.metric @ shown
        number_ = float(np.vdot(shown, error)) / float(np.vdot(shown, shown))
        if c.distance(c.exact + number_ * base) > CLOSE:
            return False
        found.append((c, number_))
    return bool(found) and follows(found, text)


def follows(found: Sequence[tuple[Case, float]], text: str) -> bool:
    """Whether numbers follow the law of a text; of "another number …" they must differ."""
    if text == "another number on each problem":
        numbers = [n for _, n in found]
        return float(np.ptp(numbers)) > 1e-5 * max(map(abs, numbers))
    wanted = law(text)
    if wanted is None:
        return False
    return all(abs(n - wanted(c)) <= 1e-4 * abs(wanted(c)) for c, n in found)


def _diagonal_times(cases: Cases, match: re.Match[str]) -> bool:
    factor = number(match.group(1))
    if factor is None:
        return False

    def relate(c: Case) -> Array:
        return np.asarray(c.exact + (factor - 1.0) * np.diag(np.diag(c.exact)))

    return holds(cases, relate, 1e-4)


# ---- each number ----------------------------------------------------------------------------

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "max(x, 0)": lambda x: np.where(x > 0, x, 0.0),
    "min(x, 0)": lambda x: np.where(x < 0, x, 0.0),
    "|x|": np.abs,
    "√x": lambda x: np.maximum(x, 0.0) ** 0.5,
    "x²": lambda x: x * x,
    "eˣ": np.exp,
    "log x": np.log,
    "1/x": lambda x: x**-1.0,
    "the sign of x": lambda x: np.sign(np.where(np.abs(x) > 1e-12, x, 0.0)),
    "x rounded to an integer": np.rint,
    "x rounded to 1 decimal": lambda x: np.round(x, 1),
    "x rounded to 2 decimals": lambda x: np.round(x, 2),
    "x rounded to 3 decimals": lambda x: np.round(x, 3),
}


def _each(cases: Cases, match: re.Match[str]) -> bool:
    function = _FUNCTIONS.get(match.group(1))
    if function is None or not wrong_of(cases):
        return False
    with np.errstate(all="ignore"):
        wanted = [(c, np.asarray(function(np.asarray(c.exact)))) for c in cases]
    return all(np.isfinite(w).all() and c.distance(w) <= CLOSE for c, w in wanted)


def _cut(cases: Cases, match: re.Match[str]) -> bool:
    """Clipped at one or at two bounds."""
    groups = match.groupdict()
    bounds = [number(groups[k]) for k in ("low", "high", "one") if groups.get(k)]
    if None in bounds or not wrong_of(cases):
        return False
    if groups.get("one"):
        above = groups["side"] == "at least"
        bounds = [bounds[0], None] if above else [None, bounds[0]]
    return all(c.distance(np.clip(c.exact, bounds[0], bounds[1])) <= 2e-5 for c in cases)


def _affine(cases: Cases, match: re.Match[str]) -> bool:
    slope, shift = number(match.group(1)), number(match.group(2))
    if slope is None or shift is None:
        return False
    return holds(cases, lambda c: slope * np.asarray(c.exact) + shift, 1e-4)


def _own_line(cases: Cases, match: re.Match[str]) -> bool:
    """a x + b of each answer; with mean 0 and standard deviation 1 where that is said."""
    told = [c for c in wrong_of(cases) if np.size(c.exact) > 2]
    standard = "standard deviation" in match.group(0)
    for c in told:
        x, y = np.ravel(c.exact), np.ravel(c.yours)
        design = np.stack([x, np.ones_like(x)], axis=1)
        fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
        if np.abs(fitted - y).max() > 1e-4 * np.abs(y).max():
            return False
        spreads = (y.std(), y.std(ddof=1))
        if standard and (abs(y.mean()) > 1e-5 or all(abs(v - 1) > 2e-3 for v in spreads)):
            return False
    return len(told) > 1


SENTENCES: tuple[tuple[str, Judge], ...] = (
    ("the sign is flipped", _relation(lambda c: -c.exact)),
    ("the matrix is transposed", _relation(lambda c: c.exact.T)),
    ("the exact answer times a factor that differs between problems", _some_factor),
    ("the exact answer times (.+)", _times),
    ("always zero", zero),
    ("θ comes back unchanged", zero),
    (r"parameters come in the order \[action, feature\].*", _in_order(_action_major)),
    ("every weight matrix is transposed", _in_order(_transposed)),
    ("each layer's bias comes before its weights", _in_order(_bias_first)),
    ("log σ comes before the weights", _in_order(_sigma_first)),
    ("the entries are in reverse order", _in_order(lambda c: np.arange(len(c.exact))[::-1])),
    (
        "the entries are shifted by one place",
        _in_order(lambda c: np.arange(len(c.exact)) - 1),
    ),
    (
        "the entries are shifted back by one place",
        _in_order(lambda c: (np.arange(len(c.exact)) + 1) % len(c.exact)),
    ),
    ("the entries are sorted by size", _relation(lambda c: np.sort(c.exact))),
    ("the same numbers in another order", _relation(_same_numbers)),
    ("the exact answer plus a number of each state", _log_baseline),
    ("the exact answer plus c times (.+), c = (.+)", _vector_plus),
    ("the exact log-odds times (.+)", _odds),
    ("the exact answer plus (.+)", _plus),
    ("the exact matrix plus c I, c = (.+)", _matrix_plus),
    ("the exact product plus c v, c = (.+)", _product_plus),
    ("the diagonal is the exact one times (.+)", _diagonal_times),
    ("each number is (.+), x the exact one", _each),
    ("each number is (?P<side>at least|at most) (?P<one>.+), else right: cut off", _cut),
    ("each number is cut off at (?P<low>.+) and (?P<high>.+)", _cut),
    ("the exact answer shifted and scaled to mean 0 and standard deviation 1", _own_line),
    ("a times the exact answer plus b, a and b other numbers on each problem", _own_line),
    ("(.+) times the exact answer plus (.+)", _affine),
)
"""Patterns and their judges; of the first that matches the whole sentence is asked."""

__all__ = [
    "POINTS",
    "SENTENCES",
    "Cases",
    "Judge",
    "arrays",
    "follows",
    "holds",
    "wrong_of",
    "zero",
]
