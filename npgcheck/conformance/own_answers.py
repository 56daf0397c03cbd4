"""What a subject answers on one problem, asked when a layer above needs it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from npgcheck.conformance.collect import Collector
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.probes import Probe

Array = np.ndarray


class OwnAnswers:
    """The subject's answers on ``problem`` beside the exact ones.

    Attributes:
        problem: the problem.
        damping: λ that the run found in the product or the solve, or 0.
    """

    def __init__(self, collector: Collector, problem: Any, damping: float) -> None:
        self.problem = problem
        self.damping = damping
        self._collector = collector
        self._reference = collector.reference(problem)
        self._answers: dict[Any, Array | None] = {}

    @property
    def discrete(self) -> bool:
        """Whether states and actions are both finite, so that tables can be asked."""
        return bool(self._reference.discrete)

    @property
    def evaluation(self) -> Any:
        """Exact V, Q, A, d, J."""
        return self._reference.evaluation

    @property
    def probabilities(self) -> Array:
        """π(a|s), exact."""
        return self._reference.probabilities

    @property
    def exact_gradient(self) -> Array:
        """∇J, exact."""
        scale = 1.0 - self.problem.discount
        return self._reference.gradient("mdp", "discounted") / scale

    @cached_property
    def exact_scores(self) -> Array:
        """φ(s, a), exact; (S, A, D)."""
        return self.problem.policy.scores(self.problem.theta, self.problem.observations)

    def get(self, quantity: str) -> Any:
        """The subject's answer to a question without arguments (all scores for ``score``)."""
        if quantity == "score":
            return self._table("score", self.problem)
        return self.ask(quantity)

    def ask(self, quantity: str, *args: Any) -> Any:
        """The subject's answer, or None when it has none."""
        if quantity not in self._collector.caller.subject.functions:
            return None
        key = (quantity, *(float(a) for a in args))
        if key not in self._answers:
            self._answers[key] = self._call(quantity, self.problem, *args)
        return self._answers[key]

    def value_of(self, quantity: str, *args: Any) -> float | None:
        """The subject's number for these arguments, or None when it has none."""
        if quantity not in self._collector.caller.subject.functions:
            return None
        answer = self._call(quantity, self.problem, *args)
        return None if answer is None else float(answer)

    def exact_kl(self, other: Array) -> float:
        """KL(π_θ ‖ π_other) under the discounted occupancy, exact."""
        return float(self._reference.kl("mdp", "discounted", other, "forward"))

    def _call(self, quantity: str, problem: Any, *args: Any) -> Any:
        shape = QUANTITIES[quantity].shape_for(problem, *args)
        answer = self._collector.call(Probe(quantity, problem, args, shape))
        return answer.value if answer.fault is None else None

    def _table(self, quantity: str, problem: Any) -> Any:
        """All (state, action) answers of a pointwise function, or None."""
        key = (quantity, problem.id)
        if quantity not in self._collector.caller.subject.functions or not self.discrete:
            return None
        if key not in self._answers:
            rows = [
                [self._call(quantity, problem, s, a) for a in range(problem.num_actions)]
                for s in range(problem.num_states)
            ]
            complete = all(x is not None for row in rows for x in row)
            self._answers[key] = np.array(rows, dtype=float) if complete else None
        return self._answers[key]

    def log_prob_tables(self, other: Array) -> Iterator[tuple[Array, Array, str]]:
        """The subject's log π_other and log π, as (S, A) tables."""
        new = self._table("log_prob", self.problem.at(other))
        old = self._table("log_prob", self.problem)
        if new is not None and old is not None:
            yield new, old, "log_prob"

    def fishers(self) -> Iterator[tuple[Array, str]]:
        """F: exact, the subject's, and the one that its products spell out."""
        yield self._reference.fisher("mdp", "discounted"), ""
        matrix = self.get("fisher")
        if matrix is not None:
            yield matrix, "fisher"
        if "fisher_vector_product" in self._collector.caller.subject.functions:
            size = len(self.problem.theta)
            key = ("fisher_vector_product", "columns")
            if key not in self._answers:
                columns = [
                    self._call("fisher_vector_product", self.problem, row) for row in np.eye(size)
                ]
                complete = all(c is not None for c in columns)
                self._answers[key] = np.stack(columns, axis=1) if complete else None
            columns_found = self._answers[key]
            if columns_found is not None:
                yield columns_found, "fisher_vector_product"
