"""Edge cases, judged apart: the limits of the domain, under the conventions already found.

An exception here is an honest refusal and is only counted. Infinities and NaN (a logarithm of an
underflowed probability, a division by a zero gradient) make the verdict deviate: the code is right
on a smaller domain than the mathematics. A wrong finite number fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.check_ids import check_id
from npgcheck.conformance.collect import Collected, explainer_of
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.fitting import Judged, Record
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run, well_conditioned

#: The groups of pure problems that are edges are judged with the values; these families have
#: edge cases of their own.
_WITH_EDGES = ("tabular", "softmax", "gaussian", "mlp")


def check(state: Run, quantity: str) -> list[CheckResult]:
    """Judges a quantity that is right elsewhere on the edge cases of its families."""
    from npgcheck import problem_sets

    fit = state.fit(quantity)
    contract = QUANTITIES[quantity]
    if state.single or not contract.takes_problem or quantity == "train":
        return []
    if fit is None:
        return [_skipped(quantity, "not judged where the value is refuted already")]
    judged: list[tuple[Record, Judged]] = []
    refused: list[str] = []
    broken: list[tuple[Any, str, str]] = []
    explainer = explainer_of(quantity)
    # What was right to a stated accuracy is held to ten times that here.
    accuracy = 10.0 * float(fit.choices.get("solver_rtol") or 0.0)
    accuracy = max(accuracy, float(state.declared.get("solver_rtol") or 0.0))
    for family in state.families:
        if family not in _WITH_EDGES or family in contract.not_asked:
            continue
        for position, problem in enumerate(problem_sets.edge_cases(family)):
            collected = Collected()
            state.collector._one_problem(quantity, problem, position, collected, repeat=False)
            refused += [f"{problem.name}: {reason}" for reason in collected.unsupported]
            for _probe, fault in collected.faults:
                if fault.kind == "raised":
                    refused.append(f"{problem.name}: {fault.message}")
                elif fault.kind != "mutated_problem":
                    broken.append((problem, fault.kind, fault.message))
            records = collected.records
            list(explainer.candidates(records, ("mdp",)))
            for record in records:
                if quantity in SOLVES and not _solvable(state, quantity, record):
                    continue
                verdict = explainer.judge(record, fit.choices)
                if verdict is not None and np.isfinite(verdict.size):
                    judged.append((record, verdict))
    wrong = [(r, j) for r, j in judged if j.ratio > max(1.0, accuracy / r.roundoff)]
    if wrong:
        record, verdict = max(wrong, key=lambda rj: rj[1].ratio)
        text = (
            f"wrong by {verdict.ratio:.2g} × budget on {_name(record.reference.problem)}, "
            "right elsewhere"
        )
        clamped = quantity == "log_prob" and record.reference.problem.name == SATURATED
        return [_finding(state, quantity, text, len(judged), verdict.ratio, named=clamped)]
    if broken:
        problem, _, message = broken[0]
        limited = all(kind == "non_finite" for _, kind, _ in broken)
        text = f"{message} on {_name(problem)}"
        return [_finding(state, quantity, text, len(judged), limited=limited)]
    if not judged and not refused:
        return [_skipped(quantity, "no edge case in the families judged")]
    return [
        CheckResult(
            id=check_id(quantity, "edge"),
            quantity=quantity,
            title="edge cases",
            status="pass" if judged else "skip",
            kind="edge",
            problems=len({r.reference.problem.id for r, _ in judged}),
            worst=max((j.ratio for _, j in judged), default=0.0),
            digits=min((j.digits for _, j in judged if j.size > 0), default=0.0),
            reason=f"refused {len(refused)}: {refused[0]}" if refused else "",
        )
    ]


#: Probabilities that underflow: what is wrong here alone clamps a probability or a logit.
SATURATED = "logits of ±1e3"
#: A direction is judged where the gradient is this far above its own rounding.
CLEAR = 1e4


def _solvable(state: Run, quantity: str, record: Record) -> bool:
    """Whether x means anything: F is well conditioned and g is no rounding error.

    With one action, no reward or a deterministic policy g vanishes, and a direction made of it is
    noise, whatever its length; such answers are only asked to be finite.
    """
    sources = state.sampled(quantity)
    if not well_conditioned(record, sources):
        return False
    reference = record.reference
    for source in sources:
        if reference.measure(source, "discounted") is None:
            continue
        norm = float(np.linalg.norm(reference.gradient(source, "discounted")))
        if norm <= CLEAR * tolerance.policy_gradient(reference.scales, record.roundoff, norm):
            return False
    return True


def _skipped(quantity: str, reason: str) -> CheckResult:
    return CheckResult(
        id=check_id(quantity, "edge"),
        quantity=quantity,
        title="edge cases",
        status="skip",
        kind="edge",
        problems=0,
        worst=0.0,
        digits=0.0,
        reason=reason,
    )


def _name(problem: Any) -> str:
    return f"{problem.name or problem.describe()} ({problem.id})"


def _finding(
    state: Run,
    quantity: str,
    reason: str,
    problems: int,
    worst: float = float("inf"),
    limited: bool = False,
    named: bool = False,
) -> CheckResult:
    """A finding at the limits; NaN and infinity there deviate, a wrong finite number fails."""
    choice = Diagnosis("range", "limited-range", "approximation", None, reason)
    return CheckResult(
        id=check_id(quantity, "edge"),
        quantity=quantity,
        title="at the limits of the domain",
        status="deviates" if limited else "fail",
        diagnosis=(choice,) if limited or named else (),
        kind="edge",
        problems=problems,
        worst=worst,
        digits=0.0,
        reason=reason,
    )
