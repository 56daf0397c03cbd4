"""Generalised advantage estimation against the double sum, and by hand at every kind of end."""

from __future__ import annotations

import numpy as np
import pytest
from math_cases import U, worst

from npgcheck.errors import InvalidArgument
from npgcheck.gae import advantage_estimate
from npgcheck.oracles import summed_advantage_estimate


def rows(seed, T=30):
    rng = np.random.default_rng(seed)
    terminated = rng.random(T) < 0.15
    truncated = (rng.random(T) < 0.15) & ~terminated
    return (*rng.normal(size=(3, T)), terminated, truncated)


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_against_the_double_sum(seed, discount, lam):
    data = rows(seed)
    exact = summed_advantage_estimate(*data, discount, lam)
    # at most 30 terms of order one
    assert worst(advantage_estimate(*data, discount, lam), exact) < 100 * U


def test_each_kind_of_end_by_hand():
    rewards, values, following = np.ones(3), np.array([1.0, 2, 3]), np.array([10.0, 20, 30])

    def estimate(terminated, truncated):
        return advantage_estimate(
            rewards, values, following, np.array(terminated), np.array(truncated), 0.5, 0.5
        ).tolist()

    no = [False] * 3
    # δ = 1 + ½·(10, 20, 30) − (1, 2, 3) = (5, 9, 13); Â = δ + ¼ Â'
    assert estimate(no, no) == [5 + (9 + 13 / 4) / 4, 9 + 13 / 4, 13]
    # termination at t = 1 removes the bootstrap there (δ_1 = −1) and cuts the sum
    assert estimate([False, True, False], no) == [5 - 1 / 4, -1, 13]
    # a time-out keeps the bootstrap and cuts the sum
    assert estimate(no, [False, True, False]) == [5 + 9 / 4, 9, 13]
    # both flags: termination wins the bootstrap
    assert estimate([False, True, False], [False, True, False]) == [5 - 1 / 4, -1, 13]


def test_lambda_one_with_zero_values_is_the_return():
    rewards = np.array([1.0, 2.0, 4.0])
    zeros, no = np.zeros(3), np.zeros(3, bool)
    assert advantage_estimate(rewards, zeros, zeros, no, no, 0.5, 1.0).tolist() == [3, 4, 4]


def test_an_infinite_value_behind_the_end_is_not_read():
    found = advantage_estimate([1.0], [0.0], [np.nan], [True], [False], 0.9, 0.9)
    assert found.tolist() == [1.0]


def test_empty_and_integer_input():
    assert advantage_estimate([], [], [], [], [], 0.9, 0.9).shape == (0,)
    assert advantage_estimate([1], [0], [0], [0], [1], 0.5, 0.5).tolist() == [1.0]


def test_refusals():
    one = np.ones(2)
    with pytest.raises(InvalidArgument, match=r"one shape \(T,\), got \(2,\), \(3,\)"):
        advantage_estimate(one, np.ones(3), one, one, one, 0.5, 0.5)
    with pytest.raises(InvalidArgument, match=r"rewards must have shape \(T,\)"):
        advantage_estimate(np.ones((2, 1)), one, one, one, one, 0.5, 0.5)
    for discount, lam in ((1.1, 0.5), (0.5, -0.1), (np.nan, 0.5)):
        with pytest.raises(InvalidArgument, match=r"must lie in \[0, 1\]"):
            advantage_estimate(one, one, one, one, one, discount, lam)
