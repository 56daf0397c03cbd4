"""What is said of a direction that solves no system that is known: its name, or what is true of it.

Where product or gradient were not given there is the residual alone, of the exact F and g; where
both were, x is no iterate of conjugate gradient on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.round_numbers import written
from npgcheck.step import epsilon, fit, iterates, names, solvers, spectral, variants
from npgcheck.step.iterates import SINGLE
from npgcheck.step.krylov import Krylov
from npgcheck.step.probes import Probes
from npgcheck.step.system import Solve
from npgcheck.step.verdict import Verdict

Array = np.ndarray

#: x is a multiple of g where what is left of it beside g is so small: a few round-offs per entry,
#: and in double precision a gradient that was summed in another order.
ROUNDED, ALONG = 32.0, 1e-10


def without_the_system(
    probes: Probes, verdict: Verdict, x: Array, solve: Solve, declared: dict[str, Any]
) -> None:
    """What every iterate of conjugate gradient obeys, where its spaces are not known."""
    implied, budget = verdict.numbers["implied"], verdict.numbers["implied_budget"]
    number = written(implied, max(1e-6 * implied, budget)) if implied > 10.0 * budget else None
    along = solve.gradient is not None and _is_multiple(x, solve.gradient, solve.unit)
    if number is not None and along:
        # a multiple of g is the first iterate too, for the λ that this gives
        verdict.numbers["damping"] = number
        verdict.explain([names.named("damping", number)], declared)
        return
    if solve.gradient is not None and parallel(x, solve.gradient, solve, verdict):
        return
    wanted = declared.get("damping", solve.damping or None)
    # plain runs that lose orthogonality keep gᵀx = xᵀ(F + λI)x to this
    slack = solvers.SELF_CONSISTENT * verdict.numbers["gained"] if solve.unit > SINGLE else 0.0
    if verdict.numbers["sign"] < 0 and not solve.of_the_loss and not solve.ascends:
        if solve.misled(x):
            verdict.explained_by = "policy_gradient"
            return
        if implied >= -budget - slack:
            damped = implied > 10.0 * budget
            verdict.diagnoses = (names.downhill(solve.gradient is not None, damped),)
            return
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


def _is_multiple(x: Array, g: Array, unit: float) -> bool:
    """Whether x = c g as far as its entries are rounded."""
    square = float(g @ g)
    if square == 0.0:
        return False
    aside = float(np.linalg.norm(x - float(x @ g) / square * g))
    return aside <= max(ALONG, ROUNDED * unit) * float(np.linalg.norm(x))


def parallel(x: Array, g: Array, solve: Solve, verdict: Verdict) -> bool:
    """Whether x is a multiple of g: no system was solved."""
    norm, krylov = float(np.linalg.norm(g)), solve.krylov
    if not _is_multiple(x, g, solve.unit):
        return False
    factor = float(x @ g) / norm**2
    if krylov is not None and factor > 0:
        # x = gᵀg / (gᵀ(F + λI)g) g is the first iterate, for the λ that this gives
        damping = 1.0 / factor - float(g @ krylov.product(g)) / norm**2
        number = written(damping, max(1e-6, 1e3 * krylov.unit) * damping)
        if number is not None and number > 0:
            said = [names.named("damping", number), names.named("truncated-cg", 1.0)]
            verdict.explain(said, {})
            verdict.numbers["damping"] = number
            return True
    if krylov is not None and abs(factor - 1) >= 1e-6:
        curvature = float(g @ krylov.product(g)) / norm**2
        if (k := solvers.forgetful(factor, curvature, krylov.unit)) is not None:
            verdict.status = "fail"
            note = (
                f"x = {factor:.6g} · g, as {k} iterations with r ← r − αp in place of r − αMp give"
            )
            said = [names.named("cg-residual-forgets-the-matrix", note=note)]
            equal = [names.named("preconditioner-not-applied")]
            verdict.diagnoses = tuple(names.together(said, [equal]))
            return True
    note = "x is g itself" if abs(factor - 1) < 1e-6 else f"x = {factor:.6g} · g"
    verdict.status = "fail"
    verdict.diagnoses = (names.named("preconditioner-not-applied", note=note),)
    return True


def facts(x: Array, solve: Solve, verdict: Verdict) -> bool:
    """Whether something is known of a direction that is no iterate: its name, or its factor."""
    krylov = solve.krylov
    assert krylov is not None
    if parallel(x, krylov.right, solve, verdict):
        return True
    if (name := iterates.misapplied(x, krylov)) is not None:
        verdict.diagnoses = (names.named(name),)
        return True
    first = iterates.holding(x, krylov)
    if first is None:
        return False
    if (run := epsilon.find(x, krylov)) is not None:
        k, number = run
        said = [names.named("CG-denominator-eps", number), names.named("truncated-cg", float(k))]
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


def mistaken(x: Array, krylov: Krylov, verdict: Verdict) -> bool:
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


def spectral_function(x: Array, solve: Solve, verdict: Verdict, declared: dict[str, Any]) -> bool:
    """Whether x is made from the user's matrix by a direct solve that has a name."""
    assert solve.krylov is not None
    product = next((v for v in solve.lower if v.quantity == "fisher_vector_product"), None)
    is_known = product is not None and product.status in ("pass", "deviates")
    said = spectral.explain(x, solve.krylov, solve.damping, is_known)
    if not said:
        return False
    verdict.reason = ""
    verdict.numbers["damping"] = solve.damping
    verdict.explain(said, declared)
    if broken := spectral.held_to(said, declared.get("damping")):
        verdict.status, verdict.reason = "fail", broken
    return True


def undecided(x: Array, solve: Solve, verdict: Verdict, declared: dict[str, Any]) -> None:
    """What is left to be said: a wrong recurrence, another right solver, or neither."""
    krylov = solve.krylov
    assert krylov is not None
    if mistaken(x, krylov, verdict) or spectral_function(x, solve, verdict, declared):
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
