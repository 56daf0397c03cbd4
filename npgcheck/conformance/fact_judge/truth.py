"""Exact answers from the plain pipelines, and a subject's answers beside them.

A subject is asked on problems that no run with a usual seed asks, or on those of one run: there a
statement with counts has to hold to the number.

What is free is enumerated: averages over the MDP, a batch or episodes, F with or without 1/(1−γ),
g as ∇J or (1−γ)∇J, KL in either direction, the surrogate's constant. Each combination is one
*reading*; a statement about a subject has to hold under one of them, over all problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from npgcheck import problem_sets
from npgcheck.conformance.collect import GIVE_UP
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
from npgcheck.conformance.problems import PURE_COUNT, asked_for, problems_for
from npgcheck.conformance.pure_problems import linear_systems, reward_streams
from npgcheck.conformance.subject import load
from npgcheck.errors import Unsupported
from npgcheck.tolerance import MAX_FISHER_CONDITION

#: No run with a usual seed asks these.
SEED = 7919
DRAWN = 6
EVERY = 3
POINTS = ("update", "train", "trust_region_proposal", "trust_region_step")
#: Relations hold to rounding or not at all; conditioning leaves ten digits of sixteen.
CLOSE = 1e-6
#: Of answers between these, only the error budget of the problem can say whether they are right.
NEARLY, UNCLEAR = 1e-11, 1e-4

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
        raw: the answer as it was given.
        group: answers to questions on one problem share it.
        turn: the iteration, counted from one, where the answer is one of several iterates.
        rows: whether a batch or episodes were read.
        noise: what sums of a few terms leave of an exact zero; the terms are mostly of size one.
    """

    problem: Any
    label: str
    args: tuple[Any, ...]
    yours: Array
    exact: Array
    metric: Array | None = None
    pipeline: Any = None
    raw: Array | None = None
    group: int = 0
    turn: int = 1
    rows: str = ""
    noise: float = 1e-13

    def distance(self, wanted: Array) -> float:
        """The largest error relative to ``wanted``, modulo what the policy cannot show."""
        left, right = self.yours, np.asarray(wanted)
        if np.shape(left) != np.shape(right):
            return float("inf")
        if self.metric is not None:
            left, right = self.metric @ left, self.metric @ right
        error = float(np.max(np.abs(left - right), initial=0.0))
        if error <= self.noise:
            return 0.0
        return error / max(float(np.max(np.abs(right))), 10 * self.noise)

    @cached_property
    def error(self) -> float:
        """The distance to the exact answer."""
        return self.distance(self.exact)

    @property
    def right(self) -> bool:
        """Whether the answer is the exact one."""
        return self.error <= CLOSE

    @property
    def unclear(self) -> bool:
        """Whether it is nearly right: whether a verifier refutes it depends on its conditioning."""
        return NEARLY < self.error <= UNCLEAR

    @property
    def pair(self) -> tuple[Array, Array]:
        """The subject's answer and the exact one as the policy can show them."""
        if self.metric is None:
            return self.yours, self.exact
        return self.metric @ self.yours, self.metric @ self.exact


def readings(
    control: Control, quantity: str, asked: tuple[int, int] | None = None
) -> dict[tuple[str, str], list[Case]]:
    """The subject's answers, by reading of what is free.

    Args:
        control: the planted subject.
        quantity: the function.
        asked: seed and number of problems of a run, whose problems are asked again; others when
            None.
    """
    subject = load(control.build())
    if subject.families == {"own"}:
        return {}
    caller = LocalCaller(subject)
    undiscounted = "missing-gamma-t" in control.label.every
    found: dict[tuple[str, str], list[Case]] = {}
    try:
        answers = _pure if not QUANTITIES[quantity].takes_problem else _asked
        for group, (measures, probe, value) in answers(caller, subject, quantity, asked):
            # What is said beside a convention is said under it.
            for measure in [*measures, *["visits"] * undiscounted]:
                for name, case in _cases(measure, probe, value):
                    if not _judged(case):
                        continue
                    case = replace(case, group=group, rows="" if measure == "mdp" else measure)
                    found.setdefault((measure, name), []).append(case)
    finally:
        caller.close()
    if quantity == "surrogate":
        found = {key: _gains(cases) for key, cases in found.items()}
    return found


