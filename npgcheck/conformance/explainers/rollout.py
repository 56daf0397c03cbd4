"""Advantage estimates and returns of one recorded rollout, with λ and γ estimated.

The recursion Â_t = r_t − V_t + γ c_t + γλ g_t Â_{t+1} (c_t = V(s_{t+1}) unless terminated, g_t = 1
while the episode goes on) is linear in γ and γλ when the subject's own Â_{t+1} stands on the right
side. So least squares tells which γ and λ were used, for each dropped rule apart; what is judged
afterwards is the double sum with those numbers, never the fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npgcheck import tolerance
from npgcheck.conformance.explainers.common import NothingToEstimate, elementwise
from npgcheck.conformance.explainers.pure import DROPPED_RULES, by_definition
from npgcheck.conformance.fitting import Judged, Record

Array = np.ndarray

SCALINGS = ("advantage", "centred", "normalised", "normalised_sample")
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
        return found

    def estimates(self, record: Record) -> Array:
        """The answer as advantages."""
        return record.value

    def judge(self, record: Record, choices: dict[str, Any]) -> Judged | None:
        return scaled(record, self.raw(record, choices), choices)

    def raw(self, record: Record, choices: dict[str, Any]) -> Array:
        """Â under the choices, before any normalisation."""
        key = tuple(choices.get(name) for name in ("episode_ends", "gae_discount", "gae_lam"))
        if key not in self._raw:
            *rows, discount, lam = record.probe.args
            rule: Any = DROPPED_RULES.get(choices.get("episode_ends", ""), {})
            numbers = choices.get("gae_discount", discount), choices.get("gae_lam", lam)
            arguments: Any = [*rows, *numbers]
            self._raw[key] = by_definition(*arguments, **rule)
        return self._raw[key]


class RolloutReturn(RolloutEstimate):
    """Value targets: λ-returns Â_t + V(s_t), or discounted returns (the same with λ = 1)."""

    scalings = ("advantage",)

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


def raw_budget(record: Record, exact: Array, choices: dict[str, Any]) -> float:
    """|δÂ| ≤ C u H (max(|r|, |V|) + max|Â|), H = Σ_l (γλ)^l over the longest sum there is.

    Each residual rounds at the size of its terms and each step of the recursion at the size of Â;
    both fade with γλ on the way back to t.
    """
    rewards, values, after, terminated, truncated, discount, lam = record.probe.args
    reach = max(float(np.abs(a).max()) for a in (rewards, values, after))
    decay = float(choices.get("gae_discount", discount) * choices.get("gae_lam", lam))
    length = _longest(terminated | truncated)
    horizon = length if decay >= 1.0 else (1.0 - decay**length) / (1.0 - decay)
    size = reach + float(np.abs(exact).max())
    return tolerance.CONSTANT * record.roundoff * horizon * size


def scaled(record: Record, exact: Array, choices: dict[str, Any]) -> Judged | None:
    """The comparison after the scaling that the choices name; None where it is undefined."""
    budget = raw_budget(record, exact, choices)
    scaling = choices["advantage"]
    if scaling == "advantage":
        return elementwise(record.value, exact, budget)
    centred = exact - exact.mean()
    if scaling == "centred":
        return elementwise(record.value, centred, 2.0 * budget)
    if exact.size < 2:
        return None
    spread = float(exact.std(ddof=int(scaling == "normalised_sample")))
    if spread <= 1e3 * budget:
        return None  # its own rounding decides what the quotient is
    options = [centred / (spread + small) for small in SMALL_ADDITIONS]
    nearest = min(options, key=lambda option: float(np.abs(record.value - option).max()))
    reach = 2.0 + float(np.abs(nearest).max())
    rounding = tolerance.CONSTANT * record.roundoff
    return elementwise(record.value, nearest, reach * (budget / spread + rounding))


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
        for option in (*({k: v} for k, v in numbers.items()), numbers):
            if option and option not in options and all(0 <= v <= 1 for v in option.values()):
                options.append(option)
    return options


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
