"""What the tests of check_step share: a step of a planted program, and calls on parts of it."""

from __future__ import annotations

import numpy as np

import npgcheck
from npgcheck.step.controls import heads
from npgcheck.step.controls.network import Network
from npgcheck.step.controls.trpo import Step

BATCH = ("policy", "theta", "observations", "actions", "advantages")


def make(head=None, sizes=(4, 8), seed=0, rows=50, dtype="float64", activation="tanh", **more):
    head = head or heads.categorical(3)
    network = Network((*sizes, head.width), activation, head.free)
    return Step.draw(head, network, rows, np.random.default_rng(seed), dtype, **more)


def check(step, *names, **more):
    """check_step on the batch, on the named parts of the step, and on what is given besides."""
    whole = step.arguments()
    kept = {name: whole[name] for name in (*BATCH, *names)}
    return npgcheck.check_step(**{**kept, **more})


def result(report, quantity):
    return next(r for r in report.results if r.quantity == quantity and r.kind == "value")


def names(report, quantity):
    return [d.choice for d in result(report, quantity).diagnosis if d.kind != "free"]
