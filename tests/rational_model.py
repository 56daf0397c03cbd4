"""A problem as exact rationals, solved with FLINT: the second route for batches and episodes.

Nothing here is shared with npgcheck.designs: the rationals are recovered from the float64 numbers
of the finished problem (the simplest fraction next to each), and every equation is solved again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import fmpq, fmpq_mat

from npgcheck.problem import Problem


def simplest(value: float, largest: int = 2000) -> Fraction:
    """The fraction that a number of a designed problem stands for."""
    fraction = Fraction(float(value)).limit_denominator(largest)
    # Two fractions with denominators up to 2000 are at least 2.5e-7 apart: this one is meant.
    assert abs(float(fraction) - value) < 1e-12, value
    return fraction


def q(value: Fraction | int) -> fmpq:
    value = Fraction(value)
    return fmpq(value.numerator, value.denominator)


@dataclass
class Rational:
    """P[s][a][s'], π[s][a], R[s][a], ρ[s] and γ; a Gaussian chain has one action and R = 0."""

    P: list[list[list[Fraction]]]
    pi: list[list[Fraction]]
    R: list[list[Fraction]]
    rho: list[Fraction]
    gamma: Fraction

    def _system(self) -> fmpq_mat:
        size = len(self.P)
        rows = []
        for s in range(size):
            mean = [
                sum((p * row[t] for p, row in zip(self.pi[s], self.P[s], strict=True)), Fraction(0))
                for t in range(size)
            ]
            rows.append([q(int(s == t) - self.gamma * mean[t]) for t in range(size)])
        return fmpq_mat(rows)

    def occupancy(self) -> list[Fraction]:
        """d = (1 − γ)(I − γP_πᵀ)⁻¹ρ."""
        right = fmpq_mat([[q((1 - self.gamma) * p)] for p in self.rho])
        d = self._system().transpose().solve(right)
        return [Fraction(int(d[s, 0].p), int(d[s, 0].q)) for s in range(len(self.P))]

    def value(self) -> list[Fraction]:
        """V = (I − γP_π)⁻¹ r_π."""
        reward = [
            sum((p * r for p, r in zip(ps, rs, strict=True)), Fraction(0))
            for ps, rs in zip(self.pi, self.R, strict=True)
        ]
        V = self._system().solve(fmpq_mat([[q(r)] for r in reward]))
        return [Fraction(int(V[s, 0].p), int(V[s, 0].q)) for s in range(len(self.P))]

    def advantage(self) -> list[list[Fraction]]:
        """A = R + γPV − V."""
        V = self.value()
        return [
            [
                r
                + self.gamma * sum((p * v for p, v in zip(row, V, strict=True)), Fraction(0))
                - V[s]
                for r, row in zip(self.R[s], self.P[s], strict=True)
            ]
            for s in range(len(self.P))
        ]

    def rows(self) -> dict[tuple[int, int, int], Fraction]:
        """d(s) π(a|s) P(s'|s, a) wherever it is not zero."""
        d = self.occupancy()
        return {
            (s, a, t): weight
            for s in range(len(self.P))
            for a, p in enumerate(self.pi[s])
            for t, move in enumerate(self.P[s][a])
            if (weight := d[s] * p * move)
        }


def rational(problem: Problem) -> Rational:
    """The rationals that a designed problem stands for."""
    if problem.is_gaussian:
        P = [[[simplest(x) for x in row]] for row in problem.mdp.transitions]
        pi, R = [[Fraction(1)] for _ in P], [[Fraction(0)] for _ in P]
    else:
        P = [[[simplest(x) for x in row] for row in rows] for rows in problem.mdp.transitions]
        table = problem.policy.probabilities(problem.theta, problem.observations)
        pi = [[simplest(x) for x in row] for row in table]
        R = [[simplest(x) for x in row] for row in problem.mdp.rewards]
    for row in [*(row for rows in P for row in rows), *pi]:
        assert sum(row) == 1
    rho = [simplest(x) for x in problem.mdp.initial_distribution]
    return Rational(P, pi, R, rho, simplest(problem.discount))


def histogram(rows: list[tuple[int, ...]]) -> dict[tuple[int, ...], Fraction]:
    """Relative frequencies, exactly."""
    return {row: Fraction(count, len(rows)) for row, count in Counter(rows).items()}


def mean_score(problem: Problem) -> float:
    """‖mean score‖ relative to the root mean square score of the batch."""
    batch = problem.batch
    scores = problem.policy.score(problem.theta, batch.observations, batch.actions)
    size = float(np.sqrt((scores**2).sum(axis=1).mean()))
    return float(np.linalg.norm(scores.mean(axis=0))) / size
