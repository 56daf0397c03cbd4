"""Guarded calls: each fault is planted and named; right code in any style passes."""

from __future__ import annotations

import random
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from doors import small_problem

from npgcheck.conformance.guard import LocalCaller
from npgcheck.conformance.subject import load
from npgcheck.errors import Unsupported

PROBLEM = small_problem()


def ask(quantity, function, *args, problem=PROBLEM, limit=0.2, first=0.3):
    caller = LocalCaller(load({quantity: function}), limit, first)
    try:
        return caller.call(quantity, problem, *args)
    finally:
        caller.close()


def answer_of(function):
    """What the guard makes of a natural_gradient function."""
    return ask("natural_gradient", function)


# --- right answers in every style ---------------------------------------------------------------

VECTOR = np.arange(6.0)


@pytest.mark.parametrize(
    ("returned", "dtype"),
    [
        (VECTOR, "float64"),
        (VECTOR.astype(np.float32), "float32"),
        (VECTOR.astype(np.float16), "float16"),
        (VECTOR.tolist(), "float64"),
        (tuple(range(6)), "int64"),
        ([np.float32(x) for x in VECTOR], "float32"),
        ([Fraction(x) for x in range(6)], "object"),
        (np.arange(6), "int64"),
        ([np.array(x) for x in VECTOR], "float64"),
        (VECTOR[::-1][::-1], "float64"),
    ],
)
def test_vectors_in_any_container(returned, dtype):
    answer = answer_of(lambda problem: returned)
    assert answer.fault is None
    assert answer.value.dtype == np.float64
    assert answer.value.tolist() == VECTOR.tolist()
    assert answer.dtype == dtype


@pytest.mark.parametrize(
    "returned",
    [0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), [0.5], [[0.5]], Fraction(1, 2)],
)
def test_numbers_and_arrays_of_one_element(returned):
    answer = ask("objective", lambda problem: returned)
    assert answer.fault is None
    assert answer.value.shape == ()
    assert answer.value == 0.5


def test_nested_lists_and_sparse_matrices():
    import scipy.sparse

    for returned in (np.eye(6).tolist(), scipy.sparse.eye_array(6).tocsr()):
        answer = ask("fisher", lambda problem, returned=returned: returned)
        assert answer.fault is None
        assert np.array_equal(answer.value, np.eye(6))


class FakeTensor:
    """Quacks as much like a torch tensor as the guard needs, without torch."""

    def __init__(self, array, dtype="torch.float32"):
        self.array, self.dtype = array, dtype

    def detach(self):
        return FakeTensor(self.array, self.dtype)

    cpu = resolve_conj = resolve_neg = detach

    def float(self):
        return FakeTensor(self.array.astype(np.float32), "torch.float32")

    def numpy(self):
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def test_tensors_with_gradient_alone_and_in_lists():
    vector = VECTOR.astype(np.float32)
    for returned, dtype in (
        (FakeTensor(vector), "float32"),
        (FakeTensor(vector, "torch.bfloat16"), "bfloat16"),
        ([FakeTensor(np.float32(x)) for x in VECTOR], "float32"),
        ([0.0, *(FakeTensor(np.float32(x)) for x in VECTOR[1:])], "float32"),
    ):
        answer = answer_of(lambda problem, returned=returned: returned)
        assert answer.fault is None, answer.fault
        assert answer.value.tolist() == VECTOR.tolist()
        assert answer.dtype == dtype


@pytest.mark.torch
def test_real_tensors():
    import torch

    weight = torch.arange(6.0, requires_grad=True)
    answers = [
        answer_of(lambda problem: weight),
        answer_of(lambda problem: (weight * 1.0).to(torch.bfloat16)),
        answer_of(lambda problem: list(weight)),
        answer_of(lambda problem: torch.conj(weight.double() * (1 + 0j)).real),
    ]
    assert [a.fault for a in answers] == [None] * 4
    assert [a.dtype for a in answers] == ["float32", "bfloat16", "float32", "float64"]
    assert all(a.value.tolist() == VECTOR.tolist() for a in answers)

    def solve(matvec, b, iterations):
        direction = torch.as_tensor(b, dtype=torch.float32)
        product = matvec(direction)
        assert product.dtype == torch.float32
        return product

    answer = ask("conjugate_gradient", solve, 2 * np.eye(3), np.ones(3), 1, problem=None)
    assert answer.value.tolist() == [2.0, 2.0, 2.0]


