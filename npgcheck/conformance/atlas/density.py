"""The density of Gaussian policies: σ and its coordinates, and the score of mean and log σ."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources
from npgcheck.conformance.atlas.entry import Choice, Number

SCORED = ("score", "policy_gradient", "fisher", "fisher_vector_product", "natural_gradient")
POLICY = ("log_prob", *SCORED, "kl")
DENSITY = ("mean", "std", "node_z", "row_actions", "mean_jacobian", "std_jacobian")
ONE_DIMENSION = {"one action dimension": "a mean over one number is the number"}
_LOG_2PI = float(np.log(2.0 * np.pi))


def changed(f: Any) -> Any:
    """A change of the log density: f(terms, z, σ) → terms."""
    return lambda v, value: (f(*value), *value[1:])


def _parts(f: Any) -> Any:
    """A change of the two coefficients (along ∇μ, across ∇log σ): f(z, σ) → pair."""
    return lambda v, value: (*f(value[2], value[3]), *value[2:])


def _parts_in_g(f: Any) -> Any:
    """The same change in g alone, beside a right F: f(z, σ) → (along ∇μ, across ∇log σ)."""

    def at(v: Any, z: Any, states: Any) -> Any:
        along, across = f(z, v["std"][states])
        return np.einsum("...m,...md->...d", along, v["mean_jacobian"][states]) + np.einsum(
            "...m,...md->...d", across, v["std_jacobian"][states]
        )

    def nodes(v: Any, phi: Any) -> Any:
        states = np.repeat(np.arange(len(phi)), phi.shape[1])
        return at(v, np.tile(v["node_z"], (len(phi), 1)), states).reshape(phi.shape)

    def rows(v: Any, phi: Any) -> Any:
        if phi is None:
            return None
        states = v.pipeline.rows.states
        return at(v, (v["row_actions"] - v["mean"][states]) / v["std"][states], states)

    return {"g_scores": nodes, "g_row_scores": rows}


def _other_std(of_std: Any, slope: Any) -> Any:
    """Another σ′(σ) throughout, with d log σ′/d log σ = ``slope``."""
    return {
        "std": lambda v, s: of_std(s),
        "std_jacobian": lambda v, j: slope(_std_at(v))[:, :, None] * j,
    }


def _std_at(v: Any) -> Any:
    return np.exp(v.reference.policy.mean_log_std(v.theta, v.problem.observations)[1])


def _constant_once(terms: Any, z: Any, std: Any) -> Any:
    """−½ log 2π once for all dimensions."""
    return terms + 0.5 * _LOG_2PI * (1.0 - 1.0 / np.size(terms))


def _clipped_to_the_unit(v: Any, actions: Any, c: Any) -> Any:
    return actions if actions is None or v.discrete else np.clip(actions, 0.0, c)


def _clipped_rows(v: Any, actions: Any, c: Any) -> Any:
    return actions if actions is None or v.discrete else np.clip(actions, -c, c)


def _bounded(bound: Any, *, flat: bool) -> Any:
    """log σ cut off by ``bound(log σ, c)``, with the derivative of the cut (flat), or without."""

    def std(v: Any, s: Any, c: Any) -> Any:
        return np.exp(bound(np.log(s), c))

    def slope(v: Any, j: Any, c: Any) -> Any:
        log_std = np.log(_std_at(v))
        return (bound(log_std, c) == log_std)[:, :, None] * j

    return {"std": std, "std_jacobian": slope} if flat else {"std": std}


def _from_above(x: Any, c: Any) -> Any:
    return np.minimum(x, c)


def _both_sides(x: Any, c: Any) -> Any:
    return np.clip(x, -c, c) if c > 0 else np.full_like(x, np.nan)


ENTRIES = (
    Choice("density", "std_variance", "std-variance-confusion", "bug",
           "σ where σ² belongs, or the other way round: z²σ for z², or exp applied twice",
           "log π, score and F wherever σ ≠ 1", "log π = −½ Σ [(a − μ)²/σ² + 2 log σ + log 2π]",
           note="standard deviation and variance are confused",
           seen=(sources.STD_VARIANCE,), visible=POLICY, hidden={"σ = 1": "σ² = σ"},
           change=_other_std(np.sqrt, lambda s: 0.5 + 0.0 * s),
           forms=(
               _other_std(np.square, lambda s: 2.0 + 0.0 * s), _other_std(np.exp, lambda s: s),
               _other_std(np.sqrt, lambda s: 1.0 + 0.0 * s),
               _other_std(np.square, lambda s: 1.0 + 0.0 * s),
               _other_std(np.exp, lambda s: 1.0 + 0.0 * s),
               {"parts": _parts(lambda z, s: (z, z**2 * s - 1.0)), "log_density": changed(
                   lambda t, z, s: -0.5 * (z**2 * s + 2 * np.log(s) + _LOG_2PI))},
               {"parts": _parts(lambda z, s: (z, z**2 - 1.0))},
               {"parts": _parts(lambda z, s: (z / s, z**2 * s - 1.0))},
               {"log_density": changed(
                   lambda t, z, s: -0.5 * (z**2 + np.log(s) + _LOG_2PI))},
           ), families=("gaussian",)),
    Choice("density", "mean_over_dimensions", "logprob-not-summed-over-dims", "bug",
           "1/m Σ_i log π(a_i|s) over m action dimensions",
           "log π and score are 1/m, F is 1/m² of the right ones; invisible for m = 1",
           "sum the log-densities of independent dimensions",
           note="log π is averaged over the action dimensions, not summed",
           seen=(sources.SUM_OVER_DIMENSIONS,), visible=("log_prob", *SCORED),
           hidden=ONE_DIMENSION,
           change={"parts": lambda v, p: (p[0] / p[0].shape[-1], p[1] / p[1].shape[-1], *p[2:]),
                   "log_density": lambda v, p: (p[0] / p[0].shape[-1], *p[1:])},
           families=("gaussian",)),
    Choice("density", "minus_one", "log-std-score-missing-minus-one", "bug",
           "∂log π/∂log σ = z² in place of z² − 1", "E[φ] ≠ 0 for the rows of log σ",
           "differentiate −log σ too: z² − 1", note="the −1 is missing in ∂log π/∂log σ = z² − 1",
           visible=SCORED, change={"parts": _parts(lambda z, s: (z / s, z**2))},
           forms=(_parts_in_g(lambda z, s: (z / s, z**2)),), reads=DENSITY,
           families=("gaussian",)),
    Choice("density", "no_precision", "mean-score-missing-variance", "bug",
           "∂log π/∂μ = a − μ, without 1/σ²", "wrong wherever σ ≠ 1",
           "divide by the variance: (a − μ)/σ²", note="1/σ² is missing in ∂log π/∂μ",
           visible=SCORED, hidden={"σ = 1": "1/σ² = 1"},
           change={"parts": _parts(lambda z, s: (z * s, z**2 - 1.0))},
           forms=(_parts_in_g(lambda z, s: (z * s, z**2 - 1.0)),), reads=DENSITY,
           families=("gaussian",)),
    Choice("density", "not_detached", "sampled-action-not-detached", "bug",
           "the sampled action a = μ + σε stays in the graph: ∂log π/∂μ = 0",
           "the rows of μ in g vanish; z does not depend on θ",
           "detach the sampled action before log π", note="the action moves with μ: its gradient "
           "vanishes", seen=(sources.NOT_DETACHED,), visible=SCORED,
           change={"parts": _parts(lambda z, s: (0.0 * z, z**2 - 1.0))},
           forms=({"parts": _parts(lambda z, s: (0.0 * z, -1.0 + 0.0 * z))},
                  _parts_in_g(lambda z, s: (0.0 * z, z**2 - 1.0)),
                  _parts_in_g(lambda z, s: (0.0 * z, -1.0 + 0.0 * z))), reads=DENSITY,
           families=("gaussian",)),
    Choice("density", "no_log_std", "log-std-omitted", "bug",
           "no gradient with respect to log σ: its rows are zero",
           "σ never learns; the rows of log σ in score, g and F vanish",
           "put log σ among the parameters", note="the parameters of log σ are left out",
           seen=(sources.LOG_STD_OMITTED,), visible=SCORED,
           change={"parts": _parts(lambda z, s: (z / s, 0.0 * z))},
           forms=(_parts_in_g(lambda z, s: (z / s, 0.0 * z)),), reads=DENSITY,
           families=("gaussian",)),
    Choice("density", "clipped_action", "clipped-action-in-logprob", "bug",
           "∇log π at clip(a, −c, c), or clip(a, 0, c), the action that the environment saw",
           "E[φ] ≠ 0; visible on rows with actions beyond the bound",
           "keep the sampled action for log π and clip only what goes to the environment",
           note="log π at actions clipped to bounds, {} the upper one",
           seen=(sources.CLIPPED_ACTION,),
           visible=("policy_gradient", "fisher", "natural_gradient"),
           hidden={"actions within the bound": "clipping does nothing"},
           change={"row_actions": _clipped_rows},
           forms=({"row_actions": _clipped_to_the_unit},),
           number=Number("c", (0.1, 0.2, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)),
           families=("gaussian",)),
    Choice("density", "constant", "density-constant-missing", "bug",
           "log π without −½ m log 2π, or with −½ log 2π once",
           "log_prob is shifted by a constant; nothing else changes",
           "keep −½ log 2π per dimension",
           note="the constant −½ log 2π is missing in some dimension",
           visible=("log_prob",), hidden={"score": "a constant has no gradient",
                                          "kl": "the constant cancels"},
           change={"log_density": changed(lambda t, z, s: t + 0.5 * _LOG_2PI)},
           forms=({"log_density": changed(lambda t, z, s: -0.5 * z**2)},
                  {"log_density": changed(lambda t, z, s: -0.5 * z**2 - 0.5 * _LOG_2PI)},
                  {"log_density": changed(_constant_once)}),
           families=("gaussian",)),
    Choice("density", "clamped", "log-std-clamped", "bug",
           "log σ clipped to a bound: max(log σ, c), min(log σ, c) or both, by hand or by clamp",
           "wrong only where σ lies beyond the bound; the score of log σ vanishes there where the "
           "bound is differentiated too", "use log σ as it is, or widen the bound",
           note="log σ is kept above {}, σ above {exp}", visible=POLICY,
           hidden={"σ within the bound": "clipping does nothing"},
           change=_bounded(np.maximum, flat=False),
           forms=(_bounded(np.maximum, flat=True), _bounded(_from_above, flat=False),
                  _bounded(_from_above, flat=True), _bounded(_both_sides, flat=False),
                  _bounded(_both_sides, flat=True)),
           notes=("log σ is kept above {}, σ above {exp}", "log σ is kept below {}, σ below {exp}",
                  "log σ is kept below {}, σ below {exp}", "log σ is clipped to ±{}",
                  "log σ is clipped to ±{}"),
           number=Number("bound", (-2.0, -1.0, -0.7, -0.5, -0.3, -0.1, 0.0, 0.1, 0.3, 0.5, 0.7,
                                   1.0, 2.0)),
           families=("gaussian",)),
    Choice("density", "tanh", "tanh-jacobian", "bug",
           "log π without −Σ log(1 − tanh² u) for squashed actions",
           "not through this contract: the missing term does not depend on θ",
           "add the log-Jacobian where densities of squashed actions are compared",
           seen=(sources.TANH,),
           told=False,
           hidden={"score, fisher, kl": "the term depends on the action alone, not on θ"},
           families=("gaussian",)),
)  # fmt: skip
