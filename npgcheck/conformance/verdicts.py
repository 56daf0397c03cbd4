"""Statuses: from the explanation of a quantity to its results in the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.conformance.check_ids import NUMBERED, check_id
from npgcheck.conformance.choices import BY_NAME, CHOICES, choice, cost
from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.explainers.line_search import OVERWRITTEN, RULES
from npgcheck.conformance.fitting import (
    SINGLE_DIGITS,
    Fit,
    Judged,
    Record,
    as_limited_accuracy,
    compatible,
    same_number,
    score,
)
from npgcheck.conformance.naming import KEYWORD, diagnose, is_declared
from npgcheck.conformance.reconcile import SOLVES, contradicts
from npgcheck.conformance.report import CheckResult, Counterexample, Diagnosis
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.wording import plural
from npgcheck.tolerance import UNIT_ROUNDOFF

#: A pass needs this many judged problems with γ ≥ 1/2 (and shared features, unless only tabular
#: problems were asked for).
ENOUGH = 8
FAULT_WORDS = {
    "raised": "raised an exception",
    "hung": "did not return in time",
    "crashed": "ended its process",
    "non_finite": "returned NaN or infinity",
    "wrong_shape": "returned the wrong shape",
    "wrong_type": "returned something that is no array of numbers",
    "mutated_problem": "changed its arguments",
}


def judge(state: Run, quantity: str) -> list[CheckResult]:
    """The contract, asking twice, the value, and its consistency with the other quantities."""
    results = _contract(state, quantity) + _twice(state, quantity)
    records = state.judgeable(quantity)
    if not records:
        faulty = any(r.status == "fail" for r in results)
        return results if faulty else [_nothing_judged(state, quantity), *results]
    found = state.explanations[quantity]
    fit = state.fit(quantity)
    if fit is not None:
        consistent = _found_nothing(
            quantity, "consistency", "consistency", len({r.probe.position for r in records})
        )
        return [_explained(state, quantity, records, fit), consistent, *results]
    if found.fitting:
        return [_inconsistent(state, quantity, records, found.fitting[0]), *results]
    return [_refuted(state, quantity, records), *results]


def not_covered(quantity: str) -> CheckResult:
    """The result of a quantity that the subject does not define."""
    return CheckResult(
        id=check_id(quantity, "value"),
        quantity=quantity,
        title="against the exact value",
        status="not_covered",
        kind="value",
        problems=0,
        worst=0.0,
        digits=0.0,
        reason="not defined by the subject",
    )


# ---- the contract -----------------------------------------------------------------------------


def _contract(state: Run, quantity: str) -> list[CheckResult]:
    collected = state.collector.found[quantity]
    if not collected.faults:
        return [_found_nothing(quantity, "contract", "contract", len(collected.positions))]
    probe, fault = collected.faults[0]
    kinds = Counter(f.kind for _, f in collected.faults)
    times = f", on {len(collected.faults)} calls" if len(collected.faults) > 1 else ""
    stopped = "; it was not called again" if collected.gave_up else ""
    others = [FAULT_WORDS[k] for k in kinds if k != fault.kind]
    # 0/0 on a zero right side, and nothing else: right on a smaller domain than was asked.
    edge = state.fit(quantity) is not None and all(
        f.kind == "non_finite"
        and getattr(p.problem, "group", "plain") in ("zero right side", "small right side")
        for p, f in collected.faults
    )
    limited = BY_NAME["limited-range"]
    also = f"; it also {' and '.join(others)}" if others else ""
    return [
        CheckResult(
            id=check_id(quantity, "contract"),
            quantity=quantity,
            title=FAULT_WORDS[fault.kind],
            status="fail",
            kind="contract",
            problems=len(collected.positions),
            worst=math.inf,
            digits=0.0,
            reason=f"{fault.message}{times}, first on {_where(probe.problem)}{also}{stopped}",
            diagnosis=(Diagnosis(limited.stage, limited.name, limited.kind, None, limited.said()),)
            if edge
            else (),
            refuted_after=probe.position + 1,
            traceback=fault.traceback,
            counterexample=Counterexample(
                probe.problem.id, probe.problem.describe(), [], [], math.inf, 0.0
            ),
        )
    ]


def _where(problem: Any) -> str:
    return f"problem {problem.id} ({problem.describe()})"


def _twice(state: Run, quantity: str) -> list[CheckResult]:
    """Asking twice must agree within the budget of the quantity itself."""
    explainer = explainer_of(quantity)
    candidates = explainer.candidates(state.records[quantity], ("mdp",))
    bare: dict[str, Any] = next(iter(candidates), {})
    for record, again in state.collector.found[quantity].repeats:
        if again.value is None or again.value.shape != record.value.shape:
            continue
        difference = float(np.max(np.abs(again.value - record.value), initial=0.0))
        if difference == 0.0:
            continue
        judged = explainer.judge(record, bare) if quantity != "train" else None
        size = float(np.max(np.abs(record.value), initial=0.0))
        floor = 1e4 * record.roundoff * size  # sums in another order, on several threads
        if difference > max(judged.budget if judged else 0.0, floor):
            problem = record.probe.problem
            return [
                CheckResult(
                    id=check_id(quantity, "twice"),
                    quantity=quantity,
                    title="two calls with the same arguments disagree",
                    status="fail",
                    kind="property",
                    problems=len(state.collector.found[quantity].repeats),
                    worst=difference / floor if floor else math.inf,
                    digits=0.0 if size == 0 else max(0.0, -math.log10(difference / size)),
                    reason=f"answers differ by {difference:.2g} on {_where(problem)}; "
                    "is it random, or does it keep state between calls?",
                    refuted_after=record.probe.position + 1,
                )
            ]
    asked = len(state.collector.found[quantity].repeats)
    return [_found_nothing(quantity, "twice", "property", asked)] if asked else []


def _found_nothing(quantity: str, name: str, kind: Any, problems: int) -> CheckResult:
    """A check that ran and found nothing wrong."""
    return CheckResult(
        id=check_id(quantity, name),
        quantity=quantity,
        title=NUMBERED[name][1],
        status="pass" if problems else "skip",
        kind=kind,
        problems=problems,
        worst=0.0,
        digits=0.0,
        reason="" if problems else "no call was judged",
    )


# ---- the value --------------------------------------------------------------------------------


def _nothing_judged(state: Run, quantity: str) -> CheckResult:
    collected = state.collector.found[quantity]
    if collected.unsupported:
        reason = f"unsupported: {Counter(collected.unsupported).most_common(1)[0][0]}"
    elif QUANTITIES[quantity].not_asked >= set(state.families):
        reason = f"not asked in the family {', '.join(state.families)}"
    else:
        reason = "no problem with a well-conditioned Fisher matrix among those asked"
    return _result(quantity, "skip", [], None, reason=reason)


def _explained(state: Run, quantity: str, records: Sequence[Record], fit: Fit) -> CheckResult:
    """Within the budget under the run's conventions: a pass, or a deviation by name."""
    fit = _as_accurate_as_below(state, quantity, records, fit)
    diagnosis = _with_equals(quantity, records, fit, diagnose(fit.choices))
    diagnosis = tuple(_as_gradient(state, quantity, d) for d in diagnosis)
    open_ = [d for d in diagnosis if not is_declared(d, state.declared)]
    serious = [d for d in open_ if d.kind in ("convention", "approximation")]
    bugs = [d for d in diagnosis if d.kind == "bug"]
    if bugs:
        scored = rescore(quantity, records, without_bugs(fit.choices))
        text = "; ".join(d.note for d in bugs)
        return _result(quantity, "fail", records, scored, diagnosis=diagnosis, reason=text)
    unsupported = state.collector.found[quantity].unsupported
    reason = _too_few(state, quantity, records)
    if reason and not serious:
        if unsupported:
            reason += f" ({unsupported[0]})"
        return _result(quantity, "skip", records, fit, diagnosis=diagnosis, reason=reason)
    status = "deviates" if serious else "pass"
    text = "; ".join(
        d.note.replace("right,", f"right to {fit.digits:.1f} digits,", 1)
        if d.choice == "limited-accuracy"
        else d.note
        for d in serious
    )
    coarse = sorted({r.answer.dtype for r in records if r.unit > UNIT_ROUNDOFF["float64"]})
    if coarse and not text:
        text = f"answers in {' and '.join(coarse)}"
    if unsupported:
        more = f"{plural(len(unsupported), 'problem')} unsupported: {unsupported[0]}"
        text = f"{text}; {more}" if text else more
    return _result(quantity, status, records, fit, diagnosis=diagnosis, reason=text)


