"""True statements about wrong answers that no choice explains.

These are observations over all problems, not names of mistakes. A *relation* is stated only when
it reproduces every refuted answer; what is partly right is stated only when it holds of all of
them; and where answers are right and where wrong is stated with its counts. What narrows a mistake
down most comes first, and there are three statements at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npgcheck.conformance.facts.chains import chains
from npgcheck.conformance.facts.inputs import other_inputs
from npgcheck.conformance.facts.laws import number_text
from npgcheck.conformance.facts.located import located
from npgcheck.conformance.facts.others import another, multiple, weights
from npgcheck.conformance.facts.policy import of_policy
from npgcheck.conformance.facts.pure import of_pure_functions
from npgcheck.conformance.facts.recursion import recursion
from npgcheck.conformance.facts.relations import of_right_answers, relations
from npgcheck.conformance.facts.seen import REPRODUCED, Seen, look
from npgcheck.conformance.facts.sizes import relative, sizes
from npgcheck.conformance.facts.solves import systems
from npgcheck.conformance.facts.structure import arguments, right_entries, structure
from npgcheck.conformance.fitting import Fit, Record

#: Short enough to be read.
MOST = 3
#: Squares of larger numbers overflow.
HUGE = 1e100
NOTHING = "no known choice explains the answers"


def describe_error(
    quantity: str, records: Sequence[Record], options: Sequence[tuple[Fit, dict[str, Any]]]
) -> tuple[str, dict[str, Any]]:
    """One line that narrows a refuted quantity down, and the conventions that it is said under.

    Args:
        quantity: the function.
        records: its answers.
        options: conventions under which the answers were scored, the likeliest first. Others are
            taken only where a relation reproduces every answer under them.
    """
    fit, choices = options[0]
    judged = [j for j in fit.judged if j is not None]
    refuted = [j for i in fit.refuted if (j := fit.judged[i]) is not None]
    if not refuted:
        return "no choice explains the answers", choices
    noted = [j.note for j in refuted if j.note]
    if len(noted) > len(refuted) / 2:
        return f"{noted[0]}, and likewise {len(noted)} of {len(judged)} times", choices
    if any(np.max(np.abs(r.value), initial=0.0) > HUGE for r in records):
        return f"wrong in {len(refuted)} of {len(judged)} answers", choices
    looked = [(look(records, f, c), c) for f, c in options]
    for find in (_whole, _entries):
        for seen, under in looked:
            wrong = [s for s in seen if s.wrong]
            if wrong and (known := next(filter(None, find(wrong, seen)), "")):
                where = located(seen) if _partial(known, seen) else ""
                return "; ".join(filter(None, (known, where))), under
    _, seen, choices = max(
        ((_nearness(seen), seen, under) for seen, under in looked), key=lambda found: found[0]
    )
    facts = _facts(seen)
    count = sum(s.wrong for s in seen)
    if not facts and count < len(seen):
        facts = [f"wrong in {count} of {len(seen)} answers"]
    return "; ".join(facts) or NOTHING, choices


def _nearness(seen: Sequence[Seen]) -> tuple[float, bool, float]:
    """The part that is right, whether small steps are a plain multiple, and how far off the
    typical answer is; the larger the nearer."""
    if not seen:
        return 0.0, False, -np.inf
    right = sum(not s.wrong for s in seen) / len(seen)
    plain = any("leading order" in text or "steps about" in text for text in arguments(seen))
    return round(right, 2), plain, -float(np.median([relative(s) for s in seen]))


def _facts(seen: Sequence[Seen]) -> list[str]:
    """Up to three statements: what is partly right, where, and how far off the rest is."""
    wrong = [s for s in seen if s.wrong]
    if not wrong:
        return []
    found = list(filter(None, _parts(wrong, seen)))[: MOST - 1]
    if where := located(seen):
        found.append(where)
    for text in sizes(wrong):
        if len(found) >= MOST - 1:
            break
        if text:
            found.append(text)
    return found


def _whole(wrong: Sequence[Seen], seen: Sequence[Seen]) -> Iterator[str]:
    """What turns every exact answer into the subject's."""
    yield another(wrong)
    yield from relations(wrong, seen)
    yield multiple(wrong)
    yield weights(wrong)
    yield from systems(wrong)
    yield from chains(wrong, seen)
    yield from other_inputs(seen)
    yield from recursion(seen)


def _partial(known: str, seen: Sequence[Seen]) -> bool:
    """Whether a relation of the refuted answers leaves open why others are right."""
    return not of_right_answers(known, seen) and not known.startswith(
        ("each number", "this is", "right for", "as if")
    )


def _entries(wrong: Sequence[Seen], seen: Sequence[Seen]) -> Iterator[str]:
    """Which entries are right, if most are: under other conventions none would be."""
    yield right_entries(wrong)


def _parts(wrong: Sequence[Seen], seen: Sequence[Seen]) -> Iterator[str]:
    """What is true of every refuted answer."""
    yield from of_pure_functions(wrong, seen)
    yield from of_policy(seen)
    yield from arguments(seen)
    yield from structure(wrong)


__all__ = ["REPRODUCED", "describe_error", "number_text"]
