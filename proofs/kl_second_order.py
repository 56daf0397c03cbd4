"""KL divergence is half the Fisher form to second order, and at third order directions part."""

from sympy import Rational, exp, log
from sympy import pi as number_pi

from npgcheck import derivation as dv

a, i, j, k = dv.bound("a i j k")
S, G = dv.Setting.of("n", "the number of actions"), dv.Setting.of("m", "the number of dimensions")
t = S.parameter("t")
theta = S.family("theta", "log", "the logits of one state")
eps = S.family("varepsilon", "real", "the direction of the change")
Z = S.define("Z", (), S.sum(exp(theta[k]), k), "the normaliser")
pi = S.define("pi", i, exp(theta[i]) / Z, "the probabilities at θ")
new = S.define("pi^t", i, exp(theta[i] + t * eps[i])
               / S.sum(exp(theta[k] + t * eps[k]), k), "the probabilities at θ + tε")
score = lambda b: dv.Partial(log(pi[a]), theta[b])  # noqa: E731
F = S.define("F", (i, j), dv.Expect(score(i) * score(j), a, pi), "the Fisher matrix")
mean = S.define("m", (), S.sum(pi[k] * eps[k], k), "the mean of ε")
kappa = S.define("kappa", (), S.sum(pi[k] * (eps[k] - mean) ** 3, k), "the third cumulant of ε")
forward = dv.Expect(log(pi[a]) - log(new[a]), a, pi)  # KL(π_θ ‖ π_θ+tε)
reverse = dv.Expect(log(new[a]) - log(pi[a]), a, new)  # KL(π_θ+tε ‖ π_θ)
cumulants = log(S.sum(pi[k] * exp(t * eps[k]), k)) - t * mean
variance = S.sum(pi[k] * eps[k] ** 2, k) - mean**2
form = S.sum(eps[i] * F[i, j] * eps[j], i, j) / 2
G.parameter("t")
mu, rho = G.family("mu", "real", "the means"), G.family("rho", "log", "the logarithms of σ")
alpha = G.family("alpha", "real", "the change of the mean, in units of σ")
beta = G.family("beta", "real", "the change of ρ")
z = G.family("z", "random", "independent standard normal numbers")
x = G.define("x", k, mu[k] + exp(rho[k]) * z[k], "an action drawn at the old parameters")
u = G.define("mu^t", k, mu[k] + t * exp(rho[k]) * alpha[k], "the means at t")
s = G.define("rho^t", k, rho[k] + t * beta[k], "ρ at t")
y = G.define("y", k, u[k] + exp(s[k]) * z[k], "an action drawn at t")
ell = lambda x, u, s: -((x - u) ** 2) * exp(-2 * s) / 2 - s - log(2 * number_pi) / 2  # noqa: E731
at_x = [G.define("ell", k, ell(x[k], mu[k], rho[k]), "log-density of x, old parameters"),
        G.define("ell^t", k, ell(x[k], u[k], s[k]), "log-density of x, parameters at t")]
at_y = [G.define("h", k, ell(y[k], mu[k], rho[k]), "log-density of y, old parameters"),
        G.define("h^t", k, ell(y[k], u[k], s[k]), "log-density of y, parameters at t")]
g_forward = dv.GaussianMean(G.sum(at_x[0][k] - at_x[1][k], k))
g_reverse = dv.GaussianMean(G.sum(at_y[1][k] - at_y[0][k], k))
g_closed = G.sum(t * beta[k] + ((1 + (t * alpha[k]) ** 2) * exp(-2 * t * beta[k]) - 1) / 2, k)
g_back = G.sum(-t * beta[k] + (exp(2 * t * beta[k]) + (t * alpha[k]) ** 2 - 1) / 2, k)
cubic_back = G.sum(Rational(2, 3) * beta[k] ** 3, k)
cubic = -G.sum(beta[k] * alpha[k] ** 2, k) - cubic_back
g_form = G.sum((exp(rho[k]) * alpha[k]) ** 2 * exp(-2 * rho[k]) + 2 * beta[k] ** 2, k) / 2


def order(power, kl, *steps, mistakes=(), setting=S):
    way = "forward" if kl in (forward, g_forward) else "reverse"
    family = "softmax" if setting is S else "gaussian"
    title = f"{family.title()}: {way} KL at order {power}"
    chain = [(w, dv.Coefficient(e, t, power) if e.has(t) else e) for w, e in steps]
    return dv.Statement.chain(f"{family}-{way}-{power}", title, setting, (
        dv.Coefficient(kl, t, power), chain[-1][1]), chain, mistakes=mistakes)


CLAIM = dv.Claim(
    id="kl-second-order",
    title="KL is ½ εᵀFε to second order; at third order the two directions part",
    source="Standard information geometry; every coefficient is recomputed here.",
    assumptions=(dv.Assumption(r"softmax: $n \ge 1$, real logits $\theta + t\varepsilon$"),
                 dv.Assumption(r"Gaussian: $m \ge 1$, direction $(\sigma\alpha, \beta)$"),
                 dv.Assumption(r"the $z_k$ have mean 0 and variance 1 and are independent")),
    uses=("softmax-fisher", "gaussian-fisher"),
    statements=(
        order(2, forward, ("log π − log πᵗ is log Σ π eᵗᵉ − tε", cumulants),
              ("the second cumulant", variance / 2), ("a variance is εᵀFε", form),
              mistakes=[("the factor ½ is missing", 2 * form)]),
        order(2, reverse, ("expand", variance / 2), ("a variance is εᵀFε", form)),
        order(3, forward, ("as at order 2", cumulants), ("the third cumulant", kappa / 6)),
        order(3, reverse, ("expand", kappa / 3), mistakes=[("as forward", kappa / 6)]),
        order(2, g_forward, ("take the mean", g_closed), ("expand", g_form), setting=G),
        order(2, g_reverse, ("take the mean", g_back), ("expand", g_form), setting=G),
        order(3, g_forward, ("take the mean", g_closed), ("expand", cubic), setting=G),
        order(3, g_reverse, ("take the mean", g_back), ("expand", cubic_back), setting=G),
    ),
    covers="The Taylor coefficients along every line, for every n and m; not their remainder.",
    justifies=("npgcheck.fisher.kl", "npgcheck.fisher.fisher"),
)
