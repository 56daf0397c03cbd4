"""Further problems that tell choices apart which the usual ones do not.

A clipped gradient is a gradient of fixed length wherever rewards are large; advantages over their
standard deviation are advantages over a constant where all problems are alike. A refuted quantity
that depends on the rewards is asked again with rewards a thousand times smaller. A training run has
one step size, under which a constant in its place is a factor: it is asked again for others.
"""

from __future__ import annotations

import numpy as np

from npgcheck.conformance.collect import Collected, fitted_records
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.fitting import Record
from npgcheck.conformance.probes import Probe
from npgcheck.conformance.reconcile import SOLVES
from npgcheck.conformance.run_state import Run, well_conditioned
from npgcheck.problem_sets.build import finish
from npgcheck.problem_sets.edge_set import with_rewards

#: Rewards that leave every advantage far below one.
FAINT = 1e-3
#: Quantities that depend on the rewards and are asked again.
ASKED = ("policy_gradient", "natural_gradient", "update", "value", "q_value", "advantage")
#: Problems that are asked again.
PROBLEMS = 2
#: Further step sizes of a training run.
STEPS = (0.125, 0.75)


def separating_records(state: Run, quantity: str) -> list[Record]:
    """Answers on further questions, which tell more choices apart than the usual ones."""
    return other_steps(state) if quantity == "train" else faint_records(state, quantity)


def other_steps(state: Run) -> list[Record]:
    """First iterates of training runs with other step sizes."""
    collector, collected = state.collector, Collected()
    runs = {r.probe.position: r for r in state.collector.found["train"].records}
    for record in list(runs.values())[: 1 if state.single else PROBLEMS]:
        problem = record.probe.problem
        for step in STEPS:
            shape = QUANTITIES["train"].shape_for(problem, 1, step)
            probe = Probe("train", problem, (1, step), shape, f"step_size {step:g}", -1)
            answer = collector.call(probe)
            if answer.value is not None and np.isfinite(answer.value).all():
                collected.records.append(Record(probe, answer, record.reference))
    sources = state.sampled("train")
    found = fitted_records("train", collector, collected)
    return [r for r in found if well_conditioned(r, sources)]


def faint_records(state: Run, quantity: str) -> list[Record]:
    """Answers on a few of the problems with small rewards; none where one problem is asked."""
    if quantity not in ASKED or state.single:
        return []
    collected = Collected()
    chosen = [p for p in state.problems if p.num_states > 1 and p.family != "tabular"]
    for position, problem in enumerate((chosen or list(state.problems))[:PROBLEMS]):
        faint = finish(with_rewards(problem, FAINT))
        state.collector._one_problem(quantity, faint, -1 - position, collected, repeat=False)
    sources = state.sampled(quantity)
    return [r for r in collected.records if quantity not in SOLVES or well_conditioned(r, sources)]
