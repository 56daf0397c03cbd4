"""The readings of a policy as explanations of one quantity each, for the judge of that quantity.

They come last, and lazily: fixed ones first, then those with an estimated number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from npgcheck.step import readings, variants
from npgcheck.step.divergences import Divergence, Place
from npgcheck.step.probes import Probes
from npgcheck.step.readings import Reading
from npgcheck.step.rows import Rows

Array = np.ndarray

#: As given, and centred, and over their standard deviation as well.
ADVANTAGES = 3


def gradients(probes: Probes, y: Array) -> Iterator[variants.Gradient]:
    """Right sides.

    Args:
        probes: the batch and the directions.
        y: (P,), the answer's products with them.
    """
    rows = probes.rows
    moved = [rows.along(v).value for v in probes.vectors]
    kinds = list(islice(variants.advantages(rows), ADVANTAGES))

    def made(
        reading: Reading, choices: tuple[str, ...], advantages: Array, divided: float
    ) -> variants.Gradient | None:
        if reading.score is None and reading.weights is None:
            return None
        score = rows.score if reading.score is None else reading.score
        size = rows.score_size * rows.lift if reading.size is None else reading.size
        weights = rows.weights if reading.weights is None else reading.weights
        column = (weights * advantages)[:, None]
        return variants.Gradient(
            (reading.choice, *choices), reading.note, column * score, np.abs(column) * size, divided
        )

    for kind in kinds:
        for reading in readings.fixed(rows):
            if (variant := made(reading, *kind)) is not None:
                yield variant
    for kind in kinds:

        def misfit(reading: Reading, kind: tuple[tuple[str, ...], Array, float] = kind) -> float:
            variant = made(reading, *kind)
            if variant is None:
                return np.inf
            return _left([y], [np.array([np.sum(variant.cotangent * u) for u in moved])], probes)

        for family in readings.families(rows):
            for reading in readings.estimated(family, misfit):
                if (variant := made(reading, *kind)) is not None:
                    yield variant


def fishers(probes: Probes, y: Array, asked: Sequence[str]) -> Iterator[variants.Fisher]:
    """Matrices.

    Args:
        probes: the batch and the directions.
        y: (Q · P,), the products of Q answers with the P directions.
        asked: the names of the directions that were multiplied.
    """
    rows = probes.rows
    moved = np.stack([rows.along(v).value for v in probes.vectors])
    right = [list(probes.directions).index(name) for name in asked]
    shifted = [probes.products(probes.directions[name]) for name in asked]
    true = next(iter(variants.fishers(rows)))

    def made(reading: Reading) -> variants.Fisher | None:
        if reading.curvature is None and reading.weights is None:
            return None
        weights = rows.weights if reading.weights is None else reading.weights
        return variants.Fisher(
            (reading.choice,), reading.note, reading.curvature or true.curvature, weights
        )

    def misfit(reading: Reading) -> float:
        variant = made(reading)
        if variant is None:
            return np.inf
        images = [variant.weights[:, None] * variant.curvature[0](moved[i]) for i in right]
        table = [np.tensordot(moved, image, 2) for image in images]
        return _left(list(y.reshape(len(asked), -1)), table, probes, shifted)

    for reading in _all(rows, misfit):
        if (variant := made(reading)) is not None:
            yield variant


def log_probs(rows: Rows, answer: Array) -> Iterator[tuple[tuple[str, ...], str, Array]]:
    """Log-probabilities (N,), beside what is done."""

    def misfit(reading: Reading) -> float:
        return np.inf if reading.log_prob is None else _apart(answer, reading.log_prob)

    if not np.any(answer):
        return
    for reading in _all(rows, misfit):
        if reading.log_prob is not None:
            yield (reading.choice,), reading.note, reading.log_prob


def divergences(rows: Rows, answers: Array, places: list[Place]) -> Iterator[Divergence]:
    """Divergences.

    Args:
        rows: the batch.
        answers: one number for each place.
        places: the θ' at which it was asked.
    """

    plain: dict[int, Array] = {}  # θ' ↦ (N,), which no reading of the weights changes

    def terms(at: Place) -> Array:
        if id(at) not in plain:
            plain[id(at)] = rows.law.kl(rows.z, at.z)
        return plain[id(at)]

    def made(reading: Reading) -> Divergence | None:
        if reading.kl is None and reading.weights is None:
            return None
        weights = rows.weights if reading.weights is None else reading.weights
        kl = reading.kl

        def measure(at: Place) -> float:
            return float(weights @ (terms(at) if kl is None else kl(at.z)))

        return Divergence((reading.choice,), reading.note, measure)

    def misfit(reading: Reading) -> float:
        found = made(reading)
        if found is None:
            return np.inf
        with np.errstate(all="ignore"):
            off = answers - np.array([found.measure(at) for at in places])
        return float(np.linalg.norm(off) / np.linalg.norm(answers))

    if not np.any(answers):
        return
    for reading in _all(rows, misfit):
        if (found := made(reading)) is not None:
            yield found


def _all(rows: Rows, misfit: Callable[[Reading], float]) -> Iterator[Reading]:
    yield from readings.fixed(rows)
    for family in readings.families(rows):
        yield from readings.estimated(family, misfit)


def _apart(answer: Array, made: Array) -> float:
    """How far two arrays are from being multiples of each other, relative to the answer."""
    square = float(made @ made)
    if not np.isfinite(square) or not square:
        return np.inf
    rest = answer - float(answer @ made) / square * made
    return float(np.linalg.norm(rest) / np.linalg.norm(answer))


def _left(
    answers: Sequence[Array],
    exact: Sequence[Array],
    probes: Probes,
    shifted: Sequence[Array] | None = None,
) -> float:
    """What no multiple of the exact products, damped where that may be, holds of the answers."""
    norms = probes.norms()
    y = np.concatenate([a / norms for a in answers])
    columns = [np.concatenate([e / norms for e in exact])]
    if shifted is not None:
        columns.append(np.concatenate([s / norms for s in shifted]))
    matrix = np.stack(columns, axis=1)
    size = float(np.linalg.norm(y))
    if not size or not np.isfinite(matrix).all():
        return np.inf
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0.0] = 1.0
    solution = np.linalg.lstsq(matrix / scale, y, rcond=None)[0]
    return float(np.linalg.norm(y - matrix / scale @ solution)) / size
