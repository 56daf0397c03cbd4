"""The Fisher matrix of a tabular softmax policy: one block per state, weighted with d(s)."""

from sympy import exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions", S="the number of states")
theta = S.family("theta", "log", "the logits of every state", "S n")
d = S.family("d", "positive", "the weights of the states, summing to one or not", "S")
w = S.family("w", "real", "any direction", "S n")
a, b, e = dv.bound("a b e")
x, y = dv.free("x y")
u, v = S.over("S", *dv.bound("u v"))
s, t = S.over("S", *dv.free("s t"))

Z = S.define("Z", u, S.sum(exp(theta[u, b]), b), "the normaliser of a state")
pi = S.define("pi", (u, a), exp(theta[u, a]) / Z[u], "the policy")
score = lambda u, a, s, x: dv.Partial(log(pi[u, a]), theta[s, x])  # noqa: E731
F = S.sum(d[u] * pi[u, a] * score(u, a, s, x) * score(u, a, t, y), u, a)
block = pi[s, x] * dv.delta(x, y) - pi[s, x] * pi[s, y]
inserted = lambda u, a, s, x: dv.delta(u, s) * (dv.delta(a, x) - pi[s, x])  # noqa: E731
tied = S.changed(define={"pi": exp(theta[u, a]) / S.sum(Z[v], v)})
m = S.define("m", u, S.sum(pi[u, b] * w[u, b], b), "the mean of w in a state")


def equation(name, title, left, *steps, free=(s, x, t, y), mistakes=(), nonnegative=""):
    return dv.Statement.chain(
        name, title, S, (left, steps[-1][1]), steps, free, mistakes, nonnegative)


CLAIM = dv.Claim(
    id="tabular-fisher",
    title="Tabular softmax: F has one block d(s) (diag π − π πᵀ) per state",
    source="Kakade (2001) defines F with the state weights; the block form is standard.",
    assumptions=(
        dv.Assumption(r"$S \ge 1$ states with positive weights, $n \ge 1$ actions, real logits"),
        dv.Assumption("the logits of a state do not touch the other states", tied, "score",
                      "one normaliser for all states"),
    ),
    uses=("softmax-fisher",),
    statements=(
        equation("score", "The score lives in the state of the action", score(t, y, s, x),
                 ("log π is the logit minus log Z", dv.Partial(theta[t, y], theta[s, x])
                  - dv.Partial(log(Z[t]), theta[s, x])),
                 ("differentiate", dv.delta(s, t) * (dv.delta(x, y) - pi[s, x])),
                 mistakes=[("the −π term is missing", dv.delta(s, t) * dv.delta(x, y))]),
        equation("fisher", "The Fisher matrix", F,
                 ("insert the score", S.sum(d[u] * pi[u, a] * inserted(u, a, s, x)
                  * inserted(u, a, t, y), u, a)), ("only u = s = t is left", d[s]
                  * dv.delta(s, t) * S.sum(pi[s, a] * (dv.delta(a, x) - pi[s, x])
                  * (dv.delta(a, y) - pi[s, y]), a)),
                 ("the block of one state", d[s] * dv.delta(s, t) * block),
                 mistakes=[("the weights are missing", dv.delta(s, t) * block),
                           ("the weights squared", d[s] ** 2 * dv.delta(s, t) * block)]),
        equation("kernel", "Shifting all logits of a state changes nothing",
                 S.sum(d[s] * dv.delta(s, t) * block.xreplace({y: b}), b),
                 ("sum over the delta", d[s] * dv.delta(s, t) * pi[s, x]
                  * (1 - S.sum(pi[s, b], b))), ("the probabilities sum to one", 0),
                 free=(s, x, t)),
        equation("variance", "wᵀFw is a weighted sum of variances", S.sum(w[u, a] * d[u]
                 * (pi[u, a] * dv.delta(a, b) - pi[u, a] * pi[u, b]) * w[u, b], u, a, b),
                 ("complete the square in every state",
                  S.sum(d[u] * pi[u, a] * (w[u, a] - m[u]) ** 2, u, a)), free=(),
                 nonnegative="squares with positive weights"),
    ),
    covers="Every identity for all numbers of states and actions and all real logits and weights.",
    justifies=("npgcheck.fisher.fisher", "npgcheck.policy.SoftmaxPolicy"),
)
