"""The planted subjects themselves: right ones are right, mistakes show, nothing is borrowed."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import control_answers
import pytest

from npgcheck.conformance import controls as package
from npgcheck.conformance.contract import QUANTITIES, in_order
from npgcheck.conformance.controls import STAGES, controls, find
from npgcheck.conformance.controls.registry import registered, right, wrong
from npgcheck.conformance.subject import load
from npgcheck.errors import UsageError

FOLDER = Path(package.__file__).parent
ALLOWED = {"npgcheck.errors", "npgcheck.conventions"}
LIBRARIES = {"numpy", "scipy", "autograd", "torch"}


def marked(chosen):
    return [pytest.param(c, id=c.name, marks=control_answers.marks(c)) for c in chosen]


def needs(control):
    if control.needs and find_spec(control.needs) is None:
        pytest.skip(f"{control.needs} is not installed")


def test_there_are_enough_of_them_over_every_stage():
    mistakes = controls("wrong")
    assert len(mistakes) >= 60
    assert sum(c.whole for c in mistakes) >= 60
    assert {c.stage for c in mistakes} == set(STAGES)
    assert len(controls("right")) >= 20
    assert all(c.reason for c in controls("equivalent"))


def test_every_quantity_of_the_contract_is_planted_in():
    planted = set().union(*(c.refutes for c in controls("wrong")))
    assert planted == set(QUANTITIES)


def test_names_and_descriptions_are_unique():
    everything = registered()
    assert len({c.name for c in everything}) == len(everything)
    assert len({c.description for c in everything}) == len(everything)


def test_expectations_name_functions_that_the_subject_defines():
    for control in controls():
        defined = set(load(control.build()).functions)
        expected = control.refutes | control.spares | control.asks
        assert expected <= defined, (control.name, expected - defined)
        assert not control.refutes & control.spares, control.name


def test_an_unknown_control_is_answered_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"Did you mean 'damping-0\.1'"):
        find("dampin-0.1")


def test_registering_twice_or_without_description_is_refused():
    with pytest.raises(ValueError, match="two controls are called"):
        right("dense-pseudo-inverse")(type("Again", (), {"__doc__": "Again."}))
    with pytest.raises(ValueError, match="unknown stage"):
        wrong("new", stage="nowhere", refutes="kl")(type("New", (), {"__doc__": "New."}))
    with pytest.raises(ValueError, match="no docstring"):
        right("silent")(type("Silent", (), {}))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda f: f.name)
def test_controls_borrow_nothing_from_the_mathematics(file):
    """Agreement with the verifier means something only between strangers."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "npgcheck":
                assert name in ALLOWED, f"{file.name} imports {name}"


X = {"natural_gradient", "update", "trust_region_proposal"}
DECLARED = {  # deviations that they declare, so that the second routes disagree on purpose
    "declared-damping": X,
    "declared-truncated-cg": X,
    "declared-damped-product-and-length": {*X, "fisher_vector_product"},
    "declared-empirical-fisher": {*X, "fisher", "fisher_vector_product"},
}


@pytest.mark.parametrize("control", marked([*controls("right"), *controls("equivalent")]))
def test_right_controls_agree_with_the_second_routes(control):
    needs(control)
    subject = load(control.build())
    if subject.families == {"own"}:
        pytest.skip("a policy of its own is tried below")
    asked = control.asks or frozenset(subject.functions)
    damped = DECLARED.get(control.name, set())
    single = control.name == "float32"
    answered = 0
    for quantity in in_order(asked - damped):
        for family, correct, fault in control_answers.outcomes(control, quantity):
            assert fault is None, (quantity, family, fault)
            assert correct or single, (quantity, family)
            answered += 1
    assert answered >= 3


@pytest.mark.parametrize(
    "control", marked(c for c in controls("right") if load(c.build()).families == {"own"})
)
def test_own_policies_have_the_derivatives_that_they_claim(control):
    import numpy as np

    needs(control)
    problem = control_answers.problems("softmax")[0]
    subject = control.build()
    D = subject.num_parameters(problem)
    theta = np.random.default_rng(0).standard_normal(D)

    class Elsewhere:
        """The problem with the subject's own θ; plain data only."""

        def __getattr__(self, name):
            return getattr(problem, name)

    own = Elsewhere()
    own.theta = theta

    def log_pi(t):
        z = np.asarray(subject.logits(own, problem.observations, t))
        return z - np.logaddexp.reduce(z, axis=1, keepdims=True)

    h = 1e-6
    J = np.stack(
        [(log_pi(theta + h * e) - log_pi(theta - h * e)) / (2 * h) for e in np.eye(D)], axis=-1
    )
    pi, m = np.exp(log_pi(theta)), problem.mdp
    M = np.eye(len(pi)) - m.discount * np.einsum("sa,sat->st", pi, m.transitions)
    d = (1 - m.discount) * np.linalg.solve(M.T, m.initial_distribution)
    F = np.einsum("s,sa,sad,sae->de", d, pi, J, J)
    V = np.linalg.solve(M, (pi * m.rewards).sum(axis=1))
    adv = m.rewards + m.discount * m.transitions @ V - V[:, None]
    g = np.einsum("s,sa,sa,sad->d", d, pi, adv, J) / (1 - m.discount)
    # central differences with h = 1e-6 err by about 1e-9
    np.testing.assert_allclose(np.asarray(subject.policy_gradient(own)), g, atol=1e-7)
    v = np.arange(1.0, D + 1)
    if hasattr(subject, "fisher"):
        np.testing.assert_allclose(subject.fisher(own), F, atol=1e-7)
    else:
        product = np.asarray(subject.fisher_vector_product(own, v))
        np.testing.assert_allclose(product, F @ v, atol=1e-6)


ELSEWHERE = {
    # on the edge cases, or where the rank of F is above ten
    "exp-without-shift",
    "division-by-gamma",
    "not-a-number-where-never-visited",
    "log-prob-clipped",
    "cg-zero-over-zero",
    "ten-cg-iterations",
    # beyond the seventh digit
    "single-precision-inside",
    "kl-of-safe-probabilities",
    "gamma-in-single-precision",
    "agent-single-precision",
    "torch-single-precision",
    # each quantity is right under some convention, and no convention fits them all
    "length-from-unscaled-gradient",
    "update-forgets-the-horizon",
}


@pytest.mark.parametrize(
    "control",
    marked(
        c
        for c in controls("wrong")
        if not c.isolate and c.name not in ELSEWHERE and load(c.build()).families != {"own"}
    ),
)
def test_planted_mistakes_show_in_the_numbers(control):
    """No plant is vacuous: an answer is wrong, faulty or different when asked twice."""
    needs(control)
    for quantity in in_order(control.refutes):
        if control.name in ("buffer-not-cleared", "rewards-normalised-in-place"):
            list(control_answers.outcomes(control, quantity))
        seen = list(control_answers.outcomes(control, quantity))
        assert seen, f"{quantity} was never answered"
        assert any(fault is not None or not ok for _, ok, fault in seen), quantity


def test_a_copy_allows_augmented_assignment_and_nothing_else():
    """``problem.theta -= c`` ends with an assignment of the same array."""
    from dataclasses import FrozenInstanceError

    copy = control_answers.problems("softmax")[0].writable_copy()
    before = copy.theta.copy()
    copy.theta -= 1.0
    copy.mdp.rewards *= 2.0
    assert (copy.theta == before - 1.0).all()
    assert "theta" in copy.changes()
    with pytest.raises(FrozenInstanceError, match=r"problem\.at\(theta\)"):
        copy.theta = before
