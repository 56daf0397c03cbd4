"""From trees to words: the free algebra over a setting's letters, modulo what is assumed of them.

A tree is multiplied out into an element, a combination of words; derivatives follow the product
rule letter by letter, transposes turn words round, traces close them into circles. `normal_form`
then rewrites with the completed rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from npgcheck.derivation.language import DerivationError, OutOfClass
from npgcheck.derivation.rewriting import Quotient, Rules, Scalars, Terms, Word, add_to, combine
from npgcheck.derivation.words import SCALAR, D, Shape, T, Trace, Words


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
