"""From the names of choices to the diagnoses and the status of a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from npgcheck.conformance.choices import BY_NAME, Choice
from npgcheck.conformance.naming import KEYWORD, note_of
from npgcheck.conformance.report import Diagnosis, Status

#: Name → the value of the field of Conventions that declares it, where that is not the number.
_VALUES = {
    "empirical-fisher": "empirical",
    "normalised-advantages": "normalised",
    "normalised-advantages-sample-std": "normalised_sample",
    "damped-length": "damped",
    "reverse-kl": "reverse",
    "gradient-of-the-loss": "loss",
}
#: Name → the field that declares it, where it is not that of its stage.
_FIELDS = {
    "entropy-bonus": "entropy",
    "gradient-of-the-loss": "gradient_of",
    "empirical-fisher": "fisher",
    "reverse-kl": "kl_direction",
}


#: Digits that answers of mixed precision share with the exact ones.
MIXED_DIGITS = (1.5, 3.5)
#: What is said of a mean over the rows that leaves the given weights out.
UNWEIGHTED = "it is the plain mean over the rows: the weights that are given do not enter"
#: Names of a gradient with the other sign.
FLIPS = ("negative-score", "advantage-negated", "gradient-of-the-loss")
#: The cost of the cheapest explanation that is not what was asked for.
ONE_CONVENTION = (1, 1.0)
#: Explanations that cost so much hold two bugs.
TWO_BUGS = 20.0


@cache
def entry(name: str) -> Choice:
    """The registered choice of this name."""
    return BY_NAME[name]


def named(name: str, value: float | None = None, note: str = "") -> Diagnosis:
    """The diagnosis of one choice.

    Args:
        name: of a registered choice.
        value: its estimated number, if it has one.
        note: what it does in words; the registry's own when "".
    """
    choice = entry(name)
    said = note or note_of(name, value)
    return Diagnosis(choice.stage, name, choice.kind, value, said)


def combined(choices: Iterable[str], note: str = "") -> list[Diagnosis]:
    """The diagnoses of several choices at once; the note is that of the first."""
    return [named(name, note="" if index else note) for index, name in enumerate(choices)]


def damped(number: float) -> list[Diagnosis]:
    """The diagnosis of a damping λ; of none, where it is zero."""
    return [named("damping", number)] if number else []


def together(diagnoses: list[Diagnosis], others: Iterable[list[Diagnosis]]) -> list[Diagnosis]:
    """The diagnoses, with the names of other explanations of the same numbers as alternatives."""

    def told(found: Iterable[Diagnosis]) -> str:
        return " + ".join(d.choice for d in found if d.kind == "bug" or d.value is None)

    own = told(diagnoses)
    equals = tuple(dict.fromkeys(t for o in others if (t := told(o)) and t != own))
    if not equals or not diagnoses:
        return diagnoses
    return [replace(diagnoses[0], alternatives=equals), *diagnoses[1:]]


def downhill(gradient_is_known: bool, is_damped: bool) -> Diagnosis:
    """The name of x = −F⁻¹g, with what else makes it.

    A gradient that is known was not flipped; λ is not what it would be beside −F.
    """
    others = [] if gradient_is_known else list(FLIPS)
    others += ["cg-negated"] if is_damped else ["fisher-negated", "cg-negated"]
    return together([named("ascent-descent-sign")], [[named(name)] for name in others])[0]


def cost(names: Iterable[str]) -> tuple[int, float]:
    """What an explanation costs: bugs before all, then how many choices, then their kinds."""
    kinds = [entry(name).kind for name in names]
    rank = {"free": 0.1, "convention": 1.0, "approximation": 2.0, "bug": 10.0}
    return len([k for k in kinds if k != "free"]), sum(rank[k] for k in kinds)


def is_involved(price: tuple[int, float]) -> bool:
    """Whether an explanation takes two bugs: then a single one is looked for elsewhere."""
    return price[1] >= TWO_BUGS


def mixed_precision(digits: float, dtype: str) -> str:
    """A question to ask of an answer that is right to two or three digits, or ""."""
    if dtype == "float64" or not MIXED_DIGITS[0] <= digits <= MIXED_DIGITS[1]:
        return ""
    return (
        f"; {digits:.1f} digits are right: if autocast computes part of it in bfloat16, let policy "
        "do the same, and its rounding is allowed for"
    )


def keyword(diagnosis: Diagnosis) -> str:
    """The field of Conventions that declares this choice, or ""."""
    if diagnosis.choice in _FIELDS:
        return _FIELDS[diagnosis.choice]
    if diagnosis.stage == "damping" and diagnosis.choice != "damping":
        return ""  # Conventions(damping=λ) is F + λI, and no other use of λ
    if diagnosis.choice in _VALUES or diagnosis.value is not None:
        return KEYWORD.get(diagnosis.stage, "")
    return ""


def declaration(diagnosis: Diagnosis) -> Any:
    """The value that declares it."""
    if diagnosis.choice in _VALUES:
        return _VALUES[diagnosis.choice]
    value = diagnosis.value
    if value is None:
        return None
    if diagnosis.choice == "truncated-cg":
        return int(value)
    short = float(f"{value:.6g}")  # 0.1, where the sum of two estimates is 0.09999999999990136
    return short if abs(short - value) <= 1e-9 * abs(value) else value


def status(diagnoses: Iterable[Diagnosis], declared: dict[str, Any]) -> Status:
    """Pass when all is asked for, free or declared; deviates for the rest, but bugs fail."""
    kinds = {d.kind for d in diagnoses if not (keyword(d) and keyword(d) in declared)}
    if "bug" in kinds:
        return "fail"
    return "deviates" if kinds & {"convention", "approximation"} else "pass"
