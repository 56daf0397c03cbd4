"""One vector explains all: in the search itself, and in the verdicts on whole subjects."""

from __future__ import annotations

import numpy as np
import pytest
from judging import ExactSoftmax, named, result, statuses, subject, verify

import npgcheck
from npgcheck.conformance.fitting import Fit
from npgcheck.conformance.reconcile import contradicts, reconcile

MDP = {"sampled": "mdp", "weighting": "discounted"}
FISHER = {**MDP, "fisher": "true", "fisher_scale": "normalised"}
WIDE = {**FISHER, "fisher_scale": "unnormalised"}
GRADIENT = {**MDP, "advantage": "advantage", "gradient_factor": "1/(1-gamma)"}
SHORT = {**GRADIENT, "gradient_factor": "1"}


def fits(*options):
    return [Fit(choices, (), ()) for choices in options]


def settle(**options):
    """The vector, and the choices settled on: None where a quantity is left out."""
    vector, chosen = reconcile({name: fits(*found) for name, found in options.items()})
    return vector, {name: fit and fit.choices for name, fit in chosen.items()}


# ---- the search --------------------------------------------------------------------------------


def test_the_explanation_that_the_others_share_is_preferred_to_a_cheaper_one():
    """x = (1−γ)F⁻¹∇J is short in g, or long in F; beside a long F it is the latter."""
    x_short, x_long = {**FISHER, **SHORT}, {**WIDE, **GRADIENT}
    for order in ((x_short, x_long), (x_long, x_short)):
        _, chosen = settle(policy_gradient=[GRADIENT], fisher=[WIDE], natural_gradient=[*order])
        assert chosen["natural_gradient"] == x_long
        _, chosen = settle(policy_gradient=[SHORT], fisher=[FISHER], natural_gradient=[*order])
        assert chosen["natural_gradient"] == x_short


def test_a_factor_that_fits_no_other_quantity_is_left_out():
    vector, chosen = settle(
        policy_gradient=[GRADIENT], fisher=[FISHER], natural_gradient=[{**FISHER, **SHORT}]
    )
    assert chosen == {"policy_gradient": GRADIENT, "fisher": FISHER, "natural_gradient": None}
    assert contradicts(vector, "natural_gradient", {**FISHER, **SHORT}) == [
        ("gradient_factor", "1", "1/(1-gamma)")
    ]


def test_of_two_that_disagree_over_a_free_choice_the_higher_layer_is_left_out():
    _, chosen = settle(fisher=[WIDE], natural_gradient=[{**FISHER, **GRADIENT}])
    assert chosen == {"fisher": WIDE, "natural_gradient": None}


def test_of_two_that_disagree_over_a_convention_the_contract_s_own_is_kept():
    undiscounted = {**FISHER, "weighting": "undiscounted"}
    right = {**FISHER, **GRADIENT}
    _, chosen = settle(fisher=[undiscounted], natural_gradient=[right])
    assert chosen == {"fisher": None, "natural_gradient": right}


def test_two_against_one_leaves_out_the_one_even_below():
    _, chosen = settle(
        fisher=[WIDE],
        natural_gradient=[{**FISHER, **GRADIENT}],
        update=[{**FISHER, **GRADIENT}],
    )
    assert chosen["fisher"] is None
    assert chosen["update"] is not None


def test_a_damped_product_beside_an_undamped_matrix_is_one_vector():
    damped = {**FISHER, "damping": 0.1}
    vector, chosen = settle(
        fisher=[FISHER],
        fisher_vector_product=[damped],
        natural_gradient=[{**damped, **GRADIENT}],
    )
    assert None not in chosen.values()
    assert vector["damping"] == 0.1


def test_a_damped_solve_beside_an_undamped_product_is_one_vector():
    solve = {**FISHER, **GRADIENT, "damping": 0.1}
    _, chosen = settle(fisher_vector_product=[FISHER], natural_gradient=[solve])
    assert None not in chosen.values()


@pytest.mark.parametrize("solved", [0.0, 0.1 * (1 + 3e-6), 0.2])
def test_a_solve_with_another_damping_than_its_product_conflicts(solved):
    product = {**FISHER, "damping": 0.1}
    vector, chosen = settle(
        fisher_vector_product=[product],
        natural_gradient=[{**FISHER, **GRADIENT, "damping": solved}],
    )
    # An undamped solve follows the contract: then it is the product that stands alone.
    alone = "natural_gradient" if solved else "fisher_vector_product"
    assert [name for name, found in chosen.items() if found is None] == [alone]
    assert "damping" not in vector or not solved


