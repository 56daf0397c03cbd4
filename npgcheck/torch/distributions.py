"""From a torch.distributions object to the numbers that determine it.

Batch shapes are (N,) for one action per row, (N, m) for m independent ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from npgcheck.errors import InvalidArgument

KNOWN = (
    "Categorical and OneHotCategorical; Independent(Categorical, 1) or a list of Categoricals "
    "(multi-discrete); Bernoulli; Normal, Independent(Normal, 1) and MultivariateNormal with a "
    "diagonal covariance; these Gaussians under TransformedDistribution with AffineTransform and "
    "TanhTransform"
)


@dataclass(frozen=True)
class Reading:
    """What a distribution object amounts to.

    Attributes:
        name: as ``npgcheck.check_step(distribution=…)`` calls it.
        outputs: logits (N, A); (mean, log_std), each (N, m); logits (N, m); or a tuple of logits.
        one_hot: whether actions are one-hot rows rather than indices.
        after: (loc, scale) of an affine map after the squashing, or None.
    """

    name: str
    outputs: Any
    one_hot: bool = False
    after: tuple[Tensor, Tensor] | None = None


def read(given: Any, rows: int) -> Reading:
    """Reads a distribution over the actions of ``rows`` rows.

    Raises:
        InvalidArgument: an unknown distribution, or a batch shape that is not (rows, …).
    """
    if isinstance(given, (list, tuple)):
        return _several(given, rows)
    base, transforms = _unwrap(given)
    if isinstance(base, (td.Categorical, td.OneHotCategorical)) and not transforms:
        return _categorical(base, rows)
    if isinstance(base, td.Bernoulli) and not transforms:
        return Reading("bernoulli", _columns(base.logits, rows, given))
    if isinstance(base, (td.Normal, td.MultivariateNormal)):
        mean, std = _moments(base)
        return _gaussian(_columns(mean, rows, given), _columns(std, rows, given), transforms, given)
    raise InvalidArgument(f"{_describe(given)} is no distribution that is known here: {KNOWN}.")


def _several(given: Any, rows: int) -> Reading:
    """One categorical action per entry."""
    wrong = [part for part in given if not isinstance(part, td.Categorical)]
    if wrong or not given:
        what = _describe(wrong[0]) if wrong else "nothing"
        raise InvalidArgument(
            f"a list of distributions must hold Categoricals, and holds {what}. Known: {KNOWN}."
        )
    return Reading("multi_discrete", tuple(_columns(part.logits, rows, part) for part in given))


def _categorical(base: Any, rows: int) -> Reading:
    """Logits (N, A); a batch (N, m) of categoricals is m actions per row."""
    one_hot = isinstance(base, td.OneHotCategorical)
    logits = base.logits
    if logits.ndim == 3 and len(logits) == rows and not one_hot:
        return Reading("multi_discrete", tuple(logits.unbind(dim=1)))
    return Reading("categorical", _columns(logits, rows, base), one_hot)


def _moments(base: Any) -> tuple[Tensor, Tensor]:
    if isinstance(base, td.Normal):
        return base.loc, base.scale
    factor = base.scale_tril
    std = torch.diagonal(factor, dim1=-2, dim2=-1)
    if bool((factor != torch.diag_embed(std)).any()):
        raise InvalidArgument(
            "MultivariateNormal with a full covariance is not known here; its covariance must be "
            f"diagonal. Known: {KNOWN}."
        )
    return base.loc, std


def _gaussian(mean: Tensor, std: Tensor, transforms: list[Any], given: Any) -> Reading:
    """Affine maps of a Gaussian are Gaussian; after tanh they are maps of the action."""
    squashed, after = False, None
    for transform in transforms:
        if isinstance(transform, td.transforms.TanhTransform) and not squashed:
            squashed = True
        elif isinstance(transform, td.transforms.AffineTransform):
            loc, scale = (_tensor_like(x, mean) for x in (transform.loc, transform.scale))
            if not squashed:
                mean, std = loc + scale * mean, scale.abs() * std
            elif after is None:
                after = (loc, scale)
            else:
                after = (loc + scale * after[0], scale * after[1])
        else:
            raise InvalidArgument(
                f"{_describe(given)} holds {type(transform).__name__}, which is not known here "
                f"{'a second time' if squashed else ''}. Known: {KNOWN}."
            )
    return Reading("tanh_gaussian" if squashed else "gaussian", (mean, std.log()), after=after)


def _unwrap(given: Any) -> tuple[Any, list[Any]]:
    """The innermost distribution, and its transforms in the order in which they are applied."""
    transforms: list[Any] = []
    while True:
        if isinstance(given, td.Independent):
            given = given.base_dist
        elif isinstance(given, td.TransformedDistribution):
            transforms = [*_flat(given.transforms), *transforms]
            given = given.base_dist
        else:
            return given, transforms


def _flat(transforms: Any) -> list[Any]:
    """Composed and independent transforms taken apart."""
    found: list[Any] = []
    for transform in transforms:
        if isinstance(transform, td.transforms.ComposeTransform):
            found += _flat(transform.parts)
        elif isinstance(transform, td.transforms.IndependentTransform):
            found += _flat([transform.base_transform])
        else:
            found.append(transform)
    return found


def _columns(outputs: Tensor, rows: int, given: Any) -> Tensor:
    """(N,) as (N, 1); anything but one row of numbers per row of observations is refused."""
    if outputs.shape == (rows,):
        outputs = outputs[:, None]
    if outputs.ndim != 2 or len(outputs) != rows:
        raise InvalidArgument(
            f"{_describe(given)} has parameters of shape {tuple(outputs.shape)} for {rows} rows of "
            "observations; one row each is needed: a batch of shape (N,) or (N, m). Rollouts of "
            "several environments are flattened first."
        )
    return outputs


def _tensor_like(number: Any, like: Tensor) -> Tensor:
    return torch.as_tensor(number, dtype=like.dtype, device=like.device)


def _describe(given: Any) -> str:
    name = type(given).__name__
    inner = getattr(given, "base_dist", None)
    return f"{name}({_describe(inner)})" if inner is not None else name


# ---- actions and log-probabilities in the same terms --------------------------------------------


def plain_actions(reading: Reading, actions: Tensor) -> Tensor:
    """Actions as ``npgcheck.check_step`` takes them: indices, and squashed ones within (−1, 1)."""
    if reading.one_hot and actions.ndim == 2:
        return actions.argmax(dim=1)
    if reading.after is not None:
        loc, scale = reading.after
        if actions.ndim == 1:
            actions = actions[:, None]
        return (actions.to(scale.dtype) - loc) / scale
    if reading.name == "categorical" and actions.ndim == 2 and actions.shape[1] == 1:
        return actions[:, 0]
    return actions


def log_prob_shift(reading: Reading) -> float:
    """What is to be added to log π(a) when the actions are rescaled: Σ log|scale|."""
    if reading.after is None:
        return 0.0
    mean = reading.outputs[0]
    scale = reading.after[1].to(torch.float64).abs().expand(mean.shape[1:])
    return float(scale.log().sum())


def log_prob(given: Any, actions: Tensor) -> Tensor:
    """log π(a_i | s_i), (N,): summed over the action's dimensions where the object does not."""
    if isinstance(given, (list, tuple)):
        pairs = zip(given, actions.unbind(dim=1), strict=True)
        return torch.stack([part.log_prob(action) for part, action in pairs]).sum(dim=0)
    value = given.log_prob(
        actions.reshape(len(actions), *given.batch_shape[1:], *given.event_shape)
    )
    return value.reshape(len(actions), -1).sum(dim=1)


def kl(old: Any, new: Any) -> Tensor:
    """KL(old ‖ new) per row, (N,)."""
    if isinstance(old, (list, tuple)):
        pairs = zip(old, new, strict=True)
        return torch.stack([td.kl_divergence(a, b) for a, b in pairs]).sum(dim=0)
    # One invertible map of both does not change their divergence.
    value = td.kl_divergence(_unwrap(old)[0], _unwrap(new)[0])
    return value.reshape(len(value), -1).sum(dim=1)
