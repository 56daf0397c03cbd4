"""Right steps are spared and planted mistakes are caught, by name where they have one."""

import numpy as np
import pytest

import npgcheck
from npgcheck.step.controls import campaign, heads
from npgcheck.step.controls.mistakes import MISTAKES
from npgcheck.step.controls.network import Network
from npgcheck.step.controls.trpo import Step


def complaint(outcome):
    failed = [r for r in outcome.report.results if r.status == "fail"]
    return f"{outcome.where}: {[(r.id, r.reason, r.worst) for r in failed]}"


@pytest.mark.parametrize("seed", range(24))
def test_a_right_step_is_spared(seed):
    outcome = next(campaign.right(range(seed, seed + 1)))
    assert not outcome.caught, complaint(outcome)
    judged = {r.quantity for r in outcome.report.results if r.status in ("pass", "deviates")}
    assert {"log_prob", "policy_gradient", "fisher_vector_product", "kl"} <= judged


@pytest.mark.slow
def test_a_thousand_right_steps_are_spared():
    wrong = [complaint(o) for o in campaign.right(range(10_000, 11_000)) if o.caught]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])  # seed 0 is that of `npgcheck power --steps`
def test_every_mistake_is_caught_and_named_on_every_network(seed):
    missed = [
        (o.where, o.name, o.expected, o.said)
        for o in campaign.wrong(seed)
        if not (o.caught and o.named_rightly)
    ]
    assert not missed


STAGES = {
    "categorical": (heads.categorical(4), "tanh"),
    "gaussian": (heads.gaussian(3), "silu"),
}


def _families(mistake):
    """Those in which the mistake can be made, and shows."""
    return [name for name, (head, _) in STAGES.items() if mistake.concerns(head, "float64")]


# Every second mistake in one family by default, in turns, and the rest among the slow tests.
@pytest.mark.parametrize(
    ("family", "mistake"),
    [
        pytest.param(
            family,
            mistake,
            id=f"{family}-{mistake.name}",
            marks=[]
            if place % 2 == 0 and turn == place // 2 % len(_families(mistake))
            else pytest.mark.slow,
        )
        for place, mistake in enumerate(MISTAKES)
        for turn, family in enumerate(_families(mistake))
    ],
)
def test_a_mistake_is_caught_and_named(family, mistake):
    head, activation = STAGES[family]
    network = Network((4, 10, head.width), activation, head.free)
    step = Step.draw(head, network, 60, np.random.default_rng(3))
    outcome = campaign._outcome(mistake, family, campaign.judge(mistake.apply(step)))
    assert outcome.caught
    assert outcome.named_rightly, outcome.said
    if outcome.report.declare:  # what is printed can be pasted
        made = eval(outcome.report.declare.removeprefix("conventions = "), {"npgcheck": npgcheck})
        assert made.declared()


def test_there_are_mistakes_enough():
    assert len(MISTAKES) >= 30
    assert len({m.name for m in MISTAKES}) == len(MISTAKES)


def test_a_control_that_is_right_survives():
    """The campaign can see a survivor: a "mistake" that changes nothing is not caught."""
    from npgcheck.step.controls.wrong import Mistake

    head = heads.categorical(3)
    step = Step.draw(head, Network((3, 3), "linear"), 40, np.random.default_rng(0))
    nothing = Mistake("nothing", "policy_gradient", "", lambda s: s)
    assert not campaign._outcome(nothing, "", campaign.judge(nothing.apply(step))).caught