def test_a_matrix_and_a_product_with_two_dampings_conflict():
    matrix = {**FISHER, "damping_in_fisher": 0.1}
    _, chosen = settle(fisher=[matrix], fisher_vector_product=[{**FISHER, "damping": 0.2}])
    assert chosen == {"fisher": matrix, "fisher_vector_product": None}


def test_dampings_agree_to_six_digits():
    product, solve = {**FISHER, "damping": 0.1}, {**FISHER, **GRADIENT, "damping": 0.1 + 5e-8}
    _, chosen = settle(fisher_vector_product=[product], natural_gradient=[solve])
    assert None not in chosen.values()


def test_rows_carry_no_time_and_agree_with_every_weighting():
    batch = {**FISHER, "sampled": "batch"}
    undiscounted = {**GRADIENT, "weighting": "undiscounted"}
    _, chosen = settle(policy_gradient=[undiscounted], fisher=[batch])
    assert None not in chosen.values()


def test_the_factor_of_a_surrogate_is_its_own():
    _, chosen = settle(policy_gradient=[GRADIENT], surrogate=[SHORT])
    assert None not in chosen.values()


def test_all_solves_stop_after_the_same_number_of_iterations():
    ten = {**FISHER, **GRADIENT, "cg_iterations": 10}
    _, chosen = settle(natural_gradient=[ten], update=[ten])
    assert None not in chosen.values()
    _, chosen = settle(natural_gradient=[ten], update=[{**FISHER, **GRADIENT}])
    assert chosen == {"natural_gradient": None, "update": {**FISHER, **GRADIENT}}


def test_nothing_to_reconcile():
    assert settle() == ({}, {})
    assert settle(fisher=[]) == ({}, {})


# ---- whole subjects ----------------------------------------------------------------------------


def damped(where, solved=0.1):
    """A right pipeline with λ in its products, its matrix or its solve."""

    def product(self, problem, vector):
        bare = ExactSoftmax.fisher_vector_product(self, problem, vector)
        return bare + 0.1 * vector if "product" in where else bare

    def solve(self, F, g):
        if not solved:
            return ExactSoftmax.solve(self, F, g)
        return np.linalg.solve(F + solved * np.eye(len(g)), g)

    def fisher(self, problem):
        bare = ExactSoftmax.fisher(self, problem)
        return bare + 0.1 * np.eye(len(bare)) if "fisher" in where else bare

    def natural_gradient(self, problem):
        return self.solve(ExactSoftmax.fisher(self, problem), self.policy_gradient(problem))

    return {
        "fisher_vector_product": product,
        "fisher": fisher,
        "solve": solve,
        "natural_gradient": natural_gradient,
    }


ASKED = ("fisher", "fisher_vector_product", "natural_gradient", "update")


def test_a_damped_product_beside_an_undamped_fisher_is_normal():
    report = verify(subject(**damped({"product"})), *ASKED)
    assert statuses(report) == {
        "fisher": "pass",
        "fisher_vector_product": "deviates",
        "natural_gradient": "deviates",
        "update": "deviates",
    }
    assert named(report, "natural_gradient") == {"damping": pytest.approx(0.1, rel=1e-6)}
    assert report.declare == "conventions = npgcheck.Conventions(damping=0.1)"
    assert report.passed


def test_a_solve_with_another_damping_than_its_product_is_a_finding():
    mixed = subject(**damped({"product"}, solved=0.2))
    report = verify(mixed, "fisher_vector_product", "natural_gradient")
    assert statuses(report) == {"fisher_vector_product": "deviates", "natural_gradient": "fail"}
    failed = result(report, "NPG-NG-080")
    assert failed.reason == "right only with λ = 0.2, while the other quantities have λ = 0.1"
    assert not report.passed


