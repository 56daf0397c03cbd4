"""Parts of F in its place: diagonals, triangles, blocks and Kronecker factors, in F v and in x."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import npgcheck
from npgcheck import check_step
from npgcheck.step import dense, kronecker
from npgcheck.step.controls import campaign, heads
from npgcheck.step.controls.network import Network
from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong_parts import PARTS_OF_F, _kfac

STAGES = {
    "a hidden layer": (heads.bernoulli(3), Network((4, 12, 3), "silu")),
    "a linear policy": (heads.multi_discrete((3, 2)), Network((5, 5), "linear")),
    "kinks, and σ of the state": (
        heads.gaussian(2, state_dependent=True),
        Network((3, 8, 4), "relu"),
    ),
    "free log σ": (heads.gaussian(2), Network((3, 7, 2), "tanh", free=2)),
    "softmax": (heads.categorical(4), Network((3, 6, 4), "tanh")),
}


def step(stage, dtype="float64", seed=3, **more):
    head, network = STAGES[stage]
    return Step.draw(head, network, 90, np.random.default_rng(seed), dtype, **more)


def names(report, quantity):
    found = [r for r in report.results if r.quantity == quantity]
    return {d.choice for r in found for d in r.diagnosis}


PLANTED = [
    pytest.param(mistake, stage, dtype, id=f"{mistake.name}, {stage}, {dtype}")
    for mistake in PARTS_OF_F
    for stage, (head, _) in STAGES.items()
    for dtype in ("float64", "float32")
    if mistake.concerns(head, dtype)
]


@pytest.mark.parametrize(("mistake", "stage", "dtype"), PLANTED)
def test_a_part_is_named(mistake, stage, dtype):
    right = step(stage, dtype)
    report = campaign.judge(mistake.apply(right))
    results = [r for r in report.results if r.quantity == mistake.quantity]
    assert mistake.choice in names(report, mistake.quantity), str(report)
    assert any(r.status == mistake.status and r.explained_by is None for r in results), str(report)


@pytest.mark.parametrize("stage", STAGES)
def test_x_alone_is_told_as_well(stage):
    mistake = next(m for m in PARTS_OF_F if m.name == "x by diag(F)")
    given = mistake.apply(step(stage)).arguments()
    kept = ("policy", "theta", "observations", "actions", "advantages", "direction")
    law = STAGES[stage][0].name
    report = check_step(**{k: given[k] for k in kept}, distribution=law)
    assert "diagonal-fisher" in names(report, "natural_gradient"), str(report)


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("stage", STAGES)
def test_a_solve_that_stops_early_is_no_part_of_f(stage, iterations):
    given = step(stage, damping=0.01, iterations=iterations).arguments()
    kept = ("policy", "theta", "observations", "actions", "advantages", "direction")
    law = STAGES[stage][0].name
    report = check_step(**{k: given[k] for k in kept}, distribution=law)
    parts = {m.choice for m in PARTS_OF_F}
    assert not parts & names(report, "natural_gradient"), str(report)


def test_nothing_is_said_of_a_random_direction():
    right = step("softmax")
    given = right.arguments()
    x = np.random.default_rng(0).standard_normal(len(right.theta))
    kept = ("policy", "theta", "observations", "actions", "advantages")
    report = check_step(**{k: given[k] for k in kept}, direction=x, distribution="categorical")
    assert not names(report, "natural_gradient"), str(report)


def whole(policy, theta, right):
    """What `dense` makes of a policy of one's own on the rows of a step."""
    from npgcheck.step import arrays
    from npgcheck.step.policy import read_policy
    from npgcheck.step.run import Run

    acted, kind = arrays.of_actions(right.actions)
    read = read_policy(policy, theta, right.observations, acted, right.head.name)
    run = Run(read, acted, kind, right.advantages, None, {}, None, 0)
    return dense.Dense.of(run.probes)


def test_f_and_g_in_full_are_those_of_the_step():
    right = replace(step("softmax"), damping=0.0)
    found = whole(right.policy, right.theta, right)
    product = np.stack([right.product(e) for e in np.eye(len(right.theta))])
    assert np.abs(found.fisher - product).max() < 1e-8 * np.abs(product).max()
    assert np.abs(found.gradient - right.gradient()).max() < 1e-8 * np.abs(right.gradient()).max()


