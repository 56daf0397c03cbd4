"""The Python door: ``npgcheck.verify(subject)``, and ``npgcheck.judge`` for one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from npgcheck.conformance.report import Report


def verify(
    target: Any,
    *,
    examples: int = 120,
    seed: int = 0,
    only: Sequence[str] = (),
    families: Sequence[str] | None = None,
    checks: str = "2026.1",
    controls: bool = False,
    problem_id: str | None = None,
    isolate: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judges an implementation against generated problems solved exactly.

    Args:
        target: an object, a module, a dict of functions, a path, ``module:object`` or an
            adapter's name.
        examples: problems in all, over all families.
        seed: of the drawn problems; the designed ones never change.
        only: quantities to judge; all that the subject defines when empty.
        families: policy families; those that the subject names when None.
        checks: a dated check set.
        controls: also inject planted mistakes into the subject's answers; all must be caught.
        problem_id: judge on this one problem, as a report named it.
        isolate: call the subject in a worker process that survives hangs and crashes.
        progress: called with one line before each call.

    Returns:
        The report; ``report.passed`` and ``print(report)`` say the rest.

    Raises:
        UsageError: the request cannot be carried out; the message says how to mend it.
    """
    from npgcheck.conformance.engine import run
    from npgcheck.conformance.guard import Caller, LocalCaller
    from npgcheck.conformance.subject import load

    subject = load(target)
    if isinstance(only, str):
        only = (only,)
    caller: Caller
    if isolate:
        from npgcheck.conformance.worker import WorkerCaller

        caller = WorkerCaller(subject)
    else:
        caller = LocalCaller(subject)
    try:
        return run(
            subject,
            caller,
            examples=examples,
            seed=seed,
            only=tuple(only),
            families=families,
            checks=checks,
            controls=controls,
            problem_id=problem_id,
            progress=progress,
        )
    finally:
        caller.close()


def judge(quantity: str, problem: Any, answer: Any, *args: Any, **conventions: Any) -> Any:
    """Judges one number: is ``answer`` right for ``quantity`` on ``problem``?

    Args:
        quantity: a name of the contract.
        problem: an :class:`~npgcheck.Problem`, or None for the pure functions.
        answer: what your code returned.
        *args: the quantity's further arguments, e.g. the vector of a product.
        **conventions: fields of :class:`~npgcheck.Conventions` that the answer follows.

    Returns:
        A :class:`~npgcheck.conformance.single.Judgement`; truthy when right.

    Raises:
        UsageError: an unknown quantity or convention, or wrong arguments.
    """
    from npgcheck.conformance.single import judge_one

    return judge_one(quantity, problem, answer, args, conventions)
