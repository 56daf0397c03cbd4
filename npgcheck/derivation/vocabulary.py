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

from npgcheck.derivation.claim import Statement
from npgcheck.derivation.words import D, Words

SUM_TO_ONE = "the probabilities of each state sum to one"


def mdp(derivatives: int = 0, rows: bool = True, **known: Any) -> SimpleNamespace:
    """A setting `W` with the letters gamma, P, R, E, Pi, K, rho and the vectors one, ones.

    Args:
        derivatives: how many derivatives in θ the statements take; only the policy depends on θ.
        rows: whether the rows of P and ρ are assumed to sum to one.
        known: further fields of `Words`.
    """
    W = Words({"S": "the number of states", "A": "the number of actions"}, derivatives, **known)
    m = SimpleNamespace(W=W)
    m.gamma = W.scalar("gamma", "unit", "the discount factor, 0 ≤ γ < 1")
    m.one = W.letter("1_S", "S", "1", "ones, one per state", r"\mathbf{1}_S", draw="ones")
    m.ones = W.letter("1_SA", "SA", "1", "ones, per state and action", r"\mathbf{1}_{SA}", draw="ones")
    drawn = "stochastic" if rows else "free"
    m.P = W.letter("P", "SA", "S", "P(s′ | s, a)", draw=drawn, nonnegative=rows)
    m.E = W.letter("E", "SA", "S", "a function of s, read at (s, a)", draw="selector", nonnegative=True)
    m.R = W.letter("R", "SA", "1", "expected rewards")
    m.rho = W.letter("rho", "1", "S", "initial distribution, a row", r"\rho", draw=drawn, nonnegative=rows)
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
    W, tex = m.W, f"^{{{mark}}}" if mark else ""
    known = {"varies": varies, "nonnegative": True}
    Pi = W.letter(f"Pi{mark}", "S", "SA", "π(a | s) at (s, (s, a))", rf"\Pi{tex}", draw="policy", **known)
    name = SUM_TO_ONE + (f" ({mark})" if mark else "")
    W.assume(name, Pi * m.E, 1)
    K = W.inverse(f"K{mark}", 1 - m.gamma * Pi * m.P, "S", "Σ_t γᵗ (ΠP)ᵗ", f"K{tex}", **known)
    return Pi, K


def evaluation(m: SimpleNamespace, mark: str = "") -> tuple[Any, Any, Any]:
    """Defines V = KΠR, Q = R + γPV and A = Q − EV of the policy with that mark."""
    W, tex = m.W, f"^{{{mark}}}" if mark else ""
    at = {n: W.letters[n + mark].symbol for n in ("Pi", "K")}
    V = W.define(f"V{mark}", at["K"] * at["Pi"] * m.R, "values", f"V{tex}")
    Q = W.define(f"Q{mark}", m.R + m.gamma * m.P * V, "action values", f"Q{tex}")
    A = W.define(f"A{mark}", Q - m.E * V, "advantages", f"A{tex}")
    return V, Q, A


def log_policy(m: SimpleNamespace, mark: str = "", varies: bool = False) -> Any:
    """Adds the vector ℓ of log-probabilities, known by π dℓ = dπ alone."""
    tex = rf"\ell^{{{mark}}}" if mark else r"\ell"
    Pi = m.W.letters[f"Pi{mark}"].symbol
    draw = _logarithms if varies else "free"
    ell = m.W.letter(f"ell{mark}", "SA", "1", "log π(a | s)", tex, varies=varies, draw=draw)
    if varies:
        m.W.assume("E_π ∇log π = 0", Pi * D(ell), 0)
    return ell


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
        return [
            sum(d[j] @ Pi[k - j] for j in range(k + 1)) @ R for k in range(model.length)
        ]

    return draw


def differential_values(policy: str, average: str) -> Any:
    """A draw: V with V + 1η = ΠR + ΠPV, the solution whose entries have mean zero."""

    def draw(model: Any) -> list[Any]:
        inverse = model.invert(_deflated(model, policy))
        Pi, eta = model.values[policy], model.values[average]
        one, R = model.constant(("S", "1"), 1), model.values["R"][0]
        right = [p @ R - one @ e for p, e in zip(Pi, eta, strict=True)]
        return [
            sum(inverse[j] @ right[k - j] for j in range(k + 1)) for k in range(model.length)
        ]

    return draw


def _deflated(model: Any, policy: str) -> list[Any]:
    """I − ΠP + 1u, invertible where the chain has one recurrent class."""
    size, P = model.count("S"), model.values["P"][0]
    out = [-(Pi @ P) for Pi in model.values[policy]]
    out[0] = out[0] + model.one() / size
    for s in range(size):
        out[0][s, s] = out[0][s, s] + model.one()
    return out
