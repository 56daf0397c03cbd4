"""What one natural policy gradient step improves, exactly."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

m = voc.mdp(rewards=False)
W, g, rho, P, E, Pi, K = m.W, m.gamma, m.rho, m.P, m.E, m.Pi, m.K
NEW = "′"
eta = W.scalar("eta", "positive", "the step size")
Pi2, K2 = voc.policy(m, NEW)
ell, ell2 = voc.log_pair(m, NEW)
V = W.letter("V", "S", "1", "values of the old policy", "V")
z = W.letter("z", "S", "1", "log Z, the logarithms of the normalisers", r"\log Z",
             draw=Pi * (ell - ell2), nonnegative=True)
k = W.letter("k", "S", "1", "KL(π′ ‖ π) in each state", r"\mathrm{KL}^{\prime}",
             draw=Pi2 * (ell2 - ell), nonnegative=True)
m.R = R = W.letter("R", "SA", "1", "expected rewards", weight=9,
                   draw=(1 - g) / eta * (ell2 - ell + E * z) + E * V - g * P * V)
A = W.define("A", R + g * P * V - E * V, "advantages of the old policy")
W.assume("the Bellman equation", V, Pi * R + g * Pi * P * V)
W.assume("KL(π′ ‖ π)", Pi2 * (ell2 - ell), k)
STEP = "the step is multiplicative weights"
W.assume(STEP, eta * A / (1 - g), ell2 - ell + E * z)
V2 = W.define("V'", K2 * Pi2 * R, "values of the new policy", r"V^{\prime}")
d2 = W.define("d'", (1 - g) * rho * K2, "the occupancy of the new policy", r"d^{\prime}")
equation = voc.equations(W)
without = W.changed(drop=(STEP,), draw={"R": voc.rewards_with_values})

CLAIM = dv.Claim(
    id="monotone-improvement",
    title="A natural policy gradient step gains both divergences, and no state loses",
    source="The lower bound: Agarwal, Kakade, Lee & Mahajan (2021); the identity is "
    "derived here.",
    assumptions=(
        dv.Assumption(r"the step is $\pi' = \pi e^{\eta A/(1-\gamma)} / Z$ everywhere, $\eta > 0$",
                      without, "gain", "any new policy"),
        dv.Assumption("divergences are not negative (Gibbs' inequality)"),
    ),
    uses=("bellman", "performance-difference", "tabular-natural-gradient"),
    statements=(
        equation("normaliser", "log Z is the divergence of the new policy from the old", z,
                 ("take the mean under π of log π′ = log π + ηA/(1 − γ) − log Z",
                  Pi * (ell - ell2) + eta / (1 - g) * Pi * A), ("ΠA = 0", Pi * (ell - ell2)),
                 mistakes=[("the divergence the other way round", k)]),
        equation("mean-advantage", "The mean advantage under the new policy", Pi2 * A,
                 ("insert the step", (1 - g) / eta * Pi2 * (ell2 - ell + E * z)),
                 ("Π′E = I", (1 - g) / eta * (k + z))),
        equation("gain-per-state", "The gain in every state", V2 - V,
                 ("the performance difference", K2 * Pi2 * A),
                 ("insert the mean advantage", (1 - g) / eta * K2 * (k + z)),
                 mistakes=[("one divergence only", (1 - g) / eta * K2 * k)]),
        equation("monotone", "No state loses", V2 - V,
                 ("the gain", (1 - g) / eta * K2 * (k + z)),
                 ("divergences and K′ are not negative", 0, "≥"),
                 mistakes=[("every state gains one unit", m.one)]),
        equation("lower-bound", "Every state gains at least log Z", V2 - V,
                 ("the gain, and K′ = I + γK′Π′P",
                  (1 - g) / eta * (k + z + g * K2 * Pi2 * P * (k + z))),
                 ("drop what is not negative", (1 - g) / eta * z, "≥"),
                 mistakes=[("without 1 − γ", z / eta)]),
        equation("gain", "The gain, averaged", rho * V2 - rho * V,
                 ("average over ρ", (1 - g) / eta * rho * K2 * (k + z)),
                 ("insert d′", d2 * (k + Pi * (ell - ell2)) / eta),
                 mistakes=[("KL(π′ ‖ π) only", d2 * k / eta),
                           ("without the new occupancy", rho * (k + z) / eta)]),
    ),
    covers="Identities and signs for all numbers of states and actions and every η > 0. That "
    "divergences are not negative is Gibbs' inequality, not derived here; that K′ has no negative "
    "entry is the Neumann series.",
    justifies=("npgcheck.natural.natural_policy_iteration", "npgcheck.natural.update"),
)
