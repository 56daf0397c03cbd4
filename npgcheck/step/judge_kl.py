"""Is KL that of the policy? It is compared number by number, at several θ', without derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.conformance.valleys import in_valley
from npgcheck.step import divergences, fit, names, reread, variants
from npgcheck.step.calls import Function
from npgcheck.step.divergences import Place
from npgcheck.step.probes import TRUST, Probes
from npgcheck.step.verdict import Verdict, property_result
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: A mistake explains the answers only where it agrees to this many digits.
TELLING = 3.0
#: A number is estimated only where the exact divergence is so many budgets off.
VISIBLE = 10.0
#: What an ε inside a logarithm may be.
EPSILONS = tuple(10.0**e for e in range(-16, 0))
#: θ' − θ is a multiple of a direction when they agree to this, relative; θ' is rounded.
PARALLEL = 1e-5


@dataclass(frozen=True)
class _Found:
    cost: tuple[int, float]
    diagnoses: list[Diagnosis]
    fitted: fit.Fitted


def judge(
    probes: Probes,
    function: Function,
    points: dict[str, Array],
    theta: Array,
    declared: dict[str, Any],
) -> Verdict:
    """The verdict on KL(θ, θ') at several θ'.

    Args:
        probes: the batch and its precision.
        function: the user's kl.
        points: name → θ' (D,), as the user's dtype holds them.
        theta: (D,).
        declared: the conventions that are declared.
    """
    rows = probes.rows
    verdict = Verdict("kl", compared=len(points))
    if not points:
        verdict.status = "skip"
        verdict.reason = "no θ′ was found at which KL is moderate"
        return verdict
    outputs = [rows.outputs_at(point) for point in points.values()]
    at_theta = function.number(theta)
    u = max(probes.unit, unit_roundoff(function.dtype))
    wide = "float32" if function.dtype == "bfloat16" else function.dtype  # the same exponents
    tiny = float(np.finfo(wide).tiny)
    # torch calls KL infinite where a probability of π′ rounds to 0 or 1
    rounded = [rows.law.saturates(rows.z, new, u, tiny) for new in outputs]
    numbers = [
        function.number(point, infinite=may)
        for point, may in zip(points.values(), rounded, strict=True)
    ]
    points, answers, outputs = _finite(points, numbers, outputs)
    verdict.compared = len(points)
    if not points:
        verdict.status = "skip"
        verdict.reason = (
            "it is infinite at every θ′ that was tried, as probabilities round to 0 or 1 there in "
            f"{function.dtype}"
        )
        return verdict
    exact = np.array([float(rows.weights @ rows.law.kl(rows.z, new)) for new in outputs])
    budgets = np.array([_kl_budget(rows, u, new, e) for new, e in zip(outputs, exact, strict=True)])
    floor = _kl_budget(rows, u, rows.z, 0.0)
    broken = f"KL(θ, θ) = {at_theta:.4g}" if abs(at_theta) > floor else ""
    verdict.findings.append(property_result("NPG-KL-002", broken, 1, abs(at_theta) / floor))
    best = _best_divergence(probes, answers, _places(probes, points, outputs, theta), budgets)
    plain = fit.compare(answers, exact, budgets)
    verdict.off, verdict.off_digits = plain.ratio, plain.digits
    fitted = best.fitted if best else plain
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    verdict.yours, verdict.exact = answers, exact
    verdict.where = f"θ' at {', '.join(points)}"
    if best is not None:
        return verdict.explain(best.diagnoses, declared)
    verdict.status, verdict.reason = "fail", "no known choice explains it"
    verdict.reason += _facts(probes, answers, exact, budgets)
    return verdict


def _facts(probes: Probes, answers: Array, exact: Array, budgets: Array) -> str:
    """What is true of a divergence that no choice explains."""
    rows = probes.rows
    factor, _ = fit.estimate(answers, exact, budgets, None, free_factor=True)
    if not fit.compare(answers, exact, budgets + 1e-6 * np.abs(factor * exact), factor).holds:
        return ""
    times = fit.in_words(factor, len(rows.weights))
    if times == "1":
        return "; it is right to six digits or more, but not to its rounding"
    return f"; it is the exact divergence times {times}"


def _finite(
    points: dict[str, Array], numbers: list[float], outputs: list[Array]
) -> tuple[dict[str, Array], Array, list[Array]]:
    """What belongs to the finite answers."""
    kept = np.isfinite(numbers)
    return (
        {name: p for (name, p), keep in zip(points.items(), kept, strict=True) if keep},
        np.array(numbers)[kept],
        [new for new, keep in zip(outputs, kept, strict=True) if keep],
    )


def _kl_budget(rows: Any, u: float, new: Array, value: float) -> float:
    """|δKL| ≤ C u (lift KL + Σ|∂log π/∂z| |z| averaged): log-probabilities cancel down to KL."""
    largest = max(float(np.abs(new).max()), float(np.abs(rows.z).max()))
    change = rows.law.fisher_size(rows.z)
    moved = float(rows.weights @ np.sum(np.sqrt(change), axis=1)) * largest
    return CONSTANT * u * (rows.lift * (1.0 + value) + moved)


def _places(
    probes: Probes, points: dict[str, Array], outputs: list[Array], theta: Array
) -> list[Place]:
    """What is known at every θ', at no further evaluation of the network."""
    places = []
    fisher = next(iter(variants.fishers(probes.rows)))
    for point, z in zip(points.values(), outputs, strict=True):
        moved, form = point - theta, None
        for v in probes.vectors:
            along = float(moved @ v) / float(v @ v)
            apart = float(np.linalg.norm(moved - along * v) / np.linalg.norm(moved))
            if apart <= PARALLEL:
                found = probes.rows.form(fisher.curvature, v, v, fisher.weights)
                off = TRUST * found.error + (probes.unit * probes.growth + 2.0 * apart) * found.size
                form = (along**2 * found.value, along**2 * off)
                break
        places.append(Place(z, float(moved @ moved), form))
    return places


def _best_divergence(
    probes: Probes, answers: Array, places: list[Place], budgets: Array
) -> _Found | None:
    """The cheapest explanation, with its equals."""
    count = float(len(probes.rows.weights))
    summed = names.named("batch-size-scale", note="a sum over the rows in place of their mean")
    plain: Array | None = None
    found: list[_Found] = []
    for entry in divergences.divergences(probes.rows):
        with np.errstate(over="ignore", invalid="ignore"):
            predicted = np.array([entry.measure(at) for at in places])
        if plain is None:
            plain = predicted
        elif not np.isfinite(predicted).all() or np.all(np.abs(predicted - plain) <= budgets):
            continue  # the same numbers explain nothing, however differently they are rounded
        for factor, more in ((1.0, []), (count, [summed])):
            if factor != 1.0 and (not entry.choices or entry.size > 1.0 or not predicted.any()):
                continue
            fitted = fit.compare(answers, predicted, budgets * entry.size * factor, factor)
            if not fitted.holds or (entry.choices and fitted.digits < TELLING):
                continue
            said = [names.named(n, note=entry.note) for n in entry.choices] + list(more)
            found.append(_Found(names.cost(d.choice for d in said), said, fitted))
    if not found and plain is not None and not fit.compare(answers, plain, VISIBLE * budgets).holds:
        found = [*_quadratic(answers, places, budgets),
                 *_epsilon(probes, answers, places, budgets)]  # fmt: skip
        found = found or _read_otherwise(probes, answers, places, budgets, plain)
    if not found:
        return None
    best = min(found, key=lambda f: f.cost)
    equals = [f.diagnoses for f in found if f.cost[0] == best.cost[0] and f.diagnoses]
    return _Found(best.cost, names.together(best.diagnoses, equals), best.fitted)


def _read_otherwise(
    probes: Probes, answers: Array, places: list[Place], budgets: Array, plain: Array
) -> list[_Found]:
    """KL of a policy that is not the one that was given."""
    for entry in reread.divergences(probes.rows, answers, places):
        with np.errstate(all="ignore"):
            predicted = np.array([entry.measure(at) for at in places])
        if not np.isfinite(predicted).all() or np.all(np.abs(predicted - plain) <= budgets):
            continue
        fitted = fit.compare(answers, predicted, budgets)
        if fitted.holds and fitted.digits >= TELLING:
            said = [names.named(n, note=entry.note) for n in entry.choices]
            return [_Found(names.cost(entry.choices), said, fitted)]
    return []


def _quadratic(answers: Array, places: list[Place], budgets: Array) -> list[_Found]:
    """½ Δᵀ(F + λI)Δ."""
    forms = [at.form for at in places if at.form is not None]
    if len(forms) < len(places):
        return []
    predicted = 0.5 * np.array([value for value, _ in forms])
    budgets = budgets + 0.5 * np.array([off for _, off in forms])
    squares = 0.5 * np.array([at.square for at in places])
    _, shift = fit.estimate(answers, predicted, budgets, squares, free_factor=False)
    for number in [0.0, *(n for n in roundest(shift) if n > 0)]:
        fitted = fit.compare(answers, predicted, budgets, 1.0, number, squares)
        if fitted.holds and fitted.digits >= TELLING:
            note = "the quadratic model ½Δᵀ(F + λI)Δ in place of KL" if number else ""
            said = [names.named("quadratic-kl", note=note)]
            said += names.damped(number)
            return [_Found(names.cost(d.choice for d in said), said, fitted)]
    return []


def _epsilon(probes: Probes, answers: Array, places: list[Place], budgets: Array) -> list[_Found]:
    """KL with an ε inside the logarithm, whose number is estimated."""
    for formula, measure in divergences.with_epsilon(probes.rows):

        def off(epsilon: float, at: Any = slice(2), measure: Any = measure) -> fit.Fitted:
            predicted = np.array([measure(place, epsilon) for place in places[at]])
            return fit.compare(answers[at], predicted, budgets[at])

        def misfit(epsilon: float, off: Any = off) -> float:
            return float(10.0 ** -off(epsilon).digits)

        # two places give the number, all of them confirm it
        best = int(np.argmin([misfit(e) for e in EPSILONS]))
        for number in roundest(in_valley(misfit, EPSILONS, best)):
            fitted = off(number, slice(None))
            if fitted.holds and fitted.digits >= TELLING:
                note = f"{formula} with ε = {number:.3g} in place of KL"
                said = [names.named("epsilon-inside-kl", number, note)]
                return [_Found(names.cost(d.choice for d in said), said, fitted)]
    return []
