"""The designed set: fixed, complete in what it makes visible, never redrawn.

Each line is one problem: what it is, its sizes (states, actions, features, hidden units), γ, and
the key of its stream. The keys were chosen once, so that every problem meets
:func:`~npgcheck.problem_sets.build.refusal` and, with shared features, so that a wrong state
weighting turns the direction by at least one per cent; the tests hold both.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import chain, zip_longest

from npgcheck.errors import NpgcheckError
from npgcheck.problem import Problem
from npgcheck.problem_sets.build import finish, refusal
from npgcheck.problem_sets.generate import (
    TRANSITIONS,
    Sizes,
    episodic_problem,
    exact_problem,
    ordinary_problem,
)
from npgcheck.streams import Stream

Line = tuple[str, tuple[int, ...], str, int]

TABLES: dict[str, tuple[Line, ...]] = {
    "tabular": (
        ("exact", (2, 3, 2), "1/2", 0),
        ("exact", (3, 2, 3), "2/3", 3),
        ("exact", (3, 4, 3), "9/10", 6),
        ("exact", (4, 3, 4), "3/4", 9),
        ("exact", (5, 2, 5), "4/5", 12),
        ("exact", (5, 3, 5), "19/20", 15),
        ("exact", (6, 4, 6), "9/10", 18),
        ("ordinary", (2, 3, 2), "3/4", 21),
        ("ordinary", (4, 3, 4), "9/10", 24),
        ("ordinary", (6, 4, 6), "19/20", 27),
        ("ordinary -12", (3, 4, 3), "4/5", 30),
        ("duplicated", (3, 4, 3), "4/5", 33),
        ("duplicated", (5, 3, 5), "1/2", 36),
        ("off_centre", (3, 2, 3), "9/10", 39),
        ("off_centre", (4, 5, 4), "2/3", 42),
        ("off_centre", (7, 3, 7), "19/20", 45),
        ("ordinary", (7, 4, 7), "9/10", 67),
        ("episodic", (4, 3, 4), "1/2", 48),
        ("episodic", (4, 3, 4), "9/10", 51),
        ("episodic", (5, 2, 5), "4/5", 54),
        ("episodic", (5, 3, 5), "2/3", 67),
        ("episodic 3", (5, 2, 5), "3/4", 63),
        ("episodic 3", (4, 3, 4), "9/10", 85),
    ),
    "softmax": (
        ("exact", (4, 3, 2), "1/2", 0),
        ("exact", (3, 4, 2), "2/3", 3),
        ("exact", (4, 2, 3), "3/4", 6),
        ("exact", (5, 3, 2), "9/10", 9),
        ("exact", (5, 2, 3), "4/5", 12),
        ("exact", (6, 4, 3), "9/10", 15),
        ("exact", (7, 3, 4), "19/20", 20),
        ("exact", (8, 4, 6), "4/5", 21),
        ("exact", (3, 2, 4), "3/4", 24),
        ("ordinary", (4, 3, 2), "3/4", 27),
        ("ordinary", (5, 3, 2), "9/10", 30),
        ("ordinary", (8, 4, 6), "19/20", 34),
        ("ordinary -12", (5, 4, 3), "4/5", 36),
        ("ordinary 6", (6, 2, 4), "1/2", 39),
        ("duplicated", (4, 3, 2), "4/5", 42),
        ("duplicated", (6, 4, 3), "1/2", 45),
        ("off_centre", (4, 2, 3), "9/10", 50),
        ("off_centre", (5, 4, 3), "2/3", 51),
        ("off_centre", (7, 3, 4), "19/20", 54),
        ("exact", (7, 5, 4), "3/4", 62),
        ("duplicated", (9, 4, 5), "9/10", 64),
        ("ordinary", (8, 3, 7), "2/3", 66),
        ("episodic", (4, 3, 2), "1/2", 58),
        ("episodic", (4, 3, 2), "9/10", 61),
        ("episodic", (5, 2, 3), "4/5", 63),
        ("episodic", (5, 2, 3), "2/3", 66),
        ("episodic", (5, 3, 2), "3/4", 70),
        ("episodic", (5, 3, 2), "1/2", 76),
        ("episodic", (6, 2, 3), "4/5", 75),
        ("episodic", (6, 2, 4), "9/10", 89),
        ("episodic 3", (5, 2, 3), "3/4", 81),
        ("episodic 3", (5, 3, 2), "9/10", 84),
        ("episodic 4", (4, 2, 3), "4/5", 162),
    ),
    "gaussian": (
        ("exact", (3, 2, 4), "1/2", 0),
        ("exact", (4, 2, 3), "2/3", 3),
        ("exact", (4, 2, 3), "3/4", 6),
        ("exact", (3, 1, 2), "9/10", 9),
        ("exact", (5, 1, 3), "4/5", 12),
        ("exact", (4, 1, 2), "19/20", 15),
        ("exact", (3, 2, 4), "4/5", 18),
        ("exact", (4, 3, 2), "1/2", 21),
        ("exact", (3, 4, 2), "1/2", 24),
        ("ordinary", (4, 2, 3), "3/4", 27),
        ("ordinary", (5, 3, 2), "9/10", 30),
        ("ordinary", (8, 3, 6), "19/20", 33),
        ("ordinary -12", (5, 2, 3), "4/5", 36),
        ("duplicated", (4, 3, 2), "4/5", 39),
        ("duplicated", (6, 2, 3), "1/2", 42),
        ("off_centre", (5, 2, 3), "9/10", 45),
        ("off_centre", (6, 3, 4), "2/3", 48),
        ("off_centre", (4, 1, 2), "19/20", 51),
        ("duplicated", (7, 3, 5), "9/10", 60),
    ),
    "mlp": (
        ("exact", (4, 3, 2, 5), "1/2", 0),
        ("exact", (3, 4, 2, 4), "2/3", 3),
        ("exact", (5, 2, 3, 4), "3/4", 6),
        ("exact", (5, 3, 2, 6), "9/10", 9),
        ("exact", (5, 4, 3, 5), "4/5", 12),
        ("exact", (6, 4, 3, 6), "9/10", 15),
        ("exact", (4, 2, 3, 5), "19/20", 18),
        ("ordinary", (4, 3, 2, 5), "3/4", 21),
        ("ordinary", (5, 2, 3, 4), "9/10", 24),
        ("ordinary -12", (3, 4, 2, 4), "4/5", 27),
        ("duplicated", (5, 2, 3, 4), "4/5", 30),
        ("duplicated", (3, 4, 2, 4), "1/2", 33),
        ("off_centre", (4, 3, 2, 5), "9/10", 37),
        ("off_centre", (5, 2, 3, 4), "2/3", 39),
        ("exact", (7, 3, 4, 6), "2/3", 60),
        ("duplicated", (6, 4, 3, 6), "19/20", 68),
        ("ordinary", (5, 4, 3, 5), "2/3", 67),
        ("episodic", (4, 3, 2, 5), "1/2", 42),
        ("episodic", (5, 2, 3, 5), "4/5", 45),
        ("episodic", (5, 2, 3, 5), "9/10", 48),
        ("episodic 3", (5, 2, 3, 5), "3/4", 54),
    ),
}


def build(family: str, line: Line) -> Problem | None:
    """The problem of one line of the table, or None where its stream met no design."""
    kind, numbers, discount, key = line
    sizes, gamma = Sizes(*numbers), Fraction(discount)
    stream = Stream("designed", family, kind, numbers, discount, key)
    if kind == "exact":
        return exact_problem(stream, family, sizes, gamma, seed=key)
    if kind.startswith("episodic"):
        limit = int(kind.partition(" ")[2] or 0)
        return episodic_problem(stream, family, sizes, gamma, time_limit=limit, seed=key)
    kind, _, scaling = kind.partition(" ")
    return ordinary_problem(
        stream,
        family,
        sizes,
        float(gamma),
        kind=kind,
        transitions=TRANSITIONS[key % len(TRANSITIONS)],
        scale=0.8,
        reward_scale=2.0 ** int(scaling or 0),
        seed=key,
    )


@lru_cache(maxsize=8)
def designed(family: str) -> tuple[Problem, ...]:
    """The designed problems of a family; the kinds take turns, so any first few are varied."""
    problems = []
    for line in _in_turns(TABLES[family]):
        problem = build(family, line)
        why = "no design met" if problem is None else refusal(problem)
        if problem is None or why is not None:
            raise NpgcheckError(f"the designed problem {line} of {family} is not usable: {why}")
        problems.append(finish(problem))
    return tuple(problems)


def _in_turns(lines: tuple[Line, ...]) -> list[Line]:
    """One line of each kind after the other, in the order of the table within a kind."""
    kinds: dict[str, list[Line]] = {}
    for line in lines:
        kinds.setdefault(line[0].partition(" ")[0], []).append(line)
    turns = chain.from_iterable(zip_longest(*kinds.values()))
    return [line for line in turns if line is not None]
