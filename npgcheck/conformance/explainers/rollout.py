"""Advantage estimates and returns of one recorded rollout, with λ and γ estimated.

The recursion Â_t = r_t − V_t + γ c_t + γλ g_t Â_{t+1} (c_t = V(s_{t+1}) unless terminated, g_t = 1
while the episode goes on) is linear in γ and γλ when the subject's own Â_{t+1} stands on the right
side. So least squares tells which γ and λ were used, for each dropped rule apart; what is judged
afterwards is the double sum with those numbers, never the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.atlas import rollouts
from npgcheck.conformance.atlas.entry import Choice
from npgcheck.conformance.choices import BY_NAME
from npgcheck.conformance.explainers.common import NothingToEstimate, elementwise
from npgcheck.conformance.explainers.pure import DROPPED_RULES, by_definition
from npgcheck.conformance.fitting import Judged, Record

Array = np.ndarray

SCALINGS = ("advantage", "centred", "normalised", "normalised_sample", "scaled")
#: Told by their rule, or by a number: which λ it was says more than that λ is ignored.
_TOLD_OTHERWISE = frozenset({"gae-lambda-ignored", "gae-other-lambda", "gae-other-discount"})
#: The mistakes of the atlas, each in the forms that it takes in estimates.
MISTAKES: tuple[Choice, ...] = tuple(
    form
    for entry in BY_NAME.values()
    if entry.name not in _TOLD_OTHERWISE
    for form in rollouts.forms(entry)
)
#: Applied to scaled estimates as well as to raw ones.
_AFTERWARDS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"absolute-advantages": np.abs, "positive-advantages-only": partial(np.maximum, 0.0)}
)
#: Under a scaling two numbers are taken off the rows: fewer rows than this show no mistake.
ENOUGH_TO_SCALE = 5
#: What people add to the standard deviation before they divide by it.
SMALL_ADDITIONS = (0.0, 1e-8, 1e-5, 1e-6, 1e-7, 1e-9, 1e-10, 1e-12, 1e-4)
#: The recursion with estimated numbers must hold to this part of the estimates' size before those
#: numbers are tried: single precision holds better, another rule does not.
CONSISTENT = 1e-3
#: Two numbers this close are one number, blurred by rounding: of float32 at most.
SAME = 1e-6


class RolloutEstimate(NothingToEstimate):
    """Â_t = Σ_l (γλ)^l δ_{t+l} within the episode (Schulman et al. 2016, eq. 16).

    Arguments are (T,) or (T, n), time first.
    """

    scalings: tuple[str, ...] = SCALINGS
    mistakes: tuple[Choice, ...] = MISTAKES

    def __init__(self) -> None:
        self._raw: dict[tuple[Any, ...], Array] = {}

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        found = []
        for scaling in self.scalings:
            for rule in ("", *DROPPED_RULES):
                bare = {"advantage": scaling, **({"episode_ends": rule} if rule else {})}
                found.append(bare)
                for numbers in _other_numbers(self.estimates(records[0]), records[0], bare):
                    found.append({**bare, **numbers})
            found += _mistakes(self.estimates(records[0]), records[0], scaling, self.mistakes)
        return found

    def estimates(self, record: Record) -> Array:
        """The answer as advantages."""
        return record.value

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        return scaled(record, self.raw(record, choices), choices)

    def raw(self, record: Record, choices: dict[str, Any]) -> Array:
        """Â under the choices, before any normalisation."""
        names = ("episode_ends", "gae_discount", "gae_lam", "_mistake", "_form", "_number",
                 "_afterwards")  # fmt: skip
        key = tuple(choices.get(name) for name in names)
        if key not in self._raw:
            self._raw[key] = self._compute(record.probe.args, choices)
        return self._raw[key]

    def _compute(self, args: tuple[Any, ...], choices: dict[str, Any]) -> Array:
        *rows, discount, lam = args
        numbers = choices.get("gae_discount", discount), choices.get("gae_lam", lam)
        if "_form" in choices and "_afterwards" not in choices:
            form = form_of(choices)
            numbers = (discount, numbers[1]) if form.stage == "gae_discount" else numbers
            number = float(choices.get("_number", choices.get("gae_discount", 0.0)))
            more = () if form.number is None else (number,)
            return _each_stream(form.change["gae"], (*rows, *numbers), more)
        rule: Any = DROPPED_RULES.get(choices.get("episode_ends", ""), {})
        arguments: Any = [*rows, *numbers]
        return by_definition(*arguments, **rule)


class RolloutReturn(RolloutEstimate):
    """Value targets: λ-returns Â_t + V(s_t), or discounted returns (the same with λ = 1)."""

    scalings = ("advantage",)
    mistakes = tuple(m for m in MISTAKES if m.name not in rollouts.OF_THE_ANSWER)

    def candidates(self, records: Sequence[Record], sampled: Sequence[str]) -> Iterable[dict]:
        # Both kinds of target are right: `_basis` 1 stands for λ = 1.
        for choices in super().candidates(records, sampled):
            yield choices
            if "gae_lam" not in choices:
                yield {**choices, "_basis": 1}

    def estimates(self, record: Record) -> Array:
        return np.asarray(record.value - record.probe.args[1])

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        numbers = {"gae_lam": 1.0} if choices.get("_basis") else {}
        raw = self.raw(record, {**choices, **numbers})
        target = raw + record.probe.args[1]
        return elementwise(record.value, target, raw_budget(record, raw, {**choices, **numbers}))


def form_of(choices: dict[str, Any]) -> Choice:
    """The form of a mistake that the choices name."""
    forms = rollouts.forms(BY_NAME[choices["_mistake"]])
    return next(f for f in forms if f.form == choices["_form"])


def _each_stream(change: Any, args: tuple[Any, ...], number: Sequence[float]) -> Array:
    """What the mistake makes of each environment's stream."""
    *rows, discount, lam = args
    if rows[0].ndim == 1:
        return np.asarray(change(args, None, *number), dtype=float)
    streams = [
        change((*(a[:, i] for a in rows), discount, lam), None, *number)
        for i in range(rows[0].shape[1])
    ]
    return np.stack(streams, axis=1).astype(float)


