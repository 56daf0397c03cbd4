"""A failure that a lower mistake fully explains says so; others do not hide behind it."""

from __future__ import annotations

import numpy as np
import pytest
from judging import ExactSoftmax, statuses, subject, verify

BASE = ExactSoftmax


def blamed(report):
    """Failing quantity → what explains it."""
    return {r.quantity: r.explained_by for r in report.results if r.status == "fail"}


def scaled(name, factor):
    """One answer off by a factor; what is computed from it follows."""
    return {name: lambda self, *args: factor * getattr(BASE, name)(self, *args)}


CHAINS = {
    "value": (
        {"value": lambda self, p: BASE.value(self, p) + np.arange(p.num_states)},
        ("value", "q_value", "advantage", "objective"),
        ("q_value", "advantage", "objective"),
    ),
    "q_value": (
        {
            "q_value": lambda self, p: BASE.q_value(self, p) + np.arange(p.num_actions),
            "advantage": lambda self, p: self.q_value(p) - self.value(p)[:, None],
        },
        ("value", "q_value", "advantage", "policy_gradient"),
        ("advantage", "policy_gradient"),
    ),
    "state_distribution": (
        {"state_distribution": lambda self, p: np.full(p.num_states, 1 / p.num_states)},
        ("state_distribution", "policy_gradient", "fisher", "kl", "surrogate"),
        ("policy_gradient", "fisher", "kl", "surrogate"),
    ),
    "policy_gradient": (
        {"policy_gradient": lambda self, p: np.abs(BASE.policy_gradient(self, p))},
        ("policy_gradient", "fisher", "natural_gradient", "update", "trust_region_proposal"),
        ("natural_gradient", "update", "trust_region_proposal"),
    ),
    "fisher": (
        {
            "fisher": lambda self, p: BASE.fisher(self, p) + np.diag(np.arange(p.theta.size)),
            "fisher_vector_product": lambda self, p, v: self.fisher(p) @ v,
        },
        ("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
        ("fisher_vector_product", "natural_gradient"),
    ),
    "natural_gradient": (
        {"natural_gradient": lambda self, p: np.abs(BASE.natural_gradient(self, p))},
        ("fisher", "natural_gradient", "update", "train"),
        ("update", "train"),
    ),
}


# The longest chains are followed among the slow tests.
LONG = ("policy_gradient", "natural_gradient")


@pytest.mark.parametrize(
    "root", [pytest.param(r, marks=pytest.mark.slow) if r in LONG else r for r in CHAINS]
)
def test_what_follows_from_a_lower_mistake_says_so(root):
    members, asked, above = CHAINS[root]
    found = blamed(verify(subject(**members), *asked, examples=12))
    assert found[root] is None
    assert set(found) == {root, *above}
    for quantity in above:
        # The nearest wrong layer below, or the root itself.
        assert found[quantity] in (root, *above[: above.index(quantity)]), quantity


def test_an_independent_mistake_is_not_excused():
    """g is wrong and x is wrong in a way of its own."""
    both = subject(
        policy_gradient=lambda self, p: -BASE.policy_gradient(self, p),
        natural_gradient=lambda self, p: np.sort(BASE.natural_gradient(self, p)),
    )
    found = blamed(verify(both, "policy_gradient", "natural_gradient", examples=12))
    assert found == {"policy_gradient": None, "natural_gradient": None}


def test_right_answers_above_a_mistake_are_not_blamed():
    """The update is computed apart from the direction, and is right."""
    apart = subject(
        natural_gradient=lambda self, p: -BASE.natural_gradient(self, p),
        update=lambda self, p, step: p.theta + step * BASE.natural_gradient(self, p),
    )
    report = verify(apart, "natural_gradient", "update", examples=12)
    assert statuses(report) == {"natural_gradient": "fail", "update": "pass"}


def test_each_quantity_is_judged_against_the_reference_not_its_own_lower_layer():
    """F is wrong; x, solved with that F, is wrong too, although consistent with it."""
    wrong = subject(
        fisher=lambda self, p: BASE.fisher(self, p) @ BASE.fisher(self, p),
    )
    report = verify(wrong, "policy_gradient", "fisher", "natural_gradient", examples=12)
    assert blamed(report) == {"fisher": None, "natural_gradient": "fisher"}


def test_a_named_mistake_belongs_to_the_lowest_layer_that_makes_it():
    def scores(self, problem):
        """e_a ⊗ x without the mean."""
        X, A = problem.observations, problem.num_actions
        return np.einsum("sk,ab->sakb", X, np.eye(A)).reshape(len(X), A, -1)

    named = subject(scores=scores, critic=BASE.q_value)
    report = verify(named, "score", "policy_gradient", "fisher", examples=12)
    assert blamed(report) == {"score": None, "policy_gradient": "score", "fisher": "score"}
    assert report.counts["mistakes"] == 1
