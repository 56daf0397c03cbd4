"""Side-by-side timing: the contestants alternate in one process and the medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def alternate(contestants: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each contestant; one unmeasured warm-up round first."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def line(name: str, seconds: float, base: float) -> None:
    """One row: the name, milliseconds, and the ratio to the base."""
    print(f"  {name:<42} {1e3 * seconds:10.2f} ms   × {seconds / base:.2f}")
