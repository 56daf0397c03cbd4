"""Numbers of a derivation: truncated power series whose entries are linear in logarithms.

One evaluator serves four coefficient rings (rational functions, rationals, floats and the
counting ring of the cutoff lemma). A ring element needs ``+ - *`` and integer powers only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from npgcheck.derivation.language import OutOfClass


def vanishes(element: Any) -> bool:
    """Whether a ring element is exactly zero."""
    test = getattr(element, "is_zero_element", None)
    return bool(test()) if test is not None else bool(element == 0)


class LogLinear:
    """``pure + Σ coefficient · log(key)``, with the logarithms as formal symbols.

    Two of these are equal when all coefficients are. That is sound always, and complete for
    the keys used here: distinct primes, or θ_k beside e^{θ_k}.
    """

    __slots__ = ("logs", "pure")

    def __init__(self, pure: Any, logs: Mapping[Hashable, Any] | None = None) -> None:
        self.pure = pure
        self.logs = {k: c for k, c in logs.items() if not vanishes(c)} if logs else {}

    def __add__(self, other: LogLinear) -> LogLinear:
        if not self.logs and not other.logs:
            return LogLinear(self.pure + other.pure)
        logs = dict(self.logs)
        for key, c in other.logs.items():
            logs[key] = logs[key] + c if key in logs else c
        return LogLinear(self.pure + other.pure, logs)

    def __mul__(self, other: LogLinear) -> LogLinear:
        if not self.logs and not other.logs:
            return LogLinear(self.pure * other.pure)
        if self.logs and other.logs:
            raise OutOfClass("a product of two logarithms")
        one, two = (self, other) if self.logs else (other, self)
        return LogLinear(one.pure * two.pure, {k: c * two.pure for k, c in one.logs.items()})

    def scaled(self, factor: Fraction, const: Callable[[Fraction], Any]) -> LogLinear:
        return self * LogLinear(const(factor))

    def power(self, exponent: int) -> LogLinear:
        if self.logs:
            raise OutOfClass("a power of a logarithm")
        return LogLinear(self.pure**exponent)

    def vanishes(self) -> bool:
        return vanishes(self.pure) and not self.logs


Shape = tuple[int, ...]


@lru_cache
def monomials(shape: Shape) -> tuple[Shape, ...]:
    """The exponents of a series of this shape, in the order of its entries."""
    return tuple(itertools.product(*(range(order + 1) for order in shape)))


@lru_cache
def _splits(shape: Shape) -> tuple[tuple[tuple[int, int, Shape], ...], ...]:
    """For each exponent k: (place of j, place of k − j, j) for all j ≤ k."""
    places = {k: i for i, k in enumerate(monomials(shape))}

    def below(k: Shape) -> Iterator[tuple[int, int, Shape]]:
        for j in itertools.product(*(range(top + 1) for top in k)):
            yield places[j], places[tuple(a - b for a, b in zip(k, j, strict=True))], j

    return tuple(tuple(below(k)) for k in monomials(shape))


def leading(k: Shape) -> int:
    """The first parameter in which an exponent is positive: the one to differentiate by."""
    return next(v for v, power in enumerate(k) if power)


class Jet:
    """A power series in some parameters t_1, t_2, …, each truncated after an order of its own.

    Attributes:
        entries: the coefficients, in the order of `monomials`.
        shape: the highest power of each parameter; () is a plain number.
    """

    __slots__ = ("entries", "shape")

    def __init__(self, entries: Sequence[LogLinear], shape: Shape | None = None) -> None:
        self.entries = list(entries)
        self.shape = (len(self.entries) - 1,) if shape is None else shape

    def __add__(self, other: Jet) -> Jet:
        if not self.shape:
            return Jet([self.entries[0] + other.entries[0]], ())
        pairs = zip(self.entries, other.entries, strict=True)
        return Jet([a + b for a, b in pairs], self.shape)

    def __mul__(self, other: Jet) -> Jet:
        a, b = self.entries, other.entries
        if not self.shape:
            return Jet([a[0] * b[0]], ())
        full = [not entry.vanishes() for entry in a]
        # (uv)_k = Σ_j u_j v_{k−j}
        return Jet(
            [
                total([a[j] * b[i] for j, i, _ in split if full[j]] or [a[0] * b[k]])
                for k, split in enumerate(_splits(self.shape))
            ],
            self.shape,
        )

    def inverse(self, const: Callable[[Fraction], Any]) -> Jet:
        u = self.entries
        v = [u[0].power(-1)]
        for split in _splits(self.shape)[1:]:
            # v_k = −(1/u_0) Σ_{j≠0} u_j v_{k−j}
            rest = total([u[j] * v[i] for j, i, _ in split if j])
            v.append((rest * v[0]).scaled(Fraction(-1), const))
        return Jet(v, self.shape)

    def exponential(self, exp: Callable[[LogLinear], Any], const: Callable[..., Any]) -> Jet:
        u = self.entries
        e = [LogLinear(exp(u[0]))]
        for k, split in self._from_one():
            v = leading(k)
            # k e_k = Σ_{j≤k} j u_j e_{k−j}, with the powers of one parameter for k and j
            terms = [(u[j] * e[i]).scaled(Fraction(m[v], k[v]), const) for j, i, m in split if m[v]]
            e.append(total(terms))
        return Jet(e, self.shape)

    def logarithm(self, log: Callable[[Any], LogLinear], const: Callable[..., Any]) -> Jet:
        u = self.entries
        if any(entry.logs for entry in u):
            raise OutOfClass("a logarithm of a logarithm")
        out = [log(u[0].pure)]
        if len(u) > 1:
            reciprocal = u[0].power(-1)
        for place, (k, split) in enumerate(self._from_one(), start=1):
            v = leading(k)
            # k u_0 ℓ_k = k u_k − Σ_{0<j<k} j ℓ_j u_{k−j}
            terms = [
                (out[j] * u[i]).scaled(Fraction(-m[v], k[v]), const)
                for j, i, m in split
                if m[v] and i
            ]
            out.append(total([u[place], *terms]) * reciprocal)
        return Jet(out, self.shape)

    def _from_one(self) -> list[tuple[Shape, tuple[tuple[int, int, Shape], ...]]]:
        return list(zip(monomials(self.shape), _splits(self.shape), strict=True))[1:]

    def last(self, power: int) -> Jet:
        """The coefficient of a power of the last parameter: a series in the others."""
        return Jet(self.entries[power :: self.shape[-1] + 1], self.shape[:-1])


def chain_rule(
    g: Jet, inner: Jet, v: int, zero: LogLinear, const: Callable[[Fraction], Any]
) -> Jet:
    """One term of D f = Σ_p (∂f/∂θ_p) D θ_p, where D = t_v d/dt_v.

    Args:
        g: ∂f/∂θ_p, to one power of t_v less than `inner`.
        inner: θ_p.
        v: which parameter; only the entries whose `leading` parameter it is are filled in.
        zero: what stands in all other entries.
        const: makes a number of the ring.
    """
    places = {k: i for i, k in enumerate(monomials(g.shape))}
    entries = []
    for k in monomials(inner.shape):
        terms = [zero]
        if any(k) and leading(k) == v:
            for theta, m in zip(inner.entries, monomials(inner.shape), strict=True):
                rest = tuple(a - b for a, b in zip(k, m, strict=True))
                if m[v] and min(rest) >= 0 and not theta.vanishes():
                    # k f_k = Σ_j j θ_j g_{k−j}
                    term = theta * g.entries[places[rest]]
                    terms.append(term.scaled(Fraction(m[v], k[v]), const))
        entries.append(total(terms))
    return Jet(entries, inner.shape)


def total(items: list[LogLinear]) -> LogLinear:
    """The sum of a list that is not empty."""
    result = items[0]
    for item in items[1:]:
        result = result + item
    return result
