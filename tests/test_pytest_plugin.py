"""The two doors to pytest: `pytest --npgcheck TARGET` and `npgcheck.parametrize`."""

from __future__ import annotations

import pytest

import npgcheck.conformance.engine  # noqa: F401  (loaded once, not by every inner run)
from npgcheck.conformance.suite import LOADS, Suite

pytest_plugins = ["pytester"]

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
WRONG = RIGHT.replace("@ value(problem)", "@ value(problem) + 1e-3")
SMALL = {"examples": 12, "families": ("softmax",)}


@pytest.fixture
def project(pytester):
    """A project with a right and a wrong subject, broken ones, and a test of its own."""
    pytester.makepyfile(
        right=RIGHT,
        wrong=WRONG,
        broken="def objective(problem:",
        leaves="import os; os._exit(3)",
        deadly=RIGHT + "\ndef fisher(problem):\n    import os\n    os._exit(3)\n",
        test_of_its_own="def test_something(): pass",
    )
    return pytester


def plugin(project, *arguments):
    quick = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist")
    return project.runpytest_inprocess(*quick, *arguments)


def test_one_item_per_check_with_stable_ids(project):
    listed = plugin(project, "--npgcheck", "right.py", "--collect-only", "-q")
    ids = [line for line in listed.outlines if line.startswith("right.py::")]
    assert "right.py::objective-NPG-J-001" in ids
    assert "right.py::value-NPG-V-099" in ids
    assert not any("test_something" in line for line in listed.outlines)
    again = plugin(project, "--npgcheck", "right.py", "--collect-only", "-q")
    assert ids == [line for line in again.outlines if line.startswith("right.py::")]


def test_a_right_subject_passes(project):
    done = plugin(project, "--npgcheck", "right.py", "--npgcheck-examples", "12")
    assert done.ret == 0
    counts = done.parseoutcomes()
    assert counts["passed"] >= 4
    assert "failed" not in counts
    done.stdout.fnmatch_lines(["*right.py · 2 quantities*"])


def test_a_wrong_subject_fails_with_its_counterexample(project):
    done = plugin(project, "--npgcheck", "wrong.py", "--npgcheck-examples", "12")
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        [
            "*objective-NPG-J-001*",
            "*smallest problem:*",
            "*yours:*",
            "*exact:*",
            "*reproduce: npgcheck verify wrong.py --only objective*",
        ]
    )
    assert "npgcheck/conformance" not in done.stdout.str()


def test_the_projects_tests_run_too_when_they_are_named(project):
    done = plugin(
        project, "--npgcheck", "right.py", "--npgcheck-examples", "12", "test_of_its_own.py"
    )
    assert done.ret == 0
    assert any("test_something" in x or "test_of_its_own.py" in x for x in done.outlines)


def test_without_the_option_nothing_happens(project):
    done = plugin(project)
    done.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("target", "said"), [("broken.py", "line 1"), ("leaves.py", "exit code 3")]
)
def test_a_broken_subject_is_one_failing_item(project, target, said):
    done = plugin(project, "--npgcheck", target, "--npgcheck", "right.py", "test_of_its_own.py")
    counts = done.parseoutcomes()
    assert counts["failed"] == 1
    assert "errors" not in counts
    assert counts["passed"] >= 5
    done.stdout.fnmatch_lines([f"*{said}*", f"FAILED {target}::{LOADS}*"])


def test_a_subject_that_kills_its_process_does_not_kill_pytest(project):
    done = plugin(project, "--npgcheck", "deadly.py", "--npgcheck-examples", "12")
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        ["fisher: ended its process with exit code 3*", "FAILED deadly.py::fisher-NPG-F-099*"]
    )
    assert done.parseoutcomes()["passed"] >= 4


def test_selecting_checks(project):
    done = plugin(project, "--npgcheck", "wrong.py", "--npgcheck-examples", "12", "-k", "value")
    assert done.ret == 0
    assert done.parseoutcomes()["deselected"] >= 2


def test_an_unknown_check_set_is_a_failing_item(project):
    done = plugin(project, "--npgcheck", "right.py", "--npgcheck-checks", "2026.2")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*Did you mean '2026.1'?*"])


# --- parametrize --------------------------------------------------------------------------------


def parametrized(project, target, **options):
    """A test file of a project that parametrizes over a subject, beside an ordinary test."""
    more = "".join(f", {name}={value!r}" for name, value in {**SMALL, **options}.items())
    project.makepyfile(
        test_npg=(
            "import npgcheck\n"
            f"test_npg = npgcheck.parametrize({target}, checks='2026.1'{more})\n"
            "def test_other(): pass\n"
        )
    )
    return plugin(project, "test_npg.py", "-rA")


def test_parametrize_a_file_an_object_and_a_module(project):
    for target in ("'right.py'", "__import__('right')", "vars(__import__('right'))"):
        done = parametrized(project, target)
        assert done.ret == 0, target
        assert done.parseoutcomes()["passed"] >= 5
        done.stdout.fnmatch_lines(["*PASSED test_npg.py::test_npg?objective-NPG-J-001?*"])


def test_parametrize_fails_where_the_subject_is_wrong(project):
    done = parametrized(project, "'wrong.py'")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["FAILED test_npg.py::test_npg?objective-NPG-J-001?*"])
    done.stdout.fnmatch_lines(["PASSED test_npg.py::test_other*"])


def test_a_known_failure_is_expected_until_it_stops_failing(project):
    done = parametrized(project, "'wrong.py'", known_failures={"NPG-J-001": "an offset, see #12"})
    done.stdout.fnmatch_lines(["XFAIL test_npg.py::test_npg?objective-NPG-J-001?*see #12*"])
    done = parametrized(project, "'right.py'", known_failures={"NPG-J-001": "an offset, see #12"})
    assert done.ret == 1
    done.stdout.fnmatch_lines(["*NPG-J-001 is a known failure that no longer fails*"])


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("'absent.py'", {}, "there is no file absent.py"),
        ("'broken.py'", {}, "broken.py cannot be imported"),
        ("{}", {}, "defines no function of the contract"),
        ("'right.py'", {"known_failures": {"NPG-J-9": "x"}}, "no check 'NPG-J-9'"),
        ("'right.py'", {"families": ("softmx",)}, "Did you mean 'softmax'?"),
        ("'right.py'", {"examples": 0}, "at least one problem"),
    ],
)
def test_a_broken_request_breaks_no_other_test(project, target, options, said):
    done = parametrized(project, target, **options)
    assert done.ret == 1
    done.stdout.fnmatch_lines(["PASSED test_npg.py::test_other*"])
    assert said in done.stdout.str()
    assert done.parseoutcomes()["failed"] == 1
    assert "errors" not in done.parseoutcomes()


def test_the_checks_run_once(tmp_path):
    calls = []

    def objective(problem):
        calls.append(1)
        return 0.0

    suite = Suite({"objective": objective}, **SMALL)
    outcomes = {check: suite.outcome(check)[0] for check in suite.ids}
    made = len(calls)
    assert made > 0
    assert outcomes["objective-NPG-J-001"] == "fail"
    assert {check: suite.outcome(check)[0] for check in suite.ids} == outcomes
    assert len(calls) == made
