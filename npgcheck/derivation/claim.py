"""Claims, statements, steps and what is known about them.

A claim is what one file in ``proofs/`` defines: one or several statements, each an equation with
a chain of named steps. Nothing here carries a status by hand; see `evidence`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import sympy as sp

from npgcheck.derivation.language import DerivationError
from npgcheck.derivation.setting import Setting, free_indices
from npgcheck.derivation.words import Words


class Status(IntEnum):
    """How strongly something is known; a claim is as strong as the weakest thing it rests on."""

    REFUTED = 0
    CITED = 1
    CHECKED = 2
    PROVED_FOR_SIZE = 3
    PROVED = 4

    @property
    def text(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Step:
    """One equation ``lhs = rhs`` of a chain, with the reason a reader is given for it.

    `relation` is "≥" where a step between matrices drops something that is not negative.
    """

    lhs: sp.Expr
    rhs: sp.Expr
    why: str
    relation: str = "="


@dataclass(frozen=True)
class Statement:
    """One equation, claimed for every size and every value of its free indices.

    Attributes:
        name: unique within the claim.
        title: what it says, in words.
        setting: what the symbols mean; indexed families, or matrices of any size.
        free: the free indices.
        lhs, rhs: the equation.
        steps: the chain from lhs to rhs.
        mistakes: (what it is called, the wrong right-hand side): each must be refuted.
        nonnegative: why the right-hand side cannot be negative; "" where that is not claimed.
    """

    name: str
    title: str
    setting: Setting | Words
    free: tuple[sp.Symbol, ...]
    lhs: sp.Expr
    rhs: sp.Expr
    steps: tuple[Step, ...]
    mistakes: tuple[tuple[str, sp.Expr], ...] = ()
    nonnegative: str = ""

    @staticmethod
    def chain(
        name: str,
        title: str,
        setting: Setting | Words,
        claim: tuple[Any, Any],
        steps: Sequence[tuple[str, Any] | tuple[str, Any, str]],
        free: tuple[sp.Symbol, ...] = (),
        mistakes: Sequence[tuple[str, Any]] = (),
        nonnegative: str = "",
    ) -> Statement:
        """A statement whose steps are given as (reason, next expression[, relation]).

        Raises:
            DerivationError: the chain does not end in the claim's right-hand side, an index is
                captured, or a free index is not declared.
        """
        lhs, rhs = (sp.sympify(side) for side in claim)
        at, made = lhs, []
        for why, expr, *relation in steps:
            made.append(Step(at, sp.sympify(expr), why, *relation))
            at = made[-1].rhs
        wrong = tuple((what, sp.sympify(expr)) for what, expr in mistakes)
        steps_made = tuple(made)
        statement = Statement(name, title, setting, free, lhs, rhs, steps_made, wrong, nonnegative)
        statement.validate()
        return statement

    @property
    def relation(self) -> str:
        """ "=", or "≥" as soon as one step is an inequality."""
        return "≥" if any(step.relation == "≥" for step in self.steps) else "="

    def validate(self) -> None:
        """Checks that the chain telescopes syntactically to the claim and captures nothing."""
        if not self.steps:
            raise DerivationError(f"{self.name}: a statement without steps")
        ends = [self.lhs, *(step.rhs for step in self.steps)]
        for i, step in enumerate(self.steps):
            if step.lhs != ends[i]:
                raise DerivationError(f"{self.name}: step {i + 1} does not start where {i} ended")
        if ends[-1] != self.rhs:
            raise DerivationError(f"{self.name}: the chain ends in {ends[-1]}, not in the claim")
        if isinstance(self.setting, Words):
            for expr in [*ends, *(wrong for _, wrong in self.mistakes)]:
                self.setting.check(expr - self.lhs)
            return
        for expr in [*ends, *(wrong for _, wrong in self.mistakes)]:
            found = free_indices(expr, self.setting)
            if not found <= set(self.free):
                raise DerivationError(f"{self.name}: {found - set(self.free)} is not declared free")
        for d in self.setting.definitions.values():
            allowed = {*d.indices, *self.setting.parameters}
            if not free_indices(d.body, self.setting) <= allowed:
                raise DerivationError(f"{self.name}: the definition of {d.base} is not closed")


@dataclass(frozen=True)
class Assumption:
    """Something the claim assumes, and what goes wrong without it.

    Attributes:
        text: the assumption, in words with TeX.
        without: the setting with the assumption dropped; None where it is a matter of domain.
        breaks: the statement that must then be refuted.
        instead: what was assumed in its place.
    """

    text: str
    without: Setting | Words | None = None
    breaks: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Claim:
    """What one proof file defines.

    Attributes:
        id: stable name, as in ``npgcheck prove softmax-fisher``.
        title: the claim in a line.
        source: where the result is from.
        assumptions: what is assumed.
        uses: ids of the claims that it rests on; its status is never above theirs.
        statements: the equations.
        covers: what exactly a proof of these equations says, and what it does not.
        justifies: dotted names of the numerical functions that use these formulas.
    """

    id: str
    title: str
    source: str
    assumptions: tuple[Assumption, ...]
    uses: tuple[str, ...]
    statements: tuple[Statement, ...]
    covers: str
    justifies: tuple[str, ...]

    def statement(self, name: str) -> Statement:
        """The statement of that name."""
        return {s.name: s for s in self.statements}[name]

    @property
    def digest(self) -> str:
        """SHA-256 over everything that is said, whatever the dummies' serial numbers."""
        parts = [self.id, self.title, self.source, self.covers, *self.uses, *self.justifies]
        for a in self.assumptions:
            parts += [a.text, a.breaks, a.instead]
            parts += [] if a.without is None else _setting_text(a.without)
        for s in self.statements:
            parts += [s.name, s.title, s.nonnegative, *_setting_text(s.setting)]
            parts += [canonical(expr) for expr in (s.lhs, s.rhs, *s.free)]
            parts += [step.why + step.relation + canonical(step.rhs) for step in s.steps]
            parts += [what + canonical(wrong) for what, wrong in s.mistakes]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _setting_text(s: Setting | Words) -> list[str]:
    if isinstance(s, Words):
        return s.text(canonical)
    parts = [f"{size}: {means}" for size, means in s.sizes.items()] + [s.law.name]
    for name, family in s.families.items():
        rule = "" if family.slope is None else canonical(family.slope[2])
        kind = f"{name} {family.kind} {family.sizes} {family.symmetric} {family.of}"
        parts.append(f"{kind} {rule} {s.meanings[name]}")
    for name, d in s.definitions.items():
        indices = [f"{i.name} {s.range_of(i)}" for i in d.indices]
        parts.append(f"{name} {indices} {canonical(d.body)} {d.frozen} {s.meanings[name]}")
    return parts


def canonical(expr: sp.Basic) -> str:
    """A text that is equal for equal trees: nested, sorted where SymPy sorts, no serial numbers."""
    if isinstance(expr, sp.Symbol):
        return str(expr.name)
    if not expr.args:
        return str(expr)
    args = [canonical(arg) for arg in expr.args]
    if isinstance(expr, sp.Add | sp.Mul) and not (expr.is_Mul and not expr.is_commutative):
        args.sort()
    return f"{type(expr).__name__}({', '.join(args)})"
