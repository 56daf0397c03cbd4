"""One explanation for all refuted quantities at once: the fewest choices, the mildest first.

Every refuted quantity is asked which sets of at most two choices reproduce it; the smallest union
that covers all of them is the diagnosis. Sets that cover as well form a class, reported as one. A
choice that would have altered a quantity that is right speaks against itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from npgcheck.conformance.choices import BY_NAME, KIND_COST, WEAK_COST
from npgcheck.conformance.contract import in_order
from npgcheck.conformance.diagnosis import pure
from npgcheck.conformance.diagnosis.predict import MISFITS
from npgcheck.conformance.diagnosis.search import SOLVES, Found, Question, Search, question
from npgcheck.conformance.naming import diagnose
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.verdicts import expected, rescore

#: What a quantity that is right adds to the cost of a choice that would have altered it.
CONTRADICTED = 3.0
#: Explanations this near in cost are equals, and form one class.
EQUAL = 1.0


@dataclass
class Asked:
    """One refuted quantity and the sets that reproduce it."""

    quantity: str
    question: Question | None
    found: list[Found] = field(default_factory=list)
    paired: bool = False


def name_mistakes(state: Run) -> None:
    """Fills in the diagnosis of refuted quantities that no convention explained."""
    _name_singular_solves(state)
    refuted = [q for q in in_order(state.results) if _unexplained(state, q)]
    if not refuted:
        return
    search = Search()
    asked = [_ask(state, search, q) for q in refuted]
    chosen = _cover(state, search, asked)
    if chosen is None:  # several mistakes: each quantity for itself
        for one in asked:
            if one.quantity in SOLVES and _follows(asked, one):
                continue  # it may follow from the mistake that has no name
            alone = _cover(state, search, [one])
            if alone is not None:
                _write(state, [one], alone)
        return
    _write(state, asked, chosen)


def _name_singular_solves(state: Run) -> None:
    """A plain solve with a singular matrix says so itself."""
    entry = BY_NAME["no-damping"]
    named = Diagnosis(entry.stage, entry.name, entry.kind, None, entry.said())
    for quantity in SOLVES:
        state.results[quantity] = [
            replace(r, diagnosis=(named,))
            if r.kind == "contract" and r.status == "fail" and "Singular matrix" in r.reason
            else r
            for r in state.results.get(quantity, [])
        ]
        if not state.results[quantity]:
            del state.results[quantity]


def _unexplained(state: Run, quantity: str) -> bool:
    """Whether the value was refuted and no choice named, nor a declaration broken, or the name
    explains by saying little."""
    return quantity not in state.undeclared and any(
        r.kind == "value" and (_nameless(r) or any(BY_NAME[d.choice].weak for d in r.diagnosis))
        for r in state.results[quantity]
    )


def _nameless(result: CheckResult) -> bool:
    return result.status == "fail" and not result.diagnosis


#: Facts about a line search: its rules are conventions of their own, no formula reproduces them.
_RULES = ("the accepted step", "the step was cut", "θ came back")


def _ask(state: Run, search: Search, quantity: str) -> Asked:
    if any(r.reason.startswith(_RULES) for r in state.results[quantity] if r.kind == "value"):
        return Asked(quantity, None)
    records = state.judgeable(quantity)
    if quantity in pure.PART:
        return Asked(quantity, None, pure.explain(quantity, records))
    posed = _question(state, quantity)
    if posed is None:
        return Asked(quantity, None)
    found = search.singles(posed)
    if not found:
        found = search.damped(posed)
    return Asked(quantity, posed, found)


def _question(state: Run, quantity: str) -> Question | None:
    records = state.judgeable(quantity)
    if quantity not in MISFITS or not records:
        return None
    dampings, iterations = _conventions(state)
    base = expected(state, quantity, records)
    wrong = {id(records[i]) for i in rescore(quantity, records, base).refuted}
    sampled = state.sampled(quantity)
    return question(quantity, records, sampled, base, dampings, iterations, wrong)


def _conventions(state: Run) -> tuple[list[float], list[int]]:
    """λ and k that other quantities of the subject follow, or that it declares."""
    dampings: set[float] = set()
    iterations: set[int] = set()
    choices = [f.choices for f in state.chosen.values() if f is not None]
    for found in [*choices, state.declared]:
        for stage in ("damping", "damping_in_fisher"):
            if found.get(stage):
                dampings.add(float(found[stage]))
        if found.get("cg_iterations"):
            iterations.add(int(found["cg_iterations"]))
    return sorted(dampings), sorted(iterations)


# ---- the smallest cover -------------------------------------------------------------------------


@dataclass(frozen=True)
class Cover:
    """Names that together reproduce every quantity, and their equals."""

    names: frozenset[str]
    equals: tuple[frozenset[str], ...]


def _cover(state: Run, search: Search, asked: Sequence[Asked]) -> Cover | None:
    """The cheapest set of at most two names that explains each quantity."""
    best = _cheapest(state, search, asked)
    if best is not None and len(best.names) == 1:
        return best
    for one in asked:
        if not (one.found or one.paired or one.question is None or _follows(asked, one)):
            one.paired = True
            told = {a.key: a for other in asked for f in other.found for a in f.applied}
            one.found = search.pairs(one.question, list(told.values()))
    return _cheapest(state, search, asked)


def _follows(asked: Sequence[Asked], one: Asked) -> bool:
    """Whether a lower refuted quantity is still unexplained: then its mistake comes first."""
    for other in asked:
        if other.quantity == one.quantity:
            return False
        if not other.found and other.question is not None:
            return True
    return False


def _cheapest(state: Run, search: Search, asked: Sequence[Asked]) -> Cover | None:
    sets = {names for one in asked for names in _names(one)}
    options = [s for s in sets if _covers(s, asked)]
    if not options:
        unions = {a | b for a, b in combinations(sets, 2) if len(a | b) <= 2}
        options = [s for s in unions if _covers(s, asked)]
    if not options:
        return None
    costs = {s: _cost(state, search, s, asked) for s in options}
    low = min(costs.values())
    order = list(BY_NAME)
    refuted = {one.quantity for one in asked}

    def rank(names: frozenset[str]) -> tuple[Any, ...]:
        seen = [set(BY_NAME[n].visible) for n in names]
        unseen = sum(not refuted & v for v in seen) + len(refuted - set().union(*seen))
        return costs[names], unseen, sum(map(len, seen)), sorted(order.index(n) for n in names)

    ranked = sorted(options, key=rank)
    equals = tuple(s for s in ranked[1:] if costs[s] <= low + EQUAL)
    return Cover(ranked[0], equals)


def _names(one: Asked) -> set[frozenset[str]]:
    return {f.names for f in one.found}


def _covers(names: frozenset[str], asked: Sequence[Asked]) -> bool:
    return all(any(f.names <= names for f in one.found) for one in asked)


def _cost(state: Run, search: Search, names: frozenset[str], asked: Sequence[Asked]) -> float:
    """Kinds first; then how many right quantities the choices would have altered."""
    total = 0.0
    for name in names:
        entry = BY_NAME[name]
        total += max(KIND_COST[entry.kind], 1.0) + WEAK_COST * entry.weak
    used = [f for one in asked for f in one.found if f.names <= names]
    right = [q for q in state.chosen if state.fit(q) is not None and q in MISFITS]
    for quantity in right:
        if any(_would_alter(state, search, quantity, f) for f in used):
            total += CONTRADICTED
    return total


def _would_alter(state: Run, search: Search, quantity: str, found: Found) -> bool:
    """Whether the choices change what this right quantity answers on the first problem."""
    records = state.judgeable(quantity)
    if not records or quantity in ("trust_region_step", "surrogate"):
        return False
    record = records[0]
    for variant in _variants(quantity, found):
        setup = replace(found.setup, variant=variant)
        if search.misfit(record, found.applied, quantity, setup) <= 1e-6:
            return False
    return True


def _variants(quantity: str, found: Found) -> list[tuple[str, ...]]:
    from npgcheck.conformance.diagnosis.predict import variants

    return list(variants(quantity, found.setup.base.sampled))


# ---- writing it down ----------------------------------------------------------------------------


def _write(state: Run, asked: Sequence[Asked], cover: Cover) -> None:
    for one in asked:
        fits = [f for f in one.found if f.names <= cover.names]
        if not fits:
            continue
        found = min(fits, key=lambda f: len(f.applied))
        others = tuple(sorted(" + ".join(sorted(s)) for s in cover.equals if _covers(s, [one])))
        diagnosis = _diagnosis(found, others)
        state.results[one.quantity] = [
            _named(r, diagnosis) if r.kind == "value" else _implied(r, diagnosis)
            for r in state.results[one.quantity]
        ]


def _diagnosis(found: Found, others: tuple[str, ...]) -> tuple[Diagnosis, ...]:
    order = list(BY_NAME)
    named = [
        Diagnosis(
            a.choice.stage,
            a.choice.name,
            a.choice.kind,
            a.number,
            a.choice.said(a.number),
            alternatives=others if index == 0 else (),
            reproduces=found.fresh,
        )
        for index, a in enumerate(sorted(found.applied, key=lambda a: order.index(a.choice.name)))
    ]
    return (*named, *(replace(d, reproduces=found.fresh) for d in _taken_as_given(found)))


def _taken_as_given(found: Found) -> list[Diagnosis]:
    """The conventions and approximations beside the choices that were found."""
    setup = found.setup
    choices = {
        "weighting": setup.base.weighting,
        "fisher": setup.base.fisher,
        "advantage": setup.base.critic,
        "damping": setup.damping,
        "cg_iterations": setup.iterations,
        "step_length": setup.length,
    }
    return [d for d in diagnose(choices) if d.kind != "free" and d.choice not in found.names]


def _implied(result: CheckResult, diagnosis: tuple[Diagnosis, ...]) -> CheckResult:
    """A property that a named convention or approximation does not have is no second finding: the
    choice reproduces the very answers that violate it."""
    mild = all(d.kind != "bug" for d in diagnosis)
    if not (mild and result.status == "fail" and result.id in _BROKEN_BY_CHOICE):
        return result
    said = " and ".join(d.choice for d in diagnosis)
    return replace(result, status="skip", reason=f"{said} does not have this property")


def _named(result: CheckResult, diagnosis: tuple[Diagnosis, ...]) -> CheckResult:
    said = "; ".join(d.note for d in diagnosis)
    facts = result.reason if result.reason.startswith(_KEPT) else ""
    bugs = any(d.kind == "bug" for d in diagnosis)
    return replace(
        result,
        diagnosis=diagnosis,
        reason="; ".join(filter(None, (said, facts))),
        status="fail" if bugs else "deviates",
        refuted_after=result.refuted_after if bugs else None,
    )


#: Invariances, which only the exact natural gradient, gradient and divergence have.
_BROKEN_BY_CHOICE = frozenset({"NPG-NG-002", "NPG-NG-003", "NPG-PG-002", "NPG-KL-002"})
#: Facts that say more than a name and stay beside it.
_KEPT = ("the exact answer times", "the sign is", "always zero", "θ comes back")

__all__ = ["SOLVES", "name_mistakes"]
