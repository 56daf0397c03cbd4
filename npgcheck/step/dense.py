"""The Jacobian of the outputs, F and g in full, where they are small.

Asked only of answers that are refuted: a column of J costs a few evaluations of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from npgcheck.step import variants
from npgcheck.step.probes import Probes
from npgcheck.tolerance import CONSTANT

Array = np.ndarray

#: Policies with more parameters are not differentiated in all of them.
LARGEST = 512
#: Numbers in the Jacobian of the outputs that is made at most.
LARGEST_JACOBIAN = 2_000_000
#: What derivatives by differences are right to at least, relative to the largest.
CLOSE = 1e-6


@dataclass(eq=False)
class Dense:
    """J of these rows, and what is made of it.

    Attributes:
        probes: the batch.
        jacobian: (N, K, D).
    """

    probes: Probes
    jacobian: Array

    @staticmethod
    def of(probes: Probes) -> Dense | None:
        """Of these rows, or None where it would be too large."""
        size = len(probes.vectors[0])
        if size > LARGEST or probes.rows.z.size * size > LARGEST_JACOBIAN:
            return None
        if "dense" not in probes.made:
            probes.made["dense"] = Dense(probes, columns(probes, np.eye(size)))
        found: Dense = probes.made["dense"]
        return found

    @property
    def tolerance(self) -> float:
        """What entries may be off, relative to the largest."""
        return CLOSE + CONSTANT * self.probes.unit * self.probes.growth

    @cached_property
    def fisher(self) -> Array:
        """(D, D), what the contract asks for."""
        return self.matrix(next(iter(variants.fishers(self.probes.rows))))

    @cached_property
    def gradient(self) -> Array:
        """(D,), Σ ω_i A_i ∇log π(a_i|s_i)."""
        rows = self.probes.rows
        cotangent = (rows.weights * rows.advantages)[:, None] * rows.score
        return np.asarray(np.einsum("nk,nkd->d", cotangent, self.jacobian))

    def matrix(self, variant: variants.Fisher) -> Array:
        """(D, D), Σ ω Jᵀ W J with the terms of rank one."""
        apply = variant.curvature[0]
        weighed = np.stack([apply(j) for j in np.moveaxis(self.jacobian, 2, 0)], axis=2)
        weighed = variant.weights[:, None, None] * weighed
        found = np.tensordot(self.jacobian, weighed, axes=((0, 1), (0, 1)))
        for factor, cotangent in variant.means:
            mean = np.einsum("nk,nkd->d", cotangent, self.jacobian)
            found += factor * np.outer(mean, mean)
        return np.asarray(found)


def columns(probes: Probes, directions: Array) -> Array:
    """(N, K, P): J v for the rows v of directions (P, D)."""
    return np.stack([probes.rows.along(v).value for v in directions], axis=2)
