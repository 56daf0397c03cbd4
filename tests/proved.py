"""The proved formulas as numbers, for the tests that hold code against them.

The formulas are evaluated from the very trees that `npgcheck prove` judges.
"""

from __future__ import annotations

import numpy as np

from npgcheck.derivation import prove
from npgcheck.derivation.bridge import table

ONE_STATE = np.ones((1, 1))  # one observation equal to 1: the logits are θ, the mean is μ
WEIGHT = np.ones(1)
CLAIMS = prove.load()
ROUND_OFF = 1e-13


def sides(claim: str, name: str, which: str = "rhs", **values):
    """One side of a statement as an array over its free indices."""
    s = CLAIMS[claim].statement(name)
    return table(getattr(s, which), s.setting, s.free, values)


def mistakes(claim: str, name: str, **values):
    """The named mistakes of a statement as arrays: a bridge that accepts one is worth nothing."""
    s = CLAIMS[claim].statement(name)
    return [table(wrong, s.setting, s.free, values) for _, wrong in s.mistakes]


def defined(claim: str, name: str, *indices, **values):
    """A definition of a claim as an array over its indices, such as Q or F."""
    d = CLAIMS[claim].statements[0].setting.definitions[name]
    setting = CLAIMS[claim].statements[0].setting
    return table(d.base[d.indices] if d.indices else d.base, setting, d.indices, values)


def draw(seed: int, *sizes: int):
    return np.random.default_rng(seed).normal(size=sizes)


def taylor(divergence):
    """Second and third Taylor coefficients of t ↦ divergence(t), by central differences.

    With t = 1e-3 the truncation error is t² times the fourth or fifth coefficient, about 1e-6;
    round-off is u·KL/t³ ≈ 1e-13. Compared at 1e-4, a hundredth of the coefficients' size.
    """
    t = 1e-3
    plus, minus = divergence(t), divergence(-t)
    return (plus + minus) / (2 * t**2), (plus - minus) / (2 * t**3)
