"""Right subjects with one answer altered, the sentence that is true of it, and a twin of which it
is not: the two sides of facts, saying and judging, are tested on the same table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.controls.plant_cg import Stateful

Array = np.ndarray
#: (subject, problem, args, exact answer) → answer.
Change = Callable[[Any, Any, tuple[Any, ...], Any], Any]


class Tabular(ExactSoftmax):
    """Asked on tabular problems only."""

    families = frozenset({"tabular"})


class Features(ExactSoftmax):
    """Asked on problems with shared features only."""

    families = frozenset({"softmax"})


@dataclass(frozen=True)
class Plant:
    """One altered answer.

    Attributes:
        quantity: the function that is altered.
        sentence: what is to be said, whole.
        change: the alteration.
        twin: another one, of which the sentence is not true.
        base: the right pipeline.
    """

    quantity: str
    sentence: str
    change: Change
    twin: Change
    base: type = ExactSoftmax

    def __str__(self) -> str:
        return f"{self.quantity}: {self.sentence}"

    def subject(self, change: Change) -> Any:
        """The base with its answer changed."""
        right = getattr(self.base, self.quantity)
        pure = self.quantity in ("conjugate_gradient", "advantage_estimate")

        def altered(subject: Any, *args: Any) -> Any:
            problem, rest = (None, args) if pure else (args[0], args[1:])
            return change(subject, problem, rest, right(subject, *args))

        return type("Altered", (self.base,), {self.quantity: altered})()


def plus(number: float) -> Change:
    return lambda s, p, args, exact: exact + number


def times(number: float) -> Change:
    return lambda s, p, args, exact: number * np.asarray(exact)


def entry(function: Callable[[Array], Array]) -> Change:
    return lambda s, p, args, exact: function(np.asarray(exact))


def moved(function: Callable[[Any, Any, tuple[Any, ...], Array], Array]) -> Change:
    """A change of the way from θ to a point."""
    return lambda s, p, args, exact: p.theta + function(s, p, args, exact - p.theta)


def bent(strength: float) -> Change:
    """Wrong without a rule."""
    return lambda s, p, args, exact: (
        np.asarray(exact)
        * (1 + strength * np.cos(np.arange(np.size(exact)).reshape(np.shape(exact)) + 1))
    )


def spectral(read: Callable[[Array, Array], Array]) -> Change:
    """x = h(F) g along the eigenvectors of F."""

    def change(s: Any, p: Any, args: tuple[Any, ...], exact: Array) -> Array:
        values, vectors = np.linalg.eigh(s.fisher(p))
        kept = values > 1e-10 * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        return vectors @ (read(values, values) * (vectors.T @ s.policy_gradient(p)))

    return change


def other_theta(read: Callable[[Array], Array]) -> Change:
    return lambda s, p, args, exact: s.log_pi(p, read(p.theta))[args[0], args[1]]


def solved_chain(read: Callable[[Any, Any], Array], discount: float | None = None) -> Change:
    """V of another chain."""

    def change(s: Any, p: Any, args: tuple[Any, ...], exact: Array) -> Array:
        gamma = p.mdp.discount if discount is None else discount
        chain = read(s, p)
        return np.linalg.solve(np.eye(len(chain)) - gamma * chain, s.mean_reward(p))

    return change


def other_rewards(read: Callable[[Array], Array]) -> Change:
    """Q of other rewards."""

    def change(s: Any, p: Any, args: tuple[Any, ...], exact: Array) -> Array:
        rewards, pi, m = read(p.mdp.rewards), s.pi(p), p.mdp
        system = np.eye(len(pi)) - m.discount * s.chain(p)
        value = np.linalg.solve(system, (pi * rewards).sum(axis=1))
        return rewards + m.discount * m.transitions @ value

    return change


def weighted(read: Callable[[Any, Any], Array]) -> Change:
    """F of other state weights."""

    def change(s: Any, p: Any, args: tuple[Any, ...], exact: Array) -> Array:
        phi, joint = s.scores(p), read(s, p)[:, None] * s.pi(p)
        return np.einsum("sa,sad,sae->de", joint, phi, phi)

    return change


def other_q(read: Callable[[Array], Array]) -> Change:
    """The score with another q than π."""

    def change(s: Any, p: Any, args: tuple[Any, ...], exact: Array) -> Array:
        state, action = args
        v = -read(s.pi(p)[state])
        v[action] += 1.0
        return np.outer(p.observations[state], v).ravel()

    return change


def gae(
    residual: Callable[..., Array] | None = None,
    carry: Callable[[float, float], float] = lambda gamma, lam: gamma * lam,
) -> Change:
    """Generalised advantages with another residual, or another decay."""

    def change(s: Any, p: Any, args: tuple[Any, ...], exact: Array) -> Array:
        r, v, after, terminated, truncated, gamma, lam = args
        delta = r + gamma * np.where(terminated, 0.0, after) - v
        if residual is not None:
            delta = residual(delta, r, v, after, gamma, terminated, truncated)
        out, running = np.zeros(len(r)), 0.0
        for t in reversed(range(len(r))):
            if terminated[t] or truncated[t]:
                running = 0.0
            out[t] = running = delta[t] + carry(gamma, lam) * running
        return out

    return change


def at_zero_discount(change: Change) -> Change:
    """Only where γ ≥ 0.9."""
    return lambda s, p, args, exact: change(s, p, args, exact) if p.mdp.discount >= 0.9 else exact


def krylov(by: int) -> Change:
    """The iterate ``by`` steps further."""

    def change(s: Any, p: Any, args: tuple[Any, ...], exact: Array) -> Array:
        matvec, b, iterations = args
        return Stateful().conjugate_gradient(matvec, b, max(0, iterations + by))

    return change


def _column(s: Any, p: Any, args: Any, exact: Array) -> Array:
    out = exact.reshape(-1, p.num_actions).copy()
    out[:, -1] *= 1.5
    return out.ravel()


def _first_column(s: Any, p: Any, args: Any, exact: Array) -> Array:
    out = exact.reshape(-1, p.num_actions).copy()
    out[:, 0] *= 1.5
    return out.ravel()


def _bias(s: Any, p: Any, args: Any, exact: Array, which: int = 1) -> Array:
    out, at = exact.copy(), 0
    for i, (W, b) in enumerate(s.layers(p, p.theta)):
        at += W.size
        if i == which:
            out[at : at + b.size] *= 2.0
        at += b.size
    return out


def _sigma(s: Any, p: Any, args: Any, exact: Array) -> Array:
    out = exact.copy()
    out[-p.action_size :] += 1.0
    return out


def _weights(s: Any, p: Any, args: Any, exact: Array) -> Array:
    out = exact.copy()
    out[: -p.action_size] *= 2.0
    return out


def _third(start: int) -> Change:
    def change(s: Any, p: Any, args: Any, exact: Array) -> Array:
        out = exact.copy()
        out[start::3] = 0.0
        return out

    return change


def _along(power: float) -> Change:
    """A step along Fᵖ g of the right length, whatever that is worth."""

    def change(s: Any, p: Any, args: Any, exact: Array) -> Array:
        g = s.policy_gradient(p)
        direction = g if power == 0 else s.fisher(p) @ g
        return p.theta + direction * (1.0 + np.abs(exact - p.theta).sum())

    return change


def _lazy(c: float) -> Change:
    def change(s: Any, p: Any, args: Any, exact: Array) -> Array:
        chain = (1 - c) * s.chain(p) + c * np.eye(p.num_states)
        system = np.eye(p.num_states) - p.mdp.discount * chain.T
        return (1 - p.mdp.discount) * np.linalg.solve(system, p.mdp.initial_distribution)

    return change


def _twice_the_states(s: Any, p: Any, args: Any, exact: Array) -> Array:
    return np.diag(1 + np.arange(p.num_states)) @ exact


V, Q, A, D, J = "value", "q_value", "advantage", "state_distribution", "objective"
G, F, FV, KL, L = "policy_gradient", "fisher", "fisher_vector_product", "kl", "surrogate"
X, U, TP = "natural_gradient", "update", "trust_region_proposal"
LP, SC, CG, AE = "log_prob", "score", "conjugate_gradient", "advantage_estimate"
