"""check_advantages: right estimates in many styles are spared, each mistake is told by its name."""

from __future__ import annotations

import numpy as np
import pytest
from test_gae_mistakes import backward

import npgcheck
from npgcheck.conformance.explainers.pure import by_definition
from npgcheck.gae import advantage_estimate

NAMED = [
    "timeout-as-terminal",
    "bootstrap-after-termination",
    "gae-leaks-across-episodes",
    "gae-delta-without-gamma",
    "gae-trace-without-gamma",
]
GAMMA, LAM = 0.99, 0.95


def rollout(steps=300, environments=None, dtype=float, seed=0, offset=0.0):
    """Rewards, values, next values and flags of a recording with every kind of end."""
    rng = np.random.default_rng(seed)
    shape = (steps,) if environments is None else (steps, environments)
    rewards, values = rng.normal(size=shape), 5.0 * rng.normal(size=shape) + offset
    terminated = rng.random(shape) < 0.02
    truncated = (rng.random(shape) < 0.02) & ~terminated
    after = np.concatenate([values[1:], values[:1]])
    after = np.where(terminated | truncated, 5.0 * rng.normal(size=shape) + offset, after)
    return [a.astype(dtype) for a in (rewards, values, after)] + [terminated, truncated]


def estimates(rows, discount=GAMMA, lam=LAM, rule=""):
    """The usual backward recursion, column by column, with one rule dropped."""
    recursion = backward(rule, rows[0].dtype)["advantage_estimate"]
    if rows[0].ndim == 1:
        return recursion(*rows, discount, lam)
    columns = [[a[:, i] for a in rows] for i in range(rows[0].shape[1])]
    return np.stack([recursion(*column, discount, lam) for column in columns], axis=1)


def check(advantages, rows, **options):
    return npgcheck.check_advantages(advantages, *rows, discount=GAMMA, lam=LAM, **options)


def value(report, quantity="advantage_estimate"):
    return next(r for r in report.results if r.quantity == quantity and r.kind == "value")


def names(report, quantity="advantage_estimate"):
    return {d.choice: d.value for d in value(report, quantity).diagnosis if d.kind != "free"}


SHAPES = pytest.mark.parametrize("environments", [None, 1, 4])
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


# -- right ------------------------------------------------------------------------------------


@SHAPES
@DTYPES
@pytest.mark.parametrize("seed", range(3))
def test_right_estimates_pass(environments, dtype, seed):
    rows = rollout(environments=environments, dtype=dtype, seed=seed, offset=seed * 100.0)
    report = check(estimates(rows), rows, returns=estimates(rows) + rows[1])
    assert report.passed
    assert {q.quantity: q.status for q in report.quantities} == {
        "advantage_estimate": "pass",
        "returns": "pass",
    }


def test_the_second_route_agrees():
    for seed in range(5):
        rows = rollout(seed=seed)
        for lam in (0.0, 0.5, 1.0):
            exact = by_definition(*rows, GAMMA, lam)
            np.testing.assert_allclose(
                advantage_estimate(*rows, GAMMA, lam), exact, rtol=0, atol=1e-12
            )


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_limits_of_the_two_numbers(discount, lam):
    rows = rollout(120, 2)
    given = estimates(rows, discount, lam)
    report = npgcheck.check_advantages(given, *rows, discount=discount, lam=lam)
    assert value(report).status == "pass", str(report)


def test_values_in_single_precision_and_estimates_in_double():
    rows = rollout(dtype=np.float32)
    assert value(check(estimates(rows).astype(float), rows)).status == "pass"


@pytest.mark.parametrize("small", [0.0, 1e-8, 1e-5])
@pytest.mark.parametrize(
    ("ddof", "name"),
    [(0, "normalised-advantages"), (1, "normalised-advantages-sample-std")],
)
@SHAPES
@DTYPES
def test_normalised_estimates_deviate_by_name(environments, dtype, ddof, name, small):
    rows = rollout(60, environments, dtype)
    raw = estimates(rows)
    given = (raw - raw.mean()) / (raw.std(ddof=ddof) + small)
    report = check(given.astype(dtype), rows)
    assert report.passed
    assert value(report).status == "deviates"
    assert names(report) == {name: None}
    declared = eval(report.declare.partition("= ")[2], {"npgcheck": npgcheck})
    assert value(check(given.astype(dtype), rows, conventions=declared)).status == "pass"


