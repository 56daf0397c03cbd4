"""Where a misfit of one number is least: between the neighbours of the best of a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: Points between two of a grid, among which the valley is looked for.
FINER = 13


def in_valley(misfit: Callable[[float], float], start: Sequence[float], index: int) -> float:
    """The best value between the neighbours of one of the grid."""
    low, high = start[max(0, index - 1)], start[min(len(start) - 1, index + 1)]
    return minimise(misfit, *bracket(misfit, low, high))


def bracket(misfit: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The neighbours of the best of some points between: beyond a bound nothing changes, and
    golden sections need a valley."""
    points = np.geomspace(low, high, FINER) if low > 0 else np.linspace(low, high, FINER)
    best = int(np.argmin([misfit(float(p)) for p in points]))
    return float(points[max(0, best - 1)]), float(points[min(FINER - 1, best + 1)])


def minimise(worst: Callable[[float], float], low: float, high: float) -> float:
    """Golden sections on a logarithmic scale where all are positive; |misfit| has one valley."""
    logarithmic = low > 0
    a, b = (np.log(low), np.log(high)) if logarithmic else (low, high)
    back = np.exp if logarithmic else float
    ratio = 0.5 * (np.sqrt(5.0) - 1.0)
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    at_c, at_d = worst(float(back(c))), worst(float(back(d)))
    for _ in range(70):
        if at_c < at_d:
            b, d, at_d = d, c, at_c
            c = b - ratio * (b - a)
            at_c = worst(float(back(c)))
        else:
            a, c, at_c = c, d, at_d
            d = a + ratio * (b - a)
            at_d = worst(float(back(d)))
        if min(at_c, at_d) == 0.0 or b - a < 1e-15:
            break
        if _ == 20 and min(at_c, at_d) > 1e-2:
            break  # no valley that leads down to the answers
    return float(back(c if at_c < at_d else d))
