"""Generalised advantage estimates: Â_t = Σ_l (γλ)^l δ_{t+l} (Schulman et al. 2016, eq. 16)."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources
from npgcheck.conformance.atlas.entry import Choice

SHOWS = ("advantage_estimate",)


def residuals(
    rewards: Any,
    values: Any,
    after: Any,
    terminated: Any,
    truncated: Any,
    discount: Any,
    lam: Any,
) -> Any:
    """δ_t = r + γ(1 − terminated)V(s′) − V(s)."""
    return rewards + discount * np.where(terminated, 0.0, after) - values


def sums(delta: Any, ends: Any, decay: Any) -> Any:
    """Σ_l decay^l δ_{t+l} up to the next end, backwards."""
    found, running = [], 0.0
    steps = zip(np.asarray(delta).tolist(), np.asarray(ends).tolist(), strict=True)
    for step, end in reversed(tuple(steps)):
        running = step + decay * (0.0 if end else running)
        found.append(running)
    return np.array(found[::-1])


def with_other(args: Any, discount: Any = None, lam: Any = None) -> Any:
    """Residuals, ends and decay under another γ or λ than the one that was asked."""
    rewards, values, after, terminated, truncated, asked, asked_lam = args
    gamma = asked if discount is None else discount
    ends = np.asarray(terminated, bool) | np.asarray(truncated, bool)
    found = residuals(rewards, values, after, terminated, truncated, gamma, asked_lam)
    return found, ends, gamma * (asked_lam if lam is None else lam)


def in_residuals(args: Any, discount: Any) -> Any:
    """The estimate with another γ in the residuals alone."""
    _delta, ends, decay = _usual(args)
    rewards, values, after, terminated, truncated, _, lam = args
    delta = residuals(rewards, values, after, terminated, truncated, discount, lam)
    return sums(delta, ends, decay)


def in_trace(args: Any, discount: Any) -> Any:
    """The estimate with another γ where later residuals are weighed, and nowhere else."""
    delta, ends, _decay = _usual(args)
    return sums(delta, ends, discount * args[6])


def usual(args: Any) -> Any:
    """The right estimate, to be changed afterwards."""
    return sums(*_usual(args))


def _usual(args: Any) -> Any:
    return with_other(args)


def _with_flags(args: Any, terminated: Any, truncated: Any) -> Any:
    """The estimate with other flags."""
    return usual((*args[:3], terminated, truncated, *args[5:]))


def _late(args: Any, _: Any) -> Any:
    """The flags of step t are applied at step t + 1: done is read one step late."""
    late = (np.concatenate([[False], np.asarray(f, bool)[:-1]]) for f in args[3:5])
    return _with_flags(args, *late)


def _late_reset(args: Any, _: Any) -> Any:
    delta, ends, decay = _usual(args)
    return sums(delta, np.concatenate([[False], ends[:-1]]), decay)


def _late_rolled(args: Any, _: Any) -> Any:
    """The flags of the last step wrap round to the first."""
    return _with_flags(args, *(np.roll(np.asarray(f, bool), 1) for f in args[3:5]))


def _late_reset_rolled(args: Any, _: Any) -> Any:
    delta, ends, decay = _usual(args)
    return sums(delta, np.roll(ends, 1), decay)


def _early_reset(args: Any, _: Any) -> Any:
    delta, ends, decay = _usual(args)
    return sums(delta, np.concatenate([ends[1:], [True]]), decay)


def _next_row(args: Any, _: Any) -> Any:
    """The flags of step t + 1 are applied at step t."""
    return _with_flags(args, *(np.append(np.asarray(f, bool)[1:], False) for f in args[3:5]))


def _next_row_repeated(args: Any, _: Any) -> Any:
    """The flags of step t + 1 are applied at step t, the last ones twice."""
    return _with_flags(args, *(np.append(np.asarray(f, bool)[1:], bool(f[-1])) for f in args[3:5]))


def _next_row_rolled(args: Any, _: Any) -> Any:
    """The flags of step t + 1 are applied at step t, the first ones at the last step."""
    return _with_flags(args, *(np.roll(np.asarray(f, bool), -1) for f in args[3:5]))


def _returns(args: Any, _: Any) -> Any:
    return sums(*_usual(args)) + args[1]


def _next_returns(args: Any, _: Any) -> Any:
    return usual(args) + args[2]


def _next_index(last: Any) -> Any:
    """V(s′) read as values[t + 1]: after a time-out that is the state after the reset."""

    def change(args: Any, _: Any) -> Any:
        after = np.append(args[1][1:], last(args))
        return usual((*args[:2], after, *args[3:]))

    return change


def _rollout_end(args: Any, _: Any) -> Any:
    terminated = np.array(args[3], bool)
    terminated[-1] = True
    return sums(
        residuals(args[0], args[1], args[2], terminated, args[4], args[5], args[6]),
        _usual(args)[1],
        args[5] * args[6],
    )


def _last_zero(args: Any, _: Any) -> Any:
    delta, ends, decay = _usual(args)
    delta = delta.copy()
    delta[-1] = 0.0
    return sums(delta, ends, decay)


def _last_of_episodes(args: Any, _: Any) -> Any:
    """Every episode by itself, and each of them without its last residual."""
    delta, ends, decay = _usual(args)
    last = ends.copy()
    last[-1] = True
    return sums(np.where(last, 0.0, delta), ends, decay)


def _last_alone(args: Any, _: Any) -> Any:
    """The steps before it are right."""
    found = usual(args)
    found[-1] = 0.0
    return found


def _swapped(args: Any, _: Any) -> Any:
    rewards, values, after, terminated, truncated, gamma, lam = args
    delta = residuals(rewards, values, after, terminated, truncated, lam, gamma)
    return sums(delta, _usual(args)[1], gamma * lam)


def _only_terminations(args: Any, _: Any) -> Any:
    delta, _ends, decay = _usual(args)
    return sums(delta, np.asarray(args[3], bool), decay)


def _forwards(args: Any, _: Any) -> Any:
    delta, ends, decay = _usual(args)
    found, running = np.zeros(len(delta)), 0.0
    for t in range(len(delta)):
        running = delta[t] + decay * running
        found[t] = running
        if ends[t]:
            running = 0.0
    return found


def _forwards_reset(args: Any, _: Any) -> Any:
    """What came before is dropped at the step that ends an episode, not after it."""
    delta, ends, decay = _usual(args)
    return sums(delta[::-1], ends[::-1], decay)[::-1]


def _no_baseline(args: Any, _: Any) -> Any:
    delta, ends, decay = _usual(args)
    return sums(delta + args[1], ends, decay)


def _baseline_once(args: Any, _: Any) -> Any:
    """−V(s) beside the sum, not in its residuals."""
    return _no_baseline(args, _) - args[1]


def _residual_alone(args: Any, _: Any) -> Any:
    return residuals(*args)


def _negated(args: Any, _: Any) -> Any:
    return -sums(*_usual(args))


def _no_discount_but_lambda(args: Any, _: Any) -> Any:
    delta, ends, _decay = _usual(args)
    return sums(delta, ends, args[5])


def _weight_missing(args: Any, _: Any) -> Any:
    delta, ends, _decay = _usual(args)
    return sums(delta, ends, 1.0)


def _gae(
    name: str,
    formula: str,
    shows: str,
    mend: str,
    change: Any,
    *forms: Any,
    note: str,
    seen: Any = None,
) -> Any:
    more = {} if seen is None else {"seen": seen}
    return Choice(
        "episode_ends", name, name, "bug", formula, shows, mend, note=note,
        visible=SHOWS, change={"gae": change}, forms=tuple({"gae": f} for f in forms), **more,
    )  # fmt: skip


ENTRIES = (
    Choice("episode_ends", "timeout_as_terminal", "timeout-as-terminal", "bug",
           "δ_T = r − V(s) where a time limit cut the episode, without γV(s′)",
           "wrong from the time-out backwards; nothing shows without truncated steps",
           "drop the bootstrap on termination only: r + γ(1 − terminated)V(s′) − V(s)",
           note="a time-out is treated as a termination: γV(s′) is missing there",
           seen=(sources.TIMEOUT,), visible=SHOWS,
           hidden={"rollouts without time-outs": "terminated and done are the same"}),
    Choice("episode_ends", "bootstrap_after_termination", "bootstrap-after-termination", "bug",
           "δ_T = r + γV(s′) − V(s) although the episode terminated",
           "wrong from the termination backwards",
           "r + γ(1 − terminated)V(s′) − V(s)",
           note="γV(s′) is added after a termination", visible=SHOWS,
           hidden={"rollouts without terminations": "the factor 1 − terminated is one"}),
    Choice("episode_ends", "leak", "gae-leaks-across-episodes", "bug",
           "the sum runs on into the next episode",
           "wrong before every end of an episode when λ > 0; right at λ = 0",
           "reset the running sum where terminated or truncated",
           note="the sum of residuals runs on into the next episode",
           seen=(sources.GAE_LEAK,), visible=SHOWS,
           hidden={"λ = 0": "nothing is summed", "one episode": "there is no next one"}),
    Choice("episode_ends", "no_discount_in_delta", "gae-delta-without-gamma", "bug",
           "δ = r + V(s′) − V(s)", "wrong wherever V(s′) is used",
           "discount the bootstrap by γ", note="V(s′) is not discounted in the residual",
           visible=SHOWS),
    Choice("episode_ends", "no_discount_in_trace", "gae-trace-without-gamma", "bug",
           "Σ λ^l δ_{t+l} in place of Σ (γλ)^l δ_{t+l}", "right at λ = 0 and on the last step",
           "weigh later residuals by γλ", note="later residuals are weighed by λ alone, not by γλ",
           visible=SHOWS, hidden={"λ = 0": "nothing is summed"}),
    _gae("gae-leaks-at-time-outs", "the running sum is reset at terminations only",
         "wrong before every time-out; a time-out is the end of an episode too",
         "reset the running sum where terminated or truncated", _only_terminations,
         note="the sum of residuals runs on after a time-out", seen=(sources.GAE_LEAK,)),
    _gae("bootstrap-from-reset-state", "V(s_{t+1}) = values[t+1], which after a time-out is the "
         "first state of the next episode", "wrong at time-outs; right inside an episode",
         "use next_values, the value of the state that was left behind",
         _next_index(lambda args: args[2][-1]), _next_index(lambda args: 0.0),
         _next_index(lambda args: args[1][0]),
         note="after a time-out the value of the next episode's first state is used",
         seen=(sources.RESET_STATE,)),
    _gae("gae-lambda-ignored", "λ = 1 (or 0), whatever is asked",
         "right for that λ only", "weigh later residuals by (γλ)^l", _no_discount_but_lambda,
         _residual_alone, note="λ is ignored"),
    _gae("gae-weight-missing", "Σ_l δ_{t+l} without (γλ)^l", "right only for γλ = 1",
         "weigh later residuals by (γλ)^l", _weight_missing, note="later residuals weigh 1"),
    _gae("gae-gamma-lambda-swapped", "δ = r + λV(s′) − V(s)", "right for γ = λ",
         "γ discounts the bootstrap; λ enters the trace only", _swapped,
         note="γ and λ are exchanged"),
    _gae("done-flag-one-step-late", "the flags of step t−1 are used at step t",
         "wrong at every end of an episode and before it",
         "done[t] says whether the transition from step t ended the episode", _late,
         _late_reset, _late_rolled, _late_reset_rolled,
         note="episode ends are noticed one step late"),
    _gae("done-flag-one-step-early", "the running sum is reset by the flags of step t+1",
         "wrong just before every end", "reset at step t by the flags of step t", _early_reset,
         _next_row, _next_row_repeated, _next_row_rolled,
         note="episode ends are noticed one step early"),
    _gae("gae-returns-added", "Â + V: the λ-return, or Â + V(s′)",
         "larger by V(s_t) everywhere",
         "return the advantage; the λ-return is the target of the critic", _returns,
         _next_returns, note="λ-returns Â + V are returned, not advantages"),
    _gae("rollout-end-as-terminal", "the last step of the rollout is treated as a termination",
         "wrong from the last end of an episode on", "bootstrap the last step with next_values",
         _rollout_end, note="the bootstrap at the end of the rollout is missing"),
    _gae("last-step-left-at-zero",
         "Â_T = 0: the loop starts one step before the last, of the rollout or of every episode",
         "wrong on the last episode", "run the loop over every step", _last_zero,
         _last_alone, _last_of_episodes, note="the last residual is left out"),
    _gae("gae-accumulated-forwards", "Σ of the residuals before t, not after it",
         "right on the first step of an episode at most", "accumulate from the last step back",
         _forwards, _forwards_reset, note="the residuals are summed forwards in time"),
    _gae("gae-baseline-missing", "δ = r + γV(s′), without −V(s)", "larger by sums of V",
         "subtract V(s_t) in the residual", _no_baseline, _baseline_once,
         note="−V(s) is missing in the residual"),
    _gae("gae-negated", "−Â", "the sign is flipped", "Â = Σ (γλ)^l δ", _negated,
         note="the sign of the estimate is flipped"),
)  # fmt: skip
