"""The cost of a diagnosis beside the run that it belongs to, and how it grows with the choices.

A wrong Fisher matrix that no choice explains is the worst case: every single choice and every pair
is tried in vain. The base is the same run with an empty atlas. Then half and all of the entries.

Run: python benchmarks/diagnosis.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from timing import alternate, line

import npgcheck
from npgcheck.conformance.atlas import ATLAS
from npgcheck.conformance.choices import left_out
from npgcheck.conformance.controls._exact import ExactSoftmax


class Nameless(ExactSoftmax):
    """cos F, entry by entry: no choice."""

    def fisher(self, problem: Any) -> Any:
        return np.cos(super().fisher(problem))


class Halved(ExactSoftmax):
    """F/2, which a single choice explains."""

    def fisher(self, problem: Any) -> Any:
        return 0.5 * super().fisher(problem)


def judged(subject: type, kept: int) -> None:
    """Judges F under an atlas of which only the first ``kept`` changing entries are left."""
    changing = [c.name for c in ATLAS.values() if c.change]
    step = len(changing) / max(kept, 1)
    chosen = {changing[int(i * step)] for i in range(kept)}
    with left_out([name for name in changing if name not in chosen]):
        npgcheck.verify(subject(), only=["fisher"], families=("softmax",), examples=60)


def main() -> None:
    """Prints medians of five runs each, side by side."""
    everything = sum(bool(c.change) for c in ATLAS.values())
    contestants = {
        "no choices": lambda: judged(Nameless, 0),
        "a mistake without a name, 1/4 of the atlas": lambda: judged(Nameless, everything // 4),
        "a mistake without a name, 1/2 of the atlas": lambda: judged(Nameless, everything // 2),
        f"a mistake without a name, all {everything}": lambda: judged(Nameless, everything),
        f"a mistake with a name, all {everything}": lambda: judged(Halved, everything),
    }
    seconds = alternate(contestants, rounds=5)
    print("npgcheck.verify of fisher, 60 problems")
    for name, taken in seconds.items():
        line(name, taken, seconds["no choices"])


if __name__ == "__main__":
    main()
