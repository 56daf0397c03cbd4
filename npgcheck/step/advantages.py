"""Are the advantages of a recorded rollout what its rewards, values and flags make them?

    δ_t = r_t + γ (1 − terminated_t) V(s_{t+1}) − V(s_t)
    Â_t = Σ_l (γλ)^l δ_{t+l}  within the episode

Source: Schulman, Moritz, Levine, Jordan & Abbeel, High-dimensional continuous control using
generalized advantage estimation (2016), eq. 16.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import npgcheck
from npgcheck.conformance.atlas.rollouts import EQUAL
from npgcheck.conformance.check_ids import LATEST, NUMBERED, check_id
from npgcheck.conformance.choices import BY_NAME, choice
from npgcheck.conformance.explainers.pure import DROPPED_RULES
from npgcheck.conformance.explainers.rollout import RolloutEstimate, RolloutReturn, form_of
from npgcheck.conformance.fitting import Fit, Judged, Record, explain
from npgcheck.conformance.guard import Answer
from npgcheck.conformance.naming import diagnose
from npgcheck.conformance.probes import Probe
from npgcheck.conformance.pure_problems import PureProblem
from npgcheck.conformance.report import CheckResult, Counterexample, Diagnosis, Report, count
from npgcheck.conformance.rollout_facts import describe_rollout
from npgcheck.conventions import Conventions
from npgcheck.errors import UsageError
from npgcheck.step import arrays
from npgcheck.step.rollout import read_rollout
from npgcheck.tolerance import UNIT_ROUNDOFF, unit_roundoff

Array = np.ndarray

ESTIMATE, RETURN = "advantage_estimate", "returns"
SHOWN = 6
#: A scaling that nothing declares.
UNDECLARABLE = choice("advantage", "scaled").name
#: Where another γ enters, by the form of the mistake.
_PLACES = {1: ", in the residuals alone", 2: ", where later residuals are weighed"}
#: Mistakes that may amount to another γ: their name → that γ.
_AS_DISCOUNT = {"undiscounted-reward-to-go": 1.0, "reward-as-critic": 0.0}


def check_advantages(
    advantages: Any,
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    *,
    discount: float,
    lam: float,
    returns: Any = None,
    conventions: Conventions | None = None,
) -> Report:
    """Judges generalised advantage estimates, and value targets, on a rollout of one's own.

    All arrays have one shape: (T,) for trajectories one after the other, or (T, n) for n
    environments stepped together, time first. They may be numpy, torch or jax.

    Args:
        advantages: the estimates to be judged, raw or normalised over the whole batch.
        rewards: r_t.
        values: V(s_t).
        next_values: V(s_{t+1}) of the state that followed, before any reset; read nowhere where
            the step terminated.
        terminated: the episode ended in the MDP at this step: nothing follows.
        truncated: the recording was cut after this step: a time limit, or the end of a trajectory
            when trajectories are concatenated. The last row needs no flag.
        discount: γ in [0, 1].
        lam: λ in [0, 1].
        returns: value targets: λ-returns Â_t + V(s_t), or discounted returns.
        conventions: what is meant, ``Conventions(advantage="normalised")`` for instance; where
            nothing is said about normalisation, it is inferred.

    Returns:
        A report with the quantity ``advantage_estimate`` and, where given, ``returns``.

    Raises:
        InvalidArgument: shapes that differ, NaN in what is not judged, γ or λ outside [0, 1].
        UsageError: ``conventions`` is something else.
    """
    started = time.perf_counter()
    declared = _declared(conventions)
    args, coarsest = read_rollout(
        rewards, values, next_values, terminated, truncated, discount, lam
    )
    results, invisible = _judge(ESTIMATE, advantages, args, coarsest, declared)
    if returns is not None:
        results += _judge(RETURN, returns, args, coarsest, {})[0]
        results = _layered(results, advantages, returns, args[1])
    named = [d for r in results for d in r.diagnosis if r.status == "deviates"]
    declare = next((_declaration(d) for d in named if d.stage == "advantage"), "")
    rows = f"{args[0].shape[0]:,} steps"
    if args[0].ndim > 1:
        rows += f" of {args[0].shape[1]} environments"
    return Report(
        passed=all(r.status != "fail" for r in results),
        target=f"advantages · {rows}, γ = {discount:g}, λ = {lam:g}",
        results=tuple(results),
        conventions=declared or {d.stage: _value_of(d) for d in named if d.stage == "advantage"},
        counts=count(results, problems=1),
        not_visible=invisible,
        seed=0,
        version=npgcheck.__version__,
        seconds=time.perf_counter() - started,
        families=(),
        checks=LATEST,
        detection_floor=0.0,
        declare=declare,
        door="check_step",
    )


def _declared(conventions: Conventions | None) -> dict[str, Any]:
    """What was said about normalisation; the other conventions are not asked here."""
    if conventions is None:
        return {}
    if not isinstance(conventions, Conventions):
        raise UsageError(
            f"conventions must be npgcheck.Conventions(…), got {type(conventions).__name__}."
        )
    scaling = conventions.advantage
    return {"advantage": scaling} if scaling in RolloutEstimate.scalings else {}


# ---- verdicts -----------------------------------------------------------------------------------


def _judge(
    quantity: str, given: Any, args: tuple[Any, ...], coarsest: str, declared: dict[str, Any]
) -> tuple[list[CheckResult], tuple[str, ...]]:
    """The contract and the value of one quantity, and what its rows cannot show."""
    name = "advantages" if quantity == ESTIMATE else "returns"
    value, dtype = arrays.any_numbers(given, name)
    fault = ""
    if value.shape != args[0].shape:
        fault = f"{name} has shape {value.shape}, rewards {args[0].shape}"
    elif not np.isfinite(value).all():
        fault = f"{name} holds NaN or infinity in {int((~np.isfinite(value)).sum())} entries"
    contract = _result(quantity, "contract", "fail" if fault else "pass", reason=fault)
    if fault:
        return [replace(contract, worst=np.inf)], ()
    if unit_roundoff(coarsest) > unit_roundoff(dtype):
        dtype = coarsest  # arithmetic on float32 values is float32 arithmetic
    problem = PureProblem("rollout", "your rollout", args, discount=args[5])
    probe = Probe(ESTIMATE, problem, args, value.shape)
    reference: Any = problem.build_reference()
    record = Record(probe, Answer(value, dtype), reference)
    explainer = RolloutEstimate() if quantity == ESTIMATE else RolloutReturn()
    found = explain(explainer, [record], ("mdp",), declared)
    if found.fitting:
        result = _explained(quantity, found.fitting, declared, record)
    else:
        plain = {"advantage": declared.get("advantage", "advantage")}
        judged = explainer.judge(record, plain) or explainer.judge(
            record, {"advantage": "advantage"}
        )
        result = _refuted(quantity, record, judged, declared)
    if result.status == "fail":
        right = _right(explainer, record, result, declared)
        result = replace(
            result,
            counterexample=_excerpt(record, right),
            worst=right.ratio,
            digits=right.digits,
        )
    return [result, contract], _invisible(record) if quantity == ESTIMATE else ()


def _explained(
    quantity: str, fitting: Sequence[Fit], declared: dict[str, Any], record: Record
) -> CheckResult:
    """Right, right under a named choice, or a known mistake."""
    fit = fitting[0]
    named = _diagnosis(fit.choices, record)
    bugs = [d for d in named if d.kind == "bug"]
    if bugs:
        others = (*_equals(fitting), *_as_other_discount(fit, record))
        equals = dict.fromkeys((*named[0].alternatives, *others))
        named = (replace(named[0], alternatives=tuple(equals)), *named[1:])
    open_ = [
        d for d in named if d.kind in ("convention", "approximation") and d.stage not in declared
    ]
    undeclarable = any(d.choice == UNDECLARABLE for d in open_)
    status = "fail" if bugs or undeclarable else "deviates" if open_ else "pass"
    text = "; ".join(d.note for d in (bugs or open_))
    if not text and record.unit > UNIT_ROUNDOFF["float64"]:
        text = f"in {record.answer.dtype}"
    if quantity == RETURN and not bugs:
        kind = "discounted returns" if fit.choices.get("_basis") else "λ-returns"
        text = f"{kind}; {text}" if text else kind
    return _result(quantity, "value", status, fit, named, text)


def _equals(fitting: Sequence[Fit]) -> tuple[str, ...]:
    """Other single mistakes that explain these rows as well; numbers explain anything."""
    mistakes = [
        frozenset(d.choice for d in diagnose(f.choices) if d.kind == "bug")
        for f in fitting
        if f.cost <= fitting[0].cost + 1e-9
    ]
    others = {names for names in mistakes if names != mistakes[0]}
    weak = {n for names in others for n in names if BY_NAME[n].weak}
    found = {" + ".join(sorted(names)) for names in others if not names & weak}
    whole = not fitting[0].choices.get("_form")  # in one place it has no other name
    if len(mistakes[0]) == 1 and whole:
        found.update(*(EQUAL.get(name, ()) for name in mistakes[0]))
    return tuple(sorted(found))


def _as_other_discount(fit: Fit, record: Record) -> tuple[str, ...]:
    """Whether the same numbers are right estimates for another γ."""
    number = _AS_DISCOUNT.get(fit.choices.get("_mistake", ""))
    if number is None:
        return ()
    scaling = fit.choices["advantage"]
    judged = RolloutEstimate().judge(record, {"advantage": scaling, "gae_discount": number})
    return ("gae-other-discount",) if judged is not None and judged.ratio <= 1.0 else ()


def _refuted(
    quantity: str, record: Record, judged: Judged | None, declared: dict[str, Any]
) -> CheckResult:
    if judged is None:  # pragma: no cover - the plain estimate is always defined
        raise UsageError(f"{quantity} cannot be judged on these rows.")
    if declared.get("advantage"):
        free = explain(RolloutEstimate(), [record], ("mdp",), {}).fitting
        if free and free[0].choices["advantage"] != declared["advantage"]:
            text = "; ".join(d.note for d in _diagnosis(free[0].choices, record))
            stated = f"declares advantage={declared['advantage']!r}"
            reason = f"{stated} but the rows hold {text or 'raw estimates'}"
            return _result(quantity, "value", "fail", free[0], (), reason)
    target = record
    if quantity == RETURN:
        values = record.probe.args[1]
        answer = Answer(record.value - values, record.answer.dtype)
        target = Record(record.probe, answer, record.reference)
        judged = replace(judged, exact=judged.exact - values)
    return _result(quantity, "value", "fail", None, (), describe_rollout(target, judged))


def _right(
    explainer: RolloutEstimate, record: Record, result: CheckResult, declared: dict[str, Any]
) -> Judged:
    """The comparison with what is right, under the scaling that the answer has or declares."""
    scaling = declared.get("advantage") or next(
        (_value_of(d) for d in result.diagnosis if _is_scaling(d)), "advantage"
    )
    plain = explainer.judge(record, {"advantage": "advantage"})
    judged = explainer.judge(record, {"advantage": scaling}) or plain
    if judged is None:  # pragma: no cover - the plain estimate is always defined
        raise UsageError("these rows define no estimate.")
    return judged


def _diagnosis(choices: dict[str, Any], record: Record) -> tuple[Diagnosis, ...]:
    """As for `verify`, with what was said beside λ and γ, of which zero is a value like others."""
    said = {"gae_discount": ("γ", record.probe.args[5]), "gae_lam": ("λ", record.probe.args[6])}
    found = [
        _in_estimates(d, choices)
        for d in diagnose({k: v for k, v in choices.items() if k not in said})
    ]
    for stage, (symbol, number) in said.items():
        if stage in choices:
            place = _PLACES.get(choices.get("_form", 0), "")
            note = f"computed with {symbol} = {choices[stage]:.6g}, not {number:g}{place}"
            entry = choice(stage, choices[stage])
            found.append(Diagnosis(stage, entry.name, "bug", float(choices[stage]), note))
    return tuple(sorted(found, key=lambda d: d.kind != "bug"))


def _in_estimates(found: Diagnosis, choices: dict[str, Any]) -> Diagnosis:
    """A mistake in the words of its form, with the number that it carries."""
    if found.choice != choices.get("_mistake"):
        return found
    number = choices.get("_number")
    note = form_of(choices).said(number)
    if found.choice == "gae-gamma-lambda-swapped":
        # λ in the place of γ is another γ in the residuals as well: γλ is what it was.
        equal = ("gae-other-discount",)
        return replace(found, note=note, alternatives=equal)
    return replace(found, value=None if number is None else float(number), note=note)


def _layered(
    results: list[CheckResult], advantages: Any, returns: Any, values: Array
) -> list[CheckResult]:
    """Wrong returns with the advantages' own mistake, or equal to them plus V, are explained."""
    by_id = {(r.quantity, r.kind): r for r in results}
    lower, upper = by_id.get((ESTIMATE, "value")), by_id.get((RETURN, "value"))
    if lower is None or upper is None or upper.status != "fail":
        return results
    mistakes = [
        {(d.choice, d.note) for d in r.diagnosis if d.kind == "bug"} for r in (lower, upper)
    ]
    if mistakes[0] and mistakes[0] == mistakes[1]:
        return [replace(r, explained_by=ESTIMATE) if r is upper else r for r in results]
    estimate, target = (arrays.any_numbers(a, "")[0] for a in (advantages, returns))
    size = float(np.abs(target).max() + np.abs(values).max())
    if float(np.abs(estimate + values - target).max()) > 1e-5 * size:
        return results
    if lower.status == "fail":
        new = replace(upper, explained_by=ESTIMATE)
    else:
        new = replace(upper, reason="V was added to the normalised advantages, not to the raw ones")
    return [new if r is upper else r for r in results]


