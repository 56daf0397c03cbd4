"""Stable check ids, and the dated sets that they belong to.

An id is ``NPG-<quantity>-<number>``. Numbers: 001 is the value against the reference, 002 to 079
are properties, 080 is consistency with the other quantities, 085 asking twice, 090 the edge cases,
099 the contract itself (raised, hung, NaN, wrong shape). A release never adds a failing check to
an old set: it opens a new one.
"""

from __future__ import annotations

from types import MappingProxyType

from npgcheck.errors import UsageError, nearest

PREFIX: MappingProxyType[str, str] = MappingProxyType(
    {
        "log_prob": "LP",
        "score": "SC",
        "value": "V",
        "q_value": "Q",
        "advantage": "A",
        "state_distribution": "D",
        "objective": "J",
        "policy_gradient": "PG",
        "surrogate": "L",
        "fisher": "F",
        "fisher_vector_product": "FV",
        "kl": "KL",
        "natural_gradient": "NG",
        "update": "UP",
        "trust_region_proposal": "TP",
        "trust_region_step": "TS",
        "train": "TR",
        "conjugate_gradient": "CG",
        "advantage_estimate": "AE",
        "returns": "RT",  # value targets, judged by check_advantages
    }
)
PROPERTIES: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {
        "NPG-SC-002": ("score", "E[score] = 0"),
        "NPG-F-002": ("fisher", "symmetric"),
        "NPG-F-003": ("fisher", "positive semidefinite"),
        "NPG-FV-002": ("fisher_vector_product", "uᵀFv = vᵀFu"),
        "NPG-FV-003": ("fisher_vector_product", "vᵀFv ≥ 0"),
        "NPG-KL-002": ("kl", "KL(θ, θ) = 0"),
        "NPG-KL-003": ("kl", "zero gradient at θ"),
        "NPG-PG-002": ("policy_gradient", "scaling the rewards scales g"),
        "NPG-NG-002": ("natural_gradient", "scaling the rewards scales x"),
        "NPG-NG-003": ("natural_gradient", "invariant under affine reparameterisation"),
        "NPG-F-004": ("fisher", "duplicating the batch leaves F alone"),
        "NPG-FV-004": ("fisher_vector_product", "duplicating the batch leaves Fv alone"),
        "NPG-PG-003": ("policy_gradient", "duplicating the batch leaves g alone"),
    }
)
#: Properties that only check_step asks for: on the designed problems of `verify` a product that is
#: not linear differs from F v already.
OF_STEPS: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {"NPG-FV-005": ("fisher_vector_product", "F(v/4 + w) = F v/4 + F w")}
)
#: Properties of a torch module, which only npgcheck.torch can see.
OF_MODULES: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {
        "NPG-LP-002": ("log_prob", "the policy itself is not random"),
        "NPG-LP-003": ("log_prob", "the policy of a row does not depend on the other rows"),
        "NPG-LP-004": ("log_prob", "θ holds all that is trained of the policy"),
    }
)
NUMBERED = MappingProxyType(
    {
        "value": ("001", "against the exact value"),
        "consistency": ("080", "one set of conventions explains all quantities"),
        "twice": ("085", "asking twice gives the same answer"),
        "edge": ("090", "edge cases"),
        "contract": ("099", "returns a finite answer of the right shape"),
    }
)
CHECK_SETS: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        "2026.1": frozenset(
            [f"NPG-{p}-{number}" for p in PREFIX.values() for number, _ in NUMBERED.values()]
            + [*PROPERTIES, *OF_STEPS]
            + list(OF_MODULES)
        )
    }
)
LATEST = "2026.1"


def check_id(quantity: str, kind: str) -> str:
    """The id of one of the numbered checks of a quantity."""
    return f"NPG-{PREFIX[quantity]}-{NUMBERED[kind][0]}"


def check_set(name: str) -> frozenset[str]:
    """The ids of a dated set.

    Raises:
        UsageError: there is no such set.
    """
    if name not in CHECK_SETS:
        raise UsageError(
            f"no check set {name!r}.{nearest(name, CHECK_SETS)} Known: {', '.join(CHECK_SETS)}."
        )
    return CHECK_SETS[name]
