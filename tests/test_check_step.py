"""The door itself: what may be given, what is said, and how requests are refused."""

import json

import numpy as np
import pytest
from steps import BATCH, check, make, names, result

import npgcheck
from npgcheck.conformance.render_json import schema
from npgcheck.step.controls import heads
from npgcheck.step.controls.network import Network
from npgcheck.step.controls.trpo import Step

# ---- what is given ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        heads.categorical(4),
        heads.bernoulli(3),
        heads.gaussian(2),
        heads.gaussian(2, state_dependent=True),
        heads.multi_discrete((3, 4, 2)),
    ],
    ids=lambda h: h.name,
)
def test_the_family_is_told_by_the_shapes(head):
    report = check(make(head), "gradient")
    assert report.passed
    assert head.name.replace("_", " ") in report.target


def test_nothing_else_is_covered():
    report = check(make(), "gradient")
    assert [q.status for q in report.quantities if q.quantity != "policy_gradient"] == (
        ["not_covered"] * 5
    )


def test_lists_and_columns_are_read():
    step = make()
    whole = step.arguments()
    report = npgcheck.check_step(
        step.policy,
        whole["theta"].tolist(),
        whole["observations"],
        whole["actions"].tolist(),
        whole["advantages"][:, None],
        gradient=whole["gradient"].tolist(),
        log_prob=whole["log_prob"].tolist(),
    )
    assert report.passed


def test_functions_of_theta_are_called():
    step = make()
    report = check(step, gradient=lambda theta: step.gradient(), log_prob=lambda t: step.log_prob())
    assert report.passed
    assert result(report, "log_prob").problems == 50


def test_weights_are_the_measure():
    step = make()
    weights = 0.9 ** np.arange(50)
    score = step.head.score(step.outputs(step.theta), step.actions)
    column = (weights / weights.sum() * step.advantages)[:, None]
    gradient = step.network.vjp(step.theta, step.observations, column * score)
    assert check(step, gradient=gradient, weights=weights).passed
    assert not check(step, gradient=gradient).passed


def test_squashed_actions():
    step = make(heads.gaussian(2))
    whole = step.arguments()
    squashed = np.tanh(step.actions)
    log_prob = step.log_prob() - np.log1p(-(squashed**2)).sum(axis=1)
    given = {name: whole[name] for name in BATCH if name != "actions"}
    given.update(actions=squashed, gradient=whole["gradient"], distribution="tanh_gaussian")
    assert npgcheck.check_step(**given, log_prob=log_prob).passed
    report = npgcheck.check_step(**given, log_prob=step.log_prob())
    assert names(report, "log_prob") == ["tanh-jacobian"]


def test_parameters_that_the_policy_does_not_use():
    head = heads.categorical(3)
    network = Network((4, 8, 3), "tanh", 0, unused=6)
    step = Step.draw(head, network, 60, np.random.default_rng(1))
    whole = step.arguments()
    assert npgcheck.check_step(**whole).passed
    moved = whole["new_theta"].copy()
    moved[-6:] += 0.1  # a critic in the same vector took a step of its own
    report = npgcheck.check_step(**{**whole, "new_theta": moved})
    assert report.passed
    assert "does not use" in result(report, "trust_region_step").reason


def test_the_users_arrays_are_left_alone():
    step = make()
    whole = step.arguments()
    before = {k: np.copy(whole[k]) for k in ("theta", "observations", "actions", "advantages")}

    def greedy(vector):
        out = step.product(vector)
        vector *= 0  # a product that overwrites its argument
        return out

    npgcheck.check_step(**{**whole, "fisher_vector_product": greedy})
    for name, array in before.items():
        assert (whole[name] == array).all()


def test_a_direction_of_zero():
    step = make()
    zero = np.zeros_like(step.theta)

    def judged(factor):
        whole = {name: step.arguments()[name] for name in BATCH}
        whole["advantages"] = factor * step.advantages
        return npgcheck.check_step(**whole, gradient=factor * step.gradient(), direction=zero)

    assert result(judged(1.0), "natural_gradient").status == "fail"
    assert names(judged(1e-9), "natural_gradient") == ["absolute-tolerance"]
    assert judged(1e-9).passed
    assert result(judged(0.0), "natural_gradient").status == "pass"


# ---- conventions ------------------------------------------------------------------------------


def test_declared_conventions_pass():
    step = make(heads.gaussian(3), (6, 16, 16), rows=200)
    report = npgcheck.check_step(**step.arguments())
    assert [q.status for q in report.quantities].count("deviates") == 3
    assert report.declare == (
        "conventions = npgcheck.Conventions(damping=0.1, cg_iterations=10, step_length='damped')"
    )
    declared = npgcheck.Conventions(damping=0.1, cg_iterations=10, step_length="damped")
    again = npgcheck.check_step(**step.arguments(), conventions=declared)
    assert {q.status for q in again.quantities} == {"pass"}


