"""Are log π and KL those of the policy? Both are compared number by number, without derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.step import fit, names, variants
from npgcheck.step.calls import Function
from npgcheck.step.probes import Probes
from npgcheck.step.verdict import Verdict, property_result
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray


def judge_log_prob(probes: Probes, answer: Array, dtype: str, declared: dict[str, Any]) -> Verdict:
    """The verdict on log π(a_i|s_i) (N,)."""
    rows = probes.rows
    verdict = Verdict("log_prob", compared=len(answer))
    u = max(probes.unit, unit_roundoff(dtype))
    exact = rows.law.log_prob(rows.z, rows.actions)
    # |δ log π| ≤ C u (lift + |log π| + Σ|∂log π/∂z| |z|): the outputs round at their own size
    moved = np.sum(rows.score_size * (1.0 + np.abs(rows.z)), axis=1)
    moved = moved + rows.law.action_size(rows.z, rows.actions)
    budgets = CONSTANT * u * (rows.lift + np.abs(exact) + moved)
    best: tuple[tuple[int, float], list[Diagnosis], fit.Fitted] | None = None
    for chosen, note, predicted in variants.log_probs(rows):
        fitted = fit.compare(answer, predicted, budgets)
        price = names.cost(chosen)
        if fitted.holds and (best is None or price < best[0]):
            best = (price, [names.named(n, note=note) for n in chosen], fitted)
    plain = fit.compare(answer, exact, budgets)
    verdict.off, verdict.off_digits = plain.ratio, plain.digits
    fitted = best[2] if best else plain
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    worst = np.argsort(-np.abs(answer - exact))[:6]
    verdict.yours, verdict.exact = answer[worst], exact[worst]
    verdict.where = f"rows {', '.join(map(str, worst))}"
    if best is not None:
        return verdict.explain(best[1], declared)
    verdict.status, verdict.reason = "fail", "no known choice explains it"
    offset = answer - exact
    if float(np.ptp(offset)) <= float(np.max(budgets)):
        verdict.reason += f"; it is off by {float(np.mean(offset)):.6g} in every row"
    elif fit.compare(answer, exact, budgets, -1.0).holds:
        verdict.reason += "; its sign is flipped"
    elif fit.compare(np.exp(np.minimum(exact, 700.0)), answer, budgets + 1e-6).holds:
        verdict.reason += "; it is the probability, not its logarithm"
    else:
        verdict.reason += names.mixed_precision(plain.digits, dtype)
    return verdict


def judge_kl(
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
    best = _best_divergence(probes, answers, outputs, budgets)
    plain = fit.compare(answers, exact, budgets)
    verdict.off, verdict.off_digits = plain.ratio, plain.digits
    fitted = best[2] if best else plain
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    verdict.yours, verdict.exact = answers, exact
    verdict.where = f"θ' at {', '.join(points)}"
    if best is not None:
        return verdict.explain(best[1], declared)
    verdict.status, verdict.reason = "fail", "no known choice explains it"
    factor, _ = fit.estimate(answers, exact, budgets, None, free_factor=True)
    if fit.compare(answers, exact, budgets + 1e-6 * np.abs(factor * exact), factor).holds:
        verdict.reason += (
            f"; it is the exact divergence times {fit.in_words(factor, len(rows.weights))}"
        )
    return verdict


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


def _best_divergence(
    probes: Probes, answers: Array, outputs: list[Array], budgets: Array
) -> tuple[tuple[int, float], list[Diagnosis], fit.Fitted] | None:
    count = float(len(probes.rows.weights))
    summed = names.named("batch-size-scale", note="a sum over the rows in place of their mean")
    best = None
    for chosen, note, divergence in variants.divergences(probes.rows):
        function: Callable[[Array], float] = divergence
        predicted = np.array([function(new) for new in outputs])
        for factor, more in ((1.0, []), (count, [summed])):
            if factor != 1.0 and not np.any(predicted):
                continue
            fitted = fit.compare(answers, predicted, budgets * factor, factor)
            said = [names.named(n, note=note) for n in chosen] + list(more)
            price = names.cost(d.choice for d in said)
            if fitted.holds and (best is None or price < best[0]):
                best = (price, said, fitted)
    return best
