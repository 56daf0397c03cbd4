"""Ways of measuring how far θ' is from θ: KL, conventions, and known mistakes.

Each entry is a function of the outputs at θ' beside a registered choice; ``()`` stands for what the
contract asks for. The formulas are those of the registry, row by row, summed over independent
components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from npgcheck.distributions import ActionDistribution, Gaussian, MultiDiscrete, TanhGaussian
from npgcheck.step.rows import Rows

Array = np.ndarray
#: Estimators of KL from r = log π′(a)/π(a): Schulman (2020), Approximating KL divergence.
_ESTIMATORS: dict[str, Callable[[Array], Array]] = {
    "kl-from-sampled-log-ratios": lambda r: -r,
    "kl-from-squared-log-ratios": lambda r: 0.5 * r**2,
    "kl-from-exponential-log-ratios": lambda r: np.expm1(r) - r,
}
#: √KL and √(2KL) round as δKL/(2√KL), at divergences of a hundredth.
_ROOT = 10.0
_HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class Place:
    """One θ'.

    Attributes:
        z: (N, K), the outputs at θ'.
        square: ‖θ' − θ‖².
        form: (θ' − θ)ᵀF(θ' − θ), and how far it may be off; None where it is not known.
    """

    z: Array
    square: float = 0.0
    form: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Divergence:
    """One way of measuring.

    Attributes:
        choices: names of the registered choices that it consists of; () is what was asked for.
        note: what it does in words, where the registry's own note does not say it.
        measure: what it gives at one θ'.
        size: how much more than KL it rounds.
    """

    choices: tuple[str, ...]
    note: str
    measure: Callable[[Place], float]
    size: float = 1.0


def divergences(rows: Rows) -> Iterator[Divergence]:
    """Divergences between θ and θ', what the contract asks for first."""
    law, z, w = rows.law, rows.z, rows.weights

    def terms(new: Array) -> Array:
        return law.kl(z, new)

    def ratio(new: Array) -> Array:
        return law.log_prob(new, rows.actions) - law.log_prob(z, rows.actions)

    def averaged(name: str, note: str, f: Callable[[Array], Array]) -> Divergence:
        return Divergence((name,), note, lambda at: float(w @ f(at.z)))

    yield Divergence((), "", lambda at: float(w @ terms(at.z)))
    yield averaged("reverse-kl", "", lambda new: law.kl(new, z))
    yield from _scaled(rows)
    yield averaged("jeffreys-kl", "the mean of both directions",
                   lambda new: 0.5 * (terms(new) + law.kl(new, z)))  # fmt: skip
    yield averaged("jeffreys-kl", "the sum of both directions",
                   lambda new: terms(new) + law.kl(new, z))  # fmt: skip
    visited = w > 0
    yield Divergence(
        ("kl-max-over-states",), "", lambda at: float(terms(at.z)[visited].max(initial=0.0))
    )
    for name, estimator in _ESTIMATORS.items():
        yield averaged(name, "", partial(_of_ratio, estimator, ratio))
    if isinstance(law, Gaussian):
        yield from _gaussian(rows, law)
    else:
        yield from _discrete(rows)
    yield Divergence(
        ("both-sides-live",), "always zero: both policies move together", lambda at: 0.0
    )


