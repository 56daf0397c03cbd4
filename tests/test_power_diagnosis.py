"""`npgcheck power --diagnosis`: what is said about planted subjects; the scoring can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import pytest

from npgcheck.cli import run as command
from npgcheck.conformance.choices import CHOICES
from npgcheck.conformance.controls import controls, find
from npgcheck.conformance.controls.labels import Label, label
from npgcheck.conformance.paired_controls import compose, random_pairs, switches
from npgcheck.conformance.power import verify_control
from npgcheck.conformance.power_diagnosis import (
    GATE,
    DiagnosisReport,
    Row,
    diagnose,
    group_of,
    run_diagnosis,
)
from npgcheck.conformance.render_diagnosis import to_json, to_text
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.told import Fact, Name, Told, class_sizes, outcome, read, wrong_names

#: Names that no answer of a planted subject can earn, and why.
UNPLANTED = {
    "tanh-jacobian": "free of θ: provably invisible in every quantity of the contract",
    "negative-curvature-policy": "xᵀFx is never negative on exact or batch problems",
    "unbiased-estimator": "says that no sharper name was found",
}


def names(*given: str, status: str = "fail", kind: str = "bug", others: str = "") -> Told:
    classes = frozenset(frozenset(o.split(" + ")) for o in others.split("|") if o)
    found = tuple(Name("fisher", status, kind, each, classes) for each in given)
    return Told(found, (), frozenset({"fisher"}))


def facts(*true: bool | None) -> Told:
    found = tuple(Fact("fisher", f"statement {i}", t) for i, t in enumerate(true))
    return Told((), found, frozenset({"fisher"}))


def test_a_label_is_read_from_text():
    planted = label("a|b + c", also="d e")
    assert planted.names == (frozenset("ab"), frozenset("c"))
    assert planted.also == frozenset("de")
    assert planted.every == frozenset("abcde")
    assert planted.text == "a or b + c"
    assert Label().text == "outside the registry"
    assert (label("a", "x") + label("b")).names == (frozenset("a"), frozenset("b"))


@pytest.mark.parametrize(
    ("said", "planted", "expected"),
    [
        (names("a"), "a|b", "named"),
        (names("a", status="deviates", kind="convention"), "a", "deviates"),
        (names("a"), "a + c", "one of two"),
        (names("a", "c"), "a + c", "named"),
        (names("x"), "a", "wrong name"),
        (names("a", "x"), "a", "wrong name"),
        (names("x"), "", "wrong name"),
        (names("x", others="a"), "a", "named"),
        (names("x", others="a + y"), "a", "wrong name"),
        (names("x", "a", others="a + c"), "a + c", "named"),
        (names("x", kind="free"), "a", "unnamed"),
        (facts(True), "a", "facts"),
        (facts(None), "", "facts"),
        (facts(True, False), "", "false fact"),
        (facts(), "a", "unnamed"),
        (Told((), (), frozenset()), "a", "not seen"),
    ],
)
def test_every_group_of_the_matrix_can_be_reached(said, planted, expected):
    assert outcome(said, label(planted)) == expected


def test_a_name_that_is_true_beside_the_mistake_is_no_wrong_name():
    said = names("a", "damping")
    assert wrong_names(said, label("a")) == ("fisher: damping",)
    assert wrong_names(said, label("a", also="damping")) == ()


def test_the_size_of_a_class_counts_its_explanations():
    assert class_sizes(names("a"), label("a")) == (1,)
    assert class_sizes(names("a", others="b|c + d"), label("a")) == (3,)
    assert class_sizes(names("x"), label("a")) == ()


def result(**more) -> CheckResult:
    base = {
        "id": "NPG-F-001",
        "quantity": "fisher",
        "title": "",
        "status": "fail",
        "kind": "value",
        "problems": 1,
        "worst": 9.0,
        "digits": 0.0,
    }
    return CheckResult(**{**base, **more})


def test_what_a_report_says_is_read_from_its_results():
    class Report:
        results = (
            result(diagnosis=(Diagnosis("fisher", "a", "bug", alternatives=("b", "c + d")),)),
            result(quantity="kl", reason="the sign is flipped; no known choice explains it"),
            result(quantity="update", reason="of no interest", explained_by="fisher"),
            result(quantity="score", status="pass", reason="never read"),
        )

    said = read(Report())
    (name,) = said.names
    assert name.choice == "a"
    assert name.others == {frozenset("b"), frozenset("cd")}
    assert [(f.quantity, f.text) for f in said.facts] == [("kl", "the sign is flipped")]
    assert said.refuted == {"fisher", "kl", "update"}


def rows(group: str, *outcomes: str) -> tuple[Row, ...]:
    nothing = Told((), (), frozenset())
    return tuple(Row(find("descent-sign"), group, 0, o, nothing) for o in outcomes)


def test_the_gates_close():
    def report(*found: Row) -> DiagnosisReport:
        return DiagnosisReport(found, (0,), 1.0, "0")

    assert report(*rows("single", *["named"] * 99, "unnamed")).passed
    assert not report(*rows("single", *["named"] * 80, *["unnamed"] * 20)).passed
    assert not report(*rows("pair", *["one of two"] * 100)).passed
    assert not report(*rows("single", *["named"] * 99, "wrong name")).passed
    assert not report(*rows("outside", "false fact")).passed
    assert not report(*rows("left out", "wrong name")).passed
    assert not report(*rows("right", *["not seen"] * 99, "wrong name")).passed
    assert not report(*rows("pair", *["named"] * 99, "wrong name")).passed
    low = report(*rows("single", "unnamed"))
    assert "NOT MET: single choices: 0.0% named" in to_text(low)
    assert GATE == {"single": 0.98, "pair": 0.90}


def test_a_plant_is_called_by_its_name_and_by_no_other():
    """The same row under its own label, under another's, and outside of the registry."""
    control = find("damping-0.1")
    row = diagnose(control, "single")
    assert (row.outcome, row.wrong, row.classes) == ("deviates", (), (1,))
    for tells in ("truncated-cg", ""):
        blamed = diagnose(replace(control, label=label(tells)), "outside")
        assert blamed.outcome == "wrong name"
        assert blamed.wrong == ("natural_gradient: damping",)


