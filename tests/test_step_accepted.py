"""An accepted step that KL allows and that lowers the surrogate is called by its name."""

from __future__ import annotations

import numpy as np
from steps import names

import npgcheck
from npgcheck import problem_sets
from npgcheck.problem_sets import search_set


def judged(shrink: float) -> npgcheck.Report:
    """A share of the longest step over the rows of a batch on which that step loses."""
    index = next(i for i, line in enumerate(search_set.LINES) if line[0] == "rows lose")
    batch = problem_sets.searched("softmax")[index].batch
    theta = problem_sets.searched("softmax")[index].theta
    obs, width = np.array(batch.observations), 2

    def policy(t: np.ndarray, o: np.ndarray) -> np.ndarray:
        return o @ t.reshape(o.shape[1], width)

    pi = np.exp(policy(theta, obs))
    pi /= pi.sum(axis=1, keepdims=True)
    blocks = [
        np.kron(np.outer(o, o), np.diag(p) - np.outer(p, p)) for o, p in zip(obs, pi, strict=True)
    ]
    F = np.mean(blocks, axis=0)
    scores = (np.eye(width)[batch.actions] - pi) * np.array(batch.advantages)[:, None]
    gradient = np.einsum("nk,na->ka", obs, scores).ravel() / len(obs)
    x = np.linalg.pinv(F, rcond=1e-10, hermitian=True) @ gradient
    step = np.sqrt(2 * 0.0625 / (x @ F @ x)) * x
    return npgcheck.check_step(
        policy,
        theta,
        obs,
        np.array(batch.actions),
        np.array(batch.advantages),
        gradient=gradient,
        direction=x,
        new_theta=theta + shrink * step,
        max_kl=0.0625,
    )


def test_a_step_that_loses_is_named():
    assert names(judged(1.0), "trust_region_step") == ["surrogate-not-checked"]


def test_a_shorter_one_that_gains_passes():
    report = judged(0.25)
    assert not names(report, "trust_region_step")
    assert report.passed
