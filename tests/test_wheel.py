"""What is shipped works by itself: a wheel, in a new environment, away from the sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.fresh

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(pip, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([binaries / "python", "-m", "pip", "install", "-q", wheel], check=True)
    return binaries


def test_the_wheel_holds_what_is_not_python(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "npgcheck/py.typed",
        "npgcheck/conformance/report.schema.json",
        "npgcheck/conformance/templates/numpy_style.txt",
        "npgcheck/_proofs/softmax_fisher.py",
    ):
        assert name in names, name
    assert not any(name.startswith(("tests/", "site/", "build/")) for name in names)


def test_the_commands_work_there(environment, tmp_path):
    def npgcheck(*arguments, code=0):
        done = subprocess.run(
            [environment / "npgcheck", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done.stdout

    assert npgcheck("--version").startswith("npgcheck ")
    npgcheck("new", "my_npg.py")
    assert "policy_gradient        FAIL" in npgcheck("verify", "my_npg.py", code=1)
    report = json.loads(npgcheck("verify", "my_npg.py", "--format", "json", code=1))
    assert report["counts"]["mistakes"] == 1
    npgcheck("prove", "softmax-fisher")
    npgcheck("verify", "sb3-contrib", code=2)  # the extra is not there, and is named
    assert "p-" in npgcheck("problems", "--families", "tabular")


def test_the_tests_of_others_are_left_alone(environment, tmp_path):
    subprocess.run([environment / "python", "-m", "pip", "install", "-q", "pytest"], check=True)
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_nothing_was_loaded():\n"
        "    assert not {'numpy', 'scipy', 'sympy', 'rich', 'click'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [environment / "python", "-m", "pytest", "-q", "-p", "no:hypothesispytest"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
