"""Returns of a recorded rollout in the place of estimates, each without one thing it needs.

All functions take the arguments of ``advantage_estimate`` for one stream, time first. NaN stands
where a mistake changes nothing: where γ is one, or no episode has a second step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from npgcheck.conformance.atlas import estimates

Change = Callable[..., Any]

#: What follows the last step of an episode: nothing, V(s′) after a time limit, and V(s′) at the
#: end of the rollout as well.
TAILS = ("none", "time limits", "all ends")


def _ends(args: Any) -> Any:
    return np.asarray(args[3], bool) | np.asarray(args[4], bool)


def _tail(args: Any, kind: str) -> Any:
    """V(s′) where the episode did not terminate but nothing more of it was recorded."""
    cut = np.array(args[4], bool)
    if kind == "all ends":
        cut[-1] = True
    cut &= ~np.asarray(args[3], bool)
    return np.where(cut, args[2], 0.0) if kind != "none" else np.zeros(len(args[0]))


def _returns(args: Any, kind: str, discount: float) -> Any:
    """Σ_{k≥t} γ^(k−t) r_k within the episode, and what follows its last step."""
    return estimates.sums(args[0] + discount * _tail(args, kind), _ends(args), discount)


def _starts(args: Any) -> Any:
    """The row in which the episode of each row begins."""
    first = np.concatenate([[True], _ends(args)[:-1]])
    return np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))


def _told(changed: Any, usual: Any) -> Any:
    """The changed returns; NaN where nothing was changed."""
    return np.full(len(usual), np.nan) if np.allclose(changed, usual, 1e-12, 0.0) else changed


def undiscounted(kind: str, less_value: bool) -> Change:
    """Σ_{k≥t} r_k."""

    def change(args: Any, _: Any) -> Any:
        found = _told(_returns(args, kind, 1.0), _returns(args, kind, args[5]))
        return found - args[1] if less_value else found

    return change


def whole(kind: str, less_value: bool) -> Change:
    """The return of the first step of the episode, at every step of it."""

    def change(args: Any, _: Any) -> Any:
        returns = _returns(args, kind, args[5])
        found = _told(returns[_starts(args)], returns)
        return found - args[1] if less_value else found

    return change


def whole_estimate(args: Any, _: Any) -> Any:
    """Â of the first step of the episode, at every step of it."""
    usual = estimates.usual(args)
    return _told(usual[_starts(args)], usual)


def first_row(args: Any, _: Any) -> Any:
    """Â of the first row, in every row."""
    usual = estimates.usual(args)
    return _told(np.full(len(usual), usual[0]), usual)


def from_the_start(kind: str, less_value: bool) -> Change:
    """Σ_{k≥t} γᵏ r_k, k counted from the start of the episode."""

    def change(args: Any, _: Any) -> Any:
        returns = _returns(args, kind, args[5])
        found = _told(_since_start(args, args[5]) * returns, returns)
        return found - args[1] if less_value else found

    return change


def estimate_from_the_start(with_lambda: bool) -> Change:
    """γᵗ Â_t, or (γλ)ᵗ Â_t, t counted from the start of the episode."""

    def change(args: Any, _: Any) -> Any:
        usual = estimates.usual(args)
        return _told(_since_start(args, args[5] * (args[6] if with_lambda else 1.0)) * usual, usual)

    return change


def _since_start(args: Any, decay: float) -> Any:
    return decay ** (np.arange(len(args[0])) - _starts(args))


def discounted_once_more(kind: str, less_value: bool) -> Change:
    """γ Σ_{k≥t} γ^(k−t) r_k: the first reward is discounted."""

    def change(args: Any, _: Any) -> Any:
        returns = _returns(args, kind, args[5])
        found = _told(args[5] * returns, returns)
        return found - args[1] if less_value else found

    return change


def lambda_return_once_more(args: Any, _: Any) -> Any:
    """γ (Â + V) − V."""
    returns = estimates.usual(args) + args[1]
    return _told(args[5] * returns, returns) - args[1]


def reward_less_value(args: Any, _: Any) -> Any:
    """r − V(s)."""
    return args[0] - args[1]


def _each(form: Callable[[str, bool], Change], note: str) -> tuple[tuple[Change, str], ...]:
    """The form with each tail, and with or without −V(s)."""
    return tuple(
        (form(kind, less_value), note + (_WITHOUT_TAIL if kind == "none" else ""))
        for kind in TAILS
        for less_value in (False, True)
    )


_WITHOUT_TAIL = ", with no V(s′) after the last step of an episode"

#: Name of an entry → its forms, and what is said of each.
FORMS: Mapping[str, tuple[tuple[Change, str], ...]] = MappingProxyType({
    "whole-return": (
        (whole_estimate, "the estimate of an episode's first step stands at each of its steps"),
        (first_row, "the estimate of the first row stands in every row"),
        *_each(whole, "the return of the whole episode stands at each of its steps"),
    ),
    "discounted-from-the-start": (
        (estimate_from_the_start(with_lambda=False),
         "the estimates are multiplied by γᵗ: discounted from the start of the episode"),
        (estimate_from_the_start(with_lambda=True),
         "the estimates are multiplied by (γλ)ᵗ: weighed from the start of the episode"),
        *_each(from_the_start, "returns are discounted from the start of the episode"),
    ),
    "undiscounted-reward-to-go": _each(undiscounted, "returns are summed without γ"),
    "reward-discounted-once-more": (
        (lambda_return_once_more, "the return Â + V is multiplied by γ"),
        *_each(discounted_once_more, "the return is multiplied by γ: its first reward, too"),
    ),
    "reward-as-critic": ((reward_less_value, "only the immediate reward is credited: r − V(s)"),),
})  # fmt: skip
