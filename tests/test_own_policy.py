"""A policy that the subject brings: exact answers are built from the very function."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from judging import result, statuses, subject

import npgcheck
from npgcheck.conformance.controls.right_networks import OwnNumpyNetwork
from npgcheck.conformance.guard import LocalCaller
from npgcheck.conformance.own import own_problems
from npgcheck.conformance.subject import load
from npgcheck.errors import UsageError


def verify(target, *only, examples=10, **options):
    return npgcheck.verify(target, only=only, examples=examples, **options)


class Gaussian:
    """μ = oW, log σ = tanh(oU): the spread depends on the state."""

    families = frozenset({"own"})
    action_size = 2

    def num_parameters(self, problem):
        return 2 * problem.observation_size * 2

    def mean_log_std(self, problem, observations, theta):
        W, U = np.reshape(theta, (2, problem.observation_size, 2))
        return observations @ W, np.tanh(observations @ U)

    def _here(self, problem):
        X, m = problem.observations, problem.mdp
        mean, log_std = self.mean_log_std(problem, X, problem.theta)
        # ∂μ_i/∂W_ji = o_j, ∂log σ_i/∂U_ji = o_j (1 − tanh²)
        each = np.einsum("sj,ab->sajb", X, np.eye(2)).reshape(len(X), 2, -1)
        of_mean = np.concatenate([each, 0 * each], axis=2)
        of_log_std = np.concatenate([0 * each, (1 - log_std**2)[:, :, None] * each], axis=2)
        occupancy = np.linalg.solve(
            np.eye(len(X)) - m.discount * m.transitions.T, m.initial_distribution
        )
        return mean, np.exp(log_std), of_mean, of_log_std, occupancy

    def value(self, problem):
        m = problem.mdp
        c, b, M = m.reward_quadratic
        mean, std, *_ = self._here(problem)
        reward = c + (b * mean).sum(1) + np.einsum("si,sij,sj->s", mean, M, mean)
        reward = reward + np.einsum("sii,si->s", M, std**2)
        return np.linalg.solve(np.eye(len(c)) - m.discount * m.transitions, reward)

    def policy_gradient(self, problem):
        _, b, M = problem.mdp.reward_quadratic
        mean, std, of_mean, of_log_std, occupancy = self._here(problem)
        # ∂r/∂μ = b + 2Mμ and ∂r/∂log σ_i = 2 M_ii σ_i²
        slope = b + 2 * np.einsum("sij,sj->si", M, mean)
        spread = 2 * np.einsum("sii->si", M) * std**2
        return np.einsum("s,si,sid->d", occupancy, slope, of_mean) + np.einsum(
            "s,si,sid->d", occupancy, spread, of_log_std
        )

    def fisher(self, problem):
        _, std, of_mean, of_log_std, occupancy = self._here(problem)
        d = (1 - problem.mdp.discount) * occupancy
        return np.einsum("s,sid,sie->de", d, of_mean / std[:, :, None] ** 2, of_mean) + (
            self.entropy_block() * np.einsum("s,sid,sie->de", d, of_log_std, of_log_std)
        )

    def entropy_block(self):
        return 2.0

    def kl(self, problem, theta):
        X = problem.observations
        mean, std, _, _, occupancy = self._here(problem)
        other, log_std = self.mean_log_std(problem, X, theta)
        square = (std**2 + (mean - other) ** 2) / np.exp(2 * log_std)
        each = (log_std - np.log(std) + 0.5 * square - 0.5).sum(axis=1)
        return float((1 - problem.mdp.discount) * occupancy @ each)


def test_a_network_of_the_subject_s_own_passes():
    report = verify(OwnNumpyNetwork())
    assert set(statuses(report).values()) == {"pass"}
    assert report.families == ("own",)


def test_a_gaussian_whose_spread_depends_on_the_state_passes():
    report = verify(Gaussian())
    assert statuses(report) == dict.fromkeys(("value", "policy_gradient", "fisher", "kl"), "pass")


@pytest.mark.parametrize(
    ("quantity", "wrong"),
    [
        ("fisher", {"entropy_block": lambda self: 1.0}),
        (
            "policy_gradient",
            {"policy_gradient": lambda self, p: -Gaussian.policy_gradient(self, p)},
        ),
        ("kl", {"kl": lambda self, p, theta: 1.01 * Gaussian.kl(self, p, theta)}),
        ("value", {"value": lambda self, p: Gaussian.value(self, p) + 0.1}),
    ],
)
def test_a_mistake_beside_an_own_gaussian_is_refuted(quantity, wrong):
    assert statuses(verify(subject(Gaussian, **wrong), quantity)) == {quantity: "fail"}


def slope_of_another_unit(self, problem):
    """1 − h² in place of (1 − h²)^{3/2}: tanh's slope for a softsign unit."""
    exact = OwnNumpyNetwork._jacobian(self, problem)
    W, b, _ = self._split(problem, problem.theta)
    slope = (1 + (problem.observations @ W + b) ** 2) ** 0.5
    hidden = (problem.observation_size + 1) * self.width
    exact[:, :, :hidden] *= np.tile(slope, (1, problem.observation_size + 1))[:, None, :]
    return exact


