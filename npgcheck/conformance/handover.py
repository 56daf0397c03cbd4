"""What a subject is handed: writable copies, watched for what is read and compared afterwards.

A subject may read and write what it gets as long as it puts things back: perturbing an entry and
undoing it leaves at most a few roundings, which are forgiven. A change that stays is reported,
because the same code would corrupt its caller's parameters or the vector of a conjugate gradient.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.conformance.contract import QUANTITIES
from npgcheck.problem import arrays_of

#: Perturb-and-undo leaves about one rounding of the largest entry; a thousand are forgiven.
UNDONE = 1000 * 2.0**-53


class Handed:
    """The arguments of one call.

    Attributes:
        positional: what the subject's function is called with.
        products: how often it called the matvec that it was given.
    """

    def __init__(self, names: tuple[str, ...], given: tuple[Any, ...]) -> None:
        self._names = names
        self._given = given
        self.positional = [_copy(argument) for argument in given]
        self.products = 0

    def accessed(self) -> frozenset[str]:
        """Which of ``mdp``, ``batch`` and ``episodes`` were read."""
        return frozenset().union(*(getattr(a, "accessed", ()) for a in self.positional[:1]))

    def changed(self) -> str:
        """Names what the subject changed and left changed, or "" when nothing."""
        for name, before, after in zip(self._names, self._given, self.positional, strict=True):
            if isinstance(before, np.ndarray):
                if not _same(before, after):
                    return f"its argument {name}"
            elif hasattr(after, "accessed") and (where := _change_within(before, after)):
                return f"{name}.{where}"
        return ""

    def give_matvec(self, matrix: np.ndarray) -> None:
        """Puts a product with the matrix in place of the first argument."""
        self.positional[0] = self._matvec(np.array(matrix, dtype=np.float64))
        self._given = (None, *self._given[1:])

    def _matvec(self, matrix: np.ndarray) -> Callable[[Any], Any]:
        def matvec(vector: Any) -> Any:
            """The matrix times a vector, in the kind of array that it is called with."""
            self.products += 1
            torch = sys.modules.get("torch")
            if torch is not None and isinstance(vector, torch.Tensor):
                product = matrix @ vector.detach().cpu().numpy().astype(np.float64)
                return torch.as_tensor(product, dtype=vector.dtype)
            return matrix @ np.asarray(vector, dtype=np.float64)

        return matvec


def hand_over(quantity: str, problem: Any, args: tuple[Any, ...]) -> Handed:
    """Copies the arguments of a call; see :class:`Handed`."""
    contract = QUANTITIES.get(quantity)
    if contract is None:  # a function of the subject's own policy
        return Handed(("problem", "observations", "theta")[: 1 + len(args)], (problem, *args))
    handed = Handed(contract.parameters, (problem, *args) if contract.takes_problem else args)
    if quantity == "conjugate_gradient":
        handed.give_matvec(args[0])
    return handed


def _copy(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return np.array(argument)
    if isinstance(argument, np.generic):
        return argument.item()
    if hasattr(argument, "writable_copy"):
        return argument.writable_copy()
    return argument


def _change_within(problem: Any, copy: Any) -> str:
    """Where a problem's copy differs from it, e.g. ``mdp.rewards``; "" when nowhere."""
    held = {**vars(copy), **vars(copy)["_memory"]}
    for name in ("theta", "observations", "mdp", "batch", "episodes"):
        mine = held.get(name, ())
        theirs = arrays_of(getattr(problem, name) if name in held else (), name)
        for (where, before), (_, after) in zip(theirs, arrays_of(mine, name), strict=True):
            if not _same(before, after):
                return where
    return ""


def _same(before: np.ndarray, after: np.ndarray) -> bool:
    if before.shape != after.shape:
        return False
    if np.array_equal(before, after):
        return True
    if before.dtype.kind != "f":
        return False
    scale = float(np.max(np.abs(before), initial=0.0))
    return bool(np.max(np.abs(before - after)) <= UNDONE * scale)
