"""Altered subjects for the facts that turn every exact answer into the subject's."""

from __future__ import annotations

import numpy as np

from npgcheck.conformance.controls._gaussian import ExactGaussian
from npgcheck.conformance.controls._network import ExactNetwork
from npgcheck.conformance.controls.right_rows import GaeAsAMatrix
from tests.fact_changes import (
    AE,
    FV,
    KL,
    LP,
    SC,
    TP,
    A,
    D,
    F,
    Features,
    G,
    J,
    Plant,
    Q,
    Tabular,
    U,
    V,
    X,
    _along,
    _lazy,
    bent,
    entry,
    moved,
    other_rewards,
    plus,
    solved_chain,
    spectral,
    times,
    weighted,
)
from tests.fact_plants_parts import PARTS

PLANTS = (
    # relations
    Plant(G, "the sign is flipped", times(-1), times(-2)),
    Plant(V, "the exact answer times 3/2", times(1.5), times(1.6)),
    Plant(
        G,
        "the exact answer times (1−γ)",
        lambda s, p, args, exact: (1 - p.mdp.discount) * exact,
        lambda s, p, args, exact: (1 - p.mdp.discount) ** 3 * exact,
    ),
    Plant(
        FV,
        "the exact answer times 1/|v|, v the vector",
        lambda s, p, args, exact: exact / np.linalg.norm(args[0]),
        lambda s, p, args, exact: exact / np.abs(args[0]).sum(),
    ),
    Plant(
        U,
        "the exact answer times 1/η, η the step size",
        moved(lambda s, p, args, step: step / args[0]),
        moved(lambda s, p, args, step: step / args[0] ** 3),
    ),
    Plant(
        X,
        "the exact answer times 1/its own length",
        entry(lambda x: x / np.linalg.norm(x)),
        entry(lambda x: x / np.abs(x).sum()),
    ),
    Plant(
        G,
        "the exact answer times a factor that differs between problems",
        lambda s, p, args, exact: exact * (2 + p.theta[0]),
        bent(0.5),
    ),
    Plant(X, "always zero", times(0), times(2)),
    Plant(U, "θ comes back unchanged", lambda s, p, args, exact: p.theta, times(2)),
    Plant(V, "the exact answer plus 1/4", plus(0.25), bent(0.3)),
    Plant(
        V,
        "the entries are in reverse order",
        entry(lambda v: v[::-1]),
        entry(lambda v: np.roll(v, 1) + 1),
    ),
    Plant(
        V,
        "the entries are shifted by one place",
        entry(lambda v: np.roll(v, 1)),
        entry(lambda v: np.roll(v, 1) * 2),
    ),
    Plant(
        V,
        "the entries are shifted back by one place",
        entry(lambda v: np.roll(v, -1)),
        entry(lambda v: v + 1),
    ),
    Plant(V, "the entries are sorted by size", entry(np.sort), entry(lambda v: np.sort(v)[::-1])),
    Plant(
        V,
        "the same numbers in another order",
        entry(lambda v: v[np.argsort(np.cos(3.0 * np.arange(len(v)) + 1))]),
        entry(lambda v: v[np.argsort(np.cos(3.0 * np.arange(len(v)) + 1))] + 1),
    ),
    Plant(
        G,
        "parameters come in the order [action, feature]; the contract's is [feature, action]",
        lambda s, p, args, g: g.reshape(-1, p.num_actions).T.ravel(),
        lambda s, p, args, g: g[::-1],
    ),
    Plant(
        SC,
        "every weight matrix is transposed",
        lambda s, p, args, phi: np.concatenate(
            [part for W, b in s.layers(p, phi) for part in (W.T.ravel(), b)]
        ),
        bent(0.5),
        ExactNetwork,
    ),
    Plant(
        SC,
        "each layer's bias comes before its weights",
        lambda s, p, args, phi: np.concatenate(
            [part for W, b in s.layers(p, phi) for part in (b, W.ravel())]
        ),
        bent(0.5),
        ExactNetwork,
    ),
    Plant(
        G,
        "log σ comes before the weights",
        lambda s, p, args, g: np.roll(g, p.action_size),
        bent(0.5),
        ExactGaussian,
    ),
    Plant(
        V,
        "the exact answer plus a constant that differs between problems",
        lambda s, p, args, v: v + p.theta[0] ** 2 + 1,
        lambda s, p, args, v: v * (1 + 1e-6 * np.cos(np.arange(len(v)))) + 1e-3,  # nearly constant
    ),
    Plant(
        A,
        "the exact answer plus a number of each state: another baseline",
        lambda s, p, args, a: a + np.cos(np.arange(len(a)))[:, None],
        bent(0.3),
    ),
    Plant(
        F,
        "the exact matrix plus c I, c = 1/10",
        lambda s, p, args, F: F + 0.1 * np.eye(len(F)),
        bent(0.3),
    ),
    Plant(
        F,
        "the exact matrix plus c I, c = 1/10 · the mean eigenvalue of F",
        lambda s, p, args, F: F + 0.1 * np.trace(F) / len(F) * np.eye(len(F)),
        lambda s, p, args, F: F + 0.1 * np.eye(len(F)),
    ),
    Plant(
        FV,
        "the exact product plus c v, c = 0.03",
        lambda s, p, args, y: y + 0.03 * args[0],
        bent(0.3),
    ),
    Plant(
        F,
        "the diagonal is the exact one times 11/10",
        lambda s, p, args, F: F + 0.1 * np.diag(np.diag(F)),
        bent(0.3),
    ),
    Plant(
        G,
        "the exact answer plus c times θ, c = 0.02",
        lambda s, p, args, g: g + 0.02 * p.theta,
        bent(0.3),
    ),
    Plant(
        LP,
        "the exact answer plus a number of each state",
        lambda s, p, args, y: y + np.cos(args[0]),
        lambda s, p, args, y: y + np.cos(args[1]),
    ),
    Plant(
        LP,
        "the exact log-odds times 2",
        lambda s, p, args, y: 2 * y + np.cos(args[0]),
        lambda s, p, args, y: 2 * y + np.cos(args[1]),
    ),
    Plant(
        V,
        "each number is max(x, 0), x the exact one",
        entry(lambda v: np.maximum(v, 0)),
        entry(lambda v: np.maximum(v, 0.5)),
    ),
    Plant(
        V,
        "each number is at least 1/2, else right: cut off",
        entry(lambda v: np.maximum(v, 0.5)),
        entry(lambda v: np.maximum(v, 0.6)),
    ),
    Plant(
        V,
        "each number is cut off at -1 and 1",
        entry(lambda v: np.clip(v, -1, 1)),
        entry(lambda v: np.clip(v, -1, 2)),
    ),
    Plant(
        V,
        "each number is cut off at 0 and 1",
        entry(lambda v: np.where(v > 1, 1.0, np.where(v < 0, -1e-16 * (v < 0), v))),
        entry(lambda v: np.clip(v, 0.1, 1)),
    ),
    Plant(
        V, "2 times the exact answer plus 1", entry(lambda v: 2 * v + 1), entry(lambda v: 2 * v + 2)
    ),
    Plant(
        AE,
        "the exact answer shifted and scaled to mean 0 and standard deviation 1",
        entry(lambda a: (a - a.mean()) / (a.std() or 1)),
        entry(lambda a: (a - a.mean()) / (a.std() or 1) * 2),
        GaeAsAMatrix,
    ),
    Plant(
        A,
        "a times the exact answer plus b, a and b other numbers on each problem",
        lambda s, p, args, a: (1.5 + p.theta[0] ** 2) * a + 1 + p.theta[-1] ** 2,
        lambda s, p, args, a: a + 1e-2 * (1 + 1e-2 * np.cos(np.arange(a.size).reshape(a.shape))),
        Features,
    ),
    # other quantities, other weights, other systems
    Plant(
        A,
        "this is the exact Q",
        lambda s, p, args, a: s.q_value(p),
        lambda s, p, args, a: s.q_value(p) * 1.1,
    ),
    Plant(
        J,
        "this is the exact V of the first state",
        lambda s, p, args, j: s.value(p)[0],
        lambda s, p, args, j: s.value(p)[-1],
    ),
    Plant(
        KL,
        "this is the largest KL of a state",
        lambda s, p, args, kl: (
            (np.exp(s.log_pi(p, p.theta)) * (s.log_pi(p, p.theta) - s.log_pi(p, args[0])))
            .sum(axis=1)
            .max()
        ),
        times(2),
    ),
    Plant(
        X,
        "this is the exact F g",
        lambda s, p, args, x: s.fisher(p) @ s.policy_gradient(p),
        lambda s, p, args, x: s.policy_gradient(p),
    ),
    Plant(
        X,
        "this is the sign of the exact g",
        lambda s, p, args, x: np.sign(np.round(s.policy_gradient(p), 12)),
        lambda s, p, args, x: s.policy_gradient(p),
    ),
    Plant(F, "this is the exact F F", lambda s, p, args, F: F @ F, lambda s, p, args, F: F @ F * 2),
    Plant(
        F,
        "the exact sum over states with other weights than d(s): the same for all states",
        weighted(lambda s, p: np.ones(p.num_states)),
        weighted(lambda s, p: 1.0 + np.arange(p.num_states)),
    ),
    Plant(
        F,
        "the exact sum over states with other weights than d(s)",
        weighted(lambda s, p: 1.0 + np.arange(p.num_states)),
        bent(0.3),
    ),
    Plant(
        X,
        "x solves (F + c I) x = g, c = 1/10",
        spectral(lambda v, _: 1 / (v + 0.1)),
        spectral(lambda v, _: 1 / (v + 0.2)),
    ),
    Plant(
        X,
        "x solves (F + c diag F) x = g, c = 1/4",
        lambda s, p, args, x: np.linalg.lstsq(
            s.fisher(p) + 0.25 * np.diag(np.diag(s.fisher(p))), s.policy_gradient(p), rcond=1e-12
        )[0],
        spectral(lambda v, _: 1 / (v + 0.2)),
    ),
    Plant(
        X,
        "x solves the system of F's diagonal alone",
        lambda s, p, args, x: (
            s.policy_gradient(p)
            / np.maximum(np.diag(s.fisher(p)), 1e-300)
            * (np.diag(s.fisher(p)) > 0)
        ),
        spectral(lambda v, _: 1 / (v + 0.2)),
        Tabular,
    ),
    Plant(
        X,
        "x solves (a F + c I) x = g, a = 4/5, c = 1/10",
        spectral(lambda v, _: 1 / (0.8 * v + 0.1)),
        spectral(lambda v, _: 1 / (0.7 * v + 0.1)),
    ),
    Plant(
        X,
        "x solves (F F + c I) x = F g, c = 0.01",
        spectral(lambda v, _: v / (v**2 + 0.01)),
        spectral(lambda v, _: v / (v**2 + 0.02)),
    ),
    Plant(
        X,
        "x is F to the power -1/2 times g",
        spectral(lambda v, _: v**-0.5),
        spectral(lambda v, _: v**-0.6),
    ),
    Plant(
        X,
        "x is right along the eigenvectors of F with large eigenvalues, zero along the others",
        spectral(lambda v, _: np.where(v > 0.2 * v.max(), 1 / v, 0)),
        spectral(lambda v, _: np.where(v < 0.2 * v.max(), 1 / v, 0)),
    ),
    Plant(TP, "points along the exact g", _along(0), _along(1)),
    Plant(
        TP,
        "points along the solution of (F + c I) x = g, c = 1/10",
        lambda s, p, args, point: (
            p.theta
            + 0.01
            * (3 + p.theta[0])
            * np.linalg.solve(s.fisher(p) + 0.1 * np.eye(p.theta.size), s.policy_gradient(p))
        ),
        lambda s, p, args, point: (
            p.theta
            + 0.01
            * (3 + p.theta[0])
            * np.linalg.solve(s.fisher(p) + 0.2 * np.eye(p.theta.size), s.policy_gradient(p))
        ),
    ),
    Plant(
        U,
        "does not depend on step_size",
        lambda s, p, args, point: p.theta + np.cos(np.arange(p.theta.size)),
        lambda s, p, args, point: p.theta + args[0] * np.cos(np.arange(p.theta.size)),
    ),
    # chains
    Plant(
        V,
        "right for the discount 1/2",
        solved_chain(lambda s, p: s.chain(p), 0.5),
        solved_chain(lambda s, p: s.chain(p), 0.4),
    ),
    Plant(
        V,
        "right for the transposed chain",
        solved_chain(lambda s, p: s.chain(p).T),
        solved_chain(lambda s, p: p.mdp.transitions.mean(axis=1)),
    ),
    Plant(
        V,
        "right for the chain of the uniform policy",
        solved_chain(lambda s, p: p.mdp.transitions.mean(axis=1)),
        solved_chain(lambda s, p: s.chain(p).T),
    ),
    Plant(
        D, "right for a chain that stays where it is with probability 1/4", _lazy(0.25), _lazy(0.5)
    ),
    Plant(
        Q,
        "r + c P V with the exact V, c = γ²",
        lambda s, p, args, q: p.mdp.rewards + p.mdp.discount**2 * p.mdp.transitions @ s.value(p),
        lambda s, p, args, q: p.mdp.rewards + p.mdp.discount**3 * p.mdp.transitions @ s.value(p),
    ),
    Plant(
        Q,
        "as if of other rewards: each number is max(x, 0), x the exact one",
        other_rewards(lambda r: np.maximum(r, 0)),
        other_rewards(lambda r: np.maximum(r, -1)),
    ),
    *PARTS,
)
"""Every sentence once and more, with a twin that it is not true of."""
