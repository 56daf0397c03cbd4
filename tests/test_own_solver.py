"""A wrong solver of the subject's own explains the solves made with it, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import npgcheck
from npgcheck.conformance.controls import find
from npgcheck.conformance.controls._exact import ExactSoftmax

ASKED = ["policy_gradient", "natural_gradient", "update", "conjugate_gradient"]


def verdicts(subject: Any) -> dict[str, Any]:
    report = npgcheck.verify(subject, only=ASKED, examples=16)
    return {r.quantity: r for r in report.results if r.kind == "value"} | {"report": report}


@pytest.mark.parametrize("plant", ["own-solver-sums-residuals", "own-solver-images-kept"])
def test_a_solve_is_explained_by_its_solver(plant):
    found = verdicts(find(plant).build())
    assert found["natural_gradient"].explained_by == "conjugate_gradient"
    assert found["natural_gradient"].diagnosis == ()
    assert found["update"].explained_by == "natural_gradient"
    assert found["report"].counts["mistakes"] == 1


def test_a_solve_shares_the_approximation_of_its_solver():
    found = verdicts(find("own-solver-guarded-quotient").build())
    for quantity in ASKED[1:]:
        assert found[quantity].status == "deviates"
        assert found[quantity].explained_by is None
        assert [d.choice for d in found[quantity].diagnosis] == ["CG-denominator-eps"]


def test_solves_that_differ_in_every_call_follow_from_a_drawn_start():
    subject: Any = find("own-solver-drawn-start").build()
    subject.rounds = 3
    found = verdicts(subject)
    assert found["natural_gradient"].explained_by == "conjugate_gradient"
    assert [d.choice for d in found["conjugate_gradient"].diagnosis] == ["random-start"]


class Apart(ExactSoftmax):
    """A wrong solver that no solve is made with, and a mistake of x itself."""

    def conjugate_gradient(self, matvec: Any, b: Any, iterations: int) -> Any:
        return -np.array(b)

    def natural_gradient(self, problem: Any) -> Any:
        return self.fisher(problem) @ self.policy_gradient(problem)


class Plain(Apart):
    """The same with x = g: what many a wrong solver gives after one iteration."""

    def conjugate_gradient(self, matvec: Any, b: Any, iterations: int) -> Any:
        return b * min(iterations, 1)

    def natural_gradient(self, problem: Any) -> Any:
        return self.policy_gradient(problem)


class Noise(Apart):
    """Numbers of any size: a drawn answer is no drawn start."""

    def conjugate_gradient(self, matvec: Any, b: Any, iterations: int) -> Any:
        return np.random.default_rng().normal(size=len(b))


@pytest.mark.parametrize("subject", [Apart, Noise])
def test_a_solve_that_is_made_otherwise_is_a_mistake_of_its_own(subject):
    found = verdicts(subject())
    assert found["natural_gradient"].explained_by is None
    assert [d.choice for d in found["natural_gradient"].diagnosis] == ["multiplied-not-solved"]
    assert not any(d.choice == "random-start" for d in found["conjugate_gradient"].diagnosis)
    assert found["report"].counts["mistakes"] == 2


@pytest.mark.parametrize(
    ("quantity", "examples", "limit"),
    [("natural_gradient", 120, "0.01 ‖g‖"), ("conjugate_gradient", 16, "0.01 ‖b‖")],
)
def test_a_loose_tolerance_is_named_with_its_number(quantity, examples, limit):
    subject: Any = find("own-solver").build()
    subject.enough, subject.rounds = 0.01**2, 100
    report = npgcheck.verify(subject, only=[quantity], examples=examples)
    found = next(r for r in report.results if r.kind == "value")
    assert (found.status, found.diagnosis[0].choice) == ("deviates", "cg-stopped-at-a-tolerance")
    assert limit in found.reason


class Uneven(ExactSoftmax):
    """Iterates that stop where no single tolerance would: after fewer iterations for a large D."""

    def natural_gradient(self, problem: Any) -> Any:
        F, g = self.fisher(problem), self.policy_gradient(problem)
        x, r, p = np.zeros(len(g)), g, g
        for _ in range(2 if len(g) > 8 else 3):
            image = F @ p
            if p @ image <= 1e-14:
                break
            length = (r @ r) / (p @ image)
            x, new = x + length * p, r - length * image
            r, p = new, new + (new @ new) / (r @ r) * p
        return x


def test_iterations_that_no_tolerance_explains_get_no_tolerance_of_that_kind():
    report = npgcheck.verify(Uneven(), only=["natural_gradient"], examples=24)
    found = next(r for r in report.results if r.kind == "value")
    assert "‖Fx − g‖ ≤" not in found.reason
