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
        choice: the name.
        others: what explains the whole subject equally well: sets of names, one for each.
    """

    quantity: str
    status: str
    kind: str
    choice: str
    others: frozenset[frozenset[str]] = frozenset()

    def right(self, names: frozenset[str]) -> bool:
        """Whether the name, or an explanation of its class, holds nothing but these names."""
        return self.choice in names or any(other <= names for other in self.others)

    @property
    def text(self) -> str:
        """The class in one line."""
        others = sorted(" + ".join(sorted(other)) for other in self.others)
        return " or ".join(dict.fromkeys([self.choice, *others]))


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
            others = frozenset(frozenset(text.split(" + ")) for text in d.alternatives)
            names.append(Name(result.quantity, result.status, d.kind, d.choice, others))
        if not serious and result.kind == "value" and not result.explained_by:
            told = _statements(result.reason)
            facts += [Fact(result.quantity, t) for t in told if t and not t.startswith(SILENCE)]
        if result.kind == "contract" and not result.diagnosis:
            facts.append(Fact(result.quantity, result.title))
    return Told(tuple(names), tuple(facts), frozenset(refuted))


def _statements(reason: str) -> list[str]:
    """The statements of a reason; one of them has a second half of its own."""
    return [part.strip() for part in re.split("; (?!the contract's is )", reason)]


def wrong_names(told: Told, label: Label) -> tuple[str, ...]:
    """Names that hold nothing true of the subject, as ``quantity: name``.

    A free choice blames nobody, and is not in the labels. Where the whole truth stands among the
    explanations that are said to be equal, the one that was picked of them is not wrong.
    """
    if any(_is_whole(other, label) for name in told.names for other in name.others):
        return ()
    serious = (n for n in told.names if n.kind != "free")
    return tuple(sorted({f"{n.quantity}: {n.text}" for n in serious if not n.right(label.every)}))


def _is_whole(explanation: frozenset[str], label: Label) -> bool:
    """Whether an explanation names every planted choice, and nothing else."""
    named = all(explanation & wanted for wanted in label.names)
    return bool(label.names) and named and explanation <= label.every


def outcome(told: Told, label: Label) -> Outcome:
    """The group of the confusion matrix that a plant belongs to."""
    if wrong_names(told, label):
        return "wrong name"
    if any(f.true is False for f in told.facts):
        return "false fact"
    if not told.refuted:
        return "not seen"
    named = [_named(told, wanted, label) for wanted in label.names]
    if named and all(named):
        given = [n for n in told.names if n.kind != "free" and n.right(label.every)]
        return "deviates" if all(n.status == "deviates" for n in given) else "named"
    if any(named):
        return "one of two"
    return "facts" if told.facts else "unnamed"


def _named(told: Told, wanted: frozenset[str], label: Label) -> bool:
    """Whether one planted choice is named, by itself or in a class of explanations."""
    return any(
        name.choice in wanted
        or any(other & wanted and other <= label.every for other in name.others)
        for name in told.names
    )


def class_sizes(told: Told, label: Label) -> tuple[int, ...]:
    """How many explanations the report holds for equal; nothing where no planted choice is named.

    The one that it gives, and all the others that it lists.
    """
    if not any(_named(told, wanted, label) for wanted in label.names):
        return ()
    return (1 + len(frozenset[frozenset[str]]().union(*(n.others for n in told.names))),)