def test_declared_damping_is_held_to_exactly_and_passes():
    declared = npgcheck.Conventions(damping=0.1, damping_in="product")
    right = subject(**damped({"product"}), conventions=declared)
    assert set(statuses(verify(right, *ASKED)).values()) == {"pass"}
    # A declaration is a promise: one part in a hundred thousand off is a broken one.
    for solved in (0.1 * (1 + 1e-5), 0.0):
        off = subject(**damped({"product"}, solved=solved), conventions=declared)
        report = verify(off, "natural_gradient")
        assert statuses(report) == {"natural_gradient": "fail"}, solved
        assert "declares damping=0.1" in result(report, "NPG-NG-001").reason


def test_damping_declared_inside_the_matrix_must_be_there():
    declared = npgcheck.Conventions(damping=0.1, damping_in="fisher")
    inside = subject(**damped({"product", "fisher"}), conventions=declared)
    assert set(statuses(verify(inside, *ASKED)).values()) == {"pass"}
    outside = subject(**damped({"product"}), conventions=declared)
    assert statuses(verify(outside, "fisher")) == {"fisher": "fail"}


def test_horizon_factors_may_be_left_out_consistently():
    """g = (1−γ)∇J with x = F⁻¹g, and F/(1−γ) with x = F⁻¹∇J, are one style each."""
    short = subject(gradient_scale=lambda self, problem: 1.0)

    def wide_fisher(self, problem):
        return ExactSoftmax.fisher(self, problem) / (1 - problem.mdp.discount)

    wide = subject(fisher=wide_fisher)
    for style in (short, wide):
        report = verify(style, "policy_gradient", "fisher", "natural_gradient")
        assert set(statuses(report).values()) == {"pass"}


def test_damping_declared_for_the_solve_alone_is_not_allowed_in_the_product():
    declared = npgcheck.Conventions(damping=0.1, damping_in="solve")
    right = subject(**damped(set()), conventions=declared)
    assert set(statuses(verify(right, *ASKED)).values()) == {"pass"}
    wrong = subject(**damped({"product"}), conventions=declared)
    report = verify(wrong, "fisher_vector_product")
    assert statuses(report) == {"fisher_vector_product": "fail"}
    assert "damping_in='solve'" in result(report, "NPG-FV-001").reason


def test_a_horizon_factor_in_one_place_only_is_a_finding():
    def short_direction(self, problem):
        return (1 - problem.mdp.discount) * ExactSoftmax.natural_gradient(self, problem)

    report = verify(
        subject(natural_gradient=short_direction), "policy_gradient", "fisher", "natural_gradient"
    )
    assert statuses(report) == {
        "policy_gradient": "pass",
        "fisher": "pass",
        "natural_gradient": "fail",
    }
    failed = result(report, "NPG-NG-080")
    assert failed.status == "fail"
    assert "while the other quantities have" in failed.reason


@pytest.mark.slow
def test_both_factors_at_once_fit_nothing():
    def twice(self, problem):
        return (1 - problem.mdp.discount) ** 2 * ExactSoftmax.natural_gradient(self, problem)

    report = verify(subject(natural_gradient=twice), "natural_gradient")
    assert statuses(report) == {"natural_gradient": "fail"}
    assert [d.choice for d in result(report, "NPG-NG-001").diagnosis] == ["horizon-factor-twice"]


def visits(self, problem):
    """State weights without γᵗ: visits before absorption, else the stationary distribution."""
    P, done = self.chain(problem), problem.mdp.terminal_states
    if done.any():
        inside = np.ix_(~done, ~done)
        counts = np.zeros(len(P))
        start = problem.mdp.initial_distribution[~done]
        counts[~done] = np.linalg.solve(np.eye((~done).sum()) - P[inside].T, start)
        return counts / counts.sum()
    system = np.vstack([np.eye(len(P)) - P.T, np.ones(len(P))])
    return np.linalg.lstsq(system, np.append(np.zeros(len(P)), 1.0), rcond=None)[0]


def test_two_weightings_in_one_subject_are_a_finding():
    """F without γᵗ beside a right g: each is right under a convention, no convention has both."""
    asked = ("policy_gradient", "fisher", "natural_gradient")
    both = verify(subject(fisher_weights=visits, gradient_weights=visits), *asked)
    assert set(statuses(both).values()) == {"deviates"}
    assert named(both, "fisher") == {"missing-gamma-t": None}
    report = verify(subject(fisher_weights=visits), *asked[:2])
    assert statuses(report) == {"policy_gradient": "pass", "fisher": "fail"}
    assert result(report, "NPG-F-080").status == "fail"
