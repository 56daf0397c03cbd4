"""A plain solve with a singular F: it raises, or returns rounding noise.

The null space of a softmax F is never empty, and elimination finds pivots of the size of an ulp
there, or exact zeros. What is left is recognised by its size, 1/u, and by its being another number
where θ moves by a few ulps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from npgcheck.conformance.choices import BY_NAME, present
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.verdicts import expected, rescore

Array = np.ndarray

#: What NumPy says of an exact zero pivot.
RAISED = "Singular matrix"
#: Quantities whose answer is x, or θ + ηx, and how many of their wrong answers are looked at.
LENGTH_KNOWN = ("natural_gradient", "update")
LOOKED_AT = 8
#: A solve with a singular matrix returns numbers so many times too large, and more.
HUGE = 1e6
#: … but a pivot is an ulp at least: what is so large has diverged in an iteration.
DIVERGED = 1e24
#: θ is moved by this part; x then moves by cond F times as much, 1e-8 at most.
MOVED = 1e-12
#: … where answers that are noise move by this part of the exact one.
NOISE = 1e-3


def name_singular_solves(state: Run, explained: Collection[str] = ()) -> None:
    """Names a plain solve where it says so itself, and where its answers are rounding noise;
    ``explained`` are solves that follow from the subject's own wrong solver."""
    entry = BY_NAME["no-damping"]
    if entry not in present():
        return
    named = Diagnosis(entry.stage, entry.name, entry.kind, None, entry.said())
    for quantity in (q for q in SOLVES if q in state.results and q not in explained):
        results = state.results[quantity]
        raised = [r for r in results if _raises(r)]
        if quantity == "train" and not _raises_below(state):
            raised = []  # a policy that has settled has F = 0, which most solves cannot bear
        noise = _noise(state, quantity, bool(raised)) if _refuted(results) else ""
        if not (raised or noise):
            continue
        state.results[quantity] = [
            replace(r, diagnosis=(named,))
            if r in raised
            else replace(r, diagnosis=(named,), reason=f"{entry.said()}: {noise}")
            if noise and r.kind == "value" and r.status == "fail"
            else r
            for r in results
        ]


def _raises_below(state: Run) -> bool:
    """Whether a single solve, before any step is taken, raises as well."""
    below = (q for q in SOLVES if q != "train")
    return any(_raises(r) for q in below for r in state.results.get(q, ()))


def _raises(result: CheckResult) -> bool:
    return result.kind == "contract" and result.status == "fail" and RAISED in result.reason


def _refuted(results: Sequence[CheckResult]) -> bool:
    return any(r.kind == "value" and r.status == "fail" and not r.diagnosis for r in results)


def _noise(state: Run, quantity: str, raised: bool) -> str:
    """That the wrong answers are rounding noise, in words, or ""."""
    records = state.judgeable(quantity)
    fit = rescore(quantity, records, expected(state, quantity, records))
    wrong = [records[i] for i in fit.refuted][:LOOKED_AT]
    if not wrong or not all(_is_noise(state, r) for r in wrong):
        return ""
    largest = max((_times_too_large(r) for r in wrong), default=0.0)
    if quantity in LENGTH_KNOWN and largest > DIVERGED:
        return ""
    if quantity in LENGTH_KNOWN and largest > HUGE:
        return f"{largest:.0e} times the exact length, and other numbers where θ moves by an ulp"
    return "other numbers where θ moves by an ulp" if raised else ""


def _exact(record: Record) -> tuple[Array, Array]:
    """x of least norm, and the projection on range(F)."""
    reference = record.reference
    values, vectors = np.linalg.eigh(reference.fisher("mdp", "discounted", "true"))
    kept = values > 1e-11 * max(float(values.max(initial=0.0)), 1e-300)
    g = reference.gradient("mdp", "discounted", "advantage") / (1.0 - reference.discount)
    basis = vectors[:, kept]
    return basis @ ((basis.T @ g) / values[kept]), basis @ basis.T


def _times_too_large(record: Record) -> float:
    x, _ = _exact(record)
    moved = record.value
    if record.probe.quantity != "natural_gradient":
        moved = (moved - record.reference.theta) / float(record.probe.args[-1])
    size = float(np.linalg.norm(x))
    return float(np.linalg.norm(moved)) / size if size else 0.0


def _is_noise(state: Run, record: Record) -> bool:
    """Whether F is singular, and the visible part of the answer another one, or none, where θ
    moves by a few ulps."""
    x, projection = _exact(record)
    theta = record.reference.theta
    if np.linalg.matrix_rank(projection) == len(theta):
        return False
    nudge = MOVED * np.maximum(1.0, np.abs(theta)) * np.cos(np.arange(len(theta)))
    problem = record.reference.problem.at(theta + nudge)
    answer = state.collector.call(replace(record.probe, problem=problem))
    if answer.value is None:
        return answer.fault is not None and RAISED in answer.fault.message
    if record.probe.quantity == "natural_gradient":
        size = float(np.linalg.norm(x))
    else:
        size = float(np.linalg.norm(projection @ (record.value - theta)))
    if not np.isfinite(answer.value).all() or answer.value.shape != record.value.shape:
        return False
    change = float(np.linalg.norm(projection @ (answer.value - record.value)))
    return change > NOISE * size
