"""npgcheck.torch.check_step: every kind of policy, right and wrong; what it finds in a module."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the torch extra")
import torch
from torch import distributions as td
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch_cases import (
    POLICIES,
    Case,
    Discrete,
    case,
    check,
    finding,
    forward,
    mlp,
    statuses,
)

import npgcheck
import npgcheck.torch

pytestmark = pytest.mark.torch

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])


def test_masked_actions_are_judged():
    mask = torch.tensor([True, True, True, False])  # the last action is never allowed

    def wrap(z):
        return td.Categorical(logits=torch.where(mask, z, -torch.inf))

    torch.manual_seed(0)
    module = Discrete(wrap=wrap).double()
    observations, advantages = torch.randn(60, 3).double(), torch.randn(60).double()
    actions = module(observations).sample()
    parameters = list(module.parameters())
    gradient = torch.autograd.grad(
        (module(observations).log_prob(actions) * advantages).mean(), parameters
    )
    old = module(observations)
    given = {"gradient": gradient, "log_prob": old.log_prob(actions).detach()}
    report = npgcheck.torch.check_step(module, forward, observations, actions, advantages, **given)
    assert report.passed, str(report)
    assert not any("do not influence" in note for note in report.notes)
    free = Discrete().double()
    free.load_state_dict(module.state_dict())
    unmasked = torch.autograd.grad(
        (free(observations).log_prob(actions) * advantages).mean(), list(free.parameters())
    )
    wrong = npgcheck.torch.check_step(
        module, forward, observations, actions, advantages, gradient=unmasked
    )
    assert not wrong.passed


class Mixed(nn.Module):
    """A network that autocast evaluates in bfloat16, in a distribution of single precision."""

    def __init__(self):
        super().__init__()
        self.net = mlp(3, 4, hidden=32)

    def forward(self, observations):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.net(observations)
        return td.Categorical(logits=logits.to(self.net[0].weight.dtype))


def test_mixed_precision_is_measured_and_allowed_for():
    torch.manual_seed(0)
    module = Mixed()
    observations = torch.randn(100, 3)
    actions = module(observations).sample()
    advantages = (actions == 1).float()  # one action is better: the gradient is no mere noise
    parameters = list(module.parameters())

    def product(vector):
        law = module(observations)
        old = td.Categorical(logits=law.logits.detach())
        kl = td.kl_divergence(old, law).mean()
        slope = torch.autograd.grad(kl, parameters, create_graph=True)
        along = parameters_to_vector(slope) @ vector
        return parameters_to_vector(torch.autograd.grad(along, parameters)) + 0.1 * vector

    def judged(factor, distribution=forward):
        law = module(observations)
        gradient = torch.autograd.grad((law.log_prob(actions) * advantages).mean(), parameters)
        return npgcheck.torch.check_step(
            module,
            distribution,
            observations,
            actions,
            advantages,
            gradient=factor * parameters_to_vector(gradient),
            log_prob=law.log_prob(actions).detach(),
            fisher_vector_product=product,
        )

    right = judged(1.0)
    assert right.passed, str(right)
    assert any("less than single precision" in note for note in right.notes)
    assert right.detection_floor > 1e-5
    assert statuses(judged(1.3))["policy_gradient"] == "fail"
    # the policy in single precision, the rest in less: nothing shows it but the digits
    apart = judged(1.0, lambda m, o: td.Categorical(logits=m.net(o)))
    assert "let policy do the same" in finding(apart, "NPG-PG-001").reason


# -- every kind of policy -----------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("name", POLICIES)
def test_a_right_step_of_every_policy_passes(name, dtype):
    c = case(name, dtype)
    meant = npgcheck.Conventions(damping=0.1, cg_iterations=10, step_length="damped")
    report = check(c, **c.answers(), conventions=meant)
    assert set(statuses(report).values()) == {"pass"}, str(report)
    assert len(statuses(report)) == 6
    assert POLICIES[name][1].replace("_", " ") in report.target


@pytest.mark.parametrize("name", POLICIES)
def test_the_products_of_the_package_are_right_too(name):
    """Written after the papers with torch's own KL: a second route to what the core computes."""
    c = case(name)
    policy = npgcheck.torch.Policy(c.module, forward)
    rows = c.observations, c.actions
    report = check(
        c,
        gradient=npgcheck.torch.policy_gradient(policy, *rows, c.advantages),
        fisher_vector_product=lambda v: npgcheck.torch.fisher_vector_product(policy, rows[0], v),
        log_prob=npgcheck.torch.log_probs(policy, *rows),
        kl=lambda theta: npgcheck.torch.mean_kl(policy, rows[0], theta),
    )
    assert set(statuses(report).values()) == {"pass"}, str(report)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    ("quantity", "change"),
    [
        ("log_prob", lambda c, a: {"log_prob": a["log_prob"] + 1e-3}),
        ("policy_gradient", lambda c, a: {"gradient": a["gradient"] * 1.01}),
        (
            "fisher_vector_product",
            lambda c, a: {"fisher_vector_product": lambda v: c.product(v**3)},
        ),
        ("kl", lambda c, a: {"kl": lambda: a["kl"]() ** 2}),
        ("natural_gradient", lambda c, a: {"direction": a["direction"].flip(0)}),
        ("trust_region_step", lambda c, a: {"new_theta": a["new_theta"] + a["direction"]}),
    ],
)
def test_a_wrong_answer_of_every_policy_is_refuted(name, quantity, change):
    c = case(name)
    answers = c.answers()
    report = check(c, **{**answers, **change(c, answers)})
    assert not report.passed
    assert statuses(report)[quantity] == "fail"


