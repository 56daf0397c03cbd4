"""A subject's own policy: exact answers built from the very function that it brings.

``logits(problem, observations, theta)`` or ``mean_log_std(…)`` is the definition of the policy;
its Jacobian is taken by central differences, extrapolated to h → 0 (Richardson 1911), and its
error is measured by a second set of steps. That error enters every budget as ``derivative_error``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from npgcheck.conformance.guard import Caller
from npgcheck.conformance.subject import Subject
from npgcheck.errors import UsageError
from npgcheck.mdp import QuadraticMDP
from npgcheck.named_mdps import garnet
from npgcheck.policy import GaussianPolicy, SoftmaxPolicy
from npgcheck.policy.discrete import DiscretePolicy
from npgcheck.policy.gaussian import GaussianBase
from npgcheck.problem import Problem
from npgcheck.streams import Stream

Array = np.ndarray
#: (problem, observations, theta) -> outputs, shape (N, outputs).
Network = Callable[[Array, Array], tuple[Array, str]]

#: The functions of the subject that a worker process has loaded: a policy that was pickled finds
#: its network here again.
LOADED: dict[str, Mapping[str, Callable[..., Any]]] = {}

#: Step sizes of the differences by the dtype of the outputs, each halved twice: extrapolation
#: leaves h⁶, round-off leaves u/h. Doubles that were single precision inside need the wider step.
FIRST_STEPS = {"float64": (2.0**-7, 2.0**-3)}
COARSE_STEPS = (2.0**-3,)
#: No wider step is tried once the error is below this.
GOOD_DERIVATIVE = 1e-7
#: A second, incommensurable set of steps measures the error of the first.
SECOND = 0.8
#: A Jacobian that is measured less accurately than this is no reference: θ is drawn again.
WORST_DERIVATIVE = 1e-3
#: The own family costs 12 evaluations or more per parameter and problem.
MOST_PROBLEMS = 16
REDRAWS = 4
DISCOUNTS = (0.5, 0.8, 0.9, 0.95)


class PolicyIgnoresTheta(Exception):
    """The subject's policy does not depend on its parameters: a refutation, not a usage error."""


class _Differences:
    """Jacobian of a network's outputs by extrapolated central differences."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._cache: dict[bytes, tuple[dict[bytes, int], Array, float]] = {}

    def outputs(self, theta: Array, observations: Array) -> Array:
        """(N, outputs)."""
        return self._network(np.asarray(theta, float), np.asarray(observations, float))[0]

    def jacobian(self, theta: Array, observations: Array) -> Array:
        """(N, outputs, D)."""
        jacobian, index, _ = self._at(theta, observations)
        return jacobian[index]

    def error(self, theta: Array, observations: Array) -> float:
        """Relative error of the Jacobian, as the second set of steps measures it."""
        return self._at(theta, observations)[2]

    def _at(self, theta: Array, observations: Array) -> tuple[Array, list[int], float]:
        """The Jacobian at distinct rows, where each asked row is among them, and its error.

        The rows of a batch are rows of the problem's observations, so what was measured there
        serves them all.
        """
        theta = np.asarray(theta, dtype=float)
        rows = np.ascontiguousarray(observations, dtype=float)
        keys = [row.tobytes() for row in rows]
        known = self._cache.get(theta.tobytes())
        if known is None or not known[0].keys() >= set(keys):
            distinct = dict.fromkeys(keys)
            chosen = np.stack([np.frombuffer(key) for key in distinct])
            places = {key: i for i, key in enumerate(distinct)}
            known = (places, *self._measure(theta, chosen))
            self._cache[theta.tobytes()] = known
        places, jacobian, error = known
        return jacobian, [places[key] for key in keys], error

    def _measure(self, theta: Array, rows: Array) -> tuple[Array, float]:
        """The Jacobian by the step whose error, relative to its largest entry, is smallest."""
        dtype = self._network(theta, rows)[1]
        best: tuple[Array, float] | None = None
        for step in FIRST_STEPS.get(dtype, COARSE_STEPS):
            first = self._extrapolated(theta, rows, step)
            second = self._extrapolated(theta, rows, SECOND * step)
            size = float(np.abs(first).max(initial=0.0))
            error = float(np.abs(first - second).max(initial=0.0)) / size if size else 0.0
            if best is None or error < best[1]:
                best = 0.5 * (first + second), error
            if error <= GOOD_DERIVATIVE:
                break
        assert best is not None
        return best

    def _extrapolated(self, theta: Array, rows: Array, step: float) -> Array:
        columns = []
        for i in range(len(theta)):
            direction = np.zeros(len(theta))
            direction[i] = 1.0
            differences = []
            for h in (step, step / 2, step / 4):
                ahead = self._network(theta + h * direction, rows)[0]
                behind = self._network(theta - h * direction, rows)[0]
                differences.append((ahead - behind) / (2.0 * h))
            once = [(4.0 * b - a) / 3.0 for a, b in pairwise(differences)]
            columns.append((16.0 * once[1] - once[0]) / 15.0)
        return np.stack(columns, axis=-1)


class OwnDiscretePolicy(DiscretePolicy):
    """A policy whose logits are a function of the subject's."""

    family = "own"

    def __init__(self, network: Network, shell: Problem, num_parameters: int, key: str) -> None:
        self.num_parameters = num_parameters
        self.num_actions = shell.num_actions
        self.observation_size = shell.observation_size
        self._shell, self._key = shell, key
        self._differences = _Differences(network)

    def logits(self, theta: Array, observations: Array) -> Array:
        """(N, A), as the subject computes them."""
        return self._differences.outputs(theta, observations)

    def logits_jacobian(self, theta: Array, observations: Array) -> Array:
        """(N, A, D), by extrapolated differences."""
        return self._differences.jacobian(theta, observations)

    def derivative_error_at(self, theta: Array, observations: Array) -> float:
        """Relative error of the Jacobian."""
        return self._differences.error(theta, observations)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (OwnDiscretePolicy, self._shell, self.num_parameters, self._key)


