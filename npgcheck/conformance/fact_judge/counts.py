"""The second opinion on counts: they are tried on the very problems of the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.conformance.controls._network import ExactNetwork
from npgcheck.conformance.fact_judge.numbers import exact_pipeline, matrix_of
from npgcheck.conformance.fact_judge.relations import Cases, Judge, wrong_of
from npgcheck.conformance.fact_judge.truth import Case

Array = np.ndarray
#: Thresholds of exact answers are compared with answers of another computation.
ROUNDING = 1e-9


# ---- where ----------------------------------------------------------------------------------


def _split(cases: Cases, match: re.Match[str]) -> bool:
    """All of one side, and so many of the other, with the numbers that are stated."""
    parts = match.groupdict()
    inside: list[Case] = []
    outside: list[Case] = []
    if all(np.size(c.exact) == 1 for c in cases):  # right answers of zero are left out
        cases = [c for c in cases if np.any(c.exact) or not c.right]
    for c in cases:
        holds = _condition(c, parts["where"])
        if holds is None:
            return False
        (inside if holds else outside).append(c)
    right = parts["kind"] == "right"
    total, others = int(parts["count"] or 1), int(parts["others"])
    opposite = others if parts["some"] is None else int(parts["some"])
    if len(inside) != total or len(outside) != others:
        return False
    return _counts(inside, right, total) and _counts(outside, not right, opposite)


def _counts(cases: list[Case], right: bool, wanted: int) -> bool:
    """Whether so many can be right, or wrong; what is nearly right may be either."""
    sure = sum(c.right is right and not c.unclear for c in cases)
    return sure <= wanted <= sure + sum(c.unclear for c in cases)


def _in_some(cases: Cases, match: re.Match[str]) -> bool:
    wrong, total = int(match.group(1)), int(match.group(2))
    return total == len(cases) and _counts(list(cases), False, wrong)


_FAMILY = {
    "on tabular problems": "tabular",
    "with shared features": "softmax",
    "of Gaussian policies": "gaussian",
    "of small networks": "mlp",
}


def _condition(c: Case, text: str) -> bool | None:
    """Whether a case is of the kind that a text names; None for unknown texts."""
    if text in _FAMILY:
        return bool(c.problem.family == _FAMILY[text])
    if match := re.fullmatch("on (.+) batches", text):
        return bool(c.rows == "batch") and c.problem.batch_kind.replace("_", "-") == match.group(1)
    if match := re.fullmatch("at (.+)", text):
        return c.label == match.group(1)
    if text == "with terminal states":
        return bool(np.any(getattr(c.problem.mdp, "terminal_states", False)))
    if text == "with θ = 0":
        return not np.any(c.problem.theta)
    if match := re.fullmatch("with (.+) (=|≤|≥) ([^ ]+)", text):
        read = _FEATURES.get(match.group(1))
        if read is None:
            return None
        value, bound = float(read(c)), float(match.group(3))
        slack = ROUNDING * max(1.0, abs(bound))
        if match.group(2) == "=":
            return abs(value - bound) <= slack
        return value <= bound + slack if match.group(2) == "≤" else value >= bound - slack
    return None


def _pi(c: Case) -> Array:
    plain = exact_pipeline(c)
    if isinstance(plain, ExactNetwork):
        return np.asarray(plain.solved(c.problem)[0])
    return np.asarray(plain.pi(c.problem))


def _occupancy(c: Case) -> Array:
    plain = exact_pipeline(c)
    if isinstance(plain, ExactNetwork):
        return np.asarray(plain.solved(c.problem)[2])
    return np.asarray(plain.state_distribution(c.problem))


def _values(c: Case) -> Array:
    if c.problem.family != "mlp":
        return np.asarray(exact_pipeline(c).value(c.problem))
    pi, m = _pi(c), c.problem.mdp
    system = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
    return np.linalg.solve(system, (pi * m.rewards).sum(axis=1))


def _hidden(c: Case) -> int:
    values = np.linalg.eigvalsh(c.exact if np.ndim(c.exact) == 2 else matrix_of(c))
    return int((values <= 1e-9 * values[-1]).sum())


_FEATURES: dict[str, Callable[[Case], Any]] = {
    "γ": lambda c: c.problem.discount,
    "S": lambda c: c.problem.num_states,
    "A": lambda c: c.problem.num_actions,
    "m": lambda c: c.problem.action_size,
    "D": lambda c: c.problem.theta.size,
    "iteration": lambda c: c.turn,
    "k": lambda c: c.args[2],
    "n": lambda c: len(c.args[1]),
    "k − n": lambda c: c.args[2] - len(c.args[1]),
    "the state": lambda c: c.args[0],
    "the action": lambda c: c.args[1],
    "π(a|s)": lambda c: _pi(c)[int(c.args[0]), int(c.args[1])],
    "the smallest σ": lambda c: np.exp(
        exact_pipeline(c).unpack(c.problem, c.problem.theta)[1]
    ).min(),
    "the smallest V": lambda c: _values(c).min(),
    "the largest V": lambda c: _values(c).max(),
    "the smallest d(s)": lambda c: _occupancy(c).min(),
    "the largest d(s)": lambda c: _occupancy(c).max(),
    "the largest start probability": lambda c: c.problem.mdp.initial_distribution.max(),
    "ρ of the first state": lambda c: c.problem.mdp.initial_distribution[0],
    "the smallest π": lambda c: _pi(c).min(),
    "the largest reward": lambda c: c.problem.mdp.rewards.max(),
    "the smallest reward": lambda c: c.problem.mdp.rewards.min(),
    "the largest |θ|": lambda c: np.abs(c.problem.theta).max(),
    "dimensions of θ that no policy shows": _hidden,
    "the largest entry of the exact answer": lambda c: np.max(np.abs(c.exact)),
}


# ---- rows of rollouts -----------------------------------------------------------------------


def _rows(cases: Cases, match: re.Match[str]) -> bool:
    """The same for every row of a rollout."""
    parts = match.groupdict()
    wrong: list[Array] = []
    inside: list[Array] = []
    for c in cases:
        holds = _of_rows(c, parts["where"])
        if holds is None:
            return False
        inside.append(holds)
        wrong.append(np.abs(c.yours - c.exact) > 1e-9 * max(1.0, float(np.abs(c.exact).max())))
    bad, mask = np.concatenate(wrong), np.concatenate(inside)
    kind = parts["kind"] == "wrong"
    opposite = int(parts["others"]) if parts["some"] is None else int(parts["some"])
    return (
        int(mask.sum()) == int(parts["count"] or 1)
        and int((~mask).sum()) == int(parts["others"])
        and bool((bad[mask] == kind).all())
        and int((bad[~mask] != kind).sum()) == opposite
    )


def _of_rows(c: Case, text: str) -> Array | None:
    terminated, truncated, gamma, lam = c.args[3:]
    count = len(terminated)
    if match := re.fullmatch("with (λ|γ) (=|<|>) (.+)", text):
        value, bound = {"λ": lam, "γ": gamma}[match.group(1)], float(match.group(3))
        holds = {"=": value == bound, "<": value < bound, ">": value > bound}[match.group(2)]
        return np.full(count, holds)
    end = terminated | truncated
    # The first end at or after each row decides how its episode ends.
    how = []
    for t in range(count):
        ahead = [u for u in range(t, count) if end[u]]
        how.append(0 if not ahead else 1 if terminated[ahead[0]] else 2)
    kind, last = np.array(how), np.arange(count) == count - 1
    begun = max([u + 1 for u in range(count - 1) if end[u]], default=0)
    final = np.arange(count) >= begun
    known = {
        "that terminate": terminated,
        "that do not terminate": ~terminated,
        "that a time limit cuts": truncated,
        "that no time limit cuts": ~truncated,
        "that end their episode": end,
        "that do not end their episode": ~end,
        "at the end of the rollout": last,
        "before the end of the rollout": ~last,
        "whose episode goes on beyond the rollout": kind == 0,
        "whose episode ends in the rollout": kind != 0,
        "whose episode ends by termination": kind == 1,
        "whose episode does not end by termination": kind != 1,
        "whose episode ends by a time limit": kind == 2,
        "whose episode does not end by a time limit": kind != 2,
        "of the last episode": final,
        "before the last episode": ~final,
    }
    return np.asarray(known[text]) if text in known else None


# ---- how far --------------------------------------------------------------------------------


def _relative(c: Case) -> float:
    yours, exact = c.pair
    return float(np.max(np.abs(yours - exact)) / max(float(np.max(np.abs(exact))), 1e-300))


def _grows(cases: Cases, match: re.Match[str]) -> bool:
    """A rank correlation that is clear, if not as overwhelming as the one that was seen."""
    read = _GROWS.get(match.group(1))
    told = [c for c in wrong_of(cases) if np.any(c.exact)]
    if read is None or len(told) < 5:
        return False
    x, y = (np.array([f(c) for c in told], dtype=float) for f in (read, _relative))
    ranks = [np.array([(v < u).sum() + ((v == u).sum() - 1) / 2 for u in v]) for v in (x, y)]
    return bool(np.ptp(ranks[0])) and float(np.corrcoef(ranks[0], ranks[1])[0, 1]) > 0.8


def _condition_number(c: Case) -> float:
    values = np.linalg.eigvalsh(c.exact if np.ndim(c.exact) == 2 else matrix_of(c))
    kept = values[values > 1e-11 * values[-1]]
    return float(kept[-1] / kept[0])


_GROWS: dict[str, Callable[[Case], Any]] = {
    "1/(1−γ)": lambda c: 1 / (1 - c.problem.discount),
    "the condition number of F": _condition_number,
    "|θ|": lambda c: np.linalg.norm(c.problem.theta),
    "the length of the step": lambda c: np.linalg.norm(c.args[0] - c.problem.theta),
    "the length of the exact answer": lambda c: np.linalg.norm(c.exact),
    "S": lambda c: c.problem.num_states,
    "D": lambda c: c.problem.theta.size,
}


def _one_sided(cases: Cases, match: re.Match[str]) -> bool:
    sign = 1.0 if match.group(1) == "larger" else -1.0
    found = wrong_of(cases)
    return bool(found) and all(
        (sign * (c.yours - c.exact) <= 1e-7 * np.max(np.abs(c.exact), initial=1e-9)).all()
        for c in found
    )


def _angle(cases: Cases, match: re.Match[str]) -> bool:
    """Every angle beyond the bound, and some near to it."""
    most, bound = match.group(1) == "most", float(match.group(2))
    angles = []
    for c in wrong_of(cases):
        yours, exact = _seen(c, c.yours), _seen(c, c.exact)
        lengths = np.linalg.norm(yours) * np.linalg.norm(exact)
        if lengths > 0 and np.size(c.yours) > 1:
            cosine = float(yours @ exact) / lengths
            angles.append(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))
    if not angles:
        return False
    end = max(angles) if most else min(angles)
    return bound - 1.01 <= end <= bound + 0.01 if most else bound - 0.01 <= end <= bound + 1.01


def _side(cases: Cases, match: re.Match[str]) -> bool:
    """How many of the wrong answers point to the other side; what is nearly right may count."""
    groups = match.groupdict()
    sure, maybe, against = 0, 0, 0
    for c in cases:
        if np.size(c.exact) < 2 or not np.any(c.exact) or (c.right and not c.unclear):
            continue
        maybe += c.unclear
        sure += not c.unclear
        against += float(_seen(c, c.yours) @ _seen(c, c.exact)) < 0
    if not sure <= int(groups["total"]) <= sure + maybe:
        return False
    return against == int(groups["against"])


def _other_sign(cases: Cases, match: re.Match[str]) -> bool:
    """How many numbers have the other sign; what is nearly right may count as wrong."""
    other, total = int(match.group(1)), int(match.group(2))
    found = wrong_of(cases)
    sure = sum(not c.unclear for c in found)
    more = sum(c.unclear for c in cases)
    count = sum(float(c.yours) * float(c.exact) < 0 for c in found)
    return other > 0 and count == other and sure <= total <= sure + more


def _trace(cases: Cases, match: re.Match[str]) -> bool:
    """All ratios within the bounds, and some near to each."""
    low, high = (float(g) for g in match.groups())
    ratios = [np.trace(c.yours) / np.trace(c.exact) for c in wrong_of(cases)]
    slack = 0.11 * max(abs(low), abs(high))
    return bool(ratios) and (
        low - 1e-6 <= min(ratios) <= low + slack and high - slack <= max(ratios) <= high + 1e-6
    )


def _negative(cases: Cases, match: re.Match[str]) -> bool:
    """How many matrices have a direction of negative curvature."""
    below, total = int(match.group(1)), int(match.group(2))
    found = wrong_of(cases)
    sure = sum(not c.unclear for c in found)
    more = sum(c.unclear for c in cases)
    count = sum(_indefinite(np.asarray(c.yours)) for c in found)
    return below > 0 and count == below and sure <= total <= sure + more


def _indefinite(matrix: Array) -> bool:
    """Whether M + M^T, shifted by rounding, has no Cholesky factor."""
    both = matrix + matrix.T
    shift = 1e-6 * float(np.linalg.norm(both, 2))
    try:
        np.linalg.cholesky(both + shift * np.eye(len(both)))
    except np.linalg.LinAlgError:
        return True
    return False


def _seen(c: Case, vector: Array) -> Array:
    """The part of a direction that the policy shows."""
    if c.metric is None:
        return vector
    values, vectors = np.linalg.eigh(c.metric)
    kept = vectors[:, values > 1e-11 * values[-1]]
    return np.asarray(kept @ (kept.T @ vector))


def _range(cases: Cases, match: re.Match[str]) -> bool:
    """Every relative error beyond the bound, and some near to it."""
    most, bound = match.group(1) == "most", float(match.group(2))
    errors = []
    for c in wrong_of(cases):
        if np.any(c.exact):
            yours, exact = _seen(c, c.yours), _seen(c, c.exact)
            errors.append(float(np.max(np.abs(yours - exact)) / np.max(np.abs(exact))))
    if not errors:
        return False
    if most:
        return bound / 2.1 <= max(errors) <= 1.01 * bound
    return 0.99 * bound <= min(errors) <= 2.1 * bound


_WHERE = (
    r"(?P<kind>right|wrong) in (?:all (?P<count>\d+)|the one) %s (?P<where>.+), "
    r"(?:right|wrong) in (?:all|(?P<some>\d+) of the) (?P<others>\d+) others"
)

SENTENCES: tuple[tuple[str, Judge], ...] = (
    (_WHERE % "answers?", _split),
    (_WHERE % "rows?", _rows),
    (r"wrong in (\d+) of (\d+) answers", _in_some),
    ("the relative error grows with (.+)", _grows),
    ("(?:never|no number is) (larger|smaller) than the exact one", _one_sided),
    ("at (most|least) (.+)° away from the exact direction", _angle),
    (r"against the exact direction in (?P<against>\d+) of (?P<total>\d+) wrong answers", _side),
    (r"of the other sign in (\d+) of (\d+) wrong answers", _other_sign),
    ("its trace is (.+) to (.+) times the exact one", _trace),
    (r"vᵀFv < 0 for some v in (\d+) of (\d+) wrong answers", _negative),
    ("off by at (most|least) (.+) of the largest entry", _range),
)
"""Patterns and their judges."""
