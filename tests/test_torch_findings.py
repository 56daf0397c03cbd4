"""What check_step finds in a torch module: chance and batch statistics left on, parameters that are
missing, moved, unused or detached."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("torch", reason="needs the torch extra")
import torch
from torch import distributions as td
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch_cases import Case, Gaussian, case, check, finding, forward, statuses

import npgcheck
import npgcheck.torch

pytestmark = pytest.mark.torch


class Noisy(Gaussian):
    def __init__(self, middle):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), middle, nn.Tanh(), nn.Linear(8, 2))


def with_module(module):
    c = case()
    return Case(module.double(), c.observations, c.actions, c.advantages)


def test_dropout_left_on_is_found_and_named():
    c = with_module(Noisy(nn.Dropout(0.2)))
    report = check(c, gradient=c.gradient())
    found = finding(report, "NPG-LP-002")
    assert found.status == "fail"
    assert "dropout is in training mode in net.1" in found.reason
    assert report.counts["mistakes"] == 1
    c.module.eval()
    assert check(c, gradient=c.gradient()).passed


def test_other_chance_is_found():
    def law(module, observations):
        return module(observations + 0.1 * torch.randn_like(observations))

    c = case()
    report = check(c, distribution=law, gradient=c.gradient())
    assert "sampling" in finding(report, "NPG-LP-002").reason


def test_dropout_in_a_critic_is_nobodys_business():
    c = case()
    c.module.critic = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    actor = [p for n, p in c.module.named_parameters() if not n.startswith("critic")]
    slopes = torch.autograd.grad((c.log_prob() * c.advantages).mean(), actor)
    report = check(c, gradient=parameters_to_vector(slopes), parameters=actor)
    assert statuses(report) == {"policy_gradient": "pass"}


def test_batch_norm_in_training_mode_deviates_and_its_statistics_stay():
    c = with_module(Noisy(nn.BatchNorm1d(8)))
    report = check(c, gradient=c.gradient())
    found = finding(report, "NPG-LP-003")
    assert found.status == "deviates"
    assert "net.1" in found.reason
    assert report.passed
    c.module.eval()
    assert statuses(check(c, gradient=c.gradient())) == {"policy_gradient": "pass"}


@pytest.mark.parametrize("middle", [nn.LayerNorm(8), nn.ReLU(), nn.Identity()])
def test_layers_that_look_at_one_row_only_are_no_findings(middle):
    c = with_module(Noisy(middle))
    assert statuses(check(c, gradient=c.gradient())) == {"policy_gradient": "pass"}


def test_a_parameter_left_out_of_the_vector():
    c = case()
    net = list(c.module.net.parameters())
    slopes = torch.autograd.grad((c.log_prob() * c.advantages).mean(), net)
    flat = parameters_to_vector(slopes)
    whole = check(c, gradient=flat)
    assert not whole.passed
    contract = next(r for r in whole.results if r.kind == "contract" and r.status == "fail")
    assert "log_std or net.2.bias has just the 2 that are missing" in contract.reason
    part = check(c, gradient=flat, parameters=net)
    assert part.passed
    assert finding(part, "NPG-LP-004").status == "deviates"
    assert "log_std" in finding(part, "NPG-LP-004").reason
    meant = check(c, gradient=flat, parameters=net, fixed=["log_std"])
    assert statuses(meant) == {"policy_gradient": "pass"}
    c.module.log_std.requires_grad_(False)
    assert statuses(check(c, gradient=flat, parameters=net)) == {"policy_gradient": "pass"}


def test_a_parameter_outside_of_the_vector_that_moved():
    c = case()
    net = list(c.module.net.parameters())
    state = copy.deepcopy(c.module.state_dict())
    with torch.no_grad():
        c.module.net[0].weight += 0.01
        c.module.log_std += 0.1
    report = check(c, before=state, parameters=net)
    assert not report.passed
    assert "log_std changed in the step" in finding(report, "NPG-LP-004").reason


def test_unused_parameters_are_noted_only():
    c = case()
    c.module.value = nn.Linear(3, 1).double()
    loss = (c.log_prob() * c.advantages).mean()
    slopes = torch.autograd.grad(loss, c.parameters, allow_unused=True)
    flat = npgcheck.torch.Policy(c.module, forward).flat(slopes)
    report = check(c, gradient=flat)
    assert statuses(report) == {"policy_gradient": "pass"}
    assert any("value.weight, value.bias do not influence" in note for note in report.notes)


def test_a_detached_parameter_is_a_mistake_in_the_gradient():
    class Detached(Gaussian):
        def forward(self, observations):
            mean = self.net(observations)
            return td.Independent(td.Normal(mean, self.log_std.detach().exp()), 1)

    c = with_module(Detached())
    slopes = torch.autograd.grad(
        (c.log_prob() * c.advantages).mean(), c.parameters, allow_unused=True
    )
    flat = npgcheck.torch.Policy(c.module, forward).flat(slopes)
    assert not check(c, gradient=flat).passed


def test_a_module_that_insists_on_single_precision():
    def law(module, observations):
        return module(observations.float())

    c = case(dtype=torch.float32)
    report = check(c, distribution=law, gradient=c.gradient())
    assert report.passed
    assert any("float64" in note for note in report.notes)


def test_a_seed_is_left_behind_nowhere():
    """torch.manual_seed would keep one for the devices that are initialised later."""
    from npgcheck.torch.state import forked

    torch.manual_seed(11)
    waiting, state = torch.cuda._lazy_seed_tracker.get_calls(), torch.get_rng_state()
    assert waiting  # else nothing is seen here
    with forked(3):
        first = torch.rand(3)
    with forked(3):
        assert torch.equal(first, torch.rand(3))
    assert torch.cuda._lazy_seed_tracker.get_calls() == waiting
    assert torch.equal(torch.get_rng_state(), state)
