"""Recomputing a refuted quantity from the subject's own lower answers.

Each function takes one problem and what the subject answers on it, and returns which lower
quantities, put in place of exact ones, reproduce the refuted answer. Only quantities that failed
themselves may explain a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from npgcheck.conformance.fitting import Record
from npgcheck.conformance.own_answers import OwnAnswers

Array = np.ndarray
Lower = tuple[str, ...]

#: A recomputed answer counts as the same at this relative error: the subject's own rounding,
#: amplified by conditioning up to 1e4, stays well below it and every mistake well above.
SAME = 1e-8


#: θ + ηx holds x up to so many units of the rounding of θ itself.
ROUNDED = 1e-15


def close(a: Any, b: Any, tolerance: float = SAME) -> bool:
    """Equal up to rounding, relative to the larger of the two."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    size = max(float(np.max(np.abs(a), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
    return bool(np.max(np.abs(a - b), initial=0.0) <= tolerance * size)


def _versions(own: OwnAnswers, exact: Any, *names: str) -> Iterator[tuple[Any, str]]:
    """The exact value first, then what the subject answers under each of the names."""
    yield exact, ""
    for name in names:
        answer = own.get(name)
        if answer is not None:
            yield answer, name


def _used(*names: str) -> Lower:
    return tuple(dict.fromkeys(n for n in names if n))


