"""Ways of doing one stage of a step in output space: right ones, conventions, and known mistakes.

Each entry is a formula beside a registered choice; ``None`` stands for what the contract asks for.
A Fisher matrix is what stands between Jᵀ and J, a gradient what stands after Jᵀ, so every variant
is tried at no further evaluation of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npgcheck.distributions import Bernoulli, Gaussian, MultiDiscrete, TanhGaussian, logistic
from npgcheck.step.rows import Curvature, Rows

Array = np.ndarray
#: Every k-th row that a product may be taken over; baselines takes k = 5.
STRIDES = (2, 4, 5, 8, 10)
#: The usual bound to which environments clip actions.
CLIP = 1.0


@dataclass(frozen=True, eq=False)
class Fisher:
    """A matrix Σ ω Jᵀ W J + Σ ± (Σ Jᵀ c)(Σ Jᵀ c)ᵀ.

    Attributes:
        choices: names of the registered choices that it consists of; () is what was asked for.
        note: what it does in words, where the registry's own note does not say it.
        curvature: W.
        weights: (N,), ω.
        means: pairs of a factor and (N, K) cotangents c with their weights: the terms of rank one.
    """

    choices: tuple[str, ...]
    note: str
    curvature: Curvature
    weights: Array
    means: tuple[tuple[float, Array], ...] = ()


@dataclass(frozen=True, eq=False)
class Gradient:
    """A right side Σ c_i (J v)_i.

    Attributes:
        choices: names of the registered choices that it consists of; () is what was asked for.
        note: what it does in words, where the registry's own note does not say it.
        cotangent: (N, K), c, with the rows' weights.
        size: (N, K), what c rounds relative to.
        divided: the standard deviation that the advantages were divided by, 0 if none: an ε beside
            it scales them a little.
    """

    choices: tuple[str, ...]
    note: str
    cotangent: Array
    size: Array
    divided: float = 0.0


def fishers(rows: Rows) -> Iterator[Fisher]:
    """Fisher matrices, what the contract asks for first."""
    law, z, score = rows.law, rows.z, rows.score
    weights = rows.weights
    true: Curvature = (lambda u: law.fisher(z, u), law.fisher_size(z))
    yield Fisher((), "", true, weights)
    yield Fisher(("empirical-fisher",), "", _outer(score), weights)
    for stride in STRIDES:
        if len(weights) >= 2 * stride:
            kept = np.zeros_like(weights)
            kept[::stride] = weights[::stride]
            note = f"Fisher matrix over one row in {stride} only"
            yield Fisher(("fisher-state-subsample",), note, true, kept / kept.sum())
    yield Fisher(
        ("loss-gradient-outer-product",), "", _outer(score * rows.advantages[:, None]), weights
    )
    yield from _of_means(rows, true)
    if isinstance(law, Gaussian):
        yield from _gaussian_fishers(law, z, weights)
        return
    uncentred = _uncentred(rows)
    mean = law.fisher_size(z) if isinstance(law, MultiDiscrete) else logistic(z)
    average = weights[:, None] * mean
    nothing = _diagonal(np.zeros_like(z))
    yield Fisher(("one-mean-for-all-states",), "", _diagonal(mean), weights, ((-1.0, average),))
    yield Fisher(
        ("one-mean-for-all-states",),
        "the outer product of the mean feature",
        nothing,
        weights,
        ((1.0, average),),
    )
    taken = weights[:, None] * uncentred
    yield Fisher(
        ("one-mean-for-all-states",),
        "the covariance of ∂z_a/∂θ over all rows, with one mean",
        _outer(uncentred),
        weights,
        ((-1.0, taken),),
    )
    for scale, said in ((1.0 / z.shape[1], "mean"), (1.0, "sum")):
        note = f"the Gauss–Newton matrix of a value head, the {said} of the logits, is added"
        joint = _with_value(true, scale**2)
        yield Fisher(("joint-actor-critic-fisher",), note, joint, weights)
    yield Fisher(("score-missing-minus-pi",), "", _diagonal(mean), weights)
    yield Fisher(("score-missing-minus-pi", "empirical-fisher"), "", _outer(uncentred), weights)
    yield Fisher(("softmax-jacobian-skipped",), "", _diagonal(np.ones_like(z)), weights)


def _of_means(rows: Rows, true: Curvature) -> Iterator[Fisher]:
    """Matrices with a product of means in them."""
    score, weights = rows.score, rows.weights
    count = len(weights)
    mean_score = weights[:, None] * score
    gradient = mean_score * rows.advantages[:, None]
    nothing = _diagonal(np.zeros_like(score))
    centred = "centred-vs-uncentred"
    yield Fisher((centred,), "", _outer(score), weights, ((-1.0, mean_score),))
    if count > 1:
        more = count / (count - 1.0)
        note = "a mean is subtracted in F: a covariance of scores, which divides by N − 1"
        yield Fisher((centred,), note, _outer(score), more * weights, ((-more, mean_score),))
    yield Fisher((centred,), "g gᵀ is subtracted from F", true, weights, ((-1.0, gradient),))
    yield Fisher(("outer-product-of-the-mean-gradient",), "", nothing, weights, ((1.0, gradient),))


def _with_value(true: Curvature, scale: float) -> Curvature:
    """W + s 1 1ᵀ."""
    weigh, bound = true
    return (
        lambda u: weigh(u) + scale * u.sum(axis=1, keepdims=True),
        bound + scale * bound.shape[1],
    )


def _gaussian_fishers(law: Gaussian, z: Array, weights: Array) -> Iterator[Fisher]:
    log_std = law.split(z)[1]
    std = np.exp(log_std)
    two, one, zero = np.full_like(std, 2.0), np.ones_like(std), np.zeros_like(std)
    right_mean, right_std = std**-2, two

    def made(name: str, note: str, mean: Array, spread: Array) -> Fisher:
        return Fisher((name,), note, _diagonal(np.concatenate([mean, spread], axis=1)), weights)

    yield made("log-std-omitted-from-F", "", right_mean, zero)
    yield made("std-variance-confusion", "1/σ in place of 1/σ² for the mean", std**-1, right_std)
    yield made("std-variance-confusion", "1/σ⁴ in place of 1/σ² for the mean", std**-4, right_std)
    yield made("unit-variance-fisher", "σ = 1 in the block of the mean", one, right_std)
    yield made("unit-variance-fisher", "σ = 1 for the mean, no block of log σ", one, zero)
    yield made(
        "F-in-another-sigma-coordinate", "½ for log σ: the entry of log σ²", right_mean, 0.5 * one
    )
    yield made(
        "F-in-another-sigma-coordinate", "2/σ² for log σ: the entry of σ", right_mean, 2.0 * std**-2
    )
    yield made(
        "F-in-another-sigma-coordinate",
        "1/(2σ⁴) for log σ: the entry of σ²",
        right_mean,
        0.5 * std**-4,
    )
    yield made("unit-variance-fisher", "1 for the mean and for log σ", one, one)
    yield made("log-std-block-one", "", right_mean, one)
    # E[J]ᵀ Σ⁻¹ E[J] in the block of the mean: one term of rank one for each dimension
    columns = np.eye(2 * law.dimensions)[: law.dimensions]
    means = tuple(
        (1.0, (weights / std[:, k])[:, None] * column) for k, column in enumerate(columns)
    )
    for spread in (right_std, zero):
        rest = _diagonal(np.concatenate([zero, spread], axis=1))
        yield Fisher(("outer-product-of-the-mean-feature",), "", rest, weights, means)


def gradients(rows: Rows) -> Iterator[Gradient]:
    """Right sides, what the contract asks for first: scores × advantages."""
    for advantage_names, taken, divided in advantages(rows):
        for score_names, note, score, size in _scores(rows):
            column = (rows.weights * taken)[:, None]
            yield Gradient(
                (*score_names, *advantage_names),
                note,
                column * score,
                np.abs(column) * size,
                divided,
            )


def entropy(rows: Rows) -> tuple[Array, Array] | None:
    """Cotangents of the mean entropy, and their sizes; None where it has no closed form."""
    if isinstance(rows.law, TanhGaussian):
        return None
    gradient = rows.weights[:, None] * rows.law.entropy_gradient(rows.z)
    return gradient, np.abs(gradient) * rows.lift


def advantages(rows: Rows) -> Iterator[tuple[tuple[str, ...], Array, float]]:
    """Advantages as given, and as code commonly changes them; with the number divided by."""
    given, w = rows.advantages, rows.weights
    yield (), given, 0.0
    mean = float(w @ given)
    centred = given - mean
    std = float(np.sqrt(w @ centred**2))
    count = len(given)
    size = float(np.abs(given).max())
    if std <= 1e-12 * size or not size:
        return
    if abs(mean) > 1e-12 * size:
        yield ("batch-mean-baseline",), centred, 0.0
    if abs(mean) > 1e-9 * size or abs(std - 1.0) > 1e-9:
        yield ("normalised-advantages",), centred / std, std
    sample = std * np.sqrt(count / (count - 1))
    if abs(mean) > 1e-9 * size or abs(sample - 1.0) > 1e-9:
        yield ("normalised-advantages-sample-std",), centred / sample, float(sample)
    yield ("scaled-advantages",), given / std, std
    yield ("scaled-advantages",), given / sample, float(sample)
    yield ("positive-advantages-only",), np.maximum(given, 0.0), 0.0
    yield ("absolute-advantages",), np.abs(given), 0.0
    yield ("advantages-missing",), np.ones_like(given), 0.0


def _scores(rows: Rows) -> Iterator[tuple[tuple[str, ...], str, Array, Array]]:
    """Scores in output space, and what they round relative to."""
    law, z, actions = rows.law, rows.z, rows.actions
    size = rows.score_size * rows.lift
    yield (), "", rows.score, size
    chance = np.exp(np.minimum(law.log_prob(z, actions), 700.0))[:, None]
    yield ("gradient-of-pi-not-log-pi",), "", chance * rows.score, chance * size
    if not isinstance(law, Gaussian):
        yield ("score-missing-minus-pi",), "", _uncentred(rows), size
        return
    m = law.dimensions
    mean, log_std = law.split(z)
    std = np.exp(log_std)
    of_mean, of_std = rows.score[:, :m], rows.score[:, m:]
    standard = (actions - mean) / std
    zero = np.zeros_like(std)

    def made(name: str, note: str, *parts: Array) -> tuple[tuple[str, ...], str, Array, Array]:
        return (name,), note, np.concatenate(parts, axis=1), size * (1.0 + np.tile(std, 2))

    yield made("log-std-omitted", "log σ gets no gradient", of_mean, zero)
    yield made("sampled-action-not-detached", "the mean gets no gradient", zero, of_std)
    yield made("sampled-action-not-detached", "the action moves with μ and σ", zero, zero - 1.0)
    yield made("std-variance-confusion", "(a−μ)/σ in place of (a−μ)/σ²", standard, of_std)
    yield made(
        "score-in-another-sigma-coordinate",
        "the derivative in σ, not in log σ",
        of_mean,
        of_std / std,
    )
    yield made(
        "score-in-another-sigma-coordinate", "the derivative in log σ²", of_mean, 0.5 * of_std
    )
    yield made("log-std-score-missing-minus-one", "", of_mean, standard**2)
    if isinstance(law, TanhGaussian):
        return
    clipped = np.clip(actions, -CLIP, CLIP)
    if (clipped != actions).any():
        yield (
            ("clipped-action-in-logprob",),
            f"log π of the action clipped to ±{CLIP:g}",
            law.score(z, clipped),
            law.score_size(z, clipped) * rows.lift,
        )


def log_probs(rows: Rows) -> Iterator[tuple[tuple[str, ...], str, Array]]:
    """Log-probabilities of the rows' actions, (N,)."""
    law, z, actions = rows.law, rows.z, rows.actions
    parts = law.log_prob_parts(z, actions)
    yield (), "", parts.sum(axis=1)
    if law.dimensions > 1:
        yield ("logprob-not-summed-over-dims",), "", parts.mean(axis=1)
    if isinstance(law, TanhGaussian):
        plain = Gaussian(law.dimensions).log_prob(z, actions)
        yield ("tanh-jacobian",), "the term Σ log(1 − a²) of the squashing is missing", plain
        twice = 2.0 * law.log_prob(z, actions) - plain
        yield ("tanh-jacobian",), "the term Σ log(1 − a²) of the squashing counts twice", twice
        flipped = 2.0 * plain - law.log_prob(z, actions)
        yield ("tanh-jacobian",), "the term Σ log(1 − a²) has the wrong sign", flipped
        return
    if not isinstance(law, Gaussian):
        return
    log_std = law.split(z)[1]
    standard = (actions - law.split(z)[0]) * np.exp(-log_std)
    constant = np.log(2.0 * np.pi)
    yield (
        ("density-constant-missing",),
        "−½ log 2π of each dimension is missing",
        (parts + 0.5 * constant).sum(axis=1),
    )
    yield (
        ("density-constant-missing",),
        "−log σ of each dimension is missing",
        (parts + log_std).sum(axis=1),
    )
    # exp taken twice, or σ² read as σ: what stands for σ is σ^½, σ² or e^σ
    for note, log_scale in (
        ("σ² where σ belongs", 2.0 * log_std),
        ("√σ where σ belongs", 0.5 * log_std),
        ("log σ read as σ and exponentiated again", np.exp(log_std)),
    ):
        wrong = -0.5 * ((standard * np.exp(log_std - log_scale)) ** 2 + 2 * log_scale + constant)
        yield ("std-variance-confusion",), note, wrong.sum(axis=1)
    clipped = np.clip(actions, -CLIP, CLIP)
    if (clipped != actions).any():
        note = f"log π of the action clipped to ±{CLIP:g}"
        yield ("clipped-action-in-logprob",), note, law.log_prob(z, clipped)


def _outer(score: Array) -> Curvature:
    """W = s sᵀ row by row."""
    return (lambda u: score * np.sum(score * u, axis=1, keepdims=True)), _row_bound(score)


def _row_bound(score: Array) -> Array:
    # (s·u)² ≤ |s|₁ Σ |s_i| u_i²
    size = np.abs(score)
    return size * size.sum(axis=1, keepdims=True)


def _diagonal(entries: Array) -> Curvature:
    return (lambda u: entries * u), entries


def _uncentred(rows: Rows) -> Array:
    """∇ of the taken logit alone: e_a, or a for binary actions."""
    if isinstance(rows.law, MultiDiscrete):
        return rows.law.taken(rows.actions)
    assert isinstance(rows.law, Bernoulli)
    return np.asarray(rows.actions)
