"""Bridges for the claims about matrices: the trees that were proved, against npgcheck's numbers.

Both sides are a few hundred float operations on numbers up to 100 and an inverse of condition
(1 + γ)/(1 − γ) < 10, so they agree to 1e-9 with room; where a derivative is read off central
differences the truncation is named. Each named mistake must fail the same comparison.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import flint
import numpy as np
import pytest
from math_cases import random_mdp
from test_lqr import problem

from npgcheck.average_reward import (
    average_reward_gradient,
    evaluate_average,
    evaluate_horizon,
    finite_horizon_gradient,
)
from npgcheck.certified import certify_evaluation
from npgcheck.derivation import DerivationError, prove
from npgcheck.derivation.bridge import table
from npgcheck.derivation.word_bridge import Given, evaluate
from npgcheck.derivation.words import Words
from npgcheck.entropy import (
    regularised_step,
    soft_evaluation,
    soft_optimal,
    soft_policy_gradient,
    soft_policy_iteration,
)
from npgcheck.exact import evaluate as evaluate_exact
from npgcheck.exact import optimal
from npgcheck.fisher import fisher
from npgcheck.gradient import policy_gradient
from npgcheck.lqr import evaluate_gain, gain_gradient
from npgcheck.lqr import natural_gradient as lqr_natural_gradient
from npgcheck.mdp import MDP
from npgcheck.natural import natural_gradient, update
from npgcheck.policy import SoftmaxPolicy

CLAIMS = prove.load()
S, A, GAMMA, TAU = 3, 2, 0.8, 0.6
SIZES = {"S": S, "A": A}
CLOSE = 1e-9
NEW, BEST = "′", "⋆"


def sides(claim: str, name: str, model) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """(lhs, rhs, mistakes) of a statement at given matrices."""
    s = CLAIMS[claim].statement(name)
    wrong = [evaluate(w, model, s.lhs) for _, w in s.mistakes]
    return evaluate(s.lhs, model, s.rhs), evaluate(s.rhs, model, s.lhs), wrong


def agrees(claim: str, name: str, model, number, least: int = 0) -> None:
    """Both sides equal npgcheck's number, and at least `least` mistakes are there and differ."""
    lhs, rhs, wrong = sides(claim, name, model)
    number = np.asarray(number, dtype=float).reshape(rhs.shape)
    np.testing.assert_allclose(lhs, number, atol=CLOSE, rtol=CLOSE)
    np.testing.assert_allclose(rhs, number, atol=CLOSE, rtol=CLOSE)
    assert len(wrong) >= least
    for w in wrong:
        assert np.abs(w - number).max() > 1e-5


def setting_of(claim: str, name: str):
    return CLAIMS[claim].statement(name).setting


def wide(pi: np.ndarray) -> np.ndarray:
    """(S, A) probabilities as the (S, SA) matrix Π."""
    out = np.zeros((len(pi), pi.size))
    for s, row in enumerate(pi):
        out[s, s * pi.shape[1] : (s + 1) * pi.shape[1]] = row
    return out


@pytest.fixture(params=range(3))
def case(request):
    rng = np.random.default_rng(request.param)
    mdp, policy = random_mdp(rng, S, A, GAMMA), SoftmaxPolicy(S, A)
    theta, u = rng.normal(size=S * A), rng.normal(size=S * A)
    seen = np.eye(S)
    pi = policy.probabilities(theta, seen)
    x = u.reshape(S, A)
    x = x - (pi * x).sum(axis=1, keepdims=True)
    variance = (pi * x**2).sum(axis=1, keepdims=True)
    # softmax along θ + εu: log π = ℓ + εx − ½ε² Var, π = π₀(1 + εx + ½ε²(x² − Var))
    pis = [pi, pi * x, pi * (x**2 - variance) / 2]
    logs = [np.log(pi), x, np.broadcast_to(-variance / 2, pi.shape)]
    base = {
        "P": mdp.transitions.reshape(S * A, S),
        "R": mdp.rewards.reshape(-1, 1),
        "E": np.repeat(np.eye(S), A, axis=0),
        "rho": mdp.initial_distribution[None],
        "1_S": np.ones((S, 1)),
        "1_SA": np.ones((S * A, 1)),
        "Pi": [wide(p) for p in pis],
    }
    return SimpleNamespace(
        mdp=mdp, policy=policy, theta=theta, u=u, seen=seen, pi=pi, base=base, rng=rng,
        logs=[v.reshape(-1, 1) for v in logs], exact=evaluate_exact(mdp, pi),
        new=policy.probabilities(theta[::-1] / 2, seen),
    )  # fmt: skip


