"""Generalised advantage estimates with one rule dropped, each told by its name."""

from __future__ import annotations

import numpy as np
import pytest

import npgcheck


def backward(rule: str = "", dtype: type = float):
    """The usual backward recursion, with one rule dropped."""

    def advantage_estimate(rewards, values, next_values, terminated, truncated, discount, lam):
        result = np.zeros(len(rewards), dtype)
        running = 0.0
        for t in reversed(range(len(rewards))):
            ended = terminated[t] or truncated[t]
            bootstrap = discount * next_values[t] * (not terminated[t])
            decay = discount * lam * (not ended)
            if rule == "timeout-as-terminal":
                bootstrap = discount * next_values[t] * (not ended)
            elif rule == "bootstrap-after-termination":
                bootstrap = discount * next_values[t]
            elif rule == "gae-leaks-across-episodes":
                decay = discount * lam
            elif rule == "gae-delta-without-gamma":
                bootstrap = next_values[t] * (not terminated[t])
            elif rule == "gae-trace-without-gamma":
                decay = lam * (not ended)
            running = rewards[t] + bootstrap - values[t] + decay * running
            result[t] = running
        return result

    return {"advantage_estimate": advantage_estimate}


@pytest.mark.parametrize(
    "rule",
    [
        "timeout-as-terminal",
        "bootstrap-after-termination",
        "gae-leaks-across-episodes",
        "gae-delta-without-gamma",
        "gae-trace-without-gamma",
    ],
)
def test_a_dropped_rule_is_named(rule: str) -> None:
    report = npgcheck.verify(backward(rule), examples=1)
    assert not report.passed
    value = report.quantities[-1].value or report.results[0]
    assert [d.choice for r in report.results for d in r.diagnosis if d.kind == "bug"] == [rule]
    assert value.status == "fail"


@pytest.mark.parametrize("dtype", [float, np.float32])
def test_the_whole_recursion_is_right(dtype: type) -> None:
    assert npgcheck.verify(backward(dtype=dtype), examples=1).passed


def test_a_pure_problem_can_be_replayed() -> None:
    report = npgcheck.verify(backward("gae-leaks-across-episodes"), examples=1)
    failing = next(r for r in report.results if r.status == "fail" and r.kind == "value")
    assert failing.counterexample is not None
    again = npgcheck.verify(
        backward("gae-leaks-across-episodes"),
        only="advantage_estimate",
        problem_id=failing.counterexample.problem_id,
    )
    assert not again.passed


def weighed(delta, trace, ends):
    """Σ_l of the later residuals of an episode, by a triangular matrix of weights."""
    steps = len(delta)
    episode = np.concatenate([[0], np.cumsum(ends)[:-1]])
    lag = np.arange(steps)[None, :] - np.arange(steps)[:, None]
    same = (episode[:, None] == episode[None, :]) & (lag >= 0)
    return np.where(same, float(trace) ** np.maximum(lag, 0), 0.0) @ delta


def matrices(mistake: str = ""):
    """Estimates without a loop, with one mistake in them."""

    def advantage_estimate(r, v, after, terminated, truncated, g, lam):
        term, cut = np.array(terminated, bool), np.array(truncated, bool)
        if mistake == "done-flag-one-step-late":
            term, cut = np.roll(term, 1), np.roll(cut, 1)
        if mistake == "done-flag-one-step-early":
            term, cut = np.roll(term, -1), np.roll(cut, -1)
        if mistake == "bootstrap-from-reset-state":
            after = np.append(v[1:], 0.0)
        if mistake == "bootstrap-from-reset-state, rolled":
            after = np.roll(v, -1)
        if mistake == "reward-of-the-next-step":
            r = np.append(r[1:], 0.0)
        if mistake == "clipped-rewards":
            r = r.clip(-0.5, 0.5)
        if mistake == "reward-signs":
            r = np.sign(r)
        if mistake == "reward-discounted-once-more":
            r = r * g
        first = {"gae-other-discount, residuals": 0.97}.get(mistake, g)
        second = {"gae-other-discount, trace": 0.97}.get(mistake, g) * lam
        delta = r + first * after * ~term - v
        if mistake == "td-error-swapped":
            delta = r + g * v - after * ~term
        if mistake == "baseline-added":
            delta = delta + 2.0 * v
        if mistake == "gae-baseline-missing":
            return weighed(delta + v, second, term | cut) - v
        if mistake == "gae-accumulated-forwards":
            return weighed(delta[::-1], second, (term | cut)[::-1])[::-1]
        found = weighed(delta, second, term | cut)
        return {
            "absolute-advantages": abs(found),
            "positive-advantages-only": found.clip(min=0.0),
            "value-as-critic": v,
            "reward-as-critic": r,
        }.get(mistake, found)

    return {"advantage_estimate": advantage_estimate}


@pytest.mark.parametrize(
    "mistake",
    [
        "gae-accumulated-forwards",
        "gae-baseline-missing",
        "gae-other-discount, residuals",
        "gae-other-discount, trace",
        "done-flag-one-step-late",
        "done-flag-one-step-early",
        "bootstrap-from-reset-state",
        "bootstrap-from-reset-state, rolled",
        "td-error-swapped",
        "baseline-added",
        "reward-of-the-next-step",
        "reward-discounted-once-more",
        "clipped-rewards",
        "reward-signs",
        "reward-as-critic",
        "value-as-critic",
        "absolute-advantages",
        "positive-advantages-only",
    ],
)
def test_a_mistake_in_another_style_is_named(mistake: str) -> None:
    report = npgcheck.verify(matrices(mistake), examples=1)
    (value,) = (r for r in report.results if r.kind == "value" and r.status != "not_covered")
    assert value.status == "fail"
    assert [d.choice for d in value.diagnosis] == [mistake.partition(",")[0]]
    if mistake.startswith("gae-other-discount"):
        assert value.diagnosis[0].value == pytest.approx(0.97)
        place = "in the residuals alone" if "residuals" in mistake else "later residuals weighed"
        assert place in value.reason
    assert value.reason == value.diagnosis[0].note


def test_right_estimates_without_a_loop_pass() -> None:
    assert npgcheck.verify(matrices(), examples=1).passed


def test_no_law_through_two_discounts() -> None:
    right = backward()["advantage_estimate"]

    def advantage_estimate(*args):
        *rows, discount, lam = args
        return right(*rows, discount**2, lam)

    report = npgcheck.verify({"advantage_estimate": advantage_estimate}, examples=1)
    (value,) = (r for r in report.results if r.kind == "value" and r.status != "not_covered")
    assert value.status == "fail"
    assert "γ V′" not in value.reason
    assert not value.diagnosis
