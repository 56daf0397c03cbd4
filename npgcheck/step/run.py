"""One run of `check_step`: every quantity that was given, judged from the policy up to the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.errors import InvalidArgument
from npgcheck.step import (
    arrays,
    declared,
    judge_direction,
    judge_fisher,
    judge_gradient,
    judge_kl,
    judge_policy,
    judge_step,
    names,
    other_inputs,
    other_systems,
    variants,
)
from npgcheck.step.calls import Declined, Faulty, Function
from npgcheck.step.differences import Differences
from npgcheck.step.krylov import Krylov
from npgcheck.step.policy import Policy, PolicyIgnoresTheta
from npgcheck.step.probes import Probes, random_directions
from npgcheck.step.rows import Rows
from npgcheck.step.system import Solve
from npgcheck.step.verdict import Verdict
from npgcheck.tolerance import CONSTANT, unit_roundoff

Array = np.ndarray

#: KL of the points at which the user's divergence is compared: where trust regions work, and far
#: enough out for its third order to show.
DIVERGENCES = (0.01, 0.3)
#: What errors of mixed precision are allowed, in units of that of the outputs.
MIXED = 4.0
#: KL at θ′ is compared up to this: where probabilities round to zero in single precision, torch's
#: own divergence is infinite.
LARGEST_DIVERGENCE = 1.0
#: A step is taken along −x where its cosine with x is below this.
ALONG = -0.1
#: Steps in which such a point is looked for, from the quadratic model on.
DIVERGENCE_STEPS = 8


class Run:
    """One run: the batch, the directions, and a verdict per quantity that was given."""

    def __init__(
        self,
        policy: Policy,
        actions: Array,
        kind_of_actions: str,
        advantages: Any,
        weights: Any,
        stated: dict[str, Any],
        max_kl: float | None,
        seed: int,
    ) -> None:
        self.policy, self.declared, self.max_kl = policy, stated, max_kl
        law = policy.distribution
        count = len(actions)
        worth, _ = arrays.vector(advantages, "advantages", count)
        normalised, self.mean_weight = _weights(weights, count)
        seen_in = unit_roundoff(policy.computed_in)
        differences = Differences(policy.outputs, policy.theta, seed, seen_in)
        if not differences.typical.any():
            raise PolicyIgnoresTheta(
                "no output of policy changes with theta: does it use its argument theta?"
            )
        self.rows = Rows(
            law,
            differences.center,
            policy.read_actions(actions),
            worth,
            normalised,
            differences,
            policy.outputs,
            policy.masked,
        )
        unit = unit_roundoff(policy.dtype)
        # mixed precision: budgets hold C u, of which the measured error is a part
        unit = max(unit, MIXED * policy.coarse / CONSTANT)
        if law.name == "tanh_gaussian":
            unit = max(unit, unit_roundoff(kind_of_actions))
        self.probes = Probes(self.rows, unit)
        for index, v in enumerate(random_directions(len(policy.theta), differences.size, seed)):
            self.probes.add(f"random {index + 1}", self.rounded(v))
        self.verdicts: list[Verdict] = []
        self.functions: list[Function] = []

    def rounded(self, vector: Array) -> Array:
        """A vector as θ's dtype holds it."""
        return arrays.any_numbers(self.policy.like(vector), "vector")[0]

    def function(self, quantity: str, argument: str, call: Any) -> Function:
        made = Function(quantity, argument, call, self.policy.like)
        self.functions.append(made)
        return made

    def ask(self, given: dict[str, Any]) -> None:
        """Judges everything that was given, from the policy up to the step."""
        size = len(self.policy.theta)
        theta = self.policy.theta
        gradient = self._gradient(given["gradient"])
        x = delta = None
        x_dtype = "float64"
        if given["direction"] is not None:
            x, x_dtype = arrays.vector(given["direction"], "direction", size)
        if given["new_theta"] is not None:
            after, _ = arrays.vector(given["new_theta"], "new_theta", size)
            delta = after - theta
        for name, vector in (("g", gradient), ("x", x), ("Δ", delta)):
            if vector is not None:
                self.probes.add(name, self.rounded(vector))
        if given["log_prob"] is not None:
            self._guarded("log_prob", lambda: self._log_prob(given["log_prob"]))
        lower: list[Verdict] = []
        if gradient is not None:
            lower.append(self._judge_gradient(gradient))
        product: Function | None = None
        if given["fisher_vector_product"] is not None:
            name = "fisher_vector_product"
            asked = self.function(name, name, given[name])
            judged = self._guarded(name, lambda: self._products(asked))
            if judged is not None:
                product = asked
                lower.append(judged)
        if given["kl"] is not None:
            self._guarded("kl", lambda: self._kl(given["kl"], delta))
        judged_x = image = None
        if x is not None and np.any(x) and product is not None:
            image = product.vector(x)
        if x is not None:
            judged_x = self._direction(x, x_dtype, gradient, product, image, lower, delta)
        if delta is not None:
            self._step(delta, x, judged_x, gradient, product, image)
        self._compare_weights()
        for verdict in self.verdicts:
            declared.hold(verdict, self.declared, self._shows)

    def _compare_weights(self) -> None:
        """Names the weights that enter one of F and g only."""
        both = ("policy_gradient", "fisher_vector_product")
        pair = [v for v in self.verdicts if v.quantity in both]
        entering = [v for v in pair if v.status in ("pass", "deviates")]
        gradient = next((v for v in pair if v.quantity == "policy_gradient"), None)
        # Σ ω_i …/N with ω as they were given, where ω/Σω is judged
        times = gradient.numbers.get("times", 0.0) if gradient is not None else 0.0
        if self.mean_weight != 1.0 and abs(times - self.mean_weight) <= 1e-9 * times:
            assert gradient is not None
            gradient.reason = (
                f"it is the exact gradient times {self.mean_weight:.6g}, the mean of the "
                "weights: they are not brought to a sum of one"
            )
            entering.append(gradient)
        without = [v for v in pair if v.numbers.get("unweighted")]
        if len(pair) == 2 and len(without) == 1:
            other = next(v for v in pair if v is not without[0])
            if other in entering:
                without[0].diagnoses = (names.named("weights-differ-between-F-and-g"),)

    def _shows(self, field: str) -> bool:
        """Whether the choices of a convention differ on this batch."""
        if field == "advantage":  # normalising what is normalised changes nothing
            mean = float(self.rows.weights @ self.rows.advantages)
            spread = float(self.rows.weights @ (self.rows.advantages - mean) ** 2) ** 0.5
            return abs(mean) > 1e-9 or abs(spread - 1.0) > 1e-6
        if field == "step_length":  # a step that backtracking shortened shows no rule
            step = next((v for v in self.verdicts if v.quantity == "trust_region_step"), None)
            return step is not None and bool(step.numbers.get("rule"))
        return True

    def _guarded(self, quantity: str, judge: Callable[[], Verdict]) -> Verdict | None:
        """A verdict, or the finding that there is no answer."""
        try:
            verdict = judge()
        except Faulty as fault:
            verdict = Verdict(quantity, status="skip", reason="no answer to judge")
            verdict.findings = [fault.finding]
            self.verdicts.append(verdict)
            return None
        except Declined as reason:
            self.verdicts.append(Verdict(quantity, status="skip", reason=str(reason)))
            return None
        self.verdicts.append(verdict)
        return verdict

    def _gradient(self, given: Any) -> Array | None:
        """The user's gradient (D,), or None with a finding."""
        if given is None:
            return None
        function = self.function("policy_gradient", "gradient", given)
        shape = self.policy.theta.shape
        try:
            if callable(given):
                return function.vector(self.policy.theta)
            return function.read(given, shape)
        except Faulty as fault:
            verdict = Verdict("policy_gradient", status="skip", reason="no answer to judge")
            verdict.findings = [fault.finding]
            self.verdicts.append(verdict)
        except Declined as reason:
            self.verdicts.append(Verdict("policy_gradient", status="skip", reason=str(reason)))
        return None

    def _judge_gradient(self, gradient: Array) -> Verdict:
        dtype = next(f.dtype for f in self.functions if f.quantity == "policy_gradient")
        verdict = judge_gradient.judge(self.probes, gradient, dtype, self.declared)
        if verdict.is_unexplained:
            other_inputs.of_gradient(self.policy, self.probes, gradient, verdict, self.declared)
        self.verdicts.append(verdict)
        return verdict

    def _log_prob(self, given: Any) -> Verdict:
        function = self.function("log_prob", "log_prob", given)
        count = len(self.rows.weights)
        if callable(given):
            answer = function.per_row(self.policy.theta, count)
        else:
            answer = function.read(given, (count,))
        verdict = judge_policy.judge_log_prob(self.probes, answer, function.dtype, self.declared)
        if verdict.is_unexplained:
            other_inputs.of_log_prob(self.policy, self.probes, answer, verdict, self.declared)
        return verdict

    def _products(self, function: Function) -> Verdict:
        answers = judge_fisher.products(function, self.probes)
        verdict = judge_fisher.judge(function, answers, self.probes, self.declared)
        if verdict.is_unexplained and all(r.status == "pass" for r in verdict.findings):
            other_inputs.of_products(self.policy, self.probes, answers, verdict, self.declared)
        return verdict

    def _kl(self, call: Any, delta: Array | None) -> Verdict:
        function = self.function("kl", "kl", call)
        theta = self.policy.theta
        fisher = next(iter(variants.fishers(self.rows)))
        points = {}
        for index, v in enumerate(self.probes.vectors[:2]):
            form = self.rows.form(fisher.curvature, v, v, fisher.weights).value
            for size in DIVERGENCES:
                point = self._at_divergence(v, form, size)
                if point is not None:
                    points[f"θ + random {index + 1}, KL ≈ {size:g}"] = point
        if delta is not None and np.any(delta):
            after = self.rounded(theta + delta)
            # far out, divergences overflow in right code too
            if self.rows.kl(after) <= LARGEST_DIVERGENCE:
                points["new_theta"] = after
        return judge_kl.judge(self.probes, function, points, theta, self.declared)

    def _at_divergence(self, v: Array, form: float, size: float) -> Array | None:
        """θ + s v whose exact KL is `size` within a factor of two, or None where none is found."""
        if not form > 0:
            return None
        s = float(np.sqrt(2.0 * size / form))
        for _ in range(DIVERGENCE_STEPS):
            point = self.rounded(self.policy.theta + s * v)
            try:
                found = self.rows.kl(point)
            except InvalidArgument:  # outputs that overflow
                found = np.inf
            if 0.5 * size <= found <= 2.0 * size:
                return point
            s *= float(np.clip(np.sqrt(size / found), 0.1, 10.0)) if found > 0 else 10.0
        return None

    def _direction(
        self,
        x: Array,
        dtype: str,
        gradient: Array | None,
        product: Function | None,
        image: Array | None,
        lower: list[Verdict],
        delta: Array | None,
    ) -> Verdict:
        if not np.any(x):
            zero = judge_direction.judge_zero(self.probes, gradient, self.declared)
            self.verdicts.append(zero)
            return zero
        krylov = None
        unit = max(self.probes.unit, unit_roundoff(dtype))
        if gradient is not None and product is not None and np.any(gradient):
            unit = max(unit, unit_roundoff(product.dtype))
            krylov = Krylov(product.vector, gradient, unit)
        seen = next((v.numbers for v in lower if v.quantity == "fisher_vector_product"), {})
        damping = seen.get("damping", 0.0)
        hidden = seen.get("floor", 0.0) if damping == 0.0 else 0.0
        ascends = None
        step = None
        if delta is not None:
            # by rounding alone, what did not move may seem to
            back = float(x @ delta) <= ALONG * float(np.linalg.norm(x) * np.linalg.norm(delta))
            ascends = back and judge_step.expected_gain(self.probes, delta) > 0
        if self.max_kl is not None:
            step = judge_step.full_length(self.probes, x, self.max_kl)
        solve = Solve(gradient, krylov, damping, tuple(lower), ascends, image, unit, step, hidden)

        def judge() -> Verdict:
            verdict = judge_direction.judge(self.probes, x, dtype, solve, self.declared)
            other_systems.retry(self.probes, x, dtype, verdict, self.declared, damping)
            return verdict

        return self._guarded("natural_gradient", judge) or self.verdicts[-1]

    def _step(
        self,
        delta: Array,
        x: Array | None,
        judged: Verdict | None,
        gradient: Array | None,
        product: Function | None,
        image: Array | None,
    ) -> None:
        of_product = next(
            (v for v in self.verdicts if v.quantity == "fisher_vector_product" and product), None
        )
        source = judged or of_product
        damping = source.numbers.get("damping", 0.0) if source is not None else 0.0
        own = float(x @ image) if x is not None and image is not None else None
        solved = judged is not None and judged.status in ("pass", "deviates")
        rounding = unit_roundoff(self.policy.dtype) * float(np.linalg.norm(self.policy.theta))
        taken = judge_step.Taken(
            delta,
            rounding,
            x,
            damping,
            self.max_kl,
            judged,
            gradient,
            own,
            unknown=not solved and (of_product is None or not damping),
            judged=next((v for v in self.verdicts if v.quantity == "policy_gradient"), None),
        )
        self.verdicts.append(judge_step.judge(self.probes, self.policy.theta, taken, self.declared))


def _weights(given: Any, count: int) -> tuple[Array, float]:
    """(N,) of sum one, and the mean of what was given."""
    if count == 0:
        raise InvalidArgument("there are no rows: actions is empty.")
    if given is None:
        return np.full(count, 1.0 / count), 1.0
    weights, _ = arrays.vector(given, "weights", count)
    if weights.min() < 0 or not weights.sum() > 0:
        raise InvalidArgument(
            f"weights must be non-negative and not all zero; the smallest is {weights.min()}, "
            f"their sum {weights.sum()}."
        )
    return weights / weights.sum(), float(weights.mean())
