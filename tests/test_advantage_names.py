"""Mistakes in advantages of one's own rollout, each planted in a loop over time for all
environments at once, and told by its name; raw, and after the usual scalings."""

from __future__ import annotations

import numpy as np
import pytest

import npgcheck

GAMMA, LAM = 0.98, 0.9


def rollout(steps=90, environments=3, seed=1):
    rng = np.random.default_rng(seed)
    shape = (steps, environments)
    rewards, values = 2.0 * rng.normal(size=shape), rng.normal(size=shape) + 0.5
    terminated = rng.random(shape) < 0.05
    truncated = (rng.random(shape) < 0.05) & ~terminated
    following = np.vstack([values[1:], rng.normal(size=(1, environments))])
    following = np.where(terminated | truncated, rng.normal(size=shape), following)
    return rewards, values, following, terminated, truncated


def shifted(array, by, fill=0):
    new = np.roll(array, by, axis=0)
    if fill != "wrap":
        new[0 if by > 0 else -1] = fill
    return new


def loop(rows, mistake="", gamma=GAMMA, lam=LAM):
    """The usual loop of vectorised training code, with one mistake in it."""
    r, v, after, term, trunc = (np.array(a) for a in rows)
    done, trace = term | trunc, gamma * lam
    order = range(len(r) - 1, -1, -1)
    match mistake:
        case "gae-accumulated-forwards" | "gae-accumulated-forwards, own flag":
            order = range(len(r))
            done = done if mistake.endswith("own flag") else shifted(done, 1)
        case "gae-leaks-at-time-outs":
            done = term
        case "bootstrap-from-reset-state":
            after = np.vstack([v[1:], after[-1:]])
        case "bootstrap-from-reset-state, zero at the end":
            after = np.vstack([v[1:], 0.0 * v[:1]])
        case "done-flag-one-step-late":
            done, term = shifted(done, 1), shifted(term, 1)
        case "done-flag-one-step-late, rolled":
            done, term = shifted(done, 1, "wrap"), shifted(term, 1, "wrap")
        case "done-flag-one-step-early":
            done = shifted(done, -1, 1)
        case "done-flag-one-step-early, rolled":
            done, term = shifted(done, -1, "wrap"), shifted(term, -1, "wrap")
        case "rollout-end-as-terminal":
            after[-1] = 0.0
        case "last-step-left-at-zero":
            order = range(len(r) - 2, -1, -1)
        case "gae-weight-missing":
            trace = 1.0
        case "reward-of-the-next-step":
            r = shifted(r, -1)
        case "reward-of-the-next-step, rolled":
            r = shifted(r, -1, "wrap")
        case "clipped-rewards":
            r = np.clip(r, -2.0, 2.0)
        case "reward-signs":
            r = np.sign(r)
        case "reward-of-the-next-step, within episodes":
            r = np.where(done, 0.0, shifted(r, -1))
        case "reward-discounted-once-more":
            r = gamma * r
    found, running = np.zeros(r.shape), np.zeros(r.shape[1])
    for t in order:
        delta = r[t] + gamma * (1 - term[t]) * after[t] - v[t]
        if mistake == "gae-baseline-missing":
            delta = delta + v[t]
        if mistake == "baseline-added":
            delta = delta + 2 * v[t]
        if mistake == "td-error-swapped":
            delta = r[t] + gamma * v[t] - (1 - term[t]) * after[t]
        if mistake == "td-error-swapped, arguments":
            delta = r[t] + gamma * (1 - term[t]) * v[t] - after[t]
        if mistake == "gae-gamma-lambda-swapped":
            delta = r[t] + lam * (1 - term[t]) * after[t] - v[t]
        running = delta + trace * (1 - done[t]) * running
        found[t] = running
    match mistake:
        case "gae-returns-added":
            return found + v
        case "baseline-added, afterwards":
            return found + 2 * v
        case "gae-negated":
            return -found
        case "value-as-critic":
            return v
        case "reward-as-critic":
            return rows[0]
        case "absolute-advantages":
            return np.abs(found)
        case "positive-advantages-only":
            return np.where(found > 0, found, 0.0)
    return found


