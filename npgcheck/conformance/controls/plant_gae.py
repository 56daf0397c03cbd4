"""Mistakes planted in advantage estimates that are summed forwards, one tail for each step."""

from __future__ import annotations

import numpy as np

from ._exact import Array
from .registry import right, wrong

STYLE = "forward sums"
STAGE = "return and advantage"
A = "advantage_estimate"


@right("gae-forward-sums", style=STYLE)
class ForwardSums:
    """Â_t = Σ_k (γλ)ᵏ δ_{t+k}, each tail summed on its own up to the end of its episode."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return np.asarray(r + gamma * np.where(terminated, 0.0, after) - v)

    def ends(self, terminated: Array, truncated: Array) -> Array:
        return np.asarray(terminated | truncated)

    def decay(self, gamma: float, lam: float) -> float:
        return gamma * lam

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
        delta = self.residual(rewards, values, next_values, terminated, truncated, discount)
        ends, rate = self.ends(terminated, truncated), self.decay(discount, lam)
        out = np.zeros(len(rewards))
        for t in range(len(rewards)):
            weight = 1.0
            for k in range(t, len(rewards)):
                out[t] += weight * delta[k]
                if ends[k]:
                    break
                weight *= rate
        return out


@wrong(
    "gae-forward-timeout",
    tells="timeout-as-terminal",
    stage=STAGE,
    refutes=A,
    source="skrl#449",
    style=STYLE,
)
class ForwardTimeout(ForwardSums):
    """done = terminated or truncated, and no value after a done."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        done = terminated | truncated
        return np.asarray(r + gamma * np.where(done, 0.0, after) - v)


@wrong(
    "gae-forward-bootstraps",
    tells="bootstrap-after-termination",
    stage=STAGE,
    refutes=A,
    style=STYLE,
)
class ForwardBootstraps(ForwardSums):
    """The value after a termination is added as well."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return np.asarray(r + gamma * after - v)


@wrong(
    "gae-forward-through-timeouts",
    tells="gae-leaks-at-time-outs|gae-leaks-across-episodes",
    stage=STAGE,
    refutes=A,
    source="skrl#224",
    style=STYLE,
)
class ForwardThroughTimeouts(ForwardSums):
    """Only terminations end a tail: a time limit lets the next episode in."""

    def ends(self, terminated: Array, truncated: Array) -> Array:
        return np.asarray(terminated)


@wrong(
    "gae-forward-through-everything",
    tells="gae-leaks-across-episodes",
    stage=STAGE,
    refutes=A,
    style=STYLE,
)
class ForwardThroughEverything(ForwardSums):
    """Tails run to the end of the rollout."""

    def ends(self, terminated: Array, truncated: Array) -> Array:
        return np.zeros(len(terminated), dtype=bool)


@wrong(
    "gae-forward-undiscounted-residual",
    tells="gae-delta-without-gamma",
    stage=STAGE,
    refutes=A,
    style=STYLE,
)
class ForwardUndiscountedResidual(ForwardSums):
    """δ = r + V(s′) − V(s)."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return super().residual(r, v, after, terminated, truncated, 1.0)


@wrong(
    "gae-forward-lambda-alone", tells="gae-trace-without-gamma", stage=STAGE, refutes=A, style=STYLE
)
class ForwardLambdaAlone(ForwardSums):
    """λᵏ where (γλ)ᵏ belongs."""

    def decay(self, gamma: float, lam: float) -> float:
        return lam


@wrong("gae-forward-gamma-alone", tells="gae-lambda-ignored", stage=STAGE, refutes=A, style=STYLE)
class ForwardGammaAlone(ForwardSums):
    """γᵏ: the Monte-Carlo tail whatever λ is."""

    def decay(self, gamma: float, lam: float) -> float:
        return gamma


