"""Where a report is written, decided before the run: a path that cannot be written costs no run.

An existing file is replaced only when it is an earlier report of the same format, as a CI job
expects; anything else, a source file above all, needs ``--force``.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from npgcheck.conformance.report import Report
from npgcheck.errors import UsageError

FORMATS = ("text", "json", "junit", "markdown")

_OPENING = {
    "text": (b"", b" \xc2\xb7 seed "),
    "json": (b"{", b'"schema_version"'),
    "junit": (b"<?xml", b'<testsuite name="npgcheck'),
    "markdown": (b"### npgcheck", b""),
}
"""How a report of each format starts, and what stands in its first 300 bytes."""


@dataclass(frozen=True)
class Destination:
    """A file that a report may be written to; ``--output -`` and none mean standard output."""

    path: Path | None

    def write(self, text: str) -> None:
        """Writes the whole text or, when that fails, nothing."""
        if self.path is None:
            raise ValueError("this destination is standard output")
        if self.path.exists() and not self.path.is_file():  # a device or a pipe
            self.path.write_text(text, encoding="utf-8")
            return
        handle, temporary = tempfile.mkstemp(prefix=".npgcheck-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise


def destination(output: str | None, file_format: str, force: bool) -> Destination:
    """Checks that a report can be written there.

    Raises:
        UsageError: a folder, a path that cannot be written, or a file that is no earlier report.
    """
    if output is None or output == "-":
        return Destination(None)
    path = Path(output)
    if path.is_dir():
        raise UsageError(f"--output {output} is a folder; give a file in it.")
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"--output {output}: the folder {folder} does not exist.")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"--output {output} cannot be written: permission denied.")
    if not path.exists() or path.is_file():
        try:  # some folders, such as /proc, refuse new files whatever their permissions say
            handle, trial = tempfile.mkstemp(prefix=".npgcheck-", dir=folder)
        except OSError as error:
            raise UsageError(
                f"--output {output}: no file can be made in {folder}: {error.strerror}."
            ) from None
        os.close(handle)
        os.unlink(trial)
    if path.is_file() and not force and not _earlier_report(path, file_format):
        raise UsageError(
            f"--output {output} exists and is no earlier {file_format} report; "
            f"give another name, or --force to replace it."
        )
    return Destination(path)


def render(report: Report, file_format: str, strict: bool) -> str:
    """The report in one of :data:`FORMATS`, ending with a newline."""
    if file_format == "json":
        from npgcheck.conformance.render_json import dumps

        return dumps(report) + "\n"
    if file_format == "junit":
        from npgcheck.conformance.render_junit import to_junit

        return to_junit(report, strict)
    if file_format == "markdown":
        from npgcheck.conformance.render_markdown import to_markdown

        return to_markdown(report)
    from npgcheck.conformance.render_text import to_text

    return to_text(report, width=100) + "\n"


def _earlier_report(path: Path, file_format: str) -> bool:
    with path.open("rb") as stream:
        start = stream.read(300)
    opening, mark = _OPENING[file_format]
    return not start or (start.startswith(opening) and mark in start)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
