"""The Fisher matrix of a Gaussian with any covariance: ½ tr(Σ⁻¹ ∂ᵢΣ Σ⁻¹ ∂ⱼΣ) + ∂ᵢμᵀ Σ⁻¹ ∂ⱼμ."""

from sympy import log
from sympy import pi as number_pi

from npgcheck import derivation as dv

S = dv.Setting.of("m", "the number of action dimensions", k="the number of parameters")
a, b, c, d, e = dv.bound("a b c d e")
p, q = S.over("k", *dv.bound("p q"))
i, j = S.over("k", *dv.free("i j"))
x = dv.free("l")
theta = S.family("theta", "real", "the parameters", "k")
M = S.family("M", "real", "the derivatives of the means", "m k")
D = S.family("D", "real", "the derivatives of the covariance matrix Σ", "k m m", symmetric=True)
action = S.family("x", "real", "an action")
mu = S.family("mu", "real", "the means")
P = S.family("P", "real", "the precision matrix Σ⁻¹", "m m", symmetric=True)
L = S.family("Lambda", "real", "log det Σ", "")
W = S.family("W", "real", "any root of the precision matrix, Σ⁻¹ = WᵀW", "m m")
r = S.family("r", "real", "any vector")
A = S.family("A", "real", "W ∂Σ Wᵀ", "k m m", symmetric=True)
B = S.family("B", "real", "W ∂μ", "m k")
z = S.family("z", "random", "independent standard normal numbers")
S.slope(mu[a], theta[p], M[a, p])
S.slope(P[a, b], theta[p], -S.sum(P[a, c] * D[p, c, d] * P[d, b], c, d))
S.slope(L, theta[p], S.sum(P[c, d] * D[p, c, d], c, d))

y = S.define("y", a, action[a] - mu[a], "the distance from the mean")
ell = S.define("ell", (), -S.sum(y[a] * P[a, b] * y[b], a, b) / 2 - L / 2
               - S.size * log(2 * number_pi) / 2, "log-density")
u = S.define("u", a, S.sum(P[a, b] * y[b], b), "Σ⁻¹ (x − μ)")
R = S.define("R", (a, b), S.sum(W[e, a] * W[e, b], e), "WᵀW, the precision matrix again")
v = S.define("v", a, S.sum(W[e, a] * r[e], e), "Wᵀ r, for r = W (x − μ)")
WD = S.define("N", (p, e, b), S.sum(W[e, a] * D[p, a, b], a), "W ∂Σ")
RD = S.define("Q", (p, a, c), S.sum(R[a, b] * D[p, b, c], b), "Σ⁻¹ ∂Σ")
A_is = lambda p, e, c: S.sum(WD[p, e, b] * W[c, b], b)  # noqa: E731
b_is = lambda e, p: S.sum(W[e, a] * M[a, p], a)  # noqa: E731
score = lambda u, P, i: (S.sum(u[a] * D[i, a, b] * u[b], a, b) / 2  # noqa: E731
                         + S.sum(u[a] * M[a, i], a) - S.sum(P[a, b] * D[i, a, b], a, b) / 2)
white = lambda r, A, B, i: (S.sum(r[e] * A(i, e, c) * r[c], e, c) / 2  # noqa: E731
                            + S.sum(r[e] * B(e, i), e) - S.sum(A(i, e, e), e) / 2)
at_z = lambda i: white(z, lambda *k: A[k], lambda *k: B[k], i)  # noqa: E731
fisher = lambda A, B: (S.sum(A(i, e, c) * A(j, c, e), e, c) / 2  # noqa: E731
                       + S.sum(B(e, i) * B(e, j), e))
closed = S.sum(RD[i, a, c] * RD[j, c, a], a, c) / 2, S.sum(M[a, i] * R[a, b] * M[b, j], a, b)
no_jacobi = S.changed(slope={"Lambda": S.sum(D[p, c, c], c)})


def equation(name, title, left, *steps, free=(), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


CLAIM = dv.Claim(
    id="gaussian-covariance",
    title="The Fisher matrix of a Gaussian with any mean and covariance",
    source="Standard (Slepian–Bangs formula); derived here from four moments and Jacobi's formula.",
    assumptions=(
        dv.Assumption(r"$x = \mu + W^{-1} z$ in $m \ge 1$ dimensions, $\Sigma^{-1} = W^\top W$"),
        dv.Assumption(r"$\partial\Sigma^{-1} = -\Sigma^{-1} \partial\Sigma\, \Sigma^{-1}$ and "
                      r"Jacobi's formula $\partial \log\det\Sigma = \mathrm{tr}(\Sigma^{-1} "
                      r"\partial\Sigma)$", no_jacobi, "score", "∂ log det Σ = tr ∂Σ"),
        dv.Assumption(r"the $z_i$ are independent with means 0, 1, 0, 3 of $z, z^2, z^3, z^4$",
                      S.changed(law=dv.FAIR_SIGN), "fisher", "E z⁴ = 1, a fair sign"),
    ),
    uses=(),
    statements=(
        equation("score", "The score", dv.Partial(ell, theta[i]),
                 ("differentiate", score(u, P, i)), free=(i,)),
        equation("root", "Σ⁻¹ y = Wᵀ r with r = W y", S.sum(R[x, b] * y[b], b),
                 ("insert R", S.sum(W[e, x] * S.sum(W[e, b] * y[b], b), e)), free=(x,)),
        equation("whitened", "The score in r", score(v, R, i),
                 ("insert v and R", white(r, A_is, b_is, i)), free=(i,)),
        equation("zero-mean", "r is standard normal, so the score has mean zero",
                 dv.GaussianMean(at_z(i)), ("E zzᵀ is the identity", 0), free=(i,)),
        equation("fisher", "The Fisher matrix in A = W ∂Σ Wᵀ and B = W ∂μ",
                 dv.GaussianMean(at_z(i) * at_z(j)),
                 ("E z⁴ = 3", fisher(lambda *k: A[k], lambda *k: B[k])), free=(i, j),
                 mistakes=[("the factor ½ is missing", S.sum(A[i, e, c] * A[j, c, e], e, c)
                            + S.sum(B[e, i] * B[e, j], e))]),
        equation("closed-form", "The Fisher matrix", fisher(A_is, b_is),
                 ("W leaves the trace as Σ⁻¹ = WᵀW", closed[0] + closed[1]), free=(i, j),
                 mistakes=[("the mean without Σ⁻¹", closed[0] + S.sum(M[a, i] * M[a, j], a))]),
    ),
    covers="Every identity for every m and k and any differentiable μ(θ), Σ(θ) > 0. The two rules "
    "of matrix calculus are assumed, not derived.",
    justifies=("npgcheck.fisher.fisher",),
)
