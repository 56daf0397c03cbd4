"""KL divergence under a set of choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.diagnosis.pipeline import View, log_softmax

Array = np.ndarray


@dataclass(frozen=True)
class Divergence:
    """Two policies at every state: what a choice of KL may look at.

    ``old`` and ``new`` are log-probabilities (S, A) of a softmax policy, or (mean, σ) pairs;
    ``weights`` are the probabilities of both, as far as there are finitely many actions.
    """

    old: Any
    new: Any
    weights: Any = None

    def swapped(self) -> Divergence:
        """The two policies exchanged."""
        back = None if self.weights is None else self.weights[::-1]
        return Divergence(self.new, self.old, back)


def divergence_at(v: View, other: Array, scale: float, direction: str) -> float:
    """``scale`` · Σ_s w(s) KL(s) between θ and ``other``."""
    policy, observations = v.reference.policy, v.problem.observations
    if v.discrete:
        logits = v.at(other).through("logits", policy.logits(other, observations))
        new = v.through("log_pi", log_softmax(logits))
        parts = Divergence(v["log_pi"], new, (v["pi"], np.exp(log_softmax(logits))))
    else:
        mean, log_std = policy.mean_log_std(other, observations)
        std = v.at(other).through("std", np.exp(log_std))
        mean = v.at(other).through("mean", mean)
        parts = Divergence((v["mean"], v["std"]), (mean, std))
    if direction == "reverse":
        parts = parts.swapped()
    terms = v.through("kl_terms", (divergence(parts, v.discrete), parts))[0]
    value = float(v["f_weights"] @ terms)
    return float(v.through("kl", (scale * value, other))[0])


def divergence(parts: Divergence, discrete: bool) -> Array:
    """KL(old ‖ new) at every state; (S,)."""
    if discrete:
        return (parts.weights[0] * (parts.old - parts.new)).sum(axis=1)
    (m0, s0), (m1, s1) = parts.old, parts.new
    return (np.log(s1 / s0) + (s0**2 + (m0 - m1) ** 2) / (2.0 * s1**2) - 0.5).sum(axis=1)
