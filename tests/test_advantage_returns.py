"""Returns where estimates belong, made of one's own rollout with one mistake, told by its name."""

from __future__ import annotations

import numpy as np
import pytest
from test_advantage_names import GAMMA, LAM, SCALINGS, check, loop, rollout, told, verdict


def returns(rows, gamma, bootstrap):
    """Row by row: the reward, and γ times what followed it in its episode."""
    r, _, after, term, trunc = rows
    found = np.zeros(r.shape)
    for i in range(r.shape[1]):
        for t in range(len(r)):
            factor = 1.0
            for k in range(t, len(r)):
                found[t, i] += factor * r[k, i]
                factor *= gamma
                last = trunc[k, i] or (bootstrap == "everywhere" and k + 1 == len(r))
                if last and bootstrap and not term[k, i]:
                    found[t, i] += factor * after[k, i]
                if term[k, i] or trunc[k, i]:
                    break
    return found


def age(rows):
    """The number of steps since the episode began, and the row in which it did."""
    _, _, _, term, trunc = rows
    ages = np.zeros(term.shape, dtype=int)
    for t in range(1, len(term)):
        ages[t] = np.where((term | trunc)[t - 1], 0, ages[t - 1] + 1)
    return ages, np.arange(len(term))[:, None] - ages


def planted(name, rows, bootstrap, gamma=GAMMA):
    steps, first = age(rows)
    usual = returns(rows, gamma, bootstrap)
    match name:
        case "undiscounted-reward-to-go":
            return returns(rows, 1.0, bootstrap)
        case "whole-return":
            return np.take_along_axis(usual, first, axis=0)
        case "discounted-from-the-start":
            return gamma**steps * usual
        case _:
            return gamma * usual


NAMES = (
    "undiscounted-reward-to-go",
    "whole-return",
    "discounted-from-the-start",
    "reward-discounted-once-more",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bootstrap", ["", "at time limits", "everywhere"])
@pytest.mark.parametrize("less_value", [False, True])
def test_returns_with_a_mistake_are_named(name, bootstrap, less_value):
    rows = rollout()
    given = planted(name, rows, bootstrap) - less_value * rows[1]
    for scaling in ("raw", "centred", "N"):
        assert told(check(SCALINGS[scaling](given), rows)) == [name]
    report = check(given, rows, lam=1.0)
    assert told(report) == [name]
    (named, *_) = verdict(report).diagnosis
    same = name == "undiscounted-reward-to-go" and bootstrap == "everywhere" and less_value
    assert named.alternatives == (("gae-other-discount",) if same else ())
    assert f"npgcheck explain {name}" in str(report)
    assert ("no V(s′) after the last step" in named.note) == (bootstrap == "")


@pytest.mark.parametrize("name", NAMES)
def test_targets_with_a_mistake_are_named(name):
    rows = rollout()
    given = planted(name, rows, "everywhere")
    found = verdict(check(loop(rows), rows, returns=given), "returns").diagnosis
    assert [d.choice for d in found if d.kind == "bug"] == [name]


@pytest.mark.parametrize("by", [GAMMA, GAMMA * LAM])
def test_estimates_weighed_from_the_start_are_named(by):
    rows = rollout()
    report = check(by ** age(rows)[0] * loop(rows), rows)
    assert told(report) == ["discounted-from-the-start"]
    assert ("(γλ)ᵗ" in verdict(report).reason) == (by != GAMMA)


def test_estimates_of_another_row_are_named():
    rows = rollout()
    usual = loop(rows)
    episodes = np.take_along_axis(usual, age(rows)[1], axis=0)
    for given, words in ((episodes, "an episode's first step"), (usual[:1], "the first row")):
        report = check(np.broadcast_to(given, usual.shape), rows)
        assert told(report) == ["whole-return"]
        assert words in verdict(report).reason


def test_the_reward_less_its_baseline_is_another_discount_as_well():
    rows = rollout()
    (named, *_) = verdict(check(rows[0] - rows[1], rows)).diagnosis
    assert (named.choice, named.alternatives) == ("reward-as-critic", ("gae-other-discount",))


@pytest.mark.parametrize("plant", ["residual-without-gamma", "wrong-discount"])
def test_the_name_of_another_page_is_offered_beside(plant):
    rows = rollout()
    gammas = (1.0, GAMMA) if plant == "residual-without-gamma" else (0.95, 0.95)
    found, running = np.zeros(rows[0].shape), 0.0
    for t in reversed(range(len(found))):
        r, v, after, term, trunc = (a[t] for a in rows)
        running = r + gammas[0] * ~term * after - v + gammas[1] * LAM * ~(term | trunc) * running
        found[t] = running
    (named, *_) = verdict(check(found, rows)).diagnosis
    assert named.alternatives == (plant,)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_right_returns_without_a_discount_are_not_accused(scaling):
    """γ = 1 and λ = 1: sums without γ are the right ones, whatever the rows."""
    for seed in range(10):
        rows = rollout(20, 2, seed)
        given = SCALINGS[scaling](loop(rows, gamma=1.0, lam=1.0))
        assert told(check(given, rows, discount=1.0, lam=1.0)) == []


@pytest.mark.parametrize("bootstrap", ["", "at time limits"])
def test_plain_returns_have_none_of_these_names(bootstrap):
    for seed in range(5):
        rows = rollout(30, 2, seed)
        for gamma in (GAMMA, 1.0):
            given = returns(rows, gamma, bootstrap)
            report = check(given - rows[1], rows, discount=gamma, lam=1.0)
            assert not set(told(report)) & set(NAMES), str(report)


def test_episodes_of_one_step_show_nothing():
    rows = list(rollout(20, 2))
    rows[3], rows[4] = np.ones_like(rows[3]), np.zeros_like(rows[4])
    assert check(rows[0] - rows[1], rows).passed
