"""The report as text: what a person reads first. Colour only on a terminal."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Iterator, Sequence

from npgcheck.conformance.naming import is_declarable
from npgcheck.conformance.report import CheckResult, Diagnosis, QuantitySummary, Report
from npgcheck.conformance.wording import (
    counts_text,
    diagnosis_text,
    families_text,
    formula_text,
    is_known,
    margin,
    mend_text,
    pair_of_rows,
    plural,
    refutation,
    small,
    where_it_raised,
)

Segment = tuple[str, str]
"""A piece of a line and its style: ``""``, ``good``, ``bad``, ``odd``, ``quiet`` or ``strong``."""
Line = list[Segment]

_RICH_STYLE = {
    "": "",
    "good": "green",
    "bad": "bold red",
    "odd": "yellow",
    "quiet": "dim",
    "strong": "bold",
}
_LABEL = {
    "property": "property",
    "contract": "finding",
    "consistency": "consistency",
    "edge": "edge case",
    "value": "value",
}
UNSUPPORTED = " unsupported: "
"""Between the number of problems and the reason that the subject gives."""
_INDENT = 6
_STATUS_WIDTH = 10
_SHOWN = 3
"""Findings and diagnoses that are shown for one quantity; the JSON report has all."""
_EQUALS = 5
"""Names that are shown as equal."""
_DECLARED = "declare "
"""How a mend begins that the line ``declare it`` says better."""


def to_text(report: Report, width: int | None = None) -> str:
    """The report as plain text."""
    return "\n".join(
        "".join(text for text, _ in line).rstrip() for line in _lines(report, width or _width())
    )


def print_report(report: Report) -> None:
    """Prints the report on standard output, in colour where that is a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(report, _width()):
        console.print(Text.assemble(*((text, _RICH_STYLE[style]) for text, style in line)))


def _width() -> int:
    return max(60, min(120, shutil.get_terminal_size((100, 24)).columns))


def _lines(report: Report, width: int) -> Iterator[Line]:
    shown = [q for q in report.quantities if q.status != "not_covered"]
    parts = [plural(len(shown), "quantity"), families_text(report.families)]
    parts += [f"seed {report.seed}", f"checks {report.checks}"]
    title = " · ".join([report.target, *filter(None, parts)])
    first, *rest = textwrap.wrap(title, width, break_long_words=False) or [""]
    yield [(report.target, "strong"), (first.removeprefix(report.target), "")]
    for row in rest:
        yield [("  " + row, "")]
    yield []
    column = 2 + max([21, *(len(q.quantity) for q in shown)]) + 2
    page = _Page(report, column, width)
    for summary in shown:
        yield from page.quantity(summary)
    if shown:
        yield []
    yield from page.closing()


