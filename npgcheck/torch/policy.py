"""A torch module's policy as a function of one flat vector, without touching the module.

Every evaluation swaps copies in for the parameters and buffers (``torch.func.functional_call``), in
the dtype of the vector: a module of float32 is evaluated in float64 when θ is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from npgcheck.errors import InvalidArgument
from npgcheck.torch.distributions import Reading, read
from npgcheck.torch.state import forked, register, registries, write

DistributionOf = Callable[[Any, Any], Any]


class _Holder(torch.nn.Module):
    """Gives ``distribution(module, observations)`` a forward pass that functional_call can run."""

    def __init__(self, given: Any, distribution: DistributionOf) -> None:
        super().__init__()
        self.given = (given,)  # in a tuple, so that it is not registered twice
        self.distribution = distribution
        self.several = isinstance(given, (list, tuple))
        for index, part in enumerate(given if self.several else (given,)):
            if isinstance(part, torch.nn.Parameter):
                self.register_parameter(f"part{index}", part)
            elif isinstance(part, torch.nn.Module):
                self.add_module(f"part{index}", part)
            else:
                raise InvalidArgument(
                    "module must be a torch.nn.Module, or a list of modules and parameters; "
                    f"got {type(part).__name__}."
                )

    def forward(self, observations: Any) -> Any:
        given = self.given[0]
        if self.several:  # by name, since a parameter by itself is swapped there alone
            given = [getattr(self, f"part{index}") for index in range(len(given))]
        return self.distribution(given, observations)


class Policy:
    """The policy of a module at its present parameters: ``policy(theta, observations)``.

    It is a snapshot: whatever is trained later does not change it. What it returns is what
    ``npgcheck.check_step`` takes: logits, or the pair (mean, log_std).

    Args:
        module: the ``torch.nn.Module``, or a list of modules and parameters where the policy
            is spread over several.
        distribution: ``distribution(module, observations)`` gives the torch.distributions object
            of the actions, one row per observation.
        parameters: which parameters make up θ, in the order of the flat vector: parameters or
            their names. By default all of them, in the order of ``module.parameters()``, which
            is that of ``torch.nn.utils.parameters_to_vector``.

    Attributes:
        names: of the parameters in θ, in order.
        parameters: the module's own parameters in θ, in order.
        theta: (D,), the flat vector, a copy.

    Raises:
        InvalidArgument: a parameter that does not belong to the module, or twice in the list, or
            not initialised yet.
    """

    def __init__(
        self,
        module: Any,
        distribution: DistributionOf,
        *,
        parameters: Iterable[Any] | None = None,
    ) -> None:
        if not callable(distribution):
            raise InvalidArgument(
                "distribution must be a function (module, observations) -> torch.distributions "
                f"object, got {type(distribution).__name__}."
            )
        self.holder = _Holder(module, distribution)
        alone = self._alone = isinstance(module, torch.nn.Module)
        everything = dict(self.holder.named_parameters())
        if alone:
            self._full_names = {name.removeprefix("part0."): name for name in everything}
        else:  # in the order of the list; torch names a module's own parameters first
            place = {name: int(name.partition(".")[0].removeprefix("part")) for name in everything}
            self._full_names = {name: name for name in sorted(everything, key=place.__getitem__)}
        own = {short: everything[full] for short, full in self._full_names.items()}
        lazy = [n for n, p in own.items() if isinstance(p, torch.nn.UninitializedParameter)]
        if lazy:
            raise InvalidArgument(
                f"parameter {lazy[0]!r} is not initialised: run the module once before the check."
            )
        self.names = _chosen(own, parameters)
        if not self.names:
            raise InvalidArgument("θ has no parameters: there is nothing to differentiate.")
        self.parameters = tuple(own[name] for name in self.names)
        self.others = {name: p for name, p in own.items() if name not in self.names}
        self._own = own
        self._tables = registries(self.holder)
        self._values = {name: p.detach().clone() for name, p in own.items()}
        self._buffers = {n: b.detach().clone() for n, b in self.holder.named_buffers()}
        self._seed = 0

    @property
    def theta(self) -> Tensor:
        """(D,), the parameters of the snapshot as one vector."""
        return self.flat([self._values[name] for name in self.names])

    @property
    def values(self) -> dict[str, Tensor]:
        """Every parameter of the snapshot by name, those outside of θ too."""
        return dict(self._values)

    def modules(self) -> list[tuple[str, torch.nn.Module]]:
        """The submodules by name, as the module itself calls them."""
        found = [(n, m) for n, m in self.holder.named_modules() if m is not self.holder]
        return [(n.partition(".")[2] or n, m) for n, m in found] if self._alone else found

    def tensors(self) -> dict[str, Tensor]:
        """The module's own parameters and buffers by name, as a ``state_dict`` calls them."""
        short = {full: name for name, full in self._full_names.items()}
        prefix = "part0." if self._alone else ""
        buffers = {n.removeprefix(prefix): b for n, b in self.holder.named_buffers()}
        return {short[n]: p for n, p in self.holder.named_parameters()} | buffers

    @contextmanager
    def at_snapshot(self) -> Iterator[None]:
        """The module is what it was at the snapshot inside; to be used within ``preserved``.

        The same objects stand in it again, also where an update has put new parameters in their
        place, with the snapshot's values.
        """
        register(self._tables)
        values = [(p, p.detach().clone()) for p in self._own.values()]
        try:
            for name, parameter in self._own.items():
                write(parameter, self._values[name])
            for name, buffer in self.holder.named_buffers():
                write(buffer, self._buffers[name])
            yield
        finally:
            for parameter, value in values:
                write(parameter, value)

    def flat(self, parts: Sequence[Tensor | None]) -> Tensor:
        """One vector out of one tensor per parameter, in order; None stands for zeros."""
        if len(parts) != len(self.names):
            raise InvalidArgument(
                f"{len(parts)} tensors were given for {len(self.names)} parameters: "
                f"{', '.join(self.names)}. Where some of them are frozen, say which make up θ: "
                "parameters=[…]."
            )
        filled = [
            torch.zeros_like(p) if part is None else part
            for p, part in zip(self.parameters, parts, strict=True)
        ]
        return torch.cat([part.detach().reshape(-1) for part in filled])

    def split(self, theta: Tensor) -> list[Tensor]:
        """The vector taken apart into the parameters' shapes, in order."""
        sizes = [p.numel() for p in self.parameters]
        if theta.shape != (sum(sizes),):
            raise InvalidArgument(
                f"θ must have shape ({sum(sizes)},), got {tuple(theta.shape)}; its parameters "
                f"are {', '.join(self.names)}."
            )
        pieces = zip(theta.split(sizes), self.parameters, strict=True)
        return [piece.reshape(p.shape) for piece, p in pieces]

    def distribution(self, theta: Tensor, observations: Any, seed: int = 0) -> Any:
        """The torch.distributions object at θ; differentiable in θ."""
        named = dict(zip(self.names, self.split(theta), strict=True))
        return self.evaluate(named, observations, theta.dtype, seed)

    def evaluate(
        self, named: Mapping[str, Tensor], observations: Any, dtype: torch.dtype, seed: int = 0
    ) -> Any:
        """The distribution object with some parameters replaced, the others as in the snapshot."""
        plain = dtype == self.theta_dtype
        given: dict[str, Tensor] = {}
        for name, full in self._full_names.items():
            own = self._values[name]
            value = named.get(name, own)
            given[full] = value.to(own.device, own.dtype if plain else dtype)
        for name, buffer in self._buffers.items():
            floating = buffer.is_floating_point() and not plain
            # A copy each time: batch norm in training mode writes into its running statistics.
            given[name] = buffer.to(dtype) if floating else buffer.clone()
        rows = _moved(observations, self.parameters[0].device, dtype)
        with forked(seed):
            return functional_call(self.holder, given, (rows,))

    @property
    def theta_dtype(self) -> torch.dtype:
        """The dtype of the flat vector."""
        found = self.parameters[0].dtype
        for p in self.parameters:
            found = torch.promote_types(found, p.dtype)
        return found

    def reading(self, theta: Tensor, observations: Any, seed: int = 0) -> Reading:
        """The distribution at θ as numbers."""
        return read(self.distribution(theta, observations, seed), rows_of(observations))

    def __call__(self, theta: Any, observations: Any) -> Any:
        """logits (N, A); (mean, log_std), each (N, m); logits (N, m); or a tuple of logits.

        Chance in the module (dropout) differs from call to call, as it does in training, but the
        generators outside stay as they are.
        """
        self._seed += 1
        with torch.no_grad():
            return self.reading(torch.as_tensor(theta), observations, self._seed).outputs