PLANTS = (
    "gae-accumulated-forwards",
    "gae-accumulated-forwards, own flag",
    "gae-baseline-missing",
    "gae-leaks-at-time-outs",
    "gae-returns-added",
    "gae-negated",
    "gae-weight-missing",
    "gae-gamma-lambda-swapped",
    "bootstrap-from-reset-state",
    "bootstrap-from-reset-state, zero at the end",
    "done-flag-one-step-late",
    "done-flag-one-step-late, rolled",
    "done-flag-one-step-early",
    "done-flag-one-step-early, rolled",
    "rollout-end-as-terminal",
    "last-step-left-at-zero",
    "td-error-swapped",
    "td-error-swapped, arguments",
    "reward-of-the-next-step",
    "reward-of-the-next-step, rolled",
    "reward-of-the-next-step, within episodes",
    "clipped-rewards",
    "reward-signs",
    "reward-discounted-once-more",
    "reward-as-critic",
    "value-as-critic",
    "baseline-added",
    "baseline-added, afterwards",
    "absolute-advantages",
    "positive-advantages-only",
)
SCALINGS = {
    "raw": lambda a: a,
    "centred": lambda a: a - a.mean(),
    "N": lambda a: (a - a.mean()) / (a.std() + 1e-8),
    "N - 1": lambda a: (a - a.mean()) / a.std(ddof=1),
    "scaled": lambda a: a / a.std(),
}
BESIDE = {"normalised-advantages", "normalised-advantages-sample-std", "scaled-advantages"}


def check(given, rows, **options):
    options = {"discount": GAMMA, "lam": LAM, **options}
    return npgcheck.check_advantages(given, *rows, **options)


def verdict(report, quantity="advantage_estimate"):
    return next(r for r in report.results if r.quantity == quantity and r.kind == "value")


def told(report):
    named = verdict(report).diagnosis
    return [d.choice for d in named if d.kind == "bug" and d.choice not in BESIDE]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_mistake_is_named(plant, scaling):
    rows = rollout()
    report = check(SCALINGS[scaling](loop(rows, plant)), rows)
    assert verdict(report).status == "fail"
    name = plant.partition(",")[0]
    assert told(report) == [name]
    # What is no other mistake is not said to be one.
    equal = {
        "gae-gamma-lambda-swapped": ("gae-other-discount",),
        "gae-negated": ("advantage-negated",),
    }.get(name, ())
    assert next(d for d in verdict(report).diagnosis if d.choice == name).alternatives == equal
    text = str(report)
    assert f"npgcheck explain {name}" in text
    assert "      mend " in text


@pytest.mark.parametrize("plant", PLANTS)
def test_a_mistake_is_named_in_single_precision_and_on_one_stream(plant):
    rows = [a[:, 0] for a in rollout(200)]
    columns = [a[:, None] for a in rows]
    given = loop(columns, plant)[:, 0].astype(np.float32)
    singles = [a.astype(np.float32) if a.dtype == float else a for a in rows]
    assert told(check(given, singles)) == [plant.partition(",")[0]]


@pytest.mark.parametrize("scaling", ["N", "N - 1"])
@pytest.mark.parametrize("change", [np.abs, lambda a: np.maximum(a, 0.0)])
def test_a_sign_lost_after_normalisation_is_named(scaling, change):
    rows = rollout()
    name = "absolute-advantages" if change is np.abs else "positive-advantages-only"
    assert told(check(change(SCALINGS[scaling](loop(rows))), rows)) == [name]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_right_estimates_are_not_accused(scaling):
    for seed in range(40):
        rows = rollout(int(5 + seed), 1 + seed % 3, seed)
        report = check(SCALINGS[scaling](loop(rows)), rows)
        assert told(report) == [], str(report)
        assert verdict(report).status in ({"fail"} if scaling == "scaled" else {"pass", "deviates"})
        assert report.passed == (scaling != "scaled")


WITHOUT_A_NAME = {
    "noise": lambda rows, rng: rng.normal(size=rows[0].shape),
    "noise beside": lambda rows, rng: loop(rows) + 1e-3 * rng.normal(size=rows[0].shape),
    "a factor": lambda rows, rng: 2.0 * loop(rows) + 0.5,
    "a power": lambda rows, rng: loop(rows) ** 3,
    "tanh": lambda rows, rng: np.tanh(loop(rows)),
    "cut off": lambda rows, rng: np.clip(loop(rows), -1.0, 1.0),
    "zero": lambda rows, rng: np.zeros(rows[0].shape),
    "backwards": lambda rows, rng: loop(rows)[::-1],
    "shuffled": lambda rows, rng: rng.permutation(loop(rows)),
    "rewards two steps on": lambda rows, rng: loop((np.roll(rows[0], -2, axis=0), *rows[1:])),
    "rewards of the last step": lambda rows, rng: loop((np.roll(rows[0], 1, axis=0), *rows[1:])),
    "one of each": lambda rows, rng: np.where(rng.random(rows[0].shape) < 0.5, loop(rows), 1.0),
}


