"""The formula of a step's length is recognised, below the right length as well as above it."""

import math

import numpy as np
import pytest

from npgcheck.step.lengths import USUAL, Measures, recognise, shrinks

DELTA, UNDAMPED, DAMPED, GAINED, NORM, GRADIENT = 0.01, 3.7, 4.1, 4.15, 2.3, 0.9


def measured(factor):
    return Measures(factor, DELTA, UNDAMPED, DAMPED, GAINED, None, NORM, GRADIENT)


FULL = math.sqrt(2 * DELTA / UNDAMPED)
RIGHT = {
    "": FULL,
    "damped-length": math.sqrt(2 * DELTA / DAMPED),
}


@pytest.mark.parametrize("shrink", ["", "0.5^3", "0.8^10", "0.9^4", "0.95^30", "0.1^2"])
@pytest.mark.parametrize("rule", RIGHT)
def test_right_lengths_are_recognised(rule, shrink):
    ratio, _, k = shrink.partition("^")
    times = float(ratio) ** int(k) if shrink else 1.0
    found = recognise(measured(RIGHT[rule] * times), 1e-6)
    assert (found.rule, found.shrink, found.known) == (rule, shrink, True)
    assert found.fraction == pytest.approx(times)


def test_a_length_by_the_gain_is_right_however_conjugate_gradient_rounds():
    full = math.sqrt(2 * DELTA / GAINED)
    for times in (1.0, 0.8, 0.25):
        found = recognise(measured(times * full), 1e-6)
        assert found.known
        assert found.rule == "damped-length"


def test_a_length_by_the_users_own_product_is_right():
    own = Measures(math.sqrt(2 * DELTA / 5.0), DELTA, UNDAMPED, UNDAMPED, None, 5.0, NORM)
    assert recognise(own, 1e-6).known
    assert recognise(own, 1e-6).fraction == pytest.approx(1.0)


WRONG = {
    "missing-square-root": [2 * DELTA / UNDAMPED, 2 * DELTA / DAMPED, DELTA / UNDAMPED],
    "factor-two": [FULL / math.sqrt(2), FULL * math.sqrt(2), RIGHT["damped-length"] / math.sqrt(2)],
    "length-upside-down": [1 / FULL],
    "euclidean-length": [math.sqrt(2 * DELTA) / n for n in (NORM, GRADIENT)] + [DELTA / NORM],
    "const-lr-called-kl": [DELTA, 2 * DELTA, math.sqrt(DELTA), math.sqrt(2 * DELTA)],
}  # fmt: skip


@pytest.mark.parametrize("times", [1.0, 0.8**3])
@pytest.mark.parametrize(("name", "factor"), [(n, f) for n, fs in WRONG.items() for f in fs])
def test_wrong_lengths_are_named(name, factor, times):
    found = recognise(measured(factor * times), 1e-6)
    assert found.rule == name
    assert found.note


def test_half_a_step_is_backtracking():
    assert recognise(measured(0.5 * FULL), 1e-6).shrink == "0.5^1"


@pytest.mark.parametrize("times", [0.93, 0.97, 0.99, 0.62, 1.02])
def test_other_fractions_are_unknown(times):
    found = recognise(measured(times * FULL), 1e-6)
    assert not found.known
    assert found.fraction == pytest.approx(times)


def test_random_lengths_are_hardly_ever_named():
    """A thousand lengths that nothing made: by chance alone, one in some hundreds may fit."""
    rng = np.random.default_rng(0)
    found = [recognise(measured(FULL * rng.uniform(0.05, 1.0)), 1e-6) for _ in range(1000)]
    assert sum(f.known for f in found) <= 5
    assert not [f for f in found if f.note]


def test_blunt_measures_name_no_mistake_after_backtracking():
    assert not recognise(measured(0.8**3 * DELTA), 1e-3).note


def test_shrinks():
    assert shrinks(0.125, 1e-9) == "0.5^3"
    assert shrinks(0.8**7, 1e-9, USUAL, 5) == ""
    assert shrinks(1.0, 1e-9) == shrinks(1.3, 1e-9) == shrinks(-0.5, 1e-9) == ""


@pytest.mark.parametrize("form", [1e-7, 1e-9, 1e-11])
def test_an_epsilon_under_the_root_is_recognised_where_it_shows(form):
    def found(epsilon):
        factor = math.sqrt(2 * DELTA / (form + epsilon))
        return recognise(Measures(factor, DELTA, form, form, length=1.0), 1e-6)

    assert found(1e-8).epsilon.startswith("1e-08 is added to xᵀFx")
    assert found(1e-8).known
    assert not found(0.0).epsilon
    assert not found(3e-8).epsilon


def test_an_epsilon_that_does_not_show_is_not_told():
    factor = math.sqrt(2 * DELTA / (UNDAMPED + 1e-8))
    found = recognise(Measures(factor, DELTA, UNDAMPED, UNDAMPED), 1e-6)
    assert (found.epsilon, found.rule, found.known) == ("", "", True)
