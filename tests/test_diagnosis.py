"""Mistakes are named by recomputing the reference; unknown ones get no name."""

from __future__ import annotations

import numpy as np
import pytest
from judging import named, result, statuses, subject, verify

from npgcheck.conformance import valleys
from npgcheck.conformance.atlas import ATLAS
from npgcheck.conformance.choices import left_out
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.diagnosis import question
from npgcheck.conformance.diagnosis.pipeline import Base
from npgcheck.conformance.diagnosis.reach import ancestors, reaches
from npgcheck.conformance.wording import formula_text

G, F, X = "policy_gradient", "fisher", "natural_gradient"


def diagnosed(report, quantity):
    """Names → numbers of what is not free, of the value alone."""
    return named(report, quantity)


def test_one_explanation_for_everything_downstream():
    report = verify(subject(fisher=lambda self, p: 0.5 * ExactSoftmax.fisher(self, p)), F, X)
    assert diagnosed(report, F) == {"fisher-factor-two": None}
    assert diagnosed(report, X) == {"fisher-factor-two": None}
    assert result(report, "NPG-NG-001").explained_by == F
    assert report.counts["mistakes"] == 1


def test_a_number_is_estimated_and_read_as_people_write_it():
    decay = subject(
        policy_gradient=lambda self, p: ExactSoftmax.policy_gradient(self, p) - 0.003 * p.theta
    )
    assert diagnosed(verify(decay, G), G) == {"weight-decay-left-in": 0.003}


def test_two_mistakes_at_once_are_named_as_a_pair():
    both = subject(
        fisher_weights=lambda self, p: np.full(p.num_states, 1 / p.num_states),
        gradient_scale=lambda self, p: -1 / (1 - p.mdp.discount),
    )
    found = diagnosed(verify(both, X), X)
    assert len(found) == 2
    assert set(found) & {"weights-differ-between-F-and-g", "uniform-state-weights"}


@pytest.mark.slow
def test_a_mistake_beside_damping_names_both():
    def solve(self, F, g):
        return np.linalg.solve(F * F + 0.05 * np.eye(len(g)), g)

    wrong = subject(
        fisher=lambda self, p: np.diag(np.diag(ExactSoftmax.fisher(self, p))),
        solve=lambda self, F, g: np.linalg.solve(F + 0.05 * np.eye(len(g)), g),
    )
    found = diagnosed(verify(wrong, X), X)
    assert found == {"diagonal-fisher": None, "damping": 0.05}
    assert "damping" not in diagnosed(verify(subject(solve=solve), X), X)


def test_a_named_approximation_deviates_and_its_properties_are_not_findings():
    diagonal = subject(fisher=lambda self, p: np.diag(np.diag(ExactSoftmax.fisher(self, p))))
    report = verify(diagonal, F, X)
    assert statuses(report) == {F: "deviates", X: "deviates"}
    assert not [r for r in report.results if r.status == "fail"]
    assert result(report, "NPG-NG-003").status == "skip"


def test_what_nobody_has_thought_of_has_no_name():
    strange = subject(fisher=lambda self, p: np.cos(ExactSoftmax.fisher(self, p)))
    report = verify(strange, F, X)
    assert statuses(report) == {F: "fail", X: "fail"}
    assert diagnosed(report, F) == diagnosed(report, X) == {}
    assert result(report, "NPG-F-001").reason


@pytest.mark.parametrize(
    ("name", "members", "quantity"),
    [
        pytest.param(
            "preconditioner-not-applied",
            {"solve": lambda self, F, g: g},
            X,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "square-root-of-F",
            {"solve": lambda self, F, g: _root(F, g)},
            X,
            marks=pytest.mark.slow,
        ),
        ("fisher-factor-two", {"fisher": lambda self, p: 2 * ExactSoftmax.fisher(self, p)}, F),
    ],
)
def test_without_its_entry_a_mistake_gets_no_other_name(name, members, quantity):
    wrong = subject(**members)
    assert name in diagnosed(verify(wrong, quantity), quantity)
    with left_out([name]):
        report = verify(wrong, quantity)
    assert statuses(report) == {quantity: "fail"}
    assert diagnosed(report, quantity) == {}


def _root(F, g):
    values, vectors = np.linalg.eigh(F)
    kept = values > 1e-11 * values.max()
    return vectors[:, kept] @ (values[kept] ** -0.5 * (vectors[:, kept].T @ g))


