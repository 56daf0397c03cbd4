"""The reference as a pipeline of parts, each of which a choice may replace.

    discount, start, rewards, transitions, π → V, Q, A, d → weights
    weights, scores, critic → g           weights, scores → F
    g, F, λ → x → length → steps          weights, log π → KL

A part is computed once per problem and per set of choices that can reach it, so that the thousands
of combinations which the diagnosis looks at share all that they have in common.

    F = Σ_s w(s) Σ_a π φφᵀ     g = Σ_s w(s) Σ_a π φ A, or Σ_i w_i φ(s_i, a_i) A_i over rows

Actions of a Gaussian policy are Gauss–Hermite nodes, which make both sums exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from npgcheck.conformance.diagnosis.reach import Applied, reaching
from npgcheck.conformance.reference import Reference, undiscounted_visits
from npgcheck.errors import NpgcheckError
from npgcheck.exact import action_advantage

Array = np.ndarray

#: What a formula raises where choices leave its domain: σ = 0, a singular chain, no state that is
#: visited, pᵀMp = 0. Such a set explains nothing there.
OUTSIDE = (np.linalg.LinAlgError, ArithmeticError, ValueError, NpgcheckError)


@dataclass(frozen=True)
class Base:
    """The conventions under which a subject is recomputed.

    Attributes:
        sampled: mdp, batch or episodes.
        weighting: discounted, undiscounted or per_trajectory.
        fisher: true or empirical.
        critic: what a gradient multiplies the score with; in exact sums A or Q.
    """

    sampled: str = "mdp"
    weighting: str = "discounted"
    fisher: str = "true"
    critic: str = "advantage"


class View:
    """The parts under one set of choices; ``view["F"]`` is F under them."""

    __slots__ = ("applied", "pipeline", "theta")

    def __init__(
        self, pipeline: Pipeline, applied: tuple[Applied, ...], theta: Array | None = None
    ) -> None:
        self.pipeline = pipeline
        self.applied = applied
        self.theta = pipeline.reference.theta if theta is None else theta

    def at(self, theta: Array) -> View:
        """The same choices at other parameters; for parts that are not cached."""
        return View(self.pipeline, self.applied, theta)

    def __getitem__(self, part: str) -> Any:
        return self.pipeline.get(part, self.applied)

    @property
    def reference(self) -> Reference:
        return self.pipeline.reference

    @property
    def problem(self) -> Any:
        return self.pipeline.reference.problem

    @property
    def discrete(self) -> bool:
        return self.pipeline.reference.discrete

    @property
    def base(self) -> Base:
        return self.pipeline.base

    def through(self, part: str, value: Any) -> Any:
        """A value that is not cached (it has arguments), as the choices leave it."""
        for applied in self.applied:
            value = applied.on(part, self, value)
        return value


class Pipeline:
    """All parts on one problem, under one base."""

    def __init__(self, reference: Reference, base: Base) -> None:
        self.reference = reference
        self.base = base
        self._cache: dict[Any, Any] = {}
        self.range: Array | None = None
        """Projection on range(F) of the right F, once it is needed."""

    def get(self, part: str, applied: Sequence[Applied]) -> Any:
        """The part under these choices."""
        active = reaching(part, tuple(applied))
        key = (part, tuple(a.key for a in active))
        if key not in self._cache:
            view = View(self, active)
            value = DEFAULTS[part](view)
            # What this base does not have (rows of an expectation) no choice can alter.
            self._cache[key] = None if value is None else view.through(part, value)
        return self._cache[key]

    @property
    def rows(self) -> Any:
        """The rows of the batch, or of all episodes, as arrays; None under the MDP."""
        if self.base.sampled == "mdp":
            return None
        if "_rows" not in self.__dict__:
            problem = self.reference.problem
            parts = [problem.batch] if self.base.sampled == "batch" else list(problem.episodes)

            def joined(name: str) -> Array:
                return np.concatenate([np.asarray(getattr(p, name)) for p in parts])

            lengths = [len(p.rewards) for p in parts]
            self._rows = Rows(
                states=joined("states"),
                next_states=joined("next_states"),
                actions=joined("actions"),
                rewards=joined("rewards"),
                values=joined("values"),
                next_values=joined("next_values"),
                terminated=joined("terminated"),
                times=np.concatenate([np.arange(n) for n in lengths]),
                episode=np.repeat(np.arange(len(parts)), lengths),
                count=len(parts),
            )
        return self._rows


@dataclass(frozen=True)
class Rows:
    """What a sampled subject averages over; one entry per step."""

    states: Array
    next_states: Array
    actions: Array
    rewards: Array
    values: Array
    next_values: Array
    terminated: Array
    times: Array
    episode: Array
    count: int


# ---- the parts as they should be -----------------------------------------------------------------


def _transitions(v: View) -> Array:
    found = v.problem.mdp.transitions
    return np.asarray(found.todense() if hasattr(found, "todense") else found, dtype=float)


def _pi(v: View) -> Array:
    logits = v["logits"]
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _chain(v: View) -> Array:
    if not v.discrete:
        return v["transitions"]
    return np.einsum("sa,sat->st", v["chain_pi"], v["transitions"])


def _value(v: View) -> Array:
    if v.discrete:
        expected = (v["chain_pi"] * v["rewards"]).sum(axis=1)
    else:
        expected = v.reference.mdp.expected_reward(v["mean"], v["std"])
    chain = v["chain"]
    return np.linalg.solve(np.eye(len(chain)) - v["discount"] * chain, expected)


def _q_value(v: View) -> Array:
    if not v.discrete:
        return v["node_advantage"] + v["value"][:, None]
    return v["rewards"] + v["discount"] * (v["transitions"] @ v["value"])


def _advantage(v: View) -> Array:
    return v["q_value"] - v["value"][:, None] if v.discrete else v["node_advantage"]


def _node_advantage(v: View) -> Array | None:
    """A(s, a) of a Gaussian policy at the nodes."""
    if v.discrete:
        return None
    actions = v["node_actions"]
    states = np.repeat(np.arange(len(actions)), actions.shape[1])
    mean, std = v["mean"], v["std"]
    flat = actions.reshape(-1, actions.shape[2])
    return action_advantage(v.reference.mdp, mean, std, states, flat).reshape(actions.shape[:2])


def _occupancy(v: View) -> Array:
    chain = v["chain"]
    system = np.eye(len(chain)) - v["discount"] * chain.T
    return (1.0 - v["discount"]) * np.linalg.solve(system, v["start"])


def _weights(v: View) -> Array:
    base = v.base
    if base.sampled != "mdp":
        rows = v.pipeline.rows
        return np.bincount(rows.states, weights=v["row_weights"], minlength=v.problem.num_states)
    if base.weighting == "discounted":
        return v["occupancy"]
    visits = undiscounted_visits(v["chain"], v.reference.mdp)
    return v.reference.state_weights("mdp", base.weighting) if visits is None else visits


def _row_weights(v: View) -> Array | None:
    if v.base.sampled == "mdp":
        return None
    measure = v.reference.measure(v.base.sampled, v.base.weighting)
    return None if measure is None else np.array(measure.weights)


def _row_critic(v: View) -> Array | None:
    if v.base.sampled == "mdp":
        return None
    measure = v.reference.measure(v.base.sampled, v.base.weighting)
    name = "advantage" if v.base.critic == "unbiased" else v.base.critic
    if measure is None or name not in measure.critics:
        return None
    return np.array(measure.critics[name])


def _scores(v: View) -> Array:
    """φ at every state and every action (or node); (S, A, D)."""
    if v.discrete:
        jacobian = v["jacobian"]
        mean = np.einsum("sa,sad->sd", v["pi"], jacobian)
        return jacobian - mean[:, None, :]
    return gaussian_scores(v, v["node_z"][None, :, :] * np.ones((len(v["std"]), 1, 1)), None)


def gaussian_scores(v: View, z: Array, states: Array | None) -> Array:
    """Σ_i (z_i/σ_i) ∇μ_i + (z_i² − 1) ∇ log σ_i, with z (S, Q, m), or (N, m) at ``states``."""
    of_mean, of_std = v["mean_jacobian"], v["std_jacobian"]
    sigma = v["std"][:, None, :] if states is None else v["std"][states]
    along, across = v.through("parts", (z / sigma, z**2 - 1.0, z, sigma))[:2]
    if states is None:
        return np.einsum("sqm,smd->sqd", along, of_mean) + np.einsum("sqm,smd->sqd", across, of_std)
    return np.einsum("nm,nmd->nd", along, of_mean[states]) + np.einsum(
        "nm,nmd->nd", across, of_std[states]
    )


def _row_scores(v: View) -> Array | None:
    rows = v.pipeline.rows
    if rows is None:
        return None
    if v.discrete:
        return v["scores"][rows.states, rows.actions]
    z = (v["row_actions"] - v["mean"][rows.states]) / v["std"][rows.states]
    found = gaussian_scores(v, z, rows.states)
    # What a choice does to every score it does to these.
    for applied in v.applied:
        if "scores" in applied.choice.change:
            found = applied.on("scores", v, found)
    return found


def _row_actions(v: View) -> Array | None:
    rows = v.pipeline.rows
    return None if rows is None else np.asarray(rows.actions)


def _g(v: View) -> Array | None:
    base = v.base
    if base.sampled == "mdp" or base.critic == "expected":
        joint = v["g_weights"][:, None] * v["g_action_weights"] * v["critic"]
        return np.tensordot(joint, v["g_scores"], axes=2)
    critic = v["row_critic"]
    if critic is None:
        return None
    return (v["row_weights"] * critic) @ v["g_row_scores"]


def _fisher(v: View) -> Array:
    if v.base.fisher == "empirical" and v.base.sampled != "mdp":
        phi, weights = v["row_scores"], v["row_weights"]
    else:
        phi = v["f_scores"].reshape(-1, v["f_scores"].shape[-1])
        weights = (v["f_weights"][:, None] * v["f_action_weights"]).ravel()
    return phi.T @ (weights[:, None] * phi)


@lru_cache(maxsize=8)
def hermite_nodes(dimensions: int) -> tuple[Array, Array]:
    """Nodes (Q, m) and weights (Q,) under N(0, I): exact to degree 9 (5 beyond m = 2)."""
    points, weights = np.polynomial.hermite_e.hermegauss(5 if dimensions < 3 else 3)
    weights = weights / weights.sum()
    nodes = np.array(list(product(points, repeat=dimensions)))
    joint = np.array([np.prod(w) for w in product(weights, repeat=dimensions)])
    return nodes, joint


def _node_weights(v: View) -> Array:
    return np.tile(hermite_nodes(v.problem.action_size)[1], (v.problem.num_states, 1))


def log_softmax(logits: Array) -> Array:
    """Logarithms of the probabilities, row by row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _own(part: str) -> Callable[[View], Any]:
    return lambda v: v[part]


