"""LaTeX of the trees that were checked: the same objects, printed for reading."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

from npgcheck.derivation.language import Coefficient, Definition, Expect, GaussianMean, Partial


class _Printer(LatexPrinter):
    """SymPy's printer with positive terms first, indices without braces, and our four nodes."""

    def _print_Indexed(self, expr: sp.Indexed) -> str:  # noqa: N802
        base = self._print(sp.Symbol(str(expr.base.label)))
        indices = "".join(self._print(i) for i in expr.indices)
        if "^" in base:  # \pi^{t} with its index below
            head, _, power = base.partition("^")
            return f"{head}_{{{indices}}}^{power}"
        return f"{base}_{{{indices}}}"

    def _print_KroneckerDelta(self, expr: sp.KroneckerDelta, exp: Any = None) -> str:  # noqa: N802
        i, j = sorted((self._print(s) for s in expr.args[:2]))
        return f"\\delta_{{{i}{j}}}" + (f"^{{{exp}}}" if exp else "")

    def _print_Add(self, expr: sp.Add, order: Any = None) -> str:  # noqa: N802
        terms = sorted(expr.args, key=_term_order)
        out = self._print(terms[0])
        for term in terms[1:]:
            text = self._print(term)
            out += f" - {text[1:].lstrip()}" if text.startswith("-") else f" + {text}"
        return out

    def _print_Partial(self, expr: Partial) -> str:  # noqa: N802
        inner = self.parenthesize(expr.args[0], PRECEDENCE["Mul"])
        return f"\\frac{{\\partial}}{{\\partial {self._print(expr.args[1])}}} {inner}"

    def _print_Coefficient(self, expr: Coefficient) -> str:  # noqa: N802
        power = "" if expr.args[2] == 1 else f"^{{{expr.args[2]}}}"
        inner = expr.args[0]
        text = self._print(inner)
        if inner.is_Add:
            text = f"\\Bigl({text}\\Bigr)"
        return f"\\bigl[{self._print(expr.args[1])}{power}\\bigr]\\, {text}"

    def _print_Expect(self, expr: Expect) -> str:  # noqa: N802
        body, index, law = expr.args
        name = self._print(sp.Symbol(str(law.label)))
        return (
            f"\\operatorname{{E}}_{{{self._print(index)} \\sim {name}}}"
            f"\\Bigl[{self._print(body)}\\Bigr]"
        )

    def _print_GaussianMean(self, expr: GaussianMean) -> str:  # noqa: N802
        return f"\\operatorname{{E}}_{{z}}\\Bigl[{self._print(expr.args[0])}\\Bigr]"

    def _print_Sum(self, expr: sp.Sum) -> str:  # noqa: N802
        out = ""
        for index, low, high in reversed(expr.limits):
            out += f"\\sum_{{{self._print(index)}={self._print(low)}}}^{{{self._print(high)}}} "
        body = self._print(expr.function)
        return out + (f"\\Bigl({body}\\Bigr)" if expr.function.is_Add else body)

    def _print_log(self, expr: sp.log, exp: Any = None) -> str:
        inner = expr.args[0]
        text = self._print(inner)
        simple = isinstance(inner, sp.Indexed | sp.Symbol)
        out = f"\\log {text}" if simple else f"\\log\\left({text}\\right)"
        return f"({out})^{{{exp}}}" if exp else out


def _term_order(term: sp.Expr) -> tuple[bool, bool, str]:
    """Positive terms first, those with a delta before the others, then by name."""
    return term.could_extract_minus_sign(), not term.has(sp.KroneckerDelta), str(term)


def latex(expr: sp.Expr) -> str:
    """The LaTeX of a tree."""
    return str(_Printer({"ln_notation": False, "fold_short_frac": False}).doprint(expr))


def definition_latex(definition: Definition) -> str:
    """``name := body`` as LaTeX."""
    left = definition.base[definition.indices] if definition.indices else definition.base
    return f"{latex(left)} := {latex(definition.body)}"
