"""Parametrisation: which numbers θ are, and in which order."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas.entry import Choice, Seen

ALL = ("score", "policy_gradient", "fisher", "fisher_vector_product", "natural_gradient", "update")


def _linear(v: Any) -> Any:
    return v.problem.family in ("tabular", "softmax", "gaussian")


def _action_major(v: Any, t: Any) -> Any:
    """Rows of T take the entries [feature, action] in the order [action, feature]."""
    if not v.discrete or not _linear(v):
        return np.full_like(t, np.nan)
    k, a = v.problem.observation_size, v.problem.num_actions
    return np.eye(k * a)[np.arange(k * a).reshape(k, a).T.ravel()]


def _std_first(v: Any, t: Any) -> Any:
    m, size = v.problem.action_size, len(t)
    return np.eye(size)[np.r_[np.arange(size - m, size), np.arange(size - m)]]


def _mean_transposed(v: Any, t: Any) -> Any:
    k, m, size = v.problem.observation_size, v.problem.action_size, len(t)
    return np.eye(size)[np.r_[np.arange(k * m).reshape(k, m).T.ravel(), np.arange(k * m, size)]]


def _of_the_product(order: Any) -> Any:
    """F v is reordered where it is returned, v is taken as it should be."""

    def change(v: Any, p: Any) -> Any:
        return order(v, np.eye(len(p[0]))) @ p[0], p[1]

    return change


def _coordinate(slope: Any) -> Any:
    """T = diag(1, …, d log σ/dη) for a scale η in place of log σ."""

    def change(v: Any, t: Any) -> Any:
        if v.problem.family != "gaussian":
            return np.full_like(t, np.nan)
        m = v.problem.action_size
        return np.diag(np.r_[np.ones(len(t) - m), slope(np.exp(v.reference.theta[-m:]))])

    return change


def _softplus_slope(sigma: Any) -> Any:
    return (1.0 - np.exp(-sigma)) / sigma


def _read_transposed(v: Any) -> Any:
    k, a = v.problem.observation_size, v.problem.num_actions
    return v.theta.reshape(a, k).T.ravel()


def _read_std_first(v: Any) -> Any:
    m = v.problem.action_size
    return np.r_[v.theta[m:], v.theta[:m]]


def _read_mean_transposed(v: Any) -> Any:
    k, m = v.problem.observation_size, v.problem.action_size
    return np.r_[v.theta[: k * m].reshape(m, k).T.ravel(), v.theta[k * m :]]


def _mean_columns(v: Any, j: Any) -> Any:
    """Columns of a Jacobian in the order of W.T."""
    k, m = v.problem.observation_size, v.problem.action_size
    return j[:, :, np.r_[np.arange(k * m).reshape(k, m).T.ravel(), np.arange(k * m, j.shape[2])]]


def _gaussian_at(index: Any, theta: Any) -> Any:
    def change(v: Any, value: Any) -> Any:
        if v.problem.family != "gaussian":
            return np.full_like(value, np.nan)
        found = v.reference.policy.mean_log_std(theta(v), v.problem.observations)[index]
        return np.exp(found) if index else found

    return change


def _std_rows_first(v: Any, j: Any) -> Any:
    m = v.problem.action_size
    return np.concatenate([j[:, :, -m:], j[:, :, :-m]], axis=2)


def _transposed_logits(v: Any, z: Any) -> Any:
    if not _linear(v):
        return np.full_like(z, np.nan)
    return v.reference.policy.logits(_read_transposed(v), v.problem.observations)


def _transposed_jacobian(v: Any, j: Any) -> Any:
    if not _linear(v):
        return np.full_like(j, np.nan)
    k, a = v.problem.observation_size, v.problem.num_actions
    return j[:, :, np.arange(k * a).reshape(k, a).T.ravel()]


def _without_last(v: Any, j: Any) -> Any:
    out = np.array(j)
    out[:, -1, :] = 0.0
    return out


ENTRIES = (
    Choice("coordinates", "action_major", "order-or-transpose", "bug",
           "parameters in the order [action, feature]; the contract's is [feature, action]",
           "the right numbers in the wrong places; invisible when k = 1 or A = 1",
           "θ.reshape(k, A): the feature is the first index", note="parameters come in the order "
           "[action, feature]; the contract's is [feature, action]", visible=ALL,
           hidden={"symmetric problems": "a permutation that maps the problem to itself"},
           change={"coordinates": _action_major},
           forms=({"product": _of_the_product(_action_major)},), families=("discrete",)),
    Choice("coordinates", "theta_transposed", "theta-read-action-major", "bug",
           "logits = o · θ.reshape(A, k)ᵀ in place of o · θ.reshape(k, A)",
           "another policy altogether", "θ.reshape(k, A): the feature is the first index",
           note="θ is read in the order [action, feature]",
           visible=("log_prob", "value", "kl", *ALL),
           change={"logits": _transposed_logits, "jacobian": _transposed_jacobian},
           forms=({"logits": _transposed_logits},), families=("discrete",)),
    Choice("coordinates", "std_first", "log-std-first", "bug",
           "the parameters of log σ come before W", "the right numbers in the wrong places",
           "θ = [W.ravel(), log_std]", note="log σ stands before W", visible=ALL,
           change={"coordinates": _std_first},
           forms=({"product": _of_the_product(_std_first)},), families=("gaussian",)),
    Choice("coordinates", "std_read_first", "log-std-read-first", "bug",
           "θ is read as [log_std, W] in place of [W, log_std]", "another policy altogether",
           "θ = [W.ravel(), log_std]", note="θ is read with log σ before W",
           visible=("log_prob", "kl", *ALL),
           change={"mean": _gaussian_at(0, _read_std_first),
                   "std": _gaussian_at(1, _read_std_first),
                   "mean_jacobian": lambda v, j: _std_rows_first(v, j),
                   "std_jacobian": lambda v, j: _std_rows_first(v, j)},
           forms=({"mean": _gaussian_at(0, _read_std_first),
                   "std": _gaussian_at(1, _read_std_first)},), families=("gaussian",)),
    Choice("coordinates", "mean_transposed", "mean-weights-transposed", "bug",
           "W.T.ravel() in place of W.ravel(), W (k, m)", "the right numbers in the wrong places; "
           "invisible when k = 1 or m = 1", "θ = [W.ravel(), log_std] with W (k, m)",
           note="the weights of the mean come transposed", visible=ALL,
           hidden={"one action dimension": "W is a column"},
           change={"coordinates": _mean_transposed},
           forms=({"mean": _gaussian_at(0, _read_mean_transposed),
                   "mean_jacobian": _mean_columns, "std_jacobian": _mean_columns},
                  {"mean": _gaussian_at(0, _read_mean_transposed)},
                  {"product": _of_the_product(_mean_transposed)}), families=("gaussian",)),
    Choice("sigma", "other", "sigma-coordinate", "convention",
           "derivatives with respect to σ, σ², log σ² or softplus⁻¹(σ) in place of log σ",
           "the block of log σ in F: 2 for log σ, ½ for log σ², 2/σ² for σ, 1/(2σ⁴) for σ²; "
           "natural steps move the policy alike to first order",
           "the contract's coordinate is log σ; multiply by dσ/dη, or judge a subject with a "
           "policy of its own",
           note="derivatives are taken in another coordinate of σ than log σ", visible=ALL,
           seen=(Seen("torch.nn.Softplus heads and variance heads are common", "read"),),
           hidden={"the policy after a natural step": "x transforms with the coordinate"},
           change={"coordinates": _coordinate(lambda s: 1.0 / s)},
           forms=({"coordinates": _coordinate(lambda s: 0.5 / s**2)},
                  {"coordinates": _coordinate(lambda s: 0.5 + 0.0 * s)},
                  {"coordinates": _coordinate(_softplus_slope)}), families=("gaussian",)),
    Choice("coordinates", "last_fixed", "last-action-fixed", "bug",
           "the logits of the last action have no parameters",
           "rows of the last action are zero in score, g and F; the policy can still be reached",
           "θ has a column for every action", note="the parameters of the last action are left out",
           visible=ALL, change={"jacobian": _without_last}, families=("discrete",)),
    Choice("coordinates", "gauge", "softmax-gauge", "free",
           "x and x + c(s)·1: constants added to all logits of a state",
           "nothing: no policy changes; pinv gives A − mean A, the textbook form A",
           "nothing to mend", seen=(Seen("Agarwal et al. 2021, Lemma 15", "textbook"),),
           told=False, hidden={"every quantity": "answers are compared modulo null(F)"}),
)  # fmt: skip
