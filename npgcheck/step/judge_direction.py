"""Does x solve (F + λI) x = g, or is it the k-th iterate of conjugate gradient on that system?

Without the user's product, x is judged through its residual's products with every direction. With
it, x is also compared number by number with the iterates of the user's own F and g: then what is
wrong with F or g is explained by them, and the solver is judged by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import fit, iterates, names, solvers, variants
from npgcheck.step.iterates import SINGLE
from npgcheck.step.krylov import Krylov
from npgcheck.step.probes import Probes, values
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: Absolute tolerances on rᵀr that libraries use are 1e-10 and smaller; this leaves room.
SMALL = 1e-6
#: x is a multiple of g where what is left of it beside g is so small: a few round-offs per entry,
#: and in double precision a gradient that was summed in another order.
ROUNDED, ALONG = 32.0, 1e-10
#: What another λ leaves of g, in units of what the product's own λ leaves, where it is the solve's.
LESS = 0.1


@dataclass
class Solve:
    """What is known of the system that x should solve.

    Attributes:
        gradient: (D,), the user's, or None.
        krylov: of the user's product and gradient, or None where one of them was not given.
        damping: λ that the product carries already.
        lower: the verdicts on the product and the gradient.
        ascends: whether the step that was taken goes up, None where it was not given.
        image: (D,), the user's product at x, or None where it was not given.
        unit: the round-off of x, of the product and of the policy's outputs, whichever is largest.
        step_factor: √(2δ / xᵀFx), the factor from the direction to the step, where δ is known.
        hidden: λ that the product may carry unseen, as rounding or kinks hide it.
    """

    gradient: Array | None
    krylov: Krylov | None
    damping: float
    lower: tuple[Verdict, ...]
    ascends: bool | None
    image: Array | None
    unit: float
    step_factor: float | None = None
    hidden: float = 0.0


def judge(probes: Probes, x: Array, dtype: str, solve: Solve, declared: dict[str, Any]) -> Verdict:
    """The verdict on the direction x (D,)."""
    verdict = Verdict("natural_gradient", compared=len(probes.vectors))
    failed = [v for v in solve.lower if v.status == "fail"]
    _by_residual(probes, x, dtype, solve, declared, verdict)
    if solve.krylov is None:
        if verdict.status == "fail" and not verdict.reason:
            _without_the_system(probes, verdict, x, solve, declared)
        return verdict
    if _by_iterates(x, solve, declared, verdict) and verdict.status in ("pass", "deviates"):
        inherited = [d for v in solve.lower for d in v.diagnoses if d.kind != "bug"]
        own = {"damping", *(d.choice for d in verdict.diagnoses)}
        more = [d for d in inherited if d.choice not in own]
        verdict.explain([*verdict.diagnoses, *more], declared)
        if failed:
            verdict.status, verdict.explained_by = "fail", failed[0].quantity
    return verdict


def judge_zero(probes: Probes, gradient: Array | None, declared: dict[str, Any]) -> Verdict:
    """The verdict on x = 0: right for g = 0, and what a solver with an absolute tolerance returns.

    Args:
        probes: the batch and the directions.
        gradient: (D,), the user's, or None: then gᵀg is estimated from the exact one's products
            with the random directions, D times their mean square.
        declared: the conventions that are declared.
    """
    verdict = Verdict("natural_gradient", compared=1)
    square, sign = _square(probes), "≈"
    if gradient is not None:
        square, sign = float(gradient @ gradient), "="
    if square == 0.0:
        return verdict
    verdict.ratio, verdict.digits = np.inf, 0.0
    if square < SMALL:
        verdict.reason = f"it is zero, and gᵀg {sign} {square:.2g}: the solver stopped at once"
        return verdict.explain([names.named("absolute-tolerance")], declared)
    verdict.status, verdict.reason = "fail", f"it is zero, where gᵀg {sign} {square:.2g}"
    return verdict


def _square(probes: Probes) -> float:
    """gᵀg of the exact gradient, roughly; 0 where its products are within their rounding."""
    plain = next(iter(variants.gradients(probes.rows)))
    slopes = probes.slopes(plain.cotangent, plain.size)
    products = values(slopes)
    if np.all(np.abs(products) <= probes.budgets(slopes, 0.0)):
        return 0.0
    # a random direction sees ‖g‖²‖v‖²/D in the mean
    return float(len(probes.vectors[0]) * np.mean((products / probes.norms()) ** 2))


def _by_residual(
    probes: Probes,
    x: Array,
    dtype: str,
    solve: Solve,
    declared: dict[str, Any],
    verdict: Verdict,
) -> None:
    """vᵀ(F x + λx − g) = 0 for every direction, with the exact F and g."""
    fisher = next(iter(variants.fishers(probes.rows)))
    plain = next(iter(variants.gradients(probes.rows)))
    sums = probes.forms(fisher.curvature, fisher.weights, x)
    image = values(sums)
    slopes = probes.slopes(plain.cotangent, plain.size)
    right = values(slopes)
    bonus = variants.entropy(probes.rows) if declared.get("entropy") else None
    if bonus is not None:  # g is that of the surrogate with the declared bonus
        right = right + float(declared["entropy"]) * values(probes.slopes(*bonus))
    u = max(probes.unit, unit_roundoff(dtype))
    norm = float(np.linalg.norm(x))
    largest = probes.curvature(fisher.curvature, fisher.weights)
    # x is rounded itself, and F x with it: |vᵀ F δx| ≤ u ‖v‖ ‖F‖ ‖x‖
    budgets = probes.budgets(sums, 0.0, dtype) + probes.budgets(slopes, 0.0, dtype)
    budgets += CONSTANT * u * probes.norms() * largest * norm
    shifted = probes.products(x)
    along = list(probes.directions).index("x")
    # Every iterate of conjugate gradient has a residual orthogonal to itself: xᵀ(F + λI)x = gᵀx.
    implied = (abs(right[along]) - image[along]) / norm**2
    verdict.numbers = {
        "damping": 0.0,
        "implied": implied,
        "implied_budget": budgets[along] / norm**2,
        "gained": abs(right[along]) / norm**2,
        "floor": _floor(budgets, shifted),
    }
    verdict.yours, verdict.exact = image, right
    verdict.where = f"F x beside g, products with {', '.join(probes.directions)}"
    sign = -1.0 if right[along] < -budgets[along] else 1.0
    y = sign * right
    _, shift = fit.estimate(y - image, 0.0 * image, budgets, shifted, False)
    held = [float(declared["damping"])] if declared.get("damping") else []
    own = [solve.damping] if solve.damping > 0 else []
    tried = [*held, *own, 0.0, *(n for n in roundest(shift) if n > 0)]
    fits = [fit.compare(y, image, budgets, 1.0, n, shifted) for n in tried]
    holding = (f for f in fits if f.holds and _is_solve(x, sign, f.shift, solve, held))
    fitted = next(holding, None) or min(fits, key=lambda f: f.ratio)
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    verdict.numbers["sign"] = sign
    if not fitted.holds or not _is_solve(x, sign, fitted.shift, solve, held):
        verdict.status = "fail"
        return
    number = fitted.shift
    said = [names.named("gradient-of-the-loss")] if sign < 0 else []
    said += [names.named("damping", number)] if number else []
    _conclude(verdict, said, number, solve, declared)


def _is_solve(x: Array, sign: float, damping: float, solve: Solve, held: list[float]) -> bool:
    """Whether another λ than the product's leaves far less of g on the user's own system, or at
    least no more where it is the declared one.

    Budgets of single precision let some λ fit any x that nearly solves the system.
    """
    extra = damping - solve.damping
    if solve.krylov is None or not extra:
        return True
    left, own = (solve.krylov.left_over(sign * x, e) for e in (extra, 0.0))
    return left <= (1.0 if damping in held else LESS) * own or left <= 1e3 * solve.krylov.unit


def _without_the_system(
    probes: Probes, verdict: Verdict, x: Array, solve: Solve, declared: dict[str, Any]
) -> None:
    """What every iterate of conjugate gradient obeys, where its spaces are not known."""
    implied, budget = verdict.numbers["implied"], verdict.numbers["implied_budget"]
    written = float(f"{implied:.3g}")
    shown = implied > 10.0 * budget and abs(implied - written) <= max(1e-6 * implied, budget)
    if shown and solve.gradient is not None and _is_multiple(x, solve.gradient, solve.unit):
        # a multiple of g is the first iterate too, for the λ that this gives
        verdict.numbers["damping"] = written
        verdict.explain([names.named("damping", written)], declared)
        return
    if solve.gradient is not None and _parallel(x, solve.gradient, solve, verdict):
        return
    if verdict.numbers["sign"] < 0 and not _loss(solve) and not solve.ascends:
        verdict.diagnoses = (names.named("ascent-descent-sign"),)
        return
    wanted = declared.get("damping", solve.damping or None)
    # plain runs that lose orthogonality keep gᵀx = xᵀ(F + λI)x to this
    slack = solvers.SELF_CONSISTENT * verdict.numbers["gained"] if solve.unit > SINGLE else 0.0
    if implied < -budget - slack:
        verdict.reason = (
            "xᵀFx exceeds gᵀx, which no iterate of conjugate gradient does, damped or not"
        )
    elif wanted is not None and abs(implied - wanted) > budget + slack + 1e-3 * wanted:
        if implied > wanted and _orthogonal(probes, solve, verdict.numbers["sign"]):
            verdict.numbers["damping"] = wanted
            _left_open(verdict, "its residual is orthogonal to (F + λI)x; whether it is MINRES's")
            return
        verdict.reason = (
            f"xᵀ(F + λI)x = gᵀx needs λ = {implied:.6g}, where λ = {wanted:.6g} is declared or "
            "in the product"
        )
    else:
        verdict.numbers["damping"] = implied if implied > 10.0 * budget else 0.0
        _left_open(verdict, "whether it is an iterate of conjugate gradient")


def _left_open(verdict: Verdict, what: str) -> None:
    verdict.status = "skip"
    verdict.reason = (
        f"not the exact solution; {what} can be told where gradient and fisher_vector_product are "
        "given"
    )


def _orthogonal(probes: Probes, solve: Solve, sign: float) -> bool:
    """Whether Mx ⟂ g − Mx, with the user's product M and the exact g."""
    image = solve.image
    if image is None:
        return False
    plain = next(iter(variants.gradients(probes.rows)))
    slope = sign * probes.rows.slope(plain.cotangent, plain.size, image).value
    return solvers.orthogonal(slope, float(image @ image), solve.unit)


