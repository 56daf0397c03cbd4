"""Numbers as sentences write them: ``1/2``, ``√2``, ``1/N, N the number of rows``, ``2 · γ``."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.controls._gaussian import ExactGaussian
from npgcheck.conformance.controls._network import ExactNetwork
from npgcheck.conformance.fact_judge.truth import CLOSE, Case

Array = np.ndarray

#: Of a number without a short form six digits are quoted.
QUOTED = 2e-5

Number = Callable[[Case], float]


def _length(c: Case) -> float:
    return float(np.linalg.norm(c.exact))


def _mean_eigenvalue(c: Case) -> float:
    matrix = c.exact if np.ndim(c.exact) == 2 else matrix_of(c)
    return float(np.trace(matrix)) / len(matrix)


def matrix_of(c: Case) -> np.ndarray:
    """F of the reading."""
    if c.metric is not None:
        return c.metric
    eye = np.eye(c.problem.theta.size)
    return np.stack([c.pipeline.fisher_vector_product(c.problem, e) for e in eye], axis=1)


def _gap(c: Case) -> float:
    return 1 - float(c.problem.mdp.discount)


SYMBOLS: dict[str, Number] = {
    "(1−γ)": _gap,
    "1/(1−γ)": lambda c: 1 / _gap(c),
    "(1−γ)²": lambda c: _gap(c) ** 2,
    "1/(1−γ)²": lambda c: _gap(c) ** -2,
    "γ": lambda c: c.problem.mdp.discount,
    "γ²": lambda c: c.problem.mdp.discount**2,
    "1/γ": lambda c: 1 / c.problem.mdp.discount,
    "√(1−γ)": lambda c: _gap(c) ** 0.5,
    "√(1/(1−γ))": lambda c: _gap(c) ** -0.5,
    "N": lambda c: len(c.problem.batch.actions),
    "1/N": lambda c: 1 / len(c.problem.batch.actions),
    "m": lambda c: c.problem.action_size,
    "1/m": lambda c: 1 / c.problem.action_size,
    "A": lambda c: c.problem.num_actions,
    "1/A": lambda c: 1 / c.problem.num_actions,
    "log A": lambda c: float(np.log(c.problem.num_actions)),
    "S": lambda c: c.problem.num_states,
    "1/S": lambda c: 1 / c.problem.num_states,
    "D": lambda c: c.problem.theta.size,
    "1/D": lambda c: 1 / c.problem.theta.size,
    "√D": lambda c: c.problem.theta.size**0.5,
    "η": lambda c: c.args[-1],
    "1/η": lambda c: 1 / c.args[-1],
    "1/η²": lambda c: c.args[-1] ** -2,
    "1/(1+η)": lambda c: 1 / (1 + c.args[-1]),
    "δ": lambda c: c.args[0],
    "√δ": lambda c: c.args[0] ** 0.5,
    "1/δ": lambda c: 1 / c.args[0],
    "√(1/δ)": lambda c: c.args[0] ** -0.5,
    "1/t": lambda c: 1 / c.turn,
    "√(1/t)": lambda c: c.turn**-0.5,
    "|v|": lambda c: float(np.linalg.norm(c.args[0])),
    "1/|v|": lambda c: 1 / float(np.linalg.norm(c.args[0])),
    "1/|v|²": lambda c: float(np.linalg.norm(c.args[0])) ** -2,
    "its own length": _length,
    "1/its own length": lambda c: 1 / _length(c),
    "1/its largest entry": lambda c: 1 / float(np.max(np.abs(c.exact))),
    "η/its own length": lambda c: c.args[-1] / _length(c),
    "δ/its own length": lambda c: c.args[0] / _length(c),
    "√δ/its own length": lambda c: c.args[0] ** 0.5 / _length(c),
    "the mean eigenvalue of F": _mean_eigenvalue,
}


def law(text: str) -> Number | None:
    """The number of each case, or None for a text that is none."""
    factor, symbol = 1.0, text.partition(", ")[0]
    head, dot, tail = symbol.partition(" · ")
    if dot:
        parsed = number(head)
        if parsed is None:
            return None
        factor, symbol = parsed, tail
    if symbol in SYMBOLS:
        return lambda c: factor * SYMBOLS[symbol](c)
    parsed = number(symbol)
    return None if parsed is None else lambda c: parsed


def number(text: str) -> float | None:
    """``1/2``, ``−√(1/2)``, ``3.2872``."""
    match = re.fullmatch(r"([−-]?)(√?)\(?([0-9.e+-]+(?:/[0-9]+)?)\)?", text)
    if match is None:
        return None
    sign, root, digits = match.groups()
    value = float(Fraction(digits)) if "/" in digits else float(digits)
    return (-1.0 if sign else 1.0) * (value**0.5 if root else value)


def limit(text: str) -> float:
    """How closely a quoted number is known."""
    return QUOTED if "." in text else CLOSE


def exact_pipeline(c: Case) -> Any:
    """The plain pipeline on the MDP itself."""
    family = c.problem.family
    return {"gaussian": ExactGaussian, "mlp": ExactNetwork}.get(family, ExactSoftmax)()


def direction(c: Case) -> Array:
    """g of the reading, from its own F and x."""
    scale = c.args[-1] if len(c.args) and is_step(c) else 1.0
    return np.asarray(matrix_of(c) @ c.exact / scale)


def is_step(c: Case) -> bool:
    """Whether the answer was a point, and is a displacement here."""
    return c.raw is not None and c.metric is not None and c.yours is not c.raw
