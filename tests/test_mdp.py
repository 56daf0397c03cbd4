"""MDPs: what they accept, what they refuse and in which words, dense against sparse."""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import U, random_mdp, random_quadratic, worst
from scipy.sparse import csc_matrix, csr_array, csr_matrix

from npgcheck.errors import InvalidArgument, InvalidMDP
from npgcheck.mdp import MDP, QuadraticMDP

P = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.25, 0.75], [0.0, 1.0]]])
R = np.array([[1.0, 2.0], [3.0, 4.0]])
START = np.array([0.5, 0.5])


def changed(index, value, array=P):
    array = array.astype(float).copy()
    array[index] = value
    return array


def test_arrays_are_private_read_only_float64_copies():
    given = (P.astype(np.float32), R.astype(int), START.copy())
    mdp = MDP(given[0], given[1], 0.5, given[2])
    given[0][0, 0, 0] = given[1][0, 0] = 7
    given[2][0] = 7
    for kept, original in (
        (mdp.transitions, P), (mdp.rewards, R), (mdp.initial_distribution, START),
    ):  # fmt: skip
        assert kept.dtype == np.float64
        assert (kept == original).all()
        with pytest.raises(ValueError, match="read-only"):
            kept[(0,) * kept.ndim] = 1
    with pytest.raises(AttributeError):
        mdp.discount = 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (changed((1, 0, 0), 0.5), R, 0.5, START),
            r"transitions\[1, 0\] sums to 1.25, off by \+0.25",
        ),
        ((changed((1, 0, 0), 0.5), R, 0.5, START), "Nothing was renormalised"),
        ((changed((1, 0), [-0.25, 1.25]), R, 0.5, START), r"transitions\[1, 0\] has a negative"),
        ((changed((1, 0, 1), np.nan), R, 0.5, START), r"transitions\[1, 0, 1\] is nan"),
        ((P, changed((1, 1), np.inf, R), 0.5, START), r"rewards\[1, 1\] is inf"),
        ((P[:, :1], R, 0.5, START), r"shape \(S, A, S\) = \(2, 2, 2\)"),
        ((P, R[0], 0.5, START), r"rewards must have shape \(S, A\)"),
        ((P, R, 1.0, START), r"needs γ < 1"),
        ((P, R, -0.1, START), r"discount must lie in \[0, 1\)"),
        ((P, R, np.nan, START), r"discount must lie in"),
        ((P, R, "half", START), r"discount must be a number"),
        ((P, R, 0.5, [0.5, 0.4]), r"initial_distribution sums to 0.9"),
        ((P, R, 0.5, [1.0]), r"initial_distribution must have shape \(2,\)"),
        ((P * 1j, R, 0.5, START), "real numbers, got dtype complex"),
        (([[["a"]]], R, 0.5, START), "real numbers, got dtype"),
        ((P, np.zeros((0, 2)), 0.5, START), "S, A >= 1"),
    ],
)
def test_a_violation_is_named_and_nothing_is_repaired(arguments, message):
    with pytest.raises(InvalidMDP, match=message):
        MDP(*arguments)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_tolerance_is_4su_of_the_dtype_given(dtype, sparse):
    wrap = (lambda a: csr_matrix(a.reshape(4, 2))) if sparse else (lambda a: a)
    eps = float(np.finfo(dtype).eps)
    # S = 2: 4·S·u = 4·eps
    MDP(wrap(changed((0, 0, 0), 0.5 + 3 * eps).astype(dtype)), R, 0.5, START)
    with pytest.raises(InvalidMDP, match="off by"):
        MDP(wrap(changed((0, 0, 0), 0.5 + 6 * eps).astype(dtype)), R, 0.5, START)


@pytest.mark.parametrize("kind", [csr_matrix, csr_array, csc_matrix])
def test_sparse_equals_dense(kind):
    dense = random_mdp(np.random.default_rng(0), 6, 3, 0.9, density=0.4)
    given = kind(dense.transitions.reshape(18, 6))
    sparse = MDP(given, dense.rewards, 0.9, dense.initial_distribution)
    given.data[:] = 7
    pi = np.random.default_rng(1).dirichlet(np.ones(3), size=6)
    v = np.arange(6.0)
    assert sparse.is_sparse
    assert not dense.is_sparse
    assert worst(sparse.policy_transitions(pi).toarray(), dense.policy_transitions(pi)) <= 4 * U
    assert worst(sparse.expected_next(v), dense.expected_next(v)) <= 30 * U
    with pytest.raises(ValueError, match="read-only"):
        sparse.transitions.data[0] = 1


