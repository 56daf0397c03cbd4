"""The two pure functions: rows of rollouts, and iterates of conjugate gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npgcheck.conformance.explainers.pure import iterates
from npgcheck.conformance.facts.laws import law, number_text
from npgcheck.conformance.facts.located import best, conditions_of_rows
from npgcheck.conformance.facts.seen import NOISE, Seen

Array = np.ndarray


def of_pure_functions(wrong: Sequence[Seen], seen: Sequence[Seen]) -> Iterator[str]:
    """Statements about all answers, the sharpest first."""
    if wrong[0].quantity == "conjugate_gradient":
        yield _iterate(wrong)
        yield _span(wrong)
    if wrong[0].quantity == "advantage_estimate":
        yield from _residual(seen)
        yield _rows(seen)


# ---- conjugate gradient ---------------------------------------------------------------------


def _iterate(wrong: Sequence[Seen]) -> str:
    """Another iterate than the one asked for, or another system."""
    wrong = [s for s in wrong if np.any(s.args[1])]
    if len(wrong) < 3:
        return ""
    for text, by in (("one iteration too few", -1), ("one iteration too many", 1)):
        if all(_is_iterate(s, by) for s in wrong):
            return text
    images = [(s.args[0] @ s.record.value, s.args[1], s.record.value) for s in wrong]
    factors = [float(m @ b) / float(b @ b) for m, b, _ in images]
    if all(
        np.linalg.norm(m - c * b) <= 1e-6 * np.linalg.norm(b) * abs(c)
        for (m, b, _), c in zip(images, factors, strict=True)
    ):
        text = law(factors, wrong)
        return f"x solves M x = c b, c = {text or 'another number on each problem'}"
    return ""


def _is_iterate(s: Seen, by: int) -> bool:
    matrix, vector, iterations = s.args
    found = iterates(matrix, vector, max(0, iterations + by))[-1]
    error = float(np.linalg.norm(matrix @ (s.record.value - found)))
    return error <= 1e-6 * float(np.linalg.norm(vector))


def _span(wrong: Sequence[Seen]) -> str:
    """Whether the answers lie in the Krylov space at all."""
    outside = 0
    told = [s for s in wrong if np.any(s.args[1]) and s.args[2] < len(s.args[1])]
    for s in told:
        matrix, vector, iterations = s.args
        basis = _krylov_basis(matrix, vector, iterations)
        left = s.record.value - basis @ (basis.T @ s.record.value)
        outside += float(np.linalg.norm(left)) > 1e-6 * float(np.linalg.norm(s.record.value))
    if len(told) < 3 or outside not in (0, len(told)):
        return ""
    if outside:
        return "not a combination of b, M b, …, M^(k−1) b"
    return "a combination of b, M b, …, M^(k−1) b, with wrong coefficients"


def _krylov_basis(matrix: Array, vector: Array, iterations: int) -> Array:
    columns = [vector / np.linalg.norm(vector)]
    for _ in range(iterations - 1):
        following = matrix @ columns[-1]
        for _ in range(2):
            for column in columns:
                following = following - column * float(column @ following)
        length = float(np.linalg.norm(following))
        if length <= 1e-11 * float(np.linalg.norm(matrix)):
            break
        columns.append(following / length)
    return np.stack(columns, axis=1)


# ---- generalised advantages -----------------------------------------------------------------

_TERMS = ("r", "V", "γ V′", "V′", "γ V", "1")
#: Discounts on which a factor a γ + b is one.
SEVERAL = 3


def _residual(seen: Sequence[Seen]) -> Iterator[str]:
    """The answer of rows that nothing else enters, as a combination of r, V and V′."""
    kinds = {
        "with λ = 0 inside an episode": (lambda s: (s.args[-1] == 0.0) & ~(s.args[3] | s.args[4])),
        "in rows that terminate": lambda s: s.args[3],
        "in rows that a time limit cuts": lambda s: s.args[4],
    }
    for where, rows in kinds.items():
        found = _combination(seen, rows)
        wanted = _WANTED[where]
        if found is None or np.allclose(found, wanted, atol=1e-6):
            continue
        yield f"{where} it is {_sum(found)}, not {_sum(wanted)}"


_WANTED = {
    "with λ = 0 inside an episode": (1, -1, 1, 0, 0, 0),
    "in rows that terminate": (1, -1, 0, 0, 0, 0),
    "in rows that a time limit cuts": (1, -1, 1, 0, 0, 0),
}


def _combination(seen: Sequence[Seen], rows: Callable[[Seen], Array]) -> Array | None:
    columns, answers, discounts = [], [], set()
    for s in seen:
        rewards, values, after, _, _, discount, _ = s.args
        for t in np.nonzero(rows(s))[0]:
            columns.append(
                [rewards[t], values[t], discount * after[t], after[t], discount * values[t], 1.0]
            )
            answers.append(s.record.value[t])
            discounts.add(float(discount))
    if len(answers) < 12:
        return None
    design, y = np.array(columns), np.array(answers)
    if np.linalg.matrix_rank(design) < len(_TERMS):
        return None
    found = np.linalg.lstsq(design, y, rcond=None)[0]
    if float(np.max(np.abs(design @ found - y))) > 1e-6 * max(float(np.max(np.abs(y))), NOISE):
        return None
    if len(discounts) < SEVERAL and _bends(found):
        return None
    return np.asarray(found)


def _bends(coefficients: Array) -> bool:
    """Whether V or V′ has a factor a γ + b: a line meets whatever it is of two different γ."""
    told = {name: abs(c) > 1e-6 for name, c in zip(_TERMS, coefficients, strict=True)}
    return (told["γ V′"] and told["V′"]) or (told["γ V"] and told["V"])


def _sum(coefficients: Sequence[float] | Array) -> str:
    terms = [
        f"{'−' if c < 0 else '+'} {_times(abs(c))}{name}"
        for c, name in zip(coefficients, _TERMS, strict=True)
        if abs(c) > 1e-6
    ]
    return " ".join(terms).removeprefix("+ ") or "0"


def _times(coefficient: float) -> str:
    return "" if abs(coefficient - 1.0) <= 1e-6 else f"{number_text(coefficient)} "


def _rows(seen: Sequence[Seen]) -> str:
    """Which rows are right, by how their episodes end and by the arguments."""
    wrong: list[bool] = []
    marks: dict[str, list[bool]] = {text: [] for text in ROWS}
    for s in seen:
        size = max(float(np.max(np.abs(s.exact))), 1.0)
        wrong += list(np.abs(s.record.value - s.exact) > 1e-9 * size)
        for text, mark in ROWS.items():
            marks[text] += list(mark(s))
    bad = np.array(wrong)
    if bad.all() or not bad.any():
        return ""
    found = best(conditions_of_rows((t, np.array(m)) for t, m in marks.items()), bad)
    return found.text("rows") if found else ""


def ending(terminated: Array, truncated: Array) -> Array:
    """How the episode of each row ends: 1 by termination, 2 by a time limit, 0 not in sight."""
    kind, follows = np.zeros(len(terminated), dtype=int), 0
    for t in range(len(terminated) - 1, -1, -1):
        follows = 1 if terminated[t] else 2 if truncated[t] else follows
        kind[t] = follows
    return kind


def _last(s: Seen) -> Array:
    mask = np.zeros(len(s.args[0]), dtype=bool)
    mask[-1] = True
    return mask


def _everywhere(value: bool, s: Seen) -> Array:
    return np.full(len(s.args[0]), value)


def _ends(s: Seen) -> Array:
    return np.asarray(s.args[3] | s.args[4])


#: Kinds of rows, the plainest first.
ROWS = {
    "that terminate": lambda s: np.asarray(s.args[3]),
    "that do not terminate": lambda s: ~np.asarray(s.args[3]),
    "that a time limit cuts": lambda s: np.asarray(s.args[4]),
    "that no time limit cuts": lambda s: ~np.asarray(s.args[4]),
    "that end their episode": _ends,
    "that do not end their episode": lambda s: ~_ends(s),
    "at the end of the rollout": _last,
    "before the end of the rollout": lambda s: ~_last(s),
    "whose episode goes on beyond the rollout": lambda s: ending(s.args[3], s.args[4]) == 0,
    "whose episode ends in the rollout": lambda s: ending(s.args[3], s.args[4]) != 0,
    "whose episode ends by termination": lambda s: ending(s.args[3], s.args[4]) == 1,
    "whose episode does not end by termination": lambda s: ending(s.args[3], s.args[4]) != 1,
    "whose episode ends by a time limit": lambda s: ending(s.args[3], s.args[4]) == 2,
    "whose episode does not end by a time limit": lambda s: ending(s.args[3], s.args[4]) != 2,
    "of the last episode": lambda s: _after_last_end(s),
    "before the last episode": lambda s: ~_after_last_end(s),
    "with λ = 0": lambda s: _everywhere(s.args[-1] == 0.0, s),
    "with λ > 0": lambda s: _everywhere(s.args[-1] > 0.0, s),
    "with λ = 1": lambda s: _everywhere(s.args[-1] == 1.0, s),
    "with λ < 1": lambda s: _everywhere(s.args[-1] < 1.0, s),
    "with γ = 0.99": lambda s: _everywhere(s.args[-2] == 0.99, s),
    "with γ = 0.9": lambda s: _everywhere(s.args[-2] == 0.9, s),
    "with λ = 0.95": lambda s: _everywhere(s.args[-1] == 0.95, s),
}


def _after_last_end(s: Seen) -> Array:
    """Rows after the last end that is followed by another row."""
    ends = np.nonzero(_ends(s)[:-1])[0]
    mask = np.ones(len(s.args[0]), dtype=bool)
    if len(ends):
        mask[: ends[-1] + 1] = False
    return mask
