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
from npgcheck.step.lengths import BLUNT, Measures, recognise
from npgcheck.step.probes import TRUST, Probes
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import CONSTANT

Array = np.ndarray

#: A longer step is called acceptable when it clears both tests by this much; libraries ask for up
#: to half of the expected gain, and for KL strictly below max_kl.
CLEARLY, SHARE = 0.9, 0.5
#: Shares of the longest step that every line search tries before it gives up: 0.9¹⁰ is 0.35.
SHARES = (1.0, 0.7, 0.5, 0.35)
#: Steps between this share of the longest one and all of it are not called short.
NOTABLY = 2.0 / 3.0
#: baselines accepts a step whose KL is at most this many times max_kl.
SLACK = 1.5
#: A step whose KL is max_kl this closely was made so long.
REACHED = 1e-3
#: Two vectors with fewer entries than this may be parallel by accident.
FEWEST = 3
#: … or by rounding, where that is more than this share of them.
ROUGHLY = 1e-3
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
        gradient: (D,), the user's g, or None.
        own: xᵀ(F + λI)x by the user's own product, or None.
        unknown: whether λ is not known: the solve was not judged, and may be damped in the solver.
        judged: the verdict on the gradient, or None.
    """

    delta: Array
    rounding: float
    direction: Array | None
    damping: float
    max_kl: float | None
    lower: Verdict | None
    gradient: Array | None = None
    own: float | None = None
    unknown: bool = False
    judged: Verdict | None = None


def judge(probes: Probes, theta: Array, taken: Taken, declared: dict[str, Any]) -> Verdict:
    """The verdict on θ' (D,)."""
    quantity = "update" if taken.max_kl is None else "trust_region_step"
    verdict = Verdict(quantity, compared=1)
    if not np.any(taken.delta):
        return _unchanged(probes, theta, taken, verdict)
    problem = _off_direction(probes, taken, verdict)
    if problem and _is_the_step(theta + taken.delta, taken, probes.unit):
        verdict.explain([names.named("update-returns-the-step")], declared)
    elif problem:
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


def _is_the_step(new: Array, taken: Taken, unit: float) -> bool:
    """Whether θ' itself is along x, where θ' − θ is not: θ was not added."""
    x = taken.direction
    if x is None or len(x) < FEWEST:
        return False
    factor = float(x @ new) / float(x @ x)
    off = float(np.linalg.norm(new - factor * x))
    size = float(np.linalg.norm(new))
    allowed = CONSTANT * (taken.rounding + unit * size)
    return off <= allowed <= ROUGHLY * size


def _length(
    probes: Probes, theta: Array, taken: Taken, verdict: Verdict, declared: dict[str, Any]
) -> None:
    rows, delta = probes.rows, taken.delta
    new = theta + delta
    fisher = next(iter(variants.fishers(rows)))
    form = rows.form(fisher.curvature, delta, delta, fisher.weights)
    model = 0.5 * form.value
    realised, gain = rows.kl(new), rows.gain(new)
    verdict.numbers.update(model=model, kl=realised, gain=gain)
    delta_kl = taken.max_kl
    said: list[Diagnosis] = []
    slope = expected_gain(probes, delta)
    if slope < 0 and _is_misled(taken, slope, verdict, declared):
        return
    if delta_kl is None:
        if slope < 0:
            _downhill(taken, False, verdict)
        else:
            verdict.explain(said, declared)
        return
    if not model > 0:
        verdict.status, verdict.reason = "fail", "the step changes no output of the policy"
        return
    reverse = float(rows.weights @ rows.law.kl(rows.outputs_at(new), rows.z))
    damped = model + 0.5 * taken.damping * float(delta @ delta)
    # the reference's own error counts too: half of it, since a length is a root
    tolerance = (
        LENGTH
        + 4.0 * CONSTANT * probes.unit
        + 4.0 * taken.rounding / float(np.linalg.norm(delta))
        + 0.5 * TRUST * form.error / form.value
    )
    verdict.numbers.update(reverse=reverse, damped=damped)
    found = recognise(_measures(taken, verdict, model, damped), tolerance)
    if slope < 0:
        _downhill(taken, found.known and not found.note, verdict)
        return
    fraction, rule = found.fraction, found.rule
    verdict.numbers.update(fraction=fraction, shrinks=found.shrink)
    if found.known and not rule and abs(damped / model - 1.0) > 2.0 * tolerance:
        rule = "undamped-length"
    verdict.numbers["rule"] = rule
    verdict.yours = np.array([model, realised, gain])
    verdict.exact = np.array([delta_kl, delta_kl, 0.0])
    verdict.where = "½ΔᵀFΔ, KL and the surrogate's gain, beside max_kl, max_kl and 0"
    within = min(realised, reverse) <= delta_kl * (1.0 + tolerance)
    if rule and found.note:
        note = found.note + (f", times {found.shrink}" if found.shrink else "")
        said.append(names.named(rule, note=note))
        verdict.explain(said, declared)
        return
    if rule == "damped-length":
        said.append(names.named("damped-length"))
    full, equals = abs(fraction - 1.0) <= tolerance, False
    if fraction > 1.0 + tolerance and not within:
        verdict.status = "fail"
        verdict.reason = (
            f"the step is {fraction:.6g} times as long as max_kl = {delta_kl:g} allows: "
            f"½ΔᵀFΔ = {model:.6g}, KL = {realised:.6g}"
        )
        return
    if found.epsilon:
        verdict.reason = f"{found.epsilon}: {fraction:.4g} of what max_kl allows"
    loses = gain <= -_gain_rounding(probes)
    if within and loses and _gradient_is_wrong(taken):
        # the search may have looked at the surrogate of that gradient
        verdict.status, verdict.explained_by = "fail", "policy_gradient"
        verdict.reason = f"the step was accepted with the gain {gain:.3g}"
        return
    if not within or loses:
        if not within and not full and realised <= SLACK * delta_kl:
            said.append(names.named("kl-slack-1.5"))
        elif within and (full or found.known):
            said.append(names.named("surrogate-not-checked"))
            equals = full
        elif full or (taken.unknown and fraction < 1.0 and not within):
            said.append(names.named("kl-not-checked"))
            equals = full
        else:
            verdict.status = "fail"
            what = (
                f"KL = {realised:.4g} > {delta_kl:g}" if not within else f"the gain is {gain:.3g}"
            )
            verdict.reason = f"a step was accepted with {what}"
            return
    elif fraction < NOTABLY and not found.epsilon:
        longer = min(2.0, 1.0 / fraction)
        if _longer_is_fine(probes, theta, taken, longer):
            verdict.status = "fail"
            verdict.reason = (
                f"the step is {fraction:.4g} of what max_kl allows, and {longer:.3g} times as long "
                "it still keeps KL and improves the surrogate"
            )
            return
        verdict.reason = verdict.reason or f"{fraction:.4g} of what max_kl allows"
    if equals:  # one step does not tell whether the search found another one
        said[-1:] = names.together(said[-1:], [[names.named("line-search-overwritten")]])
    verdict.explain(said, declared)
    reached = abs(max(realised, reverse) / delta_kl - 1.0) <= REACHED
    unknown = taken.unknown or _hidden_damping(taken, model) > tolerance
    if found.known or unknown or reached or "line_search" in declared:
        return
    if tolerance > BLUNT:
        return  # too few digits to tell one length from another
    if verdict.status == "pass":
        verdict.status = "deviates"
    verdict.reason = (
        f"{fraction:.6g} of what max_kl allows: no usual line search shrinks by that, and no known "
        "formula gives it; declare line_search='kl_and_improvement' where yours does"
    )


