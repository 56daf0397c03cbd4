"""A monitor in loops that do unusual things: nothing changes, and errors say what to do."""

from __future__ import annotations

import collections

import pytest

pytest.importorskip("torch", reason="needs the torch extra")
import torch
from torch import distributions as td
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch_cases import Case, case

import npgcheck
from npgcheck.torch import StepMonitor

pytestmark = pytest.mark.torch

MEANT = npgcheck.Conventions(damping=0.1, cg_iterations=10, step_length="damped")


def forward(module, observations):
    return module(observations)


def monitor(c, module=None, **more):
    more = {"max_kl": c.max_kl, "conventions": MEANT, **more}
    return StepMonitor(module or c.module, forward, **more)


def entered(m, c):
    return m.step(c.observations, c.actions, c.advantages)


def update(c: Case, step, place=None):
    """One TRPO update that records everything; `place` puts θ′ into the module."""
    old = c.snapshot()
    with torch.enable_grad():
        x = c.direction()
        gradient = torch.autograd.grad((c.log_prob() * c.advantages).mean(), c.parameters)
        length = torch.sqrt(2 * c.max_kl / (x @ c.product(x)))
        step.record(
            gradient=gradient,
            fisher_vector_product=c.product,
            direction=x,
            kl=lambda: c.kl(old),
            log_prob=c.log_prob().detach(),
        )
    after = parameters_to_vector(c.parameters).detach() + length * x
    (place or vector_to_parameters)(after, c.parameters)
    return after


def all_pass(step):
    assert {q.status for q in step.report.quantities} == {"pass"}, str(step.report)


def replaced(module):
    """New parameters in the place of the old ones, as code does that rebuilds its layers."""

    def place(theta, _):
        start = 0
        for name, parameter in list(module.named_parameters()):
            *path, leaf = name.split(".")
            owner = module.get_submodule(".".join(path))
            size = parameter.numel()
            new = theta[start : start + size].reshape(parameter.shape).clone()
            setattr(owner, leaf, nn.Parameter(new))
            start += size

    return place


def test_parameters_that_are_replaced_rather_than_changed():
    c = case()
    m, before = monitor(c), list(c.parameters)
    with entered(m, c) as step:
        after = update(c, step, replaced(c.module))
    all_pass(step)
    present = list(c.module.parameters())
    assert torch.equal(parameters_to_vector(present), after)
    assert not any(new is old for new, old in zip(present, before, strict=True))
    assert all(p.requires_grad for p in present)


def test_a_layer_that_is_replaced():
    c = case()
    old = c.module.net
    with entered(monitor(c, on_failure=lambda report: None), c) as step:
        c.module.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
        new = c.module.net
    assert step.report is not None
    assert c.module.net is new
    assert old is not new


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
def test_updates_without_gradients(mode):
    c = case()
    m = monitor(c)
    with getattr(torch, mode)():
        with entered(m, c) as step, torch.inference_mode(False):
            update(c, step)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode == "inference_mode")
    assert torch.is_grad_enabled()
    all_pass(step)


def test_nested_blocks():
    c = case()
    m = monitor(c)
    with entered(m, c) as outer, entered(m, c) as inner:
        update(c, inner)
    all_pass(inner)
    assert outer.report.passed
    assert (m.iteration, m.checked, m.refuted) == (2, 2, 0)


def test_two_updates_in_one_block_are_an_error():
    c = case()
    m = monitor(c)

    def twice():
        with entered(m, c) as step:
            update(c, step)
            update(c, step)

    with pytest.raises(npgcheck.UsageError, match="gradient was recorded twice in iteration 0"):
        twice()
    with entered(m, c) as step:  # the same update twice is no second one
        step.record(gradient=c.gradient())
        update(c, step)
    all_pass(step)


def test_an_update_in_which_nothing_happened_is_no_refutation():
    c = case()
    m = monitor(c)
    with entered(m, c) as step:
        pass
    assert step.report is not None
    assert (m.checked, m.refuted, m.unjudged) == (1, 0, 1)


def test_a_parameter_that_becomes_nan_is_told():
    c = case()

    def diverge():
        with entered(monitor(c), c):
            for parameter in c.parameters:
                parameter.data.fill_(float("nan"))

    with pytest.raises(npgcheck.InvalidArgument, match="new_theta holds nan at index 0"):
        diverge()


