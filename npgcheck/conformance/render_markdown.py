"""The report as Markdown, for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from npgcheck.conformance.render_junit import failure_text
from npgcheck.conformance.render_text import reproduce
from npgcheck.conformance.report import QuantitySummary, Report
from npgcheck.conformance.wording import (
    counts_text,
    diagnosis_text,
    families_text,
    is_known,
    plural,
    refutation,
    small,
)

_MARK = {"pass": "✅", "deviates": "🟡", "fail": "❌", "skip": "⏭️"}


def to_markdown(report: Report) -> str:
    """The report as Markdown: a table, then one folded section for each refutation."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    verdict = "passed" if report.passed else "failed"
    yield f"### npgcheck: {_cell(report.target)} {verdict}"
    yield ""
    yield f"{counts_text(report)} · {families_text(report.families)} · seed {report.seed}"
    yield ""
    yield "| quantity | status | problems | digits | |"
    yield "|---|---|---:|---:|---|"
    for summary in report.quantities:
        if summary.status != "not_covered":
            yield _row(report, summary)
    yield ""
    for summary in report.quantities:
        for result in summary.results:
            new = result.status == "fail" and result.id not in report.known_failures
            if new and result.explained_by is None:
                yield f"<details><summary><code>{result.quantity}</code> {result.id}</summary>"
                yield ""
                yield "```text"
                yield failure_text(report, result).replace("```", "'''")
                yield "```"
                yield ""
                yield "</details>"
                yield ""
    if report.declare:
        yield f"To declare what deviates: `{report.declare}`"
        yield ""
    for note in (*report.notes, *(f"{s} no longer fails: take it off" for s in report.stale)):
        yield f"- {note}"
    if report.controls:
        caught = sum(control.caught for control in report.controls)
        yield f"- Controls: {caught} of {plural(len(report.controls), 'planted mistake')} caught"
    hidden = list(report.not_visible)
    if report.detection_floor > 0 and not any("damping below" in text for text in hidden):
        hidden.append(f"damping below {small(report.detection_floor)}")
    if hidden:
        yield f"- Not visible from what was given: {', '.join(hidden)}"
    if command := reproduce(report):
        yield f"- Reproduce: `{command}`"


def _row(report: Report, summary: QuantitySummary) -> str:
    word: str = "FAIL" if summary.status == "fail" else summary.status
    if is_known(report, summary):
        word = "known failure"
    cells = [
        f"`{summary.quantity}`",
        f"{_MARK[summary.status]} {word}",
        str(summary.problems),
        f"{summary.digits:.1f}" if summary.problems else "",
        _cell(_said(summary)),
    ]
    return f"| {' | '.join(cells)} |"


def _said(summary: QuantitySummary) -> str:
    if summary.status == "fail":
        failing = [r for r in summary.results if r.status == "fail"]
        first = failing[0]
        named = [diagnosis_text(d) for d in first.diagnosis if d.kind != "free"]
        return "; ".join([refutation(first), *named[:1]])
    if summary.status == "deviates":
        named = [
            diagnosis_text(d) for r in summary.results for d in r.diagnosis if d.kind != "free"
        ]
        return "; ".join(dict.fromkeys(named))
    if summary.status == "skip":
        return next((r.reason for r in summary.results if r.reason), "")
    return ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
