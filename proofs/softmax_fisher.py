"""The Fisher matrix of a softmax policy, for every number of actions."""

from sympy import exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions")
theta = S.family("theta", "log", "the logits of one state")
v = S.family("v", "real", "any vector")
a, i, j, k = dv.bound("a i j k")
b, c = dv.free("b c")

Z = S.define("Z", (), S.sum(exp(theta[k]), k), "the normaliser")
pi = S.define("pi", i, exp(theta[i]) / Z, "the probability of action i")
score = lambda action, b: dv.Partial(log(pi[action]), theta[b])  # noqa: E731
F = S.define("F", (i, j), dv.Expect(score(a, i) * score(a, j), a, pi), "the Fisher matrix")
mean_v = S.define("m", (), S.sum(pi[k] * v[k], k), "the mean of v")

unnormalised = S.changed(define={"pi": exp(theta[i])})
closed = pi[b] * dv.delta(b, c) - pi[b] * pi[c]
scores = S.sum(pi[a] * (dv.delta(a, b) - pi[b]) * (dv.delta(a, c) - pi[c]), a)
variance = S.sum(pi[k] * (v[k] - mean_v) ** 2, k)

CLAIM = dv.Claim(
    id="softmax-fisher",
    title="The Fisher matrix of a softmax policy is diag π − π πᵀ",
    source="Kakade (2001), A Natural Policy Gradient, defines F; the closed form is standard.",
    assumptions=(
        dv.Assumption(r"$n \ge 1$ actions and real logits $\theta_1, \dots, \theta_n$"),
        dv.Assumption("the probabilities sum to one", unnormalised, "zero-mean", "π_i = e^θ_i"),
    ),
    uses=(),
    statements=(
        dv.Statement.chain(
            "score", "The score", S, (score(c, b), dv.delta(b, c) - pi[b]), free=(b, c),
            steps=[
                ("log π is the logit minus log Z",
                 dv.Partial(theta[c], theta[b]) - dv.Partial(log(Z), theta[b])),
                ("differentiate both", dv.delta(b, c) - exp(theta[b]) / Z),
                ("the quotient is π", dv.delta(b, c) - pi[b]),
            ],
            mistakes=[("the −π term is missing", dv.delta(b, c))],
        ),
        dv.Statement.chain(
            "jacobian", "The Jacobian of π", S, (dv.Partial(pi[c], theta[b]), closed), free=(b, c),
            steps=[("∂ π is π ∂ log π", pi[c] * score(c, b)), ("insert the score", closed)],
            mistakes=[("the diagonal only", pi[b] * (1 - pi[b]) * dv.delta(b, c))],
        ),
        dv.Statement.chain(
            "zero-mean", "The score has mean zero", S, (dv.Expect(score(a, b), a, pi), 0),
            steps=[("insert the score", S.sum(pi[a] * (dv.delta(a, b) - pi[b]), a)),
                   ("split the sum", pi[b] - pi[b] * S.sum(pi[a], a)),
                   ("the probabilities sum to one", 0)], free=(b,),
        ),
        dv.Statement.chain(
            "fisher", "The Fisher matrix", S, (F[b, c], closed), free=(b, c),
            steps=[
                ("its definition", dv.Expect(score(a, b) * score(a, c), a, pi)),
                ("insert the score", scores), ("sum over the deltas", pi[b] * dv.delta(b, c)
                 - 2 * pi[b] * pi[c] + pi[b] * pi[c] * S.sum(pi[a], a)),
                ("the probabilities sum to one", closed),
            ],
            mistakes=[("the −π term is missing", pi[b] * dv.delta(b, c)),
                      ("the diagonal only", pi[b] * (1 - pi[b]) * dv.delta(b, c))],
        ),
        dv.Statement.chain(
            "kernel", "Shifting all logits changes nothing: F 1 = 0", S, (S.sum(F[b, j], j), 0),
            steps=[("insert F", pi[b] - pi[b] * S.sum(pi[j], j)), ("the sum is one", 0)], free=(b,),
        ),
        dv.Statement.chain(
            "variance", "vᵀFv is a variance, so F is positive semidefinite", S,
            (S.sum(v[i] * F[i, j] * v[j], i, j), variance),
            nonnegative="squares with positive weights",
            steps=[("insert F", S.sum(pi[k] * v[k] ** 2, k) - mean_v**2),
                   ("complete the square", variance)],
        ),
    ),
    covers="Every identity for every n ≥ 1 and all real logits.",
    justifies=("npgcheck.fisher.fisher", "npgcheck.policy.SoftmaxPolicy"),
)
