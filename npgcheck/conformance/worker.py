"""Calling a subject in a process of its own, so that crashes and hangs are survived.

The parent side is :class:`WorkerCaller`, which has the interface of
:class:`~npgcheck.conformance.guard.LocalCaller`; the child side is :func:`main`. They exchange
pickles over the child's standard input and output, each preceded by its length. In the child,
what the subject prints is sent to standard error before anything of it is imported.

A problem crosses the pipe once; after that it is named by a number. The child stops a call that
hangs in Python code by itself, which keeps it alive and shows where the call hangs; the parent
ends the child only when that does not help, and starts another.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from npgcheck.conformance.answer import Answer, Fault
from npgcheck.conformance.guard import FIRST_CALL_LIMIT, TIME_LIMIT, LocalCaller, Patience
from npgcheck.conformance.subject import Subject, load
from npgcheck.errors import NpgcheckError, UsageError

KEPT_PROBLEMS = 2000
"""How many problems the child keeps; the least recently used is forgotten first."""
LOAD_LIMIT = 120.0
"""Seconds that importing the subject may take."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Set to 1 in the child unless the environment says otherwise. The problems are far too small for
threads: on a busy two-core machine a torch subject took 63 s with them and 3.5 s without."""
GRACE = 1.0
"""Seconds beyond a call's limit before the child is ended from outside."""

_ROOT = str(Path(__file__).resolve().parents[2])
_HEADER = struct.Struct("<Q")


class WorkerLostError(Exception):
    """The child ended, or had to be ended; carries the fault of the call."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Elsewhere:
    """Stands for a function that lives in the child."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Any:
        raise NpgcheckError(f"{self.name} lives in the worker process; use the caller's call().")


class WorkerCaller:
    """Calls a subject in a child process.

    Args:
        target: what to load there: a path, a module, ``module:object`` or an adapter's name; or a
            subject that was loaded from one of these.
        time_limit: seconds per call, after the first call of each function.
        first_call_limit: seconds for the first call of each function in a new child.

    Raises:
        UsageError: the subject cannot be loaded; raised on first use of :attr:`subject`, so that
            the child imports it while the parent does other things.
    """

    def __init__(
        self,
        target: str | Subject,
        time_limit: float = TIME_LIMIT,
        first_call_limit: float = FIRST_CALL_LIMIT,
    ) -> None:
        if isinstance(target, Subject) and not target.target:
            raise UsageError(
                f"{target.name} is an object of this process; only what can be loaded by name, "
                f"such as a file, can be isolated."
            )
        target = target.target if isinstance(target, Subject) else target
        self.target = target
        self.time_limit = time_limit
        self.first_call_limit = max(first_call_limit, time_limit)
        self._patience = Patience()
        self._subject: Subject | None = None
        self._calls = 0
        self._child: _Child | None = _Child(target, time_limit, self.first_call_limit)

    def __enter__(self) -> WorkerCaller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def subject(self) -> Subject:
        """The subject's description; its functions live in the child."""
        if self._subject is None:
            child = self._running()
            self._subject = child.description
        return self._subject

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def call(
        self, quantity: str, problem: Any, *args: Any, shape: tuple[int, ...] | None = None
    ) -> Answer:
        """Calls one function in the child; see :meth:`LocalCaller.call`."""
        if (fault := self._patience.spent(quantity)) is not None:
            return Answer(None, fault=fault)
        child = self._running()
        first = quantity not in child.called
        self._calls += 1
        start = time.perf_counter()
        try:
            answer = child.call(quantity, problem, args, shape, self._calls)
        except WorkerLostError as lost:
            self._child = None
            answer = Answer(None, fault=lost.fault, seconds=time.perf_counter() - start)
        self._patience.note(quantity, answer.fault, first)
        return answer

    def _running(self) -> _Child:
        if self._child is None:
            self._child = _Child(self.target, self.time_limit, self.first_call_limit)
        self._child.wait_until_loaded()
        return self._child