def test_a_mean_taken_off_is_a_free_choice():
    rows = rollout()
    report = check(estimates(rows) - estimates(rows).mean(), rows)
    assert value(report).status == "pass"


def test_discounted_returns_are_targets_too():
    rows = rollout()
    given = estimates(rows)
    report = check(given, rows, returns=estimates(rows, lam=1.0) + rows[1])
    assert value(report, "returns").status == "pass"
    assert "discounted returns" in value(report, "returns").reason


def test_a_terminal_value_may_be_anything():
    rows = rollout()
    rows[2] = np.where(rows[3], np.nan, rows[2])
    clean = [*rows[:2], np.nan_to_num(rows[2]), *rows[3:]]
    assert check(estimates(clean), rows).passed


@pytest.mark.slow
def test_half_a_thousand_right_rollouts_are_not_accused():
    accused = []
    for seed in range(500):
        rng = np.random.default_rng(seed)
        shape = (int(rng.integers(1, 40)), (None, 1, 3)[seed % 3])
        dtype = (np.float64, np.float32)[seed % 2]
        rows = rollout(*shape, dtype=dtype, seed=seed, offset=float(10.0 ** rng.integers(-3, 4)))
        discount, lam = float(rng.choice([0.9, 0.99, 1.0])), float(rng.choice([0, 0.5, 0.95, 1]))
        given = estimates(rows, discount, lam)
        report = npgcheck.check_advantages(
            given, *rows, discount=discount, lam=lam, returns=given + rows[1]
        )
        if {q.status for q in report.quantities} != {"pass"}:
            accused.append((seed, str(report)))
    assert not accused


# -- wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", NAMED)
@SHAPES
@DTYPES
@pytest.mark.parametrize("normalised", [False, True])
def test_a_dropped_rule_is_named(rule, environments, dtype, normalised):
    rows = rollout(environments=environments, dtype=dtype)
    raw = estimates(rows, rule=rule)
    given = (raw - raw.mean()) / (raw.std() + 1e-8) if normalised else raw
    report = check(given.astype(dtype), rows, returns=raw + rows[1])
    assert not report.passed
    assert [n for n in names(report) if not n.startswith("normalised")] == [rule]
    assert value(report, "returns").explained_by == "advantage_estimate"
    assert report.counts["mistakes"] == 1


@pytest.mark.parametrize(
    ("discount", "lam", "told"),
    [
        (0.99, 0.9, {"gae-other-lambda": 0.9}),
        (0.99, 0.0, {"gae-other-lambda": 0.0}),
        (0.99, 1.0, {"gae-other-lambda": 1.0}),
        (0.995, 0.95, {"gae-other-discount": 0.995}),
        (1.0, 0.95, {"gae-other-discount": 1.0}),
        (0.9, 0.8, {"gae-other-discount": 0.9, "gae-other-lambda": 0.8}),
    ],
)
@DTYPES
def test_other_numbers_are_estimated(discount, lam, told, dtype):
    rows = rollout(environments=2, dtype=dtype)
    report = check(estimates(rows, discount, lam), rows)
    assert not report.passed
    assert names(report) == told


@pytest.mark.parametrize("rule", NAMED[:3])
def test_a_dropped_rule_and_another_number(rule):
    rows = rollout()
    found = names(check(estimates(rows, lam=0.9, rule=rule), rows))
    assert found == {rule: None, "gae-other-lambda": 0.9}


