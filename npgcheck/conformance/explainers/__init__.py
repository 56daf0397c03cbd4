"""One explainer per quantity: what a right answer may be, and how far from it rounding leads."""

from __future__ import annotations

from npgcheck.conformance.explainers.fisher import FisherMatrix, FisherProduct, KLDivergence
from npgcheck.conformance.explainers.gradient import PolicyGradient, Surrogate
from npgcheck.conformance.explainers.line_search import TrustRegionStep
from npgcheck.conformance.explainers.policy import LogProb, Score
from npgcheck.conformance.explainers.pure import AdvantageEstimate, ConjugateGradient
from npgcheck.conformance.explainers.step import (
    NaturalGradient,
    TrustRegionProposal,
    Update,
)
from npgcheck.conformance.explainers.values import (
    Advantage,
    Objective,
    QValue,
    StateDistribution,
    Value,
)
from npgcheck.conformance.fitting import Explainer

EXPLAINERS: dict[str, type[Explainer]] = {
    "log_prob": LogProb,
    "score": Score,
    "value": Value,
    "q_value": QValue,
    "advantage": Advantage,
    "state_distribution": StateDistribution,
    "objective": Objective,
    "policy_gradient": PolicyGradient,
    "surrogate": Surrogate,
    "fisher": FisherMatrix,
    "fisher_vector_product": FisherProduct,
    "kl": KLDivergence,
    "natural_gradient": NaturalGradient,
    "update": Update,
    "trust_region_proposal": TrustRegionProposal,
    "trust_region_step": TrustRegionStep,
    "train": Update,
    "conjugate_gradient": ConjugateGradient,
    "advantage_estimate": AdvantageEstimate,
}
