"""The cutoff lemma: which sizes are enough to prove an equation for every size.

Lemma. Let G_n be a finite sum of terms over indices i_1, …, i_f (free) and k_1, …, k_r (summed
over 1..n). A term is a product of a weight that depends only on which indices are equal; of
rational functions, each of family members at one single index value; and of Laurent monomials
in members at several. Let N = f + r, or r + 1 when f = 0. If G_n = 0 identically for
n = 1, …, N at every value of the free indices, then G_n = 0 for every n ≥ 1.

Proof. Fix the values U of the free indices and sort the terms by which indices coincide. Let B be
a basis of the rational functions of the members at one index value that contains 1, the same for
every value, and expand every term in products of elements of B and of monomials in members at
several values. In such a product let W be the values that carry an element of B other than 1 or
occur in the monomial, together with U, say w values. A block of coinciding indices that carries
something must sit on W; the z other blocks take distinct values anywhere else and are counted by
(n−w)(n−w−1)…(n−w−z+1). By symmetry only the pattern of U and W matters. So the coefficient of
the product is one polynomial in n for all n ≥ w, of degree at most f + r − w. If w ≥ 1 it vanishes
at the f + r − w + 1 integers w, …, f + r; if w = 0 (then f = 0) at the r + 1 integers
1, …, r + 1. Hence everywhere. ∎

The case w = 0 is not pedantry: Σ_k 1 = 1 has f = 0, r = 1 and holds at n = 1.

Several sizes. Fix all sizes but one: sums over the others are then written out, and the lemma
applies to that one. So an equation that holds on the grid of all sizes up to their bounds holds
for every size, one size after another.

Denominators. An equation is multiplied by those that do not depend on an index of the size in
question, such as Z = Σ_k e^{θ_k}; the sums in them count. A denominator of a single index value,
such as 1 + x_k, may stay. Z_s = Σ_k x_{sk} under a sum over s is of the second kind for the size
of s, and of the first for the size of k, once for each of the values of s that the bound for s
asks for. All denominators are sums of positive terms or of squares, so not zero as functions.

Means over an independent random family replace a monomial by a weight of the admitted kind.
Logarithms of sums are indeterminates beside all others for n ≥ 2, but log of a monomial at n = 1,
so then every N grows by one, and two such sums must differ before the bound to be told apart.

The bound is computed from the tree: the evaluator is run over the ring `Count`, whose elements
say how many summed indices of each size an expanded term can have.
"""

from __future__ import annotations

import sympy as sp

from npgcheck.derivation.count import Count, CountingRing
from npgcheck.derivation.evaluate import Evaluator
from npgcheck.derivation.language import OutOfClass
from npgcheck.derivation.setting import Setting
from npgcheck.derivation.values import LogLinear

_ROUNDS = 6  # each size waits for those that it depends on: more rounds than sizes


def bounds_of(
    lhs: sp.Expr, rhs: sp.Expr, setting: Setting, free: tuple[sp.Symbol, ...]
) -> dict[sp.Symbol, int]:
    """The N of the lemma for each size; raises `OutOfClass` when it does not apply."""
    bounds = dict.fromkeys(setting.sizes, 1)
    for _ in range(_ROUNDS):
        found = _bounds(lhs, rhs, setting, free, bounds)
        if found == bounds:
            return bounds
        bounds = found
    raise OutOfClass("denominators of two sizes that wait for each other")


def _bounds(
    lhs: sp.Expr,
    rhs: sp.Expr,
    setting: Setting,
    free: tuple[sp.Symbol, ...],
    copies: dict[sp.Symbol, int],
) -> dict[sp.Symbol, int]:
    ring = CountingRing({size.name: n for size, n in copies.items()})
    evaluator = Evaluator(ring, setting)
    indices = {symbol: ("free", symbol.name, setting.range_of(symbol).name) for symbol in free}
    minus = LogLinear(Count.constant(ring, -1))
    left, right = evaluator.value(lhs, indices), evaluator.value(rhs, indices) * minus
    # everything over one common denominator, each logarithm counting as one more indeterminate
    whole, sums = left.pure + right.pure, {}
    for part in (left, right):
        for key, c in part.logs.items():
            whole = whole + c * Count(ring, ("v", key))
            if isinstance(key, tuple) and key[0] == "sum":
                sums[key] = key[2]
                if key[3]:
                    raise OutOfClass("the logarithm of a sum that depends on an index")
    bounds = {}
    for size in setting.sizes:
        f = sum(setting.range_of(symbol) == size for symbol in free)
        r = max([whole.r.get(size.name, 0), *(dict(s).get(size.name, 0) for s in sums.values())])
        bounds[size] = max(1, f + r + (not f) + bool(sums))
    return bounds
