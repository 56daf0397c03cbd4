"""The report as JUnit XML: one test case per check, as CI servers read it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from npgcheck.conformance.render_text import command_for
from npgcheck.conformance.report import CheckResult, Report
from npgcheck.conformance.wording import diagnosis_text, margin, pair_of_rows, refutation

#: Characters that XML 1.0 forbids even when escaped; a subject's message may hold any.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def to_junit(report: Report, strict: bool = False) -> str:
    """The report as a JUnit document.

    A failing check is a failure unless it is a declared known failure; a deviation is one under
    ``strict`` only. Checks that did not run are skipped cases. A stale known failure and a
    surviving control are failing cases of their own.
    """
    suite = ElementTree.Element("testsuite", name=_clean(f"npgcheck {report.target}"))
    for result in report.results:
        _case(suite, report, result, strict)
    for stale in report.stale:
        case = _named(suite, "known_failures", stale)
        _child(case, "failure", "a known failure that no longer fails", "take it off the list")
    for control in report.controls:
        case = _named(suite, f"controls.{control.quantity}", control.name)
        if not control.caught:
            _child(case, "failure", "the planted mistake was not noticed", control.name)
    failures = sum(case.find("failure") is not None for case in suite)
    skipped = sum(case.find("skipped") is not None for case in suite)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    suite.set("errors", "0")
    suite.set("skipped", str(skipped))
    suite.set("time", f"{report.seconds:.3f}")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, report: Report, result: CheckResult, strict: bool) -> None:
    name = f"{result.id} {result.title}".strip()
    case = _named(suite, f"npgcheck.{result.quantity}", name)
    if result.status in ("skip", "not_covered"):
        ElementTree.SubElement(case, "skipped", message=_clean(result.reason or "not covered"))
    elif result.status == "fail" and result.id in report.known_failures:
        why = f"known failure: {report.known_failures[result.id]}"
        ElementTree.SubElement(case, "skipped", message=_clean(why))
    elif result.status == "fail" or (result.status == "deviates" and strict):
        said = refutation(result) if result.status == "fail" else "deviates"
        _child(case, "failure", said, failure_text(report, result))
    elif result.status == "deviates":
        output = ElementTree.SubElement(case, "system-out")
        output.text = _clean(failure_text(report, result))


def _named(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=classname, name=_clean(name))


def _child(case: ElementTree.Element, tag: str, message: str, text: str) -> None:
    child = ElementTree.SubElement(case, tag, message=_clean(message), type="npgcheck")
    child.text = _clean(text)


def failure_text(report: Report, result: CheckResult) -> str:
    """Everything a reader of one failing test wants: both answers, the diagnosis, what to run."""
    said = refutation(result) if result.status == "fail" else result.reason or result.status
    lines = [f"{result.quantity}: {said}"]
    if result.counterexample is not None:
        found = result.counterexample
        lines.append(f"smallest problem: {found.description} [{found.problem_id}]")
        if found.note:
            lines.append(f"there: {found.note}")
        elif found.yours and found.exact:
            yours, exact, where = pair_of_rows(found, 90)
            where = f" ({where})" if where else ""
            lines += [f"yours: {yours}", f"exact: {exact}", f"{margin(found)}{where}"]
    lines += [f"diagnosis: {diagnosis_text(d)}" for d in result.diagnosis]
    if result.status == "deviates" and report.declare:
        lines.append(f"declare it: {report.declare}")
    if result.traceback:
        lines += ["", result.traceback, ""]
    return "\n".join([*lines, f"reproduce: {command_for(report, result)}"])


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