def plain(case, claim: str, name: str, extra=None, scalars=None, tolerance=CLOSE) -> Given:
    matrices = {**case.base, **(extra or {})}
    setting = setting_of(claim, name)
    if not setting.derivatives:
        matrices = {k: v[0] if isinstance(v, list) else v for k, v in matrices.items()}
    return Given(setting, SIZES, matrices, {"gamma": GAMMA, **(scalars or {})}, tolerance)


def column(values) -> np.ndarray:
    return np.asarray(values).reshape(-1, 1)


class TestBellman:
    def test_values_and_occupancy(self, case):
        model, found = plain(case, "bellman", "value"), case.exact
        agrees("bellman", "value", model, found.value, least=1)
        agrees("bellman", "action-value", model, found.q_value, least=1)
        agrees("bellman", "occupancy", model, found.state_distribution, least=1)
        agrees("bellman", "objective", model, found.objective, least=1)

    def test_in_exact_fractions(self):
        rng = np.random.default_rng(4)
        q = lambda f: flint.fmpq(f.numerator, f.denominator)  # noqa: E731
        P = [
            [[Fraction(1, 4), Fraction(3, 4)], [Fraction(1, 2)] * 2],
            [[Fraction(1), 0], [0, Fraction(1)]],
        ]
        R, pi = (
            rng.integers(-3, 4, size=(2, 2)),
            [[Fraction(1, 3), Fraction(2, 3)], [Fraction(1, 4), Fraction(3, 4)]],
        )
        mdp = MDP(np.array(P, dtype=float), R.astype(float), 0.5, [0.5, 0.5])
        exact = certify_evaluation(mdp, pi)
        wide_pi = [[q(pi[0][0]), q(pi[0][1]), q(Fraction(0)), q(Fraction(0))],
                   [q(Fraction(0)), q(Fraction(0)), q(pi[1][0]), q(pi[1][1])]]  # fmt: skip
        whole = lambda rows: np.array([[q(Fraction(x)) for x in row] for row in rows])  # noqa: E731
        matrices = {
            "P": whole([row for rows in P for row in rows]), "R": whole(R.reshape(-1, 1).tolist()),
            "E": whole([[1, 0], [1, 0], [0, 1], [0, 1]]), "Pi": np.array(wide_pi),
            "rho": whole([[Fraction(1, 2)] * 2]), "1_S": whole([[1]] * 2), "1_SA": whole([[1]] * 4),
        }  # fmt: skip
        setting = setting_of("bellman", "value")
        half = {"gamma": flint.fmpq(1, 2)}
        model = Given(setting, {"S": 2, "A": 2}, matrices, half, tolerance=0)
        s = CLAIMS["bellman"].statement("value")
        assert [str(x) for x in evaluate(s.rhs, model)[:, 0]] == [str(v) for v in exact.value]

    def test_matrices_that_break_an_assumption_are_refused(self, case):
        with pytest.raises(DerivationError, match="do not satisfy"):
            plain(case, "bellman", "value", {"Pi": 2 * wide(case.pi)})


def test_performance_difference(case):
    model = plain(case, "performance-difference", "objective", {f"Pi{NEW}": wide(case.new)})
    after = evaluate_exact(case.mdp, case.new)
    gain = after.objective - case.exact.objective
    for name, least in (("objective", 3), ("swapped", 1), ("swapped-advantage", 0)):
        agrees("performance-difference", name, model, gain, least)
    moved = after.state_distribution - case.exact.state_distribution
    agrees("performance-difference", "occupancies", model, moved)


def test_policy_gradient(case):
    b = case.rng.normal(size=(S, 1))
    model = plain(case, "policy-gradient", "normalised", {"b": b})
    slope = policy_gradient(case.mdp, case.policy, case.theta, case.seen) @ case.u
    for name, least in (("unnormalised", 1), ("normalised", 1), ("baseline", 1), ("advantage", 0)):
        agrees("policy-gradient", name, model, slope, least)


