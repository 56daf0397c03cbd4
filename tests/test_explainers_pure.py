"""Conjugate gradient and advantage estimates: what is right, what is named, what is refuted."""

from __future__ import annotations

import numpy as np
import pytest

from npgcheck.conformance.choices import choice
from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.fitting import Record, explain
from npgcheck.conformance.guard import Answer
from npgcheck.conformance.probes import Probe
from npgcheck.conformance.pure_problems import linear_systems, reward_streams


def best(quantity, answer, dtype="float64"):
    """The choices that are not free; None when nothing explains the answers."""
    build = linear_systems if quantity == "conjugate_gradient" else reward_streams
    asked = []
    for position, problem in enumerate(build(0, 36)):
        value = np.asarray(answer(*problem.args), dtype=dtype)
        probe = Probe(quantity, problem, problem.args, value.shape, problem.group, position)
        asked.append(Record(probe, Answer(value.astype(float), dtype), problem.build_reference()))
    found = explain(explainer_of(quantity), asked, ("mdp",), {}).fitting
    if not found:
        return None
    return {k: v for k, v in found[0].choices.items() if choice(k, v).kind != "free"}


def cg(M, b, iterations, rtol=1e-14, atol=0.0, start=None, beta=lambda new, old: new / old):
    x = np.zeros(len(b)) if start is None else start
    r = b - M @ x
    p = r.copy()
    for _ in range(iterations):
        square = r @ r
        if np.sqrt(square) <= max(rtol * np.linalg.norm(b), atol) or square == 0.0:
            break
        image = M @ p
        x = x + (square / (p @ image)) * p
        r = r - (square / (p @ image)) * image
        p = r + beta(r @ r, square) * p
    return x


def by_projection(M, b, iterations):
    """The minimiser over the Krylov space, from its basis of powers; another style."""
    if not b.any():
        return np.zeros(len(b))
    span = b[:, None] / np.linalg.norm(b)
    for _ in range(min(iterations, len(b)) - 1):
        v = M @ span[:, -1]
        for _ in range(2):
            v = v - span @ (span.T @ v)
        if np.linalg.norm(v) < 1e-10:
            break
        span = np.column_stack([span, v / np.linalg.norm(v)])
    return span @ np.linalg.lstsq(span.T @ M @ span, span.T @ b, rcond=1e-12)[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_recurrence_and_the_projection_are_right(dtype):
    assert best("conjugate_gradient", cg, dtype) == {}
    assert best("conjugate_gradient", by_projection, dtype) == {}


def test_stopping_rules_are_named():
    relative = lambda M, b, k: cg(M, b, k, rtol=1e-5)  # noqa: E731
    assert best("conjugate_gradient", relative) == {"cg_stopping": "tolerance"}
    absolute = lambda M, b, k: cg(M, b, k, atol=1e-8)  # noqa: E731
    assert best("conjugate_gradient", absolute) == {"cg_stopping": "absolute"}


def test_a_random_start_is_named():
    rng = np.random.default_rng(0)
    start = lambda M, b, k: cg(M, b, k, atol=1e-8, start=1e-4 * rng.standard_normal(len(b)))  # noqa: E731
    assert best("conjugate_gradient", start) == {"cg_start": "random", "cg_stopping": "absolute"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda M, b, k: cg(M, b, k - 1),
        lambda M, b, k: cg(M, b, k + 1),
        lambda M, b, k: cg(M, b, k, beta=lambda new, old: old / new),
        lambda M, b, k: cg(M, b, k, beta=lambda new, old: 0.0),
        lambda M, b, k: np.linalg.lstsq(M, b, rcond=None)[0],
        lambda M, b, k: cg(M + 0.01 * np.eye(len(b)), b, k),
        lambda M, b, k: b,
    ],
    ids=["one-less", "one-more", "beta-inverted", "no-memory", "solved", "damped", "identity"],
)
def test_a_wrong_iteration_is_refuted(wrong):
    assert best("conjugate_gradient", wrong) is None


def backwards(rewards, values, after, terminated, truncated, discount, lam):
    """Â_t = δ_t + γλ Â_{t+1} within the episode, the way that everyone writes it."""
    found, carry = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        if terminated[t] or truncated[t]:
            carry = 0.0
        bootstrap = 0.0 if terminated[t] else after[t]
        carry = rewards[t] + discount * bootstrap - values[t] + discount * lam * carry
        found[t] = carry
    return found


def normalised(*args):
    found = backwards(*args)
    return (found - found.mean()) / (found.std() or 1.0)


def test_right_estimates_pass_and_normalised_ones_are_named():
    assert best("advantage_estimate", backwards) == {}
    assert best("advantage_estimate", backwards, "float32") == {}
    assert best("advantage_estimate", normalised) == {"advantage": "normalised"}


def without(name):
    """The right recursion with one of its arguments misread."""

    def answer(rewards, values, after, terminated, truncated, discount, lam):
        none = np.zeros(len(rewards), dtype=bool)
        return {
            "termination": lambda: backwards(
                rewards, values, after, none, truncated, discount, lam
            ),
            "truncation": lambda: backwards(
                rewards, values, after, terminated, none, discount, lam
            ),
            "bootstrap": lambda: backwards(
                rewards, values, after, terminated | truncated, none, discount, lam
            ),
            "lambda": lambda: backwards(
                rewards, values, after, terminated, truncated, discount, 1.0
            ),
            "discount": lambda: backwards(rewards, values, after, terminated, truncated, 1.0, lam),
            "values": lambda: backwards(
                rewards, 0 * values, after, terminated, truncated, discount, lam
            ),
        }[name]()

    return answer


@pytest.mark.parametrize(
    "name", ["termination", "truncation", "bootstrap", "lambda", "discount", "values"]
)
def test_a_misread_argument_is_refuted(name):
    found = best("advantage_estimate", without(name))
    kinds = {choice(stage, value).kind for stage, value in (found or {}).items()}
    assert found is None or "bug" in kinds  # unexplained, or explained by a named mistake
