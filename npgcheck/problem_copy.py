"""The copy of a problem that a subject is handed: writable, watched, compared afterwards.

A subject may scribble on what it receives; its copy keeps the original beside it, so that
:meth:`ProblemCopy.changes` names every array that differs. ``accessed`` records which sources of
information were read (the model itself, the batch, the episodes), because an answer is judged
under the measure that it was computed from. Sizes and γ are no sources.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np

from npgcheck.batches import Batch
from npgcheck.episodes import Episode
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.problem import Problem, arrays_of, fingerprint_of


class Accessed(set[str]):
    """What was read; copies of a problem's copy, however deep, write to the same record."""

    def __deepcopy__(self, memo: Any) -> Accessed:
        return self


class _Assignable:
    """Lets ``problem.theta -= c`` through, which ends by assigning the array that is there."""

    def __setattr__(self, name: str, value: Any) -> None:
        if object.__getattribute__(self, "__dict__").get(name) is not value:
            raise FrozenInstanceError(
                f"cannot assign to field {name!r}; write into the array, or use problem.at(theta)"
            )


class _Watched(_Assignable):
    """An MDP that records the reading of its numbers (not of its sizes, γ or name)."""

    _NUMBERS = frozenset(
        {"transitions", "rewards", "reward_quadratic", "initial_distribution", "terminal_states"}
    )

    def __getattribute__(self, name: str) -> Any:
        if name in _Watched._NUMBERS:
            object.__getattribute__(self, "__dict__")["_accessed"].add("mdp")
        return object.__getattribute__(self, name)


def _raw(mdp: Any, name: str) -> Any:
    return object.__getattribute__(mdp, "__dict__")[name]


class _WatchedMDP(_Watched, MDP):
    @property
    def num_states(self) -> int:
        return int(_raw(self, "rewards").shape[0])

    @property
    def num_actions(self) -> int:
        return int(_raw(self, "rewards").shape[1])


class _WatchedQuadraticMDP(_Watched, QuadraticMDP):
    @property
    def num_states(self) -> int:
        return int(_raw(self, "transitions").shape[0])

    @property
    def action_size(self) -> int:
        return int(_raw(self, "reward_quadratic")[1].shape[1])


def thaw(part: Any) -> Any:
    """A deep, writable copy of an array, a sparse array, an MDP, a batch or an episode."""
    if isinstance(part, np.ndarray) or hasattr(part, "indptr"):
        return part.copy()
    if isinstance(part, tuple):
        return tuple(thaw(item) for item in part)
    if isinstance(part, MDP | QuadraticMDP | Batch | Episode):
        twin = object.__new__(type(part))
        twin.__dict__.update((item.name, thaw(part.__dict__[item.name])) for item in fields(part))
        return twin
    return part


def _watch(mdp: Any, accessed: Accessed) -> Any:
    kind = _WatchedQuadraticMDP if isinstance(mdp, QuadraticMDP) else _WatchedMDP
    twin = object.__new__(kind)
    twin.__dict__.update(thaw(mdp).__dict__)
    twin.__dict__["_accessed"] = accessed
    return twin


class ProblemCopy(_Assignable, Problem):
    """A problem with writable arrays; the attributes are those of :class:`Problem`."""

    @classmethod
    def of(cls, source: Problem, accessed: Accessed | None = None) -> ProblemCopy:
        """A fresh copy of ``source``, which must not be a copy itself."""
        twin = object.__new__(cls)
        twin._fill(source, Accessed() if accessed is None else accessed)
        return twin

    def __post_init__(self) -> None:
        """Reached through ``dataclasses.replace``: the changed fields are validated."""
        values = {item.name: self.__dict__[item.name] for item in fields(Problem) if item.init}
        self._fill(Problem(**values), Accessed())

    def _fill(self, source: Problem, accessed: Accessed) -> None:
        self.__dict__.update(source.__dict__)
        self.__dict__.update(
            mdp=_watch(source.mdp, accessed),
            observations=source.observations.copy(),
            theta=source.theta.copy(),
            _memory={},
            _source=source,
            _accessed=accessed,
        )

    @property
    def source(self) -> Problem:
        """The read-only original."""
        return self.__dict__["_source"]

    @property
    def accessed(self) -> frozenset[str]:
        """Which of "mdp", "batch" and "episodes" were read so far."""
        return frozenset(self.__dict__["_accessed"])

    @property
    def batch(self) -> Batch:
        """Rows of equal weight; ``.exact`` says whether they equal d π P."""
        self.__dict__["_accessed"].add("batch")
        return self.remember("batch", lambda _: thaw(self.source.batch))

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Trajectories of equal weight whose law is exact."""
        episodes = self.source.episodes  # an unsupported request reads nothing
        self.__dict__["_accessed"].add("episodes")
        return self.remember("episodes", lambda _: thaw(episodes))

    def at(self, theta: Any) -> ProblemCopy:
        """The same problem at other parameters, writable and watched likewise."""
        return ProblemCopy.of(self.source.at(theta), self.__dict__["_accessed"])

    def writable_copy(self) -> ProblemCopy:
        """A fresh copy of the original."""
        return ProblemCopy.of(self.source)

    def changes(self) -> tuple[str, ...]:
        """Names of the arrays that no longer hold what was handed out."""
        found: list[str] = []
        for name in ("mdp", "observations", "theta", "batch", "episodes"):
            if name in ("batch", "episodes"):
                mine = self._memory.get(name)
                theirs = None if mine is None else getattr(self.source, name)
            else:
                mine, theirs = self.__dict__[name], getattr(self.source, name)
            if mine is None:
                continue
            before, after = dict(arrays_of(theirs, name)), dict(arrays_of(mine, name))
            found += [
                key
                for key in before | after
                if key not in after or key not in before or not _same(before[key], after[key])
            ]
        return tuple(found)

    def fingerprint(self) -> str:
        """The original's fingerprint for as long as nothing handed out was changed."""
        changed = self.changes()
        if not changed:
            return self.source.fingerprint()
        parts = [self.__dict__[name] for name in ("mdp", "observations", "theta")]
        parts += [self._memory[name] for name in ("batch", "episodes") if name in self._memory]
        return fingerprint_of(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.__dict__.copy(),)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit for bit: −0.0 for 0.0 is a change, and NaN equals itself."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _rebuild(state: dict[str, Any]) -> ProblemCopy:
    twin = object.__new__(ProblemCopy)
    twin.__dict__.update(state)
    return twin
