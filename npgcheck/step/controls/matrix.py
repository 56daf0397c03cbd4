"""The kill matrix of ``check_step``: what was planted, where, and what was said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from npgcheck.step.controls import campaign
from npgcheck.step.controls.campaign import Outcome

#: Right steps that are drawn for each seed.
RIGHT_PER_SEED = 100


@dataclass(frozen=True)
class Row:
    """One planted mistake over all networks.

    Attributes:
        name: the mistake.
        quantity: where it was planted.
        expected: the name it should get, "" if it has none.
        planted, caught, named: how often; ``named`` counts a right name, or none where none exists.
    """

    name: str
    quantity: str
    expected: str
    planted: int
    caught: int
    named: int


@dataclass(frozen=True)
class Matrix:
    """What one campaign found.

    Attributes:
        rows: one per mistake.
        survivors: (mistake, where) of every planted mistake that was not caught.
        misnamed: (mistake, where, what was said).
        right: right steps judged.
        alarms: (seed, where) of right steps that were accused.
        skipped: right steps of which some part was not judged.
    """

    rows: tuple[Row, ...]
    survivors: tuple[tuple[str, str], ...]
    misnamed: tuple[tuple[str, str, tuple[str, ...]], ...]
    right: int
    alarms: tuple[tuple[str, str], ...]
    skipped: int

    @property
    def passed(self) -> bool:
        """Everything planted was caught, nothing was misnamed, nothing right was accused."""
        return not (self.survivors or self.misnamed or self.alarms)

    def __str__(self) -> str:
        lines = ["mistake                                        planted  caught   named   as"]
        for r in self.rows:
            what = r.expected or "(told by facts)"
            lines.append(f"{r.name:<46} {r.planted:>7} {r.caught:>7} {r.named:>7}   {what}")
        lines += [f"SURVIVED: {name} on {where}" for name, where in self.survivors]
        lines += [f"MISNAMED: {n} on {w}: {', '.join(s) or '-'}" for n, w, s in self.misnamed]
        lines += [f"ACCUSED: {name}, {where}" for name, where in self.alarms]
        planted = sum(r.planted for r in self.rows)
        caught, named = (sum(getattr(r, k) for r in self.rows) for k in ("caught", "named"))
        lines.append(
            f"\n{caught} of {planted} planted mistakes caught, {named} named rightly; "
            f"{len(self.alarms)} of {self.right} right steps accused, "
            f"{self.skipped} judged in part."
        )
        return "\n".join(lines)


def run(seeds: Iterable[int], progress: Callable[[str], None] | None = None) -> Matrix:
    """Plants every mistake on every network for each seed, and draws right steps beside them."""
    planted: list[Outcome] = []
    right: list[Outcome] = []
    tell = progress or (lambda line: None)
    for seed in seeds:
        for outcome in campaign.wrong(seed):
            tell(f"seed {seed}: {outcome.name}")
            planted.append(outcome)
        first = RIGHT_PER_SEED * seed
        for outcome in campaign.right(range(first, first + RIGHT_PER_SEED)):
            tell(f"seed {seed}: right steps")
            right.append(outcome)
    grouped: dict[str, list[Outcome]] = {}
    for outcome in planted:
        grouped.setdefault(outcome.name, []).append(outcome)
    rows = tuple(
        Row(
            name,
            found[0].quantity,
            found[0].expected,
            len(found),
            sum(o.caught for o in found),
            sum(o.named_rightly for o in found),
        )
        for name, found in grouped.items()
    )
    return Matrix(
        rows=rows,
        survivors=tuple((o.name, o.where) for o in planted if not o.caught),
        misnamed=tuple(
            (o.name, o.where, o.said) for o in planted if o.caught and not o.named_rightly
        ),
        right=len(right),
        alarms=tuple((o.name, o.where) for o in right if o.caught),
        skipped=sum(any(r.status == "skip" for r in o.report.results) for o in right),
    )


def to_json(matrix: Matrix) -> dict[str, Any]:
    """The matrix as plain data."""
    from dataclasses import asdict

    return {**asdict(matrix), "passed": matrix.passed}
