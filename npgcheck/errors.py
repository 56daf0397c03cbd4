"""Typed errors: each message says what failed, by how much, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable


class NpgcheckError(Exception):
    """Base class of every error that npgcheck raises on purpose."""


class InvalidMDP(NpgcheckError, ValueError):
    """An MDP that violates its definition; nothing was repaired."""


class InvalidPolicy(NpgcheckError, ValueError):
    """A policy, or parameters or observations of the wrong size for it."""


class InvalidArgument(NpgcheckError, ValueError):
    """An argument outside the domain that the function documents."""


class NotConverged(NpgcheckError):
    """An iterative solve whose verified residual missed its limit; nothing was returned."""


class UsageError(NpgcheckError):
    """A request that cannot be carried out as written; exit code 2 on the command line."""


class Unsupported(Exception):
    """Raised by a subject, with a reason, for a problem that it does not claim to answer."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the closest known name, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
