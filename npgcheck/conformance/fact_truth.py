"""Exact answers from the plain pipelines, and a subject's answers beside them.

What is free is enumerated: averages over the MDP, a batch or episodes, F with or without 1/(1−γ),
g as ∇J or (1−γ)∇J, KL in either direction, the surrogate's constant. Each combination is one
*reading*; a statement about a subject has to hold under one of them, over all problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from npgcheck import problem_sets
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.controls import Control
from npgcheck.conformance.controls._exact import Array, ExactSoftmax
from npgcheck.conformance.controls._gaussian import ExactGaussian
from npgcheck.conformance.controls._network import ExactNetwork
from npgcheck.conformance.controls._rows import BatchSoftmax, EpisodeSoftmax
from npgcheck.conformance.controls.right_gaussian import GaussianBatch
from npgcheck.conformance.controls.right_rows import GaeAsAMatrix
from npgcheck.conformance.controls.wrong_weighting import UndiscountedWeighting
from npgcheck.conformance.guard import LocalCaller
from npgcheck.conformance.probes import Probe, probes
from npgcheck.conformance.pure_problems import linear_systems, reward_streams
from npgcheck.conformance.subject import load
from npgcheck.errors import Unsupported

#: No run with a usual seed asks these.
SEED = 7919
DRAWN = 6
EVERY = 3
POINTS = ("update", "train", "trust_region_proposal", "trust_region_step")
#: Relations hold to rounding or not at all; conditioning leaves ten digits of sixteen.
CLOSE = 1e-6

_SOFTMAX: dict[str, Any] = {
    "mdp": ExactSoftmax,
    "batch": BatchSoftmax,
    "episodes": EpisodeSoftmax,
    "visits": UndiscountedWeighting,
}
_PIPELINES: dict[str, dict[str, Any]] = {
    "tabular": _SOFTMAX,
    "softmax": _SOFTMAX,
    "gaussian": {"mdp": ExactGaussian, "batch": GaussianBatch},
    "mlp": {"mdp": ExactNetwork},
}


@dataclass(frozen=True)
class Case:
    """One answer beside the exact one, under one reading of what is free.

    Attributes:
        problem: the problem asked.
        label: what is special about the arguments (``step_size 1``, ``θ itself`` …).
        args: the arguments after the problem.
        yours: the subject's answer; a displacement where the answer is a point.
        exact: the exact answer, likewise; of a line search the whole proposal.
        metric: the Fisher matrix, modulo whose kernel a direction is meant; else None.
        pipeline: the right pipeline that ``exact`` comes from, or None.
    """

    problem: Any
    label: str
    args: tuple[Any, ...]
    yours: Array
    exact: Array
    metric: Array | None = None
    pipeline: Any = None

    def distance(self, wanted: Array) -> float:
        """The largest error relative to ``wanted``, modulo what the policy cannot show."""
        left, right = self.yours, np.asarray(wanted)
        if np.shape(left) != np.shape(right):
            return float("inf")
        if self.metric is not None:
            left, right = self.metric @ left, self.metric @ right
        error = float(np.max(np.abs(left - right), initial=0.0))
        # Sums of a few terms of size one leave this much of an exact zero.
        return 0.0 if error <= 1e-13 else error / max(float(np.max(np.abs(right))), 1e-12)

    @property
    def right(self) -> bool:
        """Whether the answer is the exact one."""
        return self.distance(self.exact) <= CLOSE

    @property
    def pair(self) -> tuple[Array, Array]:
        """The subject's answer and the exact one as the policy can show them."""
        if self.metric is None:
            return self.yours, self.exact
        return self.metric @ self.yours, self.metric @ self.exact


def readings(control: Control, quantity: str) -> list[list[Case]]:
    """The subject's answers on other problems, once for each reading of what is free."""
    subject = load(control.build())
    if subject.families == {"own"}:
        return []
    caller = LocalCaller(subject)
    undiscounted = "missing-gamma-t" in control.label.every
    found: dict[tuple[str, str], list[Case]] = {}
    try:
        answers = _pure if not QUANTITIES[quantity].takes_problem else _asked
        for measures, probe, value in answers(caller, subject, quantity):
            # What is said beside a convention is said under it.
            for measure in [*measures, *["visits"] * undiscounted]:
                for name, case in _cases(measure, probe, value):
                    found.setdefault((measure, name), []).append(case)
    finally:
        caller.close()
    return list(found.values())


@lru_cache
def _problems(family: str) -> tuple[Any, ...]:
    designed = problem_sets.designed(family)
    return (*designed[::EVERY], *problem_sets.drawn(family, seed=SEED, count=DRAWN))


Answered = Iterator[tuple[list[str], Probe, Array]]


def _asked(caller: LocalCaller, subject: Any, quantity: str) -> Answered:
    for family in sorted(subject.families):
        if family in QUANTITIES[quantity].not_asked:
            continue
        for problem in _problems(family):
            if quantity == "train" and problem.paths is not None:
                continue
            for probe in probes(quantity, problem):
                answer = caller.call(quantity, problem, *probe.args, shape=probe.shape)
                if answer.value is None or not np.isfinite(answer.value).all():
                    continue
                read = answer.accessed & {"batch", "episodes"}
                yield sorted(read) or ["mdp"], probe, answer.value


