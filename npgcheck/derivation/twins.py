"""Mutated twins: for every step, equations that are almost the same and false.

A judge that cannot say no proves nothing, so every step is mutated and every twin must be refuted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sympy as sp

from npgcheck.derivation.claim import Statement, Step
from npgcheck.derivation.word_evidence import letter_changes, well_typed
from npgcheck.derivation.words import Words

LIMIT = 12  # twins per step: each mutator contributes, none floods


@dataclass(frozen=True)
class Twin:
    """A step with a fault planted in it."""

    fault: str
    lhs: sp.Expr
    rhs: sp.Expr


def _sites(
    expr: sp.Expr, change: Callable[[sp.Basic], list[tuple[str, sp.Basic]]]
) -> Iterator[tuple[str, sp.Expr]]:
    """Every tree with `change` applied at exactly one node."""
    yield from change(expr)
    if isinstance(expr, sp.Indexed | sp.KroneckerDelta):
        return
    for position, arg in enumerate(expr.args):
        if not isinstance(arg, sp.Expr):
            continue
        for fault, new in _sites(arg, change):
            args = list(expr.args)
            args[position] = new
            yield fault, expr.func(*args)


def _terms(e: sp.Basic) -> list[tuple[str, sp.Basic]]:
    if not e.is_Add:
        return []
    out = []
    for i, term in enumerate(e.args):
        rest = e.args[:i] + e.args[i + 1 :]
        out.append((f"the sign of {term} flipped", sp.Add(*rest, -term)))
        out.append((f"the term {term} dropped", sp.Add(*rest)))
    return out


def _deltas(e: sp.Basic) -> list[tuple[str, sp.Basic]]:
    return [(f"{e} replaced by 1", sp.Integer(1))] if isinstance(e, sp.KroneckerDelta) else []


def _constants(e: sp.Basic) -> list[tuple[str, sp.Basic]]:
    if e.is_Rational:
        return [(f"the constant {e} changed to {e + 1}", e + 1)]
    return []


def twins(step: Step, statement: Statement) -> list[Twin]:
    """The mutated twins of a step, on its right-hand side and, where that is bare, on its left."""
    if isinstance(statement.setting, Words):
        return word_twins(step, statement.setting)
    made: list[Twin] = [Twin("the sign of the right-hand side flipped", step.lhs, -step.rhs)]
    for mutate in (_terms, _deltas, _constants):
        found = [Twin(fault, step.lhs, new) for fault, new in _sites(step.rhs, mutate)]
        made += found[:4]
    if len(made) < 4:
        for mutate in (_terms, _deltas, _constants):
            found = [Twin(f"left: {f}", new, step.rhs) for f, new in _sites(step.lhs, mutate)]
            made += found[:2]
    range_of = statement.setting.range_of
    for one in statement.free:
        for other in statement.free:
            if one != other and range_of(one) == range_of(other):
                renamed = step.rhs.xreplace({one: other})
                made.append(Twin(f"the index {one} read as {other}", step.lhs, renamed))
    made.append(Twin("one added to the right-hand side", step.lhs, step.rhs + 1))
    seen: set[tuple[sp.Expr, sp.Expr]] = {(step.lhs, step.rhs)}
    unique = []
    for twin in made:
        if (twin.lhs, twin.rhs) not in seen:
            seen.add((twin.lhs, twin.rhs))
            unique.append(twin)
    return unique[:LIMIT]


def word_twins(step: Step, setting: Words) -> list[Twin]:
    """The mutated twins of a step between matrices; those whose shapes do not fit are none."""
    letters = lambda e: letter_changes(e, setting)  # noqa: E731
    made = [Twin("the sign of the right-hand side flipped", step.lhs, -step.rhs)]
    for mutate, most in ((_terms, 4), (_constants, 3), (letters, 4)):
        found = [Twin(fault, step.lhs, new) for fault, new in _sites(step.rhs, mutate)]
        made += [t for t in found if well_typed(t.lhs, t.rhs, setting)][:most]
    if len(made) < 4:
        for mutate in (_terms, letters):
            found = [Twin(f"left: {f}", new, step.rhs) for f, new in _sites(step.lhs, mutate)]
            made += [t for t in found if well_typed(t.lhs, t.rhs, setting)][:2]
    if step.relation == "≥":
        made.insert(0, Twin("the inequality turned round", step.rhs, step.lhs))
    unique = {(t.lhs, t.rhs): t for t in made if (t.lhs, t.rhs) != (step.lhs, step.rhs)}
    return list(unique.values())[:LIMIT]