def _as_accurate_as_below(state: Run, quantity: str, records: Sequence[Record], fit: Fit) -> Fit:
    """Where g, F or V are themselves right to a limited accuracy, so is x: that says nothing about
    how it was solved for."""
    stops = fit.choices.get("cg_stopping") == "tolerance"
    if not stops and ("cg_iterations" in state.declared or not fit.choices.get("cg_iterations")):
        return fit
    below = [f for q, f in state.chosen.items() if f is not None and q not in SOLVES]
    if not any(f.choices.get("solver_rtol") for f in below):
        return fit
    solver = ("cg_stopping", "cg_iterations")
    kept = {stage: value for stage, value in fit.choices.items() if stage not in solver}
    solved = rescore(quantity, records, kept)
    # what was stopped after k iterations and shows it agrees to fewer digits than this
    solves = stops or solved.digits >= SINGLE_DIGITS
    return as_limited_accuracy(solved) if solves and math.isfinite(solved.accuracy) else fit


def _as_gradient(state: Run, quantity: str, found: Diagnosis) -> Diagnosis:
    """One iteration of conjugate gradient gives a multiple of g: a step of fixed KL shows no more,
    and the direction itself was not asked for."""
    step = quantity in ("trust_region_proposal", "trust_region_step")
    if not step or "natural_gradient" in state.chosen:
        return found
    if found.choice != "truncated-cg" or found.value != 1.0:
        return found
    return replace(found, alternatives=("preconditioner-not-applied",))


