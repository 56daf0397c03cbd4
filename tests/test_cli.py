"""The command line: what it prints where, its exit codes, and each command once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

import npgcheck
from npgcheck import cli
from npgcheck.conformance import render_json, templates

RIGHT = """
import numpy as np

def value(problem):
    pi = np.exp(problem.policy.log_probabilities(problem.theta, problem.observations))
    p_pi = np.einsum("sa,sat->st", pi, problem.mdp.transitions)
    chain = np.eye(problem.num_states) - problem.mdp.discount * p_pi
    return np.linalg.solve(chain, (pi * problem.mdp.rewards).sum(axis=1))

def objective(problem):
    return problem.mdp.initial_distribution @ value(problem)
"""
WRONG = RIGHT.replace("return problem.mdp.initial_distribution @", "return 1.001 * np.mean(") + ")"
NOISY = "import os\nprint('import')\nos.write(1, b'raw')\n" + RIGHT.replace(
    "    pi =", "    print('call')\n    pi ="
)
SMALL = ("--examples", "12", "--families", "softmax")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("right.py", RIGHT), ("wrong.py", WRONG), ("noisy.py", NOISY)):
        (tmp_path / name).write_text(text)
    return tmp_path


def run(capfd, *arguments):
    """Exit code, standard output, standard error."""
    code = cli.run([str(a) for a in arguments])
    return code, *capfd.readouterr()


def test_a_right_subject_passes(folder, capfd):
    code, out, err = run(capfd, "verify", "right.py", *SMALL)
    assert code == 0
    assert out.startswith("right.py · 2 quantities")
    assert "2 passed · 17 not covered" in out
    assert err == ""


def test_a_wrong_subject_is_refuted_and_the_printed_command_repeats_it(folder, capfd):
    code, out, _ = run(capfd, "verify", "wrong.py", *SMALL)
    assert code == 1
    command = out.splitlines()[-1].removeprefix("Reproduce: npgcheck ")
    assert "--only objective" in command
    assert "--problem p-" in command
    code, again, _ = run(capfd, *command.split())
    assert code == 1
    assert "objective" in again


def test_json_on_standard_output_is_nothing_but_json(folder, capfd):
    for isolate in ("--isolate", "--no-isolate"):
        code, out, err = run(capfd, "verify", "noisy.py", *SMALL, isolate, "--format", "json")
        assert code == 0
        jsonschema.validate(json.loads(out), render_json.schema())
        for text in ("import", "call", "raw"):
            assert text in err


def test_the_other_formats(folder, capfd):
    _, out, _ = run(capfd, "verify", "wrong.py", *SMALL, "--format", "junit")
    assert ElementTree.fromstring(out.encode()).find("testsuite").get("failures") != "0"
    _, out, _ = run(capfd, "verify", "wrong.py", *SMALL, "--format", "markdown")
    assert out.startswith("### npgcheck: wrong.py failed")


def test_runs_repeat(folder, capfd):
    def answer():
        data = json.loads(run(capfd, "verify", "wrong.py", *SMALL, "--format", "json")[1])
        return {**data, "seconds": 0}

    assert answer() == answer()


def test_isolated_and_in_process_runs_agree(folder, capfd):
    results = [
        json.loads(run(capfd, "verify", "wrong.py", *SMALL, flag, "--format", "json")[1])["results"]
        for flag in ("--isolate", "--no-isolate")
    ]
    assert results[0] == results[1]


def test_a_random_seed_is_printed(folder, capfd):
    seeds = {
        json.loads(
            run(capfd, "verify", "right.py", *SMALL, "--seed", "random", "--format", "json")[1]
        )["seed"]
        for _ in range(2)
    }
    assert len(seeds) == 2


def test_output_goes_to_a_file_and_an_earlier_report_is_replaced(folder, capfd):
    arguments = ("verify", "right.py", *SMALL, "--format", "json", "--output", "report.json")
    for _ in range(2):
        code, out, err = run(capfd, *arguments)
        assert (code, out) == (0, "")
        assert "report written to report.json" in err
    assert json.loads(Path("report.json").read_text())["passed"] is True
    assert [p.name for p in folder.iterdir() if p.name.startswith(".npgcheck")] == []


def test_strict_and_deviations(folder, capfd, monkeypatch):
    from doors import report, result

    deviating = report(result("NPG-F-001", "fisher", "deviates"))
    monkeypatch.setattr(cli, "_run", lambda *_: deviating)
    assert run(capfd, "verify", "right.py")[0] == 0
    assert run(capfd, "verify", "right.py", "--strict")[0] == 1


def test_nothing_judged_exits_with_2(folder, capfd):
    (folder / "empty.py").write_text(
        "import npgcheck\ndef kl(problem, theta): raise npgcheck.Unsupported('not today')\n"
    )
    code, _, err = run(capfd, "verify", "empty.py", *SMALL)
    assert code == 2
    assert "nothing was judged" in err


def test_no_progress_without_a_terminal(folder, capfd):
    assert run(capfd, "verify", "right.py", *SMALL)[2] == ""


def test_progress_and_colour_on_a_terminal(folder):
    import pty

    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "npgcheck", "verify", "wrong.py", *SMALL],
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    ) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            seen += part
        assert process.wait() == 1
    os.close(master)
    assert b"\x1b[K" in seen  # the line of progress, wiped
    assert b"\x1b[1;31m" in seen  # FAIL in red
    assert b"wrong.py" in seen


def test_interrupting_exits_with_130_and_leaves_no_process(folder):
    (folder / "slow.py").write_text(
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\n"
        "def objective(problem):\n    time.sleep(30)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "npgcheck", "verify", "slow.py", "--time-limit", "60"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # a test run in the background of a shell is deaf to interrupts, and so were its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 30
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert out == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_a_mistake_of_ours_is_said_to_be_ours(folder, capfd, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(cli, "_run", broken)
    code, _, err = run(capfd, "verify", "right.py")
    assert code == cli.INTERNAL_ERROR
    assert "a mistake in npgcheck" in err


def test_version_and_help(capfd):
    assert run(capfd, "--version")[1] == f"npgcheck {npgcheck.__version__}\n"
    for flags in (("-h",), ("--help",), ("verify", "-h"), ("new", "--help")):
        code, out, _ = run(capfd, *flags)
        assert code == 0
        assert "Usage: npgcheck" in out
    assert run(capfd)[0] == 2


def test_it_is_a_module_too(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "npgcheck", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"npgcheck {npgcheck.__version__}\n"


# --- the other commands -------------------------------------------------------------------------


def test_problems_are_listed_and_shown(capfd):
    code, listing, _ = run(capfd, "problems", "--families", "softmax")
    assert code == 0
    rows = [line for line in listing.splitlines() if line.startswith("p-")]
    assert len(rows) > 10
    identity = rows[0].split()[0]
    code, shown, _ = run(capfd, "problems", identity)
    assert code == 0
    assert shown.startswith(f"{identity}: ")
    assert "mdp.transitions" in shown
    _, data, _ = run(capfd, "problems", identity, "--format", "json")
    problem = npgcheck.Problem.from_json(json.loads(data))
    assert problem.id == identity
    rows = json.loads(run(capfd, "problems", "--format", "json")[1])
    assert {r["family"] for r in rows} == {"tabular", "softmax", "gaussian", "mlp"}


def test_every_family_can_be_shown(capfd):
    rows = json.loads(run(capfd, "problems", "--format", "json")[1])
    for family in ("tabular", "gaussian", "mlp"):
        identity = next(r["id"] for r in rows if r["family"] == family)
        assert run(capfd, "problems", identity)[0] == 0


def test_explain(capfd):
    everything = run(capfd, "explain")[1]
    assert "natural_gradient(problem) -> (D,)" in everything
    assert "missing-gamma-t" in everything
    choice = run(capfd, "explain", "missing-gamma-t")[1]
    assert "what to do" in choice
    assert "NPG-F-001" in run(capfd, "explain", "fisher")[1]
    assert "positive semidefinite" in run(capfd, "explain", "NPG-F-003")[1]


@pytest.mark.parametrize(
    "quantity", ["value", "policy_gradient", "fisher", "natural_gradient", "objective"]
)
def test_the_oracle_agrees_with_a_second_route(quantity, capfd):
    import numpy as np

    from npgcheck import exact, oracles, problem_sets

    problem = problem_sets.designed("softmax")[0]
    printed = json.loads(run(capfd, "oracle", quantity, problem.id)[1])["exact"]
    pi = problem.policy.probabilities(problem.theta, problem.observations)
    evaluation = exact.evaluate(problem.mdp, pi)
    scores = problem.policy.scores(problem.theta, problem.observations)
    joint = evaluation.state_distribution[:, None] * pi
    fisher = np.einsum("sa,sad,sae->de", joint, scores, scores)
    gradient = np.einsum("sa,sad->d", joint * evaluation.q_value, scores) / (1 - problem.discount)
    expected = {
        "value": evaluation.value,
        "objective": evaluation.objective,
        "policy_gradient": gradient,
        "fisher": fisher,
        "natural_gradient": np.linalg.lstsq(fisher, gradient, rcond=1e-10)[0],
    }[quantity]
    assert np.allclose(printed, expected, rtol=1e-9, atol=1e-11)
    assert oracles is not None


def test_the_oracle_names_what_it_cannot_print(capfd):
    code, _, err = run(capfd, "oracle", "kl", "p-000000")
    assert code == 2
    assert "the oracle prints" in err


def remembered(monkeypatch, module, name):
    """Makes a slow function answer its second call like its first."""
    kept = []
    real = getattr(module, name)

    def once(*arguments):
        if not kept:
            kept.append(real(*arguments))
        return kept[0]

    monkeypatch.setattr(module, name, once)


def test_power_judges_planted_subjects(capfd, monkeypatch):
    from npgcheck.conformance import power
    from npgcheck.conformance.controls import controls

    remembered(monkeypatch, power, "run_power")
    names = [next(c.name for c in controls() if c.role == role) for role in ("wrong", "right")]
    arguments = ["power", "--seeds", "1", "--only", names[0], "--only", names[1]]
    code, out, _ = run(capfd, *arguments)
    assert code == 0, out
    assert "1 of 1 planted mistakes refuted, 0 of 1 right subjects accused" in out
    data = json.loads(run(capfd, *arguments, "--format", "json")[1])
    assert [row["name"] for row in data["rows"]] == names


def test_power_fails_when_a_mistake_survives(capfd, monkeypatch):
    from npgcheck.conformance import power
    from npgcheck.conformance.controls import controls

    name = next(c.name for c in controls() if c.role == "wrong")
    monkeypatch.setattr(power, "judge", lambda *_: ("survived", "planted"))
    assert run(capfd, "power", "--seeds", "1", "--only", name)[0] == 1


def test_prove_judges_one_claim(capfd, monkeypatch):
    from npgcheck.derivation import prove

    remembered(monkeypatch, prove, "run")
    name = next(iter(prove.load()))
    code, out, _ = run(capfd, "prove", name)
    assert code == 0
    assert name in out
    assert isinstance(json.loads(run(capfd, "prove", name, "--format", "json")[1]), dict)


def test_prove_keeps_the_evidence(capfd, monkeypatch, tmp_path):
    from npgcheck.derivation import prove

    remembered(monkeypatch, prove, "run")
    name = next(iter(prove.load()))
    file = tmp_path / "build" / "evidence.json"
    assert run(capfd, "prove", name, "--evidence", str(file))[0] == 0
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data == json.loads(run(capfd, "prove", name, "--format", "json")[1])
    assert data["graph"]["nodes"][0]["id"] == name
    (claim,) = data["claims"]
    assert {"id", "title", "status", "statements", "controls", "uses", "seconds"} <= set(claim)
    assert claim["controls"]["planted"] == claim["controls"]["refuted"] > 0
    for step in claim["statements"][0]["steps"]:
        assert {e["outcome"] for e in step["evidence"]} == {"holds"}
    code, _, err = run(capfd, "prove", name, "--evidence", str(tmp_path))
    assert code == 2
    assert "cannot be written" in err


def test_prove_fails_when_a_claim_is_refuted_or_a_control_survives(capfd, monkeypatch):
    from npgcheck.derivation import evidence
    from npgcheck.derivation.judges import Evidence

    holds = lambda *_: Evidence("exact points", "holds", False, 2, 1)  # noqa: E731
    for method in ("function_evidence", "point_evidence"):
        with monkeypatch.context() as patched:
            patched.setattr(evidence, method, holds)
            code, out, _ = run(capfd, "prove", "score")
            assert code == 1
            assert "SURVIVED" in out


# --- new ----------------------------------------------------------------------------------------

MENDED = {
    "numpy": (
        "    return (problem.observations.T @ weights).ravel()",
        "    weights -= policy(problem) * weights.sum(axis=1, keepdims=True)\n"
        "    return (problem.observations.T @ weights).ravel()",
    ),
    "torch": ("torch.sqrt(max_kl / curvature)", "torch.sqrt(2 * max_kl / curvature)"),
    "batch": ("    return total / len(x)\n", "    return total\n"),
}
WRONG_IN = {
    "numpy": "policy_gradient",
    "torch": "trust_region_proposal",
    "batch": "fisher",
}


@pytest.mark.parametrize(
    "style",
    [
        pytest.param("numpy", marks=pytest.mark.slow),
        pytest.param("torch", marks=pytest.mark.torch),
        "batch",
    ],
)
def test_starters_hold_one_mistake_and_are_mended_as_they_say(style, folder, capfd):
    code, out, _ = run(capfd, "new", "mine.py", "--style", style)
    assert code == 0
    assert "npgcheck verify mine.py" in out
    code, out, _ = run(capfd, "verify", "mine.py", "--examples", "60", "--format", "json")
    assert code == 1
    failing = [r for r in json.loads(out)["results"] if r["status"] == "fail"]
    assert {r["quantity"] for r in failing if not r["explained_by"]} == {WRONG_IN[style]}

    text = Path("mine.py").read_text()
    wrong, right = MENDED[style]
    assert right.strip().splitlines()[0].strip() in text.split("# The mistake")[1]
    Path("mine.py").write_text(text.replace(wrong, right, 1))
    code, out, _ = run(capfd, "verify", "mine.py", "--examples", "60", "--format", "json")
    statuses = {r["quantity"]: r["status"] for r in json.loads(out)["results"]}
    assert code == 0, out
    assert set(statuses.values()) == {"pass", "not_covered"}


def test_new_never_overwrites(folder, capfd):
    Path("mine.py").write_text("precious")
    code, _, err = run(capfd, "new", "mine.py")
    assert code == 2
    assert "exists and was left alone" in err
    assert Path("mine.py").read_text() == "precious"
    assert run(capfd, "new", "mine.py", "--force")[0] == 0
    assert Path("mine.py").read_text() == templates.text("numpy")