def test_sparse_violations_name_the_row():
    flat = P.reshape(4, 2).copy()
    flat[2] = [0.5, 0.75]
    with pytest.raises(InvalidMDP, match=r"transitions\[1, 0\] sums to 1.25"):
        MDP(csr_matrix(flat), R, 0.5, START)
    flat[2] = [-0.5, 1.5]
    with pytest.raises(InvalidMDP, match=r"transitions\[1, 0\] has a negative"):
        MDP(csr_matrix(flat), R, 0.5, START)
    flat[2] = [np.nan, 1]
    with pytest.raises(InvalidMDP, match=r"transitions\[1, 0, 0\] is nan"):
        MDP(csr_matrix(flat), R, 0.5, START)
    with pytest.raises(InvalidMDP, match=r"shape \(S·A, S\) = \(4, 2\)"):
        MDP(csr_matrix(P.reshape(2, 4)), R, 0.5, START)


def test_policy_transitions_is_the_written_out_sum():
    mdp = MDP(P, R, 0.5, START)
    pi = np.array([[0.25, 0.75], [0.5, 0.5]])
    assert mdp.policy_transitions(pi).tolist() == [[0.875, 0.125], [0.125, 0.875]]
    assert mdp.expected_next(np.array([1.0, 3.0])).tolist() == [[2.0, 1.0], [2.5, 3.0]]
    with pytest.raises(InvalidArgument, match="shape"):
        mdp.policy_transitions(pi[:1])
    with pytest.raises(InvalidArgument, match="shape"):
        mdp.expected_next(np.ones(3))


@pytest.mark.parametrize("sparse", [False, True])
def test_terminal_states(sparse):
    transitions = np.zeros((3, 2, 3))
    transitions[:, :, 2] = 1
    transitions[1, :, 2], transitions[1, :, 1] = 0, 1
    rewards = np.array([[0, 0], [0, 1.0], [0, 0]])
    given = csr_matrix(transitions.reshape(6, 3)) if sparse else transitions
    # state 1 stays but pays; state 0 moves; state 2 stays and pays nothing
    assert MDP(given, rewards, 0.5, [1, 0, 0]).terminal_states.tolist() == [False, False, True]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("discount", [0.0, 0.5])
def test_reachable_states(discount, sparse):
    # 0 → 1 → 2 → 2, and 3 → 0; only an action of state 1 leads on, with a tiny probability
    transitions = np.zeros((4, 2, 4))
    transitions[0, :, 1] = transitions[1, 0, 1] = transitions[2, :, 2] = transitions[3, :, 0] = 1
    transitions[1, 1, 1], transitions[1, 1, 2] = 1, 1e-300
    given = csr_matrix(transitions.reshape(8, 4)) if sparse else transitions
    mdp = MDP(given, np.zeros((4, 2)), discount, [1, 0, 0, 0])
    expected = [True, discount > 0, discount > 0, False]
    assert mdp.reachable_states.tolist() == expected
    explicit_zero = csr_matrix(([1.0, 0.0, 1.0], [0, 1, 1], [0, 2, 3]), shape=(2, 2))
    assert MDP(explicit_zero, [[0], [0]], 0.5, [1, 0]).reachable_states.tolist() == [True, False]


def test_quadratic_reward_by_the_written_out_polynomial():
    mdp = random_quadratic(np.random.default_rng(0), 3, 2, 0.5)
    c, b, M = mdp.reward_quadratic
    x, y = 0.3, -1.7
    for s in range(3):
        expected = (
            c[s] + b[s, 0] * x + b[s, 1] * y
            + M[s, 0, 0] * x * x + (M[s, 0, 1] + M[s, 1, 0]) * x * y + M[s, 1, 1] * y * y
        )  # fmt: skip
        assert mdp.reward([s], [[x, y]])[0] == pytest.approx(expected, rel=20 * U)
    assert (mdp.num_states, mdp.action_size) == (3, 2)
    with pytest.raises(InvalidArgument, match="actions"):
        mdp.reward([0], [[1.0]])


ZERO = (np.zeros(2), np.zeros((2, 1)), np.zeros((2, 1, 1)))


@pytest.mark.parametrize(
    ("transitions", "quadratic", "message"),
    [
        (np.eye(2)[:1], ZERO, r"shape \(S, S\)"),
        ([[0.5, 0.4], [0, 1]], ZERO, r"transitions\[0\] sums"),
        (np.eye(2), ZERO[:2], "three arrays"),
        (np.eye(2), (ZERO[0], np.zeros((2, 2)), ZERO[2]), r"reward_quadratic\[2\]"),
        (np.eye(2), (ZERO[0], np.zeros(2), ZERO[2]), r"reward_quadratic\[1\]"),
        (np.eye(2), (np.array([0, np.nan]), *ZERO[1:]), r"\[0\]\[1\] is nan"),
    ],
)
def test_quadratic_violations(transitions, quadratic, message):
    with pytest.raises(InvalidMDP, match=message):
        QuadraticMDP(transitions, quadratic, 0.5, START)


def test_quadratic_arrays_are_read_only():
    mdp = random_quadratic(np.random.default_rng(0), 2, 1, 0.5)
    for array in (mdp.transitions, mdp.initial_distribution, *mdp.reward_quadratic):
        with pytest.raises(ValueError, match="read-only"):
            array[(0,) * array.ndim] = 1