def test_iterates_are_copied_as_they_arrive():
    def train(problem, iterations, step_size):
        theta = problem.theta.copy()
        for _ in range(iterations):
            theta += step_size
            yield theta  # the same buffer each time

    answer = ask("train", train, 3, 0.5)
    assert answer.fault is None
    assert np.allclose(answer.value - PROBLEM.theta, [[0.5], [1.0], [1.5]])
    as_array = ask("train", lambda p, n, s: np.zeros((n, p.theta.size), np.float32), 3, 0.5)
    assert as_array.fault is None
    assert as_array.dtype == "float32"


def test_results_are_copied_on_receipt():
    held = np.zeros(6)
    answer = answer_of(lambda problem: held)
    held += 1
    assert not answer.value.any()


def test_arguments_arrive_as_plain_writable_things():
    seen = {}

    def score(problem, state, action):
        seen.update(state=state, action=action, writable=problem.theta.flags.writeable)
        return np.zeros(6)

    assert ask("score", score, np.int64(1), np.int64(2)).fault is None
    assert seen == {"state": 1, "action": 2, "writable": True}
    assert type(seen["state"]) is int


def test_matvec_multiplies_and_counts():
    def conjugate_gradient(matvec, b, iterations):
        return matvec(matvec(list(b)))

    matrix = np.diag([1.0, 2.0, 3.0])
    answer = ask("conjugate_gradient", conjugate_gradient, matrix, np.ones(3), 4, problem=None)
    assert answer.value.tolist() == [1.0, 4.0, 9.0]
    assert answer.products == 2


def test_writing_and_putting_back_is_allowed():
    def restored(problem):
        kept = problem.mdp.rewards.copy()
        problem.mdp.rewards[:] = 0.0
        problem.mdp.rewards[:] = kept
        return problem.theta

    def fresh_alias(problem):
        theta = problem.theta
        theta = theta + 1
        return theta

    assert answer_of(restored).fault is None
    assert answer_of(fresh_alias).fault is None

    def differences(problem):
        out = np.zeros(6)
        for i in range(6):
            problem.theta[i] += 0.7
            out[i] += problem.theta.sum()
            problem.theta[i] -= 0.7
        assert problem.theta.tobytes() != PROBLEM.theta.tobytes()  # a rounding stays behind
        return out

    assert answer_of(differences).fault is None


def test_what_was_read_is_known():
    reads = {
        "natural_gradient": lambda problem: problem.theta,
        "value": lambda problem: problem.mdp.rewards[:, 0],
        "policy_gradient": lambda problem: problem.batch.advantages[:6],
    }
    accessed = {name: ask(name, function).accessed for name, function in reads.items()}
    assert accessed == {
        "natural_gradient": frozenset(),
        "value": {"mdp"},
        "policy_gradient": {"batch"},
    }


def test_global_generators_differ_between_calls_and_repeat_between_runs():
    def natural_gradient(problem):
        return [np.random.random(), random.random(), 0, 0, 0, 0]

    state = np.random.get_state()[1].tolist()
    runs = []
    for _ in range(2):
        caller = LocalCaller(load({"natural_gradient": natural_gradient}))
        runs.append([caller.call("natural_gradient", PROBLEM).value.tolist() for _ in range(2)])
        caller.close()
    assert runs[0] == runs[1]
    assert runs[0][0][:2] != runs[0][1][:2]
    assert np.random.get_state()[1].tolist() == state


def test_warnings_are_no_findings():
    import warnings

    def natural_gradient(problem):
        warnings.warn("careful", stacklevel=1)  # the suite turns warnings into errors
        np.log(np.zeros(1))
        return problem.theta

    assert answer_of(natural_gradient).fault is None


