"""Squashing: a bijection of the actions that does not depend on θ changes no score, F or KL."""

from sympy import exp, log
from sympy import pi as number_pi

from npgcheck import derivation as dv

S = dv.Setting.of("m", "the number of action dimensions", k="the number of parameters")
mu = S.family("mu", "real", "the means")
rho = S.family("rho", "log", "the logarithms of the standard deviations")
theta = S.family("theta", "real", "the parameters of any family", "k")
g = S.family("g", "real", "the score of any family at the action", "k")
L = S.family("Lambda", "real", "the log-density of any family at the action", "")
c = S.family("c", "real", "log |det| of the derivative of the bijection, one part per dimension")
z = S.family("z", "random", "independent standard normal numbers")
a, b = dv.bound("a b")
p = S.over("k", dv.bound("p"))
i, j = dv.free("i j")
h = S.over("k", dv.free("h"))
S.slope(L, theta[p], g[p])
S.slope(c[a], rho[b], 0)

x = S.define("x", a, mu[a] + exp(rho[a]) * z[a], "the action before, already drawn", frozen=True)
ell = S.define("ell", (), S.sum(-(x[a] - mu[a]) ** 2 * exp(-2 * rho[a]) / 2 - rho[a]
               - log(2 * number_pi) / 2, a), "its log-density")
squashed = S.define("ell^g", (), ell - S.sum(c[a], a), "the log-density of the squashed action")
moving = S.changed(slope={"c": dv.delta(a, b)})
d = lambda f, v: dv.Partial(f, v)  # noqa: E731


def equation(name, title, left, *steps, free=(i, j), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


CLAIM = dv.Claim(
    id="squashing",
    title="A bijection of the actions that is free of θ leaves score and Fisher matrix alone",
    source="Change of variables, log p(g(x)) = log p(x) − log |det g′(x)|; derived here.",
    assumptions=(
        dv.Assumption("the bijection is differentiable, with a derivative that is not 0"),
        dv.Assumption("it does not depend on the parameters", moving, "score-log-std",
                      "c that moves with ρ"),
    ),
    uses=("gaussian-fisher",),
    statements=(
        equation("any-score", "The score of any family", d(L - S.sum(c[a], a), theta[h]),
                 ("c does not depend on θ", g[h]), free=(h,)),
        equation("score-mean", "Gaussian: the score of the mean", d(squashed, mu[i]),
                 ("c does not depend on μ", d(ell, mu[i])), ("differentiate", exp(-rho[i]) * z[i]),
                 free=(i,)),
        equation("score-log-std", "Gaussian: the score of ρ = log σ", d(squashed, rho[i]),
                 ("c does not depend on ρ", d(ell, rho[i])), ("differentiate", z[i] ** 2 - 1),
                 free=(i,)),
        equation("fisher-log-std", "Gaussian: the block of ρ",
                 dv.GaussianMean(d(squashed, rho[i]) * d(squashed, rho[j])),
                 ("the scores are equal", dv.GaussianMean(d(ell, rho[i]) * d(ell, rho[j]))),
                 ("E z⁴ = 3", 2 * dv.delta(i, j)),
                 mistakes=[("as if tanh halved it", dv.delta(i, j))]),
    ),
    covers="Any bijection, acting on each dimension or on all (only its log-determinant enters); "
    "the change of variables itself is a theorem of analysis and not derived here.",
    justifies=("npgcheck.fisher.fisher",),
)
