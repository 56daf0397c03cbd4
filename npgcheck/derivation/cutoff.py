"""The cutoff lemma: which n are enough to prove an equation for every n.

Lemma. Let G_n be a finite sum of terms, each a rational coefficient times a product of Laurent
monomials in family members at indices i_1, …, i_f (free) and k_1, …, k_r (summed over 1..n),
times a weight that depends only on which of these indices are equal. Let N = f + r, or r + 1
when f = 0. If G_n = 0 identically for n = 1, …, N at every value of the free indices, then
G_n = 0 for every n ≥ 1.

Proof. Fix the values U of the free indices and sort the terms by which indices coincide. Blocks of
coinciding indices that carry a monomial other than 1, or a free index, must sit on the support of
the resulting monomial and on U, say w values together; the z other blocks take distinct values
anywhere else and are counted by (n−w)(n−w−1)…(n−w−z+1). By symmetry only the pattern of U and of
the support matters. So the coefficient of a given Laurent monomial is one polynomial in n for all
n ≥ w, of degree at most f + r − w. If w ≥ 1 it vanishes at the f + r − w + 1 integers w, …, f + r;
if w = 0 (then f = 0) at the r + 1 integers 1, …, r + 1. Hence everywhere. ∎

The case w = 0 is not pedantry: Σ_k 1 = 1 has f = 0, r = 1 and holds at n = 1.

An equation of quotients is multiplied by its common denominator first. A denominator must be
free of the index of every sum it stands under, and a sum of positive terms (so never zero). Means
over an independent random family replace a monomial by a weight of the admitted kind. At most one
logarithm of a sum, log Z, may remain; it is one more indeterminate for n ≥ 2, but log of a monomial
at n = 1, so then N grows by one and n = 2, …, N decide.

The bound is computed from the tree: the evaluator is run over the ring `Count` below, whose
elements say how many summed indices an expanded term can have.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from fractions import Fraction
from typing import Any

import sympy as sp

from npgcheck.derivation.evaluate import Evaluator
from npgcheck.derivation.language import OutOfClass, Setting
from npgcheck.derivation.values import Jet, LogLinear, vanishes

RANDOM = ("random",)  # the label that marks an unaveraged random number


class Count:
    """A quotient, reduced to what the lemma asks about it.

    Attributes:
        key: canonical name of the expression; equal keys mean equal expressions.
        r: most summed indices in an expanded term of the numerator.
        den: key -> (power, summed indices of the factor, labels in it).
        labels: index labels, and `RANDOM`, that the expression depends on.
        positive: the numerator is a sum of positive terms on the whole domain.
        unit: a Laurent monomial in positive indeterminates, which may be inverted.
        number: its value when it is a constant.
    """

    __slots__ = ("den", "height", "key", "labels", "number", "positive", "r", "unit")

    def __init__(
        self,
        key: Hashable,
        r: int = 0,
        den: dict[Hashable, tuple[int, int, frozenset[Any]]] | None = None,
        labels: frozenset[Any] = frozenset(),
        positive: bool = False,
        unit: bool = False,
        number: Fraction | None = None,
        height: int = 0,
    ) -> None:
        self.key, self.r, self.den, self.labels = key, r, den or {}, labels
        self.positive, self.unit, self.number, self.height = positive, unit, number, height

    @staticmethod
    def constant(value: Fraction) -> Count:
        return Count(("c", value), positive=value > 0, unit=value > 0, number=value)

    def is_zero_element(self) -> bool:
        return self.number == 0

    def __add__(self, other: Count) -> Count:
        if self.is_zero_element():
            return other
        if other.is_zero_element():
            return self
        if self.number is not None and other.number is not None:
            return Count.constant(self.number + other.number)
        common = dict(self.den)
        for key, (power, r, labels) in other.den.items():
            common[key] = (max(power, common[key][0] if key in common else 0), r, labels)
        return Count(
            ("+", *sorted((self.key, other.key), key=repr)),
            max(self._over(common), other._over(common)),
            common,
            self.labels | other.labels,
            positive=self.positive and other.positive,
            height=max(self.height, other.height),
        )

    def _over(self, common: dict[Hashable, tuple[int, int, frozenset[Any]]]) -> int:
        # multiplying by a missing factor adds its summed indices
        have = {key: power for key, (power, _, _) in self.den.items()}
        return self.r + sum((p - have.get(key, 0)) * r for key, (p, r, _) in common.items())

    def __mul__(self, other: Count) -> Count:
        if self.is_zero_element() or other.is_zero_element():
            return Count.constant(Fraction(0))
        if self.number is not None and other.number is not None:
            return Count.constant(self.number * other.number)
        if self.number == 1:
            return other
        if other.number == 1:
            return self
        den = dict(self.den)
        for key, (power, r, labels) in other.den.items():
            den[key] = (power + (den[key][0] if key in den else 0), r, labels)
        return Count(
            ("*", *sorted((self.key, other.key), key=repr)),
            self.r + other.r,
            den,
            self.labels | other.labels,
            positive=self.positive and other.positive,
            unit=self.unit and other.unit,
            height=max(self.height, other.height),
        )

    def __pow__(self, exponent: int) -> Count:
        base = self if exponent >= 0 else self._inverse()
        out = Count.constant(Fraction(1))
        for _ in range(abs(exponent)):
            out = out * base
        return out

    def _inverse(self) -> Count:
        if self.number:
            return Count.constant(1 / self.number)
        key = ("inverse", self.key)
        if self.unit and not self.den:
            return Count(key, 0, {}, self.labels, positive=True, unit=True, height=self.height)
        if not self.positive:
            raise OutOfClass("a denominator that is not a sum of positive terms")
        # D/N: the old denominator on top, the numerator below
        r = sum(power * r for power, r, _ in self.den.values())
        den: dict[Hashable, tuple[int, int, frozenset[Any]]] = {
            ("numerator", self.key): (1, self.r, self.labels)
        }
        return Count(key, r, den, self.labels, positive=True, height=self.height)


class CountingRing:
    """The ring over which the evaluator computes bounds instead of values."""

    def __init__(self) -> None:
        self._fresh = itertools.count()

    def const(self, value: Fraction) -> Count:
        return Count.constant(value)

    def size(self) -> Count:
        return Count(("n",), r=1, positive=True)  # n = Σ_k 1

    def member(self, family: str, kind: str, index: Any) -> LogLinear:
        zero, one = Count.constant(Fraction(0)), Count.constant(Fraction(1))
        if kind == "log":
            return LogLinear(zero, {("log", family, index): one})
        return LogLinear(self._variable(family, index, kind))

    @staticmethod
    def _variable(family: str, index: Any, kind: str) -> Count:
        labels = frozenset({index, RANDOM} if kind == "random" else {index})
        positive = kind == "positive"
        return Count(("v", family, index), labels=labels, positive=positive, unit=positive)

    def delta(self, i: Any, j: Any) -> Count:
        if i == j:
            return Count.constant(Fraction(1))
        return Count(("δ", *sorted((i, j), key=repr)), labels=frozenset({i, j}))

    def total(self, body: Callable[[Any], Jet], order: int) -> Jet:
        label = ("k", next(self._fresh))
        return Jet([self._close(entry, label) for entry in body(label).entries])

    def _close(self, entry: LogLinear, label: Any) -> LogLinear:
        pure, logs = entry.pure, {}
        for key, c in entry.logs.items():
            if isinstance(key, tuple) and label in key:  # θ_k under its own sum: one more member
                pure = pure + c * self._variable(f"{key[0]} {key[1]}", label, "real")
            else:
                logs[key] = self._close_count(c, label)
        return LogLinear(self._close_count(pure, label), logs)

    @staticmethod
    def _close_count(body: Count, label: Any) -> Count:
        if body.is_zero_element():
            return body
        if any(label in labels for _, _, labels in body.den.values()):
            raise OutOfClass("a denominator that depends on the index of a sum around it")
        # the label is renamed by the height of its sum: α-equivalent sums get equal keys
        height = body.height + 1
        key = ("Σ", height, _rename(body.key, label, ("#", height)))
        return Count(key, body.r + 1, body.den, body.labels - {label}, body.positive, height=height)

    def mean(self, body: Callable[[], Jet]) -> Jet:
        return Jet([self._averaged(entry) for entry in body().entries])

    @staticmethod
    def _averaged(entry: LogLinear) -> LogLinear:
        c = entry.pure
        if any(RANDOM in labels for _, _, labels in c.den.values()) or any(
            RANDOM in x.labels for x in entry.logs.values()
        ):
            raise OutOfClass("a random number in a denominator or beside a logarithm")
        if vanishes(c):
            return entry
        averaged = Count(("mean", c.key), c.r, c.den, c.labels - {RANDOM}, height=c.height)
        return LogLinear(averaged, entry.logs)

    def exp(self, value: LogLinear) -> Count:
        if not value.pure.is_zero_element():
            raise OutOfClass("an exponential of something that is no combination of logarithms")
        out = Count.constant(Fraction(1))
        for key, c in value.logs.items():
            if not (isinstance(key, tuple) and key[0] == "log"):
                raise OutOfClass("an exponential of the logarithm of a sum")
            if c.number is None or c.number.denominator != 1:
                raise OutOfClass("an exponent that is not an integer combination of logarithms")
            out = out * self._variable(key[1], key[2], "positive") ** int(c.number)
        return out

    def log(self, value: Count) -> LogLinear:
        zero, one = Count.constant(Fraction(0)), Count.constant(Fraction(1))
        if isinstance(value.key, tuple) and value.key[0] == "v" and value.unit:
            return LogLinear(zero, {("log", *value.key[1:]): one})
        if value.number is not None and value.number > 0:
            return LogLinear(zero, {} if value.number == 1 else {("rational", value.key): one})
        if value.labels or not value.positive or any(ls for _, _, ls in value.den.values()):
            raise OutOfClass("the logarithm of something other than a closed positive sum")
        logs: dict[Hashable, Any] = {("sum", value.key): one}
        for key, (power, _, _) in value.den.items():
            logs[("sum", key)] = Count.constant(Fraction(-power))
        return LogLinear(zero, logs)

    def log_pi(self) -> LogLinear:
        return LogLinear(Count.constant(Fraction(0)), {"log pi": Count.constant(Fraction(1))})


def _rename(key: Any, old: Any, new: Any) -> Any:
    if key == old:
        return new
    return tuple(_rename(part, old, new) for part in key) if isinstance(key, tuple) else key


def bound_of(lhs: sp.Expr, rhs: sp.Expr, setting: Setting, free: tuple[sp.Symbol, ...]) -> int:
    """The N of the lemma for ``lhs = rhs``; raises `OutOfClass` when it does not apply."""
    evaluator = Evaluator(CountingRing(), setting)
    indices = {symbol: ("free", symbol.name) for symbol in free}
    minus = LogLinear(Count.constant(Fraction(-1)))
    left, right = evaluator.value(lhs, indices), evaluator.value(rhs, indices) * minus
    sums = {key for key in {**left.logs, **right.logs} if _is_sum(key)}
    if len(sums) > 1:
        raise OutOfClass("logarithms of two different sums")
    # everything over one common denominator, each logarithm counting as one more indeterminate
    whole = left.pure + right.pure
    for part in (left, right):
        for key, c in part.logs.items():
            whole = whole + c * Count(("v", key))
    return max(1, len(free) + whole.r + (not free) + len(sums))


def _is_sum(key: Hashable) -> bool:
    return isinstance(key, tuple) and key[0] == "sum"
