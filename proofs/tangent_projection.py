"""The natural step's policy velocity is a projection: it depends on the tangent space alone."""

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of state-action pairs", p="the number of parameters",
                  q="the number of parameters of another parametrisation")
w = S.family("w", "positive", "the weight of a pair, d(s) π(a|s)")
s = S.family("s", "real", "the score at a pair", "n p")
A = S.family("A", "real", "the advantage of a pair")
x = S.family("x", "real", "the natural gradient, or any direction", "p")
y = S.family("y", "real", "any direction", "p")
H = S.family("H", "real", "how the other parametrisation moves these parameters", "p q")
m = S.family("m", "real", "a direction there", "q")
a = dv.bound("a")
i, j = S.over("p", *dv.bound("i j"))
u = S.over("q", dv.bound("u"))

F = S.define("F", (i, j), S.sum(w[a] * s[a, i] * s[a, j], a), "the Fisher matrix")
g = S.define("g", i, S.sum(w[a] * s[a, i] * A[a], a), "the gradient")
rest = S.define("rho", i, g[i] - S.sum(F[i, j] * x[j], j), "g − F x: zero at a natural gradient")
X = S.define("X", a, S.sum(s[a, i] * x[i], i), "the velocity of log π along x")
Y = S.define("Y", a, S.sum(s[a, i] * y[i], i), "the velocity of log π along y")
other = S.define("sigma", (a, u), S.sum(s[a, i] * H[i, u], i), "the scores there")
M = S.define("M", a, S.sum(other[a, u] * m[u], u), "the velocity of log π along m")
pushed = S.define("h", i, S.sum(H[i, u] * m[u], u), "H m")
square = lambda f: S.sum(w[a] * f(a) ** 2, a)  # noqa: E731


def equation(name, title, left, *steps, mistakes=(), nonnegative=""):
    return dv.Statement.chain(
        name, title, S, (left, steps[-1][1]), steps, (), mistakes, nonnegative)


CLAIM = dv.Claim(
    id="tangent-projection",
    title="The natural velocity of the policy is the projection of A onto the tangent space",
    source="Derived here; for one-to-one parametrisations it is Amari's (1998) invariance.",
    assumptions=(
        dv.Assumption(r"weights $w_a > 0$ and scores $s_{ai}$; F may be singular, h need not be "
                      "one-to-one"),
        dv.Assumption(r"x is a natural gradient where ρ = g − F x is zero; without that the terms "
                      "with ρ stay, and the equations show them"),
    ),
    uses=("reparameterisation", "steepest-ascent"),
    statements=(
        equation("orthogonal", "A − X is orthogonal to the tangent space, up to ρ",
                 S.sum(w[a] * (A[a] - X[a]) * Y[a], a),
                 ("insert Y", S.sum(S.sum(w[a] * (A[a] - X[a]) * s[a, i], a) * y[i], i)),
                 ("the inner sum is g − F x", S.sum(rest[i] * y[i], i)),
                 mistakes=[("with the sign of ρ flipped", -S.sum(rest[i] * y[i], i))]),
        equation("pythagoras", "So no velocity of the tangent space is nearer to A than X",
                 square(lambda a: A[a] - Y[a]) - square(lambda a: A[a] - X[a]),
                 ("through X", square(lambda a: X[a] - Y[a])
                  + 2 * S.sum(w[a] * (A[a] - X[a]) * (X[a] - Y[a]), a)),
                 ("A − X is orthogonal", square(lambda a: X[a] - Y[a])
                  + 2 * S.sum(rest[i] * (x[i] - y[i]), i)),
                 mistakes=[("once ρ(x − y)", square(lambda a: X[a] - Y[a])
                            + S.sum(rest[i] * (x[i] - y[i]), i))]),
        equation("distance", "X alone is nearest: what is left is a mean square",
                 square(lambda a: X[a] - Y[a]), ("as it stands",
                 S.sum(w[a] * (S.sum(s[a, i] * (x[i] - y[i]), i)) ** 2, a)),
                 nonnegative="squares with positive weights"),
        equation("same-space", "Velocities through h are velocities of the same space: M = s · Hm",
                 S.sum(w[a] * (A[a] - M[a]) * Y[a], a),
                 ("s H m is s · (H m)", S.sum(w[a] * (A[a] - S.sum(s[a, i] * pushed[i], i))
                  * Y[a], a)), ("insert Y", S.sum((g[i] - S.sum(F[i, j] * pushed[j], j)) * y[i],
                                                  i))),
    ),
    covers="For all sizes. Two parametrisations with the same tangent space have the same "
    "natural velocity, since a nearest point is unique; F⁺g as a vector is not invariant.",
    justifies=("npgcheck.natural.natural_gradient",),
)
