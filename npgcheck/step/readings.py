"""Policies read otherwise: what an action's probability is taken for where it is not π(a|s).

A reading stands in the place of the policy in everything at once: its score and log π, the matrix W
of its Fisher information, its divergence. Each is in output space, so none needs the network again.
They are tried where nothing simpler explains an answer; numbers in them are estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from npgcheck.conformance.round_numbers import roundest
from npgcheck.conformance.valleys import in_valley
from npgcheck.distributions import Gaussian, MultiDiscrete, TanhGaussian
from npgcheck.step.rows import Curvature, Rows

Array = np.ndarray

_LN2 = float(np.log(2.0))
#: An estimated number is nought where it is this close to it, relative to the bracket.
_NOUGHT = 1e-9
#: A number is looked for more closely where some value of the grid leaves less of the answer.
_PROMISING = 0.2


@dataclass(frozen=True, eq=False)
class Reading:
    """One way of reading the outputs; what is None is as it should be.

    Attributes:
        choice: name of the registered choice.
        note: what it does in words.
        score: (N, K), what stands for ∇_z log π(a).
        size: (N, K), what that rounds relative to.
        curvature: W.
        weights: (N,), ω.
        log_prob: (N,).
        kl: outputs at θ' (N, K) ↦ (N,).
    """

    choice: str
    note: str = ""
    score: Array | None = None
    size: Array | None = None
    curvature: Curvature | None = None
    weights: Array | None = None
    log_prob: Array | None = None
    kl: Callable[[Array], Array] | None = None


@dataclass(frozen=True, eq=False)
class Family:
    """Readings with one number in them.

    Attributes:
        grid: increasing values between which the number is looked for.
        make: the number ↦ the reading.
        other: the number ↦ a reading that is a multiple of it, which no misfit tells from it.
    """

    grid: Array
    make: Callable[[float], Reading]
    other: Callable[[float], Reading] | None = None


def estimated(family: Family, misfit: Callable[[Reading], float]) -> list[Reading]:
    """The readings near the number that fits best, the roundest number first; often none.

    Args:
        family: the readings.
        misfit: what no multiple of a reading holds of the answer, relative to it.
    """
    grid = [float(value) for value in family.grid]

    def misfit_of(number: float) -> float:
        return misfit(family.make(number))

    off = [misfit_of(value) for value in grid]
    best = int(np.argmin(off))
    if not off[best] <= _PROMISING:
        return []
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    number = in_valley(misfit_of, grid, best)
    if abs(number) <= _NOUGHT * (high - low):
        number = 0.0
    numbers = [n for n in roundest(number) if low <= n <= high]
    return [make(n) for make in (family.make, family.other) if make for n in numbers]


def fixed(rows: Rows) -> Iterator[Reading]:
    """Readings without a number."""
    law = rows.law
    if isinstance(law, MultiDiscrete):
        yield from _of_actions(rows, law)
        yield from _of_other_rows(rows)
    elif isinstance(law, Gaussian):
        yield from _of_means(rows, law)
    yield Reading(
        "log-base-two",
        score=rows.score / _LN2,
        size=rows.score_size * rows.lift / _LN2,
        curvature=_scaled(rows, _LN2**-2),
        log_prob=law.log_prob(rows.z, rows.actions) / _LN2,
        kl=lambda new: law.kl(rows.z, new) / _LN2,
    )
    yield Reading("log-base-two", "the Hessian of KL in bits", curvature=_scaled(rows, 1.0 / _LN2))


def families(rows: Rows) -> Iterator[Family]:
    """Readings with a number."""
    if isinstance(rows.law, Gaussian):
        yield from _clamped(rows, rows.law)
    else:
        made = [partial(_tempered, rows, whole) for whole in (True, False)]
        yield Family(np.geomspace(0.05, 20.0, 33), *made)
    if isinstance(rows.law, MultiDiscrete):
        yield Family(np.linspace(1e-3, 0.999, 21), partial(_mixed, rows, rows.law))
    made = [partial(_as_time, rows, whole) for whole in (True, False)]
    yield Family(1.0 - np.geomspace(0.5, 1e-4, 25), *made)


# ---- discrete actions ----------------------------------------------------------------------------


def _tempered(rows: Rows, whole: bool, number: float) -> Reading:
    """π ∝ exp(z/τ), differentiated as such or with 1/τ left out."""
    law, z = rows.law, rows.z / number
    slope = 1.0 / number if whole else 1.0
    return Reading(
        "softmax-temperature",
        f"a softmax temperature of {number:g}",
        slope * law.score(z, rows.actions),
        slope * law.score_size(z, rows.actions) * rows.lift * (1.0 + 1.0 / number),
        (lambda u: slope**2 * law.fisher(z, u), slope**2 * law.fisher_size(z)),
        log_prob=law.log_prob(z, rows.actions),
        kl=lambda new: law.kl(z, new / number),
    )


def _mixed(rows: Rows, law: MultiDiscrete, number: float) -> Reading:
    """(1 − ε)π + ε/A."""

    def mixture(z: Array) -> list[Array]:
        return [(1.0 - number) * p + number / p.shape[1] for p in law.blocks(law.probabilities(z))]

    plain = law.probabilities(rows.z)
    mixed = np.concatenate(mixture(rows.z), axis=1)
    share = (1.0 - number) * plain / mixed  # ∂ log((1 − ε)π + ε/A) = share ∂ log π
    taken = law.taken(rows.actions)
    held = np.concatenate(
        [
            np.broadcast_to(np.sum(e * s, axis=1, keepdims=True), e.shape)
            for e, s in zip(law.blocks(taken), law.blocks(share), strict=True)
        ],
        axis=1,
    )

    def kl(new: Array) -> Array:
        pairs = zip(mixture(rows.z), mixture(new), strict=True)
        return np.asarray(sum((p * np.log(p / q)).sum(axis=1) for p, q in pairs))

    return Reading(
        "exploration-mixed-in",
        f"the policy is mixed with uniform exploration, ε = {number:g}",
        held * rows.score,
        rows.score_size * rows.lift,
        _of_scores(law, mixed * share**2, plain),
        log_prob=np.log(np.sum(taken * mixed, axis=1)) if law.dimensions == 1 else None,
        kl=kl,
    )


def _of_actions(rows: Rows, law: MultiDiscrete) -> Iterator[Reading]:
    """Known mistakes in the score, and the matrices that go with them."""
    plain, taken = law.probabilities(rows.z), law.taken(rows.actions)
    size = rows.score_size * rows.lift
    ones = np.ones_like(plain)
    even = np.concatenate([np.full_like(b, 1.0 / b.shape[1]) for b in law.blocks(plain)], axis=1)
    last = np.concatenate([_unit_last(b) for b in law.blocks(plain)], axis=1)
    yield Reading(
        "score-plus-pi",
        score=taken + plain,
        size=size,
        curvature=_of_scores(law, plain, -plain),
    )
    yield Reading(
        "score-minus-uniform-mean",
        score=taken - even,
        size=size,
        curvature=_of_scores(law, plain, even),
    )
    yield Reading("action-weights-missing", curvature=_of_scores(law, ones, plain))
    yield Reading("action-weights-squared", curvature=_of_scores(law, plain**2, plain))
    yield Reading(
        "last-action-forgotten", curvature=_of_scores(law, np.where(last, 0.0, plain), plain)
    )
    kept = np.where(last, 0.0, 1.0)
    within, bound = law.fisher, law.fisher_size(rows.z)
    yield Reading(
        "last-action-fixed",
        score=kept * rows.score,
        size=size,
        curvature=(lambda u: kept * within(rows.z, kept * u), kept * bound),
    )
    sizes = np.asarray(law.sizes)
    for shift, said in ((1, "log π of action a + 1"), (-1, "log π of action a − 1")):
        moved = (rows.actions + shift) % sizes
        yield Reading(
            "action-index-off-by-one",
            said,
            law.score(rows.z, moved),
            law.score_size(rows.z, moved) * rows.lift,
            log_prob=law.log_prob(rows.z, moved),
        )
    logits = np.sum(taken * np.where(taken > 0, rows.z, 0.0), axis=1)
    yield Reading("logit-for-log-prob", log_prob=logits)
    yield Reading(
        "probability-for-log-prob",
        log_prob=np.exp(law.log_prob(rows.z, rows.actions)),
    )


def _of_other_rows(rows: Rows) -> Iterator[Reading]:
    """π of another row's state beside the Jacobian of this one."""
    law = rows.law
    if len(rows.z) < 2:
        return
    for z, said in (
        (np.roll(rows.z, -1, axis=0), "π of the next row's state"),
        (np.roll(rows.z, 1, axis=0), "π of the row before"),
        (np.broadcast_to(rows.z[:1], rows.z.shape), "π of the first row's state throughout"),
    ):
        yield Reading(
            "policy-of-another-state",
            said,
            law.score(z, rows.actions),
            law.score_size(z, rows.actions) * rows.lift,
            (partial(law.fisher, z), law.fisher_size(z)),
            log_prob=law.log_prob(z, rows.actions),
            kl=partial(law.kl, z),
        )


