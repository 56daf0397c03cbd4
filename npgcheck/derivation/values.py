"""Numbers of a derivation: truncated power series whose entries are linear in logarithms.

One evaluator serves four coefficient rings (rational functions, rationals, floats and the
counting ring of the cutoff lemma). A ring element needs ``+ - *`` and integer powers only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from fractions import Fraction
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
        self.logs = {k: c for k, c in (logs or {}).items() if not vanishes(c)}

    def __add__(self, other: LogLinear) -> LogLinear:
        logs = dict(self.logs)
        for key, c in other.logs.items():
            logs[key] = logs[key] + c if key in logs else c
        return LogLinear(self.pure + other.pure, logs)

    def __mul__(self, other: LogLinear) -> LogLinear:
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


class Jet:
    """A power series in one parameter, truncated after ``len(entries) − 1``."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[LogLinear]) -> None:
        self.entries = entries

    @property
    def order(self) -> int:
        return len(self.entries) - 1

    def __add__(self, other: Jet) -> Jet:
        return Jet([a + b for a, b in zip(self.entries, other.entries, strict=True)])

    def __mul__(self, other: Jet) -> Jet:
        a, b = self.entries, other.entries
        # (uv)_k = Σ_j u_j v_{k−j}
        return Jet([_total([a[j] * b[k - j] for j in range(k + 1)]) for k in range(len(a))])

    def inverse(self, const: Callable[[Fraction], Any]) -> Jet:
        u = self.entries
        v = [u[0].power(-1)]
        for k in range(1, len(u)):
            # v_k = −(1/u_0) Σ_{j≥1} u_j v_{k−j}
            rest = _total([u[j] * v[k - j] for j in range(1, k + 1)])
            v.append((rest * v[0]).scaled(Fraction(-1), const))
        return Jet(v)

    def exponential(self, exp: Callable[[LogLinear], Any], const: Callable[..., Any]) -> Jet:
        u = self.entries
        e = [LogLinear(exp(u[0]))]
        for k in range(1, len(u)):
            # k e_k = Σ_{j=1..k} j u_j e_{k−j}
            terms = [(u[j] * e[k - j]).scaled(Fraction(j, k), const) for j in range(1, k + 1)]
            e.append(_total(terms))
        return Jet(e)

    def logarithm(self, log: Callable[[Any], LogLinear], const: Callable[..., Any]) -> Jet:
        u = self.entries
        if any(entry.logs for entry in u):
            raise OutOfClass("a logarithm of a logarithm")
        out = [log(u[0].pure)]
        if len(u) > 1:
            reciprocal = u[0].power(-1)
        for k in range(1, len(u)):
            # k u_0 ℓ_k = k u_k − Σ_{j=1..k−1} j ℓ_j u_{k−j}
            terms = [(out[j] * u[k - j]).scaled(Fraction(-j, k), const) for j in range(1, k)]
            out.append(_total([u[k], *terms]) * reciprocal)
        return Jet(out)


def _total(items: list[LogLinear]) -> LogLinear:
    total = items[0]
    for item in items[1:]:
        total = total + item
    return total
