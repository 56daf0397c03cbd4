"""The monitor checks an update in a live loop and leaves everything as it was."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the torch extra")
import torch
from torch import distributions as td
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch_cases import Case, Gaussian, case

import npgcheck
import npgcheck.torch
from npgcheck.torch import StepMonitor, StepRefuted, StepRefutedWarning

pytestmark = pytest.mark.torch

MEANT = npgcheck.Conventions(damping=0.1, cg_iterations=10, step_length="damped")


def forward(module, observations):
    return module(observations)


def update(c: Case, step, wrong=1.0):
    """One TRPO update as a user writes it; `wrong` scales the step."""
    parameters = c.parameters
    old = c.snapshot()
    x = c.direction()
    step.record(
        gradient=torch.autograd.grad((c.log_prob() * c.advantages).mean(), parameters),
        fisher_vector_product=c.product,
        direction=x,
        kl=lambda: c.kl(old),
        log_prob=c.log_prob().detach(),
    )
    length = torch.sqrt(2 * c.max_kl / (x @ c.product(x)))
    theta = parameters_to_vector(parameters).detach()
    vector_to_parameters(theta + wrong * length * x, parameters)


def step_once(c, wrong=1.0, **options):
    monitor = StepMonitor(c.module, forward, max_kl=c.max_kl, **options)
    with monitor.step(c.observations, c.actions, c.advantages) as step:
        update(c, step, wrong)
    return monitor, step


# -- verdicts -----------------------------------------------------------------------------------


def test_a_right_loop_passes_and_is_checked_every_nth_time():
    c = case()
    monitor = StepMonitor(c.module, forward, every=3, max_kl=c.max_kl, conventions=MEANT)
    due = []
    for _ in range(7):
        with monitor.step(c.observations, c.actions, c.advantages) as step:
            update(c, step)
        due.append(step.due)
        assert (step.report is not None) == step.due
    assert due == [True, False, False, True, False, False, True]
    assert (monitor.iteration, monitor.checked, monitor.refuted) == (7, 3, 0)
    assert {q.status for q in monitor.last.quantities} == {"pass"}
    assert len(monitor.last.quantities) == 6


def test_a_refuted_step_raises():
    with pytest.raises(StepRefuted, match="iteration 0 is refuted") as caught:
        step_once(case(), wrong=-1.0)
    assert not caught.value.report.passed
    assert caught.value.iteration == 0
    assert isinstance(caught.value, npgcheck.NpgcheckError)


def test_a_refuted_step_warns():
    with pytest.warns(StepRefutedWarning, match="trust_region_step"):
        monitor, _ = step_once(case(), wrong=3.0, on_failure="warn")
    assert (monitor.checked, monitor.refuted) == (1, 1)


def test_a_refuted_step_is_handed_on():
    reports = []
    _, step = step_once(case(), wrong=-1.0, on_failure=reports.append)
    assert reports == [step.report]


def test_the_update_itself_is_the_users_also_when_it_is_refuted():
    right, wrong = case(), case()
    step_once(right)
    step_once(wrong, wrong=-1.0, on_failure=lambda report: None)
    start = parameters_to_vector(case().parameters)
    moved = [parameters_to_vector(c.parameters) - start for c in (right, wrong)]
    torch.testing.assert_close(moved[0], -moved[1])


def test_advantages_changed_in_place_are_judged_as_they_were_given():
    c = case()
    monitor = StepMonitor(c.module, forward, max_kl=c.max_kl)
    with monitor.step(c.observations, c.actions, c.advantages) as step:
        gradient = c.gradient()
        c.advantages.mul_(7.0)
        step.record(gradient=gradient)
    assert step.report.passed


def test_a_step_that_does_not_move():
    c = case()
    monitor = StepMonitor(c.module, forward, max_kl=c.max_kl, on_failure=lambda report: None)
    with monitor.step(c.observations, c.actions, c.advantages) as step:
        step.record(gradient=c.gradient(), direction=c.direction())
    result = next(r for r in step.report.results if r.quantity == "trust_region_step")
    assert result.status == "fail"
    assert "unchanged" in result.reason


def test_an_optimiser_step_is_seen_as_one():
    """The difference of the parameters is what counts, whoever made it."""
    c = case()
    optimiser = torch.optim.SGD(c.parameters, lr=0.01)
    monitor = StepMonitor(c.module, forward)
    with monitor.step(c.observations, c.actions, c.advantages) as step:
        loss = -(c.log_prob() * c.advantages).mean()
        loss.backward()
        step.record(gradient=[-p.grad for p in c.parameters], log_prob=c.log_prob())
        optimiser.step()
    assert step.report.passed, str(step.report)


def test_a_parameter_outside_that_an_optimiser_moves_is_found():
    c = case()
    net = list(c.module.net.parameters())
    monitor = StepMonitor(c.module, forward, parameters=net, on_failure=lambda report: None)
    with (
        monitor.step(c.observations, c.actions, c.advantages) as step,
        torch.no_grad(),
    ):
        c.module.log_std.add_(0.01)
        step.record(log_prob=c.log_prob())
    assert any("log_std changed in the step" in r.reason for r in step.report.results)


# -- products that live in a graph made before the step -----------------------------------------


def graph_first(c: Case):
    """F v from a gradient of KL whose graph is built once, as many implementations do."""
    slopes = torch.autograd.grad(c.kl(c.snapshot()), c.parameters, create_graph=True)
    flat = parameters_to_vector(slopes)

    def product(vector):
        curved = torch.autograd.grad(flat @ vector, c.parameters, retain_graph=True)
        return parameters_to_vector(curved)

    return product


@pytest.mark.parametrize("how", ["vector_to_parameters", "data"])
def test_a_graph_made_before_the_step_is_still_right(how):
    c = case()
    monitor = StepMonitor(c.module, forward)
    with monitor.step(c.observations, c.actions, c.advantages) as step:
        step.record(fisher_vector_product=graph_first(c))
        new = parameters_to_vector(c.parameters).detach() + 0.01
        if how == "data":
            for p, v in zip(c.parameters, monitor.policy().split(new), strict=True):
                p.data.copy_(v)
        else:
            vector_to_parameters(new, c.parameters)
    result = next(r for r in step.report.results if r.quantity == "fisher_vector_product")
    assert result.status == "pass", str(step.report)


def test_a_graph_that_the_step_destroyed_is_no_finding_but_says_what_to_do():
    c = case()
    monitor = StepMonitor(c.module, forward)
    step = monitor.step(c.observations, c.actions, c.advantages).__enter__()
    step.record(fisher_vector_product=graph_first(c))
    with torch.no_grad():
        for p in c.parameters:
            p.add_(0.01)
    with pytest.raises(npgcheck.UsageError, match=r"step\.check\(\)"):
        step.__exit__(None, None, None)


def test_checking_before_the_parameters_change():
    c = case()
    monitor = StepMonitor(c.module, forward)
    with monitor.step(c.observations, c.actions, c.advantages) as step:
        step.record(fisher_vector_product=graph_first(c), gradient=c.gradient())
        step.check()
        with torch.no_grad():
            for p in c.parameters:
                p.add_(0.01)
    assert step.report.passed
    assert monitor.checked == 1


# -- no trace -----------------------------------------------------------------------------------


class Everything(Gaussian):
    """Batch norm, dropout, a critic, a plain tensor, a numpy array and a counter."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Dropout(0.1), nn.Tanh(), nn.Linear(6, 2)
        )
        self.critic = nn.Linear(3, 1)
        self.running = torch.zeros(3)
        self.seen = np.zeros(1)
        self.calls = 0

    def forward(self, observations):
        self.calls += 1
        self.seen += len(observations)
        self.running += observations.detach().float().mean(dim=0)
        self.last = observations
        return super().forward(observations)


