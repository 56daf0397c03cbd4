"""The Fisher matrix of a Gaussian with any covariance: ½ tr(Σ⁻¹ ∂ᵢΣ Σ⁻¹ ∂ⱼΣ) + ∂ᵢμᵀ Σ⁻¹ ∂ⱼμ."""

from npgcheck import derivation as dv

S = dv.Setting.of("m", "the number of action dimensions", k="the number of parameters")
a, b, c, e = dv.bound("a b c e")
p, q = S.over("k", *dv.bound("p q"))
i, j = S.over("k", *dv.free("i j"))
M = S.family("M", "real", "the derivatives of the means", "m k")
D = S.family("D", "real", "the derivatives of the covariance matrix Σ", "k m m", symmetric=True)
W = S.family("W", "real", "any root of the precision matrix, Σ⁻¹ = WᵀW", "m m")
A = S.family("A", "real", "W ∂Σ Wᵀ", "k m m", symmetric=True)
B = S.family("B", "real", "W ∂μ", "m k")
v = S.family("v", "real", "any direction", "k")
z = S.family("z", "random", "W (x − μ): independent standard normal numbers")

score = S.define("s", p, S.sum(z[e] * A[p, e, c] * z[c], e, c) / 2 + S.sum(z[e] * B[e, p], e)
                 - S.sum(A[p, e, e], e) / 2, "the score, as in gaussian-score")
R = S.define("R", (a, b), S.sum(W[e, a] * W[e, b], e), "WᵀW = Σ⁻¹")
WD = S.define("N", (p, e, b), S.sum(W[e, a] * D[p, a, b], a), "W ∂Σ")
RD = S.define("Q", (p, a, c), S.sum(R[a, b] * D[p, b, c], b), "Σ⁻¹ ∂Σ")
root_a = S.define("A'", (p, e, c), S.sum(WD[p, e, b] * W[c, b], b), "W ∂Σ Wᵀ, written out")
root_b = S.define("B'", (e, p), S.sum(W[e, a] * M[a, p], a), "W ∂μ, written out")
fisher = lambda A, B: (S.sum(A[i, e, c] * A[j, c, e], e, c) / 2  # noqa: E731
                       + S.sum(B[e, i] * B[e, j], e))
trace, mean = S.sum(RD[i, a, c] * RD[j, c, a], a, c), S.sum(M[a, i] * R[a, b] * M[b, j], a, b)
along = S.sum(S.sum(v[p] * A[p, e, c], p) ** 2, e, c) / 2 + S.sum(S.sum(v[p] * B[e, p], p) ** 2, e)


def equation(name, title, left, *steps, free=(i, j), mistakes=(), nonnegative=""):
    return dv.Statement.chain(
        name, title, S, (left, steps[-1][1]), steps, free, mistakes, nonnegative)


CLAIM = dv.Claim(
    id="gaussian-covariance",
    title="Gaussian, any covariance: F is half a trace plus the mean's part",
    source="Standard (the Slepian–Bangs formula); derived here from four moments.",
    assumptions=(
        dv.Assumption(r"$x = \mu + W^{-1} z$ in $m \ge 1$ dimensions, $\Sigma^{-1} = W^\top W$"),
        dv.Assumption(r"the $z_i$ are independent with means 0, 1, 0, 3 of $z, z^2, z^3, z^4$",
                      S.changed(law=dv.FAIR_SIGN), "fisher", "E z⁴ = 1, a fair sign"),
    ),
    uses=("gaussian-score",),
    statements=(
        equation("zero-mean", "The score has mean zero", dv.GaussianMean(score[i]),
                 ("E zzᵀ is the identity", 0), free=(i,)),
        equation("fisher", "The Fisher matrix in A = W ∂Σ Wᵀ and B = W ∂μ",
                 dv.GaussianMean(score[i] * score[j]), ("E z⁴ = 3", fisher(A, B)),
                 mistakes=[("the factor ½ is missing", fisher(A, B)
                            + S.sum(A[i, e, c] * A[j, c, e], e, c) / 2)]),
        equation("closed-form", "The Fisher matrix in Σ", fisher(root_a, root_b),
                 ("W leaves the trace as Σ⁻¹ = WᵀW", trace / 2 + mean),
                 mistakes=[("the mean without Σ⁻¹", trace / 2 + S.sum(M[a, i] * M[a, j], a)),
                           ("the square of the traces", S.sum(RD[i, a, a], a)
                            * S.sum(RD[j, c, c], c) / 2 + mean)]),
        equation("variance", "vᵀFv is a sum of squares, so F is positive semidefinite",
                 S.sum(v[p] * fisher(A, B).xreplace({i: p, j: q}) * v[q], p, q),
                 ("collect squares", along), free=(), nonnegative="a sum of squares"),
    ),
    covers="Every identity for every m and k and any differentiable μ(θ), Σ(θ) > 0.",
    justifies=("npgcheck.fisher.fisher",),
)
