"""Receiving what a subject returned: any array-like becomes a float64 copy or a named fault.

Results may be numpy, nested lists, scalars, torch tensors (with or without gradient), jax arrays
or sparse matrices. Two readings are deliberately generous, because nothing is lost by them: an
array of one element answers for a number, and a number for an array of one element. Everything
else must have the contract's shape: a transposed or flattened matrix is a mistake worth naming.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

FaultKind = Literal[
    "raised",
    "hung",
    "crashed",
    "non_finite",
    "wrong_shape",
    "wrong_type",
    "mutated_problem",
    "unsupported",
]


@dataclass(frozen=True)
class Fault:
    """Something wrong with one call, other than its number.

    Attributes:
        kind: which fault.
        message: one line for the report.
        traceback: the subject's own frames, where it raised or hung.
    """

    kind: FaultKind
    message: str
    traceback: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """What one call of a subject gave.

    Attributes:
        value: a float64 copy; None when there is no value of the right type and shape.
        dtype: name of the dtype as returned (``"float32"``, ``"bfloat16"``); lists of Python
            numbers count as what numpy makes of them.
        fault: what was wrong with the call, or None.
        seconds: wall-clock time of the call.
        accessed: which of ``mdp``, ``batch`` and ``episodes`` the subject read.
        products: how often ``conjugate_gradient`` called its matvec.
    """

    value: np.ndarray | None
    dtype: str = "float64"
    fault: Fault | None = None
    seconds: float = 0.0
    accessed: frozenset[str] = frozenset()
    products: int = 0


class WrongAnswerError(Exception):
    """An answer that cannot be read as the contract asks; carries the fault."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(kind, message)