FACTS = {
    "always zero": lambda r: 0.0 * r[0],
    "within each environment": lambda r: (
        (estimates(r) - estimates(r).mean(axis=0)) / estimates(r).std(axis=0)
    ),
    "environment by environment": lambda r: estimates(r).T.reshape(r[0].shape),
    "reverse order": lambda r: estimates(r)[::-1],
    "terminated and truncated are swapped": lambda r: estimates([*r[:3], r[4], r[3]]),
    "times 2": lambda r: 2.0 * estimates(r),
    "plus 0.25": lambda r: estimates(r) + 0.25,
    "that a time limit cuts": lambda r: estimates([*r[:2], r[2] + r[4], *r[3:]]),
    "that end by termination": lambda r: estimates([r[0] + r[3], *r[1:]]),
    "first in row 7 of environment 1": lambda r: estimates(r) + np.eye(len(r[0]))[7:8].T * [0, 1],
    "no known choice": lambda r: estimates(r) ** 3,
}


@pytest.mark.parametrize("text", FACTS)
def test_other_mistakes_are_told_by_facts(text):
    rows = rollout(environments=2)
    report = check(FACTS[text](rows), rows)
    result = value(report)
    assert result.status == "fail"
    assert text in result.reason
    assert not result.diagnosis
    assert result.counterexample.yours != result.counterexample.exact


def test_returns_that_are_wrong_alone_and_returns_from_normalised_advantages():
    rows = rollout()
    raw = estimates(rows)
    report = check(raw, rows, returns=raw)
    assert value(report).status == "pass"
    assert value(report, "returns").status == "fail"
    assert value(report, "returns").explained_by is None
    normal = (raw - raw.mean()) / raw.std()
    mixed = check(normal, rows, returns=normal + rows[1])
    assert "normalised advantages" in value(mixed, "returns").reason
    wrong = 2.0 * raw
    assert (
        value(check(wrong, rows, returns=wrong + rows[1]), "returns").explained_by
        == "advantage_estimate"
    )


def test_a_broken_declaration_fails():
    rows = rollout()
    meant = npgcheck.Conventions(advantage="normalised")
    report = check(estimates(rows), rows, conventions=meant)
    assert not report.passed
    assert "declares advantage='normalised'" in value(report).reason


# -- what is not visible, and what is refused ---------------------------------------------------


def test_mistakes_that_these_rows_cannot_show_are_listed():
    rows = rollout()
    assert not check(estimates(rows), rows).not_visible
    rows[4] = np.zeros_like(rows[4])
    (text,) = check(estimates(rows), rows).not_visible
    assert "timeout-as-terminal" in text
    assert "bootstrap-after-termination" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(4)}, "rewards"),
        ({"values": np.zeros((3, 2))}, "values has shape"),
        ({"terminated": np.full(3, 0.5)}, "terminated must hold booleans"),
        ({"values": np.array([0.0, np.nan, 0.0])}, "values holds nan"),
        ({"discount": 1.5}, "discount must lie"),
        ({"lam": -0.1}, "lam must lie"),
        ({"rewards": np.zeros((1, 1, 3))}, "shape"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {
        "rewards": np.zeros(3),
        "values": np.zeros(3),
        "next_values": np.zeros(3),
        "terminated": [False, False, True],
        "truncated": [0, 1, 0],
        "discount": 0.9,
        "lam": 0.9,
    }
    npgcheck.check_advantages(np.zeros(3), **arguments)
    with pytest.raises(npgcheck.InvalidArgument, match=message):
        npgcheck.check_advantages(np.zeros(3), **{**arguments, **change})


def test_conventions_of_another_type_are_refused():
    rows = rollout()
    with pytest.raises(npgcheck.UsageError, match="Conventions"):
        check(estimates(rows), rows, conventions={"advantage": "normalised"})


@pytest.mark.parametrize("given", [np.zeros(7), np.full(300, np.nan)])
def test_answers_of_another_shape_and_nan_are_findings(given):
    report = check(given, rollout())
    assert not report.passed
    assert report.results[0].kind == "contract"


def test_the_report_renders_and_follows_its_schema():
    import jsonschema

    from npgcheck.conformance.render_json import schema

    rows = rollout(environments=2)
    report = check(estimates(rows, rule=NAMED[0]), rows, returns=estimates(rows))
    jsonschema.validate(report.to_json(), schema())
    assert "npgcheck explain timeout-as-terminal" in str(report)