def _judged(case: Case) -> bool:
    """Directions are judged where F is conditioned well enough, on the MDP and on the rows."""
    if case.metric is None or case.pipeline is None:
        return True
    exact = next(iter(_PIPELINES[case.problem.family].values()))()
    matrices = [case.metric]
    if type(case.pipeline) is not type(exact):
        matrices.append(_fisher(exact, case.problem))
    return all(_condition(F) <= MAX_FISHER_CONDITION for F in matrices)


def _condition(F: Array) -> float:
    values = np.linalg.eigvalsh(F)
    kept = values[values > len(values) * 1e-13 * max(values[-1], 1e-300)]
    return float(kept[-1] / kept[0]) if len(kept) else 1.0


def _gains(cases: list[Case]) -> list[Case]:
    """Surrogates without their constant: the gain over θ itself."""
    anchors = {c.group: c for c in cases if c.label == "θ itself"}
    return [
        replace(c, yours=c.yours - anchors[c.group].yours, exact=c.exact - anchors[c.group].exact)
        for c in cases
        if c.label != "θ itself" and c.group in anchors
    ]


@lru_cache
def _problems(family: str) -> tuple[Any, ...]:
    designed = problem_sets.designed(family)
    return (*designed[::EVERY], *problem_sets.drawn(family, seed=SEED, count=DRAWN))


Answered = Iterator[tuple[int, tuple[list[str], Probe, Array]]]


def _asked(
    caller: LocalCaller, subject: Any, quantity: str, asked: tuple[int, int] | None
) -> Answered:
    families = sorted(subject.families)
    if asked is None:
        problems = [p for family in families for p in _problems(family)]
    else:
        problems = problems_for(subject, caller, families, asked[1], asked[0], None)
    gone = 0
    for group, problem in enumerate(asked_for(quantity, problems, families, 0)):
        if problem.family in QUANTITIES[quantity].not_asked or gone >= GIVE_UP:
            continue
        if quantity == "train" and problem.paths is not None:
            continue
        failed = False
        for probe in probes(quantity, problem):
            answer = caller.call(quantity, problem, *probe.args, shape=probe.shape)
            failed |= answer.fault is not None and answer.fault.kind != "unsupported"
            if answer.value is None or not np.isfinite(answer.value).all():
                continue
            read = answer.accessed & {"batch", "episodes"}
            yield group, (sorted(read) or ["mdp"], probe, answer.value)
        gone = gone + 1 if failed else 0


def _pure(
    caller: LocalCaller, subject: Any, quantity: str, asked: tuple[int, int] | None
) -> Answered:
    build = linear_systems if quantity == "conjugate_gradient" else reward_streams
    problems = build(SEED, 24) if asked is None else build(asked[0], PURE_COUNT)
    for group, problem in enumerate(problems):
        answer = caller.call(quantity, None, *problem.args)
        if answer.value is not None and np.isfinite(answer.value).all():
            label = "" if problem.group == "plain" else problem.group
            yield group, (["pure"], Probe(quantity, problem, problem.args, (), label), answer.value)


def _cases(measure: str, probe: Probe, value: Array) -> Iterator[tuple[str, Case]]:
    """The answer beside the exact one under every reading."""
    problem, quantity = probe.problem, probe.quantity
    if measure == "pure":
        noise = 1e-13
        if quantity == "conjugate_gradient":  # modulo the kernel of a singular system
            exact, metric = _krylov(*probe.args), probe.args[0]
            noise *= min(1.0, float(np.max(np.abs(probe.args[1]))) or 1.0)
        else:
            exact, metric = _gae(*probe.args), None
        yield (
            "",
            Case(problem, probe.label, probe.args, value, exact, metric, raw=value, noise=noise),
        )
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
        yield name, Case(problem, probe.label, probe.args, yours, exact, metric, pipeline, value)


def _iterates(pipeline: Any, probe: Probe, value: Array) -> Iterator[tuple[str, Case]]:
    problem = probe.problem
    for turn, row in enumerate(value, start=1):
        gap = 1 - problem.mdp.discount
        for name, scale in (("", 1.0), ("1-γ", gap)):
            exact = scale * probe.args[1] * pipeline.natural_gradient(problem)
            metric = _fisher(pipeline, problem)
            step = row - problem.theta
            yield (
                name,
                Case(problem, "", probe.args, step, exact, metric, pipeline, row, turn=turn),
            )
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
