"""The problem a subject receives: its surface, its copies, its plain-data form."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from scipy.sparse import csr_array

import npgcheck
from npgcheck import problem_sets
from npgcheck.batches import Batch
from npgcheck.errors import InvalidArgument
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy
from npgcheck.problem import Problem, arrays_of

FAMILIES = problem_sets.FAMILIES


def samples(family: str) -> list[Problem]:
    """A plain one, one with exact rows, one with exact episodes where the family has them."""
    designed = problem_sets.designed(family)
    found = [next(p for p in designed if p.batch_kind == kind) for kind in ("ordinary", "exact")]
    return found + [p for p in designed if p.paths is not None][:1]


def softmax_problem(**changes: object) -> Problem:
    mdp = MDP(
        [[[1, 0], [0, 1], [0.5, 0.5]], [[0, 1], [1, 0], [0.5, 0.5]]],
        [[1, 0, 2], [0, 3, 0]],
        0.5,
        [1, 0],
    )
    fields = {
        "mdp": mdp,
        "policy": SoftmaxPolicy(4, 3),
        "observations": np.arange(8.0).reshape(2, 4),
        "theta": np.linspace(-1, 1, 12),
        "family": "softmax",
    }
    return Problem(**(fields | changes))  # type: ignore[arg-type]


def sparse_problem() -> Problem:
    dense = softmax_problem()
    table = csr_array(dense.mdp.transitions.reshape(6, 2))
    mdp = MDP(table, dense.mdp.rewards, 0.5, dense.mdp.initial_distribution)
    return replace(dense, mdp=mdp)


# --- the surface ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_surface_of_the_contract(family: str) -> None:
    for problem in samples(family):
        S, k = problem.num_states, problem.observation_size
        mdp = problem.mdp
        assert problem.family == family
        assert problem.observations.shape == (S, k)
        assert problem.theta.shape == (problem.policy.num_parameters,)
        assert mdp.initial_distribution.shape == (S,)
        assert problem.discount == mdp.discount
        if family == "gaussian":
            m = problem.action_size
            assert isinstance(mdp, QuadraticMDP)
            assert mdp.transitions.shape == (S, S)
            assert [p.shape for p in mdp.reward_quadratic] == [(S,), (S, m), (S, m, m)]
            assert problem.theta.size == k * m + m
            assert not hasattr(problem, "num_actions")
        else:
            A = problem.num_actions
            assert mdp.transitions.shape == (S, A, S)
            assert mdp.rewards.shape == (S, A)
            assert not hasattr(problem, "action_size")
        if family == "tabular":
            assert np.array_equal(problem.observations, np.eye(S))
        batch = problem.batch
        assert batch is problem.batch  # built once
        for name in [
            "rewards",
            "advantages",
            "values",
            "next_values",
            "terminated",
            "truncated",
            "log_probs",
        ]:
            assert getattr(batch, name).shape == (len(batch),)
        assert batch.observations.shape == (len(batch), k)


def test_arrays_are_read_only_copies() -> None:
    theta = np.linspace(-1, 1, 12)
    problem = softmax_problem(theta=theta)
    theta[0] = 99.0
    assert problem.theta[0] == -1
    for _, array in [
        *arrays_of(problem.mdp),
        *arrays_of(problem.theta),
        *arrays_of(problem.batch),
    ]:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(FrozenInstanceError):
        problem.theta = theta  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"theta": np.zeros(11)}, r"theta must have shape \(12,\), got \(11,\)"),
        (
            {"observations": np.zeros((3, 4))},
            r"observations must have shape \(2, 4\), got \(3, 4\)",
        ),
        ({"theta": np.full(12, np.nan)}, "theta has entries that are not finite"),
        ({"policy": SoftmaxPolicy(4, 2)}, "the MDP's num_actions is 3, the policy's 2"),
        ({"family": "sofmax"}, "Did you mean 'softmax'"),
        ({"family": "tabular"}, "identity rows"),
        ({"batch_kind": "exakt"}, "Did you mean 'exact'"),
        ({"batch_kind": "exact"}, "needs a design"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        softmax_problem(**changes)


def test_at_moves_and_keeps_the_rest() -> None:
    problem = problem_sets.designed("softmax")[0]
    moved = problem.at((problem.theta + 0.25).tolist())
    assert np.array_equal(moved.theta, problem.theta + 0.25)
    assert moved.mdp is problem.mdp
    assert moved.id.startswith(problem.id + "@")
    assert moved.at(problem.theta).id.partition("@")[0] == problem.id
    assert problem.at(problem.theta.copy()) is problem
    with pytest.raises(InvalidArgument, match=r"theta must have shape \(6,\), got \(5,\)"):
        problem.at(problem.theta[1:])


# --- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_writable_copy_can_be_scribbled_on_everywhere(family: str) -> None:
    for problem in samples(family):
        before = problem.fingerprint()
        twin = problem.writable_copy()
        parts = {"mdp": twin.mdp, "observations": twin.observations, "theta": twin.theta}
        parts["batch"] = twin.batch
        if problem.paths is not None:
            parts["episodes"] = twin.episodes
        assert twin.fingerprint() == before
        names = []
        for part, value in parts.items():
            for name, array in list(arrays_of(value, part))[:40]:
                kept = array.copy()
                array[...] = array + 1 if array.dtype != bool else ~array
                assert twin.changes() == (name,), name
                assert twin.fingerprint() != before
                array[...] = kept
                assert twin.changes() == ()
                names.append(name)
        assert len(names) >= 16
        assert twin.fingerprint() == problem.fingerprint() == before
        assert problem.writable_copy().theta is not twin.theta


def test_the_sign_of_zero_is_a_change() -> None:
    twin = softmax_problem(theta=np.zeros(12)).writable_copy()
    twin.theta[0] = -0.0
    assert twin.changes() == ("theta",)


def test_sparse_transitions_are_copied_and_compared_too() -> None:
    problem = sparse_problem()
    twin = problem.writable_copy()
    assert twin.mdp.is_sparse
    twin.mdp.transitions.data[0] = 0.5
    assert twin.changes() == ("mdp.transitions.data",)
    assert problem.mdp.transitions.data[0] == 1.0
    dense = softmax_problem()
    for name in ("states", "actions", "next_states", "values"):
        assert np.allclose(getattr(problem.batch, name), getattr(dense.batch, name), atol=1e-14)


def test_reading_is_recorded_by_source() -> None:
    episodic = next(p for p in problem_sets.designed("softmax") if p.paths is not None)

    def reads(use: object) -> set[str]:
        twin = episodic.writable_copy()
        use(twin)  # type: ignore[operator]
        return set(twin.accessed)

    assert reads(lambda p: (p.num_states, p.num_actions, p.observation_size, p.discount)) == set()
    assert reads(lambda p: (p.mdp.discount, p.mdp.num_states, p.mdp.num_actions)) == set()
    assert reads(lambda p: p.policy.probabilities(p.theta, p.observations)) == set()
    assert reads(lambda p: (p.describe(), repr(p))) == set()
    assert reads(lambda p: p.mdp.transitions) == {"mdp"}
    assert reads(lambda p: p.mdp.rewards) == {"mdp"}
    assert reads(lambda p: p.mdp.policy_transitions(np.ones((4, 3)) / 3)) == {"mdp"}
    assert reads(lambda p: p.batch.rewards) == {"batch"}
    assert reads(lambda p: p.episodes) == {"episodes"}
    assert reads(lambda p: p.at(p.theta + 1).batch) == {"batch"}
    assert reads(lambda p: copy.deepcopy(p).batch) == {"batch"}
    assert reads(lambda p: (p.batch, p.mdp.rewards)) == {"batch", "mdp"}
    gaussian = problem_sets.designed("gaussian")[0].writable_copy()
    assert gaussian.mdp.action_size == gaussian.action_size
    assert gaussian.accessed == frozenset()
    assert gaussian.mdp.reward_quadratic[0].shape == (gaussian.num_states,)
    assert gaussian.accessed == {"mdp"}


def test_a_copy_is_a_problem_to_whoever_receives_it() -> None:
    problem = problem_sets.designed("softmax")[0]
    twin = problem.writable_copy()
    assert isinstance(twin, npgcheck.Problem)
    assert isinstance(twin.mdp, npgcheck.MDP)
    assert isinstance(twin.batch, Batch)
    assert isinstance(twin.at(twin.theta + 1), Problem)
    assert twin.at(twin.theta + 1).theta.flags.writeable
    moved = replace(twin, theta=twin.theta + 1)
    assert np.array_equal(moved.theta, problem.theta + 1)
    for again in (copy.copy(twin), copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        assert np.array_equal(again.theta, problem.theta)
        assert again.theta.flags.writeable
        assert np.array_equal(again.batch.states, problem.batch.states)


@pytest.mark.parametrize("family", FAMILIES)
def test_pickling_keeps_every_bit_and_stays_read_only(family: str) -> None:
    for problem in [*samples(family), *problem_sets.edge_cases(family)]:
        again = pickle.loads(pickle.dumps(problem))
        assert again.fingerprint() == problem.fingerprint()
        assert (again.id, again.name, again.paths) == (problem.id, problem.name, problem.paths)
        assert same_batch(again, problem)
        assert not any(array.flags.writeable for _, array in arrays_of(again.mdp))
        assert len(pickle.dumps(problem)) < 60_000


def same_batch(a: Problem, b: Problem) -> bool:
    return all(
        np.array_equal(x, y)
        for (_, x), (_, y) in zip(arrays_of(a.batch), arrays_of(b.batch), strict=True)
    )


# --- plain data ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_json_round_trip_keeps_every_bit(family: str) -> None:
    problems = [*samples(family), *problem_sets.edge_cases(family)]
    for problem in problems:
        text = json.dumps(problem.to_json(), allow_nan=False)
        for again in (Problem.from_json(text), Problem.from_json(json.loads(text))):
            assert again.fingerprint() == problem.fingerprint()
            assert again.id == problem.id
            assert again.describe() == problem.describe()
            assert same_batch(again, problem)
            assert again.paths == problem.paths


def test_json_of_sparse_and_of_other_coordinates() -> None:
    sparse = sparse_problem()
    again = Problem.from_json(json.dumps(sparse.to_json()))
    assert again.mdp.is_sparse
    assert again.fingerprint() == sparse.fingerprint()
    base = problem_sets.designed("gaussian")[0]
    theta = base.theta.copy()
    theta[-base.action_size :] = 0.7
    policy = GaussianPolicy(base.observation_size, base.action_size, "variance")
    other = Problem(base.mdp, policy, base.observations, theta, "gaussian")
    assert Problem.from_json(other.to_json()).policy.sigma == "variance"
    network = problem_sets.designed("mlp")[0]
    deep = MLPPolicy(network.observation_size, network.num_actions, (3, 2))
    deeper = Problem(network.mdp, deep, network.observations, np.zeros(deep.num_parameters), "mlp")
    assert Problem.from_json(deeper.to_json()).policy.hidden == (3, 2)


def test_json_that_is_no_problem_is_refused() -> None:
    data = softmax_problem().to_json()
    with pytest.raises(InvalidArgument, match="KeyError 'theta'"):
        Problem.from_json({key: value for key, value in data.items() if key != "theta"})
    with pytest.raises(InvalidArgument, match="format 2"):
        Problem.from_json(data | {"format": 2})
    with pytest.raises(InvalidArgument, match="the subject's own"):
        Problem.from_json(data | {"policy": {"class": "own"}})
    with pytest.raises(InvalidArgument, match="not a problem"):
        Problem.from_json("[1, 2]")
    with pytest.raises(InvalidArgument, match="not a problem"):
        Problem.from_json("{")


# --- words ---------------------------------------------------------------------------------------


def test_descriptions() -> None:
    uniform = softmax_problem(theta=np.zeros(12))
    assert uniform.describe() == "2 states, 3 actions, 4 features, γ = 1/2, uniform policy"
    weights = np.log([1.0, 2, 4, 1, 3, 1])
    tabular = softmax_problem(
        policy=SoftmaxPolicy(2, 3), observations=np.eye(2), theta=weights, family="tabular"
    )
    assert tabular.describe() == "2 states, 3 actions, γ = 1/2, policy with odds 1:2:4 and 1:3:1"
    # Logits of linspace(−1, 1) seen by the features 0 … 7 spread over several decades.
    assert ", probabilities 0.00033 to 0.98" in softmax_problem().describe()
    odd = softmax_problem(mdp=MDP(np.ones((2, 3, 2)) / 2, np.ones((2, 3)), 0.87654, [1, 0]))
    assert "γ = 0.87654" in odd.describe()
    assert softmax_problem(name="a corner").describe().startswith("a corner: 2 states")
    assert repr(softmax_problem()).startswith("<Problem (no id): 2 states")
