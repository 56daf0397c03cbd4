"""What the tests of the doors share: one small problem, and reports made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.report import (
    CheckResult,
    Control,
    Counterexample,
    Diagnosis,
    Report,
    count,
)
from npgcheck.mdp import MDP
from npgcheck.policy import SoftmaxPolicy
from npgcheck.problem import Problem


def small_problem(seed: int = 0) -> Problem:
    """Four states, three actions, two features."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(4), (4, 3))
    transitions /= transitions.sum(axis=2, keepdims=True)
    mdp = MDP(transitions, rng.normal(size=(4, 3)), 0.9, np.full(4, 0.25))
    theta, observations = rng.normal(size=6), rng.normal(size=(4, 2))
    return Problem(mdp, SoftmaxPolicy(2, 3), observations, theta, "softmax", id=f"p-{seed:06x}")


def result(check: str, quantity: str, status: str, kind: str = "value", **more: Any) -> CheckResult:
    """A check's result with plausible numbers."""
    fields: dict[str, Any] = {"title": "", "problems": 120, "worst": 0.1, "digits": 14.8}
    return CheckResult(id=check, quantity=quantity, status=status, kind=kind, **fields | more)


def counterexample(size: int = 7, gap: float = 0.1) -> Counterexample:
    """The last entry is off by ``gap``, the others agree."""
    exact = [round(0.1 * i, 6) for i in range(size)]
    yours = [*exact[:-1], exact[-1] + gap]
    return Counterexample(
        "p-3f91aa", "2 states, 3 actions, γ = 1/2, uniform policy", yours, exact, 3e7, 0.2
    )


def report(*results: CheckResult, **more: Any) -> Report:
    """A report on the given results; what they leave out is not covered."""
    named = {r.quantity for r in results}
    rest = [
        result(f"NPG-N-{i:03d}", q, "not_covered", problems=0)
        for i, q in enumerate(QUANTITIES)
        if q not in named
    ]
    everything = (*results, *rest)
    fields: dict[str, Any] = {
        "passed": not any(r.status == "fail" for r in results),
        "target": "my_npg.py",
        "results": everything,
        "conventions": {},
        "counts": count(everything, problems=120),
        "not_visible": ("trajectories", "Gaussian policies"),
        "seed": 0,
        "version": "0.1.0",
        "seconds": 4.13,
        "families": ("tabular", "softmax"),
        "checks": "2026.1",
        "detection_floor": 3e-8,
    }
    return Report(**fields | more)


TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/home/x/my_npg.py", line 19, in score\n'
    "    1 / 0\n"
    "    ~~^~~\n"
    "ZeroDivisionError: division by zero"
)


def full_report() -> Report:
    """One result of every sort."""
    return report(
        result("NPG-F-001", "fisher", "pass"),
        result("NPG-F-002", "fisher", "pass", "property", title="symmetric"),
        result(
            "NPG-PG-001",
            "policy_gradient",
            "fail",
            refuted_after=2,
            counterexample=counterexample(gap=1.0),
            diagnosis=(Diagnosis("score", "score-missing-minus-pi", "bug", None, "no −π term"),),
        ),
        result("NPG-NG-001", "natural_gradient", "fail", explained_by="policy_gradient"),
        result(
            "NPG-FV-001",
            "fisher_vector_product",
            "deviates",
            diagnosis=(
                Diagnosis("damping", "damping", "convention", 0.1),
                Diagnosis("fisher_scale", "unnormalised-fisher", "free"),
            ),
        ),
        result("NPG-KL-001", "kl", "pass", digits=15.1),
        result(
            "NPG-KL-002",
            "kl",
            "fail",
            "property",
            title="KL(θ, θ) = 0",
            refuted_after=1,
            worst=float("inf"),
            counterexample=counterexample(40, gap=1e-9),
        ),
        result(
            "NPG-SC-099",
            "score",
            "fail",
            "contract",
            title="answers",
            reason="raised ZeroDivisionError: division by zero on 120 of 120 problems",
            traceback=TRACEBACK,
        ),
        result("NPG-V-001", "value", "skip", problems=0, reason="only for Gaussian policies"),
        conventions={"damping": 0.1, "kl_direction": "forward", "sigma": None},
        declare="conventions = Conventions(damping=0.1)",
        notes=("fisher_vp is not part of the contract, so it was not judged",),
        controls=(
            Control("transposed", "fisher", True, "NPG-F-001", 1),
            Control("half of it", "kl", False),
        ),
    )
