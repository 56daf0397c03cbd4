"""A wrong ``conjugate_gradient`` of the subject's own explains the solves that are made with it.

Its number of iterations inside a solve is not known, so each in use is tried: an answer that one of
them reproduces in all its entries, on every problem tried, is that solver's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.layers import common_lower, damping_of, failing, refuted_records
from npgcheck.conformance.own_answers import OwnAnswers
from npgcheck.conformance.probes import Probe
from npgcheck.conformance.recompute import close
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.report import CheckResult
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.verdicts import NOT_REPEATABLE

Array = np.ndarray

SOLVER = "conjugate_gradient"
#: Numbers of iterations. After one of them many wrong recurrences give a multiple of g, which says
#: nothing about the solver.
ITERATIONS = (
    *range(2, 33), 35, 40, 45, 50, 60, 64, 70, 75, 80, 90, 100, 120, 128, 150, 200, 250, 256, 300,
    500, 512, 1000,
)  # fmt: skip
#: … and as multiples of D.
OF_SIZE = (1, 2, 3, 5, 10)
#: Wrong recurrences diverge, and amplify the rounding of the product.
SAME = 1e-6
#: Fewer entries than this may agree by chance.
ENOUGH = 3
#: So many problems with the most parameters are looked at beside small ones: on these ones a solver
#: has not converged.
LARGE = 2
#: Where both are so many times smaller or larger than the solution there is rounding error left, or
#: nothing but its amplification: then they agree in size at most, to so many decades.
NOISE = 1e-9
DECADES = 3.0


#: No plain solve of a singular F is so many times too large: an iteration has diverged.
DIVERGED = 1e24


class _Way(NamedTuple):
    """How a solve is made: whose F and g, with which λ, after how many iterations (0 where they
    may differ between problems), and with what factor."""

    fisher: str
    gradient: str
    damping: float
    iterations: int
    factor: str


def explain_by_solver(state: Run) -> set[str]:
    """The solves that follow from the subject's own wrong solver, ``explained_by`` filled in."""
    values = [r for r in state.results.get(SOLVER, ()) if r.kind == "value"]
    if not any(r.status in ("fail", "deviates") for r in values):
        return set()
    found: set[str] = set()
    for quantity in SOLVES:
        if quantity not in state.results or not failing(state, quantity):
            continue
        lower = common_lower(state, quantity) if found else None
        if lower is None and _is_made_with_it(state, quantity):
            lower = SOLVER
        if lower == SOLVER or lower in found:
            found.add(quantity)
            state.results[quantity] = [
                replace(r, explained_by=lower) if r.status == "fail" else r
                for r in state.results[quantity]
            ]
    return found


def follow_solver(state: Run, explained: set[str]) -> None:
    """Once the solver has its name: where that is no mistake, the solves made with it share it;
    and solves that are others in every call follow from one that draws its start."""
    solver = next((r for r in state.results.get(SOLVER, ()) if r.kind == "value"), None)
    if solver is None:
        return
    if solver.status == "deviates":
        for quantity in explained:
            state.results[quantity] = [_sharing(r, solver) for r in state.results[quantity]]
    if not any(d.choice == "random-start" for d in solver.diagnosis):
        return
    for quantity in (q for q in SOLVES if q in state.results and q not in explained):
        if is_random(state, quantity):
            state.results[quantity] = [
                replace(r, explained_by=SOLVER) if r.status == "fail" else r
                for r in state.results[quantity]
            ]


def _sharing(result: CheckResult, solver: CheckResult) -> CheckResult:
    if result.kind != "value" or result.status != "fail":
        return replace(result, explained_by=None)
    return replace(
        result,
        status=solver.status,
        diagnosis=solver.diagnosis,
        reason=solver.reason,
        explained_by=None,
        refuted_after=None,
    )


def is_random(state: Run, quantity: str) -> bool:
    """Whether nothing else is known of it than that it is another in every call."""
    return any(
        r.kind == "value" and r.reason.startswith(NOT_REPEATABLE) for r in state.results[quantity]
    )


def _is_made_with_it(state: Run, quantity: str) -> bool:
    if quantity not in _TARGETS:
        return False
    records = [
        r for r in refuted_records(state, quantity, LARGE) if len(r.reference.theta) >= ENOUGH
    ]
    shared: set[_Way] | None = None
    told = False
    for record in records:
        with np.errstate(over="ignore"):
            ways = _ways(state, record, *_TARGETS[quantity](record))
        shared = set(ways) if shared is None else shared & set(ways)
        if not shared:
            return False
        told |= any(ways[way] for way in shared)
    return bool(shared) and told


def _solution(record: Record) -> tuple[Array, bool]:
    return record.value, False


def _displacement(record: Record) -> tuple[Array, bool]:
    step = float(record.probe.args[-1])
    return (record.value - record.reference.theta) / step, False


def _direction(record: Record) -> tuple[Array, bool]:
    return record.value - record.reference.theta, True


#: Quantity → x as its answer tells it, and whether its length is free.
_TARGETS = {
    "natural_gradient": _solution,
    "update": _displacement,
    "trust_region_proposal": _direction,
}


def _ways(state: Run, record: Record, x: Array, free_length: bool) -> dict[_Way, bool]:
    """The ways in which the subject's solver gives x, and whether that tells anything."""
    found: dict[_Way, bool] = {}
    if not np.isfinite(x).all():
        return found
    own = OwnAnswers(state.collector, record.reference.problem, damping_of(state))
    scale = 1.0 - own.problem.discount
    factors = {"": 0.0} if free_length else {"1": 1.0, "1-γ": scale, "1/(1-γ)": 1.0 / scale}
    gradients = [(own.exact_gradient, ""), (own.get("policy_gradient"), "policy_gradient")]
    for (matrix, whose), (g, of), damping in product(own.fishers(), gradients, {0.0, own.damping}):
        if g is None:
            continue
        damped = matrix + damping * np.eye(len(matrix))
        size = _length(np.linalg.lstsq(damped, g, rcond=1e-12)[0])
        for (iterations, answer), name in product(_answers(state, damped, g), factors):
            factor = factors[name] or _length(x) / _length(answer)
            if close(x, factor * answer, SAME):
                found[_Way(whose, of, damping, iterations, name)] = True
                found[_Way(whose, of, damping, 0, name)] = True
            elif not free_length and _alike(x, answer, size):
                way = _Way(whose, of, damping, iterations, name)
                found.setdefault(way, _length(x) > DIVERGED * size)
    return found


def _length(x: Array) -> float:
    return max(float(np.linalg.norm(x)), 1e-300)


def _alike(x: Array, answer: Array, size: float) -> bool:
    """Whether both have vanished, or both have diverged about as far."""
    first, second = _length(x), _length(answer)
    if max(first, second) < NOISE * size:
        return True
    far = min(first, second) > size / NOISE
    return far and bool(abs(np.log10(first) - np.log10(second)) <= DECADES)


def _answers(state: Run, matrix: Array, b: Array) -> Iterator[tuple[int, Array]]:
    """What the subject's solver answers, after each number of iterations."""
    counts = dict.fromkeys((*ITERATIONS, *(k * len(b) for k in OF_SIZE)))
    for iterations in (k for k in counts if k > 1):
        args: tuple[Any, ...] = (matrix, b, iterations)
        shape = QUANTITIES[SOLVER].shape_for(None, *args)
        answer = state.collector.call(Probe(SOLVER, None, args, shape))
        if answer.fault is None and answer.value is not None and answer.value.any():
            yield iterations, answer.value
