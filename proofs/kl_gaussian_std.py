"""KL of a diagonal Gaussian along lines in (μ, σ): same second order, another third."""

from sympy import Rational, log
from sympy import pi as number_pi

from npgcheck import derivation as dv

S = dv.Setting.of("m", "the number of action dimensions")
t = S.parameter("t")
k = dv.bound("k")
mu = S.family("mu", "real", "the means")
sigma = S.family("sigma", "positive", "the standard deviations")
alpha = S.family("alpha", "real", "the change of the mean, in units of σ")
beta = S.family("beta", "real", "the change of σ, in units of σ")
z = S.family("z", "random", "independent standard normal numbers")

u = S.define("mu^t", k, mu[k] + t * sigma[k] * alpha[k], "the means at t")
s = S.define("sigma^t", k, sigma[k] * (1 + t * beta[k]), "the standard deviations at t")
x = S.define("x", k, mu[k] + sigma[k] * z[k], "an action drawn at the old parameters")
y = S.define("y", k, u[k] + s[k] * z[k], "an action drawn at t")
ell = lambda x, u, s: (-(x - u) ** 2 / (2 * s ** 2) - log(s)  # noqa: E731
                       - log(2 * number_pi) / 2)
forward = dv.GaussianMean(S.sum(ell(x[k], mu[k], sigma[k]) - ell(x[k], u[k], s[k]), k))
reverse = dv.GaussianMean(S.sum(ell(y[k], u[k], s[k]) - ell(y[k], mu[k], sigma[k]), k))
closed = S.sum(log(1 + t * beta[k]) + ((1 + (t * alpha[k]) ** 2) / (1 + t * beta[k]) ** 2 - 1) / 2,
               k)
back = S.sum(-log(1 + t * beta[k]) + ((1 + t * beta[k]) ** 2 + (t * alpha[k]) ** 2 - 1) / 2, k)
form = S.sum((sigma[k] * alpha[k]) ** 2 / sigma[k] ** 2
             + 2 * (sigma[k] * beta[k]) ** 2 / sigma[k] ** 2, k) / 2
third = -S.sum(beta[k] * alpha[k] ** 2, k) - S.sum(Rational(5, 3) * beta[k] ** 3, k)
third_back = -S.sum(beta[k] ** 3, k) / 3
in_log_std = -S.sum(beta[k] * alpha[k] ** 2, k) - S.sum(Rational(2, 3) * beta[k] ** 3, k)
tensor = S.sum(6 * alpha[k] ** 2 * beta[k] + 8 * beta[k] ** 3, k)
score = S.sum(alpha[k] * z[k] + beta[k] * (z[k] ** 2 - 1), k)  # along the line
wide, sixth = S.changed(law=dv.TWICE_A_FAIR_SIGN), S.changed(law=dv.NORMAL_TO_DEGREE_7)


def order(power, kl, *steps, name="", title="", mistakes=()):
    steps = [(w, dv.Coefficient(e, t, power) if e.has(t) else e) for w, e in steps]
    return dv.Statement.chain(name, title, S, (dv.Coefficient(kl, t, power), steps[-1][1]), steps,
                              (), mistakes)


CLAIM = dv.Claim(
    id="kl-gaussian-std",
    title="KL of a Gaussian in (μ, σ): the second order is F again, the third is another",
    source="Recomputed here; kl-second-order has the coordinates (μ, log σ).",
    assumptions=(
        dv.Assumption(r"$m \ge 1$ dimensions, direction $(\sigma\alpha, \sigma\beta)$"),
        dv.Assumption("the $z_k$ are independent with mean 0 and variance 1", wide,
                      "forward-2", "E z² = 4"),
        dv.Assumption("for T also E z⁴ = 3, E z⁶ = 15 and no odd moments"),
    ),
    uses=("gaussian-fisher", "kl-second-order"),
    statements=(
        order(2, forward, ("take the mean", closed), ("expand", form), name="forward-2",
              title="KL(old ‖ new) at order 2 is half the Fisher form in (μ, σ)",
              mistakes=[("the factor ½ is missing", 2 * form)]),
        order(2, reverse, ("take the mean", back), ("expand", form), name="reverse-2",
              title="KL(new ‖ old) at order 2 is the same"),
        order(3, forward, ("take the mean", closed), ("expand", third), name="forward-3",
              title="KL(old ‖ new) at order 3", mistakes=[("as in (μ, log σ)", in_log_std)]),
        order(3, reverse, ("take the mean", back), ("expand", third_back), name="reverse-3",
              title="KL(new ‖ old) at order 3", mistakes=[("as forward", third)]),
        dv.Statement.chain(
            "tensor", "The third moment of the score: T along the line", sixth,
            (dv.GaussianMean(score ** 3), tensor), [("E z⁶ = 15", tensor)],
            mistakes=[("twice the part of σ", tensor + S.sum(8 * beta[k] ** 3, k))]),
        order(3, reverse - forward, ("take the means", back - closed), ("expand", tensor / 6),
              name="third", title="Their difference: a sixth of T, as in every coordinate system",
              mistakes=[("a third of it", tensor / 3)]),
    ),
    covers="The Taylor coefficients along every line in (μ, σ), for every m; not their remainder.",
    justifies=("npgcheck.fisher.kl",),
)