@pytest.mark.slow
def test_leaving_a_choice_out_leaves_true_facts_at_most():
    control = find("empirical-fisher")
    assert diagnose(control, "single").outcome == "deviates"
    row = diagnose(control, "left out")
    assert row.outcome in ("facts", "unnamed"), row.wrong
    silent = verify_control(control, without=("empirical-fisher",))
    assert not any(d.choice == "empirical-fisher" for r in silent.results for d in r.diagnosis)


def test_pairs_hold_both_mistakes_or_are_refused():
    first, second = find("damping-0.1"), find("descent-sign")
    pair = compose(first, second)
    assert pair is not None
    assert pair.label == first.label + second.label
    assert pair.refutes == first.refutes | second.refutes
    assert compose(first, find("damping-1e-3")) is None, "they override the same method"
    assert compose(first, find("per-trajectory-mean")) is None, "of different pipelines"
    assert compose(find("preconditioner-not-applied"), find("direction-normalised")) is not None


def test_a_mistake_that_hides_another_makes_no_pair():
    """x = g whatever F is: with that alone asked, nothing shows a wrong F."""
    hidden = replace(find("diagonal-fisher"), asks=frozenset({"natural_gradient"}))
    hider = replace(find("preconditioner-not-applied"), asks=frozenset({"natural_gradient"}))
    assert compose(hidden, hider) is None


def test_random_pairs_follow_their_seed():
    first = [p.name for p in random_pairs(6, seed=0)]
    assert first == [p.name for p in random_pairs(6, seed=0)]
    assert first != [p.name for p in random_pairs(6, seed=1)]
    assert len(set(first)) == 6
    assert len(switches()) > 40