def _conclude(
    verdict: Verdict,
    said: list[Diagnosis],
    number: float,
    solve: Solve,
    declared: dict[str, Any],
) -> None:
    """The status of a solve whose λ is known, and whether that λ is the product's."""
    verdict.numbers["damping"] = number
    flipped = any(d.choice == "gradient-of-the-loss" for d in said)
    if flipped and not _loss(solve) and not solve.ascends:
        said = [d for d in said if d.choice != "gradient-of-the-loss"]
        said.insert(0, names.named("ascent-descent-sign"))
    verdict.explain(said, declared)
    wanted = declared.get("damping")
    if wanted is not None and number == 0.0 and wanted <= solve.hidden:
        return
    if wanted is not None and not _same(number, wanted):
        verdict.status = "fail"
        verdict.reason = f"damping λ = {wanted:g} is declared, the solve shows λ = {number:.6g}"
    elif solve.damping and not _same(number, solve.damping):
        verdict.status = "fail"
        verdict.reason = (
            f"the product is damped by λ = {solve.damping:.6g}, the solve by λ = {number:.6g}"
        )


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-3 * max(abs(a), abs(b))


def _loss(solve: Solve) -> bool:
    return any(d.choice == "gradient-of-the-loss" for v in solve.lower for d in v.diagnoses)


