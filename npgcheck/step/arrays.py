"""Arrays of a user's own kind: numpy, torch or jax in, float64 out, and back again.

No optional library is imported: a tensor knows how to make another one of its own kind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.conformance.answer import WrongAnswerError, receive_any
from npgcheck.errors import InvalidArgument
from npgcheck.tolerance import unit_roundoff

Array = np.ndarray
Maker = Callable[[Array], Any]


def numbers(given: Any, name: str) -> tuple[Array, str]:
    """A float64 copy of any array-like, and the name of the dtype it came in.

    Raises:
        InvalidArgument: no array of real numbers, or NaN or infinity in it.
    """
    array, dtype = any_numbers(given, name)
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f" at index {where[0] if len(where) == 1 else where}" if where else ""
        raise InvalidArgument(
            f"{name} holds {array[bad][0]}{place} ({int(bad.sum())} of {bad.size} entries are not "
            "finite); nothing can be judged against it."
        )
    return array, dtype


def any_numbers(given: Any, name: str) -> tuple[Array, str]:
    """As `numbers`, but NaN and infinity are let through."""
    try:
        return receive_any(given)
    except WrongAnswerError as error:
        said = error.fault.message
        raise InvalidArgument(f"{name}: {said}{'' if said.endswith('?') else '.'}") from None


def vector(given: Any, name: str, size: int) -> tuple[Array, str]:
    """(D,) as float64; a column or a row of the same size is read as a vector.

    Raises:
        InvalidArgument: another size, or entries that are not finite.
    """
    array, dtype = numbers(given, name)
    if array.size != size or max(array.shape, default=1) != array.size:
        raise InvalidArgument(
            f"{name} has shape {array.shape}; theta has {size} entries, and so must {name}."
        )
    return array.reshape(size), dtype


def of_actions(given: Any) -> tuple[Array, str]:
    """Actions as float64, and the dtype they came in; truth values count as zeros and ones."""
    kind = str(getattr(given, "dtype", "")).removeprefix("torch.")
    if kind == "bool":
        given = given.astype(int) if hasattr(given, "astype") else given.long()
    elif isinstance(given, (list, tuple)) and np.asarray(given).dtype.kind == "b":
        given = np.asarray(given).astype(int)
    return numbers(given, "actions")


def maker(like: Any, double: bool = False) -> Maker:
    """What turns a numpy array into an array of the same kind as `like`.

    Args:
        like: numpy array, list, torch tensor or jax array.
        double: make float64 whatever the dtype of `like`.
    """
    if hasattr(like, "new_tensor") and hasattr(like, "detach"):  # torch
        model = like.detach().double() if double else like.detach()
        return lambda array: model.new_tensor(np.ascontiguousarray(array))
    if type(like).__module__.startswith(("jax", "jaxlib")):
        dtype = np.float64 if double else like.dtype
        return lambda array: sys.modules["jax.numpy"].asarray(array, dtype=dtype)
    kind = np.asarray(like).dtype
    if double or kind.kind != "f":
        kind = np.dtype(np.float64)
    return lambda array: np.array(array, dtype=kind)


def has_double(like: Any) -> bool:
    """Whether arrays of this kind can be float64: jax has to be asked for it beforehand."""
    if not type(like).__module__.startswith(("jax", "jaxlib")):
        return True
    return bool(sys.modules["jax"].config.jax_enable_x64)


def in_double(observations: Any) -> Any:
    """Observations in float64, where they are floating-point numbers of a coarser kind."""
    if hasattr(observations, "detach") and hasattr(observations, "is_floating_point"):
        return observations.double() if observations.is_floating_point() else observations
    if type(observations).__module__.startswith(("jax", "jaxlib")):
        return sys.modules["jax.numpy"].asarray(observations, dtype=np.float64)
    if isinstance(observations, np.ndarray) and observations.dtype.kind == "f":
        return observations.astype(np.float64)
    return observations


def copy_of(given: Any) -> Any:
    """A copy that the user's code may write into."""
    if hasattr(given, "detach") and hasattr(given, "clone"):
        return given.detach().clone()
    if isinstance(given, np.ndarray):
        return given.copy()
    return given


def precision(dtype: str) -> float:
    """Orders dtypes, coarsest first; integers and unknown ones count as float64."""
    return -unit_roundoff(dtype)
