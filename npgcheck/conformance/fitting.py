"""Fitting choices to answers: which candidate explains everything that a quantity answered.

An explainer proposes candidates (dicts of stage → choice) for one quantity and says what each
predicts. Here they are scored on the recorded answers: error over budget, worst and per record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from npgcheck.conformance.choices import KIND_COST, cost, known
from npgcheck.conformance.guard import Answer
from npgcheck.conformance.probes import Probe
from npgcheck.conformance.reference import Reference
from npgcheck.tolerance import UNIT_ROUNDOFF, unit_roundoff

Array = np.ndarray

#: An answer that is not exact may still be right to single precision: its error is that of a
#: computation with this unit round-off.
SINGLE = UNIT_ROUNDOFF["float32"]
#: Single precision holds seven digits, and conditioning leaves five of them on most problems. A
#: mistake of a few parts in ten thousand may hide in a budget of the worst case, never in these.
SINGLE_DIGITS = 5.0
#: Made of probabilities and densities alone: however the policy's derivatives were found, these
#: are as exact as its outputs.
WITHOUT_DERIVATIVES = frozenset(
    {
        "log_prob",
        "value",
        "q_value",
        "advantage",
        "state_distribution",
        "objective",
        "surrogate",
        "kl",
    }
)
#: What a declared relative accuracy of the solver may grow to in an answer: x errs by cond F times
#: its residual, and cond F is 1e4 at most where it is judged (``tolerance.MAX_FISHER_CONDITION``).
#: An error of a tenth is no accuracy, whatever was declared.
AMPLIFIED = 1e4
NO_ACCURACY = 0.1
#: … and most answers keep all but so many digits of it.
DIGITS_LOST = 2.0
#: Answers that agree with an exact critic, as a part of all.
NEARLY_ALL = 0.9
#: Candidates are screened on this many records before all of them are looked at.
SCREEN = 10
#: … and given up when so many of these are wrong by more than single precision explains.
HOPELESS = 3


@dataclass(frozen=True)
class Record:
    """One call, its answer, and the reference of its problem."""

    probe: Probe
    answer: Answer
    reference: Reference

    @property
    def value(self) -> Array:
        """The answer as float64; records without one are never fitted."""
        value = self.answer.value
        if value is None:  # pragma: no cover - filtered before fitting
            raise ValueError("a record without an answer was fitted")
        return value

    @property
    def unit(self) -> float:
        """Unit round-off of the dtype that was returned."""
        return unit_roundoff(self.answer.dtype)

    @property
    def roundoff(self) -> float:
        """u of the dtype that was returned, plus the error of the reference's own derivatives."""
        if self.probe.quantity in WITHOUT_DERIVATIVES:
            return self.unit
        return self.reference.scales.roundoff(self.answer.dtype)


@dataclass(frozen=True)
class Judged:
    """One answer against one prediction.

    Attributes:
        error: norm of the disagreement, in the norm in which the quantity is compared.
        budget: how large a right answer's error may be.
        size: norm of what was predicted, in the same norm; for the digits that agree.
        exact: the prediction, to be shown beside the answer.
        note: what is wrong in words, where the numbers side by side do not show it.
    """

    error: float
    budget: float
    size: float
    exact: Array
    note: str = ""

    @property
    def ratio(self) -> float:
        """error / budget; infinite when the error is not a number."""
        if not math.isfinite(self.error):
            return math.inf
        return self.error / self.budget if self.budget > 0 else math.inf * (self.error > 0)

    @property
    def digits(self) -> float:
        """−log₁₀ of the relative error, between 0 and 17."""
        if not math.isfinite(self.error):
            return 0.0
        if self.size == 0.0:
            return 17.0 if self.ratio <= 1 else 0.0
        relative = self.error / self.size
        return 17.0 if relative == 0 else float(min(17.0, max(0.0, -math.log10(relative))))


Route = Callable[[Sequence["Record"], dict[str, Any]], list[dict]]


