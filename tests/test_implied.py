"""A property that a named convention cannot have is no second finding; every other violation is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import npgcheck
from npgcheck.conformance import properties
from npgcheck.conformance.controls import find
from npgcheck.conformance.controls._agent import Agent


def scores(problem: Any) -> Any:
    """∇ log π of the rows, (N, D)."""
    agent = Agent()
    rows = agent.collect(problem)
    slopes = agent.dlogits(rows, agent.forward(rows.obs, problem.theta))
    return np.einsum("nk,na->nka", rows.obs, slopes).reshape(len(rows.acts), -1)


def covariance(problem: Any) -> Any:
    return np.cov(scores(problem), rowvar=False)


def every_fifth(problem: Any) -> Any:
    agent = Agent()
    obs = agent.collect(problem).obs[::5]
    columns = [agent.product(obs, problem.theta, e) for e in np.eye(problem.theta.size)]
    return np.stack(columns, axis=1)


def over_the_sample_deviation(problem: Any, *, centred: bool) -> Any:
    a = np.array(problem.batch.advantages)
    return (a - a.mean() * centred) / a.std(ddof=1) @ scores(problem) / len(a)


def forward_difference(problem: Any, state: int, action: int) -> Any:
    def log_prob(theta: Any) -> Any:
        return Agent().forward(problem.observations[state : state + 1], theta)[0, action]

    units = 1e-4 * np.eye(problem.theta.size)
    return np.array([log_prob(problem.theta + e) - log_prob(problem.theta) for e in units]) / 1e-4


def forward_product(problem: Any, vector: Any) -> Any:
    def slope(theta: Any) -> Any:
        agent = Agent()
        obs = agent.collect(problem).obs
        moved = np.exp(agent.forward(obs, theta)) - np.exp(agent.forward(obs, problem.theta))
        return agent.backward(obs, moved) / len(obs)

    return slope(problem.theta + 1e-4 * vector) / 1e-4


def sampled_kl(problem: Any, theta: Any) -> float:
    agent = Agent()
    rows = agent.collect(problem)
    new = agent.forward(rows.obs, theta)[np.arange(len(rows.acts)), rows.acts]
    return float((rows.logp - new).mean())


def from_noise(matvec: Any, b: Any, iterations: int) -> Any:
    """Conjugate gradient whose start is drawn in each call."""
    x = 0.01 * np.random.default_rng().normal(size=len(b))
    r = b - matvec(x)
    p = r
    for _ in range(iterations):
        if np.linalg.norm(r) <= 1e-14 * np.linalg.norm(b):
            break
        image = matvec(p)
        length = (r @ r) / (p @ image)
        x, new = x + length * p, r - length * image
        r, p = new, new + (new @ new) / (r @ r) * p
    return x


SUBJECTS = {
    "NPG-SC-002": {"score": forward_difference},
    "NPG-FV-002": {"fisher_vector_product": forward_product},
    "NPG-KL-003": {"kl": sampled_kl},
    "NPG-F-004": {"fisher": covariance},
    "NPG-F-004 rows": {"fisher": every_fifth},
    "NPG-FV-004": {"fisher_vector_product": lambda p, v: covariance(p) @ v},
    "NPG-FV-004 rows": {"fisher_vector_product": lambda p, v: every_fifth(p) @ v},
    "NPG-PG-003": {"policy_gradient": lambda p: over_the_sample_deviation(p, centred=True)},
    "NPG-CG-085": {"conjugate_gradient": from_noise},
    "NPG-PG-003 uncentred": {
        "policy_gradient": lambda p: over_the_sample_deviation(p, centred=False)
    },
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_the_name_implies_is_said_once(name, monkeypatch):
    """Without the list the same subject has a second finding: no entry of it is idle."""
    check = name.split()[0]

    def judged() -> Any:
        report = npgcheck.verify(SUBJECTS[name], examples=60)
        return next(r for r in report.results if r.id == check)

    excused = judged()
    assert excused.status == "skip"
    assert any(choice in excused.reason for choice in properties.IMPLIED[check])
    monkeypatch.setattr(properties, "IMPLIED", {})
    assert judged().status == "fail"


def test_every_entry_of_the_list_is_tried():
    assert {name.split()[0] for name in SUBJECTS} == set(properties.IMPLIED)


def test_a_bug_excuses_nothing():
    report = npgcheck.verify(find("batch-size-scales-F").build(), only=["fisher"], examples=60)
    value, doubled = (
        next(r for r in report.results if r.id == i) for i in ("NPG-F-001", "NPG-F-004")
    )
    assert [d.choice for d in value.diagnosis] == ["batch-size-scale"]
    assert doubled.status == "fail"