LAYOUTS = {
    "W by inputs, then b": lambda w, b: np.concatenate([w.ravel(), b]),
    "W by outputs, then b (torch)": lambda w, b: np.concatenate([w.T.ravel(), b]),
    "b, then W by inputs (jax)": lambda w, b: np.concatenate([b, w.ravel()]),
    "b, then W by outputs": lambda w, b: np.concatenate([b, w.T.ravel()]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layers_are_found_wherever_weights_and_biases_stand(layout):
    """The same factors, in another order of θ."""
    right = step("softmax")
    at, order, size = 0, [], np.arange(len(right.theta))
    for inputs, outputs in ((3, 6), (6, 4)):
        end = at + inputs * outputs
        w, b = size[at:end].reshape(inputs, outputs), size[end : end + outputs]
        order.append(LAYOUTS[layout](w, b))
        at = end + outputs
    place = np.concatenate(order)  # θ' = θ[place]
    back = np.argsort(place)

    def policy(theta, observations):
        return right.policy(theta[back], observations)

    found = whole(policy, right.theta[place], right)
    wanted = ("kronecker-fisher",)
    other = _kfac(right)[np.ix_(place, place)]
    off = [np.abs(p.matrix - other).max() for p in kronecker.products(found) if p.choices == wanted]
    assert min(off) < 1e-6 * np.abs(other).max()


def test_no_layers_are_made_up():
    """Outputs that are no network of layers have no factors."""
    right = step("softmax")

    def policy(theta, observations):
        z = right.network.outputs(theta, observations)
        return z + 0.1 * np.sin(theta[:4]) * np.outer(observations[:, 0], theta[4:8]) ** 2

    found = whole(policy, right.theta, right)
    assert not list(kronecker.products(found))


def alone(step, x, **more):
    rows = (step.policy, step.theta, step.observations, step.actions, step.advantages)
    return check_step(*rows, direction=x, distribution=step.head.name, **more)


def test_a_multiple_of_the_gradient_has_no_part_for_a_name():
    """Centred features: the outer product of the mean feature is zero, of ±1 diag F is even."""
    right = Step.draw(
        heads.categorical(3), Network((4, 3), "linear"), 60, np.random.default_rng(0), damping=0.0
    )
    flat = np.where(right.observations > 0, 1.0, -1.0)
    for observations in (right.observations - right.observations.mean(axis=0), flat):
        changed = replace(right, observations=observations, theta=0.0 * right.theta)
        g = changed.gradient()
        for c in (1.0, 0.5, 3e-4, 3.0):
            assert not names(alone(changed, c * g), "natural_gradient"), c


@pytest.mark.parametrize("seed", range(6))
def test_badly_scaled_features_do_not_make_blocks(seed):
    """What is small beside the largest equation is not solved for that."""
    rng, big = np.random.default_rng(seed), 4  # two features, two dimensions
    right = Step.draw(heads.gaussian(2), Network((4, 2), "linear", free=2), 40, rng, damping=0.0)
    right.observations[:, :2] *= 1000.0
    right.theta[:big] /= 1000.0  # the same outputs
    matrix = np.stack([right.product(e) for e in np.eye(len(right.theta))])
    x = right.gradient().copy()
    x[:big] = np.linalg.solve(matrix[:big, :big], x[:big])
    report = alone(right, x)
    assert "block-fisher" not in names(report, "natural_gradient"), str(report)


def test_the_damping_beside_a_part_is_held_to_what_was_declared():
    right = step("softmax", damping=0.0)
    diagonal = np.diag(np.stack([right.product(e) for e in np.eye(len(right.theta))]))
    x = right.gradient() / (diagonal + 0.01)
    report = alone(right, x, conventions=npgcheck.Conventions(damping=0.1))
    assert not report.passed
    said = next(r.reason for r in report.results if r.quantity == "natural_gradient")
    assert said == "damping λ = 0.1 is declared, the solve shows λ = 0.01"
    report = alone(right, x)
    found = next(r for r in report.results if r.quantity == "natural_gradient")
    assert found.status == "deviates"
    assert found.digits > 4


def test_no_advantages_are_no_mistake_of_the_matrix():
    right = step("softmax")
    right.advantages = 0.0 * right.advantages
    x = np.random.default_rng(0).standard_normal(len(right.theta))
    assert not names(alone(right, x), "natural_gradient")