def _mistakes(
    estimates: Array, record: Record, scaling: str, mistakes: Sequence[Choice]
) -> Iterator[dict[str, Any]]:
    """The mistakes of the atlas under one scaling."""
    few = scaling != "advantage" and estimates.size < ENOUGH_TO_SCALE
    if few or not record.value.any():
        return
    for form in mistakes:
        bare = {"_mistake": form.name, "_form": form.form}
        named = {"advantage": scaling, form.stage: form.value, **bare, "_scaling": scaling}
        if form.number is None:
            yield named
        else:
            yield from ({**named, "_number": c} for c in _limits(estimates, record, scaling, form))
        if scaling != "advantage" and form.name in _AFTERWARDS:
            yield {**named, "_afterwards": form.name}


def _limits(estimates: Array, record: Record, scaling: str, form: Choice) -> Iterator[float]:
    """Limits at which rewards may have been cut: the largest that raw estimates stand for, and
    those in use. A limit that cuts nothing is none."""
    rewards, values, after, terminated, truncated, discount, lam = record.probe.args
    largest = float(np.abs(rewards).max())
    options = list(form.number.start) if form.number is not None else []
    if scaling == "advantage":
        following = np.concatenate([estimates[1:], np.zeros_like(estimates[:1])])
        goes_on = ~(terminated | truncated)
        implied = estimates + values - discount * np.where(terminated, 0.0, after)
        seen = float(np.abs(implied - discount * lam * goes_on * following).max())
        options += [float(f"{seen:.{digits}g}") for digits in (2, 3, 4, 6)]
    yield from dict.fromkeys(c for c in options if 0.0 < c < 0.999 * largest)


def raw_budget(record: Record, exact: Array, choices: dict[str, Any]) -> float:
    """|δÂ| ≤ C u H (max(|r|, |V|) + max|Â|), H = Σ_l (γλ)^l over the longest sum there is.

    Each residual rounds at the size of its terms and each step of the recursion at the size of Â;
    both fade with γλ on the way back to t.
    """
    rewards, values, after, terminated, truncated, discount, lam = record.probe.args
    reach = max(float(np.abs(a).max()) for a in (rewards, values, after))
    decay = float(choices.get("gae_discount", discount) * choices.get("gae_lam", lam))
    if choices.get("_mistake") == "gae-weight-missing":
        decay = 1.0
    length = _longest(terminated | truncated)
    horizon = length if decay >= 1.0 else (1.0 - decay**length) / (1.0 - decay)
    size = reach + float(np.abs(exact).max())
    return tolerance.CONSTANT * record.roundoff * horizon * size


def scaled(record: Record, exact: Array, choices: dict[str, Any]) -> Judged | None:
    """The comparison after the scaling that the choices name; None where it is undefined."""
    budget = raw_budget(record, exact, choices)
    scaling = choices.get("_scaling", choices["advantage"])
    if scaling == "advantage":
        return elementwise(record.value, exact, budget)
    centred = exact - exact.mean()
    change = _AFTERWARDS.get(choices.get("_afterwards", ""), np.asarray)
    if scaling == "centred":
        return elementwise(record.value, change(centred), 2.0 * budget)
    if exact.size < 2:
        return None
    reach, options = 2.0, []
    for spread in _spreads(exact, scaling):
        if spread <= 1e3 * budget:
            return None  # its own rounding decides what the quotient is
        shown = exact if scaling == "scaled" else centred
        options += [(change(shown / (spread + small)), spread) for small in SMALL_ADDITIONS]
    nearest, spread = min(options, key=lambda o: float(np.abs(record.value - o[0]).max()))
    reach += float(np.abs(nearest).max())
    rounding = tolerance.CONSTANT * record.roundoff
    return elementwise(record.value, nearest, reach * (budget / spread + rounding))


