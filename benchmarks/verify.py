"""`npgcheck verify examples/tabular_npg.py` beside the subject's own work, fresh interpreters.

The base is a script that loads the example and makes about the calls that a run makes, without
judging anything. What is above it is npgcheck: start-up, problems, exact answers, verdicts.

Run: python benchmarks/verify.py
"""

from __future__ import annotations

import subprocess
import sys

from timing import alternate, line

TARGET = "examples/tabular_npg.py"

CALLS = f"""
from npgcheck import problem_sets
from npgcheck.conformance.guard import LocalCaller
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.probes import probes
from npgcheck.conformance.subject import load

caller = LocalCaller(load({TARGET!r}))
for family in ("softmax", "tabular"):
    designed = list(problem_sets.designed(family))
    for problem in [*designed, *problem_sets.drawn(family, 0, 60 - len(designed))]:
        for quantity, entry in QUANTITIES.items():
            if entry.takes_problem and (quantity != "train" or problem.paths is None):
                for probe in probes(quantity, problem):
                    caller.call(quantity, problem, *probe.args, shape=probe.shape)
"""


def main() -> None:
    """Prints medians of three runs each, and how a run grows with the number of problems."""

    def start(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    def verify(*more: str) -> None:
        start("-m", "npgcheck", "verify", TARGET, *more)

    times = alternate(
        {
            "the calls alone, guarded": lambda: start("-c", CALLS),
            "verify, one process": lambda: verify("--no-isolate"),
            "verify, subject in a worker": verify,
            "verify, 30 problems": lambda: verify("--examples", "30"),
            "verify, 480 problems": lambda: verify("--examples", "480"),
            "import numpy": lambda: start("-c", "import numpy"),
        },
        rounds=3,
    )
    print("nineteen quantities, 120 problems unless said otherwise, start-up included")
    for name, seconds in times.items():
        line(name, seconds, times["the calls alone, guarded"])


if __name__ == "__main__":
    main()
