"""TRPO of sb3-contrib as a subject: ``npgcheck verify sb3-contrib``.

Every number comes out of the library's own ``TRPO.train()``, run on a rollout buffer that holds
the rows of ``problem.batch``. Where a quantity is only a local variable there, one function that
``train()`` calls is watched, and the run is left as soon as the number exists:

======================  =======================================================================
quantity                where it is read
======================  =======================================================================
log_prob, score         ``policy.get_distribution(obs).log_prob(action)``, and its autograd
surrogate, kl           ``policy_objective`` and ``kl_div``, as handed to ``_compute_actor_grad``
policy_gradient         the right-hand side handed to ``conjugate_gradient_solver``
fisher_vector_product   the operator handed to ``conjugate_gradient_solver``
natural_gradient        what ``conjugate_gradient_solver`` returns
trust_region_proposal   the parameters at the first look of the line search
trust_region_step       the parameters after ``train()``
conjugate_gradient      ``conjugate_gradient_solver`` on the given operator
advantage_estimate      ``learn()`` up to ``train()`` on an environment that replays the rows
======================  =======================================================================

Settings are the library's defaults (damping 0.1, 15 iterations, shrinking factor 0.8, ten line
search steps, float32), with three exceptions: ``normalize_advantage=False`` because advantages are
compared as numbers, ``n_critic_updates=0`` because there is no critic in question, and linear
policies lose the bias of ``action_net``, which the problems do not have.

The library draws the start of its conjugate gradient at random. Calls take their draws from one
seeded stream, so that a run repeats; two calls in a run differ as they do for a user.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from npgcheck.errors import Unsupported

if TYPE_CHECKING:
    from npgcheck.problem import Problem

if find_spec("sb3_contrib") is None or find_spec("torch") is None:
    raise ModuleNotFoundError("needs the extra: pip install 'npgcheck[sb3]'", name="sb3_contrib")

Array = np.ndarray

families = frozenset({"tabular", "softmax", "gaussian", "mlp"})

_seeds = itertools.count()


class _Enough(Exception):
    """Carries a number out of ``train()`` as soon as it is known."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


@dataclass(frozen=True)
class _Learner:
    """One TRPO object with the network of a problem's shape, and the order of its parameters.

    ``order[i]`` is the entry of the problem's θ that is entry i of the library's flat vector:
    ``nn.Linear`` stores [action, feature] where θ has [feature, action], and ``log_std`` comes
    first there and last here.
    """

    trpo: Any
    parameters: tuple[Any, ...]
    order: Array  # (D,) int

    def load(self, theta: Array) -> None:
        """Puts θ into the network, rounded to the float32 that the library computes in."""
        import torch

        flat = torch.as_tensor(np.asarray(theta)[self.order], dtype=torch.float32)
        for parameter, piece in zip(
            self.parameters, flat.split([p.numel() for p in self.parameters]), strict=True
        ):
            parameter.data = piece.reshape(parameter.shape).clone()

    def to_library(self, vector: Array) -> Any:
        import torch

        return torch.as_tensor(np.asarray(vector)[self.order], dtype=torch.float32)

    def from_library(self, flat: Any) -> Array:
        answer = np.empty(len(self.order), dtype=np.float32)
        answer[self.order] = flat.detach().numpy()
        return answer

    def theta(self) -> Array:
        import torch

        return self.from_library(torch.cat([p.data.reshape(-1) for p in self.parameters]))


def log_prob(problem: Problem, state: int, action: Any) -> Array:
    return _log_prob(_learner(problem), problem, state, action).detach().numpy()


def score(problem: Problem, state: int, action: Any) -> Array:
    import torch

    learner = _learner(problem)
    value = _log_prob(learner, problem, state, action)
    pieces = torch.autograd.grad(value, learner.parameters)
    return learner.from_library(torch.cat([piece.reshape(-1) for piece in pieces]))


def surrogate(problem: Problem, theta: Array) -> Array:
    """Mean over the rows of A exp(log π_θ' − log π_θ), trpo.py lines 278 and 281."""
    return _objectives(problem, theta)[1]


def kl(problem: Problem, theta: Array) -> Array:
    """Mean over the rows of the divergence as ``train()`` takes it, trpo.py line 284."""
    return _objectives(problem, theta)[0]


def policy_gradient(problem: Problem) -> Array:
    return _at_solver(problem, lambda product, gradient, solve: gradient)


def fisher_vector_product(problem: Problem, vector: Array) -> Array:
    theirs = _learner(problem).to_library(vector)
    return _at_solver(problem, lambda product, gradient, solve: product(theirs))


def natural_gradient(problem: Problem) -> Array:
    return _at_solver(problem, lambda product, gradient, solve: solve())


def trust_region_proposal(problem: Problem, max_kl: float) -> Array:
    """θ as the first round of the line search sees it: get_distribution for the third time."""
    learner = _learner(problem)
    calls = itertools.count(1)

    def before_distribution() -> None:
        if next(calls) == 3:
            raise _Enough(learner.theta())

    return _train(learner, problem, max_kl=max_kl, before_distribution=before_distribution)


