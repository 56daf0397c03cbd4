"""Facts about log-probabilities and scores: which part of log π or of x(s) ⊗ (e_a − π) is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npgcheck.conformance.facts.laws import law, number_text
from npgcheck.conformance.facts.seen import REPRODUCED, Seen

Array = np.ndarray


def of_policy(seen: Sequence[Seen]) -> Iterator[str]:
    """Statements about all answers, the sharpest first."""
    if seen[0].quantity == "log_prob":
        yield _sums(seen)
    if seen[0].quantity == "score":
        yield _form(seen)


# ---- log π ----------------------------------------------------------------------------------


def log_odds(seen: Sequence[Seen]) -> str:
    """Right up to the normaliser, or right up to a temperature."""
    if not all(s.reference.discrete for s in seen):
        return ""
    groups = [g for g in _states(seen) if len(g) > 1]
    if len(groups) < 3:
        return ""
    shifts = [[float(s.yours - s.exact) for s in g] for g in groups]
    sizes = [max(s.size for s in g) for g in groups]
    if all(
        float(np.ptp(d)) <= REPRODUCED * max(n, 1.0) for d, n in zip(shifts, sizes, strict=True)
    ):
        return "the exact answer plus a number of each state"
    factors, told = [], []
    for g in groups:
        yours = np.array([float(s.yours - g[0].yours) for s in g])
        exact = np.array([float(s.exact - g[0].exact) for s in g])
        square = float(exact @ exact)
        if square <= 1e-20:
            if float(np.max(np.abs(yours))) > REPRODUCED:
                return ""
            continue
        factor = float(exact @ yours) / square
        if float(np.max(np.abs(yours - factor * exact))) > REPRODUCED * np.max(np.abs(exact)):
            return ""
        factors.append(factor)
        told.append(g[0])
    text = law(factors, told) if len(factors) > 2 else ""
    return f"the exact log-odds times {text}" if text else ""


def density(seen: Sequence[Seen]) -> str:
    """A Gaussian density with another σ: −½ z²/c² − log c, the same c everywhere."""
    scaled = []
    for s in seen:
        if s.problem.family != "gaussian":
            return ""
        half, width = _half_square(s)
        scaled.append((half, width, float(s.yours - s.exact)))
    design = np.array([[h, w] for h, w, _ in scaled])
    right = np.array([d for *_, d in scaled])
    if np.linalg.matrix_rank(design) < 2:
        return ""
    found = np.linalg.lstsq(design, right, rcond=None)[0]
    if float(np.max(np.abs(design @ found - right))) > REPRODUCED * np.max(np.abs(right)):
        return ""
    # d = ½z²(1 − 1/c²) − m log c
    c = float(np.exp(-found[1]))
    if abs((1.0 - c**-2) - found[0]) > 1e-5:
        return ""
    text = law([c] * len(seen), seen)
    return f"right for σ times {text}"


def mixture(seen: Sequence[Seen]) -> str:
    """Probabilities a π + b."""
    if not all(s.reference.discrete for s in seen):
        return ""
    x = np.exp(np.array([float(s.exact) for s in seen]))
    y = np.exp(np.array([float(s.yours) for s in seen]))
    base = np.array([1.0 / s.problem.num_actions for s in seen])
    for column, words in ((base, " / A"), (np.ones_like(x), "")):
        design = np.stack([x, column], axis=1)
        if np.linalg.matrix_rank(design) < 2:
            continue
        a, b = np.linalg.lstsq(design, y, rcond=None)[0]
        if np.max(np.abs(design @ (a, b) - y)) <= 1e-9 and abs(b) > 1e-12:
            first = number_text(float(f"{a:.6g}"))
            return f"its probabilities are a π + b, a = {first}, b = {number_text(float(b))}{words}"
    return ""


def _half_square(s: Seen) -> tuple[float, float]:
    state, action = s.args
    observation = np.asarray(s.problem.observations)[[state]]
    mean, log_std = s.reference.policy.mean_log_std(s.reference.theta, observation)
    z = (np.asarray(action) - mean[0]) / np.exp(log_std[0])
    return 0.5 * float(z @ z), float(len(z))


def _states(seen: Sequence[Seen]) -> list[list[Seen]]:
    """The answers of one state of one problem."""
    groups: dict[tuple[int, str, int], list[Seen]] = {}
    for s in seen:
        key = (s.record.probe.position, s.problem.id, int(s.args[0]))
        groups.setdefault(key, []).append(s)
    return list(groups.values())


def _sums(seen: Sequence[Seen]) -> str:
    """Whether the probabilities of a state sum to one."""
    if not all(s.reference.discrete for s in seen):
        return ""
    whole = [
        g for g in _states(seen) if len({int(s.args[1]) for s in g}) == g[0].problem.num_actions
    ]
    wrong = [g for g in whole if any(s.wrong for s in g)]
    if len(wrong) < 3:
        return ""
    one = [abs(sum(np.exp(float(s.yours)) for s in g) - 1.0) <= 1e-9 for g in wrong]
    if all(one):
        return "its probabilities sum to one"
    return "" if any(one) else "its probabilities do not sum to one"


# ---- scores ---------------------------------------------------------------------------------


def _form(seen: Sequence[Seen]) -> str:
    """x(s) ⊗ (e_a − q) with some other q than π."""
    wrong = [s for s in seen if s.wrong]
    if not wrong or any(s.problem.family not in ("tabular", "softmax") for s in wrong):
        return ""
    others = []
    for s in wrong:
        state, action = int(s.args[0]), int(s.args[1])
        x = np.asarray(s.problem.observations)[state]
        table = s.yours.reshape(len(x), s.problem.num_actions)
        v = x @ table / float(x @ x)
        if float(np.max(np.abs(table - np.outer(x, v)))) > 1e-9 * np.max(np.abs(table)):
            return ""
        q = -v
        q[action] += 1.0
        others.append((q, s.reference.probabilities[state]))
    for text, test in Q.items():
        if all(test(q, pi) for q, pi in others):
            return f"x(s) ⊗ (e_a − q) with {text}"
    return ""


Q: dict[str, Callable[[Array, Array], bool]] = {
    "q = 0": lambda q, pi: bool(np.abs(q).max() <= 1e-9),
    "q = 1/A": lambda q, pi: bool(np.abs(q - 1.0 / len(q)).max() <= 1e-9),
    "q = −π": lambda q, pi: bool(np.abs(q + pi).max() <= 1e-9),
    "another q, which sums to one": lambda q, pi: bool(abs(q.sum() - 1.0) <= 1e-9),
    "a q that does not sum to one": lambda q, pi: bool(abs(q.sum() - 1.0) > 1e-6),
}
