"""`check_step` beside one evaluation of the policy that it judges, as D and N grow.

The unit is one forward pass over all rows: what is above a few dozen of them is npgcheck's own
work. Everything that a step has is judged, with ten iterations of conjugate gradient; the user's
own products are counted beside it.

Run: python benchmarks/check_step.py [--large]     (--large: D up to 10⁶, some minutes)
"""

from __future__ import annotations

import sys

import numpy as np
from timing import alternate

from npgcheck import check_step
from npgcheck.step.controls import heads
from npgcheck.step.controls.network import Network
from npgcheck.step.controls.trpo import Step

SIZES = (
    ((8, 16, 16), 200),
    ((17, 64, 64), 2_000),
    ((17, 64, 64), 10_000),
    ((64, 256, 256), 2_000),
)
LARGE = (((100, 900, 900), 2_000), ((100, 900, 900), 10_000))


def measure(sizes: tuple[int, ...], rows: int) -> None:
    """Prints one row."""
    head = heads.gaussian(6)
    network = Network((*sizes, head.width), "tanh", head.free)
    step = Step.draw(head, network, rows, np.random.default_rng(0))
    whole = step.arguments()
    count = [0]

    def policy(theta, observations):
        count[0] += 1
        return step.policy(theta, observations)

    rounds = 1 if len(step.theta) > 10**5 else 3
    times = alternate(
        {
            "forward": lambda: step.policy(step.theta, step.observations),
            "product": lambda: step.product(whole["gradient"]),
            "check": lambda: check_step(**{**whole, "policy": policy}),
        },
        rounds,
    )
    base = times["forward"]
    product, check = (f"×{times[name] / base:.0f}" for name in ("product", "check"))
    evaluations = count[0] // (rounds + 1)
    print(
        f"{len(step.theta):>10,} {rows:>7,} {1e3 * base:>9.2f} ms "
        f"{product:>9} {check:>11} {evaluations:>9}"
    )


def main() -> None:
    """Prints seconds in units of one forward pass, and how often the network was evaluated."""
    titles = ("D", "rows", "forward", "product", "check_step", "forwards")
    print("{:>10} {:>7} {:>12} {:>9} {:>11} {:>9}".format(*titles))
    for sizes, rows in SIZES + (LARGE if "--large" in sys.argv else ()):
        measure(sizes, rows)


if __name__ == "__main__":
    main()
