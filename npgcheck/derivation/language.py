"""The language of a derivation: SymPy trees with explicit indices, and what their symbols mean.

SymPy writes these trees and prints them; it never decides whether an equation holds.
An expression may contain

* rational numbers, sums ``Sum(f, (k, 1, n))`` over the whole range, Kronecker deltas;
* members of a *family*, ``theta[k]``: one indeterminate per index value;
* members of a *definition*, ``pi[a]``: a name for a tree, unfolded wherever a value is needed;
* ``exp``, ``log`` and integer powers, and the four nodes below (`Partial`, `Coefficient`,
  `Expect`, `GaussianMean`), which SymPy has no safe counterpart for: its ``Derivative`` of a
  named quantity is silently 0, and ``diff`` of a sum captures the bound index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import sympy as sp


class DerivationError(Exception):
    """A derivation that is not well formed: a capture, a broken chain, an unknown symbol."""


class OutOfClass(DerivationError):
    """A tree outside the class for which a complete method exists; says why."""


class _Node(sp.Expr):
    is_commutative = True

    @property
    def binds(self) -> tuple[sp.Symbol, ...]:
        """The symbols that this node binds."""
        return ()


class Partial(_Node):
    """``Partial(f, theta[b])``: the partial derivative ∂f/∂θ_b."""

    def __new__(cls, function: Any, variable: Any) -> Partial:
        return super().__new__(cls, sp.sympify(function), variable)


class Coefficient(_Node):
    """``Coefficient(f, t, k)``: the coefficient of t^k in the power series of f at t = 0."""

    def __new__(cls, function: Any, parameter: sp.Symbol, order: int) -> Coefficient:
        return super().__new__(cls, sp.sympify(function), parameter, sp.Integer(order))

    @property
    def binds(self) -> tuple[sp.Symbol, ...]:
        return (self.args[1],)


class Expect(_Node):
    """``Expect(f, a, pi)``: Σ_a π_a f over the whole range of a."""

    def __new__(cls, function: Any, index: sp.Symbol, law: sp.IndexedBase) -> Expect:
        return super().__new__(cls, sp.sympify(function), index, law)

    @property
    def binds(self) -> tuple[sp.Symbol, ...]:
        return (self.args[1],)


class GaussianMean(_Node):
    """``GaussianMean(f)``: the mean of f over the setting's random family, entries independent."""

    def __new__(cls, function: Any) -> GaussianMean:
        return super().__new__(cls, sp.sympify(function))


@dataclass(frozen=True)
class Law:
    """A law of one real random variable, known by its moments alone.

    Attributes:
        name: what it is called on a page.
        moment: ``moment(k)`` = E[z^k], exact.
        nodes: points with weights that reproduce the moments up to `degree`: the second route.
        degree: the highest power, per entry, that `nodes` integrates exactly.
    """

    name: str
    moment: Callable[[int], Fraction]
    nodes: Mapping[Fraction, Fraction]
    degree: int


def _normal_moment(k: int) -> Fraction:
    # E[z^k] = (k − 1) E[z^(k−2)], from Stein's identity E[f'(z)] = E[z f(z)] with f = z^(k−1)
    return Fraction(1) if k == 0 else Fraction(0) if k % 2 else (k - 1) * _normal_moment(k - 2)


STANDARD_NORMAL = Law(
    "standard normal",
    _normal_moment,
    # twelve integer points {0 six times, ±1 twice, ±2 once}: E z² = 1 and E z⁴ = 3
    {
        Fraction(0): Fraction(1, 2),
        Fraction(1): Fraction(1, 6),
        Fraction(-1): Fraction(1, 6),
        Fraction(2): Fraction(1, 12),
        Fraction(-2): Fraction(1, 12),
    },
    degree=5,
)
FAIR_SIGN = Law(
    "fair sign ±1 (right mean and variance, E z⁴ = 1)",
    lambda k: Fraction(1 - k % 2),
    {Fraction(1): Fraction(1, 2), Fraction(-1): Fraction(1, 2)},
    degree=10**6,
)


@dataclass(frozen=True)
class Definition:
    """``base[indices] := body``; a frozen one is a number already drawn: `Partial` passes it by."""

    base: sp.IndexedBase | sp.Symbol
    indices: tuple[sp.Symbol, ...]
    body: sp.Expr
    frozen: bool = False


