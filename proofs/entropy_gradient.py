"""Entropy regularisation: the soft policy gradient, and the Hessian at the soft optimum."""

from sympy import exp, log

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

D = dv.D
m = voc.mdp(derivatives=2)
W, g, rho, P, E, Pi, K = m.W, m.gamma, m.rho, m.P, m.E, m.Pi, m.K
tau = W.scalar("tau", "positive", "the temperature")
ell = voc.log_policy(m, varies=True)
V, Q, A = voc.evaluation(m, bonus=-tau * ell)
d = W.define("d", (1 - g) * rho * K, "the occupancy")
J = W.define("J", rho * V, "the regularised objective")
soft = voc.equations(W)
measure = W.changed(drop=(voc.SUM_TO_ONE, voc.MEAN_SCORE), draw={"Pi": "measure"})

o = voc.mdp(derivatives=2, rewards=False)
Wo, h, Pi_o, K_o = o.W, o.gamma, o.Pi, o.K
tau_o = Wo.scalar("tau", "positive", "the temperature")
ell_o = voc.log_policy(o, varies=True)
v = Wo.letter("v", "S", "1", "the optimal soft values, as numbers")
Wo.letter("R", "SA", "1", "expected rewards", draw=tau_o * ell_o + o.E * v - h * o.P * v, weight=9)
o.R = Wo.letters["R"].symbol
Wo.assume("the policy is soft-optimal", o.R + h * o.P * v - o.E * v, tau_o * ell_o, point=True)
V_o, Q_o, A_o = voc.evaluation(o, bonus=-tau_o * ell_o)
d_o = Wo.define("d", (1 - h) * o.rho * K_o, "the occupancy")
J_o = Wo.define("J", o.rho * V_o, "the regularised objective")
optimum = voc.equations(Wo)
elsewhere = Wo.changed(drop=("the policy is soft-optimal",), draw={"R": "free"})

S = dv.Setting.of("n", "the number of actions")
theta = S.family("theta", "log", "the logits of one state")
i, k, a, = dv.bound("i k a")
b, c = dv.free("b c")
pi = S.define("pi", i, exp(theta[i]) / S.sum(exp(theta[k]), k), "the probability of action i")

CLAIM = dv.Claim(
    id="entropy-gradient",
    title="The soft policy gradient; at the soft optimum the Hessian is −τF/(1 − γ)",
    source="The gradient: Mei et al. (2020) in tabular form; the Hessian is derived here.",
    assumptions=(
        dv.Assumption(r"rewards $R - \tau \log \pi$, $\tau > 0$; $\ell = \log \pi$ enters through "
                      r"$\Pi \, \mathrm{d} \ell = 0$ alone, the mean of the score"),
        dv.Assumption("the probabilities sum to one in each state, which is why scores have mean "
                      "zero", measure, "advantage", "weights that do not sum to one"),
        dv.Assumption(r"at the optimum, $Q - \tau \ell = E V$", elsewhere, "hessian",
                      "any other policy"),
    ),
    uses=("policy-gradient", "softmax-fisher"),
    statements=(
        soft("value", "The soft Bellman equation", V,
             ("split off the first reward", Pi * (R := m.R) - tau * Pi * ell + g * Pi * P * V),
             ("collect", Pi * (Q - tau * ell))),
        soft("gradient", "The soft policy gradient", D(J),
             ("differentiate, E_π ∇log π = 0", rho * K * D(Pi) * (Q - tau * ell)),
             ("insert d", d * D(Pi) * (Q - tau * ell) / (1 - g)),
             mistakes=[("without the entropy of the present state", d * D(Pi) * Q / (1 - g)),
                       ("without 1/(1 − γ)", d * D(Pi) * (Q - tau * ell))]),
        soft("advantage", "With the soft advantage", D(J),
             ("the soft policy gradient", d * D(Pi) * (Q - tau * ell) / (1 - g)),
             ("dΠ E = 0", d * D(Pi) * A / (1 - g))),
        optimum("stationary", "The gradient vanishes at the soft optimum", D(J_o),
                ("the soft policy gradient, and Q − τℓ = EV", d_o * D(Pi_o) * o.E * v / (1 - h)),
                ("dΠ E = 0", 0)),
        optimum("hessian", "The Hessian at the soft optimum", -D(D(J_o)),
                ("only the slope of ℓ is left", tau_o * d_o * D(Pi_o) * D(ell_o) / (1 - h)),
                mistakes=[("twice as much", 2 * tau_o * d_o * D(Pi_o) * D(ell_o) / (1 - h))]),
        dv.Statement.chain(
            "fisher", "Σ dπ dlog π is the Fisher matrix", S,
            (S.sum(dv.Partial(pi[a], theta[b]) * dv.Partial(log(pi[a]), theta[c]), a),
             dv.Expect(dv.Partial(log(pi[a]), theta[b]) * dv.Partial(log(pi[a]), theta[c]), a, pi)),
            [("dπ = π dlog π", dv.Expect(dv.Partial(log(pi[a]), theta[b])
                                         * dv.Partial(log(pi[a]), theta[c]), a, pi))], (b, c)),
    ),
    covers="Identities for all numbers of states and actions. The last three say −∇²J = τF/(1 − γ) "
    "at the soft optimum, F weighted by d; elsewhere the Hessian is indefinite in general.",
    justifies=("npgcheck.entropy.soft_policy_gradient",),
)
