"""The atlas: every named choice, one file per stage. Adding a choice is adding one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from npgcheck.conformance.atlas import (
    estimates,
    fisher,
    glue,
    kl,
    one_step,
    parametrisation,
    returns,
    score,
    solver,
    step,
    weighting,
)
from npgcheck.conformance.atlas.entry import STAGES, TEXTBOOK, Choice, Number, Seen

_PAGES = {
    "weighting": weighting,
    "returns": returns,
    "estimates": estimates,
    "score": score,
    "fisher": fisher,
    "kl": kl,
    "solver": solver,
    "step": step,
    "parametrisation": parametrisation,
    "glue": glue,
}


def _collect() -> Mapping[str, Choice]:
    found: dict[str, Choice] = {}
    for page in STAGES:
        for entry in (*_PAGES[page].ENTRIES, *one_step.ENTRIES.get(page, ())):
            if entry.name in found:
                raise ValueError(f"two choices are called {entry.name!r}")
            found[entry.name] = replace(entry, atlas=page)
    return MappingProxyType(found)


ATLAS: Mapping[str, Choice] = _collect()
"""Name → choice, in the order of the computation."""

__all__ = ["ATLAS", "STAGES", "TEXTBOOK", "Choice", "Number", "Seen"]
