"""What a control is: one planted subject, what it plants, and what the verifier owes it.

A *wrong* control must be refuted, a *right* one must not be accused, and an *equivalent* is a
mistake that provably cannot be seen in any answer, so that accusing it would be a mistake of
ours. The subjects themselves are plain classes with the functions of the contract; they read
``problem`` and import nothing of npgcheck's mathematics, so that agreement means something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .labels import Label, label

Role = Literal["wrong", "right", "equivalent"]
Kind = Literal["bug", "convention", "approximation", "free"]
Outcome = Literal["fail", "deviates", "either"]

STAGES = (
    "state weighting",
    "return and advantage",
    "score and objective",
    "Fisher definition",
    "estimator",
    "KL",
    "solver and damping",
    "step rule",
    "line search",
    "parametrisation",
    "glue",
)


@dataclass(frozen=True)
class Control:
    """One planted subject.

    Attributes:
        name: Its name in the kill matrix.
        role: Whether it must be refuted, must be spared, or cannot be told from right.
        stage: The stage of the pipeline in which the mistake sits (``""`` for right ones).
        kind: What the mistake is called; ``"free"`` for right ones.
        outcome: The status owed: a bug must ``"fail"``, a deviation must be named as one,
            ``"either"`` where both readings are honest.
        refutes: Quantities that must not pass; every one of them, not just any.
        spares: Quantities that must not fail although the subject is wrong elsewhere.
        may_deviate: Quantities of a right subject that may be reported as ``deviates``.
        asks: The quantities to ask; all that it defines when empty. Controls that override one
            method of a shared base are asked what that method touches.
        problems: Problems per policy family that it is judged on.
        whole: A complete implementation written by hand, not one switch of a shared pipeline.
        isolate: Hangs or kills its process, so it runs in a worker under a short time limit.
        needs: The optional package that it imports, or ``""``.
        source: Where the mistake was seen, in BUGS notation or as a public reference.
        reason: For an equivalent: why no answer can show it.
        label: The names that the diagnosis may and must give it.
        style: How it is written, for those outside the shared pipelines (``"torch"`` …).
        build: Makes a fresh subject.
        description: One line, the first of the class's docstring.
    """

    name: str
    role: Role
    stage: str
    kind: Kind
    outcome: Outcome
    refutes: frozenset[str]
    spares: frozenset[str]
    may_deviate: frozenset[str]
    asks: frozenset[str]
    problems: int
    whole: bool
    isolate: bool
    needs: str
    source: str
    reason: str
    label: Label
    style: str
    build: Callable[[], object]
    description: str


#: Mistakes show on the first few designed problems, whose order lets every stage show early.
FEW = 16
#: A right subject has to be judged on eight, and only every fourth problem has episodes.
WITH_EPISODES = 36

_CONTROLS: dict[str, Control] = {}


def _first_line(subject: type) -> str:
    """Returns the first line of the class's own docstring; a control without one is a mistake."""
    text = (subject.__dict__.get("__doc__") or "").strip()
    if not text:
        raise ValueError(f"control {subject.__name__} has no docstring")
    return str(text.splitlines()[0])


def _add(control: Control) -> None:
    if control.name in _CONTROLS:
        raise ValueError(f"two controls are called {control.name!r}")
    if control.role != "right" and control.stage not in STAGES:
        raise ValueError(f"control {control.name!r}: unknown stage {control.stage!r}")
    _CONTROLS[control.name] = control


def wrong(
    name: str,
    *,
    stage: str,
    refutes: str,
    spares: str = "",
    kind: Kind = "bug",
    outcome: Outcome | None = None,
    whole: bool = False,
    isolate: bool = False,
    needs: str = "",
    source: str = "textbook",
    tells: str = "",
    also: str = "",
    style: str = "",
) -> Callable[[type], type]:
    """Registers the decorated class as a planted mistake.

    ``refutes`` and ``spares`` are names of quantities separated by spaces. The outcome defaults
    to what the kind owes: a bug fails, a convention or an approximation deviates. ``tells`` and
    ``also`` are its label as :func:`~.labels.label` reads it; without ``tells`` no name is right.
    """
    owed: Outcome = outcome or ("fail" if kind == "bug" else "deviates")

    def register(subject: type) -> type:
        _add(
            Control(
                name=name,
                role="wrong",
                stage=stage,
                kind=kind,
                outcome=owed,
                refutes=frozenset(refutes.split()),
                spares=frozenset(spares.split()),
                may_deviate=frozenset(),
                asks=frozenset() if whole else frozenset(f"{refutes} {spares}".split()),
                problems=FEW,
                whole=whole,
                isolate=isolate,
                needs=needs,
                source=source,
                reason="",
                label=label(tells, also),
                style=style,
                build=subject,
                description=_first_line(subject),
            )
        )
        return subject

    return register


def right(
    name: str,
    *,
    asks: str = "",
    may_deviate: str = "",
    needs: str = "",
    problems: int = FEW,
    also: str = "",
    style: str = "",
) -> Callable[[type], type]:
    """Registers the decorated class as a right subject, which must not be accused."""

    def register(subject: type) -> type:
        _add(
            Control(
                name=name,
                role="right",
                stage="",
                kind="free",
                outcome="either",
                refutes=frozenset(),
                spares=frozenset(),
                may_deviate=frozenset(may_deviate.split()),
                asks=frozenset(asks.split()),
                problems=problems,
                whole=True,
                isolate=False,
                needs=needs,
                source="",
                reason="",
                label=label("", also),
                style=style,
                build=subject,
                description=_first_line(subject),
            )
        )
        return subject

    return register


def equivalent(
    name: str,
    *,
    stage: str,
    reason: str,
    asks: str = "",
    may_deviate: str = "",
    needs: str = "",
    also: str = "",
) -> Callable[[type], type]:
    """Registers the decorated class as a mistake that no answer can show, with the reason."""

    def register(subject: type) -> type:
        _add(
            Control(
                name=name,
                role="equivalent",
                stage=stage,
                kind="bug",
                outcome="either",
                refutes=frozenset(),
                spares=frozenset(),
                may_deviate=frozenset(may_deviate.split()),
                asks=frozenset(asks.split()),
                problems=FEW,
                whole=True,
                isolate=False,
                needs=needs,
                source="",
                reason=reason,
                label=label("", also),
                style="",
                build=subject,
                description=_first_line(subject),
            )
        )
        return subject

    return register


def registered() -> tuple[Control, ...]:
    """Returns every control registered so far, in order of registration."""
    return tuple(_CONTROLS.values())
