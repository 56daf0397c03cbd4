"""Known mistakes in other spellings: each is named, and its right twin is spared."""

from __future__ import annotations

import numpy as np
import pytest

import npgcheck
from npgcheck.conformance.controls._exact import ExactSoftmax
from npgcheck.conformance.controls._gaussian import ExactGaussian
from npgcheck.conformance.controls._network import ExactNetwork
from npgcheck.conformance.controls._rows import BatchSoftmax, EpisodeSoftmax

G, F, V, KL, X = "policy_gradient", "fisher", "value", "kl", "natural_gradient"


def values_at(problem, gamma):
    base = ExactSoftmax()
    system = np.eye(problem.num_states) - gamma * base.chain(problem)
    v = np.linalg.solve(system, base.mean_reward(problem))
    return v, problem.mdp.rewards + gamma * problem.mdp.transitions @ v


class Clipped(ExactSoftmax):
    def value(self, p):
        r = (self.pi(p) * np.clip(p.mdp.rewards, 0.0, 1.0)).sum(axis=1)
        return np.linalg.solve(np.eye(p.num_states) - p.mdp.discount * self.chain(p), r)


class EntryByEntry(ExactSoftmax):
    def policy_gradient(self, p):
        return np.clip(ExactSoftmax.policy_gradient(self, p), -0.5, 0.5)


class OtherDiscountInValues(ExactSoftmax):
    def policy_gradient(self, p):
        v, q = values_at(p, 0.9)
        joint = self.state_distribution(p)[:, None] * self.pi(p) * (q - v[:, None])
        return np.einsum("sa,sad->d", joint, self.scores(p)) / (1 - p.mdp.discount)


class WithoutTheStart(ExactSoftmax):
    def policy_gradient(self, p):
        d = self.state_distribution(p) - (1 - p.mdp.discount) * p.mdp.initial_distribution
        joint = d[:, None] * self.pi(p) * self.advantage(p)
        return np.einsum("sa,sad->d", joint, self.scores(p)) / (1 - p.mdp.discount)


class WeighedByAdvantages(ExactSoftmax):
    def fisher(self, p):
        joint = self.state_distribution(p)[:, None] * self.pi(p) * abs(self.advantage(p))
        return np.einsum("sa,sad,sae->de", joint, self.scores(p), self.scores(p))


class LayerNorm(ExactSoftmax):
    families = frozenset({"softmax"})

    def log_prob(self, p, state, action):
        x = p.observations[state]
        x = (x - x.mean()) / (x.std() + 1e-5)
        z = x @ np.reshape(p.theta, (len(x), -1))
        return float((z - np.logaddexp.reduce(z))[action])


class MeanOnly(ExactGaussian):
    def fisher(self, p):
        X = p.observations
        top = np.kron(X.T @ (self.state_distribution(p)[:, None] * X), np.eye(p.action_size))
        whole = np.zeros((len(top) + p.action_size,) * 2)
        whole[: len(top), : len(top)] = top
        return whole


class ArrayByArray(ExactNetwork):
    def fisher(self, p):
        sizes = [k for W, b in self.layers(p, p.theta) for k in (W.size, b.size)]
        label = np.repeat(np.arange(len(sizes)), sizes)
        return np.where(label[:, None] == label, ExactNetwork.fisher(self, p), 0.0)


class SummedKl(BatchSoftmax):
    def kl(self, p, theta):
        return BatchSoftmax.kl(self, p, theta) * len(p.batch.actions)


class RowOfAnother(BatchSoftmax):
    def policy_gradient(self, p):
        x, z = (
            p.batch.observations,
            p.batch.observations @ np.reshape(p.theta, (p.observation_size, -1)),
        )
        pi = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])
        taken = np.eye(pi.shape[1])[p.batch.actions] - np.roll(pi, 1, axis=0)
        phi = (x[:, :, None] * taken[:, None, :]).reshape(len(x), -1)
        return self.advantages(p) @ phi / len(x)


class RowsAsTime(BatchSoftmax):
    def kl(self, p, theta):
        z = [p.batch.observations @ np.reshape(t, (p.observation_size, -1))
             for t in (p.theta, theta)]  # fmt: skip
        old, new = (t - np.logaddexp.reduce(t, axis=1)[:, None] for t in z)
        each = (np.exp(old) * (old - new)).sum(axis=1)
        gamma = p.mdp.discount
        return float((1 - gamma) * gamma ** np.arange(len(each)) @ each)


class OverStd(BatchSoftmax):
    def advantages(self, p):
        a = BatchSoftmax.advantages(self, p)
        return a / (a.std(ddof=1) + 1e-8)


class SummedEpisodes(EpisodeSoftmax):
    def policy_gradient(self, p):
        return EpisodeSoftmax.policy_gradient(self, p) * len(p.episodes)


SPELLINGS = {
    "rewards in [0, 1]": (Clipped, V, "clipped-rewards"),
    "entries clipped one by one": (EntryByEntry, G, "gradient-clipped"),
    "another γ in V and Q alone": (OtherDiscountInValues, G, "wrong-discount"),
    "the start left out of g, seen in x": (WithoutTheStart, X, "first-step-skipped"),
    "F by |A|": (WeighedByAdvantages, F, "loss-gradient-outer-product"),
    "layer normalisation": (LayerNorm, "log_prob", "features-normalised"),
    "F of the mean alone": (MeanOnly, F, "unit-variance-fisher"),
    "blocks of single arrays": (ArrayByArray, F, "block-fisher"),
    "KL summed over the rows": (SummedKl, KL, "kl-summed-over-states"),
    "the policy of the row before": (RowOfAnother, G, "policy-of-another-state"),
    "(1−γ)γⁱ over the rows": (RowsAsTime, KL, "rows-weighted-as-time"),
    "A over its standard deviation": (OverStd, G, "scaled-advantages"),
    "a sum over episodes": (SummedEpisodes, G, "sum-in-g-mean-in-F"),
}


def said(kind, quantity):
    subject = kind()

    class Alone:
        families = getattr(subject, "families", frozenset({"tabular", "softmax"}))

    setattr(Alone, quantity, staticmethod(getattr(subject, quantity)))
    return npgcheck.verify(Alone, only=(quantity,), examples=60)


def names(report):
    return {d.choice for r in report.results for d in r.diagnosis if d.kind != "free"}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_it_is_named(spelling):
    kind, quantity, name = SPELLINGS[spelling]
    report = said(kind, quantity)
    assert name in names(report), str(report)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_its_right_twin_is_spared(spelling):
    kind, quantity, name = SPELLINGS[spelling]
    report = said(kind.__bases__[0], quantity)
    assert not [r for r in report.results if r.status == "fail"], str(report)
    assert name not in names(report)
