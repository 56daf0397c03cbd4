"""The status of a claim is computed from its evidence, and controls that survive are reported."""

import pytest
from claims import small_claim, small_setting

from npgcheck import derivation as dv
from npgcheck.derivation import evidence, prove
from npgcheck.derivation.evidence import Evidence, check_claim


@pytest.fixture
def s():
    return small_setting()


def test_status_is_computed_and_never_above_what_is_used(s):
    b = dv.free("b")
    good = small_claim(s, s.y[b])
    assert check_claim(good, {}).status is dv.Status.PROVED
    resting = small_claim(s, s.y[b], uses=("other",))
    for weaker in dv.Status:
        result = check_claim(resting, {"other": weaker})
        assert result.status is min(weaker, dv.Status.PROVED)
        assert result.own is dv.Status.PROVED
    assert check_claim(small_claim(s, 2 * s.y[b]), {}).status is dv.Status.REFUTED


def test_refuted_and_complete_evidence_is_refuted():
    holds = Evidence("cutoff lemma", "holds", True, 3, 1)
    says_no = Evidence("exact points", "refuted", False, 3, 1)
    points = Evidence("exact points", "holds", False, 3, 1)
    undecided = Evidence("cutoff lemma", "undecided", True, 3, 1)
    assert evidence.status_of((holds, says_no)) is dv.Status.REFUTED
    assert evidence.status_of((undecided, points)) is dv.Status.CHECKED
    assert evidence.status_of((undecided,)) is dv.Status.CITED


@pytest.mark.parametrize("judge", ["function_evidence", "point_evidence"])
def test_a_judge_that_always_agrees_is_found_out(s, monkeypatch, judge):
    # each of the two judges in turn stops saying no: every twin then survives it
    def agrees(*args):
        return Evidence("exact points", "holds", False, 3, 1)

    monkeypatch.setattr(evidence, judge, agrees)
    b = dv.free("b")
    result = check_claim(small_claim(s, s.y[b]), {})
    assert len(result.survivors) == result.planted > 0
    report = prove.ProveReport((result,), 0.0)
    assert report.exit_code == 1
    assert "SURVIVED" in prove.to_text(report)


def test_a_named_mistake_that_is_none_is_found_out(s):
    b = dv.free("b")
    claim = small_claim(s, s.y[b], mistakes=[("nothing wrong here", 2 * s.y[b] / 2)])
    assert check_claim(claim, {}).survivors == ("it, nothing wrong here",)


def test_an_assumption_that_is_not_needed_is_found_out(s):
    b = dv.free("b")
    claim = small_claim(s, s.y[b])
    idle = dv.Assumption("n ≥ 1, twice", s.changed(), "it", "nothing")
    claim = dv.Claim(**{**vars(claim), "assumptions": (idle,)})
    assert check_claim(claim, {}).survivors == ("without the assumption: n ≥ 1, twice",)


def test_equivalent_twins_are_counted_apart_and_not_as_controls(s):
    b, c = dv.free("b c")
    lhs = s.y[b] * dv.delta(b, c)
    twin_is_equal = s.y[c] * dv.delta(b, c)
    assert not evidence.differs(lhs, twin_is_equal, s, (b, c))
    assert evidence.differs(lhs, s.y[b], s, (b, c))
