"""State weighting: what an average over states weighs, and what is averaged over."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources
from npgcheck.conformance.atlas.entry import LENGTHS, Choice, Number, Seen

WEIGHED = ("policy_gradient", "fisher", "fisher_vector_product", "kl", "natural_gradient")
SOLVES = ("natural_gradient", "update", "trust_region_proposal", "trust_region_step")
TABULAR = {
    "tabular direction": "every state has a block of its own; weights cancel in F⁻¹g at λ = 0",
}


def _sum_to_one(weights: Any) -> Any:
    return weights / weights.sum()


def _undiscounted(v: Any, _: Any) -> Any:
    return v.reference.state_weights("mdp", "undiscounted")


def _every_state(v: Any, weights: Any) -> Any:
    return np.full(len(weights), 1.0 / len(weights))


def _ones(v: Any, weights: Any) -> Any:
    return np.ones(len(weights))


def _first_step_skipped(v: Any, d: Any) -> Any:
    return d - (1.0 - v["discount"]) * v["start"]


def _twice(v: Any, _: Any) -> Any:
    chain, gamma = v["chain"], v["discount"] ** 2
    return (1.0 - gamma) * np.linalg.solve(np.eye(len(chain)) - gamma * chain.T, v["start"])


def _critic_twice(v: Any, critic: Any) -> Any:
    """γᵗ once more in g alone."""
    if critic is None or (v.base.sampled, v.base.weighting) != ("episodes", "discounted"):
        return critic
    return critic * v["discount"] ** v.pipeline.rows.times


def _visits_of_next_rows(v: Any, w: Any) -> Any:
    """The rows' weights at the states that they lead to."""
    rows = v.pipeline.rows
    if rows is None:
        return w
    return np.bincount(rows.next_states, weights=v["row_weights"], minlength=len(w))


def _scores_of_next_rows(v: Any, phi: Any) -> Any:
    """φ(s′, a) beside the action and the advantage of s."""
    if phi is None or not v.discrete:
        return phi
    rows = v.pipeline.rows
    return v["scores"][rows.next_states, rows.actions]


def _not_transposed(v: Any, _: Any) -> Any:
    chain, gamma = v["chain"], v["discount"]
    return (1.0 - gamma) * np.linalg.solve(np.eye(len(chain)) - gamma * chain, v["start"])


def _living(v: Any, d: Any) -> Any:
    return np.where(np.asarray(v.problem.mdp.terminal_states), 0.0, d)


def _cut(v: Any, d: Any, steps: Any) -> Any:
    """(1−γ) Σ_{t<T} γᵗ ρPᵗ = d − γᵀ dPᵀ, a power of P."""
    chain, gamma = v["chain"], v["discount"]
    whole = (1.0 - gamma) * np.linalg.solve(np.eye(len(chain)) - gamma * chain.T, v["start"])
    return whole - gamma ** int(steps) * (whole @ np.linalg.matrix_power(chain, int(steps)))


def _cut_whole(v: Any, d: Any, steps: Any) -> Any:
    """The same, normalised to sum to one."""
    found = _cut(v, d, steps)
    return found / found.sum()


def _as_time(v: Any, w: Any) -> Any:
    return v["discount"] ** np.arange(len(w)) / len(w)


def _of_batch(f: Any) -> Any:
    """Rows of a batch alone: steps of episodes have a time of their own."""
    return lambda v, w: w if w is None or v.base.sampled != "batch" else f(v, w)


def _not_reset(of: Any) -> Any:
    """γⁱ for the i-th step of all episodes together, over the sum that belongs there, γᵗ's, or
    over another: its own, the number of rows, or none."""

    def change(v: Any, w: Any) -> Any:
        if v.base.sampled != "episodes" or v.base.weighting != "discounted":
            return w
        rows = v.pipeline.rows
        return v["discount"] ** np.arange(len(w)) / of(v["discount"], rows)

    return {"row_weights": change}


def _all_times(gamma: Any, rows: Any) -> Any:
    """Σ γᵗ over the rows."""
    return np.sum(gamma**rows.times)


def _rows_by_time(f: Any, summed: bool = False) -> Any:
    """Weights of the steps of episodes times f(γ, t), summing to one again or not."""

    def change(v: Any, w: Any) -> Any:
        if v.base.sampled != "episodes":
            return w
        found = w * f(v["discount"], v.pipeline.rows.times)
        return found if summed or not found.any() else _sum_to_one(found)

    return change


