"""Separating problems: for every pair of choices a small problem that tells them apart.

Computed, not stated: both choices answer every quantity that can show either on the problems of
the catalogue and some designed ones, smallest first, and the first that tells them apart is kept.
What no problem separates is a class, and its reason is recorded in ``REASONS``; a test holds the
two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from npgcheck.conformance.atlas import ATLAS, Choice
from npgcheck.conformance.diagnosis.answers import ANSWERS
from npgcheck.conformance.diagnosis.pipeline import Base, Pipeline
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.setup import Setup
from npgcheck.conformance.diagnosis.worked import DIFFERENT, answer, sample_number
from npgcheck.conformance.reference import Reference
from npgcheck.errors import Unsupported

Array = np.ndarray
Pair = tuple[str, str]

#: Policy family → classes of choices that no answer tells apart, and why.
REASONS: Mapping[str, tuple[tuple[frozenset[str], str], ...]] = {
    "discrete": (
        (
            frozenset({"q-as-critic", "reward-to-go"}),
            "both replace A by something that differs from it by a state baseline in expectation, "
            "and episodes have their exact law: E[φ b(s)] = 0, so that neither changes anything",
        ),
        (
            frozenset({"whole-return", "discounted-from-the-start"}),
            "rewards before step t do not depend on a_t: E[φ_t r_k] = 0 for k < t, and episodes "
            "have their exact law",
        ),
    ),
    "gaussian": (
        (
            frozenset(
                {
                    "q-as-critic",
                    "reward-to-go",
                    "whole-return",
                    "discounted-from-the-start",
                    "undiscounted-reward-to-go",
                    "reward-of-the-next-step",
                }
            ),
            "Gaussian problems have no episodes, so that choices about returns change nothing "
            "there, and Q differs from A by a state baseline",
        ),
    ),
}


@dataclass(frozen=True)
class Separation:
    """Where a pair is told apart.

    Attributes:
        problem: id of the problem.
        size: (number of states, number of parameters).
        quantity: the quantity that differs, lowest layer first.
        sampled: what is averaged over.
    """

    problem: str
    size: tuple[int, int]
    quantity: str
    sampled: str


@dataclass(frozen=True)
class Table:
    """All pairs of choices of one policy family.

    Attributes:
        names: the choices, in the order of the atlas.
        separated: pair → where.
        alike: pairs that nothing told apart.
    """

    names: tuple[str, ...]
    separated: Mapping[Pair, Separation]
    alike: tuple[Pair, ...]


@cache
def table(family: str, quantities: tuple[str, ...] = tuple(ANSWERS)) -> Table:
    """The table of one family, ``"discrete"`` or ``"gaussian"``.

    Args:
        family: which policies.
        quantities: what a subject answers; from fewer quantities fewer pairs are told apart.
    """
    entries = [c for c in ATLAS.values() if family in c.families and _computes(c)]
    names = tuple(c.name for c in entries)
    open_ = np.triu(np.ones((len(names), len(names)), dtype=bool), 1)
    found: dict[Pair, Separation] = {}
    for problem, sampled in _questions(family):
        for quantity in quantities:
            if not open_.any():
                break
            # Only choices that are not told from some other one yet are looked at again.
            left = np.nonzero(open_.any(axis=0) | open_.any(axis=1))[0]
            here = _apart(problem, sampled, [entries[i] for i in left], quantity)
            apart = np.zeros_like(open_)
            apart[np.ix_(left, left)] = here
            apart &= open_
            place = Separation(
                problem.id, (problem.num_states, len(problem.theta)), quantity, sampled
            )
            for i, j in zip(*np.nonzero(apart), strict=True):
                found[names[i], names[j]] = place
            open_ &= ~apart
    alike = tuple((names[i], names[j]) for i, j in zip(*np.nonzero(open_), strict=True))
    return Table(names, found, alike)


def _computes(entry: Choice) -> bool:
    """Whether the choice changes a part of the pipeline (not a pure function alone)."""
    return bool(set(entry.change) - {"cg", "gae"})


def _questions(family: str) -> list[tuple[Any, str]]:
    """The problems, smallest first, under each measure that they have."""
    from npgcheck import problem_sets

    families = ("tabular", "softmax") if family == "discrete" else ("gaussian",)
    problems = [p for f in families for p in problem_sets.catalogue(f)[:6]]
    problems.sort(key=lambda p: (p.num_states, len(p.theta)))
    problems += [p for f in families for p in problem_sets.designed(f)[:8]]
    found = []
    for sampled in ("mdp", "batch", "episodes"):
        for problem in problems:
            try:
                known = Reference(problem).measure(sampled, "discounted") is not None
            except Unsupported:
                continue
            if known:
                found.append((problem, sampled))
    return found


def _apart(problem: Any, sampled: str, entries: Sequence[Choice], quantity: str) -> Array:
    """Which pairs answer the quantity differently on this problem; (n, n)."""
    answers = _answers(problem.id, sampled, problem, tuple(entries), quantity)
    usable = np.array([np.isfinite(a).all() and a.size > 0 for a in answers])
    shape = next((a.shape for a, u in zip(answers, usable, strict=True) if u), None)
    if shape is None:
        return np.zeros((len(entries), len(entries)), dtype=bool)
    usable &= np.array([a.shape == shape for a in answers])
    flat = np.array(
        [
            a.ravel() if u else np.zeros(int(np.prod(shape)))
            for a, u in zip(answers, usable, strict=True)
        ]
    )
    gap = np.abs(flat[:, None, :] - flat[None, :, :]).max(axis=2, initial=0.0)
    size = np.abs(flat).max(axis=1, initial=0.0)
    different = gap > DIFFERENT * np.maximum(size[:, None], size[None, :]) + 1e-12
    return different & usable[:, None] & usable[None, :]


def _answers(
    _key: str, sampled: str, problem: Any, entries: tuple[Choice, ...], quantity: str
) -> list[Array]:
    pipeline = _pipelines(problem, sampled)
    setup = Setup(Base(sampled=sampled))
    return [answer(pipeline, (Applied(c, sample_number(c)),), quantity, setup) for c in entries]


_PIPELINES: dict[tuple[str, str, str], Pipeline] = {}


def _pipelines(problem: Any, sampled: str) -> Pipeline:
    key = (problem.id, problem.family, sampled)
    if key not in _PIPELINES:
        _PIPELINES[key] = Pipeline(Reference(problem), Base(sampled=sampled))
    return _PIPELINES[key]


def classes(found: Table) -> tuple[tuple[str, ...], ...]:
    """The pairs that nothing tells apart, joined to classes."""
    groups: list[set[str]] = []
    for first, second in found.alike:
        joined = {first, second}
        rest = []
        for group in groups:
            if group & joined:
                joined |= group
            else:
                rest.append(group)
        groups = [*rest, joined]
    order = {name: index for index, name in enumerate(found.names)}
    ranked = [tuple(sorted(g, key=order.__getitem__)) for g in groups]
    return tuple(sorted(ranked, key=lambda g: order[g[0]]))


def pairs(found: Table) -> int:
    """How many pairs there are."""
    return sum(1 for _ in combinations(found.names, 2))
