"""Planted mistakes: one change of one part of a right step, and what ought to be said of it.

Each is written as the mistake is made, in terms of the network and the family alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npgcheck.step.controls.heads import Head
from npgcheck.step.controls.trpo import Step

Array = np.ndarray


@dataclass(frozen=True)
class Mistake:
    """One planted mistake.

    Attributes:
        name: what was done.
        quantity: the contract's name of what has to fail (or deviate, where `status` says so).
        choice: the registered name that has to be given; "" where it has none.
        apply: a right step ↦ the wrong one.
        heads: names of the families in which it is one; () for all.
        status: what the verdict on `quantity` has to be.
    """

    name: str
    quantity: str
    choice: str
    apply: Callable[[Step], Step]
    heads: tuple[str, ...] = ()
    status: str = "fail"

    def concerns(self, head: Head, dtype: str) -> bool:
        """Whether the mistake can be made, and shows, in this family and precision."""
        if self.heads and head.name not in self.heads:
            return False
        if dtype != "float64" and "(double)" in self.name:
            return False
        return head.dimensions > 1 or "dimensions" not in self.name


def _changed(part: str, function: Callable[..., Any]) -> Callable[[Step], Step]:
    return lambda step: replace(step, changed={**step.changed, part: function})


def _gradient_of(cotangent: Callable[[Step, Array], Array]) -> Callable[[Step], Step]:
    """A gradient made of other cotangents, as a function of the step and its outputs."""
    return _changed("gradient", lambda s, right: s.pull_back(cotangent(s, s.outputs(s.theta))))


def _fisher_of(weigh: Callable[[Step, Array, Array], Array]) -> Callable[[Step], Step]:
    """A product with another matrix in the middle: (step, z, J v) ↦ W J v."""

    def fisher(s: Step, right: Any, v: Array) -> Array:
        moved = s.network.jvp(s.theta, s.observations, v)
        return s.pull_back(weigh(s, s.outputs(s.theta), moved))

    return _changed("fisher", fisher)


def _times(part: str, factor: Callable[[Step], float]) -> Callable[[Step], Step]:
    def scaled(s: Step, right: Any, *given: Any) -> Any:
        answer = right(*given)
        return answer * np.asarray(answer).dtype.type(factor(s))

    return _changed(part, scaled)


def _score(s: Step, z: Array) -> Array:
    return s.head.score(z, s.actions)


def _mean_only(s: Step, score: Array) -> Array:
    out = score.copy()
    out[:, s.head.dimensions :] = 0
    return out


def _std_only(s: Step, score: Array) -> Array:
    out = score.copy()
    out[:, : s.head.dimensions] = 0
    return out


def _taken(s: Step, z: Array) -> Array:
    if s.head.name == "categorical":
        return np.eye(z.shape[1], dtype=z.dtype)[s.actions]
    return s.actions.astype(z.dtype)


def _std(s: Step, z: Array) -> Array:
    return np.exp(z[:, s.head.dimensions :])


def _normalised(s: Step) -> Array:
    a = s.advantages
    return (a - a.mean()) / (a.std() + 1e-8)


def _clipped(s: Step, z: Array) -> Array:
    return s.head.score(z, np.clip(s.actions, -1, 1))


def _on_blocks(s: Step, z: Array, moved: Array, mean: Array, spread: Array | float) -> Array:
    m = s.head.dimensions
    return np.concatenate([mean * moved[:, :m], spread * moved[:, m:]], axis=1)


def _scramble(step: Step) -> Array:
    """θ's order with the first weight matrix transposed."""
    rows, columns = step.network.shapes[0]
    order = np.arange(len(step.theta))
    order[: rows * columns] = order[: rows * columns].reshape(rows, columns).T.ravel()
    return order


_G = ("gaussian",)
_D = ("categorical", "bernoulli")
_LOW = "fisher_vector_product"

