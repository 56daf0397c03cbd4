"""The kill matrix as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from npgcheck.conformance.power import PowerReport, PowerRow

SCHEMA_VERSION = 1
_HEAD = ("planted mistake", "refuted by", "as", "after", "named")


def to_text(report: PowerReport) -> str:
    """The matrix, the crash kills, the equivalents, what went wrong, and the totals."""
    groups = list(report.by_control.values())
    wrong = [rows for rows in groups if rows[0].control.role == "wrong"]
    kills = [r for r in wrong if all(x.verdict == "refuted" for x in r) and not r[0].by_crash]
    crashes = [r for r in wrong if all(x.verdict == "refuted" for x in r) and r[0].by_crash]
    out: list[str] = []
    stage = None
    for rows in kills:
        if rows[0].control.stage != stage:
            stage = rows[0].control.stage
            out += ["", stage]
            out += _table([_HEAD, *(_cells(r) for r in kills if r[0].control.stage == stage)])
    if crashes:
        out += ["", "refuted by a fault (raised, hung, ended its process, NaN, wrong shape)"]
        out += _table([_HEAD, *(_cells(r) for r in crashes)])
    out += _listed(groups, "equivalent", "cannot be seen from outside, and was not accused")
    out += _listed(groups, "right", "right, and not accused")
    for title, verdict in (("SURVIVED", "survived"), ("ACCUSED", "accused")):
        bad = [row for row in report.rows if row.verdict == verdict]
        if bad:
            out += ["", title]
            out += [f"  {r.control.name}, seed {r.seed}: {r.problem}" for r in bad]
    if report.not_run:
        out += ["", "not run"]
        out += [f"  {c.name}: {c.needs} is not installed" for c in report.not_run]
    return "\n".join([*out, "", report.summary]).lstrip("\n")


def _cells(rows: tuple[PowerRow, ...]) -> tuple[str, ...]:
    killers = [row.killer for row in rows]
    first = killers[0]
    assert first is not None
    checks = sorted({k.check for k in killers if k is not None})
    after = [str(k.after) if k is not None and k.after else "–" for k in killers]
    named = first.named or (first.reason[:60],)
    return (
        rows[0].control.name,
        " ".join(checks),
        first.status,
        ", ".join(after),
        ", ".join(n for n in named if n),
    )


def _table(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        ("  " + "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]


def _listed(groups: Iterable[tuple[PowerRow, ...]], role: str, title: str) -> list[str]:
    chosen = [
        rows[0].control
        for rows in groups
        if rows[0].control.role == role and all(r.verdict == "spared" for r in rows)
    ]
    if not chosen:
        return []
    width = max(len(c.name) for c in chosen)
    return [
        "",
        title,
        *(f"  {c.name.ljust(width)}  {c.reason or c.description}" for c in chosen),
    ]


def to_json(report: PowerReport) -> dict[str, Any]:
    """The whole matrix as plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "version": report.version,
        "seeds": list(report.seeds),
        "seconds": report.seconds,
        "passed": report.passed,
        "summary": report.summary,
        "survivors": [c.name for c in report.survivors],
        "accused": [c.name for c in report.accused],
        "rows": [_row(row) for row in report.rows],
    }


def _row(row: PowerRow) -> dict[str, Any]:
    control = row.control
    return {
        "name": control.name,
        "role": control.role,
        "stage": control.stage,
        "kind": control.kind,
        "description": control.description,
        "source": control.source,
        "reason": control.reason,
        "whole": control.whole,
        "expected": {
            "outcome": control.outcome,
            "refutes": sorted(control.refutes),
            "spares": sorted(control.spares),
        },
        "seed": row.seed,
        "verdict": row.verdict,
        "problem": row.problem,
        "by_crash": row.by_crash,
        "seconds": row.seconds,
        "kills": [
            {
                "check": k.check,
                "quantity": k.quantity,
                "status": k.status,
                "kind": k.kind,
                "after": k.after,
                "named": list(k.named),
                "explained_by": k.explained_by,
            }
            for k in row.kills
        ],
    }
