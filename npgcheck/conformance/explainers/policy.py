"""log π(a|s) and its gradient: no choices, only right or wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.explainers.common import NothingToEstimate, elementwise
from npgcheck.conformance.fitting import Judged, Record


class _Pointwise(NothingToEstimate):
    """Asked at one state and one action."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        return [{}]

    def _row(self, record: Record) -> tuple[Any, Any, Any, Any]:
        state, action = record.probe.args
        reference = record.reference
        observation = np.asarray(reference.problem.observations)[[state]]
        return reference, reference.theta, observation, np.asarray([action])


class LogProb(_Pointwise):
    """log π(a|s), natural logarithm (a density for Gaussian policies)."""

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        reference, theta, observation, action = self._row(record)
        exact = reference.policy.log_prob(theta, observation, action)[0]
        budget = tolerance.log_prob(reference.scales, record.roundoff, float(exact))
        return elementwise(record.value, exact, budget * _reach(record))


class Score(_Pointwise):
    """φ(s, a) = ∇θ log π(a|s)."""

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        yield {"score": "centred"}
        if all(r.reference.discrete for r in records):
            yield {"score": "uncentred"}

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        reference, theta, observation, action = self._row(record)
        if choices.get("score") == "uncentred":
            exact = reference.policy.logits_jacobian(theta, observation)[0, int(action[0])]
        else:
            exact = reference.policy.score(theta, observation, action)[0]
        budget = tolerance.score(reference.scales, record.roundoff)
        return elementwise(record.value, exact, budget * _reach(record))


def _reach(record: Record) -> float:
    """1 + max z² of the judged action: rounding of a − μ enters a Gaussian density squared."""
    reference = record.reference
    if reference.discrete:
        return 1.0
    state, action = record.probe.args
    mean, log_std = reference.policy.mean_log_std(
        reference.theta, np.asarray(reference.problem.observations)[[state]]
    )
    z = (np.asarray(action) - mean[0]) / np.exp(log_std[0])
    return 1.0 + float(np.max(z**2))