class OwnGaussianPolicy(GaussianBase):
    """A diagonal Gaussian whose mean and log σ are a function of the subject's."""

    family = "own"

    def __init__(self, network: Network, shell: Problem, num_parameters: int, key: str) -> None:
        self.num_parameters = num_parameters
        self.action_size = shell.action_size
        self.observation_size = shell.observation_size
        self._shell, self._key = shell, key
        self._differences = _Differences(network)

    def mean_log_std(self, theta: Array, observations: Array) -> tuple[Array, Array]:
        """μ (N, m) and log σ (N, m)."""
        both = self._differences.outputs(theta, observations)
        return both[:, : self.action_size], both[:, self.action_size :]

    def mean_log_std_jacobian(self, theta: Array, observations: Array) -> tuple[Array, Array]:
        """Both Jacobians, (N, m, D)."""
        both = self._differences.jacobian(theta, observations)
        return both[:, : self.action_size], both[:, self.action_size :]

    def derivative_error_at(self, theta: Array, observations: Array) -> float:
        """Relative error of the Jacobian."""
        return self._differences.error(theta, observations)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (OwnGaussianPolicy, self._shell, self.num_parameters, self._key)


def _restore(build: Any, shell: Problem, num_parameters: int, key: str) -> Any:
    """Rebuilds a pickled policy on the functions that this process has loaded."""
    functions = LOADED.get(key, {})

    def network(theta: Array, observations: Array) -> tuple[Array, str]:
        from npgcheck.conformance.answer import receive

        rows = len(observations)
        if build is OwnDiscretePolicy:
            shape = (rows, shell.num_actions)
            return receive(functions["logits"](shell, observations, theta), shape)
        pair, dtype = receive(
            functions["mean_log_std"](shell, observations, theta), (2, rows, shell.action_size)
        )
        return np.concatenate(list(pair), axis=1), dtype

    return build(network, shell, num_parameters, key)


def own_problems(subject: Subject, caller: Caller, seed: int, count: int) -> list[Problem]:
    """Problems around the subject's own policy.

    Raises:
        UsageError: the policy functions are missing, or fail when called.
        PolicyIgnoresTheta: no output moves with any parameter.
    """
    functions = subject.policy_functions
    gaussian = "mean_log_std" in functions
    if "num_parameters" not in functions or not (gaussian or "logits" in functions):
        raise UsageError(
            f"{subject.name} has families = {{'own'}} but brings no policy: define "
            "num_parameters(problem) and logits(problem, observations, theta), or "
            "mean_log_std(problem, observations, theta)."
        )
    key = subject.target or subject.name
    LOADED[key] = functions
    build = _gaussian_problem if gaussian else _discrete_problem
    found: list[Problem] = []
    for index in range(min(count, MOST_PROBLEMS)):
        for redraw in range(REDRAWS):
            problem = build(subject, caller, key, Stream("own", seed, index, redraw), index)
            jacobian = _jacobian(problem)
            if not np.abs(jacobian).any():
                raise PolicyIgnoresTheta(
                    "no output of the policy changes with any of its parameters; does logits or "
                    "mean_log_std use its argument theta?"
                )
            error = problem.policy.derivative_error_at(problem.theta, problem.observations)
            if error <= WORST_DERIVATIVE:
                found.append(problem)
                break
    if not found:
        raise UsageError(
            f"{subject.name}: the policy's derivatives could not be measured at any drawn θ; "
            "npgcheck needs a function that is smooth in theta and gives the same output twice "
            "(is dropout switched off?)."
        )
    return found


