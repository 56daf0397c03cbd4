"""log π and its gradient, right for another θ, state, action or observation than was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from npgcheck.conformance.facts.policy import density, log_odds, mixture
from npgcheck.conformance.facts.relations import ORDERS, each_transposed
from npgcheck.conformance.facts.seen import Seen

Array = np.ndarray
#: θ, observations of all states, state, action.
Question = tuple[Array, Array, int, Any]
Change = Callable[[Seen, Question], Question | None]


def other_inputs(seen: Sequence[Seen]) -> Iterator[str]:
    """What reproduces every answer, the sharpest first."""
    if seen[0].quantity not in ("log_prob", "score"):
        return
    for text, change in CHANGES.items():
        if all(s.close(_answer(s, change)) for s in seen):
            yield f"right for {text}"
    if seen[0].quantity == "log_prob":
        yield log_odds(seen)
        yield density(seen)
        yield mixture(seen)


def _answer(s: Seen, change: Change) -> Array | None:
    state, action = s.args
    asked = (s.reference.theta, np.asarray(s.problem.observations), int(state), action)
    changed = change(s, asked)
    if changed is None:
        return None
    theta, observations, state, action = changed
    function = getattr(s.reference.policy, s.quantity)
    return np.asarray(function(theta, observations[[state]], np.asarray([action]))[0])


def _theta(read: Callable[[Seen, Array], Array | None]) -> Change:
    def change(s: Seen, q: Question) -> Question | None:
        theta = read(s, q[0])
        return None if theta is None else (theta, *q[1:])

    return change


def _in_order(read: Callable[[Seen], Array | None], back: bool = False) -> Change:
    """θ whose numbers stand in other places."""

    def found(s: Seen, theta: Array) -> Array | None:
        order = read(s)
        if order is None or len(order) != len(theta):
            return None
        return theta[np.argsort(order) if back else order]

    return _theta(found)


def _weights(s: Seen) -> Array | None:
    return each_transposed(s, s.reference.theta)


def _sigma_first(s: Seen) -> Array | None:
    if s.problem.family != "gaussian":
        return None
    size = s.problem.action_size
    return np.roll(np.arange(len(s.reference.theta)), -size)


def _observed(read: Callable[[Array], Array]) -> Change:
    return lambda s, q: (q[0], read(q[1]), *q[2:])


def _state(by: int) -> Change:
    return lambda s, q: (*q[:2], (q[2] + by) % len(q[1]), q[3])


def _action(by: int) -> Change:
    def change(s: Seen, q: Question) -> Question | None:
        if not s.reference.discrete:
            return None
        return (*q[:3], (int(q[3]) + by) % s.problem.num_actions)

    return change


def _unit(observations: Array) -> Array:
    lengths = np.linalg.norm(observations, axis=1, keepdims=True)
    return np.asarray(observations / np.where(lengths > 0.0, lengths, 1.0))


def _centred(observations: Array) -> Array:
    return np.asarray(observations - observations.mean(axis=0))


CHANGES: dict[str, Change] = {
    "weights of θ that are read in the other order of rows and columns": _in_order(_weights, True),
    "weights of θ that are read as their transposes": _in_order(_weights),
    "θ with log σ before the weights": _in_order(_sigma_first, True),
    "θ with log σ read from its front": _in_order(_sigma_first),
    "θ = 0": _theta(lambda s, theta: np.zeros_like(theta)),
    "−θ": _theta(lambda s, theta: -theta),
    "θ cut to integers": _theta(lambda s, theta: np.trunc(theta)),
    "θ rounded to integers": _theta(lambda s, theta: np.round(theta)),
    "θ rounded to 1 decimal": _theta(lambda s, theta: np.round(theta, 1)),
    "θ rounded to 2 decimals": _theta(lambda s, theta: np.round(theta, 2)),
    "observations rounded to 1 decimal": _observed(lambda o: np.round(o, 1)),
    "observations rounded to 2 decimals": _observed(lambda o: np.round(o, 2)),
    "observations of length one": _observed(_unit),
    "observations minus their mean over states": _observed(_centred),
    "the next state": _state(1),
    "the state before": _state(-1),
    "the next action": _action(1),
    "the action before": _action(-1),
}

__all__ = ["CHANGES", "ORDERS", "other_inputs"]