def test_policy_gradient_in_one_logit(case):
    s = CLAIMS["policy-gradient"].statement("softmax")
    state, found = 1, case.exact
    values = {"theta": case.theta.reshape(S, A)[state], "q": found.q_value[state]}
    scale = found.state_distribution[state] / (1 - GAMMA)
    g = policy_gradient(case.mdp, case.policy, case.theta, case.seen).reshape(S, A)[state]
    for side in (s.lhs, s.rhs):
        np.testing.assert_allclose(scale * table(side, s.setting, s.free, values), g, atol=CLOSE)


def curvature(slope, theta, u) -> float:
    # central differences of a gradient: truncation h² = 1e-8 times a third derivative below 100
    h = 1e-4
    return (slope(theta + h * u) - slope(theta - h * u)) @ u / (2 * h)


def test_policy_hessian(case):
    model = plain(case, "policy-hessian", "hessian")
    slope = lambda t: policy_gradient(case.mdp, case.policy, t, case.seen)  # noqa: E731
    second = curvature(slope, case.theta, case.u)
    for name in ("hessian", "advantage"):
        _, rhs, wrong = sides("policy-hessian", name, model)
        assert rhs[0, 0] == pytest.approx(second, abs=1e-5)
        assert all(abs(w[0, 0] - second) > 1e-3 for w in wrong)


def test_finite_horizon(case):
    H = 3
    stages = evaluate_horizon(case.mdp, case.pi, H)
    # states are pairs (stage, state); R and Π repeat, P leads to the next stage
    P, size = np.zeros((H * S * A, H * S)), S * A
    Pi = [np.kron(np.eye(H), p) for p in case.base["Pi"]]
    for h in range(H - 1):
        P[h * size : (h + 1) * size, (h + 1) * S : (h + 2) * S] = case.base["P"]
    matrices = {
        "P": P, "R": np.tile(case.base["R"], (H, 1)), "Pi": Pi[:2],
        "rho": np.concatenate([case.base["rho"], np.zeros((1, (H - 1) * S))], axis=1),
    }  # fmt: skip
    setting = setting_of("finite-horizon", "all-stages")
    model = Given(setting, {"S": H * S, "A": A}, matrices, {}, CLOSE)
    slope = finite_horizon_gradient(case.mdp, case.policy, case.theta, case.seen, H) @ case.u
    agrees("finite-horizon", "all-stages", model, slope, 1)
    # the stages telescope: Σ_h d_h dΠ Q_h
    total = sum(
        stages.state_distribution[h] @ case.base["Pi"][1] @ stages.q_value[h].ravel()
        for h in range(H)
    )
    assert total == pytest.approx(slope, abs=CLOSE)


def test_average_reward(case):
    base = {k: v for k, v in case.base.items() if k != "rho"}
    base[f"Pi{NEW}"] = wide(case.new)
    base["Pi"] = base["Pi"][:2]
    model = Given(setting_of("average-reward", "gradient"), SIZES, base, {}, CLOSE)
    before, after = (evaluate_average(case.mdp, p) for p in (case.pi, case.new))
    slope = average_reward_gradient(case.mdp, case.policy, case.theta, case.seen) @ case.u
    agrees("average-reward", "average", model, before.average)
    agrees("average-reward", "gradient", model, slope, 1)
    agrees("average-reward", "advantage", model, slope)
    agrees("average-reward", "difference", model, after.average - before.average, 1)


def test_entropy_gradient(case):
    model = plain(case, "entropy-gradient", "gradient", {"ell": case.logs}, {"tau": TAU})
    g = soft_policy_gradient(case.mdp, case.policy, case.theta, case.seen, TAU)
    agrees("entropy-gradient", "gradient", model, g @ case.u, 2)
    agrees("entropy-gradient", "advantage", model, g @ case.u)


