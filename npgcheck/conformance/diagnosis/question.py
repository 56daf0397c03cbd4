"""What the search is asked: answers in a telling order, and the conventions they may follow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npgcheck.conformance.diagnosis.pipeline import Base
from npgcheck.conformance.diagnosis.predict import MISFITS, gains, variants
from npgcheck.conformance.diagnosis.setup import Setup
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.settled import before_settling

#: Answers on which candidates are screened, after the first telling one.
SCREEN = 5
#: Quantities that average over states; the others know no weights, rows or critics.
AVERAGES = (
    "state_distribution", "policy_gradient", "surrogate", "fisher", "fisher_vector_product", "kl",
    *SOLVES,
)  # fmt: skip
DAMPED = ("fisher", "fisher_vector_product", *SOLVES)


@dataclass(frozen=True)
class Question:
    """What is to be explained.

    Attributes:
        quantity: of the contract.
        records: its answers.
        setups: the conventions under which it may have been computed, likeliest first.
        likely: those among them that pairs are tried under.
    """

    quantity: str
    records: tuple[Record, ...]
    setups: tuple[Setup, ...]
    likely: tuple[Setup, ...]


def question(
    quantity: str,
    records: Sequence[Record],
    sampled: Sequence[str],
    expected: dict[str, Any],
    dampings: Sequence[float],
    iterations: Sequence[int],
    wrong: Collection[int] = (),
    separating: Sequence[Record] = (),
) -> Question | None:
    """Builds the question, or returns None where no pipeline answers for the quantity.

    Answers whose identity is in ``wrong`` were refuted: they are looked at first. ``separating``
    are answers on further problems, which tell choices apart that the usual ones do not.
    """
    if quantity not in MISFITS:
        return None
    kept = gains(records) if quantity == "surrogate" else list(records)
    first = {i for i, r in enumerate(kept) if id(r) in wrong} or set(range(len(kept)))
    refuted = {id(kept[i]) for i in first}
    kept = [r for r in kept if np.isfinite(r.value).all()]
    kept = before_settling(quantity, kept)
    if not kept:
        return None
    likely_base = Base(
        expected.get("sampled", "mdp"),
        expected.get("weighting", "discounted"),
        expected.get("fisher", "true"),
        expected.get("advantage", "advantage"),
    )
    averages = quantity in AVERAGES
    others = _bases(quantity, sampled) if averages else ()
    bases = [likely_base, *(b for b in others if b != likely_base)]
    length = str(expected.get("step_length", "undamped"))
    solvers = {(0.0, 0), *((d, 0) for d in dampings)}
    solvers |= {(d, k) for d in (0.0, *dampings) for k in iterations}
    setups = [
        Setup(base, variant, damping, k, length)
        for damping, k in (sorted(solvers) if quantity in DAMPED else [(0.0, 0)])
        for base in bases
        for variant in variants(quantity, base.sampled)
    ]
    if quantity in ("trust_region_proposal", "trust_region_step"):
        other = "undamped" if length == "damped" else "damped"
        setups += [replace(s, length=other) for s in setups if s.damping]
    setups.sort(key=lambda s: (s.iterations, s.damping > 0))  # a stable sort: likely bases first
    own = {b for b in bases if b == likely_base or b == Base(bases[-1].sampled)}
    likely = [s for s in setups if s.base in own and not s.iterations]
    ordered = _telling_first(kept, refuted)
    screen = 1 + SCREEN
    records = (*ordered[:screen], *separating, *ordered[screen:])
    return Question(quantity, records, tuple(setups), tuple(likely))


def _bases(quantity: str, sampled: Sequence[str]) -> Iterator[Base]:
    """Measures × definitions of F × critics, as far as the quantity can tell them apart."""
    g = quantity in ("policy_gradient", "surrogate", *SOLVES)
    f = quantity in ("fisher", "fisher_vector_product", *SOLVES)
    for source in sampled:
        weightings = {
            "mdp": ("discounted", "undiscounted"),
            "batch": ("discounted",),
            "episodes": ("discounted", "undiscounted", "per_trajectory"),
        }[source]
        critics: tuple[str, ...] = ("advantage",)
        if source != "mdp" and g:
            critics = ("advantage", "expected", "q", "centred", "td", "q_td", "normalised")
        elif g and quantity != "surrogate":
            critics = ("advantage", "q")
        for weighting in weightings:
            for definition in ("true", "empirical") if f and source != "mdp" else ("true",):
                for critic in critics:
                    yield Base(source, weighting, definition, critic)


def _telling_first(records: Sequence[Record], refuted: Collection[int]) -> list[Record]:
    """Shared features, several states and actions, an ordinary batch: what hides least first."""

    def blindness(record: Record) -> tuple[Any, ...]:
        problem = record.reference.problem
        return (
            id(record) not in refuted,
            problem.family == "tabular",
            problem.num_states < 3,
            problem.discount < 0.5,
            getattr(problem, "batch_kind", "") in ("exact", "duplicated"),
            record.probe.label in ("θ itself", "a basis vector", "a small step"),
            len(problem.theta) > 16,
        )

    first = min(records, key=blindness)
    rest = [r for r in records if r is not first]
    # Screened on answers spread over all problems; the order is the same in every run.
    wrong = [r for r in rest if id(r) in refuted]
    spread = [*_spread(wrong, SCREEN - 2), *_spread([r for r in rest if id(r) not in refuted], 2)]
    chosen = {id(r) for r in spread}
    return [first, *spread, *(r for r in rest if id(r) not in chosen)]


def _spread(records: Sequence[Record], count: int) -> list[Record]:
    """Up to ``count`` of the records, evenly over all of them."""
    if len(records) <= count:
        return list(records)
    return [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]
