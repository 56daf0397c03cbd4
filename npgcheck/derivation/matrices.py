"""Exact matrices that satisfy a setting's assumptions: a route that shares nothing with rewriting.

A model gives every letter a matrix whose entries are power series in ε with rational coefficients,
cut off after as many derivatives as the statements take. d is then d/dε, inverses are computed by
elimination, and the assumed equations are verified before anything else is looked at. The same
walk over floats tells which mutated twins change anything at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import sympy as sp

from npgcheck.derivation.language import DerivationError, OutOfClass
from npgcheck.derivation.words import D, Shape, T, Trace, Words

Array = np.ndarray
Series = list[Array]


class Model:
    """Matrices for one setting.

    Args:
        setting: the letters and assumptions.
        sizes: size symbol -> how many.
        rng: where the numbers come from.
        exact: rationals, or floats.
        simple: small integers and halves, for counterexamples that a person can read.

    Raises:
        DerivationError: the matrices drawn do not satisfy an assumption.
    """

    def __init__(
        self,
        setting: Words,
        sizes: dict[str, int],
        rng: random.Random,
        exact: bool = True,
        simple: bool = False,
    ) -> None:
        self.setting, self.sizes, self.rng = setting, sizes, rng
        self.exact, self.simple = exact, simple
        self.length = setting.derivatives + 1
        self.scalars = {name: self._draw_scalar(kind) for name, kind in setting.scalars.items()}
        self.values: dict[str, Series] = {}
        self._memo: dict[sp.Basic, Any] = {}
        for name, info in setting.letters.items():
            series = self._draw(info)
            self.values[name] = series if info.varies else series[:1] + self._zeros(info.shape)[1:]
            if info.nonnegative and any(x < 0 for x in self.values[name][0].ravel()):
                raise DerivationError(f"the matrices drawn do not satisfy: {name} is not negative")
        for e in setting.equations.values():
            left, right = self.value(e.lhs, e.rhs), self.value(e.rhs, e.lhs)
            last = 1 if e.point else min(len(left), len(right))
            if any(self.differ(a, b) for a, b in zip(left[:last], right[:last], strict=True)):
                raise DerivationError(f"the matrices drawn do not satisfy: {e.name}")

    # -- drawing -------------------------------------------------------------------------
    def number(self, positive: bool = False) -> Any:
        """A random number."""
        if not self.exact:
            return self.rng.uniform(0.3, 1.7) * (1 if positive else self.rng.choice((-1, 1)))
        top, bottom = (3, 1) if self.simple else (9, 4)
        value = flint.fmpq(self.rng.randint(1, top), self.rng.randint(1, bottom))
        return value if positive or self.rng.random() < 0.7 else -value

    def _draw_scalar(self, domain: str) -> Any:
        if domain == "unit":
            value = Fraction(1, 2) if self.simple else Fraction(self.rng.randint(0, 9), 10)
            return self._of(value) if self.exact else self.rng.uniform(0.3, 0.8)
        return self.number(positive=domain == "positive")

    def _of(self, value: Fraction) -> Any:
        q = flint.fmpq(value.numerator, value.denominator)
        return q if self.exact else float(value)

    def one(self) -> Any:
        """The number 1 of the model."""
        return self._of(Fraction(1))

    def count(self, shape: str) -> int:
        """How many rows a shape symbol stands for."""
        return int(np.prod([self.sizes[s] for s in shape if s != "1"], dtype=int))

    def dims(self, shape: Shape) -> tuple[int, int]:
        return self.count(shape[0]), self.count(shape[1])

    def constant(self, shape: Shape, value: int = 0) -> Array:
        """A matrix all of whose entries are `value`."""
        out = np.empty(self.dims(shape), dtype=object)
        out[...] = self._of(Fraction(value))
        return out

    def _zeros(self, shape: Shape) -> Series:
        return [self.constant(shape) for _ in range(self.length)]

    def random(self, shape: Shape, positive: bool = False) -> Array:
        """A matrix of independent random numbers."""
        out = self.constant(shape)
        for i in np.ndindex(*out.shape):
            out[i] = self.number(positive)
        return out

    def _draw(self, info: Any) -> Series:
        draw = info.draw
        if info.inverse_of is not None and draw == "free":
            return self.invert(self.value(info.inverse_of, info.symbol))
        if isinstance(draw, sp.Basic):
            return self.value(draw, None, info.shape)
        if callable(draw):
            return [*draw(self), *self._zeros(info.shape)][: self.length]
        return DRAWS[draw](self, info.shape)

    def invert(self, series: Series) -> Series:
        """The inverse of a power series: X₀ = M₀⁻¹, X_k = −X₀ Σ_{j≥1} M_j X_{k−j}."""
        first = self._solve(series[0])
        out = [first]
        for k in range(1, len(series)):
            total = sum(series[j] @ out[k - j] for j in range(1, k + 1))
            out.append(-(first @ total))
        return out

    def _solve(self, matrix: Array) -> Array:
        n = len(matrix)
        if not self.exact:
            return np.linalg.solve(matrix.astype(float), np.eye(n)).astype(object)
        right = flint.fmpq_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
        try:
            solved = flint.fmpq_mat(n, n, list(matrix.ravel())).solve(right)
        except ZeroDivisionError as error:
            raise SingularModel("a matrix drawn has no inverse") from error
        out = np.empty((n, n), dtype=object)
        for i, j in np.ndindex(n, n):
            out[i, j] = solved[i, j]
        return out

    # -- evaluating ----------------------------------------------------------------------
    def value(self, e: sp.Expr, beside: sp.Expr | None, shape: Shape | None = None) -> Series:
        """The power series of a tree; a bare number becomes as large as `beside`."""
        value = self._go(e)
        if isinstance(value, list):
            return value
        if beside is not None and shape is None:
            other = self._go(beside)
            rows = len(other[0]) if isinstance(other, list) else 1
            columns = other[0].shape[1] if isinstance(other, list) else 1
        else:
            rows, columns = self.dims(shape or ("1", "1"))
        out = np.empty((rows, columns), dtype=object)
        out[...] = self._of(Fraction(0))
        if value:
            if rows != columns:
                raise DerivationError(f"the number {e} stands for a matrix that is not square")
            for i in range(rows):
                out[i, i] = value
        return [out, *(out * 0 for _ in range(self.length - 1))]

    def _go(self, e: sp.Expr) -> Any:
        if e not in self._memo:
            self._memo[e] = self._evaluate(e)
        return self._memo[e]

    def _evaluate(self, e: sp.Expr) -> Any:
        if e.is_commutative:
            return self._scalar(e)
        if isinstance(e, sp.Symbol):
            if e.name in self.setting.definitions:
                return self._go(self.setting.definitions[e.name].body)
            return self.values[e.name]
        if e.is_Add:
            return self._add([self._go(arg) for arg in e.args])
        if e.is_Mul or e.is_Pow:
            factors = e.args if e.is_Mul else [e.base] * int(e.exp)
            out = self._go(factors[0])
            for arg in factors[1:]:
                out = self._multiply(out, self._go(arg))
            return out
        (body,) = e.args
        inner = self._go(body)
        if isinstance(e, T):
            return [m.T for m in inner]
        if isinstance(e, D):
            return [m * (k + 1) for k, m in enumerate(inner[1:])]
        if isinstance(e, Trace):
            return [np.array([[sum(m[i, i] for i in range(len(m)))]], dtype=object) for m in inner]
        raise OutOfClass(f"{e} has no value")

    def _scalar(self, e: sp.Expr) -> Any:
        if e.is_Rational:
            return self._of(Fraction(int(e.p), int(e.q)))
        if isinstance(e, sp.Symbol):
            return self.scalars[e.name]
        if e.is_Pow:
            base, exponent = self._scalar(e.base), int(e.exp)
            return base**exponent if exponent >= 0 else (1 / base) ** -exponent
        out = self._scalar(e.args[0])
        for arg in e.args[1:]:
            out = out + self._scalar(arg) if e.is_Add else out * self._scalar(arg)
        return out

    def _add(self, values: list[Any]) -> Any:
        matrices = [v for v in values if isinstance(v, list)]
        numbers = [v for v in values if not isinstance(v, list)]
        length = min(len(m) for m in matrices)
        out = [sum((m[k] for m in matrices[1:]), matrices[0][k]) for k in range(length)]
        if numbers:
            total = sum(numbers[1:], numbers[0])
            first = out[0].copy()
            for i in range(len(first)):
                first[i, i] = first[i, i] + total
            out[0] = first
        return out

    @staticmethod
    def _multiply(a: Any, b: Any) -> Any:
        if not isinstance(a, list) or not isinstance(b, list):
            number, matrix = (a, b) if isinstance(b, list) else (b, a)
            if not isinstance(matrix, list):
                return number * matrix
            return [m * number for m in matrix]
        length = min(len(a), len(b))
        return [sum(a[j] @ b[k - j] for j in range(k + 1)) for k in range(length)]

    def differ(self, a: Array, b: Array) -> bool:
        """Whether two matrices differ, in floats by more than round-off."""
        if a.shape != b.shape:
            raise DerivationError(f"shapes {a.shape} and {b.shape} are compared")
        if self.exact:
            return bool((a != b).any())
        # a few dozen products of numbers of size one: round-off 1e-12, planted faults above 1e-3
        gap = np.abs((a - b).astype(float)).max(initial=0.0)
        return bool(gap > 1e-6 * (1 + np.abs(a.astype(float)).max(initial=0.0)))

    def describe(self) -> str:
        """The sizes and scalars, for a counterexample."""
        parts = [f"{s} = {n}" for s, n in self.sizes.items()]
        parts += [f"{sp.pretty(sp.Symbol(s))} = {v}" for s, v in self.scalars.items()]
        return ", ".join(parts)


class SingularModel(DerivationError):
    """The numbers drawn make an assumed inverse impossible; draw again."""


def rows_summing(m: Model, shape: Shape, support: Callable[[int, int], bool]) -> Series:
    """Positive rows on a support, with sum 1, and further coefficients with sum 0."""
    out = []
    for order in range(m.length):
        matrix = m.constant(shape)
        for i in range(matrix.shape[0]):
            at = [j for j in range(matrix.shape[1]) if support(i, j)]
            row = [m.number(positive=order == 0) for _ in at]
            total = sum(row[1:], row[0])
            if order == 0:
                row = [x / total for x in row]
            else:
                row[-1] = row[-1] - total
            for j, x in zip(at, row, strict=True):
                matrix[i, j] = x
        out.append(matrix)
    return out


def _policy(m: Model, shape: Shape) -> Series:
    actions = m.count(shape[1]) // m.count(shape[0])
    return rows_summing(m, shape, lambda s, sa: sa // actions == s)


def _measure(m: Model, shape: Shape) -> Series:
    """As a policy, without the rows summing to one, whatever θ is."""
    out = _policy(m, shape)
    for order, matrix in enumerate(out):
        matrix[matrix != 0] *= m.one() * (order + 2)
        matrix[0, 0] = matrix[0, 0] + m.number(positive=True)
    return out


def _strictly_later(m: Model, shape: Shape) -> Series:
    """Transitions to later states only, so that their powers end."""
    matrix = m.random(shape, positive=True)
    actions = matrix.shape[0] // matrix.shape[1]
    for sa, s in np.ndindex(*matrix.shape):
        if s <= sa // actions:
            matrix[sa, s] = matrix[sa, s] * 0
    return [matrix, *m._zeros(shape)[1:]]


def _selector(m: Model, shape: Shape) -> Series:
    actions = m.count(shape[0]) // m.count(shape[1])
    out = m.constant(shape)
    for sa in range(len(out)):
        out[sa, sa // actions] = m._of(Fraction(1))
    return [out, *m._zeros(shape)[1:]]


def _symmetric(m: Model, shape: Shape) -> Series:
    made = [m.random(shape) for _ in range(m.length)]
    return [x + x.T for x in made]


DRAWS: dict[str, Callable[[Model, Shape], Series]] = {
    "free": lambda m, shape: [m.random(shape) for _ in range(m.length)],
    "positive": lambda m, shape: [m.random(shape, positive=True), *m._zeros(shape)[1:]],
    "ones": lambda m, shape: [m.constant(shape, 1), *m._zeros(shape)[1:]],
    "stochastic": lambda m, shape: rows_summing(m, shape, lambda i, j: True),
    "policy": _policy,
    "measure": _measure,
    "strictly later": _strictly_later,
    "selector": _selector,
    "symmetric": _symmetric,
}
