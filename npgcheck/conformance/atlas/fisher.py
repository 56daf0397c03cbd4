"""Fisher matrix: what is averaged, over which actions, in which structure and scale."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from npgcheck.conformance.atlas import counts, sources
from npgcheck.conformance.atlas.entry import Choice, Seen

SOLVES = ("natural_gradient", "update", "trust_region_proposal", "trust_region_step")
F = ("fisher", "fisher_vector_product", *SOLVES)
NOT_G = {"policy_gradient": "F does not enter g"}


def _weighted(v: Any, critic: Any, row_critic: Any) -> Any:
    """Σ w c² φφᵀ."""
    rows = v.pipeline.rows
    if rows is not None and row_critic is not None:
        phi, weights = v["row_scores"], v["row_weights"] * row_critic**2
    else:
        phi = v["scores"].reshape(-1, v["scores"].shape[-1])
        weights = (v["weights"][:, None] * v["action_weights"] * critic**2).ravel()
    return phi.T @ (weights[:, None] * phi)


def _loss_outer(v: Any, F: Any) -> Any:
    return _weighted(v, v["critic"], v["row_critic"])


def _loss_outer_q(v: Any, F: Any) -> Any:
    rows, critic = v.pipeline.rows, v["row_critic"]
    row = None if rows is None or critic is None else critic + rows.values
    return _weighted(v, v["q_value"], row)


def _loss_outer_absolute(v: Any, F: Any) -> Any:
    row = v["row_critic"]
    return _weighted(v, np.abs(v["critic"]) ** 0.5, None if row is None else np.abs(row) ** 0.5)


def _mean_gradient(v: Any, F: Any) -> Any:
    return np.outer(v["g"], v["g"])


def _mean_feature(v: Any, F: Any) -> Any:
    """Σ_a π ψψᵀ of the mean feature: (Σ_s d(s) J)ᵀ…, the expectation inside the product."""
    mean = np.einsum("s,sa,sad->d", v["f_weights"], v["f_action_weights"], v["jacobian"])
    return np.outer(mean, mean)


def _centred_outer(v: Any, F: Any) -> Any:
    """E[ψψᵀ] − E[ψ]E[ψ]ᵀ with one mean over all states."""
    joint = (v["f_weights"][:, None] * v["f_action_weights"]).ravel()
    psi = v["jacobian"].reshape(len(joint), -1)
    mean = joint @ psi
    return psi.T @ (joint[:, None] * psi) - np.outer(mean, mean)


def _centred(v: Any, F: Any) -> Any:
    return F - np.outer(v["g"], v["g"])


def _covariance(v: Any, F: Any) -> Any:
    """numpy's covariance of the rows' scores, which divides by N − 1."""
    if v.pipeline.rows is None:
        return np.full_like(F, np.nan)
    return np.atleast_2d(np.cov(v["row_scores"], rowvar=False))


def _second_central_moment(v: Any, F: Any) -> Any:
    phi, w = v["row_scores"], v["row_weights"]
    if phi is None:
        return np.full_like(F, np.nan)
    return phi.T @ (w[:, None] * phi) - np.outer(w @ phi, w @ phi)


def _mean_observation(v: Any, F: Any) -> Any:
    """E[o]E[o]ᵀ where E[ooᵀ] belongs, in the block of a Gaussian's mean."""
    if v.problem.family != "gaussian":
        return np.full_like(F, np.nan)
    average = v["f_weights"] @ np.asarray(v.problem.observations)
    n = v.problem.observation_size * v.problem.action_size
    out = np.array(F)
    out[:n, :n] = np.kron(np.outer(average, average), np.diag(v["std"][0] ** -2.0))
    return out


def _blocks(v: Any, F: Any, by: Any) -> Any:
    """Keeps the blocks within one feature (by 0) or one action (by 1)."""
    if not v.discrete or not _linear(v):
        return np.full_like(F, np.nan)
    k, a = v.problem.observation_size, v.problem.num_actions
    index = np.arange(k * a).reshape(k, a)
    label = np.broadcast_to(np.arange(k)[:, None] if by == 0 else np.arange(a), (k, a)).ravel()
    del index
    return np.where(label[:, None] == label[None, :], F, 0.0)