def _gradient_is_wrong(taken: Taken) -> bool:
    return taken.judged is not None and taken.judged.status == "fail"


def _is_misled(taken: Taken, slope: float, verdict: Verdict, declared: dict[str, Any]) -> bool:
    """Whether a step that goes down follows a gradient or a direction that is wrong by itself."""
    verdict.status = "fail"
    verdict.reason = f"the step lowers the surrogate: gᵀΔ = {slope:.3g}"
    g, judged, x = taken.gradient, taken.judged, taken.lower
    if g is not None and judged is not None:
        flipped = any(d.choice == "gradient-of-the-loss" for d in judged.diagnoses)
        ascends = float(g @ taken.delta) * (-1.0 if flipped else 1.0) > 0.0
        others = [d for d in judged.diagnoses if d.choice != "gradient-of-the-loss"]
        if ascends and judged.status == "fail":
            verdict.explained_by = judged.quantity
            return True
        if ascends and others:  # another gradient by convention: normalised advantages, say
            verdict.explain(others, declared)
            verdict.reason += ", but it goes up for the gradient that was given"
            return True
    if x is not None and x.status == "fail" and verdict.numbers.get("factor", 0.0) > 0.0:
        verdict.explained_by = x.quantity
        return True
    return False


def _downhill(taken: Taken, fits: bool, verdict: Verdict) -> None:
    """Names a step that goes down; `fits` where it is as long as a trust region's."""
    sign, special = names.named("ascent-descent-sign"), names.named("step-downhill")
    upward = taken.direction is not None and verdict.numbers.get("factor", 0.0) < 0.0
    if fits and upward:
        verdict.diagnoses = tuple(names.together([special], [[sign]]))
    elif fits and taken.direction is None:
        verdict.diagnoses = tuple(names.together([sign], [[special]]))
    else:
        verdict.diagnoses = (sign,)


def _hidden_damping(taken: Taken, model: float) -> float:
    """What a λ that is too small to show in the solve may change the length by, relative."""
    floor = taken.lower.numbers.get("floor", 0.0) if taken.lower is not None else 0.0
    return 0.25 * floor * float(taken.delta @ taken.delta) / model if not taken.damping else 0.0


def _measures(taken: Taken, verdict: Verdict, model: float, damped: float) -> Measures:
    """What lengths are made of; without a direction, Δ stands for it."""
    assert taken.max_kl is not None
    x, g = taken.direction, taken.gradient
    if x is None:
        return Measures(1.0, taken.max_kl, 2.0 * model, 2.0 * damped)
    # where the solve is of −g, the step goes along −x
    factor = abs(verdict.numbers["factor"])
    square = factor**2
    return Measures(
        factor,
        taken.max_kl,
        2.0 * model / square,
        2.0 * damped / square,
        None if g is None else abs(float(g @ x)),
        taken.own,
        float(np.linalg.norm(x)),
        None if g is None else float(np.linalg.norm(g)),
    )


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
    if sign < 0 and taken.lower is not None and taken.lower.status == "fail":
        verdict.status, verdict.explained_by = "fail", taken.lower.quantity
        verdict.reason = "θ is unchanged: the direction that was given goes down"
        return verdict
    full = sign * np.sqrt(2.0 * taken.max_kl / form) * x
    for share in SHARES:
        tried = Taken(full * share, 0.0, x, taken.damping, taken.max_kl, None)
        if _longer_is_fine(probes, theta, tried, 1.0):
            verdict.status = "fail"
            if _gradient_is_wrong(taken):
                verdict.explained_by = "policy_gradient"
            verdict.reason = (
                f"θ is unchanged, although {share:g} of the longest step keeps KL ≤ max_kl and "
                "improves the surrogate"
            )
            return verdict
    verdict.reason = "θ is unchanged: no step along the direction is acceptable"
    return verdict
