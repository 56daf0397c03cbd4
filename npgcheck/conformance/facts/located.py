"""Which kind of answers is right and which is wrong: one feature that separates them, with counts.

A feature is stated when all answers on one side of it are right, or all wrong, and a chance
arrangement of as many right and wrong answers would hardly ever look so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from npgcheck.conformance.facts.seen import Seen

#: How often chance alone may produce such a separation, all features taken together.
CHANCE = 0.01


@dataclass(frozen=True)
class Split:
    """All answers under a condition are right, or all wrong; the others are mixed or opposite.

    Attributes:
        condition: in words.
        right: whether those under the condition are right.
        inside: how many there are.
        opposite: how many of the others are the opposite.
        outside: how many others there are.
    """

    condition: str
    right: bool
    inside: int
    opposite: int
    outside: int

    @property
    def exact(self) -> bool:
        """Whether the condition decides every answer."""
        return self.opposite == self.outside

    def text(self, noun: str = "answers") -> str:
        """The sentence of the report."""
        words = ("right", "wrong") if self.right else ("wrong", "right")
        if self.inside == 1:
            head = f"{words[0]} in the one {noun.removesuffix('s')} {self.condition}"
        else:
            head = f"{words[0]} in all {self.inside} {noun} {self.condition}"
        if self.exact:
            return f"{head}, {words[1]} in all {self.outside} others"
        return f"{head}, {words[1]} in {self.opposite} of the {self.outside} others"


def located(seen: Sequence[Seen]) -> str:
    """The sharpest separation of right and wrong answers, or ""."""
    if all(s.exact.size == 1 for s in seen):  # a zero may be right by itself
        seen = [s for s in seen if s.wrong or s.size > 0.0]
    wrong = np.array([s.wrong for s in seen], dtype=bool)
    if wrong.all() or not wrong.any():
        return ""
    conditions = [
        *_labels([_labels_of(s) for s in seen]),
        *_thresholds({n: [read(s) for s in seen] for n, read in FEATURES.items()}, wrong),
    ]
    conditions = [c for c in conditions if c[0] != _NOTHING_ASKED]
    places = [s.record.probe.position for s in seen]
    found = best(conditions, wrong, np.unique(places, return_inverse=True)[1])
    return found.text() if found else ""


#: An exact answer of zero is right under many a mistake: that says nothing.
_NOTHING_ASKED = "with the largest entry of the exact answer = 0"
Condition = tuple[str, np.ndarray]


def best(
    conditions: Sequence[Condition], wrong: np.ndarray, problems: np.ndarray | None = None
) -> Split | None:
    """The condition that decides most, if it is no accident.

    Args:
        conditions: a text, and whether it holds of each answer.
        wrong: whether each answer is wrong.
        problems: an index for each answer; those of one problem are right or wrong together, and
            count once where the condition is one of problems.
    """
    total, bad = len(wrong), int(wrong.sum())
    found: list[tuple[tuple[Any, ...], Split]] = []
    for place, (text, inside) in enumerate(conditions):
        count = int(inside.sum())
        if not 0 < count < total:
            continue
        wrong_inside = int(wrong[inside].sum())
        if wrong_inside not in (0, count):
            continue
        right = wrong_inside == 0
        opposite = bad if right else total - bad
        accident = _accident(inside, wrong != right, problems)
        if accident * len(conditions) > CHANCE:
            continue
        split = Split(text, right, count, opposite, total - count)
        found.append(((not split.exact, place if split.exact else accident, place), split))
    return min(found, key=lambda f: f[0], default=((), None))[1]


def _accident(inside: np.ndarray, alike: np.ndarray, problems: np.ndarray | None) -> float:
    """How likely chance makes all answers inside alike, given how many are ``alike``."""
    if problems is not None:
        first = np.array([inside[problems == p][0] for p in range(problems.max() + 1)])
        if (inside == first[problems]).all():
            alike = np.array([alike[problems == p].all() for p in range(len(first))])
            inside = first
    return comb(int(alike.sum()), int(inside.sum())) / comb(len(inside), int(inside.sum()))


def _labels_of(s: Seen) -> list[str]:
    """Properties of a question that have a name."""
    problem = s.problem
    found = [_FAMILY[problem.family]] if problem.family in _FAMILY else []
    if "batch" in s.record.answer.accessed:
        found.append(f"on {problem.batch_kind.replace('_', '-')} batches")
    if s.record.probe.label and s.record.probe.label != "plain" and s.quantity != "train":
        found.append(f"at {s.record.probe.label}")
    if problem.family in ("tabular", "softmax", "mlp"):
        if np.asarray(problem.mdp.terminal_states).any():
            found.append("with terminal states")
        if not np.asarray(problem.theta).any():
            found.append("with θ = 0")
    return found


_FAMILY = {
    "tabular": "on tabular problems",
    "softmax": "with shared features",
    "gaussian": "of Gaussian policies",
    "mlp": "of small networks",
}


def _labels(names: Sequence[Sequence[str]]) -> Iterator[Condition]:
    for label in dict.fromkeys(name for found in names for name in found):
        yield label, np.array([label in found for found in names])


def _thresholds(columns: dict[str, list[float | None]], wrong: np.ndarray) -> Iterator[Condition]:
    """Of every feature the two bounds beyond which all answers are alike."""
    for name, column in columns.items():
        if any(v is None or not np.isfinite(v) for v in column):
            continue
        # What differs by rounding is the same number.
        yield from split_at(name, np.array([float(f"{v:.10g}") for v in column]), wrong)


def split_at(name: str, values: np.ndarray, wrong: np.ndarray) -> Iterator[Condition]:
    """The largest pure set of small values, and of large ones."""
    order = np.unique(values)
    if len(order) < 2:
        return
    for ordered, sign, word in ((order, 1, "≤"), (order[::-1], -1, "≥")):
        kinds = [set(wrong[values == v]) for v in ordered]
        end = 0
        while end < len(kinds) - 1 and kinds[end] == kinds[0] and len(kinds[0]) == 1:
            end += 1
        if not end:
            continue
        inside = values * sign <= ordered[end - 1] * sign
        if end == 1 and _plain(ordered[0]):
            yield f"with {name} = {ordered[0]:g}", inside
        else:
            yield f"with {name} {word} {between(ordered[end - 1], ordered[end])}", inside


def _plain(number: float) -> bool:
    return float(f"{number:.3g}") == number


def between(last: float, following: float) -> str:
    """The shortest number that still divides the two; ``last`` is on its own side of it."""
    for digits in range(1, 17):
        for value in (last, last + (following - last) / 2):
            text = f"{value:.{digits}g}"
            number = float(text)
            if (last <= number < following) if last < following else (following < number <= last):
                return text
    return repr(float(last))


# ---- features -------------------------------------------------------------------------------

Read = Callable[[Seen], float | None]


def _mdp(read: Callable[[Any], Any]) -> Read:
    """A number of the problem; pure functions have none."""
    return lambda s: None if s.problem.family == "pure" else float(read(s.problem))


def _discrete(read: Callable[[Seen], Any]) -> Read:
    return lambda s: (
        float(read(s))
        if getattr(s.reference, "evaluation", None) and (s.reference.discrete)
        else None
    )


def _sigma(s: Seen) -> float | None:
    if s.problem.family != "gaussian":
        return None
    _, log_std = s.reference.policy.mean_log_std(s.reference.theta, s.problem.observations)
    return float(np.exp(log_std).min())


def _pair(read: Callable[[Seen, int, int], float]) -> Read:
    """Of a state and an action that were asked for."""

    def found(s: Seen) -> float | None:
        if s.quantity not in ("log_prob", "score") or not s.reference.discrete:
            return None
        return float(read(s, int(s.args[0]), int(s.args[1])))

    return found


def _rank_gap(s: Seen) -> float | None:
    if s.problem.family == "pure" or s.fisher is None:
        return None
    values = np.linalg.eigvalsh(s.fisher)
    return float((values <= 1e-9 * max(values[-1], 1e-300)).sum())


def _cg(read: Callable[[Seen], float]) -> Read:
    return lambda s: float(read(s)) if s.quantity == "conjugate_gradient" else None


FEATURES: dict[str, Read] = {
    "γ": lambda s: float(s.problem.discount) if s.quantity != "conjugate_gradient" else None,
    "S": _mdp(lambda p: p.num_states),
    "A": lambda s: None if s.problem.family in ("gaussian", "pure") else s.problem.num_actions,
    "m": lambda s: s.problem.action_size if s.problem.family == "gaussian" else None,
    "D": _mdp(lambda p: len(p.theta)),
    "iteration": lambda s: float(s.turn) if s.quantity == "train" else None,
    "k": _cg(lambda s: s.args[2]),
    "n": _cg(lambda s: len(s.args[1])),
    "k − n": _cg(lambda s: s.args[2] - len(s.args[1])),
    "the state": _pair(lambda s, state, action: state),
    "the action": _pair(lambda s, state, action: action),
    "π(a|s)": _pair(lambda s, state, action: s.reference.probabilities[state, action]),
    "the smallest σ": _sigma,
    "the smallest V": lambda s: (
        None if s.problem.family == "pure" else float(np.min(s.reference.evaluation.value))
    ),
    "the largest V": lambda s: (
        None if s.problem.family == "pure" else float(np.max(s.reference.evaluation.value))
    ),
    "the smallest d(s)": lambda s: (
        None
        if s.problem.family == "pure"
        else round(float(np.min(s.reference.evaluation.state_distribution)), 12)
    ),
    "the largest d(s)": lambda s: (
        None
        if s.problem.family == "pure"
        else float(np.max(s.reference.evaluation.state_distribution))
    ),
    "the largest start probability": _mdp(lambda p: np.max(p.mdp.initial_distribution)),
    "ρ of the first state": _mdp(lambda p: p.mdp.initial_distribution[0]),
    "the smallest π": _discrete(lambda s: s.reference.probabilities.min()),
    "the largest reward": _discrete(lambda s: s.problem.mdp.rewards.max()),
    "the smallest reward": _discrete(lambda s: s.problem.mdp.rewards.min()),
    "the largest |θ|": _mdp(lambda p: np.max(np.abs(p.theta))),
    "dimensions of θ that no policy shows": _rank_gap,
    "the largest entry of the exact answer": lambda s: s.size,
}
"""Numbers by which right answers may differ from wrong ones, the plainest first."""


def conditions_of_rows(
    labels: Iterable[tuple[str, np.ndarray]],
) -> list[Condition]:
    """Conditions on the rows of rollouts, for :func:`best`."""
    return [(text, np.asarray(mask, dtype=bool)) for text, mask in labels]