def _floor(budgets: Array, shifted: Array) -> float:
    with np.errstate(divide="ignore"):
        return float(np.min(budgets / np.abs(shifted)))


def _by_iterates(x: Array, solve: Solve, declared: dict[str, Any], verdict: Verdict) -> bool:
    """Whether x is an iterate of conjugate gradient on the user's own product and gradient."""
    krylov = solve.krylov
    assert krylov is not None
    wanted = declared.get("cg_iterations")
    extras = [0.0]
    if declared.get("damping", 0.0) > solve.damping:
        extras.insert(0, float(declared["damping"]) - solve.damping)
    match = iterates.find(x, krylov, extras, int(wanted) if wanted else None)
    if match is None:
        if verdict.status != "fail":
            _mistaken(x, krylov, verdict)
            return False
        if _minimises_residual(x, solve, verdict, declared):
            return True
        if not verdict.reason and not _facts(x, solve, verdict):
            _undecided(x, solve, verdict, declared)
            return verdict.status != "fail"
        return False
    total = solve.damping + match.extra
    said = [names.named("gradient-of-the-loss")] if match.sign < 0 else []
    said += [names.named("damping", total)] if total else []
    if not match.solved:
        said.append(names.named("truncated-cg", float(match.k)))
    verdict.ratio, verdict.reason, verdict.diagnoses = match.error / match.allowed, "", ()
    verdict.digits = 17.0 if match.error == 0 else float(min(17.0, -np.log10(match.error)))
    verdict.numbers["iterations"] = match.k
    _conclude(verdict, said, total, solve, declared)
    if not match.solved:
        _hold_iterations(match.k, declared, verdict)
    return True


