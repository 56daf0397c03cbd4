"""Reproducible random numbers: the same bits on every platform and numpy version.

numpy promises the stream of a bit generator, not of ``Generator`` methods, so every draw here is
built from the raw 64-bit words of PCG64 by exact operations: scaling by a power of two, sums in a
fixed order, integer arithmetic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def digest(*key: object) -> str:
    """Hexadecimal hash of a key made of strings and integers (nested tuples allowed)."""
    return hashlib.blake2b(repr(key).encode(), digest_size=16).hexdigest()


class Stream:
    """A stream of draws that is a function of its key alone.

    Args:
        key: strings and integers; different keys give unrelated streams.
    """

    def __init__(self, *key: object) -> None:
        self._bits = np.random.PCG64(int(digest(*key), 16))

    def uniform(self, size: int) -> NDArray[np.float64]:
        """``size`` multiples of 2⁻⁵³, uniform on [0, 1)."""
        raw = self._bits.random_raw(size)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, low: int, high: int, size: int) -> list[int]:
        """``size`` integers in [low, high], both included."""
        return [low + int(u * (high - low + 1)) for u in self.uniform(size)]

    def integer(self, low: int, high: int) -> int:
        """One integer in [low, high], both included."""
        return self.integers(low, high, 1)[0]

    def choice(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.integer(0, len(options) - 1)]

    def permutation(self, size: int) -> NDArray[np.int64]:
        """A random order of 0 … size − 1."""
        return np.argsort(self.uniform(size), kind="stable")

    def bell(self, size: int) -> NDArray[np.float64]:
        """Bell-shaped draws, mean 0 and variance 1, multiples of 2⁻¹⁰ within ±3.5.

        The sum of four uniform draws, scaled by √3: no logarithm or cosine whose last bit
        differs between platforms, and few enough digits to write down.
        """
        u = self.uniform(4 * size).reshape(4, size)
        total = ((u[0] + u[1]) + u[2]) + u[3] - 2.0
        return np.rint(total * (1.7320508075688772 * 1024.0)) / 1024.0

    def normal(self, size: int) -> NDArray[np.float64]:
        """Standard normal draws (Box and Muller 1958); the last bit may differ by platform."""
        u = self.uniform(2 * size)
        radius = np.sqrt(-2.0 * np.log1p(-u[:size]))
        return radius * np.cos(2.0 * np.pi * u[size:])


def inverse_cdf(
    probabilities: NDArray[np.float64], uniforms: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The category that each uniform draw selects from its row of probabilities.

    Args:
        probabilities: (N, K), rows summing to one.
        uniforms: (N,), in [0, 1).

    Returns:
        (N,) indices; a category of probability zero is never selected.
    """
    cumulative = np.cumsum(probabilities, axis=1)
    # Scaled by the row's own sum, so that a sum of 1 − 1e-16 cannot select past the end.
    return np.sum(uniforms[:, None] * cumulative[:, -1:] >= cumulative, axis=1)
