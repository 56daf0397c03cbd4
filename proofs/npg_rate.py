"""Natural policy gradient reaches the optimum at rate 1/T, whatever the step size."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

NEW, BEST = "′", "⋆"
m = voc.mdp(rewards=False)
W, g, rho, P, E, Pi = m.W, m.gamma, m.rho, m.P, m.E, m.Pi
eta = W.scalar("eta", "positive", "the step size")
t = W.scalar("t", "positive", "the number of steps so far")
Pi2, K2 = voc.policy(m, NEW)
Pi3, K3 = voc.policy(m, BEST)
ell, ell2 = voc.log_pair(m, NEW)
V = W.letter("V", "S", "1", "values before the step", "V")
z = W.letter("z", "S", "1", "log Z = KL(π ‖ π′)", r"\log Z", draw=Pi * (ell - ell2),
             nonnegative=True)
k = W.letter("k", "S", "1", "KL(π′ ‖ π)", r"\mathrm{KL}^{\prime}", draw=Pi2 * (ell2 - ell),
             nonnegative=True)
m.R = R = W.letter("R", "SA", "1", "expected rewards", weight=9,
                   draw=(1 - g) / eta * (ell2 - ell + E * z) + E * V - g * P * V)
far = W.letter("c", "S", "1", "KL(π⋆ ‖ π) before the step", "c")
A = W.define("A", R + g * P * V - E * V, "advantages before the step")
W.assume("the Bellman equation", V, Pi * R + g * Pi * P * V)
W.assume("KL(π′ ‖ π)", Pi2 * (ell2 - ell), k)
STEP = "the step is multiplicative weights"
W.assume(STEP, eta * A / (1 - g), ell2 - ell + E * z)
near = W.define("c'", far - Pi3 * (ell2 - ell), "KL(π⋆ ‖ π′) after the step", r"c^{\prime}")
V2 = W.define("V'", K2 * Pi2 * R, "values after the step", r"V^{\prime}")
V3 = W.define("V*", K3 * Pi3 * R, "values of the optimal policy", r"V^{\star}")
d = W.define("d*", (1 - g) * rho * K3, "the occupancy of the optimal policy", r"d^{\star}")
gap, gap2 = rho * (V3 - V), rho * (V3 - V2)
Phi = W.define("Phi", d * far / eta + d * (V3 - V) / (1 - g), "potential before the step", r"\Phi")
Phi2 = W.define("Phi'", d * near / eta + d * (V3 - V2) / (1 - g), "after it", r"\Phi^{\prime}")
equation = voc.equations(W)
without = W.changed(drop=(STEP,), draw={"R": voc.rewards_with_values})
gain = k + g * K2 * Pi2 * P * (k + z)

CLAIM = dv.Claim(
    id="npg-rate",
    title="Natural policy gradient: the gap to the optimum is at most a constant over T",
    source="Agarwal, Kakade, Lee & Mahajan (2021); arranged here as one potential.",
    assumptions=(
        dv.Assumption(r"each step is $\pi' = \pi e^{\eta A/(1-\gamma)} / Z$ everywhere, with the "
                      r"same $\eta > 0$", without, "gap", "any new policy"),
        dv.Assumption("divergences are not negative (Gibbs' inequality)"),
        dv.Assumption(r"$\pi^\star$ is optimal: used only for $\Phi \ge 0$; the rest holds for any "
                      "policy in its place"),
    ),
    uses=("monotone-improvement",),
    statements=(
        equation("gap", "The gap before a step", gap,
                 ("the performance difference", d * Pi3 * A / (1 - g)),
                 ("insert the step", d * Pi3 * (ell2 - ell + E * z) / eta),
                 ("divergences from π⋆", d * (far - near + z) / eta),
                 mistakes=[("without log Z", d * (far - near) / eta)]),
        equation("potential", "The potential pays for the gap", Phi - Phi2,
                 ("its definition", d * (far - near) / eta + d * (V2 - V) / (1 - g)),
                 ("the gain of the step", d * (far - near + z) / eta + d * gain / eta),
                 ("insert the gap", gap + d * gain / eta),
                 ("drop what is not negative", gap, "≥"),
                 mistakes=[("twice the gap", 2 * gap)]),
        equation("decrease", "t times the gap plus the potential decreases", t * gap + Phi,
                 ("insert the potential", t * gap + gap + Phi2 + d * gain / eta),
                 ("the gap shrinks by the gain of the step",
                  (t + 1) * gap2 + Phi2 + (t + 1) * (1 - g) / eta * rho * K2 * (k + z)
                  + d * gain / eta),
                 ("drop what is not negative", (t + 1) * gap2 + Phi2, "≥"),
                 mistakes=[("a rate of 1/t²", (t + 1) ** 2 * gap2 + Phi2)]),
    ),
    covers="One step, for all numbers of states and actions, every η > 0 and every t ≥ 0. By "
    "induction T·gap_T ≤ T·gap_T + Φ_T ≤ Φ_0, so gap_T ≤ (E_d⋆ KL(π⋆ ‖ π_0)/η + E_d⋆[V⋆ − V_0]/"
    "(1 − γ))/T; with rewards in [0, 1] and a uniform start at most log A/(ηT) + 1/((1 − γ)²T). "
    "The induction and these two bounds are not judged here.",
    justifies=("npgcheck.natural.natural_policy_iteration",),
)