def _is_multiple(x: Array, g: Array, unit: float) -> bool:
    """Whether x = c g as far as its entries are rounded."""
    square = float(g @ g)
    if square == 0.0:
        return False
    aside = float(np.linalg.norm(x - float(x @ g) / square * g))
    return aside <= max(ALONG, ROUNDED * unit) * float(np.linalg.norm(x))


def _parallel(x: Array, g: Array, solve: Solve, verdict: Verdict) -> bool:
    """Whether x is a multiple of g: no system was solved."""
    norm, krylov = float(np.linalg.norm(g)), solve.krylov
    if not _is_multiple(x, g, solve.unit):
        return False
    factor = float(x @ g) / norm**2
    if krylov is not None and factor > 0:
        # x = gᵀg / (gᵀ(F + λI)g) g is the first iterate, for the λ that this gives
        damping = 1.0 / factor - float(g @ krylov.product(g)) / norm**2
        round_one = float(f"{damping:.3g}")
        if round_one > 0 and abs(damping - round_one) <= max(1e-6, 1e3 * krylov.unit) * damping:
            said = [names.named("damping", round_one), names.named("truncated-cg", 1.0)]
            verdict.explain(said, {})
            verdict.numbers["damping"] = round_one
            return True
    note = "x is g itself" if abs(factor - 1) < 1e-6 else f"x = {factor:.6g} · g"
    verdict.status = "fail"
    verdict.diagnoses = (names.named("preconditioner-not-applied", note=note),)
    return True


