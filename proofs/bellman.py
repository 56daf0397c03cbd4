"""Bellman equations and the discounted occupancy, in matrices of any size."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

m = voc.mdp()
W, g, rho, P, R, E, Pi, K = m.W, m.gamma, m.rho, m.P, m.R, m.E, m.Pi, m.K
V, Q, A = voc.evaluation(m)
d = W.define("d", (1 - g) * rho * K, "the discounted occupancy, a row that sums to one")
J = W.define("J", rho * V, "the objective")
unnormalised = W.changed(drop=(voc.SUM_TO_ONE,), draw={"Pi": "measure"})
equation = voc.equations(W)

CLAIM = dv.Claim(
    id="bellman",
    title="Bellman equations, and the occupancy that turns values into averages of rewards",
    source="Bellman (1957); the matrix form is standard, e.g. in Puterman (1994).",
    assumptions=(
        dv.Assumption(r"finitely many states and actions, $0 \le \gamma < 1$, rewards any numbers"),
        dv.Assumption(r"the policy's probabilities sum to one in each state: $\Pi E = I$",
                      unnormalised, "advantage-mean", "weights that do not sum to one"),
        dv.Assumption(r"the rows of $P$ and $\rho$ sum to one",
                      W.changed(drop=("ρ sums to one",), draw={"rho": "free"}), "occupancy-sum",
                      "any row ρ"),
        dv.Assumption(r"$I - \gamma \Pi P$ is invertible, with inverse $K$"),
    ),
    uses=(),
    statements=(
        equation("value", "The Bellman equation of V", V,
                 ("split off the first reward: K = I + γΠPK", Pi * R + g * Pi * P * K * Pi * R),
                 ("the rest is the value of the next state", Pi * R + g * Pi * P * V),
                 mistakes=[("the next value is not discounted", Pi * R + Pi * P * V)]),
        equation("value-mean", "V is the mean of Q", V,
                 ("the Bellman equation", Pi * R + g * Pi * P * V), ("collect Π", Pi * Q)),
        equation("advantage-mean", "The advantage has mean zero", Pi * A,
                 ("its definition", Pi * Q - Pi * E * V),
                 ("V is the mean of Q, and ΠE = I", V - V), ("they cancel", 0)),
        equation("action-value", "The Bellman equation of Q", Q,
                 ("V is the mean of Q", R + g * P * Pi * Q),
                 mistakes=[("without the mean over the next action", R + g * Q)]),
        equation("occupancy", "The flow equation of the occupancy", d,
                 ("split off the first state: K = I + γKΠP", (1 - g) * rho * (1 + g * K * Pi * P)),
                 ("the rest is d one step on", (1 - g) * rho + g * d * Pi * P),
                 mistakes=[("ρ without 1 − γ", rho + g * d * Pi * P)]),
        equation("occupancy-sum", "The occupancy sums to one", d * m.one,
                 ("K 1 = 1/(1 − γ), because ΠP 1 = 1", (1 - g) * rho * m.one / (1 - g)),
                 ("so does ρ", 1), mistakes=[("the unnormalised sum", 1 / (1 - g))]),
        equation("objective", "The objective is a mean of rewards", J,
                 ("insert V", rho * K * Pi * R), ("insert d", d * Pi * R / (1 - g)),
                 mistakes=[("without 1/(1 − γ)", d * Pi * R)]),
        equation("occupancy-bound", "Every state keeps at least its share of ρ", d,
                 ("the flow equation", (1 - g) * rho + g * d * Pi * P),
                 ("probabilities are not negative", (1 - g) * rho, "≥"),
                 mistakes=[("without 1 − γ", rho)]),
        equation("truncation", "What three steps leave out", V,
                 ("unroll the Bellman equation", Pi * R + g * Pi * P * Pi * R
                  + g**2 * (Pi * P) ** 2 * Pi * R + g**3 * (Pi * P) ** 3 * V)),
    ),
    covers="Identities for all numbers of states and actions and all γ in [0, 1), given that K "
    "exists. That it does, and that K = Σ γᵗ(ΠP)ᵗ has no negative entry, is the Neumann series, "
    "which is not derived here.",
    justifies=("npgcheck.exact.evaluate",),
)
