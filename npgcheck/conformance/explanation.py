"""``npgcheck explain NAME`` for a choice: the mathematics, the smallest problem, the mend."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import numpy as np

from npgcheck.conformance.atlas import STAGES, Choice, rollouts
from npgcheck.conformance.diagnosis.worked import Example, example, pure_example

WIDTH = 92
_MOST = 6
"""Entries of an answer that are shown."""


def choice_text(entry: Choice) -> str:
    """Everything that the atlas knows about one choice."""
    lines = [f"{entry.name} ({entry.kind}; {STAGES[entry.atlas].lower()})", ""]
    lines += _row("what it computes", entry.formula)
    lines += _row("how it shows", entry.shows)
    if visible := _visible(entry):
        lines += _row("visible on", ", ".join(visible))
    for index, (where, reason) in enumerate(entry.hidden.items()):
        lines += _row("" if index else "not visible on", f"{where}: {reason}")
    for index, seen in enumerate(entry.seen):
        link = f" {seen.link}" if seen.link else ""
        lines += _row("" if index else "seen in", f"{seen.text}{link}")
    if not entry.default:
        lines += list(_worked(entry))
    lines += _row("what to do", entry.mend)
    return "\n".join(lines) + "\n"


def _visible(entry: Choice) -> tuple[str, ...]:
    """The quantities that show it; estimates too, where it takes a form of its own in them."""
    if not rollouts.forms(entry):
        return entry.visible
    return tuple(dict.fromkeys((*entry.visible, "advantage_estimate")))


def worked(entry: Choice) -> Example | None:
    """The smallest problem that exposes the choice, of whichever kind."""
    return example(entry.name) or pure_example(entry.name)


def _worked(entry: Choice) -> Iterator[str]:
    found = worked(entry)
    if found is None:
        return
    yield from _row("smallest problem", f"{found.problem.describe()}   [{found.problem.id}]")
    of_all = {"score": " of every action in the first state", "log_prob": " in the first state"}
    rows = {"batch": " over problem.batch", "episodes": " over problem.episodes"}
    what = f"{found.quantity}{of_all.get(found.quantity, '')}{rows.get(found.sampled, '')}"
    if found.number is not None and entry.number is not None:
        what += f", {entry.number.symbol} = {found.number:g}"
    yield from _row("", what)
    start = _first_difference(found)
    yield f"    {'exact':<14}{numbers(found.exact, start)}"
    yield f"    {'with it':<14}{numbers(found.chosen, start)}"


def _first_difference(found: Example) -> int:
    gaps = np.abs(found.exact - found.chosen).ravel()
    first = int(np.argmax(gaps > 1e-9 * gaps.max(initial=0.0)))
    return 0 if first < _MOST else first


def numbers(answer: np.ndarray, start: int = 0) -> str:
    """Up to six entries from ``start`` on, in C order."""
    flat = answer.ravel()
    flat = np.where(np.abs(flat) < 1e-12 * np.abs(flat).max(initial=0.0), 0.0, flat)
    shown = "  ".join(f"{x:.6g}" for x in flat[start : start + _MOST])
    more = "  …" if start + _MOST < flat.size else ""
    before = f"entries from {start + 1}: " if start else ""
    return f"{before}[ {shown}{more} ]"


def _row(label: str, text: str) -> list[str]:
    """A label of eighteen columns and wrapped text; links are left whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {label:<18}",
        subsequent_indent=" " * 20,
        break_long_words=False,
        break_on_hyphens=False,
    )
