"""LaTeX of the trees that were checked: the same objects, printed for reading."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter

from npgcheck.derivation.language import Along, Coefficient, Expect, GaussianMean, Partial
from npgcheck.derivation.setting import Definition
from npgcheck.derivation.words import D, Letter, Name, T, Trace


class _Printer(LatexPrinter):
    """SymPy's printer with factors and terms in the order of a textbook, and our four nodes."""

    def _print_Indexed(self, expr: sp.Indexed) -> str:  # noqa: N802
        base = self._print(sp.Symbol(str(expr.base.label)))
        indices = "".join(self._print(i) for i in expr.indices)
        head, hat, power = base.partition("^")  # \pi^{t} takes its index below
        return f"{head}_{{{indices}}}{hat}{power}"

    def _print_KroneckerDelta(self, expr: sp.KroneckerDelta, exp: Any = None) -> str:  # noqa: N802
        i, j = sorted(self._print(s) for s in expr.args[:2])
        return f"\\delta_{{{i}{j}}}" + (f"^{{{exp}}}" if exp else "")

    def _print_Add(self, expr: sp.Add, order: Any = None) -> str:  # noqa: N802
        terms = sorted(expr.args, key=_term_order)
        out = self._print(terms[0])
        for term in terms[1:]:
            text = self._print(term)
            out += f" - {text[1:].lstrip()}" if text.startswith("-") else f" + {text}"
        return out

    def _print_Mul(self, expr: sp.Mul) -> str:  # noqa: N802
        above, below, sign, number = [], [], "", sp.Integer(1)
        for factor in expr.args:
            if factor.is_Rational:
                number = number * factor
            elif factor.is_Pow and factor.exp.is_Integer and factor.exp < 0:
                below.append(sp.Pow(factor.base, -factor.exp))
            else:
                above.append(factor)
        if number < 0:
            sign, number = "- ", -number
        if not below and above and (number.q != 1 or _is_large(above)):
            scale = "" if number == 1 else _number(number)
            return sign + scale + self._product(above)
        if number.p != 1 or not above:
            above.insert(0, sp.Integer(number.p))
        if number.q != 1:
            below.insert(0, sp.Integer(number.q))
        if not below:
            return sign + self._product(above)
        top = self._print(above[0]) if len(above) == 1 else self._product(above)
        bottom = self._print(below[0]) if len(below) == 1 else self._product(below)
        return f"{sign}\\frac{{{top}}}{{{bottom}}}"

    def _product(self, factors: list[sp.Expr]) -> str:
        numbers = sorted((f for f in factors if f.is_commutative), key=_factor_order)
        matrices = [f for f in factors if not f.is_commutative]  # their order is their meaning
        return " ".join(self._factor(f, len(factors)) for f in [*numbers, *matrices])

    def _print_Letter(self, expr: Letter) -> str:  # noqa: N802
        return expr.tex

    def _print_D(self, expr: D) -> str:  # noqa: N802
        order, body = 1, expr.args[0]
        while isinstance(body, D):
            order, body = order + 1, body.args[0]
        power = f"^{{{order}}}" if order > 1 else ""
        text = self._print(body)
        loose = body.is_Add or body.is_Mul
        return f"\\mathrm{{d}}{power} {_brackets(text) if loose else text}"

    def _print_T(self, expr: T) -> str:  # noqa: N802
        body = expr.args[0]
        text = self._print(body)
        plain = isinstance(body, Letter) and "^" not in text and "'" not in text
        return f"{text if plain else _brackets(text)}^{{\\top}}"

    def _print_Trace(self, expr: Trace) -> str:  # noqa: N802
        return f"\\mathrm{{tr}} {_brackets(self._print(expr.args[0]))}"

    def _factor(self, factor: sp.Expr, count: int) -> str:
        text = self._print(factor)
        loose = factor.is_Add or (isinstance(factor, Partial | Coefficient) and count > 1)
        return _brackets(text) if loose else text

    def _print_Partial(self, expr: Partial) -> str:  # noqa: N802
        inner = self._print(expr.args[0])
        loose = expr.args[0].is_Add or expr.args[0].is_Mul
        inner = _brackets(inner) if loose else inner
        return f"\\partial_{{{self._print(expr.args[1])}}} {inner}"

    def _print_Coefficient(self, expr: Coefficient) -> str:  # noqa: N802
        inner, parameter, order = expr.args
        text = self._print(inner)
        text = _brackets(text) if inner.is_Add else text
        return f"[{self._print(parameter)}^{{{order}}}] \\; {text}"

    def _print_Along(self, expr: Along) -> str:  # noqa: N802
        inner, base, index, parameter, change = expr.args
        member = self._print(base[index])
        moved = self._print(parameter * change)
        text = self._print(inner)
        text = _brackets(text) if inner.is_Add else text
        return f"{text} \\big|_{{{member} + {moved}}}"

    def _print_Expect(self, expr: Expect) -> str:  # noqa: N802
        body, index, law = expr.args
        name = self._print(sp.Symbol(str(law.label)))
        left = f"\\mathbb{{E}}_{{{self._print(index)} \\sim {name}}}"
        return f"{left} {_brackets(self._print(body), '[]')}"

    def _print_GaussianMean(self, expr: GaussianMean) -> str:  # noqa: N802
        return f"\\mathbb{{E}}_{{z}} {_brackets(self._print(expr.args[0]), '[]')}"

    def _print_Sum(self, expr: sp.Sum) -> str:  # noqa: N802
        out = ""
        for index, low, high in reversed(expr.limits):
            out += f"\\sum_{{{self._print(index)}={self._print(low)}}}^{{{self._print(high)}}} "
        body = self._print(expr.function)
        return out + (_brackets(body) if expr.function.is_Add else body)

    def _print_log(self, expr: sp.log, exp: Any = None) -> str:
        inner = expr.args[0]
        text = self._print(inner)
        simple = isinstance(inner, sp.Indexed | sp.Symbol)
        out = f"\\log {text}" if simple else f"\\log {_brackets(text)}"
        return f"{_brackets(out)}^{{{exp}}}" if exp else out

    def _print_Pow(self, expr: sp.Pow) -> str:  # noqa: N802
        if expr.base.is_Add and expr.exp.is_Integer and expr.exp > 0:
            return f"{_brackets(self._print(expr.base))}^{{{expr.exp}}}"
        return str(super()._print_Pow(expr))


