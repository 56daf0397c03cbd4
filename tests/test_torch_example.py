"""The TRPO example is right in its own loop, and each mistake planted in it is found there."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("gymnasium", reason="needs the gymnasium extra")

from npgcheck.torch import StepMonitor, StepRefuted

pytestmark = pytest.mark.torch

EXAMPLE = Path(__file__).parents[1] / "examples" / "trpo_pendulum.py"
TEXT = EXAMPLE.read_text(encoding="utf-8")

#: mistake → (what is replaced, by what), the quantity that is refuted, the name if it has one.
PLANTED = {
    "the step goes downhill": (
        ("theta + shrink * full", "theta - shrink * full"),
        ("if kl() <= MAX_KL and surrogate() > before:", "if kl() <= MAX_KL:"),
        "trust_region_step",
        "step-downhill",
    ),
    "a step shorter by √2": (
        ("torch.sqrt(2 * MAX_KL /", "torch.sqrt(MAX_KL /"),
        "trust_region_step",
        "factor-two",
    ),
    "the ratio upside down": (
        ("(actor(observations).log_prob(actions) - old_log_prob).exp()",
         "(old_log_prob - actor(observations).log_prob(actions)).exp()"),
        "trust_region_step",
        "ascent-descent-sign",
    ),
    "log π and advantages broadcast to N × N": (
        ("actor(observations).log_prob(actions) - old_log_prob).exp()",
         "actor(observations).log_prob(actions) - old_log_prob).exp()[:, None]"),
        "policy_gradient",
        None,
    ),
    "a sum over the rows": (
        ("* advantages).mean()", "* advantages).sum()"),
        "policy_gradient",
        "sum-in-g-mean-in-F",
    ),
    "the score without log σ": (
        ("Normal(self.mean(observations), self.log_std.exp())",
         "Normal(self.mean(observations), self.log_std.detach().exp())"),
        ("torch.autograd.grad(kl(), parameters, create_graph=True)",
         "torch.autograd.grad(kl(), parameters, create_graph=True, materialize_grads=True)"),
        ("torch.autograd.grad(along, parameters)",
         "torch.autograd.grad(along, parameters, materialize_grads=True)"),
        ("torch.autograd.grad(before, parameters)",
         "torch.autograd.grad(before, parameters, materialize_grads=True)"),
        "policy_gradient",
        None,
    ),
    "a Fisher matrix of every fifth row": (
        ("return kl_divergence(old, actor(observations)).mean()",
         "return kl_divergence(old, actor(observations))[::5].mean()"),
        "kl",
        None,
    ),
    "KL summed over the rows": (
        ("kl_divergence(old, actor(observations)).mean()",
         "kl_divergence(old, actor(observations)).sum()"),
        "kl",
        "batch-size-scale",
    ),
    "β of conjugate gradient upside down": (
        ("p = new + (new @ new) / (r @ r) * p", "p = new + (r @ r) / (new @ new) * p"),
        "natural_gradient",
        None,
    ),
    "conjugate gradient without conjugation": (
        ("p = new + (new @ new) / (r @ r) * p", "p = new"),
        "natural_gradient",
        None,
    ),
    "damping in the product alone that was not declared": (
        ("+ DAMPING * vector", "+ 2 * DAMPING * vector"),
        "fisher_vector_product",
        "damping",
    ),
    "a line search without a test of KL": (
        ("kl() <= MAX_KL and ", ""),
        ("torch.sqrt(2 * MAX_KL /", "torch.sqrt(8 * MAX_KL /"),
        "trust_region_step",
        None,
    ),
    "parameters in another order": (
        ("vector_to_parameters(theta + shrink * full, parameters)",
         "vector_to_parameters(theta + shrink * full.flip(0), parameters)"),
        ("if kl() <= MAX_KL and surrogate() > before:", "if True:"),
        "trust_region_step",
        None,
    ),
    "log σ forgotten": (
        ("parameters = list(actor.parameters())", "parameters = list(actor.mean.parameters())"),
        "policy_gradient",
        None,
    ),
}  # fmt: skip

ESTIMATES = {
    "a time-out as a termination": (
        ('~rows["terminated"] * rows["next_values"]',
         '~(rows["terminated"] | rows["truncated"]) * rows["next_values"]'),
        "timeout-as-terminal",
    ),
    "the sum runs on into the next episode": (
        ("LAM * goes_on[t] * running", "LAM * running"),
        "gae-leaks-across-episodes",
    ),
    "no γ in the residual": (
        ('DISCOUNT * ~rows["terminated"]', '1.0 * ~rows["terminated"]'),
        "gae-delta-without-gamma",
    ),
    "no γ in the trace": (
        ("DISCOUNT * LAM * goes_on", "LAM * goes_on"),
        "gae-trace-without-gamma",
    ),
    "another λ": (("DISCOUNT * LAM * goes_on", "DISCOUNT * 0.9 * goes_on"), "gae-other-lambda"),
}  # fmt: skip


def example(*replacements):
    """The example's names, after these replacements in its text."""
    text = TEXT
    for right, wrong in replacements:
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
    namespace = {"__name__": "trpo_pendulum"}
    exec(compile(text, str(EXAMPLE), "exec"), namespace)
    return namespace


def short(namespace, **options):
    return namespace["train"](**{"iterations": 1, "steps": 450, "every": 1, **options})


@pytest.mark.parametrize("seed", [0, 1])
def test_the_example_is_right(seed, capsys):
    monitor = short(example(), iterations=3, seed=seed)
    assert (monitor.checked, monitor.refuted) == (3, 0)
    assert {q.status for q in monitor.last.quantities if q.status != "not_covered"} == {"pass"}


def test_the_example_is_short():
    assert len(TEXT.splitlines()) <= 160
    assert TEXT.count("monitor.step(") == 1


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_refuted(mistake, capsys):
    *replacements, quantity, name = PLANTED[mistake]
    with pytest.raises(StepRefuted) as caught:
        short(example(*replacements))
    report = caught.value.report
    failed = {q.quantity: q for q in report.quantities if q.status in ("fail", "deviates")}
    assert quantity in failed, str(report)
    assert failed[quantity].explained_by is None, str(report)
    if name is not None:
        named = {d.choice for r in failed[quantity].results for d in r.diagnosis}
        assert name in named, str(report)


@pytest.mark.parametrize("mistake", ESTIMATES)
def test_a_planted_mistake_in_the_estimates_is_named(mistake, capsys):
    replacement, name = ESTIMATES[mistake]
    with pytest.raises(AssertionError, match=f"explain {name}"):
        short(example(replacement))


@pytest.mark.parametrize("mistake", PLANTED)
def test_every_mistake_trains_all_the_same_where_nobody_looks(mistake, capsys, monkeypatch):
    """What makes these mistakes dangerous: without the checks, no error and no crash."""
    monkeypatch.setattr(StepMonitor, "conclude", lambda *_: None)
    *replacements, _, _ = PLANTED[mistake]
    short(example(*replacements), iterations=2, steps=200)
    assert "iteration 1" in capsys.readouterr().out
