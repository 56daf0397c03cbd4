"""The score has mean zero, in any family; the score of a softmax and of a log-linear policy."""

from sympy import exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions", k="the number of parameters")
theta = S.family("theta", "real", "the parameters", "k")
c = S.family("c", "real", "anything that does not depend on the action", "k")
a, b = dv.bound("a b")
p, q = S.over("k", *dv.bound("p q"))
i, j = S.over("k", *dv.free("i j"))
act = dv.free("x")
G = S.family("G", "real", "the second derivatives of h", "n k k", symmetric=True)
g = S.family("g", "real", "the derivatives of h", "n k")
h = S.family("h", "log", "any smooth functions of θ: the log-weights of the actions")
phi = S.family("phi", "real", "the features of each action", "n k")
y = S.family("y", "log", "the log-weights of a log-linear policy")
S.slope(g[a, p], theta[q], G[a, p, q])
S.slope(h[a], theta[p], g[a, p])
S.slope(y[a], theta[p], phi[a, p])

pi = S.define("pi", a, exp(h[a]) / S.sum(exp(h[b]), b), "the probabilities of any family")
nu = S.define("nu", a, exp(y[a]) / S.sum(exp(y[b]), b), "the log-linear policy")
score = lambda a, i: dv.Partial(log(pi[a]), theta[i])  # noqa: E731
mean_g = lambda i: S.sum(pi[b] * g[b, i], b)  # noqa: E731
mean_phi = lambda i: S.sum(nu[b] * phi[b, i], b)  # noqa: E731


def equation(name, title, left, *steps, free, mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


CLAIM = dv.Claim(
    id="score",
    title="The score: its mean is zero in any family, and it takes any baseline",
    source="Standard; Sutton et al. (2000) use it for the baseline.",
    assumptions=(
        dv.Assumption(r"$n \ge 1$ actions, each with a positive probability"),
        dv.Assumption(r"the probabilities are differentiable in $k \ge 1$ parameters; "
                      r"$h_a = \log \pi_a$ up to a common term, with derivatives $g_{ai}$"),
        dv.Assumption("the probabilities sum to one", S.changed(define={"pi": exp(h[a])}),
                      "zero-mean", "π_a = e^h_a"),
        dv.Assumption(r"log-linear: $y_a = \phi_a^\top\theta$ plus any base weight of the action"),
    ),
    uses=(),
    statements=(
        equation("score", "The score of any family", score(act, i),
                 ("log π is h minus the log of the normaliser", dv.Partial(h[act], theta[i])
                  - dv.Partial(log(S.sum(exp(h[b]), b)), theta[i])),
                 ("differentiate both", g[act, i] - mean_g(i)), free=(act, i),
                 mistakes=[("the mean is missing", g[act, i])]),
        equation("zero-mean", "The score has mean zero", dv.Expect(score(a, i), a, pi),
                 ("π ∂ log π is ∂ π", S.sum(dv.Partial(pi[a], theta[i]), a)),
                 ("derivative and sum change places", dv.Partial(S.sum(pi[a], a), theta[i])),
                 ("the probabilities sum to one", 0), free=(i,)),
        equation("baseline", "What does not depend on the action drops out",
                 dv.Expect(c[i] * score(a, j), a, pi),
                 ("it comes out of the mean", c[i] * dv.Expect(score(a, j), a, pi)),
                 ("the score has mean zero", 0), free=(i, j)),
        equation("information", "The mean of the Hessian of log π is minus the Fisher matrix",
                 dv.Expect(dv.Partial(score(a, i), theta[j]), a, pi),
                 ("differentiate π ∂ log π and sum", dv.Partial(dv.Expect(score(a, i), a, pi),
                  theta[j]) - dv.Expect(score(a, i) * score(a, j), a, pi)),
                 ("the score has mean zero", -dv.Expect(score(a, i) * score(a, j), a, pi)),
                 free=(i, j), mistakes=[("the sign", dv.Expect(score(a, i) * score(a, j), a, pi))]),
        equation("log-linear", "The score of a log-linear policy: φ minus its mean",
                 dv.Partial(log(nu[act]), theta[i]), ("differentiate", phi[act, i] - mean_phi(i)),
                 free=(act, i), mistakes=[("the mean of φ is missing", phi[act, i])]),
    ),
    covers="Every finite family of positive probabilities that are twice differentiable in their "
    "parameters, for every n and k; infinitely many actions are not covered.",
    justifies=("npgcheck.policy.SoftmaxPolicy",),
)
