"""Reparameterisation θ = h(φ): the transformation laws, and what holds for finite steps."""

from sympy import exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of outcomes", p="the number of parameters θ",
                  q="the number of parameters φ")
t = S.parameter("t")
a, b = dv.bound("a b")
i, k = S.over("p", *dv.bound("i k"))
u, v = S.over("q", *dv.bound("u v"))
x, y = S.over("q", *dv.free("x y"))
c = S.over("p", dv.free("c"))
phi = S.family("phi", "real", "the new parameters", "q")
theta = S.family("theta", "real", "the old parameters, θ = h(φ)", "p")
H = S.family("H", "real", "the Jacobian of h", "p q")
h2 = S.family("B", "real", "the second derivatives of h", "p q q", symmetric=True)
g = S.family("g", "real", "the derivatives of the log-weights by θ", "n p")
w = S.family("w", "log", "the log-weights of the outcomes, functions of θ")
r = S.family("r", "real", "the reward, or the advantage, of an outcome")
m = S.family("m", "real", "the natural gradient in φ, or any step", "q")
lam = S.family("lambda", "positive", "the damping", "")
S.slope(H[i, u], phi[v], h2[i, u, v])
S.slope(theta[i], phi[u], H[i, u])
S.slope(w[a], theta[i], g[a, i])

pi = S.define("pi", a, exp(w[a]) / S.sum(exp(w[b]), b), "the probabilities")
J = S.define("J", (), S.sum(pi[a] * r[a], a), "an objective")
score = lambda var: dv.Partial(log(pi[a]), var)  # noqa: E731
F = S.define("F", (i, k), S.sum(pi[a] * score(theta[i]) * score(theta[k]), a), "Fisher, in θ")
G = S.define("G", (u, v), S.sum(pi[a] * score(phi[u]) * score(phi[v]), a), "Fisher, in φ")
K = S.family("K", "real", "any symmetric matrix, such as F", "p p", symmetric=True)
pulled = S.sum(H[i, x] * F[i, k] * H[k, y], i, k)
step = S.define("s", i, S.sum(H[i, u] * m[u], u), "the same step in θ, H m")
hkh = lambda u, v: S.sum(H[i, u] * K[i, k] * H[k, v], i, k)  # noqa: E731
hh = lambda u, v: S.sum(H[i, u] * H[i, v], i)  # noqa: E731
moved = dv.Along(theta[c], phi[u], t, m[u])
bend = S.sum(h2[c, u, v] * m[u] * m[v], u, v) / 2
right = lambda damping: S.sum(H[i, x] * (S.sum(K[i, k] * step[k], k)  # noqa: E731
                              + damping * step[i]), i)
affine = S.changed(slope={"H": 0})


def equation(name, title, left, *steps, free=(x,), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


CLAIM = dv.Claim(
    id="reparameterisation",
    title="Reparameterisation: F and ∇ pull back, natural directions agree, damping breaks it",
    source="Amari (1998), Kakade (2001) for the invariance; Martens (2020) on damping.",
    assumptions=(
        dv.Assumption(r"θ = h(φ), twice differentiable; p and q may differ, H may be singular"),
        dv.Assumption("h may be curved; for affine h finite steps agree exactly", affine, "curved",
                      "h″ = 0"),
    ),
    uses=("score",),
    statements=(
        equation("gradient", "The gradient pulls back: ∇_φ J = Hᵀ ∇_θ J", dv.Partial(J, phi[x]),
                 ("chain rule", S.sum(H[i, x] * dv.Partial(J, theta[i]), i)),
                 mistakes=[("pushed with a plain sum", S.sum(dv.Partial(J, theta[i]), i))]),
        equation("fisher", "The Fisher matrix pulls back: F_φ = HᵀF_θ H", G[x, y],
                 ("chain rule for both scores", pulled), free=(x, y),
                 mistakes=[("H on one side only", S.sum(H[i, x] * F[i, i], i))]),
        equation("direction", "If F_θ (H m) = g then F_φ m = Hᵀg: natural directions agree",
                 S.sum(hkh(x, v) * m[v], v), ("s = H m", right(0))),
        equation("damping", "Damping with λHᵀH pulls back",
                 S.sum((hkh(x, v) + lam * hh(x, v)) * m[v], v), ("s = H m", right(lam)),
                 mistakes=[("λI does not", S.sum(hkh(x, v) * m[v], v) + lam * m[x])]),
        equation("first-order", "A finite step: to first order it is H m",
                 dv.Coefficient(moved, t, 1), ("differentiate", step[c]), free=(c,)),
        equation("curved", "At second order it is off by ½ h″[m, m]",
                 dv.Coefficient(moved, t, 2), ("differentiate twice", bend), free=(c,),
                 mistakes=[("the factor ½ is missing", 2 * bend)]),
    ),
    covers="Every identity for all n, p, q. If h″ = 0 everywhere all later orders vanish with the "
    "second, so finite steps agree; H m = s has a solution m for every s if H is invertible.",
    justifies=("npgcheck.natural.natural_gradient", "npgcheck.fisher.fisher"),
)