ENTRIES = (
    Choice(
        "sampled", "mdp", "exact-expectation", "free",
        "Σ_s d(s) Σ_a π(a|s) …",
        "answers follow the MDP's own transition probabilities",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "sampled", "batch", "batch-average", "free",
        "1/N Σ_i … over the rows of problem.batch",
        "answers follow the rows; on an exact batch they equal the expectation",
        "nothing to mend: the batch is its own measure",
        visible=WEIGHED,
    ),
    Choice(
        "sampled", "episodes", "episode-average", "free",
        "Σ_τ Σ_t w_t … over problem.episodes",
        "answers follow the trajectories",
        "nothing to mend: the episodes are their own measure",
        visible=WEIGHED,
    ),
    Choice(
        "weighting", "discounted", "discounted-weighting", "free",
        "d(s) = (1−γ) Σ_t γᵗ Pr(s_t = s)",
        "the weighting of the policy gradient theorem (Sutton et al. 2000)",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "weighting", "undiscounted", "missing-gamma-t", "convention",
        "d(s) ∝ Σ_t Pr(s_t = s), while A keeps γ",
        "F, g and the direction change wherever parameters are shared between states; a tabular "
        "softmax direction cannot show it (every state has its own block)",
        "weigh step t by γᵗ, or declare Conventions(weighting='undiscounted')",
        note="states weighted without γᵗ",
        seen=(Seen("nearly every deep-RL code takes a plain mean over steps; Nota & Thomas 2020, "
                   "“Is the policy gradient a gradient?”", "textbook"),),
        visible=("state_distribution", *WEIGHED, *SOLVES[1:]),
        hidden=TABULAR,
    ),
    Choice(
        "weighting", "per_trajectory", "per-trajectory-mean", "convention",
        "weight 1/(N·T_i) for each step of trajectory i, instead of 1/ΣT_i",
        "short trajectories weigh more; needs trajectories of unequal length",
        "average over all steps at once, or declare Conventions(weighting='per_trajectory')",
        note="every trajectory weighs the same, whatever its length",
        visible=WEIGHED,
        hidden={"batch": "rows carry no trajectory", "mdp": "an expectation has no lengths"},
    ),
    Choice(
        "occupancy", "normalised", "normalised-occupancy", "free",
        "Σ_s d(s) = 1", "a probability distribution", "nothing to mend", default=True,
    ),
    Choice(
        "occupancy", "unnormalised", "unnormalised-occupancy", "free",
        "Σ_s μ(s) = 1/(1−γ)", "expected discounted visits", "nothing to mend",
        visible=("state_distribution",),
    ),
    Choice(
        "weights", "differ", "weights-differ-between-F-and-g", "bug",
        "F = Σ_s d_F(s) F_s with g = Σ_s d_g(s) g_s and d_F ≠ d_g (γᵗ in one of them only)",
        "each of F and g alone looks like a convention; x is wrong, on tabular policies by the "
        "factor d_g(s)/d_F(s) in each state",
        "use one state weighting for both",
        note="F and g weigh the states differently",
        seen=(sources.MUSHROOM_WEIGHTS,),
        visible=SOLVES,
        hidden={"fisher or policy_gradient alone": "each is right under a convention of its own"},
        change={"f_weights": _undiscounted},
        forms=({"g_weights": _undiscounted}, {"f_weights": _every_state}, {"f_weights": _ones},
               {"g_weights": _every_state}, {"g_weights": _ones},
               {"f_weights": lambda v, w: v["start"]}, {"g_weights": lambda v, w: v["start"]}),
        reads=("start",),
    ),
    Choice(
        "weights", "uniform", "uniform-state-weights", "bug",
        "1/S Σ_s … in place of Σ_s d(s) …",
        "g, F or KL as if every state were visited alike; also when weights are left out of a sum",
        "weigh state s by d(s)",
        note="every state counts alike: d(s) is missing",
        visible=WEIGHED, hidden=TABULAR,
        change={"weights": _every_state},
        forms=({"f_weights": _every_state}, {"g_weights": _every_state}, {"weights": _ones},
               {"f_weights": _ones}, {"g_weights": _ones}),
    ),
    Choice(
        "weights", "start", "start-state-weights", "bug",
        "Σ_s ρ(s) … in place of Σ_s d(s) …",
        "only the states where episodes start count; invisible at γ = 0",
        "weigh state s by its discounted visits d(s), not by ρ(s)",
        note="states weighted by where episodes start, not by how often they are visited",
        visible=("state_distribution", *WEIGHED),
        hidden={**TABULAR, "γ = 0": "d = ρ"},
        change={"weights": lambda v, w: v["start"],
                "state_distribution": lambda v, d: v["start"]},
        forms=({"f_weights": lambda v, w: v["start"]}, {"g_weights": lambda v, w: v["start"]},
               {"row_weights": _rows_by_time(lambda g, t: t == 0)},
               {"row_weights": _rows_by_time(lambda g, t: t == 0, summed=True)}),
        reads=("start",),
    ),
    Choice(
        "weights", "next", "next-state-weights", "bug",
        "dP_π in place of d: step t is counted in the state that it leads to",
        "an index shifted by one: s_{t+1} beside the action and the advantage of step t",
        "pair each action with the state it was taken in",
        visible=("state_distribution", *WEIGHED), hidden=TABULAR,
        change={"weights": lambda v, d: d @ v["chain"],
                "state_distribution": lambda v, d: d @ v["chain"]},
        forms=({"weights": _visits_of_next_rows, "row_scores": _scores_of_next_rows},),
        reads=("chain", "row_weights", "scores", "row_actions"),
        note="visits counted one step late: s′ in place of s",
    ),
    Choice(
        "occupancy", "first_skipped", "first-step-skipped", "bug",
        "(1−γ) Σ_{t≥1} γᵗ Pr(s_t = s)",
        "the mass of d falls to γ; an accumulator that starts after the first transition",
        "count the start state too: t runs from 0",
        note="the first step is not counted: the sum starts at t = 1",
        visible=("state_distribution", *WEIGHED),
        change={"occupancy": _first_step_skipped},
        forms=({"occupancy": lambda v, d: _first_step_skipped(v, d) / (1.0 - v["discount"])},
               {"g_weights": _first_step_skipped}, {"f_weights": _first_step_skipped},
               {"row_weights": _rows_by_time(lambda g, t: t > 0)},
               {"row_weights": _rows_by_time(lambda g, t: t > 0, summed=True)}),
        reads=("discount", "start"),
    ),
    Choice(
        "occupancy", "gamma_twice", "gamma-t-twice", "bug",
        "Σ_t γ²ᵗ Pr(s_t = s): γᵗ in the visits and once more in the weights",
        "later states weigh too little; invisible at γ = 0",
        "multiply by γᵗ once",
        note="γᵗ enters the state weights twice",
        visible=("state_distribution", *WEIGHED),
        hidden={**TABULAR, "γ = 0": "γᵗ is the same as γ²ᵗ"},
        change={"occupancy": _twice},
        forms=({"occupancy": lambda v, d: _twice(v, d) * (1.0 - v["discount"])
                / (1.0 - v["discount"] ** 2)},
               {"row_critic": _critic_twice},
               {"row_weights": _rows_by_time(lambda g, t: g**t)},
               {"row_weights": _rows_by_time(lambda g, t: g**t, summed=True)}),
        reads=("chain", "discount", "start"),
    ),
    Choice(
        "occupancy", "not_transposed", "occupancy-not-transposed", "bug",
        "(1−γ)(I − γP_π)⁻¹ρ in place of (1−γ)(I − γP_πᵀ)⁻¹ρ",
        "d does not sum to one; invisible when P_π is symmetric",
        "solve with the transpose: dᵀ = (1−γ)ρᵀ(I − γP_π)⁻¹",
        note="the occupancy solves with P where Pᵀ belongs",
        visible=("state_distribution", *WEIGHED),
        hidden={"symmetric P_π": "both systems are the same"},
        change={"occupancy": _not_transposed}, reads=("chain", "discount", "start"),
    ),
    Choice(
        "occupancy", "living", "terminal-states-dropped", "bug",
        "d(s) = 0 at terminal states",
        "d sums to less than one where episodes end; g does not change, because A = 0 there",
        "keep the absorbing state: once entered, its share of the discounted time is its own",
        note="terminal states have no weight",
        visible=("state_distribution", "fisher", "fisher_vector_product", "kl"),
        hidden={"policy_gradient": "A(s, ·) = 0 at a terminal state",
                "chains that never end": "there is no terminal state"},
        change={"occupancy": _living},
        forms=({"occupancy": lambda v, d: _sum_to_one(_living(v, d))},),
        families=("discrete",),
    ),
    Choice(
        "occupancy", "cut", "horizon-cut-off", "approximation",
        "d from the first T steps alone: (1−γ) Σ_{t<T} γᵗ Pr(s_t = s)",
        "an error of γᵀ: small for small γ, large near γ = 1",
        "solve for d, or sum until γᵀ is below round-off",
        note="the visits of the first {} steps only",
        visible=("state_distribution", *WEIGHED),
        change={"occupancy": _cut}, forms=({"occupancy": _cut_whole},),
        notes=("the visits of the first {} steps only, normalised",),
        reads=("chain", "discount", "start"),
        hidden={"T ≥ 500 for γ ≤ 19/20": "γᵀ is below 10⁻¹¹; where γ is nearer to one, d is wrong, "
                "but too few problems are of that kind to say how"},
        # the first step alone is the start distribution, which has a name
        number=Number("T", tuple(n for n in LENGTHS if n > 1), whole=True, valley=True),
    ),
    Choice(
        "start", "uniform", "starts-assumed-uniform", "bug",
        "ρ(s) = 1/S whatever the problem says",
        "d, J and everything weighted by d; V, Q and A are right",
        "use the initial distribution of the problem",
        note="episodes assumed to start uniformly",
        visible=("state_distribution", "objective", *WEIGHED), hidden=TABULAR,
        change={"start": lambda v, r: np.full(len(r), 1.0 / len(r))},
    ),
    Choice(
        "chain", "uniform_actions", "uniform-actions-in-the-chain", "bug",
        "P(s′|s) = 1/A Σ_a P(s′|s, a): the chain of the uniform policy",
        "V, Q, A and d of another policy than π; invisible for the uniform policy",
        "weigh the actions by π(a|s)",
        note="the chain takes uniform actions, not the policy's",
        visible=("value", "q_value", "advantage", "state_distribution", "objective", *WEIGHED),
        hidden={"uniform policy": "π(a|s) = 1/A"},
        change={"chain_pi": lambda v, p: np.full_like(p, 1.0 / p.shape[1])},
        forms=({"chain": lambda v, c: v["transitions"].mean(axis=1)},),
        reads=("transitions",), families=("discrete",),
    ),
    Choice(
        "row_weights", "time", "rows-weighted-as-time", "bug",
        "γⁱ for the i-th row of a batch, though rows are not steps of one trajectory",
        "answers change when the rows are reordered or duplicated",
        "a batch is its own measure: every row weighs 1/N; γᵗ needs the step's own t",
        note="rows of the batch weighted by γ to their index",
        visible=WEIGHED,
        change={"row_weights": _of_batch(_as_time)},
        forms=({"row_weights": _of_batch(lambda v, w: _sum_to_one(_as_time(v, w)))},
               {"row_weights": _of_batch(lambda v, w: len(w) * _as_time(v, w))},
               {"row_weights": _of_batch(
                   lambda v, w: (1.0 - v["discount"]) * len(w) * _as_time(v, w))}),
        reads=("discount",),
        hidden={"mdp": "an expectation has no rows"},
    ),
    Choice(
        "row_weights", "not_reset", "gamma-t-not-reset", "bug",
        "γᵗ with t counted on across episodes",
        "all episodes but the first hardly count; answers change when episodes are reordered",
        "start t at 0 in every episode",
        note="the exponent of γᵗ is not reset when an episode ends",
        visible=WEIGHED, change=_not_reset(_all_times),
        forms=(_not_reset(lambda g, rows: np.sum(g ** np.arange(len(rows.times)))),
               _not_reset(lambda g, rows: _all_times(g, rows) / rows.count),
               _not_reset(lambda g, rows: _all_times(g, rows) * len(rows.times) / rows.count)),
        reads=("discount",), families=("discrete",),
    ),
    Choice(
        "row_weights", "subsample", "fisher-state-subsample", "approximation",
        "F from every k-th row, g from all",
        "F changes with the order of the rows; g does not",
        "use all rows for F, or accept the noise knowingly",
        note="F uses one row in {} only",
        seen=(sources.BASELINES_SUBSAMPLE,),
        visible=("fisher", "fisher_vector_product", *SOLVES),
        hidden={"policy_gradient": "g uses all rows"},
        change={"f_weights": lambda v, w, k: _every_kth(v, w, k)},
        reads=("row_weights",),
        number=Number("k", (2, 3, 4, 5, 6, 8, 10), whole=True),
    ),
)  # fmt: skip


def _every_kth(v: Any, weights: Any, k: Any) -> Any:
    rows = v.pipeline.rows
    if rows is None:
        return weights
    kept = rows.states[:: int(k)]
    return np.bincount(kept, minlength=len(weights)) / len(kept)
