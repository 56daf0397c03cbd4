"""Is log π that of the policy? It is compared row by row, without derivatives."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from npgcheck.conformance.report import Diagnosis
from npgcheck.step import fit, names, reread, variants
from npgcheck.step.probes import Probes
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray


def judge_log_prob(probes: Probes, answer: Array, dtype: str, declared: dict[str, Any]) -> Verdict:
    """The verdict on log π(a_i|s_i) (N,)."""
    rows = probes.rows
    verdict = Verdict("log_prob", compared=len(answer))
    u = max(probes.unit, unit_roundoff(dtype))
    exact = rows.law.log_prob(rows.z, rows.actions)
    # |δ log π| ≤ C u (lift + |log π| + Σ|∂log π/∂z| |z|): the outputs round at their own size
    moved = np.sum(rows.score_size * (1.0 + np.abs(rows.z)), axis=1)
    moved = moved + rows.law.action_size(rows.z, rows.actions)
    budgets = CONSTANT * u * (rows.lift + np.abs(exact) + moved)
    best: tuple[tuple[int, float], list[Diagnosis], fit.Fitted] | None = None
    tried = variants.log_probs(rows)
    for chosen, note, predicted in itertools.chain(tried, reread.log_probs(rows, answer)):
        fitted = fit.compare(answer, predicted, budgets)
        price = names.cost(chosen)
        if fitted.holds and (best is None or price < best[0]):
            best = (price, [names.named(n, note=note) for n in chosen], fitted)
        if best is not None and (not chosen or best[0][0] <= 1):
            break  # nothing is cheaper
    plain = fit.compare(answer, exact, budgets)
    verdict.off, verdict.off_digits = plain.ratio, plain.digits
    fitted = best[2] if best else plain
    verdict.ratio, verdict.digits = fitted.ratio, fitted.digits
    worst = np.argsort(-np.abs(answer - exact))[:6]
    verdict.yours, verdict.exact = answer[worst], exact[worst]
    verdict.where = f"rows {', '.join(map(str, worst))}"
    if best is not None:
        return verdict.explain(best[1], declared)
    verdict.status, verdict.reason = "fail", "no known choice explains it"
    offset = answer - exact
    if float(np.ptp(offset)) <= float(np.max(budgets)):
        verdict.reason += f"; it is off by {float(np.mean(offset)):.6g} in every row"
    elif fit.compare(answer, exact, budgets, -1.0).holds:
        verdict.reason += "; its sign is flipped"
    elif fit.compare(np.exp(np.minimum(exact, 700.0)), answer, budgets + 1e-6).holds:
        verdict.reason += "; it is the probability, not its logarithm"
    else:
        verdict.reason += names.mixed_precision(plain.digits, dtype)
    return verdict
