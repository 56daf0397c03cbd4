"""Solver and damping: from F and g to x."""

from __future__ import annotations

from typing import Any

import numpy as np

from npgcheck.conformance.atlas import sources
from npgcheck.conformance.atlas.entry import Choice, Number, Seen
from npgcheck.conformance.atlas.recurrences import State, after, run

X = ("natural_gradient", "update", "trust_region_proposal", "trust_region_step")
CG = ("conjugate_gradient",)
SMALL = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)


def _power(exponent: Any) -> Any:
    def change(v: Any, s: Any) -> Any:
        values, vectors = np.linalg.eigh(s.matrix)
        kept = values > 1e-11 * max(float(values.max(initial=0.0)), 1e-300)
        inverse = np.zeros_like(values)
        inverse[kept] = values[kept] ** exponent
        return vectors @ (inverse * (vectors.T @ s.right))

    return change


def _solved(s: Any) -> Any:
    return _power(-1.0)(None, s)


def _cut(v: Any, s: Any, c: Any) -> Any:
    values, vectors = np.linalg.eigh(s.matrix)
    kept = values > c * max(float(values.max(initial=0.0)), 1e-300)
    inverse = np.zeros_like(values)
    inverse[kept] = 1.0 / values[kept]
    return vectors @ (inverse * (vectors.T @ s.right))


def _normal_equations(v: Any, s: Any, c: Any) -> Any:
    m = s.matrix
    return np.linalg.solve(m.T @ m + c * np.eye(len(m)), m.T @ s.right)


def _after(matrix: Any, b: Any, iterations: Any, **rules: Any) -> State:
    """Conjugate gradient with a rule changed, after so many iterations."""
    return after(run(matrix, b, **rules), iterations, len(b))


def _stopped(args: Any, square_limit: Any) -> Any:
    """Conjugate gradient that stops as soon as rᵀr is below a number."""
    matrix, b, k = args
    found, left = np.zeros(len(b)), np.asarray(b)
    for _, state in zip(range(int(k)), run(matrix, b), strict=False):
        if float(left @ left) < square_limit:
            break
        found, left = state.x, state.r
    return found


def _with_epsilon(args: Any, epsilon: Any, both: bool = False) -> Any:
    def quotient(a: float, c: float) -> float:
        return a / (c + epsilon)

    rules = {"step": quotient, "beta": quotient} if both else {"step": quotient}
    return _after(*args, **rules).x


def _solves_with_epsilon(iterations: Any) -> Any:
    return {"direction": lambda v, s, c: _with_epsilon((s.matrix, s.right, iterations), c)}


def _solves_until(iterations: Any) -> Any:
    return {"direction": lambda v, s, c: _stopped((s.matrix, s.right, iterations), c)}


def _cg(f: Any) -> Any:
    return {"cg": lambda args, _: f(*args)}


