"""The worker process: crashes and hangs are survived, named and bounded; prints go elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from doors import small_problem

from npgcheck.conformance.guard import LocalCaller
from npgcheck.conformance.subject import load
from npgcheck.conformance.worker import WorkerCaller
from npgcheck.errors import NpgcheckError, UsageError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers use POSIX pipes")

PROBLEM = small_problem()

SUBJECT = """
import ctypes, os, sys, time
import npgcheck
print("printed at import")
known_failures = {"NPG-F-001": "why"}
conventions = npgcheck.Conventions(damping=0.25)

def natural_gradient(problem):
    print("printed in a call")
    os.write(1, b"written to the descriptor\\n")
    return problem.theta

def state_distribution(problem):
    return [float(os.getpid())] * 4

def value(problem):
    os._exit(3)

def q_value(problem):
    ctypes.string_at(0)

def advantage(problem):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def objective(problem):
    while True:
        pass

def kl(problem, theta):
    problem.batch
    return 1 / 0

def fisher_vector_product(problem, vector):
    return vector

def fisher(problem):
    raise npgcheck.Unsupported("too large")
"""


@pytest.fixture
def caller(tmp_path):
    (tmp_path / "my_npg.py").write_text(SUBJECT)
    with WorkerCaller(str(tmp_path / "my_npg.py"), 0.2, 0.4) as made:
        yield made


def test_the_subject_is_described_without_its_functions(caller):
    subject = caller.subject
    assert subject.name == "my_npg.py"
    assert "natural_gradient" in subject.functions
    assert subject.conventions.damping == 0.25
    assert subject.known_failures == {"NPG-F-001": "why"}
    with pytest.raises(NpgcheckError, match="lives in the worker"):
        subject.functions["natural_gradient"](PROBLEM)


def test_answers_equal_those_of_this_process(caller, tmp_path):
    local = LocalCaller(load(tmp_path / "my_npg.py"))
    vector = np.arange(6.0)
    for quantity, args in (("natural_gradient", ()), ("fisher_vector_product", (vector,))):
        here, there = (c.call(quantity, PROBLEM, *args) for c in (local, caller))
        assert here.value.tobytes() == there.value.tobytes()
        assert (here.dtype, here.fault, here.accessed) == (there.dtype, there.fault, there.accessed)
    here, there = (c.call("kl", PROBLEM, PROBLEM.theta) for c in (local, caller))
    assert here.fault == there.fault
    assert there.accessed == {"batch"}
    assert caller.call("fisher", PROBLEM).fault.kind == "unsupported"


def test_each_way_of_dying_is_named_and_survived(caller):
    pid = caller.call("state_distribution", PROBLEM).value[0]
    assert pid != os.getpid()
    faults = {q: caller.call(q, PROBLEM).fault for q in ("value", "q_value", "advantage")}
    assert faults["value"].kind == "crashed"
    assert "exit code 3" in faults["value"].message
    assert faults["q_value"].kind == "crashed"
    assert "SIGSEGV" in faults["q_value"].message
    assert faults["advantage"].kind == "hung"
    assert caller.call("natural_gradient", PROBLEM).fault is None
    assert caller.call("state_distribution", PROBLEM).value[0] != pid


def test_a_hang_in_python_is_stopped_from_inside_and_shows_where(caller):
    pid = caller.call("state_distribution", PROBLEM).value[0]
    fault = caller.call("objective", PROBLEM).fault
    assert fault.kind == "hung"
    assert "in objective" in fault.traceback
    assert caller.call("state_distribution", PROBLEM).value[0] == pid


def test_a_function_that_keeps_dying_is_not_called_for_ever(caller):
    start = time.perf_counter()
    faults = [caller.call("value", PROBLEM).fault for _ in range(50)]
    assert {f.kind for f in faults} == {"crashed"}
    hangs = [caller.call("advantage", PROBLEM).fault for _ in range(50)]
    assert {f.kind for f in hangs} == {"hung"}
    assert time.perf_counter() - start < 10


def test_prints_never_reach_standard_output(tmp_path):
    (tmp_path / "my_npg.py").write_text(SUBJECT)
    program = (
        "from doors import small_problem\n"
        "from npgcheck.conformance.worker import WorkerCaller\n"
        f"with WorkerCaller({str(tmp_path / 'my_npg.py')!r}) as caller:\n"
        "    print(caller.call('natural_gradient', small_problem()).fault)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
    )
    assert done.stdout == "None\n"
    for text in ("printed at import", "printed in a call", "written to the descriptor"):
        assert text in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os._exit(7)", "ended its process with exit code 7"),
        ("x = 1", "defines no function of the contract"),
        ("def kl(problem): return 0", "define kl"),
    ],
)
def test_a_subject_that_does_not_load(text, said, tmp_path):
    (tmp_path / "my_npg.py").write_text(text)
    with (
        WorkerCaller(str(tmp_path / "my_npg.py")) as caller,
        pytest.raises(UsageError, match=said) as caught,
    ):
        caller.subject  # noqa: B018
    assert "\n" not in str(caught.value)


def test_objects_of_this_process_cannot_be_isolated():
    with pytest.raises(UsageError, match="object of this process"):
        WorkerCaller(load({"kl": lambda problem, theta: 0.0}))


def test_a_file_named_like_a_module_of_ours_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("npgcheck.py", "numpy.py", "pickle.py", "select.py"):
        (tmp_path / name).write_text("raise RuntimeError('the wrong module')\n")
    (tmp_path / "my_npg.py").write_text("def objective(problem): return 0.5\n")
    with WorkerCaller("my_npg.py") as caller:
        assert caller.call("objective", PROBLEM).value == 0.5


def test_many_problems_cross_the_pipe_once(caller, monkeypatch):
    from npgcheck.conformance import worker

    monkeypatch.setattr(worker, "KEPT_PROBLEMS", 3)
    problems = [small_problem(seed) for seed in range(5)]
    for problem in [*problems, *problems, problems[-1]]:
        answer = caller.call("natural_gradient", problem)
        assert answer.value.tobytes() == problem.theta.tobytes()


def test_calls_are_cheap(tmp_path):
    (tmp_path / "my_npg.py").write_text("def natural_gradient(problem): return problem.theta\n")
    with WorkerCaller(str(tmp_path / "my_npg.py")) as caller:
        caller.call("natural_gradient", PROBLEM)
        start = time.perf_counter()
        for _ in range(500):
            caller.call("natural_gradient", PROBLEM)
        # 0.16 ms per call when measured; a run makes some five thousand. Ten times the slack.
        assert time.perf_counter() - start < 0.8


def test_the_child_has_one_thread_unless_told_otherwise(tmp_path, monkeypatch):
    (tmp_path / "my_npg.py").write_text(
        "import os\ndef objective(problem): return float(os.environ['OMP_NUM_THREADS'])\n"
    )
    for given, expected in ((None, 1), ("3", 3)):
        if given is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", given)
        with WorkerCaller(str(tmp_path / "my_npg.py")) as caller:
            assert caller.call("objective", PROBLEM).value == expected


def test_closing_ends_the_process_and_its_children(tmp_path):
    (tmp_path / "my_npg.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "def objective(problem): return float(child.pid)\n"
    )
    with WorkerCaller(str(tmp_path / "my_npg.py")) as caller:
        pid = int(caller.call("objective", PROBLEM).value)
        assert _alive(pid)
    deadline = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
