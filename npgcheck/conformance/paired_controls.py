"""Two mistakes in one subject: random pairs of planted switches of one pipeline.

A switch overrides a method or two of a right pipeline. Two of them that override different
methods make one subject with both mistakes, by inheritance. Only pairs in which each mistake still
shows are kept: where one hides the other there is nothing to name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from npgcheck.conformance.controls._exact import Array, ExactSoftmax
from npgcheck.conformance.controls._gaussian import ExactGaussian
from npgcheck.conformance.controls._rows import BatchSoftmax, EpisodeSoftmax
from npgcheck.conformance.controls.registry import Control, registered

BASES = (ExactSoftmax, BatchSoftmax, EpisodeSoftmax, ExactGaussian)
#: Answers that differ by less are the same: far above rounding, far below any mistake.
SAME = 1e-7
#: Functions whose answers show a mistake of a pipeline, lowest first.
_ASKED = (
    "score",
    "log_prob",
    "advantage",
    "state_distribution",
    "policy_gradient",
    "fisher",
    "kl",
    "natural_gradient",
    "update",
    "trust_region_proposal",
)


#: Styles of which no pairs are made: a solver of its own truncates x as well, which makes three
#: choices, and an error of a few digits drowns beside most mistakes.
APART = frozenset({"generator of iterates", "few digits wrong"})


def random_pairs(count: int, seed: int = 0) -> tuple[Control, ...]:
    """Up to ``count`` different pairs of labelled switches, in an order drawn from the seed."""
    found: list[Control] = []
    for first, second in _shuffled(seed):
        if len(found) == count:
            break
        pair = compose(first, second)
        if pair is not None:
            found.append(pair)
    return tuple(found)


def compose(first: Control, second: Control) -> Control | None:
    """One control with both mistakes; None where they do not fit or one hides the other."""
    a, b = _class(first), _class(second)
    if a is None or b is None or _base(a) is not _base(b) or _own(a) & _own(b):
        return None
    if first.label.wanted & second.label.wanted:
        return None
    both = type(f"{a.__name__}And{b.__name__}", (a, b), {"__doc__": "Two mistakes."})
    asks = first.asks | second.asks
    if not (_shows(both, a, asks) and _shows(both, b, asks)):
        return None
    return replace(
        first,
        name=f"{first.name} + {second.name}",
        stage=f"{first.stage} + {second.stage}",
        refutes=first.refutes | second.refutes,
        spares=frozenset(),
        asks=asks,
        label=first.label + second.label,
        source="",
        build=both,
        description=f"{first.description} {second.description}",
    )


def switches() -> tuple[Control, ...]:
    """Labelled single switches of a shared pipeline, by name."""
    chosen = [
        c
        for c in registered()
        if c.role == "wrong"
        and len(c.label.names) == 1
        and not (c.whole or c.isolate or c.needs or c.style in APART)
        and _class(c) is not None
    ]
    return tuple(sorted(chosen, key=lambda c: c.name))


def _shuffled(seed: int) -> Iterator[tuple[Control, Control]]:
    singles = switches()
    pairs = [(a, b) for i, a in enumerate(singles) for b in singles[i + 1 :]]
    for index in np.random.default_rng(seed).permutation(len(pairs)):
        yield pairs[index]


def _class(control: Control) -> type | None:
    """The control's class when it is one switch of a shared pipeline."""
    build: Any = control.build
    return build if isinstance(build, type) and _base(build) is not None else None


def _base(subject: type) -> type | None:
    bases = [base for base in subject.__mro__[1:] if base in BASES]
    return bases[0] if bases else None


def _own(subject: type) -> frozenset[str]:
    """What it overrides of the pipeline."""
    own: set[str] = set()
    for each in subject.__mro__:
        if each in BASES:
            break
        own |= {name for name in vars(each) if not name.startswith("__")}
    return frozenset(own)


def _shows(both: type, alone: type, asks: frozenset[str]) -> bool:
    """Whether some answer of the pair differs from that of one mistake alone."""
    for problem in _problems(_base(both)):
        for quantity in _ASKED:
            if quantity in asks and hasattr(both, quantity):
                left, right = (_answer(each, quantity, problem) for each in (both, alone))
                if not np.any(left) and np.any(right):
                    return False  # together they leave nothing to tell either by
                size = max(float(np.max(np.abs(right), initial=0.0)), 1e-12)
                if float(np.max(np.abs(left - right), initial=0.0)) > SAME * size:
                    return True
    return False


def _answer(subject: type, quantity: str, problem: Any) -> Array:
    step = 0.3 * np.cos(np.arange(problem.theta.size))
    action = 1 if problem.family != "gaussian" else np.ones(problem.action_size)
    args: dict[str, tuple[Any, ...]] = {
        "score": (0, action),
        "log_prob": (0, action),
        "kl": (problem.theta + step,),
        "update": (0.5,),
        "trust_region_proposal": (0.01,),
    }
    try:
        return np.asarray(getattr(subject(), quantity)(problem, *args.get(quantity, ())))
    except np.linalg.LinAlgError:
        return np.zeros(0)


@lru_cache
def _problems(base: type) -> tuple[Any, ...]:
    from npgcheck import problem_sets

    family = "gaussian" if base is ExactGaussian else "softmax"
    chosen = problem_sets.designed(family)
    if base is EpisodeSoftmax:
        chosen = tuple(p for p in chosen if p.paths is not None)
    return chosen[:3]
