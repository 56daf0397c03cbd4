"""Further problems that tell choices apart which the usual ones do not.

A clipped gradient is a gradient of fixed length wherever rewards are large; advantages over their
standard deviation are advantages over a constant where all problems are alike. A refuted quantity
that depends on the rewards is asked again with rewards a thousand times smaller.
"""

from __future__ import annotations

from npgcheck.conformance.collect import Collected
from npgcheck.conformance.fitting import Record
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
