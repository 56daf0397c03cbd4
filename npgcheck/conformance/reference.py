"""The exact answers on one problem, under every measure that a subject may average over.

A *measure* says which states and actions an expectation weighs and how: the MDP's own
discounted occupancy, the rows of the problem's batch, or the steps of its episodes. Weights sum
to one. Everything the verifier compares with (F, g, KL, the surrogate) is built from a measure:

    F = Σ_i w_i E_{a~π}[φφᵀ | s_i]      g = Σ_i w_i φ(s_i, a_i) A_i      KL = Σ_i w_i KL_i
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.batches import evaluation_of
from npgcheck.errors import Unsupported
from npgcheck.fisher import fisher as true_fisher
from npgcheck.fisher import kl as weighted_kl
from npgcheck.gradient import policy_gradient, surrogate_gain

Array = np.ndarray
DISCRETE = ("tabular", "softmax", "mlp", "own")


@dataclass(frozen=True)
class Measure:
    """Weights over states and over (state, action) rows.

    Attributes:
        observations: (N, k), one row per weighted state.
        weights: (N,), sum to 1.
        actions: (N,) or (N, m), or None for an exact expectation over actions.
        critics: critic name -> (N,) coefficients of the score in g; empty when ``actions`` is None.
        mass: total weight before normalising: Σ_t γᵗ or the mean length for episodes, 1/(1−γ)
            for the MDP. What an unnormalised subject multiplies by.
        scales: scale name -> factors that go under this name.
    """

    observations: Array
    weights: Array
    actions: Array | None
    critics: Mapping[str, Array]
    scales: Mapping[str, tuple[float, ...]]


class Reference:
    """Exact quantities of one problem, each computed once."""

    def __init__(self, problem: Any) -> None:
        self.problem = problem
        self.policy = problem.policy
        self.theta = np.asarray(problem.theta, dtype=float)
        self.mdp = problem.mdp
        self.discount = float(problem.mdp.discount)
        self.discrete = hasattr(problem.mdp, "rewards")
        self._measures: dict[tuple[str, str], Measure | None] = {}
        self._fishers: dict[tuple[str, str, str], Array] = {}
        self._gradients: dict[tuple[str, str, str], Array] = {}

    @cached_property
    def probabilities(self) -> Array:
        """π(a|s), (S, A); discrete families only."""
        return self.policy.probabilities(self.theta, self.problem.observations)

    @cached_property
    def evaluation(self) -> Any:
        """V, Q, A, d and J."""
        return evaluation_of(self.problem)

    # ---- measures ---------------------------------------------------------------------------

    def measure(self, sampled: str, weighting: str) -> Measure | None:
        """Returns the measure, or None where this problem does not define it."""
        key = (sampled, weighting)
        if key not in self._measures:
            self._measures[key] = getattr(self, f"_{sampled}_measure")(weighting)
        return self._measures[key]

    def _mdp_measure(self, weighting: str) -> Measure | None:
        horizon = 1.0 / (1.0 - self.discount)
        if weighting == "discounted":
            weights = self.evaluation.state_distribution
        elif weighting == "undiscounted":
            found = undiscounted_visits(self._policy_transitions(), self.mdp)
            if found is None:
                return None
            weights = found
        else:
            return None
        scales = {"normalised": (1.0,), "unnormalised": (horizon,)}
        return Measure(self.problem.observations, weights, None, {}, scales)

    def _policy_transitions(self) -> Array:
        if not self.discrete:
            return np.asarray(self.mdp.transitions)
        transitions = self.mdp.policy_transitions(self.probabilities)
        return np.asarray(transitions.todense() if hasattr(transitions, "todense") else transitions)

    def _batch_measure(self, weighting: str) -> Measure | None:
        if weighting != "discounted":
            return None  # the rows are the measure: a batch has no time to discount
        try:
            batch = self.problem.batch
        except Unsupported:
            return None
        n = len(batch.rewards)
        weights = np.full(n, 1.0 / n)
        scales = {"normalised": (1.0,), "unnormalised": (1.0 / (1.0 - self.discount),)}
        return Measure(
            batch.observations, weights, batch.actions, _critics(batch, self.discount), scales
        )

    def _episodes_measure(self, weighting: str) -> Measure | None:
        try:
            episodes = self.problem.episodes
        except Unsupported:
            return None
        raw, count = [], len(episodes)
        for episode in episodes:
            steps = len(episode.rewards)
            raw.append(
                {
                    "discounted": self.discount ** np.arange(steps),
                    "undiscounted": np.ones(steps),
                    "per_trajectory": np.full(steps, 1.0 / steps),
                }[weighting]
                / count
            )
        weights = np.concatenate(raw)
        mass = float(weights.sum())
        # Three normalisations are in use: weights that sum to one, (1−γ)Σγᵗ, and plain sums.
        scales = {"normalised": (1.0, (1.0 - self.discount) * mass), "unnormalised": (mass,)}
        if weighting != "discounted":
            scales["normalised"] = (1.0,)
        merged = {
            name: np.concatenate(parts)
            for name, parts in _by_name([_critics(e, self.discount) for e in episodes]).items()
            if name
            not in (
                "normalised",
                "normalised_sample",
                "centred",
            )  # means over a batch, not over an episode
        }
        return Measure(
            np.concatenate([e.observations for e in episodes]),
            weights / mass,
            np.concatenate([e.actions for e in episodes]),
            merged,
            scales,
        )

    # ---- quantities under a measure -----------------------------------------------------------

    def fisher(self, sampled: str, weighting: str, definition: str = "true") -> Array:
        """F with weights that sum to one; (D, D).

        ``definition`` is true, empirical, or uncentred (the score without its mean).
        """
        key = (sampled, weighting, definition)
        if key not in self._fishers:
            measure = self._need(sampled, weighting)
            if definition == "true":
                result = true_fisher(self.policy, self.theta, measure.observations, measure.weights)
            elif definition == "uncentred":
                jacobian, joint = self._uncentred(sampled, weighting)
                result = np.einsum("na,nad,nae->de", joint, jacobian, jacobian)
            else:
                scores = self._row_scores(sampled, weighting)
                result = scores.T @ (measure.weights[:, None] * scores)
            self._fishers[key] = result
        return self._fishers[key]

    def _uncentred(self, sampled: str, weighting: str) -> tuple[Array, Array]:
        """The Jacobian of the logits, (N, A, D), and the joint weights w π, (N, A)."""
        measure = self._need(sampled, weighting)
        jacobian = self.policy.logits_jacobian(self.theta, measure.observations)
        probabilities = self.policy.probabilities(self.theta, measure.observations)
        return jacobian, measure.weights[:, None] * probabilities

    def gradient(self, sampled: str, weighting: str, critic: str = "advantage") -> Array:
        """g = Σ w φ A with weights that sum to one: (1−γ)∇J under the discounted MDP; (D,)."""
        key = (sampled, weighting, critic)
        if key not in self._gradients:
            measure = self._need(sampled, weighting)
            if critic == "expected":
                result = self._reweighted_gradient(self.state_weights(sampled, weighting))
            elif critic == "uncentred":
                result = self._uncentred_gradient(sampled, weighting)
            elif measure.actions is not None:
                coefficients = measure.weights * measure.critics[critic]
                result = coefficients @ self._row_scores(sampled, weighting)
            else:
                result = self._reweighted_gradient(measure.weights)
            self._gradients[key] = result
        return self._gradients[key]

    def _uncentred_gradient(self, sampled: str, weighting: str) -> Array:
        """Σ w J Q: the score without its mean, with Q as critic (with A it is the gradient)."""
        jacobian, joint = self._uncentred(sampled, weighting)
        measure = self._need(sampled, weighting)
        if measure.actions is None:
            return np.einsum("na,na,nad->d", joint, self.evaluation.q_value, jacobian)
        rows = jacobian[np.arange(len(measure.actions)), measure.actions]
        return (measure.weights * measure.critics["q"]) @ rows

    def _reweighted_gradient(self, weights: Array) -> Array:
        """Σ_s w(s) Σ_a π φ A for any state weights: the gradient theorem's sum with w for d."""
        return (1.0 - self.discount) * policy_gradient(
            self.mdp,
            self.policy,
            self.theta,
            self.problem.observations,
            replace(self.evaluation, state_distribution=weights),
        )

    def state_weights(self, sampled: str, weighting: str) -> Array:
        """The measure's weights added up by state; (S,)."""
        weights = self._need(sampled, weighting).weights
        if sampled == "mdp":
            return weights
        rows = [self.problem.batch] if sampled == "batch" else self.problem.episodes
        states = np.concatenate([r.states for r in rows])
        return np.bincount(states, weights=weights, minlength=self.problem.num_states)

    def _row_scores(self, sampled: str, weighting: str) -> Array:
        measure = self._need(sampled, weighting)
        return self.policy.score(self.theta, measure.observations, measure.actions)

    def kl(self, sampled: str, weighting: str, other: Array, direction: str) -> float:
        """Σ w KL in nats; forward is KL(π_problem.theta ‖ π_other)."""
        measure = self._need(sampled, weighting)
        return float(
            weighted_kl(
                self.policy,
                self.theta,
                other,
                measure.observations,
                measure.weights,
                direction=direction,
            )
        )

    def surrogate_gain(self, sampled: str, weighting: str, critic: str, other: Array) -> float:
        """L(θ′) − L(θ) for L(θ′) = Σ w π′/π A, with weights that sum to one."""
        measure = self._need(sampled, weighting)
        if measure.actions is not None:
            before = self.policy.log_prob(self.theta, measure.observations, measure.actions)
            after = self.policy.log_prob(other, measure.observations, measure.actions)
            return float((measure.weights * measure.critics[critic]) @ np.expm1(after - before))
        return (1.0 - self.discount) * surrogate_gain(
            self.mdp,
            self.policy,
            self.theta,
            self.problem.observations,
            other,
            replace(self.evaluation, state_distribution=measure.weights),
        )

    def _need(self, sampled: str, weighting: str) -> Measure:
        measure = self.measure(sampled, weighting)
        if measure is None:
            raise Unsupported(f"no {sampled} measure with {weighting} weights on this problem")
        return measure

    # ---- conditioning -------------------------------------------------------------------------

    @cached_property
    def scales(self) -> tolerance.Scales:
        """Conditioning of this problem, for the error budget."""
        transitions = self._policy_transitions()
        chain = np.eye(len(transitions)) - self.discount * transitions
        # Iterating the Bellman equation rounds 1/(1−γ) times even where the solve is trivial.
        kappa = max(float(np.linalg.cond(chain, np.inf)), 1.0 / (1.0 - self.discount))
        observations = np.asarray(self.problem.observations)
        measured = getattr(self.policy, "derivative_error_at", None)
        derivative = float(measured(self.theta, observations)) if measured else 0.0
        if self.discrete:
            logits = self.policy.logits(self.theta, observations)
            lift = 1.0 + float(np.abs(logits).max())
            scores = self.policy.scores(self.theta, observations)
            largest = float(np.sqrt((scores**2).sum(axis=-1)).max())
            value = max(
                float(np.abs(self.evaluation.q_value).max()), float(np.abs(self.mdp.rewards).max())
            )
        else:
            mean, log_std = self.policy.mean_log_std(self.theta, observations)
            std = np.exp(log_std)
            z = 1.0 + float(np.abs(mean / std).max())
            lift = 1.0 + z + float(np.abs(log_std).max())
            largest = (
                (1.0 + float(np.abs(observations).max()))
                / float(std.min())
                * np.sqrt(observations.shape[1] * mean.shape[1])
            )
            c, b, m = self.mdp.reward_quadratic
            reach = np.abs(mean).max() + 3.0 * std.max()
            bound = np.abs(c).max() + np.abs(b).sum(1).max() * reach
            bound = bound + np.abs(m).sum((1, 2)).max() * reach**2
            value = float(bound / (1.0 - self.discount))
        spectral = float(np.linalg.norm(self.fisher("mdp", "discounted"), 2))
        return tolerance.Scales(
            kappa, lift, value, spectral, largest, float(np.abs(observations).max()), derivative
        )


