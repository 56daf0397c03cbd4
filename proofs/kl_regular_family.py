"""KL of any regular family: ½ F to second order; the directions part by a sixth of Chentsov's T."""

from sympy import exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions")
t, r = S.parameter("t"), S.parameter("r")
a, b = dv.bound("a b")
h = S.family("h", "log", "the log-weights at the old parameters")
u = S.family("u", "real", "their first derivatives along any curve")
v = S.family("v", "real", "their second Taylor coefficients, or first derivatives along another")
w = S.family("w", "real", "their third Taylor coefficients, or mixed second derivatives")

normal = lambda body: exp(body(a)) / S.sum(exp(body(b)), b)  # noqa: E731
pi = S.define("pi", a, normal(lambda k: h[k]), "the old probabilities")
new = S.define("pi^t", a, normal(lambda k: h[k] + t * u[k] + t ** 2 * v[k] + t ** 3 * w[k]),
               "along a curve")
two = S.define("pi^rt", a, normal(lambda k: h[k] + r * u[k] + t * v[k] + r * t * w[k]),
               "on a surface: two directions at once")
m = S.define("m", (), S.sum(pi[b] * u[b], b), "the mean of u")
m_v = S.define("mu", (), S.sum(pi[b] * v[b], b), "the mean of v")
forward = lambda new: dv.Expect(log(pi[a]) - log(new[a]), a, pi)  # noqa: E731
reverse = lambda new: dv.Expect(log(new[a]) - log(pi[a]), a, new)  # noqa: E731
velocity = S.define("s", a, dv.Coefficient(log(new[a]), t, 1), "the score along the curve")
second = dv.Expect(velocity[a] ** 2, a, pi)
third = dv.Expect(velocity[a] ** 3, a, pi)
gap = dv.Coefficient(reverse(new) - forward(new), t, 3)
hessian = lambda kl: dv.Coefficient(dv.Coefficient(kl(two), r, 1), t, 1)  # noqa: E731
product = dv.Expect((u[a] - m) * (v[a] - m_v), a, pi)
loose = S.changed(define={"pi^t": exp(h[a] + t * u[a]) / S.sum(exp(h[b]), b)})


def equation(name, title, left, *steps, mistakes=(), nonnegative=""):
    return dv.Statement.chain(
        name, title, S, (left, steps[-1][1]), steps, (), mistakes, nonnegative)


CLAIM = dv.Claim(
    id="kl-regular-family",
    title="KL in any regular family: F is its Hessian, and both directions differ by T/6",
    source="Amari & Nagaoka (2000), Chentsov (1972) for the tensor T; recomputed here.",
    assumptions=(
        dv.Assumption(r"$n \ge 1$ outcomes with positive probabilities that depend smoothly on the "
                      "parameters: any curve has log-weights h + tu + t²v + t³w + …"),
        dv.Assumption("the probabilities sum to one all along the curve", loose, "first",
                      "normalised at t = 0 only"),
    ),
    uses=("score",),
    statements=(
        equation("velocity", "The score along a curve: u minus its mean",
                 dv.Expect(velocity[a] * u[a], a, pi),
                 ("differentiate", dv.Expect((u[a] - m) * u[a], a, pi))),
        equation("first", "No first order", dv.Coefficient(forward(new), t, 1),
                 ("minus the mean of the score", -dv.Expect(velocity[a], a, pi)), ("is zero", 0)),
        equation("forward-2", "KL(old ‖ new) at order 2", dv.Coefficient(forward(new), t, 2),
                 ("half the mean square of the score", second / 2),
                 mistakes=[("the factor ½ is missing", second)],
                 nonnegative="squares with positive weights"),
        equation("reverse-2", "KL(new ‖ old) at order 2", dv.Coefficient(reverse(new), t, 2),
                 ("the same", second / 2)),
        equation("third", "KL(new ‖ old) − KL(old ‖ new) at order 3", gap,
                 ("a sixth of the Amari–Chentsov tensor", third / 6),
                 mistakes=[("a third of it", third / 3), ("the other sign", -third / 6)]),
        equation("hessian-forward", "The Hessian of KL(old ‖ ·) is the Fisher matrix",
                 hessian(forward), ("E of the product of two scores", product)),
        equation("hessian-reverse", "The Hessian of KL(· ‖ old) is the Fisher matrix",
                 hessian(reverse), ("the same", product),
                 mistakes=[("without the means", dv.Expect(u[a] * v[a], a, pi))]),
    ),
    covers="The Taylor coefficients along every curve of every finite family, for every n; not "
    "their remainder. Orders 2 and 3 of log-weights cancel, so they are any.",
    justifies=("npgcheck.fisher.kl", "npgcheck.fisher.fisher"),
)
