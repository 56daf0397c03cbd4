"""Bridges for score, Fisher matrices and KL: proved formulas against npgcheck and autograd.

Both sides are a few hundred operations on numbers of size at most 10 unless said otherwise, so they
agree to 1e-12; every named mistake must miss the same comparison by a thousandth at least.
"""

from __future__ import annotations

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from proved import ONE_STATE, WEIGHT, draw, mistakes, sides, taylor

from npgcheck.derivation.bridge import table
from npgcheck.fisher import fisher, kl
from npgcheck.policy import GaussianPolicy, SoftmaxPolicy

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def refuses(found, claim: str, name: str, **values) -> None:
    wrong = mistakes(claim, name, **values)
    assert wrong
    for w in wrong:
        assert np.abs(w - found).max() > 1e-3


class Shared:
    """A softmax policy over shared features, in the symbols of the log-linear claims."""

    def __init__(self, seed: int, features: int = 2, actions: int = 3) -> None:
        self.policy = SoftmaxPolicy(features, actions)
        self.theta = draw(seed, features * actions)
        self.seen = np.sign(draw(seed + 1, 1, features)) + draw(seed + 2, 1, features) / 4
        self.phi = self.policy.logits_jacobian(self.theta, self.seen)[0]  # (action, parameter)
        self.values = {"phi": self.phi, "y": self.phi @ self.theta}

    def log_policy(self, theta):
        logits = anp.dot(self.phi, theta)
        return logits - anp.log(anp.sum(anp.exp(logits)))


@pytest.mark.parametrize("seed", range(3))
class TestScore:
    def test_log_linear(self, seed):
        s = Shared(seed)
        ours = s.policy.scores(s.theta, s.seen)[0]
        np.testing.assert_allclose(sides("score", "log-linear", **s.values), ours, **CLOSE)
        by_autograd = autograd.jacobian(s.log_policy)(s.theta)
        np.testing.assert_allclose(by_autograd, ours, **CLOSE)
        refuses(ours, "score", "log-linear", **s.values)

    def test_any_family(self, seed):
        # log-weights that are no linear functions: h_a = sin(φ_a · θ)
        s = Shared(seed)
        h = lambda t: anp.sin(anp.dot(s.phi, t))  # noqa: E731
        log_pi = lambda t: h(t) - anp.log(anp.sum(anp.exp(h(t))))  # noqa: E731
        pi = np.exp(log_pi(s.theta))
        values = {"h": h(s.theta), "g": autograd.jacobian(h)(s.theta)}
        score = autograd.jacobian(log_pi)(s.theta)
        np.testing.assert_allclose(sides("score", "score", **values), score, **CLOSE)
        refuses(score, "score", "score", **values)
        np.testing.assert_allclose(sides("score", "zero-mean", "lhs", **values), 0, **CLOSE)
        values["G"] = np.array(
            [autograd.hessian(lambda t, a=a: h(t)[a])(s.theta) for a in range(3)]
        )
        hessians = [autograd.hessian(lambda t, a=a: log_pi(t)[a])(s.theta) for a in range(3)]
        mean = np.tensordot(pi, np.array(hessians), 1)
        np.testing.assert_allclose(sides("score", "information", "lhs", **values), mean, **CLOSE)
        np.testing.assert_allclose(sides("score", "information", **values), mean, **CLOSE)
        refuses(mean, "score", "information", **values)

    def test_baseline(self, seed):
        s, c = Shared(seed), draw(seed + 2, 6)
        pi = s.policy.probabilities(s.theta, s.seen)[0]
        found = np.einsum("i,a,aj->ij", c, pi, s.policy.scores(s.theta, s.seen)[0])
        np.testing.assert_allclose(found, 0, atol=1e-14)
        values = {"h": s.values["y"], "g": s.phi, "c": c}
        np.testing.assert_allclose(sides("score", "baseline", "lhs", **values), found, **CLOSE)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_softmax_pseudoinverse(n):
    theta = draw(n, n)
    F = fisher(SoftmaxPolicy(1, n), theta, ONE_STATE, WEIGHT)
    exact = np.linalg.pinv(F, rcond=1e-10, hermitian=True)
    claimed = sides("softmax-pseudoinverse", "entries", "lhs", theta=theta)
    # the condition of F on the range is below 100 here
    np.testing.assert_allclose(claimed, exact, atol=1e-11)
    np.testing.assert_allclose(
        sides("softmax-pseudoinverse", "entries", theta=theta), exact, atol=1e-11
    )
    refuses(exact, "softmax-pseudoinverse", "entries", theta=theta)
    C = sides("softmax-pseudoinverse", "range", theta=theta)
    np.testing.assert_allclose(F @ claimed, C, **CLOSE)
    np.testing.assert_allclose(claimed @ F, C, **CLOSE)
    refuses(C, "softmax-pseudoinverse", "range", theta=theta)


