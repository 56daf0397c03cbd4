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
from fractions import Fraction
from typing import Any

import sympy as sp

from npgcheck.derivation.language import DerivationError, OutOfClass
from npgcheck.derivation.rewriting import Quotient, Rules, Scalars, Terms, Word, add_to, combine

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


@dataclass(frozen=True)
class Element:
    """A combination of words; shape None means a multiple of whichever identity fits."""

    shape: Shape | None
    terms: Terms


class Circle(tuple[str, ...]):
    """A word read around a circle: the trace of its product."""

    __slots__ = ()


def derivative(name: str, order: int = 1) -> str:
    """The name of the letter dX of a letter X."""
    return f"{'d' * order} {name}" if order else name


def split(letter: str) -> tuple[int, str, bool]:
    """(order of derivative, base letter, transposed) of an engine letter."""
    transposed = letter.endswith("ᵀ")
    body = letter.removesuffix("ᵀ")
    head, _, name = body.rpartition(" ")
    return len(head), name, transposed


class Algebra:
    """The free algebra over a setting's letters, modulo its equations.

    Engine letters are the setting's own, their derivatives "d X" and "dd X", and transposes "Xᵀ".
    """

    def __init__(self, setting: Words) -> None:
        self.setting = setting
        self.scalars = Scalars(setting.scalars)
        self._memo: dict[sp.Basic, Element] = {}
        self.rules = Rules(self._equations(), self._rank(), self.scalars)

    # -- the system ----------------------------------------------------------------------
    def _equations(self) -> list[Terms]:
        found = []
        for e in self.setting.equations.values():
            difference = self.element(e.lhs - e.rhs)
            found.append(difference)
            if not e.point:
                taken = max((split(v)[0] for w in difference.terms for v in w), default=0)
                for _ in range(self.setting.derivatives - taken):
                    difference = self._derivative(difference)
                    found.append(difference)
        if self.setting.transposes:
            found += [self._transpose(x) for x in list(found)]
        return [x.terms for x in found if x.terms]

    def _rank(self) -> dict[str, tuple[int, int]]:
        rank: dict[str, tuple[int, int]] = {}
        for name, info in self.setting.letters.items():
            for order in range(self.setting.derivatives + 1):
                letter = derivative(name, order)
                rank[letter] = (info.weight, len(rank))
                rank[self._transposed_letter(letter)] = rank.get(
                    self._transposed_letter(letter), (info.weight, len(rank))
                )
        return rank

    def normal_form(self, expr: sp.Expr) -> Terms:
        """The normal form of a tree, circles included."""
        element = self.element(expr)
        terms = element.terms
        if self.setting.transposes and element.shape == SCALAR and () not in terms:
            # a number equals its transpose: xᵀMy = yᵀMᵀx are one circle
            terms = self._trace(Element(SCALAR, self._plain(terms)), expr).terms
            terms = combine(terms, self._circles(element.terms), self._number(1))
        circles = self._reduce_circles(self._circles(terms))
        return combine(self.rules.normal_form(self._plain(terms)), circles, self._number(1))

    @staticmethod
    def _plain(terms: Terms) -> Terms:
        return {w: c for w, c in terms.items() if not isinstance(w, Circle)}

    @staticmethod
    def _circles(terms: Terms) -> Terms:
        return {w: c for w, c in terms.items() if isinstance(w, Circle)}

    def _reduce_circles(self, terms: Terms) -> Terms:
        """Rewrites every rotation; sound, and complete only where it ends in equal circles."""
        out: Terms = {}
        todo = dict(terms)
        while todo:
            circle, c = todo.popitem()
            for i in range(len(circle)):
                turned = (*circle[i:], *circle[:i])
                hit = self.rules.match(turned)
                if hit is not None:
                    at, left = hit
                    for middle, factor in self.rules.rules[left].items():
                        new = Circle(turned[:at] + middle + turned[at + len(left) :])
                        add_to(todo, new, c * factor)
                    break
            else:
                add_to(out, self._turn(circle), c)
        return out

    def _turn(self, circle: Word) -> Circle:
        """The least of all rotations of the word and of its transpose."""
        back = tuple(self._transposed_letter(x) for x in reversed(circle))
        turns = [(*w[i:], *w[:i]) for w in (tuple(circle), back) for i in range(len(w))]
        return Circle(min(turns, default=()))

    # -- evaluation ----------------------------------------------------------------------
    def element(self, e: sp.Expr) -> Element:
        """A tree multiplied out, nothing rewritten."""
        if e not in self._memo:
            self._memo[e] = self._element(e)
        return self._memo[e]

    def _element(self, e: sp.Expr) -> Element:
        if e.is_commutative:
            value = self.scalar(e)
            return Element(None, {(): value} if value else {})
        if isinstance(e, sp.Symbol):
            return self._symbol(e.name)
        if e.is_Add:
            out = self.element(e.args[0])
            for arg in e.args[1:]:
                out = self._sum(out, self.element(arg), e)
            return out
        if e.is_Mul:
            out = self.element(e.args[0])
            for arg in e.args[1:]:
                out = self._product(out, self.element(arg), e)
            return out
        if e.is_Pow and e.exp.is_Integer and e.exp > 0:
            base = self.element(e.base)
            out = base
            for _ in range(int(e.exp) - 1):
                out = self._product(out, base, e)
            return out
        if isinstance(e, T):
            return self._transpose(self.element(e.args[0]))
        if isinstance(e, D):
            return self._derivative(self.element(e.args[0]))
        if isinstance(e, Trace):
            return self._trace(self.element(e.args[0]), e)
        raise OutOfClass(
            f"{e} is not an expression in matrices; inverses have letters of their own"
        )

    def scalar(self, e: sp.Expr) -> Quotient:
        """A commuting tree as a rational function of the scalars."""
        if e.is_Rational:
            return self.scalars.constant(Fraction(int(e.p), int(e.q)))
        if isinstance(e, sp.Symbol):
            if e.name not in self.setting.scalars:
                raise DerivationError(f"{e} is not a scalar of the setting")
            return self.scalars.variable(e.name)
        if e.is_Add or e.is_Mul:
            out = self.scalar(e.args[0])
            for arg in e.args[1:]:
                term = self.scalar(arg)
                out = out + term if e.is_Add else out * term
            return out
        if e.is_Pow and e.exp.is_Integer:
            return self.scalar(e.base) ** int(e.exp)
        raise OutOfClass(f"{e} is not a rational function of the scalars")

    def _number(self, value: int) -> Quotient:
        return self.scalars.constant(Fraction(value))

    def _symbol(self, name: str) -> Element:
        if name in self.setting.definitions:
            return self.element(self.setting.definitions[name].body)
        if name not in self.setting.letters:
            raise DerivationError(f"{name!r} is neither a letter nor a definition")
        return Element(self.setting.letters[name].shape, {(name,): self._number(1)})

    @staticmethod
    def _sum(a: Element, b: Element, e: sp.Expr) -> Element:
        shape = a.shape or b.shape
        if a.shape and b.shape and a.shape != b.shape:
            raise DerivationError(f"shapes {a.shape} and {b.shape} are added in {e}")
        square = shape is None or shape[0] == shape[1]
        if not square and (() in a.terms or () in b.terms):
            raise DerivationError(f"a number is added to shape {shape} in {e}")
        terms = dict(a.terms)
        for word, c in b.terms.items():
            add_to(terms, word, c)
        return Element(shape, terms)

    def _product(self, a: Element, b: Element, e: sp.Expr) -> Element:
        if a.shape and b.shape and a.shape[1] != b.shape[0]:
            raise DerivationError(f"shapes {a.shape} and {b.shape} are multiplied in {e}")
        terms: Terms = {}
        for u, c in a.terms.items():
            for v, d in b.terms.items():
                if u and v and (isinstance(u, Circle) or isinstance(v, Circle)):
                    raise OutOfClass(f"a product of traces in {e}")
                word = u or v if isinstance(u or v, Circle) else u + v
                add_to(terms, word, c * d)
        if a.shape and b.shape:
            return Element((a.shape[0], b.shape[1]), terms)
        return Element(a.shape or b.shape, terms)

    def _transposed_letter(self, letter: str) -> str:
        _, name, transposed = split(letter)
        info = self.setting.letters[name]
        if info.symmetric or info.shape == SCALAR:
            return letter
        return letter[:-1] if transposed else letter + "ᵀ"

    def _transpose(self, x: Element) -> Element:
        terms: Terms = {}
        for word, c in x.terms.items():
            circle = isinstance(word, Circle)
            back = word if circle else tuple(self._transposed_letter(v) for v in reversed(word))
            add_to(terms, back, c)
        return Element(x.shape and (x.shape[1], x.shape[0]), terms)

    def _trace(self, x: Element, e: sp.Expr) -> Element:
        if x.shape is None or x.shape[0] != x.shape[1] or () in x.terms:
            raise OutOfClass(f"the trace of a number or of a matrix that is not square in {e}")
        if any(isinstance(word, Circle) for word in x.terms):
            raise OutOfClass(f"a trace of a trace in {e}")
        terms: Terms = {}
        for word, c in x.terms.items():
            add_to(terms, self._turn(word), c)
        return Element(SCALAR, terms)

    def _derivative(self, x: Element) -> Element:
        terms: Terms = {}
        for word, c in x.terms.items():
            kind = Circle if isinstance(word, Circle) else tuple
            for i, letter in enumerate(word):
                for middle, factor in self._letter_derivative(letter).items():
                    new = kind((*word[:i], *middle, *word[i + 1 :]))
                    add_to(terms, self._turn(new) if kind is Circle else new, c * factor)
        return Element(x.shape, terms)

    def _letter_derivative(self, letter: str) -> Terms:
        order, name, transposed = split(letter)
        info = self.setting.letters[name]
        if not info.varies:
            return {}
        if order >= self.setting.derivatives:
            raise OutOfClass(f"a derivative of order {order + 1} of {name}")
        if info.inverse_of is not None:
            # d(M⁻¹) = −M⁻¹ dM M⁻¹
            inside = self._derivative(self.element(info.inverse_of))
            around = Element(info.shape, {(name,): self._number(1)})
            out = self._product(self._product(around, inside, info.symbol), around, info.symbol)
            minus = Element(info.shape, {w: -c for w, c in out.terms.items()})
            return (self._transpose(minus) if transposed else minus).terms
        new = derivative(name, order + 1)
        return {(self._transposed_letter(new) if transposed else new,): self._number(1)}
