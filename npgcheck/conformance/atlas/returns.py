"""Values, returns and advantages: what multiplies the score."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources
from npgcheck.conformance.atlas.entry import LENGTHS, Choice, Number, Silent

VALUES = ("value", "q_value", "advantage", "objective")
G = ("policy_gradient", "surrogate", "natural_gradient")
BASELINE = {"exact g": "Σ_a π(a|s) ∇log π(a|s) b(s) = 0 for every baseline b"}


def _bootstrap(v: Any, q: Any) -> Any:
    return v["rewards"] + v["transitions"] @ v["value"]


def _optimal(v: Any, value: Any) -> Any:
    from npgcheck.exact import optimal

    return np.asarray(optimal(v.problem.mdp).value)


def _sweeps(v: Any, value: Any, count: Any) -> Any:
    """Σ_{t<k} (γP)ᵗ r = V − (γP)ᵏ V, a power of P."""
    expected, k = (v["chain_pi"] * v["rewards"]).sum(axis=1), int(count)
    chain, gamma = v["chain"], v["discount"]
    whole = np.linalg.solve(np.eye(len(value)) - gamma * chain, expected)
    return whole - gamma**k * (np.linalg.matrix_power(chain, k) @ whole)


def _tail(v: Any) -> Any:
    """V(s_T) of the last step of an episode that ran into its time limit; zero elsewhere."""
    rows = v.pipeline.rows
    last = np.append(rows.episode[1:] != rows.episode[:-1], True)
    return np.where(last & ~np.asarray(rows.terminated, dtype=bool), rows.next_values, 0.0)


def _backward(v: Any, discount: Any, rewards: Any = None, tail: Any = None) -> Any:
    """Per row: r_t + γ′ times what follows in its own episode, from the tail on (zero if None)."""
    rows = v.pipeline.rows
    rewards = rows.rewards if rewards is None else rewards
    tail = np.zeros(len(rewards)) if tail is None else tail
    found, after = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        last = t + 1 == len(rewards) or rows.episode[t + 1] != rows.episode[t]
        after = rewards[t] + discount * (tail[t] if last else after)
        found[t] = after
    return found


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
    return _backward(v, v["discount"])


@_only_episodes
def _bootstrapped(v: Any, critic: Any) -> Any:
    return _backward(v, v["discount"], tail=_tail(v))


@_only_episodes
def _bootstrapped_less_value(v: Any, critic: Any) -> Any:
    return _bootstrapped(v, critic) - v.pipeline.rows.values


@_weighed
@_only_episodes
def _whole_return(v: Any, critic: Any) -> Any:
    return _of_episode(v, _backward(v, v["discount"]))


@_weighed
@_only_episodes
def _whole_bootstrapped(v: Any, critic: Any) -> Any:
    return _of_episode(v, _bootstrapped(v, critic))


@_only_episodes
def _undiscounted_to_go(v: Any, critic: Any) -> Any:
    return _backward(v, 1.0)


@_only_episodes
def _undiscounted_bootstrapped(v: Any, critic: Any) -> Any:
    return _backward(v, 1.0, tail=_tail(v))


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


def _sampled(rewards: Any, discount: Any = None) -> tuple[Any, ...]:
    """What is made of the rewards of the rows: a residual, its target, and returns (bootstrapped
    at a time limit, or not; less V, or not), from other rewards or under another discount.

    ``rewards(v, r, *number)`` and ``discount(v, *number)``.
    """

    def parts(v: Any, number: Any) -> Any:
        rows, gamma = v.pipeline.rows, v["discount"]
        other = gamma if discount is None else discount(v, *number)
        r = rewards(v, rows.rewards, *number)
        if other == gamma and np.array_equal(r, rows.rewards):
            raise Silent  # with nothing changed only the kind of critic would be said
        return rows, r, other

    def target(v: Any, critic: Any, *number: Any) -> Any:
        if critic is None:
            return None
        rows, r, gamma = parts(v, number)
        return r + gamma * rows.next_values

    def residual(v: Any, critic: Any, *number: Any) -> Any:
        return None if critic is None else target(v, critic, *number) - v.pipeline.rows.values

    def to_go(v: Any, critic: Any, *number: Any) -> Any:
        if critic is None or v.base.sampled != "episodes":
            return critic
        _, r, gamma = parts(v, number)
        return _backward(v, gamma, r)

    def bootstrapped(v: Any, critic: Any, *number: Any) -> Any:
        if critic is None or v.base.sampled != "episodes":
            return critic
        _, r, gamma = parts(v, number)
        return _backward(v, gamma, r, _tail(v))

    def less_value(v: Any, critic: Any, *number: Any) -> Any:
        if critic is None or v.base.sampled != "episodes":
            return critic
        return bootstrapped(v, critic, *number) - v.pipeline.rows.values

    return tuple({"row_critic": f} for f in (residual, target, to_go, bootstrapped, less_value))


def _other_horizon(v: Any, g: Any, c: Any) -> Any:
    """1/(1−γ′) in place of 1/(1−γ)."""
    return None if g is None else g * (1.0 - v.reference.discount) / (1.0 - c)


def _shifted_rewards(v: Any, r: Any) -> Any:
    """r_{t+1} in its place, zero after the last step of an episode."""
    rows = v.pipeline.rows
    last = np.append(rows.episode[1:] != rows.episode[:-1], True)
    return np.where(last, 0.0, np.roll(r, -1))


def _shifted_alone(v: Any, critic: Any) -> Any:
    return None if critic is None else _shifted_rewards(v, v.pipeline.rows.rewards)


def _discounted_after(v: Any, critic: Any, tail: bool) -> Any:
    """γ (r_t + what follows): every reward one step too late."""
    if critic is None or v.base.sampled != "episodes":
        return critic
    return _backward(v, v["discount"], v["discount"] * v.pipeline.rows.rewards,
                     _tail(v) if tail else None)  # fmt: skip


def _transposed_backup(v: Any, q: Any) -> Any:
    """P[s′, a, s] where P[s, a, s′] belongs, in Q alone."""
    back = np.einsum("tas,t->sa", v["transitions"], v["value"])
    return v["rewards"] + v["discount"] * back


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


def _baseline_added(v: Any, critic: Any) -> Any:
    rows = v.pipeline.rows
    return critic if rows is None else critic + 2.0 * rows.values


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
                  {"row_critic": _shifted_alone}, *_sampled(_shifted_rewards),
                  *_sampled(lambda v, r: np.roll(r, -1))[:2]),
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
    Choice("backup", "no_gamma", "bootstrap-without-gamma", "bug",
           "Q = r + Σ P V in place of r + γ Σ P V",
           "Q and A; V may be right", "discount what follows: γ Σ_s′ P(s′|s,a) V(s′)",
           note="γ is missing in Q = r + γPV", visible=("q_value", "advantage", *G),
           change={"q_value": _bootstrap}, reads=("rewards", "transitions", "value"),
           families=("discrete",)),
    Choice("backup", "transposed", "transitions-transposed", "bug",
           "P[s′, a, s] read as P[s, a, s′]",
           "rows do not sum to one: V, Q, d are wrong by different factors; invisible for "
           "symmetric P", "P[s, a, s′] is the probability of s′ given s and a",
           note="the transition table is read with s and s′ exchanged",
           visible=(*VALUES, "state_distribution", *G), hidden={"symmetric P": "Pᵀ = P"},
           change={"transitions": lambda v, p: np.transpose(p, (2, 1, 0))},
           forms=({"chain": lambda v, c: c.T}, {"q_value": _transposed_backup}),
           reads=("rewards", "transitions", "value", "discount"), families=("discrete",)),
    Choice("backup", "optimal", "optimal-value", "bug",
           "V* = max_a (r + γPV*) in place of V^π",
           "a maximum where the expectation over π belongs; equal for the greedy policy only",
           "average over the policy: V = Σ_a π (r + γPV)",
           note="values of the optimal policy, not of the policy that is given",
           visible=(*VALUES, *G), change={"value": _optimal}, families=("discrete",)),
    Choice("baseline", "greedy", "greedy-baseline", "bug",
           "A = Q − max_a Q", "a state baseline: g is right, the table of advantages is not A",
           "A = Q − V is what advantage asks for", note="max_a Q is subtracted, not V",
           visible=("advantage",), hidden=BASELINE,
           change={"advantage": lambda v, a: v["q_value"] - v["q_value"].max(1, keepdims=True)},
           reads=("q_value",), families=("discrete",)),
    Choice("baseline", "uniform", "uniform-mean-baseline", "bug",
           "A = Q − 1/A Σ_a Q", "a state baseline: g is right, the table of advantages is not A",
           "subtract V = Σ_a π Q", note="the plain mean of Q is subtracted, not V",
           visible=("advantage",), hidden=BASELINE,
           change={"advantage": lambda v, a: v["q_value"] - v["q_value"].mean(1, keepdims=True)},
           reads=("q_value",), families=("discrete",)),
    Choice("baseline", "added", "baseline-added", "bug", "A = Q + V",
           "the table of advantages; g is right in expectation", "subtract the baseline",
           note="V is added to Q, not subtracted", visible=("advantage",), hidden=BASELINE,
           change={"advantage": lambda v, a: v["q_value"] + v["value"][:, None]},
           forms=({"row_critic": _baseline_added},),
           reads=("q_value", "value"), families=("discrete",)),
    Choice("baseline", "negated", "advantage-negated", "bug", "A = V − Q",
           "A and g change their sign", "A = Q − V", note="A = V − Q: the sign is flipped",
           visible=("advantage", *G, "update", "trust_region_proposal"),
           change={"advantage": lambda v, a: -a,
                   "row_critic": lambda v, c: None if c is None else -c}),
    Choice("discount", "", "wrong-discount", "bug", "another γ′ than the problem's",
           "V, Q, A, J and d follow γ′; problems whose γ is γ′ are right",
           "read the discount from the problem: problem.mdp.discount",
           note="a discount of {}, whatever the problem says",
           visible=(*VALUES, "state_distribution", *G),
           change={"discount": lambda v, g, c: c},
           forms=({"discount": lambda v, g, c: c, "g": _other_horizon},
                  *_sampled(lambda v, r, c: r, lambda v, c: c)), reads=("discount",),
           number=Number("γ′", (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995,
                                0.999), not_values=(1.0,))),
    Choice("backup", "sweeps", "value-sweeps-cut-off", "approximation",
           "V after k sweeps of V ← r_π + γP_πV from zero",
           "an error of γᵏ: small for small γ, large near γ = 1",
           "solve (I − γP_π)V = r_π, or sweep until γᵏ is below round-off",
           note="V after {} sweeps", visible=(*VALUES, *G),
           hidden={"k ≥ 500 for γ ≤ 19/20": "γᵏ is below 10⁻¹¹; where γ is nearer to one, V is "
                   "wrong, but too few problems are of that kind to say how"},
           change={"value": _sweeps}, reads=("chain", "chain_pi", "rewards", "discount"),
           number=Number("k", LENGTHS, whole=True, valley=True), families=("discrete",)),
    Choice("rewards", "discounted", "reward-discounted-once-more", "bug",
           "Σ γ^(t+1) r_t: the first reward is discounted",
           "V, Q, A, J are γ times too small", "the first reward has weight γ⁰ = 1",
           note="the first reward is discounted: V is γ times too small",
           visible=(*VALUES, *G),
           change={"rewards": lambda v, r: v["discount"] * r},
           forms=({"row_critic": lambda v, c: _discounted_after(v, c, tail=False)},
                  {"row_critic": lambda v, c: _discounted_after(v, c, tail=True)}),
           reads=("discount",), families=("discrete",)),
    Choice("rewards", "clipped", "clipped-rewards", "bug",
           "r clipped to [−c, c]", "V, Q, A, J of another reward; right where rewards are small",
           "keep the reward, or judge the clipped problem", note="rewards clipped to ±{}",
           visible=(*VALUES, *G),
           change={"rewards": lambda v, r, c: np.clip(r, -c, c)},
           forms=_sampled(lambda v, r, c: np.clip(r, -c, c)), reads=("discount",),
           number=Number("c", (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)), families=("discrete",)),
    Choice("rewards", "signs", "reward-signs", "bug", "sign(r) in place of r",
           "V, Q, A, J of another reward", "keep the reward, or judge the clipped problem",
           note="rewards replaced by their signs", visible=(*VALUES, *G),
           change={"rewards": lambda v, r: np.sign(r)},
           forms=_sampled(lambda v, r: np.sign(r)), reads=("discount",), families=("discrete",)),
    Choice("rewards", "column_order", "reward-table-in-column-order", "bug",
           "r read in Fortran order: the (S, A) table reshaped from (A, S)",
           "V, Q, A, J; invisible for S = A = 1", "rewards[s, a] has the state first",
           note="the reward table is read in column order", visible=(*VALUES, *G),
           change={"rewards": lambda v, r: r.T.reshape(r.shape)},
           forms=({"rewards": lambda v, r: r.ravel().reshape(r.shape, order="F")},),
           families=("discrete",)),
    Choice("objective", "uniform", "objective-over-uniform-states", "bug", "J = 1/S Σ_s V(s)",
           "J alone; right where ρ is uniform", "J = Σ_s ρ(s) V(s)",
           note="J averages V over all states, not over the start states",
           visible=("objective",),
           change={"objective": lambda v, j: float(v["value"].mean())}, reads=("value",)),
    Choice("objective", "per_step", "objective-per-step", "free",
           "J = Σ_s d(s) r_π(s) = (1−γ) Σ_s ρ(s) V(s)",
           "J is (1−γ) times the contract's; its gradient is (1−γ)∇J",
           "divide by 1−γ where J is asked for", note="the mean reward per step, (1−γ)J",
           visible=("objective",),
           change={"objective": lambda v, j: (1.0 - v["discount"]) * j}, reads=("discount",)),
    Choice("objective", "occupancy", "objective-over-the-occupancy", "bug", "J = Σ_s d(s) V(s)",
           "J alone", "V already holds the whole future: average it over the start states",
           note="J averages V over the visited states", visible=("objective",),
           change={"objective": lambda v, j: float(v["occupancy"] @ v["value"])},
           reads=("occupancy", "value")),
)  # fmt: skip
