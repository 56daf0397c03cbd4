"""Soft policy iteration: the suboptimality identity and the contraction by γ."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

BEST, NEW = "⋆", "′"


def setting():
    m = voc.mdp()
    tau = m.W.scalar("tau", "positive", "the temperature")
    return m, m.W, m.gamma, tau, voc.log_policy(m)


m, W, g, tau, ell = setting()
rho, P, R, E, Pi, K = m.rho, m.P, m.R, m.E, m.Pi, m.K
BestPi, BestK = voc.policy(m, BEST)
v = W.letter("v", "S", "1", "the optimal soft values", r"V^{\star}")
optimal = (R + g * P * v - E * v) / tau
best = W.letter("ell*", "SA", "1", "log π⋆(a | s)", r"\ell^{\star}", draw=optimal, weight=9)
W.assume("soft optimality", tau * best, R + g * P * v - E * v)
V, Q, A = voc.evaluation(m, bonus=-tau * ell)
to_best = W.define("KL(π|π⋆)", Pi * (ell - best), "KL(π ‖ π⋆) per state", r"\mathrm{KL}_{\star}")
d = W.define("d", (1 - g) * rho * K, "the occupancy of π")
gap = voc.equations(W)
without = W.changed(drop=("soft optimality",), draw={"ell*": "free"})

# one iteration from π to π′ ∝ e^{Q/τ}, seen from any third policy π⋆
n, N, h, nu, lam = setting()
Pi2, K2 = voc.policy(n, NEW)
Pi3, K3 = voc.policy(n, BEST)
U, _, _ = voc.evaluation(n, bonus=-nu * lam)
moved = N.letter("k", "S", "1", "KL(π ‖ π′) in each state", r"\mathrm{KL}", draw="positive",
                 nonnegative=True)
away = N.letter("k*", "S", "1", "KL(π⋆ ‖ π′) in each state", r"\mathrm{KL}_{\star}",
                draw="positive", nonnegative=True)
u = N.letter("u", "S", "1", "τ log Σ_a e^{Q/τ}", draw=U + nu * moved)
lam2 = N.letter("ell'", "SA", "1", "log π′(a | s)", r"\ell^{\prime}", weight=9,
                draw=(n.R + h * n.P * U - n.E * u) / nu)
lam3 = N.letter("ell*", "SA", "1", "log π⋆(a | s)", r"\ell^{\star}", weight=10,
                draw=lam2 + n.E * away)
N.assume("the new policy is soft-greedy", nu * lam2, n.R + h * n.P * U - n.E * u)
N.assume("KL(π ‖ π′)", n.Pi * (lam - lam2), moved)
N.assume("KL(π⋆ ‖ π′)", Pi3 * (lam3 - lam2), away)
U2, _, _ = voc.evaluation(n, NEW, bonus=-nu * lam2)
U3, _, _ = voc.evaluation(n, BEST, bonus=-nu * lam3)
iteration = voc.equations(N)

CLAIM = dv.Claim(
    id="soft-policy-iteration",
    title="Soft suboptimality is a mean divergence, and soft policy iteration contracts by γ",
    source="Cen et al. (2022) study the step; identity and contraction are derived here.",
    assumptions=(
        dv.Assumption(r"rewards $R - \tau \log \pi$, $\tau > 0$, $0 \le \gamma < 1$"),
        dv.Assumption(r"$\pi^\star$ is soft-optimal: $\tau \log \pi^\star = Q^\star - V^\star$",
                      without, "suboptimality", "any third policy"),
        dv.Assumption(r"divergences are not negative (Gibbs' inequality)"),
    ),
    uses=("soft-improvement",),
    statements=(
        gap("optimum", "The optimal policy has these values", BestK * BestPi * (R - tau * best),
            ("insert log π⋆", BestK * (BestPi * E * v - g * BestPi * P * v)), ("Π⋆E = I", v)),
        gap("suboptimality", "Soft suboptimality", rho * v - rho * V,
            ("v = K(I − γΠP)v", rho * K * (Pi * E * v - g * Pi * P * v - Pi * R + tau * Pi * ell)),
            ("insert log π⋆", tau * rho * K * to_best), ("insert d", tau * d * to_best / (1 - g)),
            mistakes=[("without τ", d * to_best / (1 - g)), ("without 1 − γ", tau * d * to_best)]),
        iteration("improvement", "Each iteration improves every state", U2 - U,
                  ("the soft performance difference", nu * K2 * moved),
                  ("divergences and K are not negative", 0, "≥")),
        iteration("contraction", "The contraction", h * Pi3 * n.P * (U3 - U),
                  ("one soft Bellman step from π⋆ and from π′",
                   U3 - U2 + nu * away + h * nu * Pi2 * n.P * K2 * moved),
                  ("divergences, probabilities and K are not negative", U3 - U2, "≥"),
                  mistakes=[("twice the contraction", 2 * (U3 - U2) + nu * moved)]),
    ),
    covers="Identities and signs for all numbers of states and actions. The contraction says V⋆ "
    "− V′ ≤ γΠ⋆P(V⋆ − V); a mean is at most the maximum, so ‖V⋆ − V′‖∞ ≤ γ‖V⋆ − V‖∞. The quadratic "
    "rate γ²/(8τ(1 − γ)) needs Hoeffding's lemma beside the second statement and is not derived.",
    justifies=("npgcheck.entropy.soft_policy_iteration", "npgcheck.entropy.soft_optimal"),
)