ENTRIES = (
    Choice("damping", "", "damping", "convention", "F + λI in place of F",
           "x is shorter and turns towards g; breaks invariance to reparameterisation",
           "declare Conventions(damping=λ)", note="damping λ = {}", seen=(sources.DAMPING,),
           visible=("fisher_vector_product", *X),
           hidden={"one eigenvalue": "if F is a multiple of a projection, x only shrinks"}),
    Choice("cg_iterations", "", "truncated-cg", "approximation",
           "x minimises the (F + λI)-norm of the error over K_k(F, g)",
           "exact when k is at least the number of distinct eigenvalues of F in play",
           "run more iterations, or declare Conventions(cg_iterations=k)",
           note="conjugate gradient stopped after {} iterations",
           seen=(Seen("10 iterations are the default of most TRPO code", "read"),), visible=X,
           hidden={"rank F ≤ k": "the iteration has converged"}),
    Choice("cg_stopping", "tolerance", "cg-stopped-at-a-tolerance", "approximation",
           "x minimises the (F + λI)-norm of the error over K_k(F, g), k differing between "
           "problems",
           "small right sides or loose tolerances stop the iteration early",
           "stop on a relative residual, and tighten it; or declare Conventions(solver_rtol=…)",
           note="conjugate gradient stopped early, at a tolerance", visible=(*CG, *X)),
    Choice("cg_stopping", "absolute", "absolute-tolerance", "approximation",
           "iterate until the residual itself, not its ratio to ‖g‖, is small",
           "where the gradient is as small as the tolerance, the start is returned unsolved",
           "stop on the relative residual ‖Fx − g‖ ≤ rtol ‖g‖",
           note="the solver stops at an absolute residual, so small gradients are not solved",
           visible=(*CG, *X),
           change={"cg": lambda args, _, c: _stopped(args, c)},
           forms=({"cg": lambda args, _, c: _stopped(args, c * c)},
                  *(_solves_until(k) for k in (10, 20, 100, 1000))),
           number=Number("tolerance on rᵀr", (
               1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1e-12, 1e-7), whole=True)),
    Choice("cg_start", "random", "random-start", "approximation",
           "conjugate gradient from a small random vector in place of zero",
           "two calls differ; truncated iterates move by the size of the start, and what lies in "
           "null(F) is never removed", "start from zero",
           note="the solver starts at a random vector",
           seen=(Seen("Stable-Baselines-Team/stable-baselines3-contrib#40", "read",
                      "https://github.com/Stable-Baselines-Team/stable-baselines3-contrib/pull/40"),
                 ), visible=(*CG, "natural_gradient")),
    Choice("direction", "gradient", "preconditioner-not-applied", "bug", "x = g",
           "x is parallel to g; natural gradients are not, where rank F ≥ 2",
           "solve F x = g", note="x is the gradient itself: F is not applied",
           seen=(sources.PRECONDITIONER,), visible=X,
           hidden={"F a multiple of a projection": "then x is parallel to g anyway"},
           change={"direction": lambda v, s: s.right}),
    Choice("direction", "multiplied", "multiplied-not-solved", "bug", "x = F g",
           "x grows where it should shrink", "solve F x = g, do not multiply",
           note="F is multiplied with g, not solved", visible=X,
           change={"direction": lambda v, s: s.matrix @ s.right}),
    Choice("direction", "root", "square-root-of-F", "bug", "x = F^(−1/2) g",
           "as in Adam and RMSProp, whose second moment is under a root", "solve F x = g",
           note="the inverse square root of F is applied", visible=X,
           change={"direction": _power(-0.5)}),
    Choice("direction", "twice", "inverse-applied-twice", "bug", "x = F⁻² g",
           "small eigenvalues count far too much", "solve once",
           note="F is solved twice", visible=X, change={"direction": _power(-2.0)}),
    Choice("direction", "unit", "direction-normalised", "bug", "x/‖x‖ (or x/max|x|)",
           "every x has length one; proposals of fixed KL do not change",
           "return x itself; its length carries the step",
           note="x is scaled to length one", visible=("natural_gradient", "update"),
           hidden={"trust-region proposals": "their length does not depend on that of x"},
           change={"direction": lambda v, s: _solved(s) / max(
               float(np.linalg.norm(_solved(s))), 1e-300)},
           forms=({"direction": lambda v, s: _solved(s) / max(
               float(np.abs(_solved(s)).max()), 1e-300)},)),
    Choice("direction", "cut_off", "pseudo-inverse-cut-off", "approximation",
           "eigenvalues below c · λ_max are treated as zero",
           "right on well-conditioned problems only",
           "a cut-off near round-off: 1e-11, not 1e-2",
           note="eigenvalues below {} of the largest are dropped", visible=X,
           hidden={"cond F < 1/c": "no eigenvalue is dropped"},
           change={"direction": _cut},
           number=Number("c", (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.03, 0.02, 0.01,
                               5e-3, 3e-3, 2e-3, 1e-3, 5e-4, 3e-4, 1e-4), whole=True)),
    Choice("damping", "subtracted", "damping-subtracted", "bug", "F − λI in place of F + λI",
           "x is longer and turns away from g", "add λ", note="λ = {} is subtracted, not added",
           visible=X, change={"matrix": lambda v, m, c: m - c * np.eye(len(m))},
           number=Number("λ", SMALL)),
    Choice("damping", "relative", "relative-damping", "convention",
           "F + λ (tr F/D) I: damping relative to the size of F",
           "x as if λ differed between problems", "declare λ, or leave F undamped",
           note="damping {} times the mean of the diagonal", visible=X,
           change={"matrix": lambda v, m, c: m + c * np.trace(m) / len(m) * np.eye(len(m))},
           forms=({"matrix": lambda v, m, c: m + c * np.trace(m) * np.eye(len(m))},
                  {"matrix": lambda v, m, c: m + c * np.linalg.eigvalsh(m)[-1] * np.eye(len(m))}),
           number=Number("λ", SMALL)),
    Choice("damping", "marquardt", "marquardt-damping", "convention", "F + λ diag(F)",
           "entries of x with a large diagonal shrink most (Marquardt 1963)",
           "damp with λI, or leave F undamped", note="damping {} times the diagonal of F",
           visible=X, change={"matrix": lambda v, m, c: m + c * np.diag(np.diag(m))},
           number=Number("λ", SMALL)),
    Choice("damping", "shrinkage", "shrinkage", "convention", "(1 − λ)F + λI",
           "damping, and F itself shrinks", "damp with F + λI",
           note="F is mixed with the identity, {} of it", visible=X,
           change={"matrix": lambda v, m, c: (1.0 - c) * m + c * np.eye(len(m))},
           number=Number("λ", (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9),
                         not_values=(1.0,))),
    Choice("damping", "normal", "ridge-on-normal-equations", "convention",
           "(FᵀF + λI)⁻¹ Fᵀ g", "directions with small eigenvalues vanish instead of shrinking",
           "solve (F + λI) x = g", note="ridge regression λ = {} on the normal equations",
           visible=X, change={"direction": _normal_equations}, number=Number("λ", SMALL)),
    Choice("damping", "on_inverse", "damping-added-to-the-inverse", "bug", "(F⁻¹ + λI) g",
           "x is longer by λg, also in directions that F does not see",
           "add λ before inverting", note="λ = {} is added after inverting", visible=X,
           change={"direction": lambda v, s, c: _solved(s) + c * s.right},
           number=Number("λ", SMALL)),
    Choice("damping", "two", "two-dampings", "bug", "λ of one solve is not the λ of another",
           "each is damping by itself; together they are two different natural gradients",
           "use one λ for product, solve and step", note="two quantities are damped differently",
           visible=("fisher_vector_product", *X),
           hidden={"a single quantity": "nothing to compare with"}),
    Choice("cg_rule", "epsilon", "CG-denominator-eps", "approximation",
           "α = rᵀr/(pᵀFp + ε) in conjugate gradient",
           "biased where the gradient is small: pᵀFp is of its square",
           "leave ε out; stop when the residual vanishes",
           note="ε = {} in the denominator of conjugate gradient", visible=(*CG, *X),
           change=_solves_with_epsilon(10),
           forms=(*(_solves_with_epsilon(k) for k in (15, 20, 25, 30, 40, 50, 60, 100)),
                  {"cg": lambda args, _, c: _with_epsilon(args, c)},
                  {"cg": lambda args, _, c: _with_epsilon(args, c, both=True)}),
           number=Number("ε", (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2))),
    Choice("cg_rule", "beta_inverted", "cg-beta-inverted", "bug",
           "β = r_k²/r_{k+1}² in place of r_{k+1}²/r_k²", "right for one iteration only",
           "β = r_{k+1}ᵀr_{k+1} / r_kᵀr_k", note="β is upside down", visible=CG,
           change=_cg(lambda m, b, k: _after(m, b, k, beta=lambda new, old: old / new).x)),
    Choice("cg_rule", "no_beta", "cg-is-steepest-descent", "bug", "p = r: β is left out",
           "converges slowly; right for one iteration", "p ← r + βp",
           note="β is missing: steepest descent", visible=CG,
           change=_cg(lambda m, b, k: _after(m, b, k, beta=lambda new, old: 0.0).x)),
    Choice("cg_rule", "minus", "cg-residual-minus-direction", "bug", "p ← r − βp",
           "right for one iteration only", "p ← r + βp", note="βp is subtracted, not added",
           visible=CG,
           change=_cg(lambda m, b, k: _after(m, b, k, beta=lambda new, old: -new / old).x)),
    Choice("cg_rule", "beta_one", "cg-beta-is-one", "bug", "p ← r + p",
           "right for one iteration only", "β = r_{k+1}ᵀr_{k+1} / r_kᵀr_k", note="β is one",
           visible=CG, change=_cg(lambda m, b, k: _after(m, b, k, beta=lambda n, o: 1.0).x)),
    Choice("cg_rule", "short", "cg-one-iteration-short", "bug", "k − 1 iterations",
           "right once the iteration has converged", "run the iterations that were asked for",
           note="one iteration too few", visible=CG,
           change=_cg(lambda m, b, k: _after(m, b, k - 1).x),
           forms=(_cg(lambda m, b, k: _after(m, b, k + 1).x),)),
    Choice("cg_rule", "direction_subtracted", "cg-residual-forgets-the-matrix", "bug",
           "r ← r − αp in place of r − αMp", "right for M = I only", "r ← r − α Mp",
           note="the residual loses αp, not αMp", visible=CG,
           change=_cg(lambda m, b, k: _after(m, b, k, forgets_matrix=True).x)),
    Choice("cg_rule", "stale", "cg-stale-curvature", "bug", "M p of the first direction throughout",
           "right for one iteration only", "compute Mp in every iteration",
           note="M p is computed once, before the loop", visible=CG,
           change=_cg(lambda m, b, k: _after(m, b, k, stale_curvature=True).x),
           forms=(_cg(lambda m, b, k: _after(m, b, k, stale_curvature=True, guarded=True).x),
                  _cg(lambda m, b, k: _after(
                      m, b, k, stale_curvature=True, first_curvature=True).x))),
    Choice("cg_rule", "residual", "cg-returns-the-residual", "bug", "r in place of x",
           "vanishes as the iteration converges", "return x", note="the residual is returned",
           visible=CG, change=_cg(lambda m, b, k: b - m @ _after(m, b, k).x),
           forms=(_cg(lambda m, b, k: _after(m, b, k).p),)),
    Choice("cg_rule", "no_length", "cg-step-is-one", "bug", "x ← x + p: α is left out",
           "diverges unless F is near the identity", "α = rᵀr/pᵀFp", note="α is missing",
           visible=CG,
           change=_cg(lambda m, b, k: _after(m, b, k, step=lambda a, c: 1.0).x),
           forms=(_cg(lambda m, b, k: _after(m, b, k, unit_step=True).x),)),
    Choice("cg_rule", "negated", "cg-negated", "bug", "−x", "the sign is flipped",
           "return x with Fx = b", note="the solution of Mx = −b", visible=CG,
           change=_cg(lambda m, b, k: -_after(m, b, k).x)),
    Choice("solver", "none", "no-damping", "bug", "a plain solve with singular F",
           "raises LinAlgError, or returns numbers of the size 1/u; the softmax F is always "
           "singular",
           "damp, or use a pseudo-inverse or conjugate gradient",
           note="F is singular, and solved as it is",
           seen=(Seen("recorded as confirmed; the place is not", "read"),), visible=X,
           hidden={"regular F": "nothing is singular"}),
)  # fmt: skip
