"""The policy gradient theorem, with both normalisations and any baseline."""

from sympy import exp

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

D = dv.D
m = voc.mdp(derivatives=1)
W, g, rho, P, E, Pi, K = m.W, m.gamma, m.rho, m.P, m.E, m.Pi, m.K
V, Q, A = voc.evaluation(m)
b = W.letter("b", "S", "1", "any baseline, a number per state")
mu = W.define("mu", rho * K, "the unnormalised occupancy, a row that sums to 1/(1 − γ)")
d = W.define("d", (1 - g) * rho * K, "the normalised occupancy")
J = W.define("J", rho * V, "the objective")
equation = voc.equations(W)
without = W.changed(drop=(voc.SUM_TO_ONE,), draw={"Pi": "measure"})

S = dv.Setting.of("n", "the number of actions")
theta = S.family("theta", "log", "the logits of one state")
q = S.family("q", "real", "the action values of one state")
i, k, a = dv.bound("i k a")
c = dv.free("c")
pi = S.define("pi", i, exp(theta[i]) / S.sum(exp(theta[k]), k), "the probability of action i")
v = S.define("v", (), S.sum(pi[k] * q[k], k), "their mean")

CLAIM = dv.Claim(
    id="policy-gradient",
    title="The policy gradient theorem",
    source="Sutton, McAllester, Singh & Mansour (2000), start-state formulation.",
    assumptions=(
        dv.Assumption(r"only the policy depends on $\theta$, differentiably; $\mathrm{d}$ is the "
                      "derivative in any one direction, linear and with the product rule"),
        dv.Assumption("the probabilities sum to one in each state, for every θ", without,
                      "baseline", "weights that do not sum to one"),
        dv.Assumption(r"$I - \gamma \Pi P$ is invertible; $P$ may be any matrix"),
    ),
    uses=("bellman", "softmax-fisher"),
    statements=(
        equation("value", "The derivative of the values", D(V),
                 ("differentiate V = ΠQ", D(Pi) * Q + Pi * D(Q)),
                 ("R and P do not depend on θ: dQ = γP dV", D(Pi) * Q + g * Pi * P * D(V)),
                 ("solve for dV", K * D(Pi) * Q),
                 mistakes=[("dQ forgotten", D(Pi) * Q)]),
        equation("unnormalised", "The theorem, unnormalised occupancy", D(J),
                 ("ρ does not depend on θ", rho * D(V)),
                 ("insert dV", rho * K * D(Pi) * Q), ("insert μ", mu * D(Pi) * Q),
                 mistakes=[("with a factor 1/(1 − γ) too many", mu * D(Pi) * Q / (1 - g))]),
        equation("normalised", "The theorem, normalised occupancy", D(J),
                 ("the unnormalised form", mu * D(Pi) * Q),
                 ("d = (1 − γ)μ", d * D(Pi) * Q / (1 - g)),
                 mistakes=[("without 1/(1 − γ)", d * D(Pi) * Q)]),
        equation("baseline", "Any baseline", d * D(Pi) * (Q - E * b) / (1 - g),
                 ("split off the baseline", D(J) - d * D(Pi) * E * b / (1 - g)),
                 ("dΠ E = d(ΠE) = 0", D(J)),
                 mistakes=[("a baseline that is not multiplied", D(J) - d * b / (1 - g))]),
        equation("advantage", "With the advantage", D(J),
                 ("the baseline b = V", d * D(Pi) * A / (1 - g))),
        dv.Statement.chain(
            "softmax", "Softmax: the derivative of a mean by one logit of its state", S,
            (S.sum(dv.Partial(pi[a], theta[c]) * q[a], a), pi[c] * (q[c] - v)), free=(c,), steps=[
                ("dπ = π dlog π", S.sum(pi[a] * (dv.delta(a, c) - pi[c]) * q[a], a)),
                ("sum over the delta", pi[c] * q[c] - pi[c] * v),
                ("collect", pi[c] * (q[c] - v))],
            mistakes=[("the −π term is missing", pi[c] * q[c])]),
    ),
    covers="Identities for all numbers of states and actions, every differentiable policy and "
    "every direction. With the theorem the last gives ∂J/∂θ(s, a) = d(s) π(a|s) A(s, a)/(1 − γ). "
    "That V is differentiable follows from K being an inverse; it is not derived here.",
    justifies=("npgcheck.gradient.policy_gradient",),
)
