"""What a run could not see, and what repeats it."""

from __future__ import annotations

import math

import numpy as np

from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.contract import in_order
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.run_state import Run


def not_visible(state: Run) -> tuple[str, ...]:
    """What the given functions cannot show."""
    missing = []
    defined = set(state.subject.functions)
    accessed = set().union(*(c.accessed for c in state.collector.found.values()), set())
    if "batch" not in accessed:
        missing.append("batches")
    if "episodes" not in accessed:
        missing.append("trajectories")
    if "gaussian" not in state.families:
        missing.append("Gaussian policies")
    if set(state.families) == {"tabular"}:
        missing.append("state weights (a tabular direction is blind to them)")
    if not defined & {"fisher", "fisher_vector_product"} and defined & set(SOLVES):
        missing.append("the scale of F apart from that of x")
    if not _tempted(state):
        missing.append(
            "a line search's test of the surrogate (every step that KL allows here gains)"
        )
    floor = detection_floor(state)
    if floor:
        missing.append(f"damping below {floor:.0e}")
    return tuple(missing)


def _tempted(state: Run) -> bool:
    """Whether some line search that was judged had a step before it that KL allows and that
    loses; without a line search, too."""
    fit = state.fit("trust_region_step")
    search = explainer_of("trust_region_step")
    return fit is None or any(
        search.tempts(record, fit.choices)
        for record, judged in zip(state.judgeable("trust_region_step"), fit.judged, strict=False)
        if judged is not None
    )


def detection_floor(state: Run) -> float:
    """The smallest λ that some judged answer would have betrayed; 0 when no solve was judged."""
    floors = []
    for quantity in ("natural_gradient", "update", "trust_region_proposal", "train"):
        fit = state.fit(quantity)
        if fit is None or fit.choices.get("damping"):
            continue
        explainer = explainer_of(quantity)
        for record, judged in zip(state.judgeable(quantity), fit.judged, strict=False):
            x, _ = explainer.solution(record)
            size = float(np.linalg.norm(x))
            if judged is not None and size > 0 and math.isfinite(fit.worst):
                floors.append(judged.budget * min(max(fit.worst, 1.0), 1e12) / size)
        if floors:
            return min(floors)
    return 0.0


def command(state: Run) -> str:
    """What repeats this run: a command, or a call for an object that no command can load."""
    wanted = in_order(state.records)
    if not state.subject.target:
        only = "" if wanted == state.subject.quantities else f", only={list(wanted)}"
        return f"npgcheck.verify({state.subject.name}{only}, seed={state.seed})"
    parts = ["npgcheck verify", state.subject.target]
    if wanted != state.subject.quantities:
        parts += [f"--only {name}" for name in wanted]
    parts.append(f"--seed {state.seed}")
    return " ".join(parts)
