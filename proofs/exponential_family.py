"""Log-linear policies and finite exponential families: F is the Hessian of the log-partition."""

from sympy import exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions", k="the number of features")
theta = S.family("theta", "real", "the parameters", "k")
phi = S.family("phi", "real", "the features of each action", "n k")
y = S.family("y", "log", "the log-weights: φ · θ plus any base weight of the action")
v = S.family("v", "real", "any direction", "k")
a, b = dv.bound("a b")
p, q = S.over("k", *dv.bound("p q"))
i, j, o = S.over("k", *dv.free("i j o"))
S.slope(y[a], theta[p], phi[a, p])

Z = S.define("Z", (), S.sum(exp(y[b]), b), "the partition function")
pi = S.define("pi", a, exp(y[a]) / Z, "the policy")
m = S.define("m", p, S.sum(pi[b] * phi[b, p], b), "the mean of the features")
F = S.define("F", (p, q), dv.Expect(dv.Partial(log(pi[a]), theta[p])
             * dv.Partial(log(pi[a]), theta[q]), a, pi), "the Fisher matrix")
second = dv.Expect(phi[a, i] * phi[a, j], a, pi)
centred = dv.Expect((phi[a, i] - m[i]) * (phi[a, j] - m[j]), a, pi)
along = S.sum(v[p] * (phi[a, p] - m[p]), p)
third = dv.Expect((phi[a, i] - m[i]) * (phi[a, j] - m[j]) * (phi[a, o] - m[o]), a, pi)
hessian = dv.Partial(dv.Partial(log(Z), theta[i]), theta[j])
bent = S.changed(slope={"y": phi[a, p] * theta[p]})


def equation(name, title, left, *steps, free=(i, j), mistakes=(), nonnegative=""):
    return dv.Statement.chain(
        name, title, S, (left, steps[-1][1]), steps, free, mistakes, nonnegative)


CLAIM = dv.Claim(
    id="exponential-family",
    title="Log-linear policies: F = E[φφᵀ] − E[φ]E[φ]ᵀ is the Hessian of the log-partition",
    source="Standard, for exponential families; Kakade (2001) for the log-linear policy.",
    assumptions=(
        dv.Assumption(r"$n \ge 1$ actions with positive base weights and $k \ge 1$ features"),
        dv.Assumption(r"$\partial_{\theta_p} y_a = \phi_{ap}$, whatever θ is", bent, "hessian",
                      "log-weights that are quadratic in θ"),
    ),
    uses=("score",),
    statements=(
        equation("covariance", "The Fisher matrix is the covariance of the features", F[i, j],
                 ("the score is φ minus its mean", centred),
                 ("multiply out", second - m[i] * m[j]),
                 mistakes=[("E[φφᵀ] alone", second), ("E[φ]E[φ]ᵀ alone", m[i] * m[j])]),
        equation("mean", "The gradient of the log-partition is the mean of the features",
                 dv.Partial(log(Z), theta[i]), ("differentiate", m[i]), free=(i,)),
        equation("hessian", "Its Hessian is the Fisher matrix", hessian,
                 ("differentiate the mean", dv.Partial(m[i], theta[j])),
                 ("quotient rule", second - m[i] * m[j]), ("the covariance", F[i, j])),
        equation("third", "Its third derivative is the third cumulant of the features",
                 dv.Partial(hessian, theta[o]), ("differentiate the covariance",
                  dv.Partial(second - m[i] * m[j], theta[o])), ("collect", third), free=(i, j, o),
                 mistakes=[("half of it", third / 2)]),
        equation("kernel", "F v is the covariance of φ with v · φ: zero where that is constant",
                 S.sum(F[i, p] * v[p], p), ("insert F", S.sum(pi[a] * (phi[a, i] - m[i])
                  * along, a)), free=(i,)),
        equation("variance", "vᵀFv is a variance, so F is positive semidefinite",
                 S.sum(v[p] * F[p, q] * v[q], p, q), ("insert F", S.sum(pi[a] * along ** 2, a)),
                 free=(), nonnegative="squares with positive weights"),
    ),
    covers="Every identity for every n and k, for families with finitely many outcomes.",
    justifies=("npgcheck.fisher.fisher", "npgcheck.policy.SoftmaxPolicy"),
)