def trust_region_step(problem: Problem, max_kl: float) -> Array:
    learner = _learner(problem)
    _train(learner, problem, max_kl=max_kl)
    return learner.theta()


def conjugate_gradient(matvec: Callable[[Array], Array], b: Array, iterations: int) -> Array:
    import torch
    from sb3_contrib.common.utils import conjugate_gradient_solver

    def product(vector: Any) -> Any:
        return torch.as_tensor(matvec(vector.double().numpy()), dtype=torch.float32)

    with _library_randomness():
        solution = conjugate_gradient_solver(
            product, torch.as_tensor(b, dtype=torch.float32), max_iter=iterations
        )
    return solution.numpy()


def advantage_estimate(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    lam: float,
) -> Array:
    """The rollout buffer's advantages after ``learn()`` has collected these very rows."""
    from sb3_contrib import TRPO

    length = len(rewards)
    done = np.asarray(terminated, bool) | np.asarray(truncated, bool)
    goes_on = ~done[:-1]
    if not np.array_equal(np.asarray(next_values)[:-1][goes_on], np.asarray(values)[1:][goes_on]):
        raise Unsupported(
            "the library keeps one value per visited state: within an episode it takes "
            "values[t + 1] for next_values[t], and here they differ"
        )
    with _library_randomness():
        trpo = TRPO(
            "MlpPolicy",
            _replay(np.asarray(rewards), np.asarray(terminated), np.asarray(truncated)),
            n_steps=length,
            batch_size=length,
            gamma=float(discount),
            gae_lambda=float(lam),
            normalize_advantage=False,
            policy_kwargs={"net_arch": []},
            device="cpu",
        )
        _set_values(trpo.policy, np.concatenate([values, next_values]))
        with patch.object(trpo, "train", lambda: None):
            trpo.learn(length)
    return trpo.rollout_buffer.advantages[:, 0].copy()


def _learner(problem: Problem) -> _Learner:
    """The cached learner of this shape, holding the problem's θ."""
    policy = problem.policy
    if problem.family == "gaussian":
        if policy.sigma != "log_std":
            raise Unsupported(f"the library's coordinate is log_std, not {policy.sigma!r}")
        learner = _build("gaussian", problem.observation_size, problem.action_size, ())
    elif problem.family in families:
        hidden = tuple(policy.hidden) if problem.family == "mlp" else ()
        learner = _build("categorical", problem.observation_size, problem.num_actions, hidden)
    else:
        raise Unsupported(f"no sb3-contrib policy for the family {problem.family!r}")
    learner.load(problem.theta)
    return learner


@lru_cache(maxsize=64)
def _build(kind: str, observations: int, actions: int, hidden: tuple[int, ...]) -> _Learner:
    from sb3_contrib import TRPO
    from torch import nn

    linear = not hidden
    with _library_randomness():
        trpo = TRPO(
            "MlpPolicy",
            _spaces(kind, observations, actions),
            n_steps=2,
            batch_size=2,
            n_critic_updates=0,
            normalize_advantage=False,
            policy_kwargs={"net_arch": {"pi": list(hidden), "vf": []}, "activation_fn": nn.Tanh},
            device="cpu",
        )
        if linear:
            trpo.policy.action_net = nn.Linear(observations, actions, bias=False)
    from stable_baselines3.common.logger import Logger

    trpo.set_logger(Logger(folder=None, output_formats=[]))

    # θ layer by layer, each W as [in, out] and then its bias (none when linear); log_std last.
    policy: Any = trpo.policy
    layers = [m for m in policy.mlp_extractor.policy_net if isinstance(m, nn.Linear)]
    where: dict[Any, Array] = {}
    position = 0
    for layer in [*layers, policy.action_net]:
        size = layer.weight.numel()
        where[layer.weight] = np.arange(position, position + size).reshape(-1, len(layer.weight)).T
        position += size
        if layer.bias is not None:
            where[layer.bias] = np.arange(position, position + layer.bias.numel())
            position += layer.bias.numel()
    if kind == "gaussian":
        where[policy.log_std] = np.arange(position, position + actions)
    # _compute_actor_grad takes the named parameters in order, without those of the critic.
    parameters = tuple(p for name, p in policy.named_parameters() if "value" not in name)
    return _Learner(trpo, parameters, np.concatenate([where[p].ravel() for p in parameters]))


def _log_prob(learner: _Learner, problem: Problem, state: int, action: Any) -> Any:
    import torch

    row = torch.as_tensor(problem.observations[state], dtype=torch.float32)[None]
    taken = torch.as_tensor(np.asarray(action), dtype=torch.float32).reshape(1, -1)
    if problem.family != "gaussian":
        taken = taken.long().flatten()
    return learner.trpo.policy.get_distribution(row).log_prob(taken)[0]


