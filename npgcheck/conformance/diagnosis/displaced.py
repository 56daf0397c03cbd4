"""At which parameters a curvature was taken, where it was not θ.

The Hessian of KL(π_θ ‖ π_θ′) by θ′ is F at θ′ = θ alone. Code that differentiates elsewhere (at the
parameters of an earlier call, of a seed, of a perturbation) has a displacement of its own. It is
estimated: one vector for each shape of θ, from the answers on a few problems, and it has to
reproduce the answers on the others of that shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from npgcheck.conformance.choices import BY_NAME, known
from npgcheck.conformance.diagnosis.curvature import hessian
from npgcheck.conformance.diagnosis.pipeline import OUTSIDE, View
from npgcheck.conformance.diagnosis.predict import resolution
from npgcheck.conformance.diagnosis.question import Question
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.search import Found, Search
from npgcheck.conformance.diagnosis.setup import Setup, factor, named
from npgcheck.conformance.fitting import Record

Array = np.ndarray
Shape = tuple[Any, ...]

ASKED = ("fisher", "fisher_vector_product")
NAME = "kl-not-at-coincidence"
#: A displacement is estimated on half of the problems of its shape, and on so many at most; the
#: others judge it. With two actions F is the same at z and −z: few problems may have another root.
FITTED = 5
FEWEST = 4
#: Shapes that are looked at: the commonest among the answers.
SHAPES = 4
#: Forms of the registered entry have small numbers; these are told from them and each other.
_FORMS = count(100)

#: How θ′ may come about: the same displacement everywhere, or the same parameters everywhere.
_PLACES: tuple[Callable[[Array, Array], Array], ...] = (
    lambda theta, moved: theta + moved,
    lambda theta, moved: moved,
)


def explain(search: Search, asked: Question) -> list[Found]:
    """The Hessian of KL at displaced parameters, where it reproduces the answers."""
    if asked.quantity not in ASKED or not known({"kl": "not_at_coincidence"}):
        return []
    groups = _by_shape(asked.records)
    for setup in asked.likely[:2]:
        for place in _PLACES:
            for weights_move in (False, True):
                found = _fitted(search, asked, setup, groups, place, weights_move)
                if found is not None:
                    return [found]
    return []


def _by_shape(records: Sequence[Record]) -> dict[Shape, list[list[Record]]]:
    """Shape of θ → its problems, each with its answers; those with enough problems to judge."""
    shapes: dict[Shape, dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.reference.problem.family != "own":
            shapes[_shape(record.reference.problem)][id(record.reference)].append(record)
    kept = [(s, list(g.values())) for s, g in shapes.items() if len(g) >= FEWEST]
    kept.sort(key=lambda item: -len(item[1]))
    return dict(kept[:SHAPES])


def _shape(problem: Any) -> Shape:
    return problem.family, problem.observation_size, len(problem.theta)


def _fitted_on(problems: list[list[Record]]) -> list[list[Record]]:
    return problems[: min(FITTED, len(problems) // 2)]


def _fitted(
    search: Search,
    asked: Question,
    setup: Setup,
    groups: Mapping[Shape, list[list[Record]]],
    place: Callable[[Array, Array], Array],
    weights_move: bool,
) -> Found | None:
    """The displacement of every shape, if all shapes have one."""
    table: dict[Shape, Array] = {}
    for shape, problems in groups.items():
        fitted = [record for answers in _fitted_on(problems) for record in answers]
        moved = _displacement(search, fitted, setup, place, weights_move)
        if moved is None:
            return None
        table[shape] = moved
    if not table:
        return None

    def change(view: View, F: Array) -> Array:
        moved = table.get(_shape(view.problem))
        if moved is None:
            return np.full_like(F, np.nan)
        return hessian(view, place(view.reference.theta, moved), weights_move)

    choice = replace(
        BY_NAME[NAME],
        change={"F": change},
        forms=(),
        form=next(_FORMS),
        number=None,
        note="the Hessian of KL is taken at other parameters than θ",
    )
    of_these = [r for answers in groups.values() for problem in answers for r in problem]
    fits = {id(r) for g in groups.values() for answers in _fitted_on(g) for r in answers}
    ordered = [r for r in of_these if id(r) in fits] + [r for r in of_these if id(r) not in fits]
    posed = replace(asked, records=tuple(ordered), setups=(setup,), likely=(setup,))
    return search.under((Applied(choice),), posed)


def _displacement(
    search: Search,
    records: Sequence[Record],
    setup: Setup,
    place: Callable[[Array, Array], Array],
    weights_move: bool,
) -> Array | None:
    """By least squares over the answers; None where none reproduces them."""
    from scipy.optimize import least_squares

    views = [search.pipelines.view(record, setup.base, ()) for record in records]

    def missing(moved: Array) -> Array:
        parts = []
        for view, record in zip(views, records, strict=True):
            scale = None if view is None else factor(view, *named(setup.variant, 0))
            if view is None or scale is None:
                raise ArithmeticError("no such measure")
            matrix = scale * hessian(view, place(record.reference.theta, moved), weights_move)
            matrix = matrix + setup.damping * np.eye(len(matrix))
            args = record.probe.args
            predicted = matrix @ args[0] if args else matrix
            size = max(float(np.abs(record.value).max(initial=0.0)), 1e-300)
            parts.append(np.ravel(predicted - record.value) / size)
        return np.concatenate(parts)

    size = len(records[0].reference.theta)
    with np.errstate(all="ignore"):
        try:
            solved = least_squares(missing, np.zeros(size), method="trf", max_nfev=40)
        except OUTSIDE:
            return None
    limit = max(resolution(record) for record in records)
    return solved.x if np.abs(solved.fun).max(initial=0.0) <= limit else None
