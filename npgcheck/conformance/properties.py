"""Properties that need no reference; filled in below."""

from __future__ import annotations

from npgcheck.conformance.report import CheckResult
from npgcheck.conformance.run_state import Run


def check(state: Run, quantity: str) -> list[CheckResult]:
    """The property checks of one quantity."""
    return []
