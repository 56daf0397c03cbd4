"""What is said of wrong parts of a step: names with their equals, and facts that are true."""

import numpy as np
from steps import BATCH, check, make, names, result

import npgcheck
from npgcheck.step.controls import heads


def equals(report, quantity):
    return {n for d in result(report, quantity).diagnosis for n in d.alternatives}


def test_half_of_kl_in_two_dimensions_is_a_class():
    """½ KL and KL averaged over two dimensions are the same numbers: both have to be offered."""
    step = make(heads.gaussian(2))
    report = check(step, kl=lambda theta: 0.5 * step.kl(theta))
    given = {*names(report, "kl"), *equals(report, "kl")}
    assert given == {"kl-mean-over-action-dimensions", "kl-factor-two"}


def test_a_class_of_factors_of_the_product():
    step = make(heads.gaussian(2))
    report = check(step, fisher_vector_product=lambda v: 0.5 * step.product(v))
    quantity = "fisher_vector_product"
    assert {*names(report, quantity), *equals(report, quantity)} >= {
        "kl-mean-over-action-dimensions", "fisher-factor-two", "output-dim-scale"}  # fmt: skip


def test_a_right_divergence_with_little_noise_is_not_called_a_factor_of_one():
    step = make()
    rng = np.random.default_rng(0)
    report = check(step, kl=lambda t: step.kl(t) * (1 + 1e-9 * rng.standard_normal()))
    said = result(report, "kl").reason
    assert "times 1" not in said
    assert not names(report, "kl")


def test_a_product_that_forgets_the_length_gets_no_linear_fact():
    """Random directions have one length: along them F v/‖v‖ looks like a multiple of F v."""
    step = make()
    report = check(step, fisher_vector_product=lambda v: step.fisher(v) / np.linalg.norm(v) ** 2)
    assert "F v" not in result(report, "fisher_vector_product").reason
    report = check(step, fisher_vector_product=lambda v: step.product(v) / np.linalg.norm(v))
    assert names(report, "fisher_vector_product")[0] == "product-forgets-the-length"


def test_a_direction_on_the_negated_product_is_explained_by_it():
    step = make()
    step.damping = 0.0
    step.changed["fisher"] = lambda s, right, v: -right(v)
    report = check(step, "gradient", "fisher_vector_product", "direction")
    direction = result(report, "natural_gradient")
    assert direction.status == "fail"
    assert direction.explained_by == "fisher_vector_product"


def weighted(step):
    weights = np.random.default_rng(2).uniform(0.5, 2.0, len(step.actions))
    scale = weights / weights.mean()
    score = step.head.score(step.outputs(step.theta), step.actions)
    gradient = step.pull_back((scale * step.advantages)[:, None] * score)
    return weights, gradient


def test_weights_that_enter_g_alone_have_a_name():
    step = make()
    weights, gradient = weighted(step)
    report = check(step, "fisher_vector_product", weights=weights, gradient=gradient)
    assert result(report, "policy_gradient").status == "pass"
    assert names(report, "fisher_vector_product") == ["weights-differ-between-F-and-g"]


def test_weights_that_enter_nothing_are_told_in_words():
    step = make()
    report = check(step, "fisher_vector_product", "gradient", weights=weighted(step)[0])
    for quantity in ("policy_gradient", "fisher_vector_product"):
        found = result(report, quantity)
        assert found.status == "fail"
        assert "the weights that are given do not enter" in found.reason
        assert not found.diagnosis


def test_a_long_message_of_the_users_exception_is_cut():
    def product(v):
        raise ValueError("\n".join(["tensor([[nan, nan],"] * 30))

    report = check(make(), fisher_vector_product=product)
    reason = next(r.reason for r in report.results if r.kind == "contract")
    assert reason.startswith("ValueError: tensor")
    assert len(reason) < 250


def test_an_epsilon_inside_kl_costs_no_evaluations_of_the_network():
    step = make()
    calls = [0]
    whole = step.arguments()

    def policy(theta, observations):
        calls[0] += 1
        return whole["policy"](theta, observations)

    def kl(theta):
        z, new = step.outputs(step.theta), step.outputs(theta)
        p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (z, new))
        return float((p * np.log((p + 1e-6) / (q + 1e-6))).sum(axis=1).mean())

    given = {name: whole[name] for name in BATCH}
    report = npgcheck.check_step(**{**given, "policy": policy, "kl": kl})
    assert names(report, "kl") == ["epsilon-inside-kl"]
    assert result(report, "kl").diagnosis[0].value == 1e-6
    assert calls[0] < 120


def test_what_deviates_carries_the_name_to_read_on_with():
    report = check(make(), fisher_vector_product=lambda v: 0.25 * make().fisher(v))
    assert result(report, "fisher_vector_product").status == "deviates"
    assert "npgcheck explain metric-constant" in str(report)
