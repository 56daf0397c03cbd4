"""What each quantity would answer under a set of choices, and how far an answer is from that.

A misfit is relative: the norm of the disagreement over the norm of what was predicted. It is
compared with :func:`resolution`, which lies far above the rounding of any answer that was judged
and far below any mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from npgcheck.conformance.diagnosis.kl import divergence_at
from npgcheck.conformance.diagnosis.pipeline import (
    Base,
    Pipeline,
    View,
    gaussian_scores,
    log_softmax,
)
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.diagnosis.setup import FLOOR, VARYING, Setup, factor, named, relative
from npgcheck.conformance.diagnosis.solve import (
    FAR_OFF,
    aside_of,
    is_direct,
    iterates,
    pseudo_solve,
    solution,
    system,
    visible,
)
from npgcheck.conformance.fitting import Record

Array = np.ndarray

#: A prediction counts as reproducing an answer at this relative error. Rounding leaves at most
#: 1e-8 (κ up to 1e4, sums of some hundred terms), the mildest mistakes that have names 1e-5.
REPRODUCED = 1e-7
#: … or at so many units of round-off of a coarser answer, and never beyond LARGEST.
UNITS = 1e3
LARGEST = 1e-3
#: What an error of x counts beside one of its residual: cond F is 1e4 at most where x is judged.
SEEN = 1e-4
#: Two solves by iterations err by the square of cond F times their residual.
TWICE, LENIENT = "inverse-applied-twice", 5e-3
_LOG_2PI = float(np.log(2.0 * np.pi))


def resolution(record: Record) -> float:
    """The relative error at which a prediction counts as the answer."""
    return min(LARGEST, max(REPRODUCED, UNITS * record.roundoff))


Misfit = Callable[[View, Record, Setup], float]


# ---- one function per quantity -------------------------------------------------------------------


def _log_prob(v: View, record: Record, setup: Setup) -> float:
    state, action = record.probe.args
    if v.discrete:
        return relative(record.value, v["log_answer"][state, int(action)])
    mean, sigma = v["mean"][state], v["std"][state]
    z = (np.asarray(action, dtype=float) - mean) / sigma
    terms = -0.5 * (z**2 + 2.0 * np.log(sigma) + _LOG_2PI)
    return relative(record.value, np.sum(v.through("log_density", (terms, z, sigma))[0]))


def _score(v: View, record: Record, setup: Setup) -> float:
    state, action = record.probe.args
    if v.discrete:
        predicted = v["scores"][state, int(action)]
    else:
        z = (np.asarray(action, dtype=float) - v["mean"][state]) / v["std"][state]
        predicted = gaussian_scores(v, z[None], np.array([state]))[0]
        for a in v.applied:
            if "scores" in a.choice.change:
                predicted = a.on("scores", v, predicted)
    return relative(record.value, _coordinates(v, record) @ predicted)


def _plain(part: str) -> Misfit:
    def misfit(v: View, record: Record, setup: Setup) -> float:
        return relative(record.value, v[part])

    return misfit


def _state_distribution(v: View, record: Record, setup: Setup) -> float:
    scale = factor(v, *named(setup.variant, 0))
    if scale is None:
        return np.inf
    found = v["state_distribution"] if setup.base.sampled == "mdp" else v["weights"]
    return relative(record.value, scale * found)


def _gradient(v: View, record: Record, setup: Setup) -> float:
    scale, g = factor(v, *named(setup.variant, 0)), v["g"]
    if scale is None or g is None:
        return np.inf
    return relative(record.value, _coordinates(v, record) @ (scale * g))


def _fisher(v: View, record: Record, setup: Setup) -> float:
    scale = factor(v, *named(setup.variant, 0))
    if scale is None:
        return np.inf
    t = _coordinates(v, record)
    matrix = t @ (scale * v["F"]) @ t.T
    return relative(record.value, matrix + setup.damping * np.eye(len(matrix)))


def _product(v: View, record: Record, setup: Setup) -> float:
    scale = factor(v, *named(setup.variant, 0))
    if scale is None:
        return np.inf
    t, vector = _coordinates(v, record), record.probe.args[0]
    found = t @ (scale * v["F"]) @ (t.T @ vector) + setup.damping * vector
    return relative(record.value, v.through("product", (found, vector))[0])


def _kl(v: View, record: Record, setup: Setup) -> float:
    scale = factor(v, *named(setup.variant, 0))
    if scale is None:
        return np.inf
    found = divergence_at(v, record.probe.args[0], scale, setup.variant[-1])
    return relative(record.value, found)


def _against_solution(v: View, record: Record, setup: Setup, x: Array) -> float:
    """How far x is from the solution, modulo null(F)."""
    solve = system(v, setup)
    if solve is None:
        return np.inf
    t = _coordinates(v, record)
    if setup.iterations == VARYING:
        answer = visible(v, x)
        tried = iterates(solve.matrix, solve.right)
        return min([relative(answer, visible(v, iterate)) for iterate in tried])
    if is_direct(v, setup):
        predicted = (
            np.linalg.solve(t.T, solution(v, solve, setup))
            if _turned(v)
            else solution(v, solve, setup)
        )
        seen = relative(visible(v, x), visible(v, predicted))
        return LENIENT * seen if any(a.choice.name == TWICE for a in v.applied) else seen
    inner = t.T @ x if _turned(v) else x
    # Every least-squares solution satisfies Mᵀ(Mx − g) = 0; most candidates are far from it.
    missing = solve.matrix.T @ (solve.matrix @ inner - solve.right)
    reach = solve.matrix.T @ solve.right
    gap = float(np.abs(missing).max())
    off = gap / max(float(np.abs(reach).max()), 1e-300)
    if off > FAR_OFF and gap > FLOOR:  # a g that vanishes leaves an x of rounding errors
        return off  # smooth in every number of a choice, which is estimated along it
    # F x = g has a solution only for g in range(F); a least-squares solve drops the rest.
    predicted = pseudo_solve(solve.matrix, solve.right)
    residual = relative(solve.matrix @ inner, solve.matrix @ predicted)
    # A matrix that has lost directions (F = 0) says nothing about x along them, and must not
    # explain it. Errors of x itself are those of the residual times cond F, hence the looser limit.
    seen = relative(visible(v, inner), visible(v, predicted))
    return max(residual, SEEN * seen)


def _natural(v: View, record: Record, setup: Setup) -> float:
    return _against_solution(v, record, setup, record.value)


def _update(v: View, record: Record, setup: Setup) -> float:
    step, theta = float(record.probe.args[-1]), record.reference.theta
    if any("update" in a.choice.change for a in v.applied):
        solve = system(v, setup)
        if solve is None:
            return np.inf
        x = solution(v, solve, setup)
        predicted = v.through("update", (theta + step * x, theta, step, x))[0]
        return relative(visible(v, record.value - theta), visible(v, predicted - theta))
    return _against_solution(v, record, setup, (record.value - theta) / step)


def _proposal(v: View, record: Record, setup: Setup) -> float:
    found = _length_of(v, record, setup)
    if found is None:
        return np.inf
    aside, fraction = found
    return max(aside, abs(fraction - 1.0))


#: Factors by which line searches in use shorten a step.
SHRINKS = (0.5, 0.8, 0.9, 0.7, 0.1)


def _step(v: View, record: Record, setup: Setup) -> float:
    if not np.any(record.value - record.reference.theta):
        return np.nan  # a line search that stayed where it was says nothing about the direction
    found = _length_of(v, record, setup)
    if found is None:
        return np.inf
    aside, fraction = found
    if not 0.0 < fraction <= 1.0 + 1e-6:
        return np.inf
    powers = [np.log(fraction) / np.log(s) for s in SHRINKS]
    return max(aside, min(abs(p - round(p)) for p in powers))


def _length_of(v: View, record: Record, setup: Setup) -> tuple[float, float] | None:
    """How far the displacement points aside, and its length over the predicted one."""
    moved, delta = record.value - record.reference.theta, float(record.probe.args[0])
    solve = system(v, setup)
    if solve is None:
        return None
    t = _coordinates(v, record)
    if not (_turned(v) or is_direct(v, setup)):
        off = aside_of(solve, moved)
        if off > FAR_OFF:
            return off, 1.0  # smooth in every number of a choice
    x = solution(v, solve, setup)
    if _turned(v):
        x = np.linalg.solve(t.T, x)
    if not np.isfinite(x).all():
        return None
    seen, wanted = visible(v, moved), visible(v, x)
    square = float(wanted @ wanted)
    if square == 0.0:
        return None
    along = float(seen @ wanted) / square
    aside = relative(seen, along * wanted)
    metric = solve.matrix if setup.length == "damped" else solve.bare
    curve = float(x @ (metric @ x))
    usual = float(np.sqrt(2.0 * delta / curve)) if curve > 0 else np.nan
    length = v.through("length", (usual, x, solve, delta))[0]
    return (aside, along / length) if np.isfinite(length) and length != 0 else None


def _turned(v: View) -> bool:
    return any("coordinates" in a.choice.change for a in v.applied)


def _coordinates(v: View, record: Record) -> Array:
    """T with φ′ = Tφ: the identity, unless a choice takes other coordinates of θ."""
    return v.through("coordinates", np.eye(len(record.reference.theta)))


def _surrogate(v: View, record: Record, setup: Setup) -> float:
    """The gain L(θ′) − L(θ); records carry gains, see :func:`gains`."""
    scale = factor(v, *named(setup.variant, 0))
    if scale is None:
        return np.inf
    if setup.base.sampled == "mdp" and not v.discrete:
        return np.nan
    gain = surrogate_gain(v, record.probe.args[0])
    return np.inf if gain is None else relative(record.value, scale * gain)


def surrogate_gain(v: View, other: Array) -> float | None:
    """Σ w (π′/π − 1) A with weights that sum to one, or None where there is no critic."""
    policy, rows = v.reference.policy, v.pipeline.rows
    if rows is None and not v.discrete:
        return None
    if rows is None:
        logits = v.at(other).through("logits", policy.logits(other, v.problem.observations))
        new = np.exp(log_softmax(logits))
        ratio, critic = new / v["pi"], v["critic"]
        weights = v["g_weights"][:, None] * v["pi"]
        gain = float(np.sum(v["g_weights"][:, None] * (new - v["pi"]) * critic))
    else:
        critic, weights = v["row_critic"], v["row_weights"]
        if critic is None:
            return None
        observations = np.asarray(v.problem.observations)[rows.states]
        before = policy.log_prob(v.reference.theta, observations, rows.actions)
        ratio = np.exp(policy.log_prob(other, observations, rows.actions) - before)
        gain = float((weights * critic) @ (ratio - 1.0))
    return float(v.through("surrogate", (gain, ratio, critic, weights))[0])


def gains(records: Sequence[Record]) -> list[Record]:
    """Records of a surrogate as differences from the answer at θ itself, which is free."""
    anchors = {r.probe.position: float(r.value) for r in records if r.probe.label == "θ itself"}
    return [
        replace(r, answer=replace(r.answer, value=r.value - anchors[r.probe.position]))
        for r in records
        if r.probe.label != "θ itself" and r.probe.position in anchors
    ]


MISFITS: dict[str, tuple[tuple[str, ...], Misfit]] = {
    "log_prob": (("log_answer", "log_density"), _log_prob),
    "score": (("scores", "coordinates"), _score),
    "value": (("value",), _plain("value")),
    "q_value": (("q_value",), _plain("q_value")),
    "advantage": (("advantage",), _plain("advantage")),
    "objective": (("objective",), _plain("objective")),
    "state_distribution": (("state_distribution",), _state_distribution),
    "policy_gradient": (("g", "coordinates"), _gradient),
    "fisher": (("F", "coordinates"), _fisher),
    "fisher_vector_product": (("product", "coordinates"), _product),
    "surrogate": (("surrogate",), _surrogate),
    "kl": (("kl",), _kl),
    "natural_gradient": (("direction", "coordinates"), _natural),
    "update": (("update", "coordinates"), _update),
    "train": (("update", "coordinates"), _update),
    "trust_region_proposal": (("length", "coordinates"), _proposal),
    "trust_region_step": (("length", "coordinates"), _step),
}
"""Quantity → the parts that it ends in, and its misfit."""


_G = ("unnormalised", "normalised", "normalised#1")
_F = ("normalised", "unnormalised", "normalised#1")


def variants(quantity: str, sampled: str) -> Iterator[tuple[str, ...]]:
    """The normalisations under which a quantity may be answered, the contract's own first."""
    scales = 3 if sampled == "episodes" else 2
    if quantity in ("policy_gradient", "surrogate"):
        yield from ((name,) for name in _G[:scales])
    elif quantity in ("fisher", "fisher_vector_product", "state_distribution"):
        yield from ((name,) for name in _F[:scales])
    elif quantity == "kl":
        for direction in ("forward", "reverse"):
            yield from ((name, direction) for name in _F[:scales])
    elif quantity in ("natural_gradient", "update", "train"):
        yield ("normalised", "unnormalised")
        yield ("normalised", "normalised")
        yield ("unnormalised", "unnormalised")
        if sampled == "episodes":
            yield ("normalised#1", "unnormalised")
    elif quantity in ("trust_region_proposal", "trust_region_step"):
        yield ("normalised", "normalised")
        yield ("unnormalised", "normalised")
        yield ("normalised", "unnormalised")
        if sampled == "episodes":
            yield ("normalised#1", "normalised")
    else:
        yield ()


class Pipelines:
    """One pipeline per problem and base, kept for the whole run."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, Base], Pipeline | None] = {}

    def of(self, record: Record, base: Base) -> Pipeline | None:
        """The pipeline, or None where the problem has no such measure."""
        key = (id(record.reference), base)
        if key not in self._found:
            known = record.reference.measure(base.sampled, base.weighting) is not None
            self._found[key] = Pipeline(record.reference, base) if known else None
        return self._found[key]

    def view(self, record: Record, base: Base, applied: Sequence[Applied]) -> View | None:
        """The parts of this problem under the choices."""
        pipeline = self.of(record, base)
        return None if pipeline is None else View(pipeline, tuple(applied))
