"""Does x solve (F + λI) x = g, or is it the k-th iterate of conjugate gradient on that system?

Without the user's product, x is judged through its residual's products with every direction. With
it, x is also compared number by number with the iterates of the user's own F and g: then what is
wrong with F or g is explained by them, and the solver is judged by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.conformance.round_numbers import roundest
from npgcheck.step import fit, iterates, names, solvers, spectral, unsolved, variants
from npgcheck.step.declared import hold_damping
from npgcheck.step.krylov import Krylov
from npgcheck.step.probes import Probes, values
from npgcheck.step.system import Solve
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: Absolute tolerances on rᵀr that libraries use are 1e-10 and smaller; this leaves room.
SMALL = 1e-6
#: λ is known to many digits where x is an iterate to so many.
EXACT_DIGITS = 9.0
#: An iterate that x is no closer to than this may be another solve, in double precision.
LOOSE = 1e-6
#: What another λ leaves of g, in units of what the product's own λ leaves, where it is the solve's.
LESS = 0.1


def judge(probes: Probes, x: Array, dtype: str, solve: Solve, declared: dict[str, Any]) -> Verdict:
    """The verdict on the direction x (D,)."""
    verdict = Verdict("natural_gradient", compared=len(probes.vectors))
    failed = [v for v in solve.lower if v.status == "fail"]
    _by_residual(probes, x, dtype, solve, declared, verdict)
    if solve.krylov is None:
        if verdict.status == "fail" and not verdict.reason:
            unsolved.without_the_system(probes, verdict, x, solve, declared)
        return verdict
    found = _by_iterates(x, solve, declared, verdict)
    if verdict.status in ("pass", "deviates"):
        _in_units_of_the_matrix(x, solve, declared, verdict)
    if found and verdict.status in ("pass", "deviates"):
        inherited = [d for v in solve.lower for d in v.diagnoses if d.kind != "bug"]
        own = {"damping", *(d.choice for d in verdict.diagnoses)}
        more = [d for d in inherited if d.choice not in own]
        verdict.explain([*verdict.diagnoses, *more], declared)
        if failed:
            verdict.status, verdict.explained_by = "fail", failed[0].quantity
    elif verdict.status == "fail" and _solves_the_negated(x, solve):
        verdict.explained_by, verdict.reason = "fisher_vector_product", ""
    return verdict


def _in_units_of_the_matrix(
    x: Array, solve: Solve, declared: dict[str, Any], verdict: Verdict
) -> None:
    """Names a λ of the solve that is no number but a round share of the size of F."""
    number = verdict.numbers.get("damping", 0.0)
    assert solve.krylov is not None
    if "damping" in declared or not number or number == float(f"{number:.2g}"):
        return
    sign = -1.0 if float(x @ solve.krylov.right) < 0 else 1.0
    iterate = number if verdict.digits >= EXACT_DIGITS else None
    said, solved = spectral.relative(sign * x, solve.krylov, solve.damping, iterate)
    if said:
        verdict.numbers["damping"] = said[0].value
        replaced = ("damping", "truncated-cg") if solved else ("damping",)
        others = [d for d in verdict.diagnoses if d.choice not in replaced]
        verdict.explain([*said, *others], declared)


def _solves_the_negated(x: Array, solve: Solve) -> bool:
    """Whether −x is an iterate for the negative of the user's product, where that is −F.

    The iterates of conjugate gradient on −F are those on F with the other sign, but every test of
    a positive matrix fails on them.
    """
    product = next((v for v in solve.lower if v.quantity == "fisher_vector_product"), None)
    krylov = solve.krylov
    if product is None or krylov is None or product.status != "fail":
        return False
    if not any(d.choice == "fisher-negated" for d in product.diagnoses):
        return False
    negated = Krylov(lambda v: -krylov.product(v), krylov.right, krylov.unit)
    match = iterates.find(-x, negated, [0.0], None)
    return match is not None and match.sign > 0


def judge_zero(probes: Probes, gradient: Array | None, declared: dict[str, Any]) -> Verdict:
    """The verdict on x = 0: right for g = 0, and what a solver with an absolute tolerance returns.

    Args:
        probes: the batch and the directions.
        gradient: (D,), the user's, or None: then gᵀg is estimated from the exact one's products
            with the random directions, D times their mean square.
        declared: the conventions that are declared.
    """
    verdict = Verdict("natural_gradient", compared=1)
    if gradient is None:
        square, sign = _square(probes), "≈"
    else:
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
        "floor": fit.floor(budgets, shifted),
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
    shown = fit.compare(right, image, budgets)  # what stands side by side in the report
    verdict.off, verdict.off_digits = shown.ratio, shown.digits
    verdict.numbers["sign"] = sign
    if not fitted.holds or not _is_solve(x, sign, fitted.shift, solve, held):
        verdict.status = "fail"
        return
    number = fitted.shift
    said = [names.named("gradient-of-the-loss")] if sign < 0 else []
    said += names.damped(number)
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
    if flipped and not solve.of_the_loss and not solve.ascends:
        said = [d for d in said if d.choice != "gradient-of-the-loss"]
        said.insert(0, names.downhill(solve.gradient is not None, number != 0.0))
    verdict.explain(said, declared)
    hold_damping(verdict, number, solve.damping, declared, solve.hidden)


def _by_iterates(x: Array, solve: Solve, declared: dict[str, Any], verdict: Verdict) -> bool:
    """Whether x is an iterate of conjugate gradient on the user's own product and gradient."""
    krylov = solve.krylov
    assert krylov is not None
    wanted = declared.get("cg_iterations")
    extras = [0.0]
    if declared.get("damping", 0.0) > solve.damping:
        extras.insert(0, float(declared["damping"]) - solve.damping)
    match = iterates.find(x, krylov, extras, int(wanted) if wanted else None, solve.damping)
    if match is None:
        if verdict.status != "fail":
            unsolved.mistaken(x, krylov, verdict)
            return False
        if _minimises_residual(x, solve, verdict, declared):
            return True
        if not verdict.reason and not unsolved.facts(x, solve, verdict):
            unsolved.undecided(x, solve, verdict, declared)
            return verdict.status != "fail"
        return False
    drifted = match.error > LOOSE and not match.solved and krylov.unit < iterates.SINGLE
    if drifted and unsolved.spectral_function(x, solve, verdict, declared):
        return verdict.status != "fail"
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
