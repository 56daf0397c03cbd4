"""Mistakes on top of mistakes, numbers in a matrix, and what further problems tell apart."""

from __future__ import annotations

import numpy as np
import pytest
from judging import named, result, statuses, subject, verify

import npgcheck
from npgcheck.conformance import counterexample
from npgcheck.conformance.choices import left_out
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.diagnosis.solve import conjugate_gradient, iterates

G, F, X, UP, TP = (
    "policy_gradient",
    "fisher",
    "natural_gradient",
    "update",
    "trust_region_proposal",
)


def flipped(self, p):
    return -ExactSoftmax.policy_gradient(self, p)


def damped(size):
    return lambda self, F, g: np.linalg.solve(F + size * np.eye(len(g)), g)


def test_damping_above_a_wrong_gradient():
    """x is F⁻¹g of its own g, damped: the sign is g's mistake, λ the solve's convention."""
    report = verify(subject(policy_gradient=flipped, solve=damped(0.1)), G, X)
    assert statuses(report)[G] == "fail"
    assert named(report, X)["damping"] == 0.1
    assert "damping" not in named(report, G)


@pytest.mark.slow
def test_a_mistake_of_the_step_above_a_mistake_of_the_gradient():
    def proposal(self, p, max_kl):
        return p.theta + (ExactSoftmax.trust_region_proposal(self, p, 0.5 * max_kl) - p.theta)

    wrong = subject(
        policy_gradient=lambda self, p: ExactSoftmax.policy_gradient(self, p) - 0.003 * p.theta,
        trust_region_proposal=proposal,
    )
    report = verify(wrong, G, TP)
    assert named(report, G) == {"weight-decay-left-in": 0.003}
    assert "factor-two" in named(report, TP)


@pytest.mark.slow
def test_a_solve_that_stops_at_a_tolerance_above_a_wrong_fisher():
    def solve(self, F, g):
        steps = list(iterates(F, g))
        return next(x for x in steps if np.linalg.norm(F @ x - g) < 0.02 * np.linalg.norm(g))

    wrong = subject(fisher=lambda self, p: 2 * ExactSoftmax.fisher(self, p), solve=solve)
    report = verify(wrong, F, X)
    assert set(named(report, F)) == {"fisher-factor-two"}
    assert "cg-stopped-at-a-tolerance" in named(report, X)


def test_two_scales_in_one_subject_are_told_beside_the_mistake():
    wrong = subject(
        critic=lambda self, p: np.maximum(ExactSoftmax.advantage(self, p), 0.0),
        update=lambda self, p, eta: p.theta + eta * (1 - p.mdp.discount) * self.natural_gradient(p),
    )
    report = verify(wrong, G, X, UP)
    assert set(named(report, X)) == {"positive-advantages-only"}
    assert "scales-differ-between-quantities" in named(report, UP)


