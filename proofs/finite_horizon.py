"""Finite horizon: the policy gradient and the performance difference, stage by stage."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

D = dv.D
W = dv.Words({"S": "the number of states", "A": "the number of actions"}, derivatives=1)
E = W.letter("E", "SA", "S", "a function of s, read at (s, a)", draw="selector")
P = W.letter("P_h", "SA", "S", "transitions of stage h", draw="stochastic")
R = W.letter("R_h", "SA", "1", "rewards of stage h")
known = {"varies": True, "draw": "policy"}
Pi = W.letter("Pi_h", "S", "SA", "the policy of stage h", **known)
Pi2 = W.letter("Pi_h'", "S", "SA", "another policy", r"\Pi_h^{\prime}", **known)
after = {n: W.letter(f"V_h+1{n}", "S", "1", f"values of {w} policy from stage h + 1 on",
                     f"V_{{h+1}}{t}", varies=True)
         for n, w, t in (("", "the", ""), ("'", "the other", r"^{\prime}"))}
d = W.letter("d_h", "1", "S", "the distribution of states at stage h", varies=True)
d2 = W.letter("d_h'", "1", "S", "the same for the other policy", r"d_h^{\prime}", varies=True)
W.assume("the probabilities of each state sum to one", Pi * E, 1)
W.assume("the other policy's as well", Pi2 * E, 1)
Q = W.define("Q_h", R + P * after[""], "action values at stage h")
V = W.define("V_h", Pi * Q, "values at stage h")
V2 = W.define("V_h'", Pi2 * (R + P * after["'"]), "values of the other policy", r"V_h^{\prime}")
A = W.define("A_h", Q - E * V, "advantages at stage h")
dn = W.define("d_h+1", d * Pi * P, "the distribution one stage on", "d_{h+1}")
dn2 = W.define("d_h+1'", d2 * Pi2 * P, "the same for the other policy", r"d_{h+1}^{\prime}")
stage = voc.equations(W)
without = W.changed(drop=("the other policy's as well",), draw={"Pi_h'": "measure"})

N = dv.Words({"S": "the number of pairs (stage, state)", "A": "the number of actions"}, 1)
n = {"P": N.letter("P", "SA", "S", "transitions to the next stage", draw="strictly later"),
     "R": N.letter("R", "SA", "1", "rewards"), "rho": N.letter("rho", "1", "S", "start, a row"),
     "Pi": N.letter("Pi", "S", "SA", "the policy of every stage", **known)}
K = N.inverse("K", 1 - n["Pi"] * n["P"], "S", "Σ_h (ΠP)^h, a finite sum", "K", varies=True)
NV = N.define("V", K * n["Pi"] * n["R"], "values")
NQ = N.define("Q", n["R"] + n["P"] * NV, "action values")
whole = voc.equations(N)

CLAIM = dv.Claim(
    id="finite-horizon",
    title="Finite horizon: gradient and performance difference, with γ = 1 and no prefactor",
    source="Sutton et al. (2000) and Kakade & Langford (2002), stage by stage.",
    assumptions=(
        dv.Assumption(r"stages $h = 0, \dots, H - 1$; policy, rewards and transitions may depend "
                      r"on $h$; $V_H = 0$"),
        dv.Assumption("the probabilities of each policy sum to one in each state", without,
                      "difference", "weights that do not sum to one"),
    ),
    uses=(),
    statements=(
        stage("gradient", "One stage of the gradient", d * D(V),
              ("differentiate V = ΠQ", d * D(Pi) * Q + d * Pi * D(Q)),
              ("rewards and transitions do not depend on θ",
               d * D(Pi) * Q + d * Pi * P * D(after[""])),
              ("the state moves on", d * D(Pi) * Q + dn * D(after[""])),
              mistakes=[("the state does not move on", d * D(Pi) * Q + d * D(after[""]))]),
        stage("baseline", "A baseline per stage and state", d * D(Pi) * Q,
              ("dΠ E = 0", d * D(Pi) * A)),
        stage("difference", "One stage of the performance difference", d2 * (V2 - V),
              ("insert both values", d2 * Pi2 * (Q - E * V) + dn2 * (after["'"] - after[""])),
              ("collect the advantage", d2 * Pi2 * A + dn2 * (after["'"] - after[""])),
              mistakes=[("the old distribution", d * Pi2 * A + dn2 * (after["'"] - after[""]))]),
        whole("all-stages", "All stages at once", n["rho"] * D(NV),
              ("states are pairs (stage, state): P leads to the next stage, so K exists with γ = 1",
               n["rho"] * K * D(n["Pi"]) * NQ),
              mistakes=[("without the visits", n["rho"] * D(n["Pi"]) * NQ)]),
    ),
    covers="Identities for every H, all numbers of states and actions, and policies that change "
    "with the stage. Adding the stages up telescopes to dJ = Σ_h d_h dΠ_h Q_h and J′ − J = "
    "Σ_h d′_h Π′_h A_h: an induction over h, not judged here, whose step is. The last statement is "
    "the same sum by another route.",
    justifies=("npgcheck.average_reward.finite_horizon_gradient",),
)
