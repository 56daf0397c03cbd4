"""One number: ``npgcheck.judge("natural_gradient", problem, x)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.answer import Answer, WrongAnswerError, receive
from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.fitting import Fit, Record, explain
from npgcheck.conformance.naming import diagnose
from npgcheck.conformance.probes import Probe
from npgcheck.conformance.pure_problems import PureProblem
from npgcheck.conformance.reference import Reference
from npgcheck.conformance.report import Diagnosis
from npgcheck.conventions import Conventions
from npgcheck.errors import UsageError, nearest

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was found about one answer.

    Attributes:
        status: ``pass``, ``deviates`` or ``fail``.
        error_over_budget: error divided by the error budget; above 1 refutes.
        digits: −log₁₀ of the relative error.
        exact: the reference answer under the choices named in ``diagnosis``, in its shape.
        diagnosis: the choices that explain the answer, where they are not the contract's own. One
            answer on one problem leaves several explanations open; the simplest is given.
        reason: the verdict in words.
    """

    status: str
    error_over_budget: float
    digits: float
    exact: Array
    diagnosis: tuple[Diagnosis, ...]
    reason: str

    def __bool__(self) -> bool:
        return self.status == "pass"

    def __str__(self) -> str:
        named = "; ".join(d.note for d in self.diagnosis if d.kind != "free")
        more = f" ({named})" if named else ""
        return (
            f"{self.status}: {self.reason}{more}, error {self.error_over_budget:.2g} × budget, "
            f"{self.digits:.1f} digits agree"
        )


def judge_one(
    quantity: str, problem: Any, answer: Any, args: tuple[Any, ...], conventions: dict[str, Any]
) -> Judgement:
    """Judges one answer; see :func:`npgcheck.judge`."""
    if quantity not in QUANTITIES:
        raise UsageError(
            f"no quantity {quantity!r}.{nearest(quantity, QUANTITIES)} "
            f"Known: {', '.join(QUANTITIES)}."
        )
    declared = Conventions(**conventions).declared()
    record = _record(quantity, problem, answer, args)
    own = {declared["sampled"]} if "sampled" in declared else {"mdp", "batch"}
    sampled = [s for s in ("mdp", "batch", "episodes") if s in own]
    found = explain(explainer_of(quantity), [record], sampled, declared)
    rounded = "solver_rtol" in declared
    strict = [f for f in found.fitting if rounded or "solver_rtol" not in f.choices]
    if strict:
        return _judgement(record, strict[0], declared)
    if not found.nearest and not found.fitting:
        raise UsageError(f"{quantity} cannot be judged on this problem under {conventions}.")
    nearest_fit = (found.nearest or found.fitting)[0]
    return _judgement(record, nearest_fit, declared, refuted=True)


def _record(quantity: str, problem: Any, answer: Any, args: tuple[Any, ...]) -> Record:
    contract = QUANTITIES[quantity]
    wanted = contract.parameters[1:] if contract.takes_problem else contract.parameters
    if len(args) != len(wanted):
        raise UsageError(
            f"judge({quantity!r}, problem, answer, …) needs {len(wanted)} further argument"
            f"{'' if len(wanted) == 1 else 's'} ({', '.join(wanted) or 'none'}); got {len(args)}."
        )
    if quantity in ("train", "surrogate"):
        raise UsageError(
            f"{quantity} is several answers in one; judge them through npgcheck.verify."
        )
    args = tuple(np.asarray(a, dtype=float) if isinstance(a, list) else a for a in args)
    reference: Any
    if contract.takes_problem:
        if problem is None:
            raise UsageError(f"judge({quantity!r}, …) needs a problem.")
        reference = Reference(problem)
    else:
        problem = PureProblem("p-000000", "your arguments", args)
        reference = problem.build_reference()
    shape = contract.shape_for(problem if contract.takes_problem else None, *args)
    try:
        value, dtype = receive(answer, shape)
    except WrongAnswerError as error:
        raise UsageError(f"{quantity}: {error.fault.message}.") from None
    return Record(Probe(quantity, problem, args, shape), Answer(value, dtype), reference)


def _judgement(
    record: Record, fit: Fit, declared: dict[str, Any], refuted: bool = False
) -> Judgement:
    judged = next((j for j in fit.judged if j is not None), None)
    if judged is None:
        raise UsageError("this problem does not define the measure that was declared.")
    diagnosis = diagnose(fit.choices)
    serious = [d for d in diagnosis if d.kind != "free" and d.stage not in declared]
    if refuted:
        status, reason = "fail", "the exact answer is another"
    elif any(d.kind == "bug" for d in serious):
        status, reason = "fail", "a known mistake reproduces it"
    elif serious:
        status, reason = "deviates", "right under a named choice"
    else:
        status, reason = "pass", "right"
    return Judgement(
        status,
        judged.ratio,
        judged.digits,
        np.asarray(judged.exact),
        () if refuted else diagnosis,
        reason,
    )
