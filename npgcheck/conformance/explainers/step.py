"""x with (F + λI)x = g, and the steps made from it.

A solution is judged by its residual, modulo null(F): parameters that move no visited policy are
free. λ is estimated by least squares over all problems at once, because one constant must explain
every answer. A truncated conjugate gradient is judged by what defines it: it lies in the Krylov
space K_k(F, g) and its residual is orthogonal to that space (Galerkin), which also gives λ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.explainers import krylov
from npgcheck.conformance.explainers.common import with_lambda
from npgcheck.conformance.explainers.fisher import fisher_candidates, scaled_fisher
from npgcheck.conformance.explainers.gradient import CRITICS, scaled_gradient
from npgcheck.conformance.fitting import SINGLE, Judged, Record

Array = np.ndarray

#: The null component of a solution may be this many times its visible part (DESIGN of the
#: contract): larger ones are noise of a solver that divided by a rounding error.
NULL_GROWTH = 1e3
#: The budget of a statement that is true or false (a step gains, or does not), relative to an error
#: of 1: so small that no stated accuracy stretches it.
BROKEN = 1e-12


@dataclass(frozen=True)
class System:
    """(F + λI)x = g on one record, in the subject's own normalisation.

    Attributes:
        matrix: c_F F + λI; (D, D).
        bare: c_F F; (D, D).
        right: c_g g; (D,).
        scale: c_F.
        damping: λ.
        budget: how large a right solution's residual may be, given ``solution`` and its norm.
    """

    matrix: Array
    bare: Array
    right: Array
    scale: float
    damping: float
    ratio: float

    def budget(self, record: Record, solution_norm: float, noise: float) -> float:
        """Budget of ‖(F + λI)x − g‖; ``noise`` is the rounding already inside x."""
        scales = record.reference.scales
        right = float(np.linalg.norm(self.right)) / self.scale
        own = tolerance.natural_gradient_residual(
            scales, record.roundoff, solution_norm, right, self.ratio
        )
        size = self.scale * scales.fisher + self.damping
        extra = tolerance.CONSTANT * record.roundoff * self.damping * solution_norm
        return self.scale * own + extra + size * noise


def step_candidates(records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict[str, Any]]:
    """Fisher candidates × critic × gradient factor, without (1−γ)² on x (both factors at once)."""
    for base in fisher_candidates(records, sampled):
        for critic in CRITICS[base["sampled"]]:
            for factor in ("1/(1-gamma)", "1"):
                if base["fisher_scale"] == "unnormalised" and factor == "1":
                    continue
                yield {**base, "advantage": critic, "gradient_factor": factor}


def system(record: Record, choices: dict[str, Any]) -> System | None:
    """Builds the linear system that the candidate solves, or None where it is undefined."""
    fisher = scaled_fisher(record, choices)
    # A mean over action dimensions is taken in KL, and so in F; the gradient has none.
    gradient = scaled_gradient(record, {**choices, "action_dimensions": "sum"})
    if fisher is None or gradient is None:
        return None
    damping = float(choices.get("damping", 0.0))
    matrix = fisher[0] + damping * np.eye(len(fisher[0])) if damping else fisher[0]
    return System(matrix, fisher[0], gradient[0], fisher[1], damping, gradient[1] / fisher[1])


class _Solution:
    """Shared by everything that is a multiple of x."""

    #: Whether the answer fixes the length of x as well as its direction.
    known_length = True

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        for choices in step_candidates(records, sampled):
            if self.known_length:
                yield choices
            elif choices["gradient_factor"] == "1/(1-gamma)":
                # The length of a trust-region step cannot depend on the factor of g.
                yield {k: v for k, v in choices.items() if k != "gradient_factor"}

    def solution(self, record: Record) -> tuple[Array, float]:
        """Returns (x, rounding already inside it)."""
        raise NotImplementedError

    def _system(self, record: Record, choices: dict[str, Any]) -> System | None:
        return system(record, {"gradient_factor": "1/(1-gamma)", **choices})

    def estimate(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        return with_lambda(choices, "damping", self._least_squares(records, choices))

    def fallback(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        return krylov.estimate(self, records, choices)

    def _least_squares(self, records: Sequence[Record], choices: dict[str, Any]) -> float:
        """One λ for all records: Σ w x·(g − Fx) / Σ w x·x, with g projected out of both sides
        where the length of x is not known."""
        top = bottom = 0.0
        for record in records:
            built = self._system(record, choices)
            if built is None or not np.isfinite(record.value).all():
                continue
            x, _ = self.solution(record)
            image = built.bare @ x
            if self.known_length:
                missing, along = built.right - image, x
            else:
                missing = -krylov.without(image, built.right)
                along = krylov.without(x, built.right)
            size = max(float(np.linalg.norm(image)), 1e-100)
            top += float(along @ missing) / size**2
            bottom += float(along @ along) / size**2
        return top / bottom if bottom > 0 else 0.0

    def pinned(self, declared: dict[str, Any]) -> dict[str, Any]:
        return {s: declared[s] for s in ("damping", "cg_iterations") if s in declared}

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        built = self._system(record, choices)
        if built is None:
            return None
        x, noise = self.solution(record)
        forgiven = krylov.absolute(record.roundoff)
        unsolved = float(np.linalg.norm(built.right)) < 100.0 * forgiven
        if choices.get("cg_stopping") == "absolute" and unsolved and not self.known_length:
            return None  # the direction of a residual as large as its right side means nothing
        if not np.isfinite(x).all():
            return Judged(np.inf, 1.0, 1.0, self._shown(record, choices, built, 1.0))
        length = 1.0
        if not self.known_length:
            length = _length_along(built, x)
            if length <= 0.0:
                return self._refused(record, choices, built, x)
        judged = self._residual(record, choices, built, x / length, noise / length)
        shown = self._shown(record, choices, built, length)
        judged = replace(judged, exact=shown)
        if self.known_length or judged.ratio * record.roundoff > max(SINGLE, record.roundoff):
            return judged
        return self._with_length(record, choices, built, x, judged)

    def _residual(
        self, record: Record, choices: dict[str, Any], built: System, x: Array, noise: float
    ) -> Judged:
        norm = float(np.linalg.norm(x))
        seen = visible(record, choices, x)
        invisible = float(np.linalg.norm(x - seen))
        budget = built.budget(record, float(np.linalg.norm(seen)), noise)
        if built.damping:
            budget = built.budget(record, norm, noise)
        size = float(np.linalg.norm(built.right))
        allowed = NULL_GROWTH * (float(np.linalg.norm(seen)) + self._free_null(record))
        if invisible > allowed and not built.damping:
            return Judged(invisible, allowed, norm, x)
        if choices.get("cg_stopping") == "absolute":
            budget = max(budget, krylov.absolute(record.roundoff))
        elif krylov.truncates(record, choices):
            error = krylov.residual(record, choices, built, x, record.roundoff)
            budget = krylov.drift(budget, size)
            if budget < error <= krylov.LARGEST_DRIFT * size:
                strays = krylov.measured_drift(record, choices, built, record.roundoff)
                budget = max(budget, krylov.STRAYS * strays)
            return Judged(error, min(budget, krylov.LARGEST_DRIFT * size), size, x)
        elif choices.get("cg_iterations"):
            budget = max(budget, krylov.SETTLED * size)
        error = float(np.linalg.norm(built.matrix @ x - built.right))
        # Rounding of the null component enters through F's own error.
        if not built.damping:
            budget += (
                tolerance.CONSTANT
                * record.roundoff
                * built.scale
                * (record.reference.scales.fisher * invisible)
            )
        return Judged(error, budget, size, x)

    def _free_null(self, record: Record) -> float:
        # A start of the solver that does not shrink with the gradient.
        return 1.0

    def _refused(self, record: Record, choices: dict[str, Any], built: System, x: Array) -> Judged:
        """The displacement does not point uphill."""
        size = float(np.linalg.norm(x))
        shown = self._shown(record, choices, built, 1.0)
        return Judged(size, BROKEN * size, size, shown, "the step does not point uphill")

    def _with_length(
        self, record: Record, choices: dict[str, Any], built: System, x: Array, judged: Judged
    ) -> Judged:
        raise NotImplementedError

    def _shown(
        self, record: Record, choices: dict[str, Any], built: System, length: float
    ) -> Array:
        """The exact answer to show beside the subject's: minimum norm, or the k-step iterate."""
        return exact_solution(record, choices, built)