def test_hessian_at_the_soft_optimum(case):
    best, log_best = soft_optimal(case.mdp, TAU)
    theta, pi = log_best.ravel(), np.exp(log_best)
    x = case.u.reshape(S, A)
    x = x - (pi * x).sum(axis=1, keepdims=True)
    variance = (pi * x**2).sum(axis=1, keepdims=True)
    logs = [column(v) for v in (log_best, x, np.broadcast_to(-variance / 2, pi.shape))]
    Pi = [wide(p) for p in (pi, pi * x, pi * (x**2 - variance) / 2)]
    extra = {"ell": logs, "Pi": Pi, "v": column(best)}
    model = plain(case, "entropy-gradient", "hessian", extra, {"tau": TAU})
    slope = lambda t: soft_policy_gradient(case.mdp, case.policy, t, case.seen, TAU)  # noqa: E731
    second = -curvature(slope, theta, case.u)
    _, rhs, wrong = sides("entropy-gradient", "hessian", model)
    assert rhs[0, 0] == pytest.approx(second, abs=1e-5)
    assert all(abs(w[0, 0] - second) > 1e-3 for w in wrong)
    d = soft_evaluation(case.mdp, log_best, TAU).state_distribution
    F = fisher(case.policy, theta, case.seen, d)
    assert TAU / (1 - GAMMA) * case.u @ F @ case.u == pytest.approx(rhs[0, 0], abs=CLOSE)
    agrees("entropy-gradient", "stationary", model, 0)


def test_soft_improvement(case):
    eta, old = 0.5 * (1 - GAMMA) / TAU, case.logs[0].reshape(S, A)
    new, before = regularised_step(case.mdp, old, TAU, eta), soft_evaluation(case.mdp, old, TAU)
    scale = eta / (1 - GAMMA)
    z = ((1 - scale * TAU) * old + scale * before.q_value - new)[:, :1]
    extra = {"ell": column(old), f"ell{NEW}": column(new), "z": z, f"Pi{NEW}": wide(np.exp(new))}
    scalars = {"tau": TAU, "eta": eta}
    model = plain(case, "soft-improvement", "gain", extra, scalars)
    after = soft_evaluation(case.mdp, new, TAU)
    agrees("soft-improvement", "gain-per-state", model, after.value - before.value)
    agrees("soft-improvement", "gain", model, after.objective - before.objective, 2)


def test_soft_policy_iteration(case):
    best, log_best = soft_optimal(case.mdp, TAU)
    old = case.logs[0].reshape(S, A)
    found = soft_evaluation(case.mdp, old, TAU)
    extra = {
        "ell": column(old), "ell*": column(log_best), "v": column(best),
        f"Pi{BEST}": wide(np.exp(log_best)),
    }  # fmt: skip
    model = plain(case, "soft-policy-iteration", "suboptimality", extra, {"tau": TAU})
    gap = case.mdp.initial_distribution @ best - found.objective
    agrees("soft-policy-iteration", "suboptimality", model, gap, 2)
    (new,) = soft_policy_iteration(case.mdp, old, TAU, 1)
    kl = lambda p, q: column((np.exp(p) * (p - q)).sum(axis=1))  # noqa: E731
    extra = {
        "ell": column(old), "ell'": column(new), "ell*": column(log_best), "k": kl(old, new),
        "k*": kl(log_best, new), "u": column((found.q_value - TAU * new)[:, 0]),
        f"Pi{NEW}": wide(np.exp(new)), f"Pi{BEST}": wide(np.exp(log_best)),
    }  # fmt: skip
    model = plain(case, "soft-policy-iteration", "contraction", extra, {"tau": TAU})
    lhs, rhs, _ = sides("soft-policy-iteration", "contraction", model)
    after = soft_evaluation(case.mdp, new, TAU)
    np.testing.assert_allclose(rhs[:, 0], best - after.value, atol=CLOSE)
    assert (lhs >= rhs - CLOSE).all()
    assert np.abs(best - after.value).max() <= GAMMA * np.abs(best - found.value).max() + CLOSE


def natural_step(case, eta: float, theta=None):
    """log π and log π′ of one natural policy gradient step."""
    theta = case.theta if theta is None else theta
    new = update(case.mdp, case.policy, theta, case.seen, eta)
    return [case.policy.log_probabilities(t, case.seen) for t in (theta, new)]


def step_matrices(case, eta: float) -> dict:
    old, new = natural_step(case, eta)
    z = (eta / (1 - GAMMA) * case.exact.advantage - new + old)[:, :1]
    k = (np.exp(new) * (new - old)).sum(axis=1)
    return {
        "ell": column(old), f"ell{NEW}": column(new), "z": z, "k": column(k),
        "V": column(case.exact.value), f"Pi{NEW}": wide(np.exp(new)),
    }  # fmt: skip


