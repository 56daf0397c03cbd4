"""One evaluator for every ring: a tree, a setting and index values in; a number out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import sympy as sp

from npgcheck.derivation.language import (
    Coefficient,
    DerivationError,
    Expect,
    GaussianMean,
    OutOfClass,
    Partial,
    Setting,
)
from npgcheck.derivation.values import Jet, LogLinear


class Ring(Protocol):
    """What the evaluator needs to know about numbers."""

    def const(self, value: Fraction) -> Any: ...
    def size(self) -> Any: ...
    def member(self, family: str, kind: str, index: Any) -> LogLinear: ...
    def delta(self, i: Any, j: Any) -> Any: ...
    def total(self, body: Callable[[Any], Jet], order: int) -> Jet: ...
    def mean(self, body: Callable[[], Jet]) -> Jet: ...
    def exp(self, value: LogLinear) -> Any: ...
    def log(self, value: Any) -> LogLinear: ...
    def log_pi(self) -> LogLinear: ...


@dataclass(frozen=True)
class _Direction:
    """Where a derivative looks: a family member, or the parameter of a series."""

    order: int = 0
    family: str = ""
    index: Any = None
    parameter: sp.Symbol | None = None


_HERE = _Direction()


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
        self._depth = 0  # inside a mean, values depend on the point drawn: nothing is remembered

    def value(self, expr: sp.Expr, indices: Mapping[sp.Symbol, Any]) -> LogLinear:
        """The value of a tree whose free indices have the given values."""
        return self._go(expr, dict(indices), _HERE).entries[0]

    # -- plumbing -------------------------------------------------------------------------
    def _constant(self, value: LogLinear, order: int) -> Jet:
        zero = LogLinear(self.ring.const(Fraction(0)))
        return Jet([value, *([zero] * order)])

    def _number(self, value: Fraction, order: int) -> Jet:
        return self._constant(LogLinear(self.ring.const(value)), order)

    def _index(self, symbol: Any, idx: Mapping[sp.Symbol, Any]) -> Any:
        if symbol not in idx:
            raise OutOfClass(f"{symbol} is not an index of the statement")
        return idx[symbol]

    def _go(self, e: sp.Expr, idx: dict[sp.Symbol, Any], at: _Direction) -> Jet:
        if e.is_Rational:
            return self._number(Fraction(int(e.p), int(e.q)), at.order)
        if isinstance(e, sp.Indexed):
            return self._indexed(e, idx, at)
        if e.is_Add or e.is_Mul:
            out = self._go(e.args[0], idx, at)
            for arg in e.args[1:]:
                term = self._go(arg, idx, at)
                out = out + term if e.is_Add else out * term
            return out
        if isinstance(e, sp.KroneckerDelta):
            i, j = (self._index(s, idx) for s in e.args[:2])
            return self._constant(LogLinear(self.ring.delta(i, j)), at.order)
        if isinstance(e, sp.exp):
            return self._go(e.args[0], idx, at).exponential(self.ring.exp, self.ring.const)
        if e.is_Pow and e.exp.is_Integer:
            return self._power(self._go(e.base, idx, at), int(e.exp), at.order)
        if isinstance(e, sp.Sum):
            return self._sum(e, idx, at)
        if isinstance(e, sp.log):
            return self._log(e.args[0], idx, at)
        if e == self.setting.size:
            return self._constant(LogLinear(self.ring.size()), at.order)
        if isinstance(e, sp.Symbol):
            if e.name in self.setting.definitions:
                return self._definition(e.name, (), at)
            return self._symbol(e, at)
        return self._node(e, idx, at)

    # -- nodes ----------------------------------------------------------------------------
    def _power(self, base: Jet, exponent: int, order: int) -> Jet:
        if exponent < 0:
            base = base.inverse(self.ring.const)
        out = self._number(Fraction(1), order)
        for _ in range(abs(exponent)):
            out = out * base
        return out

    def _indexed(self, e: sp.Indexed, idx: dict[sp.Symbol, Any], at: _Direction) -> Jet:
        name = str(e.base.label)
        values = tuple(self._index(i, idx) for i in e.indices)
        if name in self.setting.definitions:
            return self._definition(name, values, at)
        if name not in self.setting.families:
            raise DerivationError(f"{name!r} is neither a family nor a definition")
        (index,) = values
        jet = self._constant(self.ring.member(name, self.setting.families[name], index), at.order)
        if at.order and at.family == name:  # θ_k + t δ_{kb}
            jet.entries[1] = LogLinear(self.ring.delta(index, at.index))
        return jet

    def _definition(self, name: str, values: tuple[Any, ...], at: _Direction) -> Jet:
        key = (name, values, at)
        if self._depth == 0 and key in self._memo:
            return self._memo[key]
        d = self.setting.definitions[name]
        if len(values) != len(d.indices):
            raise DerivationError(f"{name!r} takes {len(d.indices)} indices, got {len(values)}")
        inner = dict(zip(d.indices, values, strict=True))
        if d.frozen and at.family:
            jet = self._constant(self._go(d.body, inner, _HERE).entries[0], at.order)
        else:
            jet = self._go(d.body, inner, at)
        if self._depth == 0:
            self._memo[key] = jet
        return jet

    def _sum(self, e: sp.Sum, idx: dict[sp.Symbol, Any], at: _Direction) -> Jet:
        *inner, (symbol, low, high) = e.limits
        if low != 1 or high != self.setting.size:
            raise OutOfClass(f"a sum over {low}..{high}, not over the whole range")
        body = sp.Sum(e.function, *inner) if inner else e.function
        return self._total(body, symbol, idx, at)

    def _total(
        self, body: sp.Expr, symbol: sp.Symbol, idx: dict[sp.Symbol, Any], at: _Direction
    ) -> Jet:
        return self.ring.total(lambda i: self._go(body, {**idx, symbol: i}, at), at.order)

    def _log(self, e: sp.Expr, idx: dict[sp.Symbol, Any], at: _Direction) -> Jet:
        # products, powers and exponentials come apart before a formal logarithm is made:
        # log(e^{θ_a} / Z) = θ_a − log Z
        name = str(e.base.label) if isinstance(e, sp.Indexed) else getattr(e, "name", "")
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
            return self._log(e.base, idx, at) * self._number(Fraction(int(e.exp)), at.order)
        if e is sp.pi:
            return self._constant(self.ring.log_pi(), at.order)
        return self._go(e, idx, at).logarithm(self.ring.log, self.ring.const)

    def _symbol(self, e: sp.Symbol, at: _Direction) -> Jet:
        if e != at.parameter:
            raise DerivationError(f"{e} stands where a number is needed")
        jet = self._number(Fraction(0), at.order)
        if at.order:
            jet.entries[1] = LogLinear(self.ring.const(Fraction(1)))
        return jet

    def _node(self, e: sp.Expr, idx: dict[sp.Symbol, Any], at: _Direction) -> Jet:
        if isinstance(e, Expect):
            body, symbol, law = e.args
            return self._total(law[symbol] * body, symbol, idx, at)
        if isinstance(e, GaussianMean):
            self._depth += 1
            try:
                return self.ring.mean(lambda: self._go(e.args[0], idx, at))
            finally:
                self._depth -= 1
        if at.order:
            raise OutOfClass("a derivative inside a derivative")
        if isinstance(e, Partial):
            variable = e.args[1]
            family = str(variable.base.label)
            if family not in self.setting.families:
                raise DerivationError(f"a derivative with respect to {variable}, not a family")
            index = self._index(variable.indices[0], idx)
            jet = self._go(e.args[0], idx, _Direction(1, family, index))
            return Jet([jet.entries[1]])
        if isinstance(e, Coefficient):
            order = int(e.args[2])
            jet = self._go(e.args[0], idx, _Direction(order, parameter=e.args[1]))
            return Jet([jet.entries[order]])
        raise DerivationError(f"{type(e).__name__} has no value in this language")
