"""The language of a derivation: SymPy trees with explicit indices.

SymPy writes these trees and prints them; it never decides whether an equation holds.
An expression may contain

* rational numbers, sums ``Sum(f, (k, 1, n))`` over the whole range, Kronecker deltas;
* members of a *family*, ``theta[k]`` or ``phi[a, i]``: one indeterminate per index value, or a
  function whose derivatives follow a declared rule;
* members of a *definition*, ``pi[a]``: a name for a tree, unfolded wherever a value is needed;
* ``exp``, ``log`` and integer powers, and the five nodes below (`Partial`, `Coefficient`,
  `Along`, `Expect`, `GaussianMean`), which SymPy has no safe counterpart for: its ``Derivative``
  of a named quantity is silently 0, and ``diff`` of a sum captures the bound index.

What the symbols mean is said by a `npgcheck.derivation.setting.Setting`.
"""

from __future__ import annotations

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


class Along(_Node):
    """``Along(f, theta[k], t, v)``: f where every θ_k is moved to θ_k + t·v, v a tree in k."""

    def __new__(cls, function: Any, member: Any, parameter: sp.Symbol, change: Any) -> Along:
        (index,) = member.indices
        parts = sp.sympify(function), member.base, index, parameter, sp.sympify(change)
        return super().__new__(cls, *parts)

    @property
    def binds(self) -> tuple[sp.Symbol, ...]:
        return (self.args[2],)


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


def bound(names: str) -> Any:
    """Fresh bound indices: dummies, so that no two derivations can share one by accident."""
    made = [sp.Dummy(name, integer=True) for name in names.split()]
    return made[0] if len(made) == 1 else made


def free(names: str) -> Any:
    """Free indices of a claim: it is made for every value of them."""
    return sp.symbols(names, integer=True)


def delta(i: Any, j: Any) -> sp.Expr:
    """The Kronecker delta of two indices in the same range."""
    return sp.KroneckerDelta(i, j)


def binders(expr: sp.Basic) -> tuple[sp.Symbol, ...]:
    """The symbols bound by this node itself."""
    if isinstance(expr, sp.Sum):
        return tuple(limit[0] for limit in expr.limits)
    return expr.binds if isinstance(expr, _Node) else ()
