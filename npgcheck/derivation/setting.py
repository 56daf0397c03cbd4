"""What the symbols of some statements mean: sizes, families, definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import sympy as sp

from npgcheck.derivation.language import Along, DerivationError, Expect, Partial, binders
from npgcheck.derivation.laws import STANDARD_NORMAL, Law

KINDS = ("log", "positive", "real", "random")


@dataclass(frozen=True)
class Definition:
    """``base[indices] := body``; a frozen one is a number already drawn: `Partial` passes it by."""

    base: sp.IndexedBase | sp.Symbol
    indices: tuple[sp.Symbol, ...]
    body: sp.Expr
    frozen: bool = False


@dataclass(frozen=True)
class Family:
    """Indeterminates, or values of an unknown function together with its derivatives.

    Attributes:
        base: the symbol.
        kind: "log" (real, its exponential is the indeterminate), "positive", "real", "random"
            (what `GaussianMean` averages over).
        sizes: the range of each index.
        symmetric: the last two indices may be exchanged.
        of: the family that the members are functions of; "" for plain indeterminates.
        slope: (the members' indices, the argument's index, the derivative as a tree in these).
    """

    base: sp.IndexedBase | sp.Symbol
    kind: str
    sizes: tuple[sp.Symbol, ...]
    symmetric: bool = False
    of: str = ""
    slope: tuple[tuple[sp.Symbol, ...], sp.Symbol, sp.Expr] | None = None

    def slot(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The indices under which a member is kept: sorted where the family is symmetric."""
        if not self.symmetric:
            return tuple(values)
        return (*values[:-2], *sorted(values[-2:], key=_order))


def _order(value: Any) -> Any:
    return value if isinstance(value, int) else repr(value)


@dataclass
class Setting:
    """What the symbols of some statements mean.

    Attributes:
        sizes: the sizes that everything is claimed for, with what each counts; the first is the
            range of an index that is not declared otherwise.
        families: name -> Family.
        definitions: name -> Definition.
        meanings: name -> what a family or definition is, in words.
        ranges: the ranges of the indices that do not run over the first size.
        law: the law of each entry of the random family.
        parameters: the symbols that power series are in; only `Coefficient` may bind them.
    """

    sizes: dict[sp.Symbol, str]
    families: dict[str, Family] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    ranges: dict[sp.Symbol, sp.Symbol] = field(default_factory=dict)
    law: Law = STANDARD_NORMAL
    parameters: set[sp.Symbol] = field(default_factory=set)

    @staticmethod
    def of(size: str, size_means: str, **more: str) -> Setting:
        """An empty setting over one or several sizes, as ``Setting.of("n", "…", k="…")``."""
        sizes = {size: size_means, **more}
        return Setting({_size(name): means for name, means in sizes.items()})

    @property
    def size(self) -> sp.Symbol:
        """The first size."""
        return next(iter(self.sizes))

    def over(self, size: str, *indices: sp.Symbol) -> Any:
        """Declares that these indices run over the size of that name; returns them."""
        self.ranges |= dict.fromkeys(indices, self._known(size))
        return indices[0] if len(indices) == 1 else indices

    def range_of(self, index: sp.Symbol) -> sp.Symbol:
        """The size that an index runs over."""
        return self.ranges.get(index, self.size)

    def _known(self, name: str) -> sp.Symbol:
        if _size(name) not in self.sizes:
            raise DerivationError(f"{name!r} is not one of the sizes {[*map(str, self.sizes)]}")
        return _size(name)

    def family(
        self,
        name: str,
        kind: str,
        means: str = "",
        sizes: str | None = None,
        symmetric: bool = False,
    ) -> Any:
        """Adds a family of indeterminates; `sizes` names the ranges of its indices, as "n k"."""
        if kind not in KINDS:
            raise DerivationError(f"family {name!r}: unknown kind {kind!r}")
        self._fresh(name)
        over = (self.size,) if sizes is None else tuple(map(self._known, sizes.split()))
        base = sp.IndexedBase(name, real=True) if over else sp.Symbol(name, real=True)
        self.families[name] = Family(base, kind, over, symmetric)
        self.meanings[name] = means
        return base

    def slope(self, member: Any, variable: sp.Indexed, derivative: Any) -> None:
        """Makes a family a function of another: ∂member/∂variable is this tree in their indices."""
        name = str(getattr(member, "base", member))
        family = self.families[name]
        rule = (tuple(getattr(member, "indices", ())), variable.indices[0], sp.sympify(derivative))
        of = variable.base.label.name
        if of not in self.families or family.kind == "random" or family.slope is not None:
            raise DerivationError(f"{name!r} cannot be a function of {of!r}")
        self.families[name] = replace(family, of=of, slope=rule)
        allowed = {*rule[0], rule[1]}
        if not free_indices(rule[2], self) <= allowed:
            raise DerivationError(f"the derivative of {name!r} has indices of its own")

    def parameter(self, name: str) -> sp.Symbol:
        """A symbol for power series, such as t."""
        symbol = sp.Symbol(name, real=True)
        self.parameters.add(symbol)
        return symbol

    def define(
        self, name: str, indices: Any, body: Any, means: str = "", frozen: bool = False
    ) -> Any:
        """Adds ``name[indices] := body`` and returns the name; with indices = () a scalar."""
        self._fresh(name)
        indices = indices if isinstance(indices, tuple) else (indices,)
        base = sp.IndexedBase(name, real=True) if indices else sp.Symbol(name, real=True)
        self.definitions[name] = Definition(base, indices, sp.sympify(body), frozen)
        self.meanings[name] = means
        return base

    def _fresh(self, name: str) -> None:
        if name in self.families or name in self.definitions or _size(name) in self.sizes:
            raise DerivationError(f"{name!r} is defined twice in one setting")

    def sum(self, body: Any, *indices: sp.Symbol) -> sp.Expr:
        """Σ over the whole range of each index, outermost first."""
        for index in reversed(indices):
            body = sp.Sum(body, (index, 1, self.range_of(index)))
        return sp.sympify(body)

    def members(self, sizes: Mapping[sp.Symbol, int]) -> list[tuple[str, tuple[int, ...]]]:
        """Every member of every family at these sizes, as (family, indices)."""
        found: dict[tuple[str, tuple[int, ...]], None] = {}
        for name, family in self.families.items():
            for values in product(*(range(1, sizes[s] + 1) for s in family.sizes)):
                found[(name, family.slot(values))] = None
        return list(found)

    def changed(self, **changes: Any) -> Setting:
        """The same setting under a dropped assumption: another law, or other definitions.

        Args:
            changes: ``law=…``; ``define={name: body}``; ``slope={name: derivative}``.
        """
        definitions, families = dict(self.definitions), dict(self.families)
        for name, body in changes.pop("define", {}).items():
            definitions[name] = replace(definitions[name], body=sp.sympify(body))
        for name, derivative in changes.pop("slope", {}).items():
            indices, at, _ = families[name].slope or ((), None, None)
            families[name] = replace(families[name], slope=(indices, at, sp.sympify(derivative)))
        return Setting(
            dict(self.sizes),
            families,
            dict(self.meanings),
            definitions,
            dict(self.ranges),
            changes.pop("law", self.law),
            set(self.parameters),
        )


