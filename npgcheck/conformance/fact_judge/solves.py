"""The second opinion on systems that a direction solves, and on its length."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from npgcheck.conformance.fact_judge.numbers import direction, is_step, law, matrix_of, number
from npgcheck.conformance.fact_judge.relations import Cases, Judge, follows, wrong_of
from npgcheck.conformance.fact_judge.truth import Case

Array = np.ndarray


def _solves(cases: Cases, match: re.Match[str]) -> bool:
    """(F + c I) x = g or (F + c diag F) x = g."""
    what, text = match.group(1), match.group(2)
    found = []
    for c in wrong_of(cases):
        F, g, x = _system(c)
        along = x if what == "I" else np.diag(F) * x
        shift = float(along @ (g - F @ x)) / float(along @ along)
        if not _near(F @ x + shift * along, g):
            return False
        found.append((c, shift))
    return bool(found) and follows(found, text)


def _near(left: Array, right: Array) -> bool:
    return float(np.linalg.norm(left - right)) <= 1e-4 * float(np.linalg.norm(right))


def _both(cases: Cases, match: re.Match[str]) -> bool:
    """(a F + c I) x = g."""
    slope = number(match.group(1))
    if slope is None:
        return False
    found = []
    for c in wrong_of(cases):
        F, g, x = _system(c)
        shift = float(x @ (g - slope * F @ x)) / float(x @ x)
        if not _near(slope * F @ x + shift * x, g):
            return False
        found.append((c, shift))
    return bool(found) and follows(found, match.group(2))


def _normal(cases: Cases, match: re.Match[str]) -> bool:
    """(F F + c I) x = F g."""
    shift = law(match.group(1))
    if shift is None:
        return False
    systems = [(c, *_system(c)) for c in wrong_of(cases)]
    return bool(systems) and all(_near(F @ (F @ x) + shift(c) * x, F @ g) for c, F, g, x in systems)


def _power(cases: Cases, match: re.Match[str]) -> bool:
    """Fᵖ g, from an eigendecomposition without the kernel."""
    power, text = number(match.group(1)), match.group(2) or "1"
    if power is None:
        return False
    found = []
    for c in wrong_of(cases):
        values, vectors = _spectrum(c)
        wanted = vectors @ (values**power * (vectors.T @ direction(c)))
        x = vectors @ (vectors.T @ _system(c)[2])
        factor = float(wanted @ x) / float(wanted @ wanted)
        if not _near(x, factor * wanted):
            return False
        found.append((c, factor))
    if not found:
        return False
    return text == "a factor that differs between problems" or follows(found, text)


def _spectrum(c: Case) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh(matrix_of(c))
    kept = values > 1e-10 * values[-1]
    return values[kept], vectors[:, kept]


def _dropped(cases: Cases, match: re.Match[str]) -> bool:
    """Right along large eigenvalues, zero along small ones."""
    seen = 0
    for c in wrong_of(cases):
        values, vectors = _spectrum(c)
        x, g = vectors.T @ _system(c)[2], vectors.T @ direction(c)
        told = np.abs(g) > 1e-4 * np.abs(g).max()
        product = (values * x)[told] / g[told]
        right, zero = np.abs(product - 1) < 1e-3, np.abs(product) < 1e-4
        if not (right | zero).all():
            return False
        if right.any() and zero.any() and values[told][zero].max() > values[told][right].min():
            return False
        seen += 1
    return seen > 0


def _along(cases: Cases, match: re.Match[str]) -> bool:
    """The direction of Fᵖ g at any length."""
    found = 0
    for c in wrong_of(cases):
        F = matrix_of(c)
        wanted = F @ direction(c) if match.group(1) else direction(c)
        _, vectors = _spectrum(c)
        yours, wanted = (vectors @ (vectors.T @ v) for v in (c.yours, wanted))
        factor = float(wanted @ yours) / float(wanted @ wanted)
        if not factor or not _near(yours, factor * wanted):
            return False
        found += 1
    return found > 0


def _along_damped(cases: Cases, match: re.Match[str]) -> bool:
    """The direction of (F + c I)⁻¹ g at any length."""
    shift = law(match.group(1))
    if shift is None or not wrong_of(cases):
        return False
    for c in wrong_of(cases):
        F = matrix_of(c)
        wanted = np.linalg.solve(F + shift(c) * np.eye(len(F)), direction(c))
        _, vectors = _spectrum(c)
        yours, wanted = (vectors @ (vectors.T @ v) for v in (c.yours, wanted))
        factor = float(wanted @ yours) / float(wanted @ wanted)
        if np.linalg.norm(yours - factor * wanted) > 1e-3 * np.linalg.norm(yours):
            return False
    return True


def _length(cases: Cases, match: re.Match[str]) -> bool:
    """The length of what the policy shows."""
    found = []
    for c in wrong_of(cases):
        vectors = np.eye(len(c.yours)) if c.metric is None else _spectrum(c)[1]
        found.append((c, float(np.linalg.norm(vectors.T @ c.yours))))
    return bool(found) and follows(found, match.group(1))


def _system(c: Case) -> tuple[Array, Array, Array]:
    """F, g of the reading, and the answer as a direction with all its parts."""
    F = matrix_of(c)
    if c.raw is None:
        return F, direction(c), c.yours
    raw = c.raw - c.problem.theta if is_step(c) else c.raw
    scale = c.args[-1] if is_step(c) else 1.0
    return F, direction(c), raw / scale


def _image(make: Callable[[Array, Array], Array]) -> Judge:
    """F made of (F, x) that gives back g."""

    def judge(cases: Cases, match: re.Match[str]) -> bool:
        systems = [_system(c) for c in wrong_of(cases)]
        return bool(systems) and all(
            np.linalg.norm(make(F, x) - g) <= 1e-5 * np.linalg.norm(g) for F, g, x in systems
        )

    return judge


SENTENCES: tuple[tuple[str, Judge], ...] = (
    (r"x solves \(F \+ c (I|diag F)\) x = g, c = (.+)", _solves),
    (r"x solves \(a F \+ c I\) x = g, a = (.+), c = (.+)", _both),
    (r"x solves \(F F \+ c I\) x = F g, c = (.+)", _normal),
    ("x solves the system of F's diagonal alone", _image(lambda F, x: np.diag(F) * x)),
    ("x is F to the power (.+?) times g(?: times (.+))?", _power),
    (
        "x is right along the eigenvectors of F with large eigenvalues, zero along the others",
        _dropped,
    ),
    (r"points along the solution of \(F \+ c I\) x = g, c = (.+)", _along_damped),
    ("points along the exact (F )?g", _along),
    ("its length is (.+)", _length),
)
"""Patterns and their judges."""
