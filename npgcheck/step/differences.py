"""Derivatives of the policy's outputs along one direction, with their error measured.

    J v = ∂z(θ + t v)/∂t at t = 0

by central differences at t, t/2, t/4, t/8, extrapolated to t → 0 (Richardson 1911). The error is
that of the last extrapolation plus the noise of the outputs, which fourth differences measure
(Hamming's table; Moré & Wild 2011, Estimating computational noise). Where the outputs have kinks
(ReLU), every row takes the step at which its own differences agree.

Eight to sixteen evaluations of the policy per direction; twelve where there are kinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Array = np.ndarray

#: The first step, relative to the size of θ.
FIRST_STEP = 2.0**-8
#: Outputs that are noisier than this, relative, have single precision inside.
NOISY = 1e-11
#: How many steps are tried, each a quarter of the last.
ATTEMPTS = 3
#: A direction whose best relative error is above this is looked at for kinks, in doubles.
SMOOTH = 1e-7
#: … or whose bias exceeds its noise by this: a derivative that jumps (ELU) leaves such a bias.
ROUGH = 64.0
#: Two extrapolations differ by less than so many times the noise of the first where they differ by
#: noise: 9 noises have been drawn apart in 12,000 outputs.
APART = 12.0
#: Steps for outputs with kinks, each an eighth of the last. Between kinks a network is a polynomial
#: of low degree in t, whose extrapolated differences are exact as soon as no kink lies within t.
KINK_STEPS = tuple(2.0**-e for e in (9, 12, 15, 18, 21, 24))
#: The same where the outputs are noisy: smaller steps would drown in the noise.
NOISY_KINK_STEPS = tuple(2.0**-e for e in (2, 4, 6, 8, 10))
#: (64 d₃ − 20 d₂ + d₁)/45 at t, t/2, t/4 has the noise 4.1 σ/t, and (64 d₂ − d₁)/63 at t, t/8 has
#: 5.8 σ/t, for outputs of noise σ.
SMOOTH_NOISE, KINK_NOISE = 4.1, 5.8
#: θ ± t v is rounded before the network sees it. That moves all rows alike, by about u/t of what a
#: random direction of the size of θ moves, and is no independent noise: twice that is a bias.
ROUNDED_THETA = 2.0
#: The spacing of the noise table, relative to the size of θ: its fourth power is below rounding.
NOISE_SPACING = 1e-4


@dataclass(frozen=True)
class Directional:
    """J v and how far it may be off.

    Attributes:
        value: (N, K).
        bias: (N, 1), a bound on what extrapolation leaves out, or on what a kink changes.
        noise: (N, 1), standard deviation of the rounding, independent between rows; known within a
            factor of two.
        kinks: rows in which the outputs have a kink at θ itself.
    """

    value: Array
    bias: Array
    noise: Array
    kinks: int = 0


class Differences:
    """Directional derivatives of θ ↦ z at one θ."""

    def __init__(
        self,
        outputs: Callable[[Array], Array],
        theta: Array,
        seed: int = 0,
        unit: float = 2.0**-53,
    ) -> None:
        """Evaluates z(θ), measures its noise, and looks for kinks at θ (five to nine evaluations).

        Args:
            outputs: θ (D,) ↦ z (N, K).
            theta: (D,).
            seed: of the line along which the noise is measured.
            unit: round-off of the dtype in which `outputs` sees θ.
        """
        self._outputs, self._unit = outputs, unit
        self.theta = theta
        #: Directions are scaled to the size of θ, so that a step means the same for all of them.
        self.size = max(float(np.linalg.norm(theta)), 1.0)
        self.center = outputs(theta)
        line = np.random.default_rng(seed).standard_normal(len(theta))
        line *= self.size / np.linalg.norm(line)
        self.noise, second = self._measure_noise(NOISE_SPACING * line)
        #: (N, 1): rows with a kink at θ. Along some directions it does not show: units whose jumps
        #: cancel, as in ReLU(θ₁) − ReLU(θ₂) along (1, −1), and yet the slope is any number there.
        self.at_theta = self._look_at_theta(line, second)
        self._kinked = bool(self.at_theta.any())
        self._known: dict[bytes, Directional] = {}

    def _measure_noise(self, direction: Array) -> tuple[float, tuple[Array, Array]]:
        """The rounding of the noisiest output, from fourth differences along a random line, and
        the second differences there, over two spacings and over one."""
        steps = [self._outputs(self.theta + k * direction) for k in (-2, -1, 1, 2)]
        near, far = steps[1] - 2 * self.center + steps[2], steps[0] - 2 * self.center + steps[3]
        second = (far / (2 * NOISE_SPACING), near / NOISE_SPACING)
        fourth = steps[0] - 4 * steps[1] + 6 * self.center - 4 * steps[2] + steps[3]
        moved = np.abs(steps[3] - steps[0]).max(axis=1, keepdims=True)
        #: (N, 1): how far a random direction of the size of θ moves a row.
        self.typical = moved / (4.0 * NOISE_SPACING)
        # For independent errors of variance σ² the fourth difference has variance 70 σ². Rows round
        # differently, so the largest tenth is asked (1.64 σ of normal errors); but rows that meet a
        # kink are no rounding, and the median (0.67 σ) does not see them.
        half, most = np.quantile(np.abs(fourth), (0.5, 0.9), axis=0) / math.sqrt(70.0)
        column = np.minimum(most / 1.64, 8.0 * half / 0.67)
        return max(float(column.max()), 2.0**-54 * float(np.abs(self.center).max())), second

    def _look_at_theta(self, line: Array, second: tuple[Array, Array]) -> Array:
        """(N, 1): rows with a kink at θ; looked for in earnest where one may be near."""
        near = self._at_theta(*second, NOISE_SPACING)
        if not near.any():
            return near
        wide, fine = (self._central(line, t)[1] for t in KINK_STEPS[-2:])
        return near & self._at_theta(wide, fine, KINK_STEPS[-1])

    def along(self, vector: Array) -> Directional:
        """J v for a direction v (D,)."""
        key = vector.tobytes()
        if key not in self._known:
            norm = float(np.linalg.norm(vector))
            if norm == 0.0:
                zero = np.zeros_like(self.center)
                self._known[key] = Directional(zero, zero[:, :1], zero[:, :1])
            else:
                unit = vector * (self.size / norm)
                found = self._measured(unit)
                back = norm / self.size
                self._known[key] = Directional(
                    found.value * back, found.bias * back, found.noise * back, found.kinks
                )
        return self._known[key]

    def _central(self, vector: Array, t: float) -> tuple[Array, Array]:
        """(z(θ+tv) − z(θ−tv))/2t, and the second difference over t."""
        ahead, behind = (
            self._outputs(self.theta + t * vector),
            self._outputs(self.theta - t * vector),
        )
        return (ahead - behind) / (2.0 * t), (ahead - 2.0 * self.center + behind) / t

    def _measured(self, unit: Array) -> Directional:
        """J v for a v of the size of θ."""
        if self.noise > NOISY * (1.0 + np.abs(self.center).max()):
            return self._kinky(unit, NOISY_KINK_STEPS)
        return self._kinky(unit) if self._kinked else self._smooth(unit)

    def _rounded_theta(self, t: float, amplification: float) -> Array:
        return ROUNDED_THETA * amplification * 0.5 * self._unit / t * self.typical

    def _smooth(self, vector: Array) -> Directional:
        t = FIRST_STEP
        best: tuple[float, float, Array, Array, float] | None = None
        slopes: dict[float, Array] = {}
        for _ in range(ATTEMPTS):
            noise = SMOOTH_NOISE * self.noise / t
            value, bias, apart = self._extrapolated(vector, t, slopes)
            # what two extrapolations differ by beyond their noise is in the first one twice
            rows = np.maximum(bias, np.where(apart > APART * noise, 2.0 * apart, 0.0))
            bias = float(rows.max())
            if best is None or bias + 4.0 * noise < best[0] + 4.0 * best[1]:
                best = (bias, noise, value, rows, t)
            if bias <= 4.0 * noise:
                break
            t /= 4.0
        assert best is not None
        bias, noise, value, rows, t = best
        if bias > min(SMOOTH * np.abs(value).max(), ROUGH * noise):
            kinky = self._kinky(vector)
            if np.median(kinky.bias) < bias:
                self._kinked = True
                return kinky
        rounded = self._rounded_theta(t, SMOOTH_NOISE)
        return Directional(value, rows + rounded, np.full_like(rows, noise))

    def _extrapolated(
        self, vector: Array, t: float, slopes: dict[float, Array]
    ) -> tuple[Array, float, Array]:
        """The extrapolation from t, t/2, t/4, an estimate of what it leaves out, and (N, 1), how
        far it is from that of t/2, t/4, t/8.

        The estimate is of smooth functions. Where a second derivative jumps near θ (ELU), it may
        be small by accident in one row of thousands; the difference shows it.
        """
        for step in (t, t / 2, t / 4, t / 8):
            if step not in slopes:
                slopes[step] = self._central(vector, step)[0]
        d1, d2, d3, d4 = (slopes[step] for step in (t, t / 2, t / 4, t / 8))
        once, twice, thrice = (4.0 * d2 - d1) / 3.0, (4.0 * d3 - d2) / 3.0, (4.0 * d4 - d3) / 3.0
        value, finer = (16.0 * twice - once) / 15.0, (16.0 * thrice - twice) / 15.0
        first = float(np.max(np.abs(twice - d3), initial=0.0))
        second = float(np.max(np.abs(value - twice), initial=0.0))
        # Each extrapolation gains the ratio second/first (in powers of t²); 16 leaves room for
        # coefficients that grow. Not below 1/8: where a derivative jumps (ELU), nothing is gained.
        gain = min(1.0, max(16.0 * second / first, 0.125)) if first else 1.0
        return value, second * gain, np.abs(value - finer).max(axis=1, keepdims=True)

    def _kinky(self, vector: Array, steps: tuple[float, ...] = KINK_STEPS) -> Directional:
        """Row by row, the step at which two successive extrapolations agree best."""
        found = [self._central(vector, t) for t in steps]
        square = (steps[0] / steps[1]) ** 2
        pairs = [
            (square * fine[0] - coarse[0]) / (square - 1.0) for coarse, fine in pairwise(found)
        ]
        noises = [KINK_NOISE * self.noise / t for t in steps[:-1]]
        value = pairs[-1].copy()
        bias = np.full((len(value), 1), np.inf)
        noise = np.full((len(value), 1), noises[-1])
        rounded = self._rounded_theta(steps[-2], KINK_NOISE)
        for i in range(len(pairs) - 1):
            # A kink close to θ is averaged over alike by all wider steps: only agreement with every
            # finer one says that there is none …
            change = np.zeros_like(bias)
            for j in range(i + 1, len(pairs)):
                gap = np.abs(pairs[j] - pairs[i]).max(axis=1, keepdims=True)
                # … in doubles beyond its noise; where noise is large, it would hide kinks
                hidden = 4.0 * noises[j] if j > i + 1 and steps is KINK_STEPS else 0.0
                change = np.maximum(change, gap - hidden)
            better = change + 4.0 * noises[i] < bias + 4.0 * noise
            value = np.where(better, pairs[i], value)
            bias = np.where(better, change, bias)
            noise = np.where(better, noises[i], noise)
            rounded = np.where(better, self._rounded_theta(steps[i], KINK_NOISE), rounded)
        at_theta = self.at_theta | self._at_theta(found[-2][1], found[-1][1], steps[-1])
        # Several units may have their kinks there at once: then the jump is no bound on what a
        # program that takes other slopes at the kinks differs by, but the slopes themselves are.
        jump = np.abs(found[-1][1]).max(axis=1, keepdims=True)
        slope = np.abs(found[-1][0]).max(axis=1, keepdims=True)
        bias = np.where(at_theta, bias + jump + slope, bias)
        return Directional(value, bias + rounded, noise, int(at_theta.sum()))

    def _at_theta(self, wide: Array, fine: Array, t: float) -> Array:
        """(N, 1): rows with a kink at θ, where the second difference over t is the jump of the
        slope at every t (of a smooth function it shrinks with t); given at a wider t and here."""
        jumps = [np.abs(second).max(axis=1, keepdims=True) for second in (wide, fine)]
        threshold = 64.0 * self.noise / t
        return (jumps[1] > threshold) & (jumps[1] > 0.75 * jumps[0])