def exact_solution(record: Record, choices: dict[str, Any], built: System) -> Array:
    """(F + λI)⁺g, or the k-th conjugate-gradient iterate."""
    if choices.get("cg_iterations"):
        return krylov.iterate(record, choices, built, int(choices["cg_iterations"]))
    values, vectors = spectrum(record, choices)
    values = built.scale * values
    kept = values > len(values) * 1e-13 * max(values.max(initial=0.0), 1e-300)
    inverse = np.zeros_like(values)
    inverse[kept] = 1.0 / (values[kept] + built.damping)
    return vectors @ (inverse * (vectors.T @ built.right))


def spectrum(record: Record, choices: dict[str, Any]) -> tuple[Array, Array]:
    """Eigenvalues and vectors of F with weights that sum to one, cached on the reference."""
    key = (choices["sampled"], choices["weighting"], choices["fisher"])
    cache = record.reference.__dict__.setdefault("_spectra", {})
    if key not in cache:
        cache[key] = np.linalg.eigh(record.reference.fisher(*key))
    return cache[key]


def condition(record: Record, choices: dict[str, Any]) -> float:
    """cond⁺(F): largest over smallest eigenvalue that is not zero."""
    values, _ = spectrum(record, choices)
    kept = values[values > len(values) * 1e-13 * max(values.max(initial=0.0), 1e-300)]
    return float(kept.max() / kept.min()) if len(kept) else 1.0


def visible(record: Record, choices: dict[str, Any], x: Array) -> Array:
    """The component of x in range(F)."""
    values, vectors = spectrum(record, choices)
    kept = vectors[:, values > len(values) * 1e-13 * max(values.max(initial=0.0), 1e-300)]
    return kept @ (kept.T @ x)


