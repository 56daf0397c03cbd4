"""What is partly right: which entries are wrong, and what shape the error has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npgcheck.conformance.facts.laws import law
from npgcheck.conformance.facts.relations import blocks
from npgcheck.conformance.facts.seen import NOISE, Seen, same_problem

Array = np.ndarray
#: An entry is wrong when it is off by this much of the largest one.
OFF = 1e-6


def right_entries(wrong: Sequence[Seen]) -> str:
    """Which entries are wrong, where that has a name."""
    masks = _masks(wrong)
    return (_only_zeros(wrong, masks) or _only_in(wrong, masks)) if masks else ""


def structure(wrong: Sequence[Seen]) -> Iterator[str]:
    """Statements about the form of all refuted answers, the sharpest first."""
    if not _masks(wrong):
        return
    yield _leaks(wrong)
    yield _rank_one(wrong)
    yield _chain(wrong)
    yield _same_vectors(wrong)
    yield _per_state(wrong)


def _masks(wrong: Sequence[Seen]) -> list[Array]:
    """The wrong entries of every answer; nothing where some answer has one entry only."""
    if any(s.yours.size < 2 for s in wrong):
        return []
    masks = [np.abs(s.yours - s.exact) > OFF * max(s.size, NOISE) for s in wrong]
    return masks if all(m.any() for m in masks) else []


def _only_zeros(wrong: Sequence[Seen], masks: Sequence[Array]) -> str:
    """Every wrong number is zero, and some are right."""
    if all(m.all() for m in masks):
        return ""
    if any(np.any(s.yours[m]) for s, m in zip(wrong, masks, strict=True)):
        return ""
    for name, part in _parts(wrong).items():
        found = [part(s) for s in wrong]
        if all(
            p is not None and not np.any(s.yours[p]) and not (m & ~p).any()
            for s, p, m in zip(wrong, found, masks, strict=True)
        ):
            return f"right except for zeros {name}"
    return "each number is right or zero"


def _only_in(wrong: Sequence[Seen], masks: Sequence[Array]) -> str:
    """Where all wrong numbers are, if that is a part with a name."""
    for name, part in _parts(wrong).items():
        found = [part(s) for s in wrong]
        if all(
            p is not None and p.any() and not p.all() and not (m & ~p).any()
            for p, m in zip(found, masks, strict=True)
        ):
            return f"wrong only {name}"
    return ""


Part = Callable[[Seen], Array | None]


def _parts(wrong: Sequence[Seen]) -> dict[str, Part]:
    """Named parts of an answer, the smallest first."""
    shape, quantity = wrong[0].exact.ndim, wrong[0].quantity
    if quantity in ("value", "state_distribution"):
        return _OF_STATES
    if quantity in ("q_value", "advantage"):
        return {**_OF_ACTIONS, **{n: _rows(p) for n, p in _OF_STATES.items()}}
    if quantity in ("conjugate_gradient", "advantage_estimate"):
        return {"in the last entry": _entry(-1), "in the first entry": _entry(0)}
    of_theta = {f"in {name}": _of_theta(index) for index, name in _names(wrong).items()}
    if {s.problem.family for s in wrong} == {"mlp"}:
        of_theta |= _LAYERS
    if shape == 2:
        pairs = {f"in the block of {name[3:]}": _pair(p) for name, p in of_theta.items()}
        return {**_OF_MATRICES, **pairs, "between different parameter arrays": _between}
    softmax = all(s.problem.family in ("tabular", "softmax") for s in wrong)
    return {**of_theta, **(_COLUMNS if softmax else {}), **_EVERY}


def _names(wrong: Sequence[Seen]) -> dict[int, str]:
    """Parameter arrays by position, where all problems have the same ones."""
    families = {s.problem.family for s in wrong}
    if families == {"gaussian"}:
        return {1: "log σ", 0: "the weights of the mean"}
    if families != {"mlp"}:
        return {}
    counts = {len(blocks(s)) for s in wrong}
    if len(counts) != 1:
        return {}
    return {i: f"{'bias' if i % 2 else 'weight'} {i // 2}" for i in range(counts.pop())}


def _layers(chosen: Callable[[int, int], bool]) -> Part:
    """Parameter arrays by their position and how many there are."""

    def part(s: Seen) -> Array:
        found = blocks(s)
        mask = np.zeros(len(s.problem.theta), dtype=bool)
        for i, (_, _, places) in enumerate(found):
            mask[places] = chosen(i, len(found))
        return mask

    return part


def _of_theta(index: int) -> Part:
    def part(s: Seen) -> Array:
        mask = np.zeros(len(s.problem.theta), dtype=bool)
        mask[blocks(s)[index][2]] = True
        return mask

    return part


def _pair(part: Part) -> Part:
    def both(s: Seen) -> Array | None:
        mask = part(s)
        return None if mask is None else np.outer(mask, mask)

    return both


def _between(s: Seen) -> Array | None:
    """Entries of F that join two parameter arrays."""
    mask = np.ones(s.exact.shape, dtype=bool)
    found = blocks(s)
    for _, _, places in found:
        mask[np.ix_(places, places)] = False
    return mask if len(found) > 1 else None


def _column(action: int) -> Part:
    def part(s: Seen) -> Array:
        mask = np.zeros((s.problem.observation_size, s.problem.num_actions), dtype=bool)
        mask[:, action] = True
        return mask.ravel()

    return part


def _row(feature: int) -> Part:
    def part(s: Seen) -> Array:
        mask = np.zeros((s.problem.observation_size, s.problem.num_actions), dtype=bool)
        mask[feature] = True
        return mask.ravel()

    return part


def _every(step: int, start: int) -> Part:
    return lambda s: np.arange(s.yours.size) % step == start


def _entry(index: int) -> Part:
    def part(s: Seen) -> Array:
        mask = np.zeros(len(s.exact), dtype=bool)
        mask[index] = True
        return mask

    return part


def _rows(part: Part) -> Part:
    def found(s: Seen) -> Array | None:
        mask = part(s)
        return None if mask is None else np.repeat(mask[:, None], s.exact.shape[1], axis=1)

    return found


def _action(index: int) -> Part:
    def part(s: Seen) -> Array:
        mask = np.zeros(s.exact.shape, dtype=bool)
        mask[:, index] = True
        return mask

    return part


def _terminal(s: Seen) -> Array | None:
    terminal = getattr(s.problem.mdp, "terminal_states", None)
    return None if terminal is None else np.asarray(terminal, dtype=bool)


_LAYERS = {
    "in the first layer": _layers(lambda i, count: i < 2),
    "in the last layer": _layers(lambda i, count: i >= count - 2),
    "in the biases": _layers(lambda i, count: i % 2 == 1),
    "in the weights": _layers(lambda i, count: i % 2 == 0),
    "in the layers before the last": _layers(lambda i, count: i < count - 2),
}
_COLUMNS = {
    "in the first action's column": _column(0),
    "in the last action's column": _column(-1),
    "in the first feature's row": _row(0),
    "in the last feature's row": _row(-1),
}
_EVERY = {
    f"in coordinates {a}, {a + k}, {a + 2 * k}, …": _every(k, a)
    for k in (4, 3, 2)
    for a in range(k)
}
_OF_ACTIONS = {"for the first action": _action(0), "for the last action": _action(-1)}
_OF_STATES: dict[str, Part] = {
    "in terminal states": _terminal,
    "in the first state": _entry(0),
    "in the last state": _entry(-1),
    "in states where an episode can start": lambda s: (
        np.asarray(s.problem.mdp.initial_distribution) > 0
    ),
    "in states where no episode starts": lambda s: (
        np.asarray(s.problem.mdp.initial_distribution) == 0
    ),
}
_OF_MATRICES: dict[str, Part] = {
    "on the diagonal": lambda s: np.eye(len(s.exact), dtype=bool),
    "off the diagonal": lambda s: ~np.eye(len(s.exact), dtype=bool),
    "below the diagonal": lambda s: np.tril(np.ones_like(s.exact, dtype=bool), -1),
    "above the diagonal": lambda s: np.triu(np.ones_like(s.exact, dtype=bool), 1),
}


# ---- the shape of the error -----------------------------------------------------------------


def _rank_one(wrong: Sequence[Seen]) -> str:
    """A matrix that is off by one outer product, or that has a smaller rank."""
    if wrong[0].quantity != "fisher" or not all(len(s.exact) > 2 for s in wrong):
        return ""
    values = [np.linalg.svd(s.yours - s.exact, compute_uv=False) for s in wrong]
    if all(v[1] <= 1e-8 * v[0] for v in values):
        return "the exact matrix plus a matrix of rank one"
    ranks = [np.linalg.matrix_rank(s.yours, tol=1e-9 * max(_top(s.yours), NOISE)) for s in wrong]
    if all(r == 1 for r in ranks):
        return "the matrix has rank one"
    exact = [np.linalg.matrix_rank(s.exact, tol=1e-9 * max(_top(s.exact), NOISE)) for s in wrong]
    if all(r < e for r, e in zip(ranks, exact, strict=True)):
        return "the rank is always smaller than that of the exact matrix"
    if all(r > e for r, e in zip(ranks, exact, strict=True)):
        return "the rank is always larger than that of the exact matrix"
    return ""


def _top(matrix: Array) -> float:
    return float(np.max(np.abs(matrix), initial=0.0))


def _leaks(wrong: Sequence[Seen]) -> str:
    """A part along directions of θ that change no policy, which nothing exact has."""
    if wrong[0].quantity not in ("fisher", "fisher_vector_product", "policy_gradient"):
        return ""
    told = 0
    for s in wrong:
        if not s.reference.discrete:
            return ""
        basis = _invisible(s)
        if not len(basis):
            continue
        told += 1
        if _top(basis @ s.yours) <= 1e-9 * _top(s.yours):
            return ""
    return "not zero along directions that change no policy" if told > 2 else ""


def _invisible(s: Seen) -> Array:
    """Orthonormal rows that span the directions which change no policy."""
    reference = s.reference
    scores = reference.policy.scores(reference.theta, np.asarray(s.problem.observations))
    flat = scores.reshape(-1, scores.shape[-1])
    values, vectors = np.linalg.eigh(flat.T @ flat)
    return np.asarray(vectors[:, values <= 1e-13 * values[-1]].T)


def _same_vectors(wrong: Sequence[Seen]) -> str:
    """Another function of the same matrix: symmetric, and both orders of the product agree."""
    if wrong[0].quantity != "fisher":
        return ""
    for s in wrong:
        left, right = s.yours @ s.exact, s.exact @ s.yours
        if _top(left - right) > 1e-9 * max(_top(left), NOISE):
            return ""
    return "the same eigenvectors as the exact matrix, other eigenvalues"


def _chain(wrong: Sequence[Seen]) -> str:
    """What an occupancy sums to."""
    if wrong[0].quantity != "state_distribution":
        return ""
    sums = [float(s.yours.sum()) for s in wrong]
    if max(abs(total - 1.0) for total in sums) <= 1e-9:
        return "sums to one"
    text = law(sums, wrong)
    return f"sums to {text}" if text else ""


def _per_state(wrong: Sequence[Seen]) -> str:
    """Tables whose rows are the exact ones times a number of each state."""
    if wrong[0].quantity not in ("q_value", "advantage"):
        return ""
    if not all(s.exact.shape[1] > 1 for s in wrong):
        return ""
    for s in wrong:
        square = (s.exact**2).sum(axis=1, keepdims=True)
        factor = (s.exact * s.yours).sum(axis=1, keepdims=True) / np.maximum(square, 1e-300)
        if not s.close(factor * s.exact):
            return ""
    return "each state's row is the exact one times a number of that state"


# ---- how it depends on its argument ---------------------------------------------------------


def arguments(seen: Sequence[Seen]) -> Iterator[str]:
    """How the answers to several questions on one problem hang together."""
    groups = [g for g in same_problem(seen) if len(g) > 1 and any(s.wrong for s in g)]
    if len(groups) < 3:
        return
    quantity = groups[0][0].quantity
    if quantity == "kl":
        yield from _of_divergence(groups)
    if quantity == "surrogate":
        yield from _of_gain(groups)
    name = _ARGUMENT.get(quantity)
    if name is None:
        return
    if all(_same(g) for g in groups):
        yield f"does not depend on {name}"
        return
    if quantity in ("update", "trust_region_proposal"):
        exponents = [_exponent(g) for g in groups]
        first = exponents[0]
        wanted = 1.0 if quantity == "update" else 0.5
        if first is None or any(e is None or abs(e - first) > 1e-6 for e in exponents):
            return
        if abs(first - wanted) > 1e-6:
            yield f"the step grows with the power {first:.3g} of {name}, not {wanted:g}"


_ARGUMENT = {
    "kl": "theta",
    "surrogate": "theta",
    "fisher_vector_product": "the vector",
    "update": "step_size",
    "trust_region_proposal": "max_kl",
    "trust_region_step": "max_kl",
}


def _same(group: Sequence[Seen]) -> bool:
    first = np.asarray(group[0].record.value)
    size = max(float(np.max(np.abs(first), initial=0.0)), NOISE)
    if not np.any(first):
        return False
    return all(np.max(np.abs(s.record.value - first), initial=0.0) <= 1e-9 * size for s in group)


def _exponent(group: Sequence[Seen]) -> float | None:
    """p with |step| ∝ argumentᵖ."""
    lengths = [float(np.linalg.norm(s.yours)) for s in group]
    if min(lengths) <= 0.0:
        return None
    ratio = np.log(float(group[-1].args[0]) / float(group[0].args[0]))
    return float(np.log(lengths[-1] / lengths[0]) / ratio)


def _of_divergence(groups: Sequence[Sequence[Seen]]) -> Iterator[str]:
    by_label = [{s.record.probe.label: s for s in g} for g in groups]
    if any(len(b) < 4 for b in by_label):
        return
    half, small, back = "a step of size 1/2", "a small step", "the opposite step"
    even = all(
        abs(float(b[half].yours - b[back].yours)) <= 1e-9 * abs(float(b[half].yours))
        for b in by_label
    )
    numbers = [(float(b[half].yours), float(b[small].yours)) for b in by_label]
    if all(n > NOISE and m > NOISE for n, m in numbers):
        powers = [np.log(n / m) / np.log(50.0) for n, m in numbers]
        if np.ptp(powers) <= 1e-6 and abs(powers[0] - 2.0) <= 1e-6:
            yield "exactly quadratic in the step"
            return
    if even:
        yield "the same for a step and the opposite step"
    yield from _on_small_steps(by_label)


def _of_gain(groups: Sequence[Sequence[Seen]]) -> Iterator[str]:
    by_label = [{s.record.probe.label: s for s in g} for g in groups]
    if any(len(b) < 3 for b in by_label):
        return
    half, small, back = "a step of size 1/2", "a small step", "the opposite step"
    if all(
        abs(float(b[half].yours + b[back].yours)) <= 1e-9 * abs(float(b[half].yours))
        and abs(float(b[half].yours - 50.0 * b[small].yours)) <= 1e-6 * abs(float(b[half].yours))
        for b in by_label
    ):
        yield "exactly linear in the step"
        return
    yield from _on_small_steps(by_label)


def _on_small_steps(by_label: Sequence[dict[str, Seen]]) -> Iterator[str]:
    """What the answer is to leading order."""
    small = "a small step"
    ratios = [
        float(b[small].yours) / float(b[small].exact) for b in by_label if b[small].size > 1e-10
    ]
    if len(ratios) > 2 and np.ptp(ratios) <= 0.2 * abs(float(np.median(ratios))):
        middle = float(np.median(ratios))
        if abs(middle - 1.0) <= 0.1:
            yield "right to leading order on small steps"
        else:
            yield f"on small steps about {middle:.2g} times the exact value"
    elif len(ratios) > 2 and _one_sign(ratios) and _spread(ratios) <= 10.0:
        low, high = _floor(min(ratios)), -_floor(-max(ratios))
        yield f"on small steps {low:g} to {high:g} times the exact value"
    elif ratios and min(ratios) > 5.0:
        yield f"on small steps at least {_floor(min(ratios)):g} times too large"


def _one_sign(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0.0 or max(numbers) < 0.0


def _spread(numbers: Sequence[float]) -> float:
    sizes = [abs(n) for n in numbers]
    return max(sizes) / min(sizes)


def _floor(number: float) -> float:
    """Rounded down to one digit."""
    unit = 10.0 ** np.floor(np.log10(abs(number)))
    return float(f"{np.floor(number / unit) * unit:.6g}")
