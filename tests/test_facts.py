"""What is said of answers without a name: each sentence of an altered subject that earns it, of no
twin that does not, and the second opinion agrees about both."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npgcheck import problem_sets
from npgcheck.conformance.collect import Collector, explainer_of, fitted_records
from npgcheck.conformance.controls import find
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.fact_judge import faults, known_sentences, verdict
from npgcheck.conformance.fact_judge.truth import readings
from npgcheck.conformance.facts import NOTHING, describe_error, number_text
from npgcheck.conformance.facts.located import Split, best, between, split_at
from npgcheck.conformance.facts.sizes import spearman
from npgcheck.conformance.guard import LocalCaller
from npgcheck.conformance.power_diagnosis import diagnose
from npgcheck.conformance.problems import PURE, pure_problems
from npgcheck.conformance.subject import load
from npgcheck.conformance.verdicts import rescore
from tests.fact_changes import Plant, bent
from tests.fact_plants import PLANTS
from tests.test_fact_judge import TRIED

PROBLEMS = 10


def said(subject: Any, quantity: str) -> list[str]:
    """The statements about a subject's answers under the contract's own conventions."""
    loaded = load(subject)
    collector = Collector(LocalCaller(loaded))
    if quantity in PURE:
        problems = pure_problems(quantity, 0)
    else:
        problems = [
            p
            for family in sorted(loaded.families)
            for p in problem_sets.designed(family)[:PROBLEMS]
        ]
    records = fitted_records(quantity, collector, collector.ask(quantity, problems))
    bare = next(iter(explainer_of(quantity).candidates(records, ("mdp",))))
    fit = rescore(quantity, records, bare)
    text, _ = describe_error(quantity, records, [(fit, bare)])
    return re.split("; (?!the contract's is )", text)


@lru_cache
def told(plant: Plant, twin: bool) -> tuple[str, ...]:
    return tuple(said(plant.subject(plant.twin if twin else plant.change), plant.quantity))


@pytest.mark.parametrize("plant", PLANTS, ids=str)
def test_a_sentence_is_said_where_it_is_earned(plant):
    assert plant.sentence in told(plant, False)
    assert plant.sentence not in told(plant, True)


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(plant, marks=[] if place % 4 == 0 else pytest.mark.slow)
        for place, plant in enumerate(PLANTS)
    ],
    ids=str,
)
def test_the_second_opinion_tells_a_true_sentence_from_a_false_one(plant):
    def judged(change: Any) -> bool | None:
        control = replace(find("descent-sign"), build=lambda: plant.subject(change))
        return verdict(plant.sentence, list(readings(control, plant.quantity).values()))

    assert judged(plant.change) is True
    assert judged(plant.twin) is False


def test_every_sentence_of_the_second_opinion_is_tried():
    """Here, or in the unit tests of the judge."""
    sentences = [*(text for text, _, _ in TRIED), *(p.sentence for p in PLANTS)]
    patterns = [p for p in known_sentences() if p not in faults.WORDS]
    untried = [p for p in patterns if not any(re.fullmatch(p, s) for s in sentences)]
    assert not untried


def test_answers_without_a_rule_get_a_size_at_most():
    text = said(Plant("fisher", "", bent(0.9), bent(0.9)).subject(bent(0.9)), "fisher")
    assert text[0] == "not zero along directions that change no policy"
    assert not any(t.startswith(("the exact", "this is", "right")) for t in text)


def test_huge_answers_are_counted_and_break_nothing():
    subject = Plant("value", "", bent(0), bent(0)).subject(lambda s, p, args, v: v + 1e200)
    (text,) = said(subject, "value")
    assert re.fullmatch(r"wrong in \d+ of \d+ answers", text)


def test_right_answers_have_no_facts():
    class Right(ExactSoftmax):
        pass

    assert said(Right(), "value") == ["no choice explains the answers"]
    assert NOTHING.startswith("no known choice")


# ---- where answers are right ----------------------------------------------------------------


def test_a_split_is_said_with_its_counts():
    assert Split("with γ = 0", True, 5, 27, 27).text() == (
        "right in all 5 answers with γ = 0, wrong in all 27 others"
    )
    assert Split("with γ = 0", False, 1, 3, 27).text() == (
        "wrong in the one answer with γ = 0, right in 3 of the 27 others"
    )


def test_only_a_split_beyond_chance_is_found():
    wrong = np.array([False] * 8 + [True] * 12)
    feature = np.arange(20.0)
    found = best(list(split_at("γ", feature, wrong)), wrong)
    assert found is not None
    assert found.exact
    assert found.text() == "right in all 8 answers with γ ≤ 7, wrong in all 12 others"
    few = np.array([False] + [True] * 5)
    assert best(list(split_at("γ", np.arange(6.0), few)), few) is None
    mixed = np.array([False, True] * 10)
    assert best(list(split_at("γ", feature, mixed)), mixed) is None


def test_answers_of_one_problem_count_once():
    """Six answers of one problem are no six observations."""
    wrong = np.repeat([False, True, True], 6)
    conditions = [("on this one", np.repeat([True, False, False], 6))]
    assert best(conditions, wrong) is not None
    assert best(conditions, wrong, np.repeat([0, 1, 2], 6)) is None


@pytest.mark.parametrize(
    ("last", "following", "text"),
    [(0.5, 0.9, "0.5"), (1.2345, 2.0, "1.6"), (0.12, 0.13, "0.12"), (-1.0, -2.0, "-1")],
)
def test_thresholds_are_short_and_on_their_own_side(last, following, text):
    number = float(between(last, following))
    assert (last <= number < following) or (following < number <= last)
    assert between(last, following) == text


def test_ranks_of_ties_are_shared():
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    assert spearman(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])) == 0
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([3.0, 2, 2, 1])) == pytest.approx(-1)


def test_numbers_are_written_as_people_write_them():
    assert [number_text(v) for v in (2.0, 0.5, 2**0.5, -(0.5**0.5), 0.123456789)] == [
        "2",
        "1/2",
        "√2",
        "−√(1/2)",
        "0.123457",
    ]


# ---- whole reports --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "quantity", "starts"),
    [
        ("chain-sticks", "state_distribution", "right for a chain that stays where it is"),
        ("every-third-coordinate-frozen", "policy_gradient", "right except for zeros in coord"),
        ("gae-clipped", "advantage_estimate", "as if of other residuals δ: each number is cut"),
        ("returns-nothing", "fisher", "returned something that is no array of numbers"),
        ("hessian-of-the-objective", "fisher", "vᵀFv < 0 for some v in"),
        ("dropout-left-on", "score", "the numbers are others in every call"),
    ],
)
def test_planted_mistakes_outside_the_registry_are_described(name, quantity, starts):
    row = diagnose(find(name), "outside")
    assert row.outcome == "facts"
    texts = [f.text for f in row.said.facts if f.quantity == quantity]
    assert any(t.startswith(starts) for t in texts), texts
    assert all(f.true is True for f in row.said.facts)


def test_calls_that_go_well_are_no_faults():
    control = find("dense-pseudo-inverse")
    for text in faults.WORDS:
        if text != "the policy does not depend on θ":
            assert faults.happens(control, "fisher", text) is False
    assert faults.happens(control, "fisher", "the sign is flipped") is None
    assert faults.happens(
        find("own-policy-ignores-theta"), "fisher", "the policy does not depend on θ"
    )


def test_the_page_shows_sentences_that_are_said():
    """Every example of the table is one that the second opinion reads."""
    page = (Path(__file__).parent.parent / "site" / "naming.md").read_text(encoding="utf-8")
    table = page.partition("## What is said without a name")[2].partition("\n## ")[0]
    examples = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(examples) > 40
    unknown = [e for e in examples if not any(re.fullmatch(p, e) for p in known_sentences())]
    assert not unknown
