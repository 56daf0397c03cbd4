"""Score and objective: log π and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import density, sources
from npgcheck.conformance.atlas.density import POLICY, SCORED
from npgcheck.conformance.atlas.entry import Choice, Number, Seen


def _mean(v: Any, weights: Any) -> Any:
    return np.einsum("sa,sad->sd", weights, v["jacobian"])[:, None, :]


def _uniform_mean(v: Any, _: Any) -> Any:
    return v["jacobian"] - v["jacobian"].mean(axis=1, keepdims=True)


def _identity_fisher(v: Any, _: Any) -> Any:
    j = v["jacobian"]
    return np.einsum("s,sad,sae->de", v["f_weights"], j, j)


def _identity_gradient(v: Any, _: Any) -> Any:
    return np.einsum("s,sa,sad->d", v["g_weights"], v["q_value"], v["jacobian"])


def _identity_gradient_advantage(v: Any, _: Any) -> Any:
    return np.einsum("s,sa,sad->d", v["g_weights"], v["advantage"], v["jacobian"])


def _identity_weighted(v: Any, _: Any) -> Any:
    joint = v["g_weights"][:, None] * v["pi"] * v["q_value"]
    return np.einsum("sa,sad->d", joint, v["jacobian"])


def _normalised(v: Any) -> Any:
    x = np.asarray(v.problem.observations, dtype=float)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)


def _standardised(ddof: int, added: float) -> Any:
    """(o − mean)/(std + ε) over the states, the standard deviation dividing by S − ddof."""

    def features(v: Any) -> Any:
        x = np.asarray(v.problem.observations, dtype=float)
        std = x.std(axis=0, ddof=ddof) if len(x) > ddof else np.full(x.shape[1], np.nan)
        return (x - x.mean(axis=0)) / (std + added if added else np.maximum(std, 1e-8))

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


def entropy_bonus(v: Any, g: Any, c: Any) -> Any:
    """g + β ∇H, with ∇H(s) = −Σ_a π (log π) φ, or Σ_i ∇ log σ_i."""
    if not v.discrete:
        return g + c * np.einsum("s,smd->d", v["g_weights"], v["std_jacobian"])
    terms = np.einsum("s,sa,sad->d", v["g_weights"], v["pi"] * v["log_pi"], v["scores"])
    return g - c * terms


def _clip(v: Any, g: Any, c: Any) -> Any:
    size = float(np.linalg.norm(g))
    return g * min(1.0, c / size) if size > 0 else g


def _clip_full(v: Any, g: Any, c: Any) -> Any:
    return _clip(v, g, c * (1.0 - v.reference.discount))


def _torch_clip(v: Any, g: Any, c: Any) -> Any:
    """torch's rule, which divides by ‖g‖ + 1e-6; here for ∇J, the next for (1−γ)∇J."""
    unit = 1.0 - v.reference.discount
    return g * min(1.0, c / (float(np.linalg.norm(g)) / unit + 1e-6))


def _torch_clip_mean(v: Any, g: Any, c: Any) -> Any:
    return g * min(1.0, c / (float(np.linalg.norm(g)) + 1e-6))


def _over_norm(added: float, full: bool) -> Any:
    """g/(‖g‖ + ε), of ∇J (full) or of (1−γ)∇J."""

    def change(v: Any, g: Any) -> Any:
        unit = 1.0 - v.reference.discount if full else 1.0
        return g / unit / (float(np.linalg.norm(g)) / unit + added)

    return change


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


def _mean_of_next(v: Any, phi: Any) -> Any:
    """J_a(s) − Σ_b π(b|s′) J_b(s) on rows, in g."""
    if phi is None or not v.discrete:
        return phi
    rows = v.pipeline.rows
    jacobian = v["jacobian"][rows.states]
    mean = np.einsum("na,nad->nd", v["pi"][rows.next_states], jacobian)
    return jacobian[np.arange(len(rows.actions)), rows.actions] - mean


def _mixed(v: Any, log_pi: Any, c: Any) -> Any:
    return np.log((1.0 - c) * np.exp(log_pi) + c / log_pi.shape[1])


def _of_logarithms(value: Any) -> Any:
    """KL at every state from the logarithms alone, whatever they have become."""
    parts = value[1]
    return (np.exp(parts.old) * (parts.old - parts.new)).sum(axis=1), *value[1:]