def _fill(learner: _Learner, problem: Problem) -> None:
    """One row of the batch per parallel environment, one step each."""
    import torch
    from stable_baselines3.common.buffers import RolloutBuffer

    trpo, batch = learner.trpo, problem.batch
    rows = len(batch.advantages)
    observations = np.asarray(batch.observations, np.float32)
    actions = np.asarray(batch.actions)
    taken = torch.as_tensor(actions, dtype=torch.float32)
    if problem.family != "gaussian":
        taken = taken.long().flatten()
    with torch.no_grad():
        log_probs = trpo.policy.get_distribution(torch.as_tensor(observations)).log_prob(taken)
    buffer = RolloutBuffer(1, trpo.observation_space, trpo.action_space, "cpu", n_envs=rows)
    zeros = np.zeros(rows)
    buffer.add(observations, actions, zeros, zeros, torch.zeros(rows), log_probs)
    buffer.advantages[0] = batch.advantages
    trpo.rollout_buffer = buffer


def _train(
    learner: _Learner,
    problem: Problem,
    *,
    max_kl: float = 0.01,
    solver: Callable[..., Any] | None = None,
    objectives: Callable[..., Any] | None = None,
    before_distribution: Callable[[], None] | None = None,
) -> Any:
    """Runs the library's ``train()``; a watcher that raises ``_Enough`` ends it early."""
    from sb3_contrib.trpo import trpo as module

    trpo = learner.trpo
    trpo.target_kl = float(max_kl)
    get_distribution = trpo.policy.get_distribution

    def watched_distribution(observations: Any) -> Any:
        if before_distribution is not None:
            before_distribution()
        return get_distribution(observations)

    with _library_randomness(), warnings.catch_warnings():
        # Without critic updates train() logs the mean of an empty list of critic losses.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
        _fill(learner, problem)
        with (
            patch.object(
                module, "conjugate_gradient_solver", solver or module.conjugate_gradient_solver
            ),
            patch.object(trpo, "_compute_actor_grad", objectives or trpo._compute_actor_grad),
            patch.object(trpo.policy, "get_distribution", watched_distribution),
        ):
            try:
                trpo.train()
            except _Enough as enough:
                return enough.answer
    return None


def _at_solver(problem: Problem, answer: Callable[[Any, Any, Any], Any]) -> Array:
    from sb3_contrib.trpo import trpo as module

    original = module.conjugate_gradient_solver
    learner = _learner(problem)

    def watched(product: Any, gradient: Any, **options: Any) -> Any:
        raise _Enough(answer(product, gradient, lambda: original(product, gradient, **options)))

    return learner.from_library(_train(learner, problem, solver=watched))


def _objectives(problem: Problem, theta: Array) -> tuple[Array, Array]:
    """``kl_div`` and ``policy_objective`` of ``train()`` with θ' in place of the current policy.

    ``train()`` looks at its policy twice before it forms the two: first the old one, then the
    current one. The parameters are moved to θ' between the two looks.
    """
    learner = _learner(problem)
    calls = itertools.count(1)

    def before_distribution() -> None:
        if next(calls) == 2:
            learner.load(theta)

    def objectives(divergence: Any, objective: Any) -> Any:
        raise _Enough((divergence.detach().numpy(), objective.detach().numpy()))

    return _train(learner, problem, objectives=objectives, before_distribution=before_distribution)


@contextmanager
def _library_randomness() -> Iterator[None]:
    """Seeds torch and numpy from one stream; the caller's own global state is put back."""
    import torch

    seed = next(_seeds)
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)


def _spaces(kind: str, observations: int, actions: int) -> Any:
    """An environment that states its spaces and is never stepped."""
    import gymnasium

    class Spaces(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observations,), np.float32)
        action_space = (
            gymnasium.spaces.Box(-1.0, 1.0, (actions,), np.float32)
            if kind == "gaussian"
            else gymnasium.spaces.Discrete(actions)
        )

    return Spaces()


def _replay(rewards: Array, terminated: Array, truncated: Array) -> Any:
    """An environment that hands out the given rows, whatever the action.

    Observation t < T is the state of row t; observation T + t is the state that row t ended in,
    shown where an episode stops or the rows run out.
    """
    import gymnasium

    length = len(rewards)

    class Replay(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(2 * length)
        action_space = gymnasium.spaces.Discrete(2)
        row = 0

        def reset(self, **_: Any) -> tuple[int, dict[str, Any]]:
            return self.row % length, {}

        def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
            t = self.row
            self.row += 1
            stops = bool(terminated[t]) or bool(truncated[t]) or self.row == length
            state = length + t if stops else self.row
            return state, float(rewards[t]), bool(terminated[t]), bool(truncated[t]), {}

    return Replay()


def _set_values(policy: Any, values: Array) -> None:
    """Makes ``predict_values`` a look-up: one weight per observation, which arrives one-hot."""
    import torch

    policy.value_net.weight.data = torch.as_tensor(values, dtype=torch.float32)[None]
    policy.value_net.bias.data.zero_()
