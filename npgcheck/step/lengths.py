"""By which formula was the step made as long as it is?

    Δ = s x with s = r^j √(2δ / xᵀFx)

is right, with a line search that shrinks by r, as are xᵀ(F + λI)x and gᵀx under the root. s is
known to many digits, so that what is not one of these is told from them, and known mistakes (no
root, a lost factor of two, a length in θ, δ as a learning rate) are recognised below the right
length as well as above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

#: Factors by which line searches shrink a step, and those that nearly all of them use.
RATIOS = (0.5, 0.8, 0.9, 0.7, 0.6, 0.75, 0.25, 0.1, 0.3, 0.95)
USUAL = (0.5, 0.8, 0.9, 0.7)
#: The longest backtracking that is considered: 0.95⁶⁴ is 4 %; and what libraries allow at most.
MOST_SHRINKS, USUAL_SHRINKS = 64, 15
#: Lengths that are known less closely than this name no mistake …
BLUNT = 1e-3
#: … and none after backtracking where less closely than this: there are some thousand such numbers,
#: five per thousandth between one and a hundredth.
SHARP = 2e-5
#: ε that code adds under the root: Spinning Up has √(2δ/(xᵀFx + 1e-8)).
EPSILONS = (1e-8, 1e-10)


@dataclass(frozen=True)
class Measures:
    """What lengths are made of; None where it is not known.

    Attributes:
        factor: s.
        max_kl: δ.
        undamped: xᵀFx.
        damped: xᵀ(F + λI)x.
        gained: |gᵀx| with the user's own g.
        own: xᵀ(F + λI)x by the user's own product.
        length: ‖x‖, where x was given and is not Δ itself.
        gradient: ‖g‖.
    """

    factor: float
    max_kl: float
    undamped: float
    damped: float
    gained: float | None = None
    own: float | None = None
    length: float | None = None
    gradient: float | None = None


@dataclass(frozen=True)
class Length:
    """What was recognised.

    Attributes:
        fraction: s in units of the full step of the rule that fits, or of the undamped one.
        rule: ``""`` (undamped), ``"damped-length"``, or the name of a mistake.
        shrink: ``"0.8^3"`` where a line search shortened it, "" otherwise.
        note: the formula of a mistake.
        epsilon: what a right formula adds under the root, where that shows; "" otherwise.
        known: whether any formula fits.
    """

    fraction: float
    rule: str = ""
    shrink: str = ""
    note: str = ""
    epsilon: str = ""
    known: bool = True


def recognise(m: Measures, tolerance: float) -> Length:
    """The formula that gives s within `tolerance` (relative): right ones first, the plainest first.

    Exact right lengths, then right ones after the usual backtracking, then exact wrong ones, then
    any backtracking.
    """
    rights, wrongs = list(_rights(m)), list(_wrongs(m))
    for full, rule in rights:
        if _near(m.factor, full, tolerance):
            return Length(m.factor / full, rule)
    for ratios, most in ((USUAL, USUAL_SHRINKS), (RATIOS, MOST_SHRINKS)):
        for full, rule in rights:
            if found := shrinks(m.factor / full, tolerance, ratios, most):
                return Length(m.factor / full, rule, found)
        if ratios is not USUAL:
            break
        for full, rule, note in _with_epsilon(m, tolerance):
            fraction = m.factor / full
            sharp = tolerance <= SHARP
            found = shrinks(fraction, tolerance, USUAL, USUAL_SHRINKS) if sharp else ""
            if found or (tolerance <= BLUNT and _near(m.factor, full, tolerance)):
                return Length(m.factor / rights[0][0], rule, found, epsilon=note)
        for full, name, note in wrongs:
            if tolerance <= BLUNT and _near(m.factor, full, tolerance):
                return Length(m.factor / rights[0][0], name, "", note)
    if tolerance <= SHARP:
        for full, name, note in wrongs:
            if found := shrinks(m.factor / full, tolerance, USUAL, USUAL_SHRINKS):
                return Length(m.factor / rights[0][0], name, found, note)
    return Length(m.factor / rights[0][0], known=False)


def shrinks(
    fraction: float,
    tolerance: float,
    ratios: tuple[float, ...] = RATIOS,
    most: int = MOST_SHRINKS,
) -> str:
    """``"0.8^3"`` where the fraction is that, "" otherwise."""
    if not 0.0 < fraction < 1.0:
        return ""
    for ratio in ratios:
        whole = round(float(np.log(fraction) / np.log(ratio)))
        if 1 <= whole <= most and _near(fraction, ratio**whole, tolerance):
            return f"{ratio:g}^{whole}"
    return ""


def _near(a: float, b: float, tolerance: float) -> bool:
    return b > 0 and abs(a / b - 1.0) <= tolerance


def _rights(m: Measures) -> Iterator[tuple[float, str]]:
    """(full length, rule): the first is the reference."""
    different = abs(m.damped / m.undamped - 1.0) > 1e-12
    yield float(np.sqrt(2.0 * m.max_kl / m.undamped)), ""
    damped = "damped-length" if different else ""
    # gᵀx is xᵀ(F + λI)x only as far as conjugate gradient rounds
    for form in (m.damped, m.gained, m.own):
        if form is not None and form > 0:
            yield float(np.sqrt(2.0 * m.max_kl / form)), damped


def _with_epsilon(m: Measures, tolerance: float) -> Iterator[tuple[float, str, str]]:
    """(full length, rule, what is added) where an ε under the root shows."""
    forms = [("xᵀFx", m.undamped, "")]
    if abs(m.damped / m.undamped - 1.0) > 1e-12:
        forms.append(("xᵀ(F + λI)x", m.damped, "damped-length"))
    for epsilon in EPSILONS:
        for text, form, rule in forms:
            if epsilon > 4.0 * tolerance * form:
                note = f"{epsilon:g} is added to {text} = {form:.2g} under the root"
                yield float(np.sqrt(2.0 * m.max_kl / (form + epsilon))), rule, note


def _wrongs(m: Measures) -> Iterator[tuple[float, str, str]]:
    """(length, registered mistake, its formula)."""
    d = m.max_kl
    forms = [("xᵀFx", m.undamped)]
    if abs(m.damped / m.undamped - 1.0) > 1e-12:
        forms.append(("xᵀ(F + λI)x", m.damped))
    for text, form in forms:
        full = float(np.sqrt(2.0 * d / form))
        yield float(np.sqrt(d / form)), "factor-two", f"√(δ/{text}) in place of √(2δ/{text})"
        yield float(np.sqrt(2.0)) * full, "factor-two", f"√(4δ/{text}) in place of √(2δ/{text})"
    if m.length is None:
        return  # Δ alone: its scale says nothing
    for text, form in forms:
        yield 2.0 * d / form, "missing-square-root", f"2δ/({text}) without the root"
        yield d / form, "missing-square-root", f"δ/({text}) without the root"
        yield float(np.sqrt(form / (2.0 * d))), "length-upside-down", f"√({text}/(2δ))"
    norms = [("‖x‖", m.length)]
    if m.gradient:
        norms.append(("‖g‖", m.gradient))
    for text, norm in norms:
        yield float(np.sqrt(2.0 * d)) / norm, "euclidean-length", f"√(2δ)/{text}"
        yield float(np.sqrt(d)) / norm, "euclidean-length", f"√δ/{text}"
        yield d / norm, "euclidean-length", f"δ/{text}"
    yield d, "const-lr-called-kl", "θ + δ x"
    yield 2.0 * d, "const-lr-called-kl", "θ + 2δ x"
    yield float(np.sqrt(2.0 * d)), "const-lr-called-kl", "θ + √(2δ) x"
    yield float(np.sqrt(d)), "const-lr-called-kl", "θ + √δ x"