def _without_last_weight(v: Any, w: Any) -> Any:
    return np.concatenate([w[:, :-1], np.zeros((len(w), 1))], axis=1)


def _without_last_block(v: Any, f: Any) -> Any:
    """The parameters of the last action are never written to."""
    if v.problem.family not in ("tabular", "softmax"):
        return np.full_like(f, np.nan)
    k, a = v.problem.observation_size, v.problem.num_actions
    kept = np.broadcast_to(np.arange(a) < a - 1, (k, a)).ravel()
    return np.where(kept, f, 0.0)


def _shifted(v: Any, step: Any) -> Any:
    """log π(θ + step) as (S, A)."""
    return v.reference.policy.log_probabilities(v.theta + step, v.problem.observations)


def _quotients(v: Any, f: Any, c: Any, central: Any) -> Any:
    here, units = _shifted(v, 0.0), np.eye(f.shape[2])
    back = (lambda e: _shifted(v, -c * e)) if central else (lambda e: here)
    width = 2.0 * c if central else c
    return np.stack([(_shifted(v, c * e) - back(e)) / width for e in units], axis=2)


def _one_sided(v: Any, f: Any, c: Any) -> Any:
    return _quotients(v, f, c, central=False)


def _central(v: Any, f: Any, c: Any) -> Any:
    return _quotients(v, f, c, central=True)


def _kl_slope(v: Any, step: Any) -> Any:
    """∇KL(π_θ ‖ π_θ′) at θ′ = θ + step: Σ_s w(s) Σ_a (π′ − π) J_a."""
    new = np.exp(_shifted(v, step))
    jacobian = v.reference.policy.logits_jacobian(v.theta + step, v.problem.observations)
    return np.einsum("s,sa,sad->d", v["f_weights"], new - v["pi"], jacobian)


def _one_sided_product(v: Any, value: Any, c: Any) -> Any:
    return (_kl_slope(v, c * value[1]) / c, *value[1:])


def _central_product(v: Any, value: Any, c: Any) -> Any:
    along = c * value[1]
    return ((_kl_slope(v, along) - _kl_slope(v, -along)) / (2.0 * c), *value[1:])


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


SQUARED_RATIOS = {
    "policy_gradient": "the ratio is one at θ, and so is its derivative's factor",
}


