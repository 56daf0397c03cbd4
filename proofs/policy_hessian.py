"""The second derivative of the objective along every line of parameters."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

D = dv.D
m = voc.mdp(derivatives=2)
W, g, rho, P, E, Pi, K = m.W, m.gamma, m.rho, m.P, m.E, m.Pi, m.K
V, Q, A = voc.evaluation(m)
d = W.define("d", (1 - g) * rho * K, "the occupancy")
J = W.define("J", rho * V, "the objective")
equation = voc.equations(W)
without = W.changed(drop=(voc.SUM_TO_ONE,), draw={"Pi": "measure"})

CLAIM = dv.Claim(
    id="policy-hessian",
    title="The Hessian of the objective: curvature of the policy, and twice its meeting with Q",
    source="Kakade (2001), A Natural Policy Gradient, equation 6.",
    assumptions=(
        dv.Assumption(r"the policy is twice differentiable in $\theta$; $\mathrm{d}$ is the "
                      "derivative in any one direction"),
        dv.Assumption("the probabilities sum to one in each state, for every θ", without,
                      "advantage", "weights that do not sum to one"),
    ),
    uses=("policy-gradient",),
    statements=(
        equation("action-value", "The derivative of the action values", D(Q),
                 ("R and P do not depend on θ", g * P * D(V)),
                 ("insert dV", g * P * K * D(Pi) * Q)),
        equation("value", "The second derivative of the values", D(D(V)),
                 ("differentiate V = ΠQ twice", D(D(Pi)) * Q + 2 * D(Pi) * D(Q) + Pi * D(D(Q))),
                 ("ddQ = γP ddV", D(D(Pi)) * Q + 2 * D(Pi) * D(Q) + g * Pi * P * D(D(V))),
                 ("solve for ddV", K * (D(D(Pi)) * Q + 2 * D(Pi) * D(Q)))),
        equation("hessian", "The Hessian", D(D(J)),
                 ("average over ρ", rho * K * (D(D(Pi)) * Q + 2 * D(Pi) * D(Q))),
                 ("insert d", d * (D(D(Pi)) * Q + 2 * D(Pi) * D(Q)) / (1 - g)),
                 mistakes=[("the mixed term once", d * (D(D(Pi)) * Q + D(Pi) * D(Q)) / (1 - g)),
                           ("without the mixed term", d * D(D(Pi)) * Q / (1 - g)),
                           ("without 1/(1 − γ)", d * (D(D(Pi)) * Q + 2 * D(Pi) * D(Q)))]),
        equation("advantage", "With the advantage in the first term", D(D(J)),
                 ("the Hessian", d * (D(D(Pi)) * Q + 2 * D(Pi) * D(Q)) / (1 - g)),
                 ("ddΠ E = 0", d * (D(D(Pi)) * A + 2 * D(Pi) * D(Q)) / (1 - g))),
    ),
    covers="Identities for all numbers of states and actions in every direction u, with d the "
    "derivative along u; polarisation, ∇²J[u, v] = ¼(∇²J[u+v] − ∇²J[u−v]), gives the matrix "
    "1/(1 − γ) Σ d (∇²π Q + ∇π ∇Qᵀ + ∇Q ∇πᵀ). No sign is claimed: the Hessian is indefinite.",
    justifies=("npgcheck.gradient.policy_gradient",),
)
