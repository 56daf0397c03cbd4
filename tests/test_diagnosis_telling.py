"""Facts that amount to a name, and what needs no name of its own."""

from __future__ import annotations

import numpy as np

import npgcheck
from npgcheck.conformance.choices import left_out
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.diagnosis import search


def names(report, quantity):
    found = [r for r in report.results if r.quantity == quantity and r.kind == "value"]
    return {d.choice for r in found for d in r.diagnosis if d.kind != "free"}


class SquaredDiscount(ExactSoftmax):
    """γ² in the place of γ, in V."""

    def value(self, problem):
        chain, gamma = self.chain(problem), problem.mdp.discount**2
        return np.linalg.solve(np.eye(len(chain)) - gamma * chain, self.mean_reward(problem))


def test_a_law_in_the_place_of_the_discount_is_a_wrong_discount():
    report = npgcheck.verify({"value": SquaredDiscount().value})
    assert names(report, "value") == {"wrong-discount"}
    assert "right for the discount γ²" in str(report)


def test_no_name_is_told_that_is_left_out():
    with left_out(["wrong-discount"]):
        report = npgcheck.verify({"value": SquaredDiscount().value})
    assert names(report, "value") == set()


class NoMean(ExactSoftmax):
    """The score without −π, and a damped solve."""

    def scores(self, problem):
        k, a = problem.observation_size, problem.num_actions
        return np.einsum("sk,ab->sakb", problem.observations, np.eye(a)).reshape(-1, a, k * a)

    def fisher(self, problem):
        return ExactSoftmax().fisher(problem)

    def policy_gradient(self, problem):
        joint = self.state_distribution(problem)[:, None] * self.pi(problem)
        g = np.einsum("sa,sad->d", joint * self.q_value(problem), self.scores(problem))
        return g / (1 - problem.mdp.discount)

    def natural_gradient(self, problem):
        F = self.fisher(problem)
        return np.linalg.solve(F + 0.1 * np.eye(len(F)), self.policy_gradient(problem))


def test_a_solve_that_follows_from_a_named_gradient_is_searched_no_further(monkeypatch):
    subject, asked = NoMean(), []
    singles = search.Search.singles

    def counted(self, question, *more, **options):
        asked.append((question.quantity, tuple(options.get("only", ()))))
        return singles(self, question, *more, **options)

    monkeypatch.setattr(search.Search, "singles", counted)
    functions = ("policy_gradient", "fisher", "natural_gradient")
    report = npgcheck.verify({name: getattr(subject, name) for name in functions})
    assert names(report, "policy_gradient") == {"score-missing-minus-pi"}
    solve = next(r for r in report.results if r.quantity == "natural_gradient")
    assert solve.status == "fail"
    assert solve.explained_by == "policy_gradient"
    assert [(d.choice, d.value) for d in solve.diagnosis] == [("damping", 0.1)]
    assert set(asked) <= {("natural_gradient", ("score-missing-minus-pi",))}


class Strange(NoMean):
    """A gradient that has no name, and the same damped solve."""

    def policy_gradient(self, problem):
        odd = 1.0 + 0.5 * np.cos(3.0 * np.arange(problem.num_states) ** 2)
        joint = (odd * self.state_distribution(problem))[:, None] * self.pi(problem)
        phi = ExactSoftmax.scores(self, problem)
        g = np.einsum("sa,sad->d", joint * self.advantage(problem), phi)
        return g / (1 - problem.mdp.discount)


def test_a_solve_that_follows_from_a_nameless_gradient_is_no_second_mistake():
    subject = Strange()
    functions = ("policy_gradient", "natural_gradient")
    report = npgcheck.verify({n: getattr(subject, n) for n in functions}, examples=24)
    assert names(report, "policy_gradient") == set()
    solve = next(r for r in report.results if r.quantity == "natural_gradient")
    assert solve.explained_by == "policy_gradient"
    assert names(report, "natural_gradient") == {"damping"}


class SinglePrecision(ExactSoftmax):
    """F in single precision, and two iterations of conjugate gradient."""

    def fisher(self, problem):
        return ExactSoftmax.fisher(self, problem).astype(np.float32).astype(float)

    def natural_gradient(self, problem):
        F, r = self.fisher(problem), self.policy_gradient(problem)
        x, p = np.zeros_like(r), r
        for _ in range(2):
            if not r.any():
                break
            step = (r @ r) / (p @ F @ p)
            x, after = x + step * p, r - step * F @ p
            p, r = after + (after @ after) / (r @ r) * p, after
        return x


def test_a_solve_that_was_stopped_stays_so_beside_an_inexact_matrix():
    subject = SinglePrecision()
    functions = ("policy_gradient", "fisher", "natural_gradient")
    report = npgcheck.verify({n: getattr(subject, n) for n in functions}, examples=60)
    assert names(report, "fisher") == {"limited-accuracy"}
    assert names(report, "natural_gradient") == {"truncated-cg"}
