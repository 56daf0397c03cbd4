"""Values and occupancies that are right for another chain, another discount or other rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from npgcheck.conformance.facts.laws import law
from npgcheck.conformance.facts.relations import entrywise, relation
from npgcheck.conformance.facts.seen import NOISE, Seen

Array = np.ndarray
#: An equation holds to this accuracy of its left side.
HOLDS = 1e-7


def chains(wrong: Sequence[Seen], seen: Sequence[Seen]) -> Iterator[str]:
    """What reproduces every refuted answer, the sharpest first."""
    quantity = wrong[0].quantity
    if quantity == "state_distribution":
        yield _discount(wrong)
        yield _other_chain(wrong)
    if quantity in ("value", "q_value") and all(s.reference.discrete for s in wrong):
        yield _discount(wrong)
        yield _one_step(wrong)
        yield _other_chain(wrong)
        yield _rewards(seen)


def _chain(s: Seen) -> Array:
    return np.asarray(s.reference._policy_transitions())


def _transitions(s: Seen) -> Array:
    dense = s.problem.mdp.transitions
    return np.asarray(dense.todense() if hasattr(dense, "todense") else dense)


def _terms(s: Seen, chain: Array, kernel: Array | None) -> tuple[Array, Array]:
    """(left, along) of left = γ along: the equation of the answer for a chain."""
    if s.quantity == "state_distribution":
        start = np.asarray(s.problem.mdp.initial_distribution)
        return s.yours - start, chain.T @ s.yours - start
    rewards, pi = np.asarray(s.problem.mdp.rewards), s.reference.probabilities
    if s.quantity == "value":
        return s.yours - (pi * rewards).sum(axis=1), chain @ s.yours
    onward = kernel if kernel is not None else _transitions(s)
    return s.yours - rewards, onward @ (pi * s.yours).sum(axis=1)


def _coefficient(left: Array, along: Array) -> float | None:
    """c with left = c along, or None."""
    square = float(np.vdot(along, along))
    c = float(np.vdot(along, left)) / square if square else 0.0
    return c if c and _is(left, c * along) else None


def _is(left: Array, right: Array) -> bool:
    size = max(float(np.max(np.abs(left))), float(np.max(np.abs(right))))
    return float(np.max(np.abs(left - right))) <= HOLDS * size + NOISE


def _law_of_all(found: Sequence[float | None], wrong: Sequence[Seen]) -> str:
    """The law of the numbers, where every answer has one."""
    numbers = [n for n in found if n is not None]
    return law(numbers, wrong) if len(numbers) == len(found) else ""


def _discount(wrong: Sequence[Seen]) -> str:
    """The same equation with another discount."""
    found = [_coefficient(*_terms(s, _chain(s), None)) for s in wrong]
    text = _law_of_all(found, wrong)
    return f"right for the discount {text}" if text else ""


def _one_step(wrong: Sequence[Seen]) -> str:
    """r + c P V with the exact V: one equation is right, this one is not."""
    if wrong[0].quantity != "q_value":
        return ""
    found = [
        _coefficient(
            s.yours - np.asarray(s.problem.mdp.rewards),
            _transitions(s) @ s.reference.evaluation.value,
        )
        for s in wrong
    ]
    text = _law_of_all(found, wrong)
    return f"r + c P V with the exact V, c = {text}" if text else ""


def _uniform(s: Seen) -> Array:
    """The chain of the policy that takes every action equally often."""
    return np.asarray(_transitions(s).mean(axis=1))


CHAINS: dict[str, Callable[[Seen], Array | None]] = {
    "the transposed chain": lambda s: _chain(s).T,
    "the chain of the uniform policy": lambda s: _uniform(s) if s.reference.discrete else None,
}


def _other_chain(wrong: Sequence[Seen]) -> str:
    """The same equation for another chain."""
    if wrong[0].quantity == "q_value":
        return ""
    for name, read in CHAINS.items():
        for s in wrong:
            chain = read(s)
            if chain is None:
                break
            left, along = _terms(s, chain, None)
            if not _is(left, s.problem.discount * along):
                break
        else:
            return f"right for {name}"
    stays = []
    for s in wrong:
        left, along = _terms(s, _chain(s), None)
        # P′ = (1 − c) P + c I
        more = _terms(s, np.eye(s.problem.num_states), None)[1]
        gamma = s.problem.discount
        c = _coefficient(left - gamma * along, gamma * (more - along))
        if c is None:
            return ""
        stays.append(c)
    text = law(stays, wrong, 1e-5)
    return f"right for a chain that stays where it is with probability {text}" if text else ""


def _shuffled(wrong: Sequence[Seen]) -> str:
    """A table of rewards that holds the right numbers in other places."""
    for s in wrong:
        yours, exact = np.sort(s.yours, axis=None), np.sort(s.exact, axis=None)
        if s.exact.ndim < 2 or np.max(np.abs(yours - exact)) > 1e-6 * np.max(np.abs(exact)):
            return ""
    return "the same numbers in another order"


def _rewards(seen: Sequence[Seen]) -> str:
    """The rewards for which the answers would be right, and what they are."""
    implied = []
    for s in seen:
        left, along = _terms(s, _chain(s), None)
        gamma, rewards = s.problem.discount, np.asarray(s.problem.mdp.rewards)
        exact = rewards
        if s.quantity == "value":
            exact = (s.reference.probabilities * rewards).sum(axis=1)
        implied.append(replace(s, yours=left - gamma * along + exact, exact=exact))
    wrong = [s for s in implied if s.wrong]
    text = relation(wrong, wrong) or entrywise(implied) or _shuffled(wrong)
    if not text or "differs" in text or ("another order" in text and wrong[0].exact.ndim == 1):
        return ""
    return f"as if of other rewards: {text}"
