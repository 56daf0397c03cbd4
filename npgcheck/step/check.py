"""``npgcheck.check_step``: one step of your own code, on your own network and rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.conformance.report import Report
from npgcheck.conventions import Conventions
from npgcheck.errors import InvalidArgument, UsageError
from npgcheck.step import arrays
from npgcheck.step.policy import PolicyIgnoresTheta, RandomPolicy, read_policy
from npgcheck.step.run import Run
from npgcheck.step.summary import refused, summarise


def check_step(
    policy: Callable[[Any, Any], Any],
    theta: Any,
    observations: Any,
    actions: Any,
    advantages: Any,
    *,
    log_prob: Any = None,
    gradient: Any = None,
    fisher_vector_product: Callable[[Any], Any] | None = None,
    kl: Callable[[Any], Any] | None = None,
    direction: Any = None,
    new_theta: Any = None,
    max_kl: float | None = None,
    conventions: Conventions | None = None,
    distribution: str | None = None,
    weights: Any = None,
    seed: int = 0,
) -> Report:
    """Judges the parts of one policy-gradient step on the rows of one batch.

    The rows are the measure: the gradient, F v, KL, the direction and the step are compared with
    their exact values under the batch's own distribution of states, with the expectation over
    actions exact. The reference is built from directional differences of `policy` in output space,
    with their error measured; nothing of size D × D is formed, and `policy` is evaluated some
    dozens of times. Arrays may be numpy, torch or jax; functions get arrays of θ's own kind.

    Args:
        policy: ``policy(theta, observations)`` gives logits (N, A); a pair mean (N, m) and log_std
            (broadcast to it); logits (N, m) of binary actions; or a list of logits, one array per
            component of a multi-discrete action.
        theta: (D,), the parameters before the step.
        observations: N rows of anything that `policy` takes.
        actions: (N,) indices, or (N, m).
        advantages: (N,), as they enter the gradient.
        log_prob: log π(a_i|s_i) (N,), in nats, or a function of theta that gives it.
        gradient: (D,), Σ ω_i A_i ∇log π(a_i|s_i), or a function of theta that gives it.
        fisher_vector_product: ``fisher_vector_product(v)`` gives F v (D,).
        kl: ``kl(theta')`` gives Σ ω_i KL(π_theta ‖ π_theta'), in nats.
        direction: (D,), x with F x = g.
        new_theta: (D,), the parameters after the step.
        max_kl: δ > 0, the size of the trust region in nats.
        conventions: what is meant; what is left open is inferred.
        distribution: ``"categorical"``, ``"multi_discrete"``, ``"bernoulli"``, ``"gaussian"`` or
            ``"tanh_gaussian"`` (squashed actions); told by the shapes when None.
        weights: (N,) ω, non-negative, e.g. γᵗ; scaled to sum to one. Equal when None.
        seed: of the random directions.

    Returns:
        A :class:`~npgcheck.Report`; ``report.passed`` and ``print(report)`` say the rest.

    Raises:
        InvalidArgument: arrays of the wrong shape, or with NaN; says which and what is needed.
        UsageError: nothing to judge, or a policy that cannot be evaluated.
    """
    started = time.perf_counter()
    given = {
        "log_prob": log_prob,
        "gradient": gradient,
        "fisher_vector_product": fisher_vector_product,
        "kl": kl,
        "direction": direction,
        "new_theta": new_theta,
    }
    if all(value is None for value in given.values()):
        raise UsageError(f"nothing to judge: give at least one of {', '.join(given)}.")
    if max_kl is not None and not (np.isfinite(max_kl) and max_kl > 0):
        raise InvalidArgument(f"max_kl must be a positive number of nats, got {max_kl!r}.")
    stated = conventions.declared() if conventions is not None else {}
    acted, kind_of_actions = arrays.of_actions(actions)
    try:
        read = read_policy(policy, theta, observations, acted, distribution)
    except RandomPolicy as finding:
        return refused(str(finding), given, seed, started)
    try:
        run = Run(read, acted, kind_of_actions, advantages, weights, stated, max_kl, seed)
    except PolicyIgnoresTheta as finding:
        return refused(str(finding), given, seed, started)
    run.ask(given)
    return summarise(run, given, seed, started)
