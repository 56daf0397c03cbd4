"""``pytest --npgcheck TARGET``: the checks of a subject as test items.

pytest loads this file in every project of an environment that has npgcheck installed, so it
imports nothing but pytest until the option is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from npgcheck.conformance.suite import Suite


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the options."""
    group = parser.getgroup("npgcheck", "judging a policy gradient implementation")
    group.addoption(
        "--npgcheck",
        action="append",
        default=[],
        metavar="TARGET",
        help="judge TARGET, one test per check; without file arguments nothing else is collected",
    )
    group.addoption("--npgcheck-checks", metavar="SET", help="a dated check set")
    group.addoption("--npgcheck-examples", type=int, metavar="N", help="problems in all")
    group.addoption("--npgcheck-seed", type=int, metavar="N", help="seed of the drawn problems")
    group.addoption(
        "--npgcheck-strict", action="store_true", help="undeclared deviations are failures"
    )


def pytest_configure(config: pytest.Config) -> None:
    """With a target and no file arguments, the project's own tests are left out."""
    if config.getoption("npgcheck") and config.args_source is not config.ArgsSource.ARGS:
        config.args = []


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Adds the checks of every target."""
    for target in config.getoption("npgcheck"):
        items.extend(Target.from_parent(session, name=target, nodeid=target).collect())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints each target's report below the tests."""
    for suite in config.stash.get(_SUITES, []):
        if (report := suite.finished) is not None:
            terminalreporter.section(f"npgcheck {suite.target}")
            terminalreporter.write_line(str(report))


_SUITES: pytest.StashKey[list[Suite]] = pytest.StashKey()


class Target(pytest.Collector):
    """A subject; its items are its checks."""

    def collect(self) -> Iterator[Check]:
        """Loads the subject and yields its checks; one that fails when it does not load."""
        from npgcheck.conformance.suite import Suite

        option = self.config.getoption
        options = {
            name: value
            for name in ("checks", "examples", "seed")
            if (value := option(f"npgcheck_{name}")) is not None
        }
        suite = Suite(self.name, strict=option("npgcheck_strict"), **options)
        self.config.stash.setdefault(_SUITES, []).append(suite)
        for check in suite.ids:
            yield Check.from_parent(self, name=check, suite=suite)


class Check(pytest.Item):
    """One check of a subject."""

    def __init__(self, *, suite: Suite, **named: Any) -> None:
        super().__init__(**named)
        self.suite = suite

    def runtest(self) -> None:
        """Runs all checks the first time, then answers from the report."""
        from npgcheck.conformance.parametrize import conclude

        conclude(self.suite, self.name)

    def reportinfo(self) -> tuple[str, None, str]:
        """What pytest prints for the item."""
        return str(self.suite.target), None, self.name
