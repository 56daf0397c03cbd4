"""Facts that amount to a name: a law of γ in the place of γ.

A fact is stated where it reproduces every refuted answer. This one says all that a choice of the
atlas does, for a number that no form of it enumerates.
"""

from __future__ import annotations

from dataclasses import replace

from npgcheck.conformance.choices import BY_NAME, present
from npgcheck.conformance.naming import is_nameless
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run

#: How a fact begins that tells a choice.
ANOTHER_DISCOUNT = "right for the discount "


def name_telling_facts(state: Run) -> None:
    """Names refuted quantities that have no name, by the facts that are stated of them."""
    for quantity, results in state.results.items():
        state.results[quantity] = [_named(state, quantity, r) for r in results]


def _named(state: Run, quantity: str, result: CheckResult) -> CheckResult:
    if not is_nameless(result) or result.explained_by or state.undeclared.get(quantity):
        return result
    entry = BY_NAME["wrong-discount"] if result.reason.startswith(ANOTHER_DISCOUNT) else None
    if entry is None or entry not in present():
        return result
    found = Diagnosis(entry.stage, entry.name, entry.kind, None, result.reason)
    return replace(result, diagnosis=(found,))
