"""The accepted step: a proposal cut back until KL and the surrogate allow it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.explainers.fisher import scaled_fisher
from npgcheck.conformance.explainers.step import BROKEN, System, TrustRegionProposal
from npgcheck.conformance.fitting import Judged, Record

Array = np.ndarray

#: Rule of the search → how many times max_kl the divergence of an accepted step may be.
RULES = {
    "kl_and_improvement": 1.0,
    "kl_slack": 1.5,
    "improvement": np.inf,
    "surrogate_ignored": 1.0,
}
#: The one rule under which a step need not gain.
IGNORES_GAIN = "surrogate_ignored"
#: A search whose result is overwritten by the whole proposal.
OVERWRITTEN = "overwritten"


class TrustRegionStep(TrustRegionProposal):
    """The proposal after a backtracking line search; which steps it accepts is a convention."""

    #: Shrinking by less than this at a time is not seen in any library: a step whose double was
    #: acceptable was shortened without need.
    LARGEST_SHRINK = 0.5
    #: Rounding in the subject's own KL and surrogate may decide a tie.
    TIE = 1e-6

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        for choices in super().candidates(records, sampled):
            for rule in (*RULES, OVERWRITTEN):
                yield {**choices, "line_search": rule}

    def _refused(self, record: Record, choices: dict[str, Any], built: System, x: Array) -> Judged:
        if float(np.linalg.norm(x)) > 0:
            return super()._refused(record, choices, built, x)
        shown = self._shown(record, choices, built, 1.0)
        direction = shown - record.reference.theta
        halvings = [0.5**j for j in range(1, 6)]
        if any(not self._objection(record, choices, t * direction, -self.TIE) for t in halvings):
            note = "θ came back unchanged, though a step along x keeps max_kl and gains"
            return Judged(1.0, BROKEN, 1.0, shown, note)
        return Judged(0.0, 1.0, 1.0, record.reference.theta)

    def _with_length(
        self, record: Record, choices: dict[str, Any], built: System, x: Array, judged: Judged
    ) -> Judged:
        shown = judged.exact
        model = self.model(record, choices, built, x)
        budget = self.length_budget(record, built, x)
        budget = self._slackened(budget, record, choices, built)
        worst = judged
        fraction = float(np.sqrt(max(model, 0.0)))
        if fraction == 0.0:  # it moves along null(F) alone: no policy notices
            return self._refused(record, choices, built, np.zeros_like(x))
        if fraction > 1.0 + budget:
            return _worse(worst, Judged(fraction - 1.0, budget, 1.0, shown))
        if choices.get("line_search") == OVERWRITTEN:
            return _worse(worst, Judged(abs(fraction - 1.0), budget, 1.0, shown))
        if objection := self._objection(record, choices, x, self.TIE):
            return _worse(worst, Judged(1.0, BROKEN, 1.0, shown, objection))
        if fraction < 1.0 - budget:
            larger = min(1.0, fraction / self.LARGEST_SHRINK) / fraction
            if not self._objection(record, choices, larger * x, -self.TIE):
                cut = f"the step was cut to {fraction:.3g} of the full step"
                note = f"{cut}, though twice that would do"
                return _worse(worst, Judged(1.0, BROKEN, 1.0, shown, note))
        return worst

    def tempts(self, record: Record, choices: dict[str, Any]) -> bool:
        """Whether the whole proposal keeps KL and yet loses: a search that does not look at the
        surrogate accepts it."""
        built = self._system(record, choices)
        if built is None:
            return False
        moved = self._shown(record, choices, built, 1.0) - record.reference.theta
        blind = {**choices, "line_search": IGNORES_GAIN}
        usual = {**choices, "line_search": "kl_and_improvement"}
        return not self._objection(record, blind, moved, -self.TIE) and bool(
            self._objection(record, usual, moved, self.TIE)
        )

    def _objection(
        self, record: Record, choices: dict[str, Any], displacement: Array, slack: float
    ) -> str:
        """Why a step is not acceptable, or "": KL ≤ δ (or what the rule makes of it) and a gain,
        ties decided by ``slack``.

        The direction of KL is free: with positive slack one that allows the step is enough, with
        negative slack both must. A gain below the rounding of the surrogate is a tie.
        """
        reference, delta = record.reference, float(record.probe.args[0])
        other = reference.theta + displacement
        where = (choices["sampled"], choices["weighting"])
        critic = choices["advantage"]
        if critic in ("expected", "unbiased"):
            critic = "advantage"
        gain = reference.surrogate_gain(*where, critic, other)
        noise = tolerance.surrogate(reference.scales, record.roundoff, 1.0)
        fisher = scaled_fisher(record, choices)
        scale = 1.0 if fisher is None else fisher[1]  # KL is scaled as its Hessian is
        both = [reference.kl(*where, other, direction) for direction in ("forward", "reverse")]
        divergence = scale * (min(both) if slack > 0 else max(both))
        rule = choices.get("line_search", "kl_and_improvement")
        limit = RULES.get(rule, 1.0)
        if divergence > limit * delta * (1.0 + slack):
            return f"the accepted step has KL = {divergence:.4g} > max_kl = {delta:.4g}"
        if rule != IGNORES_GAIN and not gain > (-noise if slack > 0 else noise):
            return f"the accepted step changes the surrogate by {gain:.2g}"
        return ""


def _worse(a: Judged, b: Judged) -> Judged:
    return a if a.ratio >= b.ratio else b
