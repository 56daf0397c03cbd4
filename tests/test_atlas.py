"""The registry: every entry is whole, every part that it changes exists, every name is shown."""

from __future__ import annotations

import numpy as np
import pytest

from npgcheck.conformance import explanation
from npgcheck.conformance.atlas import ATLAS, STAGES
from npgcheck.conformance.contract import QUANTITIES
from npgcheck.conformance.diagnosis import pipeline, reach, separate
from npgcheck.conformance.diagnosis.answers import ANSWERS
from npgcheck.conformance.diagnosis.worked import differ, example, pure_example

MET_IN_REAL_CODE = [
    "missing-gamma-t",
    "weights-differ-between-F-and-g",
    "per-trajectory-mean",
    "fisher-state-subsample",
    "timeout-as-terminal",
    "bootstrap-from-reset-state",
    "gae-leaks-across-episodes",
    "sampled-action-not-detached",
    "softmax-jacobian-skipped",
    "score-missing-minus-pi",
    "logprob-not-summed-over-dims",
    "std-variance-confusion",
    "clipped-action-in-logprob",
    "tanh-jacobian",
    "loss-gradient-outer-product",
    "metric-constant",
    "unit-variance-fisher",
    "joint-actor-critic-fisher",
    "centred-vs-uncentred",
    "batch-size-scale",
    "output-dim-scale",
    "preconditioner-not-applied",
    "finite-difference-eps",
    "both-sides-live",
    "epsilon-inside-kl",
    "kl-not-at-coincidence",
    "no-damping",
    "truncated-cg",
    "CG-denominator-eps",
    "absolute-tolerance",
    "factor-two",
    "const-lr-called-kl",
    "negative-curvature-policy",
    "line-search-overwritten",
    "kl-not-checked",
    "kl-slack-1.5",
    "log-std-omitted",
    "sigma-coordinate",
    "log-std-clamped",
    "softmax-gauge",
    "ascent-descent-sign",
    "order-or-transpose",
    "sum-in-g-mean-in-F",
]


def test_names_in_use_are_there():
    assert set(MET_IN_REAL_CODE) <= set(ATLAS)


@pytest.mark.parametrize("name", ATLAS)
def test_an_entry_is_whole(name):
    entry = ATLAS[name]
    assert entry.formula
    assert entry.shows
    assert entry.mend
    assert entry.atlas in STAGES
    assert entry.seen
    assert set(entry.visible) <= set(QUANTITIES)
    assert entry.default or entry.visible or entry.hidden
    if not entry.told:
        assert entry.hidden, "a name that no verdict gives needs the reason"
    for form in entry.spelled_out():
        assert set(form.change) <= reach.PARTS
        assert set(form.reads) <= reach.PARTS
    for seen in entry.seen:
        assert seen.mark != "confirmed" or seen.link or seen.where == "mips 41f43c2"
        assert not seen.link or seen.link.startswith("https://github.com/")
    if entry.number is not None:
        assert "{}" in entry.said() or entry.stage == "cg_stopping"
        assert list(entry.number.start) == sorted(set(entry.number.start)) or entry.number.whole


def test_keys_are_unique():
    keys = [(c.stage, c.value) for c in ATLAS.values()]
    assert len(keys) == len(set(keys))


def test_reads_are_declared():
    """A change that looks at a part it has not declared would be cached under the wrong choices."""
    from npgcheck import problem_sets
    from npgcheck.conformance.diagnosis.pipeline import Base, Pipeline, View
    from npgcheck.conformance.diagnosis.reach import Applied, ancestors
    from npgcheck.conformance.diagnosis.worked import sample_number
    from npgcheck.conformance.reference import Reference

    class Spy(View):
        __slots__ = ("looked",)

        def __getitem__(self, part):
            self.looked.add(part)
            return super().__getitem__(part)

    families = {"discrete": "softmax", "gaussian": "gaussian"}
    for family, members in families.items():
        pipe = Pipeline(Reference(problem_sets.designed(members)[0]), Base())
        for entry in ATLAS.values():
            if family not in entry.families:
                continue
            for form in entry.spelled_out():
                applied = Applied(form, sample_number(form))
                for part in set(form.change) & set(pipeline.DEFAULTS):
                    spy = Spy(pipe, (applied,))
                    spy.looked = set()
                    try:
                        value = pipe.get(part, ())
                        if value is not None:
                            applied.on(part, spy, value)
                    except (TypeError, AttributeError):
                        continue  # not defined for this family
                    allowed = ancestors(part).union(*(ancestors(r) for r in form.reads))
                    missing = spy.looked - allowed
                    assert not missing, f"{entry.name} ({part}) reads {missing}"


