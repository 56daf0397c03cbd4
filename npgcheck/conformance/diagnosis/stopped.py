"""Conjugate gradient that stops at a loose tolerance, recognised by the one that it stops at.

Each answer is an iterate of the textbook recurrence. Where there is one number that the residual of
every answer is below, and that of no earlier iterate is, the iteration stops at that number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from npgcheck.conformance.atlas.recurrences import run
from npgcheck.conformance.choices import BY_NAME, present
from npgcheck.conformance.diagnosis.asked import pose
from npgcheck.conformance.diagnosis.pipeline import OUTSIDE
from npgcheck.conformance.diagnosis.question import Question
from npgcheck.conformance.diagnosis.search import TELLING, Search
from npgcheck.conformance.diagnosis.setup import Setup, relative
from npgcheck.conformance.diagnosis.solve import system, visible
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.layers import common_lower, failing
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.round_numbers import first_round
from npgcheck.conformance.run_state import Run

Array = np.ndarray

NAME = "cg-stopped-at-a-tolerance"
X, SOLVER = "natural_gradient", "conjugate_gradient"
#: Iterates drift apart by this part, at most, where the product is computed in another order.
DRIFT = 1e-5
#: … or by this part where F is badly conditioned; then their residuals differ by no more than this
#: part of what is left.
FAR, NEAR = 1e-3, 0.03
#: Where F is worse still, an answer may have strayed from every iterate: one, and this part of all.
STRAYED = 0.02
#: More iterations than this are not followed.
MOST = 200
#: A tolerance in use, and how far from it the residual of rounded iterates may be.
LOOSEST = 0.5
SLACK = 1e-3
#: Answers with a smaller residual have converged, and tell nothing.
CONVERGED = 1e-7
SETUPS = 8


@dataclass(frozen=True)
class _Stop:
    """Relative residuals: of the answer, and the least of all iterates before it."""

    reached: float
    before: float


def name_early_stops(state: Run, search: Search) -> set[str]:
    """Names solves that stop at a tolerance, and returns them and those that follow from them."""
    entry = BY_NAME[NAME]
    found: set[str] = set()
    if entry not in present() or state.declared.get("solver_rtol"):
        return found
    for quantity in (X, SOLVER):
        if quantity not in state.results or not _nameless(state, quantity):
            continue
        told = _tolerance(state, search, quantity)
        if told is None:
            continue
        limit, count = told
        matrix, right = ("F", "g") if quantity == X else ("M", "b")
        note = f"{entry.said()}: ‖{matrix}x − {right}‖ ≤ {limit:.6g} ‖{right}‖"
        named = Diagnosis(entry.stage, entry.name, entry.kind, None, note, reproduces=count)
        alike = [quantity]
        if quantity == X:
            alike += [q for q in SOLVES if q != X and q in state.results and _follows(state, q)]
        for q in alike:
            state.results[q] = [_named(r, named) for r in state.results[q]]
        found.update(alike)
    return found


def _nameless(state: Run, quantity: str) -> bool:
    values = [r for r in state.results[quantity] if r.kind == "value"]
    return any(r.status == "fail" and not (r.diagnosis or r.explained_by) for r in values)


def _follows(state: Run, quantity: str) -> bool:
    """Whether a solve is wrong in no other way than x is."""
    return failing(state, quantity) and common_lower(state, quantity) == X


def _named(result: CheckResult, named: Diagnosis) -> CheckResult:
    if result.kind != "value" or result.status != "fail":
        return result
    return replace(
        result, status="deviates", diagnosis=(named,), reason=named.note, refuted_after=None
    )


def _tolerance(state: Run, search: Search, quantity: str) -> tuple[float, int] | None:
    """The tolerance that explains every answer, and how many of them show it."""
    if quantity == SOLVER:
        return _one_number([_of_call(r) for r in state.judgeable(SOLVER)])
    posed = pose(state, X)
    for setup in () if posed is None else posed.likely[:SETUPS]:
        found = None if posed is None else _one_number(list(_of_solves(search, posed, setup)))
        if found is not None:
            return found
    return None


def _one_number(stops: list[_Stop | None]) -> tuple[float, int] | None:
    low, high, told = 0.0, LOOSEST, 0
    strayed, most = 0, 1 + int(STRAYED * len(stops))
    for stop in stops:
        if stop is None:
            strayed += 1
            if strayed > most:
                return None
            continue
        low, high = max(low, stop.reached), min(high, stop.before)
        if low > high * (1.0 + SLACK):
            return None
        told += stop.reached > CONVERGED
    if told < TELLING:
        return None
    middle = float(np.sqrt(low * high))
    limit = first_round(middle, lambda n: low * (1.0 - SLACK) <= n <= high * (1.0 + SLACK))
    return (middle if limit is None else limit), told


def _of_call(record: Record) -> _Stop | None:
    """How one call of the solver stopped; one that ran all its iterations says less."""
    matrix, b, iterations = record.probe.args
    if not np.any(b):
        return _Stop(0.0, LOOSEST) if not np.any(record.value) else None
    return _stop(matrix, b, record.value, np.eye(len(b)), int(iterations))


def _of_solves(search: Search, asked: Question, setup: Setup) -> Iterator[_Stop | None]:
    """How each solve stopped, under the conventions of the setup."""
    for record in asked.records:
        view = search.pipelines.view(record, setup.base, ())
        if view is None:
            continue
        try:
            solve = system(view, setup)
        except OUTSIDE:
            yield None
            continue
        if solve is None:
            yield None
        elif np.any(solve.right):
            seen = np.stack([visible(view, e) for e in np.eye(len(solve.right))], axis=1)
            yield _stop(solve.matrix, solve.right, record.value, seen, MOST)


def _stop(matrix: Array, right: Array, x: Array, visible_part: Array, most: int) -> _Stop | None:
    """Where the iteration was when it returned x, or None where x is none of its iterates."""
    size, before = float(np.linalg.norm(right)), LOOSEST
    right, x = right / size, x / size
    here = visible_part @ x
    for count, state in enumerate(run(matrix, right), start=1):
        left = float(np.linalg.norm(matrix @ state.x - right))
        apart = relative(here, visible_part @ state.x)
        if apart > DRIFT and apart <= FAR:
            image = float(np.linalg.norm(matrix @ (x - state.x)))
            apart = 0.0 if image <= NEAR * left else apart
        if apart <= DRIFT:
            # The last iteration that was asked for ends without having reached the tolerance.
            return _Stop(0.0 if count == most else left, before)
        before = min(before, left)
        if count == most or left < CONVERGED:
            break
    return _Stop(CONVERGED, before) if _solved(matrix, right, x) else None


def _solved(matrix: Array, right: Array, x: Array) -> bool:
    with np.errstate(over="ignore"):  # a run that diverged has solved nothing
        left = float(np.linalg.norm(matrix @ x - right))
    return left <= CONVERGED * float(np.linalg.norm(right))
