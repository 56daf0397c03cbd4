"""The subject's own lower answers, taken as given: what is wrong above them is explained by itself.

A subject with a flipped gradient and too short a step makes two mistakes, and the step shows both.
Recomputed from its own x, the step shows the second alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np

from npgcheck.conformance.atlas.entry import Choice
from npgcheck.conformance.diagnosis.pipeline import View
from npgcheck.conformance.diagnosis.reach import Applied
from npgcheck.conformance.layers import failing
from npgcheck.conformance.own_answers import OwnAnswers
from npgcheck.conformance.run_state import Run

Array = np.ndarray

#: The name under which own answers stand beside choices; it is in no registry and never told.
OWN = "the subject's own answers"

_FORMS = count(1)
#: Quantity → what it is made of: sets of (quantity below, the part of the pipeline that it is),
#: the one that says most first.
_MADE_OF: Mapping[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "fisher_vector_product": ((("fisher", "F"),),),
    "natural_gradient": (
        (("policy_gradient", "g"), ("fisher", "F")),
        (("policy_gradient", "g"),),
        (("fisher", "F"),),
    ),
    "update": (
        (("natural_gradient", "direction"),),
        (("policy_gradient", "g"), ("fisher", "F")),
        (("policy_gradient", "g"),),
        (("fisher", "F"),),
    ),
    "trust_region_proposal": (
        (("natural_gradient", "direction"),),
        (("natural_gradient", "direction"), ("fisher", "F")),
        (("policy_gradient", "g"), ("fisher", "F")),
        (("policy_gradient", "g"),),
        (("fisher", "F"),),
    ),
}


def own_answers(state: Run, quantity: str, below: set[str]) -> Iterator[Applied]:
    """The ways to put own answers of refuted or deviating quantities, ``below``, in their place."""
    functions = state.subject.functions
    for parts in _MADE_OF.get(quantity, ()):
        asked = [(q, part) for q, part in parts if q in functions]
        if len(asked) == len(parts) and any(q in below for q, _ in asked):
            change = {part: _answer_of(state, q) for q, part in asked}
            # Choices are looked up by name and form: those of two subjects must not be equal.
            made_of = " ".join(q for q, _ in asked)
            unique = Choice(
                "own", made_of, OWN, "free", "", "", "", change=change, form=next(_FORMS)
            )
            yield Applied(unique)


def root_of(state: Run, applied: Applied) -> str:
    """The quantity whose wrong answers these are, the last of several; "" if none fails."""
    return next((q for q in applied.choice.value.split()[::-1] if failing(state, q)), "")


def _answer_of(state: Run, quantity: str) -> Callable[..., Array]:
    """A change of a part of the pipeline into what the subject answers there."""
    known: dict[int, OwnAnswers] = {}

    def change(view: View, part: Any) -> Array:
        problem = view.problem
        own = known.setdefault(id(problem), OwnAnswers(state.collector, problem, 0.0))
        answer = own.get(quantity)
        if answer is None:
            return np.full(len(view.reference.theta), np.nan)
        return np.asarray(answer, dtype=float)

    return change
