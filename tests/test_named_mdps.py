"""Named MDPs against hand-computed values of the literature and Gymnasium's own tables."""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import worst

from npgcheck.errors import InvalidArgument, InvalidMDP
from npgcheck.exact import evaluate, optimal
from npgcheck.mdp import MDP
from npgcheck.named_mdps import (
    NAMED,
    aliased_chain,
    from_gymnasium_table,
    garnet,
    gridworld,
    kakade_two_state,
)


def test_every_named_mdp_is_made():
    assert {name: isinstance(make(), MDP) for name, make in NAMED.items()} == dict.fromkeys(
        NAMED, True
    )


def test_kakade_optimum_by_hand():
    best = optimal(kakade_two_state())
    # stay in j for 2/(1 − γ) = 20; from i, γ·20 = 18 beats 1/(1 − γ) = 10; J* = (4·18 + 20)/5
    assert worst(best.value, [18, 20]) < 1e-13
    assert best.probabilities.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_aliased_chain_value_by_hand(p):
    found = evaluate(aliased_chain(), np.tile([1 - p, p], (4, 1)))
    # J = p + γ(1 − p)·7/2 + γ²·4p
    assert found.objective == pytest.approx(p + 0.5 * (1 - p) * 3.5 + 0.25 * 4 * p, abs=1e-15)
    # s₀ once, s₁ after one step, c after two with probability p; (1 − γ)γᵗ
    assert worst(found.state_distribution[:3], [0.5, 0.25, 0.125 * p]) < 1e-15


def test_gridworld_without_slip_counts_steps():
    best = optimal(gridworld(3, 4, 0.5, slip=0.0))
    # the goal is 3 + 2 − (row + column) steps away and pays on entry: γ^(steps − 1)
    expected = [0 if i == 11 else 0.5 ** (4 - i // 4 - i % 4) for i in range(12)]
    assert worst(best.value, expected) < 1e-15


def test_gridworld_slips_to_the_two_sides():
    # the centre of 3 × 3 is state 4; north is 1, east 5, south 7, west 3
    mdp = gridworld(3, 3, slip=0.25)
    for action, (ahead, left, right) in enumerate([(1, 3, 5), (5, 1, 7), (7, 5, 3), (3, 7, 1)]):
        row = mdp.transitions[4, action]
        assert (row[ahead], row[left], row[right]) == (0.75, 0.125, 0.125)
    # beside the goal: east enters it, north and south slip into it
    assert mdp.rewards[7].tolist() == [0.125, 0.75, 0.125, 0.0]
    assert mdp.terminal_states.tolist() == [False] * 8 + [True]


@pytest.mark.parametrize("make", [gridworld, lambda **k: garnet(7, 3, 2, **k)])
def test_sparse_construction_equals_dense(make):
    dense, sparse = make(), make(sparse=True)
    S, A = dense.rewards.shape
    assert sparse.is_sparse
    assert (sparse.transitions.toarray().reshape(S, A, S) == dense.transitions).all()
    assert (sparse.rewards == dense.rewards).all()


def test_garnet_has_the_branching_it_names_and_is_reproducible():
    mdp = garnet(9, 2, 4, seed=5)
    assert ((mdp.transitions > 0).sum(axis=2) == 4).all()
    assert (mdp.transitions == garnet(9, 2, 4, seed=5).transitions).all()
    assert (mdp.transitions != garnet(9, 2, 4, seed=6).transitions).any()
    assert (garnet(3, 2, 3).transitions > 0).all()
    with pytest.raises(InvalidArgument, match="branching"):
        garnet(3, 2, 4)


def test_gridworld_refuses_nonsense():
    with pytest.raises(InvalidArgument, match="two cells"):
        gridworld(1, 1)
    with pytest.raises(InvalidArgument, match="slip"):
        gridworld(slip=2)


# a hand-written toy-text table: action 0 stays; action 1 ends from state 0 in a state that moves on
TABLE = {
    0: {0: [(1.0, 0, -1.0, False)], 1: [(0.5, 1, 2.0, True), (0.5, 1, 4.0, False)]},
    1: {0: [(0.25, 1, 0.0, False), (0.75, 1, 0.0, False)], 1: [(1.0, 0, 1.0, False)]},
}


def test_a_terminated_transition_into_a_living_state_gets_a_state_of_its_own():
    mdp = from_gymnasium_table(TABLE, 0.5, [1, 0])
    assert mdp.num_states == 3
    assert mdp.transitions[0, 1].tolist() == [0, 0.5, 0.5]
    assert mdp.transitions[1, 0].tolist() == [0, 1, 0]
    assert mdp.rewards.tolist() == [[-1, 3], [0, 1], [0, 0]]
    assert mdp.terminal_states.tolist() == [False, False, True]
    assert mdp.initial_distribution.tolist() == [1, 0, 0]


def test_an_absorbing_target_needs_no_extra_state():
    table = {0: {0: [(1.0, 1, 1.0, True)]}, 1: {0: [(1.0, 1, 0, True)]}}
    mdp = from_gymnasium_table(table, 0.5)
    assert mdp.num_states == 2
    assert mdp.initial_distribution.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "numbered"),
        ({1: {0: [(1.0, 1, 0, False)]}}, "numbered"),
        ({0: {1: [(1.0, 0, 0, False)]}}, "actions 0"),
        ({0: {0: [(1.0, 3, 0, False)]}}, r"table\[0\]\[0\] leads to 3"),
        ({0: {0: [(0.9, 0, 0, False)]}}, r"transitions\[0, 0\] sums to 0.9"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(InvalidMDP, match=message):
        from_gymnasium_table(table, 0.5)
    with pytest.raises(InvalidMDP, match=r"shape \(2,\)"):
        from_gymnasium_table(TABLE, 0.5, [1.0])


@pytest.mark.parametrize(("name", "states"), [("FrozenLakeEnv", 16), ("CliffWalkingEnv", 49)])
def test_gymnasium_itself(name, states):
    toy_text = pytest.importorskip("gymnasium.envs.toy_text")
    env = getattr(toy_text, name)()
    mdp = from_gymnasium_table(env.P, 0.99, env.initial_state_distrib)
    assert mdp.num_states == states
    value = float(mdp.initial_distribution @ optimal(mdp).value)
    if name == "FrozenLakeEnv":
        # a bounded search by value iteration on the raw table, written for this test
        raw = np.zeros(16)
        for _ in range(4000):
            raw = np.array(
                [
                    max(
                        sum(p * (r + 0.99 * raw[t] * (not end)) for p, t, r, end in env.P[s][a])
                        for a in range(4)
                    )
                    for s in range(16)
                ]
            )
        assert value == pytest.approx(raw[0], abs=1e-12)
    else:
        # thirteen steps along the cliff at −1 each
        assert value == pytest.approx(-(1 - 0.99**13) / 0.01, rel=1e-13)
