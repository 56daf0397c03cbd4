"""The second opinion on calls that went wrong: the subject's functions are called with nothing
between, and what comes back is looked at."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from npgcheck import problem_sets
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.controls import Control
from npgcheck.conformance.probes import Probe, probes
from npgcheck.conformance.pure_problems import linear_systems, reward_streams
from npgcheck.conformance.subject import load
from npgcheck.errors import Unsupported

PROBLEMS = 12

WORDS = {
    "raised an exception": "raised",
    "returned NaN or infinity": "not finite",
    "returned the wrong shape": "shape",
    "returned something that is no array of numbers": "type",
    "changed its arguments": "changed",
    "two calls with the same arguments disagree": "differs",
    "the numbers are others in every call": "differs",
    "the policy does not depend on θ": "constant",
}
"""What a report says of a call, and what is looked for."""


def happens(control: Control, quantity: str, text: str) -> bool | None:
    """Whether such a call is found; None for sentences about something else."""
    wanted = WORDS.get(text)
    if wanted is None:
        return None
    if wanted == "constant":
        return _constant(control)
    subject = load(control.build())
    function = subject.functions[quantity]
    return any(
        wanted in _look(function, quantity, probe) for probe in _questions(subject, quantity)
    )


def _questions(subject: Any, quantity: str) -> Iterator[Probe]:
    if not QUANTITIES[quantity].takes_problem:
        build = linear_systems if quantity == "conjugate_gradient" else reward_streams
        for pure in build(0, PROBLEMS):
            yield Probe(quantity, None, pure.args, np.shape(pure.args[1]))
        return
    for family in sorted(subject.families):
        if family in QUANTITIES[quantity].not_asked or family == "own":
            continue
        edges = problem_sets.edge_cases(family)
        for problem in (*problem_sets.designed(family)[:PROBLEMS], *edges):
            yield from probes(quantity, problem)


def _look(function: Any, quantity: str, probe: Probe) -> set[str]:
    """What is wrong with one call, made twice."""
    found: set[str] = set()
    values = []
    for _ in range(2):
        problem = None if probe.problem is None else probe.problem.writable_copy()
        args = [np.array(a) if isinstance(a, np.ndarray) else a for a in probe.args]
        if quantity == "conjugate_gradient":
            matrix = args[0]
            args[0] = lambda v, matrix=matrix: matrix @ v
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = function(*([] if problem is None else [problem]), *args)
                if inspect.isgenerator(value) or quantity == "train":
                    value = np.array([np.array(row) for row in value])
        except Unsupported:
            return set()
        except Exception:
            return {"raised"}
        kept = [
            np.array_equal(a, b)
            for a, b in zip(args, probe.args, strict=True)
            if isinstance(b, np.ndarray) and not callable(a)
        ]
        if not all(kept) or (problem is not None and problem.changes()):
            found.add("changed")
        values.append(np.array(value) if isinstance(value, np.ndarray) else value)
    try:
        arrays = [np.asarray(v) for v in values]
    except ValueError:
        return {*found, "type"}
    if arrays[0].dtype.kind not in "fiub":
        return {*found, "type"}
    if arrays[0].shape != probe.shape:
        return {*found, "shape"}
    if not np.isfinite(arrays[0]).all():
        found.add("not finite")
    elif not np.allclose(arrays[0], arrays[1], rtol=1e-9, atol=1e-12):
        found.add("differs")
    return found


def _constant(control: Control) -> bool:
    """Whether the outputs of a subject's own policy are the same at two parameters."""
    subject: Any = control.build()
    read = getattr(subject, "logits", None) or getattr(subject, "mean_log_std", None)
    if read is None:
        return False
    problem = problem_sets.designed("softmax")[0]
    rng = np.random.default_rng(0)
    thetas = rng.standard_normal((2, subject.num_parameters(problem)))
    first, second = (np.asarray(read(problem, problem.observations, theta)) for theta in thetas)
    return bool(np.array_equal(first, second))