class Wrapped(nn.Module):
    """A wrapper such as those for logging, with lists of its own."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.seen, self.by_call, self.last = [], {}, collections.deque(maxlen=3)

    def forward(self, observations):
        self.seen.append(len(observations))
        self.by_call[len(self.by_call)] = True
        self.last.append(1)
        return self.module(observations)


@pytest.mark.parametrize("wrapper", [nn.DataParallel, Wrapped])
def test_wrapped_modules(wrapper):
    c = case()
    module = wrapper(c.module)
    m = monitor(c, module)
    with entered(m, c) as step:
        update(c, step)
    all_pass(step)
    if wrapper is Wrapped:
        assert (module.seen, module.by_call, list(module.last)) == ([], {}, [])


def test_hooks_stay_and_still_fire():
    c = case()
    calls = []
    handle = c.module.register_forward_hook(lambda *_: calls.append(1))
    c.parameters[0].register_hook(lambda gradient: gradient)
    with entered(monitor(c), c) as step:
        update(c, step)
    all_pass(step)
    assert calls
    handle.remove()
    before = len(calls)
    c.module(c.observations)
    assert len(calls) == before


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop"])
def test_optimisers_with_state(kind):
    c = case()
    optimiser = getattr(torch.optim, kind)(c.parameters, lr=1e-3)
    twin = case()
    alone = getattr(torch.optim, kind)(twin.parameters, lr=1e-3)
    m = monitor(c, max_kl=None, conventions=None)
    for _ in range(3):
        for this, opt in ((c, optimiser), (twin, alone)):
            opt.zero_grad()
            (-(this.log_prob() * this.advantages).mean()).backward()
        with entered(m, c) as step:
            step.record(gradient=[-p.grad for p in c.parameters])
            optimiser.step()
        alone.step()
        assert step.report.passed
    # three checked updates went the way that three unchecked ones go
    for a, b in zip(c.parameters, twin.parameters, strict=True):
        assert torch.equal(a, b)


def test_after_an_error_of_the_users_the_next_update_is_checked():
    c = case()
    m = monitor(c)

    def broken():
        with entered(m, c) as step:
            update(c, step)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        broken()
    with entered(m, c) as step:
        update(c, step)
    all_pass(step)
    assert (m.iteration, m.checked) == (2, 1)


@pytest.mark.parametrize("what", ["record", "check"])
@pytest.mark.parametrize("when", ["before", "after", "after a check"])
def test_records_outside_of_the_block_are_errors(what, when):
    c = case()
    step = entered(monitor(c), c)
    said = {
        "before": "before its block was entered",
        "after": "after its block has ended",
        "after a check": r"after step\.check\(\)",
    }[when]

    def misused():
        if when == "after":
            with step:
                update(c, step)
        if when == "after a check":
            with step:
                step.record(gradient=c.gradient())
                step.check()
                getattr(step, what)()
        getattr(step, what)()

    with pytest.raises(npgcheck.UsageError, match=said):
        misused()


def test_a_step_is_entered_once():
    c = case()
    step = entered(monitor(c), c)
    with step:
        update(c, step)
    with pytest.raises(npgcheck.UsageError, match="was entered before"), step:
        pass


def test_frozen_parameters():
    c = case()
    c.module.log_std.requires_grad_(False)
    free = [p for p in c.module.parameters() if p.requires_grad]

    def gradient():
        return torch.autograd.grad((c.log_prob() * c.advantages).mean(), free)

    def all_of_them():
        with entered(monitor(c), c) as step:
            step.record(gradient=gradient())

    with pytest.raises(npgcheck.InvalidArgument, match=r"say which make up θ: parameters=\[…\]"):
        all_of_them()
    with entered(monitor(c, parameters=free, max_kl=None), c) as step:
        step.record(gradient=gradient())
    assert step.report.passed
    assert not c.module.log_std.requires_grad


Rows = collections.namedtuple("Rows", "near far")


class OfRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, rows):
        hidden = self.layer(torch.cat([rows.near, rows.far], dim=1))
        return td.Categorical(logits=hidden.to(torch.promote_types(torch.float32, hidden.dtype)))


@pytest.mark.parametrize("cast", [False, True], ids=["single", "autocast"])
def test_named_tuples_and_autocast_inside_the_block(cast):
    torch.manual_seed(0)
    module = OfRows()
    rows = Rows(torch.randn(80, 2), torch.randn(80, 3))
    actions, advantages = module(rows).sample(), torch.randn(80)
    m = StepMonitor(module, forward)
    context = torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast)
    with m.step(rows, actions, advantages) as step, context:
        surrogate = (module(rows).log_prob(actions) * advantages).mean()
        step.record(gradient=torch.autograd.grad(surrogate, list(module.parameters())))
    assert step.report.passed
    assert any("less than single precision" in note for note in step.report.notes) == cast
