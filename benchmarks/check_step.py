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


def main() -> None:
    """Prints seconds in units of one forward pass, and how often the network was evaluated."""
    print(f"{'D':>10} {'rows':>7} {'forward':>12} {'product':>9} {'check_step':>11} {'forwards':>9}")
    for (*sizes,), rows in SIZES + (LARGE if "--large" in sys.argv else ()):
        head = heads.gaussian(6)
        network = Network((*sizes, head.width), "tanh", head.free)
        step = Step.draw(head, network, rows, np.random.default_rng(0))
        whole = step.arguments()
        count = [0]

        def policy(theta, observations, step=step, count=count):
            count[0] += 1
            return step.policy(theta, observations)

        times = alternate(
            {
                "forward": lambda: step.policy(step.theta, step.observations),
                "product": lambda: step.product(whole["gradient"]),
                "check": lambda: check_step(**{**whole, "policy": policy}),
            },
            rounds=1 if len(step.theta) > 10**5 else 3,
        )
        runs = 2 if len(step.theta) > 10**5 else 4
        base = times["forward"]
        print(
            f"{len(step.theta):>10,} {rows:>7,} {1e3 * base:>9.2f} ms "
            f"{'×' + format(times['product'] / base, '.1f'):>9} "
            f"{'×' + format(times['check'] / base, '.0f'):>11} {count[0] / runs:>9.0f}"
        )


if __name__ == "__main__":
    main()
