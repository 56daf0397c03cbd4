"""The smallest disagreement: a refutation is shown on the simplest problem that shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.conformance.collect import Collected, explainer_of
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.fitting import Judged, Record
from npgcheck.conformance.report import CheckResult, Counterexample
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.verdicts import expected, first_refutation, rescore, without_bugs

#: Among problems of one size, this many are tried, and the largest error is shown.
SAME_SIZE = 8


def smallest(state: Run, result: CheckResult) -> CheckResult:
    """Adds the smallest counterexample to a refuted value or consistency check."""
    if result.kind not in ("value", "consistency"):
        return result
    quantity = result.quantity
    records = state.judgeable(quantity)
    fit = state.fit(quantity)  # a named mistake is shown beside the same choices without it
    # Facts count the answers of the run: an example from outside could contradict them.
    facts = None if fit or result.diagnosis else state.described.get(quantity)
    known = facts or state.compared.get(quantity)
    choices = without_bugs(fit.choices) if fit else known or expected(state, quantity, records)
    outside = not state.single and facts is None
    found = _from_catalogue(state, quantity, choices) if outside else None
    if found is None:
        found = first_refutation(records, rescore(quantity, records, choices))
    if found is None:
        return result
    record, judged = found
    problem = record.probe.problem
    return replace(
        result,
        counterexample=Counterexample(
            problem_id=problem.id,
            description=_describe(problem, record.probe.label),
            yours=np.asarray(record.value, dtype=float).ravel().tolist(),
            exact=np.asarray(judged.exact, dtype=float).ravel().tolist(),
            error_over_budget=judged.ratio,
            digits=judged.digits,
            problem=problem.to_json(),
            note=judged.note,
        ),
    )


def _describe(problem: Any, label: str) -> str:
    text = problem.describe()
    return f"{text}; {label}" if label and label != "plain" else str(text)


def _from_catalogue(
    state: Run, quantity: str, choices: dict[str, Any]
) -> tuple[Record, Judged] | None:
    """Walks the catalogue, smallest first, to the first refutation, then maximises the error
    among the problems of that size."""
    from npgcheck import problem_sets

    if not QUANTITIES[quantity].takes_problem or quantity == "train":
        return None
    best: tuple[Record, Judged] | None = None
    size: tuple[int, ...] | None = None
    tried = 0
    explainer = explainer_of(quantity)
    for family in state.families:
        if family == "own" or family in QUANTITIES[quantity].not_asked:
            continue
        for problem in problem_sets.catalogue(family):
            here = (problem.num_states, len(problem.theta))
            if best is not None and (here != size or tried >= SAME_SIZE):
                return best
            tried += best is not None
            collected = Collected()
            state.collector._one_problem(quantity, problem, 0, collected, repeat=False)
            list(explainer.candidates(collected.records, ("mdp",)))
            for record in collected.records:
                judged = explainer.judge(record, choices)
                if judged is None or judged.ratio <= 1.0:
                    continue
                if best is None or judged.ratio > best[1].ratio:
                    best, size = (record, judged), here
        if best is not None:
            return best
    return None