def test_monotone_improvement(case):
    eta = 0.3
    extra = step_matrices(case, eta)
    model = plain(case, "monotone-improvement", "gain", extra, {"eta": eta})
    _, new = natural_step(case, eta)
    after = evaluate_exact(case.mdp, np.exp(new))
    agrees("monotone-improvement", "gain", model, after.objective - case.exact.objective, 2)
    gain = after.value - case.exact.value
    agrees("monotone-improvement", "gain-per-state", model, gain, 1)
    _, least, _ = sides("monotone-improvement", "lower-bound", model)
    assert (gain >= least[:, 0] - CLOSE).all()
    assert (gain >= -CLOSE).all()
    lhs, rhs, _ = sides("monotone-improvement", "normaliser", model)
    np.testing.assert_allclose(lhs, rhs, atol=CLOSE)  # log Z = KL(π ‖ π′)


def test_npg_rate(case):
    eta, T = 0.3, 7.0
    extra = step_matrices(case, eta)
    star = optimal(case.mdp)
    log_old, log_new = natural_step(case, eta)
    far = -(star.probabilities * log_old).sum(axis=1)  # KL(π* ‖ π), π* deterministic
    extra |= {"c": column(far), f"Pi{BEST}": wide(star.probabilities)}
    model = plain(case, "npg-rate", "gap", extra, {"eta": eta, "t": T})
    gap = case.mdp.initial_distribution @ star.value - case.exact.objective
    agrees("npg-rate", "gap", model, gap, 1)
    for name in ("potential", "decrease"):
        lhs, rhs, _ = sides("npg-rate", name, model)
        assert lhs[0, 0] >= rhs[0, 0]
    after = evaluate_exact(case.mdp, np.exp(log_new))
    gap_after = case.mdp.initial_distribution @ star.value - after.objective
    lhs, rhs, _ = sides("npg-rate", "decrease", model)
    d = evaluate_exact(case.mdp, star.probabilities).state_distribution
    near = -(star.probabilities * log_new).sum(axis=1)
    potential = d @ near / eta + d @ (star.value - after.value) / (1 - GAMMA)
    assert rhs[0, 0] == pytest.approx((T + 1) * gap_after + potential, abs=1e-8)


def test_compatible_features(case):
    policy, seen = SoftmaxPolicy(2, A), case.rng.normal(size=(S, 2))
    theta = case.rng.normal(size=4)
    pi = policy.probabilities(theta, seen)
    found = evaluate_exact(case.mdp, pi)
    # drop the last action's column: scores of a two-action softmax are dependent
    Psi = policy.scores(theta, seen).reshape(S * A, 4)[:, [0, 2]]
    mass = (found.state_distribution[:, None] * pi).ravel()
    root = np.sqrt(mass)[:, None]
    best = np.linalg.lstsq(root * Psi, root[:, 0] * found.advantage.ravel(), rcond=None)[0]
    matrices = {
        "E": case.base["E"], "M": np.diag(mass), "Psi": Psi, "w*": column(best),
        "A": column(found.advantage), "w": column([1.0, -2.0]), "h": column([0.5, 0.3]),
        "V": column(found.value),
    }  # fmt: skip
    setting = setting_of("compatible-features", "natural-gradient")
    model = Given(setting, {"D": 2, **SIZES}, matrices, {"gamma": GAMMA}, CLOSE)
    g = policy_gradient(case.mdp, policy, theta, seen)[[0, 2]]
    agrees("compatible-features", "natural-gradient", model, g, 1)
    agrees("compatible-features", "critic", model, g)
    # over all four parameters the shortest solution is (w*, −w*)/2 per feature
    x = natural_gradient(case.mdp, policy, theta, seen).reshape(2, A)
    np.testing.assert_allclose(x[:, 0] - x[:, 1], best / (1 - GAMMA), atol=CLOSE)


def test_tabular_natural_gradient(case):
    claim, state = CLAIMS["tabular-natural-gradient"], 1
    theta, eta = case.theta.reshape(S, A)[state], 0.3
    x = natural_gradient(case.mdp, case.policy, case.theta, case.seen).reshape(S, A)[state]
    values = {"theta": theta, "q": case.exact.q_value[state], "u": eta * x}
    s = claim.statement("pseudo-inverse")
    formula = table(s.rhs, s.setting, s.free, values) / (1 - GAMMA)
    np.testing.assert_allclose(formula, x, atol=CLOSE)
    s = claim.statement("multiplicative-weights")
    _, new = natural_step(case, eta)
    np.testing.assert_allclose(
        table(s.rhs, s.setting, s.free, values), np.exp(new[state]), atol=CLOSE
    )


