"""One number for each answer: is it a constant, or a constant times something known?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from npgcheck.conformance.facts.seen import REPRODUCED, Seen

Meaning = Callable[[Seen], float | None]


def constant(numbers: Sequence[float], limit: float = REPRODUCED) -> bool:
    """Whether all of them are one number."""
    largest = max(map(abs, numbers), default=0.0)
    return bool(numbers) and float(np.ptp(numbers)) <= limit * largest


def law(numbers: Sequence[float], seen: Sequence[Seen], limit: float = REPRODUCED) -> str:
    """The numbers in words: ``1/2``, ``(1−γ)``, ``2 · γ``; "" where they follow nothing known.

    Args:
        numbers: one for each answer.
        seen: the answers.
        limit: relative accuracy of the numbers.
    """
    if constant(numbers, limit):
        return number_text(numbers[0])
    if len(numbers) < 3:
        return ""
    for name, meaning in MEANINGS.items():
        wanted = [meaning(s) for s in seen]
        if any(w is None or not np.isfinite(w) or w == 0.0 for w in wanted):
            continue
        ratios = [n / w for n, w in zip(numbers, wanted, strict=True) if w]
        if constant(ratios, limit) and ratios[0]:
            times = "" if abs(ratios[0] - 1) < REPRODUCED else f"{number_text(ratios[0])} · "
            return f"{times}{name}"
    return ""


def number_text(factor: float) -> str:
    """A factor as people write it: 2, 1/2, √2, or six digits."""
    if not 1e-6 < abs(factor) < 1e6:
        return f"{factor:.6g}"
    simple = Fraction(factor).limit_denominator(12)
    if simple and abs(factor - float(simple)) <= 1e-6 * abs(factor):
        return str(simple)
    square = Fraction(factor * factor).limit_denominator(12)
    if square and abs(factor * factor - float(square)) <= 1e-6 * factor * factor:
        root = f"√{square}" if square.denominator == 1 else f"√({square})"
        return f"{'−' if factor < 0 else ''}{root}"
    return f"{factor:.6g}"


def _discount(s: Seen) -> float:
    return float(s.problem.discount)


def _rows(s: Seen) -> float | None:
    try:
        return float(len(s.problem.batch.rewards))
    except (AttributeError, LookupError):
        return None


def _power(read: Meaning, exponent: float) -> Meaning:
    def meaning(s: Seen) -> float | None:
        number = read(s)
        return float(number) ** exponent if number else None

    return meaning


def _dimensions(s: Seen) -> float | None:
    return float(s.problem.action_size) if s.problem.family == "gaussian" else None


def _actions(s: Seen) -> float | None:
    return None if s.problem.family in ("gaussian", "pure") else float(s.problem.num_actions)


def _states(s: Seen) -> float | None:
    return None if s.problem.family == "pure" else float(s.problem.num_states)


def _argument(*quantities: str, at: int = 0) -> Meaning:
    return lambda s: float(s.args[at]) if s.quantity in quantities else None


def _vector(s: Seen) -> float | None:
    return float(np.linalg.norm(s.args[0])) if s.quantity == "fisher_vector_product" else None


def _length(s: Seen) -> float | None:
    return float(np.linalg.norm(s.exact)) if s.exact.ndim == 1 else None


def _largest(s: Seen) -> float | None:
    return s.size if s.exact.ndim == 1 else None


def _mean_eigenvalue(s: Seen) -> float | None:
    matrix = s.exact if s.quantity == "fisher" else s.fisher
    return None if matrix is None else float(np.trace(matrix)) / len(matrix)


def _parameters(s: Seen) -> float | None:
    return None if s.problem.family == "pure" else float(len(s.problem.theta))


_STEP = _argument("update")
_TRAIN = _argument("train", at=1)
_DELTA = _argument("trust_region_proposal", "trust_region_step")

#: What numbers may follow; powers are spelled out, since they are what people forget.
MEANINGS: dict[str, Meaning] = {
    "(1−γ)": lambda s: 1.0 - _discount(s),
    "1/(1−γ)": lambda s: 1.0 / (1.0 - _discount(s)),
    "(1−γ)²": lambda s: (1.0 - _discount(s)) ** 2,
    "1/(1−γ)²": lambda s: (1.0 - _discount(s)) ** -2,
    "γ": _discount,
    "γ²": lambda s: _discount(s) ** 2,
    "1/γ": _power(_discount, -1),
    "√(1−γ)": lambda s: (1.0 - _discount(s)) ** 0.5,
    "√(1/(1−γ))": lambda s: (1.0 - _discount(s)) ** -0.5,
    "N, the number of rows": _rows,
    "1/N, N the number of rows": _power(_rows, -1),
    "m, the number of action dimensions": _dimensions,
    "1/m, m the number of action dimensions": _power(_dimensions, -1),
    "S, the number of states": _states,
    "1/S, S the number of states": _power(_states, -1),
    "A, the number of actions": _actions,
    "1/A, A the number of actions": _power(_actions, -1),
    "D, the number of parameters": _parameters,
    "1/D, D the number of parameters": _power(_parameters, -1),
    "√D, D the number of parameters": _power(_parameters, 0.5),
    "log A, A the number of actions": lambda s: float(np.log(a)) if (a := _actions(s)) else None,
    "η, the step size": _STEP,
    "1/η, η the step size": _power(_STEP, -1),
    "1/η², η the step size": _power(_STEP, -2),
    "1/(1+η), η the step size": lambda s: 1.0 / (1.0 + e) if (e := _STEP(s)) else None,
    "δ, max_kl": _DELTA,
    "√δ, δ = max_kl": _power(_DELTA, 0.5),
    "1/δ, δ = max_kl": _power(_DELTA, -1),
    "√(1/δ), δ = max_kl": _power(_DELTA, -0.5),
    "1/t, t the iteration": lambda s: 1.0 / s.turn if s.quantity == "train" else None,
    "√(1/t), t the iteration": lambda s: s.turn**-0.5 if s.quantity == "train" else None,
    "1/|v|, v the vector": _power(_vector, -1),
    "1/|v|², v the vector": _power(_vector, -2),
    "|v|, v the vector": _vector,
    "1/its own length": _power(_length, -1),
    "its own length": _length,
    "1/its largest entry": _power(_largest, -1),
    "η/its own length, η the step size": lambda s: (
        e / n if (e := _STEP(s)) and (n := _length(s)) else None
    ),
    "δ/its own length, δ = max_kl": lambda s: (
        e / n if (e := _DELTA(s)) and (n := _length(s)) else None
    ),
    "√δ/its own length, δ = max_kl": lambda s: (
        e**0.5 / n if (e := _DELTA(s)) and (n := _length(s)) else None
    ),
    "the mean eigenvalue of F": _mean_eigenvalue,
}
