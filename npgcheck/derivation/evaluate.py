"""One evaluator for every ring: a tree, a setting and index values in; a number out.

Derivatives are coefficients of power series: a derivative adds a parameter in which everything
under it is expanded, so nested derivatives are series in several parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import sympy as sp

from npgcheck.derivation.language import (
    Along,
    Coefficient,
    DerivationError,
    Expect,
    GaussianMean,
    OutOfClass,
    Partial,
)
from npgcheck.derivation.setting import Family, Setting, families_in
from npgcheck.derivation.values import Jet, LogLinear, Shape, chain_rule, monomials


class Ring(Protocol):
    """What the evaluator needs to know about numbers."""

    drawn: int  # inside a mean over points: which point; 0 elsewhere

    def const(self, value: Fraction) -> Any: ...
    def size(self, size: sp.Symbol) -> Any: ...
    def member(self, family: str, kind: str, slot: tuple[Any, ...]) -> LogLinear: ...
    def delta(self, i: Any, j: Any) -> Any: ...
    def total(self, body: Callable[[Any], Jet], size: sp.Symbol) -> Jet: ...
    def mean(self, body: Callable[[], Jet]) -> Jet: ...
    def exp(self, value: LogLinear) -> Any: ...
    def log(self, value: Any) -> LogLinear: ...
    def log_pi(self) -> LogLinear: ...


@dataclass(frozen=True)
class _Direction:
    """Where a derivative looks: a family member, or the parameter of a series."""

    order: int
    family: str = ""
    slot: tuple[Any, ...] = ()
    parameter: sp.Symbol | None = None


@dataclass(frozen=True)
class _Move:
    """A family whose members are displaced: θ_k + t·change, in the indices that are in scope."""

    family: str
    index: sp.Symbol
    parameter: sp.Symbol
    change: sp.Expr
    scope: tuple[tuple[sp.Symbol, Any], ...]


@dataclass(frozen=True)
class _At:
    """The directions in which everything is expanded, and the families that are displaced."""

    directions: tuple[_Direction, ...] = ()
    moves: tuple[_Move, ...] = ()

    @cached_property
    def shape(self) -> Shape:
        return tuple(d.order for d in self.directions)

    def unit(self, v: int) -> int:
        """The place of the entry t_v."""
        return monomials(self.shape).index(tuple(int(w == v) for w in range(len(self.shape))))

    def lowered(self, v: int) -> _At:
        d = self.directions[v]
        lower = (*self.directions[:v], replace(d, order=d.order - 1), *self.directions[v + 1 :])
        return replace(self, directions=lower)


_HERE = _At()


class Evaluator:
    """Evaluates trees of one setting over one ring.

    Args:
        ring: the numbers.
        setting: what the symbols mean.
    """

    def __init__(self, ring: Ring, setting: Setting) -> None:
        self.ring = ring
        self.setting = setting
        self._memo: dict[Any, Jet] = {}
        draws = {f for f, family in setting.families.items() if family.kind == "random"}
        bodies = {name: d.body for name, d in setting.definitions.items()} if draws else {}
        self._random = {n for n, body in bodies.items() if draws & families_in(body, setting)}
        self._random |= draws

    def value(self, expr: sp.Expr, indices: Mapping[sp.Symbol, Any]) -> LogLinear:
        """The value of a tree whose free indices have the given values."""
        return self._go(expr, dict(indices), _HERE).entries[0]

    # -- plumbing -------------------------------------------------------------------------
    def _constant(self, value: LogLinear, at: _At) -> Jet:
        if not at.directions:
            return Jet([value], ())
        zero = LogLinear(self.ring.const(Fraction(0)))
        return Jet([value, *([zero] * (len(monomials(at.shape)) - 1))], at.shape)

    def _number(self, value: Fraction, at: _At) -> Jet:
        return self._constant(LogLinear(self.ring.const(value)), at)

    def _index(self, symbol: Any, idx: Mapping[sp.Symbol, Any]) -> Any:
        if symbol not in idx:
            raise OutOfClass(f"{symbol} is not an index of the statement")
        return idx[symbol]

    def _go(self, e: sp.Expr, idx: dict[sp.Symbol, Any], at: _At) -> Jet:
        if e.is_Rational:
            return self._number(Fraction(int(e.p), int(e.q)), at)
        if isinstance(e, sp.Indexed):
            values = tuple(self._index(i, idx) for i in e.indices)
            return self._named(e.base.label.name, values, at)
        if e.is_Add or e.is_Mul:
            out = self._go(e.args[0], idx, at)
            for arg in e.args[1:]:
                term = self._go(arg, idx, at)
                out = out + term if e.is_Add else out * term
            return out
        if isinstance(e, sp.KroneckerDelta):
            i, j = (self._index(s, idx) for s in e.args[:2])
            return self._constant(LogLinear(self.ring.delta(i, j)), at)
        if isinstance(e, sp.exp):
            return self._go(e.args[0], idx, at).exponential(self.ring.exp, self.ring.const)
        if e.is_Pow and e.exp.is_Integer:
            return self._power(self._go(e.base, idx, at), int(e.exp), at)
        if isinstance(e, sp.Sum):
            return self._sum(e, idx, at)
        if isinstance(e, sp.log):
            return self._log(e.args[0], idx, at)
        if e in self.setting.sizes:
            return self._constant(LogLinear(self.ring.size(e)), at)
        if isinstance(e, sp.Symbol):
            if e.name in self.setting.definitions or e.name in self.setting.families:
                return self._named(e.name, (), at)
            return self._symbol(e, at)
        return self._node(e, idx, at)

    # -- names ----------------------------------------------------------------------------
    def _named(self, name: str, values: tuple[Any, ...], at: _At) -> Jet:
        # inside a mean over points, what is random depends on the point
        key = (name, values, at, self.ring.drawn if name in self._random else 0)
        if key in self._memo:
            return self._memo[key]
        if name in self.setting.definitions:
            jet = self._definition(name, values, at)
        elif name in self.setting.families:
            jet = self._member(name, values, at)
        else:
            raise DerivationError(f"{name!r} is neither a family nor a definition")
        self._memo[key] = jet
        return jet

    def _definition(self, name: str, values: tuple[Any, ...], at: _At) -> Jet:
        d = self.setting.definitions[name]
        if len(values) != len(d.indices):
            raise DerivationError(f"{name!r} takes {len(d.indices)} indices, got {len(values)}")
        inner = dict(zip(d.indices, values, strict=True))
        families = any(way.parameter is None for way in at.directions)
        if not d.frozen or not (families or at.moves):
            return self._go(d.body, inner, at)
        # a number already drawn: what moves families passes it by, a series parameter does not
        kept = tuple(replace(w, order=0 if w.parameter is None else w.order) for w in at.directions)
        found = self._go(d.body, inner, _At(kept))
        full = dict(zip(monomials(found.shape), found.entries, strict=True))
        zero = LogLinear(self.ring.const(Fraction(0)))
        return Jet([full.get(k, zero) for k in monomials(at.shape)], at.shape)

    def _member(self, name: str, values: tuple[Any, ...], at: _At) -> Jet:
        family = self.setting.families[name]
        if len(values) != len(family.sizes):
            raise DerivationError(f"{name!r} takes {len(family.sizes)} indices, got {len(values)}")
        slot = family.slot(values)
        jet = self._constant(self.ring.member(name, family.kind, slot), at)
        for v, way in enumerate(at.directions):
            if way.order and way.family == name:  # θ_k + t δ_{kb}
                change = self.ring.const(Fraction(1))
                for i, j in zip(slot, way.slot, strict=True):
                    change = change * self.ring.delta(i, j)
                jet.entries[at.unit(v)] = LogLinear(change)
        if family.slope is not None:
            jet = self._follow(family, values, jet, at)
        for move in at.moves:
            if move.family == name:
                inner = {**dict(move.scope), move.index: values[0]}
                rest = replace(at, moves=tuple(m for m in at.moves if m is not move))
                step = self._go(move.parameter * move.change, inner, rest)
                jet = jet + step
        return jet

    def _follow(self, family: Family, values: tuple[Any, ...], jet: Jet, at: _At) -> Jet:
        """The chain rule, for a family of functions: D f = Σ_p (∂f/∂θ_p) D θ_p."""
        assert family.slope is not None
        indices, argument, derivative = family.slope
        zero, const = LogLinear(self.ring.const(Fraction(0))), self.ring.const
        inner = dict(zip(indices, values, strict=True))
        for v, way in enumerate(at.directions):
            if not way.order:
                continue

            def term(p: Any, v: int = v) -> Jet:
                theta = self._named(family.of, (p,), at)
                g = self._go(derivative, {**inner, argument: p}, at.lowered(v))
                return chain_rule(g, theta, v, zero, const)

            if way.family == family.of:
                one = Jet([zero] * len(jet.entries), jet.shape)
                one.entries[at.unit(v)] = LogLinear(const(Fraction(1)))
                (p,) = way.slot
                g = self._go(derivative, {**inner, argument: p}, at.lowered(v))
                jet = jet + chain_rule(g, one, v, zero, const)
            elif self._can_move(family.of, way, at):
                size = self.setting.families[family.of].sizes[0]
                jet = jet + self.ring.total(term, size)
        return jet

    def _can_move(self, name: str, way: _Direction, at: _At) -> bool:
        """Whether a family changes along a direction: unmoved ones add no summed index."""
        if any(move.family == name and move.parameter == way.parameter for move in at.moves):
            return True
        if way.family == name:
            return True
        of = self.setting.families[name].of
        return bool(of) and self._can_move(of, way, at)

    # -- nodes ----------------------------------------------------------------------------
    def _power(self, base: Jet, exponent: int, at: _At) -> Jet:
        if exponent < 0:
            base = base.inverse(self.ring.const)
        out = base
        for _ in range(abs(exponent) - 1):
            out = out * base
        # a ring may know more about a power than about a product: that it is a square
        out.entries[0] = base.entries[0].power(abs(exponent))
        return out

    def _sum(self, e: sp.Sum, idx: dict[sp.Symbol, Any], at: _At) -> Jet:
        *inner, (symbol, low, high) = e.limits
        if low != 1 or high not in self.setting.sizes:
            raise OutOfClass(f"a sum over {low}..{high}, not over the whole range")
        body = sp.Sum(e.function, *inner) if inner else e.function
        return self._total(body, symbol, idx, at)

    def _total(self, body: sp.Expr, symbol: sp.Symbol, idx: dict[sp.Symbol, Any], at: _At) -> Jet:
        size = self.setting.range_of(symbol)
        return self.ring.total(lambda i: self._go(body, {**idx, symbol: i}, at), size)

    def _log(self, e: sp.Expr, idx: dict[sp.Symbol, Any], at: _At) -> Jet:
        # products, powers and exponentials come apart before a formal logarithm is made:
        # log(e^{θ_a} / Z) = θ_a − log Z
        name = e.base.label.name if isinstance(e, sp.Indexed) else getattr(e, "name", "")
        d = self.setting.definitions.get(name)
        if d is not None and not d.frozen:
            values = [self._index(i, idx) for i in getattr(e, "indices", ())]
            return self._log(d.body, dict(zip(d.indices, values, strict=True)), at)
        if e.is_Mul:
            out = self._log(e.args[0], idx, at)
            for arg in e.args[1:]:
                out = out + self._log(arg, idx, at)
            return out
        if isinstance(e, sp.exp):
            return self._go(e.args[0], idx, at)
        if e.is_Pow and e.exp.is_Integer:
            return self._log(e.base, idx, at) * self._number(Fraction(int(e.exp)), at)
        if e is sp.pi:
            return self._constant(self.ring.log_pi(), at)
        return self._go(e, idx, at).logarithm(self.ring.log, self.ring.const)

    def _symbol(self, e: sp.Symbol, at: _At) -> Jet:
        places = [v for v, way in enumerate(at.directions) if way.parameter == e]
        if not places:
            raise DerivationError(f"{e} stands where a number is needed")
        jet = self._number(Fraction(0), at)
        if at.directions[places[0]].order:
            jet.entries[at.unit(places[0])] = LogLinear(self.ring.const(Fraction(1)))
        return jet

    def _node(self, e: sp.Expr, idx: dict[sp.Symbol, Any], at: _At) -> Jet:
        if isinstance(e, Expect):
            body, symbol, law = e.args
            return self._total(law[symbol] * body, symbol, idx, at)
        if isinstance(e, GaussianMean):
            return self.ring.mean(lambda: self._go(e.args[0], idx, at))
        if isinstance(e, Along):
            body, base, index, parameter, change = e.args
            move = _Move(base.label.name, index, parameter, change, tuple(idx.items()))
            return self._go(body, idx, replace(at, moves=(*at.moves, move)))
        if isinstance(e, Partial):
            variable = e.args[1]
            name = variable.base.label.name
            family = self.setting.families.get(name)
            if family is None or family.symmetric:
                raise DerivationError(f"a derivative with respect to {variable}, not a family")
            slot = tuple(self._index(i, idx) for i in variable.indices)
            way, order = _Direction(1, name, slot), 1
        elif isinstance(e, Coefficient):
            way, order = _Direction(int(e.args[2]), parameter=e.args[1]), int(e.args[2])
        else:
            raise DerivationError(f"{type(e).__name__} has no value in this language")
        inside = replace(at, directions=(*at.directions, way))
        return self._go(e.args[0], idx, inside).last(order)
