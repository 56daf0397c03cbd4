"""Is F v the product with the Fisher matrix of these rows?

wᵀ(F v) is compared with Σ ω_i (J w)_iᵀ W_i (J v)_i for every pair of directions, under each way
of making W; a factor c and a damping λ are estimated: F v = c (F v) + λ v. Symmetry, linearity and
vᵀFv ≥ 0 are looked at first, because a product without them is no matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import fit, names, reread, structure, variants
from npgcheck.step.calls import Function
from npgcheck.step.probes import Probes, values
from npgcheck.step.verdict import Verdict, property_result
from npgcheck.tolerance import unit_roundoff

Array = np.ndarray

#: A mistake explains an answer only where it agrees to this many digits: where its terms are huge,
#: so is its budget.
TELLING = 3.0
#: The relative error of products by finite differences, in single precision at worst.
DIFFERENCES = 2e-2
#: … and of central ones in double precision, which may be linear as far as can be seen.
CENTRAL = 1e-8
#: Factors are told from each other this closely where the product comes from finite differences.
NEAR = 0.05


def products(function: Function, probes: Probes) -> dict[str, Array]:
    """F v for every direction (the user's)."""
    return {name: function.vector(v) for name, v in probes.directions.items()}


def judge(
    function: Function, answers: dict[str, Array], probes: Probes, declared: dict[str, Any]
) -> Verdict:
    """The verdict on the products, and on their properties."""
    verdict = Verdict("fisher_vector_product")
    directions = list(probes.directions.values())
    table = np.array([[w @ answers[name] for w in directions] for name in answers])
    u = max(probes.unit, unit_roundoff(function.dtype))
    true = next(iter(variants.fishers(probes.rows)))
    spread = _predicted(probes, true, answers, function.dtype)[1].reshape(table.shape)
    verdict.findings = _properties(function, answers, probes, table, spread, u)
    asked = list(answers)
    verdict.compared = table.size
    shifted = np.concatenate([probes.products(probes.directions[name]) for name in asked])
    y = table.ravel()
    exact, budgets = _predicted(probes, true, answers, function.dtype)
    fitted = fit.compare(y, exact, budgets)

    def explained(matrices: Iterable[variants.Fisher]) -> _Found | None:
        return _cheapest(
            probes, matrices, y, (exact, budgets), shifted, answers, function.dtype, declared
        )

    best = explained(variants.fishers(probes.rows))
    verdict.numbers = {"damping": 0.0, "factor": 1.0, "floor": fit.floor(budgets, shifted)}
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    verdict.off, verdict.off_digits = fitted.ratio, fitted.digits
    first = len(directions) * asked.index(asked[-1]) if asked else 0
    part = slice(first, first + len(directions))
    verdict.yours, verdict.exact = y[part], exact[part]
    verdict.where = f"F · {asked[-1]}, its products with {', '.join(probes.directions)}"
    linear = verdict.findings[-1].status == "pass"
    if best is None:
        norms = [np.linalg.norm(probes.directions[n]) for n in asked]
        compared = _Compared(y, exact, budgets, shifted, np.repeat(norms, len(directions)))
        said = _length_forgotten(compared)
        said = said or _by_differences(verdict, probes, compared)
        said = said or _both(verdict, probes, compared)
        if linear and not said:
            said = structure.part_of(function, probes, asked, exact, shifted)
        if said:
            return verdict.explain(said, declared)
        verdict.status = "fail"
        if linear and _without_weights(probes, answers, y, shifted, function.dtype):
            verdict.numbers["unweighted"] = True
            verdict.reason = names.UNWEIGHTED
            return verdict
    if linear and (best is None or names.is_involved(best.price)):
        best = explained(reread.fishers(probes, y, asked)) or best
    if best is None:
        fact = _facts(probes, y, exact, budgets, shifted) if linear else ""
        fact = fact or names.mixed_precision(fitted.digits, function.dtype)
        verdict.reason = "no known choice explains it" + fact
        return verdict
    said, fitted = names.together(best.said, best.equals), best.fitted
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    verdict.numbers.update(damping=fitted.shift, factor=fitted.factor)
    verdict.explain(said, declared)
    if "damping" in declared and fitted.shift not in (0.0, declared["damping"]):
        verdict.status = "fail"
        verdict.reason = (
            f"damping λ = {declared['damping']:g} is declared, the product shows "
            f"λ = {fitted.shift:.6g}"
        )
    return verdict


@dataclass(frozen=True, eq=False)
class _Compared:
    """Products of F v with the directions, for every v in turn.

    Attributes:
        y, exact: the user's, and those of F.
        budgets: what each may be off.
        shifted: what a unit of λ adds.
        lengths: ‖v‖.
    """

    y: Array
    exact: Array
    budgets: Array
    shifted: Array
    lengths: Array

    def times_length(self) -> Iterator[_Compared]:
        """The products times ‖v‖, damped before the division by it or after."""
        for shifted in (self.shifted, self.shifted * self.lengths):
            yield replace(self, y=self.y * self.lengths, shifted=shifted)


@dataclass(frozen=True)
class _Found:
    """An explanation, and others that cost as much."""

    price: tuple[int, float]
    said: list[Diagnosis]
    fitted: fit.Fitted
    equals: list[list[Diagnosis]]


def _cheapest(
    probes: Probes,
    matrices: Iterable[variants.Fisher],
    y: Array,
    plain: tuple[Array, Array],
    shifted: Array,
    answers: dict[str, Array],
    dtype: str,
    declared: dict[str, Any],
) -> _Found | None:
    """The cheapest of these matrices that fits, scaled or damped."""
    found: list[_Found] = []
    for variant in matrices:
        exact, budgets = _predicted(probes, variant, answers, dtype)
        if variant.choices and np.all(np.abs(exact - plain[0]) <= plain[1]):
            continue  # the same numbers explain nothing, however differently they are rounded
        for factor, shift, more in _tried(probes, y, exact, budgets, shifted, declared):
            fitted = fit.compare(y, exact, budgets, factor, shift, shifted)
            if not fitted.holds or (variant.choices and fitted.digits < TELLING):
                continue
            if factor == 0.0 and variant.choices:
                continue  # no matrix at all is no variant of one
            said = names.combined(variant.choices, variant.note) + more
            found.append(_Found(names.cost(d.choice for d in said), said, fitted, []))
        if found and min(f.price for f in found) <= names.ONE_CONVENTION:
            break  # every further variant is at least that
    if not found:
        return None
    best = min(found, key=lambda f: f.price)
    return replace(best, equals=[f.said for f in found if f.price[0] == best.price[0]])


def _predicted(
    probes: Probes, variant: variants.Fisher, answers: dict[str, Array], dtype: str
) -> tuple[Array, Array]:
    """wᵀFv and its budget for every product and direction, in one row."""
    exact, budgets = [], []
    for name, answer in answers.items():
        right = probes.directions[name]
        sums = probes.forms(variant.curvature, variant.weights, right)
        sums = probes.with_means(sums, variant.means, right)
        exact.append(values(sums))
        budgets.append(probes.budgets(sums, float(np.linalg.norm(answer)), dtype))
    return np.concatenate(exact), np.concatenate(budgets)


def _tried(
    probes: Probes, y: Array, exact: Array, budgets: Array, shifted: Array, declared: dict[str, Any]
) -> list[tuple[float, float, list]]:
    """(factor, λ, their diagnoses), simplest first."""
    found: list[tuple[float, float, list]] = [(1.0, 0.0, [])]
    scales: list[tuple[float, list]] = [(1.0, [])]
    free, _ = fit.estimate(y, exact, budgets, shifted, free_factor=True)
    scales += [(c, said) for c, said in factors(probes) if abs(free - c) <= 1e-3 * abs(c)]
    for factor, said in scales:
        found.append((factor, 0.0, said))
        _, shift = fit.estimate(y - factor * exact, 0.0 * exact, budgets, shifted, False)
        numbers = [declared["damping"]] if declared.get("damping") else []
        for number in [*numbers, *roundest(shift)]:
            if number > 0:
                found.append((factor, number, [*said, names.named("damping", number)]))
    _, shift = fit.estimate(y, 0.0 * exact, budgets, shifted, False)
    for number in [0.0, *roundest(shift)]:
        more = names.damped(max(number, 0.0))
        found.append((0.0, max(number, 0.0), [names.named("both-sides-live", note="F = 0"), *more]))
    return found


def factors(probes: Probes) -> list[tuple[float, list]]:
    """Factors with a name."""
    law, count = probes.rows.law, float(len(probes.rows.weights))
    known: list[tuple[float, list]] = []
    if law.dimensions > 1:  # before the plain factors: for two dimensions 1/m is one half
        known += [
            (1.0 / law.dimensions, [names.named("kl-mean-over-action-dimensions")]),
            (
                count / law.dimensions,
                [names.named("kl-mean-over-action-dimensions"), names.named("batch-size-scale")],
            ),
            (
                1.0 / law.dimensions**2,
                [
                    names.named(
                        "logprob-not-summed-over-dims", note="log π averaged over dimensions"
                    )
                ],
            ),
        ]
    summed = "a sum over the rows in place of their mean"
    known += [
        (count, [names.named("batch-size-scale", note=summed)]),
        (1.0 / count, [names.named("batch-size-scale", note="F/N: divided by the rows twice")]),
        (4.0, [names.named("metric-constant", note="4 F, as in quantum information")]),
        (0.25, [names.named("metric-constant", note="¼ F, as in quantum information")]),
        (2.0, [names.named("fisher-factor-two", note="2 F in place of F")]),
        (0.5, [names.named("fisher-factor-two", note="F/2 in place of F")]),
        (-1.0, [names.named("fisher-negated")]),
    ]
    if (outputs := _outputs(probes)) > 1:
        note = "a mean over the {} outputs in place of their sum".format
        known += [
            (1.0 / outputs, [names.named("output-dim-scale", note=note(outputs))]),
            (float(outputs), [names.named("output-dim-scale", note=f"F times {outputs} outputs")]),
        ]
    return known


def _outputs(probes: Probes) -> int:
    """A outputs of one discrete action, m of anything else."""
    law = probes.rows.law
    return law.size if law.name == "categorical" else law.dimensions


def _properties(
    function: Function,
    answers: dict[str, Array],
    probes: Probes,
    table: Array,
    spread: Array,
    u: float,
) -> list[CheckResult]:
    """Symmetry, positivity and linearity of the user's own product."""
    order = [list(probes.directions).index(name) for name in answers]
    square = table[:, order]
    lengths = np.array([np.linalg.norm(a) for a in answers.values()])
    norms = probes.norms()[order]
    sizes = np.outer(lengths, norms)
    # both sides carry the rounding of D products, and the product's own
    budget = u * probes.growth * (sizes + sizes.T)
    budget += spread[:, order] + spread[:, order].T
    gap = np.abs(square - square.T) / budget
    ratio = float(gap.max())
    said = ""
    if ratio > 1.0:
        i, j = np.unravel_index(int(np.argmax(gap)), gap.shape)
        apart = abs(square[i, j] - square[j, i])
        said = (
            f"uᵀFv = {square[i, j]:.6g} differs from vᵀFu by {apart:.2g} for "
            f"u = {list(answers)[j]}, v = {list(answers)[i]}"
        )
    results = [property_result("NPG-FV-002", said, square.size, ratio)]
    negative = np.diag(square) < -np.diag(budget)
    said = ""
    if negative.any():
        first = int(np.argmax(negative))
        said = f"vᵀFv = {square[first, first]:.4g} for v = {list(answers)[first]}"
    results.append(property_result("NPG-FV-003", said, len(square), 0.0))
    results.append(_linear(function, answers, probes, spread, u))
    return results


def _linear(
    function: Function, answers: dict[str, Array], probes: Probes, spread: Array, u: float
) -> CheckResult:
    """F(v/4 + w) = F v/4 + F w for the first two directions, seen from every direction."""
    first, second = list(answers)[:2]
    v, w = probes.directions[first], probes.directions[second]
    together = function.like(0.25 * v + w)
    whole = function.read(function.call(together), (len(v),))
    off = whole - (0.25 * answers[first] + answers[second])
    # v/4 + w is rounded before it is multiplied, which ‖F‖ magnifies
    largest = max(
        float(np.linalg.norm(answers[name])) / float(np.linalg.norm(probes.directions[name]))
        for name in answers
    )
    size = largest * float(np.linalg.norm(0.25 * np.abs(v) + np.abs(w)))
    # every product rounds as its budget says, the three of them independently
    budgets = 2.0 * (0.25 * spread[0] + spread[1]) + u * probes.growth * size * probes.norms()
    seen = np.abs(probes.products(off))
    ratio = float(np.max(seen / np.maximum(budgets, np.finfo(float).tiny)))
    error = float(np.linalg.norm(off))
    said = f"F(v/4 + w) − F v/4 − F w has length {error:.2g}" if ratio > 1.0 else ""
    return property_result("NPG-FV-005", said, len(seen), ratio)


def _by_differences(
    verdict: Verdict, probes: Probes, compared: _Compared, scaled: bool = True
) -> list[Diagnosis]:
    """Whether the product is that of F up to the error of finite differences, and not linear.

    (∇KL(θ + εv) − ∇KL(θ))/ε is right to a few digits, and breaks linearity by as much. A wrong
    matrix is linear to rounding.
    """
    broken = next(r for r in verdict.findings if r.id == "NPG-FV-005")
    allowed = DIFFERENCES if broken.status == "fail" else CENTRAL
    y, exact, shifted = compared.y, compared.exact, compared.shifted
    blocks = [a.reshape(-1, len(probes.directions)) for a in (y, exact, shifted)]
    sizes = np.abs(blocks[1]).max(axis=1, keepdims=True) * np.ones_like(blocks[1])
    free, _ = fit.estimate(y, exact, sizes.ravel(), shifted, free_factor=True)
    known = factors(probes) if scaled else []
    near = [(c, said) for c, said in known if abs(free - c) <= NEAR * abs(c)]
    for factor, named in [(1.0, []), *near]:
        off_by = blocks[0] - factor * blocks[1]
        _, damping = fit.estimate(off_by.ravel(), 0.0 * exact, sizes.ravel(), shifted, False)
        for number in [0.0, *(n for n in roundest(damping) if n > 0)]:
            off = float((np.abs(off_by - number * blocks[2]) / (abs(factor) * sizes)).max())
            if off <= allowed:
                verdict.findings = [r for r in verdict.findings if r.id == "NPG-FV-003"]
                verdict.digits, verdict.ratio = -float(np.log10(off)), 1.0
                verdict.numbers["damping"] = number
                more = names.damped(number)
                digits = f"{verdict.digits:.1f} digits only, as by finite differences"
                said = f"F v right to {digits}"
                if factor != 1.0:
                    said = f"{fit.as_people_write(factor)} F v to {digits}"
                    equals = [s for c, s in near if c == factor]
                    named = names.together(named, equals)
                return [*named, names.named("finite-difference-eps", note=said), *more]
    return []


def _without_weights(
    probes: Probes, answers: dict[str, Array], y: Array, shifted: Array, dtype: str
) -> bool:
    """Whether it is the plain mean over the rows, damped or not, where weights are given."""
    weights = probes.rows.weights
    if np.ptp(weights) <= 1e-12 * weights.max():
        return False
    true = next(iter(variants.fishers(probes.rows)))
    equal = replace(true, weights=np.full_like(weights, 1.0 / len(weights)))
    exact, budgets = _predicted(probes, equal, answers, dtype)
    _, shift = fit.estimate(y, exact, budgets, shifted, free_factor=False)
    fits = [fit.compare(y, exact, budgets, 1.0, n, shifted) for n in (0.0, *roundest(shift))]
    return any(f.holds and f.digits >= TELLING and f.shift >= 0.0 for f in fits)


def _length_forgotten(compared: _Compared) -> list[Diagnosis]:
    """F v/‖v‖, damped before the division or after it."""
    budgets = compared.budgets * np.maximum(1.0, compared.lengths)
    for c in compared.times_length():
        _, damping = fit.estimate(c.y, c.exact, budgets, c.shifted, free_factor=False)
        for number in [0.0, *(n for n in roundest(damping) if n > 0)]:
            fitted = fit.compare(c.y, c.exact, budgets, 1.0, number, c.shifted)
            if fitted.holds and fitted.digits >= TELLING:
                return [_forgotten(), *names.damped(number)]
    return []


def _both(verdict: Verdict, probes: Probes, compared: _Compared) -> list[Diagnosis]:
    """F v/‖v‖ by finite differences, damped before the division or after it."""
    for c in compared.times_length():
        if said := _by_differences(verdict, probes, c, scaled=False):
            return [_forgotten(), *said]
    return []


def _forgotten() -> Diagnosis:
    note = "F v/‖v‖: the vector is normalised first"
    return names.named("product-forgets-the-length", note=note)


def _facts(probes: Probes, y: Array, exact: Array, budgets: Array, shifted: Array) -> str:
    """What is true of a product that no choice explains."""
    factor, shift = fit.estimate(y, exact, budgets, shifted, free_factor=True)
    rows = len(probes.rows.weights)
    loose = budgets + 1e-6 * (abs(factor) * np.abs(exact) + abs(shift * shifted))
    if fit.compare(y, exact, loose, 1.0, 0.0).holds:
        return "; it is right to six digits or more, but not to its rounding"
    if fit.compare(y, exact, loose, factor, 0.0).holds:
        return f"; it is the exact product times {fit.in_words(factor, rows)}"
    if fit.compare(y, exact, loose, factor, shift, shifted).holds:
        times = fit.in_words(factor, rows)
        scaled = "F v" if times == "1" else f"{times} · F v"
        damping = f"+ {shift:.6g} · v" if shift > 0 else f"− {-shift:.6g} · v: a negative damping"
        return f"; it is {scaled} {damping}"
    return ""