def _critics(rows: Any, discount: float) -> dict[str, Array]:
    """What a sampled gradient may multiply the score with, row by row."""
    advantage = np.asarray(rows.advantages, dtype=float)
    values = np.asarray(rows.values, dtype=float)
    alive = 1.0 - np.asarray(rows.terminated, dtype=float)
    target = np.asarray(rows.rewards) + discount * alive * np.asarray(rows.next_values)
    found = {
        "advantage": advantage,
        "td": target - values,
        "q": advantage + values,
        "q_td": target,
        "centred": advantage - advantage.mean(),
    }
    spread = float(advantage.std())
    if spread > 0:
        found["normalised"] = (advantage - advantage.mean()) / spread
        found["normalised_sample"] = (advantage - advantage.mean()) / float(advantage.std(ddof=1))
    return found


def _by_name(parts: list[dict[str, Array]]) -> dict[str, list[Array]]:
    return {name: [p[name] for p in parts] for name in parts[0] if all(name in p for p in parts)}


def undiscounted_visits(transitions: Array, mdp: Any) -> Array | None:
    """Returns normalised expected visits without γᵗ, or None when they are not unique.

    With absorbing terminal states: visits to the other states before absorption. Without:
    the stationary distribution of P_π, when it is unique.
    """
    size = len(transitions)
    terminal = np.asarray(getattr(mdp, "terminal_states", np.zeros(size, dtype=bool)))
    live = ~terminal
    identity = np.eye(int(live.sum()))
    if terminal.any():
        inner = identity - transitions[np.ix_(live, live)]
        if np.linalg.matrix_rank(inner) < len(inner):
            return None
        visits = np.zeros(size)
        start = np.asarray(mdp.initial_distribution)[live]
        # Rounding may leave a state that is never visited at −1e-16.
        visits[live] = np.maximum(np.linalg.solve(inner.T, start), 0.0)
        return visits / visits.sum()
    system = identity - transitions.T
    if np.linalg.matrix_rank(system, tol=1e-10) < size - 1:
        return None
    system[-1] = 1.0
    right = np.zeros(size)
    right[-1] = 1.0
    stationary = np.maximum(np.linalg.solve(system, right), 0.0)
    return stationary / stationary.sum()
