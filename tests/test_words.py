"""The engine for matrices of any size: it must be able to say no, and to refuse."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import sympy as sp

from npgcheck import derivation as dv
from npgcheck.derivation import vocabulary as voc
from npgcheck.derivation.claim import canonical
from npgcheck.derivation.evidence import check_claim
from npgcheck.derivation.latex import latex, relation_latex
from npgcheck.derivation.matrices import Model
from npgcheck.derivation.rewriting import NotConfluent, Rules, Scalars
from npgcheck.derivation.word_evidence import judge_words, well_typed
from npgcheck.derivation.words import Words

D, T, Tr = dv.D, dv.T, dv.Trace


def outcomes(lhs, rhs, setting, relation="="):
    return [e.outcome for e in judge_words(sp.sympify(lhs), sp.sympify(rhs), setting, relation)]


def equation(setting, lhs, rhs, relation="="):
    return dv.Statement.chain("it", "It", setting, (lhs, rhs), [("because", rhs, relation)])


@pytest.fixture
def m():
    made = voc.mdp(derivatives=2)
    made.V, made.Q, made.A = voc.evaluation(made)
    return made


# -- rewriting ------------------------------------------------------------------------------------

FIELD = Scalars({"g": "unit", "t": "positive", "x": "real"})
NUMBER = lambda v: FIELD.constant(Fraction(v))  # noqa: E731
RANK = {letter: (1, i) for i, letter in enumerate("abcdef")}


def system(*equations, rank=None):
    """Rules from {word: number} equations over the letters a … f."""
    found = [{tuple(w): NUMBER(v) for w, v in e.items()} for e in equations]
    return Rules(found, rank or RANK, FIELD)


def reduced(rules, terms):
    form = rules.normal_form({tuple(w): NUMBER(v) for w, v in terms.items()})
    return {"".join(w): str(c.num) for w, c in form.items()}


def test_an_overlap_becomes_a_rule():
    # ab = c and bd = e overlap in abd: cd = ae, which neither rule says
    rules = system({"ab": 1, "c": -1}, {"bd": 1, "e": -1})
    assert reduced(rules, {"cd": 1, "ae": -1}) == {}
    assert len(rules.rules) == 3
    assert rules.pairs >= 1


def test_rules_that_hold_by_themselves_are_dropped_and_right_sides_are_reduced():
    rules = system({"ba": 1, "c": -1}, {"bae": 1, "d": -1}, {"c": 1, "a": -1})
    assert reduced(rules, {"ba": 1}) == {"a": "1"}
    assert reduced(rules, {"bae": 1}) == reduced(rules, {"d": 1})


def test_every_rule_decreases_and_the_certificate_can_fail():
    rules = system({"ab": 1, "c": -1}, {"bd": 1, "e": -1})
    assert rules.certify() == rules.pairs
    broken = dict(rules.rules)
    missing = max(rules.rules, key=rules.key, default=None)
    assert missing is not None
    added = next(left for left in rules.rules if left not in {("a", "b"), ("b", "d")})
    rules._by_first[added[0]].remove(added)
    del rules.rules[added]
    with pytest.raises(NotConfluent, match="do not meet"):
        rules.certify()
    rules.rules = {**broken, ("a",): {("a", "a"): NUMBER(1)}}
    with pytest.raises(dv.DerivationError, match="does not decrease"):
        rules.certify()


def test_a_system_that_does_not_end_is_refused():
    # the braid relation aba = bab has no finite confluent system in this order (Kapur &
    # Narendran 1985)
    with pytest.raises(NotConfluent, match="no confluent system"):
        system({"aba": 1, "bab": -1})
    W = Words({"n": "rows"})
    a, b = W.letter("a", "n", "n", "a matrix"), W.letter("b", "n", "n", "another", draw="free")
    W.assume("the braid relation", a * b * a, b * a * b)
    with pytest.raises(NotConfluent):
        W.check(a)


def test_assumptions_that_contradict_one_another_are_refused():
    with pytest.raises(dv.DerivationError, match="contradict"):
        system({"ab": 1, "": -1}, {"ab": 1, "": -2})


def test_a_coefficient_that_may_vanish_is_not_divided_by():
    g = FIELD.variable("g")
    half = NUMBER(Fraction(1, 2))
    with pytest.raises(dv.OutOfClass, match="may vanish"):
        Rules([{("a", "b"): g + -half, ("c",): NUMBER(1)}], RANK, FIELD)
    Rules([{("a", "b"): NUMBER(1) + -g, ("c",): NUMBER(1)}], RANK, FIELD)


@pytest.mark.parametrize(
    ("polynomial", "sign"),
    [
        (lambda g, t, x: NUMBER(1) + -g, 1),
        (lambda g, t, x: g + NUMBER(-1), -1),
        (lambda g, t, x: NUMBER(1) + -t, 0),
        (lambda g, t, x: NUMBER(2) + -g * g + t, 1),
        (lambda g, t, x: x * x + t, 1),
        (lambda g, t, x: x + t, 0),
        (lambda g, t, x: t * (NUMBER(1) + -g).inverse(), 1),
        (lambda g, t, x: NUMBER(0), 0),
    ],
)
def test_signs_are_read_off_only_where_they_are_plain(polynomial, sign):
    value = polynomial(*(FIELD.variable(n) for n in "gtx"))
    assert FIELD.sign(value) == sign
    if sign:  # and they are right: at random points of the domain
        rng = random.Random(0)
        names = {"g": rng.random(), "t": 3 * rng.random(), "x": rng.uniform(-2, 2)}
        number = sp.sympify(str(value.num)).subs(names) / sp.sympify(str(value.den)).subs(names)
        assert sp.sign(number) == sign


# -- judging --------------------------------------------------------------------------------------


def test_right_equations_hold_and_wrong_ones_are_refuted_by_both_routes(m):
    good = [
        (m.V, m.Pi * m.Q),
        (m.K - 1, m.gamma * m.Pi * m.P * m.K),
        (D(m.V), m.K * D(m.Pi) * m.A),
        ((1 - m.gamma) * m.K * m.one, m.one),
    ]
    for lhs, rhs in good:
        assert outcomes(lhs, rhs, m.W) == ["holds", "holds"]
    bad = [
        (m.V, m.Pi * m.A),
        (m.K - 1, m.Pi * m.P * m.K),
        (D(m.V), D(m.Pi) * m.A),
        (D(D(m.V)), m.K * D(D(m.Pi)) * m.Q),
        (m.K * m.one, m.one),
    ]
    for lhs, rhs in bad:
        assert outcomes(lhs, rhs, m.W) == ["refuted", "refuted"]


def test_dropping_an_assumption_is_seen_by_both_routes(m):
    loose = m.W.changed(drop=(voc.SUM_TO_ONE,), draw={"Pi": "measure"})
    assert outcomes(m.Pi * m.E, 1, m.W) == ["holds", "holds"]
    assert outcomes(m.Pi * m.E, 1, loose) == ["refuted", "refuted"]
    assert outcomes(m.K - 1, m.gamma * m.Pi * m.P * m.K, loose) == ["holds", "holds"]
    with pytest.raises(dv.DerivationError, match="is not assumed"):
        m.W.changed(drop=("something else",))


def test_models_that_break_an_assumption_are_found_out(m):
    wrong = m.W.changed(draw={"Pi": "measure"})  # drawn otherwise, but still assumed
    assert wrong.equations
    with pytest.raises(dv.DerivationError, match="do not satisfy: the probabilities of each state"):
        judge_words(m.V, m.V, wrong)


def test_a_wrong_assumption_is_found_out():
    W = Words({"S": "a size"})
    A = W.letter("A", "S", "S", "any matrix")
    B = W.letter("B", "S", "S", "any matrix")
    W.assume("all matrices commute", A * B, B * A)
    assert not W.algebra.normal_form(A * B - B * A)  # it follows, of course
    with pytest.raises(dv.DerivationError, match="do not satisfy: all matrices commute"):
        judge_words(A * B, B * A, W)


def test_inequalities_need_plain_signs():
    m = voc.mdp()
    d = (1 - m.gamma) * m.rho * m.K
    lower = (1 - m.gamma) * m.rho
    expanded = lower + m.gamma * d * m.Pi * m.P
    assert outcomes(expanded, lower, m.W, "≥") == ["holds", "holds"]
    # true, but not plain before it is expanded: not proved, and not refuted by matrices either
    assert outcomes(d, lower, m.W, "≥") == ["undecided", "holds"]
    assert outcomes(lower, expanded, m.W, "≥") == ["undecided", "refuted"]
    assert outcomes(m.R, 0, m.W, "≥") == ["undecided", "refuted"]
    assert outcomes(m.one, m.gamma * m.one, m.W, "≥") == ["holds", "holds"]


def test_a_false_step_makes_a_claim_refuted(m):
    claim = dv.Claim("c", "C", "here", (), (), (equation(m.W, m.V, m.Pi * m.A),), "it", ())
    result = check_claim(claim, {})
    assert result.status is dv.Status.REFUTED
    right = dv.Claim("c", "C", "here", (), (), (equation(m.W, m.V, m.Pi * m.Q),), "it", ())
    result = check_claim(right, {})
    assert result.status is dv.Status.PROVED
    assert result.planted >= 4
    assert not result.survivors


def test_a_denominator_that_may_vanish_is_not_proved(m):
    half = 1 - 2 * m.gamma
    (form, _) = outcomes(m.V / half, m.Pi * m.Q / half, m.W)
    assert form == "undecided"


def test_traces_turn_and_transpose():
    W = Words({"n": "rows", "k": "columns"}, transposes=True)
    A = W.letter("A", "n", "k", "any")
    B = W.letter("B", "k", "n", "any")
    C = W.letter("C", "n", "n", "symmetric", symmetric=True, draw="symmetric")
    assert outcomes(Tr(A * B), Tr(B * A), W) == ["holds", "holds"]
    assert outcomes(Tr(A * B * C), Tr(C * T(B) * T(A)), W) == ["holds", "holds"]
    # circles have no confluent system, so only matrices refute
    assert outcomes(Tr(A * B * C), Tr(A * T(A) * C), W) == ["undecided", "refuted"]
    assert outcomes(T(A * B), T(B) * T(A), W) == ["holds", "holds"]
    assert outcomes(T(C), C, W) == ["holds", "holds"]
    with pytest.raises(dv.OutOfClass, match="not square"):
        W.check(Tr(A))
    with pytest.raises(dv.OutOfClass, match="product of traces"):
        W.check(Tr(C) * Tr(C))


def test_a_number_equals_its_transpose():
    W = Words({"n": "rows"}, transposes=True)
    x, y = W.letter("x", "n", "1", "a vector"), W.letter("y", "n", "1", "a vector")
    M = W.letter("M", "n", "n", "any matrix")
    assert outcomes(T(x) * M * y, T(y) * T(M) * x, W) == ["holds", "holds"]
    assert outcomes(T(x) * M * y, T(y) * M * x, W)[1] == "refuted"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.P + m.K, "are added"),
        (lambda m: m.P * m.P, "are multiplied"),
        (lambda m: m.P + 1, "a number is added"),
        (lambda m: m.P * sp.Symbol("Y", commutative=False), "neither a letter nor a definition"),
        (lambda m: sp.Symbol("h") * m.P, "not a scalar"),
        (lambda m: sp.exp(m.gamma) * m.P, "not a rational function"),
        (lambda m: m.K**-1, "inverses have letters of their own"),
        (lambda m: D(D(D(m.Pi))), "a derivative of order 3"),
    ],
)
def test_what_cannot_be_said_is_an_error(m, make, message):
    with pytest.raises(dv.DerivationError, match=message):
        m.W.check(make(m))


def test_names_are_taken_once(m):
    for again in (
        lambda: m.W.letter("P", "S", "S", "again"),
        lambda: m.W.scalar("gamma", "unit", "again"),
        lambda: m.W.define("V", m.V, "again"),
    ):
        with pytest.raises(dv.DerivationError, match="defined twice"):
            again()
    with pytest.raises(dv.DerivationError, match="unknown domain"):
        m.W.scalar("h", "complex", "no")
    with pytest.raises(dv.DerivationError, match="made twice"):
        m.W.assume(voc.SUM_TO_ONE, m.Pi * m.E, 1)


def test_twins_whose_shapes_do_not_fit_are_none(m):
    assert well_typed(m.V, m.Pi * m.Q, m.W)
    assert not well_typed(m.V, m.Q, m.W)
    assert not well_typed(m.V, m.V + 1, m.W)


def test_derivatives_in_models_are_those_of_series(m):
    model = Model(m.W, {"S": 2, "A": 2}, random.Random(3))
    K, M = model.value(m.K, None), model.value(1 - m.gamma * m.Pi * m.P, m.K)
    for order in range(3):  # K M = 1 as a power series
        product = sum(K[j] @ M[order - j] for j in range(order + 1))
        assert (product == model.value(sp.Integer(1 if order == 0 else 0), m.K)[0]).all()
    assert (model.value(D(m.Pi), None)[1] == 2 * model.value(m.Pi, None)[2]).all()


def test_the_digest_sees_the_order_of_factors_and_every_assumption(m):
    assert canonical(m.Pi * m.P * m.K) != canonical(m.K * m.Pi * m.P)
    one = dv.Claim("c", "C", "", (), (), (equation(m.W, m.V, m.Pi * m.Q),), "", ())
    loose = m.W.changed(drop=("ρ sums to one",))
    two = dv.Claim("c", "C", "", (), (), (equation(loose, m.V, m.Pi * m.Q),), "", ())
    assert one.digest != two.digest
    as_bound = dv.Claim("c", "C", "", (), (), (equation(m.W, m.V, m.Pi * m.Q, "≥"),), "", ())
    assert one.digest != as_bound.digest


def test_latex_keeps_the_order_of_matrices(m):
    assert latex(m.rho * m.K * D(m.Pi) * m.Q / (1 - m.gamma)) == (
        r"\frac{\rho K \mathrm{d} \Pi Q}{1 - \gamma}"
    )
    assert latex(D(D(m.Pi)) * m.E) == r"\mathrm{d}^{2} \Pi E"
    assert latex(T(m.Pi) * m.K) == r"\Pi^{\top} K"
    assert latex(Tr(m.K * (m.Pi * m.E))) == r"\mathrm{tr} (K \Pi E)"
    assert relation_latex(m.V, "≥", m.one) == r"V \ge \mathbf{1}_S"