def _of_network(lengths: Any) -> Any:
    """Keeps the blocks of a network whose parameters come in these lengths, for n inputs and m
    outputs of a layer."""

    def change(v: Any, F: Any) -> Any:
        sizes = getattr(v.problem.policy, "sizes", ())
        each = [k for n, m in pairwise(sizes) for k in lengths(n, m)]
        label = np.repeat(np.arange(len(each)), each)
        if len(label) != len(F):
            return np.full_like(F, np.nan)
        return np.where(label[:, None] == label[None, :], F, 0.0)

    return change


def _with_value_head(scale: Any) -> Any:
    """F + Σ_s w ∇V ∇Vᵀ of a value head that is the sum, or the mean, of the logits or of μ."""

    def change(v: Any, F: Any) -> Any:
        outputs = v["jacobian"] if v.discrete else v["mean_jacobian"]
        slope = outputs.sum(axis=1) * scale(outputs.shape[1])
        return F + slope.T @ (v["f_weights"][:, None] * slope)

    return change


def _linear(v: Any) -> Any:
    return v.problem.family in ("tabular", "softmax", "gaussian")


def _kronecker(v: Any, F: Any) -> Any:
    if not v.discrete or not _linear(v):
        return np.full_like(F, np.nan)
    x, pi, w = np.asarray(v.problem.observations), v["pi"], v["f_weights"]
    inputs = x.T @ (w[:, None] * x)
    outputs = np.einsum("s,sab->ab", w, np.einsum("sa,ab->sab", pi, np.eye(pi.shape[1]))
                        - pi[:, :, None] * pi[:, None, :])  # fmt: skip
    return np.kron(inputs, outputs)


def _std_block(v: Any, F: Any, factor: Any) -> Any:
    if not _linear(v):
        return np.full_like(F, np.nan)
    m = v.problem.action_size
    scale = np.ones(len(F))
    scale[-m:] = np.sqrt(factor)
    return scale[:, None] * F * scale


def _unit_variance(v: Any, F: Any) -> Any:
    """J_μᵀJ_μ + 2 J_ℓᵀJ_ℓ: the mean's block with Σ = I."""
    w, m, s = v["f_weights"], v["mean_jacobian"], v["std_jacobian"]
    return np.einsum("s,smd,sme->de", w, m, m) + 2.0 * np.einsum("s,smd,sme->de", w, s, s)


def _unit_variance_mean(v: Any, F: Any) -> Any:
    w, m = v["f_weights"], v["mean_jacobian"]
    return np.einsum("s,smd,sme->de", w, m, m)


def _identity_std(v: Any, F: Any) -> Any:
    w, s = v["f_weights"], v["std_jacobian"]
    return _unit_variance_mean(v, F) + np.einsum("s,smd,sme->de", w, s, s)


def _outputs(v: Any) -> Any:
    return float(v.problem.num_actions if v.discrete else v.problem.action_size)


def _times(factor: Any) -> Any:
    return {"F": lambda v, F: factor * F}


def _coordinate_in_f(slope: Any) -> Any:
    def change(v: Any, F: Any) -> Any:
        if not _linear(v):
            return np.full_like(F, np.nan)
        m = v.problem.action_size
        scale = np.ones(len(F))
        scale[-m:] = slope(v["std"][0])
        return scale[:, None] * F * scale

    return change