def _brackets(text: str, pair: str = "()") -> str:
    """Brackets that grow only around what is tall."""
    if "\\sum" in text or "\\frac" in text:
        return f"\\left{pair[0]} {text} \\right{pair[1]}"
    return f"{pair[0]} {text} {pair[1]}" if pair == "[]" else f"({text})"


def _number(value: sp.Rational) -> str:
    return str(value) if value.q == 1 else f"\\frac{{{value.p}}}{{{value.q}}} "


def _is_large(factors: list[sp.Expr]) -> bool:
    return any(f.has(sp.Sum) for f in factors)


def _factor_order(factor: sp.Expr) -> tuple[int, str]:
    """Numbers, single letters, exponentials, powers of brackets, deltas, brackets, sums."""
    base = factor.base if factor.is_Pow and not isinstance(factor, sp.exp) else factor
    ranks = (
        base.is_Rational,
        isinstance(base, sp.Symbol),
        isinstance(base, sp.Indexed),
        isinstance(base, sp.exp),
        isinstance(base, sp.KroneckerDelta),
        base.is_Add,
        isinstance(base, Partial),
    )
    rank = ranks.index(True) if any(ranks) else len(ranks)
    return rank, str(factor)


def _term_order(term: sp.Expr) -> tuple[bool, bool, int, str]:
    """Positive terms first, then those with a delta, then the shorter ones."""
    return (
        term.could_extract_minus_sign(),
        not term.has(sp.KroneckerDelta),
        int(term.count_ops()),
        str(term),
    )


def latex(expr: sp.Expr) -> str:
    """The LaTeX of a tree."""
    return str(_Printer({"ln_notation": False}).doprint(expr))


def definition_latex(definition: Definition | Name) -> str:
    """``name := body`` as LaTeX."""
    left = definition.base[definition.indices] if definition.indices else definition.base
    return f"{latex(left)} := {latex(definition.body)}"


def relation_latex(lhs: sp.Expr, relation: str, rhs: sp.Expr) -> str:
    """``lhs = rhs`` or ``lhs ≥ rhs`` as LaTeX."""
    return f"{latex(lhs)} {RELATIONS[relation]} {latex(rhs)}"


RELATIONS = {"=": "=", "≥": r"\ge"}
