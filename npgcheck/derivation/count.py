"""The ring over which the evaluator computes the bounds of the cutoff lemma instead of values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import sympy as sp

from npgcheck.derivation.language import OutOfClass
from npgcheck.derivation.values import Jet, LogLinear, vanishes

RANDOM = ("random",)  # the label that marks an unaveraged random number
Summed = Mapping[str, int]  # size -> how many indices are summed over it
Label = tuple[Any, ...]  # of an index: its last part is the size that it runs over


def _plus(a: Summed, b: Summed, times: int = 1) -> dict[str, int]:
    return {s: a.get(s, 0) + times * b.get(s, 0) for s in {**a, **b}}


def _most(a: Summed, b: Summed) -> dict[str, int]:
    return {s: max(a.get(s, 0), b.get(s, 0)) for s in {**a, **b}}


@dataclass(frozen=True)
class Factor:
    """A factor of a denominator.

    Attributes:
        power: how often it stands there.
        r: most summed indices in an expanded term of it.
        labels: the index labels in it.
        over: the sizes over which it was summed: one copy for each value of that index.
    """

    power: int
    r: Summed
    labels: frozenset[Label]
    over: tuple[str, ...] = ()


class Count:
    """A quotient, reduced to what the lemma asks about it.

    Attributes:
        key: canonical name of the expression; equal keys mean equal expressions.
        r: most summed indices of each size in an expanded term of the numerator.
        den: key -> Factor.
        labels: index labels, and `RANDOM`, that the expression depends on.
        positive: the numerator is a sum of positive terms or squares.
        unit: the numerator is a Laurent monomial in positive indeterminates.
        number: its value when it is a constant.
        height: how deep its sums are nested.
    """

    __slots__ = ("den", "height", "key", "labels", "number", "positive", "r", "ring", "unit")

    def __init__(
        self,
        ring: CountingRing,
        key: Hashable,
        r: Summed | None = None,
        den: Mapping[Hashable, Factor] | None = None,
        labels: frozenset[Label] = frozenset(),
        positive: bool = False,
        unit: bool = False,
        number: Fraction | None = None,
        height: int = 0,
    ) -> None:
        self.ring, self.key, self.r, self.den, self.labels = ring, key, r or {}, den or {}, labels
        self.positive, self.unit, self.number, self.height = positive, unit, number, height

    @staticmethod
    def constant(ring: CountingRing, value: Fraction | int) -> Count:
        number = Fraction(value)
        return Count(ring, ("c", number), positive=number > 0, unit=number > 0, number=number)

    def is_zero_element(self) -> bool:
        return self.number == 0

    def __add__(self, other: Count) -> Count:
        if self.is_zero_element():
            return other
        if other.is_zero_element():
            return self
        if self.number is not None and other.number is not None:
            return Count.constant(self.ring, self.number + other.number)
        common = dict(self.den)
        for key, factor in other.den.items():
            power = max(factor.power, common[key].power if key in common else 0)
            common[key] = replace(factor, power=power)
        return Count(
            self.ring,
            ("+", *sorted((self.key, other.key), key=repr)),
            _most(self._over(common), other._over(common)),
            common,
            self.labels | other.labels,
            positive=self.positive and other.positive,
            height=max(self.height, other.height),
        )

    def _over(self, common: Mapping[Hashable, Factor]) -> Summed:
        # multiplying by a missing factor adds its summed indices
        r = self.r
        for key, factor in common.items():
            missing = factor.power - (self.den[key].power if key in self.den else 0)
            r = _plus(r, factor.r, missing * self.ring.copies_of(factor.over))
        return r

    def __mul__(self, other: Count) -> Count:
        if self.is_zero_element() or other.is_zero_element():
            return Count.constant(self.ring, 0)
        if self.number is not None and other.number is not None:
            return Count.constant(self.ring, self.number * other.number)
        if self.number == 1:
            return other
        if other.number == 1:
            return self
        den = dict(self.den)
        for key, factor in other.den.items():
            power = factor.power + (den[key].power if key in den else 0)
            den[key] = replace(factor, power=power)
        return Count(
            self.ring,
            ("*", *sorted((self.key, other.key), key=repr)),
            _plus(self.r, other.r),
            den,
            self.labels | other.labels,
            positive=self.positive and other.positive,
            unit=self.unit and other.unit,
            height=max(self.height, other.height),
        )

    def __pow__(self, exponent: int) -> Count:
        base = self if exponent >= 0 else self._inverse()
        out = Count.constant(self.ring, 1)
        for _ in range(abs(exponent)):
            out = out * base
        if exponent % 2 == 0 and out.number is None and RANDOM not in out.labels:
            out.positive = True
        return out

    def _inverse(self) -> Count:
        if self.number:
            return Count.constant(self.ring, 1 / self.number)
        # D/N: the old denominator on top, the numerator below
        r: Summed = {}
        den: dict[Hashable, Factor]
        for factor in self.den.values():
            r = _plus(r, factor.r, factor.power * self.ring.copies_of(factor.over))
        key, den = ("inverse", self.key), {}
        if not self.unit:
            if not self.positive:
                raise OutOfClass("a denominator that is not a sum of positive terms")
            den = {("numerator", self.key): Factor(1, self.r, self.labels)}
        unit, height = not self.den, self.height
        return Count(self.ring, key, r, den, self.labels, positive=True, unit=unit, height=height)

    def closed(self, label: Label) -> Count:
        """The sum over the index of this label."""
        if self.is_zero_element():
            return self
        size, height = label[-1], self.height + 1
        # the label is renamed by the height of its sum: α-equivalent sums get equal keys
        new = ("#", height, size)
        den: dict[Hashable, Factor] = {}
        r = self.r
        for key, factor in self.den.items():
            if label not in factor.labels:
                den[key] = factor
                continue
            alone = {other for other in factor.labels if other[-1] == size} == {label}
            if not alone or factor.r.get(size, 0):
                raise OutOfClass(
                    "a denominator that ties the index of a sum around it to another index"
                )
            # Σ_s N_s/Z_s: the term of s is multiplied by the Z of all other values of s
            others = (self.ring.copies_of((size,)) - 1) * self.ring.copies_of(factor.over)
            r = _plus(r, factor.r, factor.power * others)
            over = tuple(sorted((*factor.over, size)))
            kept = replace(factor, labels=factor.labels - {label}, over=over)
            den[("for all", _rename(key, label, new))] = kept
        r = _plus(r, {size: 1})
        key = ("Σ", height, size, _rename(self.key, label, new))
        labels = self.labels - {label}
        return Count(self.ring, key, r, den, labels, self.positive, height=height)


class CountingRing:
    """Makes and closes `Count`s.

    Args:
        copies: how many values of an index a denominator under its sum is written out for.
    """

    drawn = 0

    def __init__(self, copies: Mapping[str, int]) -> None:
        self._fresh = itertools.count()
        self._copies = copies

    def copies_of(self, sizes: tuple[str, ...]) -> int:
        """How many copies of a denominator there are that was summed over these sizes."""
        out = 1
        for size in sizes:
            out *= self._copies[size]
        return out

    def const(self, value: Fraction) -> Count:
        return Count.constant(self, value)

    def size(self, size: sp.Symbol) -> Count:
        return Count(self, ("size", size.name), {size.name: 1}, positive=True)  # n = Σ_k 1

    def member(self, family: str, kind: str, slot: tuple[Any, ...]) -> LogLinear:
        zero, one = self.const(Fraction(0)), self.const(Fraction(1))
        if kind == "log":
            return LogLinear(zero, {("log", family, slot): one})
        return LogLinear(self._variable(family, slot, kind))

    def _variable(self, family: str, slot: tuple[Any, ...], kind: str) -> Count:
        labels = frozenset({*slot, RANDOM} if kind == "random" else slot)
        positive = kind == "positive"
        return Count(self, ("v", family, slot), labels=labels, positive=positive, unit=positive)

    def delta(self, i: Any, j: Any) -> Count:
        if i == j:
            return self.const(Fraction(1))
        return Count(self, ("δ", *sorted((i, j), key=repr)), labels=frozenset({i, j}))

    def total(self, body: Callable[[Any], Jet], size: sp.Symbol) -> Jet:
        label = ("k", next(self._fresh), size.name)
        jet = body(label)
        return Jet([self._close(entry, label) for entry in jet.entries], jet.shape)

    def _close(self, entry: LogLinear, label: Label) -> LogLinear:
        pure, logs = entry.pure, {}
        for key, c in entry.logs.items():
            if isinstance(key, tuple) and key[0] == "log" and label in key[2]:
                # θ_k under its own sum: one more member
                pure = pure + c * self._variable(f"log {key[1]}", key[2], "real")
            elif isinstance(key, tuple) and key[0] == "sum" and label in key[3]:
                raise OutOfClass("the logarithm of a sum that depends on the index of another")
            else:
                logs[key] = c.closed(label)
        return LogLinear(pure.closed(label), logs)

    def mean(self, body: Callable[[], Jet]) -> Jet:
        jet = body()
        return Jet([self._averaged(entry) for entry in jet.entries], jet.shape)

    def _averaged(self, entry: LogLinear) -> LogLinear:
        c = entry.pure
        if any(RANDOM in f.labels for f in c.den.values()) or any(
            RANDOM in x.labels for x in entry.logs.values()
        ):
            raise OutOfClass("a random number in a denominator or beside a logarithm")
        if vanishes(c):
            return entry
        labels = c.labels - {RANDOM}
        averaged = Count(self, ("mean", c.key), c.r, c.den, labels, height=c.height)
        return LogLinear(averaged, entry.logs)

    def exp(self, value: LogLinear) -> Count:
        if not value.pure.is_zero_element():
            raise OutOfClass("an exponential of something that is no combination of logarithms")
        out = self.const(Fraction(1))
        for key, c in value.logs.items():
            if not (isinstance(key, tuple) and key[0] == "log"):
                raise OutOfClass("an exponential of the logarithm of a sum")
            if c.number is None or c.number.denominator != 1:
                raise OutOfClass("an exponent that is not an integer combination of logarithms")
            out = out * self._variable(key[1], key[2], "positive") ** int(c.number)
        return out

    def log(self, value: Count) -> LogLinear:
        zero, one = self.const(Fraction(0)), self.const(Fraction(1))
        if isinstance(value.key, tuple) and value.key[0] == "v" and value.unit:
            return LogLinear(zero, {("log", *value.key[1:]): one})
        if value.number is not None and value.number > 0:
            return LogLinear(zero, {} if value.number == 1 else {("rational", value.key): one})
        if not value.positive or RANDOM in value.labels:
            raise OutOfClass("the logarithm of something other than a positive sum")
        logs = {_sum_key(value.key, value.r, value.labels): one}
        for key, f in value.den.items():
            if f.over:
                raise OutOfClass("the logarithm of something other than a positive sum")
            logs[_sum_key(key, f.r, f.labels)] = self.const(Fraction(-f.power))
        return LogLinear(zero, logs)

    def log_pi(self) -> LogLinear:
        return LogLinear(self.const(Fraction(0)), {"log pi": self.const(Fraction(1))})


def _sum_key(key: Hashable, r: Summed, labels: frozenset[Label]) -> Hashable:
    return ("sum", key, tuple(sorted(r.items())), tuple(sorted(labels, key=repr)))


def _rename(key: Any, old: Any, new: Any) -> Any:
    if key == old:
        return new
    return tuple(_rename(part, old, new) for part in key) if isinstance(key, tuple) else key