def _of_scores(law: MultiDiscrete, chance: Array, centre: Array) -> Curvature:
    """W = Σ_a k_a (e_a − c)(e_a − c)ᵀ in each block."""

    def apply(u: Array) -> Array:
        parts = []
        for k, c, block in zip(law.blocks(chance), law.blocks(centre), law.blocks(u), strict=True):
            rest = k * (block - (c * block).sum(axis=1, keepdims=True))
            parts.append(rest - c * rest.sum(axis=1, keepdims=True))
        return np.concatenate(parts, axis=1)

    whole = [
        k + np.abs(c) * k.sum(axis=1, keepdims=True)
        for k, c in zip(law.blocks(chance), law.blocks(centre), strict=True)
    ]
    return apply, np.concatenate(whole, axis=1)


def _unit_last(block: Array) -> Array:
    last = np.zeros(block.shape, dtype=bool)
    last[:, -1] = True
    return last


# ---- Gaussian actions ----------------------------------------------------------------------------


def _of_means(rows: Rows, law: Gaussian) -> Iterator[Reading]:
    mean, log_std = law.split(rows.z)
    variance = np.exp(2.0 * log_std)
    of_std = rows.score[:, law.dimensions :]
    diagonal = np.concatenate([variance, np.full_like(variance, 2.0)], axis=1)
    size = rows.score_size * rows.lift * (1.0 + np.tile(variance, 2))
    yield Reading(
        "mean-score-missing-variance",
        score=np.concatenate([rows.actions - mean, of_std], axis=1),
        size=size,
        curvature=((lambda u: diagonal * u), diagonal),
    )
    yield Reading(
        "mean-score-missing-variance",
        "the gradient with respect to μ is a − μ, and log σ gets none",
        np.concatenate([rows.actions - mean, 0.0 * of_std], axis=1),
        size,
    )


