"""Properties that need no reference: what every right answer satisfies, whatever its conventions.

They say what is wrong with a refuted answer, and they catch what single values do not: state
kept between calls, absolute tolerances, a sample size that leaks into F.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.check_ids import PROPERTIES
from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.explainers.step import condition, visible
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.probes import Probe
from npgcheck.conformance.report import CheckResult, Diagnosis
from npgcheck.conformance.run_state import Run
from npgcheck.conformance.verdicts import expected

Array = np.ndarray
#: (record, error, budget): one judged instance of a property.
Instance = tuple[Record, float, float]

#: Properties that need further calls are judged on so many problems.
FEW = 6
#: Rewards are scaled by powers of two, so that the scaled problem is exact: a thousandth and a
#: millionth part, where absolute tolerances begin to bite.
REWARD_SCALES = (2.0**-10, 2.0**-20)
#: An error of this many budgets relates two answers of the subject, each with its own rounding.
TWO_ANSWERS = 4.0


#: Conventions and approximations that a property cannot hold for, as they are. Twice N − 1 is not
#: 2N − 1, and every fifth row of the rows twice over is another; a forward difference is off by h/2
#: times a second derivative, which no mean makes vanish; sampled actions have a mean of their own;
#: a start that is drawn is another one in each call.
IMPLIED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "NPG-SC-002": frozenset({"finite-difference-eps"}),
        "NPG-FV-002": frozenset({"finite-difference-eps"}),
        "NPG-KL-003": frozenset({"kl-from-sampled-log-ratios"}),
        "NPG-F-004": frozenset({"centred-vs-uncentred", "fisher-state-subsample"}),
        "NPG-FV-004": frozenset({"centred-vs-uncentred", "fisher-state-subsample"}),
        "NPG-PG-003": frozenset({"normalised-advantages-sample-std", "scaled-advantages"}),
        "NPG-CG-085": frozenset({"random-start"}),
    }
)
#: Invariances, which only the exact natural gradient, gradient and divergence have: a convention
#: that reproduces the very answers which violate them takes their place.
EXACT_ONLY = frozenset({"NPG-NG-002", "NPG-NG-003", "NPG-PG-002", "NPG-KL-002"})
#: A name that says that the answers are rounding noise; noise has no property.
NOISE = "no-damping"


def excuse(state: Run) -> None:
    """Takes back violations that the name of the values implies: it is said once."""
    for quantity, results in state.results.items():
        named = [d for r in results if r.kind == "value" for d in r.diagnosis]
        state.results[quantity] = [_excused(r, named) for r in results]


def _excused(result: CheckResult, named: Sequence[Diagnosis]) -> CheckResult:
    if result.kind != "property" or result.status != "fail":
        return result
    if any(d.kind == "bug" for d in named):
        implying = [d for d in named if d.choice == NOISE]
    else:
        listed = IMPLIED.get(result.id, frozenset())
        exact = result.id in EXACT_ONLY
        implying = [d for d in named if d.choice in listed or (exact and d.reproduces is not None)]
    if not implying:
        return result
    said = f"{implying[0].choice} does not have this property"
    return replace(result, status="skip", reason=said)


def check(state: Run, quantity: str) -> list[CheckResult]:
    """The property checks of one quantity, each on the problems that can show it."""
    fit = state.fit(quantity)
    # What was right to a stated accuracy cannot be held to round-off here.
    declared = float(state.declared.get("solver_rtol") or 0.0)
    accuracy = 10.0 * max(declared, float(fit.choices.get("solver_rtol") or 0.0)) if fit else 0.0
    return [
        _result(
            check_id,
            [(r, e, b * max(1.0, accuracy / r.roundoff)) for r, e, b in judge(state)],
        )
        for check_id, judge in _CHECKS.items()
        if PROPERTIES[check_id][0] == quantity and check_id in state.allowed
    ]


def _result(check_id: str, instances: list[Instance]) -> CheckResult:
    quantity, title = PROPERTIES[check_id]
    ratios = [e / b if b > 0 else (np.inf if e > 0 else 0.0) for _, e, b in instances]
    worst = max(ratios, default=0.0)
    refuted = [r for (r, _, _), ratio in zip(instances, ratios, strict=True) if ratio > 1.0]
    where = refuted[0].probe.problem if refuted else None
    return CheckResult(
        id=check_id,
        quantity=quantity,
        title=title,
        status="fail" if refuted else "pass" if instances else "skip",
        kind="property",
        problems=len({r.probe.position for r, _, _ in instances}),
        worst=float(worst),
        digits=0.0,
        reason=f"violated on problem {where.id} ({where.describe()}), {worst:.2g} × budget"
        if where
        else ""
        if instances
        else "no problem that could show it",
        refuted_after=refuted[0].probe.position + 1 if refuted else None,
    )


# ---- from the answers that are already there ----------------------------------------------------


def _mean_score(state: Run) -> Iterator[Instance]:
    """Σ_a π(a|s) φ(s, a) = 0 at a state where every action was asked."""
    by_state: dict[tuple[int, int], dict[int, Record]] = {}
    for record in state.judgeable("score"):
        if record.reference.discrete:
            state_index, action = record.probe.args
            by_state.setdefault((record.probe.position, state_index), {})[action] = record
    for (_, s), asked in by_state.items():
        record = next(iter(asked.values()))
        reference = record.reference
        if len(asked) == reference.problem.num_actions:
            mean = sum(reference.probabilities[s, a] * r.value for a, r in asked.items())
            budget = tolerance.score(reference.scales, record.roundoff)
            yield record, float(np.abs(mean).max()), budget


def _symmetric(state: Run) -> Iterator[Instance]:
    for record in state.judgeable("fisher"):
        budget = TWO_ANSWERS * _fisher_budget(record, float(np.abs(record.value).max()))
        yield record, float(np.abs(record.value - record.value.T).max()), budget


def _semidefinite(state: Run) -> Iterator[Instance]:
    for record in state.judgeable("fisher"):
        size = float(np.abs(record.value).max())
        least = float(np.linalg.eigvalsh(0.5 * (record.value + record.value.T))[0])
        # Rounding of the entries moves an eigenvalue by at most D times as much.
        yield record, max(0.0, -least), len(record.value) * _fisher_budget(record, size)


def _fisher_budget(record: Record, size: float) -> float:
    """Rounding of F, in the subject's own scale."""
    scales = record.reference.scales
    own = tolerance.fisher(scales, record.roundoff)
    return own * max(1.0, size / max(scales.fisher, 1e-300))


