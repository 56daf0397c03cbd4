"""What is computed from what, and so what a choice can change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from npgcheck.conformance.atlas.entry import Choice

if TYPE_CHECKING:
    from npgcheck.conformance.diagnosis.pipeline import View


@dataclass(frozen=True)
class Applied:
    """A choice with its number, where it has one."""

    choice: Choice
    number: float | None = None

    @property
    def key(self) -> tuple[str, int, float | None]:
        return self.choice.name, self.choice.form, self.number

    def on(self, part: str, view: View, value: Any) -> Any:
        """The part as this choice leaves it."""
        change = self.choice.change.get(part)
        if change is None:
            return value
        return (
            change(view, value) if self.choice.number is None else change(view, value, self.number)
        )


_POLICY = ("logits", "pi")
_GAUSS = ("mean", "std", "node_z", "node_actions", "mean_jacobian", "std_jacobian", "parts")
_PARENTS: dict[str, tuple[str, ...]] = {
    "discount": (),
    "start": (),
    "rewards": (),
    "transitions": (),
    "logits": (),
    "pi": ("logits",),
    "chain_pi": ("pi",),
    "chain": ("chain_pi", "transitions"),
    "mean": (),
    "std": (),
    "mean_jacobian": (),
    "std_jacobian": (),
    "node_z": (),
    "node_actions": ("mean", "std", "node_z"),
    "parts": (),
    "value": ("chain", "rewards", "discount", "mean", "std"),
    "node_advantage": ("node_actions", "mean", "std"),
    "q_value": ("value", "rewards", "transitions", "discount", "node_advantage"),
    "advantage": ("q_value", "value", "node_advantage"),
    "occupancy": ("chain", "discount", "start"),
    "state_distribution": ("occupancy",),
    "objective": ("value", "start"),
    "weights": ("occupancy", "row_weights", "chain"),
    "row_weights": (),
    "g_weights": ("weights",),
    "f_weights": ("weights",),
    "action_weights": ("pi",),
    "g_action_weights": ("action_weights",),
    "f_action_weights": ("action_weights",),
    "jacobian": (),
    "scores": ("jacobian", *_POLICY, *_GAUSS),
    "g_scores": ("scores",),
    "f_scores": ("scores",),
    "row_actions": (),
    "row_scores": ("scores", "row_actions"),
    "g_row_scores": ("row_scores",),
    "critic": ("advantage", "q_value"),
    "row_critic": (),
    "g": (
        "g_weights", "g_action_weights", "critic", "g_scores",
        "row_critic", "row_weights", "g_row_scores",
    ),
    "F": ("f_weights", "f_action_weights", "f_scores", "row_scores", "row_weights"),
    "log_pi": ("logits",),
    "log_answer": ("log_pi",),
    "log_density": ("mean", "std"),
    "kl_terms": ("log_pi", "pi", "mean", "std"),
    "kl": ("f_weights", "kl_terms"),
    "surrogate": ("g_weights", "critic", "pi", "row_critic", "row_weights"),
    "matrix": ("F",),
    "direction": ("g", "matrix"),
    "length": ("direction", "matrix", "F"),
    "product": ("F",),
    "update": ("direction",),
    "coordinates": (),
    "cg": (),
    "gae": (),
}  # fmt: skip
PARTS = frozenset(_PARENTS)
"""Every part that a choice may change."""


@cache
def ancestors(part: str) -> frozenset[str]:
    """The part and everything that it is computed from."""
    found = {part}
    for parent in _PARENTS[part]:
        found |= ancestors(parent)
    return frozenset(found)


@lru_cache(maxsize=200_000)
def reaching(part: str, applied: tuple[Applied, ...]) -> tuple[Applied, ...]:
    """The choices that can change the part, directly or through what other choices read."""
    parts = set(ancestors(part))
    kept: set[int] = set()
    while True:
        new = [
            i
            for i, a in enumerate(applied)
            if i not in kept and not parts.isdisjoint(a.choice.change)
        ]
        if not new:
            return tuple(a for i, a in enumerate(applied) if i in kept)
        for i in new:
            kept.add(i)
            for read in applied[i].choice.reads:
                parts |= ancestors(read)


def reaches(choice: Choice, part: str, given: frozenset[str] = frozenset()) -> bool:
    """Whether the choice can change the part, where some parts are given as answers."""
    return not above_given(part, given).isdisjoint(choice.change)


@cache
def above_given(part: str, given: frozenset[str]) -> frozenset[str]:
    """The part and what it is computed from, down to the given parts: nothing below those shows.

    A given x is used as it is; a given F or g may still be altered.
    """
    found = {part}
    for parent in _PARENTS[part]:
        if parent not in given:
            found |= above_given(parent, given)
        elif parent != "direction":
            found.add(parent)
    return frozenset(found)
