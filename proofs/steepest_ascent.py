"""The natural gradient is the steepest ascent under a bound on KL, F singular or not."""

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of state-action pairs", k="the number of parameters")
w = S.family("w", "positive", "the weight of a pair, d(s) π(a|s)")
score = S.family("s", "real", "the score at a pair", "n k")
A = S.family("A", "real", "the advantage of a pair, or any other value")
x = S.family("x", "real", "a solution of F x = g", "k")
d = S.family("d", "real", "any step", "k")
v = S.family("v", "real", "any direction, such as one with F v = 0", "k")
delta = S.family("delta", "positive", "the bound on the divergence", "")
a, b = dv.bound("a b")
p, q, i, j = S.over("k", *dv.bound("p q i j"))

F = S.define("F", (p, q), S.sum(w[a] * score[a, p] * score[a, q], a), "the Fisher matrix")
X = S.define("X", a, S.sum(score[a, p] * x[p], p), "the change of log π along x")
D = S.define("D", a, S.sum(score[a, p] * d[p], p), "the change of log π along d")
V = S.define("V", a, S.sum(score[a, p] * v[p], p), "the change of log π along v")
Q = S.define("Q", (), S.sum(w[a] * X[a] ** 2, a), "xᵀF x = gᵀF⁺g")
c = S.define("c", (), 2 * delta / Q, "the square of the step length √(2δ/gᵀF⁺g)")
form = lambda y, z: S.sum(y[p] * F[p, q] * z[q], p, q)  # noqa: E731
half = lambda y, z: S.sum(w[a] * w[b] * (y[a] * z[b] - y[b] * z[a]) ** 2, a, b) / 2  # noqa: E731
gradient = S.sum(S.sum(w[a] * A[a] * score[a, p], a) * v[p], p)  # g·v with g = E[A ∇log π]
square = lambda y: S.sum(w[a] * y[a] ** 2, a)  # noqa: E731


def equation(name, title, left, *steps, mistakes=(), nonnegative=""):
    return dv.Statement.chain(
        name, title, S, (left, steps[-1][1]), steps, (), mistakes, nonnegative)


CLAIM = dv.Claim(
    id="steepest-ascent",
    title="The natural gradient is the steepest ascent under a bound on the KL divergence",
    source="Amari (1998); Kakade (2001); Lagrange's identity, derived here.",
    assumptions=(
        dv.Assumption(r"F is a Fisher matrix, $F_{pq} = \sum_a w_a s_{ap} s_{aq}$ with weights "
                      r"$w_a > 0$"),
        dv.Assumption(r"x solves $F x = g$, and $g \neq 0$; g·d then is xᵀF d"),
    ),
    uses=("kl-regular-family",),
    statements=(
        equation("quadratic-model", "xᵀF x is the mean square of the change of log π", form(x, x),
                 ("insert F", square(X)), nonnegative="squares with positive weights"),
        equation("largest", "No step gains more: (g·d)² ≤ 2δ gᵀF⁺g where ½ dᵀF d = δ",
                 form(x, x) * form(d, d) - form(x, d) ** 2,
                 ("means of products", square(X) * square(D) - S.sum(w[a] * X[a] * D[a], a) ** 2),
                 ("Lagrange's identity", half(X, D)), nonnegative="squares with positive weights",
                 mistakes=[("the factor ½ is missing", 2 * half(X, D))]),
        equation("length", "The step √c x spends the whole bound: ½ c xᵀF x = δ",
                 c * form(x, x) / 2, ("xᵀF x = Q", c * Q / 2), ("c = 2δ/Q", delta),
                 mistakes=[("the length √(δ/Q)", delta / 2)]),
        equation("gain", "It gains that much: (g·√c x)² = 2δ gᵀF⁺g", c * form(x, x) ** 2,
                 ("xᵀF x = Q", c * Q ** 2), ("c = 2δ/Q", 2 * delta * Q)),
        equation("range", "F singular: g·v is zero where vᵀF v is, so F x = g has a solution",
                 square(A) * form(v, v) - gradient ** 2,
                 ("g = Σ w A s", square(A) * square(V) - S.sum(w[a] * A[a] * V[a], a) ** 2),
                 ("Lagrange's identity", half(A, V)), nonnegative="squares with positive weights"),
        equation("any-solution", "x + v with F v = 0 is as good: gain and divergence stay",
                 S.sum((x[p] + v[p]) * F[p, q] * (x[q] + v[q]), p, q) - form(x, x),
                 ("multiply out", 2 * form(x, v) + form(v, v)),
                 ("each term has a factor F v",
                  S.sum((2 * x[p] + v[p]) * S.sum(F[p, q] * v[q], q), p)),
                 mistakes=[("v alone", form(v, v))]),
    ),
    covers="The optimum of the linear gain under the quadratic model of KL, for every n and k; "
    "what the model leaves out is in trust-region-remainder.",
    justifies=("npgcheck.natural.natural_gradient", "npgcheck.natural.trust_region_proposal"),
)
