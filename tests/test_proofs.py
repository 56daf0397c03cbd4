"""Bridges: every formula that was proved, against npgcheck's own numbers and against autograd.

The formulas are evaluated from the very trees that `npgcheck prove` judges. Tolerances: both sides
are a few dozen operations on numbers of size at most 10, so they agree to 1e-13 or better; where a
Taylor coefficient is read off differences of KL the truncation error dominates and is named there.
"""

from __future__ import annotations

from fractions import Fraction

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from proved import CLAIMS, ONE_STATE, ROUND_OFF, WEIGHT, draw, mistakes, sides, taylor

from npgcheck.derivation import prove
from npgcheck.derivation.bridge import exact_table, table
from npgcheck.fisher import fisher, kl
from npgcheck.policy import GaussianPolicy, SoftmaxPolicy


@pytest.mark.parametrize("n", [1, 2, 3, 7])
class TestSoftmax:
    def test_score(self, n):
        theta = draw(n, n)
        scores = SoftmaxPolicy(1, n).scores(theta, ONE_STATE)[0]  # (action, parameter)
        # free indices are (b, c): parameter b, action c
        formula = sides("softmax-fisher", "score", theta=theta)
        np.testing.assert_allclose(formula.T, scores, atol=ROUND_OFF, rtol=0)
        assert all(
            np.abs(w.T - scores).max() > 1e-2
            for w in mistakes("softmax-fisher", "score", theta=theta)
        )

    def test_score_is_what_autograd_differentiates(self, n):
        s = CLAIMS["softmax-fisher"].statement("score")
        log_pi = s.lhs.args[0]  # log π_c, the tree under the derivative
        b, c = s.free
        theta = draw(n, n)
        jacobian = autograd.jacobian(lambda t: table(log_pi, s.setting, [c], {"theta": t}, anp))
        formula = table(s.rhs, s.setting, [c, b], {"theta": theta})
        np.testing.assert_allclose(jacobian(theta), formula, atol=ROUND_OFF, rtol=0)

    def test_mean_score(self, n):
        theta = draw(n, n)
        policy = SoftmaxPolicy(1, n)
        mean = policy.probabilities(theta, ONE_STATE)[0] @ policy.scores(theta, ONE_STATE)[0]
        np.testing.assert_allclose(mean, 0.0, atol=ROUND_OFF)
        np.testing.assert_allclose(
            sides("softmax-fisher", "zero-mean", "lhs", theta=theta), 0.0, atol=ROUND_OFF
        )

    def test_fisher(self, n):
        theta = draw(n, n)
        ours = fisher(SoftmaxPolicy(1, n), theta, ONE_STATE, WEIGHT)
        for which in ("lhs", "rhs"):
            formula = sides("softmax-fisher", "fisher", which, theta=theta)
            np.testing.assert_allclose(ours, formula, atol=ROUND_OFF, rtol=0)
        for wrong in mistakes("softmax-fisher", "fisher", theta=theta):
            assert n == 1 or np.abs(ours - wrong).max() > 1e-3

    def test_fisher_in_exact_fractions(self, n):
        odds = [Fraction(k * k + 1) for k in range(1, n + 1)]
        s = CLAIMS["softmax-fisher"].statement("fisher")
        exact = exact_table(s.rhs, s.setting, s.free, {"theta": odds})
        ours = fisher(SoftmaxPolicy(1, n), np.log([float(q) for q in odds]), ONE_STATE, WEIGHT)
        np.testing.assert_allclose(ours, exact.astype(float), atol=ROUND_OFF, rtol=0)
        assert exact.sum() == 0  # 1ᵀF1 = 0, in fractions

    def test_fisher_is_the_hessian_that_autograd_finds(self, n):
        theta = draw(n, n)
        # the Hessian of the log-partition function, a route without scores
        hessian = autograd.hessian(lambda t: anp.log(anp.sum(anp.exp(t))))(theta)
        formula = sides("softmax-fisher", "fisher", theta=theta)
        np.testing.assert_allclose(hessian, formula, atol=ROUND_OFF, rtol=0)

    def test_kernel_and_variance(self, n):
        theta, v = draw(n, n), draw(n + 50, n)
        F = fisher(SoftmaxPolicy(1, n), theta, ONE_STATE, WEIGHT)
        np.testing.assert_allclose(F @ np.ones(n), 0.0, atol=ROUND_OFF)
        formula = sides("softmax-fisher", "variance", theta=theta, v=v)
        assert v @ F @ v == pytest.approx(float(formula), abs=10 * ROUND_OFF)


def gaussian(m: int, coordinates: str, seed: int = 0):
    """A policy with one observation, its parameters, and (μ, σ)."""
    mu, std = draw(seed, m), np.exp(draw(seed + 1, m) / 2)
    sigma = {"log_std": np.log(std), "std": std, "variance": std**2}[coordinates]
    return GaussianPolicy(1, m, sigma=coordinates), np.concatenate([mu, sigma]), mu, std


