"""Guarded calls: whatever a subject does, the caller gets an :class:`Answer`.

Each call gets writable copies of its problem and arguments, which are compared afterwards; the
result is copied on receipt. What goes wrong is a :class:`Fault` with the subject's own traceback,
without frames of this package.

:class:`LocalCaller` works in this process and can interrupt a call that hangs in Python code when
it runs in the main thread; crashes and hangs inside compiled code need
:class:`npgcheck.conformance.worker.WorkerCaller`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np

from npgcheck.conformance import handover
from npgcheck.conformance.answer import (
    Answer,
    Fault,
    WrongAnswerError,
    non_finite,
    receive,
    receive_iterates,
)
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.locate import importable
from npgcheck.conformance.subject import Subject
from npgcheck.errors import Unsupported

__all__ = ["Answer", "Caller", "Fault", "LocalCaller", "Patience"]

TIME_LIMIT = 5.0
"""Seconds that a call may take, after the first."""
FIRST_CALL_LIMIT = 30.0
"""Seconds that the first call of a function may take: it may compile or load something."""
PATIENCE = 3
"""Hangs or crashes of one function after which it is not called again."""

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_ADAPTERS = _PACKAGE + "adapters" + os.sep
_MAX_FRAMES = 20


class Caller(Protocol):
    """Something that calls a subject's functions and survives what they do."""

    @property
    def subject(self) -> Subject:
        """What is being called."""

    def call(
        self, quantity: str, problem: Any, *args: Any, shape: tuple[int, ...] | None = None
    ) -> Answer:
        """Calls one function of the subject."""

    def close(self) -> None:
        """Gives back what the caller holds."""


class TimeUp(BaseException):
    """Raised inside a call that takes too long; no ``except Exception`` of the subject stops it."""


class Patience:
    """Remembers which functions hung or crashed so often that they are not called again."""

    def __init__(self) -> None:
        self._strikes: Counter[str] = Counter()
        self._fault: dict[str, Fault] = {}

    def spent(self, function: str) -> Fault | None:
        """The fault to answer with at once, or None to go on calling."""
        return self._fault[function] if self._strikes[function] >= PATIENCE else None

    def note(self, function: str, fault: Fault | None, first: bool) -> None:
        """Counts a hang or a crash; a hang in the long first call is enough by itself."""
        if fault is not None and fault.kind in ("hung", "crashed"):
            self._fault[function] = fault
            self._strikes[function] += PATIENCE if first and fault.kind == "hung" else 1


class LocalCaller:
    """Calls a subject in this process.

    Args:
        subject: what to call.
        time_limit: seconds per call, after the first call of each function.
        first_call_limit: seconds for the first call of each function.

    Attributes:
        calls: how many calls were made; each is seeded with its number.
    """

    def __init__(
        self,
        subject: Subject,
        time_limit: float = TIME_LIMIT,
        first_call_limit: float = FIRST_CALL_LIMIT,
    ) -> None:
        self.subject = subject
        self.time_limit = time_limit
        self.first_call_limit = max(first_call_limit, time_limit)
        self._functions = {**subject.functions, **subject.policy_functions}
        self._called: set[str] = set()
        self._patience = Patience()
        self.calls = 0
        self._random_state = np.random.get_state()

    def close(self) -> None:
        """Restores numpy's global random state."""
        np.random.set_state(self._random_state)

    def call(
        self, quantity: str, problem: Any, *args: Any, shape: tuple[int, ...] | None = None
    ) -> Answer:
        """Calls one function of the subject.

        Args:
            quantity: a contract function, or a function of the subject's own policy.
            problem: the problem, or None for functions that take none.
            *args: the remaining arguments; for ``conjugate_gradient`` the matrix, b and the
                number of iterations: the subject is given a product with the matrix.
            shape: of a right answer; the contract's shape when left out.
        """
        if (fault := self._patience.spent(quantity)) is not None:
            return Answer(None, fault=fault)
        if shape is None:
            shape = QUANTITIES[quantity].shape_for(problem, *args)
        first = quantity not in self._called
        self._called.add(quantity)
        self.calls += 1
        answer = _guarded(
            self._functions[quantity],
            quantity,
            problem,
            args,
            shape,
            seconds=self.first_call_limit if first else self.time_limit,
            seed=self.calls,
            folders=self.subject.folders,
        )
        self._patience.note(quantity, answer.fault, first)
        return answer