@pytest.mark.parametrize("seed", range(3))
def test_exponential_family(seed):
    s = Shared(seed)
    F = fisher(s.policy, s.theta, s.seen, WEIGHT)
    partition = lambda t: anp.log(anp.sum(anp.exp(anp.dot(s.phi, t))))  # noqa: E731
    np.testing.assert_allclose(sides("exponential-family", "covariance", **s.values), F, **CLOSE)
    np.testing.assert_allclose(autograd.hessian(partition)(s.theta), F, **CLOSE)
    refuses(F, "exponential-family", "covariance", **s.values)
    gradient = autograd.grad(partition)(s.theta)
    np.testing.assert_allclose(sides("exponential-family", "mean", **s.values), gradient, **CLOSE)
    third = autograd.jacobian(autograd.hessian(partition))(s.theta)
    np.testing.assert_allclose(sides("exponential-family", "third", **s.values), third, **CLOSE)
    refuses(third, "exponential-family", "third", **s.values)
    v = draw(seed + 9, 6)
    values = s.values | {"v": v}
    np.testing.assert_allclose(sides("exponential-family", "kernel", **values), F @ v, **CLOSE)
    assert float(sides("exponential-family", "variance", **values)) == pytest.approx(v @ F @ v)


@pytest.mark.parametrize(("S", "n"), [(1, 2), (3, 2), (2, 4)])
def test_tabular_fisher(S, n):
    policy, theta, d = SoftmaxPolicy(S, n), draw(S, S * n), np.abs(draw(n, S))
    values = {"theta": theta.reshape(S, n), "d": d}
    ours = fisher(policy, theta, None, d)
    formula = sides("tabular-fisher", "fisher", **values)
    np.testing.assert_allclose(formula.reshape(S * n, S * n), ours, **CLOSE)
    refuses(ours.reshape(S, n, S, n), "tabular-fisher", "fisher", **values)
    scores = policy.scores(theta, None).reshape(S, n, S, n)  # (t, y, s, x)
    rhs = sides("tabular-fisher", "score", theta=values["theta"])  # (s, x, t, y)
    np.testing.assert_allclose(rhs.transpose(2, 3, 0, 1), scores, **CLOSE)
    w = draw(7, S, n)
    variance = float(sides("tabular-fisher", "variance", **values, w=w))
    assert variance == pytest.approx(w.ravel() @ ours @ w.ravel())


