"""Each measure's F, g, KL and surrogate against enumeration that shares no code with them.

The second route walks over trajectories, rows and actions one at a time in Python, with scores by
central differences of a softmax written here; sums over time are run for 2,000 steps.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from judging import references

from npgcheck import problem_sets
from npgcheck.conformance.reference import Reference
from npgcheck.errors import Unsupported

CLOSE = 1e-7  # central differences of step 1e-5 err by 1e-10 of a score; sums by 1e-13


def log_pi(problem, theta, observation):
    z = [
        sum(x * t for x, t in zip(observation, column, strict=True))
        for column in np.reshape(theta, (problem.observation_size, problem.num_actions)).T
    ]
    top = max(z)
    total = top + math.log(sum(math.exp(v - top) for v in z))
    return [v - total for v in z]


def scores(problem, observation):
    """(A, D), by differences."""
    h, theta, found = 1e-5, problem.theta, []
    for i in range(len(theta)):
        step = np.eye(len(theta))[i] * h
        ahead = log_pi(problem, theta + step, observation)
        behind = log_pi(problem, theta - step, observation)
        found.append([(a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True)])
    return np.array(found).T


def visits(problem, weighting):
    """Σ_t γᵗ Pr(s_t = s), or without γᵗ: before absorption, or in the long run."""
    P, pi = np.asarray(problem.mdp.transitions), probabilities(problem)
    done = problem.mdp.terminal_states
    now, found, history = np.array(problem.mdp.initial_distribution), 0.0, []
    for t in range(2000):
        if weighting == "discounted":
            found = found + problem.discount**t * now
        elif done.any():
            found = found + np.where(done, 0.0, now)
        history.append(now)
        now = np.einsum("s,sa,sau->u", now, pi, P)
    if weighting == "undiscounted" and not done.any():
        return np.mean(history[-840:], axis=0)  # 840 steps are whole periods up to 8
    return found


def probabilities(problem):
    return np.exp([log_pi(problem, problem.theta, x) for x in problem.observations])


def values(problem, horizon=3000):
    """Q by iterating the Bellman equation backwards."""
    m, pi = problem.mdp, probabilities(problem)
    q = np.zeros(m.rewards.shape)
    for _ in range(horizon):
        fresh = m.rewards + m.discount * np.asarray(m.transitions) @ (pi * q).sum(axis=1)
        if np.abs(fresh - q).max() < 1e-14:
            break
        q = fresh
    return q, (pi * q).sum(axis=1), pi


def rows_of(problem, sampled, weighting):
    """(weight, observation, action or None, advantage) one by one, weights summing to one."""
    if sampled == "mdp":
        d = visits(problem, weighting)
        return [(w, x, None, None) for w, x in zip(d / d.sum(), problem.observations, strict=True)]
    if sampled == "batch":
        b = problem.batch
        return [
            (1 / len(b.states), b.observations[i], int(b.actions[i]), b.advantages[i])
            for i in range(len(b.states))
        ]
    found = []
    for e in problem.episodes:
        for t in range(len(e.rewards)):
            weight = {
                "discounted": problem.discount**t,
                "undiscounted": 1.0,
                "per_trajectory": 1.0 / len(e.rewards),
            }[weighting]
            found.append((weight, e.observations[t], int(e.actions[t]), e.advantages[t]))
    total = sum(w for w, *_ in found)
    return [(w / total, *rest) for w, *rest in found]


def brute(problem, rows, other):
    """F, empirical F, g, forward KL, reverse KL and the surrogate's gain, term by term."""
    D = len(problem.theta)
    F, empirical, g = np.zeros((D, D)), np.zeros((D, D)), np.zeros(D)
    forward = reverse = gain = 0.0
    q, v, _ = values(problem)
    of_row = {x.tobytes(): scores(problem, x) for x in np.asarray(problem.observations)}
    for w, x, action, advantage in rows:
        phi = of_row[np.ascontiguousarray(x).tobytes()]
        old, new = log_pi(problem, problem.theta, x), log_pi(problem, other, x)
        state = next(s for s, y in enumerate(problem.observations) if np.array_equal(x, y))
        for a in range(problem.num_actions):
            p = math.exp(old[a])
            F += w * p * np.outer(phi[a], phi[a])
            forward += w * p * (old[a] - new[a])
            reverse += w * math.exp(new[a]) * (new[a] - old[a])
            if action is None:
                g += w * p * (q[state, a] - v[state]) * phi[a]
                gain += w * (math.exp(new[a]) - p) * (q[state, a] - v[state])
        if action is not None:
            empirical += w * np.outer(phi[action], phi[action])
            g += w * advantage * phi[action]
            gain += w * (math.exp(new[action] - old[action]) - 1.0) * advantage
    return F, empirical, g, forward, reverse, gain


def distinct(problem):
    """Whether no two states look alike, so that a row's observation tells its state."""
    return len({x.tobytes() for x in np.asarray(problem.observations)}) == problem.num_states


CASES = [
    (p, sampled, weighting)
    for p in problem_sets.designed("softmax")
    if distinct(p) and p.num_states <= 6
    for sampled, weighting in (
        ("mdp", "discounted"),
        ("mdp", "undiscounted"),
        ("batch", "discounted"),
        ("episodes", "discounted"),
        ("episodes", "undiscounted"),
        ("episodes", "per_trajectory"),
    )
    if sampled != "episodes" or p.paths is not None
]
# A few of each measure, so that the Python loops stay fast.
PICKED = [
    case
    for measure in dict.fromkeys(c[1:] for c in CASES)
    for case in [c for c in CASES if c[1:] == measure][:: 4 if measure[0] != "episodes" else 3][:3]
]


