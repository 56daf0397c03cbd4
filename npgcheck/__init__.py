"""npgcheck: the reference that natural policy gradient implementations are tested against.

The two doors are :func:`check_step` (one step of your own code, on your own network and rows) and
:func:`verify` (functions against generated problems); :func:`judge` takes a single number.
Everything here loads on first use, so that ``import npgcheck`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "check_step": "npgcheck.step.check",
    "verify": "npgcheck.conformance.verify",
    "judge": "npgcheck.conformance.verify",
    "check_advantages": "npgcheck.step.advantages",
    "parametrize": "npgcheck.conformance.parametrize",
    "Conventions": "npgcheck.conventions",
    "Report": "npgcheck.conformance.report",
    "Problem": "npgcheck.problem",
    "MDP": "npgcheck.mdp",
    "QuadraticMDP": "npgcheck.mdp",
    "SoftmaxPolicy": "npgcheck.policy",
    "MLPPolicy": "npgcheck.policy",
    "GaussianPolicy": "npgcheck.policy",
    "Unsupported": "npgcheck.errors",
    "NpgcheckError": "npgcheck.errors",
    "InvalidMDP": "npgcheck.errors",
    "InvalidPolicy": "npgcheck.errors",
    "InvalidArgument": "npgcheck.errors",
    "UsageError": "npgcheck.errors",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from npgcheck.conformance.parametrize import parametrize as parametrize
    from npgcheck.conformance.report import Report as Report
    from npgcheck.conformance.verify import judge as judge
    from npgcheck.conformance.verify import verify as verify
    from npgcheck.conventions import Conventions as Conventions
    from npgcheck.errors import InvalidArgument as InvalidArgument
    from npgcheck.errors import InvalidMDP as InvalidMDP
    from npgcheck.errors import InvalidPolicy as InvalidPolicy
    from npgcheck.errors import NpgcheckError as NpgcheckError
    from npgcheck.errors import Unsupported as Unsupported
    from npgcheck.errors import UsageError as UsageError
    from npgcheck.mdp import MDP as MDP
    from npgcheck.mdp import QuadraticMDP as QuadraticMDP
    from npgcheck.policy import GaussianPolicy as GaussianPolicy
    from npgcheck.policy import MLPPolicy as MLPPolicy
    from npgcheck.policy import SoftmaxPolicy as SoftmaxPolicy
    from npgcheck.problem import Problem as Problem
    from npgcheck.step.advantages import check_advantages as check_advantages
    from npgcheck.step.check import check_step as check_step


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'npgcheck' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