def _invisible(record: Record) -> tuple[str, ...]:
    """The named mistakes that would change nothing on these rows."""
    explainer = RolloutEstimate()
    right = explainer.judge(record, {"advantage": "advantage"})
    missing = []
    for rule in DROPPED_RULES:
        other = explainer.raw(record, {"episode_ends": rule})
        if right is not None and float(np.abs(other - right.exact).max()) <= 2.0 * right.budget:
            missing.append(choice("episode_ends", rule).name)
    return (f"these mistakes, which change nothing on these rows: {', '.join(missing)}",) * bool(
        missing
    )


def _excerpt(record: Record, judged: Judged) -> Counterexample:
    """The rows around the first wrong entry."""
    wrong = np.argwhere(~(np.abs(record.value - judged.exact) <= judged.budget))
    first = wrong[0] if len(wrong) else np.zeros(record.value.ndim, dtype=int)
    start = max(0, min(int(first[0]) - 1, len(record.value) - SHOWN))
    rows = slice(start, start + SHOWN)
    index: Any = (rows, *(int(i) for i in first[1:]))
    stop = min(start + SHOWN, len(record.value)) - 1
    place = f"rows {start}–{stop}" + (f" of environment {first[1]}" if len(first) > 1 else "")
    return Counterexample(
        problem_id="rollout",
        description=place,
        yours=record.value[index].tolist(),
        exact=judged.exact[index].tolist(),
        error_over_budget=judged.ratio,
        digits=judged.digits,
    )


