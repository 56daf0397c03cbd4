"""Texts of ``npgcheck problems``, ``npgcheck explain`` and ``npgcheck oracle``."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from npgcheck.conformance.contract import QUANTITIES
from npgcheck.errors import UsageError, nearest

_ORACLE = (
    "value",
    "q_value",
    "advantage",
    "state_distribution",
    "objective",
    "policy_gradient",
    "fisher",
    "natural_gradient",
)
"""Quantities that need nothing but a problem."""


def listing(families: tuple[str, ...] | None, file_format: str) -> str:
    """The designed problems and edge cases, one line each."""
    from npgcheck import problem_sets

    rows = [
        {"id": p.id, "family": family, "group": group, "description": p.describe()}
        for family in (families or problem_sets.FAMILIES)
        for group, members in (
            ("designed", problem_sets.designed(family)),
            ("edge", problem_sets.edge_cases(family)),
        )
        for p in members
    ]
    if file_format == "json":
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    lines = [f"{r['id']:<10}{r['family']:<10}{r['group']:<10}{r['description']}" for r in rows]
    lines.append("")
    lines.append(f"{len(rows)} problems; `npgcheck problems ID` shows one,")
    lines.append("`npgcheck verify TARGET --problem ID` judges on it alone.")
    return "\n".join(lines) + "\n"


def _pure(quantity: str, problem: Any, file_format: str) -> str:
    """The arguments of a function that takes no policy problem."""
    if file_format == "json":
        return json.dumps(problem.to_json(), indent=2, ensure_ascii=False) + "\n"
    parts = [f"{problem.id}: {problem.describe()}", f"arguments of {quantity}", ""]
    names = ("matrix", "b", "iterations")
    if quantity == "advantage_estimate":
        names = QUANTITIES[quantity].parameters  # type: ignore[assignment]
    for name, argument in zip(names, problem.args, strict=True):
        parts += _array(name, argument)
    return "\n".join(parts) + "\n"


def one_problem(problem_id: str, seed: int, file_format: str) -> str:
    """Every number of one problem."""
    from npgcheck import problem_sets
    from npgcheck.conformance.problems import PURE, pure_problems

    for quantity in PURE:
        for pure in pure_problems(quantity, seed, problem_id):
            return _pure(quantity, pure, file_format)
    problem = problem_sets.find(problem_id, seed)
    if file_format == "json":
        return json.dumps(problem.to_json(), indent=2, ensure_ascii=False) + "\n"
    parts = [f"{problem.id}: {problem.describe()}", f"family {problem.family}", ""]
    parts += _array("theta", problem.theta)
    parts += _array("observations", problem.observations)
    for name in ("initial_distribution", "rewards", "transitions"):
        if (array := getattr(problem.mdp, name, None)) is not None:
            parts += _array(f"mdp.{name}", array)
    for name, array in zip("cbM", getattr(problem.mdp, "reward_quadratic", ()), strict=False):
        parts += _array(f"mdp.reward_quadratic {name}", array)
    parts.append(f"mdp.discount = {problem.discount!r}")
    parts.append(f"batch: {len(problem.batch)} rows, {problem.batch.kind}")
    return "\n".join(parts) + "\n"


def _array(name: str, array: Any) -> list[str]:
    import numpy as np

    dense = array.toarray() if hasattr(array, "toarray") else np.asarray(array)
    text = np.array2string(dense, precision=6, suppress_small=True, max_line_width=96)
    shape = " × ".join(map(str, dense.shape))
    return [f"{name} ({shape})", textwrap.indent(text, "    "), ""]


def explanation(name: str | None) -> str:
    """What a choice, a quantity or a check id means; all names when none is given."""
    from npgcheck.conformance import check_ids
    from npgcheck.conformance.choices import BY_NAME

    ids = frozenset().union(*check_ids.CHECK_SETS.values())
    if name is None:
        return _all_names(BY_NAME)
    if name in BY_NAME:
        from npgcheck.conformance.explanation import choice_text

        return choice_text(BY_NAME[name])
    if name in QUANTITIES:
        return _quantity_text(name, sorted(i for i in ids if _quantity_of(i) == name))
    if name in ids:
        return f"{name}: {_quantity_of(name)}, {_check_title(name)}.\n\n" + _quantity_text(
            _quantity_of(name), []
        )
    known = [*BY_NAME, *QUANTITIES, *ids]
    raise UsageError(
        f"there is nothing called {name!r} to explain.{nearest(name, known)} "
        f"`npgcheck explain` lists the names."
    )


def _all_names(choices: Any) -> str:
    from npgcheck.conformance.atlas import STAGES

    lines = ["Quantities", ""]
    for quantity in QUANTITIES.values():
        lines += _row(quantity.signature, 60, quantity.meaning)
    for page, title in STAGES.items():
        lines += ["", title, ""]
        for choice in (c for c in choices.values() if c.atlas == page):
            lines += _row(f"{choice.name} ({choice.kind})", 48, choice.formula)
    return "\n".join(lines) + "\n"


def _row(label: str, width: int, text: str) -> list[str]:
    """Two columns; a label that is too long has a line to itself."""
    if len(label) < width:
        return [f"  {label:<{width}}{text}"]
    return [f"  {label}", f"  {'':<{width}}{text}"]


def _quantity_text(name: str, ids: list[str]) -> str:
    if name not in QUANTITIES:
        return f"{name}\n  value targets of a rollout, judged by npgcheck.check_advantages\n"
    quantity = QUANTITIES[name]
    parts = [quantity.signature, f"  {quantity.meaning}"]
    if quantity.not_asked:
        parts.append(f"  not asked of: {', '.join(sorted(quantity.not_asked))}")
    parts += [f"  {i}  {_check_title(i)}" for i in ids]
    return "\n".join(parts) + "\n"


def _quantity_of(check: str) -> str:
    from npgcheck.conformance import check_ids

    prefix = check.split("-")[1]
    return next(q for q, p in check_ids.PREFIX.items() if p == prefix)


def _check_title(check: str) -> str:
    from npgcheck.conformance import check_ids

    properties = check_ids.PROPERTIES | check_ids.OF_STEPS | check_ids.OF_MODULES
    if check in properties:
        return properties[check][1]
    number = check.split("-")[2]
    return next(title for n, title in check_ids.NUMBERED.values() if n == number)


def exact(quantity: str, problem_id: str, seed: int) -> str:
    """The exact value of a quantity on a problem, as JSON."""
    if quantity not in _ORACLE:
        raise UsageError(
            f"the oracle prints quantities that need a problem only: {', '.join(_ORACLE)}; "
            f"{quantity} takes more arguments."
        )
    import numpy as np

    from npgcheck import natural, problem_sets
    from npgcheck.conformance.reference import Reference

    problem = problem_sets.find(problem_id, seed)
    if problem.family in QUANTITIES[quantity].not_asked:
        raise UsageError(f"{quantity} is not asked of {problem.family} problems.")
    reference = Reference(problem)
    if quantity == "fisher":
        answer: Any = reference.fisher("mdp", "discounted")
    elif quantity == "policy_gradient":
        answer = reference.gradient("mdp", "discounted") / (1.0 - problem.discount)
    elif quantity == "natural_gradient":
        answer = natural.natural_gradient(
            problem.mdp, problem.policy, problem.theta, problem.observations
        )
    else:
        evaluation = reference.evaluation
        answer = getattr(evaluation, quantity)
    data = {"quantity": quantity, "problem": problem.id, "exact": np.asarray(answer).tolist()}
    return json.dumps(data, ensure_ascii=False) + "\n"
