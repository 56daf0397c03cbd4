"""A whole run: determinism, what is asked, what is skipped, and what a baseline makes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judging import ExactSoftmax, result, statuses, subject, verify

import npgcheck
from npgcheck import problem_sets
from npgcheck.conformance.render_json import to_json
from npgcheck.errors import Unsupported, UsageError

WRONG = subject(policy_gradient=lambda self, p: -ExactSoftmax.policy_gradient(self, p))


def undated(report):
    """The report without the time that it took."""
    return replace(report, seconds=0.0)


def asked_of(**options):
    """The ids of the problems that a recording subject saw, in order."""
    seen = []

    def value(problem):
        seen.append(problem.id)
        return ExactSoftmax().value(problem)

    report = verify({"value": value}, **options)
    return list(dict.fromkeys(seen)), report


def test_the_same_seed_gives_the_same_report():
    first, second = (verify(WRONG, "policy_gradient", "kl", seed=3) for _ in range(2))
    assert to_json(undated(first)) == to_json(undated(second))


def test_another_seed_draws_other_problems_and_keeps_the_designed_ones():
    first, _ = asked_of(examples=40, seed=0)
    second, _ = asked_of(examples=40, seed=1)
    designed = {p.id for p in problem_sets.designed("softmax")}
    edges = {p.id for p in problem_sets.edge_cases("softmax")}
    assert designed & set(first) == designed & set(second)
    drawn = [set(ids) - designed - edges for ids in (first, second)]
    assert drawn[0]
    assert drawn[0].isdisjoint(drawn[1])


def test_examples_are_shared_by_the_families():
    report = npgcheck.verify(subject(), only=["value"], examples=20)
    assert report.counts["problems"] == 20
    assert report.families == ("softmax", "tabular")


def test_only_asks_for_what_it_names():
    report = verify(subject(), "kl", "fisher")
    judged = {r.quantity for r in report.results if r.status != "not_covered"}
    assert judged == {"kl", "fisher"}
    with pytest.raises(UsageError, match=r"no quantity 'fishr'\. Did you mean 'fisher'"):
        verify(subject(), "fishr")
    with pytest.raises(UsageError, match="does not define kl"):
        verify({"value": ExactSoftmax().value}, "kl")


def test_what_is_not_defined_is_not_covered():
    report = verify({"value": ExactSoftmax().value})
    assert report.counts["pass"] == 1
    assert {r.status for r in report.results if r.quantity != "value"} == {"not_covered"}


def test_a_problem_by_its_id_is_the_only_one_asked():
    problem = problem_sets.designed("softmax")[3]
    ids, report = asked_of(problem_id=problem.id)
    assert ids == [problem.id]
    assert statuses(report) == {"value": "pass"}
    with pytest.raises(UsageError):
        verify(subject(), problem_id="p-3")


def test_a_counterexample_can_be_replayed_by_its_id():
    report = verify(WRONG, "policy_gradient")
    shown = result(report, "NPG-PG-001").counterexample
    again = verify(WRONG, "policy_gradient", problem_id=shown.problem_id)
    repeated = result(again, "NPG-PG-001").counterexample
    assert repeated.yours == shown.yours
    assert repeated.exact == shown.exact


def test_the_smallest_counterexample_is_small():
    shown = result(verify(WRONG, "policy_gradient"), "NPG-PG-001").counterexample
    assert min(p.num_states for p in problem_sets.catalogue("softmax")) == 2
    assert shown.description.startswith("2 states")
    assert len(shown.yours) == len(shown.exact) <= 9


@pytest.mark.parametrize("wrong", ["examples=0", "families", "checks"])
def test_requests_that_cannot_be_carried_out(wrong):
    options = {
        "examples=0": {"examples": 0},
        "families": {"families": ["tabulr"]},
        "checks": {"checks": "2026.2"},
    }[wrong]
    with pytest.raises(UsageError):
        verify(subject(), "value", **options)


def test_too_few_problems_are_a_skip_and_never_a_pass():
    report = verify(subject(), "value", examples=7)
    found = result(report, "NPG-V-001")
    assert (found.status, found.problems) == ("skip", 7)
    assert found.reason == "only 7 problems judged that could tell; a pass needs 8"
    assert result(verify(subject(), "value", examples=9), "NPG-V-001").status == "pass"


def test_too_few_problems_still_refute():
    assert statuses(verify(WRONG, "policy_gradient", examples=4)) == {"policy_gradient": "fail"}


def test_shared_features_are_needed_unless_only_tabular_problems_are_asked():
    def tabular_alone(self, problem):
        if problem.family != "tabular":
            raise Unsupported("tabular alone")
        return ExactSoftmax.value(self, problem)

    picky = subject(value=tabular_alone)
    found = result(npgcheck.verify(picky, only=["value"], examples=40), "NPG-V-001")
    assert found.status == "skip"
    assert found.reason == "no problem with shared features was judged (tabular alone)"
    assert statuses(verify(picky, "value", families=["tabular"])) == {"value": "pass"}


def test_unsupported_is_a_skip_with_its_reason():
    def refuse(self, problem):
        raise Unsupported("needs a GPU")

    report = verify(subject(value=refuse), "value", "kl")
    assert result(report, "NPG-V-001").status == "skip"
    assert result(report, "NPG-V-001").reason == "unsupported: needs a GPU"
    assert statuses(report)["kl"] == "pass"


def test_partly_unsupported_says_how_often():
    def half(self, problem):
        if problem.num_states > 5:
            raise Unsupported("at most five states")
        return ExactSoftmax.value(self, problem)

    found = result(verify(subject(value=half), "value"), "NPG-V-001")
    assert found.status == "pass"
    assert found.reason.endswith("problems unsupported: at most five states")


def test_why_problems_are_unsupported_is_said_once():
    def half(problem):
        if problem.num_states > 5:
            raise Unsupported("at most five states")

    def some(name):
        return lambda self, problem: half(problem) or getattr(ExactSoftmax, name)(self, problem)

    report = verify(subject(value=some("value"), q_value=some("q_value")), "value", "q_value")
    text = " ".join(str(report).split())
    assert text.count("at most five states") == 1, text
    assert text.count("unsupported, as above") == 1


def test_beside_a_name_no_fact_repeats_it():
    negated = subject(advantage=lambda self, problem: -ExactSoftmax.advantage(self, problem))
    report = verify(negated, "advantage")
    found = next(r for r in report.results if r.kind == "value" and r.status == "fail")
    assert [d.choice for d in found.diagnosis] == ["advantage-negated"]
    assert found.reason == found.diagnosis[0].note


def test_a_known_failure_that_fails_is_no_failure_of_the_run():
    known = subject(
        policy_gradient=lambda self, p: -ExactSoftmax.policy_gradient(self, p),
        known_failures={"NPG-PG-001": "the sign, since January"},
    )
    report = verify(known, "policy_gradient")
    assert statuses(report) == {"policy_gradient": "fail"}
    assert report.known_failures == {"NPG-PG-001": "the sign, since January"}
    assert report.stale == ()
    assert report.passed


def test_a_known_failure_that_no_longer_fails_fails_the_run():
    mended = subject(known_failures={"NPG-PG-001": "the sign", "NPG-KL-001": "not asked here"})
    report = verify(mended, "policy_gradient")
    assert statuses(report) == {"policy_gradient": "pass"}
    assert report.stale == ("NPG-PG-001",)
    assert not report.passed


def test_a_known_failure_does_not_hide_another_one():
    def unlike(self, problem):
        return np.triu(ExactSoftmax.fisher(self, problem))

    known = subject(fisher=unlike, known_failures={"NPG-F-001": "wrong values are known"})
    report = verify(known, "fisher")
    assert result(report, "NPG-F-002").status == "fail"
    assert not report.passed


def test_asking_twice_must_give_the_same_answer():
    rng = np.random.default_rng(0)

    def noisy(self, problem):
        return ExactSoftmax.value(self, problem) + 1e-6 * rng.standard_normal(problem.num_states)

    found = result(verify(subject(value=noisy), "value"), "NPG-V-085")
    assert found.status == "fail"
    assert "is it random, or does it keep state" in found.reason
    assert result(verify(subject(), "value"), "NPG-V-085").status == "pass"


def test_faults_are_findings_of_the_contract():
    def broken(self, problem):
        return np.full(problem.num_states, np.nan) if problem.num_states > 4 else 1 / 0

    report = verify(subject(value=broken), "value")
    found = result(report, "NPG-V-099")
    assert found.status == "fail"
    assert found.title == "raised an exception"
    assert "ZeroDivisionError" in found.traceback
    assert not report.passed


def test_a_function_that_always_fails_is_not_called_for_ever():
    calls = []

    def broken(self, problem):
        calls.append(problem.id)
        raise RuntimeError("no")

    report = verify(subject(value=broken), "value", examples=40)
    assert len(calls) < 12
    assert result(report, "NPG-V-099").reason.endswith("it was not called again")


def test_isolated_runs_give_the_same_verdicts(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from npgcheck.conformance.controls._exact import ExactSoftmax\n"
        "class Mine(ExactSoftmax):\n"
        "    def fisher(self, problem):\n"
        "        return 2 * super().fisher(problem)\n"
    )
    here, apart = (
        verify(f"{file}:Mine", "fisher", "kl", isolate=isolate) for isolate in (False, True)
    )
    assert to_json(undated(here)) == to_json(undated(apart))
    assert statuses(here) == {"fisher": "fail", "kl": "pass"}


def test_progress_tells_each_call():
    told = []
    verify({"value": ExactSoftmax().value}, examples=10, progress=told.append)
    assert len(told) == 10
    assert told[0].startswith("value on p-")
