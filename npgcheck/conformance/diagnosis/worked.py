"""The smallest problem that exposes a choice, with its numbers: for ``npgcheck explain``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from npgcheck.conformance.atlas import ATLAS, Choice
from npgcheck.conformance.diagnosis.answers import ANSWERS
from npgcheck.conformance.diagnosis.pipeline import Base, Pipeline, View
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.setup import Setup
from npgcheck.conformance.reference import Reference
from npgcheck.errors import NpgcheckError, Unsupported

Array = np.ndarray

#: Answers differ when they do so by more than this, relative to the larger of them.
DIFFERENT = 1e-6
#: Problems of each family's catalogue that are looked at; the designed ones follow.
FIRST = 24
_PURE = {"gae": "advantage_estimate", "cg": "conjugate_gradient"}
#: Conventions that are no change of a part but a setting of the whole computation.
SETTINGS: dict[str, Setup] = {
    "missing-gamma-t": Setup(Base(weighting="undiscounted")),
    "batch-average": Setup(Base(sampled="batch")),
    "episode-average": Setup(Base(sampled="episodes")),
    "per-trajectory-mean": Setup(Base(sampled="episodes", weighting="per_trajectory")),
    "empirical-fisher": Setup(Base(sampled="batch", fisher="empirical")),
    "expected-advantage": Setup(Base(sampled="batch", critic="expected")),
    "batch-mean-baseline": Setup(Base(sampled="batch", critic="centred")),
    "td-residual-as-critic": Setup(Base(sampled="batch", critic="td")),
    "one-step-target-as-critic": Setup(Base(sampled="batch", critic="q_td")),
    "normalised-advantages": Setup(Base(sampled="batch", critic="normalised")),
    "normalised-advantages-sample-std": Setup(Base(sampled="batch", critic="normalised_sample")),
    "damping": Setup(damping=0.1),
    "damped-fisher": Setup(damping=0.1),
    "truncated-cg": Setup(iterations=1),
    "damped-length": Setup(damping=0.1, length="damped"),
    "reverse-kl": Setup(variant=("reverse",)),
}


@dataclass(frozen=True)
class Example:
    """One choice on one problem.

    Attributes:
        problem: the problem.
        quantity: the quantity that shows it.
        exact: the right answer.
        chosen: the answer under the choice.
        number: the number that the choice carries here, or None.
        sampled: what is averaged over.
    """

    problem: Any
    quantity: str
    exact: Array
    chosen: Array
    number: float | None
    sampled: str


@cache
def example(name: str) -> Example | None:
    """The smallest problem of the catalogue that exposes the choice, or None."""
    entry = ATLAS[name]
    setting = SETTINGS.get(name)
    if entry.kind == "free" or (setting is None and not set(entry.change) - set(_PURE)):
        return None
    for problem in _problems(entry):
        for sampled in ("mdp", "batch", "episodes"):
            setup = setting or Setup(Base(sampled=sampled))
            found = _on(problem, entry, setup)
            if found is not None:
                return found
            if setting is not None:
                break
    return None


def sample_number(entry: Choice) -> float | None:
    """A number that the choice may carry: the middle of those it is looked for at."""
    if entry.number is None:
        return None
    usable = [n for n in entry.number.start if n not in entry.number.not_values]
    return usable[len(usable) // 2]


def _problems(entry: Choice) -> Iterator[Any]:
    from npgcheck import problem_sets

    families = ["tabular", "softmax"] if "discrete" in entry.families else []
    families += ["gaussian"] if "gaussian" in entry.families else []
    found = [p for f in families for p in problem_sets.catalogue(f)[:FIRST]]
    found.sort(key=lambda p: (p.num_states, len(p.theta)))
    for family in families:
        found += problem_sets.designed(family)
    yield from found


def _on(problem: Any, entry: Choice, setup: Setup) -> Example | None:
    """The first quantity, lowest layer first, that the choice alters on this problem."""
    number = sample_number(entry)
    applied = (Applied(entry, number),) if entry.change else ()
    base = Base(sampled=setup.base.sampled)
    for quantity in entry.visible:
        if quantity not in ANSWERS:
            continue
        try:
            pipelines = (_pipeline(problem, base), _pipeline(problem, setup.base))
            if None in pipelines:
                return None
            exact = answer(pipelines[0], (), quantity, Setup(base))  # type: ignore[arg-type]
            chosen = answer(pipelines[1], applied, quantity, setup)  # type: ignore[arg-type]
        except Unsupported:
            return None
        if differ(exact, chosen):
            return Example(problem, quantity, exact, chosen, number, setup.base.sampled)
    return None


def _pipeline(problem: Any, base: Base) -> Pipeline | None:
    reference = Reference(problem)
    if reference.measure(base.sampled, base.weighting) is None:
        return None
    return Pipeline(reference, base)


def answer(pipeline: Pipeline, applied: tuple[Applied, ...], quantity: str, setup: Setup) -> Array:
    """What the quantity answers; NaN where it answers nothing there."""
    with np.errstate(all="ignore"):
        try:
            view = View(pipeline, applied)
            setup = replace(setup, base=pipeline.base)
            return np.asarray(ANSWERS[quantity](view, setup), dtype=float)
        except (np.linalg.LinAlgError, NpgcheckError, TypeError, AttributeError):
            return np.array(np.nan)  # a Gaussian has no table of Q, an expectation no rows


def differ(first: Array, second: Array) -> bool:
    """Whether two answers are told apart; what is no number tells nothing."""
    if first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return False
    size = max(float(np.abs(first).max(initial=0.0)), float(np.abs(second).max(initial=0.0)))
    return bool(np.abs(first - second).max(initial=0.0) > DIFFERENT * size)


@cache
def pure_example(name: str) -> Example | None:
    """The same for functions of their arguments alone: the first call that shows the choice."""
    from npgcheck.conformance.problems import pure_problems

    for form in ATLAS[name].spelled_out():
        for part, quantity in _PURE.items():
            change = form.change.get(part)
            if change is None and part == "gae":
                change = _dropped_rule(form)
            if change is None:
                continue
            number = sample_number(form)
            more = () if number is None else (number,)
            calls = sorted(pure_problems(quantity, 0, None), key=lambda p: p.args[0].size)
            for problem in calls:
                with np.errstate(all="ignore"):
                    exact = _right(part, problem.args)
                    chosen = np.asarray(change(problem.args, None, *more), dtype=float)
                if differ(exact, chosen):
                    return Example(problem, quantity, exact, chosen, number, "")
    return None


def _right(part: str, args: tuple[Any, ...]) -> Array:
    from npgcheck.conformance.explainers import pure

    if part == "gae":
        return pure.by_definition(*args)
    return pure.iterates(*args)[-1]


def _dropped_rule(entry: Choice) -> Any:
    """The estimate without one of its rules, for the mistakes that are told by their rule."""
    from npgcheck.conformance.explainers import pure

    rule: Any = pure.DROPPED_RULES.get(entry.value) if entry.stage == "episode_ends" else None
    return None if rule is None else lambda args, _: pure.by_definition(*args, **rule)
