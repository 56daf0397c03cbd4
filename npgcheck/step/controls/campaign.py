"""Many steps: right ones that must be spared, and every planted mistake on several networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npgcheck.conformance.report import Report
from npgcheck.step.check import check_step
from npgcheck.step.controls import heads
from npgcheck.step.controls.mistakes import MISTAKES
from npgcheck.step.controls.network import ACTIVATIONS, Network
from npgcheck.step.controls.right_solves import SOLVERS
from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake

_HEADS = (
    lambda: heads.categorical(3),
    lambda: heads.categorical(6),
    lambda: heads.multi_discrete((3, 2, 4)),
    lambda: heads.bernoulli(3),
    lambda: heads.gaussian(1),
    lambda: heads.gaussian(3),
    lambda: heads.gaussian(2, state_dependent=True),
)
_HIDDEN = ((), (8,), (16, 16), (32, 32))
#: Where mistakes are planted: one family each, wide and narrow, smooth and with kinks.
_STAGES = (
    (lambda: heads.categorical(4), (5, 16, 16, 4), "tanh"),
    (lambda: heads.bernoulli(3), (4, 12, 3), "silu"),
    (lambda: heads.gaussian(3), (6, 16, 16, 3), "tanh"),
    (lambda: heads.gaussian(2, state_dependent=True), (4, 16, 4), "relu"),
    (lambda: heads.multi_discrete((3, 2)), (5, 5), "linear"),
)


@dataclass(frozen=True)
class Outcome:
    """What was said of one step.

    Attributes:
        name: the mistake, or how the right step was made.
        where: family, network and dtype.
        quantity: what ought to have been refuted; "" for a right step.
        caught: whether it was (a right step: whether something was accused).
        expected: the name that should be given, "" if it has none.
        said: the names that were given there, with those that are offered as equal.
        report: everything.
    """

    name: str
    where: str
    quantity: str
    caught: bool
    expected: str
    said: tuple[str, ...]
    report: Report

    @property
    def named_rightly(self) -> bool:
        """Whether the expected name was given, or none where there is none."""
        bugs = [n for n in self.said if n not in ("damping", "truncated-cg", "damped-length")]
        return self.expected in bugs if self.expected else not bugs


def right_step(seed: int) -> tuple[str, Step]:
    """A right step by its seed: family, network, dtype, rows, λ, k, δ, line search, solver."""
    rng = np.random.default_rng(seed)

    def pick(options: tuple) -> object:
        return options[int(rng.integers(len(options)))]

    head = pick(_HEADS)()  # type: ignore[operator]
    activation = str(pick(tuple(ACTIVATIONS)))
    hidden = pick(_HIDDEN)
    sizes = (int(rng.integers(2, 9)), *hidden, head.width)  # type: ignore[misc]
    network = Network(sizes, activation, head.free, 5 * int(rng.integers(0, 2)))
    dtype = str(pick(("float64", "float32")))
    step = Step.draw(
        head,
        network,
        int(rng.integers(20, 300)),
        rng,
        dtype,
        damping=pick((1e-3, 1e-2, 1e-1)),
        iterations=pick((3, 10, 20, 50)),
        max_kl=pick((1e-3, 1e-2, 5e-2)),
        shrink=pick((0.5, 0.8)),
        length=pick(("damped", "undamped", "gain")),
    )
    where = f"{head.name} {activation} {sizes} {dtype}"
    solver = str(pick((*[""] * len(SOLVERS), *SOLVERS)))  # half of them plain conjugate gradient
    if solver:
        step.changed["solve"] = SOLVERS[solver]
    return f"{where} {solver}".strip(), step


def judge(step: Step) -> Report:
    """check_step on everything that the step has."""
    with np.errstate(all="ignore"):  # along a direction that diverged
        arguments = step.arguments()
    return check_step(**arguments, distribution=step.head.name)


def right(seeds: range) -> Iterator[Outcome]:
    """Right steps; `caught` is a false alarm."""
    for seed in seeds:
        where, step = right_step(seed)
        report = judge(step)
        failed = [r for r in report.results if r.status == "fail"]
        said = tuple(d.choice for r in failed for d in r.diagnosis)
        yield Outcome(f"seed {seed}", where, "", bool(failed), "", said, report)


def wrong(
    seed: int = 0, dtypes: tuple[str, ...] = ("float64", "float32"), rows: int = 120
) -> Iterator[Outcome]:
    """Every planted mistake, on every stage where it can be made."""
    for build, sizes, activation in _STAGES:
        for dtype in dtypes:
            head = build()
            network = Network(sizes, activation, head.free)
            step = Step.draw(head, network, rows, np.random.default_rng(seed), dtype)
            for mistake in MISTAKES:
                if mistake.concerns(head, dtype):
                    where = f"{head.name} {activation} {sizes} {dtype}"
                    yield _outcome(mistake, where, judge(mistake.apply(step)))


def _outcome(mistake: Mistake, where: str, report: Report) -> Outcome:
    results = [r for r in report.results if r.quantity == mistake.quantity]
    caught = any(r.status == mistake.status and r.explained_by is None for r in results)
    given = [d for r in results for d in r.diagnosis if d.kind != "free"]
    said = tuple(name for d in given for name in (d.choice, *d.alternatives))
    return Outcome(mistake.name, where, mistake.quantity, caught, mistake.choice, said, report)