DEFAULTS: dict[str, Callable[[View], Any]] = {
    "discount": lambda v: v.reference.discount,
    "start": lambda v: np.asarray(v.problem.mdp.initial_distribution, dtype=float),
    "rewards": lambda v: np.asarray(v.problem.mdp.rewards, dtype=float),
    "transitions": _transitions,
    "logits": lambda v: v.reference.policy.logits(v.reference.theta, v.problem.observations),
    "pi": _pi,
    "chain_pi": lambda v: v["pi"] if v.discrete else None,
    "chain": _chain,
    "mean": lambda v: v.reference.policy.mean_log_std(v.reference.theta, v.problem.observations)[0],
    "std": lambda v: np.exp(
        v.reference.policy.mean_log_std(v.reference.theta, v.problem.observations)[1]
    ),
    "mean_jacobian": lambda v: v.reference.policy.mean_log_std_jacobian(
        v.reference.theta, v.problem.observations
    )[0],
    "std_jacobian": lambda v: v.reference.policy.mean_log_std_jacobian(
        v.reference.theta, v.problem.observations
    )[1],
    "node_z": lambda v: hermite_nodes(v.problem.action_size)[0],
    "node_actions": lambda v: v["mean"][:, None, :] + v["std"][:, None, :] * v["node_z"],
    "value": _value,
    "q_value": _q_value,
    "node_advantage": _node_advantage,
    "advantage": _advantage,
    "occupancy": _occupancy,
    "state_distribution": _own("occupancy"),
    "objective": lambda v: float(v["start"] @ v["value"]),
    "weights": _weights,
    "row_weights": _row_weights,
    "g_weights": _own("weights"),
    "f_weights": _own("weights"),
    "action_weights": lambda v: v["pi"] if v.discrete else _node_weights(v),
    "g_action_weights": _own("action_weights"),
    "f_action_weights": _own("action_weights"),
    "jacobian": lambda v: v.reference.policy.logits_jacobian(
        v.reference.theta, v.problem.observations
    ),
    "scores": _scores,
    "g_scores": _own("scores"),
    "f_scores": _own("scores"),
    "row_actions": _row_actions,
    "row_scores": _row_scores,
    "g_row_scores": _own("row_scores"),
    "critic": lambda v: v["q_value" if v.base.critic == "q" else "advantage"],
    "row_critic": _row_critic,
    "log_pi": lambda v: log_softmax(v["logits"]),
    "log_answer": _own("log_pi"),
    "g": _g,
    "F": _fisher,
}


def with_base(base: Base, **changes: str) -> Base:
    """The same base with other conventions."""
    return replace(base, **changes)
