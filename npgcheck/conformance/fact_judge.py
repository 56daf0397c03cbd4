"""A second opinion on stated facts: is it true what a report says about a wrong answer?

The verifier states relations ("the exact answer times 1/2", "the matrix is transposed") from its
own reference. Here the same subject is asked again, on other problems, its answers are compared
with exact ones of the plain pipelines of the planted subjects (which borrow nothing from the
verifier), and the sentence itself is tried. A sentence that is not understood is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from npgcheck.conformance.controls import Control
from npgcheck.conformance.fact_truth import CLOSE, Case, readings
from npgcheck.conformance.told import Fact

Array = np.ndarray

#: Of a number without a short form six digits are quoted.
QUOTED = 2e-5

Cases = Sequence[Case]
Judge = Callable[[Cases, "re.Match[str]"], bool]


def judged(control: Control, facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """The facts with the evaluator's verdict."""
    if not facts:
        return facts
    found = {q: readings(control, q) for q in {f.quantity for f in facts}}
    return tuple(Fact(f.quantity, f.text, verdict(f.text, found[f.quantity])) for f in facts)


def verdict(text: str, under: Sequence[Cases]) -> bool | None:
    """Whether a sentence holds under one reading of what is free; None for unknown sentences."""
    for pattern, judge in _SENTENCES:
        match = re.fullmatch(pattern, text)
        if match:
            usable = [cases for cases in under if cases]
            return any(judge(cases, match) for cases in usable) if usable else None
    return None


def _wrong(cases: Cases) -> list[Case]:
    return [c for c in cases if not c.right]


def _relation(relate: Callable[[Case], Array | None]) -> Judge:
    """A sentence that holds when it turns every exact answer into the subject's wrong one."""

    def judge(cases: Cases, match: re.Match[str]) -> bool:
        pairs = [(c, relate(c)) for c in _wrong(cases)]
        return bool(pairs) and all(r is not None and c.distance(r) <= CLOSE for c, r in pairs)

    return judge


def _times(cases: Cases, match: re.Match[str]) -> bool:
    text = match.group(1)
    factor = _factor(text)
    if factor is None:
        return False
    limit = QUOTED if "." in text else CLOSE
    wrong = _wrong(cases)
    return bool(wrong) and all(c.distance(factor(c.problem) * c.exact) <= limit for c in wrong)


def _some_factor(cases: Cases, match: re.Match[str]) -> bool:
    factors = []
    if all(np.size(c.exact) == 1 for c in cases):
        return False  # any two numbers are such multiples: it says nothing
    for yours, exact in (c.pair for c in _wrong(cases)):
        square = float(np.vdot(exact, exact))
        if square == 0.0:
            continue
        factor = float(np.vdot(exact, yours)) / square
        if np.max(np.abs(yours - factor * exact)) > CLOSE * np.max(np.abs(exact)):
            return False
        factors.append(factor)
    return len(factors) > 1 and float(np.ptp(factors)) > CLOSE * max(map(abs, factors))


_SYMBOLS: dict[str, Callable[[Any], float]] = {
    "(1−γ)": lambda p: 1 - p.mdp.discount,
    "1/(1−γ)": lambda p: 1 / (1 - p.mdp.discount),
    "(1−γ)²": lambda p: (1 - p.mdp.discount) ** 2,
    "1/(1−γ)²": lambda p: (1 - p.mdp.discount) ** -2,
    "γ": lambda p: p.mdp.discount,
    "1/γ": lambda p: 1 / p.mdp.discount,
    "√(1−γ)": lambda p: (1 - p.mdp.discount) ** 0.5,
    "√(1/(1−γ))": lambda p: (1 - p.mdp.discount) ** -0.5,
    "N": lambda p: len(p.batch.actions),
    "1/N": lambda p: 1 / len(p.batch.actions),
    "m": lambda p: p.action_size,
    "1/m": lambda p: 1 / p.action_size,
    "A": lambda p: p.num_actions,
    "1/A": lambda p: 1 / p.num_actions,
    "S": lambda p: p.num_states,
    "1/S": lambda p: 1 / p.num_states,
}


def _factor(text: str) -> Callable[[Any], float] | None:
    """A factor as reports write it: ``1/2``, ``√2``, ``−√(1/2)``, ``1/2 · 1/(1−γ)``, ``1/N, …``."""
    number, symbol = 1.0, text.partition(", ")[0]
    head, dot, tail = symbol.partition(" · ")
    if dot:
        parsed = _number(head)
        if parsed is None:
            return None
        number, symbol = parsed, tail
    if symbol in _SYMBOLS:
        return lambda p: number * _SYMBOLS[symbol](p)
    parsed = _number(symbol)
    return None if parsed is None else lambda p: parsed


