"""Laws of random numbers, known by their moments alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Law:
    """A law of one real random variable, known by its moments alone.

    Attributes:
        name: what it is called on a page.
        moment: ``moment(k)`` = E[z^k], exact.
        nodes: points with weights that reproduce the moments up to `degree`: the second route.
        degree: the highest power, per entry, that `nodes` integrates exactly.
    """

    name: str
    moment: Callable[[int], Fraction]
    nodes: Mapping[Fraction, Fraction]
    degree: int


def _normal_moment(k: int) -> Fraction:
    # E[z^k] = (k − 1) E[z^(k−2)], from Stein's identity E[f'(z)] = E[z f(z)] with f = z^(k−1)
    return Fraction(1) if k == 0 else Fraction(0) if k % 2 else (k - 1) * _normal_moment(k - 2)


STANDARD_NORMAL = Law(
    "standard normal",
    _normal_moment,
    # twelve integer points {0 six times, ±1 twice, ±2 once}: E z² = 1 and E z⁴ = 3
    {
        Fraction(0): Fraction(1, 2),
        Fraction(1): Fraction(1, 6),
        Fraction(-1): Fraction(1, 6),
        Fraction(2): Fraction(1, 12),
        Fraction(-2): Fraction(1, 12),
    },
    degree=5,
)
NORMAL_TO_DEGREE_7 = Law(
    "standard normal",
    _normal_moment,
    # {0, ±1, ±2, ±3}: E z² = 1, E z⁴ = 3 and E z⁶ = 15
    {
        Fraction(0): Fraction(7, 18),
        Fraction(1): Fraction(1, 4),
        Fraction(-1): Fraction(1, 4),
        Fraction(2): Fraction(1, 20),
        Fraction(-2): Fraction(1, 20),
        Fraction(3): Fraction(1, 180),
        Fraction(-3): Fraction(1, 180),
    },
    degree=7,
)
FAIR_SIGN = Law(
    "fair sign ±1 (right mean and variance, E z⁴ = 1)",
    lambda k: Fraction(1 - k % 2),
    {Fraction(1): Fraction(1, 2), Fraction(-1): Fraction(1, 2)},
    degree=10**6,
)
TWICE_A_FAIR_SIGN = Law(
    "fair sign ±2 (right mean, E z² = 4)",
    lambda k: 2**k * FAIR_SIGN.moment(k),
    {Fraction(2): Fraction(1, 2), Fraction(-2): Fraction(1, 2)},
    degree=10**6,
)
