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
from npgcheck.derivation.language import Setting
from npgcheck.derivation.rings import FloatRing, PointRing


def _members(values: Mapping[str, Sequence[Any]], setting: Setting, size: int) -> dict[Any, Any]:
    members: dict[Any, Any] = {}
    for family in setting.families:
        given = values.get(family, [math.nan] * size)
        members |= {(family, k): given[k - 1] for k in range(1, size + 1)}
    return members


def table(
    expr: sp.Expr,
    setting: Setting,
    free: Sequence[sp.Symbol],
    values: Mapping[str, Sequence[Any]],
    xp: Any = math,
) -> Any:
    """The values of a tree for every assignment of its free indices.

    Args:
        expr: one side of a statement or of a step.
        setting: the statement's setting.
        free: the free indices, in the order of the result's axes.
        values: family name -> its n members; a "log" family is given by its logarithms θ.
        xp: where exp and log come from: `math`, or `autograd.numpy` for traced members.

    Returns:
        An array of shape (n,) * len(free).
    """
    size = len(next(iter(values.values())))
    ring = FloatRing(setting, size, _members(values, setting, size), xp)
    evaluator = Evaluator(ring, setting)
    entries = [
        evaluator.value(expr, dict(zip(free, idx, strict=True))).pure
        for idx in itertools.product(range(1, size + 1), repeat=len(free))
    ]
    if xp is not math:
        return entries[0] if not free else xp.array(entries).reshape((size,) * len(free))
    return np.array(entries, dtype=float).reshape((size,) * len(free))


def exact_table(
    expr: sp.Expr,
    setting: Setting,
    free: Sequence[sp.Symbol],
    values: Mapping[str, Sequence[Fraction]],
) -> Any:
    """As `table`, in exact fractions; a "log" family is given by its exponentials e^θ."""
    size = len(next(iter(values.values())))
    ring = PointRing(setting, size, _members(values, setting, size))
    evaluator = Evaluator(ring, setting)
    entries = [
        evaluator.value(expr, dict(zip(free, idx, strict=True))).pure
        for idx in itertools.product(range(1, size + 1), repeat=len(free))
    ]
    return np.array(entries, dtype=object).reshape((size,) * len(free))
