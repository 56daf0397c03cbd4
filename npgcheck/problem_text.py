"""Problems in words and as plain data that keeps every bit of every float64."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from npgcheck.designs import Design
from npgcheck.episodes import Path
from npgcheck.errors import InvalidArgument
from npgcheck.mdp import MDP, QuadraticMDP
from npgcheck.policy import GaussianPolicy, MLPPolicy, SoftmaxPolicy
from npgcheck.problem import Problem, simple_fraction

Array = np.ndarray

FORMAT = 1
"""Version of the plain data; a reader refuses a version that it does not know."""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def describe(problem: Problem) -> str:
    """E.g. "2 states, 3 actions, γ = 1/2, uniform policy"."""
    parts = [_count(problem.num_states, "state")]
    if problem.is_gaussian:
        parts.append(_count(problem.action_size, "action dimension"))
    else:
        parts.append(_count(problem.num_actions, "action"))
    if problem.family != "tabular":
        parts.append(_count(problem.observation_size, "feature"))
    fraction = simple_fraction(problem.discount)
    parts.append(f"γ = {fraction if fraction is not None else f'{problem.discount:.6g}'}")
    parts.append(_describe_policy(problem))
    if problem.paths is not None:
        parts.append(_count(sum(path.count for path in problem.paths), "exact episode"))
    text = ", ".join(parts)
    return f"{problem.name}: {text}" if problem.name else text


def _describe_policy(problem: Problem) -> str:
    if problem.is_gaussian:
        std = np.exp(problem.policy.mean_log_std(problem.theta, problem.observations)[1][0])
        return f"σ = {', '.join(f'{value:.3g}' for value in std)}"
    probabilities = problem.policy.probabilities(problem.theta, problem.observations)
    odds = integer_odds(probabilities)
    if odds is not None:
        if (odds == 1).all():
            return "uniform policy"
        distinct = list(dict.fromkeys(":".join(str(x) for x in row) for row in odds))
        if len(distinct) <= 3:
            return f"policy with odds {' and '.join(distinct)}"
        return "policy with integer odds"
    low, high = float(probabilities.min()), float(probabilities.max())
    return f"probabilities {low:.2g} to {high:.2g}"


def integer_odds(probabilities: Array, largest: int = 12) -> Array | None:
    """(S, A) the smallest integers in proportion to each row, or None where they exceed 12."""
    rows = np.zeros(probabilities.shape, dtype=np.int64)
    for s, row in enumerate(probabilities):
        if not row.min() > 0 or row.max() > (largest + 1) * row.min():
            return None
        for scale in range(1, largest + 1):
            guess = row / row.min() * scale
            # 1e-9 is far above round-off of a softmax and far below 1/12 of one unit of odds.
            if np.abs(guess - np.rint(guess)).max() < 1e-9 and guess.max() < largest + 0.5:
                rows[s] = np.rint(guess)
                break
        else:
            return None
    return rows


def to_json(problem: Problem) -> dict[str, Any]:
    """Plain data: lists of floats, which JSON writes with every digit that it needs."""
    data: dict[str, Any] = {
        "format": FORMAT,
        "id": problem.id,
        "name": problem.name,
        "family": problem.family,
        "mdp": _mdp_to_json(problem.mdp),
        "policy": _policy_to_json(problem.policy),
        "observations": problem.observations.tolist(),
        "theta": problem.theta.tolist(),
        "batch_kind": problem.batch_kind,
        "batch_seed": problem.batch_seed,
    }
    if problem.design is not None:
        data["design"] = {
            "states": problem.design.states.tolist(),
            "choices": problem.design.choices.tolist(),
            "next_states": problem.design.next_states.tolist(),
        }
    if problem.paths is not None:
        data["paths"] = [
            {
                "states": list(path.states),
                "actions": list(path.actions),
                "count": path.count,
                "truncated": path.truncated,
            }
            for path in problem.paths
        ]
    return data


def _mdp_to_json(mdp: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "discount": float(mdp.discount),
        "initial_distribution": mdp.initial_distribution.tolist(),
        "name": mdp.name,
    }
    if isinstance(mdp, QuadraticMDP):
        data["transitions"] = mdp.transitions.tolist()
        data["reward_quadratic"] = [part.tolist() for part in mdp.reward_quadratic]
        return data
    data["rewards"] = mdp.rewards.tolist()
    if mdp.is_sparse:
        data["sparse_transitions"] = {
            "shape": list(mdp.transitions.shape),
            "data": mdp.transitions.data.tolist(),
            "indices": mdp.transitions.indices.tolist(),
            "indptr": mdp.transitions.indptr.tolist(),
        }
    else:
        data["transitions"] = mdp.transitions.tolist()
    return data


def _policy_to_json(policy: Any) -> dict[str, Any]:
    if type(policy) is SoftmaxPolicy:
        return {"class": "SoftmaxPolicy"}
    if type(policy) is MLPPolicy:
        return {"class": "MLPPolicy", "hidden": list(policy.hidden)}
    if type(policy) is GaussianPolicy:
        return {"class": "GaussianPolicy", "sigma": policy.sigma}
    return {"class": "own"}


def from_json(data: Any) -> Problem:
    """The problem that :func:`to_json` wrote, from its dictionary or its text.

    Raises:
        InvalidArgument: not such data, or a policy that a subject brought itself.
    """
    try:
        if isinstance(data, str | bytes):
            data = json.loads(data)
        if data["format"] != FORMAT:
            raise InvalidArgument(
                f"a problem in format {data['format']!r}; this version reads format {FORMAT}"
            )
        mdp = _mdp_from_json(data["mdp"])
        return Problem(
            mdp,
            _policy_from_json(data["policy"], mdp, len(data["observations"][0])),
            np.array(data["observations"]),
            np.array(data["theta"]),
            data["family"],
            id=data["id"],
            name=data["name"],
            batch_kind=data["batch_kind"],
            batch_seed=data["batch_seed"],
            design=_design_from_json(data.get("design")),
            paths=_paths_from_json(data.get("paths")),
        )
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise InvalidArgument(
            f"not a problem as Problem.to_json writes it: {type(error).__name__} {error}"
        ) from error


def _mdp_from_json(data: dict[str, Any]) -> Any:
    rest = (data["discount"], np.array(data["initial_distribution"]), data["name"])
    if "reward_quadratic" in data:
        parts = tuple(np.array(part) for part in data["reward_quadratic"])
        return QuadraticMDP(np.array(data["transitions"]), parts, *rest)  # type: ignore[arg-type]
    if "sparse_transitions" in data:
        from scipy.sparse import csr_array

        part = data["sparse_transitions"]
        # 32-bit indices, as scipy itself chooses for matrices of fewer than 2³¹ entries.
        indices, indptr = (np.array(part[name], dtype=np.int32) for name in ("indices", "indptr"))
        transitions: Any = csr_array((part["data"], indices, indptr), shape=tuple(part["shape"]))
    else:
        transitions = np.array(data["transitions"])
    return MDP(transitions, np.array(data["rewards"]), *rest)


def _policy_from_json(data: dict[str, Any], mdp: Any, observation_size: int) -> Any:
    if data["class"] == "SoftmaxPolicy":
        return SoftmaxPolicy(observation_size, mdp.num_actions)
    if data["class"] == "MLPPolicy":
        return MLPPolicy(observation_size, mdp.num_actions, tuple(data["hidden"]))
    if data["class"] == "GaussianPolicy":
        return GaussianPolicy(observation_size, mdp.action_size, data["sigma"])
    raise InvalidArgument(
        "the policy of this problem is the subject's own: run the subject to rebuild it"
    )


def _design_from_json(data: dict[str, Any] | None) -> Design | None:
    if data is None:
        return None
    return Design(*(np.array(data[name]) for name in ("states", "choices", "next_states")))


def _paths_from_json(data: list[dict[str, Any]] | None) -> tuple[Path, ...] | None:
    if data is None:
        return None
    return tuple(
        Path(tuple(item["states"]), tuple(item["actions"]), item["count"], item["truncated"])
        for item in data
    )
