"""One question with a known answer: an MDP, a policy family and parameters.

A :class:`Problem` is what a subject receives. Its arrays are read-only; a subject is handed
:meth:`Problem.writable_copy`, on which it may scribble, and :meth:`Problem.fingerprint` tells
whether it did. Batches and episodes are built on first use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from npgcheck.batches import KINDS, Batch, build_batch
from npgcheck.designs import Design
from npgcheck.episodes import Episode, Path, build_episodes
from npgcheck.errors import InvalidArgument, Unsupported, nearest
from npgcheck.mdp import MDP, QuadraticMDP

if TYPE_CHECKING:
    from npgcheck.problem_copy import ProblemCopy

Array = np.ndarray
T = TypeVar("T")

FAMILIES = ("tabular", "softmax", "gaussian", "mlp", "own")
"""The policy families; "own" is a policy that a subject brings."""


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """An MDP, a policy and its parameters.

    Attributes:
        mdp: the :class:`~npgcheck.mdp.MDP`, or the ``QuadraticMDP`` of a Gaussian problem.
        policy: the policy object; its functions take θ and observations.
        observations: (S, k) float64, what the policy sees in each state; identity is tabular.
        theta: (D,) float64, the policy's parameters.
        family: "tabular", "softmax", "gaussian", "mlp" or "own".
        id: "p-" and six hexadecimal digits, a function of the problem's specification.
        name: what makes it special, for edge cases; else empty.
        batch_kind: which rows ``batch`` holds, see :mod:`npgcheck.batches`.
        batch_seed: selects the drawn rows, and the order of designed ones.
        design: the exact rows, where the MDP was designed to have them.
        paths: the exact law of its trajectories, where it has one.
    """

    mdp: Any
    policy: Any
    observations: Array
    theta: Array
    family: str
    id: str = ""
    name: str = ""
    batch_kind: str = "ordinary"
    batch_seed: int = 0
    design: Design | None = None
    paths: tuple[Path, ...] | None = None
    _memory: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Copies and freezes the arrays; sizes that do not fit are typed errors."""
        for name in ("observations", "theta"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(array).all():
                raise InvalidArgument(f"{name} has entries that are not finite")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        _choice("family", self.family, FAMILIES)
        _choice("batch_kind", self.batch_kind, KINDS)
        self._check_sizes()
        if self.batch_kind == "exact" and self.design is None:
            raise InvalidArgument(
                "batch_kind 'exact' needs a design: rows whose histogram is d π P"
            )

    def _check_sizes(self) -> None:
        policy, size = self.policy, self.mdp.num_states
        if self.is_gaussian:
            actions = ("action_size", self.mdp.action_size, policy.action_size)
        else:
            actions = ("num_actions", self.mdp.num_actions, policy.num_actions)
        if actions[1] != actions[2]:
            raise InvalidArgument(
                f"the MDP's {actions[0]} is {actions[1]}, the policy's {actions[2]}"
            )
        wanted = {
            "observations": (size, policy.observation_size),
            "theta": (policy.num_parameters,),
        }
        for name, shape in wanted.items():
            got = getattr(self, name).shape
            if got != shape:
                raise InvalidArgument(f"{name} must have shape {shape}, got {got}")
        if self.family == "tabular" and not np.array_equal(self.observations, np.eye(size)):
            raise InvalidArgument("a tabular problem observes the state: identity rows")

    @property
    def is_gaussian(self) -> bool:
        """Whether actions are real vectors."""
        return isinstance(self.mdp, QuadraticMDP)

    @property
    def num_states(self) -> int:
        """S."""
        return int(self.mdp.num_states)

    @property
    def num_actions(self) -> int:
        """A; a Gaussian problem has ``action_size`` instead."""
        if self.is_gaussian:
            raise AttributeError("a Gaussian problem has action_size, not num_actions")
        return int(self.mdp.num_actions)

    @property
    def action_size(self) -> int:
        """m, the action dimensions of a Gaussian problem; others have ``num_actions``."""
        if not self.is_gaussian:
            raise AttributeError("a problem with finitely many actions has num_actions")
        return int(self.mdp.action_size)

    @property
    def observation_size(self) -> int:
        """k."""
        return int(self.observations.shape[1])

    @property
    def discount(self) -> float:
        """γ."""
        return float(self.mdp.discount)

    def at(self, theta: Any) -> Problem:
        """The same problem at other parameters.

        The designed rows and episodes belong to one policy: elsewhere the batch is an ordinary
        one and ``episodes`` is unsupported. The draws behind an ordinary batch stay the same, so
        that a change of θ by rounding does not change its rows.
        """
        theta = np.array(theta, dtype=np.float64)
        if theta.shape == self.theta.shape and np.array_equal(theta, self.theta):
            return self
        mark = hashlib.blake2b(theta.tobytes(), digest_size=3).hexdigest()
        return Problem(
            self.mdp,
            self.policy,
            self.observations,
            theta,
            self.family,
            id=f"{self.id.partition('@')[0]}@{mark}" if self.id else "",
            name=self.name,
            batch_kind="ordinary" if self.batch_kind == "exact" else self.batch_kind,
            batch_seed=self.batch_seed,
        )

    @property
    def batch(self) -> Batch:
        """Rows of equal weight; ``.exact`` says whether they equal d π P."""
        return self.remember("batch", build_batch)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Trajectories of equal weight whose law is exact.

        Raises:
            Unsupported: this problem has no finite list of trajectories.
        """
        if self.paths is None:
            raise Unsupported(_why_no_episodes(self))
        return self.remember("episodes", build_episodes)

    def remember(self, key: str, build: Callable[[Any], T]) -> T:
        """``build(self)``, computed once."""
        if key not in self._memory:
            self._memory[key] = build(self)
        return self._memory[key]

    def writable_copy(self) -> ProblemCopy:
        """A copy for a subject: writable arrays, and a record of what it read."""
        from npgcheck.problem_copy import ProblemCopy

        return ProblemCopy.of(self)

    def fingerprint(self) -> str:
        """Hash of every number that a subject was handed; it changes when one of them does."""
        parts = [self.mdp, self.observations, self.theta]
        return fingerprint_of(parts)

    def describe(self) -> str:
        """The problem in words: "2 states, 3 actions, γ = 1/2, uniform policy"."""
        from npgcheck.problem_text import describe

        return describe(self)

    def to_json(self) -> dict[str, Any]:
        """Plain data that :meth:`from_json` turns back into the same float64 numbers."""
        from npgcheck.problem_text import to_json

        return to_json(self)

    @staticmethod
    def from_json(data: Any) -> Problem:
        """The problem that :meth:`to_json` wrote, from its dictionary or its text."""
        from npgcheck.problem_text import from_json

        return from_json(data)

    def __repr__(self) -> str:
        return f"<Problem {self.id or '(no id)'}: {self.describe()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, tuple(self.__dict__[item.name] for item in fields(Problem) if item.init)


def _restore(mdp: Any, *rest: Any) -> Problem:
    """Unpickling gives writable arrays; a problem's are read-only."""
    for _, array in arrays_of(mdp):
        array.flags.writeable = False
    return Problem(mdp, *rest)


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidArgument(
            f"{name} must be one of {', '.join(known)}, got {value!r}.{nearest(str(value), known)}"
        )


def _why_no_episodes(problem: Problem) -> str:
    if problem.is_gaussian:
        return "a Gaussian policy has no finite list of trajectories"
    if "@" in problem.id:
        return "exact episodes exist at the designed parameters only"
    return "this problem has no exact episodes: its trajectories do not end within a few steps"


def arrays_of(part: Any, name: str = "") -> Iterator[tuple[str, Array]]:
    """Every array inside an MDP, a batch, an episode or a tuple of them, with its name."""
    if isinstance(part, np.ndarray):
        yield name, part
    elif hasattr(part, "indptr"):
        for attribute in ("data", "indices", "indptr"):
            yield f"{name}.{attribute}", getattr(part, attribute)
    elif isinstance(part, tuple):
        for index, entry in enumerate(part):
            yield from arrays_of(entry, f"{name}[{index}]")
    elif isinstance(part, MDP | QuadraticMDP | Batch | Episode):
        # Read past any record of access that a subject's copy keeps.
        values = object.__getattribute__(part, "__dict__")
        kind: Any = type(part)
        for item in _field_names(kind):
            yield from arrays_of(values[item], f"{name}.{item}" if name else item)


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    """Names of a dataclass's fields: asked for at every guarded call."""
    return tuple(item.name for item in fields(kind))


def fingerprint_of(parts: list[Any]) -> str:
    """Hash of names, shapes, dtypes and bytes of every array in the parts."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        for name, array in arrays_of(part):
            state.update(f"{name}{array.shape}{array.dtype.str}".encode())
            state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def simple_fraction(value: float) -> Fraction | None:
    """The fraction with denominator up to 20 that rounds to ``value``, if there is one."""
    fraction = Fraction(value).limit_denominator(20)
    return fraction if float(fraction) == value else None
