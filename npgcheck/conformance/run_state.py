"""What one run knows so far; every later stage reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.collect import Collector
from npgcheck.conformance.explainers.step import condition
from npgcheck.conformance.fitting import Explanations, Fit, Record
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.report import CheckResult
from npgcheck.conformance.subject import Subject


@dataclass
class Run:
    """State of a run; see :func:`npgcheck.conformance.engine.run` for the order of things."""

    subject: Subject
    collector: Collector
    problems: Sequence[Any]
    families: tuple[str, ...]
    seed: int
    declared: dict[str, Any]
    allowed: frozenset[str]
    single: bool = False
    records: dict[str, list[Record]] = field(default_factory=dict)
    explanations: dict[str, Explanations] = field(default_factory=dict)
    undeclared: dict[str, list[Fit]] = field(default_factory=dict)
    vector: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Fit | None] = field(default_factory=dict)
    results: dict[str, list[CheckResult]] = field(default_factory=dict)
    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Quantity → the conventions beside the mistake that was named, under which it is shown.
    compared: dict[str, dict[str, Any]] = field(default_factory=dict)
    ill_conditioned: int = 0

    def judgeable(self, quantity: str) -> list[Record]:
        """The records whose conditioning allows a verdict; see MAX_FISHER_CONDITION."""
        records = [r for r in self.records.get(quantity, []) if np.isfinite(r.value).all()]
        if quantity not in SOLVES:
            return records
        sources = self.sampled(quantity)
        kept = [r for r in records if well_conditioned(r, sources)]
        self.ill_conditioned += len(records) - len(kept)
        return kept

    def sampled(self, quantity: str) -> tuple[str, ...]:
        """What the quantity may average over: what this subject read, the contract's own last
        only where it read nothing of the MDP."""
        own = self.collector.found[quantity].accessed
        anywhere = set().union(*(c.accessed for c in self.collector.found.values()))
        rows = [s for s in ("batch", "episodes") if s in own]
        rows += [s for s in ("batch", "episodes") if s in anywhere and s not in own]
        return ("mdp", *rows)

    def fit(self, quantity: str) -> Fit | None:
        """The explanation that the run settled on, or None."""
        return self.chosen.get(quantity)


def well_conditioned(record: Record, sources: Sequence[str]) -> bool:
    """Whether cond⁺(F) under every measure in play is small enough to judge a solve."""
    for source in sources:
        if record.reference.measure(source, "discounted") is None:
            continue
        choices = {"sampled": source, "weighting": "discounted", "fisher": "true"}
        if condition(record, choices) > tolerance.MAX_FISHER_CONDITION:
            return False
    return True
