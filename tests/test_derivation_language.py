"""Functions, nested derivatives, displaced families, signs; and how far the bounds must reach."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import exp, log

from npgcheck import derivation as dv
from npgcheck.derivation.bridge import exact_table, table
from npgcheck.derivation.cutoff import bounds_of
from npgcheck.derivation.evaluate import Evaluator
from npgcheck.derivation.evidence import check_claim
from npgcheck.derivation.judges import function_evidence, point_evidence, sign_evidence
from npgcheck.derivation.rings import PointRing
from npgcheck.derivation.signs import Sign, sign_of


@pytest.fixture
def f():
    """θ_i(φ) with Jacobian H and second derivatives B; h_a(θ) with derivatives g and G."""
    f = dv.Setting.of("n", "outcomes", p="parameters", q="others")
    f.a, f.b = dv.bound("a b")
    f.i, f.j = f.over("p", *dv.bound("i j"))
    f.u, f.v = f.over("q", *dv.bound("u v"))
    f.phi, f.theta = f.family("phi", "real", "", "q"), f.family("theta", "real", "", "p")
    f.H, f.B = f.family("H", "real", "", "p q"), f.family("B", "real", "", "p q q", symmetric=True)
    f.g, f.G = f.family("g", "real", "", "n p"), f.family("G", "real", "", "n p p", symmetric=True)
    f.h = f.family("h", "log", "")
    f.slope(f.H[f.i, f.u], f.phi[f.v], f.B[f.i, f.u, f.v])
    f.slope(f.theta[f.i], f.phi[f.u], f.H[f.i, f.u])
    f.slope(f.g[f.a, f.i], f.theta[f.j], f.G[f.a, f.i, f.j])
    f.slope(f.h[f.a], f.theta[f.i], f.g[f.a, f.i])
    return f


def numbers(seed: int = 0):
    """A map θ(φ), log-weights h(θ), and their derivatives at a point, by autograd."""
    rng = np.random.default_rng(seed)
    one, two, phi = rng.normal(size=(2, 3)), rng.normal(size=(4, 2)), rng.normal(size=3) / 2
    theta = lambda p: anp.sin(anp.dot(one, p))  # noqa: E731
    h = lambda t: anp.tanh(anp.dot(two, t)) + anp.dot(two, t) ** 2  # noqa: E731
    at = theta(phi)
    values = {"phi": phi, "theta": at, "h": h(at)}
    values["H"], values["g"] = autograd.jacobian(theta)(phi), autograd.jacobian(h)(at)
    values["B"] = np.array([autograd.hessian(lambda p, i=i: theta(p)[i])(phi) for i in range(2)])
    values["G"] = np.array([autograd.hessian(lambda t, a=a: h(t)[a])(at) for a in range(4)])
    return phi, theta, h, values


def test_functions_of_functions_are_differentiated_as_autograd_does(f):
    phi, theta, h, values = numbers()
    partition = log(f.sum(exp(f.h[f.b]), f.b))
    u, v = f.over("q", *dv.free("u v"))
    i, j = f.over("p", *dv.free("i j"))
    A = lambda t: anp.log(anp.sum(anp.exp(h(t))))  # noqa: E731
    C = lambda p: A(theta(p))  # noqa: E731
    for tree, free, exact in (
        (dv.Partial(partition, f.theta[i]), [i], autograd.grad(A)(theta(phi))),
        (dv.Partial(partition, f.phi[u]), [u], autograd.grad(C)(phi)),
        (
            dv.Partial(dv.Partial(partition, f.theta[i]), f.theta[j]),
            [i, j],
            autograd.hessian(A)(theta(phi)),
        ),
        (
            dv.Partial(dv.Partial(partition, f.phi[u]), f.phi[v]),
            [u, v],
            autograd.hessian(C)(phi),
        ),
        (
            dv.Partial(dv.Partial(partition, f.theta[i]), f.phi[u]),
            [i, u],
            autograd.hessian(A)(theta(phi)) @ values["H"],
        ),
    ):
        np.testing.assert_allclose(table(tree, f, free, values), exact, rtol=1e-12, atol=1e-12)


def test_a_displaced_family_moves_what_depends_on_it(f):
    phi, theta, h, values = numbers(1)
    m = np.array([0.3, -1.0, 0.7])
    f.m, t = f.family("m", "real", "", "q"), f.parameter("t")
    moved = lambda e: dv.Along(e, f.phi[f.u], t, f.m[f.u])  # noqa: E731
    A = lambda s: anp.log(anp.sum(anp.exp(h(theta(phi + s * m)))))  # noqa: E731
    first, second = autograd.grad(A), autograd.grad(autograd.grad(A))
    partition = log(f.sum(exp(f.h[f.b]), f.b))
    for order, exact in ((1, first(0.0)), (2, second(0.0) / 2)):
        found = table(dv.Coefficient(moved(partition), t, order), f, [], values | {"m": m})
        assert float(found) == pytest.approx(exact, rel=1e-12)
    # a frozen number stays where it is
    x = f.define("x", (), f.sum(f.theta[f.i], f.i), frozen=True)
    assert float(table(dv.Coefficient(moved(x), t, 1), f, [], values | {"m": m})) == 0
    a = f.define("y", (), f.sum(f.theta[f.i], f.i))
    slope = float(table(dv.Coefficient(moved(a), t, 1), f, [], values | {"m": m}))
    assert slope == pytest.approx((values["H"] @ m).sum())


def test_mixed_derivatives_need_both_factors(f):
    i, j = f.over("p", *dv.free("i j"))
    mixed = dv.Partial(dv.Partial(f.h[f.a], f.theta[i]), f.theta[j])
    lhs = f.sum(mixed, f.a)
    free = (i, j)
    assert function_evidence(lhs, f.sum(f.G[f.a, i, j], f.a), f, free).outcome == "holds"
    assert function_evidence(lhs, f.sum(f.G[f.a, j, i], f.a), f, free).outcome == "holds"
    for wrong in (2 * f.sum(f.G[f.a, i, j], f.a), f.sum(f.G[f.a, i, i], f.a)):
        for judge in (function_evidence, point_evidence):
            assert judge(lhs, wrong, f, free).outcome == "refuted"


def test_a_derivative_by_a_symmetric_family_or_a_definition_is_refused(f):
    i, j = f.over("p", *dv.free("i j"))
    k = f.define("k", f.i, f.theta[f.i])
    a = dv.free("a")
    for variable in (f.G[a, i, j], k[i]):
        with pytest.raises(dv.DerivationError, match="not a family"):
            function_evidence(dv.Partial(f.h[a], variable), sp.Integer(0), f, (a, i, j))


def test_a_family_is_a_function_of_one_family_only(f):
    with pytest.raises(dv.DerivationError, match="cannot be a function"):
        f.slope(f.theta[f.i], f.phi[f.u], f.H[f.i, f.u])
    other = f.family("w", "real", "", "p")
    with pytest.raises(dv.DerivationError, match="indices of its own"):
        f.slope(other[f.i], f.phi[f.u], f.H[f.i, f.v])


def test_two_logarithms_of_sums_are_told_apart():
    s = dv.Setting.of("n", "outcomes")
    y, e, k = s.family("y", "log"), s.family("e", "log"), dv.bound("k")
    Z, W = s.sum(exp(y[k]), k), s.sum(exp(y[k] + e[k]), k)
    # equal at n = 1 only where e = 0: never; and log Z + log W − log W is log Z
    assert function_evidence(log(Z), log(W), s, ()).outcome == "undecided"
    assert point_evidence(log(Z), log(W), s, ()).outcome == "refuted"
    again = s.sum(exp(y[k]) * exp(e[k]), k)
    assert function_evidence(log(Z) + log(W), log(Z) + log(again), s, ()).outcome == "holds"
    # two sums that agree up to n = 2 are not the same logarithm
    x = s.family("x", "positive")
    p = lambda power: s.sum(x[k] ** power, k)  # noqa: E731
    one, two = log(1 + p(1) ** 3 + 2 * p(3)), log(1 + 3 * p(1) * p(2))
    e = function_evidence(one, two, s, ())
    assert (e.outcome, e.note) == ("undecided", "n = 3")
    assert point_evidence(one, two, s, ()).outcome == "refuted"


@st.composite
def polynomials(draw, setting, depth=3, scope=()):
    """Trees of sums, products and deltas over one real family, and no free index."""
    kind = draw(
        st.sampled_from(["sum", "sum", "leaf", "add", "mul", "power"] if depth else ["leaf"])
    )
    if kind == "sum":
        index = dv.bound("k")
        inner = draw(polynomials(setting, depth - 1, (*scope, index)))
        return setting.sum(inner, index)
    if kind in ("add", "mul"):
        one, two = (draw(polynomials(setting, depth - 1, scope)) for _ in range(2))
        return one + two if kind == "add" else one * two
    if kind == "power":
        return draw(polynomials(setting, depth - 1, scope)) ** draw(st.integers(1, 2))
    if not scope or draw(st.booleans()):
        return sp.Integer(draw(st.integers(1, 3)))
    one, two = (draw(st.sampled_from(scope)) for _ in range(2))
    return draw(st.sampled_from([setting.x[one], dv.delta(one, two)]))


def finite_differences(values: list[Fraction]) -> int:
    """The degree of the polynomial through these values at n = 1, 2, 3, …"""
    degree = -1
    while any(values):
        values = [b - a for a, b in itertools.pairwise(values)]
        degree += 1
    return degree


def one_family():
    s = dv.Setting.of("n", "a size")
    s.x = s.family("x", "positive")
    return s


@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_the_counted_bound_is_above_the_degree_in_n(data):
    """At x = 1 a sum of products is a polynomial in n; its degree is the most summed indices."""
    s = one_family()
    tree = data.draw(polynomials(s))
    (bound,) = bounds_of(tree, sp.Integer(0), s, ()).values()
    values = [
        exact_table(tree, s, [], {"x": [Fraction(1)] * n}).item() for n in range(1, bound + 4)
    ]
    assert finite_differences(values) <= bound - 1  # f = 0: N = r + 1
    if not tree.has(sp.KroneckerDelta) and not tree.is_Add:
        # where nothing coincides by force and nothing cancels, the count is exact
        assert finite_differences(values) == bound - 1


@given(st.data(), st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_denominators_are_counted(data, p, q):
    """A/Z^p + B/Z^q, times Z^max(p, q), has no higher degree than counted."""
    s = one_family()
    A, B = data.draw(polynomials(s, 2)), data.draw(polynomials(s, 2))
    k, j = dv.bound("k j")
    lhs, rhs = A / s.sum(s.x[k], k) ** p, B / s.sum(s.x[j], j) ** q
    (bound,) = bounds_of(lhs, rhs, s, ()).values()
    values = []
    for n in range(1, bound + 4):
        sizes = {s.size: n}
        ev = Evaluator(PointRing(s, sizes, {("x", (k,)): Fraction(1) for k in range(1, n + 1)}), s)
        difference = ev.value(lhs, {}).pure - ev.value(rhs, {}).pure
        values.append(difference * n ** max(p, q))
    assert finite_differences(values) <= bound - 1


def test_copies_of_a_denominator_are_counted():
    # Σ_s 1/Z_s = N(x)/Π_s Z_s: for two states N sums over one action, for three over two
    s = dv.Setting.of("n", "actions", S="states")
    x = s.family("x", "positive", "", "S n")
    b, u = dv.bound("b"), s.over("S", dv.bound("u"))
    one = s.sum(1 / s.sum(x[u, b], b), u)
    S = dict(zip(("n", "S"), bounds_of(one, sp.Integer(0), s, ()).values(), strict=True))
    assert S == {"n": 2, "S": 2}
    squared = dict(zip(("n", "S"), bounds_of(one**2, sp.Integer(0), s, ()).values(), strict=True))
    # r = 2 over S, so three values of s: Π Z² has six factors, of which each term keeps four
    assert squared["S"] == 3
    assert squared["n"] >= 5


def test_what_cannot_be_negative_is_read_off():
    s = dv.Setting.of("n", "a size")
    w, y, t = s.family("w", "positive"), s.family("y", "real"), s.family("t", "log")
    k = dv.bound("k")
    pi = s.define("pi", k, exp(t[k]) / s.sum(exp(t[k]), k))
    b = dv.free("b")
    positive = [w[b], exp(t[b]), s.size, pi[b], w[b] + y[b] ** 2, 1 / w[b], sp.Integer(2)]
    nonnegative = [y[b] ** 2, s.sum(pi[k] * y[k] ** 2, k), dv.Expect(y[k] ** 2, k, pi), w[b] * 0]
    unknown = [
        y[b],
        -w[b],
        w[b] - 1,
        y[b] ** 3,
        s.sum(pi[k] * y[k], k),
        t[b],
        log(w[b]),
        -(y[b] ** 2),
    ]
    for sign, trees in ((2, positive), (1, nonnegative), (0, unknown)):
        for tree in trees:
            assert sign_of(sp.sympify(tree), s) is Sign(sign), tree


def test_a_sign_that_cannot_be_read_off_is_not_proved_and_a_flipped_one_is_refuted():
    s = dv.Setting.of("n", "a size")
    y, k = s.family("y", "real"), dv.bound("k")

    def claim(rhs):
        st_ = dv.Statement.chain(
            "it", "It", s, (rhs, rhs), [("as it stands", rhs)], nonnegative="squares"
        )
        return dv.Claim("it", "It", "here", (), (), (st_,), "it", ())

    good = check_claim(claim(s.sum(y[k] ** 2, k)), {})
    assert good.status is dv.Status.PROVED
    assert not good.survivors
    # Σ (y+1)² written out is as little negative, but not by its shape
    hidden = check_claim(claim(s.sum(y[k] ** 2 + 2 * y[k] + 1, k)), {})
    assert hidden.status is dv.Status.CITED
    assert sign_evidence(s.sum(y[k], k), s).outcome == "undecided"
    # zero cannot be told from its negative: no control
    assert check_claim(claim(0 * y[dv.free("b")] + sp.Integer(0)), {}).survivors


def test_free_indices_are_looked_at_up_to_relabelling():
    s = dv.Setting.of("n", "a size", k="another")
    y = s.family("y", "real")
    b, c = dv.free("b c")
    e = function_evidence(y[b] * y[c], y[c] * y[b], s, (b, c))
    # n = 1: one pattern; n = 2: b = c and b ≠ c
    assert (e.bounds, e.cases) == ((("n", 2), ("k", 1)), 3)
    assert function_evidence(y[b], y[c], s, (b, c)).outcome == "refuted"


def test_laws_reproduce_their_moments():
    for law in (dv.NORMAL_TO_DEGREE_7, dv.TWICE_A_FAIR_SIGN):
        for k in range(8):
            assert law.moment(k) == sum(w * z**k for z, w in law.nodes.items())
    eighth = sum(w * z**8 for z, w in dv.NORMAL_TO_DEGREE_7.nodes.items())
    assert eighth != math.prod(range(1, 8, 2)) == 105  # hence degree = 7
