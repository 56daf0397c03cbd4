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


def hold_damping(
    verdict: Verdict,
    number: float,
    of_product: float,
    declared: dict[str, Any],
    hidden: float = 0.0,
) -> None:
    """Fails a solve whose λ is not the declared one; names two that are not the same.

    Args:
        verdict: of the direction, with its diagnoses.
        number: λ of the solve.
        of_product: λ of the user's product, 0 where it has none or is not given.
        declared: field → value.
        hidden: a λ as small as this would not show.
    """
    wanted = declared.get("damping")
    if wanted is not None and number == 0.0 and wanted <= hidden:
        return
    if wanted is not None and not _same(number, wanted):
        verdict.status = "fail"
        verdict.reason = f"damping λ = {wanted:g} is declared, the solve shows λ = {number:.6g}"
    elif of_product and not _same(number, of_product):
        note = f"the product is damped by λ = {of_product:.6g}, the solve by λ = {number:.6g}"
        verdict.reason = note
        verdict.explain([names.named("two-dampings", note=note), *verdict.diagnoses], declared)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-3 * max(abs(a), abs(b))


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