@pytest.mark.slow
def test_a_mistake_beside_an_own_network_is_refuted():
    report = verify(subject(OwnNumpyNetwork, _jacobian=slope_of_another_unit))
    assert statuses(report) == dict.fromkeys(("score", "policy_gradient", "fisher"), "fail")


def test_doubles_that_were_single_precision_inside_are_measured_too():
    def logits(self, problem, observations, theta):
        inside = np.float32(OwnNumpyNetwork.logits(self, problem, observations, theta))
        return np.float64(inside)

    report = verify(subject(OwnNumpyNetwork, logits=logits))
    assert set(statuses(report).values()) <= {"pass", "deviates"}


@pytest.mark.slow
def test_single_precision_networks_are_measured_with_wider_steps():
    def logits(self, problem, observations, theta):
        return np.float32(OwnNumpyNetwork.logits(self, problem, observations, np.float32(theta)))

    single = subject(OwnNumpyNetwork, logits=logits)
    assert set(statuses(verify(single)).values()) == {"pass"}
    wrong = subject(OwnNumpyNetwork, logits=logits, _jacobian=slope_of_another_unit)
    assert set(statuses(verify(wrong)).values()) == {"fail"}
    loaded = load(single)
    for problem in own_problems(loaded, LocalCaller(loaded), 0, 2):
        error = problem.policy.derivative_error_at(problem.theta, problem.observations)
        # u/h for h from 1/8 to 1/32 is 5e-7 to 2e-6, and extrapolation weighs it up to threefold.
        assert 1e-8 < error < 1e-5


def test_derivatives_of_an_own_policy_carry_their_measured_error():
    loaded = load(OwnNumpyNetwork())
    for problem in own_problems(loaded, LocalCaller(loaded), 0, 4):
        exact = OwnNumpyNetwork()._jacobian(problem)
        found = problem.policy.logits_jacobian(problem.theta, problem.observations)
        error = np.abs(found - exact).max() / np.abs(exact).max()
        measured = problem.policy.derivative_error_at(problem.theta, problem.observations)
        # The second set of steps errs 0.8⁶ = 0.26 times as much: their difference is most of it.
        assert error <= 2 * measured
        assert measured < 1e-10


def test_a_policy_that_ignores_theta_is_refuted():
    def logits(self, problem, observations, theta):
        return np.zeros((len(observations), problem.num_actions))

    report = verify(subject(OwnNumpyNetwork, logits=logits))
    assert not report.passed
    (found,) = [r for r in report.results if r.status != "not_covered"]
    assert (found.status, found.kind) == ("fail", "contract")
    assert "argument theta" in found.reason


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"num_parameters": lambda self, p: 0}, "num_parameters returned 0"),
        ({"logits": lambda self, p, o, t: 1 / 0}, "cannot be evaluated, logits raised"),
        ({"logits": lambda self, p, o, t: np.zeros(3)}, r"returned shape \(3,\)"),
    ],
)
def test_a_policy_that_cannot_be_evaluated_is_a_usage_error(members, message):
    with pytest.raises(UsageError, match=message):
        verify(subject(OwnNumpyNetwork, **members))


def test_a_policy_that_answers_at_random_has_no_derivatives():
    rng = np.random.default_rng(0)

    def dropout(self, problem, observations, theta):
        keep = rng.random((len(observations), problem.num_actions)) < 0.5
        return keep * OwnNumpyNetwork.logits(self, problem, observations, theta)

    with pytest.raises(UsageError, match="is dropout switched off"):
        verify(subject(OwnNumpyNetwork, logits=dropout))


FILE = """
    import numpy as np

    families = {"own"}
    num_actions = 3


    def num_parameters(problem):
        return problem.observation_size * 3


    def logits(problem, observations, theta):
        return np.sin(observations @ theta.reshape(-1, 3))


    def score(problem, state, action):
        x = problem.observations[state]
        z = x @ problem.theta.reshape(-1, 3)
        pi = np.exp(np.sin(z)) / np.exp(np.sin(z)).sum()
        return np.outer(x, np.cos(z) * (np.eye(3)[action] - MEAN * pi)).ravel()
"""


@pytest.mark.parametrize(("mean", "status"), [("1.0", "pass"), ("0.0", "fail")])
def test_it_works_through_the_worker_too(tmp_path, mean, status):
    file = tmp_path / "own.py"
    file.write_text(textwrap.dedent(FILE).replace("MEAN", mean))
    apart = verify(str(file), "score", isolate=True)
    here = verify(str(file), "score")
    assert statuses(apart) == statuses(here) == {"score": status}
    assert result(apart, "NPG-SC-001").worst == result(here, "NPG-SC-001").worst


def test_values_are_held_to_round_off_however_derivatives_were_found():
    nearly = subject(Gaussian, value=lambda self, p: Gaussian.value(self, p) * (1 + 1e-9))
    assert statuses(verify(nearly, "value")) == {"value": "deviates"}
