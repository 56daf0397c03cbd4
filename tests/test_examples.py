"""Each example is judged as its reader would judge it, and a mistake planted in it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

import npgcheck

EXAMPLES = Path(__file__).parents[1] / "examples"
FEWER = 40  # problems; the designed ones come first, so nothing that an example claims is left out

right_examples = pytest.mark.parametrize(
    "name",
    [
        pytest.param("tabular_npg"),
        pytest.param("torch_trpo", marks=pytest.mark.torch),
        pytest.param("own_network", marks=pytest.mark.torch),
    ],
)


def statuses(report):
    return {q.quantity: q.status for q in report.quantities if q.status != "not_covered"}


@right_examples
def test_right_examples_pass(name):
    if name != "tabular_npg":
        pytest.importorskip("torch", reason="needs the torch extra")
    report = npgcheck.verify(EXAMPLES / f"{name}.py", examples=FEWER)
    assert set(statuses(report).values()) == {"pass"}, str(report)
    assert report.passed


def test_the_numpy_example_covers_the_whole_contract():
    from npgcheck.conformance.contract import QUANTITIES

    report = npgcheck.verify(EXAMPLES / "tabular_npg.py", examples=FEWER)
    assert set(statuses(report)) == set(QUANTITIES)


def test_the_verdict_on_the_buggy_example():
    """One mistake, in the score of policy_gradient; the rest is right or a convention."""
    report = npgcheck.verify(EXAMPLES / "buggy_npg.py", examples=FEWER)
    assert statuses(report) == {
        "policy_gradient": "fail",
        "natural_gradient": "fail",
        "fisher": "pass",
        "fisher_vector_product": "deviates",
        "kl": "pass",
    }
    explained = {q.quantity: q.explained_by for q in report.quantities if q.status == "fail"}
    assert explained == {"policy_gradient": None, "natural_gradient": "policy_gradient"}
    product = next(q for q in report.quantities if q.quantity == "fisher_vector_product")
    (damping,) = [d for d in product.value.diagnosis if d.choice == "damping"]
    assert damping.value == pytest.approx(0.1, rel=1e-6)
    assert not report.passed


def test_the_buggy_example_has_that_one_mistake_only(tmp_path):
    """With E_π φ taken off the score, everything passes or deviates by the damping."""
    text = (EXAMPLES / "buggy_npg.py").read_text(encoding="utf-8")
    wrong = "(visits * critic(problem))"
    assert text.count(wrong) == 1
    q = "critic(problem)"
    right = f"(visits * ({q} - (pi * {q}).sum(axis=1, keepdims=True)))"
    mended = tmp_path / "mended_npg.py"
    mended.write_text(text.replace(wrong, right), encoding="utf-8")
    report = npgcheck.verify(mended, examples=FEWER)
    assert set(statuses(report).values()) == {"pass", "deviates"}, str(report)


@pytest.mark.parametrize(
    ("name", "right", "wrong", "refuted"),
    [
        ("tabular_npg", "(1 - terminated)", "1", "advantage_estimate"),
        ("tabular_npg", "np.sqrt(2 * max_kl / curvature)", "np.sqrt(max_kl / curvature)",
         "trust_region_proposal"),
        ("tabular_npg", "flow = np.eye(problem.num_states) - gamma * transitions(problem).T",
         "flow = np.eye(problem.num_states) - gamma * transitions(problem)",
         "state_distribution"),
        pytest.param("torch_trpo", "Independent(Normal(mean, theta[-m:].exp().expand_as(mean)), 1)",
                     "Independent(Normal(mean, theta[-m:].exp().expand_as(mean) ** 2), 1)", "score",
                     marks=pytest.mark.torch),
        pytest.param("torch_trpo", "kl_divergence(old, policy(problem, theta, observations))",
                     "kl_divergence(old, old)", "kl", marks=pytest.mark.torch),
        pytest.param("own_network", "pushed - (pi * pushed).sum(dim=-1, keepdim=True)", "pushed",
                     "fisher_vector_product", marks=pytest.mark.torch),
    ],
)  # fmt: skip
def test_a_mistake_planted_in_an_example_is_found(tmp_path, name, right, wrong, refuted):
    if name != "tabular_npg":
        pytest.importorskip("torch", reason="needs the torch extra")
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert text.count(right) == 1
    planted = tmp_path / f"{name}_planted.py"
    planted.write_text(text.replace(right, wrong), encoding="utf-8")
    report = npgcheck.verify(planted, examples=FEWER, only=(refuted,))
    assert statuses(report)[refuted] == "fail", str(report)
