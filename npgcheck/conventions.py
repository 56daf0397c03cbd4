"""What a subject means to do: the declared conventions, each held to exactly.

A field left at ``None`` is inferred from the answers and reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from npgcheck.errors import UsageError, nearest

WEIGHTINGS = ("discounted", "undiscounted", "per_trajectory")
SCALES = ("normalised", "unnormalised")
GRADIENT_FACTORS = ("1/(1-gamma)", "1")
ADVANTAGES = (
    "advantage",
    "q",
    "centred",
    "td",
    "q_td",
    "normalised",
    "normalised_sample",
    "unbiased",
)
FISHERS = ("true", "empirical")
DAMPED = ("product", "solve", "fisher")
KL_DIRECTIONS = ("forward", "reverse")
SIGMAS = ("log_std",)
STEP_LENGTHS = ("undamped", "damped")
LINE_SEARCHES = ("kl_and_improvement", "kl_slack", "improvement")
SAMPLED = ("mdp", "batch", "episodes")
GRADIENTS_OF = ("surrogate", "loss")

_ENUMERATED: dict[str, tuple[str, ...]] = {
    "setting": ("discounted",),
    "weighting": WEIGHTINGS,
    "occupancy": SCALES,
    "gradient_factor": GRADIENT_FACTORS,
    "advantage": ADVANTAGES,
    "fisher": FISHERS,
    "fisher_scale": SCALES,
    "damping_in": DAMPED,
    "kl_direction": KL_DIRECTIONS,
    "sigma": SIGMAS,
    "step_length": STEP_LENGTHS,
    "line_search": LINE_SEARCHES,
    "sampled": SAMPLED,
    "gradient_of": GRADIENTS_OF,
}


@dataclass(frozen=True, init=False)
class Conventions:
    """Declared conventions of a subject; keywords only, ``None`` means "infer it".

    Attributes:
        setting: ``"discounted"``; other settings are not judged in this version.
        entropy: coefficient of an entropy bonus in the gradient, in nats; ``check_step`` judges it,
            ``verify`` only 0.0.
        weighting: state weights: ``"discounted"`` (d, with γᵗ), ``"undiscounted"`` (visits
            without γᵗ; on a chain that never ends, its stationary distribution) or
            ``"per_trajectory"`` (every trajectory weighs the same, whatever its length).
        occupancy: whether ``state_distribution`` sums to 1 or to 1/(1−γ).
        gradient_factor: ``"1/(1-gamma)"`` when ``policy_gradient`` is ∇J, ``"1"`` when it is
            (1−γ)∇J = E_d[φA].
        advantage: what a sampled gradient multiplies the score with: the rows' ``"advantage"``,
            ``"q"`` (no baseline), ``"centred"`` (minus the batch mean), one-step residuals
            ``"td"`` or targets ``"q_td"``, advantages ``"normalised"`` over the batch
            (``"normalised_sample"``: with the standard deviation that divides by N − 1), or an
            ``"unbiased"`` estimate of another kind, judged on exact batches alone.
        fisher: ``"true"`` (expectation over actions) or ``"empirical"`` (the batch's actions).
        fisher_scale: ``"normalised"`` (an expectation) or ``"unnormalised"`` (times 1/(1−γ)).
        damping: λ in F + λI, for F in the subject's own normalisation.
        damping_in: where λ enters: ``"product"``, ``"solve"`` only, or ``"fisher"`` as well.
        cg_iterations: conjugate gradient is stopped after this many iterations.
        solver_rtol: relative accuracy that the subject's solver aims at.
        kl_direction: ``"forward"`` is KL(π_problem.theta ‖ π_theta), ``"reverse"`` the other.
        sigma: coordinate of a Gaussian's scale in ``problem.theta``: ``"log_std"``.
        step_length: ``"undamped"`` √(2δ/xᵀFx) or ``"damped"`` √(2δ/xᵀ(F+λI)x).
        line_search: what a step must satisfy to be accepted: ``"kl_and_improvement"``, as the
            contract asks; ``"kl_slack"``, KL up to 1.5 max_kl and a gain; or ``"improvement"``, a
            gain whatever KL is.
        sampled: what the subject averages over: ``"mdp"``, ``"batch"`` or ``"episodes"``.
        gradient_of: ``"surrogate"`` (ascent) or ``"loss"`` (its negative), for ``check_step``.

    Raises:
        UsageError: a name or a value that does not exist, with the nearest one.
    """

    setting: str
    entropy: float
    weighting: str | None
    occupancy: str | None
    gradient_factor: str | None
    advantage: str | None
    fisher: str | None
    fisher_scale: str | None
    damping: float | None
    damping_in: str | None
    cg_iterations: int | None
    solver_rtol: float | None
    kl_direction: str | None
    sigma: str | None
    step_length: str | None
    line_search: str | None
    sampled: str | None
    gradient_of: str | None

    def __init__(self, *, setting: str = "discounted", entropy: float = 0.0, **named: Any) -> None:
        known = [f.name for f in fields(self)]
        given = {"setting": setting, "entropy": entropy, **named}
        for name, value in given.items():
            if name not in known:
                raise UsageError(
                    f"Conventions has no field {name!r}.{nearest(name, known)} "
                    f"Fields: {', '.join(known)}."
                )
            if value is not None:
                _validate(name, value)
        for name in known:
            object.__setattr__(self, name, given.get(name))

    def declared(self) -> dict[str, Any]:
        """Returns the fields that were stated, without those left to inference."""
        stated = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "setting"}
        return {k: v for k, v in stated.items() if v is not None and (k, v) != ("entropy", 0.0)}

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.declared().items())
        return f"Conventions({inside})"


def is_value(name: str, value: str) -> bool:
    """Whether ``Conventions(name=value)`` can be declared; numbers apart."""
    return name not in _ENUMERATED or value in _ENUMERATED[name]


def _validate(name: str, value: Any) -> None:
    """Raises UsageError when ``value`` is not a value of the convention ``name``."""
    if name in _ENUMERATED:
        allowed = _ENUMERATED[name]
        if value not in allowed:
            raise UsageError(
                f"Conventions({name}={value!r}): not a known value."
                f"{nearest(str(value), allowed)} Known: {', '.join(allowed)}."
            )
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"Conventions({name}={value!r}): a finite number is needed.")
    if name == "entropy" and value < 0:
        raise UsageError(
            f"Conventions(entropy={value!r}): the bonus must not be negative. A loss that is "
            f"minimised holds −{-value:g} · H for a bonus of {-value:g}: declare "
            f"entropy={-value:g}. A surrogate that is maximised and holds it punishes entropy, "
            "which is a mistake."
        )
    if name == "cg_iterations" and (value < 1 or int(value) != value):
        raise UsageError(f"Conventions(cg_iterations={value!r}): a whole number of at least 1.")
    if name == "damping" and value < 0:
        raise UsageError(f"Conventions(damping={value!r}): λ must not be negative.")
    if name == "solver_rtol" and not 0 < value <= 1e-3:
        raise UsageError(
            f"Conventions(solver_rtol={value!r}): a relative accuracy in (0, 1e-3] is needed; "
            "a coarser solver is an approximation of its own (cg_iterations)."
        )