def _with_equals(
    quantity: str, records: Sequence[Record], fit: Fit, diagnosis: tuple[Diagnosis, ...]
) -> tuple[Diagnosis, ...]:
    """Line searches that accept the same steps on every problem asked are one class: the
    quadratic model underestimates KL by a tenth at most there, so no step has KL > 1.5 max_kl."""
    if not any(d.stage == "line_search" for d in diagnosis):
        return diagnosis
    rules = [v for (s, v), c in CHOICES.items() if s == "line_search" and not c.default]
    others = tuple(
        choice("line_search", rule).name
        for rule in rules
        if rule != fit.choices["line_search"]
        and rule in (*RULES, OVERWRITTEN)
        and rescore(quantity, records, {**fit.choices, "line_search": rule}).fits
    )
    return tuple(
        replace(d, alternatives=others) if d.stage == "line_search" else d for d in diagnosis
    )


def _too_few(state: Run, quantity: str, records: Sequence[Record]) -> str:
    """Why this many problems do not make a pass, or ""."""
    if state.single:
        return ""
    telling = set()
    features = False
    for record in records:
        problem = record.reference.problem
        if not QUANTITIES[quantity].takes_problem or problem.discount >= 0.5:
            telling.add(record.probe.position)
            features |= problem.family != "tabular"
    if len(telling) < ENOUGH:
        return f"only {len(telling)} problems judged that could tell; a pass needs {ENOUGH}"
    if not features and set(state.families) != {"tabular"} and QUANTITIES[quantity].takes_problem:
        return "no problem with shared features was judged"
    return ""


