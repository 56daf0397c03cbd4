"""The gates of `.ci/run` close: with each tool failing in turn, the run fails and stops there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / ".ci" / "run"
TOOLS = ("ruff", "mypy", "pytest", "npgcheck", "mkdocs", "pip")
GATES = {
    "lint": "ruff",
    "types": "mypy",
    "layers": "pytest",
    "docs": "pytest",
    "proofs": "npgcheck",
    "power": "npgcheck",
    "diagnosis": "npgcheck",
    "site": "mkdocs",
    "slow": "pytest",
    "fresh": "pytest",
    "coq": "pytest",
    "libraries": "pytest",
}

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="a bash script")


@pytest.fixture
def project(tmp_path):
    """The script, a README, and an environment whose tools fail when told to."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci" / "run")
    binaries = tmp_path / "build" / "ci" / "venv" / "bin"
    binaries.mkdir(parents=True)
    for tool in TOOLS:
        path = binaries / tool
        path.write_text(f'#!/bin/sh\necho "ran {tool} $*"\n[ "$FAILS" != "{tool}" ]\n')
        path.chmod(0o755)
    maker = tmp_path / "bin" / "python3"
    maker.parent.mkdir()
    maker.write_text('#!/bin/sh\nmkdir -p "$3/made"\n')
    maker.chmod(0o755)
    coq = tmp_path / "bin" / "coqc"  # there, so that nothing is installed
    coq.write_text("#!/bin/sh\n")
    coq.chmod(0o755)
    return tmp_path


def run(project, *steps, fails=""):
    return subprocess.run(
        ["bash", ".ci/run", *steps],
        cwd=project,
        env={**os.environ, "FAILS": fails, "PATH": f"{project / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("step", GATES)
def test_each_gate_opens_and_closes(project, step):
    assert run(project, step).returncode == 0
    closed = run(project, step, "site", fails=GATES[step])
    assert closed.returncode != 0
    assert "all passed" not in closed.stdout
    if step != "site":
        assert "== site" not in closed.stdout


def test_every_step_is_a_gate_of_a_whole_run():
    text = SCRIPT.read_text()
    defined = set(re.findall(r"^step_(\w+)\(\)", text, re.M))
    whole = re.search(r"steps=\((tests [^)]*)\)", text)
    assert whole is not None
    assert defined == set(whole[1].split()) == {"tests", *GATES}


def test_an_unknown_step_is_refused(project):
    done = run(project, "lnit")
    assert done.returncode == 2
    assert "there is no step 'lnit'" in done.stderr


def test_the_readme_command_is_found_and_its_failure_is_seen(project):
    (project / "README.md").write_text("$ python3 -m venv .venv && false && .venv/bin/pytest\n")
    done = run(project, "tests")
    assert done.returncode != 0
    assert "&& false" in done.stdout
    assert (project / "build" / "ci" / "venv" / "made").exists()
    assert not (project / ".venv").exists()
    (project / "README.md").write_text("no command\n")
    assert "exactly one line" in run(project, "tests").stderr


def test_the_readme_of_this_project_has_the_command():
    found = re.findall(
        r"^\$ (python3 -m venv .*pytest)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M
    )
    assert len(found) == 1
    assert "pip install" in found[0]
