"""Which few choices reproduce everything that a refuted quantity answered.

Fewest choices first: the setups alone, single choices, then pairs. One telling problem rejects
nearly all of them, a handful of others what is left, and a name is given only to what reproduces
the remaining problems too, none of which it has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from npgcheck.conformance.atlas.entry import Choice, Silent
from npgcheck.conformance.choices import known, present
from npgcheck.conformance.diagnosis import estimate
from npgcheck.conformance.diagnosis.given import OWN
from npgcheck.conformance.diagnosis.pipeline import DEFAULTS, OUTSIDE, Pipeline
from npgcheck.conformance.diagnosis.predict import MISFITS, Pipelines, resolution, variants
from npgcheck.conformance.diagnosis.question import DAMPED, SCREEN, Question
from npgcheck.conformance.diagnosis.reach import Applied, reaches
from npgcheck.conformance.diagnosis.setup import VARYING, Setup
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.reconcile import SOLVES

#: Fresh answers that a name has to reproduce, spread over all problems.
FRESH = 40
#: A name needs this many answers on which it says something that the contract does not.
TELLING = 3
#: In pairs a number is refined only where one of its grid explains the answers this well.
NEAR = 0.3
#: A misfit that moves by less than this part has not moved.
NOTHING = 1e-9
#: Iterations after which conjugate gradient is stopped in use.
ITERATIONS = (*range(1, 11), 12, 15, 20, 25, 30, 50)


@dataclass(frozen=True)
class Found:
    """A set of choices that reproduces a quantity.

    Attributes:
        applied: the choices, with their numbers.
        setup: the conventions taken as given.
        fresh: how many answers it reproduced that it had not been chosen on.
    """

    applied: tuple[Applied, ...]
    setup: Setup
    fresh: int

    @property
    def names(self) -> frozenset[str]:
        """The names of the choices; own answers taken as given have none."""
        return frozenset(a.choice.name for a in self.applied if a.choice.name != OWN)


#: Parts that are the critic of an exact sum themselves, or undo the baseline.
_BESIDE_Q = frozenset({"critic", "advantage", "node_advantage"})


def _exact_q(setup: Setup) -> bool:
    """Whether Q multiplies the score in sums over all actions."""
    return setup.base.critic == "q" and setup.base.sampled == "mdp"


def _any_number(choice: Choice) -> float | None:
    return None if choice.number is None else choice.number.start[0]


def _in_pairs(choice: Choice) -> bool:
    """Other ways to spell out a wrong return are tried alone; a free one stands beside mistakes."""
    return choice.kind == "free" or choice.form == 0 or set(choice.change) != {"row_critic"}


def _differs(pipeline: Pipeline, part: str, applied: Applied) -> bool:
    """Whether the choice makes another part of it, one with numbers in it."""
    try:
        before, after = pipeline.get(part, ()), pipeline.get(part, (applied,))
    except OUTSIDE:
        return False
    if before is None or after is None or not np.isfinite(after).all():
        return False
    return bool(np.abs(after - before).max() > NOTHING * np.abs(before).max())


def _given(applied: Sequence[Applied]) -> frozenset[str]:
    """The parts of the pipeline that are the subject's own answers."""
    return frozenset(part for a in applied if a.choice.name == OWN for part in a.choice.change)


def _left_open(setups: tuple[Setup, ...], given: frozenset[str]) -> tuple[Setup, ...]:
    """The setups that differ in something: where F and g, or what is solved from them, are given,
    nothing of the measure is left to choose."""
    if "F" in given and given & {"g", "direction"}:
        return tuple(s for s in setups if s.base == setups[0].base)
    return setups