@pytest.mark.parametrize("scaling", ["raw", "N"])
@pytest.mark.parametrize("answer", WITHOUT_A_NAME)
def test_what_no_mistake_explains_has_no_name(answer, scaling):
    scaled = SCALINGS[scaling if answer != "zero" else "raw"]
    for seed in range(10):
        rows = rollout(20, 2, seed)
        given = WITHOUT_A_NAME[answer](rows, np.random.default_rng(seed + 1000))
        report = check(scaled(given), rows)
        assert told(report) == [], str(report)


def test_two_rows_are_not_enough_for_a_name_behind_a_normalisation():
    rows = rollout(2, 1, 0)
    assert told(check(SCALINGS["N"](loop(rows, "gae-negated")), rows)) == []


def test_mistakes_that_these_rows_cannot_tell_apart_are_said_together():
    rows = [np.array(a) for a in rollout(40, 2)]
    rows[3][:] = rows[4][:] = False
    rows[4][-1] = True
    (named, *_) = verdict(check(loop(rows, "rollout-end-as-terminal"), rows)).diagnosis
    both = {named.choice, *named.alternatives}
    assert both >= {"rollout-end-as-terminal", "timeout-as-terminal"}


@pytest.mark.parametrize("normalised", [False, True])
def test_another_discount_in_one_place(normalised):
    rows = rollout()
    r, v, after, term, trunc = rows

    def estimate(first, second):
        found, running = np.zeros(r.shape), np.zeros(r.shape[1])
        for t in reversed(range(len(r))):
            running = (
                r[t] + first * ~term[t] * after[t] - v[t] + second * ~(term | trunc)[t] * running
            )
            found[t] = running
        return (found - found.mean()) / found.std() if normalised else found

    def numbers(report):
        return [
            (d.choice, d.value, d.note) for d in verdict(report).diagnosis if d.value is not None
        ]

    (residual,) = numbers(check(estimate(0.95, GAMMA * LAM), rows))
    assert residual[:2] == ("gae-other-discount", 0.95)
    assert residual[2] == "computed with γ = 0.95, not 0.98, in the residuals alone"
    (trace,) = numbers(check(estimate(GAMMA, 0.91 * LAM), rows))
    assert trace[:2] == ("gae-other-discount", 0.91)
    assert trace[2] == "computed with γ = 0.91, not 0.98, where later residuals are weighed"
    (other,) = numbers(check(estimate(GAMMA, GAMMA * 0.8), rows))
    assert other[:2] == ("gae-other-lambda", 0.8)
    both = numbers(check(estimate(0.95, 0.95 * 0.8), rows))
    assert {n[:2] for n in both} == {("gae-other-discount", 0.95), ("gae-other-lambda", 0.8)}


def test_a_limit_of_rewards_is_estimated():
    rows = rollout()
    clipped = (np.clip(rows[0], -0.73, 0.73), *rows[1:])
    (named,) = verdict(check(loop(clipped), rows)).diagnosis
    assert (named.choice, named.value) == ("clipped-rewards", 0.73)
    assert named.note == "rewards clipped to ±0.73"
    wide = (np.clip(rows[0], -100.0, 100.0), *rows[1:])
    assert check(loop(wide), rows).passed


@pytest.mark.parametrize(
    "plant", ["gae-leaks-at-time-outs", "done-flag-one-step-late", "clipped-rewards"]
)
def test_targets_share_the_name(plant):
    rows = rollout()
    wrong = loop(rows, plant)
    report = check(wrong, rows, returns=wrong + rows[1])
    assert verdict(report, "returns").explained_by == "advantage_estimate"
    assert report.counts["mistakes"] == 1
    alone = check(loop(rows), rows, returns=wrong + rows[1])
    assert [d.choice for d in verdict(alone, "returns").diagnosis if d.kind == "bug"] == [plant]
