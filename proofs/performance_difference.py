"""The performance difference of two policies, exact, with either policy's occupancy."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

m = voc.mdp()
W, g, rho, P, E, Pi, K = m.W, m.gamma, m.rho, m.P, m.E, m.Pi, m.K
NEW = "′"
Pi2, K2 = voc.policy(m, NEW)
V, Q, A = voc.evaluation(m)
V2, Q2, A2 = voc.evaluation(m, NEW)
d = W.define("d", (1 - g) * rho * K, "the occupancy of π")
d2 = W.define("d^\\prime", (1 - g) * rho * K2, "the occupancy of π′", "d^{\\prime}")
equation = voc.equations(W)
without = W.changed(drop=(f"{voc.SUM_TO_ONE} ({NEW})",), draw={f"Pi{NEW}": "measure"})

CLAIM = dv.Claim(
    id="performance-difference",
    title="J(π′) − J(π) is the mean advantage of π under π′, divided by 1 − γ",
    source="Kakade & Langford (2002); the swapped form by exchanging the policies.",
    assumptions=(
        dv.Assumption(r"two policies in one Markov decision process, $0 \le \gamma < 1$"),
        dv.Assumption("the probabilities of the new policy sum to one in each state", without,
                      "objective", "weights that do not sum to one"),
    ),
    uses=("bellman",),
    statements=(
        equation("resolvent", "The difference of the resolvents", K2 - K,
                 ("multiply by (I − γΠ′P) on the left and (I − γΠP) on the right",
                  g * K2 * (Pi2 - Pi) * P * K),
                 mistakes=[("both from the old policy", g * K * (Pi2 - Pi) * P * K)]),
        equation("occupancies", "The difference of the occupancies", d2 - d,
                 ("insert the resolvents", (1 - g) * rho * g * K2 * (Pi2 - Pi) * P * K),
                 ("from the other side", (1 - g) * rho * g * K * (Pi2 - Pi) * P * K2),
                 ("insert d", g * d * (Pi2 - Pi) * P * K2)),
        equation("difference", "In every state", V2 - V,
                 ("V′ = K′ Π′R, and V = K′(I − γΠ′P) V", K2 * (Pi2 * m.R - V + g * Pi2 * P * V)),
                 ("collect Q", K2 * (Pi2 * Q - V)),
                 ("Π′E = I", K2 * Pi2 * A)),
        equation("objective", "The lemma", rho * V2 - rho * V,
                 ("average the difference over ρ", rho * K2 * Pi2 * A),
                 ("insert d′", d2 * Pi2 * A / (1 - g)),
                 mistakes=[("the old occupancy", d * Pi2 * A / (1 - g)),
                           ("without 1/(1 − γ)", d2 * Pi2 * A),
                           ("the old policy inside", d2 * Pi * A / (1 - g))]),
        equation("swapped", "With the old occupancy and the new action values",
                 rho * V2 - rho * V,
                 ("V = K ΠR, and V′ = K(I − γΠP) V′", rho * K * (V2 - g * Pi * P * V2 - Pi * m.R)),
                 ("V′ = Π′Q′", rho * K * (Pi2 - Pi) * Q2),
                 ("insert d", d * (Pi2 - Pi) * Q2 / (1 - g)),
                 mistakes=[("the old action values", d * (Pi2 - Pi) * Q / (1 - g))]),
        equation("swapped-advantage", "With the new advantages", rho * V2 - rho * V,
                 ("the swapped form", d * (Pi2 - Pi) * Q2 / (1 - g)),
                 ("Π′A′ = 0 and (Π′ − Π)E = 0", -d * Pi * A2 / (1 - g))),
    ),
    covers="Identities for all numbers of states and actions and any two policies. Bounds that "
    "follow from them, such as that of trust-region methods, are not derived here.",
    justifies=("npgcheck.exact.evaluate", "npgcheck.gradient.surrogate"),
)
