"""``npgcheck.torch.check_step``: one step of a torch module's policy, judged on its own rows."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import npgcheck
from npgcheck.conformance.check_ids import OF_MODULES, check_id
from npgcheck.conformance.report import CheckResult, Report, count
from npgcheck.conventions import Conventions
from npgcheck.errors import InvalidArgument
from npgcheck.torch.distributions import Reading, log_prob_shift, plain_actions
from npgcheck.torch.findings import Findings, look
from npgcheck.torch.policy import DistributionOf, Policy
from npgcheck.torch.state import parameters_at, preserved, write

#: The arguments of check_step that are vectors of the size of θ, and the quantity each answers.
VECTORS = {
    "gradient": "policy_gradient",
    "direction": "natural_gradient",
    "new_theta": "update",
}


def check_step(
    module: Any,
    distribution: DistributionOf,
    observations: Any,
    actions: Any,
    advantages: Any,
    *,
    parameters: Iterable[Any] | None = None,
    fixed: Iterable[str] = (),
    before: Any = None,
    log_prob: Any = None,
    gradient: Any = None,
    fisher_vector_product: Callable[[Tensor], Any] | None = None,
    kl: Callable[..., Any] | None = None,
    direction: Any = None,
    new_theta: Any = None,
    max_kl: float | None = None,
    conventions: Conventions | None = None,
    weights: Any = None,
    seed: int = 0,
) -> Report:
    """Judges one step of a module's policy; what is not given is not judged.

    Nothing of the module is changed: parameters, buffers, gradients, flags and the random
    generators are the same afterwards. Vectors may come as one tensor (D,) or as a list of one
    tensor per parameter. Functions may take a flat vector, or no argument at all: those are
    called while the module's parameters have that vector's values.

    Args:
        module: the policy's ``torch.nn.Module``, or a list of modules and parameters.
        distribution: ``distribution(module, observations)`` gives the torch.distributions object
            of the actions.
        observations: N rows, as ``distribution`` takes them.
        actions: N rows, as the distribution's ``log_prob`` takes them.
        advantages: (N,), the weights of the rows in the surrogate.
        parameters: which parameters make up θ, in the order of the flat vector; all by default,
            in the order of ``module.parameters()``.
        fixed: names of trainable parameters that stay as they are on purpose.
        before: θ before the step, where the module has made it already: a flat vector or a
            ``state_dict()``. The module's present parameters are then ``new_theta``.
        log_prob: log π(a_i|s_i), (N,), or a function of θ.
        gradient: mean_i A_i ∇log π(a_i|s_i), or a function of θ.
        fisher_vector_product: v ↦ F v, both (D,).
        kl: mean_i KL(π_θ ‖ π_θ′) as a function of θ′; without an argument, the divergence of the
            module's present policy from the one that the step starts from.
        direction: x with F x = g.
        new_theta: θ after the step.
        max_kl: δ, the size of the trust region.
        conventions: what is meant; None infers it.
        weights: (N,), of the rows; equal by default.
        seed: of the random directions.

    Returns:
        The report of :func:`npgcheck.check_step`, with what was found about the module: chance
        or batch statistics left on, parameters that influence the policy but are not in θ.

    Raises:
        InvalidArgument: an unknown distribution, a parameter that is not the module's, shapes.
        UsageError: see :func:`npgcheck.check_step`.
    """
    answers = Answers(log_prob, gradient, fisher_vector_product, kl, direction, new_theta, max_kl)
    policy = Policy(module, distribution, parameters=parameters)
    moved: tuple[str, ...] = ()
    with preserved(policy.holder):
        if before is not None:
            present = policy
            _place(policy, before)
            policy = Policy(module, distribution, parameters=parameters)
            if answers.new_theta is None:
                answers = replace(answers, new_theta=present.theta)
            moved = moved_outside(policy, present)
        return judge(
            policy,
            observations,
            actions,
            advantages,
            answers,
            fixed=tuple(fixed),
            moved=moved,
            conventions=conventions,
            weights=weights,
            seed=seed,
        )


@dataclass(frozen=True)
class Answers:
    """What a step gave, as the user has it; see :func:`check_step`."""

    log_prob: Any = None
    gradient: Any = None
    fisher_vector_product: Any = None
    kl: Any = None
    direction: Any = None
    new_theta: Any = None
    max_kl: float | None = None


def judge(
    policy: Policy,
    observations: Any,
    actions: Any,
    advantages: Any,
    answers: Answers,
    *,
    fixed: tuple[str, ...] = (),
    moved: tuple[str, ...] = (),
    conventions: Conventions | None = None,
    weights: Any = None,
    seed: int = 0,
) -> Report:
    """Hands the step to the core and adds what was found about the module.

    The module must be at θ, and what runs here may disturb it: callers preserve it.
    """
    unknown = [name for name in fixed if name not in policy.values]
    if unknown:
        raise InvalidArgument(
            f"fixed: {unknown[0]!r} is no parameter of the module. Known: "
            f"{', '.join(policy.values)}."
        )
    with torch.no_grad():
        reading = policy.reading(policy.theta, observations)
    seen = look(policy, observations)
    for name in seen.unused:
        if name.startswith("part") and "." not in name:
            raise InvalidArgument(
                f"the parameter at place {name[4:]} of the list does not influence the policy: "
                "distribution(parts, observations) has to use what it is given, not a name outside."
            )
    own, faults = _own_answers(policy, answers, reading)
    report = npgcheck.check_step(
        policy,
        policy.theta,
        observations,
        plain_actions(reading, torch.as_tensor(actions)),
        advantages,
        distribution=reading.name,
        conventions=conventions,
        weights=weights,
        seed=seed,
        **own,
    )
    return _completed(report, policy, [*faults, *_results(seen, fixed, moved)], seen)


def moved_outside(policy: Policy, present: Policy) -> tuple[str, ...]:
    """Parameters outside of θ that differ between two snapshots."""
    old, new = policy.values, present.values
    return tuple(n for n in policy.others if not torch.equal(old[n], new[n]))


def _place(policy: Policy, before: Any) -> None:
    """Sets the module's parameters (and buffers) to what they were before the step."""
    if isinstance(before, Mapping):
        missing = [name for name in policy.values if name not in before]
        if missing:
            raise InvalidArgument(
                f"before lacks {missing[0]!r}; give the module's whole state_dict(), copied "
                "(copy.deepcopy) before the step."
            )
        for name, target in policy.tensors().items():
            if name in before:
                write(target, before[name].detach().to(target))
        return
    vector = _flat(policy, before)
    for parameter, value in zip(policy.parameters, policy.split(vector), strict=True):
        write(parameter, value.to(parameter))


