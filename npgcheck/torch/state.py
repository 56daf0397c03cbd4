"""Leaving no trace: what a check may disturb is noted before and put back after."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

_REGISTRIES = ("_parameters", "_buffers", "_modules")


@contextmanager
def preserved(module: torch.nn.Module) -> Iterator[None]:
    """Puts the module and the random generators back to what they were on entry.

    Parameters (the objects, storage, values, ``requires_grad``, ``.grad``), buffers, submodules,
    training flags and other plain attributes of every submodule (what was added to a list,
    dictionary, set or deque is taken out again), the generators of torch, numpy and Python, and
    the grad mode.
    """
    submodules = list(module.modules())
    parameters = [(p, p.data, p.detach().clone(), p.requires_grad) for p in module.parameters()]
    gradients = [
        (p, p.grad, None if p.grad is None else p.grad.detach().clone()) for p, *_ in parameters
    ]
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    plain = [_plain_attributes(m) for m in submodules]
    tables = registries(module)
    generators = _generators()
    grad_mode = torch.is_grad_enabled()
    try:
        # A trainer may call from within no_grad; its own functions expect to differentiate.
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_grad_enabled(grad_mode)
        _restore_generators(generators)
        register(tables)
        for submodule, attributes in zip(submodules, plain, strict=True):
            _restore_attributes(submodule, attributes)
        for parameter, storage, value, requires_grad in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.data = storage
            write(parameter, value)
        for buffer, value in buffers:
            write(buffer, value)
        for parameter, gradient, copy in gradients:
            parameter.grad = gradient
            if gradient is not None and copy is not None:
                write(gradient, copy)


#: A module, and copies of its tables of parameters, buffers and submodules.
Registry = tuple[torch.nn.Module, tuple[dict[str, Any], ...]]


def registries(module: torch.nn.Module) -> list[Registry]:
    """Which objects stand where in the module and all its submodules."""
    return [(m, tuple(dict(vars(m)[name]) for name in _REGISTRIES)) for m in module.modules()]


def register(tables: Sequence[Registry]) -> None:
    """Puts these objects where they stood."""
    for module, copies in tables:
        for name, copy in zip(_REGISTRIES, copies, strict=True):
            table = vars(module)[name]
            table.clear()
            table.update(copy)


def write(target: Tensor, value: Tensor) -> None:
    """Sets the numbers of a tensor without a trace for autograd; nothing where they are equal.

    Through ``.data``, so that graphs which saved the tensor stay usable.
    """
    if not _same(target.data, value):
        target.data.copy_(value)


def put(parameter: Tensor, value: Tensor) -> None:
    """Sets the numbers of a parameter in storage of their own; nothing where they are equal.

    That is how ``torch.nn.utils.vector_to_parameters`` does it: what shares the old storage (σ of
    a detached old policy, another process) keeps the old numbers.
    """
    if not _same(parameter.data, value):
        parameter.data = value.detach().to(parameter.device, parameter.dtype, copy=True)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a, b))


@contextmanager
def parameters_at(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """The parameters have these values inside, and their own again afterwards."""
    own = [p.data for p in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            put(parameter, value)
        yield
    finally:
        for parameter, storage in zip(parameters, own, strict=True):
            parameter.data = storage


def _plain_attributes(module: torch.nn.Module) -> dict[str, tuple[Any, Any]]:
    """Everything else that stands on a module: the object, and a copy if it can change in place."""
    return {
        name: (value, _copy(value))
        for name, value in vars(module).items()
        if name not in _REGISTRIES
    }


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, deque)):
        return list(value)
    if isinstance(value, (dict, set)):
        return value.copy()
    return None


def _restore_attributes(module: torch.nn.Module, attributes: Mapping[str, tuple[Any, Any]]) -> None:
    present = vars(module)
    for name in [n for n in present if n not in attributes and n not in _REGISTRIES]:
        del present[name]
    for name, (value, copy) in attributes.items():
        present[name] = value
        if isinstance(value, Tensor):
            write(value, copy)
        elif isinstance(value, np.ndarray):
            value[...] = copy
        elif isinstance(value, (list, deque, dict, set)) and value != copy:
            value.clear()
            (value.extend if isinstance(value, (list, deque)) else value.update)(copy)


def _generators() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()


def _restore_generators(states: tuple[Any, ...]) -> None:
    torch.set_rng_state(states[0])
    if states[1] is not None:
        torch.cuda.set_rng_state_all(states[1])
    np.random.set_state(states[2])
    random.setstate(states[3])


def autocast(device: str) -> tuple[str, torch.dtype] | None:
    """The autocast that is in force on this kind of device, or None."""
    try:
        if not torch.is_autocast_enabled(device):
            return None
        return device, torch.get_autocast_dtype(device)
    except TypeError:  # torch before 2.4 asks per device
        cpu = device == "cpu"
        on = torch.is_autocast_cpu_enabled() if cpu else torch.is_autocast_enabled()
        dtype = torch.get_autocast_cpu_dtype() if cpu else torch.get_autocast_gpu_dtype()
        return (device, dtype) if on else None


@contextmanager
def forked(seed: int) -> Iterator[None]:
    """torch's generators start from a seed inside; outside they go on as if nothing happened.

    ``torch.manual_seed`` would also leave a seed behind for every device that is initialised later.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:  # pragma: no cover - no such device where the tests run
            torch.cuda.manual_seed_all(seed)
        yield
