"""The README shows what the commands print, not what they once printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from npgcheck.conformance.controls import controls

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def essence(text: str) -> list[str]:
    """The lines of a report without what a machine decides: seconds, and the last digit of an
    agreement that is all rounding (the order of sums depends on the processor)."""
    rounded = re.sub(r"\d+\.\d digits$", "N digits", text, flags=re.M)
    return [re.sub(r"\s+\d+\.\d s$", "", line).rstrip() for line in rounded.strip().splitlines()]


def test_the_verdict_shown_is_the_verdict() -> None:
    command = "$ npgcheck verify examples/buggy_npg.py\n"
    shown = README[README.index(command + "examples/") + len(command) :].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-m", "npgcheck", "verify", "examples/buggy_npg.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"COLUMNS": "100", "PATH": "", "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert essence(done.stdout) == essence(shown)


def test_the_power_shown_counts_every_control() -> None:
    found = re.search(
        r"(\d+) of (\d+) planted mistakes\s+refuted, (\d+) of (\d+)\s+right\s+subjects", README
    )
    assert found is not None
    refuted, planted, accused, right = map(int, found.groups())
    assert refuted == planted == len(list(controls("wrong")))
    assert (accused, right) == (0, len(list(controls("right"))) + len(list(controls("equivalent"))))


def test_the_first_block_is_ten_lines_and_says_what_is_shown(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, shown = re.findall(r"```(?:python|text)\n(.*?)```", README, re.S)[:2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    assert "npgcheck.check_step(" in code
    exec(compile(code, "README.md", "exec"), {})
    assert essence(capsys.readouterr().out) == essence(shown)
