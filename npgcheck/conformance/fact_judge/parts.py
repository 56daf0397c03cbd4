"""The second opinion on what is partly right: entries, shapes, arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.fact_judge.numbers import law, limit
from npgcheck.conformance.fact_judge.relations import Cases, Judge, arrays, wrong_of
from npgcheck.conformance.fact_judge.truth import Case

Array = np.ndarray


def _off(c: Case) -> Array:
    """Which numbers are wrong."""
    return np.asarray(np.abs(c.yours - c.exact) > 1e-6 * np.max(np.abs(c.exact), initial=1e-12))


# ---- entries --------------------------------------------------------------------------------


def _part(case: Case, text: str) -> Array | None:
    """The entries that a text names, or None."""
    shape = np.shape(case.exact)
    mask = np.zeros(shape, dtype=bool)
    if text in _OF_MATRIX and len(shape) == 2:
        i, j = np.indices(shape)
        return np.asarray(_OF_MATRIX[text](i, j))
    states = {
        "in terminal states": lambda p: np.asarray(p.mdp.terminal_states, dtype=bool),
        "in states where an episode can start": lambda p: p.mdp.initial_distribution > 0,
        "in states where no episode starts": lambda p: p.mdp.initial_distribution == 0,
    }
    if text in states:
        mask[states[text](case.problem)] = True
        return mask
    ends = {"first": 0, "last": -1}
    if match := re.fullmatch("in the (first|last) (state|entry)", text):
        mask[ends[match.group(1)]] = True
    elif match := re.fullmatch("for the (first|last) action", text):
        mask[:, ends[match.group(1)]] = True
    elif match := re.fullmatch("in the (first|last) action's column", text):
        mask[arrays(case)[0][:, ends[match.group(1)]]] = True
    elif match := re.fullmatch("in the (first|last) feature's row", text):
        mask[arrays(case)[0][ends[match.group(1)]]] = True
    elif match := re.fullmatch(r"in coordinates (\d+), (\d+), \d+, …", text):
        first, second = map(int, match.groups())
        mask[first :: second - first] = True
    elif (
        (match := re.fullmatch("in (the block of )?(.+)", text))
        and case.problem.family == "mlp"
        and (match.group(2) in _LAYERS)
    ):
        found = arrays(case)
        chosen = _LAYERS[match.group(2)](list(range(len(found))))
        places = np.concatenate([found[i].ravel() for i in chosen])
        mask[np.ix_(*[places] * len(shape))] = True
    elif match := re.fullmatch("in (the block of )?(.+)", text):
        index = _array(case, match.group(2))
        if index is None:
            return None
        places = arrays(case)[index].ravel()
        mask[np.ix_(*[places] * len(shape))] = True
    elif text == "between different parameter arrays":
        mask[:] = True
        for places in (a.ravel() for a in arrays(case)):
            mask[np.ix_(places, places)] = False
    else:
        return None
    return mask


_LAYERS: dict[str, Callable[[list[int]], list[int]]] = {
    "the first layer": lambda all_: all_[:2],
    "the last layer": lambda all_: all_[-2:],
    "the biases": lambda all_: all_[1::2],
    "the weights": lambda all_: all_[::2],
    "the layers before the last": lambda all_: all_[:-2],
}
_OF_MATRIX: dict[str, Callable[[Array, Array], Array]] = {
    "on the diagonal": lambda i, j: i == j,
    "off the diagonal": lambda i, j: i != j,
    "below the diagonal": lambda i, j: i > j,
    "above the diagonal": lambda i, j: i < j,
}


def _array(case: Case, name: str) -> int | None:
    if case.problem.family == "gaussian":
        return {"the weights of the mean": 0, "log σ": 1}.get(name)
    match = re.fullmatch(r"(weight|bias) (\d+)", name)
    if match is None or case.problem.family != "mlp":
        return None
    return 2 * int(match.group(2)) + (match.group(1) == "bias")


def _only(cases: Cases, match: re.Match[str]) -> bool:
    parts = [(c, _part(c, match.group(1))) for c in wrong_of(cases)]
    return bool(parts) and all(p is not None and not (_off(c) & ~p).any() for c, p in parts)


def _zeros(cases: Cases, match: re.Match[str]) -> bool:
    return _only(cases, match) and all(
        not np.any(c.yours[_part(c, match.group(1))]) for c in wrong_of(cases)
    )


def _right_or_zero(cases: Cases, match: re.Match[str]) -> bool:
    return bool(wrong_of(cases)) and all(not np.any(c.yours[_off(c)]) for c in wrong_of(cases))


# ---- shapes ---------------------------------------------------------------------------------


def every_wrong(test: Callable[[Case], Any]) -> Judge:
    """A statement that has to be true of each wrong answer."""

    def judge(cases: Cases, match: re.Match[str]) -> bool:
        found = wrong_of(cases)
        return bool(found) and all(test(c) for c in found)

    return judge


def _rank(matrix: Array) -> int:
    values = np.linalg.svd(matrix, compute_uv=False)
    return int((values > 1e-9 * max(values[0], 1e-13)).sum())


def _rank_one_off(c: Case) -> bool:
    values = np.linalg.svd(c.yours - c.exact, compute_uv=False)
    return bool(values[1] <= 1e-7 * values[0])


def _commute(c: Case) -> bool:
    left, right = c.yours @ c.exact, c.exact @ c.yours
    return bool(np.abs(left - right).max() <= 1e-7 * max(np.abs(left).max(), 1e-13))


def _row_factors(c: Case) -> bool:
    for yours, exact in zip(c.yours, c.exact, strict=True):
        square = float(exact @ exact)
        factor = float(exact @ yours) / square if square else 0.0
        if np.abs(yours - factor * exact).max() > 1e-5 * np.abs(c.yours).max():
            return False
    return True


def _shows_nothing(c: Case) -> Array:
    """A basis of the directions that change no policy, from the scores of every state."""
    phi = ExactSoftmax().scores(c.problem) if c.problem.family != "mlp" else (_network_scores(c))
    _, values, right = np.linalg.svd(phi.reshape(-1, phi.shape[-1]))
    full = np.zeros(right.shape[0])
    full[: len(values)] = values
    return np.asarray(right[full <= 1e-10 * values[0]])


def _network_scores(c: Case) -> Array:
    from npgcheck.conformance.controls._network import ExactNetwork

    return ExactNetwork().scores(c.problem)


def _leaks(cases: Cases, match: re.Match[str]) -> bool:
    """Whether every wrong answer has a part along directions that change no policy."""
    told = 0
    for c in wrong_of(cases):
        basis = _shows_nothing(c)
        if not len(basis):
            continue
        told += 1
        part = basis @ c.yours
        if np.abs(part).max() <= 1e-7 * np.abs(c.yours).max():
            return False
    return told > 0


# ---- the chain ------------------------------------------------------------------------------


def _sums(cases: Cases, match: re.Match[str]) -> bool:
    text = "1" if match.group(1) == "one" else match.group(1)
    wanted = law(text)
    if wanted is None:
        return False
    return bool(wrong_of(cases)) and all(
        abs(c.yours.sum() - wanted(c)) <= limit(text) * abs(wanted(c)) for c in wrong_of(cases)
    )


# ---- arguments ------------------------------------------------------------------------------


def _groups(cases: Cases) -> list[list[Case]]:
    found: dict[int, list[Case]] = {}
    for c in cases:
        found.setdefault(c.group, []).append(c)
    return [g for g in found.values() if len(g) > 1 and any(not c.right for c in g)]


def _independent(cases: Cases, match: re.Match[str]) -> bool:
    groups = _groups(cases)
    for g in groups:
        first = np.asarray(g[0].raw)
        if any(np.max(np.abs(c.raw - first)) > 1e-7 * np.max(np.abs(first)) for c in g):
            return False
    return bool(groups)


def _power(cases: Cases, match: re.Match[str]) -> bool:
    power = float(match.group(1))
    groups = _groups(cases)
    for g in groups:
        ratio = np.linalg.norm(g[-1].yours) / np.linalg.norm(g[0].yours)
        wanted = (g[-1].args[0] / g[0].args[0]) ** power
        if abs(ratio - wanted) > 1e-2 * wanted:
            return False
    return bool(groups)


HALF, SMALL, BACK = "a step of size 1/2", "a small step", "the opposite step"


def _by_label(cases: Cases) -> list[dict[str, Case]]:
    labelled = [{c.label: c for c in g} for g in _groups(cases)]
    return [g for g in labelled if {HALF, SMALL, BACK} <= set(g)]


def _quadratic(cases: Cases, match: re.Match[str]) -> bool:
    groups = _by_label(cases)
    return bool(groups) and all(
        abs(g[HALF].yours / g[SMALL].yours - 2500.0) <= 1e-2
        and abs(g[HALF].yours - g[BACK].yours) <= 1e-7 * abs(g[HALF].yours)
        for g in groups
    )


def _even(cases: Cases, match: re.Match[str]) -> bool:
    groups = _by_label(cases)
    return bool(groups) and all(
        abs(g[HALF].yours - g[BACK].yours) <= 1e-7 * abs(g[HALF].yours) for g in groups
    )


def _linear(cases: Cases, match: re.Match[str]) -> bool:
    groups = _by_label(cases)
    return bool(groups) and all(
        abs(g[HALF].yours + g[BACK].yours) <= 1e-7 * abs(g[HALF].yours)
        and abs(g[HALF].yours - 50.0 * g[SMALL].yours) <= 1e-5 * abs(g[HALF].yours)
        for g in groups
    )


def _small_range(cases: Cases, match: re.Match[str]) -> bool:
    """All within the bounds, and some within a digit of each."""
    low, high = float(match.group(1)), float(match.group(2))
    ratios = _small_ratios(cases)
    slack = 1e-6 * max(abs(low), abs(high))
    if not ratios or not low - slack <= min(ratios) <= max(ratios) <= high + slack:
        return False
    near = (abs(min(ratios) / low), abs(max(ratios) / high))
    return all(1 / 2.1 <= ratio <= 2.1 for ratio in near)


def _small_ratios(cases: Cases) -> list[float]:
    return [
        float(g[SMALL].yours / g[SMALL].exact)
        for g in _by_label(cases)
        if abs(g[SMALL].exact) > 1e-10
    ]


def _leading(cases: Cases, match: re.Match[str]) -> bool:
    ratios = _small_ratios(cases)
    return bool(ratios) and all(abs(r - 1.0) <= 0.25 for r in ratios)


def _small_times(cases: Cases, match: re.Match[str]) -> bool:
    ratios, wanted = _small_ratios(cases), float(match.group(1))
    return bool(ratios) and all(abs(r - wanted) <= 0.25 * abs(wanted) for r in ratios)


def _small_large(cases: Cases, match: re.Match[str]) -> bool:
    ratios = _small_ratios(cases)
    return bool(ratios) and min(ratios) >= float(match.group(1)) * (1.0 - 1e-6)


SENTENCES: tuple[tuple[str, Judge], ...] = (
    ("right except for zeros (.+)", _zeros),
    ("each number is right or zero", _right_or_zero),
    ("wrong only (.+)", _only),
    ("the exact matrix plus a matrix of rank one", every_wrong(_rank_one_off)),
    ("the matrix has rank one", every_wrong(lambda c: _rank(c.yours) == 1)),
    (
        "the rank is always smaller than that of the exact matrix",
        every_wrong(lambda c: _rank(c.yours) < _rank(c.exact)),
    ),
    (
        "the rank is always larger than that of the exact matrix",
        every_wrong(lambda c: _rank(c.yours) > _rank(c.exact)),
    ),
    ("the same eigenvectors as the exact matrix, other eigenvalues", every_wrong(_commute)),
    ("each state's row is the exact one times a number of that state", every_wrong(_row_factors)),
    ("not zero along directions that change no policy", _leaks),
    ("sums to (.+)", _sums),
    ("does not depend on (?:theta|the vector|step_size|max_kl)", _independent),
    ("the step grows with the power (.+) of (?:step_size|max_kl), not .+", _power),
    ("exactly quadratic in the step", _quadratic),
    ("exactly linear in the step", _linear),
    ("the same for a step and the opposite step", _even),
)
"""Patterns and their judges."""

COUNTED: tuple[tuple[str, Judge], ...] = (
    ("right to leading order on small steps", _leading),
    ("on small steps about (.+) times the exact value", _small_times),
    ("on small steps (.+) to (.+) times the exact value", _small_range),
    ("on small steps at least (.+) times too large", _small_large),
)
"""The same for what is said of the problems of the report alone."""

__all__ = ["COUNTED", "SENTENCES"]
