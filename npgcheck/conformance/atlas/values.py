"""Backups, baselines, rewards and the objective: what values are solved from and counted by."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas.entry import LENGTHS, Choice, Number, Seen, Silent

VALUES = ("value", "q_value", "advantage", "objective")
G = ("policy_gradient", "surrogate", "natural_gradient")
#: Sweeps after which a tolerance counts as not met.
MOST_SWEEPS = 3000
BASELINE = {"exact g": "Σ_a π(a|s) ∇log π(a|s) b(s) = 0 for every baseline b"}


def tail(v: Any) -> Any:
    """V(s_T) of the last step of an episode that ran into its time limit; zero elsewhere."""
    rows = v.pipeline.rows
    last = np.append(rows.episode[1:] != rows.episode[:-1], True)
    return np.where(last & ~np.asarray(rows.terminated, dtype=bool), rows.next_values, 0.0)


def backward(v: Any, discount: Any, rewards: Any = None, tail: Any = None) -> Any:
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


def sampled(rewards: Any, discount: Any = None) -> tuple[Any, ...]:
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
        return backward(v, gamma, r)

    def bootstrapped(v: Any, critic: Any, *number: Any) -> Any:
        if critic is None or v.base.sampled != "episodes":
            return critic
        _, r, gamma = parts(v, number)
        return backward(v, gamma, r, tail(v))

    def less_value(v: Any, critic: Any, *number: Any) -> Any:
        if critic is None or v.base.sampled != "episodes":
            return critic
        return bootstrapped(v, critic, *number) - v.pipeline.rows.values

    return tuple({"row_critic": f} for f in (residual, target, to_go, bootstrapped, less_value))


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


def _sweeps_until(newest: bool, in_place: bool = False) -> Any:
    """The sweep whose largest change is below ε, or the one before it, or sweeps in place."""

    def change(v: Any, value: Any, c: Any) -> Any:
        expected, step = (v["chain_pi"] * v["rewards"]).sum(axis=1), v["discount"] * v["chain"]
        if in_place:  # each state reads what the sweep has already changed
            behind = np.eye(len(step)) - np.tril(step, -1)
            expected = np.linalg.solve(behind, expected)
            step = np.linalg.solve(behind, np.triu(step))
        found = np.zeros(len(expected))
        for _ in range(MOST_SWEEPS):
            new = expected + step @ found
            if float(np.abs(new - found).max()) < c:
                return new if newest else found
            found = new
        raise Silent

    return change


def _value_at(v: Any, value: Any, c: Any) -> Any:
    """V under another discount, beside visits under the right one."""
    if not v.discrete:
        return np.full_like(value, np.nan)
    expected = (v["chain_pi"] * v["rewards"]).sum(axis=1)
    return np.linalg.solve(np.eye(len(expected)) - c * v["chain"], expected)


def _q_at(v: Any, q: Any, c: Any) -> Any:
    if not v.discrete:
        return np.full_like(q, np.nan)
    return v["rewards"] + c * v["transitions"] @ v["value"]


def _other_horizon(v: Any, g: Any, c: Any) -> Any:
    """1/(1−γ′) in place of 1/(1−γ)."""
    return None if g is None else g * (1.0 - v.reference.discount) / (1.0 - c)


def _discounted_after(v: Any, critic: Any, bootstrapped: bool) -> Any:
    """γ (r_t + what follows): every reward one step too late."""
    if critic is None or v.base.sampled != "episodes":
        return critic
    from_reward = v["discount"] * v.pipeline.rows.rewards
    return backward(v, v["discount"], from_reward, tail(v) if bootstrapped else None)


def _transposed_backup(v: Any, q: Any) -> Any:
    """P[s′, a, s] where P[s, a, s′] belongs, in Q alone."""
    back = np.einsum("tas,t->sa", v["transitions"], v["value"])
    return v["rewards"] + v["discount"] * back


def _baseline_added(v: Any, critic: Any) -> Any:
    rows = v.pipeline.rows
    return critic if rows is None else critic + 2.0 * rows.values


ENTRIES = (
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
                  {"value": _value_at, "q_value": _q_at},
                  *sampled(lambda v, r, c: r, lambda v, c: c)),
           reads=("discount", "chain", "chain_pi", "rewards", "transitions"),
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
    Choice("backup", "tolerance", "value-sweeps-stopped-at-a-tolerance", "approximation",
           "V after the first sweep of V ← r_π + γP_πV that changes no state by ε or more",
           "an error of up to γε/(1−γ), which ε alone does not bound near γ = 1",
           "solve (I − γP_π)V = r_π, or stop where γε/(1−γ) is below round-off",
           note="sweeps of V stop at changes below {}", visible=(*VALUES, *G),
           seen=(Seen("Sutton & Barto (2018), section 4.1: iterative policy evaluation",
                      "textbook"),),
           change={"value": _sweeps_until(newest=True)},
           forms=({"value": _sweeps_until(newest=False)},
                  {"value": _sweeps_until(newest=True, in_place=True)}),
           reads=("chain", "chain_pi", "rewards", "discount"),
           number=Number("ε", tuple(m * 10.0**-k for k in range(9, 1, -1) for m in (1, 5))),
           families=("discrete",)),
    Choice("rewards", "discounted", "reward-discounted-once-more", "bug",
           "Σ γ^(t+1) r_t: the first reward is discounted",
           "V, Q, A, J are γ times too small", "the first reward has weight γ⁰ = 1",
           note="the first reward is discounted: V is γ times too small",
           visible=(*VALUES, *G),
           change={"rewards": lambda v, r: v["discount"] * r},
           forms=({"row_critic": lambda v, c: _discounted_after(v, c, bootstrapped=False)},
                  {"row_critic": lambda v, c: _discounted_after(v, c, bootstrapped=True)}),
           reads=("discount",), families=("discrete",)),
    Choice("rewards", "clipped", "clipped-rewards", "bug",
           "r clipped to [−c, c], or to [0, c]",
           "V, Q, A, J of another reward; right where rewards are small",
           "keep the reward, or judge the clipped problem", note="rewards clipped to ±{}",
           visible=(*VALUES, *G),
           change={"rewards": lambda v, r, c: np.clip(r, -c, c)},
           forms=(*sampled(lambda v, r, c: np.clip(r, -c, c)),
                  {"rewards": lambda v, r, c: np.clip(r, 0.0, c)}),
           notes=(*(("rewards clipped to ±{}",) * 5), "rewards clipped to [0, {}]"),
           reads=("discount",),
           number=Number("c", (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)), families=("discrete",)),
    Choice("rewards", "signs", "reward-signs", "bug", "sign(r) in place of r",
           "V, Q, A, J of another reward", "keep the reward, or judge the clipped problem",
           note="rewards replaced by their signs", visible=(*VALUES, *G),
           change={"rewards": lambda v, r: np.sign(r)},
           forms=sampled(lambda v, r: np.sign(r)), reads=("discount",), families=("discrete",)),
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
           forms=({"objective": lambda v, j: float(
               v["occupancy"] @ v["value"]) / (1.0 - v["discount"])},),
           reads=("occupancy", "value")),
)  # fmt: skip
