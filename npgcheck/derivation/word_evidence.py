"""Judging equations between matrices of any size: normal forms, exact matrices, mutated twins.

`form_evidence` decides whether an equation follows from the assumptions, for every size;
`matrix_evidence` evaluates it in exact matrices of small random sizes. A step of an inequality,
``lhs ≥ rhs``, holds where lhs − rhs, multiplied out and nothing rewritten, has only nonnegative
coefficients and letters without negative entries.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from npgcheck.derivation.algebra import Circle, split
from npgcheck.derivation.judges import Evidence
from npgcheck.derivation.language import DerivationError, OutOfClass
from npgcheck.derivation.matrices import Model, SingularModel
from npgcheck.derivation.rewriting import Quotient, Terms
from npgcheck.derivation.words import D, Letter, T, Words

MODELS = {"=": 5, "≥": 15}  # exact models per relation: a wrong inequality may hold at a few


def form_evidence(lhs: sp.Expr, rhs: sp.Expr, setting: Words, relation: str = "=") -> Evidence:
    """Decides an equation by its normal form, or an inequality by its signs."""
    start, method = time.perf_counter(), "normal form" if relation == "=" else "signs"
    bound, pairs, note = 0, 0, ""
    try:
        rules = setting.algebra.rules
        bound, pairs = len(rules.rules), rules.pairs
        _check_denominators(lhs, rhs, setting)
        if relation == "=":
            left = setting.algebra.normal_form(lhs - rhs)
            outcome = "refuted" if left else "holds"
            note = f"left over: {_text(left)}" if left else rules.text
            if left and any(isinstance(word, Circle) for word in left):
                outcome = "undecided"  # circles have no confluent system; the matrices decide
        else:
            negative = _not_positive(lhs - rhs, setting)
            # what has no visible sign may still be true: the matrices say what is false
            outcome = "undecided" if negative else "holds"
            note = f"no visible sign: {negative}" if negative else "nothing dropped is negative"
    except OutOfClass as reason:
        outcome, note = "undecided", str(reason)
    seconds = time.perf_counter() - start
    return Evidence(method, outcome, True, bound, pairs, note, seconds)


def _check_denominators(lhs: sp.Expr, rhs: sp.Expr, setting: Words) -> None:
    algebra = setting.algebra
    trees = [lhs, rhs, *(d.body for d in setting.definitions.values())]
    trees += [side for e in setting.equations.values() for side in (e.lhs, e.rhs)]
    for power in {p for tree in trees for p in tree.atoms(sp.Pow)}:
        if power.is_commutative and power.exp.is_negative:
            value: Quotient = algebra.scalar(power.base)
            if algebra.scalars.sign(value) == 0:
                raise OutOfClass(f"the denominator {power.base} may vanish")


def _not_positive(difference: sp.Expr, setting: Words) -> str:
    """The first word of a difference that may be negative, or nothing."""
    algebra = setting.algebra
    for word, c in algebra.element(difference).terms.items():
        signs = [setting.letters[split(letter)[1]].nonnegative for letter in word]
        derived = any(split(letter)[0] for letter in word)
        if algebra.scalars.sign(c) != 1 or not all(signs) or derived:
            return _text({word: c})
    return ""


def _text(terms: Terms) -> str:
    shown = sorted((("·".join(word) or "1"), str(c)) for word, c in terms.items())
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return " + ".join(f"({c}) {word}" for word, c in shown[:3]) + more


def models(setting: Words, relation: str = "=", exact: bool = True) -> Iterator[Model]:
    """Models of a setting, smallest first; drawn when first asked for, and kept."""
    wanted = MODELS[relation] if exact else 2
    kept: list[Model] = setting.pool.setdefault(exact, [])
    for number in range(wanted):
        if number == len(kept):
            kept.append(_drawn(setting, exact, number))
        yield kept[number]


def _drawn(setting: Words, exact: bool, number: int) -> Model:
    rng = random.Random(2 * number + exact)
    ranges = itertools.product(range(1, 4), repeat=len(setting.sizes))
    wanted = sorted(ranges, key=lambda ns: (sum(ns), ns))
    # 1 × 1 × …, then a few with sizes that differ, so that nothing is read the wrong way round
    chosen = [wanted[0], *(ns for ns in wanted if max(ns) >= 2)]
    pattern = [chosen[0], chosen[1], *(ns for ns in chosen if len(set(ns)) > 1 and min(ns) > 1)]
    pattern = pattern[number % len(pattern) :] + pattern if exact else pattern[::-1]
    for sizes in pattern:  # some sizes may allow no inverse at all
        named = dict(zip(setting.sizes, sizes, strict=True))
        for _ in range(3):
            try:
                return Model(setting, named, rng, exact, simple=number < 2)
            except (SingularModel, np.linalg.LinAlgError):
                continue
    raise DerivationError("no matrices found for which the assumed inverses exist")


def _fails(model: Model, lhs: sp.Expr, rhs: sp.Expr, relation: str) -> tuple[Any, Any] | None:
    """The first entries where a model breaks the relation."""
    left, right = model.value(lhs, rhs)[0], model.value(rhs, lhs)[0]
    if left.shape != right.shape:
        raise DerivationError(f"shapes {left.shape} and {right.shape} are compared")
    for i in np.ndindex(*left.shape):
        a, b = left[i], right[i]
        if model.exact:
            broken = a != b if relation == "=" else a < b
        else:
            # a few dozen products of numbers of size one: round-off 1e-12, faults above 1e-3
            slack = 1e-6 * (1 + abs(a))
            broken = abs(a - b) > slack if relation == "=" else a < b - slack
        if broken:
            return a, b
    return None


def matrix_evidence(lhs: sp.Expr, rhs: sp.Expr, setting: Words, relation: str = "=") -> Evidence:
    """Evaluates both sides in exact matrices that satisfy the assumptions."""
    start, outcome, note, cases = time.perf_counter(), "holds", "", 0
    try:
        for model in models(setting, relation):
            cases += 1
            found = _fails(model, lhs, rhs, relation)
            if found is not None:
                outcome = "refuted"
                sign = "≠" if relation == "=" else "<"
                note = f"{model.describe()}: {found[0]} {sign} {found[1]}"
                break
    except (OutOfClass, ZeroDivisionError) as reason:
        outcome, note = "undecided", str(reason)
    seconds = time.perf_counter() - start
    return Evidence("exact matrices", outcome, False, 3, cases, note, seconds)


def judge_words(
    lhs: sp.Expr, rhs: sp.Expr, setting: Words, relation: str = "="
) -> tuple[Evidence, Evidence]:
    """Everything that can be found out about one relation between matrices."""
    return (
        form_evidence(lhs, rhs, setting, relation),
        matrix_evidence(lhs, rhs, setting, relation),
    )


def words_differ(lhs: sp.Expr, rhs: sp.Expr, setting: Words, relation: str = "=") -> bool:
    """Whether a twin is broken by floats at generic points: is it really another statement?"""
    return any(_fails(m, lhs, rhs, relation) is not None for m in models(setting, exact=False))


def letter_changes(e: sp.Basic, setting: Words) -> list[tuple[str, sp.Basic]]:
    """Faults of matrix algebra: another letter of that shape, no transpose, no derivative."""
    if isinstance(e, T):
        return [(f"the transpose of {e.args[0]} dropped", e.args[0])]
    if isinstance(e, D):
        return [(f"the derivative of {e.args[0]} dropped", e.args[0])]
    if e.is_Mul and not e.is_commutative:
        factors = list(e.args)
        free = [i for i, f in enumerate(factors) if not f.is_commutative]
        swaps = [
            (f"{factors[i]} and {factors[j]} exchanged", _swapped(e, i, j))
            for i, j in itertools.pairwise(free)
        ]
        drops = [
            (f"the factor {f} dropped", sp.Mul(*factors[:i], *factors[i + 1 :]))
            for i, f in enumerate(factors)
        ]
        return swaps + drops
    if isinstance(e, Letter):
        shape = setting.algebra.element(e).shape
        names = [*(i.symbol for i in setting.letters.values()), *_names(setting)]
        others = [x for x in names if x != e and setting.algebra.element(x).shape == shape]
        return [(f"{e} read as {other}", other) for other in others[:2]]
    return []


def _names(setting: Words) -> list[Letter]:
    return [d.base for d in setting.definitions.values()]


def _swapped(e: sp.Mul, i: int, j: int) -> sp.Expr:
    args = list(e.args)
    args[i], args[j] = args[j], args[i]
    return sp.Mul(*args)


def well_typed(lhs: sp.Expr, rhs: sp.Expr, setting: Words) -> bool:
    """Whether a twin is an equation between matrices of one shape at all."""
    try:
        left, right = setting.algebra.element(lhs).shape, setting.algebra.element(rhs).shape
        setting.check(lhs - rhs)
    except (DerivationError, ZeroDivisionError):
        return False
    return left is None or right is None or left == right
