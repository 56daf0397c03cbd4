"""Which problems a run asks: the designed ones of each family first, then drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from npgcheck.conformance.contract import FAMILIES, QUANTITIES
from npgcheck.conformance.guard import Caller
from npgcheck.conformance.pure_problems import PureProblem, linear_systems, reward_streams
from npgcheck.conformance.subject import Subject
from npgcheck.errors import UsageError, nearest

#: Systems and streams for the pure functions; they cost microseconds.
PURE_COUNT = 36
PURE = ("conjugate_gradient", "advantage_estimate")


def problems_for(
    subject: Subject,
    caller: Caller,
    families: Sequence[str],
    examples: int,
    seed: int,
    problem_id: str | None,
) -> list[Any]:
    """Returns about ``examples`` problems, shared evenly by the families, families taking turns.

    Raises:
        UsageError: a family or a problem that does not exist.
    """
    from npgcheck import problem_sets

    for family in families:
        if family not in FAMILIES:
            raise UsageError(
                f"no family {family!r}.{nearest(family, FAMILIES)} Known: {', '.join(FAMILIES)}."
            )
    if not families:
        raise UsageError("no policy family to judge: families is empty.")
    if problem_id is not None:
        return _replayed(problem_id, subject, caller, families, examples, seed)
    share = -(-examples // len(families))
    lists = []
    for family in families:
        if family == "own":
            from npgcheck.conformance.own import own_problems

            lists.append(own_problems(subject, caller, seed, share))
            continue
        # A third is always drawn, so that a seed means something in short runs as well.
        designed = list(problem_sets.designed(family))[: -(-2 * share // 3)]
        drawn = problem_sets.drawn(family, seed=seed, count=max(0, share - len(designed)))
        lists.append([*designed, *drawn])
    turns = chain.from_iterable(zip_longest(*lists))
    return [problem for problem in turns if problem is not None]


def asked_for(
    quantity: str,
    problems: Sequence[Any],
    families: Sequence[str],
    seed: int,
    problem_id: str | None = None,
) -> Sequence[Any]:
    """The problems that one quantity is asked on, of a run on ``problems``: the pure functions
    have their own, and line searches some more."""
    from npgcheck import problem_sets

    if not QUANTITIES[quantity].takes_problem:
        return pure_problems(quantity, seed, problem_id)
    if quantity != "trust_region_step" or problem_id is not None:
        return problems
    known = [f for f in families if f in problem_sets.FAMILIES]
    return [*problems, *chain.from_iterable(map(problem_sets.searched, known))]


def _replayed(
    problem_id: str,
    subject: Subject,
    caller: Caller,
    families: Sequence[str],
    examples: int,
    seed: int,
) -> list[Any]:
    """The one problem of a replay; none where it is a problem of a pure function."""
    from npgcheck import problem_sets

    if any(p.id == problem_id for q in PURE for p in pure_problems(q, seed)):
        return []
    if "own" in families:
        from npgcheck.conformance.own import own_problems

        for problem in own_problems(subject, caller, seed, examples):
            if problem.id == problem_id:
                return [problem]
    return [problem_sets.find(problem_id, seed=seed)]


def pure_problems(quantity: str, seed: int, problem_id: str | None = None) -> list[PureProblem]:
    """The problems of a function that takes no policy problem; one of them, when it is replayed."""
    build = linear_systems if quantity == "conjugate_gradient" else reward_streams
    found = build(seed, PURE_COUNT)
    return [p for p in found if problem_id is None or p.id == problem_id]