class _Page:
    """Lines of one report, with its column and width."""

    def __init__(self, report: Report, column: int, width: int) -> None:
        self.report = report
        self.column = column
        self.width = width
        self.declared: set[str] = set()
        self.told: set[str] = set()
        self.unsupported: set[str] = set()

    def quantity(self, summary: QuantitySummary) -> Iterator[Line]:
        """The line of one quantity and what belongs under it."""
        word, style = self._status(summary)
        lead: Line = [(f"  {summary.quantity:<{self.column - 2}}", ""), (f"{word:<10}", style)]
        yield from self._wrapped(lead, self._headline(summary), self.column + _STATUS_WIDTH)
        if is_known(self.report, summary):
            return
        if summary.value is not None:
            yield from self._value(summary.value)
        # What a lower quantity explains was said in the headline already.
        findings = [
            f for f in summary.findings if not summary.explained_by or f.explained_by is None
        ]
        for finding in findings[:_SHOWN]:
            yield from self._finding(finding, only=self._is_headline(summary, finding))
        if (hidden := len(findings) - _SHOWN) > 0:
            yield from self._entry("", f"and {plural(hidden, 'more finding')}; --format json")
        if summary.status == "deviates":
            yield from self._declaration(summary)

    def _declaration(self, summary: QuantitySummary) -> Iterator[Line]:
        """The line that declares what deviates, or that there is none; each once."""
        named = [d for r in summary.results for d in r.diagnosis if d.kind != "free"]
        value = [] if summary.value is None else summary.value.diagnosis
        serious = [d for d in value if d.kind in ("convention", "approximation")]
        if self.report.door == "verify" and serious and not any(map(is_declarable, serious)):
            said = "not possible: it stays a deviation"
        else:
            said = self.report.declare if named else ""
        if said and said not in self.declared:
            self.declared.add(said)
            yield from self._entry("declare it", said)

    def _status(self, summary: QuantitySummary) -> tuple[str, str]:
        if summary.status == "fail":
            return ("known", "odd") if is_known(self.report, summary) else ("FAIL", "bad")
        return summary.status, {"pass": "good", "deviates": "odd"}.get(summary.status, "quiet")

    def _headline(self, summary: QuantitySummary) -> str:
        value = summary.value
        judged = f"{plural(summary.problems, self._noun())}   {summary.digits:.1f} digits"
        if summary.status == "pass":
            said = self._once(value.reason) if value is not None else ""
            return f"{judged}, {said}" if said else judged
        if summary.status == "skip":
            return next((r.reason for r in summary.results if r.reason), "nothing was asked of it")
        if summary.status == "deviates":
            if value is None or value.status != "deviates":
                return self._right_but(summary) if value is not None else "in this respect:"
            named = [d for d in value.diagnosis if d.kind != "free"]
            return diagnosis_text(named[0]) if named else value.reason or judged
        known = self.report.known_failures
        if value is not None and value.status == "fail":
            return known.get(value.id) or refutation(value)
        first = next(r for r in summary.results if r.status == "fail")
        if self._is_headline(summary, first):
            return known.get(first.id) or refutation(first)
        return self._right_but(summary)

    def _right_but(self, summary: QuantitySummary) -> str:
        """The values are right, or deviate by name; what is wrong follows below."""
        value = summary.value
        named = [] if value is None else [d for d in value.diagnosis if d.kind != "free"]
        if value is not None and value.status == "deviates" and named:
            return f"{diagnosis_text(named[0])}, and:"
        judged = f"{plural(summary.problems, self._noun())}, {summary.digits:.1f} digits"
        return f"right in value ({judged}), but:"

    def _once(self, said: str) -> str:
        """Why problems are unsupported is said once; after that the count is enough."""
        count, mark, why = said.rpartition(UNSUPPORTED)
        if not mark or why not in self.unsupported:
            self.unsupported.add(why)
            return said
        return f"{count}{mark.removesuffix(': ')}, as above"

    def _noun(self) -> str:
        return "problem" if self.report.door == "verify" else "comparison"

    def _is_headline(self, summary: QuantitySummary, finding: CheckResult) -> bool:
        """Whether the finding is all there is to say, so that the quantity's line says it."""
        judged = summary.value is not None and summary.value.status in ("pass", "deviates", "fail")
        return not judged and finding is summary.findings[0] and finding.status == "fail"

    def _value(self, result: CheckResult) -> Iterator[Line]:
        if result.status == "fail" and result.explained_by is None:
            yield from self._evidence(result)
        named = [d for d in result.diagnosis if d.kind != "free"]
        free = [d for d in result.diagnosis if d.kind == "free"]
        if result.explained_by:  # the mistake stands under the quantity that explains this one
            named = [d for d in named if d.kind != "bug"]
        if result.status == "fail" and not result.explained_by:
            self.told |= {d.choice for d in named}
            yield from self._diagnosed(named, result.reason)
        else:
            for diagnosis in named[result.status == "deviates" :]:
                yield from self._entry("also", diagnosis_text(diagnosis))
            new = [d for d in named if d.choice not in self.told]
            if result.status != "pass" or any(d.alternatives or d.reproduces for d in new):
                self.told |= {d.choice for d in new}
                yield from self._diagnosed(new, "; ".join(map(diagnosis_text, named)))
        if free:
            yield from self._entry("free choice", "; ".join(map(diagnosis_text, free)))

    def _diagnosed(self, named: Sequence[Diagnosis], said: str) -> Iterator[Line]:
        """What it is, where the line above has not ``said`` so; its name, formula and mend; what
        cannot be told from it; where to read on."""
        texts = [t for d in named[:_SHOWN] for t in (diagnosis_text(d), formula_text(d))]
        rows = [t for t in dict.fromkeys(texts) if t not in said]
        for index, text in enumerate(rows):
            yield from self._entry("" if index else "diagnosis", text)
        if named and named[0].reproduces:
            yield from self._entry("", f"reproduces {plural(named[0].reproduces, 'fresh answer')}")
        if named and named[0].alternatives:
            equals = ", ".join(named[0].alternatives[:_EQUALS])
            yield from self._entry("or", f"{equals}: no answer that was asked tells them apart")
        blamed = [d for d in named if d.kind == "bug"] or named
        mends = [m for m in dict.fromkeys(map(mend_text, blamed)) if not m.startswith(_DECLARED)]
        for index, text in enumerate(mends[:_SHOWN]):
            yield from self._entry("" if index else "mend", text)
        if named:
            yield from self._entry("read on", f"npgcheck explain {named[0].choice}")

    def _finding(self, result: CheckResult, only: bool) -> Iterator[Line]:
        said = refutation(result) if result.status == "fail" else result.reason
        title = result.title if not result.title or not said else f"{result.title}: "
        if not only:
            yield from self._entry(_LABEL[result.kind], f"{title}{said}   [{result.id}]")
        if result.explained_by is None:
            yield from self._evidence(result)
            new = [d for d in result.diagnosis if d.kind != "free" and d.choice not in self.told]
            self.told |= {d.choice for d in new}
            apart = [diagnosis_text(d) for d in new if d.kind != "bug"]  # it says the same again
            yield from self._diagnosed(new, "; ".join([said, *apart]))

    def _evidence(self, result: CheckResult) -> Iterator[Line]:
        """Where it raised, the smallest problem, and both answers there."""
        if where := where_it_raised(result.traceback):
            yield from self._entry("where", where)
        found = result.counterexample
        if found is None:
            return
        if self.report.door == "verify":
            place = f"{found.description}   [{found.problem_id}]"
            yield from self._entry("smallest problem", place)
        elif found.description:
            yield from self._entry("compared", found.description)
        if found.note:
            yield from self._entry("there", found.note)
        if found.note or not (found.yours and found.exact):
            return
        yours, exact, where = pair_of_rows(found, self.width - self.column)
        yield from self._entry("yours", yours)
        yield from self._entry("exact", exact)
        yield from self._entry("", margin(found) + (f" ({where})" if where else ""))

    def _entry(self, label: str, text: str) -> Iterator[Line]:
        lead: Line = [(f"{'':{_INDENT}}{label:<{self.column - _INDENT}}", "quiet")]
        yield from self._wrapped(lead, text, self.column)

    def _wrapped(self, lead: Line, text: str, column: int) -> Iterator[Line]:
        room = max(20, self.width - column)
        rows = [text]
        if len(text) > room and not text.startswith("[ "):
            rows = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
        yield [*lead, (rows[0] if rows else "", "")]
        for row in rows[1:]:
            yield [(" " * column, ""), (row, "")]

    def closing(self) -> Iterator[Line]:
        """Counts and seconds, what cannot be seen, and how to repeat the run."""
        report = self.report
        counts, seconds = counts_text(report), f"{report.seconds:.1f} s"
        *before, last = textwrap.wrap(counts, self.width - len(seconds) - 3) or [""]
        for row in before:
            yield [(row, "strong")]
        room = max(len(last) + 3, min(self.width, self.column + 48) - len(seconds))
        yield [(f"{last:<{room}}", "strong"), (seconds, "quiet")]
        for text in self._remarks():
            for index, row in enumerate(textwrap.wrap(text, self.width - 2) or [""]):
                yield [("  " * (index > 0) + row, "")]
        if command := reproduce(report):
            yield [(f"Reproduce: {command}", "")]

    def _remarks(self) -> Iterator[str]:
        report = self.report
        for note in report.notes:
            yield f"Note: {note}"
        for stale in report.stale:
            yield f"{stale} is a known failure that no longer fails: take it off known_failures."
        if report.controls:
            survivors = [c for c in report.controls if not c.caught]
            caught = len(report.controls) - len(survivors)
            yield f"Controls: {caught} of {plural(len(report.controls), 'planted mistake')} caught."
            for control in survivors:
                yield f"SURVIVED: {control.name} in {control.quantity} was not noticed."
        hidden = list(report.not_visible)
        if report.detection_floor > 0 and not any("damping below" in text for text in hidden):
            hidden.append(f"damping below {small(report.detection_floor)}")
        if hidden:
            yield f"Not visible from what was given: {', '.join(hidden)}."


def reproduce(report: Report) -> str:
    """The command that repeats the first unexplained refutation, or ""."""
    if report.command or report.door == "check_step":
        return report.command
    for summary in report.quantities:
        for result in summary.results:
            new = result.status == "fail" and result.id not in report.known_failures
            if new and result.explained_by is None:
                return command_for(report, result)
    return ""


def command_for(report: Report, result: CheckResult) -> str:
    """The command that repeats one check, on its smallest problem if it has one."""
    command = f"npgcheck verify {shlex.quote(report.target)} --only {result.quantity}"
    command += f" --seed {report.seed}"
    if result.counterexample is not None and result.counterexample.problem_id:
        command += f" --problem {result.counterexample.problem_id}"
    return command