@pytest.mark.parametrize(
    ("quantity", "conventions", "said"),
    [
        ("fisher_vector_product", {"damping": 0.2}, "λ = 0.2 is declared"),
        ("natural_gradient", {"damping": 0.2}, "λ = 0.2 is declared"),
        ("natural_gradient", {"cg_iterations": 7}, "7 iterations are declared"),
        ("policy_gradient", {"advantage": "normalised"}, "but advantage='advantage' shows"),
        ("policy_gradient", {"entropy": 0.01}, "entropy=0.01 is declared"),
        ("fisher_vector_product", {"fisher": "empirical"}, "fisher='empirical' is declared"),
        ("trust_region_step", {"step_length": "undamped"}, "but step_length='damped' shows"),
    ],
)
def test_a_broken_declaration_fails(quantity, conventions, said):
    step = make(heads.gaussian(3), (6, 16, 16), rows=200)
    report = npgcheck.check_step(
        **step.arguments(), conventions=npgcheck.Conventions(**conventions)
    )
    found = result(report, quantity)
    assert found.status == "fail"
    assert said in found.reason


def test_an_entropy_bonus_can_be_declared():
    step = make()
    bonus = step.pull_back(0.01 * step.head.entropy_score(step.outputs(step.theta)))
    gradient = step.gradient() + bonus
    report = check(step, gradient=gradient)
    assert names(report, "policy_gradient") == ["entropy-bonus"]
    assert report.declare == "conventions = npgcheck.Conventions(entropy=0.01)"
    assert check(step, gradient=gradient, conventions=npgcheck.Conventions(entropy=0.01)).passed


def test_damping_of_the_solve_alone():
    step = make(heads.gaussian(2), (5, 12), rows=150)
    report = check(step, "gradient", "direction", fisher_vector_product=step.fisher)
    assert result(report, "fisher_vector_product").status == "pass"
    assert "damping" in names(report, "natural_gradient")
    assert result(report, "natural_gradient").diagnosis[0].value == pytest.approx(0.1)


def test_a_solve_with_another_damping_than_the_product_is_a_finding():
    step = make(heads.gaussian(2), (5, 12), rows=150, damping=0.3, iterations=60)
    direction = step.solve(step.gradient())
    step.damping = 0.1
    report = check(step, "gradient", "fisher_vector_product", direction=direction)
    found = result(report, "natural_gradient")
    assert found.status == "fail"
    assert "the product is damped by λ = 0.1, the solve by λ = 0.3" in found.reason


@pytest.mark.parametrize("damping", [0.01, 0.1, 0.123456])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_damping_far_above_the_matrix_leaves_a_multiple_of_the_gradient(damping, dtype):
    """x = g/λ nearly, with λ in the solver: round numbers are read off, others are no crash."""
    step = make(rows=60, dtype=dtype, damping=0.0)
    tiny = np.asarray(1e-13, dtype)

    def product(v):
        return tiny * step.fisher(v)

    x = step.gradient() / step.theta.dtype.type(damping)
    alone = result(check(step, "gradient", direction=x), "natural_gradient")
    assert alone.status in ("fail", "skip", "deviates")
    report = check(step, "gradient", fisher_vector_product=product, direction=x)
    assert result(report, "natural_gradient").status in ("fail", "deviates")


# ---- facts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda g: 0.37 * g, "times 0.37"),
        (lambda g: np.sqrt(0.5) * g, "times √(1/2)"),
        (lambda g: 0 * g, "it is zero"),
        (lambda g: g * (np.arange(len(g)) < len(g) - 3), "zero at 64–66 of its 67 coordinates"),
        (lambda g: g * (np.arange(len(g)) >= 40), "zero at 0–39 of its 67 coordinates"),
        (lambda g: g * (1 + (np.arange(len(g)) == 7)), "wrong only at 7,"),
        (lambda g: g * 50 / 49, "times N/(N − 1)"),
        (lambda g: g[::-1], "another order"),
    ],
)
def test_facts_about_a_wrong_gradient(wrong, said):
    step = make()
    report = check(step, gradient=wrong(step.gradient()))
    assert said in result(report, "policy_gradient").reason


def test_where_many_coordinates_are_wrong():
    step = make(sizes=(8, 32, 32), rows=300)
    g = step.gradient()
    g[:40] *= 1.5
    assert "wrong only within 0–" in result(check(step, gradient=g), "policy_gradient").reason
    g = step.gradient()
    g[:1000] = 0
    said = result(check(step, gradient=g), "policy_gradient").reason
    assert "zero at 0–999 of its" in said
    assert "is that part detached" in said


