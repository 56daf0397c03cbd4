"""The policy read otherwise: its temperature, rows, actions, features and logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import density
from npgcheck.conformance.atlas.density import POLICY, SCORED
from npgcheck.conformance.atlas.entry import Choice, Number


def _normalised(v: Any) -> Any:
    x = np.asarray(v.problem.observations, dtype=float)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)


def _standardised(ddof: int, added: float, axis: int = 0) -> Any:
    """(o − mean)/(std + ε) over the states, or over the features of each (axis 1), the standard
    deviation dividing by their number − ddof."""

    def features(v: Any) -> Any:
        x = np.asarray(v.problem.observations, dtype=float)
        if x.shape[axis] <= ddof:
            return np.full_like(x, np.nan)
        std = x.std(axis=axis, ddof=ddof, keepdims=True)
        gap = x - x.mean(axis=axis, keepdims=True)
        return gap / (std + added if added else np.maximum(std, 1e-8))

    return features


def _with_features(features: Any) -> Any:
    def slopes(v: Any) -> Any:
        return v.reference.policy.mean_log_std_jacobian(v.reference.theta, features(v))[0]

    return {
        "logits": lambda v, z: v.reference.policy.logits(v.theta, features(v)),
        "jacobian": lambda v, j: v.reference.policy.logits_jacobian(v.reference.theta, features(v)),
        "mean": lambda v, m: (
            m if v.discrete else v.reference.policy.mean_log_std(v.theta, features(v))[0]
        ),
        "mean_jacobian": lambda v, j: j if v.discrete else slopes(v),
    }


def _roll_states(shift: Any) -> Any:
    return {"logits": lambda v, z: np.roll(z, shift, axis=0)}


def _roll_actions(shift: Any) -> Any:
    return {
        "log_answer": lambda v, z: np.roll(z, shift, axis=1),
        "scores": lambda v, f: np.roll(f, shift, axis=1) if v.discrete else f,
    }


def _pinned_actions(shift: int) -> Any:
    """The neighbouring action, the outermost one kept."""

    def pinned(values: Any) -> Any:
        last = values.shape[1] - 1
        return values[:, np.clip(np.arange(last + 1) + shift, 0, last)]

    return {
        "log_answer": lambda v, z: pinned(z),
        "scores": lambda v, f: pinned(f) if v.discrete else f,
    }


def _mixed_score(v: Any, phi: Any, c: Any) -> Any:
    """∇ log((1 − ε)π + ε/A) = (1 − ε)π/((1 − ε)π + ε/A) ∇ log π, in g alone."""
    kept = (1.0 - c) * v["pi"]
    return phi * (kept / (kept + c / kept.shape[1]))[:, :, None]


def _mixed_row_score(v: Any, phi: Any, c: Any) -> Any:
    if phi is None:
        return None
    rows, kept = v.pipeline.rows, (1.0 - c) * v["pi"]
    share = kept / (kept + c / kept.shape[1])
    return phi * share[rows.states, rows.actions][:, None]


def _mean_at(states: Any) -> Any:
    """J_a(s) − Σ_b π(b|s̃) J_b(s) on rows, in g: the mean by the policy of other states s̃."""

    def change(v: Any, phi: Any) -> Any:
        if phi is None or not v.discrete:
            return phi
        rows = v.pipeline.rows
        jacobian = v["jacobian"][rows.states]
        mean = np.einsum("na,nad->nd", v["pi"][states(rows)], jacobian)
        return jacobian[np.arange(len(rows.actions)), rows.actions] - mean

    return change


_mean_of_next = _mean_at(lambda rows: rows.next_states)


def _mixed(v: Any, log_pi: Any, c: Any) -> Any:
    return np.log((1.0 - c) * np.exp(log_pi) + c / log_pi.shape[1])


def _of_logarithms(value: Any) -> Any:
    """KL at every state from the logarithms alone, whatever they have become."""
    parts = value[1]
    return (np.exp(parts.old) * (parts.old - parts.new)).sum(axis=1), *value[1:]


def _bits(v: Any, value: Any) -> Any:
    """The divergence of densities; that of probabilities follows from their logarithms."""
    return value if v.discrete else (value[0] / np.log(2.0), *value[1:])


def _in_bits(**more: Any) -> Any:
    return {
        "log_pi": lambda v, z: z / np.log(2.0),
        "log_density": density.changed(lambda t, z, s: t / np.log(2.0)),
        "kl_terms": _bits,
        **more,
    }


ENTRIES = (
    Choice("policy", "temperature", "softmax-temperature", "bug", "π ∝ exp(z/τ) with τ ≠ 1",
           "log π, its gradient and everything after", "the contract's policy is softmax(z)",
           note="a softmax temperature of {}", visible=POLICY,
           change={"logits": lambda v, z, c: z / c, "jacobian": lambda v, j, c: j / c},
           forms=({"logits": lambda v, z, c: z / c},),
           number=Number("τ", (0.1, 0.2, 0.5, 0.7, 1.0, 1.5, 2.0, 5.0, 10.0), not_values=(1.0,)),
           families=("discrete",)),
    Choice("policy", "wrong_state", "policy-of-another-state", "bug",
           "π(a|s′) where π(a|s) belongs: rows of the table are shifted or all the first",
           "invisible when all states share one policy", "index the policy by the state itself",
           note="π(a|·) is taken at another state", visible=POLICY,
           change=_roll_states(1),
           forms=(_roll_states(-1), {"logits": lambda v, z: np.broadcast_to(z[:1], z.shape)},
                  {"logits": lambda v, z: z[::-1]}, {"g_row_scores": _mean_of_next},
                  {"row_scores": _mean_of_next},
                  {"g_row_scores": _mean_at(lambda rows: np.roll(rows.states, 1))},
                  {"g_row_scores": _mean_at(lambda rows: np.roll(rows.states, -1))}),
           reads=("jacobian", "pi"), families=("discrete",)),
    Choice("policy", "wrong_action", "action-index-off-by-one", "bug",
           "log π(a+1|s) for log π(a|s), cyclic or cut off at the ends",
           "log_prob and score of a neighbouring action",
           "actions are counted from 0", note="actions are counted with an offset of one",
           visible=("log_prob", "score"), change=_roll_actions(1),
           forms=(_roll_actions(-1), _pinned_actions(1), _pinned_actions(-1)),
           families=("discrete",)),
    Choice("policy", "features_normalised", "features-normalised", "bug",
           "o/‖o‖ or (o − mean)/std in place of o", "another policy, wherever features are shared",
           "use problem.observations as they are", note="observations are normalised first",
           visible=SCORED, hidden={"tabular": "one-hot rows have norm one"},
           change=_with_features(_normalised),
           forms=(_with_features(_standardised(0, 0.0)), _with_features(_standardised(0, 1e-8)),
                  _with_features(_standardised(1, 0.0)), _with_features(_standardised(1, 1e-8)),
                  *(_with_features(_standardised(d, e, 1)) for d in (0, 1) for e in (0.0, 1e-5)))),
    Choice("policy", "exploration", "exploration-mixed-in", "bug",
           "(1 − ε)π + ε/A in place of π", "log π of another policy",
           "the contract's policy is the softmax alone", note="a share {} of uniform actions is "
           "mixed into the policy", visible=("log_prob", "kl", "policy_gradient"),
           change={"log_pi": _mixed,
                   "kl_terms": lambda v, value, c: _of_logarithms(value),
                   "action_weights": lambda v, w, c: (1.0 - c) * w + c / w.shape[1]},
           forms=({"g_scores": _mixed_score, "g_row_scores": _mixed_row_score},),
           reads=("pi", "row_actions"),
           number=Number("ε", (1e-4, 1e-3, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9)),
           families=("discrete",)),
    Choice("policy", "log_base_two", "log-base-two", "bug", "log₂ π in place of ln π",
           "log π, KL and scores are 1/ln 2 = 1.4427 times too large", "nats: use the natural "
           "logarithm", note="logarithms to base two: 1.4427 times too large",
           visible=("log_prob", "kl"),
           change=_in_bits(), forms=(_in_bits(scores=lambda v, f: f / np.log(2.0)),)),
    Choice("policy", "logit", "logit-for-log-prob", "bug",
           "z_a, or z_a − max_b z_b, in place of z_a − log Σ_b exp z_b",
           "wrong by the log-sum-exp of the state; differences between actions are right",
           "subtract the log-sum-exp", note="the logit is returned, not the log-probability",
           visible=("log_prob",), change={"log_answer": lambda v, z: v["logits"]},
           forms=({"log_answer": lambda v, z: v["logits"] - v["logits"].max(1, keepdims=True)},),
           reads=("logits",), families=("discrete",)),
    Choice("policy", "probability", "probability-for-log-prob", "bug", "π in place of log π",
           "positive numbers up to one", "take the logarithm", visible=("log_prob",),
           note="the probability is returned, not its logarithm",
           change={"log_answer": lambda v, z: v["pi"], "log_density": density.changed(
               lambda t, z, s: np.exp(np.sum(t, keepdims=True)))}, reads=("pi",)),
)  # fmt: skip