ENTRIES = (
    Choice("fisher", "true", "true-fisher", "free", "F = Σ_i w_i E_{a~π}[φφᵀ | s_i]",
           "the expectation over actions is exact", "nothing to mend", default=True),
    Choice("fisher", "empirical", "empirical-fisher", "approximation",
           "F = Σ_i w_i φ(s_i, a_i) φ(s_i, a_i)ᵀ with the batch's own actions",
           "equals the true F on an exact batch; differs on an ordinary one by sampling noise",
           "take the expectation over actions (Σ_a π(a|s) φφᵀ), or declare "
           "Conventions(fisher='empirical')",
           note="Fisher matrix from the batch's own actions", seen=(sources.EMPIRICAL,),
           visible=F, hidden={**NOT_G, "exact batches": "their actions have the law of π"}),
    Choice("fisher_scale", "normalised", "normalised-fisher", "free", "weights sum to 1",
           "F is an expectation", "nothing to mend", default=True),
    Choice("fisher_scale", "unnormalised", "unnormalised-fisher", "free",
           "weights sum to 1/(1−γ) (or to the mean length)",
           "F is 1/(1−γ) times the expectation",
           "nothing to mend; damping and max_kl then mean something else", visible=F,
           hidden={"direction at λ = 0": "a factor of F changes lengths only"}),
    Choice("damping_in_fisher", "", "damped-fisher", "convention", "fisher returns F + λI",
           "the matrix itself is shifted",
           "return F and damp in the solve, or declare Conventions(damping=λ, "
           "damping_in='fisher')", note="damping λ = {} inside the matrix", visible=("fisher",)),
    Choice("fisher", "loss_gradient", "loss-gradient-outer-product", "bug",
           "F = E[A² φφᵀ], the outer product of the gradients of the loss, or E[|A| φφᵀ]",
           "F depends on the rewards: scaling them by c scales F by c² and x by 1/c",
           "leave the advantage out: F = E[φφᵀ] with φ = ∇log π",
           note="F is made of gradients of the loss, A∇log π, not of ∇log π", visible=F,
           hidden=NOT_G, change={"F": _loss_outer},
           forms=({"F": _loss_outer_q}, {"F": _loss_outer_absolute}),
           notes=("F is made of gradients of the loss, Q∇log π, not of ∇log π",
                  "F is weighed by |A|: E[|A| φφᵀ]"),
           reads=("critic", "row_critic", "scores", "row_scores", "weights", "action_weights",
                  "row_weights", "q_value")),
    Choice("fisher", "mean_gradient", "outer-product-of-the-mean-gradient", "bug",
           "F = E[φA] E[φA]ᵀ: the mean is taken before the product",
           "F has rank one", "take the product for every sample, then the mean",
           note="F is the outer product of the mean gradient, of rank one", visible=F,
           hidden=NOT_G, change={"F": _mean_gradient},
           forms=({"F": lambda v, F: _mean_gradient(v, F) / (1.0 - v["discount"]) ** 2},),
           reads=("g", "discount")),
    Choice("fisher", "one_mean", "one-mean-for-all-states", "bug",
           "E[ψψᵀ] − E[ψ]E[ψ]ᵀ with E over states and actions at once",
           "larger than F by the spread of the states' means; right with a single state",
           "subtract each state's own mean: E_s[Cov_a ψ]",
           note="one mean over all states is subtracted, not each state's own", visible=F,
           hidden=NOT_G, change={"F": _centred_outer}, forms=({"F": _mean_feature},),
           reads=("jacobian", "f_weights", "f_action_weights"), families=("discrete",)),
    Choice("fisher", "centred", "centred-vs-uncentred", "convention",
           "E[φφᵀ] − E[φ]E[φ]ᵀ over the rows (or F − E[φA]E[φA]ᵀ)",
           "a covariance of the scores; equal to F in expectation, because E[φ] = 0",
           "E[φφᵀ] needs no centring", note="a mean is subtracted in F: a covariance of scores",
           visible=F, hidden={**NOT_G, "exact expectations": "E[φ] = 0"},
           change={"F": _covariance}, forms=({"F": _second_central_moment}, {"F": _centred}),
           reads=("g", "row_scores", "row_weights")),
    Choice("fisher", "mean_observation", "outer-product-of-the-mean-feature", "bug",
           "E[o]E[o]ᵀ in place of E[ooᵀ]", "the block of the mean has rank m: directions are lost",
           "take the product for every state, then the mean",
           note="the mean observation is squared, not the observation", visible=F, hidden=NOT_G,
           change={"F": _mean_observation}, reads=("f_weights", "std"), families=("gaussian",)),
    Choice("fisher", "diagonal", "diagonal-fisher", "approximation", "diag(F) alone",
           "off-diagonal entries are zero; x is g scaled entry by entry",
           "use the whole matrix, by products with vectors if it is too large",
           note="only the diagonal of F", visible=F, hidden=NOT_G,
           change={"F": lambda v, F: np.diag(np.diag(F))},
           forms=({"matrix": lambda v, F: np.diag(np.diag(F))},)),
    Choice("fisher", "blocks", "block-fisher", "approximation",
           "F with the blocks between features (actions, layers of a network) set to zero",
           "exact for tabular policies when the blocks are the states",
           "keep the blocks between parameters that share a state",
           note="F is cut to blocks on its diagonal", visible=F,
           hidden={**NOT_G, "tabular, blocks by state": "F has no other blocks"},
           change={"F": lambda v, F: _blocks(v, F, 0)},
           forms=({"F": lambda v, F: _blocks(v, F, 1)},
                  {"F": _of_network(lambda n, m: ((n + 1) * m,))},
                  {"F": _of_network(lambda n, m: (n * m, m))}),
           families=("discrete",)),
    Choice("fisher", "kronecker", "kronecker-fisher", "approximation",
           "E[ooᵀ] ⊗ E[diag π − ππᵀ] in place of E[ooᵀ ⊗ (diag π − ππᵀ)]",
           "exact when all states share one policy (Martens & Grosse 2015)",
           "use the whole matrix where it can be afforded",
           note="Kronecker-factored: the mean of a product taken as a product of means",
           visible=F,
           hidden={**NOT_G, "one policy for all states": "the second factor is constant"},
           change={"F": _kronecker}, reads=("pi", "f_weights"), families=("discrete",)),
    Choice("fisher", "unit_variance", "unit-variance-fisher", "convention",
           "F = Σ_s w J_μᵀ J_μ + …, with Σ = I in place of Σ = diag σ²",
           "the block of the mean is σ² times too large; invisible for σ = 1",
           "weigh the mean's Jacobian by 1/σ²",
           note="F for unit variance: 1/σ² is missing in the block of the mean",
           seen=(sources.UNIT_VARIANCE,), visible=F, hidden={**NOT_G, "σ = 1": "1/σ² = 1"},
           change={"F": _unit_variance},
           forms=({"F": _identity_std}, {"F": _unit_variance_mean}),
           notes=("F of the mean and of log σ without their factors: 1/σ² and 2 are missing",
                  "F = Σ_s w J_μᵀJ_μ: neither 1/σ² nor a block of log σ"),
           reads=("f_weights", "mean_jacobian", "std_jacobian"), families=("gaussian",)),
    Choice("fisher", "std_block_one", "log-std-block-one", "bug",
           "1 in place of 2 on the diagonal block of log σ",
           "the block of log σ is halved; the mean's block is right",
           "E[(z² − 1)²] = 2", note="the block of log σ is 1, not 2", visible=F,
           hidden=NOT_G, change={"F": lambda v, F: _std_block(v, F, 0.5)}, families=("gaussian",)),
    Choice("fisher", "no_std_block", "log-std-omitted-from-F", "bug",
           "F is zero in the rows and columns of log σ", "x has no bound on log σ but damping",
           "put log σ among the parameters that KL is differentiated by",
           note="log σ is left out of F", seen=(sources.LOG_STD_OMITTED,), visible=F,
           hidden=NOT_G, change={"F": lambda v, F: _std_block(v, F, 0.0)}, families=("gaussian",)),
    Choice("fisher", "other_sigma", "F-in-another-sigma-coordinate", "bug",
           "F for σ, σ² or log σ² beside g for log σ",
           "the block of log σ: 2 for log σ, ½ for log σ², 2/σ² for σ, 1/(2σ⁴) for σ²",
           "use one coordinate for F and g: 2 is the block of log σ",
           note="F is taken in another coordinate of σ than θ", visible=F, hidden=NOT_G,
           change={"F": _coordinate_in_f(lambda s: 1.0 / s)},
           forms=({"F": _coordinate_in_f(lambda s: 0.5 / s**2)},
                  {"F": _coordinate_in_f(lambda s: 0.5 + 0.0 * s)},
                  {"F": _coordinate_in_f(lambda s: s)}), reads=("std",),
           families=("gaussian",)),
    Choice("fisher_factor", "four", "metric-constant", "convention",
           "4F (or ¼F, the Fubini–Study metric): the metric of quantum information",
           "x is four times too short (long); steps of fixed KL twice too short (long)",
           "F = E[φφᵀ] is the Hessian of KL, without a 4",
           note="4F, as in quantum information", visible=F,
           hidden={**NOT_G, "direction at λ = 0": "a factor of F changes lengths only"},
           change=_times(4.0), forms=(_times(0.25),), notes=("¼F, as in quantum information",)),
    Choice("fisher_factor", "two", "fisher-factor-two", "bug",
           "2F or F/2: the ½ of KL ≈ ½ΔᵀFΔ kept or dropped once too often",
           "x is ½ or 2 times the right one", "F is the Hessian of KL: KL ≈ ½ ΔᵀFΔ",
           note="½F in place of F", visible=F,
           hidden={**NOT_G, "direction at λ = 0": "a factor of F changes lengths only"},
           change=_times(0.5), forms=(_times(2.0),), notes=("2F in place of F",)),
    Choice("fisher_factor", "rows", "batch-size-scale", "bug", "N F or F/N over N rows",
           "duplicating every row must not change F, and does",
           "average over the rows once", note="F is multiplied by the number of rows",
           seen=(sources.BATCH_SIZE, sources.BATCH_SIZE_CURVLINOPS), visible=F,
           hidden={**NOT_G, "direction at λ = 0": "a factor of F changes lengths only"},
           change={"F": lambda v, F: counts.rows(v) * F},
           forms=({"F": lambda v, F: F / counts.rows(v)},),
           notes=("F is divided by the number of rows",)),
    Choice("fisher_factor", "outputs", "output-dim-scale", "bug",
           "F/A or A·F for A outputs (F/m for m action dimensions)",
           "a mean over the outputs of the network where a sum belongs",
           "sum over the outputs, average over the rows",
           note="F is divided by the number of outputs", seen=(sources.OUTPUT_DIMENSION,),
           visible=F, hidden={**NOT_G, "direction at λ = 0": "a factor of F changes lengths only"},
           change={"F": lambda v, F: F / _outputs(v)},
           forms=({"F": lambda v, F: F * _outputs(v)},),
           notes=("F is multiplied by the number of outputs",)),
    Choice("fisher_factor", "negated", "fisher-negated", "bug",
           "F = +E[∇² log π] in place of −E[∇² log π]", "F is negative semidefinite",
           "F = −E[∇² log π] = E[φφᵀ]", note="the sign of F is flipped", visible=F,
           hidden=NOT_G, change={"F": lambda v, F: -F}),
    Choice("fisher", "triangle", "upper-triangle-only", "bug",
           "only one triangle of F is filled", "F is not symmetric", "copy the other triangle",
           note="only one triangle of F is filled", visible=F, hidden=NOT_G,
           change={"F": lambda v, F: np.triu(F)}, forms=({"F": lambda v, F: np.tril(F)},)),
    Choice("fisher", "zero", "both-sides-live", "bug",
           "KL(π_θ ‖ π_θ) with θ live on both sides: KL ≡ 0 and F = 0",
           "F and every product are zero, at every θ; a KL of value 0 at θ alone is right",
           "hold the old policy fixed (detach it) before differentiating twice",
           note="F is identically zero: both sides of KL move with θ",
           seen=(sources.BOTH_LIVE,), visible=(*F, "kl"), hidden=NOT_G,
           change={"F": lambda v, F: 0.0 * F, "kl": lambda v, k: (0.0, *k[1:])},
           forms=({"F": lambda v, F: 0.0 * F}, {"kl": lambda v, k: (0.0, *k[1:])})),
    Choice("product", "unit", "product-forgets-the-length", "bug", "F v/‖v‖ in place of F v",
           "right for vectors of length one", "do not normalise v, or multiply by ‖v‖ again",
           note="the vector is normalised first", visible=("fisher_vector_product",),
           change={"product": lambda v, p: (p[0] / max(float(np.linalg.norm(p[1])), 1e-300),
                                            *p[1:])}),
    Choice("fisher", "trajectory", "trajectory-fisher", "convention",
           "F_τ = E[(Σ_t φ_t)(Σ_t φ_t)ᵀ] over trajectories: T times the mean-step F",
           "scores of different steps are uncorrelated, so F_τ is the undiscounted sum",
           "divide by the mean length, or declare fisher_scale='unnormalised'",
           note="Fisher matrix of whole trajectories", visible=F,
           seen=(Seen("Peters, Vijayakumar & Schaal 2005; Kakade 2001, section 3", "textbook"),),
           told=False,
           hidden={"fisher": "in expectation it is the unnormalised undiscounted F, which is "
                   "reported by that name"}),
    Choice("fisher", "joint", "joint-actor-critic-fisher", "approximation",
           "the Fisher matrix of policy and value together, on shared weights: "
           "F + Σ_s w ∇V ∇Vᵀ",
           "F is larger by the Gauss–Newton matrix of the value head, here the mean or the sum of "
           "the logits, or of the means of a Gaussian policy",
           "differentiate the policy's KL alone",
           note="a value head on the same weights adds its own Gauss–Newton matrix to F",
           seen=(Seen("Wu et al. 2017 (ACKTR), section 3.1", "textbook"),), visible=F,
           hidden=NOT_G, change={"F": _with_value_head(lambda a: 1.0 / a)},
           forms=({"F": _with_value_head(lambda a: 1.0)},),
           reads=("jacobian", "mean_jacobian", "f_weights")),
)  # fmt: skip
