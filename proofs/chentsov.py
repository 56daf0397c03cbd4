"""Why this metric: Σ u²/p survives congruent embeddings and shrinks under Markov maps."""

from sympy import Rational, exp

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of parts that an outcome is split into")
omega = S.family("omega", "log", "logits of the shares")
x = S.family("x", "positive", "a probability, x₁")
y = S.family("y", "real", "a change of it, y₁")
i, j, k = dv.bound("i j k")
c = dv.free("c")
q = S.define("q", i, exp(omega[i]) / S.sum(exp(omega[k]), k), "the share of each part")
unshared = S.changed(define={"q": exp(omega[i])})
embedded = lambda power: S.sum((q[j] * y[c]) ** 2 * (q[j] * x[c]) ** -power, j)  # noqa: E731
plain = lambda power: y[c] ** 2 * x[c] ** -power  # noqa: E731

M = dv.Setting.of("n", "the number of outcomes before the map")
m = M.family("m", "positive", "M(j | k), the chance that outcome k is reported as j")
p = M.family("p", "positive", "the probabilities before the map")
u = M.family("u", "real", "a change of them")
after = M.define("s", (), M.sum(m[k] * p[k], k), "the probability of report j")
moved = M.define("r", (), M.sum(m[k] * u[k], k), "the change of it")
square = M.sum(m[k] * (u[k] * after - p[k] * moved) ** 2 / p[k], k) / after**2


def embedding(name, title, power, right, mistakes=()):
    return dv.Statement.chain(name, title, S, (embedded(power), right), [
        ("the shares enter with the power 2 − σ", right)], (c,), mistakes)


CLAIM = dv.Claim(
    id="chentsov",
    title="Among Σ u²/p^σ only the Fisher metric σ = 1 survives splitting outcomes",
    source="Chentsov (1972) proves uniqueness; here its testable half and monotonicity.",
    assumptions=(
        dv.Assumption("a congruent embedding splits each outcome into parts with fixed shares"),
        dv.Assumption("the shares sum to one", unshared, "invariant", "shares of any sum"),
        dv.Assumption(r"a Markov map reports outcome $k$ as $j$ with chance $M(j | k)$, and "
                      r"$\sum_j M(j | k) = 1$"),
    ),
    uses=(),
    statements=(
        embedding("invariant", "σ = 1: one outcome, split into n parts", 1, plain(1)),
        embedding("euclidean", "σ = 0: the shares remain", 0,
                  plain(0) * S.sum(q[j] ** 2, j), [("it is invariant as well", plain(0))]),
        embedding("steeper", "σ = 2: the number of parts remains", 2,
                  plain(2) * S.size, [("invariance at σ = 2", plain(2))]),
        dv.Statement.chain(
            "monotone", "What one report of a Markov map loses", M,
            (M.sum(m[k] * u[k] ** 2 / p[k], k) - moved**2 / after, square), [
                ("complete the square", square)],
            mistakes=[("nothing is lost", 0), ("half of it", square * Rational(1, 2))]),
    ),
    covers="Identities for every n. The last one, summed over j with Σ_j M(j | k) = 1, says that "
    "Σ u²/p falls by a sum of squares. For any other σ the shares ½, ½ change the form by 2^{σ−1}: "
    "an argument, checked in the tests. That no other metric at all is invariant is Chentsov's "
    "theorem, cited; it does not fix the weights of states.",
    justifies=("npgcheck.fisher.fisher",),
)
