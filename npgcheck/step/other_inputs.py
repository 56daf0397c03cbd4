"""The policy at other observations: rows that were normalised before the network sees them.

Asked of an answer that nothing else explains, and of observations that are a float matrix alone: it
takes the network a few dozen evaluations. One direction is compared before all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import fit, names, variants
from npgcheck.step.differences import Differences
from npgcheck.step.policy import Policy
from npgcheck.step.probes import Probes, values
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import unit_roundoff

Array = np.ndarray

#: Another network explains an answer only where it agrees to this many digits.
TELLING = 4.0


def _standardised(ddof: int) -> Callable[[Array], Array]:
    def change(x: Array) -> Array:
        spread = x.std(axis=0, ddof=min(ddof, len(x) - 1))
        return (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)

    return change


def _to_length_one(x: Array) -> Array:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1.0)


#: What is done to the observations, in words and as a function of (N, k).
CHANGES: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("observations are standardised over the rows first", _standardised(0)),
    ("observations are standardised over the rows first, over N − 1", _standardised(1)),
    ("observations are brought to length one first", _to_length_one),
)


def of_log_prob(
    policy: Policy, probes: Probes, answer: Array, verdict: Verdict, declared: dict[str, Any]
) -> None:
    """Names the observations at which log π (N,) is that of the policy."""
    rows = probes.rows
    for note, outputs in _elsewhere(policy):
        z = outputs(policy.theta)
        exact = rows.law.log_prob(z, rows.actions)
        close = 10.0**-TELLING * float(np.abs(exact).max())
        if np.abs(answer - exact).max() <= close < np.abs(answer - _given(probes)).max():
            verdict.reason = ""
            verdict.explain([names.named("features-normalised", note=note)], declared)
            return


def of_gradient(
    policy: Policy, probes: Probes, gradient: Array, verdict: Verdict, declared: dict[str, Any]
) -> None:
    """Names the observations at which g (D,) is that of the policy, or Jᵀ is the Jacobian's."""

    def misses(other: Probes) -> bool:
        plain = next(iter(variants.gradients(other.rows)))
        sums = other.slopes(plain.cotangent, plain.size)
        budgets = _eased(other.budgets(sums, float(np.linalg.norm(gradient))), values(sums))
        fits = [fit.compare(other.products(gradient), values(sums), budgets, c) for c in (1, -1)]
        return not any(fitted.holds for fitted in fits)

    _name(policy, probes, verdict, declared, misses)


def of_products(
    policy: Policy,
    probes: Probes,
    answers: dict[str, Array],
    verdict: Verdict,
    declared: dict[str, Any],
) -> None:
    """Names the observations at which F v is that of the policy, damped or not."""

    def misses(other: Probes) -> bool:
        true = next(iter(variants.fishers(other.rows)))
        y, exact, shifted = [], [], []
        for name in other.directions:
            if name in answers:
                v = other.directions[name]
                y.append(other.products(answers[name]))
                exact.append(values(other.forms(true.curvature, true.weights, v)))
                shifted.append(other.products(v))
        if not y:
            return True
        a, b, s = (np.concatenate(part) for part in (y, exact, shifted))
        budgets = _eased(np.zeros_like(a), np.abs(b) + np.abs(a))
        _, shift = fit.estimate(a - b, 0.0 * b, budgets, s, False)
        tried = [0.0, *(n for n in roundest(shift) if n > 0)]
        return not any(fit.compare(a, b, budgets, 1.0, n, s).holds for n in tried)

    _name(policy, probes, verdict, declared, misses)


def _name(
    policy: Policy,
    probes: Probes,
    verdict: Verdict,
    declared: dict[str, Any],
    misses: Callable[[Probes], bool],
) -> None:
    """Tries one direction, then all, at every other set of observations."""
    if verdict.digits >= TELLING:
        return  # too near to the right answer to be that of other observations
    rows, first = probes.rows, dict(list(probes.directions.items())[:1])
    unit = unit_roundoff(policy.computed_in)
    for note, outputs in _elsewhere(policy):
        differences = Differences(outputs, policy.theta, unit=unit)
        for z in (differences.center, rows.z):
            moved = replace(rows, z=z, differences=differences, outputs=outputs)
            tried = (Probes(moved, probes.unit, d) for d in (first, probes.directions))
            if not any(misses(other) for other in tried):
                verdict.reason = ""
                verdict.explain([names.named("features-normalised", note=note)], declared)
                return


def _eased(budgets: Array, size: Array) -> Array:
    """At least so many digits of the largest: code adds an ε to what it divides by."""
    return np.maximum(budgets, 10.0**-TELLING * float(np.abs(size).max(initial=0.0)))


def _given(probes: Probes) -> Array:
    return probes.rows.law.log_prob(probes.rows.z, probes.rows.actions)


def _elsewhere(policy: Policy) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """The network at the other observations, where they are other ones, and it takes them."""
    for note, change in CHANGES:
        outputs = policy.elsewhere(change)
        if outputs is not None:
            yield note, outputs
