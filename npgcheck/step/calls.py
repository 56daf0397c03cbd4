"""Calls of the user's functions: copies go in, numbers come out, and faults become findings."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import npgcheck
from npgcheck.conformance.report import CheckResult
from npgcheck.errors import InvalidArgument, Unsupported
from npgcheck.step import arrays
from npgcheck.step.verdict import contract

Array = np.ndarray
#: How much of the message of the user's exception is shown: lines, and characters.
LINES, LONGEST = 2, 200
_HOME = str(Path(npgcheck.__file__).parent)


class Faulty(Exception):
    """A call without an answer; carries the finding."""

    def __init__(self, finding: CheckResult) -> None:
        super().__init__(finding.reason)
        self.finding = finding


class Declined(Exception):
    """The user's function raised Unsupported, with its reason."""


@dataclass(eq=False)
class Function:
    """One of the user's functions.

    Attributes:
        quantity: the contract's name of what it answers.
        argument: the argument of check_step that it came in.
        call: the function.
        like: makes arrays of θ's own kind.
        calls: how often it was called.
        dtypes: dtypes of its answers.
    """

    quantity: str
    argument: str
    call: Callable[..., Any]
    like: arrays.Maker
    calls: int = 0
    dtypes: set[str] = field(default_factory=set)

    def vector(self, argument: Array) -> Array:
        """The answer (D,) to one vector."""
        return self._ask(argument, (len(argument),))

    def number(self, argument: Array, *, infinite: bool = False) -> float:
        """The answer to one vector, as a number; +∞ only where that may be."""
        return float(self._ask(argument, (), infinite))

    def per_row(self, argument: Array, rows: int) -> Array:
        """The answer (N,) to one vector."""
        return self._ask(argument, (rows,))

    def _ask(self, argument: Array, shape: tuple[int, ...], infinite: bool = False) -> Array:
        self.calls += 1
        given = self.like(argument)
        try:
            answer = self.call(given)
        except Unsupported as reason:
            raise Declined(str(reason)) from None
        except Exception as error:
            text = f"{type(error).__name__}: {_short(str(error))}"
            raise Faulty(
                contract(self.quantity, "raised an exception", text, _own_frames(error))
            ) from error
        return self.read(answer, shape, infinite)

    def read(self, answer: Any, shape: tuple[int, ...], infinite: bool = False) -> Array:
        """The answer as float64 of the given shape, which may hold +∞ where ``infinite``.

        Raises:
            Faulty: NaN, infinity, another shape, or no numbers at all.
        """
        try:
            array, dtype = arrays.any_numbers(answer, self.argument)
        except InvalidArgument as error:
            raise Faulty(contract(self.quantity, "returned no numbers", str(error))) from None
        self.dtypes.add(dtype)
        size = int(np.prod(shape))
        if array.size != size or (len(shape) == 1 and max(array.shape, default=1) != size):
            said = f"{self.argument} returned shape {array.shape}; {shape or 'a number'} is needed"
            raise Faulty(contract(self.quantity, "returned the wrong shape", said))
        bad = ~(np.isfinite(array) | (infinite & (array == np.inf)))
        if bad.any():
            said = (
                f"{self.argument} returned {array[bad].flat[0]} in {int(bad.sum())} of "
                f"{array.size} entries"
            )
            raise Faulty(contract(self.quantity, "returned NaN or infinity", said))
        return array.reshape(shape)

    @property
    def dtype(self) -> str:
        """The coarsest dtype that it answered in."""
        return min(self.dtypes, key=arrays.precision, default="float64")


def _short(text: str) -> str:
    """The first two lines of a message, which in libraries may hold whole arrays."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    said = " ".join(line.strip() for line in lines[:LINES])
    return said if len(lines) <= LINES and len(said) <= LONGEST else f"{said[:LONGEST].rstrip()} …"


def _own_frames(error: BaseException) -> str:
    """The user's frames of a traceback, without those of npgcheck."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _HOME not in f.filename]
    return "".join(traceback.format_list(frames))