def _inconsistent(state: Run, quantity: str, records: Sequence[Record], own: Fit) -> CheckResult:
    """It fits, but only under other conventions than the rest of the subject."""
    apart = contradicts(state.vector, quantity, own.choices)
    mine = ", ".join(_phrase(stage, value) for stage, value, _ in apart)
    rest = ", ".join(_phrase(stage, value) for stage, _, value in apart)
    base = expected(state, quantity, records)
    shown = _as_accurate_as_below(state, quantity, records, own)
    return _result(
        quantity,
        "fail",
        records,
        rescore(quantity, records, base),
        kind="consistency",
        diagnosis=(*_apart(apart), *diagnose(shown.choices)),
        reason=f"right only with {mine}, while the other quantities have {rest}"
        if mine
        else "right only under conventions that the other quantities do not share",
    )


def _apart(found: Sequence[tuple[str, Any, Any]]) -> tuple[Diagnosis, ...]:
    """The names of disagreements between the quantities."""
    names = dict.fromkeys(_DISAGREE[stage] for stage, _, _ in found if stage in _DISAGREE)
    entries = [BY_NAME[name] for name in names]
    return tuple(Diagnosis(c.stage, c.name, c.kind, None, c.said()) for c in entries)


_DISAGREE = {
    "weighting": "weights-differ-between-F-and-g",
    "damping": "two-dampings",
    "fisher_scale": "scales-differ-between-quantities",
    "gradient_factor": "scales-differ-between-quantities",
}


def _phrase(stage: str, value: Any) -> str:
    names = {"fisher_scale": "F", "gradient_factor": "g", "weighting": "weighting"}
    if stage == "damping":
        return f"λ = {value:.6g}" if value else "λ = 0"
    if stage == "gradient_factor":
        return "g = ∇J" if value == "1/(1-gamma)" else "g = (1−γ)∇J"
    if stage == "cg_iterations":
        return f"{value} CG iterations" if value else "a converged solve"
    return f"{names.get(stage, stage)} {value}"


def _refuted(state: Run, quantity: str, records: Sequence[Record]) -> CheckResult:
    """No choice explains the answers."""
    broken = state.undeclared.get(quantity)
    if broken:
        found = diagnose(broken[0].choices)
        stated = ", ".join(f"{k}={v!r}" for k, v in _broken(state, quantity, broken[0].choices))
        text = "; ".join(d.note for d in found if d.kind != "free") or "the contract's own choices"
        fit = rescore(quantity, records, expected(state, quantity, records))
        return _result(
            quantity,
            "fail",
            records,
            fit,
            diagnosis=found,
            reason=f"declares {stated or 'conventions'} but its answers follow {text}",
        )
    from npgcheck.conformance.facts import describe_error

    if any(r.status == "fail" for r in _twice(state, quantity)):
        fit = rescore(quantity, records, expected(state, quantity, records))
        return _result(quantity, "fail", records, fit, reason=NOT_REPEATABLE)
    options = [(rescore(quantity, records, c), c) for c in _bases(state, quantity, records)]
    reason, base = describe_error(quantity, records, options)
    state.described[quantity] = base
    fit = next(fit for fit, choices in options if choices is base)
    return _result(quantity, "fail", records, fit, reason=reason)


#: What can be said of numbers that are others when asked again.
NOT_REPEATABLE = "the numbers are others in every call"


def _bases(state: Run, quantity: str, records: Sequence[Record]) -> list[dict[str, Any]]:
    """The conventions of :func:`expected`, and, where no answer is right under them, all others
    that are free, read what the subject reads, and contradict no other quantity."""
    first = expected(state, quantity, records)
    if rescore(quantity, records, first).agreeing > 0.0 and quantity != "policy_gradient":
        return [first]
    read = state.collector.found[quantity].accessed or {"mdp"}
    others = [
        c
        for c in explainer_of(quantity).candidates(records, state.sampled(quantity))
        if c != first
        and c.get("sampled", "mdp") in read
        and c.get("advantage", "advantage") == "advantage"
        and not contradicts(state.vector, quantity, c)
        and all(d.kind == "free" for d in diagnose(c))
    ]
    return [first, *others[:OTHER_BASES]]


