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
