"""Bad requests: one clear sentence, the nearest right name, exit code 2, nothing overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import npgcheck
from npgcheck import cli
from npgcheck.errors import UsageError

FILES = {
    "good.py": "def objective(problem):\n    return 0.0\n",
    "empty.py": "x = 1\n",
    "typo.py": "def natural_gradint(problem):\n    return 0\n",
    "broken.py": "def objective(problem:\n",
    "crash.py": "raise RuntimeError('at import')\n",
    "leaves.py": "import os\nos._exit(9)\n",
    "missing.py": "import a_module_that_is_not_installed\n",
    "signature.py": "def kl(problem):\n    return 0\n",
    "swapped.py": "def kl(theta, problem):\n    return 0\n",
    "family.py": "families = {'sofmax'}\ndef objective(problem):\n    return 0.0\n",
    "convention.py": (
        "import npgcheck\nconventions = npgcheck.Conventions(dampng=0.1)\n"
        "def objective(problem):\n    return 0.0\n"
    ),
    "value.py": (
        "import npgcheck\nconventions = npgcheck.Conventions(kl_direction='forwards')\n"
        "def objective(problem):\n    return 0.0\n"
    ),
    "baseline.py": "known_failures = {'NPG-J-01': 'x'}\ndef objective(problem):\n    return 0.0\n",
    "own.py": "families = {'own'}\ndef objective(problem):\n    return 0.0\n",
    "notes.txt": "not Python\n",
}

REQUESTS = {
    # targets
    "verify absent.py": "there is no file absent.py",
    "verify god.py": "Did you mean 'good.py'?",
    "verify folder": "folder is a folder",
    "verify notes.txt": "notes.txt is not a Python file",
    "verify no_such_module_anywhere": "there is no file, module or adapter",
    "verify sb3-contri": "Did you mean 'sb3-contrib'?",
    "verify good.py:objectiv": "Did you mean 'objective'?",
    "verify broken.py": "broken.py cannot be imported: ",
    "verify crash.py": "RuntimeError: at import (crash.py, line 1)",
    "verify missing.py": "No module named 'a_module_that_is_not_installed'",
    "verify leaves.py": "ended its process with exit code 9",
    "verify empty.py": "defines no function of the contract",
    "verify typo.py": "Did you mean natural_gradient(problem) -> (D,)?",
    "verify signature.py": "define kl(problem, theta) -> float",
    "verify swapped.py": "arguments in another order",
    "verify own.py": "needs num_parameters(problem)",
    "verify family.py": "Did you mean 'softmax'?",
    "verify convention.py": "Did you mean 'damping'?",
    "verify value.py": "Did you mean 'forward'?",
    "verify baseline.py": "Did you mean 'NPG-J-0",
    # options
    "verify": "Missing argument 'TARGET'",
    "verify good.py --only objectiv": "Did you mean 'objective'?",
    "verify good.py --only fisher": "does not define fisher",
    "verify good.py --families sofmax": "Did you mean 'softmax'?",
    "verify good.py --checks 2026.2": "Did you mean '2026.1'?",
    "verify good.py --problem p-zzzzzz": "p-zzzzzz",
    "verify good.py --seed x": "--seed x: give a non-negative integer, or random",
    "verify good.py --seed -1": "--seed -1",
    "verify good.py --examples 0": "at least one problem",
    "verify good.py --examples many": "'many' is not a valid integer",
    "verify good.py --time-limit 0": "positive number of seconds",
    "verify good.py --format jsn": "Did you mean 'json'?",
    "verify good.py --strct": "--strict",
    "verify good.py extra": "unexpected extra argument",
    # where reports go
    "verify good.py --output folder": "folder is a folder",
    "verify good.py --output absent/report.json": "the folder absent does not exist",
    "verify good.py --output good.py": "exists and is no earlier text report",
    "verify good.py --format json --output notes.txt": "is no earlier json report",
    # other commands
    "verfy good.py": "Did you mean 'verify'?",
    "new mine.py --style nump": "Did you mean 'numpy'?",
    "new good.py": "good.py exists and was left alone",
    "new notes.txt": "a subject is a Python file",
    "new folder.py/mine.py": "the folder folder.py does not exist",
    "problems p-nothing": "p-nothing",
    "problems --families sofmax": "Did you mean 'softmax'?",
    "explain missing-gama-t": "Did you mean 'missing-gamma-t'?",
    "oracle fishr p-000000": "Did you mean 'fisher'?",
    "power --only no-such-control": "no-such-control",
    "power --seeds 0": "at least one seed",
    "prove no-such-claim": "there is no claim 'no-such-claim'",
    "--verson": "--version",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("request_line", REQUESTS)
def test_bad_requests(request_line, folder, capfd):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code = cli.run(request_line.split())
    out, err = capfd.readouterr()
    assert code == 2, err
    assert out == ""
    assert REQUESTS[request_line] in err
    assert err.startswith("npgcheck: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before


def test_the_same_sentences_without_isolation(folder, capfd):
    for name in ("empty", "crash", "missing", "signature", "convention"):
        line = f"verify {name}.py"
        assert cli.run([*line.split(), "--no-isolate"]) == 2
        err = capfd.readouterr().err
        assert REQUESTS[line] in err
        assert err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_report_path_without_permission(folder, capfd):
    (folder / "closed").mkdir(mode=0o500)
    assert cli.run(["verify", "good.py", "--output", "closed/report.txt"]) == 2
    assert "permission denied" in capfd.readouterr().err


def test_a_report_path_without_permission_as_the_system_says_it(folder, capfd, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cli.run(["verify", "good.py", "--output", "report.txt"]) == 2
    assert "cannot be written: permission denied" in capfd.readouterr().err
    assert cli.run(["new", "mine.py"]) == 2
    assert "cannot be written: permission denied" in capfd.readouterr().err
    assert not Path("mine.py").exists()


def test_a_bad_report_path_costs_no_run(folder, capfd, monkeypatch):
    monkeypatch.setattr(cli, "_run", lambda *_: pytest.fail("it ran"))
    assert cli.run(["verify", "good.py", "--output", "folder"]) == 2


def test_an_invalid_mdp_is_explained_in_the_python_api():
    with pytest.raises(npgcheck.InvalidMDP, match="sums to"):
        npgcheck.MDP([[[0.5, 0.6]], [[0.0, 1.0]]], [[0.0], [0.0]], 0.9, [0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": ("objectiv",)}, "Did you mean 'objective'"),
        ({"families": ("sofmax",)}, "Did you mean 'softmax'"),
        ({"checks": "2026.2"}, "Did you mean '2026.1'"),
        ({"examples": 0}, "at least one problem"),
        ({"problem_id": "p-zzzzzz"}, "p-zzzzzz"),
    ],
)
def test_the_python_door_says_the_same(options, said):
    with pytest.raises(UsageError, match=said):
        npgcheck.verify({"objective": lambda problem: 0.0}, **options)