class Search:
    """Explains one quantity after the other; pipelines are shared between them."""

    def __init__(self, entries: Sequence[Choice] | None = None) -> None:
        chosen = present() if entries is None else tuple(entries)
        self.entries = tuple(form for c in chosen if c.change for form in c.spelled_out())
        self.pipelines = Pipelines()
        self.tried = 0

    def singles(
        self,
        asked: Question,
        beside: tuple[Applied, ...] = (),
        *,
        plain: bool = True,
        numbered: bool = True,
        only: Collection[str] = (),
    ) -> list[Found]:
        """Single choices that reproduce the quantity: plain ones, and numbered ones, estimated.

        ``beside`` are choices that explain quantities below this one, and are taken as given;
        ``only`` are the names of the choices that are tried, all of them where it is empty.
        """
        given = _given(beside)
        setups = _left_open(asked.likely if beside else asked.setups, given)
        found = []
        for choice in self.candidates(asked, given):
            if choice.name in {a.choice.name for a in beside}:
                continue
            if only and choice.name not in only:
                continue
            if not (plain if choice.number is None else numbered):
                continue
            for setup in self._unlike(choice, asked, setups):
                for applied in self._numbered(choice, asked, setup, beside):
                    result = self._confirm((*beside, applied), asked, setup)
                    if result is not None:
                        found.append(result)
                        break
        return found

    def _unlike(self, choice: Choice, asked: Question, setups: Sequence[Setup]) -> Iterator[Setup]:
        """The setups, without those that differ in a critic which the choice replaces."""
        seen = set()
        for setup in setups:
            if _exact_q(setup) and not _BESIDE_Q.isdisjoint(choice.change):
                continue  # Q beside another critic is no critic
            if "row_critic" in choice.change and setup.base.sampled != "mdp":
                view = self.pipelines.view(
                    asked.records[0], setup.base, (Applied(choice, _any_number(choice)),)
                )
                with np.errstate(all="ignore"):
                    try:
                        critic = None if view is None else view["row_critic"]
                    except OUTSIDE:
                        critic = None
                if critic is not None and setup.base.critic != "expected":
                    plain = replace(setup, base=replace(setup.base, critic="advantage"))
                    key = (plain, np.asarray(critic).tobytes())
                    if key in seen:
                        continue
                    seen.add(key)
            yield setup

    def damped(self, asked: Question) -> list[Found]:
        """Single choices beside a damping that no other quantity shows."""
        sets = [(Applied(c),) for c in self.candidates(asked) if c.number is None]
        return [f for applied in sets if (f := self.under_damping(applied, asked)) is not None]

    def under_damping(self, applied: tuple[Applied, ...], asked: Question) -> Found | None:
        """The choices beside a damping, estimated."""
        if asked.quantity not in DAMPED or not known({"damping": 1.0}):
            return None
        step = asked.quantity.startswith("trust_region")
        undamped = [s for s in asked.likely if not s.damping]
        lengths = [replace(s, length="damped") for s in undamped if step]
        for setup in (*undamped, *lengths):
            size = estimate.damping(self.pipelines, applied, asked, setup)
            if size is not None:
                found = self._confirm(applied, asked, replace(setup, damping=size))
                if found is not None:
                    return found
        return None

    def _truncated(self, applied: tuple[Applied, ...], asked: Question) -> Found | None:
        """The choices beside conjugate gradient that stops after k iterations."""
        if asked.quantity not in SOLVES or not known({"cg_iterations": 1.0}):
            return None
        for setup in asked.likely:
            varying = asked.quantity == "natural_gradient"
            for k in (*ITERATIONS, *[VARYING] * varying):
                found = self._confirm(applied, asked, replace(setup, iterations=k))
                if found is not None:
                    return found
        return None

    def above(
        self, asked: Question, told: Sequence[tuple[Applied, ...]], given: Sequence[Applied]
    ) -> list[Found]:
        """What a quantity is explained with when those below it are wrong, the simplest first.

        Two choices of theirs together; their own answers (``given``) as they are, damped, under a
        truncated solve, or with a choice that shows here for the first time; and the same with
        the choices (``told``) in place of the answers.
        """
        unions = dict.fromkeys(
            tuple(dict.fromkeys((*a, *b)))
            for a, b in combinations(told, 2)
            if len({c.choice.name for c in (*a, *b)}) == 2
        )
        alone, single = [(own,) for own in given], [a for a in told if len(a) == 1]
        levels: tuple[Callable[[], Iterator[Found | None]], ...] = (
            lambda: (self.under(union, asked) for union in unions),
            lambda: (self.under(own, asked) for own in alone),
            lambda: (self.under_damping(a, asked) for a in (*alone, *told)),
            lambda: (self._truncated(a, asked) for a in (*alone, *told)),
            lambda: (f for own in alone for f in self.singles(asked, own, numbered=False)),
            lambda: (f for a in single for f in self.singles(asked, a, numbered=False)),
            lambda: (f for own in alone for f in self.singles(asked, own, plain=False)),
            lambda: (f for a in single for f in self.singles(asked, a, plain=False)),
        )
        for level in levels:
            found = [f for f in level() if f is not None]
            if found:
                return found
        return []

    def under(self, applied: tuple[Applied, ...], asked: Question) -> Found | None:
        """The choices as they are, under the first setup that fits."""
        setups = _left_open(asked.setups, _given(applied))
        fits = (self._confirm(applied, asked, setup) for setup in setups)
        return next((f for f in fits if f is not None), None)

    def pairs(
        self, asked: Question, told: Collection[Applied] = (), *, numbered: bool = False
    ) -> list[Found]:
        """Pairs of choices, in the order of the registry; numbers come from ``told``, what other
        quantities are explained with, or are estimated where ``numbered`` allows the time."""
        candidates = self.candidates(asked)
        pool = [Applied(c) for c in candidates if c.number is None and _in_pairs(c)]
        pool += [a for a in told if a.number is not None and a.choice in candidates]
        pool = [a for a in pool if self._has_effect(a, asked)]
        found = []
        for first, second in combinations(pool, 2):
            if first.choice.name == second.choice.name:
                continue
            if first.choice.stage == second.choice.stage == "score":
                continue  # a score is spelled out in one way
            for setup in asked.likely:
                result = self._confirm((first, second), asked, setup)
                if result is None and not first.choice.change.keys().isdisjoint(
                    second.choice.change
                ):
                    result = self._confirm((second, first), asked, setup)
                if result is not None:
                    found.append(result)
                    break
        if not found and numbered:
            found = self._numbered_pairs(asked, [a for a in pool if a.number is None])
        return found

    def _numbered_pairs(self, asked: Question, pool: Sequence[Applied]) -> list[Found]:
        """Pairs of which one carries a number that no other quantity shows."""
        if asked.quantity in SOLVES:
            return []
        if any(r.reference.problem.family == "own" for r in asked.records[:1]):
            return []  # every number would ask the user's own policy anew
        numbered = [
            c for c in self.candidates(asked) if c.number is not None and c.kind != "approximation"
        ]
        found = []
        for first, choice in product(pool, numbered):
            for setup in asked.likely[:1]:
                for second in estimate.numbers(
                    self.pipelines, choice, asked, setup, (first,), far=NEAR
                ):
                    result = self._confirm((first, second), asked, setup)
                    if result is not None:
                        found.append(result)
        return found

    def _shows(self, record: Record, asked: Question, setup: Setup) -> bool:
        """Whether the answer is wrong without any choice."""
        return bool(self.misfit(record, (), asked.quantity, setup) > resolution(record))

    def _undone(self, asked: Question, setup: Setup) -> bool:
        """Whether some normalisation explains the answers without any choice: then the choice
        merely undoes another one, as a factor twice undoes the lack of it."""
        screen = asked.records[: 1 + SCREEN]
        return any(
            all(
                not self.misfit(r, (), asked.quantity, replace(setup, variant=v)) > resolution(r)
                for r in screen
            )
            for v in variants(asked.quantity, setup.base.sampled)
        )

    def _has_effect(self, applied: Applied, asked: Question) -> bool:
        """Whether the choice is defined on the first problem and changes anything there."""
        if applied.choice.kind == "free":
            return True  # equal in expectation, and not beside a mistake
        record, moved = asked.records[0], set(applied.choice.change) - set(DEFAULTS)
        for base in {s.base: None for s in asked.likely}:
            pipeline = self.pipelines.of(record, base)
            if pipeline is None:
                continue
            if asked.quantity in SOLVES and not moved:
                with np.errstate(all="ignore"):
                    if any(_differs(pipeline, part, applied) for part in ("F", "g")):
                        return True
                continue
            for setup in (s for s in asked.likely if s.base == base):
                alone = self.misfit(record, (applied,), asked.quantity, setup)
                bare = self.misfit(record, (), asked.quantity, setup)
                if moved or (np.isfinite(alone) and abs(alone - bare) > NOTHING * bare):
                    return True
        return False

    def candidates(self, asked: Question, given: frozenset[str] = frozenset()) -> list[Choice]:
        """The entries that can reach the quantity on these problems, above what is given."""
        discrete = all(r.reference.discrete for r in asked.records)
        gaussian = not any(r.reference.discrete for r in asked.records)
        parts = MISFITS[asked.quantity][0]
        return [
            c
            for c in self.entries
            if (discrete or "gaussian" in c.families)
            and (gaussian or "discrete" in c.families)
            and any(reaches(c, part, given) for part in parts)
            and (asked.quantity in SOLVES or not set(c.visible) <= set(SOLVES))
        ]

    def _numbered(
        self,
        choice: Choice,
        asked: Question,
        setup: Setup,
        beside: tuple[Applied, ...] = (),
    ) -> Iterator[Applied]:
        """The choice as it stands, or with the numbers that could be its own."""
        if choice.number is None:
            yield Applied(choice)
            return
        usual = setup in asked.likely or (_exact_q(setup) and not setup.iterations)
        if not usual or (setup.damping and "matrix" in choice.change):
            return
        far = NEAR if beside else estimate.FAR
        yield from estimate.numbers(self.pipelines, choice, asked, setup, beside, far)

    def misfit(
        self, record: Record, applied: tuple[Applied, ...], quantity: str, setup: Setup
    ) -> float:
        """The relative misfit on one answer; NaN where the choices say nothing."""
        view = self.pipelines.view(record, setup.base, applied)
        if view is None:
            return np.nan
        self.tried += 1
        with np.errstate(all="ignore"):
            try:
                return float(MISFITS[quantity][1](view, record, setup))
            except Silent:
                return np.nan
            except OUTSIDE:
                return np.inf

    def _confirm(self, applied: tuple[Applied, ...], asked: Question, setup: Setup) -> Found | None:
        """The set, if it reproduces the first answer, the screen and then fresh ones."""
        said = telling = 0
        records = asked.records[: 1 + SCREEN + FRESH]
        spoken = []
        for index, record in enumerate(records):
            misfit = self.misfit(record, applied, asked.quantity, setup)
            if np.isnan(misfit):
                if index > SCREEN and said == 0:
                    return None
                continue
            if misfit > resolution(record):
                return None
            said += 1
            spoken.append(record)
        for record in spoken:
            telling += self._shows(record, asked, setup)
            if telling == TELLING:
                break
        # A mistake may show on few problems alone, which need not be among the first.
        for record in asked.records[len(records) :]:
            if telling == TELLING:
                break
            if self._shows(record, asked, setup):
                misfit = self.misfit(record, applied, asked.quantity, setup)
                if misfit > resolution(record):
                    return None
                telling += not np.isnan(misfit)
        if telling < TELLING:
            return None
        if self._undone(asked, setup):
            return None
        return Found(applied, setup, max(0, said - 1 - SCREEN))
