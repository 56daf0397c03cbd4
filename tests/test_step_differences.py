"""Directional derivatives of outputs: against tangents by hand, with errors that are bounds."""

from functools import partial

import numpy as np
import pytest

from npgcheck.step.controls.network import ACTIVATIONS, Network
from npgcheck.step.differences import Differences


def measured(network, seed, rows=60, coarse=False):
    rng = np.random.default_rng(seed)
    theta = network.initial(rng)
    observations = rng.standard_normal((rows, network.sizes[0]))
    count = [0]

    def outputs(at):
        count[0] += 1
        z = network.outputs(at, observations)
        return z.astype(np.float32).astype(float) if coarse else z

    return Differences(outputs, theta), theta, observations, rng, count


def test_the_networks_tangent_and_pullback_are_transposed():
    network = Network((3, 5, 2), "silu", 2, 1)
    rng = np.random.default_rng(0)
    theta, observations = network.initial(rng), rng.standard_normal((7, 3))
    v, c = rng.standard_normal(network.num_parameters), rng.standard_normal((7, 4))
    forward = (c * network.jvp(theta, observations, v)).sum()
    assert v @ network.vjp(theta, observations, c) == pytest.approx(forward, rel=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_a_bound(activation, seed):
    network = Network((4, 16, 16, 3), activation, 2)
    differences, theta, observations, rng, _ = measured(network, seed)
    for _ in range(3):
        v = rng.standard_normal(len(theta))
        found = differences.along(v)
        gap = np.abs(found.value - network.jvp(theta, observations, v)).max(axis=1, keepdims=True)
        # the noise of rounding is known within a factor of two
        assert (gap <= found.bias + 8 * found.noise).all()
        # … and a useful one: nine digits, also through kinks, on most rows
        assert np.median(found.bias + 5 * found.noise) <= 1e-9 * np.abs(found.value).max()


def test_single_precision_inside_is_measured():
    network = Network((4, 16, 3))
    differences, theta, observations, rng, _ = measured(network, 1, coarse=True)
    assert 1e-9 < differences.noise < 1e-6
    v = rng.standard_normal(len(theta))
    found = differences.along(v)
    gap = np.abs(found.value - network.jvp(theta, observations, v)).max(axis=1, keepdims=True)
    assert (gap <= found.bias + 5 * found.noise).all()
    assert found.bias.max() + found.noise.max() < 1e-3 * np.abs(found.value).max()


def test_a_kink_at_theta_is_seen_and_counted():
    network = Network((2, 6, 2), "relu")
    rng = np.random.default_rng(2)
    theta = network.initial(rng)
    observations = rng.standard_normal((30, 2))
    observations[3] = 0.0
    theta[12:18] = 0.0  # biases: at the origin every unit stands at its kink
    differences = Differences(lambda at: network.outputs(at, observations), theta)
    found = differences.along(rng.standard_normal(len(theta)))
    assert found.kinks == 1
    assert np.argmax(found.bias) == 3


def test_a_jump_of_the_second_derivative_never_looks_smooth():
    # One unit with ELU in one row. Where its jump lies just within the widest difference, it alone
    # is disturbed, by little, and successive extrapolations still seem to gain.
    smooth = np.linspace(0.1, 1.0, 20)

    def outputs(at, distance):
        x = at[0] - distance
        elu = x if x > 0 else np.expm1(x)
        return np.array([elu + np.sin(at[1]), *np.sin(smooth + at[0])])[:, None]

    for distance in (*np.geomspace(1e-5, 0.02, 200), 2.0**-8 - 1.8e-6, 2.0**-10 - 1.75e-6):
        differences = Differences(partial(outputs, distance=distance), np.array([0.0, 1.0]))
        found = differences.along(np.array([1.0, 0.0]))
        gap = np.abs(found.value[0, 0] - np.exp(-distance))
        assert gap <= 4.0 * found.bias[0, 0] + 12.0 * found.noise[0, 0], distance


def test_kinks_at_theta_whose_jumps_cancel_are_seen():
    # ReLU(θ₁) − ReLU(θ₂) at 0, as where all units below are dead and there is no bias: linear
    # along (1, −1, …), and yet torch's slope there is 0
    def outputs(at):
        z = np.maximum(at[0], 0.0) - np.maximum(at[1], 0.0)
        smooth = [np.sin(at[0] + k) + at[2] for k in range(20)]
        return np.array([z + at[2], *smooth])[:, None]

    differences = Differences(outputs, np.zeros(3))
    assert differences.at_theta.ravel().tolist() == [True] + 20 * [False]
    found = differences.along(np.array([1.0, -1.0, 0.0]))
    for slope in (0.0, 1.0):
        gap = np.abs(found.value.ravel() - [slope, *np.cos(range(20))])
        assert (gap <= found.bias.ravel() + 8 * found.noise.ravel()).all()
    assert found.bias[1:].max() < 1e-7


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6, 3e-7])
def test_a_kink_close_to_theta_is_not_averaged_over(distance):
    """|x − τ| has slope −1 at 0; every difference wider than τ sees a mean of both slopes."""
    theta, tau = np.array([0.0, 1.0]), np.full(40, 2.0)
    tau[7] = distance
    differences = Differences(lambda at: (np.abs(at[0] - tau) + at[1])[:, None], theta)
    found = differences._kinky(np.array([1.0, 0.0]))
    gap = np.abs(found.value[:, 0] + 1.0)
    assert (gap <= found.bias[:, 0] + 5 * found.noise[:, 0]).all()
    # closer than some steps of the ladder, the bound is honest but wide
    assert gap.max() < (1e-8 if distance >= 1e-5 else 0.5)


def test_a_few_evaluations_each():
    network = Network((4, 16, 16, 3))
    differences, theta, _, rng, count = measured(network, 0)
    before = count[0]
    for _ in range(5):
        differences.along(rng.standard_normal(len(theta)))
    assert count[0] - before <= 5 * 12


def test_a_direction_is_measured_once():
    differences, theta, _, rng, count = measured(Network((2, 3)), 0)
    v = rng.standard_normal(len(theta))
    differences.along(v)
    before = count[0]
    differences.along(v.copy())
    assert count[0] == before


def test_a_zero_direction_moves_nothing():
    differences, theta, *_ = measured(Network((2, 3)), 0)
    assert not differences.along(np.zeros(len(theta))).value.any()