def _length_along(built: System, x: Array) -> float:
    """μ with (F + λI)x ≈ μ g."""
    square = float(built.right @ built.right)
    return float(built.right @ (built.matrix @ x)) / square if square > 0 else 0.0


class NaturalGradient(_Solution):
    """x itself."""

    def solution(self, record: Record) -> tuple[Array, float]:
        return record.value, 0.0


class Update(_Solution):
    """θ + step_size · x, judged by its displacement (modulo null F, whatever gauge is returned)."""

    def solution(self, record: Record) -> tuple[Array, float]:
        step = float(record.probe.args[-1])
        theta = record.reference.theta
        # θ′ was rounded when it was added up: half an ulp of its entries is in the displacement.
        rounding = record.roundoff * float(np.linalg.norm(np.abs(record.value) + np.abs(theta)))
        return (record.value - theta) / step, 4.0 * rounding / step

    def _free_null(self, record: Record) -> float:
        # A softmax update may return log π′: then the null part is the old gauge of θ, whatever
        # the step, and at most ‖θ‖ + log A in each coordinate.
        step = float(record.probe.args[-1])
        theta = record.reference.theta
        return (float(np.linalg.norm(theta)) + np.sqrt(len(theta))) / step

    def _shown(
        self, record: Record, choices: dict[str, Any], built: System, length: float
    ) -> Array:
        step = float(record.probe.args[-1])
        return record.reference.theta + step * exact_solution(record, choices, built)


class TrustRegionProposal(_Solution):
    """θ + √(2δ / xᵀFx) x: the direction of x, and the quadratic model equal to max_kl."""

    known_length = False

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        for choices in super().candidates(records, sampled):
            yield {**choices, "step_length": "undamped"}
            yield {**choices, "step_length": "damped"}

    def estimate(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        return self._damped_where_told(super().estimate(records, choices))

    def fallback(self, records: Sequence[Record], choices: dict[str, Any]) -> list[dict]:
        return self._damped_where_told(super().fallback(records, choices))

    def _damped_where_told(self, found: list[dict]) -> list[dict]:
        """A damped length without damping is the undamped one."""
        return [c for c in found if c["step_length"] == "undamped" or c.get("damping")]

    def solution(self, record: Record) -> tuple[Array, float]:
        theta = record.reference.theta
        rounding = record.roundoff * float(np.linalg.norm(np.abs(record.value) + np.abs(theta)))
        return record.value - theta, 4.0 * rounding

    def _shown(
        self, record: Record, choices: dict[str, Any], built: System, length: float
    ) -> Array:
        x = exact_solution(record, choices, built)
        model = float(x @ (self._length_matrix(choices, built) @ x))
        delta = float(record.probe.args[0])
        if model <= 0:
            return record.reference.theta
        return record.reference.theta + np.sqrt(2.0 * delta / model) * x

    def _length_matrix(self, choices: dict[str, Any], built: System) -> Array:
        return built.matrix if choices["step_length"] == "damped" else built.bare

    def model(self, record: Record, choices: dict[str, Any], built: System, x: Array) -> float:
        """½ xᵀFx over max_kl: 1 for a proposal of the right length."""
        return float(0.5 * x @ (self._length_matrix(choices, built) @ x)) / float(
            record.probe.args[0]
        )

    def length_budget(self, record: Record, built: System, x: Array) -> float:
        """Relative error of ½xᵀFx/δ: that of F along x, twice that of x, and of the rounding."""
        scales, u = record.reference.scales, record.roundoff
        curve = float(x @ (built.bare @ x))
        if curve <= 0:
            return 1e-300
        size = built.scale * max(scales.fisher, scales.score**2) + built.damping
        growth = size * float(x @ x) / curve
        _, noise = self.solution(record)
        rounding = 2.0 * size * float(np.linalg.norm(x)) * noise / curve
        own = tolerance.CONSTANT * u * scales.chain * scales.lift * (1.0 + growth)
        return own + rounding

    def _slackened(
        self, budget: float, record: Record, choices: dict[str, Any], built: System
    ) -> float:
        """Drift of conjugate gradient, or the relative size of an absolute tolerance."""
        if choices.get("cg_stopping") == "absolute":
            # ½xᵀFx is quadratic in x, and F enters once more through the subject's own length.
            forgiven = 3.0 * krylov.absolute(record.roundoff)
            return max(budget, forgiven / float(np.linalg.norm(built.right)))
        if choices.get("cg_iterations") or choices.get("cg_stopping"):
            return krylov.drift(budget, 1.0)
        return budget

    def _with_length(
        self, record: Record, choices: dict[str, Any], built: System, x: Array, judged: Judged
    ) -> Judged:
        error = abs(self.model(record, choices, built, x) - 1.0)
        budget = self.length_budget(record, built, x)
        budget = self._slackened(budget, record, choices, built)
        length = Judged(error, budget, 1.0, judged.exact)
        return length if length.ratio > judged.ratio else judged


__all__ = [
    "NaturalGradient",
    "System",
    "TrustRegionProposal",
    "Update",
    "condition",
    "exact_solution",
    "spectrum",
    "step_candidates",
    "system",
    "visible",
]
