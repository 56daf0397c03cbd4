"""Layered verdicts: a failure that a lower mistake fully explains says so.

Each quantity was judged against the reference. Here a refuted one is recomputed from the
subject's *own* lower answers; where that reproduces it, its mistake is theirs.
"""

from __future__ import annotations

from npgcheck.conformance.run_state import Run


def explain_by_lower(state: Run) -> None:
    """Fills ``explained_by`` in the results of quantities that follow from lower mistakes."""
    from npgcheck.conformance.recompute import RECOMPUTE

    for quantity in state.results:
        if not any(r.status == "fail" and r.kind == "value" for r in state.results[quantity]):
            continue
        for lower in RECOMPUTE.get(quantity, {}):
            if _failing(state, lower) and RECOMPUTE[quantity][lower](state, quantity):
                from dataclasses import replace

                state.results[quantity] = [
                    replace(r, explained_by=lower) if r.status == "fail" else r
                    for r in state.results[quantity]
                ]
                break


def _failing(state: Run, quantity: str) -> bool:
    return any(
        r.status == "fail" and r.kind in ("value", "consistency")
        for r in state.results.get(quantity, [])
    )