def _facts(x: Array, solve: Solve, verdict: Verdict) -> bool:
    """Whether something is known of a direction that is no iterate: its name, or its factor."""
    krylov = solve.krylov
    assert krylov is not None
    if _parallel(x, krylov.right, solve, verdict):
        return True
    if (name := iterates.misapplied(x, krylov)) is not None:
        verdict.diagnoses = (names.named(name),)
        return True
    first = iterates.holding(x, krylov)
    if first is None:
        return False
    if (run := iterates.biased(x, krylov, first)) is not None:
        k, epsilon = run
        said = [names.named("CG-denominator-eps", epsilon), names.named("truncated-cg", float(k))]
        verdict.explain(said, {})
        return True
    factor = iterates.multiple(x, krylov, first)
    if factor is None or abs(factor - 1.0) < 1e-3:
        return False
    if abs(float(np.linalg.norm(x)) - 1.0) < 1e-6:
        verdict.diagnoses = (names.named("direction-normalised"),)
        return True
    what = fit.as_people_write(factor)
    step = solve.step_factor
    if step is not None and abs(step - 1.0) < 1e-3:
        what += ", and as long as max_kl allows: this is the step, not its direction"
    verdict.reason = f"it is the solution times {what}"
    return True


def _minimises_residual(x: Array, solve: Solve, verdict: Verdict, declared: dict[str, Any]) -> bool:
    """Whether x is an iterate of MINRES or GMRES."""
    krylov = solve.krylov
    assert krylov is not None
    k = solvers.minimal_residual(x, krylov)
    if k is None:
        return False
    note = f"{k} iterations that minimise the residual (MINRES, GMRES)"
    said = [names.named("damping", solve.damping)] if solve.damping else []
    said.append(names.named("truncated-cg", float(k), note=note))
    verdict.ratio, verdict.reason, verdict.diagnoses = 1.0, "", ()
    verdict.numbers["iterations"] = k
    _conclude(verdict, said, solve.damping, solve, declared)
    _hold_iterations(k, declared, verdict)
    return True


def _hold_iterations(k: int, declared: dict[str, Any], verdict: Verdict) -> None:
    wanted = declared.get("cg_iterations")
    if wanted and int(wanted) != k:
        verdict.status = "fail"
        verdict.reason = f"{int(wanted)} iterations are declared, x is the iterate after {k}"


def _mistaken(x: Array, krylov: Krylov, verdict: Verdict) -> bool:
    """Whether x is what a wrong recurrence gives, to its last digits: then it is no accident that
    it solves the system as far as single precision can tell."""
    wrong = solvers.mistaken(x, krylov)
    if wrong is None:
        return False
    it_is = f"iterate {wrong.iterations} of another recurrence"
    if wrong.note:
        it_is += f", in which {wrong.note}"
    if verdict.status != "fail":
        verdict.reason = f"within the budget, but to all its digits {it_is}"
    elif not wrong.name:
        verdict.reason = it_is
    verdict.status, verdict.diagnoses = "fail", ()
    if wrong.name:
        verdict.diagnoses = (names.named(wrong.name),)
    return True


def _undecided(x: Array, solve: Solve, verdict: Verdict, declared: dict[str, Any]) -> None:
    """What is left to be said: a wrong recurrence, another right solver, or neither."""
    krylov = solve.krylov
    assert krylov is not None
    if _mistaken(x, krylov, verdict):
        return
    apart = solvers.undetermined(x, krylov, bool(solve.damping))
    held = float(declared.get("damping") or 0.0) - solve.damping
    more = max(0.0, held) if solve.damping or held > 0 else None
    other = "" if apart else solvers.approximates(x, krylov, more)
    if apart:
        verdict.reason = (
            f"right runs of conjugate gradient differ here by {100 * apart:.0f} %, losing "
            "orthogonality; judge it in float64, with more damping or fewer iterations"
        )
    elif other:
        verdict.reason = f"no iterate of plain conjugate gradient; {other}"
    else:
        verdict.reason = (
            "it solves no system with the product and the gradient that were given: "
            + solvers.describe(x, krylov)
        )
        return
    verdict.numbers["damping"] = solve.damping
    verdict.status = "skip"
