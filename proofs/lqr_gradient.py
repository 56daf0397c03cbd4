"""Linear-quadratic control: the gradient of the cost, and the natural gradient."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

D, T, Tr = dv.D, dv.T, dv.Trace
sym = {"draw": "symmetric", "symmetric": True}
W = dv.Words({"x": "the dimension of the state", "u": "the dimension of the input"},
             derivatives=1, transposes=True)
g = W.scalar("gamma", "positive", "the discount factor; 1 where the problem is undiscounted")
s2 = W.scalar("s", "positive", "σ², the variance of the input")
B = W.letter("B", "x", "u", "the input matrix")
R = W.letter("R", "u", "u", "the cost of the input", **sym)
K = W.letter("K", "u", "x", "the gain: u = −Kx + noise", varies=True)
A = W.letter("A", "x", "x", "the system matrix", weight=9)
L = W.letter("L", "x", "x", "the closed loop", varies=True, weight=3, draw=A - B * K)
Q = W.letter("Q", "x", "x", "the cost of the state", weight=20, **sym)
P = W.letter("P", "x", "x", "the cost-to-go, xᵀPx", symmetric=True, varies=True,
             draw=voc.lyapunov(T(L), Q + T(K) * R * K))
Sig = W.letter("Sigma", "x", "x", "second moments of the visited states", r"\Sigma", **sym)
N = W.letter("N", "x", "x", "second moments of what enters: starts and noise", weight=20,
             symmetric=True, draw=Sig - g * L * Sig * T(L))
Sig0 = W.letter("Sigma_0", "x", "x", "second moments of the start", r"\Sigma_0", **sym)
STATES = "Σ are the second moments of the visited states"
W.assume("the closed loop", L, A - B * K)
W.assume("the cost-to-go", P, Q + T(K) * R * K + g * T(L) * P * L)
W.assume(STATES, Sig, N + g * L * Sig * T(L), point=True)
E = W.define("E", R * K - g * T(B) * P * L, "half the gradient, before states are weighed")
C = W.define("C", Tr(P * N), "the cost")
equation = voc.equations(W)
loose = W.changed(drop=(STATES,), draw={"N": "symmetric"})

CLAIM = dv.Claim(
    id="lqr-gradient",
    title="Linear-quadratic control: ∇C = 2EΣ, and the natural gradient is 2σ²E",
    source="Fazel, Ge, Kakade & Mesbahi (2018); with discount and noise here.",
    assumptions=(
        dv.Assumption(r"$x' = Ax + Bu$, $u = -Kx + \sigma z$, cost $x^\top Q x + u^\top R u$ with "
                      r"$Q$, $R$ symmetric; the loop is so stable that $P$ and $\Sigma$ exist"),
        dv.Assumption(r"without noise and discount $\gamma = 1$ and $N = \Sigma_0$; discounted "
                      r"$N = (1-\gamma)\Sigma_0 + \gamma\sigma^2 BB^\top$"),
        dv.Assumption(r"$\Sigma = N + \gamma L \Sigma L^\top$ at the gain looked at", loose,
                      "gradient", "any symmetric N"),
    ),
    uses=("gaussian-fisher",),
    statements=(
        equation("slope", "Half the gradient, in the textbook's form", E,
                 ("insert L = A − BK", (R + g * T(B) * P * B) * K - g * T(B) * P * A),
                 mistakes=[("a discount forgotten", (R + g * T(B) * P * B) * K - T(B) * P * A)]),
        equation("gradient", "The gradient of the cost, in any direction dK", D(C),
                 ("Σ weighs the visited states", Tr((D(P) - g * T(L) * D(P) * L) * Sig)),
                 ("differentiate P", 2 * Tr(Sig * T(D(K)) * (R * K - g * T(B) * P * L))),
                 ("insert E", 2 * Tr(Sig * T(D(K)) * E)),
                 mistakes=[("without the factor 2", Tr(Sig * T(D(K)) * E)),
                           ("weighed by the starts", 2 * Tr(N * T(D(K)) * E))]),
        equation("natural", "2σ²E is the gradient in the Fisher form tr(Σ dKᵀ X)/σ²",
                 Tr(Sig * T(D(K)) * (2 * s2 * E)) / s2, ("cancel σ²", 2 * Tr(Sig * T(D(K)) * E)),
                 ("the gradient", D(C)), mistakes=[("half of it", D(C) / 2)]),
        equation("noise", "The discounted cost, up to its constant", Tr(P * ((1 - g) * Sig0
                                                                             + g * s2 * B * T(B))),
                 ("read the traces around", (1 - g) * Tr(P * Sig0) + g * s2 * Tr(T(B) * P * B))),
    ),
    covers="Identities for all dimensions. With noise the cost is (tr PN + σ² tr R)/(1 − γ), so "
    "dJ/dσ = 2σ tr(R + γBᵀPB)/(1 − γ) and the natural gradient is 2σ²E/(1 − γ): read off. That the "
    "Fisher form of u ~ N(−Kx, σ²I) is tr(Σ dKᵀdK)/σ² is the linear-mean Gaussian Fisher matrix.",
    justifies=("npgcheck.lqr.gain_gradient", "npgcheck.lqr.natural_gradient"),
)
