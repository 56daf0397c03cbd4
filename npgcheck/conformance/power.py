"""``npgcheck power``: does the verifier refute what is wrong, and spare what is right?

Every planted subject of :mod:`npgcheck.conformance.controls` goes through the verifier, and the
verdict is compared with what the control is owed. The kill matrix says which check refuted which
mistake, after how many problems.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Literal

from npgcheck.conformance.contract import in_order
from npgcheck.conformance.controls import Control, controls, find
from npgcheck.conformance.report import CheckResult, Report

#: Seconds per call of a control that hangs or ends its process; nothing right takes that long.
ISOLATED_LIMIT = 1.0

Verdict = Literal["refuted", "survived", "accused", "spared", "not run"]


@dataclass(frozen=True)
class Kill:
    """One check that refuted, or deviated on, one control.

    Attributes:
        check: the check's id.
        quantity: the contract function that it judges.
        status: ``fail`` or ``deviates``.
        kind: the check's kind; ``contract`` is a crash, a hang, a NaN or a wrong shape.
        after: the problem, counted from one, that refuted it, or None.
        named: the choices that the report named.
        explained_by: the lower quantity that explains it, or None.
        reason: the check's own reason, in one line.
    """

    check: str
    quantity: str
    status: str
    kind: str
    after: int | None
    named: tuple[str, ...]
    explained_by: str | None
    reason: str


@dataclass(frozen=True)
class PowerRow:
    """What became of one control under one seed.

    Attributes:
        control: the planted subject.
        seed: the seed of the drawn problems.
        verdict: ``refuted`` and ``spared`` are as they should be; ``survived`` is a mistake that
            was not seen, ``accused`` a right answer that was refuted.
        kills: every check that did not pass, in the contract's order.
        problem: what is not as it should be, in one line, or why it was not run.
        seconds: wall-clock time.
    """

    control: Control
    seed: int
    verdict: Verdict
    kills: tuple[Kill, ...] = ()
    problem: str = ""
    seconds: float = 0.0

    @property
    def killer(self) -> Kill | None:
        """The check to name: one on an expected quantity, lowest layer, fewest problems."""
        owed = [k for k in self.kills if k.quantity in self.control.refutes]
        return min(owed, key=_strength, default=None)

    @property
    def by_crash(self) -> bool:
        """Whether nothing but faults (raised, hung, NaN, wrong shape) refuted it."""
        owed = [k for k in self.kills if k.quantity in self.control.refutes]
        return bool(owed) and all(k.kind == "contract" for k in owed)


def _strength(kill: Kill) -> tuple[bool, bool, int]:
    return (kill.explained_by is not None, kill.status != "fail", kill.after or 10**6)


@dataclass(frozen=True)
class PowerReport:
    """The kill matrix.

    Attributes:
        rows: one per control and seed.
        seeds: the seeds.
        seconds: wall-clock time.
        version: of npgcheck.
    """

    rows: tuple[PowerRow, ...]
    seeds: tuple[int, ...]
    seconds: float
    version: str

    @cached_property
    def by_control(self) -> dict[str, tuple[PowerRow, ...]]:
        """The rows of each control, over the seeds."""
        groups: dict[str, list[PowerRow]] = {}
        for row in self.rows:
            groups.setdefault(row.control.name, []).append(row)
        return {name: tuple(rows) for name, rows in groups.items()}

    def _with(self, role: str, verdict: Verdict) -> tuple[Control, ...]:
        """The controls of a role with this verdict under any seed."""
        return tuple(
            rows[0].control
            for rows in self.by_control.values()
            if rows[0].control.role == role and any(r.verdict == verdict for r in rows)
        )

    @property
    def survivors(self) -> tuple[Control, ...]:
        """Planted mistakes that some seed did not refute as owed."""
        return self._with("wrong", "survived")

    @property
    def accused(self) -> tuple[Control, ...]:
        """Right or equivalent subjects, or right parts of wrong ones, that were refuted."""
        return tuple(
            c for role in ("wrong", "equivalent", "right") for c in self._with(role, "accused")
        )

    @property
    def not_run(self) -> tuple[Control, ...]:
        """Controls whose optional package is not installed."""
        return tuple(
            c for role in ("wrong", "equivalent", "right") for c in self._with(role, "not run")
        )

    @property
    def passed(self) -> bool:
        """Every mistake refuted, nothing right accused."""
        return not self.survivors and not self.accused

    @property
    def summary(self) -> str:
        """The totals in one line, as the README quotes them."""
        ran = [rows[0] for rows in self.by_control.values() if rows[0].verdict != "not run"]
        roles = [row.control.role for row in ran]
        wrong, right = roles.count("wrong"), roles.count("right") + roles.count("equivalent")
        blamed = sum(c.role != "wrong" for c in self.accused)
        named = [str(s) for s in self.seeds]
        seeds = " and ".join(named) if len(named) < 3 else f"{named[0]} to {named[-1]}"
        return (
            f"{wrong - len(self._refuted_not())} of {wrong} planted mistakes refuted, "
            f"{blamed} of {right} right subjects accused, "
            f"seed{'s' if len(named) > 1 else ''} {seeds}, {self.seconds:.0f} s"
        )

    def _refuted_not(self) -> set[str]:
        return {c.name for c in self.survivors} | {
            c.name for c in self.accused if c.role == "wrong"
        }

    def __str__(self) -> str:
        from npgcheck.conformance.render_power import to_text

        return to_text(self)


def run_power(
    seeds: Sequence[int] = (0, 1),
    only: Collection[str] | None = None,
    progress: Callable[[str], None] | None = None,
    examples: int | None = None,
) -> PowerReport:
    """Runs the planted subjects through the verifier.

    Args:
        seeds: seeds of the drawn problems. Controls that hang or end their process do not depend
            on it and run under the first seed alone.
        only: names of controls; all of them when None.
        progress: called with each control's name before it runs.
        examples: problems per policy family; what each control needs when None.

    Raises:
        UsageError: there is no control of that name.
    """
    import npgcheck

    chosen = controls() if only is None else tuple(find(name) for name in only)
    started = time.perf_counter()
    rows = []
    for control in chosen:
        for seed in seeds[:1] if control.isolate else seeds:
            if progress is not None:
                progress(f"{control.name}, seed {seed}")
            rows.append(run_control(control, seed, examples))
    return PowerReport(
        tuple(rows), tuple(seeds), time.perf_counter() - started, npgcheck.__version__
    )


def run_control(control: Control, seed: int = 0, examples: int | None = None) -> PowerRow:
    """Runs one control under one seed and compares the verdict with what it is owed."""
    if control.needs and find_spec(control.needs) is None:
        return PowerRow(control, seed, "not run", problem=f"{control.needs} is not installed")
    started = time.perf_counter()
    report = verify_control(control, seed, examples)
    kills = tuple(
        _kill(result)
        for quantity in in_order({r.quantity for r in report.results})
        for result in report.results
        if result.quantity == quantity and result.status in ("fail", "deviates")
    )
    verdict, problem = judge(control, report)
    return PowerRow(control, seed, verdict, kills, problem, time.perf_counter() - started)


def verify_control(
    control: Control, seed: int = 0, examples: int | None = None, without: Collection[str] = ()
) -> Report:
    """Judges a control as ``npgcheck verify`` would, on what it is to be asked.

    Args:
        control: the planted subject.
        seed: of the drawn problems.
        examples: problems per policy family; what the control needs when None.
        without: choices that the verifier is to know nothing of.
    """
    from npgcheck.conformance.choices import left_out
    from npgcheck.conformance.engine import run
    from npgcheck.conformance.guard import Caller, LocalCaller
    from npgcheck.conformance.subject import load
    from npgcheck.conformance.worker import WorkerCaller

    caller: Caller
    if control.isolate:
        target = f"{control.build.__module__}:{getattr(control.build, '__qualname__', '')}"
        caller = WorkerCaller(target, time_limit=ISOLATED_LIMIT, first_call_limit=ISOLATED_LIMIT)
        subject = caller.subject
    else:
        subject = load(control.build())
        caller = LocalCaller(subject)
    try:
        only = in_order(control.asks & set(subject.functions))
        problems = (examples or control.problems) * len(subject.families)
        with left_out(without):
            return run(subject, caller, examples=problems, seed=seed, only=only)
    finally:
        caller.close()


def _kill(result: CheckResult) -> Kill:
    return Kill(
        check=result.id,
        quantity=result.quantity,
        status=result.status,
        kind=result.kind,
        after=result.refuted_after,
        named=tuple(d.choice for d in result.diagnosis),
        explained_by=result.explained_by,
        reason=result.reason,
    )


def judge(control: Control, report: Report) -> tuple[Verdict, str]:
    """Compares a report with what the control is owed; returns the verdict and what is amiss."""
    status = {q.quantity: q.status for q in report.quantities}
    if control.role == "wrong":
        missed = [q for q in control.refutes if not _owed(control, status.get(q, "not_covered"))]
        if missed:
            return "survived", _told("expected", control.outcome, missed, status)
        blamed = [q for q in control.spares if status.get(q) == "fail"]
        return ("accused", _told("right", "pass", blamed, status)) if blamed else ("refuted", "")
    bad = [
        q
        for q, s in status.items()
        if s == "fail" or (s == "deviates" and q not in control.may_deviate)
    ]
    if bad:
        return "accused", _told("right", "pass", bad, status)
    if not any(s in ("pass", "deviates") for s in status.values()):
        return "accused", "nothing was judged"
    return "spared", ""


def _owed(control: Control, status: str) -> bool:
    if control.outcome == "either":
        return status in ("fail", "deviates")
    return status == control.outcome


def _told(word: str, wanted: str, quantities: Collection[str], status: Mapping[str, str]) -> str:
    found = ", ".join(f"{q} {status.get(q, 'not covered')}" for q in in_order(quantities))
    return f"{word} ({wanted}), but {found}"