@pytest.mark.parametrize(
    ("problem", "sampled", "weighting"), PICKED, ids=[f"{s}-{w}-{p.id}" for p, s, w in PICKED]
)
def test_against_enumeration(problem, sampled, weighting):
    reference = Reference(problem)
    if reference.measure(sampled, weighting) is None:
        pytest.skip("not defined on this problem")
    other = problem.theta + 0.3 * np.cos(np.arange(len(problem.theta)))
    where = (sampled, weighting)
    F, empirical, g, forward, reverse, gain = brute(problem, rows_of(problem, *where), other)
    near = lambda a, b: np.testing.assert_allclose(a, b, rtol=CLOSE, atol=CLOSE)  # noqa: E731
    near(reference.fisher(*where), F)
    near(reference.gradient(*where), g)
    near(reference.kl(*where, other, "forward"), forward)
    near(reference.kl(*where, other, "reverse"), reverse)
    near(reference.surrogate_gain(*where, "advantage", other), gain)
    if sampled != "mdp":
        near(reference.fisher(*where, "empirical"), empirical)
    found = reference.state_weights(*where)
    near(found.sum(), 1.0)
    assert (found >= 0).all()


def test_every_measure_was_enumerated():
    assert {c[1:] for c in PICKED} == {c[1:] for c in CASES}
    assert len({c[1:] for c in CASES}) == 6


def test_critics_that_are_equal_in_expectation_agree_on_exact_batches():
    for reference in references("softmax", 4, "exact"):
        g = reference.gradient("batch", "discounted")
        np.testing.assert_allclose(g, reference.gradient("mdp", "discounted"), atol=1e-12)
        for critic in ("q", "td", "q_td", "centred", "expected"):
            other = reference.gradient("batch", "discounted", critic)
            np.testing.assert_allclose(other, g, atol=1e-11, err_msg=critic)


def test_critics_differ_on_ordinary_batches():
    for reference in references("softmax", 3, "ordinary"):
        g = reference.gradient("batch", "discounted")
        for critic in ("q", "td", "q_td", "centred", "expected", "normalised"):
            other = reference.gradient("batch", "discounted", critic)
            assert np.abs(other - g).max() > 1e-3 * np.abs(g).max(), critic


def test_an_expected_advantage_is_the_sum_over_actions():
    (reference,) = references("softmax", 1, "ordinary")
    problem = reference.problem
    q, v, pi = values(problem)
    total = np.zeros(len(problem.theta))
    for state in problem.batch.states:
        phi = scores(problem, problem.observations[state])
        total += (pi[state] * (q[state] - v[state])) @ phi / len(problem.batch.states)
    found = reference.gradient("batch", "discounted", "expected")
    np.testing.assert_allclose(found, total, atol=CLOSE)


def test_the_mass_of_each_measure():
    """What an unnormalised subject multiplies by."""
    with_paths = next(p for p in problem_sets.designed("softmax") if p.paths is not None)
    reference = Reference(with_paths)
    γ = with_paths.discount
    lengths = [len(e.rewards) for e in with_paths.episodes]
    mass = np.mean([sum(γ**t for t in range(n)) for n in lengths])
    scales = reference.measure("episodes", "discounted").scales
    assert scales["unnormalised"] == (pytest.approx(mass),)
    assert scales["normalised"] == (1.0, pytest.approx((1 - γ) * mass))
    undiscounted = reference.measure("episodes", "undiscounted").scales
    assert undiscounted["unnormalised"] == (pytest.approx(np.mean(lengths)),)
    for sampled in ("mdp", "batch"):
        scales = reference.measure(sampled, "discounted").scales
        assert scales["unnormalised"] == (pytest.approx(1 / (1 - γ)),)


def test_what_a_problem_does_not_define_is_refused():
    reference = next(r for r in references("softmax") if r.problem.paths is None)
    assert reference.measure("episodes", "discounted") is None
    assert reference.measure("batch", "undiscounted") is None
    with pytest.raises(Unsupported, match="no episodes measure"):
        reference.fisher("episodes", "discounted")


def test_gaussian_quantities_by_quadrature():
    """F by the moments of z, KL by Gauss–Hermite: nodes in place of closed forms."""
    nodes, masses = np.polynomial.hermite_e.hermegauss(20)
    masses = masses / masses.sum()
    one = [p for p in problem_sets.designed("gaussian") if p.action_size == 1][:2]
    for problem in one:
        reference = Reference(problem)
        X, d = problem.observations, reference.evaluation.state_distribution
        k, σ = problem.observation_size, math.exp(problem.theta[-1])
        other = problem.theta + 0.2
        F, forward = np.zeros(2 * [k + 1]), 0.0
        for w, x in zip(d, X, strict=True):
            μ, new, τ = x @ problem.theta[:k], x @ other[:k], math.exp(other[-1])
            for z, mass in zip(nodes, masses, strict=True):
                phi = np.append(x * z / σ, z * z - 1.0)
                F += w * mass * np.outer(phi, phi)
                a = μ + σ * z
                ratio = math.log(τ / σ) + 0.5 * ((a - new) / τ) ** 2 - 0.5 * z * z
                forward += w * mass * ratio
        np.testing.assert_allclose(reference.fisher("mdp", "discounted"), F, atol=1e-10)
        found = reference.kl("mdp", "discounted", other, "forward")
        assert found == pytest.approx(forward, rel=1e-9)
