"""Each property with a planted violation, and with right subjects that it spares.

A planted violation is judged by the property alone where the value would refute it as well: the
result looked at is that of the property.
"""

from __future__ import annotations

import numpy as np
import pytest
from judging import ExactSoftmax, result, subject, verify

from npgcheck.conformance.check_ids import PROPERTIES
from npgcheck.conformance.controls._rows import BatchSoftmax

BASE = ExactSoftmax


def no_mean(self, problem, state, action):
    """The score without its mean."""
    x = problem.observations[state]
    return np.kron(x, np.eye(problem.num_actions)[action])


def lopsided(self, problem):
    return np.triu(BASE.fisher(self, problem))


def shifted(self, problem):
    bare = BASE.fisher(self, problem)
    return bare - 0.1 * np.eye(len(bare))


def lopsided_product(self, problem, vector):
    return np.triu(BASE.fisher(self, problem)) @ vector


def shifted_product(self, problem, vector):
    return BASE.fisher_vector_product(self, problem, vector) - vector


def entropy_in_kl(self, problem, theta):
    """The cross entropy, which is not zero at θ."""
    new, old = self.log_pi(problem, theta), self.pi(problem)
    return float(-self.kl_weights(problem) @ (old * new).sum(axis=1))


def linear_kl(self, problem, theta):
    """KL and a slope at θ."""
    return BASE.kl(self, problem, theta) + 0.1 * float((theta - problem.theta).sum())


def clipped_rewards(self, problem):
    """Q of rewards that are cut off where they are small."""
    m = problem.mdp
    rewards = np.where(np.abs(m.rewards) < 1e-2, 0.0, m.rewards)
    value = np.linalg.solve(
        np.eye(len(rewards)) - m.discount * self.chain(problem),
        (self.pi(problem) * rewards).sum(axis=1),
    )
    q = rewards + m.discount * (m.transitions @ value)
    return q - value[:, None]


def rows_counted(name):
    """A mean over rows that divides by N twice."""

    def answer(self, problem, *args):
        return getattr(BatchSoftmax, name)(self, problem, *args) / len(problem.batch.actions)

    return {name: answer}


def diagonal_root(self, F, g):
    """Right for no policy, and without a name."""
    return g / np.sqrt(np.diag(F))


VIOLATED = {
    "NPG-SC-002": ("score", BASE, {"score": no_mean}),
    "NPG-F-002": ("fisher", BASE, {"fisher": lopsided}),
    "NPG-F-003": ("fisher", BASE, {"fisher": shifted}),
    "NPG-FV-002": ("fisher_vector_product", BASE, {"fisher_vector_product": lopsided_product}),
    "NPG-FV-003": ("fisher_vector_product", BASE, {"fisher_vector_product": shifted_product}),
    "NPG-KL-002": ("kl", BASE, {"kl": entropy_in_kl}),
    "NPG-KL-003": ("kl", BASE, {"kl": linear_kl}),
    "NPG-PG-002": ("policy_gradient", BASE, {"critic": clipped_rewards}),
    "NPG-NG-002": ("natural_gradient", BASE, {"critic": clipped_rewards}),
    "NPG-NG-003": ("natural_gradient", BASE, {"solve": diagonal_root}),
    "NPG-F-004": ("fisher", BatchSoftmax, rows_counted("fisher")),
    "NPG-FV-004": (
        "fisher_vector_product",
        BatchSoftmax,
        rows_counted("fisher_vector_product"),
    ),
    "NPG-PG-003": ("policy_gradient", BatchSoftmax, rows_counted("policy_gradient")),
}


def test_every_property_has_a_planted_violation():
    assert set(VIOLATED) == set(PROPERTIES)


@pytest.mark.slow
def test_the_vanilla_gradient_is_not_invariant_and_is_told_so():
    """The control of invariance: what the natural gradient was invented for (Kakade 2001)."""

    def steepest(self, problem):
        return self.policy_gradient(problem) + 1e-3  # no single iteration of conjugate gradient

    report = verify(subject(natural_gradient=steepest), "natural_gradient", examples=10)
    assert result(report, "NPG-NG-001").status == "fail"
    assert result(report, "NPG-NG-003").status == "fail"


def test_a_wrong_direction_may_still_be_invariant():
    """The sign is wrong, the geometry is right: the property tells the two apart."""
    flipped = subject(natural_gradient=lambda self, p: -BASE.natural_gradient(self, p))
    report = verify(flipped, "natural_gradient", examples=10)
    assert result(report, "NPG-NG-001").status == "fail"
    assert result(report, "NPG-NG-003").status == "pass"


@pytest.mark.parametrize("check", VIOLATED)
def test_a_planted_violation_is_refuted(check):
    quantity, base, members = VIOLATED[check]
    found = result(verify(subject(base, **members), quantity, examples=10), check)
    assert found.status == "fail"
    assert found.worst > 1.0
    assert "violated on problem p-" in found.reason
    assert found.refuted_after is not None


BATCHES = ("NPG-F-004", "NPG-FV-004", "NPG-PG-003")
EXACT = [c for c in PROPERTIES if c not in BATCHES]
QUANTITIES = tuple(dict.fromkeys(q for q, _ in PROPERTIES.values()))


def rounded(name):
    """Computed in double precision, returned in single."""
    return lambda self, *args: np.float32(getattr(BASE(), name)(*args))


SINGLE = {name: rounded(name) for name in QUANTITIES}


@pytest.fixture(scope="module")
def right():
    return {
        "float64": verify(subject(), *QUANTITIES, examples=16),
        "single": verify(subject(**SINGLE), *QUANTITIES, examples=16),
        "no horizon": verify(subject(gradient_scale=lambda self, p: 1.0), *QUANTITIES, examples=16),
    }


@pytest.mark.parametrize("check", EXACT)
def test_right_subjects_are_spared(right, check):
    for style, report in right.items():
        found = result(report, check)
        # The slope of KL at θ drowns in single precision's rounding; then nothing is said.
        drowned = (style, check) == ("single", "NPG-KL-003")
        assert found.status == ("skip" if drowned else "pass"), style
        assert found.worst <= 1.0


def test_rows_several_times_change_nothing_in_right_code():
    report = verify(BatchSoftmax(), "fisher", "fisher_vector_product", "policy_gradient")
    for check in BATCHES:
        assert result(report, check).status == "pass"


def test_the_properties_of_batches_are_skipped_where_no_rows_are_read(right):
    for check in BATCHES:
        found = result(right["float64"], check)
        assert found.status == "skip"
        assert found.reason == "no problem that could show it"


def test_affine_invariance_is_not_asked_of_a_damped_solve():
    def damped(self, F, g):
        return np.linalg.solve(F + 0.1 * np.eye(len(g)), g)

    report = verify(subject(solve=damped), "natural_gradient", examples=10)
    assert result(report, "NPG-NG-001").status == "deviates"
    assert result(report, "NPG-NG-003").status == "skip"


def test_the_accuracy_found_for_the_value_is_allowed_in_its_properties():
    """Single precision inside is symmetric and semidefinite to single precision."""

    def rough(self, problem):
        noise = np.random.default_rng(0).uniform(-1, 1, 2 * [problem.theta.size])
        bare = BASE.fisher(self, problem)
        return bare * (1.0 + 2.0**-24 * noise)

    report = verify(subject(fisher=rough), "fisher", examples=16)
    assert [result(report, f"NPG-F-00{i}").status for i in (1, 2, 3)] == [
        "deviates",
        "pass",
        "pass",
    ]
