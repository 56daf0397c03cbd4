"""The rings that a derivation is evaluated in: rational functions, exact points, floats.

`FunctionRing` (FLINT polynomials) decides identities; `PointRing` (Python fractions, logarithms
over the primes) is a second exact route that shares no arithmetic with it; `FloatRing` is for
bridges to numerical code and for telling whether a mutation changes anything at all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Hashable, Mapping
from fractions import Fraction
from typing import Any

import flint
import sympy as sp

from npgcheck.derivation.language import OutOfClass
from npgcheck.derivation.setting import Setting
from npgcheck.derivation.values import Jet, LogLinear

_Key = Hashable
_Slot = tuple[str, tuple[int, ...]]  # a family member: (family, indices)


class Ratio:
    """A rational function: a FLINT polynomial over a product of recorded factors.

    Nothing is cancelled: a numerator that is zero is what is asked for, and gcds cost time.
    """

    __slots__ = ("den", "num")

    def __init__(self, num: Any, den: dict[str, tuple[Any, int]] | None = None) -> None:
        self.num = num
        self.den = den or {}

    def is_zero_element(self) -> bool:
        return len(self.num) == 0

    def _over(self, common: Mapping[str, tuple[Any, int]]) -> Any:
        num = self.num
        for key, (factor, power) in common.items():
            missing = power - (self.den[key][1] if key in self.den else 0)
            if missing:
                num = num * factor**missing
        return num

    def __add__(self, other: Ratio) -> Ratio:
        if self.is_zero_element():
            return other
        if other.is_zero_element():
            return self
        common = dict(self.den)
        for key, (factor, power) in other.den.items():
            common[key] = (factor, max(power, common[key][1] if key in common else 0))
        return Ratio(self._over(common) + other._over(common), common)

    def __mul__(self, other: Ratio) -> Ratio:
        num = self.num * other.num
        if len(num) == 0:
            return Ratio(num)
        den = dict(self.den)
        for key, (factor, power) in other.den.items():
            den[key] = (factor, power + (den[key][1] if key in den else 0))
        return Ratio(num, den)

    def __pow__(self, exponent: int) -> Ratio:
        if exponent < 0:
            return self._inverse() ** -exponent
        out = Ratio(self.num**0)
        for _ in range(exponent):
            out = out * self
        return out

    def _inverse(self) -> Ratio:
        if self.is_zero_element():
            raise ZeroDivisionError("the inverse of zero")
        num = self.num**0
        for factor, power in self.den.values():
            num = num * factor**power
        return Ratio(num, {str(self.num): (self.num, 1)})


class FunctionRing:
    """ℚ(x_1, …, x_n, …): every family member is an independent indeterminate.

    A "log" family θ contributes x_k = e^{θ_k} as an indeterminate and θ_k itself as a formal
    logarithm; θ and e^θ are algebraically independent, so nothing is lost.

    Args:
        families: those that occur: each indeterminate costs time.
    """

    drawn = 0

    def __init__(
        self, setting: Setting, sizes: Mapping[sp.Symbol, int], families: Collection[str]
    ) -> None:
        self.setting, self.sizes = setting, sizes
        self._names = [slot for slot in setting.members(sizes) if slot[0] in families]
        labels = [f"g{i}" for i in range(len(self._names))] or ["g"]
        self._ctx = flint.fmpq_mpoly_ctx.get(labels, flint.Ordering.lex)
        self._gen = dict(zip(self._names, self._ctx.gens(), strict=False))
        self._random = [
            i for i, (f, _) in enumerate(self._names) if setting.families[f].kind == "random"
        ]

    def const(self, value: Fraction) -> Ratio:
        return Ratio(self._ctx.constant(flint.fmpq(value.numerator, value.denominator)))

    def size(self, size: sp.Symbol) -> Ratio:
        return self.const(Fraction(self.sizes[size]))

    def member(self, family: str, kind: str, slot: tuple[int, ...]) -> LogLinear:
        if kind == "log":
            one = self.const(Fraction(1))
            return LogLinear(self.const(Fraction(0)), {("log", family, slot): one})
        return LogLinear(Ratio(self._gen[(family, slot)]))

    def delta(self, i: int, j: int) -> Ratio:
        return self.const(Fraction(int(i == j)))

    def total(self, body: Callable[[int], Jet], size: sp.Symbol) -> Jet:
        return _add_up(body, range(1, self.sizes[size] + 1))

    def mean(self, body: Callable[[], Jet]) -> Jet:
        jet = body()
        if any(
            entry.logs and self._has_random(c) for entry in jet.entries for c in entry.logs.values()
        ):
            raise OutOfClass("a mean of a logarithm times a random number")
        averaged = [LogLinear(self._mean(entry.pure), entry.logs) for entry in jet.entries]
        return Jet(averaged, jet.shape)

    def _has_random(self, c: Ratio) -> bool:
        return any(p[i] for p in c.num.to_dict() for i in self._random)

    def _mean(self, value: Ratio) -> Ratio:
        if any(f.to_dict() and self._has_random(Ratio(f)) for f, _ in value.den.values()):
            raise OutOfClass("a random number in a denominator")
        law = self.setting.law
        out: dict[Any, Any] = {}
        for powers, c in value.num.to_dict().items():
            weight = Fraction(1)
            for i in self._random:
                if powers[i] > law.degree:
                    raise OutOfClass(f"a moment above order {law.degree}")
                weight *= law.moment(int(powers[i]))
            if weight:
                key = tuple(0 if i in self._random else p for i, p in enumerate(powers))
                scaled = c * flint.fmpq(weight.numerator, weight.denominator)
                out[key] = out.get(key, flint.fmpq(0)) + scaled
        return Ratio(self._ctx.from_dict(out), value.den)

    def exp(self, value: LogLinear) -> Ratio:
        if not value.pure.is_zero_element():
            raise OutOfClass("an exponential of something that is no combination of logarithms")
        out = self.const(Fraction(1))
        for key, c in value.logs.items():
            if not (isinstance(key, tuple) and key[0] == "log"):
                raise OutOfClass("an exponential of the logarithm of a sum")
            power = _integer(c.num.to_dict() if not c.den else {}, len(self._names) or 1)
            out = out * Ratio(self._gen[(key[1], key[2])]) ** power
        return out

    def log(self, value: Ratio) -> LogLinear:
        one = self.const(Fraction(1))
        if value.den:  # log(N / Π f^p) = log N − Σ p log f
            out = self.log(Ratio(value.num))
            for factor, power in value.den.values():
                minus = LogLinear(self.const(Fraction(-power)))
                out = out + self.log(Ratio(factor)) * minus
            return out
        terms = value.num.to_dict()
        if len(terms) == 1:
            ((powers, c),) = terms.items()
            if c == 1:
                logs: dict[_Key, Any] = {
                    ("log", *self._names[i]): self.const(Fraction(int(p)))
                    for i, p in enumerate(powers)
                    if p
                }
                return LogLinear(self.const(Fraction(0)), logs)
            if not any(powers):
                return _prime_logs(Fraction(int(c.p), int(c.q)), self.const)
        return LogLinear(self.const(Fraction(0)), {("sum", str(value.num)): one})

    def log_pi(self) -> LogLinear:
        return LogLinear(self.const(Fraction(0)), {"log pi": self.const(Fraction(1))})


def _integer(terms: Mapping[tuple[int, ...], Any], width: int) -> int:
    if set(terms) == {(0,) * width} and terms[(0,) * width].q == 1:
        return int(terms[(0,) * width].p)
    raise OutOfClass("an exponent that is not an integer combination of logarithms")


def _add_up(body: Callable[[int], Jet], values: range) -> Jet:
    total = body(values[0])
    for i in values[1:]:
        total = total + body(i)
    return total


def _prime_logs(value: Fraction, const: Callable[[Fraction], Any]) -> LogLinear:
    if value <= 0:
        raise OutOfClass("the logarithm of a number that is not positive")
    logs: dict[_Key, Any] = {}
    for part, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime, power in flint.fmpz(part).factor():
            key = ("prime", int(prime))
            logs[key] = logs.get(key, const(Fraction(0))) + const(Fraction(sign * int(power)))
    return LogLinear(const(Fraction(0)), logs)


class _Points:
    """Family members are given numbers; random ones run over the nodes of their law."""

    def __init__(
        self, setting: Setting, sizes: Mapping[sp.Symbol, int], members: Mapping[_Slot, Any]
    ) -> None:
        self.setting, self.sizes, self.members = setting, sizes, members
        self.drawn = 0
        self._drawn: dict[_Slot, Fraction] = {}

    def total(self, body: Callable[[int], Jet], size: sp.Symbol) -> Jet:
        return _add_up(body, range(1, self.sizes[size] + 1))

    def const(self, value: Fraction) -> Any:
        return value

    def size(self, size: sp.Symbol) -> Any:
        return self.const(Fraction(self.sizes[size]))

    def delta(self, i: int, j: int) -> Any:
        return self.const(Fraction(int(i == j)))

    def mean(self, body: Callable[[], Jet]) -> Jet:
        families = self.setting.families
        slots = [s for s in self.setting.members(self.sizes) if families[s[0]].kind == "random"]
        nodes, total = self.setting.law.nodes, None
        for number, values in enumerate(itertools.product(nodes, repeat=len(slots)), start=1):
            self.drawn = number
            self._drawn = dict(zip(slots, values, strict=True))
            weight = self.const(math.prod((nodes[v] for v in values), start=Fraction(1)))
            drawn = body()
            jet = Jet([entry * LogLinear(weight) for entry in drawn.entries], drawn.shape)
            total = jet if total is None else total + jet
        self.drawn, self._drawn = 0, {}
        if total is None:
            raise OutOfClass("a law without nodes")
        return total

    def _draw(self, family: str, slot: tuple[int, ...]) -> Any:
        # outside of a mean a random number is any number
        return self._drawn.get((family, slot), self.members[(family, slot)])


class PointRing(_Points):
    """Exact rationals; a "log" family is given by its exponentials, θ_k = log q_k."""

    def member(self, family: str, kind: str, slot: tuple[int, ...]) -> LogLinear:
        if kind == "random":
            return LogLinear(self._draw(family, slot))
        value = self.members[(family, slot)]
        return _prime_logs(value, self.const) if kind == "log" else LogLinear(value)

    def exp(self, value: LogLinear) -> Fraction:
        if value.pure != 0:
            raise OutOfClass("an exponential that is not rational")
        out = Fraction(1)
        for key, c in value.logs.items():
            if not (isinstance(key, tuple) and c.denominator == 1):
                raise OutOfClass("an exponential that is not rational")
            out *= Fraction(key[1]) ** int(c)
        return out

    def log(self, value: Fraction) -> LogLinear:
        return _prime_logs(value, self.const)

    def log_pi(self) -> LogLinear:
        return LogLinear(Fraction(0), {"log pi": Fraction(1)})


class FloatRing(_Points):
    """Floats (or autograd's boxes, when `xp` is autograd.numpy): no formal logarithms."""

    def __init__(
        self,
        setting: Setting,
        sizes: Mapping[sp.Symbol, int],
        members: Mapping[_Slot, Any],
        xp: Any = math,
    ) -> None:
        super().__init__(setting, sizes, members)
        self._xp = xp

    def const(self, value: Fraction) -> float:
        return float(value)

    def member(self, family: str, kind: str, slot: tuple[int, ...]) -> LogLinear:
        if kind == "random":
            drawn = self._draw(family, slot)
            return LogLinear(float(drawn) if isinstance(drawn, Fraction) else drawn)
        return LogLinear(self.members[(family, slot)])

    def exp(self, value: LogLinear) -> Any:
        return self._xp.exp(value.pure)

    def log(self, value: Any) -> LogLinear:
        return LogLinear(self._xp.log(value))

    def log_pi(self) -> LogLinear:
        return LogLinear(math.log(math.pi))
