"""How mistakes look in advantage estimates: every form of every entry, those of other pages too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from npgcheck.conformance.atlas import estimates, rollout_returns
from npgcheck.conformance.atlas.entry import Choice

Change = Callable[..., Any]


def _of_rewards(change: Change) -> Change:
    """The estimate from other rewards."""

    def estimate(args: Any, _: Any, *number: Any) -> Any:
        return estimates.usual((change(args, *number), *args[1:]))

    return estimate


def _of_residuals(change: Change) -> Change:
    """The sums of other residuals."""

    def estimate(args: Any, _: Any) -> Any:
        _delta, ends, decay = estimates.with_other(args)
        return estimates.sums(change(*args), ends, decay)

    return estimate


def _swapped(r: Any, v: Any, after: Any, terminated: Any, truncated: Any, g: Any, lam: Any) -> Any:
    return r + g * v - np.where(terminated, 0.0, after)


def _swapped_bare(
    r: Any, v: Any, after: Any, terminated: Any, truncated: Any, g: Any, lam: Any
) -> Any:
    return r + g * v - after


def _exchanged(
    r: Any, v: Any, after: Any, terminated: Any, truncated: Any, g: Any, lam: Any
) -> Any:
    """values and next_values passed in each other's place: V(s) is dropped on termination."""
    return r + g * np.where(terminated, 0.0, v) - after


def _added(r: Any, v: Any, after: Any, terminated: Any, truncated: Any, g: Any, lam: Any) -> Any:
    return r + g * np.where(terminated, 0.0, after) + v


def _next_rewards(last: Callable[[Any], Any]) -> Change:
    return _of_rewards(lambda args: np.append(args[0][1:], last(args[0])))


def _next_in_episode(args: Any) -> Any:
    """r_{t+1}, and zero after the last step of an episode."""
    ends = np.asarray(args[3], bool) | np.asarray(args[4], bool)
    return np.where(ends, 0.0, np.append(args[0][1:], 0.0))


#: Name of an entry of another page → what it makes of estimates.
ELSEWHERE: Mapping[str, tuple[Change, ...]] = MappingProxyType({
    "td-error-swapped": tuple(map(_of_residuals, (_swapped, _swapped_bare, _exchanged))),
    "baseline-added": (
        _of_residuals(_added),
        lambda args, _: estimates.usual(args) + 2.0 * args[1],
    ),
    "reward-of-the-next-step": (
        _next_rewards(lambda r: 0.0),
        _next_rewards(lambda r: r[0]),
        _next_rewards(lambda r: r[-1]),
        _of_rewards(_next_in_episode),
    ),
    "reward-discounted-once-more": (_of_rewards(lambda args: args[5] * args[0]),),
    "clipped-rewards": (_of_rewards(lambda args, c: np.clip(args[0], -c, c)),),
    "reward-signs": (_of_rewards(lambda args: np.sign(args[0])),),
    "reward-as-critic": (lambda args, _: np.array(args[0], dtype=float),),
    "value-as-critic": (lambda args, _: np.array(args[1], dtype=float),),
    "absolute-advantages": (lambda args, _: np.abs(estimates.usual(args)),),
    "positive-advantages-only": (lambda args, _: np.maximum(estimates.usual(args), 0.0),),
})  # fmt: skip

#: What is said of a form where the entry's note does not fit: name → form → note.
_NOTES: Mapping[str, Mapping[int, str]] = MappingProxyType({
    "gae-other-discount": {
        1: "computed with γ = {} in the residuals alone",
        2: "later residuals weighed with γ = {}",
    },
    "gae-returns-added": {1: "Â + V(s′) is returned, not the advantage"},
    "last-step-left-at-zero": {
        1: "the estimate of the last step is zero, the others are right",
        2: "the last residual of every episode is left out",
    },
})  # fmt: skip
_IN_ESTIMATES: Mapping[str, str] = MappingProxyType({
    "baseline-added": "V(s) is added, not subtracted",
    "reward-discounted-once-more": "each reward is multiplied by γ",
    "reward-as-critic": "the rewards alone are returned",
    "value-as-critic": "V(s) is returned, not the advantage",
    "absolute-advantages": "the absolute values of the estimates are returned",
    "positive-advantages-only": "negative estimates are cut off at zero",
})  # fmt: skip

#: Names of other pages that the same numbers have: what is said first → the others, where the
#: whole estimate is made so.
EQUAL: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "gae-negated": ("advantage-negated",),
    "gae-delta-without-gamma": ("residual-without-gamma",),
    "gae-other-discount": ("wrong-discount",),
})  # fmt: skip

#: These change the estimates after they have been summed: a value target made of right ones
#: does not have them.
OF_THE_ANSWER = frozenset(
    {
        "gae-returns-added",
        "gae-negated",
        "baseline-added",
        "reward-as-critic",
        "value-as-critic",
        "absolute-advantages",
        "positive-advantages-only",
    }
)


@cache
def forms(entry: Choice) -> tuple[Choice, ...]:
    """The entry in each form that it takes in advantage estimates; none where it does not act."""
    own = [f for f in entry.spelled_out() if "gae" in f.change]
    note = _IN_ESTIMATES.get(entry.name, entry.note)
    elsewhere = [(change, note) for change in ELSEWHERE.get(entry.name, ())]
    elsewhere += rollout_returns.FORMS.get(entry.name, ())
    more = [
        replace(entry, change={"gae": change}, forms=(), form=index, note=text)
        for index, (change, text) in enumerate(elsewhere, start=1 + len(entry.forms))
    ]
    notes = _NOTES.get(entry.name, {})
    return tuple(replace(f, note=notes.get(f.form, f.note)) for f in (*own, *more))
