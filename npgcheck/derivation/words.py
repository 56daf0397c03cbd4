"""The language of matrices of any size: letters with shapes, transposes, derivatives, traces.

A `Words` setting holds what some statements mean: letters such as P of shape (S, S), scalars such
as γ, equations that are assumed, and how to draw matrices that satisfy them. Trees are SymPy's,
with noncommutative symbols; SymPy multiplies nothing out and decides nothing. A number in a sum of
matrices means that multiple of the identity. Shapes are symbols: "S", "A", "D", their products
such as "SA", and "1".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sympy as sp

from npgcheck.derivation.language import DerivationError

if TYPE_CHECKING:
    from npgcheck.derivation.algebra import Algebra

Shape = tuple[str, str]
SCALAR: Shape = ("1", "1")


class Letter(sp.Symbol):
    """A matrix of any size; its name identifies it, `tex` is how it is printed."""

    def __new__(cls, name: str, tex: str) -> Letter:
        made: Letter = sp.Symbol.__xnew__(cls, name, commutative=False)
        made.tex = tex
        return made

    def _hashable_content(self) -> tuple[Any, ...]:
        return (*super()._hashable_content(), self.tex)


class _MatrixNode(sp.Expr):
    is_commutative = False

    def __new__(cls, body: Any) -> Any:
        return super().__new__(cls, sp.sympify(body))


class T(_MatrixNode):
    """The transpose."""


class D(_MatrixNode):
    """The derivative of a matrix expression in one fixed direction of θ."""


class Trace(_MatrixNode):
    """The trace; its words are read around a circle."""


@dataclass(frozen=True)
class Name:
    """``base := body``."""

    base: Letter
    body: sp.Expr
    indices: tuple[sp.Symbol, ...] = ()


@dataclass(frozen=True)
class Equation:
    """``lhs = rhs``, assumed.

    Attributes:
        point: true at the point looked at only, so not to be differentiated.
    """

    name: str
    lhs: sp.Expr
    rhs: sp.Expr
    point: bool = False


@dataclass(frozen=True)
class LetterInfo:
    """What is known about a letter.

    Attributes:
        draw: how a model gets its value; see `npgcheck.derivation.matrices`.
        varies: whether it depends on θ.
        inverse_of: the expression that it inverts.
        symmetric: equals its transpose.
        nonnegative: all entries are at least 0.
        weight: in the order of words; a heavy letter is rewritten in terms of light ones.
    """

    symbol: Letter
    shape: Shape
    means: str
    draw: Any
    varies: bool = False
    inverse_of: sp.Expr | None = None
    symmetric: bool = False
    nonnegative: bool = False
    weight: int = 1


@dataclass
class Words:
    """What the symbols of some statements about matrices mean.

    Attributes:
        sizes: size symbol -> what it counts; shapes are products of them.
        derivatives: how many derivatives the statements take.
        transposes: whether the assumed equations are used transposed as well.
    """

    sizes: dict[str, str]
    derivatives: int = 0
    transposes: bool = False
    letters: dict[str, LetterInfo] = field(default_factory=dict)
    scalars: dict[str, str] = field(default_factory=dict)
    scalar_means: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Name] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)
    equations: dict[str, Equation] = field(default_factory=dict)
    pool: dict[bool, list[Any]] = field(default_factory=dict)  # models drawn so far
    _algebra: Any = None

    # -- building ---------------------------------------------------------------------------
    def scalar(self, name: str, domain: str, means: str) -> sp.Symbol:
        """A number; domain is "unit" (in (0, 1), and 0 by continuity), "positive" or "real"."""
        if domain not in {"unit", "positive", "real"}:
            raise DerivationError(f"scalar {name!r}: unknown domain {domain!r}")
        self._fresh(name)
        self.scalars[name], self.scalar_means[name] = domain, means
        return sp.Symbol(name, real=True)

    def letter(
        self, name: str, rows: str, columns: str, means: str, tex: str = "", **known: Any
    ) -> Letter:
        """A matrix; `known` are the fields of `LetterInfo` from `draw` on."""
        self._fresh(name)
        symbol = Letter(name, tex or sp.latex(sp.Symbol(name)))
        known.setdefault("draw", "free")
        self.letters[name] = LetterInfo(symbol, (rows, columns), means, **known)
        return symbol

    def inverse(self, name: str, of: Any, rows: str, means: str, tex: str, **known: Any) -> Letter:
        """The inverse of an expression, which is assumed to have one."""
        made = self.letter(name, rows, rows, means, tex, inverse_of=of, **known)
        self.assume(f"{name} inverts from the left", made * of, sp.Integer(1))
        self.assume(f"{name} inverts from the right", of * made, sp.Integer(1))
        return made

    def assume(self, name: str, lhs: Any, rhs: Any, point: bool = False) -> None:
        """Adds an equation; `point` keeps it from being differentiated."""
        if name in self.equations:
            raise DerivationError(f"the assumption {name!r} is made twice")
        self.equations[name] = Equation(name, sp.sympify(lhs), sp.sympify(rhs), point)
        self._algebra = None

    def define(self, name: str, body: Any, means: str, tex: str = "") -> Letter:
        """A name for an expression, unfolded wherever a value is needed."""
        self._fresh(name)
        symbol = Letter(name, tex or sp.latex(sp.Symbol(name)))
        self.definitions[name] = Name(symbol, sp.sympify(body))
        self.meanings[name] = means
        return symbol

    def changed(self, drop: tuple[str, ...] = (), draw: dict[str, Any] | None = None) -> Words:
        """The same setting without some equations, and with other matrices drawn.

        Nothing is assumed any more about the signs of what is drawn otherwise, or of inverses.
        """
        unsigned = (
            {n for n, info in self.letters.items() if info.inverse_of is not None} if draw else ()
        )
        letters = {
            n: replace(info, nonnegative=info.nonnegative and n not in unsigned)
            for n, info in self.letters.items()
        }
        for name, how in (draw or {}).items():
            letters[name] = replace(letters[name], draw=how, nonnegative=False)
        missing = set(drop) - set(self.equations)
        if missing:
            raise DerivationError(f"{sorted(missing)} is not assumed")
        equations = {n: e for n, e in self.equations.items() if n not in drop}
        return replace(self, letters=letters, equations=equations, pool={}, _algebra=None)

    def _fresh(self, name: str) -> None:
        if name in self.letters or name in self.scalars or name in self.definitions:
            raise DerivationError(f"{name!r} is defined twice in one setting")

    # -- what the rest of the package asks ---------------------------------------------------
    @property
    def algebra(self) -> Algebra:
        """The rewrite system of the equations, completed when first asked for."""
        from npgcheck.derivation.algebra import Algebra

        if self._algebra is None:
            self._algebra = Algebra(self)
        return self._algebra

    @property
    def size_text(self) -> str:
        return ", ".join(self.sizes)

    def check(self, expr: sp.Expr) -> None:
        """Raises `DerivationError` where letters are unknown or shapes do not match."""
        self.algebra.element(expr)

    def text(self, canonical: Callable[[sp.Basic], str]) -> list[str]:
        """For the digest: everything that a proof may use and a page shows."""
        out = [f"{n}: {means}" for n, means in {**self.sizes, **self.scalar_means}.items()]
        out += [f"{name} {domain}" for name, domain in self.scalars.items()]
        for e in self.equations.values():
            out.append(f"{e.name}: {canonical(e.lhs)} = {canonical(e.rhs)} {e.point}")
        for n, i in self.letters.items():
            out.append(f"{n} {i.shape} {i.means} {i.varies} {i.symmetric} {i.nonnegative}")
        for n, d in self.definitions.items():
            out.append(f"{n}: {canonical(d.body)} {self.meanings[n]}")
        return out
