"""The problems that subjects are judged on: designed, drawn, catalogue, edge cases, searches.

============  ====================================================================================
designed      fixed; together they make every stage visible that the family can show
drawn         by seed; members whose conditioning is beyond the budget's domain are drawn again
catalogue     small, simple numbers, smallest first: where a disagreement is shown to a person
edge cases    the limits of the domain: γ = 0, one state, unreachable states, …
search        whose longest step goes wrong; line searches alone are asked on them
============  ====================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from npgcheck.errors import UsageError, nearest
from npgcheck.problem import Problem
from npgcheck.problem_sets import catalogue_set, designed_set, edge_set, search_set
from npgcheck.problem_sets.build import conditioning, finish, refusal
from npgcheck.problem_sets.drawn_set import Draw, draw

FAMILIES = ("tabular", "softmax", "gaussian", "mlp")
"""The families with problems; a subject's own policy is asked on those it fits."""

GROUPS = ("catalogue", "designed", "edge", "search", "drawn")

DRAWN_LISTED = 240
"""How many drawn problems of a seed `find` and the listing look through."""


def _family(name: str) -> str:
    if name not in FAMILIES:
        raise UsageError(
            f"there are no problems of family {name!r}; the families are {', '.join(FAMILIES)}."
            f"{nearest(str(name), FAMILIES)}"
        )
    return name


def designed(family: str) -> tuple[Problem, ...]:
    """The fixed set, never redrawn."""
    return designed_set.designed(_family(family))


def catalogue(family: str) -> tuple[Problem, ...]:
    """Small problems with simple numbers, smallest first."""
    return catalogue_set.catalogue(_family(family))


def edge_cases(family: str) -> tuple[Problem, ...]:
    """The limits of the domain."""
    return edge_set.edge_cases(_family(family))


def searched(family: str) -> tuple[Problem, ...]:
    """Problems for line searches, fixed."""
    return search_set.searched(_family(family))


def drawn(family: str, seed: int, count: int) -> tuple[Problem, ...]:
    """The first ``count`` problems of a seed; see :func:`draw` for what was refused on the way."""
    return draw(_family(family), seed, count).problems


def members(
    family: str, group: str, seed: int = 0, count: int = DRAWN_LISTED
) -> tuple[Problem, ...]:
    """The problems of a family in one group; ``seed`` and ``count`` are those of "drawn"."""
    if group == "drawn":
        return drawn(family, seed, count)
    fixed = {"catalogue": catalogue, "designed": designed, "edge": edge_cases, "search": searched}
    if group not in fixed:
        raise UsageError(
            f"no group {group!r}; the groups are {', '.join(GROUPS)}.{nearest(group, GROUPS)}"
        )
    return fixed[group](family)


def find(problem_id: str, seed: int = 0) -> Problem:
    """The problem with this id.

    Raises:
        UsageError: no listed problem has it; drawn problems are looked up under ``seed``.
    """
    if not re.fullmatch(r"p-[0-9a-f]{6}(@[0-9a-f]+)?", problem_id):
        raise UsageError(
            f"{problem_id!r} is no problem id: they read p- and six hexadecimal digits, like "
            f"p-b72eba. `npgcheck problems` lists them."
        )
    known: list[str] = []
    for group in GROUPS:
        for family in FAMILIES:
            for problem in members(family, group, seed):
                if problem.id == problem_id:
                    return problem
                known.append(problem.id)
    base, _, elsewhere = problem_id.partition("@")
    if elsewhere:
        raise UsageError(
            f"{problem_id} is a problem at parameters that a subject chose; replay {base} instead."
        )
    raise UsageError(
        f"no problem {problem_id!r} in the sets, nor among the first {DRAWN_LISTED} drawn with "
        f"seed {seed}.{nearest(problem_id, known)} A problem drawn with another seed needs that "
        "seed."
    )


@dataclass(frozen=True)
class Row:
    """One line of the listing.

    Attributes:
        id: what `find` takes.
        group: "catalogue", "designed", "edge", "search" or "drawn".
        family: the policy family.
        states: S.
        actions: A, or m where actions are vectors.
        features: k.
        parameters: D.
        discount: γ.
        batch: the kind of batch.
        episodes: how many exact episodes, 0 for none.
        description: the problem in words.
    """

    id: str
    group: str
    family: str
    states: int
    actions: int
    features: int
    parameters: int
    discount: float
    batch: str
    episodes: int
    description: str


def _row(group: str, problem: Problem) -> Row:
    return Row(
        id=problem.id,
        group=group,
        family=problem.family,
        states=problem.num_states,
        actions=problem.action_size if problem.is_gaussian else problem.num_actions,
        features=problem.observation_size,
        parameters=len(problem.theta),
        discount=problem.discount,
        batch=problem.batch_kind,
        episodes=0 if problem.paths is None else sum(path.count for path in problem.paths),
        description=problem.describe(),
    )


def list_problems(
    families: tuple[str, ...] = FAMILIES,
    groups: tuple[str, ...] = ("catalogue", "designed", "edge", "search"),
    seed: int = 0,
    count: int = 40,
) -> tuple[Row, ...]:
    """One row per problem; the group "drawn" lists the first ``count`` of ``seed``."""
    return tuple(
        _row(group, problem)
        for family in families
        for group in groups
        for problem in members(family, group, seed, count)
    )


def show_problem(problem: Problem) -> dict[str, Any]:
    """Everything about one problem as labels and plain values, arrays as nested lists."""
    condition, rank = conditioning(problem)
    shown: dict[str, Any] = {
        "id": problem.id,
        "description": problem.describe(),
        "family": problem.family,
        "policy": repr(problem.policy),
        "rank of the Fisher matrix": rank,
        "cond⁺ of the Fisher matrix": condition,
        "batch": f"{problem.batch_kind}, {len(problem.batch)} rows",
        "episodes": ("none" if problem.paths is None else f"{len(problem.episodes)}, law exact"),
    }
    data = problem.to_json()
    shown |= {f"mdp.{key}": value for key, value in data["mdp"].items() if key != "name"}
    shown |= {"observations": data["observations"], "theta": data["theta"]}
    return shown


__all__ = [
    "FAMILIES",
    "GROUPS",
    "Draw",
    "Row",
    "catalogue",
    "conditioning",
    "designed",
    "draw",
    "drawn",
    "edge_cases",
    "find",
    "finish",
    "list_problems",
    "members",
    "refusal",
    "searched",
    "show_problem",
]
