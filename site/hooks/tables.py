"""Tables written from the code, so that a page cannot drift from it."""

from __future__ import annotations

from collections.abc import Callable


def contract() -> str:
    """Every function of the contract, grouped as a report lists them."""
    from npgcheck.conformance.contract import QUANTITIES

    rows = ["| function | answers |", "|---|---|"]
    for q in QUANTITIES.values():
        meaning = q.meaning.replace("|", r"\|")
        note = f" Not asked for {', '.join(sorted(q.not_asked))} policies." if q.not_asked else ""
        rows.append(f"| `{q.signature}` | {meaning}.{note} |")
    return "\n".join(rows)


def planted_mistakes() -> str:
    """Every planted mistake of ``npgcheck power``, stage by stage."""
    from npgcheck.conformance.controls import STAGES, controls

    parts = []
    for stage in STAGES:
        rows = ["| name | what is planted | kind | seen in |", "|---|---|---|---|"]
        for c in controls("wrong"):
            if c.stage == stage:
                seen = ", ".join(f"`{q}`" for q in sorted(c.refutes))
                rows.append(f"| `{c.name}` | {_cell(c.description)} | {c.kind} | {seen} |")
        parts += [f"### {stage[0].upper()}{stage[1:]}", "\n".join(rows)]
    return "\n\n".join(parts)


def planted_equivalents() -> str:
    """Mistakes that no answer shows, with the reason."""
    from npgcheck.conformance.controls import controls

    rows = ["| name | what is planted | why it cannot be seen |", "|---|---|---|"]
    for c in controls("equivalent"):
        rows.append(f"| `{c.name}` | {_cell(c.description)} | {_cell(c.reason)} |")
    return "\n".join(rows)


def planted_right() -> str:
    """The right subjects of ``npgcheck power``."""
    from npgcheck.conformance.controls import controls

    rows = ["| name | how it computes |", "|---|---|"]
    rows += [f"| `{c.name}` | {_cell(c.description)} |" for c in controls("right")]
    return "\n".join(rows)


def planted_outside() -> str:
    """Mistakes that are in no registry: only facts may be told about them."""
    from npgcheck.conformance.controls import controls

    rows = ["| name | what is planted | seen in |", "|---|---|---|"]
    for c in controls("wrong"):
        if not c.label.names:
            seen = ", ".join(f"`{q}`" for q in sorted(c.refutes))
            rows.append(f"| `{c.name}` | {_cell(c.description)} | {seen} |")
    return "\n".join(rows)


def planted_suspicious() -> str:
    """Right subjects in unusual combinations of conventions."""
    from npgcheck.conformance.controls import controls

    rows = ["| name | how it computes |", "|---|---|"]
    for c in controls("right"):
        if c.style == "suspicious":
            rows.append(f"| `{c.name}` | {_cell(c.description)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def choices() -> str:
    """Every named choice that is no mistake, by stage; mistakes stand in the atlas."""
    from npgcheck.conformance.choices import CHOICES

    rows = ["| stage | choice | kind | what it computes |", "|---|---|---|---|"]
    for c in (c for c in CHOICES.values() if c.kind != "bug"):
        kind = "the contract's own" if c.default else c.kind
        rows.append(f"| `{c.stage}` | `{c.name}` | {kind} | {_cell(c.formula)} |")
    return "\n".join(rows)


def planted_steps() -> str:
    """The planted mistakes of ``npgcheck power --steps``."""
    from npgcheck.step.controls.mistakes import MISTAKES

    rows = ["| planted | where | what the report calls it |", "|---|---|---|"]
    for m in MISTAKES:
        called = f"`{m.choice}`" if m.choice else "told by facts: a factor, a place, a property"
        rows.append(f"| {_cell(m.name)} | `{m.quantity}` | {called} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "choices": choices,
    "contract": contract,
    "planted-mistakes": planted_mistakes,
    "planted-equivalents": planted_equivalents,
    "planted-outside": planted_outside,
    "planted-right": planted_right,
    "planted-steps": planted_steps,
    "planted-suspicious": planted_suspicious,
}