def alike(given: Any, parts: Sequence[Any]) -> Any:
    """A list, tuple or named tuple of the same kind with other parts."""
    return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)


def rows_of(observations: Any) -> int:
    """N, also of nested observations."""
    if isinstance(observations, Mapping):
        return rows_of(next(iter(observations.values())))
    if isinstance(observations, (list, tuple)) and hasattr(observations[0], "shape"):
        return rows_of(observations[0])
    return len(observations)


def _chosen(own: Mapping[str, Tensor], parameters: Iterable[Any] | None) -> tuple[str, ...]:
    """The names of the parameters in θ, in order."""
    if parameters is None:
        return tuple(own)
    if isinstance(parameters, (str, Tensor)):
        raise InvalidArgument("parameters must be a list of parameters or of their names.")
    by_identity = {id(p): name for name, p in own.items()}
    found: list[str] = []
    for index, entry in enumerate(parameters):
        name = entry if isinstance(entry, str) else by_identity.get(id(entry), "")
        if name not in own:
            what = repr(entry) if isinstance(entry, str) else f"of shape {tuple(entry.shape)}"
            raise InvalidArgument(
                f"parameters[{index}], {what}, is no parameter of the module. Known: "
                f"{', '.join(own)}. Where the policy is spread over several modules, give them "
                "all: module=[network, log_std]."
            )
        if name in found:
            raise InvalidArgument(f"parameters[{index}], {name!r}, stands twice in the list.")
        found.append(name)
    return tuple(found)


def _moved(observations: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Observations as tensors where the module lives, floating ones in the wanted dtype."""
    if isinstance(observations, Mapping):
        return {name: _moved(part, device, dtype) for name, part in observations.items()}
    if isinstance(observations, (list, tuple)) and hasattr(observations[0], "shape"):
        return alike(observations, [_moved(part, device, dtype) for part in observations])
    rows = torch.as_tensor(observations)
    return rows.to(device, dtype) if rows.is_floating_point() else rows.to(device)