def _products(state: Run) -> Iterator[list[Record]]:
    """The products of each problem, together."""
    groups: dict[int, list[Record]] = {}
    for record in state.judgeable("fisher_vector_product"):
        groups.setdefault(record.probe.position, []).append(record)
    yield from groups.values()


def _product_budget(record: Record, size: float, other: float) -> float:
    size = max(size, float(np.linalg.norm(record.value)))
    return TWO_ANSWERS * _fisher_budget(record, size) * other * max(1.0, size)


def _self_adjoint(state: Run) -> Iterator[Instance]:
    for group in _products(state):
        for first, second in pairwise(group):
            u, v = first.probe.args[0], second.probe.args[0]
            norms = float(np.linalg.norm(u) * np.linalg.norm(v))
            error = abs(float(u @ second.value) - float(v @ first.value))
            yield first, error, _product_budget(first, 1.0, norms)


def _positive(state: Run) -> Iterator[Instance]:
    for group in _products(state):
        for record in group:
            v = record.probe.args[0]
            norm = float(v @ v)
            yield record, max(0.0, -float(v @ record.value)), _product_budget(record, 1.0, norm)


def _zero_at_theta(state: Run) -> Iterator[Instance]:
    for record in state.judgeable("kl"):
        if record.probe.label == "θ itself":
            budget = tolerance.kl(record.reference.scales, record.roundoff, 0.0, 0.0)
            yield record, abs(float(record.value)), budget


# ---- from a few further calls -------------------------------------------------------------------


