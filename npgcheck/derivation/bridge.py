"""From a statement to numbers: the formula that was proved, evaluated where code can be compared.

`table` runs the tree itself in floats (or under autograd); `exact_table` in rationals. Neither
knows anything about npgcheck's numerical modules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from npgcheck.derivation.evaluate import Evaluator
from npgcheck.derivation.language import DerivationError
from npgcheck.derivation.rings import FloatRing, PointRing
from npgcheck.derivation.setting import Setting


def _sizes(values: Mapping[str, Any], setting: Setting) -> dict[sp.Symbol, int]:
    """How large each size is, read off the shapes of the values; 1 where nothing tells."""
    found: dict[sp.Symbol, int] = {}
    for name, given in values.items():
        if name not in setting.families:
            known = ", ".join(setting.families)
            raise DerivationError(f"there is no family {name!r}; the families are {known}")
        at = given
        for size in setting.families[name].sizes:
            if found.setdefault(size, len(at)) != len(at):
                raise DerivationError(f"{name}: {len(at)} values along {size}, not {found[size]}")
            at = at[0]
    return {size: found.get(size, 1) for size in setting.sizes}


def _members(
    values: Mapping[str, Any], setting: Setting, sizes: Mapping[sp.Symbol, int]
) -> dict[Any, Any]:
    members: dict[Any, Any] = {}
    for name, slot in setting.members(sizes):
        entry = values.get(name)
        for i in slot if entry is not None else ():
            entry = entry[i - 1]  # type: ignore[index]
        members[(name, slot)] = math.nan if entry is None else entry
    return members


def _entries(
    evaluator: Evaluator, expr: sp.Expr, free: Sequence[sp.Symbol], shape: Sequence[int]
) -> list[Any]:
    return [
        evaluator.value(expr, dict(zip(free, idx, strict=True))).pure
        for idx in itertools.product(*(range(1, n + 1) for n in shape))
    ]


def table(
    expr: sp.Expr,
    setting: Setting,
    free: Sequence[sp.Symbol],
    values: Mapping[str, Any],
    xp: Any = math,
) -> Any:
    """The values of a tree for every assignment of its free indices.

    Args:
        expr: one side of a statement or of a step.
        setting: the statement's setting.
        free: the free indices, in the order of the result's axes.
        values: family name -> its members, with one axis per index; a "log" family is given by
            its logarithms θ. The sizes are read off their shapes.
        xp: where exp and log come from: `math`, or `autograd.numpy` for traced members.

    Returns:
        An array with one axis per free index.
    """
    sizes = _sizes(values, setting)
    ring = FloatRing(setting, sizes, _members(values, setting, sizes), xp)
    shape = [sizes[setting.range_of(symbol)] for symbol in free]
    entries = _entries(Evaluator(ring, setting), expr, free, shape)
    if xp is not math:
        return entries[0] if not free else xp.array(entries).reshape(shape)
    return np.array(entries, dtype=float).reshape(shape)


def exact_table(
    expr: sp.Expr,
    setting: Setting,
    free: Sequence[sp.Symbol],
    values: Mapping[str, Any],
) -> Any:
    """As `table`, in exact fractions; a "log" family is given by its exponentials e^θ."""
    sizes = _sizes(values, setting)
    members = _members(values, setting, sizes)
    given = {slot: v if isinstance(v, Fraction) else Fraction(1) for slot, v in members.items()}
    shape = [sizes[setting.range_of(symbol)] for symbol in free]
    evaluator = Evaluator(PointRing(setting, sizes, given), setting)
    return np.array(_entries(evaluator, expr, free, shape), dtype=object).reshape(shape)
