"""How far off the answers are when nothing else is known: bias, direction, size, growth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from npgcheck.conformance.facts.seen import NOISE, Seen

Array = np.ndarray
#: Rank correlation from which an error is said to grow with something.
OVERWHELMING = 0.9
#: Directions nearer than this, in degrees, or farther than that, are worth a word …
SMALL_ANGLE, LARGE_ANGLE = 30, 60
#: … unless most are smaller than this: those are parallel.
SMALLEST_ANGLE = 1.0
#: … and so are errors relative to the largest entry.
SMALL_ERROR, LARGE_ERROR = 0.1, 0.5
#: An eigenvalue is negative when it is below this share of the largest: far beyond rounding.
NEGATIVE = 1e-6
#: Problems that such a statement needs.
ENOUGH = 12


def sizes(wrong: Sequence[Seen]) -> Iterator[str]:
    """Counted statements about the refuted answers, the sharpest first."""
    yield _trend(wrong)
    yield _bias(wrong)
    yield _angle(wrong)
    yield _range(wrong)
    yield _side(wrong)
    yield _trace(wrong)
    yield _negative(wrong)


def relative(s: Seen) -> float:
    """The largest error relative to the largest entry."""
    return float(np.max(np.abs(s.yours - s.exact), initial=0.0)) / max(s.size, 1e-300)


def _trend(wrong: Sequence[Seen]) -> str:
    """Something that the relative error rises with, all but without exception."""
    told = [s for s in wrong if s.size > NOISE and relative(s) > 0.0]
    if len(told) < ENOUGH:
        return ""
    errors = np.array([relative(s) for s in told])
    best, text = OVERWHELMING, ""
    for name, read in GROWS.items():
        values = [read(s) for s in told]
        if any(v is None or v <= 0.0 for v in values):
            continue
        numbers = np.array(values, dtype=float)
        if len(np.unique(numbers)) < 5:
            continue
        correlation = spearman(numbers, errors)
        if correlation > best:
            best, text = correlation, f"the relative error grows with {name}"
    return text


def spearman(x: Array, y: Array) -> float:
    """Rank correlation; ties share the mean of their ranks."""
    a, b = _ranks(x), _ranks(y)
    if not (np.ptp(a) and np.ptp(b)):
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(x: Array) -> Array:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2.0)[inverse])


def _condition(s: Seen) -> float | None:
    if s.fisher is None:
        return None
    values = np.linalg.eigvalsh(s.fisher)
    kept = values[values > 1e-11 * max(values[-1], 1e-300)]
    return float(kept[-1] / kept[0]) if len(kept) else None


def _step_length(s: Seen) -> float | None:
    if s.quantity not in ("kl", "surrogate"):
        return None
    return float(np.linalg.norm(s.args[0] - s.reference.theta))


GROWS = {
    "1/(1−γ)": lambda s: (
        1.0 / (1.0 - s.problem.discount) if s.quantity != "conjugate_gradient" else None
    ),
    "the condition number of F": _condition,
    "|θ|": lambda s: float(np.linalg.norm(s.problem.theta)),
    "the length of the step": _step_length,
    "the length of the exact answer": lambda s: (
        float(np.linalg.norm(s.exact)) if s.exact.ndim else None
    ),
    "S": lambda s: None if s.problem.family == "pure" else float(s.problem.num_states),
    "D": lambda s: float(len(s.problem.theta)),
}


def _bias(wrong: Sequence[Seen]) -> str:
    """Every refuted number on one side of the exact one."""
    if wrong[0].yours.ndim and wrong[0].quantity not in (
        "value",
        "q_value",
        "advantage",
        "state_distribution",
    ):
        return ""
    if len(wrong) < 3 or sum(s.yours.size for s in wrong) < 6:
        return ""
    slack = [1e-9 * max(s.size, NOISE) for s in wrong]
    low = all((s.yours <= s.exact + e).all() for s, e in zip(wrong, slack, strict=True))
    high = all((s.yours >= s.exact - e).all() for s, e in zip(wrong, slack, strict=True))
    if low == high:
        return ""
    entry = "no number is" if wrong[0].yours.ndim else "never"
    return f"{entry} {'larger' if low else 'smaller'} than the exact one"


def _angle(wrong: Sequence[Seen]) -> str:
    """How the directions differ, in the angle between them."""
    if wrong[0].yours.ndim != 1 or wrong[0].quantity in ("value", "state_distribution"):
        return ""
    angles = []
    for s in wrong:
        lengths = float(np.linalg.norm(s.yours)) * float(np.linalg.norm(s.exact))
        if len(s.yours) < 2 or lengths == 0.0:
            continue
        cosine = float(s.yours @ s.exact) / lengths
        angles.append(float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))))
    if len(angles) < 3 or float(np.median(angles)) < SMALLEST_ANGLE:
        return ""  # most of them differ in length, or by rounding that another run rounds otherwise
    low, high = int(np.floor(min(angles))), int(np.ceil(max(angles)))
    if high <= SMALL_ANGLE:
        return f"at most {high}° away from the exact direction"
    return f"at least {low}° away from the exact direction" if low >= LARGE_ANGLE else ""


def _side(wrong: Sequence[Seen]) -> str:
    """How many point to the other side of the exact direction."""
    if all(s.yours.ndim == 0 for s in wrong):
        other = sum(float(s.yours) * float(s.exact) < 0.0 for s in wrong)
        return f"of the other sign in {other} of {len(wrong)} wrong answers" if other else ""
    if wrong[0].yours.ndim != 1 or wrong[0].quantity in ("value", "state_distribution"):
        return ""
    told = [float(s.yours @ s.exact) for s in wrong if len(s.yours) > 1 and s.size > NOISE]
    against = sum(product < 0.0 for product in told)
    if len(told) < 3:
        return ""
    if not against:
        return ""
    return f"against the exact direction in {against} of {len(told)} wrong answers"


def _trace(wrong: Sequence[Seen]) -> str:
    """The size of a matrix, from its trace; of F as it is normally scaled."""
    if wrong[0].quantity != "fisher" or wrong[0].choices.get("fisher_scale") == "unnormalised":
        return ""
    ratios = [float(np.trace(s.yours) / np.trace(s.exact)) for s in wrong if np.trace(s.exact)]
    if len(ratios) < 3:
        return ""
    low, high = _floor(min(ratios)), -_floor(-max(ratios))
    return f"its trace is {low:g} to {high:g} times the exact one"


def _negative(wrong: Sequence[Seen]) -> str:
    """How many matrices have a negative eigenvalue, which no Fisher matrix has."""
    if wrong[0].quantity != "fisher":
        return ""
    spectra = [np.linalg.eigvalsh(0.5 * (s.yours + s.yours.T)) for s in wrong]
    below = sum(bool(v[0] < -NEGATIVE * np.abs(v).max()) for v in spectra)
    return f"vᵀFv < 0 for some v in {below} of {len(wrong)} wrong answers" if below else ""


def _floor(number: float) -> float:
    """Rounded down to two digits."""
    unit = 10.0 ** (np.floor(np.log10(abs(number))) - 1) if number else 1.0
    return float(f"{np.floor(number / unit) * unit:.6g}")


def _range(wrong: Sequence[Seen]) -> str:
    """Smallest and largest relative error."""
    errors = [relative(s) for s in wrong if s.size > NOISE]
    if not errors:
        return ""
    if max(errors) <= SMALL_ERROR:
        return f"off by at most {_short(max(errors), down=False)} of the largest entry"
    if min(errors) >= LARGE_ERROR:
        return f"off by at least {_short(min(errors), down=True)} of the largest entry"
    return ""


def _short(number: float, *, down: bool) -> str:
    """One digit, rounded away from the middle."""
    if number == 0.0:
        return "0"
    unit = 10.0 ** np.floor(np.log10(number))
    digit = np.floor(number / unit) if down else np.ceil(number / unit)
    return f"{digit * unit:.1g}"
