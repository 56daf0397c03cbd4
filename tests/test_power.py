"""`npgcheck power`: every planted mistake refuted as owed, nothing right accused."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import control_answers
import pytest

import npgcheck
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.controls import Control, controls, find
from npgcheck.conformance.power import PowerReport, judge, run_control, run_power
from npgcheck.conformance.render_power import to_json, to_text
from npgcheck.errors import Unsupported, UsageError


def marked(chosen: tuple[Control, ...]) -> list:
    return [pytest.param(c.name, marks=control_answers.marks(c)) for c in chosen]


def run(name: str, seed: int):
    control = find(name)
    if control.needs and find_spec(control.needs) is None:
        pytest.skip(f"{control.needs} is not installed")
    return run_control(control, seed)


# Every thirtieth planted subject and every twelfth right one: `npgcheck power` judges all of them,
# and .ci/run runs it.
@pytest.mark.parametrize("name", marked(controls("wrong")[::30]))
def test_a_planted_mistake_is_refuted(name):
    row = run(name, 0)
    assert row.verdict == "refuted", row.problem


@pytest.mark.parametrize("name", marked((*controls("right"), *controls("equivalent"))[::12]))
def test_a_right_subject_is_not_accused(name):
    row = run(name, 0)
    assert row.verdict == "spared", row.problem


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_over_other_seeds(seed):
    """Each of eight seeds judges an eighth of the controls: all of them at a new seed once."""
    names = [c.name for c in controls() if not c.isolate and c.needs != "torch"]
    report = run_power(seeds=(seed,), only=names[seed % 8 :: 8])
    assert report.passed, to_text(report)


@pytest.fixture(scope="module")
def small():
    return run_power(
        seeds=(0, 1),
        only=[
            "damping-0.1",
            "descent-sign",
            "returns-nothing",
            "same-buffer-returned",
            "q-as-critic",
        ],
    )


def test_the_totals_stand_in_one_line(small):
    assert small.passed
    assert small.summary.startswith(
        "3 of 3 planted mistakes refuted, 0 of 2 right subjects accused, seeds 0 and 1, "
    )


def test_the_matrix_says_which_check_after_how_many_problems(small):
    text = to_text(small)
    sections = text.split("\n\n")
    assert "NPG-PG-001" in next(s for s in sections if "descent-sign" in s)
    assert any(s.startswith("refuted by a fault") and "returns-nothing" in s for s in sections)
    assert any("cannot be seen" in s and "copied on receipt" in s for s in sections)
    assert text.splitlines()[-1] == small.summary


def test_the_matrix_as_json(small):
    data = json.loads(json.dumps(to_json(small)))
    assert data["passed"] is True
    assert data["seeds"] == [0, 1]
    assert {row["name"] for row in data["rows"]} == {r.control.name for r in small.rows}
    row = next(r for r in data["rows"] if r["name"] == "damping-0.1")
    assert row["verdict"] == "refuted"
    assert row["kills"][0]["status"] == "deviates"


def test_the_value_of_a_planted_damping_is_found():
    """Named is not enough: λ = 0.1, 1e-3 and 1e-5 come out as numbers."""
    for name, planted in (("damping-0.1", 0.1), ("damping-1e-3", 1e-3), ("damping-1e-5", 1e-5)):
        report = npgcheck.verify(find(name).build(), only=["natural_gradient"])
        found = {d.choice: d.value for r in report.results for d in r.diagnosis}
        assert found["damping"] == pytest.approx(planted, rel=1e-4)


def test_a_survivor_and_a_false_accusation_are_reported():
    """The comparison itself can fail: a right subject owed a refutation, a wrong one owed none."""
    right = replace(find("q-as-critic"), role="wrong", refutes=frozenset({"policy_gradient"}))
    blamed = replace(find("descent-sign"), role="right", refutes=frozenset())
    rows = tuple(
        run_control(replace(c, outcome="fail", asks=frozenset({"policy_gradient"})), 0)
        for c in (right, blamed)
    )
    report = PowerReport(rows, (0,), 1.0, "0")
    assert [c.name for c in report.survivors] == ["q-as-critic"]
    assert [c.name for c in report.accused] == ["descent-sign"]
    assert not report.passed
    assert "0 of 1 planted mistakes refuted, 1 of 1 right subjects accused" in report.summary
    text = to_text(report)
    assert "SURVIVED\n  q-as-critic, seed 0: expected (fail), but policy_gradient pass" in text
    assert "ACCUSED\n  descent-sign, seed 0: right (pass), but policy_gradient fail" in text


def test_a_wrong_subject_is_not_blamed_for_what_it_does_right():
    control = replace(find("descent-sign"), spares=frozenset({"natural_gradient"}))
    control = replace(control, refutes=frozenset({"policy_gradient"}))
    verdict, problem = judge(
        control, npgcheck.verify(control.build(), only=["policy_gradient", "natural_gradient"])
    )
    assert verdict == "accused"
    assert "natural_gradient fail" in problem


def test_answering_only_where_it_is_easy_is_no_pass():
    """A subject that declines every problem with a non-uniform policy has shown nothing."""
    wrong = find("start-states-only").build()

    class OnlyBlind:
        def policy_gradient(self, problem):
            if problem.theta.any() or problem.mdp.discount > 0.5:
                raise Unsupported("too hard")
            return wrong.policy_gradient(problem)

    report = npgcheck.verify(OnlyBlind())
    status = {q.quantity: q.status for q in report.quantities}
    assert status["policy_gradient"] in ("skip", "fail")


def test_what_hangs_or_ends_its_process_is_survived():
    report = run_power(seeds=(0, 1), only=["hangs", "kills-its-process"])
    assert report.passed, report.summary
    assert len(report.rows) == 2, "they do not depend on the seed and run once"
    kinds = {k.kind for row in report.rows for k in row.kills}
    assert kinds == {"contract"}


def test_a_missing_extra_is_said_and_not_counted(monkeypatch):
    monkeypatch.setattr("npgcheck.conformance.power.find_spec", lambda name: None)
    report = run_power(seeds=(0,), only=["torch-double-backprop", "descent-sign"])
    assert [c.name for c in report.not_run] == ["torch-double-backprop"]
    assert "torch is not installed" in to_text(report)
    assert report.summary.startswith("1 of 1 planted mistakes refuted, 0 of 0 right")


def test_an_unknown_control_is_a_usage_error():
    with pytest.raises(UsageError, match="no control"):
        run_power(only=["nothing"])


def test_progress_names_each_control():
    seen: list[str] = []
    run_power(seeds=(3,), only=["descent-sign"], progress=seen.append)
    assert seen == ["descent-sign, seed 3"]


def test_every_quantity_of_the_contract_is_refuted_somewhere():
    """A check that no plant can trip would be untested."""
    planted = {q for c in controls("wrong") for q in c.refutes}
    assert planted == set(QUANTITIES)