def q_value(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    mdp = own.problem.mdp
    v = own.get("value")
    if v is not None and close(record.value, mdp.rewards + mdp.discount * mdp.expected_next(v)):
        yield ("value",)


def advantage(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    exact, mdp = own.evaluation, own.problem.mdp
    for (q, n1), (v, n2) in product(
        _versions(own, exact.q_value, "q_value"), _versions(own, exact.value, "value")
    ):
        if close(record.value, q - v[:, None]):
            yield _used(n1, n2)
    v = own.get("value")
    if v is not None:
        target = mdp.rewards + mdp.discount * mdp.expected_next(v)
        if close(record.value, target - v[:, None]):
            yield ("value",)


def objective(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    v = own.get("value")
    if v is not None and close(record.value, own.problem.mdp.initial_distribution @ v):
        yield ("value",)


def policy_gradient(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    if not own.discrete:
        return
    exact = own.evaluation
    horizon = 1.0 / (1.0 - own.problem.discount)
    critics = [*_versions(own, exact.advantage, "advantage", "q_value"), (exact.q_value, "")]
    for (phi, n1), (d, n2), (c, n3) in product(
        _versions(own, own.exact_scores, "score"),
        _versions(own, exact.state_distribution, "state_distribution"),
        critics,
    ):
        g = np.einsum("s,sa,sa,sad->d", d, own.probabilities, c, phi)
        if any(close(record.value, factor * g) for factor in (1.0, horizon)):
            yield _used(n1, n2, n3)


def surrogate(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    if not own.discrete:
        return
    exact, other = own.evaluation, record.probe.args[0]
    new = own.problem.policy.probabilities(other, own.problem.observations)
    horizon = 1.0 / (1.0 - own.problem.discount)
    for (d, n1), (c, n2), (j, n3) in product(
        _versions(own, exact.state_distribution, "state_distribution"),
        _versions(own, exact.advantage, "advantage", "q_value"),
        _versions(own, exact.objective, "objective"),
    ):
        gain = float(np.einsum("s,sa,sa->", d, new, c))
        if any(
            close(record.value, base + factor * gain)
            for base, factor in product((0.0, float(j)), (1.0, horizon))
        ):
            yield _used(n1, n2, n3)


def fisher(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    if not own.discrete:
        return
    horizon = 1.0 / (1.0 - own.problem.discount)
    for (phi, n1), (d, n2) in product(
        _versions(own, own.exact_scores, "score"),
        _versions(own, own.evaluation.state_distribution, "state_distribution"),
    ):
        matrix = np.einsum("s,sa,sad,sae->de", d, own.probabilities, phi, phi)
        if any(close(record.value, factor * matrix) for factor in (1.0, horizon)):
            yield _used(n1, n2)


def fisher_vector_product(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    matrix, vector = own.get("fisher"), record.probe.args[0]
    if matrix is None:
        return
    for damping in {0.0, own.damping}:
        if close(record.value, matrix @ vector + damping * vector):
            yield ("fisher",)


def kl(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    if not own.discrete:
        return
    other = record.probe.args[0]
    exact = own.problem.policy.log_probabilities(other, own.problem.observations)
    before = own.problem.policy.log_probabilities(own.problem.theta, own.problem.observations)
    for (d, n1), (new, old, n2) in product(
        _versions(own, own.evaluation.state_distribution, "state_distribution"),
        [(exact, before, ""), *own.log_prob_tables(other)],
    ):
        forward = float(np.einsum("s,sa->", d, np.exp(old) * (old - new)))
        reverse = float(np.einsum("s,sa->", d, np.exp(new) * (new - old)))
        if close(record.value, forward) or close(record.value, reverse):
            yield _used(n1, n2)


def natural_gradient(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    yield from _solves(own, record.value)


def update(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    displacement = (record.value - own.problem.theta) / float(record.probe.args[-1])
    x = own.get("natural_gradient")
    if x is not None and _is_step(own, record.value, float(record.probe.args[-1]), x):
        yield ("natural_gradient",)
    yield from _solves(own, displacement)


def _is_step(own: OwnAnswers, there: Array, step: float, x: Array) -> bool:
    """Whether θ + ηx is there; where x is no more than the rounding of θ, to rounding."""
    theta = own.problem.theta
    return close((there - theta) / step, x, 1e-7) or close(there, theta + step * x, ROUNDED)


def trust_region_proposal(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    displacement = record.value - own.problem.theta
    size = float(np.linalg.norm(displacement))
    delta = float(record.probe.args[0])
    if size == 0.0:
        return
    x = own.get("natural_gradient")
    lengths = [
        (matrix, name)
        for matrix, name in own.fishers()
        if any(
            close(0.5 * displacement @ (matrix @ displacement + lam * displacement), delta, 1e-6)
            for lam in {0.0, own.damping}
        )
    ]
    if x is not None and np.linalg.norm(x) > 0:
        along = close(displacement / size, x / np.linalg.norm(x), 1e-7)
        for _, name in lengths if along else []:
            yield _used("natural_gradient", name)
    for _, name in lengths:
        for lower in _solves(own, displacement, free_length=True):
            yield _used(*lower, name)


def trust_region_step(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    displacement = record.value - own.problem.theta
    size = float(np.linalg.norm(displacement))
    proposal = own.ask("trust_region_proposal", record.probe.args[0])
    if proposal is not None and size > 0:
        whole = proposal - own.problem.theta
        fraction = float(displacement @ whole) / float(whole @ whole)
        if 0.0 < fraction <= 1.0 + SAME and close(displacement, fraction * whole, 1e-7):
            yield ("trust_region_proposal",)
    x = own.get("natural_gradient")
    length = 0.0 if x is None else float(np.linalg.norm(x))
    if size > 0 and length > 0 and close(displacement / size, x / length, 1e-7):
        yield ("natural_gradient",)
    if size > 0:
        yield from _solves(own, displacement, free_length=True)
        yield from _own_trust_region(own, displacement, float(record.probe.args[0]))
    else:
        yield from _downhill(own)


def _own_trust_region(own: OwnAnswers, displacement: Array, delta: float) -> Iterator[Lower]:
    """The subject's own KL allows this step, and not twice the step, where the exact one judges
    otherwise."""
    here = own.value_of("kl", own.problem.theta + displacement)
    twice = own.value_of("kl", own.problem.theta + 2.0 * displacement)
    if here is None or twice is None:
        return
    exact = own.exact_kl(own.problem.theta + displacement)
    allowed, cut = here <= delta * (1 + 1e-6), twice > delta
    if allowed and (cut or exact > delta) and not close(here, exact, 1e-6):
        yield ("kl",)


def _downhill(own: OwnAnswers) -> Iterator[Lower]:
    """Nothing is gained along the subject's own direction, so its line search stays at θ."""
    x = own.get("natural_gradient")
    if x is not None and float(own.exact_gradient @ x) <= 0.0:
        yield ("natural_gradient",)
    g = own.get("policy_gradient")
    if g is not None:
        for matrix, name in own.fishers():
            along = np.linalg.lstsq(matrix, g, rcond=1e-12)[0]
            if float(own.exact_gradient @ along) <= 0.0:
                yield _used("policy_gradient", name)


def train(own: OwnAnswers, record: Record) -> Iterator[Lower]:
    step = float(record.probe.args[-1])
    there = own.ask("update", step)
    if there is not None and close(there, record.value, 1e-9):
        yield ("update",)
    x = own.get("natural_gradient")
    if x is not None and _is_step(own, record.value, step, x):
        yield ("natural_gradient",)
    yield from _solves(own, (record.value - own.problem.theta) / step)


def _solves(own: OwnAnswers, x: Array, free_length: bool = False) -> Iterator[Lower]:
    """(F + λI)x = c g with the subject's F or g in place of the exact ones."""
    scale = 1.0 - own.problem.discount
    for (matrix, n1), (g, n2) in product(
        own.fishers(), _versions(own, own.exact_gradient, "policy_gradient")
    ):
        if not n1 and not n2:
            continue
        for damping in {0.0, own.damping}:
            image = matrix @ x + damping * x
            if free_length:
                square = float(g @ g)
                factors = [float(g @ image) / square] if square else []
            else:
                factors = [1.0, scale, 1.0 / scale]
            for factor in factors:
                missing = image - factor * g
                # A least-squares solve with a g outside of range(F) leaves what F cannot see.
                normal = matrix.T @ missing + damping * missing
                small = 1e-7 * np.linalg.norm(matrix.T @ (factor * g))
                if factor > 0 and (
                    close(image, factor * g, 1e-7) or np.linalg.norm(normal) <= small
                ):
                    yield _used(n1, n2)
                    break


RECOMPUTE: dict[str, Callable[[OwnAnswers, Record], Iterator[Lower]]] = {
    f.__name__: f
    for f in (
        q_value,
        advantage,
        objective,
        policy_gradient,
        surrogate,
        fisher,
        fisher_vector_product,
        kl,
        natural_gradient,
        update,
        trust_region_proposal,
        trust_region_step,
        train,
    )
}