def _jacobian(problem: Problem) -> Array:
    policy = problem.policy
    if problem.is_gaussian:
        return np.concatenate(policy.mean_log_std_jacobian(problem.theta, problem.observations))
    return policy.logits_jacobian(problem.theta, problem.observations)


def _sizes(subject: Subject, stream: Stream) -> tuple[int, int, int]:
    """S, and the sizes that the subject fixes (or drawn ones)."""
    stated = subject.policy_sizes
    states = stream.integer(3, 6)
    features = int(stated.get("observation_size", stream.integer(2, 4)))
    actions = int(stated.get("num_actions", stated.get("action_size", stream.integer(2, 3))))
    return states, features, actions


def _own_id(stream: Stream) -> str:
    """An id like every problem's, from the next draws of the problem's own stream."""
    return f"p-{stream.integer(0, 16**6 - 1):06x}"


def _observations(stream: Stream, states: int, features: int) -> Array:
    return np.asarray(stream.bell(states * features)).reshape(states, features)


def _discrete_problem(
    subject: Subject, caller: Caller, key: str, stream: Stream, index: int
) -> Problem:
    states, features, actions = _sizes(subject, stream)
    mdp = garnet(states, actions, 2, DISCOUNTS[index % 4], seed=stream.integer(0, 10**6))
    observations = _observations(stream, states, features)
    shell = Problem(
        mdp,
        SoftmaxPolicy(features, actions),
        observations,
        np.zeros(features * actions),
        "softmax",
        id=_own_id(stream),
    )

    def network(theta: Array, rows: Array) -> tuple[Array, str]:
        answer = caller.call("logits", shell, rows, theta, shape=(len(rows), actions))
        return _value(subject, "logits", answer), answer.dtype

    return _finish(subject, caller, key, stream, shell, network, OwnDiscretePolicy)


def _gaussian_problem(
    subject: Subject, caller: Caller, key: str, stream: Stream, index: int
) -> Problem:
    states, features, size = _sizes(subject, stream)
    chain = garnet(states, 1, 2, DISCOUNTS[index % 4], seed=stream.integer(0, 10**6))
    quadratic = np.asarray(stream.bell(states * size * size)).reshape(states, size, size)
    mdp = QuadraticMDP(
        np.asarray(chain.transitions)[:, 0],
        (
            np.asarray(stream.bell(states)),
            np.asarray(stream.bell(states * size)).reshape(states, size),
            0.5 * (quadratic + quadratic.transpose(0, 2, 1)),
        ),
        chain.discount,
        chain.initial_distribution,
    )
    observations = _observations(stream, states, features)
    shell = Problem(
        mdp,
        GaussianPolicy(features, size),
        observations,
        np.zeros(features * size + size),
        "gaussian",
        id=_own_id(stream),
    )

    def network(theta: Array, rows: Array) -> tuple[Array, str]:
        answer = caller.call("mean_log_std", shell, rows, theta, shape=(2, len(rows), size))
        mean, log_std = _value(subject, "mean_log_std", answer)
        return np.concatenate([mean, log_std], axis=1), answer.dtype

    return _finish(subject, caller, key, stream, shell, network, OwnGaussianPolicy)


def _finish(
    subject: Subject,
    caller: Caller,
    key: str,
    stream: Stream,
    shell: Problem,
    network: Network,
    build: Any,
) -> Problem:
    answer = caller.call("num_parameters", shell, shape=())
    number = int(_value(subject, "num_parameters", answer))
    if number < 1:
        raise UsageError(f"{subject.name}: num_parameters returned {number}; at least 1 is needed.")
    policy = build(network, shell, number, key)
    theta = 0.4 * np.asarray(stream.bell(number))
    return Problem(
        shell.mdp,
        policy,
        shell.observations,
        theta,
        "own",
        id=shell.id,
        batch_kind=("ordinary", "duplicated", "off_centre")[stream.integer(0, 2)],
        batch_seed=stream.integer(0, 99),
    )


def _value(subject: Subject, function: str, answer: Any) -> Array:
    if answer.value is None or answer.fault is not None:
        fault = answer.fault.message if answer.fault else "no value"
        raise UsageError(f"{subject.name}: its policy cannot be evaluated, {function} {fault}")
    return answer.value
