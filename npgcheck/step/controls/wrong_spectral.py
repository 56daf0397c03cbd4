"""Planted mistakes in direct solves: λ at the wrong place, eigenvalues that are cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake, _changed

Array = np.ndarray


def _direct(
    solve: Callable[[Array, Array], Array], damping: float | None = 0.0
) -> Callable[[Step], Step]:
    """x by a function of the matrix of the product and of g, in double precision."""

    def solved(s: Step, right: object, g: Array) -> Array:
        columns = [s.product(e) for e in np.eye(len(g), dtype=g.dtype)]
        matrix = np.array(columns, dtype=np.float64)
        return solve(0.5 * (matrix + matrix.T), g.astype(np.float64)).astype(g.dtype)

    plant = _changed("solve", solved)
    if damping is None:
        return plant
    return lambda step: plant(replace(step, damping=damping))


def _eye(m: Array) -> Array:
    return np.eye(len(m))


def _inverse(m: Array, cut: float = 1e-9) -> Array:
    return np.linalg.pinv(m, rcond=cut, hermitian=True)


def _shifted(share: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda m, g: np.linalg.solve(m + share(m), g)


def _power(exponent: float, damping: float = 0.0) -> Callable[[Array, Array], Array]:
    def solve(m: Array, g: Array) -> Array:
        values, vectors = np.linalg.eigh(m + damping * _eye(m))
        kept = values > 1e-9 * values[-1]
        return vectors[:, kept] @ (values[kept] ** exponent * (vectors.T @ g)[kept])

    return solve


_X = "natural_gradient"

SPECTRAL: tuple[Mistake, ...] = (
    Mistake("(F − λI)⁻¹ g, directly", _X, "damping-subtracted",
            _direct(_shifted(lambda m: -0.01 * _eye(m)))),
    Mistake("(F − λI)⁻¹ g, where the product is damped", _X, "damping-subtracted",
            _direct(_shifted(lambda m: -0.2 * _eye(m)), 0.1)),
    Mistake("(F⁺ + λI) g (double)", _X, "damping-added-to-the-inverse",
            _direct(lambda m, g: _inverse(m) @ g + 0.1 * g)),
    Mistake("(F + λI)⁻¹ g + 0.5 g", _X, "damping-added-to-the-inverse",
            _direct(lambda m, g: np.linalg.solve(m, g) + 0.5 * g, None)),
    Mistake("F⁺ g with a coarse cut-off", _X, "pseudo-inverse-cut-off",
            _direct(lambda m, g: _inverse(m, 0.3) @ g), (), "deviates"),
    Mistake("(FᵀF + λI)⁻¹ Fᵀ g, directly", _X, "ridge-on-normal-equations",
            _direct(lambda m, g: np.linalg.solve(m.T @ m + 1e-3 * _eye(m), m.T @ g)), (),
            "deviates"),
    Mistake("((1 − λ)F + λI)⁻¹ g, directly", _X, "shrinkage",
            _direct(lambda m, g: np.linalg.solve(0.9 * m + 0.1 * _eye(m), g)), (), "deviates"),
    Mistake("(F + λ tr F/D I)⁻¹ g, directly (double)", _X, "relative-damping",
            _direct(_shifted(lambda m: 0.1 * np.trace(m) / len(m) * _eye(m))), (), "deviates"),
    Mistake("(F + λ diag F)⁻¹ g, directly", _X, "marquardt-damping",
            _direct(_shifted(lambda m: 0.1 * np.diag(np.diag(m)) + 1e-10 * _eye(m))), (),
            "deviates"),
    Mistake("F^(−½) g of a singular F (double)", _X, "square-root-of-F", _direct(_power(-0.5))),
    Mistake("(F + λI)^(−½) g beside F", _X, "square-root-of-F", _direct(_power(-0.5, 0.1))),
    Mistake("(F + λI)⁻² g beside F", _X, "inverse-applied-twice", _direct(_power(-2.0, 0.1))),
)  # fmt: skip
