"""Is θ' what a trust region asks for: along x, as long as max_kl allows, accepted rightly?

    Δ = θ' − θ = β √(2δ / xᵀFx) x, with β the fraction that backtracking left

The quadratic model ½ΔᵀFΔ, the divergence and the surrogate's gain at θ' are exact for the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.step import names, variants
from npgcheck.step.probes import Probes
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import CONSTANT

Array = np.ndarray

#: Factors by which line searches shrink a step.
RATIOS = (0.5, 0.8, 0.9, 0.7, 0.6, 0.75, 0.25, 0.1, 0.3, 0.95)
#: The longest backtracking that is considered: 0.95⁶⁴ is 4 %.
MOST_SHRINKS = 64
#: A longer step is called acceptable when it clears both tests by this much; libraries ask for up
#: to half of the expected gain, and for KL strictly below max_kl.
CLEARLY, SHARE = 0.9, 0.5
#: Shares of the longest step that every line search tries before it gives up: 0.9¹⁰ is 0.35.
SHARES = (1.0, 0.7, 0.5, 0.35)
#: Steps between this share of the longest one and all of it are not called short.
NOTABLY = 2.0 / 3.0
#: baselines accepts a step whose KL is at most this many times max_kl.
SLACK = 1.5
#: A step within this of its direction (relative) and of its length is along it and as long.
LENGTH = 1e-6


@dataclass
class Taken:
    """What is known of the step.

    Attributes:
        delta: (D,), Δ.
        rounding: (D,) norm of the rounding of Δ: θ' is stored in θ's dtype.
        direction: (D,), x, or None.
        damping: λ of the solve.
        max_kl: δ, or None.
        lower: the verdict on the direction, or None.
    """

    delta: Array
    rounding: float
    direction: Array | None
    damping: float
    max_kl: float | None
    lower: Verdict | None


def judge(probes: Probes, theta: Array, taken: Taken, declared: dict[str, Any]) -> Verdict:
    """The verdict on θ' (D,)."""
    quantity = "update" if taken.max_kl is None else "trust_region_step"
    verdict = Verdict(quantity, compared=1)
    if not np.any(taken.delta):
        return _unchanged(probes, theta, taken, verdict)
    problem = _off_direction(probes, taken, verdict)
    if problem:
        verdict.status, verdict.reason = "fail", problem
    else:
        _length(probes, theta, taken, verdict, declared)
    lower = taken.lower
    if lower is not None and lower.status == "fail" and verdict.status in ("pass", "deviates"):
        verdict.status, verdict.explained_by = "fail", lower.quantity
    return verdict


def _off_direction(probes: Probes, taken: Taken, verdict: Verdict) -> str:
    """Why Δ is not along x, or ""."""
    x, delta = taken.direction, taken.delta
    if x is None:
        return ""
    factor = float(x @ delta) / float(x @ x)
    rest = delta - factor * x
    size = float(np.linalg.norm(delta))
    allowed = CONSTANT * (taken.rounding + probes.unit * size)
    off = float(np.linalg.norm(rest))
    verdict.ratio, verdict.digits = (
        off / allowed,
        float(np.clip(-np.log10(off / size + 1e-17), 0, 17)),
    )
    verdict.numbers["factor"] = factor
    if off <= allowed:
        return ""
    # What moves no output is no part of the policy's step: a critic in the same vector, say.
    moved = probes.rows.along(rest)
    along = probes.rows.along(delta)
    unseen = float(np.abs(moved.value).max()) <= 1e-6 * float(np.abs(along.value).max())
    if unseen:
        verdict.reason = "parameters that the policy does not use moved as well"
        return ""
    cosine = float(x @ delta) / (float(np.linalg.norm(x)) * size)
    verdict.yours, verdict.exact = delta, factor * x
    verdict.where = "θ' − θ beside its part along the direction"
    return f"the step is not along the direction (cosine {cosine:.6f}); was it overwritten?"


