"""Reports: what they say in each format, and that the words do not lose the numbers."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from xml.etree import ElementTree

import jsonschema
import pytest
from doors import TRACEBACK, counterexample, full_report, report, result

from npgcheck.conformance import render_json, wording
from npgcheck.conformance import report as report_module
from npgcheck.conformance.render_junit import to_junit
from npgcheck.conformance.render_markdown import to_markdown
from npgcheck.conformance.render_text import to_text
from npgcheck.conformance.report import (
    CheckResult,
    Control,
    Counterexample,
    Diagnosis,
    count,
    exit_code,
    summarise,
)

# --- verdicts -----------------------------------------------------------------------------------


def test_exit_codes():
    good = report(result("NPG-F-001", "fisher", "pass"))
    deviating = report(result("NPG-F-001", "fisher", "deviates"))
    failing = report(result("NPG-F-001", "fisher", "fail"))
    assert exit_code(good) == exit_code(good, strict=True) == 0
    assert (exit_code(deviating), exit_code(deviating, strict=True)) == (0, 1)
    assert exit_code(failing) == 1
    assert exit_code(replace(failing, known_failures={"NPG-F-001": "why"})) == 0
    assert exit_code(replace(failing, known_failures={"NPG-F-002": "why"})) == 1
    assert exit_code(replace(good, stale=("NPG-F-002",))) == 1
    assert exit_code(replace(good, controls=(Control("half", "fisher", True),))) == 0
    assert exit_code(replace(good, controls=(Control("half", "fisher", False),))) == 1


def test_nothing_judged_is_no_success():
    assert exit_code(report()) == 2
    skipped = result("NPG-F-001", "fisher", "skip")
    assert exit_code(report(skipped)) == 2
    answered = result("NPG-F-099", "fisher", "pass", "contract")
    assert exit_code(report(skipped, answered)) == 2


def test_a_property_never_turns_an_unjudged_value_into_a_pass():
    value, held, broken = (
        result("NPG-F-001", "fisher", "skip"),
        result("NPG-F-002", "fisher", "pass", "property"),
        result("NPG-F-003", "fisher", "fail", "property"),
    )
    assert [s.status for s in summarise([value, held])] == ["skip"]
    assert [s.status for s in summarise([value, broken])] == ["fail"]
    right = replace(value, status="pass")
    assert [s.status for s in summarise([right, held])] == ["pass"]
    assert [s.status for s in summarise([right, held, broken])] == ["fail"]


def test_counts_and_the_number_of_mistakes():
    counts = full_report().counts
    assert (counts["pass"], counts["deviates"], counts["fail"], counts["skip"]) == (1, 1, 4, 1)
    assert counts["mistakes"] == 3  # natural_gradient is explained by policy_gradient
    assert (
        counts["pass"]
        + counts["deviates"]
        + counts["fail"]
        + counts["skip"]
        + (counts["not_covered"])
        == 19
    )
    assert count([], redrawn=3)["redrawn"] == 3


def test_quantities_come_in_the_order_of_the_contract():
    names = [q.quantity for q in full_report().quantities if q.status != "not_covered"]
    assert names == [
        "score", "value", "policy_gradient", "fisher", "fisher_vector_product", "kl",
        "natural_gradient",
    ]  # fmt: skip


# --- text ---------------------------------------------------------------------------------------


def test_text_reads_as_designed():
    text = to_text(full_report(), width=100)
    lines = text.splitlines()
    assert lines[0] == (
        "my_npg.py · 7 quantities · softmax, tabular and shared features · seed 0 · checks 2026.1"
    )
    for expected in (
        "  fisher                 pass      120 problems   14.8 digits",
        "  policy_gradient        FAIL      refuted by the 2nd problem",
        "      smallest problem   2 states, 3 actions, γ = 1/2, uniform policy   [p-3f91aa]",
        "                         error 3×10⁷ × budget, 0.2 digits agree",
        "      diagnosis          no −π term",
        "      read on            npgcheck explain score-missing-minus-pi",
        "  natural_gradient       FAIL      explained by policy_gradient",
        "  fisher_vector_product  deviates  damping λ = 0.1 (convention)",
        "      free choice        unnormalised fisher",
        "      declare it         conventions = Conventions(damping=0.1)",
        "  kl                     FAIL      right in value (120 problems, 15.1 digits), but:",
        "      property           KL(θ, θ) = 0: refuted by the 1st problem   [NPG-KL-002]",
        "      where              my_npg.py, line 19, in score: 1 / 0",
        "  value                  skip      only for Gaussian policies",
        "Controls: 1 of 2 planted mistakes caught.",
        "SURVIVED: half of it in kl was not noticed.",
        "Note: fisher_vp is not part of the contract, so it was not judged",
    ):
        assert expected in lines, expected
    assert any(
        line.startswith("1 passed · 1 deviates · 4 failed (3 mistakes) · 1 skipped · 12 not")
        and line.endswith("4.1 s")
        for line in lines
    )
    assert (
        "Not visible from what was given: trajectories, Gaussian policies, damping below 3e-8."
        in lines
    )
    assert lines[-1] == "Reproduce: npgcheck verify my_npg.py --only score --seed 0"


def test_text_fits_its_width_and_has_no_control_characters():
    for width in (60, 80, 120):
        lines = to_text(full_report(), width=width).splitlines()
        # the command is left whole, to be copied
        assert max(len(line) for line in lines if not line.startswith("Reproduce")) <= width
        assert not any(character in line for line in lines for character in "\x1b\t\r")


def test_a_passing_report_is_short():
    text = to_text(report(result("NPG-F-001", "fisher", "pass"), not_visible=()), width=100)
    assert len(text.splitlines()) == 6
    assert "Reproduce" not in text


def test_known_and_stale_failures_are_shown():
    failing = report(
        result("NPG-F-001", "fisher", "fail", reason="refuted"),
        known_failures={"NPG-F-001": "the library pads F"},
        stale=("NPG-KL-001",),
    )
    text = to_text(failing)
    assert "  fisher                 known     the library pads F" in text
    assert "NPG-KL-001 is a known failure that no longer fails" in text
    assert "1 known failure · 18 not covered" in text
    assert "Reproduce" not in text
    assert "❌ known failure" in to_markdown(failing)


def test_a_convention_is_called_by_its_name_once():
    damped = Diagnosis("damping", "damping", "convention", 0.1, "damping λ = 0.1")
    text = to_text(
        report(
            result("NPG-FV-001", "fisher_vector_product", "deviates", diagnosis=(damped,)),
            result("NPG-NG-001", "natural_gradient", "deviates", diagnosis=(damped,)),
        )
    )
    assert text.count("damping: F + λI in place of F") == 1
    assert text.count("explain damping") == 1
    assert "mend" not in text  # the line that declares it says so


def test_what_cannot_be_declared_comes_with_its_mend():
    cut = Diagnosis("fisher", "diagonal-fisher", "approximation", None, "only the diagonal of F")
    text = to_text(report(result("NPG-FI-001", "fisher", "deviates", diagnosis=(cut,))))
    assert "diagonal-fisher: diag(F) alone" in text
    assert "mend               use the whole matrix" in text


def test_what_a_lower_quantity_explains_is_not_diagnosed_again():
    mistake = Diagnosis("kl", "kl-mean-over-action-dimensions", "bug", None, "a mean for a sum")
    damped = Diagnosis("damping", "damping", "convention", 0.1)
    text = to_text(
        report(
            result("NPG-KL-001", "kl", "fail", reason="a mean for a sum", diagnosis=(mistake,)),
            result(
                "NPG-NG-001",
                "natural_gradient",
                "fail",
                explained_by="kl",
                diagnosis=(mistake, damped),
            ),
        )
    )
    assert text.count("a mean for a sum") == 1
    assert text.count("explain kl-mean-over-action-dimensions") == 1
    assert text.count("explain damping") == 1
    assert "      also               damping λ = 0.1 (convention)" in text


def test_a_declaration_is_printed_once():
    damped = (Diagnosis("damping", "damping", "convention", 0.1),)
    text = to_text(
        report(
            result("NPG-NG-001", "natural_gradient", "deviates", diagnosis=damped),
            result("NPG-UP-001", "update", "deviates", diagnosis=damped),
            declare="conventions = Conventions(damping=0.1)",
        )
    )
    assert text.count("declare it") == 1


def test_shell_characters_in_the_target_are_quoted():
    failing = report(result("NPG-F-001", "fisher", "fail"), target="my npg.py")
    assert "npgcheck verify 'my npg.py' --only fisher" in to_text(failing)


def test_colour_is_for_terminals_only(capsys):
    from npgcheck.conformance.render_text import print_report

    print_report(full_report())
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert printed.split() == to_text(full_report()).split()


# --- numbers in words ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (12, "12th"), (22, "22nd")],
)
def test_ordinals(number, words):
    assert wording.ordinal(number) == words


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(1.25, "1.2"), (12.4, "12"), (3e7, "3×10⁷"), (2.6e13, "3×10¹³"), (math.inf, "∞")],
)
def test_ratios(ratio, words):
    assert wording.times(ratio) == words


def test_the_shown_digits_and_entries_show_the_difference():
    for size, gap in ((3, 0.5), (7, 1e-6), (40, 1e-9), (200, 1e-13)):
        yours, exact, where = wording.pair_of_rows(counterexample(size, gap), room=75)
        assert yours != exact, (size, gap)
        assert len(yours) <= 75
        assert where == "" or where.endswith(f"of {size}")


def test_answers_of_other_sizes_or_without_numbers_are_shown_too():
    odd = Counterexample("p-000000", "", [1.0, math.nan], [0.5], math.inf, 0.0)
    assert wording.pair_of_rows(odd, 75)[:2] == ("[ 1.0000  nan ]", "0.50000")
    assert wording.margin(odd) == "not a number"
    assert wording.margin(replace(odd, yours=[math.inf])) == "infinite"
    assert wording.margin(replace(odd, yours=[0.1])) == "no error is allowed here"
    single = Counterexample("p-000000", "", [0.25], [0.5], 9.0, 0.3)
    assert wording.pair_of_rows(single, 75)[0] == "0.2500"


def test_where_it_raised():
    assert wording.where_it_raised(TRACEBACK) == "my_npg.py, line 19, in score: 1 / 0"
    assert wording.where_it_raised("") == ""
    assert wording.where_it_raised('  File "<stdin>", line 3, in kl') == "<stdin>, line 3, in kl"


# --- JSON ---------------------------------------------------------------------------------------


def test_json_follows_the_shipped_schema():
    schema = render_json.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for made in (full_report(), report()):
        data = json.loads(render_json.dumps(made))
        jsonschema.validate(data, schema)
        assert data["schema_version"] == 1
        assert data == made.to_json()


def test_the_schema_is_strict():
    validator = jsonschema.Draft202012Validator(render_json.schema())
    good = full_report().to_json()
    assert validator.is_valid(good)

    def altered(**changes):
        return {**good, **changes}

    first = good["results"][0]
    for bad in (
        altered(extra=1),
        {k: v for k, v in good.items() if k != "seed"},
        altered(passed="yes"),
        altered(schema_version=2),
        altered(families=["softmx"]),
        altered(results=[{**first, "status": "ok"}]),
        altered(results=[{**first, "id": "F-1"}]),
        altered(results=[{**first, "extra": 1}]),
        altered(results=[{**first, "worst": math.inf}, {**first, "worst": "huge"}]),
        altered(counts={"pass": 1}),
    ):
        assert not validator.is_valid(bad)


def test_schema_and_dataclasses_have_the_same_fields():
    schema = render_json.schema()
    for name, node in (
        ("Report", schema),
        ("CheckResult", schema["$defs"]["result"]),
        ("Diagnosis", schema["$defs"]["diagnosis"]),
        ("Counterexample", schema["$defs"]["counterexample"]),
        ("Control", schema["$defs"]["control"]),
    ):
        names = {f.name for f in fields(getattr(report_module, name))}
        assert set(node["properties"]) - {"schema_version"} == names
        assert set(node["required"]) == set(node["properties"])


def test_json_keeps_infinities_and_numpy_numbers():
    import numpy as np

    odd = result(
        "NPG-F-001", "fisher", "fail", worst=math.inf, digits=np.float64(1.5), problems=np.int64(3)
    )
    data = json.loads(render_json.dumps(report(odd, conventions={"damping": np.float32(0.5)})))
    assert data["results"][0]["worst"] == "inf"
    assert data["results"][0]["digits"] == 1.5
    assert data["conventions"] == {"damping": 0.5}
    with pytest.raises(TypeError, match="a report holds object"):
        render_json.dumps(report(conventions={"damping": object()}))


# --- JUnit and Markdown -------------------------------------------------------------------------


def test_junit_has_one_case_per_check():
    made = replace(full_report(), stale=("NPG-J-001",))
    suite = ElementTree.fromstring(to_junit(made)).find("testsuite")
    cases = suite.findall("testcase")
    assert len(cases) == len(made.results) + 1 + 2
    assert int(suite.get("tests")) == len(cases)
    failures = [c for c in cases if c.find("failure") is not None]
    assert int(suite.get("failures")) == len(failures) == 4 + 1 + 1
    assert int(suite.get("skipped")) == sum(c.find("skipped") is not None for c in cases) == 13
    raised = next(c for c in failures if "NPG-SC-099" in c.get("name"))
    assert "line 19, in score" in raised.find("failure").text
    refuted = next(c for c in failures if "NPG-PG-001" in c.get("name")).find("failure")
    for text in ("smallest problem: 2 states", "yours:", "exact:", "--problem p-3f91aa"):
        assert text in refuted.text


def test_junit_under_strict_and_with_known_failures():
    deviating = report(result("NPG-F-001", "fisher", "deviates"))
    failing = report(
        result("NPG-F-001", "fisher", "fail"), known_failures={"NPG-F-001": "the library pads F"}
    )

    def failures(text):
        return int(ElementTree.fromstring(text).find("testsuite").get("failures"))

    assert failures(to_junit(deviating)) == 0
    assert failures(to_junit(deviating, strict=True)) == 1
    assert failures(to_junit(failing)) == 0
    assert "the library pads F" in to_junit(failing)


def test_junit_survives_what_a_subject_says():
    nasty = 'raised ValueError: \x00\x1b[31m <&"]]> \ud800 ￿ ünï'
    made = report(result("NPG-F-001", "fisher", "fail", "contract", reason=nasty, traceback=nasty))
    text = to_junit(made)
    suite = ElementTree.fromstring(text.encode("utf-8")).find("testsuite")
    assert "ünï" in suite.find("testcase").find("failure").text


def test_markdown():
    text = to_markdown(full_report())
    assert text.startswith("### npgcheck: my_npg.py failed\n")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == 7
    assert all(line.replace("\\|", "").count("|") == 6 for line in rows)
    assert (
        "| `policy_gradient` | ❌ FAIL | 120 | 14.8 | refuted by the 2nd problem; no −π term |"
        in rows
    )
    assert text.count("<details>") == text.count("</details>") == 3
    assert text.count("```") == 6
    assert "`conventions = Conventions(damping=0.1)`" in text


def test_markdown_escapes_what_would_break_a_table():
    made = report(result("NPG-F-001", "fisher", "fail", reason="raised X: a | b\n```"))
    row = next(line for line in to_markdown(made).splitlines() if line.startswith("| `fisher"))
    assert "a \\| b" in row


def test_results_are_frozen():
    with pytest.raises(AttributeError):
        full_report().passed = True
    assert isinstance(full_report().results[0], CheckResult)
