"""Conjugate gradient on the user's own product: what its iterates are, and how far they round.

The k-th iterate minimises the (F + λI)-norm of the error over K_k = span{g, Fg, …, F^{k−1}g}
(Hestenes & Stiefel 1952). K_k does not depend on λ, so one orthonormal basis of it serves every λ:
with Q_k from Lanczos' recurrence and T_k = Q_kᵀ F Q_k,

    x_k(λ) = Q_k (T_k + λI)⁻¹ Q_kᵀ g.

The reference reorthogonalises; code does not. How far plain iterations drift is measured, by
running them in the user's own precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.tolerance import CONSTANT

Array = np.ndarray
Product = Callable[[Array], Array]

#: No library iterates further on a policy's Fisher matrix.
MOST = 64
#: Rounding that the measured drift stands for: two runs that add up in other orders differ by as
#: much as the measured one does from the exact one, and then some.
ROOM = 16.0


@dataclass(eq=False)
class Krylov:
    """The spaces K_1 ⊂ K_2 ⊂ … of one product and right side, built as far as they are asked for.

    Attributes:
        product: the user's F v.
        right: (D,), g.
        unit: round-off of the product.
    """

    product: Product
    right: Array
    unit: float

    def __post_init__(self) -> None:
        self.norm = float(np.linalg.norm(self.right))
        self.basis: list[Array] = [self.right / self.norm]
        self._images: list[Array] = []
        self.exhausted = False
        self._plain: dict[tuple[float, bool], _Iteration] = {}

    def grow(self, k: int) -> bool:
        """Makes K_k available; False where the spaces stop growing before."""
        while len(self._images) < k and not self.exhausted:
            image = self.product(self.basis[-1])
            self._images.append(image)
            rest = image.copy()
            for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
                for q in self.basis:
                    rest -= (q @ rest) * q
            length = float(np.linalg.norm(rest))
            if length <= 64.0 * self.unit * float(np.linalg.norm(image)):
                self.exhausted = True
            else:
                self.basis.append(rest / length)
        return len(self._images) >= k

    @property
    def grown(self) -> int:
        """The largest k for which K_k is there."""
        return len(self._images)

    def residual(self, k: int) -> float:
        """‖F x_k − g‖ / ‖g‖ of the undamped iterate, from Lanczos' recurrence."""
        if len(self.basis) <= k:
            return 0.0
        first = np.zeros(k)
        first[0] = self.norm
        last = np.linalg.lstsq(self.projected(k), first, rcond=None)[0][-1]
        return abs(float(last) * float(self.basis[k] @ self._images[k - 1])) / self.norm

    def projected(self, k: int) -> Array:
        """T_k (k, k)."""
        t = np.array([[q @ image for image in self._images[:k]] for q in self.basis[:k]])
        return 0.5 * (t + t.T)

    def coordinates(self, x: Array, k: int) -> Array:
        """(k,): Q_kᵀ x."""
        return np.array([q @ x for q in self.basis[:k]])

    def combine(self, coordinates: Array) -> Array:
        """(D,): Q_k y."""
        total = np.zeros_like(self.right)
        for weight, q in zip(coordinates, self.basis, strict=False):
            total += weight * q
        return total

    def iterate(self, k: int, damping: float) -> Array:
        """x_k(λ), without drift."""
        first = np.zeros(k)
        first[0] = self.norm
        matrix = self.projected(k) + damping * np.eye(k)
        return self.combine(np.linalg.lstsq(matrix, first, rcond=None)[0])

    def minimal_residual(self, k: int) -> Array:
        """argmin ‖F x − g‖ over K_k: what MINRES (Paige & Saunders 1975) and GMRES iterate."""
        across = np.zeros((k + 1, k))
        across[:k] = self.projected(k)
        if len(self.basis) > k:
            across[k, k - 1] = self.basis[k] @ self._images[k - 1]
        first = np.zeros(k + 1)
        first[0] = self.norm
        return self.combine(np.linalg.lstsq(across, first, rcond=None)[0])

    def plain(self, k: int, damping: float, wobble: bool = False) -> Array:
        """The k-th iterate of conjugate gradient as code runs it, in the user's precision.

        Args:
            k: iterations.
            damping: λ beyond what the product carries.
            wobble: round every product and sum a little differently, as other code would.
        """
        key = (damping, wobble)
        if key not in self._plain:
            self._plain[key] = _Iteration(self, damping, wobble)
        return self._plain[key].at(k)

    def rounding(self, k: int, damping: float) -> float:
        """C u k √κ: what iterates round at least, without their loss of orthogonality."""
        spectrum = np.linalg.eigvalsh(self.projected(k)) + damping
        smallest = max(float(spectrum[0]), self.unit * float(spectrum[-1]))
        return CONSTANT * self.unit * k * float(np.sqrt(spectrum[-1] / smallest))

    def wobble(self, k: int, damping: float) -> float:
        """How far the k-th iterates of two right runs may lie apart, relative, in the energy norm.

        Measured: the same iteration runs twice, the second time with every product rounded
        differently. Loss of orthogonality makes this grow far beyond round-off.
        """
        plain = self.plain(k, damping)
        length = self.energy(plain, damping)
        gap = self.energy(self.plain(k, damping, wobble=True) - plain, damping)
        return ROOM * (gap / length + CONSTANT * self.unit) if length else 0.0

    def energy(self, vector: Array, damping: float) -> float:
        """√(vᵀ(F + λI)v)."""
        if not np.any(vector):
            return 0.0  # a product that divides by ‖v‖ need not be asked
        form = float(vector @ self.product(vector)) + damping * float(vector @ vector)
        return float(np.sqrt(max(form, 0.0)))

    def left_over(self, x: Array, damping: float) -> float:
        """‖(F + λI)x − g‖ / ‖g‖."""
        rest = self.product(x) + damping * x - self.right
        return float(np.linalg.norm(rest)) / self.norm


class _Iteration:
    """Conjugate gradient from zero (Hestenes & Stiefel 1952), kept where it stands."""

    def __init__(self, system: Krylov, damping: float, wobble: bool) -> None:
        self.kind: Any = np.float32 if system.unit > 1e-12 else np.float64
        self.product, self.unit = system.product, system.unit
        self.damping = damping
        self.random = np.random.default_rng(0) if wobble else None
        self.r: Array = system.right.astype(self.kind)
        self.p: Array = self.r.copy()
        self.rr = float(self.r @ self.r)
        self.made = [np.zeros(len(system.right))]
        self.ended = False

    def at(self, k: int) -> Array:
        """x_k, or the last iterate where the iteration ended before."""
        while len(self.made) <= k and not self.ended:
            self._step()
        return self.made[min(k, len(self.made) - 1)]

    def _step(self) -> None:
        z = (self.product(self.p.astype(np.float64)) + self.damping * self.p).astype(self.kind)
        if self.random is not None:
            # C u, as in every budget: the rounding of another product, and of the sums around it
            noise = CONSTANT * self.unit * self.random.standard_normal(len(z))
            z = z * (1.0 + noise).astype(self.kind)
        bottom = float(self.p @ z)
        if not bottom > 0 or self.rr == 0.0:
            self.ended = True
            return
        alpha = self.kind(self.rr / bottom)
        x = self.made[-1].astype(self.kind) + alpha * self.p
        self.r = self.r - alpha * z
        new = float(self.r @ self.r)
        self.p = self.r + self.kind(new / self.rr) * self.p
        self.rr = new
        self.made.append(x.astype(np.float64))