def _number(text: str) -> float | None:
    match = re.fullmatch(r"([−-]?)(√?)\(?([0-9.e+-]+(?:/[0-9]+)?)\)?", text)
    if match is None:
        return None
    sign, root, digits = match.groups()
    value = float(Fraction(digits)) if "/" in digits else float(digits)
    return (-1.0 if sign else 1.0) * (value**0.5 if root else value)


def _action_major(case: Case) -> Array | None:
    p = case.problem
    if p.family not in ("tabular", "softmax"):
        return None
    order = np.arange(p.theta.size).reshape(-1, p.num_actions).T.ravel()
    return case.exact[np.ix_(*[order] * case.exact.ndim)]


def _labels(case: Case) -> Iterator[str]:
    yield f"{case.problem.family} problems"
    yield f"{getattr(case.problem, 'batch_kind', '').replace('_', '-')} batches"
    if case.label:
        yield case.label


def _where(cases: Cases, names: str, right: bool, most: float = 1.0) -> bool:
    """Whether the answers with each of these labels are right, or wrong, at this share."""
    seen = False
    for name in names.split(" and "):
        found = [c.right is right for c in cases if name in _labels(c)]
        if found:
            seen = True
            if sum(found) < most * len(found):
                return False
    return seen


def _right_here_wrong_there(cases: Cases, match: re.Match[str]) -> bool:
    # On other problems a wrong function may be right by luck, a right one may not be wrong.
    return _where(cases, match.group(1), True) and _where(cases, match.group(2), False, 0.5)


def _always_right(cases: Cases, match: re.Match[str]) -> bool:
    return _where(cases, match.group(1), True)


def _always_wrong(cases: Cases, match: re.Match[str]) -> bool:
    return _where(cases, match.group(1), False, 0.8)


def _in_some(cases: Cases, match: re.Match[str]) -> bool:
    """How many depends on the problems that were asked; that some are wrong does not."""
    return bool(_wrong(cases))


def _zero(cases: Cases, match: re.Match[str]) -> bool:
    return all(not np.any(c.yours) for c in _wrong(cases)) and bool(_wrong(cases))


def _downhill(cases: Cases, match: re.Match[str]) -> bool:
    """⟨step, x⟩ in the metric is not positive."""
    found = [c.metric is not None and float(c.yours @ c.metric @ c.exact) <= 0 for c in cases]
    return any(found)


def _too_far(cases: Cases, match: re.Match[str]) -> bool:
    """Some accepted point is farther than max_kl, in both directions of the KL."""
    return any(c.pipeline.kl(c.problem, c.problem.theta + c.yours) > c.args[0] for c in cases)


def _too_short(cases: Cases, match: re.Match[str]) -> bool:
    """Some step is a fraction of the proposal of which twice as much would be accepted."""
    for case in cases:
        twice = case.problem.theta + 2 * case.yours
        gain = case.pipeline.surrogate(case.problem, twice)
        better = gain > case.pipeline.surrogate(case.problem, case.problem.theta)
        if better and case.pipeline.kl(case.problem, twice) <= case.args[0]:
            return True
    return False


_SENTENCES: tuple[tuple[str, Judge], ...] = (
    ("the sign is flipped", _relation(lambda c: -c.exact)),
    ("the matrix is transposed", _relation(lambda c: c.exact.T)),
    ("the exact answer times a factor that differs between problems", _some_factor),
    ("the exact answer times (.+)", _times),
    (r"parameters come in the order \[action, feature\].*", _relation(_action_major)),
    ("right on (.+), wrong on (.+)", _right_here_wrong_there),
    ("always right on (.+)", _always_right),
    ("always wrong on (.+), elsewhere not always", _always_wrong),
    (r"wrong in \d+ of \d+ answers", _in_some),
    ("always zero", _zero),
    ("θ comes back unchanged", _zero),
    ("the step does not point uphill.*", _downhill),
    ("the accepted step has KL = .*", _too_far),
    ("θ came back unchanged, .*", _zero),
    ("the step was cut to .*", _too_short),
)


def known_sentences() -> Iterable[str]:
    """The patterns that can be judged."""
    return (pattern for pattern, _ in _SENTENCES)
