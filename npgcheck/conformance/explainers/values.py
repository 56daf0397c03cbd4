"""V, Q, A, J and the state distribution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from npgcheck import tolerance
from npgcheck.conformance.explainers.common import NothingToEstimate, elementwise, measures
from npgcheck.conformance.fitting import Judged, Record


class _ValueLike(NothingToEstimate):
    """A function of the MDP and the policy that admits no choice."""

    field = ""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        return [{}]

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        exact = getattr(record.reference.evaluation, self.field)
        budget = tolerance.value(record.reference.scales, record.roundoff)
        return elementwise(record.value, exact, budget)


class Value(_ValueLike):
    """V = (I − γP_π)⁻¹ r_π."""

    field = "value"


class QValue(_ValueLike):
    """Q = r + γPV."""

    field = "q_value"


class Advantage(_ValueLike):
    """A = Q − V."""

    field = "advantage"


class Objective(_ValueLike):
    """J = ρᵀV."""

    field = "objective"


class StateDistribution(NothingToEstimate):
    """d = (1−γ) ρᵀ(I − γP_π)⁻¹, or one of its named variants."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        for measure in measures(sampled):
            for occupancy in ("normalised", "unnormalised"):
                yield {**measure, "occupancy": occupancy}

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        reference = record.reference
        measure = reference.measure(choices["sampled"], choices["weighting"])
        if measure is None:
            return None
        exact = reference.state_weights(choices["sampled"], choices["weighting"])
        factor = measure.scales[choices["occupancy"]][0]
        budget = tolerance.state_distribution(reference.scales, record.roundoff)
        return elementwise(record.value, factor * exact, factor * budget)