class Covariance:
    """A Gaussian with mean and covariance that are functions of three parameters."""

    def __init__(self, seed: int, m: int) -> None:
        a, b = draw(seed, m, 3), draw(seed + 1, 3, m, m)
        self.m, self.theta = m, draw(seed + 2, 3) / 3
        self.mean = lambda t: anp.sin(anp.dot(a, t))
        root = lambda t: anp.eye(m) * 2 + anp.tensordot(t, b, 1) / 2  # noqa: E731
        self.covariance = lambda t: anp.dot(root(t), root(t).T)
        Sigma = self.covariance(self.theta)
        D = autograd.jacobian(self.covariance)(self.theta).transpose(2, 0, 1)
        M = autograd.jacobian(self.mean)(self.theta)
        P = np.linalg.inv(Sigma)
        self.W = np.linalg.cholesky(P).T  # P = WᵀW
        self.values = {"M": M, "D": D, "P": (P + P.T) / 2, "W": self.W}

    def log_density(self, t, x):
        y, Sigma = x - self.mean(t), self.covariance(t)
        square = anp.dot(y, anp.linalg.solve(Sigma, y))
        return -(square + anp.log(anp.linalg.det(Sigma)) + self.m * np.log(2 * np.pi)) / 2

    def actions(self):
        """Gauss–Hermite nodes and weights for x = μ + W⁻¹z: exact to degree nine per dimension."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        grid = np.stack(np.meshgrid(*[nodes] * self.m, indexing="ij"), -1).reshape(-1, self.m)
        w = np.stack(np.meshgrid(*[weights / weights.sum()] * self.m, indexing="ij"), -1)
        mean = self.mean(self.theta)
        return [mean + np.linalg.solve(self.W, z) for z in grid], w.reshape(-1, self.m).prod(axis=1)


@pytest.mark.parametrize("m", [1, 2])
def test_gaussian_with_any_covariance_by_autograd(m):
    g = Covariance(m, m)
    x = draw(m + 5, m)
    score = autograd.grad(g.log_density)
    formula = sides("gaussian-score", "score", x=x, mu=g.mean(g.theta), **g.values)
    np.testing.assert_allclose(score(g.theta, x), formula, rtol=1e-10, atol=1e-10)
    refuses(formula, "gaussian-score", "score", x=x, mu=g.mean(g.theta), **g.values)
    r = g.W @ (x - g.mean(g.theta))
    values = {k: g.values[k] for k in "MDW"}
    whitened = sides("gaussian-score", "whitened", r=r, **values)
    np.testing.assert_allclose(whitened, formula, rtol=1e-10, atol=1e-10)
    points, weights = g.actions()
    rows = np.array([score(g.theta, point) for point in points])
    F = rows.T @ (weights[:, None] * rows)
    formula = sides("gaussian-covariance", "closed-form", **values)
    # 25 products of scores of size ten
    np.testing.assert_allclose(F, formula, rtol=1e-9, atol=1e-9)
    for wrong in mistakes("gaussian-covariance", "closed-form", **values)[: 1 if m == 1 else 2]:
        assert np.abs(wrong - F).max() > 1e-3


@pytest.mark.parametrize("coordinates", ["log_std", "std", "variance"])
def test_gaussian_with_any_covariance_contains_our_policies(coordinates):
    m, policy = 3, GaussianPolicy(1, 3, sigma=coordinates)
    mu, std = draw(0, m), np.exp(draw(1, m) / 2)
    sigma = {"log_std": np.log(std), "std": std, "variance": std**2}[coordinates]
    slope = {"log_std": 2 * std**2, "std": 2 * std, "variance": np.ones(m)}[coordinates]
    D = np.zeros((2 * m, m, m))
    D[range(m, 2 * m), range(m), range(m)] = slope  # ∂σ²
    M = np.hstack([np.eye(m), np.zeros((m, m))])
    formula = sides("gaussian-covariance", "closed-form", M=M, D=D, W=np.diag(1 / std))
    ours = fisher(policy, np.concatenate([mu, sigma]), ONE_STATE, WEIGHT)
    np.testing.assert_allclose(ours, formula, **CLOSE)


def test_gaussian_with_a_linear_mean():
    k, m, S = 2, 3, 4
    policy, seen, d = GaussianPolicy(k, m), draw(0, S, k), np.abs(draw(1, S))
    d = d / d.sum()
    K, rho = draw(2, k, m), draw(3, m) / 2
    theta = np.concatenate([K.ravel(), rho])
    W = np.diag(np.exp(-rho))
    F = fisher(policy, theta, seen, d)[: k * m, : k * m]
    formula = sides("gaussian-linear-mean", "fisher", phi=seen, d=d, W=W)
    np.testing.assert_allclose(formula.reshape(k * m, k * m), F, **CLOSE)
    refuses(F.reshape(k, m, k, m), "gaussian-linear-mean", "fisher", phi=seen, d=d, W=W)
    actions = draw(4, S, m)
    score = policy.score(theta, seen, actions)[:, : k * m].reshape(S, k, m)
    values = {"phi": seen, "K": K, "W": W, "alpha": actions}
    np.testing.assert_allclose(sides("gaussian-linear-mean", "score", **values), score, **CLOSE)
    refuses(score, "gaussian-linear-mean", "score", **values)


def test_squashing_with_tanh():
    m = 2
    mu, rho, z = draw(0, m), draw(1, m) / 2, draw(2, m)
    policy = GaussianPolicy(1, m)
    x = mu + np.exp(rho) * z
    u = np.tanh(x)

    def log_density(parameters):  # of u = tanh x, from u alone
        mean, log_std = parameters[:m], parameters[m:]
        before = anp.arctanh(u)
        normal = -((before - mean) ** 2) * anp.exp(-2 * log_std) / 2 - log_std
        return anp.sum(normal - anp.log(1 - u**2))

    theta = np.concatenate([mu, rho])
    squashed = autograd.grad(log_density)(theta)
    # arctanh(tanh x) loses 1/(1 − u²) < 100 units of round-off
    np.testing.assert_allclose(squashed, policy.score(theta, ONE_STATE, x[None])[0], atol=1e-11)
    c = np.log(1 - u**2)
    values = {"mu": mu, "rho": rho, "z": z, "c": c}
    formula = [
        sides("squashing", name, "lhs", **values) for name in ("score-mean", "score-log-std")
    ]
    np.testing.assert_allclose(np.concatenate(formula), squashed, atol=1e-11)
    F = fisher(policy, theta, ONE_STATE, WEIGHT)[m:, m:]
    np.testing.assert_allclose(sides("squashing", "fisher-log-std", mu=mu, rho=rho), F, **CLOSE)
    refuses(F, "squashing", "fisher-log-std", mu=mu, rho=rho)


@pytest.mark.parametrize("seed", range(3))
class TestKl:
    def test_regular_family(self, seed):
        s = Shared(seed)
        one, two = draw(seed + 4, 6), draw(seed + 5, 6)
        F = fisher(s.policy, s.theta, s.seen, WEIGHT)
        values = {"h": s.values["y"], "u": s.phi @ one, "v": s.phi @ two}
        for name in ("hessian-forward", "hessian-reverse"):
            form = float(sides("kl-regular-family", name, **values))
            assert form == pytest.approx(one @ F @ two)
        refuses(one @ F @ two, "kl-regular-family", "hessian-reverse", **values)
        # the Hessian of either direction by autograd, polarised
        pi = np.exp(s.log_policy(s.theta))
        forward = lambda t: anp.sum(pi * (anp.log(pi) - s.log_policy(t)))  # noqa: E731
        reverse = lambda t: anp.sum(anp.exp(s.log_policy(t)) * (s.log_policy(t) - anp.log(pi)))  # noqa: E731
        for divergence in (forward, reverse):
            hessian = autograd.hessian(divergence)(s.theta)
            np.testing.assert_allclose(hessian, F, atol=1e-12)

    def test_regular_family_along_a_curve(self, seed):
        s = Shared(seed)
        u, v = draw(seed + 6, 6), draw(seed + 7, 6)
        F = fisher(s.policy, s.theta, s.seen, WEIGHT)
        u, v = 2 * u / np.sqrt(u @ F @ u), v / np.sqrt(v @ F @ v)
        curve = {"h": s.values["y"], "u": s.phi @ u, "v": s.phi @ v, "w": np.zeros(3)}

        def along(direction):
            move = lambda t: s.theta + t * u + t**2 * v  # noqa: E731
            return taylor(lambda t: kl(s.policy, s.theta, move(t), s.seen, WEIGHT, direction))

        (second, forward), (second_too, reverse) = along("forward"), along("reverse")
        claim = lambda name, **k: float(sides("kl-regular-family", name, **curve))  # noqa: E731
        scale = max(1.0, abs(forward), abs(reverse))
        assert second == pytest.approx(claim("forward-2"), abs=1e-4 * scale)
        assert second_too == pytest.approx(claim("reverse-2"), abs=1e-4 * scale)
        assert reverse - forward == pytest.approx(claim("third"), abs=1e-3 * scale)
        for wrong in mistakes("kl-regular-family", "third", **curve):
            assert abs(reverse - forward - wrong) > 1e-2

    def test_exponential_family(self, seed):
        n = 4
        y, change = draw(seed, n), draw(seed + 8, n)
        policy, values = SoftmaxPolicy(1, n), {"y": y, "epsilon": change}
        for direction in ("forward", "reverse"):
            exact = kl(policy, y, y + change, ONE_STATE, WEIGHT, direction)
            for side in ("lhs", "rhs"):
                found = float(sides("kl-exponential-family", direction, side, **values))
                assert found == pytest.approx(exact, rel=1e-12)
        refuses(exact, "kl-exponential-family", "reverse", **values)
        partition = lambda t: anp.log(anp.sum(anp.exp(y + t * change)))  # noqa: E731
        derivative, factorial = autograd.grad(partition), 1.0
        for k in (2, 3, 4):
            derivative, factorial = autograd.grad(derivative), factorial * k
            formula = float(sides("kl-exponential-family", f"cumulant-{k}", y=y, u=change))
            assert derivative(0.0) / factorial == pytest.approx(formula, rel=1e-9)
            for way, times in (("forward", 1), ("reverse", k - 1)):
                found = float(sides("kl-exponential-family", f"{way}-{k}", y=y, u=change))
                assert found == pytest.approx(times * formula, rel=1e-9)

    def test_gaussian_in_std(self, seed):
        m = 2
        mu, std = draw(seed, m), np.exp(draw(seed + 1, m) / 2)
        alpha, beta = draw(seed + 2, m) / 2, draw(seed + 3, m) / 4
        policy, theta = GaussianPolicy(1, m, sigma="std"), np.concatenate([mu, std])
        change = np.concatenate([std * alpha, std * beta])
        values = {"mu": mu, "sigma": std, "alpha": alpha, "beta": beta}
        F = fisher(policy, theta, ONE_STATE, WEIGHT)
        for way in ("forward", "reverse"):
            divergence = lambda t, way=way: kl(  # noqa: E731
                policy, theta, theta + t * change, ONE_STATE, WEIGHT, way
            )
            second, third = taylor(divergence)
            formula = float(sides("kl-gaussian-std", f"{way}-2", **values))
            assert formula == pytest.approx(change @ F @ change / 2, rel=1e-12)
            assert second == pytest.approx(formula, abs=1e-4)
            assert third == pytest.approx(
                float(sides("kl-gaussian-std", f"{way}-3", **values)), abs=1e-4
            )


def test_the_tree_itself_is_what_autograd_differentiates():
    # no formula of ours in between: autograd through the tree of log π of the log-linear claim
    from proved import CLAIMS

    s = CLAIMS["score"].statement("log-linear")
    log_nu = s.lhs.args[0]
    act, i = s.free
    phi, theta = draw(0, 3, 2), draw(1, 2)
    tree = lambda t: table(log_nu, s.setting, [act], {"phi": phi, "y": anp.dot(phi, t)}, anp)  # noqa: E731
    formula = table(s.rhs, s.setting, [act, i], {"phi": phi, "y": phi @ theta})
    np.testing.assert_allclose(autograd.jacobian(tree)(theta), formula, **CLOSE)
