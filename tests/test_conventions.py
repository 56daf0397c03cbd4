"""Declared conventions: what can be said, and what is refused with the nearest right name."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields

import pytest

import npgcheck
from npgcheck import Conventions
from npgcheck.errors import UsageError


def test_nothing_is_declared_by_default():
    empty = Conventions()
    assert empty.declared() == {}
    assert repr(empty) == "Conventions()"
    assert (empty.setting, empty.entropy, empty.damping) == ("discounted", 0.0, None)


def test_what_is_declared_is_shown_and_kept():
    stated = Conventions(damping=0.1, step_length="damped", cg_iterations=10)
    assert stated.declared() == {"damping": 0.1, "cg_iterations": 10, "step_length": "damped"}
    assert eval(repr(stated)) == stated  # the line that a report prints can be pasted
    with pytest.raises(FrozenInstanceError):
        stated.damping = 0.2


def test_zero_damping_is_a_declaration():
    assert Conventions(damping=0).declared() == {"damping": 0}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"dampng": 0.1}, r"no field 'dampng'\. Did you mean 'damping'"),
        ({"kl_direction": "forwards"}, r"kl_direction='forwards'\): not a known value\. Did you"),
        ({"setting": "average"}, "Known: discounted"),
        ({"damping": -1e-3}, "must not be negative"),
        ({"damping": "0.1"}, "a finite number is needed"),
        ({"damping": math.nan}, "a finite number is needed"),
        ({"damping": math.inf}, "a finite number is needed"),
        ({"damping": True}, "a finite number is needed"),
        ({"cg_iterations": 0}, "at least 1"),
        ({"cg_iterations": 2.5}, "a whole number"),
        ({"entropy": -0.01}, "must not be negative"),
        ({"solver_rtol": 0.0}, r"in \(0, 1e-3\]"),
        ({"solver_rtol": 0.1}, "an approximation of its own"),
        ({"fisher": ["true"]}, "not a known value"),
    ],
)
def test_what_cannot_be_said_is_refused(stated, message):
    with pytest.raises(UsageError, match=message):
        Conventions(**stated)


def test_positional_arguments_are_refused():
    with pytest.raises(TypeError):
        Conventions("discounted")


def test_every_field_is_documented():
    for field in fields(Conventions):
        assert f"        {field.name}: " in Conventions.__doc__, field.name


@pytest.mark.parametrize("field", [{"entropy": 0.01}, {"gradient_of": "loss"}])
def test_what_only_steps_are_judged_by_is_refused_in_a_subject(field):
    subject = {"score": lambda p, s, a: None, "conventions": Conventions(**field)}
    with pytest.raises(UsageError, match="check_step only"):
        npgcheck.verify(subject, examples=1)