BLOCKS = {
    "log_std": ("fisher-log-std", "rho", np.log),
    "std": ("fisher-std", "sigma", np.array),
    "variance": ("fisher-variance", "v", np.square),
}


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("coordinates", BLOCKS)
class TestGaussian:
    def test_fisher(self, m, coordinates):
        policy, theta, mu, std = gaussian(m, coordinates)
        ours = fisher(policy, theta, ONE_STATE, WEIGHT)
        name, family, map_to = BLOCKS[coordinates]
        mean_block = sides("gaussian-fisher", "fisher-mean", mu=mu, rho=np.log(std))
        sigma_block = sides("gaussian-fisher", name, **{family: map_to(std)})
        np.testing.assert_allclose(ours[:m, :m], mean_block, rtol=ROUND_OFF, atol=ROUND_OFF)
        np.testing.assert_allclose(ours[m:, m:], sigma_block, rtol=ROUND_OFF, atol=ROUND_OFF)
        np.testing.assert_allclose(ours[:m, m:], 0.0, atol=ROUND_OFF)
        for wrong in mistakes("gaussian-fisher", "fisher-mean", mu=mu, rho=np.log(std)):
            assert np.abs(ours[:m, :m] - wrong).max() > 1e-2

    def test_fisher_by_autograd(self, m, coordinates):
        _, theta, mu, std = gaussian(m, coordinates)
        to_std = {"log_std": anp.exp, "std": lambda s: s, "variance": anp.sqrt}[coordinates]

        def log_density(parameters, action):
            z = (action - parameters[:m]) / to_std(parameters[m:])
            return -anp.sum(z**2) / 2 - anp.sum(anp.log(to_std(parameters[m:])))

        # Gauss-Hermite with five nodes is exact to degree nine; the scores' product has four
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        weights = weights / weights.sum()
        grid = np.stack(np.meshgrid(*[nodes] * m, indexing="ij"), -1).reshape(-1, m)
        probability = np.stack(np.meshgrid(*[weights] * m, indexing="ij"), -1).reshape(-1, m)
        score = autograd.grad(log_density)
        rows = np.array([score(theta, mu + std * z) for z in grid])
        by_autograd = rows.T @ (probability.prod(axis=1)[:, None] * rows)
        name, family, map_to = BLOCKS[coordinates]
        formula = sides("gaussian-fisher", name, **{family: map_to(std)})
        # the quadrature sums 125 terms of size up to 100
        np.testing.assert_allclose(by_autograd[m:, m:], formula, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("m", [1, 3])
def test_gaussian_scores(m):
    policy, theta, mu, std = gaussian(m, "log_std")
    z = draw(9, m)
    score = policy.score(theta, ONE_STATE, (mu + std * z)[None])[0]
    values = {"mu": mu, "rho": np.log(std), "z": z}
    # (x − μ)/σ² with x = μ + σz cancels to a relative 1e-15 · |x/σz|, at most 1e-13 here
    mean = sides("gaussian-fisher", "score-mean", **values)
    np.testing.assert_allclose(score[:m], mean, atol=1e-12)
    log_std = sides("gaussian-fisher", "score-log-std", **values)
    np.testing.assert_allclose(score[m:], log_std, atol=1e-12)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
class TestKl:
    def check(self, family, direction, policy, theta, change, values):
        second, third = taylor(
            lambda t: kl(policy, theta, theta + t * change, ONE_STATE, WEIGHT, direction=direction)
        )
        other = {"forward": "reverse", "reverse": "forward"}[direction]
        value = lambda way, k: float(sides("kl-second-order", f"{family}-{way}-{k}", **values))  # noqa: E731
        F = fisher(policy, theta, ONE_STATE, WEIGHT)
        assert second == pytest.approx(value(direction, 2), abs=1e-4)
        assert second == pytest.approx(change @ F @ change / 2, abs=1e-4)
        assert third == pytest.approx(value(direction, 3), abs=1e-4)
        assert abs(third - value(other, 3)) > 1e-2  # the directions are told apart

    @pytest.mark.parametrize("n", [2, 5])
    def test_softmax(self, direction, n):
        theta, change = draw(n, n), draw(n + 1, n)
        values = {"theta": theta, "varepsilon": change}
        self.check("softmax", direction, SoftmaxPolicy(1, n), theta, change, values)

    @pytest.mark.parametrize("m", [1, 3])
    def test_gaussian(self, direction, m):
        policy, theta, mu, std = gaussian(m, "log_std")
        alpha, beta = draw(3, m), draw(4, m) / 2
        change = np.concatenate([std * alpha, beta])
        values = {"mu": mu, "rho": np.log(std), "alpha": alpha, "beta": beta}
        self.check("gaussian", direction, policy, theta, change, values)


def test_every_claim_is_proved_and_every_planted_fault_refuted():
    report = prove.run()
    assert report.exit_code == 0
    assert {r.claim.id: r.status.text for r in report.results} == dict.fromkeys(CLAIMS, "proved")
    for r in report.results:
        assert not r.survivors
        for s in r.statements:
            assert all(step.controls.refuted >= 1 for step in s.steps)
            assert all(where for _, where in s.mistakes)


def test_files_look_alike():
    folder = prove.proofs_directory()
    files = sorted(folder.glob("*.py"))
    assert len(files) == len(CLAIMS)
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 80
        claim = next(c for c in CLAIMS.values() if c.id == file.stem.replace("_", "-"))
        assert claim.title
        assert claim.source
        assert claim.assumptions
        assert claim.covers


def test_what_a_claim_justifies_exists():
    from importlib import import_module

    for claim in CLAIMS.values():
        for name in claim.justifies:
            module, _, attribute = name.rpartition(".")
            assert hasattr(import_module(module), attribute), name
