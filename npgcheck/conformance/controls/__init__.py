"""Controls at home: planted wrong subjects, right ones and equivalents, for ``npgcheck power``.

Importing this package registers all of them; :func:`controls` lists them. The files are grouped
by what they plant (``wrong_*``, one stage each), by style (``plant_*`` and ``right_*``), and the
mistakes that nobody can see (``equivalents``). Files with a leading underscore are plain, right
pipelines of which some controls override one method.
"""

from __future__ import annotations

from npgcheck.errors import UsageError, nearest

from . import (  # noqa: F401  (importing a file registers its controls)
    equivalents,
    plant_agent,
    plant_agent_steps,
    plant_cg,
    plant_episodes,
    plant_functional,
    plant_gae,
    plant_gaussian,
    plant_idioms,
    plant_loops,
    plant_loops_rules,
    plant_loops_steps,
    plant_order,
    plant_own_solver,
    plant_probability,
    plant_small,
    plant_torch,
    plant_training,
    plant_unlisted,
    plant_variants,
    right_autodiff,
    right_exact,
    right_gaussian,
    right_networks,
    right_rows,
    right_steps,
    right_styles,
    right_suspicious,
    wrong_cg,
    wrong_complete,
    wrong_fisher,
    wrong_gae,
    wrong_gaussian,
    wrong_glue,
    wrong_kl,
    wrong_leftovers,
    wrong_network,
    wrong_returns,
    wrong_score,
    wrong_solver,
    wrong_step,
    wrong_weighting,
)
from .registry import STAGES, Control, Role, registered

__all__ = ["STAGES", "Control", "Role", "controls", "find"]

_ORDER = {"wrong": 0, "equivalent": 1, "right": 2}


def controls(role: Role | None = None) -> tuple[Control, ...]:
    """Returns every control, or those of one role: by role, then stage, then name."""
    chosen = [c for c in registered() if role is None or c.role == role]
    places = {stage: i for i, stage in enumerate(STAGES)}
    return tuple(sorted(chosen, key=lambda c: (_ORDER[c.role], places.get(c.stage, -1), c.name)))


def find(name: str) -> Control:
    """Returns the control of that name.

    Raises:
        UsageError: there is none; the message has the nearest name.
    """
    for control in registered():
        if control.name == name:
            return control
    names = [c.name for c in registered()]
    raise UsageError(f"There is no control {name!r}.{nearest(name, names)}")
