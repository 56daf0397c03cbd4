"""The Hessian of KL away from θ: its formula against autograd, and what is not it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from autograd import hessian as traced_hessian

import npgcheck
from npgcheck import oracles, problem_sets
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.diagnosis.curvature import hessian
from npgcheck.conformance.diagnosis.pipeline import Base, Pipeline, View
from npgcheck.conformance.reference import Reference


@pytest.mark.parametrize("family", ["tabular", "softmax", "gaussian"])
def test_the_hessian_of_kl_away_from_theta_is_that_of_autograd(family):
    for problem in problem_sets.designed(family)[:4]:
        view = View(Pipeline(Reference(problem), Base()), ())
        away = problem.theta + 0.1 * np.cos(np.arange(problem.theta.size))
        divergence = oracles.traced_kl(
            problem.policy, problem.theta, problem.observations, view["f_weights"]
        )
        expected = traced_hessian(divergence)(away)
        assert np.allclose(hessian(view, away), expected, rtol=1e-9, atol=1e-12)
        assert np.allclose(hessian(view, problem.theta), view["F"], rtol=1e-9, atol=1e-12)


def told(fisher: Any) -> list[str]:
    report = npgcheck.verify({"fisher": fisher}, examples=80)
    value = next(r for r in report.results if r.quantity == "fisher" and r.kind == "value")
    return [d.choice for d in value.diagnosis]


def at(problem: Any, theta: Any) -> Any:
    return ExactSoftmax().fisher(problem.at(theta))


@pytest.mark.slow
def test_another_visit_distribution_moves_with_the_parameters():
    def seeded(problem):
        noise = np.random.default_rng(problem.theta.size).standard_normal(problem.theta.size)
        return at(problem, problem.theta + 0.05 * noise)

    assert told(seeded) == ["kl-not-at-coincidence"]


@pytest.mark.slow
def test_parameters_that_follow_no_rule_have_no_name():
    """Another displacement on every problem explains nothing: any F of a policy would do."""

    def wandering(problem):
        noise = np.random.default_rng(len(problem.id) + sum(map(ord, problem.id)))
        return at(problem, problem.theta + 0.05 * noise.standard_normal(problem.theta.size))

    assert told(wandering) == []
