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

    def projected(self, k: int) -> tuple[Array, Array]:
        """Q_k (D, k) and T_k (k, k)."""
        q = np.stack(self.basis[:k], axis=1)
        t = q.T @ np.stack(self._images[:k], axis=1)
        return q, 0.5 * (t + t.T)

    def iterate(self, k: int, damping: float) -> Array:
        """x_k(λ), without drift."""
        q, t = self.projected(k)
        first = np.zeros(k)
        first[0] = self.norm
        return q @ np.linalg.lstsq(t + damping * np.eye(k), first, rcond=None)[0]

    def plain(self, k: int, damping: float, epsilon: float = 0.0) -> Array:
        """The k-th iterate of conjugate gradient as code runs it, in the user's precision.

        Args:
            k: iterations.
            damping: λ.
            epsilon: added to both denominators, as some code does against division by zero.
        """
        kept = self._plain.setdefault((damping, epsilon), [])
        if not kept:
            kept.extend(self._run(damping, epsilon))
        return kept[min(k, len(kept)) - 1]

    def _run(self, damping: float, epsilon: float) -> list[Array]:
        kind = np.float32 if self.unit > 1e-12 else np.float64
        x = np.zeros(len(self.right), kind)
        r = self.right.astype(kind)
        p, rr = r.copy(), float(r @ r)
        made = []
        for _ in range(len(self._images)):
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

    def drift(self, k: int, damping: float) -> float:
        """How far the k-th iterate of a right implementation may be off, relative to its length."""
        exact = self.iterate(k, damping)
        length = float(np.linalg.norm(exact))
        gap = float(np.linalg.norm(self.plain(k, damping) - exact))
        return ROOM * (gap / length + 30.0 * self.unit) if length else 0.0
