"""The named choices, as the rest of the verifier looks them up; the entries are in ``atlas``.

``free`` choices are only reported, ``convention`` and ``approximation`` make a verdict deviate
unless they are declared, and ``bug`` fails. Explainers build their candidates from these names and
nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from npgcheck.conformance.atlas import ATLAS, Choice

KIND_COST = {"free": 0.1, "convention": 10.0, "approximation": 20.0, "bug": 100.0}
WEAK_COST = 150.0

CHOICES: MappingProxyType[tuple[str, str], Choice] = MappingProxyType(
    {(c.stage, c.value): c for c in ATLAS.values()}
)
BY_NAME: MappingProxyType[str, Choice] = MappingProxyType(dict(ATLAS))
_NUMERIC = frozenset(
    {
        "damping",
        "damping_in_fisher",
        "cg_iterations",
        "solver_rtol",
        "entropy",
        "gae_lam",
        "gae_discount",
    }
)
#: Of these zero is a value like any other; of the rest it chooses nothing.
_ZERO_CHOOSES = frozenset({"gae_lam", "gae_discount"})


def choice(stage: str, value: Any) -> Choice:
    """Returns the registered choice; numbers all belong to their stage's one entry."""
    return CHOICES[(stage, "" if stage in _NUMERIC else value)]


def cost(choices: dict[str, Any]) -> float:
    """Sum of the kinds' costs over the choices that are not what the contract asks for."""
    total = 0.0
    for stage, value in choices.items():
        if stage.startswith("_"):
            continue  # an index of this package's own, not a choice of the subject
        entry = choice(stage, value)
        nothing = stage in _NUMERIC - _ZERO_CHOOSES and not value
        if not entry.default and not nothing:
            total += KIND_COST[entry.kind] + WEAK_COST * entry.weak
    return total


_LEFT_OUT: ContextVar[frozenset[str]] = ContextVar("left_out", default=frozenset())


@contextmanager
def left_out(names: Collection[str]) -> Iterator[None]:
    """Runs a block as if the registry had no choices of these names.

    A mistake whose entry is left out stands for one that nobody has thought of: it must not be
    given another's name.
    """
    token = _LEFT_OUT.set(frozenset(names))
    try:
        yield
    finally:
        _LEFT_OUT.reset(token)


def known(choices: dict[str, Any]) -> bool:
    """Whether none of the choices is left out; numbers that are zero choose nothing."""
    missing = _LEFT_OUT.get()
    return not missing or not any(
        choice(stage, value).name in missing
        for stage, value in choices.items()
        if not stage.startswith("_") and (isinstance(value, str) or value)
    )


def present() -> tuple[Choice, ...]:
    """The entries of the atlas that are not left out."""
    missing = _LEFT_OUT.get()
    return tuple(c for c in ATLAS.values() if c.name not in missing)