def receive(result: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Copies a result to float64 of the wanted shape; returns it with its dtype's name.

    Raises:
        WrongAnswerError: it is no array of real numbers, or has another shape.
    """
    array, dtype = _as_array(result)
    if array.dtype.kind == "c":
        raise WrongAnswerError(
            "wrong_type", f"returned complex numbers; {_wanted(shape)} is asked for"
        )
    if array.dtype.kind == "O":
        array = _from_objects(array, shape)
    if array.dtype.kind not in "fiu":
        entry = f" with entries such as {array.flat[0]!r}" if array.size and array.shape else ""
        raise WrongAnswerError(
            "wrong_type", f"returned {_describe(result)}{entry}; {_wanted(shape)} is asked for"
        )
    if array.shape != shape:
        if array.size != 1 or any(n != 1 for n in shape):
            raise WrongAnswerError(
                "wrong_shape", f"returned shape {array.shape}; {_wanted(shape)} is asked for"
            )
        array = array.reshape(shape)
    return np.array(array, dtype=np.float64), dtype


def receive_any(result: Any) -> tuple[np.ndarray, str]:
    """Copies a result of any shape to float64; returns it with its dtype's name.

    Raises:
        WrongAnswerError: it is no array of real numbers.
    """
    array, dtype = _as_array(result)
    if array.dtype.kind == "O":
        array = _from_objects(array, array.shape)
    if array.dtype.kind not in "fiu":
        raise WrongAnswerError(
            "wrong_type", f"is {_describe(result)} of kind {array.dtype}; real numbers are needed"
        )
    return np.array(array, dtype=np.float64), dtype


def receive_iterates(result: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Consumes the iterates of ``train``, at most one too many; copies each as it arrives.

    A generator may yield one buffer that it overwrites, and may never end.

    Raises:
        WrongAnswerError: not iterable, too few or too many, or an iterate of another shape.
    """
    if isinstance(result, (str, bytes, dict)) or not isinstance(result, Iterable):
        raise WrongAnswerError(
            "wrong_type", f"returned {_describe(result)}; θ₁ … θ_T are asked for"
        )
    iterations, size = shape
    rows: list[np.ndarray] = []
    dtypes: list[str] = []
    for row in result:
        if len(rows) == iterations:
            raise WrongAnswerError(
                "wrong_shape",
                f"yielded more than {iterations} iterates; exactly θ₁ … θ_{iterations} "
                f"are asked for, without θ₀",
            )
        value, dtype = receive(row, (size,))
        rows.append(value)
        dtypes.append(dtype)
    if len(rows) != iterations:
        raise WrongAnswerError(
            "wrong_shape", f"yielded {len(rows)} iterates; {iterations} are asked"
        )
    coarsest = min(dtypes, key=_precision) if dtypes else "float64"
    return np.array(rows, dtype=np.float64).reshape(shape), coarsest


def non_finite(value: np.ndarray) -> Fault | None:
    """The fault of an answer with NaN or infinite entries."""
    bad = ~np.isfinite(value)
    if not bad.any():
        return None
    kinds = sorted({str(x) for x in value[bad].tolist()})
    where = "" if value.ndim == 0 else f" in {int(bad.sum())} of {value.size} entries"
    return Fault("non_finite", f"returned {' and '.join(kinds)}{where}")


def _as_array(result: Any) -> tuple[np.ndarray, str]:
    """The result as a numpy array of any dtype, and the name of the dtype it came in."""
    if result is None:
        raise WrongAnswerError("wrong_type", "returned None; is a return statement missing?")
    if isinstance(result, (str, bytes, dict, set, frozenset)):
        raise WrongAnswerError("wrong_type", f"returned {_describe(result)}; numbers are asked for")
    result, dtype = _plain(result)
    try:
        array = np.asarray(result)
    except Exception as error:  # a ragged list, or an array type that refuses conversion
        raise WrongAnswerError(
            "wrong_type", f"returned {_describe(result)}, which is no array: {error}"
        ) from error
    return array, dtype or array.dtype.name


def _plain(result: Any) -> tuple[Any, str]:
    """Takes tensors and sparse matrices apart, also inside lists; with a dtype's name if known."""
    if isinstance(result, (list, tuple)):
        if _starts_with_a_number(result):
            try:
                return np.asarray(result), ""
            except Exception:  # a tensor that needs its gradient detached stands further on
                pass
        parts = [_plain(part) for part in result]
        dtypes = [dtype for _, dtype in parts if dtype]
        return [part for part, _ in parts], min(dtypes, key=_precision) if dtypes else ""
    if hasattr(result, "detach") and hasattr(result, "cpu"):
        dtype = str(result.dtype).removeprefix("torch.")
        tensor = result.detach().cpu()
        if getattr(tensor, "is_sparse", False):
            tensor = tensor.to_dense()
        if dtype == "bfloat16":
            tensor = tensor.float()
        return np.asarray(tensor.resolve_conj().resolve_neg().numpy()), dtype
    if hasattr(result, "toarray") and hasattr(result, "nnz"):
        return result.toarray(), ""
    if type(result).__module__.startswith(("jax", "jaxlib")) and str(result.dtype) == "bfloat16":
        return np.asarray(result.astype("float32")), "bfloat16"
    return result, ""


def _starts_with_a_number(nested: Any) -> bool:
    """Whether the first leaf of a nested list is a Python or numpy number: no need to look on.

    A tensor further on makes ``np.asarray`` fail or copies it, but is never misread.
    """
    while isinstance(nested, (list, tuple)) and nested:
        nested = nested[0]
    return isinstance(nested, (int, float, np.number))


def _from_objects(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An array of Python objects as floats: fractions and multiple-precision numbers are right."""
    for item in array.flat:
        if isinstance(item, (str, bytes, complex)) or not hasattr(item, "__float__"):
            raise WrongAnswerError(
                "wrong_type", f"returned {_describe(item)} as an entry; {_wanted(shape)} is asked"
            )
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongAnswerError(
            "wrong_type", f"returned entries that are no floats: {error}"
        ) from error


def _precision(dtype: str) -> int:
    """Orders dtypes by significand, coarsest first; anything exact counts as float64."""
    return {"bfloat16": 8, "float16": 11, "float32": 24}.get(dtype, 53)


def _wanted(shape: tuple[int, ...]) -> str:
    return "a number" if shape == () else f"shape {shape}"


def _describe(result: Any) -> str:
    if isinstance(result, np.ndarray):
        return f"an array of dtype {result.dtype}"
    noun = type(result).__name__
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
