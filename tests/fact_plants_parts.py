"""Altered subjects for facts about policies, about parts of answers, and pure functions."""

from __future__ import annotations

import numpy as np

from npgcheck.conformance.controls._gaussian import ExactGaussian
from npgcheck.conformance.controls._network import ExactNetwork
from npgcheck.conformance.controls.plant_cg import Stateful
from npgcheck.conformance.controls.right_rows import GaeAsAMatrix
from tests.fact_changes import (
    AE,
    CG,
    KL,
    LP,
    SC,
    A,
    D,
    F,
    Features,
    G,
    L,
    Plant,
    _bias,
    _column,
    _first_column,
    _sigma,
    _third,
    _twice_the_states,
    _weights,
    bent,
    entry,
    gae,
    krylov,
    other_q,
    other_theta,
    plus,
    weighted,
)

PARTS = (
    # the policy
    Plant(LP, "right for θ cut to integers", other_theta(np.trunc), other_theta(np.round)),
    Plant(
        LP,
        "right for the next action",
        lambda s, p, args, y: s.log_pi(p, p.theta)[args[0], (args[1] + 1) % p.num_actions],
        lambda s, p, args, y: s.log_pi(p, p.theta)[args[0], args[1] - 1],
    ),
    Plant(
        LP,
        "right for σ times 11/10",
        lambda s, p, args, y: (
            y
            + 0.5
            * float(
                np.sum(((args[1] - s.mean(p)[args[0]]) / np.exp(p.theta[-p.action_size :])) ** 2)
            )
            * (1 - 1.1**-2)
            - p.action_size * np.log(1.1)
        ),
        plus(0.1),
        ExactGaussian,
    ),
    Plant(
        LP,
        "its probabilities are a π + b, a = 9/10, b = 1/10 / A",
        lambda s, p, args, y: np.log(0.9 * np.exp(y) + 0.1 / p.num_actions),
        lambda s, p, args, y: np.log(0.8 * np.exp(y) + 0.2 / p.num_actions),
    ),
    Plant(
        LP,
        "its probabilities do not sum to one",
        lambda s, p, args, y: y + np.cos(args[0] + 2.0 * args[1]) - 2,
        other_theta(np.sin),
    ),
    Plant(LP, "its probabilities sum to one", other_theta(np.sin), bent(0.3)),
    Plant(
        SC,
        "x(s) ⊗ (e_a − q) with q = −π",
        other_q(lambda pi: -pi),
        other_q(lambda pi: np.full_like(pi, 1 / len(pi))),
    ),
    Plant(
        SC,
        "x(s) ⊗ (e_a − q) with another q, which sums to one",
        other_q(lambda pi: pi**2 / (pi**2).sum()),
        other_q(lambda pi: pi**2),
    ),
    # entries and shapes
    Plant(G, "wrong only in the last action's column", _column, _first_column),
    Plant(G, "right except for zeros in coordinates 0, 3, 6, …", _third(0), _third(1), Features),
    Plant(SC, "wrong only in log σ", _sigma, _weights, ExactGaussian),
    Plant(
        SC,
        "wrong only in bias 1",
        _bias,
        lambda s, p, args, exact: _bias(s, p, args, exact, 0),
        ExactNetwork,
    ),
    Plant(
        F,
        "wrong only off the diagonal",
        lambda s, p, args, F: F + np.sin(1 + F) * (1 - np.eye(len(F))),
        bent(0.3),
    ),
    Plant(F, "right except for zeros below the diagonal", entry(np.triu), entry(np.tril)),
    Plant(
        F,
        "the exact matrix plus a matrix of rank one",
        lambda s, p, args, F: F + np.outer(s.scores(p)[0, 0], s.scores(p)[0, 0]),
        lambda s, p, args, F: F @ F + 0.5 * F,
    ),
    Plant(
        F,
        "not zero along directions that change no policy",
        bent(0.3),
        weighted(lambda s, p: 1.0 + np.arange(p.num_states)),
    ),
    Plant(
        F,
        "the same eigenvectors as the exact matrix, other eigenvalues",
        lambda s, p, args, F: F @ F + 0.5 * F,
        bent(0.3),
    ),
    Plant(
        A,
        "each state's row is the exact one times a number of that state",
        _twice_the_states,
        bent(0.3),
    ),
    Plant(D, "sums to one", entry(lambda d: d**2 / (d**2).sum()), entry(lambda d: d**3)),
    Plant(
        D,
        "sums to S, the number of states",
        entry(lambda d: len(d) * d**2 / (d**2).sum()),
        entry(lambda d: d**2 / (d**2).sum()),
    ),
    # arguments
    Plant(
        KL,
        "exactly quadratic in the step",
        lambda s, p, args, kl: float(
            np.sum((args[0] - p.theta) ** 2 * (1 + np.arange(p.theta.size)))
        ),
        lambda s, p, args, kl: float(np.sum(np.abs(args[0] - p.theta))),
    ),
    Plant(
        KL,
        "the same for a step and the opposite step",
        lambda s, p, args, kl: float(np.sum(np.abs(args[0] - p.theta) ** 1.5)),
        lambda s, p, args, kl: 2 * kl + kl**2,
    ),
    Plant(
        KL,
        "right to leading order on small steps",
        lambda s, p, args, kl: kl + kl**2,
        lambda s, p, args, kl: kl**0.9,
    ),
    Plant(
        KL,
        "on small steps about 3 times the exact value",
        lambda s, p, args, kl: 3 * kl + kl**2,
        lambda s, p, args, kl: 2 * kl + kl**2,
    ),
    Plant(
        L,
        "exactly linear in the step",
        lambda s, p, args, y: float((args[0] - p.theta) @ s.policy_gradient(p)),
        lambda s, p, args, y: float((args[0] - p.theta) @ s.policy_gradient(p)) ** 3,
    ),
    # the pure functions
    Plant(CG, "one iteration too few", krylov(-1), krylov(1), Stateful),
    Plant(CG, "one iteration too many", krylov(1), krylov(-1), Stateful),
    Plant(
        CG,
        "x solves M x = c b, c = 2",
        lambda s, p, args, x: (
            2
            * np.linalg.lstsq(
                np.stack([args[0](e) for e in np.eye(len(args[1]))]), args[1], rcond=1e-10
            )[0]
        ),
        bent(0.3),
        Stateful,
    ),
    Plant(
        CG,
        "not a combination of b, M b, …, M^(k−1) b",
        lambda s, p, args, x: x + np.cos(np.arange(len(x))),
        lambda s, p, args, x: x + args[1],
        Stateful,
    ),
    Plant(
        CG,
        "a combination of b, M b, …, M^(k−1) b, with wrong coefficients",
        lambda s, p, args, x: x + np.linalg.norm(args[1]) * args[1],
        lambda s, p, args, x: x + np.cos(np.arange(len(x))),
        Stateful,
    ),
    Plant(
        AE,
        "with λ = 0 inside an episode it is r − 1/2 V + γ V′, not r − V + γ V′",
        gae(lambda delta, r, v, *rest: delta + 0.5 * v),
        gae(lambda delta, r, v, *rest: delta + 0.25 * v),
        GaeAsAMatrix,
    ),
    Plant(
        AE,
        "in rows that terminate it is r, not r − V",
        gae(
            lambda delta, r, v, after, gamma, terminated, truncated: np.where(terminated, r, delta)
        ),
        gae(
            lambda delta, r, v, after, gamma, terminated, truncated: np.where(
                terminated, 2 * r, delta
            )
        ),
        GaeAsAMatrix,
    ),
    Plant(
        AE,
        "each row takes c times the next estimate, c = λ, not γλ",
        gae(carry=lambda gamma, lam: lam),
        gae(carry=lambda gamma, lam: gamma),
        GaeAsAMatrix,
    ),
    Plant(
        AE,
        "as if of other residuals δ: each number is cut off at -1/2 and 1/2",
        gae(lambda delta, *rest: np.clip(delta, -0.5, 0.5)),
        gae(lambda delta, *rest: np.clip(delta, -0.6, 0.6)),
        GaeAsAMatrix,
    ),
)
"""The second half of the table."""