def test_folders_are_importable_during_the_call(tmp_path):
    (tmp_path / "late_helper_of_subject.py").write_text("ANSWER = 0.5\n")
    (tmp_path / "my_npg.py").write_text(
        "def objective(problem):\n    import late_helper_of_subject as h\n    return h.ANSWER\n"
    )
    caller = LocalCaller(load(tmp_path / "my_npg.py"))
    assert caller.call("objective", PROBLEM).value == 0.5
    assert str(tmp_path) not in sys.path


# --- planted faults -----------------------------------------------------------------------------

FAULTS = {
    "wrong_type": [
        (lambda p: None, "returned None; is a return statement missing"),
        (lambda p: "0.5", "returned a str"),
        (lambda p: {"x": 1}, "returned a dict"),
        (lambda p: VECTOR + 0j, "returned complex numbers"),
        (lambda p: VECTOR > 1, "an array of dtype bool"),
        (lambda p: ["a"] * 6, "entries such as"),
        (lambda p: [None] * 6, "as an entry"),
        (lambda p: [[1.0], [2.0, 3.0]], "no array"),
        (lambda p: (x for x in VECTOR), "returned a generator"),
        (lambda p: object(), "returned an object"),
    ],
    "wrong_shape": [
        (lambda p: np.zeros(5), r"returned shape \(5,\); shape \(6,\) is asked"),
        (lambda p: np.zeros((2, 3)), r"returned shape \(2, 3\)"),
        (lambda p: np.zeros((6, 1)), r"returned shape \(6, 1\)"),
        (lambda p: 0.5, r"returned shape \(\)"),
        (lambda p: [], r"returned shape \(0,\)"),
    ],
    "non_finite": [
        (lambda p: VECTOR * np.nan, "returned nan in 6 of 6 entries"),
        (lambda p: np.array([1, 2, 3, 4, 5, -np.inf]), "returned -inf in 1 of 6 entries"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "function", "said"),
    [(kind, f, said) for kind, planted in FAULTS.items() for f, said in planted],
)
def test_answers_of_the_wrong_kind(kind, function, said):
    import re

    fault = answer_of(function).fault
    assert fault is not None
    assert fault.kind == kind
    assert re.search(said, fault.message)
    assert "\n" not in fault.message


def test_non_finite_answers_are_kept_for_display():
    assert np.isnan(ask("objective", lambda problem: float("nan")).value)


def test_iterates_of_the_wrong_number_or_shape():
    def endless(problem, iterations, step_size):
        while True:
            yield problem.theta

    faults = [
        ask("train", endless, 3, 0.5).fault,
        ask("train", lambda p, n, s: [p.theta] * 2, 3, 0.5).fault,
        ask("train", lambda p, n, s: [p.theta[:2]] * 3, 3, 0.5).fault,
        ask("train", lambda p, n, s: p.theta.sum(), 3, 0.5).fault,
    ]
    assert [f.kind for f in faults] == ["wrong_shape", "wrong_shape", "wrong_shape", "wrong_type"]
    assert "without θ₀" in faults[0].message


def test_raising_shows_the_subjects_own_lines_only(tmp_path):
    (tmp_path / "my_npg.py").write_text(
        "def inner():\n    return 1 / 0\n\n"
        "def fisher(problem):\n    return inner()\n\n"
        "def kl(problem, theta):\n    return problem.policy.log_prob(theta, 'x', 0)\n"
    )
    caller = LocalCaller(load(tmp_path / "my_npg.py"))
    fault = caller.call("fisher", PROBLEM).fault
    assert (fault.kind, fault.message) == ("raised", "raised ZeroDivisionError: division by zero")
    assert "in fisher" in fault.traceback
    assert "in inner" in fault.traceback
    through_us = caller.call("kl", PROBLEM, PROBLEM.theta).fault
    for traceback in (fault.traceback, through_us.traceback):
        assert "/npgcheck/" not in traceback
        assert "my_npg.py" in traceback


@pytest.mark.parametrize("error", [SystemExit(2), pytest.fail.Exception("no"), RecursionError()])
def test_unusual_exceptions_are_the_subjects_doing(error):
    def natural_gradient(problem):
        raise error

    assert answer_of(natural_gradient).fault.kind == "raised"


def test_interrupting_is_never_a_finding():
    def natural_gradient(problem):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_of(natural_gradient)


def test_unsupported_is_a_reason_not_a_finding():
    def natural_gradient(problem):
        raise Unsupported("only for one action")

    fault = answer_of(natural_gradient).fault
    assert (fault.kind, fault.message) == ("unsupported", "only for one action")


@pytest.mark.parametrize(
    ("where", "write"),
    [
        ("theta", lambda p: p.theta.__setitem__(0, 9.0)),
        ("theta", lambda p: p.theta.__setitem__(0, np.nan)),
        ("theta", lambda p: p.theta.__iadd__(1e-9)),
        ("observations", lambda p: p.observations.__imul__(2)),
        ("mdp.rewards", lambda p: p.mdp.rewards.__isub__(p.mdp.rewards.mean())),
        ("mdp.transitions", lambda p: p.mdp.transitions.sort()),
        ("batch.advantages", lambda p: p.batch.advantages.__imul__(0.5)),
        ("batch.actions", lambda p: p.batch.actions.sort()),
    ],
)
def test_writing_into_the_problem_is_named(where, write):
    def natural_gradient(problem):
        write(problem)
        return np.zeros(6)

    before = PROBLEM.fingerprint()
    answer = answer_of(natural_gradient)
    assert answer.fault.kind == "mutated_problem"
    assert f"problem.{where}," in answer.fault.message
    assert answer.value is not None
    assert PROBLEM.fingerprint() == before


def test_writing_into_arguments_is_named():
    def fisher_vector_product(problem, vector):
        vector *= 2
        return vector

    vector = np.ones(6)
    answer = ask("fisher_vector_product", fisher_vector_product, vector)
    assert answer.fault.kind == "mutated_problem"
    assert "its argument vector" in answer.fault.message
    assert vector.tolist() == [1.0] * 6

    def conjugate_gradient(matvec, b, iterations):
        b -= matvec(b)
        return b

    answer = ask(
        "conjugate_gradient", conjugate_gradient, 2 * np.eye(3), np.ones(3), 2, problem=None
    )
    assert "its argument b" in answer.fault.message


def test_hanging_is_interrupted_and_shows_where():
    def natural_gradient(problem):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue

    start = time.perf_counter()
    fault = answer_of(natural_gradient).fault
    assert fault.kind == "hung"
    assert "--time-limit" in fault.message
    assert "in natural_gradient" in fault.traceback
    assert "TimeUp" not in fault.traceback
    assert time.perf_counter() - start < 2


def test_a_bare_except_does_not_stop_the_alarm():
    def natural_gradient(problem):
        swallowed = 0
        while swallowed < 2:
            try:
                time.sleep(10)
            except BaseException:
                swallowed += 1
        time.sleep(10)

    assert answer_of(natural_gradient).fault.kind == "hung"


def test_the_first_call_may_take_longer():
    calls = []

    def natural_gradient(problem):
        calls.append(1)
        time.sleep(0.2)
        return problem.theta

    caller = LocalCaller(load({"natural_gradient": natural_gradient}), 0.05, 5.0)
    kinds = [
        getattr(caller.call("natural_gradient", PROBLEM).fault, "kind", None) for _ in range(6)
    ]
    assert kinds == [None, *["hung"] * 5]
    assert len(calls) == 4  # after three hangs it is not called again


def test_a_first_call_that_hangs_is_not_repeated():
    calls = []

    def natural_gradient(problem):
        calls.append(1)
        time.sleep(5)

    caller = LocalCaller(load({"natural_gradient": natural_gradient}), 0.05, 0.1)
    assert [caller.call("natural_gradient", PROBLEM).fault.kind for _ in range(3)] == ["hung"] * 3
    assert len(calls) == 1


def test_a_timer_of_the_host_program_is_left_alone():
    import signal

    rang = []
    previous = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    signal.setitimer(signal.ITIMER_REAL, 30.0)
    try:
        assert answer_of(lambda problem: problem.theta).fault is None
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert not rang