# ---- the user's answers in the core's terms -----------------------------------------------------


def _own_answers(
    policy: Policy, answers: Answers, reading: Reading
) -> tuple[dict[str, Any], list[CheckResult]]:
    """Keyword arguments of the core, and findings about vectors of another size."""
    own: dict[str, Any] = {}
    faults: list[CheckResult] = []
    size = policy.theta.numel()
    for name, quantity in VECTORS.items():
        given = getattr(answers, name)
        if given is None:
            continue
        if callable(given):
            own[name] = _function(policy, given)
            continue
        vector = _flat(policy, given)
        if vector.numel() == size:
            own[name] = vector
            continue
        faults.append(_wrong_size(policy, name, quantity, vector.numel()))
        if name == "gradient":
            own[name] = vector  # the core's finding is replaced by the one above, which says more
    if not own and faults:
        raise InvalidArgument(f"{faults[0].reason}.")
    if answers.log_prob is not None:
        shift = log_prob_shift(reading)
        given = answers.log_prob
        if callable(given):
            function = _function(policy, given)
            own["log_prob"] = lambda theta: function(theta) + shift
        else:
            own["log_prob"] = torch.as_tensor(given).detach() + shift
    if answers.kl is not None:
        own["kl"] = _function(policy, answers.kl)
    if answers.fisher_vector_product is not None:
        product = answers.fisher_vector_product
        own["fisher_vector_product"] = lambda vector: _flat(policy, product(vector))
    if answers.max_kl is not None:
        own["max_kl"] = float(answers.max_kl)
    return own, faults


