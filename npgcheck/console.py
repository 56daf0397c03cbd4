"""What the commands need of the console: option types, progress, a clean standard output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import click

from npgcheck.errors import UsageError, nearest


class Group(click.Group):
    """A group that names the nearest command to an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            raise UsageError(
                f"there is no command {name!r}.{nearest(name, known)} "
                f"The commands are: {', '.join(known)}."
            )
        return super().resolve_command(ctx, args)


class OneOf(click.ParamType):
    """A choice whose error names the nearest value."""

    name = "name"

    def __init__(self, what: str, known: tuple[str, ...]) -> None:
        self.what = what
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.known:
            raise UsageError(
                f"there is no {self.what} {value!r}.{nearest(str(value), self.known)} "
                f"Known: {', '.join(self.known)}."
            )
        return str(value)


class Seed(click.ParamType):
    """A non-negative integer, or ``random``."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "random":
            import secrets

            return secrets.randbelow(2**31)
        try:
            seed = int(value)
        except ValueError:
            seed = -1
        if seed < 0:
            raise UsageError(f"--seed {value}: give a non-negative integer, or random.")
        return seed


class Progress:
    """One line on standard error, rewritten in place; silent when that is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if self._shown and now - self._last > 0.1:
            self._last = now
            sys.stderr.write(f"\r\x1b[K{text[:78]}")
            sys.stderr.flush()


def without_threads() -> None:
    """One thread for the linear algebra of small problems, unless the environment has its say.

    It has to be said before numpy is imported, so in this process it concerns the command only.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


@contextmanager
def stdout_for_the_report(keep: bool) -> Iterator[Any]:
    """Yields a function that prints on standard output.

    When a subject runs in this process (``keep`` is false) whatever else is written to standard
    output, by Python or by compiled code, goes to standard error in the meantime.
    """
    if keep:
        yield lambda text: click.echo(text, nl=False)
        return
    real = sys.stdout
    real.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(saved), "w", encoding="utf-8") as stream, redirect_stdout(sys.stderr):
            # A test runner may have put something else in the place of standard output.
            yield stream.write if real is sys.__stdout__ else real.write
    finally:
        os.dup2(saved, 1)
        os.close(saved)
