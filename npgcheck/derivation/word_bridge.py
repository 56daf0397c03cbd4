"""From a statement about matrices to numbers: the tree that was proved, at given matrices.

`evaluate` knows nothing of npgcheck's numerical modules: letters are given, and inverses, where
they are not, are solved for. With exact entries (`fractions.Fraction`, `flint.fmpq`) the values are
exact. Derivatives take matrices as functions of one parameter, by their Taylor coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from npgcheck.derivation.language import DerivationError
from npgcheck.derivation.matrices import Model
from npgcheck.derivation.words import Words

Array = np.ndarray


class Given(Model):
    """A model whose matrices and scalars are given, not drawn.

    Args:
        setting: the statement's setting.
        sizes: size symbol -> how many.
        matrices: letter -> its matrix, or the list of its Taylor coefficients in one direction;
            what is not given and follows from the others, such as an inverse, is computed.
        scalars: scalar -> number.
        tolerance: how far the assumed equations may be off, relative to one plus the largest
            entry; 0 for exact entries.

    Raises:
        DerivationError: a letter is missing, or the matrices do not satisfy an assumption.
    """

    def __init__(
        self,
        setting: Words,
        sizes: Mapping[str, int],
        matrices: Mapping[str, Any],
        scalars: Mapping[str, Any],
        tolerance: float = 1e-9,
    ) -> None:
        self.setting, self.sizes, self.scalars = setting, dict(sizes), dict(scalars)
        self.exact, self.length = tolerance == 0, setting.derivatives + 1
        self.tolerance = tolerance
        self.values, self._memo = {}, {}
        for name, info in setting.letters.items():
            if name in matrices:
                given = matrices[name]
                series = [self._array(m) for m in (given if isinstance(given, list) else [given])]
                self.values[name] = [*series, *(series[0] * 0 for _ in range(self.length))]
                self.values[name] = self.values[name][: self.length]
            elif info.inverse_of is not None:
                self.values[name] = self.invert(
                    self.value(info.inverse_of, info.symbol, info.shape)
                )
            elif isinstance(info.draw, sp.Basic):
                self.values[name] = self.value(info.draw, None, info.shape)
            elif callable(info.draw):
                zeros = [self.constant(info.shape) for _ in range(self.length)]
                self.values[name] = [*info.draw(self), *zeros][: self.length]
            else:
                raise DerivationError(f"no matrix is given for the letter {name!r}")
        self.verify()

    @staticmethod
    def _array(matrix: Any) -> Array:
        return np.atleast_2d(np.asarray(matrix, dtype=object))

    def differ(self, a: Array, b: Array) -> bool:
        """Whether two matrices differ by more than the tolerance."""
        if self.exact:
            return super().differ(a, b)
        gap = np.abs((a - b).astype(float)).max(initial=0.0)
        return bool(gap > self.tolerance * (1 + np.abs(a.astype(float)).max(initial=0.0)))


def evaluate(expr: sp.Expr, model: Model, beside: sp.Expr | None = None) -> Array:
    """The matrix of a tree; a bare number becomes as large as `beside`."""
    value = model.value(expr, beside)[0]
    return value if model.exact else value.astype(float)