@pytest.mark.parametrize(
    ("name", "number", "solve"),
    [
        pytest.param(
            "marquardt-damping",
            0.05,
            lambda self, F, g: _least(F + 0.05 * np.diag(np.diag(F)), g),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "shrinkage",
            0.05,
            lambda self, F, g: _least(0.95 * F + 0.05 * np.eye(len(g)), g),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "damping-subtracted",
            0.003,
            lambda self, F, g: _least(F - 0.003 * np.eye(len(g)), g),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "relative-damping",
            0.02,
            lambda self, F, g: _least(F + 0.02 * np.mean(np.diag(F)) * np.eye(len(g)), g),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_number_in_the_matrix_is_found_by_least_squares(name, number, solve):
    report = verify(subject(solve=solve), X)
    assert named(report, X) == {name: pytest.approx(number)}
    with left_out([name]):
        assert named(verify(subject(solve=solve), X), X) == {}


def _least(matrix, g):
    return np.linalg.lstsq(matrix, g, rcond=1e-12)[0]


def test_no_solve_at_all_is_not_called_shrinkage():
    """(1 − λ)F + λI at λ = 1 is no damping: it is the gradient."""
    report = verify(subject(solve=lambda self, F, g: g), X)
    assert set(named(report, X)) == {"preconditioner-not-applied"}


@pytest.mark.slow
def test_small_rewards_tell_a_clipped_gradient_from_one_of_fixed_length():
    def clipped(self, p):
        g = ExactSoftmax.policy_gradient(self, p)
        return g * min(1.0, 0.01 / np.linalg.norm(g))

    assert named(verify(subject(policy_gradient=clipped), G), G) == {"gradient-clipped": 0.01}
    with left_out(["gradient-clipped"]):
        assert named(verify(subject(policy_gradient=clipped), G), G) == {}


def test_a_broken_declaration_stays_a_finding_beside_a_mistake():
    wrong = subject(policy_gradient=flipped, solve=damped(0.01))
    type(wrong).conventions = npgcheck.Conventions(damping=0.1)
    report = verify(wrong, G, X)
    said = result(report, "NPG-NG-001")
    assert said.status == "fail"
    assert "declares damping=0.1 but its answers follow 0.01" in said.reason


@pytest.mark.slow
def test_a_choice_that_would_alter_what_is_right_is_no_explanation():
    """γ times too small a gradient is no discounted reward where V is right."""
    wrong = subject(
        policy_gradient=lambda self, p: p.mdp.discount * ExactSoftmax.policy_gradient(self, p)
    )
    alone = verify(wrong, G)
    told = [d for d in result(alone, "NPG-PG-001").diagnosis if d.kind == "bug"]
    assert {told[0].choice, *told[0].alternatives} == {
        "gradient-factor-gamma",
        "reward-discounted-once-more",
    }
    beside = verify(wrong, "value", G)
    told = [d for d in result(beside, "NPG-PG-001").diagnosis if d.kind == "bug"]
    assert (told[0].choice, told[0].alternatives) == ("gradient-factor-gamma", ())


def test_the_iterates_of_conjugate_gradient():
    matrix, right = np.diag([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 1.0])
    steps = list(iterates(matrix, right))
    assert len(steps) == 4
    np.testing.assert_allclose(steps[-1], right / np.diag(matrix), rtol=1e-12)
    np.testing.assert_array_equal(conjugate_gradient(matrix, right, 2), steps[2])
    assert np.isnan(list(iterates(np.zeros((2, 2)), np.ones(2)))[-1]).all()


def started(self, matvec, b, iterations):
    """Conjugate gradient from noise that is the same in every call."""
    x = np.random.default_rng(7).standard_normal(len(b))
    r = b - matvec(x)
    p = r.copy()
    for _ in range(iterations):
        square = r @ r
        if square < 1e-26:
            break
        image = matvec(p)
        x, r = x + square / (p @ image) * p, r - square / (p @ image) * image
        p = r + (r @ r) / square * p
    return x


def test_the_start_of_a_solver_is_what_it_returns_without_an_iteration():
    report = verify({"conjugate_gradient": lambda *a: started(None, *a)}, "conjugate_gradient")
    assert set(named(report, "conjugate_gradient")) == {"random-start"}

    def other(matvec, b, iterations):
        return started(None, matvec, b, iterations) + 1e-3 * iterations

    report = verify({"conjugate_gradient": other}, "conjugate_gradient")
    assert statuses(report) == {"conjugate_gradient": "fail"}
    assert named(report, "conjugate_gradient") == {}


@pytest.mark.slow
def test_a_factor_beside_a_number_is_found_as_a_pair():
    def doubled_with_decay(self, p):
        return 2 * ExactSoftmax.policy_gradient(self, p) - 0.03 * p.theta

    report = verify(subject(policy_gradient=doubled_with_decay), G, F)
    assert named(report, G) == {"gradient-factor-two": None, "weight-decay-left-in": 0.03}


@pytest.mark.slow
def test_the_example_beside_facts_is_one_that_they_count(monkeypatch):
    def outside(*args):
        raise AssertionError("an example from outside of the run")

    def tilted(self, p):
        g = ExactSoftmax.policy_gradient(self, p)
        return g + 0.1 * np.linalg.norm(g) * np.cos(np.arange(len(g)) ** 2 + p.num_states)

    monkeypatch.setattr(counterexample, "_from_catalogue", outside)
    report = verify(subject(policy_gradient=tilted), G)
    (found,) = [r for r in report.results if r.status == "fail" and r.kind == "value"]
    assert found.counterexample
    assert not found.diagnosis
    with pytest.raises(AssertionError, match="outside"):  # a name may be shown on a smaller one
        verify(subject(policy_gradient=flipped), G)


class EighteenSweeps(ExactSoftmax):
    """V ← r + γPV from zero, eighteen times: far off only where γ is near one."""

    def value(self, problem):
        chain, rewards = self.chain(problem), self.mean_reward(problem)
        v = np.zeros(len(rewards))
        for _ in range(18):
            v = rewards + problem.mdp.discount * (chain @ v)
        return v


@pytest.mark.slow
def test_a_mistake_that_few_answers_show_is_not_explained_by_a_wrong_convention():
    """Under states that are weighted otherwise every answer is wrong, and seems to tell."""
    report = npgcheck.verify(EighteenSweeps, only=(X, TP))
    assert named(report, X) == named(report, TP) == {"value-sweeps-cut-off": 18.0}
