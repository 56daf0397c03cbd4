"""When the Fisher matrix is a Hessian, and when it is not."""

from sympy import Rational, exp, log

from npgcheck import derivation as dv

S = dv.Setting.of("n", "the number of actions")
t = S.parameter("t")
theta = S.family("theta", "log", "the logits")
omega = S.family("omega", "log", "the logits of a fixed distribution")
eps = S.family("varepsilon", "real", "the direction of the change")
i, j, k, a = dv.bound("i j k a")
pi = S.define("pi", i, exp(theta[i]) / S.sum(exp(theta[k]), k), "the policy")
p = S.define("p", i, exp(omega[i]) / S.sum(exp(omega[k]), k), "the fixed distribution")
new = S.define("pi^t", i, exp(theta[i] + t * eps[i]) / S.sum(exp(theta[k] + t * eps[k]), k),
               "the policy at θ + tε")
variance = S.sum(pi[k] * eps[k] ** 2, k) - S.sum(pi[k] * eps[k], k) ** 2
F = S.define("F", (i, j), pi[i] * dv.delta(i, j) - pi[i] * pi[j], "the Fisher matrix of π")
form = S.sum(eps[i] * F[i, j] * eps[j], i, j)

B = dv.Setting.of("m", "nothing: the statements are about numbers")
s = B.parameter("t")
b = B.define("p", (), exp(s) / (3 + exp(s)), "the probability of the arm that pays 1")
first, second = dv.Coefficient(b, s, 1), 2 * dv.Coefficient(b, s, 2)
fisher = B.define("F", (), Rational(1, 4) * dv.Coefficient(log(b), s, 1) ** 2 + Rational(3, 4)
                  * dv.Coefficient(log(1 / (3 + exp(s))), s, 1) ** 2, "E score², at p = ¼")


def number(name, title, left, *steps, mistakes=()):
    return dv.Statement.chain(name, title, B, (left, steps[-1][1]), steps, mistakes=mistakes)


CLAIM = dv.Claim(
    id="newton",
    title="The Fisher matrix is the Hessian of KL from any target, not of the objective",
    source="Kakade (2001) calls natural gradients and Newton steps analogous; derived here.",
    assumptions=(
        dv.Assumption(r"softmax with $n \ge 1$ actions; log-linear policies are the directions "
                      r"$\varepsilon = \Phi v$"),
        dv.Assumption(r"the bandit: two arms, rewards 1 and 0, $p = e^t/(3 + e^t)$, so $p = 1/4$ "
                      r"at $t = 0$"),
    ),
    uses=("softmax-fisher",),
    statements=(
        dv.Statement.chain(
            "forward", "Towards any target, the Hessian of KL is F at every θ", S,
            (dv.Coefficient(-dv.Expect(log(new[a]), a, p), t, 2), form / 2), [
                ("log p does not depend on θ; expand the normaliser", variance / 2),
                ("a variance is εᵀFε", form / 2)],
            mistakes=[("the whole form", form)]),
        dv.Statement.chain(
            "reverse-at-target", "From π to a target, the Hessian is F at the target itself", S,
            (dv.Coefficient(dv.Expect(log(new[a]) - log(pi[a]), a, new), t, 2), form / 2), [
                ("expand", variance / 2), ("a variance is εᵀFε", form / 2)]),
        number("slope", "The slope of the bandit", first, ("p′ = p(1 − p)", Rational(3, 16))),
        number("curvature", "Its curvature", second, ("p″ = p(1 − p)(1 − 2p)", Rational(3, 32)),
               mistakes=[("minus the Fisher information", Rational(-3, 16))]),
        number("information", "Its Fisher information", fisher, ("p(1 − p)", Rational(3, 16))),
        number("newton-step", "Newton's step goes downhill", -first / second,
               ("insert both", Rational(-2))),
        number("natural-step", "The natural step goes uphill", first / fisher, ("insert both", 1)),
    ),
    covers="The first two for every n, as second derivatives along every line, which is the "
    "Hessian by polarisation; the reverse divergence has another Hessian away from its target. The "
    "bandit is one instance, enough to refute F = −∇²J. At a soft optimum −∇²J = τF/(1 − γ): see "
    "the entropy-regularised gradient.",
    justifies=("npgcheck.fisher.fisher", "npgcheck.natural.natural_gradient"),
)
