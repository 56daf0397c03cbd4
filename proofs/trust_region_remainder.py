"""What a trust region step really spends: δ + (√2/3) skew δ√δ, the reverse KL twice that."""

from sympy import Rational, exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions", S="the number of states")
t = S.parameter("t")
theta = S.family("theta", "log", "the logits of every state", "S n")
x = S.family("x", "real", "the change of the logits along the step", "S n")
kappa = S.family("kappa", "real", "the third cumulants, averaged over the states", "")
curvature = S.family("q", "positive", "the second ones, averaged over the states", "")
a, b = dv.bound("a b")
s, u = S.over("S", dv.bound("s"), dv.free("u"))

Z = S.define("Z", s, S.sum(exp(theta[s, b]), b), "the normaliser of a state")
Zt = S.define("Z^t", s, S.sum(exp(theta[s, b] + t * x[s, b]), b), "the same after a step of t")
pi = S.define("pi", (s, a), exp(theta[s, a]) / Z[s], "the old policy")
new = S.define("pi^t", (s, a), exp(theta[s, a] + t * x[s, a]) / Zt[s], "the policy at t")
m = S.define("m", s, S.sum(pi[s, b] * x[s, b], b), "the mean of x in a state")
central = lambda k: S.sum(pi[u, a] * (x[u, a] - m[u]) ** k, a)  # noqa: E731
ratio = S.define("r", (s, a), log(pi[s, a]) - log(new[s, a]), "the logarithm of old over new")
forward, reverse = S.sum(pi[u, a] * ratio[u, a], a), -S.sum(new[u, a] * ratio[u, a], a)
partition = log(Zt[u]) - log(Z[u]) - t * m[u]
model = Rational(1, 2) * t ** 2 * curvature
skew = kappa ** 2 / curvature ** 3
loose = S.changed(define={"pi^t": exp(theta[s, a] + t * x[s, a]) / Z[s]})


def equation(name, title, left, *steps, free=(u,), mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, free, mistakes)


def order(f, k):
    return dv.Coefficient(f, t, k)


def remainder(name, way, factor, share, wrong):
    spent = model + t ** 3 * kappa * factor  # KL to third order
    return equation(
        name, f"{way}: (KL − δ)² = {share} skew² δ³ to leading order",
        order((spent - model) ** 2, 6), ("the model drops out", factor ** 2 * kappa ** 2),
        (f"{share} = {factor}² · 8", share * skew * order(model ** 3, 6)), free=(),
        mistakes=[("the other direction", wrong * skew * order(model ** 3, 6))])


CLAIM = dv.Claim(
    id="trust-region-remainder",
    title="A trust region step spends δ + (√2/3) skew δ√δ",
    source="Derived here, from the third order of KL.",
    assumptions=(
        dv.Assumption("softmax policies, tabular or with features: the logits change by t x(s, a)"),
        dv.Assumption("the new probabilities sum to one in every state", loose, "second",
                      "normalised with the old Z"),
    ),
    uses=("kl-second-order", "steepest-ascent"),
    statements=(
        equation("second", "In each state KL at order 2 is the quadratic model", order(forward, 2),
                 ("log old over new is the log-partition's", order(partition, 2)),
                 ("the second cumulant", central(2) / 2)),
        equation("forward", "KL(old ‖ new) at order 3", order(forward, 3),
                 ("log old over new is the log-partition's", order(partition, 3)),
                 ("the third cumulant", central(3) / 6)),
        equation("reverse", "KL(new ‖ old) at order 3", order(reverse, 3),
                 ("twice as much", central(3) / 3), mistakes=[("as forward", central(3) / 6)]),
        remainder("forward-remainder", "KL(old ‖ new)", Rational(1, 6), Rational(2, 9),
                  Rational(8, 9)),
        remainder("reverse-remainder", "KL(new ‖ old)", Rational(1, 3), Rational(8, 9),
                  Rational(2, 9)),
    ),
    covers="The orders t² and t³ in each state, for every n, so of any average over states; "
    "with δ = t²q/2, skew² = κ²/q³ and √(2/9) = √2/3. That the rest is O(δ²) is Taylor's theorem.",
    justifies=("npgcheck.natural.trust_region_proposal", "npgcheck.fisher.kl"),
)