def test_every_name_of_the_registry_is_planted():
    planted = frozenset().union(*(c.label.wanted for c in controls("wrong")))
    serious = {c.name for c in CHOICES.values() if c.kind != "free"}
    assert serious - planted <= set(UNPLANTED)
    assert not planted & set(UNPLANTED), "the reasons are out of date"


def test_labels_hold_names_of_the_registry_only():
    known = {c.name for c in CHOICES.values()}
    for control in controls():
        assert control.label.every <= known, control.name


def test_a_third_of_the_plants_and_more_are_written_in_other_styles():
    wrong = controls("wrong")
    others = [c for c in wrong if c.style or c.whole]
    assert len(others) > len(wrong) / 3
    assert len({c.style for c in wrong if c.style}) >= 8
    outside = [c for c in wrong if group_of(c) == "outside"]
    assert len(outside) >= 15
    assert sum(c.style == "suspicious" for c in controls("right")) >= 10


def test_names_planted_in_one_style_only_are_few():
    styles: dict[str, set[str]] = {}
    for control in controls("wrong"):
        for name in control.label.wanted:
            styles.setdefault(name, set()).add(control.style or control.build.__module__)
    once = [name for name, found in styles.items() if len(found) == 1]
    assert len(once) <= 0.6 * len(styles), sorted(once)


QUICK = ("huge-baseline", "gauge-by-the-maximum", "agent-with-centred-critic")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(c.name, marks=[] if c.name in QUICK else pytest.mark.slow)
        for c in controls("right")
        if c.style == "suspicious"
    ],
)
def test_what_only_looks_wrong_is_given_no_name(name):
    row = diagnose(find(name), "right")
    assert row.outcome == "not seen", row


def test_the_report_is_grouped_and_says_what_it_asks():
    report = run_diagnosis(
        only=["descent-sign", "damping-0.1", "values-rectified"], leave_one_out=False
    )
    text = to_text(report)
    assert text.startswith("single choices: 2")
    assert "at least 98% is asked" in text
    assert text.splitlines()[-1] == report.summary
    assert "2 of 2 single choices named (100.0%)" in report.summary
    data = json.loads(json.dumps(to_json(report)))
    assert data["groups"]["single"]["planted"] == 2
    assert data["groups"]["outside"]["planted"] == 1
    assert {row["outcome"] for row in data["rows"]} <= {*data["groups"]["single"]["outcomes"]}


@pytest.mark.slow
def test_the_command_says_the_same(capsys):
    arguments = ["power", "--diagnosis", "--seeds", "1", "--only", "damping-0.1"]
    assert command(arguments) == 0
    assert "damping-0.1" in capsys.readouterr().out
    assert command([*arguments, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


@pytest.mark.slow
def test_a_wrong_name_fails_the_command(monkeypatch, capsys):
    from npgcheck.conformance import told

    monkeypatch.setattr(told, "wrong_names", lambda *_: ("fisher: something else",))
    assert command(["power", "--diagnosis", "--seeds", "1", "--only", "damping-0.1"]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_an_extra_that_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("npgcheck.conformance.power_diagnosis.find_spec", lambda name: None)
    report = run_diagnosis(only=["torch-sum-reduction", "damping-0.1"], leave_one_out=False)
    assert "1 not run: torch is not installed" in to_text(report)
    assert len(report.of("single")) == 1


@pytest.mark.slow
def test_random_pairs_of_another_seed_are_given_no_wrong_name():
    found = [diagnose(pair, "pair", 1) for pair in random_pairs(20, seed=1)]
    assert not [row.wrong for row in found if row.wrong]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_plant_of_other_styles_is_named_or_described(part):
    chosen = [c for c in controls("wrong") if c.style and not c.isolate][part::8]
    chosen = [c for c in chosen if not c.needs or find_spec(c.needs) is not None]
    found = [diagnose(control, group_of(control), 1) for control in chosen]
    assert not [(row.control.name, row.wrong) for row in found if row.wrong]
