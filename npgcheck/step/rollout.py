"""A recorded rollout, read: rewards, values and flags as arrays of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument
from npgcheck.step import arrays
from npgcheck.tolerance import unit_roundoff

Array = np.ndarray


def read_rollout(
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
    lam: float,
) -> tuple[tuple[Any, ...], str]:
    """The arguments as arrays of one shape, and the coarsest dtype of the floating ones."""
    names = ("rewards", "values", "next_values", "terminated", "truncated")
    read: list[Array] = []
    coarsest = "float64"
    for name, given in zip(names, (rewards, values, next_values), strict=False):
        array, dtype = arrays.any_numbers(given, name)
        if unit_roundoff(dtype) > unit_roundoff(coarsest):
            coarsest = dtype
        read.append(array)
    read += [_flags("terminated", terminated), _flags("truncated", truncated)]
    shape = read[0].shape
    if len(shape) not in (1, 2) or 0 in shape:
        raise InvalidArgument(
            f"rewards must have shape (T,) or (T, n_envs) with at least one row, got {shape}."
        )
    for name, array in zip(names, read, strict=True):
        if array.shape != shape:
            raise InvalidArgument(
                f"{name} has shape {array.shape}, rewards {shape}: all must be alike."
            )
    # What followed a termination is read nowhere, whatever it is.
    read[2] = np.where(read[3] & ~np.isfinite(read[2]), 0.0, read[2])
    for name, array in zip(names[:3], read, strict=False):
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise InvalidArgument(
                f"{name} holds {array[where]} at {where}; nothing can be judged against it."
            )
    for name, number in (("discount", discount), ("lam", lam)):
        if not 0 <= number <= 1:
            raise InvalidArgument(f"{name} must lie in [0, 1], got {number!r}.")
    return (*read, float(discount), float(lam)), coarsest


def _flags(name: str, given: Any) -> Array:
    """Booleans, from booleans or from zeros and ones."""
    if hasattr(given, "detach") and hasattr(given, "cpu"):
        given = given.detach().cpu().numpy()
    array = np.asarray(given)
    if array.dtype.kind != "b" and not (array.dtype.kind in "fiu" and np.isin(array, (0, 1)).all()):
        raise InvalidArgument(
            f"{name} must hold booleans, or zeros and ones, got an array of dtype {array.dtype}."
        )
    return array.astype(bool)