class _Child:
    """One child process, from its start to its end."""

    def __init__(self, target: str, time_limit: float, first_call_limit: float) -> None:
        self._limits = (time_limit, first_call_limit)
        self.called: set[str] = set()
        self._numbers: OrderedDict[int, tuple[int, Any]] = OrderedDict()
        self._next_number = 0
        self._description: Subject | None = None
        program = (
            f"import sys; sys.path.append({_ROOT!r}); "
            "from npgcheck.conformance.worker import main; main()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**dict.fromkeys(THREADS, "1"), **os.environ},
            # Ctrl-C at the terminal goes to the parent, which ends the child.
            start_new_session=True,
        )
        self._target = target
        self._ended = False
        # When the child has ended already, that is explained where its answer is awaited.
        with suppress(BrokenPipeError):
            self._send(("load", target, sys.path[:], time_limit, first_call_limit))

    @property
    def description(self) -> Subject:
        self.wait_until_loaded()
        assert self._description is not None
        return self._description

    def wait_until_loaded(self) -> None:
        if self._description is not None:
            return
        try:
            kind, content = self._receive(LOAD_LIMIT)
        except WorkerLostError as lost:
            said = lost.fault.message
            raise UsageError(f"{self._target} cannot be imported: {said}.") from None
        if kind == "usage":
            self.end()
            raise UsageError(content)
        self._description = content

    def call(
        self,
        quantity: str,
        problem: Any,
        args: tuple[Any, ...],
        shape: tuple[int, ...] | None,
        seed: int,
    ) -> Answer:
        limit = self._limits[quantity not in self.called]
        self.called.add(quantity)
        number, news = self._number(problem)
        try:
            self._send(("call", quantity, number, news, args, shape, seed))
        except BrokenPipeError:
            raise WorkerLostError(self._obituary()) from None
        # The child's own alarm rings first; the grace covers the transport of a large problem.
        kind, answer = self._receive(limit + GRACE)
        if kind == "broken":
            raise NpgcheckError(f"the worker process failed by itself: {answer}")
        assert isinstance(answer, Answer)
        return answer

    def _number(self, problem: Any) -> tuple[int | None, Any]:
        """The problem's number, and what the child must learn: (problem, number to forget)."""
        if problem is None:
            return None, None
        key = id(problem)
        if key in self._numbers:
            self._numbers.move_to_end(key)
            return self._numbers[key][0], None
        self._next_number += 1
        self._numbers[key] = (self._next_number, problem)
        forgotten = None
        if len(self._numbers) > KEPT_PROBLEMS:
            forgotten = self._numbers.popitem(last=False)[1][0]
        return self._next_number, (problem, forgotten)

    def _send(self, message: Any) -> None:
        data = pickle.dumps(message, protocol=5)
        stream = self._process.stdin
        assert stream is not None
        stream.write(_HEADER.pack(len(data)) + data)
        stream.flush()

    def _receive(self, limit: float) -> tuple[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + limit
        (length,) = _HEADER.unpack(self._read(descriptor, _HEADER.size, deadline, limit))
        message = pickle.loads(self._read(descriptor, length, deadline, limit))
        return message[0], message[1]

    def _read(self, descriptor: int, length: int, deadline: float, limit: float) -> bytes:
        data = bytearray()
        while len(data) < length:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([descriptor], [], [], remaining)[0]:
                self.end()
                said = f"did not return within {limit - GRACE:g} s; --time-limit gives it longer"
                raise WorkerLostError(Fault("hung", said))
            part = os.read(descriptor, min(length - len(data), 1 << 20))
            if not part:
                raise WorkerLostError(self._obituary())
            data += part
        return bytes(data)

    def _obituary(self) -> Fault:
        """How the child ended, in words."""
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:  # it closed its output and lives on
            self.end()
            return Fault("crashed", "closed the worker's pipes")
        self.end()
        if code < 0:
            return Fault("crashed", f"ended its process with signal {_signal_name(-code)}")
        return Fault("crashed", f"ended its process with exit code {code}")

    def end(self) -> None:
        """Ends the child and what it started, whatever they are doing."""
        if self._ended:  # its number may belong to another process by now
            return
        self._ended = True
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # unsent bytes for a child that is gone
                    stream.close()
        with suppress(ProcessLookupError):  # the whole group may be gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def main() -> None:
    """The child: loads a subject and answers calls until its standard input ends."""
    calls, answers = _private_pipes()
    # A dead parent closes the pipe; Ctrl-C is the parent's to handle.
    message = _read_message(calls)
    if message is None:
        return
    _, target, path, time_limit, first_call_limit = message
    sys.path[:] = [*path, *(p for p in sys.path if p not in path)]
    try:
        subject = load(target)
    except UsageError as error:
        _write_message(answers, ("usage", str(error)))
        return
    _write_message(answers, ("loaded", _described(subject)))
    if subject.policy_functions:  # a problem that arrives here finds its policy's network again
        from npgcheck.conformance.own import LOADED

        LOADED[target] = LOADED[subject.target] = LOADED[subject.name] = subject.policy_functions
    caller = LocalCaller(subject, time_limit, first_call_limit)
    problems: dict[int, Any] = {}
    while (message := _read_message(calls)) is not None:
        _write_message(answers, _answered(caller, problems, message))


def _answered(caller: LocalCaller, problems: dict[int, Any], message: Any) -> tuple[str, Any]:
    _, quantity, number, news, args, shape, seed = message
    if news is not None:
        problem, forgotten = news
        problems[number] = problem
        problems.pop(forgotten, None)
    caller.calls = seed - 1
    return "answer", caller.call(quantity, problems.get(number), *args, shape=shape)


def _private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keeps the pipes to the parent; the subject finds an empty input and writes to stderr."""
    calls = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return calls, answers


def _described(subject: Subject) -> Subject:
    """The subject without its functions, which cannot leave the child."""
    from dataclasses import replace

    return replace(
        subject,
        functions={name: Elsewhere(name) for name in subject.functions},
        policy_functions={name: Elsewhere(name) for name in subject.policy_functions},
        known_failures=dict(subject.known_failures),
        policy_sizes=dict(subject.policy_sizes),
        near_misses=dict(subject.near_misses),
    )


def _read_message(stream: IO[bytes]) -> Any:
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    return pickle.loads(stream.read(_HEADER.unpack(header)[0]))


def _write_message(stream: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message, protocol=5)
    stream.write(_HEADER.pack(len(data)) + data)
    stream.flush()
