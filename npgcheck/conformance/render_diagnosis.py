"""The confusion matrix of ``npgcheck power --diagnosis`` as text and as JSON."""

from __future__ import annotations

from typing import Any

from npgcheck.conformance.power_diagnosis import (
    GATE,
    GROUPS,
    WRONG,
    DiagnosisReport,
    Group,
    Row,
)
from npgcheck.conformance.told import OUTCOMES

SCHEMA_VERSION = 1
_WIDTH = 44


def to_text(report: DiagnosisReport) -> str:
    """Every list, grouped by what the diagnosis said, what was wrong, and the totals."""
    out: list[str] = []
    for group in GROUPS:
        rows = report.of(group)
        if rows:
            out += ["", f"{GROUPS[group]}: {len(rows)}", *_groups(group, rows)]
    if report.wrong:
        out += ["", "WRONG"]
        out += [f"  {_title(r)}: {'; '.join(r.wrong)}" for r in report.wrong]
    if report.unverified:
        out += ["", f"facts that the evaluator cannot judge: {len(report.unverified)}"]
        out += [f"  {r.control.name}: {text}" for r, text in report.unverified]
    missing = sorted({r.control.needs for r in report.rows if r.outcome == "not run"})
    if missing:
        left = sum(r.outcome == "not run" for r in report.rows)
        out += ["", f"{left} not run: {', '.join(missing)} is not installed"]
    return "\n".join([*out, "", *_totals(report), report.summary]).lstrip("\n")


def _title(row: Row) -> str:
    return f"{row.control.name}, {GROUPS[row.group]}, seed {row.seed}"


def _groups(group: Group, rows: tuple[Row, ...]) -> list[str]:
    out = []
    for outcome, meaning in OUTCOMES.items():
        chosen = [r for r in rows if r.outcome == outcome]
        if not chosen:
            continue
        words = "not accused" if (group, outcome) == ("right", "not seen") else meaning
        out.append(f"  {words}: {len(chosen)}")
        if group != "right" or outcome != "not seen":
            out += [f"    {_line(r)}" for r in chosen]
    return out


def _line(row: Row) -> str:
    """planted -> told"""
    planted = row.control.name
    if row.group in ("single", "pair", "left out") and row.control.label.text != planted:
        planted += f" ({row.control.label.text})"
    names = dict.fromkeys(n.text for n in row.said.names if n.kind != "free")
    facts = dict.fromkeys(f.text for f in row.said.facts)
    told = list(names) or list(facts)
    shown = "; ".join(told[:2]) + (" …" if len(told) > 2 else "")
    return f"{planted.ljust(_WIDTH)} -> {shown or '–'}"


def _totals(report: DiagnosisReport) -> list[str]:
    out = []
    for group in GATE:
        share = report.share(group)
        if share is None:
            continue
        size = report.class_size(group)
        classes = f", median class size {size:g}" if size is not None else ""
        out.append(
            f"{GROUPS[group]}: {share:.1%} named{classes}; at least {GATE[group]:.0%} is asked"
        )
    lists = ", ".join(f"{most:.0%} of {GROUPS[group]}" for group, most in WRONG.items() if most)
    out.append(f"wrong names and false facts: at most {lists}, else none; the aim is none")
    return [*out, *(f"NOT MET: {text}" for text in report.below)]


def to_json(report: DiagnosisReport) -> dict[str, Any]:
    """The whole matrix as plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "version": report.version,
        "seeds": list(report.seeds),
        "seconds": report.seconds,
        "passed": report.passed,
        "summary": report.summary,
        "gates": GATE,
        "wrong_at_most": WRONG,
        "groups": {
            group: {
                "planted": len(report.of(group)),
                "share_named": report.share(group),
                "median_class_size": report.class_size(group),
                "outcomes": {o: report.count(group, o) for o in OUTCOMES},
            }
            for group in GROUPS
        },
        "rows": [_row(row) for row in report.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.control.name,
        "group": row.group,
        "stage": row.control.stage,
        "style": row.control.style,
        "seed": row.seed,
        "planted": [sorted(names) for names in row.control.label.names],
        "also": sorted(row.control.label.also),
        "outcome": row.outcome,
        "wrong": list(row.wrong),
        "class_sizes": list(row.classes),
        "names": [
            {
                "quantity": n.quantity,
                "status": n.status,
                "kind": n.kind,
                "choice": n.choice,
                "others": sorted(sorted(other) for other in n.others),
            }
            for n in row.said.names
        ],
        "facts": [{"quantity": f.quantity, "text": f.text, "true": f.true} for f in row.said.facts],
        "seconds": row.seconds,
    }
