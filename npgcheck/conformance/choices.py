"""The named choices that a verdict can be explained with: one entry each.

A choice belongs to a stage of the pipeline and has a kind. ``free`` choices are only reported,
``convention`` and ``approximation`` make a verdict deviate unless they are declared, and ``bug``
fails. The explainers build their candidates from these names and nothing else; adding a choice is
adding an entry here and the formula where its stage is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

KIND_COST = {"free": 0.1, "convention": 10.0, "approximation": 20.0, "bug": 100.0}
WEAK_COST = 150.0


@dataclass(frozen=True)
class Choice:
    """One way of doing one stage.

    Attributes:
        stage: the field of :class:`~npgcheck.Conventions` that declares it.
        value: the field's value, or "" where the choice carries a number.
        name: stable name, as ``npgcheck explain NAME`` takes it.
        kind: free, convention, approximation or bug.
        formula: what it computes.
        shows: how it shows from outside, and where it cannot be seen.
        mend: how to change it, or why one may want to keep it.
        default: whether it is what the contract asks for.
        weak: whether it explains by saying little; tried after everything that says more.
    """

    stage: str
    value: str
    name: str
    kind: str
    formula: str
    shows: str
    mend: str
    default: bool = False
    weak: bool = False


_TABLE = (
    Choice(
        "sampled",
        "mdp",
        "exact-expectation",
        "free",
        "Σ_s d(s) Σ_a π(a|s) …",
        "answers follow the MDP's own transition probabilities",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "sampled",
        "batch",
        "batch-average",
        "free",
        "1/N Σ_i … over the rows of problem.batch",
        "answers follow the rows; on an exact batch they equal the expectation",
        "nothing to mend: the batch is its own measure",
    ),
    Choice(
        "sampled",
        "episodes",
        "episode-average",
        "free",
        "Σ_τ Σ_t w_t … over problem.episodes",
        "answers follow the trajectories",
        "nothing to mend: the episodes are their own measure",
    ),
    Choice(
        "weighting",
        "discounted",
        "discounted-weighting",
        "free",
        "d(s) = (1−γ) Σ_t γᵗ Pr(s_t = s)",
        "the weighting of the policy gradient theorem (Sutton et al. 2000)",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "weighting",
        "undiscounted",
        "missing-gamma-t",
        "convention",
        "d(s) ∝ Σ_t Pr(s_t = s), while A keeps γ",
        "F, g and the direction change wherever parameters are shared between states; a tabular "
        "softmax direction cannot show it (every state has its own block)",
        "weigh step t by γᵗ, or declare Conventions(weighting='undiscounted')",
    ),
    Choice(
        "weighting",
        "per_trajectory",
        "per-trajectory-mean",
        "convention",
        "weight 1/(N·T_i) for each step of trajectory i, instead of 1/ΣT_i",
        "short trajectories weigh more; needs trajectories of unequal length",
        "average over all steps at once, or declare Conventions(weighting='per_trajectory')",
    ),
    Choice(
        "fisher",
        "true",
        "true-fisher",
        "free",
        "F = Σ_i w_i E_{a~π}[φφᵀ | s_i]",
        "the expectation over actions is exact",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "fisher",
        "empirical",
        "empirical-fisher",
        "approximation",
        "F = Σ_i w_i φ(s_i, a_i) φ(s_i, a_i)ᵀ with the batch's own actions",
        "equals the true F on an exact batch; differs on an ordinary one by sampling noise",
        "take the expectation over actions (Σ_a π(a|s) φφᵀ), or declare "
        "Conventions(fisher='empirical')",
    ),
    Choice(
        "fisher_scale",
        "normalised",
        "normalised-fisher",
        "free",
        "weights sum to 1",
        "F is an expectation",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "fisher_scale",
        "unnormalised",
        "unnormalised-fisher",
        "free",
        "weights sum to 1/(1−γ) (or to the mean length)",
        "F is 1/(1−γ) times the expectation",
        "nothing to mend; damping and max_kl then mean something else",
    ),
    Choice(
        "score",
        "centred",
        "centred-score",
        "free",
        "∇log π(a|s) = J_a − Σ_b π_b J_b, J the Jacobian of the logits",
        "E_π[φ] = 0",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "score",
        "uncentred",
        "score-missing-minus-pi",
        "bug",
        "φ = J_a in place of J_a − Σ_b π_b J_b (for linear features: φ(s,a) = o ⊗ e_a)",
        "E[φ] ≠ 0 and F = diag(dπ); g is unchanged with the exact advantage as critic, because "
        "Σ_a π A = 0, and wrong with Q or any other baseline",
        "subtract the mean over actions: ∇log π(a|s) = φ(s,a) − E_π φ(s,·)",
    ),
    Choice(
        "action_dimensions",
        "sum",
        "sum-over-action-dimensions",
        "free",
        "KL and log π of independent action dimensions add up",
        "the divergence of the joint distribution",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "action_dimensions",
        "mean",
        "kl-mean-over-action-dimensions",
        "bug",
        "1/m Σ_i KL_i over m action dimensions, and its Hessian F/m",
        "F, its products and KL are 1/m of the right ones; invisible for m = 1",
        "sum over the action dimensions before averaging over rows",
    ),
    Choice(
        "gradient_factor",
        "1/(1-gamma)",
        "full-gradient",
        "free",
        "g = ∇J = 1/(1−γ) E_d[φA]",
        "the derivative of J",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "gradient_factor",
        "1",
        "gradient-without-horizon",
        "free",
        "g = (1−γ)∇J = E_d[φA]",
        "the mean over rows",
        "nothing to mend: the direction is the same",
    ),
    Choice(
        "advantage",
        "advantage",
        "advantage-as-critic",
        "free",
        "Σ w φ A",
        "the rows' own advantages",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "advantage",
        "expected",
        "expected-advantage",
        "free",
        "Σ_i w_i E_{a~π}[φ A | s_i]",
        "the expectation over actions is exact",
        "nothing to mend",
    ),
    Choice(
        "advantage",
        "q",
        "q-as-critic",
        "free",
        "Σ w φ Q",
        "equal in expectation: any state baseline is",
        "nothing to mend",
    ),
    Choice(
        "advantage",
        "centred",
        "batch-mean-baseline",
        "free",
        "Σ w φ (A − mean A), the mean over the batch",
        "equal in expectation: a constant baseline",
        "nothing to mend",
    ),
    Choice(
        "advantage",
        "td",
        "td-residual-as-critic",
        "free",
        "Σ w φ (r + γV(s′) − V(s))",
        "equal in expectation",
        "nothing to mend",
    ),
    Choice(
        "advantage",
        "q_td",
        "one-step-target-as-critic",
        "free",
        "Σ w φ (r + γV(s′))",
        "equal in expectation",
        "nothing to mend",
    ),
    Choice(
        "advantage",
        "normalised",
        "normalised-advantages",
        "convention",
        "(A − mean A)/std A over the batch",
        "rescales g and x; exact proposals do not change",
        "declare Conventions(advantage='normalised')",
    ),
    Choice(
        "advantage",
        "normalised_sample",
        "normalised-advantages-sample-std",
        "convention",
        "(A − mean A)/std A over the batch, the standard deviation dividing by N − 1",
        "rescales g and x, by √((N−1)/N) more than the other standard deviation",
        "declare Conventions(advantage='normalised_sample')",
    ),
    Choice(
        "advantage",
        "unbiased",
        "unbiased-estimator",
        "approximation",
        "some estimate whose expectation is g",
        "equals g on every exact batch, differs on ordinary ones",
        "nothing to mend if the estimator is meant",
        weak=True,
    ),
    Choice(
        "occupancy",
        "normalised",
        "normalised-occupancy",
        "free",
        "Σ_s d(s) = 1",
        "a probability distribution",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "occupancy",
        "unnormalised",
        "unnormalised-occupancy",
        "free",
        "Σ_s μ(s) = 1/(1−γ)",
        "expected discounted visits",
        "nothing to mend",
    ),
    Choice(
        "kl_direction",
        "forward",
        "forward-kl",
        "free",
        "KL(π_problem.theta ‖ π_theta)",
        "the trust region of TRPO",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "kl_direction",
        "reverse",
        "reverse-kl",
        "free",
        "KL(π_theta ‖ π_problem.theta)",
        "the same Hessian; differs from third order on, so in the line search",
        "nothing to mend; swap the arguments if the trust region was meant",
    ),
    Choice(
        "kl_model",
        "exact",
        "exact-kl",
        "free",
        "KL itself",
        "all orders",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "kl_model",
        "quadratic",
        "quadratic-kl",
        "approximation",
        "½ ΔᵀFΔ",
        "right to second order only",
        "compute the divergence, not its quadratic model",
    ),
    Choice(
        "damping",
        "",
        "damping",
        "convention",
        "F + λI in place of F",
        "x is shorter and turns towards g; breaks invariance to reparameterisation",
        "declare it: Conventions(damping=λ)",
    ),
    Choice(
        "damping_in_fisher",
        "",
        "damped-fisher",
        "convention",
        "fisher returns F + λI",
        "the matrix itself is shifted",
        "return F and damp in the solve, or declare Conventions(damping=λ, damping_in='fisher')",
    ),
    Choice(
        "episode_ends",
        "timeout_as_terminal",
        "timeout-as-terminal",
        "bug",
        "δ_T = r − V(s) where a time limit cut the episode, without γV(s′)",
        "wrong from the time-out backwards; nothing shows without truncated steps",
        "drop the bootstrap on termination only: r + γ(1 − terminated)V(s′) − V(s)",
    ),
    Choice(
        "episode_ends",
        "bootstrap_after_termination",
        "bootstrap-after-termination",
        "bug",
        "δ_T = r + γV(s′) − V(s) although the episode terminated",
        "wrong from the termination backwards",
        "r + γ(1 − terminated)V(s′) − V(s)",
    ),
    Choice(
        "episode_ends",
        "leak",
        "gae-leaks-across-episodes",
        "bug",
        "the sum runs on into the next episode",
        "wrong before every end of an episode when λ > 0; right at λ = 0",
        "reset the running sum where terminated or truncated",
    ),
    Choice(
        "episode_ends",
        "no_discount_in_delta",
        "gae-delta-without-gamma",
        "bug",
        "δ = r + V(s′) − V(s)",
        "wrong wherever V(s′) is used",
        "discount the bootstrap by γ",
    ),
    Choice(
        "episode_ends",
        "no_discount_in_trace",
        "gae-trace-without-gamma",
        "bug",
        "Σ λ^l δ_{t+l} in place of Σ (γλ)^l δ_{t+l}",
        "right at λ = 0 and on the last step",
        "weigh later residuals by γλ",
    ),
    Choice(
        "cg_iterations",
        "",
        "truncated-cg",
        "approximation",
        "x minimises the (F + λI)-norm of the error over K_k(F, g)",
        "exact when k is at least the number of distinct eigenvalues of F in play",
        "run more iterations, or declare Conventions(cg_iterations=k)",
    ),
    Choice(
        "cg_stopping",
        "tolerance",
        "cg-stopped-at-a-tolerance",
        "approximation",
        "x minimises the (F + λI)-norm of the error over K_k(F, g), k differing between problems",
        "small right sides or loose tolerances stop the iteration early",
        "stop on a relative residual, and tighten it; or declare Conventions(solver_rtol=…)",
    ),
    Choice(
        "cg_stopping",
        "absolute",
        "absolute-tolerance",
        "approximation",
        "iterate until the residual itself, not its ratio to ‖g‖, is small",
        "where the gradient is as small as the tolerance, the start is returned unsolved",
        "stop on the relative residual ‖Fx − g‖ ≤ rtol ‖g‖",
    ),
    Choice(
        "cg_start",
        "random",
        "random-start",
        "approximation",
        "conjugate gradient from a small random vector in place of zero",
        "two calls differ; truncated iterates move by the size of the start, and what lies in "
        "null(F) is never removed",
        "start from zero",
    ),
    Choice(
        "solver_rtol",
        "",
        "limited-accuracy",
        "approximation",
        "right up to a relative error of solver_rtol",
        "looks like single precision inside, or an iteration stopped at a tolerance",
        "compute in float64 and converge, return float32, or declare Conventions(solver_rtol=…)",
    ),
    Choice(
        "range",
        "limited",
        "limited-range",
        "approximation",
        "NaN or infinity at the limits of the domain",
        "the logarithm of an underflowed softmax, or 0/0 where the gradient vanishes",
        "use log-softmax; return zero for a zero gradient",
    ),
    Choice(
        "step_length",
        "undamped",
        "undamped-length",
        "free",
        "√(2δ / xᵀFx)",
        "the quadratic model of KL equals max_kl",
        "nothing to mend",
        default=True,
    ),
    Choice(
        "step_length",
        "damped",
        "damped-length",
        "convention",
        "√(2δ / xᵀ(F+λI)x), equal to √(2δ / gᵀx) for an exact solve",
        "the step is shorter than max_kl allows",
        "use xᵀFx, or declare Conventions(step_length='damped')",
    ),
)

from npgcheck.conformance import choices_step  # noqa: E402 - its entries are made of Choice

_ALL = (*_TABLE, *choices_step.ENTRIES)
CHOICES: MappingProxyType[tuple[str, str], Choice] = MappingProxyType(
    {(c.stage, c.value): c for c in _ALL}
)
BY_NAME: MappingProxyType[str, Choice] = MappingProxyType({c.name: c for c in _ALL})
_NUMERIC = frozenset(
    {
        "damping",
        "damping_in_fisher",
        "cg_iterations",
        "solver_rtol",
        "entropy",
        "cg_epsilon",
        "kl_slack",
        "lam",
        "discount",
    }
)


def choice(stage: str, value: Any) -> Choice:
    """Returns the registered choice; numbers all belong to their stage's one entry."""
    return CHOICES[(stage, "" if stage in _NUMERIC else value)]


def cost(choices: dict[str, Any]) -> float:
    """Sum of the kinds' costs over the choices that are not what the contract asks for."""
    total = 0.0
    for stage, value in choices.items():
        if stage.startswith("_"):
            continue  # an index of this package's own, not a choice of the subject
        entry = choice(stage, value)
        if not entry.default and not (stage in _NUMERIC and not value):
            total += KIND_COST[entry.kind] + WEAK_COST * entry.weak
    return total