@dataclass
class Setting:
    """What the symbols of some statements mean.

    Attributes:
        size: the symbol of the size that everything is claimed for, such as n.
        size_means: what it counts.
        families: name -> kind: "log" (real, its exponential is the indeterminate), "positive",
            "real", "random" (the family that `GaussianMean` averages over).
        definitions: name -> Definition.
        law: the law of each entry of the random family.
        parameters: the symbols that power series are in; only `Coefficient` may bind them.
    """

    size: sp.Symbol
    size_means: str
    families: dict[str, str] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    law: Law = STANDARD_NORMAL
    parameters: set[sp.Symbol] = field(default_factory=set)

    @staticmethod
    def of(size: str, size_means: str) -> Setting:
        """An empty setting over one size symbol."""
        return Setting(sp.Symbol(size, integer=True, positive=True), size_means)

    def family(self, name: str, kind: str, means: str = "") -> sp.IndexedBase:
        """Adds a family of indeterminates; kind is "log", "positive", "real" or "random"."""
        if kind not in {"log", "positive", "real", "random"}:
            raise DerivationError(f"family {name!r}: unknown kind {kind!r}")
        self._fresh(name)
        self.families[name] = kind
        self.meanings[name] = means
        return sp.IndexedBase(name, real=True)

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
        if name in self.families or name in self.definitions:
            raise DerivationError(f"{name!r} is defined twice in one setting")

    def sum(self, body: Any, *indices: sp.Symbol) -> sp.Expr:
        """Σ over the whole range of each index, outermost first."""
        for index in reversed(indices):
            body = sp.Sum(body, (index, 1, self.size))
        return sp.sympify(body)

    def changed(self, **changes: Any) -> Setting:
        """The same setting under a dropped assumption: another law, or other definitions."""
        definitions = dict(self.definitions)
        for name, body in changes.pop("define", {}).items():
            old = definitions[name]
            definitions[name] = Definition(old.base, old.indices, sp.sympify(body), old.frozen)
        return Setting(
            self.size,
            self.size_means,
            dict(self.families),
            dict(self.meanings),
            definitions,
            changes.pop("law", self.law),
            set(self.parameters),
        )


def bound(names: str) -> Any:
    """Fresh bound indices: dummies, so that no two derivations can share one by accident."""
    made = [sp.Dummy(name, integer=True) for name in names.split()]
    return made[0] if len(made) == 1 else made


def free(names: str) -> Any:
    """Free indices of a claim: it is made for every value of them."""
    return sp.symbols(names, integer=True)


def delta(i: Any, j: Any) -> sp.Expr:
    """The Kronecker delta of two indices in the range."""
    return sp.KroneckerDelta(i, j)


def binders(expr: sp.Basic) -> tuple[sp.Symbol, ...]:
    """The symbols bound by this node itself."""
    if isinstance(expr, sp.Sum):
        return tuple(limit[0] for limit in expr.limits)
    return expr.binds if isinstance(expr, _Node) else ()


def free_indices(expr: sp.Basic, setting: Setting) -> set[sp.Symbol]:
    """The free index and parameter symbols of a tree; raises on a capture.

    A symbol may not be bound twice on one path, nor be bound in one place and free in another:
    either is how a derivation goes wrong without anybody noticing.
    """
    seen_bound: set[sp.Symbol] = set()

    def walk(e: sp.Basic, scope: frozenset[sp.Symbol]) -> set[sp.Symbol]:
        if isinstance(e, sp.Symbol):
            known = e in scope or e == setting.size or e.name in setting.definitions
            return set() if known else {e}
        if isinstance(e, sp.Indexed):
            return set().union(*(walk(i, scope) for i in e.indices))
        if isinstance(e, sp.IndexedBase):
            return set()
        here = binders(e)
        for symbol in here:
            if symbol in scope:
                raise DerivationError(f"index {symbol} is bound twice, one inside the other")
        seen_bound.update(here)
        inner = scope | set(here)
        out: set[sp.Symbol] = set()
        if isinstance(e, sp.Sum):
            for _, low, high in e.limits:
                out |= walk(low, scope) | walk(high, scope)
            return out | walk(e.function, inner)
        for arg in e.args:
            out |= walk(arg, inner)
        return out

    found = walk(expr, frozenset())
    for symbol in found & seen_bound:
        raise DerivationError(f"index {symbol} is free in one place and bound in another")
    return found


def families_in(expr: sp.Basic, setting: Setting) -> set[str]:
    """The families that a tree depends on, through its definitions."""
    found: set[str] = set()
    visited: set[str] = set()

    def walk(e: sp.Basic) -> None:
        name = str(e.label) if isinstance(e, sp.IndexedBase) else getattr(e, "name", "")
        if name in setting.families:
            found.add(name)
        elif name in setting.definitions and name not in visited:
            visited.add(name)
            walk(setting.definitions[name].body)
        if not isinstance(e, sp.IndexedBase):
            for arg in e.args:
                walk(arg)

    walk(expr)
    return found
