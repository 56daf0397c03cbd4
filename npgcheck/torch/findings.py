"""What else a torch module does: chance, batch statistics, parameters outside of θ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from npgcheck.errors import InvalidArgument
from npgcheck.torch.distributions import read
from npgcheck.torch.policy import Policy, alike, rows_of

#: Rows that are looked at: what influences the outputs shows on these as well as on all.
ROWS = 64
#: Every parameter is moved by this part of its size, and of 1.
MOVED = 1e-2


@dataclass(frozen=True)
class Findings:
    """What was seen of one module.

    Attributes:
        random: two evaluations with the same arguments differ.
        dropout: names of dropout layers in training mode.
        mixing: a row's outputs depend on the other rows of the batch.
        batch_norm: names of batch-norm layers that use the batch's own statistics.
        outside: names of trainable parameters that influence the policy but are not in θ.
        frozen: names of such parameters that are marked as not trainable.
        unused: names of parameters in θ that do not influence the policy on these rows.
        double: whether the module can be evaluated in float64.
    """

    random: bool = False
    dropout: tuple[str, ...] = ()
    mixing: bool = False
    batch_norm: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    double: bool = True


def look(policy: Policy, observations: Any) -> Findings:
    """Evaluates the policy on a few rows, moving one parameter after the other.

    Differences rather than autograd decide what has influence: a detached parameter has influence
    and no gradient, and that is a mistake worth seeing.
    """
    rows = _some(observations)
    dtype, double = torch.float64, True
    try:
        base = _outputs(policy, {}, rows, dtype)
    except InvalidArgument:
        raise
    except Exception:  # the module insists on its own dtype
        dtype, double = policy.theta_dtype, False
        base = _outputs(policy, {}, rows, dtype)
    chance = any(_differ(base, _outputs(policy, {}, rows, dtype, seed=s), 0.0) for s in (1, 2))
    values = policy.values
    influence = {
        name: _differ(base, _outputs(policy, {name: _moved(values[name])}, rows, dtype), 0.0)
        for name in values
    }
    inside = set(policy.names)
    apart = [n for n in values if n not in inside and influence[n]]
    return Findings(
        random=chance,
        dropout=tuple(_dropouts(policy)),
        mixing=not chance and _mixes(policy, rows, base, dtype),
        batch_norm=tuple(_batch_norms(policy)),
        outside=tuple(n for n in apart if policy.others[n].requires_grad),
        frozen=tuple(n for n in apart if not policy.others[n].requires_grad),
        unused=() if chance else tuple(n for n in policy.names if not influence[n]),
        double=double,
    )


def _outputs(
    policy: Policy, named: dict[str, Tensor], rows: Any, dtype: torch.dtype, seed: int = 0
) -> list[np.ndarray]:
    with torch.no_grad():
        law = policy.evaluate(named, rows, dtype, seed)
        outputs = read(law, rows_of(rows)).outputs
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    return [part.detach().double().cpu().numpy() for part in parts]


def _moved(value: Tensor) -> Tensor:
    """The parameter moved at random, always by the same numbers."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device)
    size = 1.0 + (float(value.detach().abs().max()) if value.numel() else 0.0)
    return value.double() + MOVED * size * noise


def _differ(a: Iterable[np.ndarray], b: Iterable[np.ndarray], relative: float) -> bool:
    """Whether any output differs by more than this part of its size."""
    for x, y in zip(a, b, strict=True):
        with np.errstate(invalid="ignore"):  # −inf of a masked logit on both sides
            change = np.where(x == y, 0.0, np.abs(x - y))
        size = float(np.max(np.abs(x), initial=1.0, where=np.isfinite(x)))
        if float(np.max(change, initial=0.0)) > relative * size:
            return True
    return False


def _mixes(policy: Policy, rows: Any, base: list[np.ndarray], dtype: torch.dtype) -> bool:
    """Whether the first rows come out differently when they come alone."""
    count = rows_of(rows)
    if count < 4:
        return False
    part = _some(rows, count // 2)
    try:
        alone = _outputs(policy, {}, part, dtype)
    except Exception:  # a module that insists on a number of rows
        return False
    # Products of other sizes round differently, not by more than this.
    rounding = 1e-9 if dtype == torch.float64 else 1e-3
    return _differ([b[: count // 2] for b in base], alone, rounding)


def _some(observations: Any, count: int = ROWS) -> Any:
    """The first rows."""
    if isinstance(observations, dict):
        return {name: part[:count] for name, part in observations.items()}
    if isinstance(observations, (list, tuple)) and hasattr(observations[0], "shape"):
        return alike(observations, [part[:count] for part in observations])
    return observations[:count]


def _dropouts(policy: Policy) -> Iterable[str]:
    for name, module in policy.modules():
        chance = float(getattr(module, "p", 0.0)) if "Dropout" in type(module).__name__ else 0.0
        if module.training and chance > 0.0:
            yield name


def _batch_norms(policy: Policy) -> Iterable[str]:
    for name, module in policy.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and (
            module.training or module.running_mean is None
        ):
            yield name
