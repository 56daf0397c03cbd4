"""The atlas: a page for each stage, an index, and what cannot be told apart."""

from __future__ import annotations

from npgcheck.conformance.atlas import ATLAS, STAGES, Choice
from npgcheck.conformance.diagnosis import separate
from npgcheck.conformance.explanation import numbers, worked

KINDS = {
    "bug": "a mistake: the verdict fails",
    "convention": "a legitimate other way: the verdict deviates until it is declared",
    "approximation": "less than exact on purpose: the verdict deviates until it is declared",
    "free": "makes no difference that matters: it is only reported",
}


def pages() -> dict[str, str]:
    """Path in the site -> Markdown."""
    found = {f"atlas/{page}.md": _stage(page, title) for page, title in STAGES.items()}
    found["atlas/index.md"] = _index()
    found["atlas/apart.md"] = _apart()
    return found


def _index() -> str:
    bugs = sum(c.kind == "bug" for c in ATLAS.values())
    lines = [
        "# Atlas of choices\n",
        "Every stage of a policy-gradient step can be computed in several ways. Each way has a "
        "name here, with its formula, where it is met in public code, how it shows, where it "
        "provably does not, the smallest problem that exposes it, and its mend. The verdicts of "
        "`npgcheck verify` use these names; `npgcheck explain NAME` prints one entry.\n",
        f"{len(ATLAS)} choices, {bugs} of them mistakes. "
        "[What cannot be told apart](apart.md) lists the classes that no answer separates.\n",
        "| kind | what it means |",
        "|---|---|",
        *(f"| {_badge(kind)} | {meaning} |" for kind, meaning in KINDS.items()),
        "",
    ]
    for page, title in STAGES.items():
        members = [c for c in ATLAS.values() if c.atlas == page]
        lines += [f"## [{title}]({page}.md)\n"]
        for kind in KINDS:
            names = [f"[{c.name}]({page}.md#{c.name.lower()})" for c in members if c.kind == kind]
            if names:
                lines.append(f"{_badge(kind)} {' · '.join(names)}\n")
    return "\n".join(lines)


def _badge(kind: str) -> str:
    return f'<span class="status kind-{kind}">{kind}</span>'


def _stage(page: str, title: str) -> str:
    members = [c for c in ATLAS.values() if c.atlas == page]
    return "\n".join([f"# {title}\n", *(_entry(c) for c in members)])


def _entry(c: Choice) -> str:
    default = " the contract's own" if c.default else ""
    lines = [f"## {c.name} {{: #{c.name.lower()} }}\n", f"{_badge(c.kind)}{default}\n"]
    lines += [f"*Computes.* {_plain(c.formula)}\n", f"*Shows.* {_plain(c.shows)}\n"]
    if c.visible:
        lines.append("*Visible on* " + ", ".join(f"`{q}`" for q in c.visible) + ".\n")
    for where, reason in c.hidden.items():
        lines.append(f"*Not visible on* {_plain(where)}: {_plain(reason)}.\n")
    if not c.default and c.kind != "free":
        places = [f"[{_plain(s.text)}]({s.link})" if s.link else _plain(s.text) for s in c.seen]
        lines.append(f"*Seen in.* {'; '.join(places)}.\n")
    if not c.default and (found := worked(c)) is not None:
        number = f", {c.number.symbol} = {found.number:g}" if c.number and found.number else ""
        lines += [
            f"*Smallest problem.* {_plain(found.problem.describe())} (`{found.problem.id}`); "
            f"`{found.quantity}`{number}:\n",
            "```text",
            f"exact    {numbers(found.exact)}",
            f"with it  {numbers(found.chosen)}",
            "```\n",
        ]
    lines.append(f"*Mend.* {_plain(c.mend)}.\n")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Formulas are plain text: nothing in them is markup."""
    for character in "\\*_|<":
        text = text.replace(character, f"\\{character}" if character != "<" else "&lt;")
    return text


def _apart() -> str:
    lines = [
        "# What cannot be told apart\n",
        "For every pair of choices a small problem is looked for that tells them apart, over all "
        "quantities that a subject may answer. The table is computed when the site is built, and "
        "a test holds it.\n",
        "| policies | choices | pairs | told apart | on at most |",
        "|---|--:|--:|--:|---|",
    ]
    tables = {family: separate.table(family) for family in ("discrete", "gaussian")}
    for family, found in tables.items():
        largest = max(s.size for s in found.separated.values())
        lines.append(
            f"| {family} | {len(found.names)} | {separate.pairs(found)} "
            f"| {len(found.separated)} | {largest[0]} states, {largest[1]} parameters |"
        )
    lines.append("\nThe rest are classes, each with its reason:\n")
    for family, classes in separate.REASONS.items():
        for names, reason in classes:
            said = ", ".join(f"`{n}`" for n in sorted(names))
            lines.append(f"- {family} policies: {said}. {_plain(reason)}.\n")
    lines += [
        "## From one quantity alone\n",
        "The fewer quantities a subject answers, the larger the classes: a factor of F and the "
        "inverse factor of g are one thing in x, and no factor of g shows in a step of fixed KL.\n",
        "| policies | quantity | pairs not told apart |",
        "|---|---|--:|",
    ]
    for family in tables:
        for quantity in ("policy_gradient", "fisher", "natural_gradient", "trust_region_proposal"):
            found = separate.table(family, (quantity,))
            lines.append(f"| {family} | `{quantity}` | {len(found.alike)} |")
    return "\n".join(lines) + "\n"
