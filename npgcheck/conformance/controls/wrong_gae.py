"""Planted mistakes of generalised advantage estimation, each one a whole function."""

from __future__ import annotations

import numpy as np

from ._exact import Array
from .registry import wrong

STAGE = "return and advantage"
ESTIMATE = "advantage_estimate"


@wrong(
    "gae-leaks-across-episodes",
    tells="gae-leaks-across-episodes|gae-leaks-at-time-outs",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
    source="skrl#224",
)
class Leaks:
    """The recursion runs on through the end of an episode that a time limit cut."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        adv, last = np.zeros_like(rewards), 0.0
        for t in range(len(rewards) - 1, -1, -1):
            mask = 1.0 - terminated[t]
            delta = rewards[t] + discount * next_values[t] * mask - values[t]
            adv[t] = last = delta + discount * lam * mask * last
        return adv


@wrong(
    "timeout-as-terminal",
    tells="timeout-as-terminal",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
    source="skrl#449",
)
class TimeoutAsTerminal:
    """A truncated step is treated like a terminal one: δ misses γV(s_{T+1})."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        done = np.logical_or(terminated, truncated).astype(float)
        deltas = rewards + discount * (1 - done) * next_values - values
        out, acc = [], 0.0
        for delta, d in zip(deltas[::-1], done[::-1], strict=True):
            acc = delta + discount * lam * (1 - d) * acc
            out.append(acc)
        return np.array(out[::-1])


@wrong(
    "bootstrap-from-reset-state",
    tells="bootstrap-from-reset-state",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
    source="omnisafe 96e45f33",
)
class BootstrapFromReset:
    """V of the next row, which after a time limit is the next episode's first state."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        following = np.append(values[1:], next_values[-1])
        ends = np.asarray(terminated) | np.asarray(truncated)
        A = np.zeros(len(rewards) + 1)
        for t in reversed(range(len(rewards))):
            delta = rewards[t] + discount * following[t] * (not terminated[t]) - values[t]
            A[t] = delta + (0.0 if ends[t] else discount * lam * A[t + 1])
        return A[:-1]


@wrong("gae-without-lambda", tells="gae-lambda-ignored", stage=STAGE, refutes=ESTIMATE, whole=True)
class WithoutLambda:
    """The decay is γ alone: discounted returns minus V, whatever λ says."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        out = np.empty(len(rewards))
        G = 0.0
        for t in range(len(rewards))[::-1]:
            if terminated[t]:
                G = rewards[t]
            elif truncated[t] or t == len(rewards) - 1:
                G = rewards[t] + discount * next_values[t]
            else:
                G = rewards[t] + discount * G
            out[t] = G - values[t]
        return out


@wrong(
    "gae-without-gamma-in-decay",
    tells="gae-trace-without-gamma",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
)
class WithoutGamma:
    """The decay is λ alone."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        T = len(rewards)
        delta = rewards + discount * np.where(terminated, 0, next_values) - values
        A = np.zeros(T)
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                A[t] += weight * delta[k]
                if terminated[k] or truncated[k]:
                    break
                weight *= lam
        return A


@wrong(
    "terminal-value-bootstrapped",
    tells="bootstrap-after-termination",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
)
class TerminalBootstrapped:
    """γV(s′) is added at terminal steps too."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        delta = np.asarray(rewards) + discount * np.asarray(next_values) - np.asarray(values)
        keep = 1.0 - np.logical_or(terminated, truncated)
        for t in range(len(delta) - 2, -1, -1):
            delta[t] += discount * lam * keep[t] * delta[t + 1]
        return delta


@wrong(
    "last-step-left-at-zero",
    tells="last-step-left-at-zero",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
)
class LastStepZero:
    """The backward loop starts one step early, so the last advantage stays zero."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        A = np.zeros(len(rewards))
        for t in range(len(rewards) - 2, -1, -1):
            live = 0.0 if terminated[t] else 1.0
            go = live * (0.0 if truncated[t] else 1.0)
            A[t] = (
                rewards[t]
                + discount * live * next_values[t]
                - values[t]
                + discount * lam * go * A[t + 1]
            )
        return A


@wrong(
    "done-flag-one-step-late",
    tells="done-flag-one-step-late|done-flag-one-step-early",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
    source="a frequent slip when porting baselines' dones[t + 1]",
)
class DoneFlagLate:
    """The masks are read one row too late."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        T = len(rewards)
        term = np.append(terminated[1:], False).astype(float)
        ends = np.append(np.logical_or(terminated, truncated)[1:], False).astype(float)
        A, acc = np.zeros(T), 0.0
        for t in reversed(range(T)):
            delta = rewards[t] + discount * (1 - term[t]) * next_values[t] - values[t]
            acc = delta + discount * lam * (1 - ends[t]) * acc
            A[t] = acc
        return A


@wrong(
    "returns-for-advantages",
    tells="gae-returns-added|gae-baseline-missing",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
)
class ReturnsForAdvantages:
    """Returns the λ-returns: V has been added back."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> list[float]:
        result: list[float] = []
        acc = 0.0
        rows = list(zip(rewards, values, next_values, terminated, truncated, strict=True))
        for r, v, nv, term, trunc in reversed(rows):
            delta = r + (0 if term else discount * nv) - v
            acc = delta + (0 if term or trunc else discount * lam * acc)
            result.insert(0, acc + v)
        return result


@wrong(
    "advantages-normalised-inside",
    also="limited-accuracy",
    tells="normalised-advantages",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
    outcome="either",
)
class NormalisedInside:
    """Right estimates, then centred and scaled before they are returned."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        A, acc = np.zeros(len(rewards)), 0.0
        for t in reversed(range(len(rewards))):
            boot = 0.0 if terminated[t] else discount * next_values[t]
            acc = (0.0 if terminated[t] or truncated[t] else discount * lam * acc) + (
                rewards[t] + boot - values[t]
            )
            A[t] = acc
        return (A - A.mean()) / (A.std() + 1e-8)


@wrong(
    "rollout-end-as-terminal",
    tells="rollout-end-as-terminal",
    stage=STAGE,
    refutes=ESTIMATE,
    whole=True,
)
class RolloutEndAsTerminal:
    """The last row of a rollout never bootstraps, whether its episode goes on or not."""

    def advantage_estimate(
        self,
        rewards: Array,
        values: Array,
        next_values: Array,
        terminated: Array,
        truncated: Array,
        discount: float,
        lam: float,
    ) -> Array:
        live = 1.0 - np.asarray(terminated, dtype=float)
        live[-1] = 0.0
        go = live * (1.0 - np.asarray(truncated, dtype=float))
        delta = rewards + discount * live * next_values - values
        T = len(rewards)
        decay = np.eye(T)
        for t in range(T):
            for k in range(t + 1, T):
                decay[t, k] = decay[t, k - 1] * discount * lam * go[k - 1]
        return np.asarray(decay @ delta)