MISTAKES: tuple[Mistake, ...] = (
    # the gradient
    Mistake("sum over rows in g", "policy_gradient", "sum-in-g-mean-in-F",
            _times("gradient", lambda s: len(s.actions))),
    Mistake("0.7 g", "policy_gradient", "", _times("gradient", lambda s: 0.7)),
    Mistake("|A|", "policy_gradient", "absolute-advantages",
            _gradient_of(lambda s, z: np.abs(s.advantages)[:, None] * _score(s, z))),
    Mistake("max(A, 0)", "policy_gradient", "positive-advantages-only",
            _gradient_of(lambda s, z: np.maximum(s.advantages, 0)[:, None] * _score(s, z))),
    Mistake("A/std A, with N − 1", "policy_gradient", "scaled-advantages",
            _times("gradient", lambda s: 1 / s.advantages.std(ddof=1)), (), "deviates"),
    Mistake("g = 0", "policy_gradient", "gradient-zero", lambda s: replace(s, changed={
        "gradient": lambda s, right: np.zeros_like(s.theta),
        "solve": lambda s, right, g: np.zeros_like(g)})),
    Mistake("A forgotten", "policy_gradient", "advantages-missing",
            _gradient_of(lambda s, z: _score(s, z))),
    Mistake("∇π for ∇log π", "policy_gradient", "gradient-of-pi-not-log-pi",
            _gradient_of(lambda s, z: np.exp(s.head.log_prob(z, s.actions))[:, None]
                         * s.advantages[:, None] * _score(s, z))),
    Mistake("A of the next row", "policy_gradient", "",
            _gradient_of(lambda s, z: np.roll(s.advantages, 1)[:, None] * _score(s, z))),
    Mistake("first half of the rows in g", "policy_gradient", "",
            _gradient_of(lambda s, z: (s.advantages * (np.arange(len(z)) < len(z) // 2))[:, None]
                         * _score(s, z))),
    Mistake("no −π in the score", "policy_gradient", "score-missing-minus-pi",
            _gradient_of(lambda s, z: s.advantages[:, None] * _taken(s, z)), _D),
    Mistake("log π averaged over dimensions", "policy_gradient", "logprob-not-summed-over-dims",
            _times("gradient", lambda s: 1 / s.head.dimensions), _G),
    Mistake("no gradient for log σ", "policy_gradient", "log-std-omitted",
            _gradient_of(lambda s, z: s.advantages[:, None] * _mean_only(s, _score(s, z))), _G),
    Mistake("rsample: no gradient for μ", "policy_gradient", "sampled-action-not-detached",
            _gradient_of(lambda s, z: s.advantages[:, None] * _std_only(s, _score(s, z))), _G),
    Mistake("z² for z² − 1", "policy_gradient", "log-std-score-missing-minus-one",
            _gradient_of(lambda s, z: s.advantages[:, None] * (_score(s, z) + np.concatenate(
                [np.zeros_like(_std(s, z)), np.ones_like(_std(s, z))], axis=1))), _G),
    Mistake("(a−μ)/σ for (a−μ)/σ²", "policy_gradient", "std-variance-confusion",
            _gradient_of(lambda s, z: s.advantages[:, None] * np.concatenate(
                [_mean_only(s, _score(s, z))[:, : s.head.dimensions] * _std(s, z),
                 _score(s, z)[:, s.head.dimensions :]], axis=1)), _G),
    Mistake("(z² − 1)/σ: the score of σ", "policy_gradient", "score-in-another-sigma-coordinate",
            _gradient_of(lambda s, z: s.advantages[:, None] * np.concatenate(
                [_score(s, z)[:, : s.head.dimensions],
                 _score(s, z)[:, s.head.dimensions :] / _std(s, z)], axis=1)), _G),
    Mistake("A/std A", "policy_gradient", "scaled-advantages",
            _times("gradient", lambda s: 1 / s.advantages.std()), (), "deviates"),
    Mistake("log π of clipped actions", "policy_gradient", "clipped-action-in-logprob",
            _gradient_of(lambda s, z: s.advantages[:, None] * _clipped(s, z)), _G),
    Mistake("2 g", "policy_gradient", "gradient-factor-two", _times("gradient", lambda s: 2.0)),
    Mistake("first weights transposed in g", "policy_gradient", "order-or-transpose",
            _changed("gradient", lambda s, right: right()[_scramble(s)])),
    Mistake("g wrong by a per cent in one entry (double)", "policy_gradient", "",
            _changed("gradient", lambda s, right: right() * (
                1 + s.theta.dtype.type(1e-2) * (np.arange(len(s.theta)) == 1)))),
    Mistake("g of normalised advantages", "policy_gradient", "normalised-advantages",
            _gradient_of(lambda s, z: _normalised(s)[:, None] * _score(s, z)), (), "deviates"),
    Mistake("g with an entropy bonus", "policy_gradient", "entropy-bonus",
            _gradient_of(lambda s, z: s.advantages[:, None] * _score(s, z)
                         + s.theta.dtype.type(0.01) * s.head.entropy_score(z)), (), "deviates"),
    Mistake("an entropy bonus of the wrong sign", "policy_gradient",
            "entropy-bonus-with-the-wrong-sign",
            _gradient_of(lambda s, z: s.advantages[:, None] * _score(s, z)
                         - s.theta.dtype.type(0.01) * s.head.entropy_score(z))),
    Mistake("g − θ/100", "policy_gradient", "weight-decay-left-in",
            _changed("gradient", lambda s, right: right() - s.theta.dtype.type(0.01) * s.theta)),
    Mistake("gradient of the loss", "policy_gradient", "gradient-of-the-loss",
            _times("gradient", lambda s: -1.0), (), "deviates"),
    # the product
    Mistake("sum over rows in F", _LOW, "batch-size-scale",
            _times("fisher", lambda s: len(s.actions))),
    Mistake("2 F", _LOW, "fisher-factor-two", _times("fisher", lambda s: 2.0)),
    Mistake("4 F", _LOW, "metric-constant", _times("fisher", lambda s: 4.0), (), "deviates"),
    Mistake("F = 0: both sides live", _LOW, "both-sides-live", _times("fisher", lambda s: 0.0)),
    Mistake("A² φφᵀ", _LOW, "loss-gradient-outer-product",
            _fisher_of(lambda s, z, u: (s.advantages**2 * (_score(s, z) * u).sum(1))[:, None]
                       * _score(s, z))),
    Mistake("empirical F", _LOW, "empirical-fisher",
            _fisher_of(lambda s, z, u: (_score(s, z) * u).sum(1)[:, None] * _score(s, z)), (),
            "deviates"),
    Mistake("every fifth row in F", _LOW, "fisher-state-subsample",
            _fisher_of(lambda s, z, u: s.head.weigh(z, u) * (
                (np.arange(len(z)) % 5 == 0) * len(z) / len(z[::5])).astype(z.dtype)[:, None]), (),
            "deviates"),
    Mistake("W = I", _LOW, "softmax-jacobian-skipped", _fisher_of(lambda s, z, u: u), _D),
    Mistake("F of diag π", _LOW, "score-missing-minus-pi",
            _fisher_of(lambda s, z, u: np.exp(z - z.max(1, keepdims=True))
                       / np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True) * u),
            ("categorical",)),
    Mistake("KL averaged over dimensions in F", _LOW, "kl-mean-over-action-dimensions",
            _times("fisher", lambda s: 1 / s.head.dimensions), _G),
    Mistake("no block of log σ in F", _LOW, "log-std-omitted-from-F",
            _fisher_of(lambda s, z, u: _on_blocks(s, z, u, _std(s, z) ** -2, 0.0)), _G),
    Mistake("1/σ for 1/σ² in F", _LOW, "std-variance-confusion",
            _fisher_of(lambda s, z, u: _on_blocks(s, z, u, 1 / _std(s, z), 2.0)), _G),
    Mistake("½ for log σ in F", _LOW, "F-in-another-sigma-coordinate",
            _fisher_of(lambda s, z, u: _on_blocks(s, z, u, _std(s, z) ** -2, 0.5)), _G),
    Mistake("σ = 1 in F", _LOW, "unit-variance-fisher",
            _fisher_of(lambda s, z, u: _on_blocks(s, z, u, np.ones_like(_std(s, z)), 2.0)), _G,
            "deviates"),
    Mistake("F v not symmetric", _LOW, "",
            _changed("fisher", lambda s, right, v: right(v)[_scramble(s)])),
    Mistake("F v of |v|", _LOW, "", _changed("fisher", lambda s, right, v: right(np.abs(v)))),
    Mistake("−F", _LOW, "fisher-negated", _times("fisher", lambda s: -1.0)),
    Mistake("diagonal of F", _LOW, "diagonal-fisher",
            _changed("fisher", lambda s, right, v: _diagonal(right, v) * v), (), "deviates"),
    Mistake("F v by finite differences (double)", _LOW, "finite-difference-eps",
            _changed("fisher", lambda s, right, v: _differences(s, v)), (), "deviates"),
    # the divergence
    Mistake("always zero", "kl", "both-sides-live", _changed("kl", lambda s, right, t: 0.0)),
    Mistake("sum over rows in KL", "kl", "batch-size-scale",
            _times("kl", lambda s: len(s.actions))),
    Mistake("KL averaged over dimensions", "kl", "kl-mean-over-action-dimensions",
            _times("kl", lambda s: 1 / s.head.dimensions)),
    Mistake("k3 of the batch's actions", "kl", "kl-from-exponential-log-ratios",
            _changed("kl", lambda s, right, t: float(_k3(s, t))), (), "deviates"),
    Mistake("0.7 KL", "kl", "", _times("kl", lambda s: 0.7)),
    # log π
    Mistake("log π without its constant", "log_prob", "density-constant-missing",
            _changed("log_prob", lambda s, right: right() + s.theta.dtype.type(
                0.5 * np.log(2 * np.pi) * s.head.dimensions)), _G),
    Mistake("mean of log π over dimensions", "log_prob", "logprob-not-summed-over-dims",
            _times("log_prob", lambda s: 1 / s.head.dimensions)),
    Mistake("−log π", "log_prob", "", _times("log_prob", lambda s: -1.0)),
    # the solve
    Mistake("x = g", "natural_gradient", "preconditioner-not-applied",
            _changed("solve", lambda s, right, g: g)),
    Mistake("3 x", "natural_gradient", "", _times("solve", lambda s: 3.0)),
    Mistake("x = F g", "natural_gradient", "multiplied-not-solved",
            _changed("solve", lambda s, right, g: s.product(g))),
    Mistake("x/‖x‖", "natural_gradient", "direction-normalised",
            _changed("solve", lambda s, right, g: right(g) / np.linalg.norm(right(g)))),
    Mistake("x wrong in one part", "natural_gradient", "",
            _changed("solve", lambda s, right, g: right(g) * (
                1 + (np.arange(len(g)) < len(g) // 2)).astype(g.dtype))),
    # the step
    Mistake("√(δ/xᵀFx)", "trust_region_step", "factor-two", lambda s: _stepped(s, 0.5**0.5)),
    Mistake("half a step", "trust_region_step", "", lambda s: _stepped(s, 0.4)),
    Mistake("twice the step", "trust_region_step", "", lambda s: _stepped(s, 2.0)),
    Mistake("downhill", "trust_region_step", "ascent-descent-sign", lambda s: _stepped(s, -1.0)),
    Mistake("line search overwritten", "trust_region_step", "",
            _changed("move", lambda s, right, x: s.theta + s.theta.dtype.type(0.01) * np.sign(x))),
    Mistake("never moves", "trust_region_step", "",
            _changed("move", lambda s, right, x: s.theta.copy())),
)  # fmt: skip


def _differences(s: Step, v: Array) -> Array:
    """(∇KL(θ + εv) − ∇KL(θ))/ε, and ∇KL(θ) = 0: for categorical and Gaussian outputs alike."""
    size = max(float(np.linalg.norm(v)), 1e-12)
    epsilon = (1e-5 if s.theta.dtype == np.float64 else 1e-2) / size
    there = s.theta + s.theta.dtype.type(epsilon) * v
    z, new = s.outputs(s.theta), s.outputs(there)
    change = 1e-6 if s.theta.dtype == np.float64 else 1e-2
    slope = np.empty_like(new)
    for k in range(new.shape[1]):
        step = np.zeros_like(new)
        step[:, k] = change
        slope[:, k] = (s.head.kl(z, new + step) - s.head.kl(z, new - step)) / (2 * change)
    return s.network.vjp(there, s.observations, slope / len(slope)) / s.theta.dtype.type(epsilon)


def _diagonal(fisher: Callable[[Array], Array], like: Array) -> Array:
    return np.array([fisher(e) @ e for e in np.eye(len(like), dtype=like.dtype)])


def _k3(s: Step, theta: Array) -> float:
    ratio = s.head.log_prob(s.outputs(theta), s.actions) - s.log_prob()
    return float((np.expm1(ratio) - ratio).mean())


def _stepped(step: Step, factor: float) -> Step:
    """Δ times a factor, at a trust region so small that every step in it is acceptable."""

    def move(s: Step, right: Any, x: Array) -> Array:
        image = s.product(x) - s.theta.dtype.type(s.damping) * x
        full = np.sqrt(2 * s.max_kl / (x @ image)) * x
        return s.theta + s.theta.dtype.type(factor) * full

    return replace(step, max_kl=1e-4, changed={**step.changed, "move": move})
