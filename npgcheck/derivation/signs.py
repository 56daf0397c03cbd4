"""When a tree cannot be negative: sums of squares with positive weights, read off its shape.

A complete method for what it accepts, whatever the sizes; it accepts little, so a statement
``≥ 0`` has to be brought into the form of a sum of squares by equations first.
"""

from __future__ import annotations

from enum import IntEnum

import sympy as sp

from npgcheck.derivation.language import Expect
from npgcheck.derivation.setting import Setting


class Sign(IntEnum):
    """What is known of the values of a tree, wherever it has one."""

    UNKNOWN = 0
    NONNEGATIVE = 1
    POSITIVE = 2


def sign_of(expr: sp.Expr, setting: Setting) -> Sign:
    """The sign of a tree, from its shape alone."""
    if expr.is_Rational:
        return Sign.POSITIVE if expr > 0 else Sign.NONNEGATIVE if expr == 0 else Sign.UNKNOWN
    if expr in setting.sizes or isinstance(expr, sp.exp):
        return Sign.POSITIVE
    if isinstance(expr, sp.KroneckerDelta):
        return Sign.NONNEGATIVE
    if isinstance(expr, sp.Indexed | sp.Symbol):
        return _named(expr, setting)
    if expr.is_Add:
        signs = [sign_of(arg, setting) for arg in expr.args]
        # one positive term is enough beside others that are not negative
        return max(signs) if min(signs) > Sign.UNKNOWN else Sign.UNKNOWN
    if expr.is_Mul:
        return min(sign_of(arg, setting) for arg in expr.args)
    if expr.is_Pow and expr.exp.is_Integer:
        base = sign_of(expr.base, setting)
        return base if base or expr.exp % 2 else Sign.NONNEGATIVE
    if isinstance(expr, sp.Sum):
        return sign_of(expr.function, setting)
    if isinstance(expr, Expect):
        body, index, law = expr.args
        return min(sign_of(body, setting), sign_of(law[index], setting))
    return Sign.UNKNOWN


def _named(expr: sp.Expr, setting: Setting) -> Sign:
    name = str(expr.base.label) if isinstance(expr, sp.Indexed) else expr.name
    if name in setting.families:
        return Sign.POSITIVE if setting.families[name].kind == "positive" else Sign.UNKNOWN
    if name in setting.definitions:
        return sign_of(setting.definitions[name].body, setting)
    return Sign.UNKNOWN
