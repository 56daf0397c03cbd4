"""The pseudo-inverse of the Fisher matrix of a softmax policy: the four Moore–Penrose equations."""

from sympy import exp

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions")
theta = S.family("theta", "log", "the logits of one state")
r = S.family("r", "real", "any numbers, one for each action")
a, i, j, k = dv.bound("a i j k")
b, c = dv.free("b c")

pi = S.define("pi", i, exp(theta[i]) / S.sum(exp(theta[k]), k), "the probability of action i")
F = S.define("F", (i, j), pi[i] * dv.delta(i, j) - pi[i] * pi[j], "the Fisher matrix")
C = S.define("C", (i, j), dv.delta(i, j) - 1 / S.size, "the projection that takes off the mean")
P = S.define("P", (i, j), S.sum(C[i, k] / pi[k] * C[k, j], k), "C diag(1/π) C, F⁺ as claimed")
mean = S.define("m", (), S.sum(pi[k] * r[k], k), "the mean of r under π")
g = S.define("g", i, pi[i] * (r[i] - mean), "the gradient of E r")

product = lambda x, y: S.sum(x[b, k] * y[k, c], k)  # noqa: E731
without = S.changed(define={"C": dv.delta(i, j)})


def equation(name, title, left, *steps, free=(b, c), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


CLAIM = dv.Claim(
    id="softmax-pseudoinverse",
    title="F⁺ = C diag(1/π) C for the Fisher matrix of a softmax policy",
    source="The Moore–Penrose equations are Penrose's (1955); the closed form is derived here.",
    assumptions=(
        dv.Assumption(r"$n \ge 1$ actions and real logits, so every $\pi_a > 0$"),
        dv.Assumption("C takes off the plain mean over the actions", without, "range", "C = I"),
    ),
    uses=("softmax-fisher",),
    statements=(
        equation("range", "F F⁺ is the projection C, so symmetric", product(F, P),
                 ("F C = F, since F 1 = 0", S.sum(F[b, k] / pi[k] * C[k, c], k)),
                 ("F diag(1/π) is I − π 1ᵀ", C[b, c] - pi[b] * S.sum(C[k, c], k)),
                 ("the columns of C sum to zero", C[b, c]),
                 mistakes=[("F has an inverse", dv.delta(b, c))]),
        equation("corange", "F⁺ F is C as well", product(P, F),
                 ("C F = F, since 1ᵀ F = 0", S.sum(C[b, k] / pi[k] * F[k, c], k)),
                 ("diag(1/π) F is I − 1 πᵀ", C[b, c] - S.sum(C[b, k], k) * pi[c]),
                 ("the rows of C sum to zero", C[b, c])),
        equation("first", "F F⁺ F = F", S.sum(product(F, P).xreplace({c: j}) * F[j, c], j),
                 ("F F⁺ = C", product(C, F)), ("C F = F", F[b, c])),
        equation("second", "F⁺ F F⁺ = F⁺", S.sum(product(P, F).xreplace({c: j}) * P[j, c], j),
                 ("F⁺ F = C", product(C, P)), ("C is a projection", P[b, c])),
        equation("entries", "The entries of F⁺", P[b, c],
                 ("write out", dv.delta(b, c) / pi[b] - (1 / pi[b] + 1 / pi[c]) / S.size
                  + S.sum(1 / pi[k], k) / S.size ** 2),
                 mistakes=[("diag(1/π), without C", dv.delta(b, c) / pi[b])]),
        equation("natural", "One state: F⁺ ∇E r is r minus its plain mean",
                 S.sum(P[b, k] * g[k], k),
                 ("the outer C leaves g", S.sum(C[b, k] / pi[k] * g[k], k)),
                 ("g/π is r minus its mean", r[b] - S.sum(r[k], k) / S.size), free=(b,),
                 mistakes=[("the mean under π", r[b] - mean)]),
    ),
    covers="The four Moore–Penrose equations, and so that P is F⁺, for every n ≥ 1 and all logits. "
    "That they have one solution only is Penrose's theorem.",
    justifies=("npgcheck.natural.natural_gradient",),
)