def with_epsilon(rows: Rows) -> Iterator[tuple[str, Callable[[Place, float], float]]]:
    """KL with an ε inside the logarithm, as functions of θ' and ε, for discrete actions."""
    if isinstance(rows.law, Gaussian):
        return
    old, w = probabilities(rows.law, rows.z), rows.weights

    def form(f: Callable[[Array, Array, float], Array]) -> Callable[[Place, float], float]:
        def measure(at: Place, epsilon: float) -> float:
            new = probabilities(rows.law, at.z)
            pairs = zip(old, new, strict=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                parts = [np.where(p > 0, f(p, q, epsilon), 0.0).sum(axis=1) for p, q in pairs]
            return float(w @ sum(parts))

        return measure

    yield "π log((π + ε)/(π′ + ε))", form(lambda p, q, e: p * np.log((p + e) / (q + e)))
    yield "π log(π/(π′ + ε))", form(lambda p, q, e: p * np.log(p / (q + e)))
    yield "π log(π/π′ + ε)", form(lambda p, q, e: p * np.log(p / q + e))
    yield "(π + ε) log((π + ε)/(π′ + ε))", form(lambda p, q, e: (p + e) * np.log((p + e) / (q + e)))


def probabilities(law: ActionDistribution, z: Array) -> list[Array]:
    """(N, A_i) for each component; for binary actions the chances of 1 and of 0."""
    if isinstance(law, MultiDiscrete):
        return law.blocks(law.probabilities(z))
    one = np.exp(-np.logaddexp(0.0, -z))
    zero = np.exp(-np.logaddexp(0.0, z))
    return [np.stack([zero[:, j], one[:, j]], axis=1) for j in range(z.shape[1])]


def _scaled(rows: Rows) -> Iterator[Divergence]:
    """KL times a number, or its root."""
    law, z, w = rows.law, rows.z, rows.weights
    count, m = float(len(w)), law.dimensions

    def times(name: str, note: str, factor: float) -> Divergence:
        return Divergence(
            (name,), note, lambda at: factor * float(w @ law.kl(z, at.z)), max(1.0, factor)
        )

    if m > 1:
        yield times("kl-mean-over-action-dimensions", "", 1.0 / m)
    if isinstance(law, MultiDiscrete) and len(set(law.sizes)) == 1:
        size = law.sizes[0]
        note = "a mean over the actions in place of their sum"
        yield times("kl-mean-over-actions", note, 1.0 / size)
    yield times("kl-factor-two", "½ KL in place of KL", 0.5)
    yield times("kl-factor-two", "2 KL in place of KL", 2.0)
    yield times("batch-size-scale", "a sum over the rows in place of their mean", count)
    yield Divergence(("kl-summed-over-states",), "", lambda at: float(law.kl(z, at.z).sum()), count)
    for factor, said in ((1.0, "√KL"), (2.0, "√(2 KL)")):
        root = partial(_root_of, rows, factor)
        yield Divergence(("kl-square-root",), f"{said} in place of KL", root, _ROOT)


def _root_of(rows: Rows, factor: float, at: Place) -> float:
    return float(np.sqrt(factor * max(float(rows.weights @ rows.law.kl(rows.z, at.z)), 0.0)))


def _of_ratio(
    estimator: Callable[[Array], Array], ratio: Callable[[Array], Array], new: Array
) -> Array:
    return estimator(ratio(new))


def _discrete(rows: Rows) -> Iterator[Divergence]:
    """Known mistakes in terms of the probabilities π and π′."""
    old, w = probabilities(rows.law, rows.z), rows.weights

    def made(name: str, note: str, f: Callable[[Array, Array], Array]) -> Divergence:
        def measure(at: Place) -> float:
            pairs = zip(old, probabilities(rows.law, at.z), strict=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                parts = [np.where(p > 0, f(p, q), f(q * 0.0, q)) for p, q in pairs]
            return float(w @ sum(np.nan_to_num(part).sum(axis=1) for part in parts))

        return Divergence((name,), note, measure)

    yield made("cross-entropy-for-kl", "", lambda p, q: -p * np.log(q))
    yield made("kl-absolute-log-ratio", "", lambda p, q: p * np.abs(np.log(p / q)))
    yield made(
        "total-variation-for-kl",
        "the total variation ½ Σ |π − π′|, not KL",
        lambda p, q: 0.5 * np.abs(p - q),
    )
    yield made(
        "total-variation-for-kl",
        "Σ |π − π′|, twice the total variation, not KL",
        lambda p, q: np.abs(p - q),
    )
    yield made(
        "squared-distance-for-kl",
        "½ Σ (π − π′)², a squared distance, not KL",
        lambda p, q: 0.5 * (p - q) ** 2,
    )
    yield made(
        "squared-distance-for-kl",
        "Σ (π − π′)², a squared distance, not KL",
        lambda p, q: (p - q) ** 2,
    )


def _gaussian(rows: Rows, law: Gaussian) -> Iterator[Divergence]:
    """Known mistakes in terms of the means m, n and the standard deviations s, t."""
    mean, log_std = law.split(rows.z)
    std, w = np.exp(log_std), rows.weights
    Formula = Callable[[Array, Array, Array, Array], Array]

    def made(name: str, note: str, f: Formula) -> Divergence:
        def measure(at: Place) -> float:
            new, new_log = law.split(at.z)
            return float(w @ f(mean, std, new, np.exp(new_log)).sum(axis=1))

        return Divergence((name,), note, measure)

    if not isinstance(law, TanhGaussian):
        yield made("cross-entropy-for-kl", "", lambda m, s, n, t: np.log(t) + _HALF_LOG_2PI
                   + (s**2 + (m - n) ** 2) / (2 * t**2))  # fmt: skip
    yield made("gaussian-kl-with-old-variance", "", lambda m, s, n, t: np.log(t / s)
               + s**2 / (2 * t**2) + (m - n) ** 2 / (2 * s**2) - 0.5)  # fmt: skip
    yield made("gaussian-kl-without-minus-half", "", lambda m, s, n, t: np.log(t / s)
               + (s**2 + (m - n) ** 2) / (2 * t**2))  # fmt: skip
    yield made("gaussian-kl-of-means-only", "", lambda m, s, n, t: (m - n) ** 2 / (2 * t**2))
    yield made("gaussian-kl-of-means-only", "only the means enter KL, over the old variance",
               lambda m, s, n, t: (m - n) ** 2 / (2 * s**2))  # fmt: skip
    yield made("gaussian-kl-std-for-variance", "", lambda m, s, n, t: np.log(t / s)
               + (s + (m - n) ** 2) / (2 * t) - 0.5)  # fmt: skip
    yield made("gaussian-kl-std-for-variance", "", lambda m, s, n, t: 0.5 * np.log(t / s)
               + (s + (m - n) ** 2) / (2 * t) - 0.5)  # fmt: skip
    yield made("gaussian-kl-log-term-missing", "", lambda m, s, n, t: (s**2 + (m - n) ** 2)
               / (2 * t**2) - 0.5)  # fmt: skip
    yield made("gaussian-kl-log-term-missing", "log σ₁/σ₀ has the wrong sign",
               lambda m, s, n, t: np.log(s / t) + (s**2 + (m - n) ** 2) / (2 * t**2)
               - 0.5)  # fmt: skip
