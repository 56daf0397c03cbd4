"""True statements about a wrong answer that no choice explains: a factor, a sign, an order.

These are observations over all problems, not names of mistakes: each is stated only when it
reproduces every refuted answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npgcheck.conformance.fitting import Fit, Judged, Record

Array = np.ndarray

#: A relation counts as reproducing an answer at this relative accuracy: far above rounding, far
#: below any mistake.
REPRODUCED = 1e-6
#: A factor that is nearer to one says nothing: the answers are inaccurate, not scaled.
WORTH_SAYING = 1e-4
#: An answer with so many right digits is not called wrong on its kind of problem.
RIGHT_DIGITS = 9.0
#: Answers that are points in parameter space.
_POINTS = ("update", "train", "trust_region_proposal", "trust_region_step")


def describe_error(
    quantity: str, records: Sequence[Record], fit: Fit, choices: dict[str, Any]
) -> str:
    """One line that narrows a refuted quantity down."""
    pairs = [(records[i], j) for i in fit.refuted if (j := fit.judged[i]) is not None]
    judged = [j for j in fit.judged if j is not None]
    if not pairs:
        return "no choice explains the answers"
    noted = [j.note for _, j in pairs if j.note]
    if len(noted) > len(pairs) / 2:
        return f"{noted[0]}, and likewise {len(noted)} of {len(judged)} times"
    facts = [text for text in (_relation(pairs), _where_right(records, fit)) if text]
    share = len(pairs) / len(judged)
    if share < 1.0 and not facts:
        facts = [f"wrong in {len(pairs)} of {len(judged)} answers"]
    return "; ".join(facts) or "no known choice explains the answers"


def _relation(pairs: Sequence[tuple[Record, Judged]]) -> str:
    """A relation that turns every exact answer into the subject's."""
    useful = [(r, j) for r, j in pairs if j.size > 0 and np.shape(j.exact) == np.shape(r.value)]
    if not useful or len(useful) < len(pairs) / 2:
        return ""
    shifted = [(r, *_displacements(r, j)) for r, j in useful]
    if _all(shifted, lambda r, yours, exact: (yours, -exact)):
        return "the sign is flipped"
    if useful[0][1].exact.ndim == 2 and _all(shifted, lambda r, y, e: (y, e.T)):
        return "the matrix is transposed"
    factor = _factor(shifted)
    if factor:
        return factor
    if _all(shifted, lambda r, y, e: (y, _action_major(r, e))):
        return "parameters come in the order [action, feature]; the contract's is [feature, action]"
    return ""


def _displacements(record: Record, judged: Judged) -> tuple[Array, Array]:
    """Answer and exact answer; for points in parameter space, relative to θ."""
    theta = record.reference.problem.theta
    if record.probe.quantity in _POINTS:
        return record.value - theta, judged.exact - theta
    return record.value, np.asarray(judged.exact)


def _all(
    shifted: Sequence[tuple[Record, Array, Array]],
    relate: Callable[[Record, Array, Array], tuple[Array, Array | None]],
) -> bool:
    for record, yours, exact in shifted:
        left, right = relate(record, yours, exact)
        if right is None or np.shape(left) != np.shape(right):
            return False
        if np.max(np.abs(left - right)) > REPRODUCED * np.max(np.abs(exact)):
            return False
    return True


def _factor(shifted: Sequence[tuple[Record, Array, Array]]) -> str:
    """One factor per problem that explains it, and what that factor is."""
    factors = []
    for _record, yours, exact in shifted:
        square = float(np.vdot(exact, exact))
        factor = float(np.vdot(exact, yours)) / square if square else np.nan
        if not np.max(np.abs(yours - factor * exact)) <= REPRODUCED * np.max(np.abs(exact)):
            return ""
        factors.append(factor)
    if max(abs(f - 1.0) for f in factors) < WORTH_SAYING:
        return ""
    if np.ptp(factors) <= REPRODUCED * abs(factors[0]):
        if abs(factors[0]) <= REPRODUCED:
            moved = shifted[0][0].probe.quantity in _POINTS
            return "θ comes back unchanged" if moved else "always zero"
        return f"the exact answer times {number_text(factors[0])}"
    if len({round(f, 12) for f in factors}) < 2 or len(shifted) < 3:
        return ""
    for name, meaning in _MEANINGS.items():
        wanted = [meaning(record) for record, _, _ in shifted]
        if None in wanted:
            continue
        ratios = [f / w for f, w in zip(factors, wanted, strict=True) if w]
        if ratios and np.ptp(ratios) <= REPRODUCED * abs(ratios[0]):
            times = "" if abs(ratios[0] - 1) < REPRODUCED else f"{number_text(ratios[0])} · "
            return f"the exact answer times {times}{name}"
    if all(np.size(yours) == 1 for _, yours, _ in shifted):
        return ""  # any two numbers have a quotient
    return "the exact answer times a factor that differs between problems"