class Explainer(Protocol):
    """What judges one quantity."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        """Yields candidate choices, without estimated numbers."""
        ...

    def estimate(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        """Returns the candidate with its numbers (λ, k) estimated; possibly several variants."""
        ...

    def fallback(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        """Returns costlier variants, tried only when none of the first came near."""
        ...

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        """Returns the comparison, or None where the candidate says nothing on this problem."""
        ...

    def pinned(self, declared: dict[str, Any]) -> dict[str, Any]:
        """Returns the numbers that the declaration fixes for this quantity: stage → value."""
        ...


@dataclass(frozen=True)
class Fit:
    """One candidate scored on all records.

    Attributes:
        choices: stage → choice or number.
        judged: one comparison per record, None where the candidate says nothing.
        units: round-off of each record: of its dtype, and of the reference's own derivatives.
        rtol: relative accuracy that counts as right, where it is more than round-off.
        partial: whether only a sample of the records was judged.
    """

    choices: dict[str, Any]
    judged: tuple[Judged | None, ...]
    units: tuple[float, ...]
    rtol: float = 0.0
    partial: bool = False

    @property
    def worst(self) -> float:
        """Largest error over budget."""
        return max((j.ratio for j in self.judged if j is not None), default=math.inf)

    @property
    def fits(self) -> bool:
        """Whether every judged record is within the budget (and some record was judged)."""
        return not (self.partial or self.too_few or self.refuted) and self._typically_right

    @property
    def refuted(self) -> tuple[int, ...]:
        """Indices of the records that are beyond what counts as right."""
        return tuple(
            i
            for i, (j, u) in enumerate(zip(self.judged, self.units, strict=False))
            if j is not None and not (j.ratio <= 1.0 or self._forgives(j, u))
        )

    def _forgives(self, judged: Judged, unit: float) -> bool:
        """Whether an answer beyond its budget is as right as the accuracy that was declared."""
        if judged.ratio > self.rtol / unit:
            return False
        allowed = min(AMPLIFIED * self.rtol, NO_ACCURACY)
        return judged.error <= allowed * judged.size or judged.size == 0 or self.rtol == math.inf

    @property
    def _typically_right(self) -> bool:
        """Whether the median of the answers has the digits of a declared accuracy."""
        if not 0.0 < self.rtol < math.inf or all(j is None or j.ratio <= 1.0 for j in self.judged):
            return True
        return self.typical >= min(SINGLE_DIGITS, -math.log10(self.rtol) - DIGITS_LOST)

    def within(self, limit: float) -> bool:
        """Whether the answers are right to the accuracy ``limit``.

        The budget of a truncated or early-stopped solve is no round-off any more: it is taken as
        it stands, never stretched.
        """
        if "cg_iterations" in self.choices or "cg_stopping" in self.choices:
            return not self.refuted
        # What lies within its budget is right however coarse its dtype, half precision too.
        return not self.refuted or (self.accuracy <= limit and self.typical >= SINGLE_DIGITS)

    @property
    def typical(self) -> float:
        """The median of the digits that agree: budgets are worst cases, most answers are not."""
        digits = [j.digits for j in self.judged if j is not None and j.size > 0]
        return float(np.median(digits)) if digits else 0.0

    @property
    def accuracy(self) -> float:
        """Unit round-off of a computation that errs as these answers do."""
        pairs = zip(self.judged, self.units, strict=False)
        return max((j.ratio * u for j, u in pairs if j is not None), default=math.inf)

    @property
    def too_few(self) -> bool:
        """Whether the candidate speaks about too few of the answers to be an explanation."""
        spoken = sum(j is not None for j in self.judged)
        return spoken < min(4, len(self.judged))

    @property
    def agreeing(self) -> float:
        """Fraction of the judged records that are within the budget."""
        judged = sum(j is not None for j in self.judged)
        return 1.0 - len(self.refuted) / judged if judged else 0.0

    @property
    def digits(self) -> float:
        """The fewest digits that agree on any record; identically zero answers aside."""
        return min((j.digits for j in self.judged if j is not None and j.size > 0), default=0.0)

    @property
    def cost(self) -> float:
        return cost(self.choices)


@dataclass
class Explanations:
    """Every candidate that fits a quantity, cheapest first, and the nearest that do not."""

    fitting: list[Fit] = field(default_factory=list)
    nearest: list[Fit] = field(default_factory=list)


def explain(
    explainer: Explainer,
    records: Sequence[Record],
    sampled: Sequence[str],
    declared: dict[str, Any],
) -> Explanations:
    """Scores every candidate of ``explainer`` and returns those that fit, cheapest first.

    Exact fits are preferred, whatever accuracy is declared; only when there is none, fits to the
    declared accuracy, or to single precision, are kept, the latter with an estimated
    ``solver_rtol``.
    """
    if not records:
        return Explanations()
    rtol = float(declared.get("solver_rtol") or 0.0)
    if rtol:
        exact = _explain(explainer, records, sampled, declared, 0.0)
        if any("solver_rtol" not in f.choices for f in exact.fitting):
            return exact
    return _explain(explainer, records, sampled, declared, rtol)


def _explain(
    explainer: Explainer,
    records: Sequence[Record],
    sampled: Sequence[str],
    declared: dict[str, Any],
    rtol: float,
) -> Explanations:
    found = Explanations()
    limit = max(SINGLE, rtol)
    pinned = explainer.pinned(declared)
    screen = _spread(records, SCREEN)
    loose: list[Fit] = []
    candidates = explainer.candidates(records, sampled)
    options = [c for c in candidates if compatible(c, declared) and known(c)]
    for bare in sorted(options, key=cost):
        if found.fitting and cost(bare) >= found.fitting[0].cost + KIND_COST["convention"] / 2:
            break  # whatever follows is a worse explanation of the same answers
        for route in (explainer.estimate, explainer.fallback):
            quick = [
                _score(explainer, screen, c, rtol, give_up=limit)
                for c in _variants(route, screen, bare, pinned)
            ]
            found.nearest.extend(replace(f, partial=True) for f in quick if not f.within(limit))
            if any(f.within(limit) for f in quick):
                found_here = _fit_all(explainer, route, records, bare, pinned, rtol)
                found.fitting.extend(f for f in found_here if f.fits)
                loose.extend(f for f in found_here if not f.fits and f.within(limit))
                found.nearest.extend(f for f in found_here if not f.within(limit))
                if any(f.fits for f in found_here):
                    break
    if any(f.agreeing >= NEARLY_ALL and not _is_unbiased(f) for f in found.nearest):
        # An estimate with noise of its own is wrong on every ordinary batch, not on a few.
        found.fitting = [f for f in found.fitting if not _is_unbiased(f)]
    if loose and all(f.choices.get("cg_stopping") == "absolute" for f in found.fitting):
        found.fitting = []  # a relative accuracy explains them, so nothing absolute is seen
    if not found.fitting:
        found.fitting = [as_limited_accuracy(fit) for fit in loose if not fit.too_few]
        found.fitting = [fit for fit in found.fitting if known(fit.choices)]
        found.fitting.sort(key=lambda f: (round(math.log10(f.accuracy)), f.cost))
    else:
        found.nearest.extend(loose)
        found.fitting.sort(key=lambda f: f.cost)
    found.nearest.sort(key=lambda f: (-f.agreeing, f.cost))
    return found


def _is_unbiased(fit: Fit) -> bool:
    return fit.choices.get("advantage") == "unbiased"


def _fit_all(
    explainer: Explainer,
    route: Route,
    records: Sequence[Record],
    bare: dict[str, Any],
    pinned: dict[str, Any],
    rtol: float,
) -> list[Fit]:
    """Scores the variants of one candidate on all records, up to the first that fits."""
    scored: list[Fit] = []
    for choices in _variants(route, records, bare, pinned):
        scored.append(_score(explainer, records, choices, rtol))
        if scored[-1].fits:
            return scored[-1:]
    return scored


def _variants(
    route: Route, records: Sequence[Record], bare: dict[str, Any], pinned: dict[str, Any]
) -> list[dict[str, Any]]:
    """The candidate with its numbers estimated, except those that the subject declared."""
    found: list[dict[str, Any]] = []
    for choices in route(records, bare):
        held = {**choices, **pinned}
        if held not in found and known(held):
            found.append(held)
    return found


def compatible(choices: dict[str, Any], declared: dict[str, Any]) -> bool:
    """Whether the candidate contradicts nothing that the subject declared."""
    for stage, value in choices.items():
        wanted = declared.get(stage)
        if wanted is None:
            continue
        if isinstance(wanted, float | int) and not isinstance(value, str):
            if not same_number(float(value), float(wanted)):
                return False
        elif wanted != value and not (stage == "advantage" and value == "expected"):
            return False
    return True


def same_number(a: float, b: float) -> bool:
    """Equal to the six digits to which estimated numbers are quoted."""
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def as_limited_accuracy(fit: Fit) -> Fit:
    """The same fit, with the accuracy that it needs as a named approximation."""
    accuracy = float(f"{fit.accuracy:.1e}")
    return replace(fit, choices={**fit.choices, "solver_rtol": accuracy}, rtol=math.inf)


def _score(
    explainer: Explainer,
    records: Sequence[Record],
    choices: dict[str, Any],
    rtol: float,
    give_up: float = math.inf,
) -> Fit:
    """Judges the records in order, until three of them are less accurate than ``give_up``."""
    judged: list[Judged | None] = []
    hopeless = 0
    units = tuple(r.roundoff for r in records)
    for record, unit in zip(records, units, strict=True):
        judged.append(explainer.judge(record, choices))
        hopeless += judged[-1] is not None and judged[-1].ratio > max(1.0, give_up / unit)
        if hopeless == HOPELESS:
            break
    return Fit(choices, tuple(judged), units, rtol)


def score(explainer: Explainer, records: Sequence[Record], choices: dict[str, Any]) -> Fit:
    """Judges every record under the given choices."""
    return _score(explainer, records, choices, 0.0)


def _spread(records: Sequence[Record], count: int) -> list[Record]:
    """Up to ``count`` records spread evenly over all of them."""
    if len(records) <= count:
        return list(records)
    return [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]
