"""A step that goes down has the name of its maker, and none where something below explains it."""

import numpy as np
import pytest
from steps import check, make, names, result

ALL = ("gradient", "fisher_vector_product", "direction", "new_theta", "max_kl")


def alternatives(report, quantity):
    return result(report, quantity).diagnosis[0].alternatives


def full(step, x, sign=1.0):
    return step.theta + sign * np.sqrt(2 * step.max_kl / (x @ step.product(x))) * x


def another_gradient(step):
    """A gradient for which F⁻¹g goes down in the exact one, for a reason that has no name."""
    exact = step.gradient()
    rng = np.random.default_rng(1)
    g = rng.standard_normal(len(exact)) * np.linalg.norm(exact) / len(exact) ** 0.5
    solved = step.solve(exact)
    # gᵀF⁻¹g_exact below zero, as the exact gradient sees the step
    return g - 1.2 * (g @ solved) / (exact @ solved) * exact - 0.2 * exact


def test_a_step_up_a_wrong_gradient_is_explained_by_it():
    step = make(max_kl=1e-4)
    g = another_gradient(step)
    step.changed["gradient"] = lambda s, right: g
    x = step.solve(g)
    step.changed["move"] = lambda s, right, direction: full(s, x)
    report = check(step, *ALL)
    assert result(report, "policy_gradient").status == "fail"
    assert result(report, "policy_gradient").diagnosis == ()
    taken = result(report, "trust_region_step")
    assert (taken.status, taken.explained_by) == ("fail", "policy_gradient")
    assert taken.diagnosis == ()
    assert "ascent-descent-sign" not in str(report)
    # nor is the direction called flipped where it stands beside the gradient alone
    report = check(step, "gradient", "direction")
    assert "ascent-descent-sign" not in str(report)


def test_a_search_beside_a_wrong_gradient_has_no_name():
    """It may have looked at the surrogate of that gradient, with A where −A should be, say."""
    step = make(max_kl=1e-4)
    right = step.gradient()
    step.changed["gradient"] = lambda s, right: right()[::-1].copy()
    step.changed["solve"] = lambda s, solve, g: solve(right)
    step.changed["move"] = lambda s, search, x: s.theta
    report = check(step, *ALL)
    assert result(report, "trust_region_step").explained_by == "policy_gradient"


def test_a_step_along_a_wrong_direction_is_explained_by_it():
    step = make(max_kl=1e-4)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(len(step.theta))
    x -= 1.1 * (x @ step.gradient()) / (step.gradient() @ step.gradient()) * step.gradient()
    x -= 0.5 * step.gradient()
    step.changed["solve"] = lambda s, right, g: x
    step.changed["move"] = lambda s, right, direction: full(s, x)
    report = check(step, *ALL)
    taken = result(report, "trust_region_step")
    assert (taken.status, taken.explained_by) == ("fail", "natural_gradient")
    assert "ascent-descent-sign" not in str(report)


def test_an_unchanged_theta_is_explained_by_a_direction_that_goes_down():
    step = make()
    step.changed["solve"] = lambda s, right, g: -right(g)
    step.changed["move"] = lambda s, right, x: s.theta
    report = check(step, *ALL)
    assert names(report, "natural_gradient")[0] == "ascent-descent-sign"
    assert alternatives(report, "natural_gradient") == ("cg-negated",)
    assert result(report, "trust_region_step").explained_by == "natural_gradient"


def test_a_step_up_a_gradient_of_another_convention_is_no_mistake():
    """Normalised advantages have another mean: the plain gradient may call their step downhill."""
    for seed in range(40):
        step = make(seed=seed, rows=20, max_kl=1e-4)
        step.advantages = step.advantages + 5.0
        scaled = (step.advantages - step.advantages.mean()) / step.advantages.std()

        def of(worth, s=step):
            return s.pull_back(worth[:, None] * s.head.score(s.outputs(s.theta), s.actions))

        plain, normal = of(step.advantages), of(scaled)
        x = step.solve(normal)
        if x @ plain >= -1e-3 * np.linalg.norm(x) * np.linalg.norm(plain):
            continue
        step.changed["gradient"] = lambda s, right, g=normal: g
        step.changed["move"] = lambda s, right, direction, x=x: full(s, x)
        report = check(step, *ALL)
        assert result(report, "policy_gradient").status == "deviates"
        assert result(report, "trust_region_step").status == "deviates"
        assert "it goes up for the gradient that was given" in str(report).replace("\n", " ") or (
            names(report, "trust_region_step") == ["normalised-advantages"]
        )
        return
    pytest.fail("no such batch was drawn")


def test_a_right_direction_stepped_down_is_step_downhill():
    step = make(max_kl=1e-4)
    step.changed["move"] = lambda s, right, x: full(s, x, -1.0)
    report = check(step, *ALL)
    assert names(report, "trust_region_step") == ["step-downhill"]
    assert alternatives(report, "trust_region_step") == ("ascent-descent-sign",)


def test_a_direction_alone_has_every_flip_as_its_name():
    step = make()
    step.changed["solve"] = lambda s, right, g: (
        -np.linalg.solve(np.array([s.product(e) for e in np.eye(len(g))]), g)
    )
    report = check(step, "direction")
    assert names(report, "natural_gradient")[0] == "ascent-descent-sign"
    flips = {"negative-score", "advantage-negated", "gradient-of-the-loss", "cg-negated"}
    assert set(alternatives(report, "natural_gradient")) == flips
    assert all(name in str(report) for name in flips)


@pytest.mark.parametrize("given", [("direction",), ("gradient", "direction"), ALL[:3]])
def test_without_damping_the_fisher_may_be_what_is_flipped(given):
    step = make()
    step.damping = 0.0
    step.changed["solve"] = lambda s, right, g: (
        -(np.linalg.pinv(np.array([s.product(e) for e in np.eye(len(g))]), rcond=1e-9) @ g)
    )
    report = check(step, *given)
    assert names(report, "natural_gradient")[0] == "ascent-descent-sign"
    assert "fisher-negated" in alternatives(report, "natural_gradient")
    assert ("negative-score" in alternatives(report, "natural_gradient")) == (len(given) == 1)


def test_a_full_step_beyond_max_kl_may_be_an_overwritten_search():
    step = make(seed=6, max_kl=0.05)
    step.changed["move"] = lambda s, right, x: (
        s.theta + np.sqrt(2 * s.max_kl / (x @ (s.product(x) - s.damping * x))) * x
    )
    report = check(step, *ALL)
    assert names(report, "trust_region_step")[-1] == "kl-not-checked"
    assert result(report, "trust_region_step").diagnosis[-1].alternatives == (
        "line-search-overwritten",
    )


@pytest.mark.parametrize("max_kl", [None, 1e-3])
def test_a_step_without_theta_is_named(max_kl):
    step = make()
    x = step.solve(step.gradient())
    report = check(step, "direction", new_theta=0.03 * x, max_kl=max_kl)
    quantity = "trust_region_step" if max_kl else "update"
    assert names(report, quantity) == ["update-returns-the-step"]


def test_another_point_is_not_called_a_step_without_theta():
    step = make()
    x = step.solve(step.gradient())
    other = 0.03 * x + 1e-6 * np.random.default_rng(0).standard_normal(len(x))
    report = check(step, "direction", new_theta=other, max_kl=1e-3)
    assert names(report, "trust_region_step") == []
    assert result(report, "trust_region_step").status == "fail"
