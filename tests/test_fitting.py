"""Fitting itself: screening, order of preference, accuracy, and what is held to a declaration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from npgcheck.conformance.fitting import (
    SINGLE,
    Fit,
    Judged,
    Record,
    compatible,
    explain,
    same_number,
)
from npgcheck.conformance.guard import Answer
from npgcheck.conformance.probes import Probe
from npgcheck.tolerance import UNIT_ROUNDOFF, Scales

U = UNIT_ROUNDOFF["float64"]
RIGHT = {"sampled": "mdp", "weighting": "discounted"}
BATCH = {"sampled": "batch", "weighting": "discounted"}
UNDISCOUNTED = {"sampled": "mdp", "weighting": "undiscounted"}


class Reference:
    """Numbers in place of a problem: what each candidate predicts."""

    def __init__(self, predictions):
        self.predictions = predictions
        self.scales = Scales(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


class Explainer:
    """Compares with a table, to 10u; λ adds itself."""

    def __init__(self, candidates, damped=False):
        self.options, self.damped = candidates, damped
        self.judged = 0

    def candidates(self, records, sampled):
        return self.options

    def estimate(self, records, choices):
        if not self.damped:
            return [choices]
        gaps = [r.value - r.reference.predictions[key(choices)] for r in records]
        return [choices, {**choices, "damping": float(np.mean(gaps))}]

    def fallback(self, records, choices):
        return []

    def pinned(self, declared):
        return {"damping": declared["damping"]} if "damping" in declared else {}

    def judge(self, record, choices):
        self.judged += 1
        exact = record.reference.predictions.get(key(choices))
        if exact is None:
            return None
        exact = exact + choices.get("damping", 0.0)
        return Judged(abs(float(record.value) - exact), 10 * record.unit, abs(exact), exact)


def key(choices):
    return choices["sampled"], choices["weighting"]


def records(predictions, answers, dtype="float64"):
    """One record per answer; ``predictions`` maps a candidate to a number or a list of them."""
    found = []
    for i, value in enumerate(answers):
        here = {key(c): p[i] if isinstance(p, list) else p for c, p in predictions}
        probe = Probe("fisher", None, (), (), "", i)
        found.append(Record(probe, Answer(np.asarray(value), dtype), Reference(here)))
    return found


def choices_of(found):
    return [f.choices for f in found.fitting]


def test_every_candidate_that_fits_is_kept_cheapest_first():
    asked = records([(RIGHT, 1.0), (BATCH, 1.0)], [1.0] * 12)
    found = explain(Explainer([BATCH, RIGHT]), asked, ("mdp", "batch"), {})
    assert choices_of(found) == [RIGHT, BATCH]


def test_what_costs_more_than_a_fit_is_not_tried():
    explainer = Explainer([UNDISCOUNTED, RIGHT])
    asked = records([(RIGHT, 1.0), (UNDISCOUNTED, 1.0)], [1.0] * 12)
    found = explain(explainer, asked, ("mdp",), {})
    assert choices_of(found) == [RIGHT]
    assert explainer.judged == 10 + 12  # the screen and the whole of one candidate


def test_an_exact_fit_wins_over_a_rough_one_that_costs_less():
    asked = records([(RIGHT, 1.0 + 1e-12), (UNDISCOUNTED, 1.0)], [1.0] * 12)
    found = explain(Explainer([RIGHT, UNDISCOUNTED]), asked, ("mdp",), {})
    assert choices_of(found) == [UNDISCOUNTED]


def test_a_rough_fit_is_named_as_limited_accuracy():
    asked = records([(RIGHT, 1.0 + 1e-9)], [1.0] * 12)
    (fit,) = explain(Explainer([RIGHT]), asked, ("mdp",), {}).fitting
    # An error of 1e-9 in ten units of round-off is that of a computation with u = 1e-10.
    assert fit.choices["solver_rtol"] == pytest.approx(1e-10, rel=0.06)
    assert fit.fits


def test_worse_than_single_precision_is_no_fit():
    beyond = 11 * SINGLE
    asked = records([(RIGHT, 1.0 + beyond)], [1.0] * 12)
    found = explain(Explainer([RIGHT]), asked, ("mdp",), {})
    assert found.fitting == []
    assert found.nearest[0].choices == RIGHT


def test_one_wrong_answer_refutes():
    asked = records([(RIGHT, 1.0)], [1.0, 1.5, *[1.0] * 38])
    found = explain(Explainer([RIGHT]), asked, ("mdp",), {})
    assert found.fitting == []
    whole = next(f for f in found.nearest if not f.partial)
    assert whole.refuted == (1,)  # not among the ten that are looked at first
    assert whole.agreeing == pytest.approx(39 / 40)


def test_one_number_must_explain_every_answer():
    same = records([(RIGHT, 1.0)], [1.25] * 12)
    (fit,) = explain(Explainer([RIGHT], damped=True), same, ("mdp",), {}).fitting
    assert fit.choices["damping"] == 0.25
    differing = records([(RIGHT, 1.0)], [1.25, 1.5] * 6)
    assert explain(Explainer([RIGHT], damped=True), differing, ("mdp",), {}).fitting == []


def test_declared_numbers_are_held_to():
    asked = records([(RIGHT, 1.0)], [1.25] * 12)
    held = explain(Explainer([RIGHT], damped=True), asked, ("mdp",), {"damping": 0.25})
    assert choices_of(held) == [{**RIGHT, "damping": 0.25}]
    broken = explain(Explainer([RIGHT], damped=True), asked, ("mdp",), {"damping": 0.26})
    assert broken.fitting == []


def test_declared_choices_exclude_the_others():
    asked = records([(RIGHT, 1.0), (UNDISCOUNTED, 1.0)], [1.0] * 12)
    declared = {"weighting": "undiscounted"}
    found = explain(Explainer([RIGHT, UNDISCOUNTED]), asked, ("mdp",), declared)
    assert choices_of(found) == [UNDISCOUNTED]


def test_a_declared_accuracy_counts_as_right():
    asked = records([(RIGHT, 1.0 + 1e-5)], [1.0] * 12)
    (fit,) = explain(Explainer([RIGHT]), asked, ("mdp",), {"solver_rtol": 1e-5}).fitting
    assert fit.choices == RIGHT
    assert explain(Explainer([RIGHT]), asked, ("mdp",), {"solver_rtol": 1e-7}).fitting == []


def test_a_candidate_that_speaks_about_too_few_answers_explains_nothing():
    few = [1.0] * 3 + [None] * 9
    asked = records([(BATCH, few)], [1.0] * 12)
    assert explain(Explainer([BATCH]), asked, ("batch",), {}).fitting == []
    enough = [1.0] * 4 + [None] * 8
    asked = records([(BATCH, enough)], [1.0] * 12)
    assert len(explain(Explainer([BATCH]), asked, ("batch",), {}).fitting) == 1


def test_nothing_asked_explains_nothing():
    assert explain(Explainer([RIGHT]), [], ("mdp",), {}).fitting == []


def fit(*judged, units=None, rtol=0.0, **choices):
    return Fit({**RIGHT, **choices}, judged, units or (U,) * len(judged), rtol)


def test_the_budget_of_an_early_stop_is_never_stretched():
    rough = Judged(5.0, 1.0, 1e9, np.zeros(1))
    assert fit(rough).within(SINGLE)
    assert not fit(rough, cg_stopping="absolute").within(SINGLE)
    assert not fit(rough, cg_iterations=3).within(SINGLE)


def test_limited_accuracy_means_digits_on_most_answers():
    """A stretched worst case would excuse anything where budgets are wide."""
    few_digits = Judged(5.0, 1.0, 100.0, np.zeros(1))
    assert not fit(few_digits).within(SINGLE)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_answers_in_a_coarse_dtype_are_right_within_its_round_off(dtype):
    unit = UNIT_ROUNDOFF[dtype]
    asked = records([(RIGHT, 1.0)], [1.0 + 5 * unit] * 12, dtype)
    assert choices_of(explain(Explainer([RIGHT]), asked, ("mdp",), {})) == [RIGHT]
    asked = records([(RIGHT, 1.0)], [1.0 + 20 * unit] * 12, dtype)
    found = explain(Explainer([RIGHT]), asked, ("mdp",), {})
    assert RIGHT not in choices_of(found)


def test_what_lies_within_its_budget_is_within_every_limit():
    """However coarse the unit: budgets of measured derivatives are wider than single precision."""
    assert fit(Judged(0.5, 1.0, 1.0, np.zeros(1)), units=(1e-3,)).within(SINGLE)


def test_ratios_and_digits_of_odd_numbers():
    zero = np.zeros(1)
    assert Judged(math.nan, 1.0, 1.0, zero).ratio == math.inf
    assert Judged(math.nan, 1.0, 1.0, zero).digits == 0.0
    assert Judged(0.0, 0.0, 1.0, zero).ratio == 0.0 or math.isnan(Judged(0.0, 0.0, 1.0, zero).ratio)
    assert Judged(1.0, 0.0, 1.0, zero).ratio == math.inf
    assert Judged(0.0, 1.0, 0.0, zero).digits == 17.0
    assert Judged(2.0, 1.0, 0.0, zero).digits == 0.0
    assert Judged(1e-6, 1.0, 1.0, zero).digits == pytest.approx(6.0)
    assert Judged(0.0, 1.0, 1.0, zero).digits == 17.0
    assert Judged(100.0, 1.0, 1.0, zero).digits == 0.0


def test_numbers_agree_to_six_digits():
    assert same_number(0.1, 0.1 * (1 + 9e-7))
    assert not same_number(0.1, 0.1 * (1 + 2e-6))
    assert same_number(0.0, 0.0)
    assert not same_number(0.0, 1e-300)


def test_what_contradicts_a_declaration():
    assert compatible(RIGHT, {})
    assert compatible(RIGHT, {"fisher": "true"})
    assert not compatible(RIGHT, {"weighting": "undiscounted"})
    assert compatible({"advantage": "expected"}, {"advantage": "advantage"})
    assert not compatible({"damping": 0.1}, {"damping": 0.2})
