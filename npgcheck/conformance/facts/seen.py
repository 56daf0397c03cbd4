"""What a fact looks at: one answer beside the exact one, as two arrays that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from npgcheck.conformance.explainers.step import spectrum
from npgcheck.conformance.fitting import Fit, Judged, Record

Array = np.ndarray

#: A relation counts as reproducing an answer at this relative accuracy: far above rounding, far
#: below any mistake.
REPRODUCED = 1e-6
#: An answer with so many right digits is not called wrong on its kind of problem.
RIGHT_DIGITS = 9.0
#: Rounding of numbers of size one: below it a difference is none.
NOISE = 1e-13
#: Answers that are points in parameter space; what is compared is the way from θ to them.
POINTS = ("update", "train", "trust_region_proposal", "trust_region_step")
#: Answers that mean the same when they differ by what no policy shows.
SOLUTIONS = ("natural_gradient", *POINTS)


@dataclass(frozen=True)
class Seen:
    """One judged answer.

    Attributes:
        record: the call and its reference.
        judged: the comparison that was made.
        yours: the answer; of points the displacement, of a surrogate the gain over θ itself.
        exact: the exact answer, likewise; both without the part that no policy shows.
        wrong: whether it was refuted.
        choices: the conventions under which it was judged.
        turn: the iteration, counted from one, where the answer is one of several iterates.
    """

    record: Record
    judged: Judged
    yours: Array
    exact: Array
    wrong: bool
    choices: dict[str, Any]
    turn: int = 1

    @property
    def quantity(self) -> str:
        """The function."""
        return self.record.probe.quantity

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments after the problem."""
        return self.record.probe.args

    @property
    def problem(self) -> Any:
        """The problem at the parameters at which it was asked."""
        return self.record.reference.problem

    @property
    def reference(self) -> Any:
        """The exact quantities of the problem."""
        return self.record.reference

    @cached_property
    def size(self) -> float:
        """The largest entry of the exact answer."""
        return float(np.max(np.abs(self.exact), initial=0.0))

    def close(self, wanted: Array | None, limit: float = REPRODUCED) -> bool:
        """Whether the answer is ``wanted``, to ``limit`` of the larger of it and the exact one."""
        if wanted is None or np.shape(wanted) != np.shape(self.yours):
            return False
        error = float(np.max(np.abs(self.yours - wanted), initial=0.0))
        scale = max(float(np.max(np.abs(wanted), initial=0.0)), 1e-300)
        return error <= max(limit * scale, NOISE * min(1.0, max(self.size, scale)))

    def explained(self, wanted: Array) -> bool:
        """Whether ``wanted`` leaves no more than ``REPRODUCED`` of the error unexplained.

        Numbers that are fitted on each problem come near to anything; the errors of an iteration,
        for one, are nearly constant.
        """
        left, error = (np.max(np.abs(self.yours - w), initial=0.0) for w in (wanted, self.exact))
        return bool(left <= max(REPRODUCED * float(error), NOISE * self.size))

    @cached_property
    def raw(self) -> Array:
        """The answer with every part of it; a displacement where it is a point."""
        value = np.asarray(self.record.value, dtype=float)
        return value - self.reference.theta if self.quantity in POINTS else value

    @cached_property
    def spectrum(self) -> tuple[Array, Array] | None:
        """Eigenvalues and eigenvectors of F, those that a policy shows."""
        if self.fisher is None:
            return None
        values, vectors = np.linalg.eigh(self.fisher)
        kept = values > len(values) * 1e-11 * max(values[-1], 1e-300)
        return values[kept], vectors[:, kept]

    def shown(self, vector: Array) -> Array:
        """A direction without the part that no policy shows, where that is free."""
        if self.quantity in SOLUTIONS and "fisher" in self.choices:
            return _shown(self.record, self.choices, vector)
        return vector

    @cached_property
    def fisher(self) -> Array | None:
        """F under the conventions of the answer, weights summing to one; None where undefined."""
        where = (self.choices.get("sampled", "mdp"), self.choices.get("weighting", "discounted"))
        if not hasattr(self.reference, "measure") or self.reference.measure(*where) is None:
            return None
        return np.asarray(self.reference.fisher(*where, self.choices.get("fisher", "true")))

    @cached_property
    def gradient(self) -> Array | None:
        """∇J, or g of the measure times the factor that was inferred."""
        from npgcheck.conformance.explainers.gradient import scaled_gradient

        if not hasattr(self.reference, "measure"):
            return None
        base = {"sampled": "mdp", "weighting": "discounted", "advantage": "advantage"}
        found = scaled_gradient(
            self.record, {**base, "gradient_factor": "1/(1-gamma)", **self.choices}
        )
        return None if found is None else np.asarray(found[0])


def look(records: Sequence[Record], fit: Fit, choices: dict[str, Any]) -> list[Seen]:
    """Every judged answer of a quantity, in order."""
    refuted = set(fit.refuted)
    anchors = {
        (r.probe.position, r.reference.problem.id): float(r.value)
        for r in records
        if r.probe.quantity == "surrogate" and r.probe.label == "θ itself"
    }
    found: list[Seen] = []
    for index, record in enumerate(records):
        judged = fit.judged[index]
        if judged is None or np.shape(judged.exact) != np.shape(record.value):
            continue
        wrong = index in refuted and judged.digits < RIGHT_DIGITS
        yours, exact = np.asarray(record.value, dtype=float), np.asarray(judged.exact, dtype=float)
        if record.probe.quantity in POINTS:
            yours, exact = yours - record.reference.theta, exact - record.reference.theta
        if record.probe.quantity in SOLUTIONS and "fisher" in choices:
            yours, exact = _shown(record, choices, yours), _shown(record, choices, exact)
        if record.probe.quantity == "surrogate":
            anchor = anchors.get((record.probe.position, record.reference.problem.id), 0.0)
            yours, exact = yours - anchor, exact - anchor
        found.append(
            Seen(
                record,
                judged,
                yours,
                exact,
                wrong,
                choices,
                int(record.probe.label.split()[-1]) if record.probe.quantity == "train" else 1,
            )
        )
    return found


def _shown(record: Record, choices: dict[str, Any], vector: Array) -> Array:
    """The part of a direction in range(F)."""
    values, vectors = spectrum(record, choices)
    kept = vectors[:, values > len(values) * 1e-11 * max(values.max(initial=0.0), 1e-300)]
    return np.asarray(kept @ (kept.T @ vector))


def all_close(seen: Sequence[Seen], relate: Callable[[Seen], Array | None]) -> bool:
    """Whether a relation turns every exact answer into the subject's."""
    return all(s.close(relate(s)) for s in seen)


def same_problem(seen: Sequence[Seen]) -> list[list[Seen]]:
    """The answers grouped by the problem on which they were asked."""
    groups: dict[tuple[int, str], list[Seen]] = {}
    for s in seen:
        groups.setdefault((s.record.probe.position, s.problem.id), []).append(s)
    return list(groups.values())