def _spreads(exact: Array, scaling: str) -> list[float]:
    """The standard deviations that the scaling may divide by."""
    degrees = {"normalised": (0,), "normalised_sample": (1,), "scaled": (0, 1)}[scaling]
    return [float(exact.std(ddof=d)) for d in degrees]


def _longest(ends: Array) -> int:
    """The length of the longest stretch without an end inside."""
    columns = ends.reshape(len(ends), -1).T
    longest = 1
    for column in columns:
        marks = np.concatenate([[-1], np.flatnonzero(column), [len(column) - 1]])
        longest = max(longest, int(np.diff(marks).max()))
    return longest


def _other_numbers(estimates: Array, record: Record, bare: dict[str, Any]) -> list[dict[str, Any]]:
    """(γ, λ) that satisfy the recursion, the roundest first; none when nothing does."""
    *rows, discount, lam = record.probe.args
    found = _regress(estimates, rows, discount, bare)
    if found is None:
        return []
    options: list[dict[str, Any]] = []
    for digits in (2, 3, 4, 6, 17):
        gamma, other = (_rounded(number, digits) for number in found)
        numbers = {}
        if abs(gamma - discount) > SAME:
            numbers["gae_discount"] = gamma
        if abs(other - lam) > SAME:
            numbers["gae_lam"] = other
        choices = [{k: v} for k, v in numbers.items()]
        if not bare.get("episode_ends"):
            choices += _in_one_place(*found, discount, lam, digits)
        for option in (*choices, numbers):
            if option and option not in options and _proper(option):
                options.append(option)
    return options


def _proper(option: dict[str, Any]) -> bool:
    return all(0 <= option.get(name, 0.0) <= 1 for name in ("gae_discount", "gae_lam"))


def _in_one_place(
    gamma: float, other: float, discount: float, lam: float, digits: int
) -> Iterator[dict[str, Any]]:
    """Another γ in the residuals alone, or where later residuals are weighed and nowhere else.

    The recursion tells γ and the product γλ: one of the two is then as it was said.
    """
    named = {"_mistake": "gae-other-discount"}
    if abs(gamma * other - discount * lam) <= SAME < abs(gamma - discount):
        yield {"gae_discount": _rounded(gamma, digits), **named, "_form": 1}
    if abs(gamma - discount) <= SAME < abs(other - lam) and lam > 0.0:
        yield {"gae_discount": _rounded(gamma * other / lam, digits), **named, "_form": 2}


def _rounded(number: float, digits: int) -> float:
    """To so many digits; what is zero or one up to rounding is zero or one."""
    whole = round(number)
    return float(whole) if abs(number - whole) <= SAME else float(f"{number:.{digits}g}")


def _regress(
    estimates: Array, rows: Sequence[Array], discount: float, bare: dict[str, Any]
) -> tuple[float, float] | None:
    """Least squares for (γ, λ), and for the mean and scale that a normalisation took away.

    With Â = sA + m:  r_t − V_t = sA_t + m − γ c_t − γλ g_t (sA_{t+1} + m).
    """
    rewards, values, after, terminated, truncated = rows
    rule = DROPPED_RULES.get(bare.get("episode_ends", ""), {})
    cut = np.zeros_like(terminated)
    if not rule.get("after_termination", False):
        cut = cut | terminated
    if not rule.get("after_truncation", True):
        cut = cut | truncated
    goes_on = np.ones(rewards.shape)
    goes_on[-1] = 0.0
    if rule.get("stop", True):
        goes_on = goes_on * ~(terminated | truncated)
    following = np.concatenate([estimates[1:], np.zeros_like(estimates[:1])])
    bootstrap = np.where(cut, 0.0, after)
    target, columns, names = rewards - values, [], []
    if bare["advantage"].startswith("normalised"):
        columns, names = [estimates], ["scale"]
    else:
        target = target - estimates
    columns.append(-goes_on * following)
    names.append("trace")
    if bare["advantage"] != "advantage":
        columns += [np.ones(rewards.shape), -goes_on]
        names += ["mean", "trace of the mean"]
    if not rule.get("delta_discount", True):
        target = target + bootstrap
    elif np.any(bootstrap):
        columns.append(-bootstrap)
        names.append("gae_discount")
    design = np.stack([c.ravel() for c in columns], axis=1)
    if not np.isfinite(design).all() or not np.any(following * goes_on):
        return None
    solution = np.linalg.lstsq(design, target.ravel(), rcond=None)[0]
    left = float(np.abs(design @ solution - target.ravel()).max())
    if left > CONSISTENT * float(np.abs(target).max() + np.abs(estimates).max()):
        return None
    told = dict(zip(names, solution, strict=True))
    gamma = float(told.get("gae_discount", discount))
    scale = float(told.get("scale", 1.0))
    trace_discount = rule.get("trace_discount", True)
    by = scale * (gamma if trace_discount else 1.0)
    return None if by == 0.0 else (gamma, float(told["trace"]) / by)
