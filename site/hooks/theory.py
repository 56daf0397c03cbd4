"""The theory pages, written from the claims that were judged a moment before.

Every equation on them is the LaTeX of the very tree that the judge evaluated; every status is the
one that the judge computed.
"""

from __future__ import annotations

import html
from typing import Any

from mathml import render

from npgcheck.derivation.claim import Claim, Status
from npgcheck.derivation.evidence import ClaimResult, Evidence, StatementResult, StepResult
from npgcheck.derivation.language import Partial
from npgcheck.derivation.latex import RELATIONS, definition_latex, latex
from npgcheck.derivation.prove import ProveReport
from npgcheck.derivation.setting import Family, Setting
from npgcheck.derivation.words import Words

KINDS = {
    "log": "real; its exponential is the indeterminate",
    "positive": "positive",
    "real": "real",
    "random": "random",
}


def pages(report: ProveReport) -> dict[str, str]:
    """Path in the site -> Markdown, one page per claim."""
    return {f"theory/{r.claim.id}.md": _page(r) for r in report.results}


def badge(status: Status) -> str:
    """The status as a coloured label."""
    name = status.text.replace(" ", "-")
    return f'<span class="status status-{name}">{status.text}</span>'


def overview(report: ProveReport) -> str:
    """The table of all claims, for ``theory/index.md``."""
    rows = ["| claim | statements | status | planted faults refuted |", "|---|--:|---|--:|"]
    for r in report.results:
        refuted = r.planted - len(r.survivors)
        rows.append(
            f"| [{r.claim.title}]({r.claim.id}.md) | {len(r.statements)} | {badge(r.status)} "
            f"| {refuted} of {r.planted} |"
        )
    return "\n".join(rows)


def _math(tree: Any, display: bool = True) -> str:
    """A tree in display style, without the paragraph that display mathematics starts."""
    return _display(latex(tree)) if display else render(latex(tree))


def _display(tex: str) -> str:
    return render(tex, large=True)


def _page(r: ClaimResult) -> str:
    c = r.claim
    refuted = r.planted - len(r.survivors)
    parts = [
        f"---\ntitle: {_plain(c.title)}\n---\n",
        f"# {c.title}\n",
        f"{badge(r.status)} {refuted} of {r.planted} planted faults refuted · "
        f"`npgcheck prove {c.id}`\n",
        _assumptions(r),
        f"*What this says.* {c.covers}\n",
        f"*Source.* {c.source}\n",
    ]
    if c.uses:
        parts.append("*Uses.* " + ", ".join(f"[{u}]({u}.md)" for u in c.uses) + ".\n")
    names = ", ".join(f"[`{n}`][{n}]" for n in c.justifies)
    parts.append(f"*Used by the code in* {names}.\n")
    parts.append(_symbols(c))
    parts += [_statement(s) for s in r.statements]
    parts.append(f"Digest of the equations above: `{c.digest[:16]}`.\n")
    return "\n".join(parts)


def _plain(title: str) -> str:
    return '"' + title.replace('"', "'") + '"'


def _assumptions(r: ClaimResult) -> str:
    lines = ["*Assumptions.*", ""]
    broken = {a.text: (a.instead, where) for a, where in r.dropped}
    for a in r.claim.assumptions:
        line = f"- {a.text}"
        if a.text in broken:
            line += f"; with {broken[a.text][0]} in its place, “{a.breaks}” below is refuted"
        lines.append(line)
    return "\n".join([*lines, ""])


def _symbols(c: Claim) -> str:
    settings: dict[int, Setting | Words] = {id(s.setting): s.setting for s in c.statements}
    out = ["## Symbols", ""]
    for s in settings.values():
        if isinstance(s, Words):
            out += _word_symbols(s)
            continue
        rows = ["| symbol | meaning |", "|---|---|"]
        rows += [f"| {_math(size)} | {means}, any |" for size, means in s.sizes.items()]
        for name, family in s.families.items():
            rows.append(f"| {_family(family)} | {s.meanings[name]} ({KINDS[family.kind]}) |")
        for name, d in s.definitions.items():
            meaning = s.meanings[name] + (", held fixed by derivatives" if d.frozen else "")
            rows.append(f"| {_display(definition_latex(d))} | {meaning} |")
        out += [*rows, ""]
    return "\n".join(out)


KNOWN = {"varies": "depends on θ", "symmetric": "symmetric", "nonnegative": "no entry below 0"}
DOMAINS = {"unit": "in [0, 1)", "positive": "positive", "real": "real"}


