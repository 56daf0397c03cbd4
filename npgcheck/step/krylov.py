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
        self._plain: dict[tuple[float, float], list[Array]] = {}

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

    def plain(self, k: int, damping: float, epsilon: float = 0.0) -> Array:
        """The k-th iterate of conjugate gradient as code runs it, in the user's precision.

        Args:
            k: iterations.
            damping: λ.
            epsilon: added to both denominators, as some code does against division by zero.
        """
        kept = self._plain.get((damping, epsilon), [])
        if len(kept) < k:
            kept = self._plain[damping, epsilon] = self._run(damping, epsilon, k)
        return kept[min(k, len(kept)) - 1]

    def _run(self, damping: float, epsilon: float, most: int) -> list[Array]:
        kind = np.float32 if self.unit > 1e-12 else np.float64
        x = np.zeros(len(self.right), kind)
        r = self.right.astype(kind)
        p, rr = r.copy(), float(r @ r)
        made = []
        for _ in range(most):
            z = (self.product(p.astype(np.float64)) + damping * p).astype(kind)
            bottom = float(p @ z) + epsilon
            if not bottom > 0 or rr == 0.0:
                break
            alpha = rr / bottom
            x = x + kind(alpha) * p
            r = r - kind(alpha) * z
            new = float(r @ r)
            p = r + kind(new / (rr + epsilon)) * p
            rr = new
            made.append(x.astype(np.float64))
        return made or [x.astype(np.float64)]

    def rounding(self, k: int, damping: float) -> float:
        """C u k √κ: what iterates round at least, without their loss of orthogonality."""
        spectrum = np.linalg.eigvalsh(self.projected(k)) + damping
        smallest = max(float(spectrum[0]), self.unit * float(spectrum[-1]))
        return CONSTANT * self.unit * k * float(np.sqrt(spectrum[-1] / smallest))

    def drift(self, k: int, damping: float) -> float:
        """How far the k-th iterate of a right implementation may be off, relative to its length."""
        exact = self.iterate(k, damping)
        length = float(np.linalg.norm(exact))
        gap = float(np.linalg.norm(self.plain(k, damping) - exact))
        return ROOM * (gap / length + CONSTANT * self.unit) if length else 0.0
