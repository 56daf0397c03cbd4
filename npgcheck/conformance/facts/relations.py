"""Relations that turn every exact answer into the subject's: signs, factors, orders, shifts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from npgcheck.conformance.facts.laws import constant, law, number_text
from npgcheck.conformance.facts.seen import (
    NOISE,
    POINTS,
    REPRODUCED,
    SOLUTIONS,
    Seen,
    all_close,
    same_problem,
)

Array = np.ndarray
#: A factor that is nearer to one says nothing: the answers are inaccurate, not scaled.
WORTH_SAYING = 1e-4
ANOTHER = "another number on each problem"


def relation(wrong: Sequence[Seen], seen: Sequence[Seen]) -> str:
    """The first relation that reproduces every refuted answer, or "".

    A factor of the right answers too is a law that the refuted ones alone may not show.
    """
    useful = [s for s in wrong if s.size > 0.0]
    if not useful:
        return _of_zeros(wrong)
    if len(useful) < len(wrong) / 2:
        return ""
    if all_close(useful, lambda s: -s.exact):
        return "the sign is flipped"
    if useful[0].quantity == "fisher" and all_close(useful, lambda s: s.exact.T):
        return "the matrix is transposed"
    everywhere = [s for s in seen if s.size > 0.0]
    if len(everywhere) > len(useful) and (text := _factor(everywhere)) and "differs" not in text:
        return text
    return next(filter(None, (find(useful) for find in _RELATIONS)), "")


def of_right_answers(text: str, seen: Sequence[Seen]) -> bool:
    """Whether a factor is a law of the right answers too, so that it says which are wrong."""
    everywhere = [s for s in seen if s.size > 0.0]
    return text.startswith("the exact answer times") and _factor(everywhere) == text


def _of_zeros(wrong: Sequence[Seen]) -> str:
    """What is answered where zero is right."""
    if wrong and all(s.exact.size == 1 for s in wrong):
        numbers = [float(s.yours) for s in wrong]
        if constant(numbers):
            return f"the exact answer plus {number_text(numbers[0])}"
    return ""


# ---- a factor -------------------------------------------------------------------------------


def _factor(seen: Sequence[Seen]) -> str:
    """One factor per answer that explains it, and what that factor is."""
    factors = []
    for s in seen:
        square = float(np.vdot(s.exact, s.exact))
        factor = float(np.vdot(s.exact, s.yours)) / square if square else np.nan
        if not np.max(np.abs(s.yours - factor * s.exact)) <= REPRODUCED * s.size:
            return ""
        factors.append(factor)
    if max(abs(f - 1.0) for f in factors) < WORTH_SAYING:
        return ""
    if max(map(abs, factors)) <= REPRODUCED:
        return "θ comes back unchanged" if seen[0].quantity in POINTS else "always zero"
    if text := law(factors, seen):
        return f"the exact answer times {text}"
    if all(s.yours.size == 1 for s in seen) or len(seen) < 3 or constant(factors):
        return ""  # any two numbers have a quotient
    return "the exact answer times a factor that differs between problems"


# ---- an order -------------------------------------------------------------------------------


def _order(seen: Sequence[Seen]) -> str:
    """The same numbers in other places."""
    for text, order in ORDERS.items():
        if all_close(seen, partial(_reordered, order=order)):
            return text
    telling = [s for s in seen if s.exact.ndim == 1 and _distinct(s.exact)]
    if telling and all_close(seen, _sorted_like):
        return "the same numbers in another order"
    return ""


def _distinct(exact: Array) -> bool:
    """Whether no two entries are alike: only then an order is seen."""
    gaps = np.diff(np.sort(exact))
    return len(exact) > 2 and bool((gaps > 1e-3 * np.max(np.abs(exact))).all())


def _sorted_like(s: Seen) -> Array | None:
    """The exact numbers, each put where the answer has its rank."""
    if s.exact.ndim != 1:
        return None
    wanted = np.empty_like(s.exact)
    wanted[np.argsort(s.yours, kind="stable")] = np.sort(s.exact)
    return wanted


def _reordered(s: Seen, order: Callable[[Seen], Array | None]) -> Array | None:
    if s.exact.ndim not in (1, 2):
        return None
    places = order(s)
    if places is None or len(places) != len(s.exact):
        return None
    if s.exact.ndim == 2 and s.quantity == "fisher":
        return np.asarray(s.exact[np.ix_(places, places)])
    return np.asarray(s.exact[places]) if s.exact.ndim == 1 else None


def blocks(s: Seen) -> list[tuple[str, tuple[int, ...], Array]]:
    """The parameter arrays of θ: name, shape and indices, in order."""
    found, at = [], 0
    for name, shape in s.problem.policy.layout().items():
        size = int(np.prod(shape))
        found.append((name, shape, np.arange(at, at + size)))
        at += size
    return found


def each_transposed(s: Seen, vector: Array) -> Array | None:
    """The order in which every weight matrix is read column by column."""
    if s.problem.family == "pure" or len(vector) != len(s.problem.theta):
        return None
    parts = [
        places.reshape(shape).T.ravel() if len(shape) == 2 else places
        for _, shape, places in blocks(s)
    ]
    return np.concatenate(parts)


def _each_transposed(s: Seen) -> Array | None:
    return each_transposed(s, s.exact)


def _action_major(s: Seen) -> Array | None:
    return _each_transposed(s) if s.problem.family in ("tabular", "softmax") else None


def _biases_first(s: Seen) -> Array | None:
    if s.problem.family != "mlp" or len(s.exact) != len(s.problem.theta):
        return None
    parts = [places for _, _, places in blocks(s)]
    swapped = [p for i in range(0, len(parts), 2) for p in (parts[i + 1], parts[i])]
    return np.concatenate(swapped)


def _last_block_first(s: Seen) -> Array | None:
    if s.problem.family != "gaussian" or len(s.exact) != len(s.problem.theta):
        return None
    return np.concatenate([places for _, _, places in blocks(s)][::-1])


ORDERS: dict[str, Callable[[Seen], Array | None]] = {
    "parameters come in the order [action, feature]; the contract's is [feature, action]": (
        _action_major
    ),
    "every weight matrix is transposed": _each_transposed,
    "each layer's bias comes before its weights": _biases_first,
    "log σ comes before the weights": _last_block_first,
    "the entries are in reverse order": lambda s: np.arange(len(s.exact))[::-1],
    "the entries are shifted by one place": lambda s: np.roll(np.arange(len(s.exact)), 1),
    "the entries are shifted back by one place": lambda s: np.roll(np.arange(len(s.exact)), -1),
    "the entries are sorted by size": lambda s: (
        np.argsort(s.exact, kind="stable") if s.exact.ndim == 1 else None
    ),
}


# ---- a shift --------------------------------------------------------------------------------


def _shift(seen: Sequence[Seen]) -> str:
    """The same number added to every entry, or one for each state."""
    shape = seen[0].exact.ndim
    if shape == 2 and seen[0].quantity == "fisher":
        return _matrix_shift(seen)
    if seen[0].quantity == "fisher_vector_product":
        return _product_shift(seen)
    if seen[0].quantity in POINTS or seen[0].quantity in _VECTORS:
        return _vector_shift(seen)
    shifts = []
    for s in seen:
        offset = float(np.mean(s.yours - s.exact))
        if not s.explained(s.exact + offset):
            return _state_shift(seen)
        shifts.append(offset)
    if text := law(shifts, seen):
        return f"the exact answer plus {text}"
    several = [group for group in same_problem(seen) if len(group) > 1]
    if all(s.exact.size > 1 for s in seen):
        return "the exact answer plus a constant that differs between problems"
    if seen[0].quantity in ("kl", "surrogate") and several:
        by_problem = [
            float(np.ptp([float(s.yours - s.exact) for s in g]))
            <= REPRODUCED * max(abs(float(s.yours - s.exact)) for s in g)
            for g in several
        ]
        if all(by_problem):
            return "the exact answer plus a constant that differs between problems"
    return ""


_VECTORS = ("score", "policy_gradient", "natural_gradient", "conjugate_gradient")


def _vector_shift(seen: Sequence[Seen]) -> str:
    """A multiple of a known vector is added."""
    if seen[0].problem.family == "pure":
        return ""
    known: dict[str, Callable[[Seen], Array | None]] = {
        "θ": lambda s: s.reference.theta,
        "g": lambda s: s.gradient,
        "1 in every coordinate": lambda s: np.ones_like(s.exact),
    }
    for name, read in known.items():
        shifts = []
        for s in seen:
            along = read(s)
            if along is None or len(along) != len(s.exact) or not np.any(along) or len(along) < 3:
                break
            along = s.shown(along)
            square = float(along @ along)
            c = float(along @ (s.yours - s.exact)) / square if square else 0.0
            if abs(c) <= NOISE or not s.close(s.exact + c * along):
                break
            shifts.append(c)
        else:
            text = law(shifts, seen, 1e-5)
            return f"the exact answer plus c times {name}, c = {text or ANOTHER}"
    return ""


def _state_shift(seen: Sequence[Seen]) -> str:
    """Tables over states and actions that differ by a number of each state."""
    if seen[0].exact.ndim != 2 or not all(s.exact.shape[1] > 1 for s in seen):
        return ""
    if all_close(seen, lambda s: s.exact + (s.yours - s.exact).mean(axis=1, keepdims=True)):
        return "the exact answer plus a number of each state: another baseline"
    return ""


def _matrix_shift(seen: Sequence[Seen]) -> str:
    """c I, or c times the diagonal."""
    shifts, on_diagonal = [], []
    for s in seen:
        difference = np.diag(s.yours - s.exact)
        shifts.append(float(difference.mean()))
        base = np.diag(s.exact)
        square = float(base @ base)
        on_diagonal.append(float(base @ difference) / square if square else 0.0)
    if min(map(abs, shifts)) > NOISE and all(
        s.close(s.exact + c * np.eye(len(s.exact))) for s, c in zip(seen, shifts, strict=True)
    ):
        text = law(shifts, seen)
        return f"the exact matrix plus c I, c = {text or ANOTHER}"
    if constant(on_diagonal, 1e-5) and all(
        s.close(s.exact + c * np.diag(np.diag(s.exact)))
        for s, c in zip(seen, on_diagonal, strict=True)
    ):
        return f"the diagonal is the exact one times {number_text(1 + on_diagonal[0])}"
    return ""


def _product_shift(seen: Sequence[Seen]) -> str:
    """F v + c v."""
    shifts = []
    for s in seen:
        v = s.args[0]
        c = float(v @ (s.yours - s.exact)) / float(v @ v)
        if abs(c) <= NOISE or not s.close(s.exact + c * v):
            return ""
        shifts.append(c)
    text = law(shifts, seen, 1e-5)
    return f"the exact product plus c v, c = {text or ANOTHER}"


# ---- a function of each entry ---------------------------------------------------------------


def entrywise(seen: Sequence[Seen]) -> str:
    """One function that makes every answer, right ones too, out of the exact one."""
    wrong = [s for s in seen if s.wrong]
    if sum(s.exact.size for s in wrong) < 4:
        return ""
    with np.errstate(all="ignore"):
        for text, function in FUNCTIONS.items():
            if all_close(seen, partial(_applied, function=function)):
                return f"each number is {text}, x the exact one"
    return _clipped(seen) or _affine(wrong) or _standardised(wrong)


def _applied(s: Seen, function: Callable[[Array], Array]) -> Array | None:
    values = function(s.exact)
    return values if np.isfinite(values).all() else None


def _cut_off(s: Seen, bounds: tuple[float | None, float | None]) -> Array:
    return np.clip(s.exact, *bounds)


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "max(x, 0)": lambda x: np.maximum(x, 0.0),
    "min(x, 0)": lambda x: np.minimum(x, 0.0),
    "|x|": np.abs,
    "√x": lambda x: np.sqrt(np.maximum(x, 0.0)),
    "x²": np.square,
    "eˣ": np.exp,
    "log x": np.log,
    "1/x": lambda x: 1.0 / x,
    "the sign of x": lambda x: np.where(np.abs(x) > 1e-12, np.sign(x), 0.0),
    "x rounded to 1 decimal": lambda x: np.round(x, 1),
    "x rounded to 2 decimals": lambda x: np.round(x, 2),
    "x rounded to 3 decimals": lambda x: np.round(x, 3),
    "x rounded to an integer": np.round,
}


#: What is smaller than this part of the other bound is rounding of zero.
ROUNDING = 1e-12


def _clipped(seen: Sequence[Seen]) -> str:
    """Cut off at one bound below and one above."""
    wrong = [s for s in seen if s.wrong]
    cut = np.concatenate(
        [
            s.yours.ravel()[np.abs(s.yours - s.exact).ravel() > REPRODUCED * max(s.size, NOISE)]
            for s in wrong
        ]
    )
    if len(cut) < 4:
        return ""
    low, high = float(cut.min()), float(cut.max())
    if high - low <= REPRODUCED * max(abs(low), abs(high)):
        for side, bounds in (("at least", (low, None)), ("at most", (None, low))):
            if all_close(seen, partial(_cut_off, bounds=bounds)):
                return f"each number is {side} {number_text(low)}, else right: cut off"
        return ""
    if not all_close(seen, lambda s: np.clip(s.exact, low, high)):
        return ""
    size = max(abs(low), abs(high))  # a bound below rounding is zero
    low, high = (0.0 if abs(b) <= ROUNDING * size else b for b in (low, high))
    return f"each number is cut off at {number_text(low)} and {number_text(high)}"


def _affine(wrong: Sequence[Seen]) -> str:
    """a x + b with the same a and b everywhere."""
    if wrong[0].quantity in (*POINTS, *_VECTORS, "fisher", "fisher_vector_product"):
        return ""
    x = np.concatenate([s.exact.ravel() for s in wrong])
    y = np.concatenate([s.yours.ravel() for s in wrong])
    if len(x) < 4 or float(np.ptp(x)) <= 1e-6 * max(float(np.abs(x).max()), NOISE):
        return ""
    slope, shift = np.polyfit(x, y, 1)
    if abs(slope) > 1e-6 and all_close(wrong, lambda s: slope * s.exact + shift):
        return (
            f"{number_text(float(slope))} times the exact answer plus {number_text(float(shift))}"
        )
    return ""


def _standardised(wrong: Sequence[Seen]) -> str:
    """a x + b with other numbers in each answer, the usual ones by name."""
    if wrong[0].quantity not in ("value", "q_value", "advantage", "advantage_estimate"):
        return ""
    told = [s for s in wrong if s.exact.size > 2]
    if len(told) < 3 or not all(np.ptp(s.exact) > 1e-6 * s.size for s in told):
        return ""
    fits = [np.polyfit(s.exact.ravel(), s.yours.ravel(), 1) for s in told]
    if not all(s.explained(a * s.exact + b) for s, (a, b) in zip(told, fits, strict=True)):
        return ""
    if min(abs(a) for a, _ in fits) < 1e-6:
        return ""
    for ddof in (0, 1):
        if all(
            abs(s.yours.mean()) <= 1e-6 and abs(s.yours.std(ddof=ddof) - 1.0) <= 1e-3 for s in told
        ):
            return "the exact answer shifted and scaled to mean 0 and standard deviation 1"
    return "a times the exact answer plus b, a and b other numbers on each problem"


def relations(wrong: Sequence[Seen], seen: Sequence[Seen]) -> Iterator[str]:
    """Everything that reproduces all refuted answers, the sharpest first."""
    yield relation(wrong, seen)
    yield entrywise(seen)
    yield entrywise([replace(s, yours=s.raw) for s in seen if s.quantity in SOLUTIONS])


_RELATIONS = (_factor, _order, _shift)
