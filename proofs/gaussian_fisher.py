"""The Fisher matrix of a Gaussian policy with independent actions, in three coordinates."""

from sympy import exp, log, pi

from npgcheck import derivation as dv

S = dv.Setting.of("m", "the number of action dimensions")
mu = S.family("mu", "real", "the means")
rho = S.family("rho", "log", "the logarithms of the standard deviations")
sigma = S.family("sigma", "positive", "the standard deviations, as coordinates")
v = S.family("v", "positive", "the variances, as coordinates")
z = S.family("z", "random", "independent standard normal numbers")
k, p, q = dv.bound("k p q")
i, j = dv.free("i j")

x = S.define("x", k, mu[k] + exp(rho[k]) * z[k], "the action, already drawn", frozen=True)
s = S.define("s", k, sigma[k] ** 2 * z[k] ** 2, "(x − μ)² in σ, already drawn", frozen=True)
w = S.define("w", k, v[k] * z[k] ** 2, "(x − μ)² in σ², already drawn", frozen=True)
density = lambda square, log_std, var: S.sum(  # noqa: E731
    -square / (2 * var) - log_std - log(2 * pi) / 2, k)
ell = S.define("ell", (), density((x[k] - mu[k]) ** 2, rho[k], exp(2 * rho[k])), "log-density")
ell_s = S.define("ell^sigma", (), density(s[k], log(sigma[k]), sigma[k] ** 2), "the same in σ")
ell_v = S.define("ell^v", (), density(w[k], log(v[k]) / 2, v[k]), "the same in v = σ²")
d_mu, d_rho = (lambda i: dv.Partial(ell, mu[i])), (lambda i: dv.Partial(ell, rho[i]))


def equation(name, title, left, *steps, free=(i, j), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


def pulled_back(old, new):  # JᵀFJ with F = 2δ, the block of ρ, and ρ = `old` as a function of `new`
    jacobian = lambda k, i: dv.Partial(old(k), new[i])  # noqa: E731
    return S.sum(jacobian(p, i) * 2 * dv.delta(p, q) * jacobian(q, j), p, q)


scores = dv.GaussianMean((z[i] ** 2 - 1) * (z[j] ** 2 - 1))
CLAIM = dv.Claim(
    id="gaussian-fisher",
    title="The Fisher matrix of a diagonal Gaussian in (μ, log σ), (μ, σ) and (μ, σ²)",
    source="Standard; every entry is recomputed here.",
    assumptions=(
        dv.Assumption(r"the action is $x_i = \mu_i + e^{\rho_i} z_i$ in $m \ge 1$ dimensions"),
        dv.Assumption(
            r"the $z_i$ are independent with means 0, 1, 0, 3 of $z, z^2, z^3, z^4$, "
            "as standard normal numbers are",
            S.changed(law=dv.FAIR_SIGN), "fisher-log-std", "E z⁴ = 1, a fair sign"),
    ),
    uses=(),
    statements=(
        equation("score-mean", "The score of the mean", d_mu(i),
                 ("differentiate", (x[i] - mu[i]) * exp(-2 * rho[i])),
                 ("insert the action", exp(-rho[i]) * z[i]), free=(i,)),
        equation("score-log-std", "The score of ρ = log σ", d_rho(i),
                 ("differentiate", (x[i] - mu[i]) ** 2 * exp(-2 * rho[i]) - 1),
                 ("insert the action", z[i] ** 2 - 1), free=(i,)),
        equation("fisher-mean", "The block of the means", dv.GaussianMean(d_mu(i) * d_mu(j)),
                 ("insert the scores", dv.GaussianMean(exp(-rho[i] - rho[j]) * z[i] * z[j])),
                 ("E zᵢzⱼ = δᵢⱼ", exp(-2 * rho[i]) * dv.delta(i, j)),
                 mistakes=[("σ in place of σ²", exp(-rho[i]) * dv.delta(i, j))]),
        equation("fisher-cross", "Mean and ρ are orthogonal", dv.GaussianMean(d_mu(i) * d_rho(j)),
                 ("insert the scores", dv.GaussianMean(exp(-rho[i]) * z[i] * (z[j] ** 2 - 1))),
                 ("odd moments vanish", 0)),
        equation("fisher-log-std", "The block of ρ = log σ", dv.GaussianMean(d_rho(i) * d_rho(j)),
                 ("insert the scores", scores), ("E z⁴ = 3", 2 * dv.delta(i, j)),
                 mistakes=[("the block of σ instead", 2 * exp(-2 * rho[i]) * dv.delta(i, j))]),
        equation("fisher-std", "The block of σ", dv.GaussianMean(dv.Partial(ell_s, sigma[i])
                 * dv.Partial(ell_s, sigma[j])), ("chain rule: JᵀFJ with ρ = log σ",
                 pulled_back(lambda k: log(sigma[k]), sigma)), ("J = δ/σ", 2 * dv.delta(i, j)
                 / sigma[i] ** 2)),
        equation("fisher-variance", "The block of v = σ²", dv.GaussianMean(dv.Partial(ell_v, v[i])
                 * dv.Partial(ell_v, v[j])), ("chain rule: JᵀFJ with ρ = ½ log v",
                 pulled_back(lambda k: log(v[k]) / 2, v)), ("J = δ/2v", dv.delta(i, j)
                 / (2 * v[i] ** 2))),
    ),
    covers="Every identity for every m ≥ 1 and all real μ, ρ, given the four moments; that normal "
    "numbers have these moments, and that E means an integral, is not derived here.",
    justifies=("npgcheck.fisher.fisher", "npgcheck.policy.GaussianPolicy"),
)
