"""Planted mistakes in the length of a step, and a length that nobody would call a mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npgcheck.step.controls.trpo import Step
from npgcheck.step.controls.wrong import Mistake, _changed

Array = np.ndarray


def _times(factor: Callable[[float, float, Array], float]) -> Callable[[Step], Step]:
    """θ + s x, with s a function of δ, xᵀFx and x, at a trust region of 0.001."""

    def move(s: Step, right: Any, x: Array) -> Array:
        curvature = float(x @ s.product(x)) - s.damping * float(x @ x)
        return s.theta + s.theta.dtype.type(factor(s.max_kl, curvature, x)) * x

    return lambda step: replace(step, max_kl=1e-3, changed={**step.changed, "move": move})


_T = "trust_region_step"

LENGTHS: tuple[Mistake, ...] = (
    Mistake("2δ/xᵀFx without the root", _T, "missing-square-root",
            _times(lambda d, q, x: 2 * d / q)),
    Mistake("half of it, after two shrinks (double)", _T, "missing-square-root",
            _times(lambda d, q, x: 0.8**2 * d / q)),
    Mistake("√(xᵀFx/2δ)", _T, "length-upside-down", _times(lambda d, q, x: (q / (2 * d)) ** 0.5)),
    Mistake("√(2δ)/‖x‖", _T, "euclidean-length",
            _times(lambda d, q, x: (2 * d) ** 0.5 / float(np.linalg.norm(x)))),
    Mistake("θ + δ x (double)", _T, "const-lr-called-kl", _times(lambda d, q, x: d)),
    Mistake("√(4δ/xᵀFx)", _T, "factor-two", _times(lambda d, q, x: (4 * d / q) ** 0.5)),
    Mistake("√(δ/xᵀFx), then 0.9 twice (double)", _T, "factor-two",
            _times(lambda d, q, x: 0.9**2 * (d / q) ** 0.5)),
    Mistake("−√(2δ/xᵀFx)", _T, "step-downhill", _times(lambda d, q, x: -((2 * d / q) ** 0.5))),
    Mistake("θ′ = √(2δ/xᵀFx) x, without θ", _T, "update-returns-the-step",
            _changed("move", lambda s, right, x: right(x) - s.theta)),
    Mistake("0.93 of the step (double)", _T, "",
            _times(lambda d, q, x: 0.93 * (2 * d / q) ** 0.5), (), "deviates"),
)  # fmt: skip
