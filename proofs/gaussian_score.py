"""The score of a Gaussian with any mean and covariance, and the same in whitened residuals."""

from sympy import log
from sympy import pi as number_pi

from npgcheck import derivation as dv

S = dv.Setting.of("m", "the number of action dimensions", k="the number of parameters")
a, b, c, d, e = dv.bound("a b c d e")
p = S.over("k", dv.bound("p"))
i, x = S.over("k", dv.free("i")), dv.free("l")
theta = S.family("theta", "real", "the parameters", "k")
M = S.family("M", "real", "the derivatives of the means", "m k")
D = S.family("D", "real", "the derivatives of the covariance matrix Σ", "k m m", symmetric=True)
action = S.family("x", "real", "an action")
mu = S.family("mu", "real", "the means")
P = S.family("P", "real", "the precision matrix Σ⁻¹", "m m", symmetric=True)
L = S.family("Lambda", "real", "log det Σ", "")
W = S.family("W", "real", "any root of the precision matrix, Σ⁻¹ = WᵀW", "m m")
r = S.family("r", "real", "any vector, such as W (x − μ)")
S.slope(mu[a], theta[p], M[a, p])
S.slope(P[a, b], theta[p], -S.sum(P[a, c] * D[p, c, d] * P[d, b], c, d))
S.slope(L, theta[p], S.sum(P[c, d] * D[p, c, d], c, d))

y = S.define("y", a, action[a] - mu[a], "the distance from the mean")
ell = S.define("ell", (), -S.sum(y[a] * P[a, b] * y[b], a, b) / 2 - L / 2
               - S.size * log(2 * number_pi) / 2, "log-density")
u = S.define("u", a, S.sum(P[a, b] * y[b], b), "Σ⁻¹ (x − μ)")
R = S.define("R", (a, b), S.sum(W[e, a] * W[e, b], e), "WᵀW, the precision matrix again")
v = S.define("v", a, S.sum(W[e, a] * r[e], e), "Wᵀ r")
WD = S.define("N", (p, e, b), S.sum(W[e, a] * D[p, a, b], a), "W ∂Σ")
A = S.define("A", (p, e, c), S.sum(WD[p, e, b] * W[c, b], b), "W ∂Σ Wᵀ")
B = S.define("B", (e, p), S.sum(W[e, a] * M[a, p], a), "W ∂μ")
score = lambda u, P, i: (S.sum(u[a] * D[i, a, b] * u[b], a, b) / 2  # noqa: E731
                         + S.sum(u[a] * M[a, i], a) - S.sum(P[a, b] * D[i, a, b], a, b) / 2)
white = (S.sum(r[e] * A[i, e, c] * r[c], e, c) / 2 + S.sum(r[e] * B[e, i], e)
         - S.sum(A[i, e, e], e) / 2)
no_jacobi = S.changed(slope={"Lambda": S.sum(D[p, c, c], c)})


def equation(name, title, left, *steps, free=(i,), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


CLAIM = dv.Claim(
    id="gaussian-score",
    title="The score of a Gaussian with any mean and covariance",
    source="Standard; derived here from two rules of matrix calculus.",
    assumptions=(
        dv.Assumption("the mean and the covariance matrix are differentiable and Σ > 0"),
        dv.Assumption(r"$\partial\Sigma^{-1} = -\Sigma^{-1} \partial\Sigma\, \Sigma^{-1}$ and "
                      r"Jacobi's formula $\partial \log\det\Sigma = \mathrm{tr}(\Sigma^{-1} "
                      r"\partial\Sigma)$", no_jacobi, "score", "∂ log det Σ = tr ∂Σ"),
    ),
    uses=(),
    statements=(
        equation("score", "The score", dv.Partial(ell, theta[i]),
                 ("differentiate", score(u, P, i)),
                 mistakes=[("the trace is missing", score(u, P, i)
                            + S.sum(P[a, b] * D[i, a, b], a, b) / 2)]),
        equation("root", "Σ⁻¹ y = Wᵀ r with r = W y", S.sum(R[x, b] * y[b], b),
                 ("insert R", S.sum(W[e, x] * S.sum(W[e, b] * y[b], b), e)), free=(x,)),
        equation("whitened", "The score in r, with A = W ∂Σ Wᵀ and B = W ∂μ", score(v, R, i),
                 ("insert v and R", white)),
    ),
    covers="Every identity for every m and k. The two rules of matrix calculus are assumed, not "
    "derived; that any Σ⁻¹ > 0 has a root W is standard.",
    justifies=("npgcheck.fisher.fisher",),
)
