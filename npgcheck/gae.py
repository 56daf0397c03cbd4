"""Generalised advantage estimation on one or several concatenated trajectories.

    δ_t = r_t + γ (1 − terminated_t) V(s_{t+1}) − V(s_t)
    Â_t = δ_t + γ λ (1 − done_t) Â_{t+1},        done = terminated or truncated

A time-out (truncated) cuts the sum but keeps the bootstrap value; only termination removes it.

Source: Schulman, Moritz, Levine, Jordan & Abbeel, High-dimensional continuous control using
generalized advantage estimation (2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument

Array = np.ndarray


def advantage_estimate(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    lam: float,
) -> Array:
    """Â_t for every step.

    Args:
        rewards: (T,).
        values: (T,), V(s_t).
        next_values: (T,), V(s_{t+1}) of the state that followed, before any reset.
        terminated: (T,) bool, the episode ended in the MDP: nothing follows.
        truncated: (T,) bool, the recording was cut: something would have followed.
        discount: γ in [0, 1].
        lam: λ in [0, 1].

    Returns:
        (T,), unit of reward.
    """
    reward, value, following = (
        _series(name, array)
        for name, array in (
            ("rewards", rewards),
            ("values", values),
            ("next_values", next_values),
        )
    )
    ended, cut = np.asarray(terminated), np.asarray(truncated)
    sizes = {array.shape for array in (reward, value, following, ended, cut)}
    if len(sizes) != 1:
        raise InvalidArgument(
            "rewards, values, next_values, terminated and truncated must have one shape (T,), got "
            + ", ".join(str(a.shape) for a in (reward, value, following, ended, cut))
            + "."
        )
    for name, number in (("discount", discount), ("lam", lam)):
        if not 0 <= number <= 1:
            raise InvalidArgument(f"{name} must lie in [0, 1], got {number!r}.")
    goes_on = ~ended.astype(bool)
    # δ_t = r_t + γ (1 − terminated_t) V(s_{t+1}) − V(s_t)
    delta = reward + discount * np.where(goes_on, following, 0.0) - value
    decay = discount * lam * (goes_on & ~cut.astype(bool))
    estimate = np.empty_like(delta)
    carried = 0.0
    for t in range(len(delta) - 1, -1, -1):
        # Â_t = δ_t + γ λ (1 − done_t) Â_{t+1}
        carried = delta[t] + decay[t] * carried
        estimate[t] = carried
    return estimate


def _series(name: str, array: Any) -> Array:
    array = np.asarray(array, dtype=np.float64)
    if array.ndim != 1:
        raise InvalidArgument(f"{name} must have shape (T,), got {array.shape}.")
    return array
