"""What a policy accepts: parameter vectors, observations, actions; wrong sizes are typed errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument, InvalidPolicy

Array = np.ndarray


def positive(name: str, value: Any) -> int:
    """Returns `value` as an int of at least one, or raises `InvalidPolicy`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InvalidPolicy(f"{name} must be an integer of at least 1, got {value!r}.")
    return int(value)


def parameters(theta: Any, size: int, name: str = "theta") -> Array:
    """Returns `theta` as float64 of shape (D,)."""
    theta = np.asarray(theta, dtype=np.float64)
    if theta.shape != (size,):
        raise InvalidPolicy(f"{name} must have shape ({size},), got {theta.shape}.")
    return theta


def observations(obs: Any, size: int) -> Array:
    """Returns `obs` as float64 of shape (N, k)."""
    obs = np.asarray(obs, dtype=np.float64)
    if obs.ndim != 2 or obs.shape[1] != size:
        raise InvalidPolicy(f"observations must have shape (N, {size}), got {obs.shape}.")
    return obs


def action_indices(actions: Any, rows: int, num_actions: int) -> Array:
    """Returns `actions` as int of shape (N,), each in [0, A)."""
    given = np.asarray(actions)
    if given.shape != (rows,) or given.dtype.kind not in "iu":
        raise InvalidArgument(
            f"actions must be integers of shape ({rows},), got {given.dtype} {given.shape}."
        )
    if rows and (given.min() < 0 or given.max() >= num_actions):
        row = int(np.argmax((given < 0) | (given >= num_actions)))
        raise InvalidArgument(f"actions[{row}] is {given[row]}, outside 0 … {num_actions - 1}.")
    return given


def action_vectors(actions: Any, rows: int, action_size: int) -> Array:
    """Returns `actions` as float64 of shape (N, m)."""
    actions = np.asarray(actions, dtype=np.float64)
    if actions.shape != (rows, action_size):
        raise InvalidArgument(
            f"actions must have shape ({rows}, {action_size}), got {actions.shape}."
        )
    return actions


def finite(name: str, array: Array) -> Array:
    """Returns `array`, or raises `InvalidPolicy` naming the first entry that is not finite."""
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidPolicy(
            f"{name}[{', '.join(map(str, index))}] is {array[index]}:"
            " the parameters or observations are too large, or not finite themselves."
        )
    return array


def flatten(arrays: dict[str, Any], layout: dict[str, tuple[int, ...]]) -> Array:
    """Concatenates named arrays, each raveled in C order, in the order of `layout`."""
    if set(arrays) != set(layout):
        raise InvalidPolicy(f"parameters are named {sorted(layout)}, got {sorted(arrays)}.")
    parts = []
    for name, shape in layout.items():
        part = np.asarray(arrays[name], dtype=np.float64)
        if part.shape != shape:
            raise InvalidPolicy(f"{name} must have shape {shape}, got {part.shape}.")
        parts.append(part.ravel())
    return np.concatenate(parts)


def unflatten(theta: Array, layout: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """The inverse of `flatten`: copies, one array per name."""
    arrays, start = {}, 0
    for name, shape in layout.items():
        stop = start + int(np.prod(shape))
        arrays[name] = theta[start:stop].reshape(shape).copy()
        start = stop
    return arrays
