"""KL in an exponential family is what the log-partition leaves above its tangent: every order."""

from sympy import Rational, exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of outcomes")
t = S.parameter("t")
a, b = dv.bound("a b")
y = S.family("y", "log", "the log-weights at the old parameters")
e = S.family("epsilon", "log", "the change of the log-weights, φ · δ")
u = S.family("u", "real", "the same, as the direction of a line")

Z = S.define("Z", (), S.sum(exp(y[b]), b), "the partition function")
Z1 = S.define("Z^1", (), S.sum(exp(y[b] + e[b]), b), "after the change")
Zt = S.define("Z^t", (), S.sum(exp(y[b] + t * u[b]), b), "along the line")
pi = S.define("pi", a, exp(y[a]) / Z, "the old probabilities")
one = S.define("pi^1", a, exp(y[a] + e[a]) / Z1, "the new ones")
new = S.define("pi^t", a, exp(y[a] + t * u[a]) / Zt, "those along the line")
m = S.define("m", (), S.sum(pi[b] * u[b], b), "the mean of u")
forward = lambda new: dv.Expect(log(pi[a]) - log(new[a]), a, pi)  # noqa: E731
reverse = lambda new: dv.Expect(log(new[a]) - log(pi[a]), a, new)  # noqa: E731
moment = lambda k: dv.Expect((u[a] - m) ** k, a, pi)  # noqa: E731
order = lambda f, k: dv.Coefficient(f, t, k)  # noqa: E731
cumulant = {2: moment(2), 3: moment(3), 4: moment(4) - 3 * moment(2) ** 2}
factorial = {2: 2, 3: 6, 4: 24}
loose = S.changed(define={"pi^1": exp(y[a] + e[a]) / Z})


def equation(name, title, left, *steps, mistakes=()):
    return dv.Statement.chain(name, title, S, (left, steps[-1][1]), steps, (), mistakes)


CLAIM = dv.Claim(
    id="kl-exponential-family",
    title="KL in an exponential family, exactly and by cumulants",
    source="Standard (a Bregman divergence of the log-partition); recomputed here.",
    assumptions=(
        dv.Assumption(r"$n \ge 1$ outcomes; the log-weights are affine in the parameters"),
        dv.Assumption("the new probabilities sum to one", loose, "reverse", "normalised with Z"),
    ),
    uses=("exponential-family",),
    statements=(
        equation("forward", "KL(old ‖ new): A = log Z above its tangent at the old parameters",
                 forward(one), ("log π is the weight minus A", S.sum(pi[a] * (log(Z1) - log(Z)
                  - e[a]), a)), ("the probabilities sum to one",
                  log(Z1) - log(Z) - S.sum(pi[a] * e[a], a))),
        equation("reverse", "KL(new ‖ old): below its tangent at the new ones", reverse(one),
                 ("the probabilities sum to one",
                  log(Z) - log(Z1) + S.sum(one[a] * e[a], a)),
                 mistakes=[("the tangent at the old ones", log(Z) - log(Z1)
                            + S.sum(pi[a] * e[a], a))]),
        *(equation(f"cumulant-{k}", f"Order {k} of A is the cumulant κ_{k}/{k}!",
                   order(log(Zt), k), (f"expand to order {k}", c / factorial[k]),
                   mistakes=[("the fourth central moment", moment(4) / 24)][:k - 3 if k > 3 else 0])
          for k, c in cumulant.items()),
        *(equation(f"forward-{k}", f"KL(old ‖ new) at order {k}: κ_{k}/{k}!",
                   order(forward(new), k), ("the tangent has no such order", order(log(Zt), k)))
          for k in cumulant),
        *(equation(f"reverse-{k}", f"KL(new ‖ old) at order {k}: {k - 1} κ_{k}/{k}!",
                   order(reverse(new), k), ("t A′(t) has k times the order of A",
                                            (k - 1) * order(log(Zt), k)),
                   mistakes=[("as forward", Rational(1) * order(log(Zt), k))][:k - 2])
          for k in cumulant),
    ),
    covers="The two exact identities give every order k: A⁽ᵏ⁾/k! forward, (k−1) A⁽ᵏ⁾/k! reverse; "
    "k = 2, 3, 4 are also derived one by one. Families with finitely many outcomes.",
    justifies=("npgcheck.fisher.kl",),
)
