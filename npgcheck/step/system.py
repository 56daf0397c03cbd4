"""The system that a direction should solve, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npgcheck.step.krylov import Krylov
from npgcheck.step.verdict import Verdict

Array = np.ndarray


@dataclass
class Solve:
    """What is known of the system that x should solve.

    Attributes:
        gradient: (D,), the user's, or None.
        krylov: of the user's product and gradient, or None where one of them was not given.
        damping: λ that the product carries already.
        lower: the verdicts on the product and the gradient.
        ascends: whether the step that was taken goes up, None where it was not given.
        image: (D,), the user's product at x, or None where it was not given.
        unit: the round-off of x, of the product and of the policy's outputs, whichever is largest.
        step_factor: √(2δ / xᵀFx), the factor from the direction to the step, where δ is known.
        hidden: λ that the product may carry unseen, as rounding or kinks hide it.
    """

    gradient: Array | None
    krylov: Krylov | None
    damping: float
    lower: tuple[Verdict, ...]
    ascends: bool | None
    image: Array | None
    unit: float
    step_factor: float | None = None
    hidden: float = 0.0

    @property
    def of_the_loss(self) -> bool:
        """Whether the user's gradient is that of −L."""
        return any(d.choice == "gradient-of-the-loss" for v in self.lower for d in v.diagnoses)

    def misled(self, x: Array) -> bool:
        """Whether x goes up for a gradient of the user's that is wrong by itself."""
        wrong = any(v.quantity == "policy_gradient" and v.status == "fail" for v in self.lower)
        return wrong and self.gradient is not None and float(self.gradient @ x) > 0.0
