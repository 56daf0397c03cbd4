"""Normal forms of polynomials in noncommuting letters, with a machine-checked confluence test.

A word is a product of letters, an element a combination of words with coefficients in ℚ(γ, η, …).
Equations that are assumed become rewrite rules: the greatest word of each, in a fixed order of all
words, is replaced by the rest. The order compares weights, then lengths, then letters from left to
right. It is a well-order that products respect, and every rule replaces a word by smaller ones, so
rewriting terminates.

Where two rules overlap in one word, both results are reduced; if they differ, their difference is
a consequence of the assumptions that no rule saw, and becomes a rule (Knuth & Bendix 1970; for
algebras, Bergman 1978, The diamond lemma for ring theory). When nothing new appears, every element
has exactly one normal form, and two elements are equal in every model of the assumptions that
knows no further relations when their normal forms are. `Rules.certify` tests both properties again
on the finished system: rules decrease, overlaps meet.

Coefficients are rational functions of the scalars; 1/γ appears where γPK = K − 1 is read from left
to right. An identity so found holds wherever no denominator vanishes, and at γ = 0 because the
inverse of 1 − γP is continuous there. What was divided by is recorded, and `word_evidence` refuses
anything else that can vanish on the domain of the scalars.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import flint

from npgcheck.derivation.language import DerivationError, OutOfClass

Word = tuple[str, ...]
Terms = dict[Word, "Quotient"]

LARGEST_SYSTEM = 120  # rules; a completion that needs more is refused
LONGEST_RULE = 14  # letters; what grows beyond is a completion that does not end


class NotConfluent(OutOfClass):
    """The assumptions have no finite confluent system within the limit, so nothing is decided."""


class Quotient:
    """A rational function of the scalars: FLINT polynomials in lowest terms, denominator monic."""

    __slots__ = ("den", "num")

    def __init__(self, num: Any, den: Any) -> None:
        common = num.gcd(den)
        num, den = num / common, den / common
        lead = den.leading_coefficient()
        self.num, self.den = num / lead, den / lead

    def __bool__(self) -> bool:
        return len(self.num) > 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quotient) and self.num == other.num and self.den == other.den

    def __hash__(self) -> int:
        return hash((str(self.num), str(self.den)))

    def __repr__(self) -> str:
        return str(self.num) if str(self.den) == "1" else f"({self.num})/({self.den})"

    def __add__(self, other: Quotient) -> Quotient:
        return Quotient(self.num * other.den + other.num * self.den, self.den * other.den)

    def __neg__(self) -> Quotient:
        return Quotient(-self.num, self.den)

    def __mul__(self, other: Quotient) -> Quotient:
        return Quotient(self.num * other.num, self.den * other.den)

    def inverse(self) -> Quotient:
        if not self:
            raise ZeroDivisionError("the inverse of the scalar 0")
        return Quotient(self.den, self.num)

    def __pow__(self, exponent: int) -> Quotient:
        base = self if exponent >= 0 else self.inverse()
        return Quotient(base.num ** abs(exponent), base.den ** abs(exponent))


class Scalars:
    """The field ℚ(γ, η, …), and what is known about signs on the domain of its variables.

    Args:
        domains: name -> "positive", "unit" (in (0, 1)) or "real".
    """

    def __init__(self, domains: Mapping[str, str]) -> None:
        self.domains = dict(domains)
        self._names = list(domains)
        labels = list(domains) or ["one"]
        self._ctx = flint.fmpq_mpoly_ctx.get(labels, flint.Ordering.lex)
        self._gens = dict(zip(self._names, self._ctx.gens(), strict=False))
        self._one = self._ctx.constant(1)

    def constant(self, value: Fraction) -> Quotient:
        top = self._ctx.constant(flint.fmpq(value.numerator, value.denominator))
        return Quotient(top, self._one)

    def variable(self, name: str) -> Quotient:
        return Quotient(self._gens[name], self._one)

    def sign(self, value: Quotient) -> int:
        """1 or −1 where all values on the domain visibly have that sign, else 0."""
        return self._sign(value.num) * self._sign(value.den)

    def _sign(self, polynomial: Any) -> int:
        # γ in (0, 1) is x/(1 + x) with x > 0; then coefficients of one sign decide
        p = polynomial
        for i, name in enumerate(self._names):
            if self.domains[name] == "unit" and len(p):
                p = self._unit_to_positive(p, i)
        signs = {1 if c > 0 else -1 for c in p.to_dict().values()}
        real = {i for i, name in enumerate(self._names) if self.domains[name] == "real"}
        if any(powers[i] % 2 for powers in p.to_dict() for i in real):
            return 0
        return signs.pop() if len(signs) == 1 else 0

    def _unit_to_positive(self, p: Any, i: int) -> Any:
        degree = max(powers[i] for powers in p.to_dict())
        x, out = self._ctx.gens()[i], self._ctx.constant(0)
        for powers, c in p.to_dict().items():
            rest = tuple(0 if j == i else e for j, e in enumerate(powers))
            monomial = self._ctx.from_dict({rest: c})
            out = out + monomial * x ** int(powers[i]) * (1 + x) ** int(degree - powers[i])
        return out


def add_to(terms: Terms, word: Word, c: Quotient) -> None:
    """terms += c · word, dropping what cancels."""
    if word in terms:
        c = terms.pop(word) + c
    if c:
        terms[word] = c


def combine(left: Terms, right: Terms, factor: Quotient) -> Terms:
    """left + factor · right."""
    out = dict(left)
    for word, c in right.items():
        add_to(out, word, c * factor)
    return out


class Rules:
    """A confluent system of rewrite rules, made from equations.

    Args:
        equations: elements that are zero.
        rank: letter -> (weight, position), which fixes the order of words.
        scalars: the field of coefficients.
    """

    def __init__(
        self, equations: list[Terms], rank: Mapping[str, tuple[int, int]], scalars: Scalars
    ) -> None:
        self.scalars = scalars
        self._rank = rank
        self.rules: dict[Word, Terms] = {}
        self._by_first: dict[str, list[Word]] = {}
        self.divided_by: list[Quotient] = []
        self.given = len(equations)
        self._complete(equations)
        self.pairs = self.certify()

    @property
    def text(self) -> str:
        """How large the system is, for a report."""
        return f"{len(self.rules)} rules, {self.pairs} overlaps meet"

    def key(self, word: Word) -> tuple[int, int, tuple[int, ...]]:
        """Where a word stands in the order."""
        ranks = [self._rank[letter] for letter in word]
        return sum(w for w, _ in ranks), len(word), tuple(p for _, p in ranks)

    def normal_form(self, terms: Terms) -> Terms:
        """The unique reduced element."""
        out: Terms = {}
        todo = dict(terms)
        while todo:
            word, c = todo.popitem()
            hit = self.match(word)
            if hit is None:
                add_to(out, word, c)
                continue
            i, left = hit
            for middle, factor in self.rules[left].items():
                add_to(todo, word[:i] + middle + word[i + len(left) :], c * factor)
        return out

    def match(self, word: Word) -> tuple[int, Word] | None:
        """The first place where a rule applies, and the rule's left side."""
        for i, letter in enumerate(word):
            for left in self._by_first.get(letter, ()):
                if word[i : i + len(left)] == left:
                    return i, left
        return None

    def certify(self) -> int:
        """Tests termination and confluence of the finished system; returns the pairs looked at.

        Raises:
            DerivationError: a rule does not decrease.
            NotConfluent: two rules do not meet.
        """
        for left, right in self.rules.items():
            for word in right:
                if self.key(word) >= self.key(left):
                    raise DerivationError(f"the rule for {'·'.join(left)} does not decrease")
        pairs = 0
        for one in self.rules:
            for other in self.rules:
                for difference in self._critical(one, other):
                    pairs += 1
                    if self.normal_form(difference):
                        raise NotConfluent(
                            f"the rules for {'·'.join(one)} and {'·'.join(other)} do not meet"
                        )
        return pairs

    def _complete(self, equations: list[Terms]) -> None:
        pending = deque(equations)
        while pending:
            terms = self.normal_form(pending.popleft())
            if not terms:
                continue
            lead = max(terms, key=self.key)
            if lead == ():
                raise DerivationError("the assumptions contradict one another: they give 1 = 0")
            c = terms.pop(lead)
            if self.scalars.sign(c) == 0:
                raise OutOfClass(f"the coefficient {c} of a rule may vanish")
            self.divided_by.append(c)
            for old in [left for left in self.rules if _contains(left, lead)]:
                right = self._forget(old)
                pending.append(combine({old: self._one()}, right, self._minus_one()))
            scale = -c.inverse()
            self.rules[lead] = {word: factor * scale for word, factor in terms.items()}
            self._by_first.setdefault(lead[0], []).append(lead)
            if len(self.rules) > LARGEST_SYSTEM or len(lead) > LONGEST_RULE:
                raise NotConfluent(
                    f"no confluent system found with at most {LARGEST_SYSTEM} rules of at most "
                    f"{LONGEST_RULE} letters"
                )
            for other in list(self.rules):
                pending.extend(self._critical(lead, other))
                if other != lead:
                    pending.extend(self._critical(other, lead))
        for left in list(self.rules):  # right sides in normal form as well
            self.rules[left] = self.normal_form(self.rules[left])

    def _forget(self, left: Word) -> Terms:
        self._by_first[left[0]].remove(left)
        return self.rules.pop(left)

    def _one(self) -> Quotient:
        return self.scalars.constant(Fraction(1))

    def _minus_one(self) -> Quotient:
        return self.scalars.constant(Fraction(-1))

    def _critical(self, one: Word, other: Word) -> Iterator[Terms]:
        """Differences of the two ways to rewrite a word in which both rules apply."""
        for size in range(1, min(len(one), len(other)) + 1):
            if one[-size:] == other[:size] and not (one == other and size == len(one)):
                first = {w + other[size:]: c for w, c in self.rules[one].items()}
                second = {one[:-size] + w: c for w, c in self.rules[other].items()}
                yield combine(first, second, self._minus_one())
        if len(other) < len(one):
            for i in range(1, len(one) - len(other)):
                if one[i : i + len(other)] == other:
                    tail = one[i + len(other) :]
                    second = {one[:i] + w + tail: c for w, c in self.rules[other].items()}
                    yield combine(dict(self.rules[one]), second, self._minus_one())


def _contains(word: Word, part: Word) -> bool:
    return any(word[i : i + len(part)] == part for i in range(len(word) - len(part) + 1))
