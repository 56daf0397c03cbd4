"""Entropy regularisation: what a step improves, exactly."""

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc

m = voc.mdp()
W, g, rho, P, R, E, Pi, K = m.W, m.gamma, m.rho, m.P, m.R, m.E, m.Pi, m.K
NEW = "′"
tau = W.scalar("tau", "positive", "the temperature")
eta = W.scalar("eta", "positive", "the step size")
Pi2, K2 = voc.policy(m, NEW)
ell = voc.log_policy(m)
V, Q, A = voc.evaluation(m, bonus=-tau * ell)
z = W.letter("z", "S", "1", "the logarithms of the normalisers")
step = (1 - eta * tau / (1 - g)) * ell + eta / (1 - g) * Q - E * z
ell2 = W.letter(f"ell{NEW}", "SA", "1", "log π′(a | s)", r"\ell^{\prime}", draw=step, weight=9)
V2, Q2, A2 = voc.evaluation(m, NEW, bonus=-tau * ell2)
new_old = W.define("KL(new|old)", Pi2 * (ell2 - ell), "KL(π′ ‖ π) in each state",
                   r"\mathrm{KL}^{\prime}")
old_new = W.define("KL(old|new)", Pi * (ell - ell2), "KL(π ‖ π′) in each state", r"\mathrm{KL}")
d2 = W.define("d'", (1 - g) * rho * K2, "the occupancy of π′", r"d^{\prime}")
free = W.changed()
W.assume("the step", ell2, step)
any_policies, after_step = voc.equations(free), voc.equations(W)
without = W.changed(drop=("the step",), draw={f"ell{NEW}": "free"})
one_sided = (1 / eta - tau / (1 - g)) * new_old

CLAIM = dv.Claim(
    id="soft-improvement",
    title="The soft performance difference, and the exact gain of a regularised natural step",
    source="The step: Cen, Cheng, Chen, Wei & Chi (2022); the identity is derived here.",
    assumptions=(
        dv.Assumption(r"rewards $R - \tau \log \pi$, $\tau > 0$, $0 \le \gamma < 1$"),
        dv.Assumption(r"step $\pi' \propto \pi^{1 - \eta\tau/(1-\gamma)} e^{\eta Q/(1-\gamma)}$",
                      without, "gain", "any new policy"),
    ),
    uses=("bellman", "performance-difference"),
    statements=(
        any_policies("difference", "The soft performance difference", V2 - V,
                     ("V = K′(I − γΠ′P)V", K2 * (Pi2 * (Q - tau * ell2) - V)),
                     ("split ℓ′ = ℓ + (ℓ′ − ℓ), and Π′E = I", K2 * (Pi2 * A - tau * new_old)),
                     mistakes=[("without the divergence", K2 * Pi2 * A),
                               ("the divergence the other way round",
                                K2 * (Pi2 * A - tau * old_new))]),
        after_step("advantage", "The step says what the advantage is", eta * A / (1 - g),
                   ("solve the step for Q", ell2 - ell + E * (z - eta * V / (1 - g)))),
        after_step("gain-per-state", "The gain in every state", V2 - V,
                   ("the soft performance difference", K2 * (Pi2 * A - tau * new_old)),
                   ("ΠA = 0", K2 * ((Pi2 - Pi) * A - tau * new_old)),
                   ("insert the advantage",
                    K2 * ((1 - g) / eta * (Pi2 - Pi) * (ell2 - ell) - tau * new_old)),
                   ("collect the divergences", (1 - g) * K2 * (one_sided + old_new / eta))),
        after_step("gain", "The gain, averaged", rho * V2 - rho * V,
                   ("average over ρ", (1 - g) * rho * K2 * (one_sided + old_new / eta)),
                   ("insert d′", d2 * (one_sided + old_new / eta)),
                   mistakes=[("without the temperature", d2 * (new_old + old_new) / eta),
                             ("one divergence only", d2 * one_sided)]),
    ),
    covers="Identities for all numbers of states and actions and every η > 0. The gain is not "
    "negative for η ≤ (1 − γ)/τ, because divergences are not: Gibbs' inequality, not derived here.",
    justifies=("npgcheck.entropy.soft_evaluation", "npgcheck.entropy.regularised_step"),
)
