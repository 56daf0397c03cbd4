"""Every named choice can be planted, is told, and is explained."""

from __future__ import annotations

import numpy as np
import pytest
from judging import explained, named, subject, verify
from test_explainers import BATCH, MDP, conjugate_gradient, direction, fisher, gradient, proposal
from test_explainers_pure import best as best_pure
from test_explainers_pure import cg

from npgcheck.conformance import show
from npgcheck.conformance.choices import BY_NAME, CHOICES, KIND_COST, choice, cost
from npgcheck.conformance.verdicts import diagnose
from npgcheck.conventions import Conventions

EPISODES = ("episodes", "discounted")


def score(r, state, action):
    return r.policy.score(r.theta, np.asarray(r.problem.observations)[[state]], np.array([action]))[
        0
    ]


def uncentred(r, state, action):
    return r.policy.logits_jacobian(r.theta, np.asarray(r.problem.observations)[[state]])[0, action]


def forward(r, other):
    return r.kl(*MDP, other, "forward")


def critic(name):
    return ("policy_gradient", lambda r: gradient(r, BATCH, name), "batch")


def unbiased(r):
    return gradient(r, BATCH) + (0.0 if r.problem.batch.exact else 0.1)


#: (stage, value) → (quantity, formula, what it reads beside the MDP).
PLANTED = {
    ("sampled", "mdp"): ("fisher", fisher, ""),
    ("sampled", "batch"): ("fisher", lambda r: fisher(r, BATCH), "batch"),
    ("sampled", "episodes"): ("fisher", lambda r: fisher(r, EPISODES), "episodes"),
    ("weighting", "discounted"): ("fisher", fisher, ""),
    ("weighting", "undiscounted"): ("fisher", lambda r: fisher(r, ("mdp", "undiscounted")), ""),
    ("weighting", "per_trajectory"): (
        "fisher",
        lambda r: fisher(r, ("episodes", "per_trajectory")),
        "episodes",
    ),
    ("fisher", "true"): ("fisher", lambda r: fisher(r, BATCH), "batch"),
    ("fisher", "empirical"): ("fisher", lambda r: r.fisher(*BATCH, "empirical"), "batch"),
    ("fisher_scale", "normalised"): ("fisher", fisher, ""),
    ("fisher_scale", "unnormalised"): ("fisher", lambda r: fisher(r) / (1 - r.discount), ""),
    ("score", "centred"): ("score", score, ""),
    ("score", "uncentred"): ("score", uncentred, ""),
    ("action_dimensions", "mean"): ("kl", lambda r, o: forward(r, o) / r.problem.action_size, ""),
    ("gradient_factor", "1/(1-gamma)"): ("policy_gradient", gradient, ""),
    ("gradient_factor", "1"): ("policy_gradient", lambda r: r.gradient(*MDP), ""),
    ("advantage", "advantage"): critic("advantage"),
    ("advantage", "expected"): critic("expected"),
    ("advantage", "q"): critic("q"),
    ("advantage", "centred"): critic("centred"),
    ("advantage", "td"): critic("td"),
    ("advantage", "q_td"): critic("q_td"),
    ("advantage", "normalised"): critic("normalised"),
    ("advantage", "normalised_sample"): critic("normalised_sample"),
    ("advantage", "unbiased"): ("policy_gradient", unbiased, "batch"),
    ("occupancy", "normalised"): (
        "state_distribution",
        lambda r: r.evaluation.state_distribution,
        "",
    ),
    ("occupancy", "unnormalised"): (
        "state_distribution",
        lambda r: r.evaluation.state_distribution / (1 - r.discount),
        "",
    ),
    ("kl_direction", "forward"): ("kl", forward, ""),
    ("kl_direction", "reverse"): ("kl", lambda r, o: r.kl(*MDP, o, "reverse"), ""),
    ("kl_model", "exact"): ("kl", forward, ""),
    ("kl_model", "quadratic"): (
        "kl",
        lambda r, o: 0.5 * (o - r.theta) @ fisher(r) @ (o - r.theta),
        "",
    ),
    ("damping", ""): ("natural_gradient", lambda r: direction(r, 0.1), ""),
    ("damping_in_fisher", ""): ("fisher", lambda r: fisher(r) + 0.1 * np.eye(len(r.theta)), ""),
    ("cg_iterations", ""): (
        "natural_gradient",
        lambda r: conjugate_gradient(fisher(r), gradient(r), 3),
        "",
    ),
    ("cg_stopping", "tolerance"): (
        "natural_gradient",
        lambda r: conjugate_gradient(fisher(r), gradient(r), 99, rtol=3e-2),
        "",
    ),
    ("solver_rtol", ""): ("fisher", lambda r: np.float32(fisher(r)), ""),
    ("step_length", "undamped"): ("trust_region_proposal", lambda r, d: proposal(r, d, 0.1), ""),
    ("step_length", "damped"): (
        "trust_region_proposal",
        lambda r, d: proposal(r, d, 0.1, in_length=0.1),
        "",
    ),
}
#: Told elsewhere: by the pure functions and by the edge cases; a sum needs no telling.
ELSEWHERE = {
    ("action_dimensions", "sum"),
    # planted on networks, for check_step: test_step_controls, test_check_step
    ("entropy", ""),
    ("entropy", "negative"),
    ("advantage", "scaled"),
    ("advantage", "absolute"),
    ("advantage", "missing"),
    ("density", "other_sigma"),
    ("objective", "loss"),
    ("cg_stopping", "absolute"),
    ("cg_start", "random"),
    ("line_search", "kl_and_improvement"),
    ("line_search", "kl_slack"),
    ("line_search", "improvement"),
    ("line_search", "overwritten"),
    ("line_search", "surrogate_ignored"),
    ("damping", "two"),
    ("solver", "none"),
    ("gradient_scale", "differ"),
    ("range", "limited"),
    ("episode_ends", "timeout_as_terminal"),
    ("episode_ends", "bootstrap_after_termination"),
    ("episode_ends", "leak"),
    ("episode_ends", "no_discount_in_delta"),
    ("episode_ends", "no_discount_in_trace"),
    ("gae_lam", ""),
    ("gae_discount", ""),
}