# -- how answers may come -----------------------------------------------------------------------


def test_lists_of_tensors_functions_of_theta_and_functions_of_nothing():
    c = case()
    base = c.answers()
    gradients = torch.autograd.grad((c.log_prob() * c.advantages).mean(), c.parameters)
    policy = npgcheck.torch.Policy(c.module, forward)
    old = c.snapshot()

    def kl(theta):
        return td.kl_divergence(old, policy.distribution(theta, c.observations)).mean()

    for answers in (
        {"gradient": gradients, "direction": policy.split(base["direction"])},
        {"gradient": c.gradient, "log_prob": c.log_prob},
        {"gradient": lambda theta: list(gradients), "log_prob": lambda theta: c.log_prob()},
        {"gradient": base["gradient"].numpy(), "log_prob": base["log_prob"].tolist()},
        {
            "kl": lambda theta: td.kl_divergence(
                old, policy.distribution(theta, c.observations)
            ).mean()
        },
        {"fisher_vector_product": lambda v: list(policy.split(c.product(v)))},
    ):
        report = check(c, **answers)
        assert "fail" not in statuses(report).values(), str(report)


def test_a_module_that_has_made_its_step():
    c = case()
    answers = c.answers()
    start = parameters_to_vector(c.parameters).detach().clone()
    state = copy.deepcopy(c.module.state_dict())
    vector_to_parameters(answers.pop("new_theta"), c.parameters)
    # Recorded before the step; the product is called with the module put back.
    answers["gradient"] = c.gradient
    for before in (start, state, start.numpy()):
        report = check(c, before=before, **answers)
        assert "fail" not in statuses(report).values(), str(report)
        assert "trust_region_step" in statuses(report)
    assert not torch.equal(parameters_to_vector(c.parameters), start)
    with pytest.raises(npgcheck.InvalidArgument, match="before lacks"):
        check(c, before={"net.0.weight": state["net.0.weight"]}, **answers)


def test_the_order_of_the_vector_is_the_users():
    c = case()
    names = [name for name, _ in c.module.named_parameters()][::-1]
    policy = npgcheck.torch.Policy(c.module, forward, parameters=names)
    chosen = [dict(c.module.named_parameters())[n] for n in names]
    slopes = torch.autograd.grad((c.log_prob() * c.advantages).mean(), chosen)
    flat = parameters_to_vector(slopes)
    assert check(c, gradient=flat, parameters=names).passed
    assert check(c, gradient=flat, parameters=chosen).passed
    assert not check(c, gradient=flat).passed
    assert policy.names == tuple(names)


def test_a_policy_in_two_pieces():
    net, log_std = mlp(3, 2).double(), nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def law(parts, observations):
        return td.Independent(td.Normal(parts[0](observations), parts[1].exp()), 1)

    c = case()
    loss = (law([net, log_std], c.observations).log_prob(c.actions) * c.advantages).mean()
    flat = parameters_to_vector(torch.autograd.grad(loss, [*net.parameters(), log_std]))
    pieces = [net, log_std]
    report = check(c, module=pieces, distribution=law, gradient=flat)
    assert statuses(report) == {"policy_gradient": "pass"}, str(report)
    with pytest.raises(npgcheck.InvalidArgument, match="place 1 of the list"):
        check(c, module=pieces, distribution=lambda _, o: law(pieces, o), gradient=flat)


def test_a_distribution_function_that_ignores_its_module_argument():
    c = case()
    report = check(c, distribution=lambda _, rows: c.module(rows), gradient=c.gradient())
    assert report.passed


