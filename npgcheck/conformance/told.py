"""What a report told about a planted subject: its names, and facts where there is no name.

The scoring of diagnoses reads reports through this file and nothing else of the verifier: how a
name was found is not its business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from npgcheck.conformance.controls.labels import Label
from npgcheck.conformance.report import Report

Outcome = Literal[
    "named", "deviates", "one of two", "facts", "unnamed", "not seen", "false fact", "wrong name"
]

OUTCOMES: dict[Outcome, str] = {
    "named": "named right: the choice, or a class that holds it",
    "deviates": "deviates under its right convention or approximation",
    "one of two": "one of two planted choices named",
    "facts": "no name, true facts only",
    "unnamed": "refuted without a word about how",
    "not seen": "not refuted",
    "false fact": "a false fact",
    "wrong name": "a wrong name",
}
"""The groups of the confusion matrix, best first."""

#: How a report says that it has nothing to say.
SILENCE = ("no known choice explains", "no choice explains")


@dataclass(frozen=True)
class Name:
    """One name in a report.

    Attributes:
        quantity: the function that it was given to.
        status: that check's status, ``fail`` or ``deviates``.
        kind: ``free``, ``convention``, ``approximation`` or ``bug``.
        choices: the choice, and those that no answer can tell from it.
    """

    quantity: str
    status: str
    kind: str
    choices: frozenset[str]

    @property
    def text(self) -> str:
        """The class in one line."""
        return " or ".join(sorted(self.choices))


@dataclass(frozen=True)
class Fact:
    """One statement about a refuted function that has no name.

    Attributes:
        quantity: the function.
        text: the statement, as the report words it.
        true: what the independent evaluator finds; None where it does not know such statements.
    """

    quantity: str
    text: str
    true: bool | None = None


@dataclass(frozen=True)
class Told:
    """What one report said.

    Attributes:
        names: every name that was given to a function that failed or deviated.
        facts: the facts about functions that were refuted without a name.
        refuted: functions that failed or deviated.
    """

    names: tuple[Name, ...]
    facts: tuple[Fact, ...]
    refuted: frozenset[str]

    def with_facts(self, facts: tuple[Fact, ...]) -> Told:
        """The same with its facts judged."""
        return replace(self, facts=facts)


def read(report: Report) -> Told:
    """Reads the names and the facts of a report."""
    names, facts, refuted = [], [], set()
    for result in report.results:
        if result.status not in ("fail", "deviates"):
            continue
        refuted.add(result.quantity)
        serious = any(d.kind != "free" for d in result.diagnosis)
        for d in result.diagnosis:
            choices = frozenset({d.choice, *getattr(d, "alternatives", ())})
            names.append(Name(result.quantity, result.status, d.kind, choices))
        if not serious and result.kind == "value" and not result.explained_by:
            told = _statements(result.reason)
            facts += [Fact(result.quantity, t) for t in told if t and not t.startswith(SILENCE)]
    return Told(tuple(names), tuple(facts), frozenset(refuted))


def _statements(reason: str) -> list[str]:
    """The statements of a reason; one of them has a second half of its own."""
    return [part.strip() for part in re.split("; (?!the contract's is )", reason)]


def wrong_names(told: Told, label: Label) -> tuple[str, ...]:
    """Names that hold nothing true of the subject, as ``quantity: name``.

    A free choice blames nobody, and is not in the labels.
    """
    serious = (n for n in told.names if n.kind != "free")
    return tuple(
        sorted({f"{n.quantity}: {n.text}" for n in serious if not n.choices & label.every})
    )


def outcome(told: Told, label: Label) -> Outcome:
    """The group of the confusion matrix that a plant belongs to."""
    if wrong_names(told, label):
        return "wrong name"
    if any(f.true is False for f in told.facts):
        return "false fact"
    if not told.refuted:
        return "not seen"
    named = [any(n.choices & wanted for n in told.names) for wanted in label.names]
    if named and all(named):
        given = [n for n in told.names if n.choices & label.wanted]
        return "deviates" if all(n.status == "deviates" for n in given) else "named"
    if any(named):
        return "one of two"
    return "facts" if told.facts else "unnamed"


def class_sizes(told: Told, label: Label) -> tuple[int, ...]:
    """For each planted choice that was named, how many names the smallest class holds."""
    sizes = ([len(n.choices) for n in told.names if n.choices & wanted] for wanted in label.names)
    return tuple(min(each) for each in sizes if each)
