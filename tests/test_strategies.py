"""The strategies reach the corners that they promise, and shrink to what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from npgcheck import strategies
from npgcheck.mdp import MDP
from npgcheck.problem import Problem

SEARCH = hypothesis.settings(
    max_examples=4000,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(hypothesis.Phase.generate,),
)
SHRINK = hypothesis.settings(SEARCH, phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink))


def smallest(strategy: st.SearchStrategy[Any], wanted: Callable[[Any], bool]) -> Any:
    return hypothesis.find(strategy, wanted, settings=SHRINK)


def reached(mdp: MDP) -> np.ndarray:
    """Boolean reachability from the start, by breadth first search (no solve)."""
    seen = mdp.initial_distribution > 0
    for _ in range(mdp.num_states):
        seen = seen | (mdp.transitions[seen].sum(axis=(0, 1)) > 0)
    return seen


def probabilities(setting: strategies.Setting) -> np.ndarray:
    return setting.policy.probabilities(setting.theta, setting.observations)


DISCRETE = strategies.problems(families=("tabular", "softmax", "mlp"))

CORNERS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bool]]] = {
    "an absorbing state among others": (
        strategies.mdps(min_states=2),
        lambda m: bool(m.terminal_states.any() and not m.terminal_states.all()),
    ),
    "an absorbing state that pays": (
        strategies.mdps(),
        lambda m: any(
            (m.transitions[s, :, s] == 1).all() and m.rewards[s].all() for s in range(m.num_states)
        ),
    ),
    "an unreachable state": (strategies.mdps(min_states=2), lambda m: not reached(m).all()),
    "every state reachable": (strategies.mdps(min_states=3), lambda m: bool(reached(m).all())),
    "γ = 0": (strategies.mdps(), lambda m: m.discount == 0),
    "γ near 1": (strategies.mdps(), lambda m: m.discount > 0.99999),
    "an ordinary γ": (strategies.mdps(), lambda m: 0.6 < m.discount < 0.8),
    "a nearly deterministic policy": (
        DISCRETE,
        lambda p: bool(((probabilities(p) > 0) & (probabilities(p) < 1e-9)).any()),
    ),
    "a policy deterministic to every digit": (
        DISCRETE,
        lambda p: bool((probabilities(p) == 0).any()),
    ),
    "one action": (DISCRETE, lambda p: p.mdp.num_actions == 1),
    "shared features": (
        strategies.problems(families=("softmax",), min_states=3),
        lambda p: (
            np.linalg.matrix_rank(p.observations) < p.mdp.num_states
            and len(np.unique(p.observations, axis=0)) == p.mdp.num_states
        ),
    ),
    "states that look alike": (
        strategies.problems(families=("softmax",), min_states=2),
        lambda p: len(np.unique(p.observations, axis=0)) < p.mdp.num_states,
    ),
    "a γ near 1 together with a terminal state": (
        DISCRETE,
        lambda p: p.mdp.discount > 0.99999 and bool(p.mdp.terminal_states.any()),
    ),
    "several Gaussian dimensions": (
        strategies.problems(families=("gaussian",)),
        lambda p: p.mdp.action_size == 3 and bool(p.mdp.reward_quadratic[2].any()),
    ),
    "two hidden layers": (
        strategies.problems(families=("mlp",)),
        lambda p: len(p.policy.hidden) == 2,
    ),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_the_corner_is_reached(corner: str) -> None:
    strategy, wanted = CORNERS[corner]
    assert wanted(hypothesis.find(strategy, wanted, settings=SEARCH))


def test_a_strategy_narrower_than_its_name_is_noticed() -> None:
    """The control: the same search over chains without zeros finds no absorbing state."""

    def positive(mdp: MDP) -> MDP:
        blurred = 0.5 * mdp.transitions + 0.5 / mdp.num_states
        return MDP(blurred, mdp.rewards, mdp.discount, mdp.initial_distribution)

    narrow = strategies.mdps(min_states=2).map(positive)
    few = hypothesis.settings(SEARCH, max_examples=300)
    for corner in ("an absorbing state among others", "an unreachable state"):
        with pytest.raises(NoSuchExample):
            hypothesis.find(narrow, CORNERS[corner][1], settings=few)


def test_mdps_shrink_to_staying_in_place() -> None:
    least = smallest(strategies.mdps(min_states=2), lambda m: True)
    assert (least.num_states, least.num_actions, least.discount) == (2, 1, 0.0)
    assert np.array_equal(least.transitions[:, 0], np.eye(2))
    assert not least.rewards.any()
    assert least.initial_distribution.tolist() == [1.0, 0.0]


def test_problems_shrink_to_the_uniform_policy() -> None:
    least = smallest(strategies.problems(), lambda p: p.mdp.num_states >= 2)
    assert least.family == "tabular"
    assert (least.mdp.num_states, least.mdp.num_actions) == (2, 1)
    assert not least.theta.any()


def test_a_failing_property_shrinks_to_something_readable() -> None:
    """Any reward of at least 1 is found as exactly one reward of 1 in one state."""
    least = smallest(strategies.mdps(), lambda m: m.rewards.max() >= 1)
    assert least.rewards.tolist() == [[1.0]]


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@given(strategies.problems())
def test_every_setting_is_a_problem_with_finite_rows(setting: strategies.Setting) -> None:
    """The promise behind `problems`: whatever is drawn, a batch can be built and is finite."""
    problem = Problem(*setting)
    batch = problem.batch
    for column in (batch.rewards, batch.advantages, batch.values, batch.next_values):
        assert np.isfinite(column).all()
    assert (batch.log_probs <= 0).all() or problem.is_gaussian


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@given(strategies.problems(extreme=False, max_discount=0.9))
def test_bounds_that_were_asked_for_are_kept(setting: strategies.Setting) -> None:
    assert setting.mdp.discount <= 0.9
    assert np.abs(setting.theta).max() <= 3


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(ValueError, match=r"must be one of tabular.*'sofmax'"):
        strategies.policies("sofmax", 2, 3)