@wrong(
    "gae-forward-exchanged", tells="gae-gamma-lambda-swapped", stage=STAGE, refutes=A, style=STYLE
)
class ForwardExchanged(ForwardSums):
    """Called with γ and λ exchanged."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return super().residual(r, v, after, terminated, truncated, self.other)

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
        self.other = lam
        return super().advantage_estimate(
            rewards, values, next_values, terminated, truncated, discount, lam
        )


@wrong("gae-forward-unweighted", tells="gae-weight-missing", stage=STAGE, refutes=A, style=STYLE)
class ForwardUnweighted(ForwardSums):
    """Residuals are summed without (γλ)ᵏ."""

    def decay(self, gamma: float, lam: float) -> float:
        return 1.0


@wrong(
    "gae-forward-without-baseline",
    tells="gae-baseline-missing|gae-returns-added",
    stage=STAGE,
    refutes=A,
    style=STYLE,
)
class ForwardWithoutBaseline(ForwardSums):
    """V(s_t) is added back at the end."""

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
        return values + super().advantage_estimate(
            rewards, values, next_values, terminated, truncated, discount, lam
        )


@wrong("gae-forward-negated", tells="gae-negated", stage=STAGE, refutes=A, style=STYLE)
class ForwardNegated(ForwardSums):
    """V(s) − r − γV(s′)."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return -super().residual(r, v, after, terminated, truncated, gamma)


@wrong("gae-scan-forwards", tells="gae-accumulated-forwards", stage=STAGE, refutes=A, style="scan")
class ScanForwards:
    """A scan in the order of time: step t collects what came before it."""

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
        out, carry = [], 0.0
        for t in range(len(rewards)):
            bootstrap = 0.0 if terminated[t] else next_values[t]
            carry = rewards[t] + discount * bootstrap - values[t] + discount * lam * carry
            out.append(carry)
            if terminated[t] or truncated[t]:
                carry = 0.0
        return np.array(out)


@wrong(
    "gae-reset-value",
    tells="bootstrap-from-reset-state",
    stage=STAGE,
    refutes=A,
    source="omnisafe 96e45f33",
    style="shifted array",
)
class ResetValue:
    """next value = values shifted by one: after a time limit that is the next episode's start."""

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
        shifted = np.append(values[1:], next_values[-1])
        delta = rewards + discount * shifted * (~terminated) - values
        keep = discount * lam * (~(terminated | truncated))
        out = np.zeros_like(delta)
        tail = 0.0
        for t in reversed(range(len(delta))):
            tail = delta[t] + keep[t] * tail
            out[t] = tail
        return out


@wrong(
    "gae-rollout-end",
    tells="rollout-end-as-terminal",
    stage=STAGE,
    refutes=A,
    style="shifted array",
)
class RolloutEnd:
    """The last row of the rollout has no next value, so zero is appended."""

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
        after = np.array(next_values)
        after[-1] = 0.0
        return ForwardSums().advantage_estimate(
            rewards, values, after, terminated, truncated, discount, lam
        )


@wrong(
    "gae-flags-shifted",
    tells="done-flag-one-step-early|done-flag-one-step-late",
    stage=STAGE,
    refutes=A,
    style="shifted array",
)
class FlagsShifted:
    """dones[t + 1] is read where dones[t] belongs."""

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
        early = np.append(terminated[1:], terminated[-1])
        cut = np.append(truncated[1:], truncated[-1])
        return ForwardSums().advantage_estimate(
            rewards, values, next_values, early, cut, discount, lam
        )


@wrong("gae-lambda-constant", tells="gae-other-lambda", stage=STAGE, refutes=A, style=STYLE)
class LambdaConstant(ForwardSums):
    """λ = 0.9 from a default argument."""

    def decay(self, gamma: float, lam: float) -> float:
        return gamma * 0.9


@wrong("gae-discount-constant", tells="gae-other-discount", stage=STAGE, refutes=A, style=STYLE)
class DiscountConstant(ForwardSums):
    """γ = 0.97 from a default argument, in the residuals and in their weights."""

    def residual(
        self, r: Array, v: Array, after: Array, terminated: Array, truncated: Array, gamma: float
    ) -> Array:
        return super().residual(r, v, after, terminated, truncated, 0.97)

    def decay(self, gamma: float, lam: float) -> float:
        return 0.97 * lam