ENTRIES = (
    Choice("score", "centred", "centred-score", "free",
           "∇log π(a|s) = J_a − Σ_b π_b J_b, J the Jacobian of the logits", "E_π[φ] = 0",
           "nothing to mend", default=True),
    Choice("score", "uncentred", "score-missing-minus-pi", "bug",
           "φ = J_a in place of J_a − Σ_b π_b J_b (for linear features: φ(s,a) = o ⊗ e_a)",
           "E[φ] ≠ 0 and F = diag(dπ); g is unchanged with the exact advantage as critic, because "
           "Σ_a π A = 0, and wrong with Q or any other baseline",
           "subtract the mean over actions: ∇log π(a|s) = φ(s,a) − E_π φ(s,·)",
           note="score: the −π term is missing", visible=SCORED,
           hidden={"policy_gradient with the exact A": "Σ_a π(a|s) A(s, a) = 0"},
           change={"scores": lambda v, f: v["jacobian"]}, reads=("jacobian",),
           families=("discrete",)),
    Choice("score", "plus_pi", "score-plus-pi", "bug", "φ = J_a + Σ_b π_b J_b",
           "E[φ] = 2 Σ π J ≠ 0", "subtract the mean over actions: J_a − Σ_b π_b J_b",
           note="score: π is added where it should be subtracted", visible=SCORED,
           hidden={"policy_gradient with the exact A": "Σ_a π(a|s) A(s, a) = 0"},
           change={"scores": lambda v, f: v["jacobian"] + _mean(v, v["pi"])},
           reads=("jacobian", "pi"), families=("discrete",)),
    Choice("score", "uniform_mean", "score-minus-uniform-mean", "bug",
           "φ = J_a − 1/A Σ_b J_b", "right for the uniform policy only",
           "weigh the mean over actions by π", note="score: the plain mean over actions is "
           "subtracted, not the policy's", visible=SCORED,
           hidden={"uniform policy": "π(a|s) = 1/A",
                   "policy_gradient with the exact A": "Σ_a π(a|s) A(s, a) = 0"},
           change={"scores": _uniform_mean}, reads=("jacobian",), families=("discrete",)),
    Choice("score", "of_pi", "gradient-of-pi-not-log-pi", "bug", "φ = ∇π(a|s), without 1/π(a|s)",
           "every score is π(a|s) times too small", "differentiate log π, or divide by π",
           note="the gradient of π is taken, not of log π", visible=SCORED,
           change={"scores": lambda v, f: v["pi"][:, :, None] * f}, reads=("pi",),
           families=("discrete",)),
    Choice("score", "negated", "negative-score", "bug", "φ = −∇log π",
           "score and g change their sign; F does not", "φ = +∇log π(a|s)",
           note="the sign of the score is flipped", visible=("score", "policy_gradient"),
           hidden={"fisher": "φφᵀ does not see the sign"},
           change={"scores": lambda v, f: -f}),
    Choice("score", "jacobian_skipped", "softmax-jacobian-skipped", "bug",
           "diag(π) − ππᵀ replaced by I between probabilities and logits",
           "F = Σ_s d(s) JᵀJ and g = Σ_s d(s) Σ_a Q J_a: the chain rule stops at the softmax",
           "multiply by the Jacobian of the softmax, diag(π) − ππᵀ",
           note="the Jacobian of the softmax, diag(π) − ππᵀ, is skipped",
           seen=(Seen("public code", "read"),),
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"F": _identity_fisher, "g": _identity_gradient},
           forms=({"F": _identity_fisher}, {"g": _identity_gradient},
                  {"g": _identity_gradient_advantage},
                  {"F": _identity_fisher, "g": _identity_gradient_advantage},
                  {"g": _identity_weighted},
                  {"scores": lambda v, f: v["jacobian"] / v["pi"][:, :, None]}),
           reads=("jacobian", "q_value", "advantage", "pi", "g_weights", "f_weights"),
           families=("discrete",)),
    Choice("expectation", "pi_missing", "action-weights-missing", "bug",
           "Σ_a φ A (or φφᵀ) in place of Σ_a π(a|s) φ A",
           "rare actions count as much as likely ones; for the uniform policy a factor A",
           "weigh each action by π(a|s)", note="π(a|s) is missing in the sum over actions",
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"action_weights": lambda v, w: np.ones_like(w)},
           forms=({"f_action_weights": lambda v, w: np.ones_like(w)},
                  {"g_action_weights": lambda v, w: np.ones_like(w)},
                  {"action_weights": lambda v, w: np.full_like(w, 1.0 / w.shape[1])},
                  {"f_action_weights": lambda v, w: np.full_like(w, 1.0 / w.shape[1])},
                  {"g_action_weights": lambda v, w: np.full_like(w, 1.0 / w.shape[1])}),
           families=("discrete",)),
    Choice("expectation", "pi_twice", "action-weights-squared", "bug",
           "Σ_a π(a|s)² φ A (or φφᵀ)", "likely actions count too much",
           "weigh each action by π(a|s) once: a sampled action carries π already",
           note="π(a|s) enters the sum over actions twice",
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"action_weights": lambda v, w: w**2},
           forms=({"f_action_weights": lambda v, w: w**2},
                  {"g_action_weights": lambda v, w: w**2}),
           families=("discrete",)),
    Choice("expectation", "last_forgotten", "last-action-forgotten", "bug",
           "Σ_{a<A−1} in place of Σ_a: the loop over actions stops one short",
           "the last action is never counted", "sum over every action",
           note="the sum over actions leaves out the last one",
           visible=("policy_gradient", "fisher", "fisher_vector_product", "natural_gradient"),
           change={"action_weights": _without_last_weight},
           forms=({"action_weights": _without_last_weight, "g_scores": _without_last_block,
                   "f_scores": _without_last_block},
                  {"f_action_weights": _without_last_weight},
                  {"g_action_weights": _without_last_weight}),
           families=("discrete",)),
    Choice("score", "difference", "finite-difference-eps", "approximation",
           "(log π(θ + he_i) − log π(θ))/h for ∇log π, (∇KL(θ + εv) − ∇KL(θ))/ε for Fv",
           "an error of order h, or h² for central differences, and of u/h in finite precision",
           "differentiate exactly, or use central differences in float64 with a small h",
           note="finite differences with a step of {}", seen=(sources.FINITE_DIFFERENCE,),
           visible=("score", "fisher_vector_product"),
           change={"scores": _one_sided, "product": _one_sided_product},
           forms=({"scores": _central, "product": _central_product},), reads=("jacobian",),
           number=Number("h", (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)), families=("discrete",)),
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
                  {"row_scores": _mean_of_next}),
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
                  _with_features(_standardised(1, 0.0)), _with_features(_standardised(1, 1e-8)))),
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
    Choice("gradient", "entropy", "entropy-bonus-left-in", "bug", "g + β Σ_s d(s) ∇H(π(·|s))",
           "g turns towards the uniform policy, whose gradient is right",
           "judge the gradient of J without the bonus", note="an entropy bonus of {} is left in",
           visible=("policy_gradient", "natural_gradient"),
           change={"g": entropy_bonus},
           forms=({"g": lambda v, g, c: entropy_bonus(v, g, c * (1.0 - v.reference.discount))},),
           reads=("g_weights", "pi", "log_pi", "scores", "std_jacobian"),
           number=Number("β", (1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0))),
    Choice("gradient", "decay", "weight-decay-left-in", "bug", "g − cθ",
           "g is right at θ = 0", "judge the gradient of J without the penalty",
           note="a weight decay of {} is left in", visible=("policy_gradient", "natural_gradient"),
           change={"g": lambda v, g, c: g - c * (1.0 - v.reference.discount) * v.reference.theta},
           forms=({"g": lambda v, g, c: g - c * v.reference.theta},),
           number=Number("c", (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1.0))),
    Choice("gradient", "clipped", "gradient-clipped", "bug", "g · min(1, c/‖g‖)",
           "the direction is right; large gradients are too short",
           "return the gradient itself; clip in the optimiser if at all",
           note="gradients longer than {} are cut to that length",
           visible=("policy_gradient", "natural_gradient"),
           change={"g": _clip},
           forms=({"g": _clip_full}, {"g": _torch_clip}, {"g": _torch_clip_mean}),
           number=Number("c", (1e-3, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0))),
    Choice("gradient", "unit", "gradient-normalised", "bug", "g/‖g‖",
           "every gradient has length one", "return the gradient itself",
           note="the gradient is scaled to length one", visible=("policy_gradient",),
           hidden={"trust-region proposals": "a factor of g does not change a step of fixed KL"},
           change={"g": lambda v, g: g / max(float(np.linalg.norm(g)), 1e-300)},
           forms=tuple({"g": _over_norm(e, full)} for e in (1e-8, 1e-6) for full in (False, True))),
    *density.ENTRIES,
    # ---- surrogate ------------------------------------------------------------------------------
    Choice("surrogate", "inverted", "ratio-upside-down", "bug", "Σ w π/π′ A in place of π′/π A",
           "the surrogate falls where it should rise", "π′/π: the new policy above",
           note="the importance ratio is upside down", visible=("surrogate",),
           change={"surrogate": lambda v, s: (float(np.sum(s[3] * (1.0 / s[1] - 1.0) * s[2])),
                                              *s[1:])}),
    Choice("surrogate", "log", "surrogate-of-log-probabilities", "bug",
           "Σ w log(π′/π) A in place of (π′/π) A", "the same gradient at θ, other values away "
           "from it", "use the ratio π′/π", note="log-probabilities stand where the ratio belongs",
           visible=("surrogate",), hidden={"policy_gradient": "the gradients agree at θ"},
           change={"surrogate": lambda v, s: (float(np.sum(s[3] * np.log(s[1]) * s[2])), *s[1:])}),
    Choice("surrogate", "clipped", "clipped-surrogate", "bug",
           "min(r A, clip(r, 1 − ε, 1 + ε) A), r = π′/π",
           "equal near θ; the objective of PPO, not the surrogate of TRPO",
           "leave the ratio unclipped", note="ratios clipped to 1 ± {}", visible=("surrogate",),
           hidden=SQUARED_RATIOS,
           change={"surrogate": lambda v, s, c: (float(np.sum(s[3] * (np.minimum(
               s[1] * s[2], np.clip(s[1], 1.0 - c, 1.0 + c) * s[2]) - s[2]))), *s[1:])},
           number=Number("ε", (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5))),
)  # fmt: skip