def test_a_divergence_in_bits_is_told():
    step = make()
    report = check(step, kl=lambda theta: step.kl(theta) / np.log(2.0))
    assert [d.choice for d in result(report, "kl").diagnosis] == ["log-base-two"]


def test_a_scaled_direction_is_told_with_its_factor():
    step = make(heads.gaussian(2), (5, 12), rows=150)
    whole = step.arguments()
    report = npgcheck.check_step(**{**whole, "direction": 2 * whole["direction"]})
    assert "the solution times 2" in result(report, "natural_gradient").reason
    # what follows from it is not a second mistake
    assert result(report, "trust_region_step").explained_by == "natural_gradient"
    assert report.counts["mistakes"] == 1


def test_the_step_in_place_of_its_direction():
    step = make(heads.gaussian(2), (5, 12), rows=150, max_kl=1e-4, length="undamped")
    whole = step.arguments()
    delta = whole["new_theta"] - whole["theta"]
    report = npgcheck.check_step(**{**whole, "direction": delta})
    assert "this is the step, not its direction" in result(report, "natural_gradient").reason


def test_a_diagonal_product_is_told():
    step = make()
    diagonal = np.array([step.fisher(e) @ e for e in np.eye(len(step.theta))])
    report = check(step, fisher_vector_product=lambda v: diagonal * v)
    assert names(report, "fisher_vector_product") == ["diagonal-fisher"]
    report = check(step, fisher_vector_product=lambda v: diagonal**0.5 * v)
    assert result(report, "fisher_vector_product").status == "fail"


def test_a_product_that_is_not_linear_or_symmetric():
    step = make()
    report = check(step, fisher_vector_product=lambda v: step.fisher(v) + 0.1 * np.abs(v))
    failed = {r.id for r in report.results if r.status == "fail"}
    assert {"NPG-FV-001", "NPG-FV-002", "NPG-FV-005"} <= failed
    report = check(step, fisher_vector_product=lambda v: -step.fisher(v))
    assert "NPG-FV-003" in {r.id for r in report.results if r.status == "fail"}


def test_without_the_product_a_truncated_direction_is_not_judged():
    step = make(heads.gaussian(3), (6, 16, 16), rows=200)
    found = result(check(step, "gradient", "direction"), "natural_gradient")
    assert found.status == "skip"
    flipped = -step.solve(step.gradient())
    found = result(check(step, "gradient", direction=flipped), "natural_gradient")
    assert [d.choice for d in found.diagnosis] == ["ascent-descent-sign"]
    overshot = 5 * step.solve(step.gradient())
    found = result(check(step, direction=overshot), "natural_gradient")
    assert "xᵀFx exceeds gᵀx" in found.reason


def test_an_exact_direction_needs_no_product():
    step = make(heads.categorical(3), (3,), rows=100, activation="linear", damping=0.01)
    matrix = np.array([step.product(e) for e in np.eye(len(step.theta))])
    direction = np.linalg.solve(matrix, step.gradient())
    report = check(step, "gradient", direction=direction)
    assert names(report, "natural_gradient") == ["damping"]
    assert result(report, "natural_gradient").diagnosis[0].value == pytest.approx(0.01)


# ---- the report -------------------------------------------------------------------------------


def test_the_report_follows_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    step = make(heads.gaussian(2))
    report = npgcheck.check_step(**{**step.arguments(), "gradient": 2 * step.gradient()})
    plain = json.loads(json.dumps(report.to_json()))
    jsonschema.validate(plain, schema())
    assert plain["door"] == "check_step"


def test_the_text_reads():
    step = make(heads.gaussian(2), rows=80)
    text = str(npgcheck.check_step(**step.arguments()))
    assert text.startswith("check_step · gaussian, 2 dimensions · 80 rows · D = 60 · float64")
    assert "comparisons" in text
    assert "problems" not in text
    assert "Reproduce" not in text


def test_the_same_request_gives_the_same_verdict():
    step = make(heads.gaussian(2))
    first, second = (npgcheck.check_step(**step.arguments()) for _ in range(2))
    assert first.results == second.results
    other = npgcheck.check_step(**step.arguments(), seed=1)
    assert [r.status for r in other.results] == [r.status for r in first.results]


def test_single_precision_is_judged_in_double_where_the_policy_allows():
    step = make(heads.gaussian(2), dtype="float32")
    sharp = check(step, "gradient", "fisher_vector_product")

    def only_single(theta, observations):
        assert np.asarray(theta).dtype == np.float32
        return step.policy(theta, observations)

    blunt = check(step, "gradient", "fisher_vector_product", policy=only_single)
    assert sharp.passed
    assert blunt.passed
    assert not sharp.notes
    assert any("float32 only" in note for note in blunt.notes)
