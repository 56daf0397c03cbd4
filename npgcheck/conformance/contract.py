"""The subject contract: every function that a subject may define, in one table.

Loading, guarding, checking, explaining and the documentation all read this table; adding a
quantity is adding one entry. Shapes use the letters of ``site/notation.md``: S states, A actions,
D parameters, T steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

FAMILIES = ("tabular", "softmax", "gaussian", "mlp", "own")
DEFAULT_FAMILIES = frozenset({"tabular", "softmax"})


@dataclass(frozen=True)
class Quantity:
    """One function of the contract.

    Attributes:
        name: the function's name in a subject.
        parameters: its positional parameters, in order.
        shape: letters of the answer's shape; ``()`` is a number.
        group: the layer it belongs to.
        meaning: what it answers, in one line.
        not_asked: families in which it is not asked.
    """

    name: str
    parameters: tuple[str, ...]
    shape: tuple[str, ...]
    group: str
    meaning: str
    not_asked: frozenset[str] = frozenset()

    @property
    def returns(self) -> str:
        """The answer's shape as the contract writes it."""
        if self.name == "train":
            return "iterable of (D,)"
        if not self.shape:
            return "float"
        return f"({', '.join(self.shape)}{',' if len(self.shape) == 1 else ''})"

    @property
    def signature(self) -> str:
        """The definition line, e.g. ``kl(problem, theta) -> float``."""
        return f"{self.name}({', '.join(self.parameters)}) -> {self.returns}"

    @property
    def takes_problem(self) -> bool:
        """Whether the first argument is a problem."""
        return self.parameters[0] == "problem"

    def shape_for(self, problem: Any, *args: Any) -> tuple[int, ...]:
        """The shape of a right answer to this call."""
        sizes: dict[str, int] = {}
        if problem is not None:
            sizes = {"S": problem.num_states, "D": problem.theta.shape[0]}
            if "A" in self.shape:
                sizes["A"] = problem.num_actions
        if self.name == "train":
            sizes["T"] = int(args[0])
        elif self.name == "conjugate_gradient":
            sizes["D"] = len(args[1])
        elif self.name == "advantage_estimate":
            sizes["T"] = len(args[0])
        return tuple(sizes[letter] for letter in self.shape)


_NO_TABLE = frozenset({"gaussian"})

_TABLE = (
    Quantity("log_prob", ("problem", "state", "action"), (), "policy", "log π(a|s)"),
    Quantity("score", ("problem", "state", "action"), ("D",), "policy", "∇θ log π(a|s)"),
    Quantity("value", ("problem",), ("S",), "mdp", "V(s), expected discounted return"),
    Quantity("q_value", ("problem",), ("S", "A"), "mdp", "Q(s, a)", _NO_TABLE),
    Quantity("advantage", ("problem",), ("S", "A"), "mdp", "A(s, a) = Q(s, a) − V(s)", _NO_TABLE),
    Quantity("state_distribution", ("problem",), ("S",), "mdp", "d(s), discounted occupancy"),
    Quantity("objective", ("problem",), (), "mdp", "J = Σ ρ(s) V(s)"),
    Quantity("policy_gradient", ("problem",), ("D",), "gradient", "g = ∇θ J"),
    Quantity(
        "surrogate",
        ("problem", "theta"),
        (),
        "gradient",
        "J + 1/(1−γ) Σ d(s) Σ π_theta(a|s) A(s, a)",
    ),
    Quantity("fisher", ("problem",), ("D", "D"), "fisher", "F = Σ d(s) Σ π(a|s) φ φᵀ"),
    Quantity("fisher_vector_product", ("problem", "vector"), ("D",), "fisher", "F v"),
    Quantity(
        "kl",
        ("problem", "theta"),
        (),
        "fisher",
        "Σ d(s) KL(π_problem.theta(·|s) ‖ π_theta(·|s)), nats",
    ),
    Quantity("natural_gradient", ("problem",), ("D",), "step", "x with F x = g"),
    Quantity("update", ("problem", "step_size"), ("D",), "step", "θ + step_size · x"),
    Quantity("trust_region_proposal", ("problem", "max_kl"), ("D",), "step", "θ + √(2δ / xᵀFx) x"),
    Quantity(
        "trust_region_step",
        ("problem", "max_kl"),
        ("D",),
        "step",
        "the accepted point after the line search, or θ unchanged",
    ),
    Quantity(
        "train", ("problem", "iterations", "step_size"), ("T", "D"), "step", "θ₁ … θ_T in order"
    ),
    Quantity(
        "conjugate_gradient",
        ("matvec", "b", "iterations"),
        ("D",),
        "pure",
        "k steps of conjugate gradient on M x = b",
    ),
    Quantity(
        "advantage_estimate",
        ("rewards", "values", "next_values", "terminated", "truncated", "discount", "lam"),
        ("T",),
        "pure",
        "generalised advantage estimates of one trajectory",
    ),
)

QUANTITIES: MappingProxyType[str, Quantity] = MappingProxyType({q.name: q for q in _TABLE})
"""Every quantity by name, in the order in which a report lists them."""

POLICY_FUNCTIONS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "num_parameters": ("problem",),
        "logits": ("problem", "observations", "theta"),
        "mean_log_std": ("problem", "observations", "theta"),
    }
)
"""What a subject with ``families = {"own"}`` defines to bring its policy."""

POLICY_SIZES = ("observation_size", "num_actions", "action_size")
"""Numbers that such a subject may fix."""


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The given quantities in the contract's order."""
    wanted = set(names)
    return tuple(name for name in QUANTITIES if name in wanted)
