"""Bridges for steps and coordinates: proved formulas against npgcheck.natural on MDPs.

The formulas speak of state-action pairs with weights w = d(s) π(a|s); the values are drawn from
MDPs with shared features, where F is of full rank up to one direction per feature.
"""

from __future__ import annotations

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from math_cases import random_mdp
from proved import CLAIMS, defined, draw, mistakes, sides, taylor

from npgcheck.exact import evaluate_policy
from npgcheck.fisher import fisher, kl
from npgcheck.gradient import policy_gradient
from npgcheck.natural import natural_gradient, trust_region_proposal
from npgcheck.policy import DiscretePolicy, SoftmaxPolicy

CLOSE = {"rtol": 1e-9, "atol": 1e-9}  # solutions with F: its condition on the range is below 10⁴


class Pairs:
    """An MDP with shared features, in the symbols of steepest-ascent and tangent-projection."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.mdp = random_mdp(rng, 4, 3, 0.5)
        self.policy, self.seen = SoftmaxPolicy(2, 3), rng.normal(size=(4, 2))
        self.theta = rng.normal(size=6)
        found = evaluate_policy(self.mdp, self.policy, self.theta, self.seen)
        self.d = found.state_distribution
        self.pi = self.policy.probabilities(self.theta, self.seen)
        self.w = (self.d[:, None] * self.pi).ravel()
        self.scores = self.policy.scores(self.theta, self.seen).reshape(12, 6)
        self.advantage = found.advantage.ravel() / (1 - self.mdp.discount)
        self.F = fisher(self.policy, self.theta, self.seen, self.d)
        self.g = policy_gradient(self.mdp, self.policy, self.theta, self.seen)
        self.x = natural_gradient(self.mdp, self.policy, self.theta, self.seen)
        self.values = {"w": self.w, "s": self.scores, "x": self.x}


@pytest.mark.parametrize("seed", range(3))
class TestSteepestAscent:
    def claim(self, name, **values):
        return float(sides("steepest-ascent", name, **values))

    def test_quadratic_model(self, seed):
        p = Pairs(seed)
        found = self.claim("quadratic-model", **p.values)
        assert found == pytest.approx(p.x @ p.F @ p.x)
        assert found == pytest.approx(p.g @ p.x)

    def test_the_step_of_trust_region_proposal(self, seed):
        p, max_kl = Pairs(seed), 1e-3
        step = trust_region_proposal(p.mdp, p.policy, p.theta, p.seen, max_kl) - p.theta
        values = p.values | {"delta": np.array(max_kl)}
        squared = float(defined("steepest-ascent", "c", **values))
        np.testing.assert_allclose(step, np.sqrt(squared) * p.x, **CLOSE)
        spent = step @ p.F @ step / 2
        assert self.claim("length", **values) == pytest.approx(max_kl) == pytest.approx(spent)
        for wrong in mistakes("steepest-ascent", "length", **values):
            assert abs(wrong - spent) > 0.1 * max_kl
        assert self.claim("gain", **values) == pytest.approx((p.g @ step) ** 2)

    def test_no_other_step_gains_more(self, seed):
        p = Pairs(seed)
        for other in draw(seed + 20, 50, 6):
            left = self.claim("largest", **p.values, d=other)
            assert left >= 0
            direct = (p.x @ p.F @ p.x) * (other @ p.F @ other) - (p.g @ other) ** 2
            assert left == pytest.approx(direct, rel=1e-9)
        assert self.claim("largest", **p.values, d=3 * p.x) == pytest.approx(0, abs=1e-12)

    def test_singular_fisher_matrix(self, seed):
        p = Pairs(seed)
        shift = np.kron(draw(seed, 2), np.ones(3))  # all logits of a state move together: F v = 0
        assert np.abs(p.F @ shift).max() < 1e-14
        assert abs(p.g @ shift) < 1e-14
        values = {"w": p.w, "s": p.scores, "A": p.advantage}
        v = draw(seed + 3, 6)
        left = (p.w @ p.advantage**2) * (v @ p.F @ v) - (p.g @ v) ** 2
        assert self.claim("range", **values, v=v) == pytest.approx(left)
        assert self.claim("any-solution", **p.values, v=shift) == pytest.approx(0, abs=1e-12)
        moved = (p.x + v) @ p.F @ (p.x + v) - p.x @ p.F @ p.x
        assert self.claim("any-solution", **p.values, v=v) == pytest.approx(moved)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_trust_region_remainder(seed, direction):
    p = Pairs(seed)
    # a unit of KL per unit of t², so that the coefficients are of size one
    step = p.x * np.sqrt(2 / (p.x @ p.F @ p.x))
    change = p.policy.jvp(p.theta, p.seen, step)
    values = {"theta": p.policy.logits(p.theta, p.seen), "x": change}
    second, third = taylor(
        lambda t: kl(p.policy, p.theta, p.theta + t * step, p.seen, p.d, direction)
    )
    claim = lambda name: p.d @ sides("trust-region-remainder", name, **values)  # noqa: E731
    assert claim("second") == pytest.approx(1)
    assert second == pytest.approx(1, abs=1e-4)
    assert third == pytest.approx(claim(direction), abs=1e-4)
    # and in terms of δ: (KL − δ)²/δ³ tends to 2/9 or 8/9 of skew²
    q, kappa = 2 * claim("second"), 6 * claim("forward")
    scalars = {"kappa": np.array(kappa), "q": np.array(q)}
    squared = float(sides("trust-region-remainder", f"{direction}-remainder", **scalars))
    new = trust_region_proposal(p.mdp, p.policy, p.theta, p.seen, delta := 1e-6)
    excess = kl(p.policy, p.theta, new, p.seen, p.d, direction) - delta
    # δ = t²q/2 with q = 2; the next order is √δ = 1e-3 times a number of size one
    assert excess / delta**1.5 == pytest.approx(np.sign(kappa) * np.sqrt(squared), abs=1e-2)
    (wrong,) = mistakes("trust-region-remainder", f"{direction}-remainder", **scalars)
    assert abs(kappa) > 0.05
    assert abs(excess / delta**1.5) ** 2 != pytest.approx(float(wrong), rel=0.5)


class Curved(DiscretePolicy):
    """Shared-feature softmax in coordinates φ with θ = h(φ), not one-to-one: 5 numbers for 6."""

    def __init__(self, seed: int) -> None:
        self.base, self.map = SoftmaxPolicy(2, 3), draw(seed + 30, 6, 5)
        self.num_actions, self.observation_size, self.num_parameters = 3, 2, 5

    def h(self, phi):
        return anp.dot(self.map, phi) + anp.sin(anp.dot(self.map, phi)) / 2

    def logits(self, theta, observations):
        return self.base.logits(np.asarray(self.h(theta)), observations)

    def logits_jacobian(self, theta, observations):
        through = self.base.logits_jacobian(np.asarray(self.h(theta)), observations)
        return through @ autograd.jacobian(self.h)(theta)


@pytest.mark.parametrize("seed", range(3))
class TestReparameterisation:
    def setting(self, seed):
        p, other = Pairs(seed), Curved(seed)
        phi = draw(seed + 31, 5) / 2
        p.theta = other.h(phi)
        H = autograd.jacobian(other.h)(phi)
        B = np.array([autograd.hessian(lambda f, i=i: other.h(f)[i])(phi) for i in range(6)])
        return p, other, phi, H, B

    def test_fisher_and_gradient(self, seed):
        p, other, phi, H, _ = self.setting(seed)
        one = p.seen[:1]
        pi = p.policy.probabilities(p.theta, one)[0]
        g = p.policy.logits_jacobian(p.theta, one)[0]
        values = {"w": np.log(pi), "g": g, "H": H, "r": draw(seed, 3)}
        F = fisher(other, phi, one, np.ones(1))
        for side in ("lhs", "rhs"):
            found = sides("reparameterisation", "fisher", side, **values)
            np.testing.assert_allclose(found, F, **CLOSE)
        slopes = other.scores(phi, one)[0]
        gradient = (pi * values["r"]) @ slopes
        for side in ("lhs", "rhs"):
            found = sides("reparameterisation", "gradient", side, **values)
            np.testing.assert_allclose(found, gradient, **CLOSE)
        for wrong in mistakes("reparameterisation", "gradient", **values):
            assert np.abs(wrong - gradient).max() > 1e-3
        for wrong in mistakes("reparameterisation", "fisher", **values):
            assert np.abs(wrong - F).max() > 1e-3

    def test_direction_and_damping(self, seed):
        p, other, phi, H, _ = self.setting(seed)
        lam, m = 0.3, draw(seed + 40, 5)
        K = fisher(p.policy, p.theta, p.seen, p.d)
        values = {"K": K, "H": H, "m": m, "lambda": np.array(lam)}
        there = fisher(other, phi, p.seen, p.d)
        np.testing.assert_allclose(
            sides("reparameterisation", "direction", "lhs", **values), there @ m, **CLOSE
        )
        pulled = H.T @ ((K + lam * np.eye(6)) @ (H @ m))
        found = sides("reparameterisation", "damping", "lhs", **values)
        np.testing.assert_allclose(found, pulled, **CLOSE)
        np.testing.assert_allclose(found, (there + lam * H.T @ H) @ m, **CLOSE)
        (wrong,) = mistakes("reparameterisation", "damping", **values)
        np.testing.assert_allclose(wrong, (there + lam * np.eye(5)) @ m, **CLOSE)
        assert np.abs(wrong - pulled).max() > 1e-2

    def test_finite_steps(self, seed):
        _, other, phi, H, B = self.setting(seed)
        m = draw(seed + 41, 5)
        first = sides("reparameterisation", "first-order", H=H, m=m)
        np.testing.assert_allclose(first, H @ m, **CLOSE)
        bend = sides("reparameterisation", "curved", B=B, m=m)
        t = 1e-3
        second = (other.h(phi + t * m) - 2 * other.h(phi) + other.h(phi - t * m)) / (2 * t**2)
        # truncation t² times fourth derivatives of size 10⁴, over 24
        np.testing.assert_allclose(second, bend, atol=1e-2)
        (wrong,) = mistakes("reparameterisation", "curved", B=B, m=m)
        assert np.abs(wrong - second).max() > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_tangent_projection(seed):
    p = Pairs(seed)
    values = p.values | {"A": p.advantage}
    # what the code calls a natural gradient leaves no remainder, and its velocity is the projection
    np.testing.assert_allclose(defined("tangent-projection", "rho", **values), 0, atol=1e-10)
    root = np.sqrt(p.w)
    nearest = np.linalg.lstsq(root[:, None] * p.scores, root * p.advantage, rcond=1e-10)[0]
    velocity = defined("tangent-projection", "X", **values)
    np.testing.assert_allclose(velocity, p.scores @ nearest, **CLOSE)
    y = draw(seed + 50, 6)
    claim = lambda name, x: float(sides("tangent-projection", name, **(values | {"x": x, "y": y})))  # noqa: E731
    square = lambda f: p.w @ f**2  # noqa: E731
    for x in (p.x, draw(seed + 51, 6)):
        X, Y = p.scores @ x, p.scores @ y
        assert claim("orthogonal", x) == pytest.approx(p.w @ ((p.advantage - X) * Y), abs=1e-12)
        difference = square(p.advantage - Y) - square(p.advantage - X)
        assert claim("pythagoras", x) == pytest.approx(difference)
        assert claim("distance", x) == pytest.approx(square(X - Y))
    for wrong in mistakes("tangent-projection", "orthogonal", **values, y=y):
        assert abs(wrong) < 1e-9  # at a natural gradient ρ = 0: the sign cannot be seen there
    elsewhere = values | {"x": draw(seed + 51, 6), "y": y}
    right = float(sides("tangent-projection", "orthogonal", **elsewhere))
    assert abs(mistakes("tangent-projection", "orthogonal", **elsewhere)[0] - right) > 1e-3
    # another parametrisation with the same tangent space: the same velocity, another vector
    H = draw(seed + 52, 6, 6) + 3 * np.eye(6)
    there = np.linalg.lstsq(root[:, None] * (p.scores @ H), root * p.advantage, rcond=1e-10)[0]
    moved = defined("tangent-projection", "M", s=p.scores, H=H, m=there)
    np.testing.assert_allclose(moved, velocity, rtol=1e-6, atol=1e-6)
    assert np.abs(H @ there - p.x).max() > 1e-3


def test_every_claim_has_a_bridge():
    from pathlib import Path

    here = Path(__file__).parent
    files = [*here.glob("test_bridges*.py"), *here.glob("test_proofs*.py")]
    bridges = "".join(path.read_text("utf-8") for path in files)
    assert not [name for name in CLAIMS if f'"{name}"' not in bridges]
