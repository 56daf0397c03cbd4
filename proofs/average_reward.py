"""Average reward: the policy gradient and the performance difference, without a discount."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

D = dv.D
W = dv.Words({"S": "the number of states", "A": "the number of actions"}, derivatives=1)
one = W.letter("1_S", "S", "1", "ones, one per state", r"\mathbf{1}_S", draw="ones")
ones = W.letter("1_SA", "SA", "1", "ones, per state and action", r"\mathbf{1}_{SA}", draw="ones")
E = W.letter("E", "SA", "S", "a function of s, read at (s, a)", draw="selector")
P = W.letter("P", "SA", "S", "P(s′ | s, a)", draw="stochastic")
R = W.letter("R", "SA", "1", "expected rewards")


def chain(mark, varies):
    tex = voc.MARKS[mark]
    Pi = W.letter(f"Pi{mark}", "S", "SA", "the policy", rf"\Pi{tex}", draw="policy", varies=varies)
    d = W.letter(f"d{mark}", "1", "S", "the stationary distribution, a row", f"d{tex}",
                 draw=voc.stationary(f"Pi{mark}"), varies=varies)
    eta = W.letter(f"eta{mark}", "1", "1", "the average reward", rf"\eta{tex}",
                   draw=voc.average(f"Pi{mark}"), varies=varies)
    V = W.letter(f"V{mark}", "S", "1", "differential values", f"V{tex}",
                 draw=voc.differential_values(f"Pi{mark}", f"eta{mark}"), varies=varies)
    W.assume(f"probabilities sum to one {mark}", Pi * E, 1)
    W.assume(f"stationarity {mark}", d * Pi * P, d)
    W.assume(f"d sums to one {mark}", d * one, 1)
    W.assume(f"the Bellman equation {mark}", V + one * eta, Pi * R + Pi * P * V)
    Q = W.define(f"Q{mark}", R - ones * eta + P * V, "differential action values", f"Q{tex}")
    return Pi, d, eta, V, Q


W.assume("the rows of P sum to one", P * one, ones)
W.assume("E repeats ones", E * one, ones)
Pi, d, eta, V, Q = chain("", varies=True)
Pi2, d2, eta2, V2, Q2 = chain("′", varies=False)
A = W.define("A", Q - E * V, "advantages")
equation = voc.equations(W)
without = W.changed(drop=("stationarity ",), draw={"d": "stochastic"})

CLAIM = dv.Claim(
    id="average-reward",
    title="Average reward: ∇η is a mean over the stationary distribution, with no prefactor",
    source="Kakade (2001), equation 1; Sutton et al. (2000), for average reward.",
    assumptions=(
        dv.Assumption("the chain of the policy has one stationary distribution $d$, and both it "
                      "and the differential values are differentiable"),
        dv.Assumption("$d$ is stationary", without, "average", "any distribution d"),
    ),
    uses=(),
    statements=(
        equation("average", "The average reward is a mean of rewards", eta,
                 ("multiply the Bellman equation by d", d * (Pi * R + Pi * P * V - V)),
                 ("d is stationary", d * Pi * R)),
        equation("mean", "V is the mean of Q", V,
                 ("the Bellman equation", Pi * R + Pi * P * V - one * eta), ("collect", Pi * Q)),
        equation("gradient", "The policy gradient", D(eta),
                 ("differentiate the Bellman equation, multiply by d",
                  d * (D(Pi) * (R + P * V) + Pi * P * D(V) - D(V))),
                 ("d is stationary", d * D(Pi) * (R + P * V)),
                 ("dΠ 1 = 0", d * D(Pi) * Q),
                 mistakes=[("the derivative of the rewards alone", d * D(Pi) * R)]),
        equation("advantage", "With the advantage", D(eta),
                 ("the policy gradient", d * D(Pi) * Q), ("dΠ E = 0", d * D(Pi) * A)),
        equation("difference", "The performance difference", eta2 - eta,
                 ("d′ is stationary", d2 * (Pi2 * R + Pi2 * P * V - V - one * eta)),
                 ("collect the advantage", d2 * Pi2 * A),
                 mistakes=[("the old distribution", d * Pi2 * A)]),
    ),
    covers="Identities for all numbers of states and actions. That d and V exist and are "
    "differentiable (for a unichain they are, by the implicit function theorem), and the limit "
    "(1 − γ)∇J_γ → ∇η as γ → 1, are not derived here.",
    justifies=("npgcheck.average_reward.average_reward_gradient",),
)