def _clamped(rows: Rows, law: Gaussian) -> Iterator[Family]:
    """log σ clipped to a bound; its gradient is cut there, or passed on."""
    grid = np.linspace(-6.0, 2.5, 86)
    for lower in (True, False):
        for cut in (True, False):
            yield Family(grid, _clamp(rows, law, lower, cut))


def _clamp(rows: Rows, law: Gaussian, lower: bool, cut: bool) -> Callable[[float], Reading]:
    clip = np.maximum if lower else np.minimum

    def read(z: Array, bound: float) -> Array:
        mean, log_std = law.split(z)
        return np.concatenate([mean, clip(log_std, bound)], axis=1)

    def make(bound: float) -> Reading:
        z = read(rows.z, bound)
        moves = np.ones_like(z)
        if cut:
            moves[:, law.dimensions :] = law.split(z)[1] == law.split(rows.z)[1]
        size = law.score_size(z, rows.actions) * law.lift(z)
        return Reading(
            "log-std-clamped",
            f"log σ is clipped to {'at least' if lower else 'at most'} {bound:g}",
            moves * law.score(z, rows.actions),
            size,
            (lambda u: moves * law.fisher(z, u), moves * law.fisher_size(z)),
            log_prob=None if isinstance(law, TanhGaussian) else law.log_prob(z, rows.actions),
            kl=lambda new: law.kl(z, read(new, bound)),
        )

    return make


# ---- weights -------------------------------------------------------------------------------------


def _as_time(rows: Rows, whole: bool, number: float) -> Reading:
    """ω γⁱ for the i-th row, brought to a sum of one or not."""
    weights = rows.weights * number ** np.arange(len(rows.weights))
    return Reading(
        "rows-weighted-as-time",
        f"γⁱ for the i-th row, with γ = {number:g}" + ("" if whole else ", over N"),
        weights=weights / weights.sum() if whole else weights,
    )


def _scaled(rows: Rows, factor: float) -> Curvature:
    law, z = rows.law, rows.z
    return (lambda u: factor * law.fisher(z, u)), factor * law.fisher_size(z)
