"""Values, returns and advantages: what multiplies the score."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources, values
from npgcheck.conformance.atlas.entry import Choice
from npgcheck.conformance.atlas.values import BASELINE, G, backward, sampled, tail


def _of_episode(v: Any, returns: Any) -> Any:
    """The return of the first step of its episode, at every step."""
    rows = v.pipeline.rows
    return returns[np.searchsorted(rows.episode, rows.episode)]


def _only_episodes(f: Any) -> Any:
    def change(v: Any, critic: Any) -> Any:
        return f(v, critic) if v.base.sampled == "episodes" else critic

    return change


def _weighed(f: Any) -> Any:
    """What is wrong beside γᵗ in the weights alone."""

    def change(v: Any, critic: Any) -> Any:
        return f(v, critic) if v.base.weighting == "discounted" else critic

    return change


@_only_episodes
def _reward_to_go(v: Any, critic: Any) -> Any:
    return backward(v, v["discount"])


@_only_episodes
def _bootstrapped(v: Any, critic: Any) -> Any:
    return backward(v, v["discount"], tail=tail(v))


@_only_episodes
def _bootstrapped_less_value(v: Any, critic: Any) -> Any:
    return _bootstrapped(v, critic) - v.pipeline.rows.values


@_weighed
@_only_episodes
def _whole_return(v: Any, critic: Any) -> Any:
    return _of_episode(v, backward(v, v["discount"]))


@_weighed
@_only_episodes
def _whole_bootstrapped(v: Any, critic: Any) -> Any:
    return _of_episode(v, _bootstrapped(v, critic))


@_only_episodes
def _undiscounted_to_go(v: Any, critic: Any) -> Any:
    return backward(v, 1.0)


@_only_episodes
def _undiscounted_bootstrapped(v: Any, critic: Any) -> Any:
    return backward(v, 1.0, tail=tail(v))


@_only_episodes
def _undiscounted_less_value(v: Any, critic: Any) -> Any:
    return _undiscounted_bootstrapped(v, critic) - v.pipeline.rows.values


@_weighed
@_only_episodes
def _from_the_start(v: Any, critic: Any) -> Any:
    return v["discount"] ** v.pipeline.rows.times * _reward_to_go(v, critic)


@_weighed
@_only_episodes
def _bootstrapped_from_the_start(v: Any, critic: Any) -> Any:
    return v["discount"] ** v.pipeline.rows.times * _bootstrapped(v, critic)


def _shifted_rewards(v: Any, r: Any) -> Any:
    """r_{t+1} in its place, zero after the last step of an episode."""
    rows = v.pipeline.rows
    last = np.append(rows.episode[1:] != rows.episode[:-1], True)
    return np.where(last, 0.0, np.roll(r, -1))


def _shifted_alone(v: Any, critic: Any) -> Any:
    return None if critic is None else _shifted_rewards(v, v.pipeline.rows.rewards)


def _following(v: Any) -> Any:
    """G_{t+1}, the return of the next step; V(s_T) after a time limit, 0 after termination."""
    rows = v.pipeline.rows
    last = np.append(rows.episode[1:] != rows.episode[:-1], True)
    returns = np.zeros(len(rows.rewards))
    tail = np.where(rows.terminated, 0.0, rows.next_values)
    for t in reversed(range(len(returns))):
        after = tail[t] if last[t] else returns[t + 1]
        returns[t] = rows.rewards[t] + v["discount"] * after
    return np.where(last, tail, np.append(returns[1:], 0.0))


@_only_episodes
def _next_reward(v: Any, critic: Any) -> Any:
    """γ G_{t+1} − V(s_t): the return without the reward of the step itself."""
    return v["discount"] * _following(v) - v.pipeline.rows.values


@_only_episodes
def _next_return(v: Any, critic: Any) -> Any:
    return _following(v)


@_only_episodes
def _next_return_less_value(v: Any, critic: Any) -> Any:
    return _following(v) - v.pipeline.rows.values


def _row_reward(v: Any, critic: Any) -> Any:
    rows = v.pipeline.rows
    return critic if rows is None else rows.rewards


def _row_swapped(v: Any, critic: Any) -> Any:
    rows = v.pipeline.rows
    return critic if rows is None else rows.rewards + v["discount"] * rows.values - rows.next_values


def _row_undiscounted(v: Any, critic: Any) -> Any:
    rows = v.pipeline.rows
    return critic if rows is None else rows.rewards + rows.next_values - rows.values


def _positive(v: Any, critic: Any) -> Any:
    return None if critic is None else np.maximum(critic, 0.0)


def _with_value(v: Any, critic: Any) -> Any:
    rows = v.pipeline.rows
    return critic if rows is None else rows.values


ENTRIES = (
    Choice("advantage", "advantage", "advantage-as-critic", "free", "Σ w φ A",
           "the rows' own advantages", "nothing to mend", default=True),
    Choice("advantage", "expected", "expected-advantage", "free",
           "Σ_i w_i E_{a~π}[φ A | s_i]", "the expectation over actions is exact",
           "nothing to mend", visible=G),
    Choice("advantage", "q", "q-as-critic", "free", "Σ w φ Q",
           "equal in expectation: any state baseline is", "nothing to mend",
           visible=("policy_gradient", "natural_gradient"), hidden=BASELINE,
           change={"critic": lambda v, c: v["q_value"]}, reads=("q_value",)),
    Choice("advantage", "centred", "batch-mean-baseline", "free",
           "Σ w φ (A − mean A), the mean over the batch",
           "equal in expectation: a constant baseline", "nothing to mend",
           visible=G, hidden=BASELINE),
    Choice("advantage", "td", "td-residual-as-critic", "free",
           "Σ w φ (r + γV(s′) − V(s))", "equal in expectation", "nothing to mend", visible=G,
           hidden={"exact g": "E[r + γV(s′) − V(s) | s, a] = A(s, a)"}),
    Choice("advantage", "q_td", "one-step-target-as-critic", "free", "Σ w φ (r + γV(s′))",
           "equal in expectation", "nothing to mend", visible=G,
           hidden={"exact g": "E[r + γV(s′) | s, a] = Q(s, a), and V is a baseline"}),
    Choice("advantage", "normalised", "normalised-advantages", "convention",
           "(A − mean A)/std A over the batch",
           "rescales g and x; exact proposals do not change",
           "declare Conventions(advantage='normalised')",
           note="advantages normalised over the batch", visible=(*G, "advantage_estimate"),
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"}),
    Choice("advantage", "normalised_sample", "normalised-advantages-sample-std", "convention",
           "(A − mean A)/std A over the batch, the standard deviation dividing by N − 1",
           "rescales g and x, by √((N−1)/N) more than the other standard deviation",
           "declare Conventions(advantage='normalised_sample')",
           note="advantages normalised over the batch, std with N − 1",
           seen=(sources.STD_EPS,), visible=G,
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"}),
    Choice("advantage", "unbiased", "unbiased-estimator", "approximation",
           "some estimate whose expectation is g",
           "equals g on every exact batch, differs on ordinary ones",
           "nothing to mend if the estimator is meant", weak=True,
           note="an unbiased estimate: exact on exact batches only", visible=G),
    Choice("critic", "reward_to_go", "reward-to-go", "free",
           "Σ_{k≥t} γ^(k−t) r_k in place of A_t, on episodes",
           "equal in expectation where episodes end by termination",
           "nothing to mend; a baseline lowers the variance", visible=G,
           change={"row_critic": _reward_to_go},
           forms=({"row_critic": _bootstrapped}, {"row_critic": _bootstrapped_less_value}),
           reads=("discount",)),
    Choice("critic", "whole_return", "whole-return", "bug",
           "γᵗ φ_t Σ_{k≥0} γᵏ r_k: the return of the whole episode, with γᵗ in the weights as well",
           "later steps count too little: the return is discounted from the start already; "
           "without γᵗ in the weights it is unbiased, of high variance",
           "sum the rewards from step t on: earlier ones cannot depend on a_t",
           note="the whole return of the episode multiplies every score", visible=G,
           change={"row_critic": _whole_return}, forms=({"row_critic": _whole_bootstrapped},),
           reads=("discount",)),
    Choice("critic", "from_start", "discounted-from-the-start", "bug",
           "Σ_{k≥t} γᵏ r_k, with γᵗ in the weights as well",
           "γᵗ twice: later steps count too little",
           "count the discount of a return from its own step: γ^(k−t)",
           note="returns are discounted from the start of the episode, and weighed by γᵗ again",
           visible=G, change={"row_critic": _from_the_start},
           forms=({"row_critic": _bootstrapped_from_the_start},), reads=("discount",)),
    Choice("critic", "undiscounted_return", "undiscounted-reward-to-go", "bug",
           "Σ_{k≥t} r_k without γ",
           "the gradient of another objective; on long episodes large",
           "weigh r_k by γ^(k−t)", note="returns are summed without γ", visible=G,
           change={"row_critic": _undiscounted_to_go},
           forms=({"row_critic": _undiscounted_bootstrapped},
                  {"row_critic": _undiscounted_less_value})),
    Choice("critic", "reward", "reward-as-critic", "bug",
           "Σ w φ r: the reward of the step alone",
           "nothing that follows is credited; right at γ = 0",
           "multiply the score with Q or A, not with the immediate reward",
           note="only the immediate reward is credited", visible=G,
           hidden={"γ = 0": "Q = r"},
           change={"critic": lambda v, c: v["rewards"], "row_critic": _row_reward},
           reads=("rewards",), families=("discrete",)),
    Choice("critic", "next_reward", "reward-of-the-next-step", "bug",
           "r_{t+1} beside s_t, a_t",
           "an index shifted by one in a rollout buffer",
           "store r_t with s_t and a_t", note="rewards are shifted by one step", visible=G,
           change={"row_critic": _next_reward},
           forms=({"row_critic": _next_return}, {"row_critic": _next_return_less_value},
                  {"row_critic": _shifted_alone}, *sampled(_shifted_rewards),
                  *sampled(lambda v, r: np.roll(r, -1))[:2]),
           reads=("discount",)),
    Choice("critic", "swapped", "td-error-swapped", "bug",
           "r + γV(s) − V(s′): V of the two states exchanged",
           "g is wrong on every rollout; right where V(s) = V(s′)",
           "δ = r + γV(s′) − V(s)", note="V(s) and V(s′) are exchanged in the residual",
           visible=G, change={"row_critic": _row_swapped}, reads=("discount",)),
    Choice("critic", "undiscounted_bootstrap", "residual-without-gamma", "bug",
           "r + V(s′) − V(s) as the critic",
           "γ is missing where the next value is used", "discount the next value by γ",
           note="V(s′) is not discounted in the residual", visible=G,
           change={"row_critic": _row_undiscounted}),
    Choice("critic", "positive", "positive-advantages-only", "bug",
           "max(A, 0) in place of A", "actions worse than average are never discouraged; "
           "E_π[max(A, 0)] ≠ 0, so g is biased", "use the advantage with its sign",
           note="negative advantages are cut off at zero", visible=G,
           change={"critic": _positive, "row_critic": _positive}),
    Choice("critic", "value", "value-as-critic", "bug", "Σ w φ V",
           "g vanishes in expectation: V is a baseline", "multiply with A or Q, not V",
           note="V(s) multiplies the score: a baseline, no signal", visible=G,
           change={"critic": lambda v, c: np.broadcast_to(v["value"][:, None], c.shape),
                   "row_critic": _with_value}, reads=("value",)),
    *values.ENTRIES,
)  # fmt: skip
