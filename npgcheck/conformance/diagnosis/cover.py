"""The smallest set of names that explains every refuted quantity, and its equals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from npgcheck.conformance.choices import BY_NAME, KIND_COST, WEAK_COST
from npgcheck.conformance.contract import in_order
from npgcheck.conformance.diagnosis import displaced
from npgcheck.conformance.diagnosis.asked import Asked
from npgcheck.conformance.diagnosis.given import OWN, own_answers
from npgcheck.conformance.diagnosis.plausible import plausible, right_quantities, would_alter
from npgcheck.conformance.diagnosis.question import Question
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.search import Search
from npgcheck.conformance.layers import common_lower
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.run_state import Run

#: What a quantity that is right adds to the cost of a choice that would have altered it.
CONTRADICTED = 3.0
#: So many explanations of lower quantities are tried above them, cheapest names first.
SETS_BELOW = 8
#: Explanations this near in cost are equals, and form one class.
EQUAL = 1.0
#: No solve is made of these.
APART = ("log_prob", "kl", "surrogate", "objective")
#: Made of everything else: what is wrong twice in them shows in pairs on the layers below.
_LAST = ("train", "trust_region_step")


@dataclass(frozen=True)
class Cover:
    """Names that together reproduce every quantity, and their equals."""

    names: frozenset[str]
    equals: tuple[frozenset[str], ...]


def cover(
    state: Run, search: Search, asked: Sequence[Asked], told: frozenset[str] = frozenset()
) -> Cover | None:
    """The cheapest set of at most two names that explains each quantity; ``told`` cost nothing."""
    best = _cheapest(state, search, asked, told)
    if best is not None and len(best.names) == 1:
        return best
    for one in asked:
        if one.quantity in _LAST:
            continue
        if not (one.found or one.paired or one.question is None or follows(asked, one)):
            one.paired = True
            lower = below(state, asked, one.quantity)
            posed = _with_dampings(one.question, asked)
            given = list(own_answers(state, one.quantity, _deviating(state, one.quantity)))
            found = plausible(state, search, one.quantity, search.above(posed, lower, given))
            if not found:
                given_below = {a.key: a for applied in lower for a in applied}
                lowest = one is asked[0]
                pairs = search.pairs(one.question, list(given_below.values()), numbered=lowest)
                found = plausible(state, search, one.quantity, pairs)
            one.found = found or displaced.explain(search, one.question)
    return _cheapest(state, search, asked, told)


def _with_dampings(posed: Question, asked: Sequence[Asked]) -> Question:
    """The question under the dampings, too, that refuted quantities are explained with."""
    dampings = {f.setup.damping for other in asked for f in other.found if f.setup.damping}
    dampings -= {s.damping for s in posed.setups}
    if posed.quantity not in SOLVES or not dampings:
        return posed
    lengths = ("undamped", "damped") if posed.quantity.startswith("trust_region") else ("undamped",)
    more = tuple(
        replace(s, damping=damping, length=length)
        for s in posed.likely
        if not s.damping
        for damping in sorted(dampings)
        for length in lengths
    )
    return replace(posed, setups=posed.setups + more, likely=posed.likely + more)


def below(state: Run, asked: Sequence[Asked], quantity: str) -> list[tuple[Applied, ...]]:
    """The sets that explain quantities below this one, each once; named before, or found here."""
    found: dict[Any, tuple[Applied, ...]] = {}
    for other in in_order(state.results):
        if other == quantity:
            break
        for d in (d for r in state.results[other] for d in r.diagnosis if d.kind != "free"):
            entry = BY_NAME[d.choice]
            if entry.change and (entry.number is None or d.value is not None):
                for form in entry.spelled_out():
                    applied = Applied(form, None if entry.number is None else d.value)
                    found.setdefault(applied.key, (applied,))
    for one in asked:
        if one.quantity == quantity:
            break
        for f in one.found:
            if all(a.choice.name != OWN for a in f.applied):
                found.setdefault(tuple(a.key for a in f.applied), f.applied)
    return list(found.values())[:SETS_BELOW]


def _deviating(state: Run, quantity: str) -> set[str]:
    """Quantities below this one that are refuted, or right only under a convention or an
    approximation."""
    found = set()
    for other in in_order(state.results):
        if other == quantity:
            break
        value = [r for r in state.results[other] if r.kind in ("value", "consistency")]
        if any(r.status in ("fail", "deviates") for r in value):
            found.add(other)
    return found


def follows(asked: Sequence[Asked], one: Asked) -> bool:
    """Whether a lower refuted quantity is still unexplained: then its mistake comes first."""
    for other in asked:
        if other.quantity == one.quantity:
            return False
        apart = one.quantity in SOLVES and other.quantity in APART
        if not apart and not other.found and other.question is not None:
            return True
    return False


def repeats(state: Run, asked: Sequence[Asked], one: Asked) -> bool:
    """Whether the subject's own answer to a lower quantity without a name reproduces this one."""
    lower = common_lower(state, one.quantity)
    return any(o.quantity == lower and not o.found for o in asked)


def _cheapest(
    state: Run, search: Search, asked: Sequence[Asked], told: frozenset[str]
) -> Cover | None:
    sets = {names for one in asked for names in _names(one)}
    options = [s for s in sets if covers(s, asked)]
    if not options:
        unions = {a | b for a, b in combinations(sets, 2) if len(a | b) <= 2}
        options = [s for s in unions if covers(s, asked)]
    if not options:
        return None
    costs = {s: _cost(state, search, s, asked, told) for s in options}
    low = min(costs.values())
    order = list(BY_NAME)
    refuted = {one.quantity for one in asked}

    def rank(names: frozenset[str]) -> tuple[Any, ...]:
        seen = [set(BY_NAME[n].visible) for n in names]
        unseen = sum(not refuted & v for v in seen) + len(refuted - set().union(*seen))
        return costs[names], unseen, sum(map(len, seen)), sorted(order.index(n) for n in names)

    ranked = sorted(options, key=rank)
    equals = tuple(
        s for s in ranked[1:] if costs[s] <= low + EQUAL or _rival(ranked[0], s, costs[s])
    )
    return Cover(ranked[0], equals)


def _rival(named: frozenset[str], other: frozenset[str], cost: float) -> bool:
    """Whether a mistake answers as the coordinate of σ does that was named, and nothing that is
    right speaks against it: a convention is named first, but must not hide the mistake."""
    stages = {BY_NAME[n].stage for n in named}
    return stages == {"sigma"} and len(other) == 1 and cost <= KIND_COST["bug"]


def _names(one: Asked) -> set[frozenset[str]]:
    return {f.names for f in one.found}


def covers(names: frozenset[str], asked: Sequence[Asked]) -> bool:
    return all(any(f.names <= names for f in one.found) for one in asked)


def _cost(
    state: Run,
    search: Search,
    names: frozenset[str],
    asked: Sequence[Asked],
    told: frozenset[str],
) -> float:
    """Kinds first; then how many right quantities the choices would have altered."""
    total = 0.0
    for name in names - told:
        entry = BY_NAME[name]
        total += max(KIND_COST[entry.kind], 1.0) + WEAK_COST * entry.weak
    ways = [[f for f in one.found if f.names <= names] for one in asked]
    for quantity in right_quantities(state):
        # one way of spelling it out that leaves the quantity alone is enough
        if any(all(would_alter(state, search, quantity, f) for f in way) for way in ways):
            total += CONTRADICTED
    return total
