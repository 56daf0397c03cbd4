"""``npgcheck power --diagnosis``: is a mistake called by its name, and by no other?

Every planted subject goes through the verifier as in ``npgcheck power``; here what the report
*says* is compared with the label of the plant. Four lists are told apart: single plants whose
choice the registry knows, mistakes outside of it (nothing but true facts may be told), pairs, and
right subjects (no bug may be named). Leave-one-out diagnoses each plant while its own entries are
left out of the registry: it then stands for a mistake that nobody has thought of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from statistics import median
from typing import Literal

from npgcheck.conformance import fact_judge, told
from npgcheck.conformance.controls import Control, controls, find
from npgcheck.conformance.paired_controls import compose, random_pairs
from npgcheck.conformance.power import verify_control
from npgcheck.conformance.told import Outcome, Told

Group = Literal["single", "pair", "outside", "right", "left out"]

GROUPS: dict[Group, str] = {
    "single": "single choices",
    "pair": "random pairs",
    "outside": "mistakes outside the registry",
    "left out": "single choices, each diagnosed without its own entries",
    "right": "right subjects and what cannot be seen",
}
"""What is planted, in the order of the text."""

GATE: dict[Group, float] = {"single": 0.98, "pair": 0.90}
"""What a diagnosis has to name; below it the command fails."""
WRONG: dict[Group, float] = {
    "single": 0.0,
    "pair": 0.0,
    "outside": 0.0,
    "left out": 0.02,
    "right": 0.0,
}
"""Wrong names and false facts that are put up with now, as a part of a list. The aim is none."""

PAIRS = 60
"""Random pairs of a seed."""


@dataclass(frozen=True)
class Row:
    """What the diagnosis said about one subject under one seed.

    Attributes:
        control: the planted subject.
        group: the list that it belongs to.
        seed: of the drawn problems, and of the pairs.
        outcome: the group of the confusion matrix, or ``not run``.
        said: the names and the facts.
        wrong: wrong names and false facts, as ``quantity: text``.
        classes: sizes of the classes in which the planted choices were named.
        seconds: wall-clock time.
    """

    control: Control
    group: Group
    seed: int
    outcome: Outcome | Literal["not run"]
    said: Told
    wrong: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class DiagnosisReport:
    """The confusion matrix.

    Attributes:
        rows: one per subject, seed and group.
        seeds: the seeds.
        seconds: wall-clock time.
        version: of npgcheck.
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    seconds: float
    version: str

    def of(self, group: Group) -> tuple[Row, ...]:
        """The rows of a group that ran."""
        return tuple(r for r in self.rows if r.group == group and r.outcome != "not run")

    def count(self, group: Group, *outcomes: str) -> int:
        """How many rows of a group came out so."""
        return sum(r.outcome in outcomes for r in self.of(group))

    def share(self, group: Group) -> float | None:
        """The part of a group that was named, or None where nothing ran."""
        ran = self.of(group)
        return self.count(group, "named", "deviates") / len(ran) if ran else None

    def class_size(self, group: Group) -> float | None:
        """The median size of the classes that a right name stood in."""
        sizes = [size for r in self.of(group) for size in r.classes]
        return float(median(sizes)) if sizes else None

    @cached_property
    def wrong(self) -> tuple[Row, ...]:
        """Rows with a wrong name or a false fact."""
        return tuple(r for r in self.rows if r.outcome in ("wrong name", "false fact"))

    @cached_property
    def unverified(self) -> tuple[tuple[Row, str], ...]:
        """Facts that the independent evaluator does not know how to judge."""
        return tuple((r, f.text) for r in self.rows for f in r.said.facts if f.true is None)

    @cached_property
    def below(self) -> tuple[str, ...]:
        """Gates that are not met, in words."""
        found: list[str] = []
        for group, least in GATE.items():
            share = self.share(group)
            if share is not None and share < least:
                found.append(f"{GROUPS[group]}: {share:.1%} named, at least {least:.0%} is asked")
        for group, most in WRONG.items():
            wrong, ran = self.count(group, "wrong name", "false fact"), len(self.of(group))
            if ran and wrong > most * ran:
                found.append(f"{GROUPS[group]}: {wrong} wrong of {ran}, at most {most:.0%} pass")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """No more wrong names and false facts than are put up with, and the shares asked."""
        return not self.below

    @property
    def summary(self) -> str:
        """The totals in one line, as the README quotes them."""
        parts = []
        for group in GATE:
            ran = len(self.of(group))
            if ran:
                named = self.count(group, "named", "deviates")
                words = GROUPS[group]
                parts.append(f"{named} of {ran} {words} named ({named / ran:.1%})")
        wrong = sum(r.outcome == "wrong name" for r in self.rows)
        false = sum(r.outcome == "false fact" for r in self.rows)
        ran = sum(r.outcome != "not run" for r in self.rows)
        return ", ".join(
            [*parts, f"{wrong} wrong names and {false} false facts in {ran} diagnoses"]
        )

    def __str__(self) -> str:
        from npgcheck.conformance.render_diagnosis import to_text

        return to_text(self)