@pytest.mark.slow
def test_a_choice_that_undoes_a_free_factor_is_no_explanation():
    """(F + λI)x = g with λ left out: the horizon counted twice over a g without it is g again."""
    damped = subject(solve=lambda self, F, g: np.linalg.solve(F + 0.1 * np.eye(len(g)), g))
    with left_out(["damping"]):
        report = verify(damped, X)
    assert "horizon-factor-twice" not in diagnosed(report, X)


def test_zero_answers_are_not_explained_by_a_vanishing_matrix():
    """F = 0 lets every x satisfy F x = 0; it must not explain them."""
    noise = subject(natural_gradient=lambda self, p: np.sin(np.arange(len(p.theta)) + 1.0))
    assert diagnosed(verify(noise, X), X) == {}


def test_names_are_reproduced_on_fresh_problems():
    wrong = subject(fisher=lambda self, p: 2 * ExactSoftmax.fisher(self, p))
    first = result(verify(wrong, F, examples=24), "NPG-F-001").diagnosis[0]
    assert first.reproduces == 24 - 1 - question.SCREEN
    assert formula_text(first).startswith("fisher-factor-two: ")


def test_a_class_is_told_as_one():
    down = subject(critic=lambda self, p: -ExactSoftmax.advantage(self, p))
    found = [d for d in result(verify(down, G), "NPG-PG-001").diagnosis if d.kind == "bug"]
    names = {found[0].choice, *found[0].alternatives}
    assert names >= {"ascent-descent-sign", "advantage-negated", "negative-score"}


def test_disagreeing_quantities_have_a_name():
    two = subject(
        update=lambda self, p, eta: (
            p.theta + eta * (1 - p.mdp.discount) * ExactSoftmax.natural_gradient(self, p)
        )
    )
    report = verify(two, X, "update")
    assert statuses(report) == {X: "pass", "update": "fail"}
    assert "scales-differ-between-quantities" in diagnosed(report, "update")


def test_rules_of_a_line_search_are_a_convention():
    class Unchecked(ExactSoftmax):
        def accepts(self, problem, theta, max_kl):
            return self.surrogate(problem, theta) >= self.surrogate(problem, problem.theta)

    report = verify(Unchecked(), "trust_region_step", examples=40)
    step = result(report, "NPG-TS-001")
    assert step.status == "deviates"
    told = next(d for d in step.diagnosis if d.stage == "line_search")
    assert (told.choice, told.alternatives) == ("kl-not-checked", ())
    assert "line_search=" in report.declare


@pytest.mark.slow
def test_a_step_within_the_null_space_is_no_step():
    """It moves no policy: judged as θ that came back unchanged, not as a division by zero."""

    def aside(self, p, max_kl):
        return p.theta + 1e3 * np.repeat(np.arange(1.0, p.observation_size + 1), p.num_actions)

    report = verify(subject(trust_region_step=aside), "trust_region_step")
    assert statuses(report) == {"trust_region_step": "fail"}


def test_a_singular_solve_is_named():
    plain = subject(solve=lambda self, F, g: _singular(F, g))
    report = verify(plain, X, families=("tabular",))
    found = next(r for r in report.results if r.kind == "contract" and r.status == "fail")
    assert [d.choice for d in found.diagnosis] == ["no-damping"]


def _singular(F, g):
    raise np.linalg.LinAlgError("Singular matrix")


def test_what_reaches_what():
    assert ancestors("value") >= {"chain", "rewards", "discount"}
    assert reaches(ATLAS["wrong-discount"], "g")
    assert not reaches(ATLAS["wrong-discount"], "log_answer")
    assert reaches(ATLAS["loss-gradient-outer-product"], "direction")
    assert not reaches(ATLAS["preconditioner-not-applied"], "F")


def test_numbers_are_found_in_narrow_valleys():
    def misfit(x):
        return min(abs(x - 0.4), 0.05)

    low, high = valleys.bracket(misfit, 0.1, 1.0)
    assert low < 0.4 < high
    assert valleys.minimise(misfit, low, high) == pytest.approx(0.4, rel=1e-9)


def test_bases_are_hashable_and_small():
    assert len({Base(), Base(), Base("batch")}) == 2
