"""Facts that amount to a name: a law of γ in the place of γ, other weights in F than in g.

A fact is stated where it reproduces every refuted answer. Some of them say all that a choice of the
atlas does, for a number or weights that no form of it enumerates.
"""

from __future__ import annotations

from dataclasses import replace

from npgcheck.conformance.choices import BY_NAME, present
from npgcheck.conformance.diagnosis.plausible import right_quantities
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run

#: How a fact begins → the choice that it tells.
ANOTHER_DISCOUNT = "right for the discount "
OTHER_WEIGHTS = "the exact sum over states with other weights than d(s)"
#: The quantities whose weights are those of F.
_OF_F = ("fisher", "fisher_vector_product", "kl")


def name_telling_facts(state: Run) -> None:
    """Names refuted quantities that have no name, by the facts that are stated of them."""
    for quantity, results in state.results.items():
        state.results[quantity] = [_named(state, quantity, r) for r in results]


def _named(state: Run, quantity: str, result: CheckResult) -> CheckResult:
    nameless = result.kind == "value" and result.status == "fail" and not result.diagnosis
    if not nameless or result.explained_by or state.undeclared.get(quantity):
        return result
    name = _told(state, quantity, result.reason)
    entry = BY_NAME[name] if name else None
    if entry is None or entry not in present():
        return result
    found = Diagnosis(entry.stage, entry.name, entry.kind, None, result.reason)
    return replace(result, diagnosis=(found,))


def _told(state: Run, quantity: str, fact: str) -> str:
    if fact.startswith(ANOTHER_DISCOUNT):
        return "wrong-discount"
    if fact.startswith(OTHER_WEIGHTS) and quantity in _OF_F:
        right = right_quantities(state)
        apart = (
            "policy_gradient" in right and "state_distribution" not in set(state.results) - right
        )
        return "weights-differ-between-F-and-g" if apart else ""
    return ""