def _few(state: Run, quantity: str, wanted: Callable[[Any], bool]) -> Iterator[Record]:
    """One record of each of the first few problems that qualify."""
    seen: set[int] = set()
    for record in state.judgeable(quantity):
        if len(seen) == FEW:
            return
        if record.probe.position not in seen and wanted(record.reference.problem):
            seen.add(record.probe.position)
            yield record


def _ask(state: Run, quantity: str, problem: Any, record: Record, *args: Any) -> Array | None:
    answer = state.collector.call(Probe(quantity, problem, args, record.probe.shape))
    return answer.value if answer.fault is None else None


def _zero_slope(state: Run) -> Iterator[Instance]:
    """(KL(θ+h) − KL(θ−h)) / (KL(θ+h) + KL(θ−h)) is O(h) when the gradient at θ vanishes, and
    near ±1 when it does not."""
    for record in _few(state, "kl", lambda p: True):
        problem = record.reference.problem
        step = 2.0**-7 * (record.probe.args[0] - problem.theta)
        ahead = _ask(state, "kl", problem, record, problem.theta + step)
        behind = _ask(state, "kl", problem, record, problem.theta - step)
        if ahead is None or behind is None:
            continue
        total = abs(float(ahead)) + abs(float(behind))
        noise = tolerance.kl(record.reference.scales, record.roundoff, total, 0.0)
        if total > 100.0 * noise:
            yield record, abs(float(ahead) - float(behind)) / total, 0.5


def _scaled_rewards(quantity: str) -> Callable[[Run], Iterator[Instance]]:
    def judge(state: Run) -> Iterator[Instance]:
        explainer = explainer_of(quantity)
        fit = state.fit(quantity)
        for record in _few(state, quantity, _has_rewards):
            if fit is None or str(fit.choices.get("advantage")).startswith("normalised"):
                continue
            if fit.choices.get("cg_stopping") == "absolute":
                continue  # already named: small gradients are not solved
            judged = explainer.judge(record, fit.choices)
            for scale in REWARD_SCALES:
                answer = _ask(state, quantity, _with_rewards(record, scale), record)
                if answer is None or judged is None:
                    continue
                size = float(np.abs(record.value).max())
                # Both answers are right to the accuracy found on the unscaled problem; a critic
                # with a baseline of its own does not shrink, and keeps its rounding.
                rounding = judged.budget / scale
                relative = max(rounding, judged.error) / max(judged.size, 1e-300)
                budget = TWO_ANSWERS * relative * _growth(quantity, record, fit.choices) * size
                difference = answer / scale - record.value
                if quantity == "natural_gradient":  # what no visited policy feels is free
                    difference = visible(record, fit.choices, difference)
                yield record, float(np.abs(difference).max()), budget

    return judge


def _has_rewards(problem: Any) -> bool:
    return hasattr(problem.mdp, "rewards") and problem.family != "own"


def _growth(quantity: str, record: Record, choices: dict[str, Any]) -> float:
    """A residual's relative size grows by the condition number on its way to x."""
    return condition(record, choices) if quantity == "natural_gradient" else 1.0


def _with_rewards(record: Record, scale: float) -> Any:
    """The same problem with all rewards scaled, and an id of its own."""
    problem = record.reference.problem
    mdp = replace(problem.mdp, rewards=scale * np.asarray(problem.mdp.rewards))
    return replace(problem, mdp=mdp, id=f"{problem.id}*{scale:g}")


