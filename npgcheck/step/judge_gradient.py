"""Is g the gradient of the surrogate, Σ ω_i A_i ∇log π(a_i|s_i)?

vⱼᵀg is compared with Σ ω_i A_i ∇_z log π(a_i)ᵀ (J vⱼ)_i for every direction, under each way of
making a score and an advantage; a factor and an entropy bonus are estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest, written
from npgcheck.distributions import Gaussian
from npgcheck.step import fit, locate, names, reread, variants
from npgcheck.step.probes import Probes, values
from npgcheck.step.rows import Sum
from npgcheck.step.verdict import Verdict

Array = np.ndarray

#: The sign of a bonus shows where the rest of g is so many budgets large.
VISIBLE = 10.0
#: A small ε beside a standard deviation scales advantages by less than this, relative to 1.
LARGEST_EPSILON = 1e-4
#: A mistake explains an answer only where it agrees to this many digits: where its terms are huge,
#: so is its budget.
TELLING = 3.0
#: A length of two digits was written by someone even where code adds an ε of up to this share to
#: what it divides by; one of three digits only where it is exact.
EPSILON, EXACTLY = 2e-5, 1e-8
#: Factors this near to the estimate are tried; the budgets decide.
NEAR_FACTOR = 1e-2
#: What a fitted coefficient of many digits costs, in choices.
UNWRITTEN = 1
#: Estimated factors are recognised this closely, or as closely as the budgets allow.
RECOGNISED = 1e-6


@dataclass(frozen=True)
class _Found:
    cost: tuple[int, float]
    diagnoses: list
    fitted: fit.Fitted
    exact: Array


def judge(probes: Probes, gradient: Array, dtype: str, declared: dict[str, Any]) -> Verdict:
    """The verdict on the gradient (D,)."""
    verdict = Verdict("policy_gradient", compared=len(probes.vectors))
    y = probes.products(gradient)
    norm = float(np.linalg.norm(gradient))
    plain: tuple[fit.Fitted, Array, Array] | None = None
    best: _Found | None = None
    bonus = _entropy(probes, declared)
    for variant in variants.gradients(probes.rows):
        sums = probes.slopes(variant.cotangent, variant.size)
        exact = values(sums)
        budgets = probes.budgets(sums, norm, dtype)
        if plain is None:
            plain = (fit.compare(y, exact, budgets), exact, budgets)
        elif np.all(np.abs(exact - plain[1]) <= plain[2]):
            continue  # the same numbers explain nothing, however differently they are rounded
        found = _fit(probes, variant, y, exact, budgets, bonus, norm, dtype)
        if found is not None and (best is None or found.cost < best.cost):
            best = found
        if best is not None and best.cost <= names.ONE_CONVENTION:
            break  # every further variant is at least that
    assert plain is not None
    fitted, exact, budgets = plain
    verdict.numbers = {"factor": 1.0, "sign": 1.0, "entropy": 0.0}
    verdict.numbers["entropy_floor"] = _least_bonus(bonus, budgets)
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    verdict.off, verdict.off_digits = fitted.ratio, fitted.digits
    verdict.yours, verdict.exact = y, exact
    verdict.where = f"products with {', '.join(probes.directions)}"
    if not gradient.any() and not fitted.holds:
        note = "it is zero: the graph is cut somewhere"
        return verdict.explain([names.named("gradient-zero", note=note)], declared)
    if best is None and (decay := _decay(probes, y, exact, budgets)) is not None:
        return verdict.explain(decay, declared)
    if best is None and (cut := _shortened(gradient, y, exact, budgets)) is not None:
        return verdict.explain(cut, declared)
    if best is None and _without_weights(probes, y, norm, dtype):
        verdict.status, verdict.numbers["unweighted"] = "fail", True
        verdict.reason = names.UNWEIGHTED
        return verdict
    if best is None or names.is_involved(best.cost):
        best = _read_otherwise(probes, y, plain, bonus, norm, dtype) or best
    if best is None:
        verdict.status = "fail"
        verdict.numbers["times"] = _multiple(y, exact, budgets)
        fact = _facts(probes, gradient, y, exact, budgets)
        if exchanged := _exchanged(probes, fact):
            return verdict.explain(exchanged, declared)
        fact = fact or names.mixed_precision(fitted.digits, dtype)
        verdict.reason = "no known choice explains it" + fact
        return verdict
    verdict.ratio, verdict.digits = best.fitted.ratio, best.fitted.digits
    verdict.numbers["sign"] = -1.0 if best.fitted.factor < 0 else 1.0
    verdict.numbers["factor"] = best.fitted.factor
    verdict.numbers["entropy"] = best.fitted.shift
    verdict.explain(best.diagnoses, declared)
    if verdict.status == "fail" and not best.diagnoses:
        verdict.status = "pass"
    return verdict


def _read_otherwise(
    probes: Probes,
    y: Array,
    plain: tuple[fit.Fitted, Array, Array],
    bonus: list[Sum] | None,
    norm: float,
    dtype: str,
) -> _Found | None:
    """The policy that is not the one that was given, under which g is right."""
    for variant in reread.gradients(probes, y):
        sums = probes.slopes(variant.cotangent, variant.size)
        exact, budgets = values(sums), probes.budgets(sums, norm, dtype)
        if np.all(np.abs(exact - plain[1]) <= plain[2]):
            continue
        found = _fit(probes, variant, y, exact, budgets, bonus, norm, dtype)
        if found is not None and not names.is_involved(found.cost):
            return found
    return None


def _exchanged(probes: Probes, fact: str) -> list[Diagnosis]:
    """The name of an exchange of coordinates, where it is a usual one."""
    said = fact.removeprefix("; ")
    law = probes.rows.law
    if not said.startswith(locate.ANOTHER_ORDER):
        return []
    gaussian = isinstance(law, Gaussian)
    if gaussian and locate.FIRST.format(law.dimensions) in said:
        return [names.named("log-std-first")]
    if "transposed" in said:
        told = [names.named("order-or-transpose", note=said)]
        others = [[names.named("mean-weights-transposed")]] if gaussian else []
        return names.together(told, others)
    return []


def _least_bonus(bonus: list[Sum] | None, budgets: Array) -> float:
    """The smallest coefficient of an entropy bonus that shows; infinite where ∇H = 0."""
    if bonus is None:
        return np.inf
    return fit.floor(budgets, values(bonus))


def _entropy(probes: Probes, declared: dict[str, Any]) -> list[Sum] | None:
    made = variants.entropy(probes.rows)
    return probes.slopes(*made) if made is not None else None


def _fit(
    probes: Probes,
    variant: variants.Gradient,
    y: Array,
    exact: Array,
    budgets: Array,
    bonus: list[Sum] | None,
    norm: float,
    dtype: str,
) -> _Found | None:
    """The cheapest factor and entropy bonus under which this variant fits, if any."""
    diagnoses = [names.named(name, note=variant.note if i == 0 else "")
                 for i, name in enumerate(variant.choices)]  # fmt: skip
    tried: list[tuple[float, float, list]] = [(1.0, 0.0, [])]
    factor, _ = fit.estimate(y, exact, budgets, None, free_factor=True)
    tried += _factors(probes, variant, factor, budgets, exact)
    added = None
    if bonus is not None and np.any(values(bonus)):
        added = values(bonus)
        budgets = budgets + probes.budgets(bonus, 0.0, dtype) * min(1.0, norm)
        for sign in (1.0, -1.0):
            _, shift = fit.estimate(sign * y, exact, budgets, added, free_factor=False)
            more = [names.named("gradient-of-the-loss")] if sign < 0 else []
            for number in roundest(shift):
                if number > 0:
                    said = [*more, names.named("entropy-bonus", number)]
                    tried.append((sign, sign * number, said))
                elif number < 0 and np.any(np.abs(exact) > VISIBLE * budgets):
                    note = f"the entropy bonus has the wrong sign: −{-number:g} ∇H"
                    said = [*more, names.named("entropy-bonus-with-the-wrong-sign", note=note)]
                    tried.append((sign, sign * number, said))
    found: _Found | None = None
    for c, shift, more in tried:
        fitted = fit.compare(y, exact, budgets, c, shift, added)
        if not fitted.holds or (diagnoses and fitted.digits < TELLING):
            continue
        said = [*diagnoses, *more]
        price = names.cost(d.choice for d in said)
        if shift and not fit.is_round(shift):
            # a coefficient that nobody writes is no explanation where another needs none
            price = (price[0] + UNWRITTEN, price[1])
        if found is None or price < found.cost:
            found = _Found(price, said, fitted, exact)
    return found


def _factors(
    probes: Probes, variant: variants.Gradient, factor: float, budgets: Array, exact: Array
) -> list[tuple[float, float, list]]:
    """Factors with a name that are as close to the estimate as it is known."""
    size = float(np.max(np.abs(exact), initial=0.0))
    known = RECOGNISED
    if size:
        known = max(1e-12, float(np.min(budgets[np.abs(exact) > 0.1 * size])) / size)
    rows, law = probes.rows, probes.rows.law
    count = float(len(rows.weights))
    candidates: list[tuple[float, list]] = [(-1.0, [names.named("gradient-of-the-loss")])]
    doubled = [names.named("gradient-factor-two")]
    for sign in (1.0, -1.0):
        loss = [names.named("gradient-of-the-loss")] if sign < 0 else []
        candidates.append((sign * count, [*loss, names.named("sum-in-g-mean-in-F")]))
        if law.dimensions > 1:  # before one half, which it is for two dimensions
            candidates.append(
                (sign / law.dimensions, [*loss, names.named("logprob-not-summed-over-dims")])
            )
        candidates += [(sign * c, [*loss, *doubled]) for c in (2.0, 0.5)]
        if variant.divided:
            epsilon = variant.divided * (1.0 / abs(factor) - 1.0) if factor else 0.0
            if 0 < epsilon <= LARGEST_EPSILON * variant.divided and factor * sign > 0:
                candidates.append((factor, loss))
    return [
        (c if abs(c) != abs(factor) else factor, 0.0, said)
        for c, said in candidates
        if abs(factor - c) <= max(4.0 * known, NEAR_FACTOR) * abs(c)
    ]


def _decay(probes: Probes, y: Array, exact: Array, budgets: Array) -> list | None:
    """g − cθ: the gradient of a penalty on θ is left in."""
    penalty = probes.products(probes.rows.differences.theta)
    for sign in (1.0, -1.0):
        _, shift = fit.estimate(sign * y, exact, budgets, penalty, free_factor=False)
        for number in roundest(-shift):
            if number > 0 and fit.compare(sign * y, exact, budgets, 1.0, -number, penalty).holds:
                loss = [names.named("gradient-of-the-loss")] if sign < 0 else []
                note = f"a weight decay of {number:g} is left in"
                return [*loss, names.named("weight-decay-left-in", note=note)]
    return None


def _shortened(gradient: Array, y: Array, exact: Array, budgets: Array) -> list | None:
    """g brought to a length that someone wrote, or to one: clipped, or normalised."""
    factor, _ = fit.estimate(y, exact, budgets, None, free_factor=True)
    length = float(np.linalg.norm(gradient))
    if not fit.compare(y, exact, budgets, factor).holds or not np.any(y):
        return None
    number = float(f"{length:.2g}")
    if abs(length - number) > EPSILON * length:
        exactly = written(length, EXACTLY * length)
        if exactly is None:
            return None
        number = exactly
    loss = [names.named("gradient-of-the-loss")] if factor < 0 else []
    clipped = names.named("gradient-clipped", number)
    if number == 1.0:
        normalised = [names.named("gradient-normalised")]
        return [*names.together(normalised, [[clipped]] if abs(factor) < 1.0 else []), *loss]
    return [clipped, *loss] if abs(factor) < 1.0 else None


def _without_weights(probes: Probes, y: Array, norm: float, dtype: str) -> bool:
    """Whether it is the plain mean over the rows, where weights are given."""
    rows = probes.rows
    if np.ptp(rows.weights) <= 1e-12 * rows.weights.max():
        return False
    column = rows.advantages[:, None] / len(rows.weights)
    sums = probes.slopes(column * rows.score, np.abs(column) * rows.score_size * rows.lift)
    return any(
        fitted.holds and fitted.digits >= TELLING
        for c in (1.0, -1.0)
        for fitted in [fit.compare(y, values(sums), probes.budgets(sums, norm, dtype), c)]
    )


def _multiple(y: Array, exact: Array, budgets: Array) -> float:
    """What it is the exact gradient times; 0 where it is no multiple of it."""
    factor, _ = fit.estimate(y, exact, budgets, None, free_factor=True)
    return factor if fit.compare(y, exact, budgets, factor).holds else 0.0


def _facts(probes: Probes, gradient: Array, y: Array, exact: Array, budgets: Array) -> str:
    """What is true of a gradient that no choice explains."""
    factor, _ = fit.estimate(y, exact, budgets, None, free_factor=True)
    if fit.compare(y, exact, budgets + 1e-6 * abs(factor) * np.abs(exact), factor).holds:
        if abs(factor) < 1e-9:
            return "; it is zero"
        if abs(factor - 1.0) < 1e-6:
            return "; it is right to six digits or more, but not to its rounding"
        return f"; it is the exact gradient times {fit.in_words(factor, len(probes.rows.weights))}"
    plain = next(iter(variants.gradients(probes.rows)))
    for c in (1.0, -1.0):
        said = locate.describe(probes, gradient, plain.cotangent, plain.size, c)
        if said:
            return f"; {said}" + (" (as the gradient of the loss)" if c < 0 else "")
    return ""
