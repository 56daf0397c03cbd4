"""What a right answer is, by the slow second routes: used to try the planted subjects themselves.

Nothing here is shared with the verifier's judging: whether a right control is right, and whether a
planted mistake shows at all, is decided without it.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import pytest

from npgcheck import oracles, problem_sets
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.guard import LocalCaller
from npgcheck.conformance.pure_problems import linear_systems, reward_streams
from npgcheck.conformance.subject import load

CLOSE = 1e-6  # right controls agree to 1e-9 and better; planted mistakes are off by far more
EPISODES = ("tabular", "softmax")


def marks(control):
    """What a test of this control needs. Of the plants in other styles one in twelve is tried by
    default: they plant again, in other hands, what the first ones plant."""
    found = [pytest.mark.torch] if control.needs == "torch" else []
    if control.style and zlib.crc32(control.name.encode()) % 12:
        found.append(pytest.mark.slow)
    return found


@lru_cache
def problems(family):
    """A few designed problems: with episodes where the family has them."""
    chosen = list(problem_sets.designed(family))
    with_paths = [p for p in chosen if p.paths is not None][:3]
    kinds = {k: [p for p in chosen if p.batch_kind == k][:2] for k in ("exact", "ordinary")}
    rest = [*kinds["exact"], *kinds["ordinary"], chosen[len(chosen) // 2], *chosen[-2:]]
    return (*{p.id: p for p in [*rest, *with_paths]}.values(), *problem_sets.searched(family))


class Truth:
    """F, g, V … of one problem under what a subject averages over."""

    def __init__(self, problem, sampled):
        self.problem, self.sampled = problem, sampled
        self.theta, self.gamma = problem.theta, problem.discount
        self.rows()

    def rows(self):
        p = self.problem
        self.chain = self.chain_answers()
        if self.sampled == "mdp":
            self.X, self.w, self.mass = p.observations, self.chain["state_distribution"], None
            return
        parts = [p.batch] if self.sampled == "batch" else list(p.episodes)
        time = [
            p.discount ** np.arange(len(e.rewards) if self.sampled == "episodes" else 1)
            * np.ones(len(e.rewards))
            for e in parts
        ]
        self.X = np.concatenate([e.observations for e in parts])
        self.actions = np.concatenate([e.actions for e in parts])
        self.adv = np.concatenate([e.advantages for e in parts])
        target = np.concatenate(
            [
                e.rewards + p.discount * np.where(e.terminated, 0.0, e.next_values) - e.values
                for e in parts
            ]
        )
        # the exact A, its centred version and one-step errors are the critics in use
        self.critics = [self.adv, self.adv - self.adv.mean(), target]
        weights = np.concatenate(time)
        self.mass = weights.sum() / (len(parts) if self.sampled == "episodes" else len(weights))
        self.w = weights / weights.sum()

    def chain_answers(self):
        p = self.problem
        if p.is_gaussian:
            m, N = p.mdp, oracles.series_resolvent(p.mdp.transitions, p.discount)
            mean, std = (
                np.asarray(a) for a in oracles.traced_moments(p.policy, p.observations)(p.theta)
            )
            reward = oracles._expected_reward(m, mean, std, *oracles._gauss_hermite(m.action_size))
            value = N @ np.asarray(reward)
            d = (1 - p.discount) * m.initial_distribution @ N
            J = float(m.initial_distribution @ value)
            return {"value": value, "state_distribution": d, "objective": J}
        table = oracles.traced_log_probabilities(p.policy, p.observations)
        return oracles.series_evaluation(p.mdp, np.exp(np.asarray(table(p.theta))))

    @property
    def F(self):  # noqa: N802
        return cached(
            self, "F", lambda: oracles.kl_hessian(self.problem.policy, self.theta, self.X, self.w)
        )

    @property
    def g(self):
        """E[φA], weights summing to one: (1−γ)∇J on the MDP."""
        return cached(self, "g", self._gradient)

    def _gradient(self):
        p = self.problem
        if self.sampled == "mdp":
            return (1 - self.gamma) * oracles.traced_gradient(
                p.mdp, p.policy, p.theta, p.observations
            )
        return (self.w * self.adv) @ self.row_scores()

    @property
    def gradients(self):
        """E[φ·critic] for every critic that a right subject may use."""
        if self.sampled == "mdp":
            return [self.g]
        phi = cached(self, "phi", self.row_scores)
        return [(self.w * c) @ phi for c in self.critics]

    def row_scores(self):
        p = self.problem
        if p.is_gaussian:
            from autograd import jacobian

            f = oracles.traced_gaussian_log_prob(p.policy, self.X, self.actions)
            return np.asarray(jacobian(f)(np.array(p.theta)))
        phi = oracles.traced_scores(p.policy, p.theta, self.X)
        return phi[np.arange(len(self.X)), self.actions]

    def kl(self, other, reverse=False):
        a, b = (other, self.theta) if reverse else (self.theta, other)
        return float(oracles.traced_kl(self.problem.policy, a, self.X, self.w)(b))

    def gain(self, other):
        """Σ w (π′/π − 1) A."""
        return self.gains(other)[0][0]

    def gains(self, other):
        """(Σ w (π′/π − 1) c, Σ w c) for every critic c."""
        p = self.problem
        if self.sampled == "mdp":
            from npgcheck.gradient import surrogate  # tried against summed_surrogate elsewhere

            J = self.chain["objective"]
            value = surrogate(p.mdp, p.policy, p.theta, p.observations, other)
            return [((1 - self.gamma) * (value - J), 0.0)]
        table = oracles.traced_log_probabilities(p.policy, self.X)
        old, new = (np.asarray(table(np.asarray(t))) for t in (p.theta, other))
        i = np.arange(len(self.X))
        ratio = np.exp(new[i, self.actions] - old[i, self.actions])
        return [(float((self.w * c) @ (ratio - 1)), float(self.w @ c)) for c in self.critics]


_KEPT: dict = {}


def cached(truth, name, build):
    key = (truth.problem.id, truth.sampled, name)
    if key not in _KEPT:
        _KEPT[key] = build()
    return _KEPT[key]


@lru_cache(maxsize=200)
def truth_of(family, index, sampled):
    return Truth(problems(family)[index], sampled)


def near(a, b, scale=None):
    size = max(np.abs(np.asarray(b)).max(initial=0), 1e-3) if scale is None else scale
    return bool(np.abs(np.asarray(a) - b).max(initial=0) <= CLOSE * size)


def right(quantity, truth, args, value):
    """Whether the answer is right up to what is free: scales, null(F), KL direction."""
    p, gamma, chain = truth.problem, truth.gamma, truth.chain
    horizon = 1 / (1 - gamma)
    scales = [1.0, horizon] + ([truth.mass, (1 - gamma) * truth.mass] if truth.mass else [])
    if quantity in ("value", "q_value", "advantage", "objective"):
        return near(value, chain[quantity])
    if quantity == "state_distribution":
        return any(near(value, s * chain[quantity]) for s in (1, horizon))
    if quantity == "policy_gradient":
        return any(near(value, s * g) for s in scales for g in truth.gradients)
    if quantity == "fisher":
        return any(near(value, s * truth.F) for s in scales)
    if quantity == "fisher_vector_product":
        return any(near(value, s * truth.F @ args[0]) for s in scales)
    if quantity == "kl":
        answers = [truth.kl(args[0], reverse) for reverse in (False, True)]
        return any(near(value, s * a) for s in (1, horizon) for a in answers)
    if quantity == "surrogate":
        J, offers = chain["objective"], []
        for gain, base in truth.gains(args[0]):
            offers += [J + horizon * gain, horizon * gain, gain, gain + base]
        return any(near(value, o) for o in offers)
    if quantity in ("log_prob", "score"):
        return near(value, row_answer(quantity, p, *args))
    return right_step(quantity, truth, args, value)


def row_answer(quantity, p, state, action):
    from autograd import grad

    x, theta = p.observations[state : state + 1], np.array(p.theta)
    if p.is_gaussian:
        f = oracles.traced_gaussian_log_prob(p.policy, x, np.asarray(action)[None, :])
        return np.asarray(f(theta))[0] if quantity == "log_prob" else grad(lambda t: f(t)[0])(theta)
    table = oracles.traced_log_probabilities(p.policy, x)
    if quantity == "log_prob":
        return np.asarray(table(theta))[0, action]
    return grad(lambda t: table(t)[0, action])(theta)


def right_step(quantity, truth, args, value):
    p, F, g = truth.problem, truth.F, truth.g
    horizon = 1 / (1 - truth.gamma)
    solves = lambda x: any(  # noqa: E731
        near(F @ x, s * each) for s in (1, horizon) for each in truth.gradients
    )
    if quantity == "natural_gradient":
        return solves(value)
    if quantity == "update":
        return solves((value - truth.theta) / args[0]) or same_policy(truth, value, args[0])
    if quantity == "train":
        theta = truth.theta
        for each in value:
            here = Truth(problem_at(p, theta), truth.sampled)
            step = (each - theta) / args[1]
            ok = any(near(here.F @ step, s * here.g) for s in (1, horizon))
            if not (ok or same_policy(here, each, args[1])):
                return False  # what follows may be anywhere
            theta = each
        return True
    step = value - truth.theta
    if quantity == "trust_region_proposal":
        return any(
            near(s * (F @ step), F @ full, np.abs(F @ full).max())
            for s in (1, np.sqrt(horizon))
            for full in (proposal(F, each, args[0]) for each in truth.gradients)
        )
    full = proposal(F, g, args[0])
    size = np.abs(F @ full).max()
    along = float(step @ F @ full) / float(full @ F @ full)
    straight = near(F @ step, along * (F @ full), size)

    def kls(theta):
        return truth.kl(theta), truth.kl(theta, reverse=True)

    def refused(theta):  # in either direction of the KL: both are in use
        return max(kls(theta)) >= args[0] or truth.gain(theta) <= 0

    accepted = min(kls(value)) <= args[0] * (1 + 1e-9) and truth.gain(value) >= 0
    # The candidate before the accepted one was refused, or there was none before it.
    before = [along * m > 1 + 1e-6 or refused(truth.theta + m * step) for m in BACKTRACKING]
    # Every search begins with the full step; some ask for a tenth of what g promises.
    first = truth.theta + full
    whole = abs(along - 1) <= 1e-6 or refused(first) or truth.gain(first) <= 0.1 * float(g @ full)
    return straight and 0 < along <= 1 + 1e-9 and accepted and any(before) and whole


BACKTRACKING = (1 / 0.8, 1 / 0.7, 1 / 0.5)


def proposal(F, g, max_kl):
    """√(2δ/xᵀFx) x for the minimum-norm x."""
    x = np.linalg.pinv(F, rcond=1e-9, hermitian=True) @ g
    return np.sqrt(2 * max_kl / (x @ F @ x)) * x


def problem_at(problem, theta):
    """The problem elsewhere; an id of its own, so that nothing cached is mixed up."""
    return problem.at(theta)


def same_policy(truth, theta, step_size):
    """Whether a tabular update moved the policy as multiplicative weights do."""
    p = truth.problem
    if p.family != "tabular":
        return False
    shape = truth.chain["advantage"].shape
    want = p.theta.reshape(shape) + step_size * truth.chain["advantage"] / (1 - truth.gamma)
    softmax = lambda z: np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))  # noqa: E731
    return near(softmax(np.reshape(theta, shape)), softmax(want), 1.0)


def questions(quantity, problem):
    """Arguments to ask with."""
    rng = np.random.default_rng(len(problem.theta))
    step = 0.4 * rng.standard_normal(len(problem.theta))
    if quantity in ("log_prob", "score"):
        if problem.is_gaussian:
            return [(s, rng.standard_normal(problem.action_size)) for s in (0, 1)]
        return [(s, a) for s in (0, 1) for a in range(problem.num_actions)]
    return {
        "fisher_vector_product": [(step,)],
        "kl": [(problem.theta + step,), (problem.theta - step,)],
        "surrogate": [(problem.theta + step,), (problem.theta - 2 * step,)],
        "update": [(0.3,)],
        "trust_region_proposal": [(0.01,)],
        "trust_region_step": [(0.01,), (0.0625,), (0.2,)],
        "train": [(3, 0.2)],
    }.get(quantity, [()])


def outcomes(control, quantity):
    """Yields (family, right?, fault) for every question to the control; None when unsupported."""
    subject = load(control.build())
    caller = LocalCaller(subject)
    try:
        if not QUANTITIES[quantity].takes_problem:
            yield from pure(caller, quantity)
            return
        for family in sorted(subject.families - {"own"}):
            for index, problem in enumerate(problems(family)):
                searched = any(problem is p for p in problem_sets.searched(family))
                if searched and quantity != "trust_region_step":
                    continue
                for args in questions(quantity, problem):
                    answer = caller.call(quantity, problem, *args)
                    if answer.fault is not None:
                        if answer.fault.kind != "unsupported":
                            yield family, False, answer.fault
                        continue
                    read = answer.accessed & {"batch", "episodes"}
                    truth = truth_of(family, index, next(iter(read), "mdp"))
                    yield family, right(quantity, truth, args, answer.value), None
    finally:
        caller.close()


def pure(caller, quantity):
    cg = quantity == "conjugate_gradient"
    for problem in linear_systems(3, 12) if cg else reward_streams(3, 24):
        if cg and problem.group != "plain":
            continue
        answer = caller.call(quantity, None, *problem.args)
        if answer.fault is not None:
            yield "pure", False, answer.fault
            continue
        oracle = oracles.krylov_minimiser if cg else oracles.summed_advantage_estimate
        yield "pure", near(answer.value, oracle(*problem.args)), None
