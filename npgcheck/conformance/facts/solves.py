"""Nearby linear systems that a direction solves, and rules for its length.

Along an eigenvector v of F with eigenvalue λ the exact x has v·g/λ; what an answer has there, as a
function of λ, tells which system it solves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from npgcheck.conformance.facts.laws import constant, law, number_text
from npgcheck.conformance.facts.relations import ANOTHER
from npgcheck.conformance.facts.seen import REPRODUCED, SOLUTIONS, Seen

Array = np.ndarray
#: Numbers estimated from a solution carry its conditioning.
ESTIMATED = 1e-5
SOLVED = ("natural_gradient", "update", "train")
STEPS = ("trust_region_proposal",)


def systems(wrong: Sequence[Seen]) -> Iterator[str]:
    """What reproduces every refuted direction, the sharpest first."""
    if wrong[0].quantity not in SOLUTIONS:
        return
    if any(s.spectrum is None or s.gradient is None for s in wrong):
        return
    if wrong[0].quantity in SOLVED:
        yield _entries(wrong)
        yield _spectral(wrong)
    if wrong[0].quantity in STEPS:
        yield _direction(wrong)
    yield _along(wrong)
    yield _length(wrong)


def _step(s: Seen) -> float:
    return 1.0 if s.quantity == "natural_gradient" else float(s.args[-1])


def _scale(s: Seen) -> float:
    """What F is multiplied by under the conventions of the answer."""
    if s.choices.get("fisher_scale") != "unnormalised":
        return 1.0
    measure = s.reference.measure(s.choices["sampled"], s.choices["weighting"])
    return float(measure.scales["unnormalised"][0])


def _entries(wrong: Sequence[Seen]) -> str:
    """Systems with the diagonal of F, which no eigenvector shows."""
    triples = [
        (_scale(s) * s.fisher, s.gradient, s.raw / _step(s))
        for s in wrong
        if s.fisher is not None and s.gradient is not None
    ]
    if sum(len(x) > 2 for _, _, x in triples) < 3:
        return ""
    if all(_near(np.diag(F) * x, g) for F, g, x in triples):
        return "x solves the system of F's diagonal alone"
    shifts = []
    for F, g, x in triples:
        along = np.diag(F) * x
        square = float(along @ along)
        c = float(along @ (g - F @ x)) / square if square else 0.0
        if not c or not _near(F @ x + c * along, g):
            return ""
        shifts.append(c)
    if not constant(shifts, ESTIMATED):
        return ""
    return f"x solves (F + c diag F) x = g, c = {law(shifts, wrong, ESTIMATED)}"


def _near(a: Array, b: Array) -> bool:
    return float(np.linalg.norm(a - b)) <= REPRODUCED * float(np.linalg.norm(b))


Filter = tuple[Array, Array]


def _filters(wrong: Sequence[Seen]) -> list[Filter] | None:
    """(λ, v·x / v·g) of every answer, along eigenvectors that g has a part of; None where the
    answer has parts that g has not."""
    found = []
    for s in wrong:
        assert s.spectrum is not None  # looked at before
        assert s.gradient is not None
        values, vectors = s.spectrum
        right, mine = vectors.T @ s.gradient, vectors.T @ s.yours / _step(s)
        told = np.abs(right) > 1e-4 * np.max(np.abs(right))
        if np.max(np.abs(mine[~told]), initial=0.0) > 0.1 * np.max(np.abs(mine), initial=1e-300):
            return None
        found.append((_scale(s) * values[told], mine[told] / right[told]))
    return found


def _spectral(wrong: Sequence[Seen]) -> str:
    """x as a function of F applied to g."""
    filters = _filters(wrong)
    if filters is None or sum(len(np.unique(v.round(9))) > 2 for v, _ in filters) < 3:
        return ""
    shift = _line(filters, wrong)
    return shift or _normal(filters, wrong) or _power(filters, wrong) or _dropped(filters)


def _line(filters: Sequence[Filter], wrong: Sequence[Seen]) -> str:
    """g/x = a λ + c."""
    slopes, shifts = [], []
    for values, h in filters:
        if (np.abs(h) < 1e-300).any():
            return ""
        if len(values) < 2 or np.ptp(values) <= 1e-6 * values.max():
            slopes.append(1.0)
            shifts.append(float(np.mean(1.0 / h - values)))
            continue
        a, c = np.polyfit(values, 1.0 / h, 1)
        if np.max(np.abs((a * values + c) * h - 1.0)) > ESTIMATED:
            return ""
        slopes.append(float(a))
        shifts.append(float(c))
    even = max(abs(a - 1.0) for a in slopes) <= 1e-4
    text = law(shifts, wrong, 1e-4)
    if even:
        return f"x solves (F + c I) x = g, c = {text or ANOTHER}"
    several = [i for i, (v, _) in enumerate(filters) if len(v) > 1 and np.ptp(v) > 1e-6 * v.max()]
    chosen = [slopes[i] for i in several]
    if len(chosen) > 2 and constant(chosen, 1e-4):
        text = law([shifts[i] for i in several], [wrong[i] for i in several], 1e-4)
        first = number_text(_round(chosen[0]))
        return f"x solves (a F + c I) x = g, a = {first}, c = {text or ANOTHER}"
    return ""


def _round(number: float) -> float:
    return float(f"{number:.5g}")


def _normal(filters: Sequence[Filter], wrong: Sequence[Seen]) -> str:
    """(F F + c I) x = F g."""
    shifts = []
    for values, h in filters:
        if (np.abs(h) < 1e-300).any():
            return ""
        c = values / h - values**2
        if np.ptp(c) > 1e-4 * np.max(np.abs(values / h)):
            return ""
        shifts.append(float(np.median(c)))
    text = law(shifts, wrong, 1e-3)
    return f"x solves (F F + c I) x = F g, c = {text}" if text else ""


def _power(filters: Sequence[Filter], wrong: Sequence[Seen]) -> str:
    """x = Fᵖ g."""
    if any((h <= 0).any() for _, h in filters):
        return ""
    x = np.concatenate([np.log(v) - np.log(v).mean() for v, _ in filters])
    y = np.concatenate([np.log(h) - np.log(h).mean() for _, h in filters])
    if not x.any():
        return ""
    p = float(x @ y) / float(x @ x)
    if np.max(np.abs(y - p * x)) > ESTIMATED:
        return ""
    factors = [float(np.exp(np.mean(np.log(h) - p * np.log(v)))) for v, h in filters]
    text = law(factors, wrong, 1e-4)
    times = "" if text == "1" else f" times {text or 'a factor that differs between problems'}"
    return f"x is F to the power {number_text(_round(p))} times g{times}"


def _dropped(filters: Sequence[Filter]) -> str:
    """1/λ or zero, zero below some λ."""
    for values, h in filters:
        product = values * h
        right, zero = np.abs(product - 1.0) <= 1e-4, np.abs(product) <= 1e-6
        if not (right | zero).all() or not zero.any():
            return ""
        if right.any() and values[zero].max() >= values[right].min():
            return ""
    return "x is right along the eigenvectors of F with large eigenvalues, zero along the others"


# ---- directions of free length ---------------------------------------------------------------


def _direction(wrong: Sequence[Seen]) -> str:
    """The direction of another system, whatever its length."""
    filters = _filters(wrong)
    if filters is None or sum(len(np.unique(v.round(9))) > 2 for v, _ in filters) < 3:
        return ""
    shifts, told = [], []
    for (values, h), s in zip(filters, wrong, strict=True):
        if (np.abs(h) < 1e-300).any():
            return ""
        if len(values) < 2 or np.ptp(values) <= 1e-6 * values.max():
            continue
        a, b = np.polyfit(values, 1.0 / h, 1)
        if not a or np.max(np.abs((a * values + b) * h - 1.0)) > ESTIMATED:
            return ""
        shifts.append(float(b / a))
        told.append(s)
    if max(map(abs, shifts)) <= 1e-9:
        return ""
    text = law(shifts, told, 1e-3)
    return f"points along the solution of (F + c I) x = g, c = {text}" if text else ""


def _along(wrong: Sequence[Seen]) -> str:
    """The direction of the gradient, at any length."""
    told = [s for s in wrong if len(s.yours) > 2]
    if len(told) < 3:
        return ""
    for name, power in (("g", 0), ("F g", 1)):
        for s in told:
            assert s.fisher is not None  # looked at before
            assert s.gradient is not None
            along = s.shown(np.linalg.matrix_power(s.fisher, power) @ s.gradient)
            c = float(along @ s.yours) / max(float(along @ along), 1e-300)
            if not c or not s.close(c * along):
                break
        else:
            return f"points along the exact {name}"
    return ""


def _length(wrong: Sequence[Seen]) -> str:
    """A length that follows a law of its own."""
    if len(wrong) < 3 or any(len(s.yours) < 2 for s in wrong):
        return ""
    text = law([float(np.linalg.norm(s.yours)) for s in wrong], wrong)
    return f"its length is {text}" if text and "its own" not in text else ""