def _pure(caller: LocalCaller, subject: Any, quantity: str) -> Answered:
    build = linear_systems if quantity == "conjugate_gradient" else reward_streams
    for problem in build(SEED, 24):
        answer = caller.call(quantity, None, *problem.args)
        if answer.value is not None and np.isfinite(answer.value).all():
            label = "" if problem.group == "plain" else problem.group
            yield ["pure"], Probe(quantity, problem, problem.args, (), label), answer.value


def _cases(measure: str, probe: Probe, value: Array) -> Iterator[tuple[str, Case]]:
    """The answer beside the exact one under every reading."""
    problem, quantity = probe.problem, probe.quantity
    if measure == "pure":
        if quantity == "conjugate_gradient":  # modulo the kernel of a singular system
            exact, metric = _krylov(*probe.args), probe.args[0]
        else:
            exact, metric = _gae(*probe.args), None
        yield "", Case(problem, probe.label, probe.args, value, exact, metric)
        return
    build = _PIPELINES.get(problem.family, {}).get(measure)
    if build is None:
        return
    pipeline = build()
    if quantity == "train":
        yield from _iterates(pipeline, probe, value)
        return
    try:
        exact_answers = list(_exact(pipeline, quantity, problem, probe.args))
    except Unsupported:  # visits that do not settle
        return
    for name, exact in exact_answers:
        yours = value - problem.theta if quantity in POINTS else value
        modulo = quantity in POINTS or quantity == "natural_gradient"
        metric = _fisher(pipeline, problem) if modulo else None
        yield name, Case(problem, probe.label, probe.args, yours, exact, metric, pipeline)


def _iterates(pipeline: Any, probe: Probe, value: Array) -> Iterator[tuple[str, Case]]:
    problem = probe.problem
    for row in value:
        gap = 1 - problem.mdp.discount
        for name, scale in (("", 1.0), ("1-γ", gap)):
            exact = scale * probe.args[1] * pipeline.natural_gradient(problem)
            metric = _fisher(pipeline, problem)
            yield name, Case(problem, "", probe.args, row - problem.theta, exact, metric, pipeline)
        problem = problem.at(row)


def _exact(
    pipeline: Any, quantity: str, problem: Any, args: tuple[Any, ...]
) -> Iterator[tuple[str, Array]]:
    """Exact answers by the name of the reading."""
    gap = 1 - problem.mdp.discount
    scales: dict[str, float] = {"": 1.0}
    if quantity in ("policy_gradient", "natural_gradient", "update"):
        scales |= {"1-γ": gap, "1/(1-γ)": 1 / gap}
    elif quantity in ("fisher", "fisher_vector_product", "kl", "state_distribution"):
        scales |= {"1/(1-γ)": 1 / gap}
    elif quantity in ("trust_region_proposal", "trust_region_step"):
        scales |= {"√(1-γ)": gap**0.5}
    if quantity in ("trust_region_proposal", "trust_region_step"):
        if not hasattr(pipeline, "trust_region_proposal"):
            return
        base = pipeline.trust_region_proposal(problem, *args) - problem.theta
    elif quantity == "update":
        if not hasattr(pipeline, "natural_gradient"):
            return
        base = args[0] * pipeline.natural_gradient(problem)
    elif quantity == "fisher":
        base = _fisher(pipeline, problem)
    elif hasattr(pipeline, quantity):
        base = np.asarray(getattr(pipeline, quantity)(problem, *args))
    else:
        return
    for name, scale in scales.items():
        yield name, scale * base
    if quantity == "kl":
        back = pipeline.kl(problem.at(args[0]), problem.theta)
        if isinstance(pipeline, ExactSoftmax):  # the reverse direction under the same states
            back = _reverse_kl(pipeline, problem, args[0])
        yield "reverse", np.asarray(back)
    if quantity == "surrogate" and hasattr(pipeline, "objective"):
        lift = base - pipeline.objective(problem)
        yield "lift", lift
        yield "mean lift", gap * lift


def _fisher(pipeline: Any, problem: Any) -> Array:
    """F, column by column where the pipeline has only its product."""
    if hasattr(pipeline, "fisher"):
        return np.asarray(pipeline.fisher(problem))
    eye = np.eye(problem.theta.size)
    return np.stack([pipeline.fisher_vector_product(problem, e) for e in eye], axis=1)


def _reverse_kl(pipeline: ExactSoftmax, problem: Any, theta: Array) -> float:
    new, old = pipeline.log_pi(problem, theta), pipeline.log_pi(problem, problem.theta)
    return float(pipeline.kl_weights(problem) @ (np.exp(new) * (new - old)).sum(axis=1))


def _krylov(matrix: Array, b: Array, iterations: int) -> Array:
    """The minimiser of ½xᵀMx − bᵀx over span{b, Mb, …}, from an orthonormal basis of it."""
    basis: list[Array] = []
    if not np.any(b):
        return np.zeros_like(b)
    vector = b / np.linalg.norm(b)
    for _ in range(min(iterations, len(b))):
        for q in (*basis, *basis):  # twice is enough
            vector = vector - (q @ vector) * q
        if np.linalg.norm(vector) < 1e-10:
            break
        basis.append(vector / np.linalg.norm(vector))
        vector = matrix @ basis[-1]
    Q = np.stack(basis, axis=1)
    return np.asarray(Q @ np.linalg.solve(Q.T @ matrix @ Q, Q.T @ b))


_gae: Callable[..., Array] = GaeAsAMatrix().advantage_estimate
