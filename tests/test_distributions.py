"""Action distributions against enumeration, quadrature and differences of log π."""

import numpy as np
import pytest

from npgcheck.distributions import Bernoulli, Categorical, Gaussian, MultiDiscrete, TanhGaussian
from npgcheck.errors import InvalidArgument

RNG = np.random.default_rng(5)
LAWS = [
    Categorical(4),
    MultiDiscrete((3, 2)),
    Bernoulli(3),
    Gaussian(1),
    Gaussian(2),
]
IDS = ["categorical", "multi-discrete", "bernoulli", "gaussian-1", "gaussian-2"]
laws = pytest.mark.parametrize("law", LAWS, ids=IDS)


def outputs(law, rows=3, scale=0.8):
    return scale * np.random.default_rng(law.size).standard_normal((rows, law.size))


def every_action(law, z):
    """(actions, probabilities) of one row: all of them, or Gauss–Hermite nodes of a Gaussian."""
    if isinstance(law, Gaussian):
        nodes, masses = np.polynomial.hermite_e.hermegauss(12)
        masses = masses / masses.sum()
        mean, log_std = law.split(z)
        grid = np.array(np.meshgrid(*[nodes] * law.dimensions, indexing="ij")).reshape(
            law.dimensions, -1
        )
        mass = np.array(np.meshgrid(*[masses] * law.dimensions, indexing="ij")).reshape(
            law.dimensions, -1
        )
        return mean + np.exp(log_std) * grid.T, mass.prod(axis=0)
    sizes = law.sizes if isinstance(law, MultiDiscrete) else (2,) * law.dimensions
    actions = np.array(np.meshgrid(*map(np.arange, sizes), indexing="ij")).reshape(len(sizes), -1).T
    return actions, np.exp(law.log_prob(np.repeat(z, len(actions), axis=0), actions))


def numerical_gradient(function, z):
    """Central differences, extrapolated once."""

    def slope(h):
        columns = []
        for k in range(z.shape[1]):
            step = np.zeros_like(z)
            step[:, k] = h
            columns.append((function(z + step) - function(z - step)) / (2 * h))
        return np.stack(columns, axis=1)

    return (4 * slope(1e-3) - slope(2e-3)) / 3


@laws
def test_probabilities_sum_to_one(law):
    z = outputs(law, 1)
    assert every_action(law, z)[1].sum() == pytest.approx(1, abs=1e-13)


@laws
def test_the_score_is_the_slope_of_log_prob(law):
    z = outputs(law)
    actions = np.stack([every_action(law, row[None])[0][5 % (law.size + 1)] for row in z])
    actions = law.read_actions(actions)
    slope = numerical_gradient(lambda at: law.log_prob(at, actions), z)
    assert law.score(z, actions) == pytest.approx(slope, abs=1e-9)


@laws
def test_the_fisher_matrix_is_the_mean_outer_product_of_scores(law):
    z = outputs(law, 1)
    actions, chance = every_action(law, z)
    scores = law.score(np.repeat(z, len(actions), axis=0), actions)
    exact = scores.T @ (chance[:, None] * scores)
    assert scores.T @ chance == pytest.approx(np.zeros(law.size), abs=1e-12)
    ours = np.stack([law.fisher(z, e[None])[0] for e in np.eye(law.size)])
    assert ours == pytest.approx(exact, abs=1e-12)
    # the bound on the diagonal bounds the matrix
    assert np.linalg.eigvalsh(np.diag(law.fisher_size(z)[0]) - exact).min() > -1e-12


@laws
def test_kl_is_the_mean_log_ratio(law):
    z, other = outputs(law, 1), outputs(law, 1) + 0.3 * RNG.standard_normal((1, law.size))
    actions, chance = every_action(law, z)
    rows = len(actions)
    ratio = law.log_prob(np.repeat(z, rows, 0), actions) - law.log_prob(
        np.repeat(other, rows, 0), actions
    )
    assert law.kl(z, other) == pytest.approx(chance @ ratio, rel=1e-10)
    assert law.kl(z, z) == pytest.approx(0, abs=0)


@laws
def test_kl_keeps_its_digits_close_to_coincidence(law):
    z = outputs(law)
    change = 1e-7 * RNG.standard_normal(z.shape)
    form = 0.5 * (change * law.fisher(z, change)).sum(axis=1)
    # KL = ½ εᵀWε + O(ε³), with ε rounded where it is added to z
    assert law.kl(z, z + change) == pytest.approx(form, rel=1e-6)


@laws
def test_the_entropy_gradient(law):
    z = outputs(law, 1)

    def entropy(at):
        if isinstance(law, Gaussian):
            return law.split(at)[1].sum(axis=1)
        chance = every_action(law, at)[1]
        return np.array([-(chance * np.log(chance)).sum()])

    assert law.entropy_gradient(z) == pytest.approx(numerical_gradient(entropy, z), abs=1e-9)


def test_a_squashed_density_integrates_to_one():
    law, z = TanhGaussian(1), np.array([[0.3, -0.5]])
    grid = np.linspace(-1, 1, 200_001)[1:-1, None]
    density = np.exp(law.log_prob(np.repeat(z, len(grid), 0), law.read_actions(grid)))
    assert density.sum() * 1e-5 == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [30.0, 700.0])
@pytest.mark.parametrize("law", LAWS[:3], ids=IDS[:3])
def test_extreme_logits_stay_finite(law, size):
    z = np.where(outputs(law) > 0, size, -size)
    u = np.ones_like(z)
    for value in (law.kl(z, -z), law.fisher(z, u), law.entropy_gradient(z)):
        assert np.isfinite(value).all()


@pytest.mark.parametrize(
    ("law", "actions", "said"),
    [
        (Categorical(3), [0, 3], "row 1 is none of 0 … 2"),
        (Categorical(3), [0.5, 1], "row 0"),
        (Categorical(3), [[0, 1]], r"must have shape \(N, 1\) or \(N,\)"),
        (MultiDiscrete((2, 3)), [[0, 3]], "none of 0 … 2"),
        (Bernoulli(2), [[0, 2]], "neither 0 nor 1"),
        (Gaussian(2), [[0.0]], r"must have shape \(N, 2\)"),
        (TanhGaussian(1), [[1.0]], "before tanh"),
    ],
)
def test_wrong_actions_are_refused(law, actions, said):
    with pytest.raises(InvalidArgument, match=said):
        law.read_actions(np.array(actions))


def test_one_logit_is_no_choice():
    with pytest.raises(InvalidArgument, match="at least two logits"):
        Categorical(1)


def test_probabilities_that_round_to_certainty_are_seen():
    unit, tiny = 2.0**-24, float(np.finfo(np.float32).tiny)
    binary, plain = Bernoulli(1), MultiDiscrete((2,))
    for other, rounds in ((10.0, False), (20.0, True), (-20.0, False), (-100.0, True)):
        assert binary.saturates(np.zeros((1, 1)), np.full((1, 1), other), unit, tiny) is rounds
    # what is certain already has no part in KL
    assert not binary.saturates(np.full((1, 1), 30.0), np.full((1, 1), 40.0), unit, tiny)
    for spread, rounds in ((50.0, False), (120.0, True)):
        new = np.array([[0.0, spread]])
        assert plain.saturates(np.zeros((1, 2)), new, unit, tiny) is rounds
        assert not plain.saturates(new + np.array([[0.0, 120.0]]), new, unit, tiny)
    assert not Gaussian(1).saturates(np.zeros((1, 2)), np.full((1, 2), 50.0), unit, tiny)
