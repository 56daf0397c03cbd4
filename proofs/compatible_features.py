"""Compatible function approximation: the natural gradient is the best fit of the advantage."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

D, T = dv.D, dv.T
W = dv.Words({"D": "the number of parameters", "S": "the number of states",
              "A": "the number of actions"}, derivatives=1, transposes=True)
g = W.scalar("gamma", "unit", "the discount factor")
E = W.letter("E", "SA", "S", "a function of s, read at (s, a)", draw="selector")
M = W.letter("M", "SA", "SA", "diagonal, d(s) π(a | s)", draw=voc.weights, symmetric=True)
Psi = W.letter("Psi", "SA", "D", "the scores ∇log π(a | s), one row each", r"\Psi",
               draw=voc.centred_features)
w = W.letter("w", "D", "1", "any parameters of the critic", varies=True)
best = W.letter("w*", "D", "1", "the parameters of the best fit", r"w_{\star}")
h = W.letter("h", "D", "1", "any other direction")
V = W.letter("V", "S", "1", "values")
A = W.letter("A", "SA", "1", "advantages", draw=voc.fitted)
F = W.define("F", T(Psi) * M * Psi, "the Fisher matrix, weighted by d")
grad = W.define("grad J", T(Psi) * M * A / (1 - g), "the policy gradient", r"\nabla J")
loss = lambda target, at: T(target - Psi * at) * M * (target - Psi * at)  # noqa: E731
W.assume("scores have mean zero in each state", T(Psi) * M * E, 0)
equation = voc.equations(W)
fitted = W.changed()
fitted.assume("w⋆ solves the normal equations", T(Psi) * M * Psi * best, T(Psi) * M * A)
at_best = voc.equations(fitted)
ZERO = "scores have mean zero in each state"
uncentred = W.changed(drop=(ZERO,), draw={"Psi": "free", "A": "free"})
any_weights = fitted.changed(drop=("w⋆ solves the normal equations",), draw={"A": "free"})

CLAIM = dv.Claim(
    id="compatible-features",
    title="Compatible function approximation: F⁺∇J = w⋆/(1 − γ), w⋆ the best fit of the advantage",
    source="Sutton et al. (2000); Kakade (2001), theorem 1, which is for average reward "
    "and has no factor.",
    assumptions=(
        dv.Assumption(r"$\nabla J = \Psi^{\top} M A / (1-\gamma)$, the policy gradient theorem "
                      r"with $\mathrm{d}\pi = \pi \, \mathrm{d} \log \pi$"),
        dv.Assumption("scores have mean zero in each state", uncentred, "baseline",
                      "any features"),
        dv.Assumption(r"$w_\star$ makes the loss stationary", any_weights, "natural-gradient",
                      "any weights"),
    ),
    uses=("policy-gradient", "softmax-fisher"),
    statements=(
        equation("slope", "The slope of the loss", D(loss(A, w)),
                 ("differentiate, M symmetric", -2 * T(D(w)) * T(Psi) * M * (A - Psi * w)),
                 ("insert F and ∇J", 2 * T(D(w)) * (F * w - (1 - g) * grad)),
                 mistakes=[("without 1 − γ", 2 * T(D(w)) * (F * w - grad))]),
        at_best("natural-gradient", "w⋆/(1 − γ) solves F x = ∇J", F * best / (1 - g),
                ("the loss is stationary", T(Psi) * M * A / (1 - g)), ("insert ∇J", grad),
                mistakes=[("without 1/(1 − γ)", (1 - g) * grad)]),
        at_best("minimum", "The loss above its minimum is a Fisher form",
                loss(A, best + h) - loss(A, best),
                ("expand", T(h) * F * h - 2 * T(h) * T(Psi) * M * (A - Psi * best)),
                ("the slope vanishes", T(h) * F * h), mistakes=[("half of it", T(h) * F * h / 2)]),
        equation("baseline", "Q and A have the same best fit", T(Psi) * M * (A + E * V),
                 ("scores have mean zero", T(Psi) * M * A)),
        at_best("critic", "A compatible critic gives the exact gradient",
                T(Psi) * M * Psi * best / (1 - g),
                ("it is F w⋆/(1 − γ)", F * best / (1 - g)), ("which is ∇J", grad)),
    ),
    covers="Identities for all numbers of states, actions and parameters. vᵀFv ≥ 0 is read off: a "
    "mean of squares; so the stationary point is a minimum. Among all x with F x = ∇J, F⁺∇J is the "
    "shortest; which w⋆ is found when F is singular is not said here.",
    justifies=("npgcheck.natural.natural_gradient",),
)
