"""What the diagnosis owes a planted subject: the names that are right for it.

A label is written from the subject's code, by one who does not look at how a name is found. A
mistake outside every list has no name, and then any name is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """The right names of one subject.

    Attributes:
        names: one set for each planted choice; any member of a set names it. A set holds more
            than one name where no answer of the subject tells them apart. Empty for a mistake
            outside the registry, about which only facts may be told.
        also: names that are true of the subject beside its mistake, such as the damping of its
            solver. Giving them is right, and counts as nothing.
    """

    names: tuple[frozenset[str], ...] = ()
    also: frozenset[str] = frozenset()

    @property
    def wanted(self) -> frozenset[str]:
        """Every name of a planted choice."""
        return frozenset[str]().union(*self.names)

    @property
    def every(self) -> frozenset[str]:
        """Every name that may be given."""
        return self.wanted | self.also

    @property
    def text(self) -> str:
        """The planted choices in one line."""
        planted = (" or ".join(sorted(n)) for n in self.names)
        return " + ".join(planted) or "outside the registry"

    def __add__(self, other: Label) -> Label:
        """The label of a subject with both mistakes."""
        return Label((*self.names, *other.names), self.also | other.also)


def label(tells: str = "", also: str = "") -> Label:
    """A label from text: ``"a|b"`` is one choice with two right names, ``"a + b"`` two choices."""
    planted = (part.strip() for part in tells.split("+"))
    return Label(tuple(frozenset(p.split("|")) for p in planted if p), frozenset(also.split()))
