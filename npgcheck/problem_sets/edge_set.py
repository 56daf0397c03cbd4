"""Edge cases: the limits of the domain, judged as a group of their own.

Each is a valid problem; some answers are zero or not unique there. A right implementation answers
or says that it does not support the case; it never returns NaN.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.problem import Problem
from npgcheck.problem_sets.build import finish
from npgcheck.problem_sets.generate import Sizes, ordinary_problem
from npgcheck.streams import Stream

Array = np.ndarray

SIZES: dict[str, Sizes] = {
    "tabular": Sizes(4, 3, 4),
    "softmax": Sizes(5, 3, 2),
    "mlp": Sizes(4, 3, 2, 5),
    "gaussian": Sizes(4, 2, 3),
}


@lru_cache(maxsize=8)
def edge_cases(family: str) -> tuple[Problem, ...]:
    """The edge cases of a family; ``name`` says what each one is."""
    cases: list[tuple[str, Problem]] = [
        ("γ = 0", _base(family, "zero", discount=0.0)),
        ("γ = 0.999999", _base(family, "long", discount=0.999999)),
        ("one state", _one_state(family)),
        ("no reward anywhere", with_rewards(_base(family, "none"), 0.0)),
        ("an unreachable state", _unreachable(_base(family, "apart"))),
        ("an absorbing state that pays", _absorbing(_base(family, "paying"), pays=True)),
    ]
    if family == "gaussian":
        cases += [
            ("σ = 1e-3", _with_theta_tail(_base(family, "narrow"), np.log(1e-3))),
            ("σ = 1e3", _with_theta_tail(_base(family, "wide"), np.log(1e3))),
        ]
    else:
        cases += [
            ("a terminal state", _absorbing(_base(family, "ending"), pays=False)),
            ("one action", _one_action(family)),
            ("a nearly deterministic policy", _scaled(_base(family, "sharp"), 30.0)),
            ("logits of ±1e3", _scaled(_base(family, "certain"), 1e3)),
        ]
    if family != "tabular":
        cases.append(("all observations alike", _alike(_base(family, "alike"))))
    return tuple(finish(replace(problem, name=name)) for name, problem in cases)


def _base(family: str, key: str, discount: float = 0.9) -> Problem:
    return ordinary_problem(Stream("edge", family, key), family, SIZES[family], discount, scale=0.7)


def _one_state(family: str) -> Problem:
    sizes = SIZES[family]
    features = 1 if family == "tabular" else sizes.features
    single = Sizes(1, sizes.actions, features, sizes.hidden)
    return ordinary_problem(Stream("edge", family, "one state"), family, single, 0.9)


def _one_action(family: str) -> Problem:
    sizes = SIZES[family]
    single = Sizes(sizes.states, 1, sizes.features, sizes.hidden)
    return ordinary_problem(Stream("edge", family, "one action"), family, single, 0.9)


def _parts(problem: Problem) -> tuple[Array, Any, float, Array]:
    mdp = problem.mdp
    rewards = mdp.reward_quadratic if problem.is_gaussian else mdp.rewards
    return mdp.transitions, rewards, mdp.discount, mdp.initial_distribution


def _with_mdp(problem: Problem, transitions: Array, rewards: Any, initial: Array) -> Problem:
    kind = QuadraticMDP if problem.is_gaussian else MDP
    return replace(problem, mdp=kind(transitions, rewards, problem.discount, initial))


def with_rewards(problem: Problem, factor: float) -> Problem:
    """The problem with all its rewards times a factor; it has no id of its own yet."""
    transitions, rewards, _, initial = _parts(problem)
    scaled = tuple(factor * r for r in rewards) if problem.is_gaussian else factor * rewards
    return _with_mdp(problem, transitions, scaled, initial)


def _unreachable(problem: Problem) -> Problem:
    """The last state can be left and is never entered."""
    transitions, rewards, _, initial = _parts(problem)
    inside = problem.num_states - 1
    table = np.zeros_like(transitions).reshape(problem.num_states, -1, problem.num_states)
    for s in range(problem.num_states):
        for a in range(table.shape[1]):
            table[s, a, (s + a) % inside] += 0.5
            table[s, a, (s + 1) % inside] += 0.5
    start = np.zeros_like(initial)
    start[:2] = 0.75, 0.25
    return _with_mdp(problem, table.reshape(transitions.shape), rewards, start)


def _absorbing(problem: Problem, *, pays: bool) -> Problem:
    """The last state is never left; it pays for ever, or nothing (then it is terminal)."""
    transitions, rewards, _, initial = _parts(problem)
    transitions = transitions.copy()
    transitions[-1] = 0.0
    transitions[-1, ..., -1] = 1.0
    if not problem.is_gaussian and not pays:
        rewards = rewards.copy()
        rewards[-1] = 0.0
    return _with_mdp(problem, transitions, rewards, initial)


def _scaled(problem: Problem, largest: float) -> Problem:
    """θ scaled until the largest logit is ``largest``."""
    theta = problem.theta.copy()
    first = 0
    if problem.family == "mlp":
        # Only the output layer: a saturated tanh would make every derivative vanish instead.
        first = len(theta) - (problem.policy.sizes[-2] + 1) * problem.num_actions
    logits = problem.policy.logits(theta, problem.observations)
    theta[first:] *= largest / np.abs(logits).max()
    return replace(problem, theta=theta)


def _with_theta_tail(problem: Problem, log_std: float) -> Problem:
    theta = problem.theta.copy()
    theta[-problem.action_size :] = log_std
    return replace(problem, theta=theta)


def _alike(problem: Problem) -> Problem:
    observations = np.tile(problem.observations[:1], (problem.num_states, 1))
    return replace(problem, observations=observations)