def _length(
    probes: Probes, theta: Array, taken: Taken, verdict: Verdict, declared: dict[str, Any]
) -> None:
    rows, delta = probes.rows, taken.delta
    new = theta + delta
    fisher = next(iter(variants.fishers(rows)))
    model = 0.5 * rows.form(fisher.curvature, delta, delta, fisher.weights).value
    realised, gain = rows.kl(new), rows.gain(new)
    verdict.numbers.update(model=model, kl=realised, gain=gain)
    delta_kl = taken.max_kl
    said: list[Diagnosis] = []
    slope = expected_gain(probes, delta)
    if slope < 0:
        verdict.diagnoses = (names.named("ascent-descent-sign"),)
        verdict.status = "fail"
        verdict.reason = f"the step lowers the surrogate: gᵀΔ = {slope:.3g}"
        return
    if delta_kl is None:
        verdict.explain(said, declared)
        return
    reverse = float(rows.weights @ rows.law.kl(rows.outputs_at(new), rows.z))
    damped = model + 0.5 * taken.damping * float(delta @ delta)
    tolerance = (
        LENGTH + 4.0 * CONSTANT * probes.unit + 4.0 * taken.rounding / float(np.linalg.norm(delta))
    )
    verdict.numbers.update(reverse=reverse, damped=damped)
    fraction, rule = _fraction(model, damped, delta_kl, tolerance)
    if rule == "" and abs(fraction - 1.0) > tolerance:
        # √(2δ/gᵀx): gᵀx is xᵀ(F + λI)x only as far as conjugate gradient rounds
        scale = verdict.numbers.get("factor", 0.0)
        by_gain = float(np.sqrt(max(0.0, 0.5 * scale * slope / delta_kl)))
        if abs(by_gain - 1.0) <= tolerance:
            fraction, rule = by_gain, "damped-length" if taken.damping else ""
    verdict.numbers["fraction"] = fraction
    if not rule and taken.damping and abs(damped / model - 1.0) > 2.0 * tolerance:
        whole = abs(fraction - 1.0) <= tolerance
        rule = "undamped-length" if whole or _shrinks(fraction, tolerance) else ""
    verdict.numbers["rule"] = rule
    verdict.yours = np.array([model, realised, gain])
    verdict.exact = np.array([delta_kl, delta_kl, 0.0])
    verdict.where = "½ΔᵀFΔ, KL and the surrogate's gain, beside max_kl, max_kl and 0"
    within = min(realised, reverse) <= delta_kl * (1.0 + tolerance)
    if rule == "factor-two":  # no line search shrinks by 1/√2
        said.append(names.named("factor-two"))
        verdict.explain(said, declared)
        return
    if rule == "damped-length":
        said.append(names.named("damped-length"))
    full = abs(fraction - 1.0) <= tolerance
    if fraction > 1.0 + tolerance and not within:
        verdict.status = "fail"
        verdict.reason = (
            f"the step is {fraction:.6g} times as long as max_kl = {delta_kl:g} allows: "
            f"½ΔᵀFΔ = {model:.6g}, KL = {realised:.6g}"
        )
        return
    if not within or gain <= -_gain_rounding(probes):
        if not within and not full and realised <= SLACK * delta_kl:
            said.append(names.named("kl-slack-1.5"))
        elif full:
            said.append(names.named("kl-not-checked"))
        else:
            verdict.status = "fail"
            what = (
                f"KL = {realised:.4g} > {delta_kl:g}" if not within else f"the gain is {gain:.3g}"
            )
            verdict.reason = f"a step was accepted with {what}"
            return
    elif fraction < NOTABLY:
        longer = min(2.0, 1.0 / fraction)
        if _longer_is_fine(probes, theta, taken, longer):
            verdict.status = "fail"
            verdict.reason = (
                f"the step is {fraction:.4g} of what max_kl allows, and {longer:.3g} times as long "
                "it still keeps KL and improves the surrogate"
            )
            return
        verdict.reason = verdict.reason or f"{fraction:.4g} of what max_kl allows"
        shrinks = _shrinks(fraction, tolerance)
        if shrinks:
            verdict.numbers["shrinks"] = shrinks
    verdict.explain(said, declared)


