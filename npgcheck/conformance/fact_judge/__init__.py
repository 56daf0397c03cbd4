"""A second opinion on stated facts: is it true what a report says about a wrong answer?

The verifier states relations ("the exact answer times 1/2", "the matrix is transposed") from its
own reference. Here the same subject is asked again, its answers are compared with exact ones of
the plain pipelines of the planted subjects (which borrow nothing from the verifier), and the
sentence itself is tried. Relations have to hold on problems that no run asks and on those of the
report; counts are tried on the problems of the report, to the number. A sentence that is not
understood is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from npgcheck.conformance.controls import Control
from npgcheck.conformance.fact_judge import (
    chains,
    counts,
    faults,
    others,
    parts,
    policy,
    pure,
    relations,
    solves,
)
from npgcheck.conformance.fact_judge.relations import Cases, Judge
from npgcheck.conformance.fact_judge.truth import Case, readings
from npgcheck.conformance.told import Fact


def judged(control: Control, facts: tuple[Fact, ...], seed: int = 0) -> tuple[Fact, ...]:
    """The facts with the evaluator's verdict.

    Args:
        control: the planted subject.
        facts: what was said.
        seed: of the run that said it, with as many problems as the control is judged on.
    """
    if not facts:
        return facts
    calls = {f: faults.happens(control, f.quantity, f.text) for f in facts}
    rest = tuple(f for f, found in calls.items() if found is None)
    numbers = dict(zip(rest, _of_numbers(control, rest, seed), strict=True)) if rest else {}
    return tuple(replace(f, true=calls[f] if calls[f] is not None else numbers[f]) for f in facts)


def _of_numbers(control: Control, facts: tuple[Fact, ...], seed: int) -> list[bool | None]:
    """Verdicts on sentences about answers."""
    families = len(getattr(control.build(), "families", ("tabular", "softmax")))
    asked = (seed, control.problems * families)
    other = {q: readings(control, q) for q in {f.quantity for f in facts}}
    same = {q: readings(control, q, asked) for q in other}
    found: list[bool | None] = []
    for fact in facts:
        others, here = other[fact.quantity], same[fact.quantity]
        under = [[*others.get(key, ()), *_regrouped(here.get(key, ()))] for key in here]
        found.append(verdict(fact.text, under, list(here.values())))
    return found


def _regrouped(cases: Cases) -> list[Case]:
    """The same cases, whose groups are not those of the other problems."""
    return [replace(c, group=-1 - c.group) for c in cases]


def verdict(text: str, under: Sequence[Cases], asked: Sequence[Cases] | None = None) -> bool | None:
    """Whether a sentence holds under one reading of what is free; None for unknown sentences.

    Args:
        text: the sentence.
        under: answers for each reading.
        asked: those to the questions of the report alone; ``under`` when None.
    """
    for pattern, judge, counted in _SENTENCES:
        match = re.fullmatch(pattern, text)
        if match:
            chosen = asked if counted and asked is not None else under
            usable = [cases for cases in chosen if cases]
            return any(judge(cases, match) for cases in usable) if usable else None
    return None


def _downhill(cases: Cases, match: re.Match[str]) -> bool:
    """⟨step, x⟩ in the metric is not positive."""
    found = [c.metric is not None and float(c.yours @ c.metric @ c.exact) <= 0 for c in cases]
    return any(found)


def _too_far(cases: Cases, match: re.Match[str]) -> bool:
    """Some accepted point is farther than max_kl, in both directions of the KL."""
    return any(c.pipeline.kl(c.problem, c.problem.theta + c.yours) > c.args[0] for c in cases)


def _loses(cases: Cases, match: re.Match[str]) -> bool:
    """Some accepted point has a lower surrogate than θ."""

    def gain(case: Case) -> float:
        theta = case.problem.theta
        after = case.pipeline.surrogate(case.problem, theta + case.yours)
        return float(after - case.pipeline.surrogate(case.problem, theta))

    return any(gain(c) < 0 for c in cases)


def _too_short(cases: Cases, match: re.Match[str]) -> bool:
    """Some step is a fraction of the proposal of which twice as much would be accepted."""
    for case in cases:
        twice = case.problem.theta + 2 * case.yours
        gain = case.pipeline.surrogate(case.problem, twice)
        better = gain > case.pipeline.surrogate(case.problem, case.problem.theta)
        if better and case.pipeline.kl(case.problem, twice) <= case.args[0]:
            return True
    return False


def _of_rewards(cases: Cases, match: re.Match[str]) -> bool:
    return bool(verdict(match.group(1), [chains.rewards(cases)]))


def _of_residuals(cases: Cases, match: re.Match[str]) -> bool:
    return bool(verdict(match.group(1), [pure.residuals(cases)]))


_IMPLIED: tuple[tuple[str, Judge], ...] = (
    ("as if of other rewards: (.+)", _of_rewards),
    ("as if of other residuals δ: (.+)", _of_residuals),
)
_SEARCH: tuple[tuple[str, Judge], ...] = (
    ("the step does not point uphill.*", _downhill),
    ("the accepted step has KL = .*", _too_far),
    ("the accepted step changes the surrogate by .*", _loses),
    ("θ came back unchanged, .*", relations.zero),
    ("the step was cut to .*", _too_short),
)
_SENTENCES: tuple[tuple[str, Judge, bool], ...] = (
    *((p, j, True) for p, j in (*counts.SENTENCES, *parts.COUNTED)),
    *(
        (p, j, False)
        for kind in (
            _SEARCH,
            _IMPLIED,
            chains.SENTENCES,
            parts.SENTENCES,
            policy.SENTENCES,
            pure.SENTENCES,
            solves.SENTENCES,
        )
        for p, j in kind
    ),
    *((p, j, False) for p, j in (*relations.SENTENCES, *others.SENTENCES)),
)


def known_sentences() -> Iterable[str]:
    """The patterns that can be judged."""
    yield from faults.WORDS
    yield from (pattern for pattern, _, _ in _SENTENCES)
