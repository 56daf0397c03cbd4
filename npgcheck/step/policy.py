"""The user's policy as a function θ ↦ z of numpy arrays, and the distribution that z stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npgcheck.distributions import (
    ActionDistribution,
    Bernoulli,
    Categorical,
    Gaussian,
    MultiDiscrete,
    TanhGaussian,
)
from npgcheck.errors import InvalidArgument, UsageError, nearest
from npgcheck.step import arrays

Array = np.ndarray

#: Outputs that are off by more than this, relative to 1 + |z|, are not those of single precision:
#: some layers compute in less (mixed precision).
COARSE = 1e-4
#: A masked logit is put this far below the largest of its row: e^−60 is below rounding.
MASKED = 60.0
#: Logits this far below the largest of their row stand for −inf (−1e4, −1e8, or the lowest number
#: of a dtype, are in use): e^−1000 is zero in any precision, and their size says nothing.
STANDS_FOR_MASKED = 1e3

DISTRIBUTIONS = ("categorical", "multi_discrete", "bernoulli", "gaussian", "tanh_gaussian")


class RandomPolicy(Exception):
    """The policy answers differently when asked twice: a finding, not a usage error."""


class PolicyIgnoresTheta(Exception):
    """No output depends on θ: a finding, not a usage error."""


@dataclass(frozen=True, eq=False)
class Policy:
    """What the checks know about the policy.

    Attributes:
        outputs: θ (D,) ↦ z (N, K), float64.
        distribution: what z stands for.
        theta: (D,), float64 values of the θ that was given.
        dtype: the coarser of θ's dtype and that of the outputs at θ as given: what the user's own
            computation is done in.
        computed_in: dtype of the outputs that the reference is built from.
        like: makes arrays of θ's own kind and dtype.
        evaluations: how often the network was evaluated so far, a list of one number.
        masked: (N, K), where logits are −inf: actions that are not allowed.
        elsewhere: a change of the observations (N, k) ↦ the outputs there, or None where they are
            no matrix of floats, are not changed by it, or are refused by the policy.
        coarse: how far the outputs at θ as given are off, relative to 1 + |z|, where that shows
            mixed precision; else 0.
    """

    outputs: Callable[[Array], Array]
    distribution: ActionDistribution
    theta: Array
    dtype: str
    computed_in: str
    like: arrays.Maker
    evaluations: list[int]
    masked: Array
    elsewhere: Callable[[Callable[[Array], Array]], Callable[[Array], Array] | None]
    coarse: float = 0.0

    def read_actions(self, actions: Array) -> Array:
        """The actions as the distribution reads them.

        Raises:
            InvalidArgument: see the distribution; or an action of probability zero.
        """
        read = self.distribution.read_actions(actions)
        if self.masked.any():
            assert isinstance(self.distribution, MultiDiscrete)
            bad = self.masked & (self.distribution.taken(read) > 0)
            if bad.any():
                row, count = int(np.argwhere(bad)[0][0]), int(bad.any(axis=1).sum())
                raise InvalidArgument(
                    f"the action taken in row {row} has a logit of −inf, or one that stands for "
                    f"it (in {count} rows): the policy never takes it, and log π has no gradient "
                    "there. Is the mask that of another step?"
                )
        return read


def read_policy(
    policy: Callable[[Any, Any], Any],
    theta: Any,
    observations: Any,
    actions: Array,
    distribution: str | None,
) -> Policy:
    """Evaluates the policy once or twice and finds out what its outputs are.

    Where θ is coarser than float64, the reference is computed in float64 all the same if the
    policy accepts a θ of that dtype.

    Raises:
        InvalidArgument: outputs whose shapes fit no distribution, or not the actions.
        UsageError: the policy is no function, or raises.
        RandomPolicy: two calls with the same arguments disagree.
    """
    if not callable(policy):
        raise UsageError(
            f"policy must be a function policy(theta, observations), got {type(policy).__name__}; "
            "for a torch module use npgcheck.torch.check_step."
        )
    values, dtype = arrays.numbers(theta, "theta")
    if values.ndim != 1 or not values.size:
        raise InvalidArgument(f"theta must be a vector (D,), got shape {values.shape}.")
    like = arrays.maker(theta)
    rows = arrays.copy_of(observations)
    try:
        first = policy(like(values), rows)
    except Exception as error:
        raise UsageError(
            f"policy(theta, observations) raised {type(error).__name__}: {error}"
        ) from error
    law = _law(first, actions, distribution)
    packed, kind, masked = _pack(first, law, len(actions))
    again, _, mask_again = _pack(policy(like(values), rows), law, len(actions))
    if (masked != mask_again).any():
        raise RandomPolicy("two calls of policy mask different actions with −inf")
    _refuse_chance(packed, again)
    evaluations = [2]
    own = min(dtype, kind, key=arrays.precision)

    def function(make: arrays.Maker, seen: Any) -> Callable[[Array], Array]:
        def outputs(at: Array) -> Array:
            evaluations[0] += 1
            return _pack(policy(make(at), seen), law, len(actions), masked)[0]

        return outputs

    make, seen, coarse = like, rows, 0.0
    if (kind != "float64" or dtype != "float64") and arrays.has_double(theta):
        double = _in_double(policy, theta, values, rows, law, packed, len(actions))
        if double is not None:
            make, seen, kind, coarse = double

    def elsewhere(change: Callable[[Array], Array]) -> Callable[[Array], Array] | None:
        there = _changed(seen, change)
        if there is None:
            return None
        moved = function(make, there)
        try:
            moved(values)
        except Exception:  # a policy may insist on observations of its own kind
            return None
        return moved

    outputs = function(make, seen)
    return Policy(outputs, law, values, own, kind, like, evaluations, masked, elsewhere, coarse)


def _changed(observations: Any, change: Callable[[Array], Array]) -> Any:
    """Changed observations of the same kind; None where there are none."""
    if not hasattr(observations, "dtype"):
        return None
    try:
        x, kind = arrays.numbers(observations, "observations")
    except InvalidArgument:
        return None
    if x.ndim != 2 or not kind.startswith("float"):
        return None
    there = change(x)
    near = np.allclose(there, x, rtol=1e-6, atol=1e-6 * float(np.abs(x).max(initial=0.0)))
    return None if near else arrays.maker(observations)(there)


def _refuse_chance(first: Array, again: Array) -> None:
    """Two evaluations may differ by their rounding (threads add up in any order), not by more."""
    difference = float(np.max(np.abs(first - again), initial=0.0))
    if difference > 1e-5 * (1.0 + float(np.abs(first).max())):
        row = int(np.argmax(np.abs(first - again).max(axis=1)))
        raise RandomPolicy(
            f"two calls of policy with the same theta and observations differ by {difference:.2g} "
            f"in row {row}; is dropout, or sampling, switched on?"
        )


def _in_double(
    policy: Any, theta: Any, values: Array, rows: Any, law: Any, packed: Array, count: int
) -> tuple[arrays.Maker, Any, str, float] | None:
    """How to evaluate in float64: with θ alone in float64, or the observations too; else None.

    Besides, the dtype that comes out, and how far the outputs in θ's own dtype are off, if that is
    more than its rounding: then even outputs that are rounded to single precision at the end are
    the better reference.
    """
    make = arrays.maker(theta, double=True)
    size = 1.0 + float(np.abs(packed).max())
    for seen in (rows, arrays.in_double(rows)):
        try:
            z, kind, _ = _pack(policy(make(values), seen), law, count)
        except Exception:  # a policy may insist on its own dtype: then it is taken in that
            continue
        off = float(np.max(np.abs(z - packed))) / size
        coarse = off if off > COARSE else 0.0
        close = np.allclose(z, packed, rtol=1e-2, atol=1e-2 * size)
        if close and (kind == "float64" or (coarse and kind == "float32")):
            return make, seen, kind, coarse
    return None


def _parts(outputs: Any) -> list[tuple[Array, str]]:
    """The arrays that a policy returned."""
    if isinstance(outputs, (tuple, list)) and outputs and hasattr(outputs[0], "shape"):
        return [arrays.any_numbers(part, f"output {i} of policy") for i, part in enumerate(outputs)]
    return [arrays.any_numbers(outputs, "the output of policy")]


def _law(outputs: Any, actions: Array, name: str | None) -> ActionDistribution:
    """The distribution, by its name or by the shapes of outputs and actions."""
    if name is not None and name not in DISTRIBUTIONS:
        raise UsageError(
            f"no distribution {name!r}.{nearest(str(name), DISTRIBUTIONS)} "
            f"Known: {', '.join(DISTRIBUTIONS)}."
        )
    parts = [part for part, _ in _parts(outputs)]
    shapes = [part.shape for part in parts]
    for i, part in enumerate(parts):
        if not (part.ndim == 2 or (len(parts) == 2 and i == 1 and part.ndim < 2)):
            raise InvalidArgument(
                f"policy returned shape {part.shape}; logits (N, A), or a pair mean (N, m) and "
                "log_std, are needed."
            )
    if len(parts[0]) != len(actions):
        raise InvalidArgument(
            f"policy returned {len(parts[0])} rows for {len(actions)} actions; one row of outputs "
            "per action is needed."
        )
    if name is None:
        name = _guess(shapes, actions)
    if name in ("gaussian", "tanh_gaussian"):
        if len(parts) != 2:
            raise InvalidArgument(
                f"a {name} policy returns the pair (mean, log_std); policy returned "
                f"{len(parts)} array{'' if len(parts) == 1 else 's'} of shape {shapes}."
            )
        return (Gaussian if name == "gaussian" else TanhGaussian)(shapes[0][1])
    if name == "multi_discrete":
        return MultiDiscrete(tuple(shape[1] for shape in shapes))
    if len(parts) != 1:
        raise InvalidArgument(
            f"a {name} policy returns one array of logits, got {len(parts)} arrays."
        )
    return Categorical(shapes[0][1]) if name == "categorical" else Bernoulli(shapes[0][1])


def _guess(shapes: list[tuple[int, ...]], actions: Array) -> str:
    """The only distribution that outputs and actions of these shapes can belong to."""
    whole = bool((actions == np.floor(actions)).all())
    columns = 1 if actions.ndim == 1 else actions.shape[1]
    fitting = []
    if len(shapes) == 1:
        width = shapes[0][1]
        zero_one = bool(np.isin(actions, (0, 1)).all())
        if columns == 1 and width > 1 and whole and actions.max() < width:
            fitting.append("categorical")
        if columns == width and zero_one:
            fitting.append("bernoulli")
    else:
        if len(shapes) == 2 and columns == shapes[0][1]:
            fitting.append("gaussian")
        if columns == len(shapes) and whole and all(len(s) == 2 and s[1] > 1 for s in shapes):
            fitting.append("multi_discrete")
    one_hot = fitting == ["bernoulli"] and columns > 1 and bool((actions.sum(axis=1) == 1).all())
    if len(fitting) == 1 and not one_hot:
        return fitting[0]
    known = ", ".join(DISTRIBUTIONS)
    if one_hot or len(fitting) > 1:
        either = "one-hot categorical or bernoulli" if one_hot else " or ".join(fitting)
        raise InvalidArgument(
            f"outputs {shapes} with actions of shape {actions.shape} may be {either}; say which "
            f"with distribution=… ({known}). Categorical actions are given as indices, not one-hot."
        )
    raise InvalidArgument(
        f"policy returned {shapes}, which with actions of shape {actions.shape} is no known "
        f"distribution; return logits, or (mean, log_std), or say distribution=… ({known})."
    )


def _pack(
    outputs: Any, law: ActionDistribution, rows: int, known: Array | None = None
) -> tuple[Array, str, Array]:
    """z (N, K) in float64, the coarsest dtype of its parts, and where logits are masked: there,
    where it is ``known`` from θ itself."""
    parts = _parts(outputs)
    if isinstance(law, Gaussian) and len(parts) == 2:
        mean = parts[0][0]
        try:
            log_std = np.broadcast_to(parts[1][0], mean.shape)
        except ValueError:
            raise InvalidArgument(
                f"log_std of shape {parts[1][0].shape} does not broadcast to the mean's "
                f"{mean.shape}."
            ) from None
        z = np.concatenate([mean, log_std], axis=1)
    else:
        z = np.concatenate([part for part, _ in parts], axis=1)
    if z.shape != (rows, law.size):
        raise InvalidArgument(f"policy returned {z.shape}, and before {(rows, law.size)}.")
    z, masked = _unmasked(z, law, known)
    bad = ~np.isfinite(z)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InvalidArgument(
            f"policy returned {z[row, column]} in row {row}, output {column}; nothing can be "
            "judged there."
        )
    return z, min((kind for _, kind in parts), key=arrays.precision), masked


def _unmasked(z: Array, law: ActionDistribution, known: Array | None) -> tuple[Array, Array]:
    """Logits with finite numbers in place of −inf, and where these are; a row needs one action."""
    if known is not None and (np.isneginf(z) & ~known).any():
        row = int(np.argwhere(np.isneginf(z) & ~known)[0][0])
        raise InvalidArgument(
            f"which logits are −inf depends on theta (row {row}): there is no derivative."
        )
    if not isinstance(law, MultiDiscrete):
        return z, np.zeros(z.shape, bool)
    blocks, masks = [], []
    given = law.blocks(known) if known is not None else None
    for index, block in enumerate(law.blocks(z)):
        largest = block.max(axis=1, keepdims=True, initial=-np.inf)
        if np.isneginf(largest).any():
            row = int(np.argmax(np.isneginf(largest)))
            raise InvalidArgument(
                f"every logit of row {row} is −inf: at least one action has to be allowed."
            )
        low = block < largest - STANDS_FOR_MASKED
        masks.append(low if given is None else given[index])
        blocks.append(np.where(masks[-1], largest - MASKED, block))
    return np.concatenate(blocks, axis=1), np.concatenate(masks, axis=1)