def plain(name, value):
    return not name.startswith("_") and not callable(value)


def photograph(module, optimiser):
    """All that a check may disturb."""
    state = {name: t.clone() for name, t in module.state_dict().items()}
    gradients = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return {
        "state": state,
        "storage": {n: p.data_ptr() for n, p in module.named_parameters()},
        "grad": {n: g.clone() for n, g in gradients.items()},
        "grad storage": {n: g.data_ptr() for n, g in gradients.items()},
        "requires_grad": {n: p.requires_grad for n, p in module.named_parameters()},
        "version": {n: p._version for n, p in module.named_parameters()},
        "training": {n: m.training for n, m in module.named_modules()},
        "attributes": {
            n: {k: copy.deepcopy(v) for k, v in vars(m).items() if plain(k, v)}
            for n, m in module.named_modules()
        },
        "hooks": {n: len(m._forward_hooks) for n, m in module.named_modules()},
        "optimiser": copy.deepcopy(optimiser.state_dict()),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "python": random.getstate(),
        "grad mode": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }  # fmt: skip


def same(a, b):
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


def test_the_comparison_sees_a_difference():
    c = everything(training=False)
    optimiser = torch.optim.Adam(c.parameters)
    before = photograph(c.module, optimiser)
    assert same(before, photograph(c.module, optimiser))
    for disturb in (
        lambda: c.module(c.observations),
        lambda: torch.rand(1),
        lambda: c.module.train(),
        lambda: c.module.net[0].weight.data.add_(1e-6),
    ):
        disturb()
        after = photograph(c.module, optimiser)
        assert not same(before, after)
        before = after