def _rows(record: Record) -> float | None:
    try:
        return float(len(record.reference.problem.batch.rewards))
    except (AttributeError, LookupError):
        return None


def _dimensions(record: Record) -> float | None:
    problem = record.reference.problem
    return float(problem.action_size) if problem.family == "gaussian" else None


_MEANINGS: dict[str, Callable[[Record], float | None]] = {
    "(1−γ)": lambda r: 1.0 - r.reference.problem.discount,
    "1/(1−γ)": lambda r: 1.0 / (1.0 - r.reference.problem.discount),
    "(1−γ)²": lambda r: (1.0 - r.reference.problem.discount) ** 2,
    "1/(1−γ)²": lambda r: (1.0 - r.reference.problem.discount) ** -2,
    "γ": lambda r: r.reference.problem.discount,
    "1/γ": lambda r: 1.0 / r.reference.problem.discount if r.reference.problem.discount else None,
    "√(1−γ)": lambda r: float(np.sqrt(1.0 - r.reference.problem.discount)),
    "√(1/(1−γ))": lambda r: float(np.sqrt(1.0 / (1.0 - r.reference.problem.discount))),
    "N, the number of rows": _rows,
    "1/N, N the number of rows": lambda r: 1.0 / n if (n := _rows(r)) else None,
    "m, the number of action dimensions": lambda r: _dimensions(r),
    "1/m, m the number of action dimensions": lambda r: 1.0 / m if (m := _dimensions(r)) else None,
    "S, the number of states": lambda r: float(r.reference.problem.num_states),
    "1/S, S the number of states": lambda r: 1.0 / r.reference.problem.num_states,
}


def number_text(factor: float) -> str:
    """A factor as people write it: 2, 1/2, √2, or six digits."""
    from fractions import Fraction

    simple = Fraction(factor).limit_denominator(12)
    if simple and abs(factor - float(simple)) <= 1e-6 * abs(factor):
        return str(simple)
    square = Fraction(factor * factor).limit_denominator(12)
    if square and abs(factor * factor - float(square)) <= 1e-6 * factor * factor:
        return (
            f"{'−' if factor < 0 else ''}√{square}"
            if square.denominator == 1
            else (f"{'−' if factor < 0 else ''}√({square})")
        )
    return f"{factor:.6g}"


def _action_major(record: Record, exact: Array) -> Array | None:
    """The exact answer with its parameters laid out as (A, k) instead of (k, A)."""
    problem = record.reference.problem
    if problem.family not in ("tabular", "softmax") or exact.ndim not in (1, 2):
        return None
    size = problem.observation_size * problem.num_actions
    if any(n != size for n in exact.shape):
        return None
    order = np.arange(size).reshape(problem.observation_size, problem.num_actions).T.ravel()
    return exact[order] if exact.ndim == 1 else exact[np.ix_(order, order)]


def _where_right(records: Sequence[Record], fit: Fit) -> str:
    """The kind of problem on which every answer is right, when some are right and some wrong."""
    right: dict[str, set[bool]] = {}
    refuted = set(fit.refuted)
    for index, record in enumerate(records):
        judged = fit.judged[index]
        if judged is None:
            continue
        problem = record.reference.problem
        fine = index not in refuted or judged.digits >= RIGHT_DIGITS
        labels = [f"{problem.family} problems"] if problem.family != "pure" else []
        if "batch" in record.answer.accessed:
            labels.append(f"{problem.batch_kind.replace('_', '-')} batches")
        if record.probe.label and record.probe.label != "plain":
            labels.append(record.probe.label)
        for label in labels:
            right.setdefault(label, set()).add(fine)
    only = [label for label, seen in right.items() if seen == {True}]
    wrong = [label for label, seen in right.items() if seen == {False}]
    if only and wrong:
        return f"right on {' and '.join(only)}, wrong on {' and '.join(wrong)}"
    if only and not wrong:
        return f"always right on {' and '.join(only)}"
    if wrong and len(wrong) < len(right):
        return f"always wrong on {' and '.join(wrong)}, elsewhere not always"
    return ""
