"""MDPs, policies and error budgets for the tests of the theory."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from math_cases import U, condition

from npgcheck import strategies
from npgcheck.exact import Evaluation
from npgcheck.mdp import MDP
from npgcheck.policy import SoftmaxPolicy

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, database=None)
FEW = settings(EXAMPLES, max_examples=30)

Array = np.ndarray


@st.composite
def bounded_mdps(draw: st.DrawFn, **sizes: int) -> MDP:
    """As `strategies.mdps` up to γ = 0.99, with rewards moved from [−4, 4] into [0, 1]."""
    mdp = draw(strategies.mdps(max_discount=0.99, **sizes))
    return MDP(mdp.transitions, (mdp.rewards + 4) / 8, mdp.discount, mdp.initial_distribution)


@st.composite
def tabular(draw: st.DrawFn, **sizes: int) -> tuple[MDP, SoftmaxPolicy, Array]:
    """An MDP with rewards in [0, 1], its tabular softmax policy and θ within ±3."""
    mdp = draw(bounded_mdps(**sizes))
    policy = SoftmaxPolicy(mdp.num_states, mdp.num_actions)
    return mdp, policy, draw(strategies.parameters(policy, extreme=False))


step_sizes = st.sampled_from([0.01, 0.1, 1.0, 10.0])


def softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def table(policy: SoftmaxPolicy, theta: Array) -> Array:
    return policy.probabilities(theta, None)


def kl_rows(p: Array, q: Array) -> Array:
    return (p * np.log(p / q)).sum(axis=1)


def slack(mdp: MDP) -> float:
    """Round-off of a value in an MDP with rewards in [0, 1]: 30 u κ ‖V‖."""
    return 30 * U * condition(mdp) / (1 - mdp.discount)


def advantage(found: Evaluation) -> Array:
    assert found.advantage is not None
    return found.advantage


def one_state(rewards: list[float], discount: float) -> MDP:
    A = len(rewards)
    return MDP(np.ones((1, A, 1)), [rewards], discount, [1.0])