def _word_symbols(s: Words) -> list[str]:
    """Letters, scalars, definitions and assumed equations of a setting of matrices."""
    import sympy as sp

    rows = ["| symbol | shape | meaning |", "|---|---|---|"]
    rows += [f"| {render(name)} | | {means}, any |" for name, means in s.sizes.items()]
    for name, domain in s.scalars.items():
        symbol = render(latex(sp.Symbol(name)))
        rows.append(f"| {symbol} | | {s.scalar_means[name]} ({DOMAINS[domain]}) |")
    for info in s.letters.values():
        known = ", ".join(text for key, text in KNOWN.items() if getattr(info, key))
        shape = render(r" \times ".join(info.shape))
        more = f" ({known})" if known else ""
        rows.append(f"| {_math(info.symbol)} | {shape} | {info.means}{more} |")
    for name, d in s.definitions.items():
        rows.append(f"| {_display(definition_latex(d))} | | {s.meanings[name]} |")
    rows += ["", "Assumed of these letters:", ""]
    for e in s.equations.values():
        rows.append(f"- {_math(e.lhs)} {render('=')} {_math(e.rhs)}: {e.name}")
    return [*rows, ""]


def _family(family: Family) -> str:
    """A member with indices, and the rule for its derivative where it is a function."""
    import sympy as sp

    letters = [sp.Symbol(letter, integer=True) for letter in "abcd"[: len(family.sizes)]]
    if family.slope is None:
        return render(latex(family.base[letters] if letters else family.base))
    indices, argument, derivative = family.slope
    member = family.base[indices] if indices else family.base
    variable = sp.IndexedBase(family.of)[argument]
    return _display(f"{latex(Partial(member, variable))} = {latex(derivative)}")


def _statement(s: StatementResult) -> str:
    st = s.statement
    rows = []
    left = _math(st.lhs)
    for step in s.steps:
        rows.append(
            f'<tr><td class="lhs">{left}</td><td>{render(RELATIONS[step.step.relation])}</td>'
            f'<td class="rhs">{_math(step.step.rhs)}</td>'
            f'<td class="why">{html.escape(step.step.why)}</td></tr>'
        )
        left = ""
    claim = f"{_math(st.lhs)}{render(RELATIONS[st.relation])}{_math(st.rhs)}"
    parts = [
        f"## {st.title} {{: #{st.name} }}\n",
        f'<div class="claim">{claim}{badge(s.status)}</div>\n',
    ]
    if len(s.steps) > 1:
        table = f'<table class="chain">{"".join(rows)}</table>'
        parts.append(f'<div class="derivation">{table}</div>\n')
    for mistake, where in s.mistakes:
        wrong = dict(st.mistakes)[mistake]
        parts.append(
            f'<p class="mistake">Refuted: {html.escape(mistake)}, {_math(wrong, False)}. '
            f"Counterexample: {html.escape(where)}.</p>\n"
        )
    parts.append(_evidence(s))
    return "\n".join(parts)


def _evidence(s: StatementResult) -> str:
    setting = s.statement.setting
    words = isinstance(setting, Words)
    lines = [
        '??? info "Evidence"',
        "",
        f"    | step | decided by | exact {'matrices' if words else 'points'} | twins refuted |",
        "    |---|---|---|---|",
    ]
    for step in s.steps:
        function, points = step.evidence
        lines.append(
            f"    | {step.step.why} | {_decided(function, setting)} "
            f"| {_points(points)} | {_twins(step)} |"
        )
    return "\n".join([*lines, ""])


def _decided(e: Evidence, setting: Setting | Words) -> str:
    if isinstance(setting, Words) and e.outcome == "holds":
        if e.method == "signs":
            return f"what is dropped has no negative entry: every {setting.size_text}"
        return (
            f"equal normal forms under {e.bound} rules whose {e.cases} overlaps meet: "
            f"every {setting.size_text}"
        )
    if e.complete and e.outcome == "holds":
        limits = ", ".join(f"{size} ≤ {n}" for size, n in e.bounds)
        return f"cutoff lemma: {limits} settle all sizes ({e.cases} identities)"
    return f"{e.method}: {e.outcome}" + (f" ({html.escape(e.note)})" if e.note else "")


def _points(e: Evidence) -> str:
    return f"{e.cases} agree exactly" if e.outcome == "holds" else f"{e.outcome}: {e.note}"


def _twins(step: StepResult) -> str:
    c = step.controls
    extra = f", {c.equivalent} change nothing" if c.equivalent else ""
    return f"{c.refuted} of {c.planted}{extra}"
