"""Evidence: what was done to check an equation, and the status that follows from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import sympy as sp

from npgcheck.derivation.claim import Assumption, Claim, Statement, Status, Step
from npgcheck.derivation.judges import (
    Evidence,
    differs,
    function_evidence,
    is_negative_somewhere,
    point_evidence,
    sign_evidence,
)
from npgcheck.derivation.setting import Setting
from npgcheck.derivation.twins import Twin, twins
from npgcheck.derivation.word_evidence import judge_words, words_differ
from npgcheck.derivation.words import Words


@dataclass(frozen=True)
class Controls:
    """Twins of one step: how many were planted, refuted, or change nothing at all."""

    planted: int
    refuted: int
    equivalent: int
    survivors: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepResult:
    """A step with its evidence and its controls."""

    step: Step
    evidence: tuple[Evidence, ...]
    controls: Controls

    @property
    def status(self) -> Status:
        return status_of(self.evidence)


@dataclass(frozen=True)
class StatementResult:
    """A statement with the results of its steps and of its named mistakes.

    Attributes:
        mistakes: (what it is called, the counterexample or "").
        sign: where the right-hand side is claimed to be ≥ 0: what was found out about that, and
            about the same claim with its sign flipped, the planted fault.
    """

    statement: Statement
    steps: tuple[StepResult, ...]
    mistakes: tuple[tuple[str, str], ...]
    sign: tuple[Evidence, bool] | None = None

    @property
    def status(self) -> Status:
        found = [step.status for step in self.steps]
        return min([*found, status_of((self.sign[0],))] if self.sign else found)

    @property
    def planted(self) -> int:
        steps = sum(step.controls.planted for step in self.steps)
        return steps + len(self.mistakes) + (self.sign is not None)

    @property
    def survivors(self) -> tuple[str, ...]:
        out = [
            f"step {i}: {name}"
            for i, step in enumerate(self.steps, 1)
            for name in step.controls.survivors
        ]
        out += [name for name, where in self.mistakes if not where]
        if self.sign is not None and not self.sign[1]:
            out.append("the sign of what cannot be negative flipped")
        return tuple(out)


@dataclass(frozen=True)
class ClaimResult:
    """A claim with everything that was found out about it.

    Attributes:
        own: the status of its own statements.
        status: the computed status, not above that of anything used.
    """

    claim: Claim
    statements: tuple[StatementResult, ...]
    dropped: tuple[tuple[Assumption, str], ...]  # (assumption, counterexample without it or "")
    status: Status
    seconds: float
    own: Status = field(default=Status.REFUTED)

    @property
    def planted(self) -> int:
        return sum(st.planted for st in self.statements) + len(self.dropped)

    @property
    def survivors(self) -> tuple[str, ...]:
        out = [f"{st.statement.name}, {name}" for st in self.statements for name in st.survivors]
        out += [f"without the assumption: {a.text}" for a, why in self.dropped if not why]
        return tuple(out)


def status_of(evidence: tuple[Evidence, ...]) -> Status:
    """The strongest status that the evidence allows."""
    if any(e.outcome == "refuted" for e in evidence):
        return Status.REFUTED
    holds = [e for e in evidence if e.outcome == "holds"]
    if any(e.complete for e in holds):
        return Status.PROVED
    if any(e.method == "rational functions" for e in holds):
        return Status.PROVED_FOR_SIZE
    # no evidence at all is no check: an equation that nothing could look at is only cited
    return Status.CHECKED if holds else Status.CITED


def judge(
    lhs: sp.Expr,
    rhs: sp.Expr,
    setting: Setting | Words,
    free: tuple[sp.Symbol, ...],
    relation: str = "=",
) -> tuple[Evidence, ...]:
    """Everything that can be found out about one equation."""
    if isinstance(setting, Words):
        return judge_words(lhs, rhs, setting, relation)
    return (
        function_evidence(lhs, rhs, setting, free),
        point_evidence(lhs, rhs, setting, free),
    )


def _refuted(twin: Twin, statement: Statement, relation: str) -> bool:
    """Every method that decides must say no, and at least one must decide."""
    found = judge(twin.lhs, twin.rhs, statement.setting, statement.free, relation)
    decided = [e.outcome for e in found if e.outcome != "undecided"]
    return bool(decided) and all(outcome == "refuted" for outcome in decided)


def _is_another(twin: Twin, statement: Statement, relation: str) -> bool:
    """Whether a twin differs from its step in floats at generic points."""
    setting = statement.setting
    if isinstance(setting, Words):
        return words_differ(twin.lhs, twin.rhs, setting, relation)
    return differs(twin.lhs, twin.rhs, setting, statement.free)


def check_step(step: Step, statement: Statement) -> StepResult:
    """Judges a step and its twins."""
    setting, free = statement.setting, statement.free
    planted = refuted = equivalent = 0
    survivors = []
    for twin in twins(step, statement):
        if not _is_another(twin, statement, step.relation):
            equivalent += 1
            continue
        planted += 1
        if _refuted(twin, statement, step.relation):
            refuted += 1
        else:
            survivors.append(twin.fault)
    if not planted:
        survivors.append("no twin of this step differs from it")
    controls = Controls(planted, refuted, equivalent, tuple(survivors))
    return StepResult(step, judge(step.lhs, step.rhs, setting, free, step.relation), controls)


def counterexample(
    lhs: sp.Expr,
    rhs: sp.Expr,
    setting: Setting | Words,
    free: tuple[sp.Symbol, ...],
    relation: str = "=",
) -> str:
    """Where an equation fails, in words; empty when nothing refutes it."""
    found = judge(lhs, rhs, setting, free, relation)
    if isinstance(setting, Words):
        found = found[1:]  # a normal form says what does not follow; matrices say what is false
    notes = [e.note for e in reversed(found) if e.outcome == "refuted"]
    return notes[0] if notes else ""


def _sign(s: Statement) -> tuple[Evidence, bool] | None:
    if not s.nonnegative or isinstance(s.setting, Words):
        return None
    flipped = sign_evidence(-s.rhs, s.setting).outcome != "holds"
    refuted = flipped and is_negative_somewhere(-s.rhs, s.setting, s.free)
    return sign_evidence(s.rhs, s.setting), refuted


def check_claim(claim: Claim, used: dict[str, Status]) -> ClaimResult:
    """Judges a claim; `used` holds the computed status of the claims that it uses."""
    start = time.perf_counter()
    results = []
    for s in claim.statements:
        steps = tuple(check_step(step, s) for step in s.steps)
        mistakes = tuple(
            (what, counterexample(s.lhs, wrong, s.setting, s.free, s.relation))
            for what, wrong in s.mistakes
        )
        results.append(StatementResult(s, steps, mistakes, _sign(s)))
    dropped = []
    for assumption in claim.assumptions:
        if assumption.without is not None:
            s = claim.statement(assumption.breaks)
            where = counterexample(s.lhs, s.rhs, assumption.without, s.free, s.relation)
            dropped.append((assumption, where))
    own = min(r.status for r in results)
    status = min([own, *(used[name] for name in claim.uses)])
    seconds = time.perf_counter() - start
    return ClaimResult(claim, tuple(results), tuple(dropped), status, seconds, own)
