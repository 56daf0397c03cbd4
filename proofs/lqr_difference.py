"""Linear-quadratic control: the cost difference of two gains, exactly."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

T, Tr = dv.T, dv.Trace
sym = {"draw": "symmetric", "symmetric": True}
NEW = r"^{\prime}"
W = dv.Words({"x": "the dimension of the state", "u": "the dimension of the input"},
             transposes=True)
g = W.scalar("gamma", "positive", "the discount factor; 1 where the problem is undiscounted")
B = W.letter("B", "x", "u", "the input matrix")
R = W.letter("R", "u", "u", "the cost of the input", **sym)
K = W.letter("K", "u", "x", "the gain: u = −Kx + noise")
K2 = W.letter("K'", "u", "x", "another gain", "K" + NEW)
A = W.letter("A", "x", "x", "the system matrix", weight=9)
L2 = W.letter("L'", "x", "x", "the closed loop of K′", "L" + NEW, draw=A - B * K2)
L = W.letter("L", "x", "x", "the closed loop of K", draw=A - B * K, weight=3)
Q = W.letter("Q", "x", "x", "the cost of the state", weight=20, **sym)
P = W.letter("P", "x", "x", "the cost-to-go of K", symmetric=True,
             draw=voc.lyapunov(T(L), Q + T(K) * R * K))
P2 = W.letter("P'", "x", "x", "the cost-to-go of K′", "P" + NEW, symmetric=True,
              draw=voc.lyapunov(T(L2), Q + T(K2) * R * K2))
Sig2 = W.letter("Sigma'", "x", "x", "the states that K′ visits", r"\Sigma" + NEW, **sym)
N = W.letter("N", "x", "x", "second moments of what enters: starts and noise", weight=20,
             symmetric=True, draw=Sig2 - g * L2 * Sig2 * T(L2))
STATES = "Σ′ are the second moments of the states that K′ visits"
W.assume("the closed loop of K", L, A - B * K)
W.assume("the closed loop of K′", L2, A - B * K2)
W.assume("the cost-to-go of K", P, Q + T(K) * R * K + g * T(L) * P * L)
W.assume("the cost-to-go of K′", P2, Q + T(K2) * R * K2 + g * T(L2) * P2 * L2)
W.assume(STATES, Sig2, N + g * L2 * Sig2 * T(L2))
E = W.define("E", R * K - g * T(B) * P * L, "half the gradient at K, before states are weighed")
H = W.define("H", R + g * T(B) * P * B, "the curvature in the input")
step = W.define("Delta", K - K2, "the step, with its sign turned", r"\Delta")
gap = W.define("G", Tr(P2 * N) - Tr(P * N), "the cost of K′ less that of K")
equation = voc.equations(W)
loose = W.changed(drop=(STATES,), draw={"N": "symmetric"})

CLAIM = dv.Claim(
    id="lqr-difference",
    title="Linear-quadratic control: a performance difference, quadratic in the step",
    source="Fazel, Ge, Kakade & Mesbahi (2018), almost smoothness; discounted here.",
    assumptions=(
        dv.Assumption(r"two gains in one linear system with quadratic cost, $Q$ and $R$ symmetric, "
                      "both so stable that their costs exist"),
        dv.Assumption(r"$\Sigma' = N + \gamma L' \Sigma' L'^\top$", loose, "difference",
                      "any symmetric N"),
    ),
    uses=("lqr-gradient",),
    statements=(
        equation("one-step", "What K′ costs in one step, seen from K",
                 Q + T(K2) * R * K2 + g * T(L2) * P * L2 - P,
                 ("subtract the equation of P", T(K2) * R * K2 - T(K) * R * K
                  + g * T(L2) * P * L2 - g * T(L) * P * L),
                 ("complete in the step", T(step) * H * step - T(step) * E - T(E) * step)),
        equation("difference", "The cost difference", gap,
                 ("weigh both by the states that K′ visits",
                  Tr((Q + T(K2) * R * K2 - P + g * T(L2) * P * L2) * Sig2)),
                 ("insert one step", Tr(Sig2 * (T(step) * H * step - 2 * T(step) * E))),
                 mistakes=[("to first order only", -2 * Tr(Sig2 * T(step) * E)),
                           ("weighed by what enters",
                            Tr(N * (T(step) * H * step - 2 * T(step) * E)))]),
    ),
    covers="Identities for all dimensions. With K′ = K − αE the difference is −α tr Σ′(2EᵀE − "
    "αEᵀHE), not positive for α ≤ 2/‖H‖; with K′ = K − H⁻¹E it is −tr Σ′EᵀH⁻¹E. The linear rate "
    "that follows, and that K′ stays stable, are not derived here.",
    justifies=("npgcheck.lqr.natural_step",),
)