def _result(
    quantity: str,
    name: str,
    status: Any,
    fit: Fit | None = None,
    diagnosis: tuple[Diagnosis, ...] = (),
    reason: str = "",
) -> CheckResult:
    return CheckResult(
        id=check_id(quantity, name),
        quantity=quantity,
        title=NUMBERED[name][1],
        status=status,
        kind="value" if name == "value" else "contract",
        problems=1,
        worst=fit.worst if fit else 0.0,
        digits=fit.digits if fit else 0.0,
        diagnosis=diagnosis,
        reason=reason,
        refuted_after=1 if status == "fail" else None,
    )


def _is_scaling(diagnosis: Diagnosis) -> bool:
    """Whether a diagnosis names a scaling that may be meant."""
    return (
        diagnosis.stage == "advantage"
        and diagnosis.kind != "bug"
        and diagnosis.choice != UNDECLARABLE
    )


def _value_of(diagnosis: Diagnosis) -> str:
    """The value of the convention that a diagnosis names."""
    return next(
        value
        for value in RolloutEstimate.scalings
        if choice("advantage", value).name == diagnosis.choice
    )


def _declaration(diagnosis: Diagnosis) -> str:
    return f"conventions = npgcheck.Conventions(advantage={_value_of(diagnosis)!r})"
