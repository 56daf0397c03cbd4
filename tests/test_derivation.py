"""The engine of derivations: it must be able to say no, and its lemma must be sharp."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy as sp
from claims import small_setting
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import exp, log

from npgcheck import derivation as dv
from npgcheck.derivation import evidence, prove
from npgcheck.derivation.cutoff import bounds_of
from npgcheck.derivation.evidence import function_evidence, point_evidence
from npgcheck.derivation.latex import latex
from npgcheck.derivation.setting import free_indices
from npgcheck.derivation.values import Jet, LogLinear


@pytest.fixture
def s():
    return small_setting()


def outcome(lhs, rhs, setting, free=()):
    e = function_evidence(sp.sympify(lhs), sp.sympify(rhs), setting, free)
    return e.method, e.outcome


def bound_of(lhs, rhs, setting, free):
    (bound,) = bounds_of(lhs, rhs, setting, free).values()
    return bound


def power_sum(s, p):
    k = dv.bound("k")
    return s.sum(s.y[k] ** p, k)


# -- the cutoff lemma -------------------------------------------------------------------------


def test_a_constant_sum_is_not_proved_from_n_equal_to_one(s):
    # Σ_k 1 = 1 holds at n = 1, and #free + #bound = 1: the case w = 0 of the lemma
    k = dv.bound("k")
    ones = s.sum(sp.Integer(1), k)
    assert bound_of(ones, sp.Integer(1), s, ()) == 2
    assert outcome(ones, 1, s) == ("cutoff lemma", "refuted")
    assert outcome(ones, s.size, s) == ("cutoff lemma", "holds")


def newton(s, order):
    """order! times the elementary symmetric polynomial: zero exactly for n < order."""
    p = [power_sum(s, k) for k in range(5)]
    return {
        2: p[1] ** 2 - p[2],
        3: p[1] ** 3 - 3 * p[1] * p[2] + 2 * p[3],
        4: p[1] ** 4 - 6 * p[1] ** 2 * p[2] + 3 * p[2] ** 2 + 8 * p[1] * p[3] - 6 * p[4],
    }[order]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_bound_is_sharp(s, order):
    e = function_evidence(newton(s, order), sp.Integer(0), s, ())
    assert e.outcome == "refuted"
    assert e.note == f"n = {order}"  # true for every smaller n: n = 2, 3 is no proof
    assert bound_of(newton(s, order), sp.Integer(0), s, ()) >= order


def test_two_free_indices_count(s):
    # (1 − δ_bc) y_b vanishes at n = 1 and not at n = 2
    b, c = dv.free("b c")
    assert outcome((1 - dv.delta(b, c)) * s.y[b], 0, s, (b, c)) == ("cutoff lemma", "refuted")


def test_a_denominator_adds_its_indices_to_the_bound(s):
    k, a = dv.bound("k a")
    Z = s.sum(exp(s.theta[k]), k)
    b = dv.free("b")
    assert bound_of(exp(s.theta[b]), exp(s.theta[b]), s, (b,)) == 1
    assert bound_of(exp(s.theta[b]) / Z, sp.Integer(0), s, (b,)) == 1
    assert bound_of(exp(s.theta[b]) / Z, s.sum(exp(s.theta[a]) / Z, a), s, (b,)) == 2
    assert bound_of(exp(s.theta[b]) / Z**2, sp.Integer(1), s, (b,)) == 3


def test_the_softmax_fisher_matrix_needs_five_actions():
    e = statement_evidence("softmax-fisher", "fisher")
    assert (e.method, e.outcome, e.bound) == ("cutoff lemma", "holds", 5)


def statement_evidence(claim, name):
    found = prove.load()[claim].statement(name)
    return function_evidence(found.lhs, found.rhs, found.setting, found.free)


def test_a_logarithm_of_a_sum_is_not_identified_from_one_action(s):
    # log Z = θ_b holds at n = 1
    b, k = dv.free("b"), dv.bound("k")
    e = function_evidence(log(s.sum(exp(s.theta[k]), k)), s.theta[b], s, (b,))
    assert e.outcome != "holds"
    assert point_evidence(log(s.sum(exp(s.theta[k]), k)), s.theta[b], s, (b,)).outcome == "refuted"


def outside(s):
    k, j = dv.bound("k j")
    Z = s.sum(exp(s.theta[j]), j)
    return {
        "not over the whole range": sp.Sum(s.y[k], (k, 2, s.size)),
        "ties the index of a sum": s.sum(1 / (Z + exp(s.theta[k])), k),
        "not a sum of positive terms": 1 / s.sum(s.y[k], k),
        "a product of two logarithms": log(Z) * log(1 + Z),
        "no combination of logarithms": exp(s.y[dv.free("b")]),
        "not an integer combination": exp(s.theta[dv.free("b")] / 2),
        "something other than a positive sum": log(s.sum(s.y[k], k)),
        "that depends on the index of another": s.sum(log(1 + s.x[j]), j),
        "a sum that depends on an index": log(1 + s.x[dv.free("b")]),
    }


REASONS = (
    "not over the whole range",
    "ties the index of a sum",
    "not a sum of positive terms",
    "a product of two logarithms",
    "no combination of logarithms",
    "not an integer combination",
    "something other than a positive sum",
    "that depends on the index of another",
    "a sum that depends on an index",
)


@pytest.mark.parametrize("reason", REASONS)
def test_membership_of_the_class_is_decided_from_the_tree(s, reason):
    b = dv.free("b")
    with pytest.raises(dv.OutOfClass, match=reason):
        bound_of(outside(s)[reason], sp.Integer(0), s, (b,))


def test_outside_of_the_class_the_status_says_for_which_sizes(s):
    j, k = dv.bound("j k")
    X = s.sum(s.x[j], j)
    lhs = s.sum(X / (X + s.x[k]) - 1, k)
    rhs = s.sum(-s.x[k] / (X + s.x[k]), k)
    found = evidence.judge(lhs, rhs, s, ())
    assert evidence.status_of(found) is dv.Status.PROVED_FOR_SIZE
    assert "ties the index" in found[0].note
    assert evidence.status_of(evidence.judge(lhs, rhs + 1, s, ())) is dv.Status.REFUTED


def test_a_denominator_of_one_index_value_may_stay(s):
    # Σ_k 1/(1+x_k) = n − Σ_k x_k/(1+x_k), and the first wrong power sum of 1/(1+x) fails at n = 2
    k = dv.bound("k")
    inverse = s.sum(1 / (1 + s.x[k]), k)
    e = function_evidence(inverse, s.size - s.sum(s.x[k] / (1 + s.x[k]), k), s, ())
    assert (e.method, e.outcome, e.bound) == ("cutoff lemma", "holds", 2)
    squares = s.sum(1 / (1 + s.x[k]) ** 2, k)
    e = function_evidence(inverse**2, squares, s, ())
    assert (e.outcome, e.note) == ("refuted", "n = 2")


@pytest.fixture
def two():
    """States s over S with logits θ_{sa}, actions a over n."""
    two = dv.Setting.of("n", "the number of actions", S="the number of states")
    two.theta = two.family("theta", "log", "logits", "S n")
    two.d = two.family("d", "positive", "weights", "S")
    two.u, two.s = two.over("S", dv.bound("u"), dv.free("s"))
    return two


def test_every_size_has_a_bound_of_its_own(two):
    a, b = dv.bound("a b")
    Z = two.sum(exp(two.theta[two.u, b]), b)
    lhs = two.sum(two.d[two.u] * exp(two.theta[two.u, a]) / Z, two.u, a)
    bounds = bounds_of(lhs, two.sum(two.d[two.u], two.u), two, ())
    # one sum over states, so N = 2; times Z_1 Z_2 that is two sums over actions, so N = 3
    assert {size.name: n for size, n in bounds.items()} == {"n": 3, "S": 2}
    assert outcome(lhs, two.sum(two.d[two.u], two.u), two) == ("cutoff lemma", "holds")
    assert outcome(lhs, two.sum(two.d[two.u] ** 2, two.u), two)[1] == "refuted"


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("size", ["n", "S"])
def test_the_bound_is_sharp_in_each_size(size, order):
    # vanishes for fewer than `order` values of this size, whatever the other size is
    two = dv.Setting.of("n", "a size", S="another")
    two.y, two.x = two.family("y", "real", "", size), two.family("x", "real", "", "n S")
    k, other = two.over(size, dv.bound("k")), (dv.bound("i"), two.over("S", dv.bound("j")))
    p = lambda power: two.sum(two.y[k] ** power, k)  # noqa: E731
    polynomial = p(1) ** 2 - p(2) if order == 2 else p(1) ** 3 - 3 * p(1) * p(2) + 2 * p(3)
    lhs = polynomial * two.sum(two.x[other[0], other[1]], *other)
    e = function_evidence(lhs, sp.Integer(0), two, ())
    assert e.outcome == "refuted"
    assert f"{size} = {order}" in e.note


def test_indices_of_different_ranges_do_not_mix(two):
    a, x = dv.bound("a"), dv.free("x")
    for wrong in (
        two.theta[x, two.s],
        dv.delta(x, two.s),
        two.d[x],
        sp.Sum(two.d[two.u], (two.u, 1, two.size)),
    ):
        with pytest.raises(dv.DerivationError, match=r"runs over|compares an index"):
            free_indices(wrong, two)
    with pytest.raises(dv.DerivationError, match="not one of the sizes"):
        two.over("m", a)


# -- the evaluator ----------------------------------------------------------------------------


def test_sympy_loses_the_derivative_of_a_named_quantity_and_partial_does_not(s):
    i, k = dv.bound("i k")
    b, c = dv.free("b c")
    pi = s.define("pi", i, exp(s.theta[i]) / s.sum(exp(s.theta[k]), k))
    assert sp.diff(log(pi[c]), s.theta[b]) == 0
    assert outcome(dv.Partial(log(pi[c]), s.theta[b]), 0, s, (b, c))[1] == "refuted"


@given(st.lists(st.fractions(-3, 3, max_denominator=5), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_series_obey_their_differential_equations(tail):
    const = Fraction
    u = Jet([LogLinear(Fraction(1)), *(LogLinear(c) for c in tail)])
    one = [Fraction(int(k == 0)) for k in range(5)]
    assert [e.pure for e in (u * u.inverse(const)).entries] == one
    assert [e.pure for e in u.inverse(const).inverse(const).entries] == [e.pure for e in u.entries]
    logs = u.logarithm(lambda v: LogLinear(Fraction(0)), const)  # log 1 = 0
    back = logs.exponential(lambda v: Fraction(1), const)
    assert [e.pure for e in back.entries] == [e.pure for e in u.entries]
    # a route of its own: log(1 + w) = w − w²/2 + w³/3 − w⁴/4
    w = Jet([LogLinear(Fraction(0)), *u.entries[1:]])
    power, total = w, [Fraction(0)] * 5
    for k in range(1, 5):
        total = [
            t + Fraction((-1) ** (k + 1), k) * e.pure
            for t, e in zip(total, power.entries, strict=True)
        ]
        power = power * w
    assert [e.pure for e in logs.entries] == total


def test_moments_by_recursion_and_by_nodes_agree():
    for law in (dv.STANDARD_NORMAL, dv.FAIR_SIGN):
        for k in range(6):
            assert law.moment(k) == sum(w * z**k for z, w in law.nodes.items())
    sixth = sum(w * z**6 for z, w in dv.STANDARD_NORMAL.nodes.items())
    assert sixth != dv.STANDARD_NORMAL.moment(6) == 15  # hence degree = 5, enforced below


def test_a_moment_that_the_nodes_do_not_have_is_not_used():
    s = dv.Setting.of("m", "dimensions")
    z, i = s.family("z", "random"), dv.free("i")
    e = function_evidence(dv.GaussianMean(z[i] ** 6), sp.Integer(15), s, (i,))
    assert e.outcome == "undecided"
    assert "order 5" in e.note


def test_formal_logarithms_are_exact_numbers(s):
    # log 12 = 2 log 2 + log 3, and θ_k = log q_k
    two, three, twelve = (log(sp.Integer(k), evaluate=False) for k in (2, 3, 12))
    assert outcome(twelve, 2 * two + three, s)[1] == "holds"
    assert outcome(twelve, two + three, s)[1] != "holds"


# -- well-formed derivations ------------------------------------------------------------------


def chain(s, lhs, *steps, claim=None, free=()):
    steps = [("because", e) for e in steps]
    return dv.Statement.chain(
        "it", "It", s, (lhs, steps[-1][1] if claim is None else claim), steps, free
    )


def test_the_chain_must_end_in_the_claim(s):
    b = dv.free("b")
    with pytest.raises(dv.DerivationError, match="not in the claim"):
        chain(s, s.y[b], 2 * s.y[b], claim=3 * s.y[b], free=(b,))
    with pytest.raises(dv.DerivationError, match="without steps"):
        dv.Statement.chain("it", "It", s, (s.y[b], s.y[b]), [], (b,))
    broken = dv.Statement("it", "It", s, (b,), s.y[b], s.y[b], (dv.Step(2 * s.y[b], s.y[b], ""),))
    with pytest.raises(dv.DerivationError, match="does not start"):
        broken.validate()


def test_an_index_is_not_captured(s):
    k = dv.bound("k")
    with pytest.raises(dv.DerivationError, match="free in one place and bound in another"):
        chain(s, s.y[k] * s.sum(s.y[k], k), sp.Integer(0), free=(k,))
    with pytest.raises(dv.DerivationError, match="bound twice"):
        chain(s, s.sum(s.y[k] * s.sum(s.y[k], k), k), sp.Integer(0))
    with pytest.raises(dv.DerivationError, match="not declared free"):
        chain(s, s.y[dv.free("b")], sp.Integer(0))
    s.define("open", (), s.y[dv.free("b")])
    with pytest.raises(dv.DerivationError, match="not closed"):
        chain(s, s.size, sp.Integer(0))


def test_what_sympy_captures_is_refuted(s):
    # diff of Σ_k e^{θ_k} with respect to θ_k lets its sum swallow the k: no free index is left
    k, b = dv.bound("k"), dv.free("b")
    Z = sp.Sum(exp(s.theta[k]), (k, 1, s.size))
    captured = sp.diff(Z, s.theta[k])
    assert free_indices(captured, s) == set()
    assert outcome(dv.Partial(Z, s.theta[b]), captured, s, (b,)) == ("cutoff lemma", "refuted")
    assert outcome(dv.Partial(Z, s.theta[b]), exp(s.theta[b]), s, (b,))[1] == "holds"


def test_names_are_defined_once_and_kinds_are_known(s):
    with pytest.raises(dv.DerivationError, match="twice"):
        s.family("theta", "real")
    with pytest.raises(dv.DerivationError, match="unknown kind"):
        s.family("w", "complex")
    with pytest.raises(dv.DerivationError, match="neither a family nor"):
        outcome(sp.IndexedBase("nobody")[dv.free("b")], 0, s, (dv.free("b"),))


def test_free_indices_are_found_under_every_node(s):
    b, c, k = *dv.free("b c"), dv.bound("k")
    t = s.parameter("t")
    pi = s.define("pi", k, s.x[k])
    tree = dv.Coefficient(dv.Expect(dv.Partial(s.y[b], s.theta[c]) * t, k, pi), t, 2)
    assert free_indices(tree, s) == {b, c}


# -- in print -----------------------------------------------------------------------------------


def test_latex_reads_like_a_textbook(s):
    a, k = dv.bound("a k")
    b, c = dv.free("b c")
    pi = s.define("pi", k, s.x[k])
    t = s.parameter("t")
    assert latex(pi[b] * dv.delta(b, c) - pi[b] * pi[c]) == (
        r"\pi_{b} \delta_{bc} - \pi_{b} \pi_{c}"
    )
    assert latex(dv.Partial(log(pi[c]), s.theta[b])) == r"\partial_{\theta_{b}} \log \pi_{c}"
    assert latex(dv.Expect(s.y[a], a, pi)) == r"\mathbb{E}_{a \sim \pi} [ y_{a} ]"
    assert latex(s.sum(s.y[a], a) / 2) == r"\frac{1}{2} \sum_{a=1}^{n} y_{a}"
    assert latex(dv.Coefficient(s.y[b] + t, t, 2)) == r"[t^{2}] \; (t + y_{b})"
    assert latex(-s.x[b] / s.y[b] ** 2) == r"- \frac{x_{b}}{y_{b}^{2}}"
