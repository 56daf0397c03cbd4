"""Evidence: what was done to check an equation, and the status that follows from it."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import sympy as sp

from npgcheck.derivation.claim import Assumption, Claim, Statement, Status, Step
from npgcheck.derivation.cutoff import bound_of
from npgcheck.derivation.evaluate import Evaluator
from npgcheck.derivation.language import OutOfClass, Setting, families_in
from npgcheck.derivation.rings import FloatRing, FunctionRing, PointRing
from npgcheck.derivation.twins import Twin, twins
from npgcheck.derivation.values import LogLinear
from npgcheck.derivation.word_evidence import judge_words, words_differ
from npgcheck.derivation.words import Words

SIZES_OUTSIDE_THE_CLASS = 4  # where no complete method applies: "proved for n ≤ 4"


@dataclass(frozen=True)
class Evidence:
    """The outcome of one method on one equation.

    Attributes:
        method: "cutoff lemma", "rational functions" or "exact points".
        outcome: "holds", "refuted" or "undecided".
        complete: whether "holds" means: for every size.
        bound: the largest size that was looked at; for the cutoff lemma, its N.
        cases: how many instances were evaluated.
        note: the counterexample, or why the method does not decide.
        seconds: time spent.
    """

    method: str
    outcome: str
    complete: bool
    bound: int
    cases: int
    note: str = ""
    seconds: float = 0.0


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
    """A statement with the results of its steps and of its named mistakes."""

    statement: Statement
    steps: tuple[StepResult, ...]
    mistakes: tuple[tuple[str, str], ...]  # (what it is called, the counterexample or "")

    @property
    def status(self) -> Status:
        return min(step.status for step in self.steps)


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
        steps = sum(s.controls.planted for st in self.statements for s in st.steps)
        return steps + sum(len(st.mistakes) for st in self.statements) + len(self.dropped)

    @property
    def survivors(self) -> tuple[str, ...]:
        out = [
            f"{st.statement.name}, step {i}: {name}"
            for st in self.statements
            for i, step in enumerate(st.steps, 1)
            for name in step.controls.survivors
        ]
        out += [
            f"{st.statement.name}: {m}"
            for st in self.statements
            for m, why in st.mistakes
            if not why
        ]
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


def _assignments(free: tuple[sp.Symbol, ...], size: int) -> Any:
    for values in itertools.product(range(1, size + 1), repeat=len(free)):
        yield dict(zip(free, values, strict=True))


def _difference(ev: Evaluator, lhs: sp.Expr, rhs: sp.Expr, idx: dict[sp.Symbol, int]) -> LogLinear:
    minus = LogLinear(ev.ring.const(Fraction(-1)))
    return ev.value(lhs, idx) + ev.value(rhs, idx) * minus


def function_evidence(
    lhs: sp.Expr, rhs: sp.Expr, setting: Setting, free: tuple[sp.Symbol, ...]
) -> Evidence:
    """Decides the equation among rational functions, for every size where the lemma applies."""
    start, cases, note = time.perf_counter(), 0, ""
    try:
        bound, method = bound_of(lhs, rhs, setting, free), "cutoff lemma"
    except OutOfClass as reason:
        bound, method, note = SIZES_OUTSIDE_THE_CLASS, "rational functions", str(reason)
    complete, outcome = method == "cutoff lemma", "holds"
    try:
        for size in range(1, bound + 1):
            ev = Evaluator(FunctionRing(setting, size), setting)
            for idx in _assignments(free, size):
                cases += 1
                difference = _difference(ev, lhs, rhs, idx)
                if not difference.vanishes():
                    # formal logarithms that differ may still be equal numbers
                    outcome = "undecided" if difference.logs else "refuted"
                    note = _where(setting, size, idx)
                    break
            if outcome != "holds":
                break
    except (OutOfClass, ZeroDivisionError) as reason:
        outcome, note = "undecided", str(reason)
    seconds = time.perf_counter() - start
    return Evidence(method, outcome, complete, bound, cases, note, seconds)


def point_evidence(
    lhs: sp.Expr,
    rhs: sp.Expr,
    setting: Setting,
    free: tuple[sp.Symbol, ...],
    seed: int = 0,
) -> Evidence:
    """Evaluates both sides exactly at rational points; arithmetic shared with nothing else."""
    start, cases, note, outcome = time.perf_counter(), 0, "", "holds"
    rng = random.Random(seed)
    random_family = "random" in setting.families.values()
    largest = 2 if random_family else 4  # five nodes per random number: 5^n points
    for size, draw in itertools.product(range(1, largest + 1), range(2)):
        members = _draw(setting, size, rng, simple=draw == 0)
        ev = Evaluator(PointRing(setting, size, members), setting)
        try:
            for idx in _assignments(free, size):
                cases += 1
                difference = _difference(ev, lhs, rhs, idx)
                if not difference.vanishes():
                    outcome = "refuted"
                    left, right = ev.value(lhs, idx), ev.value(rhs, idx)
                    shown = "" if left.logs or right.logs else f": {left.pure} ≠ {right.pure}"
                    used = families_in(lhs, setting) | families_in(rhs, setting)
                    point = {slot: v for slot, v in members.items() if slot[0] in used}
                    note = _where(setting, size, idx, point) + shown
                    break
        except (OutOfClass, ZeroDivisionError) as reason:
            outcome, note = "undecided", str(reason)
        if outcome != "holds":
            break
    seconds = time.perf_counter() - start
    return Evidence("exact points", outcome, False, largest, cases, note, seconds)


def _draw(setting: Setting, size: int, rng: random.Random, simple: bool) -> dict[Any, Fraction]:
    members = {}
    for family, kind in setting.families.items():
        for k in range(1, size + 1):
            top, low = (3, 1) if simple else (30, 1)
            value = Fraction(rng.randint(low, top), 1 if simple else rng.randint(1, 30))
            sign = -1 if kind == "real" and rng.random() < 0.5 else 1
            members[(family, k)] = sign * value
    return members


def _where(
    setting: Setting, size: int, idx: dict[sp.Symbol, int], members: dict[Any, Any] | None = None
) -> str:
    parts = [f"{setting.size} = {size}", *(f"{s} = {v}" for s, v in idx.items())]
    for (family, k), value in (members or {}).items():
        if setting.families[family] == "random":
            continue
        letter = sp.pretty(sp.Symbol(family))  # θ for theta
        name = f"e^{letter}" if setting.families[family] == "log" else letter
        parts.append(f"{name}_{k} = {value}")
    return ", ".join(parts)


def differs(
    lhs: sp.Expr,
    rhs: sp.Expr,
    setting: Setting | Words,
    free: tuple[sp.Symbol, ...],
    relation: str = "=",
) -> bool:
    """Whether the sides differ as floats at generic points: is a twin really another equation?

    1e-6 is far above the round-off of a few hundred operations on numbers of size one (1e-13),
    and far below what a planted fault changes at a generic point (1e-2).
    """
    if isinstance(setting, Words):
        return words_differ(lhs, rhs, setting, relation)
    rng = random.Random(7)
    for size in (2,) if "random" in setting.families.values() else (2, 3):
        members = {
            (family, k): rng.uniform(0.4, 1.6) * (rng.choice((-1, 1)) if kind == "real" else 1)
            for family, kind in setting.families.items()
            for k in range(1, size + 1)
        }
        ev = Evaluator(FloatRing(setting, size, members), setting)
        for idx in _assignments(free, size):
            if abs(_difference(ev, lhs, rhs, idx).pure) > 1e-6:
                return True
    return False


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


def check_step(step: Step, statement: Statement) -> StepResult:
    """Judges a step and its twins."""
    setting, free = statement.setting, statement.free
    planted = refuted = equivalent = 0
    survivors = []
    for twin in twins(step, statement):
        if not differs(twin.lhs, twin.rhs, setting, free, step.relation):
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
        results.append(StatementResult(s, steps, mistakes))
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