def everything(training):
    c = case(dtype=torch.float32)
    torch.manual_seed(3)
    module = Everything()
    module(torch.randn(8, 3))
    module.train(training)
    del module.last
    return Case(module, c.observations, c.actions, c.advantages)


def sloppy(c):
    """Functions that leave gradients, statistics and random numbers behind."""

    def gradient():
        c.module.zero_grad()
        (c.log_prob() * c.advantages).mean().backward()
        np.random.rand()
        random.random()
        torch.rand(3)
        c.module.net.train()
        c.module.log_std.requires_grad_(True)
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in c.parameters]

    return gradient


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("grad_mode", [False, True])
def test_nothing_is_left_behind_by_check_step(training, grad_mode):
    c = everything(training)
    optimiser = torch.optim.Adam(c.parameters)
    (c.log_prob() * c.advantages).mean().backward()
    optimiser.step()
    c.module.critic.weight.requires_grad_(False)
    with torch.set_grad_enabled(grad_mode):
        before = photograph(c.module, optimiser)
        report = npgcheck.torch.check_step(
            c.module, forward, c.observations, c.actions, c.advantages,
            gradient=sloppy(c), kl=lambda: torch.rand(()), fixed=[],
            before={n: t + 0.01 for n, t in c.module.state_dict().items()},
        )  # fmt: skip
        after = photograph(c.module, optimiser)
    assert report.results
    different = [name for name in before if not same(before[name], after[name])]
    assert different == []


@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_left_behind_by_a_monitor(training):
    """The same loop with and without a monitor: bit for bit the same run."""
    runs = []
    for monitored in (False, True):
        c = everything(training)
        optimiser = torch.optim.Adam(c.parameters)
        monitor = StepMonitor(c.module, forward, every=2, on_failure=lambda report: None)
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        for _ in range(3):
            step = monitor.step(c.observations, c.actions, c.advantages)
            if monitored:
                step.__enter__()
            optimiser.zero_grad()
            (-(c.log_prob() * c.advantages).mean()).backward()
            if monitored:
                step.record(gradient=sloppy(c), log_prob=c.log_prob)
            optimiser.step()
            if monitored:
                step.__exit__(None, None, None)
        if hasattr(c.module, "last"):
            del c.module.last
        picture = photograph(c.module, optimiser)
        del picture["storage"], picture["grad storage"]
        runs.append((picture, monitor.checked))
    assert [checked for _, checked in runs] == [0, 2]
    different = [name for name in runs[0][0] if not same(runs[0][0][name], runs[1][0][name])]
    assert different == []


def test_the_users_own_error_goes_on_as_it_is():
    c = case()
    monitor = StepMonitor(c.module, forward)
    with pytest.raises(ZeroDivisionError), monitor.step(c.observations, c.actions, c.advantages):
        raise ZeroDivisionError
    assert monitor.checked == 0


def test_everything_is_put_back_when_the_check_itself_raises():
    c = case()
    before = c.module.state_dict()["net.0.weight"].clone()
    with pytest.raises(npgcheck.InvalidArgument, match="Beta"):
        npgcheck.torch.check_step(
            c.module,
            lambda m, o: td.Beta(torch.ones(len(o)), torch.ones(len(o))),
            c.observations, c.actions, c.advantages,
            gradient=c.gradient(), before=parameters_to_vector(c.parameters) + 1.0,
        )  # fmt: skip
    assert torch.equal(before, c.module.state_dict()["net.0.weight"])


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every"),
        ({"every": 1.5}, "every"),
        ({"on_failure": "ignore"}, "on_failure"),
        ({"parameters": ["nothing"]}, "is no parameter"),
    ],
)
def test_bad_options_are_refused_before_training(options, message):
    with pytest.raises(npgcheck.InvalidArgument, match=message):
        StepMonitor(case().module, forward, **options)


def test_what_cannot_be_recorded_is_refused_with_the_nearest_name():
    c = case()
    monitor = StepMonitor(c.module, forward, every=5)
    with monitor.step(c.observations, c.actions, c.advantages) as step:
        step.record(gradient=c.gradient())
    with (
        pytest.raises(npgcheck.UsageError, match="Did you mean 'gradient'"),
        monitor.step(c.observations, c.actions, c.advantages) as step,
    ):
        step.record(gradiant=c.gradient())
