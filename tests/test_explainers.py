"""What each explainer names, what it estimates, what it lets pass and what it refutes.

The answers are made by plain formulas on the designed problems, without a subject: each test says
which formula is planted and what it must be called.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judging import explained, records

from npgcheck.conformance.choices import choice
from npgcheck.conformance.collect import explainer_of
from npgcheck.conformance.fitting import score
from npgcheck.conformance.reference import Reference
from npgcheck.errors import Unsupported

MDP = ("mdp", "discounted")
BATCH = ("batch", "discounted")


def fisher(reference, measure=MDP):
    return reference.fisher(*measure)


def gradient(reference, measure=MDP, critic="advantage"):
    """∇J."""
    return reference.gradient(*measure, critic) / (1.0 - reference.discount)


def direction(reference, damping=0.0, measure=MDP):
    F, g = fisher(reference, measure), gradient(reference, measure)
    if damping:
        return np.linalg.solve(F + damping * np.eye(len(g)), g)
    return np.linalg.pinv(F, rcond=1e-11, hermitian=True) @ g


def conjugate_gradient(F, g, iterations, rtol=0.0):
    """The textbook recurrence (Hestenes & Stiefel 1952)."""
    x, r = np.zeros(len(g)), g.copy()
    p = r.copy()
    for _ in range(iterations):
        if np.linalg.norm(r) <= max(rtol, 1e-13) * np.linalg.norm(g):
            break
        image = F @ p
        alpha = (r @ r) / (p @ image)
        x = x + alpha * p
        fresh = r - alpha * image
        p, r = fresh + ((fresh @ fresh) / (r @ r)) * p, fresh
    return x


def telling(choices):
    """The choices that are not free, or carry a number."""
    return {
        stage: value
        for stage, value in choices.items()
        if not stage.startswith("_") and choice(stage, value).kind != "free" and value
    }


def best(quantity, answer, *args, **more):
    """The non-free choices of the cheapest explanation; None when nothing explains the answers."""
    found = explained(quantity, answer, *args, **more).fitting
    return telling(found[0].choices) if found else None


# ---- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damping", [0.1, 0.0123456789, 1e-3, 3.3e-5])
def test_damping_is_estimated_to_six_digits(damping):
    eye = lambda r: np.eye(len(r.theta))  # noqa: E731
    planted = {
        "natural_gradient": lambda r: direction(r, damping),
        "fisher_vector_product": lambda r, v: fisher(r) @ v + damping * v,
    }
    for quantity, answer in planted.items():
        assert best(quantity, answer) == {"damping": pytest.approx(damping, rel=1e-6)}, quantity
    found = best("fisher", lambda r: fisher(r) + damping * eye(r))
    assert found == {"damping_in_fisher": pytest.approx(damping, rel=1e-6)}


def test_a_round_damping_is_quoted_as_people_wrote_it():
    assert best("natural_gradient", lambda r: direction(r, 0.1)) == {"damping": 0.1}


def test_one_damping_must_explain_every_problem():
    """λ that follows the size of F, or differs between problems, is no convention found."""
    relative = lambda r: direction(r, 0.1 * np.trace(fisher(r)) / len(r.theta))  # noqa: E731
    assert best("natural_gradient", relative) is None


@pytest.mark.parametrize(("iterations", "damping"), [(3, 0.0), (3, 0.1), (5, 0.0)])
def test_truncated_conjugate_gradient_is_named_with_its_number(iterations, damping):
    def answer(r):
        F = fisher(r) + damping * np.eye(len(r.theta))
        return conjugate_gradient(F, gradient(r), iterations)

    found = best("natural_gradient", answer)
    wanted = {"cg_iterations": iterations}
    assert found == wanted | ({"damping": pytest.approx(damping, rel=1e-6)} if damping else {})


def test_conjugate_gradient_stopped_at_a_tolerance_is_named():
    def answer(r):
        return conjugate_gradient(fisher(r), gradient(r), 100, rtol=3e-2)

    assert best("natural_gradient", answer) == {"cg_stopping": "tolerance"}


def test_a_converged_conjugate_gradient_is_simply_right():
    answer = lambda r: conjugate_gradient(fisher(r), gradient(r), 200)  # noqa: E731
    assert best("natural_gradient", answer) == {}


def test_an_iterate_that_strays_by_parts_in_a_hundred_is_none():
    """Not in single precision either, whose rounding amplified would allow anything."""
    answer = lambda r: 1.03 * conjugate_gradient(fisher(r), gradient(r), 3)  # noqa: E731
    assert best("natural_gradient", answer) is None
    assert best("natural_gradient", answer, dtype="float32") is None


def test_steepest_descent_is_no_conjugate_gradient():
    """Three steps in the right Krylov space that minimise nothing over it."""

    def answer(r):
        F, g = fisher(r), gradient(r)
        x = np.zeros(len(g))
        for _ in range(3):
            rest = g - F @ x
            x = x + (rest @ rest) / (rest @ F @ rest) * rest
        return x

    assert best("natural_gradient", answer) is None


# ---- precision ---------------------------------------------------------------------------------

ROUTES = {
    "policy_gradient": gradient,
    "fisher": fisher,
    "fisher_vector_product": lambda r, v: fisher(r) @ v,
    "natural_gradient": direction,
    "kl": lambda r, other: r.kl(*MDP, other, "forward"),
    "value": lambda r: r.evaluation.value,
    "advantage": lambda r: r.evaluation.advantage,
    "q_value": lambda r: r.evaluation.q_value,
    "objective": lambda r: r.evaluation.objective,
    "state_distribution": lambda r: r.evaluation.state_distribution,
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("quantity", ROUTES)
def test_rounding_on_return_is_right(quantity, dtype):
    assert best(quantity, ROUTES[quantity], dtype=dtype) == {}


@pytest.mark.parametrize("quantity", [q for q in ROUTES if q != "natural_gradient"])
def test_single_precision_inside_a_double_is_a_deviation(quantity):
    inside = lambda *a: np.float32(ROUTES[quantity](*a))  # noqa: E731
    found = best(quantity, inside)
    assert list(found) == ["solver_rtol"]
    assert 1e-12 < found["solver_rtol"] < 1e-7


@pytest.mark.parametrize("quantity", [q for q in ROUTES if q != "natural_gradient"])
def test_a_part_in_a_thousand_is_no_precision(quantity):
    scaled = lambda *a: 1.001 * np.asarray(ROUTES[quantity](*a))  # noqa: E731
    assert best(quantity, scaled) is None
    assert best(quantity, scaled, dtype="float32") is None


# ---- F and KL ----------------------------------------------------------------------------------


def test_the_direction_of_kl_is_named():
    for way in ("forward", "reverse"):
        found = explained("kl", lambda r, other, way=way: r.kl(*MDP, other, way)).fitting
        assert {f.choices["kl_direction"] for f in found} == {way}


def test_kl_to_second_order_in_bits_and_of_the_joint_are_told_apart():
    def model(r, other):
        return 0.5 * (other - r.theta) @ fisher(r) @ (other - r.theta)

    assert best("kl", model) == {"kl_model": "quadratic"}
    assert best("kl", lambda r, other: r.kl(*MDP, other, "forward") / np.log(2.0)) is None
    symmetric = lambda r, o: r.kl(*MDP, o, "forward") + r.kl(*MDP, o, "reverse")  # noqa: E731
    assert best("kl", symmetric) is None


def test_a_fisher_matrix_of_the_batch_s_own_actions_is_an_approximation():
    for definition, wanted in (("true", {}), ("empirical", {"fisher": "empirical"})):
        answer = lambda r, d=definition: r.fisher(*BATCH, d)  # noqa: E731
        assert best("fisher", answer, sampled=("mdp", "batch")) == wanted


def test_the_score_without_its_mean_is_a_mistake_wherever_it_enters():
    def score_(r, state, action):
        row = np.asarray(r.problem.observations)[[state]]
        return r.policy.logits_jacobian(r.theta, row)[0, action]

    assert best("score", score_) == {"score": "uncentred"}
    assert best("fisher", lambda r: r.fisher(*MDP, "uncentred")) == {"score": "uncentred"}
    answer = lambda r: gradient(r, critic="uncentred")  # noqa: E731
    assert best("policy_gradient", answer) == {"score": "uncentred"}


def test_a_mean_over_action_dimensions_is_a_mistake():
    for quantity in ("fisher", "fisher_vector_product", "kl"):
        answer = lambda r, *a, q=quantity: (  # noqa: E731
            np.asarray(ROUTES[q](r, *a)) / r.problem.action_size
        )
        assert best(quantity, ROUTES[quantity], "gaussian") == {}
        assert best(quantity, answer, "gaussian") == {"action_dimensions": "mean"}


def test_what_no_choice_makes_right_is_refuted():
    upper = lambda r: np.triu(fisher(r))  # noqa: E731
    assert best("fisher", upper) is None
    assert best("fisher", lambda r: np.diag(np.diag(fisher(r)))) is None
    assert best("fisher_vector_product", lambda r, v: -(fisher(r) @ v)) is None


# ---- weights and critics -----------------------------------------------------------------------


def test_weights_without_discount_are_named():
    def there(r, quantity):
        if r.measure("mdp", "undiscounted") is None:
            raise Unsupported("no stationary distribution")
        return quantity(r, ("mdp", "undiscounted"))

    wanted = {"weighting": "undiscounted"}
    assert best("fisher", lambda r: there(r, fisher)) == wanted
    assert best("policy_gradient", lambda r: there(r, gradient)) == wanted
    weights = lambda r: r.measure("mdp", "undiscounted").weights  # noqa: E731
    assert best("state_distribution", weights) == wanted


def test_uniform_state_weights_are_no_convention():
    def answer(r):
        matrix = sum(
            r.policy.logits_jacobian(r.theta, x[None])[0].T
            @ (np.diag(p) - np.outer(p, p))
            @ r.policy.logits_jacobian(r.theta, x[None])[0]
            for x, p in zip(r.problem.observations, r.probabilities, strict=True)
        )
        return matrix / r.problem.num_states

    assert best("fisher", answer) is None


@pytest.mark.parametrize("critic", ["advantage", "expected", "q", "centred", "td", "q_td"])
def test_every_critic_of_a_batch_is_free(critic):
    found = explained(
        "policy_gradient", lambda r: gradient(r, BATCH, critic), sampled=("mdp", "batch")
    ).fitting
    assert telling(found[0].choices) == {}
    assert critic in {f.choices["advantage"] for f in found}


def test_normalised_advantages_are_a_convention():
    found = best(
        "policy_gradient", lambda r: gradient(r, BATCH, "normalised"), sampled=("mdp", "batch")
    )
    assert found == {"advantage": "normalised"}


def test_an_unbiased_estimate_is_right_on_exact_batches_and_says_little():
    def noisy(r):
        exact = gradient(r, BATCH)
        return exact if r.problem.batch.exact else exact + 0.1

    found = best("policy_gradient", noisy, sampled=("mdp", "batch"), count=20)
    assert found == {"advantage": "unbiased"}
    biased = lambda r: gradient(r, BATCH) + 0.1  # noqa: E731
    assert best("policy_gradient", biased, sampled=("mdp", "batch"), count=20) is None


def test_what_is_wrong_on_one_batch_only_is_no_unbiased_estimate():
    """Noise of its own shows on every ordinary batch."""
    asked = records("policy_gradient", lambda r: r.theta, count=20)
    odd = next(r.reference for r in reversed(asked) if not r.reference.problem.batch.exact)

    def once(r):
        return gradient(r, BATCH) + (0.1 if r.problem.id == odd.problem.id else 0.0)

    assert best("policy_gradient", once, sampled=("mdp", "batch"), count=20) is None


def test_the_constant_of_a_surrogate_is_free_and_its_slope_is_not():
    def gain(r, other):
        return r.surrogate_gain(*MDP, "advantage", other)

    assert best("surrogate", lambda r, o: 3.0 + gain(r, o)) == {}
    assert best("surrogate", lambda r, o: 3.0 + 1.01 * gain(r, o)) is None
    assert best("surrogate", lambda r, o: -gain(r, o)) is None


def test_both_normalisations_of_the_occupancy_are_free():
    d = lambda r: r.evaluation.state_distribution  # noqa: E731
    assert best("state_distribution", d) == {}
    assert best("state_distribution", lambda r: d(r) / (1 - r.discount)) == {}
    assert best("state_distribution", lambda r: d(r) * (1 - r.discount)) is None


# ---- steps -------------------------------------------------------------------------------------


def proposal(r, delta, damping=0.0, in_length=0.0, factor=2.0, x=None):
    x = direction(r, damping) if x is None else x
    curvature = x @ fisher(r) @ x + in_length * (x @ x)
    return r.theta + np.sqrt(factor * delta / curvature) * x


def test_steps_are_judged_up_to_what_moves_no_policy():
    """The same logit for every action is in null(F), whatever the step."""

    def shifted(r, step):
        k, A = r.problem.observation_size, r.problem.num_actions
        common = np.repeat(np.arange(1.0, k + 1.0), A)
        return r.theta + step * direction(r) + common

    assert best("update", shifted) == {}
    assert best("update", lambda r, step: r.theta + 2 * step * direction(r)) is None
    assert best("update", lambda r, step: r.theta - step * direction(r)) is None


def test_the_length_of_a_damped_step_is_told():
    λ = 0.05
    undamped = best("trust_region_proposal", lambda r, d: proposal(r, d, λ))
    assert undamped == {"damping": pytest.approx(λ, rel=1e-6)}
    damped = best("trust_region_proposal", lambda r, d: proposal(r, d, λ, in_length=λ))
    assert damped == {"damping": pytest.approx(λ, rel=1e-6), "step_length": "damped"}
    mixed = best("trust_region_proposal", lambda r, d: proposal(r, d, λ, in_length=2 * λ))
    assert mixed is None


@pytest.mark.parametrize("factor", [1.0, 4.0, 2.0 * 1.001])
def test_a_factor_in_the_length_is_refuted(factor):
    """√(δ / xᵀFx) leaves half of the trust region unused."""
    assert best("trust_region_proposal", lambda r, d: proposal(r, d)) == {}
    assert best("trust_region_proposal", lambda r, d: proposal(r, d, factor=factor)) is None


def test_a_step_along_the_gradient_is_no_natural_gradient():
    """At best it is one iteration of conjugate gradient, and then it is called that."""
    vanilla = lambda r, d: proposal(r, d, x=gradient(r))  # noqa: E731
    assert best("trust_region_proposal", vanilla) == {"cg_iterations": 1}
    assert best("update", lambda r, step: r.theta + step * gradient(r)) is None


# ---- the line search ---------------------------------------------------------------------------


def acceptable(r, delta, theta):
    return (
        r.kl(*MDP, theta, "forward") <= delta and r.surrogate_gain(*MDP, "advantage", theta) > 0.0
    )


def searched(shrink=0.5, start=1.0, extra=0):
    """Backtracking by ``shrink``; ``extra`` further reductions after the first acceptable one."""

    def step(r, delta):
        whole = proposal(r, delta) - r.theta
        fraction = start
        for _ in range(60):
            if acceptable(r, delta, r.theta + fraction * whole):
                return r.theta + fraction * shrink**extra * whole
            fraction *= shrink
        return r.theta

    return step


@pytest.mark.parametrize("shrink", [0.5, 0.8, 0.95])
def test_an_accepted_step_is_right_whatever_the_shrinking(shrink):
    assert best("trust_region_step", searched(shrink)) == {}


def test_a_needlessly_short_step_is_refuted():
    assert best("trust_region_step", searched(0.5, extra=1)) is None
    assert best("trust_region_step", searched(0.5, start=0.25)) is None


def test_one_reduction_too_many_is_refuted_where_the_proposal_was_too_long():
    """Halved once more than needed: the double of the answer was acceptable."""

    def step(r, delta):
        whole = proposal(r, delta)
        extra = 0 if acceptable(r, delta, whole) else 1
        return searched(0.5, extra=extra)(r, delta)

    assert best("trust_region_step", step) is None


def test_a_step_beyond_the_proposal_is_refuted():
    assert best("trust_region_step", searched(0.5, start=1.5)) is None


def test_the_whole_proposal_is_refuted_where_it_leaves_the_trust_region():
    outside = [
        r
        for record in records("trust_region_proposal", proposal)
        for r in [record.reference]
        if not acceptable(r, record.probe.args[0], record.value)
    ]
    assert outside, "on some problem the proposal must not be acceptable"
    assert best("trust_region_step", proposal)["line_search"] in ("kl_slack", "improvement")


def test_staying_where_a_step_is_acceptable_is_refuted():
    assert best("trust_region_step", lambda r, delta: r.theta) is None


def test_staying_is_right_where_no_step_is_acceptable():
    """At a maximum of the surrogate nothing is gained: the rewards are all alike."""
    record = records("trust_region_step", lambda r, delta: r.theta, count=1)[0]
    problem = record.reference.problem
    flat = replace(
        problem, mdp=replace(problem.mdp, rewards=0 * problem.mdp.rewards), id="p-000000"
    )
    record = replace(record, reference=Reference(flat))
    explainer = explainer_of("trust_region_step")
    choices = next(iter(explainer.candidates([record], ("mdp",))))
    assert score(explainer, [record], choices).fits


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_gain_below_the_rounding_of_the_surrogate_is_a_tie(fraction):
    """Returns of size 1e9 beside advantages of size 1e-9: rounding decides, and may."""
    record = records("trust_region_step", lambda r, delta: r.theta, count=1)[0]
    problem = record.reference.problem
    rewards = 1e9 + 1e-9 * np.asarray(problem.mdp.rewards)
    tiny = replace(problem, mdp=replace(problem.mdp, rewards=rewards), id="p-000001")
    reference = Reference(tiny)
    # The proposal that the exact rewards give: well below the trust region's radius.
    whole = 0.1 * (proposal(record.reference, record.probe.args[0]) - problem.theta)
    answer = replace(record.answer, value=problem.theta + fraction * whole)
    record = replace(record, reference=reference, answer=answer)
    explainer = explainer_of("trust_region_step")
    choices = next(iter(explainer.candidates([record], ("mdp",))))
    assert not explainer._objection(record, choices, fraction * whole, explainer.TIE)
    assert explainer._objection(record, choices, whole, -explainer.TIE)
