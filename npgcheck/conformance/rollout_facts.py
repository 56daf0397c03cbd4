"""True statements about wrong advantage estimates that no named choice explains.

Each is stated only when it reproduces every entry, or is a plain count of the entries.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npgcheck.conformance.explainers.pure import by_definition
from npgcheck.conformance.facts import REPRODUCED, number_text
from npgcheck.conformance.fitting import Judged, Record

Array = np.ndarray


def describe_rollout(record: Record, judged: Judged) -> str:
    """One line that narrows wrong estimates down."""
    yours = record.value
    limit = max(judged.budget, REPRODUCED * judged.size)
    for text, prediction in _readings(record, judged.exact):
        if float(np.abs(yours - prediction).max()) <= limit:
            return text
    return _scale(yours, judged.exact, limit) or _where(record, judged)


def _readings(record: Record, exact: Array) -> Iterator[tuple[str, Array]]:
    """Other quantities and other readings of the same rows."""
    rewards, values, after, terminated, truncated, discount, lam = record.probe.args
    ends = terminated | truncated
    yield "the sign is flipped", -exact
    yield "V was added back: these are returns", exact + values
    yield "always zero", np.zeros_like(exact)
    if exact.ndim == 2 and exact.shape[1] > 1:
        for ddof in (0, 1):
            spread = exact.std(axis=0, ddof=ddof)
            if (spread > 0).all():
                text = "normalised within each environment, not over the whole batch"
                yield text, (exact - exact.mean(axis=0)) / spread
        yield (
            "in another order of the rows: environment by environment",
            exact.T.reshape(exact.shape),
        )
    yield "in the reverse order of time", exact[::-1]

    def estimate(
        r: Array = rewards,
        v: Array = values,
        v_next: Array = after,
        term: Array = terminated,
        trunc: Array = truncated,
        gamma: float = discount,
        trace: float = lam,
    ) -> Array:
        return by_definition(r, v, v_next, term, trunc, gamma, trace)

    last = np.zeros_like(terminated)
    last[-1] = True
    yield (
        "the last row of the rollout is treated as a termination",
        estimate(term=terminated | last),
    )
    yield (
        "the last row of the rollout is left at zero",
        estimate(r=np.where(last, values, rewards), term=terminated | last),
    )
    following = np.concatenate([values[1:], after[-1:]])
    yield (
        "V(s′) is taken from the next row, which after an end is the next episode's first state",
        estimate(v_next=following),
    )
    early, late = _shifted(terminated, truncated, 1), _shifted(terminated, truncated, -1)
    yield "the flags are read one row too late", estimate(term=late[0], trunc=late[1])
    yield "the flags are read one row too early", estimate(term=early[0], trunc=early[1])
    yield "terminated and truncated are swapped", estimate(term=truncated, trunc=terminated)
    yield "values and next_values are swapped", estimate(v=after, v_next=values)
    yield "discount and lam are swapped", estimate(gamma=lam, trace=discount)
    without = estimate(term=ends, trunc=np.zeros_like(ends), trace=1.0) + values
    yield "discounted rewards without any V", without
    yield "rewards alone", rewards


def _shifted(terminated: Array, truncated: Array, by: int) -> tuple[Array, Array]:
    """Both flags moved by one row along time; what enters is False."""
    moved = []
    for flags in (terminated, truncated):
        new = np.roll(flags, by, axis=0)
        new[0 if by > 0 else -1] = False
        moved.append(new)
    return moved[0], moved[1]


def _scale(yours: Array, exact: Array, limit: float) -> str:
    """A factor, a shift, or both."""
    square = float(np.vdot(exact, exact))
    factor = float(np.vdot(exact, yours)) / square if square else 0.0
    if factor and float(np.abs(yours - factor * exact).max()) <= limit * max(1.0, abs(factor)):
        spread = float(exact.std())
        if spread and abs(factor * spread - 1.0) <= REPRODUCED:
            return "divided by their standard deviation, without subtracting the mean"
        return f"the exact estimates times {number_text(factor)}"
    design = np.stack([exact.ravel(), np.ones(exact.size)], axis=1)
    slope, shift = np.linalg.lstsq(design, yours.ravel(), rcond=None)[0]
    if slope and float(np.abs(yours - slope * exact - shift).max()) <= limit * max(1.0, abs(slope)):
        times = "" if abs(slope - 1.0) <= REPRODUCED else f" times {number_text(float(slope))}"
        return f"the exact estimates{times} plus {shift:.6g}"
    return ""


def _where(record: Record, judged: Judged) -> str:
    """Which rows are wrong, and what their episodes have in common."""
    *_, terminated, truncated, _, _ = record.probe.args
    wrong = ~(np.abs(record.value - judged.exact) <= judged.budget)
    count = f"wrong in {int(wrong.sum()):,} of {wrong.size:,} rows"
    if wrong.all():
        return f"no known choice explains the answers; {count}"
    ending = _ending(terminated, truncated)
    kinds = {
        "that end by termination": ending == 1,
        "that a time limit cuts": ending == 2,
        "that the rollout's end cuts": ending == 0,
    }
    where = np.argwhere(wrong)[0]
    row = f"row {where[0]}" + (f" of environment {where[1]}" if len(where) > 1 else "")
    alike = [words for words, member in kinds.items() if not (wrong & ~member).any()]
    return f"{count}, first in {row}" + "".join(f", all in episodes {words}" for words in alike)


def _ending(terminated: Array, truncated: Array) -> Array:
    """How the episode of each row ends: 1 by termination, 2 by a time limit, 0 not in sight."""
    kind = np.zeros(terminated.shape, dtype=int)
    follows = np.zeros(terminated.shape[1:], dtype=int)
    for t in range(len(terminated) - 1, -1, -1):
        follows = np.where(terminated[t], 1, np.where(truncated[t], 2, follows))
        kind[t] = follows
    return kind
