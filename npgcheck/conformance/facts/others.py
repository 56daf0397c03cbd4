"""Is the answer another exact quantity, or the same under other state weights?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from npgcheck.conformance.facts.laws import law
from npgcheck.conformance.facts.seen import REPRODUCED, Seen
from npgcheck.fisher import fisher as fisher_of

Array = np.ndarray
Find = Callable[[Seen], Any]


def another(wrong: Sequence[Seen]) -> str:
    """The exact answer of another function."""
    for name, targets in _targets(wrong):
        if all(s.close(t) for s, t in zip(wrong, targets, strict=True)):
            return f"this is {name}"
    return ""


def multiple(wrong: Sequence[Seen]) -> str:
    """The same times a factor that follows a law."""
    for name, targets in _targets(wrong):
        if text := _multiple(wrong, targets):
            return f"this is {name} times {text}"
    return ""


def _targets(wrong: Sequence[Seen]) -> Iterator[tuple[str, list[Array]]]:
    """Other exact quantities of the same shape, one for each answer."""
    for name, read in _KNOWN.get(wrong[0].quantity, {}).items():
        found = []
        for s in wrong:
            target = _read(read, s)
            if target is None or target.shape != s.yours.shape:
                break
            found.append(target)
        else:
            yield name, found


def _read(read: Find, s: Seen) -> Array | None:
    value = read(s)
    return None if value is None else np.asarray(value, dtype=float)


def _multiple(wrong: Sequence[Seen], targets: Sequence[Array]) -> str:
    factors = []
    for s, target in zip(wrong, targets, strict=True):
        square = float(np.vdot(target, target))
        if s.yours.size < 2 or square == 0.0:
            return ""
        factor = float(np.vdot(target, s.yours)) / square
        size = float(np.max(np.abs(target)))
        if float(np.max(np.abs(s.yours - factor * target))) > REPRODUCED * abs(factor) * size:
            return ""
        factors.append(factor)
    return law(factors, wrong)


def _evaluation(field: str) -> Find:
    return lambda s: getattr(s.reference.evaluation, field, None)


def _start(s: Seen) -> Array:
    return np.asarray(s.problem.mdp.initial_distribution)


def _next(s: Seen) -> Array:
    return np.asarray(_start(s) @ s.reference._policy_transitions())


def _uniform(s: Seen) -> Array:
    return np.full(s.problem.num_states, 1.0 / s.problem.num_states)


def _rewards(s: Seen) -> Any:
    return s.problem.mdp.rewards if s.reference.discrete else None


def _mean_reward(s: Seen) -> Any:
    rewards = _rewards(s)
    return None if rewards is None else (s.reference.probabilities * rewards).sum(axis=1)


def _q(reduce: Callable[[Array], Array]) -> Find:
    return lambda s: reduce(s.reference.evaluation.q_value) if s.reference.discrete else None


def _times_fisher(read: Find) -> Find:
    def found(s: Seen) -> Any:
        vector = read(s)
        return None if vector is None or s.fisher is None else s.fisher @ vector

    return found


def _gradient(s: Seen) -> Any:
    return s.gradient


def _divergences(s: Seen) -> Array:
    """KL(π ‖ π′) of every state."""
    from npgcheck.fisher import kl

    unit = np.eye(s.problem.num_states)
    observations = np.asarray(s.problem.observations)
    policy, theta = s.reference.policy, s.reference.theta
    return np.array([kl(policy, theta, s.args[0], observations, w) for w in unit])


def _objective_there(s: Seen) -> Any:
    from npgcheck.conformance.reference import Reference

    here = Reference(s.problem).evaluation.objective
    return Reference(s.problem.at(s.args[0])).evaluation.objective - here


_V, _Q, _A = _evaluation("value"), _evaluation("q_value"), _evaluation("advantage")
_D = _evaluation("state_distribution")
_STEP: dict[str, Find] = {
    "the exact g": _gradient,
    "the exact F g": _times_fisher(_gradient),
    "the sign of the exact g": lambda s: (
        None
        if s.gradient is None
        else s.shown(np.where(np.abs(s.gradient) > 1e-12, np.sign(s.gradient), 0.0))
    ),
}
_KNOWN: dict[str, dict[str, Find]] = {
    "state_distribution": {
        "the start distribution": _start,
        "the distribution after one step": _next,
        "1/S in every state": _uniform,
        "the exact d²": lambda s: np.asarray(_D(s)) ** 2,
    },
    "value": {
        "the mean reward of one step": _mean_reward,
        "the largest exact Q of each state": _q(lambda q: q.max(axis=1)),
        "the plain mean of the exact Q over actions": _q(lambda q: q.mean(axis=1)),
    },
    "q_value": {"the reward of one step": _rewards, "the exact A": _A},
    "advantage": {
        "the exact Q": _Q,
        "the reward of one step": _rewards,
        "the exact Q minus its plain mean over actions": _q(
            lambda q: q - q.mean(axis=1, keepdims=True)
        ),
        "the exact Q minus its largest over actions": _q(
            lambda q: q - q.max(axis=1, keepdims=True)
        ),
    },
    "objective": {
        "the exact V of the first state": lambda s: _V(s)[0],
        "the plain mean of the exact V": lambda s: _V(s).mean(),
        "the exact V under d": lambda s: _D(s) @ _V(s),
    },
    "kl": {
        "the largest KL of a state": lambda s: _divergences(s).max(),
        "the plain mean of the KL over states": lambda s: _divergences(s).mean(),
        "the plain sum of the KL over states": lambda s: _divergences(s).sum(),
    },
    "surrogate": {"the exact J at the other parameters": _objective_there},
    "policy_gradient": {
        "the exact F g": _times_fisher(_gradient),
        "the exact x": lambda s: (
            None
            if s.fisher is None or s.gradient is None
            else np.linalg.pinv(s.fisher, rcond=1e-11, hermitian=True) @ s.gradient
        ),
    },
    "fisher_vector_product": {
        "the vector v": lambda s: s.args[0],
        "the exact F F v": _times_fisher(lambda s: s.exact),
    },
    "fisher": {
        "the exact F F": lambda s: s.exact @ s.exact,
        "the exact g gᵀ": lambda s: (
            None if s.gradient is None else np.outer(s.gradient, s.gradient)
        ),
        "the identity": lambda s: np.eye(len(s.exact)),
        "the diagonal of the exact F, zero elsewhere": lambda s: np.diag(np.diag(s.exact)),
    },
    "natural_gradient": _STEP,
    "update": _STEP,
    "train": _STEP,
    "trust_region_proposal": _STEP,
    "trust_region_step": _STEP,
}


# ---- other state weights --------------------------------------------------------------------


def weights(wrong: Sequence[Seen]) -> str:
    """The exact sum over states under other weights; what weights, where they are known."""
    quantity = wrong[0].quantity
    if quantity not in ("policy_gradient", "fisher", "fisher_vector_product"):
        return ""
    sampled = wrong[0].choices.get("sampled", "mdp")
    if quantity == "policy_gradient" and sampled != "mdp":
        return ""
    parts = []
    telling = 0
    for s in wrong:
        columns = _by_state(s)
        solved = np.linalg.lstsq(columns, s.yours.ravel(), rcond=None)[0]
        if not s.close((columns @ solved).reshape(s.yours.shape)):
            return ""
        telling += _is_telling(s)
        parts.append(columns)
    if telling < 3 or 3 * telling < len(wrong):
        return ""
    said = "the exact sum over states with other weights than d(s)"
    for name, read in _WEIGHTS.items():
        factors = []
        for s, columns in zip(wrong, parts, strict=True):
            target = columns @ np.asarray(read(s))
            square = float(target @ target)
            factor = float(target @ s.yours.ravel()) / square if square else 0.0
            if not s.close((factor * target).reshape(s.yours.shape)):
                break
            factors.append(factor)
        else:
            if law(factors, wrong):
                return f"{said}: {name}"
    return said


_WEIGHTS: dict[str, Find] = {
    "the same for all states": _uniform,
    "the start distribution": _start,
    "the distribution after one step": _next,
    "d(s)²": lambda s: np.asarray(_D(s)) ** 2,
    "d(s) |V(s)|": lambda s: np.asarray(_D(s)) * np.abs(_V(s)),
}


def _is_telling(s: Seen) -> bool:
    """Whether not every answer is such a sum: more free numbers than states."""
    actions = s.problem.action_size if s.problem.family == "gaussian" else s.problem.num_actions - 1
    if s.problem.family == "tabular":
        return bool(actions > 1)
    return bool(s.problem.observation_size * actions > s.problem.num_states)


def _by_state(s: Seen) -> Array:
    """What each state contributes at weight one; (entries, S)."""
    cache = s.reference.__dict__.setdefault("_by_state", {})
    key = "g" if s.quantity == "policy_gradient" else "F"
    if key not in cache:
        unit = np.eye(s.problem.num_states)
        if key == "g":
            cache[key] = np.stack([s.reference._reweighted_gradient(e) for e in unit])
        else:
            observations = np.asarray(s.problem.observations)
            cache[key] = np.stack(
                [fisher_of(s.reference.policy, s.reference.theta, observations, e) for e in unit]
            )
    stack = cache[key]
    if s.quantity == "fisher_vector_product":
        stack = stack @ s.args[0]
    return np.asarray(stack.reshape(len(stack), -1).T)
