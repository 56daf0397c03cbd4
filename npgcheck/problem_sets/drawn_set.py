"""Random problems by seed: member i of a seed's sequence never depends on how many are asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from npgcheck.errors import NpgcheckError
from npgcheck.problem import Problem
from npgcheck.problem_sets.build import finish, refusal
from npgcheck.problem_sets.generate import (
    TRANSITIONS,
    Sizes,
    episodic_problem,
    exact_problem,
    ordinary_problem,
)
from npgcheck.streams import Stream

GENERATION = 1
"""Enters every stream: raising it changes every drawn problem."""

SIZES: dict[str, tuple[Sizes, ...]] = {
    "tabular": tuple(
        Sizes(s, a, s)
        for s, a in ((2, 3), (3, 2), (3, 4), (4, 3), (5, 2), (4, 5), (5, 3), (6, 4), (7, 3))
    ),
    "softmax": tuple(
        Sizes(*sizes)
        for sizes in (
            (4, 3, 2), (5, 3, 2), (5, 2, 3), (3, 4, 2), (5, 4, 3), (6, 4, 3), (6, 2, 4),
            (7, 3, 4), (8, 4, 6), (3, 2, 4), (6, 5, 4),
        )
    ),
    "mlp": tuple(
        Sizes(*sizes)
        for sizes in ((4, 3, 2, 5), (3, 4, 2, 4), (5, 2, 3, 4), (5, 3, 2, 6), (5, 4, 3, 5))
    ),
    "gaussian": tuple(
        Sizes(*sizes)
        for sizes in ((4, 2, 3), (5, 2, 3), (5, 3, 2), (4, 1, 2), (6, 3, 4), (7, 2, 5), (3, 2, 4))
    ),
}  # fmt: skip
"""S, A (or m), k and hidden units; all different wherever the family leaves them free."""

EXACT_SIZES = {
    **SIZES,
    "gaussian": tuple(Sizes(*sizes) for sizes in ((4, 2, 3), (3, 2, 4), (4, 1, 2), (5, 1, 3))),
}

EPISODIC_SIZES: dict[str, tuple[Sizes, ...]] = {
    "tabular": (Sizes(4, 3, 4), Sizes(5, 2, 5), Sizes(5, 3, 5)),
    "softmax": (Sizes(4, 3, 2), Sizes(5, 2, 3), Sizes(5, 3, 2), Sizes(6, 2, 3)),
    "mlp": (Sizes(4, 3, 2, 5), Sizes(5, 2, 3, 5)),
}

DISCOUNTS = (0.5, 0.8, 0.9, 0.95)
RATIONAL_DISCOUNTS = tuple(
    Fraction(p, q) for p, q in ((1, 2), (2, 3), (3, 4), (4, 5), (9, 10), (19, 20))
)
SCALES = (0.3, 0.7, 1.0, 1.5, 2.0)
REWARD_SCALES = (1.0, 1.0, 1.0, 2.0**-10, 2.0**6)

PATTERN = (
    "ordinary", "exact", "duplicated", "episodic", "ordinary", "exact", "off_centre", "time limit",
)  # fmt: skip
"""What the members of a sequence are, in turn; Gaussian sequences have exact ones for episodes."""

ATTEMPTS = 400


@dataclass(frozen=True)
class Draw:
    """A sequence of drawn problems.

    Attributes:
        problems: in order.
        redrawn: how many candidates were refused on the way.
        reasons: how often each reason was met.
    """

    problems: tuple[Problem, ...]
    redrawn: int
    reasons: tuple[tuple[str, int], ...]


def draw(family: str, seed: int, count: int) -> Draw:
    """``count`` problems of a family, and what was drawn again on the way."""
    members = [_member(family, seed, index) for index in range(count)]
    reasons: Counter[str] = Counter()
    for _, refused in members:
        reasons.update(refused)
    return Draw(
        tuple(problem for problem, _ in members),
        sum(reasons.values()),
        tuple(sorted(reasons.items())),
    )


@lru_cache(maxsize=1024)
def _member(family: str, seed: int, index: int) -> tuple[Problem, tuple[str, ...]]:
    refused: list[str] = []
    for attempt in range(ATTEMPTS):
        stream = Stream("drawn", GENERATION, family, seed, index, attempt)
        candidate = _candidate(stream, family, index)
        reason = "no design met" if candidate is None else refusal(candidate)
        if reason is None and candidate is not None:
            return finish(candidate), tuple(refused)
        refused.append((reason or "").partition(":")[0])
    raise NpgcheckError(
        f"{ATTEMPTS} candidates for problem {index} of seed {seed} ({family}) were all refused: "
        f"{Counter(refused).most_common(3)}"
    )


def _candidate(stream: Stream, family: str, index: int) -> Problem | None:
    kind = PATTERN[index % len(PATTERN)]
    seed = stream.integer(0, 9999)
    if family == "gaussian" and kind in ("episodic", "time limit"):
        kind = "exact"
    if kind in ("episodic", "time limit"):
        return episodic_problem(
            stream,
            family,
            stream.choice(EPISODIC_SIZES[family]),
            stream.choice(RATIONAL_DISCOUNTS),
            time_limit=3 if kind == "time limit" else 0,
            seed=seed,
        )
    if kind == "exact":
        sizes = stream.choice(EXACT_SIZES[family])
        return exact_problem(stream, family, sizes, stream.choice(RATIONAL_DISCOUNTS), seed=seed)
    # One in five has a γ of its own, between a half and 0.97.
    free = 0.5 + 0.47 * round(float(stream.uniform(1)[0]), 3)
    return ordinary_problem(
        stream,
        family,
        stream.choice(SIZES[family]),
        stream.choice((*DISCOUNTS, free)),
        kind=kind,
        transitions=stream.choice(TRANSITIONS),
        scale=stream.choice(SCALES),
        reward_scale=stream.choice(REWARD_SCALES),
        seed=seed,
    )
