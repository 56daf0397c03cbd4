"""The letters of a Markov decision process in matrix form, shared by the proof files.

One row per state and action where a quantity depends on both, so that every recursion is a product:

    P (SA, S)   transitions          E (SA, S)   a function of the state, read at state and action
    Π (S, SA)   the policy: (Π x)(s) = Σ_a π(a|s) x(s, a), so P_π = ΠP, r_π = ΠR, and ΠE = I
    K (S, S)    (I − γΠP)⁻¹          ρ (1, S)    the initial distribution

Rewards may be any numbers; the equations below are all that is assumed of the matrices.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from npgcheck.derivation.claim import Statement
from npgcheck.derivation.words import D, Words

SUM_TO_ONE = "the probabilities of each state sum to one"
MEAN_SCORE = "E_π ∇log π = 0"
MARKS = {"": "", "′": r"^{\prime}", "⋆": r"^{\star}"}
"""What tells policies apart, in names and in TeX."""


def mdp(
    derivatives: int = 0, rows: bool = True, rewards: bool = True, **known: Any
) -> SimpleNamespace:
    """A setting `W` with the letters gamma, P, R, E, Pi, K, rho and the vectors one, ones.

    Args:
        derivatives: how many derivatives in θ the statements take; only the policy depends on θ.
        rows: whether the rows of P and ρ are assumed to sum to one.
        rewards: whether R is added here, or later by the file, as what makes a policy optimal.
        known: further fields of `Words`.
    """
    W = Words({"S": "the number of states", "A": "the number of actions"}, derivatives, **known)
    m = SimpleNamespace(W=W)
    m.gamma = W.scalar("gamma", "unit", "the discount factor, 0 ≤ γ < 1")
    m.one = W.letter(
        "1_S", "S", "1", "ones, one per state", r"\mathbf{1}_S", draw="ones", nonnegative=True
    )
    m.ones = W.letter(
        "1_SA",
        "SA",
        "1",
        "ones, per state and action",
        r"\mathbf{1}_{SA}",
        draw="ones",
        nonnegative=True,
    )
    drawn = "stochastic" if rows else "free"
    m.P = W.letter("P", "SA", "S", "P(s′ | s, a)", draw=drawn, nonnegative=rows)
    m.E = W.letter(
        "E", "SA", "S", "a function of s, read at (s, a)", draw="selector", nonnegative=True
    )
    if rewards:
        m.R = W.letter("R", "SA", "1", "expected rewards")
    m.rho = W.letter(
        "rho", "1", "S", "initial distribution, a row", r"\rho", draw=drawn, nonnegative=rows
    )
    W.assume("E repeats ones", m.E * m.one, m.ones)
    if rows:
        W.assume("the rows of P sum to one", m.P * m.one, m.ones)
        W.assume("ρ sums to one", m.rho * m.one, 1)
    m.Pi, m.K = policy(m, varies=derivatives > 0)
    return m


def equations(setting: Any) -> Any:
    """A function that makes a statement of that setting, whose last step is its right-hand side."""

    def equation(name: str, title: str, left: Any, *steps: Any, **rest: Any) -> Statement:
        return Statement.chain(name, title, setting, (left, steps[-1][1]), steps, **rest)

    return equation


def policy(m: SimpleNamespace, mark: str = "", varies: bool = False) -> tuple[Any, Any]:
    """Adds a policy Π and K = (I − γΠP)⁻¹ to a setting; `mark` tells several policies apart."""
    W, tex = m.W, MARKS[mark]
    known = {"varies": varies, "nonnegative": True}
    Pi = W.letter(
        f"Pi{mark}", "S", "SA", "π(a | s) at (s, (s, a))", rf"\Pi{tex}", draw="policy", **known
    )
    name = SUM_TO_ONE + (f" ({mark})" if mark else "")
    W.assume(name, Pi * m.E, 1)
    K = W.inverse(f"K{mark}", 1 - m.gamma * Pi * m.P, "S", "Σ_t γᵗ (ΠP)ᵗ", f"K{tex}", **known)
    return Pi, K


def evaluation(m: SimpleNamespace, mark: str = "", bonus: Any = 0) -> tuple[Any, Any, Any]:
    """Defines V, Q and A of the policy with that mark.

    V = KΠ(R + bonus), Q = R + γPV, A = Q + bonus − EV; the bonus is −τℓ under entropy.
    """
    W, tex = m.W, MARKS[mark]
    at = {n: W.letters[n + mark].symbol for n in ("Pi", "K")}
    V = W.define(f"V{mark}", at["K"] * at["Pi"] * (m.R + bonus), "values", f"V{tex}")
    Q = W.define(f"Q{mark}", m.R + m.gamma * m.P * V, "action values", f"Q{tex}")
    A = W.define(f"A{mark}", Q + bonus - m.E * V, "advantages", f"A{tex}")
    return V, Q, A


def log_policy(m: SimpleNamespace, mark: str = "", varies: bool = False) -> Any:
    """Adds the vector ℓ of log-probabilities, known by π dℓ = dπ alone."""
    tex = rf"\ell{MARKS[mark]}"
    Pi = m.W.letters[f"Pi{mark}"].symbol
    draw = _logarithms if varies else "free"
    ell = m.W.letter(f"ell{mark}", "SA", "1", "log π(a | s)", tex, varies=varies, draw=draw)
    if varies:
        m.W.assume(MEAN_SCORE, Pi * D(ell), 0)
    return ell


def log_pair(m: SimpleNamespace, mark: str) -> tuple[Any, Any]:
    """Two vectors ℓ and ℓ′ in place of log π and log π′, with both divergences nonnegative.

    Nothing else about logarithms is used: in the models ℓ′ − ℓ is π′ − π less a mean of its means
    under π and π′, so that Π′(ℓ′ − ℓ) and Π(ℓ − ℓ′) are a tenth and nine tenths of Σ (π′ − π)².
    """
    ell = log_policy(m)
    tex, policies = rf"\ell{MARKS[mark]}", ("Pi", f"Pi{mark}")
    known = {"draw": lambda model: [_tilted(model, *policies)]}
    return ell, m.W.letter(f"ell{mark}", "SA", "1", "log π′(a | s)", tex, **known)


def _tilted(model: Any, old: str, new: str) -> Any:
    Pi, Pi2, E = (model.values[name][0] for name in (old, new, "E"))
    change = (Pi2 - Pi).sum(axis=0)[:, None]
    means = (Pi + Pi2 * 9) @ change * (model.one() / 10)
    return model.values["ell"][0] + change - E @ means


def rewards_with_values(model: Any) -> list[Any]:
    """A draw of R: advantages with mean zero under Π and otherwise free, for the values in V."""
    Pi, E, P, V = (model.values[name][0] for name in ("Pi", "E", "P", "V"))
    A = model.random(("SA", "1"))
    return [A - E @ (Pi @ A) + E @ V - P @ V * model.scalars["gamma"]]


def _logarithms(model: Any) -> list[Any]:
    # dℓ = dπ/π entry by entry, from the series of π: (kℓ_k)π_0 = kπ_k − Σ_{0<j<k} jℓ_j π_{k−j}
    pi = [matrix.sum(axis=0)[:, None] for matrix in model.values["Pi"]]
    out = [model.random(("SA", "1"))]
    for k in range(1, model.length):
        rest = sum((out[j] * pi[k - j] * j for j in range(1, k)), pi[k] * 0)
        out.append((pi[k] * k - rest) / pi[0] * (model.one() / k))
    return out


def stationary(policy: str) -> Any:
    """A draw: the stationary distribution of ΠP, d(I − ΠP + 1u) = u with u the mean of rows."""

    def draw(model: Any) -> list[Any]:
        inverse = model.invert(_deflated(model, policy))
        # u 1 = 1, so d = u(I − ΠP + 1u)⁻¹ satisfies dΠP = d and d 1 = 1
        size = model.count("S")
        return [(model.constant(("1", "S"), 1) * (model.one() / size)) @ x for x in inverse]

    return draw


def average(policy: str) -> Any:
    """A draw: η = dΠR with d stationary."""

    def draw(model: Any) -> list[Any]:
        d, Pi, R = stationary(policy)(model), model.values[policy], model.values["R"][0]
        return [sum(d[j] @ Pi[k - j] for j in range(k + 1)) @ R for k in range(model.length)]

    return draw


def differential_values(policy: str, average: str) -> Any:
    """A draw: V with V + 1η = ΠR + ΠPV, the solution whose entries have mean zero."""

    def draw(model: Any) -> list[Any]:
        inverse = model.invert(_deflated(model, policy))
        Pi, eta = model.values[policy], model.values[average]
        one, R = model.constant(("S", "1"), 1), model.values["R"][0]
        right = [p @ R - one @ e for p, e in zip(Pi, eta, strict=True)]
        return [sum(inverse[j] @ right[k - j] for j in range(k + 1)) for k in range(model.length)]

    return draw


def _deflated(model: Any, policy: str) -> list[Any]:
    """I − ΠP + 1u, invertible where the chain has one recurrent class."""
    size, P = model.count("S"), model.values["P"][0]
    out = [-(Pi @ P) for Pi in model.values[policy]]
    out[0] = out[0] + model.one() / size
    for s in range(size):
        out[0][s, s] = out[0][s, s] + model.one()
    return out


def weights(model: Any) -> list[Any]:
    """A draw: a diagonal matrix of positive weights."""
    size = model.count("SA")
    out = model.constant(("SA", "SA"))
    for i in range(size):
        out[i, i] = model.number(positive=True)
    return [out]


def centred_features(model: Any) -> list[Any]:
    """A draw: features whose mean under the weights M vanishes in each state."""
    E, M = (model.values[name][0] for name in ("E", "M"))
    free = model.random(("SA", "D"))
    return [free - E @ model.invert([E.T @ M @ E])[0] @ (E.T @ M @ free)]


def fitted(model: Any) -> list[Any]:
    """A draw: targets A whose best fit by Ψ under the weights M is w*."""
    Psi, M, best = (model.values[name][0] for name in ("Psi", "M", "w*"))
    free = model.random(("SA", "1"))
    inverse = model.invert([Psi.T @ M @ Psi])[0]
    return [Psi @ best + free - Psi @ (inverse @ (Psi.T @ M @ free))]


def lyapunov(loop: Any, entering: Any) -> Any:
    """A draw: the solution X of X = entering + γ · loop · X · loopᵀ."""

    def draw(model: Any) -> list[Any]:
        left, right = model.value(loop, None), model.value(entering, None)
        size, gamma = len(left[0]), model.scalars["gamma"]
        system = [
            -gamma * sum(np.kron(left[j], left[k - j]) for j in range(k + 1))
            for k in range(model.length)
        ]
        system[0] = system[0] + np.eye(size**2, dtype=int) * model.one()
        inverse = model.invert(system)
        return [
            sum(inverse[j] @ right[k - j].reshape(-1, 1) for j in range(k + 1)).reshape(size, size)
            for k in range(model.length)
        ]

    return draw