def _guarded(
    function: Callable[..., Any],
    quantity: str,
    problem: Any,
    args: tuple[Any, ...],
    shape: tuple[int, ...],
    *,
    seconds: float,
    seed: int,
    folders: tuple[str, ...],
) -> Answer:
    """One call, with every way of going wrong turned into a fault."""
    handed = handover.hand_over(quantity, problem, args)
    _seed(seed)
    value, dtype, fault = None, "float64", None
    start = time.perf_counter()
    try:
        # The verdict is about the numbers: warnings, and how numpy treats overflow, are not ours.
        with warnings.catch_warnings(), np.errstate(all="ignore"), importable(folders):
            warnings.simplefilter("ignore")
            with _alarm(seconds):
                result = function(*handed.positional)
                read = receive_iterates if quantity == "train" else receive
                value, dtype = read(result, shape)
    except KeyboardInterrupt:
        raise
    except TimeUp as error:
        message = f"did not return within {seconds:g} s; --time-limit gives it longer"
        fault = Fault("hung", message, own_traceback(error))
    except Unsupported as error:
        fault = Fault("unsupported", str(error) or "no reason given")
    except WrongAnswerError as error:
        fault = error.fault
    except BaseException as error:  # SystemExit and pytest's outcomes are the subject's doing too
        fault = Fault("raised", _said(error), own_traceback(error))
    spent = time.perf_counter() - start
    if fault is None:
        assert value is not None
        fault = non_finite(value)
    if fault is None and (changed := handed.changed()):
        fault = Fault("mutated_problem", f"wrote into {changed}, which belongs to the caller")
    return Answer(value, dtype, fault, spent, handed.accessed(), handed.products)


def _seed(seed: int) -> None:
    """Seeds the global generators, differently for each call and alike in each run."""
    np.random.seed(seed)
    random.seed(seed)
    # The CPU's generator alone: torch.manual_seed visits every accelerator, for a millisecond.
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "default_generator"):
        torch.default_generator.manual_seed(seed)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises :class:`TimeUp` in the block after so many seconds, where that can be done safely.

    Only the main thread gets signals, and a timer that the host program has set is left alone.
    The alarm repeats, because a bare ``except`` in the subject could swallow the first.
    """
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
        or signal.getitimer(signal.ITIMER_REAL)[0] > 0.0
    ):
        yield
        return
    previous = signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.25)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def _time_is_up(signum: int, frame: FrameType | None) -> None:
    raise TimeUp


def _said(error: BaseException) -> str:
    """The exception in one line."""
    text = " ".join(str(error).split())
    if len(text) > 200:
        text = text[:199] + "…"
    return f"raised {type(error).__name__}{': ' + text if text else ''}"


def own_traceback(error: BaseException) -> str:
    """The traceback without this package's frames, as Python would print it."""
    report = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    link: traceback.TracebackException | None = report
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        kept = [frame for frame in link.stack if _is_theirs(frame.filename)]
        link.stack = traceback.StackSummary.from_list(kept[-_MAX_FRAMES:])
        link = link.__cause__ or link.__context__
    lines = "".join(report.format()).rstrip()
    if isinstance(error, TimeUp):
        return lines.rpartition("\n")[0] + "\n(interrupted here)"
    return lines


def _is_theirs(filename: str) -> bool:
    if filename.startswith("<frozen importlib"):
        return False
    return not filename.startswith(_PACKAGE) or filename.startswith(_ADAPTERS)
