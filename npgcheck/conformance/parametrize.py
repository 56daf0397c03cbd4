"""``npgcheck.parametrize``: the checks of a subject as a test function of a project's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from npgcheck.conformance.check_ids import LATEST
from npgcheck.conformance.suite import Suite


def parametrize(
    subject: Any,
    *,
    checks: str = LATEST,
    known_failures: Mapping[str, str] | None = None,
    strict: bool = False,
    isolate: bool | None = None,
    **options: Any,
) -> Callable[[str], None]:
    """Makes a test function with one parameter per check::

        test_npg = npgcheck.parametrize("my_npg.py", checks="2026.1")

    Naming the check set keeps a test suite green across releases: a release never adds a failing
    check to an old set. A subject that cannot be loaded is one failing test.

    Args:
        subject: a path, a module, ``module:object``, an adapter's name, or an object.
        checks: a dated check set.
        known_failures: check id → why; one that no longer fails makes its test fail.
        strict: undeclared deviations fail.
        isolate: whether to run in a process of its own; by default for everything but objects.
        **options: ``examples``, ``seed``, ``only``, ``families`` as of :func:`npgcheck.verify`.
    """
    import pytest

    suite = Suite(
        subject,
        checks=checks,
        known_failures=known_failures,
        strict=strict,
        isolate=isolate,
        **options,
    )

    @pytest.mark.parametrize("check", suite.ids)
    def test_npgcheck(check: str) -> None:
        __tracebackhide__ = True
        conclude(suite, check)

    return test_npgcheck


def conclude(suite: Suite, check: str) -> None:
    """Ends the running test as its check went."""
    import pytest

    __tracebackhide__ = True
    outcome, said = suite.outcome(check)
    if outcome == "fail":
        pytest.fail(said, pytrace=False)
    if outcome == "skip":
        pytest.skip(said)
    if outcome == "known":
        pytest.xfail(said)