def _function(policy: Policy, given: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of θ; one without arguments is called while the module is at θ."""
    if _takes_an_argument(given):
        return lambda theta: _flat_list(policy, given(theta))

    def at(theta: Any) -> Any:
        values = policy.split(torch.as_tensor(theta))
        placed = [v.to(p) for v, p in zip(values, policy.parameters, strict=True)]
        with parameters_at(policy.parameters, placed):
            return _flat_list(policy, given())

    return at


def _takes_an_argument(function: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind()
    except TypeError:
        return True
    return False


def _flat(policy: Policy, given: Any) -> Tensor:
    """One vector, from a vector or from one tensor per parameter."""
    given = _flat_list(policy, given)
    return torch.as_tensor(given).detach().reshape(-1)


def _flat_list(policy: Policy, given: Any) -> Any:
    """A list of one tensor per parameter as one vector; anything else as it is."""
    if isinstance(given, (list, tuple)) and any(isinstance(g, Tensor) and g.ndim for g in given):
        return policy.flat(given)
    return given.detach() if isinstance(given, Tensor) else given


def _wrong_size(policy: Policy, name: str, quantity: str, size: int) -> CheckResult:
    """The finding, with the parameters whose absence explains the size."""
    sizes = {n: p.numel() for n, p in zip(policy.names, policy.parameters, strict=True)}
    missing = sum(sizes.values()) - size
    alone = [n for n, s in sizes.items() if s == missing]
    outside = [n for n, p in policy.others.items() if p.numel() == -missing]
    hint = ""
    if missing > 0 and alone:
        hint = f"; {' or '.join(alone)} has just the {missing} that are missing"
    elif missing < 0 and outside:
        hint = f"; {' or '.join(outside)}, which is not in θ, has just the {-missing} too many"
    return _fault(quantity, f"{name} has {size} entries, θ has {sum(sizes.values())}{hint}")


# ---- findings about the module ------------------------------------------------------------------


def _results(seen: Findings, fixed: tuple[str, ...], moved: tuple[str, ...]) -> list[CheckResult]:
    """The findings as results of their own."""
    found = []
    if seen.random:
        layers = f"dropout is in training mode in {', '.join(seen.dropout)}"
        why = layers if seen.dropout else "is dropout, or sampling, switched on?"
        text = f"two evaluations with the same parameters differ: {why}; call module.eval() first"
        found.append(_property("NPG-LP-002", "fail", text))
    if seen.mixing:
        layers = ", ".join(seen.batch_norm)
        why = f"batch norm is in training mode in {layers}" if layers else "batch statistics?"
        found.append(_property("NPG-LP-003", "deviates", f"{why}; call module.eval() first"))
    stray = [name for name in moved if name in (*seen.outside, *seen.frozen)]
    outside = [n for n in seen.outside if n not in fixed and n not in stray]
    if stray:
        text = f"{_listed(stray)} changed in the step, and with it the policy, but is not in θ"
        found.append(_property("NPG-LP-004", "fail", text))
    elif outside:
        text = (
            f"{_listed(outside)} can be trained and influences the policy, and is judged as a "
            f"constant; put it into parameters=[…], or say fixed={tuple(outside)!r}"
        )
        found.append(_property("NPG-LP-004", "deviates", text))
    return found


def _completed(report: Report, policy: Policy, more: list[CheckResult], seen: Findings) -> Report:
    """The core's report with these results and remarks."""
    notes = list(report.notes)
    if seen.unused:
        do = "does" if len(seen.unused) == 1 else "do"
        notes.append(f"{_listed(seen.unused)} {do} not influence the policy on these rows")
    if not seen.double:
        notes.append("the module cannot be evaluated in float64: the reference has its own dtype")
    if not more:
        return replace(report, notes=tuple(notes))
    replaced = {r.id for r in more}
    kept = [r for r in report.results if r.id not in replaced]
    if seen.random:  # one mistake, said once
        kept = [replace(r, explained_by="log_prob") if r.status == "fail" else r for r in kept]
    judged = {r.quantity for r in more}
    kept = [r for r in kept if r.status not in ("not_covered", "skip") or r.quantity not in judged]
    results = (*kept, *more)
    extra = {k: v for k, v in report.counts.items() if k in ("problems", "redrawn")}
    return replace(
        report,
        results=results,
        notes=tuple(notes),
        counts=count(results, **extra),
        passed=report.passed and all(r.status != "fail" for r in more),
    )


def _property(number: str, status: Any, reason: str) -> CheckResult:
    quantity, title = OF_MODULES[number]
    return CheckResult(
        id=number,
        quantity=quantity,
        title=title,
        status=status,
        kind="property",
        problems=1,
        worst=math.inf,
        digits=0.0,
        reason=reason,
    )


def _fault(quantity: str, reason: str) -> CheckResult:
    return CheckResult(
        id=check_id(quantity, "contract"),
        quantity=quantity,
        title="has the wrong size",
        status="fail",
        kind="contract",
        problems=1,
        worst=math.inf,
        digits=0.0,
        reason=reason,
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
