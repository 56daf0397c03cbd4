"""The theory pages, written from recorded evidence about the claims that ``proofs/`` defines.

Every equation on them is the LaTeX of the very tree that was judged; every status is the one that
was computed. Evidence about another version of a claim, or by another engine, stops the build.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from mathml import render

Record = dict[str, Any]


def evidence(path: Path) -> Record:
    """The recorded evidence; found anew where there is none yet.

    Raises:
        UsageError: the record is about other claims, or by another engine, than are here now.
    """
    from npgcheck.derivation import prove, record

    if path.exists():
        found: Record = json.loads(path.read_text(encoding="utf-8"))
    else:
        found = record.to_json(prove.run())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    record.check_current(found, prove.load())
    return found


def problems(found: Record) -> list[str]:
    """What must stop a build: refuted claims and planted faults that survived."""
    return [
        f"claim {c['id']}: {c['status']}; survivors: {c['controls']['survivors']}"
        for c in found["claims"]
        if c["status"] == "refuted" or c["controls"]["survivors"]
    ]


def pages(found: Record) -> dict[str, str]:
    """Path in the site -> Markdown, one page per claim."""
    return {f"theory/{c['id']}.md": _page(c) for c in found["claims"]}


def badge(status: str) -> str:
    """The status as a coloured label."""
    return f'<span class="status status-{status.replace(" ", "-")}">{status}</span>'


def overview(found: Record, folder: str = "") -> str:
    """The table of all claims; `folder` leads from the page to the theory pages."""
    rows = ["| claim | statements | status | planted faults refuted |", "|---|--:|---|--:|"]
    for c in found["claims"]:
        link = f"[{c['title']}]({folder}{c['id']}.md)"
        rows.append(
            f"| {link} | {len(c['statements'])} | {badge(c['status'])} "
            f"| {c['controls']['refuted']} of {c['controls']['planted']} |"
        )
    return "\n".join(rows)


def functions(found: Record) -> str:
    """Which claims stand behind a function, for ``theory/graph.md``."""
    behind: dict[str, list[str]] = {}
    for c in found["claims"]:
        for name in c["justifies"]:
            behind.setdefault(name, []).append(f"[{c['title']}]({c['id']}.md)")
    rows = ["| function | formulas from |", "|---|---|"]
    for name, claims in behind.items():
        rows.append(f"| [`{name.removeprefix('npgcheck.')}`][{name}] | {'; '.join(claims)} |")
    return "\n".join(rows)


def _display(tex: str) -> str:
    """Display style, without the paragraph that display mathematics starts."""
    return render(tex, large=True)


def _page(c: Record) -> str:
    controls = c["controls"]
    parts = [
        f"---\ntitle: {_plain(c['title'])}\n---\n",
        f"# {c['title']}\n",
        f"{badge(c['status'])} {controls['refuted']} of {controls['planted']} planted faults "
        f"refuted · `npgcheck prove {c['id']}`\n",
        _assumptions(c),
        f"*What this says.* {c['covers']}\n",
        f"*Source.* {c['source']}\n",
    ]
    if c["uses"]:
        parts.append("*Uses.* " + ", ".join(f"[{u}]({u}.md)" for u in c["uses"]) + ".\n")
    names = ", ".join(f"[`{n}`][{n}]" for n in c["justifies"])
    parts.append(f"*Used by the code in* {names}.\n")
    parts.append(_symbols(c))
    parts += [_statement(s) for s in c["statements"]]
    parts.append(f"Digest of what is said above: `{c['digest'][:16]}`.\n")
    return "\n".join(parts)


def _plain(title: str) -> str:
    return '"' + title.replace('"', "'") + '"'


def _assumptions(c: Record) -> str:
    titles = {s["name"]: s["title"] for s in c["statements"]}
    lines = ["*Assumptions.*", ""]
    for a in c["assumptions"]:
        line = f"- {a['text']}"
        if a["refuted_at"]:
            line += f"; with {a['instead']} in its place, “{titles[a['breaks']]}” is refuted"
        lines.append(line)
    return "\n".join([*lines, ""])


def _symbols(c: Record) -> str:
    out = ["## Symbols", ""]
    for table in c["symbols"]:
        rows = ["| symbol | meaning |", "|---|---|"]
        rows += [f"| {_display(row['latex'])} | {_cell(row['meaning'])} |" for row in table]
        out += [*rows, ""]
    return "\n".join(out)


def _cell(text: str) -> str:
    """Text in a table: π(a | s) is one cell."""
    return text.replace("|", r"\|")


def _statement(s: Record) -> str:
    rows, at_least = [], render(r"\ge")
    left = _display(s["lhs"])
    for step in s["steps"]:
        rows.append(
            f'<tr><td class="lhs">{left}</td><td>{render(step["relation"])}</td>'
            f'<td class="rhs">{_display(step["rhs"])}</td>'
            f'<td class="why">{html.escape(step["why"])}</td></tr>'
        )
        left = ""
    if s["nonnegative"]:
        rows.append(
            f'<tr><td class="lhs"></td><td>{at_least}</td><td class="rhs">{render("0")}</td>'
            f'<td class="why">{html.escape(s["nonnegative"]["why"])}</td></tr>'
        )
    claim = f"{_display(s['lhs'])}{render(s['relation'])}{_display(s['rhs'])}"
    claim += render(r"\ge 0") if s["nonnegative"] else ""
    parts = [
        f"## {s['title']} {{: #{s['name']} }}\n",
        f'<div class="claim">{claim}{badge(s["status"])}</div>\n',
    ]
    if len(s["steps"]) > 1:
        table = f'<table class="chain">{"".join(rows)}</table>'
        parts.append(f'<div class="derivation">{table}</div>\n')
    for wrong in s["mistakes"]:
        parts.append(
            f'<p class="mistake">Refuted: {html.escape(wrong["name"])}, {render(wrong["rhs"])}. '
            f"Counterexample: {html.escape(wrong['refuted_at'])}.</p>\n"
        )
    parts.append(_evidence(s))
    return "\n".join(parts)


def _evidence(s: Record) -> str:
    lines = [
        '??? info "Evidence"',
        "",
        f"    | step | decided by | {s['steps'][0]['evidence'][1]['method']} | twins refuted |",
        "    |---|---|---|---|",
    ]
    for step in s["steps"]:
        function, points = step["evidence"]
        lines.append(
            f"    | {_cell(step['why'])} | {_decided(function)} | {_points(points)} "
            f"| {_twins(step)} |"
        )
    if s["nonnegative"]:
        sign = s["nonnegative"]
        flipped = "1 of 1" if sign["flipped_sign_refuted"] else "0 of 1"
        how = "the shape of the tree, for all sizes"
        shown = how if sign["evidence"]["outcome"] == "holds" else sign["evidence"]["note"]
        lines.append(f"    | ≥ 0: {sign['why']} | {shown} | | {flipped} |")
    return "\n".join([*lines, ""])


def _decided(e: Record) -> str:
    if e["complete"] and e["outcome"] == "holds" and e["method"] != "cutoff lemma":
        return f"{e['method']}, for all sizes: {e['note']}"
    if e["complete"] and e["outcome"] == "holds":
        limits = ", ".join(f"{size} ≤ {n}" for size, n in e["bounds"].items())
        return f"cutoff lemma: {limits} settle all sizes ({e['cases']} identities)"
    note = _cell(html.escape(e["note"]))
    return f"{e['method']}: {e['outcome']}" + (f" ({note})" if note else "")


def _points(e: Record) -> str:
    if e["outcome"] == "holds":
        return f"{e['cases']} agree exactly"
    return f"{e['outcome']}: {html.escape(e['note'])}"


def _twins(step: Record) -> str:
    c = step["controls"]
    extra = f", {c['equivalent']} change nothing" if c["equivalent"] else ""
    return f"{c['refuted']} of {c['planted']}{extra}"