def test_observations_in_a_dictionary():
    c = case()

    def law(module, observations):
        return module(observations["a"] + observations["b"])

    rows = {"a": c.observations, "b": torch.zeros_like(c.observations)}
    report = npgcheck.torch.check_step(
        c.module, law, rows, c.actions, c.advantages, gradient=c.gradient()
    )
    assert report.passed, str(report)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (lambda m, o: td.Beta(torch.ones(len(o)), torch.ones(len(o))), "Beta is no distribution"),
        (lambda m, o: m.net(o), "Tensor is no distribution"),
        (lambda m, o: [td.Normal(m.net(o), 1.0)], "must hold Categoricals"),
        (lambda m, o: [], "holds nothing"),
        (
            lambda m, o: td.TransformedDistribution(td.Normal(m.net(o), 1.0), td.ExpTransform()),
            "ExpTransform",
        ),
        (
            lambda m, o: td.MultivariateNormal(
                m.net(o), scale_tril=torch.tensor([[1.0, 0.0], [0.5, 1.0]], dtype=o.dtype)
            ),
            "full covariance",
        ),
        (lambda m, o: td.Normal(m.net(o)[:7], 1.0), "one row each"),
    ],
)
def test_unknown_distributions_are_refused_with_what_is_known(law, message):
    c = case()
    with pytest.raises(npgcheck.InvalidArgument, match=message):
        check(c, distribution=law, gradient=c.gradient())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": ["net.0.wieght"]}, "is no parameter of the module"),
        ({"parameters": [nn.Parameter(torch.zeros(2))]}, r"parameters\[0\], of shape \(2,\)"),
        ({"parameters": ["log_std", "log_std"]}, "twice"),
        ({"parameters": []}, "no parameters"),
        ({"parameters": "log_std"}, "list"),
        ({"fixed": ["sigma"]}, "fixed: 'sigma'"),
        ({"direction": torch.zeros(3), "gradient": None}, "direction has 3 entries"),
        ({"gradient": [torch.zeros(3)]}, "1 tensors were given for 5"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    c = case()
    with pytest.raises(npgcheck.InvalidArgument, match=message):
        check(c, **{"gradient": c.gradient(), **options})


def test_things_that_are_no_modules_and_no_functions():
    c = case()
    with pytest.raises(npgcheck.InvalidArgument, match=r"must be a torch\.nn\.Module"):
        check(c, module=object(), gradient=c.gradient())
    with pytest.raises(npgcheck.InvalidArgument, match="must be a function"):
        check(c, distribution=c.law(), gradient=c.gradient())
    with pytest.raises(npgcheck.InvalidArgument, match="not initialised"):
        check(c, module=nn.LazyLinear(2), gradient=c.gradient())
    with pytest.raises(npgcheck.UsageError, match="nothing to judge"):
        check(c)


def test_numpy_rows_are_taken():
    c = case("categorical")
    report = npgcheck.torch.check_step(
        c.module, forward, c.observations.numpy(), c.actions.numpy(), c.advantages.numpy(),
        gradient=c.gradient(), weights=np.ones(60),
    )  # fmt: skip
    assert report.passed


def test_tied_parameters_are_one_entry():
    class Tied(Discrete):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.net = nn.Sequential(self.first, nn.Tanh(), self.second)

    c = case("categorical")
    module = Tied().double()
    c = Case(module, c.observations, c.actions % 3, c.advantages)
    assert check(c, gradient=c.gradient()).passed


def saturated():
    """A policy of binary actions some of which are certain in single precision."""
    torch.manual_seed(0)
    module = nn.Linear(5, 2)
    module.weight.data *= 30
    observations = torch.randn(200, 5)

    def law(m, rows):
        return td.Independent(td.Bernoulli(logits=m(rows)), 1)

    old = td.Independent(td.Bernoulli(logits=module(observations).detach()), 1)
    actions = old.sample()
    return module, law, observations, actions, torch.randn(200), old


def test_a_divergence_that_torch_calls_infinite_is_not_accused():
    *batch, old = saturated()
    module, law, observations = batch[:3]

    def kl():
        return td.kl_divergence(old, law(module, observations)).mean()

    report = npgcheck.torch.check_step(*batch, kl=kl)
    (found,) = [r for r in report.results if r.id == "NPG-KL-001"]
    assert found.status == "skip"
    assert "round to 0 or 1 there in float32" in found.reason
    # where no probability is rounded, infinity is a finding
    c = case("bernoulli")
    assert not check(c, kl=lambda: torch.tensor(np.inf)).passed


def test_an_old_policy_that_shares_its_deviation_with_the_parameter():
    # vector_to_parameters gives parameters new storage, so this is right where that is used
    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.std = nn.Linear(3, 2), nn.Parameter(torch.full((2,), 0.5))

        def forward(self, rows):
            mean = self.mean(rows)
            return td.Independent(td.Normal(mean, self.std.expand_as(mean)), 1)

    torch.manual_seed(0)
    module, observations = Free(), torch.randn(50, 3)
    now = module(observations)
    old = td.Independent(td.Normal(now.base_dist.loc.detach(), now.base_dist.scale.detach()), 1)
    storage = module.std.data_ptr()
    report = npgcheck.torch.check_step(
        module, forward, observations, now.sample(), torch.randn(50),
        kl=lambda: td.kl_divergence(old, module(observations)).mean(),
    )  # fmt: skip
    assert report.passed
    assert module.std.data_ptr() == storage
