"""Truncated conjugate gradient, recognised by the properties that define it.

The k-th iterate from zero minimises the (F + λI)-norm of the error over K_k(F, g)
(Hestenes & Stiefel 1952): it lies in that space and its residual is orthogonal to it. Krylov
spaces are blind to shifts, K_k(F + λI, g) = K_k(F, g), so k is found before λ, and λ then follows
from the orthogonality by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from npgcheck.conformance.atlas.recurrences import after, run
from npgcheck.conformance.explainers.common import with_lambda
from npgcheck.tolerance import UNIT_ROUNDOFF

if TYPE_CHECKING:
    from npgcheck.conformance.explainers.step import System, _Solution
    from npgcheck.conformance.fitting import Record

Array = np.ndarray

MAX_ITERATIONS = 32
#: Conjugate gradient in floating point loses the orthogonality of its directions as soon as a
#: Ritz value has converged; its iterates were seen to stray from the exact k-th iterate by up to
#: 1.3e-8 of ‖g‖ at cond⁺(F) = 1.8e3, which is some 1e5 residual budgets.
GROWTH = 1e6
#: However much rounding is amplified, an iterate that strays by more than this, relative to the
#: right side, is no iterate: single precision would otherwise allow anything.
LARGEST_DRIFT = 1e-3
#: … and where it strays farther, that is measured in so many runs, which may differ by a factor.
RUNS = 4
STRAYS = 10.0
#: An iteration that ends before its k-th step because the residual has fallen by this has converged.
SETTLED = 1e-9
#: The largest absolute residual at which libraries stop: 1e-5 (1e-10 on the squared norm), times 3
#: for the residual that the recurrence believes in. On a gradient of size 0.1 this hides errors
#: below 3e-4, which is why the verdict is a deviation and never a pass.
ABSOLUTE = 3e-5
#: In single precision the believed residual drifts from the true one: 8e-5 was measured.
ABSOLUTE_SINGLE = 1e-4


def absolute(roundoff: float) -> float:
    """The absolute residual that is forgiven, by the precision of the answer."""
    single = roundoff >= UNIT_ROUNDOFF["float32"]
    return ABSOLUTE_SINGLE if single else ABSOLUTE


def without(vector: Array, direction: Array) -> Array:
    """The part of ``vector`` orthogonal to ``direction``."""
    square = float(direction @ direction)
    return vector - direction * (float(direction @ vector) / square) if square > 0 else vector


def basis(record: Record, choices: dict[str, Any]) -> Array:
    """Orthonormal basis of K_∞(F, g) by Lanczos with full reorthogonalisation; (D, k_max)."""
    cache = record.reference.__dict__.setdefault("_krylov", {})
    key = tuple(choices[s] for s in ("sampled", "weighting", "fisher", "advantage"))
    if key not in cache:
        reference = record.reference
        matrix = reference.fisher(*key[:3])
        sampled, weighting, _, advantage = key
        critic = "advantage" if advantage == "unbiased" else advantage
        vector = reference.gradient(sampled, weighting, critic)
        columns: list[Array] = []
        start = float(np.linalg.norm(vector))
        while start > 0 and len(columns) < min(MAX_ITERATIONS, len(vector)):
            for _ in range(2):
                for column in columns:
                    vector = vector - column * float(column @ vector)
            norm = float(np.linalg.norm(vector))
            # The space is invariant: what is left is rounding.
            if norm <= 1e-12 * (start if not columns else float(np.linalg.norm(matrix, 2))):
                break
            columns.append(vector / norm)
            vector = matrix @ columns[-1]
        cache[key] = np.stack(columns, axis=1) if columns else np.zeros((len(matrix), 0))
    return cache[key]


def iterate(record: Record, choices: dict[str, Any], built: System, k: int) -> Array:
    """The exact k-th conjugate-gradient iterate for (F + λI)x = g."""
    span = basis(record, choices)[:, :k]
    if span.shape[1] == 0:
        return np.zeros(len(built.right))
    # Least squares, because the last vector of an invariant space may lie in null(F).
    reduced = span.T @ (built.matrix @ span)
    return span @ np.linalg.lstsq(reduced, span.T @ built.right, rcond=1e-12)[0]


def residual(
    record: Record, choices: dict[str, Any], built: System, x: Array, roundoff: float
) -> float:
    """‖(F + λI)(x − x_k)‖, with k as stated or the smallest space that holds x."""
    k = choices.get("cg_iterations")
    if k is None:
        k = _smallest_space(basis(record, choices), x, roundoff)
        if k is None:
            return np.inf
    exact = iterate(record, choices, built, int(k))
    return float(np.linalg.norm(built.matrix @ (x - exact)))


def truncates(record: Record, choices: dict[str, Any]) -> bool:
    """Whether the iteration ends before the space is exhausted; else it is a converged solve."""
    if choices.get("cg_iterations"):
        return int(choices["cg_iterations"]) < basis(record, choices).shape[1]
    return choices.get("cg_stopping") == "tolerance"


def drift(budget: float, size: float) -> float:
    """The budget of an iterate, when ``budget`` is that of a converged solve."""
    return max(SETTLED * size, min(budget * GROWTH, max(budget, LARGEST_DRIFT * size)))


def estimate(
    solver: _Solution, records: Sequence[Record], choices: dict[str, Any]
) -> list[dict[str, Any]]:
    """Candidates with k iterations on every problem, or stopped early at a tolerance."""
    kept = [
        r for r in records if solver._system(r, choices) is not None and np.isfinite(r.value).all()
    ]
    found: list[dict[str, Any]] = []
    depths = _depths(solver, kept, choices)
    truncated = [k for k, full in depths if k < full]
    if truncated:
        # An iterate may lie in a smaller space up to rounding, never in a larger one alone: the
        # number of iterations is the largest that any answer needed.
        fixed = {**choices, "cg_iterations": max(truncated)}
        found += with_lambda(fixed, "damping", _galerkin(solver, kept, fixed))
        if len(set(truncated)) > 1:  # a tolerance stops after different numbers of iterations
            early = {**choices, "cg_stopping": "tolerance"}
            found += with_lambda(early, "damping", _galerkin(solver, kept, early))
    absolute = {**choices, "cg_stopping": "absolute"}
    return found + with_lambda(absolute, "damping", _unweighted(solver, kept, choices))


def _depths(
    solver: _Solution, records: Sequence[Record], choices: dict[str, Any]
) -> list[tuple[int, int]]:
    """(k, largest k) of every record, or nothing when some answer lies in no Krylov space."""
    depths = []
    for record in records:
        span = basis(record, choices)
        k = _smallest_space(span, solver.solution(record)[0], record.roundoff)
        if k is None:
            # Iterating past convergence leaves rounding outside of every space, and solves.
            judged = solver.judge(record, choices)
            if judged is None or judged.ratio > 1.0:
                return []
            k = span.shape[1]
        depths.append((k, span.shape[1]))
    return depths


def _unweighted(solver: _Solution, records: Sequence[Record], choices: dict[str, Any]) -> float:
    """λ by plain least squares: where small right sides were not solved, the large ones tell."""
    top = bottom = 0.0
    for record in records:
        built = solver._system(record, choices)
        if built is None:
            continue
        x, _ = solver.solution(record)
        missing, along = built.right - built.bare @ x, x
        if not solver.known_length:
            missing = -without(built.bare @ x, built.right)
            along = without(x, built.right)
        top += float(along @ missing)
        bottom += float(along @ along)
    return top / bottom if bottom > 0 else 0.0


def measured_drift(
    record: Record, choices: dict[str, Any], built: System, roundoff: float
) -> float:
    """How far the textbook recurrence strays from the exact k-th iterate here, by its image: the
    largest of a few runs whose right sides differ by rounding."""
    k = int(choices.get("cg_iterations") or 0)
    if not k:
        return 0.0
    exact = iterate(record, choices, built, k)
    strayed = 0.0
    for run_ in range(RUNS):
        signs = np.cos(np.arange(len(exact)) * (run_ + 1.0))
        right = built.right * (1.0 + run_ * roundoff * signs)
        found = after(run(built.matrix, right), k, len(right)).x
        error = float(np.linalg.norm(built.matrix @ (found - exact)))
        strayed = max(strayed, error if np.isfinite(error) else 0.0)
    return strayed


def _smallest_space(span: Array, x: Array, roundoff: float) -> int | None:
    """The smallest k with x in K_k up to the drift of conjugate gradient, or None."""
    size = float(np.linalg.norm(x))
    inside = span.T @ x
    left = np.sqrt(np.maximum(size**2 - np.cumsum(inside**2), 0.0))
    # √u: squares cancel in the line above; × 100 for lost orthogonality.
    close = np.nonzero(left <= 100.0 * np.sqrt(roundoff) * size)[0]
    return int(close[0]) + 1 if len(close) else None


def _galerkin(solver: _Solution, records: Sequence[Record], choices: dict[str, Any]) -> float:
    """λ from Vᵀ(g − Fx − λx) = 0 over all records."""
    top = bottom = 0.0
    for record in records:
        built = solver._system(record, choices)
        if built is None:
            continue
        x, _ = solver.solution(record)
        span = basis(record, choices)
        k = choices.get("cg_iterations") or _smallest_space(span, x, record.roundoff)
        span = span[:, :k]
        right, image, along = (span.T @ v for v in (built.right, built.bare @ x, x))
        if solver.known_length:
            missing = right - image
        else:
            missing, along = -without(image, right), without(along, right)
        size = max(float(np.linalg.norm(image)), 1e-100)
        top += float(along @ missing) / size**2
        bottom += float(along @ along) / size**2
    return top / bottom if bottom > 0 else 0.0