def test_every_choice_is_planted():
    explained = {key for key, entry in CHOICES.items() if not (entry.change or not entry.told)}
    assert set(PLANTED) | ELSEWHERE >= explained
    assert set(PLANTED) | ELSEWHERE <= set(CHOICES)


@pytest.mark.parametrize("key", PLANTED, ids=[CHOICES[k].name for k in PLANTED])
def test_a_planted_choice_is_told(key):
    (stage, value), (quantity, formula, reads) = key, PLANTED[key]
    family = "gaussian" if stage == "action_dimensions" else "softmax"
    sampled = ("mdp", reads) if reads else ("mdp",)
    # All designed problems: the last ones have episodes, and only some have exact batches.
    count = 40 if reads else 12
    if reads == "episodes" or value == "undiscounted":
        formula = where_defined(formula)
    found = explained(quantity, formula, family, sampled, count=count).fitting
    assert found, "nothing explains the answers"
    told = found[0].choices
    assert told[stage] if not value else told[stage] == value
    entry = choice(stage, told[stage])
    names = {d.choice: d.kind for d in diagnose(told)}
    assert entry.default or names[entry.name] == entry.kind


def where_defined(formula):
    """NaN where a problem has no such measure, as a subject that does not answer there."""
    from npgcheck.errors import Unsupported

    def answer(r, *args):
        try:
            return formula(r, *args)
        except Unsupported:
            return np.full((len(r.theta), len(r.theta)), np.nan)

    return answer


def test_choices_of_pure_functions_are_told():
    rng = np.random.default_rng(0)
    absolute = best_pure("conjugate_gradient", lambda M, b, k: cg(M, b, k, atol=1e-8))
    assert absolute == {"cg_stopping": "absolute"}
    random = best_pure(
        "conjugate_gradient",
        lambda M, b, k: cg(M, b, k, atol=1e-8, start=1e-4 * rng.standard_normal(len(b))),
    )
    assert random["cg_start"] == "random"


def test_a_limited_range_is_told():
    def naive(self, problem, theta):
        z = self.action_logits(problem, theta)
        with np.errstate(all="ignore"):
            return np.log(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))

    report = verify(subject(log_pi=naive), "log_prob", examples=10)
    assert named(report, "log_prob") == {"limited-range": None}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_name_is_explained(name):
    text = show.explanation(name)
    entry = BY_NAME[name]
    assert name in text
    assert entry.kind in text
    flat = " ".join(text.split())
    assert " ".join(entry.formula.split()) in flat
    assert " ".join(entry.mend.split()) in flat


def test_names_and_stages_are_unique_and_filled():
    assert len(BY_NAME) == len(CHOICES)
    for entry in CHOICES.values():
        assert entry.formula
        assert entry.shows
        assert entry.mend
        assert entry.kind in KIND_COST
    stages = {stage for stage, _ in CHOICES}
    for stage in stages:
        assert sum(c.default for (s, _), c in CHOICES.items() if s == stage) <= 1


def test_what_can_be_declared_has_a_name():
    """A value of Conventions that no choice carries could be neither found nor held to."""
    from npgcheck import conventions

    for field, values in (
        ("weighting", conventions.WEIGHTINGS),
        ("occupancy", conventions.SCALES),
        ("gradient_factor", conventions.GRADIENT_FACTORS),
        ("advantage", conventions.ADVANTAGES),
        ("fisher", conventions.FISHERS),
        ("fisher_scale", conventions.SCALES),
        ("kl_direction", conventions.KL_DIRECTIONS),
        ("step_length", conventions.STEP_LENGTHS),
        ("sampled", conventions.SAMPLED),
    ):
        for value in values:
            assert choice(field, value).value == value
            assert Conventions(**{field: value}).declared() == {field: value}


def test_conventions_cost_less_than_approximations_less_than_bugs():
    right = {"sampled": "mdp", "weighting": "discounted", "fisher": "true"}
    assert cost(right) == 0.0
    order = [
        {**right, "sampled": "batch"},
        {**right, "damping": 0.1},
        {**right, "cg_iterations": 3},
        {**right, "damping": 0.1, "cg_iterations": 3},
        {**right, "score": "uncentred"},
        {**right, "advantage": "unbiased"},
    ]
    costs = [cost(c) for c in order]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)
    assert cost({**right, "damping": 0.0, "cg_iterations": 0, "_variant": 1}) == 0.0
