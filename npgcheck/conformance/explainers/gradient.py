"""∇J and the surrogate objective that has the same gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.explainers.common import (
    NothingToEstimate,
    elementwise,
    factors,
    measures,
    pick,
    scale_variants,
)
from npgcheck.conformance.fitting import Judged, Record

#: ∇J is E_d[φA] times the unnormalised mass; the mean over rows is the normalised one.
FACTOR_SCALE = {"1/(1-gamma)": "unnormalised", "1": "normalised"}
CRITICS = {
    "mdp": ("advantage",),
    "batch": (
        "advantage",
        "expected",
        "q",
        "centred",
        "td",
        "q_td",
        "normalised",
        "normalised_sample",
        "unbiased",
    ),
    "episodes": ("advantage", "q", "td", "q_td", "expected"),
}


def gradient_candidates(sampled: Sequence[str]) -> Iterable[dict[str, Any]]:
    """Measure × critic × factor."""
    for measure in measures(sampled):
        for critic in CRITICS[measure["sampled"]]:
            for factor in FACTOR_SCALE:
                yield from scale_variants(
                    {**measure, "advantage": critic, "gradient_factor": factor}
                )


def scaled_gradient(record: Record, choices: dict[str, Any]) -> tuple[np.ndarray, float] | None:
    """Returns (c_g g, c_g), or None where this problem does not define it."""
    numbers = factors(record, choices, FACTOR_SCALE[choices["gradient_factor"]])
    if numbers is None:
        return None
    base = measured_gradient(record, choices)
    if base is None:
        return None
    scale = pick(numbers, choices)
    return scale * base, scale


def measured_gradient(record: Record, choices: dict[str, Any]) -> np.ndarray | None:
    """g with weights that sum to one, under the candidate's measure and critic."""
    critic = choices["advantage"]
    where = (choices["sampled"], choices["weighting"])
    measure = record.reference.measure(*where)
    if measure is None:
        return None
    if critic == "unbiased":
        if not record.reference.problem.batch.exact:
            return None
        critic = "advantage"
    if choices.get("score") == "uncentred":
        critic = "uncentred"
    elif measure.actions is None:
        critic = "advantage"  # under an exact expectation every baseline is equal
    elif critic not in ("advantage", "expected") and critic not in measure.critics:
        return None
    return record.reference.gradient(*where, critic)


class PolicyGradient(NothingToEstimate):
    """g = Σ w φ A."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        yield from gradient_candidates(sampled)
        if all(r.reference.discrete for r in records):
            for measure in measures(sampled):
                for factor in FACTOR_SCALE:
                    yield from scale_variants(
                        {
                            **measure,
                            "score": "uncentred",
                            "advantage": "q",
                            "gradient_factor": factor,
                        }
                    )

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        scaled = scaled_gradient(record, choices)
        if scaled is None:
            return None
        exact, scale = scaled
        norm = float(np.linalg.norm(exact)) / scale
        budget = tolerance.policy_gradient(record.reference.scales, record.roundoff, norm)
        return elementwise(record.value, exact, scale * budget)


class Surrogate(NothingToEstimate):
    """L(θ′) − L(θ): an additive constant is free, and so is every baseline."""

    def __init__(self) -> None:
        self._anchors: dict[tuple[int, str], float] = {}

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        for record in records:
            if record.probe.label == "θ itself":
                self._anchors[_key(record)] = float(record.value)
        return gradient_candidates(sampled)

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        if record.probe.label == "θ itself" or _key(record) not in self._anchors:
            return None
        numbers = factors(record, choices, FACTOR_SCALE[choices["gradient_factor"]])
        if numbers is None or choices["advantage"] == "unbiased":
            return None
        reference, other = record.reference, record.probe.args[0]
        where = (choices["sampled"], choices["weighting"])
        measure = reference.measure(*where)
        critic = choices["advantage"]
        if measure is None or (measure.actions is not None and critic not in measure.critics):
            return None
        scale = pick(numbers, choices)
        gain = scale * reference.surrogate_gain(*where, critic, other)
        anchor = self._anchors[_key(record)]
        budget = tolerance.surrogate(reference.scales, record.roundoff, _largest_ratio(record))
        # Subtracting the anchor adds the rounding of the two answers themselves.
        budget = scale * budget + 2.0 * tolerance.CONSTANT * record.roundoff * abs(anchor)
        judged = elementwise(record.value - anchor, np.array(gain), budget)
        return Judged(judged.error, judged.budget, judged.size, judged.exact + anchor)


def _key(record: Record) -> tuple[int, str]:
    return record.probe.position, record.reference.problem.id


def _largest_ratio(record: Record) -> float:
    """max π′/π over the problem's states and actions (Gaussian: growth of the second moments)."""
    reference, other = record.reference, record.probe.args[0]
    observations = np.asarray(reference.problem.observations)
    if reference.discrete:
        before = reference.policy.log_probabilities(reference.theta, observations)
        after = reference.policy.log_probabilities(other, observations)
        return float(np.exp(np.max(after - before)))
    measure = reference.measure("batch", "discounted")
    if measure is None or measure.actions is None:
        return 1.0
    before = reference.policy.log_prob(reference.theta, measure.observations, measure.actions)
    after = reference.policy.log_prob(other, measure.observations, measure.actions)
    mean, log_std = reference.policy.mean_log_std(other, observations)
    spread = float((np.abs(mean).max() + np.exp(log_std).max()) ** 2)
    return max(spread, float(np.exp(np.max(after - before))))
