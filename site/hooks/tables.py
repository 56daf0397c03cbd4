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


TABLES: dict[str, Callable[[], str]] = {"contract": contract}
