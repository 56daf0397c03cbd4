"""`import npgcheck` beside `import numpy`, each in a fresh interpreter, alternating.

Run: python benchmarks/import_time.py
"""

from __future__ import annotations

import subprocess
import sys

from timing import alternate, line


def main() -> None:
    """Prints the medians of fifteen starts each, the bare interpreter included."""

    def start(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    times = alternate(
        {
            "import numpy": lambda: start("import numpy"),
            "import npgcheck": lambda: start("import npgcheck"),
            "import npgcheck, then npgcheck.MDP": lambda: start("import npgcheck; npgcheck.MDP"),
            "the interpreter alone": lambda: start("pass"),
        },
        rounds=15,
    )
    print("start-up, fresh interpreters")
    for name, seconds in times.items():
        line(name, seconds, times["import numpy"])


if __name__ == "__main__":
    main()
