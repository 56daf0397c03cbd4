"""A Gaussian policy whose mean is linear in features: E[φφᵀ] ⊗ Σ⁻¹."""

from npgcheck import derivation as dv

S = dv.Setting.of("m", "the number of action dimensions", k="the number of features",
                  S="the number of states")
a, b, e, f = dv.bound("a b e f")
p, q = S.over("k", *dv.bound("p q"))
s, t = S.over("S", *dv.bound("s t"))
u = S.over("S", dv.free("u"))
x, y = dv.free("x y")
i, j = S.over("k", *dv.free("i j"))
K = S.family("K", "real", "the weights of the mean", "k m")
phi = S.family("phi", "real", "the features of each state", "S k")
d = S.family("d", "positive", "the weights of the states", "S")
action = S.family("alpha", "real", "an action in each state", "S m")
W = S.family("W", "real", "any root of the precision matrix, Σ⁻¹ = WᵀW", "m m")
w = S.family("w", "real", "any direction", "k m")
z = S.family("z", "random", "independent standard normal numbers")

mu = S.define("mu", (s, a), S.sum(phi[s, p] * K[p, a], p), "the means")
P = S.define("P", (a, b), S.sum(W[e, a] * W[e, b], e), "the precision matrix Σ⁻¹")
far = lambda s, a: action[s, a] - mu[s, a]  # noqa: E731
ell = lambda s: -S.sum(far(s, a) * P[a, b] * far(s, b), a, b) / 2  # noqa: E731
v = S.define("v", a, S.sum(W[e, a] * z[e], e), "Σ⁻¹ (α − μ) = Wᵀ z, for α = μ + W⁻¹ z")
second = S.sum(d[s] * phi[s, i] * phi[s, j], s)
wide = S.changed(law=dv.TWICE_A_FAIR_SIGN)


def equation(name, title, left, *steps, free=(i, x, j, y), mistakes=(), nonnegative=""):
    return dv.Statement.chain(
        name, title, S, (left, steps[-1][1]), steps, free, mistakes, nonnegative)


CLAIM = dv.Claim(
    id="gaussian-linear-mean",
    title="Linear mean: the Fisher matrix is E[φφᵀ] ⊗ Σ⁻¹",
    source="Standard; derived here.",
    assumptions=(
        dv.Assumption(r"the action is $\alpha = K^\top\phi(s) + W^{-1} z$, with Σ⁻¹ = WᵀW the same "
                      "in all states"),
        dv.Assumption(r"the $z_i$ are independent with mean 0 and variance 1", wide, "fisher",
                      "E z² = 4"),
    ),
    uses=("gaussian-covariance",),
    statements=(
        equation("score", "The score of the weights", dv.Partial(ell(u), K[i, x]),
                 ("∂μ is φ", S.sum(phi[u, i] * P[x, b] * far(u, b), b)), free=(u, i, x),
                 mistakes=[("φ is missing", S.sum(P[x, b] * far(u, b), b))]),
        equation("second-moment", "E vvᵀ is the precision matrix", dv.GaussianMean(v[x] * v[y]),
                 ("E zzᵀ is the identity", P[x, y]), free=(x, y)),
        equation("fisher", "The Fisher matrix", S.sum(d[s] * dv.GaussianMean(
                 phi[s, i] * v[x] * phi[s, j] * v[y]), s),
                 ("φ comes out of the mean", S.sum(d[s] * phi[s, i] * phi[s, j], s)
                  * dv.GaussianMean(v[x] * v[y])), ("E vvᵀ is P", second * P[x, y]),
                 mistakes=[("E[φ]E[φ]ᵀ in place of E[φφᵀ]", S.sum(d[s] * phi[s, i], s)
                            * S.sum(d[t] * phi[t, j], t) * P[x, y])]),
        equation("variance", "wᵀFw is a mean of squares, so F is positive semidefinite",
                 S.sum(w[p, a] * S.sum(d[s] * phi[s, p] * phi[s, q], s) * P[a, b] * w[q, b],
                       p, q, a, b),
                 ("P = WᵀW", S.sum(d[s] * S.sum(W[e, a] * phi[s, p] * w[p, a], p, a) ** 2, s, e)),
                 free=(), nonnegative="squares with positive weights"),
    ),
    covers="Every identity for all numbers of states, features and action dimensions; with "
    "covariance parameters beside K the cross block is that of gaussian-covariance.",
    justifies=("npgcheck.fisher.fisher", "npgcheck.policy.GaussianPolicy"),
)