def _fraction(model: float, damped: float, max_kl: float, tolerance: float) -> tuple[float, str]:
    """Δ's length in units of the longest step, and by which rule: a full step decides."""
    undamped, other = float(np.sqrt(model / max_kl)), float(np.sqrt(damped / max_kl))
    if abs(undamped - 1.0) <= tolerance:
        return undamped, ""
    if abs(other - 1.0) <= tolerance:
        return other, "damped-length"
    half = np.sqrt(0.5)
    if min(abs(undamped - half), abs(other - half)) <= tolerance:
        return undamped, "factor-two"
    if not _shrinks(undamped, tolerance) and _shrinks(other, tolerance):
        return other, "damped-length"
    return undamped, ""


def _shrinks(fraction: float, tolerance: float) -> str:
    """``"0.8^3"`` where the fraction is that, "" otherwise."""
    for ratio in RATIOS:
        k = np.log(fraction) / np.log(ratio)
        whole = round(float(k))
        if 1 <= whole <= MOST_SHRINKS and abs(fraction / ratio**whole - 1.0) <= tolerance:
            return f"{ratio:g}^{whole}"
    return ""


def _longer_is_fine(probes: Probes, theta: Array, taken: Taken, factor: float) -> bool:
    """Whether a step `factor` times as long clearly keeps KL and improves the surrogate."""
    assert taken.max_kl is not None
    new = theta + factor * taken.delta
    expected = factor * expected_gain(probes, taken.delta)
    rows = probes.rows
    reverse = float(rows.weights @ rows.law.kl(rows.outputs_at(new), rows.z))
    kept = max(rows.kl(new), reverse) <= CLEARLY * taken.max_kl
    return kept and probes.rows.gain(new) >= SHARE * expected > _gain_rounding(probes)


def full_length(probes: Probes, x: Array, max_kl: float) -> float | None:
    """√(2δ / xᵀFx), or None where x moves nothing."""
    fisher = next(iter(variants.fishers(probes.rows)))
    form = probes.rows.form(fisher.curvature, x, x, fisher.weights).value
    return float(np.sqrt(2.0 * max_kl / form)) if form > 0 else None


def expected_gain(probes: Probes, delta: Array) -> float:
    """gᵀΔ, the surrogate's gain to first order."""
    plain = next(iter(variants.gradients(probes.rows)))
    return probes.rows.slope(plain.cotangent, plain.size, delta).value


def _gain_rounding(probes: Probes) -> float:
    rows = probes.rows
    return CONSTANT * probes.unit * rows.lift * float(rows.weights @ np.abs(rows.advantages))


def _unchanged(probes: Probes, theta: Array, taken: Taken, verdict: Verdict) -> Verdict:
    """θ' = θ is right only where no step along x is acceptable."""
    x = taken.direction
    if x is None or taken.max_kl is None:
        verdict.status = "skip"
        verdict.reason = "θ is unchanged; with direction and max_kl it can be told whether rightly"
        return verdict
    fisher = next(iter(variants.fishers(probes.rows)))
    form = probes.rows.form(fisher.curvature, x, x, fisher.weights).value
    if form <= 0:
        verdict.reason = "θ is unchanged, and the direction moves nothing"
        return verdict
    sign = 1.0 if expected_gain(probes, x) >= 0 else -1.0
    full = sign * np.sqrt(2.0 * taken.max_kl / form) * x
    for share in SHARES:
        tried = Taken(full * share, 0.0, x, taken.damping, taken.max_kl, None)
        if _longer_is_fine(probes, theta, tried, 1.0):
            verdict.status = "fail"
            verdict.reason = (
                f"θ is unchanged, although {share:g} of the longest step keeps KL ≤ max_kl and "
                "improves the surrogate"
            )
            return verdict
    verdict.reason = "θ is unchanged: no step along the direction is acceptable"
    return verdict
