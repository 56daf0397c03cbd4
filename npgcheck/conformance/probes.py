"""What is asked of a subject: the calls made for one quantity on one problem.

The arguments are part of the problem: they come from its own seeded generator, so that the same
problem asks the same questions in every run.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.contract import QUANTITIES

Array = np.ndarray

STEP_SIZES = (0.125, 1.0)
MAX_KLS = (0.0078125, 0.0625)
#: ``(iterations, step_size)`` of a training run; a problem has one of them, chosen by its own
#: generator: two on each would double the time of the longest call.
TRAININGS = ((3, 0.25), (2, 0.5))
#: Log-probabilities and scores are asked for at most this many (state, action) pairs.
MAX_PAIRS = 12


@dataclass(frozen=True)
class Probe:
    """One call: ``quantity(problem, *args)``, whose right answer has shape ``shape``.

    Attributes:
        quantity: a name of the contract.
        problem: the problem, or None for the pure functions.
        args: the remaining positional arguments.
        shape: shape of a right answer.
        label: what is special about the arguments, for the report.
        position: index of the problem in the run, counted from 0.
    """

    quantity: str
    problem: Any
    args: tuple[Any, ...]
    shape: tuple[int, ...]
    label: str = ""
    position: int = 0


def probes(quantity: str, problem: Any, position: int = 0) -> list[Probe]:
    """Returns the calls that judge ``quantity`` on ``problem``, plainest first."""
    rng = np.random.default_rng(zlib.crc32(f"{problem.id}/{quantity}".encode()))
    shape_for = QUANTITIES[quantity].shape_for
    size = len(problem.theta)

    def probe(*args: Any, label: str = "") -> Probe:
        return Probe(quantity, problem, args, shape_for(problem, *args), label, position)

    if quantity in ("log_prob", "score"):
        return [probe(state, action) for state, action in _pairs(problem, rng)]
    if quantity == "fisher_vector_product":
        ramp = np.arange(1.0, size + 1.0) / size
        return [
            probe(ramp, label="a ramp"),
            probe(rng.standard_normal(size), label="a random vector"),
            probe(_unit(size, int(rng.integers(size))), label="a basis vector"),
        ]
    if quantity in ("kl", "surrogate"):
        step = rng.standard_normal(size)
        return [
            probe(problem.theta + 0.5 * step, label="a step of size 1/2"),
            probe(problem.theta + 1e-2 * step, label="a small step"),
            probe(problem.theta - 0.5 * step, label="the opposite step"),
            probe(problem.theta.copy(), label="θ itself"),
        ]
    if quantity == "update":
        return [probe(size_, label=f"step_size {size_:g}") for size_ in STEP_SIZES]
    if quantity in ("trust_region_proposal", "trust_region_step"):
        return [probe(delta, label=f"max_kl {delta:g}") for delta in MAX_KLS]
    if quantity == "train":
        return [probe(*TRAININGS[int(rng.integers(len(TRAININGS)))])]
    return [probe()]


def _pairs(problem: Any, rng: np.random.Generator) -> list[tuple[int, Any]]:
    """All actions of one state first (for E[score] = 0), then random pairs."""
    states = problem.num_states
    if hasattr(problem.mdp, "rewards"):
        actions = problem.num_actions
        first = int(rng.integers(states))
        pairs: list[tuple[int, Any]] = [(first, a) for a in range(actions)]
        rest = [(s, a) for s in range(states) for a in range(actions) if s != first]
        keep = max(0, MAX_PAIRS - len(pairs))
        chosen = rng.permutation(len(rest))[:keep]
        return pairs + [rest[i] for i in chosen]
    mean, log_std = problem.policy.mean_log_std(problem.theta, problem.observations)
    found: list[tuple[int, Any]] = []
    for _ in range(6):
        state = int(rng.integers(states))
        # Dyadic multiples of σ: large enough to tell z² from z, on both sides of the mean.
        z = rng.integers(-8, 9, size=mean.shape[1]) / 4.0
        found.append((state, mean[state] + np.exp(log_std[state]) * z))
    return found


def _unit(size: int, index: int) -> Array:
    vector = np.zeros(size)
    vector[index] = 1.0
    return vector
