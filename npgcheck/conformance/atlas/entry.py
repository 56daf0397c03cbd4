"""One entry of the atlas: a named way of doing one stage, with everything known about it.

A choice belongs to a stage of the pipeline and has a kind. ``free`` choices are only reported,
``convention`` and ``approximation`` make a verdict deviate unless they are declared, and ``bug``
fails. Conventions, approximations and bugs are all choices, so that one registry drives the
diagnosis, ``npgcheck explain`` and the pages of the atlas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["free", "convention", "approximation", "bug"]
Mark = Literal["confirmed", "read", "textbook"]

#: The stages, in the order of the computation; the atlas has one page and one file for each.
STAGES: Mapping[str, str] = MappingProxyType(
    {
        "weighting": "State weighting",
        "returns": "Values, returns and advantages",
        "estimates": "Generalised advantage estimates",
        "score": "Score and objective",
        "fisher": "Fisher matrix: definition and estimator",
        "kl": "KL divergence",
        "solver": "Solver and damping",
        "step": "Step rule and line search",
        "parametrisation": "Parametrisation",
        "glue": "Glue",
    }
)
#: Lengths of sums that are cut off, about a fifth apart; those between them are found from here.
LENGTHS = (
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 75, 90, 110, 140, 170, 200, 250,
    300, 400, 500, 700, 1000, 1500, 2000, 3000, 5000, 10000,
)  # fmt: skip
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Silent(ValueError):
    """A choice that says nothing about a problem: rewards that no bound cuts off, for example."""


@dataclass(frozen=True)
class Seen:
    """Where a choice is met.

    Attributes:
        where: a public repository with an issue, a commit or a file, or a publication.
        mark: ``confirmed`` by a fix or a maintainer; ``read`` off public code and not confirmed
            by its authors; ``textbook``: no public case is known to us.
        link: address, or "" for a publication that the text cites in full.
    """

    where: str
    mark: Mark
    link: str = ""

    @property
    def text(self) -> str:
        """The place, and how sure it is."""
        if self.mark == "textbook":
            return self.where or "no public case is known"
        confirmed = self.mark == "confirmed"
        said = "confirmed there" if confirmed else "read there; not confirmed by its authors"
        return f"{self.where} ({said})"


TEXTBOOK = (Seen("", "textbook"),)


@dataclass(frozen=True)
class Number:
    """The number that a choice carries: it is estimated, never enumerated.

    Attributes:
        symbol: as the report writes it, e.g. ``"γ′"``.
        start: values from which the estimate is refined.
        whole: whether it is a whole number, and ``start`` lists every value that is tried.
        valley: whether the whole numbers between those of ``start`` are looked at, too: the
            misfit falls towards the right one from both sides.
        not_values: values at which the choice is none (a temperature of 1).
    """

    symbol: str
    start: tuple[float, ...]
    whole: bool = False
    valley: bool = False
    not_values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Choice:
    """One way of doing one stage.

    Attributes:
        stage: the field of :class:`~npgcheck.Conventions` that declares it, or the part of the
            pipeline that it changes.
        value: the field's value, or "" where the choice carries a number.
        name: stable name, as ``npgcheck explain NAME`` takes it.
        kind: free, convention, approximation or bug.
        formula: what it computes.
        shows: how it shows from outside, and where it cannot be seen.
        mend: how to change it, or why one may want to keep it.
        default: whether it is what the contract asks for.
        weak: whether it explains by saying little; tried after everything that says more.
        note: one line for the report; the name with spaces when empty. ``{}`` takes the number,
            ``{exp}`` its exponential.
        seen: where it is met.
        visible: the quantities of the contract that may show it, lowest layer first.
        hidden: where it provably does not show: a quantity or a situation → the reason.
        change: part of the pipeline → what becomes of it: ``f(view, value)``, with the number as
            a third argument where there is one.
        forms: the same choice written in other ways, each like ``change``.
        form: which of its forms this is; 0 is ``change`` itself.
        notes: the line for each of ``forms``, where it is another than ``note``.
        reads: parts that the functions of ``change`` look at.
        number: the number that it carries, or None.
        families: ``"discrete"``, ``"gaussian"``, or both.
        told: whether a verdict ever gives this name; ``hidden`` says why not.
        atlas: the page that it stands on, filled in when the registry is put together.
    """

    stage: str
    value: str
    name: str
    kind: Kind
    formula: str
    shows: str
    mend: str
    default: bool = False
    weak: bool = False
    note: str = ""
    seen: tuple[Seen, ...] = TEXTBOOK
    visible: tuple[str, ...] = ()
    hidden: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    change: Mapping[str, Callable[..., Any]] = field(
        default_factory=lambda: _NOTHING, compare=False, repr=False
    )
    forms: tuple[Mapping[str, Callable[..., Any]], ...] = field(
        default=(), compare=False, repr=False
    )
    form: int = 0
    notes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    number: Number | None = None
    families: tuple[str, ...] = ("discrete", "gaussian")
    atlas: str = ""
    told: bool = True

    def __hash__(self) -> int:
        return hash((self.name, self.form))

    def spelled_out(self) -> tuple[Choice, ...]:
        """The choice in each of its forms."""
        notes = self.notes or (self.note,) * len(self.forms)
        others = enumerate(zip(self.forms, notes, strict=True), start=1)
        return (self, *(replace(self, change=c, forms=(), note=n, form=i) for i, (c, n) in others))

    def said(self, number: float | None = None) -> str:
        """The line of the report, with its number."""
        text = self.note or self.name.replace("-", " ")
        if number is None:
            return text
        if "{exp}" in text:
            text = text.replace("{exp}", f"{math.exp(number):.6g}")
        if number == 1:
            text = text.replace("{} iterations", "{} iteration").replace("{} sweeps", "{} sweep")
        return text.replace("{}", f"{number:.6g}")
