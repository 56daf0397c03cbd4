"""One vector explains all: choosing for each quantity the explanation that the others share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npgcheck.conformance.choices import cost
from npgcheck.conformance.fitting import Fit, same_number

#: Stages that all quantities which use them must share.
SHARED = ("weighting", "fisher", "fisher_scale", "gradient_factor", "damping", "cg_iterations")
#: Which shared stages a quantity is free of. The surrogate is used for its sign alone, so its
#: factor is its own.
EXEMPT: Mapping[str, frozenset[str]] = {
    "surrogate": frozenset({"gradient_factor"}),
}
SOLVES = (
    "natural_gradient",
    "update",
    "trust_region_proposal",
    "trust_region_step",
    "train",
)
BEAM = 400
CONFLICT = 1000.0


@dataclass(frozen=True)
class _State:
    """A partial assignment: what is fixed so far and which explanation each quantity got."""

    fixed: tuple[tuple[str, Any], ...]
    chosen: tuple[int | None, ...]
    penalty: float

    @property
    def vector(self) -> dict[str, Any]:
        return dict(self.fixed)


def reconcile(
    fits: Mapping[str, Sequence[Fit]],
) -> tuple[dict[str, Any], dict[str, Fit | None]]:
    """Returns the shared vector and each quantity's explanation under it (None: conflict).

    Quantities come in the contract's order, lower layers first. A quantity left out costs more
    than any choice; of two that disagree over a convention the one that follows the contract is
    kept, and over a free choice the lower layer: an update that disagrees with the natural
    gradient is the update's mistake. Declared choices were already enforced when each quantity's
    candidates were built.
    """
    names = [name for name, found in fits.items() if found]
    states = [_State((), (), 0.0)]
    for index, name in enumerate(names):
        grown: list[_State] = []
        for state in states:
            left_out = state.penalty + CONFLICT - index
            grown.append(_State(state.fixed, (*state.chosen, None), left_out))
            for number, fit in enumerate(fits[name]):
                merged = _merge(state.vector, name, fit.choices)
                if merged is None:
                    continue
                new = {k: v for k, v in merged.items() if k not in state.vector}
                extra = _cost_of(new) + 1e-3 * number
                grown.append(
                    _State(
                        tuple(sorted(merged.items(), key=lambda kv: kv[0])),
                        (*state.chosen, number),
                        state.penalty + extra,
                    )
                )
        grown.sort(key=lambda s: s.penalty)
        states = _distinct(grown)[:BEAM]
    best = states[0]
    chosen: dict[str, Fit | None] = {
        name: None if number is None else fits[name][number]
        for name, number in zip(names, best.chosen, strict=True)
    }
    return {k.removeprefix("solve:"): v for k, v in best.fixed}, chosen


def _merge(vector: dict[str, Any], name: str, choices: dict[str, Any]) -> dict[str, Any] | None:
    """Adds a quantity's choices to the vector, or returns None when they contradict it."""
    merged = dict(vector)
    for stage, value in _tied(name, choices).items():
        if stage in merged and not _agree(merged[stage], value):
            return None
        merged[stage] = value
    # λ in the product or in the matrix must be the λ of the solve, when both are damped.
    damped = [merged[s] for s in ("product:damping", "matrix:damping") if merged.get(s)]
    solve = merged.get("solve:damping")
    if solve is not None and any(not _agree(value, solve) for value in damped):
        return None
    if len(damped) == 2 and not _agree(*damped):
        return None
    return merged


def contradicts(
    vector: Mapping[str, Any], name: str, choices: dict[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Where a quantity's choices differ from the run's vector: (stage, its choice, theirs)."""
    found = []
    for stage, value in _tied(name, choices).items():
        plain = stage.removeprefix("solve:")
        if ":" in plain or plain == "damping":
            continue
        if plain in vector and not _agree(vector[plain], value):
            found.append((plain, value, vector[plain]))
    if name in (*SOLVES, "fisher", "fisher_vector_product"):
        damping = choices.get("damping", choices.get("damping_in_fisher", 0.0))
        # An undamped matrix or product beside a damped solve is normal.
        theirs = [vector[s] for s in ("product:damping", "matrix:damping") if vector.get(s)]
        if "damping" in vector and (name in SOLVES or damping):
            theirs.insert(0, vector["damping"])
        if (name in SOLVES or damping) and theirs and not _agree(theirs[0], damping):
            found.append(("damping", damping, theirs[0]))
    return found


def _tied(name: str, choices: dict[str, Any]) -> dict[str, Any]:
    """The choices of one quantity that others must share, under the names they are tied by."""
    tied = {}
    exempt = EXEMPT.get(name, frozenset())
    for stage in SHARED:
        if stage not in choices or stage in exempt or stage in ("damping", "cg_iterations"):
            continue
        if stage == "weighting" and choices.get("sampled") == "batch":
            continue  # rows carry no time: a batch agrees with every weighting
        tied[stage] = choices[stage]
    if name in SOLVES:
        tied["solve:damping"] = choices.get("damping", 0.0)
        # All solves are asked on the same problems: what truncates one shows in the others.
        tied["solve:cg_iterations"] = choices.get("cg_iterations", 0)
    if name == "fisher_vector_product":
        tied["product:damping"] = choices.get("damping", 0.0)
    if name == "fisher":
        tied["matrix:damping"] = choices.get("damping_in_fisher", 0.0)
    if name == "trust_region_step" and "step_length" in choices:
        tied["step_length"] = choices["step_length"]
    if name == "trust_region_proposal":
        tied["step_length"] = choices["step_length"]
    # What is not tied still costs once, so that the simplest explanation is preferred.
    for stage in ("kl_model", "cg_stopping", "solver_rtol", "sampled", "advantage"):
        if stage in choices:
            tied[f"{name}:{stage}"] = choices[stage]
    return tied


def _cost_of(fixed: dict[str, Any]) -> float:
    plain = {
        k.rpartition(":")[2]: v
        for k, v in fixed.items()
        if not k.startswith(("matrix:", "product:"))
    }
    extra = sum(10.0 for k, v in fixed.items() if k.startswith(("matrix:", "product:")) and v)
    return cost(plain) + extra


def _agree(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    return same_number(float(a), float(b))


def _distinct(states: list[_State]) -> list[_State]:
    """Keeps the cheapest state of each (assignment, set of conflicts)."""
    seen: set[Any] = set()
    kept = []
    for state in states:
        key = (state.fixed, tuple(c is None for c in state.chosen))
        if key not in seen:
            seen.add(key)
            kept.append(state)
    return kept
