"""Tabular softmax: the natural gradient in closed form, and the step that it makes."""

from sympy import exp

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions")
theta = S.family("theta", "log", "the logits of one state")
q = S.family("q", "real", "the action values of that state")
u = S.family("u", "log", "the step, any vector")
i, j, k, h = dv.bound("i j k h")
b, c = dv.free("b c")
Z = S.define("Z", (), S.sum(exp(theta[k]), k), "the normaliser")
pi = S.define("pi", i, exp(theta[i]) / Z, "the probability of action i")
v = S.define("v", (), S.sum(pi[k] * q[k], k), "the value: the mean of q under π")
A = S.define("A", i, q[i] - v, "the advantage")
mean = S.define("m", (), S.sum(A[k], k) / S.size, "its plain mean over the actions")
x = S.define("x", i, A[i] - mean, "the centred advantage")
F = S.define("F", (i, j), pi[i] * dv.delta(i, j) - pi[i] * pi[j], "the Fisher matrix")
C = S.define("C", (i, j), dv.delta(i, j) - 1 / S.size, "the centring matrix")
Y = S.define("Y", (), S.sum(pi[h] * exp(u[h]), h), "the normaliser of the step")
new = S.define("pi'", i, exp(theta[i] + u[i]) / S.sum(exp(theta[k] + u[k]), k),
               "the probabilities at θ + u")
inverse = lambda i: Z * exp(-theta[i])  # noqa: E731, 1/π_i
by_values = S.changed(define={"A": q[i]})


def equation(name, title, left, *steps, free=(b,), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


CLAIM = dv.Claim(
    id="tabular-natural-gradient",
    title="Tabular softmax: F⁺∇J is the centred advantage, and its step multiplicative weights",
    source="Agarwal, Kakade, Lee & Mahajan (2021), up to the constant per state.",
    assumptions=(
        dv.Assumption(r"one state with $d(s) > 0$, in units where $d(s) = 1$ and $\gamma = 0$: F "
                      r"and ∇J are both proportional to $d(s)$, and ∇J to $1/(1-\gamma)$"),
        dv.Assumption("advantages have mean zero under π", by_values, "solves", "A = Q"),
    ),
    uses=("softmax-fisher", "policy-gradient"),
    statements=(
        equation("solves", "The centred advantage solves F x = ∇J", S.sum(F[b, j] * x[j], j),
                 ("apply F", pi[b] * x[b] - pi[b] * S.sum(pi[j] * x[j], j)),
                 ("constants drop out", pi[b] * (A[b] - S.sum(pi[j] * A[j], j))),
                 ("ΠA = 0", pi[b] * A[b]), mistakes=[("the gradient without π", A[b])]),
        equation("orthogonal", "It is orthogonal to the kernel", S.sum(x[j], j),
                 ("sum", S.sum(A[j], j) - S.size * mean), ("the mean is subtracted", 0), free=()),
        equation("pseudo-inverse", "F⁺ = C diag(1/π) C gives the same",
                 S.sum(C[b, i] * inverse(i) * C[i, j] * pi[j] * A[j], i, j),
                 ("centring leaves the gradient alone: it sums to zero",
                  S.sum(C[b, i] * A[i], i)), ("centre", x[b])),
        equation("squared-length", "Its squared length is the variance of the advantage",
                 S.sum(pi[j] * A[j] * x[j], j),
                 ("ΠA = 0 removes the mean", S.sum(pi[j] * A[j] ** 2, j)), free=()),
        equation("multiplicative-weights", "A step is multiplicative weights", new[b],
                 ("split the exponential", exp(theta[b]) * exp(u[b]) / S.sum(
                     exp(theta[k]) * exp(u[k]), k)),
                 ("divide by Z", pi[b] * exp(u[b]) / Y),
                 mistakes=[("without the normaliser", pi[b] * exp(u[b]))]),
        equation("ratio", "The ratio of the probabilities", new[b] * inverse(b),
                 ("insert the step", exp(u[b]) * inverse(b) * pi[b] / Y),
                 ("π/π = 1", exp(u[b]) / Y)),
    ),
    covers="Identities for every number of actions, all logits and action values. With u = "
    "ηx/(1 − γ) the step is π′ ∝ π e^{ηA/(1−γ)}, since a constant added to u changes Y alike; "
    "log(π′/π) = u − log Y is the last statement. Where d(s) = 0, F⁺ leaves the state alone. That "
    "1 spans the kernel of F is read off F x = π (x − Σπx).",
    justifies=("npgcheck.natural.natural_gradient", "npgcheck.natural.update"),
)
