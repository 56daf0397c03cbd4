"""What site/sb3-contrib.md says beyond single numbers: the verdict, the lines, the limits."""

from __future__ import annotations

import importlib
import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sb3_contrib", reason="needs the sb3 extra")
from closed_forms import DAMPING, Categorical, Gaussian, gradient

import npgcheck
from npgcheck.adapters import sb3_contrib as adapter

pytestmark = pytest.mark.sb3


@pytest.mark.parametrize(
    ("dimensions", "divergence"), [(1, 0.0081), (2, 0.0172), (3, 0.0244), (6, 0.0425)]
)
def test_accepted_steps_go_beyond_the_target(dimensions, divergence):
    """The page's averages over twenty problems, at target_kl = 0.01; to the digits quoted."""
    found = []
    for seed in range(20):
        case = Gaussian(dimensions, seed=seed, rows=200)
        step = adapter.trust_region_step(case.problem, 0.01).astype(float)
        found.append(case.kl(step, case.problem.theta))
    assert np.mean(found) == pytest.approx(divergence, abs=1e-4)


def test_dividing_the_settings_by_m_restores_the_step(monkeypatch):
    """target_kl/m and cg_damping/m: the proposal is that of F + λI and δ."""
    case, max_kl = Gaussian(5), 0.01
    monkeypatch.setattr(adapter._learner(case.problem).trpo, "cg_damping", DAMPING / 5)
    measured = adapter.trust_region_proposal(case.problem, max_kl / 5) - case.problem.theta
    whole = case.fisher(case.problem.theta) + DAMPING * np.eye(case.problem.theta.size)
    x = np.linalg.solve(whole, gradient(case))
    np.testing.assert_allclose(measured, np.sqrt(2 * max_kl / (x @ whole @ x)) * x, atol=1e-4)


def test_one_action_can_end_in_a_division_by_zero():
    """g = 0 and H = λI: the solver returns exactly 0 or stops at its start, by its draw."""
    case = Categorical()
    problem = SimpleNamespace(**{**vars(case.problem), "num_actions": 1})
    problem.theta = problem.theta[:3]
    problem.batch.actions = np.zeros_like(case.actions)
    outcomes = set()
    for _ in range(60):
        try:
            outcomes.add(bool(np.array_equal(adapter.trust_region_step(problem, 0.01),
                                             problem.theta.astype(np.float32))))  # fmt: skip
        except ZeroDivisionError:
            outcomes.add("division by zero")
    assert outcomes == {True, "division by zero"}


def test_the_policy_cannot_be_run_in_float64():
    import torch
    from sb3_contrib import TRPO

    trpo = TRPO("MlpPolicy", adapter._spaces("gaussian", 3, 2), n_steps=2, batch_size=2)
    trpo.policy.double()
    with pytest.raises(RuntimeError, match="must have the same dtype"):
        trpo.policy.get_distribution(torch.zeros(2, 3, dtype=torch.float64))


CITED = [
    ("sb3_contrib.trpo.trpo", 220, "policy_objective_grad, *_ = th.autograd.grad"),
    ("sb3_contrib.trpo.trpo", 278, "ratio = th.exp(log_prob - rollout_data.old_log_prob)"),
    ("sb3_contrib.trpo.trpo", 281, "policy_objective = (advantages * ratio).mean()"),
    ("sb3_contrib.trpo.trpo", 284, "kl_divergence(distribution, old_distribution).mean()"),
    ("sb3_contrib.trpo.trpo", 295, "search_direction = conjugate_gradient_solver("),
    ("sb3_contrib.trpo.trpo", 303, "line_search_max_step_size /= float("),
    ("sb3_contrib.trpo.trpo", 314, "for _ in range(self.line_search_max_iter)"),
    ("sb3_contrib.trpo.trpo", 336, "kl_divergence(distribution, old_distribution).mean()"),
    ("sb3_contrib.trpo.trpo", 403, "+ self.cg_damping * vector"),
    ("sb3_contrib.common.utils", 104, "x = 1e-4 * th.randn_like(b)"),
    ("sb3_contrib.common.utils", 130, "if new_residual_squared_norm < residual_tol"),
    ("stable_baselines3.common.distributions", 178, "return sum_independent_dims(log_prob)"),
    ("stable_baselines3.common.distributions", 731, ").sum(dim=1)"),
    ("stable_baselines3.common.distributions", 737, "return th.distributions.kl_divergence("),
    ("stable_baselines3.common.on_policy_algorithm", 245, "self.gamma * terminal_value"),
]


@pytest.mark.parametrize(("module", "line", "text"), CITED)
def test_cited_lines_say_what_the_page_says(module, line, text):
    import sb3_contrib
    import stable_baselines3

    if (sb3_contrib.__version__, stable_baselines3.__version__) != ("2.9.2", "2.9.2"):
        pytest.skip("the page cites the lines of 2.9.2")
    source = Path(importlib.import_module(module).__file__).read_text(encoding="utf-8")
    assert text in source.splitlines()[line - 1]


def test_the_page_shows_the_verdict(monkeypatch):
    """Statuses, diagnoses and the smallest problem; digits and seconds may differ elsewhere."""
    # A run of its own, as from the command line: the stream of random starts begins anew.
    monkeypatch.setattr(adapter, "_seeds", itertools.count())
    adapter._build.cache_clear()
    page = (Path(__file__).parents[1] / "site" / "sb3-contrib.md").read_text(encoding="utf-8")
    shown = page.split("$ npgcheck verify sb3-contrib\n")[1].split("```")[0]
    words = " ".join(shown.split())
    report = npgcheck.verify("sb3-contrib")
    for quantity in report.quantities:
        if quantity.status == "not_covered":
            assert f"  {quantity.quantity} " not in shown
            continue
        word = "FAIL" if quantity.status == "fail" else quantity.status
        assert re.search(rf"^  {quantity.quantity} +{word} ", shown, re.M), str(report)
        if quantity.explained_by:
            assert re.search(
                rf"^  {quantity.quantity} .*explained by {quantity.explained_by}", shown, re.M
            )
        elif quantity.status == "fail":
            assert quantity.value.counterexample.problem_id in shown
    notes = {d.note for r in report.results for d in r.diagnosis if d.kind != "free" and d.note}
    assert notes
    assert [note for note in notes if note not in words] == []
