"""Problems for the two pure functions: linear systems and streams of rewards."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.wording import plural
from npgcheck.streams import Stream

Array = np.ndarray

DISCOUNTS = (0.5, 0.9, 0.99)
LAMBDAS = (0.0, 0.5, 0.95, 1.0)


@dataclass(frozen=True, eq=False)
class PureProblem:
    """Arguments of a pure function, with the attributes that a report needs.

    Attributes:
        id: "p-" and six hexadecimal digits of the arguments.
        text: the problem in words.
        args: what the subject is called with.
        group: ``"plain"``, or the name of the edge that it tests.
    """

    id: str
    text: str
    args: tuple[Any, ...]
    group: str = "plain"
    family: str = "pure"
    batch_kind: str = "none"
    discount: float = 0.9
    theta: Array = field(default_factory=lambda: np.zeros(0))

    def build_reference(self) -> PureReference:
        """What stands where a policy problem's reference stands."""
        return PureReference(self)

    def describe(self) -> str:
        """The problem in words."""
        return self.text

    def to_json(self) -> dict[str, Any]:
        """The arguments as plain data."""
        return {"arguments": [a.tolist() if isinstance(a, np.ndarray) else a for a in self.args]}


class PureReference:
    """Stands where a policy problem's reference stands: only conditioning is asked of it."""

    discrete = True

    def __init__(self, problem: PureProblem) -> None:
        self.problem = problem

    @cached_property
    def scales(self) -> tolerance.Scales:
        """The arguments are exact: no chain, no logits."""
        return tolerance.Scales(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def linear_systems(seed: int, count: int) -> list[PureProblem]:
    """Symmetric positive definite systems of 2 to 9 unknowns with known spectra.

    Eigenvalues are distinct, the condition number is 8 (iterates of a worse conditioned system
    depend on rounding, in single precision by more than some mistakes); iterations run from 1 to
    beyond the size. The edges: a zero right side, a singular consistent system, and right sides
    scaled by 2⁻⁴⁰, on which absolute tolerances stop too early.
    """
    found = []
    for i in range(count):
        stream = Stream("linear-system", seed, i)
        size = 2 + i % 8
        matrix, vector = _system(stream, size, singular=False)
        iterations = (size, 1, size + 3, 2, max(1, size // 2))[i % 5]
        found.append(_linear(matrix, vector, iterations, "plain", f"{size} unknowns"))
    for i in range(4):
        stream = Stream("linear-edge", seed, i)
        size = 3 + i
        matrix, vector = _system(stream, size, singular=False)
        tiny, flat = 2.0**-40 * vector, np.zeros(size)
        found.append(_linear(matrix, tiny, size, "small right side", "b of size 1e-12"))
        found.append(_linear(matrix, flat, size, "zero right side", "b = 0"))
        matrix, vector = _system(stream, size, singular=True)
        found.append(_linear(matrix, vector, size, "singular", "singular, b in the range"))
    return found


def _system(stream: Stream, size: int, singular: bool) -> tuple[Array, Array]:
    basis, _ = np.linalg.qr(stream.bell(size * size).reshape(size, size))
    spectrum = np.geomspace(1.0, 8.0, size)
    if singular:
        spectrum[0] = 0.0
    matrix = (basis * spectrum) @ basis.T
    matrix = 0.5 * (matrix + matrix.T)
    vector = stream.bell(size)
    return matrix, matrix @ vector if singular else vector + np.sign(vector)


def _linear(matrix: Array, vector: Array, iterations: int, group: str, text: str) -> PureProblem:
    digest = hashlib.blake2b(
        matrix.tobytes() + vector.tobytes() + bytes([iterations]), digest_size=3
    ).hexdigest()
    words = f"symmetric system, {text}, {iterations} iterations"
    return PureProblem(f"p-{digest}", words, (matrix, vector, iterations), group)


def reward_streams(seed: int, count: int) -> list[PureProblem]:
    """Contiguous rollouts of 1 to 12 steps that hold several episodes.

    ``next_values`` is the value of the state after each step: of the next row's state inside an
    episode, of the cut-off state after a truncation. After a termination it is a number that
    must be ignored. Some rollouts end in the middle of an episode.
    """
    found = []
    for i in range(count):
        stream = Stream("reward-stream", seed, i)
        length = 1 + (i * 5) % 12
        rewards, values = stream.bell(length), stream.bell(length)
        after = stream.bell(length)
        terminated = np.array([u < 0.2 for u in stream.uniform(length)])
        truncated = np.array([u < 0.25 for u in stream.uniform(length)]) & ~terminated
        if i % 3 == 0:
            terminated[-1] = not truncated[-1]
        for t in range(length - 1):
            if not (terminated[t] or truncated[t]):
                after[t] = values[t + 1]
        discount, lam = DISCOUNTS[i % len(DISCOUNTS)], LAMBDAS[(i // 3) % len(LAMBDAS)]
        args = (rewards, values, after, terminated, truncated, discount, lam)
        digest = hashlib.blake2b(
            b"".join(np.asarray(a).tobytes() for a in args), digest_size=3
        ).hexdigest()
        ends = int((terminated | truncated).sum())
        words = (
            f"{plural(length, 'step')}, {plural(ends, 'episode end')} "
            f"({int(truncated.sum())} by time limit), "
            f"γ = {discount:g}, λ = {lam:g}"
        )
        found.append(PureProblem(f"p-{digest}", words, args, discount=discount))
    return found