def run_diagnosis(
    seeds: Sequence[int] = (0,),
    only: Collection[str] | None = None,
    *,
    pairs: int = PAIRS,
    leave_one_out: bool = True,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> DiagnosisReport:
    """Runs planted subjects through the verifier and compares what it says with their labels.

    Args:
        seeds: seeds of the drawn problems and of the random pairs.
        only: names of controls; all of them, and pairs, when None.
        pairs: random pairs for each seed; none where ``only`` is given.
        leave_one_out: diagnose one plant of each label a second time without its own entries.
        jobs: processes to share the work.
        progress: called with each control's name before it runs, or when it has run.

    Raises:
        UsageError: there is no control of that name.
    """
    import npgcheck

    started = time.perf_counter()
    chosen = controls() if only is None else tuple(find(name) for name in only)
    work = [task for seed in seeds for task in _work(chosen, seed, pairs if only is None else 0)]
    if not leave_one_out:
        work = [task for task in work if task[1] != "left out"]
    rows = tuple(_in_turn(work, progress) if jobs == 1 else _shared(work, jobs, progress))
    seconds = time.perf_counter() - started
    return DiagnosisReport(rows, tuple(seeds), seconds, npgcheck.__version__)


Task = tuple[Control, Group, int]


def _work(chosen: Sequence[Control], seed: int, pairs: int) -> list[Task]:
    """Everything that is diagnosed under one seed.

    Of the plants that share a label one is diagnosed without its own entries, another one under
    the next seed.
    """
    work: list[Task] = [(c, group_of(c), seed) for c in chosen if not c.isolate]
    labels: dict[tuple[frozenset[str], ...], list[Control]] = {}
    for control, group, _ in work:
        if group == "single" and not (control.needs and find_spec(control.needs) is None):
            labels.setdefault(control.label.names, []).append(control)
    work += [(c, "pair", seed) for c in random_pairs(pairs, seed)]
    return work + [(plants[seed % len(plants)], "left out", seed) for plants in labels.values()]


def _in_turn(work: Sequence[Task], progress: Callable[[str], None] | None) -> Iterator[Row]:
    for control, group, seed in work:
        if progress is not None:
            progress(f"{control.name}, {GROUPS[group]}, seed {seed}")
        yield diagnose(control, group, seed)


def _shared(
    work: Sequence[Task], jobs: int, progress: Callable[[str], None] | None
) -> Iterator[Row]:
    """The same in several processes, which are told names: a composed class cannot be sent."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        found = pool.map(_elsewhere, [(c.name, group, seed) for c, group, seed in work])
        for (control, group, seed), row in zip(work, found, strict=True):
            if progress is not None:
                progress(f"{control.name}, {GROUPS[group]}, seed {seed}")
            yield replace(row, control=control)


def _elsewhere(task: tuple[str, Group, int]) -> Row:
    """One row in another process, with a control that can be sent back."""
    name, group, seed = task
    parts = [find(part) for part in name.split(" + ")]
    control = compose(*parts) if len(parts) == 2 else parts[0]
    assert control is not None  # it was composed before
    return replace(diagnose(control, group, seed), control=parts[0])


def group_of(control: Control) -> Group:
    """The list that a control belongs to."""
    if control.role != "wrong":
        return "right"
    return "single" if control.label.names else "outside"


def diagnose(control: Control, group: Group, seed: int = 0) -> Row:
    """Runs one control and compares what is said about it with its label."""
    if control.needs and find_spec(control.needs) is None:
        return Row(control, group, seed, "not run", Told((), (), frozenset()))
    started = time.perf_counter()
    without = tuple(sorted(control.label.wanted)) if group == "left out" else ()
    report = verify_control(control, seed, without=without)
    said = told.read(report)
    said = said.with_facts(fact_judge.judged(control, said.facts, seed))
    label = control.label
    false = tuple(f"{f.quantity}: {f.text}" for f in said.facts if f.true is False)
    return Row(
        control,
        group,
        seed,
        told.outcome(said, label),
        said,
        (*told.wrong_names(said, label), *false),
        told.class_sizes(said, label),
        time.perf_counter() - started,
    )
