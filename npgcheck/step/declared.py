"""Declared conventions are held to: what was declared has to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npgcheck.step import names
from npgcheck.step.verdict import Verdict

#: Quantity → the fields of Conventions that it can show, damping and iterations apart: these carry
#: numbers, and are compared where they are estimated.
_SHOWN = {
    "policy_gradient": ("advantage", "entropy", "gradient_of"),
    "fisher_vector_product": ("fisher",),
    "kl": ("kl_direction",),
    "trust_region_step": ("step_length",),
}
#: What is asked for where nothing is declared.
_DEFAULTS = {
    "advantage": "advantage",
    "entropy": 0.0,
    "gradient_of": "surrogate",
    "fisher": "true",
    "kl_direction": "forward",
    "step_length": "undamped",
}


def _unseen(seen: Any, wanted: Any, verdict: Verdict) -> bool:
    """Whether two coefficients of an entropy bonus cannot be told apart on this batch."""
    floor = float(verdict.numbers.get("entropy_floor", 0.0))
    return abs(float(seen or 0.0) - float(wanted)) <= floor


def hold(verdict: Verdict, declared: dict[str, Any], shows: Callable[[str], bool]) -> None:
    """Fails a verdict that passes or deviates although it breaks a declaration.

    Args:
        verdict: of one quantity.
        declared: field → value.
        shows: whether a field's choices can be told apart on this batch.
    """
    if verdict.status not in ("pass", "deviates"):
        return
    found = {names.keyword(d): names.declaration(d) for d in verdict.diagnoses if names.keyword(d)}
    for field in _SHOWN.get(verdict.quantity, ()):
        if field not in declared or not shows(field):
            continue
        seen = found.get(field, _DEFAULTS[field])
        if field == "entropy" and _unseen(seen, declared[field], verdict):
            continue
        if seen != declared[field]:
            verdict.status = "fail"
            verdict.reason = f"{field}={declared[field]!r} is declared, but {field}={seen!r} shows"
            return
