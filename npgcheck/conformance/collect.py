"""Asking: every call of a run, its records, its faults, and whether asking twice agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.explainers import EXPLAINERS
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.guard import Answer, Caller, Fault
from npgcheck.conformance.probes import Probe, probes
from npgcheck.conformance.reference import Reference

#: A quantity that faults on so many problems in a row is not called again in this run.
GIVE_UP = 5
#: Asked a second time, on so many problems.
REPEATED = 4


@dataclass
class Collected:
    """Everything that one quantity answered.

    Attributes:
        records: answers with a value, in order.
        faults: (probe, fault) of calls that went wrong, unsupported ones apart.
        unsupported: reasons given with ``Unsupported``, one per problem.
        accessed: which of ``mdp``, ``batch``, ``episodes`` were read.
        positions: positions of the problems on which it was called.
        repeats: (record, second answer).
    """

    records: list[Record] = field(default_factory=list)
    faults: list[tuple[Probe, Fault]] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    accessed: set[str] = field(default_factory=set)
    positions: set[int] = field(default_factory=set)
    repeats: list[tuple[Record, Answer]] = field(default_factory=list)
    in_a_row: int = 0

    @property
    def gave_up(self) -> bool:
        """Whether it faulted on too many problems in a row."""
        return self.in_a_row >= GIVE_UP


class Collector:
    """Calls a subject and keeps what it answered, one :class:`Collected` per quantity."""

    def __init__(self, caller: Caller, progress: Callable[[str], None] | None = None) -> None:
        self.caller = caller
        self.progress = progress or (lambda text: None)
        self.references: dict[str, Any] = {}
        self.found: dict[str, Collected] = {}

    def reference(self, problem: Any) -> Any:
        """The reference of a problem, built once."""
        key = f"{problem.id}/{problem.family}"
        if key not in self.references:
            build = getattr(problem, "build_reference", None)
            self.references[key] = build() if build else Reference(problem)
        return self.references[key]

    def ask(self, quantity: str, problems: Sequence[Any]) -> Collected:
        """Calls one quantity on every problem that it is asked on."""
        collected = self.found.setdefault(quantity, Collected())
        skipped = QUANTITIES[quantity].not_asked
        asked = 0
        for position, problem in enumerate(problems):
            if problem.family in skipped or collected.gave_up or _not_asked(quantity, problem):
                continue
            self.progress(f"{quantity} on {problem.id}")
            self._one_problem(quantity, problem, position, collected, repeat=asked < REPEATED)
            asked += 1
        return collected

    def _one_problem(
        self, quantity: str, problem: Any, position: int, collected: Collected, repeat: bool
    ) -> None:
        fault_here = False
        for index, probe in enumerate(self.probes(quantity, problem, position)):
            answer = self.call(probe)
            collected.accessed |= set(answer.accessed)
            collected.positions.add(position)
            if answer.fault is not None and answer.fault.kind == "unsupported":
                collected.unsupported.append(answer.fault.message)
                return
            if answer.fault is not None:
                collected.faults.append((probe, answer.fault))
                fault_here = True
                if answer.value is None or answer.fault.kind != "mutated_problem":
                    break
            record = Record(probe, answer, self.reference(problem))
            collected.records.append(record)
            if repeat and index == 0:
                collected.repeats.append((record, self.call(probe)))
        collected.in_a_row = collected.in_a_row + 1 if fault_here else 0

    def probes(self, quantity: str, problem: Any, position: int) -> Iterable[Probe]:
        """The calls on one problem."""
        if QUANTITIES[quantity].takes_problem:
            return probes(quantity, problem, position)
        shape = QUANTITIES[quantity].shape_for(None, *problem.args)
        return [Probe(quantity, problem, problem.args, shape, problem.group, position)]

    def call(self, probe: Probe) -> Answer:
        """One guarded call."""
        problem = probe.problem if QUANTITIES[probe.quantity].takes_problem else None
        return self.caller.call(probe.quantity, problem, *probe.args, shape=probe.shape)


def fitted_records(quantity: str, collector: Collector, collected: Collected) -> list[Record]:
    """The records that the explainer of a quantity judges; a training run is taken apart."""
    if quantity != "train":
        return collected.records
    found: list[Record] = []
    for record in collected.records:
        problem = record.reference.problem
        for turn, row in enumerate(record.value, start=1):
            if not np.isfinite(row).all():
                break
            label, position = f"iteration {turn}", record.probe.position
            probe = Probe("train", problem, record.probe.args, row.shape, label, position)
            answer = Answer(
                row, record.answer.dtype, record.answer.fault, 0.0, record.answer.accessed
            )
            found.append(Record(probe, answer, collector.reference(problem)))
            problem = problem.at(row)
    return found


def explainer_of(quantity: str) -> Any:
    """A fresh explainer: some remember anchors of one run."""
    return EXPLAINERS[quantity]()


def _not_asked(quantity: str, problem: Any) -> bool:
    """Iterating needs the law at every θ_t, which designed rows have at one θ only."""
    return quantity == "train" and getattr(problem, "paths", None) is not None