def _affine(state: Run) -> Iterator[Instance]:
    """Under observations ↦ observations·M the direction moves the policy as before.

    Exact for affine maps only (Kakade 2001; Bagnell & Schneider 2003); damping breaks it, so it
    is not asked of a damped solve.
    """
    fit = state.fit("natural_gradient")
    if not state.judgeable("natural_gradient"):
        return
    choices = _choices(state, "natural_gradient")
    # Anything that measures length in θ itself, as damping and the order of conjugate-gradient
    # iterations do, is not invariant; both are named where they are found.
    if any(choices.get(s) for s in ("damping", "cg_iterations", "cg_stopping")):
        return
    explainer = explainer_of("natural_gradient")
    for record in _few(state, "natural_gradient", lambda p: p.family == "softmax"):
        problem = record.reference.problem
        k = problem.observation_size
        # A shear and a stretch: exactly representable, condition number below 8 for k ≤ 6.
        matrix = np.eye(k) + np.diag(np.full(k - 1, 0.5), 1)
        matrix[-1, -1] = 2.0
        weights = problem.theta.reshape(k, -1)
        theta = np.linalg.solve(matrix, weights).ravel()
        moved = replace(
            problem,
            observations=np.asarray(problem.observations) @ matrix,
            theta=theta,
            id=f"{problem.id}~affine",
        )
        answer = _ask(state, "natural_gradient", moved, record)
        judged = explainer.judge(record, choices)
        if answer is None or judged is None:
            continue
        before = _policy_velocity(record, problem, record.value)
        after = _policy_velocity(record, moved, answer)
        size = float(np.abs(before).max())
        # A direction that is right is held to the accuracy found, a wrong one to round-off.
        accuracy = judged.budget if fit is None else max(judged.budget, judged.error)
        relative = accuracy / max(judged.size, 1e-300)
        spread = float(np.linalg.cond(matrix)) ** 2  # F is stretched from both sides
        budget = TWO_ANSWERS * relative * condition(record, choices) * spread * size
        yield record, float(np.abs(after - before).max()), budget


def _policy_velocity(record: Record, problem: Any, x: Array) -> Array:
    """√d · (∂ log π)[x]: how fast the policy moves at each state, as far as it is visited."""
    reference = record.reference
    logits = problem.policy.jvp(problem.theta, problem.observations, x)
    mean = (reference.probabilities * logits).sum(axis=1, keepdims=True)
    weights = reference.state_weights("mdp", "discounted")
    return np.sqrt(weights)[:, None] * reference.probabilities * (logits - mean)


def _duplicated(quantity: str) -> Callable[[Run], Iterator[Instance]]:
    """On designed batches: the same rows, each twice, are the same distribution."""

    def judge(state: Run) -> Iterator[Instance]:
        if "batch" not in state.collector.found[quantity].accessed:
            return
        explainer = explainer_of(quantity)
        choices = _choices(state, quantity)
        for record in _few(state, quantity, lambda p: p.design is not None):
            answer = _ask(state, quantity, _with_rows_twice(record), record, *record.probe.args)
            judged = explainer.judge(record, choices)
            if answer is None or judged is None:
                continue
            size = float(np.abs(record.value).max())
            # An answer out of scale rounds in its own scale.
            budget = judged.budget * max(1.0, size / max(judged.size, 1e-300))
            yield record, float(np.abs(answer - record.value).max()), TWO_ANSWERS * budget

    return judge


def _with_rows_twice(record: Record) -> Any:
    """The same problem with every designed row twice, and an id of its own."""
    problem = record.reference.problem
    rows = {
        name: np.concatenate([getattr(problem.design, name)] * 2)
        for name in ("states", "choices", "next_states")
    }
    design = replace(problem.design, **rows)
    return replace(problem, design=design, id=f"{problem.id}*rows")


def _choices(state: Run, quantity: str) -> dict[str, Any]:
    """What the quantity is judged under: its explanation, or the nearest to one."""
    fit = state.fit(quantity)
    if fit is not None:
        return fit.choices
    alone = state.explanations[quantity].fitting
    return alone[0].choices if alone else expected(state, quantity, state.judgeable(quantity))


_CHECKS: dict[str, Callable[[Run], Iterator[Instance]]] = {
    "NPG-SC-002": _mean_score,
    "NPG-F-002": _symmetric,
    "NPG-F-003": _semidefinite,
    "NPG-F-004": _duplicated("fisher"),
    "NPG-FV-002": _self_adjoint,
    "NPG-FV-003": _positive,
    "NPG-FV-004": _duplicated("fisher_vector_product"),
    "NPG-KL-002": _zero_at_theta,
    "NPG-KL-003": _zero_slope,
    "NPG-PG-002": _scaled_rewards("policy_gradient"),
    "NPG-PG-003": _duplicated("policy_gradient"),
    "NPG-NG-002": _scaled_rewards("natural_gradient"),
    "NPG-NG-003": _affine,
}
