"""Problems for line searches: their longest step goes wrong, although g and F are exact.

On the usual problems nearly every step that KL allows gains, and no KL is half as large again as
the quadratic model says. Here the longest step loses under the MDP (``loses``) or over the rows of
the batch (``rows lose``), or its KL is several times the allowed one (``overshoots``). Accepted
steps alone are asked on them. The keys were chosen once; a test holds what the words say.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from npgcheck.errors import NpgcheckError
from npgcheck.problem import Problem
from npgcheck.problem_sets.build import finish, refusal
from npgcheck.problem_sets.generate import Sizes, trap_problem
from npgcheck.streams import Stream

#: What goes wrong, the batch, the sizes (states, actions, features), γ, and the key of the stream.
Line = tuple[str, str, tuple[int, int, int], str, int]
LINES: tuple[Line, ...] = (
    ("loses", "duplicated", (5, 2, 3), "4/5", 510),
    ("loses", "ordinary", (4, 2, 3), "3/4", 1287),
    ("rows lose", "duplicated", (5, 2, 3), "4/5", 3046),
    ("rows lose", "duplicated", (5, 2, 3), "4/5", 11350),
    ("overshoots", "duplicated", (5, 2, 3), "4/5", 10),
    ("overshoots", "ordinary", (4, 2, 3), "3/4", 17),
)


def build(line: Line) -> Problem:
    """The problem of one line of the table."""
    what, kind, numbers, discount, key = line
    stream = Stream("search", what, kind, numbers, discount, key)
    return trap_problem(
        stream,
        Sizes(*numbers),
        float(Fraction(discount)),
        kind=kind,
        pays=1.0 if what == "overshoots" else -1.0,
        seed=key,
    )


@lru_cache(maxsize=8)
def searched(family: str) -> tuple[Problem, ...]:
    """The problems of a family; only softmax policies with shared features have any.

    Along x a tabular policy is π(a|s) exp(t A(s, a)) up to a factor, under which E[A] rises with t.
    """
    if family != "softmax":
        return ()
    problems = []
    for line in LINES:
        problem = build(line)
        if why := refusal(problem):
            raise NpgcheckError(f"the problem {line} for line searches is not usable: {why}")
        problems.append(finish(problem))
    return tuple(problems)
