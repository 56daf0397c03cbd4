"""F, its products with vectors, and the divergence whose Hessian it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.explainers.common import (
    NothingToEstimate,
    elementwise,
    factors,
    held_damping,
    measures,
    over_dimensions,
    pick,
    scale_variants,
    with_lambda,
)
from npgcheck.conformance.fitting import Judged, Record

Array = np.ndarray


def fisher_candidates(
    records: Sequence[Record], sampled: Sequence[str]
) -> Iterable[dict[str, Any]]:
    """Measure × definition × scale; an exact expectation has one definition."""
    for measure in measures(sampled):
        definitions = ("true",) if measure["sampled"] == "mdp" else ("true", "empirical")
        for definition in definitions:
            for scale in ("normalised", "unnormalised"):
                base = {**measure, "fisher": definition, "fisher_scale": scale}
                for choices in over_dimensions(records, base):
                    yield from scale_variants(choices)


def scaled_fisher(record: Record, choices: dict[str, Any]) -> tuple[Array, float] | None:
    """Returns (c_F F, c_F) under the candidate, or None where this problem does not define it."""
    numbers = factors(record, choices, choices["fisher_scale"])
    if numbers is None:
        return None
    scale = pick(numbers, choices)
    definition = "uncentred" if choices.get("score") == "uncentred" else choices["fisher"]
    base = record.reference.fisher(choices["sampled"], choices["weighting"], definition)
    return scale * base, scale


def _with_uncentred(records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict[str, Any]]:
    """The candidates, and those made of the score without its mean."""
    for choices in fisher_candidates(records, sampled):
        yield choices
        if choices["fisher"] == "true" and all(r.reference.discrete for r in records):
            yield {**choices, "score": "uncentred"}


class FisherMatrix(NothingToEstimate):
    """F = Σ w E[φφᵀ], (D, D)."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        return _with_uncentred(records, sampled)

    def estimate(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        # Least squares over all records: λ = Σ w tr(answer − F) / Σ w D.
        top = bottom = 0.0
        for record in records:
            scaled = scaled_fisher(record, choices)
            if scaled is None or not np.isfinite(record.value).all():
                continue
            weight = 1.0 / max(record.reference.scales.fisher * scaled[1], 1e-300) ** 2
            top += weight * float(np.trace(record.value - scaled[0]))
            bottom += weight * len(scaled[0])
        return with_lambda(choices, "damping_in_fisher", top / bottom if bottom else 0.0)

    def pinned(self, declared: dict[str, Any]) -> dict[str, Any]:
        return held_damping(declared, "damping_in_fisher", ("fisher",))

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        scaled = scaled_fisher(record, choices)
        if scaled is None:
            return None
        matrix, scale = scaled
        exact = matrix + choices.get("damping_in_fisher", 0.0) * np.eye(len(matrix))
        budget = scale * tolerance.fisher(record.reference.scales, record.roundoff)
        return elementwise(record.value, exact, budget)


class FisherProduct(NothingToEstimate):
    """F v, or (F + λI) v."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        return _with_uncentred(records, sampled)

    def estimate(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        top = bottom = 0.0
        for record in records:
            scaled = scaled_fisher(record, choices)
            if scaled is None or not np.isfinite(record.value).all():
                continue
            vector = record.probe.args[0]
            weight = 1.0 / max(record.reference.scales.fisher * scaled[1], 1e-300) ** 2
            weight /= float(vector @ vector)
            top += weight * float(vector @ (record.value - scaled[0] @ vector))
            bottom += weight * float(vector @ vector)
        return with_lambda(choices, "damping", top / bottom if bottom else 0.0)

    def pinned(self, declared: dict[str, Any]) -> dict[str, Any]:
        return held_damping(declared, "damping", ("product", "fisher"))

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        scaled = scaled_fisher(record, choices)
        if scaled is None:
            return None
        matrix, scale = scaled
        vector = record.probe.args[0]
        damping = choices.get("damping", 0.0)
        exact = matrix @ vector + damping * vector
        norm = float(np.linalg.norm(vector))
        budget = scale * tolerance.fisher_vector_product(
            record.reference.scales, record.roundoff, norm
        )
        return elementwise(
            record.value, exact, budget + tolerance.CONSTANT * record.roundoff * damping * norm
        )


class KLDivergence(NothingToEstimate):
    """Σ w KL in nats, in either direction, or its quadratic model."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        for measure in measures(sampled):
            for scale in ("normalised", "unnormalised"):
                for direction in ("forward", "reverse"):
                    base = {
                        **measure,
                        "fisher_scale": scale,
                        "kl_direction": direction,
                        "kl_model": "exact",
                    }
                    for choices in over_dimensions(records, base):
                        yield from scale_variants(choices)
                yield from scale_variants(
                    {**measure, "fisher_scale": scale, "kl_model": "quadratic"}
                )

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        numbers = factors(record, choices, choices["fisher_scale"])
        if numbers is None:
            return None
        reference, other = record.reference, record.probe.args[0]
        where = (choices["sampled"], choices["weighting"])
        scale = pick(numbers, choices)
        if choices["kl_model"] == "quadratic":
            delta = other - reference.theta
            divergence = 0.5 * float(delta @ reference.fisher(*where) @ delta)
        else:
            divergence = reference.kl(*where, other, choices["kl_direction"])
        ratio = _largest_log_ratio(record, other)
        budget = tolerance.kl(reference.scales, record.roundoff, divergence, ratio)
        return elementwise(record.value, np.array(scale * divergence), scale * budget)


def _largest_log_ratio(record: Record, other: Array) -> float:
    """How large the summands log π/π′ are; bounded by the growth of the logits."""
    reference = record.reference
    observations = np.asarray(reference.problem.observations)
    if reference.discrete:
        before = reference.policy.log_probabilities(reference.theta, observations)
        after = reference.policy.log_probabilities(other, observations)
        return float(np.abs(after).max() + np.abs(before).max())
    mean, log_std = reference.policy.mean_log_std(reference.theta, observations)
    new_mean, new_log_std = reference.policy.mean_log_std(other, observations)
    z = (np.abs(mean) + np.abs(new_mean)) / np.exp(np.minimum(log_std, new_log_std))
    return float(1.0 + (z**2).max() + np.exp(2.0 * np.abs(log_std - new_log_std)).max())