def test_parents_are_declared():
    """The default of a part reads nothing but its declared ancestors."""
    from npgcheck import problem_sets
    from npgcheck.conformance.diagnosis.pipeline import Base, Pipeline, View
    from npgcheck.conformance.diagnosis.reach import ancestors
    from npgcheck.conformance.reference import Reference

    looked: set[str] = set()

    class Spy(View):
        __slots__ = ()

        def __getitem__(self, part):
            looked.add(part)
            return super().__getitem__(part)

    for family, sampled in (("softmax", "mdp"), ("softmax", "batch"), ("gaussian", "mdp")):
        pipe = Pipeline(Reference(problem_sets.designed(family)[0]), Base(sampled=sampled))
        for part, default in pipeline.DEFAULTS.items():
            if family == "gaussian" and part in ("rewards", "logits", "pi", "jacobian", "log_pi",
                                                 "log_answer"):  # fmt: skip
                continue
            if family != "gaussian" and part in ("mean", "std", "mean_jacobian", "std_jacobian",
                                                 "node_z", "node_actions"):  # fmt: skip
                continue
            looked.clear()
            default(Spy(pipe, ()))
            assert looked <= ancestors(part), (part, looked - ancestors(part))


@pytest.mark.parametrize(
    "name", [c.name for c in ATLAS.values() if c.change and c.kind != "free" and c.told]
)
def test_a_choice_that_is_told_has_a_smallest_problem(name):
    found = example(name) or pure_example(name)
    assert found is not None
    assert differ(found.exact, found.chosen)
    assert found.quantity in ATLAS[name].visible
    text = explanation.choice_text(ATLAS[name])
    assert found.problem.id in text
    assert max(len(line) for line in text.splitlines() if "http" not in line) <= 110


@pytest.mark.parametrize("family", ["discrete", "gaussian"])
def test_the_pairs_that_nothing_separates_are_the_recorded_ones(family):
    table = separate.table(family)
    classes = separate.REASONS[family]
    assert len(table.names) > 100
    for pair in table.alike:
        assert any(set(pair) <= names for names, _ in classes), f"{pair} needs a reason"
    alike = {frozenset(p) for p in table.alike}
    for names, reason in classes:
        assert reason
        assert all(
            frozenset({a, b}) in alike
            for a in names
            for b in names
            if a < b and {a, b} <= set(table.names)
        )
    assert max(s.size for s in table.separated.values()) <= (6, 40)


def test_what_x_alone_cannot_tell():
    """Classes of the theory: (cF, cg), two signs, a vanishing F or g."""
    alike = {frozenset(p) for p in separate.table("discrete", ("natural_gradient",)).alike}
    for pair in (
        {"fisher-factor-two", "gradient-factor-two"},
        {"negative-score", "fisher-negated"},
        {"both-sides-live", "gradient-zero"},
    ):
        assert frozenset(pair) in alike
    both = separate.table("discrete", ("natural_gradient", "fisher", "policy_gradient"))
    assert (
        not alike
        & {frozenset({"fisher-factor-two", "gradient-factor-two"})}
        & {frozenset(p) for p in both.alike}
    )


def test_no_factor_of_g_shows_in_a_step_of_fixed_kl():
    alike = {frozenset(p) for p in separate.table("discrete", ("trust_region_proposal",)).alike}
    factors = ["gradient-factor-two", "horizon-factor-twice", "gradient-factor-gamma"]
    assert all(frozenset({a, b}) in alike for a in factors for b in factors if a < b)


def test_the_unchanged_pipeline_is_the_reference():
    from npgcheck import problem_sets
    from npgcheck.conformance.diagnosis.pipeline import Base, Pipeline
    from npgcheck.conformance.reference import Reference

    for family in ("tabular", "softmax", "gaussian", "mlp"):
        for problem in problem_sets.designed(family)[:3]:
            reference = Reference(problem)
            for sampled, fisher in (("mdp", "true"), ("batch", "true"), ("batch", "empirical")):
                pipe = Pipeline(reference, Base(sampled=sampled, fisher=fisher))
                exact = reference.fisher(sampled, "discounted", fisher)
                np.testing.assert_allclose(pipe.get("F", ()), exact, atol=1e-12 * abs(exact).max())
                exact = reference.gradient(sampled, "discounted")
                size = 1e-11 * max(1.0, abs(exact).max())
                np.testing.assert_allclose(pipe.get("g", ()), exact, atol=size)


def test_every_quantity_that_a_choice_is_visible_on_can_be_answered():
    elsewhere = {"trust_region_step", "train", "conjugate_gradient", "advantage_estimate"}
    assert set(ANSWERS) | elsewhere == set(QUANTITIES)