def _size(name: str) -> sp.Symbol:
    return sp.Symbol(name, integer=True, positive=True)


def free_indices(expr: sp.Basic, setting: Setting) -> set[sp.Symbol]:
    """The free index and parameter symbols of a tree; raises on a capture or a wrong range.

    A symbol may not be bound twice on one path, nor be bound in one place and free in another:
    either is how a derivation goes wrong without anybody noticing.
    """
    seen_bound: set[sp.Symbol] = set()

    def ranges(name: str, indices: Sequence[Any]) -> None:
        if name in setting.families:
            expected: Sequence[sp.Symbol] = setting.families[name].sizes
        elif name in setting.definitions:
            expected = [setting.range_of(i) for i in setting.definitions[name].indices]
        else:
            return
        for index, size in zip(indices, expected, strict=False):
            if setting.range_of(index) != size:
                raise DerivationError(
                    f"index {index} of {name} runs over {setting.range_of(index)}, not over {size}"
                )

    def walk(e: sp.Basic, scope: frozenset[sp.Symbol]) -> set[sp.Symbol]:
        if isinstance(e, sp.Symbol):
            known = e in scope or e in setting.sizes
            return set() if known or e.name in {**setting.definitions, **setting.families} else {e}
        if isinstance(e, sp.Indexed):
            ranges(e.base.label.name, e.indices)
            return set().union(*(walk(i, scope) for i in e.indices))
        if isinstance(e, sp.IndexedBase):
            return set()
        if isinstance(e, sp.KroneckerDelta):
            one, two = map(setting.range_of, e.args[:2])
            if one != two:
                raise DerivationError(f"{e} compares an index over {one} with one over {two}")
        here = binders(e)
        for symbol in here:
            if symbol in scope:
                raise DerivationError(f"index {symbol} is bound twice, one inside the other")
        seen_bound.update(here)
        inner = scope | set(here)
        if isinstance(e, sp.Sum):
            out: set[sp.Symbol] = set()
            for symbol, low, high in e.limits:
                if high in setting.sizes and high != setting.range_of(symbol):
                    raise DerivationError(f"{symbol} runs over {setting.range_of(symbol)}")
                out |= walk(low, scope) | walk(high, scope)
            return out | walk(e.function, inner)
        if isinstance(e, Along):
            ranges(e.args[1].label.name, (e.args[2],))
            return walk(e.args[0], scope) | walk(e.args[3], scope) | walk(e.args[4], inner)
        if isinstance(e, Expect):
            ranges(e.args[2].label.name, (e.args[1],))
        elif isinstance(e, Partial) and not isinstance(e.args[1], sp.Indexed):
            raise DerivationError(f"a derivative with respect to {e.args[1]}")
        return set().union(*(walk(arg, inner) for arg in e.args))

    found = walk(expr, frozenset())
    for symbol in found & seen_bound:
        raise DerivationError(f"index {symbol} is free in one place and bound in another")
    return found


def families_in(expr: sp.Basic, setting: Setting) -> set[str]:
    """The families that a tree depends on, through its definitions and derivatives."""
    found: set[str] = set()
    visited: set[str] = set()

    def walk(e: sp.Basic) -> None:
        name = e.label.name if isinstance(e, sp.IndexedBase) else getattr(e, "name", "")
        if name in setting.families and name not in found:
            found.add(name)
            slope = setting.families[name].slope
            if slope is not None:
                walk(slope[2])
        elif name in setting.definitions and name not in visited:
            visited.add(name)
            walk(setting.definitions[name].body)
        if not isinstance(e, sp.IndexedBase):
            for arg in e.args:
                walk(arg)

    walk(expr)
    return found