#: Readings of one refuted function that are tried besides the likeliest.
OTHER_BASES = 4


def _broken(state: Run, quantity: str, choices: dict[str, Any]) -> list[tuple[str, Any]]:
    """The declared conventions that these choices contradict."""
    held = explainer_of(quantity).pinned(state.declared)
    numbers = {s for s, v in held.items() if not same_number(float(choices.get(s, 0)), float(v))}
    keywords = {KEYWORD[stage] for stage in numbers}
    if numbers & {"damping", "damping_in_fisher"}:
        keywords.add("damping_in")
    return [
        (name, value)
        for name, value in state.declared.items()
        if name in keywords or not compatible(choices, {name: value})
    ]


def expected(state: Run, quantity: str, records: Sequence[Record]) -> dict[str, Any]:
    """The choices that a refuted quantity is compared under: nearest to its answers among those
    that the other quantities allow, the contract's own when nothing is near."""
    # A mistake that reproduces some answers by a far-fetched choice is not that choice.
    options = [
        f
        for f in state.explanations[quantity].nearest
        if not contradicts(state.vector, quantity, f.choices)
        and all(d.kind == "free" for d in diagnose(f.choices))
    ]
    read = state.collector.found[quantity].accessed
    options.sort(
        key=lambda f: (
            -round(f.agreeing, 1),
            f.choices.get("sampled", "mdp") not in (read or {"mdp"}),
            f.cost,
        )
    )
    if options:
        return options[0].choices
    candidates = list(explainer_of(quantity).candidates(records, state.sampled(quantity)))
    fitting = [c for c in candidates if not contradicts(state.vector, quantity, c)]
    read = state.collector.found[quantity].accessed or {"mdp"}
    own = [c for c in fitting or candidates if c.get("sampled", "mdp") in read]
    return min(own or fitting or candidates, key=cost)


def without_bugs(choices: dict[str, Any]) -> dict[str, Any]:
    """The same choices with every named mistake mended."""
    return {
        stage: value
        for stage, value in choices.items()
        if stage.startswith("_") or choice(stage, value).kind != "bug"
    }


def rescore(quantity: str, records: Sequence[Record], choices: dict[str, Any]) -> Fit:
    """Judges every record under the given choices."""
    explainer = explainer_of(quantity)
    list(explainer.candidates(records, ("mdp",)))  # lets it see the anchors
    return score(explainer, records, choices)


def _result(
    quantity: str,
    status: Any,
    records: Sequence[Record],
    fit: Fit | None,
    *,
    kind: str = "value",
    diagnosis: tuple[Diagnosis, ...] = (),
    reason: str = "",
) -> CheckResult:
    titles = {
        "value": "against the exact value",
        "consistency": "with the other quantities' conventions",
    }
    return CheckResult(
        id=check_id(quantity, kind),
        quantity=quantity,
        title=titles[kind],
        status=status,
        kind=kind,  # type: ignore[arg-type]
        problems=len({r.probe.position for r in records}),
        worst=fit.worst if fit else 0.0,
        digits=fit.digits if fit else 0.0,
        diagnosis=diagnosis,
        reason=reason,
        refuted_after=_first_refuted(records, fit) if status == "fail" and fit else None,
    )


def _first_refuted(records: Sequence[Record], fit: Fit) -> int | None:
    """How many problems had been asked when the first was refuted, counted from one."""
    asked: list[int] = []
    refuted = set(fit.refuted)
    for index, record in enumerate(records):
        if record.probe.position not in asked:
            asked.append(record.probe.position)
        if index in refuted:
            return len(asked)
    return None


def first_refutation(records: Sequence[Record], fit: Fit) -> tuple[Record, Judged] | None:
    """The smallest refuted record, by the size of its problem; the largest error among equals."""
    refuted = [(records[i], j) for i in fit.refuted if (j := fit.judged[i]) is not None]
    return min(refuted, key=lambda rj: (rj[0].answer.value.size, -rj[1].ratio), default=None)  # type: ignore[union-attr]