@pytest.mark.parametrize("seed", range(3))
def test_lqr(seed):
    p, K = problem(seed, 0.9, 0.5)
    rng = np.random.default_rng(seed + 9)
    dK, other = rng.normal(size=K.shape), K + 0.05 * rng.normal(size=K.shape)
    before, after = evaluate_gain(p, K), evaluate_gain(p, other)
    enters = (1 - 0.9) * p.start + 0.9 * 0.25 * p.B @ p.B.T
    common = {"A": p.A, "B": p.B, "R": p.R, "Q": p.Q, "N": enters}
    scalars, sizes = {"gamma": 0.9, "s": 0.25}, {"x": 3, "u": 2}
    matrices = {**common, "K": [K, dK], "Sigma": before.states, "Sigma_0": p.start}
    model = Given(setting_of("lqr-gradient", "gradient"), sizes, matrices, scalars, 1e-8)
    slope = (1 - 0.9) * (gain_gradient(p, K) * dK).sum()
    agrees("lqr-gradient", "gradient", model, slope, 2)
    agrees("lqr-gradient", "natural", model, slope, 1)
    agrees("lqr-gradient", "slope", model, before.slope, 1)
    x = lqr_natural_gradient(p, K)
    inner = np.trace(before.states @ dK.T @ x) / p.sigma**2
    assert inner == pytest.approx(slope / (1 - 0.9), rel=1e-9)
    matrices = {**common, "K": K, "K'": other, "Sigma'": after.states}
    setting = setting_of("lqr-difference", "difference")
    model = Given(setting, sizes, matrices, {"gamma": 0.9}, 1e-8)
    agrees("lqr-difference", "difference", model, (1 - 0.9) * (after.cost - before.cost), 2)


def test_newton_on_the_bandit():
    """K3: at p = ¼ Newton's step is −2, downhill, and the natural step +1."""
    mdp = MDP(np.ones((1, 2, 1)), [[1.0, 0.0]], 0.0, [1.0])
    policy, seen = SoftmaxPolicy(1, 2), np.eye(1)
    along = np.array([1.0, 0.0])
    theta = np.log([1.0, 3.0])  # p = ¼
    slope = lambda t: policy_gradient(mdp, policy, t, seen)  # noqa: E731
    first, second = slope(theta) @ along, curvature(slope, theta, along)
    F = along @ fisher(policy, theta, seen, np.ones(1)) @ along
    claim = CLAIMS["newton"]

    def value(name):
        s = claim.statement(name)
        return float(table(s.rhs, s.setting, [], {}))

    assert first == pytest.approx(value("slope"), abs=CLOSE)
    assert second == pytest.approx(value("curvature"), abs=1e-6)
    assert pytest.approx(value("information"), abs=CLOSE) == F
    assert -first / second == pytest.approx(value("newton-step"), abs=1e-4) == -2
    assert first / F == pytest.approx(value("natural-step"), abs=CLOSE) == 1


def test_chentsov_against_the_fisher_matrix():
    """Splitting an action into copies with fixed shares leaves Σ u²/p, which is F, alone."""
    claim = CLAIMS["chentsov"]
    s = claim.statement("invariant")
    shares, p, change = np.array([0.2, 0.3, 0.5]), 0.4, 0.7
    values = {"omega": np.log(shares), "x": np.full(3, p), "y": np.full(3, change)}
    np.testing.assert_allclose(
        table(s.lhs, s.setting, s.free, values), (shares * change) ** 2 @ (1 / (shares * p))
    )
    np.testing.assert_allclose(table(s.rhs, s.setting, s.free, values), change**2 / p)


def test_every_claim_about_matrices_has_its_bridge_here():
    text = Path(__file__).read_text(encoding="utf-8")
    about = {
        c.id for c in CLAIMS.values() if any(isinstance(s.setting, Words) for s in c.statements)
    }
    about |= {"tabular-natural-gradient", "newton", "chentsov"}
    assert len(about) == 17
    assert not [name for name in about if f'"{name}"' not in text]
