"""The judges of an equation of index sums: rational functions, exact points, and floats for twins.

The first two share no arithmetic. The third only tells whether a mutated equation is another one.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy as sp

from npgcheck.derivation.cutoff import bounds_of
from npgcheck.derivation.evaluate import Evaluator
from npgcheck.derivation.language import OutOfClass
from npgcheck.derivation.rings import FloatRing, FunctionRing, PointRing
from npgcheck.derivation.setting import Setting, families_in
from npgcheck.derivation.signs import Sign, sign_of
from npgcheck.derivation.values import LogLinear

SIZE_OUTSIDE_THE_CLASS = 4  # where no complete method applies: "proved for n ≤ 4"
Sizes = dict[sp.Symbol, int]


@dataclass(frozen=True)
class Evidence:
    """The outcome of one method on one equation.

    Attributes:
        method: "cutoff lemma", "rational functions", "exact points" or "signs".
        outcome: "holds", "refuted" or "undecided".
        complete: whether "holds" means: for every size.
        bound: the largest size that was looked at.
        cases: how many instances were evaluated.
        note: the counterexample, or why the method does not decide.
        seconds: time spent.
        bounds: (size, largest looked at) for each; for the cutoff lemma, its N.
    """

    method: str
    outcome: str
    complete: bool
    bound: int
    cases: int
    note: str = ""
    seconds: float = 0.0
    bounds: tuple[tuple[str, int], ...] = ()


def _assignments(
    free: tuple[sp.Symbol, ...], setting: Setting, sizes: Sizes
) -> Iterator[dict[sp.Symbol, int]]:
    ranges = [range(1, sizes[setting.range_of(symbol)] + 1) for symbol in free]
    for values in itertools.product(*ranges):
        yield dict(zip(free, values, strict=True))


def _patterns(
    free: tuple[sp.Symbol, ...], setting: Setting, sizes: Sizes
) -> Iterator[dict[sp.Symbol, int]]:
    """One assignment for each way in which free indices can coincide.

    No tree names a value of an index, so relabelling the values of a range renames the
    indeterminates and changes nothing else.
    """
    for idx in _assignments(free, setting, sizes):
        seen: dict[sp.Symbol, int] = {}
        for symbol, value in idx.items():
            size = setting.range_of(symbol)
            if value > seen.get(size, 0) + 1:
                break
            seen[size] = max(value, seen.get(size, 0))
        else:
            yield idx


def _grid(bounds: Mapping[sp.Symbol, int]) -> list[Sizes]:
    """All sizes up to the bounds, the small ones first."""
    grid = itertools.product(*(range(1, n + 1) for n in bounds.values()))
    return [dict(zip(bounds, sizes, strict=True)) for sizes in sorted(grid, key=sum)]


def _difference(ev: Evaluator, lhs: sp.Expr, rhs: sp.Expr, idx: dict[sp.Symbol, int]) -> LogLinear:
    minus = LogLinear(ev.ring.const(Fraction(-1)))
    return ev.value(lhs, idx) + ev.value(rhs, idx) * minus


def function_evidence(
    lhs: sp.Expr, rhs: sp.Expr, setting: Setting, free: tuple[sp.Symbol, ...]
) -> Evidence:
    """Decides the equation among rational functions, for every size where the lemma applies."""
    start, cases, note = time.perf_counter(), 0, ""
    try:
        bounds, method = bounds_of(lhs, rhs, setting, free), "cutoff lemma"
    except OutOfClass as reason:
        bounds, method = dict.fromkeys(setting.sizes, SIZE_OUTSIDE_THE_CLASS), "rational functions"
        note = str(reason)
    complete, outcome = method == "cutoff lemma", "holds"
    used = families_in(lhs, setting) | families_in(rhs, setting)
    try:
        for sizes in _grid(bounds):
            ev = Evaluator(FunctionRing(setting, sizes, used), setting)
            for idx in _patterns(free, setting, sizes):
                cases += 1
                difference = _difference(ev, lhs, rhs, idx)
                if not difference.vanishes():
                    # formal logarithms that differ may still be equal numbers
                    outcome = "undecided" if difference.logs else "refuted"
                    note = _where(setting, sizes, idx)
                    break
            if outcome != "holds":
                break
    except (OutOfClass, ZeroDivisionError) as reason:
        outcome, note = "undecided", str(reason)
    seconds = time.perf_counter() - start
    named = tuple((size.name, n) for size, n in bounds.items())
    return Evidence(method, outcome, complete, max(bounds.values()), cases, note, seconds, named)


def _point_sizes(setting: Setting) -> list[Sizes]:
    random_sizes = {s for f in setting.families.values() if f.kind == "random" for s in f.sizes}
    # five nodes per random number: 5^n points; several sizes: three of each are 27 at most
    top = 4 if len(setting.sizes) == 1 else 3
    return _grid({size: 2 if size in random_sizes else top for size in setting.sizes})


def point_evidence(
    lhs: sp.Expr,
    rhs: sp.Expr,
    setting: Setting,
    free: tuple[sp.Symbol, ...],
    seed: int = 0,
) -> Evidence:
    """Evaluates both sides exactly at rational points; arithmetic shared with nothing else."""
    start, cases, note, outcome = time.perf_counter(), 0, "", "holds"
    rng = random.Random(seed)
    looked_at = _point_sizes(setting)
    draws = 2 if len(setting.sizes) == 1 else 1
    for sizes, draw in itertools.product(looked_at, range(draws)):
        members = draw_members(setting, sizes, rng, simple=draw == 0)
        ev = Evaluator(PointRing(setting, sizes, members), setting)
        try:
            for idx in _assignments(free, setting, sizes):
                cases += 1
                difference = _difference(ev, lhs, rhs, idx)
                if not difference.vanishes():
                    outcome = "refuted"
                    left, right = ev.value(lhs, idx), ev.value(rhs, idx)
                    shown = "" if left.logs or right.logs else f": {left.pure} ≠ {right.pure}"
                    used = families_in(lhs, setting) | families_in(rhs, setting)
                    point = {slot: v for slot, v in members.items() if slot[0] in used}
                    note = _where(setting, sizes, idx, point) + shown
                    break
        except (OutOfClass, ZeroDivisionError) as reason:
            outcome, note = "undecided", str(reason)
        if outcome != "holds":
            break
    seconds = time.perf_counter() - start
    top = {size: max(s[size] for s in looked_at) for size in setting.sizes}
    named = tuple((size.name, n) for size, n in top.items())
    return Evidence("exact points", outcome, False, max(top.values()), cases, note, seconds, named)


def sign_evidence(expr: sp.Expr, setting: Setting) -> Evidence:
    """Whether a tree cannot be negative: read off its shape, or undecided."""
    start = time.perf_counter()
    holds = sign_of(expr, setting) is not Sign.UNKNOWN
    note = "" if holds else "not a sum of squares with positive weights"
    seconds = time.perf_counter() - start
    return Evidence("signs", "holds" if holds else "undecided", True, 0, 1, note, seconds)


def is_negative_somewhere(
    expr: sp.Expr, setting: Setting, free: tuple[sp.Symbol, ...], seed: int = 0
) -> bool:
    """Whether a tree is negative at one of the exact points."""
    rng = random.Random(seed)
    for sizes in _point_sizes(setting):
        members = draw_members(setting, sizes, rng, simple=True)
        ev = Evaluator(PointRing(setting, sizes, members), setting)
        for idx in _assignments(free, setting, sizes):
            found = ev.value(expr, idx)
            if not found.logs and found.pure < 0:
                return True
    return False


def draw_members(
    setting: Setting, sizes: Sizes, rng: random.Random, simple: bool
) -> dict[Any, Fraction]:
    """A rational value for every family member; a "log" family gets its exponentials."""
    members = {}
    for slot in setting.members(sizes):
        kind = setting.families[slot[0]].kind
        top, low = (3, 1) if simple else (30, 1)
        value = Fraction(rng.randint(low, top), 1 if simple else rng.randint(1, 30))
        sign = -1 if kind == "real" and rng.random() < 0.5 else 1
        members[slot] = sign * value
    return members


def _where(
    setting: Setting,
    sizes: Sizes,
    idx: dict[sp.Symbol, int],
    members: dict[Any, Any] | None = None,
) -> str:
    parts = [f"{size} = {n}" for size, n in sizes.items()]
    parts += [f"{s} = {v}" for s, v in idx.items()]
    for (family, slot), value in (members or {}).items():
        kind = setting.families[family].kind
        if kind == "random":
            continue
        letter = sp.pretty(sp.Symbol(family))  # θ for theta
        name = f"e^{letter}" if kind == "log" else letter
        index = "".join(map(str, slot))
        parts.append(f"{name}_{index} = {value}" if index else f"{name} = {value}")
    return ", ".join(parts)


def differs(lhs: sp.Expr, rhs: sp.Expr, setting: Setting, free: tuple[sp.Symbol, ...]) -> bool:
    """Whether the sides differ as floats at generic points: is a twin really another equation?

    1e-6 is far above the round-off of a few hundred operations on numbers of size one (1e-13),
    and far below what a planted fault changes at a generic point (1e-2).
    """
    rng = random.Random(7)
    draws = any(f.kind == "random" for f in setting.families.values())
    for n in (2,) if draws else (2, 3):
        sizes = dict.fromkeys(setting.sizes, n)
        members = {}
        for slot in setting.members(sizes):
            value = rng.uniform(0.4, 1.6)
            real = setting.families[slot[0]].kind == "real"
            members[slot] = value * (rng.choice((-1, 1)) if real else 1)
        ev = Evaluator(FloatRing(setting, sizes, members), setting)
        for idx in _assignments(free, setting, sizes):
            if abs(_difference(ev, lhs, rhs, idx).pure) > 1e-6:
                return True
    return False
